"""``%walker`` and ``%lookahead``: strategies compared, and one looked into, from a line of a notebook."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import bknb

from ..kernel import ipython
from .option_declarations import (
    ALLOW_GAPS,
    BACKGROUND,
    BASE,
    EXCHANGE,
    EXECUTION,
    EXECUTOR,
    FRAME,
    METRIC,
    SETTINGS,
    STRATEGY,
    SYMBOL,
    executor_of,
    helped,
    names_of,
    optional,
    out,
)
from .options_read_from_line import Call, Option, whole
from .output import assign_out, task_or_result, wait_with_line
from .table import Magics

if TYPE_CHECKING:
    from ..session import Session

_FRAME: Final = helped(FRAME, "a name, or START:END")
_SETTINGS: Final = helped(SETTINGS, "costs and limits, as {settings}")
_OUT: Final = out("the result")

MAGICS: Final = Magics()


@MAGICS.add(
    "%walker",
    SYMBOL,
    Option(name="--walker", help="a registered walker; or give the next three", kind="walker"),
    Option(name="--strategies", help="names with commas, or {strategies}", kind="strategy"),
    optional(EXCHANGE),
    optional(_FRAME),
    replace(METRIC, kind="metric"),
    helped(EXECUTION, "pessimistic, touch or vwap, for all of them"),
    *(_SETTINGS, ALLOW_GAPS, BASE, EXECUTOR, _OUT, BACKGROUND),
    twin='bknb.walker("BTCUSDT", strategies=["fast", "slow"], exchange="demo", frame="2024-01-01:2024-02-01")',
)
def walker(session: Session, call: Call) -> Any:
    """Compares strategies over one frame and ranks them."""
    given = {key: value for key, value in call.values.items() if key not in ("symbol", "strategies", "background")}
    given["executor"] = executor_of(call)
    if (strategies := names_of(call, "strategies")) is not None:
        given["strategies"] = strategies
    task = bknb.Walker.background(call.values["symbol"], **given)
    return task_or_result(session, call, task, wait=_wait)


@MAGICS.add(
    "%lookahead",
    *(SYMBOL, STRATEGY, EXCHANGE, _FRAME),
    Option(name="--moments", help="how many moments to look at closely; 40 by default"),
    *(_SETTINGS, ALLOW_GAPS, BASE, _OUT),
    twin='bknb.check_lookahead("sma-cross", "BTCUSDT", exchange="demo", frame="2024-01-01:2024-02-01")',
)
def lookahead(session: Session, call: Call) -> Any:
    """Looks for what a strategy uses and cannot have known.

    Looked at: its answers at some moments, asked again after everything after that moment was cut off, and changed; the
    variables it reaches; the statements that made them, run again over another future; the files, databases, programs
    and addresses it reads; clocks, random numbers and what it keeps between two questions; how often its entries are
    right.

    It cannot see: numbers typed in, or settings chosen, after looking at this stretch; what compiled libraries and
    other processes hold inside themselves; where files and values of os.environ came from that were there before; how a
    value came about whose statements are not there, write something, call something that has a database connection, or
    raise over other data; what threads started before read for it. "Nothing found" is no proof: the result lists what
    was looked at and what it cannot see.

    Statements that write to files or databases are not run again, as far as it can tell.
    """
    names = ("exchange", "frame", "settings", "allow_gaps", "base")
    given = {key: call.values[key] for key in names if key in call.values}
    found = bknb.check_lookahead(call.values["strategy"], call.values["symbol"], **given, **whole(call, "moments"))
    ipython("display").display(found)
    assign_out(session, call, found)


def _wait(task: Any) -> Any:
    """The comparison, with a progress line while it runs."""
    name = "" if task.walker == "walker" else f"{task.walker} "
    return wait_with_line(
        task,
        f"walker {name}{task.symbol}",
        facts=lambda _: [f"{task.processed:,} of {task.total:,} strategies"],
        sizes=lambda found: f"{len(found.entries):,} strategies",
        partial="partial comparison",
        stop_now=True,
    )
