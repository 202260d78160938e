"""Position sizes: known values, limits in their order, and numbers that cannot be."""

from __future__ import annotations

import numpy as np
import pytest

import bknb

MARKET = {"balance": 10_000.0, "price_open": 50_000.0}
ODDS = {"win_rate": 0.55, "win_loss_ratio": 1.5}


def fixed(stop, **limits):
    bknb.add_sizing("fixed", method="fixed-percentage", risk_percentage=2, **limits)
    return bknb.PositionSize.fixed_percentage("BTCUSDT", **MARKET, price_stop_loss=stop, sizing="fixed")


def kelly(odds, **parameters):
    bknb.add_sizing("kelly", method="kelly-criterion", **parameters)
    return bknb.PositionSize.kelly_criterion("BTCUSDT", **MARKET, **odds, sizing="kelly")


def test_known_values():
    assert fixed(49_000) == fixed(51_000) == pytest.approx(0.2)
    assert kelly(ODDS) == pytest.approx(0.0125)
    assert kelly(ODDS, kelly_multiplier=1) == pytest.approx(0.05)
    assert kelly(ODDS, kelly_multiplier=0) == 0
    assert kelly({"win_rate": 0.2, "win_loss_ratio": 1.0}) == 0
    bknb.add_sizing("atr", method="atr-based", risk_percentage=2)
    assert bknb.PositionSize.atr_based("BTCUSDT", **MARKET, atr=500, sizing="atr") == pytest.approx(0.2)
    bknb.add_sizing("atr", method="atr-based", risk_percentage=2, atr_multiplier=4)
    assert bknb.PositionSize.atr_based("BTCUSDT", **MARKET, atr=500, sizing="atr") == pytest.approx(0.1)


def at_stop(stop, *, costs_percent=0.0, odds=ODDS, **parameters):
    bknb.add_sizing("kelly", method="kelly-criterion", **parameters)
    call = {**MARKET, **odds, "price_stop_loss": stop, "costs_percent": costs_percent}
    return bknb.PositionSize.kelly_at_stop("BTCUSDT", **call, sizing="kelly")


@pytest.mark.parametrize("stop", [49_000.0, 51_500.0])
@pytest.mark.parametrize("costs", [0.0, 0.4])
def test_kelly_at_a_stop_grows_fastest(stop, costs):
    """No other position grows faster in the mean of the logarithm."""
    lost = abs(stop - 50_000) / 50_000 + costs / 100
    notionals = np.linspace(0.0, 0.999 / lost, 200_001)
    growth = 0.55 * np.log1p(notionals * 1.5 * lost) + 0.45 * np.log1p(-notionals * lost)
    best = notionals[growth.argmax()]
    units = at_stop(stop, costs_percent=costs, kelly_multiplier=1)
    assert units * 50_000 / 10_000 == pytest.approx(best, rel=1e-3)


def test_kelly_at_a_stop_keeps_to_limits_and_says_what_cannot_be():
    assert at_stop(49_000, kelly_multiplier=1) == pytest.approx(2.5)
    assert at_stop(49_000, kelly_multiplier=1, max_position_percentage=100) == pytest.approx(0.2)
    assert at_stop(49_000, odds={"win_rate": 0.2, "win_loss_ratio": 1.0}, min_position_size=1.0) == 0
    with pytest.raises(bknb.UsageError, match="must be away from the entry"):
        at_stop(50_000)
    with pytest.raises(bknb.UsageError, match="costs_percent must be a percentage of at least 0, got -1"):
        at_stop(49_000, costs_percent=-1)
    with pytest.raises(bknb.UsageError, match="win_rate must be a share between 0 and 1"):
        at_stop(49_000, odds={"win_rate": 55, "win_loss_ratio": 1.0})


def test_a_limit_on_risk_has_the_last_word():
    assert fixed(49_000, min_position_size=0.5) == 0.5
    assert fixed(49_000, min_position_size=0.5, max_position_percentage=10) == pytest.approx(0.02)
    assert fixed(49_000, max_position_percentage=10, max_position_size=0.01) == 0.01


def test_no_floor_makes_a_position_of_nothing_to_gain():
    assert kelly({"win_rate": 0.2, "win_loss_ratio": 1.0}, min_position_size=1.0) == 0


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "martingale"}, "method must be one of fixed-percentage, kelly-criterion, atr-based"),
        ({"method": "fixed-percentage"}, "risk_percentage is missing"),
        ({"method": "fixed-percentage", "risk_percentage": 120}, "at most 100 %"),
        ({"method": "kelly-criterion", "risk_percentage": 1}, "risk_percentage is not a parameter of kelly-criterion"),
        ({"method": "kelly-criterion", "kelly_multiplier": 2}, "from 0 to 1"),
        ({"method": "atr-based", "risk_percentage": 1, "atr_multiplier": "two"}, "must be a number"),
        (
            {"method": "kelly-criterion", "min_position_size": 2, "max_position_size": 1},
            "min_position_size is above max_position_size",
        ),
    ],
)
def test_parameters_that_cannot_be_are_refused(parameters, message):
    with pytest.raises(bknb.UsageError, match=message):
        bknb.add_sizing("wrong", **parameters)
    assert "wrong" not in bknb.list_sizings()


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(bknb.UsageError, match="away from the entry"):
        fixed(50_000)
    with pytest.raises(bknb.UsageError, match=r"got None: the size follows.*\ndeclare a stop, or size by hand"):
        fixed(None)
    with pytest.raises(bknb.UsageError, match=r"share between 0 and 1.*\n55 % is 0.55"):
        kelly({"win_rate": 55, "win_loss_ratio": 1.5})
    with pytest.raises(bknb.UsageError, match="win_loss_ratio must be a number above 0"):
        kelly({"win_rate": 0.5, "win_loss_ratio": 0})
    bknb.add_sizing("kelly", method="kelly-criterion")
    with pytest.raises(bknb.UsageError, match="'kelly' is kelly-criterion, not atr-based"):
        bknb.PositionSize.atr_based("BTCUSDT", **MARKET, atr=500, sizing="kelly")
    with pytest.raises(bknb.UnknownName, match="did you mean 'kelly'"):
        bknb.PositionSize.atr_based("BTCUSDT", **MARKET, atr=500, sizing="kely")


def test_it_tells_what_it_calculated():
    told = []
    bknb.add_sizing(
        "told",
        method="fixed-percentage",
        risk_percentage=1,
        callbacks={"on_calculate": lambda quantity, inputs: told.append((quantity, inputs["symbol"]))},
    )
    bknb.PositionSize.fixed_percentage("ETHUSDT", balance=100, price_open=10, price_stop_loss=9, sizing="told")
    assert told == [(1.0, "ETHUSDT")]
    with pytest.raises(bknb.UnknownName, match="on_calculate"):
        bknb.add_sizing("told", method="kelly-criterion", callbacks={"on_calc": print})


@pytest.mark.parametrize("given", [None, "a", True])
def test_a_win_rate_that_is_no_number_is_refused(given):
    with pytest.raises(bknb.UsageError, match=f"win_rate must be a share between 0 and 1, got {given!r}"):
        kelly(ODDS | {"win_rate": given})
    with pytest.raises(bknb.UsageError, match=f"win_rate must be a share between 0 and 1, got {given!r}"):
        bknb.PositionSize.kelly_at_stop(
            "BTCUSDT", **MARKET, price_stop_loss=49_000, **ODDS | {"win_rate": given}, sizing="kelly"
        )
