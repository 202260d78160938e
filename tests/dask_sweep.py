"""A sweep on a Dask cluster on loopback: plainly, with one worker killed in the middle, with all. Prints hashes."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

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


if __name__ == "__main__":
    main()
