"""What ``Rules.clock`` is: the clock of a run's market, made when it is first asked for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..domain.interval import MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from ..domain.market_clock import MarketClock
    from ..market.series import Series
    from ..market.sessions import Sessions


def clock_maker(
    interval: int, base: Series | None, sessions: Sessions | None, *, by_day: bool = False
) -> Callable[[], MarketClock]:
    """Return what makes the clock.

    Parameters
    ----------
    interval
        The strategy's, ms.
    base
        The candles that fill orders, all of them; those of a minute do not matter.
    sessions
        When the market is open; ``None``: always, or as the candles say.
    by_day
        Whether the candles are the days of these sessions.
    """
    times = None if base is None or base.step == MINUTE_MS else base.candles.timestamp
    return partial(_clock, interval, times, sessions, by_day=by_day)


def _clock(interval: int, times: NDArray[np.int64] | None, sessions: Sessions | None, *, by_day: bool) -> MarketClock:
    from ..market.session_clock import SessionClock  # few runs need it

    return SessionClock(sessions, interval, times=times, by_day=by_day)
