"""One history in everything a user may keep it in, how it is read at a moment, and calendars that look alike.

``CARRIERS``: what is made of ``V``, a value for each hour (a series by time stamps), and the value at ``t`` (a time
stamp; ``ms`` in milliseconds). ``CALENDARS``: what is known before, made of ``E``, events by moment, and what an honest
strategy asks of it about the hours ahead.
"""

from __future__ import annotations

import bisect
import collections
import dataclasses
import types
import typing

import numpy as np
import pandas as pd

H = 3_600_000


@dataclasses.dataclass
class Row:
    """A row with a moment (UTC ms)."""

    when: int
    value: object


class Named(typing.NamedTuple):
    """A row with a moment (UTC ms)."""

    when: int
    value: object


def ms_of(stamps):
    return [int(each.timestamp() * 1000) for each in stamps]


def rows_of(values):
    return [(int(each.timestamp() * 1000), value) for each, value in values.items()]


CARRIERS = {
    "a table with text": (
        lambda v: pd.DataFrame({"value": v, "text": "note"}),
        lambda data, t, ms: data.loc[:t].value.iloc[-1],
    ),
    "a table by published_at": (
        lambda v: v.rename("value").rename_axis("published_at").reset_index().assign(text="note"),
        lambda data, t, ms: data[data.published_at <= t].value.iloc[-1],
    ),
    "a column of another name": (
        lambda v: v.rename("value").rename_axis("when").reset_index(),
        lambda data, t, ms: data[data.when <= t].value.iloc[-1],
    ),
    "categories": (lambda v: v.astype("category"), lambda data, t, ms: data.loc[:t].iloc[-1]),
    "objects": (lambda v: v.astype(object), lambda data, t, ms: data.loc[:t].iloc[-1]),
    "periods": (
        lambda v: v.set_axis(v.index.tz_localize(None).to_period("h")),
        lambda data, t, ms: data[pd.Period(t.tz_localize(None), "h")],
    ),
    "times as text": (
        lambda v: v.set_axis(v.index.strftime("%Y-%m-%d %H:%M")),
        lambda data, t, ms: data[f"{t:%Y-%m-%d %H:%M}"],
    ),
    "a symbol and a time": (
        lambda v: pd.concat({"BTCUSDT": v}, names=["symbol", "time"]),
        lambda data, t, ms: data.loc["BTCUSDT", t],
    ),
    "two symbols below each other": (
        lambda v: pd.concat(
            [v.rename("value").rename_axis("time").reset_index().assign(symbol=each) for each in ("BTC", "ETH")]
        ),
        lambda data, t, ms: data[(data.symbol == "BTC") & (data.time <= t)].value.iloc[-1],
    ),
    "by hour": (lambda v: {ms // H: each for ms, each in rows_of(v)}, lambda data, t, ms: data[ms // H]),
    "by second": (lambda v: {ms // 1000: each for ms, each in rows_of(v)}, lambda data, t, ms: data[ms // 1000]),
    "by symbol and hour": (
        lambda v: {("BTCUSDT", ms // H): each for ms, each in rows_of(v)},
        lambda data, t, ms: data["BTCUSDT", ms // H],
    ),
    "by text": (lambda v: {each.isoformat(): v[each] for each in v.index}, lambda data, t, ms: data[t.isoformat()]),
    "by digits": (lambda v: {str(ms): each for ms, each in rows_of(v)}, lambda data, t, ms: data[str(ms)]),
    "dictionaries in dictionaries": (
        lambda v: {"crypto": {"BTCUSDT": {ms // H: each for ms, each in rows_of(v)}}},
        lambda data, t, ms: data["crypto"]["BTCUSDT"][ms // H],
    ),
    "a default dictionary": (
        lambda v: collections.defaultdict(int, rows_of(v)),
        lambda data, t, ms: data[ms],
    ),
    "a read-only dictionary": (lambda v: types.MappingProxyType(dict(rows_of(v))), lambda data, t, ms: data[ms]),
    "tuples": (rows_of, lambda data, t, ms: data[bisect.bisect_right(data, ms, key=lambda row: row[0]) - 1][1]),
    "named tuples": (
        lambda v: [Named(*row) for row in rows_of(v)],
        lambda data, t, ms: [row for row in data if row.when <= ms][-1].value,
    ),
    "data classes": (
        lambda v: [Row(*row) for row in rows_of(v)],
        lambda data, t, ms: [row for row in data if row.when <= ms][-1].value,
    ),
    "dictionaries in a list": (
        lambda v: [{"when": ms, "value": each} for ms, each in rows_of(v)],
        lambda data, t, ms: [row for row in data if row["when"] <= ms][-1]["value"],
    ),
    "a queue": (
        lambda v: collections.deque(rows_of(v)),
        lambda data, t, ms: [row for row in data if row[0] <= ms][-1][1],
    ),
    "a structured array": (
        lambda v: np.array(rows_of(v), dtype=[("when", "i8"), ("value", object)]),
        lambda data, t, ms: data["value"][np.searchsorted(data["when"], ms, side="right") - 1],
    ),
    "time stamps in an array": (
        lambda v: np.array(
            list(zip(v.index.tz_localize(None).to_numpy().astype("M8[s]"), v, strict=True)),
            dtype=[("time", "M8[s]"), ("value", object)],
        ),
        lambda data, t, ms: data["value"][
            np.searchsorted(data["time"], np.datetime64(ms // 1000, "s"), side="right") - 1
        ],
    ),
}
VALUES = {
    "scores": lambda score: score,
    "text": lambda score: "bullish" if score > 0 else "bearish",
    "truth": lambda score: bool(score > 0),
    "dictionaries": lambda score: {"label": "pos" if score > 0 else "neg", "score": abs(score)},
}
CALENDARS = {
    "a table": lambda e: e.rename_axis("when").rename("event").reset_index(),
    "by hour": lambda e: {ms // H: each for ms, each in rows_of(e)},
    "by text": lambda e: {f"{each:%Y-%m-%d %H:%M}": e[each] for each in e.index},
    "tuples": rows_of,
    "data classes": lambda e: [Row(*row) for row in rows_of(e)],
    "levels": lambda e: {19_000 + 100 * at: float(at) for at in range(60)},
    "hours of the day": lambda e: {hour: float(hour % 5) for hour in range(24)},
    "opening hours": lambda e: {ms // H: each.hour in range(8, 20) for each in HOURS for ms in ms_of([each])},
}
HOURS = pd.date_range("2023-12-30", "2024-01-08", freq="h", tz="UTC")
