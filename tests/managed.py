"""A table language for positions that are managed: a row is a signal, candles, answers by minute, and what comes of it.

The world is that of :mod:`scenarios`: a flat 100, minute 0 is the first moment of the frame. A signal is asked for at
minute 0, ``manage`` every minute. Lines of an expectation are those of :mod:`scenarios`, and besides them::

    reduced take_profit 0.5 at 104 @m3, 0.5 left
    added 0.5 at 98 @m4, 1.5 held
    moved breakeven to 100 @m3          the stop in force, or "none"
    taken back timeout @m9              a resting add
    rejected add_limit, closed @m3

``mirrored`` turns prices p into 200 - p and long into short, in candles, signals, answers and lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import msgspec
from scenarios import MINUTE, ORIGIN, Candle, line, minute, source

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.registration_checks import make_strategy

FREE: dict[str, Any] = {"percent_fee": 0.0, "percent_slippage": 0.0}
_PRICES = ("price_open", "price_stop_loss", "price_take_profit")


@dataclass(frozen=True)
class Row:
    """One small world; ``asked`` answers get_signal's questions in turn, ``answers`` are those of ``manage``."""

    name: str
    signal: bknb.Signal
    candles: Mapping[int, Candle] = field(default_factory=dict)
    answers: Mapping[int, Any] = field(default_factory=dict)
    lines: Sequence[str] | None = ()
    touch: Sequence[str] | None = None
    vwap: Sequence[str] | None = None
    end: int = 30
    volume: Mapping[int, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    data_end: int | None = None
    risk: Any = None
    interval: str = "1m"
    mirrors: bool = True

    def expected(self, model: str) -> list[str] | None:
        """The lines in a model; ``None``: the row says nothing of it."""
        own = {"pessimistic": self.lines, "touch": self.touch, "vwap": self.vwap}[model]
        if own is None and model == "touch":
            own = self.lines
        return None if own is None else list(own)

    def mirrored(self) -> Row:
        """The same row with long and short exchanged."""
        return replace(
            self,
            name=f"{self.name} (mirrored)",
            signal=flipped(self.signal),
            candles={k: (200 - o, 200 - low, 200 - high, 200 - c) for k, (o, high, low, c) in self.candles.items()},
            answers={k: flipped(answer) for k, answer in self.answers.items()},
            lines=None if self.lines is None else [mirrored_line(text) for text in self.lines],
            touch=None if self.touch is None else [mirrored_line(text) for text in self.touch],
            vwap=None if self.vwap is None else [mirrored_line(text) for text in self.vwap],
        )


def flipped(answer: Any) -> Any:
    """An answer with every price p as 200 - p and long and short exchanged."""
    if isinstance(answer, list):
        return [flipped(one) for one in answer]
    if not isinstance(answer, msgspec.Struct):
        return answer
    changes: dict[str, Any] = {}
    for name in _PRICES:
        value = getattr(answer, name, None)
        if isinstance(value, list):
            changes[name] = [(200 - price, share) for price, share in value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            changes[name] = 200 - value
    if isinstance(answer, bknb.Signal):
        changes["position"] = "short" if answer.position == "long" else "long"
    return msgspec.structs.replace(answer, **changes)


def in_percent(answer: Any, price: float) -> Any:
    """An answer whose stops and targets are percent, as far from what is paid as its prices are from ``price``."""
    if isinstance(answer, list):
        return [in_percent(one, price) for one in answer]
    if not isinstance(answer, bknb.Signal | bknb.Move):
        return answer
    none = None if isinstance(answer, bknb.Signal) else msgspec.UNSET
    entry = getattr(answer, "price_open", None) or price
    if isinstance(entry, list):  # an entry in parts
        return answer
    changes: dict[str, Any] = {}
    if isinstance(stop := answer.price_stop_loss, float):
        changes |= {"price_stop_loss": none, "stop_percent": abs(stop / entry - 1) * 100}
    if isinstance(target := answer.price_take_profit, list):
        ladder = [(abs(level / entry - 1) * 100, share) for level, share in target]
        changes |= {"price_take_profit": none, "target_percent": ladder}
    elif isinstance(target, float):
        changes |= {"price_take_profit": none, "target_percent": abs(target / entry - 1) * 100}
    return msgspec.structs.replace(answer, **changes)


def mirrored_line(text: str) -> str:
    """A line with the price behind ``at``, ``to`` or an action mirrored."""
    words = text.split()
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        price = before in ("at", "to", "opened", "scheduled") or (words[0] == "closed" and at == 2)
        if price and word[0].isdigit():
            words[at] = f"{200 - float(word):.10g}"
    return " ".join(words)


def told(event: Any) -> str:
    """An event as a line."""
    at = f"@{minute(event.when)}"
    match event:
        case bknb.Reduced():
            fill = event.fill
            return f"reduced {fill.reason} {fill.share:.6g} at {fill.price:.10g} {at}, {event.size:.6g} left"
        case bknb.Added():
            return f"added {event.fill.share:.6g} at {event.fill.price:.10g} {at}, {event.size:.6g} held"
        case bknb.Moved():
            stop = "none" if event.price_stop_loss is None else f"{event.price_stop_loss:.10g}"
            return f"moved {event.reason} to {stop} {at}"
        case bknb.AddCancelled():
            return f"taken back {event.reason} {at}"
        case bknb.Rejected():
            return f"rejected {', '.join(dict.fromkeys(reason.code for reason in event.reasons))} {at}"
        case bknb.RiskRefused():
            return f"refused {event.note} {at}"
        case _:
            return line(event)


class Heard(BacktestRun):
    """A backtest that keeps its events in the order in which they happened."""

    def __init__(self, plan: Any, **options: Any) -> None:
        super().__init__(plan, **options)
        self.heard: list[Any] = []

    def _make_loop(self, window: Any, strategy: Any) -> Any:
        loop = super()._make_loop(window, strategy)
        loop._on_event = self.heard.append
        return loop


@cache
def _exchange(rows: tuple[tuple[float, ...], ...]) -> Any:
    return source(list(rows))


def run_of(row: Row, model: str, *, every_minute: bool = False) -> Heard:
    """A row that has run."""
    asked: list[int] = []

    def get_signal(when: Any) -> Any:
        asked.append(1)
        return row.signal if len(asked) == 1 else None

    def manage(when: Any) -> Any:
        return row.answers.get((round(when.timestamp() * 1000) - ORIGIN) // MINUTE)

    if row.risk is not None:
        bknb.add_risk("rules", validations=row.risk)
    last = row.end + 10 if row.data_end is None else row.data_end
    rows = tuple(
        (ORIGIN + k * MINUTE, *row.candles.get(k, (100.0,) * 4), row.volume.get(k, 100.0)) for k in range(-60, last + 1)
    )
    plan = plan_backtest(
        "BTCUSDT",
        strategy=make_strategy(
            "managed", get_signal, interval=row.interval, manage=manage, manage_interval="1m",
            risk=None if row.risk is None else "rules",
        ),
        exchange=_exchange(rows),
        frame=(ORIGIN, ORIGIN + row.end * MINUTE),
        execution=model,
        settings=FREE | dict(row.settings),
    )  # fmt: skip
    run = Heard(plan, every_minute=every_minute)
    asyncio.run(run.through())
    assert not run.records.failures, run.records.failures
    return run


def play(row: Row, model: str, *, every_minute: bool = False) -> list[str]:
    """The lines of a row in a model."""
    heard = run_of(row, model, every_minute=every_minute).heard
    return [told(event) for event in heard if not isinstance(event, bknb.Milestone)]
