"""The account of the paper broker: which orders it refuses, what it holds, and how much of it is free."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

import msgspec

from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket
from ..domain.broker_orders_and_ids import Order
from ..domain.formatting import plain_number
from ..domain.quantity_step_and_least_amount import EXACT, rounded_down, too_small
from ..domain.quote_currency import base_of, quote_of
from ..errors import UsageError
from .paper_order_fills import PaperOrder

PaperKind: TypeAlias = Literal["spot", "swap"]

_ABILITIES: Final[Mapping[str | None, Abilities]] = {
    None: Abilities(stop="market", move="amend"),
    "spot": Abilities(stop="market", move="amend", locks=True),
    "swap": Abilities(stop="market", move="both", targets=True),
}


class PaperRules(NamedTuple):
    """What a paper broker enforces.

    Attributes
    ----------
    kind
        ``"spot"``: nobody sells more than is free. ``"swap"``: what may only reduce a position does no more than that.
        ``None``: neither is looked at.
    market
        The rules of every market.
    abilities
        What its orders can do.
    """

    kind: PaperKind | None
    market: BrokerMarket
    abilities: Abilities

    def of(self, symbol: str) -> BrokerMarket:
        """The rules of one market, with its currencies as the symbol names them."""
        return msgspec.structs.replace(self.market, symbol=symbol, base=base_of(symbol), quote=quote_of(symbol) or "")

    def fee_currency(self, symbol: str, side: str) -> str:
        """What fees on a side are paid in; of a sale, where it is what was bought, what it was sold for."""
        market = self.of(symbol)
        if market.fee_in == "base":
            return market.base if side == "buy" else market.quote
        return market.quote if market.fee_in == "quote" else market.fee_in


def paper_rules(kind: PaperKind | None, market: BrokerMarket | None, abilities: Abilities | None) -> PaperRules:
    """The rules of a paper broker; what is not given is not limited.

    Raises
    ------
    UsageError
        For another kind of market.
    """
    if kind not in _ABILITIES:
        raise UsageError(f"market= of a paper broker is 'spot', 'swap' or None, got {kind!r}")
    rules = BrokerMarket(symbol="") if market is None else market
    given = _ABILITIES[kind] if abilities is None else abilities
    if kind is not None:
        given = msgspec.structs.replace(given, account=given.account or f"paper {kind}", nets=kind == "swap")
    return PaperRules(kind, rules, given)


def refusal(order: Order, rules: PaperRules, held: float, working: Iterable[PaperOrder], price: float | None) -> str:
    """Why an order is refused, as a sentence; empty when it is taken.

    Parameters
    ----------
    order, rules
        The order, and what is enforced.
    held
        What is held of the symbol, in base currency; below 0 when short.
    working
        The orders that work on the symbol.
    price
        Its price now, in quote currency; ``None``: it is not known.
    """
    market = rules.of(order.symbol)
    triggered = order.kind in ("stop", "target")
    if triggered and rules.abilities.stop is None:
        return "no stop can rest here"
    if triggered != (order.trigger is not None):
        return f"an order of kind {order.kind!r} with the trigger {order.trigger!r}"
    limits = market.limits(market=order.kind != "limit")
    step = plain_number(limits.step)
    if rounded_down(order.quantity, limits.step) < order.quantity * (1 - EXACT):
        return f"a quantity of {plain_number(order.quantity)} is no multiple of the step {step}"
    at = next((each for each in (order.trigger, order.price, price) if each is not None), order.record_price)
    small = too_small(order.quantity, at, limits)
    if small is not None:
        return small.text
    if order.trigger is not None and price is not None and is_reached(order, price):
        return f"a {order.kind} at {plain_number(order.trigger)} would trigger at once"
    if rules.kind == "spot" and order.side == "sell":
        free = free_to_sell(held, working, locks=rules.abilities.locks)
        if order.quantity > free * (1 + EXACT):
            return f"{plain_number(order.quantity)} {market.base} are to be sold, and {plain_number(free)} are free"
    if rules.kind == "swap" and order.reduces_only and not triggered and not closable(held, order.side):
        return "it may only reduce a position, and there is none"
    return ""


def is_reached(order: Order, price: float) -> bool:
    """Whether a price (quote currency) is at the trigger of a stop or a target, or beyond; other orders have none."""
    if order.trigger is None:
        return False
    rises = (order.side == "buy") == (order.kind == "stop")
    return price >= order.trigger if rises else price <= order.trigger


def closable(held: float, side: str) -> float:
    """How much of a position an order on this side can close, in base currency."""
    return max(held if side == "sell" else -held, 0.0)


def free_to_sell(held: float, working: Iterable[PaperOrder], *, locks: bool) -> float:
    """How much of a coin no order that works holds, in base currency."""
    locked = (order.rest for order in working if order.side == "sell" and (locks or order.trigger is None))
    return max(held - sum(locked), 0.0)


def positions_of(held: Mapping[str, float]) -> list[AccountPosition]:
    """What is held of each symbol, without those of which nothing is."""
    return [AccountPosition(symbol=symbol, quantity=quantity) for symbol, quantity in held.items() if quantity]


def balances_of(held: Mapping[str, float], orders: Iterable[PaperOrder], rules: PaperRules) -> dict[str, Balance]:
    """What fills have left of each currency; below 0 where more was spent than there was: it began with nothing."""
    totals: dict[str, float] = {}
    locked: dict[str, float] = {}
    for symbol, quantity in held.items():
        base = rules.of(symbol).base
        totals[base] = totals.get(base, 0.0) + quantity
    for order in orders:
        market, paid = rules.of(order.symbol), order.filled_quantity * (order.average_price or 0.0)
        totals[market.quote] = totals.get(market.quote, 0.0) + (paid if order.side == "sell" else -paid)
        for fee in () if order.fee_in_base and order.side == "buy" else order.report().fees:
            totals[fee.currency] = totals.get(fee.currency, 0.0) - fee.amount
        if order.working and order.side == "sell" and (rules.abilities.locks or order.trigger is None):
            locked[market.base] = locked.get(market.base, 0.0) + order.rest
    return {
        code: Balance(free=total - locked.get(code, 0.0), locked=locked.get(code, 0.0))
        for code, total in totals.items()
        if code
    }
