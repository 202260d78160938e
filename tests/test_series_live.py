"""A live run reads point-in-time series as a backtest over its minutes does, and asks a function again and again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import backtest_with_late_decisions, live, told
from worlds import walk

import bknb
from bknb.testing.clocks import SimulatedClock

MINUTES = 60
UNTIL = ORIGIN + MINUTES * MINUTE
ONCE = {"get_candles_retry_count": 1}


def published(seed: int) -> list[dict[str, Any]]:
    """Scores at odd moments, some of them revised later."""
    rng = np.random.default_rng(seed)
    rows = []
    for number, at in enumerate(np.sort(rng.integers(-30, MINUTES, size=40)).tolist()):
        row = {"published_at": ORIGIN + at * MINUTE + 7_000, "symbol": "BTCUSDT", "event_time": f"e{number}"}
        rows.append({**row, "score": float(rng.normal())})
        if rng.random() < 0.4:
            later = ORIGIN + (at + int(rng.integers(1, 20))) * MINUTE
            rows.append({**row, "published_at": later, "score": float(rng.normal())})
    return sorted(rows, key=lambda row: row["published_at"])


def asked_of(rows: list[dict[str, Any]], asked: list[tuple[int, int]]) -> Any:
    """A function that knows what was published, and notes what it was asked."""

    def scores(since: int, until: int) -> list[dict[str, Any]]:
        asked.append((since, until))
        return [row for row in rows if since <= row["published_at"] <= until]

    return scores


def by_score(ctx: Any) -> Any:
    rows = ctx.series("scores", 4)
    total = float(rows.score.sum())
    if len(rows) < 4 or abs(total) < 1:
        return None
    price, sign = ctx.price, 1 if total > 0 else -1
    return {
        "position": "long" if total > 0 else "short",
        "price_take_profit": price * (1 + sign * (0.01 + abs(total) / 1000)),
        "price_stop_loss": price * (1 - sign * 0.01),
        "minute_estimated_time": 3,
    }


def rows_by_score(candles: Any) -> dict[str, Any]:
    score = bknb.get_series("scores", candles).score
    return {
        "position": np.sign(score) * (np.abs(score) > 0.5),
        "price_take_profit": candles.close * (1 + np.sign(score) * (0.01 + np.abs(score) / 1000)),
        "price_stop_loss": candles.close * (1 - np.sign(score) * 0.01),
        "minute_estimated_time": 3,
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", ["get_signal", "get_signals"])
def test_live_equals_backtest_with_a_function_that_is_asked_again(form: str) -> None:
    rows, asked = published(3), list[tuple[int, int]]()
    bknb.add_series("scores", asked_of(rows, asked), delay="2m")
    functions: Any = {form: by_score if form == "get_signal" else rows_by_score}
    strategy = bknb.add_strategy("by score", interval="1m", **functions)
    exchange = source(walk(3))
    result = live(strategy, exchange, start=ORIGIN, until=UNTIL)
    assert result.errors == []
    assert asked[0][0] == 0
    assert len(asked) > 10
    assert all(since == max(0, before - 1440 * MINUTE - 2 * MINUTE) for (_, before), (since, _) in pairwise(asked))
    asked.clear()
    backtest = backtest_with_late_decisions(result, start=ORIGIN, until=UNTIL, strategy=strategy, exchange=exchange)
    assert asked == [(0, UNTIL)]
    assert told(result, before=UNTIL) == told(backtest, before=UNTIL)
    assert len(backtest.closed) > 5
    bknb.add_series("scores", rows, delay="2m")  # and a table of the same rows gives the same
    again = backtest_with_late_decisions(result, start=ORIGIN, until=UNTIL, strategy=strategy, exchange=exchange)
    assert told(again, before=UNTIL) == told(backtest, before=UNTIL)


def test_a_question_whose_function_raises_fails_and_the_next_one_asks_again() -> None:
    rows, asked = published(3), list[tuple[int, int]]()
    scores = asked_of(rows, asked)

    def sometimes(since: int, until: int) -> Any:
        answer = scores(since, until)
        if len(asked) in (3, 4):
            raise ConnectionError("no route")
        return answer

    bknb.add_series("scores", sometimes)
    seen: list[int] = []
    strategy = bknb.add_strategy(
        "counts", interval="1m", get_signal=lambda ctx: seen.append(len(ctx.series("scores", since="30m")))
    )
    result = live(strategy, source(walk(3)), start=ORIGIN, until=ORIGIN + 9 * MINUTE, settings=ONCE)
    [error] = result.errors
    assert (error.kind, error.count) == ("strategy", 2)
    assert "series 'scores': no answer for" in error.message
    assert "ConnectionError: no route" in error.message
    assert asked[4][0] == asked[2][0]  # about what it was asked before, too
    assert len(seen) == len(asked) - 2 > 3


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.slow
def test_a_function_that_never_answers_is_given_up(never: threading.Event) -> None:
    bknb.add_series("scores", lambda since, until: never.wait(60) and None)
    strategy = bknb.add_strategy("waits", interval="5m", get_signal=lambda ctx: ctx.series("scores", 1) and None)
    settings = {**ONCE, "get_candles_timeout_seconds": 1}
    result = live(strategy, source(walk(3)), start=ORIGIN, until=ORIGIN + 4 * MINUTE, settings=settings)
    assert "it did not answer within 1 s" in result.errors[0].message


def test_an_answer_with_other_columns_is_refused_and_an_empty_one_takes_nothing_away() -> None:
    first = [{"published_at": ORIGIN, "score": 1.0, "text": None}]
    answers: list[Any] = [first, [], None, [{"published_at": ORIGIN + MINUTE, "score": 2.0, "text": "a"}],
                          [{"published_at": ORIGIN + 2 * MINUTE, "grade": 2.0}], "nothing"]  # fmt: skip
    bknb.add_series("scores", lambda since, until: answers.pop(0) if answers else [])
    seen: list[Any] = []
    strategy = bknb.add_strategy(
        "notes", interval="1m", get_signal=lambda ctx: seen.append([*ctx.series("scores", 9).score])
    )
    result = live(strategy, source(walk(3)), start=ORIGIN, until=ORIGIN + 8 * MINUTE)
    assert seen[:4] == [[1.0], [1.0], [1.0], [2.0]]  # the newest answer about a time counts
    assert seen[4:] == [[2.0]] * len(seen[4:])
    assert len(seen) > 4
    messages = " ".join(error.message for error in result.errors)
    assert "other columns than the first, or other kinds of values in them: grade, score, text" in messages
    assert "needs a DataFrame, a mapping of columns or a list of mappings, got str" in messages


def test_a_function_that_has_nothing_yet_gives_rows_without_one() -> None:
    bknb.add_series("scores", lambda since, until: [])
    seen: list[Any] = []
    strategy = bknb.add_strategy(
        "notes", interval="1m", get_signal=lambda ctx: seen.append(ctx.series("scores", 9).score.tolist())
    )
    assert live(strategy, source(walk(3)), start=ORIGIN, until=ORIGIN + 2 * MINUTE).errors == []
    assert seen[0] == []


def test_a_table_in_a_live_run_is_told_to_end() -> None:
    bknb.add_series("scores", published(3))
    strategy = bknb.add_strategy("by score", interval="1m", get_signal=by_score)
    result = live(strategy, source(walk(3)), start=ORIGIN, until=ORIGIN + 5 * MINUTE)
    [text] = [text for text in result.warnings if "scores" in text]
    assert "is a table, so the live run never sees a row behind its last" in text
    assert "register a function (since, until)" in text


def scored(ctx: Any) -> Any:
    return {"position": "long" if ctx.series("scores", 1).score[0] > 0 else "short", "minute_estimated_time": 2}


@pytest.mark.slow
def test_a_live_run_is_asked_when_rows_of_a_function_become_known_as_a_backtest_is() -> None:
    end = ORIGIN + 35 * MINUTE
    rows, questions = published(3), list[tuple[int, int]]()
    bknb.add_series("scores", asked_of(rows, questions), delay="2m")
    strategy = bknb.add_strategy("by row", at=bknb.at.any(bknb.at.series("scores"), "00:17 UTC"), get_signal=scored)
    exchange = source(walk(3))
    result = live(strategy, exchange, start=ORIGIN, until=end)
    assert result.errors == []
    assert len(questions) > 20  # as rows come, not once
    back = bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=(ORIGIN, end))
    assert told(result, before=end) == told(back, before=end)
    known = {-(-(row["published_at"] + 2 * MINUTE) // MINUTE) * MINUTE for row in rows}
    opened = {event.signal.scheduled_at for event in result.events if isinstance(event, bknb.Opened)}
    assert opened <= known | {ORIGIN + 17 * MINUTE}
    assert len(opened) > 5


@pytest.mark.slow
def test_rows_that_become_known_within_one_bar_are_one_question_live_as_over_history() -> None:
    end = ORIGIN + 35 * MINUTE
    bknb.add_series("scores", asked_of(published(3), []), delay="2m")
    strategy = bknb.add_strategy("by row", at=bknb.at.series("scores"), get_signal=scored)
    exchange = source(walk(3))
    result = live(strategy, exchange, start=ORIGIN, until=end, base="5m")
    back = bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=(ORIGIN, end), base="5m")
    assert told(result, before=end) == told(back, before=end)
    assert result.missed == back.missed > 10
    assert len(back.trades) > 2


@pytest.mark.slow
def test_a_live_run_by_rows_of_a_series_that_starts_again_goes_on_as_one_that_never_stopped() -> None:
    rows = published(5)
    bknb.add_series("scores", asked_of(rows, []), delay="2m")
    strategy = bknb.add_strategy("by row", at=bknb.at.series("scores"), get_signal=scored)
    exchange = source(walk(5))
    whole = live(strategy, exchange, start=ORIGIN, until=ORIGIN + 35 * MINUTE)
    store = bknb.stores.memory()
    for begin, end in pairwise((0, 7, 19, 20, 35)):
        task = bknb.Live.background(
            "BTCUSDT", strategy=strategy, exchange=exchange, store=store,
            clock=SimulatedClock(ORIGIN + begin * MINUTE), until=ORIGIN + end * MINUTE,
        )  # fmt: skip
        parts = task.result(timeout=60)
    assert parts.errors == []
    pd.testing.assert_frame_equal(parts.trades, whole.trades)  # those of the lives before among them
    assert len(whole.trades) > 5


@pytest.mark.slow
def test_a_moment_whose_series_could_not_be_asked_is_told_and_missed() -> None:
    rows, questions = published(3), list[tuple[int, int]]()
    scores = asked_of(rows, questions)

    def sometimes(since: int, until: int) -> Any:
        answer = scores(since, until)
        if len(questions) in (5, 6, 7, 8, 9):
            raise ConnectionError("no route")
        return answer

    bknb.add_series("scores", sometimes, delay="2m")
    strategy = bknb.add_strategy("by row", at=bknb.at.series("scores"), get_signal=scored)
    result = live(strategy, source(walk(3)), start=ORIGIN, until=ORIGIN + 25 * MINUTE, settings=ONCE)
    assert [failure.kind for failure in result.errors] == ["strategy"]
    assert "no route" in result.errors[0].message
    assert result.missed > 0
    assert len(result.trades) > 1
