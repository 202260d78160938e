"""Progress in a notebook: a line that is replaced, with buttons where a front end looks, and a sentence at the end."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from typing import Any, Final

from ..reports.markup import Html, element
from ..reports.progress_text import progress_text
from .kernel import front_end_draws, in_kernel, ipython
from .run_buttons import RunControls, on_message
from .widget_class import widget_class

_TRACK: Final = "height:8px;max-width:420px;border-radius:4px;background:rgba(128,128,128,0.25)"
_FILLED: Final = "height:8px;border-radius:4px;background:#3b82d6"


class ProgressLine(ABC):
    """A progress line in the output of a cell, replaced by a sentence at the end.

    Parameters
    ----------
    label : str
        What runs, such as ``backtest sma-cross BTCUSDT``.
    """

    def __init__(self, label: str) -> None:
        self.label = label

    def update(self, fraction: float, *, seconds: float, facts: list[str]) -> None:
        """Show progress (0 to 1), facts, and the time left."""
        percent, text = progress_text(fraction, seconds=seconds, facts=facts)
        self.show(text, percent=percent)

    @abstractmethod
    def show(self, text: str, *, percent: int | None) -> None:
        """Show a text, with a bar where ``percent`` is given; called a few times a second."""

    @abstractmethod
    def close(self, text: str) -> None:
        """Replace the line by a sentence, which a saved notebook shows."""


class HtmlLine(ProgressLine):
    """A line of HTML with a bar. Outside of a kernel nothing is shown: a terminal cannot replace an output."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self._handle: Any = None
        self._last = ""

    def show(self, text: str, *, percent: int | None) -> None:
        """Show a text, and a bar under it where ``percent`` is given."""
        text = f"{self.label}: {text}"
        bar = None if percent is None else self._bar(percent)
        html = element("div", element("span", text, role="status"), bar)
        self._display({"text/html": html, "text/plain": text})

    def _bar(self, percent: int) -> Html:
        filled = element("div", style=f"width:{percent}%;{_FILLED}")
        values = {"aria_valuemin": 0, "aria_valuemax": 100, "aria_valuenow": percent}
        return element("div", filled, role="progressbar", **values, aria_label=self.label, style=_TRACK)

    def close(self, text: str) -> None:
        """Replace the line by a sentence."""
        self._display(_sentence(f"{self.label}: {text}"))

    def _display(self, data: dict[str, Any]) -> None:
        if data["text/plain"] == self._last or not in_kernel():
            return
        self._last = data["text/plain"]
        if self._handle is None:
            self._handle = ipython("display").display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)


class ControlBar(ProgressLine):
    """Progress and buttons of a run.

    Parameters
    ----------
    switch : RunControls
        The run's buttons.
    always : bool
        Whether the sentence is left also when the run was over before there was a bar.
    """

    def __init__(self, switch: RunControls, *, always: bool = False) -> None:
        super().__init__(switch.label)
        self.switch = switch
        self._always = always
        self._widget: Any = None
        self._handle: Any = None

    def show(self, text: str, *, percent: int | None) -> None:
        """Show the progress of the run beside its buttons."""
        state = self.switch.state(text=text, percent=percent)
        if self._widget is None:
            self._open(state)
        else:
            self._widget.controls = state

    def _open(self, state: dict[str, Any]) -> None:
        bar = widget_class(
            "ControlBar", "The control bar of one run.", scripts=("controls.js", "bar.js"),
            state=(("controls", "Dict"),), purpose="buttons beside a run",
        )  # fmt: skip
        self._widget = bar(controls=state)
        self._widget.on_msg(on_message)
        view = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        running = f"{self.label}: was running when this was saved"
        data = {
            "application/vnd.jupyter.widget-view+json": view,
            "text/html": element("div", running, role="status"),
            "text/plain": running,
        }
        self._handle = ipython("display").display(data, raw=True, display_id=True)

    def close(self, text: str) -> None:
        """Replace the buttons by a sentence."""
        data = _sentence(f"{self.label}: {text}")
        if self._widget is not None:
            self._handle.update(data, raw=True)
            self._widget.close()
            self._widget = None
        elif self._always:
            ipython("display").display(data, raw=True)


def _sentence(text: str) -> dict[str, Any]:
    """The mimebundle of the final sentence."""
    html = element("div", text, role="status", style="opacity:0.75;font-size:90%")
    return {"text/html": html, "text/plain": text}


def buttons_work() -> bool:
    """Whether a front end with widgets ran the cell."""
    return importlib.util.find_spec("anywidget") is not None and front_end_draws()


def progress_line(task: Any, label: str | None = None) -> ProgressLine:
    """The progress line of a task that a cell waits for: with buttons where a front end shows widgets."""
    switch = RunControls(task, label=label, foreground=True)
    return ControlBar(switch, always=True) if buttons_work() else HtmlLine(switch.label)
