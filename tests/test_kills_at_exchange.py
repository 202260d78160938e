"""Orders at a local exchange, killed before and after requests and writes: all is protected, nothing sent twice."""

from __future__ import annotations

import sys

import exchange_life_of_swaps
import pytest
from exchange_life import live

import bknb

pytest.importorskip("ccxt")
pytest_plugins = ["exchange_fixtures"]
SAMPLED = 23  # every so many moments, in the default suite
SAMPLED_SWAP = 41
STOP_SECONDS = 9.0
"""How long a stop may be missing where nobody knows whether its request arrived: receive window and one question."""
SALE_SECONDS = 130.0
"""The same for what the smaller of two stops held, where nobody knows whether the sale behind its end has arrived."""
MOST_REQUESTS = 3  # of a life that nobody kills: to cancel, to read the last fill, to sell


def test_a_life_that_nobody_kills_is_without_its_stop_for_single_requests(exchange, broker):
    lived = live(exchange, broker, at=0)
    assert max(each.requests for each in lived.exposures) <= MOST_REQUESTS, lived.exposures
    assert max(each.seconds for each in lived.exposures) - lived.measured < 0.1


@pytest.mark.parametrize(
    "every",
    [pytest.param(SAMPLED, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)],
    ids=["some", "every one"],
)
def test_killed_before_and_after_requests_and_writes_the_account_is_as_recorded_and_protected(exchange, broker, every):
    moments = live(exchange, broker, at=0).moments
    worst: dict[str, float] = {}
    longest: list[tuple[str, float]] = []
    for at in range(every // 2 + 1, len(moments) + 1, every):
        lived = live(exchange, broker, at=at)
        name = moments[at - 1]
        longest.append((name, max(each.seconds for each in lived.exposures)))
        worst[name] = max([worst.get(name, 0.0), *(each.seconds for each in lived.exposures)])
    sys.stdout.write(f"{len(moments)} moments, every {every}: longest seconds without a stop, with pauses: {worst}\n")
    assert max(worst.values()) < SALE_SECONDS, worst
    assert len([name for name, seconds in longest if seconds > STOP_SECONDS]) <= 2, longest


@pytest.fixture
def swap_broker(exchange, monkeypatch):
    config = exchange.ccxt_config("binanceusdm")
    monkeypatch.setenv("BKNB_BINANCE_SANDBOX_KEY", config.pop("apiKey"))
    monkeypatch.setenv("BKNB_BINANCE_SANDBOX_SECRET", config.pop("secret"))
    return bknb.brokers.ccxt("binance", market="swap", config={**config, "enableRateLimit": False})


@pytest.mark.parametrize(
    "every",
    [pytest.param(SAMPLED_SWAP, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.long)],
    ids=["some", "every one"],
)
def test_killed_with_targets_that_rest_no_level_is_sold_twice_and_a_stop_rests_for_what_is_left(
    exchange, swap_broker, every
):
    moments, longest = exchange_life_of_swaps.live(exchange, swap_broker, at=0)
    assert max(each.requests for each in longest) <= MOST_REQUESTS
    worst: dict[str, float] = {}
    for at in range(every // 2 + 1, len(moments) + 1, every):
        _, found = exchange_life_of_swaps.live(exchange, swap_broker, at=at)
        name = moments[at - 1]
        worst[name] = max([worst.get(name, 0.0), *(each.seconds for each in found)])
    sys.stdout.write(f"{len(moments)} moments, every {every}: longest seconds without a stop, with pauses: {worst}\n")
    assert max(worst.values()) < STOP_SECONDS, worst
