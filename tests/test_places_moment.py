"""Stepping into a run of a strategy with places: what was in each of them, and what came of the answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from managed import FREE
from scenarios import MINUTE, ORIGIN, source
from test_places import NAMES, buy, in_places, market
from worlds import MODELS, SEEDS, SETTINGS, walk

import bknb
from bknb.domain.signal_events import Opened, Rejected, RiskRefused, Scheduled
from bknb.errors import UsageError

MONEY = {"capital": 1_000, "sizing": "percent:60"}
CANDLES = {2: (100, 100, 98.9, 99), 3: (99, 99, 97.9, 98), 5: (98, 101.5, 98, 101)}


def ran(rows: Any, *, end: int, **options: Any) -> bknb.Result:
    own = {name: options.pop(name) for name in ("get_signal", "manage", "places", "manage_interval", "risk", "interval")
           if name in options}  # fmt: skip
    bknb.add_strategy("placed", **{"interval": "1m"} | own)
    return bknb.backtest(
        "BTCUSDT", strategy="placed", exchange=source(rows), frame=(ORIGIN, ORIGIN + end * MINUTE), **options
    )


def at(result: bknb.Result, minute: int) -> Any:
    return result.at(ORIGIN + minute * MINUTE)


def grid() -> list[bknb.Signal]:
    return [buy("99", 99), buy("98", 98), buy("97", 97), buy(None, 90)]


@pytest.fixture(scope="module")
def run() -> bknb.Result:
    return ran(market(CANDLES, 8), end=8, get_signal=grid, places=5, settings=FREE)


def test_each_place_has_its_state_its_signal_and_its_events(run: bknb.Result) -> None:
    states = {minute: {each.place: each.state for each in at(run, minute).places} for minute in (0, 1, 3, 4, 6)}
    waits = dict.fromkeys(("1", "97", "98", "99"), "scheduled")
    assert states == {
        0: {},
        1: waits,
        3: waits | {"2": "scheduled", "99": "open"},
        4: waits | {"2": "scheduled", "98": "open", "99": "open"},
        6: dict.fromkeys(("1", "2", "97"), "scheduled"),
    }
    moment = at(run, 4)
    assert [each.place for each in moment.places] == ["1", "97", "2", "99", "98"]  # the oldest first, then by name
    assert (moment.state, moment.signal.place) == ("scheduled", "1")
    assert [each.place for each in moment.positions] == [each.place for each in moment.places]
    opened = next(each for each in moment.places if each.place == "98")
    assert opened.signal.price_open == 98
    assert opened.why.splitlines()[-1].startswith("2024-01-01 00:03 UTC")
    assert "in 98: long at 98 (target 100, stop none" in repr(moment)
    assert "in 97: long at 97" in moment._repr_html_()


def test_what_came_of_the_answer_is_told_signal_by_signal_and_asked_again(run: bknb.Result) -> None:
    first = at(run, 0)
    asked = first.ask().events
    assert [(event.action, event.signal.place) for event in asked] == [
        ("scheduled", name) for name in ("99", "98", "97", "1")
    ]
    assert set(asked) == set(first.decisions)
    assert first.decision == first.decisions[0]
    assert "in 97: the run scheduled long at 97" in repr(first)
    again = at(run, 1).ask()
    assert (again.left_out, [event.signal.place for event in again.events]) == (3, ["2"])
    assert "signals left out, as the place was taken or none was free: 3" in repr(again)
    other = first.ask(lambda: [buy("x", 95, price_take_profit=90.0), buy("y", 95)])
    assert [type(event).__name__ for event in other.events] == ["Rejected", "Scheduled"]
    assert other.accepted
    assert other.reasons[0].code == other.events[0].reasons[0].code


def test_a_risk_profile_sees_the_other_places_when_it_is_asked_again() -> None:
    bknb.add_risk("two", validations=[bknb.protections.max_open(2)])
    result = ran(market({}), end=6, get_signal=grid, places=5, risk="two", settings=FREE)
    moment = at(result, 0)
    assert [type(event).__name__ for event in moment.ask().events] == ["Scheduled", "Scheduled"] + ["RiskRefused"] * 2
    assert {key(event) for event in moment.ask().events} == {key(event) for event in moment.decisions}
    assert [type(event).__name__ for event in at(result, 3).ask().events] == ["RiskRefused"] * 2


def test_manage_is_asked_again_about_one_place_by_name() -> None:
    seen: dict[tuple[int, str], Any] = {}

    def manage(ctx: Any, position: Any) -> Any:
        ctx.memo["asked"] = ctx.memo.get("asked", 0) + 1
        seen[ctx.when.minute, position.place] = position, ctx.positions, ctx.memo["asked"]
        if position.place == "a" and position.minutes == 2:
            return bknb.Move(price_stop_loss=90.0 - len(ctx.positions))
        return bknb.Close() if position.place == "b" and position.minutes >= 4 else None

    def get_signal(when: Any) -> Any:
        names = {0: ("b", "a"), 3: ("c",)}.get(when.minute, ())
        return [bknb.Signal(position="long", place=name, price_stop_loss=80.0) for name in names]

    result = ran(market({}), end=8, get_signal=get_signal, manage=manage, places=4, settings=FREE)
    asked = dict(seen)
    assert {name for _, name in asked} == {"a", "b", "c"}
    for (minute, name), (position, _, _) in asked.items():
        again = at(result, minute).manage(place=name)
        assert (again.position, again.diverged) == (position, "")
    assert at(result, 5).positions[0].price_stop_loss == 88.0
    assert seen == asked  # what it saw when it was asked last, and the memo
    moved = at(result, 5).manage(lambda: bknb.Move(price_stop_loss=95.0), place="c")
    assert [(event.signal.place, event.price_stop_loss) for event in moved.events] == [("c", 95.0)]
    with pytest.raises(UsageError, match=r"several places could be managed at .*: 'a', 'c'\n.*manage\(place='a'\)"):
        at(result, 6).manage()
    with pytest.raises(UsageError, match=r"waiting in the place 'b' at .*\n.*there was something in 'a', 'c'"):
        at(result, 6).manage(place="b")


def test_what_manage_said_about_another_place_is_not_in_the_story_of_a_signal() -> None:
    def manage(position: Any) -> Any:
        return bknb.Move(price_stop_loss=-5.0) if position.place == "b" and position.minutes == 2 else None

    def get_signal(when: Any) -> Any:
        return [bknb.Signal(position="long", place=name) for name in "ab"] if when.minute == 0 else None

    result = ran(market({}), end=6, get_signal=get_signal, manage=manage, places=3, settings=FREE)
    (rejected,) = result.run_record.records.rejected
    assert rejected.place == "b"
    stories = {event.signal.place: result.why(event.signal.id) for event in result.events if event.action == "opened"}
    assert ["rejected" in stories[name] for name in "ab"] == [False, True]
    assert at(result, 2).decisions == ()  # it was no answer of get_signal


def key(event: Any) -> Any:
    if isinstance(event, Rejected):
        return event.place, event.reasons
    if isinstance(event, RiskRefused):
        return event.signal.place, event.note
    return event.action, event.signal


def place_of(event: Any) -> str:
    return str(event.place if isinstance(event, Rejected) else event.signal.place)


@pytest.mark.slow
@given(
    model=st.sampled_from(MODELS),
    seed=SEEDS,
    lists=st.booleans(),
    managed=st.booleans(),
    money=st.sampled_from([{}, MONEY]),
)
@settings(max_examples=4)
@example(model="pessimistic", seed=1, lists=True, managed=True, money=MONEY)
def test_every_moment_of_a_random_run_comes_out_again(
    model: str, seed: int, lists: bool, managed: bool, money: dict[str, Any]  # noqa: FBT001
) -> None:  # fmt: skip
    """Positions as entries and as ``manage`` saw them, the answer, and what came of it, in all places."""
    answers = in_places({name: seed + number for number, name in enumerate(NAMES)}, lists=lists)
    seen: dict[Any, Any] = {}

    def get_signal(ctx: Any) -> Any:
        answer = answers["get_signal"](ctx.when, ctx.price)
        seen[ctx.when_ms] = answer, ctx.positions
        return answer

    def manage(ctx: Any, position: Any) -> Any:
        seen[ctx.when_ms, position.place] = position, ctx.positions
        return answers["manage"](ctx.when, position, ctx.price)

    own = {"manage": manage, "manage_interval": "1m" if seed % 2 else "5m"} if managed else {}
    own |= money
    result = ran(walk(seed), end=150, get_signal=get_signal, places=2, settings=SETTINGS, execution=model, **own)
    assert not result.errors
    asked = dict(seen)
    seen.clear()
    records = result.run_record.records
    for when in [moment for moment in asked if isinstance(moment, int)][5::17]:
        moment = result.at(when)
        again = moment.ask()
        assert (again.answer, moment.seen_by_entries) == asked[when]
        if money:  # which is not asked again
            continue
        of_manage = moment.left_by_manage  # there it may have answered with the next signal, or been rejected
        assert {key(event) for event in again.events if place_of(event) not in of_manage} == {
            key(event) for event in moment.decisions if place_of(event) not in of_manage
        }
        ordered = {event.signal.id for event in records.events if isinstance(event, Opened | Scheduled)
                   and event.signal.scheduled_at == when}  # fmt: skip
        assert ordered == {event.signal.id for event in moment.decisions if not isinstance(event, Rejected)}
    for when, name in [each for each in asked if isinstance(each, tuple)][7::61]:
        held = result.at(when).manage(place=name)
        assert (held.position, held.diverged) == (asked[when, name][0], "")
    assert seen == {each: asked[each] for each in seen}


@pytest.mark.parametrize("places", [1, 3])
def test_a_list_whose_orders_are_moved_one_after_the_other_is_there_as_manage_saw_it(places: int) -> None:
    """Between two questions, and with an add until the next one: questions come every five minutes."""
    seen: dict[int, Any] = {}
    name = None if places == 1 else "a"

    def get_signal(when: Any) -> Any:
        if when.minute:
            return None
        return [bknb.Signal(side="long", place=name, id=each, price_open=price, valid=None)
                for each, price in (("x", 97.0), ("y", 96.0))]  # fmt: skip

    def manage(when: Any, position: Any) -> Any:
        seen[when.minute] = position
        moved = {1: ("x", 95.0), 2: ("y", 94.0), 3: ("x~2", 93.0), 7: ("y~2", 98.0)}.get(when.minute)
        if moved is not None:
            return bknb.Move(id=moved[0], price_open=moved[1])
        return bknb.Add(1, price_open=90.0, valid="slot") if when.minute == 11 else None

    result = ran(market({8: (99, 99, 97, 98)}, 18), end=18, get_signal=get_signal, manage=manage, places=places,
                 interval="5m", manage_interval="1m", settings=FREE)  # fmt: skip
    asked = dict(seen)
    assert [each.id for each in asked[5].waiting] == ["y~2", "x~3"]
    assert (len(asked[12].waiting), len(asked[16].waiting)) == (1, 0)
    for minute, position in asked.items():
        held = at(result, minute).manage()
        assert (held.position, held.diverged) == (position, ""), minute
    assert at(result, 2).decisions == ()  # what manage moved is no answer of the strategy


def test_of_each_signal_one_thing_was_decided() -> None:
    for places in (1, 2):
        orders = [
            bknb.Signal(side="long", place=None if places == 1 else f"{price}", price_open=price)
            for price in (99.0, 98.0)
        ]
        rows = market({0: (100, 100, 98.9, 99)}, 8)
        moment = at(ran(rows, end=8, get_signal=lambda orders=orders: orders, places=places, settings=FREE), 0)
        events = moment.ask().events
        assert [type(event) for event in events] == [Scheduled, Scheduled]
        assert set(events) == set(moment.decisions)
