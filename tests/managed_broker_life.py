"""Managed positions at a broker, killed anywhere: ``managed_broker_life.py FOLDER WHERE STEP``.

It plays a short life of every kind of order once undisturbed. Then, for every STEP-th change of the disk (WHERE is
``disk``), or every STEP-th moment before and after a call of the broker (``broker``): a process is killed there,
another goes on to the end, and its record, its orders and the account are looked at. It prints one JSON line.

An order of which ``sent`` was saved and that never arrived is not sent again: then less is bought, or a part is sold by
another order, and the rest of what must hold still does.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
from killed import killed_in_a_child
from minute_clock import MinuteClock
from scenarios import MINUTE, ORIGIN, source

import bknb
from bknb.live.saved_orders import read_orders
from bknb.stores.file_store import FileStore
from bknb.testing.brokers import FaultyBroker
from bknb.testing.faults import FaultyDisk

LOADED = (bknb.Live, bknb.brokers.paper)  # once, before anybody is forked
CHANGES = ("replace", "unlink", "sync_folder")
END = 20
CALM = (100.0, 100.5, 99.5, 100.0)
CANDLES = {
    4: (100.0, 102.5, 100.0, 101.0),  # a level of the ladder
    6: (100.0, 100.5, 96.5, 99.0),  # a resting add fills
    16: (100.0, 100.5, 94.0, 95.0),  # another fills on the way to the stop
}
MARKET = source([(ORIGIN + k * MINUTE, *CANDLES.get(k, CALM), 1.0) for k in range(-60, END + 10)])
SIGNALS = {
    1: bknb.Signal(side="long", price_take_profit=[(102.0, 0.25), (120.0, 0.25)], price_stop_loss=90.0),
    12: bknb.Signal(side="long", price_stop_loss=95.0),
}
ANSWERS: dict[int, Any] = {
    2: [bknb.Reduce(0.2), bknb.Add(0.5)],
    3: [bknb.Add(1.0, price_open=97.0), bknb.Add(1.0, price_open=95.0)],
    8: [bknb.Cancel(), bknb.Add(0.5), bknb.Reduce(0.9)],
    10: [bknb.Reduce(0.5), bknb.Close()],
    14: [bknb.Reduce(0.5), bknb.Add(0.25, price_open=96.0)],
}


def play(folder: Path, where: str, *, at: int | None = None) -> None:
    """One life; what ended, what was told and which moments the broker had are in files."""
    strategy = bknb.add_strategy(
        "life", interval="1m", get_signal=lambda when: SIGNALS.get(when.minute),
        manage=lambda when: ANSWERS.get(when.minute),
    )  # fmt: skip
    disk = FaultyDisk(at=at if where == "disk" else None, fault="kill" if where == "disk" and at else None,
                      only=CHANGES)  # fmt: skip
    broker = FaultyBroker(bknb.brokers.paper(journal=folder / "exchange.jsonl"), at=at if where == "broker" else None)
    result = bknb.Live.background(
        "X", strategy=strategy, exchange=MARKET, clock=MinuteClock(ORIGIN), until=ORIGIN + END * MINUTE,
        store=FileStore(folder / "state", disk=disk), broker=broker, quantity=2.0, late_minutes=10_000,
    ).result(timeout=60)  # fmt: skip
    assert {error.kind for error in result.errors} <= {"broker", "double_fill"}, result.errors
    ended = [msgspec.structs.replace(event, price=0.0) for event in result.run_record.records.closed]
    (folder / "ended.json").write_bytes(msgspec.json.encode(ended))
    (folder / "errors.json").write_text(json.dumps([error.message for error in result.errors]))


def troubles(folder: Path) -> tuple[list[str], dict[str, int]]:
    """What is wrong with the orders of a life that came to its end, and how many there are of each purpose."""
    paper = bknb.brokers.paper(journal=folder / "exchange.jsonl")
    wrong = [f"{name} was sent {order.received} times" for name, order in paper.orders.items() if order.received != 1]
    wrong += [f"{name} is {order.status}" for name, order in paper.orders.items() if order.working]
    with FileStore(folder / "state") as store:
        saved = {order.client_id: order for order in read_orders(store, "life", "X")}
    wrong += [f"{name} is {order.status} here" for name, order in saved.items() if not order.done]
    wrong += [f"{name} is not known here" for name in paper.orders if name not in saved]
    held: dict[str, float] = {}
    purposes: dict[str, int] = {}
    for name, order in saved.items():
        there = paper.orders.get(name)
        quantity = 0.0 if there is None else there.filled_quantity
        if quantity != order.filled_quantity:
            wrong.append(f"{name} has {order.filled_quantity} here and {quantity} there")
        held[order.signal_id] = held.get(order.signal_id, 0.0) + (-quantity if order.reduces_only else quantity)
        purposes[order.purpose] = purposes.get(order.purpose, 0) + (there is not None)
    wrong += [f"{rest} of {name} are left" for name, rest in held.items() if abs(rest) > 1e-9]
    return wrong, purposes


def main(root: Path, where: str, step: int) -> None:
    whole = root / "whole"
    whole.mkdir()
    assert not killed_in_a_child(lambda: play(whole, where))
    wanted = (whole / "ended.json").read_bytes()
    wrong, purposes = troubles(whole)
    wrong += json.loads((whole / "errors.json").read_text())
    killed, at = 0, 1
    while True:
        folder = root / "killed"
        folder.mkdir()
        if not killed_in_a_child(lambda: play(folder, where, at=at)):  # noqa: B023 -- called at once
            break
        killed += 1
        assert not killed_in_a_child(lambda: play(folder, where))  # noqa: B023
        wrong += [f"{at}: {text}" for text in troubles(folder)[0]]
        if (folder / "ended.json").read_bytes() != wanted:
            wrong.append(f"{at}: another record: {(folder / 'ended.json').read_text()}")
        shutil.rmtree(folder)
        at += step
    fills = [len(event["fills"]) for event in json.loads(wanted)]
    print(json.dumps({"wrong": wrong, "killed": killed, "fills": fills, "purposes": purposes}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
