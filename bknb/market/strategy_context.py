"""The context of a strategy: a moment, a symbol, and candles that have closed.

A strategy may take a ``ctx``; the functions of this module do the same for the code it calls (``bknb.get_candles``
and friends). They follow ``await``, ``gather`` and tasks; in a thread the strategy starts they raise ``UsageError``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..domain.formatting import minute_text
from ..domain.signal import Mode
from ..errors import UsageError
from .candles import Candles


class Context(msgspec.Struct, frozen=True, gc=False):
    """The symbol and moment a strategy is asked about, and the candles known then.

    Attributes
    ----------
    symbol : str
    when_ms : int
        The moment, UTC milliseconds. ``when`` is the same as an aware datetime.
    mode : {"backtest", "live"}
    """

    symbol: str
    when_ms: int
    mode: Mode
    _newest: Callable[[str, str, int, int], Candles]
    _average: Callable[[str, int], float]
    _formats: Any

    @property
    def when(self) -> datetime:
        """The moment, as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.when_ms / 1000, UTC)

    @property
    def price(self) -> float:
        """The average price of the symbol now."""
        return self._average(self.symbol, self.when_ms)

    def get_candles(self, symbol: str, interval: str, limit: int) -> Candles:
        """The ``limit`` newest closed candles of any symbol and interval."""
        return self._newest(symbol, interval, limit, self.when_ms)

    def candles(self, interval: str, limit: int) -> Candles:
        """The ``limit`` newest closed candles of the symbol of this question."""
        return self._newest(self.symbol, interval, limit, self.when_ms)

    def get_average_price(self, symbol: str | None = None) -> float:
        """VWAP of the newest closed one-minute candles, of longer base bars the last close; in quote currency."""
        return self._average(symbol or self.symbol, self.when_ms)

    def get_when(self) -> datetime:
        """The moment, as an aware datetime in UTC."""
        return self.when

    def get_symbol(self) -> str:
        """The symbol of this question."""
        return self.symbol

    def get_mode(self) -> Mode:
        """``"backtest"`` or ``"live"``."""
        return self.mode

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the exchange writes it."""
        text: str = self._formats.format_price(symbol, price)
        return text

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the exchange writes it."""
        text: str = self._formats.format_quantity(symbol, quantity)
        return text

    def __repr__(self) -> str:
        return f"Context({self.symbol}, {minute_text(self.when_ms)} UTC, {self.mode})"


current: ContextVar[Context | None] = ContextVar("bknb_context", default=None)


def _context(function: str) -> Context:
    context = current.get()
    if context is None:
        raise UsageError(
            f"bknb.{function} works only while a strategy, a callback or a risk rule is being asked\n"
            "a thread of a strategy is outside: give it the ctx, or start it with contextvars.copy_context().run"
        )
    return context


def get_candles(symbol: str, interval: str, limit: int) -> Candles:
    """The ``limit`` newest closed candles, inside a strategy and whatever it calls.

    Parameters
    ----------
    symbol
        Any symbol the exchange of the run knows.
    interval
        ``"1m"`` … ``"3d"``; aligned to UTC.
    limit
        How many; never more come back, and never the forming one.

    Raises
    ------
    NotEnoughData
        When fewer closed candles exist.
    UsageError
        Outside a run, or for an unknown interval.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(symbol):
    ...     closes = bknb.get_candles(symbol, "1h", 3).close
    ...     assert len(closes) == 3
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> len(bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).trades)
    0
    """
    return _context("get_candles").get_candles(symbol, interval, limit)


def get_average_price(symbol: str | None = None) -> float:
    """VWAP of the newest closed one-minute candles, of longer base bars the last close; by default of the run's symbol.

    In quote currency.

    Examples
    --------
    >>> import bknb
    >>> def get_signal():
    ...     assert bknb.get_average_price() > 0
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).errors
    []
    """
    return _context("get_average_price").get_average_price(symbol)


def get_when() -> datetime:
    """The moment a strategy is being asked about, as an aware datetime in UTC.

    Examples
    --------
    >>> import bknb
    >>> bknb.get_when()
    Traceback (most recent call last):
    ...
    bknb.errors.UsageError: bknb.get_when works only while a strategy, a callback or a risk rule is being asked
    a thread of a strategy is outside: give it the ctx, or start it with contextvars.copy_context().run
    """
    return _context("get_when").when


def get_symbol() -> str:
    """The symbol a strategy is being asked about.

    Examples
    --------
    >>> import bknb
    >>> def get_signal():
    ...     assert bknb.get_symbol() == "ETHUSDT"
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> bknb.backtest("ETHUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).errors
    []
    """
    return _context("get_symbol").symbol


def get_base() -> str:
    """The interval of the base bars of the run a strategy is being asked in."""
    from .spacing import base_of

    return base_of(_context("ask_model")._formats)


def get_mode() -> Mode:
    """``"backtest"`` or ``"live"``.

    Examples
    --------
    >>> import bknb
    >>> def get_signal():
    ...     assert bknb.get_mode() == "backtest"
    >>> frame = ("2024-01-01", "2024-01-02")
    >>> bknb.backtest("BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.demo(), frame=frame).errors
    []
    """
    return _context("get_mode").mode


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
    return _context("format_price").format_price(symbol, price)


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
    return _context("format_quantity").format_quantity(symbol, quantity)
