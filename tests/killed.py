"""A child that may be killed; lives that are killed at changes of the disk, compared to an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from noting_disk import Change, NotingDisk, Place

import bknb


def killed_in_a_child(work: Callable[[], object]) -> bool:
    """Do the work in a forked process; whether it was killed. An error of the work is printed, and raised here."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status != 0:
        raise RuntimeError("the child failed by itself")
    return False


class Life:
    """What one process of a run leaves in a folder: what its listener received, what ended, and changes of its disk."""

    def __init__(self, folder: Path, at: Place | None) -> None:
        self.folder = folder
        self.disk = NotingDisk(folder / "state", received=lambda: 0, at=at)
        log = os.open(folder / "received.log", os.O_APPEND | os.O_CREAT | os.O_WRONLY)

        def receive(event: Any) -> None:
            number: object = event.fill.number if isinstance(event, bknb.Added | bknb.Reduced) else ""
            number = event.number if isinstance(event, bknb.AddCancelled) else number
            if isinstance(event, bknb.Moved):  # an add may move levels in a minute in which something else does
                number = event.reason, event.price_stop_loss, len(event.targets), event.targets[:1]
            os.write(log, f"{type(event).__name__} {event.when} {event.signal.id} {number}\n".encode())

        bknb.listen_position(receive)

    def ends(self, ended: object) -> None:
        """It came to its end, with this."""
        (self.folder / "ended.json").write_bytes(msgspec.json.encode(ended))
        (self.folder / "changes.json").write_bytes(msgspec.json.encode(self.disk.changes))


def _left(folder: Path, *, lives: int) -> tuple[Any, list[str]]:
    """What ended, and what was received: sorted, each once, and none more often than there were lives."""
    lines = (folder / "received.log").read_text().splitlines()
    often = [f"{line}, {lines.count(line)} times" for line in {*lines} if lines.count(line) > lives]
    return json.loads((folder / "ended.json").read_bytes()), sorted({*lines, *often})


class Compared(NamedTuple):
    """Places at which a killed life is wrong, all places, and of the undisturbed one its changes and what ended."""

    wrong: list[str]
    places: list[Place]
    changes: list[Change]
    ended: Any


def compared_lives(
    root: Path, play: Callable[[Path, Place | None], None], places_of: Callable[[list[Change]], list[Place]]
) -> Compared:
    """Play undisturbed; then, for each place, kill one process there and let another go on to the end."""
    whole, folder = root / "whole", root / "killed"
    whole.mkdir()
    assert not killed_in_a_child(lambda: play(whole, None))
    wanted = _left(whole, lives=1)
    changes = msgspec.json.decode((whole / "changes.json").read_bytes(), type=list[Change])
    places = places_of(changes)
    wrong: list[str] = []
    for at in places:
        folder.mkdir()
        if not killed_in_a_child(lambda: play(folder, at)):  # noqa: B023 -- called at once
            wrong.append(f"{at}: it did not come to this place")
        assert not killed_in_a_child(lambda: play(folder, None))
        found = _left(folder, lives=2)
        if found != wanted:
            wrong.append(f"{at}: {'ended' if found[0] != wanted[0] else 'received'}")
        shutil.rmtree(folder)
    return Compared(wrong, places, changes, wanted[0])
