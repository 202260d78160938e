"""Minutes to higher intervals: by hand, and against the plain-Python twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bknb.domain.interval import INTERVAL_MS
from bknb.errors import UsageError
from bknb.market.candles import Candles
from bknb.market.resample import resample, resample_plainly

MINUTE = 60_000
HOUR = 1_641_038_400_000  # 2022-01-01 12:00 UTC


def minutes(*numbers: int, start: int = HOUR) -> Candles:
    return Candles.from_rows([(start + n * MINUTE, 10 + n, 12 + n, 9 + n, 11 + n, n + 0.5) for n in numbers])


def test_by_hand() -> None:
    made = resample(minutes(*range(10)), "5m")
    assert list(made) == [
        {"timestamp": HOUR, "open": 10.0, "high": 16.0, "low": 9.0, "close": 15.0, "volume": 12.5},
        {"timestamp": HOUR + 5 * MINUTE, "open": 15.0, "high": 21.0, "low": 14.0, "close": 20.0, "volume": 37.5},
    ]


def test_unfinished_buckets_are_left_out_at_both_ends() -> None:
    made = resample(minutes(*range(3, 19)), "5m")
    assert ((made.timestamp - HOUR) // MINUTE).tolist() == [5, 10]


def test_a_bucket_with_a_hole_is_left_out_unless_allowed() -> None:
    holed = minutes(*range(7), *range(8, 15))
    assert ((resample(holed, "5m").timestamp - HOUR) // MINUTE).tolist() == [0, 10]
    allowed = resample(holed, "5m", allow_gaps=True)
    assert ((allowed.timestamp - HOUR) // MINUTE).tolist() == [0, 5, 10]
    assert allowed[1]["volume"] == 5.5 + 6.5 + 8.5 + 9.5


def test_an_empty_bucket_makes_no_candle() -> None:
    made = resample(minutes(*range(5), *range(10, 15)), "5m", allow_gaps=True)
    assert ((made.timestamp - HOUR) // MINUTE).tolist() == [0, 10]


def test_with_gaps_allowed_the_known_range_decides_at_the_ends() -> None:
    quiet_end = minutes(*range(13))
    assert len(resample(quiet_end, "5m", allow_gaps=True)) == 2  # the bucket may go on
    assert len(resample(quiet_end, "5m", allow_gaps=True, until=HOUR + 15 * MINUTE)) == 3
    quiet_start = minutes(*range(2, 15))
    assert len(resample(quiet_start, "5m", allow_gaps=True)) == 2
    assert len(resample(quiet_start, "5m", allow_gaps=True, since=HOUR)) == 3


def test_boundaries_are_those_of_utc() -> None:
    midnight = 1_640_995_200_000
    made = resample(minutes(*range(-90, 8 * 60), start=midnight), "4h")
    assert made.timestamp.tolist() == [midnight, midnight + 4 * 60 * MINUTE]


def test_one_minute_is_itself_and_nothing_is_nothing() -> None:
    candles = minutes(1, 2)
    assert resample(candles, "1m") is candles
    assert len(resample(Candles.empty(), "1h")) == 0
    assert len(resample(minutes(1, 2), "1h")) == 0


def test_unknown_interval() -> None:
    with pytest.raises(UsageError, match="unknown interval '2m'"):
        resample(minutes(1), "2m")


prices = st.floats(min_value=0.01, max_value=1e5)


@st.composite
def tapes(draw: st.DrawFn) -> Candles:
    start = draw(st.integers(min_value=-3000, max_value=3000))
    count = draw(st.integers(min_value=0, max_value=400))
    missing = draw(st.sets(st.integers(min_value=0, max_value=399), max_size=20))
    seed = draw(st.integers(min_value=0, max_value=2**32 - 1))
    draws = np.random.default_rng(seed)
    kept = [n for n in range(count) if n not in missing]
    body = draws.lognormal(0, 3, (len(kept), 5))
    return Candles.from_rows([((start + n) * MINUTE, *values) for n, values in zip(kept, body.tolist(), strict=True)])


@given(
    candles=tapes(),
    interval=st.sampled_from(list(INTERVAL_MS)),
    allow_gaps=st.booleans(),
    margins=st.none() | st.tuples(st.integers(-100, 100), st.integers(-100, 100)),
)
def test_it_equals_its_twin_to_the_last_bit(
    candles: Candles,
    interval: str,
    allow_gaps: bool,  # noqa: FBT001 -- drawn by name
    margins: tuple[int, int] | None,
) -> None:
    since = until = None
    if margins and len(candles):
        since = int(candles.timestamp[0]) + margins[0] * MINUTE
        until = int(candles.timestamp[-1]) + margins[1] * MINUTE
    made = resample(candles, interval, allow_gaps=allow_gaps, since=since, until=until)
    assert made == resample_plainly(candles, interval, allow_gaps=allow_gaps, since=since, until=until)
