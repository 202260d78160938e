"""Whether a quantity is another one, rounded to the step of a market."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

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
    its decimals show the step of the market. A whole number shows none, so it has to be within 1 %.

    Examples
    --------
    >>> is_rounded(1.0005, 1.0), is_rounded(0.001, 0.0014), is_rounded(0.002, 0.0016), is_rounded(390, 390.9)
    (True, True, True, True)
    >>> is_rounded(1.0, 2.0), is_rounded(0.5, 1.0), is_rounded(0.0, 0.4), is_rounded(1.0, 1.95), is_rounded(3, 3.9)
    (False, False, False, False, False)
    """
    if is_near(quantity, asked):
        return True
    exponent = int(Decimal(repr(float(quantity))).normalize().as_tuple().exponent)
    step = 10.0**exponent
    return quantity > 0.0 and exponent < 0 and -step / 2 <= asked - quantity < step


def is_rounded_part(quantity: float, asked: float) -> bool:
    """The same for a part of a position or an add: a whole number may be what a market of whole numbers made of it.

    Examples
    --------
    >>> is_rounded_part(1.0, 1.5), is_rounded_part(2.0, 1.5), is_rounded_part(1.0, 2.0), is_rounded_part(0.0, 0.5)
    (True, True, False, False)
    """
    whole = quantity >= 1.0 and float(quantity).is_integer()
    return is_rounded(quantity, asked) or (whole and -0.5 <= asked - quantity < 1.0)
