#!/usr/bin/env python3
"""serve.py COMMAND...: answers as the archive of Open-Meteo does while a command runs, and ends with it.

It listens on loopback only and has nothing but what the archive once answered for Calais: the series
under data/, and the bodies under $KRAMMERTI_DATA/openmeteo-bodies where they are there.
"""

import csv
import datetime
import gzip
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

PORT = 18642  # as params.yaml has it
SERIES = Path(__file__).resolve().parents[2] / "data/openmeteo-calais-2020-2025.csv.gz"
UNITS = {
    "temperature_2m": "°C",
    "relative_humidity_2m": "%",
    "wind_speed_10m": "m/s",
    "wind_speed_100m": "m/s",
    "wind_direction_10m": "°",
    "wind_direction_100m": "°",
    "surface_pressure": "hPa",
    "cloud_cover": "%",
    "wind_gusts_10m": "m/s",
}


def text_of(time):
    return time.strftime("%Y-%m-%dT%H:%M")


def bundled():
    """Hours of the bundled series: time in UTC -> variable -> value."""
    with gzip.open(SERIES, "rt", encoding="utf-8", newline="") as file:
        return {
            row.pop("time").removesuffix("Z"): {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        }


def recorded(folder):
    """Hours of recorded bodies of this place, whatever time zone they were asked for in."""
    hours = {}
    for path in sorted(folder.glob("archive-calais-*.json")):
        body = json.loads(path.read_text(encoding="utf-8"))
        offset = datetime.timedelta(seconds=body["utc_offset_seconds"])
        lists = body["hourly"]
        for i, text in enumerate(lists["time"]):
            time = text_of(datetime.datetime.fromisoformat(text) - offset)
            hours[time] = {name: lists[name][i] for name in UNITS if name in lists}
    return hours


class Refused(Exception):
    """What the service would say is wrong."""


def answer(hours, query):
    """The body for a query, in the shape that the service gives it."""
    place = [float(query.get(name, "nan")) for name in ("latitude", "longitude")]
    if not (abs(place[0] - 50.93) < 0.1 and abs(place[1] - 1.93) < 0.1):
        raise Refused("This server knows Calais only, at 50.93 north and 1.93 east")
    if query.get("wind_speed_unit") != "ms" or query.get("timezone") != "UTC":
        raise Refused("This server knows m/s and UTC only")
    names = query["hourly"].split(",")
    for name in names:
        if name not in UNITS:
            raise Refused(f"This server has no variable {name}")
    first = datetime.datetime.fromisoformat(query["start_date"])
    last = datetime.datetime.fromisoformat(query["end_date"])
    count = 24 * ((last - first).days + 1)
    times = [text_of(first + datetime.timedelta(hours=i)) for i in range(count)]
    if times[0] not in hours or times[-1] not in hours:
        raise Refused("This server has the days from 2020-01-01 to 2025-11-29")
    lists = {name: [hours[time].get(name) for time in times] for name in names}
    return {
        "latitude": 50.931458,
        "longitude": 1.9285715,
        "generationtime_ms": 0.1,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": 5.0,
        "hourly_units": {"time": "iso8601"} | {name: UNITS[name] for name in names},
        "hourly": {"time": times} | lists,
    }


def handler(hours):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
            try:
                status, body = 200, answer(hours, query)
            except (Refused, KeyError, ValueError) as error:
                status, body = 400, {"error": True, "reason": str(error)}
            text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    return Handler


def main():
    if len(sys.argv) < 2:
        sys.exit("error: expected a command, found nothing (for example: serve.py krammerti run)")
    hours = bundled()
    if "KRAMMERTI_DATA" in os.environ:
        hours |= recorded(Path(os.environ["KRAMMERTI_DATA"]) / "openmeteo-bodies")
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), handler(hours))
    except OSError as error:
        sys.exit(f"error: cannot listen on 127.0.0.1:{PORT}: {error.strerror} (is it running already?)")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        code = subprocess.run(sys.argv[1:], check=False).returncode
    finally:
        server.shutdown()
    # As a shell tells it where a signal ended the command.
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
