"""Several brokers as one: an order goes to that of its exchange, whose name stands in front of its symbol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import UsageError
from .joined_account import AccountOfSymbol, BrokerOfSymbol, PaperAccountOfSymbol, PaperBrokerOfSymbol, is_account
from .paper_trouble import ORDER_CALLS

if TYPE_CHECKING:
    from ..domain.broker_orders_and_ids import Order, Report
    from ..domain.fills_at_stops_and_gaps import Minute

_Broker: TypeAlias = Any
"""What :class:`bknb.ports.Broker` describes, with ``saw`` where it is a :class:`bknb.ports.PaperMarket`, too."""


def joined(**brokers: _Broker) -> JoinedBroker:
    """Several brokers as one, for live runs over ``bknb.exchanges.joined``.

    An order on ``"spot:BTCUSDT"`` is sent to the broker called ``spot``, as one on ``BTCUSDT``.

    Parameters
    ----------
    brokers
        By the names that the exchanges are joined with.

    Raises
    ------
    UsageError
        There is none, or one of them is no broker.

    Examples
    --------
    >>> import bknb.brokers
    >>> bknb.brokers.joined(spot=bknb.brokers.paper(), perp=bknb.brokers.paper()).name
    'spot=paper, perp=paper'
    """
    if not brokers:
        raise UsageError("joined needs brokers by name, such as joined(spot=bknb.brokers.paper(), perp=…)")
    for name, broker in brokers.items():
        if not all(callable(getattr(broker, call, None)) for call in ORDER_CALLS):
            raise UsageError(f"{name}= must be a broker such as bknb.brokers.paper(), got {broker!r:.80}")
    return JoinedBroker(brokers)


class JoinedBroker:
    """Several brokers as one; see :func:`joined`, and :class:`bknb.ports.Broker` for what it promises.

    Attributes
    ----------
    prefixes : tuple of str
        The names that stand in front of the symbols.
    made_by : callable
        Makes another one like it, such as in another process.

    Examples
    --------
    >>> import bknb.brokers
    >>> bknb.brokers.joined(spot=bknb.brokers.paper(), perp=bknb.brokers.paper()).prefixes
    ('spot', 'perp')
    """

    def __init__(self, brokers: Mapping[str, _Broker]) -> None:
        self._parts = dict(brokers)
        self.prefixes = tuple(self._parts)
        self.name = ", ".join(f"{prefix}={broker.name}" for prefix, broker in self._parts.items())
        self.made_by = partial(_joined_again, {prefix: _made_by(broker) for prefix, broker in brokers.items()})

    def __repr__(self) -> str:
        return f"JoinedBroker({', '.join(f'{prefix}={broker!r}' for prefix, broker in self._parts.items())})"

    def broker_of_symbol(self, symbol: str) -> BrokerOfSymbol:
        """The broker of a symbol, which takes the symbol with the name of its exchange in front.

        Raises
        ------
        UsageError
            It has no name of one of the brokers in front.
        """
        prefix = symbol.partition(":")[0]
        part = self._parts.get(prefix)
        if part is None or prefix == symbol:
            has = " and ".join(f"'{each}:…'" for each in self.prefixes)
            raise UsageError(
                f"the joined brokers have none for {symbol!r}: they are for {has}\n"
                "give bknb.brokers.joined a broker for each name of bknb.exchanges.joined"
            )
        if hasattr(part, "saw"):
            return (PaperAccountOfSymbol if is_account(part) else PaperBrokerOfSymbol)(part, prefix)
        return (AccountOfSymbol if is_account(part) else BrokerOfSymbol)(part, prefix)

    async def place(self, order: Order) -> Report:
        """Send one order to the broker of its symbol; see :meth:`bknb.ports.Broker.place`."""
        return await self.broker_of_symbol(order.symbol).place(order)

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel an order; see :meth:`bknb.ports.Broker.cancel`."""
        return await self.broker_of_symbol(symbol).cancel(client_id, symbol)

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The state of an order; see :meth:`bknb.ports.Broker.report`."""
        return await self.broker_of_symbol(symbol).report(client_id, symbol)

    async def open_orders(self, symbol: str) -> list[Report]:
        """The open orders on a symbol; see :meth:`bknb.ports.Broker.open_orders`."""
        return await self.broker_of_symbol(symbol).open_orders(symbol)

    def saw(self, symbol: str, minute: Minute) -> None:
        """Pass a candle on to a broker that fills orders by candles; see :class:`bknb.ports.PaperMarket`."""
        broker = self.broker_of_symbol(symbol)
        if isinstance(broker, PaperBrokerOfSymbol):
            broker.saw(symbol, minute)


def _made_by(broker: _Broker) -> Callable[[], _Broker]:
    return getattr(broker, "made_by", None) or partial(_itself, broker)


def _itself(broker: _Broker) -> _Broker:
    return broker


def _joined_again(made_by: Mapping[str, Callable[[], _Broker]]) -> JoinedBroker:
    return JoinedBroker({prefix: make() for prefix, make in made_by.items()})
