"""Vectorised strategies: ``get_signals(candles)`` answers for all candles at once, one row per candle.

A row belongs to its candle and is acted on when that candle has closed: row ``[t, t + interval)`` at ``t + interval``.
It may depend on its own candle and the ``lookback - 1`` before it. Live asks with exactly these candles and takes the
last row; a backtest asks once over everything and looks rows up. That both are the same is a property of the user's
function, so a backtest compares a sample of rows and says where they differ.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import interval_ms
from ..domain.tick_grid import NEARLY, round_down, round_up
from ..errors import BknbError, NotEnoughData, StrategyError, UsageError
from ..user_code import where_it_failed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles import Candles
    from ..market.series import Series
    from ..market.sessions import Sessions
    from ..market.strategy_context import Context
    from .registry import Strategy

DEFAULT_LOOKBACK: Final = 500
"""Candles a row may depend on, by default."""

INVALID: Final = 2
"""The code of a position that is none of 1, 0, -1 and NaN."""

_REQUIRED: Final = ("position", "price_take_profit", "price_stop_loss", "minute_estimated_time")
_PRICE_COLUMNS: Final = (*_REQUIRED, "price_open")
_COLUMNS: Final = (*_PRICE_COLUMNS, "stop_entry")
_SHAPE: Final = "get_signals returns a DataFrame or a mapping of arrays, one row per candle"
_SIDES: Final = {1: "long", -1: "short", INVALID: "neither 1, 0 nor -1"}
_EXACT: Final = 2**53  # whole numbers up to here are floats
_SAMPLES: Final = 12  # rows that a backtest compares with what live would have seen
_SAME: Final = 1e-6  # prices nearer than this, relatively, are the same: recursive averages depend on their start


@dataclass(frozen=True, slots=True)
class SignalRows:
    """The answer of ``get_signals``, one row per candle.

    Attributes
    ----------
    position : ndarray of int8, shape (n,)
        1 long, -1 short, 0 nothing; 2 stands for anything else, which is no signal but a rejected one.
    price_take_profit, price_stop_loss : ndarray of float64, shape (n,)
        Exit levels, in quote currency.
    minutes : ndarray of float64, shape (n,)
        ``minute_estimated_time``.
    price_open : ndarray of float64, shape (n,)
        The limit or stop entry, NaN where the signal opens at the market.
    stop_entry : ndarray of bool, shape (n,)
        Whether ``price_open`` is a stop entry.
    """

    position: NDArray[np.int8]
    price_take_profit: NDArray[np.float64]
    price_stop_loss: NDArray[np.float64]
    minutes: NDArray[np.float64]
    price_open: NDArray[np.float64]
    stop_entry: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.position)

    def answer(self, row: int) -> dict[str, Any] | None:
        """One row as ``get_signal`` would have answered it; ``None`` where it wants nothing."""
        code = int(self.position[row])
        if code == 0:
            return None
        limit = float(self.price_open[row])
        return {
            "position": _SIDES[code],
            "price_take_profit": float(self.price_take_profit[row]),
            "price_stop_loss": float(self.price_stop_loss[row]),
            "minute_estimated_time": float(self.minutes[row]),
            "price_open": None if math.isnan(limit) else limit,
            "entry": "stop" if self.stop_entry[row] else "limit",
        }

    def on_grid(self, tick: float | None) -> SignalRows:
        """The same rows with their levels on the tick grid, as ``domain.tick_grid.on_grid`` puts them."""
        if tick is None:
            return self
        long, short = self.position == 1, self.position == -1
        wanted = long | short
        return replace(
            self,
            price_take_profit=_rounded(self.price_take_profit, tick, wanted=wanted, up=long),
            price_stop_loss=_rounded(self.price_stop_loss, tick, wanted=wanted, up=short),
            price_open=_rounded(self.price_open, tick, wanted=wanted, up=long == self.stop_entry),
        )


def _rounded(
    levels: NDArray[np.float64], tick: float, *, wanted: NDArray[np.bool_], up: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The wanted levels on the grid, each to the last bit what ``round_up`` or ``round_down`` makes of it."""
    unit, scale = Decimal(repr(float(tick))).as_integer_ratio()
    result = levels.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        ticks = levels / tick
        at = np.flatnonzero(wanted & (levels > 0) & np.isfinite(ticks))
        ticks = ticks[at]
        nearest = np.rint(ticks)
        stays = np.abs(ticks - nearest) <= NEARLY
        exact = np.zeros(len(at), dtype=np.bool_)
        if max(unit, scale) < _EXACT:  # the quotient of two whole numbers that floats hold exactly is the nearest float
            exact = np.ceil(ticks) * unit < _EXACT
            stays |= nearest * unit / scale == levels[at]
        ticks = np.where(stays, nearest, np.where(up[at], np.ceil(ticks), np.floor(ticks)))
    result[at[exact]] = ticks[exact] * unit / scale
    for i in at[~exact]:
        result[i] = (round_up if up[i] else round_down)(float(levels[i]), tick)
    return result


def is_vectorised(function: Callable[..., Any]) -> bool:
    """Whether a function is a ``get_signals``: its first parameter is called ``candles``.

    Examples
    --------
    >>> is_vectorised(lambda candles, fast=10: None), is_vectorised(lambda ctx: None)
    (True, False)
    """
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return False
    return bool(parameters) and parameters[0] == "candles"


def read_rows(answer: object, count: int, name: str) -> SignalRows:
    """What ``get_signals`` returned for ``count`` candles, as columns.

    Columns besides the known ones are left alone, so that a DataFrame may carry its indicators; a scalar holds for
    all rows.

    Raises
    ------
    UsageError
        When it is no table, a column is missing or misspelt, or a length is wrong.

    Examples
    --------
    >>> rows = read_rows({"position": [0, 1], "price_take_profit": 110.0, "price_stop_loss": [90.0, 95.0],
    ...                   "minute_estimated_time": 60}, 2, "demo")
    >>> rows.answer(0), rows.answer(1)["price_stop_loss"]
    (None, 95.0)
    """
    is_frame = hasattr(answer, "columns") and hasattr(answer, "__getitem__")
    if not is_frame and not isinstance(answer, Mapping):
        raise UsageError(f"strategy {name!r}: {_SHAPE}\ngot {type(answer).__name__}: {answer!r:.80}")
    table: Any = answer
    present = [str(column) for column in (table.columns if is_frame else table)]
    missing = [column for column in _REQUIRED if column not in present]
    if missing:
        raise UsageError(
            f"strategy {name!r}: get_signals must return the columns {', '.join(_COLUMNS)}; the last two are optional\n"
            f"missing: {', '.join(missing)}; got: {', '.join(present) or 'none'}"
        )
    for optional in ("price_open", "stop_entry") if len(present) > len(_REQUIRED) else ():
        near = [] if optional in present else get_close_matches(optional, present, n=1, cutoff=0.8)
        if near:
            raise UsageError(
                f"strategy {name!r}: get_signals returned a column {near[0]!r}; did you mean {optional!r}?"
            )
    numeric = _PRICE_COLUMNS[1:]
    columns = {column: _numbers(table[column], count, column, name) for column in numeric if column in present}
    return SignalRows(
        position=_positions(table["position"], count, name),
        price_take_profit=columns["price_take_profit"],
        price_stop_loss=columns["price_stop_loss"],
        minutes=columns["minute_estimated_time"],
        price_open=columns["price_open"] if "price_open" in columns else _constant(math.nan, count),
        stop_entry=_flags(table["stop_entry"], count, name) if "stop_entry" in present else _no_flags(count),
    )


@lru_cache(maxsize=8)
def _constant(value: float, count: int) -> NDArray[np.float64]:
    """One value for all rows; made once, since the combinations of a sweep ask for the same."""
    column = np.full(count, value)
    column.setflags(write=False)
    return column


def _numbers(column: Any, count: int, what: str, name: str) -> NDArray[np.float64]:
    try:
        if hasattr(column, "to_numpy"):
            values = np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"strategy {name!r}: the column {what} of get_signals must hold numbers\n{error}") from None
    if values.ndim == 0:
        return _constant(float(values), count)
    if values.shape != (count,):
        got = " x ".join(map(str, values.shape))
        raise UsageError(
            f"strategy {name!r}: get_signals must return one row per candle, {count} rows; {what} has {got}\n"
            "keep every row (no dropna): where nothing is to be done the position is 0"
        )
    return values


@lru_cache(maxsize=8)
def _no_flags(count: int) -> NDArray[np.bool_]:
    column = np.zeros(count, dtype=np.bool_)
    column.setflags(write=False)
    return column


def _flags(column: Any, count: int, name: str) -> NDArray[np.bool_]:
    """The column ``stop_entry``; what is missing is false."""
    values = np.nan_to_num(_numbers(column, count, "stop_entry", name), nan=0.0)
    flags: NDArray[np.bool_] = values == 1
    if (odd := np.flatnonzero(~flags & (values != 0))).size:
        raise UsageError(
            f"strategy {name!r}: the column stop_entry of get_signals must hold True or False, got {values[odd[0]]:g}\n"
            "True: price_open is the price at which the market has to come first; False: it is a limit"
        )
    return flags


def _positions(column: Any, count: int, name: str) -> NDArray[np.int8]:
    given = np.asarray(column)
    if given.dtype in (np.int8, np.bool_) and given.shape == (count,):  # as it should be: no way through floats
        small: NDArray[np.int8] = given.astype(np.int8)
        small[(small > 1) | (small < -1)] = INVALID
        return small
    values = _numbers(column, count, "position", name)
    with np.errstate(invalid="ignore"):
        codes = values.astype(np.int8)
    odd = codes != values
    odd |= np.abs(codes) > 1
    if odd.any():
        codes[odd] = INVALID
        codes[np.isnan(values)] = 0
    return codes


def signal_rows(strategy: Strategy, candles: Candles, params: Mapping[str, Any] | None = None) -> SignalRows:
    """The rows of a vectorised strategy over these candles; row ``i`` belongs to candle ``i``.

    ``params`` go over the strategy's own.

    Raises
    ------
    UsageError
        When the answer is no table of one row per candle.
    StrategyError
        When the function itself raises.
    """
    assert strategy.get_signals is not None  # the caller looked  # noqa: S101
    try:
        answer = strategy.get_signals(candles, **{**strategy.params, **(params or {})})
    except BknbError:
        raise
    except Exception as error:
        where = where_it_failed(error)
        raise StrategyError(
            f"get_signals of {strategy.name!r} failed{f' at {where}' if where else ''}\n{type(error).__name__}: {error}"
        ) from error
    return read_rows(answer, len(candles), strategy.name)


def windowed(
    get_signals: Callable[..., Any], *, name: str, interval: str, lookback: int, params: Mapping[str, Any]
) -> Callable[[Context], dict[str, Any] | None]:
    """A ``get_signal`` that asks ``get_signals`` about the newest ``lookback`` candles and takes the last row."""

    def get_signal(ctx: Context) -> dict[str, Any] | None:
        candles = _newest(ctx, interval, lookback)
        return read_rows(get_signals(candles, **params), len(candles), name).answer(-1)

    return get_signal


def _newest(ctx: Context, interval: str, lookback: int) -> Candles:
    try:
        return ctx.candles(interval, lookback)
    except NotEnoughData as error:
        if not error.available:
            raise
        return ctx.candles(interval, error.available)  # near the beginning of the data a row sees what there is


class LookedUp:
    """Rows computed once, answered by moment as a windowed ``get_signal`` would.

    Parameters
    ----------
    rows
        One per candle of the series.
    series
        The candles of the strategy's interval.
    """

    def __init__(self, rows: SignalRows, series: Series) -> None:
        self._rows = rows
        self._series = series
        self._active = rows.position != 0

    def __call__(self, ctx: Context) -> dict[str, Any] | None:
        """The row of the newest candle that has closed at the moment of the question."""
        last = self._series.closed(ctx.when_ms)
        count = len(self._rows)
        if last <= 0 or last > count:
            where = "has not begun" if last <= 0 else "has ended"
            raise NotEnoughData(f"the data {where} at {utc_text(ctx.when_ms)}: no candle closes then")
        return self._rows.answer(last - 1) if self._active[last - 1] else None


def unsteady_rows(strategy: Strategy, rows: SignalRows, candles: Candles, first: int) -> str | None:
    """Whether some rows change when they are computed on their own ``lookback`` candles only, and what that means.

    Compares a few rows from ``first`` on: the first, the last and some in between that want a position.
    """
    where = _sampled(rows, first)
    differing: list[tuple[int, str]] = []
    for row in where:
        begin = max(0, row + 1 - strategy.lookback)
        try:
            how = _difference(rows, row, signal_rows(strategy, candles[begin : row + 1].copy()))
        except BknbError as error:
            how = f"{error.lines()[-1]}, with {row + 1 - begin} candles"
        if how is not None:
            differing.append((row, how))
    if not differing:
        return None
    row, how = differing[0]
    moment = utc_text(int(candles.timestamp[row]))
    return (
        f"{len(differing)} of {len(where)} sampled rows of {strategy.name!r} change when only the "
        f"{strategy.lookback} candles up to them are known, the first at {moment} ({how}): get_signals looks ahead, or "
        f"needs a longer lookback; live would not trade as this backtest did"
    )


def _sampled(rows: SignalRows, first: int) -> list[int]:
    count = len(rows)
    if count <= first:
        return []
    wanting = np.flatnonzero(rows.position[first:]) + first
    picks: Any = wanting[np.linspace(0, len(wanting) - 1, _SAMPLES - 4).astype(np.int64)] if len(wanting) else []
    even = np.linspace(first, count - 1, 4).astype(np.int64)
    return sorted({*map(int, picks), *map(int, even)})


def _difference(rows: SignalRows, row: int, alone: SignalRows) -> str | None:
    here, there = int(rows.position[row]), int(alone.position[-1])
    if here != there:
        return f"position {here} against {there}"
    if here == 0:
        return None
    if bool(rows.stop_entry[row]) != bool(alone.stop_entry[-1]):
        return "stop_entry differs"
    for column in ("price_take_profit", "price_stop_loss", "minutes", "price_open"):
        one, other = float(getattr(rows, column)[row]), float(getattr(alone, column)[-1])
        if not (math.isclose(one, other, rel_tol=_SAME) or (math.isnan(one) and math.isnan(other))):
            return f"{column} {one:.8g} against {other:.8g}"
    return None


def rows_begin(strategy: Strategy, start: int, sessions: Sessions | None = None) -> int:
    """The open time of the first candle that the rows of a run starting at ``start`` may depend on, UTC ms."""
    step = interval_ms(strategy.interval)
    if sessions is not None:
        return sessions.reach_back(start, step, strategy.lookback)
    return start - start % step - strategy.lookback * step


def first_row(candles: Candles, start: int, interval: str) -> int:
    """The row that is known at ``start``, the first moment of a run."""
    return max(0, int(np.searchsorted(candles.timestamp, start - interval_ms(interval), side="right")) - 1)
