"""``%runs``, ``%why`` and ``%report``: looking back at the runs of this session."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

import bknb

from ...reports.progress_text import failed_text
from .. import display
from ..completion import signals_of
from ..kernel import ipython
from ..session import Run, Session
from .options_read_from_line import Call, Option
from .output import echo
from .table import Magics

_RUN: Final = Option(name="--run", help="number of the run (the newest by default); see %runs", kind="run")

MAGICS: Final = Magics()


def _state(run: Run) -> str:
    try:
        result = run.finished()
    except Exception as error:  # noqa: BLE001 -- a failed run is a line in the list, whatever it died of
        return failed_text(error)
    if result is None:
        return f"running, {100 * run.task.progress:.0f} %"
    partial = " (stopped early)" if result.stopped else ""
    trades = len(result.trades)
    money = f", {result.account.text('total_return')}" if trades and _has_account(result) else ""
    return f"{trades:,} trade{'' if trades == 1 else 's'}{money}{partial}"


def _has_account(result: Any) -> bool:
    """Whether a result has one account: the legs of a portfolio without a capital have none together."""
    return result.capital is not None or not hasattr(result, "legs")


@MAGICS.add("%runs", Option(name="RUN", help="number of a run", kind="run"), twin="result")
def runs(session: Session, call: Call) -> None:
    """Lists the runs of this session; with a number, shows that one."""
    if "run" in call.values:
        run = session.run(call.values["run"])
        result = run.finished()
        if result is None:
            echo(f"run {run.number}: {run.label}: {_state(run)}")
        else:
            session.forget_shown()
            display.show(result)
        return
    lines = [f"{run.number:>3}  {run.label}: {_state(run)}" for run in session.runs]
    echo("\n".join(lines) or "nothing has run in this session yet")


def _result(run: Run) -> Any:
    result = run.finished()
    if result is None:
        raise bknb.UsageError(
            f"run {run.number} ({run.label}) is still going: {_state(run)}\nask again when it is done"
        )
    return result


@MAGICS.add(
    "%why",
    Option(name="SIGNAL_ID", help="see result.trades", kind="signal", required=True),
    _RUN,
    twin="print(result.why(signal_id))",
)
def why(session: Session, call: Call) -> None:
    """Tells the whole story of one signal."""
    signal = str(call.values["signal_id"])
    number = call.get("run")
    session.run(number)
    asked = [run for run in reversed(session.runs) if number is None or str(run.number) == str(number)]
    finished = [result for run in asked if (result := run.finished()) is not None]
    if not finished:
        raise bknb.UsageError("that run has not finished yet\nask again when it is done; %runs shows how far it is")
    for result in finished:
        try:
            echo(result.why(signal))
        except bknb.UnknownName:
            continue
        return
    known = signals_of(finished[0])
    near = get_close_matches(signal, known, n=1, cutoff=0.5)
    where = "no run of this session" if number is None else f"run {number}"
    raise bknb.UsageError(
        f"{where} {'has' if number is None else 'does not have'} a signal {signal!r}"
        f"{f'; did you mean {near[0]!r}?' if near else ''}\n"
        f"the newest run asked has {len(known):,}: see its .trades and .cancelled, or press Tab"
    )


@MAGICS.add(
    "%report",
    _RUN,
    Option(name="--path", help="file to write", kind="path"),
    Option(name="--card", help="the run card in place of the report; --path writes it as JSON", flag=True),
    Option(name="--html", help="the tear sheet in place of the report; --path writes it as one file", flag=True),
    twin="result.report()",
)
def report(session: Session, call: Call) -> None:
    """Shows the report of a run as Markdown, or writes it to a file."""
    result = _result(session.run(call.get("run")))
    path = call.get("path")
    if call.get("html"):
        if call.get("card"):
            raise bknb.UsageError("--html and --card are two reports\ngive one of them; a tear sheet holds its card")
        if path is not None:
            echo(f"tear sheet written to {result.tearsheet(path)}")
            return
        sheet = result.tearsheet()
        ipython("display").display({"text/html": sheet._repr_html_(), "text/plain": repr(sheet)}, raw=True)
        return
    if call.get("card") and path is not None:
        echo(f"run card written to {result.card.save(path)}")
        return
    text = result.card.report() if call.get("card") else result.report()
    if path is not None:
        from ...stores.atomic import write_named

        echo(f"report written to {write_named(path, text.encode())}")
        return
    ipython("display").display({"text/markdown": text, "text/plain": text}, raw=True)
