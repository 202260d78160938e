"""Exchanges on loopback: an account, orders, stops, fees and faults, to rehearse with the real ccxt client.

::

    with LocalExchange(journal="exchange.jsonl") as exchange:
        exchange.price("BTCUSDT", 50_000)
        client = ccxt.async_support.binance(exchange.ccxt_config())

In a shell: ``python -m bknb.testing.exchange --port 8080 --journal exchange.jsonl``. Needs aiohttp, which comes with
ccxt.
"""

from __future__ import annotations

from .faults import FAULTS, Fault
from .process import LocalExchange

__all__ = ["FAULTS", "Fault", "LocalExchange"]
