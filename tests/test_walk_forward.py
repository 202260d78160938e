"""Walk-forward never looks ahead of its own choices."""

from __future__ import annotations

import asyncio
import math
import re
from itertools import pairwise

import numpy as np
import pytest
from following import follow, in_rows

import bknb
from bknb.metrics.account_definitions import account_text
from bknb.research.walk_forward_report import combinations_of
from bknb.research.walk_forward_windows import span_ms, stretches

DAY = 86_400_000
FRAME = ("2024-01-01", "2024-01-25")
WALK = {"exchange": "demo", "frame": FRAME, "train": "8d", "test": "4d", "metric": "total_pnl", "interval": "1h"}


# -- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize(("gap", "warm_up"), [(0, 0), (3, 0), (2, 11)])
def test_tests_follow_one_another_and_nothing_is_chosen_on_them(anchored, gap, warm_up):
    steps = stretches(100, 500, train_ms=60, test_ms=30, gap_ms=gap, warm_up_ms=warm_up, anchored=anchored)
    assert len(steps) > 5
    for step in steps:
        assert step.train_start >= 100 + warm_up
        assert step.train_end + gap == step.test_start
        assert step.test_end - step.test_start == 30
        assert step.test_end <= 500
        assert step.train_end - step.train_start == 60 or anchored
    for before, after in pairwise(steps):
        assert before.test_end == after.test_start
        assert after.train_end <= after.test_start
    assert {step.train_start for step in steps} == {100 + warm_up} or not anchored
    assert steps[-1].test_end + 30 > 500


@pytest.mark.parametrize(("given", "ms"), [("90m", 5_400_000), ("1.5d", DAY * 3 // 2), ("2w", 14 * DAY), (3, 3 * DAY)])
def test_lengths_of_time(given, ms):
    assert span_ms(given, "train") == ms


@pytest.mark.parametrize("wrong", ["d", "soon", None, True, "3y"])
def test_what_is_no_length_of_time_is_refused(wrong):
    with pytest.raises(bknb.UsageError, match="length of time such as '30d'"):
        span_ms(wrong, "train")


def test_sets_of_a_grid_and_as_listed():
    assert len(combinations_of({"a": range(3), "b": (1, 2)})) == 6
    assert combinations_of([{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]
    for wrong in ({"a": 5}, {"a": "text"}, {"a": []}, []):
        with pytest.raises(bknb.UsageError):
            combinations_of(wrong)


# -- the walk ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_fold_is_two_plain_backtests():
    walk = bknb.walk_forward(follow, {"hours": [4, 12, 24]}, **WALK)
    assert len(walk.folds) == 4
    for fold in walk.folds:
        step = fold.stretch
        totals = []
        for hours in (4, 12, 24):
            alone = bknb.backtest(
                "BTCUSDT",
                strategy=lambda ctx, hours=hours: follow(ctx, hours),
                interval="1h",
                exchange="demo",
                frame=(step.train_start, step.train_end - 120_000),
            )
            totals.append(alone.stats["total_pnl"])
        assert fold.params == {"hours": (4, 12, 24)[int(np.argmax(totals))]}
        assert fold.train_value == max(totals)
        tested = fold.result.trades
        assert (tested["pending_at"].dt.as_unit("ms").astype("int64") >= step.test_start).all()
        assert (tested["closed_at"].dt.as_unit("ms").astype("int64") < step.test_end).all()
    assert len(walk.trades) == sum(len(fold.result.trades) for fold in walk.folds)
    assert walk.trades["closed_at"].is_monotonic_increasing
    assert walk.stats["n"] == len(walk.trades)


@pytest.mark.slow
def test_the_compiled_loop_chooses_what_the_event_engine_chooses():
    pytest.importorskip("numba")
    bknb.add_risk("anything goes", validations=[])
    bknb.add_strategy("guarded", interval="1h", get_signals=in_rows, risk="anything goes")
    compiled = bknb.walk_forward(in_rows, {"hours": [4, 12, 24]}, **WALK)
    by_events = bknb.walk_forward("guarded", {"hours": [4, 12, 24]}, **WALK)
    assert [fold.params for fold in compiled.folds] == [fold.params for fold in by_events.folds]
    for one, other in zip(compiled.folds, by_events.folds, strict=True):
        assert one.train_value == pytest.approx(other.train_value)
        assert one.test_value == pytest.approx(other.test_value)


@pytest.mark.slow
def test_what_comes_later_changes_no_earlier_choice():
    start = 1_704_067_200_000
    tape = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", start - 2 * DAY, 26 * 1440 + 10)).to_pandas()
    changed = tape.copy()
    cut = (2 + 12) * 1440  # the end of the first test
    changed.iloc[cut:, :4] *= np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.002, len(tape) - cut)))[:, None]
    walks = [
        bknb.walk_forward(follow, {"hours": [4, 12, 24]}, **WALK | {"exchange": bknb.exchanges.from_frame(table)})
        for table in (tape, changed)
    ]
    first, second = (walk.folds for walk in walks)
    assert first[0].params == second[0].params
    assert first[0].test_value == second[0].test_value
    assert first[1].params == second[1].params or first[1].stretch.train_end > start + 12 * DAY
    assert first[-1].test_value != second[-1].test_value


def test_a_figure_nobody_has_chooses_nothing():
    walk = bknb.walk_forward(lambda ctx, hours=4: None, {"hours": [4, 8]}, **WALK | {"metric": "sharpe_ratio"})
    assert [fold.params for fold in walk.folds] == [None] * 4
    assert walk.stats["n"] == 0
    assert walk.efficiency is None
    assert "none had the figure" in walk.report()


@pytest.mark.slow
def test_figures_where_lower_is_better_choose_the_lowest():
    calm = bknb.walk_forward(follow, {"hours": [4, 12, 24]}, **WALK | {"metric": "max_drawdown"})
    for fold in calm.folds:
        assert fold.train_value == fold.train["max_drawdown"]
    rough = [fold.train["max_drawdown"] for fold in bknb.walk_forward(follow, {"hours": [4, 12, 24]}, **WALK).folds]
    assert all(fold.train_value <= other + 1e-12 for fold, other in zip(calm.folds, rough, strict=True))


def test_the_walk_in_every_form():
    walk = bknb.walk_forward(follow, {"hours": [4, 12]}, anchored=True, gap="12h", warm_up="1d", **WALK)
    table = walk.to_pandas()
    assert table["train_start"].nunique() == 1
    assert str(table["train_start"].iloc[0]) == "2024-01-02 00:00:00+00:00"
    assert ((table["test_start"] - table["train_end"]).dt.total_seconds() == 12 * 3600).all()
    assert set(table["params.hours"]) <= {4, 12}
    text = walk.report()
    assert text.startswith("# Walk-forward: follow on BTCUSDT")
    assert "anchored" in text
    assert "<table" in walk._repr_html_()
    assert "Efficiency" in repr(walk)
    assert bknb.belief(walk).deflated.observations == len(walk.trades)


@pytest.mark.slow
def test_a_walk_tells_the_return_of_the_account_and_why_a_figure_is_missing():
    walk = bknb.walk_forward(follow, {"hours": [4, 12]}, **WALK)
    end = math.prod(fold.result.account["end"] for fold in walk.folds)
    own = account_text("total_return", (end - 1) * 100)
    assert f"Total return: {own}" in repr(walk)
    for text in (walk.report(), walk._repr_html_()):
        assert own in text
        assert "Total return" in text
        for fold in walk.folds:
            assert fold.result.account.text("total_return") in text
    never = bknb.walk_forward(lambda: None, [{}], **WALK | {"metric": "sharpe_ratio", "interval": "1h"})
    traded = bknb.walk_forward(follow, {"hours": [4, 12]}, **WALK | {"metric": "sortino_ratio"})
    for each in (walk, never, traded):
        for text in (each.report(), repr(each), each._repr_html_()):
            assert not re.search(r"N/A(?!: [a-z0-9])", text)
    assert "N/A: no set had the figure" in never.report()
    assert "Total return: N/A: nothing was tested" in repr(never)


def raises_late(ctx, hours=4):
    """Raises with ``hours=8``, and from 13 January on, in the second test, with every number."""
    if hours == 8 or ctx.when.day >= 13:
        raise ZeroDivisionError("<late>")
    return follow(ctx, hours)


def raises_in_rows(candles, hours=4):
    if hours == 8:
        raise ZeroDivisionError("<late>")
    return in_rows(candles, hours)


@pytest.mark.slow
def test_a_walk_warns_of_what_failed_where_it_chose_and_in_tests():
    walk = bknb.walk_forward(raises_late, {"hours": [4, 8]}, **WALK)
    (chosen,) = [text for text in walk.warnings if text.startswith("choosing: hours=8: ZeroDivisionError: <late> (")]
    (tested,) = [text for text in walk.warnings if text.startswith("test: ZeroDivisionError: <late> (")]
    assert chosen.endswith(" (folds 0, 1, 2, 3)")
    assert tested.endswith(" (folds 1, 2)")  # nothing could be chosen for the last
    assert tested in repr(walk)
    assert "## Warnings" in walk.report()
    for text in (walk.report(), walk._repr_html_()):
        assert "&lt;late" in text
    calm = bknb.walk_forward(follow, {"hours": [4]}, **WALK)
    assert calm.warnings == ()
    assert "Warnings" not in calm.report()


def test_a_set_that_fails_in_the_compiled_loop_is_named():
    walk = bknb.walk_forward(raises_in_rows, {"hours": [4, 8]}, **WALK)
    (said,) = walk.warnings
    assert said.startswith("choosing: hours=8 failed: ")
    assert "ZeroDivisionError: <late>" in said
    assert said.endswith("(folds 0, 1, 2, 3)")


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({"hour": [4]}, {}, "did you mean 'hours'"),
        ({"hours": [4]}, {"train": "60d"}, "24 days long; warm-up, train, gap and test need 64"),
        ({"hours": [4]}, {"metric": "sharp"}, "figure"),
        ({"hours": [4]}, {"test": "0d"}, "longer than nothing"),
    ],
)
def test_a_walk_that_cannot_be_is_refused(params, options, message):
    with pytest.raises(bknb.UsageError, match=message):
        bknb.walk_forward(follow, params, **WALK | options)


def hourly(ctx, near=0):
    """A trade an hour, more than 365 a year; with ``near`` its target lies within the costs at every other hour."""
    up = 1.001 if near and ctx.when.hour % 2 else 1.01
    return bknb.Signal(
        position="long", price_take_profit=ctx.price * up, price_stop_loss=ctx.price * 0.99, minute_estimated_time=30
    )


@pytest.mark.slow
def test_the_account_of_a_walk_goes_through_all_tests_and_knows_no_most_trades_a_year():
    walk = bknb.walk_forward(hourly, {"near": [0]}, **WALK)
    returns = np.concatenate([fold.result.returns("1D").to_numpy() for fold in walk.folds])
    assert walk.stats["annualized_sharpe_ratio"] is None
    assert walk.account["end"] == pytest.approx(math.prod(fold.result.account["end"] for fold in walk.folds))
    assert walk.account["frame_days"] == pytest.approx(16)
    assert walk.account["positions"] == len(walk.trades)
    assert len(returns) == 16
    assert walk.account["sharpe"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(365))
    for text in (repr(walk), walk.report(), walk._repr_html_()):
        assert walk.account.text("sharpe") in text
        assert "365 trades a year" not in text


@pytest.mark.slow
def test_a_walk_names_what_was_refused_in_its_tests_beside_its_headline():
    walk = bknb.walk_forward(hourly, {"near": [1]}, **WALK)
    rejected = sum(len(fold.result.rejected) for fold in walk.folds)
    assert rejected > 100
    for text in (repr(walk), walk.report(), walk._repr_html_()):
        assert "Rejected signals" in text
        assert (
            f"{rejected:,}: {rejected:,} x take_profit_costs (first: at price_take_profit the trade would make" in text
        )
        assert text.index("Rejected signals") < text.index("2024-01-09 00:00")
    assert "Rejected" not in bknb.walk_forward(hourly, {"near": [0]}, **WALK).report()
