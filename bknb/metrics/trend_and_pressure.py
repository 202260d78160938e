"""Steps, pressure and trend of the closing prices of trades."""

from __future__ import annotations

from math import fsum, inf, log
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import DAY_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_PROFILE_POINTS: Final = 10
"""Fewer closing prices than this give no profile."""

_MIN_CONFIDENCE: Final = 0.30
_NEUTRAL_STEPS: Final = 0.25

_PRESSURE: Final = (
    "buyer_pressure",
    "seller_pressure",
    "buyer_strength",
    "seller_strength",
    "pressure_imbalance",
)
_TREND: Final = ("trend", "trend_strength", "trend_confidence")


def price_profile(closed_at: list[float], price_close: list[float]) -> dict[str, float | str | None]:
    """Steps, pressure and trend of the prices at which trades were closed.

    Parameters
    ----------
    closed_at : list of float, shape (n,)
        Exit times, UTC milliseconds, in any order.
    price_close : list of float, shape (n,)
        Exit prices, quote currency; NaN where unknown.

    Returns
    -------
    dict
        ``median_step_size`` (percent), ``buyer_pressure``, ``seller_pressure``, ``buyer_strength``,
        ``seller_strength`` (shares 0 to 1), ``pressure_imbalance`` (-1 to 1), ``trend`` (``"bullish"``,
        ``"bearish"``, ``"neutral"`` or ``"sideways"``), ``trend_strength`` (percent per day) and
        ``trend_confidence`` (R squared, 0 to 1). All None below ten points with time and price above zero.

    Examples
    --------
    >>> days = [86_400_000.0 * day for day in range(1, 12)]
    >>> profile = price_profile(days, [100.0 * 1.01**day for day in range(11)])
    >>> profile["trend"], round(profile["median_step_size"], 6), profile["buyer_pressure"]
    ('bullish', 1.0, 1.0)
    """
    times, prices = np.array(closed_at, dtype=np.float64), np.array(price_close, dtype=np.float64)
    usable = (times > 0) & (prices > 0)  # a comparison with NaN is False
    times, prices = times[usable], prices[usable]
    if len(times) < MIN_PROFILE_POINTS:
        return dict.fromkeys(("median_step_size", *_PRESSURE, *_TREND))
    order = np.argsort(times, kind="stable")
    times, prices = times[order], prices[order]
    with np.errstate(over="ignore"):
        steps = (prices[1:] - prices[:-1]) / prices[:-1]
    step_size = median(np.abs(steps).tolist()) * 100
    trend = _trend(times, prices, step_size=step_size)
    return {"median_step_size": step_size, **_pressure(steps), **trend}


def median(values: list[float]) -> float:
    """The middle value; the mean of the two middle ones for an even count.

    Examples
    --------
    >>> median([3.0, 1.0, 2.0, 10.0])
    2.5
    """
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def total(values: Sequence[float]) -> float:
    """The exactly rounded sum: it depends neither on order nor on processor or Python version.

    Examples
    --------
    >>> total([0.1] * 10), total([1e308, 1e308])
    (1.0, inf)
    """
    try:
        return fsum(values)
    except (OverflowError, ValueError):
        return inf


def _pressure(steps: NDArray[np.float64]) -> dict[str, float | str | None]:
    ups, downs = steps[steps > 0].tolist(), (-steps[steps < 0]).tolist()
    moves = len(ups) + len(downs)
    if moves == 0:
        return dict.fromkeys(_PRESSURE)
    risen, fallen = total(ups), total(downs)
    travelled = risen + fallen
    return {
        "buyer_pressure": len(ups) / moves,
        "seller_pressure": len(downs) / moves,
        "buyer_strength": risen / travelled,
        "seller_strength": fallen / travelled,
        "pressure_imbalance": risen / travelled - fallen / travelled,
    }


def _trend(
    times: NDArray[np.float64], prices: NDArray[np.float64], *, step_size: float
) -> dict[str, float | str | None]:
    """Least squares of the logarithm of price on days."""
    days = (times - times[0]) / DAY_MS
    # math.log, because numpy's differs in the last digit between processors; relative to the first price,
    # because a flat line is then exactly zero instead of rounding dust.
    logs = np.array([log(price) for price in prices.tolist()])
    logs -= logs[0]
    days -= total(days.tolist()) / len(days)
    logs -= total(logs.tolist()) / len(logs)
    sxx, sxy, syy = (total(products.tolist()) for products in (days * days, days * logs, logs * logs))
    if sxx <= 0:
        return dict.fromkeys(_TREND)
    strength = sxy / sxx * 100
    confidence = min(1.0, max(0.0, (sxy / sxx) * (sxy / syy))) if syy > 0 else 0.0
    if confidence < _MIN_CONFIDENCE:
        trend = "sideways"
    elif abs(strength) < _NEUTRAL_STEPS * step_size:
        trend = "neutral"
    else:
        trend = "bullish" if strength > 0 else "bearish"
    return {"trend": trend, "trend_strength": strength, "trend_confidence": confidence}
