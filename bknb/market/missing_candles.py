"""Candles that are missing between others: which they are, when that is refused, and how long they are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS, WEEK
from ..errors import GapError
from .bar_slots import is_even
from .measured_bar_length import check_length

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .candles import Candles
    from .candles_repaired_or_refused import CandleRequest
    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid

_GAPS_SPELLED_OUT: Final = 5
_NIGHTS: Final = 3  # holes may be nights


def gaps(timestamps: NDArray[np.int64], step: int, grid: BarGrid | None = None) -> tuple[tuple[int, int], ...]:
    """Missing ranges ``[first, end)`` between sorted open times.

    Parameters
    ----------
    timestamps : ndarray of int64, shape (n,)
        Open times, ascending, UTC milliseconds.
    step
        Length of a candle in milliseconds.
    grid
        Where candles open that do not open at multiples of their length.

    Examples
    --------
    >>> gaps(np.array([0, 60_000, 240_000]), 60_000)
    ((120000, 240000),)
    """
    if grid is not None:
        if len(timestamps) < 2:
            return ()
        return spaces(timestamps[1:-1], grid.after(int(timestamps[0]), step), int(timestamps[-1]), step, grid)
    if is_even(timestamps, step):
        return ()
    breaks = np.flatnonzero(timestamps[1:] - timestamps[:-1] != step)
    return tuple((int(timestamps[i]) + step, int(timestamps[i + 1])) for i in breaks)


def spaces(
    timestamps: NDArray[np.int64], first: int, end: int, step: int, grid: BarGrid | None
) -> tuple[tuple[int, int], ...]:
    """The ranges of ``[first, end)`` that no candle of some covers; arguments as of :func:`gaps`, all in UTC ms.

    Examples
    --------
    >>> spaces(np.array([60_000, 120_000]), 0, 240_000, 60_000, None)
    ((0, 60000), (180000, 240000))
    """
    closes = timestamps + step if grid is None else grid.ends(timestamps, step)
    begins, ends = np.append(first, closes), np.append(timestamps, end)
    wide = ends > begins
    return tuple(zip(begins[wide].tolist(), ends[wide].tolist(), strict=True))


def check_gaps(
    candles: Candles,
    asked: CandleRequest,
    *,
    sessions: Sessions | None = None,
    grid: BarGrid | None = None,
    is_stored: bool = False,
) -> None:
    """Raise ``GapError`` for missing candles between others; with sessions, only while the market is open.

    ``grid`` says where candles open that do not open at multiples of their interval; ``is_stored`` whether they come
    through a candle store, which asks for nothing again that it counts as absent.

    Raises
    ------
    GapError
        With every range in ``ranges``, and the first five in the text.
    DataError
        When these are longer candles than asked for: the source ignored the interval.
    """
    missing = _missing(candles.timestamp, asked, sessions, grid)
    if not missing:
        return
    _check_length(candles.timestamp, asked, even=True)
    days = ""
    if asked.step == DAY_MS and sessions is not None:
        days = "days on which the market was closed are told where the bars are read: sessions=\n"
    elif asked.interval == WEEK:
        days = "weeks in which the market was closed are told where the bars are read: sessions='XSHG', …\n"
    elif MINUTE_MS < asked.step < DAY_MS and sessions is None and len(missing) >= _NIGHTS:
        days = (
            "where the market is closed then, say when it is open: sessions='us-equities', 'XLON', …, "
            "where the bars are read or in bknb.exchanges.in_sessions\n"
        )
    again = 'what the store counts as absent is asked for again by bknb.download(..., again="absent")\n'
    raise GapError(
        f"{asked}: {missing_text(missing, asked.step)}\n{days}{again if is_stored else ''}"
        "complete the data, choose another range, or allow gaps: allow_gaps=True, in a magic --allow-gaps",
        ranges=missing,
    )


def check_spacing(
    times: NDArray[np.int64],
    asked: CandleRequest,
    *,
    sessions: Sessions | None = None,
    grid: BarGrid | None = None,
    growing: bool = False,
) -> None:
    """Raise ``DataError`` where these are longer candles than asked for, although gaps are allowed.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC milliseconds.
    asked, sessions, grid
        As in :func:`check_gaps`.
    growing
        Whether this is asked at each new candle of the series.

    Raises
    ------
    DataError
        With the measured length: see :func:`bknb.market.measured_bar_length.check_length`.
    """
    if _missing(times, asked, sessions, grid):
        _check_length(times, asked, growing=growing)


def _missing(
    times: NDArray[np.int64], asked: CandleRequest, sessions: Sessions | None, grid: BarGrid | None
) -> tuple[tuple[int, int], ...]:
    if grid is not None and grid.in_sessions:
        from ..domain.ranges import merged  # few bars need it

        opens = grid.missing(times, asked.step)
        return merged(zip(opens.tolist(), grid.ends(opens, asked.step).tolist(), strict=True))
    missing = gaps(times, asked.step)
    return sessions.open_part(missing, asked.step) if missing and sessions is not None else missing


def _check_length(times: NDArray[np.int64], asked: CandleRequest, *, even: bool = False, growing: bool = False) -> None:
    check_length(
        times,
        asked.step,
        needed=f"{asked}: asked for {asked.interval} candles",
        advice="a source must answer the interval it is asked for, or say which it has: bknb.add_exchange(..., "
        "intervals=['1d']); longer bars run as they are, also from bknb.exchanges.from_frame, and minutes tell more",
        even=f"where these are {asked.interval} candles with holes: allow_gaps=True, in a magic --allow-gaps"
        if even
        else None,
        growing=growing,
    )


def missing_text(missing: tuple[tuple[int, int], ...], step: int) -> str:
    """How many candles are missing, and the first five ranges of them.

    Parameters
    ----------
    missing
        Ranges ``[first, end)``, UTC milliseconds.
    step
        Length of a candle in milliseconds.

    Examples
    --------
    >>> missing_text(((0, 60_000), (180_000, 300_000)), 60_000)
    '3 candles are missing: 1970-01-01 00:00 UTC, 1970-01-01 00:03 UTC .. 1970-01-01 00:04 UTC (2)'
    """
    count = sum(_count(*each, step) for each in missing)
    return f"{count} candles are missing: {_ranges_text(missing, step)}"


def _ranges_text(ranges: Sequence[tuple[int, int]], step: int) -> str:
    spelled = ", ".join(_gap_text(first, end, step) for first, end in ranges[:_GAPS_SPELLED_OUT])
    more = len(ranges) - _GAPS_SPELLED_OUT
    return spelled + (f", and {more} more gaps" if more > 0 else "")


def nothing_text(asked: CandleRequest, ranges: Sequence[tuple[int, int]]) -> str:
    """What is told of ranges ``[first, end)`` (UTC ms) of a request that were answered with nothing.

    Examples
    --------
    >>> from bknb.market.candles_repaired_or_refused import CandleRequest
    >>> asked = CandleRequest(exchange="mine", symbol="BTCUSDT", interval="1m", since=0, until=600_000)
    >>> nothing_text(asked, [(120_000, 480_000)]).partition(": it ")[2].splitlines()[0]
    'answered nothing where 6 candles may be: 1970-01-01 00:02 UTC .. 1970-01-01 00:07 UTC (6)'
    """
    count = sum(end - first for first, end in ranges) // asked.step
    noun = "1 candle" if count == 1 else f"{count} candles"
    return (
        f"{asked}: it answered nothing where {noun} may be: {_ranges_text(ranges, asked.step)}\n"
        "they count as missing, as gaps are allowed; an exchange that is out of order for a moment answers so, too"
    )


def _gap_text(first: int, end: int, step: int) -> str:
    count = _count(first, end, step)
    if count == 1:
        return utc_text(first)
    return f"{utc_text(first)} .. {utc_text(first + (count - 1) * step)} ({count})"


def _count(first: int, end: int, step: int) -> int:
    """How many candles a range is, of which the last one may be shorter."""
    return -(-(end - first) // step)
