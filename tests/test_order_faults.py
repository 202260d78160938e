"""A process really killed at every write of its state and at every call of its broker, then started again.

A driver process of one thread forks a child for every moment; the broker on paper keeps its side in a journal, as an
exchange would. The run around the desk is the smallest there is: it saves how far its record has come.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broker_journal import sent, sent_twice
from killed import killed_in_a_child
from order_events import MINUTE, cancelled, candle, closed, holding, leaving, opened, ordering, resting, scheduled

from bknb.brokers.paper_broker import PaperBroker, Trouble
from bknb.domain.broker_orders_and_ids import client_id
from bknb.domain.lifecycle import Flat
from bknb.live.orders_sent_to_broker import OrderDesk
from bknb.live.saved_orders import read_orders
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.stores.sqlite_store import SqliteStore
from bknb.testing.brokers import FaultyBroker
from bknb.testing.faults import FaultyDisk

QUANTITY = 2.0


def name_of(name: str, at: int, purpose: str, attempt: int = 1) -> str:
    return client_id("sma", "BTCUSDT", (name, at * MINUTE), purpose, attempt)


ENDING = leaving("c", at=20, opened=23, ends=28)
# One life: the event a minute led to (none: a decision that is an order), the state then, the prices of the minute
# before (low, high), and the price at which a market order is filled from then on.
LIFE = (
    (None, ordering("a", at=1), (99.0, 101.0), 101.0),
    (opened("a", at=1), holding("a", at=1), (99.0, 101.0), 101.0),
    (closed("a", at=1, ended=5), Flat(), (99.0, 111.0), 101.0),
    # waits, is never reached, is cancelled
    (None, ordering("b", at=10, entry="limit"), (104.0, 106.0), 105.0),
    (scheduled("b", at=10), resting("b", at=10), (104.0, 106.0), 105.0),
    (cancelled("b", at=10, ended=15), Flat(), (104.0, 106.0), 105.0),
    # waits, opens, leaves at its deadline, and is followed at once by a short
    (None, ordering("c", at=20, entry="limit"), (104.0, 106.0), 105.0),
    (scheduled("c", at=20), resting("c", at=20), (104.0, 106.0), 105.0),
    (opened("c", at=20, opened=23), holding("c", at=20, opened=23), (99.5, 106.0), 105.0),
    (None, ENDING, (99.5, 106.0), 105.0),
    (
        None,
        ordering("d", at=28, ending=leaving("c", at=20, opened=23, ends=28), position="short"),
        (99.0, 106.0),
        101.0,
    ),
    # both fill; of the short the broker fills a part and cancels the rest
    (closed("c", at=20, opened=23, ended=28), ordering("d", at=28, position="short"), (99.5, 106.0), 101.0),
    (opened("d", at=28, position="short"), holding("d", at=28, position="short"), (99.0, 101.0), 101.0),
    (closed("d", at=28, position="short", price_close=90.0, ended=35), Flat(), (89.0, 101.0), 101.0),
    # waits, is filled, and is cancelled by the record all the same
    (None, ordering("e", at=40, entry="limit"), (104.0, 106.0), 105.0),
    (scheduled("e", at=40), resting("e", at=40), (104.0, 106.0), 105.0),
    (cancelled("e", at=40, ended=45), Flat(), (80.0, 106.0), 105.0),
    # a stop entry, ordered when its minute has closed; stays open
    (None, ordering("f", at=50, entry="stop"), (99.0, 99.5), 99.0),
    (scheduled("f", at=50, entry="stop"), resting("f", at=50, entry="stop"), (99.0, 99.5), 99.0),
    (opened("f", at=50, opened=52, entry="stop"), holding("f", at=50, opened=52, entry="stop"), (99.0, 101.0), 101.0),
)
TROUBLE = {
    ("place", name_of("c", 20, "close")): Trouble(kind="lost_reply"),
    ("place", name_of("d", 28, "open")): Trouble(kind="partly_cancelled", part=0.25),
    ("place", name_of("d", 28, "close")): Trouble(kind="partly_cancelled", part=0.5),
    ("report", name_of("c", 20, "open")): Trouble(kind="lost_reply"),
    ("place", name_of("f", 50, "open")): Trouble(kind="lost_reply"),
}


def trouble(call: str, about: str, number: int) -> Trouble | None:
    return TROUBLE.get((call, about)) if number == 1 else None


def store_in(which: str, folder: Path, disk: Disk) -> FileStore | SqliteStore:
    return FileStore(folder / "state", disk=disk) if which == "files" else SqliteStore(folder / "state.db", disk=disk)


async def live(which: str, folder: Path, disk: Disk, at: int | None = None) -> list[str]:
    """Go on with the life from where it is on the disk; returns the moments of the broker."""
    market = 0.0
    paper = PaperBroker(journal=folder / "exchange.jsonl", script=trouble, price_of=lambda symbol: market)
    broker = FaultyBroker(paper, at=at)
    told: list[str] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    with store_in(which, folder, disk) as store:
        desk = OrderDesk(
            broker=broker,
            store=store,
            strategy="sma",
            symbol="BTCUSDT",
            quantity=QUANTITY,
            on_problem=lambda kind, text: told.append(text),
            sleep=sleep,
        )
        done = int(store.read("signal", ("sma", "BTCUSDT")) or b"0")
        last, state, _, market = LIFE[done - 1] if done else (None, Flat(), None, 0.0)
        await desk.start(state, when=99 * MINUTE, undelivered=[last] if last else [])
        assert await desk.settle(10.0), f"the start is not settled: {told}"
        for number in range(done, len(LIFE)):
            event, state, (low, high), market = LIFE[number]
            paper.saw("BTCUSDT", candle(1000 + number, high, low, high))
            store.write("signal", ("sma", "BTCUSDT"), b"%d" % (number + 1))
            if event is not None:
                desk.follow(event)
            desk.follow_state(state)
            assert await desk.settle(10.0), f"{event or state} is not settled: {told}"
        await desk.close()
    return broker.moments


def verdict(which: str, folder: Path) -> tuple[list[str], list[str]]:
    """What is wrong after the life has come to its end, and which orders never arrived."""
    problems = sent_twice(folder / "exchange.jsonl")
    received = sent(folder / "exchange.jsonl")
    with store_in(which, folder, Disk()) as store:
        saved = read_orders(store, "sma", "BTCUSDT")
    problems += [f"{order.client_id} is {order.status}" for order in saved if order.status in ("intended", "sent")]
    problems += [f"{name} is not known here" for name in received if name not in {order.client_id for order in saved}]
    lost = [order.signal_id for order in saved if order.status == "lost" and order.purpose == "open"]
    # all but the last signal are over; that one is held, unless its order never left this machine
    expected = 0.0 if "f" in lost else QUANTITY
    position = PaperBroker(journal=folder / "exchange.jsonl").position("BTCUSDT")
    if position != expected:
        problems.append(f"the position is {position}, not {expected}")
    return problems, lost


# What a killed process leaves changes by these alone; tests of the stores themselves kill at all others too.
CHANGES = ("make_folder", "create", "write", "replace", "sync_folder", "statement")


def every_moment(which: str, where: str, step: int, root: Path) -> dict[str, object]:
    """Every ``step``-th moment, from the first one on."""
    problems: list[str] = []
    lost: list[str] = []
    point = 1 - step
    killed = True
    while killed:
        point += step
        folder = root / str(point)
        folder.mkdir()

        def dying(folder: Path = folder, point: int = point) -> None:
            disk = FaultyDisk(at=point, fault="kill", only=CHANGES) if where == "disk" else Disk()
            asyncio.run(live(which, folder, disk, at=point if where == "broker" else None))

        killed = killed_in_a_child(dying)
        if killed:
            assert not killed_in_a_child(lambda folder=folder: asyncio.run(live(which, folder, Disk())))
        wrong, never = verdict(which, folder)
        problems += [f"killed at {where} {point}: {text}" for text in wrong]
        lost += never
        shutil.rmtree(folder)
    return {"points": point - 1, "problems": problems, "lost": lost}


# Whoever is killed after "sent" was saved and before the order is on its way leaves what nobody can know: the broker
# has no such order, and it is not sent again. That happens once for each entry, and only there is an entry given up.
# The file store is killed before and after each of its steps, SQLite only before a statement: never in between.
KILLED = (
    pytest.param("files", "disk", 1, 200, ["a", "b", "c", "d", "e", "f"], marks=pytest.mark.long),
    pytest.param("sqlite", "disk", 1, 60, [], marks=pytest.mark.long),
    ("files", "disk", 6, 200, ["c", "f"]),  # every sixth change meets two of them
    ("sqlite", "disk", 4, 60, []),
    ("files", "broker", 1, 30, ["a", "b", "c", "d", "e", "f"]),
)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(("which", "where", "step", "points", "lost"), KILLED)
def test_killed_at_every_moment(folder_in_memory, which, where, step, points, lost):
    command = [sys.executable, __file__, which, where, str(step), str(folder_in_memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["problems"] == []
    assert result["points"] > points
    assert result["lost"] == lost


def test_the_life_without_a_crash(tmp_path):
    moments = asyncio.run(live("files", tmp_path, Disk()))
    assert verdict("files", tmp_path) == ([], [])
    calls = {moment.split()[1] for moment in moments}
    assert calls == {"place", "cancel", "report", "open_orders"}
    paper = PaperBroker(journal=tmp_path / "exchange.jsonl")
    ends = {order.status for order in paper.orders.values()}
    assert ends == {"filled", "cancelled"}
    assert name_of("d", 28, "close", 2) in paper.orders


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    print(json.dumps(every_moment(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))))  # noqa: T201
