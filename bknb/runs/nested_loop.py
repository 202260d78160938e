"""Running a coroutine from blocking code while an event loop is running in the same thread."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Awaitable, Coroutine
from typing import Any, Final, Literal, TypeVar

from ..errors import MissingDependency, UsageError

T = TypeVar("T")

_FIRST_KERNEL_THAT_LOSES_CELLS: Final = (7, 1)


def enable_nested() -> Literal["nest_asyncio2", "nest_asyncio"]:
    """Let ``asyncio.run`` and the blocking functions of bknb be called while a loop is already running.

    bknb itself never needs this: its runs live in a thread with their own loop, so ``bknb.backtest(...)`` works in
    a notebook cell as it is. It is for code of yours that calls synchronous functions from inside a coroutine on
    the same loop. It changes ``asyncio`` for the whole process and cannot be undone; calling it twice is harmless.

    Returns
    -------
    str
        The package that did it: ``nest_asyncio2`` where installed, otherwise ``nest_asyncio``.

    Raises
    ------
    UsageError
        In a Jupyter kernel with ipykernel 7.1 or newer when only ``nest_asyncio`` is installed: together they
        leave queued cells hanging.
    MissingDependency
        When neither package is installed.

    Examples
    --------
    >>> import bknb
    >>> bknb.enable_nested()  # doctest: +SKIP
    'nest_asyncio2'
    """
    if importlib.util.find_spec("nest_asyncio2") is not None:
        importlib.import_module("nest_asyncio2").apply()
        return "nest_asyncio2"
    if importlib.util.find_spec("nest_asyncio") is None:
        raise MissingDependency("nest-asyncio2", purpose="enable_nested()", extra="notebook")
    version = _kernel_version()
    if version is not None and version >= _FIRST_KERNEL_THAT_LOSES_CELLS:
        raise UsageError(
            f"nest-asyncio makes ipykernel {'.'.join(map(str, version))} lose queued cells, so it was not enabled\n"
            "install its maintained successor and restart the kernel: pip install nest-asyncio2"
        )
    importlib.import_module("nest_asyncio").apply()
    return "nest_asyncio"


def _kernel_version() -> tuple[int, ...] | None:
    """Version of the ipykernel this process is a kernel of; ``None`` outside a kernel."""
    kernelapp = sys.modules.get("ipykernel.kernelapp")  # a kernel has imported it already; a script need not
    if kernelapp is None or not kernelapp.IPKernelApp.initialized():
        return None
    return tuple(importlib.import_module("ipykernel").version_info[:3])


def run_here(awaitable: Awaitable[T]) -> T:
    """Run an awaitable to its end in this thread, also where a loop is already running in it; returns its result.

    In a notebook every cell runs inside the kernel's loop, which waits while a plain cell is busy; here another loop
    takes its place for that time, and neither sees the other.
    """

    async def arrive() -> T:
        return await awaitable

    outer = asyncio._get_running_loop()
    swap = getattr(asyncio.tasks, "_swap_current_task", None) if outer is not None else None
    task = None if swap is None else swap(outer, None)
    asyncio._set_running_loop(None)
    loop = asyncio.new_event_loop()
    try:
        return _to_its_end(loop, arrive())
    finally:
        loop.close()
        asyncio._set_running_loop(outer)
        if swap is not None:
            swap(outer, task)


def _to_its_end(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    running = loop.create_task(work)
    try:
        return loop.run_until_complete(running)
    finally:
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True) if left else asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
