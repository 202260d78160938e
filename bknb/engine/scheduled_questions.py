"""The moments at which a strategy is asked that has a schedule (``at``) in place of slots of an interval.

A moment of the schedule is asked at where the first base bar opens at or after it, or where a bar closes then. Where
that is not within one base bar of it, or something is open then, it is missed and counted; a strategy that is asked
late is asked when it can be, once for all moments that have passed meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.calendar_protocol import TradingCalendar
from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.recovery import SavedMoments
from ..domain.schedules import AnyOf, Listed, Schedule, SeriesRows, SessionOpen
from ..errors import UsageError
from ..market.session_days import WholeDays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ..market.candles_of_one_symbol import Series
    from ..market.newest_series_rows import ReadSeries
    from ..market.sessions import Sessions
    from .plan import Plan
    from .questions import AskedAt


SESSION_DAY: Final = SessionOpen()
"""The schedule of a strategy by the day in a market with sessions; it is asked late, as in any slot."""


def calendar_of(sessions: Sessions | None, base_ms: int) -> TradingCalendar | None:
    """The calendar of a run's schedules: with bars of a day or longer, days are as long as their bars."""
    return WholeDays(sessions) if base_ms >= DAY_MS and sessions is not None else sessions


def in_run(schedule: Schedule, published: ReadSeries, symbol: str, when: int) -> Schedule:
    """The schedule with the moments of series in it, as far as their rows are known at a moment (UTC ms)."""
    if isinstance(schedule, SeriesRows):
        table = published(schedule.name, symbol, when)
        return Listed(tuple(np.unique(table.known_moments(symbol)).tolist()))
    if isinstance(schedule, AnyOf):
        return AnyOf(tuple(in_run(each, published, symbol, when) for each in schedule.of))
    return schedule


def check_fine_enough(schedule: Schedule, what: str, base: str, base_ms: int, moments: Sequence[int]) -> None:
    """Raise ``UsageError`` where a schedule is finer than the base bars of a run."""
    if base_ms >= DAY_MS and not schedule.by_day:
        raise UsageError(
            f"{what}={str(schedule)!r} names times of a day, and the run has {base} bars\n"
            "take one-minute candles, or a schedule of days: session_open, session_close, mon, month, month_end"
        )
    if base_ms > MINUTE_MS and len(moments) > 1 and int(np.diff(moments).min()) < base_ms:
        raise UsageError(
            f"{what}={str(schedule)!r} has moments that are closer together than one {base} bar of the run\n"
            "take finer candles, or moments further apart"
        )


def moments_of_bars(series: Series, opens: Sequence[int], *, by_day_of: Sessions | None = None) -> NDArray[np.int64]:
    """The moments (UTC ms, ascending) at which somebody may be asked: where a bar opens or closes, or a session opens.

    Parameters
    ----------
    series
        The base bars of the run.
    opens
        When sessions open, UTC ms: there a strategy is asked although no bar may open.
    by_day_of
        The sessions whose days are the slots of the strategy: it is asked while that market is open.
    """
    times = series.candles.timestamp
    edges = np.unique(np.concatenate([times, series.closes, np.asarray(opens, dtype=np.int64)]))
    edges = edges[edges <= (times[-1] if len(times) else -1)]  # later nobody could fill an order
    return edges if by_day_of is None else edges[by_day_of.mask(edges)]


class ScheduledQuestions:
    """The moments at which a strategy with a schedule can be asked in a backtest.

    Parameters
    ----------
    edges
        The moments at which it may be asked; see :func:`moments_of_bars`.
    step
        The length of a base bar, ms.
    moments
        Those of the schedule, UTC ms, ascending.
    late
        Whether a moment that has passed is asked at when it can be.
    counts_open
        Whether moments at which something is open count as missed.
    """

    def __init__(
        self, edges: NDArray[np.int64], step: int, moments: Sequence[int], *, late: bool, counts_open: bool
    ) -> None:
        self._edges = edges
        given = np.asarray(moments, dtype=np.int64)
        place = np.searchsorted(self._edges, given)
        known = place < len(self._edges)
        given, place = given[known], place[known]
        asked = self._edges[place]
        on_time = (asked < given + step) if not late else np.ones(len(given), dtype=np.bool_)
        self._missed: list[int] = given[~on_time].tolist()  # no bar opened in time
        given, asked = given[on_time], asked[on_time]
        self._missed += given[:-1][asked[:-1] == asked[1:]].tolist()  # asked about together with the one behind them
        self._asked: list[int] = np.unique(asked).tolist()
        self._late, self._counts_open = late, counts_open

    def missed(self, until: int) -> int:
        """How many moments up to one (UTC ms) were missed."""
        return sum(moment <= until for moment in self._missed)

    def first(self, earliest: int) -> int | None:
        """The first moment at or after ``earliest`` (UTC ms) at which a strategy can be asked, if there is one."""
        at = bisect_left(self._asked, earliest)
        return self._asked[at] if at < len(self._asked) else None

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after`` and than the question at ``asked``; all in UTC ms."""
        begin, end = bisect_right(self._asked, asked), bisect_right(self._asked, max(after, asked))
        following = self._asked[end] if end < len(self._asked) else None
        passed = self._asked[begin:end]
        if self._late and passed:
            at = bisect_right(self._edges, after)
            now = int(self._edges[at]) if at < len(self._edges) else None
            if now is None or following is None or now < following:
                following = now
                passed = passed[:-1]
        if self._counts_open:
            self._missed += passed
        return following


def scheduled_questions(
    plan: Plan,
    at: Schedule | None,
    series: Series,
    sessions: Sessions | None,
    *,
    published: ReadSeries,
    warn: Callable[[str], object],
    managing: bool,
) -> AskedAt:
    """The questions of a backtest by a schedule: to the strategy, or with ``managing`` to its ``manage``.

    Without one they are those of a strategy by the day, in slots that begin with the open of each session.

    Raises
    ------
    UsageError
        The schedule is finer than the base bars.
    """
    strategy, frame, base_ms = plan.strategy, plan.frame, series.step
    by_day, at = at is None, SESSION_DAY if at is None else at
    schedule = in_run(at, published, plan.symbol, frame.last)
    what = "manage_at" if managing and strategy.manage_at is not None else "at"
    calendar = calendar_of(sessions, base_ms)
    moments = schedule.moments(frame.start, frame.last + 1, calendar)
    days = [] if calendar is None else calendar.session_days(frame.start, frame.last)
    check_fine_enough(at, what, plan.base, base_ms, moments if _has_distances(at) else ())
    if not moments and not managing and not by_day:
        hours = "" if sessions is None else f"; the market trades {sessions}"
        warn(f"the strategy was never asked: {what}={str(at)!r} has no moment in the frame{hours}")
    opens = [start for day in days for start, _ in day.spans]
    edges = moments_of_bars(series, opens, by_day_of=sessions if by_day else None)

    def asked_at(edges: NDArray[np.int64]) -> ScheduledQuestions:
        return ScheduledQuestions(
            edges,
            base_ms,
            moments,
            late=by_day or (strategy.late and not managing),
            counts_open=not (by_day or managing or strategy.manages),
        )

    if strategy.portfolio_weights is None:
        return asked_at(edges)
    from .weights_moments import WeightsQuestions  # few strategies have one

    common = strategy.portfolio_weights.moments
    common.tell(edges)
    return WeightsQuestions(lambda: asked_at(common.of_leg(series, edges)))


def _has_distances(schedule: Schedule) -> bool:
    """Whether moments of a schedule are told apart: what is listed or published may be near another, as it comes."""
    parts = schedule.of if isinstance(schedule, AnyOf) else (schedule,)
    return not any(isinstance(each, Listed | SeriesRows) for each in parts)


class DueMoments:
    """Which moments of a schedule are due in a live run, whose time passes minute by minute.

    Parameters
    ----------
    since
        Moments later than this (UTC ms) count.
    late
        As in :class:`ScheduledQuestions`.
    step
        The length of a base bar, ms: what cannot be asked within it is missed, and so is what is not asked where it
        first can be.
    so_far
        How far an earlier process came with this schedule, where that is known; ``since`` does not matter then.

    Examples
    --------
    >>> from bknb.domain.schedule_text import as_schedule
    >>> due = DueMoments(as_schedule("00:01 UTC"), since=0, late=False)
    >>> due.is_due(60_000, None), due.is_due(120_000, None), due.missed
    (True, False, 1)
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        since: int,
        late: bool,
        step: int = MINUTE_MS,
        so_far: SavedMoments | None = None,
    ) -> None:
        self.schedule, self._late, self._step = schedule, late, step
        known = SavedMoments(at="", until=since) if so_far is None else so_far
        self._told, self._pending, self.missed = known.until, known.pending, known.missed
        self._pending_at = known.until  # the first moment at which it can be asked about what is pending
        self._is_managed = known.managed  # what was open at the pending moment is managed

    def so_far(self, at: str) -> SavedMoments:
        """How far it has come, for the next process; ``at`` is the schedule as text."""
        return SavedMoments(
            at=at, until=self._told, pending=self._pending, managed=self._is_managed, missed=self.missed
        )

    def is_due(self, when: int, calendar: TradingCalendar | None) -> bool:
        """Whether a question is due at a moment (UTC ms), which is later than those asked about before."""
        if when > self._told:
            fresh = self.schedule.moments(self._told + 1, when + 1, calendar)
            self._told = when
            if fresh:
                self.missed += len(fresh) - 1 + (self._pending is not None and not self._is_managed)
                self._pending, self._is_managed, self._pending_at = fresh[-1], False, when
        has_passed = self._pending is not None and (self._pending <= when - self._step or when > self._pending_at)
        if has_passed and not self._late:
            self.missed += 1
            self._pending = None
        return self._pending is not None

    def done(self) -> None:
        """The question that was due was asked, or does not count as missed."""
        self._pending, self._is_managed = None, False

    def managed(self) -> None:
        """What is open at the moment that is due is managed: it does not count as missed, and stays due where late."""
        self._is_managed = True
        if not self._late:
            self.done()
