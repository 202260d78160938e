"""A life of orders at a local exchange, killed at its n-th moment: before or after a request, or a write of its state.

The exchange goes on; another broker, with a memory of nothing, and another order desk go on from what was saved. The
journal of the exchange is the witness of how long something was held without a stop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple

from desk_life import ENTRY, Life
from msgspec.structs import replace
from order_events import MINUTE, added, candle, closed, holding, managed, opened, part, reduced

from bknb.brokers import CcxtBroker
from bknb.domain.broker_orders_and_ids import closed_beyond
from bknb.market.system_clock import SystemClock
from bknb.stores.memory_store import MemoryStore

BASELINE = 1.0
"""What the account had before, in base currency."""
DUST = 0.0011
MADE: list[CcxtBroker] = []  # one that is collected closes its client, which all of these share
PRICE = 100.0


class Killed(BaseException):
    """The process ends here."""


class Moments:
    """Counts moments, and ends the process at one of them."""

    def __init__(self, at: int) -> None:
        self.left, self.died = at, threading.Event()
        self.names: list[str] = []

    def wait(self, done: Callable[[], bool]) -> None:
        """Return when the process ends, or ``done``."""
        while not (self.died.wait(0.002) or done()):
            pass

    def comes(self, name: str) -> bool:
        """Whether the process ends at this moment."""
        self.names.append(name)
        self.left -= 1
        if self.left == 0:
            self.died.set()
        return self.died.is_set()


class DyingStore(MemoryStore):
    """Ends the process before or after a write."""

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self.moments = moments

    def write(self, kind: str, key: tuple[str, ...], value: bytes) -> None:
        if self.moments.comes(f"before writing {kind}"):
            raise Killed
        super().write(kind, key, value)
        if self.moments.comes(f"after writing {kind}"):
            raise Killed


def dying(broker: CcxtBroker, moments: Moments) -> CcxtBroker:
    """A broker whose process ends before or after a request."""
    client = broker._client
    raw = client._raw

    async def killed(request: Any) -> Any:
        if moments.comes(f"before {request.call}"):
            await asyncio.Future()
        answer = await raw(request)
        if moments.comes(f"after {request.call}"):
            await asyncio.Future()
        return answer

    client._raw = killed
    return broker


class Exposure(NamedTuple):
    """A time in which something was held without a stop: how long, and during how many requests of ours."""

    seconds: float
    requests: int


def exposures(lines: list[dict[str, Any]], pauses: list[tuple[int, float]]) -> list[Exposure]:
    """When more was held than stops rest for, by the journal of the exchange, with the pauses made meanwhile.

    ``pauses`` are when each began (UTC ms), and how many seconds it would have lasted.
    """
    orders: dict[int, dict[str, Any]] = {}
    found, since, requests = [], None, 0
    for line in lines:
        if line["event"] == "request":
            requests += 1
        if line["event"] not in ("order", "fill") or not str(line["client_id"]).startswith("bk"):
            continue
        orders[line["number"]] = line
        bought = sum(float(each["filled"]) for each in orders.values() if each["side"] == "buy")
        sold = sum(float(each["filled"]) for each in orders.values() if each["side"] == "sell")
        held = bought * 0.999 - sold  # the fee is taken from what was bought
        rest = sum(
            float(each["quantity"]) - float(each["filled"])
            for each in orders.values()
            if each["word"] == "STOP_LOSS" and each["status"] in ("waiting", "working")
        )
        assert held > -DUST, f"coins of the account were sold: {held}"
        if held - rest > DUST and since is None:
            since, requests = line["at"], 0
        elif held - rest <= DUST and since is not None:
            paused = sum(seconds for at, seconds in pauses if since <= at <= line["at"])
            found.append(Exposure((line["at"] - since) / 1000 + paused, requests))
            since = None
    assert since is None, "something is held without a stop at the end"
    return found


def moved_to(level: float, *orders: Any) -> Any:
    state = managed(*orders)
    return replace(state, book=replace(state.book, stop=level))


def second() -> dict[str, Any]:
    return {"name": "b", "at": 20}


STEPS: tuple[tuple[str, Any, Any], ...] = (
    ("partly", opened(), managed()),
    ("fill", None, managed()),
    ("", None, managed(part(1, 0.5, kind="add"))),
    ("", added(1, 0.5, price=PRICE), managed()),
    ("", None, moved_to(92.0)),
    ("", reduced(2, 0.5, price=PRICE, reason="take_profit"), moved_to(92.0)),
    ("", None, moved_to(93.0)),
    ("", None, moved_to(94.0, part(3, 0.25))),
    ("", reduced(3, 0.25, price=PRICE), moved_to(95.0)),
    ("", closed(price_close=PRICE), None),
    ("", opened(**second()), holding(**second())),
    ("sells", None, holding(**second())),
    ("", closed(ended=25, price_close=90.0, **second()), None),
)
"""What the exchange does, an event, and the state behind it.

An entry in parts, an add, moves, a ladder, the end by hand, and a position that the exchange closes first.
"""


class Lived(NamedTuple):
    """What became of a life.

    Attributes
    ----------
    moments
        All there were.
    exposures
        By the journal of the exchange.
    measured
        The longest, as the order desk says, without pauses.
    """

    moments: list[str]
    exposures: list[Exposure]
    measured: float


class ExchangeLife(Life):
    """An order desk at a local exchange that is killed at its n-th moment (0: never), and goes on."""

    def __init__(self, exchange: Any, broker: CcxtBroker, *, at: int) -> None:
        self.exchange, self.first, self.moments = exchange, broker, Moments(at)
        self.pauses: list[tuple[int, float]] = []
        self.clock = SystemClock().now
        super().__init__(
            broker=self.new_broker(), store=DyingStore(self.moments), quantity=1.0, now=self.clock
        )  # fmt: skip

    def new_broker(self) -> CcxtBroker:
        """One with a memory of nothing."""
        ours = CcxtBroker(self.first._profile, self.first._client._client, real_money=False)
        MADE.append(ours)
        return dying(ours, self.moments)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append((self.clock(), seconds))
        await super().sleep(seconds)

    async def step(self, event: Any, state: Any) -> None:
        if event is not None:
            await self.receive(event)
        if state is not None:
            await self.become(state)

    async def through(self, work: Coroutine[Any, Any, None], event: Any = None, state: Any = None) -> None:
        """Do a step; where the process ends in it, start another, which does the step."""
        task = asyncio.create_task(work)
        death = asyncio.create_task(asyncio.to_thread(self.moments.wait, task.done))
        await asyncio.wait({task, death}, return_when=asyncio.FIRST_COMPLETED)
        if not self.moments.died.is_set():
            await death
            task.result()
            return
        task.cancel()
        await asyncio.wait({task, death})
        assert task.cancelled() or isinstance(task.exception(), Killed | AssertionError | None)
        await self.bury()
        self.broker = self.new_broker()
        await self.restart(state, undelivered=[] if event is None else [event])
        await self.step(event, state)

    async def bury(self) -> None:
        """End the order desk as a kill does."""
        worker, self.desk._worker = self.desk._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.wait({worker})
        await self.desk.close(0.0)
        self.moments.died.clear()

    def outside(self, what: str) -> None:
        """What the exchange does before a step."""
        if what == "partly":
            self.exchange.fault("partial", share="0.3", works=True, on="place")
        elif what == "fill":
            with suppress(ValueError):  # the entry never left
                self.exchange.command("fill", client_id=ENTRY, quantity="0.7")
            self.desk._pauses.end(("a", MINUTE))
            self.desk._has_work()
        elif what == "sells":
            self.exchange.price("BTCUSDT", 89.9)
            self.desk.saw(candle(24, 91.0))

    async def play(self) -> None:
        await self.through(self.desk.start(when=0))
        for what, event, state in STEPS:
            self.outside(what)
            await self.through(self.step(event, state), event, state)
            self.look(over=state is None or what == "sells")
            self.exchange.price("BTCUSDT", PRICE)
        await self.desk.close(0.0)

    def look(self, *, over: bool) -> None:
        """The account holds what the record says, and a stop rests for all of it."""
        spot = self.exchange.state()["spot"]
        balance = spot["balances"]["BTC"]
        held = float(balance["free"]) + float(balance["locked"]) - BASELINE
        assert abs(held - self.desk.position()) < DUST, (held, self.desk.position())
        assert held > -DUST
        assert held < DUST or not over, held
        resting = sum(float(order["quantity"]) for order in spot["orders"] if order["status"] == "waiting")
        assert abs(resting - held) < DUST, (resting, held)
        assert not any(closed_beyond(orders) for orders in self.desk._signals.values())


def live(exchange: Any, broker: CcxtBroker, *, at: int) -> Lived:
    """A life that is killed at its n-th moment (0: never), and goes on."""
    exchange.reset()
    exchange.price("BTCUSDT", PRICE)
    exchange.command("deposit", currency="BTC", amount=str(BASELINE))
    began, life = len(exchange.lines()), ExchangeLife(exchange, broker, at=at)

    async def whole() -> None:
        with life.store:
            await life.play()

    asyncio.run(whole())
    orders = exchange.state()["spot"]["orders"]
    assert [order for order in orders if order["status"] in ("waiting", "working")] == []
    names = [order["client_id"] for order in orders if order["client_id"].startswith("bk")]
    assert len(names) == len(set(names)), "an order was sent twice"
    gaps = life.desk.gaps
    assert gaps is not None
    found = exposures(exchange.lines()[began:], life.pauses)
    return Lived(life.moments.names, found, gaps.worst_seconds)
