"""``%optimize``: run a registered optimizer, follow it, and show what it proposes as a card."""

from __future__ import annotations

from typing import Any, Final

import bknb

from ..market.clock import stopwatch
from .display import Progress
from .options import Call, Command, Option
from .session import Session

COMMAND: Final = Command(
    name="%optimize",
    summary="Asks a model for strategies, tries them out, and shows the proposals; nothing is run here.",
    options=(
        Option(name="SYMBOL", help="what is traded, such as BTCUSDT", kind="symbol", required=True),
        Option(name="--optimizer", help="a registered optimizer", kind="optimizer", required=True),
        Option(name="--path", help="folder of the notebook it writes; ./dump/optimizer by default", kind="path"),
        Option(name="--again", help="ask again, also when it has run already", flag=True),
        Option(name="--out", help="variable that receives the proposals; NAME << does the same", kind="variable"),
        Option(name="--background", help="return at once; bknb.Optimizer.list() shows how far it is", flag=True),
    ),
    twin='bknb.Optimizer.cells("BTCUSDT", "ideas")',
)

_LOOK_SECONDS: Final = 0.125


def optimize(session: Session, call: Call) -> Any:
    """``%optimize``."""
    symbol, name = call.values["symbol"], call.values["optimizer"]
    known = {(task.symbol, task.strategy): task for task in bknb.Optimizer.list()}
    task = known.get((symbol, name))
    if task is None or call.get("again") or task.status == "rejected":
        task = bknb.Optimizer.background(symbol, name)
    if call.get("background"):
        print(f"optimizer {name!r} goes on in the background; %optimize {symbol} --optimizer {name} shows it")  # noqa: T201
        return _keep(session, call, task)
    proposals = _follow(task, f"optimizer {name} {symbol}")
    path = call.get("path", "./dump/optimizer")
    from IPython.display import display

    display(bknb.Optimizer.cells(symbol, name, path))  # type: ignore[no-untyped-call]
    if call.out is not None:
        return _keep(session, call, proposals)
    return None


def _keep(session: Session, call: Call, value: Any) -> Any:
    if call.out is not None:
        session.names[call.out] = value
        return None
    return value


def _follow(task: Any, label: str) -> Any:
    """The proposals of a study, with its last step on screen while it goes; an interrupt stops it."""
    progress = Progress(label)
    began = stopwatch()
    stopped = False
    while True:
        try:
            if task.wait(_LOOK_SECONDS):
                break
            said = [step.text for step in task.said[-1:]]  # what it is doing right now
            progress.follow(task.progress, seconds=stopwatch() - began, facts=[text[:160] for text in said])
        except KeyboardInterrupt:
            if stopped:
                raise
            stopped = True
            task.stop(now=True)
    if task.status == "rejected":
        progress.close("failed")
        return task.result()  # raises what ended it
    proposals = task.result()
    progress.close(("stopped; " if stopped else "") + proposals.summary)
    return proposals
