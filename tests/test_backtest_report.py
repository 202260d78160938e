"""The report of a backtest, in a terminal, as Markdown and as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

import bknb
from bknb.domain.formatting import duration_text, percent_text, price_text, utc_text
from bknb.metrics.account_definitions import ACCOUNT_DEFINITIONS, account_text
from bknb.metrics.trade_definitions import DEFINITIONS, figure_text
from bknb.metrics.why_figure_is_missing import why_missing
from bknb.reports.backtest_info import FIGURES, backtest_info
from bknb.reports.backtest_report import ROWS_SHOWN, backtest_report, summary_html, summary_text
from bknb.reports.milestones_and_refusals import refusal_tally
from bknb.reports.refusals_counted import by_kind, refused_by_rule

MONTH = "2024-01-01:2024-02-01"
NASTY = "<script>alert(1)</script> | `code` \\ line\nbreak"


def run(get_signal: Any, *, interval: str = "1h", frame: Any = MONTH, **options: Any) -> bknb.Result:
    exchange = bknb.exchanges.demo()
    return bknb.backtest("BTCUSDT", strategy=get_signal, interval=interval, exchange=exchange, frame=frame, **options)


def signal(price: float, *, side: int = 1, target: float = 0.02, stop: float = 0.01, **more: Any) -> bknb.Signal:
    return bknb.Signal(
        position="long" if side > 0 else "short",
        price_take_profit=price * (1 + side * target),
        price_stop_loss=price * (1 - side * stop),
        **{"minute_estimated_time": 600, **more},
    )


@pytest.fixture(scope="module")
def month() -> bknb.Result:
    def daily(ctx: Any) -> bknb.Signal | None:
        if ctx.when.hour == 5:
            return signal(ctx.price, target=0.001 + ctx.when.day * 1e-5)  # too near
        if ctx.when.hour == 6:
            raise ValueError(f"no six on {ctx.when:%d}")
        if ctx.when.hour == 7:
            return signal(ctx.price, price_open=ctx.price * 0.9, target=-0.05, stop=0.15)  # never reached
        if ctx.when.hour == 9:  # the one before is given up after two hours
            return signal(ctx.price, side=1 if ctx.when.day % 2 else -1, note=NASTY)
        return None

    result = run(daily)
    assert len(result.trades) == len(result.cancelled) == len(result.rejected) == 31
    return result


@pytest.fixture(scope="module")
def nothing() -> bknb.Result:
    return run(lambda: None, frame=("2024-01-01", "2024-01-02"))


@pytest.fixture(scope="module")
def many() -> bknb.Result:
    return run(lambda price: signal(price, minute_estimated_time=60), interval="15m")


class Page(HTMLParser):
    """Tags that are open, table rows, and the text between tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "br":
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


# -- cells -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.004, "0.00 %"), (-0.004, "0.00 %"), (0.005001, "+0.01 %"), (-12.345, "-12.35 %"), (float("nan"), "N/A")],
)
def test_only_gains_get_a_sign(value: float, text: str) -> None:
    assert percent_text(value) == text


@pytest.mark.parametrize(
    ("price", "text"), [(1234.5, "1,234.50"), (0.5, "0.5000"), (0.02, "0.020000"), (1e-6, "0.000001000")]
)
def test_prices_have_as_many_decimals_as_they_need(price: float, text: str) -> None:
    assert price_text(price) == text


@pytest.mark.parametrize(("minutes", "text"), [(1.0, "1 min"), (119.4, "119 min"), (120, "2.0 h"), (2880, "2.0 days")])
def test_durations_have_units(minutes: float, text: str) -> None:
    assert duration_text(minutes) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("max_drawdown", 5.0, "5.00 %"),
        ("avg_pnl", 5.0, "+5.00 %"),
        ("equity_final", 0.9, "0.9000 x start (-10.00 %)"),
        ("trades_per_year", 0.0, "N/A"),
        ("trades_per_year", 120.4, "120"),
        ("n", 1234, "1,234"),
        ("trend", "bullish", "bullish"),
        ("trend", None, "N/A"),
        ("buyer_pressure", 0.25, "25.0 %"),
        ("sharpe_ratio", 0.1234, "0.123"),
    ],
)
def test_figures_have_their_units(key: str, value: Any, text: str) -> None:
    assert figure_text(DEFINITIONS[key], value) == text


# -- the info object ---------------------------------------------------------------------------------------------


def test_every_figure_exists_and_is_explained(month: bknb.Result) -> None:
    info = backtest_info(month)
    assert [figure.key for figure in info.account] == list(month.account) == list(ACCOUNT_DEFINITIONS)
    assert [figure.key for figure in info.figures] == list(FIGURES)
    for figure in info.account:
        assert ACCOUNT_DEFINITIONS[figure.key].formula in figure.meaning
    assert set(FIGURES) <= set(month.stats)
    for figure in info.figures:
        assert DEFINITIONS[figure.key].formula in figure.meaning


def test_rejections_go_together_that_broke_the_same_rules(month: bknb.Result) -> None:
    info = backtest_info(month)
    assert len(set(month.rejected["reasons"])) > 1
    assert [count for _, count in info.rejected] == [len(month.rejected)]
    assert info.rejected[0][0].startswith(month.rejected["codes"].iloc[0])


def test_what_went_wrong_is_counted(month: bknb.Result) -> None:
    info = backtest_info(month)
    (error,) = info.errors
    assert re.search(
        r"ValueError: no six on 01 .*line \d+: raise ValueError.*: 31 times, first at 2024-01-01 06:00", error
    )
    assert dict(info.cancelled) == month.cancelled["reason"].value_counts().to_dict()
    assert info.cancelled


def test_too_little_history_is_a_note_and_no_error(month: bknb.Result) -> None:
    source = bknb.exchanges.from_frame(month.candles.to_pandas())
    result = bknb.backtest(
        "BTCUSDT", strategy=lambda ctx: ctx.candles("1h", 5) and None, interval="1h", exchange=source, frame=MONTH
    )
    info = backtest_info(result)
    assert info.errors == ()
    assert [note for note in info.notes if "tried on these data" not in note] == [info.notes[0]]
    assert "warm-up" in summary_text(result)


# -- text --------------------------------------------------------------------------------------------------------


def test_the_terminal_summary_holds_result_and_warnings(month: bknb.Result) -> None:
    text = repr(month)
    stats = month.stats
    for part in (
        "daily on BTCUSDT, every 1h, 2024-01-01 00:00 to 2024-02-01 00:00 UTC",
        "execution pessimistic, fee 0.1 %, slippage 0.1 % per side, exchange demo",
        f"trades    {stats['n']}",
        f"{stats['win_rate']:.2f} % ({stats['win_count']} won / {stats['loss_count']} lost)",
        f"account   {month.account['total_return']:.2f} %; a year {month.account['cagr']:.2f} %",
        f"drawdown  {month.account['max_drawdown']:.2f} %, the longest {month.account['drawdown_days']:.1f} days",
        f"Sharpe    {month.account['sharpe']:.3f} from daily returns, 365 days a year",
        "31 x take_profit_costs",
        "timeout",
        "ValueError",
    ):
        assert part in text
    assert text == summary_text(month)
    lines = [line.split()[0] for line in text.splitlines()]
    assert lines.index("rejected") == lines.index("account") + 1  # beside the headline
    assert f"{stats['total_pnl']:.2f} %" not in text  # a sum of percentages is no headline


def test_a_few_days_have_no_sharpe_ratio_and_it_says_why() -> None:
    result = run(signal, interval="1d", frame=("2024-01-01", "2024-01-06"))
    assert 0 < len(result.trades) < 10
    assert "Sharpe    N/A: the frame has 5.0 days, at least 14 are needed" in summary_text(result)
    assert "**Sharpe ratio per trade:** N/A: fewer than 10 trades" in backtest_report(result)


def test_a_run_whose_signals_were_all_refused_says_by_whom() -> None:
    def never(request: Any) -> None:
        raise ValueError("too early")

    bknb.add_risk("calm", validations=[never])
    bknb.add_strategy("all refused", interval="12h", get_signal=signal, risk="calm")
    result = bknb.backtest("BTCUSDT", strategy="all refused", exchange="demo", frame="2024-01-01:2024-01-03")
    assert len(result.refused) > 0
    said = f"{len(result.refused)} x calm: too early"
    assert f"  refused   {said}" in summary_text(result)
    assert f"{len(result.refused)} refused by a risk profile: {said}" in summary_html(result)
    assert f"**Refused by a risk profile:** {len(result.refused)}\n\n- {said}\n" in backtest_report(result)
    for text in (summary_text(result), summary_html(result)):
        assert "N/A: no trade" not in text


def test_refusals_that_differ_in_numbers_alone_are_one_row_with_the_newest_text() -> None:
    """A rule that says how much is open refuses at every moment with another text."""

    def spaced(request: Any) -> str | None:
        if request.when % 86_400_000 == 0:
            return "rests at midnight"
        return f"at {utc_text(request.when)} 1,{request.when % 7}00.5 are open, at most -2"

    bknb.add_risk("1st", validations=[spaced])
    bknb.add_strategy("numbers", interval="6h", get_signal=signal, risk="1st")
    result = bknb.backtest("BTCUSDT", strategy="numbers", exchange="demo", frame="2024-01-01:2024-01-03")
    newest = [event.note for event in result.refused if "rests" not in event.note][-1]
    said = ((f"1st: {newest} (newest)", 6), ("1st: rests at midnight", 2))
    assert refused_by_rule([result]) == said
    assert refused_by_rule([result, result]) == tuple((text, 2 * count) for text, count in said)
    tally = refusal_tally("numbers", result.refused)
    assert tally.by_note == {f"{newest} (newest)": 6, "rests at midnight": 2}
    assert f"  refused   6 x 1st: {newest} (newest)" in summary_text(result)


@pytest.mark.parametrize(
    ("texts", "kinds"),
    [
        (("with it 34.1 % are at stake", "with it 9 % are at stake"), 1),
        (("until 2024-01-01 04:00 UTC", "until 2024-01-02 12:00 UTC"), 1),
        (("rule_1 refused", "rule_2 refused"), 2),
        (("1INCHUSDT is open", "2INCHUSDT is open"), 2),
        (("-3 % lost", "+12,000.50 % lost"), 1),
    ],
)
def test_numbers_that_stand_alone_do_not_make_another_kind(texts: tuple[str, str], kinds: int) -> None:
    counts = by_kind((text, "") for text in texts)
    assert (len(counts), sum(count for _, count in counts)) == (kinds, 2)
    if kinds == 1:
        assert counts[0][0] == f"{texts[1]} (newest)"


def test_ratios_of_a_few_positions_are_told_to_say_nothing(month: bknb.Result) -> None:
    def rarely(ctx: Any) -> bknb.Signal | None:
        return signal(ctx.price) if ctx.when.hour == 9 and ctx.when.day % 10 == 0 else None

    result = run(rarely)
    assert 0 < len(result.trades) < 10 <= len(month.trades)
    said = (
        f"{len(result.trades)} positions alone: figures of a year and ratios of so few say nothing about the next ones"
    )
    for text in (summary_text(result), summary_html(result), backtest_report(result)):
        assert said in text
    assert "positions alone" not in summary_text(month)


def test_a_loss_of_nearly_all_is_not_written_as_all() -> None:
    assert account_text("cagr", -99.999) == "< -99.99 %"
    assert account_text("cagr", -100.0) == "-100.00 %"
    assert account_text("total_return", -99.99) == "-99.99 %"


@pytest.mark.parametrize(
    ("key", "figures", "why"),
    [
        ("profit_factor", {"n": 1, "win_count": 1, "loss_count": 0}, "no loss"),
        ("profit_factor", {"n": 1, "win_count": 0, "loss_count": 1}, "no win"),
        ("sortino_ratio", {"n": 30, "win_count": 30, "loss_count": 0}, "no loss"),
        ("sortino_ratio", {"n": 3, "win_count": 3, "loss_count": 0}, "fewer than 10 trades"),
        ("trades_per_year", {"n": 30}, "span under 14 days, or more than 365 trades a year"),
    ],
)
def test_the_reason_is_the_one_that_holds(key: str, figures: dict[str, Any], why: str) -> None:
    assert why_missing(key, figures) == why


def test_the_summary_without_trades_is_short(nothing: bknb.Result) -> None:
    account, trades, tried = summary_text(nothing).splitlines()[2:]
    assert "tried on these data" in tried
    assert account.startswith(
        "  account   0.00 %; a year N/A: the frame has 1.0 days, at least 14 are needed; buy and hold "
    )
    assert trades == "  trades    0"
    assert "No trade was closed." in backtest_report(nothing)
    assert "No trade was closed." in summary_html(nothing)


def test_warnings_are_in_every_form_of_the_report(month: bknb.Result) -> None:
    source = bknb.exchanges.from_frame(month.candles.to_pandas())
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange=source, frame=("2024-01-31", "2024-02-05"))
    (warning,) = result.warnings
    for text in (summary_text(result), backtest_report(result), Page(summary_html(result)).text):
        assert warning in text


def test_the_report_of_a_stopped_run_is_marked_as_partial() -> None:
    def stopping(ctx: Any) -> None:
        if ctx.when.day == 3:
            task.stop(now=True)

    exchange = bknb.exchanges.demo()
    task = bknb.Backtest.background("BTCUSDT", strategy=stopping, exchange=exchange, frame=MONTH)
    result = task.result()
    assert result.stopped
    for text in (summary_text(result), backtest_report(result), Page(summary_html(result)).text):
        assert "this is a partial result" in text


def test_the_execution_model_and_other_costs_are_named() -> None:
    result = run(
        signal,
        frame=("2024-01-01", "2024-01-04"),
        execution="vwap",
        settings={"percent_fee": 0.05},
    )
    for text in (summary_text(result), backtest_report(result), Page(summary_html(result)).text):
        assert "vwap" in text
        assert "fee 0.05 %" in text


# -- Markdown ----------------------------------------------------------------------------------------------------


def table_cells(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def test_notes_with_special_characters_do_not_break_markdown_tables(month: bknb.Result) -> None:
    lines = backtest_report(month).splitlines()
    start = lines.index("## Trades") + 2
    rows = lines[start : start + 2 + len(month.trades)]
    assert {table_cells(row) for row in rows} == {len(backtest_info(month).columns)}
    assert "<script>" not in "\n".join(lines)
    assert "&lt;script>" in rows[2]


def test_the_report_is_complete_and_repeatable(month: bknb.Result) -> None:
    text = month.report()
    assert text == backtest_report(month)
    assert text.startswith("# Backtest report: daily on BTCUSDT\n")
    for signal_id in month.trades["signal_id"]:
        assert f"| {signal_id} |" in text
    for name in month.settings.__struct_fields__:
        assert f"| {name} |" in text
    info = backtest_info(month)
    for figure in (*info.account, *info.figures):
        assert f"- **{figure.label}:** {figure.text}" in text
        assert f"- **{figure.label}**: " in text
    assert "(lower is better)" in text
    assert "**Rejected signals:** 31" in text
    assert f"**Cancelled signals:** {len(month.cancelled)}" in text


def test_what_is_not_available_is_n_a(nothing: bknb.Result) -> None:
    text = backtest_report(nothing)
    assert "- **Sharpe ratio:** N/A: the frame has 1.0 days, at least 14 are needed\n" in text
    assert "## Figures of the trades\n\nThere are none: no trade was closed.\n" in text
    assert "per trade" not in text.partition("## What the figures mean")[0]
    assert "None" not in text
    assert "nan" not in text


# -- HTML --------------------------------------------------------------------------------------------------------


def test_html_is_well_formed_and_escaped(month: bknb.Result) -> None:
    page = Page(summary_html(month))
    assert page.stack == []
    assert not {"script", "style", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert "<script>alert(1)</script> |" in page.text


def test_figures_explain_themselves_in_html(month: bknb.Result) -> None:
    page = Page(summary_html(month))
    titles = [attributes["title"] for tag, attributes in page.tags if tag == "th" and "title" in attributes]
    assert len(titles) == len(month.account) + len(FIGURES)
    assert any(title and ACCOUNT_DEFINITIONS["max_drawdown"].formula in title for title in titles)


def test_wins_and_losses_carry_signs(month: bknb.Result) -> None:
    text = Page(summary_html(month)).text
    assert text.count("▲") == month.stats["win_count"]
    assert text.count("▼") == month.stats["loss_count"]


@pytest.mark.slow
def test_a_long_table_shows_both_ends_and_counts_the_rest(many: bknb.Result) -> None:
    assert len(many.trades) > ROWS_SHOWN
    page = Page(summary_html(many))
    shown = [signal_id for signal_id in many.trades["signal_id"] if signal_id in page.text]
    assert len(shown) == ROWS_SHOWN
    assert shown[0] == many.trades["signal_id"].iloc[0]
    assert shown[-1] == many.trades["signal_id"].iloc[-1]
    assert f"{len(many.trades) - ROWS_SHOWN:,} more in result.trades" in page.text
    assert len(summary_html(many)) < 120_000


def test_the_trade_table_can_be_reached_and_scrolled(month: bknb.Result) -> None:
    region = next(attributes for _, attributes in Page(summary_html(month)).tags if attributes.get("role") == "region")
    assert region["tabindex"] == "0"
    assert region["aria-label"] == "Trades"
    assert "max-height" in str(region["style"])


def test_an_ambiguous_exit_is_one_whose_candle_allows_another_reading() -> None:
    """Not only stop and target in one candle: also the stop of an entry in its own candle."""
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    info = replace(backtest_info(result), ambiguous=2)
    assert "2 exits whose candle allows another reading" in summary_text(info)
    assert "**Ambiguous exits:** 2 (whose candle allows another reading" in backtest_report(info)
