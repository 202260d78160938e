"""The figures of one combination of a sweep, from its table of ends, without an object per trade.

Names and formulas are those of ``bknb.statistics``, a test holds each figure equal to it, and both are given the same
gates. Sums are plain here and exactly rounded there, so figures agree to about 1e-12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .exit_loop import MINUTE
from .jit import compiled
from .simulate import ADDS, AMBIGUOUS, CLOSED_AT, FIRST_CANCEL, NET, OF_EQUITY, PEAK, PENDING_AT, REASON, TROUGH

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY: Final = 1440 * MINUTE

FIGURES: Final = (
    "n",
    "win_count",
    "loss_count",
    "win_rate",
    "avg_pnl",
    "median_pnl",
    "total_pnl",
    "avg_win",
    "avg_loss",
    "profit_factor",
    "max_drawdown",
    "equity_final",
    "std_dev",
    "sharpe_ratio",
    "sortino_ratio",
    "certainty_ratio",
    "expectancy",
    "recovery_factor",
    "span_days",
    "trades_per_year",
    "annualized_sharpe_ratio",
    "expected_yearly_returns",
    "calmar_ratio",
    "avg_duration",
    "max_win_streak",
    "max_loss_streak",
    "avg_peak_pnl",
    "avg_fall_pnl",
    "cancelled",
    "ambiguous",
)
"""The figures of ``score``, in order; ``cancelled`` and ``ambiguous`` count, the others are in ``bknb.statistics``."""


# where each figure is
N, WINS, LOSSES, WIN_RATE, AVERAGE, MEDIAN, TOTAL, AVG_WIN, AVG_LOSS, FACTOR = range(10)
FALL, EQUITY, SPREAD, SHARPE, SORTINO, CERTAINTY, EXPECTANCY, RECOVERY, SPAN, TRADES_A_YEAR = range(10, 20)
YEARLY_SHARPE, YEARLY, CALMAR, DURATION, WIN_STREAK, LOSS_STREAK, AVG_PEAK, AVG_TROUGH, CANCELLED, DOUBTS = range(
    20, 30
)
SIZE: Final = 30


def _clamped(ratio: float, gates: Any) -> Any:
    return max(-gates.max_ratio, min(gates.max_ratio, ratio))


def _part(ends: Any, i: int) -> Any:
    """The part of the equity that position ``i`` opened with."""
    return 1.0 if np.isnan(ends[i, OF_EQUITY]) else ends[i, OF_EQUITY]


def _has_account(closed: Any) -> bool:
    """Whether no position was added to that says nothing of its part of the equity; ``metrics.reasons``."""
    added = False
    for i in range(len(closed)):
        added = added or (closed[i, ADDS] > 0 and np.isnan(closed[i, OF_EQUITY]))
    return not added


def _equity(closed: Any) -> Any:
    """Final equity, deepest fall in percent, whether it was lost: ``walk_equity`` of ``bknb.metrics``."""
    equity = peak = 1.0
    deepest = 0.0
    for i in range(len(closed)):
        part = _part(closed, i)
        pnl, trough = closed[i, NET] * part, closed[i, TROUGH] * part
        if trough < 0:
            low = equity * (1 + trough / 100)
            if low <= 0:
                return 0.0, 100.0, True
            deepest = max(deepest, (peak - low) / peak * 100)
        equity *= 1 + pnl / 100
        if equity <= 0:
            return 0.0, 100.0, True
        if equity >= peak:
            peak = equity
        else:
            deepest = max(deepest, (peak - equity) / peak * 100)
    return equity, deepest, False


def _counts(pnl: Any) -> Any:
    """Wins, losses, what they made and lost, squared losses, and the longest runs of each."""
    wins = losses = streak = most_wins = most_losses = 0
    won = lost = squared = 0.0
    for i in range(len(pnl)):
        result = pnl[i]
        if result > 0:
            wins += 1
            won += result
            streak = streak + 1 if streak > 0 else 1
            most_wins = max(most_wins, streak)
        elif result < 0:
            losses += 1
            lost -= result
            squared += result * result
            streak = streak - 1 if streak < 0 else -1
            most_losses = max(most_losses, -streak)
        else:
            streak = 0
    return wins, losses, won, lost, squared, most_wins, most_losses


def _ratios(out: Any, pnl: Any, wins: int, losses: int, squared: float, blown: bool, gates: Any) -> None:  # noqa: FBT001
    """Figures that need enough trades."""
    count = len(pnl)
    if count < gates.min_trades:
        return
    average = out[AVERAGE]
    spread = 0.0
    for i in range(count):
        spread += (pnl[i] - average) * (pnl[i] - average)
    deviation, downside = np.sqrt(spread / (count - 1)), np.sqrt(squared / count)
    mean_win = out[AVG_WIN] if wins else 0.0
    mean_loss = out[AVG_LOSS] if losses else 0.0
    out[SPREAD] = deviation
    out[EXPECTANCY] = wins / count * mean_win + losses / count * mean_loss
    if deviation > gates.epsilon:
        out[SHARPE] = average / deviation
    if losses and downside > gates.epsilon:
        out[SORTINO] = average / downside
    if losses and abs(mean_loss) > gates.epsilon:
        out[CERTAINTY] = mean_win / abs(mean_loss)
    if not blown and out[FALL] > 0:
        out[RECOVERY] = _clamped((out[EQUITY] - 1) * 100 / out[FALL], gates)


def _annual(out: Any, count: int, blown: bool, gates: Any) -> None:  # noqa: FBT001 -- compiled, no keywords
    """Figures scaled to a year of 365 days, and the gates that forbid it."""
    out[TRADES_A_YEAR] = 0.0
    if count < gates.min_trades or out[SPAN] < gates.min_span_days:
        return
    frequency = count / out[SPAN] * gates.days_a_year
    if frequency > gates.max_trades_per_year:
        return
    out[TRADES_A_YEAR] = frequency
    out[YEARLY_SHARPE] = out[SHARPE] * np.sqrt(frequency)
    yearly = -100.0 if blown else (out[EQUITY] ** (frequency / count) - 1) * 100
    if abs(yearly) <= gates.max_yearly_return:
        out[YEARLY] = yearly
        if out[FALL] > 0:
            out[CALMAR] = _clamped(yearly / out[FALL], gates)


def _score(ends: Any, gates: Any) -> Any:
    """``score``, for both the compiled and the plain way."""
    out = np.full(SIZE, np.nan)
    closed = ends[ends[:, REASON] < FIRST_CANCEL]
    pnl, count = closed[:, NET].copy(), len(closed)
    out[N], out[CANCELLED], out[DOUBTS] = count, len(ends) - count, 0.0
    wins, losses, won, lost, squared, most_wins, most_losses = _counts(pnl)
    out[WINS], out[LOSSES], out[WIN_STREAK], out[LOSS_STREAK] = wins, losses, most_wins, most_losses
    if count == 0:
        return out
    equity, deepest, blown = np.nan, np.nan, False
    if _has_account(closed):
        equity, deepest, blown = _equity(closed)
    out[WIN_RATE] = wins / (wins + losses) * 100 if wins + losses else 0.0
    out[TOTAL] = np.sum(pnl)
    out[AVERAGE], out[MEDIAN] = out[TOTAL] / count, np.median(pnl)
    if wins:
        out[AVG_WIN] = won / wins
    if losses:
        out[AVG_LOSS] = -lost / losses
    if wins and lost > gates.epsilon:
        out[FACTOR] = won / lost
    out[FALL], out[EQUITY] = deepest, equity
    _ratios(out, pnl, wins, losses, squared, blown, gates)
    out[SPAN] = (closed[count - 1, CLOSED_AT] - closed[0, PENDING_AT]) / DAY
    _annual(out, count, blown, gates)
    out[DURATION] = np.mean((closed[:, CLOSED_AT] - closed[:, PENDING_AT]) / MINUTE)
    out[AVG_PEAK], out[AVG_TROUGH] = np.mean(closed[:, PEAK]), np.mean(closed[:, TROUGH])
    out[DOUBTS] = np.sum(closed[:, AMBIGUOUS])
    return out


def _by_day(ends: Any, first_day: int, days: int) -> Any:
    """``daily``, for both the compiled and the plain way; what a trade leaves is ``metrics.compounding.growth``."""
    out = np.zeros(days)
    for i in range(len(ends)):
        if ends[i, REASON] < FIRST_CANCEL:
            day = min(max(int(ends[i, CLOSED_AT] // DAY) - first_day, 0), days - 1)
            out[day] = (1 + out[day]) * max(1 + ends[i, NET] * _part(ends, i) / 100, 0.0) - 1
    return out


_PIECES: Final = (_clamped, _part, _has_account, _equity, _counts, _ratios, _annual)


def score(ends: NDArray[np.float64], gates: Any) -> NDArray[np.float64]:
    """The figures ``FIGURES`` of a table of ends; NaN where a figure is not available.

    Parameters
    ----------
    ends : ndarray of float64, shape (k, WIDTH)
        See ``kernels.simulate``.
    gates : Gates
        The gates of the figures: :data:`bknb.domain.least_samples.GATES`.
    """
    figures: NDArray[np.float64] = compiled(_score, globals(), _PIECES, takes=(type(gates),))(ends, gates)
    return figures


def score_plain(ends: NDArray[np.float64], gates: Any) -> NDArray[np.float64]:
    """The specification of ``score``, not compiled.

    Examples
    --------
    >>> from bknb.domain.least_samples import GATES
    >>> score_plain(np.empty((0, 20)), GATES)[:3].tolist()
    [0.0, 0.0, 0.0]
    """
    figures: NDArray[np.float64] = _score(ends, gates)
    return figures


def daily(ends: NDArray[np.float64], first_day: int, days: int) -> NDArray[np.float64]:
    """Net return of each calendar day (UTC) as a fraction: what the trades that closed that day made, compounded.

    Each goes with its part of the equity; -1 where everything was lost.

    Parameters
    ----------
    first_day, days
        The first day as days since 1970, and how many.
    """
    returns: NDArray[np.float64] = compiled(_by_day, globals(), (_part,))(ends, first_day, days)
    return returns


def daily_plain(ends: NDArray[np.float64], first_day: int, days: int) -> NDArray[np.float64]:
    """The specification of ``daily``, not compiled."""
    returns: NDArray[np.float64] = _by_day(ends, first_day, days)
    return returns
