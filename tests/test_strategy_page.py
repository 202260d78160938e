"""The cells of docs/strategies.md: they run as printed, are as short as they say, and do what a plain loop does."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from strategy_loops import (
    bollinger,
    carry,
    chandelier,
    dual_momentum,
    ema_cross,
    forest,
    grid,
    news,
    pair,
    ranges,
    rsi_2,
    safety_orders,
    time_frames,
    turtle,
    volatility_target,
)
from strategy_loops.market import Bar, Fill, Terms, Told, bars_of_table, demo_bars, ms, without_gaps

import bknb

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "strategies.md").read_text(encoding="utf-8")
WANTED = {1: 3, 2: 19, 3: 7, 4: 8, 5: 6, 6: 6, 7: 9, 8: 5, 9: 4, 10: 6, 11: 3, 12: 16, 13: 4, 14: 6, 15: 7, 16: 5}
"""How many lines a cell may have, by its number."""
SECTIONS = {
    int(number): text for number, text in re.findall(r"^## (\d+)\. (.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def cell(number: int) -> str:
    """The first block of a section; the second one runs it."""
    return BLOCK.findall(SECTIONS[number])[0]


def name_of(number: int) -> str:
    """The variable that the result of a section is kept in."""
    return re.findall(r"^(\w+) = bknb\.(?:backtest|portfolio)\(", SECTIONS[number], re.MULTILINE)[-1]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the blocks of the page leave behind, run one after another; a warning is an error."""
    names: dict[str, Any] = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for block in BLOCK.findall(PAGE):
            exec(block, names)  # noqa: S102 -- a page of this repository
    return names


def said(result: Any) -> str:
    """What the page says of a result."""
    start, end = result.equity.iloc[0], result.equity.iloc[-1]
    held = result.account["buy_and_hold"]
    beside = "" if held is None else f"; holding made {held:+.1f} %"
    return f"{len(result.fills)} fills, {start:,.0f} became {end:,.2f}{beside}."


def fills_of(result: Any) -> list[Fill]:
    """The fills of a result as those of a loop."""
    table = result.fills
    signed = table["quantity"].where(table["side"] == "buy", -table["quantity"])
    times = table["at"].dt.as_unit("ms").astype("int64")
    return [Fill(*row) for row in zip(times.tolist(), signed.tolist(), table["price"].tolist(), strict=True)]


def in_order(fills: Sequence[Fill]) -> list[Fill]:
    """By time; those of one moment by what was bought or sold, as far as that is the same in both."""
    return sorted(fills, key=lambda fill: (fill.at, fill.units > 0, round(fill.price, 6), round(fill.units, 9)))


@cache
def minutes() -> list[Bar]:
    return demo_bars("BTCUSDT", "2023-12-30", "2024-02-16")


@cache
def quarters() -> list[Bar]:
    return demo_bars("BTCUSDT", "2022-09-01", "2024-02-16", 15)


@cache
def hours() -> list[Bar]:
    return demo_bars("BTCUSDT", "2022-05-01", "2025-01-02", 60)


def by_share(table: pd.DataFrame) -> dict[str, list[Bar]]:
    return {name: bars_of_table(rows) for name, rows in table.groupby("symbol")}


def published(news: pd.DataFrame) -> list[tuple[int, str, float]]:
    times = news["published_at"].dt.as_unit("ms").astype("int64")
    return list(zip(times.tolist(), news["symbol"], news["score"].tolist(), strict=True))


def terms(start: str, end: str, capital: float = 10_000, **costs: float) -> Terms:
    return Terms(ms(start), ms(end), capital, **(costs or {"taker": 0.05, "maker": 0.02, "slippage": 0.02}))


HALF_A_YEAR = ("2024-01-01", "2024-07-01")
LOOPS: dict[int, Callable[[dict[str, Any]], Told]] = {
    1: lambda page: ema_cross.loop(hours(), terms("2024-01-01", "2024-04-01")),
    2: lambda page: turtle.loop(hours(), terms(*HALF_A_YEAR, 100_000)),
    3: lambda page: rsi_2.loop(by_share(page["six"]), terms("2024-01-02", "2024-05-01")),
    4: lambda page: bollinger.loop(minutes(), terms("2024-01-01", "2024-01-22")),
    5: lambda page: ranges.opening_range(
        demo_bars("INDEX", "2023-11-13", "2023-12-16"), terms("2023-11-13", "2023-12-16")
    ),
    6: lambda page: dual_momentum.loop(
        by_share(page["ten"]), terms("2023-02-01", "2024-12-31", 100_000, taker=0.02, slippage=0.02)
    ),
    7: lambda page: pair.loop(
        *by_share(page["two"]).values(), terms("2023-01-02", "2025-01-01", 100_000, taker=0.02, slippage=0.02)
    ),
    8: lambda page: grid.loop(minutes(), terms("2024-01-01", "2024-01-15")),
    9: lambda page: safety_orders.loop(minutes(), terms("2024-01-01", "2024-02-01")),
    10: lambda page: carry.loop(
        hours(),
        [(t, rate) for t, _, rate in published(page["funding"].rename(columns={"rate": "score"}))],
        terms("2024-01-08", "2024-06-01", 100_000, taker=0.05, slippage=0.02),
    ),
    11: lambda page: volatility_target.loop(hours(), terms(*HALF_A_YEAR)),
    12: lambda page: forest.loop(
        hours(), lambda: page["Forest"](50), terms("2024-02-05", "2024-05-05", taker=0.05, slippage=0.02)
    ),
    13: lambda page: news.loop(
        by_share(page["fifty"]), published(page["news"]), terms("2024-01-09", "2024-02-10", 100_000)
    ),
    14: lambda page: time_frames.loop(minutes(), quarters(), terms("2024-01-01", "2024-02-15")),
    15: lambda page: ranges.london(bars_of_table(page["euro"]), terms("2024-03-05", "2024-04-05", spread=0.00008)),
    16: lambda page: chandelier.loop(hours(), terms("2024-01-01", "2025-01-01")),
}
"""The plain loop of each section, over the bars that its cell had."""


def test_there_are_sixteen_each_with_a_loop() -> None:
    assert list(SECTIONS) == list(WANTED) == list(LOOPS) == list(range(1, 17))


@pytest.mark.parametrize("number", SECTIONS)
def test_a_cell_is_as_short_as_was_wanted(number: int) -> None:
    lines = [line for line in cell(number).splitlines() if line.strip() and not re.match(r"(import|from) ", line)]
    assert re.search(rf"^\| {number} \| \[.*\]\(#{number}-.*\) \| {len(lines)} \| .* \|$", PAGE, re.MULTILINE)
    assert len(lines) <= WANTED[number]
    assert max(map(len, lines)) <= 120


def test_four_cells_of_a_notebook_are_those_of_the_page() -> None:
    notebook = json.loads((DOCS.parent / "notebooks" / "11-sixteen-strategies.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(each["source"]) for each in notebook["cells"]]
    run = [text.partition("\n")[2] for text in cells if text.startswith("%%backtest")]
    assert run == [cell(number).rstrip() for number in (2, 8, 9, 12)]


def test_other_pages_point_at_sections_that_are_there() -> None:
    anchors = {
        re.sub(r"[^\w -]", "", title).replace(" ", "-").lower()
        for title in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    }
    pages = [path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")]
    pointed = {anchor for page in pages for anchor in re.findall(r"\]\(strategies\.md#([^)]+)\)", page)}
    pointed |= set(re.findall(r"\]\(#([^)]+)\)", PAGE))
    assert len(pointed) > 10
    assert pointed <= anchors


@pytest.mark.slow
@pytest.mark.parametrize("number", SECTIONS)
def test_each_cell_fills_and_earns_what_a_plain_loop_says(number: int, page: dict[str, Any]) -> None:
    result, told = page[name_of(number)], LOOPS[number](page)
    fills, expected = in_order(fills_of(result)), in_order(told.fills)
    assert len(fills) > 10
    assert [fill.at for fill in fills] == [fill.at for fill in expected]
    for there, here in zip(expected, fills, strict=True):
        assert tuple(here) == pytest.approx(tuple(there), rel=1e-9)
    assert result.equity.iloc[-1] == pytest.approx(told.end, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("number", SECTIONS)
def test_the_page_says_what_each_cell_made(number: int, page: dict[str, Any]) -> None:
    assert f"* Result: {said(page[name_of(number)])}" in SECTIONS[number].replace("\n  ", " ")


@pytest.mark.slow
def test_no_cell_raises(page: dict[str, Any]) -> None:
    for number in SECTIONS:
        result = page[name_of(number)]
        legs = getattr(result, "legs", {"": result}).values()
        assert not [error for leg in legs for error in leg.errors], number


# --- beside other libraries -------------------------------------------------------------------------------------------

STORED = json.loads((Path(__file__).parent / "data" / "page-strategies.json").read_text(encoding="utf-8"))
"""What ``benchmarks/page_strategies.py`` was given by other libraries."""
BESIDE = re.findall(
    r"^\| (\d+) \| (backtesting|vectorbt)(?:\.py)? ([\d.]+), .* \| (\d+) of (\d+) trades \|$", PAGE, re.MULTILINE
)
FREE = bknb.Costs(taker=0, slippage=0)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "library", "version", "same", "of"), BESIDE)
def test_trades_there_are_those_of_the_page(
    number: str, library: str, version: str, same: str, of: str, page: dict[str, Any]
) -> None:
    assert STORED[library] == version
    table = page[name_of(int(number))].trades
    moments = (table[name].dt.as_unit("ms").astype("int64") for name in ("pending_at", "closed_at"))
    opened, closed = moments
    here = sorted(zip(opened, table["price_open"], closed, table["price_close"], strict=True))
    there = sorted(map(tuple, STORED[f"{library}_{number}"]))
    assert len(here) == int(same) == int(of)
    assert here == [pytest.approx(trade, rel=1e-9) for trade in there]


def test_seven_strategies_are_held_against_trades_of_other_libraries() -> None:
    assert [(int(number), library) for number, library, *_ in BESIDE] == [
        (1, "backtesting"), (1, "vectorbt"), *((number, "backtesting") for number in (4, 5, 8, 14, 16)),
    ]  # fmt: skip


def table_of(bars: Sequence[Bar]) -> pd.DataFrame:
    return pd.DataFrame(bars).assign(t=lambda rows: pd.to_datetime(rows["t"], unit="ms", utc=True)).set_index("t")


@pytest.mark.slow
def test_a_volatility_target_is_worth_what_it_is_in_vectorbt() -> None:
    names: dict[str, Any] = {"np": np}
    exec(cell(11), names)  # noqa: S102
    strategy = bknb.add_strategy("volatility", interval="1d", get_weight=names["get_weight"], tolerance=0)
    source = bknb.exchanges.from_frame(
        table_of(without_gaps(demo_bars("BTCUSDT", "2023-11-01", "2024-07-01", 60))), symbol="BTCUSDT"
    )
    worth = bknb.backtest(
        "BTCUSDT", strategy=strategy, exchange=source, frame=HALF_A_YEAR, capital=10_000, costs=FREE
    ).equity
    there = STORED["vectorbt_11"]
    here = [worth.asof(pd.Timestamp(day, unit="ms", tz="UTC") + pd.Timedelta("1D")) for day, _ in there]
    assert f'vectorbt {STORED["vectorbt"]}, `size_type="targetpercent"` | worth at {len(there)} closes' in PAGE
    assert here == pytest.approx([value for _, value in there], rel=1e-9)


@pytest.mark.slow
def test_dual_momentum_is_worth_what_it_is_in_bt(page: dict[str, Any]) -> None:
    funds = {name: without_gaps(bars) for name, bars in by_share(page["ten"]).items()}
    exec(cell(6).replace("tolerance=0.5", "tolerance=0"), page)  # noqa: S102
    table = pd.concat([table_of(bars).assign(symbol=name) for name, bars in funds.items()])
    worth = bknb.portfolio(
        strategies=["dual-momentum"], exchange=bknb.exchanges.from_frame(table), frame=("2023-02-01", "2024-12-31"),
        capital=100_000, costs=FREE,
    ).equity  # fmt: skip
    there = STORED["bt_6"]
    here = [worth.asof(pd.Timestamp(day, unit="ms", tz="UTC")) for day, _ in there]
    assert f"bt {STORED['bt']}, `WeighTarget` and `Rebalance` | worth at {len(there)} opens" in PAGE
    assert here == pytest.approx([value for _, value in there], rel=1e-9)
