"""Equity of a run with a capital, marked at the close of every base bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..domain.interval import interval_ms
from ..domain.signal import key_of
from ..market.source_hours import bar_grid_of
from ..metrics.marked_equity import MarkedEquity
from ..metrics.marked_money import LegCloses, marked_money, moments_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..domain.signal import OpenSignal
    from ..metrics.marked_equity import Floats, Times
    from ..metrics.run_account import Terms
    from .run_account import RunAccount
    from .run_record import RunRecord


def closes_of(record: RunRecord) -> LegCloses:
    """When the base bars of a run close, and at which prices."""
    candles, plan = record.minutes, record.plan
    step, grid = interval_ms(plan.base), bar_grid_of(plan.exchange.source, plan.symbol)
    return LegCloses(candles.timestamp + step if grid is None else grid.ends(candles.timestamp, step), candles.close)


def marked_in_money(
    record: RunRecord, account: RunAccount, terms: Terms, still_open: OpenSignal | None
) -> MarkedEquity:
    """Equity of a run with a capital as multiples of that, marked at the close of every base bar.

    ``terms`` are those of its account, ``still_open`` is the signal of a position without an exit.
    """
    legs = {"0": closes_of(record)}
    start, end = terms.span(record.minutes.timestamp)
    moments = moments_of(legs.values(), (change.since for change in account.changes), start=start, end=end)
    worth = marked_money(account.begin, account.changes, legs, moments.time_ms) / account.capital
    blown = bool((worth <= 0.0).any())
    if blown:  # figures are of what there was; the equity in money goes on
        worth[int(np.argmax(worth <= 0.0)) :] = 0.0
    put_in, after = _by_position(record, account, still_open, legs["0"], moments.time_ms, worth)
    return MarkedEquity(
        time_ms=moments.time_ms,
        equity=worth,
        bar_closed=moments.bar_closed,
        path_time_ms=moments.time_ms,
        path=worth,
        put_in=put_in,
        after=after,
        blown=blown,
    )


def money_figures(account: RunAccount, marked: MarkedEquity) -> dict[str, float]:
    """Figures of an account that come from its ledger: fees and slippage, percent of the capital, and turnover."""
    end, fills = account.end, (each.fill for leg in account.fills for each in leg)
    traded = sum(fill.order.quantity * fill.costs.price for fill in fills)
    return {
        "fees": end.fees / account.capital * 100,
        "slippage": end.slippage / account.capital * 100,
        "turnover": traded / (float(marked.equity.mean()) * account.capital),
    }


def account_marks(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> tuple[Times, Floats]:
    """Moments (UTC ms) and what an account was worth in money at each.

    ``records`` and ``terms`` are those of its legs, in declared order.
    """
    legs = {str(order): closes_of(record) for order, record in enumerate(records)}
    spans = [each.span(record.minutes.timestamp) for record, each in zip(records, terms, strict=True)]
    start, end = min(first for first, _ in spans), max(last for _, last in spans)
    times, _ = moments_of(legs.values(), (change.since for change in account.changes), start=start, end=end)
    return times, marked_money(account.begin, account.changes, legs, times)


def _by_position(
    record: RunRecord,
    account: RunAccount,
    still_open: OpenSignal | None,
    bars: LegCloses,
    times: Times,
    worth: Floats,
) -> tuple[Floats, Floats]:
    """What the first fill of each position cost, and the equity at the close of the bar of its exit.

    Both as multiples of the capital, and in the order of positions: closed ones, then the one that is open.
    """
    closed = record.records.closed
    signals = [*(event.signal for event in closed), *([] if still_open is None else [still_open])]
    fills = account.of_leg(0)
    first = [fills[key][0].fill if (key := key_of(signal)) in fills else None for signal in signals]
    put_in = [0.0 if fill is None else fill.order.quantity * fill.costs.price / account.capital for fill in first]
    opened = record.minutes.timestamp.searchsorted([event.closed_at for event in closed])
    over = np.append(bars.closed_ms, times[-1])[np.minimum(opened, len(bars.closed_ms))]
    after = worth[np.searchsorted(times, np.minimum(over, times[-1]))]
    return np.array(put_in), after if still_open is None else np.append(after, worth[-1])
