"""Panels of a portfolio that runs or is over: its account, what is held, and its legs, from a snapshot, as HTML."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING, minute_text, money_decimals, percent_text
from ..metrics.account_in_money import money_text
from .chart_html import Line, chart
from .leg_correlation import correlation_table
from .markup import Html, element, elements, fragment
from .panel_parts import MUTE, key_of_line, titled
from .plots import EQUITY, PRICE
from .portfolio_leg_table import WIDE, contribution_bar, signed_money, sparkline

if TYPE_CHECKING:
    from collections.abc import Sequence

PORTFOLIO_PANELS: Final = ("status", "equity", "exposure", "legs", "contribution", "correlation", "allocation")
"""Panels of a portfolio, in order."""
_NUMBER: Final = "text-align:right;white-space:nowrap"
_LONG, _SHORT = "rgba(59,130,214,0.55)", "rgba(217,98,43,0.55)"


def status_text(snapshot: Any, state: str) -> str:
    """A portfolio in one line: how it stands, how far it has come, and what it has made."""
    legs = snapshot.legs
    trades, refused = sum(leg.trades for leg in legs), sum(leg.refused for leg in legs)
    parts = [
        *([state] if state else []),
        f"up to {minute_text(snapshot.reached)} UTC",
        f"{trades:,} trade{'' if trades == 1 else 's'}",
    ]
    parts += [f"{refused:,} refused"] if refused else []
    if len(snapshot.equity):
        worth, capital = float(snapshot.equity[-1]), snapshot.capital
        parts.append(
            money_text(worth, snapshot.currency, money_decimals(capital))
            + f" ({_percent((worth / capital - 1) * 100)})"
        )
    if len(snapshot.held):
        held = _percent((float(snapshot.held[-1]) / snapshot.capital - 1) * 100)
        parts.append(f"{snapshot.benchmark} held {held}")
    return " · ".join(parts)


def _percent(value: float) -> str:
    return percent_text(value, signed=True)


def panel_html(snapshot: Any, panel: str) -> Html | None:
    """One of :data:`PORTFOLIO_PANELS` but ``status``; ``None`` where there is nothing to show."""
    match panel:
        case "equity":
            return _equity(snapshot)
        case "exposure":
            return _exposure(snapshot)
        case "contribution":
            return _contribution(snapshot)
        case "correlation":
            return _correlation(snapshot)
        case "allocation":
            return _allocation(snapshot)
        case _:
            return _legs(snapshot)


def _equity(snapshot: Any) -> Html | None:
    if not len(snapshot.equity):
        return None
    lines, held, decimals = [], "", money_decimals(snapshot.capital)
    if len(snapshot.held):
        lines.append(Line(snapshot.held, PRICE, 1.2))
        held = f"; {snapshot.benchmark} held {float(snapshot.held[-1]):,.{decimals}f}"
    lines.append(Line(snapshot.equity, EQUITY, 1.8))
    keys = [key_of_line(EQUITY, "portfolio"), *([key_of_line(PRICE, f"{snapshot.benchmark} held")] if held else [])]
    alt = f"Equity: {float(snapshot.equity[-1]):,.{decimals}f} from {snapshot.capital:,.{decimals}f}{held}"
    drawn = _chart(snapshot, lines, height=180, alt=alt, mark=snapshot.capital)
    return fragment(titled(f"Equity, {snapshot.currency}".rstrip(", "), *keys), drawn)


def _exposure(snapshot: Any) -> Html | None:
    if not len(snapshot.equity):
        return None
    lines = [Line(snapshot.longs, _LONG, filled=True), Line(snapshot.shorts, _SHORT, filled=True)]
    now = f"now {float(snapshot.longs[-1]):,.0f} % long, {abs(float(snapshot.shorts[-1])):,.0f} % short"
    drawn = _chart(snapshot, lines, height=90, alt=f"What is held, percent of the equity: {now}", unit=" %")
    return fragment(
        titled("Exposure, % of equity", key_of_line(_LONG, "long"), key_of_line(_SHORT, "short"), now), drawn
    )


def _contribution(snapshot: Any) -> Html | None:
    """What each leg has added to the account, the most first, and all of them together."""
    if snapshot.capital is None:
        return None
    decimals = money_decimals(snapshot.capital)
    ranked = sorted(snapshot.legs, key=lambda leg: -leg.result)
    rows = [(leg, signed_money(leg.result, decimals), leg.result) for leg in ranked]
    total = signed_money(sum(leg.result for leg in ranked), decimals)
    return _bars(f"Contribution, {snapshot.currency}".rstrip(", "), rows, [("all", total)])


def _allocation(snapshot: Any) -> Html | None:
    """What each leg holds now, percent of the equity, and what that is long and short together."""
    if snapshot.capital is None:
        return None
    rows = [(leg, _held(leg.held, 1), leg.held) for leg in snapshot.legs]
    sides = (sum(max(leg.held, 0.0) for leg in snapshot.legs), sum(min(leg.held, 0.0) for leg in snapshot.legs))
    return _bars("Allocation now, % of equity", rows, [("long", _held(sides[0], 1)), ("short", _held(sides[1], 1))])


def _held(percent: float, decimals: int) -> str:
    """What is held, percent of the equity; of an equity that is nothing it is none."""
    if not isfinite(percent):
        return MISSING
    return f"{percent:{'+' if round(percent, decimals) else ''}z,.{decimals}f} %"


def _correlation(snapshot: Any) -> Html | None:
    if snapshot.capital is None:
        return None
    if snapshot.no_days and len(snapshot.legs) > 1:
        return fragment(titled("Correlation of daily results"), element("p", snapshot.no_days, style=MUTE))
    return correlation_table([(leg.strategy, leg.symbol) for leg in snapshot.legs], snapshot.days)


def _bars(title: str, rows: Sequence[tuple[Any, str, float]], foot: Sequence[tuple[str, str]]) -> Html:
    """Legs with a figure and a bar of it, and rows of all together."""
    most = max((abs(value) for _, _, value in rows if isfinite(value)), default=0.0)
    left, number = "text-align:left;white-space:nowrap", f"{_NUMBER};font-weight:600"
    lines = [
        element(
            "tr",
            element("td", leg.strategy, " ", element("b", leg.symbol), style=left),
            element("td", text, style=number),
            element("td", contribution_bar(value, most) if isfinite(value) else ""),
        )
        for leg, text, value in rows
    ]
    lines += [
        element("tr", element("td", element("b", name), style=left), element("td", text, style=number), element("td"))
        for name, text in foot
    ]
    table = element("table", element("tbody", *lines), style="font-size:92%;margin:0")
    return fragment(titled(title), element("div", table, role="region", aria_label=title, tabindex=0, style=WIDE))


def _chart(snapshot: Any, lines: list[Line], **more: Any) -> Html:
    return chart(snapshot.time_ms, lines, start=snapshot.start, end=snapshot.end, **more)


def _legs(snapshot: Any) -> Html:
    with_money = snapshot.capital is not None
    decimals = money_decimals(snapshot.capital or 0.0)
    most = max((abs(leg.result) for leg in snapshot.legs if isfinite(leg.result)), default=0.0)
    made = f"Net, {snapshot.currency}".rstrip(", ") if with_money else "Result"
    more = ("Held now", "Trades", "Refused", "Result over time") if with_money else ("Trades", "Refused")
    columns = ("Leg", made, "", *more)
    left = "text-align:left"
    head = element(
        "tr",
        *(
            element("th", name, scope="col", style=left if at in (0, 6) else "text-align:right")
            for at, name in enumerate(columns)
        ),
    )
    rows = []
    for leg in snapshot.legs:
        texts = [*([_held(leg.held, 0)] if with_money else []), f"{leg.trades:,}", f"{leg.refused:,}"]
        result = signed_money(leg.result, decimals) if with_money else _percent(leg.result)
        result += f": {leg.missing}" if leg.missing else ""
        line = sparkline(leg.path, f"{leg.strategy} on {leg.symbol}", decimals) if len(leg.path) else ""
        rows.append(
            element(
                "tr",
                element("td", leg.strategy, " ", element("b", leg.symbol), style=f"{left};white-space:nowrap"),
                element("td", result, style=f"{_NUMBER};font-weight:600"),
                element("td", contribution_bar(leg.result, most) if isfinite(leg.result) else ""),
                elements("td", texts, style=_NUMBER),
                with_money and element("td", line, style=left),
            )
        )
    table = element("table", element("thead", head), element("tbody", *rows), style="font-size:92%;margin:0")
    return fragment(titled("Legs"), element("div", table, role="region", aria_label="Legs", tabindex=0, style=WIDE))
