"""``%%backtest`` and ``%backtest``: a run over history, from a cell or of a registered strategy."""

from __future__ import annotations

from typing import Any, Final

import bknb

from .. import display
from ..session import Action, Session
from ..wait import wait
from .arguments import Call, Command, Option
from .output import assign_out, echo
from .register import EXECUTION, INTERVAL, LOOKBACK, PARAMS, RISK, register_strategy

_SYMBOL: Final = Option(name="SYMBOL", help="what is traded, such as BTCUSDT", kind="symbol", required=True)
_EXCHANGE: Final = Option(
    name="--exchange", help="where candles come from: a name or {source}", kind="exchange", required=True
)
_FRAME: Final = Option(
    name="--frame", help="a name, or START:END such as 2024-01-01:2024-02-01", kind="frame", required=True
)
_SETTINGS: Final = Option(name="--settings", help="costs and limits of this run, as {settings}", kind="variable")
_OUT: Final = Option(name="--out", help="variable that receives the result", kind="variable")
_BACKGROUND: Final = Option(name="--background", help="return at once; %runs shows how far it is", flag=True)

COMMANDS: Final = (
    Command(
        name="%%backtest",
        summary="Registers the get_signal, or get_signals, in the cell and runs it over history.",
        options=(
            _SYMBOL,
            _EXCHANGE,
            _FRAME,
            INTERVAL,
            Option(name="--name", help="name of the strategy; 'cell' by default", kind="strategy"),
            PARAMS,
            LOOKBACK,
            RISK,
            EXECUTION,
            _SETTINGS,
            _OUT,
            _BACKGROUND,
        ),
        twin='bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-02-01")',
    ),
    Command(
        name="%backtest",
        summary="Runs a registered strategy over history.",
        options=(
            _SYMBOL,
            Option(name="--strategy", help="a registered strategy", kind="strategy", required=True),
            _EXCHANGE,
            _FRAME,
            EXECUTION,
            _SETTINGS,
            _OUT,
            _BACKGROUND,
        ),
        twin='bknb.backtest("BTCUSDT", strategy="sma-cross", exchange="demo", frame="2024-01-01:2024-02-01")',
    ),
)


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
    )
    label = f"backtest {task.strategy} {symbol}"
    chosen = execution or (bknb.get_strategy(strategy).execution if isinstance(strategy, str) else "pessimistic")
    listed = f"{task.strategy} on {symbol}, {where}, {chosen}"
    if call.get("background"):
        run = session.add(listed, task=task)
        echo(f"run {run.number} goes on in the background: {label}; %runs shows how far it is")
        assign_out(session, call, task)
        return task
    result = wait(task, label)
    session.add(listed, task=task)
    session.shown = None
    display.show(result)
    assign_out(session, call, result)
    return result


def _refuse_a_second(symbol: Any, strategy: Any) -> None:
    """Raise when the strategy already runs on the symbol: their events could not be told apart."""
    if any(task.symbol == symbol and task.strategy == strategy and not task.done for task in bknb.Backtest.list()):
        raise bknb.UsageError(
            f"a backtest of {strategy!r} on {symbol} is running already\n"
            f"wait for it, or end it: bknb.Backtest.stop({symbol!r}, {strategy!r}, now=True)"
        )


def backtest_cell(session: Session, call: Call) -> Any:
    """``%%backtest``."""
    name = call.get("name", "cell")
    register_strategy(session, call, name=name)
    return _run(session, call, strategy=name)


def backtest(session: Session, call: Call) -> Any:
    """``%backtest``."""
    return _run(session, call, strategy=call.values["strategy"], execution=call.get("execution"))


ACTIONS: Final[dict[str, Action]] = {"%%backtest": backtest_cell, "%backtest": backtest}
