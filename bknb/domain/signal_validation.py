"""Validation of the answer of a strategy: every rule is checked, every broken one is listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeGuard

import msgspec

from ..config import Settings
from .declared_exits import Breakeven, Trailing
from .exit_validation import (
    broken_breakeven,
    broken_trailing,
    is_finite_number,
    is_positive,
    memo_text,
    read_ladder,
    sorted_ladder,
)
from .fills_at_stops_and_gaps import ExecutionModel
from .pnl import net_percentage, net_points
from .signal import Position, Signal, entry_price, sign_of
from .signal_events import Reason
from .text import shown, text_fault

STOPPED: Final = Reason(
    "stopped", "the run was stopped or paused, or its account differs: nothing is opened or made larger"
)
_FIELDS = Signal.__struct_fields__
_LEVEL_RULES = (  # in the order in which they are told
    "take_profit_side",
    "stop_loss_side",
    "stopped_at_once",
    "taken_at_once",
    "take_profit_near",
    "take_profit_costs",
    "stop_loss_near",
    "stop_loss_far",
)
_PRICES = ("price_open", "price_take_profit", "price_stop_loss")
LADDERS: Final = ("price_take_profit", "target_percent")
_OR_PAIRS: Final = dict.fromkeys(("price_open", "price_take_profit"), ", or a ladder: a list of pairs (price, share)")
_PLAIN_TYPES: Final = frozenset((str, bool, int, float, type(None), msgspec.UnsetType))


def read_answer(answer: object, *, negative: bool = False) -> Signal | Reason:
    """A strategy's answer as a ``Signal``, or the reason why it is none.

    Accepts a ``Signal`` or a mapping with its fields. Numbers of numpy and the like become Python numbers, and a ladder
    of targets a tuple of pairs, the level nearest to the entry first. A ``Reason``, the answer of a row of
    ``get_signals`` that is no signal, stays one. ``negative``: whether prices of targets may be at or below zero.

    Examples
    --------
    >>> read_answer({"price_stop_loss": 90.0})
    Reason(code='shape', text="a signal needs position, 'long' or 'short'")
    """
    if isinstance(answer, Reason) or (type(answer) is Signal and _is_plain(answer)):
        return answer
    return _read(answer, negative=negative)


def _read(answer: object, *, negative: bool) -> Signal | Reason:
    if isinstance(answer, Signal):
        values: dict[str, Any] = msgspec.structs.asdict(answer)
    elif isinstance(answer, Mapping):
        values = dict(answer)
        unknown = [str(key) for key in values if key not in _FIELDS]
        if unknown:
            near = get_close_matches(unknown[0], _FIELDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_FIELDS)}"
            return Reason("shape", f"a signal has no field {unknown[0]!r}{hint}")
        if values.get("position") is None and values.get("side") is None:
            return Reason("shape", "a signal needs position, 'long' or 'short'")
    else:
        got = f"got {type(answer).__name__}: {shown(answer, 80)}"
        one = "; a list of signals has no other list in it" if isinstance(answer, list | tuple) else ""
        return Reason("shape", f"a strategy returns None or bknb.Signal(...), {got}{one}")
    with_python_lists(values)
    for name in LADDERS:
        target = values.get(name)
        if type(target) not in _PLAIN_TYPES and isinstance(target, list | tuple | Mapping):
            of_prices = name == "price_take_profit"
            ladder = read_ladder(target, name, negative=negative and of_prices)
            if isinstance(ladder, Reason):
                return ladder
            side = values.get("position") or values.get("side")
            values[name] = sorted_ladder(ladder, -1 if side == "short" and of_prices else 1)
    entry: Any = values.get("price_open")
    if getattr(entry, "ndim", 0) == 2:  # an array of pairs
        entry = entry.tolist()
    if type(entry) not in _PLAIN_TYPES and isinstance(entry, list | tuple | Mapping):
        from .entry_ladder import read_entry_ladder  # few signals have one

        short = (values.get("position") or values.get("side")) == "short"
        rungs = read_entry_ladder(entry, short=short, stop=values.get("entry") == "stop")
        if isinstance(rungs, Reason):
            return rungs
        values["price_open"] = rungs
    fault = plain_numbers(values)
    kind = type(answer) if isinstance(answer, Signal) else Signal
    return kind(**values) if fault is None else fault


def _is_plain(signal: Signal) -> bool:
    """Whether a signal is made of texts and numbers of Python alone: there is nothing to read."""
    whole = (signal.minute_estimated_time, signal.valid, signal.until, signal.bars)
    return _PLAIN_TYPES.issuperset(map(type, msgspec.structs.astuple(signal))) and float not in map(type, whole)


def is_list(answer: object) -> TypeGuard[Sequence[object]]:
    """Whether an answer is several: a list or a tuple, which a ``Reason`` is, too."""
    return isinstance(answer, list) or type(answer) is tuple


def with_python_lists(values: dict[str, Any]) -> None:
    """Make lists of the ladders of an answer that are arrays, in place."""
    for name in LADDERS:
        target: Any = values.get(name)
        if hasattr(target, "tolist"):
            values[name] = target.tolist()


def plain_numbers(values: dict[str, Any]) -> Reason | None:
    """Make Python numbers and texts of those of numpy and the like, in place; the reason where one is no number.

    Exits, ladders and memos are read to their innermost value.
    """
    for name, value in values.items():
        if type(value) in _PLAIN_TYPES:
            continue
        try:
            values[name] = plain = _plain(value)
        except RecursionError:
            return Reason("shape", f"{name} must not contain itself, got {type(value).__name__}")
        if hasattr(plain, "item"):
            got = f"got {type(value).__name__} {shown(value, 60)}"
            return Reason("shape", f"{name} must be one number{_OR_PAIRS.get(name, '')}, {got}")
    for name in ("minute_estimated_time", "valid", "until", "bars"):
        minutes = values.get(name)
        if isinstance(minutes, float) and minutes.is_integer():
            values[name] = int(minutes)
    return None


def _plain(value: Any) -> Any:
    """A value in types of Python; what is neither number, text nor made of them stays as it is."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Trailing | Breakeven):
        return type(value)(**{name: _plain(each) for name, each in msgspec.structs.asdict(value).items()})
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value] if isinstance(value, list) else tuple(_plain(each) for each in value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(each) for key, each in value.items()}
    try:
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError):  # several numbers
        return value


def broken_rules(
    signal: Signal,
    *,
    price: float,
    model: ExecutionModel,
    settings: Settings,
    negative: bool = False,
    in_money: bool = False,
) -> list[Reason]:
    """Every rule that a signal breaks at the average ``price``; an empty list means it may be ordered.

    Levels are judged against every price at which the entry may fill, as far as it is known at the question: a market
    order against ``price``, a limit against itself and, where ``price`` has reached it, against ``price``, a stop entry
    against its level and ``price``. ``vwap`` judges distances against the price of the order alone, as backtest-kit.
    With ``negative`` all of them may lie at or below zero; from an entry there no distance is a percentage, so that
    the least and the largest distances of the settings do not apply to it. ``in_money``: whether there is an account.
    """
    found: list[Reason] = []
    position: object = signal.position
    if position not in ("long", "short"):
        found.append(Reason("position", f"position must be 'long' or 'short', got {shown(signal.position, 80)}"))
    elif signal.side is not None and signal.side != position:
        text = "side is another name for position; give one of them"
        found.append(Reason("position", f"{text}, got position={shown(position, 80)}, side={shown(signal.side, 60)}"))
    if not is_finite_number(price) or (price <= 0 and not negative):
        above = "" if negative else " above 0"
        found.append(Reason("price", f"the average price must be a finite number{above}, got {shown(price, 80)}"))
    found += _broken_prices(signal, negative=negative)
    found += broken_lifetime(signal.minute_estimated_time, settings)
    found += _broken_texts(note=signal.note, name=signal.id)
    found += _broken_exits(signal, price, settings, negative=negative)
    if signal.size is not None and not is_positive(signal.size):
        from .size_of_signal import broken_size  # most have a number, or none

        found += broken_size(signal.size, in_money=in_money)
    if signal.score is not None and not is_finite_number(signal.score):
        found.append(Reason("score", f"score must be a finite number, got {shown(signal.score, 80)}"))
    entry: object = signal.entry
    if entry not in ("limit", "stop", "close"):
        found.append(Reason("entry", f"entry must be 'limit', 'stop' or 'close', got {shown(signal.entry, 80)}"))
    elif entry == "close" and signal.price_open is not None:
        text = f"entry='close' fills at the close of the session, got price_open={shown(signal.price_open, 60)}"
        found.append(Reason("entry", f"{text}; leave one of them out"))
    elif entry == "stop" and signal.price_open is None:
        found.append(Reason("entry", "entry='stop' needs price_open, the price at which the market has to come first"))
    if any(reason.code in ("position", "price", "finite", "positive") for reason in found):
        return found
    return found + _broken_levels(signal, price=price, model=model, settings=settings)


def _broken_prices(signal: Signal, *, negative: bool) -> list[Reason]:
    found: list[Reason] = []
    for name in _PRICES:
        value = getattr(signal, name)
        if value is None or isinstance(value, tuple):  # a ladder was read
            continue
        if not is_finite_number(value):
            got = f"got {shown(value, 80)} ({type(value).__name__})"
            pairs = "" if isinstance(value, int | float) else _OR_PAIRS.get(name, "")
            found.append(Reason("finite", f"{name} must be a finite number{pairs}, {got}"))
        elif value <= 0 and not negative:
            found.append(Reason("positive", f"{name} must be above 0, got {shown(value, 80)}"))
    return found


def _broken_exits(signal: Signal, price: float, settings: Settings, *, negative: bool) -> list[Reason]:
    found: list[Reason] = []
    position: object = signal.position
    sign = -1 if position == "short" else 1
    if signal.trailing is not None:
        entry: object = price if signal.price_open is None else signal.price_open
        known = float(entry) if isinstance(entry, int | float) and is_positive(entry) and not negative else None
        found += broken_trailing(signal.trailing, sign=sign, price=known, what="its entry")
    if signal.breakeven is not None:
        found += broken_breakeven(signal.breakeven, sign=sign, settings=settings)
    if signal.memo is not None and isinstance(fault := memo_text(signal.memo), Reason):
        found.append(fault)
    return found


def _broken_texts(*, note: object, name: object) -> list[Reason]:
    found: list[Reason] = []
    if not isinstance(note, str):
        found.append(Reason("note", f"note must be text, got {type(note).__name__}"))
    elif (fault := text_fault(note, lines=True)) is not None:
        found.append(Reason("note", f"note must be text that can be written, but {fault}"))
    if name is not None and (not isinstance(name, str) or not name):
        found.append(Reason("id", f"id must be a non-empty text or None, got {shown(name, 80)}"))
    elif isinstance(name, str) and (fault := text_fault(name)) is not None:
        found.append(Reason("id", f"id must be text that can be written, but {fault}"))
    return found


def broken_lifetime(minutes: object, settings: Settings) -> list[Reason]:
    """What is wrong with a ``minute_estimated_time``."""
    if minutes is None:
        return []
    longest = settings.max_signal_lifetime_minutes
    if not isinstance(minutes, int) or isinstance(minutes, bool):
        return [Reason("minutes_whole", f"minute_estimated_time must be a whole number, got {shown(minutes, 80)}")]
    if minutes <= 0:
        return [Reason("minutes_positive", f"minute_estimated_time must be above 0, got {minutes}")]
    if longest is not None and minutes > longest:
        text = f"minute_estimated_time {minutes} is above max_signal_lifetime_minutes = {longest}"
        return [Reason("minutes_limit", f"{text}; {allow('max_signal_lifetime_minutes', None)}")]
    return []


def _broken_levels(signal: Signal, *, price: float, model: ExecutionModel, settings: Settings) -> list[Reason]:
    """Rules on exit levels and an entry that are known to be numbers."""
    level = entry_price(signal)
    entry = price if level is None else level
    targets, stop = target_prices(signal), signal.price_stop_loss
    long = signal.position == "long"
    above, below = ("above", "below") if long else ("below", "above")
    sign = 1 if long else -1
    at_market = signal.entry == "stop" or sign * (price - entry) <= 0  # it may fill where the market is
    found = [
        _wrong_side(signal, "price_take_profit", target, above, entry)
        for target in targets
        if sign * (target - entry) <= 0
    ]
    if stop is not None and sign * (entry - stop) <= 0:
        found.append(_wrong_side(signal, "price_stop_loss", stop, below, entry))
    if at_market and stop is not None and sign * (price - stop) <= 0:
        found.append(_beyond("stopped_at_once", "price_stop_loss", stop, price))
    found += [
        _beyond("taken_at_once", "price_take_profit", target, price)
        for target in targets
        if at_market and sign * (target - price) <= 0
    ]
    fills = [entry, price] if at_market and model.fills_at_open else [entry]
    for fill in dict.fromkeys(fills):
        for target in targets:
            if sign * (target - fill) > 0:
                found += _broken_target(signal, target, entry=fill, settings=settings)
        if stop is not None and sign * (fill - stop) > 0:
            found += _broken_stop(signal, stop, entry=fill, settings=settings)
    if not found:
        return found
    first = {reason.code: reason for reason in reversed(found)}
    return [first[code] for code in _LEVEL_RULES if code in first]


def is_timed(signal: Signal) -> bool:
    """Whether a signal says more of its times than ``minute_estimated_time``."""
    return not (
        signal.until is None and signal.bars is None and signal.valid is msgspec.UNSET and signal.entry != "close"
    )


def target_prices(signal: Signal) -> tuple[float, ...]:
    """The prices of the targets of a signal that was read, the nearest first; quote currency."""
    target = signal.price_take_profit
    if target is None:
        return ()
    return (target,) if isinstance(target, int | float) else tuple(price for price, _ in target)


def _wrong_side(signal: Signal, name: str, level: float, side: str, entry: float) -> Reason:
    code = "take_profit_side" if name == "price_take_profit" else "stop_loss_side"
    return Reason(code, f"a {signal.position}'s {name} {level:g} must be {side} its entry {entry:g}")


def _beyond(code: str, name: str, level: float, price: float) -> Reason:
    return Reason(code, f"the market at {price:g} is already at or beyond {name} {level:g}")


def allow(setting: str, value: object) -> str:
    """The line that lifts a limit, as part of a message.

    Examples
    --------
    >>> allow("min_stop_loss_distance_percent", 0)
    "settings={'min_stop_loss_distance_percent': 0} allows it"
    """
    return f"settings={{{setting!r}: {value!r}}} allows it"


def _broken_target(signal: Signal, target: float, *, entry: float, settings: Settings) -> list[Reason]:
    found: list[Reason] = []
    position: Position = "long" if signal.position == "long" else "short"
    if entry <= 0:
        return _broken_target_in_points(position, target, entry=entry, settings=settings)
    distance = (target - entry) / entry * 100 if signal.position == "long" else (entry - target) / entry * 100
    if distance < settings.min_take_profit_distance_percent:
        found.append(target_too_near(f"price_take_profit is {distance:.3f} % from the entry", settings))
    net = net_percentage(position, entry, target, settings.percent_slippage, settings.percent_fee)
    if net <= 0:
        found.append(eaten_by_costs(f"{net:.3f} %", settings))
    return found


def target_too_near(said: str, settings: Settings) -> Reason:
    """That a target is nearer to its entry than allowed."""
    text = f"{said}, min_take_profit_distance_percent = {settings.min_take_profit_distance_percent:g}"
    return Reason("take_profit_near", f"{text}; {allow('min_take_profit_distance_percent', 0)}")


def _broken_target_in_points(position: Position, target: float, *, entry: float, settings: Settings) -> list[Reason]:
    """That costs take all that a target would bring, of an entry at or below zero."""
    sign, costs = sign_of(position), {"slippage": settings.percent_slippage, "fee": settings.percent_fee}
    net = net_points([(sign, entry), (-sign, target)], **costs)
    return [eaten_by_costs(f"{net:.6g} points", settings)] if net <= 0 else []


def eaten_by_costs(net: str, settings: Settings, name: str = "price_take_profit") -> Reason:
    """That costs take all that a target would bring; ``net`` is what is left, ``name`` that of its field."""
    costs = f"percent_fee = {settings.percent_fee:g}, percent_slippage = {settings.percent_slippage:g}"
    text = f"at {name} the trade would make {net} after two fees and two slippages ({costs})"
    free = "settings={'percent_fee': 0, 'percent_slippage': 0} trades without costs"
    return Reason("take_profit_costs", f"{text}; {free}, or set a {name} further away")


def _broken_stop(signal: Signal, stop: float, *, entry: float, settings: Settings) -> list[Reason]:
    if entry <= 0:
        return []  # no distance from it is a percentage
    distance = (entry - stop) / entry * 100 if signal.position == "long" else (stop - entry) / entry * 100
    return broken_stop_distance(distance, "price_stop_loss is {:.3f} % from the entry", settings)


def broken_stop_distance(percent: float, said: str, settings: Settings) -> list[Reason]:
    """That a stop so far from its entry, in percent of it, is nearer or further than allowed; ``said`` formats it."""
    least, most = settings.min_stop_loss_distance_percent, settings.max_stop_loss_distance_percent
    if percent < least:
        text = f"{said.format(percent)}, min_stop_loss_distance_percent = {least:g}"
        return [Reason("stop_loss_near", f"{text}; {allow('min_stop_loss_distance_percent', 0)}")]
    if most is not None and percent > most:
        text = f"{said.format(percent)}, max_stop_loss_distance_percent = {most:g}"
        return [Reason("stop_loss_far", f"{text}; {allow('max_stop_loss_distance_percent', None)}")]
    return []
