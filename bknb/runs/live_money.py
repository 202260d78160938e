"""The account of a live run or of a live portfolio, where it has a capital."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from ..engine.account_plan import AccountPlan, LegMoney, plan_account, settings_with_costs
from ..engine.registry import registry
from ..live.account_saver import AccountPlace, AccountSaver, LegAccountSaver
from ..live.live_account import LiveAccount
from ..live.live_leg_account import LiveLegAccount
from ..live.plan import LivePlan
from ..live.user_store_errors import with_state_errors
from .account_result import RunAccount, account_result
from .run_record import RunRecord


def with_live_account(plans: Sequence[LivePlan], given: Mapping[str, Any]) -> tuple[list[LivePlan], AccountPlan | None]:
    """The plans of legs with the costs of their account, and that; ``None`` where nothing of it was given.

    Raises
    ------
    UsageError
        As of :func:`bknb.engine.account_plan.plan_account`, and for what an account does not do live.
    """
    account = plan_account(plans, **{"capital": None, **given})
    if account is None:
        return [*plans], None
    for leg in account.legs:
        if isinstance(leg.costs.funding, str):
            registry.series.get(leg.costs.funding)  # an unknown name is told before anything runs
    return [_with_costs(plan, leg) for plan, leg in zip(plans, account.legs, strict=True)], account


def _with_costs(plan: LivePlan, money: LegMoney) -> LivePlan:
    settings, notes = settings_with_costs(plan.settings, money)
    return replace(plan, settings=settings, notes=(*plan.notes, *notes))


def with_own_account(plan: LivePlan, given: Mapping[str, Any]) -> LivePlan:
    """The plan of a live run with its account; errors as of :func:`with_live_account`."""
    (plan,), account = with_live_account([plan], given)
    return plan if account is None else replace(plan, account=account, notes=(*plan.notes, *account.notes))


def account_saver(plans: Sequence[LivePlan], account: AccountPlan, place: AccountPlace) -> AccountSaver:
    """What saves the account of legs, at a place in their store."""
    legs = tuple((plan.strategy.name, plan.symbol) for plan in plans)
    shared = LiveAccount(account, longest=max(plan.base_ms for plan in plans))
    return AccountSaver(shared, with_state_errors(plans[0].store), place, legs)


def only_leg(plan: LivePlan, account: AccountPlan) -> LegAccountSaver:
    """What saves the account of a live run."""
    place = AccountPlace.of_run(plan.strategy.name, plan.symbol)
    return account_saver([plan], account, place).leg(0)


def charge_at_end(account: LiveAccount, plan: LivePlan, *, stopped: bool) -> None:
    """Charge what is due up to the end of a run, or of all legs of a portfolio, whose ``until`` has come.

    ``stopped``: it ended before. It is not saved: a process that goes on charges it with the next bar.
    """
    if plan.until is not None and not stopped and plan.clock.now() >= plan.until:
        account.follow(plan.until)
        account.charge(plan.until)


def live_account_result(account: LiveAccount) -> RunAccount:
    """The account of a live run or of a live portfolio as it stands."""
    return replace(account_result(account), kept=account.kept.marks)


def with_money(record: RunRecord, leg: LiveLegAccount, *, own: bool) -> RunRecord:
    """The record of a leg with its account as it stands; ``own``: that it shares with no other."""
    money = live_account_result(leg.shared)
    return replace(record, money=money if own else None, money_positions=money.positions[int(leg.name)])
