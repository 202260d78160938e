"""Live runs in a process of their own: the same results, state and decisions as in this one, and what ends first."""

from __future__ import annotations

import inspect
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from waiting import until

import bknb
import bknb.testing
from bknb.brokers.exchange_keys import key_names
from bknb.engine.records import Records
from bknb.market.candles_of_one_symbol import Series
from bknb.runs.followed_process import FollowedProcess
from bknb.runs.live_process_messages import Answer, Connection, Looked, Told, send_what_can_be
from bknb.runs.live_task import plan_live
from bknb.runs.remote_live_task import RemoteLiveTask
from bknb.runs.run_changes import Changes, LastSent, put_in, series_with
from bknb.runs.sent_live_plan import ReceivedParts, SharedParts, received_plan, sent_plan
from bknb.testing.clocks import AcceleratedClock, SimulatedClock

START = 1_704_067_200_000
END, UNTIL = "2024-01-01 07:00", START + 7 * 3_600_000
SPEED = 30_000.0


def crosses(ctx: Any) -> Any:
    """Enters at every second quarter of an hour, on the side of the last move."""
    closes = ctx.candles("15m", 8).close
    if ctx.when_ms // 900_000 % 2:
        return None
    side = 1 if closes[-1] > closes[0] else -1
    price = ctx.price
    return bknb.Signal(
        position="long" if side > 0 else "short",
        price_take_profit=price * (1 + side * 0.004),
        price_stop_loss=price * (1 - side * 0.004),
        minute_estimated_time=45,
        id=f"at-{ctx.when_ms}",
    )


def options(folder: Path, **others: Any) -> dict[str, Any]:
    return {"exchange": "demo", "store": bknb.stores.files(folder), **others}


def begun(folder: Path) -> Path:
    """A folder with the state of a run after its first minutes: whatever goes on from it has the same first moment."""
    bknb.add_strategy("crosses", interval="15m", get_signal=crosses)
    clock = SimulatedClock(START)
    bknb.Live.background(
        "BTCUSDT", strategy="crosses", clock=clock, until="2024-01-01 00:31", **options(folder)
    ).result()
    return folder


def payloads(folder: Path) -> dict[str, Any]:
    """What was saved, by file, but how often it was, and what listeners have heard: that depends on the computer."""
    files = sorted(path for path in folder.rglob("*.json") if path.parent != folder)
    saved = {str(path.relative_to(folder)): json.loads(path.read_bytes())["payload"] for path in files}
    for payload in saved.values():
        if isinstance(payload, dict):
            for name in ("turn", "heard", "untold"):
                payload.pop(name, None)
    return saved


def state_of(saved: dict[str, Any]) -> dict[str, Any]:
    """What was saved, but the journals of minutes and notes: of each life they have a part of their own."""
    return {name: payload for name, payload in saved.items() if not name.startswith(("candle", "note"))}


def heard_of(events: list[Any]) -> Counter[tuple[Any, ...]]:
    """Results that are kept, each by what it is."""
    kinds = (bknb.Opened, bknb.Closed, bknb.Cancelled, bknb.Scheduled)
    return Counter((type(event).__name__, event.when, event.signal.id) for event in events if isinstance(event, kinds))


class Expected(NamedTuple):
    """A begun state, and what a run in this process made of it."""

    begun: Path
    trades: Any
    heard: Counter[tuple[Any, ...]]
    saved: dict[str, Any]
    candles: bknb.Candles
    records: Any


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Expected:
    root = tmp_path_factory.mktemp("here")
    state = begun(root / "begun")
    task, heard = played(state, root / "state", process=False)
    result = task.result()
    assert len(result.trades) > 2
    found = Expected(state, result.trades, heard_of(heard), payloads(root / "state"), result.candles, task.records)
    bknb.testing.reset()
    return found


def played(state: Path, folder: Path, *, process: bool) -> tuple[Any, list[Any]]:
    """A run that goes on from what was begun, to its end, and what is heard of it."""
    shutil.copytree(state, folder)
    bknb.add_strategy("crosses", interval="15m", get_signal=crosses)
    heard: list[Any] = []
    bknb.listen_signal_live(heard.append)
    clock = AcceleratedClock(START + 31 * 60_000, speed=SPEED)
    task = bknb.Live.background(
        "BTCUSDT", strategy="crosses", clock=clock, until=END, process=process, **options(folder)
    )
    return task, heard


def test_it_has_the_results_the_events_and_the_state_of_a_run_in_this_process(expected, tmp_path):
    task, heard = played(expected.begun, tmp_path / "state", process=True)
    result = task.result()
    assert result.trades.equals(expected.trades)
    assert result.run_record.recorded is not None
    assert result.run_record.recorded()[0]  # the minutes it worked on, from the disk
    assert heard_of(heard) == expected.heard
    assert payloads(tmp_path / "state") == expected.saved
    closed = len(result.candles.timestamp[result.candles.timestamp < UNTIL])  # one more may have come at the end
    assert result.candles[:closed] == expected.candles[:closed]
    assert task.records == expected.records


def test_with_a_capital_it_has_the_account_of_a_run_in_this_process(tmp_path):
    account = bknb.Margin(3, 0.5, "isolated")
    money = {"capital": 10_000.0, "sizing": "percent:60", "account": account, "costs": bknb.Costs(taker=0.05)}
    bknb.add_strategy("crosses", interval="15m", get_signal=crosses)
    more = {"clock": SimulatedClock(START), "until": "2024-01-01 00:31", **money, **options(tmp_path / "begun")}
    bknb.Live.background("BTCUSDT", strategy="crosses", **more).result()
    results = []
    for process in (False, True):
        folder = tmp_path / f"state-{process}"
        shutil.copytree(tmp_path / "begun", folder)
        clock = AcceleratedClock(START + 31 * 60_000, speed=SPEED)
        more = {"clock": clock, "until": "2024-01-01 04:00", **money, **options(folder)}
        task = bknb.Live.background("BTCUSDT", strategy="crosses", process=process, **more)
        assert task.snapshot().equity.iloc[0] == 10_000.0
        results.append(task.result())
    here, there = results
    assert len(here.trades) > 0
    assert there.trades.equals(here.trades)
    assert there.equity[: here.equity.index[-1]].equals(here.equity[: there.equity.index[-1]])


@pytest.mark.parametrize(
    "results", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(7, marks=pytest.mark.long)]
)
def test_a_process_that_is_killed_is_told_started_again_and_its_run_goes_on_equal(results, expected, tmp_path):
    errors: list[Any] = []
    bknb.listen_error(errors.append)
    task, heard = played(expected.begun, tmp_path / "state", process=True)
    first = task.pid
    assert until(lambda: len(heard_of(heard)) >= results)
    os.kill(first, signal.SIGKILL)
    result = task.result()
    told = [error for error in errors if "signal 9" in error.message]
    assert [(error.kind, error.symbol) for error in told] == [("state", "BTCUSDT")]
    assert task.pid != first
    assert any("started again" in failure.message for failure in task.records.failures)
    assert result.trades.equals(expected.trades)
    assert set(heard_of(heard)) == set(expected.heard)
    assert state_of(payloads(tmp_path / "state")) == state_of(expected.saved)


KERNEL = """
import sys, os, time
sys.path.insert(0, {tests!r})
import bknb, test_live_process as t
from pathlib import Path
task, heard = t.played(Path(sys.argv[1]), Path(sys.argv[2]), process=True)
print(task.pid, flush=True)
while True:
    for each in t.heard_of(heard):
        print(*each, flush=True)
    heard.clear()
    time.sleep(0.02)
"""


def test_it_goes_on_when_its_kernel_is_killed_and_the_next_one_hears_what_was_not_heard(expected, tmp_path):
    folder = tmp_path / "state"
    store = bknb.stores.files(folder)
    code = KERNEL.format(tests=str(Path(__file__).parent))
    kernel = subprocess.Popen(
        [sys.executable, "-c", code, str(expected.begun), str(folder)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert kernel.stdout is not None
    with kernel, kernel.stdout as lines:
        pid = int(lines.readline())
        heard_before = [lines.readline()]
        with pytest.raises(bknb.UsageError, match=f"another kernel, process {kernel.pid}, follows"):
            bknb.Live.attach(store)
        kernel.kill()
        heard_before += [line for line in lines if line.endswith("\n")]
    heard: list[Any] = []
    bknb.listen_signal_live(heard.append)
    more = {"clock": AcceleratedClock(START, speed=SPEED), "until": END, "process": True, **options(folder)}
    with pytest.raises(bknb.UsageError, match=f"goes on in process {pid} with other code"):
        bknb.Live.background("BTCUSDT", strategy=bknb.add_strategy("crosses", interval="15m", get_signal=waits), **more)
    (task,) = bknb.Live.attach(store)
    assert task.pid == pid
    assert bknb.Live.list() == [task]
    result = task.result()
    assert result.trades.equals(expected.trades)
    before = {(name, int(when), signal_id) for name, when, signal_id in map(str.split, heard_before)}
    assert {*before, *heard_of(heard)} == set(expected.heard)
    assert max(heard_of(heard).values()) == 1
    assert bknb.Live.attach(store) == []


def waits(ctx: Any) -> None:
    """Opens nothing by itself."""


def test_decisions_by_hand_pause_stop_panels_and_the_list_are_as_of_any_live_run(tmp_path):
    bknb.add_strategy("waits", interval="1m", get_signal=waits)
    clock = AcceleratedClock(START, speed=120)
    task = bknb.Live.background(
        "BTCUSDT", strategy="waits", clock=clock, process=True, broker=bknb.brokers.paper(), quantity=2.0,
        **options(tmp_path / "state"),
    )  # fmt: skip
    board = bknb.dashboard(task, panels=["status", "signals", "trades"])
    assert until(lambda: "open" in task.decisions)
    with pytest.raises(bknb.UsageError, match="needs an open position"):
        task.close()
    assert "opens long BTCUSDT (mine)" in task.open(bknb.Signal(side="long", id="mine"))
    assert until(lambda: "close" in task.decisions)
    held = task.position
    assert (held.id, held.side) == ("mine", "long")
    saved = payloads(tmp_path / "state")["signal/waits/BTCUSDT.json"]
    assert saved["signal"]["id"] == "mine"
    assert task.move(price_stop_loss=held.average_price * 0.5).startswith("moves the levels")
    assert "0.5" in task.reduce(0.5) or "half" in task.reduce(0.5)
    assert "closes" in task.close("by hand")
    assert until(lambda: len(task.trades_so_far) == 1)
    assert task.trades_so_far[0].close_reason == "manual"
    assert {"open", "close"} <= {*task.orders["purpose"]}
    task.pause()
    assert task.paused
    assert task.facts["Entries"] == "paused"
    with pytest.raises(bknb.UsageError, match="paused"):
        task.open(bknb.Signal(side="long", id="more"))
    task.resume()
    assert not task.paused
    assert len(task.snapshot().trades) == 1
    recorded = task.snapshot().run_record.recorded
    assert recorded is not None
    assert recorded()[0]  # while its process has the store
    for name, _ in inspect.getmembers(type(task), lambda member: isinstance(member, property)):
        getattr(task, name)  # whatever the task of a live run says is said of one there, too
    assert bknb.Live.list() == [task]
    task.stop()
    result = task.result()
    assert board.wait(30)
    assert len(result.trades) == 1
    assert "1 trade" in repr(board)
    assert not task.orders.empty
    assert not (tmp_path / "state" / "live-process.json").exists()


def test_what_cannot_be_sent_is_refused_before_anything_starts_with_what_to_do(tmp_path):
    lock = threading.Lock()

    def holds(ctx: Any) -> None:
        with lock:
            return

    folder = tmp_path / "state"
    clock, store = AcceleratedClock(START, speed=60), bknb.stores.files(folder)

    class Own:
        name, intervals, page_limit = "own", ("1m",), None

        def __init__(self) -> None:
            self.lock = lock

        async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> list[Any]:
            return []

        def format_price(self, symbol: str, price: float) -> str:
            return f"{price}"

        def format_quantity(self, symbol: str, quantity: float) -> str:
            return f"{quantity}"

    given: dict[str, Any] = {"strategy": waits, "exchange": "demo", "store": store, "clock": clock, "process": True}
    for others, said in (
        ({"strategy": holds}, "strategy 'holds' cannot be sent.*lock.*leave process=True out"),
        ({"exchange": Own()}, "exchange 'own' cannot be sent.*lock.*leave process=True out"),
        ({"store": bknb.stores.memory()}, "needs a store on the disk.*files.*leave process=True out"),
        ({"clock": SimulatedClock(START)}, "goes in this process alone.*AcceleratedClock.*leave process=True out"),
    ):
        with pytest.raises(bknb.UsageError, match=f"(?s){said}"):
            bknb.Live.background("BTCUSDT", **given | others)
    assert bknb.Live.list() == []
    assert not folder.exists()


def test_one_that_ends_too_often_stays_ended_and_its_run_says_what_nobody_watches(tmp_path):
    folder = tmp_path / "state"
    clock = AcceleratedClock(START, speed=120)
    ends = {"until": "2024-01-01 03:00"}  # in a minute and a half, whatever becomes of this test
    plan = plan_live("BTCUSDT", strategy=waits, clock=clock, interval="1m", **ends, **options(folder))
    process = FollowedProcess(("files", str(folder)), pauses=())
    task = RemoteLiveTask(plan, process)
    process.connect(start=True)
    process.hear()
    process.start(task.run, process.packed(plan))
    task.start()
    assert until(lambda: "open" in task.decisions)
    task.open(bknb.Signal(side="long", id="mine"))
    assert until(lambda: task.position is not None)
    os.kill(task.pid, signal.SIGKILL)
    with pytest.raises(bknb.StateError, match=r"has ended \(signal 9, SIGKILL\); see .*live-process.log"):
        task.result()
    assert task.unwatched.startswith("the position 'mine' is not watched any more: start the run again")
    with pytest.raises(bknb.UsageError, match="is over"):
        task.close()


def test_how_a_broker_was_made_is_sent_without_its_keys(monkeypatch, tmp_path):
    planted = [f"planted-{name}" for name in key_names("binance", sandbox=True)]
    for name, value in zip(key_names("binance", sandbox=True), planted, strict=True):
        monkeypatch.setenv(name, value)
    broker = bknb.brokers.joined(
        spot=bknb.brokers.ccxt("binance", config={"timeout": 7_000}), more=bknb.brokers.paper()
    )
    plan = plan_live("BTCUSDT", strategy=waits, interval="1m", **options(tmp_path))
    shared = SharedParts()
    sent = sent_plan(replace(plan, broker=broker, quantity=1.0), shared)
    assert not [key for key in planted for part in (sent.content, *shared.bytes_of.values()) if key.encode() in part]
    received = ReceivedParts()
    received.add(shared.bytes_of)
    made = received_plan(sent, received, plan.store).broker
    assert made is not broker
    assert made.name == broker.name == "spot=binance spot sandbox, more=paper"


RECORDED = st.lists(st.tuples(st.sampled_from(["warn", "fail", "hole", "drop", "late"]), st.integers(0, 9)))


@given(steps=RECORDED, looks=st.lists(st.booleans(), min_size=1))
def test_what_is_told_of_records_makes_the_same_records(steps, looks):
    records, mirror, sent = Records(), Records(), LastSent()
    for (kind, number), look in zip([*steps, ("warn", 0)], itertools.cycle(looks)):
        match kind:
            case "warn":
                records.warnings.append(f"{number}")
            case "fail":
                records.note("state", f"{number % 3}", "", when=number)
            case "hole":
                records.holes.append((number, number + 1))
            case "drop":
                records.warnings = records.warnings[number:]
            case _:
                records.late[(number, "exit")] = number
        if look:
            put_in(mirror, sent.changes({}, records, None).records)
    put_in(mirror, sent.changes({}, records, None).records)
    assert mirror == records


@given(spans=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans()), min_size=1, max_size=6))
def test_what_is_told_of_candles_makes_the_same_candles(spans):
    sent, mirror, first, last, price = LastSent(), None, 0, 4, 10.0
    for gone, more, corrected in spans:
        first, last, price = first + gone, last + more, price + corrected
        rows = [(60_000 * minute, price, price, price, price, 1.0) for minute in range(min(first, last), last)]
        series = Series(bknb.Candles.from_rows(rows), step=60_000, since=60_000 * first, until=60_000 * last)
        new = sent.changes({}, Records(), series).candles
        assert new is not None
        mirror = series_with(mirror, new, None)
        assert mirror.candles == series.candles
        assert (mirror.since, mirror.until, mirror.span) == (series.since, series.until, series.span)


def test_what_cannot_be_sent_to_the_kernel_leaves_the_rest_and_an_answer():
    ours, theirs = socket.socketpair()
    here, there = Connection(ours), Connection(theirs)
    holds = [threading.Lock()]
    changes = Changes({"last": 7, "positions": holds}, {"warnings": (True, ["late"]), "models": (True, holds)}, None)
    told = [
        Looked(("BTCUSDT", "s"), anew=False, changes=changes),
        Told("error", 3, holds),
        Answer(5, holds),
        Answer(6, "done"),
    ]
    send_what_can_be(there, told)
    received = [message for _ in told for message in here.receive() or ()]
    looked, event, failed, answered = received
    assert looked.changes == Changes({"last": 7}, {"warnings": (True, ["late"])}, None)
    assert event == Told("error", 3, None)
    assert "cannot be sent" in str(failed.error)
    assert answered == Answer(6, "done")
    here.close()
    send_what_can_be(there, told)  # nobody is there any more
    there.close()
