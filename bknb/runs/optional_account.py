"""The account of a run, where it has a capital: few have, and nothing of accounts is loaded for the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..engine.plan import Plan

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..engine.shared_account import SharedAccount
    from .account_result import RunAccount

_ON_CARD: Final = ("currency", "sizing", "account", "costs")


def with_account(plans: Sequence[Plan], **given: Any) -> tuple[list[Plan], AccountPlan | None]:
    """The plans of legs with the costs of their account, and that; ``None`` where nothing of it was given.

    Weights of several symbols have one in any case, with a capital of 1, in which quantities have no steps and no least
    amount.

    ``given`` and errors as of :func:`bknb.engine.account_plan.plan_account`.
    """
    in_multiples = given["capital"] is None and any(plan.strategy.portfolio_weights is not None for plan in plans)
    if in_multiples:
        given["capital"] = 1.0  # weights of several symbols are parts of one equity: of multiples of the start
    if all(value is None for value in given.values()):
        return [*plans], None
    from ..domain.quantity_step_and_least_amount import MarketLimits
    from ..engine.account_plan import plan_account, with_costs
    from .account_on_card import card_account

    account = plan_account(plans, **given)
    if account is None:
        return [*plans], None
    if in_multiples:
        account = replace(account, legs=tuple(replace(leg, limits=MarketLimits()) for leg in account.legs))
    # The code is read now: a cell may be run again, with other text, before this run is over.
    account = replace(account, card=card_account(account, **{name: given.get(name) for name in _ON_CARD}))
    return [with_costs(plan, leg) for plan, leg in zip(plans, account.legs, strict=True)], account


def shared_account(plan: AccountPlan) -> SharedAccount:
    """The account while its run goes on."""
    from ..engine.shared_account import SharedAccount

    return SharedAccount(plan)


def account_of_run(account: SharedAccount, *, reached: int) -> RunAccount:
    """The account as it stands, with funding up to the moment (UTC ms) that its run came to."""
    account.charge(reached)
    from .account_result import account_result

    return account_result(account)
