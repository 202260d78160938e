"""The positions of a run as columns, for the equity that is marked of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import numpy as np

from ..domain.market_clock_protocol import NEVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..domain.position_fills import Fill
    from ..domain.signal import OpenSignal
    from ..domain.signal_events import Closed

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Times: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_PERCENT: Final = 100.0
SIDES: Final = {"long": 1.0, "short": -1.0}


class StillOpen(NamedTuple):
    """A position that has no exit yet, with the costs of each side in percent, and its parts: closed ones and adds."""

    signal: OpenSignal
    slippage: float
    fee: float
    parts: tuple[Fill, ...] = ()

    @property
    def side(self) -> float:
        """1 for a long, -1 for a short."""
        return SIDES[self.signal.position]

    @property
    def entry(self) -> float:
        """Price of the entry with its slippage."""
        return self.signal.price_open * (1 + self.side * self.slippage / _PERCENT)

    @property
    def entry_slippage(self) -> float:
        """What the slippage of the entry cost, percent of the equity that went in."""
        return self.slippage / (1 + self.side * self.slippage / _PERCENT)

    def worth(self, price: float) -> float:
        """Equity at a price as a share of that before the entry: less the costs of the entry, never below 0.

        What parts that were closed have brought, and what was added has cost, is in it.
        """
        size = self.signal.size
        worth = self._worth(price)
        return max(worth if size is None else 1 + size * (worth - 1), 0.0)

    def _worth(self, price: float) -> float:
        """Value at a price as a share of the equity that went in."""
        moved, fee = price / self.entry, self.fee / _PERCENT
        if not self.parts:
            return (moved if self.side > 0 else 2 - moved) - fee
        rows = _part_rows(0, self.signal, self.parts, self.entry, fee)
        left = 1 - sum(share for _, _, share, _ in rows)
        paid = sum(paid for *_, paid in rows)
        return (0.0 if self.side > 0 else 2.0) - fee + self.side * (paid + left * moved)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Parts of positions, closed before their exits or added, in order, as columns of shape (m,).

    Attributes
    ----------
    position : ndarray of int64
        Which position each belongs to.
    closed_ms : ndarray of int64
        Open time of the bar in which it was filled, UTC milliseconds.
    share : ndarray of float64
        How much, as a share of the entry; below 0 for what was added.
    paid : ndarray of float64
        What it brought (a long) or cost (a short) with slippage and fee, as a share of the equity that went in; of what
        was added the same below 0.
    """

    position: Times
    closed_ms: Times
    share: Floats
    paid: Floats

    @staticmethod
    def of(rows: Sequence[tuple[int, int, float, float]]) -> Parts:
        """The columns of rows of position, moment (UTC ms), share, and what was paid."""
        position, closed, share, paid = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Parts(
            position=np.array(position, dtype=np.int64),
            closed_ms=np.array(closed, dtype=np.int64),
            share=np.array(share, dtype=np.float64),
            paid=np.array(paid, dtype=np.float64),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Positions one after the other, oldest first, as columns of shape (n,).

    Attributes
    ----------
    opened_ms, closed_ms : ndarray of int64
        Open times of the bars in which they were filled, UTC milliseconds; ``closed_ms`` of a position that is still
        open lies beyond every bar.
    side : ndarray of float64
        1 for a long, -1 for a short.
    entry : ndarray of float64
        Price of the entry with its slippage.
    entry_fee : ndarray of float64
        Fee of the entry, as a share of the equity that went in.
    exit_ratio : ndarray of float64
        Price of the exit by price of the entry, both with slippage; NaN while open.
    net, fee, slippage : ndarray of float64
        Result, fees and slippage of the whole position, percent of the equity that went in. While it is open the
        result is 0, and fees and slippage are those of the entry.
    parts : Parts
        Parts that were closed before the exit, or added; none of a plain position.
    size : ndarray of float64, optional
        The part of the equity that each opened with; by default all of it.
    turned : ndarray of float64, optional
        What each bought and sold, as a share of the equity that went in; by default that of its entry and its exit.
    """

    opened_ms: Times
    closed_ms: Times
    side: Floats
    entry: Floats
    entry_fee: Floats
    exit_ratio: Floats
    net: Floats
    fee: Floats
    slippage: Floats
    parts: Parts = field(default_factory=lambda: Parts.of(()))
    size: Floats | None = None
    turned: Floats | None = None

    @property
    def sizes(self) -> Floats:
        """The part of the equity that each opened with, shape (n,)."""
        return np.ones(len(self)) if self.size is None else self.size

    def __len__(self) -> int:
        return len(self.net)


def positions_from(
    *,
    opened_ms: Times,
    closed_ms: Times,
    side: Floats,
    price_open: Floats,
    price_close: Floats,
    net: Floats,
    fee: Floats,
    slippage: Floats,
) -> Positions:
    """Closed positions from the columns of a trade table; ``side`` is 1 or -1, the last three are percent.

    Slippage and fee of each side are worked out from the costs that were booked on the trade. Of one that left at or
    below zero they do not tell the slippage of the entry, which is then booked at the exit.
    """
    move = price_close / price_open
    ratio = move - side * slippage / _PERCENT  # exit by entry, both with slippage
    # (1 - s) / (1 + s): a short pays the inverse of what a long does
    paid = np.divide(ratio, move, out=np.ones(len(move)), where=move > 0) ** side
    return Positions(
        opened_ms=opened_ms,
        closed_ms=closed_ms,
        side=side,
        entry=price_open * (1 + side * (1 - paid) / (1 + paid)),
        entry_fee=fee / _PERCENT / (1 + np.abs(ratio)),
        exit_ratio=ratio,
        net=net,
        fee=fee,
        slippage=slippage,
    )


def positions_of(closed: Sequence[Closed], still_open: StillOpen | None = None) -> Positions:
    """The positions of a run in order of their exits, and last the one that is still open."""

    def column(values: Iterable[float]) -> Floats:
        return np.fromiter(values, dtype=np.float64, count=len(closed))

    ended = positions_from(
        opened_ms=np.fromiter((event.signal.pending_at for event in closed), np.int64, len(closed)),
        closed_ms=np.fromiter((event.closed_at for event in closed), np.int64, len(closed)),
        side=column(SIDES[event.signal.position] for event in closed),
        price_open=column(event.signal.price_open for event in closed),
        price_close=column(map(whole_exit, closed)),
        net=column(event.pnl.pnl_percentage for event in closed),
        fee=column(event.pnl.fee_percentage for event in closed),
        slippage=column(event.pnl.slippage_percentage for event in closed),
    )
    parted = [(index, event) for index, event in enumerate(closed) if len(event.fills) > 2]
    sizes = [event.signal.size for event in closed]
    return with_open(with_parts(with_sizes(ended, sizes), parted), still_open)


def with_sizes(ended: Positions, sizes: Sequence[float | None]) -> Positions:
    """Closed positions with the part of the equity that each opened with; ``None``: all of it."""
    if all(size is None for size in sizes):
        return ended
    return replace(ended, size=np.array([1.0 if size is None else size for size in sizes]))


def with_parts(ended: Positions, parted: Sequence[tuple[int, Closed]]) -> Positions:
    """Closed positions with the parts of those, given with their places, that had some."""
    added = [(index, event) for index, event in parted if event.adds]
    if added:
        ended = _with_added(ended, added)
    rows = [
        row
        for index, event in parted
        for row in _part_rows(index, event.signal, event.fills, ended.entry[index], ended.entry_fee[index])
    ]
    return replace(ended, parts=Parts.of(rows)) if rows else ended


def whole_exit(event: Closed) -> float:
    """The price at which all of a position would have had to leave at once for its gross result; quote currency."""
    if len(event.fills) <= 2:
        return event.price_close
    side = SIDES[event.signal.position]
    return event.signal.price_open * (1 + side * event.pnl.gross_percentage / _PERCENT)


def _part_rows(
    index: int, signal: OpenSignal, fills: Sequence[Fill], entry: float, fee: float
) -> list[tuple[int, int, float, float]]:
    """Rows of ``Parts`` of one position; ``entry`` is the entry with its slippage, ``fee`` a fraction."""
    side = SIDES[signal.position]
    slippage = side * (entry / signal.price_open - 1)
    rows = []
    for fill in fills:
        worse = side if fill.price > 0 else -side  # costs are of the size of a price
        if fill.kind == "reduce":
            left = fill.share * fill.price * (1 - worse * slippage) / entry * (1 - worse * fee)
            rows.append((index, fill.at, fill.share, left))
        elif fill.kind == "add":
            paid = -fill.share * fill.price * (1 + worse * slippage) / entry * (1 + worse * fee)
            rows.append((index, fill.at, -fill.share, paid))
    return rows


def _with_added(ended: Positions, added: Sequence[tuple[int, Closed]]) -> Positions:
    """Closed positions where some were added to: what each side of those cost is worked out from all of its fills."""
    entry, entry_fee, exit_ratio = ended.entry.copy(), ended.entry_fee.copy(), ended.exit_ratio.copy()
    turned = 1 + ended.exit_ratio
    for index, event in added:
        side, first = SIDES[event.signal.position], event.signal.price_open
        slipped, fees = event.pnl.slippage_percentage / _PERCENT, event.pnl.fee_percentage / _PERCENT
        left = sum(fill.share * fill.price for fill in event.fills if not fill.enters) / first
        # What is booked is 2 * slippage * left / (1 + side * slippage).
        slippage = slipped / (2 * left - side * slipped)
        paid = [fill.share * fill.price * (1 + side * slippage * (1 if fill.enters else -1)) for fill in event.fills]
        entry[index] = first * (1 + side * slippage)
        turned[index] = sum(paid) / entry[index]
        entry_fee[index] = fees / turned[index]
        exit_ratio[index] = event.price_close * (1 - side * slippage) / entry[index]
    return replace(ended, entry=entry, entry_fee=entry_fee, exit_ratio=exit_ratio, turned=turned)


def with_open(ended: Positions, still_open: StillOpen | None) -> Positions:
    """Closed positions, and last the one that is still open, if there is one."""
    if still_open is None:
        return ended
    return Positions(
        opened_ms=np.append(ended.opened_ms, np.int64(still_open.signal.pending_at)),
        closed_ms=np.append(ended.closed_ms, np.int64(NEVER)),
        side=np.append(ended.side, still_open.side),
        entry=np.append(ended.entry, still_open.entry),
        entry_fee=np.append(ended.entry_fee, still_open.fee / _PERCENT),
        exit_ratio=np.append(ended.exit_ratio, np.nan),
        net=np.append(ended.net, 0.0),
        fee=np.append(ended.fee, still_open.fee),
        slippage=np.append(ended.slippage, still_open.entry_slippage),
        parts=_with_parts(ended, still_open),
        size=_with_size(ended, still_open.signal.size),
        turned=None if ended.turned is None else np.append(ended.turned, 1.0),
    )


def _with_size(ended: Positions, size: float | None) -> Floats | None:
    return None if ended.size is None and size is None else np.append(ended.sizes, 1.0 if size is None else size)


def _with_parts(ended: Positions, still_open: StillOpen) -> Parts:
    if not still_open.parts:
        return ended.parts
    fee = still_open.fee / _PERCENT
    rows = Parts.of(_part_rows(len(ended), still_open.signal, still_open.parts, still_open.entry, fee))
    before = ended.parts
    return Parts(
        position=np.concatenate((before.position, rows.position)),
        closed_ms=np.concatenate((before.closed_ms, rows.closed_ms)),
        share=np.concatenate((before.share, rows.share)),
        paid=np.concatenate((before.paid, rows.paid)),
    )
