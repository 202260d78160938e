"""Worker processes of our own, for one machine.

Each is a fresh interpreter that reads tasks from a pipe and answers on another: it never imports the user's main
script again, works from notebooks, scripts and ``python -c`` alike, and ends when its owner does. A worker that dies
costs its task another try; the others do not notice.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from .work import TRIES, Chunk, Depot, try_chunk

if TYPE_CHECKING:
    from .evaluate import Outcome

_LENGTH: Final = struct.Struct("<Q")
_LOOK_SECONDS: Final = 0.05


def _send(pipe: IO[bytes], content: bytes) -> None:
    pipe.write(_LENGTH.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    """The next message, or None at the end of the pipe."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = pipe.read(length)
    return content if len(content) == length else None


def serve() -> None:
    """A worker's life: answer tasks until the pipe ends. Started by ``Crew`` only."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a strategy prints must not end up among the answers
    while (content := _receive(sys.stdin.buffer)) is not None:
        folder, symbol, params = pickle.loads(content)  # noqa: S301 -- from the process that started this one
        try:
            answer: object = try_chunk(folder, symbol, params)
        except Exception as error:  # noqa: BLE001 -- told to the owner, who decides
            answer = f"{type(error).__name__}: {error}"
        _send(answers, pickle.dumps(answer, protocol=5))


class Worker:
    """One worker process."""

    def __init__(self) -> None:
        here = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from bknb.sweeps.worker_pool import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": here},
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def ask(self, folder: str, chunk: Chunk) -> list[Outcome] | str | None:
        """Outcomes, the text of an error, or None when the worker died."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None and back is not None  # both are pipes  # noqa: S101, PT018
        try:
            _send(to, pickle.dumps((folder, chunk.symbol, chunk.params), protocol=5))
            content = _receive(back)
        except (OSError, ValueError):  # a pipe that broke, or was closed by ``end``
            return None
        return None if content is None else pickle.loads(content)  # noqa: S301 -- from a process of ours

    def end(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # bytes that could no longer be sent
                    continue


class Crew:
    """A number of worker processes, kept until ``close``."""

    def __init__(self, depot: Depot, workers: int) -> None:
        self._folder = str(depot.folder)
        self.workers = workers
        self.crew: list[Worker | None] = [None] * workers
        self.deaths = 0

    def run(self, chunks: Sequence[Chunk], stopping: Callable[[], bool]) -> Iterator[tuple[Chunk, Any]]:
        """Try all chunks, until somebody wants to stop."""
        todo, answers = deque(chunks), queue.SimpleQueue[tuple[Chunk, Any]]()
        seats = range(min(self.workers, len(chunks)))
        over = threading.Event()
        threads = [threading.Thread(target=self._work, args=(seat, todo, answers, over), daemon=True) for seat in seats]
        for thread in threads:
            thread.start()
        left = len(chunks)
        try:
            while left and not stopping():
                try:
                    answer = answers.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    continue
                left -= 1
                yield answer
        finally:
            over.set()
            if left:
                self.close()  # in the middle of something nobody waits for any more
            for thread in threads:
                thread.join()

    def _work(self, seat: int, todo: deque[Chunk], answers: Any, over: threading.Event) -> None:
        """One worker's side: it takes what is to do until nothing is left."""
        idle = threading.Event()
        while not over.is_set():
            try:
                chunk = todo.popleft()
            except IndexError:
                return
            worker = self.crew[seat]
            if worker is None:
                worker = self.crew[seat] = Worker()
            said = worker.ask(self._folder, chunk)
            if said is not None:
                answers.put((chunk, said))
                continue
            if over.is_set():
                return
            worker.end()
            self.crew[seat] = None
            self.deaths += 1
            chunk.tries += 1
            if chunk.tries < TRIES:
                todo.append(chunk)
                idle.wait(_LOOK_SECONDS)
            else:
                answers.put((chunk, None))

    def close(self) -> None:
        """End all workers."""
        for seat, worker in enumerate(self.crew):
            if worker is not None:
                worker.end()
                self.crew[seat] = None
