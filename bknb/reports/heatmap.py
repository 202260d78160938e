"""A figure of a sweep over two parameters: an info object of plain arrays first, then a plotly figure made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnknownName, UsageError
from ..metrics.trade_definitions import lower_is_better
from .plots import graph_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXT = "#808080"
_CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatmapInfo:
    """Values over two parameters.

    Attributes
    ----------
    x, y : str
        Names of the parameters; ``y`` is empty when only one was varied.
    x_values, y_values : list
        Their values, in order.
    values : ndarray of float64, shape (len(y_values), len(x_values))
        The best value over all other parameters; NaN where there is none. With several symbols a value is the mean
        that the ranking has.
    value : str
        Name of the figure.
    """

    x: str
    y: str
    x_values: list[Any]
    y_values: list[Any]
    values: NDArray[np.float64]
    value: str
    title: str


def heatmap_info(result: Any, x: str | None = None, y: str | None = None, *, value: str | None = None) -> HeatmapInfo:
    """The values of a sweep over two of its parameters; by default the first two that were varied.

    Raises
    ------
    UnknownName
        For a parameter or a figure the sweep does not have.
    """
    table, names, columns_of = result.table, list(result.params), result.param_columns
    value = value or result.metric
    for name in (x, y):
        if name is not None and name not in names:
            raise UnknownName("parameter", str(name), known=names)
    means = result.means(value)
    varied = [name for name in names if table[columns_of[name]].map(repr).nunique() > 1] or names
    if not varied:
        raise UsageError("the sweep varied no parameter; there is nothing to draw")
    x = x or next((name for name in varied if name != y), varied[0])
    y = y or next((name for name in varied if name != x), "")
    x_values, y_values = _ordered(table[columns_of[x]]), _ordered(table[columns_of[y]]) if y else [""]
    columns = {repr(one): at for at, one in enumerate(x_values)}
    lines = {repr(one): at for at, one in enumerate(y_values)}
    grid = np.full((len(y_values), len(x_values)), np.nan)
    firsts = table.groupby(level=0)[list(columns_of.values())].first()
    better = np.fmin if lower_is_better(value) else np.fmax
    ys = firsts[columns_of[y]] if y else [""] * len(firsts)
    for at_x, at_y, one in zip(firsts[columns_of[x]], ys, means, strict=True):
        where = lines[repr(at_y)], columns[repr(at_x)]
        grid[where] = better(grid[where], one)
    rest = [name for name in varied if name not in (x, y)]
    title = f"{result.strategy}: {value}" + (f", the best over {', '.join(rest)}" if rest else "")
    return HeatmapInfo(x=x, y=y, x_values=x_values, y_values=y_values, values=grid, value=value, title=title)


def _ordered(column: Any) -> list[Any]:
    """The different values, ascending where they have an order."""
    values = list({repr(one): one for one in column.tolist()}.values())
    try:
        return sorted(values)
    except TypeError:
        return values


def heatmap_figure(info: HeatmapInfo) -> Any:
    """The values as a plotly heat map; a line when only one parameter was varied.

    Raises
    ------
    MissingDependency
        Without plotly.
    """
    go = graph_objects()
    xs, ys = [str(one) for one in info.x_values], [str(one) for one in info.y_values]
    trace: Any
    if info.y:
        trace = go.Heatmap(
            x=xs, y=ys, z=info.values, colorscale="Viridis", hoverongaps=False, colorbar={"title": info.value},
            hovertemplate=f"{info.x} %{{x}}<br>{info.y} %{{y}}<br>{info.value} %{{z:.4g}}<extra></extra>",
        )  # fmt: skip
    else:
        trace = go.Scatter(x=xs, y=info.values[0], mode="lines+markers", name=info.value)
    axis = {"type": "category", "gridcolor": "rgba(128,128,128,0.22)"}
    return go.Figure(
        data=[trace],
        layout={
            "title": {"text": info.title},
            "xaxis": {"title": {"text": info.x}, **axis},
            "yaxis": {"title": {"text": info.y or info.value}, **(axis if info.y else {})},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "font": {"color": _TEXT},
        },
    )
