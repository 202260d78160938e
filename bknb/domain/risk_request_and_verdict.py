"""What is asked before something is opened, a place of the risk profile and a size of the account; and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias, overload

import msgspec

from .fills_at_stops_and_gaps import Entry
from .position_book import PositionOrder
from .signal import OpenSignal, Position, ScheduledSignal, labels_of
from .signal_events import Closed, Event


class ClosedPosition(NamedTuple):
    """A position that was closed.

    Attributes
    ----------
    symbol, strategy, position
        What it was.
    closed_at : int
        Open time of the bar in which it was closed, UTC ms.
    known_at : int
        When that was known: the close of this bar, UTC ms.
    reason : str
        Why, such as ``"stop_loss"``.
    pnl_percentage : float
        Its result after costs; NaN where it was opened at or below zero.
    money : float or None
        That in quote currency, of a run with a capital.
    points : float or None
        Its result in quote currency for each unit, of one that was opened at or below zero.
    """

    symbol: str
    strategy: str
    position: Position
    closed_at: int
    known_at: int
    reason: str
    pnl_percentage: float
    money: float | None = None
    points: float | None = None

    @property
    def is_loss(self) -> bool:
        """Whether its result was below 0."""
        return (self.pnl_percentage if self.points is None else self.points) < 0.0


def closed_position(event: Closed, known_at: int, money: float | None = None) -> ClosedPosition:
    """A position as its end tells of it."""
    signal, net, points = event.signal, event.pnl.pnl_percentage, event.pnl.points
    what = signal.symbol, signal.strategy, signal.position
    return ClosedPosition(*what, event.closed_at, known_at, event.close_reason, net, money, points)


class ClosedBefore(Sequence[ClosedPosition]):
    """The first positions of a list that grows: those that were closed before a moment, in order.

    Examples
    --------
    >>> two = [ClosedPosition("A", "s", "long", 60_000 * n, 60_000 * n, "strategy", 1.0) for n in (1, 2)]
    >>> before = ClosedBefore(two, 1)
    >>> len(before), before[-1].closed_at, [each.closed_at for each in before], before
    (1, 60000, [60000], <1 closed position>)
    """

    __slots__ = ("_all", "_count")

    def __init__(self, all_: Sequence[ClosedPosition], count: int) -> None:
        self._all, self._count = all_, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> ClosedPosition: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ClosedPosition]: ...
    def __getitem__(self, index: int | slice) -> ClosedPosition | Sequence[ClosedPosition]:
        if isinstance(index, slice):
            return [self._all[at] for at in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return self._all[index % self._count]

    def __repr__(self) -> str:
        return f"<{self._count} closed position{'' if self._count == 1 else 's'}>"


class AccountMarks(NamedTuple):
    """An account as a risk profile sees it: what it is worth, its positions, and the candidate, in quote currency."""

    equity: float
    exposure: float
    value: float


class OpenPosition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """A place taken in a risk profile: an open position, or a scheduled signal that may become one.

    ``scheduled`` says that it rests, or waits for a close: an order at the market counts as open. ``since`` is the
    moment (UTC ms) at which the place was taken. ``size``, in units of its first size, is how large the position was
    when the profile allowed its last add, with that one and all that waited: parts that were closed and adds that were
    taken back since still count. Of a place that was lost and taken again it is what was open then, with adds that
    waited. In JSON a size of 1 is left out.
    """

    signal_id: str
    symbol: str
    strategy: str
    exchange: str
    position: Position
    price_open: float
    price_take_profit: float | None
    price_stop_loss: float | None
    since: int
    scheduled: bool
    size: float = 1.0


Closes: TypeAlias = Callable[[Sequence[str], str, int], list[list[float]]]
"""Returns the newest closes (quote currency) of symbols, for an interval and a count: a list for each symbol."""


class RiskRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate signal for a risk profile to allow or refuse.

    Attributes
    ----------
    symbol, strategy, exchange
        The run that asks.
    when : int
        The moment, UTC ms.
    price : float
        Average price at that moment.
    signal
        The candidate with its prices.
    open_positions
        Everything that holds a place in this profile now, without the candidate itself.
    add : float
        How much an open position, the candidate, is to be made larger by, in units of its first size; 0 for a new one.
    size : float
        How large that position is before it, in units of its first size, with adds that were allowed and wait; 0 for a
        new one.
    equity, exposure : float or None
        Of the account of a run with a capital, in quote currency, at the last closes: what it is worth, and the sum of
        what its positions and orders that wait are worth, without their signs, but for a position that leaves for the
        candidate. Of an order that a bar fills, at the open of the bar, with what was opened in it since.
    value : float or None
        What the candidate would be worth, in quote currency, of a run with a capital.
    closed : sequence of ClosedPosition, or None
        What was closed before in this profile, in order; of a live run also before it was started again. ``None``
        where nobody tells it.
    closes : callable or None
        Called with symbols, an interval and a count it returns a list for each symbol: the closes (quote currency) of
        the newest candles that had closed at ``when``, of times at which all of these symbols have one. It raises
        ``NotEnoughData`` where there are fewer.

    Examples
    --------
    >>> def at_most_two(request: RiskRequest) -> bool:
    ...     return request.open_position_count < 2
    """

    symbol: str
    strategy: str
    exchange: str
    when: int
    price: float
    signal: OpenSignal | ScheduledSignal
    open_positions: tuple[OpenPosition, ...]
    add: float = 0.0
    size: float = 0.0
    equity: float | None = None
    exposure: float | None = None
    value: float | None = None
    closed: Sequence[ClosedPosition] | None = None
    closes: Closes | None = None

    @property
    def open_position_count(self) -> int:
        """How many places are taken now."""
        return len(self.open_positions)


def place_of(signal: OpenSignal | ScheduledSignal, when: int, *, size: float = 1.0) -> OpenPosition:
    """The place that a candidate takes once it is allowed; ``size`` as of :class:`OpenPosition`.

    Examples
    --------
    >>> row = OpenSignal(id="a", symbol="B", strategy="s", exchange="e", position="long", price_open=100.0,
    ...     price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=5, note="", scheduled_at=0,
    ...     pending_at=0)
    >>> place_of(row, 60_000).since
    60000
    """
    return OpenPosition(
        signal_id=signal.id,
        **labels_of(signal),
        position=signal.position,
        price_open=signal.price_open,
        price_take_profit=signal.price_take_profit,
        price_stop_loss=signal.price_stop_loss,
        since=when,
        scheduled=isinstance(signal, ScheduledSignal) and signal.entry != "market",
        size=size,
    )


class CutAdd(NamedTuple):
    """An add, or a part of an entry ladder, of which an account pays for less than was ordered when it fills.

    Attributes
    ----------
    number
        That of its order within the position.
    share
        What is paid for, in units of the first size; 0: nothing.
    note, open_positions
        Why nothing is, and how many places were taken.
    """

    number: int
    share: float
    note: str = ""
    open_positions: int = 0


class Verdict(NamedTuple):
    """The decision of the risk profile on the candidate, its note, and how many places were taken.

    ``stopped``: its rules allowed it, and by then the run opened nothing new any more. ``by_account``: it is that of
    the account. ``liquidation``: the price at which the account liquidates what is opened (quote currency). ``share``:
    as much of an add as the account pays for, in units of the first size, where that is less than was wanted. ``cuts``:
    adds that fill with what was asked about, as far as the account pays for less of them then.
    """

    allowed: bool
    note: str = ""
    open_positions: int = 0
    stopped: bool = False
    by_account: bool = False
    liquidation: float | None = None
    share: float | None = None
    cuts: tuple[CutAdd, ...] = ()


ALLOWED: Final = Verdict(allowed=True)
"""What is allowed without anybody who decides."""


class Reserve(NamedTuple):
    """Command: ask the risk profile for a place, which is taken when it is granted; and the account for a size.

    ``ending`` is the id of a signal that leaves at this moment: its place counts as free. ``add``: how much an open
    position, which has its place, is to be made larger by, and ``size`` how large it is with the adds that wait, both
    in units of its first size; 0 for a new one. Of an add ``order`` is its order. Of an entry order that a candle fills
    ``fill`` is how, and ``again`` says whether the risk profile is asked, too: it rested. ``earlier`` are events of the
    same answer, or of the same candle, before it, which have not been told. ``holder``: the id of a signal that
    competes for the same place and holds it in the profile, and for the same money: only one of them fills.
    """

    candidate: OpenSignal | ScheduledSignal
    when: int
    price: float
    ending: str | None = None
    add: float = 0.0
    size: float = 0.0
    order: PositionOrder | None = None
    fill: Entry | None = None
    earlier: tuple[Event, ...] = ()
    again: bool = True
    holder: str | None = None


class WeightLimits(NamedTuple):
    """What an account allows of weights: the largest sum, and whether one may be below 0.

    ``reenter``: what was ended by a level, by liquidation or by hand is entered again at once.
    """

    leverage: float = 1.0
    shorts: bool = True
    reenter: bool = False


class Release(NamedTuple):
    """Command: give the place of this signal back, or hand it over to an ``heir`` that competed with it."""

    signal_id: str
    heir: OpenSignal | ScheduledSignal | None = None


Command: TypeAlias = Reserve | Release
