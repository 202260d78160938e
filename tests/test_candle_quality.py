"""What is repaired, what is ignored and what is refused in the answer of a source."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bknb.config import Settings
from bknb.errors import BadCandle, DataError, GapError, NotEnoughData
from bknb.market.bar_slots import is_even
from bknb.market.candles import Candles
from bknb.market.candles_repaired_or_refused import CandleRequest, Repair, audit
from bknb.market.missing_candles import check_gaps, gaps
from bknb.market.values_no_market_has import broken_values, check_values

START = 1_641_038_400_000  # 2022-01-01 12:00 UTC
MINUTE = 60_000
SETTINGS = Settings()


def row(minute: float, price: float = 100.0, **changes: float) -> tuple[float, ...]:
    values = {"open": price, "high": price + 1, "low": price - 1, "close": price, "volume": 5.0} | changes
    return (START + int(minute * MINUTE), *values.values())


def asked(count: int = 10, interval: str = "1m", step: int = MINUTE) -> CandleRequest:
    return CandleRequest(exchange="mine", symbol="BTCUSDT", interval=interval, since=START, until=START + count * step)


def audited(*rows: tuple[float, ...], count: int = 10, now: int | None = None) -> tuple[list[int], tuple[Repair, ...]]:
    candles, repairs = audit(Candles.from_rows(rows), asked(count), settings=SETTINGS, now=now)
    return ((candles.timestamp - START) // MINUTE).tolist(), repairs


def test_good_candles_pass_untouched() -> None:
    candles = Candles.from_rows([row(i) for i in range(10)])
    same, repairs = audit(candles, asked(), settings=SETTINGS)
    assert same is candles
    assert repairs == ()


def test_no_candles_pass() -> None:
    assert audited() == ([], ())


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"open": math.nan}, "finite"),
        ({"high": math.inf}, "finite"),
        ({"volume": math.nan}, "finite"),
        ({"low": 0.0}, "above 0"),
        ({"close": -3.0}, "above 0"),
        ({"volume": -0.5}, "volume must not be negative"),
        ({"open": 100.0, "high": 99.0, "low": 101.0, "close": 100.0}, "high must not be below low"),
        ({"high": 99.9}, "high must not be below open or close"),
        ({"low": 100.1}, "low must not be above open or close"),
        ({"close": 101.1}, "high must not be below open or close"),
        ({"open": 98.9}, "low must not be above open or close"),
    ],
)
def test_values_no_market_has_are_refused(changes: dict[str, float], rule: str) -> None:
    with pytest.raises(BadCandle, match=rule) as caught:
        audited(row(0), row(1, **changes), row(2))
    text = str(caught.value)
    assert "BTCUSDT 1m from 'mine'" in text
    assert "2022-01-01 12:01 UTC" in text
    name, value = next(iter(changes.items()))
    assert f"{name} {value:.12g}" in text
    assert len(caught.value.lines()) <= 3


@given(
    values=st.lists(st.sampled_from([1.0, 1 + 1e-12, 2.0, 1.5, 0.0, -1.0, math.nan, math.inf]), min_size=5, max_size=5),
    negative=st.booleans(),
)
def test_the_quick_look_at_values_equals_their_rules(values: list[float], negative: bool) -> None:  # noqa: FBT001
    candles = Candles.from_rows([(START, *values), row(1)])
    if any(broken.any() for broken, _ in broken_values(candles, negative=negative)):
        with pytest.raises(BadCandle):
            check_values(candles, asked(), negative=negative)
    else:
        known = check_values(candles, asked(), negative=negative)
        assert known in (None, (candles.block[1:5].min(), candles.block[1:5].max()))


def test_of_many_candles_all_that_break_the_first_rule_are_counted() -> None:
    rows = [row(i) for i in range(20_000)]
    rows[5] = row(5, volume=-1.0)
    for i in (9_000, 19_999):
        rows[i] = row(i, high=math.nan)
    with pytest.raises(BadCandle, match=r"(?s)2022-01-07 18:00.*finite number \(1 more like it\)"):
        audited(*rows, count=20_000)


def test_zero_volume_is_legal() -> None:
    assert audited(row(0, volume=0.0)) == ([0], ())


def test_the_last_digit_of_a_float_is_forgiven() -> None:
    nudge = 100.0 * (1 - 1e-10)
    assert audited(row(0, high=nudge)) == ([0], ())
    with pytest.raises(BadCandle):
        audited(row(0, high=100.0 * (1 - 1e-8)))


def flat(prices: list[float]) -> list[tuple[float, ...]]:
    return [row(i, open=p, high=p, low=p, close=p) for i, p in enumerate(prices)]


@pytest.mark.parametrize(
    ("prices", "refused"),
    [
        ([100, 100, 100, 100, 0.1], False),  # strictly below a thousandth of the median
        ([100, 100, 100, 100, 0.0999], True),
        ([100, 100, 100, 200, 100, 0.1], False),  # also where the maximum alone does not settle it
        ([100, 100, 100, 0.08], False),  # four candles: the mean, 75.02, is the reference
        ([100, 100, 100, 0.07], True),
        ([0.05, 0.05, 0.05, 0.05, 100.0, 100.0, 100.0, 100.0], True),  # upper median
        ([0.05, 0.05, 0.05, 0.05, 100.0, 100.0, 100.0], False),
    ],
)
def test_anomalously_low_prices(prices: list[float], refused: bool) -> None:  # noqa: FBT001 -- a table's column
    if refused:
        with pytest.raises(BadCandle, match="anomalously low"):
            audited(*flat(prices))
    else:
        assert len(audited(*flat(prices))[0]) == len(prices)


@pytest.mark.parametrize(
    ("prices", "refused"),
    [
        ([100, 100, 1e30, 100, 100, 100], 2),
        ([100, 100, 100_000, 100, 100, 100], None),  # a thousand times, and no more
        ([100, 100, 100_001, 100, 100, 100], 2),
        ([100, 1e30, 100], 1),  # fewer than there is a median for
        ([100, 100, 1e30, 1e30, 1e30, 100, 100, 100], 2),  # several
        ([100, 100, 100, 100, 1e30], 4),  # the last, the first, and one of two
        ([1e30, 100, 100, 100, 100], 0),
        ([100, 1e30], 1),
        ([100, 100, 100, 100, 100, 1e6, 1e6, 1e6], None),  # a new level
        ([100, 100, 100, 100, 100, 1e6, 1e6, 5e4], None),  # from which it falls, but not to where it was
        ([100, 100, 1.7e308, 100, 100], 2),
    ],
)
def test_anomalously_high_prices(prices: list[float], refused: int | None) -> None:
    if refused is None:
        assert len(audited(*flat(prices))[0]) == len(prices)
        return
    with pytest.raises(BadCandle, match="anomalously high") as caught:
        audited(*flat(prices))
    assert caught.value.open_time == START + refused * MINUTE


def test_a_low_price_is_not_blamed_on_the_candle_behind_it() -> None:
    with pytest.raises(BadCandle, match="anomalously low") as caught:
        audited(*flat([100, 100, 100, 100, 0.05, 100]))
    assert caught.value.open_time == START + 4 * MINUTE
    with pytest.raises(BadCandle, match="anomalously low") as caught:
        audited(*flat([100, 0.05, 100, 100]))
    assert caught.value.open_time == START + MINUTE


def test_a_high_price_is_seen_where_requests_meet() -> None:
    few = Settings(max_candles_per_request=5)
    for place in (4, 5):
        prices = [100.0] * 10
        prices[place] = 1e30
        with pytest.raises(BadCandle, match="anomalously high") as caught:
            audit(Candles.from_rows(flat(prices)), asked(), settings=few)
        assert caught.value.open_time == START + place * MINUTE
    with pytest.raises(BadCandle, match="anomalously high"):
        audit(Candles.from_rows(flat([1e30])), asked(), settings=SETTINGS, before=100.0)


@pytest.mark.parametrize(("prices", "refused"), [([100_001], 0), ([0.0999], 0), ([200, 1e30, 1e30], 1), ([9e4], None)])
def test_new_candles_are_compared_with_the_close_before_them(prices: list[float], refused: int | None) -> None:
    candles = Candles.from_rows(flat(prices))
    if refused is None:
        audit(candles, asked(), settings=SETTINGS, before=100.0, one_by_one=True)
        return
    with pytest.raises(BadCandle, match="the close before it") as caught:
        audit(candles, asked(), settings=SETTINGS, before=100.0, one_by_one=True)
    assert caught.value.open_time == START + refused * MINUTE


@pytest.mark.parametrize(
    ("prices", "wrong"),
    [
        ([1e6] * 2, [0, 1]),
        ([1e6] * 3, []),
        ([1e30] + [1e6] * 3, [0]),
        ([1e6, 1e6, 100, 100], [0, 1]),
        ([1e6, 1e12, 1e6], [0, 1, 2]),
    ],
)
@pytest.mark.parametrize("known", [0, 10])
def test_a_new_level_is_believed_once_it_has_lasted(prices: list[float], wrong: list[int], known: int) -> None:
    """The newest candles, behind a close of 100 or behind candles of a first answer."""
    settings = Settings(max_candles_per_request=500)
    rows, found = flat([100.0] * known + prices), []
    while rows:
        try:
            audit(Candles.from_rows(rows), asked(60), settings=settings, before=None if known else 100.0,
                  one_by_one=not known, lasting=3)  # fmt: skip
            break
        except BadCandle as error:
            found.append((error.open_time - START) // MINUTE - known)
            rows = [row for row in rows if row[0] != error.open_time]
    assert sorted(found) == wrong
    audit(Candles.from_rows(flat([1e-4] * 3)), asked(), settings=settings, before=100.0, one_by_one=True, lasting=3)


def test_the_anomaly_settings_count() -> None:
    candles = Candles.from_rows(flat([100, 100, 100, 100, 9]))
    with pytest.raises(BadCandle, match="a 10th of the usual price 100"):
        audit(candles, asked(), settings=Settings(get_candles_price_anomaly_threshold_factor=10))
    by_mean = Settings(get_candles_price_anomaly_threshold_factor=10, get_candles_min_candles_for_median=6)
    audit(candles, asked(), settings=by_mean)  # the mean is 81.8


def test_a_price_that_grew_for_years_is_no_anomaly() -> None:
    prices = np.geomspace(1e-3, 1e6, 9000)
    candles = Candles.from_rows(flat(prices.tolist()))
    audit(candles, asked(9000), settings=SETTINGS)


def test_a_coin_that_grew_a_thousandfold_in_a_year_of_days_is_no_anomaly() -> None:
    days = np.concatenate([np.geomspace(0.001, 5.0, 300), np.geomspace(5.0, 0.002, 65)])
    audit(Candles.from_rows(flat(days.tolist())), asked(365), settings=SETTINGS)


def test_unsorted_is_sorted() -> None:
    assert audited(row(0), row(2), row(1), row(3)) == (
        [0, 1, 2, 3],
        (Repair(rule="sorted", count=1, first=START + MINUTE),),
    )


def test_same_twice_is_kept_once() -> None:
    kept, repairs = audited(row(0), row(1), row(0), row(1), row(1), row(2))
    assert kept == [0, 1, 2]
    assert repairs[1] == Repair(rule="dropped duplicates", count=3, first=START)


@pytest.mark.parametrize("change", ["open", "high", "low", "close", "volume"])
def test_contradiction_is_refused(change: str) -> None:
    values = {"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 5.0}
    with pytest.raises(BadCandle, match="contradict") as caught:
        audited(row(0), row(1), row(1, **{change: values[change] * 1.0001}))
    assert str(caught.value).count("12:01 UTC") == 2


def test_off_the_grid_is_refused() -> None:
    with pytest.raises(BadCandle, match=r"12:01:30 UTC.*\n.*not a multiple of 1m"):
        audited(row(0), row(1.5))


def test_an_interval_s_own_grid_counts() -> None:
    hour = asked(4, "15m", 15 * MINUTE)
    with pytest.raises(BadCandle, match="not a multiple of 15m"):
        audit(Candles.from_rows([row(0), row(16)]), hour, settings=SETTINGS)


def test_outside_is_ignored_while_some_are_inside() -> None:
    kept, repairs = audited(row(-1), row(0), row(1), row(2), row(3), count=2)
    assert kept == [0, 1]
    assert repairs == (Repair(rule="ignored outside the asked range", count=3, first=START - MINUTE),)


def test_what_is_outside_is_not_held_to_the_rules() -> None:
    assert audited(row(-1.5, close=-1.0), row(0))[0] == [0]


def test_only_earlier_candles_are_refused() -> None:
    with pytest.raises(DataError, match="must honour `since`") as caught:
        audited(row(-2), row(-1))
    assert not isinstance(caught.value, NotEnoughData)
    assert "2 came, 2022-01-01 11:58 UTC .. 2022-01-01 11:59 UTC" in str(caught.value)


def test_only_later_candles_mean_that_data_begins_later() -> None:
    with pytest.raises(NotEnoughData, match="data begins there, or get_candles ignores `since`"):
        audited(row(10), row(11))


def test_seconds_are_recognised() -> None:
    rows = [(START // 1000 + 60 * i, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(3)]
    with pytest.raises(DataError, match="look like seconds: multiply them by 1000"):
        audited(*rows)


def test_the_forming_candle_is_dropped_without_a_note() -> None:
    rows = [row(0), row(1), row(2)]
    assert audited(*rows, now=START + 3 * MINUTE) == ([0, 1, 2], ())
    assert audited(*rows, now=START + 3 * MINUTE - 1) == ([0, 1], ())
    assert audited(*rows, now=START) == ([], ())


def test_an_unfinished_candle_may_look_odd() -> None:
    assert audited(row(0), row(1, close=0.0), now=START + MINUTE) == ([0], ())


def test_garbage_times_are_named_not_crashed_on() -> None:
    with pytest.raises(NotEnoughData, match="1000000000000000000 ms"):
        audited((10**18, 1.0, 1.0, 1.0, 1.0, 1.0))


def at(*minutes: int) -> Candles:
    return Candles.from_rows([row(minute) for minute in minutes])


def test_gaps_are_half_open_ranges() -> None:
    times = at(0, 1, 4, 5, 7).timestamp
    assert gaps(times, MINUTE) == ((START + 2 * MINUTE, START + 4 * MINUTE), (START + 6 * MINUTE, START + 7 * MINUTE))
    assert gaps(times[:2], MINUTE) == ()
    assert gaps(times[:0], MINUTE) == ()


@pytest.mark.parametrize("count", [0, 1, 2, 8_192, 8_193, 8_194, 20_000])
def test_one_candle_that_is_elsewhere_makes_them_uneven(count: int) -> None:
    times = START + np.arange(count) * MINUTE
    assert is_even(times, MINUTE)
    for at in {1, count // 2, 8_191, 8_192, count - 2} & {*range(1, count - 1)}:
        moved = times.copy()
        moved[at] += 1
        assert not is_even(moved, MINUTE)


def test_a_gap_is_refused_with_its_ranges() -> None:
    with pytest.raises(GapError) as caught:
        check_gaps(at(0, 1, 4, 5, 7), asked())
    assert caught.value.ranges == gaps(at(0, 1, 4, 5, 7).timestamp, MINUTE)
    text = str(caught.value)
    assert "3 candles are missing" in text
    assert "2022-01-01 12:02 UTC .. 2022-01-01 12:03 UTC (2), 2022-01-01 12:06 UTC" in text
    assert "allow_gaps" in text


def test_many_gaps_are_counted_not_recited() -> None:
    with pytest.raises(GapError, match="and 3 more gaps") as caught:
        check_gaps(at(0, 1, *range(3, 19, 2)), asked(20))
    assert len(caught.value.ranges) == 8
    assert str(caught.value).count("UTC") == 5


def test_wider_candles_are_called_by_their_name() -> None:
    with pytest.raises(DataError, match="asked for 1m candles, got candles spaced 5m") as caught:
        check_gaps(at(0, 5, 10, 15), asked(20))
    assert not isinstance(caught.value, GapError)
