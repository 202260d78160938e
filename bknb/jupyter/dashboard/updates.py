"""What a dashboard tells the browser: only panels that have changed, none more often than it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...reports import panel_data
from ...reports.run_view import PANELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...reports.run_view import Watch
    from ...reports.run_views import Board

ALSO: Final = {"price": ("signals", "trades"), "equity": ("trades",)}
"""Panels that need what another one shows too: the chart marks trades and levels."""
_PATIENCE: Final = 40.0
"""A panel that took a second to make is made again after this many seconds at the earliest: 2.5 % of the time."""


class Frames:
    """The changes of a board, frame by frame.

    Parameters
    ----------
    board : Board
    panels : sequence of str
        The panels that are shown.
    seconds : callable
        A stopwatch.

    Examples
    --------
    >>> from bknb.reports.run_views import Board
    >>> from bknb.reports.run_view import Watch
    >>> frames = Frames(Board(Watch("BTCUSDT", "sma")), ["status"], seconds=lambda: 0.0)
    >>> sorted(frames.next()), sorted(frames.next())
    (['head'], [])
    """

    def __init__(self, board: Board, panels: Sequence[str], *, seconds: Callable[[], float]) -> None:
        self.board = board
        self.points = panel_data.POINTS
        self.more = False
        self._panels = panels
        self._seconds = seconds
        wanted = {*panels, *(also for panel in panels for also in ALSO.get(panel, ()))}
        self._wanted = [panel for panel in PANELS if panel in wanted and panel != "runs"]
        self._sent: dict[str, int] = {}
        self._due: dict[str, float] = {}
        self._shown: Watch | None = None
        self._runs = -1

    def next(self, *, everything: bool = False) -> dict[str, Any]:
        """What has changed since the last call, by trait; ``everything`` does not wait for what is not due yet.

        Afterwards ``more`` says whether something is left for later.
        """
        watch = self.board.watch
        self.more = False
        state: dict[str, Any] = {}
        if watch is not self._shown:
            self._shown = watch
            self._sent = {}
        if watch is not None:
            changed = [panel for panel in self._wanted if watch.version[panel] != self._sent.get(panel)]
            for panel in changed:
                self._make(panel, watch, state, everything=everything)
            if changed and "head" not in state:
                state["head"] = self._head(watch)
            if "runs" in self._panels and (changed or self._runs != self.board.version):
                state["runs"] = self.board.runs()
                self._runs = self.board.version
        elif self._runs != self.board.version:
            state["head"] = {"title": "Nothing is running", "text": "runs appear here as they start", "status": ""}
            state["runs"] = []
            self._runs = self.board.version
        return state

    def again(self) -> None:
        """Let the next frame tell everything anew."""
        self._sent = {}
        self._due = {}

    def _head(self, watch: Watch) -> dict[str, Any]:
        return {**panel_data.status_panel(watch, self._seconds()), "last": watch.last_ms}

    def _make(self, panel: str, watch: Watch, state: dict[str, Any], *, everything: bool) -> None:
        now = self._seconds()
        if not everything and now < self._due.get(panel, now):
            self.more = True
            return
        if panel in panel_data.TABLES and "tables" in state:
            return  # made together with another one
        self._sent[panel] = watch.version[panel]
        match panel:
            case "status":
                state["head"] = self._head(watch)
            case "price":
                state["bars"] = panel_data.price_panel(watch, points=self.points)
            case "equity":
                state["equity"] = panel_data.equity_panel(watch, points=self.points)
            case "trades":
                state["trades"] = panel_data.trades_panel(watch)
            case "signals":
                state["signals"] = panel_data.signals_panel(watch)
            case "statistics":
                state["figures"] = panel_data.statistics_panel(watch)
            case _:
                state["tables"] = {name: panel_data.table_panel(watch, name) for name in self._tables()}
                self._sent |= {name: watch.version[name] for name in self._tables()}
        self._due[panel] = now + _PATIENCE * (self._seconds() - now)

    def _tables(self) -> list[str]:
        return [name for name in panel_data.TABLES if name in self._wanted]

    def window(self, *, start_ms: int, end_ms: int, points: int) -> dict[str, Any]:
        """The charts between two moments, in detail."""
        watch = self.board.watch
        found: dict[str, Any] = {"from": start_ms, "to": end_ms}
        if watch is None:
            return found
        if "price" in self._wanted:
            found["bars"] = panel_data.price_panel(watch, start_ms=start_ms, end_ms=end_ms, points=points)
        if "equity" in self._wanted:
            found["equity"] = panel_data.equity_panel(watch, start_ms=start_ms, end_ms=end_ms, points=points)
        return found
