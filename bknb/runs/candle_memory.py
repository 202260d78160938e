"""A limit on the memory of the candles of finished tasks."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Final

from ..log import log

CANDLE_BYTES: Final = 256 * 2**20
"""Memory for the candles of all finished tasks, bytes; about nine years of minutes."""


class CandleMemory:
    """Bounds the candles of finished tasks: beyond ``limit`` bytes the oldest release theirs.

    The newest task always keeps its candles. A task that was garbage collected does not count.
    """

    def __init__(self, limit: int = CANDLE_BYTES) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._held: dict[int, tuple[weakref.WeakMethod[Callable[[], None]], int]] = {}  # oldest first

    def add(self, let_go: Callable[[], None], size: int) -> None:
        """Count candles of ``size`` bytes, and let the oldest tasks release theirs until the limit holds.

        ``let_go`` is a method of the task that holds them.
        """
        with self._lock:
            method = weakref.WeakMethod(let_go, self._forget)
            self._held[id(method)] = method, size
            oldest = self._over_the_limit()
        for each in oldest:
            try:
                each()
            except Exception as error:  # noqa: BLE001 -- the task that ends now has no part in it
                log.warning("the candles of an earlier task could not be released: %r", error)

    def _forget(self, method: weakref.WeakMethod[Callable[[], None]]) -> None:
        self._held.pop(id(method), None)

    def _over_the_limit(self) -> list[Callable[[], None]]:
        held = list(self._held.items())
        total = sum(size for _, (_, size) in held)
        found = []
        for key, (method, size) in held[:-1]:
            if total <= self.limit:
                break
            total -= size
            self._held.pop(key, None)
            if (let_go := method()) is not None:
                found.append(let_go)
        return found


MEMORY: Final = CandleMemory()
