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
from typing import TYPE_CHECKING, Any
from weakref import ref

from msgspec.structs import replace

from ..domain.checked_signal import id_when_moved
from ..domain.formatting import utc_text
from ..domain.html import Html
from ..domain.interval import interval_ms
from ..domain.lifecycle import Step, step
from ..domain.lifecycle_inputs import Managed
from ..domain.manage_answers import read_answers
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import Opened, RiskRefused, Scheduled
from ..domain.states import AskingAdds
from ..engine.call_by_name import calling_by_name, managing_by_name
from ..engine.registry import Strategy, ask_model
from ..engine.resolve import resolve_strategy
from ..errors import UsageError
from ..market.strategy_context import Context, RunSources, current
from .answer_at_moment import Asked, Decision, RulesAtMoment
from .moment_text import MomentText
from .nested_loop import run_here
from .places_at_moment import State, places_at
from .played_again import PlayedAgain, played_again
from .position_at_moment import Held, ManageAsked, reasons_of
from .run_seen_at_moment import have_past

if TYPE_CHECKING:
    from ..market.candles import Candles
    from ..market.window import Window
    from .run_record import RunRecord


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
        had passed, and it closes at the next candle. Of several places that of the oldest one.
    signal : OpenSignal or ScheduledSignal or None
        The signal that was open or scheduled; of several places that of the oldest one.
    places : tuple of PlaceAtMoment
        The places in which something was open or waited, the oldest first: name, state, signal and events of each.
    position : HeldPosition or None
        What was open or waited as ``manage`` sees it, worked out when it is asked for.
    positions : tuple of HeldPosition
        The same of all places, the oldest first.
    decision : Scheduled, Opened, Rejected, RiskRefused or None
        What the run made of the strategy's answer at this minute, if it gave one.
    decisions : tuple
        The same of all signals of the answer, in order.

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
        self.places = places_at(record, when)
        oldest = next(iter(self.places), None)
        self.state: State = "flat" if oldest is None else oldest.state
        self.signal: OpenSignal | ScheduledSignal | None = None if oldest is None else oldest.signal
        self.decisions = self._decided()
        self.decision = next(iter(self.decisions), None)

    def _asked_with(self, about: Held | None = None) -> Context:
        """A context as that of the question then: with the memo that was kept before it, and the run as it was."""
        window, when = self._window, self.when_ms
        context = Context(self.symbol, when, "backtest", window.newest, window.average_price, self._sources)
        own = self._record.plan.strategy
        holds = own.weights is not None or own.places > 1  # else it is asked with nothing open
        record, here = self._record, ref(self)  # a context is never collected as garbage, nor what it holds in a circle

        def positions() -> tuple[HeldPosition, ...]:
            if about is not None:
                return about.all
            return (here() or Moment(record, when)).seen_by_entries if holds else ()

        have_past(context, record, about=None if about is None else about.position, positions=positions)
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
        """The events of what was open or scheduled up to this moment, place by place; empty when there is nothing."""
        return "\n".join(place.why for place in self.places)

    def _decided(self) -> tuple[Decision, ...]:
        records, when = self._records, self.when_ms
        taken = {place.place for place in self.places if place.place and place.is_taken}
        found: list[Decision] = [
            event
            for event in records.rejected
            if event.when == when and event.place not in taken  # else of ``manage``
        ]
        there = [signal for place in self.places for signal in (place.signal, *place.beside)]
        known: set[SignalKey] = {(id_when_moved(signal.id), when) for signal in there}  # what ``manage`` moved now
        for event in (*records.events, *records.refused):
            if isinstance(event, Scheduled | Opened | RiskRefused) and event.signal.scheduled_at == when:
                found += [] if key_of(event.signal) in known else [event]
                known.add(key_of(event.signal))
        return tuple(found)

    @property
    def position(self) -> HeldPosition | None:
        """The open position, or the signal that waits, as ``manage`` sees it; ``None`` where nothing is there.

        It is played again from its signal on, and ``manage`` asked at each moment before this one, as in the run. Of
        several places that of the oldest one.
        """
        return next(iter(self.positions), None)

    @property
    def positions(self) -> tuple[HeldPosition, ...]:
        """What is open or waits in all places as ``manage`` sees it, the oldest first."""
        held = self._played.held
        return tuple(held[place.place].position for place in self.places if place.place in held)

    @property
    def seen_by_entries(self) -> tuple[HeldPosition, ...]:
        """The positions as ``get_signal`` sees them at this moment: behind what ``manage`` has answered."""
        after = self._played.after
        return self.positions if after is None else after

    @property
    def left_by_manage(self) -> frozenset[str]:
        """The places that ``manage`` has had left, or what waited there taken back, at this very moment."""
        if self._record.plan.strategy.ask_manage is None or (played := self._played).after is None:
            return frozenset()
        return frozenset(played.held) - {position.place for position in played.after}

    @cached_property
    def _played(self) -> PlayedAgain:
        return played_again(self._record, self.when_ms)

    @property
    def _rules(self) -> RulesAtMoment:
        return RulesAtMoment(self, self._record, self._window)

    # --- asking -------------------------------------------------------------------------------------------------

    def manage(self, function: Callable[..., Any] | None = None, *, place: str | None = None) -> ManageAsked:
        """Ask ``manage`` again about what was open or waited at this moment, in this thread.

        Parameters
        ----------
        function
            Another function, which asks by name for any of ``ctx``, ``symbol``, ``when``, ``price``, ``position``; by
            default the ``manage`` of the strategy.
        place
            Of a strategy with several places the one that is asked about; by default the only one that can be.

        Returns
        -------
        ManageAsked
            The answer, and what the run would make of it.

        Raises
        ------
        UsageError
            When nothing was open or waiting, or the strategy has no ``manage`` and none is given; when there are
            several places and none of them is named.
        """
        own = self._record.plan.strategy
        ask = own.ask_manage if function is None else managing_by_name(function, own.params)
        if ask is None:
            raise UsageError(
                f"strategy {own.name!r} does not manage its positions\ngive a function: moment.manage(manage)"
            )
        there = self._held_in(place)
        context = self._asked_with(there)
        token = current.set(context)
        try:
            answer = ask(context, there.position)
            if inspect.isawaitable(answer):
                answer = run_here(answer)
            return self._managed(own, there, answer)
        finally:
            current.reset(token)

    def _held_in(self, place: str | None) -> Held:
        """What could be managed in a place, or in the only one in which there was anything."""
        held = self._played.held
        if place is None and len(held) > 1:
            names = ", ".join(repr(name) for name in sorted(held))
            raise UsageError(
                f"several places could be managed at {utc_text(self.when_ms)}: {names}\n"
                f"name one, such as moment.manage(place={min(held)!r})"
            )
        if not held or (place is not None and place not in held):
            where = "" if place is None else f" in the place {place!r}"
            others = ", ".join(repr(name) for name in sorted(held) if name)
            raise UsageError(
                f"nothing that could be managed was open or waiting{where} at {utc_text(self.when_ms)}\n"
                + (
                    f"there was something in {others}"
                    if others
                    else "choose a moment between the fills of a position; result.fills has them"
                )
            )
        return next(iter(held.values())) if place is None else held[place]

    def _managed(self, strategy: Strategy, held: Held, answer: object) -> ManageAsked:
        """Return the outcome of an answer of ``manage`` by the rules of the run."""
        assert self._record.rules is not None  # a backtest has them  # noqa: S101
        rules = self._record.rules._replace(place=held.position.place)
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
            The answer, and what the run would make of it with nothing open; of a strategy with several places with
            what was open and waited in them.

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
        return MomentText(self, self._record, self._window)

    def __repr__(self) -> str:
        return self._text.text()

    def _repr_html_(self) -> Html:
        return self._text.html()


def _parameters(function: Callable[..., Any]) -> Container[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ()
