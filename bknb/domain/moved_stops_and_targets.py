"""Moved levels: what a ``Move`` does to the book of a position, and what is wrong with one.

Levels are judged against the last close. A stop at or beyond it, and a deadline that has passed, count as reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .declared_exits import Ladder, targets_of
from .exit_validation import (
    broken_breakeven,
    broken_trailing,
    is_finite_number,
    is_positive,
    memo_text,
    read_ladder,
    sorted_ladder,
)
from .fills_at_stops_and_gaps import Exit
from .interval import MINUTE_MS
from .manage_answers import Move
from .position_book import ClosingOrder, Lifetime, PositionBook
from .profit_of_partial_closes import average_price
from .signal import OpenSignal, sign_of
from .signal_events import Reason
from .signal_validation import broken_lifetime
from .states import Holding, Rules
from .text import shown
from .trailing_and_breakeven_stops import (
    StopInForce,
    after_progress,
    costs_of,
    stop_in_force,
    stop_on_grid,
    target_on_grid,
    trail_reached,
)

if TYPE_CHECKING:
    from .percent_levels import PercentMove


class MovedBook(NamedTuple):
    """The book after a move; the exit when a level counts as reached; whether the move was too loose; reasons."""

    book: PositionBook
    ends: Exit | None
    looser: bool
    broken: list[Reason]


def moved_book(state: Holding, book: PositionBook, move: Move, *, when: int, close: float, rules: Rules) -> MovedBook:
    """What a move does, decided at ``when`` (UTC ms) with the last close ``close`` (quote currency)."""
    percents: PercentMove | None = None
    if move.stop_percent is not msgspec.UNSET or move.target_percent is not msgspec.UNSET:
        from .percent_levels import percent_move  # most moves are prices

        read = percent_move(move, state.signal.position, average_price(book.fills), rules.tick)
        if isinstance(read, list):
            return MovedBook(book, None, looser=False, broken=read)
        move, percents = read.move, read
    sign, broken = sign_of(state.signal.position), _broken(move, state, close, rules)
    if move.minute_estimated_time is not msgspec.UNSET:
        broken += broken_lifetime(move.minute_estimated_time, rules.settings)
    if _given(move.until) is not None or _given(move.bars) is not None:
        from .valid_and_until import lifetime_faults

        broken += lifetime_faults(_given(move.until), _given(move.bars), when, rules)
    if broken:
        return MovedBook(book, None, looser=False, broken=broken)
    best = state.highest if sign > 0 else state.lowest
    before = stop_in_force(book, sign, best, rules.tick)
    if move.price_take_profit is not msgspec.UNSET:
        book = msgspec.structs.replace(book, targets=targets_of(_targets(move.price_take_profit, sign, rules.tick)))
    book = _with_lifetime(book, move, state.signal, when, rules)
    if move.memo is not msgspec.UNSET:
        memo = memo_text(move.memo)
        assert isinstance(memo, str)  # _broken looked  # noqa: S101
        book = msgspec.structs.replace(book, memo=memo)
    book, looser = _with_stop(book, move, before, sign, rules.tick)
    if percents is not None:
        book = percents.noted(book)
    book = _with_exits(book, move, state.signal, best, rules)
    after = stop_in_force(book, sign, best, rules.tick)
    ends: Exit | None = None
    if after is not None and after != before and sign * (close - after.price) <= 0:
        ends = Exit(after.reason, close, ambiguous=False)
    elif book.deadline is not None and book.deadline <= when:
        ends = Exit("time_expired", close, ambiguous=False)
    return MovedBook(book, ends, looser, broken)


def _given(value: Any) -> Any:
    """A value of a move; ``None`` where it is not given."""
    return None if value is msgspec.UNSET else value


def _with_lifetime(book: PositionBook, move: Move, signal: OpenSignal, when: int, rules: Rules) -> PositionBook:
    """The book with the deadline of a move; an order to close at the close of a session stands."""
    if all(value is msgspec.UNSET for value in (move.minute_estimated_time, move.until, move.bars)):
        return book
    minutes, until, bars = _given(move.minute_estimated_time), _given(move.until), _given(move.bars)
    if until is None and bars is None and signal.entry != "close":
        ends = Lifetime(None if minutes is None else signal.pending_at + minutes * MINUTE_MS)
    else:
        from .until_text import moment_text
        from .valid_and_until import lifetime_of, opened_from

        text = "" if until is None else moment_text(until, "until")
        assert isinstance(text, str)  # lifetime_faults looked  # noqa: S101
        ends = lifetime_of(text, bars, minutes, opened=opened_from(signal, rules), rules=rules, after=when)
    closing = book.closing
    if not closing or (closing.reason == "time_expired" and closing.moment != ends.close):
        closing = msgspec.UNSET
        if ends.close is not None:
            closing = ClosingOrder(moment=ends.close, decided_at=when, not_before=when)
    counted = ends.counted or msgspec.UNSET
    return msgspec.structs.replace(book, deadline=ends.deadline, closing=closing, counted=counted)


def _with_stop(
    book: PositionBook, move: Move, before: StopInForce | None, sign: int, tick: float | None
) -> tuple[PositionBook, bool]:
    """The book with the stop of a move, where it is taken, and whether it was too loose."""
    if move.price_stop_loss is msgspec.UNSET:
        return book, False
    stop = move.price_stop_loss
    level = None if stop is None else stop_on_grid(float(stop), sign, tick)
    if move.loosen:
        book = msgspec.structs.replace(book, trail_stop=None, breakeven_stop=None, trail_first=False)
        return msgspec.structs.replace(book, stop=level, stop_reason="stop_loss"), False
    if before is not None and (level is None or sign * (level - before.price) < 0):
        return book, True
    if before is not None and level == before.price:
        return book, False
    return msgspec.structs.replace(book, stop=level, stop_reason="stop_loss"), False


def _with_exits(book: PositionBook, move: Move, signal: OpenSignal, best: float, rules: Rules) -> PositionBook:
    """The book with the trailing stop and the break-even stop of a move; what has been reached begins at once.

    A level that one of them had reached stays in force, unless ``loosen`` takes it away.
    """
    if move.trailing is not msgspec.UNSET:
        kept = None if move.loosen else trail_reached(book, sign_of(signal.position), best, rules.tick)
        first = book.trail_first and not move.loosen
        book = msgspec.structs.replace(book, trailing=move.trailing, trails=False, trail_stop=kept, trail_first=first)
    if move.breakeven is not msgspec.UNSET:
        kept = None if move.loosen else book.breakeven_stop
        first = book.trail_first and not move.loosen
        book = msgspec.structs.replace(book, breakeven=move.breakeven, breakeven_stop=kept, trail_first=first)
    return after_progress(signal, book, best, tick=rules.tick, costs=costs_of(rules.settings))[0]


def _targets(target: object, sign: int, tick: float | None) -> float | Ladder | None:
    """A checked take profit on the tick grid, away from the market."""
    if isinstance(target, list | tuple):
        ladder = read_ladder(target, negative=True)
        assert not isinstance(ladder, Reason)  # _broken looked  # noqa: S101
        return tuple((target_on_grid(price, sign, tick), share) for price, share in sorted_ladder(ladder, sign))
    return target_on_grid(float(target), sign, tick) if isinstance(target, int | float) else None


def _broken(move: Move, state: Holding, close: float, rules: Rules) -> list[Reason]:
    sign, found = sign_of(state.signal.position), list[Reason]()
    stop: object = move.price_stop_loss
    negative = rules.negative
    if stop is not msgspec.UNSET and stop is not None and not _is_price(stop, negative=negative):
        text = f"price_stop_loss of Move must be a finite number{'' if negative else ' above 0'}, or None"
        found.append(Reason("finite", f"{text}, got {shown(stop, 60)}"))
    found += _broken_target(move.price_take_profit, state, close, rules)
    if move.trailing is not msgspec.UNSET and move.trailing is not None:
        known = None if negative else close
        found += broken_trailing(move.trailing, sign=sign, price=known, what="the last close")
    if move.breakeven is not msgspec.UNSET and move.breakeven is not None:
        found += broken_breakeven(move.breakeven, sign=sign, settings=rules.settings)
    if move.memo is not msgspec.UNSET and isinstance(fault := memo_text(move.memo), Reason):
        found.append(fault)
    return found


def _is_price(value: object, *, negative: bool) -> bool:
    return is_finite_number(value) if negative else is_positive(value)


def _broken_target(target: object, state: Holding, close: float, rules: Rules) -> list[Reason]:
    tick, negative = rules.tick, rules.negative
    if target is msgspec.UNSET or target is None:
        return []
    if isinstance(target, list | tuple | Mapping):
        ladder = read_ladder(target, negative=negative)
        if isinstance(ladder, Reason):
            return [ladder]
        prices = [price for price, _ in ladder]
    elif isinstance(target, int | float) and _is_price(target, negative=negative):
        prices = [float(target)]
    else:
        text = f"price_take_profit of Move must be a finite number{'' if negative else ' above 0'}, a ladder or None"
        return [Reason("finite", f"{text}, got {shown(target, 60)}")]
    position = state.signal.position
    sign = sign_of(position)
    side, levels = ("above" if sign > 0 else "below"), [target_on_grid(price, sign, tick) for price in prices]
    if min(levels) <= 0 and not negative:
        return [Reason("positive", f"price_take_profit {min(prices):g} lies below the first tick {tick:g}")]
    return [
        Reason(
            "take_profit_side", f"a {position}'s price_take_profit {price:g} must be {side} the last close {close:g}"
        )
        for price in levels
        if sign * (price - close) <= 0
    ]
