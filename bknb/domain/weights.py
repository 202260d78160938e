"""Weights: what a strategy wants to hold, as a part of the equity, and the answers that lead there.

A weight of 0.5 is a long worth half of the equity, -1 a short worth all of it, 0 nothing. Every change is an answer
that the lifecycle knows already: a signal, or for what is open an add, a reduction, or a close with or without a
signal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from .manage_answers import Add, Cancel, Close, PositionAnswer, Reduce
from .position_book import PositionOrder
from .position_fills import DUST, Fill
from .position_view import HeldPosition
from .risk import WeightLimits
from .signal import ScheduledSignal, Signal
from .signal_events import Reason
from .text import shown

_EXACT: Final = 1e-9  # as much more than the most is arithmetic


def read_weight(answer: object, limits: WeightLimits | None = None) -> float | Reason:
    """A weight as a float, or the reason why it is none; ``limits`` are those of the account, where it is known.

    Examples
    --------
    >>> read_weight(0.5), read_weight(float("nan")).text
    (0.5, 'get_weight returns None, or a finite number such as 0.5, -1 or 0; got float: nan')
    >>> read_weight(1.5, WeightLimits()).text
    'weight 1.5: all of the equity is 1, and the account has no leverage; give account=bknb.Margin(leverage=2)'
    """
    plain = answer
    if hasattr(answer, "item") and getattr(answer, "ndim", 0) == 0:
        plain = answer.item()
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not math.isfinite(plain):
        hint = _hint(answer)
        text = "get_weight returns None, or a finite number such as 0.5, -1 or 0"
        return Reason("weight", f"{text}; got {type(answer).__name__}: {shown(answer, 80)}{hint}")
    weight = float(plain)
    if limits is not None:
        if weight < 0.0 and not limits.shorts:
            text = f"weight {weight:g}: a spot account has no shorts"
            return Reason("weight", f"{text}; give account=bknb.Margin(), or a weight of at least 0")
        if abs(weight) > limits.leverage * (1 + _EXACT):
            return Reason("weight", f"weight {weight:g}: {_too_much(weight, limits.leverage)}")
    return weight


def _hint(answer: object) -> str:
    if isinstance(answer, bool) or type(answer).__name__ in ("bool_", "bool"):
        return "; write 1 or 0"
    if isinstance(answer, dict):
        return "; weights of several symbols are answered by a get_weights of bknb.weights"
    if hasattr(answer, "__len__") and not isinstance(answer, str):
        return "; give one number, such as the last: values[-1]"
    return ""


def _too_much(weight: float, most: float) -> str:
    wanted = math.ceil(abs(weight) * (1 - _EXACT))
    advice = f"give account=bknb.Margin(leverage={wanted})"
    if most == 1.0:
        return f"all of the equity is 1, and the account has no leverage; {advice}"
    return f"the account has a leverage of {most:g}; {advice}, or a smaller weight"


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


def weight_signal(weight: float) -> Signal | None:
    """The signal that opens a weight where nothing is held; ``None``: it is 0.

    Examples
    --------
    >>> weight_signal(-0.5).position, weight_signal(-0.5).size, weight_signal(0.0)
    ('short', 0.5, None)
    """
    if weight == 0.0:
        return None
    return Signal(position="long" if weight > 0.0 else "short", size=abs(weight))


class HeldWeight(NamedTuple):
    """What one leg of a book holds: its weight, below 0 for a short, its size in units of the first, and its orders."""

    weight: float
    size: float
    waiting: tuple[PositionOrder | ScheduledSignal, ...] = ()

    @property
    def sign(self) -> int:
        """1 for a long, -1 for a short."""
        return -1 if self.weight < 0.0 else 1


def read_weights(
    answer: object, symbols: Sequence[str], limits: WeightLimits
) -> dict[str, float | None] | tuple[Reason, ...]:
    """The weight that each symbol of a book is to have, or everything that is wrong with an answer.

    A symbol that is not named is to have 0, and ``None`` leaves it as it is.

    Examples
    --------
    >>> read_weights({"A": 0.5, "B": None}, ["A", "B", "C"], WeightLimits())
    {'A': 0.5, 'B': None, 'C': 0.0}
    >>> [reason.text[:46] for reason in read_weights({"A": 0.75, "B": -0.5}, ["A", "B"], WeightLimits())]
    ['weights of 1.25 together: all of the equity is']
    """
    if not isinstance(answer, Mapping):
        text = "get_weights returns None, or a mapping from symbols to weights such as {'A': 0.6, 'B': 0.4}"
        return (Reason("weight", f"{text}; got {type(answer).__name__}: {shown(answer, 80)}"),)
    reasons: list[Reason] = []
    found: dict[str, float | None] = dict.fromkeys(symbols, 0.0)
    for symbol, weight in answer.items():
        if symbol not in found:
            known = ", ".join(symbols[:10]) + (", …" if len(symbols) > 10 else "")
            reasons.append(Reason("weight", f"{shown(symbol, 60)} is no symbol of this strategy; its symbols: {known}"))
            continue
        if weight is None:
            found[symbol] = None
            continue
        read = read_weight(weight, WeightLimits(math.inf, limits.shorts))
        if isinstance(read, Reason):
            reasons.append(Reason("weight", f"{symbol}: {read.text.replace('get_weight returns', 'a weight is')}"))
        else:
            found[symbol] = read
    total = sum(abs(weight) for weight in found.values() if weight is not None)
    if total > limits.leverage * (1 + _EXACT):
        reasons.append(Reason("weight", f"weights of {total:g} together: {_too_much(total, limits.leverage)}"))
    return tuple(reasons) or found


def weight_changes(weight: float, position: HeldPosition | HeldWeight, tolerance: float) -> list[PositionAnswer]:
    """The answers that bring what is held to a weight; none where it is near enough.

    Parameters
    ----------
    weight
        What is wanted.
    position
        What is held, with its ``weight`` now.
    tolerance
        Up to so much, in percent of the equity, nothing is changed, unless all is to be closed or the side changes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> held = SimpleNamespace(weight=0.5, size=1.0, sign=1, waiting=())
    >>> weight_changes(0.25, held, 0.0), weight_changes(1.0, held, 0.0), weight_changes(0.52, held, 5.0)
    ([Reduce(share=0.5, of='now', note='')], [Add(share=1.0, price_open=None, only_better=False, note='')], [])
    >>> weight_changes(0.0, held, 0.0)
    [Close(note='', at='market')]
    """
    now = position.weight
    assert now is not None  # it is asked about weights only  # noqa: S101
    if weight * position.sign <= 0.0:
        turned = weight_signal(weight)
        return [Close()] if turned is None else [Close(), turned]
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
    if abs(weight - now) * 100 <= tolerance and math.isfinite(now):
        return replaced
    part = weight / now
    if abs(part - 1) * left <= DUST:
        return replaced
    return [*replaced, Reduce(1 - part) if part < 1 else Add(left * (part - 1))]
