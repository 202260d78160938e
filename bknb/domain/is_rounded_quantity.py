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
