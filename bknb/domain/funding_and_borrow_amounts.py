"""What is paid for holding a position: funding of perpetual futures, swap of currencies, interest on what is borrowed.

Rates of funding are shares of a position's value, as exchanges publish them (0.0001 is 0.01 %); above 0 is paid.
Moments are UTC milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..errors import UsageError
from .interval import DAY_MS, MINUTE_MS
from .signal import Position
from .text import shown
from .whole_number import is_finite

_YEAR_MS: Final = 365 * DAY_MS


class Funding(NamedTuple):
    """What longs and shorts pay at one moment, as shares of the value of a position; below 0 it is received."""

    moment: int
    long: float
    short: float

    def rate(self, position: Position) -> float:
        """What one side pays."""
        return self.long if position == "long" else self.short

    def paid(self, position: Position, value: float) -> float:
        """What a position of this value (quantity times price, quote currency) pays; below 0 it receives.

        Examples
        --------
        >>> Funding(0, 0.0001, -0.0001).paid("long", 20_000.0)
        2.0
        """
        return value * self.rate(position)


def funding_of(rows: Iterable[tuple[int, float] | tuple[int, float, float]]) -> tuple[Funding, ...]:
    """Funding from rows ``(moment, rate)``, where longs pay the rate to shorts, or ``(moment, long, short)``.

    Raises
    ------
    UsageError
        For a row that is none, two of one moment, and a moment that is no full minute.

    Examples
    --------
    >>> funding_of([(0, 0.0001)]), funding_of([(60_000, 0.0002, 0.0001)])[0].rate("short")
    ((Funding(moment=0, long=0.0001, short=-0.0001),), 0.0001)
    """
    found: dict[int, Funding] = {}
    if not isinstance(rows, Iterable):
        text = "funding must be the name of a series, or rows of a moment (UTC ms) and a rate"
        raise UsageError(f"{text}, got {shown(rows, 80)}\na rate is a share of the value: 0.0001 is 0.01 %")
    for row in rows:
        given: object = row
        if not isinstance(given, Sequence) or len(given) not in (2, 3) or not all(map(is_finite, given)):
            text = "funding must be rows of a moment (UTC ms) and a rate, or of a moment and what long and short pay"
            raise UsageError(f"{text}, got {shown(row, 80)}\na rate is a share of the value: 0.0001 is 0.01 %")
        moment, long = int(row[0]), float(row[1])
        if moment != row[0] or moment % MINUTE_MS:
            raise UsageError(f"a moment of funding must be a full minute in UTC ms, got {row[0]:,}")
        if moment in found:
            raise UsageError(f"funding has two rows of the moment {moment:,}; keep one of them")
        found[moment] = Funding(moment, long, float(row[2]) if len(row) == 3 else -long)
    return tuple(found[moment] for moment in sorted(found))


def borrow_interest(value: float, borrow_yearly: float, since: int, until: int) -> float:
    """What a short of this value pays for a span of time, in quote currency; a year has 365 days.

    Parameters
    ----------
    value
        Quantity times price, in quote currency.
    borrow_yearly
        Percent of the value a year.
    since, until
        UTC ms.

    Examples
    --------
    >>> round(borrow_interest(1000.0, 3.65, 0, 86_400_000), 12)
    0.1
    """
    return abs(value) * borrow_yearly / 100 * ((until - since) / _YEAR_MS)
