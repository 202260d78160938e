"""The hold-out ledger: every look at held-out data, one JSON line each, append-only."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ..errors import StateError
from ..stores.disk import Disk
from ..stores.format_versions import read_json
from ..stores.journal import Journal, begins_with

_VERSION: Final = 1
_IS_BEGINNING: Final = begins_with(b'{"opened_at":')
_MOMENT: Final = re.compile(rb'\{"opened_at":([0-9]{1,13}),')


class HoldoutLook(msgspec.Struct, frozen=True, kw_only=True):
    """One look at held-out data.

    Parameters
    ----------
    opened_at
        Moment of the look, UTC ms on the computer's clock.
    data
        Hash of the candles.
    strategy_hash
        Hash of the strategy, its parameters and how it is executed; ``"3:"`` and so on in front is its version, none
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

    @property
    def cut_off(self) -> bool:
        """Whether its record was cut off by a crash: a look of an unknown strategy, which may be at any data."""
        return not self.strategy_hash


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
        self._journal = Journal(path, entry="opening", is_beginning=_IS_BEGINNING, example="openings.jsonl", disk=disk)

    def all(self) -> list[HoldoutLook]:
        """The looks so far, oldest first; a line that a crash cut off counts as a look of an unknown strategy.

        Raises
        ------
        StateError
            When another line cannot be read (a look that cannot be counted must not pass for none), the file holds
            something else, or a newer bknb wrote it.
        """
        return self._journal.read_strictly(
            self._look,
            advice="it remembers who looked at held-out data; repair the line, or keep the file and use another path",
        )

    def _look(self, line: bytes) -> HoldoutLook:
        try:
            return read_json(_READERS, line, what=str(self.path))
        except msgspec.DecodeError as error:
            if not (_IS_BEGINNING(line) and "truncated" in str(error)):
                raise
        moment = _MOMENT.match(line)
        return HoldoutLook(
            opened_at=0 if moment is None else int(moment[1]),
            data="",
            strategy_hash="",
            strategy="a look whose record was cut off",
            symbol="",
            exchange="",
            start=0,
            end=0,
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
