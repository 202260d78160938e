"""The content hash of candles: a name for exactly these values."""

from __future__ import annotations

import hashlib

import numpy as np

from ..errors import UsageError
from .candles import COLUMNS, Candles


def content_hash(candles: Candles) -> str:
    r"""A name for exactly these candles: 64 hexadecimal digits.

    SHA-256 over ``b"bknb candles 1\n"`` and the six columns one after the other (timestamp as little-endian int64,
    the others as little-endian float64, minus zero as zero). It depends on nothing but the values: not on files, on
    partitions, or on versions of bknb, numpy or pyarrow.

    Examples
    --------
    >>> rows = [(0, 10.0, 12.0, 9.0, 11.0, 5.0), (60_000, 11.0, 11.5, 10.5, 11.0, 2.0)]
    >>> content_hash(Candles.from_rows(rows))[:12]
    '97094e33b330'
    >>> joined = Candles.concat([Candles.from_rows(rows[:1]), Candles.from_rows(rows[1:])])
    >>> content_hash(joined) == content_hash(Candles.from_rows(rows))
    True
    """
    given: object = candles
    if not isinstance(given, Candles):
        raise UsageError(f"content_hash needs bknb.Candles, got {type(given).__name__}")
    total = hashlib.sha256(b"bknb candles 1\n")
    total.update(np.ascontiguousarray(candles.timestamp, dtype="<i8").view(np.uint8).data)
    for name in COLUMNS[1:]:
        column = np.asarray(getattr(candles, name) + 0.0, dtype="<f8")
        total.update(column.view(np.uint8).data)
    return total.hexdigest()
