"""Entry orders that compete for one place, from a list of signals: the first that fills takes it, the others end.

What a candle does to one of them alone is said by :meth:`bknb.domain.fills_at_stops_and_gaps.ExecutionModel.entry`.
Where it fills several, what it fills at its open comes before what it reaches behind it, and at the open the signal
that is earlier in the list. Of several that it reaches behind its open nobody knows which was first: ``pessimistic``
takes the one whose position is worth least at the end of the candle, ``touch`` the one nearest to the open, and both
count it as ambiguous; ``vwap`` takes the one nearest to the average price.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from .checked_signal import activated
from .entry_timeout import timeout_of
from .fills_at_stops_and_gaps import Entry, Minute
from .lifecycle_entries import ending_minute, entered, ids_closed, refusal
from .pnl import net_percentage, net_points
from .risk_request_and_verdict import ALLOWED, Reserve, Verdict
from .signal import ScheduledSignal, Signal, key_of, sign_of
from .signal_events import Cancelled, Closed, Opened, PositionEvent, Reason, Scheduled
from .signal_validation import read_answer
from .states import (
    Entering,
    Flat,
    Opening,
    Rules,
    Step,
    Waiting,
    after_frame,
    labels,
    quiet_minute,
    waiting_signals,
)
from .unfilled_entries import cancelled_entries, flat_after, places_after, taken_back

_Told: TypeAlias = Closed | Scheduled | PositionEvent | Cancelled


class Signals(NamedTuple):
    """The signals of a list that could be read, in order, and why others could not."""

    signals: tuple[Signal, ...]
    faults: tuple[Reason, ...]

    @property
    def score(self) -> float | None:
        """The highest of their scores; ``None``: none of them has one."""
        scores = [signal.score for signal in self.signals if isinstance(signal.score, int | float)]
        return max(scores, default=None)


def read_signals(answer: Sequence[object], *, negative: bool = False) -> Signals:
    """What a strategy returned as a list, each as of :func:`bknb.domain.signal_validation.read_answer`.

    Examples
    --------
    >>> read_signals([None]), len(read_signals([{"position": "long", "price_open": 99.0}, 7]).faults)
    (Signals(signals=(), faults=()), 1)
    """
    read = [read_answer(each, negative=negative) for each in answer if each is not None]
    return Signals(
        tuple(each for each in read if isinstance(each, Signal)),
        tuple(each for each in read if isinstance(each, Reason)),
    )


def competing_opens(state: Opening, given: Minute, rules: Rules) -> Step:
    """A minute with several entry orders, and perhaps a position that leaves before them."""
    left = ending_minute(state, given, rules)
    if not isinstance(left.state, Opening) or left.state.ending is not None:
        return left
    events: tuple[Any, ...] = left.events
    state, commands = left.state, left.commands
    if not rules.model.can_fill(given, state.not_before):
        return Step(state, events + quiet_minute(state.signal, given, rules), commands)
    signals = waiting_signals(state)
    return competing_minute(
        signals, given, rules, holder=state.signal, last_id=state.last_id, earlier=events, first=True
    )


def competing_waits(state: Waiting, given: Minute, rules: Rules) -> Step:
    """A minute with several resting entries."""
    signals, over = waiting_signals(state), _over(state, given, rules)
    if over:
        reason = rules.model.frame_end_cancel if after_frame(given.t, rules) else "timeout"
        ended = taken_back(state, over, flat_after(state), given.t, given.price, reason, rules)
        if not isinstance(ended.state, Waiting):
            return ended
        left = tuple(signal for signal in signals if signal not in over)
        earlier = tuple(event for event in ended.events if isinstance(event, Cancelled))
        return competing_minute(left, given, rules, holder=state.signal, last_id=state.last_id, earlier=earlier)
    return competing_minute(signals, given, rules, holder=state.signal, last_id=state.last_id)


def _over(state: Waiting, given: Minute, rules: Rules) -> list[ScheduledSignal]:
    """What the clock has ended by a minute: where orders fill at opens it is told of that before."""
    if rules.model.fills_at_open:
        return []
    ended = after_frame(given.t, rules)
    return [signal for signal in waiting_signals(state) if ended or given.t >= timeout_of(signal, rules)]


def competing_minute(
    signals: tuple[ScheduledSignal, ...],
    minute: Minute,
    rules: Rules,
    *,
    holder: ScheduledSignal,
    last_id: str | None,
    earlier: tuple[_Told, ...] = (),
    first: bool = False,
) -> Step:
    """What a minute does to entry orders of which one can fill.

    Parameters
    ----------
    signals
        In the order of their list; there may be only one left.
    holder
        The one that has the place in the risk profile.
    last_id, earlier
        As of :class:`bknb.domain.states.Entering`.
    first
        Whether it is the first minute that can fill them.
    """
    model = rules.model
    new = _newest(signals) if first and signals else ()  # others beside one that was moved rest already
    can_fill = model.can_fill(minute)
    found = [(signal, model.entry(signal, minute, first=signal in new)) for signal in signals] if can_fill else []
    touched = [(signal, entry) for signal, entry in found if isinstance(entry, Entry)]
    rejected = [signal for signal, entry in found if entry == "reject"]
    chosen = _first_filled(touched, minute, rules) if touched else None
    if first and (chosen is None or chosen[1].rested):
        told = {key_of(event.signal) for event in earlier if isinstance(event, Scheduled)}
        fields = {**labels(rules), "when": minute.t, "price": minute.price}
        earlier += tuple(Scheduled(**fields, signal=each) for each in new if key_of(each) not in told)
    earlier += cancelled_entries(rejected, minute.t, minute.price, "price_reject", rules)
    left = tuple(signal for signal in signals if signal not in rejected)
    if chosen is None:
        state = Waiting(signal=left[0], last_id=last_id, beside=left[1:]) if left else Flat(last_id=last_id)
        quiet = quiet_minute(left[0], minute, rules) if left else ()
        heir = left[0] if left else None
        return Step(state, (*earlier, *quiet), places_after(earlier, heir, rules, holder=holder))
    signal, entry = chosen
    others = tuple(each for each in left if each is not signal)
    entering = Entering(
        signal=signal,
        minute=minute,
        entry=entry,
        last_id=last_id,
        earlier=earlier,
        beside=others,
        holder=holder,
        first=first,
    )
    again = signal not in new or (entry.rested and minute.t > signal.scheduled_at)
    if rules.sized or (again and rules.asks):
        filled = activated(signal, minute.t, entry.price, rules.tick)
        ending = next(ids_closed(earlier), None)
        asked = Reserve(
            filled, minute.t, minute.price, ending, fill=entry, earlier=earlier, again=again, holder=holder.id
        )
        return Step(entering, (), (asked,))
    return _entered(entering, holder, rules)


def competing_entered(state: Entering, given: Verdict, rules: Rules) -> Step:
    """The decision on one of several entries that was touched; where it is refused, the others have their turn."""
    holder, minute = state.holder, state.minute
    assert holder is not None  # else it was alone  # noqa: S101
    if given.allowed:
        return _entered(state, holder, rules, given)
    filled = activated(state.signal, minute.t, state.entry.price, rules.tick)
    refused: Any = refusal(filled, minute.t, minute.price, given, rules)
    ended = cancelled_entries([state.signal], minute.t, minute.price, "risk", rules, note=given.note)
    return competing_minute(
        state.beside,
        minute,
        rules,
        holder=holder,
        last_id=state.last_id,
        earlier=(*state.earlier, refused, *ended),
        first=state.first and _newest((state.signal, *state.beside))[0].scheduled_at in _moments(state.beside),
    )


def _moments(signals: Iterable[ScheduledSignal]) -> set[int]:
    return {signal.scheduled_at for signal in signals}


def _newest(signals: Sequence[ScheduledSignal]) -> tuple[ScheduledSignal, ...]:
    """Those of several signals that were decided last."""
    newest = max(_moments(signals))
    return tuple(signal for signal in signals if signal.scheduled_at == newest)


def _entered(state: Entering, holder: ScheduledSignal, rules: Rules, given: Verdict | None = None) -> Step:
    """The fill of one of several entries, and the end of the others."""
    minute = state.minute
    made = entered(state.signal, minute, state.entry, rules, given or ALLOWED)
    opened, rest = made.events[0], made.events[1:]
    assert isinstance(opened, Opened)  # it comes first  # noqa: S101
    taken = cancelled_entries(state.beside, minute.t, minute.price, "place_taken", rules)
    ended = [event for event in (*state.earlier, *rest, *taken) if isinstance(event, Closed | Cancelled)]
    commands = places_after(ended, opened.signal, rules, holder=holder)
    return Step(made.state, (*state.earlier, opened, *taken, *rest), commands)


def _first_filled(
    touched: Sequence[tuple[ScheduledSignal, Entry]], minute: Minute, rules: Rules
) -> tuple[ScheduledSignal, Entry]:
    """Which of several entries that a candle fills is first; there is at least one."""
    at_open = [each for each in touched if each[1].at_open or not each[1].rested]
    if at_open or len(touched) == 1:
        return (at_open or touched)[0]
    model = rules.model
    if model.watches == "average":
        return min(touched, key=lambda each: abs(each[1].price - minute.price))
    if model.stop_first:
        signal, entry = min(touched, key=lambda each: _worth(each[0], each[1], minute, rules))
    else:
        signal, entry = min(touched, key=lambda each: abs(each[1].price - minute.open))
    return signal, entry._replace(in_doubt=True)


def _worth(signal: ScheduledSignal, entry: Entry, minute: Minute, rules: Rules) -> float:
    """What a position is worth, after all costs, at the end of the candle that opens it, in units of its size."""
    made = entered(signal, minute, entry, rules)
    closed = next((event for event in made.events if isinstance(event, Closed)), None)
    price = minute.close if closed is None else closed.price_close
    costs = {"slippage": rules.settings.percent_slippage, "fee": rules.settings.percent_fee}
    if rules.negative:
        sign = sign_of(signal.position)
        worth = net_points([(sign, entry.price), (-sign, price)], **costs)
    else:
        worth = net_percentage(signal.position, entry.price, price, costs["slippage"], costs["fee"])
    return worth * (1.0 if signal.size is None else signal.size)
