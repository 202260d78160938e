"""The zip archives of candles that Binance publishes by month and by day, with their checksums."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..errors import BadCandle, DataError, UnknownName, UsageError
from ..market.candle_rows import Reading, in_order
from ..market.candles import Candles
from ..market.measured_bar_length import check_length
from ..market.missing_candles import gaps, missing_text
from ..market.sessions import Sessions
from ..market.table_notes import TableNotes
from ..stores.atomic import as_path
from .csv_reading import csv_table
from .dataframe_source import FrameSource
from .from_csv_frame_and_parquet import existing_file

_NAME: Final = re.compile(r"(?P<symbol>.+)-(?P<interval>\d+[smhdwM]|1mo)-(?P<period>\d{4}-\d{2}(?:-\d{2})?)\.zip")
_SHA256: Final = re.compile(r"\b[0-9a-fA-F]{64}\b")
_MARKETS: Final = frozenset({
    "spot", "futures", "um", "cm", "option",
    "klines", "markpriceklines", "indexpriceklines", "premiumindexklines",
})  # fmt: skip
_COLUMNS: Final = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count"),
    *("taker_buy_volume", "taker_buy_quote_volume", "ignore"),
)
_WHEN: Final = re.compile(r"daily|monthly|\d{4}(-\d{2}){0,2}")


@dataclass(frozen=True, slots=True, order=True)
class _Archive:
    """One archive and what its name says."""

    symbol: str
    start: int  # UTC ms
    end: int
    file: Path


def binance_archive(
    archives: str | Path | Iterable[str | Path],
    *,
    symbol: str | None = None,
    name: str = "binance-archive",
    sessions: Sessions | str | None = None,
) -> FrameSource:
    """A source over archives of one-minute candles as ``data.binance.vision`` hands them out, read in order.

    A file ``....zip.CHECKSUM`` beside an archive is verified. Times in milliseconds and (spot, since 2025) microseconds
    are read, with a header line or without. Archives of months and of days may overlap. What is missing between the
    first and the last candle is told when a run begins, with its ranges; with ``sessions``, while the market is open.
    Spot, futures and mark prices come in files of the same names: those of one symbol must be of one market by the
    folders they lie in.

    Parameters
    ----------
    archives
        A folder, which is searched with all folders in it, or the archives. Names stay as Binance gives them
        (``BTCUSDT-1m-2024-01.zip``); of a folder, archives of other things than one-minute candles are left out. Of
        archives that are listed only folders that Binance names (``spot``, ``futures``, ``markPriceKlines``, ...) tell
        markets apart.
    symbol
        The only symbol wanted; ``None``: all.
    name, sessions
        As in :func:`bknb.exchanges.from_frame`.

    Raises
    ------
    UsageError
        There are no archives of one-minute candles, one cannot be read, or those of a symbol are of several markets.
    DataError
        An archive does not have its checksum, or holds candles of another time or length than its name says.
    BadCandle
        A value is no number, or two archives contradict each other.
    UnknownName
        There is no archive of this symbol.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(Path(folder) / "BTCUSDT-1m-2024-01-01.zip", "w") as archive:
    ...         archive.writestr("BTCUSDT-1m-2024-01-01.csv", "1704067200000,1,1,1,1,5,1704067259999,5,1,0,0,0")
    ...     source = binance_archive(folder)
    >>> source.symbols
    ('BTCUSDT',)
    """
    folder = _folder(archives)
    found = _found(archives, folder)
    symbols = tuple(dict.fromkeys(each.symbol for each in found))
    if symbol is not None:
        if symbol not in symbols:
            raise UnknownName("symbol", symbol, known=symbols)
        found = [each for each in found if each.symbol == symbol]
    _check_markets(found, folder)
    notes = TableNotes()
    unsealed = [str(each.file) for each in found if not _verified(each.file)]
    if unsealed:
        notes.add(
            [f"{name}: {len(unsealed)} of {len(found)} archives have no checksum beside them, such as {unsealed[0]}"]
        )
    candles: dict[str, Candles] = {}
    for each in dict.fromkeys(one.symbol for one in found):
        candles[each] = _joined([(one.file, _read(one, notes)) for one in found if one.symbol == each])
    source = FrameSource(candles, name=name, sessions=sessions)
    for each, minutes in candles.items():
        missing = gaps(minutes.timestamp, MINUTE_MS)
        if source.sessions is not None:
            missing = source.sessions.open_part(missing, MINUTE_MS)
        if missing:
            notes.add([f"{name}, {each}: {missing_text(missing, MINUTE_MS)}"], each)
    source.notes = notes + source.notes
    files = tuple(each.file.absolute() for each in found)
    source.reopen = partial(binance_archive, files, symbol=symbol, name=name, sessions=sessions)
    return source


def _folder(archives: str | Path | Iterable[str | Path]) -> Path | None:
    """The folder that is to be searched; ``None`` where archives are listed."""
    if not isinstance(archives, (str, Path)):
        return None
    place = as_path(archives).expanduser()
    return place if place.is_dir() else None


def _found(archives: str | Path | Iterable[str | Path], folder: Path | None) -> list[_Archive]:
    """The archives of one-minute candles, by symbol and time."""
    if folder is not None:
        files = sorted(folder.rglob("*.zip"))
    else:
        listed = (archives,) if isinstance(archives, (str, Path)) else archives
        if not isinstance(listed, Iterable):
            raise UsageError(f"binance_archive needs a folder or archives, got {listed!r:.80}")
        files = [existing_file(each) for each in listed]
    found, others = [], []
    for file in files:
        name = _NAME.fullmatch(file.name)
        if name is None or name["interval"] != "1m":
            others.append(file)
            continue
        try:
            start = np.datetime64(name["period"])  # a month or a day, as it is written
        except ValueError:
            raise UsageError(
                f"{file}: by its name it is of {name['period']}, and there is no such "
                f"{'day' if name['period'].count('-') > 1 else 'month'}\ngive it the name it was published under"
            ) from None
        first, end = (int(each.astype("datetime64[ms]").astype(np.int64)) for each in (start, start + 1))
        found.append(_Archive(name["symbol"], first, end, file))
    if others and (folder is None or not found):
        raise UsageError(
            f"{others[0]}: is no archive of one-minute candles by its name\n"
            "bknb reads archives such as BTCUSDT-1m-2024-01.zip and BTCUSDT-1m-2024-01-31.zip"
        )
    if not found:
        raise UsageError(f"{archives}: holds no archives such as BTCUSDT-1m-2024-01.zip")
    return sorted(found)


def _check_markets(found: list[_Archive], folder: Path | None) -> None:
    """Refuse archives of one symbol that lie in folders of different markets.

    Names of months and days, ``daily``, ``monthly``, the symbol and the interval tell no market.
    """
    seen: dict[str, tuple[tuple[str, ...], Path]] = {}
    for each in found:
        inside = each.file.parent if folder is None else each.file.parent.relative_to(folder)
        names = tuple(name.lower() for name in inside.parts)
        if folder is None:
            market = tuple(name for name in names if name in _MARKETS)
        else:
            market = tuple(
                name for name in names if not _WHEN.fullmatch(name) and name not in (each.symbol.lower(), "1m")
            )
        first, file = seen.setdefault(each.symbol, (market, each.file))
        if market != first:
            raise UsageError(
                f"{file} and {each.file} may be of two markets: spot, futures and mark prices have files of the same "
                f"names\nname the folder of one market; for archives of one market in several folders, list them"
            )


def _verified(file: Path) -> bool:
    """Whether there is a checksum beside an archive; one that it does not have is an error."""
    beside = file.with_name(file.name + ".CHECKSUM")
    if not beside.is_file():
        return False
    written = _SHA256.search(beside.read_text(encoding="utf-8", errors="replace"))
    if written is None:
        raise DataError(f"{beside}: holds no SHA-256 checksum\ndownload it again")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    if digest != written[0].lower():
        raise DataError(
            f"{file}: its SHA-256 checksum is {digest[:12]}..., and {beside.name} says {written[0][:12].lower()}...\n"
            "the archive is damaged: download it again"
        )
    return True


def _read(archive: _Archive, notes: TableNotes) -> Candles:
    table = csv_table(archive.file, partial(Reading), expected=_COLUMNS)
    told = [*table.notes]
    candles = table.candles
    if not isinstance(candles, Candles):
        raise UsageError(f"{archive.file}: holds candles of several symbols")
    with zipfile.ZipFile(archive.file) as opened:
        (member,) = (each for each in opened.namelist() if not each.endswith("/"))
    inside = _NAME.fullmatch(f"{PurePosixPath(member).stem}.zip")
    if inside is not None and inside["symbol"].upper() != archive.symbol.upper():
        raise DataError(f"{archive.file}: holds {member}\ncorrect the name of the archive, or download it again")
    times = candles.timestamp
    check_length(
        times,
        MINUTE_MS,
        needed=f"{archive.file}: one-minute candles are in it by its name",
        advice="download it again",
    )
    outside = (times < archive.start) | (times >= archive.end)
    if outside.any():
        days = (archive.end - archive.start) // DAY_MS
        raise DataError(
            f"{archive.file}: holds a candle of {utc_text(int(times[int(np.argmax(outside))]))}, and by its name only "
            f"those of {days} day{'' if days == 1 else 's'} from {utc_text(archive.start)}\ndownload it again"
        )
    candles = in_order(candles, str(archive.file), told)
    notes.add(told, archive.symbol)
    return candles


def _joined(parts: list[tuple[Path, Candles]]) -> Candles:
    """The candles of all archives of one symbol; those that are in two of them once."""
    whole = Candles.concat([candles for _, candles in parts])
    origin = np.concatenate([np.full(len(candles), at) for at, (_, candles) in enumerate(parts)])
    order = np.argsort(whole.timestamp, kind="stable")
    whole, origin = whole.take(order), origin[order]
    again = np.flatnonzero(np.diff(whole.timestamp) == 0) + 1
    differs = (whole.block[1:, again] != whole.block[1:, again - 1]).any(axis=0)
    if differs.any():
        at = int(again[int(np.argmax(differs))])
        one, other = (parts[int(origin[each])][0] for each in (at - 1, at))
        raise BadCandle(
            f"{one} and {other} hold two different candles of {utc_text(int(whole.timestamp[at]))}\nkeep one of them",
            open_time=int(whole.timestamp[at]),
        )
    keep = np.ones(len(whole), dtype=bool)
    keep[again] = False
    return whole.take(keep)
