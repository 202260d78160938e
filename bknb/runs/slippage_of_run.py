"""The fills of the account of a live run beside the record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..domain.implementation_shortfall import FillAgainstRecord, TradedOrder, fill_purpose
from ..domain.quote_currency import quote_of
from ..domain.signal import SignalKey, key_of
from ..domain.signal_events import Reduced
from ..reports.slippage_report import Slippage, slippage_of

if TYPE_CHECKING:
    from ..config import Settings
    from ..engine.records import Records


def slippage_of_run(
    records: Records, orders: Iterable[TradedOrder], *, strategy: str, symbol: str, settings: Settings
) -> Slippage:
    """What the fills of some orders cost beside the record of a run."""
    reasons = _reasons(records)
    fills: list[FillAgainstRecord] = []
    without = unfilled = 0
    for order in orders:
        if order.purpose == "manual":  # nobody knows at which price
            continue
        if not order.filled or order.price is None:
            unfilled += order.purpose in ("open", "add") and order.record_price is not None
            continue
        if order.record_price is None:
            without += 1
            continue
        reason = reasons.get((order.key, order.number if order.purpose == "reduce" else None), "")
        fills.append(
            FillAgainstRecord(
                signal_id=order.signal_id,
                at=order.at,
                purpose=fill_purpose(order.purpose, reason),
                side=order.side,
                quantity=order.filled,
                price=order.price,
                record_price=order.record_price,
                fees=order.fees,
            )
        )
    return slippage_of(
        strategy=strategy,
        symbol=symbol,
        currency=quote_of(symbol) or "",
        assumed_basis_points=settings.percent_slippage * 100,
        fills=fills,
        without_record=without,
        unfilled=unfilled,
    )


def _reasons(records: Records) -> dict[tuple[SignalKey, int | None], str]:
    """Why a position was closed, by its signal; and why a part of it was, by signal and number."""
    found: dict[tuple[SignalKey, int | None], str] = {}
    for event in records.positions:
        if isinstance(event, Reduced):
            found[key_of(event.signal), event.fill.number] = event.fill.reason
    for fill, signal in records.held:
        found[key_of(signal), fill.number] = fill.reason
    for closed in records.closed:
        key = key_of(closed.signal)
        found[key, None] = closed.close_reason
        found |= {(key, fill.number): fill.reason for fill in closed.fills}
    return found
