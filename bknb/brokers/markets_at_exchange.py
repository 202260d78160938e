"""The markets of an exchange by the names they were asked for, with their rules, which are asked for anew when told."""

from __future__ import annotations

from ..domain.broker_account import BrokerMarket
from ..errors import BrokerError
from .exchange_client import ExchangeClient
from .exchange_profile import Profile


class MarketsAtExchange:
    """The rules of the markets that were asked about.

    Parameters
    ----------
    name
        Of the account, for messages.
    """

    def __init__(self, client: ExchangeClient, profile: Profile, *, name: str) -> None:
        self._client, self._profile, self._name = client, profile, name
        self._markets: dict[str, BrokerMarket] = {}
        self._outdated: set[str] = set()

    @property
    def known(self) -> list[BrokerMarket]:
        """Those that were asked about."""
        return list(self._markets.values())

    def outdate(self, symbol: str) -> None:
        """Have the rules of a market asked for anew, as they may have changed."""
        self._outdated.add(symbol)

    async def of(self, symbol: str) -> BrokerMarket:
        """The rules of a market; the last ones where they are not told anew: what closes does not wait for them.

        Raises
        ------
        BrokerError
            They were never told; with ``refused=True``: there is no such market.
        """
        known = self._markets.get(symbol)
        if known is not None and symbol not in self._outdated:
            return known
        try:
            answer = await self._client.ask(self._profile.market_rules(symbol))
            found = self._client.read(self._profile.market_of, symbol, answer)
        except BrokerError:
            if known is None:
                raise
            return known
        market = known if found is None else found
        if market is None:
            raise BrokerError(f"{self._name} has no market {symbol}", refused=True)
        self._outdated.discard(symbol)
        self._markets[symbol] = market
        return market
