"""Pauses of the orders of several signals at once."""

from __future__ import annotations

import asyncio

from bknb.live.order_pauses import Pauses


def test_each_signal_waits_for_a_time_of_its_own() -> None:
    ends = {seconds: asyncio.Event() for seconds in (1.0, 2.0)}
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await ends[seconds].wait()

    async def play() -> None:
        pauses, wake = Pauses(sleep), asyncio.Event()
        a, b = ("a", 0), ("b", 0)
        assert [pauses.begin(a), pauses.begin(a), pauses.begin(b)] == [1, 2, 1]
        ends[1.0].set()
        await pauses.over(wake)
        assert pauses.waiting == {a}
        wake.set()
        await pauses.over(wake)
        assert pauses.waiting == {a}
        pauses.end(a)
        assert (pauses.waiting, pauses.in_a_row(a), pauses.in_a_row(b)) == (set(), 0, 1)
        pauses.begin(b)
        ends[2.0].set()
        wake.clear()
        await pauses.over(wake)
        assert pauses.waiting == set()
        pauses.begin(a)
        await pauses.close()
        assert pauses.waiting == set()

    asyncio.run(play())
    assert slept == [2.0, 1.0, 2.0]
