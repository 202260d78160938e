"""Steps and least amounts of a market: a quantity rounded down, refused below the least, and reduced to nothing.

Also whether a quantity is another one, rounded to such a step.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

import msgspec

from .formatting import plain_number
from .signal_events import Reason
from .whole_number import checked_number

EXACT: Final = 1e-9
"""What adding up numbers leaves, as a part of a quantity."""
NEAR: Final = 0.01
"""What a step of a market changes at most, as a part of a quantity, where the step cannot be read from the number."""


def is_near(quantity: float, asked: float) -> bool:
    """Whether a quantity is within 1 % of the one that was asked for; both in base currency.

    Examples
    --------
    >>> is_near(1.995, 2.0), is_near(1.0, 1.95)
    (True, False)
    """
    return abs(quantity - asked) <= asked * NEAR


def is_rounded(quantity: float, asked: float) -> bool:
    """Whether a quantity may be what a market made of the quantity that was asked for; both in base currency, above 0.

    It is within 1 % of it, or has decimals, fewer than it, and is the next one below it, or the nearest, with so many:
    its decimals show the step of the market. A whole number shows none, so it has to be within 1 %. Twice what was
    asked for is none: an order that was filled twice looks like that.

    Examples
    --------
    >>> is_rounded(1.0005, 1.0), is_rounded(0.001, 0.0014), is_rounded(0.002, 0.0016), is_rounded(390, 390.9)
    (True, True, True, True)
    >>> is_rounded(1.0, 2.0), is_rounded(0.5, 1.0), is_rounded(0.0, 0.4), is_rounded(1.0, 1.95), is_rounded(0.1, 0.05)
    (False, False, False, False, False)
    """
    if is_near(quantity, asked):
        return True
    if quantity >= 2 * asked * (1 - EXACT):
        return False
    exponent = int(Decimal(repr(float(quantity))).normalize().as_tuple().exponent)
    step = 10.0**exponent
    return quantity > 0.0 and exponent < 0 and -step / 2 <= asked - quantity < step


def is_rounded_down(quantity: float, asked: float) -> bool:
    """The same where nothing is rounded up.

    Examples
    --------
    >>> is_rounded_down(0.001, 0.0016), is_rounded_down(0.002, 0.0016)
    (True, False)
    """
    return is_near(quantity, asked) or (quantity < asked and is_rounded(quantity, asked))


def is_whole_part(quantity: float, asked: float) -> bool:
    """Whether a quantity is the whole number below the one that was asked for, of 1 at least.

    Examples
    --------
    >>> is_whole_part(1.0, 1.5), is_whole_part(2.0, 1.5), is_whole_part(1.0, 2.0), is_whole_part(0.0, 0.5)
    (True, False, False, False)
    """
    return is_whole(quantity) and 0.0 <= asked - quantity < 1.0


def is_whole(quantity: float) -> bool:
    """Whether a quantity is a whole number above 0.

    Examples
    --------
    >>> is_whole(3.0), is_whole(0.5), is_whole(0.0)
    (True, False, False)
    """
    return quantity >= 1.0 and float(quantity).is_integer()


_MOST_STEPS: Final = 2.0**52
"""Quotients above are whole numbers anyway: a float has no digits left for the rest."""


class MarketLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a market takes: the step of quantities and the least amount of an order; 0 where nothing is known.

    Parameters
    ----------
    step
        Quantities are whole multiples of it, in base currency.
    least_quantity
        The least quantity of an order, in base currency.
    least_value
        The least quantity times price of an order, in quote currency.

    Raises
    ------
    UsageError
        For a number below 0, or none.

    Examples
    --------
    >>> MarketLimits(step=0.001, least_value=5.0).least_quantity
    0.0
    """

    step: float = 0.0
    least_quantity: float = 0.0
    least_value: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value, what = getattr(self, name), "a number of at least 0"
            checked_number(f"{name} of a market", value, what, fits=_at_least_0, hint="give 0 where it is not known")


def _at_least_0(value: float) -> bool:
    return value >= 0.0


def rounded_down(quantity: float, step: float) -> float:
    """The largest whole multiple of ``step`` that is not above ``quantity``; both in base currency.

    A step is the decimal number it is written as. A quantity that arithmetic left a billionth of itself below a
    multiple is that multiple. Without a step (0) the quantity stays as it is.

    Examples
    --------
    >>> rounded_down(0.12399, 0.001), rounded_down(0.3, 0.1), rounded_down(0.1 + 0.2, 0.1), rounded_down(5.5, 0.0)
    (0.123, 0.3, 0.3, 5.5)
    """
    if step == 0.0:
        return quantity
    steps = quantity / step
    if steps >= _MOST_STEPS:
        return quantity
    nearest = round(steps)
    whole = nearest if abs(steps - nearest) <= steps * EXACT else math.floor(steps)
    return float(whole * Decimal(repr(float(step))))


def too_small(quantity: float, price: float, limits: MarketLimits) -> Reason | None:
    """Why an order is below the least amount of its market; ``None`` where it is not.

    Examples
    --------
    >>> too_small(0.04, 100.0, MarketLimits(least_value=5.0)).text
    'too small: 0.04 is worth 4, the market takes 5 at least; size it larger, or leave this symbol out'
    >>> too_small(0.05, 100.0, MarketLimits(least_value=5.0)) is None
    True
    """
    advice = "size it larger, or leave this symbol out"
    if quantity <= 0.0:
        step = plain_number(limits.step)
        return Reason("too_small", f"too small: less than one step of the market, which is {step}; {advice}")
    if quantity < limits.least_quantity * (1 - EXACT):
        least = plain_number(limits.least_quantity)
        return Reason("too_small", f"too small: {plain_number(quantity)}, the market takes {least} at least; {advice}")
    value = quantity * price
    if value < limits.least_value * (1 - EXACT):
        text = f"{plain_number(quantity)} is worth {value:.8g}, the market takes {limits.least_value:.8g} at least"
        return Reason("too_small", f"too small: {text}; {advice}")
    return None


def too_large(quantity: float, most: float) -> str:
    """Why an order is above the largest quantity of its market; empty where it is not. Both in base currency.

    Examples
    --------
    >>> too_large(150.0, 120.0), too_large(120.0, 120.0)
    ('too large: 150, the market takes 120 in one order; size it smaller', '')
    """
    if quantity <= most * (1 + EXACT):
        return ""
    return f"too large: {plain_number(quantity)}, the market takes {plain_number(most)} in one order; size it smaller"


def is_dust(quantity: float, step: float, least: float) -> bool:
    """Whether no market order could sell a quantity: rounded down to the step it is nothing, or less than is taken.

    All in base currency.

    Examples
    --------
    >>> is_dust(0.000008, 0.00001, 0.0), is_dust(0.00008, 0.00001, 0.0001), is_dust(0.00018, 0.00001, 0.0001)
    (True, True, False)
    """
    rest = rounded_down(quantity, step)
    return rest <= 0.0 or rest < least * (1 - EXACT)


def reduced_by(held: float, part: float, price: float, limits: MarketLimits) -> float:
    """How much is closed where ``part`` of ``held`` is to be closed: all, where what is left could not be closed later.

    Parameters
    ----------
    held, part
        In base currency, above 0.
    price
        In quote currency; the least value of an order is judged at it.
    limits
        The step, and the least amount that may be left.

    Returns
    -------
    float
        The part rounded down to the step; 0 where that is nothing, or is less than the market takes.

    Examples
    --------
    >>> market = MarketLimits(step=0.1, least_value=10.0)
    >>> reduced_by(1.0, 0.55, 100.0, market), reduced_by(1.0, 0.95, 100.0, market), reduced_by(1.0, 0.05, 100.0, market)
    (0.5, 0.9, 0.0)
    >>> reduced_by(1.0, 0.95, 90.0, market)
    1.0
    """
    closed = rounded_down(min(part, held), limits.step)
    left = held - closed
    if left <= held * EXACT or too_small(left, price, limits) is not None:
        return held
    return closed if too_small(closed, price, limits) is None else 0.0
