"""Several places in one account: positions of one symbol beside each other, each with money of its own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from managed import FREE
from scenarios import MINUTE, ORIGIN, source
from strategy_loops.grid import grid
from strategy_loops.market import Bar
from test_managed_properties import drawn, managing
from test_places import NAMES, buy, in_places, market
from worlds import LENGTH, SEEDS, SETTINGS, walk

import bknb
from bknb.errors import UsageError

COSTS = bknb.Costs(taker=0.05, slippage=0.0)


def run(strategy: Any, rows: Any, *, end: int = LENGTH, **options: Any) -> bknb.Result:
    given_options: dict[str, Any] = {"capital": 100_000, "sizing": bknb.size.Cash(1000), "costs": COSTS} | options
    return bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=source(rows), frame=(ORIGIN, ORIGIN + end * MINUTE), settings=SETTINGS,
        **given_options,
    )  # fmt: skip


def balanced(result: bknb.Result) -> None:
    """What was booked is what trades brought, and nothing is left over."""
    money = result.run_record.money
    assert money is not None
    assert not money.end.positions
    assert abs(money.end.imbalance({})) < 1e-6
    assert result.trades["money"].sum() == pytest.approx(money.end.cash - money.capital)
    assert result.equity.iloc[-1] == pytest.approx(money.end.cash)


# --- an independent loop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_a_grid_fills_as_a_plain_loop_says_and_brings_the_same_money(seed: int) -> None:
    step, levels, places = 0.8, 5, 7
    rows = [[*row[:5], row[5] + 1] for row in walk(seed, length=1200)]

    def get_signal(price: float) -> Any:
        first = math.floor(price / step) * step
        found = [first - k * step for k in range(levels)]
        return [buy(f"{level:.10g}", level, price_take_profit=level + step) for level in found]

    strategy = bknb.add_strategy("grid", interval="15m", get_signal=get_signal, places=places)
    result = run(strategy, rows, end=1200)
    expected = grid(
        [Bar(*row) for row in rows], start=ORIGIN, last=ORIGIN + 1200 * MINUTE, slot=15 * MINUTE, step=step,
        levels=levels, places=places, cash=1000, taker=0.05, maker=0.05,
    )  # fmt: skip
    trades = result.trades
    ms = trades[["pending_at", "closed_at"]].astype("datetime64[ms, UTC]").astype(np.int64)
    found = zip(trades["place"], ms["pending_at"], trades["price_open"], ms["closed_at"], trades["price_close"],
                trades["close_reason"], strict=True)  # fmt: skip
    assert list(found) == [(*trade[:3], *trade[4:-1]) for trade in expected]
    assert len(expected) > 20
    assert trades["money"].tolist() == pytest.approx([trade.money for trade in expected])
    balanced(result)


# --- n places are n strategies in one account -------------------------------------------------------------------------


@pytest.mark.slow
@given(seed=SEEDS, account=st.sampled_from(["margin", "isolated"]))
@settings(max_examples=2)
def test_n_places_bring_what_n_strategies_bring_in_one_account(seed: int, account: str) -> None:
    """Where cash is enough for all of them: of scarce cash who is asked first has more."""
    seeds = {name: seed + 17 * number for number, name in enumerate(NAMES)}
    common: dict[str, Any] = {"interval": "1m", "manage_interval": "1m"}
    kind = bknb.Margin() if account == "margin" else bknb.Margin(leverage=3, mode="isolated")
    rows, end = walk(seed, length=150), 150
    together = run(
        bknb.add_strategy("drawn", **in_places(seeds, lists=False), **common, places=len(NAMES)), rows, end=end,
        account=kind,
    )  # fmt: skip
    for name, own in seeds.items():
        bknb.add_strategy(name, get_signal=drawn(own), manage=managing(own), **common)
    alone = bknb.portfolio(
        symbols=["BTCUSDT"], strategies=[*seeds], exchange=source(rows), settings=SETTINGS, capital=100_000,
        frame=(ORIGIN, ORIGIN + end * MINUTE), sizing=bknb.size.Cash(1000), costs=COSTS, account=kind,
    )  # fmt: skip
    for name in seeds:
        mine = together.trades[together.trades["place"] == name] if len(together.trades) else together.trades
        theirs = alone.leg("BTCUSDT", name).trades
        for column in ("quantity", "money", "price_open", "price_close", "pnl_percentage"):
            np.testing.assert_allclose(mine[column].astype(float), theirs[column].astype(float), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(together.equity.to_numpy(), alone.equity.to_numpy(), rtol=1e-9)
    balanced(together)


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_an_account_is_marked_with_all_places_and_knows_what_each_brought() -> None:
    answers = {0: [bknb.Signal(position="long", place="a"), bknb.Signal(position="short", place="b", size=0.5)]}
    strategy = bknb.add_strategy("both", interval="1m", get_signal=lambda when: answers.get(when.minute), places=2)
    candles = {k: (100 + k, 101 + k, 100 + k, 101 + k) for k in range(1, 12)}
    result = run(strategy, market(candles), end=10, account="margin", costs=bknb.Costs(taker=0, slippage=0))
    at_five = result.exposure.loc["2024-01-01 00:05"]
    assert (at_five["long"], at_five["short"]) == pytest.approx((10 * 105 / 1000.25, -5 * 105 / 1000.25))
    assert result.trades.set_index("place")["money"].to_dict() == pytest.approx({"a": 100.0, "b": -50.0})
    assert result.account["exposure"] == pytest.approx(90.0)  # from the end of the candle of the entry on
    balanced(result)


def test_cash_is_for_whom_it_is_first_and_comes_back_with_each_place() -> None:
    """1000 pay for the first and a part of the second; the third is refused until others have left."""

    def get_signal() -> Any:
        return [bknb.Signal(position="long", place=name, minute_estimated_time=3) for name in "abc"]

    strategy = bknb.add_strategy("three", interval="1m", get_signal=get_signal, places=3)
    result = run(strategy, market({}), end=5, capital=1000, sizing=bknb.size.Cash(600), account="spot")
    opened = result.trades[["place", "pending_at"]].assign(at=lambda table: table["pending_at"].dt.minute)
    assert [*zip(opened["place"], opened["at"], strict=True)] == [("a", 0), ("b", 0), ("a", 3), ("b", 3)]
    assert result.trades["cost"].tolist() == pytest.approx([600, (1000 - 600 * 1.0005) / 1.0005] * 2, rel=5e-3)
    assert {event.signal.place for event in result.run_record.records.refused} == {"c"}
    balanced(result)


def test_each_place_is_liquidated_by_itself_with_its_own_margin() -> None:
    answers = {0: [bknb.Signal(position="long", place="a")], 3: [bknb.Signal(position="long", place="b")]}
    strategy = bknb.add_strategy("two", interval="1m", get_signal=lambda when: answers.get(when.minute), places=2)
    candles = {2: (100, 100, 95, 95), **dict.fromkeys(range(3, 6), (95, 95, 95, 95)), 6: (95, 95, 89.5, 95)}
    result = run(
        strategy, market(candles), end=9, account=bknb.Perpetual(leverage=10, mode="isolated", maintenance=0.5)
    )
    ends = result.trades.set_index("place")["close_reason"].to_dict()
    assert ends == {"a": "liquidation", "b": "frame_end"}
    balanced(result)


def test_funding_is_paid_by_each_place() -> None:
    answers = {0: [bknb.Signal(position="long", place=name) for name in ("a", "b")]}
    strategy = bknb.add_strategy("two", interval="1m", get_signal=lambda when: answers.get(when.minute), places=3)
    costs = bknb.Costs(taker=0, slippage=0, funding=[(ORIGIN + 4 * MINUTE, 0.01)])
    result = run(strategy, market({}), end=9, account="perpetual", costs=costs)
    assert result.trades["funding"].tolist() == pytest.approx([10.0, 10.0])
    balanced(result)


def test_funding_moves_the_price_at_which_a_place_is_liquidated() -> None:
    """The margin of ``a`` has paid 5 of 10; ``b`` was opened behind that funding."""
    answers = {0: [bknb.Signal(position="long", place="a")], 5: [bknb.Signal(position="long", place="b")]}
    strategy = bknb.add_strategy("two", interval="1m", get_signal=lambda when: answers.get(when.minute), places=2)
    costs = bknb.Costs(taker=0, slippage=0, funding=[(ORIGIN + 4 * MINUTE, 0.05)])
    account = bknb.Perpetual(leverage=10, mode="isolated", maintenance=0.5)
    result = run(strategy, market({7: (100, 100, 95, 100)}), end=9, account=account, costs=costs)
    assert result.trades.set_index("place")["close_reason"].to_dict() == {"a": "liquidation", "b": "frame_end"}
    balanced(result)


def test_an_account_that_is_worth_nothing_closes_every_place() -> None:
    answers = {0: [bknb.Signal(position="short", place=name) for name in ("a", "b")]}
    strategy = bknb.add_strategy("two", interval="1m", get_signal=lambda when: answers.get(when.minute), places=2)
    candles = {3: (100, 210, 100, 210), **dict.fromkeys(range(4, 30), (210.0,) * 4)}
    costs = bknb.Costs(taker=0, slippage=0)
    result = run(strategy, market(candles), end=9, capital=1000, sizing=bknb.size.Cash(500), costs=costs)
    assert result.trades["money"].tolist() == pytest.approx([-500.0, -500.0])
    assert result.trades["forgiven"].tolist() == pytest.approx([50.0, 50.0])
    assert result.equity.iloc[-1] == 0.0
    balanced(result)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_perpetuals_of_both_sides_are_refused_in_words() -> None:
    answers = {
        0: [bknb.Signal(position="long", place="a")],
        2: [bknb.Signal(position="short", place="b", price_open=101.0)],
    }
    strategy = bknb.add_strategy("both", interval="1m", get_signal=lambda when: answers.get(when.minute), places=2)
    result = run(strategy, market({}), end=5, account="perpetual")
    (refused,) = result.run_record.records.refused
    assert refused.note == (
        "no short beside the long in the place 'a': an exchange nets perpetuals; bknb.Margin() holds both"
    )
    assert refused.when == ORIGIN + 2 * MINUTE  # before it is ordered
    assert list(result.trades["place"]) == ["a"]
    resting = {0: [bknb.Signal(position="short", place="b", price_open=101.0), *answers[0]]}
    strategy = bknb.add_strategy("both", interval="1m", get_signal=lambda when: resting.get(when.minute), places=2)
    result = run(strategy, market({3: (100, 102, 100, 100)}), end=5, account="perpetual")
    assert [(event.signal.place, event.when) for event in result.run_record.records.refused] == [
        ("b", ORIGIN + 3 * MINUTE)
    ]


def test_places_that_share_margin_with_leverage_are_refused_before_anything_starts() -> None:
    strategy = bknb.add_strategy("grid", interval="1m", get_signal=lambda: [buy("99", 99)], places=2)
    with pytest.raises(UsageError, match=r"would be liquidated together.*\n.*isolated"):
        run(strategy, market({}), end=5, account="margin:3")


def test_a_dashboard_of_a_run_that_is_over_shows_the_equity_of_the_account() -> None:
    """Without a capital there is none; with one the panel ends at what the account is worth, as its head does."""
    from bknb.jupyter.dashboard.dashboard_of_result_or_task import view_of_result
    from bknb.reports.dashboard_account import total_return
    from bknb.reports.dashboard_panels import equity_panel

    bknb.add_strategy("grid", interval="1m", get_signal=lambda: [buy("99", 99), buy(None, 98)], places=4)
    rows = source(market({3: (100, 100, 97, 97), 4: (97, 103, 97, 103)}))
    run: Any = {"strategy": "grid", "exchange": rows, "frame": (ORIGIN, ORIGIN + 9 * MINUTE), "settings": FREE}
    alone = view_of_result(bknb.backtest("BTCUSDT", **run))
    assert equity_panel(alone)["missing"] == "equity: not available, adds and places need a capital"
    assert total_return(alone) is None
    result = bknb.backtest("BTCUSDT", **run, capital=1_000, sizing="percent:20")
    view = view_of_result(result)
    panel, end = equity_panel(view), (float(result.equity.iloc[-1]) / 1_000 - 1) * 100
    assert end > 1
    assert panel["equity"][-1] == pytest.approx(end, rel=1e-6)
    assert total_return(view) == pytest.approx(end)
    fallen = (result.equity / result.equity.cummax() - 1).min() * 100
    assert panel["drawdown"].min() == pytest.approx(fallen, rel=1e-6)
    assert "equity +" in panel["text"]


@pytest.mark.parametrize("mode", ["backtest", "live"])
def test_a_dashboard_shows_the_equity_while_the_run_goes_on(mode: str) -> None:
    """It stands at minute 6: what is drawn by then is what the result says of these moments, and names each place."""
    import threading

    from bknb.jupyter.dashboard.dashboard_of_result_or_task import view_of_task
    from bknb.jupyter.dashboard.running_equity import RunningEquity
    from bknb.reports.dashboard_account import total_return
    from bknb.reports.dashboard_panels import equity_panel, signals_panel, trades_panel
    from bknb.testing.clocks import SimulatedClock

    here, go = threading.Event(), threading.Event()

    def get_signal(when: Any) -> Any:
        if when.minute == 6:
            here.set()
            go.wait(20)
        return [buy("99", 99), buy("98", 98, price_take_profit=110)]

    strategy = bknb.add_strategy("grid", interval="1m", get_signal=get_signal, places=4)
    rows = source(market({3: (100, 100, 97, 97), 4: (97, 103, 97, 103), 5: (103, 103, 101, 101)}))
    given_options: Any = {"strategy": strategy, "exchange": rows, "capital": 1_000, "sizing": "percent:20",
                          "settings": FREE}  # fmt: skip
    if mode == "backtest":
        task = bknb.Backtest.background("BTCUSDT", **given_options, frame=(ORIGIN, ORIGIN + 9 * MINUTE))
    else:
        task = bknb.Live.background(
            "BTCUSDT", **given_options, clock=SimulatedClock(ORIGIN), until=ORIGIN + 9 * MINUTE,
            store=bknb.stores.memory(),
        )  # fmt: skip
    try:
        assert here.wait(20)
        view, equity = view_of_task(task), RunningEquity(seconds=lambda: 0.0)
        view.set_terms(task.account_terms)
        view.take_all(task.events_so_far)
        assert equity_panel(view)["missing"] == "equity: comes with the candles of the run"
        equity.follow(view, task)
        drawn = equity_panel(view)
        assert [row["place"] for row in signals_panel(view)["rows"]] == ["99", "98"]
        assert trades_panel(view)["places"] == ["99"]
    finally:
        go.set()
    whole = task.result().equity
    moments = whole.index.as_unit("ms").asi8
    assert view.worth is not None
    times, line = view.worth
    assert int(times[-1]) == ORIGIN + 6 * MINUTE
    known = moments.searchsorted(times, side="right") - 1
    assert line == pytest.approx(whole.to_numpy()[known] / 1_000)
    assert drawn["equity"][-1] == pytest.approx((line[-1] - 1) * 100)
    assert total_return(view) == pytest.approx((line[-1] - 1) * 100)
    assert line[-1] != line[0]
