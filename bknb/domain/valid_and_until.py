"""How long positions and orders last: moments that users write, as one text each, and when they are.

A deadline of a position is worked out when it opens: only then is it known which session that was in.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from .entry_timeout import rests_until
from .formatting import utc_text
from .interval import MINUTE_MS, slot_after
from .lifecycle_inputs import Managed, earliest_fill
from .market_clock_protocol import NEVER
from .position_book import ClosingOrder, CountedBars, Lifetime
from .signal import OpenSignal, Signal
from .signal_events import Reason
from .signal_validation import allow
from .states import Holding, Rules, State, position_of
from .text import shown
from .until_text import EXAMPLES, MINUTES, SESSION_END, instant_of, moment_text, reason_of


class Moments(NamedTuple):
    """When a text ends something: at the market at ``at``, and at the close of the session at ``close`` (UTC ms)."""

    at: int = NEVER
    close: int = NEVER


def moments_of(text: str, after: int, rules: Rules) -> Moments:
    """When what a text says ends, counted from ``after`` (UTC ms)."""
    if (minutes := MINUTES.fullmatch(text)) is not None:
        return Moments(at=after + int(minutes[1]) * MINUTE_MS)
    if (found := SESSION_END.fullmatch(text)) is not None:
        close = session_close(after, rules)
        before = int(found[1] or 0) * MINUTE_MS * (60 if found[2] == "h" else 1)
        return Moments(at=close - before if before else NEVER, close=close)
    if (moment := instant_of(text)) is not None:
        return Moments(at=moment)
    assert rules.clock is not None  # ``moment_faults`` looked  # noqa: S101
    return Moments(at=rules.clock().next_moment(text, after))


def session_close(after: int, rules: Rules) -> int:
    """The close (UTC ms) of the session in which an order that may fill from ``after`` on finds a last candle."""
    assert rules.clock is not None  # ``moment_faults`` looked  # noqa: S101
    clock = rules.clock()
    close = clock.session_end(after)
    while close < NEVER and close - MINUTE_MS < after:  # its last minute has begun
        close = clock.session_end(close)
    return close


def moment_faults(text: str, name: str, when: int, rules: Rules) -> list[Reason]:
    """What is wrong with a text that was read, decided at ``when`` (UTC ms)."""
    if MINUTES.fullmatch(text):
        return []
    if (moment := instant_of(text)) is not None:
        if moment > when:
            return []
        past = f"{name} {utc_text(moment)} is not later than the moment of the decision, {utc_text(when)}"
        return [reason_of(name, f"{past}; give a later one")]
    if rules.clock is None:
        return [reason_of(name, f"{name} {text!r} needs the clock of a market, and this run has none; give minutes")]
    if SESSION_END.fullmatch(text):
        return []
    fault = rules.clock().fault(text)
    return [reason_of(name, f"{name} must be {EXAMPLES}; got {shown(text, 60)}: {fault}")] if fault else []


def read_valid(value: object, when: int, rules: Rules, *, name: str = "valid") -> int | list[Reason] | None:
    """The moment (UTC ms) at which an order that rests from ``when`` on is taken back; or why that is none.

    ``None`` where nothing was said of it; far in the future for an order that rests until it is cancelled.
    """
    if value is UNSET:
        return None
    longest = rules.settings.max_signal_lifetime_minutes
    if value is None:
        ends = NEVER
    elif value == "slot":
        following = slot_after(when, rules.interval_ms) if rules.clock is None else rules.clock().next_question(when)
        if following is None:
            text = f"{name}='slot' is until the next question, and rows of a series do not say when they come"
            return [Reason("valid", f"{text}; give minutes or a moment, or None, until it is cancelled")]
        ends = following
    else:
        read = moment_text(value, name)
        if isinstance(read, Reason):
            advice = "; or 'slot', until the next question, or None, until it is cancelled"
            return [Reason("valid", read.text + ("" if "in minutes" in read.text else advice))]
        if faults := moment_faults(read, name, when, rules):
            return faults
        at, close = moments_of(read, when, rules)
        ends = close if at <= when else min(at, close)  # too short before the close: at the close itself
    if longest is not None and ends - when > longest * MINUTE_MS:
        what, _, of = name.partition(" ")
        text = f"{what} {shown(value, 60)}{of and ' '}{of} is above max_signal_lifetime_minutes = {longest}"
        return [Reason("valid_limit", f"{text}; {allow('max_signal_lifetime_minutes', None)}")]
    return ends


def valid_faults(signal: Signal, when: int, rules: Rules) -> list[Reason]:
    """What is wrong with how long the order of a signal rests, decided at ``when`` (UTC ms)."""
    if signal.price_open is None and signal.valid is not None:
        text = f"valid={shown(signal.valid, 60)} is how long an order rests, and price_open is None"
        return [Reason("valid", f"{text}: give its price, or leave valid out")]
    read = read_valid(signal.valid, when, rules)
    return read if isinstance(read, list) else []


def timed_fields(signal: Signal, when: int, rules: Rules) -> dict[str, Any]:
    """The fields of a checked signal that say how long it lasts, decided at ``when`` (UTC ms); it has no faults."""
    return {
        "until": "" if signal.until is None else moment_text(signal.until, "until"),
        "bars": signal.bars,
        "waits_until": read_valid(signal.valid, when, rules),
    }


def timed_faults(signal: Signal, when: int, rules: Rules) -> list[Reason]:
    """What is wrong with how long a signal and its order last, and with an order for the close of a session."""
    found = lifetime_faults(signal.until, signal.bars, when, rules)
    if signal.valid is not UNSET:
        found += valid_faults(signal, when, rules)
    if signal.entry == "close" and rules.clock is None:
        found.append(Reason("entry", "entry='close' needs the clock of a market, and this run has none"))
    return found


# --- a position -----------------------------------------------------------------------------------------------------


def lifetime_at(signal: OpenSignal, rules: Rules) -> Lifetime:
    """When the clock ends a position, worked out when it has opened: the earliest of what its signal says."""
    opened = opened_from(signal, rules)
    return lifetime_of(signal.until, signal.bars, signal.minute_estimated_time, opened=opened, rules=rules)


def opened_from(signal: OpenSignal, rules: Rules) -> int:
    """The moment (UTC ms) from which the lifetime of a position counts: its fill; of one at a close, that close."""
    if signal.entry != "close":
        return signal.pending_at
    assert rules.clock is not None  # its order was made with it  # noqa: S101
    return rules.on_bars(rules.clock().session_end(signal.pending_at))


def lifetime_of(
    until: str, bars: int | None, minutes: int | None, *, opened: int, rules: Rules, after: int | None = None
) -> Lifetime:
    """The earliest end of a position that opened at ``opened``, counted from there; a time of the day from ``after``.

    Moments in UTC ms.
    """
    at, close = NEVER, NEVER
    if until:
        since = opened if after is None or MINUTES.fullmatch(until) else after
        at, close = moments_of(until, since, rules)
        if close < NEVER and at <= since:
            at = NEVER  # too short before the close: at the close itself
        at = max(at, rules.bar_end(opened))  # a moment that had passed when it opened
    if minutes is not None:
        at = min(at, opened + minutes * MINUTE_MS)
    latest, counted = None if at >= NEVER else at, None
    if bars is not None:
        assert rules.clock is not None  # ``lifetime_faults`` looked  # noqa: S101
        at = min(at, rules.clock().candles_closed(opened, bars))
        counted = CountedBars(opened, bars, latest) if rules.learns_bars else None
    deadline = None if at >= NEVER else at
    return Lifetime(deadline, close=None if close >= NEVER else close, since=opened, counted=counted)


def counted_again(state: State, rules: Rules) -> State:
    """A state whose position, and adds, count the bars that came, as far as it is known which did."""
    held = position_of(state)
    if held is None or held.book is None:
        return state
    book = held.book
    if counted := book.counted or None:
        assert rules.clock is not None  # as in ``lifetime_of``  # noqa: S101
        ends = rules.clock().candles_closed(counted.opened, counted.bars)
        ends = min(ends, NEVER if counted.latest is None else counted.latest)
        book = replace(book, deadline=None if ends >= NEVER else ends)
    if any(order.rests_from is not UNSET for order in book.orders):
        orders = (
            order if order.rests_from is UNSET else replace(order, until=rests_until(order.rests_from, rules))
            for order in book.orders
        )
        book = replace(book, orders=tuple(orders))
    if book == held.book:
        return state
    held = replace(held, book=book)
    return held if isinstance(state, Holding) else replace(state, ending=held)  # it leaves while another one enters


def lifetime_faults(until: object, bars: object, when: int, rules: Rules) -> list[Reason]:
    """What is wrong with ``until`` and ``bars``, decided at ``when`` (UTC ms); ``None`` for what is not given."""
    found: list[Reason] = []
    if until is not None:
        text = moment_text(until, "until")
        found += [text] if isinstance(text, Reason) else moment_faults(text, "until", when, rules)
    if bars is None:
        pass
    elif not isinstance(bars, int) or isinstance(bars, bool) or not 0 < bars < 10**9:
        text = "bars must be a whole number above 0, of candles of the strategy's interval"
        found.append(Reason("bars", f"{text}, got {shown(bars, 60)}"))
    elif rules.clock is None:
        found.append(Reason("bars", "bars needs the clock of a market, and this run has none; give minutes"))
    longest = rules.settings.max_signal_lifetime_minutes
    if found or longest is None:
        return found
    read = "" if until is None else moment_text(until, "until")
    assert isinstance(read, str)  # found is empty  # noqa: S101
    assert bars is None or isinstance(bars, int)  # noqa: S101
    ends = lifetime_of(read, bars, None, opened=when, rules=rules)
    at = min(NEVER if ends.deadline is None else ends.deadline, NEVER if ends.close is None else ends.close)
    if at - when > longest * MINUTE_MS:
        named = " and ".join(name for name, value in (("until", until), ("bars", bars)) if value is not None)
        text = f"{named} would end the position later than max_signal_lifetime_minutes = {longest} after now"
        found.append(Reason("minutes_limit", f"{text}; {allow('max_signal_lifetime_minutes', None)}"))
    return found


def closing_order(
    before: ClosingOrder | UnsetType, given: Managed, note: str, rules: Rules
) -> ClosingOrder | Reason | Literal["late", "known"]:
    """The order that closes a position at the close of its session, decided as ``given``; ``before`` is the one it has.

    ``"late"``: that close can no more be reached; ``"known"``: the one before says the same, or closes earlier.
    Where the position was to be out at that close anyway, it is the order that there was, with another reason.
    """
    if rules.clock is None:
        text = "Close(at='close') needs the clock of a market, and this run has none; Close() closes at the market"
        return Reason("close_at", text)
    not_before, moment = earliest_fill(given, rules), session_close(given.when, rules)
    if session_close(not_before, rules) != moment:
        return "late"
    if before and (before.moment < moment or (before.moment == moment and before.reason != "time_expired")):
        return "known"
    if before and before.moment == moment:  # it is as old as that one, whose candle may be the last
        return replace(before, reason=given.source, note=note)
    return ClosingOrder(moment=moment, decided_at=given.when, not_before=not_before, reason=given.source, note=note)
