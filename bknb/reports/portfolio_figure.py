"""The figure of a portfolio with a capital: equity in money with its benchmark, drawdown, and exposure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.interval import MINUTE_MS
from .equity_png import panels_png
from .plots import (
    DRAWDOWN,
    EQUITY,
    LOSS,
    PRICE,
    figure_dict,
    figure_layout,
    graph_objects,
    line_trace,
    panel_axis,
    percents,
)

if TYPE_CHECKING:
    from ..metrics.benchmark_figures import Benchmark

_LONG: Final = "rgba(59,130,214,0.35)"
_SHORT: Final = "rgba(217,98,43,0.35)"
_FILLS: Final = {"drawdown": DRAWDOWN, "long": EQUITY, "short": LOSS}
"""Colours of what is filled down to 0."""


def _held(benchmark: Benchmark | None, capital: float) -> list[dict[str, Any]]:
    """What the capital would be worth in the benchmark, after one round of costs, as a grey line."""
    if benchmark is None or not benchmark.is_above_zero:
        return []
    points = (benchmark.time_ms, (1.0 + benchmark.percent / 100.0) * capital)
    line = line_trace(f"{benchmark.name} held", points, "y", "%{y:,.2f}", line={"color": PRICE, "width": 1.2})
    return [line | {"showlegend": True}]


def portfolio_traces(result: Any) -> list[dict[str, Any]]:
    """The lines of a PortfolioResult, none with more than 1600 points; raises as its ``equity``."""
    marked, exposure = result.marked, result.exposure
    steps: Any = {"shape": "hv"}
    area: Any = {"fill": "tozeroy"}
    below = (marked.path_time_ms, percents(marked.drawdown))
    shown = [
        *_held(result.benchmark, result.capital),
        line_trace(
            "equity", (marked.time_ms, marked.equity * result.capital), "y", "%{y:,.2f}",
            line={"color": EQUITY, "width": 2, **steps},
        ),
        line_trace(
            "drawdown", below, "y2", "%{y:.2f} %",
            line={"color": DRAWDOWN, "width": 1.2, **steps}, fillcolor="rgba(176,101,122,0.25)", **area,
        ),
    ]  # fmt: skip
    for name, colour in (("long", _LONG), ("short", _SHORT)):
        points = (marked.time_ms, percents(exposure[name].to_numpy()))
        line = {"color": colour, "width": 0.8, **steps}
        trace = line_trace(name, points, "y3", "%{y:.1f} %", line=line, fillcolor=colour, **area)
        shown.append(trace | {"showlegend": True})
    net = (marked.time_ms, percents(exposure["net"].to_numpy()))
    line = line_trace("net", net, "y3", "%{y:.1f} %", line={"color": PRICE, "width": 1, **steps})
    shown.append(line | {"showlegend": True})
    return shown


def _layout(result: Any) -> dict[str, Any]:
    start, end = _span(result)
    return figure_layout(_title(result), start, end) | {
        "yaxis": panel_axis(_money(result), (0.52, 1.0), tickformat=",~f"),
        "yaxis2": panel_axis("drawdown, %", (0.36, 0.49), ticksuffix=" %", nticks=4),
        "yaxis3": panel_axis("exposure, %", (0.0, 0.33), ticksuffix=" %"),
    }


def _title(result: Any) -> str:
    return f"{result.name} · {'1 leg' if len(result.legs) == 1 else f'{len(result.legs):,} legs'}"


def _money(result: Any) -> str:
    return f"equity, {result.run_account.currency}".rstrip(", ")


def _span(result: Any) -> tuple[int, int]:
    """First and last moment of the time axis, UTC ms."""
    times = result.marked.time_ms
    return int(times[0]), max(int(times[-1]), int(times[0]) + MINUTE_MS)


def portfolio_figure_json(result: Any) -> dict[str, Any]:
    """The figure as plotly's own JSON, made without plotly; raises as the ``equity`` of the PortfolioResult."""
    return figure_dict(portfolio_traces(result), _layout(result))


def portfolio_figure(result: Any) -> Any:
    """The figure of a PortfolioResult as a plotly figure; raises as its ``equity``, and without plotly.

    Raises
    ------
    MissingDependency
        When plotly is not installed.
    """
    figure = graph_objects().Figure(data=portfolio_traces(result), layout=_layout(result))
    figure.layout.template = None
    return figure


def portfolio_png(result: Any) -> bytes:
    """The figure as a PNG with a clear background, readable on light and dark pages.

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    start, end = _span(result)
    return panels_png(
        lambda top, middle, bottom: _draw(result, top, middle, bottom),
        labels=(_money(result), "drawdown, %", "exposure, %"),
        title=f"{_title(result)}   (UTC)",
        start_ms=start,
        end_ms=end,
    )


def _draw(result: Any, top: Any, middle: Any, bottom: Any) -> None:
    panels = {"y": top, "y2": middle, "y3": bottom}
    for trace in portfolio_traces(result):
        axes, times = panels[trace["yaxis"]], trace["x"].astype("datetime64[ms]")
        if trace["name"] in _FILLS:
            axes.fill_between(times, trace["y"], step="post", color=_FILLS[trace["name"]], alpha=0.35, linewidth=0)
        else:
            axes.step(
                times, trace["y"], where="post", color=trace["line"]["color"], linewidth=0.7 * trace["line"]["width"]
            )
