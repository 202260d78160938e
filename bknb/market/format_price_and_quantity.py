"""``bknb.format_price`` and ``bknb.format_quantity``: rounded as the exchange takes them, while a strategy is asked."""

from __future__ import annotations

from .get_candles_series_and_average_price import context_for


def format_price(symbol: str, price: float) -> str:
    """A price as the exchange of the run writes it.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(symbol, price):
    ...     assert float(bknb.format_price(symbol, price)) > 0
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).errors
    []
    """
    return context_for("format_price").format_price(symbol, price)


def format_quantity(symbol: str, quantity: float) -> str:
    """A quantity as the exchange of the run writes it.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(symbol):
    ...     assert float(bknb.format_quantity(symbol, 0.5)) == 0.5
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).errors
    []
    """
    return context_for("format_quantity").format_quantity(symbol, quantity)
