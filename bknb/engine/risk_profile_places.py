"""The places of a risk profile: a candidate is checked and its place taken in one step, also under concurrency."""

from __future__ import annotations

import asyncio
import inspect
from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from ..domain.lifecycle import Reserve, Rules, Verdict
from ..domain.risk_request_and_verdict import (
    AccountMarks,
    ClosedBefore,
    ClosedPosition,
    Closes,
    Command,
    OpenPosition,
    Release,
    RiskRequest,
    closed_position,
    place_of,
)
from ..domain.signal import OpenSignal, ScheduledSignal, labels_of
from ..domain.signal_events import Cancelled, Closed, Event, Opened
from ..domain.text import error_text, readable
from ..errors import StateError
from ..log import log
from ..market.strategy_context import Context, current
from ..market.system_clock import limited_to
from .registry import Risk

if TYPE_CHECKING:
    from .leg_account import LegAccount
    from .verdicts_of_another_run import VerdictsOfAnotherRun

Place: TypeAlias = tuple[str, str, str]
"""Symbol, strategy and id of the signal that holds a place; ids alone may repeat between strategies."""
Listener: TypeAlias = Callable[[Event], None]
SavePlaces: TypeAlias = Callable[[tuple[OpenPosition, ...]], None]
"""Saves all places of a profile."""


def always() -> bool:
    """True: a run that nobody stops may always open something."""
    return True


class RiskPlaces:
    """The places taken in one risk profile, shared by every strategy that uses it.

    Parameters
    ----------
    risk
        The profile.
    taken
        Places that are taken already.
    save
        Called with all places after every change, before it takes effect; live writes them to disk.
    """

    def __init__(
        self,
        risk: Risk,
        taken: Iterable[OpenPosition] = (),
        save: SavePlaces | None = None,
    ) -> None:
        self.risk = risk
        self.places: dict[Place, OpenPosition] = {_key(place): place for place in taken}
        self._save_places = save
        self._one_at_a_time = asyncio.Lock()
        self._wait_seconds: float | None = None
        self.closed: list[ClosedPosition] | None = None  # in order, where a run tells of them
        self._noted: set[tuple[str, str, str, int]] = set()  # of live runs

    def use(self, risk: Risk, *, wait_seconds: float | None = None) -> None:
        """Replace the risk profile, the places stay; a candidate waits at most so long for others to be checked."""
        self.risk, self._wait_seconds = risk, wait_seconds

    async def ask(
        self, command: Reserve, *, may_open: Callable[[], bool] = always, marks: AccountMarks | None = None
    ) -> Verdict:
        """Ask every rule in order about a candidate, and take its place when all allow it.

        Where ``may_open`` says by then that the run opens nothing any more, no place is taken. ``marks`` are those of
        the account, where there is one.
        """
        candidate = command.candidate
        try:
            async with limited_to(self._wait_seconds):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            text = f"the rules of {self.risk.name!r} were busy with other candidates for {self._wait_seconds:g} s"
            return Verdict(allowed=False, note=text, open_positions=len(self.places))
        try:
            place = place_of(candidate, command.when)
            ended = (event.signal.id for event in command.earlier if isinstance(event, Cancelled))
            leg = candidate.symbol, candidate.strategy
            free = {_key(place), (*leg, command.ending), *((*leg, signal_id) for signal_id in ended)}
            if command.holder is not None:
                free.add((*leg, command.holder))
            others = self.others(free)
            request = RiskRequest(
                **labels_of(candidate),
                when=command.when,
                price=command.price,
                signal=candidate,
                open_positions=others,
                add=command.add,
                size=command.size,
                closed=self._closed_before(command),
                closes=self._closes(current.get()),
                **({} if marks is None else marks._asdict()),
            )
            note = await self._refusal(request)
            if note is None and not may_open():
                return Verdict(allowed=False, open_positions=len(others), stopped=True)
            if note is None and not command.add:
                if command.holder is None or command.fill is not None:  # else it competes for a place that is taken
                    self.take(place, instead_of=command.holder)
            elif note is None and (mine := self.places.get(_key(place))) is not None:  # who adds has its place
                self.take(msgspec.structs.replace(mine, size=command.size + command.add))
            await self._call_back("on_allowed" if note is None else "on_rejected", request)
        finally:
            self._one_at_a_time.release()
        return Verdict(note is None, readable(note or ""), len(others))

    def others(self, free: set[tuple[str, str, str | None]]) -> tuple[OpenPosition, ...]:
        """The places taken besides those that count as free for a candidate."""
        return tuple(taken for key, taken in self.places.items() if key not in free)

    @property
    def count(self) -> int:
        """How many are taken."""
        return len(self.places)

    def _closed_before(self, command: Reserve) -> ClosedBefore | None:
        """What was closed before a candidate: before the bar that fills it, where one does."""
        if (closed := self.closed) is None:
            return None
        count = len(closed)
        while command.fill is not None and count and closed[count - 1].known_at > command.when:
            count -= 1
        return ClosedBefore(closed, count)

    def _closes(self, context: Context | None) -> Closes | None:
        """The closes that a rule may look at where a strategy is asked; ``None``: nobody is."""
        if context is None:
            return None

        def closes(symbols: Sequence[str], interval: str, count: int) -> list[list[float]]:
            found: list[list[float]] = context.panel(symbols, interval, count, "common").close.T.tolist()
            return found

        return closes

    def tells(self, known_at: Callable[[int], int], then: Listener | None, account: LegAccount | None) -> Listener:
        """A listener that notes what is closed, and calls another one.

        ``known_at`` says when a bar that opens at a moment closes (both UTC ms).
        """
        if self.closed is None:
            self.closed = []
        closed = self.closed

        def heard(event: Event) -> None:
            if isinstance(event, Closed):
                money = None if account is None else account.money_of(event.signal)
                closed.append(closed_position(event, known_at(event.closed_at), money))
            if then is not None:
                then(event)

        return heard

    def note_closed(self, event: Closed, known_at: int, account: LegAccount | None = None) -> None:
        """Note what is closed, or was in an earlier process, once; ``known_at`` is when its bar closes (UTC ms)."""
        assert self.closed is not None  # whoever notes them has begun with none  # noqa: S101
        key = (event.symbol, event.strategy, event.signal.id, event.closed_at)
        if key not in self._noted:
            self._noted.add(key)
            row = closed_position(event, known_at, None if account is None else account.money_of(event.signal))
            insort(self.closed, row, key=lambda each: each.known_at)

    async def _refusal(self, request: RiskRequest) -> str | None:
        """The note of the first rule that refuses, or ``None``."""
        for rule in self.risk.validations:
            try:
                answer = rule.validate(request)
                if inspect.isawaitable(answer):
                    answer = await answer
            except Exception as error:  # noqa: BLE001 -- a rule refuses by raising whatever it likes
                answer = error_text(error) or type(error).__name__
            if isinstance(answer, str) and answer:
                return f"{rule.note}: {answer}" if rule.note else answer
            if answer is False:
                return rule.note or getattr(rule.validate, "__name__", "a rule") + " refused"
        return None

    async def _call_back(self, callback: str, request: RiskRequest) -> None:
        function = self.risk.callbacks.get(callback)
        if function is None:
            return
        try:
            answer = function(request)
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:  # noqa: BLE001 -- a callback never stops a run
            log.warning("callback %s of risk profile %r failed: %r", callback, self.risk.name, error)

    def has(self, place: OpenPosition) -> bool:
        """Whether the signal of a place has one."""
        return _key(place) in self.places

    def take(self, place: OpenPosition, *, instead_of: str | None = None) -> None:
        """Take a place, or have that of another signal; when it cannot be saved, the places stay as they were."""
        before = dict(self.places)
        if instead_of is not None:
            self.places.pop((place.symbol, place.strategy, instead_of), None)
        self.places[_key(place)] = place
        try:
            self._save()
        except BaseException:
            self.places = before
            raise

    def release(
        self, symbol: str, strategy: str, signal_id: str, heir: OpenSignal | ScheduledSignal | None = None
    ) -> None:
        """Give a place back, or hand it over to an heir; one that is not taken is no error.

        It may have been given back before a restart.
        """
        if (place := self.places.pop((symbol, strategy, signal_id), None)) is not None:
            if heir is not None:
                handed = place_of(heir, place.since)
                self.places[_key(handed)] = handed
            self._save()

    def opened(self, signal: OpenSignal) -> None:
        """Note that a signal which was ordered when it took its place has opened, and at which prices."""
        place = self.places.get((signal.symbol, signal.strategy, signal.id))
        if place is not None and (opened := place_of(signal, place.since, size=place.size)) != place:
            self.take(opened)

    def _save(self) -> None:
        if self._save_places is not None:
            self._save_places(tuple(self.places.values()))


def _key(place: OpenPosition) -> Place:
    return place.symbol, place.strategy, place.signal_id


def change_places(
    places: RiskPlaces | LegAccount | VerdictsOfAnotherRun,
    rules: Rules,
    commands: Iterable[Command],
    events: Iterable[Event],
    failed: Callable[[StateError], object],
) -> None:
    """Give places back or hand them on, and note what has opened; ``failed`` is told what cannot be saved.

    A restart finds from the state of the signal what was not saved.
    """
    for event in events:  # before what ends: a position may end in the bar that fills its order
        if isinstance(event, Opened):
            try:
                places.opened(event.signal)
            except StateError as error:
                failed(error)
    for command in commands:
        if isinstance(command, Release):
            try:
                places.release(rules.symbol, rules.strategy, command.signal_id, command.heir)
            except StateError as error:
                failed(error)
