"""The book of a position: its fills, what is left of it, the levels in force and the orders that wait.

A position with one stop, one target and a deadline that nobody manages has none: its signal says everything.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from .declared_exits import Breakeven, Target, Trailing, targets_of
from .interval import MINUTE_MS
from .manage_answers import Move
from .market_clock_protocol import NEVER
from .position_fills import Fill
from .signal import OpenSignal
from .signal_events import CloseReason


class CountedBars(msgspec.Struct, frozen=True):
    """A position that ends when ``bars`` candles have closed from ``opened`` on, and no later than ``latest`` (UTC ms).

    Live, over bars longer than a minute, those that never come are known later, and do not count.
    """

    opened: int
    bars: int
    latest: int | None = None


class Lifetime(NamedTuple):
    """When the clock ends a position (UTC ms): at the market, and at the close of a session; ``None``: it does not.

    The close is that of a candle that opens at ``since`` or later; ``None``: of the one of the entry or a later one.
    ``counted`` is what its deadline counts, where that may change.
    """

    deadline: int | None
    close: int | None = None
    since: int | None = None
    counted: CountedBars | None = None


class ClosingOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order that closes a position at the close of a session's last candle, with the candle's levels before it.

    Attributes
    ----------
    moment
        The close of the session (UTC ms).
    decided_at, not_before
        When it was decided, and the earliest open of a candle whose close may fill it (UTC ms).
    reason, note
        Of the closed position.
    sent, price
        Whether it has left for the broker, at the open of that candle, and the average price then.
    late_at
        The time of the clock (UTC ms) at which it was to leave, where that was behind the close; 0: it was in time.
    """

    moment: int
    decided_at: int
    not_before: int
    reason: CloseReason = "time_expired"
    note: str = ""
    sent: bool = False
    price: float = 0.0
    late_at: int = 0


class PositionOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order on an open position that no candle has filled: a part to close, or an add.

    Attributes
    ----------
    kind
        ``"reduce"`` or ``"add"``.
    number
        Its number within the position, counted from 1; with the id of the signal it is the id of the order.
    share
        In units of the first size.
    decided_at, not_before
        When it was decided, and from when on it may fill (UTC ms).
    price
        The average price when it was decided.
    price_open
        The price of an add that rests (quote currency); ``None``: at the market.
    until
        The moment at which one that rests is taken back (UTC ms); ``None`` for a market order.
    rests
        Whether a candle that could fill it has passed.
    entry
        ``"stop"``: the market has to come to ``price_open`` first; unset: it is a limit.
    stop
        The stop of the position from its fill on, where that is tighter (quote currency); unset: it has none.
    rung
        Set of a part of the entry, which ``max_adds`` does not count.
    rests_from
        The moment (UTC ms) from which on its twenty bars count, where that may change (:class:`CountedBars`).
    """

    kind: Literal["reduce", "add"]
    number: int
    share: float
    decided_at: int
    not_before: int
    price: float
    price_open: float | None = None
    until: int | None = None
    rests: bool = False
    reason: CloseReason = "strategy"
    note: str = ""
    entry: Literal["stop"] | msgspec.UnsetType = msgspec.UNSET
    stop: float | msgspec.UnsetType = msgspec.UNSET
    rung: bool | msgspec.UnsetType = msgspec.UNSET
    rests_from: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_stop(self) -> bool:
        """Whether it is a stop order."""
        return self.entry is not msgspec.UNSET


class UnsizedPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part to be closed whose size depends on which adds before it in its list risk allows.

    ``order.share`` is of what is held then where ``of_now``, else in units of the first size.
    """

    order: PositionOrder
    of_now: bool


class PlannedMove(msgspec.Struct, frozen=True, kw_only=True):
    """A move by hand that is carried out at the moment ``due`` (UTC ms), once the minute before it has closed."""

    due: int
    move: Move


class PositionBook(msgspec.Struct, frozen=True, kw_only=True):
    """What is managed of an open position.

    Attributes
    ----------
    fills
        In order; the first is the entry.
    left
        What is open, in units of the first size.
    stop, stop_reason
        The stop that was declared or moved (quote currency), and the close reason it has: that of the one who set it.
    targets
        Those that have not filled, the nearest first.
    deadline, counted
        UTC ms; the bars that it counts, where that may change, else unset.
    trailing, trails
        The trailing stop, and whether it has begun.
    trail_stop
        The level that trailing stops had reached which were moved or taken away since (quote currency).
    breakeven, breakeven_stop
        The break-even stop that has not moved yet; where it moved to.
    trail_first
        Whether a trailing stop had reached the level of the break-even stop before that moved there.
    phase_high, phase_low
        Extreme prices since the newest fill.
    best, worst
        Extreme net results (percent of the first fill's cost) up to the newest fill; ``None`` before the second.
    orders
        What waits, in the order it was decided in.
    number
        The number of the next order.
    adds
        How many adds were ordered and not taken back.
    ambiguous_trails
        Candles whose own extreme would have moved the trailing stop beyond their other one.
    not_taken
        Moves that would have loosened the stop, and adds that were not better.
    memo
        JSON; empty when there is none.
    planned
        Moves by hand that are not in force yet, in order.
    closing
        The order for the close of a session; unset where there is none.
    liquidation
        The price at which the account liquidates the position (quote currency); unset where it does not.
    stop_percent, target_percent
        Where a move put the stop and the targets, percent from the average price of all entries; unset where none did.
    """

    fills: tuple[Fill, ...]
    left: float
    stop: float | None
    stop_reason: CloseReason = "stop_loss"
    targets: tuple[Target, ...]
    deadline: int | None
    trailing: Trailing | None = None
    trails: bool = False
    trail_stop: float | None = None
    breakeven: Breakeven | None = None
    breakeven_stop: float | None = None
    trail_first: bool = False
    phase_high: float
    phase_low: float
    best: float | None = None
    worst: float | None = None
    orders: tuple[PositionOrder, ...] = ()
    number: int = 1
    adds: int = 0
    ambiguous_trails: int = 0
    not_taken: int = 0
    memo: str = ""
    planned: tuple[PlannedMove, ...] = ()
    closing: ClosingOrder | msgspec.UnsetType = msgspec.UNSET
    liquidation: float | msgspec.UnsetType = msgspec.UNSET
    stop_percent: float | msgspec.UnsetType = msgspec.UNSET
    target_percent: tuple[Target, ...] | msgspec.UnsetType = msgspec.UNSET
    counted: CountedBars | msgspec.UnsetType = msgspec.UNSET

    @property
    def ends_at(self) -> int | None:
        """The moment (UTC ms) at which the clock ends it; ``None``: it does not."""
        if not self.closing:
            return self.deadline
        return self.closing.moment if self.deadline is None else min(self.deadline, self.closing.moment)

    @property
    def resting(self) -> tuple[tuple[PositionOrder, float], ...]:
        """The adds that rest until a candle reaches their price, with that (quote currency)."""
        return tuple((order, order.price_open) for order in self.orders if order.price_open is not None)


def order_id(signal: OpenSignal, number: int) -> str:
    """The id of an order on a position: that of its signal, and its number within the position.

    Examples
    --------
    >>> row = OpenSignal(id="a", symbol="B", strategy="s", exchange="e", position="long", price_open=100.0,
    ...     price_take_profit=None, price_stop_loss=None, minute_estimated_time=None, note="", scheduled_at=0,
    ...     pending_at=0)
    >>> order_id(row, 1)
    'a#1'
    """
    return f"{signal.id}#{number}"


def size_allowed(book: PositionBook) -> float:
    """How large a position may become by what was allowed already, in units of its first size: with adds that wait."""
    return book.left + sum(order.share for order in book.orders if order.kind == "add")


def new_book(signal: OpenSignal, *, highest: float, lowest: float, lifetime: Lifetime | None = None) -> PositionBook:
    """The book of a position that has its entry and nothing else; ``highest`` and ``lowest`` are prices it has seen.

    ``lifetime`` is when the clock ends it; by default that is what its ``minute_estimated_time`` says.
    """
    if lifetime is None:
        minutes = signal.minute_estimated_time
        lifetime = Lifetime(None if minutes is None else signal.pending_at + minutes * MINUTE_MS)
    since = signal.pending_at if lifetime.since is None else lifetime.since
    entry = Fill(number=0, kind="entry", at=signal.pending_at, share=1.0, price=signal.price_open)
    trailing = signal.trailing
    return PositionBook(
        fills=(entry,),
        left=1.0,
        stop=signal.price_stop_loss,
        targets=signal.targets or targets_of(signal.price_take_profit),
        deadline=lifetime.deadline,
        counted=lifetime.counted or msgspec.UNSET,
        closing=msgspec.UNSET
        if lifetime.close is None
        else ClosingOrder(moment=lifetime.close, decided_at=since, not_before=since),
        trailing=trailing,
        trails=trailing is not None and trailing.after == 0,
        breakeven=signal.breakeven,
        phase_high=highest,
        phase_low=lowest,
        memo=signal.memo,
    )


def opened_book(signal: OpenSignal, lifetime: Lifetime | None = None) -> PositionBook:
    """The book of a position that was opened just now."""
    return new_book(signal, highest=signal.price_open, lowest=signal.price_open, lifetime=lifetime)


def book_timeout(book: PositionBook) -> int:
    """The moment (UTC ms) at which the first resting add is taken back; far in the future without one."""
    return min((order.until for order in book.orders if order.until is not None), default=NEVER)
