"""A run that goes over longer bars where the finest of its exchange do not cover it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine.backtest import BacktestRun
from ..engine.base_that_covers import loaded_over_bars_that_cover

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.leg_account import LegAccount
    from ..engine.plan import Plan


async def over_chosen_base(run: BacktestRun, account: Callable[[Plan], LegAccount | None]) -> BacktestRun:
    """The same run with the first of its candles, or another one over longer bars, stopped and paused as it is.

    Parameters
    ----------
    run
        It has not begun.
    account
        What a run of a plan has of an account.
    """
    chosen = run

    def warn(text: str) -> None:
        chosen.records.warnings.append(text)

    (plan,), window = await loaded_over_bars_that_cover([run.plan], warn=warn)
    if plan.base != run.plan.base:
        chosen = BacktestRun(plan, code=run.code, account=account(plan))
        if run.paused:
            chosen.pause()
        if run.stopping:
            chosen.stop(now=run.stopping == "now")
    chosen.plan, chosen.window = plan, window
    return chosen
