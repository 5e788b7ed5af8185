#!/usr/bin/env python3
"""Makes pandas.parquet, as pandas (3.1.1) and pyarrow (26.0.1) write a table by default: snappy, an index,
text in dictionaries, times with and without a zone, small numbers. The values are made up.

    pip install pandas pyarrow && python3 tests/data/make-parquet.py
"""
from pathlib import Path

import pandas as pd

times = pd.to_datetime(["2020-10-25 01:30", "2020-10-25 02:30", "2020-10-25 02:30", "2020-10-25 03:30"])
frame = pd.DataFrame(
    {
        "local": times,
        "instant": times.tz_localize("Europe/Berlin", ambiguous=[True, True, False, False]),
        "unix": [1603582200, 1603585800, 1603589400, 1603593000],
        "date": [time.date() for time in times],
        "station": ["a", "a", "a", "a"],
        "category": pd.Categorical(["a", "a", "a", "a"]),
        "temperature": [1.5, None, 3.5, 4.5],
        "humidity": pd.array([50, 60, None, 80], dtype="Int32"),
        "small": pd.array([50, 60, None, 80], dtype="Int8"),
        "pressure": pd.array([1000.5, 1001.5, 1002.5, 1003.5], dtype="float32"),
        "text": ["1.5", "NA", None, "-9999"],
        "flag": [True, False, True, False],
    }
).set_index("local")
frame.to_parquet(Path(__file__).parent / "pandas.parquet")
