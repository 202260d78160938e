"""What an optimizer shows: rows from anywhere, each once, as tables that keep within a budget of tokens."""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.llm.tables import count_tokens, render, short_number
from bknb.optimizer import indicators
from bknb.optimizer.prompt import DEFAULT, Range, pair
from bknb.optimizer.shown_data_pages import PAGE, as_source, read_rows

START, END = datetime(2024, 1, 8, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC)
WHEN = Range(start=round(START.timestamp() * 1000), end=round(END.timestamp() * 1000))


def rows_of(source: Any, **options: Any) -> list[Any]:
    values: dict[str, Any] = {"symbol": "BTCUSDT", "start": START, "end": END, "exchange": bknb.exchanges.demo()}
    return asyncio.run(read_rows(as_source(source, number=1), **values | options))


# --- pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, 3 * PAGE + 7])
def test_every_row_of_every_page_arrives_once(count: int) -> None:
    asked: list[tuple[int, int]] = []

    def news(symbol: str, limit: int, offset: int) -> list[dict[str, Any]]:
        asked.append((limit, offset))
        return [{"id": at} for at in range(count)][offset : offset + limit]

    assert [row["id"] for row in rows_of(news)] == list(range(count))
    assert asked == [(PAGE, PAGE * at) for at in range(count // PAGE + 1)]


def test_the_first_of_a_repeated_id_is_kept() -> None:
    def news() -> list[dict[str, Any]]:
        return [{"id": at % 40, "at": at} for at in range(57)]

    assert [row["at"] for row in rows_of(news)] == list(range(40))


def test_a_source_that_ignores_the_offset_comes_to_an_end() -> None:
    asked: list[int] = []

    def news(limit: int, offset: int) -> list[dict[str, Any]]:
        asked.append(offset)
        return [{"id": at} for at in range(limit)]

    assert len(rows_of(news)) == PAGE
    assert len(asked) == 2


def test_it_may_be_asynchronous_take_everything_or_give_a_frame() -> None:
    import pandas as pd

    async def later(symbol: str, start: datetime, end: datetime) -> Any:
        return pd.DataFrame({"rate": [0.1, 0.2]}, index=pd.Index([start, end], name="when"))

    def everything(**asked: Any) -> list[dict[str, Any]]:
        return [{"id": ",".join(sorted(asked))}]

    assert [row["rate"] for row in rows_of(later)] == [0.1, 0.2]
    assert rows_of(everything) == [{"id": "end,exchange,limit,offset,start,symbol"}]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([{"x": 1}], "every row needs an 'id'"),
        ([{"id": []}], "every row needs an 'id'"),
        ("text", "must return a list of mappings or a DataFrame, got str"),
        ([1, 2], "must return a list of mappings"),
        ([{"id": at} for at in range(PAGE + 1)], f"answered {PAGE + 1} rows where {PAGE} were asked for"),
    ],
)
def test_input_that_is_no_table_is_reported(answer: Any, says: str) -> None:
    def news(limit: int, offset: int) -> Any:
        return answer

    with pytest.raises(bknb.DataError, match=says.replace("(", r"\(")):
        rows_of(news)


def test_a_source_without_end_is_left() -> None:
    with pytest.raises(bknb.DataError, match="more than 10,000 rows"):
        rows_of(lambda limit, offset: [{"id": offset + at} for at in range(limit)])


# --- tables and tokens --------------------------------------------------------------------------------------------


def test_a_table_is_cut_at_its_old_end_with_a_note() -> None:
    rows = [{"id": at, "time": f"10:{at:02d}", "close": 100 + at} for at in range(60)]
    whole, part = render(rows), render(rows, budget=100)
    assert (whole.shown, whole.total) == (60, 60)
    assert part.tokens <= 100
    assert 0 < part.shown < 60
    assert part.text.splitlines()[1].startswith(f"10:{60 - part.shown}")
    assert f"the oldest {60 - part.shown} of 60 rows are left out" in part.text
    assert "10:59|159" in part.text


@given(st.integers(0, 80), st.integers(1, 400))
def test_no_table_exceeds_its_budget_while_a_row_fits(count: int, budget: int) -> None:
    rows = [{"id": at, "close": at * 1.37} for at in range(count)]
    table = render(rows, budget=budget)
    assert table.tokens <= budget or table.shown == 0
    if table.shown < count:
        assert render(rows, budget=budget + 40).shown >= table.shown
        assert f"the oldest {count - table.shown} of {count} rows" in table.text


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_short_numbers_are_read_back_nearly(value: float) -> None:
    text = short_number(value)
    if math.isnan(value):
        assert text == ""
    elif math.isinf(value):
        assert float(text) == value
    else:
        assert float(text) == pytest.approx(value, rel=1e-5, abs=1e-300)
        assert "e" not in text or abs(value) < 1e-7


def test_text_and_separators_cannot_break_a_table() -> None:
    table = render([{"id": 1, "text": "a|b\nc", "flag": True, "none": None}])
    assert table.text == "text|flag|none\na/b c|yes|"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        # what current tokenizers make of such lines lies between these
        ("24-01-06 15:00|58493.8|58535.1|58472.3|58506.2", 28, 44),
        ("The quick brown fox jumps over the lazy dog.", 9, 14),
        ("", 0, 0),
    ],
)
def test_tokens_are_counted_about_right(text: str, least: int, most: int) -> None:
    assert least <= count_tokens(text) <= most


def test_a_budget_is_shared_and_respected() -> None:
    shown = []
    left = 3000
    for at, interval in enumerate(("1h", "15m", "5m")):
        source = bknb.sources.candles(interval)
        rows = rows_of(source)
        messages, cost = pair(DEFAULT, source, rows, symbol="BTCUSDT", range=WHEN, budget=left // (3 - at))
        assert [message["role"] for message in messages] == ["user", "assistant"]
        left -= cost.tokens
        shown.append(cost)
    assert left > -300  # the words around the tables
    assert [cost.rows for cost in shown] == [24, 96, 288]
    assert all(0 < cost.shown < cost.rows for cost in shown[1:])


def test_a_text_of_ones_own_is_cut_too() -> None:
    source = bknb.sources.function(
        lambda: [{"id": 1}], name="mine", user=lambda symbol, rows, name: f"{name} of {symbol}\n" + "line 1 2 3\n" * 500
    )
    (user, assistant), cost = pair(DEFAULT, source, [{"id": 1}], symbol="BTCUSDT", range=WHEN, budget=100)
    assert user["content"].startswith("mine of BTCUSDT\n(cut to stay within the token budget)\nline 1 2 3")
    assert cost.tokens < 400
    assert assistant["content"] == "Read: 1 rows of mine."


# --- ready-made ---------------------------------------------------------------------------------------------------


def test_candles_of_a_range_and_nothing_after_it() -> None:
    rows = rows_of(bknb.sources.candles("1h"))
    assert len(rows) == 24
    assert rows[0]["time"] == "24-01-08 00:00"
    assert rows[-1]["time"] == "24-01-08 23:00"  # the last one that has closed at the end
    assert rows[0]["rsi"] != ""  # what indicators need before the range is there
    half = rows_of(bknb.sources.candles("1h"), end=datetime(2024, 1, 8, 12, 30, tzinfo=UTC))
    assert half == rows[:12]


def test_every_column_is_explained() -> None:
    source = bknb.sources.candles("15m")
    assert set(rows_of(source)[0]) - {"id"} <= set(source.legend)


def test_candles_without_indicators() -> None:
    rows = rows_of(bknb.sources.candles("5m", with_indicators=False))
    assert set(rows[0]) == {"id", "time", "open", "high", "low", "close", "volume"}


@pytest.mark.parametrize("interval", ["1m", "15m", "1h"])
def test_own_indicators_agree_with_ta_lib(interval: str) -> None:
    pytest.importorskip("talib")
    from bknb.domain.interval import interval_ms
    from bknb.market.resample import resample

    minutes = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", WHEN.start, 1440 * 40))
    candles = resample(minutes, interval)
    lengths = indicators.lengths_for(interval_ms(interval))
    theirs = indicators.columns(candles, lengths, talib=True)
    ours = indicators.columns(candles, lengths, talib=False)
    assert list(theirs) == list(ours)
    for name in ours:
        settled = slice(indicators.WARM_UP, None)
        np.testing.assert_allclose(ours[name][settled], theirs[name][settled], rtol=1e-5, atol=1e-5, err_msg=name)


def test_an_indicator_never_sees_a_later_candle() -> None:
    candles = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", WHEN.start, 500))
    lengths = indicators.lengths_for(60_000)
    for ways in (False, indicators.has_talib()):
        whole, part = (indicators.columns(some, lengths, talib=ways) for some in (candles, candles[:400]))
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[name][:400], err_msg=name)


def test_few_candles_give_empty_columns() -> None:
    candles = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", WHEN.start, 3))
    made = indicators.columns(candles, indicators.lengths_for(60_000), talib=False)
    assert all(np.isnan(values).all() for name, values in made.items())


def test_trades_of_a_result_within_the_range_only() -> None:
    def get_signal(ctx: Any) -> Any:
        return bknb.Signal(
            position="long",
            price_take_profit=ctx.price * 1.01,
            price_stop_loss=ctx.price * 0.99,
            minute_estimated_time=120,
        )

    result = bknb.backtest(
        "BTCUSDT", strategy=get_signal, interval="1h", exchange="demo", frame=("2024-01-07", "2024-01-10")
    )
    source = bknb.sources.trades(result, name="mine")
    rows = rows_of(source)
    inside = result.trades[(result.trades.pending_at >= START) & (result.trades.closed_at <= END)]
    assert 0 < len(rows) == len(inside) < len(result.trades)
    assert set(rows[0]) - {"id"} == set(source.legend)
    assert rows_of(source, start=datetime(2025, 1, 1, tzinfo=UTC), end=datetime(2025, 2, 1, tzinfo=UTC)) == []


def test_candles_need_an_exchange() -> None:
    with pytest.raises(bknb.UsageError, match="candles need an exchange"):
        rows_of(bknb.sources.candles("1h"), exchange=None)
