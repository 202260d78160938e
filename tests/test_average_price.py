"""The average price a strategy sees is that of the newest closed candles, however it was worked out."""

from __future__ import annotations

import numpy as np
import pytest

import bknb
from bknb import Candles
from bknb.market.candles_of_one_symbol import Series
from bknb.market.vwap import average_prices

MINUTE = 60_000
START = 28_401_120 * MINUTE  # 2024-01-01
COUNT = 5


def candles(seed: int, minutes: list[int]) -> Candles:
    rng = np.random.default_rng(seed)
    close = 100 + rng.normal(size=len(minutes)).cumsum() / 10
    spread = rng.random(len(minutes))
    return Candles.from_columns(
        timestamp=[START + minute * MINUTE for minute in minutes],
        open=close,
        high=close + spread,
        low=close - spread,
        close=close,
        volume=rng.integers(0, 4, len(minutes)).astype(float),
    )


def averaged(part: Candles) -> float:
    """The formula, candle by candle."""
    total = volume = 0.0
    for one in part:
        total += (one["high"] + one["low"] + one["close"]) / 3 * one["volume"]
        volume += one["volume"]
    return total / volume if volume else sum(part.close.tolist()) / len(part)


WHOLE = list(range(-2000, 200))
WITH_HOLES = [minute for minute in WHOLE if minute % 97 not in (3, 4, 50)]


@pytest.mark.parametrize("minutes", [WHOLE, WITH_HOLES], ids=["whole", "with holes"])
def test_the_average_price_is_that_of_the_newest_candles(minutes: list[int]) -> None:
    held = {"BTCUSDT": candles(1, minutes), "ETHUSDT": candles(2, minutes)}
    found: dict[str, list[tuple[float, float]]] = {symbol: [] for symbol in held}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Candles:
        known = held[symbol]
        return known[int(np.searchsorted(known.timestamp, since)) :][:limit]

    def get_signal() -> None:
        for symbol in held:
            newest = bknb.get_candles(symbol, "1m", COUNT)
            found[symbol].append((bknb.get_average_price(symbol), averaged(newest)))

    exchange = bknb.add_exchange("held", get_candles=get_candles)
    frame = ("2024-01-01", "2024-01-01 03:00")
    result = bknb.backtest(
        "BTCUSDT", strategy=get_signal, exchange=exchange, frame=frame, interval="15m", allow_gaps=True
    )
    assert result.errors == []
    for pairs in found.values():
        assert len(pairs) == 12
        assert [price for price, _ in pairs] == [expected for _, expected in pairs]


def test_one_average_price_is_worked_out_alone_and_further_ones_with_all() -> None:
    held = candles(3, WHOLE)
    series = Series(held, step=MINUTE, since=int(held.timestamp[0]), until=int(held.timestamp[-1]) + MINUTE)
    prices = [series.average_price(700, COUNT)]
    assert series.averages is None
    prices += [series.average_price(last, COUNT) for last in (701, 700)]
    assert series.averages is not None
    assert prices == [averaged(held[last - COUNT : last]) for last in (700, 701, 700)]


def test_average_prices_of_many_candles_are_those_of_a_part_of_them() -> None:
    many = candles(3, list(range(20_000)))

    def prices(part: Candles) -> list[float]:
        return average_prices(part.high, part.low, part.close, part.volume, count=COUNT).tolist()

    whole = prices(many)
    for begin in range(0, 20_000, 3_000):
        part = prices(many[begin : begin + 3_000])
        assert part[COUNT - 1 :] == whole[begin + COUNT - 1 : begin + 3_000]
