"""Portfolios of random worlds for tests: legs of their own markets, and runs of them beside runs of each leg alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from managed import Heard
from msgspec.structs import replace
from test_managed_simulator import Run
from test_managed_worlds import draw

import bknb
from bknb.engine.plan import Plan, plan_backtest
from bknb.engine.portfolio_run import PortfolioRun


def plan_of(seed: int, model: str, *, risk: str = "") -> Plan:
    """A managed world with holes, hours, any step and interval; its risk profile may get a name of its own."""
    world, gaps, sessions = draw(seed, model)
    options = Run(world, gaps=gaps, sessions=sessions, whole=False).options
    if risk:
        bknb.add_risk(risk, validations=[rule.validate for rule in bknb.get_risk("profile").validations])
        options["strategy"] = replace(options["strategy"], risk=risk)
    return plan_backtest("BTCUSDT", frame="frame", **options)


def alone(plan: Plan) -> Heard:
    """The leg as a backtest."""
    run = Heard(plan)
    asyncio.run(run.through())
    return run


def together(plans: Sequence[Plan]) -> tuple[PortfolioRun, list[Any]]:
    """A portfolio of legs, and its closed and cancelled results as they came."""
    run, results = PortfolioRun(plans), list[Any]()
    asyncio.run(run.through(results.append))
    return run, results
