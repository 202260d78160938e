"""The orders of a leg that wait: how large each was granted, and what is reserved for it in the account."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from ..domain.costs import CostRequest
from ..domain.entry_timeout import ended_in_silence
from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.lifecycle import position_of, signals_of
from ..domain.quantity_or_lack_of_cash import SizedOrder
from ..domain.signal import ScheduledSignal
from ..domain.signal_events import AddCancelled, Cancelled, Closed, Event
from ..domain.states import Rules, State

if TYPE_CHECKING:
    from ..domain.risk_request_and_verdict import Reserve
    from .leg_exits import LegExits
    from .shared_account import SharedAccount


class LegOrders:
    """The sized orders of a leg, by the id of their signal and their number within its position: 0 is the entry.

    Of several entries one fills: for all of them as much is reserved as for the one that needs most.

    Parameters
    ----------
    shared, leg
        The account of all legs, and the name of this one in it.

    Attributes
    ----------
    rules
        Those by which its orders end where it is a live leg; ``None``: they are free once it has taken them back. So
        are those at a broker, which rest there until then.
    """

    def __init__(self, shared: SharedAccount, leg: str) -> None:
        self._shared, self._leg = shared, leg
        self._sized: dict[tuple[str, int], SizedOrder] = {}
        self._ended: set[tuple[str, int]] = set()  # the clock ended them, and the leg has not taken them back yet
        self.rules: Rules | None = None

    def __getitem__(self, key: tuple[str, int]) -> SizedOrder:
        return self._sized[key]

    def add(self, command: Reserve, sized: SizedOrder) -> None:
        """Take an order that was granted, and reserve what it needs."""
        key, candidate = _key_of(command), command.candidate
        self._sized[key] = sized
        self._shared.ledger = self._shared.ledger.reserve(self._name(key), sized.reserved)
        self._reserve_entries()
        for number, rung in enumerate(() if command.order else candidate.rungs, 1):
            share = rung.share / (candidate.part or 1.0)
            dearer = share * rung.price * sized.quantity / sized.money if sized.money else share
            self._sized[candidate.id, number] = part = SizedOrder(
                quantity=sized.quantity * share,
                money=sized.money * dearer,
                reserved=sized.reserved * dearer,
                scaled=sized.scaled,
                units=True,
            )
            self._shared.ledger = self._shared.ledger.reserve(self._name((candidate.id, number)), part.reserved)

    def rescale(self, signal_id: str, by: float) -> None:
        """Have the other parts of an entry be so many times as large: in units of what its first one bought."""
        for key in [key for key in self._sized if key[0] == signal_id and key[1]]:
            was = self._sized[key]
            self._sized[key] = now = was._replace(
                quantity=was.quantity * by, money=was.money * by, reserved=was.reserved * by
            )
            ledger = self._shared.ledger.release(self._name(key))
            self._shared.ledger = ledger.reserve(self._name(key), now.reserved)

    def drop_entry(self, signal: ScheduledSignal) -> None:
        """Take back an entry, with all its parts."""
        for number in range(len(signal.rungs) + 1):
            self.drop((signal.id, number))

    def get(self, key: tuple[str, int]) -> SizedOrder | None:
        """An order; ``None``: there is none."""
        return self._sized.get(key)

    @property
    def rows(self) -> tuple[tuple[str, int, SizedOrder], ...]:
        """All of them: the id of the signal, the number, and what was granted."""
        return tuple((signal_id, number, sized) for (signal_id, number), sized in self._sized.items())

    def take_up(self, rows: Iterable[tuple[str, int, SizedOrder]]) -> None:
        """Have these orders, for which the ledger has what is reserved."""
        self._sized = {(signal_id, number): sized for signal_id, number, sized in rows}

    def keep(self, waiting: Container[tuple[str, int]]) -> None:
        """Take back those that do not wait any more: a process ended before it had told what ended them."""
        for key in [key for key in self._sized if key not in waiting]:
            self.drop(key)

    def free_ended(self, state: State, *, known: int, before: int) -> None:
        """Free what is reserved for orders of a state that the clock ended before a moment (UTC ms), by its ``rules``.

        ``known`` is up to when its bars have come, UTC ms.
        """
        rules = self.rules
        if rules is None or not self._sized:
            return
        self._ended = ended_in_silence(state, rules, known=known, before=before)
        if self._ended:
            for key in self._ended:
                self._shared.ledger = self.released(self._shared.ledger, key)
            self._reserve_entries()

    def drop(self, key: tuple[str, int]) -> SizedOrder | None:
        """Take back an order, which is returned, and what is reserved for it; ``None``: there is none."""
        self._shared.ledger = self.released(self._shared.ledger, key)
        order = self._sized.pop(key, None)
        self._reserve_entries()
        return order

    def _reserve_entries(self) -> None:
        """Reserve what the entry needs that needs most, where there are several or there were."""
        entries = [key for key in self._sized if key[1] == 0 and key not in self._ended]
        if not entries or (len(entries) == 1 and self._name(entries[0]) in self._shared.ledger.reserved):
            return
        most = max(entries, key=lambda key: self._sized[key].reserved)
        ledger = self.without_entries(self._shared.ledger)
        self._shared.ledger = ledger.reserve(self._name(most), self._sized[most].reserved)

    def drop_all(self, signal_id: str) -> None:
        """Take back all orders of a signal."""
        for key in [key for key in self._sized if key[0] == signal_id]:
            self.drop(key)

    def released(self, ledger: Ledger, key: tuple[str, int]) -> Ledger:
        """A ledger without what is reserved for an order."""
        return ledger.release(self._name(key))

    def without_entries(self, ledger: Ledger) -> Ledger:
        """A ledger without what is reserved for entries."""
        for key in self._sized:
            if key[1] == 0:
                ledger = self.released(ledger, key)
        return ledger

    def all_released(self, ledger: Ledger) -> Ledger:
        """A ledger without what is reserved for any of them."""
        for key in self._sized:
            ledger = self.released(ledger, key)
        return ledger

    def after(self, ledger: Ledger, events: Iterable[Event], exits: LegExits) -> Ledger:
        """A ledger after events that have not been told: without what they closed, and took back.

        With a position end its adds, and what is reserved for them is free.
        """
        for event in events:
            if (left := exits.told(ledger, event)) is not None:
                ledger = ledger.apply(left).ledger
            if isinstance(event, Closed):
                for key in self._sized:
                    ledger = self.released(ledger, key) if key[0] == event.signal.id else ledger
            elif isinstance(event, Cancelled):
                for number in range(len(event.signal.rungs) + 1):
                    ledger = self.released(ledger, (event.signal.id, number))
            elif isinstance(event, AddCancelled):
                ledger = self.released(ledger, (event.signal.id, event.number))
        return ledger

    def worth_beside(self, asking: Reserve) -> float:
        """What the orders are worth, quote currency, but for the one that is asked about."""
        mine, waiting = _key_of(asking), [each for each in self._sized.items() if each[0] not in self._ended]
        entries = [sized.money for key, sized in waiting if key[1] == 0]
        adds = sum(sized.money for key, sized in waiting if key[1] and key != mine)
        competes = not mine[1] and (mine in self._sized or (asking.holder, 0) in self._sized)
        return adds + (0.0 if competes else max(entries, default=0.0))

    def _name(self, key: tuple[str, int]) -> str:
        return f"{self._leg} {key[0]} {key[1]}"


def first_part(command: Reserve, order: CostRequest | SizedOrder) -> float:
    """Which part of what an entry costs with all its parts its first one does, at the price of its order."""
    candidate = command.candidate
    if command.order is not None or not candidate.rungs:
        return 1.0
    price = order.price if isinstance(order, CostRequest) else order.money / order.quantity
    first = price * (candidate.part or 1.0)
    return first / (first + sum(rung.price * rung.share for rung in candidate.rungs))


def _key_of(command: Reserve) -> tuple[str, int]:
    return command.candidate.id, 0 if command.order is None else command.order.number


def waiting_in(state: State) -> set[tuple[str, int]]:
    """The orders of a state for which money is reserved: the id of the signal, and the number within its position."""
    held = position_of(state)
    adds = () if held is None or held.book is None else held.book.orders
    found = {(held.signal.id, order.number) for order in adds} if held is not None else set()
    entries = [signal for signal in signals_of(state) if isinstance(signal, ScheduledSignal)]
    return found | {(signal.id, number) for signal in entries for number in range(len(signal.rungs) + 1)}
