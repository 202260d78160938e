"""A look-ahead check finds a day's close read at its begin, however the market and what was made of it are kept.

Each way of keeping days is read three times: by the day it is (a leak), by the day before, and made so that a day holds
what was known when it began. The market is made in the text of the module itself, or in one that it imports.
"""

from __future__ import annotations

import importlib
import itertools
import sys

import numpy as np
import pandas as pd
import pytest
from quick import rest_long

import bknb
from bknb.market.candles import Candles
from bknb.research.is_market_copy import is_copy, placed_at
from bknb.research.market_values import MarketValues

MINUTE = 60_000
START = 1_704_067_200_000
HEAD = """
import datetime as dt
import numpy as np
import pandas as pd
import bknb
T0, DAY_MS, ONE = 1_704_067_200_000, 86_400_000, pd.Timedelta("1D")
rng = np.random.default_rng(3)
n = 6 * 1440
"""
ANSWER = """
def get_signal(ctx):
    w = pd.Timestamp(ctx.when) - {back} * ONE
    last, side = ctx.candles("1h", 1).close[-1], 1
    if not ({read}):
        side = -1
    return bknb.Signal(
        position="long" if side > 0 else "short", price_take_profit=ctx.price * (1 + 0.02 * side),
        price_stop_loss=ctx.price * (1 - 0.02 * side), minute_estimated_time=60,
    )
"""
MARKETS = {
    "a table of two symbols": """
def walk(symbol):
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0007, n)))
    before = np.r_[100, close[:-1]]
    table = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=n, freq="min"), "open": before})
    return table.assign(high=np.maximum(before, close), low=np.minimum(before, close), close=close, volume=rng.uniform(
        1, 2, n), symbol=symbol)
T = pd.concat([walk("AAA"), walk("BBB")])
source = bknb.exchanges.from_frame(T)
A = T[T.symbol == "AAA"].set_index("timestamp"); A.index = A.index.tz_localize("UTC")
""",
    "a table that was changed in place": """
def walk():
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0007, n)))
    before = np.r_[100, close[:-1]]
    table = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=n, freq="min"), "open": before})
    return table.assign(high=np.maximum(before, close), low=np.minimum(before, close), close=close, volume=1.0)
A = walk()
source = bknb.exchanges.from_frame(A.assign(symbol="AAA"))
A = A.set_index("timestamp")
A.index = A.index.tz_localize("UTC")
""",
    "arrays of few different prices": """
close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.0007, n))), 1)
before = np.r_[100, close[:-1]]
high, low, volume = np.maximum(before, close), np.minimum(before, close), rng.uniform(1, 2, n)
A = pd.DataFrame({"open": before, "high": high, "low": low, "close": close, "volume": volume},
                 index=pd.date_range("2024-01-01", periods=n, freq="min", tz="UTC"))
source = bknb.exchanges.from_frame(A.reset_index(names="timestamp").assign(symbol="AAA"))
""",
    "rows of a source of its own": """
close = 100 * np.exp(np.cumsum(rng.normal(0, 0.0007, n)))
before = np.r_[100, close[:-1]]
ROWS = [(T0 + 60_000 * k, before[k], max(before[k], close[k]), min(before[k], close[k]), close[k], 1.0)
        for k in range(n)]
def source(symbol, interval, since, limit):
    return ROWS[max(0, (since - T0) // 60_000):][:limit]
A = pd.DataFrame(ROWS, columns=["timestamp", "open", "high", "low", "close", "volume"])
A.index = pd.to_datetime(A.timestamp, unit="ms", utc=True)
""",
}
DAYS = {
    "a series": ('D = A.close.resample("1D").last()', "{D}.shift(1)", 'D.get(w.floor("D"), 100) > last'),
    "a series by date": (
        "D = A.close.groupby(A.index.date).mean()",
        "{D}.shift(1)",
        "D[w.date()] > last",
    ),
    "signs of a day": (
        'D = A.close.resample("1D").last() > A.open.resample("1D").first()',
        "({D}).shift(1, fill_value=False)",
        'D[w.floor("D")]',
    ),
    "a dictionary by date": (
        "D = A.close.groupby(A.index.date).last().to_dict()",
        "{{day + dt.timedelta(1): price for day, price in ({D}).items()}}",
        "D[w.date()] > last",
    ),
    "words by text": (
        (
            'D = {f"{t:%Y-%m-%d}": "bull" if day.close.iloc[-1] > day.open.iloc[0] else "bear"'
            ' for t, day in A.groupby(A.index.floor("D"))}'
        ),
        '{{f"{{pd.Timestamp(day) + ONE:%Y-%m-%d}}": word for day, word in ({D}).items()}}',
        'D[f"{w:%Y-%m-%d}"] == "bull"',
    ),
    "by day since 1970": (
        'D = {int(t.timestamp()) // 86400: x for t, x in A.high.resample("1D").max().items()}',
        "{{day + 1: price for day, price in ({D}).items()}}",
        "D[int(w.timestamp()) // 86400] * 0.99 > last",
    ),
    "a day's close in each of its minutes": (
        'D = A.close.groupby(A.index.floor("D")).transform("last")',
        'A.close.groupby(A.index.floor("D")).cummax()',
        'D.asof(w - pd.Timedelta("1min")) > last',
    ),
    "an array of days": (
        "D = A.close.to_numpy().reshape(-1, 1440)[:, -1]",
        "np.r_[100.0, {D}]",
        "D[(int(w.timestamp() * 1000) - T0) // DAY_MS] > last",
    ),
}
READ = {"as it is": 0, "the day before": 1, "made of earlier days": 0}
CASES = [(days, market, read) for (days, market), read in itertools.product(zip(DAYS, itertools.cycle(MARKETS)), READ)]
SOME = [case for number, case in enumerate(CASES) if number % 3 == 0 or number % 12 in (1, 5)]  # few honest reads


@pytest.fixture
def strategy(tmp_path, monkeypatch):
    """A function that writes and imports a strategy, and returns it with its source."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(days, market, read, *, imported=False):
        made, earlier, answer = DAYS[days]
        if read == "made of earlier days":
            made = f"D = {earlier.format(D=made.removeprefix('D = '))}"
        before = f"{HEAD}{MARKETS[market]}{made}\n"
        texts = {"day_labels": before + ANSWER.format(read=answer, back=READ[read])}
        if imported:
            texts = {
                "day_market": before,
                "day_labels": "from day_market import *\n" + texts["day_labels"][len(before) :],
            }
        for name, text in texts.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        module = importlib.import_module("day_labels")
        return module.get_signal, module.source

    return make


def check(function, source):
    frame = ("2024-01-03", "2024-01-05")
    return bknb.check_lookahead(function, symbol="AAA", exchange=source, frame=frame, interval="1h", moments=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "market", "read"),
    [*SOME, *rest_long([case for case in CASES if case not in SOME], kept=0)],
)
def test_what_a_day_holds_is_known_when_it_is_over(strategy, days, market, read):
    report = check(*strategy(days, market, read))
    if read == "as it is":
        assert (report.findings[0].kind, "variable D," in report.findings[0].what) == ("future", True), report
    else:
        assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("read", READ)
def test_what_another_module_makes_of_its_market_is_made_again(strategy, read):
    report = check(*strategy("a series", "a table of two symbols", read, imported=True))
    assert [finding.kind for finding in report.findings if finding.kind != "accuracy"] == (
        ["future"] if read == "as it is" else []
    ), report


HOLDERS = {
    "a class": ("class D:\n    day = {days}\n", "D.day[{at}] > last"),
    "a function": ("def build(days):\n    return lambda day: days[day]\nD = build({days})\n", "D({at}) > last"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("holder", "read"), [*itertools.product(HOLDERS, READ)])
def test_what_a_class_or_a_function_holds_is_made_again(strategy, monkeypatch, holder, read):
    """Where nothing else is made of the market."""
    made, answer = (text.replace("{at}", 'w.floor("D")') for text in HOLDERS[holder])
    days = 'A.close.resample("1D").last()'
    now, earlier = made.format(days=days), made.format(days=f"{days}.shift(1)")
    monkeypatch.setitem(DAYS, holder, (now if READ[read] or read == "as it is" else earlier, "{D}", answer))
    monkeypatch.setitem(READ, "held", READ[read])
    report = check(*strategy(holder, "a table that was changed in place", "held"))
    assert report.ok == (read != "as it is"), report


# -- which values hold the candles themselves ----------------------------------------------------------------------


def minutes(*, ticks):
    rng = np.random.default_rng(4)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.0007, 3000))), ticks)
    before = np.r_[100, close[:-1]]
    times = START + MINUTE * np.arange(3000)
    volume = rng.uniform(1, 2, 3000)
    high, low = np.maximum(before, close) + 0.1, np.minimum(before, close) - 0.1
    return Candles.from_columns(timestamp=times, open=before, high=high, low=low, close=close, volume=volume)


FINE, COARSE = minutes(ticks=8), minutes(ticks=1)
INDEX = pd.to_datetime(FINE.timestamp, unit="ms", utc=True)


def table(candles):
    return pd.DataFrame({"close": candles.close, "volume": candles.volume}, index=INDEX)


COPIES = {
    "candles": lambda candles: candles,
    "a table": table,
    "a table without a zone": lambda candles: table(candles).tz_localize(None),
    "a table of two symbols": lambda candles: pd.concat([table(candles) * 2.0, table(candles)]),
    "a series": lambda candles: table(candles).close,
    "rows": lambda candles: list(zip(candles.timestamp.tolist(), candles.close.tolist(), strict=True)),
    "a dictionary": lambda candles: dict(zip(candles.timestamp.tolist(), candles.close.tolist(), strict=True)),
    "an array": lambda candles: candles.close,
    "a list of more": lambda candles: [1.0] * 50 + candles.open.tolist(),
}
OTHERS = {
    "days": lambda candles: table(candles).close.resample("1D").last(),
    "hours": lambda candles: table(candles).resample("1h").last(),
    "the candle ahead": lambda candles: table(candles).close.shift(-2),
    "a few of them": lambda candles: table(candles).iloc[:500],
    "volumes": lambda candles: candles.volume,
    "levels": lambda candles: [100.0 + at / 10 for at in range(2000)],
    "words": lambda candles: ["a"] * 3000,
    "nothing": lambda candles: None,
}


@pytest.mark.parametrize("candles", [FINE, COARSE], ids=["fine", "coarse"])
@pytest.mark.parametrize("kind", [*COPIES, *OTHERS])
def test_candles_are_known_whatever_they_are_kept_in(kind, candles):
    assert is_copy({**COPIES, **OTHERS}[kind](candles), candles) == (kind in COPIES)


@pytest.mark.parametrize("candles", [FINE, COARSE], ids=["fine", "coarse"])
def test_prices_in_a_row_were_known_when_their_candles_were_closed(candles):
    closed = candles.timestamp + MINUTE
    assert placed_at(candles.close, candles).tolist() == closed.tolist()
    assert placed_at(candles.open, candles).tolist() == [0, *closed[:-1]], "the close of the candle before"
    assert placed_at(np.r_[np.ones(9), candles.high], candles).tolist() == [0] * 9 + closed.tolist()
    assert not placed_at(candles.volume, candles).any()


def test_prices_of_longer_bars_were_known_when_these_were_closed():
    """In a market of few prices, where the row tells it."""
    hour = 60 * MINUTE
    close = np.round(100 + 9 * np.sin(np.arange(900)) + np.arange(900) % 7)
    before = np.r_[100.0, close[:-1]]
    high, low, times = np.maximum(before, close), np.minimum(before, close), START + hour * np.arange(900)
    bars = Candles.from_columns(timestamp=times, open=before, high=high, low=low, close=close, volume=close)
    market = MarketValues(bars, hour)
    assert not market.fine
    assert market.copied_at(close).tolist() == (times + hour).tolist()


def test_too_few_candles_are_no_market():
    assert not is_copy(FINE[:90], FINE[:90])
