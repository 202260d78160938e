"""Long bars among short ones: filled up by repeating them or by drawing a line between them, or left as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS
from .bar_slots import is_even
from .measured_bar_length import SURE, Spacing, measured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .candles import Candles

FEWEST: Final = 100  # candles that can tell
_MOST: Final = 50_000  # candles that are looked at
_SHARE: Final = 0.6  # of candles that repeat or continue the one before
_IN_A_ROW: Final = 4  # equal distances; fewer may be closed hours, such as those between one session and the next
_LINES: Final = tuple(minutes * MINUTE_MS for minutes in (5, 10, 15, 30, 60, 120, 240, 360, 480, 720, 1440))
_STEEP: Final = 8  # units of rounding from one end of a line to the other; flatter ones come by chance
_BENT: Final = 2  # units by which two lines may differ though they are one
_FITTING: Final = (3, 0.9)  # steep lines at least, and the share of lines that must fit
_REPEATED: Final = (3, 0.01)  # whole bars that repeat the one before: so many, and that share of all
_MOST_DIGITS: Final = 8
_PIECE: Final = 8_192  # candles at a time: what is computed on the way stays in the cache of the processor
_GLANCE: Final = 100  # candles by which most numbers of decimals are ruled out
_ALMOST: Final = 1e-6  # of a unit, what floating point leaves of none
_TOLERANCE: Final = 1e-9  # of a straight line, relative to the price


def doubts_of_length(candles: Candles, interval: str, step: int) -> dict[str, str]:
    """What a run says of candles that were not, or not all, made as bars of their length, by kind.

    Parameters
    ----------
    candles
        Candles of one series, oldest first.
    interval, step
        The length they are to have, as an interval and in milliseconds.

    Examples
    --------
    >>> from .candles import Candles
    >>> times = [*range(0, 12 * 60, 60), *range(12 * 60, 18 * 60)]
    >>> mixed = Candles.from_rows([(minute * 60_000, *(4 * [100.0 + minute % 7]), 5.0) for minute in times])
    >>> doubts_of_length(mixed, "1m", 60_000)["longer"][:38]
    '13 candles in a row from 1970-01-01 00'
    """
    told = {}
    if (bars := stretched(candles)) is not None:
        told["filled"] = (
            f"these {interval} candles were filled up from longer bars ({bars}): between them nothing "
            "is known, and what is filled or exited there did not happen"
        )
    elif step > MINUTE_MS and (moments := repeated(candles)) is not None:
        told["filled"] = (
            f"{len(moments):,} of these {interval} candles repeat the one before in range and volume, the first at "
            f"{utc_text(int(moments[0]))}: they seem to be filled in where nothing traded, at prices known by then, "
            "and what is filled or exited there did not happen; leave them out"
        )
    if (part := longer_part(candles.timestamp, step)) is not None:
        first, found = part
        told["longer"] = (
            f"{found.count + 1:,} candles in a row from {utc_text(first)} on lie {found.interval} apart, and others "
            f"{interval}: where those are longer bars, nothing is known within them, and what is filled or exited "
            "there did not happen"
        )
    return told


def longer_part(times: NDArray[np.int64], step: int) -> tuple[int, Spacing] | None:
    """The first open time and the length of the candles in a row that are most surely longer bars than the others.

    Where each minute has a trade with the same chance, whatever that is, a distance of ``k`` minutes comes with a
    chance of at most ``(1 - 1 / k) ** (k - 1) / k``; so many equal ones in a row must come less than once in a thousand
    such series.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC milliseconds, in order.
    step
        The length that candles are to have, milliseconds.

    Examples
    --------
    >>> hours, minutes = np.arange(6) * 3_600_000, np.arange(6 * 60, 12 * 60) * 60_000
    >>> first, found = longer_part(np.concatenate([hours, minutes]), 60_000)
    >>> first, found.interval, found.count
    (0, '1h', 6)
    """
    if len(times) < 2 or is_even(times, step):
        return None
    distances = np.diff(times)
    ends = np.append(np.flatnonzero(distances[1:] != distances[:-1]) + 1, len(distances))
    starts = np.concatenate([[0], ends[:-1]])
    counts, lengths = ends - starts, distances[starts] / step
    longer = lengths > 1
    if not longer.any():
        return None
    starts, ends, counts, lengths = starts[longer], ends[longer], counts[longer], lengths[longer]
    surprise = counts * (np.log(lengths) - (lengths - 1) * np.log1p(-1 / lengths))
    best = int(np.argmax(surprise))
    if counts[best] < _IN_A_ROW or surprise[best] - np.log(len(distances)) < SURE:
        return None
    found = measured(times[starts[best] : ends[best] + 1])
    return None if found is None else (int(times[starts[best]]), found)


def stretched(candles: Candles) -> Spacing | None:
    """The length of the bars that these candles were made of; ``None`` where there is no sign of it.

    A candle tells nothing new when it equals the one before, stands still at its close, or moves every price by as much
    as the one before did. In a market such minutes come now and then; where the others lie on the grid of a longer bar,
    they were filled in. Where prices are rounded, lines are looked for between the moments at which usual bars open.

    Parameters
    ----------
    candles
        Candles of one series, oldest first.

    Examples
    --------
    >>> from .candles import Candles
    >>> rows = [(60_000 * i, *(4 * [100.0 + i // 60 % 7]), 5.0) for i in range(1200)]
    >>> print(stretched(Candles.from_rows(rows)))
    1h bars: 18 of 18 distances are 1h
    """
    if len(candles) < FEWEST:
        return None
    candles = candles[:_MOST]
    step = measured(candles.timestamp)
    told = _tells(candles, most=(1 - _SHARE) * len(candles))
    if told is None:
        return None if step is None else _rounded_lines(candles, step.step)
    # The first two candles have nothing before them that they could repeat.
    bars = measured(candles.timestamp[2:][told[2:]])
    if step is not None and bars is not None and bars.wider_than(step.step):
        return bars
    return None if step is None else _rounded_lines(candles, step.step)


def repeated(candles: Candles) -> NDArray[np.int64] | None:
    """Open times of the candles that repeat the one before: weekends, holidays or nights that were filled in.

    Prices and volume must be equal and the high above the low: in a market it comes now and then that nothing moves,
    and hardly ever that a whole bar comes again. ``None`` for so few that they may be chance.

    Examples
    --------
    >>> from .candles import Candles
    >>> week = [(86_400_000 * day, 10.0 + min(day, 4), 12.0 + min(day, 4), 9.0, 11.0, 5.0) for day in range(8)]
    >>> repeated(Candles.from_rows(week)) // 86_400_000
    array([5, 6, 7])
    """
    block = candles.block[1:]
    again = (block[:, 1:] == block[:, :-1]).all(axis=0) & (candles.high[1:] > candles.low[1:])
    count = int(np.count_nonzero(again))
    if count < max(_REPEATED[0], _REPEATED[1] * len(candles)):
        return None
    moments: NDArray[np.int64] = candles.timestamp[1:][again]
    return moments


def _tells(candles: Candles, *, most: float) -> NDArray[np.bool_] | None:
    """Which candles tell something that could not be known from those before; ``None``: more than ``most`` do."""
    told = np.empty(len(candles), dtype=bool)
    count = 0
    for begin in range(0, len(candles), _PIECE):
        before = min(begin, 2)  # what those tell is known already
        part = candles[begin - before : begin + _PIECE]
        told[begin : begin + _PIECE] = _tell(part)[before:]
        count += int(np.count_nonzero(told[begin : begin + _PIECE]))
        if count > most:
            return None
    return told


def _tell(candles: Candles) -> NDArray[np.bool_]:
    """Which candles, from the third on, tell something that could not be known from the two before."""
    prices = candles.block[1:5]
    before = prices[:, :-1]
    same = (prices[:, 1:] == before).all(axis=0)
    still = (prices[:, 1:] == candles.close[:-1]).all(axis=0)
    moves = prices[:, 1:] - before
    line = np.zeros(len(candles) - 1, dtype=bool)
    line[1:] = (np.abs(moves[:, 1:] - moves[:, :-1]) <= _TOLERANCE * np.abs(prices[:, 2:])).all(axis=0)
    told = np.ones(len(candles), dtype=bool)
    told[1:] = ~(same | still | line)
    return told


def _rounded_lines(candles: Candles, step: int) -> Spacing | None:
    """The length of the bars between which all prices lie on lines, as far as rounding lets them."""
    prices, times = candles.block[1:5], candles.timestamp
    unit = _unit(prices)
    if unit is None:
        return None
    found = None
    for length in _LINES:
        inside = length // step
        if length % step or inside < _FITTING[0] or inside >= len(times):
            continue
        first = np.flatnonzero(times[:-inside] % length == 0)
        first = first[times[first + inside] - times[first] == length]
        places = first[:, None] + np.arange(inside + 1)
        if length == _LINES[0]:  # closes alone tell it of nearly every market
            on_line, _ = _on_lines(prices[-1:, places] / unit)
            if np.count_nonzero(on_line) < _FITTING[1] * len(on_line):
                return None  # parts of a longer line are lines
        fitting, rise = _on_lines(prices[:, places] / unit)
        if length == _LINES[0] and np.count_nonzero(fitting) < _FITTING[1] * len(fitting):
            return None
        steep = fitting[(np.abs(rise) >= _STEEP).any(axis=0)]
        bends = np.abs(np.diff(rise)).max(axis=0) > _BENT
        if np.count_nonzero(bends) * 2 < len(bends):
            continue  # one line goes on over many bars
        if len(steep) >= _FITTING[0] and np.count_nonzero(steep) >= _FITTING[1] * len(steep):
            found = measured(np.union1d(times[first], times[first + inside]))
    return found


def _on_lines(lines: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which bars lie on straight lines, as far as rounding lets them, and how far each of their lines rises.

    Parameters
    ----------
    lines : ndarray of float64, shape (prices, bars, points)
        Prices along each bar, in units of rounding.
    """
    rise = lines[..., -1:] - lines[..., :1]
    inside = lines.shape[-1] - 1
    off = np.abs(lines - lines[..., :1] - rise * (np.arange(inside + 1) / inside))
    fitting: NDArray[np.bool_] = off.max(axis=(0, 2)) <= 1 + _ALMOST
    return fitting, rise[..., 0]


def _unit(prices: NDArray[np.float64]) -> float | None:
    """The last decimal in which all prices are written; ``None`` where they are not rounded."""
    for digits in range(_MOST_DIGITS + 1):
        if _has_decimals(prices[:, :_GLANCE], digits) and _has_decimals(prices, digits):
            return 10.0**-digits
    return None


def _has_decimals(prices: NDArray[np.float64], digits: int) -> bool:
    """Whether no price has more decimals than these, but for what floating point leaves."""
    for at in range(0, prices.shape[1], _PIECE):
        units = prices[:, at : at + _PIECE] * 10.0**digits
        off = np.abs(units - np.rint(units))
        far = ~(off <= _ALMOST)
        if far.any() and not (off[far] <= 4 * np.spacing(units[far])).all():
            return False
    return True
