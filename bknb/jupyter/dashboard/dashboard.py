"""Dashboards: panels that follow a run as it happens, and stay readable in the saved notebook."""

from __future__ import annotations

import base64
import threading
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import bknb

from ...errors import MissingDependency, UsageError
from ...market.clock import stopwatch
from ...reports.markup import day_text
from ...reports.panel_data import meanings
from ...reports.run_view import PANELS, Watch
from ...reports.run_views import Board
from ..kernel import cell_id, execution_id, front_end_draws, in_kernel, ipython
from ..run_controls import Switch, hear
from . import static_html
from .event_pump import Pump
from .updates import Frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .widget import Surface

WIDGET_MIME: Final = "application/vnd.jupyter.widget-view+json"
_HINT: Final = "a dashboard that moves needs anywidget: pip install 'bknb[notebook]'"
_ALSO_CALLED: Final = {"progress": "status", "drawdown": "equity", "open": "signals", "errors": "problems"}
_DONE_SECONDS: Final = 5.0  # a run that has announced its end hands out its result within this


def dashboard(shown: Any = None, *, panels: Sequence[str] | str | None = None) -> Dashboard:
    """Panels that follow a run as it happens, or show a finished one.

    Parameters
    ----------
    shown : task, Result, Comparison or None
        What ``bknb.Backtest.background``, ``bknb.Live.background`` or ``bknb.Walker.background`` returned, a finished
        result or comparison, or None for everything that is running and whatever starts later.
    panels : sequence of str, or None
        Which panels: ``"status"`` (with the progress), ``"price"``, ``"equity"``, ``"signals"``, ``"trades"``,
        ``"statistics"``, ``"risk"``, ``"milestones"``, ``"problems"``, ``"timings"``, ``"walker"``, ``"runs"``. By
        default all that fit. ``bknb.panels`` has each of them alone.

    Returns
    -------
    Dashboard
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
    return Dashboard(shown, panels=_chosen(panels, shown))


_COMPARED: Final = ("status", "problems", "walker")


def _chosen(panels: Sequence[str] | str | None, shown: Any) -> list[str]:
    if panels is None:
        if hasattr(shown, "walker"):
            return [*_COMPARED]
        return [panel for panel in PANELS if panel != "runs" or shown is None]
    given = [panels] if isinstance(panels, str) else list(panels)
    wanted = [_ALSO_CALLED.get(panel, panel) for panel in given]
    unknown = [panel for panel in wanted if panel not in PANELS]
    if unknown or not wanted:
        what = f"no panel is called {unknown[0]!r}" if unknown else "panels= needs at least one panel"
        raise UsageError(f"{what}\nthe panels: {', '.join(PANELS)}")
    return [panel for panel in PANELS if panel in wanted]


# -- what is shown -------------------------------------------------------------------------------------------------


def _title(strategy: str, symbol: str, frame: Any, start: int | None, end: int | None) -> str:
    named = frame or (f"{day_text(start)} to {day_text(end)}" if start is not None and end is not None else "")
    return " · ".join(part for part in (strategy, symbol, named) if part)


def _watch_result(result: Any) -> Watch:
    """A finished run, told from its records."""
    title = _title(result.strategy, result.symbol, result.frame, result.start, result.end)
    watch = Watch(result.symbol, result.strategy, start_ms=result.start, end_ms=result.end, title=title)
    watch.take_all(result.events)
    watch.take_all([*result.milestones, *result.refused, *result.rejections])
    _complete(watch, result)
    return watch


def _complete(watch: Watch, result: Any) -> None:
    """What only the end of a run can tell."""
    watch.found_candles(result.candles)
    for failure in result.errors:
        watch.failure(failure)
    watch.warn(result.warnings)
    watch.ended("stopped" if result.stopped else "fulfilled")


def _watch_comparison(comparison: Any) -> Watch:
    """A finished comparison."""
    title = _title(comparison.walker, comparison.symbol, comparison.frame, comparison.start, comparison.end)
    watch = Watch(comparison.symbol, comparison.walker, mode="walker", title=title)
    watch.compared(comparison)
    watch.ended("stopped" if comparison.stopped else "fulfilled")
    return watch


def _mode(task: Any) -> str:
    """What is watched: a backtest, a live run or a comparison."""
    return "walker" if task.kind == "comparison" else str(task.mode)


def _watch_task(task: Any) -> Watch:
    """A task as far as it has come."""
    frame = getattr(getattr(task, "plan", None), "frame", None)
    start, end = getattr(frame, "start", None), getattr(frame, "last", None)
    watch = Watch(
        task.symbol,
        task.strategy,
        mode=_mode(task),
        start_ms=start,
        end_ms=end,
        interval=getattr(frame, "interval", "1m"),
        title=_title(task.strategy, task.symbol, getattr(frame, "name", None), start, end),
    )
    watch.processed, watch.total = getattr(task, "processed", 0), getattr(task, "total", 0)
    return watch


def _tasks() -> list[Any]:
    """The newest task of every run there is, of whatever kind."""
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
        self._switches: dict[int, Switch] = {}
        self._task: Any = None
        self._tasks: dict[int, Any] = {}
        self._ended: set[int] = set()
        self._known: dict[int, Any] = {}  # events told by a task itself; those heard again are left out
        self._surface: Surface | None = None
        self._handles: list[Any] = []
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._pump: Pump | None = None
        if shown is None:
            self._board = Board()
        elif hasattr(shown, "trades") and hasattr(shown, "candles") and hasattr(shown, "stats"):
            self._board = Board(_watch_result(shown))
        elif hasattr(shown, "status") and hasattr(shown, "symbol") and hasattr(shown, "done"):
            self._task = shown
            self._board = Board(_watch_task(shown))
        elif hasattr(shown, "walker") and hasattr(shown, "entries"):
            self._board = Board(_watch_comparison(shown))
        else:
            raise UsageError(
                f"a dashboard shows a task, a result, or (without one) everything that runs; got {shown!r:.80}\n"
                "a task comes from bknb.Backtest.background(...), a result from bknb.backtest(...)"
            )
        self._frames = Frames(self._board, panels, seconds=stopwatch)
        _register(self)
        if self._task is None and shown is not None:
            self._over.set()
        else:
            self._follow()

    # -- following ---------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Listen first, then catch up: nothing can fall between the two."""
        self._pump = Pump(self._frame)
        with self._lock:
            self._pump.start()
            for task in [self._task] if self._task is not None else [each for each in _tasks() if not each.done]:
                self._catch_up(task)

    def _catch_up(self, task: Any) -> None:
        watch = self._board.only
        if watch is None:
            watch = _watch_task(task)
            self._board.add(watch)
        self._tasks[id(watch)] = task
        for event in getattr(task, "events_so_far", ()):
            self._known[id(event)] = event
            watch.take(event)

    def _frame(self, events: list[Any]) -> bool | None:
        """One beat of the pump: take what was heard, tell the browser; None at the end of the run."""
        try:
            return self._take(events)
        except BaseException:
            self._over.set()  # nobody waits for a picture that will not come
            raise

    def _take(self, events: list[Any]) -> bool | None:
        with self._lock:
            for event in events:
                if self._known.pop(id(event), None) is None:
                    self._board.take(event)
            self._look_after_tasks()
            only = self._board.only
            over = only is not None and (only.over or self._task.done)
            if self._surface is not None:
                self._surface.show(self._news(everything=over))
        if over:
            self._settle()
            return None
        return self._frames.more

    def _news(self, *, everything: bool = False) -> dict[str, Any]:
        """What has changed since the last frame, the buttons of the run among it."""
        state = self._frames.next(everything=everything)
        buttons = self._buttons()
        if buttons != self._pressed:
            self._pressed = state["controls"] = buttons
        return state

    _pressed: dict[str, Any] | None = None

    def _buttons(self) -> dict[str, Any]:
        """The buttons of the run that is shown, as ``controls.js`` draws them; none for a finished one."""
        task = self._tasks.get(id(self._board.watch))
        if task is None or "status" not in self.panels:
            return {}
        if id(task) not in self._switches:
            self._switches[id(task)] = Switch(task)
        return self._switches[id(task)].state()

    def _look_after_tasks(self) -> None:
        """The candles of each run, once they are loaded, and its result, once it is over: both asked for once."""
        for watch in self._board.watches.values():
            task = self._tasks.get(id(watch))
            if task is None:
                task = next((t for t in _tasks() if (_mode(t), t.symbol, t.strategy) == watch.key), None)
                if task is None:
                    continue
                self._tasks[id(watch)] = task
                told = _watch_task(task)
                watch.start_ms, watch.end_ms, watch.title = told.start_ms, told.end_ms, told.title
                watch.step_minutes = told.step_minutes
            if hasattr(task, "candles") and (watch.candles is None or (watch.mode == "live" and not watch.over)):
                watch.found_candles(task.candles)
            facts = getattr(task, "facts", None)
            if facts is not None and facts != watch.state:
                watch.say_state(facts)
            if (watch.over or task.done) and id(watch) not in self._ended:
                self._ended.add(id(watch))
                self._heard_the_end(watch, task)

    def _heard_the_end(self, watch: Watch, task: Any) -> None:
        task.wait(_DONE_SECONDS)
        if task.status == "fulfilled":
            result = task.result()
            if watch.mode == "walker":
                watch.compared(result)
                watch.ended("stopped" if result.stopped else "fulfilled")
            elif hasattr(result, "candles"):
                _complete(watch, result)
            else:
                watch.ended("fulfilled")
        elif task.status == "rejected":
            try:
                task.result()
            except BaseException as error:  # noqa: BLE001 -- shown, whatever it is; the task still has it
                watch.failed(f"{type(error).__name__}: {error}")

    def _settle(self) -> None:
        """Leave the final picture in the notebook."""
        try:
            for handle in self._handles:
                self._update(handle)
        finally:
            self._over.set()

    @property
    def live(self) -> bool:
        """Whether it still listens."""
        return self._pump is not None and self._pump.listening

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run is over and its final picture is in the notebook; returns whether it is."""
        return self._over.wait(timeout)

    def close(self) -> None:
        """Listen no more; what is shown stays, and is stored as it is now."""
        if self.live:
            self.leave()
            self._settle()
        _forget(self)

    def leave(self) -> None:
        """Listen no more; for a cell that is run again and has forgotten what it showed."""
        if self._pump is not None:
            self._pump.close()
        self._over.set()
        if self._surface is not None:
            self._surface.close()

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
            return static_html.still_text(self._board.watch)

    def _bundle(self, *, drawn: bool = True) -> tuple[dict[str, Any], dict[str, Any]]:
        """The dashboard for a notebook: what remains without it, in whose place the widget steps while it lives.

        The picture is left out unless ``drawn``.
        """
        hint = place = ""
        if front_end_draws():
            try:
                place = self.surface.place
            except MissingDependency:
                hint = _HINT
        with self._lock:
            watch = self._board.watch
            charts = drawn and {"price", "equity"} & set(self.panels)
            png = static_html.still_png(watch) if charts and watch is not None else None
            html = static_html.still_html(watch, self.panels, png=png, hint=hint, place=place)
            data: dict[str, Any] = {"text/plain": static_html.still_text(watch), "text/html": html}
        metadata: dict[str, Any] = {}
        if png is not None:
            data["image/png"] = base64.b64encode(png).decode("ascii")
            metadata["image/png"] = {"alt": data["text/plain"]}
        if place and not _finds_places():
            data[WIDGET_MIME] = {"version_major": 2, "version_minor": 0, "model_id": self.surface.model_id}
        return data, metadata

    @property
    def surface(self) -> Surface:
        """The widget that draws.

        Raises
        ------
        MissingDependency
            When anywidget is not installed.
        """
        with self._lock:
            if self._surface is None:
                try:
                    from .widget import Surface, packed
                except ImportError:
                    raise MissingDependency("anywidget", purpose="a dashboard that moves", extra="notebook") from None
                self._frames.again()
                state = self._news(everything=True)
                said = meanings() if "statistics" in self.panels else {}
                self._surface = Surface(place=uuid4().hex, panels=self.panels, meanings=said, **packed(state))
                self._surface.on_msg(self._asked)
            return self._surface

    # -- questions of the browser --------------------------------------------------------------------------------------

    def _asked(self, surface: Any, content: dict[str, Any], _buffers: Any) -> None:
        """A view wants a window in detail, the story of a signal, another run, or bars for its width."""
        hear(surface, content)
        with self._lock:
            match content.get("kind"):
                case "bknb-press":
                    surface.show(self._news())
                case "window":
                    points = min(max(int(content["points"]), 50), 6000)
                    found = self._frames.window(start_ms=int(content["from"]), end_ms=int(content["to"]), points=points)
                    surface.answer({"kind": "window", "ask": content["ask"], "view": content["view"], **found})
                case "why":
                    watch = self._board.watch
                    told = watch.why(content["id"]) if watch is not None else ""
                    surface.answer({"kind": "why", "id": content["id"], "view": content["view"], "text": told})
                case "select":
                    key = tuple(content["key"])
                    if key in self._board.watches:
                        self._board.selected = key
                        self._board.version += 1
                        surface.show(self._news(everything=True))
                case "width":
                    points = min(max(int(content["points"]), 200), 4000)
                    if points > self._frames.points * 1.25:
                        self._frames.points = points
                        self._frames.again()
                        surface.show(self._news(everything=True))
                case _:
                    pass


# -- who is there --------------------------------------------------------------------------------------------------

_cells: dict[str, tuple[str, list[Dashboard]]] = {}
"""The dashboards of each notebook cell, with the execution that made them."""


def _finds_places() -> bool:
    """Whether the front end runs widgets that no output refers to: JupyterLab and Notebook 7 do."""
    return ":" not in cell_id()  # VS Code names its cells by addresses


def _register(board: Dashboard) -> None:
    """A cell that is run again replaces what it made before."""
    cell, execution = cell_id(), execution_id()
    if not cell:
        return
    before, made = _cells.get(cell, ("", []))
    if before != execution:
        _cells[cell] = (execution, [])
        for old in made:
            old.leave()
    _cells[cell][1].append(board)


def _forget(board: Dashboard) -> None:
    for execution, made in [*_cells.values()]:
        if board in made and execution:
            made.remove(board)
