"""Copies of data in which what came after a moment is different.

Data in a strategy's variables, and what files and functions hand out while it is asked, is recognised in two ways: by
its own moments (:mod:`bknb.research.timed_data`), and by its numbers, where a row of them are prices of the market
(:mod:`bknb.research.market_values`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..market.candles import Candles
from .candles_changed_after_moment import moved
from .market_values import LEAST_PRICES, MarketValues
from .rows_swapped_in_strategy_data import exchanged
from .timed_data import Timed, timed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

_DEEPEST: Final = 4
_MOST_PARTS: Final = 2_000
_MOST_BYTES: Final = 50_000_000
_FARTHEST: Final = 1_000_000  # minutes of another future that are made; after them prices stay where they are
NUMBER: Final = re.compile(r"(?<![\w.])-?\d+\.\d+(?:[eE][+-]?\d+)?(?![\w.])")
NUMBER_BYTES: Final = re.compile(rb"(?<![\w.])-?\d+\.\d+(?:[eE][+-]?\d+)?(?![\w.])")


@dataclass(frozen=True, slots=True)
class OtherFuture:
    """Another course of the market after a moment.

    Attributes
    ----------
    when : int
        UTC ms; whatever was known then stays.
    market : MarketValues
    jump : float
        The logarithm of (other price / price) right after the moment.
    everything : bool
        Whether single numbers are prices as well: what the same read handed out at other moments were.
    exchange : bool
        Whether rows with moments, other than prices, hold afterwards what stands in other rows: a fifth more or less
        changes no sign, no text and no category.
    """

    when: int
    market: MarketValues
    jump: float
    everything: bool = False
    exchange: bool = False
    exchanges: list[Any] = field(default_factory=list)
    """What was exchanged so far."""

    def factors(self, known: NDArray[np.int64]) -> Floats:
        """(other price / price) of what became known at these moments; 1 up to the moment itself."""
        after = np.minimum(np.maximum(known - self.when, 0) // self.market.step, _FARTHEST)
        length = int(after.max()) + 1 if len(after) else 1
        rng = np.random.default_rng([self.when // MINUTE_MS, int(self.jump > 0)])
        path = self.jump + np.cumsum(rng.normal(0.0, min(0.004, 0.3 / np.sqrt(length)), size=length))
        return np.where(known > self.when, np.exp(path[after]), 1.0)

    def of(self, value: Any) -> Any:
        """A copy of ``value`` with another future; ``value`` itself where it holds none that can be recognised."""
        return self._of(value, _DEEPEST)

    # --- by kind ------------------------------------------------------------------------------------------------

    def _of(self, value: Any, depth: int) -> Any:
        if self.exchange and not isinstance(value, (str, bytes, Candles)):
            other = exchanged(value, self.when, self.known, self.market, seed=int(self.jump > 0))
            if other is not value:
                self.exchanges.append(other)
                return other
        if isinstance(value, partial):
            parts = [self._of(item, depth - 1) for item in value.args] if depth > 0 else value.args
            return partial(value.func, *parts, **value.keywords) if _differ(parts, value.args) else value
        return self._by_kind(value, depth)

    def _by_kind(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (bytes, bytearray)):
            return self._bytes(bytes(value)) if len(value) <= _MOST_BYTES else value
        if isinstance(value, float) and self.everything:
            changed = self._numbers(np.array([value]), None)
            return value if changed is None else float(changed[0])
        if isinstance(value, (bool, int, float, complex, type(None), type)):
            return value
        if isinstance(value, Candles):
            return self._candles(value)
        if hasattr(value, "iloc") and hasattr(value, "index"):
            return self._pandas(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, (list, tuple)):
            return self._sequence(value, depth)
        if isinstance(value, Set):
            return self._set(value)
        return value

    def _numbers(self, numbers: Floats, times: NDArray[np.int64] | None) -> Floats | None:
        """The numbers with another future; ``None`` when none of them changes. ``times``: when each is known."""
        known = self.market.known_at(numbers) if self.everything else self.market.copied_at(numbers)
        if times is not None:
            known = np.maximum(known, times)
        late = (known > self.when) & np.isfinite(numbers)
        if not late.any():
            return None
        changed = moved(numbers, self.factors(known), self.market.size)
        nothing = late & (numbers == 0)
        changed[nothing] = np.sign(self.jump)  # a zero stays a zero whatever it is multiplied with
        return changed

    def _candles(self, value: Candles) -> Candles:
        times = value.timestamp
        step = int(np.median(np.diff(times))) if len(times) > 1 else MINUTE_MS
        factors = self.factors(self.market.closes_of(times, step))
        if not (factors != 1.0).any():
            return value
        block = value.block.copy()
        block[1:5] = moved(block[1:5], factors, self.market.size)
        late = np.flatnonzero(factors != 1.0)
        rng = np.random.default_rng([self.when // MINUTE_MS, int(self.jump > 0)])
        block[5, late] *= np.exp(rng.normal(self.jump, 0.7, size=len(late)))
        block.setflags(write=False)
        return Candles(block)

    def _column(self, values: Any, times: NDArray[np.int64] | None) -> Any:
        array = np.asarray(values)
        if array.dtype.kind == "b" and times is not None and (times > self.when).any():
            return np.where(times > self.when, ~array, array)
        if array.dtype.kind in "iu" and times is not None and (times > self.when).any():
            return np.where(times > self.when, np.where(array == 0, 1, -array.astype(np.int64)), array)
        if array.dtype.kind != "f":
            return None
        return self._numbers(array.astype(np.float64), times)

    def _pandas(self, value: Any) -> Any:
        if hasattr(value, "columns"):
            data = timed(value)
            times = None if data is None else self.known(value, data)
            own = {} if data is None else {name for name in value.columns if _is_moment(value[name], data.opens_at)}
            new = {
                at: changed
                for at, name in enumerate(value.columns)
                if name not in own and (changed := self._column(_plain(value.iloc[:, at]), times)) is not None
            }
            if not new:
                return value
            copy = value.copy()
            for at, column in new.items():
                copy.isetitem(at, column)
            return copy
        data = timed(value)
        times = None if data is None else self.known(value, data)
        changed = self._column(_plain(value), times)
        return value if changed is None else value.__class__(changed, index=value.index, name=value.name)

    def known(self, value: Any, data: Timed) -> NDArray[np.int64]:
        """When rows are known: the prices of a table tell whether a row is labelled by its begin or its end."""
        known, opens = data.known_at, data.opens_at
        if not hasattr(value, "iloc"):
            return known
        names = {str(name).lower(): name for name in getattr(value, "columns", ())}
        numbers = _plain(value[names["close"]] if "close" in names else value)
        numbers = np.asarray(numbers)
        if numbers.ndim != 1 or numbers.dtype.kind != "f":
            return known
        copied = self.market.copied_at(numbers.astype(np.float64))
        lags = (copied - opens)[copied > 0]
        if not len(lags):
            return known
        lag = int(np.median(lags))
        return opens + lag if (lags == lag).mean() > 0.5 and lag >= 0 else known

    def _array(self, value: NDArray[Any]) -> NDArray[Any]:
        if value.dtype.kind != "f" or value.ndim == 0 or value.ndim > 2:
            return value
        data = timed(value)
        times = None if data is None else data.known_at
        table = np.array(value.reshape(len(value), -1), dtype=np.float64)
        any_changed = False
        for at in range(1 if data is not None else 0, table.shape[1]):
            changed = self._numbers(table[:, at].copy(), times)
            if changed is not None:
                table[:, at], any_changed = changed, True
        return table.reshape(value.shape).astype(value.dtype) if any_changed else value

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> Any:
        if not value or type(value) is not dict:
            return value
        keys, items = list(value), list(value.values())
        data = timed(value)
        times = None if data is None else data.known_at
        if all(isinstance(item, (float, np.floating)) for item in items):
            changed = self._numbers(np.array(items, dtype=np.float64), times)
            return value if changed is None else dict(zip(keys, changed.tolist(), strict=True))
        if depth <= 0 or len(items) > _MOST_PARTS:
            return value
        parts = [self._of(item, depth - 1) for item in items]
        return dict(zip(keys, parts, strict=True)) if _differ(parts, items) else value

    def _sequence(self, value: Any, depth: int) -> Any:
        if type(value) not in (list, tuple) or not value:
            return value
        if all(isinstance(item, (float, np.floating)) for item in value):
            changed = self._numbers(np.array(value, dtype=np.float64), None)
            return value if changed is None else type(value)(changed.tolist())
        rows = self._rows(value)
        if rows is not None:
            return rows
        if self.everything and not isinstance(value[0], (list, tuple)) and len(value) < _MOST_PARTS:
            parts = [self._of(item, 0) for item in value]
            return type(value)(parts) if _differ(parts, value) else value
        if depth <= 0 or len(value) > _MOST_PARTS:
            return value
        parts = [self._of(item, depth - 1) for item in value]
        return type(value)(parts) if _differ(parts, value) else value

    def _rows(self, value: Any) -> Any:
        """Rows of equal length as a table of columns; ``None`` when they are none."""
        width = len(value[0]) if type(value[0]) in (list, tuple) else 0
        if not width or any(type(row) not in (list, tuple) or len(row) != width for row in value):
            return None
        data = timed(value)
        columns = list(zip(*value, strict=True))
        any_changed = False
        for at, column in enumerate(columns):
            if all(isinstance(item, float) for item in column):
                times = None if data is None else data.known_at
                changed = self._numbers(np.array(column, dtype=np.float64), times)
                if changed is not None:
                    columns[at], any_changed = tuple(changed.tolist()), True
        rows = [type(row)(new) for row, new in zip(value, zip(*columns, strict=True), strict=True)]
        return type(value)(rows) if any_changed else value

    def _set(self, value: Any) -> Any:
        items = list(value)
        if not items or not all(isinstance(item, float) for item in items):
            return value
        changed = self._numbers(np.sort(np.array(items)), None)
        return value if changed is None else type(value)(changed.tolist())

    # --- text and bytes -----------------------------------------------------------------------------------------

    def _text(self, value: str) -> str:
        found = list(NUMBER.finditer(value)) if len(value) <= _MOST_BYTES else []
        changed = self._tokens([float(one.group()) for one in found])
        if changed is None:
            return value
        parts, end = [], 0
        for one, number in zip(found, changed, strict=True):
            if number is not None:
                parts += [value[end : one.start()], _spelled(number, one.group())]
                end = one.end()
        return "".join([*parts, value[end:]])

    def _bytes(self, value: bytes) -> bytes:
        found = list(NUMBER_BYTES.finditer(value))
        changed = self._tokens([float(one.group()) for one in found])
        if changed is not None:
            copy = bytearray(value)
            for one, number in zip(found, changed, strict=True):
                if number is not None:
                    copy[one.start() : one.end()] = _spelled(number, one.group().decode()).encode()
            return bytes(copy)
        for offset in range(min(8, len(value))):
            numbers = np.frombuffer(value, dtype="<f8", offset=offset, count=(len(value) - offset) // 8)
            other = None if len(numbers) < LEAST_PRICES else self._numbers(numbers.astype(np.float64), None)
            if other is not None:
                return value[:offset] + other.astype("<f8").tobytes() + value[offset + 8 * len(other) :]
        return value

    def _tokens(self, numbers: list[float]) -> list[float | None] | None:
        if not numbers:
            return None
        before = np.array(numbers)
        after = self._numbers(before, None)
        if after is None:
            return None
        return [float(new) if new != old else None for old, new in zip(before, after, strict=True)]


def _plain(column: Any) -> Any:
    return column.to_numpy()


def _is_moment(column: Any, opens: NDArray[np.int64]) -> bool:
    array = np.asarray(column)
    return array.dtype.kind in "iu" and len(array) == len(opens) and bool((array == opens).all())


def _differ(parts: Any, items: Any) -> bool:
    return any(new is not old for new, old in zip(parts, items, strict=True))


def _spelled(number: float, like: str) -> str:
    """A number with as many characters as another had, so that places in a file stay where they are.

    Examples
    --------
    >>> _spelled(123.456, "99.50"), _spelled(80.0, "100.25")
    ('123.5', '80.000')
    """
    whole = len(f"{number:.0f}")
    text = f"{number:.{max(len(like) - whole - 1, 1)}f}"
    return text[: len(like)].ljust(len(like), "0")
