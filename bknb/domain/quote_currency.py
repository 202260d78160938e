"""The currencies of a symbol, as far as its name says them."""

from __future__ import annotations

from typing import Final

_ENDINGS: Final = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY")
"""Endings by which a symbol says in which currency its prices are."""
_RARER: Final = ("BTC", "ETH", "BNB", "TRY", "BRL", "CHF", "AUD", "CAD", "NZD", "IDR", "ZAR", "MXN", "PLN", "UAH")
"""Endings that other names have, too: they say so behind at least three letters, as in ``ETHBTC``, not in ``WBTC``."""
_LEAST_LETTERS: Final = 3


def quote_of(symbol: str) -> str | None:
    """The currency in which a symbol says its prices are, as ``BTC/EUR`` and ``BTCUSDT`` do; ``None``: it says none.

    Examples
    --------
    >>> [quote_of(symbol) for symbol in ("BTC/EUR", "BTC/USDT:USDT", "BTCUSDT", "ETHBTC", "WBTC", "AAPL")]
    ['EUR', 'USDT', 'USDT', 'BTC', None, None]
    """
    base, slash, quote = symbol.partition(":")[0].upper().partition("/")
    if slash:
        return quote
    for name in (*_ENDINGS, *_RARER):
        least = 1 if name in _ENDINGS else _LEAST_LETTERS
        if base.endswith(name) and len(base) >= len(name) + least:
            return name
    return None


def base_of(symbol: str) -> str:
    """What a symbol trades: its name without the currency of its prices.

    Examples
    --------
    >>> [base_of(symbol) for symbol in ("BTC/EUR", "BTC/USDT:USDT", "BTCUSDT", "AAPL")]
    ['BTC', 'BTC', 'BTC', 'AAPL']
    """
    plain, quote = symbol.partition(":")[0].upper(), quote_of(symbol) or ""
    return plain.removesuffix(quote).removesuffix("/") or plain


def of_exchange(symbol: str) -> str:
    """A symbol as its exchange calls it: without the name that joined exchanges put in front.

    Examples
    --------
    >>> [of_exchange(symbol) for symbol in ("spot:BTCUSDT", "perp:BTC/USDT:USDT", "BTC/USDT:USDT", "BTCUSDT")]
    ['BTCUSDT', 'BTC/USDT:USDT', 'BTC/USDT:USDT', 'BTCUSDT']
    """
    name, colon, own = symbol.partition(":")
    return own if colon and "/" not in name else symbol
