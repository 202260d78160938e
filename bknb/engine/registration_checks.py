"""Checked exchanges, strategies, frames and rules that are not registered (yet)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..config import tick_problems
from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.formatting import minute_text, with_article
from ..domain.interval import MINUTE_MS, WEEK_MS, floor_to, interval_ms
from ..domain.text import text_fault
from ..domain.whole_number import checked_number, whole_number
from ..errors import UnknownName, UsageError
from ..market.sources import FunctionSource, with_intervals
from ..ports import CandleSource
from .call_by_name import calling_by_name, named
from .get_signals_vectorised import DEFAULT_LOOKBACK, Windowed, is_vectorised
from .registry import STRATEGY_CALLBACKS, AnyFunction, Frame, Strategy, Validation
from .strategy_checks import (
    checked_interval,
    checked_manage,
    checked_params,
    checked_places,
    checked_schedules,
    checked_uses,
)

if TYPE_CHECKING:
    from ..domain.schedules import Schedule

_CALENDAR_END_MS: Final = 253_402_300_800_000  # 10000-01-01


def checked_name(kind: str, name: object) -> str:
    """The name, when it is one."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"the name of {with_article(kind)} must be a non-empty text, got {name!r}")
    fault = text_fault(name)
    if fault is not None:
        raise UsageError(f"{name!a:.80} cannot be the name of {with_article(kind)}: {fault}\ngive it a plain name")
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
            raise UsageError(f"callback {name} of {with_article(kind)} must be a function, got {function!r:.80}")
    return chosen


def as_source(name: str, get_candles: object, *, negative: bool = False, **formats: Any) -> CandleSource:
    """A ready-made source as it is, a function wrapped as one; ``negative``: its prices may be at or below zero."""
    given: object = negative
    if not isinstance(given, bool):
        raise UsageError(f"negative must be True or False, got {given!r:.60}")
    if isinstance(get_candles, CandleSource):
        if negative and not getattr(get_candles, "negative", False):
            raise UsageError(
                f"negative=True is for functions, and {name!r} is a ready-made source\n"
                "say it where the source is made: bknb.exchanges.from_frame(..., negative=True)"
            )
        return with_intervals(name, get_candles, formats.get("intervals"))
    if callable(get_candles):
        return FunctionSource(get_candles, name=name, negative=negative, **formats)
    raise UsageError(
        f"get_candles must be a function (symbol, interval, since, limit) or a source such as "
        f"bknb.exchanges.demo(), got {get_candles!r:.80}"
    )


def limits_of_source(source: CandleSource) -> Mapping[str, Any]:
    """What a source itself says its markets take, as fields of an ``Exchange``: joined exchanges know it.

    Examples
    --------
    >>> from bknb.exchanges import demo
    >>> limits_of_source(demo())
    {}
    """
    found: Mapping[str, Any] = getattr(source, "market_limits", {})
    return found


def make_strategy(
    name: str,
    get_signal: AnyFunction | None = None,
    *,
    interval: str | None = None,
    get_signals: AnyFunction | None = None,
    params: Mapping[str, Any] | None = None,
    lookback: int = DEFAULT_LOOKBACK,
    risk: str | None = None,
    execution: str = "pessimistic",
    callbacks: Mapping[str, AnyFunction] | None = None,
    manage: AnyFunction | None = None,
    manage_interval: str | None = None,
    at: Schedule | str | None = None,
    late: str | bool = "miss",
    manage_at: Schedule | str | None = None,
    get_weight: AnyFunction | None = None,
    tolerance: float | None = None,
    reenter: bool = False,
    together: bool = False,
    cash_buffer_percent: float = 0.0,
    symbols: tuple[str, ...] = (),
    places: int = 1,
    uses: object = None,
) -> Strategy:
    """A checked strategy that is not registered (yet).

    A function whose first parameter is called ``candles`` is a ``get_signals``, and one that is called ``get_weight``,
    or given with a ``tolerance``, a ``get_weight``.
    """
    checked_name("strategy", name)
    called_so = getattr(get_signal, "__name__", "")
    if get_signal is not None and get_signals is None and tolerance is not None and called_so != "get_weight":
        get_signal, get_signals = (None, get_signal) if is_vectorised(get_signal) else (get_signal, None)
    if get_weight is None and called_so != "get_signal" and (tolerance is not None or called_so == "get_weight"):
        get_weight, get_signal = get_signal, None
    if get_weight is not None or tolerance is not None or reenter is not False or called_so == "get_weights":
        from .weight_questions import checked_weight  # few strategies answer with weights

        beside = {"get_signal": get_signal, "get_signals": get_signals, "manage": manage,
                  "manage_interval": manage_interval, "manage_at": manage_at}  # fmt: skip
        tolerance = checked_weight(name, get_weight, tolerance, reenter, beside=beside, execution=execution)
        get_signal = get_weight if get_signals is None else get_signal
    execution_model(execution)
    if get_signal is not None and get_signals is not None:
        raise UsageError(f"strategy {name!r} has both get_signal and get_signals; give one of them")
    if get_signals is None and get_signal is not None and get_weight is None and is_vectorised(get_signal):
        get_signal, get_signals = None, get_signal
    function, what = (get_signal, "get_signal") if get_signals is None else (get_signals, "get_signals")
    what = what if get_weight is None else "get_weight"
    interval = checked_interval(name, interval, at, what)
    if not callable(function):
        raise UsageError(f"{what} of strategy {name!r} must be a function, got {function!r:.80}")
    lookback = whole_number("lookback", lookback, least=1, hint="give how many candles get_signals sees, such as 500")
    places = checked_places(name, places, weights=tolerance is not None)
    used = checked_uses(name, uses, function, what=what)
    chosen = checked_params(name, function, params, manage=manage)
    asked_to_manage = checked_manage(name, manage, manage_interval, chosen)
    schedule, asks_late, manage_schedule = checked_schedules(name, at, late, manage_at, what=what, manage=manage)
    if manage_schedule is not None and manage_interval is not None:
        raise UsageError(f"strategy {name!r} has both manage_interval and manage_at; give one of them")
    if get_signals is None:
        called: AnyFunction = function
        own = named(function, chosen)
        ask = calling_by_name(partial(function, **own) if own else function, several=bool(symbols))
    else:
        rows = Windowed(get_signals, name=name, interval=interval, lookback=lookback, params=chosen, uses=used,
                        manage=manage, manage_interval=manage_interval, weights=tolerance is not None)  # fmt: skip
        called = ask = rows.get_signal
        asked_to_manage = rows.ask_manage
    if tolerance is not None and not symbols:
        from .weight_questions import weight_asks

        ask, asked_to_manage = weight_asks(ask, tolerance)
    return Strategy(
        name=name,
        interval=interval,
        get_signal=called,
        ask=ask,
        risk=risk,
        execution=execution,
        callbacks=checked_callbacks("strategy", callbacks, STRATEGY_CALLBACKS),
        get_signals=get_signals,
        params=chosen,
        lookback=lookback if get_signals is not None else 0,
        manage=manage,
        ask_manage=asked_to_manage,
        manage_interval=manage_interval,
        at=schedule,
        late=asks_late,
        manage_at=manage_schedule,
        tolerance=tolerance,
        reenter=reenter,
        together=together,
        cash_buffer_percent=cash_buffer_percent,
        symbols=symbols,
        places=places,
        uses=used,
    )


def with_params(strategy: Strategy, params: Mapping[str, Any]) -> Strategy:
    """The same strategy with other parameters; those it had already stay where they are not named.

    Examples
    --------
    >>> made = make_strategy("demo", interval="1h", get_signals=lambda candles, fast=10, slow=30: None)
    >>> with_params(made, {"fast": 5}).params
    {'fast': 5}
    """
    if not params:
        return strategy
    return rebuilt(strategy, params={**strategy.params, **params})


def rebuilt(strategy: Strategy, **changes: Any) -> Strategy:
    """The same strategy with some of what it was made of changed."""
    return make_strategy(strategy.name, **{**definition(strategy), **changes})


def definition(strategy: Strategy) -> dict[str, Any]:
    """What ``make_strategy`` needs, besides the name, to make this strategy again."""
    vectorised = strategy.get_signals is not None
    made: dict[str, Any] = {
        "interval": strategy.interval,
        "get_signal": None if vectorised else strategy.get_signal,
        "get_signals": strategy.get_signals,
        "params": strategy.params,
        "risk": strategy.risk,
        "execution": strategy.execution,
        "callbacks": strategy.callbacks,
    }
    if strategy.weights is not None:
        asked = {} if vectorised else {"get_signal": None, "get_weight": strategy.get_signal}
        made |= {**asked, "tolerance": strategy.tolerance}
        made |= {"symbols": strategy.symbols} if strategy.symbols else {}
        of_weights = ("reenter", "together", "cash_buffer_percent")
        made |= {name: value for name in of_weights if (value := getattr(strategy, name))}
    if strategy.manage is not None:
        made |= {"manage": strategy.manage, "manage_interval": strategy.manage_interval}
        if strategy.manage_at is not None:
            made["manage_at"] = strategy.manage_at
    if strategy.at is not None:
        made |= {"at": strategy.at, "late": strategy.late}
    if strategy.places > 1:
        made["places"] = strategy.places
    if vectorised:
        made["lookback"] = strategy.lookback
    if strategy.uses:
        made["uses"] = strategy.uses
    return made


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
    if interval_ms(interval) >= WEEK_MS:
        raise UsageError("interval of a frame is for up to '3d'; over weekly bars its moments are theirs: leave it out")
    first = floor_to(as_moment(start, "start"), MINUTE_MS)
    last = as_moment(end, "end")
    if last < first:
        raise UsageError(
            f"a frame cannot end before it starts: start {minute_text(first)}, end {minute_text(last)} UTC"
        )
    if last >= _CALENDAR_END_MS:
        raise UsageError(f"a frame must end before the year 10000, got {last} ms\ngive milliseconds, a date or a text")
    return Frame(name, first, last, interval)


def checked_tick(tick: object) -> float | Mapping[str, float] | None:
    """The step of an exchange's prices as given, one or one for each symbol.

    Raises
    ------
    UsageError
        When one is no finite number above 0.
    """
    if isinstance(tick, Mapping):
        found = [text for symbol, step in tick.items() for text in tick_problems(f"tick of {symbol!r:.80}", step)]
    else:
        found = tick_problems("tick", tick)
    if found:
        raise UsageError("\n".join(found))
    return tick  # type: ignore[return-value]  # checked above


def checked_least(name: str, given: object) -> float | Mapping[str, float] | None:
    """The step of quantities, or a least amount, of an exchange as given: one, or one for each symbol.

    Raises
    ------
    UsageError
        When one is no finite number of at least 0.
    """
    for symbol, value in given.items() if isinstance(given, Mapping) else [("", given)]:
        if value is not None or symbol:
            what = f"{name} of {symbol!r:.80}" if symbol else name
            checked_number(what, value, "a number of at least 0", fits=lambda number: number >= 0.0)
    return given  # type: ignore[return-value]  # checked above


def as_validation(item: object) -> Validation:
    """A function, a mapping ``{"validate": …, "note": …}`` or a rule as a rule."""
    if isinstance(item, Validation):
        return item
    if isinstance(item, Mapping) and callable(item.get("validate")):
        return Validation(item["validate"], str(item.get("note", "")))
    if callable(item):
        told = getattr(item, "note", None)  # of a protection, whose text says all
        return Validation(item, told if isinstance(told, str) else (inspect.getdoc(item) or "").split("\n")[0])
    raise UsageError(
        f"each validation must be a function (request), or a mapping with 'validate' and 'note'\ngot {item!r:.80}"
    )
