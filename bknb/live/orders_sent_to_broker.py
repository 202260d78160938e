"""The orders of one strategy on one symbol: saved before they are sent, carried out in a task of their own.

The run hands over its events (:meth:`OrderDesk.follow`) and never waits for the broker; a task carries out what is due,
in order. Whatever the broker does, the record goes on; where the two differ, ``on_problem`` is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress

import msgspec

from ..domain.broker_account import Abilities, Watch
from ..domain.broker_orders_and_ids import (
    Order,
    given_up,
    left_open,
    net_filled,
    order_text,
)
from ..domain.broker_orders_of_events import KeptOf, any_left, last_minute, not_cut
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.formatting import plain_number
from ..domain.implementation_shortfall import TradedOrder
from ..domain.interval import MINUTE_MS
from ..domain.lifecycle import State, signals_of
from ..domain.lifecycle_inputs import FilledTarget
from ..domain.next_order_action import due_actions, next_action
from ..domain.order_actions import Action, Attempt, CancelOrder, MoveStop, Place, Query, Save, Wait, attempt_of
from ..domain.protection_gaps import ProtectionGaps
from ..domain.protective_orders import Gone, closed_there, protective_orders, target_orders
from ..domain.sent_orders_reconciled_at_restart import (
    a_minute_after,
    cut_fills,
    ordered_signals,
    postponed,
    reconcile,
    to_follow,
)
from ..domain.signal import ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import Event
from ..domain.states import place_of_state
from ..domain.target_orders import targets_filled
from ..domain.text import named_error
from ..domain.what_closing_came_to import what_closing_came_to
from ..errors import StateError, UsageError
from ..log import log
from ..market.system_clock import limited_to
from ..ports import Broker, BrokerWithAccount, PaperMarket, StateStore
from .account_book import LedgerMember
from .account_ledger import LedgerOfAccount
from .broker_asked_at_restart import BrokerCheck
from .gaps_without_stop import GapsWithoutStop
from .market_rules import MarketRules
from .order_pauses import Pauses
from .order_quantity import Quantities, Quantity
from .orders_against_record import AgainstRecord
from .orders_from_record import Following
from .reports_believed import Reports
from .requests_to_broker import Requests
from .saved_orders import SavedOrders
from .user_code_in_threads import MarketOutside, SeesMinutes, answered


class OrderDesk:
    """Orders at a broker that follow the record of one strategy on one symbol.

    Parameters
    ----------
    broker
        Who carries out the orders.
    store
        Where they are saved; it is acquired by the run.
    strategy, symbol
        Whose orders these are.
    quantity : float or callable
        How much to trade per signal, in base currency; a callable gets the signal, and is asked by :meth:`work_out`.
        Where it raises, that is reported once, and the entry counts as rejected: the record goes on without orders.
    on_problem : callable
        Called with a kind (``"broker"``, ``"double_fill"``, ``"cut_fill"`` or ``"state"``) and a sentence for every
        trouble.
    sleep : callable
        How to wait for so many seconds before asking again.
    answer_seconds
        How long one call of the broker may take before its outcome counts as unknown, and all calls of a start.
    max_unknown_answers
        How often a broker must answer that it does not know an order, with growing pauses, before it counts as lost.
    now : callable, optional
        The clock, UTC ms. An order that is sent later by it than ``late_after`` its moment is one of then:
        ``created_at`` is the time it was sent. Without a clock none is late.
    late_after
        From a moment (UTC ms) to the one up to which an order for it is in time.
    last_open
        When the last candle before the close of a session opens (UTC ms): an order for that close leaves then.
    kept_of
        How much of its entry a position has, in base currency, where that was cut when it filled; the rest is closed.
    ledger : LedgerOfAccount, optional
        Of the account that the broker says its orders are of, shared with other runs of the store.
    adopt
        Whether orders of bknb at the broker that were never saved in the store are taken over.

    Examples
    --------
    >>> from bknb.brokers.paper_broker import PaperBroker
    >>> from bknb.stores import MemoryStore
    >>> async def trade():
    ...     with MemoryStore() as store:
    ...         desk = OrderDesk(broker=PaperBroker(), store=store, strategy="sma", symbol="BTCUSDT", quantity=0.5,
    ...             on_problem=print)
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
        on_problem: Callable[[str, str], object],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        answer_seconds: float = 30.0,
        max_unknown_answers: int = 5,
        now: Callable[[], int] | None = None,
        late_after: Callable[[int], int] = a_minute_after,
        last_open: Callable[[int], int] = last_minute,
        kept_of: KeptOf = not_cut,
        ledger: LedgerOfAccount | None = None,
        adopt: bool = False,
    ) -> None:
        if not isinstance(broker, Broker):
            raise UsageError(
                f"a broker has the calls place, cancel, report and open_orders, and a name; got {type(broker).__name__}"
            )
        self._broker = broker
        self._sees = broker if isinstance(broker, SeesMinutes) else None
        self._symbol = symbol
        self._on_problem = on_problem
        self._answer_seconds = answer_seconds
        self._max_unknown_answers = max_unknown_answers
        self._now, self._kept_of = now, kept_of
        self._late_after = late_after
        abilities = broker.abilities() if isinstance(broker, BrokerWithAccount) else Abilities()
        self._ledger, self._adopt = ledger, adopt
        self._saved = SavedOrders(
            store, strategy, symbol, on_problem=self._report_problem,
            account=abilities.account if ledger is not None else "", nets=abilities.nets,
        )  # fmt: skip
        self._signals = self._saved.signals
        self._able = abilities if abilities.watch != "here" and abilities.stop is not None else None
        if self._able is not None:
            self._saved.clock = self._clock
        self._gaps = GapsWithoutStop(store, (strategy, symbol), self._report_problem)
        self._following = Following(
            self._saved, Quantities(quantity, on_problem=self._report_problem),
            save=self._save_orders, on_problem=self._report_problem, last_open=last_open, kept_of=kept_of,
            with_stops=self._able is not None, with_targets=self._able is not None and self._able.targets,
        )  # fmt: skip
        self._check = BrokerCheck(
            broker, self._saved, answer_seconds=answer_seconds, sleep=sleep,
            on_problem=self._report_problem, on_change=self._has_work,
            adopted=tuple if ledger is None else ledger.adopted,
        )  # fmt: skip
        self._pauses = Pauses(sleep)
        self._paused: dict[SignalKey, set[str]] = {}  # before which orders, by client id, a pause was made
        self._reports = Reports(broker, self._saved, self._check, self._pauses, self._report_problem)
        self._requests = Requests(
            broker, self._saved, self._reports, self._check, self._pauses, ledger=ledger,
            rules=MarketRules(broker, symbol, answer_seconds=answer_seconds), answer_seconds=answer_seconds,
            max_unknown_answers=max_unknown_answers, now=now, late_after=late_after, tell=self._report_problem,
        )  # fmt: skip
        self._against_record = AgainstRecord(
            broker, self._saved, self._reports, self._requests, self._check, self._pauses, able=self._able,
            max_unknown_answers=max_unknown_answers, tell=self._report_problem,
        )  # fmt: skip
        self._unseen = ""  # why a broker on paper has not taken the newest minute
        self._asked_again = False  # about each order, since the start
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._at_rest = asyncio.Event()  # idle, or in a pause
        self._worker: asyncio.Task[None] | None = None

    # --- for the run --------------------------------------------------------------------------------------------

    async def start(self, *states: State | None, when: int, undelivered: Iterable[Event] = ()) -> None:
        """Read the saved orders, ask the broker about those that left, and begin to carry out what is due.

        Each order is asked about once, all of them within the time of one call; what the broker does not answer now is
        asked again beside the run, and nothing is to be opened before.

        Parameters
        ----------
        states
            The restored record, of each place of a strategy; every signal with orders that it does not hold is over.
        when
            Now (UTC ms).
        undelivered
            Events of the restored record that :meth:`follow` may not have got before the end of the last process.

        Raises
        ------
        StateError
            When saved orders cannot be read: what is at the broker is then unknown. Also where the broker has orders of
            bknb that were never saved here.
        """
        if self._worker is not None:
            raise UsageError("the orders of this run are being carried out already")
        self._saved.load(adopt=self._adopt)
        if self._ledger is not None:
            await self._ledger.begin(self._as_member(), when=when, adopt=self._adopt)
        self._against_record.begin()
        known_at = {key: max(order.since for order in orders) for key, orders in self._signals.items()}
        restored: list[State | None] = [state for state in states if state is not None]
        held = [each for state in states if state is not None for each in signals_of(state)]
        events = to_follow(undelivered, self._signals, held)
        for state in restored or [None]:
            for event in await self._following.work_out(state, events):
                self._following.event(event)
            self._following.state(state, "" if state is None else place_of_state(state))
            events = []
        reports = await self._check.ask(self._reports.believes, now=when)
        ordered = [each for state in restored for each in ordered_signals(state, self._signals)]
        found = reconcile(self.orders, reports, held=ordered, when=when, kept_of=self._kept_of)
        for problem in found.problems:
            self._report_problem("broker", problem)
        self._saved.put(*found.save)
        for order in found.discard:
            self._saved.discard(order.key)
        if self._able is not None:
            self._gaps.load()
            for key, orders in self._signals.items():
                self._gaps.look(orders, since=known_at.get(key, self._clock()), now=self._clock())
        self._check.begin()
        self._wake.set()
        self._worker = asyncio.create_task(self._work())

    def _as_member(self) -> LedgerMember:
        assert isinstance(self._broker, BrokerWithAccount)  # else there is no ledger  # noqa: S101
        return LedgerMember(
            self._saved, self._broker, tell=self._report_problem, ask=self._ask_about,
            unanswered=lambda: self._check.unconfirmed, changed=self._has_work,
        )  # fmt: skip

    def _ask_about(self, client_ids: Collection[str]) -> None:
        """Ask about orders that have filled more than is known here."""
        self._check.unconfirmed |= set(client_ids)
        self._saved.over -= {order.key for order in self.orders if order.client_id in client_ids}
        if client_ids:
            self._has_work()

    def postponed(self, state: State, *, now: int) -> State:
        """A restored state whose orders that never left and are late by now (UTC ms) fill from now on.

        Save the state before :meth:`start` sends them.

        Raises
        ------
        StateError
            When saved orders cannot be read.
        """
        self._saved.load(adopt=self._adopt)
        return postponed(state, self._signals, now=now, late_after=self._late_after)

    def has_left(self, signal: ScheduledSignal) -> bool:
        """Whether the entry order of a signal may be on its way to the broker, or there."""
        return any_left(self._signals.get(key_of(signal), ()))

    async def work_out(self, state: State | None, events: Iterable[Event]) -> list[Event]:
        """Ask the function of the quantity about new signals; returns the events that are left for :meth:`follow`.

        Events of other signals, and the end of a position in ``state``, were followed before it was asked.
        """
        self._must_have_started()
        return await self._following.work_out(state, events)

    def follow(self, event: Event) -> None:
        """Save the orders an event leads to; they are carried out in a task of their own.

        An event that comes twice changes nothing; one whose orders cannot be worked out is tried again with every
        state. Call it when the event itself is saved and before it is emitted; after a crash in between, give it to
        :meth:`start` as undelivered.
        """
        self._must_have_started()
        self._following.event(event)

    def follow_state(self, state: State, place: str = "") -> None:
        """Save the orders a state leads to: what was decided at this moment leaves now, before a minute fills it.

        ``place`` is the place of its strategy that it is of.
        """
        self._must_have_started()
        self._following.state(state, place)

    def _must_have_started(self) -> None:
        if self._worker is None:
            raise UsageError("call start() first: until then nobody knows which orders exist")

    def _save_orders(self, orders: tuple[Order, ...]) -> None:
        """Save the orders that changed."""
        if any(order.key not in self._signals for order in orders):
            self._ask_for_lost()
        for order in orders:
            self._pauses.end(order.key)
        self._saved.put(*orders)
        if orders:
            self._has_work()

    def _has_work(self) -> None:
        self._idle.clear()
        self._at_rest.clear()
        self._wake.set()

    def _ask_for_lost(self) -> None:
        """Ask once more about each order that was lost, beside the orders of the next signal."""
        self._requests.still_lost.clear()
        self._saved.over -= {order.key for order in self.orders if order.status == "lost"}

    def saw(self, minute: Minute) -> None:
        """Note the prices of a minute, and pass it on to a broker on paper; call it before the events.

        What a broker reports is compared with these prices. Where one on paper does not take the minute, that is
        reported, and nothing is to be opened before it takes one. Who is called outside gets it by :meth:`pass_on`.

        Raises
        ------
        StateError
            When what it led to could not be saved: give it the minute again.
        """
        self._reports.saw(minute)
        if self._able is not None:
            self._look_at_stops()
        if self._ledger is not None:
            self._ledger.is_due(minute.t + MINUTE_MS)
            self._has_work()
        if isinstance(self._broker, PaperMarket):
            try:
                self._broker.saw(self._symbol, minute)
                self._unseen = ""
            except StateError:
                raise
            except BaseException as error:  # noqa: BLE001 -- whatever it raises, exit() too, ends no run
                self._report_unseen(error)
            self._has_work()

    def closed_there(self, key: SignalKey, *, before: int) -> Gone | None:
        """How all of a position has gone before a moment (UTC ms), if it has."""
        orders = self._signals.get(key)
        return None if self._able is None or not orders else closed_there(orders, before)

    def targets_filled(self, key: SignalKey, *, before: int) -> tuple[FilledTarget, ...]:
        """The targets of a position that were filled before a moment (UTC ms), and that the record has not taken."""
        orders = self._signals.get(key)
        return targets_filled(orders, before) if orders else ()

    @property
    def gaps(self) -> ProtectionGaps | None:
        """How long something was held without a stop at the broker; ``None`` where none rests there."""
        return None if self._able is None else self._gaps.found

    def protects(self, key: SignalKey) -> bool:
        """Whether something of a position is held at the broker, and a stop rests for it there."""
        orders = self._signals.get(key, ())
        return bool(left_open(orders)) and any(order.purpose == "protect" and order.working for order in orders)

    def has_targets(self, key: SignalKey) -> bool:
        """Whether something of a position is held at the broker, and a target works for it there."""
        orders = self._signals.get(key, ())
        return bool(left_open(orders)) and any(order.working for order in target_orders(orders))

    @property
    def watch(self) -> Watch:
        """Who watches the stops of positions."""
        return "here" if self._able is None else self._able.watch

    async def look_again(self, key: SignalKey, seconds: float) -> None:
        """Have what rests for a signal asked about, and wait until that is done, so many seconds at most."""
        stops = {order.client_id for order in self._signals.get(key, ()) if order.purpose in ("protect", "target")}
        self._requests.to_look_at |= stops
        self._has_work()
        await self.settle(seconds)

    def _look_at_stops(self) -> None:
        """Have what rests asked about, and count the minutes the record has had open what that has sold."""
        resting = (order for order in self.orders if order.purpose in ("protect", "target") and order.working)
        self._requests.to_look_at = {order.client_id for order in resting}
        self._against_record.look()
        self._has_work()

    async def pass_on(self, minute: Minute) -> None:
        """Pass a minute on to a broker with a market of its own that is elsewhere; the orders before it first.

        Raises
        ------
        StateError
            As for :meth:`saw`.
        """
        if self._sees is None:
            return
        await self.sent()
        try:
            await answered(self._sees.see(self._symbol, minute), self._answer_seconds)
            self._unseen = ""
        except StateError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it raises ends no run
            self._report_unseen(error)
        self._has_work()

    async def sent(self) -> None:
        """Wait for the orders before a minute, as long as the broker may take, where the broker has it from here."""
        if self._sees is not None:
            with suppress(TimeoutError):  # what the broker does not take now is late
                async with limited_to(self._sees.send_seconds):
                    await self._at_rest.wait()

    def _report_unseen(self, error: BaseException) -> None:
        self._unseen = f"{self._broker.name} did not take the newest minute: {named_error(error)}"
        self._report_problem("broker", self._unseen)

    async def settle(self, seconds: float) -> bool:
        """Wait until nothing is due; ``False`` when that takes longer than so many seconds.

        A limit order that rests is not waited for.
        """
        try:
            async with limited_to(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def rests(self) -> bool:
        """Wait until nothing is due before a pause is over; returns whether something is due then."""
        await self._at_rest.wait()
        return not self._idle.is_set()

    async def close(self, seconds: float = 0.0) -> None:
        """Stop carrying out orders, after so many seconds at most for what is due.

        What is at the broker stays there, and is found again by the next start.
        """
        if seconds > 0 and self._worker is not None:
            await self.settle(seconds)
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.cancel()
            await asyncio.wait({worker})
        await self._pauses.close()
        await self._check.close()
        if self._ledger is not None:
            self._ledger.end(self._saved)

    @property
    def orders(self) -> list[Order]:
        """All orders known here: those of the signals that are not over, and of the last ones that are."""
        return self._saved.orders

    @property
    def traded(self) -> tuple[TradedOrder, ...]:
        """What became of all orders that left, also of those of signals that are over for long."""
        return self._saved.traded

    @property
    def version(self) -> int:
        """Another number after each change of an order."""
        return self._saved.version

    def position(self) -> float:
        """What the broker reported as filled and not closed again, in base currency; negative when short."""
        return self._saved.position()

    @property
    def fills_at_once(self) -> bool:
        """Whether what is sent may be filled as it comes, as at an exchange, and not by the next candle."""
        return not isinstance(self._broker, PaperMarket | MarketOutside)

    def rests_text(self) -> str:
        """What rests at the broker and stays there whether anybody watches, as a line; empty: nothing."""
        resting = [order for order in self.orders if order.working and (order.trigger or order.price)]
        texts = [
            f"{each.side} {plain_number(each.quantity - each.filled_quantity)} at "
            f"{plain_number(each.trigger or each.price or 0.0)}"
            for each in resting
        ]
        return f"\nat {self._broker.name} there rest and stay: {', '.join(texts)}" if texts else ""

    def closed_since(self, before: Collection[str]) -> str:
        """What was closed since orders with some client ids were there, and what is still held, as sentences."""
        return what_closing_came_to(self._signals.values(), before)

    @property
    def manual(self) -> dict[str, float]:
        """What has come into the account by hand, by currency; see :class:`LedgerOfAccount`."""
        return {} if self._ledger is None else dict(self._ledger.manual)

    def rows(self) -> list[dict[str, object]]:
        """The orders as rows of a table, oldest first; prices in quote, quantities in base currency."""
        return [_row(order) for order in self.orders]

    @property
    def disagreement(self) -> str:
        """Why nothing may be opened, as a sentence: the account is not, or may not be, what the record says.

        Empty when both agree, or when an order is on its way as it should be.
        """
        going_on = (orders for key, orders in self._signals.items() if key not in self._saved.over)
        of_orders = next(filter(None, map(self._against_record.of, going_on)), "")
        of_account = "" if self._ledger is None else self._ledger.problem(self._symbol)
        return self._following.problem or of_orders or self._check.unlisted or self._unseen or of_account

    @property
    def is_unprotected(self) -> bool:
        """Whether something is held for which no stop rests at the broker, and none will."""
        going_on = (orders for key, orders in self._signals.items() if key not in self._saved.over)
        return any(map(self._against_record.is_unprotected, going_on))

    @property
    def asked_again(self) -> bool:
        """Whether the broker was asked once more about what it had not answered at the start.

        Before that a :attr:`disagreement` may be over with its next answer.
        """
        return self._asked_again and self._check.asked_again

    @property
    def unsettled(self) -> str:
        """What the record has filled or ended and the broker is still to carry out, as a sentence; empty: nothing.

        What rests in both is not named, nor is what cannot be carried out: that is a :attr:`disagreement`. What orders
        are due is unknown as long as they cannot be worked out.
        """
        if self._following.problem:
            return self._following.problem
        for key, orders in self._signals.items():
            if key in self._saved.over:
                continue
            over = orders[0].ended_at is not None
            for order in orders:
                if not order.done and (over or order.opened_at is not None):
                    return f"{order_text(order)} is {order.status}"
            if over and left_open(orders) and not given_up(orders):
                side = "sell" if orders[0].side == "buy" else "buy"
                return f"{side} {plain_number(left_open(orders))} {self._symbol} to close {key[0]!r} is not ordered yet"
        return ""

    # --- carrying out -------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            for key in list(self._signals):
                if key not in self._pauses.waiting and key not in self._saved.over:
                    try:
                        await self._carry_out(key)
                    except Exception as error:  # noqa: BLE001 -- one order must not end the carrying out of all others
                        self._report_problem(
                            "broker", f"the orders of {key[0]!r} could not be carried out: {named_error(error)}"
                        )
                        self._defer(key)
            self._asked_again = True
            if self._ledger is not None:
                await self._ledger.look(self._saved.address)
            if self._wake.is_set():
                continue
            self._at_rest.set()
            if self._pauses.waiting:
                self._requests.unknown_answers.waited(await self._pauses.over(self._wake))
                self._at_rest.clear()
                continue
            self._tidy()
            self._idle.set()
            await self._wake.wait()

    def _tidy(self) -> None:
        """Forget what is over, but the last few signals."""
        self._saved.tidy()
        known = {order.client_id for order in self.orders}
        self._against_record.forget_over()
        self._paused = {key: paused for key, paused in self._paused.items() if key in self._signals}
        self._reports.forget_but(known)
        self._requests.unknown_answers.forget_but(known)
        self._requests.still_lost &= known
        self._check.forget_but(known)

    async def _carry_out(self, key: SignalKey) -> None:
        """Do for one signal what is due, until there is nothing or it has to wait."""
        before: Action | None = None
        tried: set[Attempt] = set()  # in this round; what becomes of it holds up nothing else
        armed: set[tuple[float | None, float]] = set()  # levels of stops made in this round, with what was held
        while True:
            orders = self._signals[key]
            if not self._saved.save(quiet=self._pauses.in_a_row(key) > 0):
                self._defer(key)
                return
            self._against_record.tell(key, cut_fills(orders))  # before the rest is closed
            if self._able is not None:
                await self._learn_when_stopped(orders)
                orders = self._signals[key]
            action = (
                next_action(orders, tried, able=self._able, now=self._clock())
                or self._against_record.unanswered(orders, tried)
                or self._to_look(orders, tried)
            )
            again = isinstance(action, Save) and self._is_another_try(action.order)
            if again or not isinstance(action, Place | MoveStop | Save):
                action = self._to_cancel(orders, tried) or action
            if isinstance(action, Save) and _was_placed_for_less(action.order, orders, armed):
                action = self._against_record.unanswered(orders, tried)
                if action is None:
                    self._defer(key)
                    return
            if action is None or action == before:
                break
            if again and isinstance(action, Save):  # closing failed: the next try comes after a pause
                self._paused.setdefault(key, set()).add(action.order.client_id)
                tried.add(attempt_of(action))
                continue
            before = action
            tried |= await self._timed(action)
        due = due_actions(orders, able=self._able, now=self._clock())
        waits = [*due, *filter(None, [self._against_record.unanswered(orders)])]
        cancels = any(kind is CancelOrder and name in self._check.to_cancel for kind, name in tried)
        if waits or cancels:
            if cancels or not all(self._reports.next_candle_fills(action.order) for action in waits):
                self._defer(key)
            return
        self._pauses.forget(key)
        self._against_record.tell_differences(key)
        if key in self._saved.over:
            self._paused.pop(key, None)

    async def _learn_when_stopped(self, orders: Sequence[Order]) -> None:
        """Ask when stops have sold; where that is not to be had it counts from when it was known."""
        ends = (each for each in orders if each.purpose in ("protect", "target"))
        sold = [each for each in ends if each.filled_quantity and each.done]
        if all(order.filled_at is not None for order in sold):
            return
        assert isinstance(self._broker, BrokerWithAccount)  # it has abilities  # noqa: S101
        try:
            fills = await answered(self._broker.fills(self._symbol, orders[0].created_at), self._answer_seconds)
            at = {each.client_id: each.at for each in fills}  # the last of each
        except Exception:  # noqa: BLE001 -- whatever a broker raises, it did not answer
            at = {}
        known = (msgspec.structs.replace(each, filled_at=at.get(each.client_id, each.since)) for each in sold)
        self._saved.put(*known)

    def _is_another_try(self, order: Order) -> bool:
        """Whether an order comes in place of one that failed, and no pause was made before it yet."""
        alike = [one for one in self._signals[order.key] if (one.purpose, one.number) == (order.purpose, order.number)]
        new = all(one.client_id != order.client_id for one in alike)
        failed = order.attempt > 1 and alike[-1].status != "filled"
        return new and failed and order.client_id not in self._paused.get(order.key, ())

    def _to_cancel(self, orders: list[Order], tried: Collection[Attempt]) -> CancelOrder | None:
        """The cancelling of an order that was done for us, and works at the broker all the same, if not tried yet."""
        cancels = (CancelOrder(order) for order in orders if order.client_id in self._check.to_cancel)
        return next((cancel for cancel in cancels if attempt_of(cancel) not in tried), None)

    def _to_look(self, orders: list[Order], tried: Collection[Attempt]) -> Query | None:
        """The question about a stop that rests at the broker, once for each minute."""
        due = (Query(each) for each in orders if each.working and each.client_id in self._requests.to_look_at)
        return next((query for query in due if attempt_of(query) not in tried), None)

    async def _timed(self, action: Action) -> set[Attempt]:
        """Carry out an action, and time what it leaves without a stop; what is not to be tried again in this round."""
        began, order = self._clock(), action.order
        await self._requests.carry_out(action)
        if self._able is not None:
            self._gaps.look(self._signals[order.key], since=began, now=self._clock())
        if isinstance(action, CancelOrder | Query):
            return {attempt_of(action), (Query, order.client_id)}  # cancelling in vain asks
        waits = isinstance(action, Place) and self._reports.known(order).status == "intended"  # it may leave later
        return {attempt_of(action)} if waits or isinstance(action, MoveStop | Wait) else set()

    def _clock(self) -> int:
        return 0 if self._now is None else self._now()

    # --- waiting ------------------------------------------------------------------------------------------------

    def _defer(self, key: SignalKey) -> None:
        pauses, orders = self._pauses.begin(key), self._signals[key]
        if pauses != self._max_unknown_answers or orders[0].ended_at is not None:
            return
        for order in orders:
            if order.working and order.opened_at is not None and not order.reduces_only:
                filled = f"{plain_number(order.filled_quantity)} of {plain_number(order.quantity)}"
                self._report_problem("broker", f"{order_text(order)}: the record has it open; {filled} are filled")

    # --- problems -----------------------------------------------------------------------------------------------

    def _report_problem(self, kind: str, message: str) -> None:
        try:
            self._on_problem(kind, message)
        except Exception as error:  # noqa: BLE001 -- a callback must not stop the orders
            log.warning("%s: %s (and reporting it failed: %r)", kind, message, error)


def _was_placed_for_less(stop: Order, orders: Sequence[Order], armed: set[tuple[float | None, float]]) -> bool:
    """Whether a stop like a new one was made in this round and rests, for less than is held here: as less is there.

    ``armed`` are the levels of stops of this round, with what was held; it is added there.
    """
    if stop.purpose != "protect" or any(order.client_id == stop.client_id for order in orders):
        return False
    what = stop.trigger, net_filled(orders)
    again = what in armed and protective_orders(orders)[-1].status == "accepted"
    armed.add(what)
    return again


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
