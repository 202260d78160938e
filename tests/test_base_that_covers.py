"""Runs that were given no ``base=`` and whose finest bars begin too late: over which bars they go, and what is told."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.domain.interval import interval_ms
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.engine.resolve import resolve_exchange
from bknb.optimizer.prompt import Range
from bknb.optimizer.trial import DraftTrials
from bknb.runs.run_over_chosen_base import over_chosen_base

DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
FIRST_DAY = 1_672_531_200_000  # 2023-01-01
FIRST_HOUR = FIRST_DAY + 60 * DAY  # 2023-03-02
FIRST_MINUTE = FIRST_DAY + 90 * DAY  # 2023-04-01
END = FIRST_DAY + 96 * DAY
STEPS = {"1m": MINUTE, "1h": HOUR, "1d": DAY}
FREE: Any = {"percent_fee": 0.0, "percent_slippage": 0.0}
OF_DAYS = ("2023-02-01", "2023-02-20")
OF_HOURS = ("2023-03-10", "2023-03-14")
OF_MINUTES = ("2023-04-03", "2023-04-05")


def table(first: int, step: int, *, without: range = range(0)) -> np.ndarray[Any, Any]:
    """Rows of a random walk, from ``first`` on; those ``without`` are missing."""
    times = np.arange(first, END, step, dtype=np.int64)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.008, len(times))))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    rows = np.column_stack([times, opened, high, low, close, np.full(len(times), 5.0)])
    return np.delete(rows, [at for at in without if at < len(rows)], axis=0)


class Market:
    """A source that has days, of these later hours, and of these later minutes; it notes what it is asked."""

    def __init__(self, **tables: np.ndarray[Any, Any]) -> None:
        self.tables = {"1m": table(FIRST_MINUTE, MINUTE), "1h": table(FIRST_HOUR, HOUR), "1d": table(FIRST_DAY, DAY)}
        self.tables |= tables
        self.asked: list[tuple[str, str, int, int]] = []

    def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:
        self.asked.append((symbol, interval, since, limit))
        rows = self.tables[f"{symbol} {interval}" if f"{symbol} {interval}" in self.tables else interval]
        first, end = np.searchsorted(rows[:, 0], [since, since + limit * interval_ms(interval)])
        return rows[first:end].tolist()


@pytest.fixture
def market() -> Market:
    made = Market()
    bknb.add_exchange("mine", get_candles=made.get_candles, intervals=["1m", "1h", "1d"])
    return made


def get_signal(ctx: Any, up: float = 1.012) -> bknb.Signal:
    return bknb.Signal(position="long", price_take_profit=ctx.price * up, price_stop_loss=ctx.price * 0.99)


def rows(candles: Any, up: float = 1.02) -> dict[str, Any]:
    levels = {"price_take_profit": candles.close * up, "price_stop_loss": candles.close * 0.98}
    return {"position": candles.close > candles.open, "minute_estimated_time": 600, **levels}


def run(frame: Any, interval: str | None = "1d", **options: Any) -> bknb.Result:
    return bknb.backtest("X", strategy=get_signal, exchange="mine", frame=frame, interval=interval, **options)


def same(one: bknb.Result, other: bknb.Result) -> None:
    pd.testing.assert_frame_equal(one.trades, other.trades)
    assert one.stats == other.stats
    assert len(one.trades) > 0


@pytest.mark.parametrize(
    ("frame", "interval", "base", "told"),
    [
        (OF_DAYS, "1d", "1d", "exits are watched on 1d bars: there are no 1m candles of X on mine in the frame"),
        (OF_DAYS, None, "1d", "exits are watched on 1d bars: there are no 1m candles"),
        (OF_HOURS, "1d", "1h", "exits are watched on 1h bars: there are no 1m candles"),
        (
            ("2023-03-10", "2023-04-04"),
            "1h",
            "1h",
            "1h bars: the 1m candles of X on mine begin at 2023-04-01 00:00 UTC",
        ),
        (("2023-02-10", "2023-03-14"), "1d", "1d", "1d bars: there are no 1m candles"),
    ],
)
@pytest.mark.usefixtures("market")
def test_the_finest_bars_that_cover_a_frame_are_taken(frame: Any, interval: str | None, base: str, told: str) -> None:
    found = run(frame, interval, settings=FREE)
    same(found, run(frame, interval or base, base=base, settings=FREE))
    assert found.base == found.card.base == base
    assert [text for text in found.warnings if told in text] == found.warnings[:1]
    assert told in found.report()
    assert bknb.verify(found.card, strategy=get_signal).same


@pytest.mark.parametrize("frame", [OF_MINUTES, ("2023-04-01", "2023-04-03")])
def test_where_the_finest_cover_nothing_else_is_asked(market: Market, frame: Any) -> None:
    chosen = run(frame)
    asked = [*market.asked]
    market.asked.clear()
    given = run(frame, base="1m")
    assert asked == market.asked
    assert (chosen.base, chosen.warnings, chosen.card.given) == ("1m", given.warnings, ("interval",))


def test_the_bars_that_were_given_are_those_of_the_run(market: Market) -> None:
    found = run(("2023-03-10", "2023-04-04"), base="1m")
    assert found.base == "1m"
    assert "begins" in found.warnings[0]
    assert {interval for _, interval, _, _ in market.asked} == {"1m"}


def test_a_hole_where_the_frame_begins_is_no_late_begin(market: Market) -> None:
    market.tables["1m"] = table(FIRST_MINUTE, MINUTE, without=range(2000, 3200))  # 2 April, from 09:20 on
    found = run(("2023-04-02 12:00", "2023-04-05"), "1h")
    assert (found.base, len(found.warnings)) == ("1m", 1)


def test_a_symbol_that_is_young_in_all_intervals_keeps_its_minutes(market: Market) -> None:
    for name, step in STEPS.items():
        market.tables[name] = table(FIRST_MINUTE, step)
    found = run(("2023-03-20", "2023-04-04"), "1h")
    assert found.base == "1m"
    assert [text.partition(" begins ")[0] for text in found.warnings] == ["the data of X on mine"]


def test_a_look_for_longer_bars_of_a_young_symbol_is_one_request(market: Market) -> None:
    names = ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d"]
    market.tables = {name: table(FIRST_MINUTE, interval_ms(name)) for name in names}
    bknb.add_exchange("mine", get_candles=market.get_candles, intervals=names)
    asked = []
    for base in (None, "1m"):
        market.asked.clear()
        assert run(("2023-03-20", "2023-04-04"), "1d", base=base).base == "1m"
        asked.append(len(market.asked))
    assert asked[0] == asked[1] + 1


@pytest.mark.usefixtures("market")
def test_an_exchange_that_does_not_answer_a_look_is_no_reason_for_longer_bars() -> None:
    made = Market()

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if interval != "1m":
            raise OSError("no line")
        return made.get_candles(symbol, interval, since, limit)

    bknb.add_exchange("mine", get_candles=get_candles, intervals=["1m", "1h", "1d"])
    with pytest.raises(bknb.DataError, match="no line"):
        run(("2023-03-10", "2023-04-04"), "1h", settings={"get_candles_retry_count": 1})


@pytest.mark.parametrize("days", [3, 9, 20])
def test_a_closure_before_the_frame_is_no_late_begin(market: Market, days: int) -> None:
    market.tables["1m"] = table(FIRST_DAY, MINUTE, without=range((80 - days) * 1440, 80 * 1440 + 700))
    market.tables["1h"] = table(FIRST_DAY, HOUR, without=range((80 - days) * 24, 80 * 24 + 11))
    market.tables["1d"] = table(FIRST_DAY, DAY, without=range(80 - days, 80))
    assert run(("2023-03-22", "2023-03-25"), "1h").base == "1m"


@pytest.mark.usefixtures("market")
def test_a_run_over_longer_bars_is_stopped_and_paused_as_it_was() -> None:
    heard: list[str] = []
    callbacks = {"on_candle_data": lambda symbol, interval, *rest: heard.append(interval)}
    bknb.add_exchange("mine", get_candles=Market().get_candles, intervals=["1m", "1h", "1d"], callbacks=callbacks)
    task = bknb.Backtest.background("X", strategy=get_signal, exchange="mine", frame=OF_DAYS, interval="1d")
    task.stop(now=True)
    task.wait()
    assert task.result().base == "1d"
    found = run(OF_DAYS, capital=1000.0, benchmark="X", settings=FREE)
    assert set(heard) == {"1d"}
    given = run(OF_DAYS, base="1d", capital=1000.0, benchmark="X", settings=FREE)
    same(found, given)
    assert found.account == given.account
    plan = plan_backtest("X", get_signal, "mine", OF_DAYS, "1d")
    begun = BacktestRun(plan)
    begun.pause()
    begun.stop()
    chosen = asyncio.run(over_chosen_base(begun, lambda _: None))
    assert (chosen.plan.base, chosen.paused, chosen.stopping) == ("1d", True, "entries")


def test_what_a_strategy_says_to_look_back_on_is_covered(market: Market) -> None:
    strategy = bknb.add_strategy("rows", interval="4h", get_signals=rows, lookback=30)
    options: Any = {"strategy": strategy, "exchange": "mine", "frame": ("2023-04-02", "2023-04-05")}
    found = bknb.backtest("X", **options)
    assert found.base == "1h"
    assert "too late for what the strategy looks back on; base='1m' runs over them all the same" in found.warnings[0]
    same(found, bknb.backtest("X", base="1h", **options))
    market.tables["1h"] = market.tables["1h"][market.tables["1h"][:, 0] >= FIRST_MINUTE]
    assert bknb.backtest("X", **options).base == "1m"


@pytest.mark.parametrize(
    ("frame", "interval", "options", "words"),
    [
        (
            OF_DAYS,
            "1h",
            {},
            ["no one-minute candles in the frame", "the 1d candles of X cover the frame", "base='1d' with"],
        ),
        (OF_DAYS, "1d", {"execution": "vwap"}, ["execution 'vwap' fills", "base='1d' with execution='pessimistic'"]),
        (
            ("2022-12-01", "2023-02-20"),
            "1d",
            {},
            ["1d candles begin at 2023-01-01 00:00 UTC", "begin the frame there"],
        ),
        (("2022-01-01", "2022-02-20"), "1d", {}, ["begins: 1h 1d", "choose a frame inside the data"]),
    ],
)
@pytest.mark.usefixtures("market")
def test_where_none_will_do_it_is_said_what_there_is(frame: Any, interval: str, options: Any, words: list[str]) -> None:
    with pytest.raises(bknb.NotEnoughData) as told:
        run(frame, interval, **options)
    assert [word for word in words if word not in str(told.value)] == []


@pytest.mark.usefixtures("market")
def test_walkers_sweeps_walks_and_checks_go_over_the_same_bars() -> None:
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    slower = bknb.add_strategy("slower", interval="3d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_DAYS, "settings": FREE}
    told = "exits are watched on 1d bars: there are no 1m candles of X on mine in the frame"
    compared = bknb.walker("X", strategies=[strategy, slower], **options)
    assert {result.base for result in compared.results.values()} == {"1d"}
    assert all(told in result.warnings[0] for result in compared.results.values())
    same(compared["plain"], bknb.backtest("X", strategy=strategy, base="1d", **options))

    swept = bknb.sweep(strategy, params={"up": [1.01, 1.02]}, symbol="X", **options)
    given = bknb.sweep(strategy, params={"up": [1.01, 1.02]}, symbol="X", base="1d", **options)
    assert told in swept.warnings[0]
    assert swept.table.equals(given.table)
    assert swept.run(0).base == "1d"

    walk: Any = {"train": "6d", "test": "3d", "metric": "total_pnl"}
    walked = bknb.walk_forward(strategy, {"up": [1.01, 1.02]}, symbol="X", **walk, **options)
    beside = bknb.walk_forward(strategy, {"up": [1.01, 1.02]}, symbol="X", base="1d", **walk, **options)
    assert told in walked.warnings[0]
    pd.testing.assert_frame_equal(walked.trades, beside.trades)
    with pytest.raises(bknb.NotEnoughData, match="12h"):
        bknb.walk_forward(strategy, {"up": [1.01]}, symbol="X", **{**walk, "test": "12h"}, **options)

    report = bknb.check_lookahead(strategy, symbol="X", **options)
    assert report.ok
    assert any(told in text for text in report.remarks)


def test_a_portfolio_has_the_bars_that_cover_each_symbol(market: Market) -> None:
    market.tables["Y 1m"] = table(FIRST_MINUTE - 40 * DAY, MINUTE)
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_HOURS, "settings": FREE, "strategies": [strategy]}
    found = bknb.portfolio(symbols=["X", "Y"], **options)
    given = bknb.portfolio(symbols=["X", "Y"], base={"X": "1h", "Y": "1m"}, **options)
    assert [leg.base for leg in found.legs.values()] == ["1h", "1m"]
    for symbol in ("X", "Y"):
        same(found.leg(symbol), given.leg(symbol))
    assert found.leg("X").warnings[0].startswith("exits are watched on 1h bars: there are no 1m candles of X on mine")
    assert found.leg("Y").warnings == []
    assert bknb.verify(found.card, strategy=strategy).same
    one, market.asked[:] = [*market.asked], []
    bknb.portfolio(symbols=["Y"], **options)
    chosen, market.asked[:] = [*market.asked], []
    bknb.portfolio(symbols=["Y"], base="1m", **options)
    assert chosen == market.asked
    assert one


def test_a_portfolio_in_workers_has_the_same_bars(market: Market) -> None:
    market.tables["Y 1m"] = table(FIRST_MINUTE - 40 * DAY, MINUTE)
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_HOURS, "strategies": [strategy], "symbols": ["X", "Y"]}
    here = bknb.portfolio(**options)
    with ThreadPoolExecutor(2) as pool:
        there = bknb.portfolio(executor=pool, **options)
    for one, other in zip(here.legs.values(), there.legs.values(), strict=True):
        same(one, other)
        assert (one.base, one.warnings) == (other.base, other.warnings)


def test_symbols_of_a_sweep_are_over_the_longest_of_their_bars(market: Market) -> None:
    market.tables["Y 1m"] = table(FIRST_MINUTE - 40 * DAY, MINUTE)
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_HOURS, "settings": FREE, "params": {"up": [1.01, 1.02]}}
    found = bknb.sweep(strategy, symbol=["Y", "X"], **options)
    assert found.table.equals(bknb.sweep(strategy, symbol=["Y", "X"], base="1h", **options).table)
    assert [found.run(0, symbol=symbol).base for symbol in ("X", "Y")] == ["1h", "1h"]


@pytest.mark.usefixtures("market")
def test_moments_and_hold_outs_are_of_the_chosen_bars(tmp_path: Path) -> None:
    found, given = run(OF_DAYS, settings=FREE), run(OF_DAYS, base="1d", settings=FREE)
    trade = found.trades["signal_id"].iloc[0]
    assert found.at(trade).ask().event == found.at(trade).decision == given.at(trade).decision
    look = bknb.open_holdout(get_signal, symbol="X", exchange="mine", frame=OF_DAYS, interval="1d", path=tmp_path / "o")
    assert look.result.base == "1d"


@pytest.mark.parametrize("of_rows", [False, True])
@pytest.mark.parametrize("what", ["walker", "sweep", "walk", "check", "hold-out", "portfolio"])
def test_no_run_asks_anything_else_where_the_finest_cover(
    market: Market, what: str, of_rows: Any, tmp_path: Path
) -> None:
    function: Any = {"get_signals": rows, "lookback": 4} if of_rows else {"get_signal": get_signal}
    strategy = bknb.add_strategy("one", interval="4h", **function)
    asked: list[Any] = []
    for base in (None, "1m"):
        market.asked.clear()
        options: Any = {"exchange": "mine", "frame": OF_MINUTES, "base": base}
        if what == "walker":
            bknb.walker("X", strategies=[strategy], **options)
        elif what == "sweep":
            bknb.sweep(strategy, params={"up": [1.01, 1.02]}, symbol="X", **options)
        elif what == "walk":
            bknb.walk_forward(
                strategy, {"up": [1.01, 1.02]}, symbol="X", train="24h", test="12h", metric="n", **options
            )
        elif what == "check":
            bknb.check_lookahead(strategy, symbol="X", **options)
        elif what == "hold-out":
            bknb.open_holdout(strategy, symbol="X", path=tmp_path / f"{base}", **options)
        else:
            bknb.portfolio(symbols=["X"], strategies=[strategy], **options)
        asked.append([limit for *_, limit in market.asked])
    assert (len(asked[0]), sum(asked[0])) <= (len(asked[1]), sum(asked[1]))
    assert {interval for _, interval, _, _ in market.asked} == {"1m"}


def test_drafts_of_a_model_are_tried_over_the_bars_that_cover_their_ranges(market: Market) -> None:
    def trials() -> DraftTrials:
        return DraftTrials(symbol="X", exchange=resolve_exchange("mine"), settings=bknb.get_config())

    ranges = [Range(start=FIRST_DAY + at * DAY, end=FIRST_DAY + (at + 9) * DAY) for at in (40, 50)]
    over_days = trials()
    assert asyncio.run(over_days.choose_base(ranges))
    assert (over_days.base, len(over_days.notes)) == ("1d", 1)
    over_minutes, of_minutes = trials(), Range(start=FIRST_MINUTE + DAY, end=FIRST_MINUTE + 2 * DAY)
    market.asked.clear()
    assert not asyncio.run(over_minutes.choose_base([of_minutes]))
    asked = len(market.asked)
    asyncio.run(over_minutes.candles(of_minutes))
    assert (over_minutes.base, len(market.asked), asked > 0) == ("1m", asked, True)


@pytest.mark.parametrize("frame", [OF_MINUTES, OF_HOURS], ids=["the finest", "longer ones"])
@pytest.mark.usefixtures("market")
def test_what_is_started_again_while_it_runs_is_the_same_task(frame: tuple[str, str]) -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def waits(ctx: Any) -> None:
        asked.set()
        assert goes_on.wait(30)

    bknb.add_strategy("waits", interval="1d", get_signal=waits)
    starts: list[Any] = [
        lambda: bknb.Backtest.background("X", strategy="waits", exchange="mine", frame=frame),
        lambda: bknb.Walker.background("X", strategies=["waits"], exchange="mine", frame=frame),
    ]
    for start in starts:
        asked.clear()
        goes_on.clear()
        first = start()
        assert asked.wait(30)
        assert start() is first
        goes_on.set()
        first.result(timeout=30)
