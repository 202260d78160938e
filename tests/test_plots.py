"""The picture of a backtest: arrays first, then plotly's JSON and a PNG."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb
from bknb.domain.formatting import price_decimals
from bknb.reports.equity_arrays import EquityInfo, equity_info
from bknb.reports.equity_png import equity_png
from bknb.reports.fewer_points_of_lines import POINTS_PER_TRACE, decimate
from bknb.reports.plots import equity_figure, figure_json, figure_layout

YEAR = "2024-01-01:2024-12-31"


def busy(ctx: Any) -> bknb.Signal:
    """Always in the market, one side after the other."""
    side = 1 if ctx.when.hour % 2 else -1
    return bknb.Signal(
        position="long" if side > 0 else "short",
        price_take_profit=ctx.price * (1 + side * 0.03),
        price_stop_loss=ctx.price * (1 - side * 0.03),
        minute_estimated_time=820,
    )


@pytest.fixture(scope="module")
def year() -> bknb.Result:
    result = bknb.backtest("BTCUSDT", strategy=busy, interval="15m", exchange=bknb.exchanges.demo(), frame=YEAR)
    assert 800 <= len(result.trades) <= 900
    return result


@pytest.fixture(scope="module")
def info(year: bknb.Result) -> EquityInfo:
    return equity_info(year)


@pytest.fixture(scope="module")
def picture(info: EquityInfo) -> dict[str, Any]:
    return figure_json(info)


def array(stored: Any) -> np.ndarray[Any, Any]:
    """A stored array as plotly.js reads it."""
    return np.frombuffer(base64.b64decode(stored["bdata"]), dtype=f"<{stored['dtype']}")


def trace(picture: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [trace for trace in picture["data"] if trace.get("name", "").startswith(name)]
    return found


# -- thinning ----------------------------------------------------------------------------------------------------

values = st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")), min_size=1, max_size=400)


@given(values, st.integers(4, 60))
def test_thinning_keeps_every_extreme(numbers: list[float], points: int) -> None:
    y = np.array(numbers)
    x = np.arange(len(y))
    kept, kept_y = decimate(x, y, points)
    assert len(kept) <= max(points, 4)
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(kept_y, y[kept])
    assert (kept[0], kept[-1]) == (0, len(y) - 1)
    if not np.isnan(y).all():
        assert np.nanmax(kept_y) == np.nanmax(y)
        assert np.nanmin(kept_y) == np.nanmin(y)


@given(values, st.integers(6, 60))
def test_thinning_keeps_the_extremes_of_every_stretch(numbers: list[float], points: int) -> None:
    y = np.array(numbers)
    if len(y) <= points or np.isnan(y).any():
        return
    kept, _ = decimate(np.arange(len(y)), y, points)
    edges = np.linspace(0, len(y), (points - 2) // 2 + 1).astype(int)
    for start, end in itertools.pairwise(edges):
        inside = y[kept[(kept >= start) & (kept < end)]]
        assert inside.min() == y[start:end].min()
        assert inside.max() == y[start:end].max()


def test_a_short_line_is_left_alone() -> None:
    x, y = np.arange(10), np.arange(10.0)
    assert decimate(x, y, 10)[1] is y


@pytest.mark.parametrize(("x", "y", "points"), [([1, 2], [1.0], 10), ([1], [1.0], 3), ([[1]], [[1.0]], 10)])
def test_what_cannot_be_thinned_is_refused(x: Any, y: Any, points: int) -> None:
    with pytest.raises(bknb.UsageError, match="decimate"):
        decimate(np.array(x), np.array(y), points)


# -- the info object ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_equity_is_that_of_the_result(year: bknb.Result, info: EquityInfo) -> None:
    np.testing.assert_array_equal(info.equity, year.equity.to_numpy())
    assert info.time_ms.tolist() == [int(moment.timestamp() * 1000) for moment in year.equity.index]


@pytest.mark.slow
def test_the_lowest_point_of_the_drawdown_is_the_reported_one(year: bknb.Result, info: EquityInfo) -> None:
    assert -info.drawdown_percent.min() == pytest.approx(year.account["max_drawdown"], abs=1e-9)
    assert (info.drawdown_percent <= 0).all()


@pytest.mark.slow
def test_the_drawdown_is_the_distance_from_the_peak_at_every_mark(info: EquityInfo) -> None:
    at_marks = np.searchsorted(info.drawdown_time_ms, info.time_ms, side="right") - 1
    below = (info.equity / np.maximum.accumulate(info.equity) - 1) * 100
    np.testing.assert_allclose(info.drawdown_percent[at_marks], below, atol=1e-9)


def test_trades_stand_on_the_equity_after_them(year: bknb.Result, info: EquityInfo) -> None:
    np.testing.assert_allclose(info.trade_equity, np.cumprod(1 + year.trades["pnl_percentage"] / 100))


def test_a_deep_moment_inside_a_winning_trade_is_drawn(year: bknb.Result, info: EquityInfo) -> None:
    won = year.trades["pnl_percentage"].to_numpy() > 0
    row = int(np.flatnonzero(won & (year.trades["trough_percentage"].to_numpy() < -0.8))[0])
    inside = (info.time_ms > info.opened_ms[row]) & (info.time_ms <= info.closed_ms[row])
    put_in = info.trade_equity[row - 1] if row else 1.0
    assert info.equity[inside].min() < put_in * 0.997


def test_the_price_line_has_the_highest_and_the_lowest_close(year: bknb.Result, info: EquityInfo) -> None:
    assert info.price.max() == year.candles.close.max()
    assert info.price.min() == year.candles.close.min()
    assert len(info.price) <= POINTS_PER_TRACE


@pytest.mark.parametrize(("price", "decimals"), [(-5.0, 2), (0.99, 4), (0.02, 6), (0.001, 8), (0.0, 2)])
def test_decimals_grow_as_prices_shrink(price: float, decimals: int) -> None:
    assert price_decimals(price) == decimals


# -- plotly ------------------------------------------------------------------------------------------------------


def test_a_year_of_minutes_with_800_trades_stays_small(picture: dict[str, Any]) -> None:
    assert len(json.dumps(picture)) < 300_000
    for drawn in picture["data"]:
        assert len(array(drawn["x"])) == len(array(drawn["y"])) <= POINTS_PER_TRACE


def test_the_plot_has_no_background_of_its_own(picture: dict[str, Any]) -> None:
    layout = picture["layout"]
    assert "template" not in layout
    assert {layout["paper_bgcolor"], layout["plot_bgcolor"]} == {"rgba(0,0,0,0)"}
    assert layout["font"]["color"] == "#808080"
    assert all(layout[axis]["gridcolor"].startswith("rgba") for axis in ("xaxis", "yaxis", "yaxis2", "yaxis3"))


def test_three_panels_share_a_time_axis_in_milliseconds(picture: dict[str, Any], year: bknb.Result) -> None:
    assert picture["layout"]["xaxis"]["type"] == "date"
    assert picture["layout"]["xaxis"]["range"] == [year.start, year.end]
    assert {drawn["yaxis"] for drawn in picture["data"]} == {"y", "y2", "y3"}
    domains = [picture["layout"][axis]["domain"] for axis in ("yaxis", "yaxis2", "yaxis3")]
    assert domains[0][0] > domains[1][1]
    assert domains[1][0] > domains[2][1]
    equity = array(trace(picture, "equity")["x"])
    assert (equity[0], equity[-1]) == (year.start, year.end)


def test_wins_and_losses_differ_by_sign_not_by_colour_alone(picture: dict[str, Any], year: bknb.Result) -> None:
    win, loss = trace(picture, "win ▲"), trace(picture, "loss ▼")
    assert (win["marker"]["symbol"], loss["marker"]["symbol"]) == ("triangle-up", "triangle-down")
    assert len(array(win["x"])) == year.stats["win_count"]
    assert len(array(loss["x"])) == len(year.trades) - year.stats["win_count"]


def test_every_trade_shows_side_prices_times_reason_and_result(picture: dict[str, Any], year: bknb.Result) -> None:
    first = year.trades[year.trades["pnl_percentage"] > 0].iloc[0]
    text = trace(picture, "win")["text"][0]
    for part in (
        first["position"],
        f"{first['pnl_percentage']:+.2f} %",
        first["close_reason"].replace("_", " "),
        f"{first['price_open']:.2f} at {first['pending_at']:%Y-%m-%d %H:%M}",
        f"{first['price_close']:.2f} at {first['closed_at']:%Y-%m-%d %H:%M}",
    ):
        assert part in text


def test_entries_and_exits_stand_at_their_prices(picture: dict[str, Any], year: bknb.Result) -> None:
    longs = year.trades[year.trades["position"] == "long"]
    np.testing.assert_array_equal(array(trace(picture, "long entry")["y"]), longs["price_open"].to_numpy())
    np.testing.assert_array_equal(array(trace(picture, "exit")["y"]), year.trades["price_close"].to_numpy())


def test_more_trades_than_can_be_drawn_keep_the_best_and_the_worst(info: EquityInfo) -> None:
    times = 6
    many = dataclasses.replace(
        info,
        **{
            name: np.tile(getattr(info, name), times)
            for name in ("opened_ms", "closed_ms", "price_open", "price_close", "trade_equity")
        },
        pnl_percent=np.concatenate([np.tile(info.pnl_percent, times - 1), info.pnl_percent - 7.0]),
        sides=info.sides * times,
        reasons=info.reasons * times,
    )
    loss = trace(figure_json(many), "loss")
    total = int((many.pnl_percent <= 0).sum())
    assert total > 1000
    assert len(array(loss["x"])) <= 1000
    assert len(json.dumps(figure_json(many))) < 500_000
    assert f"of {total:,} drawn" in loss["name"]
    assert any(f"{many.pnl_percent.min():+.2f} %" in text for text in loss["text"])


def test_plotly_takes_it_and_adds_no_template(info: EquityInfo) -> None:
    pytest.importorskip("plotly")
    figure = equity_figure(info)
    stored = json.loads(figure.to_json())
    assert "template" not in stored["layout"]
    assert len(figure.to_json()) < 300_000
    assert [drawn.get("name") for drawn in stored["data"]] == [drawn.get("name") for drawn in figure_json(info)["data"]]


def test_the_result_draws_itself(year: bknb.Result) -> None:
    pytest.importorskip("plotly")
    assert year.figure().layout.title.text == equity_info(year).title


# -- PNG ---------------------------------------------------------------------------------------------------------


def corner(png: bytes) -> tuple[int, ...]:
    """Red, green, blue and opacity of the upper left dot; PNG's first line has no neighbours to be filtered by."""
    width, _, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (width > 400, depth, kind) == (True, 8, 6)
    packed, at = b"", 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + length]
        at += 12 + length
    return tuple(zlib.decompress(packed)[1:5])


@pytest.mark.slow
def test_the_png_has_a_clear_background(info: EquityInfo) -> None:
    pytest.importorskip("matplotlib")
    png = equity_png(info)
    assert png.startswith(b"\x89PNG")
    assert corner(png)[3] == 0
    assert len(png) < 150_000


@pytest.mark.slow
def test_nothing_of_the_png_is_cut_off_and_little_is_empty(info: EquityInfo) -> None:
    image = pytest.importorskip("PIL.Image").open(io.BytesIO(equity_png(info))).convert("RGBA")
    left, top, right, bottom = image.getchannel("A").getbbox()
    margins = left, top, image.width - right, image.height - bottom
    assert all(5 <= margin <= 15 for margin in margins), margins  # a tenth of an inch


@pytest.mark.slow
def test_pictures_leave_pyplot_alone() -> None:
    pytest.importorskip("matplotlib")
    script = (
        "import sys, bknb\n"
        "from bknb.reports.equity_png import equity_png\nfrom bknb.reports.plots import figure_json\n"
        "frame = ('2024-01-01', '2024-01-03')\n"
        "result = bknb.backtest('BTCUSDT', strategy=lambda: None, exchange=bknb.exchanges.demo(), frame=frame)\n"
        "figure_json(result)\n"
        "print({'plotly', 'matplotlib'} & set(sys.modules))\n"
        "equity_png(result)\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split("\n")[:2] == ["set()", "False"]


@pytest.mark.slow
def test_a_run_without_trades_can_be_drawn() -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, exchange=bknb.exchanges.demo(), frame=("2024-01-01", "2024-01-02")
    )
    picture = figure_json(result)
    assert [drawn["name"] for drawn in picture["data"]] == ["price", "drawdown", "equity"]
    assert set(array(trace(picture, "equity")["y"]).tolist()) == {0.0}
    pytest.importorskip("matplotlib")
    assert equity_png(result).startswith(b"\x89PNG")


def test_a_title_stands_above_two_rows_of_the_legend() -> None:
    """In a cell of 500 px the legend takes two rows of 19 px each; a title takes 1.3 times its size."""
    layout = figure_layout("a run", 0, 60_000)
    title, legend, top = layout["title"], layout["legend"], layout["margin"]["t"]
    assert (title["yref"], title["y"], title["yanchor"], legend["yanchor"]) == ("container", 1, "top", "bottom")
    plotted = layout["height"] - top - layout["margin"]["b"]
    assert title["pad"]["t"] + 1.3 * title["font"]["size"] <= top - (legend["y"] - 1) * plotted - 2 * 19
