"""The answer of ``get_signals`` as rows: columns of a user's table, checked, one row per candle."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ..domain.signal_events import Reason
from ..domain.tick_grid import NEARLY, round_down, round_up, tick_ratio
from ..errors import UsageError
from .column_values import EITHER_SIDE, check_index, constant, flags, no_flags, numbers, positions
from .get_signals_contradictions import contradicted, why_no_signal
from .get_signals_deadline_columns import TIMED_COLUMNS, RowDeadlines, read_deadlines
from .get_signals_entry_columns import ENTRY_COLUMNS, RowEntries, read_entries, sorted_parts, with_entries
from .get_signals_exit_columns import EXIT_COLUMNS, RowExits, read_exits, refused_column, sorted_ladders
from .get_signals_percent_columns import PERCENT_COLUMNS, RowPercents, read_percents

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WEIGHT: Final = "weight"
_REQUIRED: Final = ("position", "price_take_profit", "price_stop_loss", "minute_estimated_time")
_COLUMNS: Final = (*_REQUIRED, "price_open", "stop_entry", *PERCENT_COLUMNS, *TIMED_COLUMNS, *ENTRY_COLUMNS)
_KNOWN: Final = frozenset((*_COLUMNS, *EXIT_COLUMNS))
_SHAPE: Final = "get_signals returns a DataFrame or a mapping of arrays, one row per candle"
_STOP_ENTRY: Final = "True: price_open is the price at which the market has to come first; False: it is a limit"
_SIDES: Final = {1: "long", -1: "short"}
_WITHOUT_INDEX: Final = (np.ndarray, int, float)  # types of columns that are taken by place alone
_EXACT: Final = 2**53  # whole numbers up to here are floats


RowAnswer: TypeAlias = dict[str, Any] | list[dict[str, Any]] | Reason | float | None
"""A row as ``get_signal`` would have answered it."""


@dataclass(frozen=True, slots=True)
class SignalRows:
    """The answer of ``get_signals``, one row per candle.

    Attributes
    ----------
    position : ndarray of int8, shape (n,)
        1 long, -1 short, 0 nothing, ``EITHER_SIDE`` both, which compete; anything else is no signal but a rejected
        one: 2 for what is none of these, higher numbers for a row that contradicts itself.
    price_take_profit, price_stop_loss : ndarray of float64, shape (n,)
        Exit levels, in quote currency; NaN: none.
    minutes : ndarray of float64, shape (n,)
        ``minute_estimated_time``; NaN: no deadline.
    price_open : ndarray of float64, shape (n,)
        The limit or stop entry, NaN where the signal opens at the market.
    stop_entry : ndarray of bool, shape (n,)
        Whether ``price_open`` is a stop entry.
    exits
        What rows declare besides, and where they leave; ``None`` where no column does.
    timed
        The deadlines of ``until`` and ``bars``; ``None`` where there is no such column.
    percents
        Levels in percent, and sizes; ``None`` where there is no such column.
    entries
        Entries beside one; ``None`` where there is no such column.
    weight : ndarray of float64, shape (n,), or None
        What is to be held, as a part of the equity, in place of all others; NaN leaves what there is. ``None``: rows
        are signals.
    """

    position: NDArray[np.int8]
    price_take_profit: NDArray[np.float64]
    price_stop_loss: NDArray[np.float64]
    minutes: NDArray[np.float64]
    price_open: NDArray[np.float64]
    stop_entry: NDArray[np.bool_]
    exits: RowExits | None = None
    timed: RowDeadlines | None = None
    weight: NDArray[np.float64] | None = None
    percents: RowPercents | None = None
    entries: RowEntries | None = None

    def __len__(self) -> int:
        return len(self.position)

    @property
    def has_orders(self) -> bool:
        """Whether rows have columns of several entries, of levels in percent, or of sizes."""
        return self.percents is not None or self.entries is not None

    def answer(self, row: int) -> RowAnswer:
        """One row as ``get_signal`` would have answered it; ``None`` where it wants nothing.

        A row that is no signal answers with the reason, and what else it holds. A weight is a number.
        """
        if self.weight is not None:
            return _weight(float(self.weight[row]))
        code = int(self.position[row])
        if code == 0:
            return None
        if code not in _SIDES and code != EITHER_SIDE:
            return Reason("position", f"{why_no_signal(code, self.entries, row)}; the row has {self._columns(row)}")
        answer: dict[str, Any] = {
            "position": _SIDES.get(code),
            "price_take_profit": _number(self.price_take_profit[row]),
            "price_stop_loss": _number(self.price_stop_loss[row]),
            "minute_estimated_time": _number(self.minutes[row]),
            "price_open": _number(self.price_open[row]),
            "entry": "stop" if self.stop_entry[row] else "limit",
        }
        if self.timed is not None:
            answer |= self.timed.declared(row)
        if self.percents is not None:
            answer |= self.percents.declared(row)
        if self.exits is not None:
            if ladder := self.exits.ladder(row):
                answer["price_take_profit"] = ladder
            answer |= self.exits.declared(row)
        if self.entries is None:
            return answer
        if parts := self.entries.ladder(row):
            answer["price_open"] = parts
        return self.entries.competing(row, answer) if code == EITHER_SIDE else answer

    def _columns(self, row: int) -> str:
        """What a row holds besides its position, by column; what is missing is left out."""
        numbers = {
            "minute_estimated_time" if name == "minutes" else name: each for name, each in self.numbers().items()
        }
        found = [f"{name}={float(each[row])}" for name, each in numbers.items() if not math.isnan(each[row])]
        return ", ".join(found) or "no other number"

    @property
    def acts(self) -> NDArray[np.bool_]:
        """Whether a row wants a position, or to leave one, or is a weight; shape (n,)."""
        if self.weight is not None:
            return ~np.isnan(self.weight)
        wanted: NDArray[np.bool_] = self.position != 0
        if self.exits is not None and self.exits.leaves:
            wanted |= self.exits.leave_long | self.exits.leave_short
        return wanted

    def leaving(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows leave a long, and which a short; shape (n,) each."""
        if self.exits is None:
            return no_flags(len(self)), no_flags(len(self))
        return self.exits.leave_long, self.exits.leave_short

    def numbers(self) -> dict[str, NDArray[np.float64]]:
        """The columns of what a row declares, by name, for comparisons."""
        if self.weight is not None:
            return {"weight": self.weight}
        columns = {
            name: getattr(self, name) for name in ("price_take_profit", "price_stop_loss", "minutes", "price_open")
        }
        if self.timed is not None:
            columns |= self.timed.columns()
        if self.percents is not None:
            columns |= self.percents.columns()
        if self.entries is not None:
            columns |= self.entries.by_column
        return columns if self.exits is None else columns | self.exits.columns()

    def on_grid(self, tick: float | None) -> SignalRows:
        """The same rows with their levels on the tick grid, as ``domain.tick_grid.on_grid`` puts them."""
        if tick is None or self.weight is not None:
            return self
        long, short = self.position == 1, self.position == -1
        wanted = long | short
        return replace(
            self,
            price_take_profit=_rounded(self.price_take_profit, tick, wanted=wanted, up=long),
            price_stop_loss=_rounded(self.price_stop_loss, tick, wanted=wanted, up=short),
            price_open=_rounded(self.price_open, tick, wanted=wanted, up=long == self.stop_entry),
            exits=None if self.exits is None else self._exits_on_grid(self.exits, tick, wanted=wanted, up=long),
            entries=None if self.entries is None else self._entries_on_grid(self.entries, tick, wanted=wanted, up=long),
        )

    @staticmethod
    def _exits_on_grid(exits: RowExits, tick: float, *, wanted: NDArray[np.bool_], up: NDArray[np.bool_]) -> RowExits:
        targets = tuple(_rounded(column, tick, wanted=wanted, up=up) for column in exits.targets)
        return replace(exits, targets=targets)

    def _entries_on_grid(
        self, entries: RowEntries, tick: float, *, wanted: NDArray[np.bool_], up: NDArray[np.bool_]
    ) -> RowEntries:
        either, never, columns = self.position == EITHER_SIDE, no_flags(len(self)), dict(entries.by_column)
        for side, above, below in (("long", either, never), ("short", never, either)):
            ups = {
                "price_open": self.stop_entry == (side == "long"),
                "price_take_profit": above,
                "price_stop_loss": below,
            }
            for level, column in entries.levels(side).items():
                columns[f"{level}_{side}"] = _rounded(column, tick, wanted=either, up=ups[level])
        for part, column in entries.parts.items():
            columns[part] = _rounded(column, tick, wanted=wanted, up=up == self.stop_entry)
        return replace(entries, by_column=columns)


def _weight(value: float) -> float | Reason | None:
    """A cell of weights; ``None`` where it is missing."""
    if math.isinf(value):
        text = "weight in a row of get_signals must be a finite number such as 0.5, -1 or 0, or NaN, which leaves"
        return Reason("weight", f"{text} everything as it is; got {value}: look for a division by 0")
    return None if math.isnan(value) else value


def _number(value: np.floating[Any]) -> float | None:
    """A cell; ``None`` where it is missing."""
    number = float(value)
    return None if math.isnan(number) else number


def _rounded(
    levels: NDArray[np.float64], tick: float, *, wanted: NDArray[np.bool_], up: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The wanted levels on the grid, each to the last bit what ``round_up`` or ``round_down`` makes of it."""
    unit, scale = tick_ratio(tick)
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


def read_rows(
    answer: object, count: int, name: str, *, times: NDArray[np.int64] | None = None, weights: bool = False
) -> SignalRows:
    """What ``get_signals`` returned for ``count`` candles, as columns.

    Columns besides the known ones are left alone, so that a DataFrame may carry its indicators, unless their names are
    nearly those of known ones, or of what only ``manage`` can do. A scalar holds for all rows. A row that contradicts
    itself is rejected when it is asked. An index is compared with ``times``, the open times of the candles (UTC ms).
    With ``weights`` the column is ``weight`` alone.

    Raises
    ------
    UsageError
        When it is no table, a column is missing or misspelt, a length is wrong, or rows are of other candles.

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
    if weights or _WEIGHT in present:
        return _weights_of(table, present, count, name, times=times, weights=weights)
    instead = {
        "position": ("price_open_long",),
        "price_take_profit": ("target_1", "target_percent", "price_take_profit_long", "price_open_long"),
        "price_stop_loss": ("stop_percent", "price_open_long"),
    }
    missing = [
        column
        for column in _REQUIRED
        if column not in present and not any(other in present for other in instead.get(column, ()))
    ]
    if missing:
        raise UsageError(
            f"strategy {name!r}: get_signals must return the columns {', '.join(_REQUIRED)}, with NaN where there is "
            f"no target, no stop or no deadline\n"
            f"missing: {', '.join(missing)}; got: {', '.join(present) or 'none'}; optional: price_open, "
            f"stop_entry, {', '.join((*PERCENT_COLUMNS, *TIMED_COLUMNS, *EXIT_COLUMNS, *ENTRY_COLUMNS))}"
            + ("\nside is called position here" if "side" in present else "")
        )
    if len(present) > len(_REQUIRED) and (why := refused_column(tuple(present), _KNOWN)) is not None:
        raise UsageError(f"strategy {name!r}: {why}")
    if times is not None:
        _check_indices(table, _KNOWN.intersection(present), times, name)
    columns = {
        column: numbers(table[column], count, column, name) if column in present else constant(math.nan, count)
        for column in (*_REQUIRED[1:], "price_open")
    }
    position = positions(table["position"], count, name) if "position" in present else no_flags(count).view(np.int8)
    exits = read_exits(table, present, count, name)
    if exits is not None:
        rows = np.flatnonzero(position)
        if "target_1" in present:
            exits = sorted_ladders(exits, position, rows)
        position = contradicted(position, exits, columns["price_take_profit"], rows)
    entries = read_entries(table, present, count, name)
    if entries is not None:
        position, levels = with_entries(position, entries, columns, exits)
        columns |= levels
    stop_entry = (
        flags(table["stop_entry"], count, "stop_entry", name, meaning=_STOP_ENTRY)
        if "stop_entry" in present
        else no_flags(count)
    )
    if entries is not None:
        entries = sorted_parts(entries, position, stop_entry)
    return SignalRows(
        position=position,
        price_take_profit=columns["price_take_profit"],
        price_stop_loss=columns["price_stop_loss"],
        minutes=columns["minute_estimated_time"],
        price_open=columns["price_open"],
        stop_entry=stop_entry,
        exits=exits,
        timed=read_deadlines(table, present, count, name),
        percents=read_percents(table, present, count, name),
        entries=entries,
    )


def _check_indices(table: Any, columns: Iterable[str], times: NDArray[np.int64], name: str) -> None:
    """See that the rows of a table, or of each column of a mapping, are those of the candles."""
    if hasattr(table, "columns"):
        check_index(table, times, "the table of get_signals", name)
        return
    for column in columns:
        if type(table[column]) not in _WITHOUT_INDEX:
            check_index(table[column], times, f"the column {column} of get_signals", name)


def _weights_of(
    table: Any, present: Sequence[str], count: int, name: str, *, times: NDArray[np.int64] | None, weights: bool
) -> SignalRows:
    """The rows of a table of weights.

    Raises
    ------
    UsageError
        When there is no weight, when a row would be a signal as well, or where the strategy has no tolerance.
    """
    beside = [column for column in (*_COLUMNS, *EXIT_COLUMNS) if column in present]
    if _WEIGHT not in present:
        raise UsageError(
            f"strategy {name!r} has a tolerance, so its get_signals must return the column weight, what is to be held "
            f"as a part of the equity\ngot: {', '.join(present) or 'none'}; leave tolerance out where rows are signals"
        )
    if beside:
        raise UsageError(
            f"strategy {name!r}: get_signals returned weight and {' and '.join(beside[:3])}: a weight says what is to "
            "be held, the other columns what is to be done\nreturn one of both; give an indicator another name"
        )
    if not weights:
        raise UsageError(
            f"strategy {name!r}: get_signals returned weight, and the strategy has no tolerance\n"
            "give tolerance=0, or the percent of the equity up to which what is held is left as it is"
        )
    if times is not None:
        _check_indices(table, [_WEIGHT], times, name)
    none, no = constant(math.nan, count), no_flags(count)
    return SignalRows(
        no.view(np.int8), none, none, none, none, no, weight=numbers(table[_WEIGHT], count, _WEIGHT, name)
    )
