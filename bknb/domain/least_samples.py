"""Gates: the least samples from which a figure is given, for all statistics and the compiled loop of a sweep."""

from __future__ import annotations

from typing import Final, NamedTuple


class Gates(NamedTuple):
    """Thresholds of figures; a named tuple, so that compiled code takes it as it is.

    Attributes
    ----------
    min_trades : int
        Fewer trades than this: no ratio, because the estimate of a variance is noise.
    min_span_days : float
        A shorter calendar span than this: nothing is annualised.
    days_a_year : int
        What a year is taken for; markets that never close have no trading days.
    max_trades_per_year : float
        More trades a year than this: nothing is annualised (the frequency is not clipped either).
    max_yearly_return : float
        A yearly return further from zero than this many percent is an absurd extrapolation, not a figure.
    max_ratio : float
        Calmar ratio and recovery factor are clamped to plus and minus this.
    epsilon : float
        A denominator that is not larger than this is rounding dust.
    """

    min_trades: int
    min_span_days: float
    days_a_year: int
    max_trades_per_year: float
    max_yearly_return: float
    max_ratio: float
    epsilon: float


GATES: Final = Gates(
    min_trades=10,
    min_span_days=14.0,
    days_a_year=365,
    max_trades_per_year=365.0,
    max_yearly_return=100.0,
    max_ratio=1000.0,
    epsilon=1e-9,
)

MIN_DAYS: Final = 40
"""The least number of daily returns for figures on overfitting."""
