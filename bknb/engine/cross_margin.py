"""The margin that the legs of an account share: the bar in which it is used up, and the liquidation of all of them.

It is looked at before a portfolio comes to a moment, for every bar that has closed by then, with every leg at its worst
price of it: so each leg is liquidated in that bar, by a price that its lifecycle is given for it alone. What an order
that rests opens inside a bar is looked at from the next bar on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import numpy as np

from ..domain.cross_liquidation import cross_legs, liquidation_in_bar
from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.market_clock_protocol import NEVER
from ..domain.signal_events import Reason
from .leg_at_open import entered_at_open, has_orders, left_at_open, stop_before

if TYPE_CHECKING:
    from .leg_account import LegAccount
    from .shared_account import SharedAccount

_AHEAD: Final = 1000  # bars that are looked over at once


class _Looked(NamedTuple):
    """What a ledger was looked over with, up to a moment: the first close at which its margin may be used up (UTC ms).

    ``first`` is 0 where there is none.
    """

    positions: Mapping[str, object]
    cash: float
    until: int
    first: int


class WatchedMargin(msgspec.Struct, frozen=True, kw_only=True):
    """How far the margin that legs share was looked at.

    Attributes
    ----------
    until
        Up to which close, UTC ms.
    used_up_at
        The close of the last bar in which it was used up, UTC ms.
    closed_at, closed
        The close of the last bar in which legs were closed, UTC ms, and the names of these legs.
    """

    until: int = 0
    used_up_at: int = 0
    closed_at: int = 0
    closed: tuple[str, ...] = ()


class CrossMargin:
    """Watches the margin that legs share.

    Attributes
    ----------
    used_up_at
        The close of the last bar in which it was used up, UTC ms.
    ahead
        How many bars beyond a moment are looked over at once; 0 where those have not come.
    """

    def __init__(self, shared: SharedAccount) -> None:
        self._shared, self.ahead = shared, _AHEAD
        self._until = 0  # up to which close (UTC ms) it was looked at
        self._looked = _Looked({}, 0.0, 0, 0)
        self._closed: list[LegAccount] = []  # in the bar that closes at the next
        self._closed_at = self.used_up_at = 0

    def is_used_up(self, until: int) -> bool:
        """Look at bars that closed up to a moment (UTC ms), and return whether all is liquidated in one of them.

        Then each leg knows the bar and its price, and those behind that bar are not looked at.
        """
        while self._until < until:
            due = self._next_due()
            to = min(until, due)
            close = self._first_close(to)
            if close:
                is_liquidated = self._is_liquidated(close)
                self._until = close
                if is_liquidated:
                    self.used_up_at = close
                    return True
                continue
            self._until = to
            if due < until:
                self._shared.charge(due)
        return False

    def _next_due(self) -> int:
        """When the next funding or interest of a leg is known, UTC ms."""
        due = ((leg, min(leg.funding.next_moment, leg.liquidation.interest.next_moment)) for leg in self._shared.legs)
        return min(NEVER if moment == NEVER else leg.prices.told(moment) for leg, moment in due)

    def _first_close(self, until: int) -> int:
        """The next close up to a moment (UTC ms) at which something may be used up; 0: there is none."""
        shared, after = self._shared, self._until
        ledger = shared.ledger
        if any(has_orders(leg) for leg in shared.legs):
            closes = [leg.prices.next_close(after) for leg in shared.legs]
            return first if (first := min(closes)) <= until else 0
        looked = self._looked
        if looked.positions is not ledger.positions or looked.cash != ledger.cash or looked.until < until:
            ahead = until + self.ahead * max(leg.prices.step for leg in shared.legs)
            self._looked = looked = _Looked(ledger.positions, ledger.cash, ahead, self._scan(ledger, after, ahead))
        if looked.first and looked.first <= after:  # it was looked at, and something saved it
            self._looked = looked = looked._replace(first=self._scan(ledger, after, looked.until))
        return looked.first if 0 < looked.first <= until else 0

    def _scan(self, ledger: Ledger, after: int, until: int) -> int:
        """The first close after a moment and up to another with every leg at its worst; 0: always enough is left."""
        terms = ledger.spare_margin_terms()
        if not terms.factors:
            return 0
        bars = {leg: self._shared.legs[int(leg)].prices.bars_between(after, until) for leg in terms.factors}
        times = np.unique(np.concatenate([each.closes for each in bars.values()]))
        spare = np.full(len(times), terms.constant)
        for leg, factor in terms.factors.items():
            spare += factor * bars[leg].worst_at(times, long=factor > 0.0)
        used_up = spare <= 0.0
        return int(times[int(np.argmax(used_up))]) if used_up.any() else 0

    def _is_liquidated(self, close: int) -> bool:
        """Whether all is liquidated in the bars that close at a moment (UTC ms); then their legs are told."""
        shared = self._shared
        bars = {leg: leg.prices.bar_that_closes(close) for leg in shared.legs}
        opens = {leg: bar for leg, bar in bars.items() if bar is not None}
        ledger = shared.ledger
        for leg, bar in opens.items():
            ledger = left_at_open(leg, ledger, bar)
        for leg, bar in opens.items():
            ledger = entered_at_open(leg, ledger, bar)
        start, worst, stops = dict[str, float](), dict[str, float](), dict[str, float]()
        for name, held in ledger.positions.items():
            leg = shared.legs[int(name)]
            if (found := bars[leg]) is None:
                start[name] = worst[name] = leg.prices.at(close - 1)
                continue
            start[name], worst[name] = found.first, found.low if held.side == "long" else found.high
            if (stop := stop_before(leg, found)) is not None:
                stops[name] = stop
        ticks = {leg.name: leg.tick for leg in opens if leg.tick is not None}

        def closed(ledger: Ledger, name: str, price: float) -> Ledger:
            leg = shared.legs[int(name)]
            fill = leg.exits.part(ledger, 1.0, price, opens[leg].opened)
            return ledger if fill is None else ledger.apply(fill).ledger

        liquidation = liquidation_in_bar(ledger, start, worst, stops, ticks=ticks, closed=closed)
        if liquidation is None:
            return False
        for leg, bar in opens.items():
            if leg.name in liquidation.prices:
                leg.liquidation.in_bar(bar.opened, liquidation.prices[leg.name])
        return True

    def refuses(self, leg: LegAccount, opened: int) -> Reason | None:
        """Why an order that rests is not filled in a bar that opened at a moment (UTC ms); ``None``: it is."""
        if leg.prices.closes(opened) != self.used_up_at:
            return None
        return Reason("no_cash", "the account is liquidated in the bar that fills the order: nothing is opened in it")

    @property
    def watched(self) -> WatchedMargin:
        """How far it was looked at."""
        closed = tuple(leg.name for leg in self._closed)
        return WatchedMargin(until=self._until, used_up_at=self.used_up_at, closed_at=self._closed_at, closed=closed)

    def go_on(self, watched: WatchedMargin) -> None:
        """Go on from where it was looked at before."""
        self._until, self.used_up_at, self._closed_at = watched.until, watched.used_up_at, watched.closed_at
        self._closed = [self._shared.legs[int(name)] for name in watched.closed]

    def has_closed(self, leg: LegAccount) -> bool:
        """Whether a leg was closed in the last bar in which legs were."""
        return leg in self._closed

    def closed_at(self, when: int) -> list[LegAccount]:
        """The legs that were closed in the bar that closed at a moment (UTC ms)."""
        return self._closed if when == self._closed_at else []

    def left(self, leg: LegAccount, closed_at: int) -> None:
        """Note that a leg was closed in the bar that closes at a moment (UTC ms), and forgive what is missing then.

        That is shared by what its legs lost which were closed in this bar.
        """
        if leg.shared.ledger.account_of(leg.name).mode != "cross":
            return
        if closed_at != self._closed_at:
            self._closed.clear()
            self._closed_at = closed_at
        self._closed.append(leg)
        ledger = self._shared.ledger
        missing = 0.0 if cross_legs(ledger) else -ledger.cross_margin({})[0]
        losses = {each: each.lost for each in self._closed}
        if missing > 0.0 and (lost := sum(losses.values())) > 0.0:
            for each, loss in losses.items():
                if loss > 0.0:
                    each.forgive(closed_at, missing * loss / lost)
