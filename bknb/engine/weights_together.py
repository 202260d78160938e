"""Weights that are held together: what ends one leg ends the others, and what one is refused is taken back of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.manage_answers import Cancel, Close, PositionAnswer
from ..domain.market_clock_protocol import NEVER
from ..domain.signal_events import Cancelled, Closed, Event, RiskRefused
from ..domain.states import Holding, Opening, State

if TYPE_CHECKING:
    from .leg_account import LegAccount

_OWN: Final = ("strategy", "together", "frame_end", "data_end")
"""Reasons of ends that are not those of one leg alone."""


class Due(NamedTuple):
    """What a leg has to do at a moment (UTC ms) about a signal: leave, or take back what was ordered."""

    when: int
    signal_id: str
    leaves: bool


class Together:
    """What the legs of weights have to do because of another one.

    Attributes
    ----------
    rows
        What each of them has to do, by its symbol.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Due] = {}

    def told(self, event: Event, when: int, legs: Mapping[str, LegAccount]) -> bool:
        """Note an event of a leg at a moment (UTC ms); whether it concerns the others.

        One whose longer bar is under way then does its part at the close of that: what fills in it is known by then.
        """
        ends = (isinstance(event, Closed) and event.close_reason not in _OWN) or (
            isinstance(event, Cancelled) and event.reason in ("risk", "price_reject")
        )
        if not (ends or isinstance(event, RiskRefused)):
            return False
        for symbol, leg in legs.items():
            signal_id = _id_of(leg.state)
            if symbol != event.symbol and signal_id is not None:
                self.rows[symbol] = Due(leg.prices.told(when), signal_id, leaves=ends)
        return True

    def due(self, symbol: str, state: State) -> int:
        """When a leg in a state has to do something (UTC ms); far in the future: it has not."""
        due = self.rows.get(symbol)
        if due is None:
            return NEVER
        if due.signal_id == _id_of(state):
            return due.when
        del self.rows[symbol]
        return NEVER

    def answer(self, symbol: str, state: State) -> PositionAnswer | None:
        """What a leg does, once."""
        due = self.rows.pop(symbol, None)
        if due is None:
            return None
        return Close() if due.leaves and isinstance(state, Holding) else Cancel()


def _id_of(state: State) -> str | None:
    """The signal that is open or ordered and does not leave."""
    if isinstance(state, Opening) or (isinstance(state, Holding) and state.leaving is None):
        return state.signal.id
    return None
