"""The currency of an account: that of the prices of its symbols, which are summed as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..domain.text import shown
from ..errors import UsageError

_LETTERS: Final = range(2, 11)  # how many a currency has
_ENDINGS: Final = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USD", "EUR", "GBP", "JPY")
"""Endings by which a symbol says in which currency its prices are."""
_RARER: Final = ("BTC", "ETH", "BNB", "TRY", "BRL", "CHF", "AUD", "CAD", "NZD", "IDR", "ZAR", "MXN", "PLN", "UAH")
"""Endings that other names have, too: they say so behind at least three letters, as in ``ETHBTC``, not in ``WBTC``."""
_LEAST_LETTERS: Final = 3


def account_currency(given: object, symbols: Mapping[str, str] | Sequence[str]) -> tuple[str, str]:
    """The currency of an account of these symbols, ``""`` where none is known, and a note where it is not sure.

    Parameters
    ----------
    given
        What the user said, or ``None``.
    symbols
        Of all legs; a mapping from each to how its exchange writes it, where that differs.

    Raises
    ------
    UsageError
        For what is no currency, and where symbols are quoted in different ones: prices are not converted.

    Examples
    --------
    >>> account_currency(None, ["BTCUSDT"]), account_currency(None, ["AAPL"]), account_currency("USD", ["AAPL"])
    (('USDT', ''), ('', ''), ('USD', ''))
    """
    written = symbols if isinstance(symbols, Mapping) else {symbol: symbol for symbol in symbols}
    quotes = {symbol: quote for symbol, own in written.items() if (quote := quote_of(own)) is not None}
    if given is None:
        currency = next(iter(quotes.values()), "")
        expected = f"{next(iter(quotes), '')} is quoted in {currency}"
    elif not isinstance(given, str) or len(given) not in _LETTERS or not given.isalnum():
        text = f"currency must be a code such as 'USDT' or 'EUR', got {shown(given, 60)}"
        raise UsageError(f"{text}\nit is the one in which the prices of all symbols are")
    else:
        currency, expected = given, f"currency is {given!r}"
    others = [f"{symbol} in {quote}" for symbol, quote in quotes.items() if quote != currency.upper()]
    if others:
        raise UsageError(
            f"{expected}, and {', '.join(others)}\n"
            "an account has one currency, and prices are not converted: choose symbols and a currency of one quote"
        )
    silent = [symbol for symbol in symbols if symbol not in quotes]
    if given is None and quotes and silent:
        text = f"the account is in {currency}, as {next(iter(quotes))} is; {', '.join(silent)}"
        return currency, f"{text}: taken to be quoted in it, too (currency={currency!r} says so)"
    return currency, ""


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
