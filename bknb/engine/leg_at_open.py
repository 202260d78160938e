"""What the open of a bar does to a leg before its range: what leaves and enters there, and the stop in force then.

It is worked out ahead of the bar for the account as a whole; what comes of it is told when the leg works on the bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..domain.costs import CostRequest, fill_costs, filled_by
from ..domain.declared_exits import targets_of
from ..domain.fills_at_stops_and_gaps import Entry, Minute
from ..domain.funding_charged_and_fills_booked import Ledger, LegFill
from ..domain.order_of_fills_in_a_managed_minute import adds_at_open, book_behind_adds
from ..domain.signal import Position, ScheduledSignal, sign_of
from ..domain.states import Holding, Opening, waiting_signals
from ..domain.trailing_and_breakeven_stops import stop_in_force
from .cost_requests import side_of

if TYPE_CHECKING:
    from ..domain.position_book import PositionBook, PositionOrder
    from .bar_prices import BarAtWorst
    from .leg_account import LegAccount


def has_orders(leg: LegAccount) -> bool:
    """Whether something of a leg was ordered that may fill at the open of its next bar."""
    state = leg.state
    if isinstance(state, Opening):
        return True
    return isinstance(state, Holding) and (state.leaving is not None or any(not each.rests for each in _ordered(state)))


def left_at_open(leg: LegAccount, ledger: Ledger, bar: BarAtWorst) -> Ledger:
    """A ledger after what leaves at the open of a bar: what was ordered to, and what it opens beyond the target of."""
    state = leg.state
    fill = leg.exits.ordered(ledger, state, bar.open, bar.opened)
    if fill is None and isinstance(state, Holding) and leg.model.gap_fills:
        sign, target = sign_of(state.signal.position), _whole_target(state, _book_at_open(leg, state, bar))
        if target is not None and sign * (bar.open - target) > 0.0:
            fill = leg.exits.part(ledger, 1.0, bar.open, bar.opened)
    return ledger if fill is None else ledger.apply(fill).ledger


def _book_at_open(leg: LegAccount, state: Holding, bar: BarAtWorst) -> PositionBook | None:
    """The book of what a leg holds once adds have filled at the open of a bar, with the levels that they move."""
    if state.book is None:
        return None
    sign, best = sign_of(state.signal.position), _best(leg, state, bar.opened)
    adds = adds_at_open(state.book, bar.opened, bar.open, sign, leg.model)
    return book_behind_adds(state.signal, state.book, adds, bar.open, best, leg.tick)


def _best(leg: LegAccount, state: Holding, opened: int) -> float:
    """The best price of what a leg holds before a bar that opens at a moment (UTC ms)."""
    signal, book, sign = state.signal, state.book, sign_of(state.signal.position)
    best = state.highest if sign > 0 else state.lowest
    if book is not None and book.trailing is not None:
        seen = leg.prices.extremes(signal.pending_at, opened)
        if seen is not None:
            return max(best, seen[1]) if sign > 0 else min(best, seen[0])
    return best


def _whole_target(state: Holding, book: PositionBook | None) -> float | None:
    """The target of all that is held (quote currency), as moves and adds have put it; ``None``: there is none."""
    signal = state.signal
    targets = (signal.targets or targets_of(signal.price_take_profit)) if book is None else book.targets
    return targets[0].price if len(targets) == 1 and targets[0].share is None else None


def entered_at_open(leg: LegAccount, ledger: Ledger, bar: BarAtWorst) -> Ledger:
    """A ledger after what enters at the open of a bar: an entry with its other parts, or adds."""
    state, opened, price = leg.state, bar.opened, bar.open
    if isinstance(state, Opening):
        minute = Minute(opened, price, price, price, price, price)
        if state.close_at is not None or not leg.model.can_fill(minute, state.not_before):
            return ledger
        if state.ending is not None and leg.name in ledger.positions:
            return ledger  # what is to leave first was ordered too late for this open
        for signal in waiting_signals(state):  # of several the first takes the place
            entry = leg.model.entry(signal, minute, first=True)
            if isinstance(entry, Entry) and entry.at_open:
                rest = leg.waiting.without_entries(ledger)
                after = _entered(leg, rest, (signal.id, 0), signal.position, opened, entry.price)
                return _with_rungs(leg, after, signal, opened, entry.price) if signal.rungs else after
    elif isinstance(state, Holding) and state.book is not None and leg.name in ledger.positions:
        for add in adds_at_open(state.book, opened, price, sign_of(state.signal.position), leg.model):
            key = state.signal.id, add.number
            ledger = _entered(leg, ledger, key, state.signal.position, opened, price)
    return ledger


def _with_rungs(leg: LegAccount, ledger: Ledger, signal: ScheduledSignal, opened: int, price: float) -> Ledger:
    """A ledger after the other parts of an entry ladder that fill at the open at which its first one did."""
    sign, held = sign_of(signal.position), ledger.positions.get(leg.name)
    larger = 0.0 if held is None else abs(held.quantity) / leg.waiting[signal.id, 0].quantity
    for number, rung in enumerate(signal.rungs, 1):
        away = sign * (rung.price - price) * (1 if rung.stop else -1)
        if leg.model.fills_at_open and away <= 0.0 and larger:
            ledger = _entered(leg, ledger, (signal.id, number), signal.position, opened, price, larger=larger)
    return ledger


def _ordered(state: Holding) -> tuple[PositionOrder, ...]:
    """What was ordered on a position and no candle has filled."""
    return () if state.book is None else state.book.orders


def _entered(
    leg: LegAccount,
    ledger: Ledger,
    key: tuple[str, int],
    position: Position,
    opened: int,
    price: float,
    *,
    larger: float = 1.0,
) -> Ledger:
    """A ledger after an entry or an add, so many times as large as it was granted."""
    sized = leg.waiting[key]
    order = CostRequest(
        symbol=leg.exits.symbol,
        at=opened,
        side=side_of(position, enters=True),
        kind="add" if key[1] else "entry",
        filled_by=filled_by("add" if key[1] else "entry", rested=False),
        quantity=0.0,
        price=price,
    )
    ledger = leg.waiting.released(ledger, key)
    prices = {name: leg.shared.holders[name].prices.at(opened) for name in ledger.positions}
    free = max(ledger.free(prices), 0.0)
    sized = sized._replace(quantity=sized.quantity * larger, money=sized.money * larger)
    filled = leg.money.filled(sized, order, free)
    if filled.quantity <= 0.0:
        return ledger
    order = replace(order, quantity=filled.quantity)
    return ledger.apply(LegFill(leg.name, position, order, fill_costs(order, leg.money.costs))).ledger


def stop_before(leg: LegAccount, bar: BarAtWorst) -> float | None:
    """The stop in force (quote currency) of what a leg holds in a bar, behind adds that fill at its open, if any."""
    state = leg.state
    if not isinstance(state, Holding):
        return None
    book = _book_at_open(leg, state, bar)
    if book is None:
        return state.signal.price_stop_loss
    found = stop_in_force(book, sign_of(state.signal.position), _best(leg, state, bar.opened), leg.tick)
    return None if found is None else found.price
