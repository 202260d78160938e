"""A run that a cell starts: waited for with a progress line, shown, and added to the runs of the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

from .. import display
from ..wait import wait
from .option_declarations import BACKGROUND, helped
from .output import assign_out, echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..session import Session
    from .options_read_from_line import Call

RUN_BACKGROUND: Final = helped(BACKGROUND, "return at once; %runs shows how far it is")


def run_to_its_result(session: Session, call: Call, task: Any, *, label: str, listed: str) -> Any:
    """The value of a cell that has started a run: its result, which is shown; with ``--background`` the task.

    Parameters
    ----------
    session, call, task
        The session, the line of the magic, and the task that has been started.
    label
        What runs, beside its progress.
    listed
        What ``%runs`` calls it.
    """
    if call.get("background"):
        run = session.add(listed, task=task)
        echo(f"run {run.number} goes on in the background: {label}; %runs shows how far it is")
        assign_out(session, call, task)
        return task
    try:
        result = wait(task, label)
    except KeyboardInterrupt:
        run = session.add(listed, task=task)
        raise KeyboardInterrupt(
            f"{label} was stopped\nwhen its strategy gives it back, run {run.number} of %runs has what it came to"
        ) from None
    session.add(listed, task=task)
    session.forget_shown()
    display.show(result)
    assign_out(session, call, result)
    return result


def refuse_while_running(tasks: Sequence[Any], what: str, *, end: str) -> None:
    """Raise when one of the tasks still runs: its events and those of another like it could not be told apart."""
    running = [task for task in tasks if not task.done]
    if not running:
        return
    advice = f"wait for it, or end it: {end}"
    if running[-1].stopping == "now":
        advice = "it was stopped, and its strategy has not given it back yet; until then use another name, with --name"
    raise bknb.UsageError(f"{what} is running already\n{advice}")
