"""What ``Rules.clock`` is: the clock of a run's market, made when it is first asked for."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

from ..domain.interval import MINUTE_MS, interval_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..domain.market_clock_protocol import MarketClock
    from ..domain.ranges import Range
    from ..market.bar_slots import BarTimes
    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid
    from .registry import Strategy


def clock_maker(
    strategy: Strategy,
    base: BarTimes | None,
    sessions: Sessions | None,
    *,
    step: int = MINUTE_MS,
    warm: int = 1,
    grid: BarGrid | None = None,
    gone: Sequence[Range] = (),
) -> Callable[[], MarketClock]:
    """Return what makes the clock.

    Parameters
    ----------
    strategy
        What says when it is asked, the zone of its times, and the length of its candles.
    base
        When all candles that fill orders open, where they are longer than a minute.
    sessions
        When the market is open; ``None``: always, or as the candles say.
    step
        The length (ms) of the candles that fill orders, where ``base`` is ``None``.
    warm
        For how many minutes the market must have been open before it is asked.
    grid
        Where these candles begin that do not begin at multiples of their length, where ``base`` is ``None``.
    gone
        As of :class:`bknb.market.session_clock.SessionClock`.
    """
    if base is not None:
        step, grid = base.step, base.grid
    return cache(partial(_clock, strategy, base, sessions, step, warm, grid, gone))


def bars_by_the_clock(
    sessions: Sessions | None, step: int, grid: BarGrid | None = None, *, gone: Sequence[Range] = ()
) -> Callable[[int, int], int]:
    """What ``Rules.close_of`` is in a live run over longer bars: those that came count, and then the market's hours.

    Parameters
    ----------
    sessions, grid
        As of :func:`clock_maker`.
    step
        Their length, ms.
    gone
        The ranges of bars that never came (UTC ms, ascending), as far as that is known; it may grow.
    """
    from ..market.session_clock import SessionClock

    return SessionClock(sessions, step, step=step, grid=grid, gone=gone).candles_closed


def _clock(
    strategy: Strategy,
    base: BarTimes | None,
    sessions: Sessions | None,
    step: int,
    warm: int,
    grid: BarGrid | None,
    gone: Sequence[Range],
) -> MarketClock:
    from ..market.session_clock import SessionClock  # few runs need it
    from .questions import has_session_days

    return SessionClock(
        sessions,
        interval_ms(strategy.interval),
        times=None if base is None else base.opened,
        step=step,
        zone=strategy.zone,
        by_day=has_session_days(strategy.interval, sessions, step),
        at=strategy.at,
        grid=grid,
        warm=warm,
        gone=gone,
    )
