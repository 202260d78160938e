"""``%portfolio`` and ``%%portfolio``: several strategies and symbols on one clock, from a line or a cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import bknb

from .option_declarations import (
    ALLOW_GAPS,
    AT,
    BASE,
    EXCHANGE,
    EXECUTION,
    EXECUTOR,
    FRAME,
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
    TOLERANCE,
    USES,
    executor_of,
    helped,
    money_of,
    names_of,
    optional,
    out,
)
from .options_read_from_line import Call, Option
from .run_to_result import RUN_BACKGROUND, refuse_while_running, run_to_its_result
from .strategy_risk_exchange_and_frame import registered_for_a_run
from .table import Magics

if TYPE_CHECKING:
    from ..session import Session

SYMBOLS: Final = Option(name="--symbols", help="with commas, such as BTCUSDT,ETHUSDT, or {symbols}", kind="symbol")
STRATEGIES: Final = Option(
    name="--strategies", help="registered ones with commas, or {strategies}; each runs on each symbol", kind="strategy"
)
LEGS: Final = Option(
    name="--legs", help="in place of both: BTCUSDT:trend,ETHUSDT:revert, or {legs}, a list of pairs", kind="symbol"
)
_NAME: Final = Option(name="--name", help="what %runs and bknb.Portfolio call it; 'portfolio' by default")
PRIORITY: Final = Option(name="--priority", help="who goes first at one moment: declared (default) or score")
TOGETHER: Final = Option(name="--together", help="its symbols are opened and left together", flag=True)
BUFFER: Final = Option(name="--cash-buffer-percent", help="percent of the equity that get_weights leaves free")
_RUN: Final = (
    helped(EXECUTION, "pessimistic, touch or vwap, for all legs"),
    *(SETTINGS, ALLOW_GAPS, BASE, *MONEY, PRIORITY),
    helped(EXECUTOR, "processes, a number of workers, or {client}: legs are worked out there; by default here"),
    *(out("the result"), RUN_BACKGROUND),
)

MAGICS: Final = Magics()


def legs_in(call: Call) -> Any:
    """The legs of ``--legs``: pairs of a symbol and a strategy, of a text those around the last colon of each."""
    given = names_of(call, "legs")
    if not isinstance(call.get("legs"), str):
        return given
    pairs = [each.rpartition(":") for each in given]
    if not pairs or not all(symbol and strategy for symbol, _, strategy in pairs):
        raise bknb.UsageError(
            f"--legs takes pairs SYMBOL:STRATEGY with commas between them, got {call.get('legs')!r}\n"
            "such as --legs BTCUSDT:trend,ETHUSDT:revert"
        )
    return [(symbol.strip(), strategy.strip()) for symbol, _, strategy in pairs]


def _start(call: Call, *, name: str, legs: dict[str, Any]) -> Any:
    """Start a portfolio; raises while one of that name runs."""
    known = [task for task in bknb.Portfolio.list() if task.strategy == name]
    refuse_while_running(known, f"a portfolio called {name!r}", end=f"bknb.Portfolio.stop({name!r}, now=True)")
    return bknb.Portfolio.background(
        **legs,
        exchange=call.values["exchange"],
        frame=call.values["frame"],
        execution=call.get("execution"),
        settings=call.get("settings"),
        allow_gaps=bool(call.get("allow_gaps")),
        base=call.get("base"),
        priority=call.get("priority", "declared"),
        name=name,
        executor=executor_of(call),
        **money_of(call),
    )


def _shown(session: Session, call: Call, task: Any, *, name: str) -> Any:
    """The result of a portfolio that was started, which is shown with its progress and added to the session."""
    count = len(task.plans)
    listed = f"portfolio {name}, {'1 leg' if count == 1 else f'{count:,} legs'}, {call.values['frame']}"
    return run_to_its_result(session, call, task, label=f"portfolio {name}", listed=listed)


@MAGICS.add(
    "%%portfolio",
    replace(SYMBOLS, required=True),
    *(helped(STRATEGIES, "registered ones beside that of the cell, with commas, or {strategies}"), EXCHANGE, FRAME),
    *(optional(INTERVAL), AT, LATE, TOLERANCE, REENTER, TOGETHER, BUFFER),
    Option(name="--name", help="name of the strategy and of the portfolio; 'cell' by default", kind="strategy"),
    *(PARAMS, LOOKBACK, USES, PLACES, RISK, MANAGE_INTERVAL, MANAGE_AT, *_RUN),
    twin='bknb.weights("rotation", symbols=["BTCUSDT", "ETHUSDT"], at="month", get_weights=get_weights); '
    'bknb.portfolio(strategies=["rotation"], exchange="demo", frame="2024-01-01:2024-07-01", capital=10_000)',
)
def portfolio_cell(session: Session, call: Call) -> Any:
    """Registers the get_weights in the cell, which says what to hold of all symbols, and runs it over history.

    A get_signal, get_signals or get_weight in its place is asked for each symbol alone, as by %%backtest.
    """
    name, symbols = call.get("name", "cell"), names_of(call, "symbols")
    with registered_for_a_run(session, call, name=name, symbols=symbols) as of_several:
        others = names_of(call, "strategies") or []
        asks_each = bool(others) or not of_several
        legs = {"symbols": symbols if asks_each else None, "strategies": [*others, name]}
        task = _start(call, name=name, legs=legs)
    return _shown(session, call, task, name=name)


@MAGICS.add(
    "%portfolio",
    *(SYMBOLS, STRATEGIES, LEGS, EXCHANGE, FRAME, _NAME, *_RUN),
    twin='bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["trend", "revert"], exchange="demo", '
    'frame="2024-01-01:2024-02-01", capital=10_000, sizing="percent:25")',
)
def portfolio(session: Session, call: Call) -> Any:
    """Runs several strategies on several symbols over history, on one clock and with one account."""
    named: dict[str, Any] = {key: names_of(call, key) for key in ("symbols", "strategies")}
    name = call.get("name", "portfolio")
    task = _start(call, name=name, legs=named | {"legs": legs_in(call)})
    return _shown(session, call, task, name=name)
