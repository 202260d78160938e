"""The account of a run or of a portfolio while it runs: sizes what is opened, and books every fill.

Each leg has its part of it (:mod:`bknb.engine.leg_account`).

Within a bar a leg sees the cash of the bar's start: what is sold inside the bar pays for nothing that is bought in it.
What was ordered at a moment fills at one open, exits before entries: these count.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from operator import itemgetter
from typing import NamedTuple

from ..domain.funding_and_borrow_amounts import Funding
from ..domain.funding_charged_and_fills_booked import Booked, CashRow, Ledger, Marked
from ..domain.leg_position import part_name
from ..domain.quantity_step_and_least_amount import EXACT
from ..domain.risk_request_and_verdict import AccountMarks, Reserve
from .account_plan import AccountPlan, LegMoney
from .cross_margin import CrossMargin
from .leg_account import LegAccount
from .moment_of_ruin import moment_of_ruin


class AccountChange(NamedTuple):
    """The account from a moment (UTC ms) on: marks at or after it are of this ledger."""

    since: int
    ledger: Ledger


class Freed(NamedTuple):
    """Money that an exit freed: since when (UTC ms), and the open at which it filled where it was ordered before."""

    since: int
    opened: int | None
    money: float

    def by(self, opened: int) -> bool:
        """Whether it was ordered to leave by the open of a bar (UTC ms)."""
        return self.opened is not None and self.opened <= opened


def _has_due(leg: LegAccount) -> bool:
    """Whether funding of a leg, or its interest between fills, is to be charged."""
    return bool(leg.funding or leg.liquidation.interest)


class SharedAccount:
    """An account that the legs of a run share.

    Attributes
    ----------
    begin, ledger
        Before anything was traded, and now.
    changes
        The account after each change, in order.
    rows
        Every movement of cash.
    legs, holders
        The part of each leg, in declared order; and of each that may hold a position, by its name in the ledgers.
    shares_margin, cross
        Whether several legs share margin with leverage, and what watches it then.
    """

    def __init__(self, plan: AccountPlan) -> None:
        self.plan = plan
        # One mapping for all ledgers: a place that is taken for the first time has the account of its leg in each.
        self._accounts = {str(order): leg.account for order, leg in enumerate(plan.legs)}
        first = plan.legs[0].account
        self.begin = self.ledger = Ledger.begin(plan.capital, first, self._accounts)
        self.changes: list[AccountChange] = []
        self.rows: list[CashRow] = []
        self.shares_margin = plan.shares_margin
        self.legs = [self._leg(order, money) for order, money in enumerate(plan.legs)]
        self.holders = {leg.name: leg for leg in self.legs}
        self.cross = CrossMargin(self) if self.shares_margin else None
        self._freed: list[Freed] = []
        self._solvent = 0  # up to when it is known to have been worth something, UTC ms

    def _leg(self, order: int, money: LegMoney) -> LegAccount:
        return LegAccount(self, order, money)

    def place(self, leg: LegAccount, name: str) -> LegAccount:
        """The part of one of several places of a leg, which holds a position of its own."""
        self._accounts[part_name(int(leg.name), name)] = leg.money.account
        part = self._place(leg, name)
        part.begin_place()
        self.holders[part.name] = part
        return part

    def _place(self, leg: LegAccount, name: str) -> LegAccount:
        return LegAccount(self, int(leg.name), leg.money, of=leg, place=name)

    def prices_at(self, when: int) -> dict[str, float]:
        """The last close of each leg with a position at a moment (UTC ms)."""
        return {leg: self.holders[leg].prices.at(when) for leg in self.ledger.positions}

    def marked_at(self, when: int) -> Marked:
        """The account at the last closes at a moment (UTC ms), once what is due by then is charged."""
        self.charge(when)
        return self.ledger.mark(self.prices_at(when))

    def book(self, booked: Booked, since: int) -> None:
        """Take a change of the account, which marks from ``since`` (UTC ms) on show."""
        self.ledger = booked.ledger
        self.rows.extend(booked.rows)
        self.changes.append(AccountChange(since, booked.ledger))

    def charge(self, until: int) -> None:
        """Charge what is due of all legs up to a moment (UTC ms) at which all bars that have closed are told."""
        self._charge({leg: leg.prices.known_until(until) for leg in self.holders.values() if _has_due(leg)}, until)

    def charge_before(self, filling: LegAccount, opened: int) -> None:
        """Charge what is due up to a fill in the bar of a leg that opened at a moment (UTC ms), told as it closes.

        Of other legs bars that close then may not be told yet: what is due of them counts up to the open of those.
        """
        closed = filling.prices.closes(opened)
        until = {leg: leg.prices.known_until(closed - 1) for leg in self.holders.values() if _has_due(leg)}
        self._charge(until | {filling: opened} if _has_due(filling) else until, closed - 1)

    def _charge(self, until: Mapping[LegAccount, int], now: int) -> None:
        """Charge funding, and interest, in order of their moments, and close all where nothing is left by a moment."""
        due: list[tuple[int, int, Funding | None]] = []
        legs = [*until]
        for order, leg in enumerate(legs):
            due += [(row.moment, order, row) for row in leg.funding.until(until[leg])]
            due += [(moment, order, None) for moment in leg.liquidation.interest.moments(until[leg])]
        charged, latest = -1, 0
        for moment, order, row in sorted(due, key=itemgetter(0, 1)):
            leg = legs[order]
            told = leg.prices.told(moment)
            if moment != charged:  # what one leg pays at a moment another one may receive
                self._close_in_ruin(latest, charged=True)
                charged, latest = moment, 0
            self._close_in_ruin(told - 1)
            if leg.name in self.ledger.positions:
                price, yearly = leg.prices.at(moment), leg.liquidation.interest.yearly
                leg.book_charge(
                    self.ledger.charge_borrow(leg.name, moment, price, yearly)
                    if row is None
                    else self.ledger.charge_funding(leg.name, row, price),
                    told,
                )
                latest = max(latest, told)
        self._close_in_ruin(latest, charged=True)
        self._close_in_ruin(now)

    def _close_in_ruin(self, until: int, *, charged: bool = False) -> None:
        """Close all, and forgive what is missing, where the account was worth nothing at a close up to a moment.

        ``charged``: or at that moment (UTC ms), at which something was charged: in a hole no bar closes.
        """
        after, self._solvent = self._solvent, max(self._solvent, until)
        bars = {name: self.holders[name].prices for name in self.ledger.positions}
        at = moment_of_ruin(self.ledger, bars, after, until)
        if at is None and charged and until > after and self.ledger.mark(self.prices_at(until)).equity <= 0.0:
            at = until
        if at is not None:
            known = len(self.changes)
            losses = {leg: leg.close_in_ruin(at) for leg in self.holders.values()}
            if self.cross is not None:  # one that was liquidated in that bar may have lost more than there was
                losses |= {leg: leg.lost for leg in self.cross.closed_at(at)}
            missing, lost = max(-self.ledger.cash, 0.0), sum(losses.values())
            for leg, loss in losses.items():
                if loss > 0.0:
                    leg.forgive(at, missing * loss / lost)
            del self.changes[known:-1]  # it is one change

    def marks(self, command: Reserve, asking: LegAccount, value: float) -> AccountMarks:
        """The account as a risk profile sees it, with a candidate of a leg and its value (quote currency).

        What was granted before and waits counts as held. Of an order that a bar fills it is the account of the bar's
        start, with what was opened since: what left in the bar still counts, but not against its own leg.
        """
        when, ledgers = command.when, [self.ledger]
        if command.fill is not None:
            since = [*takewhile(lambda change: change.since > when, reversed(self.changes))]
            before = len(self.changes) - len(since)
            ledgers += [change.ledger for change in since]
            ledgers.append(self.changes[before - 1].ledger if before else self.begin)
        prices = {leg: self.holders[leg].prices.at(when) for ledger in ledgers for leg in ledger.positions}
        held = {leg: max(ledger.value_of(leg, price) for ledger in ledgers) for leg, price in prices.items()}
        if command.ending is not None:
            held.pop(asking.name, None)
        waits = sum(leg.waiting.worth_beside(command) for leg in self.holders.values())
        return AccountMarks(ledgers[-1].mark(prices).equity, sum(held.values()) + waits, value)

    def free_at_question(self, when: int, ledger: Ledger) -> float:
        """What is free of an account at a moment (UTC ms), once what was ordered to leave has left at the last close.

        ``ledger`` is that of now, with what the answer that asks has ended.
        """
        prices = self.prices_at(when)
        exits = []
        for leg in self.holders.values():
            if leg.name in ledger.positions:
                since = leg.prices.known_until(when)  # longer bars: what is ordered inside one leaves behind it
                if (fill := leg.exits.ordered(self.ledger, leg.state, prices[leg.name], since)) is not None:
                    exits.append(fill)
        return self._not_below_0(ledger.expected_free(exits, prices))

    def free_in_bar(self, opened: int, ledger: Ledger, asking: LegAccount) -> float:
        """What is free for what fills in a bar that opened at a moment (UTC ms).

        What was ordered to leave at that open, or at the open of a longer bar before it, has left: at the last close
        where that bar is still under way, as its open is known once it has closed.

        Parameters
        ----------
        opened
            The open of the bar: positions are marked at the last closes before it.
        ledger
            With what left before at the open of this bar, of the leg that asks.
        asking
            The leg.
        """
        prices, now = self.prices_at(opened), asking.prices.closes(opened)
        others = (leg for leg in self.holders.values() if leg is not asking and leg.name in ledger.positions)
        found = (leg.exits.in_bar(self.ledger, leg.state, opened, now) for leg in others)
        exits = [fill for fill in found if fill is not None]
        withheld = sum(freed.money for freed in self._freed if freed.since > opened and not freed.by(opened))
        return self._not_below_0(ledger.expected_free(exits, prices) - withheld)

    def _not_below_0(self, free: float) -> float:
        """What is free of the account: nothing where it is below 0, or what arithmetic left of nothing."""
        return free if free > EXACT * self.plan.capital else 0.0

    def freed(self, since: int, opened: int | None, money: float) -> None:
        """Note money that is free from a moment (UTC ms) on."""
        longest = max(leg.prices.step for leg in self.legs)
        self._freed = [known for known in self._freed if known.since > since - longest]
        if money > 0.0:
            self._freed.append(Freed(since, opened, money))
