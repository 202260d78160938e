"""The currency of an account: that of the prices of its symbols, which are summed as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ..domain.quote_currency import quote_of
from ..domain.text import shown
from ..errors import UsageError

_LETTERS: Final = range(2, 11)  # how many a currency has


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
