"""What is asked about runs over longer bars: moments, luck, walks, hold-outs, look-ahead, belief, cards."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from quick import first_quick
from test_base_bars import FAR, FREE, answer, days, frame_of, signal_of, walk
from test_base_bars import WEEK as HOURS_OF_A_WEEK
from test_luck import at_random_moments_are_those_of, declaring, entered_at

import bknb
from bknb.domain.interval import INTERVAL_MS
from bknb.domain.signal_events import Opened, Scheduled
from bknb.exchanges import from_frame
from bknb.runs.luck import _compounded, moments_of
from bknb.runs.trades_as_arrays import market_of

DAY = 86_400_000
HOUR = 3_600_000


def source_of(base: str, seed: int = 3, count: int = 260, **options: Any) -> Any:
    """A source of a random walk, and its bars."""
    sessions = options.get("sessions")
    bars = walk(seed, base, count, holes=options.get("holes", 0.0), sessions=sessions)
    return from_frame(frame_of(bars), sessions=sessions), bars


# --- a moment of a run -----------------------------------------------------------------------------------------------

WORLDS = {
    "hours": ("1h", "2h", {}),
    "days": ("1d", "1d", {}),
    "hours of sessions": ("1h", "1h", {"sessions": HOURS_OF_A_WEEK, "count": 600}),
    "hours with holes": ("1h", "1h", {"holes": 0.08}),
    "three days": ("1d", "3d", {}),
}


@pytest.mark.parametrize("kind", WORLDS)
def test_each_question_of_a_run_over_bars_is_asked_again_as_it_was(kind: str) -> None:
    base, interval, options = WORLDS[kind]
    source, bars = source_of(base, **options)
    step, seen, asked = INTERVAL_MS[base], {}, []

    def get_signal(ctx: Any) -> Any:
        asked.append(ctx.when_ms)
        look = (ctx.price, ctx.candles(base, 2).block.tolist())
        assert seen.setdefault(ctx.when_ms, look) == look
        return signal_of(answer(5, ctx.when_ms, ctx.price, step))

    result = bknb.backtest(
        "X", strategy=get_signal, exchange=source, frame=(bars[20].t, bars[-9].t), interval=interval,
        settings=FREE, allow_gaps="holes" in options,
    )  # fmt: skip
    assert not result.errors
    made = {event.signal.scheduled_at: event for event in reversed(result.run_record.records.events)
            if isinstance(event, (Opened, Scheduled))}  # fmt: skip
    questions = list(asked)
    assert len(made) > 8
    for when in questions:
        moment = result.at(when)
        again = moment.ask()
        assert asked.pop() == moment.when_ms == when
        assert again.event == moment.decision == made.get(when)
        assert moment.state in ("flat", "leaving")
        assert result.at(when + step - 1).when_ms == when  # within a bar nothing new is known
    for one in made.values():
        assert result.at(one.signal.id).when_ms == one.signal.scheduled_at


def test_the_state_of_each_bar_is_what_was_known_at_its_end() -> None:
    """Filled at the open of Tuesday, which is known once Tuesday is over; the deadline is Thursday's midnight."""
    table = days(40, freq="D").assign(Open=100.0, High=101.0, Low=99.0, Close=100.0)

    def get_signal(when: Any) -> Any:
        return bknb.Signal(side="long", minute_estimated_time=2 * 1440) if when.day == 16 else None

    result = bknb.backtest("X", strategy=get_signal, exchange=from_frame(table), frame=("2024-01-10", "2024-01-30"))
    states = {day: result.at(f"2024-01-{day}").state for day in range(15, 21)}
    assert states == {15: "flat", 16: "flat", 17: "open", 18: "leaving", 19: "flat", 20: "flat"}
    text = repr(result.at("2024-01-17 13:00"))
    assert "at 2024-01-17 00:00 UTC: price 100" in text
    assert "1d bar" in text
    assert "2024-01-16 00:00" in text
    assert "1d bar (UTC)" in result.at("2024-01-17")._repr_html_()
    with pytest.raises(bknb.UsageError, match="the run covers"):
        result.at("2024-02-01")


@pytest.mark.parametrize("base", ["1h", "1d"])
def test_a_managed_position_over_bars_comes_out_again(base: str) -> None:
    source, bars = source_of(base, seed=5, count=300)
    step, seen = INTERVAL_MS[base], {}

    def get_signal(price: float) -> Any:
        return bknb.Signal(
            position="long", price_take_profit=[(price + 5, 0.5), (price + 9, 0.5)], price_stop_loss=price - 6,
            trailing=bknb.Trailing(distance=6.0), minute_estimated_time=12 * step // 60_000 + 7,
        )  # fmt: skip

    def manage(ctx: Any, position: Any) -> Any:
        assert seen.setdefault(ctx.when_ms, position) == position
        return bknb.Add(share=0.5, price_open=position.price - 1) if position.bars == 3 else None

    strategy = bknb.add_strategy("managed", interval=base, get_signal=get_signal, manage=manage)
    frame = (bars[9].t, bars[-9].t)
    result = bknb.backtest("X", strategy=strategy, exchange=source, frame=frame, settings=FREE)
    assert not result.errors
    assert {"added", "reduced"} <= {event.action for event in result.position_events}
    assert len(seen) > 60
    for when, position in list(seen.items())[::9]:
        moment = result.at(when)
        assert moment.position == position
        assert moment.manage().diverged == ""


# --- luck ------------------------------------------------------------------------------------------------------------


def lucky(base: str, kind: str, share: float = 0.4) -> Any:
    """A run without any idea over bars that swing about as far as the levels are away."""
    rng = np.random.default_rng(8)
    step = INTERVAL_MS[base]
    times = 1_704_067_200_000 + np.arange(500) * step
    times = times[(times // DAY + 3) % 7 < 5] if kind == "weekdays" else times
    count = len(times)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, count)))
    opened = np.r_[100.0, close[:-1]] * np.exp(rng.normal(0, 0.0003, count))
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    volume = np.where(rng.random(count) < (0.2 if kind == "silent" else 0.0), 0.0, 1.0)
    volume[0] = 1.0
    block = np.stack([times.astype(float), opened, high, low, close, volume])
    candles = bknb.Candles.from_rows([tuple(row) for row in block.T.tolist()])
    frame = (int(block[0, 22]), int(block[0, -20]))  # from a Wednesday on
    declares = declaring(share)

    def get_signal(price: float) -> Any:
        signal = declares(price)
        if signal is None or signal.minute_estimated_time is None:
            return signal
        return bknb.Signal(**{name: getattr(signal, name) for name in NAMES}, minute_estimated_time=5 * step // 60_000)

    result = bknb.backtest(
        "BTCUSDT", strategy=get_signal, exchange=from_frame(candles, name="walk"), frame=frame,
        settings={**FREE, **FAR, "percent_fee": 0.05, "percent_slippage": 0.02}, allow_gaps=kind == "weekdays",
    )  # fmt: skip
    return result, candles


NAMES = ("position", "price_take_profit", "price_stop_loss", "trailing", "breakeven")


@pytest.mark.parametrize(("base", "kind"), [("1h", ""), ("1d", "weekdays"), ("1h", "silent")])
def test_trades_over_bars_have_their_own_results_at_their_own_moments(base: str, kind: str) -> None:
    result, _ = lucky(base, kind)
    assert len(result.trades) > 40
    at_random_moments_are_those_of(result)


@pytest.mark.parametrize(("base", "kind"), first_quick([("1d", "weekdays"), ("1h", "")]))
def test_totals_over_bars_are_those_of_the_event_engine_at_the_same_moments(base: str, kind: str) -> None:
    pytest.importorskip("numba")
    result, candles = lucky(base, kind, share=0.04)
    assert len(result.trades) > 8
    minutes, _ = market_of(result)
    [(which, starts)] = moments_of(result, minutes.times, 4).drawn(2, at_once=2)
    decided = minutes.times[starts.ravel() - 1] + INTERVAL_MS[base]  # on a Saturday for the open of Monday
    moments = [*zip(which.ravel().tolist(), decided.tolist(), strict=True)]
    alone = entered_at(moments, result, candles).reshape(which.shape)
    compared = bknb.luck(result, n=2, seed=4)
    np.testing.assert_allclose(compared.totals, _compounded(alone), rtol=1e-9, atol=1e-9)
    assert compared.any_hour.startswith("bars of a day have no hour" if base == "1d" else "")


# --- walks, hold-outs, belief, verification --------------------------------------------------------------------------


def rising(base: str) -> Any:
    """Follows the last bars; a position lasts a bar and a half."""

    def get_signal(ctx: Any, bars: int = 3) -> Any:
        closes = ctx.candles(base, bars).close
        if closes[-1] <= closes[0]:
            return None
        return bknb.Signal(
            position="long", price_take_profit=ctx.price + 4, price_stop_loss=ctx.price - 4,
            minute_estimated_time=INTERVAL_MS[base] * 3 // 120_000,
        )  # fmt: skip

    return get_signal


def rising_rows(base: str) -> Any:
    """The same as rows."""

    def get_signals(candles: Any, bars: int = 3) -> Any:
        close = candles.close
        before = np.r_[np.full(bars - 1, np.inf), close[: len(close) - bars + 1]]
        lasts = INTERVAL_MS[base] * 3 // 120_000
        levels = {"price_take_profit": close + 4, "price_stop_loss": close - 4}
        return {"position": (close > before).astype(float), "minute_estimated_time": lasts, **levels}

    return get_signals


@cache
def hourly_and_minutes() -> tuple[Any, Any]:
    """A source of hours, and one of the minutes they are made of, of which only the first and the last move."""
    bars = walk(7, "1h", 24 * 20)
    rows = []
    for bar in bars:
        for at in range(60):
            low, high = (bar.low, bar.high) if at == 30 else (bar.open, bar.open)
            close = bar.close if at == 59 else bar.open
            ends = (min(low, close, bar.open), max(high, close, bar.open))
            rows.append((bar.t + at * 60_000, bar.open, ends[1], ends[0], close, bar.volume))
    table = pd.DataFrame(rows, columns=["t", "open", "high", "low", "close", "volume"])
    table = table.assign(date=pd.to_datetime(table["t"], unit="ms", utc=True)).drop(columns="t").set_index("date")
    return from_frame(frame_of(bars)), from_frame(table)


DAILY_WALK = {"frame": ("2024-01-08", "2024-05-01"), "train": "30d", "test": "15d"}
HOURLY_WALK = {"frame": ("2024-01-03", "2024-01-20"), "train": "5d", "test": "60h"}


def walked(strategy: Any, source: Any, length: str, **options: Any) -> Any:
    given = DAILY_WALK if length == "1d" else HOURLY_WALK
    sets = {"bars": [2, 3, 5]}
    return bknb.walk_forward(
        strategy, sets, symbol="X", exchange=source, metric="total_pnl", settings=FREE, **{**given, **options}
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", first_quick(["1h", "1d"]))
def test_every_fold_of_a_walk_over_bars_is_two_plain_backtests(base: str) -> None:
    source, _ = source_of(base, seed=7, count=24 * 20 if base == "1h" else 150)
    walk_of, step = walked(rising(base), source, base), INTERVAL_MS[base]
    assert len(walk_of.folds) >= 4
    assert not [text for text in walk_of.warnings if "outside the asked range" in text]

    def alone(bars: int, start: int, end: int) -> Any:
        own = rising(base)

        def get_signal(ctx: Any) -> Any:
            return own(ctx, bars)

        frame = (start, end - 2 * step)
        return bknb.backtest("X", strategy=get_signal, exchange=source, frame=frame, settings=FREE)

    for fold in walk_of.folds:
        part = fold.stretch
        totals = [alone(bars, part.train_start, part.train_end).stats["total_pnl"] for bars in (2, 3, 5)]
        assert (fold.params, fold.train_value) == ({"bars": (2, 3, 5)[int(np.argmax(totals))]}, max(totals))
        tested = alone(fold.params["bars"], part.test_start, part.test_end)
        pd.testing.assert_frame_equal(fold.result.trades, tested.trades)
        assert (fold.result.trades["closed_at"].astype("int64") // 10**6 < part.test_end).all()
    assert len(walk_of.trades) > 9
    assert walk_of.account["total_return"] is not None


@pytest.mark.parametrize("base", first_quick(["1d", "1h"]))
def test_rows_and_questions_choose_the_same_in_a_walk_over_bars(base: str) -> None:
    pytest.importorskip("numba")
    source, _ = source_of(base, seed=7, count=24 * 20 if base == "1h" else 150)
    strategy = bknb.add_strategy("rows", interval=base, get_signals=rising_rows(base), lookback=8)
    one, other = walked(strategy, source, base), walked(rising(base), source, base)
    assert [fold.params for fold in one.folds] == [fold.params for fold in other.folds]
    for fold, same in zip(one.folds, other.folds, strict=True):
        assert fold.train_value == pytest.approx(same.train_value)
        assert fold.test_value == pytest.approx(same.test_value)


@pytest.mark.slow
def test_a_base_chosen_for_a_walk_is_that_of_bars_of_that_length() -> None:
    hours, minutes = hourly_and_minutes()
    one, other = walked(rising("1h"), minutes, "1h", base="1h"), walked(rising("1h"), hours, "1h")
    assert len(one.trades) > 20
    pd.testing.assert_frame_equal(one.trades, other.trades)
    assert one.account["total_return"] == other.account["total_return"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"train": "36h"}, "train must be a whole number of 1d bars, got '36h'\nsuch as '1d' or '2d'"),
        ({"gap": "12h"}, "gap must be a whole number of 1d bars, got '12h'\nsuch as '1d'"),
        ({"base": "3d", "test": 10}, "test must be a whole number of 3d bars, got 10\nsuch as '9d' or '12d'"),
    ],
)
def test_stretches_of_a_walk_are_whole_bars(options: dict[str, Any], told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        walked(rising("1d"), from_frame(days()), "1d", **options)


def test_a_hold_out_over_bars_is_its_backtest_and_one_look_at_the_market(tmp_path: Any) -> None:
    hours, minutes = hourly_and_minutes()
    options: dict[str, Any] = {"frame": ("2024-01-05", "2024-01-15"), "settings": FREE}
    look = {"exchange": hours, "path": tmp_path / "looks.jsonl", **options}
    first = bknb.open_holdout(rising("1h"), "X", **look)
    pd.testing.assert_frame_equal(
        first.result.trades, bknb.backtest("X", strategy=rising("1h"), exchange=hours, **options).trades
    )
    assert (first.first, first.result.base) == (True, "1h")
    again = bknb.open_holdout(rising("1h"), "X", **{**look, "exchange": minutes, "base": "1h"})
    assert (again.first, again.result.base, len(again.earlier)) == (False, "1h", 1)
    pd.testing.assert_frame_equal(again.result.trades, first.result.trades)


def test_belief_over_bars_measures_the_days_of_the_account() -> None:
    source, bars = source_of("1d", seed=7, count=500)
    frame = (bars[9].t, bars[-9].t)
    result = bknb.backtest("X", strategy=rising("1d"), exchange=source, frame=frame, settings=FREE)
    believed = bknb.belief(result, trials=3)
    assert believed.deflated.observations == len(result.trades) > 30
    assert 0 < believed.deflated.p_value < 1


@pytest.mark.slow
def test_luck_and_moments_are_of_the_chosen_base() -> None:
    hours, minutes = hourly_and_minutes()
    options: dict[str, Any] = {"strategy": rising("1h"), "frame": ("2024-01-05", "2024-01-15"), "settings": FREE}
    one = bknb.backtest("X", exchange=hours, **options)
    other = bknb.backtest("X", exchange=minutes, base="1h", **options)
    assert len(one.trades) > 10
    for trade in one.trades["signal_id"]:
        assert one.at(trade).ask().event == other.at(trade).ask().event == other.at(trade).decision
    pytest.importorskip("numba")
    assert bknb.luck(one, n=200).totals.tolist() == bknb.luck(other, n=200).totals.tolist()


@pytest.mark.parametrize("base", ["1h", "1d"])
def test_a_card_of_a_run_over_bars_is_verified(base: str) -> None:
    source, bars = source_of(base)
    bknb.add_exchange("bars", get_candles=source)
    bknb.add_strategy("rising", interval=base, get_signal=rising(base))
    result = bknb.backtest("X", strategy="rising", exchange="bars", frame=(bars[9].t, bars[-9].t), settings=FREE)
    assert len(result.trades) > 5
    assert bknb.verify(result.card).same
    changed = frame_of([bar._replace(volume=bar.volume + 1) if at == 99 else bar for at, bar in enumerate(bars)])
    bknb.add_exchange("bars", get_candles=from_frame(changed))
    assert not bknb.verify(result.card).same


# --- look-ahead ------------------------------------------------------------------------------------------------------


@cache
def checked_market(base: str) -> tuple[Any, Any]:
    """A source with prices that tell their moments, and its bars as a table."""
    rng = np.random.default_rng(11)
    count, step = 400, INTERVAL_MS[base]
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opened = np.r_[100.0, close[:-1]]
    table = pd.DataFrame(
        {"open": opened, "high": np.maximum(opened, close) * 1.003, "low": np.minimum(opened, close) * 0.997,
         "close": close, "volume": rng.uniform(1, 9, count)},
        index=pd.to_datetime(1_704_067_200_000 + np.arange(count) * step, unit="ms", utc=True),
    )  # fmt: skip
    return from_frame(table, symbol="X"), table


def trade(price: float, up: Any, base: str) -> Any:
    sign = 1 if up else -1
    return bknb.Signal(
        position="long" if up else "short", price_take_profit=price * (1 + sign * 0.05),
        price_stop_loss=price * (1 - sign * 0.05), minute_estimated_time=INTERVAL_MS[base] // 60_000,
    )  # fmt: skip


def check(strategy: Any, base: str, **options: Any) -> Any:
    source, table = checked_market(base)
    frame = (table.index[60], table.index[-20])
    return bknb.check_lookahead(strategy, "X", exchange=source, frame=frame, moments=20, **options)


def leaks(base: str) -> dict[str, Any]:
    """Strategies that know what they could not."""
    source, table = checked_market(base)
    step = pd.Timedelta(INTERVAL_MS[base], unit="ms")

    def a_table_of_later_bars(when: Any, price: float) -> Any:
        later = table["close"].asof(pd.Timestamp(when) + step)
        return trade(price, later > price, base)

    def a_bar_that_has_not_closed(when: Any, price: float) -> Any:
        return trade(price, table["close"].asof(pd.Timestamp(when)) > price, base)

    def a_source_in_a_variable(ctx: Any) -> Any:
        rows = asyncio.run(source.get_candles("X", base, ctx.when_ms, 1))
        return trade(ctx.price, rows.close[-1] > ctx.price, base)

    return {
        function.__name__: function
        for function in (a_table_of_later_bars, a_bar_that_has_not_closed, a_source_in_a_variable)
    }


@pytest.mark.parametrize(
    "name", first_quick(["a_table_of_later_bars", "a_bar_that_has_not_closed", "a_source_in_a_variable"])
)
@pytest.mark.parametrize("base", first_quick(["1d", "1h"]))
def test_a_leak_over_bars_is_found(base: str, name: str) -> None:
    report = check(leaks(base)[name], base)
    assert not report.ok
    assert report.findings[0].kind == "future"


def test_a_leak_in_rows_over_bars_is_found() -> None:
    def the_next_close(candles: Any) -> Any:
        close = candles.close
        up = np.r_[np.diff(close) > 0, False]
        side = np.where(up, 1.0, -1.0)
        levels = {"price_take_profit": close * (1 + 0.05 * side), "price_stop_loss": close * (1 - 0.05 * side)}
        return {"position": side, "minute_estimated_time": 1440, **levels}

    report = check(bknb.add_strategy("next", interval="1d", get_signals=the_next_close, lookback=5), "1d")
    assert report.findings[0].kind == "future"


@pytest.mark.slow
@pytest.mark.parametrize("base", ["1d", pytest.param("1h", marks=pytest.mark.long)])
def test_an_honest_strategy_over_bars_passes(base: str) -> None:
    _, table = checked_market(base)
    step = pd.Timedelta(INTERVAL_MS[base], unit="ms")

    def several(ctx: Any) -> Any:
        longer = "3d" if base == "1d" else "4h"
        rises = ctx.candles(base, 5).close[-1] > ctx.candles(base, 5).close[0]
        return trade(ctx.price, rises == (ctx.candles(longer, 3).close[-1] > ctx.candles(longer, 3).open[0]), base)

    def a_table_that_is_read_honestly(when: Any, price: float) -> Any:
        known = table["close"].asof(pd.Timestamp(when) - step)
        assert known == price
        return trade(price, known > table["close"].asof(pd.Timestamp(when) - 3 * step), base)

    for function in (several, a_table_that_is_read_honestly):
        report = check(function, base)
        assert report.ok, report
        assert report.signals > 5
    assert check(several, base).looks_back == ("3 x 3d of X" if base == "1d" else "3 x 4h of X")


def test_entries_over_bars_that_are_right_too_often_are_found() -> None:
    """A list of sides without prices or moments, which no experiment can change."""
    _, table = checked_market("1d")
    first = table.index[0]
    sides = "".join("u" if up else "d" for up in (table["close"] > table["open"]))

    def by_the_letter(when: Any, price: float) -> Any:
        return trade(price, sides[(pd.Timestamp(when) - first).days] == "u", "1d")

    report = check(by_the_letter, "1d")
    assert not report.ok
    assert (report.accuracy.minutes, report.accuracy.right) == (1440, 1.0)
    assert report.accuracy.entries > 200


@pytest.mark.parametrize("ahead", first_quick([0, 1]))
def test_a_series_of_a_later_day_is_a_suspicion_over_daily_bars(ahead: int) -> None:
    """Of the day that begins when it is known, or of the one behind it."""
    _, table = checked_market("1d")
    move = np.sign(table["close"] - table["open"]).shift(-ahead).fillna(1.0)
    score = move * np.arange(1, len(table) + 1)
    known = pd.DataFrame({"published_at": table.index, "score": score.to_numpy()})
    bknb.add_series("score", known)

    def get_signal(ctx: Any) -> Any:
        return trade(ctx.price, ctx.series("score", 1).score[-1] > 0, "1d")

    report = check(get_signal, "1d")
    assert report.suspected
    assert any("goes with the move of the market" in finding.what for finding in report.findings)
