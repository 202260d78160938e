"""``%%backtest`` and ``%backtest``: a run over history, from a cell or of a registered strategy."""

from __future__ import annotations

from typing import Any, Final

import bknb

from ..session import Session
from .interact import show_sliders, values_of
from .option_declarations import (
    ALLOW_GAPS,
    AT,
    BASE,
    EXCHANGE,
    EXECUTION,
    FRAME,
    INTERACT,
    INTERVAL,
    LATE,
    LOOKBACK,
    MANAGE_AT,
    MANAGE_INTERVAL,
    MONEY,
    PARAMS,
    PLACES,
    REENTER,
    RISK,
    SETTINGS,
    STRATEGY,
    SYMBOL,
    TOLERANCE,
    USES,
    helped,
    money_of,
    optional,
)
from .options_read_from_line import Call, Option, written_params
from .run_to_result import RUN_BACKGROUND, refuse_while_running, run_to_its_result
from .strategy_risk_exchange_and_frame import registered_for_a_run
from .table import Magics

_OWN_PARAMS: Final = helped(PARAMS, 'over what it was registered with: "fast=5, slow=20", or a variable: {params}')
_OUT: Final = Option(name="--out", help="variable that receives the result", kind="variable")

MAGICS: Final = Magics()


def _start(call: Call, *, strategy: Any, execution: str | None = None) -> Any:
    """Start a run; raises while it runs already."""
    symbol, where = call.values["symbol"], call.values["frame"]
    _refuse_a_second(symbol, strategy)
    return bknb.Backtest.background(
        symbol,
        strategy=strategy,
        exchange=call.values["exchange"],
        frame=where,
        execution=execution,
        settings=call.get("settings"),
        allow_gaps=bool(call.get("allow_gaps")),
        base=call.get("base"),
        params=_own_params(call),
        **money_of(call),
    )


def _own_params(call: Call) -> Any:
    """Parameters over those of the registered strategy; those of a cell are registered with it."""
    own = not call.head.startswith("%%") and "params" in call.values
    return written_params(call.values["params"], such_as='"fast=5", or a variable in braces: {params}') if own else None


def _sliders(call: Call, values: Any, *, strategy: Any, execution: str | None = None) -> Any:
    return bknb.interact(
        call.values["symbol"],
        strategy=strategy,
        values=values,
        exchange=call.values["exchange"],
        frame=call.values["frame"],
        execution=execution,
        settings=call.get("settings"),
        allow_gaps=bool(call.get("allow_gaps")),
        base=call.get("base"),
        params=_own_params(call),
    )


def _shown(session: Session, call: Call, task: Any, *, strategy: Any, execution: str | None = None) -> Any:
    """The result of a run that was started, which is shown with its progress and added to the session."""
    symbol, where = call.values["symbol"], call.values["frame"]
    chosen = execution or (bknb.get_strategy(strategy).execution if isinstance(strategy, str) else "pessimistic")
    listed = f"{task.strategy} on {symbol}, {where}, {chosen}"
    return run_to_its_result(session, call, task, label=f"backtest {task.strategy} {symbol}", listed=listed)


def _refuse_a_second(symbol: Any, strategy: Any) -> None:
    """Raise when the strategy already runs on the symbol: their events could not be told apart."""
    refuse_while_running(
        [task for task in bknb.Backtest.list() if (task.symbol, task.strategy) == (symbol, strategy)],
        f"a backtest of {strategy!r} on {symbol}",
        end=f"bknb.Backtest.stop({symbol!r}, {strategy!r}, now=True)",
    )


@MAGICS.add(
    "%%backtest",
    *(SYMBOL, EXCHANGE, FRAME, optional(INTERVAL), AT, LATE),
    Option(name="--name", help="name of the strategy; 'cell' by default", kind="strategy"),
    *(
        PARAMS,
        LOOKBACK,
        USES,
        TOLERANCE,
        REENTER,
        PLACES,
        RISK,
        EXECUTION,
        MANAGE_INTERVAL,
        MANAGE_AT,
        SETTINGS,
        ALLOW_GAPS,
        BASE,
        *MONEY,
        INTERACT,
        _OUT,
        RUN_BACKGROUND,
    ),
    twin='bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame="2024-01-01:2024-02-01")',
)
def backtest_cell(session: Session, call: Call) -> Any:
    """Registers the get_signal, get_signals or get_weight in the cell and runs it over history.

    A function manage (or manage_position) beside it is asked while a position is open or a signal waits.
    """
    name = call.get("name", "cell")
    if "interact" in call.values:
        values = values_of(call)
        with registered_for_a_run(session, call, name=name):
            found = _sliders(call, values, strategy=name)
        show_sliders(session, call, found)
        return None
    with registered_for_a_run(session, call, name=name):
        task = _start(call, strategy=name)
    return _shown(session, call, task, strategy=name)


@MAGICS.add(
    "%backtest",
    *(SYMBOL, STRATEGY, EXCHANGE, FRAME, _OWN_PARAMS, EXECUTION, SETTINGS, ALLOW_GAPS, BASE, *MONEY, INTERACT, _OUT),
    RUN_BACKGROUND,
    twin='bknb.backtest("BTCUSDT", strategy="sma-cross", exchange="demo", frame="2024-01-01:2024-02-01")',
)
def backtest(session: Session, call: Call) -> Any:
    """Runs a registered strategy over history."""
    strategy, execution = call.values["strategy"], call.get("execution")
    if "interact" in call.values:
        show_sliders(session, call, _sliders(call, values_of(call), strategy=strategy, execution=execution))
        return None
    task = _start(call, strategy=strategy, execution=execution)
    return _shown(session, call, task, strategy=strategy, execution=execution)
