"""Splits and dividends: candles before them in the terms of those after, told, and refused where prices deny them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.errors import BadCandle, DataError, UsageError
from bknb.exchanges.dataframe_source import FrameSource
from bknb.exchanges.from_csv_frame_and_parquet import from_csv, from_frame, from_parquet
from bknb.market.candles import Candles

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000
DAY = 1440 * MINUTE


def traded(count: int = 4 * 1440, *, split_at: int = 2880, ratio: float = 4.0) -> pd.DataFrame:
    """Minutes as they were traded: a walk whose prices are a fourth from the split on."""
    rng = np.random.default_rng(4)
    close = 400 * np.exp(np.cumsum(rng.normal(0, 1e-4, count)))
    opened = np.r_[400.0, close[:-1]]
    frame = pd.DataFrame({"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close)})
    frame["close"], frame["volume"] = close, 10.0
    frame.loc[split_at:, ["open", "high", "low", "close"]] /= ratio
    frame.loc[split_at:, "volume"] *= ratio
    frame.index = pd.date_range("2024-01-01", periods=count, freq="min", name="timestamp")
    return frame


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


SPLIT = table(date=["2024-01-03"], splits=[4.0])


def served(source: FrameSource, symbol: str = "AAPL") -> Candles:
    return asyncio.run(source.get_candles(symbol, "1m", 0, 2**40))


def test_prices_before_a_split_are_in_the_terms_of_those_after_it() -> None:
    source = from_frame(traded(), name="mine", adjust=SPLIT)
    whole = traded(split_at=4 * 1440)
    assert np.allclose(served(source).close, whole["close"] / 4, rtol=1e-12)
    assert (served(source).volume == 40.0).all()
    made = source.adjustments[None]
    assert [tuple(step) for step in made.steps] == [(START + 2 * DAY, 0.25, 4.0)]
    assert source.warnings == ("mine: adjusted for 1 split: the oldest prices are 0.25 of those traded",)


def test_a_dividend_is_a_share_of_the_close_before_it() -> None:
    dividends = table(date=["2024-01-02", "2024-01-04"], dividends=[2.0, 1.0])
    source = from_frame(traded(split_at=0, ratio=1.0), adjust=dividends)
    raw = traded(split_at=0, ratio=1.0)
    first, second = 1 - 2.0 / raw["close"].iloc[1439], 1 - 1.0 / raw["close"].iloc[3 * 1440 - 1]
    factor = np.ones(4 * 1440)
    factor[: 3 * 1440] *= second
    factor[:1440] *= first
    assert np.allclose(served(source).close, raw["close"] * factor, rtol=1e-12)
    assert (served(source).volume == 10.0).all()
    assert [step.price for step in source.adjustments[None].steps] == pytest.approx([first * second, second], rel=1e-12)


@pytest.mark.slow
def test_a_return_over_splits_and_dividends_is_that_of_who_held_the_share() -> None:
    """A holder who puts each dividend into shares at the close before it, on random tables."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        raw, shares, actions = traded(split_at=0, ratio=1.0), 1.0, []
        close = raw["close"].to_numpy().copy()
        for at in np.sort(rng.choice(np.arange(10, 5000), 4, replace=False)):
            ratio, dividend = (
                (1.0, float(rng.uniform(0, 3))) if rng.random() < 0.5 else (float(rng.choice([2, 3, 0.1])), 0.0)
            )
            close[at:] = close[at:] / ratio
            shares *= ratio / (1 - dividend / close[at - 1])
            actions.append((raw.index[at], ratio, dividend))
        given = raw.assign(open=close, high=close, low=close, close=close)
        adjust = pd.DataFrame(actions, columns=["date", "Stock Splits", "Dividends"])
        found = served(from_frame(given, adjust=adjust)).close
        assert found[-1] == close[-1]
        assert found[-1] / found[0] == pytest.approx(shares * close[-1] / close[0], rel=1e-9)


def test_a_run_over_a_split_sees_none_and_its_card_says_so() -> None:
    asked: list[float] = []

    def get_signal(price: float) -> None:
        asked.append(price)

    result = bknb.backtest(
        "AAPL",
        strategy=get_signal,
        exchange=from_frame(traded(), name="mine", adjust=SPLIT),
        frame=("2024-01-02 22:00", "2024-01-03 02:00"),
    )
    assert max(asked) < 1.01 * min(asked)
    told = "adjusted for 1 split: the oldest prices are 0.25 of those traded"
    assert f"mine: {told}" in "\n".join(result.warnings)
    assert result.card.made_with["candles from"] == f"FrameSource mine, {told}"


@pytest.mark.slow
def test_each_symbol_has_its_own_actions(tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    both = pd.concat([traded().assign(symbol="AAPL"), traded(split_at=0, ratio=1.0).assign(symbol="MSFT")])
    both.to_csv(path)
    actions = table(symbol=["AAPL", "IBM"], date=["2024-01-03", "2024-01-02"], splits=[4.0, 2.0])
    source = from_csv(path, adjust=actions)
    assert served(source, "AAPL").close[0] == pytest.approx(100.0, rel=1e-3)
    assert served(source, "MSFT").close[0] == pytest.approx(400.0, rel=1e-3)
    assert source.reopen is not None
    assert served(source.reopen(), "AAPL") == served(source, "AAPL")
    assert "many.csv, MSFT: adjusted for no split and no dividend" in source.warnings
    with pytest.raises(UsageError, match="adjust is a table of AAPL, IBM, and these are the candles of MSFT"):
        from_csv(path, adjust=actions, symbol="MSFT")
    with pytest.raises(UsageError, match="adjust is a table of no symbol, and these are the candles of AAPL, MSFT"):
        from_csv(path, adjust=SPLIT)


def test_a_parquet_file_and_candles_are_adjusted_too(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "one.parquet"
    traded().to_parquet(path)
    expected = served(from_frame(traded(), adjust=SPLIT))
    source = from_parquet(path, adjust=SPLIT)
    assert served(source) == expected
    assert source.reopen is not None
    assert served(source.reopen()) == expected
    assert served(from_frame(served(from_frame(traded())), symbol="AAPL", adjust=SPLIT)) == expected


def test_dates_are_those_of_the_zone_of_the_candles() -> None:
    dates = pd.DataFrame({"splits": [4.0]}, index=pd.DatetimeIndex(["2024-01-03"], name="Date"))
    source = from_frame(traded(), adjust=dates, tz="America/New_York")
    assert source.adjustments[None].steps[0].before == START + 2 * DAY + 5 * 60 * MINUTE
    aware = dates.tz_localize("America/New_York")
    frame = traded().tz_localize("America/New_York")
    assert served(from_frame(frame, adjust=aware)) == served(source)


def test_what_lies_outside_of_the_candles_makes_no_difference() -> None:
    outside = table(date=["2023-01-03", "2024-01-01", "2024-01-05", "2030-01-01"], splits=[4.0, 2.0, 3.0, 2.0])
    source = from_frame(traded(), adjust=outside)
    assert served(source) == served(from_frame(traded()))
    assert source.adjustments[None].steps == ()


@pytest.mark.parametrize(
    ("frame", "adjust", "error", "told"),
    [
        (
            traded(split_at=0),
            SPLIT,
            DataError,
            r"a split of 4 for 1 on 2024-01-03 .* adjusted for it already, or it was",
        ),
        (traded(), table(date=["2024-01-02"], splits=[4.0]), DataError, "or it was another day"),
        (traded(), table(date=["2024-01-03"], splits=[0.25]), DataError, "a split of 0.25 for 1"),
        (traded(), table(date=["2024-01-02"], dividends=[500.0]), DataError, "a dividend of 500 on .* before it is"),
        (traded(), table(date=["2024-01-02"], dividends=[-1.0]), BadCandle, "row 0: dividends must be .* got .*-1.0"),
        (traded(), table(date=["2024-01-03"], splits=["4:1"]), BadCandle, r"got '4:1'\na split of four for one is 4"),
        (traded(), table(date=["x"], splits=[4.0]), BadCandle, "adjust, row 0"),
        (traded(), table(date=["2024-01-03"], splits=[True]), BadCandle, "row 0: splits must be .* got .*True"),
        (traded(), table(date=["2024-01-03"] * 2, splits=[4.0, 4.0]), BadCandle, "a split and something else"),
        (traded(), table(date=["2024-01-03"], splits=[4.0], dividends=[1.0]), BadCandle, "which comes first"),
        (traded(), table(date=["2024-01-03"], ratio=[4.0]), UsageError, "found: date, ratio"),
        (traded(), table(splits=[4.0]), UsageError, "adjust needs dates"),
        (traded(), {"2024-01-03": 4}, UsageError, "adjust needs a DataFrame .* got dict"),
        (traded(), SPLIT.assign(symbol="IBM"), None, ""),
    ],
)
def test_a_table_that_the_candles_deny_is_refused(frame: Any, adjust: Any, error: Any, told: str) -> None:
    if error is None:  # one series and the actions of one symbol
        assert from_frame(frame, adjust=adjust).adjustments[None].splits == 1
        return
    with pytest.raises(error, match=told):
        from_frame(frame, adjust=adjust)


@pytest.mark.parametrize("empty", [SPLIT[:0], SPLIT.assign(symbol="AAPL")[:0], SPLIT.assign(splits=np.nan)])
def test_an_empty_table_changes_nothing(empty: pd.DataFrame) -> None:
    assert served(from_frame(traded(), adjust=empty)) == served(from_frame(traded()))


def test_two_dividends_of_one_day_are_paid_together() -> None:
    twice = table(date=["2024-01-02", "2024-01-02"], dividends=[1.0, 2.0])
    once = table(date=["2024-01-02"], dividends=[3.0])
    assert served(from_frame(traded(ratio=1.0), adjust=twice)) == served(from_frame(traded(ratio=1.0), adjust=once))


def stepped(*closes: float) -> pd.DataFrame:
    """Minutes that each stand at one price."""
    index = pd.date_range("2024-01-02 23:58", periods=len(closes), freq="min", name="timestamp")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": 8.0}, index=index)


@pytest.mark.parametrize(
    ("closes", "actions", "factor", "shares"),
    [
        ((400.0, 400.0, 99.0), [(4.0, 0.0), (1.0, 1.0)], 0.2475, 4.0),
        ((400.0, 400.0, 99.0), [(1.0, 4.0), (4.0, 0.0)], 0.2475, 4.0),
        ((400.0, 400.0, 388.0), [(1.0, 8.0), (1.0, 4.0)], 0.97, 1.0),
        ((400.0, 400.0, 50.0), [(4.0, 0.0), (2.0, 0.0)], 0.125, 8.0),
        ((400.0, 400.0, 400.0), [(4.0, 0.0), (0.25, 0.0)], 1.0, 1.0),
    ],
)
def test_what_is_due_between_two_candles_is_each_of_the_price_after_the_one_before(
    closes: tuple[float, ...], actions: list[tuple[float, float]], factor: float, shares: float
) -> None:
    """A night without candles, in which each has a minute of its own."""
    frame = stepped(*closes)
    frame.index = pd.DatetimeIndex(["2024-01-02 23:58", "2024-01-02 23:59", "2024-01-03 09:30"], name="timestamp")
    dates = pd.date_range("2024-01-03", periods=len(actions), freq="min")
    adjust = pd.DataFrame(actions, columns=["splits", "dividends"], index=dates)
    candles = served(from_frame(frame, adjust=adjust))
    assert candles.close == pytest.approx([closes[0] * factor] * 2 + [closes[2]], rel=1e-12)
    assert candles.volume.tolist() == [8 * shares, 8 * shares, 8]


def test_splits_that_prices_deny_together_are_refused() -> None:
    frame = stepped(400.0, 400.0, 400.0, 400.0)
    frame.index = frame.index[:2].append(frame.index[2:] + pd.Timedelta(hours=9))
    adjust = table(date=["2024-01-03 00:00", "2024-01-03 00:01"], splits=[4.0, 2.0])
    with pytest.raises(DataError, match=r"splits of 8 for 1 in all from 2024-01-03 00:00 UTC to 2024-01-03 00:01 UTC"):
        from_frame(frame, adjust=adjust)


def test_a_row_without_a_symbol_is_refused_and_symbols_without_candles_are_told() -> None:
    both = pd.concat([traded().assign(symbol="AAPL"), traded(split_at=0, ratio=1.0).assign(symbol="MSFT")])
    for nothing in (None, np.nan, " "):
        lost = table(symbol=["AAPL", nothing], date=["2024-01-02", "2024-01-03"], dividends=[1.0, 1.0])
        with pytest.raises(BadCandle, match=r"adjust, row 1: symbol must name the symbol, and is empty\nfill it in"):
            from_frame(both, adjust=lost)
    source = from_frame(both, adjust=table(symbol=["AAPL", "aapl"], date=["2024-01-02"] * 2, dividends=[1.0, 1.0]))
    assert source.warnings[0] == "frame: adjust has splits or dividends of aapl, and there are no candles of it"


# --- a column of adjusted closes ---


def with_column(decimals: int | None, *, cut: int = 300) -> tuple[pd.DataFrame, Any]:
    """Days of a share with two dividends, with closes that are adjusted for them, and what these are of the closes."""
    days = pd.date_range("2023-01-02", periods=300, freq="B", name="Date")
    random = np.random.default_rng(1)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.01, 300))), 2)
    high = close * (1 + random.random(300) / 50)
    first, second = (days < pd.Timestamp(date) for date in ("2023-05-01", "2023-09-01"))
    share = np.where(first, 0.97, 1.0) * np.where(second, 0.995, 1.0)
    column = close * share if decimals is None else np.round(close * share, decimals)
    prices = {"Open": close, "High": high, "Low": close - 1, "Close": close, "Adj Close": column, "Volume": 1e3}
    return pd.DataFrame(prices, index=days)[:cut], (share / share[cut - 1])[:cut]


@pytest.mark.parametrize("decimals", [None, 6, 2])
@pytest.mark.parametrize("cut", [300, 150])
def test_a_column_of_adjusted_closes_says_what_prices_are_multiplied_by(decimals: int | None, cut: int) -> None:
    table, share = with_column(decimals, cut=cut)
    source = from_frame(table, symbol="S", adjust="Adj Close")
    candles = asyncio.run(source.get_candles("S", "1d", 0, 100_000))
    rounded = 1e-4 if decimals == 2 else 1e-6
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(getattr(candles, name), table[name.title()] * share, rtol=rounded)
    assert candles.close[-1] == table["Close"].iloc[-1]
    assert (candles.volume == 1000).all()
    made = source.adjustments["S"]
    dates = [pd.Timestamp(step.before, unit="ms").date().isoformat() for step in made.steps]
    assert dates == ["2023-05-01", "2023-09-01"][: 2 if cut == 300 else 1]
    assert made.steps[0].price == pytest.approx(share[0], rel=rounded)
    assert f"frame, S: adjusted by the column 'Adj Close': the oldest prices are {made.steps[0].price:.6g}" in str(
        source.warnings
    )


@pytest.mark.parametrize(("price", "dividend"), [(6.0, 0.003), (20.0, 0.001)])
def test_small_dividends_of_rounded_closes_count_once_they_add_up(price: float, dividend: float) -> None:
    random, count = np.random.default_rng(1), 2500  # ten years, a dividend a quarter, each within the rounding of two
    days = pd.date_range("2012-01-02", periods=count, freq="B", name="Date")
    close = price * np.exp(np.cumsum(random.normal(0, 0.003, count)))
    share = (1 - dividend) ** ((count - 1) // 63 - np.arange(count) // 63)
    table = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close"), close), index=days)
    table = table.assign(**{"Adj Close": close * share, "Volume": 1e3}).round(2)
    source = from_frame(table, symbol="S", adjust="Adj Close")
    found = asyncio.run(source.get_candles("S", "1d", 0, 100_000)).close
    rounded = 2 * (0.005 / table["Close"] + 0.005 / table["Adj Close"])
    assert (np.abs(found / (table["Close"] * share) - 1) < rounded).all()


def test_a_column_of_adjusted_closes_is_of_each_ticker_and_of_files(tmp_path: Path) -> None:
    table, share = with_column(6)
    both = pd.concat({"AAA": table, "BBB": table.assign(**{"Adj Close": table["Close"]})}, axis=1)
    for frame in (both, both.swaplevel(axis=1).sort_index(axis=1)):
        made = from_frame(frame, adjust="Adj Close").adjustments
        assert (len(made["AAA"].steps), made["BBB"].steps) == (2, ())
        assert made["AAA"].steps[0].price == pytest.approx(share[0], rel=1e-6)
    table.to_csv(tmp_path / "days.csv")
    table.to_parquet(tmp_path / "days.parquet")
    for source in (from_csv(tmp_path / "days.csv", adjust="Adj Close"),
                   from_parquet(tmp_path / "days.parquet", adjust="Adj Close")):  # fmt: skip
        assert len(source.adjustments[None].steps) == 2
        assert source.reopen is not None
        assert len(source.reopen().adjustments[None].steps) == 2


def test_a_column_that_is_no_adjusted_close_is_refused() -> None:
    table, _ = with_column(2)
    with pytest.raises(UsageError, match="has no column 'Adj'\nfound: Open, High"):
        from_frame(table, adjust="Adj")
    for column in ("High", "Volume"):
        with pytest.raises(DataError, match=f"the column '{column}' is no adjusted close: what it is of the close"):
            from_frame(table, adjust=column)
    with pytest.raises(UsageError, match="is the name of a column, and bknb"):
        from_frame(Candles.empty(), adjust="Adj Close")
    for name in ("Adj Close", "Close"):
        with pytest.raises(DataError, match="it and the close must be above 0"), np.errstate(all="raise"):
            from_frame(table.assign(**{name: 0.0}), adjust="Adj Close", negative=True)


def above_twenty(ctx: Any) -> Any:
    return bknb.Signal(position="long", bars=1) if ctx.price > 20 else None


def between(ctx: Any) -> Any:
    last = ctx.candles("1d", 3).close
    return bknb.Signal(position="long", bars=1) if 5.5 < last[-1] < 1000 else None


LEVEL = 150


def above_a_level(ctx: Any) -> Any:
    return bknb.Signal(position="long", bars=1) if max(ctx.candles("1d", 3).close) > LEVEL else None


def above_a_named_level(candles: Any) -> Any:
    closes = np.asarray(candles.close)
    least = 1.0
    least = closes.mean() / 2  # no number alone
    level_of_this = 90
    found = {"position": np.where(closes > level_of_this, 1, np.where(closes > least, 0, 0))}
    return found | dict.fromkeys(("price_take_profit", "price_stop_loss"), np.nan) | {"minute_estimated_time": 1440}


def risen(ctx: Any) -> Any:
    rises = ctx.price / ctx.candles("1d", 3).close[0] > 1.01
    return bknb.Signal(position="long", bars=1) if rises or ctx.price > 0 else None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "comparison"),
    [
        (above_twenty, "ctx.price > 20"),
        (between, "5.5 < last[-1] < 1000"),
        (above_a_level, "max(ctx.candles('1d', 3).close) > LEVEL"),
        (above_a_named_level, "closes > level_of_this"),
        (risen, ""),
    ],
)
@pytest.mark.parametrize("adjusted", [True, False])
def test_the_look_ahead_check_remarks_on_prices_that_are_compared_with_numbers(
    strategy: Any,
    comparison: str,
    adjusted: bool,  # noqa: FBT001 -- a table's column
) -> None:
    days = pd.date_range("2023-01-02", periods=90, freq="B", tz="UTC", name="Date")
    price = pd.Series(np.where(days < pd.Timestamp("2023-03-01", tz="UTC"), 400.0, 100.0 if adjusted else 400.0), days)
    table = pd.DataFrame({"Open": price, "High": price + 1, "Low": price - 1, "Close": price, "Volume": 1.0})
    split = pd.DataFrame({"date": ["2023-03-01"], "splits": [4.0]})
    source = from_frame(table, symbol="S", **({"adjust": split} if adjusted else {}))
    report = bknb.check_lookahead(
        strategy, "S", exchange=source, frame=("2023-02-01", "2023-04-20"), interval="1d", moments=5
    )
    found = [each for each in report.remarks if "compares a price with a number" in each]
    assert len(found) == (1 if adjusted and comparison else 0), report
    for remark in found:
        assert f"{comparison}; the prices are adjusted for 1 split" in remark


def test_prices_that_nothing_has_scaled_may_be_compared_with_numbers() -> None:
    days = pd.date_range("2023-01-02", periods=90, freq="B", tz="UTC", name="Date")
    table = pd.DataFrame(dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), 100.0), index=days)
    later = pd.DataFrame({"date": ["2024-03-01"], "splits": [4.0]})
    for adjust in (later, "Close"):
        report = bknb.check_lookahead(
            above_twenty, "S", exchange=from_frame(table, symbol="S", adjust=adjust),
            frame=("2023-02-01", "2023-04-20"), interval="1d", moments=5,
        )  # fmt: skip
        assert not [each for each in report.remarks if "compares a price with a number" in each]


def test_a_table_that_is_not_in_order_is_told_beside_its_adjustments() -> None:
    frame = traded()
    order = [*range(1, len(frame)), 0]
    source = from_frame(frame.iloc[order], name="mine", adjust=SPLIT)
    assert source.warnings == (
        "mine: sorted: 1 candles were older than the one before them",
        "mine: adjusted for 1 split: the oldest prices are 0.25 of those traded",
    )
    assert served(source) == served(from_frame(frame, adjust=SPLIT))


@pytest.mark.parametrize("price", [0.0, -3.0])
@pytest.mark.parametrize("adjust", [SPLIT, table(date=["2024-01-03"], dividends=[1.0])])
@pytest.mark.parametrize("at", [1, 2])
def test_prices_beside_a_split_must_be_above_zero(price: float, adjust: pd.DataFrame, at: int) -> None:
    frame = stepped(400.0, 400.0, 100.0, 100.0)
    frame.iloc[at] = price
    when = "2024-01-02 23:59 UTC" if at == 1 else "2024-01-03 00:00 UTC"
    with pytest.raises(BadCandle, match=rf"the price at {when} is {price:g}, and .* 2024-01-03 00:00 UTC"):
        from_frame(frame, adjust=adjust)


def test_two_columns_of_one_name_in_the_table_are_refused() -> None:
    for adjust in (
        pd.DataFrame([["2024-01-03", 4.0, 2.0]], columns=["date", "splits", "Splits"]),
        pd.DataFrame([["2024-01-03", 4.0, 2.0]], columns=["date", "splits", "splits"]),
    ):
        with pytest.raises(UsageError, match=r"adjust: two columns are called 'splits'\nleave one of them out"):
            from_frame(traded(), adjust=adjust)


def test_a_true_split_beside_a_large_move_has_a_way_out() -> None:
    frame = stepped(300.0, 300.0, 250.0, 250.0)  # three for two, and a quarter up over night
    told = r"where the split is true .*: divide the prices and dividends before it by 1.5 and multiply the volumes"
    with pytest.raises(DataError, match=told):
        from_frame(frame, adjust=table(date=["2024-01-03"], splits=[1.5]))
