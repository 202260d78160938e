"""Columnar candles: one float64 block, read-only columns, no object per candle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, SupportsIndex, overload

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")


class Candles:
    """Candles of one symbol and interval, oldest first.

    The six columns are the rows of one block of memory, and read-only numpy views of it. Equality compares values.

    Parameters
    ----------
    block : ndarray of float64, shape (6, n)
        Becomes the attribute of that name; not copied. Of an array that can be written to, a read-only view is taken.

    Attributes
    ----------
    block : ndarray of float64, shape (6, n)
        All candles at once, read-only. Rows 1 to 5 are open, high, low, close (quote currency) and volume (base
        currency); row 0 holds the open times, UTC milliseconds, as the 8 bytes of an int64: read it as ``timestamp``.
        Neither it nor its values can be set: AttributeError and ValueError.
    timestamp : ndarray of int64, shape (n,)
        Open time of each candle, UTC milliseconds.
    open, high, low, close : ndarray of float64, shape (n,)
        Prices in quote currency.
    volume : ndarray of float64, shape (n,)
        Traded volume in base currency.

    Examples
    --------
    >>> candles = Candles.from_rows([(0, 10.0, 12.0, 9.0, 11.0, 5.0), (60_000, 11.0, 11.5, 10.5, 11.0, 2.0)])
    >>> len(candles), float(candles.close[-1])
    (2, 11.0)
    >>> candles[-1:].timestamp.tolist()
    [60000]
    >>> candles.block.shape, candles.block[1:5, 0].tolist()  # open, high, low, close of the first candle
    ((6, 2), [10.0, 12.0, 9.0, 11.0])
    """

    __slots__ = ("block",)

    block: NDArray[np.float64]  # a slot, not a property: a strategy reads it for each decision

    def __init__(self, block: NDArray[np.float64]) -> None:
        if block.flags.writeable:
            block = block.view()
            block.setflags(write=False)
        _set_block(self, block)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"candles are read-only, so {name!r} cannot be set; make others with Candles.from_columns")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"candles are read-only, so {name!r} cannot be deleted")

    def __reduce__(self) -> tuple[type[Candles], tuple[NDArray[np.float64]]]:
        return Candles, (self.block,)

    @classmethod
    def from_columns(
        cls,
        *,
        timestamp: ArrayLike,
        open: ArrayLike,  # noqa: A002 -- the candle's own word
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
    ) -> Candles:
        """Candles from six columns of equal length (copied)."""
        if isinstance(timestamp, np.ndarray) and timestamp.dtype.kind in "iuf":  # which are converted into the block
            times = timestamp
        else:
            times = np.asarray(timestamp, dtype=np.int64)
        block = np.empty((6, times.shape[0]), dtype=np.float64)
        block[0].view(np.int64)[:] = times
        for row, column in enumerate((open, high, low, close, volume), start=1):
            block[row] = column
        block.setflags(write=False)
        return cls(block)

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[float]]) -> Candles:
        """Candles from ``(timestamp, open, high, low, close, volume)`` rows."""
        table = np.asarray(rows, dtype=np.float64).reshape(-1, 6)
        return cls.from_columns(
            timestamp=table[:, 0].astype(np.int64),
            open=table[:, 1],
            high=table[:, 2],
            low=table[:, 3],
            close=table[:, 4],
            volume=table[:, 5],
        )

    @classmethod
    def empty(cls) -> Candles:
        """No candles."""
        return cls.from_rows([])

    @classmethod
    def concat(cls, parts: Sequence[Candles]) -> Candles:
        """Several pieces one after the other (copied)."""
        if not parts:
            return cls.empty()
        block = np.concatenate([part.block for part in parts], axis=1)
        block.setflags(write=False)
        return cls(block)

    @property
    def timestamp(self) -> NDArray[np.int64]:
        """Open times, UTC milliseconds."""
        times: NDArray[np.int64] = self.block[0].view(np.int64)
        return times

    @property
    def open(self) -> NDArray[np.float64]:
        """First traded prices."""
        return self.block[1]  # type: ignore[no-any-return]  # a row

    @property
    def high(self) -> NDArray[np.float64]:
        """Highest traded prices."""
        return self.block[2]  # type: ignore[no-any-return]  # a row

    @property
    def low(self) -> NDArray[np.float64]:
        """Lowest traded prices."""
        return self.block[3]  # type: ignore[no-any-return]  # a row

    @property
    def close(self) -> NDArray[np.float64]:
        """Last traded prices."""
        return self.block[4]  # type: ignore[no-any-return]  # a row

    @property
    def volume(self) -> NDArray[np.float64]:
        """Traded volumes."""
        return self.block[5]  # type: ignore[no-any-return]  # a row

    def __len__(self) -> int:
        return int(self.block.shape[1])

    @overload
    def __getitem__(self, item: slice) -> Candles: ...
    @overload
    def __getitem__(self, item: SupportsIndex) -> dict[str, float]: ...
    def __getitem__(self, item: slice | SupportsIndex) -> Candles | dict[str, float]:
        """A slice gives ``Candles`` (a view); an index gives one candle as a mapping."""
        if isinstance(item, slice):
            part = _new(Candles)  # a view of a read-only block is read-only: no need to look
            _set_block(part, self.block[:, item])
            return part
        column = self.block[:, item]
        values = column.tolist()
        values[0] = int(column[:1].copy().view(np.int64)[0])
        return dict(zip(COLUMNS, values, strict=True))

    def __iter__(self) -> Iterator[dict[str, float]]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Candles):
            return NotImplemented
        return bool(
            np.array_equal(self.timestamp, other.timestamp)
            and np.array_equal(self.block[1:], other.block[1:], equal_nan=True)
        )

    __hash__ = None  # type: ignore[assignment]  # candles compare by value

    def __repr__(self) -> str:
        if not len(self):
            return "Candles(empty)"
        first, last = (np.datetime_as_string(t.astype("datetime64[ms]"), unit="m") for t in self.timestamp[[0, -1]])
        return f"Candles({len(self)}, {first} .. {last} UTC)"

    def copy(self) -> Candles:
        """The same candles in memory of their own: nothing else can be reached through it."""
        block = self.block.copy()
        block.setflags(write=False)
        return Candles(block)

    def take(self, which: ArrayLike) -> Candles:
        """The candles that a mask of length n chooses, or those at some places, in that order (copied).

        Parameters
        ----------
        which : array-like of bool, shape (n,), or of int
            A mask, or places: counted from 0, or from the end where negative.

        Raises
        ------
        UsageError
            When it is neither, or a mask of another length.
        IndexError
            When there is no candle at a place.

        Examples
        --------
        >>> candles = Candles.from_rows([(0, 10.0, 12.0, 9.0, 11.0, 5.0), (60_000, 11.0, 11.5, 10.5, 11.0, 2.0)])
        >>> candles.take(candles.volume > 3).timestamp.tolist(), candles.take([1, 0]).timestamp.tolist()
        ([0], [60000, 0])
        """
        chosen = np.asarray(which)
        if chosen.dtype == np.bool_:
            if chosen.shape != (len(self),):
                raise UsageError(f"a mask for {len(self)} candles needs the shape ({len(self)},), got {chosen.shape}")
            chosen = np.flatnonzero(chosen)
        elif chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise UsageError(f"take needs a mask or a sequence of whole numbers, got {which!r}")
        block = self.block.take(chosen.astype(np.intp, copy=False), axis=1)
        return Candles(block)

    def to_pandas(self) -> pd.DataFrame:
        """A DataFrame of open, high, low, close, volume with a UTC DatetimeIndex named ``timestamp``."""
        import pandas as pd

        index = pd.to_datetime(self.timestamp, unit="ms", utc=True).rename("timestamp")
        return pd.DataFrame({name: getattr(self, name).copy() for name in COLUMNS[1:]}, index=index)


def part_copied(candles: Candles, first: int, last: int) -> Candles:
    """The candles from ``first`` up to ``last`` in memory of their own; quick, for the question of a strategy."""
    block = candles.block[:, first:last].copy()
    block.setflags(False)  # type: ignore[call-arg]  # noqa: FBT003 -- of write; by name it takes twice as long
    part = _new(Candles)
    _set_block(part, block)
    return part


_new: Final = object.__new__
_set_block: Final = Candles.__dict__["block"].__set__
