"""Where the orders at a broker differ from the record: told once, and why nothing new is opened."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from ..domain.broker_account import Abilities
from ..domain.broker_orders_and_ids import Order, closed_beyond, finished, given_up, left_open, order_text
from ..domain.formatting import plain_number
from ..domain.order_actions import Attempt, Query
from ..domain.protective_orders import is_bare, is_given_up, protective_orders, refused_here, sold_there
from ..domain.quantity_of_partial_closes import by_number, part_given_up, rounded_part, sold_beyond, taken_by_hand
from ..domain.sent_orders_reconciled_at_restart import cut_fills, differences, double_fills
from ..domain.signal import SignalKey
from ..ports import Broker
from .broker_asked_at_restart import BrokerCheck
from .order_pauses import Pauses
from .reports_believed import Reports
from .requests_to_broker import Requests
from .saved_orders import SavedOrders


class AgainstRecord:
    """Compares the orders of one strategy on one symbol with the record.

    Parameters
    ----------
    broker, saved, reports, requests, check, pauses
        Of the orders; see :class:`bknb.live.orders_sent_to_broker.OrderDesk`.
    able
        What the broker can do, where stops rest there.
    max_unknown_answers
        How many pauses in a row are one too many.
    tell
        Called with a kind and a sentence about each difference.

    Attributes
    ----------
    stopped
        For how many minutes the record has had open what its stop at the broker has sold, by signal.
    """

    def __init__(
        self,
        broker: Broker,
        saved: SavedOrders,
        reports: Reports,
        requests: Requests,
        check: BrokerCheck,
        pauses: Pauses,
        *,
        able: Abilities | None,
        max_unknown_answers: int,
        tell: Callable[[str, str], object],
    ) -> None:
        self.stopped: dict[SignalKey, int] = {}
        self._broker, self._saved, self._signals = broker, saved, saved.signals
        self._reports, self._requests, self._check, self._pauses = reports, requests, check, pauses
        self._able, self._max_unknown_answers, self._tell = able, max_unknown_answers, tell
        self._reported: dict[SignalKey, set[str]] = {}
        self._told_rounding = False

    def begin(self) -> None:
        """The orders were read: what was told of them by earlier processes is not told again."""
        self._told_rounding = any(order.reported and order.number for order in self._saved.orders)

    def forget_over(self) -> None:
        """Forget what was told of signals whose orders are forgotten."""
        self._reported = {key: reported for key, reported in self._reported.items() if key in self._signals}

    def look(self) -> None:
        """A minute has closed: count those in which the record has open what its stop at the broker has sold."""
        open_here = [key for key, orders in self._signals.items() if orders[0].ended_at is None and sold_there(orders)]
        self.stopped = {key: self.stopped.get(key, 0) + 1 for key in open_here}

    def is_unprotected(self, orders: Sequence[Order]) -> bool:
        """Whether something of a signal is held for which no stop rests at the broker, and none will."""
        return self._able is not None and (is_given_up(orders) or is_bare(orders)) and left_open(orders) > 0.0

    def of(self, orders: Sequence[Order]) -> str:
        """Why nothing may be opened because of the orders of a signal, as a sentence; empty when nothing is wrong."""
        of = f"{self._saved.address[1]} of {orders[0].signal_id!r}"
        for order in orders:
            if problem := self._reports.impossible.get(order.client_id):
                return f"{order_text(order)}: its report cannot be right: {problem}"
            if problem := self._check.problem(order):
                return problem
        if given_up(orders):
            return f"{plain_number(left_open(orders))} {of} are open and the record ended"
        if beyond := closed_beyond(orders):
            return f"{plain_number(beyond)} {of} were closed beyond what was open"
        for part in by_number(orders):
            if part_given_up(part):
                return f"{order_text(part[-1])} could not be carried out; more is held than the record says"
            if orders[0].ended_at is None and sold_beyond(part):
                return f"{order_text(part[-1])}: more was closed than was to be; less is held than the record says"
        if problem := self._of_stops(orders, of):
            return problem
        candles = max(self._reports.unfilled.get(order.client_id, (0, 0))[1] for order in orders)
        hangs = max(self._pauses.in_a_row(orders[0].key), candles) >= self._max_unknown_answers
        return self._hanging_text(orders) if hangs else ""

    def _of_stops(self, orders: Sequence[Order], of: str) -> str:
        """The same because of what protects a position, or was taken of it; ``of`` names it."""
        if self.is_unprotected(orders):
            stop = next(each for each in reversed(protective_orders(orders)) if each.done)
            why = stop.note or stop.status
            return f"{of}: its stop does not rest at {self._broker.name}: {why}; it is watched here alone"
        if orders[0].ended_at is None and (by_hand := taken_by_hand(orders)):
            how = next(order.note for order in reversed(orders) if order.purpose == "manual")
            return f"{plain_number(by_hand)} {of} were {how}; the record has them open"
        if self._able is not None and orders[0].ended_at is None and refused_here(orders) and left_open(orders):
            why = next(each.note for each in reversed(orders) if each.replaces and each.status == "rejected")
            level = plain_number(orders[0].stop or 0.0)
            return f"{of}: its stop does not move to {level} at {self._broker.name}: {why}"
        if orders[0].ended_at is None and self.stopped.get(orders[0].key):
            by_stop = any(order.filled_quantity for order in protective_orders(orders))
            by = "stop" if by_stop else "target"
            sold = plain_number(sold_there(orders))
            return f"{sold} {of} were sold by its {by} at {self._broker.name}; the record has it open"
        return ""

    def _hanging_text(self, orders: Sequence[Order]) -> str:
        """The order of a signal that comes to no end, as a sentence."""
        for order in orders:
            if not order.done and (order.kind == "market" or order.opened_at is not None or _is_over(orders)):
                return f"{order_text(order)} is {order.status}, however often the broker is asked"
        unanswered = self.unanswered(list(orders))
        if unanswered is not None:
            return f"{order_text(unanswered.order)}: the broker does not say what became of it"
        return f"{order_text(orders[-1])} is {orders[-1].status}, and another one is tried"

    def tell_differences(self, key: SignalKey) -> None:
        """Report where the broker differs from the record, once nothing is due for a signal; note that it is over."""
        orders = self._signals[key]
        reported = self.tell(key, differences(orders))
        self._tell_rounding(orders)
        if finished(orders):
            if reported and not orders[0].reported:
                self._saved.put(msgspec.structs.replace(orders[0], reported=True))
            self._saved.over.add(key)

    def tell(self, key: SignalKey, found: Iterable[str]) -> set[str]:
        """Report where the broker differs from the record, each once; returns all that was reported of a signal."""
        orders = self._signals[key]
        reported = self._reported.setdefault(key, set(differences(orders)) if orders[0].reported else set())
        by_hand = f". {self._saved.put_right(self._broker.name)}" if given_up(orders) or closed_beyond(orders) else ""
        for difference in found:
            if difference not in reported:
                reported.add(difference)
                kinds = {"double_fill": double_fills, "cut_fill": cut_fills}
                kind = next((kind for kind, found_by in kinds.items() if difference in found_by(orders)), "broker")
                self._tell(kind, f"{difference}{by_hand}")
        return reported

    def _tell_rounding(self, orders: list[Order]) -> None:
        """Tell once in a run that the market rounds parts and adds."""
        rounded = rounded_part(orders)
        if rounded is None or self._told_rounding:
            return
        self._told_rounding = True
        self._saved.put(msgspec.structs.replace(rounded, reported=True))
        filled = f"{plain_number(rounded.filled_quantity)} of {plain_number(rounded.quantity)} filled"
        text = "the market rounds quantities; what is left over is closed with the rest"
        self._tell("broker", f"{order_text(rounded)}: {filled}: {text}")

    def unanswered(self, orders: list[Order], tried: Collection[Attempt] = ()) -> Query | None:
        """The question about an order the broker did not answer at the start, or about a lost one of what is over.

        One that turns up after all is known soon; see also :class:`bknb.live.requests_to_broker.Requests`.
        """
        for order in orders:
            again = order.status == "lost" and orders[0].ended_at is not None
            unanswered = order.client_id in self._check.unconfirmed
            if (unanswered or (again and order.client_id not in self._requests.still_lost)) and (
                (Query, order.client_id) not in tried
            ):
                return Query(order)
        return None


def _is_over(orders: Sequence[Order]) -> bool:
    return orders[0].ended_at is not None
