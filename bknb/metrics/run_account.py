"""The account of one run, finished or not: its equity and its figures from positions and bars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.least_samples import GATES
from ..domain.pnl import net_percentage
from .account_definitions import ACCOUNT_DEFINITIONS, SESSION_DAYS
from .account_sharpe_sortino_and_drawdown import Account, account_figures
from .marked_equity import MarkedEquity, mark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..domain.signal_events import Closed
    from .marked_positions import Floats, Positions, Times

CUT_OFF: Final = ("frame_end", "data_end")
"""Reasons with which a position had no end of its own."""


def cut_off(closed: Iterable[Closed]) -> list[Closed]:
    """The positions that the end of the frame or the end of the data closed, by their close reason.

    One that ended for a reason of its own, such as a deadline in closed hours whose order is filled behind the frame,
    is none of them: these are what ``result.statistics(leave_out=["frame_end", "data_end"])`` leaves out.
    """
    return [event for event in closed if event.close_reason in CUT_OFF]


def no_account(
    reason: str, closed: Sequence[Closed], *, still_open: bool, of_bars: Mapping[str, float | None] | None = None
) -> Account:
    """The account of a run whose equity is not available: counts, what its bars say, and the reason for all else."""
    counts = {"positions": len(closed) + still_open, "cut_off": len(cut_off(closed)) + still_open}
    known = counts | {name: value for name, value in (of_bars or {}).items() if value is not None}
    figures = {name: known.get(name) for name in ACCOUNT_DEFINITIONS}
    return Account(figures, {name: reason for name in ACCOUNT_DEFINITIONS if name not in known})


def figures_of_bars(bar_ms: Times, open_: Floats, close: Floats, terms: Terms) -> dict[str, float | None]:
    """Figures of an account that need no equity; ``None`` where not available."""
    start, end = terms.span(bar_ms)
    return {
        "buy_and_hold": buy_and_hold(bar_ms, open_, close, terms),
        "days_a_year": SESSION_DAYS if terms.sessions else GATES.days_a_year,
        "frame_days": (end - start) / DAY_MS,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the account of a run rests on beside its positions and bars.

    Attributes
    ----------
    start, end : int
        First moment of the run and the last it came to, UTC ms.
    slippage, fee : float
        Costs of each side, percent.
    sessions : bool
        Whether the market has sessions: what lies before its first bar and behind its last one is no time of the run.
    bar_ms : int
        Length of a bar, ms.
    """

    start: int
    end: int
    slippage: float
    fee: float
    sessions: bool = False
    bar_ms: int = MINUTE_MS

    def span(self, bar_ms: Times) -> tuple[int, int]:
        """First and last moment of the account, UTC ms, with the open times of the bars that are known."""
        first, behind = (int(at) for at in bar_ms.searchsorted((self.start, self.end - self.bar_ms + 1)))
        if not self.sessions or first >= behind:
            return self.start, max(self.start, self.end)
        return int(bar_ms[first]), int(bar_ms[behind - 1]) + self.bar_ms


def mark_run(positions: Positions, bar_ms: Times, close: Floats, terms: Terms) -> MarkedEquity:
    """Equity of a run at the close of every bar; see :func:`~bknb.metrics.marked_equity.mark`."""
    start, end = terms.span(bar_ms)
    return mark(positions, bar_ms, close, start=start, end=end, step=terms.bar_ms)


def buy_and_hold(bar_ms: Times, open_: Floats, close: Floats, terms: Terms) -> float | None:
    """What a long from the first open to the last close makes after one round of costs, percent; ``None``: no bars."""
    first, behind = (int(at) for at in bar_ms.searchsorted(terms.span(bar_ms)))  # a bar that opens at the end is behind
    if first >= behind or open_[first] <= 0:
        return None
    return net_percentage("long", float(open_[first]), float(close[behind - 1]), terms.slippage, terms.fee)


def account_of(
    marked: MarkedEquity,
    positions: Positions,
    bar_ms: Times,
    open_: Floats,
    close: Floats,
    terms: Terms,
    *,
    closed: Sequence[Closed],
    cut_off: int,
    below: Floats | None = None,
) -> Account:
    """The figures of the account of a run, as they stand at its last moment.

    Parameters
    ----------
    marked : MarkedEquity
        What :func:`mark_run` made of the next four.
    positions : Positions
    bar_ms, open_, close : ndarray, shape (n,)
        Open times (UTC ms, ascending), opening and closing prices of the bars.
    terms : Terms
    closed : sequence of Closed
        The ends of those of the positions that have ended.
    cut_off : int
        How many positions had no end of their own, or have none yet.
    below : ndarray of float64, optional
        The drawdown of ``marked``, where it is known already.
    """
    held = buy_and_hold(bar_ms, open_, close, terms)
    account = account_figures(
        marked,
        positions,
        cut_off=cut_off,
        buy_and_hold=held,
        sessions=terms.sessions,
        over_ms=None if terms.bar_ms == MINUTE_MS else _over(positions, closed, bar_ms, open_, terms.bar_ms),
        below=below,
    )
    if held is None and len(bar_ms) and open_[min(int(bar_ms.searchsorted(terms.start)), len(bar_ms) - 1)] <= 0:
        account.reasons["buy_and_hold"] = "the first price is at or below zero"
    return account


def _over(positions: Positions, closed: Sequence[Closed], bar_ms: Times, open_: Floats, step: int) -> Times:
    """When positions were over, UTC ms: one that did not leave at the open of its last bar, at its close."""
    over = positions.closed_ms.copy()
    at = bar_ms.searchsorted(over[: len(closed)])
    known = at < len(bar_ms)
    opens = np.full(len(closed), np.nan)
    opens[known] = open_[at[known]]
    prices = np.array([event.price_close for event in closed])
    later = np.array([event.close_reason == "data_end" or _left_by_limit(event) for event in closed], dtype=np.bool_)
    over[: len(closed)] += np.where((prices != opens) | later, step, 0)
    return over


def _left_by_limit(event: Closed) -> bool:
    """Whether a position left by its target within a bar: that bar may have opened at the target before it filled.

    A target that a bar opens beyond, or that the entry has filled beyond, fills at that open.
    """
    if event.fills:
        return event.fills[-1].rested
    signal = event.signal
    return event.close_reason == "take_profit" and event.price_close == signal.price_take_profit != signal.price_open
