"""Strategies side by side: ranked in the right order, independent of each other's failures, stopped early."""

from __future__ import annotations

import asyncio
import re
import threading
from contextlib import aclosing

import pytest

import bknb
from bknb.research.comparison import Entry, ranked

FRAME = ("2024-01-01", "2024-01-15")
CALL = {"exchange": "demo", "frame": FRAME}


def follower(hours, *, side=1):
    def get_signal(ctx):
        closes = ctx.candles("1h", hours).close
        up = (closes[-1] - closes[0]) * side > 0
        way = 1 if up else -1
        return bknb.Signal(
            position="long" if up else "short",
            price_take_profit=ctx.price * (1 + way * 0.02),
            price_stop_loss=ctx.price * (1 - way * 0.01),
            minute_estimated_time=360,
        )

    return get_signal


def broken(ctx):
    raise ValueError("this never works")


@pytest.fixture(autouse=True)
def strategies():
    for hours in (4, 12, 48):
        bknb.add_strategy(f"follow-{hours}", interval="1h", get_signal=follower(hours))
    bknb.add_strategy("idle", interval="1h", get_signal=lambda: None)
    bknb.add_strategy("broken", interval="1h", get_signal=broken)
    bknb.add_walker("all", **CALL, strategies=["idle", "follow-4", "broken", "follow-12", "follow-48"])


@pytest.mark.parametrize(
    ("metric", "order"), [("total_pnl", "bac"), ("max_drawdown", "cab"), ("std_dev", "cab"), ("n", "bac")]
)
def test_the_better_direction_of_the_figure_ranks(metric, order):
    values = {"a": 2.0, "b": 3.0, "c": 1.0}
    entries = [Entry(strategy=name, stats={}, value=value) for name, value in values.items()]
    entries += [Entry(strategy="e", stats={}, value=None, error="raised"), Entry(strategy="d", stats={}, value=None)]
    assert "".join(entry.strategy for entry in ranked(entries, metric)) == order + "de"


def test_the_first_of_equals_stays_first():
    entries = [Entry(strategy=name, stats={}, value=1.0) for name in "xyz"]
    assert [entry.strategy for entry in ranked(entries, "total_pnl")] == ["x", "y", "z"]


@pytest.mark.slow
def test_each_strategy_comes_to_what_its_own_backtest_comes_to():
    found = bknb.walker("BTCUSDT", walker="all")
    assert [entry.strategy for entry in found][-2:] == ["idle", "broken"]
    for name in ("follow-4", "follow-12", "follow-48"):
        alone = bknb.backtest("BTCUSDT", strategy=name, **CALL)
        assert found[name].events == alone.events
        assert found[name].stats == alone.stats
    values = [entry.value for entry in found if entry.value is not None]
    assert values == sorted(values, reverse=True)
    assert len(values) == 3
    assert found.best is not None
    assert found.best.strategy == found.entries[0].strategy


def test_a_failing_strategy_is_reported_and_the_others_go_on():
    errors, failures = [], []
    bknb.add_exchange("demo2", get_candles=bknb.exchanges.demo())
    stop = bknb.listen_error(errors.append)
    bknb.add_walker(
        "failing",
        **CALL,
        strategies=["broken", "follow-4"],
        callbacks={"on_strategy_error": lambda *told: failures.append(told)},
    )
    found = bknb.walker("BTCUSDT", walker="failing")
    stop()
    assert list(found.failed) == ["broken"]
    assert "ValueError: this never works" in found.failed["broken"]
    assert found.best.strategy == "follow-4"
    assert any("this never works" in event.message for event in errors)
    assert "failed: ValueError" in repr(found)
    assert found.to_pandas().loc["broken", "error"]


def test_a_run_that_dies_is_a_failure_of_its_own():
    calls = []

    def get_signals(candles):
        raise ZeroDivisionError("rows")

    bknb.add_strategy("dying", interval="1h", get_signals=get_signals)
    bknb.add_walker(
        "dying",
        **CALL,
        strategies=["dying", "follow-4"],
        callbacks={"on_strategy_error": lambda name, symbol, error: calls.append((name, symbol, str(error)))},
    )
    found = bknb.walker("BTCUSDT", walker="dying")
    assert calls[0][:2] == ("dying", "BTCUSDT")
    assert "ZeroDivisionError" in calls[0][2]
    assert found.failed["dying"].startswith("StrategyError")
    assert len(found["follow-4"].trades)


class Counting:
    """A source that counts the minutes it hands out."""

    page_limit = None
    intervals = ("1m",)
    name = "counting"

    def __init__(self):
        self.demo = bknb.exchanges.demo()
        self.handed_out = 0

    async def get_candles(self, symbol, interval, since, limit):
        answer = await self.demo.get_candles(symbol, interval, since, limit)
        self.handed_out += len(answer)
        return answer

    def format_price(self, symbol, price):
        return self.demo.format_price(symbol, price)

    def format_quantity(self, symbol, quantity):
        return self.demo.format_quantity(symbol, quantity)


@pytest.mark.slow
def test_candles_are_loaded_once_for_all():
    names = ["follow-48", "follow-4", "follow-12"]
    alone, together = Counting(), Counting()
    bknb.walker("BTCUSDT", exchange=alone, frame=FRAME, strategies=names[:1])
    bknb.walker("BTCUSDT", exchange=together, frame=FRAME, strategies=names)
    assert together.handed_out == alone.handed_out


def test_listeners_and_callbacks_receive_every_step():
    received, over = {"walker": [], "complete": [], "progress": [], "done": []}, threading.Event()
    stops = [
        bknb.listen_walker(received["walker"].append),
        bknb.listen_walker_complete(received["complete"].append),
        bknb.listen_progress_walker(received["progress"].append),
        bknb.listen_done_walker(lambda event: (received["done"].append(event), over.set())),
    ]
    called = []
    callbacks = {
        "on_strategy_start": lambda name, symbol: called.append(("start", name)),
        "on_strategy_complete": lambda step: called.append(("complete", step.strategy)),
        "on_complete": lambda comparison: called.append(("all", comparison.walker)),
    }
    bknb.add_walker("watched", **CALL, strategies=["follow-4", "idle"], callbacks=callbacks)
    found = bknb.Walker.background("BTCUSDT", walker="watched").result()
    assert [step.strategy for step in received["walker"]] == ["follow-4", "idle"]
    assert received["walker"][1].best_strategy == "follow-4"
    assert [event.progress for event in received["progress"]] == [0.5, 1.0]
    assert received["complete"] == [found]
    assert over.wait(10)
    assert called == [
        *(("start", "follow-4"), ("complete", "follow-4"), ("start", "idle"), ("complete", "idle"), ("all", "watched"))
    ]
    for stop in stops:
        stop()
    assert [(event.strategy, event.symbol) for event in received["done"]] == [("watched", "BTCUSDT")]


def test_a_callback_that_fails_is_a_warning():
    def on_complete(comparison):
        raise KeyError("nothing")

    bknb.add_walker("clumsy", **CALL, strategies=["idle"], callbacks={"on_complete": on_complete})
    task = bknb.Walker.background("BTCUSDT", walker="clumsy")
    assert task.result().entries[0].strategy == "idle"
    assert any("on_complete failed" in warning for warning in task._warnings)


def test_stopping_early_ranks_what_is_done():
    second = threading.Event()
    go_on = threading.Event()

    def slow(ctx):
        second.set()
        go_on.wait(10)

    bknb.add_strategy("slow", interval="1h", get_signal=slow)
    bknb.add_walker("long", **CALL, strategies=["follow-4", "slow", "follow-12"])
    task = bknb.Walker.background("BTCUSDT", walker="long")
    assert second.wait(20)
    bknb.Walker.stop("BTCUSDT", "long", now=True)
    go_on.set()
    found = task.result()
    assert found.stopped
    assert [entry.strategy for entry in found] == ["follow-4"]
    assert "partial comparison" in found.report()
    assert "PARTIAL" in repr(found)


def test_stopping_gently_lets_the_running_one_finish():
    asked, go_on = threading.Event(), threading.Event()

    def slow(ctx):
        asked.set()
        go_on.wait(10)

    bknb.add_strategy("slow", interval="1h", get_signal=slow)
    bknb.add_walker("long", **CALL, strategies=["slow", "follow-12"])
    task = bknb.Walker.background("BTCUSDT", walker="long")
    assert asked.wait(20)
    task.stop()
    go_on.set()
    assert [entry.strategy for entry in task.result()] == ["slow"]


def test_step_by_step_and_leaving_early():
    async def first():
        async with aclosing(bknb.Walker.run("BTCUSDT", walker="all")) as steps:
            return await anext(steps)

    assert asyncio.run(first()).strategy == "idle"
    (task,) = [task for task in bknb.Walker.list() if task.walker == "all"]
    assert task.done
    assert task.result().stopped


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategies": ["follow-4", "folow-12"]}, "did you mean 'follow-12'"),
        ({"strategies": []}, "at least one"),
        ({"strategies": "follow-4"}, "must be a list"),
        ({"strategies": ["idle", "idle"]}, "is there twice"),
        ({"strategies": [follower(4), follower(12)]}, "two strategies are called 'get_signal'"),
        ({"strategies": ["idle"], "metric": "sharp_ratio"}, "did you mean 'sharpe_ratio'"),
        ({"strategies": ["idle"], "metric": "trend"}, "is no number"),
        ({"strategies": None}, "needs the name of a walker"),
    ],
)
def test_what_cannot_be_compared_is_refused(options, message):
    with pytest.raises(bknb.UsageError, match=message):
        bknb.walker("BTCUSDT", **CALL, **options)


def test_unknown_walkers_are_refused_with_the_known_ones():
    with pytest.raises(bknb.UnknownName, match="did you mean 'all'"):
        bknb.walker("BTCUSDT", walker="al")
    with pytest.raises(bknb.UnknownName, match="comparison"):
        bknb.Walker.get_data("BTCUSDT", "never")


def test_the_report_and_the_table(tmp_path):
    found = bknb.walker("BTCUSDT", walker="all", metric="max_drawdown")
    table = found.to_pandas()
    assert list(table.index[:3]) == list(table.iloc[:3].sort_values("max_drawdown").index)
    path = bknb.Walker.dump("BTCUSDT", "all", tmp_path)
    text = path.read_text(encoding="utf-8")
    assert path.name == "all@BTCUSDT.md"
    assert text == found.report()
    for part in ("# Walker comparison: all on BTCUSDT", "Maximum drawdown (lower is better)", "## All trades"):
        assert part in text
    assert text.count("\n| follow-4 |") == len(found["follow-4"].trades)
    assert "<table" in found._repr_html_()
    other = bknb.walker("ETHUSDT", walker="all")
    assert bknb.Walker.dump("ETHUSDT", "all", tmp_path) != path
    assert other.symbol == "ETHUSDT"


@pytest.mark.slow
def test_the_table_tells_the_return_of_the_account_and_why_a_figure_is_missing():
    for metric in ("total_pnl", "sharpe_ratio"):
        found = bknb.walker("BTCUSDT", walker="all", metric=metric)
        titles = found._columns()[1]
        assert titles[2] == ("Sum of results" if metric == "total_pnl" else "Sharpe ratio per trade")
        assert {"Total return", "Maximum drawdown, marked to market", "Calmar ratio"} <= set(titles)
        best = found[found.best.strategy]
        assert ("Total return", best.account.text("total_return")) in found._winner()
        for text in (found.report(), found._repr_html_(), repr(found)):
            assert not re.search(r"N/A(?!: [a-z0-9])", text)
        for name in ("follow-4", "idle"):
            row = next(line for line in found.report().splitlines() if re.match(rf"\| \S+( \S+)* \| {name} \|", line))
            for key in ("total_return", "max_drawdown", "calmar"):
                assert f"| {found[name].account.text(key)} |" in row
        assert "total_pnl" in found.to_pandas()
        assert "N/A: no trade" in found.report()


def test_a_winner_without_rivals_and_a_failure_are_called_so():
    def broken():
        raise RuntimeError("no idea")

    bknb.add_strategy("broken", interval="1h", get_signal=broken)
    found = bknb.walker(
        "BTCUSDT", exchange="demo", frame=("2024-01-01", "2024-01-20"), strategies=["follow-4", "idle", "broken"]
    )
    assert found.best.strategy == "follow-4"
    assert ("Best", "follow-4 (no other strategy has the figure)") in found._winner()
    assert re.search(r"\n +idle +N/A: no trade  0 trades", repr(found))
    (view,) = bknb.dashboard(found)._views.views.values()
    row = next(row for row in view.ranking.rows if row["Strategy"] == "broken")
    assert row["Failed"].startswith("RuntimeError: no idea")
    assert {text for name, text in row.items() if name not in ("Strategy", "Failed")} == {"N/A: failed"}


@pytest.mark.slow
def test_the_search_is_counted_against_the_winner():
    found = bknb.walker("BTCUSDT", exchange="demo", frame=("2024-01-01", "2024-02-20"), strategies=["follow-4", "idle"])
    deflated = found.deflated
    assert deflated is not None
    assert 1 <= deflated.trials <= 2
    assert deflated.p_value >= bknb.belief(found[found.best.strategy].trades).deflated.p_value
    assert found.overfitting.strategies == 2
    assert "Probability of backtest overfitting" in found.report()


def test_what_was_refused_stands_beside_the_headline_by_rule():
    def near(ctx):
        return bknb.Signal(
            position="long", price_take_profit=ctx.price * 1.01, price_stop_loss=ctx.price * 0.99,
            minute_estimated_time=60)  # fmt: skip

    found = bknb.walker(
        "BTCUSDT", strategies=[bknb.add_strategy("near", interval="1h", get_signal=near)], exchange="demo",
        frame="2024-01-01:2024-01-05", settings={"min_stop_loss_distance_percent": 2.0})  # fmt: skip
    rejected = len(found["near"].rejected)
    assert rejected > 50
    for text in (repr(found), found.report(), found._repr_html_()):
        assert "Rejected signals, near" in text
        assert f"{rejected:,}: {rejected:,} x stop_loss_near (first: price_stop_loss is 1.000 % from the entry" in text
        assert "allows it" in text
    assert found.report().index("Rejected signals") < found.report().index("## Ranking")


def test_a_figure_that_no_strategy_has_is_told_with_its_article():
    found = bknb.walker(
        "BTCUSDT", exchange="demo", frame=("2024-01-01", "2024-01-03"), strategies=["idle"], metric="avg_pnl"
    )
    assert ("Best", "no strategy has an Average result") in found._winner()
