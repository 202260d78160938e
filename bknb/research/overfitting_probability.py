"""Probability of backtest overfitting: how often the best of one half of the periods is poor in the other half.

D. H. Bailey, J. M. Borwein, M. López de Prado and Q. J. Zhu, The Probability of Backtest Overfitting, Journal of
Computational Finance 20(4), 2016 (working paper 2015): combinatorially symmetric cross-validation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_AT_ONCE: Final = 4_000_000  # figures in memory at a time (32 MB)
_DUST: Final = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Overfitting:
    """Result of combinatorially symmetric cross-validation.

    Attributes
    ----------
    probability : float
        Share of the splits in which the chosen strategy was below the median of all in the other half, 0..1. Near
        one half when the strategies are equally useless; near 0 when one is truly better.
    logits : ndarray, shape (splits,)
        ``ln(w / (1 - w))`` of the chosen strategy's relative rank w in the other half, one for each split.
    inside, outside : ndarray, shape (splits,)
        The chosen strategy's figure where it was chosen, and in the other half.
    slope : float
        Slope of ``outside`` on ``inside``: negative when the better it looked, the worse it did.
    loss : float
        Share of the splits in which the chosen strategy lost money (mean below 0) in the other half.
    splits, strategies, periods, blocks : int
    """

    probability: float
    logits: NDArray[np.float64]
    inside: NDArray[np.float64]
    outside: NDArray[np.float64]
    slope: float
    loss: float
    splits: int
    strategies: int
    periods: int
    blocks: int

    def __repr__(self) -> str:
        return (
            f"Overfitting(probability={self.probability:.3f}, loss={self.loss:.3f}, strategies={self.strategies}, "
            f"periods={self.periods}, splits={self.splits})"
        )


def overfitting(
    returns: ArrayLike, *, blocks: int = 16, figure: Literal["sharpe_ratio", "mean"] = "sharpe_ratio"
) -> Overfitting:
    """The probability of backtest overfitting, by combinatorially symmetric cross-validation.

    The periods are cut into ``blocks`` of equal length. For every way to take half of them, the strategy with the best
    figure in that half is looked up in the other half, and ranked there among all.

    Parameters
    ----------
    returns : array_like or DataFrame, shape (periods, strategies)
        Result of each strategy in each period, such as ``sweep.returns``; NaN counts as 0. Periods should be many:
        at least ten in a block. A few periods at the end that do not fill a block are left out.
    blocks
        An even number; 16 gives 12 870 splits.
    figure
        What the choice goes by: mean over standard deviation, or the mean.

    Returns
    -------
    Overfitting

    Raises
    ------
    UsageError
        When there is nothing to choose from, or too few periods.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(3).normal(size=(320, 20))
    >>> better = noise.copy()
    >>> better[:, 7] += 0.5
    >>> overfitting(noise, blocks=8).probability > 0.2, overfitting(better, blocks=8).probability
    (True, 0.0)
    """
    table = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] < 2:
        raise UsageError(f"overfitting needs a table (periods, strategies) with two strategies, got {table.shape}")
    if blocks % 2 or not 2 <= blocks <= 20:
        raise UsageError(f"blocks must be an even number from 2 to 20, got {blocks}")
    length = len(table) // blocks
    if length < 2:
        raise UsageError(f"{len(table)} periods are too few for {blocks} blocks\ngive a longer frame, or fewer blocks")
    if figure not in ("sharpe_ratio", "mean"):
        raise UsageError(f"figure must be 'sharpe_ratio' or 'mean', got {figure!r}")
    table = np.nan_to_num(table[: length * blocks], nan=0.0, posinf=0.0, neginf=0.0)
    parts = table.reshape(blocks, length, -1)
    sums, squares = parts.sum(axis=1), (parts**2).sum(axis=1)
    halves = np.zeros((comb(blocks, blocks // 2), blocks))
    for row, chosen in enumerate(combinations(range(blocks), blocks // 2)):
        halves[row, list(chosen)] = 1.0
    pieces = [
        _split(half, sums, squares, count=length * blocks // 2, ratio=figure == "sharpe_ratio")
        for half in np.array_split(halves, max(1, len(halves) * table.shape[1] // _AT_ONCE))
    ]
    logits, inside, outside, mean = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return Overfitting(
        # A chosen strategy in the very middle counts half: with it, equally useless strategies come to one half.
        probability=float((logits < 0).mean() + (logits == 0).mean() / 2),
        logits=logits,
        inside=inside,
        outside=outside,
        slope=_slope(inside, outside),
        loss=float((mean < 0).mean()),
        splits=len(halves),
        strategies=table.shape[1],
        periods=length * blocks,
        blocks=blocks,
    )


def _figures(
    half: NDArray[np.float64], sums: NDArray[np.float64], squares: NDArray[np.float64], *, count: int, ratio: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = half @ sums / count
    if not ratio:
        return mean, mean
    variance = np.maximum(half @ squares / count - mean**2, 0.0) * count / max(count - 1, 1)
    deviation = np.sqrt(variance)
    return np.where(deviation > _DUST, mean / np.where(deviation > _DUST, deviation, 1.0), 0.0), mean


def _split(
    half: NDArray[np.float64], sums: NDArray[np.float64], squares: NDArray[np.float64], *, count: int, ratio: bool
) -> tuple[NDArray[np.float64], ...]:
    here, _ = _figures(half, sums, squares, count=count, ratio=ratio)
    there, mean = _figures(1 - half, sums, squares, count=count, ratio=ratio)
    rows = np.arange(len(half))
    best = here.argmax(axis=1)
    chosen = there[rows, best]
    below = (there < chosen[:, None]).sum(axis=1)
    same = (there == chosen[:, None]).sum(axis=1)  # itself included; ties share their ranks
    share = (below + (same + 1) / 2) / (there.shape[1] + 1)
    return np.log(share / (1 - share)), here[rows, best], chosen, mean[rows, best]


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    spread = x - x.mean()
    square = float(spread @ spread)
    return float(spread @ (y - y.mean())) / square if square > _DUST else 0.0
