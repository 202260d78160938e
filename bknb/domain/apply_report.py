"""What a broker's report changes in an order: its status, what is filled of it, its price."""

from __future__ import annotations

import msgspec

from .broker_orders_and_ids import WORKING, Order, Report
from .text import readable


def after_report(order: Order, report: Report) -> Order:
    """An order updated by a report; fills are never taken back, a final status only when it was ``lost``."""
    filled = max(order.filled_quantity, report.filled_quantity)
    note = "" if order.status == "lost" else order.note  # that of a lost one says that there is no such order
    back = order.done and order.status != "lost" and report.status in WORKING
    return msgspec.structs.replace(
        order,
        status=order.status if back else report.status,
        filled_quantity=filled,
        average_price=report.average_price if report.filled_quantity >= order.filled_quantity else order.average_price,
        broker_id=_as_text(report.broker_id) or order.broker_id,
        note=_as_text(report.note) or note,
        in_doubt=0.0,
    )


def _as_text(value: object) -> str:
    """What a broker wrote, as text that can be saved: some name orders with numbers, and write None for nothing."""
    return "" if value is None else readable(str(value))
