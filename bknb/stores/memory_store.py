"""Saved state in memory: for tests, and for runs that need not survive."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ..errors import StateError, UsageError
from .lock import Acquired
from .sealed_values import Key, Unreadable, check_address, check_kind, describe, seal, unseal


class MemoryStore(Acquired):
    """Saved state that ends with the process: for tests and for trading on paper.

    It holds the same sealed bytes as the other stores and treats damage alike; there is nothing to lock.

    Examples
    --------
    >>> with MemoryStore() as store:
    ...     store.write("risk", ("calm", "positions"), b"[]")
    ...     print(store.read("risk", ("calm", "positions")), store.read("risk", ("bold", "positions")))
    b'[]' None
    """

    def __init__(self) -> None:
        self.sealed: dict[tuple[str, Key], bytes] = {}
        self.aside: dict[tuple[str, Key], list[bytes]] = {}
        self.settled: dict[tuple[str, Key], list[bytes]] = {}
        self._users = 0
        self._mutex = threading.RLock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self.sealed)} values)"

    def acquire(self) -> None:
        """Count one more user; see :meth:`bknb.ports.StateStore.acquire`."""
        with self._mutex:
            self._users += 1

    def release(self) -> None:
        """Count one user less; see :meth:`bknb.ports.StateStore.release`."""
        with self._mutex:
            if self._users == 0:
                raise UsageError("release() without acquire(): nobody uses this state")
            self._users -= 1

    def read(self, kind: str, key: Key) -> bytes | None:
        """The saved value, or ``None``; see :meth:`bknb.ports.StateStore.read`."""
        with self._at(kind, key) as place:
            sealed = self.sealed.get(place)
            name = f"{kind} {describe(key)}"
            if sealed is None:
                if self.aside.get(place):
                    raise StateError(f"{name} was damaged and moved aside\n{_decision_in_memory()}")
                return None
            try:
                return unseal(sealed, kind, key)
            except Unreadable as problem:
                if (newer := problem.refused(name)) is not None:
                    raise newer from None
                self.aside.setdefault(place, []).append(self.sealed.pop(place))
                raise StateError(f"{name} {problem.reason}; it was moved to .aside\n{_decision_in_memory()}") from None

    def write(self, kind: str, key: Key, payload: bytes) -> None:
        """Save a value; see :meth:`bknb.ports.StateStore.write`."""
        sealed = seal(kind, key, payload)
        with self._at(kind, key) as place:
            self.sealed[place] = sealed

    def delete(self, kind: str, key: Key) -> None:
        """Delete a value; see :meth:`bknb.ports.StateStore.delete`."""
        with self._at(kind, key) as place:
            self.settled.setdefault(place, []).extend(self.aside.pop(place, []))
            self.sealed.pop(place, None)

    def keys(self, kind: str, under: Key = ()) -> list[Key]:
        """What is saved under a kind, sorted; see :meth:`bknb.ports.StateStore.keys`."""
        check_kind(kind)
        with self._held():
            found = {key for saved_kind, key in (*self.sealed, *self.aside) if saved_kind == kind}
            return sorted(key for key in found if key[: len(under)] == under and len(key) > len(under))

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        with self._mutex:
            if self._users == 0:
                raise UsageError("call acquire() before using this state, and release() after")
            yield

    @contextlib.contextmanager
    def _at(self, kind: str, key: Key) -> Iterator[tuple[str, Key]]:
        check_address(kind, key)
        with self._held():
            yield kind, key


def _decision_in_memory() -> str:
    return "look at your exchange, then delete() it (nothing is open) or write() what is true"
