"""What an ``executor=`` option may be."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from ..domain.interval import MINUTE_MS, interval_ms
from ..errors import UsageError

if TYPE_CHECKING:
    from ..engine.plan import Plan

MUCH: Final = 200_000
"""So many questions to a strategy take longer than workers take to begin: some seconds."""
MINUTES: Final = 20  # that are loaded and checked in the time of a question
ROW_RUNS: Final = 40  # questions in the time in which a compiled loop runs a year of rows


def cores() -> int:
    """How many processor cores this process may use: fewer than there are in many containers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_inline(executor: object) -> bool:
    """Whether an ``executor=`` option names this process."""
    return executor is None or (isinstance(executor, str) and executor == "inline")


class CannotBeSentError(UsageError):
    """Something that another process was to get cannot be copied."""


def checked_executor(executor: object) -> None:
    """Raise ``UsageError`` for an ``executor=`` option that names no executor."""
    if is_inline(executor) or executor == "processes":
        return
    if isinstance(executor, int) and not isinstance(executor, bool) and executor > 0:
        return
    if not isinstance(executor, str) and (hasattr(executor, "submit") or hasattr(executor, "map")):
        return
    raise UsageError(
        f"executor must be 'inline', 'processes', a number of workers, a dask.distributed Client, or a pool with "
        f"submit or map\ngot {executor!r:.80}"
    )


def processes_of(executor: object) -> int | None:
    """How many worker processes an ``executor=`` option is; ``None``: it is another one.

    Examples
    --------
    >>> processes_of(2), processes_of(None), processes_of("processes") == cores()
    (2, None, True)
    """
    if executor == "processes":
        return cores()
    return executor if isinstance(executor, int) else None


def questions_of(plan: Plan) -> int:
    """How often the strategy of a plan is asked at most, as a measure of how long its run takes.

    Examples
    --------
    >>> from bknb.engine.plan import plan_backtest
    >>> questions_of(plan_backtest("BTCUSDT", lambda: None, "demo", ("2024-01-01", "2024-01-02"), "1h"))
    25
    """
    return (plan.frame.last - plan.frame.start) // interval_ms(plan.strategy.interval) + 1


def loading_of(plan: Plan) -> int:
    """The questions that could be asked in the time in which the candles of a plan are loaded."""
    return (plan.frame.last - plan.frame.start) // MINUTE_MS // MINUTES


def executor_for(executor: object, questions: int) -> object:
    """An ``executor=`` option, ``"processes"`` where none was given and there is so much to do that these pay.

    Examples
    --------
    >>> executor_for("inline", 10**9), executor_for(None, 10)
    ('inline', None)
    """
    pays = executor is None and questions >= MUCH and cores() > 1
    return "processes" if pays and find_spec("cloudpickle") is not None else executor
