"""What `scripts/compare-prepare` needs pandas for: the file that is read, and the other contender.

    python compare-prepare-pandas.py make FILE ROWS
    python compare-prepare-pandas.py prepare FILE FOLDER

The second does what `krammerti prepare` does with the same file, as somebody would write it who
knows pandas and numpy well: whole columns at a time, no loop over rows, nothing computed twice.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

UNITS = {
    "temperature_2m": "°C",
    "dew_point_2m": "°C",
    "relative_humidity_2m": "%",
    "wind_speed_10m": "m/s",
    "wind_direction_10m": "°",
    "wind_gusts_10m": "m/s",
    "surface_pressure": "hPa",
    "precipitation": "mm",
    "shortwave_radiation": "W/m²",
    "pm10": "µg/m³",
}


# The file ----------------------------------------------------------------------------------------


def make(path, rows):
    """Weather of every minute since 2005 with faults of every kind, the same each time."""
    random = np.random.default_rng(20050101)
    minutes = np.arange(rows + rows // 500, dtype=np.int64)
    keep = np.ones(len(minutes), dtype=bool)
    for start in random.integers(0, len(minutes), rows // 100_000 + 1):
        keep[start : start + random.integers(5, 3000)] = False
    minutes = minutes[keep]
    twice = np.sort(random.choice(len(minutes), rows // 2000, replace=False))
    minutes = np.insert(minutes, twice, minutes[twice])[:rows]
    if len(minutes) < rows:
        more = np.arange(rows - len(minutes)) + minutes[-1] + 1
        minutes = np.concatenate([minutes, more])
    values = weather(minutes, random)
    equal = np.flatnonzero(np.diff(minutes) == 0) + 1
    for name, column in values.items():
        break_it(name, column, random)
        column[equal] = column[equal - 1]
    seconds = minutes * 60 + int(pd.Timestamp("2005-01-01", tz="UTC").timestamp())
    times = pa.array(seconds * 1000, type=pa.timestamp("ms", tz="UTC"))
    arrays = {name: pa.array(column, from_pandas=True) for name, column in values.items()}
    table = pa.table({"time": times, **arrays})
    table = table.replace_schema_metadata({"krammerti.units": json.dumps(UNITS)})
    pq.write_table(table, path, compression="zstd")


def weather(minutes, random):
    day = minutes / 1440 * 2 * np.pi
    year = day / 365.25

    def noise(size):
        return random.normal(0, size, len(minutes))

    # Changes from day to day, which no minute jumps over.
    days = np.arange(minutes[-1] // 1440 + 3)
    slow = np.interp(minutes / 1440, days, random.normal(0, 1, len(days)))
    sun = np.maximum(0, np.sin(day - np.pi / 2 + 0.3))
    temperature = 10 - 9 * np.cos(year) + 3 * sun + 3 * slow + noise(0.05)
    wind = np.abs(6 + 2 * slow + np.sin(day / 3) + noise(0.3))
    depression = 3 + 2 * sun + np.abs(slow)
    values = {
        "temperature_2m": temperature,
        "dew_point_2m": temperature - depression + noise(0.02),
        "relative_humidity_2m": np.clip(80 - 6 * depression + noise(0.5), 1, 99.5),
        "wind_speed_10m": wind,
        "wind_direction_10m": np.mod(200 + 80 * slow + noise(5), 360),
        "wind_gusts_10m": wind * 1.4 + np.abs(noise(0.4)),
        "surface_pressure": 1010 + 8 * slow + noise(0.03),
        "precipitation": np.where(slow > 1.2, np.abs(noise(0.02)), 0),
        "shortwave_radiation": 700 * sun + np.abs(noise(2)),
        "pm10": 20 + 6 * slow + np.abs(noise(1)),
    }
    return {name: np.round(column, 2) for name, column in values.items()}


def break_it(name, column, random):
    def places(every):
        return random.integers(0, len(column), len(column) // every + 1)

    for start in places(500_000):
        column[start : start + random.integers(1500, 4000)] = column[start]
    if name != "wind_direction_10m":
        column[places(50_000)] += 60
    column[places(20_000)] = 99_999 if name == "pm10" else 5000
    column[places(1000)] = -9999
    column[places(500)] = np.nan


# The other contender -----------------------------------------------------------------------------

STEP_S, RAW_S = 600, 60
DAY_S = 86_400
# Lowest, highest, largest change in a minute and in an hour, values at which a sensor may stay,
# whether it can be stuck: those that docs/params.md names.
LIMITS = {
    "temperature_2m": (-90, 60, (3, 15), [], True),
    "dew_point_2m": (-100, 40, (4, 15), [], True),
    "relative_humidity_2m": (0, 100, (15, 70), [0, 100], True),
    "wind_speed_10m": (0, 115, (20, 30), [0], True),
    "wind_direction_10m": (0, 360, None, [], False),
    "wind_gusts_10m": (0, 115, (20, 30), [0], True),
    "surface_pressure": (500, 1090, (2, 12), [], True),
    "precipitation": (0, 400, None, [], False),
    "shortwave_radiation": (-20, 2000, None, [], False),
    "pm10": (0, 20_000, None, [], False),
}
SENTINELS = [-999, -999.9, -999.99, -3270.9, -3276.8, -7777, -8888, -9999, -9999.9, -9999.99]
SENTINELS += [-32768, -99999, 1e20, 9.969209968386869e36]
PAIRS = [("dew_point_2m", "temperature_2m"), ("wind_speed_10m", "wind_gusts_10m")]
AGGREGATES = {name: "mean" for name in UNITS}
AGGREGATES |= {"wind_gusts_10m": "max", "precipitation": "sum"}


class Report:
    def __init__(self, times):
        self.times, self.checks = times, []

    def tell(self, check, column, count, places=(), measured=None):
        examples = [str(self.times[place]) for place in places[:3]]
        entry = {"check": check, "column": column, "count": int(count), "examples": examples}
        self.checks.append({**entry, "measured": None if measured is None else float(measured)})


def rows_checked(frame, report):
    """Order, step and equal rows; returns what is kept."""
    seconds = frame["time"].dt.tz_convert(None).to_numpy()
    seconds = seconds.astype("datetime64[s]").astype(np.int64)
    older = np.flatnonzero(np.diff(seconds) < 0) + 1
    report.tell("order", None, len(older), older)
    if len(older):
        order = np.argsort(seconds, kind="stable")
        frame, seconds = frame.iloc[order].reset_index(drop=True), seconds[order]
    phase = seconds % RAW_S
    off = np.flatnonzero(phase != np.bincount(phase).argmax())
    report.tell("off_step", None, len(off), off)
    again = np.flatnonzero(np.diff(seconds) == 0) + 1
    if len(again):
        values = frame.drop(columns="time")
        before, after = values.iloc[again - 1].to_numpy(), values.iloc[again].to_numpy()
        same = ((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=1)
        report.tell("duplicates", None, same.sum(), again[same])
        report.tell("conflicts", None, (~same).sum(), again[~same])
        keep = np.ones(len(seconds), dtype=bool)
        keep[again] = False
        frame, seconds = frame[keep], seconds[keep]
    missing = np.diff(seconds) - RAW_S
    long = np.flatnonzero(missing > DAY_S)
    report.tell("gaps", None, len(long), long, measured=(missing >= RAW_S).sum())
    return frame.set_index("time"), seconds


def values_checked(name, values, seconds, report):
    """Masks single values of a column that are not believed, in place."""
    lowest, highest, *_ = LIMITS[name]
    there = ~np.isnan(values)
    large = there & (np.abs(values) >= 998)
    bad = np.zeros(len(values), dtype=bool)
    looked_at = values[large]
    hits = np.zeros(len(looked_at), dtype=bool)
    for sentinel in SENTINELS:
        if not lowest <= sentinel <= highest:
            hits |= np.abs(looked_at - sentinel) <= 1e-7 * abs(sentinel)
    bad[large] = hits
    report.tell("sentinels", name, hits.sum(), np.flatnonzero(bad))
    outside = there & ~bad & ((values < lowest) | (values > highest))
    report.tell("range", name, outside.sum(), np.flatnonzero(outside))
    observed = np.flatnonzero(there & ~bad)
    steps = (seconds[-1] - seconds[0]) // RAW_S + 1
    longest = np.diff(seconds[observed]).max() - RAW_S
    share = 1 - len(observed) / steps
    report.tell("completeness", name, share > 0.1 or longest > 7 * DAY_S, (), share)
    values[bad | outside] = np.nan


def changes_checked(name, values, seconds, report):
    """Masks changes that are not believed, and values that do not change."""
    _, _, change, resting, sticks = LIMITS[name]
    if name != "wind_direction_10m":
        drift(name, values, seconds, report)
    believed = np.flatnonzero(~np.isnan(values))
    kept, when = values[believed], seconds[believed]
    report.tell("constant", name, kept.min() == kept.max())
    if change:
        minute, hour = change
        jumps = np.abs(np.diff(kept))
        limit = np.clip(hour * np.sqrt(np.diff(when) / 3600), minute, 3 * hour)
        jump = jumps > limit
        # A jump right after a jump is the way back from a spike.
        spike = jump.copy()
        spike[1:] &= ~jump[:-1]
        spike = np.flatnonzero(spike) + 1
        report.tell("spikes", name, len(spike), believed[spike])
        values[believed[spike]] = np.nan
        kept, when, believed = (np.delete(part, spike) for part in (kept, when, believed))
    if sticks:
        borders = np.flatnonzero(np.diff(kept) != 0) + 1
        starts = np.concatenate([[0], borders])
        ends = np.concatenate([borders, [len(kept)]])
        long = (ends - starts >= 12) & (when[ends - 1] - when[starts] >= DAY_S)
        long &= ~np.isin(kept[starts], resting)
        count = (ends[long] - starts[long]).sum()
        report.tell("stuck", name, count, believed[starts[long]])
        for start, end in zip(starts[long], ends[long]):
            values[believed[start:end]] = np.nan


def drift(name, values, seconds, report):
    """The population stability index over whole years beside the end of the training part."""
    first, last, year = seconds[0], seconds[-1], 365 * DAY_S
    border = first + int((last - first) * 0.7)
    if min(border - first, last - border) < year:
        return
    before = border - (border - first) // year * year
    after = border + (last - border) // year * year
    start, middle, end = np.searchsorted(seconds, [before, border, after])

    def sample(part):
        part = part[:: max(1, -(-len(part) // 100_000))]
        return part[~np.isnan(part)]

    train, rest = sample(values[start:middle]), sample(values[middle:end])
    edges = np.unique(np.quantile(train, np.arange(1, 10) / 10))

    def shares(part):
        counts = np.bincount(np.searchsorted(edges, part, "right"), minlength=len(edges) + 1)
        return np.maximum(counts / len(part), 1e-4)

    p, q = shares(train), shares(rest)
    index = np.sum((q - p) * np.log(q / p))
    report.tell("drift", name, index > 0.25, (), index)


def prepare(path, folder):
    frame = pd.read_parquet(path)
    rows = len(frame)
    report = Report(frame["time"].array)
    frame, seconds = rows_checked(frame, report)
    kept = len(frame)
    report.times = frame.index
    columns = {name: frame[name].to_numpy(copy=True) for name in UNITS}
    index = frame.index
    del frame
    for name, values in columns.items():
        values_checked(name, values, seconds, report)
    for low, high in PAIRS:
        above = np.flatnonzero(columns[low] > columns[high] + 0.5)
        report.tell("consistency", f"{low} <= {high}", len(above), above)
    for name, values in columns.items():
        changes_checked(name, values, seconds, report)

    speed = columns.pop("wind_speed_10m")
    direction = np.deg2rad(columns.pop("wind_direction_10m"))
    columns["wind_u"] = -speed * np.sin(direction)
    columns["wind_v"] = -speed * np.cos(direction)
    frame = pd.DataFrame(columns, index=index, copy=False)
    how = {name: AGGREGATES.get(name, "mean") for name in columns}
    groups = frame.resample(f"{STEP_S}s", label="right", closed="right")
    series = groups.agg(how)
    series.loc[groups["precipitation"].count() == 0, "precipitation"] = np.nan

    train = series.iloc[: int(len(series) * 0.7)]
    scaling = {"mean": train.mean().to_dict(), "std": train.std(ddof=0).to_dict()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    series.to_parquet(folder / "series.parquet", compression="zstd")
    (folder / "dataset.json").write_text(json.dumps({"units": UNITS, "scaling": scaling}))
    told = {"rows_in": rows, "kept": kept, "dropped": rows - kept}
    quality = {"rows": told, "checks": report.checks}
    (folder / "quality.json").write_text(json.dumps(quality, indent=1))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", path, rows]:
            make(path, int(rows))
        case ["prepare", path, folder]:
            prepare(path, folder)
        case _:
            sys.exit(__doc__)
