"""The account of a run in money, once it is over: its ledgers, its fills, and its equity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..domain.ledger import CashRow, Ledger
from ..domain.signal import SignalKey
from ..engine.leg_account import MoneyFill
from ..engine.shared_account import AccountChange, SharedAccount

TRADE_MONEY = ("quantity", "cost", "money", "cut")
FILL_MONEY = ("quantity", "cost", "fee", "cut")


class RunAccount(msgspec.Struct, frozen=True):
    """The account of a run or of a portfolio.

    Attributes
    ----------
    capital, currency
        What it began with.
    begin
        The account before anything was traded.
    changes
        The account after each change, in order.
    rows
        Every movement of cash, in order.
    fills
        The fills of each leg, in declared order.
    """

    capital: float
    currency: str
    begin: Ledger
    changes: tuple[AccountChange, ...]
    rows: tuple[CashRow, ...]
    fills: tuple[tuple[MoneyFill, ...], ...]

    @property
    def end(self) -> Ledger:
        """The account at the end."""
        return self.changes[-1].ledger if self.changes else self.begin

    def of_leg(self, order: int) -> dict[SignalKey, list[MoneyFill]]:
        """The fills of a leg, given by its number from 0, by position, in order."""
        found: dict[SignalKey, list[MoneyFill]] = {}
        for fill in self.fills[order]:
            found.setdefault(fill.key, []).append(fill)
        return found


def account_result(account: SharedAccount) -> RunAccount:
    """The account of a run as it stands."""
    plan = account.plan
    begin = Ledger.begin(plan.capital, account.ledger.account, account.ledger.accounts)
    fills = tuple(tuple(leg.fills) for leg in account.legs)
    return RunAccount(plan.capital, plan.currency, begin, tuple(account.changes), tuple(account.rows), fills)


def trade_money(fills: Sequence[MoneyFill]) -> dict[str, Any]:
    """The money of one position: what was bought in all, what that cost, what it brought after all costs of fills.

    ``cost`` is what was paid for what was bought, with slippage, or received for what was sold short; ``money`` is the
    result after fees, without a loss beyond the margin. All in quote currency.
    """
    entered = [each.fill for each in fills if each.fill.order.kind in ("entry", "add")]
    left = [each.fill for each in fills if each.fill.order.kind not in ("entry", "add")]
    cost = sum(fill.order.quantity * fill.costs.price for fill in entered)
    brought = sum(fill.order.quantity * fill.costs.price for fill in left)
    side = 1 if entered and entered[0].position == "long" else -1
    fees = sum(each.fill.costs.fee for each in fills)
    return {
        "quantity": sum(fill.order.quantity for fill in entered),
        "cost": cost,
        "money": side * (brought - cost) - fees + sum(each.forgiven for each in fills),
        "cut": any(each.cut for each in fills),
    }


def fill_money(fill: MoneyFill | None) -> dict[str, Any]:
    """The money of one fill: its quantity, what was paid or received for it, and its fee, in quote currency.

    ``None``: the account bought nothing.
    """
    if fill is None:
        return {"quantity": 0.0, "cost": 0.0, "fee": 0.0, "cut": True}
    order, costs = fill.fill.order, fill.fill.costs
    return {"quantity": order.quantity, "cost": order.quantity * costs.price, "fee": costs.fee, "cut": fill.cut}
