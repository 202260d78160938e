"""Prices no market reaches within one candle: unfinished candles, and numbers that are no prices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.formatting import utc_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..config import Settings
    from .candles import Candles

_SETTING: Final = "if it was traded, raise get_candles_price_anomaly_threshold_factor of bknb.Settings"

_PIECE: Final = 8_192  # candles at a time
_UNITS: Final = 50  # cents and dollars are a hundred times apart, and hardly a split is so large


class Anomaly(NamedTuple):
    """Candles whose prices cannot be right.

    Attributes
    ----------
    among
        The candles that were looked at together.
    bad
        Which of them are wrong.
    rule
        The rule they break, as a sentence.
    """

    among: Candles
    bad: NDArray[np.bool_]
    rule: str


def anomalous(
    candles: Candles,
    *,
    settings: Settings,
    before: float | None = None,
    one_by_one: bool = False,
    lasting: int | None = None,
) -> Anomaly | None:
    """The first candles whose prices are too low or too high to be right; ``None``: there are none.

    With ``factor = get_candles_price_anomaly_threshold_factor``, these are:

    * a price strictly below ``reference / factor``: the candle must be unfinished. The reference is the upper median of
      all prices when there are at least ``get_candles_min_candles_for_median`` candles, else their mean. It is taken
      anew for each ``max_candles_per_request`` candles;
    * a price strictly above ``factor`` times the close before and ``factor`` times the open after, also where several
      such candles follow each other. A last candle is compared with the two before it, a first one with the two after
      it. Several at the end are a new level of the price, and pass.

    So a price that truly grew a thousandfold over the years is not mistaken for an anomaly.

    Parameters
    ----------
    candles
        Candles of one series, oldest first, with finite prices above 0.
    settings
        Supplies the factor, the number of candles from which on there is a median, and the length of a part.
    before
        The close of the candle before these, in quote currency; ``None``: unknown.
    one_by_one
        Whether each candle is compared with the close before it alone, ``before`` first, and is wrong when a price of
        it is ``factor`` times above or below: of the newest candles nobody knows what follows.
    lasting
        How many candles at the end make a new level of the price, which is right also one by one; fewer are wrong.
        ``None``: a new level is any two at the end of history, and none one by one.

    Examples
    --------
    >>> from bknb.config import Settings
    >>> from bknb.market.candles import Candles
    >>> prices = [100.0, 1e30, 100.0]
    >>> candles = Candles.from_rows([(60_000 * i, p, p, p, p, 1.0) for i, p in enumerate(prices)])
    >>> anomalous(candles, settings=Settings()).bad.tolist()
    [False, True, False]
    """
    factor = settings.get_candles_price_anomaly_threshold_factor
    if not len(candles) or is_within(candles.block[1:5], before, factor):  # then each part of them is, too
        return None
    for start in range(0, len(candles), settings.max_candles_per_request):
        end = start + settings.max_candles_per_request
        part = candles[start:end]
        left = before if start == 0 else float(candles.close[start - 1])
        prices = np.stack((part.open, part.high, part.low, part.close))
        if is_within(prices, left, factor):
            continue
        right = float(candles.open[end]) if end < len(candles) else None
        found: list[tuple[NDArray[np.bool_], str]] = []
        if one_by_one and left is not None:
            found.append(_stepped(prices, left=left, factor=factor, lasting=lasting))
        elif len(part) >= settings.get_candles_min_candles_for_median:
            found.append(_low(prices, _upper_median(prices), factor))
            found.append(_high(prices, left=left, right=right, factor=factor))
        else:  # one high price moves a mean, so it is looked for first
            found.append(_high(prices, left=left, right=right, factor=factor))
            found.append(_low(prices, float((prices / prices.size).sum()), factor))
        if lasting is not None and not one_by_one and right is None:
            found.append(_stepped_at_end(prices, factor=factor, lasting=lasting))
        for bad, rule in found:
            if bad.any():
                return Anomaly(part, bad, rule)
    return None


def step_notes(candles: Candles, where: str) -> list[str]:
    """What is told of a table whose price is fifty times higher or lower from one candle to the next, and stays there.

    Prices that are in cents or in another currency from some row on look so; a split of that size may be true.

    Examples
    --------
    >>> from bknb.market.candles import Candles
    >>> rows = [(60_000 * i, p, p, p, p, 1.0) for i, p in enumerate([1.25, 1.25, 125.0, 125.0])]
    >>> step_notes(Candles.from_rows(rows), "mine")[0].splitlines()[0]
    'mine: the price goes from 1.25 to 125 at 1970-01-01 00:02 UTC'
    """
    times = candles.timestamp
    if not bool((times[1:] >= times[:-1]).all()):
        candles = candles.take(np.argsort(times, kind="stable"))
    found = []
    for first in range(0, len(candles) - 1, _PIECE):
        close, opened = candles.close[:-1][first : first + _PIECE], candles.open[1:][first : first + _PIECE]
        far = (close > 0) & (opened > 0) & ((opened > _UNITS * close) | (close > _UNITS * opened))
        found += (first + np.flatnonzero(far)).tolist()
    return _told_of_steps(candles, found, where) if found else []


def _told_of_steps(candles: Candles, steps: list[int], where: str) -> list[str]:
    close, opened = candles.close[:-1], candles.open[1:]
    at = steps[0]
    more = f" (and {len(steps) - 1} more such steps)" if len(steps) > 1 else ""
    step = f"from {close[at]:.6g} to {opened[at]:.6g} at {utc_text(int(candles.timestamp[at + 1]))}{more}"
    advice = "prices of another unit, such as cents, or of another currency are to be multiplied; a split: adjust="
    return [f"{where}: the price goes {step}\n{advice}"]


def is_within(prices: NDArray[np.float64], left: float | None, factor: int) -> bool:
    """Whether no price, ``left`` among them, is more than ``factor`` times another: then none is anomalous.

    Neither a median nor a neighbour lies outside of them: nearly always this answers without looking further. In
    which parts the candles are looked at makes no difference then.

    Examples
    --------
    >>> is_within(np.array([[99.0, 101.0], [100.0, 102.0]]), None, 100)
    True
    """
    lowest, highest = float(prices.min()), float(prices.max())
    if left is not None:
        lowest, highest = min(lowest, left), max(highest, left)
    return lowest * factor >= highest


def _upper_median(prices: NDArray[np.float64]) -> float:
    middle = prices.size // 2
    return float(np.partition(prices.ravel(), middle)[middle])


def _low(prices: NDArray[np.float64], reference: float, factor: int) -> tuple[NDArray[np.bool_], str]:
    least = reference / factor
    rule = (
        f"anomalously low: below {least:.6g}, a {factor}th of the usual price {reference:.6g}; "
        f"an unfinished candle? fetch it again, or leave it out; {_SETTING}"
    )
    return prices.min(axis=0) < least, rule


def _high(
    prices: NDArray[np.float64], *, left: float | None, right: float | None, factor: int
) -> tuple[NDArray[np.bool_], str]:
    open_, close, most = prices[0], prices[3], prices.max(axis=0) / factor
    count = len(most)
    first = left if left is not None else float(open_[2]) if count > 2 else math.nan
    if right is not None:
        last = right
    elif count > 2:  # behind a candle that is too low, it is not the last one that is wrong
        last = float(close[-3])
    else:
        last = math.nan if left is None or count == 1 else left
    before, after = np.concatenate([[first], close[:-1]]), np.concatenate([open_[1:], [last]])
    bad = most > np.fmax(before, after)
    after[-1] = math.nan if right is None else right
    for at in np.flatnonzero(most > before):
        back = np.flatnonzero(after[at:] < most[at])
        if len(back):
            bad[at : at + int(back[0]) + 1] = True
    return bad, f"anomalously high: more than {factor} times the price before and after it; fetch it again; {_SETTING}"


def _stepped(
    prices: NDArray[np.float64], *, left: float, factor: int, lasting: int | None
) -> tuple[NDArray[np.bool_], str]:
    bad, before = _far(prices, left=left, factor=factor)
    first = int(np.argmax(bad))
    level = prices[:, first:]
    if lasting is not None and level.shape[1] >= lasting and level.max() / factor <= level.min():
        bad[:] = False
    return bad, _stepped_text(float(before[first]), factor)


def _stepped_at_end(prices: NDArray[np.float64], *, factor: int, lasting: int) -> tuple[NDArray[np.bool_], str]:
    """Candles behind a step of the price that is so near to the end that nobody knows whether it stays there."""
    bad, before = _far(prices, left=float(prices[3, 0]), factor=factor)
    bad[: 1 - lasting] = bad[0] = False  # one that begins earlier has lasted
    first = int(np.argmax(bad))
    bad[first:] = bad[first]
    return bad, _stepped_text(float(before[first]), factor)


def _far(prices: NDArray[np.float64], *, left: float, factor: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which candles have a price ``factor`` times above or below the close before, and these closes."""
    before = np.concatenate([[left], prices[3][:-1]])
    return (prices.max(axis=0) / factor > before) | (prices.min(axis=0) < before / factor), before


def _stepped_text(usual: float, factor: int) -> str:
    return f"anomalous: more than {factor} times above or below {usual:.6g}, the close before it; {_SETTING}"
