"""A live run catches up: question and minute in turn, from where it stands to the present."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, floor_to
from ..domain.lifecycle import Flat
from ..domain.market_on_close_orders import close_due
from ..engine.strategy_memo import memo_put_back
from ..errors import NotEnoughData
from .broker_account import Account
from .failures_and_retries import Failures
from .live_market import LiveMarket
from .live_strategy_loop import LiveLoop, ended_at
from .manual_orders import ByHand
from .new_entries import NewEntries
from .pause_resume_stop import Controls
from .plan import LivePlan
from .record_keeping import RecordKeeping
from .run_progress import Reached
from .silent_or_late_market import waited_text

if TYPE_CHECKING:
    from ..engine.portfolio_clock import LegTurn
    from ..engine.resolve import RunSeries
    from ..engine.strategy_loop import StrategyLoop
    from .schedules import LiveSchedule
    from .strategy_places import LivePlaceLoop
    from .weight_leg_moments import WeightLegMoments


class CatchUp:
    """Works on everything that has come and has not been worked on, as a backtest does.

    Parameters
    ----------
    plan, reached, loop, market
        The run, how far it has come, its state and its minutes.
    account, controls, entries, keeping
        The orders at the broker, whether the run was stopped, whether something may be opened; saves what is decided.
    by_hand, failures
        What was decided by hand for a later moment; tells what goes wrong.
    published
        The series of the run, which a schedule may read.
    turn
        The turns of a leg of a portfolio; ``None``: it has the clock for itself.
    """

    def __init__(
        self,
        plan: LivePlan,
        loop: LiveLoop,
        market: LiveMarket,
        *,
        reached: Reached,
        account: Account,
        controls: Controls,
        entries: NewEntries,
        keeping: RecordKeeping,
        by_hand: ByHand,
        failures: Failures,
        published: RunSeries,
        turn: LegTurn | None = None,
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._market = market
        self._reached = reached
        self._account = account
        self._controls = controls
        self._entries = entries
        self._keeping, self._by_hand = keeping, by_hand
        self._failures = failures
        self._turn = turn
        self._undone: int | None = None  # a moment (UTC ms) at which something could not be done
        self._ended_at = ended_at(loop)  # when the clock ended something last, UTC ms
        self._waits_for: tuple[int, NotEnoughData] | None = None  # a question (UTC ms), and the candle it waits for
        self._asked_at: LiveSchedule | None = None
        self._managed_at: LiveSchedule | None = None
        self._of_weights: WeightLegMoments | None = None
        if plan.strategy.portfolio_weights is not None and turn is not None:
            from .weight_leg_moments import WeightLegMoments  # few strategies answer for several symbols

            self._of_weights = WeightLegMoments(plan, loop, market, failures, turn, end_due=self.end_due)
            self._turn = self._of_weights.turn
        if plan.strategy.at is not None or plan.strategy.manage_at is not None or market.sessions is not None:
            from .schedules import schedules_of  # few strategies have one

            self._asked_at, self._managed_at = schedules_of(plan, loop, market.window, reached, published)

    @property
    def _schedules(self) -> bool:
        """Whether something is asked at moments at which no minute may have closed: at the open of a session."""
        return self._asked_at is not None or self._managed_at is not None

    async def work(self) -> None:
        """Question and minute in turn, from where the run stands to the present.

        Raises
        ------
        NotEnoughData
            Where a candle has not come.
        StateError
            Where something could not be saved.
        """
        plan, loop, market, reached, desk = self._plan, self._loop, self._market, self._reached, self._account.desk
        watch = market.watch
        behind_since, watch.working_since = watch.working_since, None
        minutes = await market.next_minutes()
        arrived = len(minutes) > 0 and int(minutes.timestamp[0]) == reached.last_minute
        if len(minutes) > int(arrived):
            watch.working_since = plan.clock.now() if behind_since is None else behind_since
        await market.look_for_volume()
        if arrived or self._begins_at_an_open():
            await self._moment(reached.known)
        until = len(minutes) if plan.until is None else market.closed_by(minutes, plan.until)
        for index in range(int(arrived), until):
            known = reached.known
            if self._controls.leaving:
                return
            if index % 64 == 63 or desk is not None:
                await asyncio.sleep(0)  # many missed minutes hold up neither the others nor an order before its candle
            busy, opened = not isinstance(loop.state, Flat), int(minutes.timestamp[index])
            await loop.read_funding(market.close_of(opened))
            minute = await market.minute(minutes, index, busy=busy)
            holes = watch.skipped(reached.last_minute, opened)
            self._keeping.go_on_without(holes, waited_minutes=watch.waited_minutes(holes, plan.clock.now()))
            if minute is not None:  # in a hole before it, if at all; it is not taken yet
                await self.end_due(opened, open_=minute.open, hole_end=opened if holes else None)
                await self._before_the_open(known, opened)
            if self._turn is not None:
                await self._turn.bar(opened, market.close_of(opened))
                if self._controls.leaving:
                    return
            with reached.moving(last_minute=opened):
                loop.now = opened
                if minute is not None:
                    if desk is not None:
                        desk.saw(minute)
                        await desk.pass_on(minute)
                    await self._take(minute)
            reached.done = reached.known
            await self._moment(reached.done)
            market.tell_behind(loop.states, reached.done)
        if plan.clock.now() < reached.done + 2 * plan.base_ms:
            watch.working_since = None
        await self._end_while_closed()
        await self._at_the_open()

    def due_and_next(self, now: int) -> tuple[int, int]:
        """The end of the newest candle that is due at a moment, and when there is something to do next, all in UTC ms.

        That is at the next full minute. Over longer bars nothing happens before the next closes, also where the one
        before it has not come, the clock ends something, a session opens or the run is over.
        """
        plan, market = self._plan, self._market
        minute = floor_to(now, MINUTE_MS)
        if plan.base_ms == MINUTE_MS:
            return minute, minute + MINUTE_MS
        closes = market.next_close(self._reached.known)
        later = max(closes, now) + plan.base_ms
        moments = [closes, later, market.next_close(now), self._loop.due, *([] if plan.until is None else [plan.until])]
        if self._schedules:
            moments += market.opens(now, later)
        if self._of_weights is not None:
            moments.append(self._of_weights.next_while_closed)
        due = closes if closes <= now else self._reached.known
        return due, min(moment for moment in moments if moment > now)

    @property
    def next_moment(self) -> int:
        """The moment (UTC ms) of what is worked on next: what could not be done, a bar, or what the clock ends."""
        known, due = self._reached.known, self._loop.due
        closes = self._market.next_close(known)
        opens = self._market.opens(known, closes)[:1] if self._schedules else []
        ends = [due] if due > known else []
        first = [known] if self._market.awaits_first else []
        others = [] if self._of_weights is None else [self._of_weights.next_while_closed]
        return min([closes, *opens, *ends, *first, *others]) if self._undone is None else self._undone

    async def _before_the_open(self, known: int, opened: int) -> None:
        """Ask at opens of sessions from the last minute's end to a minute's open (UTC ms), there and with others."""
        alone = (*self._market.opens(known, opened), opened) if self._schedules and opened > known else ()
        if self._of_weights is not None:
            async for when in self._of_weights.in_hole(known, opened, alone):
                await self._moment(when)
        else:
            for when in alone:
                await self._moment(when)

    def _begins_at_an_open(self) -> bool:
        """Whether the first minute of the run opens a session that has opened: no minute ends then."""
        known, until = self._reached.known, self._plan.until
        end = self._plan.clock.now() + 1 if until is None else min(self._plan.clock.now() + 1, until)
        return self._schedules and known < end and known in self._market.opens(known - 1, known + 1)

    async def _at_the_open(self) -> None:
        """Ask at the open of a session that has come, before which no minute comes any more."""
        now, until = self._plan.clock.now() + 1, self._plan.until
        end = now if until is None else min(now, until)
        opens = self._market.opens(self._reached.known, end) if self._schedules else []
        if self._of_weights is not None:
            async for when in self._of_weights.while_closed(end - 1, opens):
                await self._moment(when)
            return
        for when in opens:
            if not self._market.opens_before(when):
                await self._moment(when)

    async def _take(self, minute: Minute) -> None:
        """Give a minute to the lifecycle; one that it cannot work on leaves its mark before the next one is."""
        before = self._loop.state
        with self._failures.left_out("state", minute.t):
            await self._loop.take(minute)
            return
        if self._loop.state is before:
            self._keeping.leave_out(minute.t)

    async def _moment(self, when: int) -> None:
        """What the clock ends at a moment, what was decided by hand and by ``manage``, and the question of it."""
        self._undone = when
        if self._of_weights is not None:
            await self._of_weights.look(when)
        await self.end_due(when)
        for planned in self._by_hand.planned(when):
            if self._turn is not None:
                await self._turn.manage(when)
            with self._failures.left_out("strategy", when):
                await self._by_hand.carry_out_planned(planned, when)
        await self._manage(when)
        if self._of_weights is not None:
            await self._of_weights.ask_again(when)
        await self._question(when)
        self._undone = None

    # --- what the clock ends ------------------------------------------------------------------------------------

    async def end_due(self, when: int, *, open_: float | None = None, hole_end: int | None = None) -> None:
        """End what the clock ends up to a moment (UTC ms).

        Parameters
        ----------
        when
            The moment.
        open_
            The price (quote currency) where none is known before.
        hole_end
            Where the hole ends that it lies in, UTC ms: it is decided without the minutes of the hole, so a restart
            does not work on them although they have come meanwhile.
        """
        loop, reached, known = self._loop, self._reached, self._reached.known
        while (due := loop.due) <= when:
            if self._turn is not None:
                await self._turn.ends(due)
                if loop.due != due:  # it was changed by hand
                    continue
            # No candle lies between the last one and what is due in a hole or in closed hours.
            price = await self._market.price_at(min(due, known), otherwise=open_)
            ends = self._due_first()
            closes = close_due(ends.state, ends.rules) <= due
            newest = await self._market.newest_fill(due, ends.state) if closes else None
            state = ends.state
            with (
                reached.moving(last_minute=None if hole_end is None else self._market.bar_before(hole_end)),
                self._failures.left_out("state", due),
            ):
                await ends.end_due(due, price, newest)
            if ends.state is state and ends.due == due:  # it could not be ended, which was told
                return
            self._has_ended(ends, due)

    def _due_first(self) -> StrategyLoop:
        """The loop in which the clock ends something first."""
        return self._loop

    def _has_ended(self, _loop: StrategyLoop, due: int) -> None:
        """The clock has ended something in a loop at a moment (UTC ms)."""
        self._ended_at = due

    async def _end_while_closed(self) -> None:
        """End what the clock ends while the market is closed: no minute comes, so none has to be waited for."""
        while (due := self._loop.due) <= self._plan.clock.now() and not self._market.opens_before(due):
            await self.end_due(due)
            if self._loop.due == due:
                return

    # --- questions ----------------------------------------------------------------------------------------------

    async def _manage(self, when: int) -> None:
        """Ask the strategy about what is open or waits, when it is time to."""
        if self._managed_at is None or await self._told(self._managed_at, when):
            await self._manage_in(self._loop, when)

    async def _manage_in(self, loop: LiveLoop | LivePlaceLoop, when: int) -> None:
        """Ask the strategy about what is open or waits in a loop; by a schedule, it is due."""
        plan, at, known = self._plan, self._managed_at, loop.known_at
        if at is not None:
            if known is None or when < known or when <= loop.last_managed:
                at.done()
                return
        elif known is None or not self._market.is_due(
            when, max(loop.last_managed, known - 1), plan.strategy.manages_every
        ):
            return
        if at is None and not self._market.may_ask(when):
            return
        if self._turn is not None:
            await self._turn.manage(when)
            if loop.known_at is None:  # it was changed by hand
                return
        close = await self._market.close_at(when)
        self._account.look()
        with self._failures.left_out("strategy", when):
            await loop.manage(when, close, patient=plan.clock.now() < when + plan.base_ms)
            if at is not None:
                at.done()
            if loop is not self._loop or plan.base_ms > MINUTE_MS or at is not None or when > self._reached.known:
                loop.keeping.save_managed(when)  # else a minute follows, and no other place is asked before
            return
        loop.last_managed = when  # it was asked, and what it answered cannot be carried out

    async def _question(self, when: int) -> None:
        """Ask the strategy at a moment, when it is time to."""
        loop, plan, reached, at = self._loop, self._plan, self._reached, self._asked_at
        is_free = loop.is_free_at(when)
        if at is None:
            due = self._market.is_due(when, reached.last_asked, plan.strategy.interval)
        else:
            due = await self._told(at, when)
            loop.records.missed = 0 if plan.strategy.at is None else at.missed
            if due and loop.strategy.manages and not is_free:
                at.managed()
        if not is_free or not due or when < self._ended_at:  # that was in closed hours
            return
        if self._keeping.not_asked(when, "stopped", really=self._controls.stopped):
            return
        if at is None and not self._market.may_ask(when):
            return  # closed, or so short after the opening that there is no price of this session yet
        if self._turn is not None:
            await self._turn.question(when, None)
            if not self._entries.goes_on or not loop.is_free:  # it was changed by hand
                return
        late = None if loop.has_answered(when) else plan.late_minutes
        self._account.look()
        with reached.moving(last_asked=when), memo_put_back(loop):
            if not self._entries.are_taken():  # not asked later either: a resumed run must not open it then
                self._keeping.not_asked(when, "stopped" if self._controls.no_entries else "disagreement")
            elif late is not None and plan.clock.now() - when > late * MINUTE_MS:
                age = (plan.clock.now() - when) // MINUTE_MS
                text = f"was {age} minutes old, more than late_minutes = {late}: it was not asked"
                if self._waits_for is not None and self._waits_for[0] == when:
                    text += f"; it waited for a candle: {self._waits_for[1]}"
                self._keeping.not_asked(when, "late")
                self._failures.note("late", "question", f"the question of {utc_text(when)} {text}", when)
            else:
                with self._failures.left_out("strategy", when):
                    await self._ask(when)
            if at is not None:
                at.done()
            self._keeping.save_asked(when)

    async def _ask(self, when: int) -> None:
        """Ask the strategy at a moment; where a candle it looks at has closed and not come, the question waits for it.

        It waits for the patience of the run, and at the end of a run for a minute. Nothing is open meanwhile that would
        have to be watched.

        Raises
        ------
        NotEnoughData
            It waits.
        """
        plan, failures, now = self._plan, self._failures, self._plan.clock.now()
        ends = when + max(plan.settings.patience_minutes * MINUTE_MS, plan.base_ms)
        if plan.until is not None:
            ends = min(ends, max(plan.until, when + plan.base_ms))
        try:
            await self._loop.ask(when, patient=True)
        except NotEnoughData as error:
            if now < ends:
                self._waits_for = when, error
                raise
            self._waits_for = None
            self._loop.fail("warm-up", error, when)
            return
        waits_for, self._waits_for = self._waits_for, None
        if waits_for is not None and waits_for[0] == when and now > when + plan.base_ms:
            text = waited_text(waits_for[1], when=when, minutes=(now - when) // MINUTE_MS)
            failures.note("late", "waited", text, when, again=False)

    async def _told(self, schedule: LiveSchedule, when: int) -> bool:
        """Whether a schedule is due at a moment (UTC ms); where its series fails, which is told, it is not."""
        with self._failures.left_out("strategy", when):
            return await schedule.is_due(when)
        return False
