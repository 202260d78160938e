"""The price at which an account liquidates what a leg holds, in the state of the leg, and when it changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec import UNSET
from msgspec.structs import replace

from ..domain.ledger import Ledger
from ..domain.liquidation_price import away_from_market
from ..domain.market_clock import NEVER
from ..domain.states import Boundary, Holding, Input, State

if TYPE_CHECKING:
    from .bar_prices import BarPrices
    from .funding_due import FundingDue
    from .shared_account import SharedAccount

_OUT_OF_REACH: Final = {"long": 0.0, "short": math.inf}


class LegLiquidation:
    """The liquidation of what a leg holds.

    Fills of the leg move its price, and so does its funding, at its moments.

    Parameters
    ----------
    shared, leg
        The account of all legs, and the name of this one in it.
    funding
        Of the leg.
    """

    def __init__(self, shared: SharedAccount, leg: str, funding: FundingDue) -> None:
        self._shared, self._leg, self._funding = shared, leg, funding
        account = shared.begin.account_of(leg)
        self.borrows, self._mode = account.leverage > 1.0, account.mode
        self._followed = 0  # up to when (UTC ms) funding has moved it

    def begin(self, prices: BarPrices, tick: float | None) -> None:
        """Take the prices of the leg, and their smallest step (quote currency); ``None``: it is not known."""
        self._prices, self._tick = prices, tick

    def level(self, ledger: Ledger) -> float | None:
        """The price at which it is liquidated (quote currency), on the grid of prices; ``None``: at none.

        With cross margin it is that of a leg that has the account alone. Where that is at no price above 0, it is one
        that no market comes to, as it may move later.
        """
        if not self.borrows:
            return None
        if self._mode == "isolated":
            return ledger.liquidation_price(self._leg, self._tick)
        terms, side = ledger.spare_margin_terms(), ledger.positions[self._leg].side
        price = -terms.constant / terms.factors[self._leg]
        if self._tick is not None:
            price = away_from_market(side, price, self._tick)
        return price if price > 0.0 else _OUT_OF_REACH[side]

    def moved(self, state: State) -> State:
        """A state with the price at which what it holds is liquidated now."""
        ledger, is_held = self._shared.ledger, self._leg in self._shared.ledger.positions
        if not (self.borrows and is_held and isinstance(state, Holding) and state.book is not None):
            return state
        level = self.level(ledger)
        return replace(state, book=replace(state.book, liquidation=UNSET if level is None else level))

    # --- funding ----------------------------------------------------------------------------------------------------

    @property
    def changes(self) -> Callable[[], int] | None:
        """Returns the next moment (UTC ms) at which funding moves it; ``None``: none ever does."""
        return self.next_change if self._funding and self.borrows else None

    def next_change(self) -> int:
        """The next moment (UTC ms) at which funding moves the price of what is held; far in the future for none."""
        if not self.borrows or self._leg not in self._shared.ledger.positions:
            return NEVER
        moment = self._funding.moment_after(self._followed)
        return NEVER if moment == NEVER else self._prices.told(moment)

    def entered(self, at: int) -> None:
        """Note a fill that enters, in the bar that opens at a moment (UTC ms): its funding is what comes later."""
        self._followed = max(self._followed, at)

    def before(self, state: State, given: Input) -> State:
        """A state before an input: at a moment of funding, with the price that this has moved."""
        if not isinstance(given, Boundary) or given.when < self.next_change():
            return state
        self._shared.charge(given.when)
        self._followed = given.when
        return self.moved(state)
