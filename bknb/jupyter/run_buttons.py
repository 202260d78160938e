"""The buttons of a run: stop, stop now, pause and resume, also while the kernel is busy with a cell.

A press only sets a flag of the run, so it may arrive in any thread: as a message of the widget, as one silent line in a
subshell, or not at all, when the front end had to interrupt the kernel instead (see ``static/controls.js``).

A widget of another module gets the same buttons with a trait and a listener::

    switch = RunControls(task)
    class Dashboard(anywidget.AnyWidget):
        _esm = source("controls.js", "dashboard.js")   # there: mountControls({ model, el })
        controls = traitlets.Dict().tag(sync=True)     # set it to switch.state(...) whenever something has changed
    dashboard.on_msg(on_message)
"""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakValueDictionary

import bknb

from ..market.system_clock import stopwatch

State: TypeAlias = Literal["running", "paused", "stopping", "leaving", "over"]

_STATIC: Final = Path(__file__).parent / "static"
_STATUS_TEXT: Final[dict[State, str]] = {
    "running": "Running",
    "paused": "Paused: nothing new is opened, what is open is watched on",
    "stopping": "Stopping: nothing new is opened, an open position is watched to its end",
    "leaving": "Stopping now",
    "over": "Over",
}
_FINISHING: Final = "Stopping: what is under way is finished first"  # work without positions
_VIEWS_REMEMBERED: Final = 32
_ANSWER_SECONDS: Final = 60.0
_BY_HAND: Final[dict[str, tuple[str, str]]] = {
    "close": ("Close position", "Close the open position, at the market"),
    "reduce": ("Close half", "Close half of the open position, at the market"),
    "cancel": ("Cancel entry", "Take back the entry that waits"),
    "activate": ("Open now", "Open the entry that waits, at the market"),
}
"""Decisions by hand that have a button: its text, and what it does."""

_controls: WeakValueDictionary[str, RunControls] = WeakValueDictionary()


class RunControls:
    """The buttons of one task: their actions and their state.

    Parameters
    ----------
    task : Task
        Anything with ``stop``, ``pause``, ``resume``, ``paused``, ``stopping``, ``can_pause`` and ``done``.
    label : str, optional
        What runs, such as ``backtest sma-cross BTCUSDT``.
    foreground : bool
        Whether a cell waits for this very task; then the front end may interrupt the kernel to stop it.
    seconds : callable
        A stopwatch: what was answered to a decision by hand is shown for a minute.

    Examples
    --------
    >>> import bknb
    >>> task = bknb.Backtest.background("BTCUSDT", strategy=lambda: None, exchange="demo",
    ...                                 frame=("2024-01-01", "2024-01-02"))
    >>> switch = RunControls(task)
    >>> switch.press("stop"), switch.state()["label"]
    (True, 'backtest <lambda> BTCUSDT')
    """

    def __init__(
        self,
        task: Any,
        *,
        label: str | None = None,
        foreground: bool = False,
        seconds: Callable[[], float] = stopwatch,
    ) -> None:
        self.task = task
        self.label = label or label_of(task)
        self.foreground = foreground
        self.id = uuid.uuid4().hex[:12]
        self._pressed: dict[str, int] = {}
        self._stopped = ""
        self._seconds = seconds
        self._answer = ("", 0.0)  # to the last decision by hand, and when it is no longer shown
        _controls[self.id] = self

    def press(self, action: str, *, view: str = "", number: int | None = None, signal: str = "") -> bool:
        """Apply an action; a press not newer than the last one of its view is ignored. Returns whether it is known.

        A decision by hand is about ``signal``, the id in its row of ``state``, or the ids of several places; it is
        refused when others are there now.
        """
        if number is not None:
            if number <= self._pressed.get(view, 0):
                return True
            if view not in self._pressed and len(self._pressed) >= _VIEWS_REMEMBERED:
                self._pressed.pop(next(iter(self._pressed)))
            self._pressed[view] = number
        match action:
            case "stop":
                self._stopped = self._stopped or "entries"
                self.task.stop()
            case "stop_now":
                self._stopped = "now"
                self.task.stop(now=True)
            case "pause":
                self.task.pause()
            case "resume":
                self.task.resume()
            case _ if action in _BY_HAND and action not in self.by_hand:  # it has ended since it was drawn
                self._say(f"{_BY_HAND[action][0]}: there is nothing for it any more")
            case _ if action in _BY_HAND and signal != (there := self._signal_id()):
                was_for = f"it was for {signal}, and {there} is there now" if signal else f"{there} is there now"
                self._say(f"{_BY_HAND[action][0]}: {was_for}; click again")
            case _ if action in _BY_HAND:
                self._answer = (f"{_BY_HAND[action][0]} …", math.inf)
                decide = partial(self.task.reduce, 0.5) if action == "reduce" else getattr(self.task, action)
                threading.Thread(target=self._decide, args=(decide,), name="bknb-by-hand", daemon=True).start()
            case _:
                return False
        return True

    @property
    def by_hand(self) -> list[str]:
        """The decisions by hand that have something to act on now and a button."""
        return [name for name in getattr(self.task, "decisions", ()) if name in _BY_HAND]

    def _signal_id(self) -> str:
        """The ids of what is open or waits, of all places; empty where nothing is known of it yet."""
        return ", ".join(position.id for position in self.task.positions)

    def _say(self, answer: str) -> None:
        self._answer = (answer, self._seconds() + _ANSWER_SECONDS)

    def _decide(self, decide: Callable[[], str]) -> None:
        """Decide by hand, and keep the answer; a disk may take its time, so the front end does not wait for it."""
        try:
            self._say(decide())
        except bknb.BknbError as error:
            self._say(str(error))
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}")
            raise

    @property
    def status(self) -> State:
        """The state of the run: ``running``, ``paused``, ``stopping``, ``leaving`` or ``over``."""
        task = self.task
        if task.done:
            return "over"
        stopping = task.stopping or self._stopped  # not every kind of work reports it
        if stopping:
            return "leaving" if stopping == "now" else "stopping"
        return "paused" if task.paused else "running"

    def state(self, *, text: str = "", percent: int | None = None, status_text: str | None = None) -> dict[str, Any]:
        """The state that ``mountControls`` draws; ``text`` and ``percent`` are the progress of the run."""
        status = self.status
        if status_text is None:
            status_text = _FINISHING if status == "stopping" and not self.task.can_pause else _STATUS_TEXT[status]
            answer, until = self._answer
            if answer and status != "over" and self._seconds() < until:
                status_text = f"{status_text} · {answer}"
        state: dict[str, Any] = {
            "id": self.id,
            "label": self.label,
            "state": status,
            "status_text": status_text,
            "text": text,
            "percent": percent,
            "foreground": self.foreground,
            "can_pause": bool(self.task.can_pause),
        }
        if hasattr(self.task, "decisions"):
            names = self.by_hand
            signal = self._signal_id() if names else ""
            state["by_hand"] = [[name, *_BY_HAND[name], signal] for name in names]
        return state


def label_of(task: Any) -> str:
    """Kind, strategy and symbol of a task."""
    return f"{task.kind} {task.strategy} {task.symbol}"


def press(given: str | Mapping[str, Any]) -> bool:
    """Apply the press of a button, given as a mapping or as JSON; returns whether its run was found.

    Examples
    --------
    >>> press('{"id": "nobody", "action": "stop"}')
    False
    """
    message = json.loads(given) if isinstance(given, str) else given
    controls = _controls.get(message["id"])
    if controls is None:
        return False
    return controls.press(
        message["action"],
        view=message.get("view", ""),
        number=message.get("number"),
        signal=message.get("signal", ""),
    )


def on_message(widget: Any, content: Any, _buffers: Any = None) -> None:
    """Handle a message of a widget: apply a press and acknowledge it to the front end."""
    if isinstance(content, Mapping) and content.get("kind") == "bknb-press":
        press(content)
        widget.send({"kind": "bknb-ack", "view": content.get("view"), "number": content.get("number")})


@cache
def source(*names: str) -> str:
    """The named files of ``static/`` as one JavaScript module; ``controls.js`` comes first."""
    return "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in names)
