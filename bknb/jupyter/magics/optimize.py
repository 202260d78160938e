"""``%optimize``: run a registered optimizer, follow it, and show what it proposes as a card."""

from __future__ import annotations

from typing import Any, Final

import bknb

from ..kernel import ipython
from ..session import Session
from ..wait import wait
from .option_declarations import BACKGROUND, SYMBOL, helped, out
from .options_read_from_line import Call, Option
from .output import assign_or_return, assign_out, echo
from .table import Magics

MAGICS: Final = Magics()


@MAGICS.add(
    "%optimize",
    SYMBOL,
    Option(name="--optimizer", help="a registered optimizer", kind="optimizer", required=True),
    Option(name="--path", help="folder of the notebook it writes; ./dump/optimizer by default", kind="path"),
    Option(name="--again", help="ask again, also when it has run already", flag=True),
    out("the proposals"),
    helped(BACKGROUND, "return at once; bknb.Optimizer.list() shows how far it is"),
    twin='bknb.Optimizer.cells("BTCUSDT", "ideas")',
)
def optimize(session: Session, call: Call) -> Any:
    """Asks a model for strategies, tries them out, and shows the proposals; nothing is run here."""
    symbol, name = call.values["symbol"], call.values["optimizer"]
    known = {(task.symbol, task.strategy): task for task in bknb.Optimizer.list()}
    task = known.get((symbol, name))
    if task is None or call.get("again") or task.status == "rejected":
        task = bknb.Optimizer.background(symbol, name)
    if call.get("background"):
        echo(f"optimizer {name!r} goes on in the background; %optimize {symbol} --optimizer {name} shows it")
        return assign_or_return(session, call, task)
    proposals = wait(task, f"optimizer {name} {symbol}")
    path = call.get("path", "./dump/optimizer")
    ipython("display").display(bknb.Optimizer.cells(symbol, name, path))
    assign_out(session, call, proposals)
    return None
