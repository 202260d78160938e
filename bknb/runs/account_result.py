"""The account of a run in money, once it is over: its ledgers, its fills, and its equity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..domain.funding_charged_and_fills_booked import CashRow, Ledger
from ..domain.signal import SignalKey
from ..engine.account_plan import LegMoney
from ..engine.kept_marks import KeptMarks
from ..engine.position_in_money import MoneyFill, PositionInMoney
from ..engine.shared_account import AccountChange, SharedAccount
from ..provenance.account_card import CardAccount

TRADE_MONEY = ("quantity", "cost", "funding", "borrow", "forgiven", "money", "scaled", "cut")
FILL_MONEY = ("quantity", "cost", "fee", "scaled", "cut")


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
    positions
        Those of each leg, in declared order, by signal.
    card
        What a run card says of what was given.
    legs
        What each leg had of it: its kind, its size and its costs, in declared order.
    kept
        What it was worth as far as bars and changes are not in memory any more; ``None``: they are.
    """

    capital: float
    currency: str
    begin: Ledger
    changes: tuple[AccountChange, ...]
    rows: tuple[CashRow, ...]
    positions: tuple[Mapping[SignalKey, PositionInMoney], ...]
    card: CardAccount | None = None
    legs: tuple[LegMoney, ...] = ()
    kept: KeptMarks | None = None

    @property
    def end(self) -> Ledger:
        """The account at the end."""
        return self.changes[-1].ledger if self.changes else self.begin

    @property
    def fills(self) -> Iterator[MoneyFill]:
        """All fills of all legs."""
        return (fill for leg in self.positions for position in leg.values() for fill in position.fills)


def account_result(account: SharedAccount) -> RunAccount:
    """The account of a run as it stands."""
    plan = account.plan
    positions = tuple(leg.all_positions for leg in account.legs)
    return RunAccount(
        plan.capital,
        plan.currency,
        account.begin,
        tuple(account.changes),
        tuple(account.rows),
        positions,
        plan.card,
        plan.legs,
    )


def trade_money(position: PositionInMoney | None) -> dict[str, Any]:
    """The columns of money of a trade; ``None``: the account bought nothing."""
    return PositionInMoney().columns() | {"cut": True} if position is None else position.columns()


def fill_money(position: PositionInMoney | None, number: int) -> dict[str, Any]:
    """The money of one fill: its quantity, what was paid or received for it, and what kind of fee it paid.

    Money is in quote currency, percentages are of the cost of the first fill, as those without a capital.

    Parameters
    ----------
    position
        The position; ``None``: the account bought nothing of it.
    number
        The number of its order.
    """
    bought = PositionInMoney() if position is None else position
    for found in bought.fills:
        if found.number == number:
            order, costs, first = found.fill.order, found.fill.costs, bought.first_cost
            return {
                "quantity": order.quantity,
                "cost": order.quantity * costs.price,
                "fee": costs.fee,
                "scaled": found.scaled,
                "cut": found.cut,
                "maker": costs.maker,
                "fee_percentage": costs.fee / first * 100,
                "slippage_percentage": costs.slippage / first * 100,
            }
    return {"quantity": 0.0, "cost": 0.0, "fee": 0.0, "scaled": False, "cut": True}
