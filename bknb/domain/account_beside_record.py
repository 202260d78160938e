"""The account beside the record of one trade: how its profit differs, and what each part of that comes from.

The record of a trade has prices with the slippage and the fees that are assumed; the account has what its orders
filled. With Q what was bought and sold, P its average prices, q, R the same of the record, and F fees::

    account - record =   Q (P_exit - R_exit) - Q (P_entry - R_entry)       prices, order by order
                       + (R_exit - R_entry) (Q - q)                        quantities: not filled, a fee in coins, dust
                       + F_record - F_account                              fees

mirrored for a short. What is left of a purchase is valued at what it cost, a fee that was taken in coins at the price
of its fill. Where no fee is told in either currency of the market, they count as the record assumes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from .formatting import plain_number
from .implementation_shortfall import STOP_REASONS, TradedOrder
from .pnl import slipped_exit
from .position_fills import Fill
from .signal import Position, sign_of

Cause: TypeAlias = Literal[
    "revised candle",
    "setting",
    "outage",
    "manual",
    "risk",
    "code",
    "order",
    "fill",
    "fee",
    "dust",
    "protection gap",
    "trigger price",
    "closed by exchange",
    "unexplained",
]
_DUST_PART: Final = 0.02
"""Of what was bought: more than this is left over by an order that failed, not by rounding."""
_EXACT: Final = 1e-9


class Part(NamedTuple):
    """A part of a difference in profit (money of the account), its cause, and what happened."""

    cause: Cause
    amount: float
    text: str


class RecordOfTrade(NamedTuple):
    """A trade as the record has it.

    Attributes
    ----------
    position, reason, opened_at, ended_at
        Long or short; why it was closed; moments in UTC ms.
    fills
        All of them, before slippage.
    quantity
        Of the first fill, in base currency.
    slippage, fee
        What the record assumes of each fill, in percent.
    """

    position: Position
    reason: str
    opened_at: int
    ended_at: int
    fills: Sequence[Fill]
    quantity: float
    slippage: float
    fee: float

    def paid(self, price: float, *, enters: bool) -> float:
        """A price with slippage (quote currency)."""
        buys = enters == (self.position == "long")
        return slipped_exit(price, -1 if buys else 1, self.slippage)

    def side(self, *, enters: bool) -> tuple[float, float]:
        """How much was bought or sold in all (base currency), and what for with slippage (quote currency)."""
        fills = [fill for fill in self.fills if fill.enters == enters]
        quantity = math.fsum(fill.share for fill in fills) * self.quantity
        return quantity, math.fsum(fill.share * self.paid(fill.price, enters=enters) for fill in fills) * self.quantity

    @property
    def profit(self) -> float:
        """Its profit after the costs that are assumed, in quote currency."""
        (_, bought), (_, sold) = self.side(enters=True), self.side(enters=False)
        return sign_of(self.position) * (sold - bought) - self.fees

    @property
    def fees(self) -> float:
        """The fees that are assumed, in quote currency."""
        (_, bought), (_, sold) = self.side(enters=True), self.side(enters=False)
        return self.fee / 100 * (abs(bought) + abs(sold))


class _Side(NamedTuple):
    """What the orders of one side have filled: quantity and value, in base and quote currency."""

    quantity: float
    value: float
    orders: list[TradedOrder]

    @property
    def price(self) -> float:
        return self.value / self.quantity if self.quantity else 0.0


def _filled(orders: Sequence[TradedOrder], purposes: tuple[str, ...]) -> _Side:
    found = [order for order in orders if order.purpose in purposes and order.filled and order.price is not None]
    quantity = math.fsum(order.filled for order in found)
    return _Side(quantity, math.fsum(order.filled * (order.price or 0.0) for order in found), found)


ENTERING: Final = ("open", "add")
LEAVING: Final = ("reduce", "close", "protect", "target")


def account_beside_record(
    trade: RecordOfTrade,
    orders: Sequence[TradedOrder],
    *,
    base: str,
    quote: str,
    bar_ms: int,
    reached: Callable[[float, int, int], bool],
) -> list[Part]:
    """What the account has otherwise than the record of a trade, part by part; each part has one cause.

    Parameters
    ----------
    trade, orders
        The trade, and what became of its orders.
    base, quote
        Its currencies.
    bar_ms
        The length of its bars, ms: an order that leaves later than that is late.
    reached
        Whether a candle of the record reached a trigger (quote currency) from one moment to another (UTC ms).
    """
    sign = sign_of(trade.position)
    entry, leave = _filled(orders, ENTERING), _filled(orders, LEAVING)
    (q_in, v_in), (q_out, v_out) = trade.side(enters=True), trade.side(enters=False)
    r_in, r_out = v_in / q_in if q_in else 0.0, v_out / q_out if q_out else 0.0
    parts: list[Part] = []
    if leave.quantity and entry.quantity:
        parts += _entry_prices(trade, orders, entry, leave.quantity, r_in, bar_ms)
        parts += _exit_prices(trade, orders, leave, r_out, bar_ms, reached)
    fees_in, told = _fees(entry, base, quote)
    fees_out, told_too = _fees(leave, base, quote)
    in_coins = _coins(entry.orders, base)
    per_unit = sign * (r_out - r_in)
    by_hand = math.fsum(order.filled for order in orders if order.purpose == "manual")
    missing, left = entry.quantity - q_in, leave.quantity - entry.quantity + in_coins + by_hand
    share = entry.quantity / q_in if q_in else 0.0
    parts.append(Part("order", per_unit * missing + trade.fees * (1 - share), _unfilled_text(orders, missing)))
    parts.append(Part("dust", -per_unit * in_coins, f"{plain_number(in_coins)} {base} of fees were taken from it"))
    parts.append(Part("manual", -per_unit * by_hand, f"{plain_number(by_hand)} {base} were taken by hand"))
    failed = abs(left) > _DUST_PART * entry.quantity
    what = f"{plain_number(-left)} {base or 'of it'} were not closed" if left < 0 else "more was closed than was held"
    parts.append(Part("order" if failed else "dust", per_unit * left, f"{what}{'' if failed else ': rounding'}"))
    if told or told_too:
        assumed, paid = trade.fees * share, fees_in + fees_out
        parts.append(Part("fee", assumed - paid, f"fees {paid:,.6g} {quote}, assumed {assumed:,.6g}"))
    scale = abs(v_in) + abs(v_out)
    counted = _by_cause([part for part in parts if abs(part.amount) > _EXACT * scale])
    return [part for part in counted if abs(part.amount) > _EXACT * scale]


def _by_cause(parts: Sequence[Part]) -> list[Part]:
    """One part for each cause."""
    names = dict.fromkeys(part.cause for part in parts)
    alike = {name: [part for part in parts if part.cause == name] for name in names}
    return [
        Part(name, math.fsum(part.amount for part in each), "; ".join(dict.fromkeys(part.text for part in each)))
        for name, each in alike.items()
    ]


def profit_without_record(orders: Sequence[TradedOrder], *, base: str, quote: str) -> float:
    """The profit (quote currency) of fills that the record has not, after fees; what is left is valued at its cost."""
    entry, leave = _filled(orders, ENTERING), _filled(orders, LEAVING)
    if not entry.orders:
        return 0.0
    sign = 1 if entry.orders[0].side == "buy" else -1
    fees = _fees(entry, base, quote)[0] + _fees(leave, base, quote)[0]
    return sign * leave.quantity * (leave.price - entry.price) * bool(leave.quantity) - fees


def _entry_prices(
    trade: RecordOfTrade,
    orders: Sequence[TradedOrder],
    entry: _Side,
    closed: float,
    average: float,
    bar_ms: int,
) -> list[Part]:
    """What other prices than those of the record have cost on the way in: one part, as what is held is averaged."""
    amount = -sign_of(trade.position) * closed * (entry.price - average)
    late = next((each for each in entry.orders if _is_late(each, bar_ms)), None)
    if late is not None:
        return [Part("order", amount, f"{late.client_id} left {_minutes(late)} minutes late")]
    if (failed := _failed(orders, ENTERING)) is not None:
        return [Part("order", amount, f"{failed.client_id}: {failed.note or failed.status}")]
    return [Part("fill", amount, f"entered at {entry.price:.10g}, in the record {average:.10g}")]


def _exit_prices(
    trade: RecordOfTrade,
    orders: Sequence[TradedOrder],
    leave: _Side,
    average: float,
    bar_ms: int,
    reached: Callable[[float, int, int], bool],
) -> list[Part]:
    sign, parts, known = sign_of(trade.position), [], 0.0
    for order in leave.orders:
        raw = order.record_price
        recorded = average if raw is None else trade.paid(raw, enters=False)
        known += order.filled * recorded
        amount = sign * order.filled * ((order.price or 0.0) - recorded)
        cause, text = _cause_of_exit(trade, orders, order, bar_ms, reached)
        parts.append(Part(cause, amount, text or f"left at {order.price:.10g}, in the record {recorded:.10g}"))
    parts.append(Part("order", sign * (known - leave.quantity * average), "its parts were not those of the record"))
    return parts


def _cause_of_exit(
    trade: RecordOfTrade,
    orders: Sequence[TradedOrder],
    order: TradedOrder,
    bar_ms: int,
    reached: Callable[[float, int, int], bool],
) -> tuple[Cause, str]:
    by_stop = trade.reason in STOP_REASONS
    if order.purpose == "target":
        if order.number or trade.reason == "take_profit":
            return "fill", ""
        return "closed by exchange", f"its target there was filled, and the record closed by {trade.reason}"
    if order.purpose == "protect" and order.kind == "market":
        return "protection gap", "sold at the market: no stop could rest at the exchange"
    if order.purpose == "protect":
        if by_stop:
            return "fill", ""
        trigger = order.trigger
        if trigger is not None and not reached(trigger, trade.opened_at, trade.ended_at):
            text = f"its stop at {trigger:.10g} was triggered at the exchange, and no candle has reached it"
            return "trigger price", text
        return "closed by exchange", f"its stop there was filled, and the record closed by {trade.reason}"
    stop = next((each for each in orders if each.purpose == "protect" and not each.filled and _has_ended(each)), None)
    if by_stop and stop is not None:
        return "protection gap", f"no stop rested at the exchange: {stop.note or stop.status}"
    if order.attempt > 1 or _failed(orders, (order.purpose,)) is not None:
        failed = _failed(orders, (order.purpose,))
        return "order", f"closed by order {order.attempt}: {'' if failed is None else failed.note or failed.status}"
    if _is_late(order, bar_ms):
        return "order", f"{order.client_id} left {_minutes(order)} minutes late"
    return "fill", ""


def _has_ended(order: TradedOrder) -> bool:
    return order.status in ("rejected", "cancelled", "lost")


def _failed(orders: Sequence[TradedOrder], purposes: tuple[str, ...]) -> TradedOrder | None:
    """An order of some purposes that filled nothing."""
    return next((each for each in orders if each.purpose in purposes and _has_ended(each) and not each.filled), None)


def _is_late(order: TradedOrder, bar_ms: int) -> bool:
    return order.record_at is not None and order.at > order.record_at + bar_ms


def _minutes(order: TradedOrder) -> int:
    return (order.at - (order.record_at or order.at)) // 60_000


def _fees(side: _Side, base: str, quote: str) -> tuple[float, bool]:
    """The fees of one side in quote currency, and whether the broker told any of which that is known."""
    told = [(order, fee) for order in side.orders for fee in order.fees if fee.currency in (base, quote)]
    amounts = (fee.amount * ((order.price or 0.0) if fee.currency == base else 1.0) for order, fee in told)
    return math.fsum(amounts), bool(told)


def _coins(orders: Sequence[TradedOrder], base: str) -> float:
    return math.fsum(
        fee.amount for order in orders if order.side == "buy" for fee in order.fees if fee.currency == base
    )


def _unfilled_text(orders: Sequence[TradedOrder], missing: float) -> str:
    entries = [order for order in orders if order.purpose in ENTERING]
    if not entries:
        return "there is no order of it"
    failed = next((order for order in entries if order.filled < order.quantity or _has_ended(order)), entries[0])
    filled = f"{plain_number(failed.filled)} of {plain_number(failed.quantity)} filled"
    why = f": {failed.note}" if failed.note else ""
    return f"{failed.client_id} {failed.status}, {filled}{why}" if missing < 0 else f"{filled}{why}"
