"""Event loops in background threads: nothing that runs on one ends it, and a forked child has its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from typing import Any

import pytest

import bknb
from bknb.market.fetch_loop import fetch_now, submit
from bknb.market.loop_thread import LoopThread

WAIT = 20.0  # seconds after which something that must happen did not


async def leaving() -> None:
    raise SystemExit(3)


async def answering() -> int:
    return 5


def end(thread: LoopThread) -> None:
    loop = thread.loop()
    (running,) = (each for each in threading.enumerate() if each.name == thread.name)
    loop.call_soon_threadsafe(loop.stop)
    running.join(WAIT)
    loop.close()


def test_a_system_exit_reaches_the_caller_and_the_loop_goes_on() -> None:
    told: list[BaseException] = []
    thread = LoopThread("leaving", failed=told.append)
    loop = thread.loop()
    with pytest.raises(SystemExit) as left:
        asyncio.run_coroutine_threadsafe(leaving(), loop).result(WAIT)
    assert left.value.code == 3
    assert thread.loop() is loop
    assert asyncio.run_coroutine_threadsafe(answering(), loop).result(WAIT) == 5
    assert [repr(error) for error in told] == ["SystemExit(3)"]
    end(thread)


def test_concurrent_callers_share_one_loop() -> None:
    thread = LoopThread("asked at once")
    together, loops = threading.Barrier(8), []

    def ask() -> None:
        together.wait(WAIT)
        loops.append(thread.loop())

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(WAIT)
    assert len(set(map(id, loops))) == 1
    assert sum(each.name == "asked at once" for each in threading.enumerate()) == 1
    end(thread)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_source_that_raises_system_exit_fails_the_run_and_ends_nothing_else(asynchronous: bool) -> None:  # noqa: FBT001
    async def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        raise SystemExit(3)

    def get_candles_now(symbol: str, interval: str, since: int, limit: int) -> Any:
        raise SystemExit(3)

    exchange = bknb.add_exchange("leaving", get_candles=get_candles if asynchronous else get_candles_now)
    task = bknb.Backtest.background(
        "BTCUSDT", strategy=lambda: None, exchange=exchange, frame=("2024-01-01", "2024-01-02")
    )
    with pytest.raises(bknb.BknbError, match=r"leaving raised SystemExit\(3\)"):  # as an exit would end the kernel
        task.result(WAIT)
    assert fetch_now(answering()) == 5


FORK = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
from bknb.market.fetch_loop import fetch_now, submit

async def who():
    return os.getpid()

assert fetch_now(who()) == os.getpid()
child = os.fork()
if child == 0:
    right = submit(who()).result(15) == os.getpid()
    os._exit(0 if right else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert fetch_now(who()) == os.getpid()
print("both")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_fetches_on_its_own_loop() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORK)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("both\n", 0), done.stderr


def test_the_fetching_loop_is_one() -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert submit(loop()).result(WAIT) is submit(loop()).result(WAIT)
