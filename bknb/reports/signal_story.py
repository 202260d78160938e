"""The events of a signal as lines of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..domain.declared_exits import Target
from ..domain.formatting import ends_text, level_text, minute_text, points_text
from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.signal_events import (
    AddCancelled,
    Added,
    Cancelled,
    Closed,
    Milestone,
    Moved,
    Opened,
    Reduced,
    Rejected,
    RiskRefused,
    Scheduled,
)

RANK: Final[dict[type, int]] = {
    RiskRefused: 0,
    Scheduled: 1,
    Opened: 2,
    Moved: 3,
    AddCancelled: 3,
    Added: 3,
    Reduced: 3,
    Rejected: 4,
    Milestone: 4,
    Closed: 5,
    Cancelled: 5,
}
"""The order of what happens to a signal within one minute."""


def history(records: Any) -> list[Any]:
    """All events that carry a signal row, in order of time; within a minute by :data:`RANK`.

    Parameters
    ----------
    records : Records
        With ``events`` (without idle minutes), ``positions``, ``milestones`` and ``refused``.
    """
    events = [*records.events, *records.positions, *records.milestones, *records.refused]
    return sorted(events, key=lambda event: (event.when, RANK[type(event)]))


def story(records: Any, signal_id: str) -> list[str]:
    """The events of a signal as lines; of several with the same id, one after the other."""
    found: dict[SignalKey, list[Any]] = {}
    for event in history(records):
        if event.signal.id == signal_id:
            found.setdefault(key_of(event.signal), []).append(event)
    return [event_line(event) for events in found.values() for event in with_rejected(events, records.rejected)]


def story_of(records: Any, key: SignalKey, *, before: int | None = None) -> list[str]:
    """The events of one signal as lines; ``before`` leaves out those at or after a moment (UTC ms)."""
    events = with_rejected([event for event in history(records) if key_of(event.signal) == key], records.rejected)
    return [event_line(event) for event in events if before is None or event.when < before]


def with_rejected(events: list[Any], rejected: Iterable[Rejected]) -> list[Any]:
    """The events of one signal, and between them the answers of ``manage`` that were rejected while it was there.

    Nothing else is asked about its place meanwhile. At the moment of its end there may be: that is left out. A signal
    of which only a refusal is known was not there.
    """
    if all(isinstance(event, RiskRefused) for event in events):
        return events
    first, last = events[0], events[-1]
    until = last.when if isinstance(last, Closed | Cancelled) else None
    place = first.signal.place
    between = [
        one for one in rejected if one.place == place and first.when < one.when and (until is None or one.when < until)
    ]
    return sorted([*events, *between], key=lambda event: (event.when, RANK[type(event)])) if between else events


def event_line(event: Any) -> str:
    """One event as a line of text, with its moment and price."""
    return f"{minute_text(event.when)} UTC  price {event.price:.8g}  {event_text(event)}"


def event_text(event: Any) -> str:
    """What an event says."""
    signal: Any = getattr(event, "signal", None)
    levels = "" if isinstance(event, Rejected) else _levels(signal)
    match event:
        case Scheduled():
            text = f"scheduled: {signal.position} waits for {signal.price_open:.8g} ({levels})"
        case Opened():
            lifetime = ends_text(signal.minute_estimated_time, signal.until, signal.bars)
            text = f"opened: {signal.position} at {signal.price_open:.8g} ({levels}, {lifetime})"
        case Reduced():
            fill = event.fill
            text = f"closed {fill.share:g} of the first size at {fill.price:.8g}: {fill.reason}, {event.size:g} is left"
        case Added():
            fill, average = event.fill, event.average_price
            text = f"added {fill.share:g} at {fill.price:.8g}: {event.size:g} is held at {average:.8g} on average"
        case AddCancelled():
            limit = "" if event.price_open is None else f" at {event.price_open:.8g}"
            text = f"an add of {event.share:g}{limit} was taken back: {event.reason}"
        case Moved():
            text = f"{_BEGAN.get(event.reason, f'moved ({event.reason})')}: stop {level_text(event.price_stop_loss)}"
            text += f" ({event.stop_reason})" if event.stop_reason != "stop_loss" else ""
            text += f", {_targets(event.targets)}"
            text += "" if event.deadline is None else f", until {minute_text(event.deadline)} UTC"
        case Milestone():
            goal = "target" if event.side == "profit" else "stop"
            text = f"{event.level} % of the way to the {goal}"
        case RiskRefused():
            text = f"{event.refused_by} refused: {event.note}"
        case Cancelled():
            text = f"cancelled: {event.reason}" + (f" ({event.note})" if event.note else "")
        case Rejected():
            text = f"what manage answered was rejected: {'; '.join(reason.text for reason in event.reasons)}"
        case _:
            pnl = event.pnl
            doubt = ", the candle allows another reading" if event.ambiguous else ""
            net = (
                f"net {pnl.pnl_percentage:+z.4f} % = gross {pnl.gross_percentage:+z.4f} - fees "
                f"{pnl.fee_percentage:.4f} - slippage {pnl.slippage_percentage:.4f}"
                if pnl.points is None
                else f"net {points_text(pnl.points)} after costs"
            )
            there = "" if event.closed_by is None else f" by the broker ({event.closed_by}{_own(event)})"
            text = f"closed{there}: {event.close_reason} at {event.price_close:.8g}{doubt}; {net}{_parts(event)}"
    note = _note(event)
    return text + (f" [{note}]" if note else "")


def _own(event: Closed) -> str:
    """What the minute would have done of itself with a position that was closed at the broker."""
    if event.own_reason is None or event.own_price is None:
        return "; the minute would have left it open"
    return f"; the minute would have closed it by {event.own_reason} at {event.own_price:.8g}"


def _note(event: Any) -> str:
    """What the strategy, or somebody by hand, said with an event."""
    match event:
        case Scheduled() | Opened():
            return str(event.signal.note)
        case Reduced() | Added():
            return event.fill.note
        case Closed() | AddCancelled():
            return event.note
        case _:
            return ""


_BEGAN: Final = {"trailing_stop": "the trailing stop began", "breakeven": "the stop moved to break-even"}


def _targets(targets: tuple[Target, ...]) -> str:
    """Targets with the shares they close."""
    if not targets:
        return "no target"
    levels = (
        f"{target.price:.8g}" if target.share is None else f"{target.price:.8g} x {target.share:g}"
        for target in targets
    )
    return f"target{'' if len(targets) == 1 else 's'} {', '.join(levels)}"


def _levels(signal: OpenSignal | ScheduledSignal) -> str:
    """What a signal declared: targets, stop, a trailing stop, break-even."""
    target = _targets(signal.targets) if signal.targets else f"target {level_text(signal.price_take_profit)}"
    texts = [target, f"stop {level_text(signal.price_stop_loss)}"]
    if (trailing := signal.trailing) is not None:
        behind = f"{trailing.percent:g} %" if trailing.percent is not None else f"{trailing.distance:.8g}"
        texts.append(f"trailing {behind}" + (f" after {trailing.after:g} %" if trailing.after else ""))
    if signal.breakeven is not None:
        texts.append(f"break-even after {signal.breakeven.after:g} %")
    return ", ".join(texts)


def _parts(event: Closed) -> str:
    """What a position that was filled in parts says more of."""
    if len(event.fills) <= 2:
        return ""
    average = "" if event.average_price is None else f", entered at {event.average_price:.8g} on average"
    return f"; {len(event.fills)} fills{average}"
