"""An append-only file of lines: what is appended is on the disk when the call returns, and no line is ever changed.

A crash may leave half a line at the end. It is closed with a line feed before the next line is written, so that the two
do not run together; a reader names it, and every other line stands for itself. Several processes may append to one
file: each batch of lines goes out in one piece, at what is the end of the file at that moment.

A file that holds something else is refused, and stays as it is: only a last line that looks like the beginning of an
entry passes for one that was cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from ..errors import StateError
from .disk import Disk, make_folders, refusal, write_all

Entry = TypeVar("Entry")


class BadLine(NamedTuple):
    """A line that cannot be read.

    Attributes
    ----------
    number : int
        Counted from 1, as editors do.
    reason : str
        What is wrong with it.
    torn : bool
        Whether it is the last one, has no line feed and looks like the beginning of an entry: its write was cut off,
        so it was never confirmed.
    """

    number: int
    reason: str
    torn: bool


def begins_with(opening: bytes) -> Callable[[bytes], bool]:
    """Whether a line is the beginning of an entry, for entries that all open alike.

    Examples
    --------
    >>> is_beginning = begins_with(b'{"number":')
    >>> [is_beginning(line) for line in (b"{", b'{"number":1', b'{"fee":', b"")]
    [True, True, False, True]
    """
    return lambda line: line.startswith(opening) or opening.startswith(line)


def _anything(_line: bytes) -> bool:
    return True


class Journal:
    """Lines in one file, only ever added to.

    Parameters
    ----------
    path : Path
        The file; it and its folder are made when the first line is appended.
    entry : str
        What a line is, for messages: ``"trial"``.
    is_beginning : callable, optional
        Whether a line that cannot be read looks like the beginning of an entry; by default every line does.
    example : str
        A name for such a file, for messages.
    disk : Disk, optional
        Who carries out the system calls.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Path(folder) / "fills.jsonl")
    ...     journal.append([b"1", b"2"])
    ...     _ = journal.path.write_bytes(journal.path.read_bytes() + b'"cut o')
    ...     journal.append([b"3"])
    ...     entries, bad = journal.read(msgspec.json.decode)
    >>> entries, [line.number for line in bad]
    ([1, 2, 3], [3])
    """

    def __init__(
        self,
        path: Path,
        *,
        entry: str = "entry",
        is_beginning: Callable[[bytes], bool] = _anything,
        example: str = "journal.jsonl",
        disk: Disk | None = None,
    ) -> None:
        self.path = path
        self._entry = entry
        self._is_beginning = is_beginning
        self._example = example
        self._disk = disk or Disk()
        self._named = False

    def append(self, lines: Iterable[bytes]) -> None:
        """Add lines (without line feeds); they are on the disk when this returns.

        Raises
        ------
        OSError
            When the disk did not take them. Some may be in the file; none is lost that was there before.
        """
        batch = b"".join(line + b"\n" for line in lines)
        if not batch:
            return
        disk = self._disk
        make_folders(disk, self.path.parent)
        handle = disk.open_to_append(self.path)
        try:
            torn = disk.last_byte(handle) not in (b"\n", b"")
            write_all(disk, handle, b"\n" + batch if torn else batch)
            disk.sync(handle)
        finally:
            disk.close(handle)
        if not self._named:
            # Even when the file was there: whoever made it may have got no further.
            disk.sync_folder(self.path.parent)
            self._named = True

    def read(self, decode: Callable[[bytes], Entry]) -> tuple[list[Entry], list[BadLine]]:
        """Every line that can be read, oldest first, and those that cannot; both empty when there is no file.

        Parameters
        ----------
        decode
            Makes an entry of a line; raises ``ValueError`` or ``msgspec.DecodeError`` for one that is none. Any other
            error ends the reading.

        Raises
        ------
        StateError
            When the file cannot be read, or holds no entry but lines that are not the beginnings of any.
        """
        lines = self._content().split(b"\n")
        entries: list[Entry] = []
        bad: list[BadLine] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                entries.append(decode(line))
            except (ValueError, msgspec.DecodeError) as error:
                torn = number == len(lines) and self._is_torn(line, first=number == 1)
                bad.append(BadLine(number, str(error), torn=torn))
        if bad and not entries and not all(self._is_beginning(lines[each.number - 1]) for each in bad):
            raise StateError(
                f"{self.path} holds no {self._entry}: line {bad[0].number} cannot be read: {bad[0].reason}\n"
                f"it may be a file of something else, and is untouched; give another path, such as {self._example}"
            )
        return entries, bad

    def read_strictly(self, decode: Callable[[bytes], Entry], *, advice: str) -> list[Entry]:
        """Every line, oldest first; only the last one may be cut off, and is left out then.

        Parameters
        ----------
        decode
            As for :meth:`read`.
        advice
            What the file is for, and what to do about it: second line of the error.

        Raises
        ------
        StateError
            When another line, or the file, cannot be read.
        """
        entries, bad = self.read(decode)
        for line in bad:
            if not line.torn:
                raise StateError(f"line {line.number} of {self.path} cannot be read: {line.reason}\n{advice}")
        return entries

    def drop_torn_line(self) -> bool:
        """Remove what follows the last line feed, if it looks like a beginning of an entry; returns whether it was.

        Only for a file that one process at a time uses: another one may be in the middle of its line.
        """
        content = self._content()
        whole = content.rfind(b"\n") + 1
        torn = whole < len(content) and self._is_torn(content[whole:], first=not whole)
        if torn:
            self._disk.truncate(self.path, whole)
        return torn

    def _is_torn(self, line: bytes, *, first: bool) -> bool:
        # A power cut may leave zeros behind the entries; a file that begins with zeros is something else.
        return self._is_beginning(line) or (not first and not line.strip(b"\0"))

    def _content(self) -> bytes:
        try:
            return self._disk.read(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except IsADirectoryError:
            raise StateError(
                f"{self.path} is a folder; expected the path of a file\n"
                f"give a file in it, such as {self.path / self._example}"
            ) from None
        except OSError as error:
            raise refusal("read", self.path, error, outcome="nothing was changed; nothing is known") from None
