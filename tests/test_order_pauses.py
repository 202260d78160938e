"""Pauses of the orders of several signals at once."""

from __future__ import annotations

import asyncio

from bknb.live.order_pauses import Pauses, UnknownAnswers


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


def test_what_a_broker_answers_before_the_next_pause_has_been_made_is_not_counted() -> None:
    answers, a, b = UnknownAnswers(), ("a", 0), ("b", 0)
    assert [answers.count("one", a), answers.count("one", a), answers.count("two", b)] == [1, 1, 1]
    answers.waited({a: 1.0})
    assert [answers.count("one", a), answers.count("one", a), answers.count("two", b)] == [2, 2, 1]
    answers.waited({a: 1.0})
    assert answers.count("one", a) == 2  # the second pause is twice as long, also where events have shortened it
    answers.waited({a: 1.0, b: 1.0})
    assert [answers.count("one", a), answers.count("two", b)] == [3, 2]
    answers.forget("one")
    assert answers.count("one", a) == 1
