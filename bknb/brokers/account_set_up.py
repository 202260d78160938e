"""Whether an account is set up for what is to be opened: its modes, and of a swap its margin, leverage and side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from ..domain.broker_account import AccountPosition, BrokerMarket
from ..domain.broker_orders_and_ids import Order, Report, order_text
from ..domain.formatting import plain_number
from ..domain.liquidation_price import liquidation_price
from ..domain.signal import Position
from ..domain.spot_margin_and_perpetual import Perpetual
from ..errors import BrokerError
from .exchange_client import ExchangeClient
from .exchange_profile import Profile, Request, SwapProfile, SwapSettings

_LONG: Final = "buy"
_WARNING_SECONDS: Final = 5.0
_SHARED_MS: Final = 20_000
_Ask: TypeAlias = Callable[[Request], Awaitable[Any]]


class _Shared(NamedTuple):
    """An answer, or one to come, about all symbols, when it was asked for (UTC ms), and for which symbols."""

    answer: asyncio.Future[Any]
    at: int
    symbols: set[str]


class AccountSetUp:
    """Looks at an account before an order opens something, and has a swap kept with isolated margin and a leverage.

    Parameters
    ----------
    name
        Of the account, for messages.
    leverage
        That positions in swaps are to have.
    real
        Whether its orders are worth real money.
    """

    def __init__(self, client: ExchangeClient, profile: Profile, *, name: str, leverage: float, real: bool) -> None:
        self._client, self._profile, self._name, self._leverage = client, profile, name, leverage
        self._may_trade = not real  # whether the key was looked at
        self._brackets: dict[str, Any] = {}  # what was told of the maintenance margin, by symbol
        self._shared: dict[str, _Shared] = {}  # by the method that asks

    async def may_withdraw(self) -> bool:
        """Whether the key may withdraw."""
        answer = await self._client.ask(self._profile.may_withdraw())
        return self._client.read(self._profile.may_withdraw_of, answer)

    async def must_not_withdraw(self, order: Order) -> None:
        """Refuse a key that may withdraw, before the first order with real money that opens something.

        Raises
        ------
        BrokerError
            With ``refused=True``.
        """
        if self._may_trade or order.reduces_only:
            return
        if await self.may_withdraw():
            raise BrokerError(
                f"the key for {self._name} may withdraw; make one at the exchange that may trade only", refused=True
            )
        self._may_trade = True

    async def must_be_ready(self, order: Order, market: BrokerMarket) -> None:
        """Refuse an order where the account is not set up for what it opens, and cannot be.

        Raises
        ------
        BrokerError
            With ``refused=True``: nothing was sent of the order.
        """
        try:
            await self._must_be_open()
            swap = self._swap
            if swap is not None:
                await self._must_not_net(swap, order, market)
                await self._must_be_kept_as_wanted(swap, market)
                await self._must_be_stopped_before_liquidation(swap, order, market)
        except BrokerError as error:
            text = f"{order_text(order)} was not sent: {error}"
            raise BrokerError(text, refused=True, later=error.later or not error.refused) from None

    async def set_up(self, market: BrokerMarket) -> SwapSettings | None:
        """Have the account as an order wants it that opens something; how a swap is kept then, ``None``: it is none.

        Raises
        ------
        BrokerError
            It cannot be had.
        """
        await self._must_be_open()
        return None if self._swap is None else await self._must_be_kept_as_wanted(self._swap, market)

    @property
    def _swap(self) -> SwapProfile | None:
        profile: Any = self._profile
        return profile if self._profile.market == "swap" else None

    async def _must_be_open(self, ask: _Ask | None = None) -> None:
        asked, ask = self._profile.account(), ask or self._client.ask
        if asked is not None and (why := self._client.read(self._profile.unfit, await ask(asked))):
            raise BrokerError(f"nothing is opened with this account, {why}", refused=True)

    async def _must_not_net(self, profile: SwapProfile, order: Order, market: BrokerMarket) -> None:
        """Positions of one symbol are one: what opens the other side would close somebody's."""
        held = await self._position(profile, market)
        if held is not None and (held.quantity > 0.0) != (order.side == _LONG):
            side, quantity = ("long", held.quantity) if held.quantity > 0.0 else ("short", -held.quantity)
            text = f"the account is {side} {plain_number(quantity)} there, and a swap has one position for each symbol"
            raise BrokerError(text, refused=True)

    async def _position(
        self, profile: SwapProfile, market: BrokerMarket, ask: _Ask | None = None
    ) -> AccountPosition | None:
        answer = await (ask or self._client.ask)(profile.positions())
        found = self._client.read(profile.positions_of, [market], answer)
        return next((each for each in found if each.symbol == market.symbol), None)

    async def _must_be_kept_as_wanted(self, profile: SwapProfile, market: BrokerMarket) -> SwapSettings:
        found = await self._settings(profile, market)
        if found != self._wanted:
            for request in profile.set_up(market, found=found, leverage=self._leverage):
                await self._client.ask(request)
            found = await self._settings(profile, market)
        if found != self._wanted:
            raise BrokerError(f"{self._kept(market, found)}, which were set", refused=True)
        return found

    async def _settings(self, profile: SwapProfile, market: BrokerMarket) -> SwapSettings:
        answer = await self._client.ask(profile.settings(market))
        return self._client.read(profile.settings_of, market, answer)

    async def _must_be_stopped_before_liquidation(
        self, profile: SwapProfile, order: Order, market: BrokerMarket
    ) -> None:
        if order.stop is None:
            return
        if market.symbol not in self._brackets:
            self._brackets[market.symbol] = await self._client.ask(profile.maintenance(market))
        price = order.record_price if order.price is None else order.price
        brackets = self._brackets[market.symbol]
        share = self._client.read(profile.maintenance_of, market, order.quantity, price, brackets)
        level = liquidation_level(order, price=price, leverage=self._leverage, maintenance=share)
        if level is not None and is_beyond(order.stop, level, long=order.side == _LONG):
            stop = plain_number(order.stop)
            text = f"it would be liquidated near {level:.8g}, before its stop at {stop} (leverage {self._leverage:g})"
            raise BrokerError(f"{text}; give a lower leverage=", refused=True)

    async def noted(self, report: Report, market: BrokerMarket) -> Report:
        """A report, of a stop in a swap that rests with what is wrong with the account, if it is told soon.

        It was changed outside, or the position is liquidated before its stop.
        """
        swap = self._swap
        if swap is None or report.trigger is None or report.status != "accepted":
            return report
        note = await self._warning(swap, report.trigger, market)
        return replace(report, note=note) if note else report

    async def _warning(self, swap: SwapProfile, trigger: float, market: BrokerMarket) -> str:
        ask = partial(self._asked_for_all, market.symbol)
        try:
            async with asyncio.timeout(_WARNING_SECONDS):
                await self._must_be_open(ask)
                found = await self._settings(swap, market)
                held = await self._position(swap, market, ask)
        except TimeoutError:
            return ""
        except BrokerError as error:
            return str(error) if error.refused and not error.later else ""
        if held is None:
            return ""
        level = held.liquidation_price
        if level is not None and is_beyond(trigger, level, long=held.quantity > 0.0):
            return f"the position is liquidated at {level:.8g}, before this stop"
        return "" if found == self._wanted else f"{self._kept(market, found)}, which was set outside"

    async def _asked_for_all(self, symbol: str, request: Request) -> Any:
        """The answer to a request about all symbols, asked for once by those that look at the same time.

        What closes a position would wait behind twenty of them: each is counted by the limits of an exchange.
        """
        now = await self._client.exchange_now()
        shared = self._shared.get(request.call)
        if (
            shared is None
            or symbol in shared.symbols
            or shared.answer.get_loop() is not asyncio.get_running_loop()
            or now - shared.at > _SHARED_MS
        ):
            answer = asyncio.ensure_future(self._client.ask(request))
            answer.add_done_callback(_retrieved)
            shared = self._shared[request.call] = _Shared(answer, now, set())
        shared.symbols.add(symbol)
        return await asyncio.shield(shared.answer)

    @property
    def _wanted(self) -> SwapSettings:
        return SwapSettings("isolated", self._leverage)

    def _kept(self, market: BrokerMarket, found: SwapSettings) -> str:
        wanted = f"isolated margin and leverage {self._leverage:g}"
        return (
            f"{market.symbol} is kept with {found.margin} margin and leverage {found.leverage:g} in place of {wanted}"
        )


def _retrieved(answer: asyncio.Future[Any]) -> None:
    """Nobody may wait for it any more: then its error is told to nobody."""
    if not answer.cancelled():
        answer.exception()


def liquidation_level(order: Order, *, price: float, leverage: float, maintenance: float) -> float | None:
    """About where a position that an order opens is liquidated, in quote currency; ``None``: at no price above 0.

    Parameters
    ----------
    price
        At which it is opened.
    maintenance
        In percent.
    """
    if maintenance >= 100.0 / leverage:
        return price
    account = Perpetual(leverage=leverage, maintenance=maintenance, mode="isolated")
    side: Position = "long" if order.side == _LONG else "short"
    return liquidation_price(account, side, quantity=1.0, cost=price, margin=price / leverage)


def is_beyond(stop: float, liquidation: float, *, long: bool) -> bool:
    """Whether a position is liquidated before its stop; both in quote currency.

    Examples
    --------
    >>> is_beyond(89.0, 90.0, long=True), is_beyond(91.0, 90.0, long=True), is_beyond(111.0, 110.0, long=False)
    (True, False, True)
    """
    return stop <= liquidation if long else stop >= liquidation
