"""Any function of TA-Lib by its name: what it is given, how far it looks back, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import talib_errors
from scenarios import MINUTE
from test_indicators import START, WALK, walk

import bknb
from bknb.market.indicator_names import function_of, named, parameters_of

talib = pytest.importorskip("talib")
OTHER = walk(6000, seed=8)
FRAME = (START, START + 30 * MINUTE)


def test_functions_are_called_with_their_columns_parameters_and_outputs() -> None:
    made = {
        "T3": (bknb.indicator("T3", "1m", 5, 0.6), lambda c: talib.T3(c.close, 5, 0.6)),
        "CDLDOJI": (bknb.indicator("CDLDOJI", "1m"), lambda c: talib.CDLDOJI(c.open, c.high, c.low, c.close)),
        "MFI": (bknb.indicator("MFI", "1m", np.int64(9)), lambda c: talib.MFI(c.high, c.low, c.close, c.volume, 9)),
    }
    bands = bknb.indicator("BBANDS", "5m", 10)

    def get_signal(ctx: Any) -> None:
        candles = ctx.candles("1m", 900)
        for name, (each, by_hand) in made.items():
            assert each.last(ctx) == pytest.approx(float(by_hand(candles)[-1]), rel=1e-9), name
        upper, _, lower = bands.last(ctx)
        assert upper == bands.last(ctx).upperband > lower == bands.last(ctx).lowerband

    result = bknb.backtest("X", strategy=get_signal, interval="1m", exchange=WALK, frame=FRAME)
    assert not result.errors, result.errors
    assert repr(made["T3"][0]).startswith("T3(5, 0.6) of 1m candles, lookback ")


@pytest.mark.slow
def test_every_function_looks_back_far_enough_or_is_refused() -> None:
    refused: dict[str, str] = {}
    for name in talib.get_functions():
        try:
            before = bknb.indicator(name, "1h").lookback
        except bknb.UsageError as error:
            refused[name] = str(error)
            continue
        columns, given = [getattr(OTHER, column) for column in named(name).columns], parameters_of(name, ())
        whole = values_of(name, columns, given)
        largest = np.nanmax(np.abs(whole), axis=1)
        for newest in range(2500, 6000, 500):
            alone = values_of(name, [column[newest - before : newest + 1].copy() for column in columns], given)
            with np.errstate(invalid="ignore"):
                error = np.abs(alone[:, -1] - whole[:, newest])
                is_same = (alone[:, -1] == whole[:, newest]) | (error <= 1e-9 * np.maximum(largest, 1e-300))
            assert is_same.all(), (name, before, error)
    assert len(refused) < 25
    assert {"OBV", "AD", "SAR", "MAXINDEX", "MAVP", "ACOS"} <= set(refused)
    assert all(text.count("\n") == 1 for text in refused.values()), refused


@pytest.mark.long
def test_values_in_a_run_are_those_of_ta_lib_over_all_candles() -> None:
    errors = talib_errors.of_names_in_capitals(walk(9_000))
    assert len(errors) > 170
    assert max(errors.values()) <= 1e-9, errors


def values_of(name: str, columns: list[Any], given: Any) -> Any:
    answer = function_of(name, given)(*columns, *given)
    return np.stack([np.asarray(part, float) for part in (answer.values() if isinstance(answer, dict) else [answer])])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: bknb.indicator("TT3", "1h"), "no function of TA-Lib is called 'TT3'; did you mean"),
        (lambda: bknb.indicator("T3", "1h", 2.5), "timeperiod of T3 must be a whole number, got 2.5"),
        (lambda: bknb.indicator("T3", "1h", 10**30), "timeperiod of T3 must be a whole number, got 1000000"),
        (lambda: bknb.indicator("T3", "1h", 5, 0.7, 1), r"T3 takes \(timeperiod=5, vfactor=0.7\) behind the interval"),
        (lambda: bknb.indicator("T3", "1h", -5), "TA-Lib takes no such parameters for T3"),
        (lambda: bknb.indicator("SAR", "1h"), "take 'psar', or a function of your own with lookback="),
        (lambda: bknb.indicator("OBV", "1h"), "over a window: 'obv_change'$"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told(wrong: Any, told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        wrong()


def test_without_ta_lib_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bknb.market.talib_functions.importlib.util.find_spec", lambda _name: None)
    with pytest.raises(bknb.MissingDependency, match=r"the indicator T3 needs the package 'TA-Lib'.*\n.*indicators"):
        bknb.indicator("T3", "1h")
