"""Numbers that a user gives, of Python or of numpy."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real
from typing import Final, TypeGuard

from ..errors import UsageError
from .text import shown

_LARGEST: Final = math.nextafter(math.inf, 0.0)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; yes and no are none.

    Examples
    --------
    >>> is_number(0.5), is_number(True), is_number("0.5")
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a number that a float can hold; NaN and infinity are none.

    Examples
    --------
    >>> is_finite(0.5), is_finite(float("nan")), is_finite(10**400)
    (True, False, False)
    """
    return is_number(value) and abs(value) <= _LARGEST


def checked_number(
    name: str, value: object, expected: str, *, fits: Callable[[float], bool] = lambda _: True, hint: str = ""
) -> float:
    """A finite number that was given, as ``float``.

    Parameters
    ----------
    name
        What it is called, for the message.
    expected
        What it has to be, for the message.
    fits
        Whether a finite number is that.
    hint
        A further line of the message.

    Raises
    ------
    UsageError
        It is no finite number, or does not fit.

    Examples
    --------
    >>> checked_number("leverage of Margin", 3, "a number of at least 1", fits=lambda value: value >= 1)
    3.0
    >>> checked_number("leverage of Margin", 0, "a number of at least 1", fits=lambda value: value >= 1)
    Traceback (most recent call last):
    bknb.errors.UsageError: leverage of Margin must be a number of at least 1, got 0
    """
    if is_finite(value) and fits(float(value)):
        return float(value)
    line = f"{name} must be {expected}, got {shown(value, 60)}"
    raise UsageError(f"{line}\n{hint}" if hint else line)


def whole_number(name: str, value: object, *, least: int, hint: str = "") -> int:
    """Return a whole number that was given as ``int``; those of numpy are taken, yes and no are none.

    Parameters
    ----------
    name
        What it is called, for the message.
    least
        The smallest number that is taken.
    hint
        A further line of the message.

    Raises
    ------
    UsageError
        It is not whole, below ``least``, or no number.

    Examples
    --------
    >>> whole_number("n", 5, least=1)
    5
    >>> whole_number("n", 0.5, least=1)
    Traceback (most recent call last):
    bknb.errors.UsageError: n must be a whole number of at least 1, got 0.5
    """
    number = None
    if isinstance(value, Integral) and hasattr(value, "__index__") and not isinstance(value, bool):
        number = int(value)  # no timedelta64, which numpy counts among the whole numbers
    if number is None or number < least:
        text = f"{name} must be a whole number of at least {least}, got {value!r:.80}"
        raise UsageError(f"{text}\n{hint}" if hint else text)
    return number
