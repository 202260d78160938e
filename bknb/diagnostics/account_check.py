"""An account at a broker, looked at, and tried out with the smallest order far from the market."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Literal, TypeVar

from ..brokers.ccxt_and_paper import ccxt
from ..brokers.paper_broker import PaperBroker
from ..domain.broker_account import BrokerMarket
from ..domain.broker_orders_and_ids import Order, OrderKind, Purpose, client_id
from ..domain.formatting import plain_number
from ..domain.quantity_step_and_least_amount import EXACT, rounded_down
from ..domain.text import error_text
from ..domain.tick_grid import round_nearest
from ..errors import BknbError, BrokerError, UsageError
from ..market.fetch_loop import submit
from ..market.system_clock import SystemClock
from ..ports import BrokerWithAccount
from .findings import Finding, skew_text
from .resting_order_check import CALL_SECONDS, NAME, RestingOrders, Unclear, advice_for

T = TypeVar("T")
Market = Literal["spot", "swap"]

SYMBOLS: Final = {"spot": "BTC/USDT", "swap": "BTC/USDT:USDT"}
_SKEW_MS: Final = 1_000
_FAR: Final = 0.1  # of the price, where the market takes an order as far away
_MARGIN: Final = 1.05  # above the least value, as prices move meanwhile
_LEAST: Final = 0.001  # where the market has no least quantity, in base currency
_CLEAR_SECONDS: Final = 120.0


def check_account(
    broker: str | BrokerWithAccount,
    *,
    market: Market,
    symbol: str | None,
    real_money: bool,
    test_order: bool | None,
    price: float | None,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> list[Finding]:
    """What was found of an account; see :func:`bknb.doctor`."""
    if market not in SYMBOLS:
        raise UsageError(f"market= is 'spot' or 'swap', got {market!r:.40}")
    if isinstance(broker, str):
        try:
            made: BrokerWithAccount = ccxt(broker, market=market, sandbox=not real_money, real_money=real_money)
        except BknbError as error:
            first, *more = error.lines()
            return [Finding(what="broker", state="bad", found=first, advice=" ".join(more))]
    elif isinstance(broker, BrokerWithAccount):
        made = broker
    else:
        raise UsageError(f"broker= is the name of an exchange, or a broker that tells its account, got {broker!r:.60}")
    is_real = not isinstance(made, PaperBroker) and bool(getattr(made, "real_money", True))
    if is_real and not isinstance(broker, str) and not real_money:
        raise UsageError(f"{made.name} is worth real money: say so by real_money=True")
    places = not is_real if test_order is None else test_order
    check = AccountCheck(made, symbol or SYMBOLS[market], price=price, sleep=sleep)
    _to_its_end(check.run(places=places, with_stop=places and not is_real))
    return check.findings


def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Run a check; interrupted, it clears away what it has placed before the interrupt goes on."""
    over = threading.Event()

    async def whole() -> None:
        try:
            await work
        finally:
            over.set()

    future = submit(whole())
    try:
        future.result()
    except KeyboardInterrupt:
        future.cancel()
        over.wait(_CLEAR_SECONDS)
        raise


class AccountCheck:
    """Looks at one account, step by step.

    Attributes
    ----------
    findings : list of Finding
        One for each step, in order.
    """

    def __init__(
        self,
        broker: BrokerWithAccount,
        symbol: str,
        *,
        price: float | None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.findings: list[Finding] = []
        self._broker, self._symbol, self._price = broker, symbol, price
        self._orders = RestingOrders(broker, symbol, sleep=sleep)
        self._orders.findings = self.findings

    async def run(self, *, places: bool, with_stop: bool) -> None:
        """Look at everything, and place orders where that is wanted."""
        name = self._broker.name
        known = ", the requests of its client are the known ones" if hasattr(self._broker, "clock_ahead_ms") else ""
        self._found("broker", f"{name}{known}")
        try:
            await self._clock()
            await self._key()
            market = await self._asked("market", self._broker.market(self._symbol), "its rules")
            self._found("market", _rules_text(market))
            price = await self._last_price()
            if not places:
                self._note_not_placed()
                return
            await self._set_up()
            await self._trade(market, price, with_stop=with_stop)
        except Unclear:
            return

    # --- looking ------------------------------------------------------------------------------------------------

    async def _clock(self) -> None:
        measure = getattr(self._broker, "clock_ahead_ms", None)
        if measure is None:
            return
        ahead = await self._asked("clock", measure(), f"at most {_SKEW_MS} ms apart")
        found = skew_text(ahead)
        fits = abs(ahead) <= _SKEW_MS
        self._found(
            "clock", found, state="ok" if fits else "note", expected="" if fits else f"at most {_SKEW_MS} ms",
            advice="" if fits else "let the system set its clock from the network (NTP); orders are signed by theirs",
        )  # fmt: skip

    async def _key(self) -> None:
        ask, expected = getattr(self._broker, "may_withdraw", None), "it may trade and not withdraw"
        if ask is None:
            return
        try:
            may = await asyncio.wait_for(ask(), CALL_SECONDS)
        except BrokerError as error:
            if not getattr(self._broker, "real_money", True):
                self._found("key", "this sandbox does not say what a key may do")
                return
            self._found("key", error_text(error), state="bad", expected=expected, advice=advice_for(error))
            raise Unclear from None
        if may:
            advice = "make a key at the exchange that may trade only, and delete this one"
            self._found("key", "it may withdraw", state="bad", expected=expected, advice=advice)
            raise Unclear
        self._found("key", expected)

    async def _set_up(self) -> None:
        """Have the account in the mode that orders count on, and a swap kept with isolated margin and a leverage."""
        set_up: Callable[[str], Awaitable[Any]] | None = getattr(self._broker, "setup", None)
        if set_up is None:
            return
        kept = await self._asked(
            "account", set_up(self._symbol), "one-way, isolated margin, the leverage of the broker"
        )
        how = "as it has to be" if kept is None else f"{kept.margin} margin, leverage {plain_number(kept.leverage)}"
        self._found("account", how)

    async def _last_price(self) -> float:
        ask: Callable[[str], Awaitable[float]] | None = getattr(self._broker, "price", None)
        price = self._price
        if price is None:
            if ask is None:
                raise UsageError(f"{self._broker.name} tells no prices: give price=, the last one of {self._symbol}")
            price = await self._asked("price", ask(self._symbol), "a price")
        if not (math.isfinite(price) and price > 0.0):
            self._found("price", f"{price}", state="bad", expected="a price", advice="look at this market")
            raise Unclear
        self._found("price", plain_number(price))
        return price

    async def _asked(self, what: str, work: Awaitable[T], expected: str) -> T:
        try:
            return await asyncio.wait_for(work, CALL_SECONDS)
        except BrokerError as error:
            text, advice = error_text(error), advice_for(error)
        except TimeoutError:
            text, advice = f"no answer within {CALL_SECONDS:g} s", "look at the network and the exchange's status"
        self._found(what, text, state="bad", expected=expected, advice=advice)
        raise Unclear

    def _found(self, what: str, found: str, **more: Any) -> None:
        self.findings.append(Finding(**{"what": what, "state": "ok", "found": found, **more}))

    def _note_not_placed(self) -> None:
        advice = "with test_order=True (--test-order) the smallest order is placed far from the market, and cancelled"
        self._found("orders", "none was placed: this is real money", state="note", advice=advice)

    # --- placing ------------------------------------------------------------------------------------------------

    async def _trade(self, market: BrokerMarket, price: float, *, with_stop: bool) -> None:
        orders = self._orders
        try:
            await orders.clear("orders of an earlier check")
            if self.findings[-1].state == "bad":
                return
            level = _level(market, price, below=True)
            quantity = least_quantity(market, level, at_market=False)
            await self._must_be_paid(market, quantity * level)
            await orders.try_out("limit order", self._order("limit", market, quantity, level), level=level)
            if with_stop and not any(each.state == "bad" for each in self.findings):
                await self._try_stop(market, price)
        finally:
            await asyncio.shield(asyncio.ensure_future(orders.clear()))

    async def _must_be_paid(self, market: BrokerMarket, value: float) -> None:
        if not market.quote or isinstance(self._broker, PaperBroker):
            return
        balance = await self._asked("balance", self._broker.balance(), "what the account has")
        free = balance[market.quote].free if market.quote in balance else 0.0
        needed = f"{plain_number(round(value, 2))} {market.quote} for the smallest order"
        if free >= value:
            self._found("balance", f"enough: {needed}")
            return
        advice = f"bring {market.quote} into this account, or choose another symbol="
        self._found("balance", f"less than {needed} is free", state="bad", expected=f"{needed}", advice=advice)
        raise Unclear

    async def _try_stop(self, market: BrokerMarket, price: float) -> None:
        """A stop below that sells what is there; where nothing is, one above that would buy."""
        if self._broker.abilities().stop is None or market.most_stops == 0:
            self._found("stop", "no stop can rest at this market", state="note",
                        advice="positions are watched by the process alone")  # fmt: skip
            return
        balance = await self._asked("balance", self._broker.balance(), "what the account has")
        low, near = _level(market, price, below=True), _level(market, price, below=True, far=_FAR * 0.9)
        quantity = least_quantity(market, low, at_market=True)
        held = balance[market.base].free if market.base in balance else 0.0
        sells = ":" not in self._symbol and held >= quantity
        if not sells:
            low, near = _level(market, price, below=False), _level(market, price, below=False, far=_FAR * 0.9)
            quantity = least_quantity(market, price, at_market=True)
        stop = self._order("stop", market, quantity, low, sells=sells)
        await self._orders.try_out("stop", stop, level=near)

    def _order(
        self, kind: OrderKind, market: BrokerMarket, quantity: float, level: float, *, sells: bool = False
    ) -> Order:
        now = SystemClock().now()
        name = f"{NAME} {kind}"
        purpose: Purpose = "protect" if sells else "open"
        return Order(
            client_id=client_id(NAME, self._symbol, (name, now), purpose), signal_id=name, decided_at=now,
            symbol=self._symbol, strategy=NAME, exchange=self._broker.name, purpose=purpose,
            side="sell" if sells else "buy", kind=kind, quantity=quantity, price=level if kind == "limit" else None,
            trigger=level if kind == "stop" else None, record_price=level, created_at=now, base=market.base,
        )  # fmt: skip


def least_quantity(market: BrokerMarket, level: float, *, at_market: bool) -> float:
    """The least quantity that a market takes at a price, with 5 % to spare, in base currency.

    Examples
    --------
    >>> market = BrokerMarket(symbol="BTCUSDT", step=0.00001, least_quantity=0.00001, least_value=5.0)
    >>> least_quantity(market, 45_000.0, at_market=False)
    0.00012
    """
    limits = market.limits(market=at_market)
    wanted = max(limits.least_quantity, limits.least_value * _MARGIN / level, limits.step) or _LEAST
    down = rounded_down(wanted, limits.step)
    return down if down >= wanted * (1 - EXACT) else rounded_down(down + limits.step, limits.step)


def _level(market: BrokerMarket, price: float, *, below: bool, far: float = _FAR) -> float:
    """A price on the grid of a market, as far from the last one as it takes, up to a tenth of it."""
    if below:
        level = price * max(1.0 - far, 1.0 - (1.0 - market.lowest_trigger) * 0.7)
    else:
        level = price * min(1.0 + far, 1.0 + (market.highest_trigger - 1.0) * 0.7)
    return round_nearest(level, market.tick) if market.tick else level


def _rules_text(market: BrokerMarket) -> str:
    rules = (("tick", market.tick), ("step", market.step), ("least quantity", market.least_quantity))
    said = [f"{name} {plain_number(value)}" for name, value in rules if value]
    if market.least_value:
        said.append(f"an order is worth {plain_number(market.least_value)} {market.quote} at least")
    return f"{market.symbol}: {', '.join(said) or 'no limits'}"
