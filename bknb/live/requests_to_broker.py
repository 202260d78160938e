"""The requests to a broker: orders placed, moved, cancelled and asked about, each saved before it leaves."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..domain.broker_orders_and_ids import Order, OrderStatus, Report, order_text
from ..domain.broker_reports import failed_alike, fills_more
from ..domain.formatting import plain_number
from ..domain.order_actions import Action, CancelOrder, MoveStop, Place, Query, Save, Wait
from ..domain.protective_orders import taken_back
from ..domain.text import named_error
from ..errors import BrokerError
from ..ports import Broker, BrokerWithAccount
from .account_ledger import NOTHING_LEFT, LedgerOfAccount
from .broker_asked_at_restart import BrokerCheck
from .lost_orders import denials_of_stop_until_lost, denials_until_lost, report_on, turns_up
from .market_rules import MarketRules
from .order_pauses import Pauses, UnknownAnswers
from .reports_believed import Reports
from .saved_orders import SavedOrders
from .user_code_in_threads import answered


class Requests:
    """Carries out what is due about the orders of one strategy on one symbol.

    Parameters
    ----------
    broker, saved, reports, check, pauses
        Who carries them out, the orders, what is done with reports of them, what was not answered since the start, and
        the pauses of signals.
    ledger
        Of the account that strategies share, where there is one.
    rules
        Of the market.
    answer_seconds, max_unknown_answers, now, late_after
        As of :class:`bknb.live.orders_sent_to_broker.OrderDesk`.
    tell
        Called with ``"broker"`` and a sentence about trouble.

    Attributes
    ----------
    to_look_at
        Client ids of resting stops, until they were asked about in this minute.
    still_lost
        Client ids that the broker did not know when it was asked once more.
    unknown_answers
        How often it has denied each order.
    """

    def __init__(
        self,
        broker: Broker,
        saved: SavedOrders,
        reports: Reports,
        check: BrokerCheck,
        pauses: Pauses,
        *,
        ledger: LedgerOfAccount | None,
        rules: MarketRules,
        answer_seconds: float,
        max_unknown_answers: int,
        now: Callable[[], int] | None,
        late_after: Callable[[int], int],
        tell: Callable[[str, str], object],
    ) -> None:
        self.to_look_at: set[str] = set()
        self.still_lost: set[str] = set()
        self.unknown_answers = UnknownAnswers()
        self._broker, self._saved, self._signals = broker, saved, saved.signals
        self._reports, self._check, self._pauses, self._ledger = reports, check, pauses, ledger
        self._rules, self._answer_seconds = rules, answer_seconds
        self._denials_until_lost = denials_until_lost(broker, max_unknown_answers)
        self._denials_of_stop = denials_of_stop_until_lost(broker, max_unknown_answers)
        self._now, self._late_after, self._tell = now, late_after, tell

    def _clock(self) -> int:
        return 0 if self._now is None else self._now()

    async def carry_out(self, action: Action) -> None:
        """Carry out an action."""
        match action:
            case Save(order):
                self._saved.put(order)
            case Place(order):
                await self._place(order)
            case MoveStop(order):
                await self._move(order)
            case CancelOrder(order):
                await self.cancel(order)
            case Query(order):
                await self._query(order)
            case Wait():
                pass

    async def _place(self, order: Order) -> None:
        try:
            order = await self._fitted(order)
        except BrokerError as error:
            if not error.refused:
                raise
            if error.later and order.reduces_only:
                self._wait_to_place(order, error)
                return
            order = msgspec.structs.replace(order, quantity=0.0, status="rejected", note=named_error(error))
        if order.done:
            self._saved.put(order)
            if order.note != NOTHING_LEFT:  # that was told
                self._tell("broker", f"{order_text(order)} is not sent: {order.note}")
            return
        sent = msgspec.structs.replace(order, status="sent", created_at=self._sent_at(order))
        if not self._saved.put(sent):
            self._saved.put(order, quiet=True)  # not saved, so not sent
            return
        try:
            report = await answered(self._broker.place(sent), self._answer_seconds)
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises, the outcome is unknown unless it says so
            self._not_placed(sent, error)
            return
        self._reports.apply(sent, report)

    def _not_placed(self, sent: Order, error: Exception) -> None:
        """Note that an order was refused, is to leave later, or may have arrived."""
        refused = isinstance(error, BrokerError) and error.refused
        if refused and sent.reduces_only and getattr(error, "later", False):  # what protects or closes waits
            self._wait_to_place(sent, error)
            return
        if refused:
            self._rules.forget()
            if self._ledger is not None:
                self._ledger.was_refused(sent)
        reached = refused and getattr(error, "reached", False)
        self._change(sent, status="rejected" if refused else "unknown", note=named_error(error), reached=reached)
        if not refused:
            text = f"{order_text(sent)}: nobody knows whether it arrived ({named_error(error)}); asking"
            self._tell("broker", text)
        elif sent.reduces_only and not failed_alike(self._reports.known(sent), self._signals[sent.key]):
            self._tell("broker", f"{order_text(sent)} was refused: {named_error(error)}")

    async def _move(self, order: Order) -> None:
        """Have a stop moved by one request: in place, or by one that takes its place."""
        order = await self._rules.fitted(order, self._signals[order.key])
        if order.trigger is None and not order.done:
            try:
                order = await self._allowed(order)
            except BrokerError as error:  # less is there than it is to sell; its stop rests meanwhile
                self._wait_to_place(order, error)
                return
        mine, known = self._signals[order.key], self._reports.known(order)
        old = next((each for each in mine if each.client_id == order.replaces), known)
        if order.done:  # too little at its new level
            self._saved.put(msgspec.structs.replace(order, replaces="") if order.replaces else taken_back(old))
            return
        if order.replaces:
            sent = msgspec.structs.replace(order, status="sent", created_at=self._sent_at(order))
            if not self._saved.put(sent):
                self._saved.put(order, quiet=True)  # not saved, so not sent
                return
            order = sent
        assert isinstance(self._broker, BrokerWithAccount)  # it has abilities  # noqa: S101
        try:
            report = await answered(self._broker.amend(order), self._answer_seconds)
        except Exception as error:  # noqa: BLE001 -- as for one that is placed
            self._not_moved(order, old, error)
            await self._query(old)
            return
        if not order.replaces:
            level = {"record_price": order.record_price, "trigger": order.trigger}
            self._saved.put(msgspec.structs.replace(self._reports.known(order), **level))
        self._reports.apply(order, report)
        if order.replaces:
            await self._query(old, cancelled_here=True)

    def _not_moved(self, order: Order, old: Order, error: Exception) -> None:
        """Note that a stop was not moved, or nobody knows; what becomes of the one that rested is asked next."""
        refused = isinstance(error, BrokerError) and error.refused
        reached, why = refused and getattr(error, "reached", False), named_error(error)
        if order.replaces and refused and getattr(error, "later", False):
            self._change(order, status="intended", note=why)
        elif order.replaces:
            self._change(order, status="rejected" if refused else "unknown", note=why, reached=reached)
        elif reached:
            self._saved.put(msgspec.structs.replace(old, record_price=order.record_price, reached=True, note=why))
        if self._pauses.in_a_row(order.key) == 0:
            what = "was refused" if refused else "may have arrived; asking"
            text = f"{order_text(old)}: to move it to {plain_number(order.record_price)} {what}: {why}"
            text = text if order.trigger else f"{order_text(order)} in the place of its stop {what}: {why}"
            self._tell("broker", text)

    async def _fitted(self, order: Order) -> Order:
        """An order as its market takes it, and as far as the account allows it."""
        order = await self._rules.fitted(order, self._signals[order.key])
        return order if order.done else await self._allowed(order)

    async def _allowed(self, order: Order) -> Order:
        return order if self._ledger is None else await self._ledger.allowed(order, self._saved.address)

    def _wait_to_place(self, order: Order, error: Exception) -> None:
        """Have an order wait that did not leave, or surely came to nothing, and is to leave later."""
        if self._pauses.in_a_row(order.key) == 0:
            self._tell("broker", f"{order_text(order)} waits, it is not sent: {named_error(error)}")
        self._change(order, status="intended", note=named_error(error))

    def _sent_at(self, order: Order) -> int:
        """The moment (UTC ms) from which on an order that is sent now may fill."""
        now = order.created_at if self._now is None else self._now()
        return now if now > self._late_after(order.created_at) else order.created_at

    async def cancel(self, order: Order) -> None:
        """Cancel an order, and learn what it has filled."""
        try:
            report = await answered(self._broker.cancel(order.client_id, order.symbol), self._answer_seconds)
        except Exception as error:  # noqa: BLE001
            self._tell("broker", f"{order_text(order)} may not be cancelled ({named_error(error)}); asking")
            await self._query(order, cancelled_here=True)
            return
        if getattr(report, "status", "") != "cancelled" and not fills_more(self._reports.known(order), report):
            self._reports.apply(order, report, cancelled_here=True)
            return
        # What was filled before it arrived may be missing in that answer, and what it fills may be too much.
        try:
            final = await self._report_on(order)
        except Exception as error:  # noqa: BLE001
            self._report_unanswered(order, error)
            return  # it is cancelled again: what it filled is not known
        if final is None:
            await self._is_unknown(order)
            return
        self.unknown_answers.forget(order.client_id)
        self._reports.apply(order, final, cancelled_here=True)
        known = self._reports.known(order)
        if known.done and fills_more(known, report):
            said, counted = plain_number(report.filled_quantity), plain_number(known.filled_quantity)
            text = f"the answer to its cancelling has {said} filled, and the broker's report of it {counted}"
            counts = f"{said if order.reduces_only else counted} counts; see what {self._broker.name} holds"
            self._tell("broker", f"{order_text(order)}: {text}; {counts}")
            if order.reduces_only:  # it is not to be closed twice
                self._reports.apply(order, report, cancelled_here=True)

    async def _query(self, order: Order, *, cancelled_here: bool = False) -> None:
        self.to_look_at.discard(order.client_id)
        try:
            report = await self._report_on(order)
        except Exception as error:  # noqa: BLE001
            self._report_unanswered(order, error)
            return
        if report is not None:
            self.unknown_answers.forget(order.client_id)
            self._reports.apply(order, report, cancelled_here=cancelled_here)
            self._reports.tell_note(order, report)
            return
        await self._is_unknown(order)

    async def _report_on(self, order: Order) -> Report | None:
        seconds = self._answer_seconds
        return await report_on(self._broker, order, answer_seconds=seconds, now=self._clock())

    async def _is_unknown(self, order: Order) -> None:
        """Note that the broker does not know an order; said often, it is lost."""
        self._check.has_answered(order)
        if order.done:
            self.still_lost.add(order.client_id)
            return
        denied = self.unknown_answers.count(order.client_id, order.key)
        enough = self._denials_of_stop if order.trigger is not None else self._denials_until_lost
        lost = denied >= enough and not order.in_doubt  # once it had filled it, and more
        if lost and await self._turns_up(order):
            return
        if lost:
            self.unknown_answers.forget(order.client_id)
            self._change(order, status="lost", note="the broker has no such order")
            self._pauses.forget(order.key)  # it is settled: what follows has not been waited for yet
        elif order.status != "unknown":
            self._change(order, status="unknown", note=order.note)

    async def _turns_up(self, order: Order) -> bool:
        """Whether an order that the broker denies is there all the same, or nobody knows."""
        try:
            found = await turns_up(self._broker, order, answer_seconds=self._answer_seconds)
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it did not answer
            self._report_unanswered(order, error)
            return True
        if found is not None:
            self._reports.apply(order, found)
        return found is not None

    def _report_unanswered(self, order: Order, error: Exception) -> None:
        if self._pauses.in_a_row(order.key) == 0 and order.client_id not in self._check.unconfirmed:
            text = f"{order_text(order)}: the broker did not say what became of it: {named_error(error)}"
            self._tell("broker", text)

    def _change(self, order: Order, *, status: OrderStatus, note: str, reached: bool = False) -> None:
        self._saved.put(msgspec.structs.replace(self._reports.known(order), status=status, note=note, reached=reached))
