"""The clock of a live portfolio: which of its legs goes next, and until when all of them sleep.

The order is that of a portfolio over history (:mod:`bknb.engine.portfolio_clock`). A leg has its turn at a moment when
the bars of all legs up to it are there. One whose bar does not come is waited for as long as its patience lasts; then
the others go on without it, until it has come further. A leg that has been woken is waited for until it has looked what
has come, whatever it was waited for before. No leg sleeps alone: a clock that jumps to what is waited for
passes no moment that a leg still works on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

from ..domain.market_clock_protocol import NEVER
from ..domain.risk_request_and_verdict import OpenPosition
from ..engine.portfolio_clock import AskInTurn, LegTurn, TurnKey
from ..engine.registry import Risk
from ..engine.risk_profile_places import RiskPlaces, SavePlaces
from ..engine.strategy_loop import StrategyLoop
from ..market.window import Window
from ..ports import Clock
from .risk_places_of_silent_legs import Ended, PlacesOfLegs
from .silent_legs import SilentLegs
from .sleeping import Rests, SleepUntil
from .turn_lock import Turn

_LOOK_SECONDS: Final = 10.0
"""How long the others wait for a look of a leg that is late; they go on without one whose exchange does not answer."""


class _Sleep(NamedTuple):
    """Until when a leg sleeps (UTC ms), what wakes it, and what sleeps."""

    wake: int
    woken: asyncio.Future[None]
    until: SleepUntil


class _Leg:
    """What a leg does: it looks, waits for a turn, has it, sleeps, or is over."""

    __slots__ = (
        *("given_up", "had_turn", "late_since", "lock", "looks", "next_moment", "over", "patience_ms", "sleeps"),
        *("slow", "told", "turn", "was_told"),
    )

    def __init__(self, patience_ms: int) -> None:
        self.patience_ms = patience_ms
        self.next_moment = 0  # of what it works on next, UTC ms; 0 until it has looked once
        self.turn: tuple[TurnKey, asyncio.Future[bool]] | None = None  # the turn that it waits for
        self.sleeps: _Sleep | None = None
        self.late_since: int | None = None  # the clock (UTC ms) when its bar of the next moment was missing first
        self.over = self.given_up = self.had_turn = self.slow = False  # the last: it looked too long to be waited for
        self.looks: asyncio.TimerHandle | None = None  # says when it has
        self.lock = Turn()  # held by the leg while it works
        self.told: Callable[[int, int], object] = lambda _since, _now: None
        self.was_told = False  # that the others go on without it at its next moment

    def comes_to(self, moment: int) -> None:
        """It works on a moment (UTC ms) next; where that is a later one, its patience begins anew."""
        if moment > self.next_moment:
            self.late_since, self.given_up, self.slow, self.was_told = None, False, False, False
        self.next_moment = moment

    def has_looked(self) -> None:
        """It waits for something."""
        if self.looks is not None:
            self.looks.cancel()
            self.looks = None


class LiveLegTurn(LegTurn):
    """The turns of one leg of a live portfolio; ``rests`` are the pauses beside all legs."""

    __slots__ = ("_live", "rests")

    def __init__(self, clock: LivePortfolioClock, order: int) -> None:
        super().__init__(clock, order)
        self._live, self.rests = clock, clock.rests

    def places_with(self, risk: Risk, taken: Iterable[OpenPosition], save: SavePlaces) -> RiskPlaces:
        """The places of a risk profile for all legs, with the places that are taken, and what saves them."""
        return self._live.places(risk, taken, save)

    def begin(self, lock: Turn, on_given_up: Callable[[int, int], object]) -> ApartTurn:
        """Begin the leg; returns what is held while something is decided about it by hand.

        Parameters
        ----------
        lock
            Held by the leg while it works; given up while it waits.
        on_given_up
            Called with a moment and the clock (both UTC ms) when the others go on from that moment without it.
        """
        leg = self._live.legs[self.order]
        leg.lock, leg.told = lock, on_given_up
        return ApartTurn(self._live, lock)

    def goes_with(self, loop: StrategyLoop, ended: Ended) -> None:
        """Have its signals go by their score, where they do; risk rules look at its candles and what has ``ended``."""
        self._live.windows[loop.rules.symbol], self._live.ended[self.order] = loop.window, ended
        if self.by_score:
            loop.wait_turn = self.signal

    def sleep(self, wake: int, next_moment: int, until: SleepUntil) -> Awaitable[None]:
        """Sleep until a moment of the clock (UTC ms), sooner when the leg is woken.

        Parameters
        ----------
        wake
            The moment.
        next_moment
            That of what the leg works on next (UTC ms): others may have their turn at all before it.
        until
            Sleeps, when nobody works.
        """
        return self._live.sleep(self.order, wake, next_moment, until)

    def wake(self) -> None:
        """Wake the leg, if it sleeps."""
        self._live.wake(self.order)

    def over(self) -> None:
        """The leg is over: nobody waits for it."""
        self._live.over(self.order)


class ApartTurn(Turn):
    """Is held while no leg has its turn, and one of them does not work."""

    def __init__(self, clock: LivePortfolioClock, lock: Turn) -> None:
        super().__init__()
        self._clock, self._of_leg = clock, lock

    async def __aenter__(self) -> None:
        await self._clock.take_apart()
        try:
            await self._of_leg.__aenter__()
        except BaseException:
            self._clock.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self._of_leg.__aexit__()
        self._clock.release()


class LivePortfolioClock:
    """Lets one leg of a live portfolio go at a time, in the order of moments, phases and legs.

    Parameters
    ----------
    clock
        The clock of all legs.
    patience_ms
        How long each leg is waited for, ms.
    longest
        The length of the longest base bars of its legs, ms.
    by_score
        Whether signals of one moment go by their score, and not in the order of their legs.
    silent
        Knows which legs an earlier process went on without; ``None``: nothing is known of that.
    look_seconds
        How long (s) the others wait for a look of a leg that is late.

    Attributes
    ----------
    moment, since, by_score, windows
        As of :class:`bknb.engine.portfolio_clock.Turns`.
    ended, rests
        Says of each leg that has begun what the clock has ended; the pauses beside the legs.
    """

    def __init__(
        self,
        clock: Clock,
        patience_ms: Sequence[int],
        *,
        longest: int,
        by_score: bool = False,
        silent: SilentLegs | None = None,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self.moment = self.since = 0
        self.by_score = by_score
        self.windows: dict[str, Window] = {}
        self.ended: dict[int, Ended] = {}
        self.legs = [_Leg(each) for each in patience_ms]
        self.rests = Rests(clock)
        self._clock, self._longest, self._silent, self._look_seconds = clock, longest, silent, look_seconds
        self._taken = False  # whether a leg has its turn, or something is done between
        self._holds: int | None = None  # the leg that has it
        self._apart: list[asyncio.Future[None]] = []
        self._sleeper: tuple[int, asyncio.Task[None]] | None = None

    def leg(self, order: int) -> LiveLegTurn:
        """The turns of the leg with this number, from 0 in declared order."""
        return LiveLegTurn(self, order)

    def places(self, risk: Risk, taken: Iterable[OpenPosition] = (), save: SavePlaces | None = None) -> RiskPlaces:
        """The places of a risk profile for all legs, as of :class:`bknb.engine.risk_profile_places.RiskPlaces`."""
        return PlacesOfLegs(risk, self, longest=self._longest, taken=taken, save=save)

    # --- turns --------------------------------------------------------------------------------------------------

    async def turn(self, key: TurnKey) -> bool:
        """Wait for a turn, and return whether it is given: not where something is to be ended first.

        It ends with the next thing that the leg waits for.
        """
        order = key[3]
        leg = self.legs[order]
        leg.has_looked()
        self._comes_to(order, key[0])
        leg.had_turn = True
        leg.given_up = leg.slow = False  # it is here: between this turn and its next sleep nobody goes on without it
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        leg.turn = key, granted
        self._let_go(order)
        self._go_on()
        if granted.done():
            return granted.result()
        try:
            async with leg.lock.given_up():
                await granted
        except BaseException:
            if leg.turn is not None:
                leg.turn = None
                self._go_on()
            raise
        return granted.result()

    async def question(self, key: TurnKey, _: AskInTurn | None) -> tuple[bool, int]:
        """Wait for the turn for a question; the leg asks it itself."""
        return await self.turn(key), key[0]

    def _let_go(self, order: int) -> None:
        if self._holds == order:
            self.release()

    def release(self) -> None:
        """The turn, or what was done between, is over."""
        self._taken, self._holds = False, None
        self._go_on()

    async def take_apart(self) -> None:
        """Wait until no leg has its turn, and have it that way until :meth:`release`."""
        if not self._taken:
            self._taken = True
            return
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._apart.append(waits)
        try:
            await waits
        except asyncio.CancelledError:
            if waits in self._apart:
                self._apart.remove(waits)
            else:
                self.release()
            raise

    def _go_on(self) -> None:
        """Give the next turn, if it can be given; sleep where nothing can be done before something comes."""
        while self._apart and not self._taken:
            waits = self._apart.pop(0)
            if not waits.done():
                self._taken = True
                waits.set_result(None)
        if self._taken:
            return
        waiting = [leg.turn for leg in self.legs if leg.turn is not None]
        if waiting:
            (moment, _, _, order, since), granted = min(waiting, key=lambda turn: turn[0])
            now = self._clock.now()
            if not [leg for leg in self.legs if self._blocks(leg, moment, now)]:
                self.legs[order].turn = None
                self._taken, self._holds = True, order
                self.moment, self.since = moment, since
                if not granted.done():
                    granted.set_result(True)
                return
        self._sleep_all()

    def _blocks(self, leg: _Leg, moment: int, now: int) -> bool:
        """Whether a moment (UTC ms) waits for a leg: it has not come so far, and its patience lasts."""
        if leg.over or leg.turn is not None or leg.next_moment > moment:
            return False
        if leg.sleeps is None and not leg.slow:
            return True  # it looks whether its bar has come
        if leg.given_up:
            return False
        if leg.late_since is None or now < leg.late_since + leg.patience_ms:
            return True
        leg.given_up = True
        if self._silent is not None:
            self._silent.note(self.legs.index(leg), leg.next_moment)
        if not leg.was_told:
            leg.was_told = True
            leg.told(leg.next_moment, now)
        return False

    # --- sleeping -----------------------------------------------------------------------------------------------

    async def sleep(self, order: int, wake: int, next_moment: int, until: SleepUntil) -> None:
        """Let a leg sleep until a moment of the clock; see :meth:`LiveLegTurn.sleep`."""
        leg, now = self.legs[order], self._clock.now()
        leg.has_looked()
        self._comes_to(order, next_moment)
        if next_moment <= now and leg.late_since is None:
            leg.late_since = now - leg.patience_ms if self._was_silent(order, next_moment) else now
        leg.sleeps = sleeps = _Sleep(wake, asyncio.get_running_loop().create_future(), until)
        self._let_go(order)
        self._go_on()
        try:
            await sleeps.woken
        finally:
            leg.sleeps = None

    def _comes_to(self, order: int, moment: int) -> None:
        """A leg works on a moment (UTC ms) next: where it has come further, the others wait for it again."""
        leg = self.legs[order]
        if self._silent is not None and moment > leg.next_moment and leg.had_turn:
            self._silent.note(order, None)
        leg.comes_to(moment)

    def _was_silent(self, order: int, moment: int) -> bool:
        """Whether an earlier process went on without a leg whose bar of a moment (UTC ms) is missing, and none came."""
        since = None if self._silent is None else self._silent.since(order)
        return since is not None and (since == moment or (since < moment and not self.legs[order].had_turn))

    def wake(self, order: int) -> None:
        """Wake a leg, if it sleeps: it works from now on."""
        leg = self.legs[order]
        if leg.sleeps is None:
            return
        if not leg.sleeps.woken.done():
            leg.sleeps.woken.set_result(None)
        leg.sleeps = None
        if leg.late_since is not None and not leg.slow:
            leg.looks = asyncio.get_running_loop().call_later(self._look_seconds, self._looks_too_long, leg)

    def _looks_too_long(self, leg: _Leg) -> None:
        """The exchange of a leg does not answer: the others wait no longer than its patience lasts."""
        leg.looks, leg.slow = None, True
        self._go_on()

    def end_first(self, order: int, when: int) -> None:
        """Have a leg end something at a moment (UTC ms) before it goes on: the others wait for it."""
        leg = self.legs[order]
        if leg.over:
            return
        leg.next_moment = min(leg.next_moment, when)
        if leg.turn is not None:
            (_, granted), leg.turn = leg.turn, None
            if not granted.done():
                granted.set_result(False)
        self.wake(order)

    def over(self, order: int) -> None:
        """A leg is over."""
        leg = self.legs[order]
        leg.over, leg.turn = True, None
        leg.has_looked()
        if all(leg.over for leg in self.legs):
            self.windows.clear()
            self.ended.clear()
            self.since = NEVER  # runs beside it may go on sharing its places: what was given back is free
        self._let_go(order)
        self._go_on()

    def _sleep_all(self) -> None:
        """Sleep until the first leg is to be woken, once none works any more."""
        legs = [leg for leg in self.legs if not leg.over]
        if any(leg.turn is None and leg.sleeps is None and not (leg.given_up and leg.slow) for leg in legs):
            return
        first = min((leg.sleeps for leg in legs if leg.sleeps is not None), key=lambda each: each.wake, default=None)
        if self._sleeper is not None:
            if first is not None and self._sleeper[0] <= first.wake:
                return
            self._sleeper[1].cancel()
            self._sleeper = None
        if first is not None:
            self._sleeper = first.wake, asyncio.get_running_loop().create_task(self._slept(first))

    async def _slept(self, first: _Sleep) -> None:
        try:
            await first.until(first.wake)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 -- for the leg: exit() of a clock ends it
            if not first.woken.done():
                first.woken.set_exception(error)
        self._sleeper, now = None, self._clock.now()
        self.rests.moved()
        for order, leg in enumerate(self.legs):
            if leg.sleeps is not None and leg.sleeps.wake <= now:
                self.wake(order)
        self._go_on()
