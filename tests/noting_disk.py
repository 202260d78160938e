"""A disk that notes its changes and can end the process before one of them, and which changes are worth an end.

A change is like one that was tried already by its kind, the kind of the change before it, and whether anything was told
in between (``chosen``), or by the parts of the saved value that it changes (``by_part``).
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bknb.stores.disk import Disk
from bknb.testing.faults import end_process


class Place(NamedTuple):
    """A change of the disk: the n-th of its kind, from 1 on."""

    change: str
    number: int


class Change(NamedTuple):
    """A change that was made, how many lines had been received before it, and which parts of the value it changes."""

    place: Place
    received: int
    parts: tuple[str, ...] = ()


BOOK = ("fills", "targets", "orders", "planned", "stop", "trailing", "breakeven", "breakeven_stop", "deadline")


def parts_of_state(sealed: bytes) -> dict[str, object]:
    """What can be decided about the position of a saved ``signal``; nothing of any other value."""
    payload = json.loads(sealed)["payload"]
    book, signal = payload.get("book") or {}, payload.get("signal") or {}
    if "opening" not in payload:
        return {}
    parts = {name: payload[name] for name in ("opening", "leaving", "in_doubt")}
    return parts | {"position": signal.get("id")} | {name: book.get(name) for name in BOOK}


def _changed(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[str, ...]:
    """Names of the parts that differ; of another position that alone."""
    if old.get("position") != new.get("position"):
        return ("position",)
    return tuple(sorted(name for name, part in new.items() if (old.get(name) or None) != (part or None)))


class NotingDisk(Disk):
    """A disk that notes its changes with the kinds of values they are about, and ends the process before one of them.

    Parameters
    ----------
    root
        The folder of the state, whose folders are named after the kinds.
    received
        How many lines were received so far.
    at
        Where it ends the process.
    """

    def __init__(self, root: Path, *, received: Callable[[], int], at: Place | None = None) -> None:
        self.changes: list[Change] = []
        self._root, self._received, self._at = root, received, at
        self._counts: dict[str, int] = {}
        self._saved: dict[str, dict[str, object]] = {}

    def _before(self, what: str, kind: str, sealed: bytes | None = None) -> None:
        change = f"{what} {kind}"
        self._counts[change] = self._counts.get(change, 0) + 1
        place = Place(change, self._counts[change])
        if place == self._at:
            end_process()
        now = {} if sealed is None else parts_of_state(sealed)
        self.changes.append(Change(place, self._received(), _changed(self._saved.get(kind, {}), now)))
        if sealed is not None:
            self._saved[kind] = now

    def _kind(self, path: Path) -> str:
        return path.relative_to(self._root).parts[0] if self._root in path.parents else ""

    def replace(self, source: Path, target: Path) -> None:
        kind = self._kind(target)
        self._before("write", kind, source.read_bytes() if kind == "signal" else None)
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._before("remove", self._kind(path))
        super().unlink(path)

    def sync_folder(self, folder: Path) -> None:
        self._before("sync", self._kind(folder))
        super().sync_folder(folder)

    def statement(
        self, connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        if change := {"INSERT": "write", "DELETE": "remove"}.get(sql.split(maxsplit=1)[0]):
            kind, sealed = str(values[0]), values[-1]
            self._before(change, kind, sealed if kind == "signal" and isinstance(sealed, bytes) else None)
        return super().statement(connection, sql, values)


def chosen(
    changes: Sequence[Change],
    *,
    always: Iterable[str] = (),
    never: Iterable[str] = (),
    by: Literal["seam", "kind", "nothing"] = "seam",
) -> list[Place]:
    """A change is chosen when its kind, the kind of the change before it, and whether anything was received in between
    are new together.

    The moment at which a name lasts is one where something was received behind it; elsewhere the next change is the
    same.

    Parameters
    ----------
    always
        Kinds of which every change is chosen, and the one behind it.
    never
        Kinds that are passed over.
    by
        What must be new of a change that is none of ``always``: its seam, its kind alone, or
        ``nothing``: none is chosen.
    """
    always, never = {*always}, {*never}
    behind = [change.received for change in changes[1:]] + [changes[-1].received]
    mine = [
        change
        for change, later in zip(changes, behind, strict=True)
        if change.place.change not in never and (not change.place.change.startswith("sync") or later > change.received)
    ]
    seen: set[tuple[str, str, bool] | str] = set()
    places, before = [], Change(Place("", 0), 0)
    for change in mine:
        seam = before.place.change, change.place.change, change.received > before.received
        mark = seam if by == "seam" else change.place.change
        if always & {*seam[:2]} or (by != "nothing" and mark not in seen):
            places.append(change.place)
        seen.add(mark)
        before = change
    return places


def by_part(changes: Sequence[Change], seen: set[tuple[str, str]] | None = None) -> list[Place]:
    """The moments at which something new is on the disk and nobody has heard of it.

    A value is new when its kind is, or when a part of the state differs from the one before that did not differ in any
    that was chosen. The place is the next change, whatever it is. ``seen`` are the kinds and parts of lives that were
    looked at before; those of this one are added.
    """
    seen = set() if seen is None else seen
    places: dict[Place, None] = {}
    for change, behind in itertools.pairwise(changes):
        kinds = {(change.place.change, part) for part in change.parts or ("",)}
        if kinds - seen and not change.place.change.startswith("sync"):
            places[behind.place] = None
        seen |= kinds
    return list(places)
