"""Proposals shown in a notebook: a card whose buttons insert cells, or the path of the file that holds them."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

from ..reports.markup import element, fragment
from .kernel import cell_id, in_kernel, ipython

_SCRIPT: Final = Path(__file__).parent / "static" / "card.js"


@cache
def _card_class() -> Any:
    anywidget = importlib.import_module("anywidget")
    traitlets = importlib.import_module("traitlets")

    class ProposalCard(anywidget.AnyWidget):  # type: ignore[name-defined,misc]
        """The widget of a proposal card; everything it shows was written by bknb."""

        _esm = _SCRIPT
        panel = traitlets.Unicode("").tag(sync=True)
        path = traitlets.Unicode("").tag(sync=True)
        cell_id = traitlets.Unicode("").tag(sync=True)
        cells = traitlets.List([]).tag(sync=True)

    return ProposalCard


def card(proposed: Any, *, cell: str) -> Any:
    """The card of :class:`bknb.optimizer.insert_and_export.ProposalCells`; ``cell`` is the id of its cell."""
    cells = [
        {"kind": each.kind, "source": each.source, "strategy": each.strategy, "metadata": each.metadata}
        for each in proposed.cells
    ]
    return _card_class()(panel=proposed.proposals._repr_html_(), path=str(proposed.path), cell_id=cell, cells=cells)


def static(proposed: Any) -> dict[str, Any]:
    """The static HTML stored in the notebook, shown where the widget is not."""
    html = proposed.proposals._repr_html_()
    where = element("div", "Everything as a notebook: ", element("code", str(proposed.path)))
    return {"text/html": fragment(html, where), "text/plain": repr(proposed)}


def show(proposed: Any) -> None:
    """Show proposals: as a card where a front end is looking, else the ranking and the path of the notebook."""
    if not in_kernel():
        print(repr(proposed))  # noqa: T201 -- a terminal shows text
        return
    data = static(proposed)
    cell = cell_id()
    if cell and importlib.util.find_spec("anywidget") is not None:
        widget = card(proposed, cell=cell)
        bundle = widget._repr_mimebundle_()
        view = bundle[0] if isinstance(bundle, tuple) else bundle
        key = "application/vnd.jupyter.widget-view+json"
        if view and key in view:
            data = {key: view[key], **data}
    ipython("display").display(data, raw=True)
