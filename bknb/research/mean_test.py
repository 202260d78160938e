"""How often results without any edge would have a mean this far above zero.

The mean is studentised by a deviation that allows for results that depend on their neighbours, freed from skewness, and
compared with Student's t. What a sample cannot tell has no figure: one with few losses has not seen what a loss costs.

* Deviation: the largest of that of independent results, that of sums of overlapping blocks (D. N. Politis and J. P.
  Romano, A Circular Block-Resampling Procedure for Stationary Data, in Exploring the Limits of Bootstrap, Wiley 1992)
  with as many degrees of freedom as there are blocks, and that of results that each pass a part of themselves on to
  the next (F. H. C. Marriott and J. A. Pope, Bias in the Estimation of Autocorrelations, Biometrika 41, 1954).
* Skewness: P. Hall, On the Removal of Skewness by Transformation, Journal of the Royal Statistical Society B 54, 1992.
* How often noise passes for an edge is measured by ``benchmarks/luck.py``.
"""

from __future__ import annotations

from math import ceil, exp, lgamma, log, log1p, sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.least_samples import GATES
from .bootstrap import block_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_RESULTS: Final = 30
LEAST_LOSSES: Final = 10
LEAST_GAINS: Final = 5
"""Below these the share of false alarms was above what the test promises, or the test never speaks."""

_LEAST_BLOCKS: Final = 4
_MOST_MEMORY: Final = 0.9
_TINY: Final = 1e-300
_STEPS: Final = 300


class MeanTest(NamedTuple):
    """Whether results have a mean above zero.

    Attributes
    ----------
    p_value : float or None
        Chance, 0..1, that results without an edge have a mean at least this far above zero; None for too few.
    too_few : str
        What is missing where there is none; else empty.
    """

    p_value: float | None
    too_few: str = ""


def mean_above_zero(values: NDArray[np.float64]) -> MeanTest:
    """The chance that luck alone gives results (finite, in any unit, oldest first) a mean this high.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> round(mean_above_zero(rng.normal(0.2, 1.0, size=200)).p_value, 3)
    0.035
    >>> mean_above_zero(rng.normal(0.2, 1.0, size=12)).too_few
    'too few to tell: 12 results, 6 of them losses (needed: 30, with 10 losses and 5 gains)'
    """
    missing = _missing(values)
    if missing:
        return MeanTest(None, missing)
    count = len(values)
    mean = float(values.mean())
    centred = values - mean
    variance = float(centred @ centred) / (count - 1)
    # A memory that the sample is too short to show is allowed for by blocks of at least the cube root of its length.
    block = min(max(ceil(block_length(values)), ceil(count ** (1 / 3))), count // _LEAST_BLOCKS)
    sums = np.convolve(np.concatenate([centred, centred[: block - 1]]), np.ones(block), mode="valid")
    long_run = float(sums @ sums) / (count * block) * count / (count - block)
    sharpe = mean / sqrt(max(long_run, variance * _memory(centred)))
    skewness = float((centred**3).mean()) / float(values.std()) ** 3
    return MeanTest(t_above(sqrt(count) * _without_skewness(sharpe, skewness, count), count / block - 1))


def _memory(centred: NDArray[np.float64]) -> float:
    """How much larger the variance of a mean is by what each result passes on to the next; 1 for nothing.

    ``(1 + r) / (1 - r)`` with the correlation ``r`` of neighbours, corrected for the bias of a short sample.
    """
    count = len(centred)
    passed_on = float(centred[1:] @ centred[:-1]) / float(centred @ centred)
    passed_on = min(passed_on + (1 + 3 * passed_on) / count, _MOST_MEMORY)
    return max((1 + passed_on) / (1 - passed_on), 1.0)


def _missing(values: NDArray[np.float64]) -> str:
    count, losses, gains = len(values), int((values < 0).sum()), int((values > 0).sum())
    if count >= LEAST_RESULTS and losses >= LEAST_LOSSES and gains >= LEAST_GAINS:
        return "" if float(values.std()) > GATES.epsilon else "all results are alike"
    return (
        f"too few to tell: {count:,} results, {losses:,} of them losses "
        f"(needed: {LEAST_RESULTS}, with {LEAST_LOSSES} losses and {LEAST_GAINS} gains)"
    )


def _without_skewness(ratio: float, skewness: float, count: int) -> float:
    """Hall's cubic transformation of mean over deviation: its distribution is nearly symmetric, and it grows."""
    part = skewness / 3
    return ratio + part * ratio**2 + part**2 * ratio**3 / 3 + skewness / (6 * count)


def t_above(value: float, freedom: float) -> float:
    """The chance, 0..1, that Student's t with ``freedom`` degrees is above a value.

    Examples
    --------
    >>> round(t_above(2.0, 10), 6), t_above(0.0, 3)
    (0.036694, 0.5)
    """
    half = 0.5 * _beta_share(freedom / 2, 0.5, freedom / (freedom + value * value))
    return half if value >= 0 else 1 - half


def _beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by Lentz's continued fraction (Numerical Recipes, section 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, 1 - x)
    front = exp(a * log(x) + b * log1p(-x) + lgamma(a + b) - lgamma(a) - lgamma(b)) / a
    above, below = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    fraction = below
    for m in range(1, _STEPS):
        before = fraction
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            below = 1 / _not_zero(1 + term * below)
            above = _not_zero(1 + term / above)
            fraction *= above * below
        if fraction == before:
            break
    return front * fraction


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
