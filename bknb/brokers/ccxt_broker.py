"""An account at an exchange, through a client of ccxt whose requests are known to the last parameter."""

from __future__ import annotations

import asyncio
import importlib
import math
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, get_args
from urllib.parse import urlsplit

from msgspec.structs import replace

from ..domain.broker_account import (
    Abilities,
    AccountPosition,
    Balance,
    BrokerMarket,
    Fill,
    Unprotected,
    Watch,
    added_up,
)
from ..domain.broker_orders_and_ids import Order, Report, order_text
from ..domain.formatting import plain_number
from ..domain.quantity_step_and_least_amount import EXACT, rounded_down, too_small
from ..domain.tick_grid import round_nearest
from ..errors import BrokerError, MissingDependency, UsageError
from ..market.fetch_loop import submit
from ..market.system_clock import SystemClock
from .binance_spot import BinanceSpot
from .exchange_client import ExchangeClient, KnownOrderError, NoSuchOrderError, client_of, is_urgent
from .exchange_keys import keys_of
from .exchange_profile import Profile, Request, Trade
from .golden_requests import check_requests
from .refused_exchanges import refused

Market: TypeAlias = Literal["spot", "swap"]
_Answer = TypeVar("_Answer")

PROFILES: Final[Mapping[tuple[str, str], Callable[[], Profile]]] = {("binance", "spot"): BinanceSpot}
"""The exchanges and markets where orders are placed."""
_NEW_MS: Final = 60_000  # an order that was made less long ago cannot have left before
_MOST_TRADES: Final = 1000


def make_broker(
    exchange: str,
    *,
    market: Market,
    sandbox: bool,
    real_money: bool,
    config: Mapping[str, Any] | None,
    watch: Watch = "both",
    unprotected: Unprotected = "close",
) -> CcxtBroker:
    """The broker of an exchange; see :func:`bknb.brokers.ccxt`."""
    of_exchange = PROFILES.get((exchange, market))
    if of_exchange is None:
        raise refused(exchange, market, PROFILES)
    profile = of_exchange()
    if watch not in get_args(Watch):
        raise UsageError(f"watch= is 'both' or 'here', got {watch!r}")
    if unprotected not in get_args(Unprotected):
        raise UsageError(f"unprotected= is 'close' or 'watch', got {unprotected!r}")
    _must_be_deliberate(profile, sandbox=sandbox, real_money=real_money)
    given = _without_keys(config)
    try:
        package = importlib.import_module("ccxt.async_support")
    except ImportError:
        raise MissingDependency("ccxt", purpose="orders at an exchange", extra="ccxt") from None
    base = getattr(package, profile.client)
    check_requests(base, profile, version=str(package.__version__))
    options = {**profile.options, **given.get("options", {}), "maxRetriesOnFailure": 0}  # an order leaves once
    client = client_of(base, profile, {"enableRateLimit": True, **given, "options": options})
    if sandbox and "urls" not in given:
        profile.demo(client)
    _must_not_be_real(client, profile, real_money=real_money)
    keys = keys_of(exchange, sandbox=sandbox)
    client.apiKey, client.secret = keys.key, keys.secret
    return CcxtBroker(profile, client, real_money=real_money, watch=watch, unprotected=unprotected)


def _must_be_deliberate(profile: Profile, *, sandbox: bool, real_money: bool) -> None:
    name = f"{profile.exchange} {profile.market}"
    if sandbox and real_money:
        raise UsageError(f"sandbox=True and real_money=True for {name}: give sandbox=False for real money")
    if not (sandbox or real_money):
        raise UsageError(f"orders at {name} with sandbox=False are worth real money: say so by real_money=True")


def _without_keys(config: Mapping[str, Any] | None) -> dict[str, Any]:
    given = dict(config or {})
    if written := sorted({"apiKey", "secret", "password", "privateKey", "walletAddress", "token"} & set(given)):
        raise UsageError(
            f"config= holds {', '.join(written)}: keys stand in no cell\n"
            "they are read from the environment or from a keyring; leave them out to be told the names"
        )
    return given


def _must_not_be_real(client: Any, profile: Profile, *, real_money: bool) -> None:
    """Whatever addresses were given: without ``real_money`` no order may reach the exchange itself."""
    address = str(client.urls["api"]["private"])
    if profile.is_real(urlsplit(address).hostname or "") and not real_money:
        raise UsageError(f"config= leads to {address}, where orders are worth real money: say so by real_money=True")


class CcxtBroker:
    """An account at an exchange; :func:`bknb.brokers.ccxt` makes one. It is a :class:`bknb.ports.BrokerWithAccount`.

    Attributes
    ----------
    name : str
        The exchange, the market, and whether it is a sandbox.
    real_money : bool
        Whether its orders are worth real money.

    Examples
    --------
    >>> import bknb.brokers
    >>> bknb.brokers.CcxtBroker.__name__
    'CcxtBroker'
    """

    def __init__(
        self,
        profile: Profile,
        client: Any,
        *,
        real_money: bool,
        watch: Watch = "both",
        unprotected: Unprotected = "close",
        now: Callable[[], int] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.name = f"{profile.exchange} {profile.market}{'' if real_money else ' sandbox'}"
        self.real_money = real_money
        self._profile = profile
        self._abilities = replace(profile.abilities, watch=watch, unprotected=unprotected)
        self._client = ExchangeClient(client, profile, now=now or SystemClock().now, sleep=sleep)
        self._markets: dict[str, BrokerMarket] = {}
        self._placed: set[str] = set()  # client ids that left from here
        self._ids: dict[str, str] = {}  # client id by the exchange's name of an order; empty: not ours
        self._trades: dict[str, list[Trade]] = {}  # by the exchange's name of an order, as far as they are all there
        self._may_trade = not real_money  # whether the key was looked at
        weakref.finalize(self, _close, self._client).atexit = False

    def __repr__(self) -> str:
        return f"CcxtBroker({self.name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a broker with the keys of an account is not copied, saved or sent to another process")

    async def _on_fetch_loop(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return await asyncio.wrap_future(submit(work))

    # --- orders -------------------------------------------------------------------------------------------------

    async def place(self, order: Order) -> Report:
        """Send one order; see :meth:`bknb.ports.Broker.place`.

        One that may have left before is asked about first: exchanges compare an id with those of open orders at best.
        """
        return await self._on_fetch_loop(self._place(order))

    async def _place(self, order: Order) -> Report:
        await self._check_key(order)
        market = await self._market(order.symbol)
        may_have_left = (
            order.client_id in self._placed or await self._client.exchange_now() - order.created_at > _NEW_MS
        )
        if may_have_left and (known := await self._report(order.client_id, order.symbol)) is not None:
            return known
        if self._profile.market == "spot":
            _must_not_be_short(order)
        _must_fit(order, market)
        return await self._send(order, self._profile.move(order) if order.replaces else self._profile.place(order))

    async def _send(self, order: Order, request: Request) -> Report:
        """Send an order that is none yet."""
        self._placed.add(order.client_id)
        try:
            answer = await self._client.ask(request, urgent=is_urgent(order))
        except KnownOrderError:
            found = await self._report(order.client_id, order.symbol)
            if found is None:
                raise BrokerError(f"{order_text(order)} is there already, and is not found") from None
            return found
        report = self._read(self._profile.report_of, order.symbol, answer)
        self._ids[report.broker_id] = order.client_id
        return await self._with_fees(report, self._profile.trades_in_placing(answer))

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel an order; see :meth:`bknb.ports.Broker.cancel`."""
        return await self._on_fetch_loop(self._cancel(client_id, symbol))

    async def _cancel(self, client_id: str, symbol: str) -> Report:
        try:
            await self._client.ask(self._profile.cancel(client_id, symbol), urgent=True)
        except NoSuchOrderError:
            found = await self._report(client_id, symbol)  # it may be done
            if found is None:
                raise
            return found
        found = await self._report(client_id, symbol)
        if found is None:
            raise BrokerError(f"{self.name} has cancelled {client_id}, and does not find it")
        return found

    async def amend(self, order: Order) -> Report:
        """Move an order that rests; see :meth:`bknb.ports.BrokerWithAccount.amend`."""
        if self._abilities.move != ("replace" if order.replaces else "amend"):
            text = f"{self.name} does not move {order.replaces or order.client_id} so: cancel it, and place another"
            raise BrokerError(text, refused=True)
        return await self._on_fetch_loop(self._place(order) if order.replaces else self._amend(order))

    async def _amend(self, order: Order) -> Report:
        _must_fit(order, await self._market(order.symbol))
        await self._client.ask(self._profile.move(order), urgent=True)
        found = await self._report(order.client_id, order.symbol)
        if found is None:
            raise BrokerError(f"{self.name} has moved {order.client_id}, and does not find it")
        return found

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The state of an order; see :meth:`bknb.ports.Broker.report`."""
        return await self._on_fetch_loop(self._report(client_id, symbol))

    async def _report(self, client_id: str, symbol: str) -> Report | None:
        try:
            answer = await self._client.ask(self._profile.ask(client_id, symbol), urgent=True)
        except NoSuchOrderError:
            return None
        report = self._read(self._profile.report_of, symbol, answer)
        self._ids[report.broker_id] = report.client_id
        return await self._with_fees(report, [])

    async def open_orders(self, symbol: str) -> list[Report]:
        """All orders that work on a symbol, stops too; see :meth:`bknb.ports.Broker.open_orders`."""
        return await self._on_fetch_loop(self._open_orders(symbol))

    async def _open_orders(self, symbol: str) -> list[Report]:
        answer = await self._client.ask(self._profile.open_orders(symbol))
        return self._read(self._profile.reports_of, symbol, answer)

    async def _with_fees(self, report: Report, told: list[Trade]) -> Report:
        """A report with what its fills cost.

        Raises
        ------
        BrokerError
            The exchange has not told all of its trades yet.
        """
        if not report.filled_quantity:
            return report
        trades = next((each for each in (told, self._trades.get(report.broker_id, [])) if _all_of(report, each)), None)
        if trades is None:
            request = self._profile.trades(report.symbol, since=None, broker_id=report.broker_id)
            trades = self._profile.trades_of(await self._client.ask(request))
        if not _all_of(report, trades):
            raise BrokerError(f"{self.name} has not told all trades of {report.client_id} yet")
        self._trades[report.broker_id] = trades
        return replace(report, fees=added_up(tuple(fee for trade in trades for fee in trade.fees)))

    # --- the account --------------------------------------------------------------------------------------------

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        """The trades on a symbol; see :meth:`bknb.ports.BrokerWithAccount.fills`."""
        return await self._on_fetch_loop(self._fills(symbol, since))

    async def _fills(self, symbol: str, since: int) -> list[Fill]:
        found: dict[str, Trade] = {}
        while True:
            page = self._profile.trades_of(await self._client.ask(self._profile.trades(symbol, since=since)))
            new = [trade for trade in page if trade.trade_id not in found]
            found |= {trade.trade_id: trade for trade in new}
            if len(page) < _MOST_TRADES or not new:
                break
            since = max(trade.at for trade in page)
        fills = []
        for trade in sorted(found.values(), key=lambda trade: trade.at):
            client_id = await self._client_id_of(trade.broker_id, symbol)
            fills.append(
                Fill(
                    client_id=client_id, symbol=symbol, side=trade.side, quantity=trade.quantity, price=trade.price,
                    at=trade.at, trade_id=trade.trade_id, fees=trade.fees, broker_id=trade.broker_id,
                )
            )  # fmt: skip
        return fills

    async def _client_id_of(self, broker_id: str, symbol: str) -> str:
        known = self._ids.get(broker_id)
        if known is None:
            answer = await self._client.ask(self._profile.ask_by_broker_id(broker_id, symbol))
            known = self._ids[broker_id] = self._read(self._profile.report_of, symbol, answer).client_id
        return known

    async def balance(self) -> Mapping[str, Balance]:
        """What the account has; see :meth:`bknb.ports.BrokerWithAccount.balance`."""
        return await self._on_fetch_loop(self._balance())

    async def _balance(self) -> dict[str, Balance]:
        return self._profile.balance_of(await self._client.ask(self._profile.balance()))

    async def positions(self) -> list[AccountPosition]:
        """What is held of the coins of the markets that were asked about, whoever bought it."""
        return await self._on_fetch_loop(self._positions())

    async def _positions(self) -> list[AccountPosition]:
        balance = await self._balance()
        return [
            AccountPosition(symbol=market.symbol, quantity=balance[market.base].total)
            for market in self._markets.values()
            if market.base in balance
        ]

    async def market(self, symbol: str) -> BrokerMarket:
        """The rules of a market, as of the first question; see :meth:`bknb.ports.BrokerWithAccount.market`."""
        return await self._on_fetch_loop(self._market(symbol))

    async def _market(self, symbol: str) -> BrokerMarket:
        if ":" in symbol and self._profile.market == "spot":
            spot = symbol.partition(":")[0]
            raise BrokerError(f"{symbol} is a swap, and {self.name} trades spot, such as {spot}", refused=True)
        if symbol not in self._markets:
            answer = await self._client.ask(self._profile.market_rules(symbol))
            self._markets[symbol] = self._read(self._profile.market_of, symbol, answer)
        return self._markets[symbol]

    def abilities(self) -> Abilities:
        """What its orders can do; see :meth:`bknb.ports.BrokerWithAccount.abilities`."""
        return self._abilities

    # --- inside -------------------------------------------------------------------------------------------------

    async def _check_key(self, order: Order) -> None:
        """Refuse a key that may withdraw, before the first order with real money that opens something."""
        if self._may_trade or order.reduces_only:
            return
        answer = await self._client.ask(self._profile.may_withdraw())
        if self._profile.may_withdraw_of(answer):
            raise BrokerError(
                f"the key for {self.name} may withdraw; make one at the exchange that may trade only", refused=True
            )
        self._may_trade = True

    def _read(self, read: Callable[[str, Any], _Answer], symbol: str, answer: Any) -> _Answer:
        try:
            return read(symbol, answer)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise BrokerError(f"the answer of {self.name} about {symbol} cannot be read: {error!r}") from None


def _all_of(report: Report, trades: list[Trade]) -> bool:
    """Whether trades are all that an order has filled."""
    told = math.fsum(trade.quantity for trade in trades)
    return abs(told - report.filled_quantity) <= report.filled_quantity * EXACT


def _must_not_be_short(order: Order) -> None:
    """Refuse what would sell coins that no order of ours has bought: a spot market has no short positions."""
    if order.side == "sell" and not order.reduces_only:
        raise BrokerError(
            f"{order_text(order)}: a spot market has no short positions; coins of the account would go", refused=True
        )


def _must_fit(order: Order, market: BrokerMarket) -> None:
    """Refuse what the market would not take, or would take as something else, before it leaves."""
    if (order.kind in ("stop", "target")) != (order.trigger is not None):
        raise BrokerError(f"{order_text(order)} is a {order.kind} with the trigger {order.trigger}", refused=True)
    if order.trigger is not None and market.most_stops == 0:
        raise BrokerError(
            f"{order_text(order)}: no stop that sells at the market can rest at this market", refused=True
        )
    limits = market.limits(market=order.kind != "limit")
    if rounded_down(order.quantity, limits.step) < order.quantity * (1 - EXACT):
        step = plain_number(limits.step)
        raise BrokerError(f"{order_text(order)} is no multiple of the step {step} of the market", refused=True)
    level = order.price if order.trigger is None else order.trigger
    small = too_small(order.quantity, order.record_price if level is None else level, limits)
    if small is not None:
        raise BrokerError(f"{order_text(order)}: {small.text}", refused=True)
    for price in (order.price, order.trigger):
        if price is not None and market.tick and round_nearest(price, market.tick) != price:
            raise BrokerError(
                f"{order_text(order)}: {plain_number(price)} is no multiple of the tick {plain_number(market.tick)}",
                refused=True,
            )


def _close(client: ExchangeClient) -> None:
    submit(client.close())
