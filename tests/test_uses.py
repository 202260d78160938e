"""Candles of other intervals and symbols beside rows: what a row sees, everywhere, and indicators as arrays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import MINUTE
from test_indicators import walk

import bknb
from bknb.domain.interval import interval_ms
from bknb.testing.clocks import SimulatedClock

HOUR = 60 * MINUTE
BEGIN = 1_700_006_400_000 // (1440 * MINUTE) * 1440 * MINUTE
ONE, TWO = (walk(12 * 1440, seed=seed, since=BEGIN) for seed in (3, 4))
BOTH = bknb.exchanges.from_frame(pd.concat([ONE.to_pandas().assign(symbol="X"), TWO.to_pandas().assign(symbol="Y")]))
START = BEGIN + 8 * 1440 * MINUTE
FRAME = (START, START + 20 * HOUR)
SETTINGS = {
    "percent_fee": 0.0, "percent_slippage": 0.0,
    "min_take_profit_distance_percent": 0.1, "min_stop_loss_distance_percent": 0.1,
}  # fmt: skip
USES: Any = ["1h", ("Y", "4h")]
TREND, OWN, OTHER = (
    bknb.indicator("ema", "1h", 5),
    bknb.indicator("rsi", "15m", 7),
    bknb.indicator("bbands", "4h", 6, symbol="Y"),
)


def wanted(candles: Any, position: Any) -> dict[str, Any]:
    return {"position": position, "target_percent": 0.6, "stop_percent": 0.6, "minute_estimated_time": 60}


class Seen:
    """A strategy that notes what it sees at its last row, and at all of them where there are many."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, ...]] = {}
        self.last: dict[int, tuple[float, ...]] = {}

    def get_signals(self, candles: Any, others: Any, low: float = 45.0) -> Any:
        hours, other = others["1h"], others["Y", "4h"]
        trend, own, band = TREND(candles), OWN(candles), OTHER(candles).upper
        table = np.stack([trend, own, band, hours.close, other.close, hours.timestamp]).T
        closes = (candles.timestamp + 15 * MINUTE).tolist()
        if len(candles) > 40:
            self.rows |= dict(zip(closes, map(tuple, table.tolist()), strict=True))
        self.last[closes[-1]] = tuple(table[-1].tolist())
        return wanted(candles, np.where((hours.close > trend) & (own < low), 1, np.where(own > 70, -1, 0)))

    def strategy(self) -> Any:
        return bknb.add_strategy("sees", interval="15m", get_signals=self.get_signals, uses=USES, lookback=40)


def run(strategy: Any, **options: Any) -> Any:
    given = {"exchange": BOTH, "frame": FRAME, "settings": SETTINGS} | options
    result = bknb.backtest("X", strategy=strategy, **given)
    assert not result.errors, result.errors
    return result


def test_a_row_sees_the_last_closed_candles_and_the_values_that_a_question_then_sees() -> None:
    seen, asked = Seen(), dict[int, tuple[float, ...]]()

    def get_signal(ctx: Any) -> None:
        hour, other = ctx.candles("1h", 1), ctx.get_candles("Y", "4h", 1)
        values = (TREND.last(ctx), OWN.last(ctx), OTHER.last(ctx).upper)
        asked[ctx.when_ms] = (*values, hour.close[0], other.close[0], float(hour.timestamp[0]))

    result = run(seen.strategy())
    assert len(result.trades) > 5
    assert result.warnings == []
    run(bknb.add_strategy("asks", interval="15m", get_signal=get_signal))
    assert len(asked) > 70
    assert all(seen.rows[when] == values for when, values in asked.items())


@pytest.mark.slow
def test_live_after_a_restart_and_in_a_sweep_it_is_the_same() -> None:
    seen = Seen()
    result = run(seen.strategy())
    rows, store = dict(seen.rows), bknb.stores.memory()
    seen.last.clear()
    middle = START + 10 * HOUR
    for begin, end in ((START, middle), (middle, FRAME[1])):
        task = bknb.Live.background(
            "X", strategy=seen.strategy(), exchange=BOTH, settings=SETTINGS, store=store,
            clock=SimulatedClock(begin), until=end,
        )  # fmt: skip
        live = task.result(timeout=60)
        assert not live.errors, live.errors
    assert len(seen.last) > 70
    assert all(rows[when] == values for when, values in seen.last.items())
    columns = ["position", "pending_at", "closed_at", "pnl_percentage"]
    assert live.trades[columns].equals(result.trades[columns])
    options: Any = {"params": {"low": [30, 45]}, "symbol": "X", "exchange": BOTH, "frame": FRAME, "settings": SETTINGS}
    sweep = bknb.sweep(seen.strategy(), **options, keep_trades=True)
    assert sweep.trades(1)["pnl_percentage"].to_numpy() == pytest.approx(result.trades["pnl_percentage"].to_numpy())


@pytest.mark.slow
def test_workers_of_a_sweep_see_the_same() -> None:
    def get_signals(candles: Any, others: Any, low: float = 45.0) -> Any:
        hours = others["1h"]
        return wanted(candles, np.where((hours.close > TREND(candles)) & (OWN(candles) < low), 1, 0))

    strategy = bknb.add_strategy("sweeps", interval="15m", get_signals=get_signals, uses=USES, lookback=40)
    options: Any = {"params": {"low": [30, 45]}, "symbol": ["X", "Y"], "exchange": BOTH, "settings": SETTINGS}
    one = bknb.sweep(strategy, frame=FRAME, **options)
    with ThreadPoolExecutor(2) as pool:  # everything is pickled on its way, as to processes
        two = bknb.sweep(strategy, frame=FRAME, executor=pool, **options)
    assert not len(one.errors)
    assert one.table.equals(two.table)


def test_values_of_candles_become_rows_and_a_leak_among_them_is_told() -> None:
    found: list[Any] = []

    def get_signals(candles: Any, others: Any, shift: int = 0) -> Any:
        hours = others["1h"]
        mean = pd.Series(hours.candles.close).rolling(5).mean().shift(shift)
        found.append((candles.timestamp + 15 * MINUTE, hours.rows(mean), hours.candles))
        return wanted(candles, np.where(hours.rows(mean) > hours.close, 1, -1))

    def strategy(shift: int) -> Any:
        params = {"shift": shift}
        options: Any = {"interval": "15m", "uses": ["1h"], "lookback": 40, "params": params}
        return bknb.add_strategy("means", get_signals=get_signals, **options)

    assert run(strategy(0)).warnings == []
    closes, values, candles = found[0]
    assert len(candles) >= 40 + 20
    for row in (0, 17, -1):
        known = candles.close[candles.timestamp + HOUR <= closes[row]]
        assert values[row] == pytest.approx(float(known[-5:].mean()))
    (warning,) = run(strategy(-1)).warnings
    assert "get_signals looks ahead" in warning
    report = bknb.check_lookahead(strategy(-1), "X", exchange=BOTH, frame=FRAME, settings=SETTINGS, moments=4)
    assert {finding.kind for finding in report.findings} == {"future"}


def test_where_the_data_begin_later_or_end_there_is_none() -> None:
    late = TWO[3 * 1440 : 8 * 1440 + 300]
    exchange = bknb.exchanges.from_frame(
        pd.concat([ONE.to_pandas().assign(symbol="X"), late.to_pandas().assign(symbol="Y")])
    )
    seen: dict[int, float] = {}

    def get_signals(candles: Any, others: Any) -> Any:
        other = others["Y", "1h"]
        seen.update(zip((candles.timestamp + 15 * MINUTE).tolist(), other.close.tolist(), strict=True))
        return wanted(candles, 0)

    strategy = bknb.add_strategy("ends", interval="15m", get_signals=get_signals, uses=[("Y", "1h")], lookback=600)
    result = run(strategy, exchange=exchange)
    first, last = int(late.timestamp[0]) + HOUR, int(late.timestamp[-1]) + MINUTE
    assert {when for when, value in seen.items() if not np.isnan(value)} == {
        when for when in seen if first <= when < last + HOUR
    }
    assert min(seen) < first
    assert len([text for text in result.warnings if "the 1h candles of Y end at" in text]) == 1


def test_data_that_go_on_behind_the_frame_have_no_end() -> None:
    table = ONE.to_pandas()

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Any:
        step = interval_ms(interval)
        whole = table.resample(f"{step // MINUTE}min").agg(
            {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        )
        opens = whole.index.astype("datetime64[ms, UTC]").astype("int64")
        return whole[(opens >= since) & (opens < since + limit * step)]

    bknb.add_exchange("hours", get_candles=get_candles, intervals=["1m", "1h"])
    strategy = bknb.add_strategy("w", interval="1h", get_signals=rows, uses=["15m"], lookback=10)
    assert run(strategy, exchange="hours").warnings == []


def test_a_row_of_a_session_sees_what_had_closed_with_its_candle() -> None:
    """Days of a market with sessions, beside weeks of it: by the calendar, as ``ctx.candles`` has them."""
    pytest.importorskip("exchange_calendars")
    from test_indicators import shares

    seen, asked = dict[int, tuple[float, ...]](), dict[int, tuple[float, ...]]()
    mean = bknb.indicator("sma", "1w", 3)

    def get_signals(candles: Any, others: Any) -> Any:
        table = np.stack([others["1w"].close, mean(candles)]).T.tolist()
        seen.update(zip(candles.timestamp.tolist(), map(tuple, table), strict=True))
        return wanted(candles, 0)

    def get_signal(ctx: Any) -> None:
        asked[int(ctx.candles("1d", 1).timestamp[0])] = ctx.candles("1w", 1).close[0], mean.last(ctx)

    options: Any = {"exchange": shares(), "frame": ("2024-01-10", "2024-01-31"), "settings": None}
    run(bknb.add_strategy("days", interval="1d", get_signals=get_signals, uses=["1w"], lookback=20), **options)
    run(bknb.add_strategy("asks", interval="1d", get_signal=get_signal), **options)
    assert len(asked) > 10
    assert all(seen[day] == values for day, values in asked.items())


# --- wrong use ----------------------------------------------------------------------------------------------------


def rows(candles: Any, others: Any) -> Any:
    return wanted(candles, 0)


@pytest.mark.parametrize(
    ("uses", "given", "told"),
    [
        ("4h", {"get_signals": rows}, r"uses of strategy 'w' must be a list .* got '4h'\nsuch as uses=\['4h', \('BTC"),
        ([], {"get_signals": rows}, "must be a list"),
        ([("1h", "Y")], {"get_signals": rows}, r"the symbol comes first: \('Y', '1h'\), not \('1h', 'Y'\)"),
        (["7h"], {"get_signals": rows}, "unknown interval '7h'"),
        ([1], {"get_signals": rows}, r"an interval such as '4h', or a symbol and an interval, got 1"),
        (None, {"get_signals": rows}, r"takes others, and uses= names no candles\nname them: uses="),
        (["1h"], {"get_signal": lambda ctx: None}, r"has uses= and no get_signals\nleave it out: get_signal asks for"),
    ],
)  # fmt: skip
def test_uses_that_cannot_be_meant_are_told(uses: Any, given: Any, told: str) -> None:
    with pytest.raises(bknb.UsageError, match=told):
        bknb.add_strategy("w", interval="15m", uses=uses, **given)


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda candles, others: others["4h"], r"others has '1h', and not '4h'\nname it .*: uses=\['4h'\]"),
        (lambda candles, others: others["1h"].rows([1, 2]), "takes a value for each of its 145 candles, got the shape"),
        (lambda candles, others: OWN.last(candles), r"last\(\) takes a ctx\nin get_signals call the indicator with"),
        (lambda candles, others: OWN(candles, 5), "takes neither n nor forming"),
        (lambda candles, others: OTHER(candles), r"is of 4h candles of Y, .*\n.*uses=\['1h', \('Y', '4h'\)\]"),
        (lambda candles, others: OWN(TWO[7:90]), "these are not the candles of get_signals"),
        (lambda candles, others: bknb.indicator(lambda close: close - candles.close[0], "15m", lookback=1)(candles),
         "reads the candles of get_signals, so its values would be"),
        (lambda candles, others: bknb.indicator(lambda close: np.roll(close, -1), "1h", lookback=1)(candles),
         "is made of candles that had not closed: at 2023"),
    ],
)  # fmt: skip
def test_what_rows_cannot_mean_is_told(use: Any, told: str) -> None:
    def get_signals(candles: Any, others: Any) -> Any:
        use(candles, others)
        return wanted(candles, 0)

    strategy = bknb.add_strategy("w", interval="15m", get_signals=get_signals, uses=["1h"], lookback=100)
    with pytest.raises((bknb.UsageError, bknb.LookaheadError), match=told):
        run(strategy)


def test_what_the_run_cannot_have_is_told() -> None:
    minutes = bknb.add_strategy("w", interval="1h", get_signals=rows, uses=["5m"], lookback=10)
    with pytest.raises(bknb.UsageError, match=r"^strategy 'w', uses 5m: 5m candles cannot be made of the 15m bars of"):
        run(minutes, base="15m")
    with pytest.raises(bknb.UsageError, match=r"is called with candles, which it takes in get_signals alone"):
        OWN(ONE)


def test_the_hash_and_the_parameters_of_a_strategy_know_what_it_uses() -> None:
    from bknb.provenance.strategy_hash import fingerprint

    one, two = (
        bknb.add_strategy("w", interval="1h", get_signals=rows, uses=uses) for uses in (["4h"], ["4h", ("Y", "4h")])
    )
    assert fingerprint(one) != fingerprint(two)
    assert one.parameters == {}
    assert run(two).card.code.values["uses"] == "('4h', ('Y', '4h'))"
