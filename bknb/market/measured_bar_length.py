"""The length of bars: as their open times show it, whatever they are said to be, and what a run can do with it.

Base bars are the finest a source has: their opens and ranges decide every fill.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, INTERVAL_MS, MINUTE, MINUTE_MS, WEEK, WEEK_MS, interval_ms
from ..errors import DataError, UsageError
from .bar_slots import is_even
from .source_hours import bar_grid_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..ports import CandleSource

WEEKS_ALONE: Final = f"weeks run where a source has no shorter bars: intervals=[{WEEK!r}]"
_HOUR_MS: Final = 60 * MINUTE_MS
_MONTH_MS: Final = (28 * DAY_MS, 31 * DAY_MS)
_STRAY: Final = 0.1  # of distances may be no whole numbers of bars, and in few bars two: those beside a stray row
_FEWEST: Final = 3  # rows that show that they are a week apart
_USUAL: Final = 0.6  # of neighbours are seven days apart to the day where holidays move some rows
_NEAR: Final = 4  # days that rows of different weeks are apart at least
_FEW_CLOSER: Final = 0.25  # of neighbours may be closer: rows that belong to no week
SURE: Final = math.log(1_000.0)  # what is less likely than one in so many is not taken for chance
_SURE_OF_GROWING: Final = math.log(20_000.0)  # it is asked again and again


def length_name(step: int) -> str:
    """A length of bars as people write it.

    Parameters
    ----------
    step
        Milliseconds.

    Examples
    --------
    >>> [length_name(step) for step in (60_000, 3_600_000, 420_000, 1_000, 604_800_000, 250)]
    ['1m', '1h', '7m', '1s', '1w', '250 ms']
    """
    for name, length in INTERVAL_MS.items():
        if length == step:
            return name
    if _MONTH_MS[0] <= step <= _MONTH_MS[1] and step % DAY_MS == 0:
        return "1M"
    for unit, length in (("d", DAY_MS), ("h", _HOUR_MS), ("m", MINUTE_MS), ("s", 1000)):
        if step >= length and step % length == 0:
            return f"{step // length}{unit}"
    return f"{step} ms"


class Spacing(msgspec.Struct, frozen=True, kw_only=True):
    """The measured length of bars, and how well their open times agree with it.

    Attributes
    ----------
    step : int
        Length of a bar in milliseconds: the greatest that nine of ten distances are whole numbers of. Days of 23 and
        25 hours count as days; of months it is the commonest number of days.
    count : int
        Distances between neighbours.
    equal : int
        Those of one bar.
    longer : int
        Those of more than one bar: holes, nights, weekends.
    closer : int
        Those of less than one bar: bars that belong to no series of this length.
    multiples : int
        Those that are whole numbers of bars to the millisecond.
    grid : int
        The greatest length that all distances are whole numbers of, milliseconds.
    span : int
        From the first open time to the last, milliseconds.
    first_closer : int or None
        Open time of the first bar that is closer than one bar to the one before it, UTC milliseconds.

    Examples
    --------
    >>> print(measured(np.array([0, 1, 2, 3, 5]) * 3_600_000))
    1h bars: 3 of 4 distances are 1h, 1 is longer
    """

    step: int
    count: int
    equal: int
    longer: int
    closer: int
    multiples: int
    grid: int
    span: int
    first_closer: int | None

    @property
    def interval(self) -> str:
        """The length as an interval: ``"1m"``, ``"1h"``, ``"1d"``, ``"1w"``, ``"1M"``, or for example ``"7m"``."""
        return length_name(self.step)

    def wider_than(self, step: int, *, growing: bool = False) -> bool:
        """Whether these cannot be bars of ``step`` milliseconds with holes, which by chance all lie on a wider grid.

        Where nothing is known but the first bar, the last one and how many there are, each choice of the bars between
        is as likely as any other, whatever share of bars there is. Of all these choices the share of those on the
        wider grid is the chance. With stray rows among them it is the chance of so many multiples, of which in a thin
        series at most one distance in ``self.step / step`` is one. Of a ``growing`` series, of which this is asked at
        each new bar, it must be less than a twentieth of what is enough otherwise.
        """
        if self.step <= step:
            return False
        sure = _SURE_OF_GROWING if growing else SURE
        if self.grid > step:
            inner = self.count - 1
            chance = _log_choices(self.span / self.grid - 1, inner) - _log_choices(self.span / step - 1, inner)
            if chance <= -sure:
                return True
        return self.multiples < self.count and _sure(self.multiples, self.count, step / self.step, sure)

    def __str__(self) -> str:
        text = f"{self.interval} bars: {self.equal:,} of {self.count:,} distances are {self.interval}"
        if self.longer:
            text += f", {self.longer:,} {'is' if self.longer == 1 else 'are'} longer"
        if self.first_closer is not None:
            text += f", {self.closer:,} {'is' if self.closer == 1 else 'are'} shorter"
            text += f" (first at {utc_text(self.first_closer)})"
        return text


def measured(times: NDArray[np.int64]) -> Spacing | None:
    """How far apart candles are; ``None`` for fewer than two different times.

    The length is the greatest one that all distances are whole numbers of: minutes in which nobody trades are left out
    by many sources, and what is left is minutes all the same. A longer one counts where nine of ten distances are
    whole numbers of it and that can be no chance: one stray row among hours does not make minutes of them.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC milliseconds, in any order; what is there twice counts once.

    Examples
    --------
    >>> hours = np.arange(48) * 3_600_000
    >>> measured(hours).interval, measured(np.append(hours, 60_000)).interval
    ('1h', '1h')
    >>> measured(np.array([0, 40, 96, 97, 159]) * 60_000).interval  # minutes, few of them with a trade
    '1m'
    """
    apart = int(times[1]) - int(times[0]) if len(times) > 1 else 0
    if apart > 0 and is_even(times, apart):  # as is usual: one distance stands for all
        moments, steps, alike = times[:2], np.array([apart]), len(times) - 1
    else:
        moments = times if bool((times[1:] > times[:-1]).all()) else np.unique(times)
        steps, alike = np.diff(moments), 1
    if not len(steps):
        return None
    lengths, counts = np.unique(steps, return_counts=True)
    step = _length(lengths, counts * alike)
    least, most = _bounds(step)
    closer = steps < least
    return Spacing(
        step=step,
        count=len(steps) * alike,
        equal=int(np.count_nonzero((steps >= least) & (steps <= most))) * alike,
        longer=int(np.count_nonzero(steps > most)) * alike,
        closer=int(np.count_nonzero(closer)) * alike,
        multiples=int(np.count_nonzero(steps % step == 0)) * alike,
        grid=int(np.gcd.reduce(lengths)),
        span=int(times[-1] - times[0]) if alike > 1 else int(moments[-1] - moments[0]),
        first_closer=int(moments[1:][closer][0]) if closer.any() else None,
    )


def base_of(source: object) -> str:
    """The interval of the base bars of a source: its ``base_interval``, or the finest of its ``intervals``.

    A source that does not say what it has is taken to have minutes.

    Examples
    --------
    >>> base_of(object())
    '1m'
    """
    found = getattr(source, "base_interval", None)
    if isinstance(found, str) and found in INTERVAL_MS:
        return found
    known = getattr(source, "intervals", None) or (MINUTE,)
    return min((each for each in known if each in INTERVAL_MS), key=interval_ms, default=MINUTE)


def longer_than(interval: str, source: CandleSource) -> tuple[str, ...]:
    """The intervals that a source answers itself and that are longer than another one, the shortest first.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> longer_than("1m", SimpleNamespace(intervals=("1d", "1m", "1h")))
    ('1h', '1d')
    """
    least, known = interval_ms(interval), source.intervals or ()
    longer = [each for each in known if each in INTERVAL_MS and each != WEEK and interval_ms(each) > least]
    return tuple(sorted(longer, key=interval_ms))


def longer_bars_text(interval: str, source: CandleSource) -> str:
    """Which longer bars of a source a run may go over, as a message says it; empty where there are none.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> longer_bars_text("1m", SimpleNamespace(intervals=("1m", "1h", "1d")))
    "longer bars may begin earlier: base='1h' or base='1d' of the run"
    >>> longer_bars_text("1m", SimpleNamespace(intervals=("1m", "1w")))
    "weeks run where a source has no shorter bars: intervals=['1w']"
    """
    told = []
    if bases := " or ".join(f"base={each!r}" for each in longer_than(interval, source)):
        told.append(f"longer bars may begin earlier: {bases} of the run")
    if interval != WEEK and WEEK in (source.intervals or ()):
        told.append(WEEKS_ALONE)
    return "; ".join(told)


def check_made_of(interval: str, base: str, known: Sequence[str], exchange: str) -> None:
    """Raise ``UsageError`` for an interval that cannot be made of base bars: one that is finer, or ends within one.

    ``known`` are the intervals a source answers itself: the base must be one of them.

    Examples
    --------
    >>> check_made_of("3d", "1d", ["1d"], "mine")
    >>> check_made_of("1h", "1d", ["1d"], "mine")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: 1h candles cannot be made of the 1d bars of 'mine'
    ask for 1d 3d, or take finer data
    """
    if base not in known:
        raise UsageError(
            f"exchange {exchange!r} has no {interval} candles and no {base} candles to make them from\n"
            f"it has: {' '.join(known)}"
        )
    if interval == WEEK != base:
        raise UsageError(
            f"1w has no one length over the {base} bars of {exchange!r}: weeks are made of them by the calendar of "
            "their market, where a strategy asks\nctx.candles('1w', 12), or bknb.get_candles in it"
        )
    step, base_ms = interval_ms(interval), interval_ms(base)
    if step % base_ms:
        possible = " ".join(
            name for name, length in INTERVAL_MS.items() if length % base_ms == 0 and (name != WEEK or base == WEEK)
        )
        raise UsageError(
            f"{interval} candles cannot be made of the {base} bars of {exchange!r}\n"
            f"ask for {possible}, or take finer data"
        )


def check_hours_known(source: object, symbol: str, exchange: str, what: str) -> None:
    """Raise ``UsageError`` where ``what`` is given bars that open after multiples of their length in UTC, and no hours.

    Examples
    --------
    >>> check_hours_known(object(), "AAPL", "mine", "a live run")
    """
    grid = bar_grid_of(source, symbol)
    if grid is not None and not (grid.in_sessions or grid.goes_on):
        base = base_of(source)
        raise UsageError(
            f"{what} needs bars that open at multiples of {base} in UTC or count from the open of a session, and those "
            f"of {symbol} from {exchange!r} do neither, as far as is known\n"
            "say when their market is open: bknb.exchanges.in_sessions(source, 'us-equities')"
        )


def check_length(
    times: NDArray[np.int64], step: int, *, needed: str, advice: str, even: str | None = None, growing: bool = False
) -> Spacing | None:
    """The measured length of candles that are to be ``step`` long, unless they are longer.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        Open times, UTC milliseconds.
    step
        The length they are to have, milliseconds.
    needed, advice
        What was needed, and what to do, for the message.
    even
        What to do where three candles or more that are all spaced alike are what they are to be, though: those are
        refused, too. ``None``: there must be so many that they cannot lie on the wider grid by chance.
    growing
        As in :meth:`Spacing.wider_than`.

    Raises
    ------
    DataError
        They are longer; the message holds their measured length.

    Examples
    --------
    >>> check_length(np.arange(9) * 300_000, 60_000, needed="mine: 1m candles are needed", advice="fetch minutes")
    Traceback (most recent call last):
        ...
    bknb.errors.DataError: mine: 1m candles are needed, got candles spaced 5m
    measured: 5m bars: 8 of 8 distances are 5m
    fetch minutes
    """
    spacing = measured(times)
    if spacing is None or spacing.step <= step:
        return spacing
    told = f"{needed}, got candles spaced {spacing.interval}\nmeasured: {spacing}\n{advice}"
    if spacing.wider_than(step, growing=growing):
        raise DataError(told)
    if even is not None and spacing.count > 1 and spacing.equal == spacing.count:
        raise DataError(f"{told}; {even}")
    return spacing


def are_weekly(times: NDArray[np.int64]) -> bool:
    """Whether rows lie a week apart, also where holidays move the day of some, or weeks are missing.

    Parameters
    ----------
    times : ndarray of int64, shape (n,)
        What rows bear, UTC ms, in any order.

    Examples
    --------
    >>> days = np.array([0, 7, 14, 22, 28, 35])  # the fourth begins a day later
    >>> are_weekly(days * 86_400_000), are_weekly(np.arange(9) * 86_400_000)
    (True, False)
    """
    if len(times) < _FEWEST or int(times.max()) - int(times.min()) < _NEAR * DAY_MS * (len(times) - 1) // 2:
        return False
    apart: NDArray[np.float64] = np.round(np.diff(np.unique(times)).astype(np.float64) / DAY_MS)
    if len(apart) + 1 < _FEWEST or np.median(apart) * DAY_MS != WEEK_MS:
        return False
    return bool((apart * DAY_MS == WEEK_MS).mean() >= _USUAL and (apart >= _NEAR).mean() >= 1 - _FEW_CLOSER)


def _length(lengths: NDArray[np.int64], counts: NDArray[np.int64]) -> int:
    """The length of bars that lie so far apart, so often."""
    count = int(counts.sum())
    commonest = int(lengths[int(np.argmax(counts))])
    least, most = _bounds(commonest)
    if least != most and int(counts[(lengths >= least) & (lengths <= most)].sum()) * 2 > count:
        commonest = round(commonest / DAY_MS) * DAY_MS
        if commonest not in (DAY_MS, WEEK_MS):
            return commonest
        days = np.round(lengths / DAY_MS).astype(np.int64) * DAY_MS  # the clocks may have changed between two
        lengths = np.where((np.abs(lengths - days) <= _HOUR_MS) & (days > 0), days, lengths)
    by_count = np.argsort(-counts, kind="stable")
    lengths, counts = lengths[by_count], counts[by_count]
    common = np.gcd.accumulate(lengths)
    finest = int(common[-1])
    for step in dict.fromkeys(common.tolist()):
        multiples = int(counts[lengths % step == 0].sum())
        if count - multiples <= max(2, _STRAY * count) and _sure(multiples, count, finest / step):
            return int(step)
    return finest


def _bounds(step: int) -> tuple[int, int]:
    """The shortest and the longest distance that counts as one bar of this length."""
    for length in (DAY_MS, WEEK_MS):
        if abs(step - length) <= _HOUR_MS:
            return length - _HOUR_MS, length + _HOUR_MS
    if _MONTH_MS[0] - _HOUR_MS <= step <= _MONTH_MS[1] + _HOUR_MS:
        return _MONTH_MS[0] - _HOUR_MS, _MONTH_MS[1] + _HOUR_MS
    return step, step


def _sure(multiples: int, count: int, chance: float, sure: float = SURE) -> bool:
    """Whether so many multiples are no chance where each distance is one with this chance (Chernoff's bound).

    One of them is not counted, as the length was taken from the distances.
    """
    multiples, count = multiples - 1, count - 1
    share = multiples / max(count, 1)
    if share <= chance:
        return False
    rest = (1 - share) * math.log((1 - share) / (1 - chance)) if share < 1 else 0.0
    return count * (share * math.log(share / chance) + rest) >= sure


def _log_choices(places: float, chosen: int) -> float:
    """The logarithm of the number of ways to choose some of these places."""
    return math.lgamma(places + 1) - math.lgamma(chosen + 1) - math.lgamma(places - chosen + 1)
