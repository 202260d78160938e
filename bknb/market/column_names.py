"""Which column of a table of candles is which, by the names people and exchanges give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from ..errors import UsageError
from .candles import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

# The first name that is there counts.
TIMES: Final = (
    *("timestamp", "open_time", "opentime", "unix", "unix_timestamp", "datetime", "date_time", "gmt_time"),
    *("local_time", "date", "time"),
)
_VALUES: Final = {
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v", "vol."),
}
_TICKS: Final = ("tickvol", "tick_volume", "tickvolume")
# A volume by its currency, such as "Volume BTC", and not what is computed of volumes, such as "Volume MA".
_VOLUME_OF: Final = re.compile(
    r"volume_\(?(?!(?:s?ma|[ewhr]ma|avg|mean|delta|change|osc|ratio|quote|sum|std|roc)\b)[a-z]{2,6}\)?"
)
_UTC: Final = re.compile(r"(?<![a-z])(utc|gmt)(?![a-z])")
_LOCAL: Final = re.compile(
    r"(?<![a-z])(local|e[ds]t|c[ds]t|m[ds]t|p[ds]t|ces?t|ees?t|msk|jst|ist|bst|sgt|hkt)(?![a-z])"
)
KEYS: Final = ("symbol", "ticker", "pair", "tic", "instrument")


def plain_name(label: Any) -> str:
    """A column's name without case, blanks and brackets.

    Examples
    --------
    >>> plain_name(" <TICKVOL>"), plain_name("Adj Close")
    ('tickvol', 'adj_close')
    """
    return str(label).strip().strip("<>").strip().lower().replace(" ", "_")


def zone_in(label: Any) -> str | None:
    """What the name of a column of times says of their zone: ``"UTC"``, another one in its words, or nothing.

    Examples
    --------
    >>> zone_in("Gmt time"), zone_in("Time (EST)"), zone_in("Local time"), zone_in("timestamp")
    ('UTC', 'EST', 'LOCAL', None)
    """
    name = plain_name(label)
    if _UTC.search(name):
        return "UTC"
    found = _LOCAL.search(name)
    return None if found is None else found[0].upper()


def looks_like_time(value: Any) -> bool:
    """Whether the first value of a column without a name is a time, and no number of a row.

    Examples
    --------
    >>> [looks_like_time(each) for each in ("2024-01-15 00:00", 1705276800000, "1705276800", 0, "17", "AAPL")]
    [True, True, True, False, False, False]
    """
    return isinstance(value, date) or re.match(r"\d{8,}|\d{1,4}[-./]\d{1,2}[-./]\d", str(value).strip()) is not None


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """The columns of a table that are read.

    Attributes
    ----------
    times : tuple
        The column of times, or a column of dates and one of times of day; empty: the index of the table.
    values : dict
        For open, high, low, close and volume the column, or a number for every row.
    ticks : object or None
        The column with the number of price changes, which stands for the volume where that is 0 everywhere.
    key : object or None
        The column that names the instrument.
    others : tuple
        Further columns that may name it.
    named_times : bool
        Whether the column of times was named by the user.
    notes : tuple of str
        What was decided that may be otherwise.
    """

    times: tuple[Any, ...]
    values: dict[str, Any]
    ticks: Any = None
    key: Any = None
    others: tuple[Any, ...] = ()
    named_times: bool = False
    notes: tuple[str, ...] = field(default=())


def find_columns(
    labels: Iterable[Any], *, where: str, has_times: bool = False, columns: Mapping[str, Any] | None = None
) -> ColumnNames:
    """Which columns hold times, prices, volumes and instruments.

    Parameters
    ----------
    labels
        The names of the columns, in their order.
    where
        The name of the source, for messages.
    has_times
        Whether the index of the table holds times.
    columns
        From ``timestamp, open, high, low, close, volume, symbol`` to the table's name of the column, or for the volume
        to a number for every row.

    Raises
    ------
    UsageError
        A column is missing or there twice.

    Examples
    --------
    >>> found = find_columns(["<DATE>", "<TIME>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>"], where="mine")
    >>> found.times, found.values["close"]
    (('<DATE>', '<TIME>'), '<CLOSE>')
    """
    labels = list(labels)
    named = _named(labels, columns, where)
    known: dict[str, Any] = {}
    for label in labels:
        name = plain_name(label)
        if name in known and name in {*TIMES, *_TICKS, *KEYS, *(each for names in _VALUES.values() for each in names)}:
            raise UsageError(f"{where}: two columns are called {name!r}\nleave one of them out, or rename it")
        known.setdefault(name, label)
    values: dict[str, Any] = {}
    notes: list[str] = []
    for name, names in _VALUES.items():
        if name in named:
            values[name] = named[name]
        elif found := [known[each] for each in names if each in known]:
            values[name] = found[0]
            notes += [
                f"{where}: the {name} is that of the column {str(found[0]).strip()!r}, and {str(other).strip()!r} is "
                "not read"
                for other in found[1:]
            ]
    if "volume" not in values and (of := [label for label in labels if _VOLUME_OF.fullmatch(plain_name(label))]):
        values["volume"] = of[0]
        notes.append(f"{where}: the volume is that of the column {str(of[0]).strip()!r}")
    ticks = next((known[each] for each in _TICKS if each in known), None)
    if "volume" not in values and ticks is not None:
        values["volume"] = ticks
        notes.append(f"{where}: the volume is that of the column {str(ticks).strip()!r}, a number of price changes")
    times = (named["timestamp"],) if "timestamp" in named else _times(known, has_times=has_times)
    missing = [name for name in COLUMNS if name not in values and (name != "timestamp" or times is None)]
    if missing:
        found_text = ", ".join(str(label).strip() for label in labels)
        advice = 'rename the columns, or name them: columns={"' + missing[0] + '": "its name here"}'
        if missing == ["volume"]:
            advice += '; where the market tells no volume: columns={"volume": 1.0}'
        raise UsageError(
            f"{where}: needs the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}\n"
            f"found: {found_text[:120]}; {advice}"
        )
    keys = [known[each] for each in KEYS if each in known]
    key = named.get("symbol", keys[0] if keys else None)
    return ColumnNames(
        times=times or (),
        values=values,
        ticks=ticks,
        key=key,
        others=tuple(each for each in keys if each is not key),
        named_times="timestamp" in named,
        notes=tuple(notes),
    )


def _named(labels: list[Any], columns: Mapping[str, Any] | None, where: str) -> dict[str, Any]:
    """The columns the user named, by bknb's names of them."""
    if columns is not None and not isinstance(columns, Mapping):
        raise UsageError(
            f"columns must be a mapping from bknb's names to those of the table, got {columns!r:.80}\n"
            'such as columns={"close": "Last"}'
        )
    named: dict[str, Any] = {}
    for name, label in (columns or {}).items():
        if name not in (*COLUMNS, "symbol"):
            raise UsageError(f"columns names {', '.join(COLUMNS)} and symbol, got {name!r}")
        if name == "volume" and isinstance(label, (int, float)) and label not in labels:
            named[name] = float(label)
            continue
        found = [each for each in labels if each == label or str(each).strip() == str(label).strip()]
        if not found:
            raise UsageError(
                f"{where}: has no column {label!r}\nfound: {', '.join(str(each).strip() for each in labels)[:120]}"
            )
        named[name] = found[0]
    return named


def _times(known: dict[str, Any], *, has_times: bool) -> tuple[Any, ...] | None:
    """The columns of times; empty for the index, ``None`` where there is none."""
    for name in ("open_time", "opentime", "timestamp"):
        if name in known:
            return (known[name],)
    if has_times:
        return ()
    for name in TIMES:
        if name == "date" and "date" in known and "time" in known:
            return known["date"], known["time"]
        if name in known:
            return (known[name],)
    return None
