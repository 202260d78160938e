"""A strategy sees what has closed, and there is no way from there to anything later."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.domain.interval import INTERVAL_MS

FRAME = ("2024-01-01 10:24", "2024-01-01 10:40")
INTERVALS = ("1m", "3m", "5m", "15m", "1h", "4h", "1d")


def run(get_signal, frame=FRAME, **options):
    return bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame=frame, **options)


@pytest.mark.parametrize("interval", INTERVALS)
def test_the_newest_closed_candles_on_the_utc_grid_and_nothing_else(interval):
    step, seen = INTERVAL_MS[interval], []

    def get_signal(ctx):
        candles = bknb.get_candles("BTCUSDT", interval, 5)
        last = ctx.when_ms // step * step - step
        assert candles.timestamp.tolist() == [last - step * k for k in range(4, -1, -1)]
        seen.append(len(candles))

    assert not run(get_signal).errors
    assert seen == [5] * 16


def test_no_array_and_no_base_of_an_array_holds_a_later_candle():
    def get_signal(ctx):
        candles = ctx.candles("1m", 10)
        array = candles.close
        while array is not None:
            assert array.size <= 60
            array = array.base
        base = candles.timestamp
        while base.base is not None:
            base = base.base
        assert base.size <= 60
        with pytest.raises(ValueError, match="read-only"):
            candles.close[0] = 1.0

    assert not run(get_signal).errors


def test_the_context_cannot_be_moved_in_time():
    def get_signal(ctx):
        with pytest.raises(bknb.UsageError, match="not written to"):
            ctx.when_ms = ctx.when_ms + 60_000

    assert not run(get_signal).errors


def test_the_context_follows_await_gather_and_tasks():
    async def helper():
        await asyncio.sleep(0)
        return bknb.get_when()

    async def get_signal(when):
        first, second = await asyncio.gather(helper(), asyncio.create_task(helper()))
        assert first == second == when

    assert not run(get_signal).errors


def test_a_thread_of_a_strategy_has_no_context():
    outcomes = []

    def outside():
        try:
            bknb.get_when()
        except bknb.UsageError as error:
            outcomes.append(str(error))

    def get_signal(ctx):
        for target in (outside, lambda: outcomes.append(ctx.candles("1m", 1).close.size)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        carried = contextvars.copy_context()
        thread = threading.Thread(target=lambda: carried.run(lambda: outcomes.append(bknb.get_when() == ctx.when)))
        thread.start()
        thread.join()

    assert not run(get_signal, frame=(FRAME[0], "2024-01-01 10:25")).errors
    assert "copy_context" in outcomes[0]
    assert outcomes[1:] == [1, True]


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", True])
def test_a_limit_that_is_no_number_of_candles_is_refused(limit):
    result = run(lambda symbol: bknb.get_candles(symbol, "1m", limit))
    assert "limit must be a whole number" in result.errors[0].message


def test_asking_for_too_many_candles_reports_what_is_missing():
    candles = bknb.exchanges.demo()
    frame = asyncio.run(candles.get_candles("BTCUSDT", "1m", 1_704_104_640_000, 60)).to_pandas()
    result = bknb.backtest(
        "BTCUSDT",
        strategy=lambda symbol: bknb.get_candles(symbol, "1m", 50),
        exchange=bknb.exchanges.from_frame(frame),
        frame=("2024-01-01 10:24", "2024-01-01 11:22"),
    )
    failure = result.errors[0]
    assert failure.kind == "warm-up"
    assert "50 closed 1m candles of BTCUSDT were asked for" in failure.message
    assert failure.count == 49  # from 10:25 to 11:13 fewer than 50 minutes have closed


def test_the_future_does_not_change_the_past():
    start = 1_704_067_200_000
    tape = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", start, 2000)).to_pandas()
    rng = np.random.default_rng(7)

    def get_signal(ctx):
        closes = ctx.candles("5m", 4).close
        if closes[-1] > closes[0]:
            price = ctx.price
            return bknb.Signal(
                position="long",
                price_take_profit=price * 1.006,
                price_stop_loss=price * 0.994,
                minute_estimated_time=60,
            )
        return None

    def events(table, until):
        source = bknb.exchanges.from_frame(table)
        result = bknb.backtest(
            "BTCUSDT",
            strategy=get_signal,
            interval="5m",
            exchange=source,
            frame=("2024-01-01 01:00", "2024-01-02 06:00"),
        )
        return [event for event in result.events if event.when < until]

    for cut in (400, 900, 1500):
        changed = tape.copy()
        changed.iloc[cut:, :4] *= np.exp(rng.normal(0.05, 0.01))
        until = start + cut * 60_000
        assert events(tape, until) == events(changed, until) != []


def answers_about_another(behind):
    """What a strategy is told of a symbol that is halted on the first day and trades again ``behind`` days later."""
    minutes = np.arange(4 * 1440)
    day = pd.DataFrame(
        {"open": 1.0, "high": 2.0, "low": 1.0, "close": 1 + minutes % 7 / 7, "volume": 1.0}, index=minutes
    )
    day["timestamp"] = 1_704_067_200_000 + minutes * 60_000
    halted = day[(minutes < 1000) | (minutes >= 1000 + behind * 1440)]
    told = []

    def get_signal(ctx):
        questions = {
            "5m": lambda: list(ctx.get_candles("HALTED", "5m", 3)),
            "1h": lambda: list(ctx.get_candles("HALTED", "1h", 2)),
            "price": lambda: ctx.get_average_price("HALTED"),
            "panel": lambda: bytes(ctx.panel(["BTCUSDT", "HALTED"], "1h", 3).close),
        }
        for name, question in questions.items():
            try:
                told.append((ctx.when_ms, name, question()))
            except bknb.NotEnoughData as error:
                told.append((ctx.when_ms, name, str(error)))

    table = pd.concat([day.assign(symbol="BTCUSDT"), halted.assign(symbol="HALTED")])
    strategy = bknb.add_strategy("another", interval="4h", get_signal=get_signal)
    exchange = bknb.exchanges.from_frame(table)
    result = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=exchange, frame=("2024-01-01 12:00", "2024-01-03 12:00"), allow_gaps=True
    )
    assert result.errors == []
    return told


def test_nothing_tells_whether_a_symbol_that_is_halted_will_trade_again():
    resumes, soon = answers_about_another(2), 1_704_067_200_000 + (1000 + 1440) * 60_000
    assert resumes == answers_about_another(9)
    assert [each for each in answers_about_another(1) if each[0] <= soon] == [
        each for each in resumes if each[0] <= soon
    ]
    assert not [each for each in resumes if isinstance(each[2], str)]  # the newest there are
