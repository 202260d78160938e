"""Properties of the engine over random markets and random signals."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from quick import first_quick
from scenarios import MINUTE, ORIGIN
from worlds import LENGTH, MODELS, SEEDS, run, walk

from bknb.domain.signal_events import Cancelled, Closed, Opened, Scheduled
from bknb.engine.backtest import BacktestRun
from bknb.kernels.first_change import first_beyond, first_beyond_plain, first_outside, first_outside_plain
from bknb.kernels.milestone_minutes import milestone_minutes, milestone_minutes_plain
from bknb.market.vwap import average_prices


def told(done: BacktestRun, *, before: int | None = None) -> bytes:
    """Events, milestones and rejections as bytes, those before a moment only."""
    records = done.records
    everything = [*records.events, *records.milestones, *records.rejected]
    return msgspec.json.encode([event for event in everything if before is None or event.when < before])


@pytest.mark.slow
@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS)
def test_skipping_minutes_changes_nothing(model: str, seed: int) -> None:
    assert told(run(seed, model)) == told(run(seed, model, every_minute=True))


@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS)
def test_a_run_is_the_same_to_the_byte_when_repeated(model: str, seed: int) -> None:
    assert told(run(seed, model)) == told(run(seed, model))


@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS, at=st.integers(1, LENGTH))
def test_nothing_depends_on_what_comes_later(model: str, seed: int, at: int) -> None:
    before = ORIGIN + at * MINUTE
    assert told(run(seed, model), before=before) == told(run(seed, model, changed_from=at), before=before)


@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS)
@example(seed=2_000_000)
def test_every_signal_has_one_beginning_and_one_end(model: str, seed: int) -> None:
    events = run(seed, model).records.events
    held: str | None = None
    count: Counter[tuple[str, str]] = Counter()
    told_of: Counter[str] = Counter()
    for event in events:
        assert isinstance(event, (Scheduled, Opened, Closed, Cancelled))
        count[event.signal.id, event.action] += 1
        if isinstance(event, Scheduled):
            assert held is None
        elif isinstance(event, Opened):
            assert held in (None, event.signal.id)
        else:  # an order that no minute could fill before the end of the frame was never known to wait
            never_waited = isinstance(event, Cancelled) and event.reason in ("frame_end", "data_end", "time_expired")
            assert held == event.signal.id or (held is None and never_waited and not told_of[event.signal.id])
        told_of[event.signal.id] += 1
        held = None if isinstance(event, (Closed, Cancelled)) else event.signal.id
    assert held is None
    assert set(count.values()) <= {1}


@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS)
def test_gross_less_fees_less_slippage_is_net(model: str, seed: int) -> None:
    for event in run(seed, model).records.closed:
        parts = event.pnl
        rest = parts.gross_percentage - parts.fee_percentage - parts.slippage_percentage
        assert abs(rest - parts.pnl_percentage) < 1e-9
        assert event.trough_percentage <= parts.pnl_percentage + 1e-9
        assert parts.pnl_percentage <= event.peak_percentage + 1e-9


@given(seed=SEEDS, start=st.integers(0, 300), bounds=st.tuples(*[st.floats(90, 110)] * 4))
def test_the_scan_equals_its_specification(seed: int, start: int, bounds: tuple[float, ...]) -> None:
    columns = np.array(walk(seed)).T
    names = ("above", "below", "price_above", "price_below")
    limits = dict(zip(names, bounds, strict=True))
    data = (columns[2], columns[3], columns[4], start, len(columns[0]))
    assert first_outside(*data, **limits) == first_outside_plain(*data, **limits)
    often = [np.tile(column, 40) for column in data[:2]]  # more than one batch
    span = (start, len(often[0]), bounds[0] + 10, bounds[1] - 10)
    assert first_beyond(*often, *span) == first_beyond_plain(*often, *span)
    assert first_beyond(*data[:2], start, start, *bounds[:2]) == (start, -np.inf, np.inf)


@given(
    prices=st.lists(
        st.floats(88, 112) | st.sampled_from([91.0, 99.0, 101.0, 100.0, 110.0, 90.0, float("nan")]), max_size=40
    ),
    span=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    upper=st.sampled_from([110.0, 100.7, 100.0, 99.0]),
    lower=st.sampled_from([90.0, 99.3, 100.0, 101.0]),
    reached=st.tuples(*[st.integers(0, 10)] * 2),
)
def test_the_minutes_of_milestones_equal_their_specification(
    prices: list[float], span: tuple[int, int], upper: float, lower: float, reached: tuple[int, int]
) -> None:
    ways: dict[str, Any] = {"entry": 100.0, "upper": upper, "lower": lower}
    ways |= {"up": reached[0] * 10, "down": reached[1] * 10}
    given_to = (np.array(prices), min(span), min(max(span), len(prices)))
    assert milestone_minutes(*given_to, **ways) == milestone_minutes_plain(*given_to, **ways)


@pytest.mark.parametrize("model", first_quick(MODELS))
@given(seed=SEEDS)
def test_milestones_told_at_once_are_those_told_one_by_one(model: str, seed: int) -> None:
    """With a callback each is told before the next minute is looked at."""
    heard: list[object] = []
    callbacks = dict.fromkeys(("on_partial_profit", "on_partial_loss"), heard.append)
    one_by_one = run(seed, model, callbacks=callbacks)
    assert told(run(seed, model)) == told(one_by_one)
    assert heard == one_by_one.records.milestones


def test_milestones_that_nobody_looked_at_are_made_before_candles_are_released() -> None:
    done, other = run(1, "touch"), run(1, "touch")
    expected, copied = other.records.milestones, done.records.snapshot()
    done.release_candles(done.plan)
    assert done.window is None
    assert expected
    assert done.records.milestones == copied.milestones == expected
    assert run(1, "touch").records == other.records  # of which one has made them


def average_price(high: list[float], low: list[float], close: list[float], volume: list[float]) -> float:
    """VWAP of a few candles as a plain loop."""
    weighted = total = 0.0
    for h, lo, c, v in zip(high, low, close, volume, strict=True):
        weighted += (h + lo + c) / 3 * v
        total += v
    return weighted / total if total else sum(close) / len(close)


@given(seed=SEEDS, count=st.integers(1, 9))
def test_average_prices_equal_their_specification(seed: int, count: int) -> None:
    _, _, high, low, close, volume = np.array(walk(seed)).T
    got = average_prices(high, low, close, volume, count=count)
    assert np.isnan(got[: count - 1]).all()
    for end in range(count, len(close) + 1):
        part = slice(end - count, end)
        assert got[end - 1] == average_price(
            high[part].tolist(), low[part].tolist(), close[part].tolist(), volume[part].tolist()
        )
