"""Closed trades read from a DataFrame or a list of mappings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isfinite, isnan, nan
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_SECONDS: Final = (1e9, 1e10)  # 2001 to 2286 in seconds; as milliseconds, January to April 1970
_PLAIN: Final = frozenset({int, float, type(None), np.float64, np.int64})
_CLOSE_NAMES: Final = ("close_timestamp", "closed_at")
_OPTIONAL: Final = ("price_close", "peak_percentage", "trough_percentage", "adds", "largest_cost", "size")
_SHAPE: Final = "a DataFrame or a list of mappings, one row per closed trade"


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of closed trades, in the order of the rows they came from.

    Attributes
    ----------
    symbol : list of str
        What was traded; empty strings where the table has no such column.
    pending_at, closed_at : list of float
        Entry and exit, UTC milliseconds; 0.0 where the table holds no usable time.
    pnl : list of float
        Realised result of each trade in percent; NaN where missing.
    price_close, peak, trough : list of float
        Exit price (quote currency) and best and worst unrealised result in percent; NaN where missing.
    adds : list of float
        How many adds of the position filled; NaN where missing.
    largest_cost : list of float
        The most that was held of the position at its cost, where its first fill costs 1; NaN where missing.
    size : list of float
        The part of the equity that the position opened with; NaN where missing: all of it.
    in_points : bool
        Whether ``pnl`` is in points instead, as a position opened at or below zero, of which there is no percentage;
        then ``peak`` and ``trough`` are missing.
    has_points : bool
        Whether the table has points: its prices may be at or below zero.
    in_places : bool
        Whether trades are of several places, so that some may have been open at the same time.
    """

    symbol: list[str]
    pending_at: list[float]
    closed_at: list[float]
    pnl: list[float]
    price_close: list[float]
    peak: list[float]
    trough: list[float]
    adds: list[float]
    largest_cost: list[float]
    size: list[float]
    in_points: bool = False
    has_points: bool = False
    in_places: bool = False

    def __len__(self) -> int:
        return len(self.pnl)

    def take(self, rows: Sequence[int]) -> Ledger:
        """The given rows, in the given order."""
        return Ledger(
            symbol=[self.symbol[row] for row in rows],
            pending_at=[self.pending_at[row] for row in rows],
            closed_at=[self.closed_at[row] for row in rows],
            pnl=[self.pnl[row] for row in rows],
            price_close=[self.price_close[row] for row in rows],
            peak=[self.peak[row] for row in rows],
            trough=[self.trough[row] for row in rows],
            adds=[self.adds[row] for row in rows],
            largest_cost=[self.largest_cost[row] for row in rows],
            size=[self.size[row] for row in rows],
            in_points=self.in_points,
            has_points=self.has_points,
            in_places=self.in_places,
        )

    @property
    def closed_below_zero(self) -> bool:
        """Whether a price at or below zero at which a trade closed is one of the market: the table has points."""
        return self.has_points and any(price <= 0 for price in self.price_close)

    def with_points(self, points: list[float]) -> Ledger:
        """Itself, or its results in points where one of them has no percentage but points.

        Raises
        ------
        UsageError
            Another one has a percentage and no points: they do not go together.
        """
        each = [(isnan(pnl), isnan(known)) for pnl, known in zip(self.pnl, points, strict=True)]
        if (True, False) not in each:
            return self
        if count := each.count((False, True)):
            raise UsageError(
                f"{each.count((True, False)):,} of {len(each):,} trades were opened at or below zero, with results in "
                f"points alone, and {count:,} of {len(each):,} have percentages alone\n"
                "look at them apart, or run the latter over a source with negative=True: its trades have both"
            )
        unknown = [nan] * len(self)
        return replace(self, pnl=points, peak=unknown, trough=unknown, in_points=True)

    def with_result(self) -> Ledger:
        """The rows that have a numeric result."""
        rows = [row for row, pnl in enumerate(self.pnl) if not isnan(pnl)]
        return self if len(rows) == len(self) else self.take(rows)

    def with_result_and_times(self) -> Ledger:
        """The rows that have a numeric result, an entry time and an exit time."""
        columns = zip(self.pnl, self.pending_at, self.closed_at, strict=True)
        rows = [
            row
            for row, (pnl, pending_at, closed_at) in enumerate(columns)
            if not isnan(pnl) and pending_at > 0 and closed_at > 0
        ]
        return self if len(rows) == len(self) else self.take(rows)

    def by_close(self) -> Ledger:
        """The rows in order of exit; rows of one moment keep their order, rows without a time come first."""
        closed_at = self.closed_at
        rows = sorted(range(len(closed_at)), key=closed_at.__getitem__)
        return self.take(rows)

    def by_symbol(self) -> dict[str, Ledger]:
        """One ledger per symbol, symbols in order of first appearance."""
        rows: dict[str, list[int]] = {}
        for row, symbol in enumerate(self.symbol):
            rows.setdefault(symbol, []).append(row)
        return {symbol: self.take(own) for symbol, own in rows.items()}


def read_ledger(trades: object, *, symbols: bool = False) -> Ledger:
    """Closed trades from a DataFrame or a list of mappings.

    Parameters
    ----------
    trades : DataFrame or iterable of mappings
        Columns ``pending_at``, ``close_timestamp`` (or ``closed_at``) and ``pnl_percentage``; ``symbol``,
        ``price_close``, ``peak_percentage``, ``trough_percentage``, ``adds``, ``largest_cost``, ``size`` and ``points``
        may be absent, None or NaN. Where a row has points and no percentage, all results are points. Times
        are UTC milliseconds or datetimes (a naive datetime is UTC).
    symbols : bool, default False
        Whether ``symbol`` is required as well.

    Raises
    ------
    UsageError
        When it is not a table, a required column is missing, a whole column holds text, times look like seconds, or a
        trade closes before it opens.

    Examples
    --------
    >>> ledger = read_ledger([{"pending_at": 60_000, "closed_at": 120_000, "pnl_percentage": 1.5}])
    >>> ledger.closed_at, ledger.pnl, ledger.peak
    ([120000.0], [1.5], [nan])
    """
    frame = not isinstance(trades, Mapping) and hasattr(trades, "columns") and hasattr(trades, "__getitem__")
    columns = _frame_columns(trades, symbols=symbols) if frame else _row_columns(trades, symbols=symbols)
    count = len(columns["pnl_percentage"])
    names = _symbols(columns["symbol"]) if symbols else [""] * count
    optional = [_read(columns[name], name, _number) if name in columns else [nan] * count for name in _OPTIONAL]
    ledger = Ledger(
        symbol=names,
        pending_at=_times(columns["pending_at"], "pending_at"),
        closed_at=_times(columns["closed_at"], "closed_at"),
        pnl=_read(columns["pnl_percentage"], "pnl_percentage", _number),
        price_close=optional[0],
        peak=optional[1],
        trough=optional[2],
        adds=optional[3],
        largest_cost=optional[4],
        size=optional[5],
        in_places=in_places(columns.get("place", ())),
    )
    if "points" in columns:
        points = _read(columns["points"], "points", _number)
        ledger = replace(ledger.with_points(points), has_points=not all(map(isnan, points)))
    numbers = all(isinstance(next(iter(columns[name]), None), Real) for name in ("pending_at", "closed_at"))
    _check_times(ledger, numbers=numbers)
    return ledger


def in_places(column: Iterable[object]) -> bool:
    """Whether a column ``place`` of trades names any.

    Examples
    --------
    >>> in_places(["63000", "63250"]), in_places(["", None, float("nan")])
    (True, False)
    """
    return any(isinstance(each, str) and bool(each) for each in column)


def numbers_in(frame: Any, name: str) -> list[float]:
    """A column of a table of trades as floats, NaN for what is missing or no number.

    Raises
    ------
    UsageError
        The column holds text alone.

    Examples
    --------
    >>> import pandas as pd
    >>> numbers_in(pd.DataFrame({"adds": [0, None, 2]}), "adds")
    [0.0, nan, 2.0]
    """
    return _read(_values(frame[name]), name, _number)


def _check_times(ledger: Ledger, *, numbers: bool) -> None:
    known = [moment for moment in (*ledger.pending_at, *ledger.closed_at) if moment > 0]
    if numbers and known and _SECONDS[0] <= min(known) and max(known) < _SECONDS[1]:
        raise UsageError(
            f"times of closed trades must be UTC milliseconds or datetimes, got {min(known):.0f} to {max(known):.0f}\n"
            "these times look like seconds: multiply them by 1000"
        )
    columns = zip(ledger.pnl, ledger.pending_at, ledger.closed_at, strict=True)
    for row, (pnl, opened, closed) in enumerate(columns):
        if 0 < closed < opened and not isnan(pnl):
            raise UsageError(
                f"a closed trade cannot close before it opens; row {row} closes at {utc_text(int(closed))}, "
                f"opens at {utc_text(int(opened))}\n"
                "pending_at is the entry, close_timestamp or closed_at the exit"
            )


def _frame_columns(frame: Any, *, symbols: bool) -> dict[str, Any]:
    present = [str(name) for name in frame.columns]
    if not present and len(frame) == 0:
        return dict.fromkeys(("symbol", "pending_at", "closed_at", "pnl_percentage"), ())
    close = _check_names(present, symbols=symbols, where="")
    wanted = {"pending_at": "pending_at", "closed_at": close, "pnl_percentage": "pnl_percentage"}
    wanted |= {name: name for name in ("symbol", *_OPTIONAL, "points", "place") if name in present}
    for name in wanted.values():
        if present.count(name) > 1:
            raise UsageError(f"the table has {present.count(name)} columns called {name!r}; keep one of them")
    return {key: _values(frame[name]) for key, name in wanted.items()}


def _values(column: Any) -> NDArray[Any] | list[Any]:
    """One column as a numeric or datetime64 array, or else as a list of Python values."""
    if getattr(column.dtype, "kind", "O") == "M":
        # An aware column would otherwise come out as one Timestamp object per row.
        return np.asarray(column.to_numpy(dtype="datetime64[ns]"))
    values = np.asarray(column.to_numpy())
    return values if values.dtype.kind in "iufM" else values.tolist()


def _row_columns(trades: object, *, symbols: bool) -> dict[str, Any]:
    if isinstance(trades, str | bytes | Mapping) or not isinstance(trades, Iterable):
        raise UsageError(
            f"closed trades come as {_SHAPE}; got {type(trades).__name__}\n"
            "pass the .trades of a result; a single trade goes into a list: [trade]"
        )
    rows: list[Any] = list(trades)
    if not all(issubclass(kind, Mapping) for kind in set(map(type, rows))):
        at, row = next((at, row) for at, row in enumerate(rows) if not isinstance(row, Mapping))
        raise UsageError(f"closed trades come as {_SHAPE}; row {at} is {type(row).__name__}")
    try:
        columns: dict[str, Any] = {
            "pending_at": [row["pending_at"] for row in rows],
            "closed_at": [row["close_timestamp"] if "close_timestamp" in row else row["closed_at"] for row in rows],
            "pnl_percentage": [row["pnl_percentage"] for row in rows],
        }
        if symbols:
            columns["symbol"] = [row["symbol"] for row in rows]
    except KeyError:
        for at, row in enumerate(rows):
            _check_names([str(name) for name in row], symbols=symbols, where=f" in row {at}")
        raise
    if any("points" in row for row in rows):
        columns["points"] = [row.get("points") for row in rows]
    if any("place" in row for row in rows):
        columns["place"] = [row.get("place") for row in rows]
    return columns | {name: [row.get(name) for row in rows] for name in _OPTIONAL}


def _check_names(present: list[str], *, symbols: bool, where: str) -> str:
    """The name of the exit-time column; raises when a required column is missing."""
    close = next((name for name in _CLOSE_NAMES if name in present), None)
    required = ("symbol", "pending_at", "pnl_percentage") if symbols else ("pending_at", "pnl_percentage")
    missing = [name for name in required if name not in present]
    if close is None:
        missing.append("close_timestamp (or closed_at)")
    if close is None or missing:
        raise UsageError(
            f"closed trades lack {', '.join(missing)}{where}\n"
            f"present: {', '.join(present) or 'no columns'}\n"
            f"expected: {', '.join((*required, 'close_timestamp (or closed_at)'))}; "
            f"optional: {', '.join((*_OPTIONAL, 'points'))}"
        )
    return close


def _symbols(values: NDArray[Any] | Sequence[Any]) -> list[str]:
    names = list(values)
    for at, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise UsageError(f"every closed trade needs a symbol; row {at} has {name!r}")
    return names


def _times(values: NDArray[Any] | Sequence[Any], name: str) -> list[float]:
    """Moments in UTC milliseconds; 0.0 for whatever is not a time after the epoch."""
    return [moment if moment > 0 else 0.0 for moment in _read(values, name, _moment)]


def _read(values: NDArray[Any] | Sequence[Any], name: str, parse: Callable[[object], float]) -> list[float]:
    """A column as floats; NaN for missing, infinite and unreadable values."""
    if isinstance(values, np.ndarray):
        numbers = _moments(values) if values.dtype.kind == "M" else values.astype(np.float64)
        return _finite(numbers)
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        try:
            return _finite(np.array(values, dtype=np.float64))
        except OverflowError:  # an integer beyond the range of a float: read value by value
            pass
    read = [parse(value) for value in values]
    if str in kinds and all(isnan(number) for number in read):
        sample = next(value for value in values if isinstance(value, str))
        expected = "UTC milliseconds or datetimes" if parse is _moment else "numbers"
        raise UsageError(
            f"column {name} holds text ({sample[:40]!r}); expected {expected}\n"
            f"convert it first, e.g. with pandas.{'to_datetime' if parse is _moment else 'to_numeric'}"
        )
    return read


def _finite(numbers: NDArray[np.float64]) -> list[float]:
    finite: list[float] = np.where(np.isfinite(numbers), numbers, nan).tolist()
    return finite


def _moments(values: NDArray[Any]) -> NDArray[np.float64]:
    """UTC milliseconds of a datetime64 array, NaN for NaT."""
    micros = values.astype("datetime64[us]")
    return np.where(np.isnat(micros), nan, micros.astype(np.int64) / 1000.0)


def _number(value: object) -> float:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
        return nan
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return nan
    return number if isfinite(number) else nan


def _moment(value: object) -> float:
    if isinstance(value, datetime):
        if value != value:  # NaT: a datetime that equals nothing
            return nan
        seconds = (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
        # A float of seconds is off by up to 0.12 us; whole microseconds are what a datetime holds.
        return round(seconds * 1e6) / 1e3
    if isinstance(value, np.datetime64):
        return float(_moments(np.array([value]))[0])
    return _number(value)
