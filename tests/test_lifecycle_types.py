"""Impossible steps of a signal: refused by the type checker, and at run time with the events of the signal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bknb.config import Settings
from bknb.domain import lifecycle as life
from bknb.domain.fills_at_stops_and_gaps import Entry, Minute, execution_model
from bknb.domain.manage_answers import Add, Cancel, Close, Move, Reduce
from bknb.domain.position_book import PositionOrder, new_book, size_allowed
from bknb.domain.position_fills import DUST
from bknb.domain.profit_of_partial_closes import held
from bknb.domain.risk_request_and_verdict import WeightLimits
from bknb.domain.signal import OpenSignal, ScheduledSignal, Signal, sign_of
from bknb.domain.signal_events import Cancelled, Closed, Rejected
from bknb.errors import InvalidTransition

HEAD = """
from typing import assert_never
from bknb.domain.signal_events import (Active, Cancelled, Closed, Idle, Opened, Scheduled, TickResult)
from bknb.domain.lifecycle import (
    Activate, Answer, Asking, AskingAdds, Boundary, DataEnd, Flat, Halt, Holding, Managed, Opening, Planned, Rules,
    SkippedMinutes, Verdict, Waiting, step,
)
"""
MATCH = """
def f(result: TickResult) -> float:
    match result:
        case Idle() | Scheduled() | Opened() | Active():
            return result.price
        case Closed():
            return result.price_close
{last}
        case _:
            assert_never(result)
"""
REFUSED = {
    "flat_halt": ("def f(s: Flat, h: Halt, r: Rules) -> None:\n    step(s, h, r)", "call-overload"),
    "opening_answer": ("def f(s: Opening, a: Answer, r: Rules) -> None:\n    step(s, a, r)", "call-overload"),
    "opening_skipped": ("def f(s: Opening, m: SkippedMinutes, r: Rules) -> None:\n    step(s, m, r)", "call-overload"),
    "asking_boundary": ("def f(s: Asking, b: Boundary, r: Rules) -> None:\n    step(s, b, r)", "call-overload"),
    "flat_boundary": ("def f(s: Flat, b: Boundary, r: Rules) -> None:\n    step(s, b, r)", "call-overload"),
    "opening_close": ("def f(s: Opening) -> object:\n    return s.leaving", "attr-defined"),
    "flat_verdict": ("def f(s: Flat, v: Verdict, r: Rules) -> None:\n    step(s, v, r)", "call-overload"),
    "flat_managed": ("def f(s: Flat, m: Managed, r: Rules) -> None:\n    step(s, m, r)", "call-overload"),
    "opening_planned": ("def f(s: Opening, p: Planned, r: Rules) -> None:\n    step(s, p, r)", "call-overload"),
    "holding_activate": ("def f(s: Holding, a: Activate, r: Rules) -> None:\n    step(s, a, r)", "call-overload"),
    "waiting_planned": ("def f(s: Waiting, p: Planned, r: Rules) -> None:\n    step(s, p, r)", "call-overload"),
    "asking_adds_minute": ("def f(s: AskingAdds, m: Managed, r: Rules) -> None:\n    step(s, m, r)", "call-overload"),
    "flat_book": ("def f(s: Waiting) -> object:\n    return s.book", "attr-defined"),
    "flat_signal": ("def f(s: Flat) -> object:\n    return s.signal", "attr-defined"),
    "closed_percent": ("def f(c: Closed) -> object:\n    return c.percent_tp", "attr-defined"),
    "frozen": ("def f(c: Closed) -> None:\n    c.price_close = 1.0", "misc"),
    "missing_case": (MATCH.format(last=""), "arg-type"),
}
ACCEPTED = MATCH.format(last="        case Cancelled():\n            return 0.0") + (
    "\ndef g(s: Waiting, d: DataEnd, r: Rules) -> None:\n    step(s, d, r)\n"
    "\ndef h(s: Opening, b: Boundary, t: Halt, e: DataEnd, m: Managed, r: Rules) -> None:\n"
    "    step(s, b, r)\n    step(s, t, r)\n    step(s, e, r)\n    step(s, m, r)\n"
    "\ndef i(s: Holding, a: Answer, b: Boundary, r: Rules) -> None:\n    step(s, a, r)\n    step(s, b, r)\n"
    "\ndef j(s: Holding | Waiting, m: Managed, a: AskingAdds, v: Verdict, r: Rules) -> None:\n"
    "    step(a, v, r)\n    if isinstance(s, Holding):\n        step(s, m, r)\n    else:\n        step(s, m, r)\n"
)


@pytest.mark.slow
def test_the_type_checker_refuses_what_cannot_be(tmp_path: Path) -> None:
    """Together with bknb itself, by its rules and in its cache: whoever checks types next does it in seconds.

    In a process of its own, which ends without taking apart the millions of objects that it made.
    """
    pytest.importorskip("mypy")
    files = {"accepted": ACCEPTED} | {name: text for name, (text, _) in REFUSED.items()}
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(HEAD + text + "\n")
    paths = [str(tmp_path / f"{name}.py") for name in files]
    root = Path(__file__).parent.parent
    options = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(root / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *options, str(root / "bknb"), *paths]
    environment = os.environ | {"MYPYPATH": str(root)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not done.stderr
    found = dict.fromkeys(files, "")
    for name, code in re.findall(r"(\w+)\.py:\d+: error: .*\[([\w-]+)\]", done.stdout):
        found[name] = found.get(name, "") + code
    assert found == {"accepted": ""} | {name: code for name, (_, code) in REFUSED.items()}, done.stdout


ROW: dict[str, Any] = {
    "id": "mine", "symbol": "BTCUSDT", "strategy": "s", "exchange": "e", "position": "long", "price_open": 100.0,
    "price_take_profit": 110.0, "price_stop_loss": 90.0, "minute_estimated_time": 5, "note": "", "scheduled_at": 0,
}  # fmt: skip
WAITS, OPEN = ScheduledSignal(**ROW), OpenSignal(**ROW, pending_at=0)
CANDLE = Minute(0, 100.0, 100.0, 100.0, 100.0, 100.0)
HOLDING = life.Holding(signal=OPEN, highest=100.0, lowest=100.0)
LEAVING = replace(HOLDING, leaving=life.Leaving(reason="time_expired", decided_at=0, not_before=0, price=100.0))
MANAGED = replace(HOLDING, book=new_book(OPEN, highest=100.0, lowest=100.0))
ADD = PositionOrder(kind="add", number=1, share=1.0, decided_at=0, not_before=0, price=100.0)
STATES = [
    life.Flat(last_id="mine"),
    life.Asking(candidate=OPEN, when=0, price=100.0, not_before=0),
    life.Opening(signal=WAITS, not_before=0),
    life.Opening(signal=replace(WAITS, id="next"), not_before=0, last_id="before", ending=LEAVING),
    life.Waiting(signal=WAITS),
    life.Entering(signal=WAITS, minute=CANDLE, entry=Entry(100.0, at_open=False)),
    HOLDING,
    LEAVING,
    MANAGED,
    life.AskingAdds(holding=MANAGED, adds=(ADD,), when=0, price=100.0),
]
ASKED = Signal(position="long", price_take_profit=110.0, price_stop_loss=90.0, minute_estimated_time=5)
INPUTS = [
    life.Answer(0, 100.0, ASKED), CANDLE, life.Verdict(True), life.SkippedMinutes(100.0, 100.0),  # noqa: FBT003
    life.Managed((Close(),), 100.0, 0, 100.0), life.Boundary(0, 100.0), life.DataEnd(0, 100.0, 100.0),
    life.Halt(0, 100.0), life.Activate(0, 100.0), life.Planned(Move(price_stop_loss=95.0), 60_000),
    life.Reenter(0),
]  # fmt: skip
LEGAL = {
    "Flat": {"Answer", "Minute", "Reenter"},
    "Asking": {"Verdict"},
    "Opening": {"Boundary", "Minute", "DataEnd", "Halt"},
    "AskingAdds": {"Verdict"},
    "Waiting": {"Boundary", "Managed", "Activate", "Minute", "DataEnd", "Halt"},
    "Entering": {"Verdict"},
    "Holding": {"Answer", "SkippedMinutes", "Boundary", "Managed", "Planned", "Minute", "DataEnd", "Halt"},
}
STAYS = {
    "Answer": "not asked while its position is open",
    "Managed": "a position that leaves is not managed",
    "Planned": "a position that leaves is not moved",
}
RULES = life.Rules("BTCUSDT", "s", "e", None, "live", execution_model("touch"), Settings())


def broken(state: life.State) -> list[str]:
    """Broken invariants of a state, empty when all hold."""
    match state:
        case life.Flat():
            return []
        case life.AskingAdds(holding=holding):
            return broken(holding)
        case life.Asking(candidate=signal) | life.Holding(signal=signal):
            pass
        case life.Opening(signal=signal) | life.Waiting(signal=signal) | life.Entering(signal=signal):
            pass
    sign = sign_of(signal.position)
    found: list[str] = []
    target, stop = signal.price_take_profit, signal.price_stop_loss
    if target is not None and sign * (target - signal.price_open) <= 0:
        found.append("the take profit is on the wrong side of the entry")
    if stop is not None and sign * (signal.price_open - stop) <= 0:
        found.append("the stop loss is on the wrong side of the entry")
    if isinstance(signal, OpenSignal) and signal.pending_at < signal.scheduled_at:
        found.append("the position opened before it was scheduled")
    if isinstance(state, life.Holding):
        if not state.lowest <= signal.price_open <= state.highest:
            found.append("the extreme prices do not contain the entry")
        if any(level % 10 or not 0 <= level <= 100 for level in (state.profit_level, state.loss_level)):
            found.append("a milestone is no multiple of 10 between 0 and 100")
        if (book := state.book) is not None and not (book.left > DUST and abs(book.left - held(book.fills)) <= DUST):
            found.append("what is left of the position is not what its fills leave")
    return found


@pytest.mark.parametrize(("state", "given"), list(product(STATES, INPUTS)), ids=lambda value: type(value).__name__)
def test_an_impossible_step_raises_with_the_events_of_the_signal(state: Any, given: Any) -> None:
    source, came = type(state).__name__, type(given).__name__
    stays = state in (HOLDING, MANAGED) and came == "Answer"  # asked only while it leaves
    stays = stays or (state is LEAVING and came in ("Managed", "Planned"))  # and managed only while it does not
    if came in LEGAL[source] and not stays:
        assert broken(life.step(state, given, RULES).state) == []
        return
    with pytest.raises(InvalidTransition) as caught:
        life.step(state, given, RULES)
    text = str(caught.value)
    expected = [STAYS[came]] if stays else [f"cannot go from {source} by {came}", *LEGAL[source]]
    assert [each for each in expected if each not in text] == []
    assert "s on BTCUSDT (live, touch)" in text
    assert "mine" in text


def test_weights_take_back_an_entry_order_that_no_candle_has_filled() -> None:
    """What leaves before it leaves all the same; an answer that is none of an entry order is told."""
    weights = RULES._replace(weights=WeightLimits())
    alone = life.Opening(signal=replace(WAITS, entry="market"), not_before=0, last_id="old")
    behind = replace(alone, ending=LEAVING)
    for state, then in ((alone, life.Flat(last_id="old")), (behind, LEAVING)):
        found = life.step(state, life.Managed((Cancel(),), 100.0, 0, 100.0), weights)
        assert found.state == then
        assert [(type(event).__name__, event.reason) for event in found.events] == [("Cancelled", "strategy")]  # type: ignore[union-attr]
        other = life.Managed((Cancel(), Signal(position="short")), 100.0, 60_000, 100.0)
        found = life.step(state, other, weights)
        assert isinstance(found.state, life.Opening)
        assert (found.state.signal.position, found.state.ending) == ("short", state.ending)
        told_of = life.step(state, life.Managed((Close(),), 100.0, 0, 100.0), weights)
        assert told_of.state is state
        assert [type(event).__name__ for event in told_of.events] == ["Rejected"]


# --- a position that leaves, and the order after it -----------------------------------------------------------------


def minute(t: int, price: float, *, traded: bool = True) -> Minute:
    return Minute(t * 60_000, price, price, price, price, price, traded)


def both(*, leaves: int, enters: int) -> life.Opening:
    """A position that leaves from one minute on, and the market order that follows it from another on."""
    leaving = life.Leaving(reason="time_expired", decided_at=0, not_before=leaves * 60_000, price=100.0)
    order = replace(WAITS, id="next", entry="market")
    return life.Opening(signal=order, not_before=enters * 60_000, ending=replace(HOLDING, leaving=leaving))


def told(found: life.Step) -> list[str]:
    return [f"{type(event).__name__} {event.signal.id} @{event.when // 60_000}" for event in found.events]  # type: ignore[union-attr]


PESSIMISTIC = RULES._replace(model=execution_model("pessimistic"), risk="one")


def test_what_leaves_does_not_wait_for_an_order_that_was_decided_late() -> None:
    state = both(leaves=1, enters=3)
    found = life.step(state, minute(1, 101.0), PESSIMISTIC)
    assert told(found) == ["Closed mine @1"]
    assert found.commands == (life.Release("mine"),)
    assert isinstance(found.state, life.Opening)
    assert (found.state.ending, found.state.last_id, found.state.not_before) == (None, "mine", 180_000)
    assert told(life.step(found.state, minute(2, 102.0), PESSIMISTIC)) == []
    later = life.step(found.state, minute(3, 103.0), PESSIMISTIC)
    assert told(later) == ["Opened next @3"]
    assert isinstance(later.state, life.Holding)
    assert later.state.signal.price_open == 103.0


def test_an_order_waits_for_the_position_before_it() -> None:
    state = both(leaves=3, enters=2)
    for t in (1, 2):
        assert life.step(state, minute(t, 101.0), PESSIMISTIC) == life.Step(state)
    assert life.step(state, minute(3, 101.0, traded=False), PESSIMISTIC) == life.Step(state)
    found = life.step(state, minute(4, 104.0), PESSIMISTIC)
    assert told(found) == ["Closed mine @4", "Opened next @4"]
    assert found.commands == (life.Release("mine"),)


def test_parts_that_were_ordered_before_fill_once_while_a_late_order_waits() -> None:
    rules = PESSIMISTIC._replace(risk=None)
    state: Any = life.step(life.Flat(), life.Answer(0, 100.0, Signal(side="long")), rules).state
    state = life.step(state, minute(0, 100.0), rules).state
    half = life.Managed((Reduce(0.5),), 100.0, 60_000, 100.0)
    late = life.Managed((Close(), Signal(side="short")), 100.0, 120_000, 100.0, decided_at=300_000,
                        entry_decided_at=300_000)  # fmt: skip
    state = life.step(life.step(state, half, rules).state, late, rules).state
    heard: list[str] = []
    for t in range(2, 6):
        found = life.step(state, minute(t, 100.0 + t), rules)
        state, heard = found.state, heard + told(found)
    closed = next(event for event in found.events if isinstance(event, Closed))
    mine = closed.signal.id
    assert heard == [f"Reduced {mine} @2", f"Closed {mine} @5", f"Opened {state.signal.id} @5"]
    assert [(fill.kind, fill.price, fill.share) for fill in closed.fills[1:]] == [
        ("reduce", 102.0, 0.5), ("exit", 105.0, 0.5)]  # fmt: skip


def test_a_stop_takes_an_order_back_and_the_position_before_it_still_leaves() -> None:
    state = both(leaves=1, enters=1)
    found = life.step(state, life.Halt(60_000, 100.0), PESSIMISTIC)
    assert found.state == state.ending
    assert told(found) == ["Cancelled next @1"]
    assert found.commands == (life.Release("next"),)
    alone = life.step(replace(state, ending=None, last_id="mine"), life.Halt(60_000, 100.0), PESSIMISTIC)
    assert alone.state == life.Flat(last_id="mine")


@pytest.mark.parametrize("state", [life.Opening(signal=WAITS, not_before=0), life.Waiting(signal=WAITS)])
def test_what_is_taken_back_has_the_note_of_who_took_it_back(state: life.Opening | life.Waiting) -> None:
    (end,) = life.step(state, life.Halt(60_000, 100.0, "manual", "enough"), PESSIMISTIC).events
    assert isinstance(end, Cancelled)
    assert (end.reason, end.note) == ("manual", "enough")


@pytest.mark.parametrize("allowed", [True, False])
def test_the_place_of_what_left_is_given_back_with_its_end_not_while_the_next_is_asked_about(*, allowed: bool) -> None:
    leaving = life.Leaving(reason="time_expired", decided_at=0, not_before=0, price=100.0)
    order = replace(WAITS, id="next", price_open=100.0, price_take_profit=120.0, price_stop_loss=80.0)
    state = life.Opening(signal=order, not_before=0, ending=replace(HOLDING, leaving=leaving))
    asked = life.step(state, Minute(60_000, 105.0, 106.0, 95.0, 101.0, 101.0), PESSIMISTIC)
    assert isinstance(asked.state, life.Entering)
    assert told(asked) == []
    (reserve,) = asked.commands
    assert isinstance(reserve, life.Reserve)
    assert reserve.ending == "mine"  # free for this candidate, and for nobody else until the end is saved
    found = life.step(asked.state, life.Verdict(allowed), PESSIMISTIC)
    assert told(found)[:2] == ["Closed mine @1", "Scheduled next @1"]
    assert found.commands == (life.Release("mine"), *(() if allowed else (life.Release("next"),)))


def test_an_add_that_was_allowed_before_a_stop_is_decided() -> None:
    asked = life.step(MANAGED, life.Managed((Add(0.5), Add(0.25)), 100.0, 60_000, 100.0), PESSIMISTIC)
    assert isinstance(asked.state, life.AskingAdds)
    second = life.step(asked.state, life.Verdict(allowed=True), PESSIMISTIC)
    assert isinstance(second.state, life.AskingAdds)
    found = life.step(second.state, life.Verdict(allowed=False, stopped=True), PESSIMISTIC)
    assert isinstance(found.state, life.Holding)
    assert found.state.book is not None
    assert size_allowed(found.state.book) == 1.5  # the size of its place in the risk profile
    (rejected,) = found.events
    assert isinstance(rejected, Rejected)
    assert [reason.code for reason in rejected.reasons] == ["stopped"]
    assert "Add(share=0.25" in rejected.signal
    assert "Add(share=0.5" not in rejected.signal
