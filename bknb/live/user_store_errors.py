"""A store of the user's own: whatever it raises is a trouble with the state, not with the exchange."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..domain.text import named_error
from ..errors import StateError
from ..market.calls_in_threads import ships_with_bknb
from ..ports import StateStore

T = TypeVar("T")


def with_state_errors(store: StateStore) -> StateStore:
    """The store, whose calls raise ``StateError`` whatever exception they raise; one of bknb stays as it is.

    Examples
    --------
    >>> from bknb.stores.memory_store import MemoryStore
    >>> store = MemoryStore()
    >>> with_state_errors(store) is store
    True
    """
    return store if ships_with_bknb(store) else _UserStore(store)


class _UserStore:
    def __init__(self, store: StateStore) -> None:
        self._store = store

    def __repr__(self) -> str:
        return repr(self._store)

    def acquire(self) -> None:
        self._called("acquire", self._store.acquire)

    def release(self) -> None:
        self._called("release", self._store.release)

    def read(self, kind: str, key: tuple[str, ...]) -> bytes | None:
        return self._called("read", lambda: self._store.read(kind, key))

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        self._called("write", lambda: self._store.write(kind, key, payload))

    def delete(self, kind: str, key: tuple[str, ...]) -> None:
        self._called("delete", lambda: self._store.delete(kind, key))

    def keys(self, kind: str, under: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        return self._called("keys", lambda: self._store.keys(kind, under))

    def _called(self, name: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except StateError:
            raise
        except Exception as error:
            raise StateError(f"{type(self._store).__name__}.{name} of the store raised {named_error(error)}") from error
