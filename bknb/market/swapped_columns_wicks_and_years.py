"""What looks wrong in a table and is told: opens and closes that change names, far wicks, years of another calendar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from .candles import Candles

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MANY: Final = 20  # candles that show whether prices go on from one to the next
_CLOSER: Final = 3  # times closer to the next candle under the other name
_STRETCH: Final = 40  # candles of a part of a table
_FIRST_YEAR: Final = -5_364_662_400_000  # 1800, UTC ms
_LAST_YEAR: Final = 4_102_444_800_000  # 2100, UTC ms
WICK: Final = 10  # times above or below open and close is worth a word


def swapped_in(candles: Candles) -> str | None:
    """Where prices go on from candle to candle only if opens and closes change their names, in words.

    Empty: everywhere; ``None``: nowhere. A part is a stretch in which most opens differ from the close before.
    """
    if len(candles) <= _MANY:
        return None
    order = np.argsort(candles.timestamp, kind="stable")
    opened, close = candles.open[order], candles.close[order]
    as_named, swapped = np.abs(opened[1:] - close[:-1]), np.abs(close[1:] - opened[:-1])
    if swapped.sum() * _CLOSER < as_named.sum():
        return ""
    begins = np.arange(0, len(as_named) - _STRETCH + 1, _STRETCH)
    if not len(begins):
        return None
    whole = slice(0, int(begins[-1]) + _STRETCH)
    sums = (np.add.reduceat(each[whole], begins) for each in (as_named, swapped, as_named > 0))
    named, other, moves = sums
    found = np.flatnonzero((other * _CLOSER < named) & (2 * moves > _STRETCH))
    if not len(found):
        return None
    first = utc_text(int(candles.timestamp[order[begins[found[0]]]]))
    return f" in {len(found):,} of {len(begins):,} stretches of {_STRETCH} candles, the first at {first}"


def far_wicks(candles: Candles) -> NDArray[np.bool_]:
    """Candles with a high or a low so far from open and close that its point may be in another place; shape (n,)."""
    far = candles.high > WICK * np.maximum(candles.open, candles.close)
    far |= candles.low * WICK < np.minimum(candles.open, candles.close)
    far &= candles.low > 0  # through zero prices are no multiples of each other
    return far


def years_notes(ms: NDArray[np.int64], where: str) -> list[str]:
    """A note of moments (UTC ms) in years in which no market was recorded, or that are not yet; empty: there are none.

    They are those of another calendar.

    Examples
    --------
    >>> years_notes(np.array([1_700_000_000_000]), "BTCUSDT")
    []
    """
    if not len(ms) or (int(ms.min()) >= _FIRST_YEAR and int(ms.max()) < _LAST_YEAR):
        return []
    first, last = (utc_text(int(moment))[:10] for moment in (ms.min(), ms.max()))
    note = (
        f"{where}: times go from {first} to {last}: years of another calendar (Persian, Buddhist) are to be "
        "converted, and numbers may count from another day"
    )
    return [note]
