"""The state a live run wakes up in: of the files a crash left, the one with the newest turn counts."""

from __future__ import annotations

from typing import Any

import pytest

from bknb.domain.lifecycle import Flat, Holding, State, Waiting
from bknb.domain.recovery import Owner, SavedPartial, SavedSchedule, SavedSignal, restore
from bknb.domain.signal import OpenSignal, ScheduledSignal

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
]


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
