"""Known strategies beside the trades that other tools gave on the same candles, with the same costs.

``benchmarks/known_strategies.py`` ran backtesting.py and vectorbt over two weeks of the demo market and stored their
trades. Where bknb gives others, the test says which sentence of docs/positions.md or docs/execution.md is the reason.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from managed import Row, play

import bknb
from bknb import Move, Trailing

STORED = json.loads((Path(__file__).parent / "data" / "known-strategies.json").read_text(encoding="utf-8"))
FRAME = "2024-01-02:2024-01-16"
WHY = {
    "trailing": [
        (
            "positions.md",
            "in the candle of an entry at an open, and from the next candle on where a resting entry filled",
        ),
        ("positions.md", "after an entry at an open, and for a stop entry, it counts"),
    ],
    "own high": [("positions.md", "a candle's own high does not raise the stop that its low is held against")],
    "gap": [
        ("execution.md", "when a candle reaches it, at the stop; when a candle opens at or beyond it, at that open")
    ],
    "end": [("execution.md", "a market order (entry, deadline, frame end) fills | at the open of its first candle")],
    "averaging": [("positions.md", "in percent of the cost of the first")],
}
"""What is different here, and the sentences that say so."""


@pytest.mark.parametrize(("page", "sentence"), [why for each in WHY.values() for why in each])
def test_what_is_different_is_a_sentence_of_the_contract(page: str, sentence: str) -> None:
    assert sentence in (Path(__file__).parent.parent / "docs" / page).read_text(encoding="utf-8")


def test_the_page_tells_these_numbers() -> None:
    page = (Path(__file__).parent.parent / "docs" / "coming-from.md").read_text(encoding="utf-8")
    backtesting, vectorbt = f"| backtesting.py {STORED['backtesting']}, ", f"| vectorbt {STORED['vectorbt']}, "
    for told in (
        f"{backtesting}{len(STORED['backtesting_sma_cross'])} trades",
        f"{vectorbt}{len(STORED['vectorbt_trailing'])} trades",
        f"{vectorbt}{len(STORED['vectorbt_tight_trailing'])} trades",
        f"{backtesting}{len(STORED['backtesting_three_targets']) // 3} times three orders",
        f"{backtesting}{len(STORED['backtesting_dca'])} orders in three positions",
    ):
        assert told in page


def cross(symbol: str) -> int:
    """1 where the average of 10 has just crossed above that of 30, -1 below, else 0."""
    closes = bknb.get_candles(symbol, "15m", 31).close
    now = closes[-10:].mean() > closes[-30:].mean()
    before = closes[-11:-1].mean() > closes[-31:-1].mean()
    return int(now) - int(before)


def result_of(name: str, get_signal: Any, **options: Any) -> bknb.Result:
    """Two weeks of the demo market with a fee of 0.1 % on each side and no slippage."""
    strategy = bknb.add_strategy(name, interval="15m", get_signal=get_signal, **options)
    settings = {"percent_fee": 0.1, "percent_slippage": 0.0}
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange=bknb.exchanges.demo(), frame=FRAME, settings=settings)


def minutes_of(result: bknb.Result) -> pd.DataFrame:
    """The candles of a run, with their open time as ``at``."""
    names = ("open", "high", "low", "close", "volume")
    table = pd.DataFrame({name: getattr(result.candles, name) for name in names})
    return table.assign(at=pd.to_datetime(result.candles.timestamp, unit="ms", utc=True))


def moment(at: Any) -> str:
    return f"{at:%m-%d %H:%M}"


def trades(result: bknb.Result) -> list[list[Any]]:
    """Entry, exit and net result of each trade, as they are stored of other tools."""
    names = ["pending_at", "price_open", "closed_at", "price_close", "pnl_percentage"]
    return [[moment(a), b, moment(c), d, e] for a, b, c, d, e in result.trades[names].itertuples(index=False)]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    """Whether two trades have the same moments, prices and result, to the last digits of a sum."""
    return [each for each in ours if isinstance(each, str)] == [each for each in theirs if isinstance(each, str)] and [
        each for each in ours if isinstance(each, float)
    ] == pytest.approx([each for each in theirs if isinstance(each, float)], abs=1e-9)


def buy_the_cross(symbol: str) -> Any:
    return bknb.Signal(side="long") if cross(symbol) > 0 else None


@pytest.mark.slow
def test_sma_cross_with_exit_by_cross_as_in_backtesting_py() -> None:
    """Quick start guide, long only: an order fills at the open of the next bar, ``position.close()`` likewise."""

    def manage(symbol: str) -> Any:
        return bknb.Close(note="crossed back") if cross(symbol) < 0 else None

    ours, theirs = trades(result_of("cross", buy_the_cross, manage=manage)), STORED["backtesting_sma_cross"]
    assert len(ours) == len(theirs) == 20
    assert [pair for pair in zip(ours, theirs, strict=True) if not same(*pair)] == []


def trailed(candles: Any, entry: list[Any], share: float, *, entry_candle: bool) -> list[Any]:
    """Moment and price at which a trailing stop closes; whether the candle of the entry can reach and move it."""
    index = [moment(at) for at in candles["at"]].index(entry[0])
    best = entry[1]
    for candle in candles[index if entry_candle else index + 1 :].itertuples():
        stop = best * (1 - share)
        if candle.low <= stop:
            return [moment(candle.at), min(candle.open, stop)]
        best = max(best, candle.high)
    raise AssertionError("still open")


@pytest.mark.slow
@pytest.mark.parametrize(("stored", "percent", "different"), [("trailing", 1.0, 0), ("tight_trailing", 0.15, 4)])
def test_trailing_stop_as_in_vectorbt(stored: str, percent: float, different: int) -> None:
    """``sl_trail`` with ``price=open``: minutes that have closed move the stop, as here.

    vectorbt looks at the stop from the minute after the entry on. Here the minute of the entry can reach it and move
    it: sentences "trailing" of WHY.
    """

    def get_signal(symbol: str) -> Any:
        return bknb.Signal(side="long", trailing=Trailing(percent=percent)) if cross(symbol) > 0 else None

    result = result_of("trailing", get_signal)
    ours, theirs = trades(result), STORED[f"vectorbt_{stored}"]
    assert [trade[:2] for trade in ours] == [trade[:2] for trade in theirs]
    others = [pair for pair in zip(ours, theirs, strict=True) if not same(*pair)]
    assert len(others) == different
    candles = minutes_of(result)
    for mine, other in others:
        assert same(mine[2:4], trailed(candles, mine, percent / 100, entry_candle=True))
        assert same(other[2:4], trailed(candles, other, percent / 100, entry_candle=False))


@pytest.mark.slow
def test_three_targets_as_in_backtesting_py() -> None:
    """Three orders of a third each, with one stop and targets of their own: here one position with a ladder."""

    def get_signal(symbol: str) -> Any:
        if cross(symbol) <= 0:
            return None
        close = float(bknb.get_candles(symbol, "1m", 1).close[-1])
        ladder = [(close * up, 1 / 3) for up in (1.004, 1.008, 1.012)]
        return bknb.Signal(side="long", price_stop_loss=close * 0.994, price_take_profit=ladder)

    result, theirs = result_of("three", get_signal), STORED["backtesting_three_targets"]
    assert len(result.trades) == 17
    parts: list[list[Any]] = []
    for number, trade in enumerate(result.trades.itertuples()):
        fills = result.fills[result.fills["signal_id"] == trade.signal_id]
        for fill in fills[fills["kind"] != "entry"].itertuples():
            part = [moment(trade.pending_at), trade.price_open, moment(fill.at), fill.price]
            parts += [part] * round(3 * fill.share)
        third = [other[4] for other in theirs[3 * number : 3 * number + 3]]
        assert trade.pnl_percentage == pytest.approx(sum(third) / 3)
    assert [pair for pair in zip(parts, theirs, strict=True) if not same(pair[0], pair[1][:4])] == []


@pytest.mark.slow
def test_five_steps_as_in_backtesting_py() -> None:
    """Another order of the same size below the last, all closed above their average: here one position with adds.

    What is open at the end is closed by backtesting.py at the open of its last bar; here see "end" of WHY.
    """

    def manage(symbol: str, position: Any) -> Any:
        close = bknb.get_candles(symbol, "15m", 1).close[-1]
        if close >= 1.005 * position.average_price:
            return bknb.Close()
        if position.entries < 5 and close <= 0.995 * position.last_entry:
            return bknb.Add(1)
        return None

    result = result_of("steps", buy_the_cross, manage=manage)
    theirs: dict[str, list[Any]] = defaultdict(list)
    for trade in STORED["backtesting_dca"]:
        theirs[trade[2]].append(trade)
    assert [len(each) for each in theirs.values()] == [5, 1, 5]
    for ours, other in zip(result.trades.itertuples(), theirs.values(), strict=True):
        fills = result.fills[result.fills["signal_id"] == ours.signal_id]
        entries = [[moment(fill.at), fill.price] for fill in fills[fills["kind"] != "exit"].itertuples()]
        assert entries == [trade[:2] for trade in other]
        if ours.close_reason == "frame_end":
            assert moment(ours.closed_at) == "01-16 00:00"
            assert other[0][2] == "01-15 23:45"
            continue
        assert [moment(ours.closed_at), ours.price_close] == other[0][2:4]
        money = sum(trade[4] * trade[1] for trade in other)
        assert ours.pnl_percentage == pytest.approx(money / other[0][1])
        assert ours.cost_percentage == pytest.approx(money / sum(trade[1] for trade in other))


def averaged(prices: list[float], step: float, target: float, fee: float) -> tuple[list[float], float, int]:
    """The loop of backtest-kit's article on averaging: entries, the price at which all are closed, and its minute.

    Each minute, at the average price: at most five entries of the same cost, none within ``step`` percent of another;
    all are closed when the result, in percent of everything that was paid, has reached ``target``.
    """
    entries = [prices[0]]
    for minute, price in enumerate(prices[1:], 1):
        units = sum(1 / entry for entry in entries)
        paid = len(entries)
        result = (units * price - paid - fee * (units * price + paid)) / paid * 100
        if result >= target:
            return entries, price, minute
        near = any(abs(price / entry - 1) * 100 <= step for entry in entries)
        if len(entries) < 5 and not near and price < min(entries):
            entries.append(price)
    raise AssertionError("still open")


@pytest.mark.slow
def test_averaging_as_in_backtest_kit() -> None:
    """Its article "Asset Price Averaging" in ``vwap``, one position.

    The result there is in percent of everything that was paid, here see "averaging" of WHY: ``percent`` over what was
    paid, in units of the first cost, is the same figure, and trades have it as ``cost_percentage``.
    """

    def manage(position: Any) -> Any:
        entries = [fill for fill in position.fills if fill.kind != "reduce"]
        first, price = entries[0].price, position.price
        paid = sum(fill.share * fill.price for fill in entries) / first
        if position.percent / paid >= 0.3:
            return bknb.Close(note="target reached")
        near = any(abs(price / fill.price - 1) * 100 <= 0.5 for fill in entries)
        if len(entries) < 5 and not near and price < min(fill.price for fill in entries):
            return bknb.Add(first / price)
        return None

    def get_signal(when: Any) -> Any:
        return bknb.Signal(side="long") if (when.day, when.hour, when.minute) == (3, 8, 30) else None

    result = result_of(
        "averaging", get_signal,
        manage=manage, manage_interval="1m", execution="vwap",
    )  # fmt: skip
    (trade,) = result.trades.itertuples()
    candles = minutes_of(result)
    weights = ((candles.high + candles.low + candles.close) / 3 * candles.volume).rolling(5).sum()
    average = list(weights / candles.volume.rolling(5).sum())  # of the five minutes that end with each
    opened = list(candles["at"]).index(trade.pending_at)
    entries, price, minute = averaged(average[opened - 1 :], 0.5, 0.3, 0.001)
    assert len(entries) == 5
    fills = result.fills
    assert list(fills["price"]) == pytest.approx([*entries, price])
    assert trade.minutes == minute
    assert list(fills["share"][:5] * fills["price"][:5]) == pytest.approx([entries[0]] * 5)
    assert trade.cost_percentage >= 0.3


TEN, TWO = Trailing(percent=10.0), Trailing(percent=2.0)
FREQTRADE = [
    Row("static", bknb.Signal(side="long", price_stop_loss=90.0), {3: (100, 100, 89, 89)},
        lines=["opened 100 @m0", "closed stop_loss 90 @m3"]),
    Row("trailing", bknb.Signal(side="long", trailing=TEN), {3: (100, 102, 100, 102), 4: (102, 102, 101, 101),
        5: (101, 101, 91, 91)}, lines=["opened 100 @m0", "closed trailing_stop 91.8 @m5"]),
    Row("custom positive loss", bknb.Signal(side="long", trailing=TEN), {3: (100, 102, 100, 102),
        4: (102, 102, 101, 101), 5: (101, 101, 99, 99)}, {4: Move(trailing=TWO)},
        lines=["opened 100 @m0", "moved strategy to 99.96 @m4", "closed trailing_stop 99.96 @m5"]),
    Row("once the offset is reached", bknb.Signal(side="long", price_stop_loss=90.0, trailing=Trailing(percent=2.0,
        after=3.0)), {3: (102, 103, 102, 103), 4: (103, 103, 101, 101), 5: (101, 101, 100, 100)},
        lines=["opened 100 @m0", "moved trailing_stop to 100.94 @m3", "closed trailing_stop 100.94 @m5"]),
    # "High happens first - adjusting stoploss": there 101.92 in minute 3; here see "own high" of WHY
    Row("high and low in one candle", bknb.Signal(side="long", trailing=TWO), {3: (104, 104, 101, 104),
        4: (104, 106, 104, 106), 5: (106, 106, 103, 103)}, lines=["opened 100 @m0", "closed trailing_stop 103.88 @m5"]),
    # "Stoploss exits happen exactly at stoploss price, even if low was lower": there 90, as the candle comes back to it
    # (one that lies below it altogether leaves at its open there, too); here see "gap" of WHY
    Row("an open below the stop", bknb.Signal(side="long", price_stop_loss=90.0), {3: (85, 91, 84, 91)},
        lines=["opened 100 @m0", "closed stop_loss 85 @m3"], touch=["opened 100 @m0", "closed stop_loss 90 @m3"]),
]  # fmt: skip


@pytest.mark.parametrize("row", FREQTRADE, ids=lambda row: row.name)
@pytest.mark.parametrize("model", ["pessimistic", "touch"])
def test_the_stops_of_freqtrades_documentation(row: Row, model: str) -> None:
    """The worked examples of its page "Stop Loss", and two assumptions of its page "Backtesting" that differ."""
    assert play(row, model) == row.expected(model)
