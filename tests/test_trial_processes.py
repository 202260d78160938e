"""What the process of a trial has and has not: the same in a fork of a server as in an interpreter of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from trials import ENDLESS, SYSTEM, asking, children, running, servers, soon, status, told, trials

import bknb
from bknb.brokers.exchange_keys import keys_of
from bknb.sandbox import fork_client, process
from bknb.sandbox.process import Job, Limits, run_job

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there are trials forks")

KEY = "sk-" + "planted-"[::-1]  # in two pieces: the text of this file does not hold it
OF_ACCOUNTS = (
    *("BKNB_API_KEY", "BKNB_BINANCE_SANDBOX_KEY", "BKNB_BINANCE_SANDBOX_SECRET", "BKNB_OKX_PASSPHRASE"),
    *("BKNB_TELEGRAM_TOKEN", "BKNB_WEBHOOK_URL", "BKNB_PING_URL"),
)


@pytest.fixture(scope="module", autouse=True)
def _no_other_server() -> None:
    """Those that tests before these have started are ended."""
    for server in fork_client._servers.values():
        server.end()


@pytest.fixture(scope="module")
def candles() -> bytes:
    found = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", 1_704_067_200_000, 2 * 1440))
    return found.block.tobytes()


@pytest.fixture
def endless(candles: bytes) -> Job:
    return replace(asking("", candles=candles), code=ENDLESS, limits=Limits(seconds=300))


@pytest.fixture(params=["fork", "own interpreter"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of process."""
    if request.param != "fork":
        monkeypatch.setattr(process, "CAN_FORK", False)
    return str(request.param)


@pytest.fixture
def begin_with(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Has interpreters of trials begin with a change; servers that did are ended afterwards."""
    before = servers()
    yield lambda change: monkeypatch.setattr(process, "_START", process._START.replace("main()", f"{change}; main()"))
    for server in fork_client._servers.values():
        if server.process.pid not in before:
            server.end()


def descriptors(pid: int) -> dict[int, str]:
    """What a process has open."""
    return {int(path.name): str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}


def kinds(opened: dict[int, str]) -> list[str]:
    """The kinds of what is open: sockets, pipes, files by their names."""
    return sorted(name.partition(":[")[0] for name in opened.values())


def holds(pid: int, text: bytes) -> bool:
    """Whether a text is in the memory of a process, or was in its environment when it began."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
            place, access = line.split()[:2]
            start, end = (int(each, 16) for each in place.split("-"))
            if "w" not in access:
                continue
            memory.seek(start)
            if text in memory.read(end - start):
                return True
    return False


def looked_at(job: Job) -> dict[str, object]:
    """What the system says of the process of a trial."""
    with running(job) as pid:
        about, limits = status(pid), Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
        opened = descriptors(pid)
        size = int(about["VmSize"].split()[0]) * 1024
        most = int(re.search(r"Max address space +(\d+)", limits)[1])  # type: ignore[index]
        assert 0 <= most - size < job.limits.memory_mb * 1024**2 + 64 * 1024**2
        assert Path(f"/proc/{pid}/cwd").readlink().name.startswith("bknb-trial-")
        assert os.getpgid(pid) == os.getsid(pid) == pid
        pipes = {name for name in opened.values() if name.startswith("pipe:")}
        others = [name for name in kinds(opened) if name not in ("pipe", "socket", "/dev/null", "anon_inode")]
        return {
            "open": kinds(opened),
            "files": others,
            "pipes": len(pipes),
            "limits": re.sub(r"(Max address space +).*", r"\1", limits),
            "seccomp": (about["Seccomp"], about["NoNewPrivs"]),
            "signals": (about["SigIgn"], about["SigCgt"], about["SigBlk"]),
            "threads": about["Threads"],
            "shared memory": [
                line for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines() if " rw-s " in line
            ],
        }


@pytest.mark.slow
def test_a_fork_has_what_an_interpreter_of_its_own_has(endless: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors, session, folder, limits, signals, threads, system calls: nothing else, also beside another trial."""
    limited = replace(endless, limits=Limits(seconds=300, memory_mb=200))
    fork = looked_at(limited)
    assert servers()
    with running(endless):
        beside = looked_at(limited)
    monkeypatch.setattr(process, "CAN_FORK", False)
    own = looked_at(limited)
    assert fork == beside == own
    assert fork["files"] == fork["shared memory"] == []
    assert fork["pipes"] == 3
    assert fork["seccomp"] == ("2", "1")
    assert re.search(r"Max cpu time +302 +303", str(fork["limits"]))
    assert re.search(r"Max file size +0 +0", str(fork["limits"]))


@pytest.mark.slow
def test_its_environment_is_bare(way: str, candles: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BKNB_API_KEY", KEY)
    homes = "{m['environ'][name] for name in ('HOME', 'TMPDIR')} == {m['getcwd']()}"
    found = told(asking(SYSTEM, f"raise ValueError({homes}, *sorted(m['environ']))", candles=candles))
    expected = ["HOME", "LC_ALL", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    inherited = [name for name in ("LD_LIBRARY_PATH",) if name in os.environ]
    assert found == f"ValueError: {(True, *sorted([*expected, 'TMPDIR', *inherited]))}"


@pytest.mark.slow
def test_no_key_is_in_its_memory(way: str, endless: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the process that has it tried out is, in a variable and in the environment."""
    keys = {name: f"{KEY}-{name}" for name in OF_ACCOUNTS}
    for name, value in keys.items():
        monkeypatch.setenv(name, f"https://127.0.0.1:9/{value}" if name.endswith("URL") else value)
    monkeypatch.setenv("BKNB_TELEGRAM_TOKEN", keys["BKNB_TELEGRAM_TOKEN"].replace("_", "-"))
    opened = [bknb.notify.telegram(42, ping_env="BKNB_PING_URL"), bknb.notify.webhook()]
    opened += [keys_of("binance", sandbox=True)]
    with running(endless) as pid:
        for each in (pid, *servers()):
            assert not holds(each, KEY.encode())
        assert holds(pid, ENDLESS.encode())
    assert len(opened) == 3


@pytest.mark.slow
def test_nothing_of_a_trial_is_there_in_the_next(endless: Job, candles: bytes) -> None:
    """Neither what its code left in modules, nor its code, nor its candles; the server has nothing of it either."""
    mark = "trial-of" + "-before"
    leaves = (f"np.kept = '{mark}'", "np.number = None", f"raise ValueError('{mark}')")
    job = asking(*leaves, candles=candles)
    assert told(job) == f"ValueError: {mark}"
    (server,) = servers()
    assert told(asking("raise ValueError(np.__dict__.get('kept'), np.number)", candles=candles)).startswith(
        "ValueError: (None, <class"
    )
    other = replace(endless, candles={"BTCUSDT": candles[: len(candles) // 6] * 6})
    with running(other) as pid:
        assert children(server) == [pid]
        assert holds(pid, ENDLESS.encode())
        for text in (mark.encode(), candles[-800:]):
            assert not holds(server, text)
            assert not holds(pid, text)
    assert servers() == [server]


@pytest.mark.slow
def test_the_server_has_one_thread_no_files_and_no_environment(candles: bytes) -> None:
    told(asking("raise ValueError(1)", candles=candles))
    (server,) = servers()
    assert status(server)["Threads"] == "1"
    assert kinds(descriptors(server)) == ["/dev/null", "pipe", "socket", "socket", "socket"]
    environment = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    assert b"HOME=/dev/null" in environment
    assert Path(f"/proc/{server}/cwd").readlink() == Path("/")
    assert os.getsid(server) == server


# --- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_cancelled_trial_leaves_no_fork(endless: Job, begin_with: Callable[[str], None]) -> None:
    """Whether it was asked for, forked, or ran: nothing of it is there when its coroutine is over.

    Also where the server takes its time.
    """
    slow = "trial_forks._end = lambda *trial: (time.sleep(0.05), end(*trial))"
    begin_with(f"import time; from bknb.sandbox import trial_forks; end = trial_forks._end; {slow}")

    async def cancelled(turns: int) -> None:
        trial = asyncio.create_task(run_job(endless))
        for _ in range(turns):
            await asyncio.sleep(0.001)
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        assert trials() == []

    with running(endless) as pid:
        pass
    assert status(pid) == {}
    for turns in (0, 1, 2, 3, 4, 6, 8, 12, 20, 50):
        asyncio.run(cancelled(turns))


@pytest.mark.slow
def test_where_the_server_ended_another_forks_the_next(endless: Job, candles: bytes) -> None:
    asks = asking("raise ValueError(1)", candles=candles)
    told(asks)
    (first,) = servers()
    os.kill(first, signal.SIGKILL)
    told(asks)
    (second,) = servers()
    assert first != second
    with running(endless) as pid:
        os.kill(second, signal.SIGKILL)
        soon(lambda: status(pid).get("State", "Z")[0] in "ZX")  # it ends with its server
    assert told(asks) == "ValueError: 1"
    (third,) = servers()
    os.kill(third, signal.SIGSTOP)  # it ends while a trial waits for it
    stopped = asyncio.new_event_loop()
    stopped.call_later(0.2, os.kill, third, signal.SIGKILL)
    assert stopped.run_until_complete(run_job(asks)).troubles[0].message == "ValueError: 1"
    stopped.close()


@pytest.mark.slow
def test_what_a_trial_dies_of_is_said_and_the_server_goes_on(candles: bytes) -> None:
    """A crash, too much memory, a trial that was killed: they are those of one process."""
    told(asking("raise ValueError(1)", candles=candles))
    before = servers()
    lines = {
        "crashed its process (SIGSEGV)": "np.lib.stride_tricks.as_strided(np.zeros(2), shape=(10 ** 10,)).sum()",
        "more than 64 MB of memory": "np.zeros(4 * 10 ** 8)",
    }
    for says, line in lines.items():
        outcome = asyncio.run(run_job(asking(line, candles=candles, limits=Limits(memory_mb=64))))
        assert says in outcome.problem
    assert servers() == before != []


@pytest.mark.slow
def test_a_server_that_cannot_begin_is_reported(begin_with: Callable[[str], None], endless: Job) -> None:
    begin_with("import no_such_module")
    assert "No module named 'no_such_module'" in asyncio.run(run_job(endless)).problem


@pytest.mark.slow
def test_a_fork_that_cannot_be_made_is_reported(begin_with: Callable[[str], None], endless: Job) -> None:
    begin_with("import os; os.fork = lambda: os.listdir('/proc/0')")
    with pytest.raises(FileNotFoundError) as raised:
        asyncio.run(run_job(endless))
    assert raised.value.errno == errno.ENOENT
    assert trials() == []


@pytest.mark.slow
def test_a_server_that_nobody_asks_ends(begin_with: Callable[[str], None], candles: bytes) -> None:
    begin_with("from bknb.sandbox import trial_forks; trial_forks._IDLE_SECONDS = 0.05")
    before = servers()
    for _ in range(2):
        assert told(asking("raise ValueError(1)", candles=candles)) == "ValueError: 1"
        soon(lambda: servers() == before)


PARENT = """
import asyncio, os, sys, time
from msgspec.structs import replace
from threading import Thread
from trials import ENDLESS, asking, servers, soon, trials, is_locked
import bknb, bknb.optimizer.trial
assert servers() == trials() == []
from bknb.sandbox.process import run_job
job = replace(asking("", candles=sys.stdin.buffer.read()), code=ENDLESS)
Thread(target=lambda: asyncio.run(run_job(job)), daemon=True).start()
pid = soon(lambda: next((pid for pid in trials() if is_locked(pid)), 0))
left = os.fork()
if left == 0:
    time.sleep(60)
print(left, *servers(), pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_server_and_trial_end_with_the_process_that_started_them(candles: bytes) -> None:
    """However it ends, and although a fork of it lives on; there is no server before the first trial."""
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(candles)
        parent.stdin.close()
        left, *ours = map(int, parent.stdout.readline().split())
        assert len(ours) == 2
        parent.kill()
        soon(lambda: all(status(pid).get("State", "Z")[0] in "ZX" for pid in ours))
        assert status(left)
        os.kill(left, signal.SIGKILL)
