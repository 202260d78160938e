"""One partition of a candle store: a month of minutes (a year of hours, all weeks) as a Parquet file with its label.

Beside the six columns a file holds, in its metadata under ``bknb.candles``, the name of its series, which moments were
requested from the exchange (``known``), and the content hash of the candles. Candles and known ranges are therefore
replaced together. The same candles and ranges make the same bytes (with the same version of pyarrow).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ..domain.interval import INTERVAL_MS, WEEK_MS
from ..domain.ranges import Range, Ranges
from ..errors import MissingDependency, StateError, UsageError
from ..market.candles import COLUMNS, Candles
from ..market.candles_repaired_or_refused import series_text
from ..market.content_hash_of_candles import content_hash
from ..stores.format_versions import read_json
from ..stores.sealed_values import Unreadable, address_of, seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KIND: Final = "candles"
_KEY: Final = b"bknb.candles"
_YEARLY_FROM_MS: Final = INTERVAL_MS["1h"]
_ALL: Final = ("all", -62_135_596_800_000, 253_402_300_800_000)  # the years 1 to 9999


class SeriesName(msgspec.Struct, frozen=True, order=True):
    """Name of a series of candles: exchange, symbol and interval."""

    exchange: str
    symbol: str
    interval: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The three names."""
        return self.exchange, self.symbol, self.interval

    @property
    def step(self) -> int:
        """Length of one candle in milliseconds."""
        return INTERVAL_MS[self.interval]

    def __str__(self) -> str:
        return series_text(self.symbol, self.interval, self.exchange)


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """Label of a partition.

    Attributes
    ----------
    known : tuple of (int, int)
        Ranges of which every moment has a candle or is absent, UTC ms.
    seen_once : tuple of (int, int)
        Ranges in which absence is the word of one answer alone.
    content : str
        Content hash of the candles.
    from_open : bool
        Whether the candles count from the open of each session, or are weeks, and not from multiples of their length
        in UTC. Only files of such ones are of version 3.
    """

    known: Ranges
    content: str
    seen_once: Ranges
    version: int = 2
    from_open: bool = False


class _SecondLabel(msgspec.Struct, frozen=True, kw_only=True):
    known: Ranges
    content: str
    seen_once: Ranges
    version: int = 2


class _FirstLabel(msgspec.Struct, frozen=True, kw_only=True):
    known: Ranges
    content: str


def period_of(when: int, step: int) -> tuple[str, int, int]:
    """Name, first moment and end (UTC ms) of the partition a candle belongs to.

    Examples
    --------
    >>> period_of(1_641_038_400_000, 60_000)
    ('2022-01', 1640995200000, 1643673600000)
    >>> period_of(1_641_038_400_000, 3_600_000)[0]
    '2022'
    """
    if step >= WEEK_MS:  # no month and no year begins with a week
        return _ALL
    moment = datetime.fromtimestamp(when // 1000, UTC)
    if step >= _YEARLY_FROM_MS:
        first, end = datetime(moment.year, 1, 1, tzinfo=UTC), datetime(moment.year + 1, 1, 1, tzinfo=UTC)
        return f"{moment:%Y}", _ms(first), _ms(end)
    first = datetime(moment.year, moment.month, 1, tzinfo=UTC)
    end = datetime(moment.year + moment.month // 12, moment.month % 12 + 1, 1, tzinfo=UTC)
    return f"{moment:%Y-%m}", _ms(first), _ms(end)


def periods(since: int, until: int, step: int) -> Iterator[tuple[str, int, int]]:
    """Every partition that ``[since, until)`` touches, oldest first."""
    while since < until:
        name, first, end = period_of(since, step)
        yield name, first, end
        since = end


def touched(ranges: Sequence[Range], step: int) -> list[tuple[str, int, int]]:
    """The partitions that some ranges touch, as :func:`periods` gives them, oldest first."""
    found = {part: None for first, end in ranges for part in periods(first, end, step)}
    return sorted(found, key=lambda part: part[1])


def encoded(
    series: SeriesName, candles: Candles, known: Ranges, seen_once: Ranges = (), *, from_open: bool = False
) -> bytes:
    """The bytes of a partition: times delta-packed, bytes of the floats split; about half the size of plain columns."""
    pa, pq = arrow()
    content: Label | _SecondLabel = _SecondLabel(known=known, seen_once=seen_once, content=content_hash(candles))
    if from_open:
        content = Label(known=known, seen_once=seen_once, content=content.content, version=3, from_open=True)
    label = seal(_KIND, series.key, msgspec.json.encode(content))
    kinds = [pa.timestamp("ms", tz="UTC")] + [pa.float64()] * (len(COLUMNS) - 1)
    columns = [
        # Straight from memory: pyarrow's own conversion would import pandas first.
        pa.Array.from_buffers(kind, len(candles), [None, pa.py_buffer(np.ascontiguousarray(getattr(candles, name)))])
        for name, kind in zip(COLUMNS, kinds, strict=True)
    ]
    fields = [pa.field(name, column.type, nullable=False) for name, column in zip(COLUMNS, columns, strict=True)]
    schema = pa.schema(fields)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema,
        compression="lz4",
        use_dictionary=False,
        column_encoding={
            "timestamp": "DELTA_BINARY_PACKED",
            **dict.fromkeys(COLUMNS[1:], "BYTE_STREAM_SPLIT"),
        },
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        writer.add_key_value_metadata({_KEY: label})
    data: bytes = sink.getvalue().to_pybytes()
    return data


class CandleFile:
    """A partition open for reading (memory-mapped); its label is checked at once.

    Raises
    ------
    StateError
        When it is damaged, of a later format, or belongs somewhere else.
    """

    def __init__(self, path: Path, series: SeriesName) -> None:
        self.path = path
        pa, pq = arrow()
        try:
            self._map = pa.memory_map(str(path))
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, _first_line(error)) from None
        try:
            self._file = pq.ParquetFile(self._map, page_checksum_verification=True)
            raw = (self._file.metadata.metadata or {}).get(_KEY)
        except (pa.ArrowException, OSError, ValueError) as error:
            self._map.close()
            raise damaged(path, _first_line(error)) from None
        try:
            if raw is None:
                raise damaged(path, "it was not written by bknb")
            self.label = _label(raw, path, series)
        except StateError:
            self.close()
            raise

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def read(self) -> Candles:
        """The candles, compared with their content hash."""
        block = np.empty((6, len(self)))
        self.read_into(block)
        block.setflags(write=False)
        return Candles(block)

    def read_into(self, block: Any) -> None:
        """Fill the six rows of ``block`` and compare them with the content hash."""
        pa, _ = arrow()
        try:
            table = self._file.read(columns=list(COLUMNS), use_threads=False)
            if table.num_rows != block.shape[1]:
                raise damaged(self.path, "it holds another number of candles than it says")
            for row, name in enumerate(COLUMNS):
                _fill(block[row], table.column(name), pa.timestamp("ms", tz="UTC") if row == 0 else pa.float64())
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise damaged(self.path, _first_line(error)) from None
        if content_hash(Candles(block)) != self.label.content:
            raise damaged(self.path, "its content hash does not match its candles")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._map.close()

    def __enter__(self) -> CandleFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def arrow() -> tuple[Any, Any]:
    """The modules ``pyarrow`` and ``pyarrow.parquet``.

    Raises
    ------
    MissingDependency
        pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet as pq
    except ImportError:
        raise MissingDependency("pyarrow", purpose="keeping candles on disk", extra="parquet") from None
    return pa, pq


def damaged(path: Path, why: str) -> StateError:
    """The error for a partition that cannot be used."""
    return StateError(
        f"{path}: stored candles cannot be used: {why}\n"
        "nothing was changed; move the file away, and its range is downloaded again"
    )


def other_opens(path: Path, series: SeriesName, *, from_open: bool) -> UsageError:
    """The error for candles of a series that count from elsewhere than those that are stored."""
    ways = [f"open at multiples of {series.interval} in UTC", "count from the open of their market"]
    stored, given = ways[::-1] if from_open else ways
    return UsageError(
        f"{series}: the stored candles {stored}, and these {given}\n"
        f"{path}: nothing was changed; keep these in another folder: folder="
    )


def _fill(values: Any, column: Any, kind: Any) -> None:
    """Copy a column from its buffers: pyarrow's own conversions would import pandas first."""
    if column.type != kind or column.null_count:
        raise ValueError(f"a column is {column.type}, not {kind}")
    at = 0
    for chunk in column.chunks:
        plain = np.frombuffer(chunk.buffers()[1], dtype=np.float64, count=len(chunk), offset=8 * chunk.offset)
        values[at : at + len(chunk)] = plain
        at += len(chunk)


def series_in(path: Path) -> SeriesName:
    """The series a partition holds, read from its label."""
    pa, pq = arrow()
    try:
        address = address_of((pq.read_metadata(path).metadata or {}).get(_KEY, b""))
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, _first_line(error)) from None
    if address is None or len(address[1]) != 3:
        raise damaged(path, "its label is unreadable")
    return SeriesName(*address[1])


def _first_label(content: bytes) -> Label:
    """A label of version 1, which did not tell how often a hole was seen: once."""
    old = msgspec.json.decode(content, type=_FirstLabel)
    return Label(known=old.known, seen_once=old.known, content=old.content)


_READERS: Final[Mapping[int, Callable[[bytes], Label]]] = {
    1: _first_label,
    2: partial(msgspec.json.decode, type=Label),
    3: partial(msgspec.json.decode, type=Label),
}
"""Version of a partition -> the function that reads its label."""


def _label(raw: bytes, path: Path, series: SeriesName) -> Label:
    try:
        return read_json(_READERS, unseal(raw, _KIND, series.key), what=str(path))
    except Unreadable as error:
        raise error.refused(str(path)) or damaged(path, f"its label {error.reason}") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise damaged(path, f"its label is unreadable ({error})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
