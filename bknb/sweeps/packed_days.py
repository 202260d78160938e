"""The daily returns of a combination, packed, and the days of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..domain.interval import DAY_MS, MINUTE_MS
from ..engine.plan import Plan


def pack_days(daily: NDArray[np.float64]) -> bytes:
    """Return daily returns as bytes: the number of days, the indices of those not zero, and their values.

    Examples
    --------
    >>> unpack_days(pack_days(np.array([0.0, 0.01, 0.0]))).tolist()
    [0.0, 0.01, 0.0]
    """
    at = np.flatnonzero(daily)
    counts = np.array([len(daily), len(at)], dtype="<u4")
    return counts.tobytes() + at.astype("<u4").tobytes() + daily[at].astype("<f8").tobytes()


def unpack_days(content: bytes) -> NDArray[np.float64]:
    """Return the daily returns that ``pack_days`` packed."""
    days, count = np.frombuffer(content, dtype="<u4", count=2).tolist()
    daily = np.zeros(days)
    daily[np.frombuffer(content, dtype="<u4", count=count, offset=8)] = np.frombuffer(
        content, dtype="<f8", offset=8 + 4 * count
    )
    return daily


def frame_days(plan: Plan) -> tuple[int, int]:
    """Return the first calendar day of a plan's frame, in days since 1970, and its number of days."""
    first = plan.frame.start // DAY_MS
    return first, (plan.frame.last + MINUTE_MS) // DAY_MS - first + 1
