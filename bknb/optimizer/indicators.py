"""Indicators of candles that a model is shown: TA-Lib's where it is installed, else those of ``bknb.indicators``.

Every value at a candle uses that candle and earlier ones only.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..market import indicator_formulas as formulas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WARM_UP: Final = 300
"""Candles before the first one shown, so that averages have settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Windows of the indicators for one interval, in candles."""

    rsi: int
    macd: tuple[int, int, int]
    adx: int
    atr: int
    bands: int
    fast: int
    slow: int
    trend: int
    momentum: int
    levels: int


_LONG: Final = Lengths(
    rsi=14, macd=(12, 26, 9), adx=14, atr=14, bands=20, fast=20, slow=34, trend=50, momentum=10, levels=20
)
_SHORT: Final = Lengths(
    rsi=9, macd=(8, 21, 5), adx=14, atr=9, bands=10, fast=8, slow=21, trend=50, momentum=10, levels=48
)
_MICRO: Final = Lengths(rsi=9, macd=(8, 21, 5), adx=9, atr=9, bands=8, fast=8, slow=21, trend=34, momentum=5, levels=30)


def lengths_for(interval_ms: int) -> Lengths:
    """Return the windows for an interval: short ones up to 15 minutes, long ones above."""
    if interval_ms <= 3 * MINUTE_MS:
        return _MICRO
    return _SHORT if interval_ms <= 15 * MINUTE_MS else _LONG


def has_talib() -> bool:
    """Whether TA-Lib is installed."""
    return importlib.util.find_spec("talib") is not None


def columns(candles: Any, lengths: Lengths, *, talib: bool | None = None) -> dict[str, Floats]:
    """Return indicators of candles by column name; NaN during warm-up.

    Parameters
    ----------
    candles
        Anything with ``open, high, low, close, volume`` arrays of shape (n,).
    talib
        Whether TA-Lib computes; ``None``: where it is installed.
    """
    made = (_with_talib if (has_talib() if talib is None else talib) else _by_ourselves)(candles, lengths)
    close, atr = candles.close, made["atr"]
    upper, lower = made.pop("upper"), made.pop("lower")
    width = upper - lower
    with np.errstate(divide="ignore", invalid="ignore"):
        made["band"] = np.where(width > 0, (close - lower) / width, np.nan)
        made["width%"] = 100 * width / close
        made["atr%"] = 100 * atr / close
        usual = formulas.sma(candles.volume, lengths.bands)
        made["vol/avg"] = np.where(usual > 0, candles.volume / usual, np.nan)
    made.pop("atr")
    made["support"] = formulas.lowest(candles.low, lengths.levels)
    made["resist"] = formulas.highest(candles.high, lengths.levels)
    return {name: made[name] for name in _ORDER}


_ORDER: Final = (
    *("rsi", "macd", "macd_h", "adx", "di+", "di-", "atr%", "band", "width%", "ema_f", "ema_s", "sma"),
    *("roc%", "vol/avg", "support", "resist"),
)


def legend(lengths: Lengths, *, talib: bool | None = None) -> Mapping[str, str]:
    """Return the meaning of each column, with its window."""
    fast, slow, signal = lengths.macd
    own = "TA-Lib" if (has_talib() if talib is None else talib) else "bknb's own formulas"
    return {
        "time": "opening time of the candle, UTC",
        "open": "first price of the candle",
        "high": "highest price",
        "low": "lowest price",
        "close": "last price",
        "volume": "traded amount in base currency",
        "rsi": f"relative strength index over {lengths.rsi} candles, 0 to 100 ({own})",
        "macd": f"EMA {fast} - EMA {slow} of the close",
        "macd_h": f"macd minus its EMA {signal}",
        "adx": f"strength of the trend over {lengths.adx} candles, 0 to 100, without direction",
        "di+": f"upward movement over {lengths.adx} candles, 0 to 100",
        "di-": f"downward movement over {lengths.adx} candles, 0 to 100",
        "atr%": f"average true range over {lengths.atr} candles, percent of the close",
        "band": f"place of the close in the Bollinger bands ({lengths.bands}, 2): 0 lower band, 1 upper band",
        "width%": "distance of the Bollinger bands, percent of the close",
        "ema_f": f"exponential average of the close over {lengths.fast} candles",
        "ema_s": f"exponential average of the close over {lengths.slow} candles",
        "sma": f"average of the close over {lengths.trend} candles",
        "roc%": f"change of the close over {lengths.momentum} candles, percent",
        "vol/avg": f"volume divided by its average over {lengths.bands} candles",
        "support": f"lowest low of {lengths.levels} candles",
        "resist": f"highest high of {lengths.levels} candles",
    }


def _with_talib(candles: Any, lengths: Lengths) -> dict[str, Floats]:
    ta = importlib.import_module("talib")
    high, low, close = (np.ascontiguousarray(getattr(candles, name)) for name in ("high", "low", "close"))
    fast, slow, signal = lengths.macd
    macd, _, histogram = ta.MACD(close, fast, slow, signal)
    upper, _, lower = ta.BBANDS(close, lengths.bands, 2.0, 2.0)
    return {
        "rsi": ta.RSI(close, lengths.rsi),
        "macd": macd,
        "macd_h": histogram,
        "adx": ta.ADX(high, low, close, lengths.adx),
        "di+": ta.PLUS_DI(high, low, close, lengths.adx),
        "di-": ta.MINUS_DI(high, low, close, lengths.adx),
        "atr": ta.ATR(high, low, close, lengths.atr),
        "upper": upper,
        "lower": lower,
        "ema_f": ta.EMA(close, lengths.fast),
        "ema_s": ta.EMA(close, lengths.slow),
        "sma": ta.SMA(close, lengths.trend),
        "roc%": ta.ROC(close, lengths.momentum),
    }


def _by_ourselves(candles: Any, lengths: Lengths) -> dict[str, Floats]:
    high, low, close = candles.high, candles.low, candles.close
    macd, bands = formulas.macd(close, *lengths.macd), formulas.bbands(close, lengths.bands)
    return {
        "rsi": formulas.rsi(close, lengths.rsi),
        "macd": macd.macd,
        "macd_h": macd.histogram,
        "adx": formulas.adx(high, low, close, lengths.adx),
        "di+": formulas.plus_di(high, low, close, lengths.adx),
        "di-": formulas.minus_di(high, low, close, lengths.adx),
        "atr": formulas.atr(high, low, close, lengths.atr),
        "upper": bands.upper,
        "lower": bands.lower,
        "ema_f": formulas.ema(close, lengths.fast),
        "ema_s": formulas.ema(close, lengths.slow),
        "sma": formulas.sma(close, lengths.trend),
        "roc%": formulas.roc(close, lengths.momentum),
    }
