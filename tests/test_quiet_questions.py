"""Questions of which nothing comes are asked one after the other, at the moments of all others."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scenarios import MINUTE, ORIGIN, source
from worlds import walk

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.questions import Questions, moments_from
from bknb.events import subjects
from bknb.events.subject import drain
from bknb.market.candles import Candles
from bknb.market.candles_of_one_symbol import Series

COUNT = 800  # questions of a run, which tells 200 times how far it is
SPANS = st.sampled_from([1, 2, 3, 5, 15, 60])


@given(first=st.integers(0, 130), start=st.integers(0, 200), step=SPANS, slot=SPANS, hole=st.sampled_from([100, 700]))
@example(first=0, start=0, step=60, slot=15, hole=700)
def test_they_are_asked_at_the_moments_that_follow_each_other(
    first: int, start: int, step: int, slot: int, hole: int
) -> None:
    opens = np.delete(np.arange(first, first + 600), slice(hole, hole + 3)) * MINUTE
    columns = dict.fromkeys(("open", "high", "low", "close", "volume"), np.ones(len(opens)))
    series = Series(Candles.from_columns(timestamp=opens, **columns), step=MINUTE, since=0, until=900 * MINUTE)
    spans = {"step_ms": step * MINUTE, "slot_ms": slot * MINUTE}
    questions = Questions(series, start=start * MINUTE, sessions=None, count=5, **spans)
    moment = questions.first(start * MINUTE)
    while moment is not None:
        following = questions.next(after=moment, asked=moment)
        assert list(islice(moments_from(questions, moment), 2)) == [each for each in (moment, following) if each]
        moment = following


def asked_of(answer: Any, **options: Any) -> tuple[BacktestRun, list[int]]:
    """A run whose strategy answers what ``answer`` does of the run and the number of a question, and its moments."""
    asked: list[int] = []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        return answer(run, len(asked), ctx)

    frame = ORIGIN, ORIGIN + COUNT * MINUTE
    exchange = source(walk(3, length=COUNT))
    plan = plan_backtest("BTCUSDT", strategy=get_signal, exchange=exchange, frame=frame, interval="1m")
    run = BacktestRun(plan, **options)
    asyncio.run(run.through())
    return run, asked


def test_a_run_that_is_stopped_in_one_asks_no_further() -> None:
    run, asked = asked_of(lambda run, number, _ctx: run.stop() if number == 3 else None)
    assert len(asked) == 3
    assert run.stopped


def test_only_a_run_that_is_neither_paused_nor_stopped_asks_on() -> None:
    run, _ = asked_of(lambda *_: None)
    found = []
    for change in (run.pause, run.resume, run.stop, run.resume):
        change()
        found.append(run.asks_on)
    assert found == [False, True, False, False]


def test_one_that_raises_is_counted_at_its_moment_and_the_next_is_asked() -> None:
    run, asked = asked_of(lambda _run, number, _ctx: 1 / 0 if number in (3, 8) else None)
    (failure,) = run.records.failures
    assert (failure.kind, failure.count, failure.first_at, failure.last_at) == ("strategy", 2, asked[2], asked[7])
    assert len(asked) == COUNT


def test_the_memo_is_kept_from_one_to_the_next() -> None:
    def answer(_run: BacktestRun, number: int, ctx: Any) -> None:
        assert ctx.memo.get("asked", 0) == number - 1
        ctx.memo["asked"] = number

    run, asked = asked_of(answer)
    assert not run.records.failures
    assert [when for when, _, _ in run.records.memos] == asked


@pytest.mark.parametrize("listens", [False, True])
def test_they_are_the_same_where_the_time_of_each_is_measured(listens: bool) -> None:  # noqa: FBT001 -- a case
    heard: list[Any] = []
    if listens:
        bknb.listen_performance(heard.append)
    _, asked = asked_of(lambda *_: None)
    assert drain([subjects.performance], timeout=20)
    assert asked == [ORIGIN + minute * MINUTE for minute in range(COUNT)]
    assert sum(each.metric == "backtest_timeframe" for each in heard) == (COUNT if listens else 0)
