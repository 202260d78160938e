"""The price at which an account liquidates what a leg holds, and the state of the leg with it."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from ..domain.ledger import Ledger
from ..domain.liquidation_price import away_from_market
from ..domain.states import Holding, State


def liquidation_level(ledger: Ledger, leg: str, tick: float | None) -> float | None:
    """The price at which a position is liquidated (quote currency), on the grid of prices; ``None``: there is none.

    With cross margin it is that of a leg that has the account alone.
    """
    if ledger.account_of(leg).mode == "isolated":
        return ledger.liquidation_price(leg, tick)
    terms = ledger.spare_margin_terms()
    price = -terms.constant / terms.factors[leg]
    if tick is not None:
        price = away_from_market(ledger.positions[leg].side, price, tick)
    return price if price > 0.0 else None


def with_liquidation(state: State, ledger: Ledger, leg: str, tick: float | None) -> State:
    """A state with the price at which its account liquidates what it holds, where it holds anything."""
    if not isinstance(state, Holding) or state.book is None or leg not in ledger.positions:
        return state
    level = liquidation_level(ledger, leg, tick)
    return replace(state, book=replace(state.book, liquidation=UNSET if level is None else level))
