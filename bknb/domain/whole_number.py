"""Numbers that a user gives, of Python or of numpy."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeGuard

from ..errors import UsageError


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a number; yes and no are none.

    Examples
    --------
    >>> is_number(0.5), is_number(True), is_number("0.5")
    (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


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
        For anything else.

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
