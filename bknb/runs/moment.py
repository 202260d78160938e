"""Stepping into one minute, or longer base bar, of a run: candles and state then, and the strategy asked again.

Nothing here looks ahead: candles come from the same window with the same moment, and the state from the events before
it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from contextvars import Token
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from weakref import ref

import msgspec
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.html import Html
from ..domain.interval import interval_ms
from ..domain.lifecycle import (
    Holding,
    Step,
    due,
    step,
)
from ..domain.lifecycle_entries import opened_holding
from ..domain.lifecycle_inputs import Managed
from ..domain.manage_answers import read_answers
from ..domain.position_book import new_book
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.signal import OpenSignal, ScheduledSignal, key_of
from ..domain.signal_events import (
    Cancelled,
    Closed,
    Moved,
    Opened,
    PositionEvent,
    Rejected,
    Scheduled,
)
from ..domain.states import AskingAdds
from ..engine.call_by_name import calling_by_name, managing_by_name
from ..engine.registry import Strategy, ask_model
from ..engine.resolve import resolve_strategy
from ..errors import UsageError
from ..market.strategy_context import Context, RunSources, current
from ..reports.signal_story import story_of
from .answer_at_moment import Asked, Decision, RulesAtMoment
from .moment_text import MomentText
from .nested_loop import run_here
from .position_at_moment import Held, ManageAsked, held_at, reasons_of
from .run_seen_at_moment import have_past

if TYPE_CHECKING:
    from ..market.candles import Candles
    from ..market.window import Window
    from .run_record import RunRecord

State: TypeAlias = Literal["flat", "scheduled", "open", "leaving"]


class Moment:
    """One minute of a run, or the end of a longer base bar, as the strategy saw it; made by ``result.at(...)``.

    Attributes
    ----------
    symbol : str
    when_ms : int
        The moment, UTC ms.
    context : Context
        What ``get_signal`` gets as ``ctx``.
    state : {"flat", "scheduled", "open", "leaving"}
        What was known of the run's own signal before the strategy was asked at this minute; ``"leaving"``: its deadline
        had passed, and it closes at the next candle.
    signal : OpenSignal or ScheduledSignal or None
        The signal that was open or scheduled.
    position : HeldPosition or None
        The same as ``manage`` sees it, worked out when it is asked for.
    decision : Scheduled, Opened, Rejected, RiskRefused or None
        What the run made of the strategy's answer at this minute, if it gave one.

    Notes
    -----
    ``with moment:`` lets ``bknb.get_candles`` and its companions work in the block as they do inside a strategy.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
    ...                        minute_estimated_time=240)
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="1h", exchange="demo",
    ...                        frame=("2024-01-01", "2024-01-02"))
    >>> moment = result.at(result.trades["signal_id"][0])
    >>> moment.ask().event == moment.decision
    True
    """

    def __init__(self, record: RunRecord, when: int) -> None:
        self._record, self._records = record, record.records
        window = record.candles.window
        if window is None:
            raise UsageError("this run ended before it had any candles, so there is no minute to step into")
        self._window: Window = window
        self._tokens: list[Token[Context | None]] = []
        self.symbol = record.plan.symbol
        self.when_ms = when
        strategy = record.plan.strategy
        self._sources = RunSources(window, record.published, interval_ms(strategy.interval), strategy.zone)
        self._sources.ask_model, self._sources.symbols = ask_model, record.plan.symbols
        self.context = self._asked_with()
        self.state, self.signal = self._known()
        self.decision = self._decision()

    def _asked_with(self, *, managing: bool = False) -> Context:
        """A context as that of the question then: with the memo that was kept before it, and the run as it was."""
        window, when = self._window, self.when_ms
        context = Context(self.symbol, when, "backtest", window.newest, window.average_price, self._sources)
        holds = managing or self._record.plan.strategy.weights is not None  # else it is asked with nothing open
        record, here = self._record, ref(self)  # a context is never collected as garbage, nor what it holds in a circle

        def position() -> HeldPosition | None:
            return (here() or Moment(record, when)).position if holds else None

        have_past(context, record, managing=managing, position=position)
        return context

    # --- seeing -------------------------------------------------------------------------------------------------

    @property
    def when(self) -> datetime:
        """The moment, as an aware datetime in UTC."""
        return self.context.when

    @property
    def price(self) -> float:
        """The average price of the symbol then, in quote currency."""
        return self.context.price

    def candles(self, interval: str, limit: int) -> Candles:
        """Return the ``limit`` newest closed candles of the symbol; the same answer, or error, as in the run."""
        return self.context.candles(interval, limit)

    def get_candles(self, symbol: str, interval: str, limit: int) -> Candles:
        """Return the same for any symbol."""
        return self.context.get_candles(symbol, interval, limit)

    @property
    def why(self) -> str:
        """The events of the open or scheduled signal up to this moment; empty when there is none."""
        if self.signal is None:
            return ""
        return "\n".join(story_of(self._records, key_of(self.signal), before=self.when_ms))

    def _known(self) -> tuple[State, OpenSignal | ScheduledSignal | None]:
        """Return state and signal from the events before this moment; a candle that opens now has not closed yet."""
        latest = None
        for event in self._records.events:
            if event.when > self.when_ms or (event.when == self.when_ms and not _ended_by_clock(event)):
                break
            latest = event
        match latest:
            case Scheduled():
                return "scheduled", latest.signal
            case Opened(signal=signal):
                return "leaving" if self._is_over(signal) else "open", signal
            case _:
                return "flat", None

    def _is_over(self, signal: OpenSignal) -> bool:
        """Return whether the clock has ended a position that no candle has closed yet."""
        rules = self._record.rules
        assert rules is not None  # a backtest has them  # noqa: S101
        moved = [event for event in self._events_of(signal) if isinstance(event, Moved)]
        book = opened_holding(signal, rules).book or new_book(signal, highest=0.0, lowest=0.0)
        if moved:
            book = msgspec.structs.replace(book, deadline=moved[-1].deadline, closing=msgspec.UNSET)
        return self.when_ms >= due(Holding(signal=signal, highest=0.0, lowest=0.0, book=book), rules)

    def _events_of(self, signal: OpenSignal | ScheduledSignal) -> list[PositionEvent]:
        """What happened to a position before this moment."""
        events = self._records.positions
        return [event for event in events if key_of(event.signal) == key_of(signal) and event.when < self.when_ms]

    def _decision(self) -> Decision | None:
        records = self._records
        made: list[Any] = [*records.rejected, *records.events, *records.refused]
        for event in made:
            if isinstance(event, (Closed, Cancelled)):
                continue
            asked_at = event.when if isinstance(event, Rejected) else event.signal.scheduled_at
            if asked_at == self.when_ms:
                return event  # type: ignore[no-any-return]  # nothing else has such a signal
        return None

    @cached_property
    def position(self) -> HeldPosition | None:
        """The open position, or the signal that waits, as ``manage`` sees it; ``None`` where nothing is there.

        It is played again from its signal on, and ``manage`` asked at each moment before this one, as in the run.
        """
        return None if self._held is None else self._held.position

    @cached_property
    def _held(self) -> Held | None:
        return None if self.signal is None else held_at(self._record, self.signal, self.when_ms)

    @property
    def _rules(self) -> RulesAtMoment:
        return RulesAtMoment(self, self._record, self._window)

    # --- asking -------------------------------------------------------------------------------------------------

    def manage(self, function: Callable[..., Any] | None = None) -> ManageAsked:
        """Ask ``manage`` again about what was open or waited at this moment, in this thread.

        Parameters
        ----------
        function
            Another function, which asks by name for any of ``ctx``, ``symbol``, ``when``, ``price``, ``position``; by
            default the ``manage`` of the strategy.

        Returns
        -------
        ManageAsked
            The answer, and what the run would make of it.

        Raises
        ------
        UsageError
            When nothing was open or waiting, or the strategy has no ``manage`` and none is given.
        """
        own = self._record.plan.strategy
        ask = own.ask_manage if function is None else managing_by_name(function, own.params)
        if ask is None:
            raise UsageError(
                f"strategy {own.name!r} does not manage its positions\ngive a function: moment.manage(manage)"
            )
        there = self._held
        if there is None:
            raise UsageError(
                f"nothing that could be managed was open or waiting at {utc_text(self.when_ms)}\n"
                "choose a moment between the fills of a position; result.fills has them"
            )
        context = self._asked_with(managing=True)
        token = current.set(context)
        try:
            answer = ask(context, there.position)
            if inspect.isawaitable(answer):
                answer = run_here(answer)
            return self._managed(own, there, answer)
        finally:
            current.reset(token)

    def _managed(self, strategy: Strategy, held: Held, answer: object) -> ManageAsked:
        """Return the outcome of an answer of ``manage`` by the rules of the run."""
        rules = self._record.rules
        assert rules is not None  # a backtest has them  # noqa: S101
        answers, faults, text = read_answers([] if answer is None else answer, negative=rules.negative)
        given = Managed(answers, self.price, self.when_ms, held.close, faults, text)
        made = step(held.state, given, rules) if answer is not None else Step(held.state)
        while isinstance(made.state, AskingAdds):
            made = step(made.state, self._rules.verdict(strategy, made.commands[0]), rules)
        return ManageAsked(
            when_ms=self.when_ms,
            position=held.position,
            answer=answer,
            answers=answers,
            events=made.events,
            reasons=reasons_of(made.events),
            diverged=held.diverged,
        )

    def ask(self, strategy: str | Strategy | Callable[..., Any] | None = None) -> Asked:
        """Ask the strategy again at this moment, in this thread, so prints and the debugger work as in any cell.

        Parameters
        ----------
        strategy
            Another function, a registered name or a strategy; by default the one of the run. A function takes the
            place of the run's own: its name, parameters, risk profile and execution model stay.

        Returns
        -------
        Asked
            The answer, and what the run would make of it with nothing open.

        Notes
        -----
        What the function raises is raised here with its own traceback, so ``%debug`` leads to its line;
        ``import pdb; pdb.set_trace()`` in it stops there, and in JupyterLab ``breakpoint()`` stops in its own debugger
        when that is switched on. A strategy that keeps state between questions has the state of the whole
        run.
        """
        chosen = self._chosen(strategy)
        context = self._asked_with()
        token = current.set(context)
        try:
            answer = chosen.ask(context)
            if inspect.isawaitable(answer):
                answer = run_here(answer)
            return self._rules.judged(chosen, answer)
        finally:
            current.reset(token)

    def _chosen(self, strategy: str | Strategy | Callable[..., Any] | None) -> Strategy:
        own = self._record.plan.strategy
        if strategy is None:
            return own
        if isinstance(strategy, (str, Strategy)):
            return resolve_strategy(strategy)
        if not callable(strategy):
            raise UsageError(f"strategy must be a function, a registered name or a strategy, got {strategy!r:.80}")
        bound = {name: value for name, value in own.params.items() if name in _parameters(strategy)}
        return replace(own, get_signal=strategy, ask=calling_by_name(partial(strategy, **bound) if bound else strategy))

    # --- as context manager -------------------------------------------------------------------------------------

    def __enter__(self) -> Moment:
        self._tokens.append(current.set(self.context))
        return self

    def __exit__(self, *_: object) -> None:
        current.reset(self._tokens.pop())

    # --- showing ------------------------------------------------------------------------------------------------

    @property
    def _text(self) -> MomentText:
        events = [] if self.signal is None else self._events_of(self.signal)
        return MomentText(self, self._record, self._window, events)

    def __repr__(self) -> str:
        return self._text.text()

    def _repr_html_(self) -> Html:
        return self._text.html()


def _ended_by_clock(event: Any) -> bool:
    """Return whether an event was known at its moment already, before that minute's candle."""
    return isinstance(event, Cancelled) and event.reason in ("timeout", "frame_end")


def _parameters(function: Callable[..., Any]) -> Container[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ()
