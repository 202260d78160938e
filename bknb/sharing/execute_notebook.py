"""Execution of notebooks with one interpreter, and their export as one HTML file that needs no network."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..domain.html import Html, element, fragment
from ..errors import MissingDependency, UsageError
from ..stores.atomic import write_named
from .fresh_environment import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PLOTLY_MIME: Final = "application/vnd.plotly.v1+json"
RESULT_KEY: Final = "bknb"

_ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Every script nbconvert would fetch from a network is left out; plotly.js goes in once, and only where it is needed.
_TEMPLATE = """{% extends 'lab/index.html.j2' %}
{% block html_head_js_requirejs %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}
{% if resources.plotly_js %}<script>{{ resources.plotly_js }}</script>{% endif %}
{% endblock %}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a notebook did not run to its end.

    Attributes
    ----------
    cell : int
        Number of the cell as shown beside it, ``[3]``; 0 when none had started.
    text : str
        Kind and text of the error; may have several lines.
    """

    cell: int
    text: str


def read_notebook(path: Path) -> Any:
    """The notebook at ``path`` as a node of nbformat.

    Raises
    ------
    UsageError
        When there is no such file, it is not a notebook, or it is not written in Python.
    MissingDependency
        When nbformat is not installed.
    """
    try:
        import nbformat
    except ImportError:
        raise MissingDependency("nbformat", purpose="reading a notebook", extra="notebook") from None
    if not path.is_file():
        raise UsageError(f"no notebook at {path}; expected the path of an .ipynb file")
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)  # type: ignore[no-untyped-call]
        language = notebook.metadata.get("kernelspec", {}).get("language", "python")
        notebook.cells  # noqa: B018 -- a file without cells is not a notebook
    except (ValueError, AttributeError, nbformat.ValidationError):
        raise UsageError(f"{path} is not a Jupyter notebook; expected an .ipynb file") from None
    if language.lower() != "python":
        raise UsageError(f"{path} is written in {language}; bknb runs notebooks written in Python")
    return notebook


def write_notebook(notebook: Any, path: Path) -> None:
    """Write an executed notebook, without the state of widgets.

    Raises
    ------
    UsageError
        When the disk did not take the file.
    """
    import nbformat

    notebook.metadata.pop("widgets", None)
    nbformat.validate(notebook)
    write_named(path, nbformat.writes(notebook).encode())  # type: ignore[no-untyped-call]


def execute(
    notebook: Any,
    *,
    folder: Path,
    timeout_seconds: int | None = None,
    on_summary: Callable[[int, str], None],
    python: Path | None = None,
) -> Failure | None:
    """Run every cell of ``notebook`` in place, in a kernel of this interpreter or of another one.

    Parameters
    ----------
    notebook
        What :func:`read_notebook` returned; its outputs are replaced.
    folder
        Working directory of the cells.
    timeout_seconds
        Longest time for one cell; ``None`` for no limit.
    on_summary
        Called with ``(cell number, text)`` for every bknb result, as soon as its cell is done.
    python
        The interpreter of the kernel; this one by default.

    Returns
    -------
    Failure or None
        The first cell that failed, or at which Ctrl-C came; the cells after it did not run and carry no outputs.
    """
    try:
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    except ImportError:
        raise MissingDependency("nbclient", purpose="running a notebook", extra="notebook") from None
    number = 0

    def started(**_: Any) -> None:
        nonlocal number
        number += 1

    def done(*, cell: Any, **_: Any) -> None:
        for text in summaries(cell):
            on_summary(number, text)

    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
    client = NotebookClient(
        notebook,
        timeout=timeout_seconds,
        kernel_name="python3",
        kernel_manager_class=_kernel_manager_of(sys.executable if python is None else str(python)),
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,  # the same notebook gives the same file
        on_cell_execute=started,
        on_cell_executed=done,
    )
    try:
        # the log of the kernel process is not about the notebook; what cells write arrives as output
        _until_done(client.async_execute(env=_kernel_environment(python), stderr=subprocess.DEVNULL))
    except CellExecutionError as error:
        return Failure(cell=number, text=_ANSI.sub("", f"{error.ename}: {error.evalue}"))
    except CellTimeoutError:
        return Failure(cell=number, text=f"took longer than {timeout_seconds} s")
    except DeadKernelError:
        return Failure(cell=number, text="the kernel died (out of memory, or a crash in compiled code)")
    except KeyboardInterrupt:
        return Failure(cell=number, text="interrupted")
    return None


def _until_done(work: Coroutine[Any, Any, Any]) -> None:
    """Run ``work`` in a thread of its own; Ctrl-C cancels it, waits for it to clean up, and is raised then.

    nbclient takes over Ctrl-C in the main thread, and loses track of its kernel when it comes.
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    done = threading.Event()

    def until_done() -> None:
        loop.run_until_complete(asyncio.wait([task]))
        for left_behind in asyncio.all_tasks(loop):
            left_behind.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        done.set()

    threading.Thread(target=until_done, name="bknb-notebook").start()
    try:
        while not done.wait(0.2):  # a bounded wait, so that Ctrl-C arrives on every platform
            pass
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(task.cancel)
        done.wait()
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost
        raise
    task.result()


def summaries(cell: Any) -> list[str]:
    """The text of each bknb result among the outputs of a cell."""
    return [
        output["data"]["text/plain"].strip()
        for output in cell.get("outputs", ())
        if RESULT_KEY in output.get("metadata", {}) and "text/plain" in output.get("data", {})
    ]


def write_html(notebook: Any, path: Path, *, title: str) -> None:
    """Write an executed notebook as one HTML page that opens without a network.

    Raises
    ------
    MissingDependency
        When nbconvert is not installed.
    UsageError
        When the disk did not take the file.
    """
    write_named(path, to_html(notebook, title=title).encode())


def to_html(notebook: Any, *, title: str) -> str:
    """The notebook as one HTML page that opens without a network.

    plotly figures stay interactive: plotly.js is embedded once. Without JavaScript their static picture is shown.

    Raises
    ------
    MissingDependency
        When nbconvert is not installed.
    """
    try:
        from nbconvert import HTMLExporter
    except ImportError:
        raise MissingDependency("nbconvert", purpose="writing HTML", extra="notebook") from None
    page = copy.deepcopy(notebook)
    # without its state a widget is shown by its text or picture, and nothing is fetched to draw it
    page.metadata.pop("widgets", None)
    outputs = [output for cell in page.cells for output in cell.get("outputs", ()) if "data" in output]
    plotly_js = _plotly_js() if any(PLOTLY_MIME in output["data"] for output in outputs) else ""
    for position, output in enumerate(outputs):
        figure = output["data"].pop(PLOTLY_MIME, None)
        if figure is not None and plotly_js:
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "a figure")
            output["data"] = _with_figure(output["data"], figure, element_id=f"bknb-figure-{position}", alt=alt)
    exporter = HTMLExporter(raw_template=_TEMPLATE, embed_images=True)  # type: ignore[no-untyped-call]
    body, _ = exporter.from_notebook_node(page, resources={"metadata": {"name": title}, "plotly_js": plotly_js})
    return str(body)


def _with_figure(data: dict[str, Any], figure: dict[str, Any], *, element_id: str, alt: str) -> dict[str, Any]:
    """Outputs with an interactive figure as HTML in place of plotly's notebook form."""
    height = figure.get("layout", {}).get("height", 450)
    # "<" cannot end the script element early when it is written as an escape
    spec = json.dumps({**figure, "config": {"responsive": True, **figure.get("config", {})}}).replace("<", "\\u003c")
    picture = data.get("image/png")
    image = picture and element("img", alt=alt, src=f"data:image/png;base64,{picture.strip()}")
    html = fragment(
        element("div", id=element_id, role="img", aria_label=alt, style=f"height:{height}px;width:100%"),
        image and element("noscript", image),
        element("script", Html(f'Plotly.newPlot("{element_id}", {spec});')),
    )
    return {"text/html": html, "text/plain": data.get("text/plain", "")}


def _plotly_js() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:  # the figure's static picture is shown instead
        return ""
    return str(get_plotlyjs())


def _kernel_environment(python: Path | None) -> dict[str, str]:
    """Environment variables of the kernel: figures as data, no debugger warnings."""
    quiet = {"PLOTLY_RENDERER": "plotly_mimetype", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return {**(os.environ if python is None else clean_environment()), **quiet}


def _kernel_manager_of(python: str) -> type:
    """A kernel manager class that always starts ``python``.

    The kernel spec ``python3`` may belong to another Python, possibly without bknb.
    """
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    class OneInterpreter(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            command = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=command, display_name=kernel_name, language="python")

    class OneInterpreterKernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return OneInterpreter(parent=self)

    return OneInterpreterKernel
