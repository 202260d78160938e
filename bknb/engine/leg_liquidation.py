"""The price at which an account liquidates what a leg holds, in the state of the leg, and when it changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.lifecycle_inputs import Boundary, Input
from ..domain.liquidation_price import away_from_market
from ..domain.market_clock_protocol import NEVER
from ..domain.states import Entering, Holding, State
from .interest_due import InterestDue

if TYPE_CHECKING:
    from .bar_prices import BarPrices
    from .funding_rates_not_charged_yet import FundingDue
    from .shared_account import SharedAccount

_OUT_OF_REACH: Final = {"long": 0.0, "short": sys.float_info.max}  # finite: the state of a live leg is saved


class LiquidationDue(NamedTuple):
    """What is to come of a liquidation.

    ``followed``: up to when (UTC ms) funding and interest have moved its price. ``bar_opens``: open time of the bar in
    which margin that legs share is used up, UTC ms, far in the future for none; ``price`` in it.
    """

    followed: int = 0
    bar_opens: int = NEVER
    price: float = 0.0


class LegLiquidation:
    """The liquidation of what a leg holds.

    Fills of the leg move its price, and so do its funding and its interest, at their moments.

    Parameters
    ----------
    shared, leg
        The account of all legs, and the name of this one in it.
    funding, borrow_yearly
        Of the leg; the interest in percent of the value of a short.

    Attributes
    ----------
    shares, borrows
        Whether it shares cross margin with other legs, and whether it can be liquidated at all.
    interest
        What is due of it between fills.
    bar_opens
        Open time of the bar in which margin that legs share is used up, UTC ms; far in the future for none.
    """

    def __init__(self, shared: SharedAccount, leg: str, funding: FundingDue, borrow_yearly: float) -> None:
        self._shared, self._leg, self._funding = shared, leg, funding
        account = shared.begin.account_of(leg)
        self.shares = shared.shares_margin and account.borrows and account.mode == "cross"
        self.borrows, self._mode = account.leverage > 1.0 or self.shares, account.mode
        self.interest = InterestDue(shared, leg, borrow_yearly if self.borrows and self._mode == "cross" else 0.0)
        self.followed = 0  # up to when (UTC ms) funding and interest have moved it
        self.bar_opens, self._in_bar = NEVER, 0.0  # and the price in it

    def begin(self, prices: BarPrices, tick: float | None) -> None:
        """Take the prices of the leg, and their smallest step (quote currency); ``None``: it is not known."""
        self._prices, self._tick = prices, tick

    def level(self, ledger: Ledger, opened: int) -> float | None:
        """The price at which it is liquidated (quote currency), on the grid of prices; ``None``: at none.

        With cross margin it is that of a leg that has the account alone. Where that is at no price above 0, it is one
        that no market comes to, as it may move later; and so it is where legs share their margin, but in the bar in
        which that is used up. ``opened``: the open of the bar that is asked about, UTC ms.
        """
        if not self.borrows:
            return None
        if self.shares:
            return self._in_bar if opened == self.bar_opens else _OUT_OF_REACH[ledger.positions[self._leg].side]
        if self._mode == "isolated":
            return ledger.liquidation_price(self._leg, self._tick)
        terms, side = ledger.spare_margin_terms(), ledger.positions[self._leg].side
        price = -terms.constant / terms.factors[self._leg]
        if self._tick is not None:
            price = away_from_market(side, price, self._tick)
        return price if price > 0.0 else _OUT_OF_REACH[side]

    def moved(self, state: State, opened: int = -1) -> State:
        """A state with the price at which what it holds is liquidated now, or in a bar that opens at a moment."""
        ledger, is_held = self._shared.ledger, self._leg in self._shared.ledger.positions
        if not (self.borrows and is_held and isinstance(state, Holding) and state.book is not None):
            return state
        level = self.level(ledger, opened)
        return replace(state, book=replace(state.book, liquidation=UNSET if level is None else level))

    @property
    def due(self) -> LiquidationDue:
        """What is to come of it."""
        return LiquidationDue(self.followed, self.bar_opens, self._in_bar)

    def go_on(self, due: LiquidationDue) -> None:
        """Go on with what was to come of it."""
        self.followed, self.bar_opens, self._in_bar = due

    # --- funding and interest ---------------------------------------------------------------------------------------

    @property
    def changes(self) -> LegLiquidation | None:
        """Itself, where funding, interest or other legs change it; ``None``: nothing but fills of the leg does."""
        return self if self.shares or (self._funding and self.borrows) or self.interest else None

    def next_change(self) -> int:
        """The next moment (UTC ms) at which funding or interest moves the price of what is held.

        Far in the future for none.
        """
        if self.shares or not self.borrows or self._leg not in self._shared.ledger.positions:
            return NEVER
        moment = min(self._funding.moment_after(self.followed), self.interest.moment_after(self.followed))
        return NEVER if moment == NEVER else self._prices.told(moment)

    def entered(self, at: int) -> None:
        """Note a fill that enters, in the bar that opens at a moment (UTC ms): what is due comes later."""
        self.followed = max(self.followed, at)

    def before(self, state: State, given: Input) -> State:
        """A state before an input: where something is due, and in a bar that uses up the margin, with its new price."""
        if isinstance(given, Minute) and given.t == self.bar_opens:
            return self.moved(state, given.t)
        if not isinstance(given, Boundary) or given.when < self.next_change():
            return state
        self._shared.charge(given.when)
        self.followed = given.when
        return self.moved(state)

    # --- margin that legs share -------------------------------------------------------------------------------------

    def in_bar(self, opened: int, price: float) -> None:
        """Take the bar in which the margin is used up, by its open time (UTC ms), and the price in it."""
        self.bar_opens, self._in_bar = opened, price

    def after(self, state: State, given: Input) -> State:
        """A state after an input: once that bar is over there is no price any more."""
        if not isinstance(given, Minute) or given.t < self.bar_opens or isinstance(state, Entering):
            return state
        self.bar_opens = NEVER
        return self.moved(state)
