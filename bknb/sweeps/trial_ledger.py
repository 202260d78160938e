"""The ledger of trials on disk: one line per combination ever tried, appended and never changed.

A line is ``checksum json``. A line that was cut off by a crash, or that does not match its checksum, is passed over and
counted; whatever it held is simply tried again.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..domain.trial import Trial
from ..errors import StateError

_VERSION = 1


class TrialFile:
    """Trials in one file.

    Parameters
    ----------
    path
        The file; it and its folder are made when the first trial is added.

    Attributes
    ----------
    damaged : int
        Lines that could not be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = TrialFile(Path(folder) / "trials")
    ...     file.get("unknown") is None, file.damaged
    (True, 0)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damaged = 0
        self._trials: dict[str, Trial] = {}
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise StateError(f"the ledger {self.path} cannot be read: {error}") from error
        for line in lines:
            if not line:
                continue
            trial = _decoded(line)
            if trial is None:
                self.damaged += 1
            else:
                self._trials.setdefault(trial.key, trial)

    def get(self, key: str) -> Trial | None:
        """The trial of that key, if it was made."""
        return self._trials.get(key)

    def all(self) -> list[Trial]:
        """Every trial, in order of the first time."""
        return list(self._trials.values())

    def add(self, trials: Iterable[Trial]) -> None:
        """Append trials; when this returns they are on disk."""
        new = [trial for trial in trials if trial.key not in self._trials]
        if not new:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # A line cut off by a crash ends here, not in the middle of the next one.
                start = b"\n" if file.tell() and not self._ends_well() else b""
                file.write(start + b"".join(_encoded(trial) for trial in new))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StateError(f"the ledger {self.path} cannot be written: {error}") from error
        self._trials.update((trial.key, trial) for trial in new)

    def _ends_well(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _encoded(trial: Trial) -> bytes:
    body = msgspec.json.encode([_VERSION, trial])
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _decoded(line: bytes) -> Trial | None:
    checksum, _, body = line.partition(b" ")
    try:
        if int(checksum, 16) != zlib.crc32(body):
            return None
        version, trial = msgspec.json.decode(body, type=tuple[int, Trial])
    except (ValueError, msgspec.DecodeError):
        return None
    return trial if version == _VERSION else None
