"""Shared output of the magics: printing, assigning to ``--out``, and a progress line while a task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bknb

from ...market.system_clock import stopwatch
from ..kernel import ipython
from ..progress import progress_line
from ..wait import LOOK_EVERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..session import Session
    from .options_read_from_line import Call


def echo(text: str) -> None:
    """Print a text in the output of the cell."""
    print(text)  # noqa: T201 -- the notebook's own output


def still_live(name: str) -> str:
    """What becomes of live runs of a strategy that has been replaced; empty where there is none."""
    where = [task.symbol for task in bknb.Live.list() if task.strategy == name and not task.done]
    if not where:
        return ""
    runs = "the live run on" if len(where) == 1 else "the live runs on"
    goes = f"{'goes' if len(where) == 1 else 'go'} on with the one it was started with"
    return f"{runs} {', '.join(where)} {goes}: stop it and start it again to change that"


def assign_out(session: Session, call: Call, value: Any) -> None:
    """Assign a value to the variable of ``--out``, if given."""
    if call.out is not None:
        session.names[call.out] = value


def assign_or_return(session: Session, call: Call, value: Any) -> Any:
    """The value of the cell: ``None`` where ``--out`` has assigned it to a variable."""
    assign_out(session, call, value)
    return value if call.out is None else None


def task_or_result(session: Session, call: Call, task: Any, *, wait: Callable[[Any], Any]) -> Any:
    """The value of a cell that has started a task: the task with ``--background``; else its result is shown."""
    if call.get("background"):
        echo(f"{task!r}; task.result() waits for it")
        return assign_or_return(session, call, task)
    result = wait(task)
    ipython("display").display(result)
    assign_out(session, call, result)
    return None


def wait_with_line(
    task: Any,
    label: str,
    *,
    facts: Callable[[float], list[str]],
    sizes: Callable[[Any], str],
    partial: str,
    stop_now: bool,
) -> Any:
    """The result of a task, with a progress line while it runs; an interrupt ends the task with a partial result.

    Parameters
    ----------
    task : Task
    label : str
        The label of the line.
    facts : callable
        From the seconds so far to the facts shown beside the progress.
    sizes : callable
        From the result to its size, for the final sentence.
    partial : str
        The name of a result that was stopped early, for the final sentence.
    stop_now : bool
        Whether an interrupt ends what is under way, too.
    """
    line = progress_line(task, label)
    began = stopwatch()
    while True:
        try:
            if task.wait(LOOK_EVERY_SECONDS):
                break
            seconds = stopwatch() - began
            line.update(task.progress, seconds=seconds, facts=facts(seconds))
        except KeyboardInterrupt:
            task.stop(now=stop_now)
    if task.status == "rejected":
        line.close("failed")
        return task.result()  # raises the error of the task
    result = task.result()
    how = f"stopped early, {partial}" if result.stopped else "done"
    line.close(f"{how} in {stopwatch() - began:.1f} s · {sizes(result)}")
    return result
