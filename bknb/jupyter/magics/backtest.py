"""``%%backtest`` and ``%backtest``: a run over history, from a cell or of a registered strategy."""

from __future__ import annotations

from typing import Any, Final

import bknb

from .. import display
from ..session import Session
from ..wait import wait
from .arguments import Call, Option
from .output import assign_out, echo
from .registration_cells import register_strategy
from .shared_options import (
    ALLOW_GAPS,
    AT,
    BACKGROUND,
    BASE,
    EXCHANGE,
    EXECUTION,
    FRAME,
    INTERVAL,
    LATE,
    LOOKBACK,
    MANAGE_AT,
    MANAGE_INTERVAL,
    MONEY,
    PARAMS,
    RISK,
    SETTINGS,
    STRATEGY,
    SYMBOL,
    TOLERANCE,
    helped,
    money_of,
    optional,
)
from .table import Magics

_OUT: Final = Option(name="--out", help="variable that receives the result", kind="variable")
_BACKGROUND: Final = helped(BACKGROUND, "return at once; %runs shows how far it is")

MAGICS: Final = Magics()


def _run(session: Session, call: Call, *, strategy: Any, execution: str | None = None) -> Any:
    """Start a run, show its progress and result, and add it to the session."""
    symbol, where = call.values["symbol"], call.values["frame"]
    _refuse_a_second(symbol, strategy)
    task = bknb.Backtest.background(
        symbol,
        strategy=strategy,
        exchange=call.values["exchange"],
        frame=where,
        execution=execution,
        settings=call.get("settings"),
        allow_gaps=bool(call.get("allow_gaps")),
        base=call.get("base"),
        **money_of(call),
    )
    label = f"backtest {task.strategy} {symbol}"
    chosen = execution or (bknb.get_strategy(strategy).execution if isinstance(strategy, str) else "pessimistic")
    listed = f"{task.strategy} on {symbol}, {where}, {chosen}"
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


def _refuse_a_second(symbol: Any, strategy: Any) -> None:
    """Raise when the strategy already runs on the symbol: their events could not be told apart."""
    same = [
        task for task in bknb.Backtest.list() if (task.symbol, task.strategy) == (symbol, strategy) and not task.done
    ]
    if not same:
        return
    advice = f"wait for it, or end it: bknb.Backtest.stop({symbol!r}, {strategy!r}, now=True)"
    if same[-1].stopping == "now":
        advice = "it was stopped, and its strategy has not given it back yet; until then use another name, with --name"
    raise bknb.UsageError(f"a backtest of {strategy!r} on {symbol} is running already\n{advice}")


@MAGICS.add(
    "%%backtest",
    *(SYMBOL, EXCHANGE, FRAME, optional(INTERVAL), AT, LATE),
    Option(name="--name", help="name of the strategy; 'cell' by default", kind="strategy"),
    *(
        PARAMS,
        LOOKBACK,
        TOLERANCE,
        RISK,
        EXECUTION,
        MANAGE_INTERVAL,
        MANAGE_AT,
        SETTINGS,
        ALLOW_GAPS,
        BASE,
        *MONEY,
        _OUT,
        _BACKGROUND,
    ),
    twin='bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-02-01")',
)
def backtest_cell(session: Session, call: Call) -> Any:
    """Registers the get_signal, get_signals or get_weight in the cell and runs it over history.

    A function manage (or manage_position) beside it is asked while a position is open or a signal waits.
    """
    name = call.get("name", "cell")
    register_strategy(session, call, name=name)
    return _run(session, call, strategy=name)


@MAGICS.add(
    "%backtest",
    *(SYMBOL, STRATEGY, EXCHANGE, FRAME, EXECUTION, SETTINGS, ALLOW_GAPS, BASE, *MONEY, _OUT, _BACKGROUND),
    twin='bknb.backtest("BTCUSDT", strategy="sma-cross", exchange="demo", frame="2024-01-01:2024-02-01")',
)
def backtest(session: Session, call: Call) -> Any:
    """Runs a registered strategy over history."""
    return _run(session, call, strategy=call.values["strategy"], execution=call.get("execution"))
