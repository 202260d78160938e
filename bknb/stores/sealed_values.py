"""What one saved value looks like, and what it may be called: the part all state stores share.

A saved value is one line of JSON::

    {"format":1,"kind":"signal","key":["sma","BTCUSDT"],"checksum":"…","payload":{…}}

The checksum (BLAKE2b, 128 bits) covers everything but itself, so a flipped bit, a lost tail and a value that was copied
to another place are all told apart from a good one. ``format`` stays the first member in every later format.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from ..errors import StateError, UsageError
from .file_names import encode_name
from .format_versions import written_by_newer

Key = tuple[str, ...]

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
_FORMAT_FIRST = re.compile(rb'\{"format":([0-9]{1,9}),')
_TAIL: Final = b"}\n"
_DIGITS: Final = 32


class Unreadable(Exception):  # noqa: N818 - it never reaches a user: the stores turn it into a StateError
    """A saved value that is not what it should be; raised by :func:`unseal`, and for a store to turn into a StateError.

    Attributes
    ----------
    reason : str
        Fits behind the name of the file: "is cut off".
    newer : int or None
        The format, when a later bknb wrote it; then it is good, only not for us.

    Examples
    --------
    >>> sealed = seal("signal", ("sma", "BTCUSDT"), b"{}")
    >>> try:
    ...     unseal(sealed[:-1], "signal", ("sma", "BTCUSDT"))
    ... except Unreadable as problem:
    ...     print("the saved signal", problem.reason)
    the saved signal is cut off
    """

    def __init__(self, reason: str, *, newer: int | None = None) -> None:
        self.reason = reason
        self.newer = newer
        super().__init__(reason)

    def refused(self, what: str) -> StateError | None:
        """The error for a value that a later bknb wrote: nothing is done about it; ``None`` for a damaged one.

        Parameters
        ----------
        what : str
            The file, or the value in it.
        """
        return None if self.newer is None else written_by_newer(what, self.newer, FORMAT)


class _Address(msgspec.Struct, frozen=True):
    kind: str
    key: Key


def check_address(kind: object, key: object) -> None:
    """Raise ``UsageError`` for a kind or a key that no store can save.

    Raises
    ------
    UsageError
        When the kind is not a short lower-case word, or the key is not a tuple of one or more texts.

    Examples
    --------
    >>> check_address("signal", ("sma", "BTCUSDT"))
    >>> check_address("../etc", ("passwd",))
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: a kind of state is a word like 'signal' (a-z, 0-9, _), not '../etc'
    """
    check_kind(kind)
    if not isinstance(key, tuple) or not key or not all(isinstance(name, str) for name in key):
        raise UsageError(f"a key is a tuple of names like ('sma', 'BTCUSDT'), not {key!r}")
    try:
        for name in key:
            name.encode()
    except UnicodeEncodeError:
        raise UsageError(f"a name must be valid Unicode text; {name!r} holds half a surrogate pair") from None


def check_kind(kind: object) -> None:
    """Refuse a kind that is not a short lower-case word; :func:`check_address` looks at the key too.

    Raises
    ------
    UsageError
        When the kind is not a word of at most 32 letters, digits and underscores that begins with a letter.

    Examples
    --------
    >>> check_kind("signal")
    >>> check_kind("a signal")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: a kind of state is a word like 'signal' (a-z, 0-9, _), not 'a signal'
    """
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise UsageError(f"a kind of state is a word like 'signal' (a-z, 0-9, _), not {kind!r}")


def seal(kind: str, key: Key, payload: bytes) -> bytes:
    """The bytes to save for a value: with format, kind, key and checksum, so that damage and a wrong place are noticed.

    Parameters
    ----------
    kind, key
        Where the value belongs.
    payload : bytes
        JSON, UTF-8. It comes back byte for byte.

    Raises
    ------
    UsageError
        When the payload is not JSON, or the address cannot be kept.

    Examples
    --------
    >>> unseal(seal("risk", ("calm", "positions"), b"[]"), "risk", ("calm", "positions"))
    b'[]'
    """
    check_address(kind, key)
    try:
        payload.decode()
        msgspec.json.decode(payload, type=msgspec.Raw)
    except (AttributeError, TypeError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(
            f"state is saved as JSON bytes; what came for {kind} {describe(key)} is not JSON: {error}"
        ) from None
    return _sealed(FORMAT, kind, key, payload)


def unseal(sealed: bytes, kind: str, key: Key) -> bytes:
    """The payload of a saved value, byte for byte as it was given to :func:`seal`.

    Parameters
    ----------
    sealed : bytes
        The saved bytes.
    kind, key
        Where it was found; it must belong there.

    Raises
    ------
    Unreadable
        When it is damaged, belongs somewhere else, or was written by a later bknb.

    Examples
    --------
    >>> sealed = seal("signal", ("sma", "BTCUSDT"), b'{"price":100}')
    >>> unseal(sealed, "signal", ("sma", "BTCUSDT"))
    b'{"price":100}'
    >>> unseal(sealed.replace(b"100", b"900"), "signal", ("sma", "BTCUSDT"))
    Traceback (most recent call last):
        ...
    bknb.stores.sealed_values.Unreadable: is damaged: its checksum does not match
    """
    payload = _opened(sealed, kind, key)
    if payload is None:
        raise _explained(sealed)
    return payload


def address_of(sealed: bytes) -> tuple[str, Key] | None:
    """The kind and key inside an intact value; ``None`` for a value that is not intact."""
    try:
        address = msgspec.json.decode(sealed, type=_Address)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    intact = _opened(sealed, address.kind, address.key) is not None
    return (address.kind, address.key) if intact else None


def claims(sealed: bytes, kind: str, key: Key) -> bool:
    """Whether a value, intact or not, says it belongs to this place; one of a later format is believed."""
    later = _FORMAT_FIRST.match(sealed)
    return sealed.startswith(_head(FORMAT, kind, key)) or (later is not None and int(later[1]) > FORMAT)


def describe(key: Key) -> str:
    """A key for a message: ``sma/BTCUSDT``, and never more than a line of it.

    Examples
    --------
    >>> describe(("sma", "BTC/USDT"))
    'sma/BTC%2FUSDT'
    """
    return "/".join(encode_name(name) for name in key)


def _sealed(number: int, kind: str, key: Key, payload: bytes) -> bytes:
    head = _head(number, kind, key)
    checksum = hashlib.blake2b(head + b"\n" + payload, digest_size=_DIGITS // 2).hexdigest().encode()
    return head + b',"checksum":"' + checksum + b'","payload":' + payload + _TAIL


def _head(number: int, kind: str, key: Key) -> bytes:
    names = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return f'{{"format":{number},"kind":"{kind}","key":{names}'.encode()


def _opened(sealed: bytes, kind: str, key: Key) -> bytes | None:
    """The payload of an intact value of a format we read."""
    first = _FORMAT_FIRST.match(sealed)
    reader = None if first is None else _READERS.get(int(first[1]))
    return None if reader is None else reader(sealed, kind, key)


def _payload_1(sealed: bytes, kind: str, key: Key) -> bytes | None:
    # Compared with what we would have written, byte for byte: there is no second way to spell the same value.
    start = len(_head(1, kind, key)) + len(b',"checksum":"') + _DIGITS + len(b'","payload":')
    payload = sealed[start : -len(_TAIL)]
    return payload if len(sealed) > start and _sealed(1, kind, key, payload) == sealed else None


_READERS: Final[Mapping[int, Callable[[bytes, str, Key], bytes | None]]] = {1: _payload_1}
"""Format -> the function that reads it."""

FORMAT: Final = max(_READERS)
"""The format that is written."""


def _explained(sealed: bytes) -> Unreadable:
    first = _FORMAT_FIRST.match(sealed)
    if first is None:
        return Unreadable("is not a file of saved state" if sealed else "is empty")
    number = int(first[1])
    # A later format checks its own number: a value that is intact with a 1 in that place is ours, its number damaged.
    as_ours = sealed[: first.start(1)] + str(FORMAT).encode() + sealed[first.end(1) :]
    owner = address_of(as_ours)
    if number > FORMAT and owner is None:
        return Unreadable(f"has format {number}, this bknb reads up to {FORMAT}", newer=number)
    if number == FORMAT and owner is not None:
        return Unreadable(f"belongs somewhere else: it holds {owner[0]} {describe(owner[1])}")
    if not sealed.endswith(_TAIL):
        return Unreadable("is cut off")
    return Unreadable("is damaged: its checksum does not match")
