"""The candles of a CSV file, once it is known how the file is written."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Mapping
from functools import partial
from lzma import LZMAError
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import BadZipFile

from ..errors import UsageError
from ..market.candle_rows import Reading
from ..market.candle_tables import Tables, read_table
from ..market.column_names import KEYS, find_columns, plain_name
from ..market.table_notes import TableNotes
from .csv_dialect import Dialect, dialect_of

if TYPE_CHECKING:
    import pandas as pd

_MISSING: Final = ("", "NaN", "nan", "NA", "N/A", "null", "NULL", "None")
_DAMAGED: Final = (BadZipFile, LZMAError, zlib.error, EOFError)  # what is compressed
_EPOCH: Final = re.compile(r"-?\d{9,}")


def csv_table(
    file: Path,
    reading: partial[Reading],
    *,
    symbol: str | None = None,
    names: tuple[str | None, ...] | None = None,
    expected: tuple[str, ...] = (),
    **known: str | None,
) -> Tables:
    """The candles of a CSV file.

    Parameters
    ----------
    file
        The file, perhaps compressed.
    reading
        Makes a :class:`Reading` of what is found out about the file.
    symbol
        The only symbol wanted.
    names, expected, known
        As in :func:`bknb.exchanges.csv_dialect.dialect_of`.

    Raises
    ------
    UsageError, BadCandle
        As in :func:`from_csv`.
    """
    import pandas as pd

    try:
        dialect = dialect_of(file, names=names, expected=expected, **known)
        # Blank lines are dropped later, after messages could name the true line.
        named = reading.keywords.get("columns")
        as_text = known.get("thousands") is not None
        frame = _frame(file, dialect, columns=named, as_text=as_text, **exact_floats(pd.__version__))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OSError, *_DAMAGED) as error:
        raise UsageError(f"{file}: cannot be read as CSV: {str(error).strip()}{_unread(error)}") from error
    except (ValueError, pd.errors.ParserWarning) as error:
        raise UsageError(f"{file}: cannot be read as CSV: {str(error).strip()}") from error
    first = dialect.above + dialect.header + 1
    made = reading(
        where=str(file),
        place=lambda row: f"line {row + first}" if isinstance(row, Integral) else f"the row of {row}",
        decimal=dialect.decimal,
        thousands=known.get("thousands"),
        from_text=True,
        guessed=dialect.guessed,
    )
    table = read_table(frame, made, symbol=symbol)
    return Tables(table.candles, TableNotes(dialect.notes) + table.notes)


def exact_floats(version: str) -> dict[str, Any]:
    """Options that make pandas read every float to the last bit.

    Since 3.1 it always does, and the option is on its way out; before, its ordinary converter may miss by one bit.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _unread(error: Exception) -> str:
    """What may help with an error of pandas."""
    if isinstance(error, UnicodeError):
        return '\nname its encoding: encoding="cp1252"'
    return '\ncorrect that line, or name the separator: separator=";"' if "Expected" in str(error) else ""


def _frame(
    file: Path, dialect: Dialect, *, columns: Mapping[str, Any] | None, as_text: bool, **options: Any
) -> pd.DataFrame:
    """The table of a file; a row has the number of its line below the header as its label."""
    import pandas as pd

    common: dict[str, Any] = {
        "sep": dialect.separator,
        "decimal": dialect.decimal,
        "encoding": dialect.encoding,
        "skiprows": dialect.above,
        "skip_blank_lines": False,
        "low_memory": False,
        "skipinitialspace": True,
        **options,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # values that have no column
        if dialect.header == 2:
            two: pd.DataFrame = pd.read_csv(
                file,
                header=[0, 1],
                index_col=0,
                dtype=str if as_text else None,
                **(common | {"skip_blank_lines": True}),
            )
            return two
        found = find_columns(dialect.names, where=str(file), columns=columns)
        texts = {label: str for label in found.times if not _EPOCH.fullmatch(_cell(dialect, label))}
        if as_text:  # pandas would read 1.234 as a number, whatever the point means
            texts |= {label: str for label in (*found.values.values(), found.ticks) if isinstance(label, str)}
        # A symbol may be called NA, TRUE or 0700.
        keys = [label for label in dialect.names if plain_name(label) in KEYS or label == found.key]
        if keys:
            missing = {label: list(_MISSING) for label in dialect.names if label not in keys}
            common |= {"keep_default_na": False, "na_values": missing}
        frame: pd.DataFrame = pd.read_csv(
            file,
            header=0 if dialect.header else None,
            names=_unique(dialect.names),
            index_col=False,
            dtype=texts | dict.fromkeys(keys, str),
            **common,
        )
    for label in keys:
        plain = frame[label].str.strip()
        frame[label] = plain.where(plain != "")
    frame = frame.dropna(how="all")
    if dialect.doubtful:
        used = [*dialect.names, *(str(each) for label in keys for each in frame[label].unique())]
        if strange := [each for each in used if not each.isascii()]:
            raise UsageError(
                f'{file}: {strange[0]!r} is written in an encoding that is not UTF-8\nname it: encoding="cp1252"'
            )
    return frame


def _unique(names: tuple[str, ...]) -> list[str]:
    """Names of columns, with a number for those that are empty or there already."""
    return [name if name and names.index(name) == at else f"{name} ({at + 1})".strip() for at, name in enumerate(names)]


def _cell(dialect: Dialect, label: Any) -> str:
    at = dialect.names.index(label)
    return dialect.first[at] if at < len(dialect.first) else ""
