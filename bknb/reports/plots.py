"""Pictures of a run: an info object of plain arrays first, then a plotly figure or a PNG made from it.

The figure is written for light and dark pages alike: nothing is filled with a page colour, the text is mid-grey, and
wins and losses differ by sign (▲ ▼) before they differ by colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import minute_text, percent_text, price_decimals
from ..domain.interval import MINUTE_MS
from ..errors import MissingDependency
from .equity_arrays import EquityInfo, Floats, Times, decimate, equity_info, extremes
from .managed_marks import draw_marks, managed_traces

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["EquityInfo", "decimate", "equity_figure", "equity_info", "equity_png", "figure_json"]

PLOTLY_MIME: Final = "application/vnd.plotly.v1+json"

MARKS_PER_TRACE: Final = 1000
"""Most trades of one kind that are marked: each carries its story for the pointer, and a notebook must stay small."""

_TEXT = "#808080"
_GRID = "rgba(128,128,128,0.22)"
_EQUITY = "#3b82d6"
_DRAWDOWN = "#b0657a"
_PRICE = "#9a9a9a"
_WIN = "#1a9e77"
_LOSS = "#d9622b"
_CLEAR = "rgba(0,0,0,0)"
_IN_ITS_PLACE: Final = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.76, "showarrow": False}


def _as_info(result_or_info: Any) -> EquityInfo:
    return result_or_info if isinstance(result_or_info, EquityInfo) else equity_info(result_or_info)


# -- plotly ------------------------------------------------------------------------------------------------------


def _numbers(values: Any) -> Floats:
    """Times and prices as plotly stores them: eight bytes each, base64 in JSON."""
    return np.asarray(values, dtype=np.float64)


def _percents(values: Any) -> NDArray[np.float32]:
    """Percentages need no more than four bytes each on a screen."""
    return np.asarray(values, dtype=np.float32)


def _places(prices: NDArray[np.float64]) -> int:
    """Decimals of the prices of a run: those of its first, or more where its smallest needs them."""
    if not prices.size:
        return 2
    smallest = price_decimals(float(np.min(np.abs(prices[prices != 0]), initial=1.0)))
    return max(price_decimals(float(prices[0])), smallest if smallest > 8 else 0)


def _hover(info: EquityInfo, index: int) -> str:
    opened, closed = info.price_open[index], info.price_close[index]
    places = _places(np.asarray((opened, closed)))
    return (
        f"{info.sides[index]} {percent_text(info.pnl_percent[index])} ({info.reasons[index].replace('_', ' ')})"
        f"<br>{opened:.{places}f} at {minute_text(int(info.opened_ms[index]))}"
        f"<br>{closed:.{places}f} at {minute_text(int(info.closed_ms[index]))}"
    )


def _pick(info: EquityInfo, chosen: NDArray[np.bool_], limit: int = MARKS_PER_TRACE) -> NDArray[np.intp]:
    """The trades to draw: all, or those that keep the best and the worst of each stretch."""
    rows = np.flatnonzero(chosen)
    return rows[extremes(info.pnl_percent[rows], limit)]


def _size(count: int) -> int:
    """The size of a mark: smaller the more there are, so that the line stays visible."""
    return 9 if count <= 100 else 7 if count <= 300 else 5


def _marks(
    info: EquityInfo,
    name: str,
    chosen: NDArray[np.bool_],
    points: tuple[NDArray[Any], NDArray[Any]],
    *,
    texts: Callable[[EquityInfo, int], str] | None = None,
    **look: Any,
) -> list[dict[str, Any]]:
    """One trace with a mark for each trade that is chosen, at its point; none where no trade is."""
    rows = _pick(info, chosen)
    total = int(chosen.sum())
    if not total:
        return []
    x, y = (values[rows] for values in points)
    shown = name if rows.size == total else f"{name} ({rows.size:,} of {total:,} drawn)"
    trace: dict[str, Any] = {"type": "scatter", "mode": "markers", "name": shown, "x": _numbers(x), "y": y}
    if texts is not None:
        trace["text"] = [texts(info, int(row)) for row in rows]
    return [trace | look]


def _trade_traces(info: EquityInfo) -> list[dict[str, Any]]:
    """Trades on the equity line: ▲ where money was made, ▼ where it was lost."""
    traces: list[dict[str, Any]] = []
    won = info.pnl_percent > 0
    percent = _percents((info.trade_equity - 1.0) * 100.0)
    for name, sign, colour, chosen in (
        ("win ▲", "triangle-up", _WIN, won),
        ("loss ▼", "triangle-down", _LOSS, ~won),
    ):
        look = {"symbol": sign, "size": _size(len(info)), "color": colour, "line": {"width": 0}}
        hover = "%{text}<extra></extra>"
        points = (info.closed_ms, percent)
        traces += _marks(info, name, chosen, points, texts=_hover, hovertemplate=hover, marker=look, yaxis="y")
    return traces


def _price_traces(info: EquityInfo) -> list[dict[str, Any]]:
    """Entries and exits on the price line, and the way between them."""
    if not len(info):
        return []
    traces: list[dict[str, Any]] = []
    places = _places(np.concatenate((info.price_open, info.price_close)))
    won = info.pnl_percent > 0
    for colour, dash, chosen in ((_WIN, "solid", won), (_LOSS, "dot", ~won)):
        rows = _pick(info, chosen, MARKS_PER_TRACE // 2)
        if not rows.size:
            continue
        # The third point of each trade is a hole, so that one trade is not joined to the next.
        x = np.stack((info.opened_ms[rows], info.closed_ms[rows], info.closed_ms[rows]), axis=1).ravel()
        hole = np.full(rows.size, np.nan)
        y = np.stack((info.price_open[rows], info.price_close[rows], hole), axis=1).ravel()
        line = {"color": colour, "width": 1.4, "dash": dash}
        traces.append(
            {"type": "scatter", "mode": "lines", "x": _numbers(x), "y": y, "line": line, "yaxis": "y3"}
            | {"hoverinfo": "skip", "showlegend": False, "connectgaps": False}
        )
    sides = np.asarray(info.sides)
    when = "<br>%{x|%Y-%m-%d %H:%M}<extra></extra>"
    for name, sign, side in (("long entry ▶", "triangle-right", "long"), ("short entry ◀", "triangle-left", "short")):
        hover = f"{side} opened at %{{y:.{places}f}}{when}"
        look = {"symbol": sign, "size": _size(len(info)), "color": _EQUITY, "line": {"width": 0}}
        points = (info.opened_ms, info.price_open)
        traces += _marks(info, name, sides == side, points, hovertemplate=hover, marker=look, yaxis="y3")
    all_of_them = np.ones(len(info), dtype=np.bool_)
    hover = f"closed at %{{y:.{places}f}}{when}"
    look = {"symbol": "x-thin", "size": _size(len(info)) - 2, "line": {"width": 1, "color": _TEXT}}
    points = (info.closed_ms, info.price_close)
    return traces + _marks(info, "exit ✕", all_of_them, points, hovertemplate=hover, marker=look, yaxis="y3")


def _line(name: str, points: tuple[NDArray[Any], NDArray[Any]], axis: str, value: str, **look: Any) -> dict[str, Any]:
    """A line on one of the axes; ``value`` is plotly's template for the value under the pointer."""
    kept_x, kept_y = decimate(*points)
    trace = {"type": "scatter", "mode": "lines", "name": name, "x": _numbers(kept_x), "y": kept_y, **look}
    hover = f"{value}<br>%{{x|%Y-%m-%d %H:%M}}<extra>{name}</extra>"
    return {**trace, "yaxis": axis, "hovertemplate": hover, "showlegend": False}


def _to_end(info: EquityInfo, times: Times, values: Floats) -> tuple[Times, Floats]:
    """A line extended to the end of the run."""
    if info.end_ms <= int(times[-1]):
        return times, values
    return np.append(times, info.end_ms), np.append(values, values[-1])


def _traces(info: EquityInfo) -> list[dict[str, Any]]:
    places = _places(info.price)
    price = {"color": _PRICE, "width": 1}
    look: Any = {"colour": _EQUITY, "stop": _LOSS, "size": _size(len(info)), "axis": "y3"}
    return [
        _line("price", (info.price_time_ms, info.price), "y3", f"%{{y:.{places}f}}", line=price),
        *_price_traces(info),
        *({**trace, "x": _numbers(trace["x"])} for trace in managed_traces(info.managed, **look)),
        *([] if info.missing else _equity_traces(info)),
    ]


def _equity_traces(info: EquityInfo) -> list[dict[str, Any]]:
    times, percent = _to_end(info, info.time_ms, (info.equity - 1.0) * 100.0)
    low_times, low = _to_end(info, info.drawdown_time_ms, info.drawdown_percent)
    below = {"color": _DRAWDOWN, "width": 1.2, "shape": "hv"}
    equity = {"color": _EQUITY, "width": 2, "shape": "hv"}
    filled = {"fill": "tozeroy", "fillcolor": "rgba(176,101,122,0.25)"}
    return [
        _line("drawdown", (low_times, _percents(low)), "y2", "%{y:.2f} %", line=below, **filled),
        _line("equity", (times, _percents(percent)), "y", "%{y:.2f} %", line=equity),
        *_trade_traces(info),
    ]


def _axis(title: str, domain: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": title, "font": {"size": 12}},
        "domain": list(domain),
        "gridcolor": _GRID,
        "zerolinecolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        **more,
    }


def _layout(info: EquityInfo) -> dict[str, Any]:
    return {
        "title": {"text": info.title, "font": {"size": 14}, "x": 0.01, "xanchor": "left"},
        "height": 620,
        "margin": {"l": 60, "r": 16, "t": 64, "b": 60},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"color": _TEXT, "size": 12},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "rgba(38,38,38,0.94)", "font": {"color": "#f4f4f4"}, "align": "left"},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom", "bgcolor": _CLEAR},
        "modebar": {"bgcolor": _CLEAR, "color": _TEXT, "activecolor": _EQUITY},
        "xaxis": {
            "type": "date",
            "anchor": "y3",
            "range": [info.start_ms, max(info.end_ms, info.start_ms + MINUTE_MS)],
            "gridcolor": _GRID,
            "zeroline": False,
            "title": {"text": "UTC", "font": {"size": 11}, "standoff": 4},
        },
        "yaxis": _axis("equity, %", (0.52, 1.0), ticksuffix=" %"),
        "yaxis2": _axis("drawdown, %", (0.36, 0.49), ticksuffix=" %", nticks=4),
        "yaxis3": _axis("price", (0.0, 0.33), tickformat="~f", zeroline=False),
        **({"annotations": [{"text": _none(info), **_IN_ITS_PLACE}]} if info.missing else {}),
    }


def _none(info: EquityInfo) -> str:
    """Why there is no equity."""
    return f"equity: not available, {info.missing}"


def _stored(value: Any) -> Any:
    """An array as plotly 6 and later write it: base64 of its bytes, a third of what digits would take."""
    if not isinstance(value, np.ndarray):
        return value
    import base64

    dtype = "f4" if value.dtype == np.float32 else "f8"
    data = np.ascontiguousarray(value, dtype=f"<{dtype}").tobytes()
    return {"dtype": dtype, "bdata": base64.b64encode(data).decode("ascii")}


def figure_json(result_or_info: Any) -> dict[str, Any]:
    """The picture as plotly's own JSON: what a notebook stores, made without importing plotly.

    Parameters
    ----------
    result_or_info : Result or EquityInfo

    Returns
    -------
    dict
        ``data``, ``layout`` and ``config``; times are UTC milliseconds on a date axis, no trace holds more than
        1600 points, and no template is included.
    """
    info = _as_info(result_or_info)
    return {
        "data": [{key: _stored(value) for key, value in trace.items()} for trace in _traces(info)],
        "layout": _layout(info),
        "config": {"responsive": True, "displaylogo": False},
    }


def graph_objects() -> Any:
    """The module of plotly with figures and traces; raises ``MissingDependency`` where plotly is not installed."""
    try:
        import plotly.graph_objects as go
    except ImportError:
        raise MissingDependency("plotly", purpose="a figure", extra="notebook") from None
    return go


def equity_figure(result_or_info: Any) -> Any:
    """Equity with drawdown and price below it, each trade marked, as a plotly figure.

    Parameters
    ----------
    result_or_info : Result or EquityInfo

    Returns
    -------
    plotly.graph_objects.Figure

    Raises
    ------
    MissingDependency
        When plotly is not installed.
    """
    go = graph_objects()
    info = _as_info(result_or_info)
    figure = go.Figure(data=_traces(info), layout=_layout(info))
    figure.layout.template = None
    return figure


# -- PNG ---------------------------------------------------------------------------------------------------------


def _dress(axes: Any, label: str) -> None:
    axes.set_facecolor("none")
    axes.set_ylabel(label, color=_TEXT, fontsize=8)
    axes.tick_params(colors=_TEXT, labelsize=8)
    axes.grid(visible=True, color="#808080", alpha=0.22, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color("#808080")
        spine.set_alpha(0.35)


def _draw(info: EquityInfo, top: Any, middle: Any, bottom: Any) -> None:
    def dates(ms: NDArray[Any]) -> NDArray[Any]:
        return ms.astype("datetime64[ms]")

    if info.missing:
        top.text(0.5, 0.5, _none(info), transform=top.transAxes, ha="center", color=_TEXT, fontsize=9)
    else:
        times, percent = _to_end(info, info.time_ms, (info.equity - 1.0) * 100.0)
        top.step(dates(times), percent, where="post", color=_EQUITY, linewidth=1.4)
        low_times, low = _to_end(info, info.drawdown_time_ms, info.drawdown_percent)
        middle.fill_between(dates(low_times), low, step="post", color=_DRAWDOWN, alpha=0.35, linewidth=0)
        middle.step(dates(low_times), low, where="post", color=_DRAWDOWN, linewidth=0.8)
    draw_marks(bottom, info.managed, colour=_EQUITY, stop=_LOSS, size=0.6 * _size(len(info)))
    bottom.plot(dates(info.price_time_ms), info.price, color=_PRICE, linewidth=0.8)
    won = info.pnl_percent > 0
    marks: Sequence[tuple[str, str, NDArray[np.bool_]]] = (("^", _WIN, won), ("v", _LOSS, ~won))
    for sign, colour, chosen in marks:
        rows = _pick(info, chosen)
        if not info.missing:
            percents = (info.trade_equity[rows] - 1.0) * 100.0
            top.plot(
                *(dates(info.closed_ms[rows]), percents, sign),
                color=colour,
                markersize=0.55 * _size(len(info)),
                linestyle="",
            )
        bottom.plot(
            dates(info.closed_ms[rows]), info.price_close[rows], "x", color=colour, markersize=0.4 * _size(len(info))
        )


def equity_png(result_or_info: Any, *, width_inches: float = 9.0, dots_per_inch: int = 100) -> bytes:
    """The equity plot as a PNG with a clear background, readable on light and dark pages.

    Parameters
    ----------
    result_or_info : Result or EquityInfo
    width_inches, dots_per_inch : float, int
        Size of the picture; its height is 0.56 of its width.

    Returns
    -------
    bytes

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    from importlib import import_module

    try:
        agg, dates, drawing = (
            import_module(f"matplotlib.{name}") for name in ("backends.backend_agg", "dates", "figure")
        )
    except ImportError:
        raise MissingDependency("matplotlib", purpose="a static picture", extra="notebook") from None
    import io

    info = _as_info(result_or_info)
    figure = drawing.Figure(figsize=(width_inches, 0.56 * width_inches), dpi=dots_per_inch)
    canvas = agg.FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 1, height_ratios=(48, 15, 32), hspace=0.1)
    top = figure.add_subplot(grid[0])
    middle = figure.add_subplot(grid[1], sharex=top)
    bottom = figure.add_subplot(grid[2], sharex=top)
    _draw(info, top, middle, bottom)
    for axes, label in ((top, "equity, %"), (middle, "drawdown, %"), (bottom, "price")):
        _dress(axes, label)
    for axes in (top, middle):
        axes.tick_params(labelbottom=False)
    start, end = info.start_ms, max(info.end_ms, info.start_ms + MINUTE_MS)
    top.set_xlim(np.datetime64(start, "ms"), np.datetime64(end, "ms"))
    locator = dates.AutoDateLocator()
    bottom.xaxis.set_major_locator(locator)
    bottom.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    bottom.xaxis.get_offset_text().set_color(_TEXT)
    top.set_title(f"{info.title}   (▲ win  ▼ loss, UTC)", color=_TEXT, fontsize=9, loc="left")
    sink = io.BytesIO()
    canvas.print_figure(sink, format="png", facecolor="none", bbox_inches="tight", metadata={"Software": None})
    return sink.getvalue()
