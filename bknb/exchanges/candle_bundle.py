"""Candle bundles of shared notebooks: the candles its runs were given, recorded, written to files, and served again."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE_MS, interval_ms
from ..errors import StateError, UnknownName, UsageError
from ..market.calls_in_threads import candles_from
from ..market.candles import COLUMNS, Candles
from ..stores.file_names import encode_name
from ..stores.format_versions import read_json
from .csv_reading import exact_floats
from .received_paths import inside

if TYPE_CHECKING:
    from ..ports import CandleSource

MANIFEST: Final = "bknb-share.json"
FORMAT: Final = 1


class CandleFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of candles in a bundle; ``first`` and ``last`` are open times, UTC ms.

    ``sha256`` is of the file, ``fingerprint`` of its candles: it finds the one that was changed.
    """

    exchange: str
    symbol: str
    interval: str
    path: str
    count: int
    first: int
    last: int
    sha256: str
    fingerprint: dict[str, Any] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of a shared folder, as written in ``bknb-share.json``."""

    bknb_share: int = FORMAT
    notebook: str
    candles: tuple[CandleFile, ...] = ()
    files: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    made_with: dict[str, str] = {}


_LONGEST_ROW: Final = 200  # bytes of a candle as text: a moment and five floats
_DENSEST: Final = 100  # times its size a packed file of candles may be unpacked; candles that never move take 45
_LARGEST: Final = 2**30  # bytes
_READERS: Final[Mapping[int, Callable[[bytes], Manifest]]] = {1: partial(msgspec.json.decode, type=Manifest)}
"""Format of a manifest -> the function that reads it."""


class RecordingSource:
    """A source that records every candle it returns; every other attribute is the wrapped source's own.

    Parameters
    ----------
    source : CandleSource
    record : Record
    exchange : str
        The name runs know it by.
    """

    stream = None  # what is pushed would not be recorded

    def __init__(self, source: CandleSource, record: Record, exchange: str) -> None:
        self._source = source
        self._record = record
        self._exchange = exchange

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._source, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unwrapped, (self._source,)  # another process gets the source; requests there are not recorded

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # isinstance means the wrapped source
        return type(self._source)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The source's answer; the part inside the requested range is recorded."""
        answer = await candles_from(self._source, symbol, interval, since, limit)
        if isinstance(answer, Candles):
            self._record.add(self._exchange, symbol, interval, _inside(answer, interval, since, limit))
        return answer


def _unwrapped(source: CandleSource) -> CandleSource:
    return source


def _inside(answer: Candles, interval: str, since: int, limit: int) -> Candles:
    times = answer.timestamp
    step = interval_ms(interval)
    if len(times) > 1 and interval != "1m" and int(np.median(np.diff(np.unique(times)))) == MINUTE_MS:
        return Candles.empty()  # a function that has only minutes; they are requested next
    inside = (times >= since) & (times < since + limit * step)
    return answer.take(inside)


class Record:
    """Recorded candles by exchange, symbol and interval."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, str, str], list[Candles]] = {}
        self._sources: dict[tuple[str, int], tuple[CandleSource, RecordingSource]] = {}

    def wrap(self, exchange: Any) -> Any:
        """The same exchange with a source that is recorded here."""
        key = (exchange.name, id(exchange.source))
        known = self._sources.get(key)
        if known is None:
            known = (exchange.source, RecordingSource(exchange.source, self, exchange.name))
            self._sources[key] = known
        return replace(exchange, source=known[1])

    def add(self, exchange: str, symbol: str, interval: str, candles: Candles) -> None:
        """Record some candles."""
        if len(candles):
            self._parts.setdefault((exchange, symbol, interval), []).append(candles)

    def merged(self) -> dict[tuple[str, str, str], Candles]:
        """Each series once, in order of time.

        Raises
        ------
        UsageError
            Two sources of the same name gave different candles for the same minute.
        """
        return {key: _merged(parts, key) for key, parts in sorted(self._parts.items())}


def _merged(parts: list[Candles], key: tuple[str, str, str]) -> Candles:
    every = Candles.concat(parts)
    every = every.take(np.argsort(every.timestamp, kind="stable"))
    block, times = every.block, every.timestamp
    again = np.flatnonzero(times[1:] == times[:-1])
    other = again[(block[1:, again] != block[1:, again + 1]).any(axis=0)]
    if len(other):
        raise UsageError(
            f"exchange {key[0]!r} gave two different candles of {key[1]} {key[2]} at {utc_text(int(times[other[0]]))}\n"
            "the notebook has two sources of that name: give each its own, bknb.add_exchange(name, get_candles=source)"
        )
    first = np.ones(len(times), dtype=bool)
    first[again + 1] = False
    return every.take(first)


# --- files ------------------------------------------------------------------------------------------------------


def write_candles(
    folder: Path,
    series: dict[tuple[str, str, str], Candles],
    *,
    fingerprint: Callable[[Candles, tuple[str, str, str]], dict[str, Any]],
) -> tuple[CandleFile, ...]:
    """Write each series as ``candles/EXCHANGE/SYMBOL-INTERVAL.csv.gz``; the same candles give the same bytes."""
    written = []
    for (exchange, symbol, interval), candles in series.items():
        path = Path("candles") / encode_name(exchange) / f"{encode_name(symbol)}-{interval}.csv.gz"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        content = csv_bytes(candles)
        (folder / path).write_bytes(content)
        written.append(
            CandleFile(
                exchange=exchange,
                symbol=symbol,
                interval=interval,
                path=path.as_posix(),
                count=len(candles),
                first=int(candles.timestamp[0]),
                last=int(candles.timestamp[-1]),
                sha256=hashlib.sha256(content).hexdigest(),
                fingerprint=fingerprint(candles, (exchange, symbol, interval)),
            )
        )
    return tuple(written)


def csv_bytes(candles: Candles) -> bytes:
    """Candles as gzipped CSV; every float in the shortest text that reads back exactly.

    Examples
    --------
    >>> len(csv_bytes(Candles.from_rows([(0, 1.0, 2.0, 0.5, 1.5, 10.0)]))) < 120
    True
    """
    columns = [getattr(candles, name).tolist() for name in COLUMNS]
    text = io.StringIO()
    text.write(",".join(COLUMNS) + "\n")
    for row in zip(*columns, strict=True):
        text.write(",".join(map(repr, row)) + "\n")
    return gzip.compress(text.getvalue().encode(), mtime=0)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a shared folder.

    Raises
    ------
    UsageError
        The folder was not shared with bknb.
    StateError
        Its manifest cannot be read.
    """
    file = folder / MANIFEST
    try:
        content = file.read_bytes()
    except OSError:
        raise UsageError(
            f"there is no {MANIFEST} in {folder.resolve()}\nshare a notebook with: bknb share NOTEBOOK"
        ) from None
    try:
        return read_json(_READERS, content, what=str(file), member="bknb_share")
    except (ValueError, msgspec.DecodeError) as error:
        raise StateError(f"{file} cannot be read: {error}\nask for the shared folder again") from None


class BundleSource:
    """A source over the candles of one exchange in a shared folder.

    Attributes
    ----------
    intervals : tuple of str
        What was recorded; all else is resampled from the shortest.
    """

    page_limit: int | None = None
    stream = None  # nothing comes from the exchange itself

    def __init__(self, name: str, series: dict[tuple[str, str], Candles], *, original: Any = None) -> None:
        self.name = name
        self.intervals: tuple[str, ...] | None = tuple(dict.fromkeys(interval for _, interval in series))
        self._series = series
        self._original = original

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols it serves."""
        return tuple(dict.fromkeys(symbol for symbol, _ in self._series))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._original, name)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The recorded candles from ``since`` on, as far as they go.

        Raises
        ------
        UnknownName
            For a symbol that was not recorded.
        """
        candles = self._series.get((symbol, interval))
        if candles is None:
            if symbol not in self.symbols:
                raise UnknownName("symbol", symbol, known=self.symbols)
            return Candles.empty()
        first, end = np.searchsorted(candles.timestamp, [since, since + limit * interval_ms(interval)])
        return candles[int(first) : int(end)]

    def format_price(self, symbol: str, price: float) -> str:
        """The number as the exchange formats it; in plain decimals where its rules are not available."""
        return self._formatted("format_price", symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """The number as the exchange formats it; in plain decimals where its rules are not available."""
        return self._formatted("format_quantity", symbol, quantity)

    def _formatted(self, how: str, symbol: str, number: float) -> str:
        from ..domain.formatting import plain_number

        with contextlib.suppress(Exception):  # the exchange may need a network to know its own rules
            return str(getattr(self._original, how)(symbol, number))
        return plain_number(number)


class Bundle:
    """Candles of a shared folder, served in place of the exchanges they came from.

    Attributes
    ----------
    folder : Path
    manifest : Manifest

    Parameters
    ----------
    explain
        What is different in candles that do not match their checksum, in words.
    """

    def __init__(self, folder: Path, *, explain: Callable[[CandleFile, Candles], str]) -> None:
        self.folder = folder
        self.manifest = read_manifest(folder)
        self._series: dict[str, dict[tuple[str, str], Candles]] = {}
        self._sources: dict[tuple[str, int], tuple[Any, BundleSource]] = {}
        self._middleware: list[Any] = []
        for file in self.manifest.candles:
            self._series.setdefault(file.exchange, {})[file.symbol, file.interval] = _read(folder, file, explain)

    @property
    def exchanges(self) -> tuple[str, ...]:
        """The names that are served from the folder."""
        return tuple(self._series)

    def substitute(self, exchange: Any) -> Any:
        """The exchange with the recorded candles as its source, when the bundle holds its name; else unchanged."""
        series = self._series.get(exchange.name)
        if series is None:
            return exchange
        key = (exchange.name, id(exchange.source))
        known = self._sources.get(key)
        if known is None:
            known = (exchange.source, BundleSource(exchange.source.name, series, original=exchange.source))
            self._sources[key] = known
        return replace(exchange, source=known[1])

    def serve(self, middleware: list[Any]) -> None:
        """Serve these candles instead of the exchanges and of an earlier bundle; ``middleware`` is the registry's."""
        middleware[:] = [step for step in middleware if not isinstance(getattr(step, "__self__", None), Bundle)]
        middleware.insert(0, self.substitute)
        self._middleware = middleware

    def leave(self) -> None:
        """Stop serving: the exchanges answer themselves again."""
        self._middleware[:] = [step for step in self._middleware if getattr(step, "__self__", None) is not self]

    def __repr__(self) -> str:
        lines = [f"candles of {self.manifest.notebook} from this folder; nothing is fetched for"]
        lines += [
            f"  {file.exchange}: {file.symbol} {file.interval}, {file.count:,} candles, "
            f"{utc_text(file.first)} .. {utc_text(file.last)}"
            for file in self.manifest.candles
        ]
        return "\n".join(lines)


def _read(folder: Path, file: CandleFile, explain: Callable[[CandleFile, Candles], str]) -> Candles:
    path = inside(folder, file.path)
    try:
        content = path.read_bytes()
    except OSError:
        raise StateError(f"{path} is missing\nask for the shared folder again") from None
    intact = hashlib.sha256(content).hexdigest() == file.sha256
    try:
        candles = _parsed(_unpacked(content, file))
    except (OSError, EOFError, ValueError, UsageError, MemoryError, zlib.error) as error:
        why = "it does not fit into the memory" if isinstance(error, MemoryError) else error
        raise StateError(f"{path} cannot be read: {why}\nask for the shared folder again") from None
    if not intact:
        raise StateError(
            f"{path} was changed after it was shared: {explain(file, candles)}\nask for the shared folder again"
        )
    return candles


def _unpacked(content: bytes, file: CandleFile) -> bytes:
    """The text of a file from anybody: no longer than its candles, or those of any file of its size, can be."""
    told, possible = _LONGEST_ROW * (file.count + 1), min(_DENSEST * len(content), _LARGEST)
    longest = min(told, possible)
    with gzip.open(io.BytesIO(content)) as packed:
        text = packed.read(longest + 1)
    if len(text) > longest:
        why = f"{file.count:,} candles were to be in it" if told <= possible else "none of its size can hold more"
        raise ValueError(f"it holds more than {longest:,} bytes, and {why}")
    return text


def _parsed(content: bytes) -> Candles:
    import pandas as pd

    table = pd.read_csv(io.BytesIO(content), **exact_floats(pd.__version__))
    if list(table.columns) != list(COLUMNS) or (len(table) and table["timestamp"].dtype != np.int64):
        raise ValueError(f"it must have the columns {', '.join(COLUMNS)}, with times in whole milliseconds")
    return Candles.from_columns(**{name: table[name].to_numpy() for name in COLUMNS})
