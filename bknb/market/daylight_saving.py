"""Times of a local clock as UTC, with the nights in which it went back or forward."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING

import numpy as np

from ..domain.formatting import exact_text
from ..domain.interval import DAY_MS
from ..errors import BadCandle, UsageError
from .time_units import to_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray


def checked_zone(tz: str) -> str:
    """A time zone, once it is clear that there is one of this name.

    Raises
    ------
    UsageError
        There is no such zone.

    Examples
    --------
    >>> checked_zone("America/New_York")
    'America/New_York'
    """
    import pandas as pd

    try:
        if not isinstance(tz, (str, tzinfo)):  # pandas takes a number for seconds
            raise TypeError(type(tz).__name__)
        pd.Timestamp(0).tz_localize(tz)
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise UsageError(f"tz must be a time zone such as 'America/New_York', got {tz!r} ({error})") from None
    return tz


def to_utc(ms: NDArray[np.int64], tz: str, *, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Times of a local clock as UTC milliseconds, with the days on which the clock went back.

    An hour that comes twice is told apart by the order of the candles.

    Parameters
    ----------
    ms : ndarray of int64, shape (n,)
        What the clock showed, as milliseconds since 1970; of one series, in ascending or descending order.
    tz
        The zone of the clock, such as ``"America/New_York"``.
    where
        The name of the source, for messages.

    Raises
    ------
    BadCandle
        A time that the clock never showed, or one of an hour that came twice where the order does not tell which.

    Examples
    --------
    >>> to_utc(np.array([1_704_067_200_000]), "America/New_York", where="mine")[0].tolist()
    [1704085200000]
    """
    import pandas as pd

    if len(ms) and int(ms[0]) > int(ms[-1]):
        turned, found = to_utc(ms[::-1], tz, where=where)
        return turned[::-1], found
    local = pd.DatetimeIndex(ms.astype("datetime64[ms]"))
    known = local.tz_localize(tz, ambiguous="NaT", nonexistent="shift_forward")
    shown = to_ms(known.tz_localize(None).to_series())
    unclear = np.asarray(known.isna())
    never = ~unclear & (shown != ms)
    if never.any():
        when = exact_text(int(ms[int(np.argmax(never))]))
        raise BadCandle(
            f"{where}: {when} does not exist in {tz}: the clocks went forward that night\n"
            "the times are those of another zone; name it with tz=, or leave tz out where they are UTC"
        )
    before, after = (
        to_ms(
            local.tz_localize(tz, ambiguous=each, nonexistent="raise").tz_convert("UTC").tz_localize(None).to_series()
        )
        for each in (np.ones(len(ms), dtype=bool), np.zeros(len(ms), dtype=bool))
    )
    utc = before.copy()
    nights: list[str] = []
    days = ms // DAY_MS
    for day in np.unique(days[unclear]):
        at = np.flatnonzero(unclear & (days == day))
        night = exact_text(int(day) * DAY_MS)[:10]
        second = _second_time(ms, at, int(after[at[0]] - before[at[0]]))
        if second is None:
            raise BadCandle(
                f"{where}: {exact_text(int(ms[at[0]]))} came twice in {tz}, as the clocks went back in the night of "
                f"{night}, and the order of the candles does not show which is which\n"
                "give the times with their offset or in UTC, or leave that hour out"
            )
        utc[at[second:]] = after[at[second:]]
        nights.append(night)
    return utc, tuple(nights)


def _second_time(ms: NDArray[np.int64], at: NDArray[np.intp], shift: int) -> int | None:
    """Where an hour that came twice begins again, as a place in ``at``; ``None`` where the order does not show it.

    The rows of that hour stand together, and once their times go back by more than half of what the clocks went back:
    a row that stands twice does not go back, and one that stands too late goes back by less. Candles of an hour and
    longer are there once each time, so that their two times are equal.
    """
    if int(at[-1] - at[0]) != len(at) - 1:
        return None
    steps = np.diff(ms[at])
    back = np.flatnonzero(steps < 0)
    if len(back) == 1 and -int(steps[back[0]]) * 2 > shift:
        return int(back[0]) + 1
    on = np.diff(ms)
    if not len(back) and len(at) == 2 and steps[0] == 0 and int(on[on > 0].min(initial=DAY_MS)) >= shift:
        return 1
    return None
