"""Belief on simulated data: rejection rates on noise, detection of skill, and coverage of intervals."""

from __future__ import annotations

import re
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from following import follow, in_rows
from quick import first_quick

import bknb
from bknb.research.bootstrap import MAIN, block_length, bootstrap, resample
from bknb.research.deflated_sharpe import deflated_sharpe_ratio, effective_trials
from bknb.research.overfitting_probability import overfitting

SEARCHES = 400


def best_of_noise(trials: int, rng: np.random.Generator, *, days: int = 250) -> list:
    found = []
    for _ in range(SEARCHES):
        table = rng.standard_t(6, size=(trials, days)) if trials < 50 else rng.normal(size=(trials, days))
        ratios = table.mean(axis=1) / table.std(axis=1, ddof=1)
        found.append(deflated_sharpe_ratio(table[ratios.argmax()], trials=ratios if trials > 1 else 1))
    return found


@pytest.mark.parametrize("trials", first_quick([1, 10, 100]))
def test_the_best_of_pure_noise_is_called_more_in_one_of_twenty_searches_at_most(trials):
    found = np.array([each.p_value for each in best_of_noise(trials, np.random.default_rng(trials))])
    assert 0.01 < (found < 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / SEARCHES)
    assert (found < 0.5).mean() > 0.35  # and it is not silent


@pytest.mark.slow
def test_the_published_ratio_gathers_around_one_half_when_many_were_tried():
    found = [each.deflated for each in best_of_noise(100, np.random.default_rng(5))]
    assert abs(np.mean(found) - 0.5) < 0.03
    assert max(found) < 0.999
    assert np.mean(np.array(found) > 0.95) < 0.01  # one in twenty would be uniform: it is stricter


@pytest.mark.slow
def test_without_the_number_of_trials_noise_has_a_high_ratio():
    found = best_of_noise(100, np.random.default_rng(6))
    assert np.mean([each.probabilistic > 0.95 for each in found]) > 0.9


def test_a_high_sharpe_ratio_stays_significant_after_deflation():
    rng = np.random.default_rng(7)
    table = rng.normal(size=(100, 500))
    table[13] += 0.4
    ratios = table.mean(axis=1) / table.std(axis=1, ddof=1)
    found = deflated_sharpe_ratio(table[ratios.argmax()], trials=ratios)
    assert ratios.argmax() == 13
    assert found.p_value < 0.001
    assert found.deflated > 0.99


def test_too_few_and_equal_results_have_no_answer():
    for results in ([1.0] * 9, [0.5] * 40, []):
        found = deflated_sharpe_ratio(results, trials=5)
        figures = (found.sharpe_ratio, found.probabilistic, found.deflated, found.p_value, found.expected_maximum)
        assert figures == (None,) * 5


@pytest.mark.parametrize("wrong", [0, -3, float("nan"), True, {"many"}])
def test_a_number_of_trials_that_cannot_be_is_refused(wrong):
    with pytest.raises(bknb.UsageError, match="trials"):
        deflated_sharpe_ratio(np.arange(20.0), trials=wrong)


def test_trials_that_resemble_each_other_count_for_less():
    rng = np.random.default_rng(8)
    common, own = rng.normal(size=(400, 1)), rng.normal(size=(400, 40))
    alone, half = effective_trials(own), effective_trials(common + own)
    assert alone > 38
    assert half == pytest.approx(0.5 + 0.5 * 40, abs=2)
    assert effective_trials(np.zeros((10, 3))) == 1


def test_overfitting_is_one_half_for_useless_strategies_and_none_when_one_is_better():
    rng = np.random.default_rng(9)
    useless = [overfitting(rng.normal(size=(480, 60)), blocks=10) for _ in range(60)]
    assert abs(np.mean([each.probability for each in useless]) - 0.5) < 0.06
    table = rng.normal(size=(480, 60))
    table[:, 11] += 0.35
    better = overfitting(table, blocks=10)
    assert better.probability < 0.02
    assert better.loss < 0.02
    assert np.mean([each.slope for each in useless]) < 0  # choosing the best of noise leaves the worse rest


def test_equal_strategies_share_their_ranks():
    rng = np.random.default_rng(10)
    twins = np.repeat(rng.normal(size=(320, 1)), 7, axis=1)
    assert overfitting(twins, blocks=8).probability == 0.5


def test_splits_are_worked_off_in_parts(monkeypatch):
    from bknb.research import overfitting_probability

    table = np.random.default_rng(11).normal(size=(160, 30))
    whole = overfitting(table, blocks=8)
    monkeypatch.setattr(overfitting_probability, "_AT_ONCE", 100)
    parts = overfitting(table, blocks=8)
    np.testing.assert_allclose(parts.logits, whole.logits)
    assert len(parts.logits) == 70


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (np.zeros((100, 1)), {}, "two strategies"),
        (np.zeros((10, 3)), {}, "too few"),
        (np.zeros((100, 3)), {"blocks": 7}, "even"),
        (np.zeros((100, 3)), {"figure": "luck"}, "figure"),
    ],
)
def test_what_cannot_be_split_is_refused(table, options, message):
    with pytest.raises(bknb.UsageError, match=message):
        overfitting(table, **options)


TRUTH = {"avg_pnl": 0.2, "median_pnl": 0.2, "sharpe_ratio": 0.2, "win_rate": 100 * NormalDist().cdf(0.2)}
FIGURES = {name: MAIN[name] for name in TRUTH}


def coverage(draw, *, method="stationary", level=0.9, times=250):
    inside = dict.fromkeys(TRUTH, 0)
    for seed in range(times):
        found = bootstrap(draw(), seed=seed, level=level, resamples=300, figures=FIGURES, method=method)
        for name, truth in TRUTH.items():
            inside[name] += found[name].low <= truth <= found[name].high
    return {name: count / times for name, count in inside.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "count"), [("stationary", 40), ("stationary", 150), ("circular", 150)])
def test_intervals_cover_the_truth_as_often_as_they_claim(method, count):
    rng = np.random.default_rng(count)
    for name, share in coverage(lambda: rng.normal(0.2, 1.0, size=count), method=method).items():
        assert share == pytest.approx(0.9, abs=0.055), name  # three standard errors of 250 tries


def memory(rng: np.random.Generator, count: int, keep: float) -> np.ndarray:
    steps = rng.normal(size=count + 50) * np.sqrt(1 - keep**2)
    for at in range(1, len(steps)):
        steps[at] += keep * steps[at - 1]
    return steps[50:] + 0.2


@pytest.mark.slow
def test_blocks_preserve_autocorrelation_that_single_draws_lose():
    rng = np.random.default_rng(12)
    samples = [memory(rng, 300, 0.5) for _ in range(200)]
    inside = {None: 0, 1.0: 0}
    for seed, sample in enumerate(samples):
        for block in inside:
            mean = bootstrap(sample, seed=seed, resamples=300, figures={"avg_pnl": MAIN["avg_pnl"]}, block=block)
            inside[block] += mean["avg_pnl"].low <= 0.2 <= mean["avg_pnl"].high
    assert inside[None] / 200 > 0.8
    assert inside[1.0] / 200 < 0.75
    assert np.mean([block_length(sample) for sample in samples]) > 4


@pytest.mark.parametrize("method", ["stationary", "circular"])
def test_every_observation_is_drawn_equally_often_and_blocks_are_as_long_as_asked(method):
    rows = resample(50, resamples=4000, block=5, method=method, rng=np.random.default_rng(13))
    assert rows.shape == (4000, 50)
    share = np.bincount(rows.ravel(), minlength=50) / rows.size
    np.testing.assert_allclose(share, 1 / 50, rtol=0.1)
    follows = (np.diff(rows, axis=1) % 50 == 1).mean()
    assert follows == pytest.approx(0.8 + 0.2 / 50, abs=0.02)


def test_the_seed_decides_and_the_batch_size_does_not(monkeypatch):
    from bknb.research import bootstrap as module

    trades = np.random.default_rng(14).normal(size=80)
    assert bootstrap(trades, seed=1) == bootstrap(trades, seed=1)
    assert bootstrap(trades, seed=1) != bootstrap(trades, seed=2)
    monkeypatch.setattr(module, "_AT_ONCE", 4000)
    assert len(bootstrap(trades, seed=1)) == len(MAIN)


def test_the_figures_of_intervals_are_those_of_the_statistics():
    rng = np.random.default_rng(15)
    trades = [
        {"pending_at": at * 60_000, "closed_at": (at + 1) * 60_000, "pnl_percentage": pnl}
        for at, pnl in enumerate(rng.normal(0.1, 1.0, size=60).tolist(), start=1)
    ]
    stats = bknb.statistics(trades)
    found = bootstrap([trade["pnl_percentage"] for trade in trades], seed=1, resamples=100)
    for name in MAIN:
        assert found[name].value == pytest.approx(stats[name]), name
    assert list(found.to_pandas().index) == list(MAIN)


def test_figures_a_sample_cannot_have_are_missing():
    few = bootstrap([1.0, 2.0], seed=1)
    assert (few["avg_pnl"].value, few["avg_pnl"].low) == (None, None)
    won = bootstrap([0.5] * 30, seed=1)
    assert won["profit_factor"].low is None
    assert won["avg_pnl"].low == won["avg_pnl"].high == 0.5
    with pytest.raises(bknb.UnknownName, match="avg_pnl"):
        won["avg_pn"]


# -- given a result, a comparison, a sweep ----------------------------------------------------------------------------

FRAME = ("2024-01-01", "2024-01-25")


def test_belief_of_a_result_equals_belief_of_its_trades():
    result = bknb.backtest("BTCUSDT", strategy=follow, exchange="demo", frame=FRAME, interval="1h")
    alone = bknb.belief(result)
    assert alone.deflated.observations == len(result.trades)
    assert alone.deflated.sharpe_ratio == pytest.approx(result.stats["sharpe_ratio"])
    assert alone.intervals["total_pnl"].value == pytest.approx(result.stats["total_pnl"])
    assert bknb.belief(result.trades).deflated == alone.deflated
    assert bknb.belief(result, trials=500).deflated.p_value >= alone.deflated.p_value
    assert bknb.belief(result, seed=3).intervals == bknb.belief(result, seed=3).intervals
    text = alone.report()
    assert "Politis and Romano" in text
    assert "<table" in alone._repr_html_()
    with pytest.raises(bknb.UsageError, match="pnl_percentage"):
        bknb.belief(result.equity.to_frame())


@pytest.mark.slow
def test_belief_counts_a_comparison_and_a_sweep():
    frame = ("2024-01-01", "2024-02-20")
    names = []
    for hours in (4, 12, 48):
        names.append(f"follow-{hours}")
        bknb.add_strategy(names[-1], interval="1h", get_signal=follow, params={"hours": hours})
    compared = bknb.walker("BTCUSDT", exchange="demo", frame=frame, strategies=names)
    found = bknb.belief(compared[compared.best.strategy], trials=compared)
    assert found.deflated.trials == 3
    assert found.overfitting.strategies == 3
    swept = bknb.sweep(
        in_rows, params={"hours": [4, 8, 12, 24]}, symbol="BTCUSDT", exchange="demo", frame=frame, interval="1h"
    )
    found = bknb.belief(swept.trades(), trials=swept)
    assert swept.trials == found.deflated.trials == 7  # the three of the comparison were tried on these data too
    assert found.overfitting.strategies == 4
    assert "by luck alone the best of 7" in found.verdict


@pytest.mark.slow
def test_combinations_that_failed_are_no_strategies_of_the_overfitting_and_that_is_said():
    def get_signals(candles, up=1.02):
        if up > 1.5:
            raise ZeroDivisionError("too far")
        return {
            "position": 1,
            "price_take_profit": candles.close * up,
            "price_stop_loss": candles.close * 0.98,
            "minute_estimated_time": 1440,
        }

    swept = bknb.sweep(
        get_signals,
        params={"up": [1.02, 1.03, 1.6, 1.7]},
        symbol="BTCUSDT",
        exchange="demo",
        frame=("2024-01-01", "2024-02-20"),
        interval="1d",
        executor="inline",
    )
    found = bknb.belief(np.random.default_rng(1).normal(size=60), trials=swept, resamples=100)
    assert found.overfitting.strategies == 2
    assert found.failed == 2
    assert "(2 combinations that failed are left out)" in found.report()


def test_results_without_a_trade_are_too_few():
    nothing = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, interval="1d", exchange="demo", frame=("2024-01-01", "2024-01-05")
    )
    for given in (nothing, [], [float("nan")] * 40):
        found = bknb.belief(given)
        assert found.verdict.startswith("too few to tell: 0 results")
        assert "too few to tell" in found.report()


def test_results_that_are_no_finite_numbers_are_counted():
    found = bknb.belief([1.0, -1.0, float("nan"), None, float("inf")] * 20)
    assert (found.left_out, found.deflated.observations) == (60, 40)
    assert "Trades: 40 (60 without a finite result are left out)" in repr(found)


def test_a_losing_result_is_not_called_luck():
    verdict = bknb.belief(np.random.default_rng(2).normal(-0.5, 1.0, 100)).verdict
    assert "may well be luck" not in verdict
    assert verdict.endswith("the results lose on average, there is no edge to explain")


def test_the_compounded_account_comes_before_the_sum():
    found = bknb.belief([10.0, -10.0] * 20)
    assert found.total_return == pytest.approx((0.99**20 - 1) * 100)
    shown = repr(found)
    assert "Total return, compounded: -18.21 %" in shown
    assert shown.index("Total return") < shown.index("Sum of results")


def test_nothing_is_compounded_where_positions_were_added_to():
    trades = pd.DataFrame({"pnl_percentage": [10.0, -10.0] * 20, "largest_cost": [1.0, 1.5] * 20})
    found = bknb.belief(trades)
    assert found.total_return is None
    assert "Total return, compounded: N/A: adds and places need a capital" in repr(found)
    assert {"equity_final", "max_drawdown"} == set(MAIN) - {row.figure for row in found.intervals.rows}
    assert bknb.belief(trades.assign(largest_cost=1.0)).total_return == pytest.approx((0.99**20 - 1) * 100)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": "a"}, "level must be between 0 and 1, such as 0.9, got 'a'"),
        ({"block": "a"}, "block must be at least 1 observation, got 'a'"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"seed": 1.5}, "seed must be a whole number of at least 0, got 1.5"),
        ({"seed": "a"}, "seed must be a whole number of at least 0, got 'a'"),
        ({"resamples": 150.5}, "resamples must be a whole number of at least 100, got 150.5"),
        ({"trials": 1.5}, "trials must be a whole number, or the Sharpe ratios of all trials, got 1.5"),
        ({"trials": "abc"}, "trials must be a number, or the Sharpe ratios of all trials, got 'abc'"),
        ({"trials": ["a", "b"]}, "the Sharpe ratios of trials must be a row of numbers, got ['a', 'b']"),
        ({"trials": np.float32(1.5)}, "trials must be a whole number, or the Sharpe ratios of all trials, got"),
        ({"trials": np.int64(0)}, "trials must be a number of at least 1, or the Sharpe ratios of all trials, got 0"),
        ({"resamples": np.int64(5)}, "resamples must be a whole number of at least 100, got"),
        ({"trials": []}, "each a number; got none"),
        ({"trials": [float("nan"), 1.0]}, "each a number; got 1 of 2 that are none"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, said):
    with pytest.raises(bknb.UsageError, match=re.escape(said)):
        bknb.belief(np.random.default_rng(1).normal(size=60), **options)


def test_what_is_no_single_result_is_refused():
    with pytest.raises(bknb.UsageError, match=r"results must be numbers of at most 1e\+50, got 1e\+308"):
        bknb.belief([1e308, -1e308] * 30)
    with pytest.raises(bknb.UsageError, match=r"the Sharpe ratios of trials must be numbers of at most 1e\+50"):
        bknb.belief([1.0, -1.0] * 30, trials=[0.1, 1e60])


@pytest.mark.slow
def test_a_whole_search_is_no_result():
    def get_signals(candles, up=1.02):
        return {"position": candles.close > 0, "price_take_profit": candles.close * up,
                "price_stop_loss": candles.close * 0.99, "minute_estimated_time": 240}  # fmt: skip

    where = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-05")}
    swept = bknb.sweep(
        get_signals, params={"up": [1.02, 1.03]}, symbol="BTCUSDT", interval="4h", metric="total_pnl", **where
    )
    with pytest.raises(
        bknb.UsageError, match=r"got a sweep\npass its best run: bknb.belief\(sweep.run\(\), trials=sweep\)"
    ):
        bknb.belief(swept)
    assert bknb.belief(swept.run(), trials=swept).deflated.trials >= 2
    bknb.add_strategy("one", interval="4h", get_signals=get_signals)
    compared = bknb.walker("BTCUSDT", strategies=["one"], **where)
    with pytest.raises(bknb.UsageError, match="belief judges one result, got a comparison"):
        bknb.belief(compared)


def test_numbers_of_numpy_are_numbers():
    trades = np.random.default_rng(1).normal(0.2, 1.0, size=200)
    plain = bknb.belief(trades, trials=500, resamples=150, block=2, seed=3, level=0.5)
    same = bknb.belief(
        trades,
        trials=np.int64(500),
        resamples=np.int32(150),
        block=np.int64(2),
        seed=np.uint8(3),
        level=np.float32(0.5),
    )
    assert repr(plain) == repr(same)
    assert repr(bknb.belief(trades, trials=np.float32(500))) == repr(bknb.belief(trades, trials=500))


@pytest.mark.parametrize("name", ["entries", "trial_sharpes", "trades", "tries", "strategy", "returns"])
def test_a_table_of_trades_may_have_any_other_column(name):
    table = pd.DataFrame({"pnl_percentage": np.random.default_rng(1).normal(0.2, 1.0, size=60), name: 1.0})
    assert repr(bknb.belief(table)) == repr(bknb.belief(table[["pnl_percentage"]]))
    ratios = pd.Series([0.1, 0.2], index=[name, "other"])
    assert bknb.belief(table, trials=ratios).deflated.trials == 2
