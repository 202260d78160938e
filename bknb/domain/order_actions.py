"""From the orders of a signal to the next action; :mod:`bknb.live.order_desk` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from .orders import MAX_CLOSES, Order, client_id, left_open


@dataclass(frozen=True, slots=True)
class _OnOrder:
    order: Order


class Place(_OnOrder):
    """Send this order; it provably never left before."""

    __slots__ = ()


class Cancel(_OnOrder):
    """Cancel what is unfilled of this order."""

    __slots__ = ()


class Query(_OnOrder):
    """Query the broker for the state of this order."""

    __slots__ = ()


class Save(_OnOrder):
    """Save this order."""

    __slots__ = ()


Action: TypeAlias = Place | Cancel | Query | Save


def next_action(orders: Sequence[Order]) -> Action | None:
    """The next action for the orders of one signal; ``None``: nothing before the next event.

    Parameters
    ----------
    orders
        Its entry, then its closing orders in turn.
    """
    entry = orders[0]
    if not entry.done:
        return _entry_action(entry)
    if entry.ended_at is None:
        return None
    last = orders[-1] if len(orders) > 1 else None
    if last is not None and not last.done:
        return Place(last) if last.status == "intended" else Query(last)
    rest = left_open(orders)
    attempt = 1 if last is None else last.attempt + 1
    if rest == 0.0 or attempt > MAX_CLOSES:
        return None
    return Save(_closing_order(entry, rest, attempt))


def _entry_action(entry: Order) -> Action | None:
    over = entry.ended_at is not None
    if entry.status == "intended":
        if over:
            note = "the signal was over before this was sent"
            return Save(msgspec.structs.replace(entry, status="cancelled", note=note))
        return Place(entry)
    if not entry.working:
        return Query(entry)
    if over:
        return Cancel(entry)
    return Query(entry) if entry.opened_at is not None else None


def _closing_order(entry: Order, quantity: float, attempt: int) -> Order:
    assert entry.ended_at is not None  # only a signal that is over is closed  # noqa: S101
    assert entry.exit_price is not None  # ended() sets both  # noqa: S101
    return Order(
        client_id=client_id(entry.strategy, entry.symbol, entry.key, "close", attempt),
        signal_id=entry.signal_id,
        decided_at=entry.decided_at,
        symbol=entry.symbol,
        strategy=entry.strategy,
        exchange=entry.exchange,
        purpose="close",
        side="sell" if entry.side == "buy" else "buy",
        kind="market",
        quantity=quantity,
        price=None,
        record_price=entry.exit_price,
        created_at=entry.ended_at,
        attempt=attempt,
    )
