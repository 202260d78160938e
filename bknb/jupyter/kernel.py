"""What IPython knows of the place where a cell runs: kernel or terminal, which front end, which cell."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def ipython(module: str) -> Any:
    """A module of IPython; imported when it is needed, because bknb works without it."""
    return importlib.import_module(f"IPython.{module}")


def in_kernel() -> bool:
    """Whether a notebook (rather than a terminal) is looking."""
    return _kernel() is not None


def _kernel() -> Any:
    """The kernel this process is; ``None`` outside of one, as in every process that has not imported IPython."""
    if "IPython" not in sys.modules:
        return None
    return getattr(ipython("core.getipython").get_ipython(), "kernel", None)


def cell_id() -> str:
    """The cell that is running, as JupyterLab and Notebook 7 say; empty where no front end is looking."""
    return str((_parent().get("metadata") or {}).get("cellId") or "")


def execution_id() -> str:
    """The execution of the cell that is running; empty where nobody knows."""
    return str((_parent().get("header") or {}).get("msg_id") or "")


def _parent() -> dict[str, Any]:
    """The message that asked for what is being executed."""
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
