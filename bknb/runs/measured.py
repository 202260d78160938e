"""What is measured of a run from its one-minute candles: the account, and whether they had volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..domain.pnl import net_percentage
from ..domain.signal import Closed, Opened
from ..metrics.account import Account, account_figures
from ..metrics.marked_equity import MarkedEquity, StillOpen, mark, positions_of

if TYPE_CHECKING:
    from ..metrics.marked_equity import Positions
    from .run_record import RunRecord

CUT_OFF: Final = ("frame_end", "data_end")
"""Reasons with which a position had no end of its own."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What stays known of a run when its candles are released.

    Attributes
    ----------
    account : Account
    has_volume : bool
        Whether any candle of the run had volume.
    """

    account: Account
    has_volume: bool


def cut_off(record: RunRecord) -> list[Closed]:
    """The positions that the end of the frame or of the data closed."""
    return [event for event in record.records.closed if event.close_reason in CUT_OFF or event.closed_at > record.last]


def last_moment(record: RunRecord) -> int:
    """The last moment of a run that it came to, UTC ms."""
    return record.last if record.reached is None else min(record.last, record.reached)


def positions_of_run(record: RunRecord) -> Positions:
    """The positions of a run, with one that is still open."""
    closed = record.records.closed
    ended = {event.signal.id for event in closed}
    still_open = None
    for event in reversed(record.records.events):
        if isinstance(event, Opened):
            if event.signal.id not in ended:
                settings = record.plan.settings
                still_open = StillOpen(event.signal, settings.percent_slippage, settings.percent_fee)
            break
    return positions_of(closed, still_open)


def marked_equity(record: RunRecord) -> MarkedEquity:
    """Equity of the account of a run, marked at the close of every one-minute bar.

    Raises
    ------
    DataError
        When its candles were released and cannot be read again.
    """
    candles = record.minutes
    positions = positions_of_run(record)
    return mark(positions, candles.timestamp, candles.close, start=record.start, end=_end(record))


def has_sessions(record: RunRecord) -> bool:
    """Whether the market of a run has sessions."""
    return getattr(record.plan.exchange.source, "sessions", None) is not None


def _end(record: RunRecord) -> int:
    return max(last_moment(record), record.start)


def measure(record: RunRecord) -> Measured:
    """Measure a run; raises ``DataError`` when its candles were released before and cannot be read again."""
    if record.measured is not None:
        return record.measured
    candles, end = record.minutes, _end(record)
    positions = positions_of_run(record)
    marked = mark(positions, candles.timestamp, candles.close, start=record.start, end=end)
    settings = record.plan.settings
    holding = None
    inside = int(candles.timestamp.searchsorted(end))  # the bar that opens at the end is behind it
    if inside:
        first, last = float(candles.open[0]), float(candles.close[inside - 1])
        holding = net_percentage("long", first, last, settings.percent_slippage, settings.percent_fee)
    account = account_figures(
        marked,
        positions,
        cut_off=len(cut_off(record)) + len(positions) - len(record.records.closed),
        buy_and_hold=holding,
        sessions=has_sessions(record),
    )
    return Measured(account, has_volume=not len(candles) or bool((candles.volume > 0).any()))
