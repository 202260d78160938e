"""A weight with levels: what a strategy wants to hold, as a part of the equity, and where it is to be out."""

from __future__ import annotations

from .declared_exits import Breakeven, Trailing
from .keyword_arguments import ByName
from .signal import Position


class Weight(ByName, frozen=True):
    """A part of the equity to be held, with levels for it; a ``get_weight`` may answer so in place of a number.

    Parameters
    ----------
    weight
        1 is all of the equity, below 0 is short, 0 is nothing.
    price_stop_loss
        The stop, in quote currency. Of what is open it moves the stop, never away from the market; ``None`` leaves it.
    stop_percent
        The stop as gross percent from the average price of all entries, in place of a price: 2 is 2 % below it for a
        long. It moves with adds.
    target_percent
        The target, likewise on the other side. What it has ended stays flat as what a stop has ended.
    trailing, breakeven
        As in ``bknb.Signal``.
    note
        Free text that travels with what is ordered for it.

    Notes
    -----
    ``stop_percent``, ``target_percent``, ``trailing`` and ``breakeven`` are those of the answer that opens the
    position; later ones change nothing.

    What a level has ended stays flat until its weight has been 0 or on the other side, unless the strategy has
    ``reenter=True``.

    Examples
    --------
    >>> Weight(0.3, price_stop_loss=95.0).weight
    0.3
    """

    weight: float
    price_stop_loss: float | None = None
    stop_percent: float | None = None
    target_percent: float | None = None
    trailing: Trailing | None = None
    breakeven: Breakeven | None = None
    note: str = ""


def side_of_weight(weight: float) -> Position:
    """The side of a weight.

    Examples
    --------
    >>> side_of_weight(0.5), side_of_weight(-0.5)
    ('long', 'short')
    """
    return "short" if weight < 0.0 else "long"
