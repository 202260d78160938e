"""Candles adjusted by a column of adjusted closes, such as ``Adj Close``, where no table of splits and dividends is."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import DataError
from ..market.candle_rows import in_order
from ..market.candles import Candles
from ..market.table_notes import TableNotes
from .adjusted_for_splits_and_dividends import Adjustment, Adjustments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_FEW: Final = 3  # dividends and splits are rare: a share of a close changes seldom, but in a short table
_EXACT: Final = 1e-6  # numbers may be of 32 bits


def adjust_by_closes(
    candles: Candles | Mapping[str, Candles], closes: Candles | Mapping[str, Candles], *, column: str, name: str
) -> tuple[Candles | dict[str, Candles], dict[str | None, Adjustments], TableNotes]:
    """The candles of one series or of each symbol, adjusted by a column of adjusted closes; else as `adjust_series`.

    Prices are multiplied by what the column is of the close, divided by what it is of the last close; volumes are left
    as they are.

    Parameters
    ----------
    candles
        Prices as traded.
    closes
        The same candles with the numbers of the column as their prices.
    column, name
        Of the column and of the source, for messages.

    Raises
    ------
    DataError
        The column is no adjusted close.

    Examples
    --------
    >>> traded = Candles.from_rows([(0, 4.0, 4.0, 4.0, 4.0, 1.0), (60_000, 5.0, 5.0, 5.0, 5.0, 1.0)])
    >>> column = Candles.from_rows([(0, 2.0, 2.0, 2.0, 2.0, 1.0), (60_000, 5.0, 5.0, 5.0, 5.0, 1.0)])
    >>> found, made, _ = adjust_by_closes(traded, column, column="Adj Close", name="mine")
    >>> found.close.tolist(), str(made[None])
    ([2.0, 5.0], "adjusted by the column 'Adj Close': the oldest prices are 0.5 of those traded")
    """
    notes = TableNotes()
    if isinstance(candles, Candles):
        assert isinstance(closes, Candles)  # of the same table  # noqa: S101
        alone, made = _by_closes(candles, closes, column, name, notes, None)
        return alone, {None: made}, notes
    assert not isinstance(closes, Candles)  # noqa: S101
    each = {
        symbol: _by_closes(series, closes[symbol], column, f"{name}, {symbol}", notes, symbol)
        for symbol, series in candles.items()
    }
    return {symbol: found for symbol, (found, _) in each.items()}, {key: made for key, (_, made) in each.items()}, notes


def _by_closes(
    candles: Candles, closes: Candles, column: str, where: str, notes: TableNotes, symbol: str | None
) -> tuple[Candles, Adjustments]:
    told: list[str] = []
    candles, closes = in_order(candles, where, told), in_order(closes, where, [])
    notes.add(told, symbol)
    if not len(candles):
        return candles, Adjustments((), splits=0, dividends=0, column=column)
    if not ((closes.close > 0) & (candles.close > 0)).all():
        raise DataError(f"{where}: the column {column!r} is no adjusted close: it and the close must be above 0")
    share = closes.close / candles.close
    doubt = _rounding(closes.close) / closes.close + _rounding(candles.close) / candles.close + _EXACT
    count = int((np.abs(np.diff(np.log(share))) > doubt[1:] + doubt[:-1]).sum())
    if count > _FEW + len(share) // 4:
        raise DataError(
            f"{where}: the column {column!r} is no adjusted close: what it is of the close changes at {count:,} "
            f"of {len(share):,} candles\ngive a table of splits and dividends, adjust=table, or leave adjust out"
        )
    changes = _changes(np.log(share), doubt)
    edges = [0, *changes, len(share)]
    levels = [float(np.median(share[first:end])) for first, end in pairwise(edges)]
    last = 1.0 if abs(levels[-1] - 1) <= doubt.max() else levels[-1]
    levels = [level / last for level in levels]
    factor = np.repeat(levels, np.diff(edges))
    prices: dict[str, Any] = {each: getattr(candles, each) * factor for each in ("open", "high", "low", "close")}
    moments = [int(candles.timestamp[change]) for change in changes]
    steps = tuple(Adjustment(when, level, 1.0) for when, level in zip(moments, levels, strict=False))
    made = Adjustments(steps, splits=0, dividends=0, column=column)
    return Candles.from_columns(timestamp=candles.timestamp, volume=candles.volume, **prices), made


def _changes(values: NDArray[np.float64], doubt: NDArray[np.float64]) -> list[int]:
    """Where values change that are each known within a doubt: before the first that no one value explains any more.

    Changes that are each within the doubt of two neighbours, as small dividends of rounded prices are, count once their
    sum is not.
    """
    low, high, found = (values - doubt).tolist(), (values + doubt).tolist(), []
    least, most = low[0], high[0]
    for at in range(1, len(low)):
        least, most = max(least, low[at]), min(most, high[at])
        if least > most:
            found.append(at)
            least, most = low[at], high[at]
    return found


def _rounding(values: NDArray[np.float64]) -> float:
    """How far off numbers are that were rounded to the decimals they all have, at most; 0: they have many."""
    for digits in range(7):
        if np.allclose(values, np.round(values, digits), rtol=0.0, atol=1e-9):
            return 0.5 * 10.0**-digits
    return 0.0
