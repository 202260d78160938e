"""What leaves a leg, in money: the fill of a part or of all, and the account after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..domain.costs import fill_costs
from ..domain.funding_charged_and_fills_booked import Booked, Ledger, LegFill
from ..domain.quantity_step_and_least_amount import reduced_by
from ..domain.signal import Position
from ..domain.signal_events import Closed, Event, Reduced
from ..domain.states import State
from .bar_prices import BarPrices
from .cost_requests import leaving_order, ordered_part, part_of

if TYPE_CHECKING:
    from .account_plan import LegMoney


class LegExits:
    """The exits of a leg.

    Parameters
    ----------
    name, symbol
        Of the leg in its account, and of its market.
    money, prices
        What it has of the account, and the prices of its bars.
    shares_margin
        Whether it shares cross margin with other legs: what is missing then is forgiven to all of them.
    """

    def __init__(
        self, name: str, symbol: str, money: LegMoney, prices: BarPrices, *, shares_margin: bool = False
    ) -> None:
        self._name, self.symbol, self._money, self._prices = name, symbol, money, prices
        self._shares_margin = shares_margin

    def told(self, ledger: Ledger, event: Event) -> LegFill | None:
        """The fill that closed a part or all; ``None`` where the account holds nothing, or it closed nothing."""
        held = ledger.positions.get(self._name)
        if held is None or not isinstance(event, Reduced | Closed):
            return None
        position, quantity = event.signal.position, abs(held.quantity)
        if isinstance(event, Closed):
            return self._fill("exit", position, event.closed_at, event.price_close, event.close_reason, quantity)
        fill = event.fill
        quantity = reduced_by(quantity, quantity * part_of(fill, event.size), fill.price, self._money.limits)
        if quantity <= 0.0:
            return None
        return self._fill("reduce", position, fill.at, fill.price, fill.reason, quantity)

    def ordered(self, ledger: Ledger, state: State, price: float, when: int) -> LegFill | None:
        """What was ordered to leave at a moment (UTC ms) as it would fill at a price; ``None``: nothing was."""
        return self.part(ledger, ordered_part(state, when), price, when)

    def in_bar(self, ledger: Ledger, state: State, when: int, now: int) -> LegFill | None:
        """What was ordered to leave at the open of the bar that a moment lies in (UTC ms); ``None``: nothing was.

        It fills at that open where the bar has closed by ``now`` (UTC ms). Of a bar that is under way then the open is
        not known: it counts at the last close, where such a bar is expected.
        """
        prices = self._prices
        if (opened := prices.under_way(when, now)) is not None:
            return self.ordered(ledger, state, prices.at(opened), opened) if prices.expects_bar(opened) else None
        bar = prices.bar_of(when, now)
        return None if bar is None else self.ordered(ledger, state, bar[1], bar[0])

    def part(self, ledger: Ledger, part: float, price: float, when: int) -> LegFill | None:
        """A part of what is held as the strategy has it leave at a moment (UTC ms) and a price; ``None``: nothing."""
        held = ledger.positions.get(self._name)
        if held is None or part <= 0.0:
            return None
        kind: Literal["exit", "reduce"] = "exit" if part == 1.0 else "reduce"
        return self._fill(kind, held.side, when, price, "strategy", abs(held.quantity) * part)

    def in_ruin(self, ledger: Ledger, at: int) -> LegFill | None:
        """All of it, at the last close at a moment (UTC ms); ``None``: it holds nothing."""
        held = ledger.positions.get(self._name)
        if held is None:
            return None
        return self._fill("exit", held.side, at, self._prices.at(at), "liquidation", abs(held.quantity))

    def _fill(
        self, kind: Literal["exit", "reduce"], position: Position, at: int, price: float, reason: str, quantity: float
    ) -> LegFill:
        rested = self._prices.open_at(at) != price
        order = leaving_order(self.symbol, kind, position, at, price, reason, quantity, rested=rested)
        return LegFill(self._name, position, order, fill_costs(order, self._money.costs))

    def booked(self, ledger: Ledger, fill: LegFill) -> Booked:
        """The account after a fill that closes something.

        With leverage no more than its margin is lost; and where nothing is held any more, no more than there was.
        """
        order, account = fill.order, self._money.account
        held, booked = ledger.positions[self._name], ledger.apply(fill)
        lost = 0.0
        if account.leverage > 1.0 and account.mode == "isolated":
            share = order.quantity / abs(held.quantity)
            brought = held.quantity * share * fill.costs.price - held.cost * share - fill.costs.fee
            lost = max(-brought - held.margin * share, 0.0)
        if not booked.ledger.positions and not self._shares_margin:
            lost = max(lost, -booked.ledger.cash)
        forgiven = booked.ledger.forgive(order.at, self._name, lost)
        return Booked(forgiven.ledger, (*booked.rows, *forgiven.rows))
