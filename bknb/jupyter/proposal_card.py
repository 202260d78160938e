"""Proposals shown in a notebook: a card whose buttons insert cells, or the path of the file that holds them."""

from __future__ import annotations

import importlib.util
from typing import Any

from ..reports.markup import element, fragment
from .kernel import cell_id, in_kernel, ipython
from .widget_class import widget_class


def card(proposed: Any, *, cell: str) -> Any:
    """The card of :class:`bknb.optimizer.insert_and_export.ProposalCells`; ``cell`` is the id of its cell."""
    cells = [
        {"kind": each.kind, "source": each.source, "strategy": each.strategy, "metadata": each.metadata}
        for each in proposed.cells
    ]
    kind = widget_class(
        "ProposalCard", "The widget of a proposal card; everything it shows was written by bknb.", scripts=("card.js",),
        state=(("panel", "Unicode"), ("path", "Unicode"), ("cell_id", "Unicode"), ("cells", "List")),
        purpose="buttons that insert cells",
    )  # fmt: skip
    return kind(panel=proposed.proposals._repr_html_(), path=str(proposed.path), cell_id=cell, cells=cells)


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
