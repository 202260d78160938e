"""The candle store: one folder of Parquet files, shared by every run, notebook and process.

::

    dump/candles/
        binance/BTC%2FUSDT/1m/2024-01.parquet     a month of minutes; hours and longer by the year
        binance/BTC%2FUSDT/1m/.lock               held while a process writes this series

A partition is replaced as a whole: written to a temporary file, flushed to disk, renamed. So readers need no lock and
find the old file or the new one, and appending a day rewrites one month. Names become file names as in
:mod:`bknb.stores.sealed_values`; what a file holds is in :mod:`bknb.history.partition`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import INTERVAL_MS, interval_ms
from ..domain.ranges import Range, Ranges, common, merged, within, without
from ..errors import BadCandle, StateError, UsageError
from ..market.bar_slots import slot_of
from ..market.candles import COLUMNS, Candles
from ..market.candles_repaired_or_refused import CandleRequest, check_order
from ..market.values_no_market_has import check_values, describe
from ..stores.atomic import as_path, is_temporary, replace_file
from ..stores.disk import Disk, make_folders, refusal
from ..stores.file_names import decode_name, encode_name, is_shortened
from ..stores.lock import waiting_lock
from .covered_ranges import absent_in, runs, united
from .partition import CandleFile, SeriesName, damaged, encoded, other_opens, period_of, periods, series_in, touched

if TYPE_CHECKING:
    from ..market.shifted_bar_grid import BarGrid

DEFAULT_FOLDER: Final = "./dump/candles"
_PARTITION = re.compile(r"([0-9]{4}(-[0-9]{2})?|all)\.parquet")
_NOTHING_CHANGED: Final = "what was stored before is untouched"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Result of :meth:`CandleStore.put`.

    Attributes
    ----------
    added : int
        Candles that are new.
    revised : tuple of int
        Open times (UTC ms) of stored candles whose values were replaced.
    late : tuple of int
        Open times of new candles the exchange had answered as absent before.
    """

    added: int = 0
    revised: tuple[int, ...] = ()
    late: tuple[int, ...] = ()


@dataclass(slots=True)
class _Partition:
    """A partition with new candles, not written yet."""

    path: Path
    candles: Candles
    known: Ranges
    seen_once: Ranges
    changed: bool
    stored: Stored = field(default_factory=Stored)


class CandleStore:
    """A store of candles on disk; any number of processes and threads may read and write at once.

    Parameters
    ----------
    root : str or Path
        The folder, made when something is stored. A relative one is relative to the working directory of now.
    disk : Disk, optional
        The system calls; another one in tests.
    wait_seconds : float
        How long to wait for another writer of the same series.

    Examples
    --------
    >>> import tempfile
    >>> rows = [(minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in (0, 1, 4)]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = CandleStore(folder)
    ...     series = SeriesName("mine", "BTCUSDT", "1m")
    ...     stored = store.put(series, Candles.from_rows(rows), known=[(0, 300_000)], now=600_000)
    ...     print(stored.added, store.read(series).timestamp.tolist())
    ...     print(store.absent(series, 0, 600_000), store.missing(series, 0, 600_000))
    3 [0, 60000, 240000]
    ((120000, 240000),) ((300000, 600000),)
    """

    def __init__(
        self, root: str | Path = DEFAULT_FOLDER, *, disk: Disk | None = None, wait_seconds: float = 60.0
    ) -> None:
        self.root = as_path(root, DEFAULT_FOLDER).expanduser().absolute()
        self._disk = disk or Disk()
        self._wait_seconds = wait_seconds

    def __repr__(self) -> str:
        return f"CandleStore({str(self.root)!r})"

    # --- writing ------------------------------------------------------------------------------------------------

    def put(
        self,
        series: SeriesName,
        candles: Candles,
        *,
        now: int,
        known: Sequence[Range] | None = None,
        revise: bool = False,
        doubted: Sequence[Range] = (),
        grid: BarGrid | None = None,
        negative: bool = False,
    ) -> Stored:
        """Add candles and the ranges they were requested for; they are on disk when this returns.

        Candles that are there already are compared. Everything is checked before anything is written.

        Parameters
        ----------
        series
            Whose candles they are.
        candles
            Oldest first, each once, on the grid of the interval.
        now
            The present at the exchange, UTC ms: what has not closed by then is not stored.
        known
            The ranges of which everything is known; a moment in them without a candle is absent, as two answers of
            the exchange have shown. By default the candles themselves.
        revise
            Whether other values replace stored ones; by default they are refused.
        doubted
            Ranges in which marks of absence that one answer alone had made are removed.
        grid
            Where the candles open that count from the open of their market; the range may begin or end elsewhere then.
        negative
            Whether prices may be at or below zero.

        Raises
        ------
        BadCandle
            A candle breaks a rule, or contradicts a stored one. Nothing was stored.
        StateError
            A stored file is damaged, or the disk did not take the data. What was stored before is untouched.
        """
        step = interval_ms(series.interval)
        candles, ranges = self._acceptable(series, candles, known, slot_of(now, step, grid), grid, negative=negative)
        if not ranges and not doubted:
            return Stored()
        folder = self._folder(series)
        try:
            make_folders(self._disk, folder)
        except OSError as error:
            raise refusal("make the folder", folder, error, outcome="choose another folder for candles") from None
        with waiting_lock(folder / ".lock", wait_seconds=self._wait_seconds):
            self._sweep(folder)
            parts = [
                self._merged(
                    series,
                    folder / f"{name}.parquet",
                    candles,
                    within(ranges, first, end),
                    revise=revise,
                    doubted=within(doubted, first, end),
                    grid=grid,
                )
                for name, first, end in touched([*ranges, *doubted], step)
            ]
            for part in parts:
                if part.changed:
                    data = encoded(series, part.candles, part.known, part.seen_once, from_open=grid is not None)
                    self._write(part.path, data)
        return Stored(
            added=sum(part.stored.added for part in parts),
            revised=tuple(time for part in parts for time in part.stored.revised),
            late=tuple(time for part in parts for time in part.stored.late),
        )

    def _acceptable(
        self,
        series: SeriesName,
        candles: Candles,
        known: Sequence[Range] | None,
        closed: int,
        grid: BarGrid | None,
        *,
        negative: bool,
    ) -> tuple[Candles, Ranges]:
        """The closed candles and ranges, after every check."""
        step = series.step
        candles = candles[: int(np.searchsorted(candles.timestamp, closed))]
        times = candles.timestamp
        ranges = runs(times, step, grid) if known is None else within(known, 0, closed)
        asked = CandleRequest(
            exchange=series.exchange,
            symbol=series.symbol,
            interval=series.interval,
            since=ranges[0][0] if ranges else 0,
            until=ranges[-1][1] if ranges else 0,
        )
        try:
            check_order(candles, asked, grid=grid)
            check_values(candles, asked, negative=negative)
        except BadCandle as error:
            text = f"{error}\n{self._file_of(series, candles)}: nothing was stored, {_NOTHING_CHANGED}"
            raise BadCandle(text) from None
        if grid is None and any(first % step or end % step for first, end in ranges):
            raise UsageError(f"{asked}: known ranges must lie on the grid of {series.interval}, got {known!r:.120}")
        if outside := without(runs(times, step, grid), ranges):
            raise UsageError(f"{asked}: the candle of {utc_text(outside[0][0])} lies outside the known ranges")
        return candles, ranges

    def _file_of(self, series: SeriesName, candles: Candles) -> Path:
        first = int(candles.timestamp[0])
        try:
            return self._folder(series) / f"{period_of(first, series.step)[0]}.parquet"
        except (ValueError, OverflowError, OSError):
            return self._folder(series)

    def _merged(
        self,
        series: SeriesName,
        path: Path,
        candles: Candles,
        known: Ranges,
        *,
        revise: bool,
        doubted: Ranges,
        grid: BarGrid | None,
    ) -> _Partition:
        """A partition with the new candles in it; nothing is written yet."""
        times = candles.timestamp
        low, high = np.searchsorted(times, [known[0][0], known[-1][1]]) if known else (0, 0)
        new = candles[int(low) : int(high)]
        try:
            with CandleFile(path, series) as file:
                old, label = file.read(), file.label
        except FileNotFoundError:
            return _Partition(path, new, known, (), changed=bool(known), stored=Stored(added=len(new)))
        if len(old) and label.from_open != (grid is not None):
            raise other_opens(path, series, from_open=label.from_open)
        once = common(absent_in(old.timestamp, label.known, series.step, grid), label.seen_once)
        old_known = without(label.known, common(once, doubted))
        both, in_old, in_new = np.intersect1d(old.timestamp, new.timestamp, assume_unique=True, return_indices=True)
        differs = np.zeros(len(both), dtype=bool)
        for name in COLUMNS[1:]:
            differs |= getattr(old, name)[in_old] != getattr(new, name)[in_new]
        if differs.any() and not revise:
            at, count = int(np.argmax(differs)), int(differs.sum())
            raise BadCandle(
                f"{series}: {describe(new, int(in_new[at]))} contradicts the stored one"
                f"{f' ({count} candles do)' if count > 1 else ''}: {describe(old, int(in_old[at]))}\n"
                f"the exchange revised its history, or one of the two is wrong; {path}: nothing was changed"
            )
        fresh = np.setdiff1d(new.timestamp, both, assume_unique=True)
        together = merged([*old_known, *known])
        once = common(without(once, known), together)
        if not len(fresh) and not differs.any():
            changed = together != label.known or once != label.seen_once
            return _Partition(path, old, together, once, changed=changed)
        late = [int(time) for time in fresh if within(label.known, int(time), int(time) + 1)]
        stored = Stored(added=len(fresh), revised=tuple(both[differs].tolist()), late=tuple(late))
        return _Partition(path, united(old, new), together, once, changed=True, stored=stored)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            replace_file(self._disk, path, data)
            self._disk.sync_folder(path.parent)
        except OSError as error:
            raise refusal("write", path, error, outcome=_NOTHING_CHANGED) from None

    def _sweep(self, folder: Path) -> None:
        """Remove the temporary files of a killed writer; the lock of the series is held."""
        for name in self._disk.names(folder):
            if is_temporary(name):
                with contextlib.suppress(FileNotFoundError):
                    self._disk.unlink(folder / name)

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, series: SeriesName, since: int | None = None, until: int | None = None) -> Candles:
        """The stored candles with an open time in ``[since, until)``, oldest first; all of them by default.

        Every file that is read is compared with its content hash.

        Raises
        ------
        StateError
            A file is damaged or belongs somewhere else.
        """
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(file) for file in self._files(series, since, until)]
            block = np.empty((6, sum(len(file) for file in files)))
            at = 0
            for file in files:
                file.read_into(block[:, at : at + len(file)])
                at += len(file)
        block.setflags(write=False)
        candles = Candles(block)
        first = 0 if since is None else int(np.searchsorted(candles.timestamp, since))
        end = len(candles) if until is None else int(np.searchsorted(candles.timestamp, until))
        return candles[first:end]

    def known(self, series: SeriesName, since: int | None = None, until: int | None = None) -> Ranges:
        """The ranges that were requested from the exchange, merged."""
        ranges: list[Range] = []
        for file in self._files(series, since, until):
            with file:
                ranges.extend(file.label.known)
        found = merged(ranges)
        return found if since is None or until is None else within(found, since, until)

    def missing(self, series: SeriesName, since: int, until: int) -> Ranges:
        """The parts of ``[since, until)`` that were never requested."""
        return without([(since, until)], self.known(series, since, until))

    def absent(self, series: SeriesName, since: int, until: int, *, grid: BarGrid | None = None) -> Ranges:
        """The parts of ``[since, until)`` that were requested and for which the exchange has no candles.

        ``grid`` as of :meth:`put`.
        """
        times = self.read(series, since, until).timestamp
        return absent_in(times, self.known(series, since, until), series.step, grid)

    def seen_once(self, series: SeriesName, since: int, until: int, *, grid: BarGrid | None = None) -> Ranges:
        """The parts of ``[since, until)`` that are absent by the word of one answer of the exchange alone.

        ``grid`` as of :meth:`put`.
        """
        found: list[Range] = []
        for file in self._files(series, since, until):
            with file:
                if once := file.label.seen_once:
                    found.extend(common(absent_in(file.read().timestamp, file.label.known, series.step, grid), once))
        return within(found, since, until)

    def series(self) -> list[SeriesName]:
        """The stored series, sorted."""
        found = []
        for folder in self.root.glob("*/*/*"):
            exchange, symbol = folder.parent.parent.name, folder.parent.name
            if folder.name not in INTERVAL_MS or not self._partitions(folder):
                continue
            names = [self._name(part, folder, of=of) for part, of in ((exchange, 0), (symbol, 1))]
            found.append(SeriesName(names[0], names[1], folder.name))
        return sorted(found)

    def _name(self, encoded_name: str, folder: Path, *, of: int) -> str:
        name = None if is_shortened(encoded_name) else decode_name(encoded_name)
        if name is not None:
            return name
        series = series_in(self._partitions(folder)[0])  # a long name is shortened; the label holds all of it
        return series.exchange if of == 0 else series.symbol

    def problems(self) -> list[str]:
        """Problems of files that cannot be used, one sentence each; reads the whole store."""
        found = []
        for series in self.series():
            for path in self._partitions(self._folder(series)):
                try:
                    with CandleFile(path, series) as file:
                        file.read()
                except StateError as error:
                    found.append(str(error).splitlines()[0])
        return found

    def _folder(self, series: SeriesName) -> Path:
        return self.root / encode_name(series.exchange) / encode_name(series.symbol) / series.interval

    def _partitions(self, folder: Path) -> list[Path]:
        try:
            return sorted(path for path in folder.iterdir() if _PARTITION.fullmatch(path.name))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _files(self, series: SeriesName, since: int | None, until: int | None) -> Iterator[CandleFile]:
        interval_ms(series.interval)
        paths = self._partitions(self._folder(series))
        if since is not None and until is not None:
            wanted = {f"{name}.parquet" for name, _, _ in periods(since, until, series.step)}
            paths = [path for path in paths if path.name in wanted]
        for path in paths:
            try:
                yield CandleFile(path, series)
            except FileNotFoundError:
                raise damaged(path, "it was removed a moment ago") from None
