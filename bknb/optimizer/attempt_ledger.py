"""The attempt ledger of an optimizer: every answer of a model and its outcome, one JSON line each, append-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import UsageError
from ..stores.disk import Disk
from ..stores.file_names import join_names
from ..stores.format_versions import read_json
from ..stores.journal import Journal, begins_with


class AttemptLedger:
    """The attempts of one optimizer on one symbol, in one file.

    Parameters
    ----------
    folder
        Where it lies; the file's name holds optimizer and symbol.
    disk
        Who carries out the system calls.

    Attributes
    ----------
    damaged : int
        Lines that could not be read, the last time anybody read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = AttemptLedger(folder, "ideas", "BTCUSDT")
    ...     ledger.add({"number": 1, "status": "refused"})
    ...     [line["status"] for line in ledger.lines()]
    ['refused']
    """

    def __init__(self, folder: str | Path, optimizer: str, symbol: str, *, disk: Disk | None = None) -> None:
        self.path = Path(folder) / f"{join_names((optimizer, symbol))}.attempts.jsonl"
        self.damaged = 0
        self._journal = Journal(
            self.path, entry="attempt", is_beginning=begins_with(b'{"number":'), example="ideas.jsonl", disk=disk
        )

    def add(self, attempt: Any) -> None:
        """Append one attempt; it is on disk when this returns."""
        try:
            self._journal.append([msgspec.json.encode(attempt)])
        except OSError as error:
            raise UsageError(
                f"the ledger {self.path} cannot be written: {error.strerror or error}\n"
                "pass another folder, or ledger=None to keep attempts in memory only"
            ) from None

    def lines(self) -> list[dict[str, Any]]:
        """Return every readable line, oldest first; :attr:`damaged` counts those that are not.

        Raises
        ------
        StateError
            When the file holds no attempt but something else, or a newer bknb wrote into it.
        """
        found, bad = self._journal.read(lambda line: _decoded(line, self.path))
        self.damaged = len(bad)
        return found


_READERS: Final[Mapping[int, Callable[[bytes], dict[str, Any]]]] = {
    1: partial(msgspec.json.decode, type=dict[str, Any]),
}


def _decoded(line: bytes, path: Path) -> dict[str, Any]:
    found = read_json(_READERS, line, what=f"the ledger {path}")
    if "number" not in found:
        raise ValueError("it is no attempt: it has no number")
    return found
