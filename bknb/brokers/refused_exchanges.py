"""Exchanges without a profile, and why: what goes wrong there with orders that are sent through ccxt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..errors import UsageError

_STOP_IS_MARKET: Final = "through ccxt a stop becomes an order at the market there: the position would be sold at once"
_STOP_NOT_FOUND: Final = "a stop that was placed cannot be asked about there by its id"
_OURS_IS_DROPPED: Final = "ccxt drops the id of an order there, so that one whose answer was lost cannot be found"
_NOT_YET: Final = "its orders were not tried out yet: no exchange of bknb.testing speaks as it does"

_WHY: Final[Mapping[str, str]] = {
    "bybit": _NOT_YET,
    "kraken": f"{_NOT_YET}, and an id of an order may have 18 letters at most there",
    "krakenfutures": _NOT_YET,
    "kucoin": _NOT_YET,
    "kucoinfutures": _NOT_YET,
    "phemex": _NOT_YET,
    "bingx": _NOT_YET,
    "bitvavo": _NOT_YET,
    "hyperliquid": _NOT_YET,
    "bitget": _STOP_NOT_FOUND,
    "gate": "a stop ends there by itself after a day, and is found by its own id alone",
    "htx": "an id is not unique there, and a done order is forgotten after two hours",
    "mexc": _STOP_IS_MARKET,
    "bitstamp": _STOP_IS_MARKET,
    "woo": "a stop cannot be asked about through ccxt there",
    "bitfinex": "an order cannot be asked about by its id through ccxt there",
    "deribit": "an order cannot be asked about by its id through ccxt there",
    "coinbase": _OURS_IS_DROPPED,
    "cryptocom": _OURS_IS_DROPPED,
    "whitebit": "an order cannot be cancelled by its id through ccxt there",
}


def refused(exchange: str, market: str, known: Mapping[tuple[str, str], object]) -> UsageError:
    """The error for an exchange or a market without a profile, with the reason.

    Examples
    --------
    >>> print(refused("mexc", "spot", {("binance", "spot"): None}))
    bknb places no orders at mexc spot: through ccxt a stop becomes an order at the market there: the position would be
    sold at once
    it does at: binance spot; elsewhere trade on paper, or write a broker of your own (docs/extending.md)
    """
    same = [of for name, of in known if name == exchange]
    why = _NOT_YET if same else _WHY.get(exchange, "nobody has looked yet at what its orders become")
    names = ", ".join(f"{name} {of}" for name, of in known)
    return UsageError(
        f"bknb places no orders at {exchange} {market}: {why}\n"
        f"it does at: {names}; elsewhere trade on paper, or write a broker of your own (docs/extending.md)"
    )
