"""Fixtures of a test file: an exchange on this machine, and a broker at its spot market with an account of its own.

A file that uses them says ``pytest_plugins = ["exchange_fixtures"]``.
"""

from __future__ import annotations

import pytest

import bknb
from bknb.testing.exchange import LocalExchange


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """A local exchange for all tests of a file."""
    with LocalExchange(journal=tmp_path_factory.mktemp("exchange") / "journal") as running:
        yield running


@pytest.fixture
def broker(exchange, monkeypatch):
    """A broker at it with nothing bought, at a price of 100."""
    exchange.reset()
    exchange.price("BTCUSDT", 100.0)
    config = exchange.ccxt_config()
    monkeypatch.setenv("BKNB_BINANCE_SANDBOX_KEY", config.pop("apiKey"))
    monkeypatch.setenv("BKNB_BINANCE_SANDBOX_SECRET", config.pop("secret"))
    return bknb.brokers.ccxt("binance", config={**config, "enableRateLimit": False})
