"""The ledger of an optimizer: every answer of a model and what became of it, one JSON line each, only ever added to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


class AttemptBook:
    """One file of attempts.

    Parameters
    ----------
    folder
        Where it lies; the file's name holds optimizer and symbol.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     book = AttemptBook(folder, "ideas", "BTCUSDT")
    ...     book.add({"number": 1, "status": "refused"})
    ...     [line["status"] for line in book.lines()]
    ['refused']
    """

    def __init__(self, folder: str | Path, optimizer: str, symbol: str) -> None:
        name = "@".join(quote(part, safe=" -_+=") for part in (optimizer, symbol))
        self.path = Path(folder) / f"{name}.attempts.jsonl"

    def add(self, attempt: Any) -> None:
        """Write one line; it is on the disk when this returns."""
        line = msgspec.json.encode(attempt) + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as book:
                book.write(line)
                book.flush()
                os.fsync(book.fileno())
        except OSError as error:
            raise UsageError(
                f"the ledger {self.path} cannot be written: {error.strerror or error}\n"
                "pass another folder, or ledger=None to keep attempts in memory only"
            ) from None

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line that can be read; a torn last line is left out."""
        if not self.path.is_file():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                found = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(found, dict):
                yield found
