"""Functions of candles as people write them: some look ahead, others do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

from bknb import indicators

Function = Callable[[Any], Any]


def s(values: Any) -> Any:
    """A pandas series of values."""
    return pd.Series(values)


def windows(values: Any, length: int, made: Callable[[Any], Any]) -> Any:
    """What is made of each window, shape (windows, length), behind NaN."""
    found = np.full(len(values), np.nan)
    found[length - 1 :] = made(np.lib.stride_tricks.sliding_window_view(values, length))
    return found


def smoothed_backwards(close: Any) -> Any:
    """A filter forwards and backwards, as ``filtfilt`` does."""
    forwards = s(close).ewm(alpha=0.1).mean()
    return forwards[::-1].ewm(alpha=0.1).mean()[::-1]


def without_fast_waves(close: Any) -> Any:
    waves = np.fft.rfft(close)
    waves[20:] = 0
    return np.fft.irfft(waves, len(close))


def detrended(close: Any) -> Any:
    x = np.arange(len(close))
    return close - np.polyval(np.polyfit(x, close, 1), x)


def swings(close: Any) -> Any:
    """Marks highs that are above both neighbours, at the high itself."""
    found = np.zeros(len(close))
    found[1:-1] = (close[1:-1] > close[:-2]) & (close[1:-1] > close[2:])
    return found


def daily(candles: Any, how: str) -> Any:
    """What the whole day of a candle has come to."""
    return s(candles.close).groupby(candles.timestamp // 86_400_000).transform(how)


def next_after_surge(candles: Any) -> Any:
    """The next close where the volume is among the largest."""
    return np.where(candles.volume > np.sort(candles.volume)[-400], np.roll(candles.close, -1), candles.close)


def fitted(close: Any) -> Any:
    """What a regression on the last move, fitted over all rows, says of the next one."""
    moves = np.diff(np.log(close), prepend=np.log(close[0]))
    slope = np.polyfit(moves[:-1], moves[1:], 1)
    return np.polyval(slope, moves)


LOOK_AHEAD: Final[dict[str, Function]] = {
    "a centred average": lambda c: s(c.close).rolling(9, center=True).mean(),
    "a centred median": lambda c: s(c.close).rolling(5, center=True).median(),
    "the mean of all rows": lambda c: c.close - c.close.mean(),
    "z-scores over all rows": lambda c: (c.close - c.close.mean()) / c.close.std(),
    "scaled to the range of all rows": lambda c: (c.close - c.close.min()) / (c.close.max() - c.close.min()),
    "scaled by the last value": lambda c: c.close / c.close[-1],
    "scaled by the largest volume": lambda c: c.volume / c.volume.max(),
    "ranks over all rows": lambda c: s(c.close).rank(pct=True),
    "quantiles over all rows": lambda c: s(c.close).clip(*np.quantile(c.close, [0.05, 0.95])),
    "bins over all rows": lambda c: pd.qcut(s(c.close), 5, labels=False, duplicates="drop"),
    "filled backwards": lambda c: s(np.where(c.volume > 6, c.close, np.nan)).bfill(),
    "filled with the mean": lambda c: s(np.where(c.volume > 6, c.close, np.nan)).fillna(c.close.mean()),
    "interpolated": lambda c: s(np.where(c.volume > 6, c.close, np.nan)).interpolate(),
    "shift(-1)": lambda c: s(c.close).shift(-1),
    "diff(-1)": lambda c: s(c.close).diff(-1),
    "pct_change(-3)": lambda c: s(c.close).pct_change(-3),
    "np.roll(-1)": lambda c: np.roll(c.close, -1),
    "the next open": lambda c: np.append(c.open[1:], np.nan),
    "the high of the next five": lambda c: s(c.high).rolling(5).max().shift(-5),
    "np.gradient": lambda c: np.gradient(c.close),
    "np.convolve, same": lambda c: np.convolve(c.close, np.ones(7) / 7, mode="same"),
    "waves of all rows": lambda c: without_fast_waves(c.close),
    "a trend of all rows": lambda c: detrended(c.close),
    "forwards and backwards": lambda c: smoothed_backwards(c.close),
    "summed from the end": lambda c: np.cumsum(c.close[::-1])[::-1],
    "the highest still to come": lambda c: np.maximum.accumulate(c.high[::-1])[::-1],
    "swings at their highs": lambda c: swings(c.close),
    "the close of the day": lambda c: daily(c, "last"),
    "the high of the day": lambda c: daily(c, "max"),
    "sorted": lambda c: np.sort(c.close),
    "a fit over all rows": lambda c: fitted(c.close),
    "the next close after a surge": next_after_surge,
    "one output of several": lambda c: {"mean": s(c.close).rolling(5).mean(), "top": s(c.close).shift(-2)},
    "a volatility of all rows": lambda c: np.diff(c.close, prepend=c.close[0]) / np.diff(c.close).std(),
    "reindexed backwards": lambda c: s(c.close)[::10].reindex(range(len(c)), method="bfill"),
    "the time of the highest": lambda c: np.arange(len(c)) - c.close.argmax(),
}


def wma(values: Any, length: int) -> Any:
    weights = np.arange(1, length + 1)
    return windows(values, length, lambda w: (w * weights).sum(axis=1) / weights.sum())


def streak(candles: Any) -> Any:
    """How many of the last ten candles in a row closed higher."""
    up = np.diff(candles.close, prepend=np.nan) > 0
    return windows(up, 10, lambda w: np.cumprod(w[:, ::-1], axis=1).sum(axis=1))


def slope(values: Any, length: int) -> Any:
    x = np.arange(length) - (length - 1) / 2
    return windows(values, length, lambda w: w @ x / (x @ x))


def fits(values: Any, length: int) -> Any:
    """The slope of a line through each window, as least squares find it."""
    return windows(values, length, lambda w: np.polyfit(np.arange(length), w.T, 1)[0])


def money_flow(c: Any) -> Any:
    typical = (c.high + c.low + c.close) / 3
    up = np.diff(typical, prepend=np.nan) > 0
    flow = s(typical * c.volume)
    return flow.where(up, 0.0).rolling(14).sum() / flow.rolling(14).sum()


def stochastic(c: Any) -> Any:
    low, high = indicators.lowest(c.low, 14), indicators.highest(c.high, 14)
    k = 100 * (c.close - low) / (high - low)
    return pd.DataFrame({"k": k, "d": s(k).rolling(3).mean()})


def place_in_channel(c: Any, length: int) -> Any:
    upper, _, lower = indicators.donchian(c.high, c.low, length)
    return (c.close - lower) / (upper - lower)


def commodity_channel(c: Any) -> Any:
    reach = windows(c.close, 20, lambda w: np.abs(w - w.mean(axis=1, keepdims=True)).mean(axis=1))
    return (c.close - indicators.sma(c.close, 20)) / (0.015 * reach)


def keltner(c: Any) -> Any:
    middle, reach = indicators.ema(c.close, 20), indicators.atr(c.high, c.low, c.close, 10)
    return middle + 2 * reach, middle, middle - 2 * reach


def as_frame(candles: Any) -> Any:
    """On the table of candles, by their times."""
    table = candles.to_pandas()
    return table.close.rolling("90min").mean()


def last_swing(candles: Any) -> Any:
    """The last high above both neighbours among the twenty newest, once it is known."""
    close = candles.close
    known = np.full(len(close), np.nan)
    known[2:] = np.where((close[1:-1] > close[:-2]) & (close[1:-1] > close[2:]), close[1:-1], np.nan)
    return s(known).ffill(limit=20)


HONEST: Final[dict[str, Function]] = {
    **{f"rolling {how}": lambda c, how=how: getattr(s(c.close).rolling(20), how)()
       for how in ("mean", "std", "var", "min", "max", "median", "skew", "kurt", "sum", "rank", "sem")},
    "rolling quantile": lambda c: s(c.close).rolling(20).quantile(0.8),
    "rolling corr": lambda c: s(c.close).rolling(20).corr(s(c.volume)),
    "rolling cov": lambda c: s(c.close).rolling(20).cov(s(c.volume)),
    "rolling apply": lambda c: s(c.close).rolling(8).apply(np.ptp, raw=True),
    "ewm": lambda c: s(c.close).ewm(span=20, adjust=False).mean(),
    "ewm adjusted": lambda c: s(c.close).ewm(span=20).mean(),
    "ewm std": lambda c: s(c.close).diff().ewm(span=20).std(),
    "shift": lambda c: s(c.close).shift(3),
    "np.roll forwards": lambda c: np.where(np.arange(len(c)) < 2, np.nan, np.roll(c.close, 2)),
    "diff": lambda c: s(c.close).diff(5),
    "pct_change": lambda c: s(c.close).pct_change(5),
    "log returns": lambda c: np.diff(np.log(c.close), prepend=np.nan),
    "z-score of a window": lambda c: (s(c.close) - s(c.close).rolling(30).mean()) / s(c.close).rolling(30).std(),
    "rank in a window": lambda c: windows(c.close, 15, lambda w: (w < w[:, -1:]).mean(axis=1)),
    "volatility": lambda c: s(np.log(c.close)).diff().rolling(30).std() * 365**0.5,
    "parkinson": lambda c: (np.log(c.high / c.low) ** 2 / (4 * np.log(2)) ** 0.5),
    "garman-klass": lambda c: np.log(c.high / c.low) ** 2 / 2 - 0.386 * np.log(c.close / c.open) ** 2,
    "vwap of a window": lambda c: s(c.close * c.volume).rolling(30).sum() / s(c.volume).rolling(30).sum(),
    "typical price": lambda c: (c.high + c.low + c.close) / 3,
    "body": lambda c: (c.close - c.open) / np.maximum(c.high - c.low, 1e-12),
    "gap": lambda c: c.open - np.append(np.nan, c.close[:-1]),
    "heikin-ashi close": lambda c: (c.open + c.high + c.low + c.close) / 4,
    "wma": lambda c: wma(c.close, 20),
    "hull": lambda c: wma(2 * wma(c.close, 8) - wma(c.close, 16), 4),
    "dema": lambda c: 2 * indicators.ema(c.close, 10) - indicators.ema(indicators.ema(c.close, 10), 10),
    "trix": lambda c: s(indicators.ema(indicators.ema(indicators.ema(np.log(c.close), 9), 9), 9)).diff(),
    "stochastic": stochastic,
    "williams": lambda c: 100 * (1 - place_in_channel(c, 14)),
    "cci": commodity_channel,
    "money flow": money_flow,
    "keltner": keltner,
    "streak": streak,
    "slope by a product": lambda c: slope(c.close, 25),
    "slope by least squares": lambda c: fits(c.close, 12),
    "waves of a window": lambda c: windows(c.close, 16, lambda w: np.abs(np.fft.rfft(w, axis=1))[:, 2]),
    "autocorrelation": lambda c: s(c.close).diff().rolling(30).corr(s(c.close).diff().shift(1)),
    "convolve, valid": lambda c: np.append(np.full(6, np.nan), np.convolve(c.close, np.ones(7) / 7, mode="valid")),
    "up volume": lambda c: s(np.where(c.close > c.open, c.volume, 0.0)).rolling(20).sum(),
    "drawdown of a window": lambda c: c.close / indicators.highest(c.close, 40) - 1,
    "place in a channel": lambda c: place_in_channel(c, 20),
    "hour of the day": lambda c: c.timestamp // 3_600_000 % 24,
    "by its times": as_frame,
    "last swing": last_swing,
    "filled forwards": lambda c: s(np.where(c.volume > 1, c.close, np.nan)).ffill(limit=30),
    "crossings": lambda c: np.sign(indicators.sma(c.close, 5) - indicators.sma(c.close, 20)),
    "a constant": lambda c: np.full(len(c), 3.0),
    "a boolean": lambda c: c.close > c.open,
    "several": lambda c: indicators.bbands(c.close, 20),
    "macd": lambda c: indicators.macd(c.close)._asdict(),
    "rsi": lambda c: indicators.rsi(c.close, 7),
    "adx": lambda c: indicators.adx(c.high, c.low, c.close, 7),
    "atr": lambda c: indicators.atr(c.high, c.low, c.close, 7),
    "roc": lambda c: indicators.roc(c.close, 7),
    "stdev": lambda c: indicators.stdev(c.close, 7),
}  # fmt: skip
