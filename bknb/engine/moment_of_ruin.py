"""When an account was worth nothing: at the close of a bar, while what it holds stays the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..domain.funding_charged_and_fills_booked import Ledger
    from .bar_prices import BarPrices


def moment_of_ruin(ledger: Ledger, bars: Mapping[str, BarPrices], after: int, until: int) -> int | None:
    """The first close after one moment and up to another at which an account was worth nothing (UTC ms).

    Only shorts, and what is borrowed or has margin, lose more than there is; ``None`` where there is neither, and where
    the account always was worth something.

    Parameters
    ----------
    ledger
        The account in between.
    bars
        The prices of the legs that it names.
    after, until
        UTC ms.
    """
    terms = ledger.equity_terms()
    if until <= after or not terms.factors or min(terms.constant, *terms.factors.values()) >= 0.0:
        return None
    closes = {leg: bars[leg].closes_between(after, until) for leg in terms.factors}
    times = np.unique(np.concatenate([times for times, _ in closes.values()]))
    worth = np.full(len(times), terms.constant)
    for leg, factor in terms.factors.items():
        known, prices = closes[leg]
        at = np.searchsorted(known, times, side="right") - 1
        before = bars[leg].at(after)
        worth += factor * np.where(at < 0, before, prices[np.maximum(at, 0)] if len(prices) else before)
    nothing = worth <= 0.0
    return int(times[int(np.argmax(nothing))]) if nothing.any() else None
