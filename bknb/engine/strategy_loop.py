"""One strategy on one symbol: asks it, feeds the lifecycle, carries out what comes back, tells everybody.

Backtest and live use the same desk. They differ in who feeds it minutes, and in ``keep``: live writes the state to
disk there, before any event leaves.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from ..domain.lifecycle import Answer, Flat, Input, Reserve, Rules, State, Step, rejection, step
from ..domain.signal import Event, Milestone, Rejected, RiskRefused, Signal
from ..domain.validation import read_answer
from ..errors import NotEnoughData, StateError
from ..events import messages, subjects
from ..market.context import Context, current
from ..user_code import where_it_failed
from .records import FailureKind, Records
from .registry import Strategy
from .risk_book import RiskBook

if TYPE_CHECKING:
    from ..market.window import Window

_CALLBACK_OF = {
    "Idle": "on_idle",
    "Scheduled": "on_schedule",
    "Opened": "on_open",
    "Active": "on_active",
    "Closed": "on_close",
    "Cancelled": "on_cancel",
    "Rejected": "on_reject",
}


class Desk:
    """A strategy at work on one symbol.

    Parameters
    ----------
    rules
        What holds for the whole run.
    strategy
        Who is asked.
    window
        The candles in memory.
    book
        The risk profile's places, when the strategy has a profile.
    keep
        Called with the new state and its events before they leave; live writes them to disk. When it raises, the input
        has not been taken.
    hear
        Called with every event after everybody else.
    silent
        Whether no listener is told: the combinations of a sweep are nobody's news.
    """

    def __init__(
        self,
        *,
        rules: Rules,
        strategy: Strategy,
        window: Window,
        records: Records,
        book: RiskBook | None = None,
        state: State | None = None,
        keep: Callable[[State, tuple[Event, ...]], None] | None = None,
        hear: Callable[[Event], None] | None = None,
        silent: bool = False,
    ) -> None:
        self.rules = rules
        self.strategy = strategy
        self.window = window
        self.book = book
        self.state: State = Flat() if state is None else state
        self.records = records
        self.now = 0  # the moment or minute that is being worked on, UTC ms
        self.thinking = 0  # counts questions; a watchdog sees by it that one takes long
        self.silent = silent
        self._keep = keep
        self._hear = hear
        self._asked: asyncio.Task[object] | None = None
        self._abandoned = False
        self._newest = window.newest
        self._average = window.average_price

    def move_to(self, when: int) -> None:
        """Work on the minute ``when`` (UTC ms) from now on; what fails is told of it."""
        self.now = when

    # --- asking -------------------------------------------------------------------------------------------------

    def context(self, when: int) -> Context:
        """What the strategy can see at a moment."""
        rules = self.rules
        return Context(rules.symbol, when, rules.mode, self._newest, self._average, self.window.source)

    async def ask(self, when: int, *, patient: bool = False) -> None:
        """Ask the strategy at a moment at which nothing is open or scheduled, and act on its answer.

        Raises
        ------
        NotEnoughData
            When ``patient`` and the strategy wanted a candle that has closed but not arrived yet.
        """
        context = self.context(when)
        self.now = when
        token = current.set(context)
        self.thinking += 1
        try:
            answer = self.strategy.ask(context)
            if answer is None:
                return
            if inspect.isawaitable(answer):
                self._asked = asyncio.current_task()
                answer = await answer
                if answer is None:
                    return
            price = self._average(self.rules.symbol, when)
        except asyncio.CancelledError as error:
            if self._asked is None or not (self._abandoned or not self._asked.cancelling()):
                raise
            if not self._abandoned:  # nobody cancelled the run: the strategy awaited something it had cancelled
                self.fail("strategy", error, when)
                return
            self._abandoned = False
            self._asked.uncancel()
            limit = self.rules.settings.max_signal_generation_seconds
            text = f"the strategy thought longer than max_signal_generation_seconds = {limit}"
            self.fail("timeout", TimeoutError(text), when)
            return
        except NotEnoughData as error:
            if patient and error.late:
                raise
            self.fail("warm-up", error, when)
            return
        except Exception as error:  # noqa: BLE001 -- whatever a strategy raises is counted, and the run goes on
            self.fail("strategy", error, when)
            return
        finally:
            current.reset(token)
            self.thinking += 1
        await self._answered(answer, when, price)

    def abandon(self) -> None:
        """Give up the question that is being thought about; the slot passes without a signal."""
        if self._asked is not None and self.thinking % 2:
            self._abandoned = True
            self._asked.cancel()

    async def _answered(self, answer: object, when: int, price: float) -> None:
        signal = read_answer(answer)
        if isinstance(signal, Signal):
            await self.take(Answer(when, price, signal))
        else:
            await self.tell((rejection(self.rules, when, price, (signal,), answer),))

    def fail(self, kind: FailureKind, error: BaseException, when: int | None) -> None:
        """Count something that went wrong, and announce it; the run goes on."""
        where = where_it_failed(error)
        failure = self.records.fail(kind, error, where=where, when=self.now if when is None else when)
        if subjects.error.heard and not self.silent:
            rules = self.rules
            subjects.error.emit(
                messages.ErrorEvent(
                    kind=kind,
                    message=failure.message,
                    where=where,
                    count=failure.count,
                    symbol=rules.symbol,
                    strategy=rules.strategy,
                    exchange=rules.exchange,
                    frame=rules.frame,
                    mode=rules.mode,
                    when=when,
                )
            )

    # --- the life of the signal ---------------------------------------------------------------------------------

    async def take(self, given: Input) -> None:
        """Feed one input to the lifecycle and carry out everything it leads to."""
        result = _step(self.state, given, self.rules)
        if self._keep is not None:
            self._keep(result.state, result.events)
        before, self.state = self.state, result.state
        for command in result.commands:
            if not isinstance(command, Reserve):
                self._release(command.signal_id)
        if result.events:
            await self.tell(result.events)
        for command in result.commands:
            if isinstance(command, Reserve):
                assert self.book is not None  # rules.risk is set exactly when there is a book  # noqa: S101
                try:
                    await self.take(await self._verdict(self.book, command))
                except BaseException:
                    if self.state is result.state:  # the verdict was not taken, so the question was not either
                        self.state = before
                        if isinstance(before, Flat):
                            self._release(command.candidate.id)
                    raise

    def _release(self, signal_id: str) -> None:
        """Give the place back; should that not reach the disk, a restart sees that its signal is gone."""
        if self.book is None:
            return
        try:
            self.book.release(self.rules.symbol, self.rules.strategy, signal_id)
        except StateError as error:
            self.fail("state", error, None)

    async def _verdict(self, book: RiskBook, asked: Reserve) -> Input:
        token = current.set(self.context(asked.when))
        try:
            return await book.ask(asked)
        finally:
            current.reset(token)

    async def tell(self, told: tuple[Event, ...], *, record: bool = True) -> None:
        """Records first, then the strategy's own callbacks, then listeners."""
        for event in told:
            if record:
                self.records.add(event)
            if self.strategy.callbacks:
                await self._call_back(event)
            if not self.silent:
                self._emit(event)
            if self._hear is not None:
                self._hear(event)

    async def _call_back(self, event: Event) -> None:
        names = [_CALLBACK_OF.get(type(event).__name__, "")]
        if isinstance(event, Milestone):
            names = [f"on_partial_{event.side}"]
        elif not isinstance(event, (Rejected, RiskRefused)):
            names.append("on_tick")
        for name in names:
            function = self.strategy.callbacks.get(name)
            if function is None:
                continue
            token = current.set(self.context(event.when))
            try:
                said = function(event)
                if inspect.isawaitable(said):
                    await said
            except Exception as error:  # noqa: BLE001 -- a callback never stops a run
                self.fail("callback", error, event.when)
            finally:
                current.reset(token)

    def _emit(self, event: Event) -> None:
        match event:
            case Milestone():
                (subjects.partial_profit if event.side == "profit" else subjects.partial_loss).emit(event)
            case RiskRefused():
                subjects.risk.emit(event)
            case Rejected():
                subjects.validation.emit(event)
            case _:
                subjects.emit_result(event)


def _step(state: State, given: Input, rules: Rules) -> Step:
    """``step`` for a state and an input that are known only at run time; it refuses what is not a transition."""
    return step(state, given, rules)  # type: ignore[arg-type]


@asynccontextmanager
async def watched(desk: Desk, limit_seconds: float) -> AsyncIterator[None]:
    """Watch the questions of a desk while the block runs; costs nothing per question.

    Only a strategy that awaits can be abandoned; one that computes without end holds its thread.
    """
    guard = asyncio.create_task(_guard(desk, limit_seconds))
    try:
        yield
    finally:
        guard.cancel()
        with suppress(asyncio.CancelledError):
            await guard


async def _guard(desk: Desk, limit_seconds: float) -> None:
    """Abandon a question that is still the same after the limit; looks eight times per limit."""
    seen, looks = -1, 0
    while True:
        await asyncio.sleep(limit_seconds / 8)
        if desk.thinking != seen:
            seen, looks = desk.thinking, 0
            continue
        looks += 1
        if looks >= 8 and seen % 2:  # odd: in the middle of a question
            desk.abandon()
            seen, looks = -1, 0
