"""A mistake is answered with what was expected, what came, and what to do; the run goes on where it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb

FRAME = ("2024-01-01", "2024-01-01 01:00")
GOOD = {"position": "long", "price_take_profit": 1e9, "price_stop_loss": 1.0, "minute_estimated_time": 5}


def run(strategy, *, exchange="demo", frame=FRAME, **options):
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=frame, **options)


def idle():
    return None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"strategy": "sma-cros"}, "did you mean 'sma-cross'"),
        ({"exchange": "dmo"}, "did you mean 'demo'"),
        ({"frame": "jn"}, "no frame is called 'jn'"),
        ({"execution": "pesimistic"}, "did you mean 'pessimistic'"),
        ({"interval": "2m"}, "unknown interval '2m'"),
        ({"settings": {"percent_fe": 1}}, "did you mean 'percent_fee'"),
        ({"settings": {"min_take_profit_distance_percent": 0.1}}, "cannot cover two slippages and two fees"),
        ({"settings": 5}, "settings must be a mapping"),
        ({"symbol": ""}, "symbol must be a non-empty text"),
        ({"frame": ("2024-02-01", "2024-01-01")}, "cannot end before it starts"),
        ({"frame": ("yesterday", "2024-01-01")}, "must be a text such as"),
        ({"exchange": 5}, "get_candles must be a function"),
        ({"strategy": lambda prise: None}, "asks for 'prise'"),
    ],
)
def test_a_wrong_call_raises_with_advice(options, expected):
    bknb.add_strategy("sma-cross", interval="15m", get_signal=idle)
    call = {"symbol": "BTCUSDT", "strategy": idle, "exchange": "demo", "frame": FRAME} | options
    with pytest.raises(bknb.BknbError) as caught:
        bknb.backtest(call.pop("symbol"), **call)
    assert expected in str(caught.value)
    assert len(caught.value.lines()) <= 3


def test_settings_that_contradict_themselves_change_nothing():
    before = bknb.get_config()
    with pytest.raises(bknb.UsageError) as caught:
        bknb.set_config(percent_fee=-1, schedule_await_minutes=0)
    assert "percent_fee" in str(caught.value)
    assert "schedule_await_minutes" in str(caught.value)
    assert bknb.get_config() is before


@pytest.mark.parametrize("name", ["percent_slippage", "percent_fee"])
@pytest.mark.parametrize("value", [100, 100.0, 101.0, 1e9])
def test_a_cost_that_leaves_nothing_of_the_value_is_refused(name, value):
    with pytest.raises(bknb.UsageError, match=f"{name} must be a percentage of at least 0 and below 100, got"):
        bknb.set_config(**{name: value})
    assert getattr(bknb.set_config(**{name: 99.5}), name) == 99.5


@pytest.mark.parametrize("tick", [0, -0.5, float("inf"), float("nan"), "0.01", True, 10**400, 10**5000], ids=range(8))
def test_a_tick_is_a_step_above_0(tick):
    with pytest.raises(bknb.UsageError, match="price_tick must be a finite price step above 0, or None"):
        bknb.set_config(price_tick=tick)
    assert bknb.set_config(price_tick=0.25).price_tick == 0.25
    assert bknb.set_config(price_tick=None).price_tick is None


def test_a_strategy_that_raises_is_counted_with_its_line_and_the_run_goes_on():
    received = []
    stop = bknb.listen_error(received.append)

    def get_signal(when):
        if when.minute >= 30:
            return 1 / 0  # the line that fails
        return None

    result = run(get_signal)
    stop()
    (failure,) = result.errors
    assert (failure.kind, failure.count) == ("strategy", 30)
    assert "ZeroDivisionError" in failure.message
    assert "the line that fails" in failure.where
    assert failure.first_at == 1_704_067_200_000 + 30 * 60_000
    assert [event.kind for event in received] == ["strategy"] * 30


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        (5, "shape"),
        ("long", "shape"),
        ({}, "shape"),
        (GOOD | {"priceOpen": 1}, "shape"),
        (GOOD | {"position": "buy"}, "position"),
        (GOOD | {"price_take_profit": float("nan"), "price_stop_loss": "90"}, "finite, finite"),
        (GOOD | {"price_take_profit": 10**400}, "finite"),
        (GOOD | {"price_stop_loss": -1}, "positive"),
        (GOOD | {"minute_estimated_time": 1.5}, "minutes_whole"),
        (GOOD | {"minute_estimated_time": 0}, "minutes_positive"),
        (GOOD | {"entry": "market"}, "entry"),
        (GOOD | {"entry": "stop"}, "entry"),
        (lambda price: GOOD | {"price_take_profit": price * 1.003}, "take_profit_costs"),
        (lambda price: GOOD | {"price_stop_loss": price}, "stop_loss_side, stopped_at_once"),
    ],
)
def test_an_answer_that_is_no_signal_is_rejected_with_every_reason(answer, codes):
    result = run(answer if callable(answer) else lambda: answer, interval="1h")
    assert result.rejected["codes"].tolist() == [codes]
    assert not result.errors
    assert result.trades.empty


def test_a_target_that_costs_eat_up_names_what_changes_it():
    result = run(lambda price: GOOD | {"price_take_profit": price * 1.003}, interval="1h")
    (text,) = result.rejected["reasons"] if "reasons" in result.rejected else result.rejected["reason"]
    assert "settings={'percent_fee': 0, 'percent_slippage': 0} trades without costs" in str(text)


def test_an_answer_that_cannot_show_itself_is_rejected_too():
    class Mute:
        def __repr__(self):
            raise RuntimeError("no")

    assert run(Mute, interval="1h").rejected["codes"].tolist() == ["shape"]


@pytest.mark.parametrize(
    ("levels", "code", "line"),
    [
        ((1.0045, 0.9, 60), "take_profit_near", "settings={'min_take_profit_distance_percent': 0} allows it"),
        ((1.1, 0.996, 60), "stop_loss_near", "settings={'min_stop_loss_distance_percent': 0} allows it"),
        ((1.1, 0.79, 60), "stop_loss_far", "settings={'max_stop_loss_distance_percent': None} allows it"),
        ((1.1, 0.9, 1441), "minutes_limit", "settings={'max_signal_lifetime_minutes': None} allows it"),
    ],
)
def test_what_is_unusual_is_refused_by_the_strict_settings_alone_with_the_line_that_allows_it(levels, code, line):
    target, stop, minutes = levels

    def get_signal(price):
        return bknb.Signal(
            position="long",
            price_take_profit=price * target,
            price_stop_loss=price * stop,
            minute_estimated_time=minutes,
        )

    refused = run(get_signal, interval="1h", settings=bknb.Settings.strict()).rejected
    assert refused["codes"].tolist() == [code]
    assert line in refused["reasons"][0]
    assert len(run(get_signal, interval="1h").trades) == 1


def test_numbers_of_numpy_are_numbers():
    answer = {
        "position": "long",
        "price_take_profit": np.float32(70_000),
        "price_stop_loss": np.float64(55_000),
        "minute_estimated_time": np.int64(5),
    }
    result = run(lambda: answer, interval="1h")
    assert len(result.trades) == 1
    assert result.rejected.empty


def rows(since, limit):
    return [(since + i * 60_000, 100.0, 101.0, 99.0, 100.0, 1.0) for i in range(limit)]


@pytest.mark.parametrize(
    ("source", "error", "expected"),
    [
        (lambda symbol, interval, since, limit: [], bknb.NotEnoughData, "no one-minute candles"),
        (lambda symbol, interval, since, limit: rows(0, 5), bknb.DataError, "BTCUSDT"),
        (lambda symbol, interval, since, limit: "nonsense", bknb.UsageError, "get_candles must return"),
        (lambda symbol, interval, since, limit: 1 / 0, bknb.DataError, "division by zero"),
        (
            lambda symbol, interval, since, limit: [
                (t, o, h, float("nan"), c, v) for t, o, h, _, c, v in rows(since, 9)
            ],
            bknb.BadCandle,
            "nan",
        ),
    ],
)
def test_an_exchange_that_answers_wrongly_is_named(source, error, expected):
    with pytest.raises(error, match=expected):
        run(idle, exchange=source, settings={"get_candles_retry_delay_ms": 0})


def tape(minutes, *, start="2024-01-01"):
    times = pd.date_range(start, periods=minutes, freq="1min", tz="UTC")
    return pd.DataFrame({"timestamp": times, "open": 100.0, "high": 100.0, "low": 100.0, "close": 100.0, "volume": 1.0})


def test_a_frame_outside_the_data_is_refused_and_one_beyond_its_end_is_reported():
    source = bknb.exchanges.from_frame(tape(120))
    with pytest.raises(bknb.DataError, match="choose a frame inside the data"):
        run(idle, exchange=source, frame=("2024-02-01", "2024-02-02"))
    result = run(
        lambda price: GOOD | {"price_take_profit": 110.0, "price_stop_loss": 90.0, "minute_estimated_time": 600},
        exchange=source,
        frame=("2024-01-01 01:00", "2024-01-01 05:00"),
    )
    assert result.trades["close_reason"].tolist() == ["data_end"]
    assert any("ends 181 minutes before" in warning for warning in result.warnings)


def test_missing_minutes_are_refused_or_allowed_and_nothing_fills_in_them():
    table = tape(200)
    table.loc[table.index >= 90, ["open", "high", "low", "close"]] = 80.0
    source = bknb.exchanges.from_frame(table.drop(index=range(70, 90)))
    options = {"exchange": source, "frame": ("2024-01-01 01:00", "2024-01-01 03:00"), "interval": "1d"}

    def get_signal():
        return GOOD | {"price_take_profit": 110.0, "price_stop_loss": 90.0, "minute_estimated_time": 600}

    with pytest.raises(bknb.GapError):
        run(get_signal, **options)
    trade = run(get_signal, allow_gaps=True, **options).trades.iloc[0]
    assert (trade["close_reason"], trade["price_close"]) == ("stop_loss", 80.0)  # the open behind the gap
    assert trade["closed_at"] == pd.Timestamp("2024-01-01 01:30", tz="UTC")


# --- arguments that are no such thing ------------------------------------------------------------------------------


WRONG: dict[str, Callable[[Any], object]] = {
    "get_exchange": bknb.get_exchange,
    "get_frame": bknb.get_frame,
    "get_optimizer": bknb.get_optimizer,
    "get_risk": bknb.get_risk,
    "get_sizing": bknb.get_sizing,
    "get_strategy": bknb.get_strategy,
    "get_walker": bknb.get_walker,
    "content_hash": bknb.content_hash,
    "verify": bknb.verify,
    "Card.load": bknb.Card.load,
    "Sessions.of_exchange": bknb.Sessions.of_exchange,
    "Sessions.weekly": lambda wrong: bknb.Sessions.weekly(wrong, {"mon-fri": "09:30-16:00"}),
    "exchanges.ccxt": bknb.exchanges.ccxt,
    "exchanges.from_csv": bknb.exchanges.from_csv,
    "exchanges.from_parquet": bknb.exchanges.from_parquet,
    "exchanges.stored": bknb.exchanges.stored,
    "exchanges.FrameSource": bknb.exchanges.FrameSource,
    "llm.recorded": bknb.llm.recorded,
    "Backtest.get_data": lambda wrong: bknb.Backtest.get_data(wrong, wrong),
    "Live.get_data": lambda wrong: bknb.Live.get_data(wrong, wrong),
    "Walker.get_data": lambda wrong: bknb.Walker.get_data(wrong, wrong),
    "Optimizer.get_data": lambda wrong: bknb.Optimizer.get_data(wrong, wrong),
    "Schedule.get_data": lambda wrong: bknb.Schedule.get_data(wrong, wrong),
}


@pytest.mark.parametrize("wrong", [None, 7, [1], {}], ids=repr)
@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_another_kind_is_told(name: str, wrong: Any) -> None:
    if name in ("llm.recorded", "exchanges.FrameSource") and wrong == {}:
        return  # no replies, no symbols
    if name in ("exchanges.from_parquet", "Sessions.of_exchange", "exchanges.ccxt"):
        packages = {"exchanges.from_parquet": "pyarrow", "exchanges.ccxt": "ccxt"}
        pytest.importorskip(packages.get(name, "exchange_calendars"))
    with pytest.raises(bknb.BknbError):
        WRONG[name](wrong)
