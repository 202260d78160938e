"""Any key as a safe file name, and back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_NAME_LIMIT: Final = 120


_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)


_OUR_ENDING = re.compile(r"\.(?=json)", re.IGNORECASE)


_SHORTENED = re.compile(r"%~[0-9a-f]{32}$")


_ESCAPE = re.compile(r"%([0-9A-F]{2})")


def encode_name(name: str) -> str:
    r"""One name as one file name, on any system.

    ASCII letters, digits, ``-``, ``_`` and inner dots stay; every other byte becomes ``%XX``. So do a leading and a
    trailing dot, the first letter of a name Windows reserves, and the dot of an inner ``.json``. The empty name is
    ``%``. A long name keeps its beginning and gets a hash of the whole. Two names never share an encoding; two
    encodings may differ only in upper and lower case.

    Examples
    --------
    >>> [encode_name(name) for name in ("BTCUSDT", "BTC/USDT", "..", "sma v1.2", "aux", "")]
    ['BTCUSDT', 'BTC%2FUSDT', '%2E%2E', 'sma%20v1.2', '%61ux', '%']
    """
    if not name:
        return "%"
    encoded = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in name.encode())
    if encoded[0] == "." or _RESERVED.match(encoded):
        encoded = f"%{ord(encoded[0]):02X}{encoded[1:]}"
    if encoded[-1] == ".":
        encoded = f"{encoded[:-1]}%2E"
    encoded = _OUR_ENDING.sub("%2E", encoded)
    if len(encoded) <= _NAME_LIMIT:
        return encoded
    beginning = re.sub(r"%.?$", "", encoded[: _NAME_LIMIT - 34])
    return f"{beginning}%~{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


def is_shortened(encoded: str) -> bool:
    """Whether a file name keeps only the beginning of a name, so that only the file itself knows the rest."""
    return _SHORTENED.search(encoded) is not None


def decode_name(encoded: str) -> str | None:
    """The name behind a file name, or ``None`` when :func:`encode_name` does not make such file names.

    Examples
    --------
    >>> decode_name("BTC%2FUSDT"), decode_name("BTC USDT")
    ('BTC/USDT', None)
    """
    if encoded == "%":
        return ""
    try:
        raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), encoded).encode("latin-1")
        name = raw.decode()
    except UnicodeError:
        return None
    return name if name and encode_name(name) == encoded else None


def join_names(names: Iterable[str]) -> str:
    """Several names as one file name for people: ``name@name``, each quoted so that none can leave its folder.

    Examples
    --------
    >>> join_names(("sma/fast", "BTC USDT"))
    'sma%2Ffast@BTC USDT'
    """
    return "@".join(quote(name, safe=" -_+=") for name in names)
