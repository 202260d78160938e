"""The backtest driver: asks the strategy slot by slot and feeds the lifecycle the minutes that matter.

Between two questions nothing is looked at; while something is open or scheduled a scan jumps to the next minute at
which it can change. What was jumped over reaches the lifecycle as one ``SkippedMinutes``, so that skipping and stepping
give the same events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, floor_to, interval_ms
from ..domain.late_orders import Lateness
from ..domain.lifecycle import Flat, Rules, State
from ..domain.signal_events import Cancelled, Closed
from ..events import subjects
from ..market.candles_of_one_symbol import Series
from ..market.system_clock import stopwatch
from ..market.window import Window
from .ask_in_backtest import BacktestAsk
from .backtest_messages import BacktestMessages
from .backtest_rules import rules_of_backtest
from .get_signals_vectorised import looked_up
from .minute_walk import MinuteWalk
from .next_change import NextChange
from .plan import PAUSE_POLL_SECONDS, Plan, Stopping, open_window
from .question_time_limit import time_limited
from .questions import AskedAt, has_session_days, questions_of
from .records import Records
from .registry import Strategy, registry
from .resolve import RunSeries
from .risk_profile_places import RiskPlaces
from .rules_clock import clock_maker
from .run_candles import coverage_notes, data_end_notes, run_minutes
from .strategy_loop import StrategyLoop

if TYPE_CHECKING:
    from ..domain.signal_events import Event
    from ..events.heard import Listeners
    from ..market.fitted_models import KeptFits
    from .leg_account import LegAccount
    from .portfolio_clock import LegTurn
    from .runs_in_workers import DoneElsewhere
    from .strategy_places_walk import PlacesWalk
    from .verdicts_of_another_run import VerdictsOfAnotherRun

_REPORTS: Final = 200  # progress is emitted this often in a run


class BacktestRun:
    """One strategy over one frame of history.

    Attributes
    ----------
    records
        Events so far.
    processed, total
        Moments of the frame that are behind, and all.
    reached
        The last moment the run came to, UTC ms.
    stopped
        Whether the run was stopped before its end.
    paused
        Whether it waits before its next question.
    published
        The point-in-time series it reads.
    account
        What it has of an account, where there is a capital. ``verdicts``: in place of one.
    stopping
        ``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves at the next minute.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        every_minute: bool = False,
        listeners: Listeners = subjects,
        window: Window | None = None,
        code: Any = None,
        late: Lateness | None = None,
        published: RunSeries | None = None,
        seen_from: int | None = None,
        turn: LegTurn | None = None,
        on_event: Callable[[Event], None] | None = None,
        account: LegAccount | None = None,
        verdicts: VerdictsOfAnotherRun | None = None,
        asked_as: Strategy | None = None,
    ) -> None:
        self.plan, self.account, self._verdicts = plan, account, verdicts
        self._asked_as = asked_as  # whose next question is meant, where its own strategy stands for that of another run
        self._seen_from = plan.frame.start if seen_from is None else seen_from  # where candles begin to show volume
        self.records = records = Records()
        self.published = published or RunSeries(
            plan.settings, until=plan.frame.last, warn=records.warnings.append, tables=plan.series
        )
        self.processed = 0
        self.total = (plan.frame.last - plan.frame.start) // interval_ms(plan.frame.interval) + 1
        self.stopped = False
        self._after: int | None = None  # the last moment that was worked on
        self._reached: int | None = None
        self.code = code  # source text of the user's functions, where somebody read it before the run
        self._loop: StrategyLoop | None = None
        self.window: Window | None = window  # candles in memory that several runs share
        self.seconds, self.paused, self.asks_on = 0.0, False, True
        self._every_minute, self._listeners = every_minute, listeners
        self._messages = BacktestMessages(plan.labels(), listeners)
        self._late: Lateness = {} if late is None else late  # what a live run decided late
        self._no_entries = self._leave = False
        self._turn, self._on_event = turn, on_event  # of a leg of a portfolio; the latter is called after listeners
        self._manages: bool | None = None  # where another process ran it
        self.model_codes: dict[str, str] = {}  # digests of the code of its models
        self.kept_fits: KeptFits | None = None  # of models, where some were made before it began

    mode: Final = "backtest"

    @property
    def state(self) -> State:
        """The state of the signal while the run goes on."""
        return Flat() if self._loop is None else self._loop.state

    def state_of(self, place: str) -> State:
        """The state of one place of the strategy while the run goes on; empty: of a strategy with one."""
        loop = self._loop if not place else getattr(self._loop, "places_by_name", {}).get(place)
        return Flat() if loop is None else loop.state

    @property
    def manages(self) -> bool:
        """Whether the strategy is asked about what is open, by ``manage`` or by columns that say where to leave."""
        known = self._manages
        return (self.plan if self._loop is None else self._loop).strategy.manages if known is None else known

    @property
    def frame_name(self) -> str | None:
        """The name of the frame, when it has one."""
        return self.plan.frame.name

    @property
    def start(self) -> int:
        """First moment of the frame, UTC ms."""
        return self.plan.frame.start

    @property
    def last(self) -> int:
        """Last moment of the frame, UTC ms."""
        return self.plan.frame.last

    def series(self) -> dict[tuple[str, str], Series]:
        """The candles in memory, by symbol and interval."""
        window = self.window  # it may be released meanwhile
        return {} if window is None else window.series()

    def release_candles(self, plan: Plan) -> None:
        """Drop the candles of a run that is over; the plan given in place of its own holds none either."""
        _ = self.records.milestones  # what is made of its candles is made now
        self.plan, self.window, self._loop, self.account = plan, None, None, None

    @property
    def stopping(self) -> Stopping:
        """Whether the run is to be stopped, and how."""
        if self._leave:
            return "now"
        return "entries" if self._no_entries else ""

    def pause(self) -> None:
        """Ask for no new entry until ``resume``; what is open or scheduled is watched on. Thread-safe."""
        self.paused, self.asks_on = True, False

    def resume(self) -> None:
        """Go on asking where ``pause`` left off. Thread-safe."""
        self.paused, self.asks_on = False, not self._no_entries

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new and watch an open position to its end; ``now`` leaves at the next minute. Thread-safe."""
        self._no_entries, self.asks_on = True, False
        self._leave = self._leave or now

    # --- the run ------------------------------------------------------------------------------------------------

    async def results(self) -> AsyncIterator[Closed | Cancelled]:
        """Run, and yield every closed and cancelled result as it happens."""
        began, plan, records = stopwatch(), self.plan, self.records
        records.warnings[:0] = plan.notes
        window = self.window = self.window or open_window(plan, warn=records.warnings.append)
        window.gather_closed()
        lookup = await looked_up(window, plan, self.published, records)
        series = await run_minutes(window, plan)
        if not len(series.candles):
            window.tell_closed()  # which may say why there are none
        sessions = window.sessions_of(plan.symbol)
        records.warnings.extend(coverage_notes(plan, series, sessions, said=records.warnings[-1:]))
        strategy = plan.strategy
        if lookup is not None:
            strategy = lookup.looked_up_by(strategy)
        loop, questions = self._make_loop(window, strategy), self.questions(series, window)
        self._loop, loop.sources.symbols, loop.sources.model_codes = loop, plan.symbols, self.model_codes
        loop.sources.kept_fits = self.kept_fits
        if self._turn is not None and self._turn.by_score:
            loop.wait_turn = self._turn.signal
        walk = self._make_walk(series, window, loop)
        del series  # it may be made anew, with earlier candles
        if self.account is not None:
            self.account.prices.can_fill, self.account.prices.averages = walk.fills, walk.watched_averages
        async with time_limited(walk.asked, plan.settings.max_signal_generation_seconds):
            async for result in self._walk(walk, questions, loop):
                yield result
        records.warnings.extend(data_end_notes(plan, window.minutes(plan.symbol), records))
        if plan.strategy.at is not None:
            records.missed = questions.missed(self.reached)
        window.tell_closed()
        self.seconds = stopwatch() - began
        self._report(self.processed if self.stopped else self.total)
        self._messages.duration("backtest_total", self.seconds)

    def _make_walk(self, series: Series, window: Window, loop: StrategyLoop) -> MinuteWalk | PlacesWalk:
        changes = NextChange(
            series, window.average_prices(self.plan.symbol), window, loop.rules, start=self._seen_from,
            closes_stand_in=loop.strategy.portfolio_weights is not None,
        )  # fmt: skip
        managing = None if loop.strategy.ask_manage is None else self.questions(series, window, managing=True)
        options: Any = {
            "every_minute": self._every_minute,
            "leave": lambda: self._leave,
            "stopping": lambda: self._no_entries,
            "managing": managing,
            "turn": self._turn,
        }
        if loop.strategy.places > 1:
            from .strategy_places_walk import places_walk  # few strategies have several

            return places_walk(changes, loop, options)
        liquidation = None if self.account is None else self.account.liquidation.changes
        return MinuteWalk(changes, loop, liquidation=liquidation, **options)

    def questions(self, series: Series, window: Window, *, managing: bool = False) -> AskedAt:
        """Return the moments at which the strategy, or what manages its position, can be asked over a series."""
        return questions_of(
            self.plan, series, window, managing=managing, published=self.published, warn=self.records.warnings.append
        )

    async def through(self) -> None:
        """Run to the end; what happened is in ``records``."""
        async for _ in self.results():
            pass

    @property
    def rules(self) -> Rules:
        """The parameters of the run for the lifecycle; once it has its candles, with the clock of its market."""
        if self._loop is not None:
            return self._loop.rules
        return rules_of_backtest(self.plan, self._listeners)

    def _make_loop(self, window: Window, strategy: Strategy) -> StrategyLoop:
        risk = None if strategy.risk is None else registry.risks.get(strategy.risk)
        places = None if risk is None else RiskPlaces(risk) if self._turn is None else self._turn.places(risk)
        minutes, sessions = window.minutes(self.plan.symbol), window.sessions_of(self.plan.symbol)
        by_day = has_session_days(strategy.interval, sessions, minutes.step)
        account = self.account
        asked = self._asked_as or strategy
        bars = None if minutes.step == MINUTE_MS else minutes.times  # rules outlive the candles of their run
        rules = self.rules._replace(clock=clock_maker(asked, bars, sessions, warm=window.price_count))
        if bars is not None or sessions is not None:
            from .bar_count import bar_counter  # few need it

            close_of = None if bars is None else bars.close_of
            counter = bar_counter(rules.interval_ms, bars, sessions, by_day=by_day)
            rules = rules._replace(close_of=close_of, bars_between=counter, by_day=by_day, grid=minutes.grid)
        if account is not None:
            account.begin(self.plan, window, places, published=self.published, warn=self.records.warnings.append)
            rules = account.money.rules(rules)
        rules = rules if self._verdicts is None else self._verdicts.rules(rules)
        options: Any = {
            "rules": rules,
            "strategy": strategy,
            "window": window,
            "places": account or self._verdicts or places,
            "step_with": getattr(account or self._verdicts, "step", None),
            "records": self.records,
            "on_event": self._on_event if places is None else places.tells(rules.bar_end, self._on_event, account),
            "listeners": self._listeners,
            "decided_at": lambda when, order: self._late.get((when, order)),
            "may_open": lambda: not self._no_entries,
            "published": self.published,
        }
        if strategy.places > 1:
            from .strategy_places import places_loop  # few strategies have several

            return places_loop(options)
        return StrategyLoop(**options)

    async def _walk(
        self, walk: MinuteWalk | PlacesWalk, questions: AskedAt, loop: StrategyLoop
    ) -> AsyncIterator[Closed | Cancelled]:
        """Question after question; after each that ordered something, minutes until the next may be asked."""
        records, frame, turn = self.records, self.plan.frame, self._turn
        step_ms = interval_ms(frame.interval)
        report_every = max(self.total // _REPORTS, 1) * step_ms
        start, quiet = frame.start, loop.rules.quiet  # looked up once, not for every question
        # At the last moment of a frame nothing is ordered any more: it only ends what there is.
        last = frame.last - 1 if loop.rules.model.fills_at_open else frame.last
        report_at, delivered = start, 0
        asking = BacktestAsk(loop, walk, self, time=self._messages.duration)
        if turn is not None and self.plan.strategy.portfolio_weights is not None:
            await turn.question(start, None)  # then all legs have their candles
        when = questions.first(start)
        while when is not None and when <= last and not self._no_entries:
            if reports := when >= report_at:
                self._report((when - start) // step_ms)
                report_at = when + report_every
                loop.window.passed(when)
                await asyncio.sleep(0)
            if self.paused:
                await self._hold(when)
                continue  # asks here when it goes on, and stops here when it was stopped meanwhile
            if (quiet or type(loop.state) is not Flat) and not await walk.up_to(when):
                continue  # stopped meanwhile
            until = when if reports else min(last + 1, report_at)  # minutes may have been made anew by the first
            is_given, when = await asking.to_look_at(when, questions, until, turn)
            self._after = asking.after
            if not is_given or when is None:
                continue
            self._after = after = await asking.at(when)
            if reports:
                walk.follow()
            while delivered < len(ends := records.ends):
                yield ends[delivered]
                delivered += 1
            if type(loop.state) is not Flat and not loop.is_free:
                break  # left in the middle
            when = questions.next(after=after, asked=when)
        await self._after_questions(walk)
        for end in records.ends[delivered:]:
            yield end
        self._note_reached()

    async def _after_questions(self, walk: MinuteWalk | PlacesWalk) -> None:
        """Work on what is left of the minutes once nothing is asked any more."""
        if not self._leave:
            await walk.until_flat()
        if not self._no_entries:
            await walk.up_to(self.plan.frame.last + 1)

    def _note_reached(self) -> None:
        """Note whether the run was stopped, and where it came to."""
        last, closed = self.plan.frame.last, self.records.closed
        self.stopped = self._no_entries
        if self.stopped:
            ended = self.rules.bar_end(closed[-1].closed_at) if closed else 0
            self._reached = min(max(self.reached, ended), last)
        else:
            self.processed, self._reached = self.total, last

    def came_to(self, when: int) -> None:
        """Note that the portfolio of this leg, which was stopped, came to a moment (UTC ms)."""
        self._reached = min(max(self.reached, when), self.plan.frame.last)

    @property
    def reached(self) -> int:
        """The first moment (UTC ms) that the run has not worked on yet."""
        if self._reached is not None:
            return self._reached
        frame, step = self.plan.frame, interval_ms(self.plan.base)
        return frame.start if self._after is None else min(floor_to(self._after, step) + step, frame.last)

    async def _hold(self, when: int) -> None:
        """Wait before the question at ``when`` until the run is resumed or stopped; time in the frame waits, too."""
        frame, warnings = self.plan.frame, self.records.warnings
        self._report((when - frame.start) // interval_ms(frame.interval))
        while self.paused and not self._no_entries:  # noqa: ASYNC110 -- the flags are set in other threads
            await asyncio.sleep(PAUSE_POLL_SECONDS)
        end = "stopped there" if self.paused else "resumed there: no question was left out"
        warnings.append(f"new entries were paused at {utc_text(when)} and {end}")

    def _report(self, processed: int) -> None:
        self.processed = processed
        self._messages.progress(processed, self.total)

    def taken_over(self, window: Window, done: DoneElsewhere) -> StrategyLoop:
        """Take over what another process ran of it; returns the loop, whose callbacks and listeners heard nothing yet.

        ``window`` gets the candles of that run.
        """
        window.take_over(done.candles.series, done.candles.ended)
        self.window, self.records, self.seconds, self.stopped = window, done.whole(), done.seconds, done.stopped
        self.processed, self._reached, self._manages = done.processed, done.reached, done.manages
        for name, table in done.tables.items():
            self.published.hold(name, table)
        self._loop = self._make_loop(window, self.plan.strategy)
        self._report(self.processed)
        return self._loop

    def left_out(self) -> None:
        """Note that another process was to run it, and did not before all was stopped."""
        self.stopped, self._reached, self.window = True, self.plan.frame.start, None
