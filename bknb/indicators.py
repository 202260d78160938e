"""Formulas of indicators: arrays in, arrays of the same length out, NaN until enough candles are there.

A value at a candle is made of that candle and earlier ones alone. ``bknb.indicator("rsi", "15m", 14)`` gives a strategy
the newest values of one of them; here each is a plain function, for notebooks and for indicators of your own. Where a
source starts an average otherwise than another one, these start it as TA-Lib does.

Examples
--------
>>> import bknb
>>> bknb.indicators.sma([1.0, 2.0, 3.0, 4.0], 2).tolist()
[nan, 1.5, 2.5, 3.5]
"""

from __future__ import annotations

from .market.indicator_formulas import (
    adx,
    atr,
    bbands,
    donchian,
    ema,
    highest,
    lowest,
    macd,
    minus_di,
    plus_di,
    roc,
    rsi,
    sma,
    stdev,
    true_range,
)
from .market.moving_averages import (
    dema,
    hma,
    kama,
    median,
    rma,
    tema,
    trima,
    vwap,
    vwma,
    wma,
)
from .market.oscillators import (
    aroon,
    bop,
    cci,
    cmf,
    cmo,
    mfi,
    mom,
    obv_change,
    ppo,
    stoch,
    stochrsi,
    trix,
    ultosc,
    willr,
)
from .market.trend_lines import (
    keltner,
    natr,
    psar,
    supertrend,
)
from .market.window_statistics import (
    linreg,
    linreg_slope,
    percent_rank,
    percentile,
    zscore,
)

__all__ = [
    "adx",
    "aroon",
    "atr",
    "bbands",
    "bop",
    "cci",
    "cmf",
    "cmo",
    "dema",
    "donchian",
    "ema",
    "highest",
    "hma",
    "kama",
    "keltner",
    "linreg",
    "linreg_slope",
    "lowest",
    "macd",
    "median",
    "mfi",
    "minus_di",
    "mom",
    "natr",
    "obv_change",
    "percent_rank",
    "percentile",
    "plus_di",
    "ppo",
    "psar",
    "rma",
    "roc",
    "rsi",
    "sma",
    "stdev",
    "stoch",
    "stochrsi",
    "supertrend",
    "tema",
    "trima",
    "trix",
    "true_range",
    "ultosc",
    "vwap",
    "vwma",
    "willr",
    "wma",
    "zscore",
]
