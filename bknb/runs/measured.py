"""What is measured of a run from its base bars: the account, and whether they had volume."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..domain.interval import DAY_MS, WEEK, interval_ms
from ..domain.signal import key_of
from ..domain.signal_events import Added, Reduced
from ..errors import DataError
from ..market.source_hours import bar_grid_of, sessions_of
from ..metrics.account_sharpe_sortino_and_drawdown import daily_marks
from ..metrics.marked_equity import MarkedEquity
from ..metrics.marked_positions import StillOpen, positions_of, with_open
from ..metrics.reasons import ADDS, INSTEAD, why_no_account
from ..metrics.run_account import Terms, account_of, cut_off, figures_of_bars, mark_run, no_account

if TYPE_CHECKING:
    from ..engine.backtest import BacktestRun
    from ..live.run import LiveRun
    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.marked_positions import Positions, Times
    from .run_record import RunRecord


@dataclass(frozen=True, slots=True)
class Measured:
    """What stays known of a run when its candles are released.

    Attributes
    ----------
    account : Account
    has_volume : bool
        Whether any candle of the run had volume.
    open_days : frozenset of int, or None
        Days since 1970 in which a candle of a market with sessions closed; None for a market that never closes.
    """

    account: Account
    has_volume: bool
    open_days: frozenset[int] | None = None


def positions_of_run(record: RunRecord) -> Positions:
    """The positions of a run, with one that is still open.

    Raises
    ------
    DataError
        When a position was added to or opened at or below zero, and there is no capital.
    """
    closed = record.records.closed
    if record.money is None and (reason := why_no_account(record.records)):
        if record.money_positions is not None:
            raise DataError("this leg shares the account of its portfolio\nread equity and account of that result")
        weighs = ": how much an add weighs depends on how much money there is" if reason == ADDS else ""
        raise DataError(f"{reason}{weighs}\n{INSTEAD[reason]}")
    positions = positions_of(closed)
    for signal in record.records.open_signals:
        settings = record.plan.settings
        parts = tuple(
            part.fill
            for part in record.records.positions
            if isinstance(part, Reduced | Added) and key_of(part.signal) == key_of(signal)
        )
        open_one = StillOpen(signal, settings.percent_slippage, settings.percent_fee, parts)
        positions = with_open(positions, open_one)
    return positions


def marked_equity(record: RunRecord) -> MarkedEquity:
    """Equity of the account of a run, marked at the close of every base bar.

    Raises
    ------
    DataError
        When its candles were released and cannot be read again.
    """
    if record.money is not None:
        from .account_equity import marked_in_money

        return marked_in_money(record, record.money, terms_of(record), record.records.open_signals)
    positions, times = _by_closes(record, positions_of_run(record))
    return mark_run(positions, times, record.minutes.close, terms_of(record))


def _by_closes(record: RunRecord, positions: Positions) -> tuple[Positions, Times]:
    """The positions and the bars of a run with each bar opening a whole length before it closed.

    They do but for the last bar of a session that ends earlier, of bars that count from the open of their market.
    """
    times, plan = record.minutes.timestamp, record.plan
    grid = bar_grid_of(plan.exchange.source, plan.symbol)
    if grid is None or not len(times):
        return positions, times
    step = interval_ms(plan.base)
    opens = grid.ends(times, step) - step

    def moved(moments: Times) -> Times:
        at = np.minimum(np.searchsorted(times, moments), len(times) - 1)
        return np.where(times[at] == moments, opens[at], moments)

    parts = replace(positions.parts, closed_ms=moved(positions.parts.closed_ms))
    return replace(positions, closed_ms=moved(positions.closed_ms), parts=parts), opens


def terms_of(run: RunRecord | BacktestRun | LiveRun) -> Terms:
    """What the account of a run, finished or not, rests on beside its positions and candles."""
    settings, reached = run.plan.settings, getattr(run, "reached", None)
    return Terms(
        start=run.start,
        end=run.last if reached is None else min(run.last, reached),
        slippage=settings.percent_slippage,
        fee=settings.percent_fee,
        sessions=sessions_of(run.plan.exchange.source, run.plan.symbol) is not None and run.plan.base != WEEK,
        bar_ms=interval_ms(run.plan.base),
    )


def measure(record: RunRecord) -> Measured:
    """Measure a run; raises ``DataError`` when its candles were released before and cannot be read again."""
    if record.measured is not None:
        return record.measured
    candles, terms = record.minutes, terms_of(record)
    if record.money is None and (reason := why_no_account(record.records)):
        bars = figures_of_bars(candles.timestamp, candles.open, candles.close, terms)
        is_open = bool(record.records.open_signals)
        account = no_account(reason, record.records.closed, still_open=is_open, of_bars=bars)
        account = _beside(account, record, None, terms)
        return Measured(account, has_volume=not len(candles) or bool((candles.volume > 0).any()))
    positions = positions_of_run(record)
    still_open = len(positions) - len(record.records.closed)
    marked = marked_equity(record)
    account = account_of(
        marked,
        positions,
        *(candles.timestamp, candles.open, candles.close),
        terms,
        closed=record.records.closed,
        cut_off=len(cut_off(record.records.closed)) + still_open,
    )
    if record.money is not None:
        from .account_equity import in_money, share_of_time_held, with_kept

        if record.plan.strategy.places > 1:
            account["exposure"] = share_of_time_held(record.money, marked)
        account = with_kept(in_money(account, record.money, marked), [record], [terms], record.money)
    account = _beside(account, record, marked, terms)
    begins = daily_marks(marked, sessions=True)[0] if terms.sessions else None
    return Measured(
        account,
        has_volume=not len(candles) or bool((candles.volume > 0).any()),
        open_days=None if begins is None else frozenset((begins // DAY_MS).tolist()),
    )


def _beside(account: Account, record: RunRecord, marked: MarkedEquity | None, terms: Terms) -> Account:
    """The account with its figures beside a benchmark, where the run has one."""
    if record.benchmark is None:
        return account
    from ..metrics.benchmark_figures import with_benchmark

    return with_benchmark(account, record.benchmark, marked, sessions=terms.sessions)
