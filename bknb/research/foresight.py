"""Whether numbers with moments go with the moves of the market after these moments: of what they are, nobody can know.

Each column, and its steps from row to row, is held against the market's moves in the hours after its rows were known:
rank correlations (Spearman), over rows whose moves do not overlap. Numbers that were published later than the moments
beside them say, of another time zone or made of later prices, go with some of these moves as no past number does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..market.candles import Candles
from .lookahead_report import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

_HOUR: Final = 60 * MINUTE_MS
_LONGEST_STEP: Final = 4 * _HOUR
_FARTHEST: Final = 14 * _HOUR  # the zone that is farthest from UTC
_LOOK_BACKS: Final = (1, 2, 4, 8, 16)
_MARGIN: Final = 0.3  # beyond what the best of the moves of the past reaches
_LEAST: Final = 0.4
_LEVEL: Final = 1e-4
_FEWEST: Final = 20
_MOST: Final = 5_000  # rows
_LAGS: Final = 10  # rows over which dependence is counted
_CATEGORIES: Final = 10
_ASKED: Final = 6  # moments at which it must show how old the rows are that are read


@dataclass(frozen=True, slots=True)
class Foresight:
    """A column that goes with later moves.

    Attributes
    ----------
    column : int
        Which of them.
    begin, end : int
        Of the moves, milliseconds after the moment of a row.
    correlation : float
        Rank correlation of the column, or of its steps, with them.
    rows : int
        Rows whose moves do not overlap.
    past : float
        The largest, without its sign, that a move of the past has with them.
    """

    column: int
    begin: int
    end: int
    correlation: float
    rows: int
    past: float


def foresight(
    known_at: Places, columns: Sequence[NDArray[np.generic]], minutes: Candles, slot: int, step: int = MINUTE_MS
) -> Foresight | None:
    """The column that goes most with the moves after its rows were known; ``None`` where none does as no past could.

    Parameters
    ----------
    known_at
        When rows are known, UTC ms.
    columns
        Numbers, or values of a few kinds, of the same length.
    minutes
        One-minute candles of the market, or longer base bars.
    slot
        Time between two questions, ms.
    step
        The length of one candle, ms.
    """
    inside = (known_at >= minutes.timestamp[0]) & (known_at <= minutes.timestamp[-1]) if len(minutes) else known_at < 0
    chosen = np.flatnonzero(inside)[-_MOST:]
    chosen = chosen[np.argsort(known_at[chosen], kind="stable")]
    times = known_at[chosen]
    if len(times) < _FEWEST or len(np.unique(times)) < len(times):
        return None
    each = int(min(max(np.median(np.diff(times)), slot), max(_LONGEST_STEP, step)))
    windows = [(at, at + each) for at in range(0, max(_FARTHEST, 2 * step), each)] + [(0, 4 * each)]
    numbers = [(at, kind) for at, column in enumerate(columns) for kind in _kinds(column[chosen])]
    best: Foresight | None = None
    for begin, end in windows if numbers else ():
        kept = _apart(times, end - begin)
        moves = _moves(minutes, times[kept] + begin, times[kept] + end)
        for at, column in numbers:
            found, rows, p_value = _correlation(column[kept], moves)
            if abs(found) < (_LEAST if best is None else abs(best.correlation)) or rows < _FEWEST:
                continue
            past = [_moves(minutes, times[kept] - back * each, times[kept]) for back in _LOOK_BACKS]
            reached = max(abs(_correlation(one, moves)[0]) for one in past)
            if abs(found) >= reached + _MARGIN and p_value * len(windows) * len(numbers) <= _LEVEL:
                best = Foresight(at, begin, end, found, rows, reached)
    return best


def _kinds(column: NDArray[np.generic]) -> list[Floats]:
    """A column and its steps as numbers; nothing where it holds other things, or one alone."""
    if column.dtype.kind not in "biuf":
        values = column.tolist()
        if not all(isinstance(one, (str, bool, int, float, type(None))) for one in values):
            return []
        kinds = sorted({str(one) for one in values})
        if len(kinds) > _CATEGORIES:
            return []
        column = np.array([kinds.index(str(one)) for one in values])
    numbers = column.astype(np.float64)
    if not np.isfinite(numbers).any() or np.nanmax(numbers) == np.nanmin(numbers):
        return []
    return [numbers, np.diff(numbers, prepend=np.nan)]


def _apart(times: Places, length: int) -> Places:
    """Places of rows at least ``length`` apart."""
    kept, last = [], None
    for at, when in enumerate(times.tolist()):
        if last is None or when >= last + length:
            kept.append(at)
            last = when
    return np.array(kept, dtype=np.int64)


def _moves(minutes: Candles, begin: Places, end: Places) -> Floats:
    """Moves between two moments each, from open to open, NaN outside of the candles.

    They are logarithmic; of a market with prices at or below zero in points.
    """
    times, opens = minutes.timestamp, minutes.open if (minutes.open <= 0).any() else np.log(minutes.open)
    places = [np.searchsorted(times, moments) for moments in (begin, end)]
    outside = (begin < times[0]) | (places[1] >= len(times))
    first, last = (np.minimum(place, len(times) - 1) for place in places)
    moved: Floats = np.where(outside, np.nan, opens[last] - opens[first])
    return moved


def _correlation(one: Floats, other: Floats) -> tuple[float, int, float]:
    """Spearman's rank correlation, of how many rows, and the chance of one as large.

    The chance is that of a normal distribution whose variance counts the dependence of rows on those before
    (Bartlett's formula).
    """
    both = np.isfinite(one) & np.isfinite(other)
    rows = int(both.sum())
    if rows < _FEWEST:
        return 0.0, rows, 1.0
    a, b = _ranks(one[both]), _ranks(other[both])
    if not a.any() or not b.any():
        return 0.0, rows, 1.0
    found = float(np.mean(a * b))
    depends = sum(float(np.mean(a[lag:] * a[:-lag]) * np.mean(b[lag:] * b[:-lag])) for lag in range(1, _LAGS + 1))
    spread = math.sqrt(max(1.0, 1.0 + 2.0 * depends) / (rows - 1))
    return found, rows, math.erfc(abs(found) / spread / math.sqrt(2.0))


def _ranks(numbers: Floats) -> Floats:
    """Ranks with mean 0 and variance 1; equal numbers share theirs."""
    _, place, count = np.unique(numbers, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2.0)[place]
    ranks = ranks - ranks.mean()
    spread = ranks.std()
    scaled: Floats = ranks / spread if spread > 0 else ranks * 0.0
    return scaled


def read_behind(moments: Sequence[int], labels: Places, moved: Callable[[int, int], bool]) -> tuple[int, int] | None:
    """How long before a moment the newest row is that an answer depends on (ms, the least), and at which moment.

    ``None`` where no answer depends on any row.

    Parameters
    ----------
    moments
        Where to ask, UTC ms.
    labels
        The moments of the rows, UTC ms, sorted.
    moved
        Whether the answer at a moment is another when rows after another moment are.
    """
    best: tuple[int, int] | None = None
    for when in moments:
        if not moved(when, int(labels[0]) - 1):
            continue
        low, high = -1, len(labels) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if moved(when, int(labels[middle])) else (low, middle)
        behind = when - int(labels[high])
        best = (behind, when) if best is None or behind < best[0] else best
    return best


def suspicion(
    what: str,
    labels: Places,
    columns: Mapping[str, NDArray[np.generic]],
    minutes: Candles,
    slot: int,
    *,
    step: int = MINUTE_MS,
    moments: Sequence[int],
    moved: Callable[[str, int, int], bool],
) -> list[Finding]:
    """The finding, which is a suspicion, for a column that goes with later moves when an answer depends on its rows.

    Parameters
    ----------
    what
        What has the columns.
    labels
        The moments of the rows, UTC ms.
    columns
        By name; without one where there are no names.
    minutes, slot, step
        As for ``foresight``.
    moments
        Where to ask, UTC ms.
    moved
        Whether the answer at a moment is another when a column is, after another moment.
    """
    names = list(columns)
    found = foresight(labels, list(columns.values()), minutes, slot, step)
    if found is None:
        return []
    name = names[found.column]
    read = read_behind(moments[:_ASKED], np.unique(labels), lambda when, since: moved(name, when, since))
    if read is None:
        return []
    if read[0] > 0:  # rows that bear the begin of their hour are read when it is over
        found = foresight(labels + read[0], [columns[name]], minutes, slot, step)
    if found is None:
        return []
    begin, end = (f"{each / _HOUR:.3g}" for each in (found.begin, found.end))
    return [
        Finding(
            kind="accuracy",
            what=f"{f'the column {name} of ' if name else ''}{what} goes with the move of the market {begin} to {end} "
            "hours after its rows are read",
            how=f"rank correlation {found.correlation:.2f} over {found.rows} rows, of past moves {found.past:.2f} at "
            "most",
            when=read[1],
            times=found.rows,
        )
    ]
