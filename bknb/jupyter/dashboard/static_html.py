"""What remains of a dashboard where nothing moves: a picture and tables, readable without a kernel and without bknb."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any, Final

from ...errors import MissingDependency
from ...reports import panel_data
from ...reports.backtest_info import HEADLINES, moment_text, percent_text, price_text
from ...reports.plots import equity_png

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...reports.run_view import Watch

TRADES_KEPT: Final = 100
"""Trades a saved notebook shows: the newest."""

_TITLES: Final = {
    "risk": "Risk refusals",
    "milestones": "Milestones",
    "problems": "Errors and warnings",
    "timings": "Timings",
    "walker": "Ranking",
}
_LEFT: Final = "text-align:left"
_SCROLL: Final = "max-height:320px;overflow:auto"


def still_text(watch: Watch | None) -> str:
    """One line for those who see neither picture nor table."""
    if watch is None:
        return "dashboard: nothing is running"
    status = panel_data.status_panel(watch, 0.0)
    return f"dashboard of {status['title']}: {status['text']}"


def still_png(watch: Watch) -> bytes | None:
    """Equity, drawdown and price as a PNG; None where there is nothing to draw or nothing to draw with."""
    if not len(watch.series()):
        return None
    try:
        return equity_png(panel_data.equity_info(watch))
    except MissingDependency:
        return None


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, label: str) -> str:
    head = "".join(f'<th scope="col" style="{_LEFT}">{escape(name)}</th>' for name in columns)
    lines = ["".join(f'<td style="{_LEFT}">{escape(str(cell))}</td>' for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div role="region" aria-label="{escape(label)}" tabindex="0" style="{_SCROLL}">'
        f'<table style="font-size:90%;margin:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _trades(watch: Watch) -> str:
    events = watch.trades.events[-TRADES_KEPT:][::-1]
    rows = [
        [
            f"{'▲' if e.pnl.pnl_percentage > 0 else '▼' if e.pnl.pnl_percentage < 0 else '•'} "
            + percent_text(e.pnl.pnl_percentage),
            e.signal.position,
            moment_text(e.signal.pending_at),
            moment_text(e.closed_at),
            price_text(e.signal.price_open),
            price_text(e.price_close),
            e.close_reason.replace("_", " "),
            e.signal.note,
            e.signal.id,
        ]
        for e in events
    ]
    columns = ("Result", "Side", "Opened (UTC)", "Closed (UTC)", "Entry", "Exit", "Why closed", "Note", "Signal")
    count = len(watch.trades)
    which = f"the newest {len(rows):,} of {count:,} trades" if count > len(rows) else f"{count:,} trades"
    return f"<details open><summary>{which}</summary>{_table(columns, rows, label='Trades')}</details>"


def _levels(watch: Watch) -> str:
    rows = [
        [
            "open" if level.is_open else "◇ scheduled",
            level.row.position,
            price_text(level.row.price_open),
            price_text(level.row.price_take_profit),
            price_text(level.row.price_stop_loss),
            f"▲ {level.percent_tp:.0f} %" if level.percent_tp >= level.percent_sl else f"▼ {level.percent_sl:.0f} %",
            level.row.id,
        ]
        for level in watch.levels.values()
    ]
    columns = ("State", "Side", "Entry", "Target", "Stop", "Way to target ▲ or stop ▼", "Signal")
    return f"<p>Open and scheduled</p>{_table(columns, rows, label='Open and scheduled signals')}"


def still_html(
    watch: Watch | None, shown: Sequence[str], *, png: bytes | None = None, hint: str = "", place: str = ""
) -> str:
    """Picture, figures and tables as HTML without scripts.

    Parameters
    ----------
    watch : Watch or None
    shown : sequence of str
        The panels of the dashboard; tables of others are left out.
    png : bytes or None
        The picture, stored inside.
    hint : str
        What to install, or another sentence for the reader.
    place : str
        The place a living widget takes on the page.
    """
    opening = f'<div class="bknb-still bknb-of-{place}">' if place else '<div class="bknb-still">'
    if watch is None:
        return f"{opening}<p>{escape(still_text(None))}</p></div>"
    status = panel_data.status_panel(watch, 0.0)
    parts = [f"{opening}<p><b>{escape(status['title'])}</b><br>{escape(status['text'])}</p>"]
    if status["facts"]:
        facts = " · ".join(f"{name}: {text}" for name, text in status["facts"].items())
        parts.append(f"<p>{escape(facts)}</p>")
    if png is not None:
        data = base64.b64encode(png).decode("ascii")
        parts.append(f'<img alt="{escape(_alt(watch))}" style="max-width:100%" src="data:image/png;base64,{data}">')
    if "statistics" in shown and len(watch.trades):
        rows = [row[1:3] for row in panel_data.statistics_panel(watch)[:HEADLINES]]
        parts.append(
            f"<details open><summary>figures</summary>{_table(('Figure', 'Value'), rows, label='Figures')}</details>"
        )
    if "signals" in shown and watch.levels:
        parts.append(_levels(watch))
    if "trades" in shown and watch.mode != "walker":
        parts.append(_trades(watch) if len(watch.trades) else "<p>No trade was closed.</p>")
    for name in panel_data.TABLES:
        table = panel_data.table_panel(watch, name) if name in shown else None
        if table is not None and table["rows"]:
            said = _table(table["columns"], table["rows"], label=_TITLES[name])
            opened = " open" if name == "walker" else ""
            parts.append(
                f"<details{opened}><summary>{_TITLES[name]} ({len(table['rows']):,})</summary>{said}</details>"
            )
    if hint:
        parts.append(f"<p>{escape(hint)}</p>")
    return "".join(parts) + "</div>"


def _alt(watch: Watch) -> str:
    return f"Equity, drawdown and price of {watch.title}: {panel_data.equity_panel(watch, points=4)['text']}."
