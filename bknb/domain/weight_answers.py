"""What a strategy wants to hold, read from its answer: weights, as parts of the equity, and why an answer is none.

A weight of 0.5 is a long worth half of the equity, -1 a short worth all of it, 0 nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from .exit_validation import is_positive
from .risk_request_and_verdict import WeightLimits
from .signal_events import Reason
from .text import shown
from .weight_with_levels import Weight, side_of_weight

_EXACT: Final = 1e-9  # as much more than the most is arithmetic
_MOST: Final = 1e9  # a larger weight is no part of an equity: something was divided by nearly nothing
_ISOLATED: Final = ", mode='isolated'"  # what legs of a portfolio need
_SHOWN: Final = 10  # symbols in a message


def read_weight(answer: object, limits: WeightLimits | None = None) -> Weight | Reason:
    """A weight, or the reason why an answer is none; ``limits`` are those of the account, where it is known.

    Examples
    --------
    >>> read_weight(0.5).weight, read_weight(float("nan")).text
    (0.5, 'get_weight returns None, or a finite number such as 0.5, -1 or 0; got float: nan')
    >>> read_weight(1.5, WeightLimits()).text
    'weight 1.5: all of the equity is 1, and the account has no leverage; give account=bknb.Margin(leverage=2)'
    """
    if isinstance(answer, Weight):
        read = read_weight(answer.weight, limits)
        if isinstance(read, Reason):
            return read
        return _broken_percent(answer) or replace(answer, weight=read.weight)
    plain = answer
    if hasattr(answer, "item") and getattr(answer, "ndim", 0) == 0:
        plain = answer.item()
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not abs(plain) <= _MOST:
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
    return Weight(weight)


def _broken_percent(answer: Weight) -> Reason | None:
    """What is wrong with the stop or the target of a weight that is a percentage."""
    if answer.target_percent is not None:
        from .percent_levels import percent_fault  # few have one

        if (fault := percent_fault("target_percent", answer.target_percent, side_of_weight(answer.weight))) is not None:
            return Reason("weight", fault.text)
    percent: object = answer.stop_percent
    if percent is None:
        return None
    if answer.price_stop_loss is not None:
        return Reason("weight", "a weight has price_stop_loss and stop_percent; give one of them")
    if is_positive(percent) and (answer.weight < 0.0 or answer.stop_percent < 100.0):  # type: ignore[operator]
        return None
    text = "stop_percent must be a number above 0, and below 100 for a long, such as 2 for 2 % below what was paid"
    return Reason("weight", f"{text}; got {shown(percent, 60)}")


def _hint(answer: object) -> str:
    if isinstance(answer, bool) or type(answer).__name__ in ("bool_", "bool"):
        return "; write 1 or 0"
    if isinstance(answer, dict):
        return "; weights of several symbols are answered by a get_weights of bknb.weights"
    if isinstance(answer, int | float) and _MOST < abs(answer) < math.inf:
        return f"; a weight is at most {_MOST:g}: perhaps something was divided by nearly 0"
    if isinstance(answer, str) or type(answer).__name__ in ("Decimal", "Fraction"):
        return "; write float(…)"
    if hasattr(answer, "__len__"):
        return "; give one number, such as the last: values[-1]"
    return ""


def _too_much(weight: float, most: float, mode: str = "") -> str:
    wanted = math.ceil(abs(weight) * (1 - _EXACT))
    advice = f"give account=bknb.Margin(leverage={wanted}{mode})"
    if most == 1.0:
        return f"all of the equity is 1, and the account has no leverage; {advice}"
    return f"the account has a leverage of {most:g}; {advice}, or a smaller weight"


def sides_of_weights(weights: Mapping[int, float]) -> dict[int, int]:
    """The side that each weight takes, 1 or -1 by its moment (UTC ms), in their order.

    Where all are on one side, and not the same, those above their median take the long side and those below it the
    short one.

    Examples
    --------
    >>> sides_of_weights({0: 0.5, 1: -1.0}), sides_of_weights({0: 0.25, 1: 0.5, 2: 0.75})
    ({0: 1, 1: -1}, {0: -1, 2: 1})
    """
    values = sorted(weights.values())
    one_side = bool(values) and values[0] * values[-1] > 0.0 and values[0] < values[-1]
    middle = values[len(values) // 2] if one_side else 0.0
    return {when: 1 if weight > middle else -1 for when, weight in sorted(weights.items()) if weight != middle}


def read_weights(answer: object, limits: Mapping[str, WeightLimits]) -> dict[str, Weight | None] | tuple[Reason, ...]:
    """The weight that each symbol is to have, or everything that is wrong with an answer.

    A symbol that is not named is to have 0, and ``None`` leaves it as it is. Together weights take
    the sum of each divided by its leverage, at most 1.

    Parameters
    ----------
    answer
        What ``get_weights`` returned.
    limits
        Of each symbol's account.

    Examples
    --------
    >>> limits = {"A": WeightLimits(), "B": WeightLimits(leverage=2), "C": WeightLimits()}
    >>> read = read_weights({"A": 0.5, "B": None}, limits)
    >>> read["A"].weight, read["B"], read["C"].weight
    (0.5, None, 0.0)
    >>> [reason.text[:45] for reason in read_weights({"A": 0.75, "B": -1.0}, limits)]
    ['weights of 1.75 together take 1.25 of the equ']
    """
    if not isinstance(answer, Mapping):
        text = "get_weights returns None, or a mapping from symbols to weights such as {'A': 0.6, 'B': 0.4}"
        hint = "; write .to_dict() behind it" if callable(getattr(answer, "to_dict", None)) else ""
        return (Reason("weight", f"{text}; got {type(answer).__name__}: {shown(answer, 80)}{hint}"),)
    reasons: list[Reason] = []
    found: dict[str, Weight | None] = dict.fromkeys(limits, Weight(0.0))
    for symbol, weight in answer.items():
        if symbol not in found:
            known = ", ".join([*limits][:_SHOWN]) + (", …" if len(limits) > _SHOWN else "")
            reasons.append(Reason("weight", f"{shown(symbol, 60)} is no symbol of this strategy; its symbols: {known}"))
            continue
        if weight is None:
            found[symbol] = None
            continue
        read = read_weight(weight, limits[symbol]._replace(leverage=math.inf))
        if isinstance(read, Reason):
            reasons.append(Reason("weight", f"{symbol}: {read.text.replace('get_weight returns', 'a weight is')}"))
        else:
            found[symbol] = read
    sizes = {symbol: abs(wanted.weight) for symbol, wanted in found.items() if wanted is not None}
    if (much := _too_much_together(sizes, limits)) is not None:
        reasons.append(Reason("weight", much))
    return tuple(reasons) or found


def _too_much_together(sizes: Mapping[str, float], limits: Mapping[str, WeightLimits]) -> str | None:
    """What is wrong with weights, without their signs, that take more than the equity; ``None``: they do not."""
    total, takes = sum(sizes.values()), sum(size / limits[symbol].leverage for symbol, size in sizes.items())
    if takes <= 1 + _EXACT:
        return None
    what = f"a weight of {total:g}" if len(limits) == 1 else f"weights of {total:g} together"
    leverages = {each.leverage for each in limits.values()}
    if len(leverages) == 1:
        return f"{what}: {_too_much(total, leverages.pop(), _ISOLATED)}"
    each = [f"{symbol} {size:g} / {limits[symbol].leverage:g}" for symbol, size in sizes.items() if size]
    each = each[:_SHOWN] + (["…"] if len(each) > _SHOWN else [])
    return (
        f"{what} take {takes:g} of the equity as margin, and all of it is 1: {', '.join(each)} "
        "(weight / leverage of its account); give smaller weights"
    )
