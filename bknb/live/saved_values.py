"""Saved values of a live run, read from a store: their formats, and what is said of one that is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

import msgspec

from ..domain.recovery import NEWEST_STATE_VERSION, SavedSchedule, SavedSignal
from ..errors import StateError
from ..ports import StateStore
from ..stores.format_versions import read_json

F = TypeVar("F")


def read_value(store: StateStore, kind: str, key: tuple[str, ...], form: type[F]) -> F | None:
    """A saved value; ``None``: there is none.

    Raises
    ------
    StateError
        When it cannot be read, is something else, or a newer bknb wrote it.
    """
    payload = store.read(kind, key)
    return None if payload is None else _decode(payload, form, kind, key)


def read_state(store: StateStore, key: tuple[str, ...]) -> tuple[SavedSignal | None, SavedSchedule | None]:
    """What is saved of the position and of the scheduled signal of a strategy on a symbol.

    Raises
    ------
    StateError
        As :func:`read_value`.
    """
    return read_value(store, "signal", key, SavedSignal), read_value(store, "schedule", key, SavedSchedule)


def decode_saved(
    readers: Mapping[int, Callable[[bytes], F]],
    payload: bytes,
    kind: str,
    key: tuple[str, ...],
    *,
    advice: str = "it is left as it is; move it away by hand, or choose another store",
) -> F:
    """What the reader of its version makes of a value that a store has under this kind and key.

    ``advice`` is what to do when it is something else.

    Raises
    ------
    StateError
        When it is something else, or a newer bknb wrote it; it is left as it is.
    """
    what = f"the saved {kind} of {' on '.join(key)}"
    try:
        return read_json(readers, payload, what=what)
    except (ValueError, msgspec.DecodeError) as error:
        raise StateError(f"{what} is not what bknb saves there: {error}\n{advice}") from None


def _decode(payload: bytes, form: type[F], kind: str, key: tuple[str, ...]) -> F:
    read = partial(msgspec.json.decode, type=form)
    versions = NEWEST_STATE_VERSION if form in (SavedSignal, SavedSchedule) else 1
    readers: Mapping[int, Callable[[bytes], F]] = dict.fromkeys(range(1, versions + 1), read)
    return decode_saved(readers, payload, kind, key)
