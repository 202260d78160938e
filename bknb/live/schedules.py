"""The schedules of a live run: which of their moments are due, as time passes minute by minute."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..domain.schedules import Schedule, reads_series
from ..engine.questions import has_session_days
from ..engine.scheduled_questions import SESSION_DAY, DueMoments, calendar_of, in_run
from ..market.calls_in_threads import user_calls_of

if TYPE_CHECKING:
    from ..domain.calendar_protocol import TradingCalendar
    from ..domain.recovery import SavedMoments
    from ..engine.registry import Strategy
    from ..engine.resolve import RunSeries
    from ..engine.strategy_loop import StrategyLoop
    from ..market.window import Window
    from .plan import LivePlan
    from .run_progress import Reached


def schedule_of(
    strategy: Strategy,
    symbol: str,
    window: Window,
    published: RunSeries,
    *,
    managing: bool,
    since: int,
    so_far: SavedMoments | None = None,
) -> LiveSchedule | None:
    """The schedule by which a strategy, or with ``managing`` its ``manage``, is asked; ``None``: by an interval.

    A strategy by the day is asked once from the open of each session on. ``since`` and ``so_far`` are as in
    :class:`LiveSchedule`.
    """
    interval, at = (strategy.manages_every, strategy.manages_at) if managing else (strategy.interval, strategy.at)
    if at is not None:
        late = strategy.late and not managing
        return LiveSchedule(at, symbol, window, published, since=since, late=late, so_far=so_far)
    if has_session_days(interval, window.sessions_of(symbol), window.base_ms):
        return LiveSchedule(SESSION_DAY, symbol, window, published, since=since, late=True, by_day=True)
    return None


def schedules_of(
    plan: LivePlan, loop: StrategyLoop, window: Window, reached: Reached, published: RunSeries
) -> tuple[LiveSchedule | None, LiveSchedule | None]:
    """The schedules by which a strategy and its ``manage`` are asked from where a run stands; ``None``: by an interval.

    How far the first has come is noted in ``reached``.
    """
    strategy, since, asked = plan.strategy, reached.done - 1, reached.last_asked
    given = partial(schedule_of, strategy, plan.symbol, window, published)
    # One that is asked late, as one by the day is, may owe a question of before a restart.
    owes = strategy.late or strategy.at is None
    begin = asked if owes and asked is not None else max(since, asked or 0)
    asked_at = given(managing=False, since=begin, so_far=not_asked(reached.so_far, asked))
    if strategy.at is not None and asked_at is not None:
        reached.moments, loop.records.missed = asked_at.so_far, asked_at.missed
    return asked_at, given(managing=True, since=max(since, loop.last_managed)) if strategy.manages else None


class LiveSchedule:
    """The moments of a schedule in a live run.

    Parameters
    ----------
    schedule
        Of the strategy, or of its ``manage``.
    symbol, window, published
        Of the run: what it trades, its candles, the series it reads.
    since
        Moments later than this (UTC ms) count.
    late
        Whether a moment that has passed is due until it is asked at.
    so_far
        How far an earlier process came, where it is of the same schedule.
    by_day
        Whether it stands for the days of the market: a moment that has passed is asked at while it is open.
    """

    def __init__(
        self,
        schedule: Schedule,
        symbol: str,
        window: Window,
        published: RunSeries,
        *,
        since: int,
        late: bool,
        so_far: SavedMoments | None = None,
        by_day: bool = False,
    ) -> None:
        self._open_hours = window.sessions_of(symbol) if by_day else None
        self._schedule, self._symbol, self._published = schedule, symbol, published
        self._calendar: TradingCalendar | None = calendar_of(window.sessions_of(symbol), window.base_ms)
        self._calls = user_calls_of(window, f"series-{symbol}") if reads_series(schedule) else None
        self._at = str(schedule)
        known = so_far if so_far is not None and so_far.at == self._at else None
        self._due = DueMoments(schedule, since=since, late=late, step=window.base_ms, so_far=known)

    @property
    def missed(self) -> int:
        """How many moments were missed, by this process and those before it."""
        return self._due.missed

    def so_far(self) -> SavedMoments:
        """How far it has come, for the next process."""
        return self._due.so_far(self._at)

    async def is_due(self, when: int) -> bool:
        """Whether a question is due at a moment (UTC ms); what a series raises is passed on."""
        if self._calls is not None:
            known = await self._calls.in_thread(lambda: in_run(self._schedule, self._published, self._symbol, when))
            self._due.schedule = known
        due = self._due.is_due(when, self._calendar)
        return due and (self._open_hours is None or self._open_hours.is_open(when))

    def done(self) -> None:
        """The question that was due was asked, or does not count as missed."""
        self._due.done()

    def managed(self) -> None:
        """What is open at the moment that is due is managed: it does not count as missed, and stays due where late."""
        self._due.managed()


def not_asked(moments: SavedMoments | None, asked: int | None) -> SavedMoments | None:
    """How far a schedule had come, without a pending moment that was asked about in the turn that saved it."""
    if moments is None or moments.pending is None or asked is None or moments.pending > asked:
        return moments
    return msgspec.structs.replace(moments, pending=None, managed=False)
