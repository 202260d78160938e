"""Over which base bars the legs of a portfolio go that were given none: by symbol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..engine.base_that_covers import over_bars_that_cover
from ..market.fetch_loop import submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.plan import Plan
    from ..engine.portfolio_run import PortfolioRun


async def over_chosen_bases(plans: Sequence[Plan], run: PortfolioRun | None) -> tuple[Plan, ...]:
    """The plans of the legs, those of a symbol over longer bars where the finest do not cover one of them.

    Parameters
    ----------
    plans
        One for each leg, in declared order.
    run
        Of these plans: what it loads first is loaded, and callbacks hear of it where it goes on with these plans.
        ``None``: others load it, and little is asked for here.

    Raises
    ------
    NotEnoughData
        A symbol has no bars in the frame.
    """
    shared: dict[object, list[int]] = {}
    for order, plan in enumerate(plans):
        shared.setdefault((id(plan.exchange.source), plan.symbol, plan.base), []).append(order)
    chosen = list(plans)

    async def choose(orders: list[int]) -> None:
        window = None if run is None else run.window_of(orders[0])
        if window is not None:
            window.gather_closed()
        made = await over_bars_that_cover([plans[order] for order in orders], window)
        for order, plan in zip(orders, made, strict=True):
            chosen[order] = plan

    await asyncio.gather(*map(choose, shared.values()))
    if run is not None and all(plan.base == before.base for plan, before in zip(chosen, plans, strict=True)):
        for orders in shared.values():
            await asyncio.wrap_future(submit(run.window_of(orders[0]).release_callbacks()))
    return tuple(chosen)
