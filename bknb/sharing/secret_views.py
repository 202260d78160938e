"""Other readings of a text in which a secret may hide: without HTML or escapes, joined lines, decoded, put together."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from .constant_texts import constant_texts

View = Callable[[str], Iterator[str]]

_TAG: Final = re.compile(r"<!--|-->|</?[A-Za-z][^<>]{0,2000}>")
_CELL_END: Final = re.compile(r"</t[dh]\s*>", re.IGNORECASE)
_ROW_END: Final = re.compile(r"(?:</t[dh]\s*>)?\s*</tr\s*>", re.IGNORECASE)
_ENTITY: Final = re.compile(r"&(?:#\d+|#x[0-9a-fA-F]+|[A-Za-z]{2,8});")
_ESCAPED: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\"'/\\nrt]))")
_LETTERS: Final = {"n": "\n", "r": "\n", "t": "\t"}
_ADJACENT: Final = re.compile(
    r"""(["'`])[ \t]*(?:[+\\.&]?[ \t]*\r?\n|[+.&])?[ \t\r\n]*[+.&]?[ \t]*(?:\#[^\n]*\n\s*)?[rbufRBUF]{0,2}\1"""
)
_CONTINUED: Final = re.compile(r"\\\r?\n[ \t]*")
_WRAPPED: Final = re.compile(r"(?<=[A-Za-z0-9+/_=-]{6})\r?\n[ \t]*(?=[A-Za-z0-9+/_-]{2,}={0,2}[\"']?\s*(?:\n|$))")
_BASE64: Final = re.compile(
    r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{16,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]{4,})*={0,2}(?![A-Za-z0-9])"
)
_SINGLE: Final = re.compile(r"""(?:(?:"[^"\n]"|'[^'\n]')\s*[,+]?\s*){12,}""")
_KEY_NAME: Final = re.compile(r"(?i)[\w -]{0,30}(?:key|secret|token|passw(?:or)?d|passphrase|pwd|credential)s?")
_KEY_COLUMN: Final = re.compile(
    r"(?i)(?:key|secret|token|passw(?:or)?d|passphrase|pwd|credential)s?[\"' ]*(?:[,;\t|]|$)", re.MULTILINE
)
_AROUND: Final = " \"'"
_HEX: Final = re.compile(r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}){12,}(?![0-9A-Za-z])")
_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_LONGEST_DECODED: Final = 20_000_000


def _without_html(text: str) -> Iterator[str]:
    if _ENTITY.search(text) or _TAG.search(text):
        yield html.unescape(_TAG.sub("", text))
        yield html.unescape(_TAG.sub(" ", text))
        if _CELL_END.search(text):
            rows = re.sub(r"\s*\n\s*", "", text)
            yield html.unescape(_TAG.sub("", _CELL_END.sub("\t", _ROW_END.sub("\n", rows))))


def _without_escapes(text: str) -> Iterator[str]:
    if "\\" in text:
        once = _ESCAPED.sub(_unescaped, text)
        if once != text:
            yield once


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else _LETTERS.get(found[3], found[3])


def _joined(text: str) -> Iterator[str]:
    joined = _ADJACENT.sub("", _CONTINUED.sub("", text))
    if joined != text:
        yield joined
    if _WRAPPED.search(text):
        yield _WRAPPED.sub("", text)


def _of_letters(text: str) -> Iterator[str]:
    for found in _SINGLE.finditer(text):
        yield "".join(re.findall(r"""["'](.)["']""", found[0]))


def _columns(text: str) -> Iterator[str]:
    """Values of a table, each behind the key-like name of its column."""
    names: dict[int, str] = {}
    sign, width, rows = "", 0, []
    for line in text.splitlines() if _KEY_COLUMN.search(text) else ():
        cells = line.split(sign) if sign else []
        if names and len(cells) == width:
            rows += [f'{name}: "{cells[at].strip(_AROUND)}"' for at, name in names.items()]
            continue
        names, sign = {}, ""
        for other in ",;\t|":
            cells = [cell.strip(_AROUND) for cell in line.split(other)] if other in line else []
            found = {at: cell for at, cell in enumerate(cells) if _KEY_NAME.fullmatch(cell)}
            if found:
                names, sign, width = found, other, len(cells)
                break
    if rows:
        yield "\n".join(rows)


def _hex_decoded(text: str) -> Iterator[str]:
    for found in _HEX.finditer(text):
        raw = bytes.fromhex(found[0])
        if raw.isascii() and raw.decode("ascii").isprintable():
            yield raw.decode("ascii")


def _percent_decoded(text: str) -> Iterator[str]:
    if _PERCENT.search(text):
        yield unquote(text, errors="replace")


def _base64_decoded(text: str) -> Iterator[str]:
    for found in _BASE64.finditer(text):
        packed = re.sub(r"\s", "", found[0])
        if len(packed) > _LONGEST_DECODED:
            continue
        decoded = decoded_base64(packed)
        if decoded is not None:
            yield decoded


def decoded_base64(packed: str) -> str | None:
    """The text that was packed, or None when it is not base64 of a text.

    Examples
    --------
    >>> decoded_base64("YXBpX2tleT0xMjM0NTY="), decoded_base64("SimpleMovingAverage")
    ('api_key=123456', None)
    """
    plain = packed.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        raw = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
    if not raw.isascii() and raw[:2] not in (b"\xff\xfe", b"\xfe\xff") and b"\0" not in raw:
        return None
    if raw.count(0) * 3 > len(raw) or raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raw = raw.replace(b"\0", b"").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    if any(byte < 32 and byte not in (9, 10, 13) for byte in raw) or not raw.isascii():
        return None
    return raw.decode("ascii") or None


def _put_together(text: str) -> Iterator[str]:
    if made := constant_texts(text):
        yield made


VIEWS: Final[Mapping[str, View]] = {
    "html": _without_html,
    "escapes": _without_escapes,
    "joined lines": _joined,
    "letters": _of_letters,
    "put together": _put_together,
    "columns": _columns,
    "hexadecimal": _hex_decoded,
    "percent": _percent_decoded,
    "base64": _base64_decoded,
}
"""The readings by name."""


def readings(text: str, *, depth: int = 2) -> Iterator[str]:
    """The text, then every other reading of it, and readings of those up to ``depth``."""
    yield text
    if depth:
        seen = {text}
        for view in VIEWS.values():
            for other in view(text):
                if other not in seen:
                    seen.add(other)
                    yield from readings(other, depth=depth - 1)
