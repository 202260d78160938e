"""What a strategy changes of itself while it runs, as a cache or a counter: it counts as it was before the run."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, NamedTuple

from ..process import at_reset
from .value_text import Spelled

MISSING: Final = object()
"""The content of a name that has no value."""

_PLAIN: Final = frozenset({int, float, complex, str, bytes, bool, type(None)})
_MOST: Final = 10_000  # places that are remembered; of more the oldest is forgotten


class Attributes(dict[str, Any]):
    """What an object, a class or a module holds, by name."""


class _Change(NamedTuple):
    holder: object  # held, so that its id stays its own
    before: Any
    after: Any


class _Reading(NamedTuple):
    holder: object
    read: Callable[[], Any]
    seen: Any
    counted: Any


_changes: Final[dict[Hashable, _Change]] = {}
at_reset(_changes.clear)


class Readings:
    """What one walk through a strategy read, by place: a name in a namespace, the state of an object, a container.

    Examples
    --------
    >>> cache = {}
    >>> before = Readings()
    >>> before.content("cache", cache, lambda: Attributes(cache))
    {}
    >>> cache["a"] = 1  # by the strategy, in a run
    >>> before.remember()
    >>> Readings().content("cache", cache, lambda: Attributes(cache))
    {}
    >>> cache["a"] = 2  # by the user, after it
    >>> Readings().content("cache", cache, lambda: Attributes(cache))
    {'a': 2}
    """

    def __init__(self) -> None:
        self._by_place: dict[Hashable, _Reading] = {}

    def content(self, place: Hashable, holder: object, read: Callable[[], Any]) -> Any:
        """What counts as the content of a place: that of now, or of before the runs that changed it.

        Parameters
        ----------
        place
            Holds the id of ``holder``.
        read
            Reads the content, now and after a run: a ``Spelled``, ``Attributes``, or one value.
        """
        now = counted = read()
        change = _changes.get(place)
        if change is not None:
            if _same(change.after, now):
                counted = change.before
            else:  # the user changed it since
                _changes.pop(place, None)
        self._by_place.setdefault(place, _Reading(holder, read, now, counted))
        return counted

    def remember(self) -> None:
        """After a run: what it changed counts from now on as it did before."""
        for place, reading in self._by_place.items():
            after = reading.read()
            if not _same(reading.seen, after):
                if len(_changes) >= _MOST:
                    _changes.pop(next(iter(_changes)), None)
                _changes[place] = _Change(reading.holder, reading.counted, after)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Spelled) and isinstance(other, Spelled):
        return one.text == other.text and _ids(one) == _ids(other)
    if isinstance(one, Attributes) and isinstance(other, Attributes):
        return one.keys() == other.keys() and all(_same_value(value, other[name]) for name, value in one.items())
    return _same_value(one, other)


def _same_value(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) in _PLAIN and repr(one) == repr(other))


def _ids(spelled: Spelled) -> list[tuple[str, int]]:
    return [(place, id(thing)) for place, thing in spelled.inside]
