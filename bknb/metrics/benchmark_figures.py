"""Figures of an account beside a benchmark: alpha, beta, correlation, information ratio, and what holding it made."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ..domain.interval import DAY_MS
from ..domain.pnl import net_percentage
from .account_sharpe_sortino_and_drawdown import NO_POSITION, daily_marks
from .benchmark_definitions import BENCHMARK_DEFINITIONS, LEAST_DAYS

if TYPE_CHECKING:
    from .account_sharpe_sortino_and_drawdown import Account
    from .marked_equity import MarkedEquity
    from .marked_positions import Floats, Times

_SPREAD: Final = 1e-12  # daily returns are fractions: less than this is rounding


class Benchmark(msgspec.Struct, frozen=True, eq=False):
    """The prices of a benchmark beside an account, as few as its figures and its line in a picture take.

    Attributes
    ----------
    name
        Of its symbol or series.
    first
        Its price at the start, or the first one in the frame.
    day_close
        The last price up to the end of each UTC day that the frame touches, NaN before the first; shape (d,).
    time_ms, price
        The first price, and its prices in the frame thinned for drawing; moments are UTC ms.
    slippage, fee
        Costs of each side, percent.
    made_of
        The fingerprint of its candles or of its series; ``None``: it is a symbol that the run traded.
    """

    name: str
    first: float
    day_close: Floats
    time_ms: Times
    price: Floats
    slippage: float
    fee: float
    made_of: object = None

    @property
    def is_above_zero(self) -> bool:
        """Whether all of its prices are above 0: else nothing can be said in percent of them."""
        return self.first > 0.0 and not ((self.day_close <= 0.0).any() or (self.price <= 0.0).any())

    @property
    def percent(self) -> Floats:
        """What holding it would have made up to each of ``time_ms``, percent after one round of costs."""
        return held_percent(self.first, self.price, slippage=self.slippage, fee=self.fee)


def held_percent(first: float, price: Floats, *, slippage: float, fee: float) -> Floats:
    """What holding from the price ``first`` to each of ``price`` makes after one round of costs, percent.

    It is :func:`~bknb.domain.pnl.net_percentage` of a long at each price, which at prices above 0 is a straight line.
    Costs are percent of each side.

    Examples
    --------
    >>> held_percent(100.0, np.array([100.0, 110.0]), slippage=0.0, fee=0.1).round(9).tolist()
    [-0.2, 9.79]
    """
    nothing = net_percentage("long", first, 0.0, slippage, fee)
    return nothing + (net_percentage("long", first, first, slippage, fee) - nothing) * (price / first)


def day_closes(known_ms: Times, price: Floats, start: int, end: int) -> Floats:
    """The last price up to the end of each UTC day from ``start`` to ``end`` (UTC ms); NaN before the first price.

    ``known_ms`` says from when on each price is known, ascending. An end at midnight does not touch the next day.
    """
    first, last = start // DAY_MS, max(end - 1, start) // DAY_MS
    until = np.minimum(np.arange(first + 1, last + 2, dtype=np.int64) * DAY_MS, end)
    at = np.searchsorted(known_ms, until, side="right") - 1
    return np.where(at >= 0, price[np.maximum(at, 0)], np.nan)


def benchmark_figures(
    benchmark: Benchmark, begins: Times, returns: Floats, *, start: int, days_a_year: int, held: bool
) -> tuple[dict[str, float | None], dict[str, str]]:
    """The figures by name, ``None`` where one is not available, and why it is not.

    Parameters
    ----------
    benchmark
        Its prices over the frame of the account.
    begins, returns
        Beginnings (UTC ms) of the days of the account, and its return on each as a fraction; shape (n,).
    start
        First moment of the account, UTC ms.
    days_a_year
        Days a year of the market.
    held
        Whether the account held anything.
    """
    figures: dict[str, float | None] = dict.fromkeys(BENCHMARK_DEFINITIONS)
    if not benchmark.is_above_zero:
        return figures, dict.fromkeys(figures, f"a price of the benchmark {benchmark.name} is not above 0")
    last = float(benchmark.price[-1])
    figures["benchmark"] = net_percentage("long", benchmark.first, last, benchmark.slippage, benchmark.fee)
    closes = benchmark.day_close[(begins - start // DAY_MS * DAY_MS) // DAY_MS]
    known = ~np.isnan(closes)
    own, other = returns[known], np.diff(closes[known], prepend=benchmark.first)
    other /= np.concatenate(([benchmark.first], closes[known][:-1]))
    if reason := "" if held else NO_POSITION:
        return figures, {key: reason for key, value in figures.items() if value is None}
    if len(own) < LEAST_DAYS:
        count = f"{len(own)} {'day has' if len(own) == 1 else 'days have'} a return of account and benchmark"
        return figures, {
            key: f"{count}, at least {LEAST_DAYS} are needed" for key, value in figures.items() if value is None
        }
    return figures | _of_days(own, other, days_a_year), _why_missing(own, other)


def _of_days(own: Floats, other: Floats, days_a_year: int) -> dict[str, float | None]:
    active = own - other
    spread, own_spread, of_active = (float(each.std(ddof=1)) for each in (other, own, active))
    covariance = float(np.cov(own, other, ddof=1)[0, 1])
    beta = covariance / spread**2 if spread > _SPREAD else None
    alpha = None if beta is None else (float(own.mean()) - beta * float(other.mean())) * days_a_year * 100
    return {
        "alpha": alpha,
        "beta": beta,
        "correlation": covariance / (spread * own_spread) if min(spread, own_spread) > _SPREAD else None,
        "information_ratio": float(active.mean()) / of_active * sqrt(days_a_year) if of_active > _SPREAD else None,
    }


def _why_missing(own: Floats, other: Floats) -> dict[str, str]:
    reasons: dict[str, str] = {}
    if float(own.std(ddof=1)) <= _SPREAD:
        reasons["correlation"] = "all daily returns are alike"
    if float(other.std(ddof=1)) <= _SPREAD:
        reasons |= dict.fromkeys(("alpha", "beta", "correlation"), "the benchmark did not move")
    if float((own - other).std(ddof=1)) <= _SPREAD:
        reasons["information_ratio"] = "the account moved as the benchmark did"
    return reasons


def with_benchmark(account: Account, benchmark: Benchmark, marked: MarkedEquity | None, *, sessions: bool) -> Account:
    """The account with its figures beside a benchmark; ``marked`` is ``None`` where it has no equity."""
    if marked is None:
        reason = account.reasons["total_return"]
        figures, reasons = dict.fromkeys(BENCHMARK_DEFINITIONS), dict.fromkeys(BENCHMARK_DEFINITIONS, reason)
    else:
        begins, returns = daily_marks(marked, sessions=sessions)
        figures, reasons = benchmark_figures(
            *(benchmark, begins, returns),
            start=int(marked.time_ms[0]),
            days_a_year=int(account["days_a_year"]),
            held=bool(account["positions"]),
        )
    account.update(figures)
    account.reasons.update(reasons)
    return account
