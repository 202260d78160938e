"""Run cards as files: JSON with a checksum and the version of its format, also inside an HTML file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import StateError, UsageError

FORMAT: Final = 2
MONEY_FORMAT: Final = 3
"""Of cards with an account or a benchmark, and of portfolios: an older bknb cannot read those."""

ELEMENT: Final = "bknb-card"
"""The attribute ``id`` of the ``<script type="application/json">`` that holds a card in an HTML file."""
_PAGES: Final = (".html", ".htm")


class _Sealed(msgspec.Struct, frozen=True):
    bknb_card: int
    sha256: str
    card: msgspec.Raw


class Read(NamedTuple):
    """A card, and its fields as they were written, over which its checksum is."""

    card: Any
    written: Any


Reader = Callable[[msgspec.Raw], Read]


class _Opened(NamedTuple):
    read: Read
    sha256: str


def encode(card: Any) -> bytes:
    """A card as JSON with a checksum over its content; the format is the oldest that can hold it."""
    body = msgspec.json.encode(card, order="deterministic")
    return msgspec.json.encode(_Sealed(max(card.format, FORMAT), hashlib.sha256(body).hexdigest(), msgspec.Raw(body)))


def decode(content: bytes, readers: Mapping[int, Reader], *, where: str) -> Any:
    """A card from JSON, by the reader of its format.

    Raises
    ------
    StateError
        It is not a run card, it was changed by hand, or a later bknb wrote it.
    """
    from ..stores.format_versions import read_json

    def opening(read: Reader) -> Callable[[bytes], _Opened]:
        def opened(content: bytes) -> _Opened:
            sealed = msgspec.json.decode(content, type=_Sealed)
            return _Opened(read(sealed.card), sealed.sha256)

        return opened

    by_format = {number: opening(read) for number, read in readers.items()}
    try:
        found = read_json(by_format, content, what=where, member="bknb_card")
    except (ValueError, msgspec.DecodeError) as error:
        raise StateError(
            f"{where} is not a run card of bknb: {error}\nexpected a file that card.save(...) wrote"
        ) from None
    # Indentation is not content: the checksum is over the card as it is written without any.
    if hashlib.sha256(msgspec.json.encode(found.read.written, order="deterministic")).hexdigest() != found.sha256:
        raise StateError(
            f"{where} was changed after it was written: its checksum does not match\n"
            "ask for the card again, or run the backtest again"
        )
    return found.read.card


def card_json(path: str | Path) -> bytes:
    """The JSON of a card in its file, or in the HTML file of a report that holds one.

    Raises
    ------
    UsageError
        There is no such file, or the HTML file holds no card.
    """
    from ..stores.atomic import as_path

    file = as_path(path)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the run card {file}: {error.strerror or error}") from None
    if file.suffix.lower() in _PAGES or content.lstrip()[:14].lower() == b"<!doctype html":
        return _card_in_html(content.decode("utf-8", errors="replace"), str(file)).encode()
    return content


def save(card: Any, path: str | Path) -> Path:
    """Write a card as JSON with a checksum; returns the path."""
    from ..stores.atomic import write_named

    return write_named(path, msgspec.json.format(encode(card), indent=1) + b"\n")


def _card_in_html(text: str, where: str) -> str:
    """The JSON of the card in an HTML file."""
    reader = _CardReader()
    reader.feed(text)
    reader.close()
    if len(reader.found) != 1:
        count = f"{len(reader.found)} run cards" if reader.found else "no run card"
        raise UsageError(f"{where} holds {count}\nexpected a report in HTML that bknb wrote of one run or portfolio")
    return reader.found[0]


class _CardReader(HTMLParser):
    """Collects the text of each element that holds a card."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and dict(attrs).get("id") == ELEMENT:
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data
