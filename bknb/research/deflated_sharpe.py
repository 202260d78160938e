"""How likely a Sharpe ratio is skill rather than luck, given how many were tried.

* The probabilistic Sharpe ratio: D. H. Bailey and M. López de Prado, The Sharpe Ratio Efficient Frontier, Journal of
  Risk 15(2), 2012.
* ``deflated_sharpe_ratio``: D. H. Bailey and M. López de Prado, The Deflated Sharpe Ratio: Correcting for Selection
  Bias, Backtest Overfitting and Non-Normality, Journal of Portfolio Management 40(5), 2014.
* The chance under pure noise of a best trial this good: of one trial by :mod:`bknb.research.mean_test`, of the best of
  several by Z. Šidák, Rectangular Confidence Regions for the Means of Multivariate Normal Distributions, Journal of
  the American Statistical Association 62, 1967.

Sharpe ratios are per observation (per trade, or per day), never annualised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import e, isfinite, log1p, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.least_samples import GATES
from ..domain.whole_number import is_number
from ..errors import UsageError
from .mean_test import mean_above_zero

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EULER_MASCHERONI: Final = 0.5772156649015329
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeflatedSharpe:
    """A Sharpe ratio, and what is left of it once the search behind it is counted.

    Attributes
    ----------
    sharpe_ratio : float or None
        Mean over standard deviation (n - 1) of the observations; None for fewer than ten, or when all are alike.
    observations : int
    skewness, kurtosis : float or None
        Of the observations; a normal distribution has 0 and 3.
    trials : float
        How many strategies or parameter sets were tried.
    expected_maximum : float or None
        The Sharpe ratio that the best of that many worthless trials would show on average.
    deflated : float or None
        Chance, 0..1, that the true Sharpe ratio is above ``expected_maximum``: the deflated Sharpe ratio.
    probabilistic : float or None
        Chance, 0..1, that it is above 0 when nothing was selected: the probabilistic Sharpe ratio.
    p_value : float or None
        Chance, 0..1, that the best of that many worthless trials looks at least this good. Where nothing but luck is
        at work it is below 0.05 in about one of twenty cases, or fewer; the manual has the table. None for too few.
    too_few : str
        What is missing for ``p_value``; empty where there is one.
    """

    sharpe_ratio: float | None
    observations: int
    skewness: float | None
    kurtosis: float | None
    trials: float
    expected_maximum: float | None
    deflated: float | None
    probabilistic: float | None
    p_value: float | None
    too_few: str = ""


def sharpe_confidence(
    sharpe: float, observations: int, *, skewness: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float:
    """Chance that the true Sharpe ratio is above a benchmark, allowing for skewness and fat tails, from moments alone.

    ``PSR = Phi((SR - benchmark) * sqrt(n - 1) / sqrt(1 - skew * SR + (kurtosis - 1) / 4 * SR^2))``
    (Bailey and López de Prado, Journal of Risk 15(2), 2012, equation 11). Sharpe ratio and benchmark are per
    observation; ``kurtosis`` is 3 for a normal distribution.

    Examples
    --------
    The example of Bailey and López de Prado 2014: 2.5 a year over five years of days, the best of 100 trials whose
    yearly Sharpe ratios have a variance of one half.

    >>> expected = expected_maximum_sharpe(100, deviation=(0.5 / 250) ** 0.5)
    >>> round(expected, 4)
    0.1132
    >>> round(sharpe_confidence(2.5 / 250**0.5, 1250, skewness=-3, kurtosis=10, benchmark=expected), 4)
    0.9004
    """
    variance = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe
    if not variance > 0:  # moments of one sample cannot do this: kurtosis >= 1 + skewness^2
        raise UsageError(f"no sample has skewness {skewness:g} and kurtosis {kurtosis:g}")
    return _NORMAL.cdf((sharpe - benchmark) * sqrt(observations - 1) / sqrt(variance))


def expected_maximum_sharpe(trials: float, *, deviation: float) -> float:
    """The Sharpe ratio the best of ``trials`` worthless ones shows on average.

    ``deviation * ((1 - g) * Z(1 - 1 / N) + g * Z(1 - 1 / (N * e)))`` with Z the normal quantile and g the
    Euler-Mascheroni constant (Bailey and López de Prado 2014, equation 6).

    Parameters
    ----------
    trials
        At least 1; one trial has nothing to select from, and 0 is expected.
    deviation
        Standard deviation of the Sharpe ratios across the trials.

    Examples
    --------
    >>> round(expected_maximum_sharpe(100, deviation=0.1), 4), expected_maximum_sharpe(1, deviation=0.1)
    (0.2531, 0.0)
    """
    if not trials >= 1:
        raise UsageError(f"the number of trials must be at least 1, got {trials!r}")
    if trials == 1:
        return 0.0
    best = (1 - EULER_MASCHERONI) * _NORMAL.inv_cdf(1 - 1 / trials)
    return deviation * (best + EULER_MASCHERONI * _NORMAL.inv_cdf(1 - 1 / (trials * e)))


def deflated_sharpe_ratio(
    returns: ArrayLike, *, trials: float | ArrayLike = 1, count: float | None = None
) -> DeflatedSharpe:
    """What a Sharpe ratio is worth once the search that found it is counted.

    The deflated Sharpe ratio is the probabilistic one against ``expected_maximum_sharpe``. It compares with the
    *average* best of worthless trials, so under pure noise it gathers around one half and rarely comes near 1:
    demanding 0.95 of it is stricter than it sounds. ``p_value`` is the chance, under pure noise, of a best trial at
    least this good, ``1 - (1 - p)^N``, with ``p`` that of one trial: a test that also holds for few, heavy-tailed,
    skewed and dependent results, and says when they are too few to tell.

    Parameters
    ----------
    returns : array_like, shape (n,)
        Results of the chosen strategy: per trade or per day.
    trials
        How many were tried; or the Sharpe ratios (per observation) of all of them, the chosen one included. With the
        ratios their own spread is used, so that trials which are nearly the same count for less in ``deflated``.
        With a number alone, the spread of worthless independent trials, ``1 / sqrt(n - 1)``.
    count
        How many independent trials the ratios stand for, where that is known to be another number than theirs: fewer
        for trials that resemble each other (``effective_trials``), more when only some were kept.

    Returns
    -------
    DeflatedSharpe

    Raises
    ------
    UsageError
        For results that are not a row of numbers, or fewer than one trial.

    Examples
    --------
    >>> import numpy as np
    >>> trades = np.random.default_rng(1).normal(0.2, 1.0, size=200)
    >>> alone, of_many = deflated_sharpe_ratio(trades), deflated_sharpe_ratio(trades, trials=1000)
    >>> round(alone.p_value, 3), round(of_many.p_value, 3), round(of_many.deflated, 3)
    (0.035, 1.0, 0.094)
    """
    values = _values(returns)
    moments, test = _moments(values), mean_above_zero(values)
    number, deviation = _trials(trials, moments.count)
    if count is not None:
        number = float(count)
    expected = expected_maximum_sharpe(number, deviation=deviation)
    return DeflatedSharpe(
        sharpe_ratio=moments.sharpe,
        observations=moments.count,
        skewness=moments.skewness,
        kurtosis=moments.kurtosis,
        trials=number,
        expected_maximum=None if moments.sharpe is None else expected,
        deflated=_probabilistic(moments, expected),
        probabilistic=_probabilistic(moments, 0.0),
        p_value=None if test.p_value is None else _best_of(test.p_value, number),
        too_few=test.too_few,
    )


def effective_trials(returns: ArrayLike) -> float:
    """How many independent trials a set of similar ones amounts to.

    ``r + (1 - r) * N`` with r the mean correlation of their results, at least 0 (Bailey and López de Prado 2014,
    appendix 3).

    Parameters
    ----------
    returns : array_like, shape (periods, trials)
        Results by period (such as a day), one column for each trial.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.random.default_rng(2).normal(size=(250, 1))
    >>> round(effective_trials(np.repeat(one, 50, axis=1)), 6)
    1.0
    """
    table = _table(returns)
    spread = table.std(axis=0)
    live = table[:, spread > GATES.epsilon]
    number = live.shape[1]
    if number < 2:
        return float(max(number, 1))
    scaled = (live - live.mean(axis=0)) / live.std(axis=0)
    together = float(np.mean(scaled.sum(axis=1) ** 2))  # sum of all correlations, the diagonal included
    mean = (together - number) / (number * (number - 1))
    share = min(max(mean, 0.0), 1.0)
    return float(share + (1 - share) * number)


# -- inside --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Moments:
    count: int
    sharpe: float | None
    skewness: float | None
    kurtosis: float | None


def _values(returns: ArrayLike) -> NDArray[np.float64]:
    try:
        values: NDArray[np.float64] = np.asarray(returns, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"results must be a row of numbers, got {returns!r:.80}") from None
    if values.ndim != 1:
        raise UsageError(f"results must be one row of numbers, got an array of shape {values.shape}")
    return values[np.isfinite(values)]


def _table(returns: Any) -> NDArray[np.float64]:
    table: NDArray[np.float64] = np.asarray(returns, dtype=np.float64)
    if table.ndim != 2:
        raise UsageError(f"results by period must be a table (periods, trials), got an array of shape {table.shape}")
    return np.nan_to_num(table, nan=0.0, posinf=0.0, neginf=0.0)


def _moments(values: NDArray[np.float64]) -> _Moments:
    count = len(values)
    if count < GATES.min_trades:
        return _Moments(count, None, None, None)
    mean = float(values.mean())
    deviation = float(values.std(ddof=1))
    if not deviation > GATES.epsilon:
        return _Moments(count, None, None, None)
    scaled = (values - mean) / float(values.std())
    return _Moments(count, mean / deviation, float((scaled**3).mean()), float((scaled**4).mean()))


def _probabilistic(moments: _Moments, benchmark: float) -> float | None:
    sharpe, skewness, kurtosis = moments.sharpe, moments.skewness, moments.kurtosis
    if sharpe is None or skewness is None or kurtosis is None:
        return None
    return sharpe_confidence(sharpe, moments.count, skewness=skewness, kurtosis=kurtosis, benchmark=benchmark)


def _best_of(alone: float, trials: float) -> float:
    """``1 - (1 - alone) ** trials`` without losing the small ones."""
    return 1.0 if alone >= 1 else float(-np.expm1(trials * log1p(-alone)))


def _trials(trials: Any, observations: int) -> tuple[float, float]:
    """How many, and how far their Sharpe ratios spread."""
    if is_number(trials):  # also one of numpy
        if not (isfinite(trials) and float(trials) >= 1):
            raise UsageError(f"trials must be a number of at least 1, or the Sharpe ratios of all trials, got {trials}")
        return float(trials), 1 / sqrt(max(observations - 1, 1))
    if isinstance(trials, str) or not (isinstance(trials, (Sequence, np.ndarray)) or hasattr(trials, "to_numpy")):
        raise UsageError(f"trials must be a number, or the Sharpe ratios of all trials, got {trials!r:.80}")
    ratios = _values(trials)
    if len(ratios) < 2:
        return 1.0, 0.0
    return float(len(ratios)), float(ratios.std(ddof=1))
