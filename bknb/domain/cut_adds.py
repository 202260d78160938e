"""Adds that are made smaller, or taken back, because their account pays for less of them when they fill."""

from __future__ import annotations

import msgspec

from .lifecycle_entries import refusal
from .order_of_fills_in_a_managed_minute import without_adds
from .risk_request_and_verdict import Verdict
from .signal_events import Event
from .states import Holding, Rules


def with_smaller_add(state: Holding, number: int, share: float) -> Holding:
    """A position whose add with this number is as large as its account pays for, in units of the first size."""
    assert state.book is not None  # it has an add  # noqa: S101
    orders = (
        msgspec.structs.replace(order, share=share) if order.number == number else order for order in state.book.orders
    )
    return msgspec.structs.replace(state, book=msgspec.structs.replace(state.book, orders=tuple(orders)))


def refused_add(
    state: Holding, number: int, given: Verdict, when: int, price: float, rules: Rules
) -> tuple[Holding, tuple[Event, ...]]:
    """A position without an add that its account pays nothing of when it fills, and what is told of that."""
    assert state.book is not None  # it has an add  # noqa: S101
    refused = refusal(state.signal, when, price, given, rules)
    gone = [order for order in state.book.orders if order.number == number]
    held, _, events = without_adds(state, state.book, gone, when, price, "risk", rules, note=given.note)
    return held, (refused, *events)
