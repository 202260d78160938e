"""Texts in files of every kind: plain, UTF-16, compressed, archives, Parquet, notebooks, binary.

What cannot be read (too large, encrypted, a format without a reader here) raises :class:`Unreadable`: a file is never
passed over in silence.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

LARGEST: Final = 100_000_000
"""Most bytes of one file that are scanned, counted after decompression."""
_PIECE: Final = 1 << 20
_OVERLAP: Final = 1 << 13
_DEEPEST: Final = 3
_ROWS_AT_ONCE: Final = 1024
"""Rows of a Parquet file that are decoded before they are counted."""
_UNREADABLE_HEADS: Final = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x04\x22\x4d\x18": "lz4",
    b"ARROW1": "feather",
}
_ZLIB_HEADS: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_MORE_THAN_NUMBERS: Final = re.compile(r"[A-Za-z]{3}|[A-Za-z0-9_+/=-]{16}|\\u|[^\x00-\x7f]|(?:\d{1,3},\s*){60}")
_UTF16_RUN: Final = re.compile(rb"(?:[\x20-\x7e\t\r\n]\0){8,}")


class Unreadable(Exception):  # noqa: N818 -- no fault of the program: its text is a reason, "it is ..."
    """Why a file cannot be scanned."""


class _Budget:
    """Counts decompressed bytes of one file against the limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, count: int) -> None:
        self.check(count)
        self.used += count

    def check(self, count: int) -> None:
        """Refuse what could not be taken, before it is read and counted."""
        if self.used + count > self.limit:
            raise Unreadable(f"it is too large to scan: more than {self.limit:,} bytes")


def texts_of_file(path: Path, name: str, *, limit: int = LARGEST) -> Iterator[tuple[str, str]]:
    """Every text in a file, with its place.

    Raises
    ------
    Unreadable
        The file is too large, encrypted, or of a format that cannot be read here.
    """
    size = path.stat().st_size
    if size > limit:
        raise Unreadable(f"it is too large to scan: {size:,} bytes, the limit is {limit:,}")
    with path.open("rb") as file:
        yield from texts_of(file, name, _Budget(limit))


def texts_of_bytes(content: bytes, name: str, *, limit: int = LARGEST) -> Iterator[tuple[str, str]]:
    """Every text in the content of a file, with its place; raises ``Unreadable`` as :func:`texts_of_file`."""
    yield from texts_of(io.BytesIO(content), name, _Budget(limit))


def texts_of(file: IO[bytes], name: str, budget: _Budget, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text in an open file, with its place."""
    head = file.read(4096)
    file.seek(0)
    if depth > _DEEPEST:
        raise Unreadable("it holds archives within archives within archives")
    form = _unreadable_format(head)
    if form is not None:
        raise Unreadable(f"it is a file of the {form} format, which cannot be scanned")
    opener = _decompressor(head)
    try:
        if opener is not None:
            unpacked = io.BytesIO(_whole(opener(file), budget))
            yield from texts_of(unpacked, name, budget, depth + 1)
        elif head.startswith(_ZLIB_HEADS) and not _is_text(head):
            for content in _inflated(file, budget):
                yield from texts_of(io.BytesIO(content), name, budget, depth + 1)
        elif head.startswith(b"PK\x03\x04"):
            yield from _texts_of_zip(file, name, budget, depth)
        elif head.startswith(b"PAR1"):
            yield from _texts_of_parquet(file, name, budget)
        elif head[257:262] == b"ustar":
            yield from _texts_of_tar(file, name, budget, depth)
        elif name.endswith(".ipynb"):
            yield from _texts_of_notebook(_whole(file, budget), name)
        else:
            yield from _pieces(file, name, head, budget)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise Unreadable(f"it is damaged: {error}") from None
    except (RuntimeError, NotImplementedError) as error:  # an encrypted zip file, an unknown compression
        raise Unreadable(f"it cannot be unpacked: {error}") from None


def _unreadable_format(head: bytes) -> str | None:
    if head[8:12] == b"DUCK":
        return "duckdb"
    return next((form for magic, form in _UNREADABLE_HEADS.items() if head.startswith(magic)), None)


def _decompressor(head: bytes) -> Any:
    if head.startswith(b"\x1f\x8b"):
        return lambda file: gzip.GzipFile(fileobj=file)
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return bz2.BZ2File
    alone = head.startswith(b"\x5d\0\0") and head[5:13] == b"\xff" * 8  # a .lzma file
    return lzma.LZMAFile if head.startswith(b"\xfd7zXZ\0") or alone else None


def _is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are UTF-8 text, such as ``x^2``, which begins like a zlib stream."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(text) is None


def _inflated(file: IO[bytes], budget: _Budget) -> Iterator[bytes]:
    """The content of a zlib stream, and what follows the stream."""
    stream = zlib.decompressobj()
    parts = []
    while not stream.eof:
        raw = stream.unconsumed_tail or file.read(_PIECE)
        part = stream.decompress(raw, _PIECE)
        if not (raw or part or stream.eof):
            raise EOFError("the zlib stream ends too early")
        budget.take(len(part))
        parts.append(part)
    yield b"".join(parts)
    if rest := stream.unused_data + file.read():
        yield rest


def _whole(file: IO[bytes], budget: _Budget) -> bytes:
    parts = []
    while part := file.read(_PIECE):
        budget.take(len(part))
        parts.append(part)
    return b"".join(parts)


def _texts_of_zip(file: IO[bytes], name: str, budget: _Budget, depth: int) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(file) as archive:
        yield name, archive.comment.decode("utf-8", errors="replace")
        for entry in archive.infolist():
            if not entry.is_dir():
                with archive.open(entry) as member:
                    content = io.BytesIO(_whole(member, budget))
                yield from texts_of(content, f"{name}, {entry.filename}", budget, depth + 1)


def _texts_of_tar(file: IO[bytes], name: str, budget: _Budget, depth: int) -> Iterator[tuple[str, str]]:
    with tarfile.open(fileobj=file) as archive:
        for entry in archive:
            member = archive.extractfile(entry) if entry.isfile() else None
            if member is not None:
                content = io.BytesIO(_whole(member, budget))
                yield from texts_of(content, f"{name}, {entry.name}", budget, depth + 1)


def _texts_of_parquet(file: IO[bytes], name: str, budget: _Budget) -> Iterator[tuple[str, str]]:
    """Notes and columns that are no numbers; a value that a column repeats is read once from its dictionary."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unreadable("it is a Parquet file, and pyarrow is not installed") from None
    try:
        metadata = pq.read_metadata(file)
        worded = [field.name for field in metadata.schema.to_arrow_schema() if not _is_numeric(field.type)]
        file.seek(0)
        table = pq.ParquetFile(file, metadata=metadata, read_dictionary=_byte_leaves(metadata.schema))
        notes = metadata.metadata or {}
        budget.take(sum(len(key) + len(value) for key, value in notes.items()))
        yield (
            name,
            "\n".join(
                f"{key.decode(errors='replace')}: {value.decode(errors='replace')}" for key, value in notes.items()
            ),
        )
        budget.check(metadata.num_rows * len(worded))  # before anything is decoded
        budget.check(_nested_values(metadata, frozenset(worded)))
        budget.check(_unpacked_bytes(metadata, frozenset(worded)))
        for batch in table.iter_batches(columns=worded, batch_size=_ROWS_AT_ONCE) if worded else ():
            for column, values in zip(worded, batch.columns, strict=True):
                written_out = 0
                if pa.types.is_dictionary(values.type):
                    values = values.unique()  # noqa: PLW2901
                else:
                    written_out = _bytes_written_out(values)
                    budget.check(written_out)  # before a repeated value becomes many
                texts = set(map(str, values.to_pylist()))
                budget.take(max(written_out, sum(map(len, texts))))
                yield f"{name}, column {column}", "\n".join(f"{column}: {value}" for value in texts)
    except pa.ArrowException as error:
        raise Unreadable(f"it is a Parquet file that cannot be read: {error}") from None


def _unpacked_bytes(metadata: Any, columns: frozenset[str]) -> int:
    """Bytes of columns of a Parquet file, decompressed, as its metadata says."""
    groups = (metadata.row_group(at) for at in range(metadata.num_row_groups))
    parts = (group.column(at) for group in groups for at in range(group.num_columns))
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema.partition(".")[0] in columns)


def _byte_leaves(schema: Any) -> list[str]:
    """Paths of the columns of bytes, at any depth: read as dictionaries, a repeated value is in memory once."""
    columns = map(schema.column, range(len(schema)))
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _nested_values(metadata: Any, columns: frozenset[str]) -> int:
    """How many values the nested columns of a Parquet file hold, those of a fixed length in bytes, by its metadata."""
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    total = 0
    for at in range(len(metadata.schema)):
        column = metadata.schema.column(at)
        name, nested, _ = column.path.partition(".")
        if nested and name in columns:
            total += max(1, column.length) * sum(group.column(at).num_values for group in groups)
    return total


def _bytes_written_out(values: Any) -> int:
    """Bytes of a pyarrow array of any depth with each value of its dictionaries written out where it stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(values.dictionary).cast(pa.int64())
        return int(pc.sum(lengths.take(values.indices)).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(map(_bytes_written_out, values.flatten()))
    if pa.types.is_map(kind):
        return _bytes_written_out(values.keys) + _bytes_written_out(values.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _bytes_written_out(values.flatten())
    return int(values.nbytes)


def _is_numeric(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_primitive(kind))


def _texts_of_notebook(content: bytes, name: str) -> Iterator[tuple[str, str]]:
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        yield from _pieces(io.BytesIO(content), name, content[:4096], _Budget(len(content) + 1))
        return
    yield from ((f"{name}, {place}", text) for place, text in notebook_texts(data))


def notebook_texts(notebook: Any) -> Iterator[tuple[str, str]]:
    """Every text of a notebook, with its place: cells, outputs, attachments, and all metadata."""
    number = 0
    yield "the metadata of the notebook", json_text(notebook.get("metadata", {}))
    for position, cell in enumerate(notebook.get("cells", ()), start=1):
        code = cell.get("cell_type") == "code"
        number += code
        name = f"cell [{number}]" if code else f"text cell {position}"
        yield name, _one(cell.get("source", ""))
        yield f"metadata of {name}", json_text(cell.get("metadata", {}))
        yield f"attachment of {name}", json_text(cell.get("attachments", {}))
        for output in cell.get("outputs", ()):
            for text in _output_texts(output):
                yield f"output of {name}", text


def _output_texts(output: Any) -> Iterator[str]:
    yield _one(output.get("text", "") or "")
    yield "\n".join([str(output.get("evalue", "")), *output.get("traceback", ())])
    for mime, data in output.get("data", {}).items():
        if not mime.startswith(("image/png", "image/jpeg", "image/gif", "application/pdf")):
            yield json_text(data) if isinstance(data, Mapping) else _one(data)
    yield json_text(output.get("metadata", {}))


def _one(text: Any) -> str:
    return "".join(map(str, text)) if isinstance(text, list) else str(text)


def json_text(data: Any) -> str:
    """The texts inside JSON, each on a line of its own with its key, without packed numbers."""
    if isinstance(data, str):
        return data
    if isinstance(data, Mapping):
        return "\n".join(
            f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {json_text(value)}"
            for key, value in data.items()
            if key not in ("bdata", "image/png", "image/jpeg")
        )
    if isinstance(data, list):
        if len(data) == 64 and all(isinstance(value, int) for value in data):
            return str(data)
        return "\n".join(json_text(value) for value in data if not isinstance(value, (int, float)))
    return ""


def _pieces(file: IO[bytes], name: str, head: bytes, budget: _Budget) -> Iterator[tuple[str, str]]:
    """The text of a file in pieces that overlap; a binary file as the texts in it."""
    encoding = _encoding(head)
    decoder = codecs.getincrementaldecoder(encoding or "latin-1")(errors="replace")
    kept, line = "", 1
    while True:
        raw = file.read(_PIECE)
        budget.take(len(raw))
        if encoding is None:
            hidden = b"\n".join(found[0].replace(b"\0", b"") for found in _UTF16_RUN.finditer(raw))
            if hidden:
                yield name, hidden.decode("latin-1")
        text = kept + decoder.decode(raw, final=not raw).replace("\0", "" if encoding else "\n")
        if _MORE_THAN_NUMBERS.search(text):
            yield (name if line == 1 else f"{name}, from line {line}"), text
        if not raw:
            return
        cut = max(0, len(text) - _OVERLAP)
        line, kept = line + text.count("\n", 0, cut), text[cut:]


def _encoding(head: bytes) -> str | None:
    """The encoding of a file by its first bytes; None for a binary one."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if len(head) >= 4 and odd > len(head) / 5 and even < len(head) / 50:
        return "utf-16-le"
    if len(head) >= 4 and even > len(head) / 5 and odd < len(head) / 50:
        return "utf-16-be"
    if b"\0" in head:
        return None
    return "utf-8-sig"
