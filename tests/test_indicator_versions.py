"""What decides the last bits of indicators: it stands on run cards, ``verify`` names it, TA-Lib is as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from scenarios import MINUTE
from test_indicators import START, WALK

import bknb
from bknb.testing.clocks import SimulatedClock

FAST = bknb.indicator("sma", "5m", 10)
FRAME = (START, START + 60 * MINUTE)
SETTINGS = {
    "percent_fee": 0.0, "percent_slippage": 0.0,
    "min_take_profit_distance_percent": 0.1, "min_stop_loss_distance_percent": 0.1,
}  # fmt: skip


def crosses(ctx: Any) -> Any:
    if FAST(ctx)[-1] < ctx.price:
        return bknb.Signal(position="long", target_percent=0.3, stop_percent=0.3, minute_estimated_time=9)
    return None


def plain(ctx: Any) -> None:
    ctx.candles("5m", 10)


BOTH: dict[str, Callable[..., Any]] = {"plain": plain, "crosses": crosses}


def rows(candles: Any) -> Any:
    position = np.where(FAST(candles) < candles.close, 1, 0)
    return {"position": position, "target_percent": 0.3, "stop_percent": 0.3, "minute_estimated_time": 9}


def run(function: Callable[..., Any], **options: Any) -> Any:
    given = {"interval": "5m", "exchange": WALK, "frame": FRAME, "settings": SETTINGS} | options
    return bknb.backtest("X", strategy=function, **given)


def test_a_card_has_the_versions_where_indicators_were_made() -> None:
    assert "TA-Lib" not in run(plain).card.made_with
    strategy = bknb.add_strategy("rows", interval="5m", get_signals=rows, lookback=20)
    live = bknb.Live.background(
        "X", strategy=bknb.add_strategy("live", interval="1m", get_signal=crosses), exchange=WALK, settings=SETTINGS,
        clock=SimulatedClock(START), until=START + 40 * MINUTE, store=bknb.stores.memory(),
    )  # fmt: skip
    cards = {"asked": run(crosses).card, "rows": run(strategy, interval=None).card, "live": live.result(60).card}
    for name, card in cards.items():
        assert {"TA-Lib", "vector instructions", "numpy", "pandas", "platform"} <= set(card.made_with), name
        if "talib" in sys.modules:
            assert "(C library " in card.made_with["TA-Lib"]


def test_what_runs_beside_over_the_same_candles_puts_nothing_on_a_card() -> None:
    named = {name: bknb.add_strategy(name, interval="5m", get_signal=each) for name, each in BOTH.items()}
    pair = bknb.portfolio(symbols=["X"], strategies=[*named.values()], exchange=WALK, frame=FRAME, settings=SETTINGS)
    told = {name: "TA-Lib" in leg.card.made_with for (_, name), leg in pair.legs.items()}
    assert told == {"crosses": True, "plain": False}
    assert {"TA-Lib", "vector instructions"} <= set(pair.card.made_with)
    assert "TA-Lib" in pair.card.report()
    assert "TA-Lib" in pair.tearsheet().html
    walked = bknb.walker("X", strategies=[*named.values()], exchange=WALK, frame=FRAME, settings=SETTINGS)
    assert {name: "TA-Lib" in each.card.made_with for name, each in walked.results.items()} == told


def test_what_decides_for_other_legs_is_on_their_cards() -> None:
    bknb.model("averages", every="00:00 UTC")(lambda ctx: float(FAST(ctx)[-1]))
    asks = bknb.add_strategy("asks", interval="5m", get_signal=lambda ctx: ctx.model("averages") and None)
    given: dict[str, Any] = {"exchange": WALK, "frame": FRAME, "settings": SETTINGS, "capital": 1000}

    @bknb.weights("weighs", symbols=["X", "Y"], interval="5m")
    def weighs(ctx: Any) -> dict[str, float]:
        FAST(ctx, symbol="Y")
        return {}

    for legs in ({"symbols": ["X", "Y"], "strategies": [asks]}, {"strategies": ["weighs"]}):
        first, again = (bknb.portfolio(**legs, **given) for _ in range(2))
        for result in (first, again):  # which has the fits of the first
            assert all("TA-Lib" in leg.made_with for leg in result.card.legs), legs


def test_without_ta_lib_it_is_said_whose_formulas_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bknb.market.talib_functions.importlib.util.find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "talib", None)
    assert run(crosses).card.made_with["TA-Lib"] == "not installed, formulas of bknb"


def test_verify_names_what_may_move_last_bits() -> None:
    card = run(crosses).card
    assert card.outcome.trades > 0
    other = {**card.made_with, "TA-Lib": "0.6.5 (C library 0.6.4)", "numpy": "1.26.4"}
    older = msgspec.structs.replace(card, made_with=other)
    same = older.verify(strategy=crosses, exchange=WALK)
    assert same.same
    assert "twelve digits" not in repr(same)
    outcome = msgspec.structs.replace(card.outcome, digest="0" * 64)
    told = repr(msgspec.structs.replace(older, outcome=outcome).verify(strategy=crosses, exchange=WALK))
    assert "its indicators are the same to the last bit with the same TA-Lib, numpy alone, and to about twelve" in told


def test_switches_of_ta_lib_that_were_changed_are_refused_wherever_values_are_made() -> None:
    talib = pytest.importorskip("talib")

    def own(close: Any) -> Any:
        return talib.RSI(close, 5)

    given = bknb.indicator("ema", "5m", 5), bknb.indicator(own, "5m", lookback=120)
    told = "the unstable period of RSI of TA-Lib was changed in this process"
    try:
        talib.set_unstable_period("RSI", 3)
        with pytest.raises(bknb.UsageError, match=told):
            bknb.indicator("rsi", "5m")
        for each in given:
            (failure,) = run(lambda ctx, each=each: each(ctx) and None).errors
            assert told in failure.message
    finally:
        talib.set_unstable_period("RSI", 0)
