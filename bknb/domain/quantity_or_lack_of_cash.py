"""The quantity that an account and a market make of a size: scaled to what is free, rounded to the step, or refused.

Asked twice: when the answer is given, with the price that it implies (:func:`sized_order`), and when the order fills,
with the price that is really paid (:func:`quantity_filled`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec.structs import replace

from .costs import CostRequest, Costs, FillCosts, fill_costs
from .quantity_step_and_least_amount import EXACT, MarketLimits, rounded_down, too_small
from .signal_events import Reason
from .size_request import WantedSize
from .spot_margin_and_perpetual import Account, may_open, money_needed, pays_beside

_ROUNDS: Final = 20
"""How often costs that are functions of the order are asked again for a smaller one."""


class SizedOrder(NamedTuple):
    """What is ordered.

    Attributes
    ----------
    quantity
        Base currency, rounded down to the step, at the price that the answer implied: what a broker is sent.
    money
        The value that was granted, in quote currency: the record's quantity is this over the price that is paid.
    reserved
        What it takes of free cash or margin until it fills, in quote currency.
    scaled
        Whether less was granted than was wanted, as no more was free.
    units
        Whether the quantity was asked for, and not its value: it is the same at every price.
    """

    quantity: float
    money: float
    reserved: float
    scaled: bool
    units: bool


def sized_order(
    wanted: WantedSize, order: CostRequest, *, free: float, account: Account, costs: Costs, limits: MarketLimits
) -> SizedOrder | Reason:
    """What is ordered of a wanted size, or why nothing is.

    Parameters
    ----------
    wanted
        What the size answered.
    order
        The entry as it would fill at the price that the answer implies; its ``quantity`` is not looked at.
    free
        Cash or margin that nothing has taken, in quote currency; that of exits ordered at the same moment counts.
    account, costs, limits
        The account; costs with the settings filled in; steps and least amounts of the market.

    Examples
    --------
    >>> from .spot_margin_and_perpetual import Spot
    >>> order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=0.0, price=100.0)
    >>> given = {"account": Spot(), "costs": Costs(taker=0.1, slippage=0.0), "limits": MarketLimits(step=0.01)}
    >>> sized_order(WantedSize(money=500.0), order, free=1000.0, **given)
    SizedOrder(quantity=5.0, money=500.0, reserved=500.5, scaled=False, units=False)
    >>> sized_order(WantedSize(money=5000.0), order, free=1000.0, **given).quantity
    9.99
    >>> sized_order(WantedSize(money=5000.0), order, free=0.0, **given).text
    'no free cash: 5000 wanted, 0 is free; close something, or size smaller'
    """
    refused = may_open(account, "long" if order.side == "buy" else "short")
    if refused is not None:
        return refused
    asked, cost = _quantity(wanted, order, costs)
    if not asked > 0.0:
        return Reason("size", f"the size is {max(asked, 0.0):g}: nothing is opened")
    order = replace(order, quantity=asked)
    paid = affordable(order, free=free, account=account, costs=costs)
    if paid <= 0.0:
        what = "margin" if account.borrows else "cash"
        costs_text = f" with costs of {cost.fee:.8g}" if free > 0.0 else ""
        text = f"no free {what}: {asked * cost.price:.8g} wanted{costs_text}, {max(free, 0.0):.8g} is free"
        return Reason("no_cash", f"{text}; close something, or size smaller")
    scaled = paid < asked
    quantity = rounded_down(paid, limits.step)
    small = too_small(quantity, order.price, limits)
    if small is not None:
        return small
    cost = fill_costs(replace(order, quantity=paid), costs)
    money = paid * cost.price
    return SizedOrder(quantity, money, money_needed(account, money, cost.fee), scaled, units=wanted.units is not None)


def _quantity(wanted: WantedSize, order: CostRequest, costs: Costs) -> tuple[float, FillCosts]:
    """The quantity of a wanted size at the price of an order, and what it costs."""
    if wanted.units is not None:
        order = replace(order, quantity=wanted.units)
        return wanted.units, fill_costs(order, costs)
    money = wanted.money or 0.0
    cost = fill_costs(replace(order, quantity=money / order.price), costs)
    return money / cost.price, cost


class FilledQuantity(NamedTuple):
    """The quantity with which an order fills, in base currency, and whether it was cut to the cash that was left.

    ``small``: why the market takes nothing of what is paid for, where it does not.
    """

    quantity: float
    cut: bool
    small: Reason | None = None


def quantity_filled(
    sized: SizedOrder, order: CostRequest, *, free: float, account: Account, costs: Costs, limits: MarketLimits
) -> FilledQuantity:
    """The quantity with which an order fills: its money over the price that is paid, cut to what is left.

    Parameters
    ----------
    sized
        What was ordered.
    order
        The fill; its ``quantity`` is not looked at.
    free
        What is left of cash or margin, with what was reserved for this order.
    account, costs, limits
        As of :func:`sized_order`.

    Returns
    -------
    FilledQuantity
        With a quantity of 0 where nothing is left, or less than the market takes.

    Examples
    --------
    >>> from .spot_margin_and_perpetual import Spot
    >>> sized = SizedOrder(quantity=5.0, money=500.0, reserved=500.0, scaled=False, units=True)
    >>> order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=0.0, price=125.0)
    >>> given = {"account": Spot(), "costs": Costs(taker=0.0, slippage=0.0), "limits": MarketLimits(step=0.1)}
    >>> quantity_filled(sized, order, free=500.0, **given), quantity_filled(sized, order, free=700.0, **given)
    (FilledQuantity(quantity=4.0, cut=True, small=None), FilledQuantity(quantity=5.0, cut=False, small=None))
    """
    wanted = WantedSize(units=sized.quantity) if sized.units else WantedSize(money=sized.money)
    asked, _ = _quantity(wanted, order, costs)
    paid = affordable(replace(order, quantity=asked), free=free, account=account, costs=costs)
    quantity, small = rounded_down(paid, limits.step), None
    if paid > 0.0 and (small := too_small(quantity, order.price, limits)) is not None:
        quantity = 0.0
    return FilledQuantity(quantity, cut=paid < asked, small=small)


def too_little_left(order: CostRequest, free: float, account: Account) -> Reason:
    """Why nothing is bought of an order that fills: what is ``free`` (quote currency) pays for none of it."""
    what = "margin" if account.borrows else "cash"
    text = (
        f"too little free {what} when the order filled: {max(free, 0.0):.8g} was free at a price of {order.price:.8g}"
    )
    return Reason("no_cash", f"{text}; size smaller")


def affordable(order: CostRequest, *, free: float, account: Account, costs: Costs) -> float:
    """How much of an order's quantity (base currency) what is free pays for, costs included where they have to be.

    ``free`` in quote currency. A quantity for which arithmetic is a billionth short is paid for.

    Examples
    --------
    >>> from .spot_margin_and_perpetual import Margin, Spot
    >>> order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=20.0, price=100.0)
    >>> costs = Costs(taker=0.0, slippage=0.0, fixed=10.0)
    >>> affordable(order, free=1000.0, account=Spot(), costs=costs)
    9.9
    >>> affordable(order, free=1000.0, account=Margin(leverage=3), costs=costs)
    20.0
    """
    if free <= 0.0:
        return 0.0
    quantity = order.quantity
    for _ in range(_ROUNDS):
        cost = fill_costs(replace(order, quantity=quantity), costs)
        if max(money_needed(account, quantity * cost.price, cost.fee), cost.fixed) <= free * (1 + EXACT):
            return quantity
        quantity = min(_paid_by(free, account, cost), quantity)
        if quantity <= 0.0:
            break
    return 0.0


def _paid_by(free: float, account: Account, cost: FillCosts) -> float:
    """The quantity that costs as much as is free, where fees and slippage are those of ``cost``."""
    if pays_beside(account):
        return free / cost.price if cost.fixed <= free else 0.0
    return (free - cost.fixed) / (cost.price * (1 / account.leverage + cost.fee_percent / 100))
