"""Dashboards: panels that follow a run as it happens, and stay readable in the saved notebook."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakSet

import bknb
from bknb import MissingDependency

from ...market.system_clock import stopwatch
from ...reports.dashboard_panels import meanings
from ...reports.dashboard_run import RunView
from ...reports.dashboard_runs import RunViews
from ..kernel import front_end_draws, in_kernel, ipython
from ..run_buttons import RunControls, on_message
from ..stored_outputs import WIDGET_MIME, finds_places, forget, register
from . import static_html
from .dashboard_of_result_or_task import complete, is_task, mode_of, panels_of_run, view_of, view_of_task
from .event_pump import EventPump
from .live_stop_levels import LiveStops
from .portfolio_dashboard import PortfolioDashboard, chosen_panels
from .running_equity import RunningEquity
from .updates import Updates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .widget import DashboardWidget

_HINT: Final = "a dashboard that moves needs anywidget: pip install 'bknb[notebook]'"
_DONE_SECONDS: Final = 5.0  # a run that has announced its end hands out its result within this


def dashboard(shown: Any = None, *, panels: Sequence[str] | str | None = None) -> Dashboard | PortfolioDashboard:
    """Panels that follow a run as it happens, or show a finished one.

    Parameters
    ----------
    shown : task, Result, PortfolioResult, Comparison or None
        What ``bknb.Backtest.background``, ``bknb.Live.background``, ``bknb.Walker.background``,
        ``bknb.Portfolio.background`` or ``bknb.Live.portfolio`` returned, a finished result or comparison, or None for
        everything that is running and whatever starts later.
    panels : sequence of str, or None
        Which panels: ``"status"`` (with the progress), ``"price"``, ``"equity"``, ``"signals"``, ``"trades"``,
        ``"statistics"``, ``"risk"``, ``"milestones"``, ``"problems"``, ``"timings"``, ``"walker"``, ``"runs"``. By
        default all that fit. ``bknb.panels`` has each of them alone. A portfolio, live or over history, has
        ``"status"``, ``"equity"``, ``"exposure"``, ``"legs"``, ``"contribution"``, ``"correlation"`` and
        ``"allocation"``.

    Returns
    -------
    Dashboard or PortfolioDashboard
        Shows itself at the end of a cell; ``.show()`` does it earlier, ``.close()`` ends the listening. Running the
        cell again closes the dashboards of its last run.

    Raises
    ------
    UsageError
        For something that is neither a task nor a result, or an unknown panel.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame=("2024-01-01", "2024-01-02"))
    >>> print(bknb.dashboard(result))
    dashboard of <lambda> · BTCUSDT · 2024-01-01 to 2024-01-02: done · 0 trades
    """
    if getattr(shown, "kind", "") == "portfolio" or hasattr(shown, "legs"):
        board = PortfolioDashboard(shown, panels=chosen_panels(panels))
        register(board)
        return board
    return Dashboard(shown, panels=panels_of_run(panels, shown))


def _tasks() -> list[Any]:
    """The newest task of every backtest, live run and comparison."""
    return [*bknb.Backtest.list(), *bknb.Live.list(), *bknb.Walker.list()]


# -- the dashboard -------------------------------------------------------------------------------------------------


class Dashboard:
    """Panels of one run, or of all; made by :func:`bknb.dashboard`.

    Attributes
    ----------
    panels : list of str
        The panels that are shown.
    """

    def __init__(self, shown: Any, *, panels: list[str]) -> None:
        self.panels = panels
        self._controls: dict[int, RunControls] = {}
        self._task: Any = None
        self._tasks: WeakKeyDictionary[RunView, Any] = WeakKeyDictionary()
        self._plans: WeakKeyDictionary[RunView, Any] = WeakKeyDictionary()  # of the tasks, as their views show them
        self._ended: WeakSet[RunView] = WeakSet()
        self._not_these: WeakSet[Any] = WeakSet(each for each in _tasks() if each.done)
        self._known: dict[int, Any] = {}  # events taken from the task; listeners deliver them again
        self._widget: DashboardWidget | None = None
        self._handles: list[Any] = []
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._pump: EventPump | None = None
        if is_task(shown):
            self._task = shown
        self._views = RunViews() if shown is None else RunViews(view_of(shown))
        self._updates = Updates(self._views, panels, seconds=stopwatch)
        self._stops, self._equity = LiveStops(seconds=stopwatch), RunningEquity(seconds=stopwatch)
        register(self)
        if self._task is None and shown is not None:
            self._over.set()
        else:
            self._follow()

    # -- following ---------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Subscribe first, then take the events so far: none can be lost between the two."""
        self._pump = EventPump(self._frame)
        with self._lock:
            self._pump.start()
            for task in [self._task] if self._task is not None else [each for each in _tasks() if not each.done]:
                self._catch_up(task)

    def _catch_up(self, task: Any) -> None:
        view = self._views.only
        if view is None:
            view = view_of_task(task)
            self._views.add(view)
        self._tasks[view] = task
        self._not_these.add(task)
        for event in getattr(task, "events_so_far", ()):
            self._known[id(event)] = event
            view.take(event)

    def _frame(self, events: list[Any]) -> bool | None:
        """Apply the events since the last frame and update the widget; None at the end of the run."""
        try:
            return self._take(events)
        except BaseException:
            self._over.set()  # wait() must not block after a failure
            raise

    def _take(self, events: list[Any]) -> bool | None:
        with self._lock:
            for event in events:
                if self._known.pop(id(event), None) is None:
                    self._views.take(event)
            self._update_tasks()
            only = self._views.only
            over = only is not None and (only.over or self._task.done)
            if self._widget is not None:
                self._widget.show(self._changes(everything=over))
        if over:
            self._store_final()
            return None
        return self._updates.more

    def _changes(self, *, everything: bool = False) -> dict[str, Any]:
        """The widget state that has changed since the last frame, the buttons of the run included."""
        state = self._updates.next(everything=everything)
        buttons = self._buttons()
        if buttons != self._pressed:
            self._pressed = state["controls"] = buttons
        return state

    _pressed: dict[str, Any] | None = None

    def _buttons(self) -> dict[str, Any]:
        """The state of the buttons of the selected run for ``controls.js``; empty for a finished one."""
        task = self._tasks.get(self._views.view) if self._views.view is not None else None
        if task is None or "status" not in self.panels:
            return {}
        if id(task) not in self._controls:
            self._controls[id(task)] = RunControls(task)
        return self._controls[id(task)].state()

    def _update_tasks(self) -> None:
        """Set the candles of each run once they are loaded, and its result once it is over."""
        for view in self._views.views.values():
            task = self._tasks.get(view) or self._task_of(view)
            if task is None:
                continue
            self._tasks[view] = task
            self._not_these.add(task)
            plan = getattr(task, "plan", None)
            if self._plans.get(view, self) is not plan:  # it may go over other bars than it was asked for
                self._plans[view] = plan
                view.set_plan(view_of_task(task))
            if hasattr(task, "candles") and (view.candles is None or (view.mode == "live" and not view.over)):
                view.set_candles(task.candles)
            if hasattr(task, "account_terms") and not view.over:
                view.set_terms(task.account_terms)
            if not view.over:
                self._equity.follow(view, task)
                if view.mode == "live":
                    self._stops.follow(view, task)
            facts = getattr(task, "facts", None)
            if facts is not None and facts != view.state:
                view.set_state(facts)
            if (view.over or task.done) and view not in self._ended:
                self._ended.add(view)
                self._add_result(view, task)

    def _task_of(self, view: RunView) -> Any:
        """The task of a run that was first heard of by its events; None where it has none, as a portfolio's legs."""
        named = (each for each in _tasks() if (mode_of(each), each.symbol, each.strategy) == view.key)
        return next((each for each in named if each not in self._not_these), None)

    def _add_result(self, view: RunView, task: Any) -> None:
        task.wait(_DONE_SECONDS)
        if task.status == "fulfilled":
            result = task.result()
            if view.mode == "walker":
                view.set_comparison(result)
                view.ended("stopped" if result.stopped else "fulfilled")
            elif hasattr(result, "candles"):
                complete(view, result)
            else:
                view.ended("fulfilled")
        elif task.status == "rejected":
            try:
                task.result()
            except BaseException as error:  # noqa: BLE001 -- shown, whatever it is; the task still has it
                view.failed(f"{type(error).__name__}: {error}")

    def _store_final(self) -> None:
        """Replace the stored output by the final picture."""
        try:
            for handle in self._handles:
                self._update(handle)
        finally:
            self._over.set()

    @property
    def live(self) -> bool:
        """Whether it is subscribed to events."""
        return self._pump is not None and self._pump.listening

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over and its final picture is in the notebook; returns whether it is."""
        return self._over.wait(timeout)

    def close(self) -> None:
        """Unsubscribe; the output stays, stored as it is now."""
        if self.live:
            self.leave()
            self._store_final()
        forget(self)

    def leave(self) -> None:
        """Unsubscribe and close the widget; for a cell that is run again."""
        if self._pump is not None:
            self._pump.close()
        self._over.set()
        if self._widget is not None:
            self._widget.close()

    # -- showing -----------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Show it here; at the end of a cell it shows itself.

        Where no front end looks on (``nbconvert``, ``bknb run``), a backtest is waited for, so that its final picture
        is what is stored.
        """
        if not in_kernel():
            print(self)  # noqa: T201 -- a terminal shows text
            return
        if not front_end_draws() and self._task is not None and self._task.mode == "backtest":
            self.wait()
        data, metadata = self._bundle(drawn=not front_end_draws())
        handle = ipython("display").display(data, metadata=metadata, raw=True, display_id=True)
        if not self._over.is_set():
            self._handles.append(handle)  # its final picture comes at the end
        if self._over.is_set() and front_end_draws():
            self._update(handle)  # the picture takes longer than the widget

    def _update(self, handle: Any) -> None:
        data, metadata = self._bundle()
        handle.update(data, metadata=metadata, raw=True)

    def _ipython_display_(self) -> None:
        self.show()

    def __repr__(self) -> str:
        with self._lock:
            return static_html.static_text(self._views.view)

    def _bundle(self, *, drawn: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
        """The mimebundle and its metadata: static HTML, which the widget replaces on the page while the kernel runs.

        The picture is left out unless ``drawn``.
        """
        hint = place = ""
        if front_end_draws():
            try:
                place = self.widget.place
            except MissingDependency:
                hint = _HINT
        with self._lock:
            view = self._views.view
            charts = drawn and {"price", "equity"} & set(self.panels)
            png = static_html.static_png(view) if charts and view is not None else None
            html = static_html.static_html(view, self.panels, png=png, hint=hint, place=place)
            data: dict[str, Any] = {"text/plain": static_html.static_text(view), "text/html": html}
        metadata: dict[str, Any] = {}
        if png is not None:
            data["image/png"] = base64.b64encode(png).decode("ascii")
            metadata["image/png"] = {"alt": data["text/plain"]}
        if place and not finds_places():
            data[WIDGET_MIME] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return data, metadata

    @property
    def widget(self) -> DashboardWidget:
        """The anywidget that draws the panels.

        Raises
        ------
        MissingDependency
            When anywidget is not installed.
        """
        with self._lock:
            if self._widget is None:
                try:
                    from .widget import DashboardWidget, packed
                except ImportError:
                    raise MissingDependency("anywidget", purpose="a dashboard that moves", extra="notebook") from None
                self._updates.again()
                state = self._changes(everything=True)
                figures = meanings() if "statistics" in self.panels else {}
                self._widget = DashboardWidget(place=uuid4().hex, panels=self.panels, meanings=figures, **packed(state))
                self._widget.on_msg(self._on_message)
            return self._widget

    # -- messages of the browser ---------------------------------------------------------------------------------------

    def _on_message(self, widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        """Answer a browser view: a window in detail, the events of a signal, another run, bars for its width."""
        on_message(widget, content)
        with self._lock:
            match content.get("kind"):
                case "bknb-press":
                    widget.show(self._changes())
                case "window":
                    points = min(max(int(content["points"]), 50), 6000)
                    found = self._updates.window(
                        start_ms=int(content["from"]), end_ms=int(content["to"]), points=points
                    )
                    widget.answer({"kind": "window", "request": content["request"], "view": content["view"], **found})
                case "story":
                    view = self._views.view
                    text = view.why(content["id"]) if view is not None else ""
                    widget.answer({"kind": "story", "id": content["id"], "view": content["view"], "text": text})
                case "select":
                    key = tuple(content["key"])
                    if key in self._views.views:
                        self._views.select(key)
                        widget.show(self._changes(everything=True))
                case "width":
                    points = min(max(int(content["points"]), 200), 4000)
                    if points > self._updates.points * 1.25:
                        self._updates.set_points(points)
                        widget.show(self._changes(everything=True))
                case _:
                    pass
