"""A life at a local exchange in which something goes wrong, killed at its requests: ``fault_kills.py FOLDER --step 1``.

For each fault it plays the life of every kind of order once, and counts the moments before and after a request that
changes something. Then, for every STEP-th of them: a process is killed there, another one goes on to the end, and what
the journal of the exchange says is looked at. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fault_world import MANAGED, SPOT, WRONG, World
from killed import killed_in_a_child
from scenarios import MINUTE, ORIGIN

import bknb
from bknb.testing.exchange import LocalExchange

for _loaded in ("pandas", "ccxt.async_support", "bknb.live.run", "bknb.runs.live_runs", "bknb.brokers.ccxt_broker"):
    importlib.import_module(_loaded)  # once, before anybody is forked
FAULTS: Final = (
    *((name, on, skip) for name in WRONG for on, skip in (("place", 0), ("stop", 0), ("place", 1))),
    *((name, "replace", 0) for name in ("reply_lost", "request_lost", "timeout")),
    *((name, "cancel", 0) for name in ("reply_lost", "request_lost")),
)
ALLOWED: Final = {"naked_minutes": 5.0, "naked_requests": 8, "words": False, "dust": "0.00002"}


class Killing:
    """Ends the process at the n-th moment before or after a request of a client that changes something."""

    def __init__(self, at: int | None) -> None:
        self.moments, self._at = 0, at

    def watch(self, broker: Any) -> Any:
        """Count the requests of a broker from now on."""
        client = broker._client._client
        fetch: Callable[..., Any] = client.fetch

        async def watched(url: str, method: str = "GET", *given: Any, **named: Any) -> Any:
            self._moment(method)
            answer = await fetch(url, method, *given, **named)
            self._moment(method)
            return answer

        client.fetch = watched
        return broker

    def _moment(self, method: str) -> None:
        self.moments += method != "GET"
        if method != "GET" and self.moments == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def continued(folder: Path, exchange: LocalExchange, fault: tuple[str, str, int], at: int | None) -> dict[str, Any]:
    """A life that is killed at a moment, and its continuation; ``None``: one that is not."""
    folder.mkdir()
    name, on, skip = fault
    whole = World(exchange=exchange, venue=SPOT, **MANAGED).begin()
    exchange.fault(**WRONG[name], on=on, skip=skip)

    def play(start: int, at: int | None) -> None:
        own = LocalExchange(port=int(exchange.url.rpartition(":")[2]))
        own.journal = exchange.journal
        killing = Killing(at)
        world = World(exchange=own, venue=SPOT, **MANAGED)
        world._mark, world.traded, world.store = whole._mark, set(range(start)), bknb.stores.files(folder / "state")
        broker = killing.watch(world.broker())
        world.broker = lambda: broker  # type: ignore[method-assign]
        world.live(start=start, late_minutes=10_000)
        told = {"wrong": world.wrong(**ALLOWED), "moments": killing.moments, "bare": world.without_stop()[0]}
        (folder / "told.json").write_text(json.dumps(told))

    killed = killed_in_a_child(lambda: play(0, at))
    if killed:
        passed = int(exchange.state()[SPOT.book]["now"]) - ORIGIN
        assert not killed_in_a_child(lambda: play(-(-passed // MINUTE), None))
    told: dict[str, Any] = json.loads((folder / "told.json").read_text())
    shutil.rmtree(folder)
    return {**told, "killed": killed}


def main() -> None:
    """As a script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--faults", type=int, default=len(FAULTS))
    given = parser.parse_args()
    os.fsync = lambda _: None  # what a killed process has written is there
    given.folder.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    killed, longest = 0, 0.0
    with LocalExchange(journal=given.folder / "journal.jsonl") as exchange:
        for variable, name in SPOT.keys:
            os.environ[variable] = exchange.ccxt_config(SPOT.client)[name]
        for number, fault in enumerate(FAULTS[: given.faults]):
            calm = continued(given.folder / "life", exchange, fault, None)
            wrong += [f"{fault}: {text}" for text in calm["wrong"]]
            for at in range(1 + number % given.step, calm["moments"] + 1, given.step):
                found = continued(given.folder / "life", exchange, fault, at)
                wrong += [f"{fault}, killed at {at}: {text}" for text in found["wrong"]]
                killed, longest = killed + found["killed"], max(longest, found["bare"])
    print(json.dumps({"wrong": wrong, "killed": killed, "minutes without a stop, at most": longest}))  # noqa: T201


if __name__ == "__main__":
    main()
