"""A live run at a local exchange in which something goes wrong, and what must hold behind it whatever that was.

The run, the exchange and the candles share one simulated clock: a minute is traded at the exchange once everything
that was decided at its open has been answered, and is a candle of the run when it has closed. What a test does to the
exchange in between (``at``: right behind the orders of a minute, before it is traded; ``after``: when it was traded,
before the run sees it) is a function of the world. The journal of the exchange is the witness: :meth:`World.wrong`
reads holdings, ids, fills, what rests and how long something was held without a stop from it alone.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.domain.account_ledger import own_purpose
from bknb.live.saved_orders import read_orders
from bknb.testing.clocks import SimulatedClock
from bknb.testing.exchange import LocalExchange
from bknb.testing.exchange.keys import Keys

CALM: Final = (50_000.0, 50_050.0, 49_950.0, 50_000.0)
BASELINE: Final = Decimal("0.5")  # bought by hand before the first start, and never to be touched
_CALLS: Final = ("place", "cancel", "amend", "report", "open_orders", "fills", "balance", "positions", "market")
_TURNS: Final = 15  # of the loop, in which nobody asks the exchange anything
_PLACING: Final = ("place", "stop", "replace", "pair")
_CHANGING: Final = (*_PLACING, "cancel", "amend_stop", "cancel_stop", "cancel_pair")
_TOLD: Final = ("side", "kind", "quantity", "trigger", "status", "filled")
_DULL: Final = ("symbol", "newOrderRespType", "algoType", "workingType")
_IDS: Final = ("newClientOrderId", "clientAlgoId", "algoClOrdId", "clOrdId", "aboveClientOrderId", "belowClientOrderId")
_NOBODY_KNOWS: Final = (-1000, -1006, -1007, "50000", "50001", "50004", "50013", "50026")  # whether something happened

Act = Callable[["World"], object]


@dataclass(frozen=True, kw_only=True)
class Venue:
    """A market of the local exchange, and how bknb is told of it."""

    name: str
    market: str
    client: str  # of ``ccxt_config``
    book: str  # in ``state()``, and of commands
    symbol: str  # of the run
    traded: str  # there
    keys: tuple[tuple[str, str], ...]  # in the environment, and their names in ``ccxt_config``
    locks: bool
    gap: int  # requests that change something while a stop is moved, at most
    requests: Mapping[str, int]  # that change something in a life of every kind of order, by operation
    base: str = "BTC"
    contract: Decimal = Decimal(1)
    step: Decimal = Decimal("0.00001")

    def __str__(self) -> str:
        return f"{self.name} {self.market}"

    @property
    def swap(self) -> bool:
        """Whether positions net, and are no coins."""
        return self.market == "swap"


_BINANCE: Final = (("BKNB_BINANCE_SANDBOX_KEY", "apiKey"), ("BKNB_BINANCE_SANDBOX_SECRET", "secret"))
SPOT: Final = Venue(
    name="binance", market="spot", client="binance", book="spot", symbol="BTCUSDT", traded="BTCUSDT", keys=_BINANCE,
    locks=True, gap=2, requests={"place": 3, "stop": 4, "replace": 5, "cancel": 1},
)  # fmt: skip
USDM: Final = Venue(
    name="binance", market="swap", client="binanceusdm", book="usdm", symbol="BTCUSDT", traded="BTCUSDT", keys=_BINANCE,
    locks=False, gap=1, step=Decimal("0.001"), requests={"place": 5, "stop": 10, "cancel_stop": 9},
)  # fmt: skip
OKX: Final = Venue(
    name="okx", market="swap", client="okx", book="okx", symbol="BTCUSDT", traded="BTC-USDT-SWAP",
    keys=(
        ("BKNB_OKX_SANDBOX_KEY", "apiKey"), ("BKNB_OKX_SANDBOX_SECRET", "secret"),
        ("BKNB_OKX_SANDBOX_PASSPHRASE", "password"),
    ),
    locks=False, gap=1, requests={"place": 5, "stop": 10, "cancel_stop": 9}, contract=Decimal("0.01"),
    step=Decimal("0.0001"),
)  # fmt: skip
VENUES: Final = (SPOT, USDM, OKX)


class SharedClock(SimulatedClock):
    """Moves when all runs wait for it and none for the exchange, and has that trade the minutes it passes.

    Pauses beside the runs end in between, each at its moment.
    """

    def __init__(self, start: int, worlds: Sequence[Any]) -> None:
        super().__init__(start)
        self._worlds = worlds
        self._bar_ms = worlds[0].bar * MINUTE
        self._waiting: list[int] = []  # until when, of each run that waits for this clock

    async def sleep_until(self, when: int) -> None:
        wanted = when + (0 if when % MINUTE else 250)
        self._waiting.append(wanted)
        try:
            while self.now() < wanted:
                patience = await self._all_wait()
                await self._idle()
                if wanted == min(self._waiting) and (not patience or self._each_waits) and not await self._by_hand():
                    self._move(wanted)
        finally:
            self._waiting.remove(wanted)
        await self._idle()

    @property
    def _each_waits(self) -> bool:
        return len(self._waiting) >= sum(world.task is None or not world.task.done for world in self._worlds)

    async def _all_wait(self) -> bool:
        """Wait until no run works; ``False`` after two seconds: it waits for something else."""
        for _ in range(4_000):
            if self._each_waits:
                return True
            await asyncio.sleep(0.0005)
        return False

    async def _by_hand(self) -> bool:
        """Whether somebody has decided something by hand in this bar."""
        bar = (self.now() - ORIGIN) // self._bar_ms
        for world in self._worlds:
            decide = world.hands.pop(bar, None)
            if decide is not None and not world.task.done:
                world.hand_answers.append(await asyncio.to_thread(_answer, decide, world.task))
                return True
        return False

    def _move(self, wanted: int) -> None:
        now = self.now()
        if now >= wanted:
            return
        minute_ends = now // self._bar_ms * self._bar_ms + self._bar_ms
        pauses = [world.task._run._sleep.rests for world in self._worlds if world.task is not None]
        step = min(wanted, minute_ends, *(max(each.next_end, now) for each in pauses))
        if step == minute_ends:
            for world in self._worlds:
                world.trade((now - ORIGIN) // self._bar_ms)
        self.advance(step)
        if step < wanted:
            for each in pauses:
                each.moved()

    async def _idle(self) -> None:
        """Wait until nobody asks the exchange anything any more."""
        quiet = 0
        while quiet < _TURNS:
            waits = any(world.asking or _due(world.task) for world in self._worlds)
            quiet = 0 if waits else quiet + 1
            await asyncio.sleep(0.0005 if waits else 0)


@dataclass(kw_only=True)
class World:
    """One life of a strategy at a market, with what goes wrong in it.

    Attributes
    ----------
    candles
        Open, high, low, close by minute; other minutes are calm.
    signals, answers
        What the strategy, and its ``manage``, says at a minute.
    at, after
        What is done to the exchange at the open of a minute, behind the orders of the run; and at its end, before the
        run knows the candle.
    hands
        What somebody decides by hand within a minute, with the task.
    bar
        How many minutes a bar has; whatever is by minute is by bar.
    """

    exchange: LocalExchange
    venue: Venue = SPOT
    candles: Mapping[int, tuple[float, float, float, float]] = field(default_factory=dict)
    signals: Mapping[int, bknb.Signal] = field(default_factory=dict)
    answers: Mapping[int, Any] = field(default_factory=dict)
    at: dict[int, Act] = field(default_factory=dict)
    after: dict[int, Act] = field(default_factory=dict)
    hands: dict[int, Callable[[Any], object]] = field(default_factory=dict)
    hand_answers: list[str] = field(default_factory=list)
    bar: int = 1
    end: int = 14
    quantity: float = 0.01
    patience_ms: int = 10_000  # of the client
    timeout: float = 60.0
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = "faulty"
    store: Any = None
    result: Any = None
    task: Any = None
    traded: set[int] = field(default_factory=set)
    failed: list[str] = field(default_factory=list)
    asking: int = 0
    beside: list[World] = field(default_factory=list)
    _mark: int = 0
    _read: int = 0
    _lines: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, **fields: Any) -> World:
        """An account with a baseline, and nothing that is ours."""
        self.exchange.reset(**fields)
        self._mark, self._read, self._lines = self._journal.stat().st_size, 0, []
        if not self.venue.swap:
            self.exchange.command("deposit", currency=self.venue.base, amount=str(BASELINE), market=self.venue.book)
        self.exchange.command("clock", at=ORIGIN)
        self.exchange.price("BTCUSDT", CALM[0])
        self.store = bknb.stores.memory()
        return self

    def broker(self) -> Any:
        """A broker as a user makes it."""
        config = self.exchange.ccxt_config(self.venue.client)
        for _, name in self.venue.keys:
            config.pop(name)
        more = {"enableRateLimit": False, "timeout": self.patience_ms}
        broker = bknb.brokers.ccxt(self.venue.name, market=self.venue.market, config={**config, **more})
        for name in _CALLS:
            setattr(broker, name, self._counted(getattr(broker, name)))
        return broker

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*given: Any) -> Any:
            self.asking += 1
            try:
                return await call(*given)
            finally:
                self.asking -= 1

        return counted

    def trade(self, minute: int) -> None:
        """The exchange trades a minute, with what is done to it before and behind."""
        if minute in self.traded:
            return
        self.traded.add(minute)
        opened = ORIGIN + minute * self.bar * MINUTE
        self.exchange.command("clock", at=opened)
        self._act(self.at.get(minute))
        self.exchange.candle(f"{self.venue.base}USDT", opened, self.candles.get(minute, CALM))
        self.exchange.command("clock", at=opened + self.bar * MINUTE)
        self._act(self.after.get(minute))

    def _act(self, act: Act | None) -> None:
        try:
            if act is not None:
                act(self)
        except Exception as error:  # noqa: BLE001 -- a clock that raises would be waited for
            self.failed.append(f"what was to happen did not: {error!r}")

    def away(self, *minutes: int) -> World:
        """The exchange trades minutes in which nothing of ours runs."""
        for minute in minutes:
            self.trade(minute)
        return self

    def live(self, *, start: int = 0, end: int | None = None, beside: tuple[World, ...] = (), **options: Any) -> World:
        """Run from one minute to another, with a broker of its own; others beside it share account and store."""
        last = self.end if end is None else end
        worlds = [self, *beside]
        self.beside = list(beside)
        length = self.bar * MINUTE
        clock, broker = SharedClock(ORIGIN + start * length, worlds), self.broker()
        for world in worlds:
            world.store, world.bar = self.store, self.bar
            if world.venue == self.venue:
                world.traded, world.candles = self.traded, self.candles
            rows = [(ORIGIN + k * length, *world.candles.get(k, CALM), 1.0) for k in range(-60, last + 20)]
            strategy = bknb.add_strategy(
                world.name, interval=f"{self.bar}m",
                get_signal=lambda when, world=world: world.signals.get(_bar(when, length)),
                manage=lambda when, world=world: world.answers.get(_bar(when, length)),
            )  # fmt: skip
            world.task = None
            world.task = bknb.Live.background(
                world.venue.symbol, strategy=strategy, exchange=source(rows), clock=clock,
                until=ORIGIN + last * length, store=self.store,
                **{"broker": broker, "quantity": world.quantity, **world.options, **options},
            )  # fmt: skip
        for world in worlds:
            world.result = world.task.result(timeout=self.timeout)
        return self

    # --- what there is --------------------------------------------------------------------------------------------

    @property
    def size(self) -> Decimal:
        """How much one of its units is, in base currency."""
        return self.venue.contract

    def here(self, name: str, **fields: Any) -> None:
        """A command about the symbol of this market."""
        self.exchange.command(name, symbol=self.venue.traded, market=self.venue.book, **fields)

    @property
    def told(self) -> list[str]:
        """What the runs have told as errors."""
        return [error.message for world in (self, *self.beside) for error in world.result.errors]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The journal since the account was begun."""
        with self._journal.open("rb") as file:
            file.seek(self._read or self._mark)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read = (self._read or self._mark) + len(whole)
        self._lines += [json.loads(line) for line in whole.splitlines()]
        return self._lines

    @property
    def _journal(self) -> Path:
        assert self.exchange.journal is not None
        return self.exchange.journal

    @property
    def book(self) -> dict[str, Any]:
        """The market's state."""
        return self.exchange.state()[self.venue.book]

    @property
    def orders(self) -> list[dict[str, Any]]:
        """Our orders there, those a stop turned into among them."""
        return [each for each in self.book["orders"] if is_ours(each) and each["symbol"] == self.venue.traded]

    @property
    def working(self) -> list[dict[str, Any]]:
        """Our orders that work or wait there."""
        return [each for each in self.orders if each["status"] in ("working", "waiting")]

    @property
    def trades(self) -> list[dict[str, Any]]:
        """Our orders there that are no stops, and not what one turned into."""
        return [each for each in self.orders if each["trigger"] is None and not each["parent"]]

    @property
    def stops(self) -> list[dict[str, Any]]:
        """Our stops that wait there."""
        return [each for each in self.working if own_purpose(each["client_id"]) == "protect"]

    @property
    def held(self) -> Decimal:
        """What the account holds beside the baseline."""
        if self.venue.swap:
            found = self.book["positions"].get(self.venue.traded, {})
            return Decimal(str(found.get("quantity", 0)))
        coin = self.book["balances"][self.venue.base]
        return Decimal(coin["free"]) + Decimal(coin["locked"]) - BASELINE

    def sent(self, *operations: str) -> list[dict[str, Any]]:
        """The requests of some operations that reached the exchange."""
        return [line for line in self.lines if line["event"] == "request" and line["operation"] in operations]

    def answers_of(self, *operations: str) -> list[dict[str, Any]]:
        """The answers to some operations."""
        return [line for line in self.lines if line["event"] == "answer" and line["operation"] in operations]

    def story(self) -> str:
        """The journal in short lines, and what was told."""
        lines = []
        for line in self.lines:
            minute = f"{(line.get('at', 0) - ORIGIN) / MINUTE:g}"
            if line["event"] == "request" and line["operation"] in _CHANGING:
                given = line["params"] if isinstance(line["params"], dict) else {"": line["params"]}
                kept = {name: value for name, value in given.items() if name not in _DULL}
                lines.append(f"m{minute} > {line['operation']} {kept}")
            elif line["event"] == "answer" and line["status"] >= 400 and line["operation"] in _CHANGING:
                lines.append(f"     < {line['operation']} {line['status']} {line['body']}")
            elif "client_id" in line:
                words = " ".join(str(line[name]) for name in _TOLD)
                lines.append(f"m{minute} {line['event']} {line['client_id']} {words}")
        return "\n".join(["", *lines, *self.told])

    # --- what must hold -------------------------------------------------------------------------------------------

    def wrong(
        self, *, naked_minutes: float = 0, naked_requests: int | None = None, by_hand: bool = False,
        gone: bool = False, left: str = "0", dust: str = "0.00001", quiet: bool = False, again: int = 1,
        words: bool = True, forgets: bool = False,
    ) -> list[str]:  # fmt: skip
        """What does not hold at the end of a life.

        Parameters
        ----------
        naked_minutes, naked_requests
            How long something may have been held without a stop: market minutes, and requests that change something.
        by_hand
            Whether somebody traded by hand what we held.
        gone
            Whether something was taken from the account that nobody traded.
        left
            What the record has open at the end.
        dust
            What may be left, as no order takes it.
        quiet
            Whether nothing may be told.
        forgets
            Whether there were so many signals that orders of the first are forgotten here.
        words
            Whether what was told is looked at.
        again
            How often something happens that is told each time.
        """
        wrong = [*self.failed, *self._twice(), *self._of_orders(forgets=forgets)]
        wrong += self._of_words(quiet=quiet, again=again) if words else []
        held, wanted = self.held, Decimal(left)
        if not gone and not wanted - Decimal(dust) <= held <= wanted + Decimal(dust):
            wrong.append(f"the account holds {held} beside the baseline, the record {wanted}")
        if not wanted:
            wrong += [f"{each['client_id']} is {each['status']} at the end" for each in self.working]
            wrong += [f"the record has {event} open" for event in self._open_here()]
        longest, requests, lowest = self.without_stop(max(self.venue.step, Decimal(dust)), by_hand=by_hand)
        if lowest < -self.venue.step:
            wrong.append(f"{-lowest} of the baseline was sold, or the position was on the other side")
        if longest > naked_minutes:
            wrong.append(f"without a stop for {longest:g} minutes, {naked_minutes:g} allowed")
        allowed = self.venue.gap if naked_requests is None else naked_requests
        if requests > allowed:
            wrong.append(f"without a stop for {requests} requests, {allowed} allowed")
        return wrong

    def _open_here(self) -> list[str]:
        positions = [world.task.position for world in (self, *self.beside)]
        return [str(position) for position in positions if position is not None]

    def _twice(self) -> Iterator[str]:
        outcome: dict[str, list[bool]] = {}  # of each sending of an id, whether it was surely refused
        pending: list[tuple[str, list[str]]] = []
        taken: dict[str, set[int]] = {}
        for line in self.lines:
            if line["event"] == "request" and line["operation"] in _PLACING:
                ids = sorted(set(_ids(line["params"])))
                for each in ids:
                    if not all(outcome.get(each, [])):
                        yield f"{each} was sent again"
                    outcome.setdefault(each, []).append(False)
                pending.append((line["operation"], ids))
            elif line["event"] == "answer" and line["operation"] in _PLACING:
                at = next(k for k, (operation, _) in enumerate(pending) if operation == line["operation"])
                for each in pending.pop(at)[1]:
                    outcome[each][-1] = _is_refusal(line)
            elif line["event"] == "order" and is_ours(line) and not line["parent"]:
                numbers = taken.setdefault(line["client_id"], set())
                (numbers.discard if line["status"] == "rejected" else numbers.add)(line["number"])
        yield from (f"{each} was taken {len(times)} times" for each, times in taken.items() if len(times) > 1)

    def _of_orders(self, *, forgets: bool) -> Iterator[str]:
        """Whether what was saved of each order is what the exchange has of it."""
        with self.store:
            saved = {
                order.client_id: order
                for world in (self, *self.beside)
                for order in read_orders(self.store, world.name, world.venue.symbol)
            }
        there: dict[str, Decimal] = {}
        names = {each["number"]: each["client_id"] for each in self.orders}
        for each in self.orders:
            name = names.get(each["parent"], each["client_id"])
            there[name] = there.get(name, Decimal(0)) + Decimal(each["filled"])
        for name, quantity in there.items():
            if name not in saved:
                yield from () if forgets else (f"{name} is not known here",)
            elif abs(float(quantity * self.venue.contract) - saved[name].filled_quantity) > 1e-9:
                yield f"{name} has {saved[name].filled_quantity} here and {quantity} there"
        yield from (f"{name} is {order.status} here" for name, order in saved.items() if not order.done)

    def _of_words(self, *, quiet: bool, again: int) -> Iterator[str]:
        seen: dict[str, int] = {}
        for text in self.told:
            alike = re.sub(r"\bbk[a-z0-9]{6,}|[0-9][0-9:.,]*", "#", text)
            seen[alike] = seen.get(alike, 0) + 1
            if Keys().secret in text or Keys().key in text or "Traceback" in text or len(text.split()) < 4:
                yield f"no sentence: {text}"
        yield from (f"told {times} times: {text}" for text, times in seen.items() if times > again)
        if quiet:
            yield from (f"told without a need: {text}" for text in self.told)

    def without_stop(self, least: Decimal = Decimal(0), *, by_hand: bool = False) -> tuple[float, int, Decimal]:
        """How long something was held without a stop, in minutes and in changing requests; and the least held."""
        orders: dict[int, dict[str, Any]] = {}
        fees, lowest, longest, most = Decimal(0), Decimal(0), 0.0, 0
        since: int | None = None
        requests, size, least = 0, self.venue.contract, least or self.venue.step
        for line in self.lines:
            if line["event"] == "request":
                requests += since is not None and line["operation"] in _CHANGING
                continue
            if line["event"] == "reset" or line.get("market") != self.venue.book:
                continue
            if line["symbol"] != self.venue.traded:
                continue
            if not is_ours(line) and not by_hand:
                continue
            orders[line["number"]] = line
            if "fill" in line and line["fill"]["fee_currency"] == self.venue.base:
                fees += Decimal(line["fill"]["fee"])
            held = sum((_signed(each) for each in orders.values()), Decimal(0)) * size - fees
            lowest = min(lowest, held)
            resting = sum((_rest(each) for each in orders.values()), Decimal(0)) * size
            bare = abs(held) - resting >= least
            if bare and since is None:
                since, requests = line["at"], 0
            elif not bare and since is not None:
                longest, most, since = max(longest, (line["at"] - since) / MINUTE), max(most, requests), None
        if since is not None:
            longest, most = max(longest, (self.book["now"] - since) / MINUTE), max(most, requests)
        return longest, most, lowest


def _due(task: Any) -> bool:
    """Whether a run has something to do at its broker before a pause is over."""
    desk = None if task is None or task.done else task._run._account.desk
    return desk is not None and not desk._at_rest.is_set()


def _bar(when: Any, length: int) -> int:
    return int(when.timestamp() * 1000 - ORIGIN) // length


def _answer(decide: Callable[[Any], object], task: Any) -> str:
    try:
        return str(decide(task))
    except bknb.UsageError as refused:
        return str(refused)


def _is_refusal(answer: Mapping[str, Any]) -> bool:
    """Whether an answer says for certain that nothing happened; OKX says so with status 200, too."""
    body = answer["body"]
    if not isinstance(body, dict) or body.get("code") in _NOBODY_KNOWS:
        return False
    rows = body.get("data")
    row = rows[0] if isinstance(rows, list) and rows else body
    return answer["status"] >= 400 or str(row.get("sCode", body.get("code", "0"))).startswith("5")


def is_ours(order: Mapping[str, Any]) -> bool:
    """Whether an order of the journal or of the books is ours."""
    return str(order.get("client_id", "")).startswith("bk") or bool(order.get("parent"))


def _signed(order: Mapping[str, Any]) -> Decimal:
    filled = Decimal(order["filled"])
    return filled if order["side"] == "buy" else -filled


def _rest(order: Mapping[str, Any]) -> Decimal:
    if order["trigger"] is None or order["status"] != "waiting" or own_purpose(order["client_id"]) != "protect":
        return Decimal(0)
    return Decimal(order["quantity"]) - Decimal(order["filled"])


def _ids(params: Any) -> Iterator[str]:
    if isinstance(params, list):
        for each in params:
            yield from _ids(each)
    elif isinstance(params, dict):
        for name, value in params.items():
            if name in _IDS:
                yield str(value)
            elif isinstance(value, list | dict):
                yield from _ids(value)


# --- what a test says of a life -------------------------------------------------------------------------------------

LONG: Final = bknb.Signal(side="long", price_stop_loss=49_000.0, price_take_profit=60_000.0)
OUT: Final = {8: bknb.Close()}
CLOSING: Final = ("place", "replace")  # a sale, or one in the place of the stop that holds what it sells

MANAGED: Final[dict[str, Any]] = {
    "signals": {1: LONG, 12: LONG},
    "answers": {
        3: bknb.Move(price_stop_loss=49_300.0), 4: bknb.Add(0.5), 6: [bknb.Reduce(0.5)],
        7: bknb.Move(price_stop_loss=49_500.0), 9: bknb.Close(),
    },
    "candles": {15: (50_000.0, 50_000.0, 48_900.0, 48_950.0)},
    "end": 24,
}  # fmt: skip
WRONG: Final[dict[str, dict[str, Any]]] = {
    **{name: {"name": name} for name in ("reply_lost", "request_lost", "cut_body")},
    "html_502": {"name": "html_502", "executed": True},
    "too_many": {"name": "too_many", "seconds": 0.01},
    "timeout": {"name": "refuse", "reason": "timeout", "executed": True},
    "duplicate": {"name": "refuse", "reason": "duplicate", "executed": True},
    "overloaded": {"name": "refuse", "reason": "overloaded"},
    "unknown_error": {"name": "refuse", "reason": "unknown_error"},
}


def holds(life: World, **allowed: Any) -> None:
    """What must hold at the end of every life."""
    assert life.wrong(**allowed) == [], life.story()


def says(life: World, text: str, times: int = 1) -> None:
    """A text is in so many of what was told."""
    assert len([each for each in life.told if re.search(text, each)]) == times, life.story()


def bought(life: World) -> Decimal:
    """How much was bought by our orders, in base currency."""
    return sum((Decimal(each["filled"]) for each in life.orders if each["side"] == "buy"), Decimal(0)) * life.size


def fault(name: str, *on: str, **fields: Any) -> Act:
    """Have the next such operation go wrong, each of several."""

    def act(world: World) -> None:
        for operation in on or ("any",):
            world.exchange.fault(name, on=operation, **fields)

    return act


def command(name: str, **fields: Any) -> Act:
    """Something else happens at the exchange."""
    return lambda world: world.exchange.command(name, **fields)


def rules(**fields: Any) -> Act:
    """The market has other rules."""
    return lambda world: world.here("rules", **fields)


def price(level: float) -> Act:
    """The market jumps."""
    return lambda world: world.exchange.price("BTCUSDT", level)


def filled(quantity: str) -> Act:
    """A part of the entry that works is filled, in base currency."""

    def act(world: World) -> None:
        (entry,) = [each for each in world.working if each["trigger"] is None]
        there = str(Decimal(quantity) / world.size)
        world.exchange.command("fill", client_id=entry["client_id"], quantity=there, market=world.venue.book)

    return act


def stops_gone(*, expired: bool = False) -> Act:
    """The user cancels every stop of ours; or they expire."""

    def act(world: World) -> None:
        for each in world.stops:
            world.exchange.command(
                "cancel", client_id=each["client_id"], market=world.venue.book, **({"expired": True} if expired else {})
            )

    return act


def by_hand(share: float = 1.0, **fields: Any) -> Act:
    """The user sells a share of what we hold."""

    def act(world: World) -> None:
        quantity = (world.held * Decimal(str(share)) / world.size).quantize(Decimal("0.00001")).normalize()
        world.here("trade", side="sell", quantity=f"{quantity:f}", **fields)

    return act


def each(*acts: Act) -> Act:
    """One after the other."""

    def act(world: World) -> None:
        for one in acts:
            one(world)

    return act
