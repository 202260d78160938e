"""What ``manage`` sees of a position that is open, or of a signal that waits: values of one moment, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from .declared_exits import Target
from .interval import MINUTE_MS
from .position_book import PositionOrder, new_book, order_id
from .position_fills import Fill
from .profit_of_partial_closes import average_price, net_results, points
from .signal import OpenSignal, Position, ScheduledSignal, sign_of
from .states import Holding, Opening, Rules, State, Waiting, waiting_signals
from .trailing_and_breakeven_stops import stop_in_force

_CALENDAR_END_MS: Final = 253_402_300_800_000  # 10000-01-01; a datetime ends there


class WaitingOrder(PositionOrder, frozen=True, kw_only=True):
    """An order on an open position that no candle has filled, with the id by which it is moved or cancelled."""

    id: str


class HeldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position at a moment, as ``manage`` sees it; prices in quote currency, results in percent of the first fill.

    Attributes
    ----------
    id, symbol, note : str
    side : {"long", "short"}
    sign : int
        1 for a long, -1 for a short.
    opened_at : datetime or None
        Open time of the candle of the entry (UTC); ``None`` while the signal waits.
    minutes : int
        Whole minutes since then; 0 while the signal waits.
    bars : int
        Candles of the strategy's interval that have closed since then, the one of the entry included. Closed hours and
        days have none; minutes that are missing while the market is open change nothing.
    average_price, last_entry : float or None
        Cost of all entries over their quantity; the price of the newest one. ``None`` while the signal waits.
    entries : int
        How many fills made it larger, the first included.
    price : float
        The average price of the market now.
    percent : float
        The net result if all that is left were closed at ``price``; NaN where the first fill was at or below zero.
    best_percent, worst_percent : float
        The extreme net results at the prices of candles that have closed; NaN there, too.
    best_price, worst_price : float or None
        Those prices.
    size : float
        What is held, in units of the first size: 1 at first, 0.5 after a half was closed, 0 while the signal waits.
    price_stop_loss : float or None
        The stop that is in force for the next candle.
    targets : tuple of Target
        Those that have not filled, the nearest first.
    deadline : datetime or None
        ``None`` where there is none before the year 10000.
    fills : tuple of Fill
    waiting : tuple
        Orders that no candle has filled, each with its ``id``, ``price_open`` (``None``: at the market) and ``entry``.
        Of an open position parts to close and adds, which rungs of its entry ladder are, too: ``kind`` is ``"reduce"``
        or ``"add"``, ``share`` is in units of the first size, ``entry`` is ``"stop"`` for a stop order and unset
        (``msgspec.UNSET``) for others. While nothing is open the signals that wait, with ``entry`` ``"limit"`` or
        ``"stop"``, without ``kind`` and ``share``; of an entry ladder ``rungs`` are the parts behind the first.
    memo : mapping
        The values the signal, or the last ``Move``, brought; a new one each time.
    weight : float, optional
        What it is worth as a part of the equity at the last close, below 0 for a short; of strategies that answer with
        weights.
    place : str
        The place of its strategy; empty where that has one.
    points : float, optional
        The net result at ``price`` in quote currency for each unit of the first size, where prices may be at or below
        zero.

    Examples
    --------
    >>> def manage(position: HeldPosition) -> object:
    ...     if position.percent > 2 and position.size == 1:
    ...         return [Reduce(0.5), Move(price_stop_loss=position.average_price)]
    """

    id: str
    symbol: str
    side: Position
    sign: int
    opened_at: datetime | None
    minutes: int
    bars: int
    average_price: float | None
    last_entry: float | None
    entries: int
    price: float
    percent: float
    best_percent: float
    worst_percent: float
    best_price: float | None
    worst_price: float | None
    size: float
    price_stop_loss: float | None
    targets: tuple[Target, ...]
    deadline: datetime | None
    fills: tuple[Fill, ...]
    waiting: tuple[WaitingOrder | ScheduledSignal, ...]
    memo: Mapping[str, Any]
    note: str
    weight: float | None = None
    points: float | None = None
    place: str = ""


def position_view(state: Holding | Opening | Waiting, when: int, price: float, rules: Rules) -> HeldPosition:
    """The position of a state at a moment (UTC ms) at which the average price is ``price`` (quote currency)."""
    return _open(state, when, price, rules) if isinstance(state, Holding) else _waiting(state, price)


def began_at(position: HeldPosition) -> int:
    """When a position was opened, or ordered where it waits, UTC ms."""
    if position.opened_at is not None:
        return round(position.opened_at.timestamp() * 1000)
    return next((order.scheduled_at for order in position.waiting if isinstance(order, ScheduledSignal)), 0)


@lru_cache(maxsize=256)  # of one position they stay the same
def _moment(ms: int | None) -> datetime | None:
    return None if ms is None or ms >= _CALENDAR_END_MS else datetime.fromtimestamp(ms / 1000, UTC)


def _memo(text: str) -> Mapping[str, Any]:
    from .position_memo import position_memo  # where a position is seen

    return position_memo(text)


def _waiting(state: Opening | Waiting, price: float) -> HeldPosition:
    signal = state.signal
    book = signal.targets or (() if signal.price_take_profit is None else (Target(signal.price_take_profit),))
    return HeldPosition(
        id=signal.id,
        symbol=signal.symbol,
        side=signal.position,
        sign=sign_of(signal.position),
        opened_at=None,
        minutes=0,
        bars=0,
        average_price=None,
        last_entry=None,
        entries=0,
        price=price,
        percent=0.0,
        best_percent=0.0,
        worst_percent=0.0,
        best_price=None,
        worst_price=None,
        size=0.0,
        price_stop_loss=signal.price_stop_loss,
        targets=book,
        deadline=None,
        fills=(),
        waiting=waiting_signals(state),
        memo=_memo(signal.memo),
        note=signal.note,
        place=signal.place,
    )


def _with_id(order: PositionOrder, signal: OpenSignal) -> WaitingOrder:
    values = {name: getattr(order, name) for name in order.__struct_fields__}
    return WaitingOrder(**values, id=order_id(signal, order.number))


def bars_since(opened: int, when: int, rules: Rules) -> int:
    """How many candles of the strategy's interval closed after a moment and up to another (UTC ms)."""
    if rules.bars_between is not None:
        return rules.bars_between(opened, when)
    return when // rules.interval_ms - opened // rules.interval_ms


def _open(state: Holding, when: int, price: float, rules: Rules) -> HeldPosition:
    signal = state.signal
    book = state.book or new_book(signal, highest=state.highest, lowest=state.lowest)
    sign, opened = sign_of(signal.position), signal.pending_at
    best, worst = (state.highest, state.lowest) if sign > 0 else (state.lowest, state.highest)
    stop = stop_in_force(book, sign, best, rules.tick)
    costs = {"slippage": rules.settings.percent_slippage, "fee": rules.settings.percent_fee}
    now, *nets = net_results(
        signal.position, book.fills, rest=book.left, prices=(price, book.phase_high, book.phase_low), **costs
    )
    entries = [fill for fill in book.fills if fill.enters]
    return HeldPosition(
        id=signal.id,
        symbol=signal.symbol,
        side=signal.position,
        sign=sign,
        opened_at=_moment(opened),
        minutes=(when - opened) // MINUTE_MS,
        bars=bars_since(opened, when, rules),
        average_price=average_price(book.fills),
        last_entry=entries[-1].price,
        entries=len(entries),
        price=price,
        percent=now,
        best_percent=max(nets if book.best is None else [*nets, book.best]),
        worst_percent=min(nets if book.worst is None else [*nets, book.worst]),
        best_price=best,
        worst_price=worst,
        size=book.left,
        price_stop_loss=None if stop is None else stop.price,
        targets=book.targets,
        deadline=_moment(book.ends_at),
        fills=book.fills,
        waiting=tuple(_with_id(order, signal) for order in book.orders),
        memo=_memo(book.memo),
        note=signal.note,
        points=points(signal.position, book.fills, rest=book.left, price=price, **costs) if rules.negative else None,
        place=signal.place,
    )


def managed_from(state: State, rules: Rules) -> int | None:
    """Since when (UTC ms) there is what ``manage`` can be asked about; ``None``: there is nothing.

    Weights are asked about an entry order that no candle has filled, too.
    """
    if isinstance(state, Holding):
        return None if state.leaving is not None else known_from(state.signal, rules)
    if isinstance(state, Waiting) or (isinstance(state, Opening) and rules.weights is not None):
        return rules.bar_end(max(signal.scheduled_at for signal in waiting_signals(state)))
    return None


def known_from(signal: OpenSignal, rules: Rules) -> int:
    """Since when (UTC ms) an entry is known: the close of the candle that filled it; at the close, that of the session.

    Until a session has closed nobody knows which of its candles is the last that fills.
    """
    if signal.entry != "close":
        return rules.bar_end(signal.pending_at)
    from .valid_and_until import opened_from  # few entries are

    return opened_from(signal, rules)
