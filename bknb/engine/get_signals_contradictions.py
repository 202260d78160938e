"""Rows of ``get_signals`` that contradict themselves: found, and said with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from .column_values import INVALID, LONG_LEAVES, OF_ONE_SIDE, SHORT_LEAVES, TWO_ENTRIES, TWO_TARGETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .get_signals_entry_columns import RowEntries
    from .get_signals_exit_columns import RowExits

_NO_SIGNAL: Final = {
    INVALID: "position in a row of get_signals must be 1 (long), -1 (short) or 0 (nothing), got another number; make "
    "it one of these",
    LONG_LEAVES: "a row of get_signals opens a long or closes one, got position=1 with exit_long=True; set exit_long "
    "to False where position is 1",
    SHORT_LEAVES: "a row of get_signals opens a short or closes one, got position=-1 with exit_short=True; set "
    "exit_short to False where position is -1",
    TWO_TARGETS: "a row of get_signals has one target or a ladder, got price_take_profit with target_1; set "
    "price_take_profit to NaN where target_1 is a price, or leave that column out",
    TWO_ENTRIES: "a row of get_signals has one entry: position with price_open or the ladder of open_1, or "
    "price_open_long and price_open_short, which compete; set the others to 0 and NaN",
    OF_ONE_SIDE: "a row of get_signals with price_open_long and price_open_short has levels for each side, got "
    "price_take_profit, price_stop_loss or target_1; set price_stop_loss_long and so on, or stop_percent and "
    "target_percent",
}
_SIDE_THAT_LEAVES: Final = {LONG_LEAVES: "long", SHORT_LEAVES: "short"}


def why_no_signal(code: int, entries: RowEntries | None, row: int) -> str:
    """Why a row whose position has a code of a contradiction is no signal, and what to do.

    Examples
    --------
    >>> why_no_signal(LONG_LEAVES, None, 0)[-42:]
    'set exit_long to False where position is 1'
    """
    side = _SIDE_THAT_LEAVES.get(code)
    if side is not None and entries is not None and entries.wanted(side)[row]:
        opens, leaves = f"price_open_{side}", f"exit_{side}"
        return (
            f"a row of get_signals opens a {side} or closes one, got {opens} with {leaves}=True; set {leaves} to False "
            f"where {opens} is a price, or {opens} to NaN"
        )
    return _NO_SIGNAL[code]


def contradicted(
    position: NDArray[np.int8], exits: RowExits, target: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.int8]:
    """Positions with a code of their own where another column of the row says the contrary."""
    both = ~np.isnan(target[rows])
    if both.any():
        both &= ~np.isnan(exits.targets[0][rows])
    if not (exits.leaves or both.any()):
        return position
    wanted = position[rows]
    leaving_long, leaving_short = exits.leave_long[rows] & (wanted == 1), exits.leave_short[rows] & (wanted == -1)
    if not (both.any() or leaving_long.any() or leaving_short.any()):
        return position
    wanted[both & (wanted != INVALID)] = TWO_TARGETS
    wanted[leaving_long], wanted[leaving_short] = LONG_LEAVES, SHORT_LEAVES
    codes = position.copy()
    codes[rows] = wanted
    return codes
