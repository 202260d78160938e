"""A limit on the candles of finished tasks, which are kept in files once a further task has finished."""

from __future__ import annotations

import threading
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ..log import log

if TYPE_CHECKING:
    from ..market.candles_in_mapped_files import CandleFiles
    from ..market.candles_of_one_symbol import Series

CANDLE_BYTES: Final = 256 * 2**20
"""The candles of all finished tasks, bytes, in memory or in files; about nine years of minutes."""

SeriesOfTask: TypeAlias = "Callable[[], Iterable[Series]]"


class _Held(NamedTuple):
    """The candles of a task: how it releases them, their size in bytes, and the ``id`` of what holds them.

    ``series`` says which they are, where they are to be put into files.
    """

    method: weakref.WeakMethod[Callable[[], None]]
    size: int
    candles: int
    series: weakref.WeakMethod[SeriesOfTask] | None = None


class CandleMemory:
    """Bounds the candles of finished tasks: beyond ``limit`` bytes the oldest release theirs.

    The newest task always keeps its candles, in memory; those before it keep theirs in files, where there are many.
    Candles that several tasks share are counted once. A task that was garbage collected does not count.
    """

    def __init__(self) -> None:
        self.limit = CANDLE_BYTES
        self._files: CandleFiles | None = None
        self._lock = threading.Lock()
        self._held: dict[int, _Held] = {}  # oldest first
        self._gone: deque[int] = deque()  # tasks that were garbage collected since

    def add(
        self, release: Callable[[], None], size: int, *, shared: object = None, series: SeriesOfTask | None = None
    ) -> None:
        """Count candles of ``size`` bytes, and let the oldest tasks release theirs until the limit holds.

        ``release`` and ``series`` are methods of the task that holds them; ``shared`` is what several tasks hold
        together.
        """
        with self._lock:
            method = weakref.WeakMethod(release, self._note_gone)
            while self._gone:
                self._held.pop(self._gone.popleft(), None)
            held = None if series is None else weakref.WeakMethod(series)
            self._held[id(method)] = _Held(method, size, id(method if shared is None else shared), held)
            oldest = self._over_the_limit()
        for each in oldest:
            try:
                each()
            except Exception as error:  # noqa: BLE001 -- the task that ends now has no part in it
                log.warning("the candles of an earlier task could not be released: %r", error)

    def keep_in_files(self) -> None:
        """Have all tasks but the newest put their candles into files, each once."""
        with self._lock:
            older = {key: each for key, each in [*self._held.items()][:-1] if each.series is not None}
            self._held.update({key: each._replace(series=None) for key, each in older.items()})
            if older and self._files is None:
                from ..market.candles_in_mapped_files import CandleFiles  # a first task needs none

                self._files = CandleFiles()
            files = self._files
        for held in older.values():
            if files is not None and held.series is not None and (series := held.series()) is not None:
                for each in [*series()]:
                    each.keep_in(files)

    def _note_gone(self, method: weakref.WeakMethod[Callable[[], None]]) -> None:
        """Garbage is collected at any moment, also while the tasks are gone over: they are taken out later."""
        self._gone.append(id(method))

    def _over_the_limit(self) -> list[Callable[[], None]]:
        held = list(self._held.items())
        sizes = {each.candles: each.size for _, each in held}
        holders = Counter(each.candles for _, each in held)
        newest, total = held[-1][1], sum(sizes.values())
        found = []
        for key, each in held:
            if total <= self.limit:
                break
            if each.candles == newest.candles:
                continue  # they stay in memory anyhow
            holders[each.candles] -= 1
            total -= 0 if holders[each.candles] else each.size
            self._held.pop(key, None)
            if (release := each.method()) is not None:
                found.append(release)
        return found


MEMORY: Final = CandleMemory()
