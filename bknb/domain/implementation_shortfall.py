"""Implementation shortfall: what the fills of an account cost beside the prices of the record (Perold, 1988).

A purchase above the price of the record costs, and so does a sale below it; what came out better is below zero. Fees
are apart: nobody has to guess which part of a price is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from .broker_account import Fee, Side, added_up
from .broker_orders_and_ids import Order, OrderKind, OrderStatus, Purpose
from .protective_orders import has_failed

FillPurpose: TypeAlias = Literal["entry", "add", "target", "stop", "close"]
FILL_PURPOSES: Final[tuple[str, ...]] = get_args(FillPurpose)
STOP_REASONS: Final = frozenset({"stop_loss", "trailing_stop", "breakeven", "liquidation"})
"""Close reasons of what a stop, or an exchange in its place, has closed."""
_SAME: Final = 1e-12


class TradedOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of an order at a broker, beside the price that the record has for it.

    Attributes
    ----------
    client_id, signal_id, decided_at, purpose, side, kind, quantity, trigger, number, attempt, status, note, fees
        As of :class:`bknb.domain.broker_orders_and_ids.Order`.
    filled, price
        In base and quote currency; the price is ``None`` where nothing was filled.
    record_price
        At which price the record has it, before slippage (quote currency); ``None``: the record has no such fill.
    at
        When it left (UTC ms).
    record_at
        When the record has it filled, or its signal ended (UTC ms).
    kept
        How much the record has of it, in base currency, where that was cut.
    """

    client_id: str
    signal_id: str
    decided_at: int
    purpose: Purpose
    side: Side
    kind: OrderKind
    quantity: float
    at: int
    status: OrderStatus
    filled: float = 0.0
    price: float | None = None
    record_price: float | None = None
    record_at: int | None = None
    trigger: float | None = None
    fees: tuple[Fee, ...] = ()
    number: int = 0
    attempt: int = 1
    kept: float | None = None
    note: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """The signal it belongs to."""
        return self.signal_id, self.decided_at


def traded_orders(orders: Sequence[Order]) -> list[TradedOrder]:
    """What became of the orders of one signal, its entry first; those that never left and did not fail are left out.

    So are stops and targets that were taken back before they filled, or whose place another order took.
    """
    return [_traded(order, orders[0]) for order in orders if _matters(order, orders)]


def _matters(order: Order, orders: Sequence[Order]) -> bool:
    if order.purpose == "protect" and order.status in ("accepted", "cancelled") and not order.filled_quantity:
        return has_failed(order, orders)
    return bool(order.filled_quantity) if order.purpose == "target" else order.status != "intended"


def _traded(order: Order, entry: Order) -> TradedOrder:
    closes = order.purpose in ("close", "protect") or (order.purpose == "target" and not order.number)
    if closes:
        price = entry.exit_price if entry.ended_at is not None and entry.opened_at is not None else None
        when = entry.ended_at
    else:
        price, when = (None, order.ended_at) if order.opened_at is None else (order.record_price, order.opened_at)
    return TradedOrder(
        client_id=order.client_id,
        signal_id=order.signal_id,
        decided_at=order.decided_at,
        purpose=order.purpose,
        side=order.side,
        kind=order.kind,
        quantity=order.quantity,
        at=order.created_at,
        status=order.status,
        filled=order.filled_quantity,
        price=order.average_price,
        record_price=price,
        record_at=when,
        trigger=order.trigger,
        fees=order.fees,
        number=order.number,
        attempt=order.attempt,
        kept=order.kept,
        note=order.note,
    )


class FillAgainstRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fill of the account beside the price of the record.

    Attributes
    ----------
    signal_id, at
        The signal, and when its order left (UTC ms).
    purpose
        ``"entry"`` or ``"add"``; ``"target"`` or ``"stop"`` where the record closed by one, else ``"close"``.
    quantity
        In base currency.
    price, record_price
        Of the account and of the record, which is before slippage; in quote currency.
    fees
        What it cost beside.

    Examples
    --------
    >>> fill = FillAgainstRecord(
    ...     signal_id="s", at=0, purpose="stop", side="sell", quantity=2.0, price=99.0, record_price=100.0)
    >>> fill.money, fill.value, fill.basis_points
    (2.0, 200.0, 100.0)
    """

    signal_id: str
    at: int
    purpose: FillPurpose
    side: Side
    quantity: float
    price: float
    record_price: float
    fees: tuple[Fee, ...] = ()

    @property
    def value(self) -> float:
        """What it is worth at the price of the record, in quote currency."""
        return abs(self.record_price) * self.quantity

    @property
    def money(self) -> float:
        """What it cost beside the record, in quote currency; below 0: the account had the better price."""
        if math.isclose(self.price, self.record_price, rel_tol=_SAME):  # an average of fills at one price
            return 0.0
        worse = self.price - self.record_price if self.side == "buy" else self.record_price - self.price
        return worse * self.quantity

    @property
    def basis_points(self) -> float | None:
        """The same in basis points (1/100 %) of its value; ``None`` where that is 0."""
        return _basis_points(self.money, self.value)


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of some fills: their number, their value and what they cost in quote currency, and their fees."""

    fills: int
    value: float
    money: float
    fees: tuple[Fee, ...]

    @property
    def basis_points(self) -> float | None:
        """What they cost in basis points (1/100 %) of their value; ``None`` where that is 0."""
        return _basis_points(self.money, self.value)


def _basis_points(money: float, value: float) -> float | None:
    return money / value * 10_000 if value else None


def shortfall_of(fills: Iterable[FillAgainstRecord]) -> Shortfall:
    """The sum of some fills.

    Examples
    --------
    >>> fill = FillAgainstRecord(
    ...     signal_id="s", at=0, purpose="entry", side="buy", quantity=2.0, price=100.5, record_price=100.0)
    >>> shortfall_of([fill, fill]).money, shortfall_of([fill]).basis_points, shortfall_of([]).basis_points
    (2.0, 50.0, None)
    """
    every = list(fills)
    return Shortfall(
        fills=len(every),
        value=math.fsum(fill.value for fill in every),
        money=math.fsum(fill.money for fill in every),
        fees=added_up(tuple(fee for fill in every for fee in fill.fees)),
    )


def fill_purpose(order: Purpose, reason: str) -> FillPurpose:
    """What a fill was for: from the purpose of its order, and the reason for which the record closed.

    Examples
    --------
    >>> fill_purpose("open", ""), fill_purpose("close", "trailing_stop")
    ('entry', 'stop')
    >>> fill_purpose("reduce", "take_profit"), fill_purpose("protect", "strategy"), fill_purpose("target", "")
    ('target', 'stop', 'target')
    """
    if order == "open":
        return "entry"
    if order == "add":
        return "add"
    if order == "protect":
        return "stop"
    if order == "target":
        return "target"
    if reason == "take_profit":
        return "target"
    return "stop" if reason in STOP_REASONS else "close"
