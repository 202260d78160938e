"""Classes of widgets, made when the first one is shown, because anywidget takes a while to import."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from bknb import MissingDependency

from .run_buttons import source

_STATIC: Final = Path(__file__).parent / "static"


@cache
def widget_class(
    name: str, doc: str, *, scripts: tuple[str, ...], state: tuple[tuple[str, str], ...], purpose: str, css: str = ""
) -> type[Any]:
    """The class of a widget.

    Parameters
    ----------
    name, doc
        Its name, and what it is.
    scripts, css
        Its files below ``static/``; of the scripts ``controls.js`` comes first.
    state
        The values it shares with the browser: the name and the traitlet of each, such as ``("title", "Unicode")``.
    purpose
        What it is needed for, for the message.

    Raises
    ------
    MissingDependency
        anywidget is not installed.
    """
    try:
        anywidget, traitlets = importlib.import_module("anywidget"), importlib.import_module("traitlets")
    except ImportError:
        raise MissingDependency("anywidget", purpose=purpose, extra="notebook") from None
    members = {"__doc__": doc, "_esm": source(*scripts)}
    if css:
        members["_css"] = (_STATIC / css).read_text(encoding="utf-8")
    values = {each: getattr(traitlets, kind)().tag(sync=True) for each, kind in state}
    return type(name, (anywidget.AnyWidget,), {**members, **values})
