"""Positions that were closed before a moment, as rules of a risk profile see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, overload

from .signal import Position
from .signal_events import Closed


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
        Its result after costs.
    money : float or None
        That in quote currency, of a run with a capital.
    """

    symbol: str
    strategy: str
    position: Position
    closed_at: int
    known_at: int
    reason: str
    pnl_percentage: float
    money: float | None = None


def closed_position(event: Closed, known_at: int, money: float | None = None) -> ClosedPosition:
    """A position as its end tells of it."""
    signal, net = event.signal, event.pnl.pnl_percentage
    what = signal.symbol, signal.strategy, signal.position
    return ClosedPosition(*what, event.closed_at, known_at, event.close_reason, net, money)


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
