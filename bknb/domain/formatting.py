"""Moments and numbers as text, for reports and messages; :mod:`bknb.domain.printed_text` has those of a printed page.

Moments are UTC milliseconds. What is missing (None, and NaN where a number is expected) is :data:`MISSING`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from numbers import Integral
from typing import Any, Final

from .interval import DAY_MINUTES, DAY_MS, MINUTE_MS
from .text import error_text

MISSING: Final = "N/A"
"""What a report writes where there is no value."""
NOT_AVAILABLE: Final = "n/a"
"""What a table of statistics writes where a sample cannot support a figure."""
_MOST_DECIMALS: Final = 20
"""Decimals that every figure and browser can write."""
_PLAIN_DECIMALS: Final = 8
"""Decimals of a plain number, beside the zeros that a very small one begins with."""
_SMALLEST_PLAIN: Final = 1e-17


# -- moments -----------------------------------------------------------------------------------------------------


def _written(when: float, form: str) -> str:
    moment = _moment(when)
    return f"{when} ms" if moment is None else format(moment, form)


def _moment(when: float) -> datetime | None:
    """The moment in UTC; ``None`` where its year has not four digits."""
    try:
        return datetime.fromtimestamp(int(when) // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def minute_text(when: float | datetime | None) -> str:
    """A moment to the minute: UTC milliseconds, or a datetime in its own zone.

    Examples
    --------
    >>> minute_text(1_640_995_260_000), minute_text(datetime(2024, 5, 1)), minute_text(None)
    ('2022-01-01 00:01', '2024-05-01 00:00', 'N/A')
    """
    if when is None:
        return MISSING
    form = "%Y-%m-%d %H:%M"
    return format(when, form) if isinstance(when, datetime) else _written(when, form)


def second_text(when: float) -> str:
    """A moment to the second.

    Examples
    --------
    >>> second_text(1_640_995_261_999)
    '2022-01-01 00:01:01'
    """
    return _written(when, "%Y-%m-%d %H:%M:%S")


def day_text(when: float) -> str:
    """The day of a moment.

    Examples
    --------
    >>> day_text(1_640_995_260_000)
    '2022-01-01'
    """
    return _written(when, "%Y-%m-%d")


def stamp_text(when: float) -> str:
    """A moment to the minute without a space or a colon, for names and ids.

    Examples
    --------
    >>> stamp_text(1_640_995_260_000)
    '20220101T0001'
    """
    day = _stamp_of_day(int(when) // DAY_MS)  # each signal has one in its id: ``format`` takes ten times as long
    if day is None:
        return f"{when} ms"
    minute = int(when) % DAY_MS // MINUTE_MS
    return f"{day}T{minute // 60:02}{minute % 60:02}"


@lru_cache(maxsize=8)
def _stamp_of_day(day: int) -> str | None:
    moment = _moment(day * DAY_MS)
    return None if moment is None else moment.isoformat()[:10].replace("-", "")


def exact_text(when: int) -> str:
    """A moment as exactly as it is; seconds appear only where they are not zero.

    Examples
    --------
    >>> exact_text(1_641_038_400_000), exact_text(1_641_038_430_500)
    ('2022-01-01 12:00', '2022-01-01 12:00:30.500')
    """
    if not when % MINUTE_MS:
        return minute_text(when)
    text = second_text(when)
    return text if text.endswith(" ms") or not when % 1000 else f"{text}.{when % 1000:03d}"


def utc_text(when: int) -> str:
    """A moment for a message, as exactly as it is, with its zone.

    Examples
    --------
    >>> utc_text(1_641_038_400_000)
    '2022-01-01 12:00 UTC'
    >>> utc_text(1_641_038_430_500)
    '2022-01-01 12:00:30.500 UTC'
    >>> utc_text(10**18)
    '1000000000000000000 ms'
    """
    text = exact_text(when)
    return text if text.endswith(" ms") else f"{text} UTC"


def duration_text(minutes: float | None) -> str:
    """A span of minutes in the units people use.

    Examples
    --------
    >>> duration_text(45), duration_text(150), duration_text(3000), duration_text(float("nan"))
    ('45 min', '2.5 h', '2.1 days', 'N/A')
    """
    if minutes is None or not math.isfinite(minutes):
        return MISSING
    if minutes < 120:
        return f"{minutes:z.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 2 * DAY_MINUTES else f"{minutes / DAY_MINUTES:,.1f} days"


# -- numbers -----------------------------------------------------------------------------------------------------


def plain_number(value: float) -> str:
    """A number without exponent and without trailing zeros.

    At most eight digits follow the point, not counting the zeros a very small number begins with.

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
    places = _PLAIN_DECIMALS + leading_zeros
    if exact.as_tuple().exponent < -places:  # type: ignore[operator]  # a finite number has an integer exponent
        exact = exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
    text = format(exact, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"", "-0"} else text


def number_text(value: Any, *, decimals: int = 3) -> str:
    """A number with some decimals; whole numbers as they are. What rounds to zero has no sign.

    Examples
    --------
    >>> number_text(0.12345), number_text(12), number_text(None), number_text(float("inf")), number_text(-1e-9)
    ('0.123', '12', 'N/A', 'N/A', '0.000')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,}" if isinstance(value, Integral) else f"{value:z,.{decimals}f}"


def share_text(value: Any) -> str:
    """A share 0..1 as per cent; what is nearly none or all is not rounded to it.

    Examples
    --------
    >>> share_text(0.0312), share_text(None), share_text(1e-9), share_text(0.99999)
    ('3.1 %', 'N/A', '< 0.1 %', '> 99.9 %')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if 0 < value < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if 0.9995 < value < 1 else f"{100 * value:z,.1f} %"


def percent_text(value: float | None, *, signed: bool = True) -> str:
    """A percentage with two decimals; the sign ``+`` only above zero.

    Examples
    --------
    >>> percent_text(1.5), percent_text(-0.25), percent_text(0.0), percent_text(None)
    ('+1.50 %', '-0.25 %', '0.00 %', 'N/A')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    rounded = round(value, 2)
    return f"{rounded:+,.2f} %" if signed and rounded > 0 else f"{rounded:z,.2f} %"


def price_decimals(price: float) -> int:
    """The number of decimals to show of a price.

    2 from 1 upwards, two more for each decade below up to 8, and below 0.00001 as many as show four significant digits,
    at most 20.

    Examples
    --------
    >>> price_decimals(42_000.0), price_decimals(0.5), price_decimals(0.00001), price_decimals(1.234e-9)
    (2, 4, 8, 12)
    """
    size = abs(price)
    for decimals, least in ((2, 1.0), (4, 0.1), (6, 0.01)):
        if size >= least:
            return decimals
    if size == 0.0 or not math.isfinite(size):
        return 2
    return min(max(8, 3 - math.floor(math.log10(size))), _MOST_DECIMALS)


def money_decimals(capital: float) -> int:
    """The number of decimals to show of amounts of an account: two from a capital of 10 on, more below it.

    Examples
    --------
    >>> money_decimals(10_000.0), money_decimals(1.0), money_decimals(0.05)
    (2, 4, 6)
    """
    if capital >= 10 or not capital > 0:
        return 2
    return min(4 - min(math.floor(math.log10(capital)), 0), _MOST_DECIMALS)


def level_text(price: float | None) -> str:
    """A level with eight digits, as messages have it.

    Examples
    --------
    >>> level_text(42_000.5), level_text(None)
    ('42000.5', 'none')
    """
    return "none" if price is None else f"{price:.8g}"


def lifetime_text(minutes: int | None) -> str:
    """How long a position is open at most.

    Examples
    --------
    >>> lifetime_text(60), lifetime_text(None)
    ('60 min', 'no deadline')
    """
    return "no deadline" if minutes is None else f"{minutes} min"


def ends_text(minutes: int | None, until: str, bars: int | None) -> str:
    """When a position ends by the clock, as its signal said it.

    Examples
    --------
    >>> ends_text(60, "", None), ends_text(None, "session_end", 3)
    ('60 min', 'until session_end, 3 candles')
    """
    found = [f"{minutes} min"] if minutes is not None else []
    found += [f"until {until}"] if until else []
    found += [f"{bars} candle{'' if bars == 1 else 's'}"] if bars else []
    return ", ".join(found) or lifetime_text(None)


def price_text(price: float | None) -> str:
    """A price with the decimals of :func:`price_decimals`; below 1e-17 with an exponent, and ``N/A`` without one.

    Examples
    --------
    >>> price_text(42_000.0), price_text(0.000012), price_text(1.2345e-9), price_text(1.5e-20)
    ('42,000.00', '0.00001200', '0.000000001235', '1.500e-20')
    """
    if price is None or not math.isfinite(price):
        return MISSING
    if 0 < abs(price) < _SMALLEST_PLAIN:
        return f"{price:.3e}"
    return f"{price:,.{price_decimals(price)}f}"


def points_text(points: float | None) -> str:
    """A result in points, with the decimals of a price; the sign ``+`` only above zero.

    Examples
    --------
    >>> points_text(5.0), points_text(-0.25), points_text(0.0), points_text(None)
    ('+5.00 points', '-0.2500 points', '0.00 points', 'N/A')
    """
    text = price_text(points)
    return text if points is None or text == MISSING else f"{'+' if points > 0 else ''}{text} points"


def exit_text(price: float | None) -> str:
    """A target or a stop as :func:`price_text` writes it; ``none`` where a position has none.

    Examples
    --------
    >>> exit_text(42_000.0), exit_text(None), exit_text(float("nan"))
    ('42,000.00', 'none', 'none')
    """
    return "none" if price is None or math.isnan(price) else price_text(price)


# -- words -------------------------------------------------------------------------------------------------------


def with_article(noun: str) -> str:
    """A noun with its indefinite article, for messages.

    Examples
    --------
    >>> with_article("exchange"), with_article("frame"), with_article("Average result"), with_article("n")
    ('an exchange', 'a frame', 'an Average result', 'an n')
    """
    vowel = noun in _LETTERS if len(noun) == 1 else noun[:1].lower() in ("a", "e", "i", "o")
    return f"{'an' if vowel else 'a'} {noun}"


_LETTERS: Final = "aefhilmnorsxAEFHILMNORSX"  # whose names begin with a vowel


def failure_text(error: BaseException) -> str:
    r"""Class and first line of an exception.

    Examples
    --------
    >>> failure_text(ValueError("no\nmore"))
    'ValueError: no'
    """
    lines = error_text(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
