"""The formulas: figures of one sample of closed trades."""

from __future__ import annotations

from math import inf, isfinite, isnan, nan, sqrt
from operator import mul
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.least_samples import GATES
from .reasons import needs_capital
from .trend_and_pressure import median, price_profile, total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .trade_table import Ledger

Figure: TypeAlias = float | int | str | bool | None


class EquityWalk(NamedTuple):
    """One account that goes wholly into each trade, one after the other.

    Attributes
    ----------
    final : float
        Equity after the last trade as a multiple of the start; 0.0 when blown.
    max_drawdown : float
        Deepest fall from a peak, percent of that peak, troughs inside trades included.
    blown : bool
        Whether equity reached zero.
    """

    final: float
    max_drawdown: float
    blown: bool


def walk_equity(pnl: Iterable[float], trough: Iterable[float]) -> EquityWalk:
    """Compound results in order of exit and measure the deepest fall.

    Parameters
    ----------
    pnl : iterable of float
        Realised result of each trade in percent, in order of exit.
    trough : iterable of float
        Worst unrealised result of each trade in percent; NaN where unknown. It deepens the drawdown and
        leaves equity alone.

    Examples
    --------
    >>> walk = walk_equity([10.0, -10.0], [float("nan"), -20.0])
    >>> round(walk.final, 9), round(walk.max_drawdown, 9)
    (0.99, 20.0)
    """
    # Not by ``compounding``: troughs lie between the results, and one that ruins the account ends the walk.
    equity = peak = 1.0
    deepest = 0.0
    for result, worst in zip(pnl, trough, strict=True):
        if worst < 0:  # False for NaN
            low = equity * (1 + worst / 100)
            if low <= 0:
                return EquityWalk(final=0.0, max_drawdown=100.0, blown=True)
            if (fall := (peak - low) / peak * 100) > deepest:
                deepest = fall
        equity *= 1 + result / 100
        if equity <= 0:
            return EquityWalk(final=0.0, max_drawdown=100.0, blown=True)
        if equity >= peak:
            peak = equity
        elif (fall := (peak - equity) / peak * 100) > deepest:
            deepest = fall
    return EquityWalk(final=equity, max_drawdown=deepest, blown=False)


def measure(sample: Ledger, *, dropped: int = 0) -> dict[str, Figure]:
    """Every figure of one sample of closed trades.

    Parameters
    ----------
    sample : Ledger
        The trades in order of arrival; every row has a numeric result.
    dropped : int, default 0
        How many rows of the table are not in the sample; reported, not used.

    Returns
    -------
    dict
        The figures named in ``bknb.metrics.trade_definitions.DEFINITIONS``, in that order. Those that compound are None
        where a position was added to, where trades are of several places, and where results are in points.
    """
    added = needs_capital(sample.adds, sample.largest_cost, sample.size)
    has_account = not (sample.in_points or sample.in_places or added)
    walk = _walk(sample) if has_account else None
    results = _results(sample.pnl)
    figures: dict[str, Figure] = {"n": len(sample), "total_trades": len(sample), "dropped": dropped}
    figures |= results
    figures |= dict.fromkeys(("max_drawdown", "equity_final", "blown"))
    if walk is not None:
        figures |= {"max_drawdown": walk.max_drawdown, "equity_final": walk.final, "blown": walk.blown}
    figures |= _ratios(sample.pnl, results, walk=walk)
    figures |= _annual(len(sample), _span_days(sample), figures["sharpe_ratio"], walk=walk)
    figures |= _durations(sample) | _streaks(sample.pnl) | _snapshots(sample)
    prices = [nan] * len(sample) if sample.closed_below_zero else sample.price_close  # no steps over what is left out
    figures |= price_profile(sample.closed_at, prices)
    if len(sample) == 0:
        figures |= dict.fromkeys(("max_drawdown", "equity_final", "blown", "trades_per_year"))
    return {key: _guard(value) for key, value in figures.items()}


def _walk(sample: Ledger) -> EquityWalk:
    ordered = sample.by_close()
    if all(map(isnan, ordered.size)):
        return walk_equity(ordered.pnl, ordered.trough)
    sizes = [1.0 if isnan(size) else size for size in ordered.size]
    pnl, trough = (map(mul, column, sizes) for column in (ordered.pnl, ordered.trough))
    return walk_equity([*pnl], [*trough])


def _guard(value: Figure) -> Figure:
    """None instead of an overflow: a figure is a finite number or not available."""
    return None if isinstance(value, float) and not isfinite(value) else value


def _mean(values: list[float]) -> float | None:
    return total(values) / len(values) if values else None


def _clamp(ratio: float) -> float:
    return max(-GATES.max_ratio, min(GATES.max_ratio, ratio))


def _results(pnl: list[float]) -> dict[str, Figure]:
    wins = [result for result in pnl if result > 0]
    losses = [result for result in pnl if result < 0]
    decisive = len(wins) + len(losses)
    won, lost = total(wins), abs(total(losses))
    return {
        "win_count": len(wins),
        "loss_count": len(losses),
        "win_rate": (len(wins) / decisive * 100 if decisive else 0.0) if pnl else None,
        "avg_pnl": _mean(pnl),
        "median_pnl": median(pnl) if pnl else None,
        "total_pnl": total(pnl) if pnl else None,
        "avg_win": _mean(wins),
        "avg_loss": _mean(losses),
        "profit_factor": won / lost if wins and lost > GATES.epsilon else None,
    }


def _ratios(pnl: list[float], results: dict[str, Figure], *, walk: EquityWalk | None) -> dict[str, Figure]:
    """Figures that need enough trades: spread, risk-adjusted ratios, expectancy, recovery."""
    names = ("std_dev", "sharpe_ratio", "sortino_ratio", "certainty_ratio", "expectancy", "recovery_factor")
    figures: dict[str, Figure] = dict.fromkeys(names)
    count = len(pnl)
    if count < GATES.min_trades:
        return figures
    average = total(pnl) / count
    deviation = sqrt(total([(apart := result - average) * apart for result in pnl]) / (count - 1))
    downside = sqrt(total([result * result for result in pnl if result < 0]) / count)
    wins, losses = (_float(results[key]) for key in ("win_count", "loss_count"))
    mean_win, mean_loss = (_float(results[key]) for key in ("avg_win", "avg_loss"))
    figures["std_dev"] = deviation
    figures["expectancy"] = wins / count * mean_win + losses / count * mean_loss
    if deviation > GATES.epsilon:
        figures["sharpe_ratio"] = average / deviation
    if losses and downside > GATES.epsilon:
        figures["sortino_ratio"] = average / downside
    if losses and abs(mean_loss) > GATES.epsilon:
        figures["certainty_ratio"] = mean_win / abs(mean_loss)
    if walk is not None and not walk.blown and walk.max_drawdown > 0:
        figures["recovery_factor"] = _clamp((walk.final - 1) * 100 / walk.max_drawdown)
    return figures


def _float(value: Figure) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _span_days(sample: Ledger) -> float | None:
    """Days from the first entry to the last exit; times that are unknown do not stretch it."""
    entries = [moment for moment in sample.pending_at if moment > 0]
    exits = [moment for moment in sample.closed_at if moment > 0]
    return (max(exits) - min(entries)) / DAY_MS if entries and exits else None


def _annual(count: int, span_days: float | None, sharpe: Figure, *, walk: EquityWalk | None) -> dict[str, Figure]:
    """Figures scaled to a year of 365 days, and the gates that forbid it."""
    figures: dict[str, Figure] = dict.fromkeys(
        ("span_days", "trades_per_year", "annualized_sharpe_ratio", "expected_yearly_returns", "calmar_ratio")
    )
    figures["span_days"] = span_days
    figures["trades_per_year"] = 0.0
    if count < GATES.min_trades or span_days is None or span_days < GATES.min_span_days:
        return figures
    frequency = count / span_days * GATES.days_a_year
    if frequency > GATES.max_trades_per_year:
        return figures
    figures["trades_per_year"] = frequency
    if sharpe is not None:
        figures["annualized_sharpe_ratio"] = _float(sharpe) * sqrt(frequency)
    if walk is None:
        return figures
    yearly = _yearly_return(walk, exponent=frequency / count)
    if abs(yearly) <= GATES.max_yearly_return:
        figures["expected_yearly_returns"] = yearly
        if walk.max_drawdown > 0:
            figures["calmar_ratio"] = _clamp(yearly / walk.max_drawdown)
    return figures


def _yearly_return(walk: EquityWalk, *, exponent: float) -> float:
    if walk.blown:
        return -100.0
    try:
        return float((walk.final**exponent - 1) * 100)
    except OverflowError:
        return inf


def _durations(sample: Ledger) -> dict[str, Figure]:
    """Mean minutes in a trade; trades without both times have no duration."""
    timed = [
        (pnl, (closed_at - pending_at) / MINUTE_MS)
        for pnl, pending_at, closed_at in zip(sample.pnl, sample.pending_at, sample.closed_at, strict=True)
        if pending_at > 0 and closed_at > 0
    ]
    return {
        "avg_duration": _mean([minutes for _, minutes in timed]),
        "avg_win_duration": _mean([minutes for pnl, minutes in timed if pnl > 0]),
        "avg_loss_duration": _mean([minutes for pnl, minutes in timed if pnl < 0]),
    }


def _streaks(pnl: list[float]) -> dict[str, Figure]:
    """Runs of wins and of losses in order of arrival; a break-even ends either."""
    runs: dict[int, list[list[float]]] = {1: [], -1: []}
    before = 0
    for result in pnl:
        side = (result > 0) - (result < 0)
        if side:
            if side != before:
                runs[side].append([])
            runs[side][-1].append(result)
        before = side
    return {
        "max_win_streak": max(map(len, runs[1]), default=0),
        "max_loss_streak": max(map(len, runs[-1]), default=0),
        "avg_consecutive_win_pnl": _mean([total(run) for run in runs[1]]),
        "avg_consecutive_loss_pnl": _mean([total(run) for run in runs[-1]]),
    }


def _snapshots(sample: Ledger) -> dict[str, Figure]:
    """Best and worst unrealised results; rows without one are skipped."""
    peaks = [peak for peak in sample.peak if not isnan(peak)]
    troughs = [trough for trough in sample.trough if not isnan(trough)]
    return {
        "avg_peak_pnl": _mean(peaks),
        "avg_fall_pnl": _mean(troughs),
        "peak_profit_pnl": max(peaks, default=None),
        "max_drawdown_pnl": min(troughs, default=None),
    }
