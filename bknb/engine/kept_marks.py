"""Marks of an account that are kept, as the bars and changes they are made of are not all in memory any more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from .marked_account_equity import LegCloses, Moments, marked_money, moments_of

if TYPE_CHECKING:
    from ..domain.funding_charged_and_fills_booked import Ledger
    from .marked_account_equity import Flags, Floats, Times

MADE_OF_MARKS: Final = (
    "cagr",
    "max_drawdown",
    "drawdown_days",
    "volatility",
    "sharpe",
    "sortino",
    "calmar",
    "exposure",
    "turnover",
    "buy_and_hold",
)
"""Figures of an account that need all of its marks, or its first moment."""


class KeptMarks(NamedTuple):
    """The marks of an account up to a moment; those behind it are made of bars and changes.

    Attributes
    ----------
    time_ms, bar_closed
        Moments (UTC ms, ascending), and whether a bar closed at each; of shape (n,).
    worth, longs, shorts
        What the account, its longs and its shorts are worth at each, quote currency, shorts below 0; of shape (n,).
    after
        The moment, UTC ms: that of the last of them, where there are any.
    closes, opens
        The last close then, and the first open, of each leg by its name in the ledgers, where they are known.
    held_ms
        How long something was held up to then.
    unknown
        Why the marks before ``after`` are not known; empty: they are.
    restored
        Whether an earlier process kept the first of them.
    """

    time_ms: Times
    bar_closed: Flags
    worth: Floats
    longs: Floats
    shorts: Floats
    after: int
    closes: Mapping[str, float]
    opens: Mapping[str, float]
    held_ms: int
    unknown: str = ""
    restored: bool = False

    def closes_behind(self, name: str, bars: LegCloses) -> LegCloses:
        """The bars of a leg that close behind the kept marks, with the last close before them in front."""
        return behind(self.after, self.closes.get(name), bars)

    def moments_behind(self, legs: Iterable[LegCloses], changes: Iterable[int], end: int) -> Moments:
        """The moments of marks behind the kept ones up to an end (UTC ms), as of :func:`moments_of`."""
        found = moments_of(legs, changes, start=self.after, end=max(end, self.after))
        return Moments(found.time_ms[1:], found.bar_closed[1:]) if len(self.time_ms) else found

    def joined(
        self, begin: Ledger, changes: Sequence[tuple[int, Ledger]], legs: Mapping[str, LegCloses], *, end: int
    ) -> tuple[Moments, Floats]:
        """All moments up to an end (UTC ms), and what the account was worth at each, quote currency.

        Parameters as of :func:`bknb.engine.marked_account_equity.marked_money`; ``legs`` have the bars behind.
        """
        moments, worth = self.moments_behind(legs.values(), (since for since, _ in changes), end), self.worth
        if len(moments.time_ms):
            worth = np.concatenate((worth, marked_money(begin, changes, legs, moments.time_ms)))
        times = np.concatenate((self.time_ms, moments.time_ms))
        return Moments(times, np.concatenate((self.bar_closed, moments.bar_closed))), worth


def behind(after: int, close: float | None, bars: LegCloses) -> LegCloses:
    """The bars that close behind a moment (UTC ms), and in front of them the close of then, where that is known.

    ``close`` is that for bars of which none closed by then.
    """
    first = int(bars.closed_ms.searchsorted(after, side="right"))
    close = float(bars.close[first - 1]) if first else close
    if close is None:
        return LegCloses(bars.closed_ms[first:], bars.close[first:])
    times = np.concatenate(([after], bars.closed_ms[first:]))
    return LegCloses(times, np.concatenate(([close], bars.close[first:])))
