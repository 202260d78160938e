"""Which live runs of this process go on, for heartbeats and pings."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from ...domain.formatting import utc_text

if TYPE_CHECKING:
    from ..live_task import LiveTask
    from ..task import Task

_ANSWER_SECONDS: Final = 5.0
_NAMED: Final = 10


def going_on() -> list[LiveTask]:
    """The live runs of this process that go on; those that have failed, or were ended, do not.

    Those of another process are not among them: a notifier there looks at them.
    """
    if "bknb.runs.live_task" not in sys.modules:  # none was ever started
        return []
    from ..live_task import TASKS

    tasks = [task for task in TASKS.all() if _goes_on(task)]
    if "bknb.runs.remote_live_task" in sys.modules:
        from ..remote_live_task import RemoteLiveTask

        tasks = [task for task in tasks if not isinstance(task, RemoteLiveTask)]
    return tasks


def names_going_on() -> set[tuple[str, str]]:
    """Symbol and strategy of the live runs that go on, and those of live portfolios."""
    found: list[Task[Any, Any]] = [*going_on()]
    if "bknb.runs.live_portfolio_task" in sys.modules:
        from ..live_portfolio_task import TASKS

        found += [task for task in TASKS.all() if _goes_on(task)]
    return {(task.symbol, task.strategy) for task in found}


def _goes_on(task: Task[Any, Any]) -> bool:
    return task.status == "pending" and not task.worked


def loop_answers(seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether the loop that all live runs share does anything: blocked, it watches no position."""
    from ...live.runtime import RUNTIME

    answered = threading.Event()
    RUNTIME.call(answered.set)
    return answered.wait(seconds)


def runs_text(tasks: list[LiveTask]) -> str:
    """What goes on, as a sentence."""
    each = [_run_text(task) for task in tasks[:_NAMED]]
    more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
    count = "1 live run goes on" if len(tasks) == 1 else f"{len(tasks)} live runs go on"
    return f"{count}: {'; '.join(each)}{more}."


def _run_text(task: LiveTask) -> str:
    facts = task.facts
    silent = next((f", {name.lower()} {text}" for name, text in facts.items() if name.endswith("since")), "")
    entries = facts.get("Entries", "asked for")
    waits = "" if entries == "asked for" else f", entries {entries}"
    return f"{task.symbol}, {task.strategy} (done up to {utc_text(task.now)}{silent}{waits})"
