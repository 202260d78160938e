"""The orders that bring what is held to a weight: a signal, an add, a part, or a close with or without a signal.

The lifecycle knows all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from .declared_exits import targets_of
from .exit_validation import is_positive
from .manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from .position_book import PositionOrder
from .position_fills import DUST, Fill
from .position_seen_by_manage import HeldPosition
from .signal import Position, ScheduledSignal, Signal, sign_of
from .weight_with_levels import Weight, side_of_weight

_EXACT: Final = 1e-9  # as much more than the most is arithmetic
_ROUNDS: Final = 20  # how often costs that are functions of the order are asked again for smaller ones


def marked_weight(
    fills: Iterable[Fill], *, sign: int, opened_with: float, left: float, mark: float, slippage: float, fee: float
) -> float:
    """What an open position is worth as a part of the equity, both at ``mark``; below 0 for a short.

    The equity is that of an account whose positions come one after the other, with the costs of what has filled booked.
    Where nothing of it is left the weight is infinite.

    Parameters
    ----------
    fills
        Of the position, in order.
    sign
        1 for a long, -1 for a short.
    opened_with
        The part of the equity that the first of them took.
    left
        What is open, in units of the first fill.
    mark
        Quote currency.
    slippage, fee
        Of each side, percent.

    Examples
    --------
    >>> entry = Fill(number=0, kind="entry", at=0, share=1.0, price=100.0)
    >>> marked_weight([entry], sign=1, opened_with=0.5, left=1.0, mark=200.0, slippage=0.0, fee=0.0)
    0.6666666666666666
    """
    moved = turned = first = 0.0
    for fill in fills:
        enters = sign if fill.enters else -sign
        value = fill.share * fill.price * (1 + enters * slippage / 100)
        first = first or value
        moved -= enters * value
        turned += value
    value = sign * left * mark
    gained = (moved + value - turned * fee / 100) / first
    equity = 1 + opened_with * gained
    return opened_with * value / first / equity if equity > 0.0 else sign * math.inf


def weight_signal(wanted: Weight) -> Signal | None:
    """The signal that opens a weight where nothing is held; ``None``: it is 0.

    Examples
    --------
    >>> weight_signal(Weight(-0.5)).position, weight_signal(Weight(-0.5)).size, weight_signal(Weight(0.0))
    ('short', 0.5, None)
    """
    if wanted.weight == 0.0:
        return None
    return Signal(
        position=side_of_weight(wanted.weight),
        size=abs(wanted.weight),
        price_stop_loss=wanted.price_stop_loss,
        stop_percent=wanted.stop_percent,
        target_percent=wanted.target_percent,
        trailing=wanted.trailing,
        breakeven=wanted.breakeven,
        note=wanted.note,
    )


def signed_weight(signal: Signal | ScheduledSignal) -> float:
    """The weight that a signal opens, below 0 for a short.

    Examples
    --------
    >>> signed_weight(Signal(position="short", size=0.25))
    -0.25
    """
    assert signal.position is not None  # weights say it  # noqa: S101
    return sign_of(signal.position) * (signal.size if isinstance(signal.size, int | float) else 1.0)


class HeldWeight(NamedTuple):
    """What one leg holds: its weight, below 0 for a short, its size in units of the first, and its orders.

    ``price_stop_loss`` is the stop that is in force (quote currency).
    """

    weight: float
    size: float
    waiting: tuple[PositionOrder | ScheduledSignal, ...] = ()
    price_stop_loss: float | None = None

    @property
    def sign(self) -> int:
        """1 for a long, -1 for a short."""
        return -1 if self.weight < 0.0 else 1

    @property
    def position(self) -> Position:
        """The side of what is held."""
        return side_of_weight(self.weight)


def weight_changes(wanted: Weight, position: HeldPosition | HeldWeight, tolerance: float) -> list[PositionAnswer]:
    """The answers that bring what is held to a weight; none where it is near enough.

    Parameters
    ----------
    wanted
        The weight, with its stop.
    position
        What is held, with its ``weight`` now.
    tolerance
        Up to so much, in percent of the equity, nothing is changed, unless all is to be closed or the side changes.

    Examples
    --------
    >>> held = HeldWeight(0.5, 1.0)
    >>> [weight_changes(Weight(weight), held, 5.0) for weight in (0.25, 1.0, 0.52)]
    [[Reduce(share=0.5, of='now', note='')], [Add(share=1.0, price_open=None, only_better=False, note='')], []]
    >>> weight_changes(Weight(0.0), held, 0.0), weight_changes(Weight(0.5, price_stop_loss=95.0), held, 0.0)
    ([Close(note='', at='market')], [Move(price_stop_loss=95.0, loosen=False)])
    """
    if not position.size:
        return _instead_of(position.waiting, wanted, tolerance)
    if any(getattr(order, "reason", "") == "manual" for order in position.waiting):
        return []  # what was ordered by hand fills first
    if wanted.weight * position.sign <= 0.0:
        turned = weight_signal(wanted)
        close = Close(note=wanted.note)
        return [close] if turned is None else [close, turned]
    changes = _resized(wanted, position, tolerance)
    stop, before = wanted.price_stop_loss, position.price_stop_loss
    if stop is not None and (before is None or not is_positive(stop) or position.sign * (stop - before) > 0):
        changes.append(Move(price_stop_loss=stop))
    return changes


def _resized(wanted: Weight, position: HeldPosition | HeldWeight, tolerance: float) -> list[PositionAnswer]:
    """The part or add that brings what is held on one side to a weight on it, in place of an add that waits."""
    now = position.weight
    assert now is not None  # it is asked about weights only  # noqa: S101
    replaced: list[PositionAnswer] = []
    size, ordered = position.size, 0.0
    for order in position.waiting:  # no candle could fill it since it was ordered
        if getattr(order, "kind", "") == "reduce":
            ordered += order.share  # type: ignore[union-attr]  # it is an order on the position
        else:
            replaced = [Cancel()]
    left = size - ordered
    if left <= DUST:
        return replaced
    now *= left / size
    if abs(wanted.weight - now) * 100 <= tolerance and math.isfinite(now):
        return replaced
    part = wanted.weight / now
    if abs(part - 1) * left <= DUST:
        return replaced
    if part < 1:
        return [*replaced, Reduce(1 - part, note=wanted.note)]
    return [*replaced, Add(left * (part - 1), note=wanted.note)]


def _instead_of(waiting: Sequence[object], wanted: Weight, tolerance: float) -> list[PositionAnswer]:
    """What is ordered for a weight in place of an entry that no candle has filled; nothing where it is near enough."""
    order = next((each for each in waiting if isinstance(each, ScheduledSignal)), None)
    if order is None:
        return []  # nothing is left of it
    ordered, near = signed_weight(order), max(tolerance / 100, _EXACT)
    same = order.entry == "market" and has_levels(order, wanted)
    if same and wanted.weight * ordered > 0.0 and abs(wanted.weight - ordered) <= near:
        return []
    signal = weight_signal(wanted)
    return [Cancel()] if signal is None else [Cancel(), signal]


def has_levels(order: ScheduledSignal, wanted: Weight | Signal) -> bool:
    """Whether an entry that was ordered has the stop and the target of another answer."""
    target = wanted.target_percent
    assert target is None or isinstance(target, int | float)  # weights have no ladder  # noqa: S101
    if order.percent_targets != targets_of(target):
        return False
    if order.stop_percent is not None or wanted.stop_percent is not None:
        return order.stop_percent == wanted.stop_percent
    return order.price_stop_loss == wanted.price_stop_loss


def part_paid_for(takes: Callable[[float], float], free: float) -> float:
    """The largest part of all increases that what is free pays for, 0 to 1.

    ``takes`` is what a part of them takes of it with its costs, in the same unit: more for a larger one.

    Examples
    --------
    >>> round(part_paid_for(lambda part: 2000.0 * part + 10.0, 1000.0), 9), part_paid_for(lambda part: part, -5.0)
    (0.495, 0.0)
    """
    part, needed, fixed = 1.0, takes(1.0), takes(_EXACT)
    for _ in range(_ROUNDS):
        if needed <= free * (1 + _EXACT):
            return part
        if free <= fixed or needed <= fixed:
            return 0.0
        part = _EXACT + (part - _EXACT) * (free - fixed) / (needed - fixed)
        needed = takes(part)
    return 0.0
