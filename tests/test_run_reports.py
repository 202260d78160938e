"""Heat, schedule and performance: figures that add up, of the right runs, and files that do not meet."""

from __future__ import annotations

import pytest

import bknb
from bknb.events.messages import Performance
from bknb.reports.performance_report import performance_info

FRAME = ("2024-01-01", "2024-01-15")
CALL = {"exchange": "demo", "frame": FRAME}
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def follow(ctx):
    closes = ctx.candles("1h", 8).close
    way = 1 if closes[-1] > closes[0] else -1
    return bknb.Signal(
        position="long" if way > 0 else "short",
        price_take_profit=ctx.price * (1 + way * 0.02),
        price_stop_loss=ctx.price * (1 - way * 0.01),
        minute_estimated_time=360,
    )


def patient(price):
    return bknb.Signal(
        position="long",
        price_open=price * 0.994,
        price_take_profit=price * 1.01,
        price_stop_loss=price * 0.98,
        minute_estimated_time=240,
    )


# -- heat ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_heat_pools_the_trades_of_all_symbols():
    heat = bknb.Heat.run(SYMBOLS, strategy=follow, interval="1h", **CALL)
    results = [bknb.Backtest.get_data(symbol, "follow") for symbol in SYMBOLS]
    assert heat.statistics["portfolio_total_trades"] == sum(len(result.trades) for result in results)
    assert heat.statistics == bknb.heat_statistics([row for r in results for row in r.trades.to_dict("records")])
    table = heat.to_pandas()
    assert set(table.index) == set(SYMBOLS)
    for result in results:
        assert table.loc[result.symbol, "total_pnl"] == result.stats["total_pnl"]
    sharpe = table["sharpe_ratio"].dropna().tolist()
    assert sharpe == sorted(sharpe, reverse=True)
    assert bknb.Heat.get_data("follow").statistics == heat.statistics
    assert heat.warnings == ()


def test_heat_says_when_symbols_do_not_compare():
    bknb.backtest("BTCUSDT", strategy=patient, interval="1h", **CALL)
    bknb.backtest("ETHUSDT", strategy=patient, interval="1h", exchange="demo", frame=("2024-01-01", "2024-01-03"))
    heat = bknb.Heat.get_data("patient")
    assert heat.warnings == ("the runs are over different times; see the list of runs",)
    assert "different times" in heat.report()
    alone = bknb.Heat.get_data("patient", results=[bknb.Backtest.get_data("BTCUSDT", "patient")])
    assert alone.statistics["total_symbols"] == 1


def test_a_symbol_without_a_trade_is_counted():
    quiet = bknb.Heat.run(SYMBOLS[:2], strategy=lambda: None, **CALL)
    assert "2, 2 of them without a trade" in dict(quiet._pairs())["Symbols"]
    assert "No trade was closed." in quiet.report()
    assert quiet.to_pandas().empty


def test_heat_of_nothing_is_refused():
    with pytest.raises(bknb.UnknownName, match="never-run"):
        bknb.Heat.get_data("never-run")
    with pytest.raises(bknb.UsageError, match="list such as"):
        bknb.Heat.run("BTCUSDT", strategy=follow, **CALL)


# -- schedule ------------------------------------------------------------------------------------------------------


def test_rates_are_of_signals_whose_fate_is_known():
    result = bknb.backtest("BTCUSDT", strategy=patient, interval="1h", **CALL)
    info = bknb.Schedule.get_data("BTCUSDT", "patient")
    assert info.opened == len(result.trades) > 5
    assert info.cancelled == len(result.cancelled) > 5
    assert info.scheduled == info.opened + info.cancelled
    assert info.activation_rate + info.cancellation_rate == pytest.approx(100)
    assert info.cancellation_rate == pytest.approx(100 * info.cancelled / info.scheduled)
    table = info.to_pandas()
    waited = table[table["action"] == "opened"]
    trades = result.trades.set_index("signal_id")
    minutes = (trades["pending_at"] - trades["scheduled_at"]).dt.total_seconds() / 60
    assert waited.set_index("signal_id")["minutes"].to_dict() == minutes.to_dict()
    assert info.avg_activation_minutes == pytest.approx(minutes.mean())
    assert dict(info.reasons) == result.cancelled["reason"].value_counts().to_dict()
    assert table.index.is_unique
    assert info.report().count("| SCHEDULED |") == info.scheduled


def test_signals_that_open_at_once_never_waited():
    bknb.backtest("BTCUSDT", strategy=follow, interval="1h", **CALL)
    info = bknb.Schedule.get_data("BTCUSDT", "follow")
    assert (info.scheduled, info.opened, info.cancellation_rate) == (0, 0, None)
    assert "No signal was scheduled." in info.report()


@pytest.mark.slow
def test_live_runs_have_the_same_reports():
    from bknb.testing.clocks import SimulatedClock

    start = 1_704_067_200_000
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=patient,
        interval="1h",
        exchange="demo",
        clock=SimulatedClock(start),
        until="2024-01-02",
        store=bknb.stores.memory(),
    )
    result = task.result()
    live = bknb.Schedule.get_data("BTCUSDT", "patient", mode="live")
    assert live.scheduled > 5
    assert live.opened >= len(result.trades) > 0
    heat = bknb.Heat.get_data("patient", mode="live")
    assert heat.statistics["portfolio_total_trades"] == len(result.trades)
    bknb.Performance.start()
    bknb.Live.background(
        "ETHUSDT",
        strategy=patient,
        interval="1h",
        exchange="demo",
        clock=SimulatedClock(start),
        until="2024-01-01 01:00",
        store=bknb.stores.memory(),
    ).result()
    bknb.Performance.stop()
    assert bknb.Performance.get_data("ETHUSDT", "patient")["live_tick"].count > 50
    bknb.Performance.clear("ETHUSDT", "patient")
    with pytest.raises(bknb.UsageError, match="mode must be"):
        bknb.Heat.get_data("patient", mode="paper")


# -- performance ---------------------------------------------------------------------------------------------------


def test_durations_are_summed_up_as_numpy_does():
    events = [
        Performance(
            metric="live_tick",
            symbol="B",
            strategy="s",
            exchange="e",
            frame=None,
            mode="live",
            duration_ms=float(at),
            at=1000 * at,
            previous_at=1000 * (at - 1) if at > 1 else None,
        )
        for at in range(1, 101)
    ]
    timing = performance_info("s", "B", events, limit=10)["live_tick"]
    assert (timing.count, timing.total_ms, timing.min_ms, timing.max_ms) == (100, 5050, 1, 100)
    assert timing.median_ms == 50.5
    assert timing.p99_ms == pytest.approx(99.01)
    assert timing.std_ms == pytest.approx(29.0115, abs=1e-4)
    assert (timing.mean_wait_ms, timing.min_wait_ms) == (1000, 1000)


def test_only_runs_between_start_and_stop_are_measured():
    bknb.Performance.start()
    bknb.backtest("BTCUSDT", strategy=follow, interval="1h", **CALL)
    bknb.Performance.stop()
    bknb.backtest("ETHUSDT", strategy=follow, interval="1h", **CALL)
    info = bknb.Performance.get_data("BTCUSDT", "follow")
    assert info["backtest_total"].count == 1
    assert info["backtest_signal"].count == len(bknb.Backtest.get_data("BTCUSDT", "follow").trades)
    assert info["backtest_timeframe"].count >= info["backtest_signal"].count
    assert info["backtest_total"].total_ms >= info["backtest_timeframe"].total_ms >= info["backtest_signal"].total_ms
    with pytest.raises(bknb.UsageError, match="run it again"):
        bknb.Performance.get_data("ETHUSDT", "follow")
    bknb.Performance.clear("BTCUSDT", "follow")
    with pytest.raises(bknb.UsageError, match="nothing was measured"):
        bknb.Performance.get_data("BTCUSDT", "follow")


def test_clearing_one_leaves_the_others():
    bknb.Performance.start()
    for symbol in SYMBOLS[:2]:
        bknb.backtest(symbol, strategy=lambda: None, interval="1h", **CALL)
    bknb.Performance.stop()
    bknb.Performance.clear("BTCUSDT", "<lambda>")
    assert bknb.Performance.get_data("ETHUSDT", "<lambda>").events > 0
    bknb.Performance.clear("ETHUSDT", "<lambda>")


# -- files ---------------------------------------------------------------------------------------------------------


def test_reports_of_different_runs_do_not_meet(tmp_path):
    bknb.Performance.start()
    for symbol in SYMBOLS[:2]:
        bknb.backtest(symbol, strategy=patient, interval="1h", **CALL)
    bknb.Performance.stop()
    paths = [
        report.dump(symbol, "patient", tmp_path / kind)
        for kind, report in (("schedule", bknb.Schedule), ("performance", bknb.Performance))
        for symbol in SYMBOLS[:2]
    ]
    paths.append(bknb.Heat.dump("patient", tmp_path / "heat"))
    assert len(set(paths)) == 5
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# ")
        assert "nan" not in text
        for row in [line for line in text.splitlines() if line.startswith("|")]:
            assert row.endswith("|")
    for symbol in SYMBOLS[:2]:
        bknb.Performance.clear(symbol, "patient")


def test_every_report_shows_itself_in_a_notebook_and_in_a_terminal():
    bknb.Performance.start()
    bknb.backtest("BTCUSDT", strategy=patient, interval="1h", **CALL)
    bknb.Performance.stop()
    for info in (
        bknb.Heat.get_data("patient"),
        bknb.Schedule.get_data("BTCUSDT", "patient"),
        bknb.Performance.get_data("BTCUSDT", "patient"),
    ):
        assert "patient" in repr(info)
        html = info._repr_html_()
        assert html.count("<table") == html.count("</table>") >= 2
        assert len(info.to_pandas())
    bknb.Performance.clear("BTCUSDT", "patient")
