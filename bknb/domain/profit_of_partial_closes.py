"""Money of a position that was filled in parts: what is left, average price, and the result with its costs.

A size of 1 is the first fill, and percentages are of its cost, which is known before anything happens. Of one entry and
one exit the same numbers come out, to the last bit, as in :mod:`bknb.domain.pnl`. Where the first fill is at or below
zero there are no percentages (NaN), and the result is in points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import nan
from typing import NamedTuple

from .pnl import net_points, pnl_in_points, pnl_of, slipped_exit
from .position_fills import Fill
from .signal import Position, sign_of
from .signal_events import Closed, Pnl


class _Sums(NamedTuple):
    """Sums of share times price over fills that enter and fills that leave."""

    entered: float
    left: float


def _sums(fills: Iterable[Fill], rest: float, price: float) -> _Sums:
    """The sums of fills, with what is left of the position closed at ``price``."""
    entered = left = 0.0
    for fill in fills:
        if fill.enters:
            entered += fill.share * fill.price
        else:
            left += fill.share * fill.price
    return _Sums(entered, left + rest * price if rest else left)


def _received(
    fills: Iterable[Fill], left: float, sign: int, slippage: float, rest: float, price: float
) -> tuple[float, float]:
    """What a position brings when it leaves, with slippage, and the sizes of what it is made of, which fees are of.

    ``left`` is the same without slippage. They differ where a part left at a price below zero.
    """
    if price >= 0 and all(fill.enters or fill.price >= 0 for fill in fills):
        received = left * (1 - sign * slippage / 100)
        return received, received
    parts = [fill.share * slipped_exit(fill.price, sign, slippage) for fill in fills if not fill.enters]
    parts.append(rest * slipped_exit(price, sign, slippage) if rest else 0.0)
    return sum(parts), sum(map(abs, parts))


def held(fills: Iterable[Fill]) -> float:
    """The size that is open after these fills, in units of the first one.

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=100.0)
    >>> held([entry, Fill(number=1, kind="reduce", at=60_000, share=0.25, price=101.0)])
    0.75
    """
    return sum(fill.share if fill.enters else -fill.share for fill in fills)


def average_price(fills: Sequence[Fill]) -> float:
    """The cost of all entries over their quantity (quote currency)."""
    entries = [fill for fill in fills if fill.enters]
    if len(entries) == 1:
        return entries[0].price
    cost = size = 0.0
    for fill in entries:  # as in compiled loops: the built-in sum rounds otherwise from Python 3.12 on
        cost, size = cost + fill.share * fill.price, size + fill.share
    return cost / size


def points(
    position: Position, fills: Iterable[Fill], *, slippage: float, fee: float, rest: float = 0.0, price: float = 0.0
) -> float:
    """The net result in points, quote currency for each unit of the first fill, with what is left closed at ``price``.

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=-20.0)
    >>> points("long", [entry], slippage=0.0, fee=0.1, rest=1.0, price=-15.0)
    4.965
    """
    sign = sign_of(position)
    turned = [(sign * fill.share if fill.enters else -sign * fill.share, fill.price) for fill in fills]
    return net_points([*turned, (-sign * rest, price)] if rest else turned, slippage=slippage, fee=fee)


def closed_points(event: Closed, *, slippage: float, fee: float) -> float:
    """The net result of a closed position in points: quote currency for each unit of its first size."""
    if event.pnl.points is not None:
        return event.pnl.points
    position = event.signal.position
    if event.fills:
        return points(position, event.fills, slippage=slippage, fee=fee)
    sign = sign_of(position)
    return net_points([(sign, event.signal.price_open), (-sign, event.price_close)], slippage=slippage, fee=fee)


def result(
    position: Position, fills: Sequence[Fill], *, slippage: float, fee: float, rest: float = 0.0, price: float = 0.0
) -> Pnl:
    """The result in percent of the cost of the first fill, with what is left closed at ``price``.

    Where that is at or below zero, the result in points alone.

    Parameters
    ----------
    position
        ``"long"`` or ``"short"``.
    fills
        In order; the first is the entry.
    slippage, fee
        Per side, in percent.
    rest, price
        What is left (units of the first size), and the price it is closed or marked at (quote currency).

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=100.0)
    >>> result("long", [entry], slippage=0.0, fee=0.1, rest=1.0, price=110.0)
    Pnl(pnl_percentage=9.79, gross_percentage=10.0, fee_percentage=0.21000000000000002, slippage_percentage=0.0)
    """
    sign = sign_of(position)
    first = fills[0].price
    if first <= 0:
        return pnl_in_points(points(position, fills, slippage=slippage, fee=fee, rest=rest, price=price))
    entered, left = _sums(fills, rest, price)
    entry = first * (1 + sign * slippage / 100)
    paid, received, turned = entered * (1 + sign * slippage / 100), *_received(fills, left, sign, slippage, rest, price)
    slipped = (received - paid) / entry * 100 * sign
    fees = fee * (paid / entry + turned / entry)
    gross = (left - entered) / first * 100 * sign
    return pnl_of(gross, slipped, fees)


def net_results(
    position: Position, fills: Sequence[Fill], *, slippage: float, fee: float, rest: float, prices: Iterable[float]
) -> list[float]:
    """The net results in percent (``result``) with what is left closed at each of some prices (quote currency).

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=100.0)
    >>> net_results("long", [entry], slippage=0.0, fee=0.1, rest=1.0, prices=[110.0, 100.0])
    [9.79, -0.2]
    """
    if fills[0].price <= 0:
        return [nan for _ in prices]
    sign = sign_of(position)
    entered, closed = _sums(fills, 0.0, 0.0)
    is_above = len(fills) == 1 or all(fill.enters or fill.price >= 0 for fill in fills)
    entry = fills[0].price * (1 + sign * slippage / 100)
    paid = entered * (1 + sign * slippage / 100)
    found = []
    for price in prices:
        left = closed + rest * price if rest else closed
        if is_above and price >= 0:
            received = turned = left * (1 - sign * slippage / 100)
        else:
            received, turned = _received(fills, left, sign, slippage, rest, price)
        found.append((received - paid) / entry * 100 * sign - fee * (paid / entry + turned / entry))
    return found


def cost_percentage(position: Position, fills: Sequence[Fill], net: float, *, slippage: float) -> float:
    """The net result ``net`` (percent of the first fill's cost) in percent of the cost of all entries.

    NaN where one of the two is at or below zero.
    """
    sign = sign_of(position)
    first = fills[0].price * (1 + sign * slippage / 100)
    entered = sum(fill.share * (fill.price * (1 + sign * slippage / 100)) for fill in fills if fill.enters)
    return net * (first / entered) if first > 0 and entered > 0 else nan


def largest_cost(fills: Iterable[Fill]) -> float:
    """The largest cost of what was held at any time, at its average entry price; the first fill's cost is 1.

    NaN where that is at or below zero.

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=100.0)
    >>> largest_cost([entry, Fill(number=1, kind="add", at=60_000, share=1.0, price=90.0)])
    1.9
    """
    size = cost = entered = largest = first = 0.0
    for fill in fills:
        if not fill.enters:
            size -= fill.share  # at the average price: what is held does not cost more
            continue
        first = first or fill.price
        if first <= 0:
            return nan
        size, entered, cost = size + fill.share, entered + fill.share, cost + fill.share * fill.price
        largest = max(largest, size * (cost / entered) / first)
    return largest
