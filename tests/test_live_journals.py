"""Late orders and holes of a live run are journals of few values; what a kill or damage left there is told or gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from order_events import MINUTE, holding, leaving, ordering, resting
from scenarios import MINUTE as MINUTE_MS
from scenarios import ORIGIN, source

import bknb
from bknb.domain.lifecycle import Flat, Holding
from bknb.domain.recovery import Owner, SavedLate
from bknb.errors import StateError
from bknb.live.hole_journal import HoleJournal
from bknb.live.late_journal import LateJournal
from bknb.live.values_saved_before_events import Progress, StateSaver
from bknb.ports import StateStore
from bknb.stores.file_store import FileStore
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

THIRD = Path(__file__).parent / "data" / "state-3" / "late-and-holes"
KEY = ("sma", "BTCUSDT")
OWNER = Owner(strategy="sma", exchange="demo", symbol="BTCUSDT", execution="touch")
LATE = {(9 * MINUTE, "exit"): 12 * MINUTE, (13 * MINUTE, "entry"): 15 * MINUTE}
HOLES = [(20 * MINUTE, 22 * MINUTE), (25 * MINUTE, 26 * MINUTE)]


def saver(store: StateStore) -> StateSaver:
    made = StateSaver(store, OWNER)
    made.restore()
    return made


def save(mine: StateSaver, state: Any, *, last: int, asked: int = 1) -> None:
    mine.save(state, (), Progress(last_minute=last * MINUTE, last_asked=asked * MINUTE, volume_seen=True))


# --- few values -------------------------------------------------------------------------------------------------


def test_a_thousand_late_orders_and_holes_are_few_values_that_are_not_written_as_a_whole() -> None:
    class Counting(MemoryStore):
        written = 0

        def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
            self.written += len(payload) * (kind in ("late", "hole"))
            super().write(kind, key, payload)

    with Counting() as store:
        mine = saver(store)
        for number in range(10, 3_010, 3):
            save(mine, leaving(ends=number, not_before=number + 2), last=number - 1)
            mine.save_holes((((number - 5) * MINUTE, (number - 4) * MINUTE),))
        assert {kind: len(store.keys(kind)) for kind in ("late", "hole")} == {"late": 2, "hole": 2}
        assert store.written < 2 * 1_000 * 64 * 80
        again = saver(store)
        assert len(again.late()) == 1_000
        assert len(again.holes()) == 1_000


def test_a_hole_is_new_once() -> None:
    with MemoryStore() as store:
        mine = saver(store)
        assert mine.save_holes((HOLES[0],)) == (HOLES[0],)
        assert mine.save_holes(tuple(HOLES)) == (HOLES[1],)
        assert mine.save_holes(tuple(HOLES)) == ()
        assert saver(store).holes() == HOLES


# --- as they were saved before --------------------------------------------------------------------------------------


def test_late_orders_and_holes_of_the_version_before_are_read_copied_and_removed(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(THIRD, tmp_path / "old"))
    for _ in range(2):
        with FileStore(folder) as store:
            mine = saver(store)
            assert mine.late() == LATE
            assert mine.holes() == HOLES
            assert mine.problems == []
            for kind in ("late", "hole"):
                assert store.keys(kind, KEY) == [(*KEY, "part-000001")]
                assert store.read(kind, KEY) is None


# --- what a kill leaves ---------------------------------------------------------------------------------------------


class Killed(MemoryStore):
    """A store whose process ends at the next write of a state."""

    dead = False

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        if self.dead and kind == "signal":
            raise KeyboardInterrupt
        super().write(kind, key, payload)


@pytest.mark.parametrize("state", [leaving(ends=9, not_before=12), ordering("b", at=9, not_before=12)], ids=repr)
def test_a_late_order_that_the_state_does_not_hold_is_dropped(state: Any) -> None:
    with Killed() as store:
        mine = saver(store)
        save(mine, Flat(), last=8)
        store.dead = True
        with pytest.raises(KeyboardInterrupt):
            save(mine, state, last=8, asked=9)
        store.dead = False
        for _ in range(2):
            assert saver(store).late() == {}
        assert b"decided_at" not in (store.read("late", (*KEY, "part-000001")) or b"")


def test_the_time_that_the_state_holds_counts() -> None:
    with Killed() as store:
        mine = saver(store)
        save(mine, leaving(ends=9, not_before=12), last=8)
        store.dead = True
        with pytest.raises(KeyboardInterrupt):
            mine.save_postponed(leaving(ends=9, not_before=99))
        store.dead = False
        again = saver(store)
        assert again.late() == {(9 * MINUTE, "exit"): 12 * MINUTE}
        save(again, Flat(), last=13)
        assert saver(store).late() == {(9 * MINUTE, "exit"): 12 * MINUTE}


def test_an_entry_that_was_taken_back_stays_late() -> None:
    with MemoryStore() as store:
        mine = saver(store)
        save(mine, ordering("b", at=9, not_before=12), last=8, asked=9)
        save(mine, Flat(), last=8, asked=9)
        assert saver(store).late() == {(9 * MINUTE, "entry"): 12 * MINUTE}


def test_a_hole_behind_the_last_minute_is_dropped() -> None:
    with MemoryStore() as store:
        mine = saver(store)
        save(mine, Flat(), last=24)
        mine.save_holes(tuple(HOLES))
        for _ in range(2):
            assert saver(store).holes() == HOLES[:1]
        assert HoleJournal(store, KEY).load() == HOLES[:1]


class FailsOnce(MemoryStore):
    """A store that fails once, at a write of one kind or a removal."""

    fails = ""

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        self.check(kind)
        super().write(kind, key, payload)

    def delete(self, kind: str, key: tuple[str, ...]) -> None:
        self.check(f"remove {kind}")
        super().delete(kind, key)

    def check(self, change: str) -> None:
        if change == self.fails:
            self.fails = ""
            raise StateError("the disk is full")


BY_HAND = (9 * MINUTE, "entry")


@pytest.mark.parametrize("fails", ["remove schedule", "signal"])
def test_a_late_order_by_hand_is_kept_exactly_where_the_disk_has_the_turn_that_filled_it(fails: str) -> None:
    with FailsOnce() as store:
        mine = saver(store)
        assert mine.late() == {}
        save(mine, resting("b", at=2), last=8)
        store.fails = fails
        opened = holding("b", at=2, opened=9)
        reached = Progress(last_minute=8 * MINUTE, last_asked=MINUTE, volume_seen=True)
        with pytest.raises(StateError, match="disk is full"):
            mine.save(opened, (), reached, filled_late={BY_HAND: 12 * MINUTE})
        late = {BY_HAND: 12 * MINUTE} if fails == "remove schedule" else {}
        again = saver(store)
        assert again.late() == late
        assert isinstance(again.restore().state, Holding) == bool(late)
        save(mine, resting("b", at=2), last=9)  # the run went on as before that turn
        assert saver(store).late() == {}


def test_a_late_order_by_hand_that_fails_leaves_another_of_its_moment_as_it_was() -> None:
    with FailsOnce() as store:
        mine = saver(store)
        assert mine.late() == {}
        reached = Progress(last_minute=8 * MINUTE, last_asked=MINUTE, volume_seen=True)
        mine.save(holding("b", at=2, opened=5), (), reached, filled_late={BY_HAND: 12 * MINUTE})
        store.fails = "signal"
        with pytest.raises(StateError, match="disk is full"):
            mine.save(Flat(), (), reached, filled_late={BY_HAND: 14 * MINUTE})
        assert LateJournal(store, KEY).load() == [SavedLate(moment=9 * MINUTE, order="entry", decided_at=12 * MINUTE)]
        mine.save(Flat(), (), reached, filled_late={BY_HAND: 15 * MINUTE})
        assert [late.decided_at for late in LateJournal(store, KEY).load()] == [15 * MINUTE]


# --- damage -----------------------------------------------------------------------------------------------------


ROWS = [[ORIGIN + n * MINUTE_MS, *[100.0 + 0.02 * n] * 4, 5.0] for n in range(-60, 300)]


def patient(price: float) -> dict[str, Any]:
    levels = {"price_take_profit": price * 1.5, "price_stop_loss": price * 0.5, "minute_estimated_time": 100}
    return {"position": "long", **levels}


def run(store: Any, first: int, until: int) -> bknb.Result:
    strategy = bknb.add_strategy("sma", interval="5m", get_signal=patient)
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=source(ROWS), clock=SimulatedClock(ORIGIN + first * MINUTE_MS),
        until=ORIGIN + until * MINUTE_MS, store=store,
    )  # fmt: skip
    return task.result(timeout=60)


@pytest.mark.parametrize("kind", ["ended", "late", "hole"])
def test_a_damaged_value_is_a_problem_and_the_rest_is_restored(kind: str) -> None:
    with MemoryStore() as store:
        mine = saver(store)
        save(mine, leaving(ends=5, not_before=7), last=8)
        save(mine, leaving(ends=9, not_before=12), last=30)
        mine.save_holes(tuple(HOLES))
        of_the_state = {(9 * MINUTE, "exit"): 12 * MINUTE}
        late = of_the_state if kind == "late" else of_the_state | {(5 * MINUTE, "exit"): 7 * MINUTE}
        store.write(kind, (*KEY, "part-000001"), b'{"version":2,"what":"something else"}')
        again = StateSaver(store, OWNER)
        state = again.restore().state
        assert again.ended() == []
        assert again.late() == late
        assert again.holes() == ([] if kind == "hole" else HOLES)
        (problem,) = again.problems
        assert kind in problem
        assert problem.endswith("the run goes on without it")
        assert state == leaving(ends=9, not_before=12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ended", "late", "hole"])
@pytest.mark.parametrize("how", ["torn", "something else"])
def test_a_damaged_value_is_told_and_the_position_is_watched_to_its_end(kind: str, how: str, tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    before = run(store, 0, 130)
    part = (*KEY, "part-000001")
    with store:
        store.write(kind, part, b'{"version":2,"what":"something else"}')
    path = tmp_path / kind / "sma" / "BTCUSDT" / "part-000001.json"
    if how == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    for first, until in ((130, 190), (190, 240)):
        result = run(store, first, until)
        (text,) = [error.message for error in result.errors if error.kind == "state"]
        assert kind in text
        assert text.endswith("the run goes on without it")
    assert len(before.trades) == 1
    assert len(result.trades) == 2 - (kind == "ended")  # without the one that cannot be read
    assert result.trades["closed_at"].iloc[-1].hour == 3
    with store:
        assert len(store.keys("ended", KEY)) == 1 + (kind == "ended")
