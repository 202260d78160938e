"""``%sweep``: a strategy tried with many parameters, from a line of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bknb

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
    out,
)
from .options_read_from_line import Call, Option, whole, written_params
from .output import task_or_result, wait_with_line
from .table import Magics

if TYPE_CHECKING:
    from ..session import Session

MAGICS: Final = Magics()


@MAGICS.add(
    "%sweep",
    helped(SYMBOL, "what is traded; several with commas"),
    STRATEGY,
    Option(name="--params", help='"fast=range(5, 50, 5), slow=[100, 200]", or a variable: {grid}', required=True),
    *(EXCHANGE, helped(FRAME, "a name, or START:END"), METRIC),
    Option(name="--search", help="grid (default), random or optuna"),
    Option(name="--trials", help="how many combinations, where the search does not say"),
    Option(name="--seed", help="of a random search; 0 by default"),
    EXECUTOR,
    Option(name="--ledger", help="file that keeps everything that was ever tried", kind="path"),
    *(EXECUTION, SETTINGS, ALLOW_GAPS, BASE, out("the result"), BACKGROUND),
    twin='bknb.sweep("sma-cross", params={"fast": range(5, 50, 5)}, symbol="BTCUSDT", exchange="demo", frame="jan")',
)
def sweep(session: Session, call: Call) -> Any:
    """Tries a strategy with many parameters and ranks them."""
    symbol = call.values["symbol"]
    if isinstance(symbol, str) and "," in symbol:
        symbol = [one.strip() for one in symbol.split(",") if one.strip()]
    given = {
        key: call.values[key]
        for key in ("exchange", "frame", "metric", "search", "ledger", "execution", "settings", "base")
        if key in call.values
    }
    task = bknb.Sweep.background(
        call.values["strategy"],
        params=written_params(
            call.values["params"], such_as='"fast=range(5, 50, 5), slow=[100, 200]", or a variable in braces'
        ),
        symbol=symbol,
        executor=executor_of(call),
        allow_gaps=bool(call.get("allow_gaps")),
        **given,
        **whole(call, "trials"),
        **whole(call, "seed"),
    )
    return task_or_result(session, call, task, wait=_wait)


def _wait(task: Any) -> Any:
    """The result, with a progress line; an interrupt finishes the running combinations."""

    def facts(seconds: float) -> list[str]:
        return [
            f"{task.processed:,} of {task.total:,}",
            f"{task.processed / max(seconds, 1e-9):,.0f} combinations/s",
        ]

    return wait_with_line(
        task,
        f"sweep {task.strategy} {task.symbol}",
        facts=facts,
        sizes=lambda result: f"{len(result):,} combinations",
        partial="partial result",
        stop_now=False,
    )
