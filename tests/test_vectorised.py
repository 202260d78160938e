"""Vectorised strategies: a row per candle, acted on when it has closed; the same in a backtest, live and in a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import rest_long
from scenarios import MINUTE, ORIGIN, source
from test_live_parity import JumpingClock, backtest_with_late_decisions, live, told
from test_sweep_parity import get_signals as random_signals
from worlds import LENGTH, SEEDS, SETTINGS, walk

import bknb
from bknb.engine.column_values import INVALID
from bknb.engine.get_signals_columns import read_rows
from bknb.engine.registration_checks import definition, make_strategy, with_params
from bknb.errors import UsageError

FRAME = ("2024-01-01", "2024-01-10")


def crossing(candles: bknb.Candles, fast: int = 4, slow: int = 12) -> pd.DataFrame:
    """A cross of two averages, written with pandas as many would."""
    close = pd.Series(candles.close)
    above = close.rolling(fast).mean() > close.rolling(slow).mean()
    return pd.DataFrame(
        {
            "position": (above & ~above.shift(fill_value=False)).astype(int),
            "price_take_profit": close * 1.015,
            "price_stop_loss": close * 0.99,
            "minute_estimated_time": 300,
            "above": above,
        }
    )


def run(strategy: Any, **options: Any) -> bknb.Result:
    return bknb.backtest("BTCUSDT", **{"strategy": strategy, "exchange": "demo", "frame": FRAME} | options)


def same_trades(one: bknb.Result, other: bknb.Result) -> bool:
    names = ["signal_id", "strategy"]
    return bool(one.trades.drop(columns=names).equals(other.trades.drop(columns=names)))


# --- what a row means ------------------------------------------------------------------------------------------


def test_a_row_is_acted_on_when_its_candle_has_closed() -> None:
    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 1.0) for k in range(-60, 60)]

    def one_row(candles: bknb.Candles) -> dict[str, Any]:
        wanted = candles.timestamp == ORIGIN + 15 * MINUTE  # the candle of minutes 15 to 29
        return {
            "position": wanted,
            "price_take_profit": 102.0,
            "price_stop_loss": 98.0,
            "minute_estimated_time": 5,
        }

    result = run(one_row, interval="15m", exchange=source(rows), frame=(ORIGIN, ORIGIN + 50 * MINUTE))
    assert [event.when for event in result.events] == [ORIGIN + 30 * MINUTE, ORIGIN + 35 * MINUTE]


@pytest.mark.slow
@pytest.mark.parametrize("frame_interval", ["1m", "15m", "1h"])
def test_it_trades_as_get_signal_with_the_last_row_would(frame_interval: str) -> None:
    def asked(ctx: Any) -> Any:
        last = crossing(ctx.candles("15m", 20)).iloc[-1]
        if not last.position:
            return None
        return {"position": "long"} | {
            name: last[name] for name in ("price_take_profit", "price_stop_loss", "minute_estimated_time")
        }

    frame = bknb.add_frame("days", start=FRAME[0], end=FRAME[1], interval=frame_interval)
    vectorised = make_strategy("v", interval="15m", get_signals=crossing, lookback=20)
    one, other = run(vectorised, frame=frame), run(asked, interval="15m", frame=frame)
    assert len(one.trades) > 3
    assert same_trades(one, other)
    assert one.warnings == []


def test_rows_that_break_rules_are_rejected_with_reasons() -> None:
    def spoilt(candles: bknb.Candles) -> dict[str, Any]:
        close, hours = candles.close, (candles.timestamp - ORIGIN) // (60 * MINUTE)
        good = {
            "position": np.zeros(len(close)),
            "price_take_profit": close * 1.02,
            "price_stop_loss": close * 0.98,
            "minute_estimated_time": np.full(len(close), 30.0),
            "price_open": np.full(len(close), np.nan),
        }
        for row, position in enumerate([1, np.nan, 3, 1, 1, 1, 1, 1]):
            good["position"][hours == row] = position
        for name, row, value in [
            ("price_take_profit", 0, -np.inf), ("minute_estimated_time", 3, 2.5), ("price_stop_loss", 4, np.inf),
            ("price_open", 5, -1.0), ("minute_estimated_time", 6, np.inf), ("price_take_profit", 7, 1.0),
        ]:  # fmt: skip
            good[name][hours == row] = value
        return good

    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 1.0) for k in range(-60, 24 * 60 + 5)]
    hour = 60 * MINUTE
    result = run(spoilt, interval="1h", exchange=source(rows), frame=(ORIGIN + hour, ORIGIN + 24 * hour))
    codes = result.rejected["codes"].tolist()
    assert [code.split(", ")[0] for code in codes] == [
        "finite", "position", "minutes_whole", "finite", "positive", "minutes_whole", "take_profit_side"]  # fmt: skip
    assert len(result.trades) == 0


def test_a_limit_entry_waits_for_its_price() -> None:
    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 99.0 if k == 20 else 100.0, 100.0, 1.0) for k in range(-60, 60)]

    def limit(candles: bknb.Candles) -> dict[str, Any]:
        return {
            "position": candles.timestamp == ORIGIN,
            "price_open": 99.5,
            "price_take_profit": 102.0,
            "price_stop_loss": 98.0,
            "minute_estimated_time": 5,
        }

    result = run(limit, interval="15m", exchange=source(rows), frame=(ORIGIN, ORIGIN + 50 * MINUTE))
    assert [type(event).__name__ for event in result.events] == ["Scheduled", "Opened", "Closed"]
    assert result.trades["price_open"].tolist() == [99.5]


def test_a_stop_entry_waits_for_the_market_to_come() -> None:
    rows = [(ORIGIN + k * MINUTE, 100.0, 101.0 if k == 20 else 100.0, 100.0, 100.0, 1.0) for k in range(-60, 60)]

    def entry(candles: bknb.Candles) -> pd.DataFrame:
        wanted = candles.timestamp == ORIGIN
        levels = {"price_open": 100.5, "price_take_profit": 102.0, "price_stop_loss": 98.0}
        table = pd.DataFrame({"position": wanted.astype(int), "minute_estimated_time": 5, **levels})
        return table.assign(stop_entry=pd.Series(wanted, dtype=object).where(wanted))  # what is missing is false

    result = run(entry, interval="15m", exchange=source(rows), frame=(ORIGIN, ORIGIN + 50 * MINUTE))
    assert [(type(event).__name__, (event.when - ORIGIN) // MINUTE) for event in result.events] == [
        ("Scheduled", 15), ("Opened", 20), ("Closed", 25)]  # fmt: skip
    assert result.trades["price_open"].tolist() == [100.5]


def test_a_stop_entry_needs_a_price() -> None:
    def entry(candles: bknb.Candles) -> dict[str, Any]:
        return dict(crossing(candles)) | {"stop_entry": True}

    result = run(entry, interval="15m")
    assert len(result.trades) == 0
    assert set(result.rejected["codes"]) == {"entry"}


LEVELS = ("price_take_profit", "price_stop_loss", "minute_estimated_time")
TIMES = np.arange(3) * 3_600_000 + 1_704_067_200_000
HOURS = pd.date_range("2024-01-01", periods=3, freq="1h", tz="UTC")
OTHER_ROWS = [
    (
        HOURS.shift(1),
        "row 0 of .* must be of the candle that opens at 2024-01-01 00:00 UTC, its index says 2024-01-01 01:00 UTC",
    ),
    (HOURS[::-1], "row 0 of .*, its index says 2024-01-01 02:00"),
    (HOURS[::-1].tz_localize(None), "row 0 of .*, its index says 2024-01-01 02:00"),
    (pd.DatetimeIndex([HOURS[0], HOURS[1], pd.NaT]), "row 2 of .*, its index says no time"),
    (
        pd.Index(pd.Series(HOURS.shift(1)).astype("timestamp[ns, UTC][pyarrow]")),
        "row 0 of .*, its index says 2024-01-01 01",
    ),
    (HOURS.shift(1).astype(object), "row 0 of .*, its index says 2024-01-01 01:00"),
    (HOURS.tz_localize(None).to_period("h").shift(1), "row 0 of .*, its index says 2024-01-01 01:00"),
    (pd.Index(TIMES + 3_600_000), "row 0 of .*, its index says 2024-01-01 01:00"),
    (pd.Index((TIMES + 3_600_000) / 1000), "row 0 of .*, its index says 2024-01-01 01:00"),
    (HOURS.shift(1).astype(str), "row 0 of .*, its index says 2024-01-01 01:00"),
    (HOURS.shift(1).strftime("%d.%m.%Y %H:%M"), "row 0 of .*, its index says 2024-01-01 01:00"),
    (pd.Index(["2024-01-01", "2024-01-01T01:00", None]), "row 2 of .*, its index says no time"),
    (pd.Index([20_240_101, 20_240_102, 20_240_103]), "row 1 of .*, its index says 2024-01-02 00:00"),
    (pd.CategoricalIndex(HOURS.shift(1)), "row 0 of .*, its index says 2024-01-01 01:00"),
    (pd.MultiIndex.from_product([["BTC"], HOURS.shift(1)]), "row 0 of .*, its index says 2024-01-01 01:00"),
    (pd.Index([0, 2, 1]), "must ascend as the candles do, it does not"),
    (pd.Index([None] * 3, dtype="Int64"), "must ascend as the candles do, it does not"),
]


def indexed(index: Any, kind: str) -> Any:
    table = pd.DataFrame({"position": [0, 1, 0], **dict.fromkeys(LEVELS, 1.0)}, index=index)
    return table if kind == "table" else {"position": table["position"], **dict.fromkeys(LEVELS, 1.0)}


@pytest.mark.parametrize("kind", ["table", "columns"])
@pytest.mark.parametrize(("index", "said"), OTHER_ROWS, ids=["moved", "turned", "naive", "no time", "arrow",
                         "objects", "periods", "ms", "s", "text", "dotted", "no text", "written", "categories",
                         "symbols", "numbers", "no numbers"])  # fmt: skip
def test_rows_of_other_candles_are_refused(index: Any, said: str, kind: str) -> None:
    with pytest.raises(
        UsageError, match=rf"strategy 'demo': .*{said}.*\nrows are taken by their place.*reset_index\(drop=True\)"
    ):
        read_rows(indexed(index, kind), 3, "demo", times=TIMES)


@pytest.mark.parametrize("kind", ["table", "columns"])
@pytest.mark.parametrize("index", [HOURS, HOURS.as_unit("s"), HOURS.tz_convert("Europe/Berlin"),
                                   HOURS.tz_localize(None), HOURS.astype(object),
                                   pd.Index(pd.Series(HOURS).astype("timestamp[ns, UTC][pyarrow]")),
                                   HOURS.tz_localize(None).to_period("h"),
                                   TIMES, TIMES / 1000, HOURS.astype(str), HOURS.strftime("%Y-%m-%d %H:%M"),
                                   pd.MultiIndex.from_product([["BTC"], HOURS]),
                                   None, [5, 6, 7], [30_000_001, 30_000_002, 30_000_003], ["c", "b", "a"]])  # fmt: skip
def test_rows_of_these_candles_are_read(index: Any, kind: str) -> None:
    assert read_rows(indexed(index, kind), 3, "demo", times=TIMES).position.tolist() == [0, 1, 0]


def test_an_indicator_may_be_of_other_moments() -> None:
    daily = pd.Series([1.0, 2.0, 3.0], index=HOURS.shift(1))
    assert len(read_rows(indexed(HOURS, "columns") | {"daily": daily}, 3, "demo", times=TIMES)) == 3


def test_a_column_that_was_moved_by_its_index_ends_the_run() -> None:
    def entry(candles: Any) -> dict[str, Any]:
        close = candles.to_pandas()["close"]
        moved = (close > close.shift(1)).astype(int).shift(1, freq="15min")  # meant to act one candle later
        return {"position": moved, "price_take_profit": close * 1.01, "price_stop_loss": close * 0.99,
                "minute_estimated_time": 60}  # fmt: skip

    with pytest.raises(UsageError, match="row 0 of the column position of get_signals must be of the candle"):
        run(entry, interval="15m", frame=("2024-01-01", "2024-01-02"))


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, tuple])
def test_columns_may_be_anything_of_numbers(kind: Any) -> None:
    rows = read_rows(
        {
            "position": kind([1, 0, -1, 2]),
            "price_take_profit": kind([1.0, 2.0, 3.0, 4.0]),
            "price_stop_loss": 5,
            "minute_estimated_time": kind([1, 2, 3, 4]),
        },
        4,
        "demo",
    )
    assert rows.position.tolist() == [1, 0, -1, INVALID]
    assert rows.price_stop_loss.tolist() == [5.0] * 4
    assert np.isnan(rows.price_open).all()
    assert rows.answer(2) == {
        "position": "short",
        "price_take_profit": 3.0,
        "price_stop_loss": 5.0,
        "minute_estimated_time": 3.0,
        "price_open": None,
        "entry": "limit",
    }


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda _: None, "got NoneType"),
        (lambda _: {"position": 1}, "missing: price_take_profit"),
        (lambda c: crossing(c).dropna().iloc[5:], "keep every row"),
        (lambda c: dict(crossing(c)) | {"price_opn": 1.0}, "did you mean 'price_open'"),
        (lambda c: dict(crossing(c)) | {"stop_entri": True}, "did you mean 'stop_entry'"),
        (lambda c: dict(crossing(c)) | {"stop_entry": 0.5}, "must hold True or False, got 0.5"),
        (lambda c: dict(crossing(c)) | {"price_stop_loss": ["low"] * len(c)}, "must hold numbers"),
        (lambda c: dict(crossing(c)) | {"price_stop_loss": np.zeros((len(c), 2))}, "one row per candle"),
        (lambda c: 1 / (len(c) - len(c)), "ZeroDivisionError"),
    ],
)
def test_mistakes_are_answered(answer: Any, expected: str) -> None:
    def get_signals(candles: bknb.Candles) -> Any:
        return answer(candles)

    with pytest.raises(bknb.BknbError, match=expected) as caught:
        run(get_signals, interval="15m")
    assert len(caught.value.lines()) <= 3


def test_registering() -> None:
    made = bknb.add_strategy("cross", interval="15m", get_signals=crossing, params={"fast": 3}, lookback=30)
    assert (made.params, made.lookback, made.get_signals) == ({"fast": 3}, 30, crossing)
    assert with_params(made, {"slow": 9}).params == {"fast": 3, "slow": 9}
    assert make_strategy("cross", **definition(made)).params == made.params

    @bknb.strategy("decorated", interval="15m", lookback=12)
    def get_signals(candles: bknb.Candles) -> Any:
        return crossing(candles)

    assert bknb.get_strategy("decorated").get_signals is get_signals
    assert bknb.get_strategy("decorated").lookback == 12
    with pytest.raises(bknb.UsageError, match="did you mean 'fast'"):
        bknb.add_strategy("cross", interval="15m", get_signals=crossing, params={"fats": 3})
    with pytest.raises(bknb.UsageError, match="both get_signal and get_signals"):
        make_strategy("cross", lambda: None, interval="15m", get_signals=crossing)
    with pytest.raises(bknb.UsageError, match="lookback must be"):
        bknb.add_strategy("cross", interval="15m", get_signals=crossing, lookback=0)


def test_parameters_of_an_ordinary_strategy() -> None:
    def get_signal(price: float, reach: float = 1.01) -> Any:
        return {
            "position": "long",
            "price_take_profit": price * reach,
            "price_stop_loss": price * 0.98,
            "minute_estimated_time": 60,
        }

    made = bknb.add_strategy("reach", interval="1h", get_signal=get_signal, params={"reach": 1.05})
    trades = run(made).trades
    assert len(trades) > 10
    assert (trades["price_take_profit"] / trades["price_stop_loss"]).round(9).eq(round(1.05 / 0.98, 9)).all()


# --- nothing later, and only as much as declared -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("the next candle", lambda c, t: t.assign(position=np.append(c.close[1:] > c.close[:-1], False))),
        ("the mean of all", lambda c, t: t.assign(position=c.close > c.close.mean())),
        ("the length", lambda c, t: t.assign(position=np.arange(len(c)) % 3 == 0)),
        ("a target from tomorrow", lambda c, t: t.assign(position=1, price_take_profit=np.roll(c.close, -1) * 1.02)),
        ("an hour more", lambda c, t: t.assign(position=c.close > pd.Series(c.close).shift(24))),
    ],
)
def test_a_backtest_names_what_live_could_not_do(name: str, change: Any) -> None:
    strategy = make_strategy("odd", interval="15m", get_signals=lambda candles: change(candles, crossing(candles)),
                             lookback=20)  # fmt: skip
    warnings = run(strategy).warnings
    assert any("looks ahead, or needs a longer lookback" in warning for warning in warnings), name


def test_a_function_that_needs_more_candles_than_it_says_is_named() -> None:
    def greedy(candles: bknb.Candles) -> Any:
        if len(candles) < 30:
            raise ValueError("give me more")
        return crossing(candles)

    assert "give me more, with 20 candles" in run(make_strategy("greedy", interval="15m", get_signals=greedy,
                                                                lookback=20)).warnings[0]  # fmt: skip


def test_candles_of_a_strategy_cannot_be_changed() -> None:
    def vandal(candles: bknb.Candles) -> Any:
        candles.close[:] = 1.0

    with pytest.raises(bknb.StrategyError, match="read-only"):
        run(vandal, interval="15m")


# --- live ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("model", rest_long(["vwap", "pessimistic", "touch"], kept=1))
@settings(max_examples=6)
@given(seed=SEEDS, interval=st.sampled_from(["1m", "5m"]), lookback=st.sampled_from([1, 30, 100]))
def test_live_trades_as_the_backtest(model: str, seed: int, interval: str, lookback: int) -> None:
    exchange, until = source(walk(seed)), ORIGIN + LENGTH * MINUTE
    strategy = bknb.add_strategy(
        "dice", interval=interval, get_signals=random_signals, params={"seed": seed}, lookback=lookback, execution=model
    )
    options: dict[str, Any] = {"settings": SETTINGS}
    result = live(strategy, exchange, start=ORIGIN, until=until, clock=JumpingClock(ORIGIN, seed), **options)
    backtest = backtest_with_late_decisions(
        result, start=ORIGIN, until=until, strategy=strategy, exchange=exchange, **options
    )
    assert told(result, before=until) == told(backtest, before=until)
    ends = [*(event.close_reason for event in backtest.closed), *(event.reason for event in backtest.cancelled)]
    assert ["it ended as data_end" in text for text in backtest.warnings] == [True] * ("data_end" in ends)


@pytest.mark.slow
def test_recorded_minutes_live(shared: Path) -> None:
    exchange = bknb.exchanges.from_csv(shared / "data" / "btc-perp-1m-2022-01.csv.gz")
    start = pd.Timestamp("2022-01-03", tz="UTC").value // 10**6
    until = start + 2 * 1440 * MINUTE
    strategy = bknb.add_strategy("cross", interval="15m", get_signals=crossing, lookback=20)
    backtest = bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=(start, until))
    result = live(strategy, exchange, start=start, until=until)
    assert told(result, before=until) == told(backtest, before=until) != []
