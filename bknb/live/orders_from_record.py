"""From the record of a live run to its orders: what cannot be worked out holds up nothing else, and is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from ..domain.broker_orders_and_ids import Order
from ..domain.broker_orders_of_events import (
    ORDER_EVENTS,
    KeptOf,
    OrderEvent,
    last_minute,
    not_cut,
    orders_after,
    orders_of_state,
)
from ..domain.formatting import plain_number
from ..domain.lifecycle import State, position_of
from ..domain.signal import OpenSignal, ScheduledSignal, key_of
from ..domain.signal_events import Cancelled, Closed, Event
from ..domain.text import named_error
from .order_quantity import Quantities
from .saved_orders import SavedOrders


class Following:
    """Has orders made of the events and states of a record, in their order.

    An event whose orders cannot be worked out is tried again with every state, and those of its signal behind it wait.
    The end of a signal does not wait: it needs nothing but the orders there are, and makes up for what is missing.

    Parameters
    ----------
    saved, quantities
        The orders there are, and how much is traded of a signal.
    save
        Called with the orders that are new or changed.
    on_problem
        Called with ``"broker"`` and a sentence, with every state behind which something could not be worked out.
    last_open
        When the last candle before the close of a session opens (UTC ms).
    kept_of
        How much of its entry a position has, in base currency, where that was cut when it filled.
    with_stops, with_targets
        Whether the stop of a position, and its targets, rest at the broker, too.
    """

    def __init__(
        self,
        saved: SavedOrders,
        quantities: Quantities,
        *,
        save: Callable[[tuple[Order, ...]], object],
        on_problem: Callable[[str, str], object],
        last_open: Callable[[int], int] = last_minute,
        kept_of: KeptOf = not_cut,
        with_stops: bool = False,
        with_targets: bool = False,
    ) -> None:
        self._kept_of = kept_of
        self._problems: dict[str | None, str] = {}  # by place; of events: None
        self._of_state = partial(orders_of_state, last_open=last_open, with_stops=with_stops, with_targets=with_targets)
        self._saved = saved
        self._quantities = quantities
        self._save = save
        self._on_problem = on_problem
        self._waiting: list[OrderEvent] = []

    @property
    def problem(self) -> str:
        """Why not all orders could be worked out, as a sentence that names what is open; empty when they were."""
        return next(iter(self._problems.values()), "")

    async def work_out(self, state: State | None, events: Iterable[Event]) -> list[Event]:
        """Ask how much is traded of the signals for which entry orders are about to be made.

        Orders of other signals are made before: what ends a position does not wait for the quantity of the next one.
        Returns the events that are left.
        """
        events = list(events)
        if self._quantities.fixed:
            return events
        found: list[OpenSignal | ScheduledSignal] = []

        def asked(signal: OpenSignal | ScheduledSignal) -> float:
            found.append(signal)
            return 1.0

        for event in (*self._waiting, *events):
            with suppress(Exception):  # told when its orders are made
                orders_after(event, self._saved.signals, asked, self._kept_of)
        with suppress(Exception):
            if state is not None:
                self._of_state(state, self._saved.signals, asked)
        keys = {key_of(signal) for signal in found}
        left: list[Event] = [
            event for event in events if isinstance(event, ORDER_EVENTS) and key_of(event.signal) in keys
        ]
        for event in events:
            if event not in left:
                self.event(event)
        held = None if state is None else position_of(state)
        if held is not None and key_of(held.signal) not in keys:
            self._made(partial(self._of_state, held, self._saved.signals, self._quantities.of))
        await self._quantities.work_out(found)
        return left

    def event(self, event: Event) -> None:
        """Have the orders made that an event leads to."""
        if not isinstance(event, ORDER_EVENTS):
            return
        over = isinstance(event, Closed | Cancelled)
        waits = not over and any(key_of(earlier.signal) == key_of(event.signal) for earlier in self._waiting)
        made = partial(orders_after, event, self._saved.signals, self._quantities.of, self._kept_of)
        if waits or not self._made(made):
            self._waiting.append(event)
        elif over:
            self._waiting = [one for one in self._waiting if key_of(one.signal) != key_of(event.signal)]

    def state(self, state: State | None, place: str = "") -> None:
        """Have the orders made that a state leads to, behind those of earlier events that could not be.

        ``place`` is the place of its strategy that it is of.
        """
        for earlier in (None, place):
            self._problems.pop(earlier, None)
        events, self._waiting = self._waiting, []
        for event in events:
            self.event(event)
        if state is not None:
            self._made(partial(self._of_state, state, self._saved.signals, self._quantities.of), place)
        if self.problem:
            self._on_problem("broker", self.problem)

    def _made(self, orders: Callable[[], tuple[Order, ...]], of: str | None = None) -> bool:
        try:
            self._save(orders())
        except Exception as error:  # noqa: BLE001 -- the record goes on
            symbol, position = self._saved.address[1], self._saved.position()
            left = f"; {plain_number(position)} {symbol} are open at the broker" if position else ""
            self._problems[of] = f"the orders of {symbol} could not be worked out: {named_error(error)}{left}"
            return False
        return True
