"""What the magics have in common when they answer: printing, keeping a value, and a line while a task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...market.clock import stopwatch
from ..progress import line_of
from ..wait import LOOK_EVERY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..session import Session
    from .arguments import Call


def say(text: str) -> None:
    """Print a text under the cell."""
    print(text)  # noqa: T201 -- the notebook's own output


def keep(session: Session, call: Call, value: Any) -> None:
    """Give a value to the variable that ``--out`` names, if it names one."""
    if call.out is not None:
        session.names[call.out] = value


def kept_or_returned(session: Session, call: Call, value: Any) -> Any:
    """The value for the cell to return: ``None`` when a variable has received it."""
    keep(session, call, value)
    return value if call.out is None else None


def wait_with_line(
    task: Any,
    label: str,
    *,
    facts: Callable[[float], list[str]],
    sizes: Callable[[Any], str],
    partial: str,
    stop_now: bool,
) -> Any:
    """The result of a task, with a progress line while it runs; an interrupt ends the task and gives what there is.

    Parameters
    ----------
    task : Task
    label : str
        What the line says.
    facts : callable
        From the seconds so far to what the line says besides how far it is.
    sizes : callable
        From the result to what the last sentence says of its size.
    partial : str
        What the last sentence calls a result that was stopped early.
    stop_now : bool
        Whether an interrupt ends what is under way, too.
    """
    line = line_of(task, label)
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
        return task.result()  # raises what the task died of
    result = task.result()
    how = f"stopped early, {partial}" if result.stopped else "done"
    line.close(f"{how} in {stopwatch() - began:.1f} s · {sizes(result)}")
    return result
