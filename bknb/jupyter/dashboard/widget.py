"""The anywidget of a dashboard: one for all its panels, its JavaScript included."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import anywidget
import numpy as np
import traitlets

from ..run_buttons import source

_STATIC: Final = Path(__file__).parent.parent / "static"
_KINDS: Final = {"f": {8: "f8", 4: "f4"}, "i": {1: "i1"}}


def packed(value: Any) -> Any:
    """The value with its arrays as ``{"f8": bytes}``, sent without conversion to text.

    Examples
    --------
    >>> packed({"time": np.array([0.0]), "step": 3})["step"]
    3
    """
    if isinstance(value, np.ndarray):
        kind = _KINDS[value.dtype.kind][value.dtype.itemsize]
        return {kind: np.ascontiguousarray(value, dtype=f"<{kind}").tobytes()}
    return {key: packed(each) for key, each in value.items()} if isinstance(value, dict) else value


def in_message(value: Any, buffers: list[bytes]) -> Any:
    """The value with its arrays as ``{"f8": index}``; their bytes are appended to ``buffers``.

    Examples
    --------
    >>> buffers = []
    >>> in_message({"time": np.array([1.0])}, buffers), len(buffers)
    ({'time': {'f8': 0}}, 1)
    """
    if isinstance(value, np.ndarray):
        (kind, data), *_ = packed(value).items()
        buffers.append(data)
        return {kind: len(buffers) - 1}
    return {key: in_message(each, buffers) for key, each in value.items()} if isinstance(value, dict) else value


class DashboardWidget(anywidget.AnyWidget):
    """The widget in the browser; every trait is the last state sent to one part of it.

    On a page it looks for elements of the class ``bknb-of-`` and ``place``, and replaces their content.
    """

    _esm = source("controls.js", "stored.js", "dashboard.js")
    _css = (_STATIC / "dashboard.css").read_text(encoding="utf-8")

    place = traitlets.Unicode().tag(sync=True)
    panels: Any = traitlets.List().tag(sync=True)
    points = traitlets.Int(1000).tag(sync=True)
    controls = traitlets.Dict().tag(sync=True)
    head = traitlets.Dict().tag(sync=True)
    bars = traitlets.Dict().tag(sync=True)
    equity = traitlets.Dict().tag(sync=True)
    trades = traitlets.Dict().tag(sync=True)
    signals = traitlets.Dict().tag(sync=True)
    managed = traitlets.Dict().tag(sync=True)
    figures: Any = traitlets.List().tag(sync=True)
    meanings = traitlets.Dict().tag(sync=True)
    tables = traitlets.Dict().tag(sync=True)
    runs: Any = traitlets.List().tag(sync=True)

    def show(self, state: dict[str, Any]) -> None:
        """Send the changed traits to the browser in one message."""
        with self.hold_sync():
            for name, value in state.items():
                setattr(self, name, packed(value))

    def answer(self, content: dict[str, Any]) -> None:
        """Send the answer to a message of one browser view."""
        buffers: list[bytes] = []
        self.send(in_message(content, buffers), buffers)
