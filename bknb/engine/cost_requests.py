"""Orders of a leg as its account is asked about them, from what the lifecycle asks, tells and holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec.structs import replace

from ..domain.costs import CostRequest, FilledBy, filled_by
from ..domain.position_fills import Fill
from ..domain.risk_request_and_verdict import Reserve
from ..domain.signal import OpenSignal, Position
from ..domain.signal_events import Added, Closed, Reduced
from ..domain.states import Asking, AskingAdds, Holding, Opening, State

if TYPE_CHECKING:
    from ..market.candles import Candles


def side_of(position: Position, *, enters: bool) -> Literal["buy", "sell"]:
    """Whether an order buys or sells.

    Examples
    --------
    >>> side_of("short", enters=True), side_of("short", enters=False)
    ('sell', 'buy')
    """
    return "buy" if (position == "long") == enters else "sell"


def trial_orders(symbol: str, bars: Candles, value: float) -> tuple[CostRequest, CostRequest]:
    """Orders of a value (quote currency) at the first close, to find out whether costs can be worked out."""
    price = float(bars.close[0])
    bought = CostRequest(
        symbol=symbol,
        at=int(bars.timestamp[0]),
        side="buy",
        kind="entry",
        filled_by="market",
        quantity=value / price,
        price=price,
    )
    return bought, replace(bought, side="sell", kind="exit", reason="strategy")


def asked_order(command: Reserve, last_close: float, *, at_once: bool = False) -> CostRequest:
    """What is ordered as it would fill at the price that its answer implies: its level, else the last close.

    An add that fills ``at_once`` does so at the average price. Its quantity is 0: it is asked for.
    """
    candidate, add = command.candidate, command.order
    if add is not None:
        level = add.price_open
        by = filled_by("add", rested=level is not None, entry="stop" if add.is_stop else "limit")
        last_close = command.price if at_once else last_close
    else:
        rests = candidate.entry in ("limit", "stop")
        level = candidate.price_open if rests or isinstance(candidate, OpenSignal) else None
        by = filled_by("entry", rested=rests, entry=candidate.entry)
    return CostRequest(
        symbol=candidate.symbol,
        at=command.when,
        side=side_of(candidate.position, enters=True),
        kind="entry" if add is None else "add",
        filled_by=by,
        quantity=0.0,
        price=last_close if level is None else level,
    )


def opened_order(signal: OpenSignal, by: FilledBy) -> CostRequest:
    """The entry of a position that was opened, without its quantity."""
    return CostRequest(
        symbol=signal.symbol,
        at=signal.pending_at,
        side=side_of(signal.position, enters=True),
        kind="entry",
        filled_by=by,
        quantity=0.0,
        price=signal.price_open,
    )


def added_order(event: Added, state: State) -> CostRequest:
    """An add that has filled, without its quantity; ``state`` is that of the leg before its bar.

    A limit that rested is one wherever it filled, as that of an entry is, and so is a stop order.
    """
    signal, fill, held = event.signal, event.fill, _position(state)
    if held is None or held.signal.id != signal.id:  # a part of an entry ladder, in the bar of its entry
        rung = signal.rungs[fill.number - 1]
        is_stop, rested = rung.stop, fill.rested or (rung.stop and fill.price == rung.price)
    else:
        orders = () if held.book is None else held.book.orders
        mine = next((order for order in orders if order.number == fill.number), None)
        is_stop = mine is not None and mine.is_stop
        rested = fill.rested or (mine is not None and (mine.rests or (is_stop and fill.price == mine.price_open)))
    return CostRequest(
        symbol=signal.symbol,
        at=fill.at,
        side=side_of(signal.position, enters=True),
        kind="add",
        filled_by=filled_by("add", rested=rested, entry="stop" if is_stop else "limit"),
        quantity=0.0,
        price=fill.price,
    )


def leaving_order(
    symbol: str,
    kind: Literal["exit", "reduce"],
    position: Position,
    at: int,
    price: float,
    reason: str,
    quantity: float,
    *,
    rested: bool,
) -> CostRequest:
    """What closes a part or all; ``rested``: at its level, and not at the open of its bar."""
    return CostRequest(
        symbol=symbol,
        at=at,
        side=side_of(position, enters=False),
        kind=kind,
        filled_by=filled_by(kind, rested=rested, reason=reason),
        quantity=quantity,
        price=price,
        reason=reason,
    )


def part_of(fill: Fill, left: float) -> float:
    """The share of what was held that a part closed; ``left`` is what was left, in units of the first size.

    Examples
    --------
    >>> part_of(Fill(number=1, kind="reduce", at=0, share=0.5, price=100.0), 1.5)
    0.25
    """
    return fill.share / (left + fill.share)


def number_of(event: Reduced | Closed) -> int:
    """The number of the order that closed a part, or all, within its position."""
    if isinstance(event, Reduced):
        return event.fill.number
    return event.fills[-1].number if event.fills else 1


def ordered_part(state: State, when: int) -> float:
    """Which share of what a leg holds was ordered to leave at a moment (UTC ms), 0 to 1."""
    held = _position(state)
    if held is None:
        return 0.0
    if held.leaving is not None and held.leaving.not_before <= when:
        return 1.0
    if held.book is None:
        return 0.0
    orders = (order for order in held.book.orders if order.kind == "reduce" and order.not_before <= when)
    return min(sum(order.share for order in orders) / held.book.left, 1.0)


def was_ordered(order: CostRequest, state: State) -> bool:
    """Whether what closed a part, or all, had been ordered before its bar, which then fills it at its open.

    ``state`` is that of the leg before the bar. Stops, targets and liquidations are met inside it.
    """
    return order.reason not in _MET_INSIDE and ordered_part(state, order.at) > 0.0


_MET_INSIDE: Final = ("stop_loss", "take_profit", "trailing_stop", "breakeven", "liquidation")
"""Reasons of what closes when a price is met."""


def _position(state: State) -> Holding | None:
    """The position of a state, also while something is asked about."""
    if isinstance(state, Holding):
        return state
    if isinstance(state, AskingAdds):
        return state.holding
    return state.ending if isinstance(state, Asking | Opening) else None
