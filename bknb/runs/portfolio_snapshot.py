"""A portfolio as far as it has come: its account and its legs at a few hundred moments, for panels that follow it."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..domain.interval import DAY_MS
from ..engine.marked_account_equity import marked_exposure, marked_money, prices_at
from ..metrics.benchmark_figures import held_percent
from ..metrics.reasons import why_no_account
from ..reports.fewer_points_of_lines import extremes
from ..reports.progress_text import compounded
from .account_equity import account_marks, closes_by_leg, exposure_marks, percent_of
from .account_result import RunAccount
from .benchmark import BenchmarkPrices
from .exposure_and_contribution import money_at_end, money_by_leg, why_not_by_leg
from .measured import terms_of
from .optional_benchmark import prices_of_legs
from .run_record import record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from ..engine.marked_account_equity import LegCloses
    from ..engine.portfolio_run import PortfolioRun
    from ..metrics.marked_positions import Floats, Times
    from ..metrics.run_account import Terms
    from .portfolio_result import PortfolioResult
    from .run_record import RunRecord

_NOTHING = np.empty(0)


class LegSnapshot(NamedTuple):
    """A leg as far as it has come.

    Attributes
    ----------
    symbol, strategy, trades, refused
        What it is, and how many trades it has closed and signals were refused.
    result
        What it has made: money (quote currency) with a capital, else percent, compounded; NaN where that is missing.
    held
        What it holds, percent of the equity, below 0 short; 0 without a capital.
    path
        The money that it had made at each moment of the snapshot; empty without a capital, or where it is not known.
    missing
        Why there is no result: a position was added to, or opened at or below zero; empty: there is one.
    """

    symbol: str
    strategy: str
    trades: int
    refused: int
    result: float
    held: float = 0.0
    path: Floats = _NOTHING
    missing: str = ""


class PortfolioSnapshot(NamedTuple):
    """A portfolio as far as it has come; arrays are of shape (m,), empty without a capital.

    Attributes
    ----------
    start, end, reached
        First and last moment of its frame, and that to which it has come, UTC ms.
    legs
        In declared order.
    capital, currency
        Of its account; ``None`` and empty without one.
    time_ms, equity, longs, shorts
        Moments (UTC ms), what the account was worth, and what longs and shorts were of that, percent, shorts below 0.
    benchmark, held
        Its name, and what the capital would be worth in it after one round of costs; empty without one.
    days
        What each leg added on each day (UTC) so far, money; shape (days, legs).
    no_days
        Why that is not known; empty: it is.
    """

    start: int
    end: int
    reached: int
    legs: tuple[LegSnapshot, ...]
    capital: float | None = None
    currency: str = ""
    time_ms: Times = _NOTHING.astype(np.int64)
    equity: Floats = _NOTHING
    longs: Floats = _NOTHING
    shorts: Floats = _NOTHING
    benchmark: str = ""
    held: Floats = _NOTHING
    days: Floats = _NOTHING
    no_days: str = ""


class Snapshots:
    """The snapshots of a portfolio that runs.

    Parameters
    ----------
    run
        The portfolio.
    benchmark
        What its account is set beside, as it was given.
    """

    def __init__(self, run: PortfolioRun, benchmark: object) -> None:
        self._run, self._benchmark = run, benchmark
        self.prices: BenchmarkPrices | None = None  # of a benchmark that no leg trades, once they are loaded

    def take(self, points: int) -> PortfolioSnapshot:
        """The portfolio as it is now, at about ``points`` moments evenly over what it has behind it."""
        run, shared = self._run, self._run.account
        records = [record_of(leg) for leg in run.legs]
        start, end = _span(records)
        reached = min(max(run.moment, start), end)
        if shared is None or not all(map(is_loaded, records)):
            return without_account(records, reached=reached)
        plan, changes = shared.plan, tuple(shared.changes)  # before the rows: each change has its own
        reached = min(max([reached, *(change.since for change in changes[-1:])]), end)
        account = RunAccount(plan.capital, plan.currency, shared.begin, changes, tuple(shared.rows), ())
        times = np.unique(np.linspace(start, max(reached, start + 1), max(points, 2)).astype(np.int64))
        if self.prices is None and self._benchmark is not None:
            self.prices = prices_of_legs(self._benchmark, records, start)
        return with_account(records, account, self.prices, times, reached=reached)


def snapshot_of_result(result: PortfolioResult, points: int) -> PortfolioSnapshot:
    """The snapshot of a portfolio that is over, at about ``points`` moments; raises as its ``equity``."""
    records = [leg.run_record for leg in result.legs.values()]
    reached = max(leg.account_terms.end for leg in result.legs.values())
    if result.run_account is None:
        return without_account(records, reached=reached)
    marked, beside = result.marked, result.benchmark
    times = marked.time_ms[extremes(marked.equity, max(points, 4))]
    prices = None if beside is None else BenchmarkPrices(beside.name, beside.time_ms, beside.price)
    return with_account(records, result.run_account, prices, times, reached=reached)


def without_account(records: Sequence[RunRecord], *, reached: int) -> PortfolioSnapshot:
    """The snapshot of a portfolio without a capital."""
    legs = []
    for record in records:
        known = record.records
        missing = why_no_account(known)
        made = nan if missing else compounded(event.of_equity for event in known.closed)
        legs.append(LegSnapshot(*_counts(record), made, missing=missing))
    return PortfolioSnapshot(*_span(records), reached, tuple(legs))


def with_account(
    records: Sequence[RunRecord], account: RunAccount, prices: BenchmarkPrices | None, times: Times, *, reached: int
) -> PortfolioSnapshot:
    """The snapshot of a portfolio with a capital at moments, UTC ms, ascending, none behind ``reached``."""
    closes, terms = closes_by_leg(records, account), [terms_of(record) for record in records]
    if account.kept is None:
        worth = marked_money(account.begin, account.changes, closes, times)
        if (nothing := worth <= 0.0).any():
            worth[int(np.argmax(nothing)) :] = 0.0
        longs, shorts = (
            percent_of(value, worth) for value in marked_exposure(account.begin, account.changes, closes, times)
        )
    else:
        marks, marked = account_marks(records, terms, account)
        at = np.searchsorted(marks, times)
        worth, longs, shorts = (each[at] for each in (marked, *exposure_marks(records, account, marks, marked)))
    last, ledger, made, days = times[-1:], account.end, np.empty((0, len(records))), np.empty((0, len(records)))
    if not (no_days := why_not_by_leg(records, account)):
        ends = _day_ends(int(times[0]), int(times[-1]))
        every = np.union1d(times, ends)
        by_leg = money_by_leg(records, terms, account, every)  # once: it goes over all changes of the account
        made = by_leg[np.searchsorted(every, times)]
        days = np.diff(by_leg[np.searchsorted(every, ends)], axis=0, prepend=0.0)
        if any(each.sessions for each in terms):
            days = days[_have_bars(closes.values(), int(times[0]), ends)]
    results = made[-1] if len(made) else money_at_end(records, terms, account)
    legs = []
    for order, record in enumerate(records):
        quantity = ledger.quantity_of(name := str(order))
        value = quantity * float(prices_at(closes[name], last)[0]) if quantity else 0.0
        held = float(percent_of(np.array([value]), worth[-1:])[0])
        legs.append(LegSnapshot(*_counts(record), float(results[order]), held, made[:, order]))
    return PortfolioSnapshot(
        *_span(records),
        reached=reached,
        legs=tuple(legs),
        capital=account.capital,
        currency=account.currency,
        time_ms=times,
        equity=worth,
        longs=longs,
        shorts=shorts,
        benchmark="" if prices is None else prices.name,
        held=_NOTHING if prices is None else _held(prices, times, terms[0]) * account.capital,
        days=days,
        no_days=no_days.partition("\n")[0],
    )


def is_loaded(record: RunRecord) -> bool:
    """Whether the base bars of a leg are in memory: those of one that begins are not yet."""
    window = record.candles.window
    return window is None or window.known(record.plan.symbol, window.base) is not None


def _day_ends(start: int, end: int) -> Times:
    """The midnights (UTC ms) behind ``start`` up to ``end``, and ``end``."""
    return np.unique(np.append(np.arange(start // DAY_MS * DAY_MS + DAY_MS, end, DAY_MS, dtype=np.int64), end))


def _have_bars(legs: Iterable[LegCloses], start: int, ends: Times) -> NDArray[np.bool_]:
    """Whether a bar of some leg closed in each of the days that end at ``ends`` (UTC ms), from ``start`` on."""
    moments = np.concatenate(([start], ends))
    counts = np.sum([bars.closed_ms.searchsorted(moments, side="right") for bars in legs], axis=0)
    found: NDArray[np.bool_] = np.diff(counts) > 0
    return found


def _counts(record: RunRecord) -> tuple[str, str, int, int]:
    known = record.records
    return record.plan.symbol, record.plan.strategy.name, len(known.closed), len(known.refused)


def _span(records: Sequence[RunRecord]) -> tuple[int, int]:
    return min(record.start for record in records), max(record.last for record in records)


def _held(prices: BenchmarkPrices, times: Times, costs: Terms) -> Floats:
    """What a unit of money is worth in a benchmark at moments, UTC ms, after one round of costs; 1 up to its price."""
    since, first = prices.begin(int(times[0]))
    at = np.searchsorted(prices.known_ms, times, side="right") - 1
    known = (at >= 0) & (times > since)
    if first <= 0.0:
        return np.ones(len(times))
    percent = held_percent(first, prices.price[np.maximum(at, 0)], slippage=costs.slippage, fee=costs.fee)
    return np.where(known, 1.0 + percent / 100.0, 1.0)
