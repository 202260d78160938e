"""Tear sheets: what is in them is what the result says, and they are one small file that needs nothing else."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scenarios import long
from test_exposure_and_contribution import RISE, two_legs
from test_portfolio import limit_of, market, play, strategy_of

import bknb
from bknb.domain.pnl import net_percentage
from bknb.domain.printed_text import printed_number, printed_percent
from bknb.jupyter.dashboard.dashboard_of_result_or_task import view_of_result
from bknb.metrics.statistics import statistics
from bknb.reports.dashboard_panels import equity_panel
from bknb.reports.fewer_points_of_lines import means
from bknb.reports.grouped_by_leg import grouped_by_leg
from bknb.reports.portfolio_in_notebook import account_html
from bknb.reports.tearsheet import CARD_ID, short_name
from bknb.reports.tearsheet_account import exposure_bars
from bknb.reports.tearsheet_assumptions import notes_of
from bknb.reports.tearsheet_axes import time_ticks
from bknb.reports.tearsheet_info import tearsheet_info
from bknb.reports.tearsheet_run import SheetRun
from bknb.reports.tearsheet_style import DARK, HEAT, LIGHT
from bknb.reports.tearsheet_trades import few_of
from bknb.runs.save_result import account_ranges, excel_tables

DAY_MS = 86_400_000
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """The elements of a page: their tags, what they link to, the text of scripts, and whether all are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def alone(**options: Any) -> bknb.Result:
    def get_signal(price: float) -> dict[str, Any]:
        return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}

    frame = options.pop("frame", "2024-01-01:2024-01-20")
    return bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame=frame, interval="4h", **options)


@pytest.fixture(scope="module")
def run() -> bknb.Result:
    return alone()


# -- content -------------------------------------------------------------------------------------------------------


def test_large_figures_are_those_of_the_account() -> None:
    """10 000 become 10 400: A, 4 000 of it, rises by a tenth; it stands beside the account."""
    result = two_legs(benchmark="A")
    info = tearsheet_info(result)
    shown = {each.label: (each.value, each.unit, each.tone) for each in info.headlines}
    assert shown["Equity at the end"] == ("10,400", "", 0)
    assert shown["Total return"] == ("+4.0\u202f%", "", 1)
    assert shown["Largest drawdown"][0] == "0.0\u202f%"  # no sign
    assert shown["Trades"][0] == "2"
    assert shown["Sharpe"][0] == "\u2013"
    notes = {each.label: each.note for each in info.headlines}
    assert notes["Equity at the end"] == "from 10,000"
    assert notes["Total return"] == "A held +10.0\u202f%, equal parts held +5.0\u202f%"
    assert notes["Sharpe"] == result.account.reasons["sharpe"]
    assert [(name, cell.text, cell.tone, cell.bar) for name, cell in info.legs] == [
        ("A", "+400", 1, 1.0),
        ("B", "0", 0, 0),
    ]
    assert info.equity is not None
    assert info.equity.equity[[0, -1]].tolist() == [10_000.0, 10_400.0]
    assert info.equity.held_name == "A held"
    assert info.equity.held[-1] == pytest.approx(11_000.0)
    assert info.title == "Portfolio of 2 legs"
    page = Page(result.tearsheet().html).words
    for text in ("A held", "margin, leverage 1", "Cash(money=4000", "taker 0", "execution pessimistic"):
        assert text in page or text.capitalize() in page, text


def test_figures_are_those_of_account_and_trades(run: bknb.Result) -> None:
    info = tearsheet_info(run)
    shown = {label: text for label, text, _ in info.figures}
    account, stats = run.account, run.stats
    assert shown["Time in the market"] == printed_percent(account["exposure"])
    assert shown["Profit factor"] == printed_number(stats["profit_factor"])
    assert shown["Worst day"] == printed_percent(100 * run.returns("1D").min(), 2, signed=True)
    january, year = (float(run.calendar(period)["return"].iloc[0]) for period in ("month", "year"))
    assert info.years[0] == ("2024", (january, *[None] * 11), year)
    assert [row[0] for row in info.drawdowns] == [printed_percent(depth) for depth in run.drawdowns(5)["drawdown"]]
    assert {kind: percent for kind, _, percent in info.costs}["Fees"] == printed_percent(account["fees"], 2)
    assert info.trades is not None
    assert sum(info.trades.counts) == len(run.trades)
    best = run.trades.sort_values("pnl_percentage", ascending=False).head(5)["pnl_percentage"]
    assert [row[3].text for row in info.best] == [printed_number(value, 2, signed=True) for value in best]
    assert all(float(row[3].text.replace("\u2212", "-")) < 0 for row in info.worst)
    assert any("tried on these data" in note for note in info.notes)


def test_a_drawdown_has_no_sign_wherever_its_depth_is_said(run: bknb.Result) -> None:
    """As ``max_drawdown`` of the account: 32.38, never -32.38; a line below zero has an axis below zero."""
    depth = printed_percent(run.account["max_drawdown"])
    assert {each.label: each.value for each in tearsheet_info(run).headlines}["Largest drawdown"] == depth
    page = run.tearsheet().html
    assert f"largest {depth}" in page
    assert f"drawdown below: largest {depth}" in page
    view = view_of_result(run)
    assert f"deepest drawdown {run.account['max_drawdown']:.2f} %," in equity_panel(view)["text"]
    assert not re.search(r"drawdown[^.,;<]{0,40}[-\u2212]\d", repr(run) + run.report())


def test_without_a_capital_a_portfolio_has_its_legs_alone() -> None:
    one = strategy_of("one", {0: {"A": long(120, 90, 6)}, 2: {"B": long(120, 90, 6)}}, risk=None)
    result = play([("A", one), ("B", one)], {"A": market(RISE), "B": market()})
    info = tearsheet_info(result)
    assert (info.equity, info.exposure, info.years, info.costs) == (None, None, (), ())
    assert "without a capital the legs have no account together" in info.no_equity
    assert [name for name, _ in info.legs] == ["A", "B"]
    assert info.headlines[0].label == "Trades"
    page = Page(result.tearsheet().html)
    assert "Legs, each alone, %" in page.words
    with pytest.raises(bknb.UsageError, match="without a capital"):
        result.save("never.png")


@pytest.mark.slow
def test_months_of_what_was_held_make_what_it_held_in_all() -> None:
    """Three months of days; compounded they are the figure of the benchmark, after costs as that is."""
    days = pd.date_range("2023-12-15", "2024-02-20", tz="UTC")
    prices = pd.Series(np.linspace(100.0, 130.0, len(days)), index=days, name="index")
    result = alone(frame="2023-12-15:2024-02-20", capital=1_000, benchmark=prices)
    rows = {at: row for at, row in enumerate(tearsheet_info(result).years) if row[0] == "held"}
    assert list(rows) == [1, 3]
    (_, first, of_first), (_, second, of_second) = rows.values()
    assert [value is None for value in first] == [True] * 11 + [False]
    assert first[11] == of_first
    known = [value for value in second if value is not None]
    assert len(known) == 2
    assert (np.prod([1 + value / 100 for value in known]) - 1) * 100 == pytest.approx(of_second)
    held = ((1 + of_first / 100) * (1 + of_second / 100) - 1) * 100
    assert held == pytest.approx(result.account["benchmark"])
    at_new_year = prices[prices.index <= pd.Timestamp("2024-01-01", tz="UTC")].iloc[-1]
    costs = result.account_terms
    assert of_first == pytest.approx(net_percentage("long", 100.0, at_new_year, costs.slippage, costs.fee))
    assert tearsheet_info(alone(frame="2024-01-01:2024-01-03")).years[1][0] == "held"  # its own symbol
    assert len(tearsheet_info(two_legs()).years) == 1


@pytest.mark.slow
def test_the_sharpe_of_the_last_days_and_its_ranges() -> None:
    result = alone(frame="2024-01-01:2024-03-11", capital=10_000, sizing="percent:10")
    line = tearsheet_info(result).rolling
    assert line is not None
    daily = result.returns("1D")
    wanted = (daily.rolling(60).mean() / daily.rolling(60).std() * np.sqrt(365)).dropna()
    assert line.values.tolist() == pytest.approx(wanted.tolist())
    assert line.time_ms.tolist() == [int(at.timestamp() * 1000) + DAY_MS for at in wanted.index]
    assert tearsheet_info(alone(frame="2024-01-01:2024-01-20")).rolling is None
    found = account_ranges(result)
    assert found == account_ranges(result)  # the same resamples
    (low, high), (least, most) = found["sharpe"], found["cagr"]
    assert low < result.account["sharpe"] < high
    assert least < result.account["cagr"] < most
    page = Page(result.tearsheet().html).words
    assert f"90 %: {printed_number(low, 1)} to {printed_number(high, 1)}" in page
    assert "90 % of 1,000 block bootstraps of the daily returns" in page
    assert account_ranges(two_legs()) == {}


def test_results_are_in_r_where_each_trade_had_a_stop() -> None:
    """A long from 100 with its stop at 90 that left at 110 made 1 R, a short that left where it was opened none."""
    info = tearsheet_info(two_legs())
    assert info.trades is not None
    assert (info.trades.unit, info.trades.mean) == ("R", "+0.500 R")
    assert "Trades by result, R" in Page(two_legs().tearsheet().html).words
    one = strategy_of("one", {0: {"A": long(120, None, 6)}, 8: {"A": long(120, 90, 6)}}, risk=None)
    partly = tearsheet_info(play([("A", one)], {"A": market(RISE)})).trades
    assert partly is not None
    assert partly.unit == "%"


def test_many_legs_are_the_first_and_the_last_and_what_the_others_were() -> None:
    """15 legs: six of the best, six of the worst, and one row for the three between them; 14 dashes are 12 and two."""
    names = [f"leg {number:02}" for number in range(15)]
    rows = few_of([(name, float(7 - at)) for at, name in enumerate(names)], [], decimals=1)
    assert [(name, cell.text) for name, cell in rows[5:8]] == [
        ("leg 05", "+2.0"), ("3 others", "\u22121.0 to +1.0"), ("leg 09", "\u22122.0"),
    ]  # fmt: skip
    assert len(rows) == 13
    assert [name for name, _ in few_of([(name, 1.0) for name in names[:12]], [], decimals=1)] == names[:12]
    dashes = few_of([], names[:14], decimals=1)
    assert [(name, cell.text) for name, cell in dashes[-2:]] == [("leg 11", "\u2013"), ("2 others", "\u2013")]
    added = few_of([(name, float(7 - at)) for at, name in enumerate(names)], [], decimals=0, added=True)
    assert (added[6][0], added[6][1].text) == ("3 others", "0")  # together: 1, 0 and -1


def test_many_legs_without_a_capital_are_not_left_out_in_silence() -> None:
    legs = [(f"S{number:02}", strategy_of("one", {0: long(120, 90, 6)}, risk=None)) for number in range(14)]
    info = tearsheet_info(play(legs, market(RISE)))
    assert len(info.legs) == 13
    assert info.legs[6][0] == "2 others"


def test_many_notes_are_counted() -> None:
    """Each of 30 legs was another try on the same data, and each says so."""
    result = two_legs()
    run = SheetRun(result)
    leg = result.leg("A")
    run.legs = {
        ("A", f"s{number}"): SimpleNamespace(tries=SimpleNamespace(line=f"try {number}")) for number in range(30)
    }
    assert leg.tries is not None
    notes = notes_of(run)
    assert len(notes) == 21
    assert notes[-1].endswith(" more, each in the report of its leg")


def test_a_run_without_trades_says_so() -> None:
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-03", capital=10_000
    )
    info = tearsheet_info(result)
    assert (info.trades, info.best, info.worst, info.exposure) == (None, (), (), None)
    assert info.headlines[-1].note == "no trade was closed"
    reasons = [reason for _, text, reason in info.figures if text == "\u2013"]
    assert reasons
    assert all(reasons)  # never a dash without its reason
    assert "the frame has 2.0 days" in Page(result.tearsheet().html).words


def test_what_is_said_of_several_legs_is_said_once() -> None:
    told = [("a on X", "no volume"), ("a on Y", "no volume"), ("a on Y", "stopped")]
    assert grouped_by_leg(told, legs=2) == ["no volume (all 2 legs)", "stopped (a on Y)"]
    many = [(f"a on {letter}", "late") for letter in "UVWXYZ"]
    assert grouped_by_leg(many, legs=9) == ["late (6 of 9 legs: a on U, a on V, a on W and 3 more)"]
    result = two_legs()
    for leg in result.legs.values():
        leg.warnings.append("its candles are odd")
    result.warn("a warning of its own")
    assert result.report().count("its candles are odd") == 1
    assert repr(result).count("its candles are odd (all 2 legs)") == 1
    info = tearsheet_info(result)
    assert info.warnings == ("a warning of its own", "its candles are odd (all 2 legs)")


@pytest.mark.slow
def test_moments_are_days_with_years_where_there_are_several_or_minutes_of_a_short_run() -> None:
    short = tearsheet_info(two_legs(benchmark="A"))
    assert [row[2].text for row in short.best] == ["1 Jan 00:00"]
    across = tearsheet_info(alone(frame="2023-12-20:2024-01-10"))
    assert across.best[0][1].text.endswith((" 2023", " 2024"))
    assert [year for year, *_ in across.years] == ["2023", "held", "2024", "held"]
    assert tearsheet_info(alone()).best[0][1].text.endswith(" Jan")


def test_a_start_of_one_is_said_in_multiples_of_it() -> None:
    info = tearsheet_info(alone(capital=1, frame="2024-01-01:2024-01-03"))
    assert (info.headlines[0].unit, info.headlines[0].note) == ("\u00d7 start", "from 1.0000")
    assert "Net of start" in info.trade_columns
    assert {len(cell.text.partition(".")[2]) for row in info.worst for cell in row[4:5]} == {4}


def test_the_profit_factor_of_a_portfolio_is_that_of_money_as_in_its_notebook() -> None:
    def get_signal(price: float, when: Any) -> dict[str, Any]:
        return {
            "position": "long",
            "price_take_profit": price * 1.02,
            "price_stop_loss": price * 0.99,
            "size": 1 / when.day,
        }

    bknb.add_strategy("smaller each day", interval="1h", get_signal=get_signal)
    legs, frame = [("BTCUSDT", "smaller each day")], "2024-01-01:2024-01-06"
    result = bknb.portfolio(legs=legs, exchange="demo", frame=frame, capital=10_000)
    money = result.trades["money"]
    factor = money[money > 0].sum() / -money[money < 0].sum()
    info = tearsheet_info(result)
    assert dict(row[:2] for row in info.figures)["Profit factor"] == printed_number(factor)
    assert info.headlines[-1].note.endswith(f"profit factor {printed_number(factor)}")
    assert f"profit factor {factor:.2f}" in account_html(result)
    assert printed_number(factor) != printed_number(statistics(result.trades)["profit_factor"])


def test_many_warnings_and_refusals_are_counted() -> None:
    result = two_legs()
    for number in range(30):
        result.warn(f"number {'x' * number}")
    info = tearsheet_info(result)
    assert (len(info.warnings), info.warnings[-1]) == (21, "10 more, in its report")
    leg = result.leg("A")
    leg.cancelled = result.cancelled.reindex(range(20)).assign(reason=[f"reason {'x' * at}" for at in range(20)])
    stopped = tearsheet_info(result).stopped
    assert (len(stopped), stopped[-1][0]) == (13, "8 other reasons")


def test_exposure_is_drawn_as_means_of_equal_stretches() -> None:
    times = np.array([0, 60, 120, 180, 240])
    values = np.array([1.0, np.nan, 3.0, 5.0, 7.0])
    assert means(times, values, np.array([0, 120, 180, 181, 230, 241])).tolist() == [1.0, 3.0, 5.0, 5.0, 7.0]
    result = two_legs()
    bars = exposure_bars(result)
    assert bars is not None
    assert bars.long[0] == 0.0
    assert bars.long[1] == pytest.approx(40.0)
    assert bars.net[3] == pytest.approx(10.0)


# -- the file ------------------------------------------------------------------------------------------------------


def test_it_is_one_small_file_that_needs_no_network_and_no_script(run: bknb.Result) -> None:
    html = run.tearsheet().html
    page = Page(html)
    assert not page.open
    assert page.addresses == []
    assert page.handlers == []
    assert [attributes.get("type") for attributes, _ in page.scripts] == ["application/json"]
    assert not re.search(r"url\(|@import|https?:", html.replace(page.scripts[0][1], ""))
    assert len(html.encode()) < 150_000
    assert sum(page.counts.values()) < 900
    assert html == run.tearsheet().html  # the same result, the same file
    tints = [float(part) for part in re.findall(r"background:rgba\(var\(--(?:up|down)f\),([0-9.]+)\)", html)]
    assert tints
    assert max(tints) <= HEAT  # the contrast of numbers on them is measured below


def test_the_run_card_is_inside_and_can_be_read(run: bknb.Result) -> None:
    (attributes, text) = Page(run.tearsheet().html).scripts[0]
    assert attributes["id"] == CARD_ID
    assert not {*"<>&"} & {*text}
    card = bknb.Card.from_json(text)
    assert card.diff(run.card) == []
    assert card.outcome.digest == run.card.outcome.digest
    assert short_name(text) in Page(run.tearsheet().html).words


@pytest.mark.slow
def test_a_tear_sheet_is_run_again(tmp_path: Path) -> None:
    result = alone(capital=10_000, frame="2024-01-01:2024-01-05")
    assert bknb.verify(result.tearsheet(tmp_path / "x.html"), strategy=result.run_record.plan.strategy).same


def test_names_from_outside_are_text() -> None:
    name = "</script><img src=x onerror=alert(1)> & \u202b"
    bknb.add_strategy(name, interval="12h", get_signal=lambda: None)
    result = bknb.backtest("BTCUSDT", strategy=name, exchange="demo", frame="2024-01-01:2024-01-03")
    page = Page(result.tearsheet().html)
    assert not page.open
    assert "img" not in page.counts
    assert page.handlers == []
    assert "</script><img src=x onerror=alert(1)> &" in page.words
    assert bknb.Card.from_json(page.scripts[0][1]).strategy == name


def test_what_cannot_have_a_card_says_why() -> None:
    limit_of(1)
    one = strategy_of("one", {0: long(120, 90, 6)})
    leg = play([("A", one), ("B", one)], market()).leg("A")
    page = Page(leg.tearsheet().html)
    assert page.scripts == []
    assert "There is no run card in this file: the leg one on A shared the risk profile" in page.words


def test_it_is_written_where_it_is_told(run: bknb.Result, tmp_path: Path) -> None:
    assert run.tearsheet(tmp_path / "new" / "x.html") == tmp_path / "new" / "x.html"
    assert (tmp_path / "new" / "x.html").read_text(encoding="utf-8") == run.tearsheet().html
    assert run.save(str(tmp_path / "y.html")).read_bytes() == (tmp_path / "new" / "x.html").read_bytes()
    for wrong in ("x.pdf", "x", "x.htm.gz"):
        with pytest.raises(bknb.UsageError, match=r"give one that ends with \.html"):
            run.tearsheet(tmp_path / wrong)
    with pytest.raises(bknb.UsageError, match=r"end with .html \(the tear sheet\) or .png \(the picture\)"):
        run.save(tmp_path / "x.xlsx")
    with pytest.raises(bknb.UsageError, match="a path must be a non-empty text"):
        run.tearsheet("")


@pytest.mark.slow
def test_a_picture_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for result in (alone(frame="2024-01-01:2024-01-03"), two_legs()):
        assert result.save(tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_a_notebook_shows_it_in_a_frame_of_its_own(run: bknb.Result) -> None:
    sheet = run.tearsheet()
    page = Page(sheet._repr_html_())
    assert page.counts == {"iframe": 1}
    assert "give tearsheet() a path" in repr(sheet)


# -- tables --------------------------------------------------------------------------------------------------------


def test_excel_has_times_without_a_zone_and_says_so(run: bknb.Result, tmp_path: Path) -> None:
    result = two_legs()
    tables = excel_tables(result)
    assert list(tables) == ["account", "trades", "fills", "months", "drawdowns", "legs"]
    trades = tables["trades"]
    assert {"closed_at (UTC)", "pending_at (UTC)"} <= {*trades}
    assert "closed_at" not in trades
    assert not any("UTC" in str(dtype) for table in tables.values() for dtype in table.dtypes)
    assert trades["closed_at (UTC)"].tolist() == [at.tz_localize(None) for at in result.trades["closed_at"]]
    figures = tables["account"].set_index("figure")["value"]
    assert figures["Equity at the end"] == 10_400.0
    with pytest.raises(bknb.UsageError, match=r"an Excel file ends with .xlsx, got the path .*x.csv"):
        run.to_excel(tmp_path / "x.csv")


def test_an_excel_file_has_these_tables(tmp_path: Path) -> None:
    """Read again cell by cell: a sheet for each table, heads, numbers as numbers, times as times, text as text."""
    openpyxl = pytest.importorskip("openpyxl")
    result = two_legs()
    workbook = openpyxl.load_workbook(result.to_excel(tmp_path / "x.xlsx"))
    tables = excel_tables(result)
    assert workbook.sheetnames == list(tables)
    for name, table in tables.items():
        head, *rows = [list(row) for row in workbook[name].iter_rows(values_only=True)]
        assert head == list(table.columns), name
        assert len(rows) == len(table), name
        for at, column in enumerate(head):
            for value, wanted in zip([row[at] for row in rows], table[column], strict=True):
                if isinstance(wanted, str):
                    assert (value or "") == wanted, (name, column)
                elif value is not None:
                    assert value == pytest.approx(wanted) if isinstance(wanted, float) else value == wanted, (
                        name,
                        column,
                    )
    trades = dict(zip(*[[cell.value for cell in row] for row in workbook["trades"].iter_rows(max_row=2)], strict=True))
    assert (trades["symbol"], trades["money"]) == ("A", pytest.approx(400.0))
    assert trades["closed_at (UTC)"].isoformat() == "2024-01-01T00:06:00"


def test_without_a_package_that_writes_excel_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openpyxl", "xlsxwriter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(bknb.MissingDependency, match=r"pip install 'bknb\[excel\]'"):
        two_legs().to_excel(tmp_path / "x.xlsx")
    assert not list(tmp_path.iterdir())


def test_no_text_of_a_table_is_a_formula(run: bknb.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run.__dict__, "trades", run.trades.assign(note='=HYPERLINK("x")\x07'))
    assert excel_tables(run)["trades"]["note"].iloc[0] == '\'=HYPERLINK("x")\\x07'


def test_tables_are_written_as_csv_and_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    result = two_legs()
    assert result.to_csv(tmp_path / "csv") == tmp_path / "csv" / "trades.csv"
    assert len(pandas.read_csv(tmp_path / "csv" / "fills.csv")) == len(result.fills)
    pytest.importorskip("pyarrow")
    assert result.to_parquet(tmp_path / "pq") == tmp_path / "pq" / "trades.parquet"
    equity = pandas.read_parquet(tmp_path / "pq" / "equity.parquet")
    assert equity["equity"].tolist() == result.equity.tolist()
    assert str(equity["at"].dtype).endswith("UTC]")
    with pytest.raises(bknb.UsageError, match=r"to_parquet writes trades\.parquet into a folder"):
        result.to_parquet(tmp_path / "pq" / "trades.parquet")


# -- numbers, axes, colours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "days", "first", "most"),
    [(0, 1, "03:00", 12), (0, 366, "Feb", 13), (0, 40, "5 Jan", 12), (0, 365 * 12, "1971", 13), (0, 0.01, "", 2)],
)
def test_moments_below_a_picture_are_round_and_few(start: int, days: float, first: str, most: int) -> None:
    found = time_ticks(start, start + int(days * DAY_MS))
    assert len(found) <= most
    assert ("" if not found else found[0][1]) == first


def luminance(colour: tuple[float, ...]) -> float:
    parts = [c / 255 for c in colour]
    low = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * low[0] + 0.7152 * low[1] + 0.0722 * low[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def rgb(text: str) -> tuple[float, ...]:
    if text.startswith("#"):
        return tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))
    return tuple(float(part) for part in text.split(","))


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_has_the_contrast_of_level_aa(colours: dict[str, str]) -> None:
    """4.5 : 1 for text, on the page, on code and on the strongest tint; 3 : 1 for what is drawn."""
    page, wash = rgb(colours["bg"]), rgb(colours["wash"])
    for name in ("ink", "mute", "up", "down", "ref", "warn"):
        assert contrast(rgb(colours[name]), page) >= 4.5, name
    assert contrast(rgb(colours["mute"]), wash) >= 4.5
    assert contrast(page, rgb(colours["eq"])) >= 4.5  # the tag of the last value
    for name in ("eq", "ind2", "upf", "downf"):
        assert contrast(rgb(colours[name]), page) >= 3.0, name
    for name in ("upf", "downf"):
        tint = tuple(HEAT * one + (1 - HEAT) * other for one, other in zip(rgb(colours[name]), page, strict=True))
        assert contrast(rgb(colours["ink"]), tint) >= 4.5, name
