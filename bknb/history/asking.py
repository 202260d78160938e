"""One question to a source, with a limit of time and more than one attempt, and whether the answer has its interval."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import INTERVAL_MS, MINUTE_MS, interval_ms
from ..errors import BadCandle
from ..market.calls_in_threads import candles_from
from ..market.measured_bar_length import measured
from ..market.retries import answer_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..config import Settings
    from ..market.candles import Candles
    from ..ports import CandleSource

_ENOUGH_STEPS: Final = 9  # so many equal steps between candles are no chance


async def asked_candles(
    source: CandleSource, symbol: str, interval: str, since: int, limit: int, *, settings: Settings
) -> Candles:
    """Up to ``limit`` candles of a source from ``since`` on (UTC ms).

    A source with ``own_patience`` limits and repeats its calls itself; any other is given up after
    ``settings.get_candles_timeout_seconds``, and asked ``settings.get_candles_retry_count`` times.

    Raises
    ------
    DataError
        No attempt was answered.
    """
    if getattr(source, "own_patience", False):
        return await candles_from(source, symbol, interval, since, limit)
    return await answer_to(
        partial(candles_from, source, symbol, interval, since, limit),
        what=f"{symbol} {interval} from {source.name!r}",
        since=since,
        until=since + limit * interval_ms(interval),
        settings=settings,
        seconds=settings.get_candles_timeout_seconds,
    )


def check_length(times: NDArray[np.int64], step: int, asked: object) -> None:
    """Raise ``BadCandle`` for candles longer than ``step`` (ms): all as far apart, or with closed hours between them.

    Examples
    --------
    >>> check_length(np.arange(0, 3_600_000, 300_000), 60_000, "BTCUSDT 1m from 'mine'")
    Traceback (most recent call last):
        ...
    bknb.errors.BadCandle: BTCUSDT 1m from 'mine': each of 12 candles lies 5 minutes behind the one before it
    they are 5m candles; the source must answer the interval it is asked for
    """
    steps = np.diff(np.unique(times))
    if len(steps) < _ENOUGH_STEPS or steps.min() <= step:
        return
    if steps.min() != steps.max():
        spacing = measured(times)
        if spacing is not None and spacing.wider_than(step):
            raise BadCandle(
                f"{asked}: got candles spaced {spacing.interval}\nmeasured: {spacing}\n"
                "the source must answer the interval it is asked for"
            )
        return
    found = int(steps[0])
    name = next((name for name, length in INTERVAL_MS.items() if length == found), f"{found // MINUTE_MS}-minute")
    raise BadCandle(
        f"{asked}: each of {len(steps) + 1} candles lies {found // MINUTE_MS} minutes behind the one before it\n"
        f"they are {name} candles; the source must answer the interval it is asked for"
    )
