"""Reports of a broker: whether one can be right, as far as that can be known, and what it changes in its order."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, get_args

import msgspec

from .broker_orders_and_ids import WORKING, Order, Report, ReportStatus, order_text
from .formatting import plain_number
from .protective_orders import has_moved
from .quantity_step_and_least_amount import EXACT, is_near, is_rounded, is_rounded_down, is_whole, is_whole_part
from .text import readable


def after_report(order: Order, report: Report) -> Order:
    """An order updated by a report; fills are never taken back, a final status only when it was ``lost``."""
    filled = max(order.filled_quantity, report.filled_quantity)
    note = "" if order.status == "lost" else order.note  # that of a lost one says that there is no such order
    back = order.done and order.status != "lost" and report.status in WORKING
    if order.trigger is not None:
        order = _after_report_of_stop(order, report)
    return msgspec.structs.replace(
        order,
        status=order.status if back else report.status,
        filled_quantity=filled,
        average_price=report.average_price if report.filled_quantity >= order.filled_quantity else order.average_price,
        broker_id=_as_text(report.broker_id) or order.broker_id,
        note=_as_text(report.note) or note,
        in_doubt=0.0,
        fees=report.fees if report.filled_quantity >= order.filled_quantity and report.fees else order.fees,
    )


def _after_report_of_stop(order: Order, report: Report) -> Order:
    """A stop with what it became, and the level at which it rests; one nobody here has moved there is as it was."""
    order = msgspec.structs.replace(order, child=_as_text(report.child) or order.child)
    level = report.trigger
    if level is None or report.status not in WORKING or not has_moved(level, order.trigger):
        return order
    return msgspec.structs.replace(order, trigger=level, record_price=level)


def failed_alike(order: Order, orders: Iterable[Order]) -> bool:
    """Whether an order has filled nothing, and another one that was to do the same failed as it did."""
    if order.filled_quantity:
        return False
    what = order.purpose, order.number, order.status, order.note
    others = (each for each in orders if each.client_id != order.client_id)
    return any((each.purpose, each.number, each.status, each.note) == what for each in others)


def closing_failure(before: Order, after: Order) -> str:
    """How a broker has refused or cancelled an order that closes, as a sentence; empty when it has not just done so."""
    if not after.reduces_only or after.status == before.status or after.status not in ("rejected", "cancelled"):
        return ""
    what = "refused" if after.status == "rejected" else "cancelled at the broker"
    filled = f"{plain_number(after.filled_quantity)} of {plain_number(after.quantity)} filled"
    part = f", {filled}" if after.filled_quantity else ""
    return f"{order_text(after)} was {what}{part}{f': {after.note}' if after.note else ''}"


def _as_text(value: object) -> str:
    """What a broker wrote, as text that can be saved: some name orders with numbers, and write None for nothing."""
    return "" if value is None else readable(str(value))


MAX_PRICE_FACTOR: Final = 1.5
"""How far an average price may lie above or below all prices known of the market, as a factor."""

_STATUSES: Final = frozenset(get_args(ReportStatus))


def report_problem(order: Order, report: object, market: Iterable[float] = (), *, orders: Iterable[Order] = ()) -> str:
    """Why a report of an order cannot be right, as a sentence; empty when it can be, rounded to the market's step.

    Parameters
    ----------
    order, report
        The order, and what the broker said of it.
    market
        Prices the market had since it was ordered, as far as they are known. Its average price must lie within
        ``MAX_PRICE_FACTOR`` of these and of the price of the record.
    orders
        Those of its signal, as far as they are known. Where all that was filled of the others are whole numbers, a part
        or an add may be rounded down to one.
    """
    if not isinstance(report, Report):
        return f"a Report was expected, not {report!r:.80}"
    if report.client_id != order.client_id:
        return f"it is about {report.client_id!r}"
    if report.status not in _STATUSES:
        return f"no order has the status {report.status!r:.80}"
    filled, price = report.filled_quantity, report.average_price
    if not _is_number(filled):
        return f"its filled quantity is {_shown(filled)}, and a finite float was expected"
    rounded = _is_rounded(order, filled, orders)
    if filled < 0.0 or (filled > order.quantity and not rounded):
        return f"{filled} of {plain_number(order.quantity)} are filled"
    if report.status == "filled" and not rounded:
        whole = filled >= 1.0 and float(filled).is_integer() and abs(order.quantity - filled) < 1.0
        advice = "; where a market trades whole numbers alone, give a whole quantity" if whole else ""
        return f"it is filled, by {plain_number(filled)} of {plain_number(order.quantity)}{advice}"
    if price is None and filled > 0.0:
        return f"{plain_number(filled)} of {plain_number(order.quantity)} are filled, and it has no average price"
    if price is not None and not (_is_number(price) and price > 0.0):
        return f"its average price is {_shown(price)}, and a finite float above 0 was expected"
    known = (order.record_price, *market)
    if price is not None and not min(known) / MAX_PRICE_FACTOR <= price <= max(known) * MAX_PRICE_FACTOR:
        side = "below" if price < min(known) else "above"  # the same text whatever the market does meanwhile
        far = f"more than {MAX_PRICE_FACTOR:g} times {side} every price of the market since it was ordered"
        return f"its average price is {_shown(price)}, {far}; the record has {plain_number(order.record_price)}"
    return ""


def closed_in_doubt(order: Order, report: object) -> float:
    """How much more than it ordered a report that cannot be right says that an order closed, in base currency."""
    filled = report.filled_quantity if isinstance(report, Report) and report.client_id == order.client_id else None
    if not (order.reduces_only and _is_number(filled)):
        return 0.0
    return max(float(filled or 0.0) - order.quantity, 0.0)


def fills_more(order: Order, report: object) -> bool:
    """Whether a report says that more of an order is filled than is known.

    Examples
    --------
    >>> order = Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo",
    ...     purpose="open", side="buy", kind="limit", quantity=1.0, price=2.0, record_price=2.0, created_at=0)
    >>> report = Report(client_id="bk1", symbol="BTCUSDT", status="cancelled", filled_quantity=0.7, average_price=2.0)
    >>> fills_more(order, report)
    True
    """
    filled = report.filled_quantity if isinstance(report, Report) else None
    return _is_number(filled) and float(filled or 0.0) > order.filled_quantity + order.quantity * EXACT


def _is_rounded(order: Order, filled: float, orders: Iterable[Order]) -> bool:
    """Whether a fill may be what the step of a market made of an order.

    What is closed was filled, on the step of the market; a part is a share of that, and on none. Nothing that sells is
    rounded up: what it would sell then may not be there.
    """
    if order.purpose == "close":
        return is_near(filled, order.quantity)
    if (is_rounded_down if order.reduces_only else is_rounded)(filled, order.quantity):
        return True
    others = [each.filled_quantity for each in orders if each.client_id != order.client_id and each.filled_quantity]
    in_whole = order.number > 0 and bool(others) and all(map(is_whole, others))
    return in_whole and is_whole_part(filled, order.quantity)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def _shown(value: object) -> str:
    """A value as a message shows it, with its type where that is not a number's."""
    if isinstance(value, int):
        return f"an int of {value.bit_length()} bits" if not _is_number(value) else str(value)
    return str(value) if isinstance(value, float) else f"{value!r:.80} ({type(value).__name__})"
