"""Where a cell runs, as IPython reports it: kernel or terminal, front end, cell."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def ipython(module: str) -> Any:
    """A module of IPython; imported when it is needed, because bknb works without it."""
    return importlib.import_module(f"IPython.{module}")


def in_kernel() -> bool:
    """Whether the code runs in a notebook kernel, not in a terminal."""
    return _kernel() is not None


def _kernel() -> Any:
    """The kernel this process is; ``None`` outside of one, as in every process that has not imported IPython."""
    if "IPython" not in sys.modules:
        return None
    return getattr(ipython("core.getipython").get_ipython(), "kernel", None)


def cell_id() -> str:
    """The id of the running cell, as JupyterLab and Notebook 7 send it; empty elsewhere."""
    return str((_parent().get("metadata") or {}).get("cellId") or "")


def execution_id() -> str:
    """The id of the execution of the running cell; empty where it is unknown."""
    return str((_parent().get("header") or {}).get("msg_id") or "")


def _parent() -> dict[str, Any]:
    """The message that requested the current execution."""
    kernel = _kernel()
    try:
        return kernel.get_parent() or {} if kernel is not None else {}
    except LookupError:  # ipykernel 7.0 in a thread that belongs to no cell
        return {}


def front_end_draws() -> bool:
    """Whether JupyterLab or Notebook 7 ran the cell.

    Their plotly renderer shows a PNG that lies beside the JSON instead of the chart one can zoom, and stores a PNG of
    its own once it has drawn. Whoever runs a notebook without a front end needs ours.
    """
    return bool(cell_id())
