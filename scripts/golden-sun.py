#!/usr/bin/env python3
"""Positions of the sun that the tests of src/physics/sun.rs expect, by NREL's SPA (Reda and
Andreas 2004, good to 0.0003°) as pvlib has it: another algorithm by other people.

    python3 -m venv /tmp/sun && /tmp/sun/bin/pip install pvlib==0.16.1
    /tmp/sun/bin/python scripts/golden-sun.py

Prints one line a place and time: latitude and longitude in degrees, seconds since 1970 UTC,
elevation without refraction and azimuth in degrees.
"""

import pandas as pd
from pvlib import solarposition

PLACES = [  # Calais, Beijing, Mauna Loa, Sydney, Quito, Tromsø, the South Pole
    (50.931, 1.929),
    (39.982, 116.397),
    (19.536, -155.576),
    (-33.869, 151.209),
    (-0.220, -78.512),
    (69.649, 18.955),
    (-90.0, 0.0),
]
TIMES = [  # seasons, hours, and both ends of the century
    "1950-06-21T12:00Z",
    "1999-12-31T23:30Z",
    "2013-03-20T06:15Z",
    "2020-02-29T18:00Z",
    "2024-06-20T20:51Z",
    "2024-11-03T10:00Z",
    "2049-09-22T03:40Z",
]


def main():
    times = pd.DatetimeIndex(TIMES)
    for latitude, longitude in PLACES:
        sun = solarposition.get_solarposition(times, latitude, longitude, altitude=0)
        for time, elevation, azimuth in zip(times, sun.elevation, sun.azimuth):
            seconds = int(time.timestamp())
            print(f"({latitude}, {longitude}, {seconds:_}, {elevation:.3f}, {azimuth:.3f}),")


if __name__ == "__main__":
    main()
