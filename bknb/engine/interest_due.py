"""The interest of a short with cross margin and leverage that has not been charged yet: it is due at each full hour.

Of all others interest is charged with their fills alone, as it moves no price at which something is liquidated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..domain.interval import MINUTE_MS, floor_to
from ..domain.market_clock_protocol import NEVER

if TYPE_CHECKING:
    from .shared_account import SharedAccount

_HOUR_MS: Final = 60 * MINUTE_MS


class InterestDue:
    """The interest of a leg.

    Parameters
    ----------
    shared, leg
        The account of all legs, and the name of this one in it.
    yearly
        Percent of the value of a short a year; 0: none is due between fills.
    """

    def __init__(self, shared: SharedAccount, leg: str, yearly: float) -> None:
        self._shared, self._leg, self.yearly = shared, leg, yearly

    def __bool__(self) -> bool:
        return self.yearly > 0.0

    def moments(self, until: int) -> Sequence[int]:
        """The moments up to another one at which interest is due that has not been charged, all UTC ms."""
        return range(first, until + 1, _HOUR_MS) if (first := self.next_moment) <= until else ()

    @property
    def next_moment(self) -> int:
        """The first of them, UTC ms; far in the future for none."""
        held = self._shared.ledger.positions.get(self._leg)
        return NEVER if held is None else self.moment_after(held.borrowed_since)

    def moment_after(self, when: int) -> int:
        """The first moment later than another (UTC ms), charged or not; far in the future for none."""
        held = self._shared.ledger.positions.get(self._leg)
        is_due = self.yearly > 0.0 and held is not None and held.quantity < 0.0
        return floor_to(when, _HOUR_MS) + _HOUR_MS if is_due else NEVER
