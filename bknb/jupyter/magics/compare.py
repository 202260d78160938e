"""``%walker`` and ``%lookahead``: strategies compared, and one looked into, from a line of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

from ..kernel import ipython
from .arguments import Call, Command, Option, whole
from .output import assign_out, task_or_result, wait_with_line

if TYPE_CHECKING:
    from ..session import Action, Session

_SYMBOL: Final = Option(name="SYMBOL", help="what is traded, such as BTCUSDT", kind="symbol", required=True)
_SETTINGS: Final = Option(name="--settings", help="costs and limits, as {settings}", kind="variable")
_OUT: Final = Option(name="--out", help="variable that receives the result; NAME << does the same", kind="variable")

WALKER: Final = Command(
    name="%walker",
    summary="Compares strategies over one frame and ranks them.",
    options=(
        _SYMBOL,
        Option(name="--walker", help="a registered walker; or give the next three", kind="walker"),
        Option(name="--strategies", help="names with commas, or {strategies}", kind="strategy"),
        Option(name="--exchange", help="where candles come from: a name or {source}", kind="exchange"),
        Option(name="--frame", help="a name, or START:END", kind="frame"),
        Option(name="--metric", help="figure to rank by; sharpe_ratio by default", kind="metric"),
        Option(name="--execution", help="pessimistic, touch or vwap, for all of them", kind="execution"),
        _SETTINGS,
        _OUT,
        Option(name="--background", help="return at once, with a task", flag=True),
    ),
    twin='bknb.walker("BTCUSDT", strategies=["fast", "slow"], exchange="demo", frame="2024-01-01:2024-02-01")',
)

LOOKAHEAD: Final = Command(
    name="%lookahead",
    summary="Finds out whether a strategy uses what it cannot have known.",
    options=(
        _SYMBOL,
        Option(name="--strategy", help="a registered strategy", kind="strategy", required=True),
        Option(name="--exchange", help="where candles come from: a name or {source}", kind="exchange", required=True),
        Option(name="--frame", help="a name, or START:END", kind="frame", required=True),
        Option(name="--moments", help="how many moments to look at closely; 40 by default"),
        _SETTINGS,
        _OUT,
    ),
    twin='bknb.check_lookahead("sma-cross", "BTCUSDT", exchange="demo", frame="2024-01-01:2024-02-01")',
)


def walker(session: Session, call: Call) -> Any:
    """``%walker``."""
    given = {key: value for key, value in call.values.items() if key not in ("symbol", "strategies", "background")}
    strategies = call.get("strategies")
    if isinstance(strategies, str):
        strategies = [one.strip() for one in strategies.split(",") if one.strip()]
    if strategies is not None:
        given["strategies"] = strategies
    task = bknb.Walker.background(call.values["symbol"], **given)
    return task_or_result(session, call, task, wait=_wait)


def lookahead(session: Session, call: Call) -> Any:
    """``%lookahead``."""
    given = {key: call.values[key] for key in ("exchange", "frame", "settings") if key in call.values}
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


COMMANDS: Final = (WALKER, LOOKAHEAD)
ACTIONS: Final[dict[str, Action]] = {"%walker": walker, "%lookahead": lookahead}
