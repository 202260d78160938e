"""Format versions on disk: each format has a table of version number -> the function that reads it.

The number is stored with the data. Where it is missing, the data have version 1: the first release wrote no number
into values that could not yet have another one. A number above the table was written by a newer bknb; it is refused,
and the file stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from ..errors import StateError

Content = TypeVar("Content")
Value = TypeVar("Value")

FIRST: Final = 1
"""The version of data that carry no number."""


def read_version(
    readers: Mapping[int, Callable[[Content], Value]], version: object, content: Content, *, what: str
) -> Value:
    """What the reader of that version makes of the content.

    Parameters
    ----------
    readers
        Version number -> the function that reads it.
    version
        The number that was found with the content.
    content
        What the reader takes.
    what
        The file, or the value in it, for messages.

    Raises
    ------
    StateError
        When a newer bknb wrote it.
    ValueError
        When the number is none of a format: the content is damaged or is something else.

    Examples
    --------
    >>> read_version({1: int, 2: float}, 2, "0.5", what="limits.json")
    0.5
    >>> read_version({1: int, 2: float}, 3, "?", what="limits.json")
    Traceback (most recent call last):
        ...
    bknb.errors.StateError: limits.json was written by a newer bknb (format 3; this one reads up to 2)
    upgrade with: pip install -U bknb; the file is untouched
    """
    known = max(readers)
    if not isinstance(version, int) or isinstance(version, bool) or version < FIRST:
        raise ValueError(f"its format is {version!r:.40}, expected a whole number from {FIRST} to {known}")
    reader = readers.get(version)
    if reader is not None:
        return reader(content)
    if version > known:
        raise written_by_newer(what, version, known)
    raise ValueError(f"its format is {version}, which bknb no longer reads; it reads {', '.join(map(str, readers))}")


def read_json(
    readers: Mapping[int, Callable[[bytes], Value]], content: bytes, *, what: str, member: str = "version"
) -> Value:
    """What the reader of its version makes of a JSON text; the version is a member of it, and 1 where there is none.

    Parameters
    ----------
    readers, what
        As for :func:`read_version`.
    content
        The text, which the reader gets as it is.
    member
        Name of the member that holds the version.

    Raises
    ------
    StateError
        When a newer bknb wrote it.
    ValueError
        When its version is no version, or is not known.
    msgspec.DecodeError
        When it is not JSON, or the reader cannot use it.

    Examples
    --------
    >>> read_json({1: len}, b"[]", what="orders"), read_json({1: len}, b'{"version":1}', what="orders")
    (2, 13)
    """
    try:
        found = msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get(member)
    except msgspec.ValidationError:
        found = None  # a list or a plain value has no members
    version = FIRST if found is None else msgspec.json.decode(found)
    return read_version(readers, version, content, what=what)


def written_by_newer(what: str, version: int, known: int) -> StateError:
    """The error for data of a later format than this bknb reads.

    Parameters
    ----------
    what
        The file, or the value in it.
    version, known
        The format that was found, and the latest one that can be read.
    """
    return StateError(
        f"{what} was written by a newer bknb (format {version}; this one reads up to {known})\n"
        "upgrade with: pip install -U bknb; the file is untouched"
    )
