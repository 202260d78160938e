"""Weekly bars of functions, stores, exchanges and Yahoo, and what cards and audits say of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from bar_loop import Bar
from test_bars_live import compared as live_compared
from test_bars_live import timed
from test_weekly_bars import DAY, WEEK, every_week, of_function, source_of, table, weeks
from test_yahoo import package
from test_yahoo import table as of_yahoo

import bknb
import bknb.config
from bknb.exchanges import from_frame
from bknb.history.cached_source import StoredSource
from bknb.history.candle_store import CandleStore
from bknb.market.feed import Feed
from bknb.testing.clocks import SimulatedClock
from bknb.testing.fake_binance import LocalBinance

__all__ = ["package"]  # a fixture
LATER = 1_900_000_000_000


def traded(source: Any, bars: list[Bar], **options: Any) -> pd.DataFrame:
    """The trades of a run over some weeks."""
    strategy = bknb.add_strategy("timed", interval="1w", get_signal=timed(minute_estimated_time=2 * WEEK // 60_000))
    frame = (bars[50].t, bars[100].t)
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, **options)
    assert len(result.trades) > 10
    return result.trades


@pytest.mark.parametrize("first", [0, pytest.param(6, marks=pytest.mark.slow)])
def test_weeks_that_were_stored_are_those_of_their_table(tmp_path: Path, first: int) -> None:
    bars = weeks(3, 120, first=first)
    source = source_of(bars)
    expected = traded(source, bars)
    for _ in range(2):
        stored = bknb.exchanges.stored(source, folder=tmp_path)
        pd.testing.assert_frame_equal(traded(stored, bars), expected)
    done = bknb.download("X", exchange=stored, start=bars[20].t, end=bars[110].t, warmup_minutes=0, progress=False)
    assert (done.complete, done.series[0].candles) == (True, 90)
    assert "note" not in str(done)
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["all.parquet"]
    pd.testing.assert_frame_equal(traded(bknb.exchanges.from_store(tmp_path), bars), expected)
    assert not bknb.audit("X", exchange=stored, start=bars[20].t, end=bars[110].t).findings


@pytest.mark.slow
def test_an_exchange_s_own_weeks_begin_on_monday(tmp_path: Path) -> None:
    """As ccxt and Binance give them; beside shorter candles they are not asked for."""
    bars = weeks(3, 160)
    monday = bars[-1].t
    with LocalBinance(source_of(bars), now=lambda: monday + 3 * DAY) as server:
        options: dict[str, Any] = {"config": server.ccxt_config, "cache": tmp_path}
        source = bknb.exchanges.ccxt("binance", intervals=("1w",), **options)
        result = bknb.backtest(
            "BTCUSDT", strategy=lambda ctx: ctx.candles("1w", 2), exchange=source, frame=(monday - 4 * WEEK, monday)
        )
        assert result.base == "1w"
        assert ((monday - result.candles.timestamp) / WEEK).tolist()[-5:] == [4.0, 3.0, 2.0, 1.0, 0.0]
        assert "1w" not in (bknb.exchanges.ccxt("binance", **options).intervals or ())
        with pytest.raises(bknb.UsageError, match="weeks are base bars alone"):
            bknb.exchanges.ccxt("binance", intervals=("1d", "1w"), **options)


def test_weeks_of_a_function_that_begin_on_another_day_are_refused_in_words() -> None:
    bars, clock = weeks(3, 120, first=6), SimulatedClock(LATER)
    with pytest.raises(bknb.BadCandle, match=r"weekly bars of this source open as on .*\n.*from_frame\(frame, stamp="):
        traded(of_function(bars, clock), bars)


@pytest.mark.slow
def test_a_live_run_over_a_store_of_weeks_is_that_over_its_source(tmp_path: Path) -> None:
    bars = weeks(4, 120)
    start, until = bars[40].t, bars[90].t
    clock = SimulatedClock(start)
    stored = StoredSource(of_function(bars, clock).source, CandleStore(tmp_path), now=clock.now)
    strategy = bknb.add_strategy("timed", interval="1w", get_signal=timed(bars=2))
    live = live_compared(strategy, stored, start, until, clock=clock)
    assert len(live.trades) > 10


def test_weeks_are_not_cut_from_shorter_bars_where_no_strategy_asks() -> None:
    """By the calendar they begin on Monday; multiples of seven days since 1970 do on Thursday."""
    days = pd.date_range("2024-01-01", periods=60, freq="D")
    source = from_frame(table(days))
    feed = Feed(source, bknb.config.Settings())
    with pytest.raises(bknb.UsageError, match=r"1w has no one length over the 1d bars.*\nctx\.candles\('1w', 12\)"):
        asyncio.run(feed.fetch("X", "1w", days[0].value // 10**6, days[-1].value // 10**6))
    with pytest.raises(bknb.UsageError, match="1w has no one length over the 1d bars"):
        bknb.audit("X", exchange=source, start="2024-01-01", end="2024-02-01", compare=["1w"])
    with pytest.raises(bknb.UsageError, match="has weekly bars, and its weeks in which it trades"):
        bknb.exchanges.in_sessions(source_of(weeks(1, 40)), "us-equities")


def test_weeks_of_yahoo_are_read_and_the_running_one_is_left_out(package: Any) -> None:
    now = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    running = now - pd.Timedelta(days=now.weekday())
    index = pd.date_range(end=running, periods=60, freq="7D", name="Date")
    package.answer = of_yahoo(index, "AAPL", "MSFT")
    source = bknb.exchanges.yfinance("AAPL MSFT", interval="1wk")
    assert package.asked[0]["interval"] == "1wk"
    assert (source.base_interval, source.symbols) == ("1w", ("AAPL", "MSFT"))
    assert source._of("MSFT").timestamp[-1] == (running - pd.Timedelta(days=7)).value // 10**6
    assert any("has not ended, and is left out" in note for note in source.warnings)


def test_a_card_names_the_week_that_has_changed() -> None:
    index = every_week()
    frame = ("2020-06-01", "2020-12-28")
    strategy = bknb.add_strategy("idle", interval="1w", get_signal=lambda: None)
    bknb.add_exchange("mine", get_candles=bknb.exchanges.from_frame(table(index)))
    card = bknb.backtest("X", strategy=strategy, exchange="mine", frame=frame).card
    changed = table(index)
    changed.loc["2020-08-03", "Close"] += 0.01
    bknb.add_exchange("mine", get_candles=bknb.exchanges.from_frame(changed))
    again = bknb.backtest("X", strategy=strategy, exchange="mine", frame=frame).card
    assert "2020-08-03" in str(card.diff(again))


def test_a_split_within_a_week_is_refused_and_a_dividend_counts_from_the_next_one_on() -> None:
    index = every_week()
    prices = table(index).assign(Open=400.0, High=400.0, Low=100.0, Close=400.0)
    prices.iloc[20:, :4] = 100.0
    split = {"date": [str(index[20].date())], "splits": [4.0]}
    found = bknb.exchanges.from_frame(prices, symbol="X", adjust=pd.DataFrame(split))
    assert found._of("X").close.tolist() == [100.0] * 60
    split["date"] = ["2020-05-20"]
    with pytest.raises(bknb.DataError, match=r"2020-05-20 lies within the bar of 2020-05-18.*\ntake daily bars"):
        bknb.exchanges.from_frame(prices, adjust=pd.DataFrame(split))
    paid = pd.DataFrame({"date": ["2020-05-06"], "dividends": [4.0]})
    closes = bknb.exchanges.from_frame(prices, symbol="X", adjust=paid)._of("X").close
    assert closes[[16, 17, 18, 19]].tolist() == [396.0, 396.0, 400.0, 400.0]
