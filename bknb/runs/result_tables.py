"""Rows and columns of the tables of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from ..domain.interval import MINUTE_MS
from ..domain.profit_of_partial_closes import closed_points
from ..domain.signal import OpenSignal, ScheduledSignal
from ..domain.signal_events import Cancelled, Closed, Rejected

if TYPE_CHECKING:
    import pandas as pd

    from ..config import Settings

_TIMES = ("scheduled_at", "pending_at", "closed_at", "when", "at", "until")
TRADE_COLUMNS = (
    "signal_id",
    "symbol",
    "strategy",
    "position",
    "scheduled_at",
    "pending_at",
    "closed_at",
    "price_open",
    "price_take_profit",
    "price_stop_loss",
    "price_close",
    "close_reason",
    "pnl_percentage",
    "fee_percentage",
    "slippage_percentage",
    "gross_percentage",
    "peak_percentage",
    "trough_percentage",
    "minutes",
    "ambiguous",
    "note",
    "fills",
    "adds",
    "average_price",
    "cost_percentage",
    "largest_cost",
    "ambiguous_trails",
)
CANCELLED_COLUMNS = (
    "signal_id",
    "symbol",
    "strategy",
    "position",
    "scheduled_at",
    "closed_at",
    "price_open",
    "price_take_profit",
    "price_stop_loss",
    "price_close",
    "reason",
    "note",
)


REJECTED_COLUMNS = ("when", "symbol", "strategy", "price", "codes", "reasons", "signal")


def _row(signal: OpenSignal | ScheduledSignal) -> dict[str, Any]:
    return {
        "signal_id": signal.id,
        "symbol": signal.symbol,
        "strategy": signal.strategy,
        "position": signal.position,
        "scheduled_at": signal.scheduled_at,
        "price_open": signal.price_open,
        "price_take_profit": nan if signal.price_take_profit is None else signal.price_take_profit,
        "price_stop_loss": nan if signal.price_stop_loss is None else signal.price_stop_loss,
        "note": signal.note,
    }


def trade_row(event: Closed) -> dict[str, Any]:
    """Return one closed trade as a row; moments are UTC ms."""
    row = _trade(event)
    row.update(_managed(event))
    return row


def trade_row_on_card(event: Closed) -> dict[str, Any]:
    """Return the row of a closed trade as bknb 0.1.0 had it, where there is nothing more to say; a digest is of these.

    That is so for one entry and one exit, and no candle in doubt about a trailing stop.
    """
    row, parts = _trade(event), len(event.fills) or 2
    if parts != 2 or event.ambiguous_trails:
        row.update(_managed(event))
    return row


def _trade(event: Closed) -> dict[str, Any]:
    signal, pnl = event.signal, event.pnl
    row = _row(signal)
    if signal.size is not None:
        row["size"] = signal.size
    if signal.place:
        row["place"] = signal.place
    row.update(
        {
            "pending_at": signal.pending_at,
            "closed_at": event.closed_at,
            "price_close": event.price_close,
            "close_reason": event.close_reason,
            "pnl_percentage": pnl.pnl_percentage,
            "fee_percentage": pnl.fee_percentage,
            "slippage_percentage": pnl.slippage_percentage,
            "gross_percentage": pnl.gross_percentage,
            "peak_percentage": event.peak_percentage,
            "trough_percentage": event.trough_percentage,
            "minutes": (event.closed_at - signal.pending_at) / MINUTE_MS,
            "ambiguous": event.ambiguous,
        }
    )
    return row


def _managed(event: Closed) -> dict[str, Any]:
    """Return what positions have that were filled in parts."""
    return {
        "fills": len(event.fills) or 2,
        "adds": event.adds,
        "average_price": event.signal.price_open if event.average_price is None else event.average_price,
        "cost_percentage": event.pnl.pnl_percentage if event.cost_percentage is None else event.cost_percentage,
        "largest_cost": event.largest_cost,
        "ambiguous_trails": event.ambiguous_trails,
    }


def trade_points(event: Closed, settings: Settings) -> float:
    """Return the net result of a closed trade in points: quote currency for each unit of its first size."""
    return closed_points(event, slippage=settings.percent_slippage, fee=settings.percent_fee)


def cancelled_row(event: Cancelled) -> dict[str, Any]:
    """Return one cancelled signal as a row; moments are UTC ms."""
    return _row(event.signal) | {
        "closed_at": event.closed_at,
        "price_close": event.price,
        "reason": event.reason,
        "note": event.note or event.signal.note,
    }


def rejected_row(event: Rejected) -> dict[str, Any]:
    """Return one rejected answer as a row; its moment is UTC ms."""
    return {
        "when": event.when,
        "symbol": event.symbol,
        "strategy": event.strategy,
        "price": event.price,
        "codes": ", ".join(reason.code for reason in event.reasons),
        "reasons": "; ".join(reason.text for reason in event.reasons),
        "signal": event.signal,
    }


def table_of(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table with these columns, trades with size or place where one has it; moments are timestamps."""
    import pandas as pd

    from ..reports.time_columns import with_times

    frame = pd.DataFrame({name: [*map(itemgetter(name), rows)] for name in columns})
    if any("size" in row for row in rows):
        frame["size"] = [row.get("size") for row in rows]
    if any("place" in row for row in rows):
        frame["place"] = [row.get("place", "") for row in rows]
    return with_times(frame, [name for name in columns if name in _TIMES])
