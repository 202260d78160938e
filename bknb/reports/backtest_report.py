"""The report of a backtest as text for a terminal, as Markdown and as HTML.

The writers only arrange; every word and number comes from :class:`bknb.reports.backtest_info.BacktestInfo`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING
from .backtest_info import COLUMNS, HEADLINES, BacktestInfo, Figure, backtest_info, with_shared_reason
from .managed_rows import STEP_COLUMNS
from .markup import Html, element, elements, fragment, markdown_table
from .markup import cell as _cell
from .refusals_counted import reasons_text, total

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BacktestInfo", "backtest_info", "backtest_report", "summary_html", "summary_text"]

ROWS_SHOWN: Final = 200
"""Most trades an HTML table shows; the rest is counted, and all of them are in ``result.trades``."""

_BOX = "border-left:4px solid #c77700;padding:4px 10px;margin:6px 0;background:rgba(199,119,0,0.10)"
_SCROLL = "max-height:340px;overflow:auto;border:1px solid rgba(128,128,128,0.35);margin:4px 0"


def _as_info(result_or_info: Any) -> BacktestInfo:
    return result_or_info if isinstance(result_or_info, BacktestInfo) else backtest_info(result_or_info)


# -- text --------------------------------------------------------------------------------------------------------


def summary_text(result: Any) -> str:
    """The summary of a Result or BacktestInfo for a terminal, a few lines: the run, its figures, its warnings."""
    info = _as_info(result)
    facts = dict(info.facts)
    lines = [
        f"{info.kind} {info.strategy} on {info.symbol}, {info.asked}, {facts['Frame']}",
        f"  execution {facts['Execution model']}, {facts['Costs per side']} per side, exchange {facts['Exchange']}",
    ]
    if info.partial:
        lines.append(f"  PARTIAL   {info.partial}")
    text = {figure.key: figure.text for figure in (*info.account, *info.figures)}
    measured = not _has_no_account(info)
    more = f"; a year {text['cagr']}; buy and hold {text['buy_and_hold']}" if measured else ""
    lines.append(f"  account   {text['total_return']}{more}")
    if "Capital" in facts:
        lines.append(f"  capital   {facts['Capital']}")
    if "Points" in facts:
        lines.append(f"  points    {facts['Points']}")
    if info.rejected:
        lines.append(f"  rejected  {reasons_text(info.rejected)}")
    if info.refused:
        lines.append(f"  refused   {reasons_text(info.refused)}")
    lines.append(f"  trades    {text['n']}")
    if info.rows:
        lines.append(f"  win rate  {text['win_rate']}")
    if measured and (info.rows or info.open):
        lines += [
            f"  drawdown  {text['max_drawdown']}, the longest {text['drawdown_days']}",
            f"  Sharpe    {text['sharpe']}{_rule(info, 'sharpe')}",
            f"  Sortino   {text['sortino']}",
            f"  Calmar    {text['calmar']}",
            f"  in market {text['exposure']} of the time, turnover {text['turnover']}",
            f"  paid      fees {text['fees']}, slippage {text['slippage']} of the start",
        ]
    told = (("cut off", _cut_off(info)), ("at level", _at_level(info)), ("ambiguous", _ambiguous(info)))
    lines += [f"  {word:<9} {asides}" for word, asides in (*told, ("managed", info.managed)) if asides]
    if info.cancelled:
        lines.append(f"  cancelled {reasons_text(info.cancelled)}")
    lines += [f"  note      {note}" for note in (*info.remarks, *info.notes)]
    lines += [f"  error     {error}" for error in info.errors]
    lines += [f"  warning   {warning}" for warning in info.warnings]
    return "\n".join(lines)


def _has_no_account(info: BacktestInfo) -> bool:
    """Whether the account is missing, with all of its figures for one reason."""
    return info.figure("total_return").text.startswith(MISSING)


def _rule(info: BacktestInfo, key: str) -> str:
    """What a ratio is taken from, where there is one."""
    days = info.figure("days_a_year").text
    return "" if info.figure(key).text.startswith(MISSING) else f" from daily returns, {days} days a year"


def _ambiguous(info: BacktestInfo) -> str:
    exits = "exit" if info.ambiguous == 1 else "exits"
    found = f"{info.ambiguous:,} {exits} whose candle allows another reading" if info.ambiguous else ""
    return "; ".join(text for text in (found, info.watched) if text)


def _at_level(info: BacktestInfo) -> str:
    entries = "entry" if info.at_level == 1 else "entries"
    if not info.at_level:
        return ""
    return f"{info.at_level:,} {entries} filled at or beyond a level of their own and closed there: nothing but costs"


def _cut_off(info: BacktestInfo) -> str:
    positions = "position" if info.cut_off == 1 else "positions"
    still = f", {info.open:,} of them still open" if info.open else ""
    return f"{info.cut_off:,} {positions} by the end of the run, in every figure{still}" if info.cut_off else ""


def _no_trade(info: BacktestInfo) -> str:
    held = f"{info.open:,} position{' is' if info.open == 1 else 's are'} still open; the account has its value"
    return f"No trade was closed: {held}." if info.open else "No trade was closed."


# -- Markdown ----------------------------------------------------------------------------------------------------


def _counts(title: str, pairs: Sequence[tuple[str, int]]) -> list[str]:
    head = f"**{title}:** {total(pairs):,}"
    return [head, "", *[f"- {count:,} x {_cell(reason)}" for reason, count in pairs], ""] if pairs else [head, ""]


def backtest_report(result: Any) -> str:
    """The whole report of a backtest as Markdown.

    It names what was run, on which data, under which execution model and settings; lists every trade; gives every
    figure with its definition; and counts what did not become a trade. The text ends with one newline; the same Result
    or BacktestInfo always gives the same.
    """
    info = _as_info(result)
    lines = [f"# {info.kind.capitalize()} report: {_cell(info.strategy)} on {_cell(info.symbol)}", ""]
    if info.partial:
        lines += [f"> **{info.partial}**", ""]
    lines += [*markdown_table(("Run", ""), info.facts), "", "## Account", ""]
    for figure in with_shared_reason(info.account):
        better = f" ({figure.better})" if figure.better else ""
        lines.append(f"- **{figure.label}:** {figure.text}{better}")
    lines += ["", *_counts("Rejected signals", info.rejected)]
    lines += _counts("Refused by a risk profile", info.refused) if info.refused else []
    lines += [f"> {_cell(remark)}\n" for remark in info.remarks]
    lines += ["## Trades", ""]
    lines += markdown_table(info.columns, info.rows) if info.rows else [_no_trade(info)]
    if info.steps:
        lines += ["", "## Fills and moved levels", "", *markdown_table(STEP_COLUMNS, info.steps)]
    lines += ["", "## Figures of the trades", ""]
    lines += [] if info.rows else ["There are none: no trade was closed."]
    for figure in info.figures if info.rows else ():
        better = f" ({figure.better})" if figure.better else ""
        lines.append(f"- **{figure.label}:** {figure.text}{better}")
    lines += ["", "## What did not become a trade, and what to be careful about", ""]
    lines += [
        f"**Ambiguous exits:** {info.ambiguous:,} (whose candle allows another reading, such as stop and target in it)",
        "",
    ]
    lines += [f"**Base bars:** {info.watched}", ""] if info.watched else []
    lines += [
        f"**Entries at or beyond a level of their own:** {info.at_level:,} (closed at once, at the price of the entry)",
        "",
    ]
    lines += [f"**Cut off by the end of the run:** {info.cut_off:,} (in every figure)", ""]
    lines += [f"**Managed positions:** {info.managed}", ""] if info.managed else []
    lines += _counts("Cancelled signals", info.cancelled)
    lines += _bullets("Errors", info.errors) + _bullets("Warnings", info.warnings) + _bullets("Notes", info.notes)
    lines += ["## Settings", "", *markdown_table(("Setting", "Value"), info.settings), ""]
    lines += ["## What the figures mean", ""]
    lines += [f"- **{figure.label}**: {_cell(figure.meaning)}" for figure in (*info.account, *info.figures)]
    return "\n".join(lines) + "\n"


def _bullets(title: str, texts: Sequence[str]) -> list[str]:
    return [f"**{title}:** {len(texts):,}", "", *[f"- {_cell(text)}" for text in texts], *([""] if texts else [])]


# -- HTML --------------------------------------------------------------------------------------------------------


def _box(text: str) -> Html:
    return element("div", Html("&#9888; "), text, role="note", style=_BOX)


def _numbers(figures: Sequence[Figure]) -> Html:
    """Figures as a table, three to a row; the definition of each is its tooltip."""
    number = "text-align:right;max-width:22em;padding-right:1.5em"
    cells = [
        fragment(
            element("th", figure.label, scope="row", style="text-align:left", title=figure.meaning),
            element("td", figure.text, style=number),
        )
        for figure in figures
    ]
    rows = (element("tr", *cells[at : at + 3]) for at in range(0, len(cells), 3))
    return element("table", *rows, style="font-size:92%")


_SHOWN: Final = (
    "Position",
    "Open time",
    "Open price",
    "Close time",
    "Close price",
    "PNL (net)",
    "Close reason",
    "Duration (min)",
    "Note",
    "Signal ID",
)
_WHOLE: Final = "white-space:nowrap"
_BROKEN: Final = "min-width:110px;overflow-wrap:anywhere"
_STYLES: Final = {
    **dict.fromkeys(("Open time", "Close time", "PNL (net)"), _WHOLE),
    **dict.fromkeys(("Note", "Signal ID"), _BROKEN),
}
"""Of the cells of a column: the table fits an output of 1000 px, so a note and an identifier may take two lines."""
_SIGNS: Final = {1: Html("&#9650; "), -1: Html("&#9660; "), 0: Html("&#8226; ")}
_ELLIPSIS: Final = Html("&#8230;")
_HEAD: Final = "position:sticky;top:0;background:var(--jp-layout-color0,var(--vscode-editor-background,Canvas))"


def _line(columns: Sequence[str], row: Sequence[str], sign: int) -> Html:
    """One trade as a table row."""
    cells = dict(zip(columns, row, strict=True))
    cells["PNL (net)"] = fragment(_SIGNS[sign], cells["PNL (net)"])
    cells["Note"] = _short(cells["Note"])
    if cells["Ambiguous"]:
        cells["Close reason"] += " (ambiguous)"
    shown = (*_SHOWN, *columns[len(COLUMNS) :])
    return element("tr", *(element("td", cells[name], style=_STYLES.get(name)) for name in shown))


def _trades(info: BacktestInfo) -> Html:
    """The trade table in a box that scrolls: all rows, or the first and the last of them."""
    if not info.rows:
        return element("p", _no_trade(info))
    lines = [_line(info.columns, row, sign) for row, sign in zip(info.rows, info.signs, strict=True)]
    return _scrolled(
        "Trades", ("trade", "trades"), (*_SHOWN, *info.columns[len(COLUMNS) :]), lines, where="result.trades"
    )


def _steps(info: BacktestInfo) -> Html | str:
    """Fills and moved levels in a box that scrolls, folded."""
    if not info.steps:
        return ""
    lines = [element("tr", elements("td", row)) for row in info.steps]
    what = ("fill or move", "fills and moved levels")
    return _scrolled(
        "Fills and moved levels", what, STEP_COLUMNS, lines, where="result.fills, result.position_events", fold=True
    )


def _scrolled(
    label: str,
    what: tuple[str, str],
    columns: Sequence[str],
    lines: list[Html],
    *,
    where: str,
    fold: bool = False,
) -> Html:
    """A table in a box that scrolls: all rows, or the first and the last of them."""
    count = f"{len(lines):,} {what[len(lines) != 1]}, times in UTC"
    hidden = len(lines) - ROWS_SHOWN
    if hidden > 0:
        more = (_ELLIPSIS, f" {hidden:,} more in ", element("code", where), " ", _ELLIPSIS)
        gap = element("tr", element("td", *more, colspan=len(columns)))
        lines[ROWS_SHOWN // 2 : ROWS_SHOWN // 2 + hidden] = [gap]
    head = element("thead", element("tr", elements("th", columns, scope="col", style=_HEAD)))
    table = element("table", head, element("tbody", *lines), style="font-size:90%;margin:0")
    region = element("div", table, role="region", aria_label=label, tabindex=0, style=_SCROLL)
    return element("details", element("summary", count), region, open=not fold)


def _short(text: str) -> str:
    return text if len(text) <= 48 else text[:45] + "..."


def summary_html(result: Any) -> Html:
    """Figures, errors, warnings and trades as HTML without scripts, for a notebook.

    Nothing is coloured by the page's colours, so it reads the same in light and dark themes. Each figure explains
    itself when the pointer rests on its name. At most 200 trades are shown: the first and the last hundred.

    Parameters
    ----------
    result : Result or BacktestInfo

    Returns
    -------
    Html
    """
    info = _as_info(result)
    facts = dict(info.facts)
    title = f"{info.strategy} on {info.symbol}, {info.asked}"
    what = fragment(
        *(f"{facts['Frame']} · execution ", element("b", facts["Execution model"])),
        f" · {facts['Costs per side']} per side · exchange {facts['Exchange']} · {facts['Data']}",
        f" · points {facts['Points']}" if "Points" in facts else "",
    )
    warnings = [*info.warnings, *(f"Error: {error}" for error in info.errors)]
    asides = "; ".join(_asides(info))
    rejected = f"{total(info.rejected):,} rejected: {reasons_text(info.rejected)}" if info.rejected else ""
    refused = f"{total(info.refused):,} refused by a risk profile: {reasons_text(info.refused)}" if info.refused else ""
    figures = (
        _numbers(info.figures[:HEADLINES]),
        element("details", element("summary", "more figures"), _numbers(info.figures[HEADLINES:])),
    )
    return element(
        "div",
        element("p", element("b", title), element("br"), what),
        *(_box(text) for text in (info.partial, *warnings) if text),
        _numbers(with_shared_reason(info.account)),
        rejected and element("p", rejected),
        refused and element("p", refused),
        *(element("p", remark) for remark in info.remarks),
        *(figures if info.rows else ()),
        asides and element("p", asides),
        _trades(info),
        _steps(info),
        class_="bknb-result",
    )


def _asides(info: BacktestInfo) -> list[str]:
    cut = _cut_off(info)
    asides = [f"cut off: {cut}"] if cut else []
    asides += [text for text in (_at_level(info), _ambiguous(info)) if text]
    asides += [f"managed: {info.managed}"] if info.managed else []
    if info.cancelled:
        asides.append(f"{total(info.cancelled):,} cancelled: {reasons_text(info.cancelled)}")
    return [*asides, *info.notes]
