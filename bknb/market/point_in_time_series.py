"""All rows of a point-in-time series, and which of them were known at a moment.

A row is known from the moment it was published plus the delay of the series. A row that is published again is a
revision of an earlier one: of those known at a moment the newest counts, at the place of the first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import DataError
from .series_rows import SeriesRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Places = NDArray[np.int64]

SYMBOL: Final = "symbol"
_NOTHING: Final[dict[str, Any]] = {"i": 0, "f": np.nan, "O": None}  # by kind of column, where no row is known


@dataclass(slots=True)
class _Rows:
    """The rows of one symbol: their places in the table, in the order in which they became known."""

    places: Places
    known_at: Places
    numbers: Places | None  # of each row, or of the one it revises, in the order in which they came; None: no revisions
    revisions: Places  # sorted: number, times a base, plus where among these rows the row stands
    seen: Places  # how many numbers there are up to each row

    def at(self, when: int, count: int | None) -> Places:
        """The places of the newest ``count`` rows (``None``: all) that are known at a moment (UTC ms), oldest first."""
        known = int(np.searchsorted(self.known_at, when, side="right"))
        if self.numbers is None:
            return self.places[0 if count is None else max(known - count, 0) : known]
        end = int(self.seen[known - 1]) if known else 0
        rows = np.arange(0 if count is None else max(end - count, 0), end)
        return self.places[self._newest_revision(rows, np.full(len(rows), known))]

    def newest(self, moments: Places) -> Places:
        """For each moment (UTC ms) the place of the newest row that is known then; -1 where none is."""
        known = np.searchsorted(self.known_at, moments, side="right")
        found = np.full(len(moments), -1, dtype=np.int64)
        some = known > 0
        last = known[some] - 1
        if self.numbers is not None:
            last = self._newest_revision(self.seen[last] - 1, known[some])
        found[some] = self.places[last]
        return found

    def _newest_revision(self, rows: Places, known: Places) -> Places:
        """For rows that are no revision, the newest of their revisions among as many rows as are known."""
        count = len(self.places) + 1
        return self.revisions[np.searchsorted(self.revisions, rows * count + known) - 1] % count


class Published:
    """All rows of a point-in-time series.

    Parameters
    ----------
    columns
        Of equal length: int64 (moments, UTC ms), float64 or object (text), rows in any order.
    time
        The column that says when a row was published.
    times
        The columns that hold moments.
    delay_ms
        How long after it was published a row is known, milliseconds.
    key
        Columns in which a revision is equal to the row it revises; empty: no row is a revision. Nor is one without a
        value in one of them.
    """

    def __init__(
        self,
        columns: Mapping[str, NDArray[Any]],
        *,
        time: str,
        times: tuple[str, ...],
        delay_ms: int,
        key: tuple[str, ...] = (),
    ) -> None:
        order = np.argsort(columns[time], kind="stable")
        self.columns = {name: column[order] for name, column in columns.items()}
        self.time, self.times, self.delay_ms, self.key = time, times, delay_ms, key
        self.known_at: Places = self.columns[time] + delay_ms
        self._parts: dict[object, _Rows] = {name: self._part(places) for name, places in self._by_symbol()}
        self._digests: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.known_at)

    @property
    def has_symbols(self) -> bool:
        """Whether a column says which symbol a row is of."""
        return SYMBOL in self.columns

    @cached_property
    def symbols(self) -> list[str]:
        """The symbols of its rows, sorted."""
        return sorted(set(self.columns[SYMBOL])) if self.has_symbols else []

    def _by_symbol(self) -> Iterator[tuple[object, Places]]:
        if not self.has_symbols:
            yield None, np.arange(len(self))
            return
        names, of = np.unique(self.columns[SYMBOL].astype(str), return_inverse=True)
        order = np.argsort(of, kind="stable")
        ends = np.searchsorted(of[order], np.arange(len(names)), side="right")
        for at, name in enumerate(names.tolist()):
            yield name, order[ends[at - 1] if at else 0 : ends[at]]

    def _part(self, places: Places) -> _Rows:
        known_at, nothing = self.known_at[places], np.zeros(0, dtype=np.int64)
        number = self._numbers(places)
        if number is None:
            return _Rows(places, known_at, None, nothing, nothing)
        revisions = np.sort(number * (len(places) + 1) + np.arange(len(places)))
        return _Rows(places, known_at, number, revisions, np.maximum.accumulate(number) + 1)

    def _numbers(self, places: Places) -> Places | None:
        """For each row the number of the row it revises, or its own; ``None`` where no row is a revision."""
        if not self.key or not len(places):
            return None
        mixed = np.zeros(len(places), dtype=np.int64)
        absent = np.zeros(len(places), dtype=bool)
        for name in self.key:
            values = self.columns[name][places]
            if values.dtype.kind != "i":
                absent |= [value is None for value in values] if values.dtype.kind == "O" else np.isnan(values)
            _, codes = np.unique(values.astype(str) if values.dtype.kind == "O" else values, return_inverse=True)
            _, mixed = np.unique(mixed * (int(codes.max()) + 1) + codes, return_inverse=True)
        mixed[absent] = len(places) + np.arange(int(absent.sum()))  # equal to no other
        _, first, of = np.unique(mixed, return_index=True, return_inverse=True)
        if len(first) == len(places):
            return None
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        return np.asarray(rank[of])

    # --- what is known ------------------------------------------------------------------------------------------

    def all_rows(self) -> SeriesRows:
        """Every row, of all symbols, in the order in which they were published."""
        return self._taken(np.arange(len(self)))

    def rows(self, symbol: str, when: int, count: int | None, since: int | None = None) -> SeriesRows:
        """The newest rows that are known at a moment, oldest first.

        Parameters
        ----------
        symbol
            Of which symbol; where the table has no symbols, all rows are of every one.
        when
            The moment, UTC ms.
        count
            How many at most; ``None``: all.
        since
            None that was published before this moment (UTC ms).
        """
        part = self._parts.get(symbol if self.has_symbols else None)
        if part is None:
            return self._taken(np.zeros(0, dtype=np.int64))
        if since is None:
            return self._taken(part.at(when, count))
        places = part.at(when, None)
        places = places[self.columns[self.time][places] >= since]
        return self._taken(places if count is None else places[max(len(places) - count, 0) :])

    def known_moments(self, symbol: str) -> Places:
        """When the rows of a symbol become known, UTC ms, ascending."""
        part = self._parts.get(symbol if self.has_symbols else None)
        return np.zeros(0, dtype=np.int64) if part is None else part.known_at

    def joined(self, symbol: str, moments: Places) -> SeriesRows:
        """For each moment (UTC ms) the newest row that is known then; where none is: NaN, None, and 0 for moments."""
        part = self._parts.get(symbol if self.has_symbols else None)
        places = np.full(len(moments), -1, dtype=np.int64) if part is None else part.newest(moments)
        found: dict[str, NDArray[Any]] = {}
        for name, column in self.columns.items():
            nothing = _NOTHING[column.dtype.kind]
            found[name] = column[places] if len(self) else np.full(len(places), nothing, dtype=column.dtype)
            found[name][places < 0] = nothing
        return SeriesRows(found, self.times, partial=not len(self))

    def _taken(self, places: Places) -> SeriesRows:
        """Rows in memory of their own: no array leads back to the others."""
        taken = {name: column.take(places) for name, column in self.columns.items()}
        return SeriesRows(taken, self.times, partial=not len(self))

    # --- other worlds -------------------------------------------------------------------------------------------

    def _made(self, columns: Mapping[str, NDArray[Any]]) -> Published:
        return Published(columns, time=self.time, times=self.times, delay_ms=self.delay_ms, key=self.key)

    def take(self, which: NDArray[np.bool_]) -> Published:
        """The rows of a mask."""
        return self if which.all() else self._made({name: column[which] for name, column in self.columns.items()})

    def until(self, when: int) -> Published:
        """The same without the rows that become known after a moment (UTC ms)."""
        return self.take(self.known_at <= when)

    def continued(self, later: Published, since: int, where: str) -> Published:
        """The rows published before a moment (UTC ms), with others, if there are any, in place of those since then.

        Raises
        ------
        DataError
            The columns of the others are not the same.
        """
        if not len(later):
            return self
        if not len(self):
            return later
        kinds, others = (_kinds(one.columns) for one in (self, later))
        kinds |= {name: others[name] for name in kinds if kinds[name] == "" and name in others}
        others |= {name: kinds[name] for name in others if others[name] == "" and name in kinds}
        if kinds != others:
            apart = sorted(name for name in {**kinds, **others} if kinds.get(name) != others.get(name))
            raise DataError(
                f"{where}: a later answer has other columns than the first, or other kinds of values in them: "
                f"{', '.join(apart)}\nlet each answer have the same columns: numbers, text or times"
            )
        before = self.take(self.columns[self.time] < since)
        return self._made(
            {
                name: np.concatenate([_as_kind(one.columns[name], kind) for one in (before, later)])
                for name, kind in kinds.items()
            }
        )

    def backwards(self, name: str, since: int) -> Published:
        """The same with the values of one column in the opposite order in rows known after a moment (UTC ms)."""
        column = self.columns[name]
        return self._made({**self.columns, name: np.where(self.known_at > since, column[::-1], column)})

    def changed_after(self, when: int, *, seed: int) -> Published:
        """The same with other numbers, and text of other rows, in the rows that become known after a moment."""
        rng = np.random.default_rng(seed)
        known = int(np.searchsorted(self.known_at, when, side="right"))
        columns = {}
        for name, column in self.columns.items():
            part = column[known:]
            if column.dtype.kind == "f":
                part = part * np.exp(rng.normal(0.0, 0.5, size=len(part))) + rng.normal(0.0, 1.0, size=len(part))
            elif column.dtype.kind == "O" and name not in (*self.key, SYMBOL):
                part = rng.permutation(part)
            columns[name] = np.concatenate([column[:known], part])
        return self._made(columns)

    # --- fingerprint --------------------------------------------------------------------------------------------

    def known_until(self, when: int) -> tuple[int, int, int, str]:
        """How many rows are known at a moment (UTC ms), when the first and last were published (0: none), their hash.

        SHA-256 over names and values of the columns and the moments at which rows became known, in the order in which
        they did.
        """
        known = int(np.searchsorted(self.known_at, when, side="right"))
        if known not in self._digests:
            total = hashlib.sha256(b"bknb series 1\n")
            for name, column in sorted({**self.columns, "": self.known_at}.items()):
                total.update(f"{name}\n{column.dtype.kind}\n".encode())
                if column.dtype.kind == "O":
                    total.update("\n".join(map(repr, column[:known])).encode())
                else:
                    values = column[:known] + (0.0 if column.dtype.kind == "f" else 0)
                    total.update(np.ascontiguousarray(values, dtype=f"<{column.dtype.kind}8").data)
            self._digests[known] = total.hexdigest()
        published = self.columns[self.time][:known]
        first, last = (int(published[0]), int(published[-1])) if known else (0, 0)
        return known, first, last, self._digests[known]


def _kinds(columns: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """The kind of each column; empty where it holds nothing that would say."""
    return {
        name: "" if column.dtype.kind == "f" and np.isnan(column).all() else column.dtype.kind
        for name, column in columns.items()
    }


def _as_kind(column: NDArray[Any], kind: str) -> NDArray[Any]:
    return np.full(len(column), None, dtype=object) if kind == "O" and column.dtype.kind == "f" else column
