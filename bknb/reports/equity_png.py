"""The equity plot of a run as a static PNG, where no script runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..errors import MissingDependency
from .equity_arrays import EquityInfo
from .managed_marks import draw_marks
from .plots import DRAWDOWN, EQUITY, LOSS, PRICE, TEXT, WIN, as_info, mark_size, picked_trades, to_end, without_equity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_MARGIN_INCHES: Final = 0.1
_INCHES: Final = (9.0, 0.56 * 9.0)
_DOTS_PER_INCH: Final = 100


def _dress(axes: Any, label: str) -> None:
    axes.set_facecolor("none")
    axes.set_ylabel(label, color=TEXT, fontsize=8)
    axes.tick_params(colors=TEXT, labelsize=8)
    axes.grid(visible=True, color="#808080", alpha=0.22, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_color("#808080")
        spine.set_alpha(0.35)


def _draw(info: EquityInfo, top: Any, middle: Any, bottom: Any) -> None:
    def dates(ms: NDArray[Any]) -> NDArray[Any]:
        return ms.astype("datetime64[ms]")

    if info.missing:
        top.text(0.5, 0.5, without_equity(info), transform=top.transAxes, ha="center", color=TEXT, fontsize=9)
    else:
        if (held := info.benchmark) is not None and held.is_above_zero:
            top.plot(dates(held.time_ms), held.percent, color=PRICE, linewidth=0.9)
        times, percent = to_end(info, info.time_ms, (info.equity - 1.0) * 100.0)
        top.step(dates(times), percent, where="post", color=EQUITY, linewidth=1.4)
        low_times, low = to_end(info, info.drawdown_time_ms, info.drawdown_percent)
        middle.fill_between(dates(low_times), low, step="post", color=DRAWDOWN, alpha=0.35, linewidth=0)
        middle.step(dates(low_times), low, where="post", color=DRAWDOWN, linewidth=0.8)
    draw_marks(bottom, info.managed, colour=EQUITY, stop=LOSS, size=0.6 * mark_size(len(info)))
    bottom.plot(dates(info.price_time_ms), info.price, color=PRICE, linewidth=0.8)
    won = info.results > 0
    marks: Sequence[tuple[str, str, NDArray[np.bool_]]] = (("^", WIN, won), ("v", LOSS, ~won))
    for sign, colour, chosen in marks:
        rows = picked_trades(info, chosen)
        if not info.missing:
            percents = (info.trade_equity[rows] - 1.0) * 100.0
            top.plot(
                *(dates(info.closed_ms[rows]), percents, sign),
                color=colour,
                markersize=0.55 * mark_size(len(info)),
                linestyle="",
            )
        bottom.plot(
            dates(info.closed_ms[rows]),
            info.price_close[rows],
            "x",
            color=colour,
            markersize=0.4 * mark_size(len(info)),
        )


def equity_png(result_or_info: Any) -> bytes:
    """The equity plot as a PNG with a clear background, readable on light and dark pages.

    Parameters
    ----------
    result_or_info : Result or EquityInfo

    Returns
    -------
    bytes

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    info = as_info(result_or_info)
    return panels_png(
        lambda top, middle, bottom: _draw(info, top, middle, bottom),
        labels=("equity, %", "drawdown, %", "price"),
        title=f"{info.title}   (▲ win  ▼ loss, UTC)",
        start_ms=info.start_ms,
        end_ms=max(info.end_ms, info.start_ms + MINUTE_MS),
    )


def panels_png(
    draw: Callable[[Any, Any, Any], None],
    *,
    labels: tuple[str, str, str],
    title: str,
    start_ms: int,
    end_ms: int,
) -> bytes:
    """Three panels above each other as a PNG with a clear background.

    Parameters
    ----------
    draw
        Is given the axes of the panels, the top one first.
    labels, title
        What stands beside the panels and above them.
    start_ms, end_ms
        First and last moment of the time axis, UTC ms.

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    from importlib import import_module

    try:
        agg, dates, drawing, ticker = (
            import_module(f"matplotlib.{name}") for name in ("backends.backend_agg", "dates", "figure", "ticker")
        )
    except ImportError:
        raise MissingDependency("matplotlib", purpose="a static picture", extra="notebook") from None
    import io

    figure = drawing.Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH)
    canvas = agg.FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 1, height_ratios=(48, 15, 32), hspace=0.1)
    top = figure.add_subplot(grid[0])
    middle = figure.add_subplot(grid[1], sharex=top)
    bottom = figure.add_subplot(grid[2], sharex=top)
    draw(top, middle, bottom)
    for axes, label in zip((top, middle, bottom), labels, strict=True):
        _dress(axes, label)
    for axes in (top, middle):
        axes.tick_params(labelbottom=False)
    top.set_xlim(np.datetime64(start_ms, "ms"), np.datetime64(end_ms, "ms"))
    locator = dates.AutoDateLocator()
    bottom.xaxis.set_major_locator(locator)
    formatter, places = dates.ConciseDateFormatter(locator), locator()
    labelled = ticker.FixedFormatter(formatter.format_ticks(places))  # once: drawing asks for them 30 times
    labelled.set_offset_string(formatter.get_offset())
    bottom.xaxis.set_major_locator(ticker.FixedLocator(places))
    bottom.xaxis.set_major_formatter(labelled)
    bottom.xaxis.get_offset_text().set_color(TEXT)
    top.set_title(title, color=TEXT, fontsize=9, loc="left")
    sink = io.BytesIO()
    box = figure.get_tightbbox(canvas.get_renderer()).padded(_MARGIN_INCHES)  # "tight" draws all of it once more for it
    canvas.print_figure(sink, format="png", facecolor="none", bbox_inches=box, metadata={"Software": None})
    return sink.getvalue()
