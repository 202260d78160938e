"""A file that remembers when held-out data was looked at, and with what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from ..errors import StateError

_VERSION: Final = 1


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """One look at held-out data.

    Parameters
    ----------
    opened_at
        When, UTC ms on the computer's clock.
    data
        Hash of the candles.
    strategy_hash
        Hash of the strategy, its parameters and how it is executed.
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


class Openings:
    """Every look at held-out data, one line each; nothing is ever changed or taken out.

    Parameters
    ----------
    path
        The file; it is made with its folder when the first look is written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Openings(Path(folder) / "openings.jsonl").all()
    []
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[Opening]:
        """The looks so far, oldest first.

        Raises
        ------
        StateError
            When a line cannot be read: an opening that cannot be counted must not pass for none.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")
        found = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                found.append(msgspec.json.decode(line, type=Opening))
            except msgspec.MsgspecError as error:
                if number == len(lines):
                    continue  # the last line was torn before its look was shown to anybody
                raise StateError(
                    f"line {number} of {self.path} cannot be read: {error}\n"
                    "it remembers who looked at held-out data; repair the line, or keep the file and use another path"
                ) from None
        return found

    def add(self, opening: Opening) -> None:
        """Write a look; it is on the disk when this returns."""
        line = msgspec.json.encode(opening) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and self.path.read_bytes()[-1:] not in (b"\n", b"")
            with self.path.open("ab") as file:  # appended in one piece: two processes do not mix
                file.write(b"\n" + line if torn else line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StateError(
                f"the opening could not be written to {self.path}: {error}\n"
                "held-out data is shown only when its opening is remembered; give another path"
            ) from None
