"""Trial ledgers of sweeps, in memory and on disk: one line per combination, appended and never changed.

A line is ``checksum json``. A line that was cut off by a crash, or that does not match its checksum, is skipped and
counted; its combination is evaluated again.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ..domain.sweep_trial import Trial
from ..errors import StateError
from ..stores.disk import Disk
from ..stores.format_versions import read_version
from ..stores.journal import Journal


class TrialMemory:
    """A trial ledger that lasts as long as the process."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials: dict[str, Trial] = {}
        for trial in trials:
            self._trials.setdefault(trial.key, trial)

    def get(self, key: str) -> Trial | None:
        """Return the trial of that key, if there is one."""
        return self._trials.get(key)

    def all(self) -> list[Trial]:
        """Return every trial, in the order in which they were added."""
        return list(self._trials.values())

    def add(self, trials: Iterable[Trial]) -> None:
        """Add trials; the first one of a key stays."""
        for trial in trials:
            self._trials.setdefault(trial.key, trial)


class TrialFile(TrialMemory):
    """A trial ledger in one file.

    Parameters
    ----------
    path
        The file; it and its folder are made when the first trial is added.
    disk
        Who carries out the system calls.

    Attributes
    ----------
    damaged : int
        Lines that could not be read.

    Raises
    ------
    StateError
        When the file cannot be read, holds no trial but something else, or a newer bknb wrote into it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = TrialFile(Path(folder) / "trials")
    ...     file.get("unknown") is None, file.damaged
    (True, 0)
    """

    def __init__(self, path: Path, *, disk: Disk | None = None) -> None:
        self.path = path
        self._journal = Journal(path, entry="trial", is_beginning=_is_beginning, example="trials", disk=disk)
        trials, bad = self._journal.read(lambda line: _decoded(line, path))
        self.damaged = len(bad)
        super().__init__(trials)

    def add(self, trials: Iterable[Trial]) -> None:
        """Append trials; they are on disk when this returns."""
        new = [trial for trial in trials if trial.key not in self._trials]
        if not new:
            return
        try:
            self._journal.append(map(_encoded, new))
        except OSError as error:
            raise StateError(f"the ledger {self.path} cannot be written: {error}") from error
        super().add(new)


_READERS: Final[Mapping[int, Callable[[bytes | msgspec.Raw], Trial]]] = {
    1: partial(msgspec.json.decode, type=Trial),
}


_BEGINNING: Final = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} (\[.*)?", re.DOTALL)


def _is_beginning(line: bytes) -> bool:
    return _BEGINNING.fullmatch(line) is not None


def _encoded(trial: Trial) -> bytes:
    body = msgspec.json.encode([max(_READERS), trial])
    return b"%08x %s" % (zlib.crc32(body), body)


def _decoded(line: bytes, path: Path) -> Trial:
    checksum, _, body = line.partition(b" ")
    if int(checksum, 16) != zlib.crc32(body):
        raise ValueError("its checksum does not match")
    version, *rest = msgspec.json.decode(body, type=list[msgspec.Raw])
    trial = rest[0] if rest else msgspec.Raw()
    return read_version(_READERS, msgspec.json.decode(version), trial, what=f"the ledger {path}")
