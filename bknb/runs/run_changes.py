"""What has changed of a live run since it was last sent to another process, and putting it in there."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..engine.records import Records
from ..market.candles import Candles
from ..market.candles_of_one_symbol import Series

More: TypeAlias = tuple[bool, Any]
"""What is new of a part: whether it is behind what was sent before, and that, or else all of it."""


class NewCandles(NamedTuple):
    """Candles from ``first`` (UTC ms) on: those behind what was sent before, or, with ``whole``, all of them."""

    first: int
    candles: Candles
    step: int
    since: int
    until: int
    span: int
    whole: bool


class Changes(NamedTuple):
    """What has changed of a run: values by name, parts of its records, and candles."""

    values: dict[str, Any]
    records: dict[str, More]
    candles: NewCandles | None


class _SentList(NamedTuple):
    length: int
    first: Any
    last: Any


class LastSent:
    """What was last sent of one run, to one process.

    Examples
    --------
    >>> sent, records = LastSent(), Records()
    >>> _ = sent.changes({"last": 0}, records, None)
    >>> records.warnings.append("late")
    >>> sent.changes({"last": 0}, records, None)
    Changes(values={}, records={'warnings': (True, ['late'])}, candles=None)
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._lists: dict[str, _SentList] = {}
        self._others: dict[str, Any] = {}
        self._series: Series | None = None

    def changes(self, values: Mapping[str, Any], records: Records, series: Series | None) -> Changes:
        """What differs from what was sent before, which this is from now on."""
        new = {name: value for name, value in values.items() if name not in self._values or self._values[name] != value}
        self._values |= new
        parts = {name: getattr(records, name) for name in records.__struct_fields__}
        found = {name: more for name, part in parts.items() if (more := self._new_of(name, part)) is not None}
        return Changes(new, found, self._new_candles(series))

    def _new_of(self, name: str, part: Any) -> More | None:
        if not isinstance(part, list):
            if name in self._others and self._others[name] == part:
                return None
            self._others[name] = copied = copy(part)
            return False, copied
        now, before = [*part], self._lists.get(name)
        known = 0 if before is None else before.length
        self._lists[name] = _SentList(len(now), now[0] if now else None, now[-1] if now else None)
        if before is None:
            return (False, now) if now else None
        goes_on = len(now) >= known and (not known or (now[0] is before.first and now[known - 1] is before.last))
        if not goes_on:
            return False, now
        return (True, now[known:]) if len(now) > known else None

    def _new_candles(self, series: Series | None) -> NewCandles | None:
        before, self._series = self._series, series
        if series is None or series is before:
            return None
        candles, rest = series.candles, (series.step, series.since, series.until, series.span)
        first = int(candles.timestamp[0]) if len(candles) else series.since
        if before is not None and len(before.candles) and len(candles):
            known = before.candles
            gone = int(known.timestamp.searchsorted(first))
            both = len(known) - gone
            if 0 < both <= len(candles) and np.array_equal(known.block[:, gone:], candles.block[:, :both]):
                return NewCandles(first, candles[both:].copy(), *rest, whole=False)
        return NewCandles(first, candles, *rest, whole=True)


def put_in(records: Records, new: Mapping[str, More]) -> None:
    """Put what is new into the records that mirror those of another process."""
    for name, (behind, part) in new.items():
        if behind:
            getattr(records, name).extend(part)
        else:
            setattr(records, name, part)


def series_with(known: Series | None, new: NewCandles, grid: Any) -> Series:
    """The series that mirrors that of another process, with what is new; ``grid`` says where its candles open."""
    candles = new.candles
    if not new.whole and known is not None:
        kept = known.candles[int(known.candles.timestamp.searchsorted(new.first)) :]
        candles = Candles.concat([kept, candles])
    return Series(candles, step=new.step, since=new.since, until=new.until, span=new.span, grid=grid)
