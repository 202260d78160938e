"""The interactive figure of a run, made for plotly from an info object of plain arrays.

The figure is written for light and dark pages alike: nothing is filled with a page colour, the text is mid-grey, and
wins and losses differ by sign (▲ ▼) before they differ by colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import minute_text, price_decimals
from ..domain.interval import MINUTE_MS
from ..errors import MissingDependency
from .equity_arrays import EquityInfo, Floats, Times, equity_info
from .fewer_points_of_lines import decimate, extremes
from .managed_marks import managed_traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PLOTLY_MIME: Final = "application/vnd.plotly.v1+json"

MARKS_PER_TRACE: Final = 1000
"""Most trades of one kind that are marked: each carries its story for the pointer, and a notebook must stay small."""

TEXT = "#808080"
_GRID = "rgba(128,128,128,0.22)"
EQUITY = "#3b82d6"
DRAWDOWN = "#b0657a"
PRICE = "#9a9a9a"
WIN = "#1a9e77"
LOSS = "#d9622b"
_CLEAR = "rgba(0,0,0,0)"
_IN_ITS_PLACE: Final = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.76, "showarrow": False}


def as_info(result_or_info: Any) -> EquityInfo:
    """Return the info object of a result, or the one that was given."""
    return result_or_info if isinstance(result_or_info, EquityInfo) else equity_info(result_or_info)


def _numbers(values: Any) -> Floats:
    """Times and prices as plotly stores them: eight bytes each, base64 in JSON."""
    return np.asarray(values, dtype=np.float64)


def percents(values: Any) -> NDArray[np.float32]:
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
        f"{info.sides[index]} {info.result_text(index)} ({info.reasons[index].replace('_', ' ')})"
        f"<br>{opened:.{places}f} at {minute_text(int(info.opened_ms[index]))}"
        f"<br>{closed:.{places}f} at {minute_text(int(info.closed_ms[index]))}"
    )


def picked_trades(info: EquityInfo, chosen: NDArray[np.bool_], limit: int = MARKS_PER_TRACE) -> NDArray[np.intp]:
    """The trades to draw: all, or those that keep the best and the worst of each stretch."""
    rows = np.flatnonzero(chosen)
    return rows[extremes(info.results[rows], limit)]


def mark_size(count: int) -> int:
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
    rows = picked_trades(info, chosen)
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
    won = info.results > 0
    percent = percents((info.trade_equity - 1.0) * 100.0)
    for name, sign, colour, chosen in (
        ("win ▲", "triangle-up", WIN, won),
        ("loss ▼", "triangle-down", LOSS, ~won),
    ):
        look = {"symbol": sign, "size": mark_size(len(info)), "color": colour, "line": {"width": 0}}
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
    won = info.results > 0
    for colour, dash, chosen in ((WIN, "solid", won), (LOSS, "dot", ~won)):
        rows = picked_trades(info, chosen, MARKS_PER_TRACE // 2)
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
        look = {"symbol": sign, "size": mark_size(len(info)), "color": EQUITY, "line": {"width": 0}}
        points = (info.opened_ms, info.price_open)
        traces += _marks(info, name, sides == side, points, hovertemplate=hover, marker=look, yaxis="y3")
    all_of_them = np.ones(len(info), dtype=np.bool_)
    hover = f"closed at %{{y:.{places}f}}{when}"
    look = {"symbol": "x-thin", "size": mark_size(len(info)) - 2, "line": {"width": 1, "color": TEXT}}
    points = (info.closed_ms, info.price_close)
    return traces + _marks(info, "exit ✕", all_of_them, points, hovertemplate=hover, marker=look, yaxis="y3")


def line_trace(
    name: str, points: tuple[NDArray[Any], NDArray[Any]], axis: str, value: str, **look: Any
) -> dict[str, Any]:
    """A line on one of the axes; ``value`` is plotly's template for the value under the pointer."""
    kept_x, kept_y = decimate(*points)
    trace = {"type": "scatter", "mode": "lines", "name": name, "x": _numbers(kept_x), "y": kept_y, **look}
    hover = f"{value}<br>%{{x|%Y-%m-%d %H:%M}}<extra>{name}</extra>"
    return {**trace, "yaxis": axis, "hovertemplate": hover, "showlegend": False}


def to_end(info: EquityInfo, times: Times, values: Floats) -> tuple[Times, Floats]:
    """A line extended to the end of the run."""
    if info.end_ms <= int(times[-1]):
        return times, values
    return np.append(times, info.end_ms), np.append(values, values[-1])


def _traces(info: EquityInfo) -> list[dict[str, Any]]:
    places = _places(info.price)
    price = {"color": PRICE, "width": 1}
    look: Any = {"colour": EQUITY, "stop": LOSS, "size": mark_size(len(info)), "axis": "y3"}
    return [
        line_trace("price", (info.price_time_ms, info.price), "y3", f"%{{y:.{places}f}}", line=price),
        *_price_traces(info),
        *({**trace, "x": _numbers(trace["x"])} for trace in managed_traces(info.managed, **look)),
        *([] if info.missing else _equity_traces(info)),
    ]


def _equity_traces(info: EquityInfo) -> list[dict[str, Any]]:
    times, percent = to_end(info, info.time_ms, (info.equity - 1.0) * 100.0)
    low_times, low = to_end(info, info.drawdown_time_ms, info.drawdown_percent)
    below = {"color": DRAWDOWN, "width": 1.2, "shape": "hv"}
    equity = {"color": EQUITY, "width": 2, "shape": "hv"}
    filled = {"fill": "tozeroy", "fillcolor": "rgba(176,101,122,0.25)"}
    return [
        *_benchmark_traces(info),
        line_trace("drawdown", (low_times, percents(low)), "y2", "%{y:.2f} %", line=below, **filled),
        line_trace("equity", (times, percents(percent)), "y", "%{y:.2f} %", line=equity),
        *_trade_traces(info),
    ]


def _benchmark_traces(info: EquityInfo) -> list[dict[str, Any]]:
    """What holding the benchmark would have made, percent after one round of costs, as a grey line."""
    if (benchmark := info.benchmark) is None or not benchmark.is_above_zero:
        return []
    points = (benchmark.time_ms, percents(benchmark.percent))
    line = line_trace(f"{benchmark.name} held", points, "y", "%{y:.2f} %", line={"color": PRICE, "width": 1.2})
    return [line | {"showlegend": True}]


def panel_axis(title: str, domain: tuple[float, float], **more: Any) -> dict[str, Any]:
    """The axis of a panel that takes a part of the height."""
    return {
        "title": {"text": title, "font": {"size": 12}},
        "domain": list(domain),
        "gridcolor": _GRID,
        "zerolinecolor": "rgba(128,128,128,0.5)",
        "automargin": True,
        **more,
    }


_AT_THE_TOP: Final = {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 10}}
"""Where a title has place above two rows of the legend, as it has in a narrow cell."""


def figure_layout(title: str, start_ms: int, end_ms: int) -> dict[str, Any]:
    """The layout of a figure of three panels without their axes; the time axis goes between two moments, UTC ms."""
    return {
        "title": {"text": title, "font": {"size": 14}, "x": 0.01, "xanchor": "left", **_AT_THE_TOP},
        "height": 636,
        "margin": {"l": 60, "r": 16, "t": 80, "b": 60},
        "paper_bgcolor": _CLEAR,
        "plot_bgcolor": _CLEAR,
        "font": {"color": TEXT, "size": 12},
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "rgba(38,38,38,0.94)", "font": {"color": "#f4f4f4"}, "align": "left"},
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom", "bgcolor": _CLEAR},
        "modebar": {"bgcolor": _CLEAR, "color": TEXT, "activecolor": EQUITY},
        "xaxis": {
            "type": "date",
            "anchor": "y3",
            "range": [start_ms, end_ms],
            "gridcolor": _GRID,
            "zeroline": False,
            "title": {"text": "UTC", "font": {"size": 11}, "standoff": 4},
        },
    }


def _layout(info: EquityInfo) -> dict[str, Any]:
    return {
        **figure_layout(info.title, info.start_ms, max(info.end_ms, info.start_ms + MINUTE_MS)),
        "yaxis": panel_axis("equity, %", (0.52, 1.0), ticksuffix=" %"),
        "yaxis2": panel_axis("drawdown, %", (0.36, 0.49), ticksuffix=" %", nticks=4),
        "yaxis3": panel_axis("price", (0.0, 0.33), tickformat="~f", zeroline=False),
        **({"annotations": [{"text": without_equity(info), **_IN_ITS_PLACE}]} if info.missing else {}),
    }


def without_equity(info: EquityInfo) -> str:
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
    info = as_info(result_or_info)
    return figure_dict(_traces(info), _layout(info))


def figure_dict(traces: list[dict[str, Any]], layout: dict[str, Any]) -> dict[str, Any]:
    """Traces and layout as plotly's own JSON."""
    return {
        "data": [{key: _stored(value) for key, value in trace.items()} for trace in traces],
        "layout": layout,
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
    info = as_info(result_or_info)
    figure = go.Figure(data=_traces(info), layout=_layout(info))
    figure.layout.template = None
    return figure
