"""One of several joined brokers, as the orders of a symbol see it: with the name of its exchange before symbols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from msgspec.structs import replace

if TYPE_CHECKING:
    from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket, Fill
    from ..domain.broker_orders_and_ids import Order, Report
    from ..domain.fills_at_stops_and_gaps import Minute

_Broker: TypeAlias = Any
"""What :class:`bknb.ports.Broker` describes, with more where it has more."""
ACCOUNT_CALLS: Final = ("amend", "fills", "balance", "positions", "market", "abilities")


def is_account(broker: _Broker) -> bool:
    """Whether a broker has the calls of a :class:`bknb.ports.BrokerWithAccount`, too."""
    return all(callable(getattr(broker, call, None)) for call in ACCOUNT_CALLS)


class BrokerOfSymbol:
    """One of several joined brokers, which takes and reports symbols with the name of its exchange in front.

    Attributes
    ----------
    joined_part
        The broker itself, which knows its symbols without that name.
    """

    def __init__(self, part: _Broker, prefix: str) -> None:
        self.joined_part = part
        self.name = f"{prefix}={part.name}"
        self._prefix = prefix

    def _own(self, symbol: str) -> str:
        return symbol.removeprefix(f"{self._prefix}:")

    def _full(self, report: Report) -> Report:
        return replace(report, symbol=f"{self._prefix}:{report.symbol}")

    async def place(self, order: Order) -> Report:
        """Send one order; see :meth:`bknb.ports.Broker.place`."""
        own = replace(order, symbol=self._own(order.symbol))
        return self._full(await self.joined_part.place(own))

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel an order; see :meth:`bknb.ports.Broker.cancel`."""
        return self._full(await self.joined_part.cancel(client_id, self._own(symbol)))

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The state of an order; see :meth:`bknb.ports.Broker.report`."""
        found = await self.joined_part.report(client_id, self._own(symbol))
        return None if found is None else self._full(found)

    async def open_orders(self, symbol: str) -> list[Report]:
        """The open orders on a symbol; see :meth:`bknb.ports.Broker.open_orders`."""
        return [self._full(report) for report in await self.joined_part.open_orders(self._own(symbol))]


class AccountOfSymbol(BrokerOfSymbol):
    """The same of a broker that tells its account."""

    async def amend(self, order: Order) -> Report:
        """Move an order; see :meth:`bknb.ports.BrokerWithAccount.amend`."""
        return self._full(await self.joined_part.amend(replace(order, symbol=self._own(order.symbol))))

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        """The trades on a symbol; see :meth:`bknb.ports.BrokerWithAccount.fills`."""
        found = await self.joined_part.fills(self._own(symbol), since)
        return [replace(fill, symbol=f"{self._prefix}:{fill.symbol}") for fill in found]

    async def balance(self) -> Mapping[str, Balance]:
        """What the account has; see :meth:`bknb.ports.BrokerWithAccount.balance`."""
        found: Mapping[str, Balance] = await self.joined_part.balance()
        return found

    async def positions(self) -> list[AccountPosition]:
        """Its positions; see :meth:`bknb.ports.BrokerWithAccount.positions`."""
        found = await self.joined_part.positions()
        return [replace(position, symbol=f"{self._prefix}:{position.symbol}") for position in found]

    async def market(self, symbol: str) -> BrokerMarket:
        """The rules of a market; see :meth:`bknb.ports.BrokerWithAccount.market`."""
        found: BrokerMarket = await self.joined_part.market(self._own(symbol))
        return replace(found, symbol=symbol)

    def abilities(self) -> Abilities:
        """What it can do; see :meth:`bknb.ports.BrokerWithAccount.abilities`."""
        found: Abilities = self.joined_part.abilities()
        return found


class PaperBrokerOfSymbol(BrokerOfSymbol):
    """The same of a broker that fills orders by the prices of candles."""

    def saw(self, symbol: str, minute: Minute) -> None:
        """The market traded as this candle says; see :class:`bknb.ports.PaperMarket`."""
        self.joined_part.saw(self._own(symbol), minute)


class PaperAccountOfSymbol(PaperBrokerOfSymbol, AccountOfSymbol):
    """The same of one that does both."""
