"""What a broker reports of orders: believed where it can be right, and saved."""

from __future__ import annotations

from collections.abc import Callable, Collection

import msgspec

from ..domain.broker_orders_and_ids import Order, Report, order_text
from ..domain.broker_reports import after_report, closed_in_doubt, closing_failure, failed_alike, report_problem
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.formatting import plain_number
from ..domain.signal import SignalKey
from ..ports import Broker, PaperMarket
from .broker_asked_at_restart import BrokerCheck
from .order_pauses import Pauses
from .saved_orders import SavedOrders
from .user_code_in_threads import MarketOutside


class Reports:
    """The reports of a broker on the orders of one strategy on one symbol.

    Parameters
    ----------
    broker, saved, check, pauses
        Who reports, the orders, what the broker has not answered since the start, and the pauses of signals.
    tell
        Called with ``"broker"`` and a sentence about a report that cannot be right, or that says what is to be known.

    Attributes
    ----------
    impossible
        By client id: why the last report of an order cannot be right.
    unfilled
        By client id: the newest candle (UTC ms) that did not fill an order although it should have, as a report behind
        it says, and how many did not in a row.
    """

    def __init__(
        self,
        broker: Broker,
        saved: SavedOrders,
        check: BrokerCheck,
        pauses: Pauses,
        tell: Callable[[str, str], object],
    ) -> None:
        self.impossible: dict[str, str] = {}
        self.unfilled: dict[str, tuple[int, int]] = {}
        self._broker, self._saved, self._signals = broker, saved, saved.signals
        self._check, self._pauses, self._tell = check, pauses, tell
        self._traded_at = 0  # when the newest candle opened that can fill an order, UTC ms
        self._told_impossible: dict[str, str] = {}  # by client id: what was told first since one was right
        self._seen: dict[str, tuple[float, float]] = {}  # by client id: lowest and highest price since it was ordered
        self._newest: tuple[float, ...] = ()  # the lowest and highest price of the newest minute
        self._noted: set[tuple[SignalKey, str]] = set()  # what was said of stops that rest, by signal

    def saw(self, minute: Minute) -> None:
        """Note the prices of a minute: what is reported is compared with them."""
        known = {order.client_id: self.market(order) for order in self._saved.orders if not order.done}
        self._newest = minute.low, minute.high
        self._traded_at = minute.t if minute.traded else self._traded_at
        self._seen = {each: (min(minute.low, *of), max(minute.high, *of)) for each, of in known.items()}

    def forget_but(self, known: Collection[str]) -> None:
        """Forget what was noted of orders that are not among these client ids."""
        self.impossible = {each: why for each, why in self.impossible.items() if each in known}
        self._told_impossible = {each: text for each, text in self._told_impossible.items() if each in known}
        self.unfilled = {each: what for each, what in self.unfilled.items() if each in known}
        self._noted = {(key, note) for key, note in self._noted if key in self._signals}

    def tell_note(self, stop: Order, report: Report) -> None:
        """Tell what a broker says of a stop that rests, once: what is wrong with its account."""
        note = getattr(report, "note", "")
        is_new = note and note != stop.note and (stop.key, note) not in self._noted
        if stop.purpose == "protect" and is_new and self.known(stop).working:
            self._noted.add((stop.key, note))
            self._tell("broker", f"{order_text(stop)} rests, but {note}")

    def apply(self, order: Order, report: Report, *, cancelled_here: bool = False) -> None:
        """Save what a report says of an order, where it can be right; of one ``cancelled_here`` no end is told."""
        order = self.known(order)
        if not self.believes(order, report):
            self.unfilled.pop(order.client_id, None)
            in_doubt = closed_in_doubt(order, report)
            if order.status == "sent" or in_doubt != order.in_doubt:
                note = self.impossible[order.client_id]
                self._saved.put(msgspec.structs.replace(order, status="unknown", note=note, in_doubt=in_doubt))
            return
        after = after_report(order, report)
        if after.trigger != order.trigger and order.working:
            text = f"rests at {plain_number(after.trigger or 0.0)}, where nobody here has moved it; it is moved back"
            self._tell("broker", f"{order_text(order)} {text}")
        self._count_unfilled(after)
        if after != order:
            if order.status == "lost":
                self._tell("broker", f"{order_text(after)} was lost and has turned up: {after.status}")
            if after.filled_quantity > order.filled_quantity or not (after.attempt > 1 or _failed(after)):
                self._pauses.forget(order.key)
            self._saved.put(after)
            failure = "" if cancelled_here and after.status == "cancelled" else closing_failure(order, after)
            if failure and not failed_alike(after, self._signals[order.key]):
                self._tell("broker", failure)

    def _count_unfilled(self, order: Order) -> None:
        """Count the candles that should have filled an order, and did not."""
        candle, count = self.unfilled.pop(order.client_id, (0, 0))
        if self.next_candle_fills(order):
            is_new = self._traded_at > candle and self._traded_at >= order.created_at  # it fills from then on
            self.unfilled[order.client_id] = max(candle, self._traded_at), count + is_new

    def believes(self, order: Order, report: Report) -> bool:
        """Whether a report can be right; one that cannot be is reported once, and nothing is opened until one can."""
        self._check.has_answered(order)
        problem = report_problem(order, report, self.market(order), orders=self._signals[order.key])
        known = self.impossible.pop(order.client_id, "")
        if not problem:
            self._told_impossible.pop(order.client_id, None)
            return True
        self.impossible[order.client_id] = problem
        if problem != known:
            what = f"{order_text(order)}: its report cannot be right: {problem}"
            kept = "what the broker fills of it is not closed, while the record is watched on"
            text = f"{what}; {kept}. {self._saved.put_right(self._broker.name)}"
            # told once: others that follow it are counted
            self._tell("broker", self._told_impossible.setdefault(order.client_id, text))
        return False

    def market(self, order: Order) -> tuple[float, ...]:
        """The lowest and highest price of the market since an order, as far as it is known."""
        return self._seen.get(order.client_id) or self._newest or (order.record_price,)

    def known(self, order: Order) -> Order:
        """The order as it is now: the run may have ended its signal while the broker was working on it."""
        return next((now for now in self._signals[order.key] if now.client_id == order.client_id), order)

    def next_candle_fills(self, order: Order) -> bool:
        """Whether only a candle, which wakes us, can change an order: it need not be asked about before."""
        unfilled = order.status == "accepted" and order.kind == "market"
        return unfilled and isinstance(self._broker, PaperMarket | MarketOutside)


def _failed(order: Order) -> bool:
    return order.status in ("rejected", "cancelled")
