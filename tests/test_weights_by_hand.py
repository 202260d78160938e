"""Decisions by hand beside a strategy that answers with weights, in a live run: it leaves alone what they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hand_clock import HandClock
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.runs.live_task import TASKS, LiveTask, plan_live

FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
Decide = Callable[[Any], object]


def rows(silent: tuple[int, ...] = ()) -> list[tuple[float, ...]]:
    """Minutes that go up by one for four, and down again."""
    found = []
    for k in range(-60, 60):
        price = 100.0 + k % 5
        traded = 0.0 if k in silent else 1.0
        found.append((ORIGIN + k * MINUTE, price, price + 0.5, price - 0.5, price, traded))
    return found


def play(
    weight: Callable[[int], float | None],
    decisions: dict[float, Decide] | None = None,
    *,
    begin: float = 0.0,
    until: int = 14,
    silent: tuple[int, ...] = (),
    store: Any = None,
    **strategy: Any,
) -> tuple[list[tuple[int, str, str]], list[str]]:
    """The fills of a live run, as minute, kind and reason, and what was answered to what was decided by hand."""
    made = bknb.add_strategy(
        "by hand",
        interval="1m",
        get_weight=lambda ctx: weight((ctx.when_ms - ORIGIN) // MINUTE),
        tolerance=10,
        **strategy,
    )
    clock = HandClock(
        ORIGIN + round(begin * MINUTE), {ORIGIN + round(at * MINUTE): one for at, one in (decisions or {}).items()}
    )
    planned = plan_live(
        "X", strategy=made, exchange=source(rows(silent)), clock=clock, until=ORIGIN + until * MINUTE,
        store=store or bknb.stores.memory(), settings=FREE,
    )  # fmt: skip
    task = LiveTask(planned)
    TASKS.add(task)
    clock.task = task
    task.start()
    result = task.result(timeout=60)
    assert not result.errors
    found = [
        (int((row.at.value // 10**6 - ORIGIN) // MINUTE), row.kind, row.reason) for row in result.fills.itertuples()
    ]
    return found, clock.answers


ENTRY = (0, "entry", "")


@pytest.mark.parametrize(
    "decide", [lambda task: task.close("x"), lambda task: task.reduce(1.0), lambda task: task.flatten()]
)
def test_what_is_closed_by_hand_stays_flat(decide: Decide) -> None:
    assert play(lambda _: 0.5, {6.5: decide})[0] == [ENTRY, (7, "exit", "manual")]


def test_it_stays_flat_until_a_weight_was_0_or_on_the_other_side() -> None:
    closed = {6.5: lambda task: task.close("x")}
    until_0 = {9: 0.0, 10: None}
    assert play(lambda k: until_0.get(k, 0.5), closed)[0] == [ENTRY, (7, "exit", "manual"), (11, "entry", "")]
    turned = {9: -0.5, 10: 0.5}
    assert play(lambda k: turned.get(k, 0.5), closed)[0] == [
        ENTRY, (7, "exit", "manual"), (9, "entry", ""), (10, "exit", "strategy"), (10, "entry", ""),
    ]  # fmt: skip
    assert play(lambda k: -0.5 if k >= 7 else 0.5, closed)[0] == [ENTRY, (7, "exit", "manual"), (7, "entry", "")]
    assert play(lambda k: 0.0 if k == 7 else 0.5, closed)[0] == [ENTRY, (7, "exit", "manual")]  # it had not ended yet


def test_a_stop_moved_by_hand_that_is_hit_stays_flat_too() -> None:
    moved = {6.5: lambda task: task.move(price_stop_loss=99.9)}
    stopped = [ENTRY, (10, "exit", "stop_loss")]
    assert play(lambda _: 0.5, moved)[0] == stopped
    assert play(lambda _: 0.5, moved, reenter=True)[0] == [*stopped, (11, "entry", "")]


def test_what_was_ordered_by_hand_fills_before_a_weight_is_heard() -> None:
    """In silence it waits, and so does the strategy; what is left of it is its own again."""
    silent = (7, 8, 9)
    reduced = play(lambda _: 0.5, {6.5: lambda task: task.reduce(0.5)}, silent=silent)[0]
    assert reduced == [ENTRY, (10, "reduce", "manual"), (11, "add", "")]
    assert play(lambda _: 0.5, {6.5: lambda task: task.close()}, silent=silent)[0] == [ENTRY, (10, "exit", "manual")]


@pytest.mark.parametrize(
    ("weight", "fills"),
    [(0.5, [(9, "entry", "")]), (0.0, []), (-0.5, [(9, "entry", "")]), (None, [])],
)
def test_a_limit_by_hand_is_replaced_by_what_is_to_be_held(weight: float | None, fills: list[Any]) -> None:
    limit = {6.5: lambda task: task.open(bknb.Signal(side="long", price_open=95.0))}
    assert play(lambda k: weight if k > 8 else None, limit)[0] == fills


@pytest.mark.parametrize("restarted", [8, 10])
def test_a_restart_knows_what_stays_flat(restarted: int) -> None:
    weights = {9: 0.0}
    store = bknb.stores.memory()

    def weight(k: int) -> float:
        return weights.get(k, 0.5) if k < 12 else 0.0 if restarted == 8 else 0.5

    closed = {6.5: lambda task: task.close("x")}
    before, _ = play(weight, closed, until=restarted, store=store)
    weights.clear() if restarted == 8 else None  # then nothing lifts it
    after, _ = play(weight, begin=restarted + 0.1, store=store)
    assert before == [ENTRY, (7, "exit", "manual")]
    assert [row for row in after if row[0] > 7] == ([] if restarted == 8 else [(10, "entry", "")])
