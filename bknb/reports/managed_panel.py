"""What the price chart of a dashboard draws of managed positions: fills between entry and exit, stops and targets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.declared_exits import Target, targets_of
from ..domain.formatting import price_text
from ..domain.signal import OpenSignal, SignalKey, key_of
from ..domain.signal_events import Moved, PositionEvent, Reduced
from .managed_marks import MARKS, NAMES, Stairs, marks_of

if TYPE_CHECKING:
    from .dashboard_run import RunView

TARGETS: Final = 1000
"""Most lines of targets; the newest."""
_KINDS: Final = tuple(NAMES)


def managed_panel(view: RunView, *, start_ms: int | None = None, end_ms: int | None = None) -> dict[str, Any]:
    """Fills, stops and targets between two moments (UTC milliseconds); empty where nothing was managed.

    Parameters
    ----------
    view : RunView
    start_ms, end_ms : int or None
        None: from the beginning, to the end.

    Returns
    -------
    dict
        ``kind`` (0 an add, 1 a part that was closed), ``at`` (UTC ms), ``price`` and ``share`` of at most 1000 fills,
        the newest; ``stop_time`` and ``stop_price``, at most 1600 points of stairs with NaN between two positions;
        ``target_from``, ``target_to`` (NaN: still there) and ``target_price`` of at most 1000 targets, the newest;
        ``fills``: how many fills there are in all.
    """
    first, last = -math.inf if start_ms is None else start_ms, math.inf if end_ms is None else end_ms
    every = view.signals.fills_between
    fills = [fill for fill in every if first <= fill.at <= last][-MARKS:]
    stairs = [one for one in view.stairs if one[0][0] <= last and one[-1][0] >= first]
    lines = [line for line in target_lines(view) if line[0] <= last and not line[1] < first][-TARGETS:]
    if not (fills or stairs or lines or every):
        return {}
    marks = marks_of(fills, stairs)
    begins, ends, prices = np.array(lines, dtype=np.float64).reshape(-1, 3).T
    return {
        "fills": len(every),
        "kind": np.array([_KINDS.index(kind) for kind in marks.kinds], dtype=np.int8),
        "at": marks.at_ms,
        "price": marks.price,
        "share": np.array([fill.share for fill in fills], dtype=np.float32),
        "stop_time": marks.stop_ms,
        "stop_price": marks.stop_price,
        "target_from": begins,
        "target_to": ends,
        "target_price": prices,
    }


def target_lines(view: RunView) -> Iterator[tuple[float, float, float]]:
    """From when (UTC ms), until when and at which price each target lay, of positions with a ladder or moved targets.

    Until when is NaN while the target is there.
    """
    changes: dict[SignalKey, list[PositionEvent]] = defaultdict(list)
    for event in view.signals.managed:
        if isinstance(event, Moved | Reduced):
            changes[key_of(event.signal)].append(event)
    for signal, end in view.signals.positions_managed.values():
        yield from _lines(signal, changes.get(key_of(signal), ()), end)


def _lines(signal: OpenSignal, changes: Sequence[PositionEvent], end: float) -> list[tuple[float, float, float]]:
    since = {target: float(signal.pending_at) for target in signal.targets or targets_of(signal.price_take_profit)}
    declared = tuple(since)
    differs = bool(signal.targets)  # from the one target that every trade has
    found: list[tuple[float, float, float]] = []
    for event in changes:
        left = _left(tuple(since), event)
        differs = differs or left != declared
        found += [(since.pop(one), float(event.when), one.price) for one in tuple(since) if one not in left]
        since = {target: since.get(target, float(event.when)) for target in left}
    return [*found, *((begin, end, target.price) for target, begin in since.items())] if differs else []


def _left(targets: tuple[Target, ...], event: PositionEvent) -> tuple[Target, ...]:
    """The targets behind an event."""
    if isinstance(event, Moved):
        return event.targets
    taken = isinstance(event, Reduced) and event.fill.reason == "take_profit"
    return targets[1:] if taken else targets


def target_texts(targets: Sequence[Target]) -> list[str]:
    """Each target with the share it closes, in units of the first size.

    Examples
    --------
    >>> target_texts([Target(104.0, 0.5), Target(110.0)])
    ['104.00 x 0.5', '110.00']
    """
    return [price_text(one.price) + ("" if one.share is None else f" x {one.share:.4g}") for one in targets]


def stop_now(signal: OpenSignal, declared: float | None, stairs: Sequence[Stairs]) -> float | None:
    """The stop of an open position as its stairs have it, else the one that events tell."""
    for one in reversed(stairs):
        if one[0][0] == signal.pending_at:
            price = one[-1][1]
            return None if math.isnan(price) else price
    return declared
