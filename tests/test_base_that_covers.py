"""Runs that were given no ``base=`` and whose finest bars begin too late: over which bars they go, and what is told."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import bknb
from bknb.domain.interval import interval_ms
from bknb.engine.backtest import BacktestRun
from bknb.engine.base_that_covers import over_bars_that_cover
from bknb.engine.plan import open_window, plan_backtest
from bknb.engine.resolve import resolve_exchange
from bknb.market.sources import FunctionSource
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
    """A source that has days, of these later hours, and of these later minutes; it notes what it is asked.

    It answers the ``"range"`` it is asked for, the ``"next"`` candles from its begin on, or its ``"newest"`` hundred.
    """

    def __init__(self, *, answers: str = "range", **tables: np.ndarray[Any, Any]) -> None:
        self.answers = answers
        self.tables = {"1m": table(FIRST_MINUTE, MINUTE), "1h": table(FIRST_HOUR, HOUR), "1d": table(FIRST_DAY, DAY)}
        self.tables |= tables
        self.asked: list[tuple[str, str, int, int]] = []

    def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Any:
        self.asked.append((symbol, interval, since, limit))
        rows = self.tables[f"{symbol} {interval}" if f"{symbol} {interval}" in self.tables else interval]
        first, end = np.searchsorted(rows[:, 0], [since, since + limit * interval_ms(interval)])
        if self.answers == "next":
            end = first + limit
        return rows[max(first, end - 100) if self.answers == "newest" else first : end].tolist()


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


def beside(candles: Any, others: Any) -> dict[str, Any]:
    return rows(candles) if others else {}


def run(frame: Any, interval: str | None = "1d", **options: Any) -> bknb.Result:
    given = {"strategy": get_signal, "exchange": "mine", **options}
    return bknb.backtest("X", frame=frame, interval=interval, **given)


def same(one: bknb.Result, other: bknb.Result) -> None:
    pd.testing.assert_frame_equal(one.trades, other.trades)
    assert one.stats == other.stats
    assert len(one.trades) > 0


@pytest.mark.parametrize(
    ("frame", "interval", "base", "told"),
    [
        (OF_DAYS, "1d", "1d", "exits are watched on 1d bars: there are no 1m candles of X on mine"),
        (OF_DAYS, None, "1d", "exits are watched on 1d bars: there are no 1m candles"),
        (OF_HOURS, "1d", "1h", "exits are watched on 1h bars: there are no 1m candles"),
        (
            ("2023-03-10", "2023-04-04"),
            "1h",
            "1h",
            "1h bars: the 1m candles of X on mine begin at 2023-04-01 00:00 UTC",
        ),
        (("2023-02-10", "2023-03-14"), "1d", "1d", "1d bars: there are no 1m candles"),
        (("2022-12-01", "2023-02-20"), "1d", "1d", "yet at 2023-01-01 00:00 UTC, where its 1d bars begin in the frame"),
        (("2023-03-31 12:00", "2023-04-05"), "1h", "1h", "begin at 2023-04-01 00:00 UTC in the frame, its 1h bars at"),
        (("2022-12-01", "2023-04-05"), "1d", "1d", "in the frame, its 1d bars at 2023-01-01 00:00 UTC; base='1m' runs"),
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


@pytest.mark.parametrize("allow_gaps", [False, True])
@pytest.mark.parametrize("answers", ["range", "next", "newest"])
@pytest.mark.parametrize(("hours_too", "base"), [(True, "1m"), (False, "1h")], ids=["a closure", "minutes lack"])
def test_young_minutes_that_lack_where_a_frame_begins(answers: str, hours_too: Any, base: str, allow_gaps: Any) -> None:
    first, end = FIRST_MINUTE + DAY, FIRST_MINUTE + 3 * DAY + 6 * HOUR
    rows = {name: table(FIRST_MINUTE, STEPS[name]) for name in ("1m", "1h")}
    for name in ("1m", "1h") if hours_too else ("1m",):
        times = rows[name][:, 0]
        rows[name] = rows[name][(times < first) | (times >= end)]
    bknb.add_exchange("mine", get_candles=Market(answers=answers, **rows).get_candles, intervals=["1m", "1h"])
    found = run(("2023-04-03", "2023-04-05"), "1h", allow_gaps=allow_gaps)
    assert found.base == base
    assert any("base='1m' runs over" in text for text in found.warnings) == (base == "1h")


def expected(rows: dict[str, Any], start: int, last: int) -> str:
    """The base where the longest bars of which a whole one fits in before the finest are there, or are not."""
    first = next((when for when in rows["1m"][:, 0] if when >= start), last + 1)
    base, since, end = "1m", start, 0
    for name in ("1d", "1h"):
        step = STEPS[name]
        until = end or first - first % step
        if -(-since // step) * step >= until:
            continue
        opened = next((when for when in rows[name][:, 0] if since <= when < until), None)
        if opened is not None:
            base, since, end = name, opened, opened + step
        elif not end:
            break
    return base


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=8, deadline=None, phases=[Phase.generate])
def test_the_base_is_that_of_the_rule_whoever_answers_and_with_gaps(data: st.DataObject) -> None:
    """Days that begin first, hours, then minutes; closures of all, and holes of one length of bars."""
    hour = st.integers(0, 80)
    start = data.draw(st.integers(0, 70))
    begins = dict(zip(("1d", "1h", "1m"), sorted(data.draw(st.tuples(hour, hour, hour))), strict=True))
    spans = st.tuples(
        st.one_of(hour, st.just(start)),
        st.integers(1, 50),
        st.sampled_from([("1m",), ("1h", "1m"), ("1d", "1h", "1m")]),
    )
    holes = data.draw(st.lists(spans, max_size=2))
    frame, rows = (FIRST_DAY + start * HOUR, FIRST_DAY + 120 * HOUR), {}
    for name, begin in begins.items():
        step = STEPS[name]
        times = np.arange(FIRST_DAY + begin * HOUR // step * step, FIRST_DAY + 5 * DAY, step)
        for first, hours, names in holes:
            closed = FIRST_DAY + first * HOUR, FIRST_DAY + (first + hours) * HOUR
            if name in names:
                times = times[(times < closed[0]) | (times + step > closed[1])]
        rows[name] = np.column_stack([times, *[np.full(len(times), 100.0)] * 4, np.ones(len(times))])
    chosen = set()
    for answers, page_limit in (("range", None), ("range", 300), ("next", None), ("newest", None)):
        made = Market(answers=answers, **rows)
        source = FunctionSource(made.get_candles, intervals=("1m", "1h", "1d"), page_limit=page_limit)
        for allow_gaps in (False, True):
            plan = plan_backtest("X", lambda: None, source, frame, "1d", allow_gaps=allow_gaps)
            for window in (None, open_window(plan, warn=str)):
                with suppress(bknb.GapError, bknb.NotEnoughData):
                    chosen.add(asyncio.run(over_bars_that_cover([plan], window))[0].base)
    assert chosen <= {expected(rows, *frame)}


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


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_a_source_without_minutes_in_the_frame_is_asked_for_few(market: Market, allow_gaps: Any) -> None:
    assert run(("2023-02-01", "2023-02-25"), allow_gaps=allow_gaps).base == "1d"
    assert Counter(interval for _, interval, _, _ in market.asked) == {"1m": 2, "1h": 1, "1d": 2}


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_a_symbol_younger_than_its_look_back_is_looked_for_once(market: Market, allow_gaps: Any) -> None:
    market.tables["1h"], market.tables["1d"] = (table(FIRST_MINUTE, step) for step in (HOUR, DAY))
    strategy = bknb.add_strategy("rows", interval="4h", get_signals=rows, lookback=500)
    options: Any = {"exchange": "mine", "frame": OF_MINUTES, "allow_gaps": allow_gaps}
    asked = []
    for base in (None, "1m"):
        market.asked.clear()
        assert bknb.backtest("X", strategy=strategy, base=base, **options).base == "1m"
        asked.append(len(market.asked))
    assert asked[0] == asked[1] + 1


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_a_hole_in_minutes_that_begin_too_late_makes_no_difference(market: Market, allow_gaps: Any) -> None:
    market.tables["1m"] = table(FIRST_MINUTE, MINUTE, without=range(700, 900))
    assert run(("2023-03-20", "2023-04-04"), allow_gaps=allow_gaps).base == "1h"


def test_longer_bars_that_are_refused_are_refused_with_the_way_back(market: Market) -> None:
    why = (
        "on 1h bars: the 1m candles of X on mine begin at 2023-04-01 00:00 UTC in the frame, its 1h bars at 2023-03-28"
    )
    holes, shifted = table(FIRST_HOUR, HOUR, without=range(700, 720)), table(FIRST_HOUR, HOUR)
    shifted[:, 0] += 30 * MINUTE
    for hours, error in ((holes, bknb.GapError), (shifted, bknb.BadCandle)):
        market.tables["1h"] = hours
        with pytest.raises(error) as told:
            run(("2023-03-28", "2023-04-04"))
        assert why in str(told.value)
        assert "base='1m' runs over what there is of the 1m candles, base='1d' over longer bars" in str(told.value)
        assert [run(("2023-03-28", "2023-04-04"), base=base).base for base in ("1m", "1d")] == ["1m", "1d"]


@pytest.mark.usefixtures("market")
def test_candles_finer_than_the_bars_that_were_taken_are_refused_with_the_way_back() -> None:
    found = run(("2023-03-28", "2023-04-04"), strategy=lambda ctx: ctx.candles("15m", 3))
    assert (found.base, len(found.errors), len(found.trades)) == ("1h", 1, 0)
    assert "runs over what there is of the 1m candles" in str(found.errors[0])


def test_a_part_that_was_never_downloaded_is_no_outage(market: Market, tmp_path: Path) -> None:
    source = FunctionSource(market.get_candles, intervals=("1m", "1h", "1d"))
    stored = bknb.exchanges.stored(source, folder=tmp_path)
    spans = [("1m", "2023-03-28", "2023-04-05"), ("1h", "2023-03-28", "2023-04-05")]
    spans += [("1d", "2023-03-27", "2023-03-28"), ("1d", "2023-03-30", "2023-04-05")]
    for interval, start, end in spans:
        options: Any = {"interval": interval, "start": start, "end": end, "warmup_minutes": 0, "progress": False}
        bknb.download("X", exchange=stored, **options)
    assert run(("2023-03-28", "2023-04-04"), exchange=bknb.exchanges.from_store(tmp_path)).base == "1h"


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


@pytest.mark.usefixtures("market")
def test_a_comparison_is_none_where_the_bars_could_not_be_chosen() -> None:
    made, answers = Market(), [False]

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        if interval != "1m" and not answers[0]:
            raise OSError("no line")
        return made.get_candles(symbol, interval, since, limit)

    bknb.add_exchange("mine", get_candles=get_candles, intervals=["1m", "1h", "1d"])
    strategy = bknb.add_strategy("one", interval="1h", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": ("2023-03-10", "2023-04-04"), "strategies": [strategy]}
    options["settings"] = {"get_candles_retry_count": 1}
    failed = bknb.walker("X", **options)
    assert "no answer for" in failed.entries[0].error
    assert not failed.results
    answers[0] = True
    compared = bknb.walker("X", **options)
    (base,) = {result.base for result in compared.results.values()}
    assert [text for text in compared.warnings if text.startswith(f"exits are watched on {base} bars: ")]


@pytest.mark.usefixtures("market")
def test_candles_that_a_strategy_uses_are_minded() -> None:
    for uses, base in ((["1d"], "1h"), (["15m"], "1m"), ([("X", "15m")], "1m")):
        strategy = bknb.add_strategy("one", interval="4h", get_signals=beside, uses=uses, lookback=4)
        result = bknb.backtest("X", strategy=strategy, exchange="mine", frame=("2023-03-10", "2023-04-04"))
        assert result.base == base


def test_bars_of_extended_hours_are_not_there_before_the_first_minute_of_a_session() -> None:
    whole = {name: table(FIRST_DAY + 88 * DAY, step) for name, step in (("1m", MINUTE), ("5m", 5 * MINUTE))}
    monday = FIRST_DAY + 92 * DAY
    closed, trades = monday + 805 * MINUTE, monday + 845 * MINUTE  # its session begins at 13:30, with a halt

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        opens = whole[interval][:, 0]
        asked = (opens >= since) & (opens < since + limit * interval_ms(interval))
        return whole[interval][asked & ((opens < closed) | (opens >= trades))].tolist()

    bknb.add_exchange(
        "extended", get_candles=bknb.exchanges.in_sessions(get_candles, "us-equities"), intervals=["1m", "5m"]
    )
    assert run(("2023-04-03", "2023-04-05"), "1h", exchange="extended", allow_gaps=True).base == "1m"


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
    assert "in frame and look-back, its 1h bars at 2023-03-28" in found.warnings[0]
    same(found, bknb.backtest("X", base="1h", **options))
    late = options | {"frame": ("2023-03-06", "2023-04-05")}
    assert bknb.backtest("X", **late).base == "1h"  # by the day it cannot run, and the hours cover the frame
    market.tables["1h"] = market.tables["1h"][market.tables["1h"][:, 0] >= FIRST_MINUTE]
    kept = bknb.backtest("X", **options)
    assert (kept.base, kept.warnings) == ("1m", bknb.backtest("X", base="1m", **options).warnings)


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
        (("2022-01-01", "2022-02-20"), "1d", {}, ["nor 1d bars; base= takes others", "choose a frame inside"]),
    ],
)
@pytest.mark.usefixtures("market")
def test_where_none_will_do_it_is_said_what_there_is(frame: Any, interval: str, options: Any, words: list[str]) -> None:
    with pytest.raises(bknb.NotEnoughData) as told:
        run(frame, interval, **options)
    assert [word for word in words if word not in str(told.value)] == []


@pytest.mark.usefixtures("market")
def test_minutes_that_are_all_a_strategy_can_run_on_are_taken() -> None:
    found = run(("2023-03-30", "2023-04-04"), "15m")
    assert found.base == "1m"
    assert any("the 1h candles of X cover the frame, but cannot fill" in text for text in found.warnings)


@pytest.mark.parametrize("intervals", [["1m", "1w"], ["1m", "1d", "1w"]])
def test_weeks_are_named_where_nothing_shorter_will_do(market: Market, intervals: list[str]) -> None:
    market.tables["1w"] = table(FIRST_DAY - 363 * DAY, 7 * DAY)
    bknb.add_exchange("mine", get_candles=market.get_candles, intervals=intervals)
    with pytest.raises(bknb.NotEnoughData, match="weeks run where a source has no shorter bars"):
        run(("2022-11-01", "2022-12-01"))


def test_a_card_over_minutes_that_are_gone_says_what_was_taken(market: Market) -> None:
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_MINUTES}
    cards = [
        bknb.backtest("X", strategy=strategy, **options).card,
        bknb.portfolio(symbols=["X"], strategies=[strategy], **options).card,
    ]
    market.tables["1m"] = market.tables["1m"][:0]
    for card in cards:
        again = bknb.verify(card)
        assert not again.same
        assert "on 1h bars: there are no 1m candles of X on mine yet at 2023-04-03" in again.differences[0].text


@pytest.mark.slow
@pytest.mark.usefixtures("market")
def test_walkers_sweeps_walks_and_checks_go_over_the_same_bars() -> None:
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    slower = bknb.add_strategy("slower", interval="3d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_DAYS, "settings": FREE}
    told = "exits are watched on 1d bars: there are no 1m candles of X on mine"
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
    assert len([text for text in walked.warnings if "exits are watched" in text]) == 1
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


@pytest.mark.parametrize("young", [True, False])
def test_callbacks_of_a_portfolio_hear_of_bars_that_are_taken(market: Market, young: Any) -> None:
    market.tables["Y 1m"] = table(FIRST_MINUTE - 40 * DAY, MINUTE)
    heard: list[tuple[str, str]] = []
    callbacks = {"on_candle_data": lambda symbol, interval, *rest: heard.append((symbol, interval))}
    bknb.add_exchange("mine", get_candles=market.get_candles, intervals=["1m", "1h", "1d"], callbacks=callbacks)
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    frame = ("2023-03-30", "2023-04-04") if young else OF_MINUTES
    bknb.portfolio(symbols=["X", "Y"], strategies=[strategy], exchange="mine", frame=frame)
    assert sorted(heard) == [("X", "1h" if young else "1m"), ("Y", "1m")]


def test_symbols_of_a_sweep_are_over_the_longest_of_their_bars(market: Market) -> None:
    market.tables["Y 1m"] = table(FIRST_MINUTE - 40 * DAY, MINUTE)
    strategy = bknb.add_strategy("plain", interval="1d", get_signal=get_signal)
    options: Any = {"exchange": "mine", "frame": OF_HOURS, "settings": FREE, "params": {"up": [1.01, 1.02]}}
    found = bknb.sweep(strategy, symbol=["Y", "X"], **options)
    assert found.table.equals(bknb.sweep(strategy, symbol=["Y", "X"], base="1h", **options).table)
    assert [found.run(0, symbol=symbol).base for symbol in ("X", "Y")] == ["1h", "1h"]
    market.tables["Z 1m"], market.tables["Z 1h"] = table(FIRST_MINUTE, MINUTE), table(FIRST_HOUR + 10 * DAY, HOUR)
    found = bknb.sweep(strategy, symbol=["Y", "X", "Z"], **options)
    (told,) = [text for text in found.warnings if "exits are watched" in text]  # and not on those of X
    assert told.startswith("exits are watched on 1d bars: ")


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


@pytest.mark.slow
def test_drafts_of_a_model_are_tried_over_the_bars_that_cover_their_ranges(market: Market) -> None:
    def trials() -> DraftTrials:
        return DraftTrials(symbol="X", exchange=resolve_exchange("mine"), settings=bknb.get_config())

    ranges = [Range(start=FIRST_DAY + at * DAY, end=FIRST_DAY + (at + 9) * DAY) for at in (40, 50)]
    over_days = trials()
    assert asyncio.run(over_days.choose_base(ranges))
    assert (over_days.base, len(over_days.notes)) == ("1d", 1)
    assert len(market.asked) == 5
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


@pytest.mark.usefixtures("market")
def test_a_dashboard_that_was_there_first_shows_the_bars_that_are_taken() -> None:
    asked, goes_on = threading.Event(), threading.Event()

    def waits(ctx: Any) -> None:
        asked.set()
        assert goes_on.wait(30)

    board = bknb.dashboard()
    try:
        task = bknb.Backtest.background("X", strategy=waits, exchange="mine", frame=OF_HOURS, interval="1d")
        view = bknb.dashboard(task)
        assert asked.wait(30)
        goes_on.set()
        assert view.wait(30)
        assert task.result().base == "1h"
        only = view._views.only
        assert only is not None
        assert only.step_minutes == 60
    finally:
        board.close()
