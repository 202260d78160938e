"""Validation of the answer of a strategy: every rule is checked, every broken one is listed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from ..config import Settings
from .execution import ExecutionModel
from .pnl import net_percentage
from .signal import Reason, Signal
from .text import text_fault

_FIELDS = Signal.__struct_fields__
_REQUIRED = ("position", "price_take_profit", "price_stop_loss", "minute_estimated_time")
_PRICES = ("price_open", "price_take_profit", "price_stop_loss")


def shown(value: object, length: int) -> str:
    """A user's value as text of at most ``length`` characters, even when its ``repr`` raises.

    Examples
    --------
    >>> shown([1, 2, 3], 4)
    '[1, '
    """
    try:
        return repr(value)[:length]
    except Exception:  # noqa: BLE001 -- a user's repr may raise anything
        return f"<{type(value).__name__}>"


def read_answer(answer: object) -> Signal | Reason:
    """A strategy's answer as a ``Signal``, or the reason why it is none.

    Accepts a ``Signal`` or a mapping with its fields. Numbers of numpy and the like become Python numbers.

    Examples
    --------
    >>> read_answer({"position": "long"})
    Reason(code='shape', text='a signal needs price_take_profit, price_stop_loss, minute_estimated_time')
    """
    if isinstance(answer, Signal):
        values: dict[str, Any] = msgspec.structs.asdict(answer)
    elif isinstance(answer, Mapping):
        values = dict(answer)
        unknown = [str(key) for key in values if key not in _FIELDS]
        if unknown:
            near = get_close_matches(unknown[0], _FIELDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(_FIELDS)}"
            return Reason("shape", f"a signal has no field {unknown[0]!r}{hint}")
        missing = [name for name in _REQUIRED if values.get(name) is None]
        if missing:
            return Reason("shape", f"a signal needs {', '.join(missing)}")
    else:
        return Reason(
            "shape", f"a strategy returns None or bknb.Signal(...), got {type(answer).__name__}: {shown(answer, 80)}"
        )
    for name, value in values.items():
        if hasattr(value, "item") and not isinstance(value, (float, int, str)):
            try:
                values[name] = value.item()
            except (TypeError, ValueError):
                return Reason("shape", f"{name} must be one number, got {type(value).__name__} {value!r:.60}")
        elif isinstance(value, float) and type(value) is not float:
            values[name] = float(value)
    minutes = values["minute_estimated_time"]
    if isinstance(minutes, float) and minutes.is_integer():
        values["minute_estimated_time"] = int(minutes)
    return Signal(**values)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number no float can hold
        return False


def broken_rules(signal: Signal, *, price: float, model: ExecutionModel, settings: Settings) -> list[Reason]:
    """Every rule that a signal breaks at the average ``price``; an empty list means it may be ordered.

    Levels are judged against every price at which the entry may fill, as far as it is known at the question: a market
    order against ``price``, a limit against itself and, where ``price`` has reached it, against ``price``, a stop entry
    against its level and ``price``. ``vwap`` judges distances against the price of the order alone, as backtest-kit.
    """
    found: list[Reason] = []
    position: object = signal.position
    if position not in ("long", "short"):
        found.append(Reason("position", f"position must be 'long' or 'short', got {signal.position!r}"))
    if not _is_number(price) or price <= 0:
        found.append(Reason("price", f"the average price must be a finite number above 0, got {price!r}"))
    for name in _PRICES:
        value = getattr(signal, name)
        if value is None and name == "price_open":
            continue
        if not _is_number(value):
            found.append(Reason("finite", f"{name} must be a finite number, got {value!r} ({type(value).__name__})"))
        elif value <= 0:
            found.append(Reason("positive", f"{name} must be above 0, got {value!r}"))
    found += _broken_lifetime(signal, settings)
    found += _broken_texts(note=signal.note, name=signal.id)
    entry: object = signal.entry
    if entry not in ("limit", "stop"):
        found.append(Reason("entry", f"entry must be 'limit' or 'stop', got {signal.entry!r}"))
    elif entry == "stop" and signal.price_open is None:
        found.append(Reason("entry", "entry='stop' needs price_open, the price at which the market has to come first"))
    if any(reason.code in ("position", "price", "finite", "positive") for reason in found):
        return found
    return found + _broken_levels(signal, price=price, model=model, settings=settings)


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


def _broken_lifetime(signal: Signal, settings: Settings) -> list[Reason]:
    minutes: object = signal.minute_estimated_time
    longest = settings.max_signal_lifetime_minutes
    if not isinstance(minutes, int) or isinstance(minutes, bool):
        return [Reason("minutes_whole", f"minute_estimated_time must be a whole number, got {minutes!r}")]
    if minutes <= 0:
        return [Reason("minutes_positive", f"minute_estimated_time must be above 0, got {minutes}")]
    if longest is not None and minutes > longest:
        text = f"minute_estimated_time {minutes} is above max_signal_lifetime_minutes = {longest}"
        return [Reason("minutes_limit", f"{text}; {allow('max_signal_lifetime_minutes', None)}")]
    return []


def _broken_levels(signal: Signal, *, price: float, model: ExecutionModel, settings: Settings) -> list[Reason]:
    """Rules on two exit levels and an entry that are known to be numbers above 0."""
    entry = price if signal.price_open is None else signal.price_open
    target, stop = signal.price_take_profit, signal.price_stop_loss
    long = signal.position == "long"
    above, below = ("above", "below") if long else ("below", "above")
    sign = 1 if long else -1
    at_market = signal.entry == "stop" or sign * (price - entry) <= 0  # it may fill where the market is
    found: list[Reason] = []
    for room, code, name, level, side in (
        (target - entry, "take_profit_side", "price_take_profit", target, above),
        (entry - stop, "stop_loss_side", "price_stop_loss", stop, below),
    ):
        if sign * room <= 0:
            found.append(Reason(code, f"a {signal.position}'s {name} {level:g} must be {side} its entry {entry:g}"))
    for room, code, name, level in (
        (price - stop, "stopped_at_once", "price_stop_loss", stop),
        (target - price, "taken_at_once", "price_take_profit", target),
    ):
        if at_market and sign * room <= 0:
            found.append(Reason(code, f"the market at {price:g} is already at or beyond {name} {level:g}"))
    fills = [entry, price] if at_market and model.fills_at_open else [entry]
    for fill in dict.fromkeys(fills):
        if sign * (target - fill) > 0:
            found += _broken_target(signal, entry=fill, settings=settings)
        if sign * (fill - stop) > 0:
            found += _broken_stop(signal, entry=fill, settings=settings)
    return list({reason.code: reason for reason in reversed(found)}.values())[::-1]


def allow(setting: str, value: object) -> str:
    """The line that lifts a limit, as part of a message.

    Examples
    --------
    >>> allow("min_stop_loss_distance_percent", 0)
    "settings={'min_stop_loss_distance_percent': 0} allows it"
    """
    return f"settings={{{setting!r}: {value!r}}} allows it"


def _broken_target(signal: Signal, *, entry: float, settings: Settings) -> list[Reason]:
    found: list[Reason] = []
    target = signal.price_take_profit
    distance = (target - entry) / entry * 100 if signal.position == "long" else (entry - target) / entry * 100
    least = settings.min_take_profit_distance_percent
    if distance < least:
        text = f"price_take_profit is {distance:.3f} % from the entry, min_take_profit_distance_percent = {least:g}"
        found.append(Reason("take_profit_near", f"{text}; {allow('min_take_profit_distance_percent', 0)}"))
    net = net_percentage(signal.position, entry, target, settings.percent_slippage, settings.percent_fee)
    if net <= 0:
        costs = f"percent_fee = {settings.percent_fee:g}, percent_slippage = {settings.percent_slippage:g}"
        text = f"at price_take_profit the trade would make {net:.3f} % after two fees and two slippages ({costs})"
        free = "settings={'percent_fee': 0, 'percent_slippage': 0} trades without costs"
        found.append(Reason("take_profit_costs", f"{text}; {free}, or set a price_take_profit further away"))
    return found


def _broken_stop(signal: Signal, *, entry: float, settings: Settings) -> list[Reason]:
    stop = signal.price_stop_loss
    distance = (entry - stop) / entry * 100 if signal.position == "long" else (stop - entry) / entry * 100
    least, most = settings.min_stop_loss_distance_percent, settings.max_stop_loss_distance_percent
    if distance < least:
        text = f"price_stop_loss is {distance:.3f} % from the entry, min_stop_loss_distance_percent = {least:g}"
        return [Reason("stop_loss_near", f"{text}; {allow('min_stop_loss_distance_percent', 0)}")]
    if most is not None and distance > most:
        text = f"price_stop_loss is {distance:.3f} % from the entry, max_stop_loss_distance_percent = {most:g}"
        return [Reason("stop_loss_far", f"{text}; {allow('max_stop_loss_distance_percent', None)}")]
    return []
