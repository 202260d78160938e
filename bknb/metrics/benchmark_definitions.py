"""The definition of every figure beside a benchmark: formula, unit, source, and when it is not available."""

from __future__ import annotations

from typing import Final

from ..domain.formatting import MISSING, number_text, percent_text
from .trade_definitions import Better, Definition

LEAST_DAYS: Final = 30
"""Fewer daily returns of account and benchmark than this give no figure."""

_SAME_DAYS: Final = (
    "D, B = daily returns of account and benchmark (UTC days that both have), K = days a year as for the Sharpe ratio"
)
_FEW: Final = f"fewer than {LEAST_DAYS} such days, no position was held, or a price of the benchmark is not above 0"
_QUANTSTATS: Final = "as in quantstats"
_ROWS: Final[tuple[tuple[str, str, str, Better, str, str, str], ...]] = (
    ("benchmark", "Benchmark held", "%", None,
     "net result of a long of the benchmark over the frame, with one round of the costs of the run",
     "plain arithmetic", "a price of the benchmark is not above 0"),
    ("alpha", "Alpha a year", "%", "higher",
     f"(mean of D - beta * mean of B) * K * 100, risk-free rate 0; {_SAME_DAYS}",
     ("M. C. Jensen, The Performance of Mutual Funds in the Period 1945-1964, Journal of Finance 23(2), 1968; "
      f"{_QUANTSTATS}"), f"{_FEW}, or the benchmark did not move"),
    ("beta", "Beta", "", None, f"sample covariance of D and B / sample variance of B; {_SAME_DAYS}",
     ("W. F. Sharpe, Capital Asset Prices, Journal of Finance 19(3), 1964; as in empyrical and quantstats"),
     f"{_FEW}, or the benchmark did not move"),
    ("correlation", "Correlation", "", None, f"Pearson's r of D and B; {_SAME_DAYS}",
     "K. Pearson, Proceedings of the Royal Society of London 58, 1895",
     f"{_FEW}, or all daily returns of one of them are alike"),
    ("information_ratio", "Information ratio", "", "higher",
     f"mean of (D - B) / sample standard deviation of (D - B) * sqrt(K); {_SAME_DAYS}",
     "T. H. Goodwin, The Information Ratio, Financial Analysts Journal 54(4), 1998",
     f"{_FEW}, or the account moved as the benchmark did"),
)  # fmt: skip

BENCHMARK_DEFINITIONS: Final[dict[str, Definition]] = {
    key: Definition(key=key, label=label, unit=unit, better=better, formula=formula, source=source, null_when=null_when)
    for key, label, unit, better, formula, source, null_when in _ROWS
}


def benchmark_text(key: str, value: float | None, reason: str) -> str:
    """A figure with its unit; where it is not available, why.

    Examples
    --------
    >>> benchmark_text("alpha", 3.14159, ""), benchmark_text("beta", None, "no position was held")
    ('+3.14 %', 'N/A: no position was held')
    """
    if value is None:
        return f"{MISSING}: {reason}"
    return percent_text(value, signed=True) if BENCHMARK_DEFINITIONS[key].unit == "%" else number_text(value)
