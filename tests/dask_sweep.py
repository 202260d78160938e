"""A sweep on a Dask cluster on loopback: plainly, with one worker killed in the middle, with all. Prints hashes.

Then a portfolio, a walker and a walk-forward, which are what they are in one process.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from test_runs_in_workers import FRAME, assert_same, falls, mean, portfolio  # noqa: E402
from test_sweep import get_signals, hash_of, options  # noqa: E402

import bknb  # noqa: E402


def main() -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        print(hash_of(bknb.sweep(get_signals, **options(executor=client))))  # noqa: T201
        for killed in (1, 2):
            shot = threading.Event()

            def shoot(done: int, _: int, *, killed: int = killed, shot: threading.Event = shot) -> None:
                if done and not shot.is_set():
                    shot.set()
                    for process in [*client.run(os.getpid).values()][:killed]:
                        os.kill(process, signal.SIGKILL)

            print(hash_of(bknb.sweep(get_signals, **options(executor=client, progress=shoot))))  # noqa: T201
        others(client)


def others(client: Any) -> None:
    """Compare what is no sweep with what one process makes."""
    bknb.set_config(count_tries=False)
    legs: dict[str, Any] = {"strategies": [mean, falls]}
    assert_same(portfolio(**legs), portfolio(executor=client, **legs))
    walk: dict[str, Any] = {"exchange": "demo", "frame": FRAME, "metric": "total_pnl"}
    found = [bknb.walker("BTCUSDT", strategies=[mean, falls], executor=each, **walk) for each in (None, client)]
    assert [*found[0]] == [*found[1]]
    walk |= {"train": "2d", "test": "1d", "interval": "1h"}
    reports = [bknb.walk_forward(mean, {"count": [5, 12]}, executor=each, **walk).report() for each in (None, client)]
    assert reports[0] == reports[1]


if __name__ == "__main__":
    main()
