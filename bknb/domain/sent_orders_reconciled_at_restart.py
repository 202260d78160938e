"""Reconciliation after a restart: saved orders, the broker's reports of them, and the restored record.

One pure function decides it all; nothing in it sends an order. Called again on what it led to, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from .broker_orders_and_ids import (
    Order,
    Report,
    closed_beyond,
    closing_orders,
    is_superseded,
    left_by_rounding,
    left_open,
    order_text,
)
from .broker_orders_of_events import KeptOf, Orders, any_left, ended, not_cut, opened
from .broker_reports import after_report, closed_in_doubt, closing_failure, report_problem
from .formatting import plain_number
from .interval import MINUTE_MS
from .lifecycle import Holding, Opening, State, position_of, signals_of, waiting_signals
from .quantity_of_partial_closes import by_number, filled_beyond, owed, part_given_up, sold_beyond
from .quantity_step_and_least_amount import is_rounded
from .signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from .signal_events import Cancelled, Closed, Event, Opened, Scheduled


def a_minute_after(when: int) -> int:
    """The end of the minute that begins at a moment, UTC ms."""
    return when + MINUTE_MS


def postponed(state: State, orders: Orders, *, now: int, late_after: Callable[[int], int] = a_minute_after) -> State:
    """The state after a restart at ``now`` (UTC ms): an order that never left, and is late by now, fills from now on.

    It is late when the clock is past ``late_after`` of the moment (UTC ms) from which on it could have filled. A stop
    entry has no order and is watched here, and a position without orders has none to be late: both stay. A part that
    was decided with the closing order has none either, and stays with it.
    """
    ending = position_of(state)
    if ending is not None:
        ending = _postponed_orders(ending, orders.get(key_of(ending.signal), ()), now, late_after)
    if not isinstance(state, Opening):
        return state if ending is None else ending
    not_before = state.not_before
    entries = [signal for signal in waiting_signals(state) if signal.entry != "stop"]
    ordered = bool(entries) and not any(any_left(orders.get(key_of(signal), ())) for signal in entries)
    due = state.close_at is None or state.sent
    if ordered and due and now > late_after(not_before):
        not_before = now
    return msgspec.structs.replace(state, ending=ending, not_before=not_before)


def _postponed_orders(state: Holding, mine: Sequence[Order], now: int, late_after: Callable[[int], int]) -> Holding:
    """A position whose closing order, parts and adds fill from ``now`` on, where they are late and none left.

    Those that were decided at one moment are postponed together or not at all.
    """
    if not mine:
        return state
    book, leaving = state.book, state.leaving
    sent = {order.number for order in mine if any_left([order])}
    left = set[int]() if book is None else {order.decided_at for order in book.orders if order.number in sent}
    if leaving is not None and any_left(closing_orders(mine)):
        left.add(leaving.decided_at)
    if leaving is not None and leaving.decided_at not in left and now > late_after(leaving.not_before):
        leaving = msgspec.structs.replace(leaving, not_before=now)
    if book is not None:
        late = [
            not order.is_stop and order.decided_at not in left and now > late_after(order.not_before)
            for order in book.orders
        ]
        postponed_ = (
            msgspec.structs.replace(order, not_before=now) if is_late else order
            for order, is_late in zip(book.orders, late, strict=True)
        )
        book = msgspec.structs.replace(book, orders=tuple(postponed_)) if any(late) else book
    return msgspec.structs.replace(state, leaving=leaving, book=book)


def to_follow(events: Iterable[Event], orders: Orders, held: Sequence[OpenSignal | ScheduledSignal]) -> list[Event]:
    """The events among those told again after a restart that may lead to orders.

    A signal that is over, by these events, and has no orders, had none or they were finished and forgotten: an order
    made of it now would be one too many.
    """
    events = list(events)
    over = {key_of(event.signal) for event in events if isinstance(event, Closed | Cancelled)}
    gone = over - {key_of(signal) for signal in held} - orders.keys()
    return [
        event
        for event in events
        if not (isinstance(event, Scheduled | Opened | Closed | Cancelled) and key_of(event.signal) in gone)
    ]


def to_query(orders: Iterable[Order]) -> list[Order]:
    """The orders the broker is queried about after a restart: all that were sent and may have changed since."""
    return [order for order in orders if order.working or order.status in ("sent", "unknown", "lost")]


def ordered_signals(state: State | None, orders: Orders) -> tuple[OpenSignal | ScheduledSignal, ...]:
    """The signals of a state of which a broker may know: without an entry for a close whose order has yet to leave."""
    held = () if state is None else signals_of(state)
    yet_to_leave = isinstance(state, Opening) and state.close_at is not None and not state.sent
    return held[:-1] if yet_to_leave and not orders.get(key_of(held[-1])) else held


class Reconciled(NamedTuple):
    """The changes a restart makes to orders.

    Attributes
    ----------
    save
        Orders whose saved value changes.
    discard
        Orders that never left, for a signal the record does not have: it will decide again.
    problems
        Where record and broker differ, as sentences.
    """

    save: tuple[Order, ...]
    discard: tuple[Order, ...]
    problems: tuple[str, ...]


def reconcile(
    orders: Iterable[Order],
    reports: Mapping[str, Report | None],
    *,
    held: Sequence[OpenSignal | ScheduledSignal] = (),
    when: int,
    kept_of: KeptOf = not_cut,
) -> Reconciled:
    """Reconcile saved orders, the broker's reports and the restored record.

    Nothing here sends anything again: an order still ``intended`` is left to the next action, and one that may have
    left is asked about until the broker has answered.

    Parameters
    ----------
    orders
        All saved orders of one strategy on one symbol.
    reports
        The broker's answers to :func:`to_query`, by client id; ``None``: it knows no such order. One it did not
        answer about is not in here.
    held
        The signals the restored record has open, ordered or scheduled; see :func:`ordered_signals`.
    when
        Now (UTC ms).
    kept_of
        How much of its entry a position has, where that was cut.
    """
    orders = list(orders)
    save: list[Order] = []
    discard: list[Order] = []
    problems: list[str] = []
    by_key = {key_of(signal): signal for signal in held}
    by_signal: dict[SignalKey, list[Order]] = {}
    for order in orders:
        by_signal.setdefault(order.key, []).append(order)
    for old in orders:
        if _never_left(old) and old.key not in by_key:
            discard.append(old)
            continue
        new, problem = _after_answer(old, reports, by_signal[old.key])
        if new.purpose == "open":
            new, more = _as_recorded(new, by_key.get(new.key), when, kept_of)
            problem = problem or more
        if new != old:
            save.append(new)
        if problem:
            problems.append(problem)
    ordered = {order.key for order in orders}
    problems.extend(
        f"the record holds {signal.id!r}, for which no order was ever made; none is made now"
        for key, signal in by_key.items()
        if key not in ordered and (isinstance(signal, OpenSignal) or signal.entry != "stop")
    )
    return Reconciled(tuple(save), tuple(discard), tuple(problems))


class OpenAtBroker(NamedTuple):
    """What the list of the orders that work at a broker tells.

    Attributes
    ----------
    save
        Orders whose saved value changes: nobody knows what became of them.
    again
        Orders that were done, as they were: they are cancelled, and asked about where they were lost.
    unknown
        Orders under our names that were never saved here, as sentences.
    problems
        The orders that are cancelled, as sentences.
    """

    save: tuple[Order, ...]
    again: tuple[Order, ...]
    unknown: tuple[str, ...]
    problems: tuple[str, ...]


def compared_with_open(
    orders: Iterable[Order],
    working: Iterable[Report],
    *,
    done_before: Collection[str],
    prefix: str,
    adopted: Collection[str] = (),
) -> OpenAtBroker:
    """Compare saved orders with all that work at the broker on their symbol.

    Parameters
    ----------
    orders
        All saved orders of one strategy on one symbol.
    working
        The broker's list.
    done_before
        Client ids of the orders that were done before the broker was asked: it may list what was done meanwhile.
    prefix
        What our client ids begin with; see :func:`own_prefix`.
    adopted
        Client ids of orders that were never saved here, and that were taken over.
    """
    known = {order.client_id: order for order in orders}
    at_broker = {report.client_id: report for report in working}
    again = [order for name, order in known.items() if name in at_broker and name in done_before and order.done]
    undone = [order for order in again if order.status in ("rejected", "cancelled")]
    return OpenAtBroker(
        save=tuple(msgspec.structs.replace(order, status="unknown") for order in undone),
        again=tuple(again),
        unknown=tuple(
            f"the broker has an order {name} of this strategy on {report.symbol} that was never saved here; look at it"
            for name, report in at_broker.items()
            if name.startswith(prefix) and name not in known and name not in adopted
        ),
        problems=tuple(
            f"{order_text(order)} is {order.status} for us and still works at the broker; it is being cancelled"
            for order in again
            if order.status != "lost"
        ),
    )


def _never_left(order: Order) -> bool:
    return order.status == "intended" and order.purpose == "open" and order.ended_at is None


def _after_answer(old: Order, reports: Mapping[str, Report | None], orders: Sequence[Order]) -> tuple[Order, str]:
    """An order updated by the broker's answer, and the problem to report, if any; ``orders`` are of its signal."""
    if old.status == "lost" and reports.get(old.client_id) is None:
        return old, ""
    if not (old.working or old.status in ("sent", "unknown", "lost")):
        return old, ""
    report = reports.get(old.client_id)
    if report is not None and not report_problem(old, report, orders=orders):
        new = after_report(old, report)
        if old.status == "lost":
            return new, f"{order_text(new)} was lost and has turned up: {new.status}"
        return new, "" if is_superseded(old, orders) else closing_failure(old, new)
    if old.working and old.client_id not in reports:
        return old, ""  # no answer; the saved state still holds
    in_doubt = old.in_doubt if report is None else closed_in_doubt(old, report)
    return msgspec.structs.replace(old, status="unknown", in_doubt=in_doubt), ""


def _as_recorded(
    entry: Order, held: OpenSignal | ScheduledSignal | None, when: int, kept_of: KeptOf
) -> tuple[Order, str]:
    """An entry order brought in line with the restored record, and the problem to report, if any."""
    if held is not None:
        if isinstance(held, OpenSignal) and entry.opened_at is None:
            return opened(entry, held, kept_of), ""
        return entry, ""
    if entry.ended_at is not None:
        return entry, ""
    return ended(
        entry, when, entry.record_price
    ), f"{order_text(entry)}: the record does not hold its signal; it is ended"


def differences(orders: Sequence[Order]) -> Iterator[str]:
    """Sentences on where the broker differs from the record for one signal, once its orders are settled for now."""
    entry = orders[0]
    if not entry.done:
        return
    filled = f"{plain_number(entry.filled_quantity)} of {plain_number(entry.quantity)} filled"
    why = f": {entry.note}" if entry.note else ""
    rounded = entry.status == "filled" and is_rounded(entry.filled_quantity, entry.quantity)
    missed = entry.filled_quantity < entry.quantity and not rounded
    if missed and entry.opened_at is not None:
        yield f"{order_text(entry)} is {entry.status}, {filled}; the record opened it{why}"
    elif missed and entry.ended_at is None:
        yield f"{order_text(entry)} is {entry.status}, {filled}; the record waits for it to open{why}"
    yield from double_fills(orders)
    yield from cut_fills(orders)
    for part in by_number(orders):
        yield from _part_differences(part, over=entry.ended_at is not None)
    rest = left_open(orders)
    if entry.ended_at is not None and rest:
        tried = f"{len(closing_orders(orders))} closing orders"
        yield f"{plain_number(rest)} {entry.symbol} of {entry.signal_id!r} are open after {tried}: close them by hand"
    excess = closed_beyond(orders)
    if excess:
        yield f"{plain_number(excess)} {entry.symbol} of {entry.signal_id!r} were closed beyond what was open"
    left = left_by_rounding(orders)
    if entry.ended_at is not None and left:
        is_rounding = all(order.step == 0.0 for order in orders)
        text = "are left open, for its closing order was filled by less than it ordered: close them by hand"
        text = text if is_rounding else "are left in the account as dust: less than its market takes in an order"
        yield f"{plain_number(left)} {entry.symbol} of {entry.signal_id!r} {text}"


def double_fills(orders: Sequence[Order]) -> Iterator[str]:
    """Sentences on what a broker filled of the orders of one signal although the record had taken them back.

    Such as the second of two entries that compete for one place, or one that was moved, where it fills before its
    cancel arrives.
    """
    entry = orders[0]
    if not entry.done:
        return
    for order in orders:
        what = {"open": "opened", "add": "added"}.get(order.purpose)
        ended = order.ended_at is not None or (order.purpose == "add" and entry.ended_at is not None)
        never = order.opened_at is None and order.kept is None
        if what and order.done and never and ended and order.filled_quantity > 0.0:
            filled = f"{plain_number(order.filled_quantity)} of {plain_number(order.quantity)} filled"
            yield f"{order_text(order)}: {filled}; the record never {what} it, so it is closed again"


def cut_fills(orders: Sequence[Order]) -> Iterator[str]:
    """Sentences on entries and adds of which less than was ordered was free or allowed when they filled."""
    for order in orders:
        if order.kept is not None and order.done and (beyond := filled_beyond(order)):
            filled = f"{plain_number(order.filled_quantity)} of {plain_number(order.quantity)} filled"
            kept = f"the record has {plain_number(order.kept)} of it, as no more was free or allowed when it filled"
            yield f"{order_text(order)}: {filled}; {kept}, so {plain_number(beyond)} {order.symbol} are closed again"


def _part_differences(part: Sequence[Order], *, over: bool) -> Iterator[str]:
    """Sentences on where the broker differs from the record for a part or an add; ``over``: its position ended."""
    first = part[0]
    if not first.done or first.quantity == 0.0:
        return
    filled = f"{plain_number(first.filled_quantity)} of {plain_number(first.quantity)} filled"
    why = f": {first.note}" if first.note else ""
    if first.purpose == "add":
        rounded = first.status == "filled" and is_rounded(first.filled_quantity, first.quantity)
        missed = first.filled_quantity < first.quantity and not rounded
        if missed and first.opened_at is not None:
            yield f"{order_text(first)} is {first.status}, {filled}; the record added it{why}"
        elif missed and first.ended_at is None and not over:
            yield f"{order_text(first)} is {first.status}, {filled}; the record waits for it to fill{why}"
    if part_given_up(part) and not over:
        tried = f"{sum(order.purpose == 'reduce' for order in part)} orders"
        text = "the end of the position closes them with the rest"
        yield f"{order_text(part[-1])}: {plain_number(owed(part))} are not closed after {tried}; {text}"
    beyond = 0.0 if over else sold_beyond(part)
    if beyond:
        text = "were closed beyond what was to be; less is held than the record says, until the position ends"
        yield f"{order_text(part[-1])}: {plain_number(beyond)} {text}"
