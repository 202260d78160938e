"""Whatever a ``get_candles`` function may answer, as candles."""

from __future__ import annotations

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
        The symbol that was asked for; of a DataFrame that names symbols, those candles are taken.

    Raises
    ------
    UsageError
        It is none of these, a column is missing, or the DataFrame names symbols and not this one.
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
        return table.candles, [*table.notes]
    held = [*table.candles]
    same = held if symbol is None else [each for each in held if each == symbol]
    same = same or [each for each in held if _plain(each) == _plain(symbol)]
    same = same or [each for each in held if _is_future_of(each, symbol) or _is_future_of(symbol, each)]
    if len(same) == 1:
        return table.candles[same[0]], table.notes.of(same[0])
    if len(held) == 1:
        raise UsageError(
            f"a DataFrame of candles holds the candles of {held[0]}, and those of {symbol} were asked for\n"
            "return those, or leave the name out where it is another one for the same symbol"
        )
    raise UsageError(f"a DataFrame of candles holds {', '.join(held[:5])}; return the candles of one symbol")


def _plain(symbol: str | None) -> str:
    """The letters and digits of a symbol: BTC/USDT and BTCUSDT are one."""
    return "".join(each for each in symbol or "" if each.isalnum()).upper()


def _is_future_of(symbol: str | None, bare: str | None) -> bool:
    """Whether one is what exchanges call the other, a bare name: BTC/USDT:USDT is called BTCUSDT."""
    pair, colon, settled_in = (symbol or "").partition(":")
    return bool(colon) and settled_in.isalpha() and (bare or "").isalnum() and _plain(pair) == _plain(bare)


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
