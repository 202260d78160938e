"""Stepping into one minute, or longer base bar, of a run: candles and state then, and the strategy asked again.

Nothing here looks ahead: candles come from the same window with the same moment, and the state from the events before
it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from contextvars import Token
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from weakref import ref

import msgspec
from msgspec.structs import replace

from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.formatting import ends_text, level_text, minute_text, percent_text, plain_number, points_text, utc_text
from ..domain.html import Html, element, elements
from ..domain.interval import MINUTE, bar_text, interval_ms
from ..domain.lifecycle import (
    Answer,
    Answers,
    Asking,
    Boundary,
    DataEnd,
    Flat,
    Holding,
    Opening,
    Rules,
    Step,
    due,
    rejection,
    step,
)
from ..domain.lifecycle_entries import opened_holding
from ..domain.lifecycle_inputs import Managed
from ..domain.manage_answers import read_answers
from ..domain.market_on_close_orders import close_due
from ..domain.position_book import new_book
from ..domain.position_fills import Fill
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.profit_of_partial_closes import held, result
from ..domain.signal import OpenSignal, ScheduledSignal, Signal, key_of
from ..domain.signal_events import (
    Cancelled,
    Closed,
    Moved,
    Opened,
    PositionEvent,
    Reason,
    Rejected,
    RiskRefused,
    Scheduled,
)
from ..domain.signal_validation import is_list, read_answer
from ..domain.states import AskingAdds
from ..engine.call_by_name import calling_by_name, managing_by_name
from ..engine.filling_minutes import look_back_begin, minutes_that_fill
from ..engine.registry import Strategy, ask_model, registry
from ..engine.resolve import resolve_strategy
from ..engine.risk_profile_places import RiskPlaces
from ..errors import NotEnoughData, UsageError
from ..market.strategy_context import Context, RunSources, current
from ..reports.managed_marks import fills_between
from ..reports.signal_story import story_of
from .nested_loop import run_here
from .position_at_moment import Held, ManageAsked, held_at, reasons_of
from .run_seen_at_moment import have_past
from .stop_table import stop_at

if TYPE_CHECKING:
    from ..market.candles import Candles
    from ..market.window import Window
    from .run_record import RunRecord

State: TypeAlias = Literal["flat", "scheduled", "open", "leaving"]
Decision: TypeAlias = Scheduled | Opened | Rejected | RiskRefused

_SHOWN: Final = 5  # minutes in the table


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The answer of a strategy that was asked again.

    Attributes
    ----------
    when_ms : int
        The moment, UTC ms.
    answer : object
        What the function returned, as it is.
    signal : Signal or None
        The answer as a signal; None for no signal and for an answer that is none.
    event : Scheduled, Opened, Rejected, RiskRefused or None
        What the run would make of it with nothing open, once the next candle has closed; None for no signal.
    reasons : tuple of Reason
        Every rule it breaks, or the risk profile's note; empty when it would be accepted.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> asked = result.at("2024-01-01 12:00").ask(lambda price: {"position": "up"})
    >>> asked.accepted, [reason.code for reason in asked.reasons]
    (False, ['position'])
    """

    when_ms: int
    answer: object
    signal: Signal | None
    event: Decision | None
    reasons: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the run would open or schedule it."""
        return isinstance(self.event, (Scheduled, Opened))

    def __repr__(self) -> str:
        when = utc_text(self.when_ms)
        if self.event is None:
            return f"{when}: no signal"
        if isinstance(self.event, (Scheduled, Opened)):
            return f"{when}: {self.event.action} {_row_text(self.event.signal)}"
        verb = "refused" if isinstance(self.event, RiskRefused) else "rejected"
        return "\n".join([f"{when}: {verb}", *(f"  {reason.text}" for reason in self.reasons)])


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
        self._sources.ask_model = ask_model
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
            made = step(made.state, self._verdict(strategy, made.commands[0]), rules)
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
            return self._judged(chosen, answer)
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

    def _judged(self, strategy: Strategy, answer: object) -> Asked:
        """Return the outcome of an answer by the rules of the run."""
        when = self.when_ms
        if answer is None:
            return Asked(when_ms=when, answer=None, signal=None, event=None)
        assert self._record.rules is not None  # a backtest has them  # noqa: S101
        rules = self._record.rules._replace(strategy=strategy.name, risk=strategy.risk)
        price, several = self.price, is_list(answer)
        each_answer = answer if is_list(answer) else [answer]
        read = [read_answer(each, negative=rules.negative) for each in each_answer if each is not None]
        faults = tuple(each for each in read if not isinstance(each, Signal))
        signals = tuple(each for each in read if isinstance(each, Signal))
        if not signals:
            refused = rejection(rules, when, price, faults, answer) if faults else None
            return Asked(when_ms=when, answer=answer, signal=None, event=refused, reasons=faults)
        given = Answers(when, price, signals) if several else Answer(when, price, signals[0])
        made, signal = step(Flat(last_id=self._last_id()), given, rules), signals[0]
        while isinstance(made.state, Asking):
            made = step(made.state, self._verdict(strategy, made.commands[0]), rules)
        told = made.events
        if isinstance(made.state, Opening):
            made = self._filled(made.state, rules)
            told += made.events
        event: Any = next((each for each in told if isinstance(each, Scheduled | Opened)), made.events[0])
        reasons: tuple[Reason, ...] = faults
        for each in told:
            reasons += each.reasons if isinstance(each, Rejected) else ()
        if isinstance(event, RiskRefused):
            reasons = (Reason("risk", f"risk profile {event.risk!r} refuses: {event.note}"),)
        return Asked(when_ms=when, answer=answer, signal=signal, event=event, reasons=reasons)

    def _filled(self, opening: Opening, rules: Rules) -> Step:
        """Return what the candle that fills an order makes of it; without one, what the end of the data does."""
        candles = self._window.minutes(self.symbol).candles
        begin = look_back_begin(candles, self._record.start, self._window.price_count, rules.base_ms)
        filling = minutes_that_fill(candles, rules.model, begin=begin) & (candles.timestamp >= opening.not_before)
        until = close_due(opening, rules)
        if opening.close_at is not None and len(candles) and rules.bar_end(int(candles.timestamp[-1])) >= until:
            before = (filling & (candles.timestamp < until)).nonzero()[0]
            newest = self._minute_at(int(before[-1])) if len(before) else None
            return step(opening, Boundary(until, self.price, newest=newest), rules)
        if opening.close_at is not None or not filling.any():
            return step(opening, DataEnd(self.when_ms, self.price, self.price), rules)
        return step(opening, self._minute_at(int(filling.argmax())), rules)

    def _minute_at(self, index: int) -> Minute:
        """Return a base bar of the symbol."""
        candles = self._window.minutes(self.symbol).candles
        _, open_, high, low, close, _ = candles.block[:, index].tolist()
        average = float(self._window.average_prices(self.symbol)[index])
        return Minute(int(candles.timestamp[index]), open_, high, low, close, average)

    def _verdict(self, strategy: Strategy, request: Any) -> Any:
        """Return the risk profile's answer with nothing else open; its callbacks are not called."""
        assert strategy.risk is not None  # only a profile asks for a place  # noqa: S101
        return run_here(RiskPlaces(replace(registry.risks.get(strategy.risk), callbacks={})).ask(request))

    def _last_id(self) -> str | None:
        """Return the id of the signal that was opened last."""
        past = (event for event in reversed(self._records.events) if event.when < self.when_ms)
        return next((event.signal.id for event in past if isinstance(event, Opened)), None)

    # --- as context manager -------------------------------------------------------------------------------------

    def __enter__(self) -> Moment:
        self._tokens.append(current.set(self.context))
        return self

    def __exit__(self, *_: object) -> None:
        current.reset(self._tokens.pop())

    # --- showing ------------------------------------------------------------------------------------------------

    def _recent(self) -> Candles | None:
        """Return the last few base bars, or as many as there are."""
        for limit in range(_SHOWN, 0, -1):
            try:
                return self.candles(self._window.base, limit)
            except NotEnoughData:
                continue
        return None

    @property
    def _bar(self) -> str:
        """What a base bar of the run is called."""
        return bar_text(self._window.base)

    def _clock(self, when: float) -> str:
        """When a base bar opened: the time of day, with its date where bars are longer than a minute."""
        text = minute_text(when)
        return text[11:] if self._window.base == MINUTE else text

    def _standing(self) -> str:
        if self.signal is None:
            return "nothing open or scheduled"
        row = _row_text(self.signal)
        if self.state == "scheduled":
            return f"{row} waits for its entry"
        costs = self._record.plan.settings
        parts = fills_between(self._events_of(self.signal))
        entry = Fill(number=0, kind="entry", at=self.signal.scheduled_at, share=1.0, price=self.signal.price_open)
        fills, slippage, fee = [entry, *parts], costs.percent_slippage, costs.percent_fee
        left = held(fills)
        net = result(self.signal.position, fills, slippage=slippage, fee=fee, rest=left, price=self.price)
        leaves = ", and leaves at the next candle" if self.state == "leaving" else ""
        size = f" with {left:.4g} of its first size" if parts else ""
        worth = percent_text(net.pnl_percentage) if net.points is None else points_text(net.points)
        return f"{row} is open{size}{leaves}, {worth} net at this price{self._stop()}"

    def _stop(self) -> str:
        """The stop in force, where it is not the declared one any more."""
        assert self.signal is not None  # the caller looked  # noqa: S101
        stop = stop_at(self._record, self.signal, self.when_ms)
        if stop is None:
            return "" if self.signal.price_stop_loss is None else "; no stop now"
        moved = stop.price != self.signal.price_stop_loss
        return f"; the stop lies at {level_text(stop.price)} now ({stop.reason})" if moved else ""

    def _head(self) -> str:
        try:
            price = f"price {self.price:.8g}"
        except NotEnoughData:
            price = "no price yet"
        return f"{self._record.plan.strategy.name} on {self.symbol} at {utc_text(self.when_ms)}: {price}"

    def _decided(self) -> str:
        decision = self.decision
        if decision is None:
            return ""
        if isinstance(decision, Rejected):
            return f"the run rejected its answer: {'; '.join(reason.text for reason in decision.reasons)}"
        if isinstance(decision, RiskRefused):
            return f"{decision.refused_by} refused: {decision.note}"
        return f"the run {decision.action} {_row_text(decision.signal)}"

    def __repr__(self) -> str:
        lines = [self._head(), f"  {self._standing()}"]
        lines += [f"  {line}" for line in self.why.splitlines()]
        lines += [f"  {self._decided()}"] if self.decision else []
        recent = self._recent()
        if recent is not None:
            names = ("open", "high", "low", "close", "volume")
            rows = [names, *(tuple(plain_number(candle[name]) for name in names) for candle in recent)]
            widths = [max(14, *(len(text) + 2 for text in column)) for column in zip(*rows, strict=True)]
            times = [self._bar, *(self._clock(candle["timestamp"]) for candle in recent)]
            widest = max(8, *(len(time) + 2 for time in times))
            for time, row in zip(times, rows, strict=True):
                lines.append("  " + time.ljust(widest) + "".join(map(str.rjust, row, widths)))
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        paragraphs = [self._standing(), *self.why.splitlines(), *([self._decided()] if self.decision else [])]
        names = ("open", "high", "low", "close", "volume")
        recent = self._recent()
        table = element("p", f"no {self._bar} had closed yet")
        if recent is not None:
            rows = (
                element(
                    "tr",
                    element("th", self._clock(candle["timestamp"]), scope="row"),
                    elements("td", (plain_number(candle[name]) for name in names)),
                )
                for candle in recent
            )
            table = element(
                "table",
                element("caption", f"the last {len(recent)} closed {self._bar}s of {self.symbol}"),
                element("thead", element("tr", elements("th", (f"{self._bar} (UTC)", *names), scope="col"))),
                element("tbody", *rows),
            )
        head = element("strong", self._head())
        return element("div", head, elements("div", paragraphs), table, class_="bknb-moment")


def _ended_by_clock(event: Any) -> bool:
    """Return whether an event was known at its moment already, before that minute's candle."""
    return isinstance(event, Cancelled) and event.reason in ("timeout", "frame_end")


def _parameters(function: Callable[..., Any]) -> Container[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return ()


def _row_text(signal: OpenSignal | ScheduledSignal) -> str:
    ends = ends_text(signal.minute_estimated_time, signal.until, signal.bars)
    return (
        f"{signal.position} at {signal.price_open:.8g} (target {level_text(signal.price_take_profit)}, "
        f"stop {level_text(signal.price_stop_loss)}, {ends})"
    )
