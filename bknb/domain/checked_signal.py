"""A signal with everything its order depends on: checked as it was answered, and as it filled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import inf
from operator import is_, itemgetter
from typing import Any, Final

import msgspec

from ..config import Settings
from .declared_exits import targets_of
from .exit_validation import memo_text, read_ladder
from .formatting import stamp_text
from .pnl import net_percentage
from .signal import CheckedSignal, OpenSignal, Rung, ScheduledSignal, Signal, SignalSize, entry_price, sign_of
from .signal_events import Reason
from .signal_validation import broken_rules, is_timed, target_prices
from .states import Rules
from .text import shown
from .tick_grid import on_grid
from .trailing_and_breakeven_stops import percent_stop, percent_targets

# most signals are at the market, with one target, one stop and a deadline in minutes: they say nothing else
_SAID: Final = ("position", "price_take_profit", "price_stop_loss", "minute_estimated_time", "note", "side")
_OTHERS: Final = [(at, name) for at, name in enumerate(Signal.__struct_fields__) if name not in _SAID]
_others_of: Final = itemgetter(*[at for at, _ in _OTHERS])
_UNSAID: Final = tuple({"valid": msgspec.UNSET, "entry": "limit"}.get(name) for _, name in _OTHERS)
_MOVED: Final = re.compile(r"(.+)~([1-9][0-9]{0,8})", re.DOTALL)


def signal_id(rules: Rules, when: int, suffix: str = "") -> str:
    """The id of a signal that brought none: strategy, symbol, minute and place; the same in every run.

    ``suffix`` tells it from others of the same answer and place.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> from bknb.domain.fills_at_stops_and_gaps import execution_model
    >>> signal_id(Rules("BTCUSDT", "sma", "demo", None, "live", execution_model("touch"), Settings()), 0)
    'sma-BTCUSDT-19700101T0000'
    """
    place = f"@{rules.place}" if rules.place else ""
    return f"{rules.strategy}-{rules.symbol}-{stamp_text(when)}{place}{suffix}"


def id_when_moved(signal_id: str) -> str:
    """The id of the order that takes the place of another one, whose price it moves.

    Examples
    --------
    >>> id_when_moved("sma-BTCUSDT-20240101T0000"), id_when_moved("mine~2")
    ('sma-BTCUSDT-20240101T0000~2', 'mine~3')
    """
    found = _MOVED.fullmatch(signal_id)
    return f"{signal_id}~2" if found is None else f"{found[1]}~{int(found[2]) + 1}"


def checked_signal(
    signal: Signal, when: int, price: float, rules: Rules, *, last_id: str | None, suffix: str = ""
) -> OpenSignal | ScheduledSignal | tuple[Reason, ...]:
    """What a signal orders that was answered at a moment (UTC ms), or the reasons why it orders nothing.

    Parameters
    ----------
    signal
        Its levels are on the grid of ticks.
    price
        The average price at that moment (quote currency).
    last_id
        The signal that was opened last.
    suffix
        As of :func:`signal_id`.
    """
    if rules.model.fills_at_open and is_right_at_market(signal, price, rules.settings):
        return _market_order(signal, when, price, rules, suffix)
    return _checked_by_all_rules(signal, when, price, rules, last_id=last_id, suffix=suffix)


def is_right_at_market(signal: Signal, price: float, settings: Settings) -> bool:
    """Whether a signal is an order at the market with two levels and a deadline that surely breaks no rule.

    Parameters
    ----------
    signal
        Its levels are on the grid of ticks.
    price
        The average price at its moment (quote currency).

    Examples
    --------
    >>> from bknb.config import Settings
    >>> signal = Signal(position="long", price_take_profit=110.0, price_stop_loss=95.0, minute_estimated_time=60)
    >>> is_right_at_market(signal, 100.0, Settings()), is_right_at_market(signal, 111.0, Settings())
    (True, False)
    """
    position, target, stop, minutes = (
        signal.position,
        signal.price_take_profit,
        signal.price_stop_loss,
        signal.minute_estimated_time,
    )
    if type(target) is not float or type(stop) is not float or type(minutes) is not int:
        return False
    if not all(map(is_, _others_of(msgspec.structs.astuple(signal)), _UNSAID)):
        return False
    note, longest = signal.note, settings.max_signal_lifetime_minutes
    if type(note) is not str or not note.isprintable() or signal.side not in (None, position):
        return False
    if not (minutes > 0 and (longest is None or minutes <= longest) and 0 < price < inf):
        return False
    if position == "long":
        if not 0 < stop < price < target < inf:
            return False
        gain, loss = (target - price) / price * 100, (price - stop) / price * 100
    elif position == "short":
        if not 0 < target < price < stop < inf:
            return False
        gain, loss = (price - target) / price * 100, (stop - price) / price * 100
    else:
        return False
    most = settings.max_stop_loss_distance_percent
    return (
        gain >= settings.min_take_profit_distance_percent
        and loss >= settings.min_stop_loss_distance_percent
        and (most is None or loss <= most)
        and net_percentage(position, price, target, settings.percent_slippage, settings.percent_fee) > 0
    )


def _market_order(signal: Signal, when: int, price: float, rules: Rules, suffix: str) -> ScheduledSignal:
    """The order of a signal that is right at the market, as all rules lead to it."""
    return ScheduledSignal(
        id=signal_id(rules, when, suffix),
        symbol=rules.symbol,
        strategy=rules.strategy,
        exchange=rules.exchange,
        position=signal.position,  # type: ignore[arg-type]  # one of both, as was looked at
        price_open=float(price),
        price_take_profit=signal.price_take_profit,  # type: ignore[arg-type]  # a price
        price_stop_loss=signal.price_stop_loss,
        minute_estimated_time=signal.minute_estimated_time,
        note=signal.note,
        scheduled_at=when,
        entry="market",
        place=rules.place,
    )


def _checked_by_all_rules(
    signal: Signal, when: int, price: float, rules: Rules, *, last_id: str | None, suffix: str
) -> OpenSignal | ScheduledSignal | tuple[Reason, ...]:
    """What any signal orders, as :func:`checked_signal`."""
    if (fault := _ladder_on_zero(signal, rules)) is not None:
        return (fault,)
    if isinstance(signal.price_open, tuple):
        return _checked_ladder(signal, when, price, rules, last_id=last_id, suffix=suffix)
    model = rules.model
    given: dict[str, Any] = {"settings": rules.settings, "negative": rules.negative, "in_money": rules.in_money}
    reasons = broken_rules(signal, price=price, model=model, **given)
    in_percent = signal.stop_percent is not None or signal.target_percent is not None
    if in_percent:
        from .percent_levels import broken_percents  # most signals have prices

        reasons += broken_percents(signal, price=price, settings=rules.settings)
    timed = is_timed(signal)
    if timed:
        from .valid_and_until import timed_faults

        reasons += timed_faults(signal, when, rules)
    if signal.place is not None and signal.place != rules.place:
        reasons.append(_wrong_place(signal.place, rules))
    if signal.id is not None and last_id is not None and signal.id in (last_id, _unmoved(last_id)):
        reasons.append(Reason("repeated", f"the signal {signal.id!r} was opened already"))
    if reasons:
        return tuple(reasons)
    prices = target_prices(signal)
    memo = memo_text(signal.memo)
    assert isinstance(memo, str)  # broken_rules looked  # noqa: S101
    row: dict[str, Any] = {
        "id": signal.id or signal_id(rules, when, suffix),
        "symbol": rules.symbol,
        "strategy": rules.strategy,
        "exchange": rules.exchange,
        "position": signal.position,
        "price_open": float(price if (level := entry_price(signal)) is None else level),
        "price_take_profit": float(prices[-1]) if prices else None,
        "price_stop_loss": None if signal.price_stop_loss is None else float(signal.price_stop_loss),
        "minute_estimated_time": signal.minute_estimated_time,
        "note": signal.note,
        "scheduled_at": when,
        "entry": "market" if signal.price_open is None and signal.entry != "close" else signal.entry,
        "trailing": signal.trailing,
        "breakeven": signal.breakeven,
        "memo": memo,
        "place": rules.place,
        **_sizes(signal),
    }
    if isinstance(signal.price_take_profit, tuple):
        row["targets"] = targets_of(signal.price_take_profit)
    if timed:
        from .valid_and_until import timed_fields

        row |= timed_fields(signal, when, rules)
    at_once = not model.fills_at_open and signal.entry != "close" and reached(signal, price)
    if in_percent:
        row |= _percents(signal)
        row |= _levels(row, row["price_open"], rules.tick)
        if signal.stop_percent is not None and signal.entry == "stop" and not at_once:
            row["price_stop_loss"] = None  # it lies on the way to the entry, and is there once that has filled
    return OpenSignal(pending_at=when, **row) if at_once else ScheduledSignal(**row)


def _ladder_on_zero(signal: Signal, rules: Rules) -> Reason | None:
    """Why a ladder of targets is none: the tick grid has put a price of it on 0."""
    ladder = signal.price_take_profit
    if not isinstance(ladder, tuple) or rules.negative or all(price > 0 for price, _ in ladder):
        return None
    fault = read_ladder(ladder)
    return fault if isinstance(fault, Reason) else None


def _unmoved(signal_id: str) -> str:
    """The id that an order had before it was moved."""
    found = _MOVED.fullmatch(signal_id)
    return signal_id if found is None else found[1]


def _entry_of(order: CheckedSignal) -> float | Sequence[tuple[float | None, float]] | None:
    """What ``price_open`` of the signal of an order was."""
    if order.part is not None:
        from .entry_ladder import ladder_of

        return ladder_of(order)
    return None if order.entry in ("market", "close") else order.price_open


def as_answered(order: CheckedSignal) -> Signal:
    """The signal of an order, as its strategy answered it; how long it waits is left out."""
    if isinstance(order, OpenSignal) and order.price_ordered is not None:
        order = msgspec.structs.replace(order, price_open=order.price_ordered)
    target: Any = order.targets and tuple((one.price, one.share) for one in order.targets)
    percent: Any = order.percent_targets and tuple((one.price, one.share) for one in order.percent_targets)
    if percent and percent[0][1] is None:
        percent = percent[0][0]
    return Signal(
        position=order.position,
        price_take_profit=None if percent else target or order.price_take_profit,
        price_stop_loss=None if order.stop_percent is not None else order.price_stop_loss,
        minute_estimated_time=order.minute_estimated_time,
        price_open=_entry_of(order),
        entry="stop" if any(rung.stop for rung in order.rungs) else "limit" if order.entry == "market" else order.entry,
        note=order.note,
        id=order.id,
        trailing=order.trailing,
        breakeven=order.breakeven,
        memo=msgspec.json.decode(order.memo) if order.memo else None,
        until=order.until or None,
        bars=order.bars,
        size=_size_of(order),
        stop_percent=order.stop_percent,
        target_percent=percent or None,
    )


def _sizes(signal: Signal) -> dict[str, Any]:
    """The fields of a row that say how large it is; none where the signal says nothing of that."""
    if signal.size is None:
        return {}
    if isinstance(signal.size, int | float):
        return {"size": float(signal.size)}
    from .size_of_signal import size_text  # few have one

    return {"own_size": size_text(signal.size)}


def _size_of(order: CheckedSignal) -> SignalSize | None:
    """What ``size`` of the signal of an order was."""
    if order.own_size:
        from .size_of_signal import size_of_text

        return size_of_text(order.own_size)
    return order.size if order.whole is None else order.whole


def _wrong_place(place: object, rules: Rules) -> Reason:
    text = f"place={shown(place, 60)} is for a strategy with several places, such as places=20; this has one"
    if rules.place:
        text = f"a signal behind a Close is for the place {rules.place!r} of that; got {shown(place, 60)}"
    return Reason("place", text)


def _checked_ladder(
    signal: Signal, when: int, price: float, rules: Rules, *, last_id: str | None, suffix: str = ""
) -> OpenSignal | ScheduledSignal | tuple[Reason, ...]:
    """What a signal with an entry ladder orders; each part is judged as the entry of a signal of its own."""
    assert isinstance(signal.price_open, tuple)  # it is one, and was read  # noqa: S101
    if signal.entry == "close":
        text = "entry='close' fills at the close of the session, got an entry ladder in price_open"
        return (Reason("entry", f"{text}; leave one of them out"),)
    reasons: dict[str, Reason] = {}
    made: list[OpenSignal | ScheduledSignal] = []
    for level, _ in signal.price_open:
        one = msgspec.structs.replace(signal, price_open=level)
        if level is None:
            one = msgspec.structs.replace(one, entry="limit", valid=msgspec.UNSET)
        one = on_grid(one, rules.tick, negative=rules.negative)
        checked = checked_signal(one, when, price, rules, last_id=last_id, suffix=suffix)
        if isinstance(checked, tuple):
            reasons = {reason.code: reason for reason in checked} | reasons
        else:
            made.append(checked)
    if reasons:
        return tuple(reasons.values())
    first, others, part = made[0], made[1:], signal.price_open[0][1]
    whole = 1.0 if first.size is None else first.size
    rungs = tuple(
        Rung(price=each.price_open, share=share, stop=signal.entry == "stop")
        for each, (_, share) in zip(others, signal.price_open[1:], strict=True)
    )
    waits_until = made[-1].waits_until
    return msgspec.structs.replace(
        first, rungs=rungs, part=part, whole=whole, size=whole * part, waits_until=waits_until
    )


def reached(signal: Signal, price: float) -> bool:
    """Whether an entry order fills at once where the market is at ``price`` (quote currency)."""
    level = entry_price(signal)
    if level is None:
        return True
    below = (signal.entry == "limit") == (signal.position == "long")
    return price <= level if below else price >= level


def activated(signal: ScheduledSignal, when: int, price: float, tick: float | None) -> OpenSignal:
    """The open row of a signal whose entry filled at ``price`` in the minute ``when``; ``tick`` is that of prices."""
    values = msgspec.structs.asdict(signal)
    values["price_open"], values["pending_at"] = price, when
    if signal.entry in ("limit", "stop") and price != signal.price_open:
        values["price_ordered"] = signal.price_open
    if signal.stop_percent is not None or signal.percent_targets:
        values |= _levels(values, price, tick)
    return OpenSignal(**values)


def _percents(signal: Signal) -> dict[str, Any]:
    """The fields that say where levels lie, in percent from the average price of all entries."""
    percent = signal.target_percent
    found: dict[str, Any] = {}
    if percent is not None:
        ladder = tuple((float(each), share) for each, share in percent) if isinstance(percent, Sequence) else None
        found["percent_targets"] = targets_of(float(percent) if ladder is None else ladder)  # type: ignore[arg-type]
    return found if signal.stop_percent is None else found | {"stop_percent": float(signal.stop_percent)}


def _levels(row: dict[str, Any], average: float, tick: float | None) -> dict[str, Any]:
    """The levels of a row whose levels are percent from an average price (quote currency)."""
    sign, found = sign_of(row["position"]), dict[str, Any]()
    if (percent := row.get("stop_percent")) is not None:
        found["price_stop_loss"] = percent_stop(percent, sign, average, tick)
    if percents := row.get("percent_targets"):
        targets = percent_targets(percents, sign, average, tick)
        found["price_take_profit"] = targets[-1].price
        if targets[-1].share is not None:
            found["targets"] = targets
    return found
