"""The answer of a strategy that was asked again at a moment, and what its run would have made of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

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
from ..domain.signal import OpenSignal, ScheduledSignal, Signal
from ..domain.signal_events import (
    Opened,
    Reason,
    Rejected,
    RiskRefused,
    Scheduled,
)
from ..domain.signal_validation import is_list, read_answer
from ..engine.filling_minutes import look_back_begin, minutes_that_fill
from ..engine.registry import Strategy, registry
from ..engine.risk_profile_places import RiskPlaces
from .nested_loop import run_here

if TYPE_CHECKING:
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
            return f"{when}: {self.event.action} {row_text(self.event.signal)}"
        verb = "refused" if isinstance(self.event, RiskRefused) else "rejected"
        return "\n".join([f"{when}: {verb}", *(f"  {reason.text}" for reason in self.reasons)])


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
        price, several = self._moment.price, is_list(answer)
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
            made = step(made.state, self.verdict(strategy, made.commands[0]), rules)
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

    def verdict(self, strategy: Strategy, request: Any) -> Any:
        """Return the risk profile's answer with nothing else open; its callbacks are not called."""
        assert strategy.risk is not None  # only a profile asks for a place  # noqa: S101
        return run_here(RiskPlaces(replace(registry.risks.get(strategy.risk), callbacks={})).ask(request))

    def _last_id(self) -> str | None:
        """Return the id of the signal that was opened last."""
        past = (event for event in reversed(self._record.records.events) if event.when < self._moment.when_ms)
        return next((event.signal.id for event in past if isinstance(event, Opened)), None)


def row_text(signal: OpenSignal | ScheduledSignal) -> str:
    """A signal in a line: side, entry, levels and how long it may last."""
    ends = ends_text(signal.minute_estimated_time, signal.until, signal.bars)
    return (
        f"{signal.position} at {signal.price_open:.8g} (target {level_text(signal.price_take_profit)}, "
        f"stop {level_text(signal.price_stop_loss)}, {ends})"
    )
