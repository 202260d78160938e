"""The legs of the weights of several symbols: what each holds or has ordered, and what more of it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from ..domain.costs import CostRequest, fill_costs
from ..domain.manage_answers import Cancel, PositionAnswer
from ..domain.orders_from_weights import HeldWeight, has_levels, weight_changes, weight_signal
from ..domain.position_fills import DUST
from ..domain.quantity_step_and_least_amount import rounded_down, too_small
from ..domain.signal import Position, ScheduledSignal, Signal, sign_of
from ..domain.spot_margin_and_perpetual import initial_margin, money_needed
from ..domain.states import Holding, waiting_signals
from ..domain.stays_flat import stays_flat_in
from ..domain.trailing_and_breakeven_stops import stop_in_force
from ..domain.weight_with_levels import Weight
from .cost_requests import side_of

if TYPE_CHECKING:
    from .leg_account import LegAccount

_UNKNOWN: Final = 2.0**40
"""The price of a symbol before its first bar, at which costs in percent and of an order are those at any price.

Those of each unit are next to nothing: how many units money will buy is not known. A power of two keeps all digits.
"""


def changes_of(weight: Weight, held: HeldWeight | None, leg: LegAccount, tolerance: float) -> list[PositionAnswer]:
    """The answers that bring what a leg holds to a weight."""
    if held is not None:
        return weight_changes(weight, held, tolerance)
    signal = weight_signal(weight)
    return [] if signal is None or stays_flat_in(leg.state) in (signal.position, "both") else [signal]


def but_the_same(answers: list[PositionAnswer], held: HeldWeight | None, part: float) -> list[PositionAnswer]:
    """The answers, but none where an entry that waits would be replaced by one of the same size."""
    match answers, held:
        case [Cancel(), Signal(size=float() as size) as signal], HeldWeight(waiting=(ScheduledSignal() as order,)):
            levels = order.position == signal.position and has_levels(order, signal)
            near = abs((order.size or 1.0) - size * part) <= DUST
            return [] if order.entry == "market" and levels and near else answers
        case _:
            return answers


def held_by(leg: LegAccount, when: int) -> HeldWeight | None:
    """What a leg holds or has ordered; ``None``: nothing, or it leaves."""
    state = leg.state
    if waits := waiting_signals(state):
        return HeldWeight(0.0, 0.0, waits)
    if not isinstance(state, Holding) or state.leaving is not None:
        return None
    weight, size = leg.held_weight(when)
    book = state.book
    if book is None or not size:
        return HeldWeight(weight, size) if size else None
    sign = sign_of(state.signal.position)
    stop = stop_in_force(book, sign, state.highest if sign > 0 else state.lowest, leg.tick)
    return HeldWeight(weight, size, book.orders, None if stop is None else stop.price)


class Increase(NamedTuple):
    """So much more of a position, in money (quote currency) or in units (base currency)."""

    symbol: str
    leg: LegAccount
    position: Position
    money: float | None = None
    units: float = 0.0

    def order(self, part: float, when: int) -> CostRequest:
        """A part of it as it would fill at the last close at a moment (UTC ms); costs of each unit need a close."""
        prices = self.leg.prices
        price = prices.at(when) if prices.has_begun(when) else _UNKNOWN
        order = CostRequest(
            symbol=self.symbol,
            at=when,
            side=side_of(self.position, enters=True),
            kind="add" if self.money is None else "entry",
            filled_by="market",
            quantity=part * (self.units if self.money is None else self.money / price),
            price=price,
        )
        if self.money is None:
            return order
        costs = fill_costs(order, self.leg.money.costs)  # money is a value with slippage: what is bought of it is less
        return replace(order, quantity=order.quantity * price / costs.price)

    def takes(self, part: float, when: int, *, beside: bool) -> float:
        """What a part of it takes of cash or margin, with its costs.

        ``beside``: an account that allows it pays costs beside its margin.
        """
        order, money = self.order(part, when), self.leg.money
        costs = fill_costs(order, money.costs)
        value = order.quantity * costs.price
        if beside:
            return money_needed(money.account, value, costs.fee)
        return initial_margin(money.account, value) + costs.fee

    def fault(self, part: float, when: int, *, trades: bool) -> str:
        """Why a part of it cannot be ordered at a moment (UTC ms), whose symbol ``trades`` or not; empty: none."""
        limits = self.leg.money.limits
        if not trades:
            return f"{self.symbol} does not trade"
        order = self.order(part, when)
        small = too_small(rounded_down(order.quantity, limits.step), order.price, limits)
        return "" if small is None else f"{self.symbol} is {small.text.partition(';')[0]}"
