"""The arrays of the equity plot of a backtest."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.formatting import day_text, percent_text, points_text
from ..domain.signal_events import Opened
from ..metrics.reasons import BELOW_ZERO
from .fewer_points_of_lines import decimate
from .managed_marks import NO_MARKS, ManagedMarks, fills_between, marks_of
from .time_columns import ms_of

if TYPE_CHECKING:
    from ..metrics.benchmark_figures import Benchmark

Floats = np.ndarray[Any, np.dtype[np.float64]]
Times = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityInfo:
    """The arrays of the equity plot of a backtest.

    :mod:`bknb.reports.plots` draws them for plotly, :mod:`bknb.reports.equity_png` as a PNG.

    Attributes
    ----------
    title : str
        One line naming strategy, symbol, frame and execution model.
    start_ms, end_ms : int
        First moment of the run, and its last or that of a close after it (UTC milliseconds).
    time_ms : ndarray of int64, shape (m,)
        The start of the run, then the close of each bar.
    equity : ndarray of float64, shape (m,)
        Multiple of the starting money, marked at the close of each bar; 1.0 at the start.
    drawdown_time_ms, drawdown_percent : ndarray, shape (m + n,)
        Distance below the highest equity so far, in percent, never above zero: at each mark and after each trade. The
        lowest point is ``max_drawdown`` of the account.
    trade_equity : ndarray of float64, shape (n,)
        Equity after each trade.
    price_time_ms, price : ndarray, at most 1600 points
        Closing prices of the run's one-minute candles, decimated with :func:`decimate`.
    opened_ms, closed_ms : ndarray of int64, shape (n,)
        When each trade opened and closed.
    price_open, price_close, pnl_percent : ndarray of float64, shape (n,)
        Prices of each trade and its net result in percent, NaN where it opened at or below zero.
    points : ndarray of float64, shape (n,), or None
        Net results in points, where a trade opened at or below zero.
    sides, reasons : tuple of str, length n
        ``long`` or ``short``, and why each trade closed.
    managed : ManagedMarks
        Adds, parts that were closed, and stops that moved.
    missing : str
        Why there is no equity, in which case its arrays and those of the drawdown are empty; else empty itself.
    benchmark : Benchmark or None
        The prices that are drawn beside the equity.
    """

    title: str
    start_ms: int
    end_ms: int
    time_ms: Times
    equity: Floats
    drawdown_time_ms: Times
    drawdown_percent: Floats
    trade_equity: Floats
    price_time_ms: Times
    price: Floats
    opened_ms: Times
    closed_ms: Times
    price_open: Floats
    price_close: Floats
    pnl_percent: Floats
    sides: tuple[str, ...]
    reasons: tuple[str, ...]
    managed: ManagedMarks = NO_MARKS
    missing: str = ""
    benchmark: Benchmark | None = None
    points: Floats | None = None

    @property
    def results(self) -> Floats:
        """Net results of the trades, by which they are drawn: in percent, or in points where there are those."""
        return self.pnl_percent if self.points is None else self.points

    def result_text(self, index: int) -> str:
        """The net result of one trade with its unit."""
        return percent_text(self.pnl_percent[index]) if self.points is None else points_text(self.points[index])

    def __len__(self) -> int:
        return len(self.sides)


# -- the info object ---------------------------------------------------------------------------------------------


def equity_info(result: Any) -> EquityInfo:
    """The arrays of the equity plot of a backtest.

    Parameters
    ----------
    result : Result
        What :func:`bknb.backtest` returned.

    Returns
    -------
    EquityInfo
    """
    trades = result.trades
    closed = ms_of(trades["closed_at"])
    missing = result.account.reasons.get("total_return", "")
    marked = None if missing else result.marked
    price_time, price = decimate(result.candles.timestamp, result.candles.close)
    frame = result.frame or f"{day_text(result.start)} to {day_text(result.end)}"
    marks = closed[:0] if marked is None else marked.time_ms
    nothing = np.empty(0)
    return EquityInfo(
        title=f"{result.strategy} · {result.symbol} · {frame} · {result.execution}",
        start_ms=int(result.start),
        end_ms=max(int(result.end), int(marks.max(initial=0)), int(closed.max(initial=0))),
        time_ms=marks,
        equity=nothing if marked is None else marked.equity,
        drawdown_time_ms=marks if marked is None else marked.path_time_ms,
        drawdown_percent=nothing if marked is None else marked.drawdown,
        trade_equity=nothing if marked is None else marked.after[: len(closed)],
        price_time_ms=price_time,
        price=price,
        opened_ms=ms_of(trades["pending_at"]),
        closed_ms=closed,
        price_open=trades["price_open"].to_numpy(dtype=np.float64),
        price_close=trades["price_close"].to_numpy(dtype=np.float64),
        pnl_percent=trades["pnl_percentage"].to_numpy(dtype=np.float64),
        sides=tuple(str(value) for value in trades["position"]),
        reasons=tuple(str(value) for value in trades["close_reason"]),
        managed=marks_of(fills_between(result.position_events), stairs_of(result)),
        missing=missing,
        benchmark=result.benchmark,
        points=trades["points"].to_numpy(dtype=np.float64) if missing == BELOW_ZERO else None,
    )


def stairs_of(result: Any) -> list[list[tuple[int, float]]]:
    """The stops of the positions whose stop changed, or was another than the one that was declared, of a Result."""
    if not result.is_managed:
        return []
    stops, begun, found = result.stops, ms_of(result.stops["at"]), []
    opened: dict[str, list[int]] = {}
    for event in result.events:
        if isinstance(event, Opened):
            opened.setdefault(event.signal.id, []).append(event.signal.pending_at)
    which = [bisect_right(opened[name], at) for name, at in zip(stops["signal_id"], begun.tolist(), strict=True)]
    for _, rows in stops.groupby(["signal_id", which], sort=False):  # an id may come twice
        if len(rows) > 1 or rows["stop_reason"].iloc[0] != "stop_loss":
            begins, ends = ms_of(rows["at"]).tolist(), ms_of(rows["until"]).tolist()
            prices = rows["price_stop_loss"].tolist()
            steps = list[tuple[int, float]]()
            for begin, end, price, follows in zip(begins, ends, prices, [*begins[1:], None], strict=True):
                steps.append((begin, price))
                if follows != end:
                    steps.append((end, price if follows is None else np.nan))
            found.append(steps)
    return found
