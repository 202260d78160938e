"""A table language for orders of the market's clock: that of :mod:`managed`, on a market with short sessions.

The market of a row is open from 00:00 to 00:20 UTC from Monday 2024-01-01 on, every working day but Thursday; Wednesday
is a half day that ends at 00:10. Minutes are counted from the first open, without the closed ones: Monday has 0 .. 19,
Tuesday 20 .. 39, Wednesday 40 .. 49, Friday 50 .. 69 and the next Monday 70 .. 89. A flat 100; the strategy is asked
every minute, its first question is at minute 5.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from managed import FREE, Heard, flipped, mirrored_line, told
from scenarios import MINUTE, ORIGIN, Candle, source

import bknb
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy
from bknb.exchanges import in_sessions

DAY = 24 * 60 * MINUTE
SHORT_DAYS = bknb.Sessions.weekly(
    "UTC", {"mon-fri": "00:00-00:20"}, closed=["2024-01-04"], short={"2024-01-03": "00:10"}
)
ALWAYS = None


@cache
def open_times(sessions: bknb.Sessions | None) -> tuple[int, ...]:
    """The open times of the minutes of two weeks; of a market that is always open, of three days."""
    if sessions is None:
        return tuple(range(ORIGIN, ORIGIN + 3 * DAY, MINUTE))
    spans = sessions.open_ranges(ORIGIN, ORIGIN + 14 * DAY)
    return tuple(int(t) for start, end in spans for t in np.arange(start, end, MINUTE))


@dataclass(frozen=True)
class ClockRow:
    """One small world; ``answers`` are those of ``manage``, by the number of the minute that opens then.

    ``signals`` are returned at the questions of these minutes; a minute that is ``missing`` has no candle, and one
    that is ``quiet`` no volume.
    """

    name: str
    signals: Mapping[int, Any]
    lines: Sequence[str] = ()
    candles: Mapping[int, Candle] = field(default_factory=dict)
    answers: Mapping[int, Any] = field(default_factory=dict)
    touch: Sequence[str] | None = None
    vwap: Sequence[str] | None = None
    missing: Sequence[int] = ()
    quiet: Sequence[int] = ()
    end: int = 85
    sessions: bknb.Sessions | None = SHORT_DAYS
    interval: str = "1m"
    at: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def expected(self, model: str) -> list[str] | None:
        """The lines in a model; ``None``: the row says nothing of it."""
        own = {"pessimistic": self.lines, "touch": self.touch or self.lines, "vwap": self.vwap}[model]
        return None if own is None else list(own)

    def rows(self) -> list[tuple[float, ...]]:
        """The candles there are."""
        times = open_times(self.sessions)[: self.end + 15]
        return [
            (times[k], *self.candles.get(k, (100.0,) * 4), 0.0 if k in self.quiet else 100.0)
            for k in range(len(times))
            if k not in self.missing
        ]


def numbered(text: str, sessions: bknb.Sessions | None) -> str:
    """A line with its moment as the number of the open minute that begins then, ``-`` where the market is closed."""
    times = open_times(sessions)

    def number(found: re.Match[str]) -> str:
        moment = ORIGIN + int(found[1]) * MINUTE
        at = int(np.searchsorted(times, moment))
        return f"@{at}" if at < len(times) and times[at] == moment else f"@{at}-"

    return re.sub(r"@m(-?[0-9]+)", number, text)


def clock_source(row: ClockRow) -> Any:
    """The exchange of a row."""
    made = source(row.rows())
    return made if row.sessions is None else in_sessions(made, row.sessions)


def functions_of(row: ClockRow) -> tuple[Any, Any]:
    """``get_signal`` and ``manage`` of a row."""
    times = open_times(row.sessions)

    def at(when: Any) -> int:
        return int(np.searchsorted(times, round(when.timestamp() * 1000)))

    return (lambda when: row.signals.get(at(when))), (lambda when: row.answers.get(at(when)))


def strategy_of(row: ClockRow) -> Any:
    """The strategy of a row; it manages its positions where that answers anything."""
    get_signal, manage = functions_of(row)
    managing = {"manage": manage, "manage_interval": "1m"} if row.answers else {}
    return make_strategy("clocked", get_signal, interval=row.interval, at=row.at, **managing)


def run_of(row: ClockRow, model: str, *, every_minute: bool = False) -> Heard:
    """A row that has run."""
    times = open_times(row.sessions)
    plan = plan_backtest(
        "BTCUSDT",
        strategy=strategy_of(row),
        exchange=clock_source(row),
        frame=(ORIGIN, times[row.end]),
        execution=model,
        settings=FREE | dict(row.settings),
        allow_gaps=bool(row.missing),
    )
    run = Heard(plan, every_minute=every_minute)
    asyncio.run(run.through())
    wrong = [failure for failure in run.records.failures if failure.kind != "warm-up"]
    assert not wrong, wrong
    return run


def play(row: ClockRow, model: str = "pessimistic", *, every_minute: bool = False) -> list[str]:
    """The lines of a row in a model."""
    heard = run_of(row, model, every_minute=every_minute).heard
    return [numbered(told(event), row.sessions) for event in heard if not isinstance(event, bknb.Milestone)]


def mirrored(row: ClockRow) -> ClockRow:
    """The same row with long and short exchanged, and every price p as 200 - p."""
    return replace(
        row,
        name=f"{row.name} (mirrored)",
        signals={k: flipped(signal) for k, signal in row.signals.items()},
        candles={k: (200 - o, 200 - low, 200 - high, 200 - c) for k, (o, high, low, c) in row.candles.items()},
        answers={k: flipped(answer) for k, answer in row.answers.items()},
        lines=[mirrored_line(text) for text in row.lines],
        touch=None if row.touch is None else [mirrored_line(text) for text in row.touch],
        vwap=None if row.vwap is None else [mirrored_line(text) for text in row.vwap],
    )
