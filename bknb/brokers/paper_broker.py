"""The paper broker: fills orders, and simulates the failures of a real broker on request.

Failures are given call by call, or drawn from a seed, so that every run of a script is the same.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ..domain.broker_account import Abilities, AccountPosition, Balance, BrokerMarket, Fill
from ..domain.broker_orders_and_ids import Order, Report
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.interval import MINUTE_MS
from ..errors import BrokerError, UsageError
from ..stores.atomic import as_path
from ..stores.disk import Disk
from .paper_account import PaperKind, balances_of, closable, is_reached, paper_rules, positions_of, refusal
from .paper_order_fills import JOURNAL_EXAMPLE, PaperOrder, journal_of_orders, orders_in
from .paper_trouble import CALLS, Call, Script, Trouble, TroubleKind

_Answer = TypeVar("_Answer")
_MOST_DONE: Final = 10_000
"""How many orders that are done are remembered; of older ones their fills count in the position."""
_LATE_MS: Final = MINUTE_MS  # an order that comes later than so long after its moment meets the market of then


class PaperBroker:
    """A broker without an exchange; see :class:`bknb.ports.Broker` for what it promises.

    Orders are filled by the candles it is told of (:meth:`saw`), as the execution model ``pessimistic`` fills them: a
    market order at the open of the first candle with volume after it was decided, a limit order at that open when it
    reaches the limit, later when a candle trades through it. One that arrives more than a minute after it was decided
    is filled by candles that open from then on. With ``price_of`` a market order, and a limit order the market has
    passed already, are filled at once at that price.

    A stop is filled by the first candle that reaches its trigger, there or at an open beyond it; a target as a limit
    order at its trigger is.

    Parameters
    ----------
    journal : str or Path, optional
        A file with everything the broker has received, one line of JSON per change of an order, forced to the disk
        line by line: a restarted process finds the same orders. One process at a time.
    script : mapping or callable, optional
        The trouble, call by call; see :data:`Script`.
    rates : mapping, optional
        Trouble by chance: each kind with its probability per call, drawn from ``seed``.
    seed : int
        For ``rates``.
    price_of : callable, optional
        The price of a symbol now, in quote currency.
    market : {"spot", "swap"}, optional
        ``"spot"``: no more is sold than is free, and a stop that rests holds what it would sell. ``"swap"``: what
        closes or protects never does more than that. By default neither is looked at.
    rules : BrokerMarket, optional
        Steps, least amounts and fees of all markets: ``taker`` is paid for every fill, in ``fee_in``.
    abilities : Abilities, optional
        What its orders can do, where it is to be less than a paper broker can.
    sleep : callable
        How to wait for so many seconds.
    disk : Disk, optional
        Who carries out the system calls of the journal.

    Attributes
    ----------
    orders
        By client id, oldest first: those that work, and the last ten thousand of the others.
    made_by : callable
        Makes another one like it, such as in another process; it has the orders of the journal, if there is one.

    Raises
    ------
    StateError
        When the journal cannot be read, holds something else, or a newer bknb wrote it.
    UsageError
        When the journal is no path.

    Examples
    --------
    >>> broker = PaperBroker(script={"place": [Trouble(kind="lost_reply")]})
    >>> order = Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo",
    ...     purpose="open", side="buy", kind="market", quantity=0.5, price=None, record_price=100.0, created_at=0)
    >>> try:
    ...     asyncio.run(broker.place(order))
    ... except TimeoutError as error:
    ...     print(error)
    no answer to place bk1
    >>> broker.saw("BTCUSDT", Minute(0, 101.0, 102.0, 100.0, 101.5, 101.0))
    >>> asyncio.run(broker.report("bk1", "BTCUSDT")).average_price, broker.position("BTCUSDT")
    (101.0, 0.5)
    """

    name = "paper"

    def __init__(
        self,
        *,
        journal: str | Path | None = None,
        script: Script | None = None,
        rates: Mapping[TroubleKind, float] | None = None,
        seed: int = 0,
        price_of: Callable[[str], float] | None = None,
        market: PaperKind | None = None,
        rules: BrokerMarket | None = None,
        abilities: Abilities | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        disk: Disk | None = None,
    ) -> None:
        if script is not None and rates is not None:
            raise UsageError("give a paper broker its trouble by `script` or by `rates`, not by both")
        if isinstance(script, Mapping) and (unknown := set(script) - set(CALLS)):
            raise UsageError(f"a broker has no call {min(unknown)!r}; its calls are {', '.join(CALLS)}")
        self.made_by = partial(
            PaperBroker, journal=journal, script=script, rates=rates, seed=seed, price_of=price_of, market=market,
            rules=rules, abilities=abilities,
        )  # fmt: skip
        self._rules = paper_rules(market, rules, abilities)
        self.orders: dict[str, PaperOrder] = {}
        self._received = 0  # orders, also those that are forgotten
        self._forgotten: defaultdict[str, float] = defaultdict(float)  # by symbol: what those have filled
        self._script = script
        self._rates = dict(rates or {})
        self._chance = random.Random(seed)  # noqa: S311 -- chance that can be repeated is the point
        self._price_of = price_of
        self._sleep = sleep
        self._numbers: dict[tuple[Call, str], int] = {}
        self._may_work: defaultdict[str, list[PaperOrder]] = defaultdict(list)  # by symbol, in turn
        self._last_minutes: dict[str, Minute] = {}  # by symbol: an order may arrive after its first candle
        self._journal = None if journal is None else journal_of_orders(as_path(journal, JOURNAL_EXAMPLE), disk)
        if self._journal is not None:
            found = orders_in(self._journal)
            if self._journal.drop_torn_line():  # its order was never confirmed
                found = orders_in(self._journal)
            self.orders.update((order.client_id, order) for order in found)
            self._received = len(self.orders)
            for order in self.orders.values():
                self._may_work[order.symbol].append(order)
            self._forget_oldest()

    def __repr__(self) -> str:
        return f"PaperBroker({len(self.orders)} orders)"

    # --- the port -----------------------------------------------------------------------------------------------

    async def place(self, order: Order) -> Report:
        """Send one order; see :meth:`bknb.ports.Broker.place`."""
        trouble = self._trouble("place", order.client_id)
        await self._on_the_way(trouble, f"place {order.client_id}")
        known = self.orders.get(order.client_id)
        if known is None:
            known = self._receive(order, trouble)
        else:
            known.receive_again()
        self._save(known)
        return await self._on_the_way_back(trouble, f"place {order.client_id}", known.report())

    async def cancel(self, client_id: str, symbol: str) -> Report:
        """Cancel an order; see :meth:`bknb.ports.Broker.cancel`."""
        trouble = self._trouble("cancel", client_id)
        await self._on_the_way(trouble, f"cancel {client_id}")
        order = self._find(client_id, symbol)
        if order is None:
            raise BrokerError(f"no order {client_id!r} on {symbol} was ever placed here", refused=True)
        if order.working:
            order.cancel()
            self._save(order)
        return await self._on_the_way_back(trouble, f"cancel {client_id}", order.report())

    async def report(self, client_id: str, symbol: str) -> Report | None:
        """The state of an order; see :meth:`bknb.ports.Broker.report`."""
        trouble = self._trouble("report", client_id)
        await self._on_the_way(trouble, f"report {client_id}")
        order = self._find(client_id, symbol)
        return await self._on_the_way_back(trouble, f"report {client_id}", None if order is None else order.report())

    async def open_orders(self, symbol: str) -> list[Report]:
        """The open orders on a symbol; see :meth:`bknb.ports.Broker.open_orders`."""
        trouble = self._trouble("open_orders", symbol)
        await self._on_the_way(trouble, f"open_orders {symbol}")
        working = [order.report() for order in self._working(symbol)]
        return await self._on_the_way_back(trouble, f"open_orders {symbol}", working)

    # --- the account --------------------------------------------------------------------------------------------

    async def amend(self, order: Order) -> Report:
        """Move an order that rests; see :meth:`bknb.ports.BrokerWithAccount.amend`."""
        trouble = self._trouble("amend", order.client_id)
        await self._on_the_way(trouble, f"amend {order.client_id}")
        known = self._find(order.replaces or order.client_id, order.symbol)
        move = "replace" if order.replaces else "amend"
        if self._rules.abilities.move != move or known is None or not known.working or known.is_market:
            raise BrokerError(f"{order.replaces or order.client_id} cannot be moved", refused=True)
        if order.replaces:
            known.cancel()
            self._save(known)
            known = self._receive(order, trouble)
        else:
            others = [each for each in self._working(order.symbol) if each is not known]
            self._refuse(order, others)
            known.quantity, known.price, known.trigger = order.quantity, order.price, order.trigger
        self._save(known)
        return await self._on_the_way_back(trouble, f"amend {order.client_id}", known.report())

    async def fills(self, symbol: str, since: int) -> list[Fill]:
        """The trades on a symbol; see :meth:`bknb.ports.BrokerWithAccount.fills`."""
        trouble = self._trouble("fills", symbol)
        await self._on_the_way(trouble, f"fills {symbol}")
        mine = (order for order in self.orders.values() if order.symbol == symbol)
        found = sorted((fill for order in mine for fill in order.fills() if fill.at >= since), key=lambda fill: fill.at)
        return await self._on_the_way_back(trouble, f"fills {symbol}", found)

    async def balance(self) -> Mapping[str, Balance]:
        """What fills have left of each currency, of nothing at the start: below 0 where more was spent.

        See :meth:`bknb.ports.BrokerWithAccount.balance`.
        """
        trouble = self._trouble("balance", "")
        await self._on_the_way(trouble, "balance")
        found = balances_of(self._held(), self.orders.values(), self._rules)
        return await self._on_the_way_back(trouble, "balance", found)

    async def positions(self) -> list[AccountPosition]:
        """What is held of each symbol; see :meth:`bknb.ports.BrokerWithAccount.positions`."""
        trouble = self._trouble("positions", "")
        await self._on_the_way(trouble, "positions")
        return await self._on_the_way_back(trouble, "positions", positions_of(self._held()))

    async def market(self, symbol: str) -> BrokerMarket:
        """The rules of a market; see :meth:`bknb.ports.BrokerWithAccount.market`."""
        return self._rules.of(symbol)

    def abilities(self) -> Abilities:
        """What its orders can do; see :meth:`bknb.ports.BrokerWithAccount.abilities`."""
        return self._rules.abilities

    # --- the market ---------------------------------------------------------------------------------------------

    def saw(self, symbol: str, minute: Minute) -> None:
        """Fill the orders on a symbol that a candle fills; candles come in order, once they have closed."""
        self._last_minutes[symbol] = minute
        for order in sorted(self._working(symbol), key=lambda order: order.kind != "stop"):
            if order.meet(minute, self._most(order)):
                self._save(order)

    def fill(self, client_id: str, quantity: float | None = None, *, price: float | None = None) -> None:
        """Fill an order that works, all of the rest or so much of it (base currency), at its level or at ``price``.

        Raises
        ------
        UsageError
            When no such order works.
        """
        order = self.orders.get(client_id)
        if order is None or not order.working:
            names = [name for name, known in self.orders.items() if known.working]
            raise UsageError(f"no order {client_id!r} works here; working: {', '.join(names) or 'none'}")
        rest = order.quantity - order.filled_quantity
        given = (price, order.price, order.trigger, order.average_price)
        at = next((each for each in given if each is not None), None)
        if at is None:
            raise UsageError(f"{client_id!r} is a market order: say at which price it is filled")
        order.fill(rest if quantity is None else min(quantity, rest), at, self._now(order.symbol))
        self._save(order)

    def position(self, symbol: str) -> float:
        """What all fills on a symbol have left, in base currency; negative when short."""
        total = self._forgotten.get(symbol, 0.0) + sum(
            order.signed_quantity for order in self.orders.values() if order.symbol == symbol
        )
        return 0.0 if abs(total) < 1e-12 else total

    # --- inside -------------------------------------------------------------------------------------------------

    def _held(self) -> dict[str, float]:
        symbols = dict.fromkeys((*self._forgotten, *(order.symbol for order in self.orders.values())))
        return {symbol: self.position(symbol) for symbol in symbols}

    def _most(self, order: PaperOrder) -> float:
        """How much of an order a candle may fill, in base currency."""
        only = order.reduces_only and self._rules.kind == "swap"
        return closable(self.position(order.symbol), order.side) if only else math.inf

    def _now(self, symbol: str) -> int:
        """The time up to which the market of a symbol was seen, UTC ms."""
        last = self._last_minutes.get(symbol)
        return 0 if last is None else last.t + MINUTE_MS

    def _refuse(self, order: Order, working: Sequence[PaperOrder]) -> None:
        price = None if self._price_of is None else self._price_of(order.symbol)
        why = refusal(order, self._rules, self.position(order.symbol), working, price)
        if why:
            beyond = price is not None and is_reached(order, price)
            raise BrokerError(f"the paper broker refuses {order.client_id}: {why}", refused=True, reached=beyond)

    def _receive(self, order: Order, trouble: Trouble | None) -> PaperOrder:
        self._refuse(order, self._working(order.symbol))
        self._received += 1
        last, now = self._last_minutes.get(order.symbol), self._now(order.symbol)
        triggered = order.trigger is not None
        market = self._rules.market
        in_base = market.fee_in == "base" and order.side == "buy" and bool(market.taker)
        new = PaperOrder(
            client_id=order.client_id,
            broker_id=f"paper-{self._received}",
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            status="accepted",
            created_at=now if now > order.created_at + _LATE_MS else order.created_at,
            kind=order.kind if triggered else None,
            trigger=order.trigger,
            reduces_only=order.reduces_only,
            fee_percent=market.taker or 0.0,
            fee_currency=self._rules.fee_currency(order.symbol, order.side),
            fee_in_base=in_base,
            version=3 if triggered or in_base else 2,
        )
        if new.is_market and trouble is not None and trouble.kind in ("partly", "partly_cancelled"):
            new.part, new.cancels_rest = trouble.part, trouble.kind == "partly_cancelled"
        if self._price_of is not None and not triggered:
            at = self._price_of(order.symbol)
            if order.price is None or (at <= order.price if order.side == "buy" else at >= order.price):
                new.fill_market(at, order.created_at, self._most(new))
        elif last is not None:
            new.meet(last, self._most(new))
        self.orders[order.client_id] = new
        self._may_work[order.symbol].append(new)
        self._forget_oldest()
        return new

    def _forget_oldest(self) -> None:
        """Forget orders that were done long ago, many at a time."""
        if len(self.orders) <= _MOST_DONE * 1.1:
            return
        done = [order for order in self.orders.values() if not order.working]
        for order in done[: max(0, len(done) - _MOST_DONE)]:
            self._forgotten[order.symbol] += order.signed_quantity
            del self.orders[order.client_id]

    def _find(self, client_id: str, symbol: str) -> PaperOrder | None:
        order = self.orders.get(client_id)
        return order if order is not None and order.symbol == symbol else None

    def _working(self, symbol: str) -> list[PaperOrder]:
        self._may_work[symbol] = [order for order in self._may_work[symbol] if order.working]
        return self._may_work[symbol]

    def _trouble(self, call: Call, about: str) -> Trouble | None:
        if self._script is not None:
            key = (call, "" if isinstance(self._script, Mapping) else about)
            number = self._numbers[key] = self._numbers.get(key, 0) + 1
            if not isinstance(self._script, Mapping):
                return self._script(call, about, number)
            troubles = self._script.get(call, ())
            return troubles[number - 1] if number <= len(troubles) else None
        drawn = self._chance.random() if self._rates else 1.0
        for kind, rate in self._rates.items():
            if drawn < rate:
                return Trouble(kind=kind)
            drawn -= rate
        return None

    async def _on_the_way(self, trouble: Trouble | None, what: str) -> None:
        if trouble is None:
            return
        if trouble.seconds:
            await self._sleep(trouble.seconds)
        if trouble.kind == "refuse":
            raise BrokerError(f"the paper broker was told to refuse {what}", refused=True)
        if trouble.kind == "lost_request":
            raise TimeoutError(f"no answer to {what}")

    async def _on_the_way_back(self, trouble: Trouble | None, what: str, answer: _Answer) -> _Answer:
        if trouble is not None and trouble.kind == "lost_reply":
            raise TimeoutError(f"no answer to {what}")
        return answer

    def _save(self, order: PaperOrder) -> None:
        if self._journal is not None:
            self._journal.append([msgspec.json.encode(order)])
