"""Whether an order keeps the rules of its market."""

from __future__ import annotations

from decimal import Decimal

from .markets import Market, is_multiple
from .orders import Order, RefusedError


def check_rules(order: Order, market: Market, last: Decimal) -> None:
    """Compare an order with the rules of its market.

    Parameters
    ----------
    last
        The last price, which counts for an order at the market.

    Raises
    ------
    RefusedError
        Its reason is the first rule that is broken.

    Examples
    --------
    >>> order = Order(number=1, client_id="a", symbol="BTCUSDT", side="buy", kind="limit", quantity=Decimal("0.0001"),
    ...     price=Decimal("100.001"))
    >>> try:
    ...     check_rules(order, Market(base="BTC"), Decimal(100))
    ... except RefusedError as refused:
    ...     print(refused.reason)
    price_tick
    """
    if market.halted:
        raise RefusedError("halted")
    for price in (order.price, order.trigger):
        if price is not None:
            _check_price(price, market, last)
    quantity = order.quantity
    if not Decimal(market.least) <= quantity <= Decimal(market.most) or not is_multiple(quantity, market.step):
        raise RefusedError("quantity_step")
    if order.kind == "market" and quantity > Decimal(market.market_most):
        raise RefusedError("market_quantity")
    worth = quantity * Decimal(market.contract) * (order.price or order.trigger or last)
    if worth < Decimal(market.notional) and not order.reduce_only:
        raise RefusedError("notional", least=market.notional)


def _check_price(price: Decimal, market: Market, last: Decimal) -> None:
    if price <= 0 or not is_multiple(price, market.tick):
        raise RefusedError("price_tick")
    band = Decimal(market.band)
    if band and last and not last / band <= price <= last * band:
        raise RefusedError("price_band")
