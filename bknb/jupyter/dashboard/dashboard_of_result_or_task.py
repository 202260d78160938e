"""What a dashboard shows of a finished run, a comparison, or a task that still runs, and in which panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bknb import UsageError

from ...reports.dashboard_panels import PANELS
from ...reports.dashboard_run import RunView
from ...reports.equity_arrays import stairs_of
from ...reports.markup import day_text
from ...reports.portfolio_panels import PORTFOLIO_PANELS

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALSO_CALLED: Final = {"progress": "status", "drawdown": "equity", "open": "signals", "errors": "problems"}
_COMPARED: Final = ("status", "problems", "walker")


def panels_of_run(panels: Sequence[str] | str | None, shown: Any) -> list[str]:
    """The panels that are shown, in their order, by what was given."""
    if panels is None:
        if hasattr(shown, "walker"):
            return [*_COMPARED]
        return [panel for panel in PANELS if panel != "runs" or shown is None]
    given = [panels] if isinstance(panels, str) else list(panels)
    wanted = [_ALSO_CALLED.get(panel, panel) for panel in given]
    unknown = [panel for panel in wanted if panel not in PANELS]
    if unknown or not wanted:
        what = f"no panel is called {unknown[0]!r}" if unknown else "panels= needs at least one panel"
        if set(unknown) & set(PORTFOLIO_PANELS):
            what = f"the panel {unknown[0]!r} is of a portfolio: bknb.dashboard(result of bknb.portfolio)"
        raise UsageError(f"{what}\nthe panels: {', '.join(PANELS)}")
    return [panel for panel in PANELS if panel in wanted]


def _title(strategy: str, symbol: str, frame: Any, start: int | None, end: int | None) -> str:
    named = frame or (f"{day_text(start)} to {day_text(end)}" if start is not None and end is not None else "")
    return " · ".join(part for part in (strategy, symbol, named) if part)


def view_of_result(result: Any) -> RunView:
    """The view of a finished run, built from its records."""
    title = _title(result.strategy, result.symbol, result.frame, result.start, result.end)
    view = RunView(result.symbol, result.strategy, start_ms=result.start, end_ms=result.end, title=title)
    view.take_all(result.events)
    view.take_all([*result.position_events, *result.milestones, *result.refused, *result.rejections])
    complete(view, result)
    return view


def complete(view: RunView, result: Any) -> None:
    """Add what is known only at the end of a run: candles, account, errors, warnings, status."""
    view.set_candles(result.candles)
    view.set_terms(result.account_terms)
    view.set_account(result.account)
    view.in_money = result.capital is not None
    if view.signals.no_equity and result.capital is not None:
        equity = result.equity
        view.set_worth(equity.index.as_unit("ms").asi8, equity.to_numpy())
    view.set_stairs(stairs_of(result))
    for failure in result.errors:
        view.failure(failure)
    view.warn(result.warnings)
    view.ended("stopped" if result.stopped else "fulfilled")


def view_of_comparison(comparison: Any) -> RunView:
    """The view of a finished comparison."""
    title = _title(comparison.walker, comparison.symbol, comparison.frame, comparison.start, comparison.end)
    view = RunView(comparison.symbol, comparison.walker, mode="walker", title=title)
    view.set_comparison(comparison)
    view.ended("stopped" if comparison.stopped else "fulfilled")
    return view


def mode_of(task: Any) -> str:
    """The mode of a task: ``backtest``, ``live`` or ``walker`` (a comparison)."""
    return "walker" if task.kind == "comparison" else str(task.mode)


def view_of_task(task: Any) -> RunView:
    """The view of a task that runs, with its progress so far."""
    frame = getattr(getattr(task, "plan", None), "frame", None)
    start, end = getattr(frame, "start", None), getattr(frame, "last", None)
    view = RunView(
        task.symbol,
        task.strategy,
        mode=mode_of(task),
        start_ms=start,
        end_ms=end,
        interval=getattr(frame, "interval", "1m"),
        title=_title(task.strategy, task.symbol, getattr(frame, "name", None), start, end),
    )
    view.in_money = getattr(getattr(task, "plan", None), "account", None) is not None
    view.set_progress(getattr(task, "processed", 0), getattr(task, "total", 0))
    return view


def is_task(shown: Any) -> bool:
    """Whether what is shown is a task, not a result."""
    return not _is_result(shown) and all(hasattr(shown, name) for name in ("status", "symbol", "done"))


def _is_result(shown: Any) -> bool:
    return all(hasattr(shown, name) for name in ("trades", "candles", "stats"))


def view_of(shown: Any) -> RunView:
    """The view of a result, a task or a comparison.

    Raises
    ------
    UsageError
        It is none of them.
    """
    if _is_result(shown):
        return view_of_result(shown)
    if is_task(shown):
        return view_of_task(shown)
    if hasattr(shown, "walker") and hasattr(shown, "entries"):
        return view_of_comparison(shown)
    raise UsageError(
        f"a dashboard shows a task, a result, or (without one) everything that runs; got {shown!r:.80}\n"
        "a task comes from bknb.Backtest.background(...), a result from bknb.backtest(...)"
    )
