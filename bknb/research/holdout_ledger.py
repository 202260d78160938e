"""The hold-out ledger: every look at held-out data, one JSON line each, append-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ..errors import StateError
from ..stores.disk import Disk
from ..stores.journal import Journal
from ..stores.versions import read_json

_VERSION: Final = 1


class HoldoutLook(msgspec.Struct, frozen=True, kw_only=True):
    """One look at held-out data.

    Parameters
    ----------
    opened_at
        Moment of the look, UTC ms on the computer's clock.
    data
        Hash of the candles.
    strategy_hash
        Hash of the strategy, its parameters and how it is executed; ``"2:"`` and so on in front is its version, none
        is the first.
    strategy, symbol, exchange
        Their names.
    start, end
        The frame, UTC ms.
    version
        Of this record.
    """

    opened_at: int
    data: str
    strategy_hash: str
    strategy: str
    symbol: str
    exchange: str
    start: int
    end: int
    version: int = _VERSION


class HoldoutLedger:
    """A hold-out ledger in one file; lines are appended and never changed.

    Parameters
    ----------
    path
        The file; it is made with its folder when the first look is written.
    disk
        The system calls; another one in tests.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     HoldoutLedger(Path(folder) / "openings.jsonl").all()
    []
    """

    def __init__(self, path: Path, *, disk: Disk | None = None) -> None:
        self.path = path
        self._journal = Journal(path, disk=disk)

    def all(self) -> list[HoldoutLook]:
        """The looks so far, oldest first; a torn last line does not count: nothing was shown before it was complete.

        Raises
        ------
        StateError
            When a line cannot be read (a look that cannot be counted must not pass for none), or a newer bknb
            wrote it.
        """
        return self._journal.read_strictly(
            lambda line: read_json(_READERS, line, what=str(self.path)),
            advice="it remembers who looked at held-out data; repair the line, or keep the file and use another path",
        )

    def add(self, look: HoldoutLook) -> None:
        """Append a look; it is on disk when this returns."""
        try:
            self._journal.append([msgspec.json.encode(look)])
        except OSError as error:
            raise StateError(
                f"the opening could not be written to {self.path}: {error}\n"
                "held-out data is shown only when its opening is remembered; give another path"
            ) from None


_READERS: Final[Mapping[int, Callable[[bytes], HoldoutLook]]] = {1: partial(msgspec.json.decode, type=HoldoutLook)}
