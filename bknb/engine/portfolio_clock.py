"""The clock of a portfolio: which of its legs goes next, and the places of risk profiles that they share.

A leg is one strategy on one symbol. Each walks over its own bars, and waits for its turn before everything that others
can notice. Turns are given by moment; within a moment by phase: what happened in bars that have closed by then, what
the clock ends, ``manage``, questions; within a phase in the order in which the legs were declared. Signals of one
moment may go by their score instead, once all questions of it are answered. Legs that wait for a later moment cost
nothing.
"""

from __future__ import annotations

import asyncio
import math
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from heapq import heappop, heappush, heapreplace
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from ..domain.risk_request_and_verdict import Closes, OpenPosition
from .plan import PAUSE_POLL_SECONDS
from .registry import Risk
from .risk_profile_places import RiskPlaces, SavePlaces

if TYPE_CHECKING:
    from ..domain.signal import OpenSignal, ScheduledSignal
    from ..market.strategy_context import Context
    from ..market.window import Window

_BAR, _ENDS, _MANAGE, _QUESTION, _ANSWER, _DATA_END = range(6)
_WAITS: Final = object()  # what a leg yields that waits for its turn
_GRANTED, _LOOK_AGAIN = True, False  # what it gets
AskInTurn: TypeAlias = Callable[[int], int | None]
"""Asks a leg at a moment (UTC ms), and returns that of its next question; ``None``: it goes on itself with this one."""
TurnKey: TypeAlias = tuple[int, int, float, int, int]
"""Moment (UTC ms), phase, rank within it, number of the leg, and since when (UTC ms) given back places count as taken
for it."""


class Turns(Protocol):
    """Gives turns to the legs of a portfolio: over history, or live as their bars come.

    Attributes
    ----------
    moment
        The moment that it has come to, UTC ms.
    since
        Places that were given back later than this (UTC ms) count as taken for the leg whose turn it is: inside a bar
        it sees those of the bar's start.
    by_score
        Whether signals of one moment go by their score, and not in the order of their legs.
    windows
        The candles of each symbol that a leg has.
    """

    moment: int
    since: int
    by_score: bool
    windows: dict[str, Window]

    def turn(self, key: TurnKey) -> Awaitable[bool]:
        """Wait for a turn, and return whether it is given."""

    def question(self, key: TurnKey, ask: AskInTurn | None) -> Awaitable[tuple[bool, int]]:
        """Wait for the turn for a question; returns whether it is given, and the moment of the question (UTC ms)."""

    def places(self, risk: Risk) -> RiskPlaces:
        """The places of a risk profile, shared by all legs."""


class LegTurn:
    """The turns of one leg: each method waits for one, and returns whether the leg has it.

    ``False``: something was stopped meanwhile, and the leg has to look again at what it does next.

    Attributes
    ----------
    clock, order
        The clock that gives them, and the number of the leg, from 0 in declared order.
    """

    __slots__ = ("clock", "order")

    def __init__(self, clock: Turns, order: int) -> None:
        self.clock, self.order = clock, order

    def bar(self, opens: int, closes: int) -> Awaitable[bool]:
        """The turn for what happened in a bar, whose open and close are moments (UTC ms)."""
        return self.clock.turn((closes, _BAR, 0.0, self.order, opens))

    def ends(self, when: int) -> Awaitable[bool]:
        """The turn for what the clock ends at a moment (UTC ms)."""
        return self.clock.turn((when, _ENDS, 0.0, self.order, when))

    def manage(self, when: int) -> Awaitable[bool]:
        """The turn for ``manage`` at a moment (UTC ms)."""
        return self.clock.turn((when, _MANAGE, 0.0, self.order, when))

    def question(self, when: int, ask: AskInTurn | None) -> Awaitable[tuple[bool, int]]:
        """The turn for a question, from that at a moment (UTC ms) on, and the moment it is for.

        With ``ask`` only for a question that leads to something: the clock asks the others.
        """
        return self.clock.question((when, _QUESTION, 0.0, self.order, when), ask)

    @property
    def by_score(self) -> bool:
        """Whether signals of one moment go by their score."""
        return self.clock.by_score

    async def signal(self, when: int, score: float | None) -> None:
        """Wait for the turn of a signal of a moment (UTC ms): once all of it are known, the highest score first."""
        rank = -score if isinstance(score, int | float) and math.isfinite(score) else math.inf
        key = (when, _ANSWER, rank, self.order, when)
        while not await self.clock.turn(key):
            pass  # a stop does not take back an answer: whoever goes on with it knows that nothing is opened

    def data_end(self, when: int) -> Awaitable[bool]:
        """The turn for the end of its data, the last bar of which closed at a moment (UTC ms)."""
        return self.clock.turn((when, _DATA_END, 0.0, self.order, when))

    @property
    def now(self) -> int:
        """The moment that the portfolio has come to, UTC ms."""
        return self.clock.moment

    def places(self, risk: Risk) -> RiskPlaces:
        """The places of a risk profile; all legs that have it share them."""
        return self.clock.places(risk)


class PortfolioClock:
    """Lets one leg of a portfolio go at a time, in the order of moments, phases and legs.

    Parameters
    ----------
    longest
        The length of the longest base bars of its legs, ms.
    on_pause
        Called with the moment of a question (UTC ms) before which the portfolio was paused, once it goes on.
    by_score
        Whether signals of one moment go by their score, and not in the order of their legs.

    Attributes
    ----------
    moment, since, by_score, windows
        As of :class:`Turns`.
    paused
        Whether no further question is asked.
    turn_of
        What the leg whose turn it is waited for.
    raised
        The number of the leg that raised an error.
    before
        Called with each moment (UTC ms) before it comes to it; returns whether this changed what legs wait for.
    """

    def __init__(self, *, longest: int, on_pause: Callable[[int], object], by_score: bool = False) -> None:
        self.moment = self.since = 0
        self.turn_of: TurnKey = (0, 0, 0.0, 0, 0)
        self.paused = False
        self.raised: int | None = None
        self._longest, self._on_pause, self.by_score = longest, on_pause, by_score
        self._queue: list[TurnKey] = []
        self._legs: list[Coroutine[Any, Any, None] | None] = []
        self._asks: dict[int, AskInTurn | None] = {}  # of legs that wait for a question
        self._waited: dict[int, int] = {}  # the moments (UTC ms) that legs waited for before they look again
        self._all_wait = True  # until every leg has said what it waits for, none has its turn
        self._look_again = False
        self.windows: dict[str, Window] = {}
        self.before: Callable[[int], bool] | None = None
        self._places: dict[str, SharedPlaces] = {}

    def leg(self, order: int) -> LegTurn:
        """The turns of the leg with this number, from 0 in declared order."""
        return LegTurn(self, order)

    def look_again(self) -> None:
        """Have every leg look again at what it does next, because it was told to stop. From any thread."""
        self._look_again = True

    def places(self, risk: Risk) -> RiskPlaces:
        """The places of a risk profile, shared by all legs."""
        return self._places.setdefault(risk.name, SharedPlaces(risk, self, longest=self._longest))

    @types.coroutine
    def turn(self, key: TurnKey) -> Generator[object, bool, bool]:
        """Wait for a turn, and return whether it is given; nothing is waited for where it is the next of all."""
        queue = self._queue
        waits = self._all_wait or self._look_again or self.paused or (queue and queue[0] < key)
        if waits or (self.before is not None and self._changes(key[0])):
            heappush(queue, key)
            return (yield _WAITS)
        self.turn_of = key
        self.moment, _, _, _, self.since = key
        return True

    def _changes(self, moment: int) -> bool:
        """Whether something changes what legs wait for before a moment (UTC ms); then all look again."""
        assert self.before is not None  # whoever asks looked  # noqa: S101
        self._look_again = self._look_again or self.before(moment)
        return self._look_again

    @types.coroutine
    def question(self, key: TurnKey, ask: AskInTurn | None) -> Generator[object, bool, tuple[bool, int]]:
        """Wait for the turn for a question; returns whether it is given, and the moment of the question (UTC ms)."""
        order = key[3]
        self._asks[order] = ask
        heappush(self._queue, key)
        is_given = yield _WAITS
        return is_given, self.moment if is_given else self._waited[order]

    async def run(self, legs: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Run the legs, given in declared order, to the end of all.

        Each goes to its first turn, with its candles loaded, before one of them has it. When a leg raises, the others
        are cancelled.
        """
        self._legs = [*legs]
        try:
            await self._to_the_end()
        finally:
            for order, leg in enumerate(self._legs):
                if leg is not None:
                    await self._cancel(order)
            self._asks.clear()  # they hold the candles of their legs

    @types.coroutine
    def _to_the_end(self) -> Generator[Any, Any, None]:
        yield from self._all_go(range(len(self._legs)), None)
        queue, asks = self._queue, self._asks
        while queue:
            if self._look_again or (self.before is not None and self._changes(queue[0][0])):
                self._look_again = False
                self._waited = {key[3]: key[0] for key in queue}
                waiting = sorted(self._waited)
                queue.clear()
                yield from self._all_go(waiting, _LOOK_AGAIN)
            elif self.paused and queue[0][1] == _QUESTION:
                yield from self._hold(queue[0][0])
            else:
                self.turn_of = queue[0]
                self.moment, phase, _, order, self.since = queue[0]
                if phase == _QUESTION and (ask := asks[order]) is not None:
                    following = ask(self.moment)
                    if following is not None:
                        heapreplace(queue, (following, _QUESTION, 0.0, order, following))
                        continue
                heappop(queue)
                if (awaited := self._go(order, _GRANTED)) is not _WAITS:
                    yield from self._await(order, awaited)

    def _all_go(self, orders: Iterable[int], answer: object) -> Generator[Any, Any, None]:
        """Let legs go, one after the other, until each waits for a turn: none has it before all do."""
        self._all_wait = True
        for order in orders:
            if (awaited := self._go(order, answer)) is not _WAITS:
                yield from self._await(order, awaited)
        self._all_wait = False

    def _go(self, order: int, answer: object) -> object:
        """Let a leg go, or raise an error in it; returns what it awaits then, ``_WAITS`` also where it is done."""
        leg = self._legs[order]
        assert leg is not None  # only a leg that is not done waits  # noqa: S101
        try:
            return leg.throw(answer) if isinstance(answer, BaseException) else leg.send(answer)
        except StopIteration:
            self._legs[order] = None
            return _WAITS
        except BaseException:
            self._legs[order] = None
            if self.raised is None:
                self.raised = order
            raise

    def _await(self, order: int, awaited: object) -> Generator[Any, Any, None]:
        """Await what a leg awaits, as if its task were this one, until it waits for a turn or is done."""
        answer: object
        while awaited is not _WAITS:
            try:
                answer = yield awaited
            except BaseException as error:  # noqa: BLE001 -- for the leg
                answer = error
            awaited = self._go(order, answer)

    @types.coroutine
    def _cancel(self, order: int) -> Generator[Any, Any, None]:
        """Cancel a leg that waits for a turn, or has not begun."""
        with suppress(asyncio.CancelledError):
            yield from self._await(order, self._go(order, asyncio.CancelledError()))

    def _hold(self, when: int) -> Generator[Any, Any, None]:
        """Wait before a question until the portfolio is no longer paused, or something is stopped."""
        while self.paused and not self._look_again:
            yield from asyncio.sleep(PAUSE_POLL_SECONDS).__await__()
        self._on_pause(when)


class SharedPlaces(RiskPlaces):
    """The places of a risk profile that legs of a portfolio share.

    A leg sees those of the start of its bar: what was given back since counts as taken. That is never its own: what
    ends in the bar in which its next entry fills gives its place back after that entry was asked about.

    Live, runs beside the portfolio may share its places: what they give back is free at once.
    """

    def __init__(
        self,
        risk: Risk,
        clock: Turns,
        *,
        longest: int,
        taken: Iterable[OpenPosition] = (),
        save: SavePlaces | None = None,
    ) -> None:
        super().__init__(risk, taken, save)
        self._clock, self._longest = clock, longest
        self._freed: list[tuple[int, OpenPosition]] = []  # since when (UTC ms) each is free

    def release(
        self, symbol: str, strategy: str, signal_id: str, heir: OpenSignal | ScheduledSignal | None = None
    ) -> None:
        """Give a place back, or to an heir; for other legs it is free from the close of the bar on."""
        key, now = (symbol, strategy, signal_id), self._clock.moment
        if heir is None and (place := self.places.get(key)) is not None and symbol in self._clock.windows:
            self._freed = [known for known in self._freed if known[0] > now - self._longest]
            self._freed.append((now, place))
        super().release(symbol, strategy, signal_id, heir)

    def others(self, free: set[tuple[str, str, str | None]]) -> tuple[OpenPosition, ...]:
        """The places taken, now or at the start of the bar, besides those that count as free."""
        since = self._clock.since
        return (*super().others(free), *(place for at, place in self._freed if at > since))

    def _closes(self, context: Context | None) -> Closes | None:
        """The closes of symbols, each from the candles of its own leg; of others as of a run alone."""
        windows, alone = self._clock.windows, super()._closes(context)

        def closes(symbols: Sequence[str], interval: str, count: int) -> list[list[float]]:
            assert context is not None  # a leg asks  # noqa: S101
            assert alone is not None  # noqa: S101
            if not windows.keys() >= set(symbols):
                return alone(symbols, interval, count)
            from .common_closes import common_closes  # few rules ask for them

            own = {symbol: windows[symbol] for symbol in symbols}
            return common_closes(own, interval, count, context.when_ms)

        return closes
