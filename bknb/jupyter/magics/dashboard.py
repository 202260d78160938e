"""``%dashboard``: panels of a run, or of everything that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

from .option_declarations import names_of, out
from .options_read_from_line import Call, Option
from .output import assign_out
from .table import Magics

if TYPE_CHECKING:
    from ..session import Session

MAGICS: Final = Magics()


@MAGICS.add(
    "%dashboard",
    Option(name="RUN", help="number of a run (see %runs), {task} or {result}", kind="run"),
    Option(name="--panels", help="which, such as price,trades; all that fit by default"),
    out("the dashboard"),
    twin="bknb.dashboard(task)",
)
def dashboard(session: Session, call: Call) -> None:
    """Shows panels of a run as it happens; without one, of everything that is running and starts later."""
    shown: Any = call.get("run")
    if isinstance(shown, str):
        if shown in session.names and not shown.isdecimal():
            raise bknb.UsageError(f"%dashboard takes the number of a run, or a variable in braces\nwrite {{{shown}}}")
        run = session.run(shown)
        shown = run.task if run.task.status != "fulfilled" else run.finished()
    board = bknb.dashboard(shown, panels=names_of(call, "panels"))
    assign_out(session, call, board)
    board.show()
