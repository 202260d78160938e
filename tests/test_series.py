"""Point-in-time series: what a strategy sees of a table at a moment, and what of it is refused."""

from __future__ import annotations

import asyncio
import copy
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
import bknb.testing
from bknb.engine.plan import plan_backtest
from bknb.engine.registry import registry
from bknb.kernels.simulate import NET
from bknb.market.point_in_time_series import Published
from bknb.market.series_rows import SeriesRows
from bknb.market.series_tables import checked_columns, read_frame, read_published
from bknb.sweeps.batches import packed, unpacked
from bknb.sweeps.evaluate_combination import Evaluator
from bknb.sweeps.prepared_candles import prepare
from bknb.testing.series import SeriesContract, check_series

MINUTE = 60_000
DAY = "2024-01-01"
FRAME = (DAY, "2024-01-02")
FUNDING = {
    "published_at": [f"{DAY} 16:00Z", f"{DAY} 00:00Z", f"{DAY} 08:00Z"],
    "rate": [0.03, 0.01, 0.02],
}
GDP = [  # of each quarter a first number; of the first quarter a later one, that came after the second quarter
    {"published_at": f"{DAY} 02:00Z", "event_time": "Q1", "growth": 1.0},
    {"published_at": f"{DAY} 05:00Z", "event_time": "Q2", "growth": 2.0},
    {"published_at": f"{DAY} 09:00Z", "event_time": "Q1", "growth": 1.5},
]
NEWS = [
    {"published_at": f"{DAY} 01:00Z", "ticker": "BTCUSDT", "score": 0.1, "text": "a"},
    {"published_at": f"{DAY} 02:00Z", "ticker": "ETHUSDT", "score": 0.2, "text": "b"},
    {"published_at": f"{DAY} 03:00Z", "ticker": "ETHUSDT", "score": 0.3, "text": None},
    {"published_at": f"{DAY} 04:00Z", "ticker": "BTCUSDT", "score": 0.4, "text": "d"},
]


def table(source: Any, *, delay: str = "0m", tz: str | None = None, key: Any = None) -> Published:
    columns = checked_columns("s", time="published_at", delay=delay, tz=tz, key=key)
    return read_published(read_frame(source, columns), columns)


def seen_in_run(question: Any, *, symbol: str = "BTCUSDT", interval: str = "1h") -> dict[int, Any]:
    """What a question of a strategy gives at each hour of a day."""
    seen: dict[int, Any] = {}

    def get_signal(ctx: Any) -> None:
        seen.setdefault(ctx.when.hour, question(ctx))

    result = bknb.backtest(symbol, strategy=get_signal, interval=interval, exchange="demo", frame=FRAME)
    assert result.errors == []
    return seen


# --- what is known at a moment --------------------------------------------------------------------------------------


def test_a_row_is_seen_from_the_moment_it_is_published_plus_the_delay() -> None:
    bknb.add_series("at once", FUNDING)
    bknb.add_series("late", FUNDING, delay="61m")
    seen = seen_in_run(lambda ctx: (ctx.series("at once", 1).rate.tolist(), ctx.series("late", 9).rate.tolist()))
    assert seen[0] == ([0.01], [])
    assert (seen[7], seen[8]) == (([0.01], [0.01]), ([0.02], [0.01]))
    assert (seen[9], seen[10]) == (([0.02], [0.01]), ([0.02], [0.01, 0.02]))
    assert seen[18] == ([0.03], [0.01, 0.02, 0.03])


def test_a_revision_takes_the_place_of_its_row_from_its_own_publication_on() -> None:
    bknb.add_series("gdp", GDP)
    seen = seen_in_run(lambda ctx: bknb.get_series("gdp", 2).growth.tolist())
    assert (seen[1], seen[2], seen[5], seen[8]) == ([], [1.0], [1.0, 2.0], [1.0, 2.0])
    assert seen[9] == [1.5, 2.0]  # and the newest stays that of the second quarter
    assert table(GDP).rows("X", 10**15, 1).growth.tolist() == [2.0]
    assert len(table(GDP, key="growth").rows("X", 10**15, 9)) == 3  # another key: no row is a revision
    of_each = [{**NEWS[0], "period": 1}, {**NEWS[1], "period": 1}, {**NEWS[3], "period": 1}]
    rows = table(of_each, key=["ticker", "period"])
    assert [rows.rows(symbol, 10**15, 9).score.tolist() for symbol in ("BTCUSDT", "ETHUSDT")] == [[0.4], [0.2]]


@pytest.mark.parametrize("keys", [[None, None, "None"], [np.nan, np.nan, 1.0]])
def test_a_row_without_a_value_in_the_key_is_no_revision(keys: list[Any]) -> None:
    rows = {"published_at": [f"{DAY} 0{hour}:00Z" for hour in range(4)], "id": [*keys, keys[2]], "x": [1, 2, 3, 4]}
    assert table(rows, key="id").rows("X", 10**15, 9).x.tolist() == [1, 2, 4]


def test_rows_are_those_of_the_symbol_of_the_question_or_of_the_one_that_is_named() -> None:
    bknb.add_series("news", NEWS)
    seen = seen_in_run(lambda ctx: (ctx.series("news", 2), ctx.series("news", 2, symbol="ETHUSDT")))
    own, other = seen[23]
    assert (own.score.tolist(), own.symbol.tolist()) == ([0.1, 0.4], ["BTCUSDT"] * 2)
    assert (other.score.tolist(), other.text.tolist()) == ([0.2, 0.3], ["b", None])
    assert (len(seen[1][0]), len(seen[1][1])) == (1, 0)


def test_a_symbol_that_no_row_is_of_is_told_once_and_gives_no_rows() -> None:
    bknb.add_series("news", NEWS)
    result = bknb.backtest(
        "BTC/USDT", strategy=lambda ctx: ctx.series("news", 1).score.sum() and None, interval="1h", exchange="demo",
        frame=FRAME,
    )  # fmt: skip
    assert result.errors == []
    assert [text for text in result.warnings if "news" in text] == [
        "series 'news' has no rows of 'BTC/USDT'; its symbols: BTCUSDT, ETHUSDT"
    ]


def test_since_is_a_span_up_to_now_or_a_moment() -> None:
    bknb.add_series("funding", FUNDING)
    eight = datetime(2024, 1, 1, 8, tzinfo=UTC)
    seen = seen_in_run(
        lambda ctx: [
            ctx.series("funding", since=since).rate.tolist()
            for since in ("8h", timedelta(hours=9), eight, round(eight.timestamp() * 1000))
        ]
    )
    assert seen[8] == [[0.02], [0.01, 0.02], [0.02], [0.02]]  # a span leaves its begin out
    assert seen[17] == [[0.03], [0.03], [0.02, 0.03], [0.02, 0.03]]
    assert seen_in_run(lambda ctx: ctx.series("funding", 1, since="20h").rate.tolist())[17] == [0.03]


def test_rows_that_are_handed_out_lead_to_no_others() -> None:
    rows = table(FUNDING).rows("X", 10**15, 1)
    assert rows.rate.base is None or len(rows.rate.base) == 1
    with pytest.raises(ValueError, match="read-only"):
        rows.rate[0] = 1.0
    with pytest.raises(AttributeError, match="read-only"):
        rows.rate = np.zeros(1)


@st.composite
def worlds(draw: Any) -> tuple[list[dict[str, Any]], int]:
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 20), st.sampled_from("AB"), st.integers(0, 4), st.integers(0, 99)), max_size=25
        )
    )
    made = [
        {
            "published_at": 1_704_067_200_000 + at * MINUTE + value % 2,
            "symbol": symbol,
            "event_time": f"e{event}",
            "value": value,
        }
        for at, symbol, event, value in rows
    ]
    return made, draw(st.integers(0, 5))


def known_by_hand(rows: list[dict[str, Any]], delay: int, when: int, symbol: str) -> list[dict[str, Any]]:
    """The rows known at a moment, one after the other as they were published; a revision in the place of its row."""
    found: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["published_at"]):
        if row["symbol"] == symbol and row["published_at"] + delay <= when:
            found[row["event_time"]] = row
    return list(found.values())


@pytest.mark.slow
@given(worlds())
def test_no_row_is_seen_before_it_is_known_and_revisions_are_those_of_a_plain_loop(world: Any) -> None:
    rows, minutes = world
    if not rows:
        return
    made, delay = table(rows, delay=f"{minutes}m"), minutes * MINUTE
    moments = 1_704_067_200_000 + np.arange(-1, 28, 2) * MINUTE
    joined = {symbol: made.joined(symbol, moments) for symbol in "ABC"}
    for at, when in enumerate(moments.tolist()):
        for symbol in "ABC":
            expected = known_by_hand(rows, delay, when, symbol)
            since = when - 6 * MINUTE
            for count in (1, 3):
                got = made.rows(symbol, when, count)
                assert [*got] == [{**row, "value": float(row["value"])} for row in expected[-count:]]
                assert (got.published_at + delay <= when).all()
            late = [row["value"] for row in expected if row["published_at"] >= since]
            assert made.rows(symbol, when, None, since).value.tolist() == late
            newest = expected[-1] if expected else {"published_at": 0, "value": np.nan}
            assert joined[symbol].published_at[at] == newest["published_at"]
            np.testing.assert_equal(joined[symbol].value[at], newest["value"])
    when = int(moments[7])
    for other in (made.until(when), made.changed_after(when, seed=1)):  # what a look-ahead check puts in its place
        assert [*other.rows("A", when, 99)] == [*made.rows("A", when, 99)]
    assert [*made.until(when).rows("A", 10**15, 99)] == [*made.rows("A", when, 99)]


# --- get_signals ----------------------------------------------------------------------------------------------------


def by_rate(candles: Any, least: float = 0.015) -> dict[str, Any]:
    rate = bknb.get_series("funding", candles).rate
    return {
        "position": rate > least,
        "price_take_profit": candles.close * (1 + rate),
        "price_stop_loss": candles.close * 0.98,
        "minute_estimated_time": 60,
    }


def by_rate_one_by_one(ctx: Any) -> Any:
    rows = ctx.series("funding", 1)
    if len(rows) and rows.rate[-1] > 0.015:
        close = ctx.candles("1h", 1).close[-1]
        return bknb.Signal(
            position="long", price_take_profit=close * (1 + rows.rate[-1]), price_stop_loss=close * 0.98,
            minute_estimated_time=60,
        )  # fmt: skip
    return None


def test_rows_of_get_signals_are_joined_as_of_the_close_of_each_candle() -> None:
    bknb.add_series("funding", FUNDING, delay="20m")
    frame = (DAY, "2024-01-04")
    at_once = bknb.backtest("BTCUSDT", strategy=by_rate, interval="1h", exchange="demo", frame=frame)
    asked = bknb.backtest("BTCUSDT", strategy=by_rate_one_by_one, interval="1h", exchange="demo", frame=frame)
    assert len(at_once.trades) > 5
    assert at_once.warnings == []
    columns = ["scheduled_at", "price_take_profit", "closed_at", "pnl_percentage"]
    assert at_once.trades[columns].equals(asked.trades[columns])
    assert at_once.trades["scheduled_at"].iloc[0] == pd.Timestamp(f"{DAY} 09:00Z")  # 08:20 is in the hour before


def test_the_kernel_of_a_sweep_reads_the_same_rows_also_in_a_worker() -> None:
    bknb.add_series("funding", FUNDING)
    bknb.add_series("asked", lambda since, until: threading.Lock())  # what cannot be copied
    strategy = bknb.add_strategy("by rate", interval="1h", get_signals=by_rate)
    alone = bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame=FRAME)
    plan = plan_backtest("BTCUSDT", strategy, "demo", FRAME)
    here = Evaluator(plan, asyncio.run(prepare(plan)), keep_ends=True)
    content = packed(plan, keep_ends=True, with_source=False)
    bknb.testing.reset()
    there = Evaluator(unpacked(content)[0], here.prepared, keep_ends=True)
    ends = [one.evaluate({"least": 0.015}).ends for one in (here, there)]
    np.testing.assert_array_equal(*ends)
    assert ends[0] is not None
    assert ends[0][:, NET].tolist() == alone.trades["pnl_percentage"].tolist() != []


def test_a_changed_series_is_other_data_for_a_ledger_of_trials() -> None:
    strategy = bknb.add_strategy("by rate", interval="1h", get_signals=by_rate)
    plan = plan_backtest("BTCUSDT", strategy, "demo", FRAME)
    hashes = []
    for rate in (0.01, 0.01, 0.02):
        bknb.add_series("funding", {"published_at": [f"{DAY} 00:00Z"], "rate": [rate]})
        hashes.append(asyncio.run(prepare(plan, hashed=True)).data)
    assert hashes[0] == hashes[1] != hashes[2]


# --- cards ----------------------------------------------------------------------------------------------------------


def run_with_funding(rates: list[float], *, delay: str = "0m") -> bknb.Result:
    hours = [f"{DAY} {hour:02}:00Z" for hour in range(len(rates))]
    bknb.add_series("funding", {"published_at": hours, "rate": rates}, delay=delay)
    strategy = bknb.add_strategy("by rate", interval="1h", get_signal=by_rate_one_by_one)
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange="demo", frame=(DAY, f"{DAY} 05:00"))


def test_a_card_holds_the_fingerprint_of_what_was_read_and_verify_says_what_changed() -> None:
    bknb.add_series("never read", FUNDING)
    card = run_with_funding([0.01, 0.02, 0.03]).card
    [part] = card.series
    assert (part.name, part.count, part.delay_ms) == ("funding", 3, 0)
    assert bknb.Card.from_json(card.to_json()) == card
    assert "| funding | 2024-01-01 00:00 UTC | 2024-01-01 02:00 UTC | 3 | 0 min |" in card.report()
    assert bknb.verify(card).same
    changes = {
        "other values in its 3 rows": ([0.01, 0.02, 0.04], "0m"),
        "3 rows -> 2, last row published 2024-01-01 02:00 UTC -> 2024-01-01 01:00 UTC": ([0.01, 0.02], "0m"),
        "delay 0 s -> 120 s": ([0.01, 0.02, 0.03], "2m"),
    }
    for text, (rates, delay) in changes.items():
        run_with_funding(rates, delay=delay)
        told = [(one.kind, one.text) for one in bknb.verify(card).differences if one.kind == "series"]
        assert told == [("series", f"funding: {text}")]
    bknb.testing.reset()
    bknb.add_strategy("by rate", interval="1h", get_signal=by_rate_one_by_one)
    with pytest.raises(bknb.UnknownName, match="funding"):
        bknb.verify(card)


def test_rows_behind_the_end_of_a_run_change_nothing_on_its_card() -> None:
    one, other = (run_with_funding([0.01] * count).card for count in (6, 12))
    assert one.series == other.series
    bknb.add_strategy("reads nothing", interval="1h", get_signal=lambda: None)
    plain = bknb.backtest("BTCUSDT", strategy="reads nothing", exchange="demo", frame=(DAY, f"{DAY} 05:00")).card
    assert plain.series == ()
    assert '"series"' not in plain.to_json()
    assert [part.text for part in plain.diff(one) if part.kind == "series"] == ["funding: read now"]


def test_a_minute_of_a_result_sees_the_series_its_run_saw() -> None:
    result = run_with_funding([0.01, 0.02, 0.03])
    run_with_funding([0.5, 0.5])
    assert result.at(f"{DAY} 01:30").context.series("funding", 9).rate.tolist() == [0.01, 0.02]


def test_manage_reads_the_series_its_run_read_when_a_minute_is_played_again() -> None:
    def manage(ctx: Any, position: bknb.HeldPosition) -> bknb.Reduce | None:
        return bknb.Reduce(0.5) if ctx.series("funding", 1).rate[-1] > 0.5 and position.size == 1 else None

    def get_signal(ctx: Any) -> dict[str, Any]:
        return {"position": "long", "price_stop_loss": ctx.price * 0.5}

    hours = {"published_at": [f"{DAY} 00:00Z", f"{DAY} 02:00Z"]}
    bknb.add_series("funding", {**hours, "rate": [0.0, 1.0]})
    bknb.add_strategy("managed", interval="1h", get_signal=get_signal, manage=manage)
    result = bknb.backtest("BTCUSDT", strategy="managed", exchange="demo", frame=(DAY, f"{DAY} 05:00"))
    bknb.add_series("funding", {**hours, "rate": [0.0, 0.0]})
    sizes = [result.at(f"{DAY} 0{hour}:30").position.size for hour in (1, 3)]  # type: ignore[union-attr]  # open
    assert sizes == [1, 0.5]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        ({"published_at": [DAY], "rate": [1]}, {}, "have no time zone.*tz='UTC'"),
        ({"rate": [1]}, {}, "needs a column 'published_at'.*its columns: rate\nname that column with time="),
        ({"published_at": [f"{DAY}Z", None], "rate": [1, 2]}, {}, "row 1: published_at must be a time"),
        ({"published_at": [f"{DAY}Z"], "rate": [[1]]}, {}, r"row 0: rate must hold numbers, text.*got \[1\]"),
        ({"published_at": [f"{DAY}Z"], "symbol": [None]}, {}, "row 0: symbol must be a symbol.*got None"),
        ({"published_at": [f"{DAY}Z"]}, {"delay": "soon"}, "delay must be a span such as.*got 'soon'"),
        ({"published_at": [f"{DAY}Z"]}, {"delay": timedelta(-1)}, "delay must be a span"),
        ({"published_at": [f"{DAY}Z"]}, {"key": "period"}, "key names 'period', and its columns are published_at"),
        ({"published_at": [f"{DAY}Z"]}, {"tz": "Mars/Base"}, "tz must be a time zone"),
        ({"published_at": [f"{DAY}Z"], "a": [1, 2]}, {}, "do not make a table"),
        ({"published_at": []}, {}, "has no rows"),
        ({"published_at": [True, False]}, {}, "row 0: published_at must be a time, got .*True"),
        ({"published_at": [2023, 2024]}, {}, "too small for times since 1970, such as .*2023.*to_datetime"),
        ({"published_at": [45292, 45293]}, {}, "too small for times since 1970"),
        ({"published_at": ["01/02/2024"]}, {"tz": "UTC"}, "in one way only.*convert the column before: pd.to_datetime"),
        ({"published_at": [f"{DAY}Z"] * 2, "id": [2**60, 2**60 + 1]}, {"key": "id"}, "row 0: id is a key.*astype"),
        (
            pd.DataFrame({"x": [1]}, index=pd.to_datetime([f"{DAY} 00:00Z"])),
            {},
            r"name it: table.rename_axis\('published_at'",
        ),
        (3, {}, "needs a DataFrame, a mapping of columns or a list of mappings, got int\nor give a function"),
        (None, {}, "needs a table or a function"),
        (lambda: None, {}, r"must take two arguments, since and until \(UTC ms\)"),
    ],
)
def test_what_is_no_series_is_refused_and_what_was_registered_stays(source: Any, options: Any, text: str) -> None:
    before = bknb.add_series("s", FUNDING)
    with pytest.raises((bknb.UsageError, bknb.DataError), match=f"(?s){text}"):
        bknb.add_series("s", source, **options)
    assert bknb.list_series() == ["s"]
    assert registry.series.get("s") is before


def test_times_of_a_declared_zone_are_read_as_of_it() -> None:
    local = {"published_at": ["2024-01-01 03:00", "2024-07-01 03:00"], "x": [1, 2]}
    utc = [datetime(2024, 1, 1, 8, tzinfo=UTC), datetime(2024, 7, 1, 7, tzinfo=UTC)]
    got = table(local, tz="America/New_York").rows("X", 10**15, 9).published_at
    assert got.tolist() == [moment.timestamp() * 1000 for moment in utc]
    with pytest.raises(bknb.DataError, match="does not exist in America/New_York"):
        table({"published_at": ["2024-03-10 02:30"]}, tz="America/New_York")


@pytest.mark.parametrize("clock", [["01:30", "01:30"], ["09:00", "01:10", "01:50", "08:00"], ["01:30"]])
def test_an_hour_that_came_twice_is_not_told_apart_by_the_order_of_rows(clock: list[str]) -> None:
    rows = {"published_at": [f"2023-11-05 {each}" for each in clock]}
    with pytest.raises(
        bknb.DataError, match=r"row [01]: published_at 2023-11-05 01:\d0 came twice in America/New_York"
    ):
        table(rows, tz="America/New_York")


def test_rows_without_a_column_are_no_array_and_stay_what_they_are_when_copied() -> None:
    [rows] = [table(None).rows("X", 0, 1)]
    assert rows.rate.tolist() == copy.deepcopy(rows).rate.tolist() == []
    assert not [name for name in ("to_numpy", "dtypes", "dtype", "iloc", "shape") if hasattr(rows, name)]
    kept: list[Any] = []
    bknb.add_series("s", lambda since, until: None)
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda ctx: kept.append(ctx.series("s", 1)), interval="1h", exchange="demo",
        frame=(DAY, f"{DAY} 02:00"),
    )  # fmt: skip
    assert (result.errors, len(kept)) == ([], 2)  # what a strategy keeps is spelled for its card


def test_a_function_that_reads_its_own_series_is_told() -> None:
    bknb.add_series("own", lambda since, until: bknb.get_series("own", 1))
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda ctx: ctx.series("own", 1) and None, interval="1h", exchange="demo",
        frame=(DAY, f"{DAY} 02:00"),
    )  # fmt: skip
    assert "its function reads the series itself\nlet it return" in result.errors[0].message


def test_tables_of_any_form_are_the_same() -> None:
    frame = pd.DataFrame(FUNDING)
    indexed = frame.assign(published_at=pd.to_datetime(frame.published_at)).set_index("published_at")
    records = frame.to_dict("records")
    levels = indexed.assign(place=range(len(indexed))).set_index("place", append=True)
    panel = table(levels).rows("X", 10**15, 9)
    assert panel.published_at.tolist() == table(frame).rows("X", 10**15, 9).published_at.tolist()
    one, *others = (table(each).rows("X", 10**15, 9) for each in (FUNDING, frame, indexed, records))
    assert all(each == one for each in others)
    assert one.to_pandas()["published_at"].iloc[0] == pd.Timestamp(f"{DAY} 00:00Z")


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (lambda ctx: ctx.series("fundnig", 1), "fundnig.*funding"),
        (lambda ctx: ctx.series("funding"), "say how many rows, such as 5, or since when"),
        (lambda ctx: ctx.series("funding", 1, symbol="ETHUSDT"), "has no column of symbols.*leave symbol= out"),
        (lambda ctx: ctx.series("funding", 1, symbol=7), "symbol must be a non-empty text"),
        (lambda ctx: ctx.series("funding", 0), "limit must be a whole number of at least 1, got 0"),
        (lambda ctx: ctx.series("funding", ctx.candles("1h", 2)), "candles are given in get_signals"),
        (lambda ctx: ctx.series("funding", 1, since=datetime(2024, 1, 1)), "since must have a time zone"),
        (lambda ctx: ctx.series("funding", 1, since="yesterday"), "since must be a span such as"),
        (lambda ctx: ctx.series("funding", 1, since=np.timedelta64(1, "h")), "since in UTC.*or give a span such as"),
        (lambda ctx: ctx.series("funding", 1).volume, "no column 'volume'; its columns: published_at, rate"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_to_ask(question: Any, text: str) -> None:
    bknb.add_series("funding", FUNDING)
    result = bknb.backtest("BTCUSDT", strategy=question, interval="1h", exchange="demo", frame=(DAY, f"{DAY} 03:00"))
    [error] = result.errors
    assert error.count == 3
    assert re.search(text, error.message, flags=re.DOTALL), error.message


def test_get_signals_says_that_it_needs_its_candles() -> None:
    bknb.add_series("funding", FUNDING)
    for get_signals, text in (
        (lambda candles: bknb.get_series("funding", 5), r"give the candles, get_series\('funding', candles\)"),
        (lambda candles: bknb.get_series("funding", candles, since="1h"), "since= has no meaning"),
    ):
        with pytest.raises(bknb.UsageError, match=text):
            bknb.backtest("BTCUSDT", strategy=get_signals, interval="1h", exchange="demo", frame=FRAME)
    with pytest.raises(bknb.UsageError, match="works only while a strategy"):
        bknb.get_series("funding", 1)


def test_a_sweep_refuses_a_function_in_words() -> None:
    bknb.add_series("funding", lambda since, until: FUNDING)
    strategy = bknb.add_strategy("by rate", interval="1h", get_signals=by_rate)
    swept = bknb.sweep(strategy, params={"least": [0.1]}, symbol="BTCUSDT", exchange="demo", frame=FRAME)
    assert "series 'funding' is a function, and a sweep reads tables alone" in swept.table["error"][0]


def test_rows_show_themselves() -> None:
    rows = SeriesRows({"published_at": np.array([0, MINUTE]), "rate": np.array([0.1, np.nan])}, ("published_at",))
    assert repr(rows) == "SeriesRows(2: published_at, rate)"
    assert rows[rows.rate > 0][0] == {"published_at": 0, "rate": 0.1}
    assert rows == rows[:]
    assert rows != rows[:1]
    assert "rate" in dir(rows)
    with pytest.raises(bknb.UsageError, match="no column 'x'\nits columns: published_at, rate"):
        rows["x"]


# --- the contract of a function -------------------------------------------------------------------------------------

HOUR = 60 * MINUTE


def hourly(since: int, until: int) -> dict[str, Any]:
    moments = [*range(since + -since % HOUR, until + 1, HOUR)]
    return {"published_at": moments, "value": [at // HOUR % 7 for at in moments]}


async def hourly_later(since: int, until: int) -> Any:
    return None if until < since else hourly(since, until)


class TestHourly(SeriesContract):
    def function(self) -> Any:
        return hourly


class TestHourlyLater(SeriesContract):
    def function(self) -> Any:
        return hourly_later


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda since, until: hourly(since - HOUR, until), "got some before that"),
        (lambda since, until: hourly(since, until + HOUR), "got some after that"),
        (lambda since, until: hourly(until + -until % HOUR, until), "needs at least two rows"),
        (lambda since, until: {**hourly(since, until), "value": until}, "does not change when time goes on"),
        (lambda since, until: hourly(since, until) if until > since else 1 / 0, "division"),
    ],
)
def test_a_function_that_breaks_a_promise_is_named(function: Any, text: str) -> None:
    with pytest.raises((AssertionError, ZeroDivisionError), match=text):
        check_series(function, 1_704_067_200_000, 1_704_067_200_000 + 9 * HOUR)
