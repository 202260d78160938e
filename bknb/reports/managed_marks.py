"""What is drawn of managed positions beside entry and exit: adds, parts that were closed, and the stop over time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from ..domain.formatting import minute_text
from ..domain.position_fills import Fill
from ..domain.signal import SignalKey, key_of
from ..domain.signal_events import Added, Moved, PositionEvent, Reduced

Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Stairs: TypeAlias = Sequence[tuple[int, float]]
"""The stop of one position: moments (UTC ms) from which on it lay at a price, the last where it ended; NaN: none."""

POINTS: Final = 1600
"""Most points of all stops together."""
MARKS: Final = 1000
"""Most marks of one kind."""
_FEWEST: Final = 3  # points of one position: first, last, and a hole behind
NAMES: Final = {"add": "added", "reduce": "part closed"}
_SYMBOLS: Final = {"add": "cross-thin", "reduce": "line-ew"}
_SIGNS: Final = {"add": "+", "reduce": "_"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedMarks:
    """Fills between entry and exit, and stops over time.

    Attributes
    ----------
    kinds : tuple of {"add", "reduce"}, length n
    at_ms : ndarray of float64, shape (n,)
        When each filled, UTC milliseconds.
    price : ndarray of float64, shape (n,)
        Quote currency.
    texts : tuple of str, length n
    stop_ms, stop_price : ndarray of float64, at most 1600 points
        The stops of positions whose stop changed, as stairs; NaN between two positions.
    """

    kinds: tuple[str, ...] = ()
    at_ms: Floats
    price: Floats
    texts: tuple[str, ...] = ()
    stop_ms: Floats
    stop_price: Floats


def marks_of(fills: Iterable[Fill], stairs: Sequence[Stairs]) -> ManagedMarks:
    """The marks of fills (entries and exits are left out), and of the stairs of positions whose stop changed.

    Examples
    --------
    >>> add = Fill(number=1, kind="add", at=60_000, share=0.5, price=98.0)
    >>> marks = marks_of([add], [[(0, 95.0), (120_000, 96.0), (180_000, 96.0)]])
    >>> marks.texts, marks.stop_price.tolist()
    (('added 0.5 at 98<br>1970-01-01 00:01',), [95.0, 96.0, 96.0, nan])
    """
    parts = [fill for fill in fills if fill.kind in NAMES]
    times, prices = _joined(stairs)
    return ManagedMarks(
        kinds=tuple(fill.kind for fill in parts),
        at_ms=np.array([fill.at for fill in parts], dtype=np.float64),
        price=np.array([fill.price for fill in parts], dtype=np.float64),
        texts=tuple(map(_text, parts)),
        stop_ms=times,
        stop_price=prices,
    )


def fills_between(events: Iterable[PositionEvent]) -> list[Fill]:
    """The fills between entry and exit, from the events of positions."""
    return [event.fill for event in events if isinstance(event, Added | Reduced)]


def stairs_of_moves(moves: Iterable[Moved], ends: Mapping[SignalKey, int], until: int) -> list[Stairs]:
    """The stops of positions as far as events tell them; what a trailing stop does between them is not in it.

    Parameters
    ----------
    moves
        In order of time.
    ends
        When each position that is over ended (UTC ms), by :func:`bknb.domain.signal.key_of`.
    until
        The last moment that is known (UTC ms).
    """
    found: dict[SignalKey, list[tuple[int, float]]] = {}
    for move in moves:
        signal, stop = move.signal, move.price_stop_loss
        first = math.nan if signal.price_stop_loss is None else signal.price_stop_loss
        steps = found.setdefault(key_of(signal), [(signal.pending_at, first)])
        steps.append((move.when, math.nan if stop is None else stop))
    for key, steps in found.items():
        steps.append((max(ends.get(key, until), steps[-1][0]), steps[-1][1]))
    return list(found.values())


def _text(fill: Fill) -> str:
    what = "added" if fill.kind == "add" else "closed"
    why = f" ({fill.reason.replace('_', ' ')})" if fill.reason else ""
    return f"{what} {fill.share:.4g} at {fill.price:.8g}{why}<br>{minute_text(fill.at)}"


def _joined(stairs: Sequence[Stairs]) -> tuple[Floats, Floats]:
    """All stairs in one line with holes between them; where there are too many points, of each fewer."""
    if sum(len(one) + 1 for one in stairs) > POINTS:
        stairs = stairs[:: -(-len(stairs) // (POINTS // _FEWEST))]
        most = max(POINTS // len(stairs) - 1, _FEWEST - 1)
        stairs = [[one[at] for at in np.unique(np.linspace(0, len(one) - 1, most).astype(int))] for one in stairs]
    times, prices = list[float](), list[float]()
    for one in stairs:
        times += [*(float(at) for at, _ in one), float(one[-1][0])]
        prices += [*(price for _, price in one), np.nan]
    return np.array(times), np.array(prices)


def managed_traces(marks: ManagedMarks, *, colour: str, stop: str, size: int, axis: str) -> list[dict[str, Any]]:
    """Traces of plotly: the stops as a stepped line, then a mark for each fill; none where there is nothing."""
    traces: list[dict[str, Any]] = []
    if len(marks.stop_ms):
        line = {"color": stop, "width": 1, "dash": "dash", "shape": "hv"}
        hover = "stop %{y}<br>from %{x|%Y-%m-%d %H:%M}<extra></extra>"
        traces.append(
            {"type": "scatter", "mode": "lines", "name": "stop", "x": marks.stop_ms, "y": marks.stop_price}
            | {"line": line, "yaxis": axis, "connectgaps": False, "hovertemplate": hover}
        )
    for kind, name in NAMES.items():
        rows = [at for at, one in enumerate(marks.kinds) if one == kind]
        if not rows:
            continue
        kept = rows[:: -(-len(rows) // MARKS)]
        shown = name if len(kept) == len(rows) else f"{name} ({len(kept):,} of {len(rows):,} drawn)"
        look = {"symbol": _SYMBOLS[kind], "size": size, "line": {"width": 2, "color": colour}}
        traces.append(
            {"type": "scatter", "mode": "markers", "name": shown, "x": marks.at_ms[kept], "y": marks.price[kept]}
            | {"text": [marks.texts[at] for at in kept], "hovertemplate": "%{text}<extra></extra>"}
            | {"marker": look, "yaxis": axis}
        )
    return traces


def draw_marks(axes: Any, marks: ManagedMarks, *, colour: str, stop: str, size: float) -> None:
    """The same on axes of matplotlib."""
    if len(marks.stop_ms):
        hole = np.isnan(marks.stop_price)
        times = np.where(hole, 0, marks.stop_ms).astype(np.int64).astype("datetime64[ms]")
        times[hole] = np.datetime64("NaT")
        axes.step(times, marks.stop_price, where="post", color=stop, linewidth=0.8, linestyle="--")
    for kind, sign in _SIGNS.items():
        rows = [at for at, one in enumerate(marks.kinds) if one == kind]
        times = marks.at_ms[rows].astype(np.int64).astype("datetime64[ms]")
        axes.plot(times, marks.price[rows], sign, color=colour, markersize=size, linestyle="")


NO_MARKS: Final = marks_of((), ())
