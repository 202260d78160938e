"""Whatever a ``get_candles`` function may answer, as candles."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .candles import COLUMNS, Candles

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read_answer(answer: Any, symbol: str | None = None) -> tuple[Candles, list[str]]:
    """Candles (not yet checked for quality) of what a ``get_candles`` function returned, and what was decided.

    Parameters
    ----------
    answer
        ``Candles``, a DataFrame as :func:`bknb.exchanges.from_frame` reads it, a sequence of rows
        ``(timestamp, open, high, low, close, volume)``, or a sequence of mappings. Times of rows and mappings are
        milliseconds (int) or datetimes. What bears no zone is in UTC.
    symbol
        The symbol that was asked for, of a DataFrame with several.

    Raises
    ------
    UsageError
        It is none of these, a column is missing, or the DataFrame has several symbols and not this one.
    BadCandle
        A value of a DataFrame is no number or no time.

    Examples
    --------
    >>> read_answer([(0, 10.0, 12.0, 9.0, 11.0, 5.0)])
    (Candles(1, 1970-01-01T00:00 .. 1970-01-01T00:00 UTC), [])
    """
    if isinstance(answer, Candles):
        return answer, []
    if hasattr(answer, "columns") and hasattr(answer, "index"):
        return _of_frame(answer, symbol) if len(answer) else (Candles.empty(), [])
    if isinstance(answer, (list, tuple)):
        return _of_rows(answer), []
    raise UsageError(
        "get_candles must return rows, mappings, a DataFrame or bknb.Candles; "
        f"got {type(answer).__name__}: {str(answer)[:80]}"
    )


def _of_frame(frame: Any, symbol: str | None) -> tuple[Candles, list[str]]:
    from .candle_rows import Reading  # here: few sources answer frames, and every run loads this module
    from .candle_tables import read_table

    reading = Reading(where="a DataFrame of candles", place="row {}".format, is_checked_later=True)
    table = read_table(frame, reading)
    if isinstance(table.candles, Candles):
        return table.candles, table.notes
    found = table.candles.get(symbol) if symbol is not None else None
    if found is None and len(table.candles) == 1:
        ((named, found),) = table.candles.items()
        if symbol is not None and _plain(named) != _plain(symbol):
            table.notes.append(f"the candles that came for {symbol} are of {named} by their name")
    if found is None:
        raise UsageError(
            f"a DataFrame of candles holds {', '.join(list(table.candles)[:5])}; return the candles of one symbol"
        )
    return found, table.notes


def _plain(symbol: str) -> str:
    """A symbol without what exchanges write differently: ``BTC/USDT``, ``btc-usdt``, ``BTCUSDT``."""
    return re.sub(r"[^a-z0-9]", "", symbol.lower())


def _of_rows(rows: Sequence[Any]) -> Candles:
    if not rows:
        return Candles.empty()
    if isinstance(rows[0], dict) or hasattr(rows[0], "keys"):
        return _of_mappings(rows)
    try:
        return Candles.from_columns(
            timestamp=[_ms(row[0]) for row in rows],
            **{name: [float(row[i]) for row in rows] for i, name in enumerate(COLUMNS) if i},
        )
    except (TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"candles must be rows of (timestamp, open, high, low, close, volume); got {rows[0]!r} ({error})"
        ) from None


def _of_mappings(rows: Sequence[Mapping[str, Any]]) -> Candles:
    missing = [name for name in COLUMNS if name not in rows[0]]
    if missing:
        raise UsageError(f"candles need the keys {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    return Candles.from_columns(
        timestamp=[_ms(row["timestamp"]) for row in rows],
        **{name: [float(row[name]) for row in rows] for name in COLUMNS[1:]},
    )


def _ms(value: Any) -> int:
    """A moment as UTC milliseconds: numbers are milliseconds already."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        if not float(value).is_integer():
            raise ValueError(f"a timestamp must be whole milliseconds, got {value!r}")
        return int(value)
    return int(np.datetime64(_naive_utc(value), "ms").astype(np.int64))


def _naive_utc(value: Any) -> Any:
    zone = getattr(value, "tzinfo", None)
    if zone is None:
        return value
    from datetime import UTC

    return value.astimezone(UTC).replace(tzinfo=None)
