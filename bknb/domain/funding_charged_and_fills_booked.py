"""The ledger of an account as a value: cash, positions by leg, what is reserved, and every movement of cash.

Money is in quote currency, quantities are in base currency, moments are UTC milliseconds. A leg is a name, such as that
of a symbol with its strategy. Each change gives a new ledger and the rows of the cash it moved; nothing here asks a
clock or a price of its own.

Within a bar every leg sees the cash of the bar's start: what is sold in the bar pays for nothing that is bought in it.
Whoever drives the ledger keeps the one of the start, applies entries to both, and asks that one what is free.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from .costs import CostRequest, FillCosts
from .funding_and_borrow_amounts import Funding, borrow_interest
from .leg_position import LegPosition, leg_name
from .liquidation_price import liquidation_price
from .quantity_step_and_least_amount import EXACT
from .signal import Position
from .spot_margin_and_perpetual import Account, initial_margin, maintenance_margin

CashKind: TypeAlias = Literal["buy", "sell", "profit", "fee", "funding", "borrow", "forgiven"]
"""What moved cash: a purchase or sale at its price, with slippage; the profit of what was closed of a perpetual; a fee;
funding; interest on what a short borrows; and a loss beyond the margin, which nobody pays."""


class CashRow(NamedTuple):
    """One movement of cash; ``amount`` is below 0 where cash left, ``cash`` is what was there after it."""

    at: int
    leg: str
    kind: CashKind
    amount: float
    cash: float


class LegFill(NamedTuple):
    """A fill in money: the order with its quantity and price, and what it cost; ``position`` is the side of the leg."""

    leg: str
    position: Position
    order: CostRequest
    costs: FillCosts


class Marked(NamedTuple):
    """An account at the prices of a moment.

    Attributes
    ----------
    equity
        Cash and what the positions are worth.
    cash
        What there is of it; below 0: borrowed.
    positions
        What the positions are worth: what they would bring at these prices; of a perpetual its profit so far.
    unrealised
        Their profit so far, before costs.
    exposure
        Sum of the values of all positions, without their signs.
    free
        Cash or margin that nothing has taken.
    margin, maintenance
        What positions with margin take, and what has to be left of it.
    """

    equity: float
    cash: float
    positions: float
    unrealised: float
    exposure: float
    free: float
    margin: float
    maintenance: float

    def part_of_equity(self, value: float) -> float:
        """A value (quote currency) as a part of the equity; infinite where nothing is left of that."""
        return value / self.equity if self.equity > 0.0 else math.copysign(math.inf, value)


class PriceTerms(NamedTuple):
    """An amount that is ``constant`` and, for each leg, a factor times its price: the same until something changes.

    With it a whole span of prices is worked out at once, as arrays.
    """

    constant: float
    factors: Mapping[str, float]


class Booked(NamedTuple):
    """A ledger after a change, and the movements of cash that it made."""

    ledger: Ledger
    rows: tuple[CashRow, ...]


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """An account: what it has, what it holds, and what everything cost.

    ``cash + positions = capital + realised + unrealised - fees - slippage - funding - borrow + forgiven`` at all prices
    (:meth:`imbalance`).

    Attributes
    ----------
    capital, account
        What it began with, and its kind.
    accounts
        Legs that have an account of another kind: their positions share the cash.
    cash, positions
        Now.
    reserved
        What orders that wait have taken of free cash or margin, by a name of the caller's.
    realised
        Profit of what was closed, before all costs.
    fees, slippage, funding, borrow
        What was paid, as positive numbers; funding that was received counts below 0.
    forgiven
        Losses beyond the margin.

    Examples
    --------
    >>> from .spot_margin_and_perpetual import Spot
    >>> from .costs import Costs, fill_costs
    >>> order = CostRequest(symbol="A", at=0, side="buy", kind="entry", filled_by="market", quantity=5.0, price=100.0)
    >>> costs = fill_costs(order, Costs(taker=0.1, slippage=0.0))
    >>> ledger, rows = Ledger.begin(1000.0, Spot()).apply(LegFill("A", "long", order, costs))
    >>> for row in rows:
    ...     print(row.kind, row.amount, row.cash)
    buy -500.0 500.0
    fee -0.5 499.5
    >>> ledger.mark({"A": 110.0}).equity, ledger.mark({"A": 110.0}).free
    (1049.5, 499.5)
    """

    capital: float
    account: Account
    cash: float
    accounts: Mapping[str, Account] = {}
    positions: Mapping[str, LegPosition] = {}
    reserved: Mapping[str, float] = {}
    realised: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0
    borrow: float = 0.0
    forgiven: float = 0.0

    @classmethod
    def begin(cls, capital: float, account: Account, accounts: Mapping[str, Account] | None = None) -> Ledger:
        """The ledger of an account that holds nothing but its capital."""
        return cls(capital=capital, account=account, cash=capital, accounts=accounts or {})

    def account_of(self, leg: str) -> Account:
        """The kind of account that a leg is traded in."""
        return self.accounts.get(leg, self.account)

    def parts_of(self, leg: str) -> list[str]:
        """The names under which a leg may hold something: its own, and those of its places."""
        return [leg, *(name for name in self.accounts if name != leg and leg_name(name) == leg)]

    def quantity_of(self, leg: str) -> float:
        """What a leg holds in all its places, base currency; below 0 for a short."""
        return sum(held.quantity for part in self.parts_of(leg) if (held := self.positions.get(part)) is not None)

    # -- changes

    def apply(self, fill: LegFill) -> Booked:
        """The ledger after a fill.

        Raises
        ------
        ValueError
            For an entry or an add on the other side of what the leg holds, and for more closed than it holds: a
            reversal is two fills.
        """
        return _entered(self, fill) if fill.order.kind in ("entry", "add") else _left(self, fill)

    def reserve(self, name: str, money: float) -> Ledger:
        """The ledger with money taken for an order that waits; what was taken for it before is replaced."""
        return replace(self, reserved={**self.reserved, name: money})

    def release(self, name: str) -> Ledger:
        """The ledger without what was taken for an order; one for which nothing was taken changes nothing."""
        return replace(self, reserved={each: money for each, money in self.reserved.items() if each != name})

    def charge_funding(self, leg: str, funding: Funding, price: float) -> Booked:
        """The ledger after funding of a moment, at the price of that moment; fills of its candle come later.

        Of an isolated position with leverage its margin pays and receives it, and nothing that is free.

        Raises
        ------
        ValueError
            Where a fill of that candle, or of a later one, has been applied.
        """
        held = self.positions.get(leg)
        if held is None:
            return Booked(self, ())
        if held.filled_at >= funding.moment:
            raise ValueError(
                f"{leg} was filled at {held.filled_at}: funding of {funding.moment} has to be charged before"
            )
        paid, account = funding.paid(held.side, abs(held.quantity) * price), self.account_of(leg)
        after = replace(self, funding=self.funding + paid)
        if account.leverage > 1.0 and account.mode == "isolated":
            after = replace(after, positions={**self.positions, leg: replace(held, margin=held.margin - paid)})
        return _charged(after, funding.moment, leg, "funding", paid)

    def charge_borrow(self, leg: str, until: int, price: float, borrow_yearly: float) -> Booked:
        """The ledger after the interest of a short until a moment, on its value at a price; a long pays none.

        To be charged before each fill of the leg, as the interest of the time before is that of what was held then.
        """
        held = self.positions.get(leg)
        if held is None or held.quantity > 0.0:
            return Booked(self, ())
        paid = borrow_interest(held.quantity * price, borrow_yearly, held.borrowed_since, until)
        positions = {**self.positions, leg: replace(held, borrowed_since=until)}
        return _charged(replace(self, positions=positions, borrow=self.borrow + paid), until, leg, "borrow", paid)

    def forgive(self, at: int, leg: str, loss: float) -> Booked:
        """The ledger after a loss beyond the margin was taken off the account."""
        if loss <= 0.0:
            return Booked(self, ())
        return _charged(replace(self, forgiven=self.forgiven + loss), at, leg, "forgiven", -loss)

    # -- what it is worth

    def value_of(self, leg: str, price: float) -> float:
        """What a leg holds is worth at a price, without its sign; 0 where it holds nothing."""
        held = self.positions.get(leg)
        return 0.0 if held is None else abs(held.quantity) * price

    def mark(self, prices: Mapping[str, float]) -> Marked:
        """The account at the prices of its legs; every leg that holds something needs one."""
        worth = unrealised = exposure = margin = maintenance = 0.0
        for leg, held in self.positions.items():
            account, value = self.account_of(leg), held.quantity * prices[leg]
            worth += value if account.owns else value - held.cost
            unrealised += value - held.value
            exposure += abs(value)
            if account.borrows:
                isolated = account.mode == "isolated"
                margin += held.margin if isolated else initial_margin(account, value)
                maintenance += maintenance_margin(account, value)
        return Marked(
            equity=self.cash + worth,
            cash=self.cash,
            positions=worth,
            unrealised=unrealised,
            exposure=exposure,
            free=self.free(prices),
            margin=margin,
            maintenance=maintenance,
        )

    def free(self, prices: Mapping[str, float]) -> float:
        """Cash or margin that neither positions nor orders have taken, at these prices; it may be below 0."""
        pool, taken, _ = self.cross_margin(prices)
        return pool - taken - sum(self.reserved.values())

    def cross_margin(self, prices: Mapping[str, float]) -> tuple[float, float, float]:
        """Money behind positions with cross margin, and the initial and maintenance margin these take.

        It is the cash and what these positions are worth, without the margin that was set aside for isolated ones, and
        without what was bought on spot.
        """
        terms = self._money_behind_cross()
        pool, initial, maintenance = terms.constant, 0.0, 0.0
        for leg, quantity in terms.factors.items():
            account, value = self.account_of(leg), quantity * prices[leg]
            pool += value
            initial += initial_margin(account, value)
            maintenance += maintenance_margin(account, value)
        return pool, initial, maintenance

    def spare_margin_terms(self) -> PriceTerms:
        """Cross margin beyond the maintenance margin, as terms of the prices: at 0 or below it is liquidated."""
        terms = self._money_behind_cross()
        spare = {leg: held - maintenance_margin(self.account_of(leg), held) for leg, held in terms.factors.items()}
        return PriceTerms(terms.constant, spare)

    def _money_behind_cross(self) -> PriceTerms:
        constant, factors = self.cash, dict[str, float]()
        for leg, held in self.positions.items():
            account = self.account_of(leg)
            if account.borrows and account.mode == "isolated":
                constant += (held.cost if account.owns else 0.0) - held.margin
            elif account.borrows:
                constant -= 0.0 if account.owns else held.cost
                factors[leg] = held.quantity
        return PriceTerms(constant, factors)

    def equity_terms(self) -> PriceTerms:
        """The equity, as terms of the prices of the legs that hold something.

        Examples
        --------
        >>> from .spot_margin_and_perpetual import Perpetual
        >>> held = {"A": LegPosition(2.0, 200.0, 200.0, 0.0, 0, 0)}
        >>> Ledger(capital=1000.0, account=Perpetual(), cash=1000.0, positions=held).equity_terms()
        PriceTerms(constant=800.0, factors={'A': 2.0})
        """
        settled = (held.cost for leg, held in self.positions.items() if not self.account_of(leg).owns)
        return PriceTerms(self.cash - sum(settled), {leg: held.quantity for leg, held in self.positions.items()})

    def expected_free(self, exits: Iterable[LegFill], prices: Mapping[str, float]) -> float:
        """What will be free once these exits, which are ordered at this moment, have filled at the last close."""
        after = self
        for fill in exits:
            after = after.apply(fill).ledger
        return after.free(prices)

    def liquidation_price(self, leg: str, tick: float | None = None) -> float | None:
        """The price at which an isolated position is liquidated; ``None``: there is none, or margin is cross.

        ``tick``: the smallest step of its prices; the price is on this grid, away from the market.
        """
        held, account = self.positions[leg], self.account_of(leg)
        if not account.borrows or account.mode == "cross":
            return None
        size, cost = abs(held.quantity), abs(held.cost)
        return liquidation_price(account, held.side, quantity=size, cost=cost, margin=held.margin, tick=tick)

    def imbalance(self, prices: Mapping[str, float]) -> float:
        """What cash and positions are worth beyond what the sums say; 0 but for rounding of floats."""
        marked = self.mark(prices)
        costs = self.fees + self.slippage + self.funding + self.borrow - self.forgiven
        return marked.cash + marked.positions - (self.capital + self.realised + marked.unrealised - costs)


# --- fills --------------------------------------------------------------------------------------------------------


def _entered(ledger: Ledger, fill: LegFill) -> Booked:
    leg, order, account = fill.leg, fill.order, ledger.account_of(fill.leg)
    signed = order.quantity if fill.position == "long" else -order.quantity
    held = ledger.positions.get(leg) or LegPosition(0.0, 0.0, 0.0, 0.0, order.at, order.at)
    if held.quantity * signed < 0.0:
        raise ValueError(f"{leg} holds {held.quantity:g}: close it before a {fill.position} is opened")
    paid = signed * fill.costs.price
    set_aside = initial_margin(account, paid) if account.borrows and account.mode == "isolated" else 0.0
    position = held.enlarged(signed, order.price, fill.costs.price, margin=set_aside, at=order.at)
    after = replace(ledger, positions={**ledger.positions, leg: position})
    return _paid(after, fill, -paid if account.owns else 0.0)


def _left(ledger: Ledger, fill: LegFill) -> Booked:
    leg, order = fill.leg, fill.order
    held = ledger.positions.get(leg)
    signed = order.quantity if fill.position == "long" else -order.quantity
    if held is None or held.side != fill.position or order.quantity > abs(held.quantity) * (1 + EXACT):
        has = "nothing" if held is None else f"{held.quantity:g}"
        raise ValueError(f"{leg} holds {has}: {order.quantity:g} of a {fill.position} cannot be closed")
    share = min(signed / held.quantity, 1.0)
    positions = dict(ledger.positions)
    if share > 1 - EXACT:
        share = 1.0
        del positions[leg]
    else:
        positions[leg] = held.reduced(signed, share, at=order.at)
    received = signed * fill.costs.price
    realised = ledger.realised + signed * order.price - held.value * share
    after = replace(ledger, positions=positions, realised=realised)
    return _paid(after, fill, received if ledger.account_of(leg).owns else received - held.cost * share)


def _paid(ledger: Ledger, fill: LegFill, amount: float) -> Booked:
    """The ledger after the cash of a fill and its fee have moved."""
    costs, at = fill.costs, fill.order.at
    rows = []
    if ledger.account_of(fill.leg).owns or fill.order.kind in ("reduce", "exit"):
        kind: CashKind = fill.order.side if ledger.account_of(fill.leg).owns else "profit"
        rows.append(CashRow(at, fill.leg, kind, amount, ledger.cash + amount))
    cash = ledger.cash + amount - costs.fee
    if costs.fee:
        rows.append(CashRow(at, fill.leg, "fee", -costs.fee, cash))
    fees, slippage = ledger.fees + costs.fee, ledger.slippage + costs.slippage
    return Booked(replace(ledger, cash=cash, fees=fees, slippage=slippage), tuple(rows))


def _charged(ledger: Ledger, at: int, leg: str, kind: CashKind, paid: float) -> Booked:
    if not paid:
        return Booked(ledger, ())
    cash = ledger.cash - paid
    return Booked(replace(ledger, cash=cash), (CashRow(at, leg, kind, -paid, cash),))
