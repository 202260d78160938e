"""The legs of a live portfolio that the others go on without, on the disk: after a restart they do so at once."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from ..errors import StateError
from ..ports import StateStore
from .saved_values import read_value

_KIND = "portfolio"


class SavedSilence(msgspec.Struct, frozen=True, kw_only=True):
    """The legs by strategy and symbol, and the moment (UTC ms) at which the bar of each was missing."""

    version: int = 1
    legs: tuple[tuple[str, str, int], ...]


class SilentLegs:
    """The legs that the others go on without.

    Parameters
    ----------
    store, name
        Where they are saved, acquired by the runs, and under the name of which portfolio.
    legs
        Strategy and symbol of each leg, in declared order.
    """

    def __init__(self, store: StateStore, name: str, legs: tuple[tuple[str, str], ...]) -> None:
        self._store, self._key, self._legs = store, (name, "silent"), legs
        self._since: dict[tuple[str, str], int] | None = None

    def since(self, order: int) -> int | None:
        """The moment (UTC ms) from which on the others went on without a leg; ``None``: they waited for it."""
        return self._known().get(self._legs[order])

    def note(self, order: int, since: int | None) -> None:
        """Save that the others go on without a leg from a moment (UTC ms) on, or wait for it again."""
        known, leg = self._known(), self._legs[order]
        if known.get(leg) == since:
            return
        if since is None:
            del known[leg]
        else:
            known[leg] = since
        rows = tuple((*each, moment) for each, moment in known.items())
        with suppress(StateError):  # a restart waits for it anew, and the runs tell what is wrong with the disk
            self._store.write(_KIND, self._key, msgspec.json.encode(SavedSilence(legs=rows)))

    def _known(self) -> dict[tuple[str, str], int]:
        if self._since is None:
            self._since = {}
            with suppress(StateError):  # as above
                saved = read_value(self._store, _KIND, self._key, SavedSilence)
                rows = () if saved is None else saved.legs
                self._since = {(strategy, symbol): moment for strategy, symbol, moment in rows}
        return self._since
