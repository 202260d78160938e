"""``bknb.get_when``, ``get_symbol``, ``get_base``, ``get_mode``: what is being asked, for the code a strategy calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .get_candles_series_and_average_price import context_for
from .strategy_context import base_of

if TYPE_CHECKING:
    from datetime import datetime

    from ..domain.signal_events import Mode


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
    return context_for("get_when").when


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
    return context_for("get_symbol").symbol


def get_base() -> str:
    """The interval of the base bars of the run a strategy is being asked in."""
    return base_of(context_for("ask_model"))


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
    return context_for("get_mode").mode
