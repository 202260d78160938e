"""The tear sheet of a run or of a portfolio: one HTML file that needs neither network nor script to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.printed_text import DASH, printed_words
from .markup import Html, element, elements, fragment
from .tearsheet_charts import breakable, equity_chart, exposure_chart, histogram, leg_bars, rolling_chart
from .tearsheet_info import tearsheet_info
from .tearsheet_monthly_returns import months_table
from .tearsheet_style import HATCH, STYLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .tearsheet_content import Cell, Headline, TearSheetInfo

CARD_ID: Final = "bknb-card"
"""The id of the element that holds the run card."""
_TONES: Final = {1: "up", -1: "down", 0: ""}
_LONG: Final = 10  # letters: a larger figure is set smaller
_LONG_NAME: Final = 16  # letters
_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class TearSheet:
    """A tear sheet: ``html`` is the whole file. In a notebook it shows itself in a frame of its own.

    Attributes
    ----------
    title : str
    html : str
        The file as text.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> sheet = result.tearsheet()
    >>> sheet.title, sheet.html.startswith("<!doctype html>")
    ('<lambda> on BTCUSDT', True)
    """

    def __init__(self, title: str, html: Html) -> None:
        self.title = title
        self.html = html

    def __repr__(self) -> str:
        size = len(self.html.encode()) / 1000
        return f"<tear sheet of {self.title}, {size:.0f} kB: give tearsheet() a path to write it>"

    def _repr_html_(self) -> Html:
        style = "width:100%;height:1180px;border:0;background:Canvas"
        return element("iframe", srcdoc=self.html, title=f"Tear sheet: {self.title}", style=style, loading="lazy")


def tearsheet(
    result: Any,
    *,
    card: str = "",
    no_card: str = "",
    versions: Mapping[str, str] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> TearSheet:
    """The tear sheet of a Result or PortfolioResult.

    Parameters
    ----------
    result : Result or PortfolioResult
    card : str
        Its run card as JSON, which the file holds; empty where there is none.
    no_card : str
        Why there is none.
    versions : mapping of str to str
        What the run was made with.
    ranges : mapping of str to (float, float)
        Ranges of figures of the account by name.

    Raises
    ------
    DataError
        When the candles of the run were released and cannot be read again.
    """
    info = tearsheet_info(result, ranges)
    return TearSheet(info.title, _page(info, card, no_card, dict(versions or {})))


def _page(info: TearSheetInfo, card: str, no_card: str, versions: Mapping[str, str]) -> Html:
    inside = element("script", _in_script(card), type="application/json", id=CARD_ID) if card else None
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'),
        element("title", f"Tear sheet: {info.title}"),
        element("style", Html(STYLE)),
        inside,
    )
    body = element("body", element("main", *_sections(info), _foot(info, card, no_card, versions)))
    return Html(f"<!doctype html>\n{element('html', head, body, lang='en')}\n")


def _in_script(json: str) -> Html:
    """JSON that cannot end its element: what would is written in its own escapes, within strings."""
    for letter, escaped in _ESCAPES.items():
        json = json.replace(letter, escaped)
    return Html(json)


def _sections(info: TearSheetInfo) -> list[Html | None]:
    legs, whole = _legs(info), _are_long(info)
    return [
        _header(info),
        element("p", info.partial, class_="partial") if info.partial else None,
        element("dl", *map(_headline, info.headlines), class_="six"),
        element("p", _sentence(info.no_equity), class_="alone") if info.no_equity else None,
        _equity(info),
        _months(info),
        legs if whole else None,
        element("div", None if whole else legs, _drawdowns(info), _histogram(info), class_="columns3"),
        element("div", _rolling(info), _exposure(info), class_="columns2"),
        element("section", element("dl", *(_figure(*row) for row in info.figures), class_="figures")),
        element("div", _trades(info), element("div", _costs(info), _stopped(info), class_="columns2"), class_="screen"),
        _list("Notes", info.notes),
        _list("Warnings", info.warnings),
    ]


def _section(title: str, *children: Html | None, key: Html | str = "") -> Html:
    return element("section", element("div", element("h2", title), key, class_="head"), *children)


def _header(info: TearSheetInfo) -> Html:
    what = element("div", element("h1", info.title), element("p", info.subtitle))
    return element("header", what, element("p", "bknb tear sheet", class_="side"))


def _headline(each: Headline) -> Html:
    unit = element("small", each.unit) if each.unit else None
    kinds = ("v", _TONES[each.tone], "long" if len(each.value) > _LONG else "")
    value = element("div", each.value, unit, class_=" ".join(filter(None, kinds)))
    return element(
        "div", element("dt", each.label), element("dd", value, element("div", printed_words(each.note), class_="s"))
    )


def _key(*entries: tuple[str, str, bool]) -> Html:
    """What lines and areas mean: a word, a style, and whether it is an area."""
    return element(
        "div",
        *(
            element("span", element("i", class_="box" if area else None, style=style), word)
            for word, style, area in entries
        ),
        class_="key",
    )


def _equity(info: TearSheetInfo) -> Html | None:
    lines = info.equity
    if lines is None:
        return None
    held = [(lines.held_name, "color:var(--ref);border-top-width:1px", False)] if lines.held_name else []
    key = _key((lines.name, "color:var(--eq)", False), *held)
    unit = lines.unit.replace("x start", "multiples of the start")
    end = int(max(lines.time_ms[-1], lines.drawdown_ms[-1]))
    chart = equity_chart(lines, end)
    return _section(f"Equity{f', {unit},' if unit else ''} and drawdown", chart, key=key)


def _months(info: TearSheetInfo) -> Html | None:
    return _section("Months, %", months_table(info.years)) if info.years else None


def _legs(info: TearSheetInfo) -> Html | None:
    return _section(info.legs_title, leg_bars(info.legs)) if info.legs else None


def _are_long(info: TearSheetInfo) -> bool:
    """Whether the names of the legs need the whole width."""
    return max((len(name) for name, _ in info.legs), default=0) > _LONG_NAME


def _drawdowns(info: TearSheetInfo) -> Html | None:
    if not info.drawdowns:
        return None
    names = (("Depth", "r"), ("From", None), ("Lowest", None), ("Back", None), ("In all", "r"))
    head = element("tr", *(element("th", name, scope="col", class_=kind) for name, kind in names))
    rows = (
        element(
            "tr",
            element("td", depth, class_="r down"),
            *(element("td", moment, class_="nb warn" if moment == "not yet" else "nb") for moment in moments),
            element("td", length, class_="r"),
        )
        for depth, *moments, length in info.drawdowns
    )
    return _section("Deepest drawdowns", element("table", element("thead", head), element("tbody", *rows)))


def _histogram(info: TearSheetInfo) -> Html | None:
    if info.trades is None:
        return None
    key = element("span", f"mean {info.trades.mean}", class_="key")
    return _section(f"Trades by result, {info.trades.unit}", histogram(info.trades), key=key)


def _rolling(info: TearSheetInfo) -> Html | None:
    if info.rolling is None:
        return None
    key = element("span", "the first are hatched", class_="key")
    return _section(f"Sharpe of the last {info.rolling.days} days", rolling_chart(info.rolling), key=key)


def _exposure(info: TearSheetInfo) -> Html | None:
    bars = info.exposure
    if bars is None:
        return None
    key = _key(
        ("long", "color:var(--eq);background:rgba(var(--eqf),.34)", True),
        ("short", f"color:var(--ind2);background-image:{HATCH}", True),
        ("net", "color:var(--ink);border-top-width:1px", False),
    )
    means = element("span", f"means of {bars.stretch}", class_="key")
    return _section("Exposure, % of equity", exposure_chart(bars), key=fragment(key, means))


def _figure(label: str, text: str, reason: str) -> Html:
    why = element("dd", reason, class_="why") if reason else None
    return element("div", element("dt", label), element("dd", text), why)


def _trades(info: TearSheetInfo) -> Html | None:
    """The best and the worst trades in one table, so that their columns stand below each other."""
    if not (info.best or info.worst):
        return None
    kinds = [_KINDS.get(name, "r" if name.startswith("Net") else "") for name in info.trade_columns]
    names = (
        element("th", name, scope="col", class_=kind or None)
        for name, kind in zip(info.trade_columns, kinds, strict=True)
    )
    bodies = (
        element("tbody", *(element("tr", *_cells(row, kinds)) for row in rows))
        for rows in (info.best, info.worst)
        if rows
    )
    table = element("table", element("thead", element("tr", *names)), *bodies, class_="parts")
    return _section("Best and worst trades", table)


_KINDS: Final = {
    "Side": "nb", "Held": "r more", "Result, %": "r", "Points": "r", "Opened": "nb", "Closed by": "nb last"
}  # fmt: skip


def _cells(row: Sequence[Cell], kinds: Sequence[str]) -> list[Html]:
    return [
        element("td", cell.text, class_=breakable(cell.text, kind, _TONES[cell.tone]))
        for cell, kind in zip(row, kinds, strict=True)
    ]


def _costs(info: TearSheetInfo) -> Html | None:
    if not info.costs:
        return None
    in_money = any(money for _, money, _ in info.costs)
    unit = info.equity.unit.replace("x start", "of the start") if info.equity is not None else ""
    names = ("Paid", *((unit,) if in_money else ()), "% of the start")
    first, *others = names
    head = element("tr", element("th", first, scope="col"), elements("th", others, scope="col", class_="r"))
    rows = (
        element(
            "tr",
            element("td", kind),
            element("td", money, class_="r") if in_money else None,
            element("td", percent, class_="r"),
        )
        for kind, money, percent in info.costs
    )
    return _section("Costs", element("table", element("thead", head), element("tbody", *rows)))


def _stopped(info: TearSheetInfo) -> Html | None:
    if not info.stopped:
        return None
    rows = (
        element("tr", element("td", text, class_=breakable(text)), element("td", count, class_="r"))
        for text, count in info.stopped
    )
    return _section("Refused, cancelled and made smaller", element("table", element("tbody", *rows)))


def _list(title: str, texts: Sequence[str]) -> Html | None:
    if not texts:
        return None
    return _section(title, element("ul", *(element("li", _sentence(text)) for text in texts), class_="notes"))


def _foot(info: TearSheetInfo, card: str, no_card: str, versions: Mapping[str, str]) -> Html:
    told = [fragment(element("b", f"{label}."), f" {_sentence(printed_words(text))} ") for label, text in info.assumed]
    made = ", ".join(f"{name} {value}" for name, value in versions.items() if name != "candles from")
    if made:
        told.append(fragment(element("b", "Made with."), f" {made}."))
    past = "A backtest is a calculation on the past; it is no promise."
    if card:
        check: tuple[Any, ...] = (
            *(" The run card ", element("code", short_name(card)), " is inside this file: "),
            *(element("code", "bknb verify"), f" with its path runs it again and compares. {past}"),
        )
    else:
        check = (f" There is no run card in this file: {no_card or 'none was made'}. {past}",)
    more = " On a screen this sheet has its best and worst trades, costs and what was refused, too."
    paper = element("span", more, class_="paper") if info.best or info.worst or info.costs or info.stopped else None
    return element("footer", element("p", *told), element("p", element("b", "To check it."), *check, paper))


def short_name(card: str) -> str:
    """The first digits of the checksum of a run card, by which people compare it."""
    _, found, rest = card.partition('"sha256":"')
    return f"{rest[:4]} {rest[4:8]}" if found else DASH


def _sentence(text: str) -> str:
    """The text as a sentence: it begins with a capital letter, and ends with a full stop."""
    whole = f"{text[:1].upper()}{text[1:]}"
    return whole if whole.endswith((".", "!", "?", ":")) else f"{whole}."
