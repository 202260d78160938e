"""The look-ahead check and point-in-time series: what they cannot leak, and what is found where they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb

HOUR = 3_600_000
START = 1_704_067_200_000
FRAME = ("2024-01-01", "2024-01-03")
HOURS = np.arange(-20, 24 * 2 + 20) * HOUR + START


def scores(**changes: Any) -> pd.DataFrame:
    """A score an hour, about the move of the hour after it."""
    rng = np.random.default_rng(5)
    return pd.DataFrame({"published_at": HOURS, "score": rng.normal(size=len(HOURS)), **changes})


def entry(ctx: Any, score: float) -> Any:
    if score <= 0:
        return None
    price = ctx.price
    return bknb.Signal(
        position="long",
        price_take_profit=price * (1.01 + score / 100),
        price_stop_loss=price * 0.98,
        minute_estimated_time=60,
    )


def by_score(ctx: Any) -> Any:
    rows = ctx.series("scores", 1)
    return entry(ctx, float(rows.score[-1])) if len(rows) else None


def rows_by_score(candles: Any) -> dict[str, Any]:
    score = bknb.get_series("scores", candles).score
    return {
        "position": score > 0,
        "price_take_profit": candles.close * (1.01 + np.abs(score) / 100),
        "price_stop_loss": candles.close * 0.98,
        "minute_estimated_time": 60,
    }


def checked(strategy: Any, **options: Any) -> Any:
    return bknb.check_lookahead(strategy, exchange="demo", frame=FRAME, interval="1h", moments=5, **options)


@pytest.mark.parametrize("strategy", [by_score, rows_by_score])
def test_a_table_that_is_read_as_it_was_known_is_looked_at_and_leaks_nothing(strategy: Any) -> None:
    bknb.add_series("scores", scores(), delay="10m")
    report = checked(strategy)
    assert report.ok, report
    assert "the series scores" in report.looked_at
    unseen = "whether the numbers in the series scores were published at the times beside them, and not revised since"
    assert unseen in report.cannot_see


@pytest.mark.parametrize("strategy", [by_score, rows_by_score])
def test_a_function_that_overwrites_what_it_said_before_is_found(strategy: Any) -> None:
    def final(since: int, until: int) -> pd.DataFrame:
        """Of each row the last number that was known at the end: two hours later it is another one."""
        table = scores()
        revised = table.published_at + 2 * HOUR <= until
        return table.assign(score=table.score.where(~revised, -table.score))

    bknb.add_series("scores", final)
    report = checked(strategy)
    told = [finding.what for finding in report.findings if finding.kind == "future"]
    ways = 2 if strategy is rows_by_score else 1  # its rows, and its answers
    assert told == ["rows of the series scores that were not known yet, or not so"] * ways
    assert not report.ok


def test_a_function_that_answers_the_same_whenever_it_is_asked_leaks_nothing() -> None:
    asked = []

    def steady(since: int, until: int) -> pd.DataFrame | None:
        asked.append(until)
        table = scores()
        return table[(table.published_at >= since) & (table.published_at <= until)]

    bknb.add_series("scores", steady)
    assert checked(by_score).ok
    assert len(asked) > 5  # as of each moment


def reading(table: pd.DataFrame) -> Any:
    def reads_the_table_itself(ctx: Any) -> Any:
        rows = table[table.published_at <= ctx.when_ms + HOUR]
        return entry(ctx, float(rows.score.iloc[-1]))

    return reads_the_table_itself


def test_the_table_itself_read_beyond_the_moment_is_found() -> None:
    table = scores()
    bknb.add_series("scores", table)
    [found] = checked(reading(table)).findings
    assert (found.kind, found.what) == ("future", "rows of the variable table that were not known yet")


def shifted(candles: Any) -> dict[str, Any]:
    made = rows_by_score(candles)
    return {name: np.roll(column, -1) if np.ndim(column) else column for name, column in made.items()}


def test_rows_that_take_what_was_joined_to_the_next_candle_are_found() -> None:
    bknb.add_series("scores", scores())
    report = checked(shifted)
    assert report.findings[0].kind == "future"
    assert "candle" in report.findings[0].what
