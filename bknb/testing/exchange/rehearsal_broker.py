"""A broker with its account at a local exchange, whose market trades the minutes that a live run sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from ...brokers.broker_at_exchange import make_broker
from ...brokers.ccxt_broker import CcxtBroker
from ...brokers.exchange_keys import Keys as GivenKeys
from .keys import Keys

if TYPE_CHECKING:
    from ...domain.broker_orders_and_ids import Order, Report
    from ...domain.fills_at_stops_and_gaps import Minute


class RehearsalBroker(CcxtBroker):
    """The broker of an account at a local exchange; :meth:`LocalExchange.broker` makes one.

    What it sends, and what it makes of the answers, is as at a real exchange. It also has the market there trade each
    minute that a live run sees, once the orders before that have left.

    Parameters
    ----------
    command : callable
        Has the exchange do something; see :meth:`LocalExchange.command`.

    Attributes
    ----------
    send_seconds : float
        How long a minute waits for the orders before it: a slow computer is no reason for them to be late.
    """

    send_seconds: Final = 60.0

    def __init__(self, command: Callable[..., object], *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._command = command
        self._priced: set[str] = set()  # symbols with a market that has a price

    async def place(self, order: Order) -> Report:
        """Send one order; before the first minute the market is where the record has its price."""
        if order.symbol not in self._priced:
            await self._done("first_price", order.symbol, price=repr(order.record_price))
        return await super().place(order)

    async def see(self, symbol: str, minute: Minute) -> None:
        """Have the market trade a minute, unless it has traded that or a later one."""
        prices = [repr(price) for price in (minute.open, minute.high, minute.low, minute.close)]
        await self._done("minute", symbol, opened=minute.t, prices=prices)

    async def _done(self, command: str, symbol: str, **fields: Any) -> None:
        self._priced.add(symbol)
        pair = symbol.partition(":")[0].replace("/", "").replace("-", "")
        await asyncio.to_thread(self._command, command, symbol=pair, **fields)


def rehearsal_broker(
    command: Callable[..., object],
    config: Mapping[str, Any],
    exchange: str,
    *,
    market: Literal["spot", "swap"],
    **options: Any,
) -> CcxtBroker:
    """A broker for an account at a local exchange; see :meth:`LocalExchange.broker`."""
    keys = Keys()
    given = {name: value for name, value in config.items() if name not in ("apiKey", "secret", "password")}
    return make_broker(
        exchange, market=market, sandbox=True, real_money=False, config={**given, "enableRateLimit": False},
        keys=GivenKeys(keys.key, keys.secret, keys.passphrase if "password" in config else ""),
        made_as=partial(RehearsalBroker, command), **options,
    )  # fmt: skip
