"""What is believed of the minutes an exchange pushes: whatever order they come in, and whatever is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bknb.market.candles import Candles
from bknb.market.pushed_minutes import HELD, PushedMinutes, Row, is_turn

MINUTE = 60_000
FORMING: tuple[Row, ...] = ((10, 10, 10, 10, 1), (10, 12, 10, 12, 2), (10, 12, 9, 9, 3))
CLOSED: Row = (10, 12, 9, 11, 4)
NAN = float("nan")


def answer(*rows: tuple[int, Row]) -> Candles:
    return Candles.from_rows([(minute * MINUTE, *row) for minute, row in rows])


def believed(*, until: int = 1) -> PushedMinutes:
    """Minutes before ``until`` were pushed as closed and answered the same."""
    minutes = PushedMinutes()
    for minute in range(until):
        minutes.push(minute * MINUTE, CLOSED, closed=True)
    minutes.answered(answer(*((minute, CLOSED) for minute in range(until))), 0, until * MINUTE)
    return minutes


def given_at(minutes: PushedMinutes, minute: int, *, with_pushed: bool = True) -> Row | None:
    candles = minutes.give(minute * MINUTE, (minute + 1) * MINUTE, with_pushed=with_pushed)
    return None if candles is None else tuple(float(row[0]) for row in candles.block[1:])  # type: ignore[return-value]


@given(st.permutations([*((row, False) for row in FORMING), (CLOSED, True)] * 2))
def test_neither_order_nor_doubles_make_a_difference(updates: list[tuple[Row, bool]]) -> None:
    minutes = believed()
    for row, closed in updates:
        minutes.push(MINUTE, row, closed=closed)
    assert minutes.has(MINUTE)
    assert given_at(minutes, 1) == CLOSED


@pytest.mark.parametrize(
    ("row", "closed"),
    [
        (CLOSED, False),  # the exchange did not say that it has closed
        ((10, 12, 9, NAN, 4), True),
        ((10, float("inf"), 9, 11, 4), True),
        ((10, 10.5, 9, 11, 4), True),  # a high below the close
        ((10, 12, 11, 11, 4), True),  # a low above the open
        ((10, 12, 9, 11, -4), True),
        ((10, 11, 9, 11, 4), True),  # a high that was exceeded before
        ((10, 12, 9.5, 11, 4), True),
        ((10, 12, 9, 11, 2), True),  # less volume than before
        ((10.5, 12, 9, 11, 4), True),  # another open
    ],
)
def test_a_minute_is_not_given_that_contradicts_itself_or_did_not_close(row: Row, *, closed: bool) -> None:
    minutes = believed()
    for update in FORMING:
        minutes.push(MINUTE, update, closed=False)
    minutes.push(MINUTE, row, closed=closed)
    assert not minutes.has(MINUTE)
    assert given_at(minutes, 1) is None


@pytest.mark.parametrize("later", [((10, 12, 9, 9, 4), True), ((10, 12, 9, 11, 5), False), ((10, 13, 9, 11, 4), False)])
def test_an_update_that_contradicts_a_closed_minute_takes_it_back(later: tuple[Row, bool]) -> None:
    minutes = believed()
    minutes.push(MINUTE, CLOSED, closed=True)
    assert minutes.has(MINUTE)
    minutes.push(MINUTE, later[0], closed=later[1])
    assert not minutes.has(MINUTE)


def test_what_is_pushed_is_given_after_one_answer_that_agrees_and_again_after_each_interruption() -> None:
    minutes = PushedMinutes()
    minutes.push(0, CLOSED, closed=True)
    assert given_at(minutes, 0) is None
    minutes.answered(answer((0, CLOSED)), 0, MINUTE)
    minutes.push(MINUTE, CLOSED, closed=True)
    assert given_at(minutes, 1, with_pushed=False) is None
    assert given_at(minutes, 1) == CLOSED
    minutes.interrupted()
    minutes.push(2 * MINUTE, CLOSED, closed=True)
    assert given_at(minutes, 2) is None
    minutes.answered(answer((2, CLOSED)), 2 * MINUTE, 3 * MINUTE)
    minutes.push(3 * MINUTE, CLOSED, closed=True)
    assert given_at(minutes, 3) == CLOSED


def test_the_answer_counts_and_the_difference_is_counted_once() -> None:
    minutes = believed()
    minutes.push(MINUTE, CLOSED, closed=True)
    assert given_at(minutes, 1) == CLOSED
    other: Row = (10, 12, 9, 10, 4)
    for _ in range(2):
        minutes.answered(answer((1, other)), MINUTE, 2 * MINUTE)
    assert given_at(minutes, 1) == other
    assert (minutes.compared, minutes.differed) == (2, 1)
    (difference,) = minutes.differences
    assert str(difference) == "1970-01-01 00:01 UTC: pushed 10 12 9 11 4, answered 10 12 9 10 4"


def test_after_a_difference_sixty_answers_in_a_row_must_agree() -> None:
    minutes = believed()
    minutes.push(MINUTE, CLOSED, closed=True)
    minutes.answered(answer((1, FORMING[2])), MINUTE, 2 * MINUTE)
    for minute in range(2, 62):
        assert not minutes.believed
        minutes.push(minute * MINUTE, CLOSED, closed=True)
        minutes.answered(answer((minute, CLOSED)), minute * MINUTE, (minute + 1) * MINUTE)
    assert minutes.believed
    minutes.interrupted()
    minutes.push(62 * MINUTE, CLOSED, closed=True)
    minutes.answered(answer((62, CLOSED)), 62 * MINUTE, 63 * MINUTE)
    assert minutes.believed


def test_a_minute_that_answers_leave_out_is_not_given_and_one_that_was_given_is_counted() -> None:
    minutes = believed()
    minutes.push(MINUTE, CLOSED, closed=True)
    assert given_at(minutes, 1) == CLOSED
    minutes.answered(answer((0, CLOSED), (2, CLOSED)), 0, 3 * MINUTE)
    assert given_at(minutes, 1) is None
    assert [str(each) for each in minutes.differences] == [
        "1970-01-01 00:01 UTC: pushed 10 12 9 11 4, answered nothing"
    ]
    assert not minutes.believed


def test_an_answer_that_ends_before_a_minute_says_nothing_of_it() -> None:
    minutes = believed()
    minutes.push(MINUTE, CLOSED, closed=True)
    minutes.answered(answer((0, CLOSED)), 0, 2 * MINUTE)
    assert minutes.differed == 0
    assert given_at(minutes, 1) == CLOSED


def test_an_answer_that_contradicts_itself_says_nothing() -> None:
    minutes = PushedMinutes()
    minutes.push(0, CLOSED, closed=True)
    minutes.answered(answer((0, CLOSED), (0, FORMING[2])), 0, MINUTE)
    assert (minutes.compared, given_at(minutes, 0)) == (0, None)


def test_a_minute_pushed_after_its_answer_is_compared_too() -> None:
    minutes = PushedMinutes()
    minutes.answered(answer((0, CLOSED)), 0, MINUTE)
    minutes.push(0, FORMING[2], closed=True)
    assert minutes.differed == 1
    assert given_at(minutes, 0) == CLOSED


def test_minutes_that_were_given_unanswered_are_asked_for_at_the_next_turn() -> None:
    minutes = believed()
    for minute in (1, 2, 3):
        minutes.push(minute * MINUTE, CLOSED, closed=True)
        assert minutes.first_to_ask(minute * MINUTE, (minute + 1) * MINUTE) == MINUTE
        assert given_at(minutes, minute) == CLOSED
    minutes.answered(answer(*((minute, CLOSED) for minute in (1, 2, 3))), MINUTE, 4 * MINUTE)
    assert minutes.first_to_ask(4 * MINUTE, 5 * MINUTE) == 4 * MINUTE
    assert minutes.compared == 4


def test_nothing_is_waited_for_where_nothing_comes() -> None:
    minutes = PushedMinutes()
    assert minutes.settled(0)
    minutes.push(0, CLOSED, closed=False)
    assert not minutes.settled(0)
    assert not minutes.settled(MINUTE)
    for minute in (1, 1, 2):
        minutes.missed(minute * MINUTE)
    assert not minutes.settled(3 * MINUTE)
    minutes.missed(3 * MINUTE)
    assert minutes.settled(4 * MINUTE)
    minutes.push(4 * MINUTE, FORMING[0], closed=False)
    assert not minutes.settled(4 * MINUTE)
    minutes.interrupted()
    assert minutes.settled(4 * MINUTE)


def test_what_is_held_does_not_grow() -> None:
    minutes = believed()
    for minute in range(1, 1000):
        minutes.push(minute * MINUTE, CLOSED, closed=True)
        assert given_at(minutes, minute) == CLOSED
        minutes.answered(answer((minute - 1, CLOSED)), (minute - 1) * MINUTE, minute * MINUTE)
    sizes = [len(each) for each in vars(minutes).values() if isinstance(each, (dict, set, list))]
    assert max(sizes) <= HELD + 1


@given(count=st.integers(1, 300), at_once=st.integers(1, 60), minute=st.integers(0, 10_000))
def test_symbols_take_turns(count: int, at_once: int, minute: int) -> None:
    rounds = -(-count // at_once)
    turns: list[Any] = [
        [place for place in range(count) if is_turn(place, count, at_once, (minute + k) * MINUTE)]
        for k in range(rounds)
    ]
    assert sorted(place for turn in turns for place in turn) == list(range(count))
    assert all(len(turn) <= at_once for turn in turns)
