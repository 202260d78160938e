"""Columns that were made over a whole table before a strategy reads them: some know later rows, others do not.

``LEAKS`` and ``CLEAN`` hold them by name, ``by`` makes a strategy that reads one at the last hour that has closed.
"""

from __future__ import annotations

import lookahead_cases as cases
import numpy as np
import pandas as pd
from lookahead_cases import CLOSE, HOUR, TABLE

OPEN, HIGH, LOW = TABLE.open, TABLE.high, TABLE.low
MOVES = CLOSE.pct_change()
PLACES = np.arange(len(CLOSE))


def by(column, level=0.0):
    column = column.copy()

    def get_signal(ctx):
        value = column.asof(ctx.when - HOUR)
        return None if value != value else cases.trade(ctx, up=bool(value > level))

    return get_signal


def by_place(numbers):
    """The same of numbers without moments."""

    def get_signal(ctx):
        value = numbers[cases.at(ctx) - 1]
        return None if value != value else cases.trade(ctx, up=bool(value > 0))

    return get_signal


def line(values):
    return pd.Series(values, CLOSE.index)


def first_touch():
    """Which of two barriers is touched first in the twelve hours after a row."""
    ahead = np.lib.stride_tricks.sliding_window_view(CLOSE.to_numpy(), 13)
    moved = ahead[:, 1:] / ahead[:, :1] - 1
    up, down = ((side > 0.005).argmax(axis=1) + 99 * ~(side > 0.005).any(axis=1) for side in (moved, -moved))
    return line(np.append(np.sign(down - up), np.zeros(12)))


def swings():
    """-1 at highs of six hours on both sides, 1 at lows."""
    highest, lowest = (getattr(CLOSE.rolling(13, center=True), how)() for how in ("max", "min"))
    return line(np.where(highest == CLOSE, -1.0, np.where(lowest == CLOSE, 1.0, 0.0)))


def first_component():
    rows = np.stack([MOVES.fillna(0).rolling(length).mean().fillna(0) for length in (2, 5, 9, 20)]).T
    return line(np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)[0][:, 0])


def regression():
    rows = np.stack([MOVES.fillna(0).shift(lag).fillna(0) for lag in range(4)]).T
    return line(rows @ np.linalg.lstsq(rows, MOVES.shift(-1).fillna(0).to_numpy(), rcond=None)[0])


def clusters():
    """What the next move was on average in the cluster of a row."""
    rows = np.stack([MOVES.fillna(0), MOVES.rolling(10).std().bfill()]).T
    centres = rows[[10, 100, 200]]
    for _ in range(10):
        nearest = ((rows[:, None] - centres[None]) ** 2).sum(axis=-1).argmin(axis=1)
        chosen = [rows[nearest == at] for at in range(3)]
        centres = np.stack([one.mean(axis=0) if len(one) else centres[at] for at, one in enumerate(chosen)])
    ahead = MOVES.shift(-1).fillna(0).groupby(nearest).mean()
    return line(ahead[nearest].to_numpy())


def best_length():
    def earned(length):
        return float((np.sign(CLOSE - CLOSE.rolling(length).mean()).shift(1) * MOVES).sum())

    return CLOSE - CLOSE.rolling(max(range(2, 40), key=earned)).mean()


def fitted(window):
    """The middle of a parabola through each window."""
    x = np.arange(window) - window // 2
    weights = np.linalg.pinv(np.stack([x**0, x, x**2]).T)[0]
    return line(np.convolve(CLOSE.to_numpy(), weights[::-1], mode="same"))


def slow_waves():
    waves = np.fft.rfft(CLOSE)
    waves[30:] = 0
    return line(np.fft.irfft(waves, len(CLOSE)))


def smoothed_both_ways():
    return CLOSE.ewm(alpha=0.2).mean()[::-1].ewm(alpha=0.2).mean()[::-1]


DAYS = CLOSE.index.floor("D")
LEAKS = {
    "next return": MOVES.shift(-1),
    "next sign": np.sign(MOVES.shift(-1)),
    "return of four ahead": CLOSE.shift(-4) / CLOSE - 1,
    "next high": (HIGH.shift(-1) - CLOSE) / CLOSE - 0.004,
    "next open": OPEN.shift(-2) - CLOSE,
    "centred mean": CLOSE.rolling(9, center=True).mean() - CLOSE,
    "centred median": CLOSE.rolling(7, center=True).median() - CLOSE,
    "exponential from the end": CLOSE[::-1].ewm(span=10).mean()[::-1] - CLOSE,
    "filtered both ways": smoothed_both_ways() - CLOSE,
    "parabolas": fitted(11) - CLOSE,
    "detrended": CLOSE - np.polyval(np.polyfit(PLACES, CLOSE, 1), PLACES),
    "a curve": CLOSE - np.polyval(np.polyfit(PLACES, CLOSE, 5), PLACES),
    "slow waves": slow_waves() - CLOSE,
    "z-score": (CLOSE - CLOSE.mean()) / CLOSE.std(),
    "range": (CLOSE - CLOSE.min()) / (CLOSE.max() - CLOSE.min()) - 0.5,
    "rank": CLOSE.rank(pct=True) - 0.5,
    "quantile": MOVES - MOVES.quantile(0.6),
    "bins": line(pd.qcut(CLOSE, 4, labels=False)) - 1.5,
    "clipped": CLOSE.clip(*CLOSE.quantile([0.3, 0.7])) - CLOSE.median(),
    "filled backwards": CLOSE.where(PLACES % 6 == 5).bfill() - CLOSE,
    "interpolated": CLOSE.where(PLACES % 6 == 0).interpolate() - CLOSE,
    "nearest": CLOSE[::6].reindex(CLOSE.index, method="nearest") - CLOSE,
    "close of the day": CLOSE.groupby(DAYS).transform("last") - CLOSE,
    "high of the day": HIGH.groupby(DAYS).transform("max") - CLOSE * 1.004,
    "mean of the week": CLOSE.groupby(CLOSE.index.isocalendar().week.to_numpy()).transform("mean") - CLOSE,
    "four hours by their begin": CLOSE.resample("4h").last().reindex(CLOSE.index, method="ffill") - CLOSE,
    "barriers": first_touch(),
    "the next swing": swings().replace(0, np.nan).bfill(),
    "swings at their highs": swings(),
    "drawdown to come": LOW[::-1].rolling(8).min()[::-1] / CLOSE - 1 + 0.006,
    "highest to come": HIGH[::-1].cummax()[::-1] / CLOSE - 1.03,
    "component": first_component(),
    "least squares": regression(),
    "clusters": clusters(),
    "hours of the day": line(MOVES.groupby(MOVES.index.hour).mean().reindex(CLOSE.index.hour).to_numpy()),
    "the best length": best_length(),
    "smoothed volatility": MOVES.std() - MOVES.rolling(12, center=True).std(),
    "gradient": line(np.gradient(CLOSE)),
}
CLEAN = {
    "last return": MOVES,
    "mean": CLOSE - CLOSE.rolling(9).mean(),
    "exponential": CLOSE - CLOSE.ewm(span=12).mean(),
    "z-score of a window": (CLOSE - CLOSE.rolling(48).mean()) / CLOSE.rolling(48).std(),
    "expanding z-score": (CLOSE - CLOSE.expanding(24).mean()) / CLOSE.expanding(24).std(),
    "rank of a window": CLOSE.rolling(24).rank(pct=True) - 0.5,
    "the day before": CLOSE - CLOSE.groupby(DAYS).last().shift(1).reindex(DAYS).to_numpy(),
    "four hours that have closed": CLOSE - CLOSE.resample("4h").last().shift(1).reindex(CLOSE.index, method="ffill"),
    "filled forwards": CLOSE.where(PLACES % 6 == 5).ffill() - CLOSE.rolling(3).mean(),
    "volatility": MOVES.rolling(12).std() - MOVES.expanding(24).std(),
}
NUMBERS = LEAKS["z-score"].to_numpy()
LISTED = LEAKS["rank"].tolist()
