"""The rules of the market of a run's orders, asked for when they are needed; a broker may have none to tell."""

from __future__ import annotations

from collections.abc import Sequence

from ..domain.broker_account import BrokerMarket
from ..domain.broker_orders_and_ids import Order
from ..domain.rounded_orders import rounded_order
from ..ports import Broker, BrokerWithAccount
from .user_code_in_threads import answered


class MarketRules:
    """Makes orders fit the market they are sent to.

    Parameters
    ----------
    broker
        Who is asked for the rules, where it is a :class:`bknb.ports.BrokerWithAccount`.
    symbol
        Of the market.
    answer_seconds
        How long an answer may take.
    """

    def __init__(self, broker: Broker, symbol: str, *, answer_seconds: float) -> None:
        self._broker, self._symbol, self._answer_seconds = broker, symbol, answer_seconds
        self._market: BrokerMarket | None = None

    def forget(self) -> None:
        """Ask again before the next order: an order was refused, and the rules may have changed."""
        self._market = None

    async def fitted(self, order: Order, orders: Sequence[Order]) -> Order:
        """An order as it is to be sent, or one that is over as the market would not take it.

        Parameters
        ----------
        order
            Not sent yet.
        orders
            Those of its signal, its entry first.

        Raises
        ------
        Exception
            The broker did not tell the rules, and what is to be sent opens something. What closes does not wait: it is
            sent as it is.
        """
        if not isinstance(self._broker, BrokerWithAccount):
            return order
        if self._market is None:
            try:
                self._market = await answered(self._broker.market(self._symbol), self._answer_seconds)
            except Exception:
                if order.reduces_only:
                    return order
                raise
        return rounded_order(order, self._market, stop=orders[0].stop)
