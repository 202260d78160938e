"""The moments of a backtest at which a strategy, or what manages its position, can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS, ceil_to, interval_ms, slot_after
from ..market.candles_of_one_symbol import Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.newest_series_rows import ReadSeries
    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid
    from ..market.window import Window
    from .plan import Plan
    from .weights_moments import WeightsMoments


def questions_of(
    plan: Plan,
    series: Series,
    window: Window,
    *,
    managing: bool,
    published: ReadSeries,
    warn: Callable[[str], object],
) -> AskedAt:
    """The moments at which the strategy of a plan, or with ``managing`` its ``manage``, can be asked over base bars.

    Raises
    ------
    UsageError
        Its schedule is finer than the base bars.
    """
    strategy, sessions = plan.strategy, window.sessions_of(plan.symbol)
    interval, at = (strategy.manages_every, strategy.manages_at) if managing else (strategy.interval, strategy.at)
    if at is not None or has_session_days(interval, sessions, window.base_ms):
        from .scheduled_questions import scheduled_questions  # few strategies have a schedule

        return scheduled_questions(plan, at, series, sessions, published=published, warn=warn, managing=managing)
    hours = None if window.base_ms >= DAY_MS else sessions  # a day ends where its market is closed
    step, slot = interval_ms(plan.frame.interval), interval_ms(interval)
    if strategy.portfolio_weights is not None:
        return _with_others(
            strategy.portfolio_weights.moments, series, plan.frame.start, step, slot, hours, window.price_count
        )
    if series.grid is not None:
        return GridQuestions(series, series.grid, step_ms=step, slot_ms=slot, sessions=hours)
    count = window.price_count
    return Questions(series, start=plan.frame.start, step_ms=step, slot_ms=slot, sessions=hours, count=count)


def _with_others(
    moments: WeightsMoments, series: Series, start: int, step: int, slot: int, sessions: Sessions | None, count: int
) -> AskedAt:
    """The questions of a leg of the weights of several symbols, which is asked with the others."""
    from .weights_moments import WeightsQuestions, WeightsSlots  # few strategies have one

    grid, closes = series.grid, series.closes
    if sessions is not None:
        closes = closes[ready_minutes(closes, sessions, count if grid is None else 1)]
    if grid is None:
        closes = closes[(closes - start) % step == 0]
    elif step > series.step:
        closes = closes[grid.starts(closes, step) == closes]
    moments.tell(closes)

    def slot_end(when: int) -> int:
        return slot_after(when, slot) if grid is None else grid.after(when, slot)

    return WeightsQuestions(lambda: WeightsSlots(moments.of_leg(series, closes), slot_end))


def ready_minutes(closes: NDArray[np.int64], sessions: Sessions, count: int) -> NDArray[np.bool_]:
    """At which closes of minutes or longer bars (UTC ms) a strategy can be asked where sessions are declared.

    The market must be open then, and have been for ``count`` minutes: an average price of the session before does not
    count.
    """
    warm = sessions.open_minutes(closes - count * MINUTE_MS, count * MINUTE_MS) == count
    ready: NDArray[np.bool_] = warm & (sessions.open_minutes(closes, MINUTE_MS) == 1)
    return ready


def has_session_days(interval: str, sessions: Sessions | None, base_ms: int) -> bool:
    """Whether the slots of an interval are the days of a market with sessions, which begin with their open.

    Daily bars bear the date of their session already.
    """
    return interval == "1d" and sessions is not None and base_ms < DAY_MS


class AskedAt(Protocol):
    """The moments at which a strategy can be asked: by slots of an interval, or by a schedule."""

    def first(self, earliest: int) -> int | None:
        """The first moment at or after ``earliest`` (UTC ms) at which it can be asked, if there is one."""
        ...

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after``, to which the question at ``asked`` leads; all in UTC ms."""
        ...

    def missed(self, until: int) -> int:
        """How many moments up to one (UTC ms) were missed."""
        ...


def moments_from(questions: AskedAt, when: int) -> Iterator[int]:
    """The moment of a question (UTC ms), and those of the questions that follow while nothing comes of them."""
    if isinstance(questions, Questions) and (following := questions.evenly_after(when)) is not None:
        return chain((when,), following)
    return _one_by_one(questions, when)


def _one_by_one(questions: AskedAt, when: int) -> Iterator[int]:
    moment: int | None = when
    while moment is not None:
        yield moment
        moment = questions.next(after=moment, asked=moment)


class Questions:
    """The moments at which a strategy can be asked: where the minute before has closed, and its market was open.

    Parameters
    ----------
    series
        The minutes of the run.
    start, step_ms
        Moments are ``start + k * step_ms`` (UTC ms).
    slot_ms
        The strategy is asked at most once per slot ``floor(moment / slot_ms)``.
    sessions, count
        With trading hours: the market must be open at a moment, and have been for ``count`` minutes.
    """

    def __init__(
        self, series: Series, *, start: int, step_ms: int, slot_ms: int, sessions: Sessions | None, count: int
    ) -> None:
        times = series.candles.timestamp
        self._regular = series.regular and sessions is None
        # Where none is missing they are reckoned; no view of the times, which would keep the candles.
        self._closes = np.zeros(0, dtype=np.int64) if self._regular else times + series.step
        if sessions is not None:
            self._closes = self._closes[ready_minutes(self._closes, sessions, count)]
        self._begin = int(times[0]) + series.step if len(times) else 0
        self._end = int(times[-1]) if len(times) else -1  # no candle opens later: nobody could fill an order
        self._start, self._step, self._slot = start, step_ms, slot_ms

    def first(self, earliest: int) -> int | None:
        """The first moment at or after ``earliest`` (UTC ms) at which a strategy can be asked, if there is one."""
        moment = self._start + max(ceil_to(earliest - self._start, self._step), 0)
        while True:
            if moment > self._end:
                return None
            if self._regular:
                closes = max(moment, self._begin)
            else:
                at = int(np.searchsorted(self._closes, moment))
                if at == len(self._closes):
                    return None
                closes = int(self._closes[at])
            if closes == moment:
                return moment
            moment = self._start + ceil_to(closes - self._start, self._step)

    def missed(self, until: int) -> int:  # noqa: ARG002
        """None: a slot has no moment of its own, so it is asked in when it can be."""
        return 0

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after`` and in a later slot than ``asked``; all in UTC ms."""
        earliest = max(slot_after(asked, self._slot), after + 1)
        if self._regular and earliest >= self._start:  # the path of nearly every question
            moment = self._start - (self._start - earliest) // self._step * self._step
            if self._begin <= moment <= self._end:
                return moment
        return self.first(earliest)

    def evenly_after(self, when: int) -> range | None:
        """The moments of the questions that follow one at ``when`` (UTC ms), where each slot begins with one."""
        if not self._regular or self._slot % self._step or self._start % self._step:
            return None
        return range(slot_after(when, self._slot), self._end + 1, self._slot)


class GridQuestions:
    """The moments at which a strategy can be asked over bars that do not open at multiples of their length.

    Parameters
    ----------
    series, grid
        The bars of the run, and where they open.
    step_ms
        The interval of the frame: where it is longer than a bar, only moments that begin a slot of it count.
    slot_ms
        The strategy is asked at most once per slot of so many ms.
    sessions
        With trading hours: the market must be open at a moment.
    """

    def __init__(self, series: Series, grid: BarGrid, *, step_ms: int, slot_ms: int, sessions: Sessions | None) -> None:
        closes = series.closes
        if sessions is not None:
            closes = closes[ready_minutes(closes, sessions, 1)]
        if step_ms > series.step:
            closes = closes[grid.starts(closes, step_ms) == closes]
        times = series.candles.timestamp
        self._closes = closes[closes <= (times[-1] if len(times) else -1)]  # nobody could fill a later order
        self._grid, self._slot = grid, slot_ms

    def first(self, earliest: int) -> int | None:
        """The first moment at or after ``earliest`` (UTC ms) at which a strategy can be asked, if there is one."""
        at = int(np.searchsorted(self._closes, earliest))
        return int(self._closes[at]) if at < len(self._closes) else None

    def missed(self, until: int) -> int:  # noqa: ARG002
        """None: a slot has no moment of its own, so it is asked in when it can be."""
        return 0

    def next(self, *, after: int, asked: int) -> int | None:
        """The first moment later than ``after`` and in a later slot than ``asked``; all in UTC ms."""
        return self.first(max(self._grid.after(asked, self._slot), after + 1))
