"""The panels of a dashboard, and what each shows: rows of text and plain arrays, made of the state of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import duration_text, exit_text, minute_text, percent_text, price_text
from ..domain.interval import MINUTE_MS
from ..domain.profit_of_partial_closes import closed_points
from ..domain.signal import OpenSignal
from ..domain.signal_events import Closed
from ..metrics.account_definitions import ACCOUNT_DEFINITIONS
from ..metrics.reasons import BELOW_ZERO
from ..metrics.trade_definitions import DEFINITIONS
from .backtest_info import FIGURES, HEADLINES, account_figures_of, figures_of, with_shared_reason
from .candles_thinned_for_zoom import bars
from .dashboard_account import AT_THE_END, account_of_view, drawn_equity, total_return, why_not_drawn
from .equity_arrays import EquityInfo, Floats, Times
from .fewer_points_of_lines import decimate
from .managed_marks import marks_of
from .managed_panel import stop_now, target_texts
from .progress_text import left_text, speed_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .dashboard_run import RunView

MANAGED: Final = "managed"
"""What the price panel draws of managed positions; it changes less often than the prices."""

PANELS: Final = (
    "status",
    "price",
    "equity",
    "signals",
    "trades",
    "statistics",
    "risk",
    "milestones",
    "problems",
    "timings",
    "walker",
    "runs",
)
"""Names of the panels, in the order in which a dashboard shows them."""

LESS_IMPORTANT: Final = FIGURES[HEADLINES:]
"""Figures of the statistics panel that a saved dashboard leaves out."""
TRADES_SHOWN: Final = 20_000
"""Most trades a table in the browser holds; the newest."""
ROWS_SHOWN: Final = 200
"""Most rows of any other table; the newest."""
POINTS: Final = 1000
"""Points of a line until the width of the screen is known."""

TABLES: Final = ("risk", "milestones", "problems", "timings", "walker")
"""Panels that are plain tables."""


# -- the head ----------------------------------------------------------------------------------------------------


_STATUS_TEXT: Final = {"pending": "running", "fulfilled": "done", "rejected": "failed", "stopped": "stopped early"}


def status_panel(view: RunView, seconds: float) -> dict[str, Any]:
    """Where the run is: state, part behind, rate, time left, last tick, state on disk.

    Parameters
    ----------
    view : RunView
    seconds : float
        The caller's stopwatch.
    """
    rate, left = view.pace(seconds)
    fraction = view.processed / view.total if view.total else None
    if view.status == "fulfilled" and view.mode != "live":
        fraction = 1.0
    trades, total = len(view.signals.trades), total_return(view)
    parts = [_STATUS_TEXT.get(view.status, view.status)]
    if fraction is not None and not view.over:
        parts.append(f"{min(int(100 * fraction), 99)} %")
    if view.mode == "walker":
        parts.append(f"{view.processed} of {view.total} strategies")
    else:
        parts.append(f"{trades:,} trade{'' if trades == 1 else 's'}")
    if total is not None and (trades or view.signals.holds_position):
        parts.append(f"{_sign(total)} {percent_text(total)}")
    if not view.over and view.mode == "backtest":
        parts += [text for text in (speed_text(rate), left_text(left)) if text]
    facts = {"Last tick": f"{minute_text(view.last_ms)} UTC" if view.last_ms is not None else "none yet"}
    if view.last_price is not None:
        facts["Last price"] = price_text(view.last_price)
    seen = [level.stop_from for level in view.signals.levels.values() if level.stop_from is not None]
    if seen:
        facts["Trailing stop"] = f"known from {minute_text(max(seen))} UTC on; the candles before are not held any more"
    return {
        "title": view.title,
        "status": view.status,
        "mode": view.mode,
        "fraction": fraction,
        "text": " · ".join(parts),
        "facts": {**facts, **view.state} if view.mode == "live" else view.state,
        "span": list(view.span()),
        "counts": {
            "trades": trades,
            "signals": len(view.signals.levels),
            "risk": view.counts["risk"],
            "milestones": view.counts["milestones"],
            "problems": len(view.problems),
            "timings": len(view.timings),
            "walker": len(view.ranking.rows),
        },
    }


def _sign(value: float) -> str:
    return "▲" if value > 0 else "▼" if value < 0 else "•"


# -- the charts --------------------------------------------------------------------------------------------------


def price_panel(
    view: RunView, *, start_ms: int | None = None, end_ms: int | None = None, points: int = POINTS
) -> dict[str, Any]:
    """Bars of a window, at most ``points`` of them, with every highest and lowest price among them."""
    found = bars(view.series(), start_ms=start_ms, end_ms=end_ms, points=points)
    return {
        "step": found.step_ms,
        "length": duration_text(found.step_ms / MINUTE_MS),
        "time": found.time_ms.astype(np.float64),
        "open": found.open,
        "high": found.high,
        "low": found.low,
        "close": found.close,
    }


def equity_info(view: RunView, *, price_points: int = POINTS) -> EquityInfo:
    """The arrays of the whole run, as :func:`bknb.reports.equity_png.equity_png` takes them."""
    trades = view.signals.trades
    count = len(trades)
    first, last = view.span()
    drawn = drawn_equity(view)
    nothing = np.empty(0)
    series = view.series()
    price_time, price = decimate(series.timestamp, series.close, max(price_points, 4))
    return EquityInfo(
        title=view.title,
        start_ms=first,
        end_ms=last,
        time_ms=nothing.astype(np.int64) if drawn is None else drawn.time_ms,
        equity=nothing if drawn is None else drawn.equity,
        drawdown_time_ms=nothing.astype(np.int64) if drawn is None else drawn.drawdown_ms,
        drawdown_percent=nothing if drawn is None else drawn.drawdown,
        trade_equity=nothing if drawn is None else drawn.after[:count],
        price_time_ms=price_time,
        price=price,
        opened_ms=np.array(trades.opened_ms[:count]).astype(np.int64),
        closed_ms=np.array(trades.closed_ms[:count]).astype(np.int64),
        price_open=np.array(trades.price_open[:count]),
        price_close=np.array(trades.price_close[:count]),
        pnl_percent=np.array(trades.pnl[:count]),
        sides=tuple(event.signal.position for event in trades.events[:count]),
        reasons=tuple(event.close_reason for event in trades.events[:count]),
        managed=marks_of(view.signals.fills_between, view.stairs),
        missing="" if drawn is not None else why_not_drawn(view) or AT_THE_END,
        points=_points(view, count),
    )


def _points(view: RunView, count: int) -> Floats | None:
    """The results of the first trades in points, where one opened at or below zero."""
    if view.signals.no_equity != BELOW_ZERO or view.terms is None:
        return None
    slippage, fee = view.terms.slippage, view.terms.fee
    return np.array([closed_points(event, slippage=slippage, fee=fee) for event in view.signals.trades.events[:count]])


def _window(
    times: Times, values: Floats, start_ms: int | None, end_ms: int | None, points: int
) -> tuple[Times, Floats]:
    """A line between two moments with the point before and the point after, thinned."""
    first = 0 if start_ms is None else max(int(np.searchsorted(times, start_ms)) - 1, 0)
    last = times.shape[0] if end_ms is None else int(np.searchsorted(times, end_ms, side="right")) + 1
    return decimate(times[first:last], values[first:last], max(points, 4))


def equity_panel(
    view: RunView, *, start_ms: int | None = None, end_ms: int | None = None, points: int = POINTS
) -> dict[str, Any]:
    """Equity and drawdown in percent, at most ``points`` each, every extreme among them."""
    drawn = drawn_equity(view)
    if drawn is None:
        nothing = dict.fromkeys(("time", "equity", "drawdown_time", "drawdown"), np.empty(0))
        why = why_not_drawn(view)
        missing = f"equity: not available, {why}" if why else "equity: comes with the candles of the run"
        return {**nothing, "missing": missing, "text": f"{missing}; {len(view.signals.trades):,} trades"}
    moments, equity_line, deep_moments, drawdown_line, _ = drawn
    reached = max(view.span()[1] if view.over else 0, int(moments[-1]))
    times = np.append(moments, reached)
    percent = (np.append(equity_line, equity_line[-1]) - 1.0) * 100.0
    deep_times = np.append(deep_moments, reached)
    deep = np.append(drawdown_line, drawdown_line[-1])
    time, equity = _window(times, percent, start_ms, end_ms, points)
    deep_time, drawdown = _window(deep_times, deep, start_ms, end_ms, points)
    return {
        "time": time.astype(np.float64),
        "equity": equity,
        "drawdown_time": deep_time.astype(np.float64),
        "drawdown": drawdown,
        "text": (
            f"equity {percent_text(float(percent[-1]))}, "
            f"deepest drawdown {percent_text(0.0 - float(deep.min()), signed=False)}, "
            f"{len(view.signals.trades):,} trades"
        ),
    }


# -- the tables --------------------------------------------------------------------------------------------------


def trades_panel(view: RunView) -> dict[str, Any]:
    """The newest trades, at most :data:`TRADES_SHOWN`, as columns; ``pnl`` is in ``unit``, percent or points."""
    trades = view.signals.trades
    count = len(trades)
    first = max(count - TRADES_SHOWN, 0)
    events, points = trades.events[first:count], _points(view, count)

    def column(values: Any, kind: Any = np.float64) -> Any:
        return np.array(values[first:count], dtype=kind)

    reasons = sorted({event.close_reason for event in events})
    place = {reason: at for at, reason in enumerate(reasons)}
    notes, places = [event.signal.note for event in events], [event.signal.place for event in events]
    return {
        "count": count,
        "ids": [event.signal.id for event in events],
        "notes": notes if any(notes) else [],
        "places": places if any(places) else [],
        "reasons": reasons,
        "reason": np.array([place[event.close_reason] for event in events], dtype=np.int8),
        "side": np.array([1 if event.signal.position == "long" else -1 for event in events], dtype=np.int8),
        "ambiguous": np.array([event.ambiguous for event in events], dtype=np.int8),
        "opened": column(trades.opened_ms),
        "closed": column(trades.closed_ms),
        "price_open": column(trades.price_open),
        "price_close": column(trades.price_close),
        "target": column(trades.target),
        "stop": column(trades.stop),
        "unit": "%" if points is None else "points",
        "pnl": column(trades.pnl, np.float32) if points is None else points[first:],
        "peak": column(trades.peak, np.float32),
        "trough": column(trades.trough, np.float32),
        **(_fill_columns(events) if view.signals.managed else {}),
    }


def _fill_columns(events: Sequence[Closed]) -> dict[str, Any]:
    """How many fills each trade has, and the average price of its entries (quote currency)."""
    averages = [each.signal.price_open if each.average_price is None else each.average_price for each in events]
    return {
        "fills": np.array([len(each.fills) or 2 for each in events], dtype=np.float64),
        "average": np.array(averages, dtype=np.float64),
    }


def signals_panel(view: RunView) -> dict[str, Any]:
    """Open and scheduled signals, newest first, each with its way to target and stop."""
    rows = []
    stairs = view.stairs if view.over else ()
    for level in list(view.signals.levels.values())[::-1][:ROWS_SHOWN]:
        row, target = level.row, level.targets[0].price if level.targets else None
        stop = stop_now(row, level.stop, stairs) if isinstance(row, OpenSignal) else level.stop
        rows.append(
            {
                "id": row.id,
                "open": level.is_open,
                "side": row.position,
                "since": level.since,
                "price_open": row.price_open,
                "target": target,
                "stop": stop,
                "size": level.size,
                "targets": target_texts(level.targets),
                "price": level.price,
                "percent_tp": round(level.percent_tp, 1),
                "percent_sl": round(level.percent_sl, 1),
                "minutes": row.minute_estimated_time,
                "note": row.note,
                "place": row.place,
                "texts": [price_text(row.price_open), exit_text(target), exit_text(stop)],
            }
        )
    missed = [
        {"id": event.signal.id, "side": event.signal.position, "from": event.signal.scheduled_at}
        | {"to": event.closed_at, "price": event.signal.price_open, "reason": event.reason}
        for event in view.signals.cancelled[-ROWS_SHOWN:]
    ]
    return {"rows": rows, "missed": missed}


def statistics_panel(view: RunView) -> list[list[str]]:
    """Key, label, value and direction of every figure: those of the account, then those of the trades."""
    from ..metrics.statistics import statistics

    trades = view.signals.trades
    count = len(trades)
    columns = (
        *(trades.opened_ms, trades.closed_ms, trades.pnl, trades.price_close, trades.peak, trades.trough),
        [event.adds for event in trades.events[:count]],
    )
    names = (
        *("pending_at", "closed_at", "pnl_percentage", "price_close", "peak_percentage", "trough_percentage"),
        "adds",
    )
    rows = [dict(zip(names, row, strict=True)) for row in zip(*(column[:count] for column in columns), strict=True)]
    if (points := _points(view, count)) is not None:
        rows = [row | {"points": each} for row, each in zip(rows, points.tolist(), strict=True)]
    figures = (*with_shared_reason(account_figures_of(account_of_view(view))), *figures_of(statistics(rows)))
    return [[figure.key, figure.label, figure.text, figure.better] for figure in figures]


def meanings() -> dict[str, str]:
    """What each figure means, by its key: formula, source, and when it is not available."""
    texts = {}
    for key, known in {**ACCOUNT_DEFINITIONS, **{key: DEFINITIONS[key] for key in FIGURES}}.items():
        unless = f" Not available when: {known.null_when}." if known.null_when else ""
        texts[key] = f"{known.formula}.{unless} Source: {known.source}."
    return texts


Table = dict[str, list[Any]]


def table_panel(view: RunView, name: str) -> Table:
    """Columns and rows of one of :data:`TABLES`, newest first."""
    return _TABLES[name](view)


def _risk(view: RunView) -> Table:
    rows = [
        [minute_text(e.when), e.symbol, e.risk, e.signal.position, price_text(e.price), e.open_positions, e.note]
        for e in list(view.refused)[::-1][:ROWS_SHOWN]
    ]
    return {"columns": ["When (UTC)", "Symbol", "Profile", "Side", "Price", "Open then", "Reason"], "rows": rows}


def _milestones(view: RunView) -> Table:
    goals = {"profit": ("▲", "target"), "loss": ("▼", "stop")}
    rows = []
    newest = sorted(view.milestones, key=lambda event: (event.when, event.level), reverse=True)
    for event in newest[:ROWS_SHOWN]:  # profit and loss come on ways of their own
        sign, goal = goals[event.side]
        distance = f"{sign} {event.level} % to the {goal}"
        rows.append([minute_text(event.when), event.signal.id, distance, price_text(event.price)])
    return {"columns": ["When (UTC)", "Signal", "Way", "Price"], "rows": rows}


def _problems(view: RunView) -> Table:
    rows: list[list[Any]] = [["warning", text, "", 1, ""] for text in view.problems.warnings]
    for trouble in view.problems.rows[:ROWS_SHOWN]:
        last = minute_text(trouble.when) if trouble.when is not None else ""
        rows.append([trouble.kind, trouble.message, trouble.where, trouble.count, last])
    return {"columns": ["What", "Text", "Where", "Times", "Last (UTC)"], "rows": rows}


def _timings(view: RunView) -> Table:
    rows = [
        [name, t.count, f"{t.total_ms / t.count:,.2f}", f"{t.longest_ms:,.2f}", f"{t.last_ms:,.2f}"]
        for name, t in view.timings.items()
    ]
    return {"columns": ["Timed", "Times", "Mean, ms", "Longest, ms", "Last, ms"], "rows": rows}


def _walker(view: RunView) -> Table:
    ranking = view.ranking.rows
    columns = [str(name) for name in ranking[0]] if ranking else []
    return {"columns": ["Rank", *columns], "rows": [[at, *row.values()] for at, row in enumerate(ranking, 1)]}


_TABLES: Final = {
    "risk": _risk,
    "milestones": _milestones,
    "problems": _problems,
    "timings": _timings,
    "walker": _walker,
}
