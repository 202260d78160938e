"""What a press does, wherever it comes from, and what the buttons show."""

from __future__ import annotations

import gc
import importlib
import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from test_by_hand import at, play
from waiting import until

import bknb
from bknb.jupyter import run_buttons as controls
from bknb.jupyter.magics.live import _open
from bknb.testing.clocks import AcceleratedClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bknb.runs.backtest import BacktestTask


@pytest.fixture
def task() -> Iterator[BacktestTask]:
    """A run that waits at its first question."""
    gate = threading.Event()

    def get_signal() -> None:
        assert gate.wait(20)

    running = bknb.Backtest.background(
        "BTCUSDT", strategy=get_signal, exchange="demo", frame=("2024-01-01", "2024-01-03")
    )
    running.gate = gate  # type: ignore[attr-defined]
    yield running
    gate.set()
    running.stop(now=True)
    running.result(20)


def message(switch: controls.RunControls, action: str, number: int, view: str = "v") -> dict[str, Any]:
    return {"kind": "bknb-press", "id": switch.id, "action": action, "view": view, "number": number}


def test_every_button_sets_its_flag_and_the_state_follows(task: BacktestTask) -> None:
    switch = controls.RunControls(task)
    assert switch.state(text="3 %", percent=3) == {
        "id": switch.id,
        "label": "backtest get_signal BTCUSDT",
        "state": "running",
        "status_text": "Running",
        "text": "3 %",
        "percent": 3,
        "foreground": False,
        "can_pause": True,
    }
    seen = []
    for number, action in enumerate(["pause", "resume", "stop", "stop_now"], start=1):
        assert controls.press(json.dumps(message(switch, action, number)))
        seen.append(switch.status)
    assert seen == ["paused", "running", "stopping", "leaving"]
    task.gate.set()  # type: ignore[attr-defined]
    assert task.result(20).stopped
    assert switch.status == "over"


def test_a_press_that_arrives_twice_or_late_is_applied_once(task: BacktestTask) -> None:
    switch = controls.RunControls(task)
    assert controls.press(message(switch, "pause", 1))
    assert controls.press(message(switch, "resume", 2))
    assert controls.press(message(switch, "pause", 1))  # the slow way, after the quick one
    assert not task.paused
    assert controls.press(message(switch, "pause", 1, view="another browser"))
    assert task.paused


def test_the_number_of_remembered_views_is_bounded(task: BacktestTask) -> None:
    switch = controls.RunControls(task)
    for view in range(500):
        controls.press(message(switch, "pause", 1, view=str(view)))
    assert len(switch._pressed) < 100


@pytest.mark.slow
def test_a_press_for_a_run_that_is_gone_is_ignored(task: BacktestTask) -> None:
    switch = controls.RunControls(task)
    late = message(switch, "stop_now", 1)
    assert not controls.press({**late, "action": "dance"})
    del switch
    gc.collect()
    assert not controls.press({**late, "number": 2})
    assert task.stopping == ""


def test_any_widget_can_acknowledge_presses(task: BacktestTask) -> None:
    class Widget:
        def __init__(self) -> None:
            self.sent: list[Any] = []

        def send(self, content: Any) -> None:
            self.sent.append(content)

    widget, switch = Widget(), controls.RunControls(task)
    controls.on_message(widget, message(switch, "pause", 7), [])
    controls.on_message(widget, {"kind": "something else"}, [])
    controls.on_message(widget, "text", [])
    assert task.paused
    assert widget.sent == [{"kind": "bknb-ack", "view": "v", "number": 7}]


def test_work_that_cannot_be_paused_has_no_pause_button() -> None:
    from bknb.runs.task import Task

    class Other(Task[int, int]):
        kind = "sweep"

        async def _work(self) -> int:
            return 1

        def _announce_done(self) -> None: ...

        def stop(self, *, now: bool = False) -> None: ...

    other = Other("BTCUSDT", "mine")
    assert controls.RunControls(other).state()["can_pause"] is False
    for act in (other.pause, other.resume):
        with pytest.raises(bknb.UsageError, match="a sweep cannot be paused"):
            act()


@pytest.mark.parametrize("kind", ["backtest", "sweep", "walk-forward", "portfolio"])
def test_every_kind_of_task_that_a_cell_waits_for_says_how_far_it_is_and_how_it_ended(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bknb.jupyter import wait
    from bknb.runs import task as tasks

    began, gate = threading.Event(), threading.Event()

    def held(fast: int = 1) -> None:
        began.set()
        assert gate.wait(20)

    lines: list[str] = []
    waiting = tasks.Task.wait_or_stop

    def follow(task: Any) -> Any:
        follower = wait.Follower(task, line=True)
        assert follower._line is not None
        monkeypatch.setattr(follower._line, "show", lambda text, **_: lines.append(text))
        monkeypatch.setattr(follower._line, "close", lines.append)
        assert began.wait(20)
        follower.refresh()
        gate.set()
        result = waiting(task)
        follower.close()
        return result

    monkeypatch.setattr(tasks.Task, "wait_or_stop", follow)
    where: dict[str, Any] = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-05")}
    if kind == "backtest":
        follow(bknb.Backtest.background("BTCUSDT", strategy=held, **where))
    elif kind == "sweep":
        bknb.sweep(held, params={"fast": [1, 2]}, symbol="BTCUSDT", executor="inline", **where)
    elif kind == "walk-forward":
        bknb.walk_forward(held, {"fast": [1, 2]}, symbol="BTCUSDT", train="1d", test="1d", executor="inline", **where)
    else:
        bknb.portfolio(strategies=[held], symbols=["BTCUSDT"], **where)
    first, last = lines
    shown = {"backtest": "0 trades", "sweep": "0 of 2", "walk-forward": "0 of 3 folds", "portfolio": "0 trades"}[kind]
    assert shown in first, lines
    assert last.startswith("done in"), lines
    assert last.endswith({"walk-forward": "3 of 3 folds", "sweep": " s"}.get(kind, "0 trades")), lines


def test_the_source_is_one_small_module_for_every_widget() -> None:
    text = controls.source("controls.js", "bar.js")
    assert text.count("export function mountControls") == 1
    assert text.count("export default") == 1
    assert "import " not in text
    assert len(text.encode()) < 20_000


def test_the_function_a_press_calls_in_the_kernel_exists() -> None:
    (module,) = re.findall(r'`__import__\("([\w.]+)", fromlist=\["press"\]\)\.press\(', controls.source("controls.js"))
    assert importlib.import_module(module).press is controls.press


def test_a_decision_that_comes_too_late_is_answered() -> None:
    """Between the two clicks the position was closed: nothing is decided, and that is said."""
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=lambda: None,
        exchange="demo",
        clock=AcceleratedClock(1_704_067_200_000, speed=1),
        store=bknb.stores.memory(),
    )
    try:
        now = [0.0]
        switch = controls.RunControls(task, seconds=lambda: now[0])
        assert switch.press("close")
        now[0] = 59.0
        assert switch.state()["status_text"] == "Running · Close position: there is nothing for it any more"
        now[0] = 60.0
        assert switch.state()["status_text"] == "Running"
        assert not switch.press("explode")
    finally:
        task.stop(now=True)


def test_a_click_that_was_for_one_position_does_not_close_the_next() -> None:
    switches: list[controls.RunControls] = []
    rows: list[list[Any]] = []

    def draw(task: Any) -> str:
        switches.append(controls.RunControls(task))
        rows.extend(switches[0].state()["by_hand"])
        return ""

    def press(signal: str) -> str:
        assert switches[0].press("close", signal=signal)
        until(lambda: "…" not in switches[0].state()["status_text"])
        return str(switches[0].state()["status_text"])

    result, answers, _ = play(
        {
            3.5: draw,
            4.5: lambda task: task.close(),
            6.5: lambda task: task.open(bknb.Signal(side="short")),
            8.5: lambda _: press(rows[0][3]),
            8.6: lambda _: press(""),
            10.5: lambda _: press(switches[0].state()["by_hand"][0][3]),
        },
        until=14,
    )
    first, second = result.run_record.records.closed
    assert [row[3] for row in rows] == [first.signal.id] * 2
    assert answers[3] == (
        f"Running · Close position: it was for {first.signal.id}, and {second.signal.id} is there now; click again"
    )
    assert "click again" in answers[4]
    assert answers[5].startswith(f"Running · closes short X ({second.signal.id})")
    assert [trade.closed_at for trade in (first, second)] == [at(5), at(11)]


def test_a_click_about_places_does_not_close_what_came_into_another_one() -> None:
    """An entry waits in "a", the oldest, all the time; the position of "b" was closed, and one is open in "c"."""
    switches: list[controls.RunControls] = []
    drawn: list[str] = []

    def close_row() -> str:
        return str(next(row[3] for row in switches[0].state()["by_hand"] if row[0] == "close"))

    def draw(task: Any) -> str:
        switches.append(controls.RunControls(task))
        drawn.append(close_row())
        return _open(task)

    def press(signal: str) -> str:
        assert switches[0].press("close", signal=signal)
        until(lambda: "…" not in switches[0].state()["status_text"])
        return str(switches[0].state()["status_text"])

    result, answers, _ = play(
        {
            1.5: lambda task: task.open(bknb.Signal(side="long", price_open=90.0, valid=None, id="i"), place="a"),
            2.5: lambda task: task.open(bknb.Signal(side="long", price_stop_loss=80.0, id="j"), place="b"),
            4.5: draw,
            5.5: lambda task: task.close(place="b"),
            7.5: lambda task: task.open(bknb.Signal(side="short", id="k"), place="c"),
            9.5: lambda _: press(drawn[0]),
            11.5: lambda _: press(close_row()),
        },
        until=14, signal={}, strategy={"places": 3},
    )  # fmt: skip
    assert answers[2] == "; long 1 open at 100.00 in 'b', stop 80.00; long waits for 90.00 in 'a'"
    assert answers[5] == "Running · Close position: it was for i, j, and i, k is there now; click again"
    assert answers[6].startswith("Running · closes short X (k)")
    closed = result.run_record.records.closed
    assert [(trade.signal.id, trade.closed_at) for trade in closed] == [("j", at(6)), ("k", at(12))]
