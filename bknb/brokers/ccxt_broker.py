"""An account at an exchange, through a client of ccxt whose requests are known to the last parameter."""

from __future__ import annotations

import asyncio
import math
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, NoReturn, TypeVar

from msgspec.structs import replace

from ..domain.account_ledger import own_purpose
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
from ..domain.protective_orders import may_protect
from ..domain.quantity_step_and_least_amount import EXACT
from ..errors import BrokerError
from ..market.fetch_loop import submit
from ..market.system_clock import SystemClock
from .account_set_up import AccountSetUp
from .exchange_client import ExchangeClient, KnownOrderError, NoSuchOrderError, is_urgent
from .exchange_keys import account_name
from .exchange_profile import Profile, SwapProfile, SwapSettings, Trade
from .markets_at_exchange import MarketsAtExchange
from .order_fits_market import must_fit, must_not_be_short

_Answer = TypeVar("_Answer")

_NEW_MS: Final = 60_000  # an order that was made less long ago cannot have left before
_WEEK_MS: Final = 7 * 86_400_000


class CcxtBroker:
    """An account at an exchange; :func:`bknb.brokers.ccxt` makes one. It is a :class:`bknb.ports.BrokerWithAccount`.

    Attributes
    ----------
    name : str
        The exchange, the market, and whether it is a sandbox.
    real_money : bool
        Whether its orders are worth real money.
    made_by : callable, or None
        Makes it again, such as in another process, with the keys of the environment there: none are in it.

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
        leverage: float = 1.0,
        now: Callable[[], int] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.name = f"{profile.exchange} {profile.market}{'' if real_money else ' sandbox'}"
        self.real_money = real_money
        self.made_by: Callable[[], CcxtBroker] | None = None
        self._profile = profile
        account = account_name(profile.exchange, profile.market, str(client.apiKey), real_money=real_money)
        nets = profile.market == "swap"
        self._abilities = replace(profile.abilities, watch=watch, unprotected=unprotected, account=account, nets=nets)
        self._client = ExchangeClient(client, profile, now=now or SystemClock().now, sleep=sleep)
        self._set_up = AccountSetUp(self._client, profile, name=self.name, leverage=leverage, real=real_money)
        self._markets = MarketsAtExchange(self._client, profile, name=self.name)
        self._placed: set[str] = set()  # client ids that left from here
        self._ids: dict[str, str] = {}  # client id by the exchange's name of an order; empty: not ours
        self._trades: dict[str, list[Trade]] = {}  # by the exchange's name of an order, as far as they are all there
        weakref.finalize(self, _close, self._client).atexit = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

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
        await self._set_up.must_not_withdraw(order)
        market = await self._markets.of(order.symbol)
        may_have_left = (
            order.client_id in self._placed or await self._client.exchange_now() - order.created_at > _NEW_MS
        )
        if may_have_left and (known := await self._report(order.client_id, order.symbol)) is not None:
            return known
        if self._profile.market == "spot":
            must_not_be_short(order)
        must_fit(order, market, ids=self._profile.ids)
        if not order.reduces_only:
            await self._set_up.must_be_ready(order, market)
        return await self._send(order, market)

    async def _send(self, order: Order, market: BrokerMarket) -> Report:
        """Send an order that is none yet."""
        request = self._profile.move(order, market) if order.replaces else self._profile.place(order, market)
        self._placed.add(order.client_id)
        try:
            answer = await self._client.ask(request, urgent=is_urgent(order))
        except KnownOrderError:
            found = await self._report(order.client_id, order.symbol)
            if found is None:
                raise BrokerError(f"{order_text(order)} is there already, and is not found") from None
            return found
        except BrokerError as error:
            if error.refused and not error.later:
                self._markets.outdate(order.symbol)  # its rules may have changed
            raise
        return await self._after_placing(order, market, answer)

    async def _after_placing(self, order: Order, market: BrokerMarket, answer: Any) -> Report:
        """What is known of an order that has arrived; its fills are told once the exchange tells all about them."""
        placed = self._client.read(self._profile.placed, market, answer)
        try:
            if placed is None:
                return await self._report(order.client_id, order.symbol) or _arrived(order)
            self._ids[placed[0].broker_id] = order.client_id
            return await self._with_fees(market, *placed)
        except BrokerError:
            return _arrived(order)

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel an order; see :meth:`bknb.ports.Broker.cancel`."""
        return await self._on_fetch_loop(self._cancel(client_id, symbol))

    async def _cancel(self, client_id: str, symbol: str) -> Report:
        market = await self._markets.of(symbol)
        missing: NoSuchOrderError | None = None
        for stop in self._places(client_id):
            try:
                await self._client.ask(self._profile.cancel(client_id, market, stop=stop), urgent=True)
                break
            except NoSuchOrderError as error:
                missing = error
        found = await self._report(client_id, symbol)  # it may be done
        if found is None:
            raise missing or BrokerError(f"{self.name} has cancelled {client_id}, and does not find it")
        return found

    async def amend(self, order: Order) -> Report:
        """Move an order that rests; see :meth:`bknb.ports.BrokerWithAccount.amend`."""
        if self._abilities.move != ("replace" if order.replaces else "amend"):
            text = f"{self.name} does not move {order.replaces or order.client_id} so: cancel it, and place another"
            raise BrokerError(text, refused=True)
        return await self._on_fetch_loop(self._place(order) if order.replaces else self._amend(order))

    async def _amend(self, order: Order) -> Report:
        market = await self._markets.of(order.symbol)
        must_fit(order, market, ids=self._profile.ids)
        await self._client.ask(self._profile.move(order, market), urgent=True)
        found = await self._report(order.client_id, order.symbol)
        if found is None:
            raise BrokerError(f"{self.name} has moved {order.client_id}, and does not find it")
        return found

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The state of an order; see :meth:`bknb.ports.Broker.report`."""
        return await self._on_fetch_loop(self._looked_at(client_id, symbol))

    async def _looked_at(self, client_id: str, symbol: str) -> Report | None:
        report = await self._report(client_id, symbol)
        if report is None or own_purpose(client_id) == "target":
            return report
        return await self._set_up.noted(report, await self._markets.of(symbol))

    async def _report(self, client_id: str, symbol: str) -> Report | None:
        market = await self._markets.of(symbol)
        for stop in self._places(client_id):
            try:
                answer = await self._client.ask(self._profile.ask(client_id, market, stop=stop), urgent=True)
            except NoSuchOrderError:
                continue
            return await self._told(market, self._client.read(self._profile.report_of, market, answer))
        return None

    def _places(self, client_id: str) -> tuple[bool, ...]:
        """Where an order may be, the likely place first: among the stops or among the others."""
        if not self._profile.stops_apart:
            return (False,)
        return (True, False) if may_protect(client_id) else (False, True)

    async def _told(self, market: BrokerMarket, report: Report) -> Report:
        """A report with what its fills cost; of a stop that became another order with those of that one."""
        self._ids[report.broker_id] = report.client_id
        if not report.child:
            return await self._with_fees(market, report, [])
        self._ids[report.child] = report.client_id
        try:
            answer = await self._client.ask(self._profile.ask_by_broker_id(report.child, market), urgent=True)
        except NoSuchOrderError:
            return report  # it is not shown yet
        child = await self._with_fees(market, self._client.read(self._profile.report_of, market, answer), [])
        return replace(
            child,
            client_id=report.client_id,
            broker_id=report.broker_id,
            child=report.child,
            status="triggered" if child.status == "accepted" else child.status,
        )

    async def open_orders(self, symbol: str) -> list[Report]:
        """All orders that work on a symbol, stops too; see :meth:`bknb.ports.Broker.open_orders`."""
        return await self._on_fetch_loop(self._open_orders(symbol))

    async def _open_orders(self, symbol: str) -> list[Report]:
        market = await self._markets.of(symbol)
        found: list[Report] = []
        for request in self._profile.open_orders(market):
            found += self._client.read(self._profile.reports_of, market, await self._client.ask(request))
        return found

    async def _with_fees(self, market: BrokerMarket, report: Report, told: list[Trade]) -> Report:
        """A report with what its fills cost.

        Raises
        ------
        BrokerError
            The exchange has not told all of its trades yet.
        """
        if not report.filled_quantity or report.fees:
            return report
        trades = next((each for each in (told, self._trades.get(report.broker_id, [])) if _all_of(report, each)), None)
        if trades is None:
            request = self._profile.trades(market, since=None, broker_id=report.broker_id)
            trades = self._client.read(self._profile.trades_of, market, await self._client.ask(request))
        if not _all_of(report, trades):
            raise BrokerError(f"{self.name} has not told all trades of {report.client_id} yet")
        self._trades[report.broker_id] = trades
        return replace(report, fees=added_up(tuple(fee for trade in trades for fee in trade.fees)))

    # --- the account --------------------------------------------------------------------------------------------

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        """The trades on a symbol; see :meth:`bknb.ports.BrokerWithAccount.fills`."""
        return await self._on_fetch_loop(self._fills(symbol, since))

    async def _fills(self, symbol: str, since: int) -> list[Fill]:
        market = await self._markets.of(symbol)
        found: dict[str, Trade] = {}
        request = self._profile.trades(market, since=since)
        while True:
            page = self._client.read(self._profile.trades_of, market, await self._client.ask(request))
            new = [trade for trade in page if trade.trade_id not in found]
            found |= {trade.trade_id: trade for trade in new}
            now = await self._client.exchange_now()
            more = self._profile.more_trades(market, request, page=page, now=now)
            if more is None or (page and not new):
                break
            request = more
        trades = [trade for trade in sorted(found.values(), key=lambda trade: trade.at) if trade.at >= since]
        await self._learn_children(market, trades)
        fills = []
        for trade in trades:
            client_id = await self._client_id_of(trade.broker_id, market)
            fills.append(
                Fill(
                    client_id=client_id, symbol=symbol, side=trade.side, quantity=trade.quantity, price=trade.price,
                    at=trade.at, trade_id=trade.trade_id, fees=trade.fees, broker_id=trade.broker_id,
                )
            )  # fmt: skip
        return fills

    async def _learn_children(self, market: BrokerMarket, trades: list[Trade]) -> None:
        """Have the stops known that became orders whose trades these are."""
        unknown = [trade.at for trade in trades if trade.broker_id not in self._ids]
        asked = self._profile.children(market, min(unknown) - _WEEK_MS) if unknown else None
        if asked is not None:
            self._ids |= self._profile.children_of(await self._client.ask(asked))

    async def _client_id_of(self, broker_id: str, market: BrokerMarket) -> str:
        known = self._ids.get(broker_id)
        if known is None:
            try:
                answer = await self._client.ask(self._profile.ask_by_broker_id(broker_id, market))
            except NoSuchOrderError:
                return ""  # the exchange tells its trades for longer
            known = self._ids[broker_id] = self._client.read(self._profile.report_of, market, answer).client_id
        return known

    async def balance(self) -> Mapping[str, Balance]:
        """What the account has; see :meth:`bknb.ports.BrokerWithAccount.balance`."""
        return await self._on_fetch_loop(self._balance())

    async def _balance(self) -> dict[str, Balance]:
        return self._client.read(self._profile.balance_of, await self._client.ask(self._profile.balance()))

    async def positions(self) -> list[AccountPosition]:
        """The positions of a swap account; else what is held of the coins of the markets that were asked about."""
        return await self._on_fetch_loop(self._positions())

    async def _positions(self) -> list[AccountPosition]:
        if self._profile.market == "swap":
            return await self._positions_of_swaps()
        balance = await self._balance()
        return [
            AccountPosition(symbol=market.symbol, quantity=balance[market.base].total)
            for market in self._markets.known
            if market.base in balance
        ]

    async def _positions_of_swaps(self) -> list[AccountPosition]:
        swap: SwapProfile = self._profile  # type: ignore[assignment]  # of this market
        answer = await self._client.ask(swap.positions())
        known = {market.symbol for market in self._markets.known}
        found = self._client.read(swap.positions_of, self._markets.known, answer)
        for symbol in {each.symbol for each in found} - known:
            try:
                await self._markets.of(symbol)  # how large one of its contracts is
            except BrokerError as error:
                if not error.refused:
                    raise  # else it is none of the swaps that are traded here
        return self._client.read(swap.positions_of, self._markets.known, answer)

    async def market(self, symbol: str) -> BrokerMarket:
        """The rules of a market, asked for anew after a refusal; see :meth:`bknb.ports.BrokerWithAccount.market`."""
        return await self._on_fetch_loop(self._markets.of(symbol))

    async def setup(self, symbol: str) -> SwapSettings | None:
        """Have the account as it has to be when something is opened: how a swap is kept then; ``None``: it is none.

        Raises
        ------
        BrokerError
            With ``refused=True``: it cannot be had, with the reason.
        """
        return await self._on_fetch_loop(self._setup(symbol))

    async def _setup(self, symbol: str) -> SwapSettings | None:
        return await self._set_up.set_up(await self._markets.of(symbol))

    async def price(self, symbol: str) -> float:
        """The last price of a market, in quote currency."""
        return await self._on_fetch_loop(self._price(symbol))

    async def _price(self, symbol: str) -> float:
        market = await self._markets.of(symbol)
        answer = await self._client.ask(self._profile.price(market))
        return self._client.read(self._profile.price_of, answer)

    def abilities(self) -> Abilities:
        """What its orders can do; see :meth:`bknb.ports.BrokerWithAccount.abilities`."""
        return self._abilities

    async def clock_ahead_ms(self) -> int:
        """How far the clock here is ahead of that of the exchange, in ms; below 0: behind."""
        return await self._on_fetch_loop(self._client.clock_ahead_ms())

    async def may_withdraw(self) -> bool:
        """Whether the key may withdraw; a sandbox need not say."""
        return await self._on_fetch_loop(self._set_up.may_withdraw())

    # --- inside -------------------------------------------------------------------------------------------------


def _all_of(report: Report, trades: list[Trade]) -> bool:
    """Whether trades are all that an order has filled."""
    told = math.fsum(trade.quantity for trade in trades)
    return abs(told - report.filled_quantity) <= report.filled_quantity * EXACT


def _arrived(order: Order) -> Report:
    """What is known of an order that the exchange has taken, before it tells more."""
    return Report(client_id=order.client_id, symbol=order.symbol, status="accepted")


def _close(client: ExchangeClient) -> None:
    submit(client.close())
