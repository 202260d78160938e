"""Moments and numbers as people and exchanges write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal


def utc_text(when: int) -> str:
    """A moment (UTC milliseconds) for a message; seconds appear only where they are not zero.

    Examples
    --------
    >>> utc_text(1_641_038_400_000)
    '2022-01-01 12:00 UTC'
    >>> utc_text(1_641_038_430_500)
    '2022-01-01 12:00:30.500 UTC'
    >>> utc_text(10**18)
    '1000000000000000000 ms'
    """
    try:
        moment = datetime.fromtimestamp(when // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{when} ms"
    text = f"{moment:%Y-%m-%d %H:%M}"
    if when % 60_000:
        text += f":{moment:%S}" + (f".{when % 1000:03d}" if when % 1000 else "")
    return text + " UTC"


def plain_number(value: float, *, decimals: int = 8) -> str:
    """A number without exponent and without trailing zeros.

    At most ``decimals`` digits follow the point, not counting the zeros a very small number begins with.

    Examples
    --------
    >>> plain_number(41999.99999999999)
    '42000'
    >>> plain_number(0.0000123456789012)
    '0.000012345679'
    >>> plain_number(1e16)
    '10000000000000000'
    """
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    exact = Decimal(repr(value))
    leading_zeros = max(0, -exact.adjusted() - 1) if exact else 0
    places = decimals + leading_zeros
    if exact.as_tuple().exponent < -places:  # type: ignore[operator]  # a finite number has an integer exponent
        exact = exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    text = format(exact, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"", "-0"} else text
