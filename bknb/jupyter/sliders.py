"""Sliders over the parameters of a strategy in a notebook: what moves them, and what a saved notebook has of them."""

from __future__ import annotations

import base64
import contextvars
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

from bknb import MissingDependency

from ..reports.asked_and_missed import parameters_text
from ..reports.sliders_report import panel_html, sliders_png, sliders_text, static_html, title_text
from .kernel import cell_id, front_end_draws, in_kernel, ipython
from .stored_outputs import WIDGET_MIME, finds_places, register
from .widget_class import widget_class

_STATE: Final = (
    ("place", "Unicode"), ("cell_id", "Unicode"), ("title", "Unicode"), ("sliders", "List"), ("shown", "Dict"),
)  # fmt: skip
_HINT: Final = "sliders that move need anywidget: pip install 'bknb[notebook]'"


_KINDS: Final = ("settle", "moved", "move")


def _urgency(content: Mapping[str, Any]) -> int:
    """The place of a message among those of which one waits: the one behind takes the place of the one before."""
    kind = content.get("kind")
    return _KINDS.index(kind) if kind in _KINDS else -1


def show(sliders: Any, kept: Callable[[Mapping[str, Any]], str] | None = None) -> None:
    """Show sliders, or where no front end looks on the combination they are at.

    Parameters
    ----------
    sliders : Interact
        What ``bknb.interact`` returned.
    kept
        From the value of each slider to the cell that runs them as a backtest, empty where none can be written; by
        default a cell with them as ``params``.
    """
    if not in_kernel():
        print(repr(sliders))  # noqa: T201 -- a terminal shows text
        return
    ShownSliders(sliders, kept or _as_params).show()


def _as_params(values: Mapping[str, Any]) -> str:
    return f"params = {dict(values)!r}"


class ShownSliders:
    """Sliders in the output of one cell.

    Parameters
    ----------
    sliders, kept
        As for :func:`show`.
    """

    def __init__(self, sliders: Any, kept: Callable[[Mapping[str, Any]], str]) -> None:
        self._sliders, self._kept = sliders, kept
        self._lock = threading.Lock()
        self._wanted: Mapping[str, Any] | None = None  # the newest message that nobody has worked on
        self._works = False
        self._own = threading.local()  # whether a thread is that which works on messages
        self._left = False
        self._handle: Any = None
        self.widget: Any = None

    def show(self) -> None:
        """Show it here."""
        hint = ""
        if front_end_draws():
            try:
                kind = widget_class(
                    "Sliders", "Sliders in the browser, and the combination they are at.",
                    scripts=("stored.js", "sliders.js"), css="sliders.css", state=_STATE, purpose="sliders that move",
                )  # fmt: skip
                self.widget = kind(
                    place=uuid4().hex,
                    cell_id=cell_id(),
                    title=title_text(self._sliders),
                    sliders=[
                        {"name": name, "texts": list(map(str, each))} for name, each in self._sliders.values.items()
                    ],
                    shown=self._state({}),
                )
            except MissingDependency:
                hint = _HINT
        data, metadata = self._bundle(hint=hint)
        self._handle = ipython("display").display(data, metadata=metadata, raw=True, display_id=True)
        if self.widget is not None:
            self._context = contextvars.copy_context()  # what is printed later belongs to the cell that showed it
            self.widget.on_msg(self._on_message)
            self._sliders.watch(self._moved)
            register(self)

    def leave(self) -> None:
        """Move no longer; for a cell that is run again."""
        self._left = True
        self._sliders.unwatch(self._moved)
        if self.widget is not None:
            self.widget.close()

    def _state(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The combination as ``static/sliders.js`` draws it, with the number of the message that asked for it."""
        params = self._sliders.params
        return {
            "at": self._sliders.places,
            "view": asked.get("view", ""),
            "number": asked.get("number", 0),
            "html": panel_html(self._sliders),
            "kept": self._kept(params),
            "params": parameters_text(params),
        }

    def _bundle(self, *, hint: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        """What a saved notebook shows, with its metadata."""
        place = "" if self.widget is None else self.widget.place
        text = sliders_text(self._sliders)
        data: dict[str, Any] = {
            "text/html": static_html(self._sliders, hint=hint, place=place),
            "text/plain": text,
        }
        metadata: dict[str, Any] = {}
        try:
            data["image/png"] = base64.b64encode(sliders_png(self._sliders)).decode("ascii")
            metadata["image/png"] = {"alt": text}
        except MissingDependency:
            pass
        if place and not finds_places():
            data[WIDGET_MIME] = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return data, metadata

    def _moved(self) -> None:
        """Move the handles on the page to where another cell, or other sliders of the same, have moved them."""
        if not getattr(self._own, "works", False):
            self._on_message(None, {"kind": "moved"}, None)

    # -- messages of the browser -------------------------------------------------------------------------------------

    def _on_message(self, _widget: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        """Note what is wanted; the newest message takes the place of one that was not worked on yet."""
        with self._lock:
            if self._wanted is not None and _urgency(content) < _urgency(self._wanted):
                return  # sliders have moved on
            self._wanted = content
            if self._works:
                return
            self._works = True
        threading.Thread(target=self._context.copy().run, args=(self._work,), name="bknb-sliders", daemon=True).start()

    def _work(self) -> None:
        """Work on the newest message until there is none."""
        self._own.works = True
        try:
            self._work_on_newest()
        except BaseException:
            with self._lock:
                self._works = False  # the next move is worked on
            raise

    def _work_on_newest(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None or self._left:
                    self._works = False
                    return
            if wanted.get("kind") == "move":
                self._sliders.place([int(at) for at in wanted["at"]])
                self.widget.shown = self._state(wanted)
            elif wanted.get("kind") == "moved":
                self.widget.shown = self._state({})
                self._store()
            elif wanted.get("kind") == "settle":
                self._store()

    def _store(self) -> None:
        """Replace the stored output by the combination, unless sliders have moved on meanwhile."""
        data, metadata = self._bundle()
        with self._lock:
            over = self._left or self._wanted is not None
        if not over:
            self._handle.update(data, metadata=metadata, raw=True)
