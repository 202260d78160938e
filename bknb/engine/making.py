"""Checked exchanges, strategies, frames and rules that are not registered (yet)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from ..domain.execution import execution_model
from ..domain.interval import MINUTE_MS, floor_to, interval_ms
from ..errors import UnknownName, UsageError
from ..market.function import FunctionSource
from ..ports import CandleSource
from .asking import asker
from .registry import STRATEGY_CALLBACKS, AnyFunction, Frame, Strategy, Validation, moment_text


def checked_name(kind: str, name: object) -> str:
    """The name, when it is one."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"the name of a {kind} must be a non-empty text, got {name!r}")
    return name


def checked_callbacks(
    kind: str, callbacks: Mapping[str, AnyFunction] | None, known: Iterable[str]
) -> dict[str, AnyFunction]:
    """Callbacks by name, when all names are known and all values are functions."""
    chosen = dict(callbacks or {})
    for name, function in chosen.items():
        if name not in known:
            raise UnknownName("callback", name, known=known)
        if not callable(function):
            raise UsageError(f"callback {name} of a {kind} must be a function, got {function!r}")
    return chosen


def as_source(name: str, get_candles: object, **formats: Any) -> CandleSource:
    """A ready-made source as it is, a function wrapped as one."""
    if isinstance(get_candles, CandleSource):
        return get_candles
    if callable(get_candles):
        return FunctionSource(get_candles, name=name, **formats)
    raise UsageError(
        f"get_candles must be a function (symbol, interval, since, limit) or a source such as "
        f"bknb.exchanges.demo(), got {get_candles!r:.80}"
    )


def make_strategy(
    name: str,
    get_signal: AnyFunction,
    *,
    interval: str,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
) -> Strategy:
    """A checked strategy that is not registered (yet)."""
    interval_ms(interval)
    execution_model(execution)
    if not callable(get_signal):
        raise UsageError(f"get_signal of strategy {name!r} must be a function, got {get_signal!r:.80}")
    return Strategy(
        name=checked_name("strategy", name),
        interval=interval,
        get_signal=get_signal,
        ask=asker(get_signal),
        risk=risk,
        execution=execution,
        callbacks=checked_callbacks("strategy", callbacks, STRATEGY_CALLBACKS),
    )


def as_moment(value: object, what: str = "a moment") -> int:
    """A text, date, datetime or number as UTC milliseconds; what has no time zone is UTC."""
    if isinstance(value, bool):
        pass
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    elif isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(aware.timestamp() * 1000)
    elif isinstance(value, date):
        return round(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    elif isinstance(value, str):
        try:
            return as_moment(datetime.fromisoformat(value.strip()))
        except ValueError:
            pass
    elif hasattr(value, "item"):
        import numpy as np

        if isinstance(value, np.datetime64):
            return int(value.astype("datetime64[ms]").astype(np.int64))
        return as_moment(value.item(), what)
    raise UsageError(
        f"{what} must be a text such as '2024-01-31' or '2024-01-31 12:00', a date, a datetime or UTC ms, got {value!r}"
    )


def make_frame(name: str | None, start: object, end: object, interval: str = "1m") -> Frame:
    """A checked frame that is not registered (yet); the start is floored to a minute."""
    interval_ms(interval)
    first = floor_to(as_moment(start, "start"), MINUTE_MS)
    last = as_moment(end, "end")
    if last < first:
        raise UsageError(
            f"a frame cannot end before it starts: start {moment_text(first)}, end {moment_text(last)} UTC"
        )
    return Frame(name, first, last, interval)


def as_validation(item: object) -> Validation:
    """A function, a mapping ``{"validate": …, "note": …}`` or a rule as a rule."""
    if isinstance(item, Validation):
        return item
    if isinstance(item, Mapping) and callable(item.get("validate")):
        return Validation(item["validate"], str(item.get("note", "")))
    if callable(item):
        note = (inspect.getdoc(item) or "").split("\n")[0]
        return Validation(item, note)
    raise UsageError(
        f"each validation must be a function (request), or a mapping with 'validate' and 'note'\ngot {item!r:.80}"
    )
