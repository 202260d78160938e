"""The stop of a position over time, from its events and the best prices of its candles.

Events tell when a stop was declared or moved and when a trailing stop began; where a trailing stop lay between them
follows from the candles, by the rules of :mod:`bknb.domain.trailing_and_breakeven_stops`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from .signal import OpenSignal, sign_of
from .signal_events import Moved
from .trailing_and_breakeven_stops import StopInForce, trail_level

_BEST, _BEGUN, _MOVED = range(3)
_DECLARED: Final = ("trailing_stop", "breakeven")


class StopStep(NamedTuple):
    """The stop from a moment on (UTC ms, the open of the first candle it is in force in); ``None``: there is none."""

    begin: int
    stop: StopInForce | None


def stop_path(
    signal: OpenSignal,
    moves: Iterable[Moved],
    bests: Sequence[tuple[int, float]],
    *,
    tick: float | None,
    bar_end: Callable[[int], int],
) -> list[StopStep]:
    """The stops of a position from its entry on, each where it differs from the one before.

    Parameters
    ----------
    signal
        The position.
    moves
        Its events, in order.
    bests
        Open times of candles (UTC ms) after which the best price since the fill was another, with that price (quote
        currency).
    tick
        The step of prices, or ``None``.
    bar_end
        When the candle that opens at a moment closes (UTC ms): see :meth:`bknb.domain.states.Rules.bar_end`.

    Examples
    --------
    >>> from bknb.domain.declared_exits import Trailing
    >>> row = OpenSignal(id="a", symbol="B", strategy="s", exchange="e", position="long", price_open=100.0,
    ...     price_take_profit=None, price_stop_loss=95.0, minute_estimated_time=None, note="", scheduled_at=0,
    ...     pending_at=0, trailing=Trailing(distance=4.0))
    >>> [(step.begin, step.stop.price) for step in stop_path(
    ...     row, [], [(60_000, 103.0)], tick=None, bar_end=lambda opened: opened + 60_000)]
    [(0, 96.0), (120000, 99.0)]
    """
    sign = sign_of(signal.position)
    floor = None if signal.price_stop_loss is None else StopInForce(signal.price_stop_loss, "stop_loss")
    trailing = signal.trailing if signal.trailing is not None and signal.trailing.after == 0 else None
    best = signal.price_open

    def in_force() -> StopInForce | None:
        if trailing is None:
            return floor
        level = trail_level(trailing, sign, best, tick)
        return StopInForce(level, "trailing_stop") if floor is None or sign * (level - floor.price) > 0 else floor

    path = [StopStep(signal.pending_at, in_force())]
    for begin, _, change in sorted(_changes(moves, bests, bar_end), key=lambda change: change[:2]):
        if isinstance(change, Moved):
            floor = None if change.price_stop_loss is None else StopInForce(change.price_stop_loss, change.stop_reason)
            trailing = change.trailing
        else:
            best = change
        stop = in_force()
        if stop != path[-1].stop:
            path.append(StopStep(begin, stop))
    return path


def _changes(
    moves: Iterable[Moved], bests: Sequence[tuple[int, float]], bar_end: Callable[[int], int]
) -> list[tuple[int, int, Moved | float]]:
    """What changes the stop: from when on, its rank among those of one moment, and itself."""
    found: list[tuple[int, int, Moved | float]] = [(bar_end(at), _BEST, best) for at, best in bests]
    for move in moves:
        declared = move.reason in _DECLARED
        found.append((bar_end(move.when), _BEGUN, move) if declared else (move.when, _MOVED, move))
    return found
