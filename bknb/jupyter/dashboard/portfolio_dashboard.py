"""The dashboard of a portfolio: its progress, equity, exposure and legs, while it runs and when it is over."""

from __future__ import annotations

import contextvars
import threading
from typing import TYPE_CHECKING, Any, Final

from bknb import MissingDependency, UsageError

from ...market.system_clock import stopwatch
from ...reports.markup import Html, element
from ...reports.portfolio_panels import PORTFOLIO_PANELS, panel_html, status_text
from ...reports.progress_text import failed_text, progress_text
from ..kernel import front_end_draws, in_kernel, ipython
from ..run_buttons import RunControls, on_message
from ..widget_class import widget_class

if TYPE_CHECKING:
    from collections.abc import Sequence

_HINT: Final = "a dashboard that moves needs anywidget: pip install 'bknb[notebook]'"
_FRAME_SECONDS: Final = 0.25
_REST_FACTOR: Final = 20.0
"""After a frame it rests at least this many times as long as the frame took: 5 % of the time."""
_POINTS: Final = 400
_ALSO_CALLED: Final = {"progress": "status"}


def chosen_panels(panels: Sequence[str] | str | None) -> list[str]:
    """The panels of a portfolio that were asked for, in order; all of them where none was.

    Raises
    ------
    UsageError
        For a panel that a portfolio has not.
    """
    if panels is None:
        return [*PORTFOLIO_PANELS]
    wanted = [_ALSO_CALLED.get(panel, panel) for panel in ([panels] if isinstance(panels, str) else panels)]
    unknown = [panel for panel in wanted if panel not in PORTFOLIO_PANELS]
    if unknown or not wanted:
        what = f"a portfolio has no panel {unknown[0]!r}" if unknown else "panels= needs at least one panel"
        raise UsageError(
            f"{what}\nits panels: {', '.join(PORTFOLIO_PANELS)}; all others are of one leg: "
            "bknb.dashboard(result.leg(symbol, strategy))"
        )
    return [panel for panel in PORTFOLIO_PANELS if panel in wanted]


class PortfolioDashboard:
    """Panels of a portfolio that runs, or of its result; made by :func:`bknb.dashboard`.

    Parameters
    ----------
    shown : PortfolioTask, LivePortfolioTask or PortfolioResult
    panels : list of str

    Attributes
    ----------
    panels : list of str
        The panels that are shown.
    widget : anywidget or None
        What draws them while the portfolio runs, once they are shown.
    """

    def __init__(self, shown: Any, *, panels: list[str]) -> None:
        self.panels = panels
        self._is_live = getattr(shown, "kind", "") == "live portfolio"
        self._task = shown if self._is_live or not hasattr(shown, "legs") else None
        self._shown = shown
        name = shown.name if self._task is None else shown.strategy
        self._label = name if name == "portfolio" else f"portfolio {name}"
        self._began = stopwatch()
        self._controls: RunControls | None = None
        self.widget: Any = None
        self._handle: Any = None
        self._closed = threading.Event()
        self._over = threading.Event()
        if self._task is None:
            self._over.set()

    # -- what is shown -----------------------------------------------------------------------------------------------

    def _state(self) -> str:
        if self._task is None:
            return "stopped early" if self._shown.stopped else "done"
        if self._task.status == "rejected":
            try:
                self._task.result()
            except BaseException as error:  # noqa: BLE001 -- shown, whatever it is; the task still has it
                return failed_text(error)
        if self._task.done:
            return "stopped early" if self._task.result().stopped else "done"
        if self._is_live:
            return {"": "live", "entries": "opens nothing new"}.get(self._task.stopping, "leaves")
        return f"running, {100 * self._task.progress:.0f} %"

    def _snapshot(self, points: int) -> Any:
        """The portfolio as far as it has come; that of a live one is of its result up to now."""
        return (self._shown.snapshot() if self._is_live else self._shown).snapshot(points)

    def _parts(self, *, moving: bool = False) -> dict[str, Html | str]:
        """The HTML of each panel by its name, in order; while it moves, how far it is stands beside the buttons."""
        snapshot = self._snapshot(_POINTS)
        parts: dict[str, Html | str] = {}
        for panel in self.panels:
            if panel == "status":
                title = "" if moving else element("b", f"{self._label} ")
                text = status_text(snapshot, "" if moving else self._state())
                parts[panel] = element("div", title, text, role="status")
            else:
                parts[panel] = panel_html(snapshot, panel) or ""
        return parts

    def _static(self, *, hint: str = "") -> dict[str, Any]:
        """The mimebundle that a saved notebook shows."""
        parts = [*self._parts().values()]
        return {"text/html": element("div", *parts, hint and element("p", hint)), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"dashboard of {self._label}: {status_text(self._snapshot(2), self._state())}"

    # -- showing -----------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Show it here; at the end of a cell it shows itself.

        Where no front end looks on (``nbconvert``, ``bknb run``), the portfolio is waited for.
        """
        if not in_kernel():
            print(self)  # noqa: T201 -- a terminal shows text
            return
        if not front_end_draws() and self._task is not None:
            self._task.wait()
        display = ipython("display").display
        if self._task is None or self._task.done:
            self._over.set()
            display(self._static(), raw=True)
            return
        try:
            panels = widget_class(
                "PortfolioPanels", "The panels of one portfolio.", scripts=("controls.js", "portfolio.js"),
                state=(("controls", "Dict"), ("html", "Dict")), purpose="a dashboard that moves",
            )  # fmt: skip
            self.widget = panels(controls=self._buttons(), html=self._parts(moving=True))
        except MissingDependency:
            self._over.set()
            display(self._static(hint=_HINT), raw=True)
            return
        self.widget.on_msg(on_message)
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        data = {"application/vnd.jupyter.widget-view+json": view, **self._static()}
        self._handle = display(data, raw=True, display_id=True)
        context = contextvars.copy_context()  # what is displayed later belongs to the cell that showed it
        threading.Thread(target=context.run, args=(self._follow,), name="bknb-portfolio", daemon=True).start()

    def _ipython_display_(self) -> None:
        self.show()

    def _buttons(self) -> dict[str, Any]:
        """Progress and buttons for ``controls.js``; none where the panel of the status is not asked for."""
        if "status" not in self.panels:
            return {}
        assert self._task is not None  # only what runs has buttons  # noqa: S101
        if self._controls is None:
            self._controls = RunControls(self._task, label=self._label)
        if self._is_live:
            return self._controls.state()
        percent, text = progress_text(self._task.progress, seconds=stopwatch() - self._began, facts=[])
        return self._controls.state(text=text, percent=percent)

    def _follow(self) -> None:
        """Update the widget until the portfolio is over or the dashboard is closed; then leave the panels as HTML."""
        try:
            while not self._closed.is_set() and not self._task.done:  # type: ignore[union-attr]
                began = stopwatch()
                with self.widget.hold_sync():
                    self.widget.controls = self._buttons()
                    self.widget.html = self._parts(moving=True)
                self._closed.wait(max(_FRAME_SECONDS, _REST_FACTOR * (stopwatch() - began)))
        finally:
            self._leave_static()

    def _leave_static(self) -> None:
        try:
            if self._handle is not None:
                self._handle.update(self._static(), raw=True)
        finally:
            if self.widget is not None:
                self.widget.close()
            self._over.set()

    @property
    def live(self) -> bool:
        """Whether it follows a portfolio that runs."""
        return not self._over.is_set() and self._handle is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the portfolio is over and its final panels are in the notebook; returns whether it is."""
        return self._over.wait(timeout)

    def close(self) -> None:
        """Follow it no longer; the output stays as it is now, and the portfolio goes on."""
        self._closed.set()

    leave = close
