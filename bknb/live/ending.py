"""How a live run ends: at its ``until``, with nothing open when it was stopped, or because no minute comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import Flat
from ..domain.market_clock_protocol import NEVER
from ..engine.records import Records
from ..events.listen import adrain
from ..market.system_clock import limited_to
from .broker_account import Account
from .catch_up import CatchUp
from .failures_and_retries import Failures
from .live_market import LiveMarket
from .live_strategy_loop import LiveLoop
from .pause_resume_stop import Controls
from .plan import LivePlan
from .record_keeping import RecordKeeping
from .results_not_heard import SUBJECTS
from .run_progress import Reached
from .silent_or_late_market import left_text, overdue_text, silence_text
from .sleeping import Sleep
from .turn_lock import Turn

GRACE_SECONDS: Final = 0.3  # a run that is stopped at once may come to the end of the minute within this time
_SETTLE_SECONDS: Final = 60.0  # the broker has this long for the last orders
LISTENER_SECONDS: Final = 10.0  # a run that ends waits so long for its listeners; the rest is told again


class Ending:
    """Whether a run is over after a look at what has come, and what is still decided then.

    A run that was stopped and has nothing open goes on until its broker has carried out what it was told, as a broker
    on paper does at the next candle, for ``patience_minutes`` at most.

    Parameters
    ----------
    plan, reached, loop, market
        The run, how far it has come, its state and its minutes.
    controls, account
        Whether it was stopped, and its orders at the broker.
    catch_up, keeping
        End what is due, and save it.
    records, failures
        Where the end is noted, and what went wrong.
    """

    def __init__(
        self,
        plan: LivePlan,
        controls: Controls,
        *,
        account: Account,
        reached: Reached,
        loop: LiveLoop,
        market: LiveMarket,
        catch_up: CatchUp,
        keeping: RecordKeeping,
        records: Records,
        failures: Failures,
    ) -> None:
        self._plan = plan
        self._controls = controls
        self._account = account
        self._reached = reached
        self._loop = loop
        self._market = market
        self._catch_up = catch_up
        self._keeping = keeping
        self._records = records
        self._failures = failures
        self._overdue_since: int | None = None  # the first look after ``until`` at which a candle was missing
        self._flat_since: int | None = None  # the first look after a stop at which nothing was open
        self._had_time = False  # whether the broker had its time for the last orders

    async def has_come(self) -> bool:
        """Whether the run is over; what the clock ends before ``until`` has ended then."""
        if self._is_over():
            await self._end_before_until()
            return True
        if self._controls.stopped and isinstance(self._loop.state, Flat):
            return await self._is_settled()
        return self._gives_up()

    async def _is_settled(self) -> bool:
        """Whether the broker has carried out what it was told, or had its time for it."""
        desk, now = self._account.desk, self._plan.clock.now()
        if desk is None:
            return True
        with suppress(TimeoutError):
            async with limited_to(self._begin_time()):
                await desk.rests()
        self._flat_since = now if self._flat_since is None else min(self._flat_since, now)  # a clock may be set back
        return not desk.unsettled or now - self._flat_since >= self._plan.settings.patience_minutes * MINUTE_MS

    def _begin_time(self) -> float:
        """The time (s) that the broker has for the last orders: at first a minute, then a little."""
        had_time, self._had_time = self._had_time, True
        return GRACE_SECONDS if had_time else _SETTLE_SECONDS

    async def settle(self, sleep: Sleep, turn: Turn) -> None:
        """Give the broker its time for the last orders, by the clock and no longer than that in real time.

        The run ``sleep``s meanwhile, without its ``turn``: a clock that jumps goes on with the pauses between them.
        """
        desk, clock = self._account.desk, self._plan.clock
        if desk is None or self._controls.leaving:
            return
        seconds = self._begin_time()
        end = clock.now() + round(seconds * 1000)
        with suppress(TimeoutError):
            async with limited_to(seconds):
                while await desk.rests() and clock.now() < end:
                    sleep.begin_look()
                    async with turn.given_up():
                        await sleep.until(min(end, sleep.rests.next_end), late=False, next_moment=NEVER)

    def tell_unsettled(self) -> None:
        """Tell what the broker has not carried out at the end of the run: nobody watches it."""
        desk, broker = self._account.desk, self._plan.broker
        if desk is None or broker is None or not (what := desk.unsettled):
            return
        text = (
            f"the run ended before {broker.name} carried out what the record says: {what}\n"
            "look at the account, or start the run again with the same store: it goes on with its orders"
        )
        self._records.warn(text)
        self._failures.note("broker", "unsettled", text, self._reached.known)

    def _gives_up(self) -> bool:
        """Tell once that no minute comes; returns whether a run that was stopped leaves because of that."""
        plan, market, watch = self._plan, self._market, self._market.watch
        known, now = self._reached.known, market.answered_at
        now = plan.clock.now() if now is None else now  # how long the own work took since is no silence
        if market.held is not None or not watch.silent(known, now):
            return False
        minutes, states, unsaved = plan.settings.patience_minutes, self._loop.states, self._failures.unsaved
        if watch.silent_since is None and not unsaved:  # what cannot be saved has been told
            watch.told_silence(known)
            text = silence_text(
                plan.symbol, plan.exchange.name, states, known=known, minutes=minutes, base=plan.base,
                rests="" if self._account.desk is None else self._account.desk.rests_text(),
            )  # fmt: skip
            self._failures.note("silence", "", text, known)
        if not self._controls.stopped or not watch.silent(known, now, since=self._controls.stopped_at):
            return False
        names = (plan.symbol, plan.exchange.name)
        text = left_text(*names, states, known=known, minutes=minutes, unsaved=unsaved, base=plan.base)
        self._records.warn(text)
        self._failures.note("state" if unsaved else "silence", "stopped", text, known)
        return True

    def _is_over(self) -> bool:
        """Whether ``until`` has come, with every candle before it; one that is missing is waited for for a minute."""
        until, now, known, market = self._plan.until, self._plan.clock.now(), self._reached.known, self._market
        closes = known + market.step if market.grid is None else market.next_close(known)
        if until is None or closes > until:  # no candle closes before it any more
            return until is not None and max(known, now) >= until and not self._failures.late
        if now < until:
            return False
        if market.closed_until(until) or (market.held is None and market.first_behind(until) is not None):
            return True
        self._overdue_since = now if self._overdue_since is None else min(self._overdue_since, now)
        if now < self._overdue_since + MINUTE_MS:
            return False
        if market.held is not None:  # what is behind the hole is worked on before the end
            market.stop_waiting()
            return False
        self._records.warn(f"the run ended at {utc_text(until)}; its last candle closed at {utc_text(known)}")
        return True

    async def _end_before_until(self) -> None:
        """End what the clock ends between the last candle and ``until``, where no candle comes any more that would.

        Those of a hole are not worked on later, for the decision is made without them. Candles that may only be late
        decide first: the next start works on them. What fails is told, stays in the saved state, and ends at the next
        start.
        """
        until, known, due, market = self._plan.until, self._reached.known, self._loop.due, self._market
        if until is None or due >= until or known >= until:
            return
        behind = market.first_behind(until)
        with self._failures.told("exchange"):
            if market.closed_until(until):
                await self._catch_up.end_due(until - 1)
            elif behind is not None:
                holes = market.watch.skipped(self._reached.last_minute, until)
                waited = market.watch.waited_minutes(holes, self._plan.clock.now())
                self._keeping.go_on_without(holes, waited_minutes=waited)
                await self._catch_up.end_due(until - 1, hole_end=until)
            else:
                text = overdue_text(self._plan.symbol, self._loop.states, due=due, known=known)
                self._records.warn(text)
                self._failures.note("silence", "overdue", text, known)


async def listeners_heard(leaving: Callable[[], bool]) -> bool:
    """Wait for the listeners of a run that ends, as long as it is not left; returns whether they heard everything."""
    hearing = asyncio.ensure_future(adrain(*SUBJECTS, timeout=LISTENER_SECONDS))
    while not hearing.done():
        await asyncio.wait({hearing}, timeout=GRACE_SECONDS)
        if leaving():
            break
    heard = hearing.done() and hearing.result()
    hearing.cancel()
    return heard
