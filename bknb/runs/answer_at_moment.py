"""The answer of a strategy that was asked again at a moment, and what its run would have made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from ..domain.competing_entries import Signals, read_signals
from ..domain.fills_at_stops_and_gaps import Minute
from ..domain.formatting import ends_text, level_text, utc_text
from ..domain.lifecycle import (
    Answer,
    Answers,
    Asking,
    Boundary,
    DataEnd,
    Flat,
    Opening,
    Rules,
    Step,
    rejection,
    step,
)
from ..domain.market_on_close_orders import close_due
from ..domain.risk_request_and_verdict import OpenPosition, place_of
from ..domain.signal import OpenSignal, ScheduledSignal, Signal
from ..domain.signal_events import (
    Opened,
    Reason,
    Rejected,
    RiskRefused,
    Scheduled,
)
from ..domain.signal_validation import is_list
from ..domain.signals_by_place import signals_by_place
from ..engine.filling_minutes import look_back_begin, minutes_that_fill
from ..engine.registry import Strategy, registry
from ..engine.risk_profile_places import RiskPlaces
from .nested_loop import run_here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..market.window import Window
    from .moment import Moment
    from .run_record import RunRecord


Decision: TypeAlias = Scheduled | Opened | Rejected | RiskRefused


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
        What the run would make of it with nothing open, once the next candle has closed; None for no signal. Of a
        strategy with several places what it would make of the first, with what was there in them.
    events : tuple
        The same of all signals of the answer, in order.
    left_out : int
        How many signals are for a place that was taken, or found none free.
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
    events: tuple[Decision, ...] = ()
    left_out: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the run would open or schedule it; of several places, at least one signal."""
        return isinstance(self.event, (Scheduled, Opened)) or any(
            isinstance(event, Scheduled | Opened) for event in self.events
        )

    def __repr__(self) -> str:
        when = utc_text(self.when_ms)
        lines = [_line(event) for event in self.events]
        if self.left_out:
            lines.append(f"signals left out, as the place was taken or none was free: {self.left_out}")
        if len(lines) > 1:
            return "\n".join([f"{when}:", *(f"  {line}" for line in lines)])
        if self.event is None:
            return f"{when}: {lines[0] if lines else 'no signal'}"
        if isinstance(self.event, (Scheduled, Opened)):
            return f"{when}: {lines[0]}"
        verb = "refused" if isinstance(self.event, RiskRefused) else "rejected"
        return "\n".join([f"{when}: {verb}", *(f"  {reason.text}" for reason in self.reasons)])


def _decisions(made: Sequence[Any]) -> list[Decision]:
    """What was decided of each signal, and not that an order that was scheduled filled in its first candle."""
    found = [each for each in made if isinstance(each, Scheduled | Opened | Rejected | RiskRefused)]
    scheduled = {each.signal.id for each in found if isinstance(each, Scheduled)}
    return [each for each in found if not (isinstance(each, Opened) and each.signal.id in scheduled)]


def _line(event: Decision) -> str:
    """What the run would make of one signal."""
    if isinstance(event, Rejected):
        return (
            f"{f'in {event.place}: ' if event.place else ''}rejected: {'; '.join(each.text for each in event.reasons)}"
        )
    where = f"in {event.signal.place}: " if event.signal.place else ""
    if isinstance(event, RiskRefused):
        return f"{where}refused: {event.note}"
    return f"{where}{event.action} {row_text(event.signal)}"


class RulesAtMoment:
    """The rules of a run at a moment, with nothing else open.

    Parameters
    ----------
    moment
        Where the strategy is asked.
    record, window
        Of the run, and its candles.
    """

    def __init__(self, moment: Moment, record: RunRecord, window: Window) -> None:
        self._moment, self._record, self._window = moment, record, window

    def judged(self, strategy: Strategy, answer: object) -> Asked:
        """Return the outcome of an answer by the rules of the run."""
        when = self._moment.when_ms
        if answer is None:
            return Asked(when_ms=when, answer=None, signal=None, event=None)
        assert self._record.rules is not None  # a backtest has them  # noqa: S101
        rules = self._record.rules._replace(strategy=strategy.name, risk=strategy.risk)
        read = read_signals(answer if is_list(answer) else [answer], negative=rules.negative)
        if strategy.places > 1:
            return self._in_places(strategy, answer, read, rules)
        price, faults, signals = self._moment.price, read.faults, read.signals
        if not signals:
            refused = rejection(rules, when, price, faults, answer) if faults else None
            told: tuple[Any, ...] = () if refused is None else (refused,)
            return Asked(when_ms=when, answer=answer, signal=None, event=refused, reasons=faults, events=told)
        given = Answers(when, price, signals) if is_list(answer) else Answer(when, price, signals[0])
        made = self._made(strategy, given, rules, ())
        event: Any = next((each for each in made if isinstance(each, Scheduled | Opened)), made[0])
        return Asked(
            when_ms=when,
            answer=answer,
            signal=signals[0],
            event=event,
            reasons=(*faults, *_reasons(event, made)),
            events=tuple(_decisions(made)),
        )

    def _made(
        self, strategy: Strategy, given: Answer | Answers, rules: Rules, taken: Sequence[OpenPosition]
    ) -> tuple[Any, ...]:
        """What comes of an answer, with places of the risk profile that are taken."""
        made = step(Flat(last_id=self._last_id(rules.place)), given, rules)
        while isinstance(made.state, Asking):
            made = step(made.state, self.verdict(strategy, made.commands[0], taken), rules)
        told = made.events
        return told + self._filled(made.state, rules).events if isinstance(made.state, Opening) else told

    def _in_places(self, strategy: Strategy, answer: object, read: Signals, rules: Rules) -> Asked:
        """The outcome of an answer for several places, with what was there in them."""
        when, price, left = self._moment.when_ms, self._moment.price, self._moment.left_by_manage
        there = [each for each in self._moment.places if each.state != "scheduled" or each.place not in left]
        leaving = {each.place for each in there if each.state == "leaving"} | left.intersection(
            each.place for each in there
        )
        found = signals_by_place(
            read.signals,
            taken={each.place for each in there} - leaving,
            leaving=leaving,
            ids={signal.id for each in there for signal in (each.signal, *each.beside)},
            count=strategy.places,
        )
        told: list[Any] = [rejection(rules, when, price, (fault,), answer) for fault in read.faults]
        told += [rejection(rules, when, price, (each.reason,), each.signal) for each in found.refused]
        holders = {each.place: place_of(each.signal, each.began) for each in there}
        for name, signals in found.places.items():
            given = Answer(when, price, signals[0]) if len(signals) == 1 else Answers(when, price, signals)
            taken = [holder for place, holder in holders.items() if place != name]
            made = self._made(strategy, given, rules._replace(place=name), taken)
            told += _decisions(made)
            kept = next((each.signal for each in made if isinstance(each, Scheduled | Opened)), None)
            if kept is not None:
                holders[name] = place_of(kept, when)
        events = tuple(told)
        reasons: tuple[Reason, ...] = ()
        for event in events:
            reasons += _reasons(event, (event,))
        return Asked(
            when_ms=when,
            answer=answer,
            signal=next(iter(read.signals), None),
            event=next(iter(events), None),
            reasons=reasons,
            events=events,
            left_out=found.left_out,
        )

    def _filled(self, opening: Opening, rules: Rules) -> Step:
        """Return what the candle that fills an order makes of it; without one, what the end of the data does."""
        candles = self._window.minutes(self._moment.symbol).candles
        begin = look_back_begin(candles, self._record.start, self._window.price_count, rules.base_ms)
        filling = minutes_that_fill(candles, rules.model, begin=begin) & (candles.timestamp >= opening.not_before)
        until = close_due(opening, rules)
        if opening.close_at is not None and len(candles) and rules.bar_end(int(candles.timestamp[-1])) >= until:
            before = (filling & (candles.timestamp < until)).nonzero()[0]
            newest = self._minute_at(int(before[-1])) if len(before) else None
            return step(opening, Boundary(until, self._moment.price, newest=newest), rules)
        if opening.close_at is not None or not filling.any():
            return step(opening, DataEnd(self._moment.when_ms, self._moment.price, self._moment.price), rules)
        return step(opening, self._minute_at(int(filling.argmax())), rules)

    def _minute_at(self, index: int) -> Minute:
        """Return a base bar of the symbol."""
        candles = self._window.minutes(self._moment.symbol).candles
        _, open_, high, low, close, _ = candles.block[:, index].tolist()
        average = float(self._window.average_prices(self._moment.symbol)[index])
        return Minute(int(candles.timestamp[index]), open_, high, low, close, average)

    def verdict(self, strategy: Strategy, request: Any, taken: Sequence[OpenPosition] = ()) -> Any:
        """Return the risk profile's answer with these places taken; its callbacks are not called."""
        assert strategy.risk is not None  # only a profile asks for a place  # noqa: S101
        return run_here(RiskPlaces(replace(registry.risks.get(strategy.risk), callbacks={}), taken).ask(request))

    def _last_id(self, place: str) -> str | None:
        """Return the id of the signal that was opened last in a place."""
        past = (event for event in reversed(self._record.records.events) if event.when < self._moment.when_ms)
        return next(
            (event.signal.id for event in past if isinstance(event, Opened) and event.signal.place == place), None
        )


def _reasons(event: Decision, made: tuple[Any, ...]) -> tuple[Reason, ...]:
    """Why signals are not taken, of which an event tells, and the others that came of the same answer."""
    if isinstance(event, RiskRefused):
        return (Reason("risk", f"risk profile {event.risk!r} refuses: {event.note}"),)
    return tuple(reason for each in made if isinstance(each, Rejected) for reason in each.reasons)


def row_text(signal: OpenSignal | ScheduledSignal) -> str:
    """A signal in a line: side, entry, levels and how long it may last."""
    ends = ends_text(signal.minute_estimated_time, signal.until, signal.bars)
    return (
        f"{signal.position} at {signal.price_open:.8g} (target {level_text(signal.price_take_profit)}, "
        f"stop {level_text(signal.price_stop_loss)}, {ends})"
    )
