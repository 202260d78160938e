"""The paper broker: fills orders, and simulates the failures of a real broker on request.

Failures are given call by call, or drawn from a seed, so that every run of a script is the same.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from ..domain.broker_orders_and_ids import Order, Report
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.interval import MINUTE_MS
from ..errors import BrokerError, UsageError
from ..stores.atomic import as_path
from ..stores.disk import Disk
from .paper_order_fills import JOURNAL_EXAMPLE, PaperOrder, journal_of_orders, orders_in

Call: TypeAlias = Literal["place", "cancel", "report", "open_orders"]
CALLS: Final[tuple[Call, ...]] = ("place", "cancel", "report", "open_orders")

_Answer = TypeVar("_Answer")
_MOST_DONE: Final = 10_000
"""How many orders that are done are remembered; of older ones their fills count in the position."""
_LATE_MS: Final = MINUTE_MS  # an order that comes later than so long after its moment meets the market of then

TroubleKind: TypeAlias = Literal["delay", "refuse", "lost_request", "lost_reply", "partly", "partly_cancelled"]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated failure of one call.

    Attributes
    ----------
    kind
        ``"delay"``: the answer takes ``seconds``. ``"refuse"``: a definite no. ``"lost_request"``: the call times out,
        and nothing has arrived. ``"lost_reply"``: the call times out, and everything was carried out. ``"partly"``:
        the share ``part`` of a market order is filled, and the rest goes on working. ``"partly_cancelled"``: the same,
        and the rest is cancelled.
    seconds
        How long it takes until the answer, or the time-out, comes.
    part
        The share that is filled, from 0 to 1.

    Examples
    --------
    >>> from bknb.brokers import Trouble
    >>> Trouble(kind="delay", seconds=2.0).seconds, Trouble(kind="partly").part
    (2.0, 0.5)
    """

    kind: TroubleKind
    seconds: float = 0.0
    part: float = 0.5


Script: TypeAlias = Mapping[Call, Sequence[Trouble | None]] | Callable[[Call, str, int], Trouble | None]
"""Trouble for the first, second, ... call of each kind; or a function of call, client id (symbol for ``open_orders``)
and number of the call, counted from 1 over calls of that kind with that id."""


class PaperBroker:
    """A broker without an exchange; see :class:`bknb.ports.Broker` for what it promises.

    Orders are filled by the candles it is told of (:meth:`saw`), as the execution model ``pessimistic`` fills them: a
    market order at the open of the first candle with volume after it was decided, a limit order at that open when it
    reaches the limit, later when a candle trades through it. One that arrives more than a minute after it was decided
    is filled by candles that open from then on. With ``price_of`` a market order, and a limit order the market has
    passed already, are filled at once at that price.

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
    sleep : callable
        How to wait for so many seconds.
    disk : Disk, optional
        Who carries out the system calls of the journal.

    Attributes
    ----------
    orders
        By client id, oldest first: those that work, and the last ten thousand of the others.

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
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        disk: Disk | None = None,
    ) -> None:
        if script is not None and rates is not None:
            raise UsageError("give a paper broker its trouble by `script` or by `rates`, not by both")
        if isinstance(script, Mapping) and (unknown := set(script) - set(CALLS)):
            raise UsageError(f"a broker has no call {min(unknown)!r}; its calls are {', '.join(CALLS)}")
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

    # --- the market ---------------------------------------------------------------------------------------------

    def saw(self, symbol: str, minute: Minute) -> None:
        """Fill the orders on a symbol that a candle fills; candles come in order, once they have closed."""
        self._last_minutes[symbol] = minute
        for order in self._working(symbol):
            if order.meet(minute):
                self._save(order)

    def fill(self, client_id: str, quantity: float | None = None, *, price: float | None = None) -> None:
        """Fill an order that works, all of the rest or so much of it (base currency), at its limit or at ``price``.

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
        at = price if price is not None else order.price
        if at is None:
            at = order.average_price
        if at is None:
            raise UsageError(f"{client_id!r} is a market order: say at which price it is filled")
        order.fill(rest if quantity is None else min(quantity, rest), at)
        self._save(order)

    def position(self, symbol: str) -> float:
        """The sum of all fills on a symbol, in base currency; negative when short."""
        total = self._forgotten.get(symbol, 0.0) + sum(
            order.signed_quantity for order in self.orders.values() if order.symbol == symbol
        )
        return 0.0 if abs(total) < 1e-12 else total

    # --- inside -------------------------------------------------------------------------------------------------

    def _receive(self, order: Order, trouble: Trouble | None) -> PaperOrder:
        self._received += 1
        last = self._last_minutes.get(order.symbol)
        now = 0 if last is None else last.t + MINUTE_MS  # as far as the market was seen
        new = PaperOrder(
            client_id=order.client_id,
            broker_id=f"paper-{self._received}",
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=order.price,
            status="accepted",
            created_at=now if now > order.created_at + _LATE_MS else order.created_at,
        )
        if order.kind == "market" and trouble is not None and trouble.kind in ("partly", "partly_cancelled"):
            new.part, new.cancels_rest = trouble.part, trouble.kind == "partly_cancelled"
        if self._price_of is not None:
            at = self._price_of(order.symbol)
            if order.price is None or (at <= order.price if order.side == "buy" else at >= order.price):
                new.fill_market(at)
        elif last is not None:
            new.meet(last)
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
