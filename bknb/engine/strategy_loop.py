"""The loop of one strategy on one symbol: asks it, feeds the lifecycle, carries out commands, emits events.

Backtest and live use the same loop. They differ in who feeds it minutes, and in ``save``: live writes the state to
disk there, before any event is emitted.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.late_orders import OldPrice, OrderRole
from ..domain.lifecycle import (
    Answer,
    Asking,
    Boundary,
    Entering,
    Flat,
    Holding,
    Input,
    Managed,
    Opening,
    Reenter,
    Reserve,
    Rules,
    SkippedMinutes,
    State,
    Step,
    Verdict,
    Waiting,
    due,
    rejection,
    step,
)
from ..domain.manage_answers import read_answers
from ..domain.position_seen_by_manage import managed_from, position_view
from ..domain.risk_request_and_verdict import Command, Release
from ..domain.signal import Signal
from ..domain.signal_events import Event
from ..domain.signal_validation import STOPPED, is_list, read_answer
from ..domain.states import labels
from ..errors import NotEnoughData
from ..events import messages, subjects
from ..market.strategy_context import Context, RunSources, current
from ..user_code import where_it_failed
from .call_by_name import ManageQuestion
from .callback_names import call_callbacks
from .records import Failure, FailureKind, Records
from .registry import Strategy, ask_model
from .risk_profile_places import RiskPlaces, always, change_places
from .strategy_memo import keep_memo, run_of

if TYPE_CHECKING:
    from ..events.heard import Listeners
    from ..market.newest_series_rows import ReadSeries
    from ..market.window import Window
    from .leg_account import LegAccount
    from .verdicts_of_another_run import VerdictsOfAnotherRun


class StrategyLoop:
    """One strategy on one symbol, with its lifecycle state, records and candles.

    Parameters
    ----------
    rules
        The parameters of the run.
    strategy
        The strategy to ask.
    window
        The candles in memory.
    places
        The risk profile's places, when the strategy has a profile; or what it has of an account, with them.
    save
        Called with the new state, its events and the ``old_price`` of :meth:`take` before events are emitted; live
        writes them to disk. When it raises, the input has not been taken.
    follow
        Called with both once they are saved, to carry them out.
    on_event
        Called with every event, after records, callbacks and listeners.
    listeners
        Who hears what happens.
    decided_at
        Called with a moment (UTC ms) and ``"exit"`` or ``"entry"``, for what is decided then; returns the time of the
        clock (UTC ms) at which that was known, or ``None``: at that moment. More than a minute later is late: the order
        fills in the first candle that opens at or after that time.
    may_open, published
        Whether something new may be opened now, asked when the strategy, and when its risk profile, has answered; reads
        the point-in-time series of the run.
    step_with
        What an input leads to, in place of the lifecycle alone: an account books it first.
    """

    has_places = False  # whether what is there may change while it is asked: each signal is for a place

    def __init__(
        self,
        *,
        rules: Rules,
        strategy: Strategy,
        window: Window,
        records: Records,
        places: RiskPlaces | LegAccount | VerdictsOfAnotherRun | None = None,
        state: State | None = None,
        save: Callable[[State, tuple[Event, ...], OldPrice | None], None] | None = None,
        follow: Callable[[State, tuple[Event, ...]], Awaitable[None]] | None = None,
        on_event: Callable[[Event], None] | None = None,
        listeners: Listeners = subjects,
        decided_at: Callable[[int, OrderRole], int | None] = lambda _moment, _order: None,
        may_open: Callable[[], bool] = always,
        published: ReadSeries | None = None,
        step_with: Callable[[State, Input, Rules], Step] | None = None,
    ) -> None:
        self.rules, self.strategy, self.places = rules, strategy, places
        if rules.weights is not None:
            from .weight_questions import asked_for_weight  # few strategies have them

            self.strategy = replace(strategy, ask=asked_for_weight(self, strategy.ask))
        self.window, self.sources = window, RunSources(window, published, rules.interval_ms, strategy.zone)
        self.sources.weight_limits, self.sources.run = rules.weights, run_of(self)
        self.sources.ask_model, self.sources.fits = ask_model, records.models
        self.sources.indicators_read = records.indicators
        self.state: State = Flat() if state is None else state
        self.records, self.listeners = records, listeners
        self.now = 0  # the moment or minute that is being worked on, UTC ms; failures carry it
        self.last_managed = 0  # the last moment at which manage was asked, UTC ms
        self.thinking = 0  # odd while a question is being answered; grows with each, so that a long one is recognised
        self._save, self._follow, self._on_event, self._step = save, follow, on_event, step_with or step
        self.decided_at, self.may_open = decided_at, may_open  # below: whether nobody looks at states between events
        self.tells_at_once = not strategy.callbacks and on_event is None and step_with is None and save is None
        self.wait_turn: Callable[[int, float | None], Awaitable[None]] | None = None  # of signals that have ranks
        self._asking_task: asyncio.Task[object] | None = None
        self._abandoned = self._left_out = False  # the latter: the last answer was about what was changed by hand since
        self._newest, self._average = window.newest, window.average_price
        if strategy.portfolio_weights is not None:
            self._average = strategy.portfolio_weights.average_or_close(window.average_price)

    # --- asking -------------------------------------------------------------------------------------------------

    def context(self, when: int) -> Context:
        """The context of the strategy at a moment (UTC ms)."""
        return Context(self.rules.symbol, when, self.rules.mode, self._newest, self._average, self.sources)

    async def ask(
        self, when: int, *, patient: bool = False, about: ManageQuestion | None = None,
        answer: Callable[[], Any] | None = None, context: Context | None = None,
    ) -> None:  # fmt: skip
        """Ask the strategy where nothing is open or scheduled, and act on its answer; what it raises ends nothing.

        Parameters
        ----------
        when
            The moment (UTC ms): it sees the candles that have closed by then. An order it leads to fills in the first
            candle that opens at or after it, or after ``decided_at`` where that is late.
        patient
            Whether a candle that has closed by ``when`` and has not arrived yet is worth asking again for. Else a
            question without it counts as one too short of history (``"warm-up"``).
        about
            The position that ``manage`` is asked about, in place of ``get_signal``.
        answer, context
            Returns what the strategy has answered to this question already, or raises what it raised; and the context
            with which it was asked.

        Raises
        ------
        NotEnoughData
            When ``patient`` and the strategy wanted a candle that has closed but not arrived yet.
        """
        context = context or self.context(when)
        self.now, asked_in = when, self.state
        token = current.set(context)
        self.thinking += 1
        try:
            given = self._given(context, about, answer)
            if type(given) is not Signal and inspect.isawaitable(given):
                self._asking_task = asyncio.current_task()
                given = await given
                if given is not None and self.state is not asked_in and (about is not None or not self.has_places):
                    self._left_out = True  # what it was asked about was changed by hand
                    return
            if given is not None:
                price = self._average(self.rules.symbol, when) if about is None else about.price
            keep_memo(self, context, None if about is None else about.position)
            if given is None:
                return
        except asyncio.CancelledError as error:
            if self._asking_task is None or not (self._abandoned or not self._asking_task.cancelling()):
                raise
            if not self._abandoned:  # nobody cancelled the run: the strategy awaited something it had cancelled
                self.fail("strategy", error, when)
                return
            self._abandoned = False
            self._asking_task.uncancel()
            limit = self.rules.settings.max_signal_generation_seconds
            text = f"the strategy thought longer than max_signal_generation_seconds = {limit}"
            self.fail("timeout", TimeoutError(text), when)
            return
        except NotEnoughData as error:
            if patient and error.late:
                raise
            self.fail(error.counted_as, error, when)
            return
        except Exception as error:  # noqa: BLE001 -- whatever a strategy raises is counted, and the run goes on
            self.fail("strategy", error, when)
            return
        finally:
            current.reset(token)
            self.thinking += 1
        if about is None:
            await self._answered(given, when, price)
        else:
            await self._managed(given, when, price, about)

    def _given(self, context: Context, about: ManageQuestion | None, answer: Callable[[], Any] | None) -> Any:
        """The answer of the strategy, or of its ``manage``, or what awaits it; or the ``answer`` it has given."""
        if answer is not None:
            return answer()
        return self.strategy.ask(context) if about is None else about.ask(context, about.position)

    async def manage(self, when: int, close: float, *, patient: bool = False) -> None:
        """Ask the strategy about what is open or waits, and act on its answer.

        Where that is changed by hand meanwhile, the answer is left out and the strategy is asked about what there is.

        Parameters
        ----------
        when, patient
            As for :meth:`ask`, which raises the same.
        close
            The last close before it (quote currency): moved levels are judged against it. It stands in for the average
            price where there are too few candles for one, as at the beginning of a market or after a hole.
        """
        ask = self.strategy.ask_manage
        assert ask is not None  # whoever calls this looked  # noqa: S101
        before, kept, self.last_managed = self.last_managed, self.sources.memo, when
        try:
            while True:
                self._left_out, state = False, self.state
                assert isinstance(state, Holding | Opening | Waiting)  # nothing else is managed  # noqa: S101
                price = self._average_or(close, when, patient=patient)
                position = position_view(state, when, price, self.rules)
                if self.rules.weights is not None:
                    from .weight_questions import with_weight  # few strategies have them

                    position = with_weight(position, state, when, close, rules=self.rules, places=self.places)
                await self.ask(when, patient=patient, about=ManageQuestion(ask, position, price, close))
                known = self.known_at
                if not self._left_out or known is None or known > when:
                    return
        except BaseException:
            self.last_managed, self.sources.memo = before, kept
            raise

    def _average_or(self, close: float, when: int, *, patient: bool) -> float:
        """The average price at a moment (UTC ms), or the last close where there are too few candles for it."""
        try:
            return self._average(self.rules.symbol, when)
        except NotEnoughData as error:
            if patient and error.late:
                raise
            return close

    @property
    def known_at(self) -> int | None:
        """Since when (UTC ms) there is what ``manage`` can be asked about; ``None``: there is nothing."""
        return managed_from(self.state, self.rules) if self.strategy.manages else None

    async def _managed(self, answer: object, when: int, price: float, about: ManageQuestion) -> None:
        answers, faults, text = read_answers(answer, negative=self.rules.negative)
        decided_at, entry_at = self.decided_at(when, "exit"), self.decided_at(when, "entry")
        given = Managed(answers, price, when, about.close, faults, text, decided_at, entry_at, self.may_open())
        await self.take(given)

    def abandon(self) -> None:
        """Cancel the question that is being answered; the slot passes without a signal."""
        if self._asking_task is not None and self.thinking % 2:
            self._abandoned = True
            self._asking_task.cancel()

    async def _answered(self, answer: object, when: int, price: float) -> None:
        if isinstance(answer, Reenter):
            if isinstance(self.state, Flat):
                await self.take(answer)
            return
        if is_list(answer):
            from .list_of_signals import answered_list  # few answers are lists

            await answered_list(self, answer, when, price)
            return
        signal = read_answer(answer, negative=self.rules.negative)
        if self.wait_turn is not None and isinstance(signal, Signal):
            await self.wait_turn(when, signal.score)
        if isinstance(signal, Signal) and self.may_open():
            await self.take(Answer(when, price, signal, self.decided_at(when, "entry")))
        else:
            reason = STOPPED if isinstance(signal, Signal) else signal
            await self.deliver((rejection(self.rules, when, price, (reason,), answer),))

    def fail(self, kind: FailureKind, error: BaseException, when: int | None, *, emit: bool = True) -> None:
        """Count a failure and, unless it was told before, ``emit`` it on ``error``; the run goes on."""
        at, where = self.now if when is None else when, where_it_failed(error)
        self._told(self.records.fail(kind, error, where=where, when=at), None, when, emit=emit)

    def note(self, kind: FailureKind, topic: str, text: str, when: int, *, emit: bool = True) -> None:
        """Count what went wrong at ``when`` (UTC ms), all of a kind and a topic as one failure; ``emit`` its text."""
        self._told(self.records.note(kind, topic, text, when=when), text, when, emit=emit)

    def _told(self, failure: Failure, text: str | None, when: int | None, *, emit: bool) -> None:
        if emit and self.listeners.error.subscribed:
            message = failure.message if text is None else text
            self.listeners.error.emit(messages.ErrorEvent(
                **labels(self.rules), kind=failure.kind, message=message, where=failure.where, when=when,
                count=failure.count,
            ))  # fmt: skip

    # --- the life of the signal ---------------------------------------------------------------------------------

    @property
    def is_free(self) -> bool:
        """Whether the strategy may be asked: nothing is open or scheduled, or the clock has ended what was."""
        state = self.state
        return isinstance(state, Flat) or (isinstance(state, Holding) and state.leaving is not None)

    @property
    def due(self) -> int:
        """The moment (UTC ms) at which the clock ends something; far in the future when it ends nothing."""
        return due(self.state, self.rules)

    async def end_due(self, when: int, price: float, newest: Minute | None = None) -> None:
        """End what the clock ends at ``when`` (UTC ms), at the average ``price``; ``newest`` as in ``Boundary``."""
        await self.take(Boundary(when, price, self.decided_at(when, "exit"), newest))

    async def take(self, given: Input, *, old_price: OldPrice | None = None) -> None:
        """Feed one input to the lifecycle and carry out everything it leads to; what fills may have an old price."""
        result = self._step(self.state, given, self.rules)
        if self._save is not None:
            self._save(result.state, result.events, old_price)
        before, self.state = self.state, result.state
        if self._follow is not None:
            await self._follow(result.state, result.events)
        if result.events or result.commands:
            self._change_places(result.commands, result.events)
        if result.events:
            await self.deliver(result.events)
        for command in result.commands:
            if isinstance(command, Reserve):
                assert self.places is not None  # rules ask exactly when there are places  # noqa: S101
                try:
                    await self.take(await self._verdict(self.places, command), old_price=old_price)
                except BaseException:
                    if self.state is result.state:  # the verdict was not taken, so the question was not either
                        self.state = before
                        if isinstance(result.state, Asking):
                            self._change_places((Release(command.candidate.id),), ())
                    raise

    def skip(self, given: SkippedMinutes) -> None:
        """Feed minutes in which nothing opens, closes or fills: extremes and milestones come of them, no command."""
        result = self._step(self.state, given, self.rules)
        self.state = result.state
        if not self.listeners.hears_milestones():
            self.records.add_milestones(result.events)  # type: ignore[arg-type]  # no other comes of them
            return
        for event in result.events:
            self.records.add(event)
            self.emit(event)

    def _change_places(self, commands: Iterable[Command], events: Iterable[Event]) -> None:
        if self.places is not None:
            change_places(self.places, self.rules, commands, events, lambda error: self.fail("state", error, None))

    async def _verdict(self, places: RiskPlaces | LegAccount | VerdictsOfAnotherRun, request: Reserve) -> Verdict:
        token = current.set(self.context(request.when))
        try:
            filled = isinstance(self.state, Entering)  # by a candle: it was opened before
            verdict = await places.ask(request, may_open=always if filled else self.may_open)
        finally:
            current.reset(token)
        if request.order is not None:
            self.records.note_add(request.candidate, request.order.number, verdict)
        return verdict

    async def deliver(self, events: tuple[Event, ...]) -> None:
        """Deliver events in order, each to the records, the strategy's callbacks, then listeners."""
        for event in events:
            self.records.add(event)
            if self.strategy.callbacks:
                await call_callbacks(self, event)
            self.emit(event)

    def emit(self, event: Event) -> None:
        """Give an event to the listeners."""
        self.listeners.emit_event(event)
        if self._on_event is not None:
            self._on_event(event)
