"""The paper broker: fills orders, and simulates the failures of a real broker on request.

Failures are given call by call, or drawn from a seed, so that every run of a script is the same.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from ..domain.execution import Minute
from ..domain.interval import MINUTE_MS
from ..domain.orders import Order, Report, ReportStatus, Side
from ..errors import BrokerError, UsageError
from ..stores.atomic import as_path
from ..stores.disk import Disk
from ..stores.journal import Journal, begins_with
from ..stores.versions import read_json

Call: TypeAlias = Literal["place", "cancel", "report", "open_orders"]
CALLS: Final[tuple[Call, ...]] = ("place", "cancel", "report", "open_orders")

_Answer = TypeVar("_Answer")
_EXAMPLE: Final = "orders.jsonl"  # a name for a journal
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


class PaperOrder(msgspec.Struct, kw_only=True):
    """One order as the paper broker has it.

    ``received`` counts how often it was placed; it may fill in candles that open at or after ``created_at`` (UTC ms);
    ``rests`` once one of them left it unfilled; ``part`` is the share of it that a market order fills, and
    ``cancels_rest`` says that the rest of it is then cancelled.
    """

    client_id: str
    broker_id: str
    symbol: str
    side: Side
    quantity: float
    price: float | None
    status: ReportStatus
    filled_quantity: float = 0.0
    average_price: float | None = None
    received: int = 1
    note: str = ""
    created_at: int = 0
    rests: bool = False
    part: float = 1.0
    cancels_rest: bool = False
    version: int = 2

    def report(self) -> Report:
        """The report of the broker on the order."""
        return Report(
            client_id=self.client_id,
            symbol=self.symbol,
            status=self.status,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            broker_id=self.broker_id,
            note=self.note,
        )

    @property
    def working(self) -> bool:
        """Whether it can still be filled or cancelled."""
        return self.status in ("accepted", "partly_filled")

    def receive_again(self) -> None:
        """Count one more request to place it."""
        self.received += 1

    def cancel(self) -> None:
        """Cancel what is not filled."""
        self.status = "cancelled"

    def fill(self, quantity: float, price: float) -> None:
        """Fill a quantity (base currency) at a price (quote currency); the average price follows."""
        before = self.filled_quantity
        # A remainder that is only an error of rounding is none.
        after = before + quantity
        self.filled_quantity = self.quantity if after >= self.quantity * (1 - 1e-12) else after
        self.average_price = (before * (self.average_price or 0.0) + quantity * price) / (before + quantity)
        self.status = "filled" if self.filled_quantity == self.quantity else "partly_filled"

    def fill_market(self, price: float) -> None:
        """Fill a market order at a price (quote currency): all of it, or the share its trouble leaves it."""
        self.fill(self.quantity * self.part, price)
        if self.cancels_rest:
            self.cancel()

    def meet(self, minute: Minute) -> bool:
        """Fill the order by a candle, if it does; returns whether the order changed."""
        if minute.t < self.created_at or not minute.traded or (self.price is None and self.filled_quantity > 0):
            return False
        first, self.rests = not self.rests, True
        if self.price is None:
            self.fill_market(minute.open)
            return True
        sign = 1 if self.side == "buy" else -1
        opened, limit = sign * minute.open, sign * self.price
        rest = self.quantity - self.filled_quantity
        if opened < limit or (first and opened == limit):
            self.fill(rest, minute.open)
        elif (minute.low if sign > 0 else -minute.high) < limit:
            self.fill(rest, self.price)
        return self.status == "filled" or first


_READERS: Final[Mapping[int, Callable[[bytes], PaperOrder]]] = dict.fromkeys(
    (1, 2), partial(msgspec.json.decode, type=PaperOrder)
)
"""In version 1 market orders were filled as they came, and no line said from when on an order may fill."""


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
        self._script = script
        self._rates = dict(rates or {})
        self._chance = random.Random(seed)  # noqa: S311 -- chance that can be repeated is the point
        self._price_of = price_of
        self._sleep = sleep
        self._numbers: dict[tuple[Call, str], int] = {}
        self._may_work: defaultdict[str, list[PaperOrder]] = defaultdict(list)  # by symbol, in turn
        self._last_minutes: dict[str, Minute] = {}  # by symbol: an order may arrive after its first candle
        self._journal = None if journal is None else _journal(as_path(journal, _EXAMPLE), disk)
        if self._journal is not None:
            found = _orders_in(self._journal)
            if self._journal.drop_torn_line():  # its order was never confirmed
                found = _orders_in(self._journal)
            self.orders.update((order.client_id, order) for order in found)
            for order in self.orders.values():
                self._may_work[order.symbol].append(order)

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
        filled = [order for order in self.orders.values() if order.symbol == symbol]
        total = sum(order.filled_quantity if order.side == "buy" else -order.filled_quantity for order in filled)
        return 0.0 if abs(total) < 1e-12 else total

    # --- inside -------------------------------------------------------------------------------------------------

    def _receive(self, order: Order, trouble: Trouble | None) -> PaperOrder:
        last = self._last_minutes.get(order.symbol)
        now = 0 if last is None else last.t + MINUTE_MS  # as far as the market was seen
        new = PaperOrder(
            client_id=order.client_id,
            broker_id=f"paper-{len(self.orders) + 1}",
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
        return new

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


def _journal(path: Path, disk: Disk | None) -> Journal:
    opening = begins_with(b'{"client_id":')
    return Journal(path, entry="order of a paper broker", is_beginning=opening, example=_EXAMPLE, disk=disk)


def _orders_in(journal: Journal) -> list[PaperOrder]:
    return journal.read_strictly(
        lambda line: read_json(_READERS, line, what=str(journal.path)),
        advice="it holds the orders of a broker on paper; repair the line, or begin another journal",
    )
