"""How a CSV file is written: encoding, separator, decimal mark, header, lines above it; found out, not asked for."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from ..errors import UsageError
from ..market.candles import COLUMNS
from ..market.column_names import KEYS, TIMES, looks_like_time, plain_name

_HEAD: Final = 65_536  # bytes that show how a file is written
_MOST_ABOVE: Final = 20  # lines above the header
_SEPARATORS: Final = ("\t", ";", "|", ",")
_BLANKS: Final = r"\s+"
_LEAST: Final = 5  # columns: a time and four prices
_NUMBER: Final = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_POINT: Final = re.compile(r"[+-]?\d+(\.\d+)+")
_COMMA: Final = re.compile(r"[+-]?\d+,\d+")
_GROUPS: Final = re.compile(r"[+-]?[1-9]\d{0,2}([.,]\d{3})+")  # such as 1.234, which may be thousands
_DAY_FIRST: Final = re.compile(r"\d{1,2}\.\d{1,2}\.\d{2,4}(\s.*)?")
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a CSV file is written.

    Attributes
    ----------
    encoding : str
    doubtful : bool
        Whether the encoding is a guess that reads every byte.
    separator : str
    decimal : str
    notes : tuple of str
        What was decided that may be otherwise.
    above : int
        Lines above the header or the first row.
    header : int
        Lines of the header: 0, 1, or 2 of prices and tickers.
    guessed : bool
        Whether the names of the columns are neither in the file nor given.
    names : tuple of str
        The columns.
    first : tuple of str
        The first row, as text.
    """

    encoding: str
    doubtful: bool
    separator: str
    decimal: str
    notes: tuple[str, ...]
    above: int
    header: int
    guessed: bool
    names: tuple[str, ...]
    first: tuple[str, ...]


def dialect_of(
    file: Path,
    *,
    separator: str | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    encoding: str | None = None,
    names: Sequence[str | None] | None = None,
    expected: Sequence[str] = (),
) -> Dialect:
    r"""How a file is written, from its first lines.

    Parameters
    ----------
    file
        The file, perhaps compressed.
    separator, decimal, thousands, encoding
        What is known already.
    names
        The names of the columns of a file without a header.
    expected
        The names of its columns where it has no header and this many columns.

    Raises
    ------
    UsageError
        It cannot be told; the message names the option that tells it.
    OSError, EOFError, ValueError
        The file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "btc.csv"
    ...     _ = path.write_text("# from my broker\nDatum;open;high;low;close;volume\n01.02.2024;1,5;1,5;1,5;1,5;7\n")
    ...     found = dialect_of(path)
    >>> found.separator, found.decimal, found.above, found.names[0]
    (';', ',', 1, 'Datum')
    """
    data, whole = _head(file)
    chosen, doubtful = (encoding, False) if encoding else _encoding(data)
    try:
        text = codecs.getincrementaldecoder(chosen)(errors="strict").decode(data, final=whole)
    except (LookupError, UnicodeError) as error:
        raise UsageError(f'{file}: cannot be read as CSV: {error}\nname its encoding: encoding="cp1252"') from error
    lines = text.splitlines()
    if not whole and len(lines) > 1:
        lines.pop()
    if not any(line.strip() for line in lines):
        raise UsageError(f"{file}: cannot be read as CSV: it is empty")
    parting = separator or _separator(lines, file)
    counts = [len(_fields(line, parting)) for line in lines]
    usual = Counter(count for line, count in zip(lines, counts, strict=True) if line.strip()).most_common(1)[0][0]
    above = next(
        (at for at, count in enumerate(counts) if count >= usual - 1 and count >= _LEAST and lines[at].strip()), 0
    )
    if above > _MOST_ABOVE:
        above = 0
    rows = [[field.strip() for field in _fields(line, parting)] for line in lines[above:] if line.strip()]
    header = 0 if names is not None else _header(rows)
    values = rows[header:]
    mark, notes = _decimal_mark(values, parting, file, decimal=decimal, thousands=thousands)
    first = tuple(values[0]) if values else ()
    if not header and names is None and len(first) == len(expected):
        names = expected
    elif not header and names is None:
        _check_above(lines[:above], parting, usual, file)
    if header:
        columns = tuple(rows[0])
        if columns[0] == "" and first and looks_like_time(first[0]) and not {*map(plain_name, columns)} & {*TIMES}:
            columns = ("timestamp", *columns[1:])  # the index of a DataFrame that had no name
        _check_width(columns, values, file, above + header)
    else:
        columns = _unnamed(first, names, file)
    return Dialect(
        encoding=chosen,
        doubtful=doubtful,
        separator=parting,
        decimal=mark,
        notes=notes,
        above=above,
        header=header,
        guessed=not header and names is None,
        names=columns,
        first=first,
    )


def _decimal_mark(
    values: Sequence[Sequence[str]], parting: str, file: Path, *, decimal: str | None, thousands: str | None
) -> tuple[str, tuple[str, ...]]:
    """What stands before the decimals of numbers, and what was decided about that."""
    if thousands is not None:
        return _decimal_beside(thousands, decimal), ()
    if decimal is not None:
        return decimal, ()
    fields = [field for row in values for field in row[1:]]
    if parting != "," and any(_DAY_FIRST.fullmatch(field) for row in values[:1] for field in row):
        return _decimal_where_days_come_first(fields, file), ()
    mark = _decimal(fields, file)
    if mark != "." or parting not in (";", "\t") or not _may_be_thousands(fields):
        return mark, ()
    told = f"the point in {_first_point(fields)!r} was read as a decimal mark; where it stands between thousands"
    return mark, (f'{file}: {told}: thousands="."',)


def _head(file: Path) -> tuple[bytes, bool]:
    """The first bytes of a file, uncompressed, and whether they are all of it."""
    opened: IO[bytes]
    suffix = file.suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.namelist() if not each.endswith("/")]
            if len(members) != 1:
                raise UsageError(
                    f"{file}: holds {len(members)} files, and from_csv reads one\n"
                    "take them out; the archives of Binance: bknb.exchanges.binance_archive(folder)"
                )
            with archive.open(members[0]) as opened:
                data = opened.read(_HEAD + 1)
    else:
        opener = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}.get(suffix, open)
        with opener(file, "rb") as opened:  # type: ignore[operator]  # four functions with signatures of their own
            data = opened.read(_HEAD + 1)
    return data[:_HEAD], len(data) <= _HEAD


def _encoding(data: bytes) -> tuple[str, bool]:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16 does
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return name, False
    if data[1:2] == b"\0":
        return "utf-16-le", False
    if data[:1] == b"\0":
        return "utf-16-be", False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeError:
        return "latin-1", True
    return "utf-8", False


def _fields(line: str, separator: str) -> list[str]:
    if separator == _BLANKS:
        return line.split()
    return next(csv.reader([line], delimiter=separator), []) if len(separator) == 1 else re.split(separator, line)


def _separator(lines: list[str], file: Path) -> str:
    """The separator that parts most lines into the same number of fields."""
    full = [line for line in lines if line.strip()]
    best, most = "", 0
    for each in (*_SEPARATORS, _BLANKS):
        count, lines_alike = Counter(len(_fields(line, each)) for line in full).most_common(1)[0]
        if count >= _LEAST and lines_alike > most:
            best, most = each, lines_alike
    if not best:
        raise UsageError(
            f"{file}: cannot be read as CSV: no separator parts its lines into {_LEAST} columns or more; it begins "
            f'with {full[0][:60]!r}\nname it: separator=";"; a table needs {", ".join(COLUMNS)}'
        )
    return best


def _header(rows: list[list[str]]) -> int:
    """How many lines of header there are."""
    if not rows or any(_NUMBER.fullmatch(field) for field in rows[0]):
        return 0
    names = {plain_name(field) for field in rows[0]}
    if len(rows) > 1 and {rows[0][0].lower(), rows[1][0].lower()} <= {"price", "", *KEYS} and not names & {*TIMES}:
        return 2
    return 1 if any(re.search("[A-Za-z]", field) for field in rows[0]) else 0


def _check_above(lines: list[str], separator: str, usual: int, file: Path) -> None:
    """Refuse rows without a header below a line that is one, only too short or parted by something else."""
    for number, line in enumerate(lines, start=1):
        names = _fields(line, separator)
        if len(names) >= _LEAST and _header([[name.strip() for name in names]]):
            raise UsageError(_width_text(file, number, len(names), usual))
        for other in _SEPARATORS:
            if other != separator and len(_fields(line, other)) >= _LEAST and not re.search(r"\d", line):
                raise UsageError(
                    f"{file}: the header {line[:60]!r} is parted by {other!r}, and the rows by {separator!r}\n"
                    "correct the header, or take it out and name the columns: columns=[...]"
                )


def _check_width(columns: tuple[str, ...], values: list[list[str]], file: Path, line: int) -> None:
    """Refuse a header that has another number of fields than the rows below it."""
    if not values:
        return
    usual = Counter(len(row) for row in values).most_common(1)[0][0]
    more = usual == len(columns) + 1 and all(row[-1] == "" for row in values if len(row) == usual)
    fewer = usual < len(columns) and not any(columns[usual:])  # a separator at the end of the header alone
    if usual != len(columns) and not more and not fewer:
        raise UsageError(_width_text(file, line, len(columns), usual))


def _width_text(file: Path, line: int, names: int, fields: int) -> str:
    return (
        f"{file}: the header in line {line} names {names} columns, and the rows have {fields}\n"
        'complete the header, or name the separator: separator=";"'
    )


def _decimal_beside(thousands: str, decimal: str | None) -> str:
    """The decimal mark of numbers with a mark between their thousands."""
    if len(thousands) != 1 or thousands.isalnum() or thousands in "+-":
        raise UsageError(f"thousands must be one mark, such as '.' or ',', got {thousands!r}")
    mark = decimal or ("," if thousands == "." else ".")
    if mark == thousands:
        raise UsageError(f"decimal and thousands must be two marks, got {mark!r} for both")
    return mark


def _decimal(fields: list[str], file: Path) -> str:
    commas = [field for field in fields if _COMMA.fullmatch(field)]
    if len(commas) <= sum(_POINT.fullmatch(field) is not None for field in fields):
        return "."  # a comma here and there is told with its line
    if all(_GROUPS.fullmatch(field) for field in commas):
        points = any(_POINT.fullmatch(field) for field in fields)
        which = 'decimal=",", thousands="." or decimal=".", thousands=","' if points else 'decimal="," or thousands=","'
        raise UsageError(
            f"{file}: the comma in {commas[0]!r} may be a decimal mark or stand between thousands\nsay which: {which}"
        )
    return ","


def _decimal_where_days_come_first(fields: list[str], file: Path) -> str:
    """The decimal mark where dates are written 31.12.2024: often a comma, beside points between thousands."""
    mark = _decimal(fields, file)
    if mark == "." and _may_be_thousands(fields):
        raise UsageError(
            f"{file}: the point in {_first_point(fields)!r} may be a decimal mark or stand between thousands\n"
            'say which: decimal="." or thousands="."'
        )
    # Without any mark in the first lines, a point further down would be one of two as well: it is told with its line.
    return mark if any(_POINT.fullmatch(field) for field in fields) else ","


def _may_be_thousands(fields: list[str]) -> bool:
    """Whether there are points, and each stands where one between thousands would."""
    points = [field for field in fields if _POINT.fullmatch(field)]
    return bool(points) and all(_GROUPS.fullmatch(field) for field in points)


def _first_point(fields: list[str]) -> str:
    return next(field for field in fields if _POINT.fullmatch(field))


def _unnamed(first: tuple[str, ...], names: Sequence[str | None] | None, file: Path) -> tuple[str, ...]:
    """Names for the columns of a file without a header."""
    if names is not None:
        given = [f"column {at}" if name is None else str(name) for at, name in enumerate(names, start=1)]
        if len(given) > len(first):
            raise UsageError(f"{file}: columns names {len(given)} columns, and the rows have {len(first)}")
    elif first and _NUMBER.fullmatch(first[0]) and not re.fullmatch(r"\d{8,}(\.0+)?", first[0]):
        raise UsageError(
            f"{file}: has no header line, and its first column is no time: {first[0]!r}\n"
            'name the columns: columns=["open", "high", "low", "close", "volume", "timestamp", ...]'
        )
    elif len(first) > 1 and _CLOCK.fullmatch(first[1]):
        given = ["date", "time", *COLUMNS[1:]]
    else:
        given = list(COLUMNS)
    if len(first) < len(given):
        raise UsageError(
            f"{file}: has no header line, and its rows have {len(first)} columns\n"
            f'it needs {", ".join(given)}: add what is missing, and name them: columns=["timestamp", "open", ...]'
        )
    return (*given, *(f"column {at}" for at in range(len(given) + 1, len(first) + 1)))
