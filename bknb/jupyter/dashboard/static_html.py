"""Static HTML of a dashboard: a picture and tables, readable without a kernel and without bknb."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from bknb import MissingDependency

from ...reports import dashboard_panels
from ...reports.equity_png import equity_png
from ...reports.managed_panel import target_texts
from ...reports.managed_rows import TRADE_COLUMNS
from ...reports.markup import (
    Html,
    element,
    elements,
    exit_text,
    fragment,
    minute_text,
    percent_text,
    points_text,
    price_text,
)
from ...reports.signal_story import event_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bknb import Closed

    from ...reports.dashboard_run import RunView

TRADES_SAVED: Final = 100
"""Trades a saved notebook shows: the newest."""
MANAGED_SAVED: Final = 100
"""Parts, adds and moved levels a saved notebook shows: the newest."""

_TITLES: Final = {
    "risk": "Risk refusals",
    "milestones": "Milestones",
    "problems": "Errors and warnings",
    "timings": "Timings",
    "walker": "Ranking",
}
_LEFT: Final = "text-align:left"
_SCROLL: Final = "max-height:320px;overflow:auto"


def static_text(view: RunView | None) -> str:
    """The dashboard in one line of text: title and status."""
    if view is None:
        return "dashboard: nothing is running"
    status = dashboard_panels.status_panel(view, 0.0)
    return f"dashboard of {status['title']}: {status['text']}"


def static_png(view: RunView) -> bytes | None:
    """Equity, drawdown and price as a PNG; None where there is nothing to draw or nothing to draw with."""
    if not len(view.series()):
        return None
    try:
        return equity_png(dashboard_panels.equity_info(view))
    except MissingDependency:
        return None


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, label: str) -> Html:
    head = element("thead", element("tr", elements("th", columns, scope="col", style=_LEFT)))
    body = element("tbody", *(element("tr", elements("td", map(str, row), style=_LEFT)) for row in rows))
    table = element("table", head, body, style="font-size:90%;margin:0")
    return element("div", table, role="region", aria_label=label, tabindex=0, style=_SCROLL)


def _details(title: str, inside: Html, *, is_open: bool = True) -> Html:
    return element("details", element("summary", title), inside, open=is_open)


def _net(event: Closed) -> float:
    """The net result of a trade, in percent or in points."""
    return event.pnl.pnl_percentage if event.pnl.points is None else event.pnl.points


def _net_text(event: Closed) -> str:
    return percent_text(event.pnl.pnl_percentage) if event.pnl.points is None else points_text(event.pnl.points)


def _trades(view: RunView) -> Html:
    events = view.signals.trades.events[-TRADES_SAVED:][::-1]
    in_places = any(e.signal.place for e in events)
    rows = [
        [
            f"{'▲' if (net := _net(e)) > 0 else '▼' if net < 0 else '•'} {_net_text(e)}",
            e.signal.position,
            *([e.signal.place] if in_places else []),
            minute_text(e.signal.pending_at),
            minute_text(e.closed_at),
            price_text(e.signal.price_open),
            price_text(e.price_close),
            *([len(e.fills) or 2, price_text(_average(e))] if view.signals.managed else []),
            e.close_reason.replace("_", " "),
            e.signal.note,
            e.signal.id,
        ]
        for e in events
    ]
    columns = (
        *("Result", "Side", *(("Place",) if in_places else ()), "Opened (UTC)", "Closed (UTC)", "Entry", "Exit"),
        *(TRADE_COLUMNS if view.signals.managed else ()),
        *("Why closed", "Note", "Signal"),
    )
    count = len(view.signals.trades)
    every = f"{count:,} trade{'' if count == 1 else 's'}"
    which = f"the newest {len(rows):,} of {every}" if count > len(rows) else every
    return _details(which, _table(columns, rows, label="Trades"))


def _average(event: Closed) -> float:
    return event.signal.price_open if event.average_price is None else event.average_price


def _managed(view: RunView) -> Html:
    events = view.signals.managed[-MANAGED_SAVED:][::-1]
    rows = [[minute_text(each.when), event_text(each), each.signal.id] for each in events]
    title = f"parts, adds and moved levels ({len(view.signals.managed):,})"
    return _details(title, _table(("Time (UTC)", "What", "Signal"), rows, label=title), is_open=False)


def _levels(view: RunView) -> Html:
    stops = {row["id"]: row["texts"][2] for row in dashboard_panels.signals_panel(view)["rows"]}
    in_places = any(level.row.place for level in view.signals.levels.values())
    rows = [
        [
            *([level.row.place] if in_places else []),
            "open" if level.is_open else "◇ scheduled",
            level.row.position,
            f"{level.size:.4g}" if level.is_open else "",
            price_text(level.row.price_open),
            ", ".join(target_texts(level.targets)) or exit_text(None),
            stops.get(level.row.id, exit_text(level.stop)),
            f"▲ {level.percent_tp:.0f} %" if level.percent_tp >= level.percent_sl else f"▼ {level.percent_sl:.0f} %",
            level.row.id,
        ]
        for level in view.signals.levels.values()
    ]
    columns = (
        *(("Place",) if in_places else ()),
        "State",
        "Side",
        "Held",
        "Entry",
        "Targets",
        "Stop",
        "Way to target ▲ or stop ▼",
        "Signal",
    )
    return fragment(element("p", "Open and scheduled"), _table(columns, rows, label="Open and scheduled signals"))


def static_html(
    view: RunView | None, shown: Sequence[str], *, png: bytes | None = None, hint: str = "", place: str = ""
) -> Html:
    """Picture, figures and tables as HTML without scripts.

    Parameters
    ----------
    view : RunView or None
    shown : sequence of str
        The panels of the dashboard; tables of others are left out.
    png : bytes or None
        The picture, stored inside.
    hint : str
        What to install, or another sentence for the reader.
    place : str
        The identifier by which the widget finds this HTML on the page and replaces it.
    """
    of = f"bknb-static bknb-of-{place}" if place else "bknb-static"
    if view is None:
        return element("div", element("p", static_text(None)), class_=of)
    status = dashboard_panels.status_panel(view, 0.0)
    parts = [element("p", element("b", status["title"]), element("br"), status["text"])]
    if status["facts"]:
        parts.append(element("p", " · ".join(f"{name}: {text}" for name, text in status["facts"].items())))
    if png is not None:
        data = f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
        parts.append(element("img", alt=_alt(view), style="max-width:100%", src=data))
    if "statistics" in shown and (len(view.signals.trades) or view.signals.holds_position):
        figures = dashboard_panels.statistics_panel(view)
        rows = [[label, text] for key, label, text, _ in figures if key not in dashboard_panels.LESS_IMPORTANT]
        parts.append(_details("figures", _table(("Figure", "Value"), rows, label="Figures")))
    if "signals" in shown and view.signals.levels:
        parts.append(_levels(view))
    if "trades" in shown and view.mode != "walker":
        parts.append(_trades(view) if len(view.signals.trades) else element("p", "No trade was closed."))
        if view.signals.managed:
            parts.append(_managed(view))
    for name in dashboard_panels.TABLES:
        table = dashboard_panels.table_panel(view, name) if name in shown else None
        if table is not None and table["rows"]:
            inside = _table(table["columns"], table["rows"], label=_TITLES[name])
            parts.append(_details(f"{_TITLES[name]} ({len(table['rows']):,})", inside, is_open=name == "walker"))
    if hint:
        parts.append(element("p", hint))
    return element("div", *parts, class_=of)


def _alt(view: RunView) -> str:
    return f"Equity, drawdown and price of {view.title}: {dashboard_panels.equity_panel(view, points=4)['text']}."
