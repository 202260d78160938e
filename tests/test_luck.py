"""Luck: trades at random moments are what the event engine makes of them, and their share means what it says."""

from __future__ import annotations

import threading
from dataclasses import replace

import msgspec
import numpy as np
import pandas as pd
import pytest
from luck_worlds import DAY, START, at_hours, wild_hours
from quick import first_quick

import bknb
from bknb.kernels.random_trades import outcomes, outcomes_plain
from bknb.runs.luck import _compounded, moments_of
from bknb.runs.random_moments import at_same_hours, hours_of
from bknb.runs.trades_as_arrays import declared_of, market_of, shapes_of

MINUTE = 60_000


def rows(seed, count=4000, *, step=0.0012, drift=0.0, silent=0.0):
    """Candles of a random walk; a part ``silent`` of them has no volume."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(drift, step, count)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, step / 3, count))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, step / 2, count)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, step / 2, count)))
    volume = np.where(rng.random(count) < silent, 0.0, 1.0)
    volume[0] = 1.0
    times = START + np.arange(count) * MINUTE
    return bknb.Candles.from_rows(list(zip(times.tolist(), open_, high, low, close, volume, strict=True)))


def source(*given, **options):
    return bknb.exchanges.from_frame(rows(*given, **options), name="walk")


def at_random(share, *, up=1.012, down=0.99, minutes=75, seed=1):
    """A strategy without any idea: enters at a part of all moments."""
    rng = np.random.default_rng(seed)

    def get_signal(price):
        if rng.random() < share:
            long = rng.random() < 0.5
            return bknb.Signal(
                position="long" if long else "short",
                price_take_profit=None if up is None else price * (up if long else 2 - up),
                price_stop_loss=None if down is None else price * (down if long else 2 - down),
                minute_estimated_time=minutes,
            )
        return None

    return get_signal


def ran(strategy, exchange, count=4000, **options):
    frame = (START + 20 * MINUTE, START + (count - 100) * MINUTE)
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange=exchange, frame=frame, **options)


@pytest.mark.parametrize("execution", ["pessimistic", "touch", "vwap"])
@pytest.mark.parametrize(("step", "silent"), [(0.0012, 0.0), (0.0012, 0.3), (0.008, 0.3)])
def test_each_trade_is_that_of_the_event_engine(execution, step, silent):
    exchange = source(5, step=step, silent=silent)
    result = ran(at_random(0.05), exchange, execution=execution)
    closed = result.run_record.records.closed
    assert len({trade.close_reason for trade in closed}) >= (3 if step < 0.005 else 2)
    assert step < 0.005 or execution == "vwap" or any(trade.ambiguous for trade in closed)  # both levels in one candle
    at_random_moments_are_those_of(result)


@pytest.mark.parametrize("execution", ["pessimistic", "vwap"])
@pytest.mark.parametrize("left_out", ["up", "down", "minutes"])
def test_trades_without_some_level_are_those_of_the_event_engine(execution, left_out):
    result = ran(at_random(0.05, **{left_out: None}), source(5, silent=0.3), execution=execution)
    assert len(result.trades) > 20
    at_random_moments_are_those_of(result)


def at_random_moments_are_those_of(result):
    """The trades of a result, entered at their own moments, have their own results."""
    closed = result.run_record.records.closed
    minutes, rules = market_of(result)
    starts = minutes.times.searchsorted([trade.signal.scheduled_at for trade in closed])
    which = np.arange(len(closed))
    declared = declared_of(closed, result.settings.price_tick)
    found = outcomes_plain(minutes, rules, shapes_of(closed), which[None], starts[None], declared)[0]
    np.testing.assert_allclose(found, [trade.pnl.pnl_percentage for trade in closed], rtol=1e-9)


def declaring(share, *, tick=None, seed=1):
    """A strategy without any idea whose signals have ladders, trailing and break-even stops, or not."""
    rng = np.random.default_rng(seed)

    def get_signal(price):
        if rng.random() >= share:
            return None
        side = 1 if rng.random() < 0.5 else -1
        steps = np.cumsum(rng.uniform(0.003, 0.006, 4))[: rng.integers(1, 5)]
        targets = [price * 1.02, None, [(price * (1 + side * step), 0.25) for step in steps]]
        trailing = [
            None,
            bknb.Trailing(percent=rng.uniform(0.2, 0.9)),
            bknb.Trailing(percent=0.4, after=0.5),
            bknb.Trailing(distance=price * rng.uniform(0.002, 0.009), after=rng.choice([0.0, 0.4])),
        ]
        breakeven = [None, bknb.Breakeven(after=0.6), bknb.Breakeven(after=0.3, plus="")]
        target, follows = targets[rng.integers(3)], trailing[rng.integers(4)]
        return bknb.Signal(
            position="long" if side > 0 else "short",
            price_take_profit=price * (1 + 0.02 * side) if isinstance(target, float) else target,
            price_stop_loss=[None, price * (1 - 0.01 * side)][rng.integers(2)],
            trailing=follows,
            breakeven=breakeven[rng.integers(3)],
            minute_estimated_time=30 if follows is None or follows.after or rng.random() < 0.5 else None,
        )

    return get_signal


@pytest.mark.slow
@pytest.mark.parametrize(
    ("execution", "step", "silent", "tick"),
    first_quick(
        [
            ("pessimistic", 0.0012, 0.3, None),
            ("pessimistic", 0.008, 0.0, 0.013),
            ("touch", 0.0012, 0.0, 0.013),
            ("vwap", 0.0012, 0.3, None),
            ("vwap", 0.004, 0.0, 0.013),
        ],
        kept=2,
    ),
)
def test_trades_with_ladders_trailing_and_break_even_stops_are_those_of_the_event_engine(execution, step, silent, tick):
    settings = {"percent_fee": 0.05, "percent_slippage": 0.02} | ({"price_tick": tick} if tick else {})
    result = ran(declaring(0.5), source(5, step=step, silent=silent), execution=execution, settings=settings)
    assert len(result.trades) > 60
    assert set(result.trades["close_reason"]) >= {"trailing_stop", "stop_loss", "breakeven"}
    assert {event.action for event in result.position_events} == {"moved", "reduced"}
    at_random_moments_are_those_of(result)


def entered_at(moments, result, candles):
    """Net results of the event engine for trades of a run entered elsewhere; NaN for those that never filled.

    ``moments`` are pairs of a trade of the run and when it is entered (UTC ms). What would overlap is another run.
    """
    execution, settings = result.execution, result.settings
    closed, found = result.run_record.records.closed, np.full(len(moments), np.nan)
    waiting = dict(enumerate(moments))
    while waiting:
        asked = []

        def get_signal(ctx):
            due = [at for at, (_, when) in waiting.items() if when == ctx.when_ms]
            if not due:
                return None
            asked.append(due[0])  # noqa: B023
            price = ctx.price
            if execution != "vwap":
                opens = (candles.timestamp >= ctx.when_ms) & ((candles.volume > 0) | (execution == "touch"))
                price = candles.open[np.argmax(opens)] if opens.any() else ctx.price
            return moved(closed[waiting[due[0]][0]].signal, price, str(due[0]))

        again = bknb.backtest(
            "BTCUSDT", strategy=get_signal, exchange=bknb.exchanges.from_frame(candles, name="walk"),
            frame=(result.start, result.end), execution=execution, settings=settings,
        )  # fmt: skip
        assert not len(again.rejected)
        assert asked
        for trade in again.run_record.records.closed:
            found[int(trade.signal.id)] = trade.pnl.pnl_percentage
        for at in asked:
            del waiting[at]
    return found


def moved(signal, price, name):
    """A signal with every level, and the distance of a trailing stop, at the same share of another entry price."""
    factor = price / signal.price_open
    targets = [(each.price * factor, each.share) for each in signal.targets]
    trailing = signal.trailing
    if trailing is not None and trailing.distance is not None:
        trailing = bknb.Trailing(distance=trailing.distance * factor, after=trailing.after)
    return bknb.Signal(
        id=name,
        position=signal.position,
        price_take_profit=targets or (None if signal.price_take_profit is None else signal.price_take_profit * factor),
        price_stop_loss=None if signal.price_stop_loss is None else signal.price_stop_loss * factor,
        trailing=trailing,
        breakeven=signal.breakeven,
        minute_estimated_time=signal.minute_estimated_time,
    )


@pytest.mark.parametrize(
    ("execution", "silent", "tick"),
    first_quick([("pessimistic", 0.3, None), ("pessimistic", 0.0, 0.13), ("touch", 0.0, 0.13), ("vwap", 0.3, None)]),
)
def test_totals_are_those_of_the_event_engine_at_the_same_moments(execution, silent, tick):
    """At the same share of another price: levels, and the distance of a trailing stop in quote currency."""
    candles = rows(5, 1200, silent=silent, step=0.0006, drift=0.0004)  # prices rise by a half
    settings = {"percent_fee": 0.05, "percent_slippage": 0.02} | ({"price_tick": tick} if tick else {})
    exchange = bknb.exchanges.from_frame(candles, name="walk")
    result = ran(declaring(0.05), exchange, count=1200, execution=execution, settings=settings)
    minutes, _ = market_of(result)
    [(which, starts)] = moments_of(result, minutes.times, 4).drawn(3, at_once=3)
    moments = [*zip(which.ravel().tolist(), minutes.times[starts.ravel()].tolist(), strict=True)]
    alone = entered_at(moments, result, candles).reshape(which.shape)
    compared = bknb.luck(result, n=3, seed=4)
    np.testing.assert_allclose(compared.totals, _compounded(alone), rtol=1e-9, atol=1e-9)
    signals = [trade.signal for trade in result.run_record.records.closed]
    assert any(signal.trailing and signal.trailing.distance for signal in signals)
    assert all(any(getattr(signal, name) for signal in signals) for name in ("targets", "breakeven"))


@pytest.mark.slow
def test_random_trades_of_a_run_with_such_exits_have_them_too():
    def trails(percent):
        rng = np.random.default_rng(1)

        def get_signal():
            if rng.random() < 0.02:
                return bknb.Signal(side="long", trailing=bknb.Trailing(percent=percent), minute_estimated_time=60)
            return None

        return ran(get_signal, source(7), settings={"percent_fee": 0.0, "percent_slippage": 0.0})

    tight, wide = (bknb.luck(trails(percent), n=50) for percent in (0.05, 40.0))  # the wide one stops nothing out
    assert np.std(tight.totals) / np.sqrt(tight.trades) < np.std(wide.totals) / np.sqrt(wide.trades) / 3


def test_volumes_that_only_the_strategy_has_seen_do_not_count():
    candles = rows(8, 400)
    quiet = np.where(np.arange(400) < 10, candles.volume, 0.0)  # the first average price is that of minutes 15 to 19
    columns = {name: getattr(candles, name) for name in ("timestamp", "open", "high", "low", "close")}
    exchange = bknb.exchanges.from_frame(bknb.Candles.from_columns(**columns, volume=quiet), name="walk")
    answer = at_random(0.05)

    def get_signal(ctx, price):
        ctx.candles("1m", 18)
        return answer(price)

    result = ran(get_signal, exchange, count=400)
    assert len(result.trades)
    minutes, _ = market_of(result)
    assert minutes.times[0] < START + 10 * MINUTE
    assert minutes.fills[15:].all()


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["pessimistic", "touch", "vwap"])
def test_compiled_is_the_plain_specification(execution):
    result = ran(at_random(0.02), source(6, silent=0.2), execution=execution)
    closed = result.run_record.records.closed
    minutes, rules = market_of(result)
    rng = np.random.default_rng(2)
    which = rng.integers(len(closed), size=(30, 8))
    starts = rng.integers(len(minutes.times), size=which.shape)
    shapes = shapes_of(closed)
    np.testing.assert_array_equal(
        outcomes(minutes, rules, shapes, which, starts), outcomes_plain(minutes, rules, shapes, which, starts)
    )


@pytest.mark.slow
@pytest.mark.parametrize("execution", ["pessimistic", "vwap"])
def test_compiled_is_the_plain_specification_of_trades_that_declare_more(execution):
    result = ran(declaring(0.1), source(6, 2500, silent=0.2), count=2500, execution=execution)
    closed = result.run_record.records.closed
    minutes, rules = market_of(result)
    rng = np.random.default_rng(2)
    which = rng.integers(len(closed), size=(30, 8))
    starts = rng.integers(len(minutes.times), size=which.shape)
    given = (minutes, rules, shapes_of(closed), which, starts, declared_of(closed, None))
    np.testing.assert_array_equal(outcomes(*given), outcomes_plain(*given))


def test_the_seed_decides():
    result = ran(at_random(0.01), source(7))
    one, same, other = (bknb.luck(result, n=150, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.totals, same.totals)
    assert not np.array_equal(one.totals, other.totals)
    assert (one.n, one.seed, one.trades, len(one.totals)) == (150, 1, len(result.trades), 150)
    assert one.total == pytest.approx(result.account["total_return"])
    counts, edges = one.histogram(10)
    assert (counts.sum(), len(edges)) == (150, 11)


@pytest.mark.parametrize(("silent_from", "told"), [(3600, False), (700, True)])
def test_random_trades_that_are_never_filled_do_not_count(silent_from, told):
    candles = rows(12)
    kept = bknb.Candles.from_columns(
        timestamp=candles.timestamp,
        volume=np.where(np.arange(len(candles)) < silent_from, 1.0, 0.0),
        **{name: getattr(candles, name) for name in ("open", "high", "low", "close")},
    )
    enters = at_random(0.05, minutes=20)

    def get_signal(ctx):
        return enters(ctx.price) if ctx.when_ms < START + (silent_from - 50) * MINUTE else None

    compared = bknb.luck(ran(get_signal, bknb.exchanges.from_frame(kept, name="walk")), n=200)
    every = 200 * compared.trades
    assert 0 < compared.filled < every
    assert f"{compared.filled:,} of {every:,} trades were filled, and those alone count" in repr(compared)
    if told:
        assert compared.share is compared.p_value is None
        assert f"too few to tell: only {compared.filled:,} of {every:,} trades" in compared.verdict
    else:
        assert not compared.too_few
        assert 0.05 < compared.p_value < 0.95


def test_the_growth_of_the_filled_trades_stands_for_those_that_were_not():
    results = np.array(
        [[10.0, np.nan, 10.0, np.nan], [10.0, 10.0, 10.0, 10.0], [-150.0, 20.0, 20.0, 20.0], [np.nan] * 4]
    )
    assert _compounded(results).tolist() == pytest.approx([46.41, 46.41, -100.0])


@pytest.mark.slow
def test_random_entries_are_as_good_as_random_entries():
    shares = []
    for seed in range(60):
        result = ran(at_random(0.01, seed=seed), source(seed, 3000), count=3000)
        shares.append(bknb.luck(result, n=120, seed=seed).p_value)
    assert 0.35 < np.mean(shares) < 0.65
    assert np.mean(np.array(shares) < 0.1) < 0.22


def wild_in_the_afternoon(seed):
    return bknb.exchanges.from_frame(wild_hours(seed, wild=0.0015), name="wild")


def twice_a_day(seed):
    return at_hours(seed, (14, 15), 50)


@pytest.mark.slow
def test_each_random_trade_has_the_hour_of_the_day_of_its_own():
    """Luck in wild hours is no skill: the random trades are in them too."""
    chances = []
    for seed in range(40):
        exchange = wild_in_the_afternoon(seed)
        result = bknb.backtest(
            "X", strategy=twice_a_day(seed), exchange=exchange, frame=(START, START + 6 * DAY), interval="1h",
            settings={"percent_fee": 0, "percent_slippage": 0},
        )  # fmt: skip
        compared = bknb.luck(result, n=150, seed=seed)
        assert compared.by_hour
        chances.append(compared.p_value)
    assert np.mean(np.array(chances) < 0.05) <= 0.15
    assert np.mean(np.array(chances) > 0.95) <= 0.15
    assert "at random moments of the same hours of the day" in compared.verdict
    assert "only the hour of the day is kept" in repr(compared)


def test_a_frame_of_fewer_than_five_days_has_too_few_moments_of_an_hour():
    exchange = wild_in_the_afternoon(1)
    found = {
        days: bknb.luck(
            bknb.backtest(
                "X", strategy=twice_a_day(1), exchange=exchange, frame=(START, START + days * DAY), interval="1h"
            ),
            n=20,
        )
        for days in (4, 5)
    }
    assert [found[days].by_hour for days in (4, 5)] == [False, True]
    assert "at random moments of any hour" in found[4].verdict
    assert "fewer than 5 days" in found[4].limits


def test_hours_are_those_of_the_market_and_trades_are_apart():
    days, zone = 40, "America/New_York"
    times = START + 60 * DAY + np.arange(days * 1440) * MINUTE  # summer time begins on the ninth of them
    there = pd.to_datetime(times, unit="ms", utc=True).tz_convert(zone)
    entries = np.flatnonzero((there.hour == 10) & (there.minute == 5))[::2].astype(np.int64)
    lengths = np.full(len(entries), 90)
    hours = hours_of(times, entries, 0, len(times) - 10, zone)
    assert hours.days == days
    starts = at_same_hours(np.random.default_rng(3), 50, hours, lengths, len(times) - 10)
    assert set(there.hour[starts.ravel()]) == {10}
    assert len(np.unique(there.minute[starts.ravel()])) == 60
    ordered = np.sort(starts, axis=1)
    assert (np.diff(ordered, axis=1) >= 90).all()
    assert len(np.unique(there.normalize()[starts.ravel()])) == days


def test_random_trades_do_not_reach_beyond_the_frame():
    times = START + np.arange(6 * 1440) * MINUTE
    hours = hours_of(times, np.array([1400]), 0, len(times), "UTC")
    starts = at_same_hours(np.random.default_rng(3), 200, hours, np.array([200]), len(times))
    assert starts.max() + 200 <= len(times)


def test_knowing_the_future_is_not_luck():
    candles = rows(9)
    closes = candles.close

    def get_signal(ctx):
        at = (ctx.when_ms - START) // MINUTE
        if at + 60 < len(closes) and closes[at + 60] > closes[at] * 1.012:
            return bknb.Signal(
                position="long",
                price_take_profit=ctx.price * 1.01,
                price_stop_loss=ctx.price * 0.98,
                minute_estimated_time=90,
            )
        return None

    compared = bknb.luck(ran(get_signal, bknb.exchanges.from_frame(candles, name="walk")), n=300)
    assert compared.trades > 5
    assert compared.share == 0
    assert compared.p_value == pytest.approx(1 / 301)


@pytest.mark.parametrize("apart", [0.0, 1e-15])
def test_totals_that_are_alike_have_a_histogram(apart):
    totals = np.array([-1.0, -1.0 - apart, -1.0])
    alike = bknb.luck(ran(at_random(0.01), source(7, 600), count=600), n=1)
    counts, edges = replace(alike, totals=totals, n=3).histogram()
    assert counts.sum() == 3
    assert (np.diff(edges) > 0).all()


def test_longs_in_a_rising_market_are_no_skill():
    """A long at random moments of a market that rises wins as well: the share says so, a test of the mean does not."""

    def get_signal(ctx):
        if ctx.when_ms % (180 * MINUTE):
            return None
        return bknb.Signal(
            position="long",
            price_take_profit=ctx.price * 1.05,
            price_stop_loss=ctx.price * 0.95,
            minute_estimated_time=90,
        )

    compared = bknb.luck(ran(get_signal, source(10, 12_000, drift=0.0002), count=12_000), n=300)
    assert compared.total > 0
    assert compared.share > 0.05


def test_it_is_shown_in_words_and_bars():
    compared = bknb.luck(ran(at_random(0.01), source(7)), n=100)
    assert "of 100 runs with the same trades at random moments of any hour did at least as well" in repr(compared)
    assert "the frame has fewer than 5 days to choose from" in repr(compared)
    shown = compared._repr_html_()
    assert shown.count("<span") == 40
    assert compared.verdict in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [({"n": 0}, "n must be a whole number of at least 1"), ({"seed": -1}, "seed must be a whole number of at least 0")],
)
def test_numbers_that_cannot_be_are_refused(options, said):
    result = ran(at_random(0.01), source(7))
    with pytest.raises(bknb.UsageError, match=said):
        bknb.luck(result, **options)


def test_what_has_no_trades_is_refused():
    with pytest.raises(bknb.UsageError, match="no trade that luck could explain"):
        bknb.luck(ran(lambda: None, source(7)))
    with pytest.raises(bknb.UsageError, match="the result of a backtest, got list"):
        bknb.luck([1.0, 2.0])


def hours_in_the_market(minutes):
    """Enters at each full hour, for so many minutes of it."""

    def get_signal(price):
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.5,
            price_stop_loss=price * 0.5,
            minute_estimated_time=minutes,
        )

    return get_signal


@pytest.mark.parametrize(("minutes", "by_hour"), [(20, True), (55, False)])
def test_a_strategy_that_is_in_the_market_nearly_all_the_time_has_random_trades_of_any_hour(minutes, by_hour):
    exchange = wild_in_the_afternoon(1)
    result = bknb.backtest(
        "X", strategy=hours_in_the_market(minutes), exchange=exchange, frame=(START, START + 6 * DAY), interval="1h"
    )
    assert len(result.trades) > 140
    compared = bknb.luck(result, n=60)
    assert compared.by_hour is by_hour
    assert 0 <= compared.overlapping < 0.01
    assert ("of any hour" in compared.verdict) is not by_hour
    assert ("would overlap" in compared.limits) is not by_hour
    assert "fewer than 5 days" not in compared.limits


def test_the_share_of_random_trades_that_overlap_is_told():
    exchange = wild_in_the_afternoon(1)
    result = bknb.backtest(
        "X", strategy=twice_a_day(1), exchange=exchange, frame=(START, START + 6 * DAY), interval="1h"
    )
    compared = bknb.luck(result, n=60)
    assert compared.by_hour
    assert 0 < compared.overlapping < 0.1
    assert f"; {100 * compared.overlapping:.1f} % of the trades overlap an earlier one" in repr(compared)


def test_a_stopped_run_is_compared_with_moments_that_it_reached():
    """Behind the stop prices jump: random trades there would come to more than any of the run."""
    candles, count = rows(3, 6000), 6000
    jumps = np.where(np.arange(count) % 40 < 20, 1.0, 1.4) * (np.arange(count) >= 3000) + (np.arange(count) < 3000)
    columns = {name: getattr(candles, name) * jumps for name in ("open", "high", "low", "close")}
    wild = bknb.Candles.from_columns(timestamp=candles.timestamp, volume=candles.volume, **columns)
    tasks, ready, enters = [], threading.Event(), at_random(0.05)

    def get_signal(ctx):
        assert ready.wait(10)
        if ctx.when_ms >= START + 2500 * MINUTE:
            tasks[0].stop(now=True)
        return enters(ctx.price)

    exchange = bknb.exchanges.from_frame(wild, name="wild")
    frame = (START + 20 * MINUTE, START + 5900 * MINUTE)
    tasks.append(bknb.Backtest.background("BTCUSDT", strategy=get_signal, exchange=exchange, frame=frame))
    ready.set()
    result = tasks[0].result(timeout=60)
    assert result.stopped
    assert len(result.trades) > 10
    whole = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange=exchange, frame=frame)
    assert result.account_terms.end < START + 2700 * MINUTE < whole.account_terms.end
    compared = bknb.luck(result, n=200)
    assert np.std(compared.totals) < 10
    assert market_of(result)[1].frame_last == result.account_terms.end


def test_whole_numbers_of_numpy_are_taken():
    result = ran(at_random(0.01), source(7))
    one, same = bknb.luck(result, n=50, seed=3), bknb.luck(result, n=np.int64(50), seed=np.uint8(3))
    np.testing.assert_array_equal(one.totals, same.totals)
    assert (type(same.n), type(same.seed)) == (int, int)
    assert len(result.drawdowns(n=np.int64(2))) <= 2


@pytest.mark.slow
def test_trades_go_with_the_part_of_the_equity_that_they_had() -> None:
    """Half of the equity in each, by a capital or by signals: the total is that of the account, not of all in each."""
    exchange = source(5)
    alone = ran(at_random(0.004), exchange)
    all_in, half = (ran(at_random(0.004), exchange, capital=1000, sizing=f"percent:{part}") for part in (100, 50))

    whole = at_random(0.004)

    def halved(price):
        found = whole(price)
        return None if found is None else msgspec.structs.replace(found, size=0.5)

    signals = ran(halved, exchange)
    assert bknb.luck(alone, n=50).sizes == ""
    assert bknb.luck(all_in, n=50).totals == pytest.approx(bknb.luck(alone, n=50).totals)
    with_capital, of_signals = bknb.luck(half, n=50), bknb.luck(signals, n=50)
    assert with_capital.total == pytest.approx(half.account["total_return"])
    assert abs(with_capital.total - bknb.luck(alone, n=50).total) > 1.0
    assert np.ptp(with_capital.totals) < 0.7 * np.ptp(bknb.luck(alone, n=50).totals)
    assert of_signals.totals == pytest.approx(with_capital.totals)
    assert of_signals.total == pytest.approx(with_capital.total)
    assert "the part of the equity that it opened with" in repr(with_capital)
    assert bknb.belief(half).total_return == pytest.approx(half.account["total_return"])
    believed = bknb.belief(signals)
    assert believed.total_return == pytest.approx(signals.account["total_return"])
    assert believed.intervals["equity_final"].value == pytest.approx(signals.stats["equity_final"])
    assert "Total return of the account" in repr(bknb.belief(half))
    assert "Total return, compounded" in repr(bknb.belief(alone))


def test_a_leg_of_a_portfolio_has_no_equity_of_its_own() -> None:
    bknb.add_strategy("random", interval="1m", get_signal=at_random(0.004))
    several = bknb.portfolio(
        symbols=["BTCUSDT"], strategies=["random"], exchange=source(5), capital=1000, sizing="percent:50",
        frame=(START + 20 * MINUTE, START + 3900 * MINUTE),
    )  # fmt: skip
    assert "all of the equity, and not with its part" in bknb.luck(several.leg("BTCUSDT"), n=20).sizes
    assert bknb.belief(several.leg("BTCUSDT")).of_account is False
