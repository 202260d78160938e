"""The state a dashboard sends to the browser: only changed panels, costly ones less often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...reports import dashboard_panels
from ...reports.dashboard_panels import MANAGED, PANELS
from ...reports.managed_panel import managed_panel
from .costly_updates import CostlyUpdates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...reports.dashboard_run import RunView
    from ...reports.dashboard_runs import RunViews

ALSO: Final = {"price": ("signals", "trades", MANAGED), "equity": ("trades",)}
"""What a panel needs beside its own: the chart marks trades, levels and what was managed."""


class Updates:
    """The changed panels of the selected run, frame by frame.

    Parameters
    ----------
    views : RunViews
    panels : sequence of str
        The panels that are shown.
    seconds : callable
        A stopwatch.

    Examples
    --------
    >>> from bknb.reports.dashboard_runs import RunViews
    >>> from bknb.reports.dashboard_run import RunView
    >>> updates = Updates(RunViews(RunView("BTCUSDT", "sma")), ["status"], seconds=lambda: 0.0)
    >>> sorted(updates.next()), sorted(updates.next())
    (['head'], [])
    """

    def __init__(self, views: RunViews, panels: Sequence[str], *, seconds: Callable[[], float]) -> None:
        self.views = views
        self.points = dashboard_panels.POINTS
        self.more = False
        self._panels = panels
        self._seconds = seconds
        wanted = {*panels, *(also for panel in panels for also in ALSO.get(panel, ()))}
        self._wanted = [panel for panel in (*PANELS, MANAGED) if panel in wanted and panel != "runs"]
        self._sent: dict[str, int] = {}
        self._costly = CostlyUpdates(seconds=seconds)
        self._shown: RunView | None = None
        self._runs = -1

    def next(self, *, everything: bool = False) -> dict[str, Any]:
        """The state that has changed since the last call, by trait; ``everything`` includes panels not due yet.

        Afterwards ``more`` is whether something is left for later.
        """
        view = self.views.view
        self.more = False
        state: dict[str, Any] = {}
        if view is not self._shown:
            self._shown = view
            self._sent = {}
        if view is not None:
            changed = [panel for panel in self._wanted if view.version[panel] != self._sent.get(panel)]
            for panel in changed:
                self._make(panel, view, state, everything=everything)
            if changed and "head" not in state:
                state["head"] = self._head(view)
            if "runs" in self._panels and (changed or self._runs != self.views.version):
                state["runs"] = self.views.runs()
                self._runs = self.views.version
        elif self._runs != self.views.version:
            state["head"] = {"title": "Nothing is running", "text": "runs appear here as they start", "status": ""}
            state["runs"] = []
            self._runs = self.views.version
        return state

    def set_points(self, points: int) -> None:
        """Set the number of points of a chart; every panel is sent again."""
        self.points = points
        self.again()

    def again(self) -> None:
        """Send every panel again with the next frame."""
        self._sent = {}
        self._costly.forget()

    def _head(self, view: RunView) -> dict[str, Any]:
        return {**dashboard_panels.status_panel(view, self._seconds()), "last": view.last_ms}

    def _make(self, panel: str, view: RunView, state: dict[str, Any], *, everything: bool) -> None:
        if not everything and self._costly.rests(panel):
            self.more = True
            return
        if panel in dashboard_panels.TABLES and "tables" in state:
            return  # made together with another one
        self._sent[panel] = view.version[panel]
        self._costly.do(panel, lambda: self._draw(panel, view, state))

    def _draw(self, panel: str, view: RunView, state: dict[str, Any]) -> None:
        match panel:
            case "status":
                state["head"] = self._head(view)
            case "price":
                state["bars"] = dashboard_panels.price_panel(view, points=self.points)
            case "managed":
                state["managed"] = managed_panel(view)
            case "equity":
                state["equity"] = dashboard_panels.equity_panel(view, points=self.points)
            case "trades":
                state["trades"] = dashboard_panels.trades_panel(view)
            case "signals":
                state["signals"] = dashboard_panels.signals_panel(view)
            case "statistics":
                state["figures"] = dashboard_panels.statistics_panel(view)
            case _:
                state["tables"] = {name: dashboard_panels.table_panel(view, name) for name in self._tables()}
                self._sent |= {name: view.version[name] for name in self._tables()}

    def _tables(self) -> list[str]:
        return [name for name in dashboard_panels.TABLES if name in self._wanted]

    def window(self, *, start_ms: int, end_ms: int, points: int) -> dict[str, Any]:
        """The charts between two moments (UTC milliseconds), at most ``points`` each."""
        view = self.views.view
        found: dict[str, Any] = {"from": start_ms, "to": end_ms}
        if view is None:
            return found
        if "price" in self._wanted:
            found["bars"] = dashboard_panels.price_panel(view, start_ms=start_ms, end_ms=end_ms, points=points)
            found["managed"] = managed_panel(view, start_ms=start_ms, end_ms=end_ms)
        if "equity" in self._wanted:
            found["equity"] = dashboard_panels.equity_panel(view, start_ms=start_ms, end_ms=end_ms, points=points)
        return found
