"""A position in money: its fills, and the funding and interest that it paid."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from ..domain.funding_charged_and_fills_booked import CashRow, LegFill

UNTOLD: Final = -1
"""The number of an exit of the account's own, until the position ends."""


class MoneyFill(NamedTuple):
    """A fill in money; ``number`` is that of its order within the position.

    ``cut``: less was bought than was ordered, as no more cash was left. ``forgiven``: the loss beyond its margin.
    ``scaled``: less was ordered than was wanted, as no more was free.
    """

    number: int
    fill: LegFill
    cut: bool = False
    forgiven: float = 0.0
    scaled: bool = False


class PositionInMoney(msgspec.Struct):
    """The fills of a position, in order, and the funding and interest that it has paid, in quote currency."""

    fills: list[MoneyFill] = []
    funding: float = 0.0
    borrow: float = 0.0

    def charge(self, rows: tuple[CashRow, ...]) -> None:
        """Add movements of cash that are funding or interest."""
        for row in rows:
            if row.kind == "funding":
                self.funding -= row.amount
            elif row.kind == "borrow":
                self.borrow -= row.amount

    def tell(self, number: int) -> None:
        """Give an exit of the account's own the number of that which ends the position."""
        if self.fills and self.fills[-1].number == UNTOLD:
            self.fills[-1] = self.fills[-1]._replace(number=number)

    @property
    def first_cost(self) -> float:
        """What was paid for the first fill, or received for it, with slippage; 0 where nothing was bought."""
        if not self.fills:
            return 0.0
        fill = self.fills[0].fill
        return fill.order.quantity * fill.costs.price

    def columns(self) -> dict[str, Any]:
        """What was bought in all, what that cost, funding and interest, and what it brought after all costs.

        ``cost`` is what was paid for what was bought, with slippage, or received for what was sold short; ``money`` is
        the result after fees, funding and interest, without a loss beyond the margin, which is ``forgiven``. All in
        quote currency.
        """
        scaled, cut, position = False, False, ""
        quantities: list[float] = []
        entered: list[float] = []
        left: list[float] = []
        fees: list[float] = []
        beyond: list[float] = []
        for _, (_, side, order, costs), was_cut, lost, was_scaled in self.fills:
            if order.kind in ("entry", "add"):
                position = position or side
                quantities.append(order.quantity)
                entered.append(order.quantity * costs.price)
            else:
                left.append(order.quantity * costs.price)
            fees.append(costs.fee)
            beyond.append(lost)
            scaled, cut = scaled or was_scaled, cut or was_cut
        cost, forgiven = sum(entered), sum(beyond)
        made = (1 if position == "long" else -1) * (sum(left) - cost) - sum(fees)
        return {
            "quantity": sum(quantities),
            "cost": cost,
            "funding": self.funding,
            "borrow": self.borrow,
            "forgiven": forgiven,
            "money": made - self.funding - self.borrow + forgiven,
            "scaled": scaled,
            "cut": cut,
        }
