"""Equity of a run with a capital, marked at the close of every base bar."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..domain.interval import interval_ms
from ..domain.pnl import net_percentage
from ..domain.signal import key_of
from ..engine.kept_marks import MADE_OF_MARKS
from ..engine.marked_account_equity import (
    LegCloses,
    Moments,
    held_ms,
    marked_exposure,
    marked_money,
    moments_of,
    stale_marks,
)
from ..market.source_hours import bar_grid_of
from ..metrics.account_in_money import AccountInMoney
from ..metrics.account_sharpe_sortino_and_drawdown import account_figures
from ..metrics.marked_equity import MarkedEquity
from ..metrics.marked_positions import Positions
from ..metrics.run_account import buy_and_hold, cut_off

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..domain.signal import OpenSignal
    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.marked_positions import Floats, Times
    from ..metrics.run_account import Terms
    from .account_result import RunAccount
    from .result import Result
    from .run_record import RunRecord

    Bars: TypeAlias = tuple[int, Times, Times]  # their length (ms), when they open and when they close (UTC ms)


def closes_of(record: RunRecord, *, before: bool = False, known: list[Bars] | None = None) -> LegCloses:
    """When the base bars of a run close, and at which prices; ``before``: also of those before it that it holds.

    ``known`` has the bars of other runs, which mostly are at the same moments, and is added to.
    """
    candles, plan = record.minutes_held if before else record.minutes, record.plan
    step, grid, opened = interval_ms(plan.base), bar_grid_of(plan.exchange.source, plan.symbol), candles.timestamp
    if grid is not None:
        return LegCloses(grid.ends(opened, step), candles.close)
    for length, opens, closes in known or ():
        if length == step and np.array_equal(opens, opened):
            return LegCloses(closes, candles.close)
    closed = opened + step
    if known is not None:
        known.append((step, opened, closed))
    return LegCloses(closed, candles.close)


def marked_in_money(
    record: RunRecord, account: RunAccount, terms: Terms, still_open: Sequence[OpenSignal]
) -> MarkedEquity:
    """Equity of a run with a capital as multiples of that, marked at the close of every base bar.

    ``terms`` are those of its account, ``still_open`` are the signals of positions without an exit.
    """
    marked = _marked(*marked_moments([record], [terms], account), account)
    put_in, after = _by_position(record, account, still_open, marked)
    return replace(marked, put_in=put_in, after=after)


def _marked(moments: Moments, worth: Floats, account: RunAccount) -> MarkedEquity:
    """Equity of an account as multiples of its capital, without what went into each position."""
    worth = worth / account.capital
    return MarkedEquity(
        time_ms=moments.time_ms,
        equity=worth,
        bar_closed=moments.bar_closed,
        path_time_ms=moments.time_ms,
        path=worth,
        put_in=np.zeros(0),
        after=np.zeros(0),
        blown=bool((worth <= 0.0).any()),
    )


def with_kept(figures: Account, records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> Account:
    """The figures of an account whose marks are kept, without those that need more of them than are known.

    What buying and holding made goes from the first opens of its legs to their last closes, in equal parts.
    """
    if (kept := account.kept) is None:
        return figures
    if kept.unknown:
        figures.update(dict.fromkeys(MADE_OF_MARKS))
        figures.reasons.update(dict.fromkeys(MADE_OF_MARKS, kept.unknown))
        return figures
    legs = closes_by_leg(records, account)
    bought = [
        net_percentage("long", kept.opens[name], float(bars.close[at - 1]), each.slippage, each.fee)
        for (name, bars), each in zip(legs.items(), terms, strict=True)
        if kept.opens.get(name, 0.0) > 0.0 and (at := int(bars.closed_ms.searchsorted(each.end, side="right")))
    ]
    if bought:
        figures["buy_and_hold"] = sum(bought) / len(bought)
        figures.reasons.pop("buy_and_hold", None)
    return figures


def in_money(figures: Account, account: RunAccount, marked: MarkedEquity) -> AccountInMoney:
    """The figures of an account, those that its ledger gives included."""
    more = _ledger_figures(account, marked)
    return AccountInMoney.of(figures, more, capital=account.capital, currency=account.currency)


def _ledger_figures(account: RunAccount, marked: MarkedEquity) -> dict[str, float]:
    """What was paid, percent of the capital, and turnover."""
    end, fills = account.end, (each.fill for each in account.fills)
    traded = sum(fill.order.quantity * fill.costs.price for fill in fills)
    return {
        "fees": end.fees / account.capital * 100,
        "slippage": end.slippage / account.capital * 100,
        "funding": end.funding / account.capital * 100,
        "borrow": end.borrow / account.capital * 100,
        "forgiven": end.forgiven / account.capital * 100,
        "turnover": traded / (float(marked.equity.mean()) * account.capital),
    }


def account_marks(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> tuple[Times, Floats]:
    """Moments (UTC ms) and what an account was worth in money at each; where it was worth nothing, it stays nothing.

    ``records`` and ``terms`` are those of its legs, in declared order.
    """
    moments, worth = marked_moments(records, terms, account)
    return moments.time_ms, worth


def exposure_marks(
    records: Sequence[RunRecord], account: RunAccount, times: Times, worth: Floats
) -> tuple[Floats, Floats]:
    """What longs and shorts are worth at the marks of an account, percent of the equity; shorts are below 0.

    NaN where something is held and the account is worth nothing. ``records`` are those of its legs, in declared order,
    ``times`` and ``worth`` as of :func:`account_marks`.
    """
    kept, legs = account.kept, closes_by_leg(records, account)
    behind = times if kept is None else times[len(kept.time_ms) :]
    longs = shorts = np.empty(0)
    if len(behind):
        longs, shorts = marked_exposure(account.begin, account.changes, legs, behind)
    if kept is not None:
        longs, shorts = np.concatenate((kept.longs, longs)), np.concatenate((kept.shorts, shorts))
    return percent_of(longs, worth), percent_of(shorts, worth)


def stale_by_leg(records: Sequence[RunRecord], account: RunAccount, times: Times) -> list[int]:
    """At how many marks of an account each leg was held and had no bar, in declared order; live of those in memory.

    ``times`` are those of its marks, UTC ms.
    """
    behind = times if account.kept is None else times[len(account.kept.time_ms) :]
    if not len(behind):
        return [0] * len(records)
    bar_ms = {str(order): interval_ms(record.plan.base) for order, record in enumerate(records)}
    closes = closes_by_leg(records, account)
    return [*stale_marks(account.begin, account.changes, closes, behind, bar_ms).values()]


def percent_of(value: Floats, worth: Floats) -> Floats:
    """What is held as percent of an equity; NaN where that is nothing and something is held."""
    nothing = np.where(value == 0.0, 0.0, np.nan)
    return np.divide(value * 100, worth, out=nothing, where=worth > 0.0)


def closes_by_leg(records: Sequence[RunRecord], account: RunAccount | None = None) -> dict[str, LegCloses]:
    """The bars of each leg by its name in the ledgers; those behind the marks that are kept of an account.

    Legs whose bars close together have those moments in common.
    """
    kept = None if account is None else account.kept
    legs: dict[str, LegCloses] = {}
    known: list[Times] = []
    opened: list[Bars] = []
    for order, record in enumerate(records):
        bars = closes_of(record, before=kept is not None, known=opened)
        if kept is not None:
            bars = kept.closes_behind(str(order), bars)
        same = next((moments for moments in known if np.array_equal(moments, bars.closed_ms)), None)
        if same is None:
            known.append(bars.closed_ms)
        legs[str(order)] = bars if same is None else bars._replace(closed_ms=same)
    return legs


def marked_span(legs: Iterable[LegCloses], terms: Sequence[Terms]) -> tuple[int, int]:
    """First and last moment at which an account is marked, UTC ms."""
    spans = [each.span(bars.closed_ms - each.bar_ms) for bars, each in zip(legs, terms, strict=True)]
    return min(first for first, _ in spans), max(last for _, last in spans)


def marked_moments(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> tuple[Moments, Floats]:
    """The marks of an account as of :func:`account_marks`, and at which of them a bar closed."""
    kept, legs, booked = account.kept, closes_by_leg(records, account), [change.since for change in account.changes]
    start, end = marked_span(legs.values(), terms)
    if kept is None:
        moments = moments_of(legs.values(), booked, start=start, end=end)
        worth = marked_money(account.begin, account.changes, legs, moments.time_ms)
    else:
        moments, worth = kept.joined(account.begin, account.changes, legs, end=end)
    if (nothing := worth <= 0.0).any():
        worth[int(np.argmax(nothing)) :] = 0.0
    return moments, worth


def portfolio_marked(legs: Sequence[Result], account: RunAccount, moments: Moments, worth: Floats) -> MarkedEquity:
    """Equity of the account of a portfolio as multiples of its capital; ``legs`` in declared order.

    ``moments`` and ``worth`` as of :func:`marked_moments`.
    """
    marked = _marked(moments, worth, account)
    count = sum(leg.run_record.records.position_count for leg in legs)
    return replace(marked, put_in=np.zeros(count), after=np.zeros(count))


def portfolio_figures(legs: Sequence[Result], account: RunAccount, marked: MarkedEquity) -> Account:
    """The figures of the account of a portfolio; buying and holding is equal parts of the capital in each symbol."""
    count = len(marked.put_in)
    nothing, moments = np.zeros(count), np.zeros(count, dtype=np.int64)
    positions = Positions(
        opened_ms=moments,
        closed_ms=moments,
        side=nothing,
        entry=nothing,
        entry_fee=nothing,
        exit_ratio=nothing,
        net=nothing,
        fee=nothing,
        slippage=nothing,
    )
    held = {leg.symbol: _held(leg) for leg in legs}
    bought = [each for each in held.values() if each is not None]
    over = [event for leg in legs for event in cut_off(leg.run_record.records.closed)]
    closed = sum(len(leg.run_record.records.closed) for leg in legs)
    figures = account_figures(
        marked,
        positions,
        cut_off=len(over) + count - closed,
        buy_and_hold=sum(bought) / len(bought) if bought else None,
        sessions=all(leg.account_terms.sessions for leg in legs),
    )
    if figures["exposure"] is not None:
        figures["exposure"] = share_of_time_held(account, marked)
    figures = in_money(figures, account, marked)
    return with_kept(figures, [leg.run_record for leg in legs], [leg.account_terms for leg in legs], account)


def _held(leg: Result) -> float | None:
    """What holding the symbol of a leg would have made, percent; ``None`` where it has no candles."""
    candles = leg.run_record.minutes
    return buy_and_hold(candles.timestamp, candles.open, candles.close, leg.account_terms)


def share_of_time_held(account: RunAccount, marked: MarkedEquity) -> float | None:
    """The share of the time in which something was held, percent; ``None`` for a single moment."""
    start, end = int(marked.time_ms[0]), int(marked.time_ms[-1])
    return _time_held(account, start, end) * 100 if end > start else None


def _time_held(account: RunAccount, start: int, end: int) -> float:
    if (kept := account.kept) is None:
        return held_ms(account.begin, account.changes, start, end) / (end - start)
    changes = [change for change in account.changes if change.since > kept.after]
    before = account.changes[-len(changes) - 1].ledger if len(changes) < len(account.changes) else account.begin
    return (kept.held_ms + held_ms(before, changes, kept.after, end)) / (end - start)


def _by_position(
    record: RunRecord, account: RunAccount, still_open: Sequence[OpenSignal], marked: MarkedEquity
) -> tuple[Floats, Floats]:
    """What the first fill of each position cost, and the equity at the close of the bar of its exit.

    Both as multiples of the capital, and in the order of positions: closed ones, then the one that is open.
    """
    closed, times, worth = record.records.closed, marked.time_ms, marked.equity
    signals = [*(event.signal for event in closed), *still_open]
    held = account.positions[0]
    put_in = [held[key].first_cost / account.capital if (key := key_of(signal)) in held else 0.0 for signal in signals]
    closes = closes_of(record).closed_ms
    at = record.minutes.timestamp.searchsorted([event.closed_at for event in closed])
    over = np.append(closes, times[-1])[np.minimum(at, len(closes))]
    after = worth[np.searchsorted(times, np.minimum(over, times[-1]))]
    return np.array(put_in), np.append(after, [worth[-1]] * len(still_open)) if still_open else after
