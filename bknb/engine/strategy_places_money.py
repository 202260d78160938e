"""What an account allows of a strategy with several places: positions of one symbol beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.signal_events import Reason
from ..domain.states import position_of, signals_of
from ..errors import UsageError

if TYPE_CHECKING:
    from ..domain.signal import Position
    from ..domain.spot_margin_and_perpetual import Account
    from .leg_account import LegAccount
    from .portfolio_run import LegPlan


def check_account_of_places(plan: LegPlan, account: Account, *, shared_leverage: float) -> None:
    """Check that an account can hold the places of a strategy; ``shared_leverage`` is the most with cross margin.

    Raises
    ------
    UsageError
        They would share margin with leverage, and be liquidated together.
    """
    if account.borrows and account.mode == "cross" and shared_leverage > 1.0:
        raise UsageError(
            f"strategy {plan.strategy.name!r} has {plan.strategy.places} places, and positions of several places with "
            "cross margin and leverage would be liquidated together, which an account does not do yet\n"
            "give each its own margin, such as bknb.Margin(leverage=2, mode='isolated'), or leave the leverage at 1"
        )


def opposite_places(part: LegAccount, leg: LegAccount, position: Position) -> Reason | None:
    """Why a position may not be opened beside those in other places of a leg: an exchange would net them.

    What waits and has not filled does not count: it is asked about again when it fills.
    """
    for other in part.shared.holders.values():
        if other is part or other.leg is not leg or position_of(other.state) is None:
            continue
        held = signals_of(other.state)[0]
        if held.position != position:
            text = f"no {position} beside the {held.position} in the place {held.place!r}: an exchange nets perpetuals"
            return Reason("account", f"{text}; bknb.Margin() holds both")
    return None
