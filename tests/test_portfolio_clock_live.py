"""The clock of a live portfolio: who goes next, and who is waited for, leg by leg and moment by moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bknb.live.portfolio_clock import LivePortfolioClock

MINUTE, PATIENCE = 60_000, 5 * 60_000


class Hand:
    """A clock that stands where it is put, and whose sleepers wake when it is."""

    def __init__(self) -> None:
        self.time = 0
        self._waits: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> int:
        return self.time

    async def sleep_until(self, when: int) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits.append((when, woken))
        await woken

    async def go_to(self, when: int) -> None:
        self.time = when
        for wake, woken in self._waits:
            if wake <= when and not woken.done():
                woken.set_result(None)
        await settled()


async def settled() -> None:
    """Everybody has come as far as they come."""
    for _ in range(20):
        await asyncio.sleep(0)


class Legs:
    """Two legs of a portfolio; what they do is noted."""

    def __init__(self) -> None:
        self.hand, self.done = Hand(), []
        self.clock = LivePortfolioClock(self.hand, [PATIENCE] * 2, longest=MINUTE)
        self.told: list[tuple[int, int, int]] = []
        for order, leg in enumerate(self.clock.legs):
            leg.told = lambda since, now, order=order: self.told.append((order, since, now))

    def start(self, name: str, work: Awaitable[object]) -> None:
        async def noted() -> None:
            await work
            self.done.append(name)

        self._tasks = [*getattr(self, "_tasks", []), asyncio.ensure_future(noted())]

    async def sleep(self, order: int, wake: int, next_moment: int) -> None:
        leg = self.clock.legs[order]
        async with leg.lock, leg.lock.given_up():
            await self.clock.sleep(order, wake, next_moment, self.hand.sleep_until)

    async def turn(self, order: int, moment: int) -> None:
        async with self.clock.legs[order].lock:
            await self.clock.turn((moment, 0, 0.0, order, moment))


def played(story: Callable[[Legs], Awaitable[None]]) -> Legs:
    async def begun() -> Legs:
        legs = Legs()
        await story(legs)
        return legs

    return asyncio.run(begun())


async def both_wait_for_a_bar_that_is_late(legs: Legs) -> None:
    await legs.hand.go_to(MINUTE)
    for order in (0, 1):
        legs.start("slept", legs.sleep(order, 2 * MINUTE, MINUTE))
    await settled()
    await legs.hand.go_to(120 * MINUTE)
    assert legs.done == ["slept", "slept"]


def test_one_that_wakes_late_looks_first_before_the_others_go_on_without_it() -> None:
    async def story(legs: Legs) -> None:
        await both_wait_for_a_bar_that_is_late(legs)
        legs.start("second at 1", legs.turn(1, MINUTE))
        await settled()
        assert legs.done[2:] == []  # the first one looks
        legs.start("first at 1", legs.turn(0, MINUTE))
        await settled()
        assert legs.done[2:] == ["first at 1"]

    assert played(story).told == []


def test_one_that_has_not_begun_is_waited_for_however_long_it_takes() -> None:
    """It loads its candles, say, from an exchange that does not answer; nobody has a turn before."""

    async def story(legs: Legs) -> None:
        legs.start("second at 1", legs.turn(1, MINUTE))
        await settled()
        await legs.hand.go_to(MINUTE + 100 * PATIENCE)
        legs.clock.wake(0)
        await settled()
        assert legs.done == []
        legs.start("first at 1", legs.turn(0, MINUTE))
        await settled()
        assert legs.done == ["first at 1"]
        legs.start("first at 2", legs.turn(0, 2 * MINUTE))
        await settled()
        assert legs.done[1:] == ["second at 1"]

    assert played(story).told == []


def test_one_that_looked_and_has_nothing_is_given_up_once_its_patience_is_over_and_that_is_told_once() -> None:
    async def story(legs: Legs) -> None:
        await both_wait_for_a_bar_that_is_late(legs)
        legs.start("second at 1", legs.turn(1, MINUTE))
        legs.start("slept", legs.sleep(0, 121 * MINUTE, MINUTE))
        await settled()
        assert legs.done[2:] == ["second at 1"]
        legs.clock.release()
        legs.start("second at 2", legs.turn(1, 2 * MINUTE))
        await settled()
        assert legs.done[3:] == ["second at 2"]

    assert played(story).told == [(0, MINUTE, 120 * MINUTE)]


def test_one_whose_bar_is_here_and_that_cannot_save_it_is_given_up_as_one_without() -> None:
    """It has its turn at each look, and sleeps again before the same moment: its patience is that of the first time."""

    async def story(legs: Legs) -> None:
        for minute in range(1, 8):
            await legs.hand.go_to(minute * MINUTE)
            legs.start("first", legs.turn(0, MINUTE))
            if minute == 1:
                legs.start("second", legs.turn(1, MINUTE))
            await settled()
            legs.start("slept", legs.sleep(0, (minute + 1) * MINUTE, MINUTE))
            await settled()
            if "second" in legs.done:
                break
        assert minute == 6
        assert legs.done.count("first") == 6

    assert played(story).told == [(0, MINUTE, 6 * MINUTE)]


def test_one_that_was_given_up_is_waited_for_again_once_it_has_its_bar() -> None:
    async def story(legs: Legs) -> None:
        await both_wait_for_a_bar_that_is_late(legs)
        legs.start("second at 1", legs.turn(1, MINUTE))
        legs.start("slept", legs.sleep(0, 121 * MINUTE, MINUTE))
        await settled()
        legs.start("second slept", legs.sleep(1, 121 * MINUTE, 2 * MINUTE))
        await settled()
        await legs.hand.go_to(121 * MINUTE)
        legs.start("first at 1", legs.turn(0, MINUTE))
        legs.start("second at 2", legs.turn(1, 2 * MINUTE))
        await settled()
        assert legs.done[-1] == "first at 1"
        legs.clock.release()  # it asks its strategy, say: what it does at that moment is not over
        await settled()
        assert legs.done[-1] == "first at 1"

    played(story)
