"""Orders as their market takes them: quantities rounded down to the step, prices to the tick, before they are saved."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from .broker_account import BrokerMarket
from .broker_orders_and_ids import Order
from .quantity_step_and_least_amount import MarketLimits, rounded_down, too_large, too_small
from .tick_grid import round_nearest

SPARE_AT_STOP: Final = 0.05
"""How much more than the least value a position has to be worth at its stop, as a part of it: else none can rest."""


def rounded_order(order: Order, market: BrokerMarket, *, stop: float | None = None) -> Order:
    """An order as it is to be sent; one the market would not take is over, with the reason as its note.

    What closes or protects more than the market takes in one order is sent for so much; what is left follows.

    Parameters
    ----------
    order
        Not sent yet.
    market
        The rules of its market.
    stop
        Of the position, in quote currency: what is opened has to be large enough to be sold there.

    Examples
    --------
    >>> order = Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo",
    ...     purpose="open", side="buy", kind="market", quantity=0.00234567, price=None, record_price=60000.0,
    ...     created_at=0)
    >>> market = BrokerMarket(symbol="BTCUSDT", base="BTC", quote="USDT", step=0.00001, least_value=5.0)
    >>> rounded_order(order, market).quantity
    0.00234
    >>> rounded_order(order, market, stop=2000.0).note
    'too small: 0.00234 is worth 4.68, the market takes 5.25 at least; size it larger, or leave this symbol out'
    """
    at_market = order.kind != "limit"
    limits = market.limits(market=at_market, reduces=order.reduces_only)
    closing = market.limits(market=True, reduces=True)
    most = market.most(market=at_market)
    if limits == MarketLimits() and market.tick == 0.0 and order.quantity <= most:
        return replace(order, base=market.base)
    price, trigger = (_on_tick(each, market.tick) for each in (order.price, order.trigger))
    level = next((each for each in (trigger, price) if each is not None), order.record_price)
    asked = min(order.quantity, most) if order.reduces_only else order.quantity
    sent = replace(
        order,
        quantity=rounded_down(asked, limits.step),
        price=price,
        trigger=trigger,
        base=market.base,
        step=limits.step,
        least=max(closing.least_quantity, closing.least_value / level),
    )
    small = too_small(sent.quantity, level, limits)
    if small is None and stop is not None and not order.reduces_only:
        at_stop = MarketLimits(step=limits.step, least_value=closing.least_value * (1 + SPARE_AT_STOP))
        small = too_small(sent.quantity, min(stop, level), at_stop)
    wrong = too_large(sent.quantity, most) if small is None else small.text
    if not wrong:
        return sent
    return replace(sent, quantity=0.0, status="cancelled" if order.reduces_only else "rejected", note=wrong)


def _on_tick(price: float | None, tick: float) -> float | None:
    return price if price is None or tick == 0.0 else round_nearest(price, tick)
