"""The state a live run wakes up in: of the files a crash left, the one with the newest turn counts."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from bknb.domain.lifecycle import Flat, Holding, Leaving, Opening, State, Waiting
from bknb.domain.recovery import Owner, SavedOpening, SavedPartial, SavedSchedule, SavedSignal, restore
from bknb.domain.risk_request_and_verdict import place_of
from bknb.domain.signal import OpenSignal, ScheduledSignal
from bknb.domain.signal_events import Cancelled
from bknb.errors import StateError
from bknb.live.saved_risk_places import save_places, saved_places
from bknb.live.values_saved_before_events import Progress, StateSaver
from bknb.stores.memory_store import MemoryStore

OWNER = Owner(strategy="sma", exchange="demo", symbol="BTCUSDT", execution="pessimistic")
ROW: dict[str, Any] = {
    "id": "a",
    "symbol": "BTCUSDT",
    "strategy": "sma",
    "exchange": "demo",
    "position": "long",
    "price_open": 100.0,
    "price_take_profit": 110.0,
    "price_stop_loss": 90.0,
    "minute_estimated_time": 60,
    "note": "",
    "scheduled_at": 0,
}
WAITS, OPEN = ScheduledSignal(**ROW), OpenSignal(**ROW, pending_at=60_000)


def signal(turn: int, held: OpenSignal | None = None) -> SavedSignal:
    return SavedSignal(
        owner=OWNER, turn=turn, last_minute=turn, last_asked=0, signal=held, highest=104.0, lowest=99.0, last_id="a"
    )


def schedule(turn: int) -> SavedSchedule:
    return SavedSchedule(owner=OWNER, turn=turn, last_minute=turn, last_asked=0, signal=WAITS, last_id="before")


def partial(turn: int, signal_id: str = "a") -> SavedPartial:
    return SavedPartial(
        owner=OWNER, turn=turn, signal_id=signal_id, profit_level=40, loss_level=10, profit_before=30, loss_before=10
    )


def holding(profit: int, loss: int) -> Holding:
    return Holding(signal=OPEN, highest=104.0, lowest=99.0, profit_level=profit, loss_level=loss)


WAITING = Waiting(signal=WAITS, last_id="before")
LEAVING = Leaving(reason="time_expired", decided_at=3_600_000, not_before=3_660_000, price=101.0)
NEXT = replace(WAITS, id="next", scheduled_at=3_600_000, entry="market")
ORDERED = SavedOpening(signal=NEXT, not_before=3_660_000)


CANCELLED = Cancelled(
    symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=100.0, signal=WAITS,
    reason="timeout", closed_at=0,
)  # fmt: skip


def ordered(ending: Holding | None = None) -> Opening:
    return Opening(signal=NEXT, not_before=3_660_000, last_id="a", ending=ending)


def leaving(profit: int, loss: int) -> Holding:
    return replace(holding(profit, loss), leaving=LEAVING, in_doubt=True)


TABLE: list[tuple[str, SavedSignal | None, SavedSchedule | None, SavedPartial | None, State, bool]] = [
    ("nothing was saved", None, None, None, Flat(), False),
    ("the first signal waits", None, schedule(1), None, WAITING, False),
    ("a later signal waits", signal(4), schedule(5), None, WAITING, False),
    ("activated, the scheduled one was not removed yet", signal(6, OPEN), schedule(5), None, holding(0, 0), True),
    ("cancelled, the scheduled one was not removed yet", signal(6), schedule(5), None, Flat(last_id="a"), True),
    ("open, milestones passed", signal(8, OPEN), None, partial(7), holding(40, 10), False),
    ("open, the milestones of this very turn", signal(8, OPEN), None, partial(8), holding(40, 10), False),
    ("milestones saved, their position was not", signal(8, OPEN), None, partial(9), holding(30, 10), False),
    ("milestones of another signal", signal(8, OPEN), None, partial(7, "b"), holding(0, 0), False),
    ("closed, milestones left over", signal(9), None, partial(8), Flat(last_id="a"), False),
    ("ordered", replace(signal(9), opening=ORDERED), None, None, ordered(), False),
    ("leaves", replace(signal(9, OPEN), leaving=LEAVING, in_doubt=True), None, partial(8), leaving(40, 10), False),
    ("leaves, and the next is ordered",
     replace(signal(9, OPEN), leaving=LEAVING, in_doubt=True, opening=ORDERED), None, partial(8),
     ordered(leaving(40, 10)), False),
    ("left, and the next waits; the position is still in the older file",
     replace(signal(9, OPEN), leaving=LEAVING, opening=ORDERED), schedule(10), None, WAITING, False),
    ("timed out, the scheduled one was not removed yet, the next is ordered",
     replace(signal(9), opening=ORDERED), schedule(8), None, ordered(), True),
]  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_the_newest_turn_is_believed(row: tuple[Any, ...]) -> None:
    _, signal, schedule, partial, state, stale = row
    found = restore(signal, schedule, partial)
    assert found.state == state
    assert found.stale_schedule is stale
    saved = schedule if isinstance(state, Waiting) else signal
    assert (found.turn, found.last_minute) == ((0, None) if saved is None else (saved.turn, saved.last_minute))


def test_milestones_that_ran_ahead_are_put_back() -> None:
    mended = restore(signal(8, OPEN), None, partial(9)).partial
    assert mended is not None
    assert (mended.turn, mended.profit_level, mended.loss_level) == (8, 30, 10)
    assert restore(signal(8, OPEN), None, partial(8)).partial is None


# --- saved, and read again ------------------------------------------------------------------------------------------


def saver(store: MemoryStore) -> StateSaver:
    return StateSaver(store, OWNER)


STATES: list[State] = [
    Flat(last_id="a"),
    ordered(),
    ordered(leaving(40, 10)),
    leaving(40, 10),
    holding(40, 10),
    WAITING,
]


@pytest.mark.parametrize("state", STATES, ids=lambda state: type(state).__name__)
@pytest.mark.parametrize("before", STATES, ids=lambda state: type(state).__name__)
def test_what_was_saved_is_what_is_restored(before: State, state: State) -> None:
    with MemoryStore() as store:
        first = saver(store)
        for number, given in enumerate((before, state), start=1):
            first.save(given, (), Progress(last_minute=number, last_asked=number, volume_seen=True))
        found = saver(store).restore()
    assert found.state == state
    assert (found.last_minute, found.last_asked, found.volume_seen) == (2, 2, True)


def test_an_order_of_one_place_that_is_postponed_keeps_what_the_strategy_has_noted_since() -> None:
    """Minute 1 was saved in the place, and the question behind it, of which nothing came, beside it."""
    with MemoryStore() as store:
        first = saver(store)
        first.has_places(2)
        first.of_place("p").save(leaving(0, 0), (), Progress(last_minute=1, last_asked=1, memo='{"n":1}'))
        first.save(Flat(), (), Progress(last_minute=1, last_asked=2, memo='{"n":2}'))
        second = saver(store)
        second.restore()
        before = second.newest
        second.of_place("p").save_postponed(leaving(0, 0))
        assert second.newest == before
        third = saver(store)
        found = third.restore()
    assert (found.last_minute, found.last_asked, found.memo) == (1, 2, '{"n":2}')
    assert third.of_place("p").progress == Progress(last_minute=1, last_asked=1, memo='{"n":2}')


class Cut(MemoryStore):
    """A store at which the process ends between the two writes of a turn, once ``cut`` is set."""

    cut = False

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        if not (self.cut and kind == "signal"):
            super().write(kind, key, payload)


def test_milestones_from_before_an_order_was_cancelled_stay() -> None:
    with Cut() as store:
        first = saver(store)
        for number, given in enumerate((leaving(40, 10), ordered(leaving(40, 10)), leaving(40, 10)), start=1):
            store.cut = number == 3
            first.save(given, (), Progress(last_minute=number, last_asked=number, volume_seen=True))
        assert saver(store).restore().state == ordered(leaving(40, 10))


class Full(MemoryStore):
    """A store that cannot save a position while ``full`` is set: ``before`` or ``behind`` its write."""

    full = ""

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        if self.full == "before" and kind == "signal":
            raise StateError("the disk is full")
        super().write(kind, key, payload)
        if self.full == "behind" and kind == "signal":
            raise StateError("the disk is full")


def test_milestones_of_a_turn_that_was_not_saved_are_put_back_by_the_next_turn_that_is() -> None:
    with Full() as store:
        first, progress = saver(store), Progress(last_minute=1, last_asked=1, volume_seen=True)
        first.save(holding(30, 10), (), progress)
        store.full = "before"
        with pytest.raises(StateError):
            first.save(holding(40, 10), (), replace(progress, last_minute=2))
        store.full = ""
        first.save(holding(30, 10), (), progress)  # as when listeners have heard something
        assert saver(store).restore().state == holding(30, 10)


def test_a_turn_that_failed_behind_its_last_write_keeps_its_milestones_until_the_next_is_saved() -> None:
    with Full() as store:
        first, progress = saver(store), Progress(last_minute=1, last_asked=1, volume_seen=True)
        first.save(holding(30, 10), (), progress)
        for store.full in ("behind", "before"):
            with pytest.raises(StateError):
                first.save(holding(40, 10), (), progress)
            assert saver(store).restore().state == holding(40, 10)


def test_milestones_of_a_position_that_was_not_saved_are_not_those_of_its_next_opening() -> None:
    with Full() as store:
        for kind, saved in (("schedule", schedule(1)), ("partial", partial(2))):
            store.write(kind, ("sma", "BTCUSDT"), msgspec.json.encode(saved))
        second = saver(store)
        assert second.restore().state == WAITING
        store.full = "behind"
        with pytest.raises(StateError):
            second.save(holding(0, 0), (), Progress(last_minute=2, last_asked=1, volume_seen=True))
        assert saver(store).restore().state == holding(0, 0)


def test_a_postponed_order_is_saved_with_what_nobody_heard_yet() -> None:
    with MemoryStore() as store:
        saver(store).save(ordered(), (CANCELLED,), Progress(last_minute=1, last_asked=1, volume_seen=True))
        second = saver(store)
        second.restore()
        later = Opening(signal=NEXT, not_before=9_000_000, last_id="a")
        second.save_postponed(later)
        found = saver(store).restore()
    assert found.state == later
    assert found.undelivered == (CANCELLED,)


def test_an_end_that_a_crash_cut_off_its_turn_is_saved_once_after_all() -> None:
    def ends(when: int, signal: ScheduledSignal = NEXT) -> Cancelled:
        return replace(CANCELLED, signal=signal, when=when, closed_at=when)

    namesake = ends(1_800_000, replace(NEXT, scheduled_at=1_740_000))  # an earlier signal with the same id of its user
    with Cut() as store:
        first = saver(store)
        first.save(Flat(last_id="a"), (namesake,), Progress(last_minute=1, last_asked=1, volume_seen=True))
        first.save(ordered(), (), Progress(last_minute=2, last_asked=2, volume_seen=True))
        store.cut = True
        first.save(Flat(last_id="a"), (ends(3_660_000),), Progress(last_minute=3, last_asked=2, volume_seen=True))
        store.cut = False
        second = saver(store)
        assert second.restore().state == ordered()
        assert second.ended() == [namesake]
        later = Opening(signal=NEXT, not_before=9_000_000, last_id="a")
        second.save_postponed(later)
        second.save(Flat(last_id="a"), (ends(9_000_000),), Progress(last_minute=4, last_asked=2, volume_seen=True))
        third = saver(store)
        third.restore()
        assert third.ended() == [namesake, ends(9_000_000)]


def test_orders_that_were_decided_late_are_kept_by_moment_and_kind() -> None:
    both = Opening(
        signal=NEXT, not_before=4_000_000, last_id="a", ending=replace(leaving(0, 0), leaving=replace(LEAVING))
    )
    entry, exit_ = (3_600_000, "entry"), (3_600_000, "exit")
    with MemoryStore() as store:
        first = saver(store)
        assert first.late() == {}
        at = Progress(last_minute=1, last_asked=1, volume_seen=True)
        assert first.save(leaving(0, 0), (), at) == {exit_: 3_660_000}
        assert first.save(both, (), at) == {entry: 4_000_000}
        second = saver(store)
        second.restore()
        assert second.save(both, (), at) == {}
        assert second.save_postponed(replace(both, not_before=5_000_000)) == {entry: 5_000_000}
        assert second.save(Flat(), (), at) == {}
        assert saver(store).late() == {exit_: 3_660_000, entry: 5_000_000}


@pytest.mark.parametrize("seen", [None, False, True])
@pytest.mark.parametrize("state", [ordered(), WAITING, Flat(last_id="a")], ids=lambda state: type(state).__name__)
def test_whether_a_volume_was_seen_is_restored_as_it_was(state: State, *, seen: bool | None) -> None:
    with MemoryStore() as store:
        saver(store).save(state, (), Progress(last_minute=1, last_asked=1, volume_seen=seen))
        assert saver(store).restore().volume_seen is seen


def test_places_of_all_that_is_open_and_of_nothing_else() -> None:
    places = tuple(place_of(row, 0) for row in (OPEN, NEXT, replace(WAITS, id="waits")))
    expected = {
        "leaves, and the next is ordered": (ordered(leaving(0, 0)), ["a", "next"]),
        "only ordered": (ordered(), ["next"]),
        "the next waits": (Waiting(signal=replace(WAITS, id="waits"), last_id="a"), ["waits"]),
    }
    for name, (state, ids) in expected.items():
        with MemoryStore() as store:
            mine = saver(store)
            # in the older file the position leaves and the next is ordered
            mine.save(ordered(leaving(0, 0)), (), Progress(last_minute=1, last_asked=1, volume_seen=True))
            mine.save(state, (), Progress(last_minute=2, last_asked=2, volume_seen=True))
            save_places(store, "one", places)
            assert [place.signal_id for place in saved_places(store, "one")] == ids, name


def test_whether_volumes_are_reported_is_looked_for_again_where_an_older_version_did_not_save_it() -> None:
    assert restore(signal(1, OPEN), None, None).volume_seen is None
    assert restore(None, schedule(1), None).volume_seen is None
    assert restore(replace(signal(1, OPEN), volume_seen=False), None, None).volume_seen is False
