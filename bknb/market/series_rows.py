"""Rows of a point-in-time series as a question gets them: read-only columns, no object per row."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NoReturn, overload

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

_OF_ARRAYS: Final = frozenset({"dtype", "dtypes", "iloc", "loc", "ndim", "shape", "to_numpy", "tobytes"})
"""By these one finds out whether something is an array or a table, which rows without a column are not either."""


class SeriesRows:
    """Rows of a point-in-time series; in what ``bknb.get_series`` returns each was known at the moment of the question.

    Each column is an attribute and an item: ``rows.rate``, ``rows["rate"]``. Columns are read-only. Equality compares
    values.

    Parameters
    ----------
    columns : mapping of str to ndarray, shape (n,)
        Not copied; made read-only.
    times : tuple of str
        Those that hold moments (UTC milliseconds).
    partial : bool
        Whether other columns are not known yet, as a function has returned no row so far: they hold NaN.

    Attributes
    ----------
    columns : tuple of str
        The names of the columns, in the order of the table.
    times : tuple of str
        Those that hold moments: int64, UTC milliseconds. Numbers are float64 (missing: NaN), text is object (missing:
        None).

    Examples
    --------
    >>> rows = SeriesRows({"published_at": np.array([0, 60_000]), "rate": np.array([0.01, 0.02])}, ("published_at",))
    >>> len(rows), rows.columns, float(rows.rate[-1])
    (2, ('published_at', 'rate'), 0.02)
    >>> rows[-1:], rows[rows.rate < 0.02][0]
    (SeriesRows(1: published_at, rate), {'published_at': 0, 'rate': 0.01})
    """

    __slots__ = ("_columns", "_partial", "times")

    _columns: dict[str, NDArray[Any]]
    _partial: bool
    times: tuple[str, ...]

    def __init__(self, columns: Mapping[str, NDArray[Any]], times: tuple[str, ...], *, partial: bool = False) -> None:
        kept = {}
        for name, column in columns.items():
            view = column.view()
            view.setflags(write=False)
            kept[name] = view
        object.__setattr__(self, "_columns", kept)
        object.__setattr__(self, "_partial", partial)
        object.__setattr__(self, "times", times)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"rows of a series are read-only, so {name!r} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"rows of a series are read-only, so {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[Callable[..., SeriesRows], tuple[dict[str, NDArray[Any]], tuple[str, ...]]]:
        return functools.partial(SeriesRows, partial=self._partial), (self._columns, self.times)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in the order of the table."""
        return tuple(self._columns)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if not name.startswith("_") and (name in self._columns or (self._partial and name not in _OF_ARRAYS)):
            return self[name]
        known = "" if name.startswith("_") else f"; its columns: {', '.join(self._columns)}"
        raise AttributeError(f"the series has no column {name!r}{known}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._columns]

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    @overload
    def __getitem__(self, item: str) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, item: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, item: slice | NDArray[Any] | list[int]) -> SeriesRows: ...
    def __getitem__(self, item: Any) -> Any:
        """A column by its name, one row as a mapping by its place, rows by a slice, a mask or a list of places."""
        if isinstance(item, str):
            if item not in self._columns:
                if self._partial:
                    return np.full(len(self), np.nan)
                raise UsageError(f"the series has no column {item!r}\nits columns: {', '.join(self._columns)}")
            return self._columns[item]
        if hasattr(item, "__index__") and not isinstance(item, np.ndarray):
            return {name: _plain(column[item]) for name, column in self._columns.items()}
        part = {name: column[item] for name, column in self._columns.items()}
        return SeriesRows(part, self.times, partial=self._partial)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SeriesRows):
            return NotImplemented
        return self.columns == other.columns and all(
            _same(column, other._columns[name]) for name, column in self._columns.items()
        )

    __hash__ = None  # type: ignore[assignment]  # rows compare by value

    def __repr__(self) -> str:
        return f"SeriesRows({len(self)}: {', '.join(self._columns)})"

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame with these columns, copied; moments are aware datetimes in UTC."""
        import pandas as pd

        frame = pd.DataFrame({name: column.copy() for name, column in self._columns.items()})
        for name in self.times:
            frame[name] = pd.to_datetime(frame[name], unit="ms", utc=True)
        return frame


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f"))
