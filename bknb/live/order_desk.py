"""The orders of one strategy on one symbol: saved before they are sent, carried out beside the run, found again.

The run tells what its record decided (:meth:`OrderDesk.intend`) and never waits for the broker; a task of its own
carries out what is due, in order. Whatever the broker does, the record goes on: where the two differ, the run is told.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import msgspec

from ..domain.formatting import plain_number
from ..domain.orders import (
    Ask,
    Cancel,
    Deed,
    Keep,
    Order,
    OrderStatus,
    Place,
    Report,
    SignalKey,
    finished,
    left_open,
    named,
    next_deed,
    nonsense,
    orders_after,
    own_prefix,
    told,
)
from ..domain.reconcile import differences, reconcile, to_ask
from ..domain.signal import Event, OpenSignal, ScheduledSignal
from ..errors import BrokerError, UsageError
from ..log import log
from ..ports import Broker, PaperMarket, StateStore
from .order_store import SavedOrders

LONGEST_REST_SECONDS: Final = 60.0

_Answer = TypeVar("_Answer")
Quantity = float | Callable[[OpenSignal | ScheduledSignal], float]


class OrderDesk:
    """Lets a broker follow the record of one strategy on one symbol.

    Parameters
    ----------
    broker
        Who carries out the orders.
    store
        Where they are saved; it is acquired by the run.
    strategy, symbol
        Whose orders these are.
    quantity : float or callable
        How much to trade per signal, in base currency; a callable gets the signal.
    tell : callable
        Called with a kind (``"broker"`` or ``"state"``) and a sentence for every trouble.
    sleep : callable
        How to wait for so many seconds before asking again.
    answer_seconds
        How long one call of the broker may take before its outcome counts as unknown.
    patience
        How often a broker must say that it does not know an order before that is believed, with growing pauses.

    Examples
    --------
    >>> from bknb.brokers.paper_broker import PaperBroker
    >>> from bknb.stores import MemoryStore
    >>> async def trade():
    ...     with MemoryStore() as store:
    ...         desk = OrderDesk(broker=PaperBroker(), store=store, strategy="sma", symbol="BTCUSDT", quantity=0.5,
    ...             tell=print)
    ...         await desk.start(when=0)
    ...         await desk.settle(1.0)
    ...         await desk.close()
    ...         return desk.rows()
    >>> asyncio.run(trade())
    []
    """

    def __init__(
        self,
        *,
        broker: Broker,
        store: StateStore,
        strategy: str,
        symbol: str,
        quantity: Quantity,
        tell: Callable[[str, str], object],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        answer_seconds: float = 30.0,
        patience: int = 5,
    ) -> None:
        if not isinstance(broker, Broker):
            raise UsageError(
                f"a broker has the calls place, cancel, report and open_orders, and a name; got {type(broker).__name__}"
            )
        if not callable(quantity):
            quantity = _checked(quantity)
        self._broker = broker
        self._prefix = own_prefix(strategy, symbol)
        self._symbol = symbol
        self._quantity = quantity
        self._tell_run = tell
        self._sleep = sleep
        self._answer_seconds = answer_seconds
        self._patience = patience
        self._saved = SavedOrders(store, strategy, symbol, tell=self._tell)
        self._signals = self._saved.signals
        self._unseen: dict[str, int] = {}
        self._resting: dict[SignalKey, int] = {}  # how often in a row this signal had to wait
        self._waiting: set[SignalKey] = set()
        self._paused: dict[SignalKey, int] = {}  # before which closing order a pause was made
        self._said: dict[SignalKey, set[str]] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._nap: asyncio.Task[None] | None = None
        self._worker: asyncio.Task[None] | None = None

    # --- for the run --------------------------------------------------------------------------------------------

    async def start(
        self, held: OpenSignal | ScheduledSignal | None = None, *, when: int, untold: Iterable[Event] = ()
    ) -> None:
        """Read the saved orders, ask the broker about those that left, and begin to carry out what is due.

        Each order is asked about once; one the broker does not answer about now is asked about again beside the run.

        Parameters
        ----------
        held
            The signal the restored record has open or scheduled. Every other signal with orders is over.
        when
            Now (UTC ms).
        untold
            Events of the restored record that :meth:`intend` may not have heard before the end of the last process.

        Raises
        ------
        StateError
            When saved orders cannot be read: then nobody knows what is at the broker.
        """
        if self._worker is not None:
            raise UsageError("the orders of this run are being carried out already")
        self._saved.load()
        for event in untold:
            self._note(event)
        orders = self.orders
        reports: dict[str, Report | None] = {}
        for order in to_ask(orders):
            try:
                reports[order.client_id] = await self._call(self._broker.report(order.client_id, order.symbol))
            except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it did not answer
                self._tell("broker", f"{named(order)}: the broker did not say what became of it: {_text(error)}")
        working: Iterable[Report] = ()
        try:
            working = await self._call(self._broker.open_orders(self._symbol))
        except Exception as error:  # noqa: BLE001
            self._tell("broker", f"{self._broker.name} did not list its open orders on {self._symbol}: {_text(error)}")
        found = reconcile(orders, reports, working=working, held=held, when=when, prefix=self._prefix)
        for problem in found.problems:
            self._tell("broker", problem)
        for order in found.keep:
            self._saved.put(order)
        for order in found.forget:
            self._saved.forget(order.key)
        for order in found.cancel:
            await self._cancel(order)
        self._wake.set()
        self._worker = asyncio.create_task(self._work())

    def intend(self, event: Event) -> None:
        """Save what an event means for the orders; it is carried out beside the run.

        Heard twice, an event changes nothing. Call it when the event itself is saved and before anybody else hears of
        it; after a crash in between, give it to :meth:`start` as untold.
        """
        if self._worker is None:
            raise UsageError("call start() first: until then nobody knows which orders exist")
        if self._note(event):
            self._idle.clear()
            self._wake.set()

    def _note(self, event: Event) -> bool:
        """Save what an event means for the orders; whether it means anything."""
        try:
            changed = orders_after(event, self._signals, self._quantity_of)
        except Exception as error:  # noqa: BLE001 -- the user's function of the quantity raised
            self._tell("broker", f"no order was made: the quantity could not be worked out: {_text(error)}")
            return False
        for order in changed:
            self._waiting.discard(order.key)
            self._resting.pop(order.key, None)
            self._saved.put(order)
        return bool(changed)

    def saw(self, *, low: float, high: float) -> None:
        """Pass a minute's prices on to a broker on paper, which has no market of its own; call it before the events."""
        if isinstance(self._broker, PaperMarket):
            self._broker.saw(self._symbol, low=low, high=high)

    async def settle(self, seconds: float) -> bool:
        """Wait until nothing is due; ``False`` when that takes longer than so many seconds.

        A limit order that rests is not waited for.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, seconds: float = 0.0) -> None:
        """Stop carrying out orders, after so many seconds at most for what is due.

        What is at the broker stays there, and is found again by the next start.
        """
        if seconds > 0 and self._worker is not None:
            await self.settle(seconds)
        worker, self._worker = self._worker, None
        for task in (worker, self._nap):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        self._nap = None

    @property
    def orders(self) -> list[Order]:
        """All orders known here: those of the signals that are not over, and of the last ones that are."""
        return [order for orders in self._signals.values() for order in orders]

    def position(self) -> float:
        """What the broker reported as filled and not closed again, in base currency; negative when short."""
        held = [(orders[0].side, left_open(orders)) for orders in self._signals.values()]
        return math.fsum(rest if side == "buy" else -rest for side, rest in held)

    def rows(self) -> list[dict[str, object]]:
        """The orders as rows of a table, oldest first; prices in quote, quantities in base currency."""
        return [_row(order) for order in self.orders]

    # --- carrying out -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            for key in list(self._signals):
                if key not in self._waiting and key not in self._saved.over:
                    try:
                        await self._carry_out(key)
                    except Exception as error:  # noqa: BLE001 -- one order must not end the carrying out of all others
                        self._tell("broker", f"the orders of {key[0]!r} could not be carried out: {_text(error)}")
                        self._rest(key)
            if self._wake.is_set():
                continue
            if self._waiting:
                await self._rest_or_wake()
                continue
            self._saved.tidy()
            self._idle.set()
            await self._wake.wait()

    async def _carry_out(self, key: SignalKey) -> None:
        """Do for one signal what is due, until there is nothing or it has to wait."""
        before: Deed | None = None
        while True:
            orders = self._signals[key]
            if not self._saved.save(quiet=key in self._resting):
                self._rest(key)
                return
            deed = next_deed(orders)
            if deed is None or deed == before:
                break
            if isinstance(deed, Keep) and deed.order.attempt > 1 and self._paused.get(key) != deed.order.attempt:
                self._paused[key] = deed.order.attempt
                self._rest(key)  # closing failed: the next try comes after a pause
                return
            await self._do(deed)
            before = deed
        if deed is not None:
            self._rest(key)
            return
        self._resting.pop(key, None)
        orders = self._signals[key]
        for difference in differences(orders):
            said = self._said.setdefault(key, set())
            if difference not in said:
                said.add(difference)
                self._tell("broker", difference)
        if finished(orders):
            if key in self._said and not orders[0].said:
                self._saved.put(msgspec.structs.replace(orders[0], said=True))
            self._saved.over.add(key)
            self._said.pop(key, None)
            self._paused.pop(key, None)

    async def _do(self, deed: Deed) -> None:
        match deed:
            case Keep(order):
                self._saved.put(order)
            case Place(order):
                await self._place(order)
            case Cancel(order):
                await self._cancel(order)
            case Ask(order):
                await self._ask(order)

    async def _place(self, order: Order) -> None:
        sent = _with(order, "sent")
        if not self._saved.put(sent):
            self._saved.put(order, quiet=True)  # not saved, so not sent
            return
        try:
            report = await self._call(self._broker.place(sent))
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises, the outcome is unknown unless it says so
            refused = isinstance(error, BrokerError) and error.refused
            self._change(sent, status="rejected" if refused else "unknown", note=_text(error))
            if not refused:
                self._tell("broker", f"{named(order)}: nobody knows whether it arrived ({_text(error)}); asking")
            elif order.purpose == "close":
                self._tell("broker", f"{named(order)} was refused: {_text(error)}")
            return
        self._believe(sent, report)

    async def _cancel(self, order: Order) -> None:
        try:
            report = await self._call(self._broker.cancel(order.client_id, order.symbol))
        except Exception as error:  # noqa: BLE001
            self._tell("broker", f"{named(order)} may not be cancelled ({_text(error)}); asking")
            await self._ask(order)
            return
        self._believe(order, report)

    async def _ask(self, order: Order) -> None:
        try:
            report = await self._call(self._broker.report(order.client_id, order.symbol))
        except Exception as error:  # noqa: BLE001
            if self._resting.get(order.key, 0) == 0:
                self._tell("broker", f"{named(order)}: the broker did not say what became of it: {_text(error)}")
            return
        if report is not None:
            self._unseen.pop(order.client_id, None)
            self._believe(order, report)
            return
        self._unseen[order.client_id] = unseen = self._unseen.get(order.client_id, 0) + 1
        if unseen >= self._patience:
            self._change(order, status="lost", note="the broker has no such order")
        elif order.status != "unknown":
            self._change(order, status="unknown", note=order.note)

    def _believe(self, order: Order, report: Report) -> None:
        order = self._known(order)
        problem = nonsense(order, report)
        if problem:
            self._tell("broker", f"{named(order)}: its report cannot be right: {problem}")
            if order.status == "sent":
                self._change(order, status="unknown", note=problem)
            return
        after = told(order, report)
        if after != order:
            self._resting.pop(order.key, None)
            self._saved.put(after)

    def _change(self, order: Order, *, status: OrderStatus, note: str) -> None:
        self._saved.put(msgspec.structs.replace(self._known(order), status=status, note=note))

    def _known(self, order: Order) -> Order:
        """The order as it is now: the run may have ended its signal while the broker was thinking."""
        return next((now for now in self._signals[order.key] if now.client_id == order.client_id), order)

    async def _call(self, answer: Awaitable[_Answer]) -> _Answer:
        async with asyncio.timeout(self._answer_seconds):
            return await answer

    # --- waiting ------------------------------------------------------------------------------------------------

    def _rest(self, key: SignalKey) -> None:
        self._waiting.add(key)
        rested = self._resting[key] = self._resting.get(key, 0) + 1
        orders = self._signals[key]
        entry = orders[0]
        if rested == self._patience and entry.working and entry.opened_at is not None and entry.ended_at is None:
            filled = f"{plain_number(entry.filled_quantity)} of {plain_number(entry.quantity)}"
            self._tell("broker", f"{named(entry)}: the record has it open; {filled} are filled")

    async def _rest_or_wake(self) -> None:
        if self._nap is None:
            rested = min(self._resting.get(key, 1) for key in self._waiting)
            seconds = min(2.0 ** min(rested - 1, 10), LONGEST_REST_SECONDS)
            self._nap = asyncio.create_task(self._pause(seconds))
        woken = asyncio.create_task(self._woken())
        try:
            await asyncio.wait({self._nap, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
        if self._nap.done():
            self._nap = None
            self._waiting.clear()

    async def _woken(self) -> None:
        await self._wake.wait()

    async def _pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    # --- telling ------------------------------------------------------------------------------------------------

    def _tell(self, kind: str, message: str) -> None:
        try:
            self._tell_run(kind, message)
        except Exception as error:  # noqa: BLE001 -- who is told must not stop the orders
            log.warning("%s: %s (and telling it failed: %r)", kind, message, error)

    def _quantity_of(self, signal: OpenSignal | ScheduledSignal) -> float:
        return _checked(self._quantity(signal) if callable(self._quantity) else self._quantity)


def _with(order: Order, status: OrderStatus) -> Order:
    return msgspec.structs.replace(order, status=status)


def _checked(quantity: object) -> float:
    if isinstance(quantity, (int, float)) and not isinstance(quantity, bool) and 0 < quantity < math.inf:
        return float(quantity)
    raise UsageError(f"a quantity is a number above 0 in base currency, not {quantity!r}")


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    except Exception:  # noqa: BLE001 -- a broker library's exception may be unable to say anything
        return type(error).__name__


def _row(order: Order) -> dict[str, object]:
    slip = None
    if order.average_price is not None:
        sign = 1 if order.side == "buy" else -1
        slip = sign * (order.average_price - order.record_price) / order.record_price * 100
    return {
        "created_at": order.created_at,
        "signal": order.signal_id,
        "purpose": order.purpose,
        "side": order.side,
        "kind": order.kind,
        "quantity": order.quantity,
        "price": order.price,
        "status": order.status,
        "filled": order.filled_quantity,
        "average_price": order.average_price,
        "record_price": order.record_price,
        "slippage_percent": slip,
        "client_id": order.client_id,
        "broker_id": order.broker_id,
        "note": order.note,
    }
