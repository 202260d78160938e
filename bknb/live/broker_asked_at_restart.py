"""What a start asks a broker: what became of each order that left, and which orders work there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable

from ..domain.broker_orders_and_ids import Order, Report, order_text, own_prefix
from ..domain.sent_orders_reconciled_at_restart import compared_with_open, to_query
from ..domain.text import named_error
from ..errors import BrokerError
from ..log import log
from ..market.system_clock import limited_to
from ..ports import Broker
from .lost_orders import report_on
from .order_pauses import pause_seconds
from .saved_orders import SavedOrders
from .user_code_in_threads import answered


class BrokerCheck:
    """What the broker has not answered since the start, and what it has that it should not have.

    Parameters
    ----------
    broker, saved
        Who is asked, and the orders that are known here.
    answer_seconds
        How long all questions of a start may take together; what was not answered by then is asked beside the run.
    sleep
        How to wait for so many seconds before asking again.
    on_problem
        Called with ``"broker"`` and a sentence.
    on_change
        Called when the broker has listed its open orders at last, and there is something to do about one.
    adopted
        The client ids of orders that were never saved here, and that were taken over.

    Attributes
    ----------
    unconfirmed
        Client ids of the orders it has not answered about.
    to_cancel
        Client ids of orders that are done here, and are to be cancelled at the broker.
    unknown
        Orders of ours that work there and were never saved here, as sentences.
    listed
        Whether it has listed its open orders.
    asked_again
        Whether it has, or was asked for them once more.
    """

    def __init__(
        self,
        broker: Broker,
        saved: SavedOrders,
        *,
        answer_seconds: float,
        sleep: Callable[[float], Awaitable[object]],
        on_problem: Callable[[str, str], object],
        on_change: Callable[[], object],
        adopted: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self.unconfirmed: set[str] = set()
        self.to_cancel: set[str] = set()
        self.unknown: tuple[str, ...] = ()
        self.listed = False
        self.asked_again = False
        self._broker = broker
        self._saved = saved
        self._symbol = saved.address[1]
        self._answer_seconds = answer_seconds
        self._sleep = sleep
        self._on_problem = on_problem
        self._on_change, self._adopted = on_change, adopted
        self._found: tuple[frozenset[str], list[Report]] | None = None  # done before the question; what works
        self._again: asyncio.Task[None] | None = None

    async def ask(self, check: Callable[[Order, Report], object], *, now: int = 0) -> dict[str, Report | None]:
        """The answers about orders that have left, by client id; ``check`` is called with each report.

        What the broker may have forgotten by now (UTC ms) is decided by its fills. The questions are asked one after
        the other.
        """
        reports: dict[str, Report | None] = {}
        asked = to_query(self._saved.orders)
        try:
            async with limited_to(self._answer_seconds):
                for order in asked:
                    await self._ask_about(order, reports, check, now)
                await self._list(told=False)
        except TimeoutError as error:
            for order in asked:
                if order.client_id not in reports and order.client_id not in self.unconfirmed:
                    self._unanswered(order, error)
            if self._found is None and not self.listed:
                self._not_listed(error)
        return reports

    def begin(self) -> None:
        """Compare the open orders with those known here, now or when the broker lists them."""
        if self._found is None or not self._compared():
            self._again = asyncio.create_task(self._ask_again())

    async def close(self) -> None:
        """Ask no more."""
        task, self._again = self._again, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def has_answered(self, order: Order) -> None:
        """Note that the broker has answered about an order."""
        self.unconfirmed.discard(order.client_id)
        self.to_cancel.discard(order.client_id)

    def forget_but(self, client_ids: set[str]) -> None:
        """Forget orders other than these: they are not known here any more."""
        self.unconfirmed &= client_ids
        self.to_cancel &= client_ids

    def problem(self, order: Order) -> str:
        """Why nothing is to be opened because of an order, as a sentence; empty when nothing speaks against it."""
        if order.client_id in self.to_cancel:
            return f"{order_text(order)} works at the broker although it was over for us"
        if order.client_id in self.unconfirmed:
            return f"{order_text(order)}: the broker has not said yet what became of it"
        return ""

    @property
    def unlisted(self) -> str:
        """Why nothing is to be opened whatever is known of the orders here, as a sentence; else empty."""
        if not self.listed:
            return f"{self._broker.name} has not listed its open orders on {self._symbol} yet"
        return next(iter(self.unknown), "")

    async def _ask_about(
        self, order: Order, reports: dict[str, Report | None], check: Callable[[Order, Report], object], now: int
    ) -> None:
        try:
            report = await report_on(self._broker, order, answer_seconds=self._answer_seconds, now=now)
            if report is not None:
                check(order, report)
            reports[order.client_id] = report
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises, it did not answer
            self._unanswered(order, error)

    def _unanswered(self, order: Order, error: Exception) -> None:
        self.unconfirmed.add(order.client_id)
        self._saved.over.discard(order.key)
        text = f"{order_text(order)}: the broker did not say what became of it: {named_error(error)}"
        self._on_problem("broker", text)

    async def _list(self, *, told: bool) -> None:
        """Ask for the open orders; those that were done before the question should not be among them."""
        done = frozenset(order.client_id for order in self._saved.orders if order.done)
        try:
            answer = await answered(self._broker.open_orders(self._symbol), self._answer_seconds)
            self._found = done, _reports(answer)
        except Exception as error:  # noqa: BLE001
            if not told:
                self._not_listed(error)

    def _not_listed(self, error: Exception) -> None:
        text = f"{self._broker.name} did not list its open orders on {self._symbol}: {named_error(error)}"
        self._on_problem("broker", f"{text}; it is asked again, and nothing is opened before")

    async def _ask_again(self) -> None:
        pauses = 0
        while not (self._found is not None and self._compared()):
            await self._pause(pause_seconds(pauses))
            pauses += 1
            await self._list(told=True)
            self.asked_again = True
        self._on_change()

    async def _pause(self, seconds: float) -> None:
        """Wait so long, by the given clock or, where that fails, by that of the system."""
        try:
            await answered(self._sleep(seconds), seconds + self._answer_seconds)
        except Exception as error:  # noqa: BLE001 -- whatever it raises, the broker is asked again
            log.warning("waiting before %s is asked again failed: %s", self._broker.name, named_error(error))
            await asyncio.sleep(seconds)

    def _compared(self) -> bool:
        """Compare the list; ``False``: it cannot be used, and is to be asked for again."""
        try:
            self._compare()
        except Exception as error:  # noqa: BLE001 -- a list that cannot be compared ends no run
            self._found, self.listed = None, False
            self._not_listed(error)
            return False
        return True

    def _compare(self) -> None:
        assert self._found is not None  # the broker has answered  # noqa: S101
        done, working = self._found
        prefix = own_prefix(*self._saved.address)
        found = compared_with_open(
            self._saved.orders, working, done_before=done, prefix=prefix, adopted=self._adopted()
        )
        self.listed, self.asked_again, self.unknown = True, True, found.unknown
        for order in found.again:
            (self.unconfirmed if order.status == "lost" else self.to_cancel).add(order.client_id)
            self._saved.over.discard(order.key)
        self._saved.put(*found.save)
        for problem in found.problems:
            self._on_problem("broker", problem)
        advice = f"Nothing new is opened. Cancel it at {self._broker.name}, then stop this run and start it again"
        for unknown in found.unknown:  # the saved orders of others are to stay
            self._on_problem("broker", f"{unknown}. {advice}")


def _reports(answer: object) -> list[Report]:
    """The orders in an answer that may be ours: those without a client id are of somebody else."""
    found = list(answer) if isinstance(answer, Iterable) else [answer]
    reports = [each for each in found if isinstance(each, Report)]
    if len(reports) == len(found):
        return [report for report in reports if _is_text(report.client_id)]
    raise BrokerError(f"open_orders gives a list of Reports, not {answer!r:.80}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)
