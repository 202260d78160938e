"""The same trades at random moments: how many of many such runs did better than the strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import percent_text, points_text, share_text
from ..domain.interval import DAY_MS, interval_ms
from ..domain.profit_of_partial_closes import closed_points
from ..domain.signal_events import Added, Reduced
from ..domain.whole_number import whole_number
from ..errors import UsageError
from ..kernels.random_trades import outcomes
from ..market.source_hours import sessions_of
from ..metrics.compounding import growth
from ..reports.markup import Html, element, fragment, html_figures, text_figures
from .parts_of_equity import parts_of_equity
from .random_moments import Moments, crowded, hours_of, why_any_hour
from .result import Result
from .trades_as_arrays import declared_of, is_in_points, market_of, shapes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ..domain.signal_events import Closed

_AT_ONCE: Final = 4_000_000  # trades that are computed at a time
_BARS: Final = 40
_ALIKE: Final = 1e-9  # of totals that differ by less, relative to the largest, no bars are made
_TALLEST: Final = 90.0  # px
_OWN_CHANGES: Final = frozenset(("take_profit", "trailing_stop", "breakeven"))
"""Reasons of events of positions without anybody's decision."""
_OWN_ENDS: Final = _OWN_CHANGES | {"stop_loss", "time_expired", "frame_end", "data_end"}
"""Close reasons without anybody's decision."""
_LEAST_FILLED: Final = 0.5  # of the random trades; with fewer, the rest is another choice of moments


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Luck:
    """How the trades of a run would have done at random moments.

    Attributes
    ----------
    name : str
        Strategy and symbol.
    total : float
        Total return of the trades, percent: each in turn with its part of the equity of the run, compounded. Where
        prices may be at or below zero their sum in points, quote currency for each unit.
    totals : ndarray of float64, shape (m,)
        The same of every random run, for as many trades as the run has: a random trade that was never filled does not
        count, and the mean growth of the others takes its place. A run of which none was filled is left out.
    trades, n, seed : int
        Trades of the run, number of random runs, seed of their random numbers.
    filled : int
        How many of the ``n * trades`` random trades were filled.
    overlapping : float
        Share of the random trades, 0..1, that begin before an earlier one of their run has ended, or reach beyond its
        end. Of two that overlap the later one counts.
    any_hour : str
        Why the random trades are of any hour of the day; empty where each has the hour of its own.
    sizes : str
        What is assumed of the sizes of trades; empty where each has all of the equity, as without a capital.
    in_points : bool
        Whether totals are in points, and not in percent.
    """

    name: str
    total: float
    totals: NDArray[np.float64]
    trades: int
    n: int
    seed: int
    filled: int
    overlapping: float
    any_hour: str
    sizes: str = ""
    in_points: bool = False

    @property
    def by_hour(self) -> bool:
        """Whether each random trade has the hour of the day of its own."""
        return not self.any_hour

    @property
    def too_few(self) -> str:
        """Why the random runs cannot tell; empty where they can."""
        if self.filled >= _LEAST_FILLED * self.n * self.trades:
            return ""
        return f"too few to tell: only {self._filled_text()} at random moments were filled"

    def _filled_text(self) -> str:
        return f"{self.filled:,} of {self.n * self.trades:,} trades"

    @property
    def share(self) -> float | None:
        """Share of the random runs that did at least as well, 0..1; None where they are too few to tell."""
        return None if self.too_few else float((self.totals >= self.total).mean())

    @property
    def p_value(self) -> float | None:
        """Chance, 0..1, that entries at random moments do at least as well; never 0, however few of the runs did.

        None where too few random trades were filled.
        """
        return None if self.too_few else float(((self.totals >= self.total).sum() + 1) / (len(self.totals) + 1))

    @property
    def verdict(self) -> str:
        """The comparison in one sentence."""
        return self.too_few or (
            f"{share_text(self.share)} of {len(self.totals):,} runs with the same trades at random moments "
            f"{'of the same hours of the day' if self.by_hour else 'of any hour'} did at least as well"
        )

    @property
    def limits(self) -> str:
        """What the comparison leaves out."""
        text = "entries chosen by how much prices move look better, or worse, than they are"
        if self.by_hour:
            return f"{text}: only the hour of the day is kept"
        return f"{text}, also by the hour of the day: {self.any_hour}"

    def histogram(self, bars: int = _BARS) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How many random runs came to which total: counts, shape (bars,), and edges, shape (bars + 1,)."""
        span = None
        if len(self.totals) and np.ptp(self.totals) <= _ALIKE * np.abs(self.totals).max():  # too near for floats
            span = (float(self.totals.min()) - 0.5, float(self.totals.max()) + 0.5)
        counts, edges = np.histogram(self.totals, bins=bars, range=span)
        return counts.astype(np.int64), edges

    def _shown(self, total: float) -> str:
        return points_text(total) if self.in_points else percent_text(total)

    def _pairs(self) -> list[tuple[str, str]]:
        shown = self._shown
        spread = "N/A: no trade at a random moment was filled"
        if len(self.totals):
            low, middle, high = np.quantile(self.totals, [0.05, 0.5, 0.95])
            spread = f"{shown(middle)} (90 % from {shown(low)} to {shown(high)})"
        overlapping = (
            f"; {share_text(self.overlapping)} of the trades overlap an earlier one" if self.overlapping else ""
        )
        all_filled = self.filled == self.n * self.trades
        unfilled = "" if all_filled else f"; {self._filled_text()} were filled, and those alone count"
        return [
            ("Verdict", self.verdict),
            ("Trades", f"{self.trades:,}"),
            ("Sum of the trades" if self.in_points else "Total return of the trades", shown(self.total)),
            ("At random moments", spread),
            ("Random runs", f"{self.n:,}, seed {self.seed}{unfilled}{overlapping}"),
            *([("Sizes", self.sizes)] if self.sizes else []),
            ("Not covered", self.limits),
        ]

    def __repr__(self) -> str:
        return text_figures(f"luck of {self.name}", self._pairs())

    def _repr_html_(self) -> Html:
        counts, edges = self.histogram()
        tallest = max(int(counts.max()), 1)
        bars = (
            element(
                "span",
                title=f"{count:,} from {self._shown(left)} to {self._shown(right)}",
                style="display:inline-block;width:9px;margin-right:1px;vertical-align:bottom;background:currentColor;"
                f"opacity:{0.85 if left <= self.total < right else 0.35};height:{_TALLEST * count / tallest:.1f}px",
            )
            for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        )
        plot = element("div", *bars, role="img", aria_label=self.verdict, style="margin:6px 0;white-space:nowrap")
        return fragment(html_figures(f"Luck of {self.name}", self._pairs()), plot)


def luck(result: Result, n: int = 2000, *, seed: int = 0) -> Luck:
    """Return how a run compares with the same trades entered at random moments of the same candles.

    Each random run has the trades of the result: the same number, sides and longest durations, the same ladders,
    trailing and break-even stops, the same costs and fills. Every level and the distance of a trailing stop are the
    same share of the price at which the trade is entered, on the tick grid where the tick is known. Only the moments
    differ: each trade is entered on a random day, in a random minute of its own hour of the day (of the
    market's time zone where it has sessions, else UTC), for prices move more in some hours than in others. Of a run
    that was stopped, moments are those up to its stop.

    Trades that would overlap an earlier one, lasting as long as in the run, are drawn again up to thirty times; the
    result says how many still do. Where more than a tenth would, as for a strategy that is in the market most of the
    time, moments are taken from all hours, and none overlaps; so they are where the hour of a trade has candles on
    fewer than 5 days. The result says so.

    Entries are market orders, also of trades that waited for a price. A random trade that no candle fills before the
    end of the frame does not count; where fewer than half of them were filled, too few are left to tell. The comparison
    needs no assumption on the distribution of results, and holds for few trades as well. It asks for the moments alone:
    when the market rose and the trades are long, random ones win too.

    With a capital, or a ``size`` of its signal, a trade has the part of the equity that it had in the run; in a leg of
    a portfolio, which has no equity of its own, it has all of it.

    Where prices may be at or below zero, stops and targets are as far from the entry as in the run, and results are
    added up in points.

    It is no p-value for rules that choose their moments by volatility within the hour of the day: their results spread
    further, or less far, than random ones, and without any edge about one run in six has ``p_value < 0.05``.

    Parameters
    ----------
    result
        Of a backtest with at least one trade.
    n
        How many random runs.
    seed
        Of the random numbers: the same seed gives the same runs.

    Returns
    -------
    Luck
        ``.share`` of the random runs that did at least as well, ``.p_value``, ``.totals``, ``.histogram()``.

    Raises
    ------
    UsageError
        For a result without trades, or of a live run; where something was decided while trades were open, or
        positions were entered in parts or are in several places; for a number that cannot be; for ladders, trailing and
        break-even stops where prices may be at or below zero.
    MissingDependency
        Without numba.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
    ...                        minute_estimated_time=240)
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="4h", exchange="demo",
    ...                        frame=("2024-01-01", "2024-01-15"))
    >>> compared = bknb.luck(result, n=200)
    >>> 0 <= compared.share <= 1, compared.trades == len(result.trades)
    (True, True)
    """
    _checked(result)
    n, seed = whole_number("n", n, least=1), whole_number("seed", seed, least=0)
    closed = result.run_record.records.closed
    if not closed:
        raise UsageError("there is no trade that luck could explain\nbacktest a strategy that trades")
    if result.run_record.records.in_places:
        raise UsageError(
            "luck enters each position at other moments by itself, and these are in several places at the same time: "
            "elsewhere more of them would be open at once than there are places, and they would not be open together\n"
            "compare with the buy_and_hold of result.account"
        )
    if any(trade.signal.rungs for trade in closed):
        raise UsageError(
            "luck enters each position at one price, and positions of this run are entered in parts, "
            "by an entry ladder in price_open: how many of them fill depends on how prices go on\n"
            "compare with the buy_and_hold of result.account, or give price_open one price"
        )
    if _was_decided_about(result):
        raise UsageError(
            "luck enters the same positions at other moments, with the exits that their signals declared; in this run "
            "something was decided while they were open: by manage, by exit columns, or by hand\n"
            "declare these exits instead: a ladder in price_take_profit, trailing=bknb.Trailing(...), "
            "breakeven=bknb.Breakeven(...), minute_estimated_time; where nothing was added to, result.account can be "
            "compared with its buy_and_hold"
        )
    if any(trade.signal.until or trade.signal.bars or trade.signal.entry == "close" for trade in closed):
        raise UsageError(
            "luck enters the same positions at other moments, and these end or begin by the clock of the market: "
            "until, bars or entry='close'\n"
            "declare minute_estimated_time instead, or compare with the buy_and_hold of result.account"
        )
    points = is_in_points(result)
    declared = declared_of(closed, result.settings.price_tick)
    if points and declared is not None:
        raise UsageError(
            "luck over prices at or below zero knows a target, a stop and a deadline, and trades of this run declare a "
            "ladder, a trailing or a break-even stop\n"
            "declare price_take_profit, price_stop_loss and minute_estimated_time alone"
        )
    minutes, rules = market_of(result)
    moments = moments_of(result, minutes.times, seed)
    shapes = shapes_of(closed, points=points)
    sizes, said = parts_of_equity(result, closed)
    if points and sizes is not None:
        sizes, said = None, "each trade counts for one unit, whatever its size"
    results = _points_of(result, closed) if points else np.array([trade.pnl.pnl_percentage for trade in closed])
    total_of = _added if points else _compounded
    parts, filled, overlapping = [], 0, 0
    for which, starts in moments.drawn(n, at_once=max(1, _AT_ONCE // len(closed))):
        if not moments.any_hour:
            overlapping += int(crowded(starts, moments.lengths, moments.last).sum())
        found = outcomes(minutes, rules, shapes, which, starts, declared)
        filled += int(np.isfinite(found).sum())
        parts.append(total_of(found if sizes is None else found * sizes[which]))
    return Luck(
        name=f"{result.strategy} on {result.symbol}",
        total=float(total_of(np.array([results if sizes is None else results * sizes]))[0]),
        totals=np.concatenate(parts),
        trades=len(closed),
        n=n,
        seed=seed,
        filled=filled,
        overlapping=overlapping / (n * len(closed)),
        any_hour=moments.any_hour,
        sizes=said,
        in_points=points,
    )


def _was_decided_about(result: Result) -> bool:
    """Whether something else than what signals declare, and the clock, had a part in the trades."""
    records = result.run_record.records
    if not all(trade.close_reason in _OWN_ENDS for trade in records.closed):
        return True
    reasons = (e.fill.reason or "add" if isinstance(e, Added | Reduced) else e.reason for e in records.positions)
    return any(reason not in _OWN_CHANGES for reason in reasons)


def _compounded(results: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the total return of each row of results, percent; the same in whatever order they are.

    The mean growth of those that are known stands for those that are NaN; rows of NaN alone are left out.
    """
    known = np.isfinite(results).sum(axis=1)
    kept = growth(np.sort(results[known > 0], axis=1))
    return np.asarray((np.nanprod(kept, axis=1) ** (results.shape[1] / known[known > 0]) - 1) * 100)


def _added(results: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each row of results in points; the mean of those that are known stands for those that are NaN.

    It is the same in whatever order they are; rows of NaN alone are left out.
    """
    known = np.isfinite(results).sum(axis=1)
    kept = np.sort(results[known > 0], axis=1)
    return np.asarray(np.nansum(kept, axis=1) * results.shape[1] / known[known > 0])


def _points_of(result: Result, closed: Sequence[Closed]) -> NDArray[np.float64]:
    costs = {"slippage": result.settings.percent_slippage, "fee": result.settings.percent_fee}
    return np.array([closed_points(trade, **costs) for trade in closed])


def _checked(result: object) -> None:
    if not isinstance(result, Result) or result.mode != "backtest":
        what = "that of a live run" if isinstance(result, Result) else type(result).__name__
        raise UsageError(f"luck compares the result of a backtest, got {what}\nsuch as bknb.luck(bknb.backtest(...))")


def moments_of(result: Result, times: NDArray[np.int64], seed: int) -> Moments:
    """The random moments of the trades of a backtest; ``times`` are the open times of its base bars, UTC ms."""
    closed = result.run_record.records.closed
    ends = result.account_terms.end  # of a run that was stopped, the last moment it reached
    first, last = (int(times.searchsorted(moment)) for moment in (result.start, ends))
    last = max(last, first + 1)
    opened = times.searchsorted([trade.signal.pending_at for trade in closed])
    lengths = np.maximum(times.searchsorted([trade.closed_at for trade in closed]) - opened, 1)
    plan = result.run_record.plan
    zone = "UTC" if (sessions := sessions_of(plan.exchange.source, plan.symbol)) is None else sessions.zone
    hours = hours_of(times, opened, first, last, zone)
    is_daily = interval_ms(plan.base) >= DAY_MS
    any_hour = "bars of a day have no hour" if is_daily else why_any_hour(hours, lengths, last, seed)
    return Moments(hours, lengths, first, last, seed, any_hour)
