"""Adds that are made smaller, or taken back, because their account pays for less of them when they fill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from .order_of_fills_in_a_managed_minute import without_adds
from .position_book import PositionOrder
from .risk_request_and_verdict import CutAdd
from .signal import OpenSignal
from .signal_events import Event, RiskRefused
from .states import Holding, Rules, labels


def with_cut_adds(
    state: Holding, cuts: Iterable[CutAdd], when: int, price: float, rules: Rules
) -> tuple[Holding, tuple[Event, ...]]:
    """A position with adds as large as its account pays for, and what is told of those of which it pays nothing."""
    told: tuple[Event, ...] = ()
    for cut in cuts:
        book = state.book
        assert book is not None  # it has an add  # noqa: S101
        if cut.share > 0.0:
            book = msgspec.structs.replace(book, orders=_smaller(book.orders, cut))
            state = msgspec.structs.replace(state, book=book)
            continue
        gone = [order for order in book.orders if order.number == cut.number]
        state, _, events = without_adds(state, book, gone, when, price, "risk", rules, note=cut.note)
        told += (refused_add(state.signal, cut, when, price, rules), *events)
    return state, told


def granted_adds(adds: Sequence[PositionOrder], cuts: Iterable[CutAdd]) -> tuple[PositionOrder, ...]:
    """Adds that fill at the moment of their answer, as large as their account pays for, without those of nothing."""
    for cut in cuts:
        adds = _smaller(adds, cut) if cut.share > 0.0 else [add for add in adds if add.number != cut.number]
    return tuple(adds)


def refused_add(signal: OpenSignal, cut: CutAdd, when: int, price: float, rules: Rules) -> RiskRefused:
    """The event for an add of which its account pays nothing when it fills."""
    return RiskRefused(
        **labels(rules),
        when=when,
        price=price,
        risk="",
        note=cut.note,
        signal=signal,
        open_positions=cut.open_positions,
    )


def _smaller(orders: Sequence[PositionOrder], cut: CutAdd) -> tuple[PositionOrder, ...]:
    return tuple(
        msgspec.structs.replace(order, share=cut.share) if order.number == cut.number else order for order in orders
    )
