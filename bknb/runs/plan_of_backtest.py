"""The plan of a backtest with what its account is made of: capital, sizes, costs, and a benchmark beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..engine.plan import ExchangeLike, FrameLike, Plan, StrategyLike, plan_backtest

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..engine.leg_account import LegAccount


def plan_run(
    symbol: str,
    *,
    strategy: StrategyLike,
    exchange: ExchangeLike,
    frame: FrameLike,
    capital: float | None = None,
    sizing: Any = None,
    costs: Any = None,
    account: Any = None,
    currency: Any = None,
    benchmark: Any = None,
    **options: Any,
) -> Plan:
    """The plan of a backtest, with its account where it has a capital; errors are those of ``bknb.backtest``."""
    plan = plan_backtest(symbol, strategy=strategy, exchange=exchange, frame=frame, **options)
    if benchmark is not None:
        from .benchmark import checked_benchmark

        plan = replace(plan, benchmark=checked_benchmark(benchmark))
    given = {"sizing": sizing, "costs": costs, "account": account, "currency": currency}
    if capital is None and all(value is None for value in given.values()):
        return plan
    from .optional_account import with_account  # few runs have one

    (plan,), money = with_account([plan], capital=capital, **given)
    return plan if money is None else replace(plan, account=money, notes=(*plan.notes, *money.notes))


def only_leg(account: AccountPlan | None) -> LegAccount | None:
    """What the one leg of a backtest has of its account; ``None`` without a capital."""
    if account is None:
        return None
    from .optional_account import shared_account

    return shared_account(account).legs[0]
