"""Position sizes: known values, limits in their order, and numbers that cannot be."""

from __future__ import annotations

import pytest

import bknb
from bknb.domain.sizing import atr_based, fixed_percentage, kelly_criterion, make_sizing

MARKET = {"balance": 10_000.0, "price_open": 50_000.0}


def fixed(**limits):
    return make_sizing("fixed", "fixed-percentage", {"risk_percentage": 2, **limits})


def test_known_values():
    assert fixed_percentage(fixed(), **MARKET, price_stop_loss=49_000) == pytest.approx(0.2)
    assert fixed_percentage(fixed(), **MARKET, price_stop_loss=51_000) == pytest.approx(0.2)
    quarter, full = (make_sizing("k", "kelly-criterion", given) for given in ({}, {"kelly_multiplier": 1}))
    odds = {"win_rate": 0.55, "win_loss_ratio": 1.5}
    assert kelly_criterion(quarter, **MARKET, **odds) == pytest.approx(0.0125)
    assert kelly_criterion(full, **MARKET, **odds) == pytest.approx(0.05)
    assert kelly_criterion(full, **MARKET, win_rate=0.2, win_loss_ratio=1.0) == 0
    wide = make_sizing("atr", "atr-based", {"risk_percentage": 2})
    assert atr_based(wide, **MARKET, atr=500) == pytest.approx(0.2)


def test_a_limit_on_risk_has_the_last_word():
    both = fixed(max_position_percentage=10, min_position_size=0.5, max_position_size=0.3)
    with_floor = fixed(max_position_percentage=10, min_position_size=0.5)
    assert fixed_percentage(with_floor, **MARKET, price_stop_loss=49_000) == pytest.approx(0.02)
    with pytest.raises(AssertionError):
        raise AssertionError(both)


def test_no_floor_turns_nothing_to_gain_into_a_position():
    kelly = make_sizing("k", "kelly-criterion", {"min_position_size": 1.0})
    assert kelly_criterion(kelly, **MARKET, win_rate=0.2, win_loss_ratio=1.0) == 0
