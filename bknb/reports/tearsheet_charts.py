"""The pictures of a tear sheet as HTML and SVG that need no script.

Lines are SVG that stretches to any width with strokes of one width; words stand beside and over them as HTML, at places
in percent of the width, so that they are never stretched. What is hatched or a bar is HTML.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.printed_text import printed_number, printed_percent
from .markup import Html, element, fragment
from .tearsheet_axes import Panel, decimals_of, spread, ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .equity_arrays import Floats, Times
    from .tearsheet_content import EquityLines, ExposureBars, Histogram, RollingSharpe

_GUTTER: Final = 58.0  # px for the axis on the right
SMALL_GUTTER: Final = 46.0  # of the small pictures
_LETTER: Final = 6.6  # px of a letter of the axis
_NEAR: Final = 17.0  # a tick nearer than this to a tag is left out, px
_LONG_WORD: Final = 16  # letters


def breakable(text: str, *kinds: str) -> str | None:
    """The classes of a cell: one with a very long word may be broken within words, so that it fits the page.

    Examples
    --------
    >>> breakable("trend on BTCUSDT"), breakable("a_name_of_many_letters", "r")
    (None, 'r any')
    """
    long = any(len(word) > _LONG_WORD for word in text.split())
    return " ".join(filter(None, (*kinds, "any" if long else ""))) or None


class _Axis(NamedTuple):
    """The values of a picture: lowest and highest, ticks with their words, and the words of the last values."""

    low: float
    high: float
    words: dict[float, str]
    tags: tuple[str, ...] = ()

    @property
    def gutter(self) -> float:
        """The room that its words need, px."""
        return max(_GUTTER, max(len(text) for text in (*self.words.values(), *self.tags)) * _LETTER + 16)


def _equity_axis(lines: EquityLines) -> _Axis:
    every = np.concatenate((lines.equity, lines.held, [lines.start_value]))
    low, high = float(every.min()), float(every.max())
    pad = (high - low) * 0.05 or abs(high) * 0.01 or 1.0
    marks = ticks(low - pad, high + pad, 4)
    exact = decimals_of(marks)
    tags = (
        printed_number(float(line[-1]), max(lines.decimals, exact)) for line in (lines.equity, lines.held) if len(line)
    )
    return _Axis(low - pad, high + pad, {at: printed_number(at, exact) for at in marks}, tuple(tags))


def _exposure_axis(bars: ExposureBars) -> tuple[float, float, dict[float, str]]:
    every = np.concatenate((bars.long, bars.short, bars.net))
    high, low = (float(each) for each in (np.nanmax(every, initial=0.0), np.nanmin(every, initial=0.0)))
    high, low = (high, low) if high - low > 1e-9 else (1.0, 0.0)
    marks = ticks(low, high, 4)
    return low, high, {value: printed_percent(value, decimals_of(marks)) for value in marks}


# -- pictures ------------------------------------------------------------------------------------------------------


def equity_chart(lines: EquityLines, end: int) -> Html:
    """Equity with what was held beside it, and below the drawdown on a scale of its own."""
    height, split, bottom = 262, 172, 240
    axis = _equity_axis(lines)
    low, high, words, (own, *others) = axis

    def y(value: Any) -> Any:
        return 8 + (high - value) / (high - low) * (split - 16)

    panel = Panel(int(lines.time_ms[0]), end, height, axis.gutter)
    panel.times(4, bottom, end)
    lasts = [float(y(lines.equity[-1])), *([float(y(lines.held[-1]))] if others else [])]
    places = spread(lasts)
    for value, word in words.items():
        panel.level(float(y(value)))
        if all(abs(float(y(value)) - place) > _NEAR for place in places):
            panel.label(float(y(value)), word)
    panel.level(float(y(lines.start_value)), "start")
    if others:
        panel.draw(panel.path(lines.held_ms, y(lines.held)), "line ref")
        panel.tag(places[1], others[0], "ref")
    panel.draw(panel.path(lines.time_ms, y(lines.equity)), "line eq")
    panel.tag(places[0], own, "eq")
    _drawdown(panel, lines, split + 26, bottom, end)
    return panel.html(_equity_words(lines, own))


def _equity_words(lines: EquityLines, own: str) -> str:
    beside = f", with {lines.held_name}" if lines.held_name else ""
    below = f"largest {printed_percent(lines.largest[3])}" if lines.largest else "none"
    return f"Equity of {lines.name}{beside}: {own} {lines.unit} at the end; drawdown below: {below}"


def _drawdown(panel: Panel, lines: EquityLines, top: float, bottom: float, end: int) -> None:
    low = float(lines.drawdown.min(initial=0.0)) * 1.1
    marks = ticks(low, 0.0, 3) if low < -1e-6 else []
    low = min(low, -1e-6)

    def y(value: Any) -> Any:
        return top + value / low * (bottom - top)

    panel.level(top, "axis")
    panel.label(top, printed_percent(0.0, 0))
    for value in marks:
        if value < 0 and float(y(value)) - top > 11 and bottom - float(y(value)) > 2:
            panel.level(float(y(value)))
            panel.label(float(y(value)), printed_percent(value, decimals_of(marks)))
    path = panel.path(lines.drawdown_ms, y(lines.drawdown))
    if not path:
        return
    last = panel.percent(min(int(lines.drawdown_ms[-1]), end)) * 10
    first = panel.percent(int(lines.drawdown_ms[0])) * 10
    panel.draw(f"{path}L{last:.1f} {top:.1f}H{first:.1f}Z", "fall")
    panel.draw(path, "line down")
    if lines.largest is None:
        return
    begin, trough, over, depth, _ = lines.largest
    left, right, lowest = (panel.percent(when) for when in (begin, over, trough))
    panel.draw(
        f"M{left * 10:.1f} {top - 6:.1f}V{top - 1:.1f}M{left * 10:.1f} {top - 3.5:.1f}H{right * 10:.1f}"
        f"M{right * 10:.1f} {top - 6:.1f}V{top - 1:.1f}",
        "line down",
    )
    panel.words.append(element("i", class_="dot", style=f"left:{lowest:.2f}%;top:{float(y(-depth)):.1f}px"))
    days = element("span", f", {lines.largest_days}", class_="more")
    words = fragment(f"largest {printed_percent(depth)}", days)
    side = f"left:{left:.2f}%" if left < 55 else f"right:{100 - min(right, 100):.2f}%"
    panel.words.append(element("span", words, class_="note", style=f"{side};top:{top - 24:.0f}px"))


def exposure_chart(bars: ExposureBars) -> Html:
    """What was held long and short, percent of the equity."""
    height, bottom = 128, 106
    low, high, words = _exposure_axis(bars)

    def y(value: Any) -> Any:
        return 6 + (high - value) / (high - low) * (bottom - 12)

    panel = Panel(int(bars.time_ms[0]), bars.end_ms, height, SMALL_GUTTER)
    panel.times(4, bottom, bars.end_ms, most=4)
    for value, word in words.items():
        panel.level(float(y(value)))
        panel.label(float(y(value)), word)
    zero = float(y(0.0))
    time = np.append(bars.time_ms, bars.end_ms)
    for name, values in (("long", bars.long), ("short", bars.short)):
        closed: Floats = np.append(values, values[-1])
        if name == "short":
            panel.words.append(_hatched(panel, time, y(np.nan_to_num(closed)), zero))
        else:
            outline = panel.path(time, y(np.nan_to_num(closed)), steps=True)
            panel.draw(f"{outline}V{zero:.1f}H0Z", "long")
        panel.draw(panel.path(time, y(closed), steps=True), f"line {name}-edge")
    panel.level(zero, "axis")
    panel.draw(panel.path(time, y(np.append(bars.net, bars.net[-1])), steps=True), "line net")
    told = f"Exposure in percent of the equity, means of {bars.stretch}: most {printed_percent(high, 0)} long, "
    return panel.html(told + f"{printed_percent(-low, 0)} short")


def rolling_chart(line: RollingSharpe) -> Html:
    """The Sharpe ratio of the last days over time; the first of them are hatched."""
    height, bottom = 128, 106
    known = line.values[~np.isnan(line.values)]
    low, high = min(float(known.min()), 0.0), max(float(known.max()), 0.0)
    high = high if high - low > 1e-9 else low + 1.0
    marks = ticks(low, high, 3)

    def y(value: Any) -> Any:
        return 6 + (high - value) / (high - low) * (bottom - 12)

    panel = Panel(line.start_ms, line.end_ms, height, SMALL_GUTTER)
    panel.times(4, bottom, line.end_ms, most=4)
    for value in marks:
        panel.level(float(y(value)), "axis" if value == 0.0 else "grid")
        panel.label(float(y(value)), printed_number(value, decimals_of(marks)))
    until = panel.percent(int(line.time_ms[0]))
    wide = f"left:0;width:{until:.2f}%;top:4px;height:{bottom - 4}px"
    panel.words.append(element("div", class_="hatch before", style=wide))
    panel.draw(panel.path(line.time_ms, y(line.values)), "line eq")
    last = printed_number(float(known[-1]))
    return panel.html(f"Sharpe ratio of the last {line.days} days over time: {last} at the end")


def _hatched(panel: Panel, time: Times, y: Floats, zero: float) -> Html:
    """A hatched area between steps and the zero line: HTML, so that its lines are not stretched."""
    if not (y > zero + 0.05).any():
        return Html("")
    across = [panel.percent(when) for when in time.tolist()]
    places = [f"0 {zero:.1f}px"]
    before = zero
    for at, down in zip(across, y.tolist(), strict=True):
        places += [f"{at:.2f}% {before:.1f}px", f"{at:.2f}% {down:.1f}px"]
        before = down
    places.append(f"100% {zero:.1f}px")
    return element("div", class_="hatch short", style=f"clip-path:polygon({','.join(places)})")


def histogram(bars: Histogram) -> Html:
    """How many trades had which result, losses hatched."""
    most = max(bars.counts) or 1
    columns = []
    for count, left, right in zip(bars.counts, bars.edges[:-1], bars.edges[1:], strict=True):
        kind = "won" if left >= -1e-12 else "lost hatch"
        told = f"{count:,} from {printed_number(float(left))} to {printed_number(float(right))} {bars.unit}"
        tall = f"height:{100 * count / most:.1f}%"
        columns.append(element("i", class_=kind if count else "", style=tall if count else "height:0", title=told))
    low, span = float(bars.edges[0]), float(bars.edges[-1] - bars.edges[0])
    marks = [at for at in ticks(low, low + span, 4) if 4 < 100 * (at - low) / span < 96 or at == 0.0]
    below = (
        element(
            "span", printed_number(at, decimals_of(marks), signed=True), style=f"left:{100 * (at - low) / span:.2f}%"
        )
        for at in marks
    )
    losses = sum(count for count, left in zip(bars.counts, bars.edges, strict=False) if left < -1e-12)
    described = f"Trades by result in {bars.unit}: {losses:,} bars below zero, mean {bars.mean}"
    return element(
        "div",
        element("div", *columns, class_="columns"),
        element("div", *below, class_="below"),
        class_="histogram",
        role="img",
        aria_label=described.replace(" bars below zero", " lost"),
    )


def leg_bars(rows: Sequence[tuple[str, Any]]) -> Html:
    """What each leg made as a bar from the zero line, losses hatched."""
    low = min((cell.bar for _, cell in rows), default=0.0)
    high = max((cell.bar for _, cell in rows), default=0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    span = (high - low) or 1.0
    zero = 100 * abs(low) / span
    lines = []
    for name, cell in rows:
        wide = 100 * abs(cell.bar) / span
        left = zero - wide if cell.bar < 0 else zero
        kind = "lost hatch" if cell.bar < 0 else "won"
        bar = element("i", class_=kind, style=f"left:{left:.2f}%;width:{wide:.2f}%")
        area = element("td", element("div", element("b", style=f"left:{zero:.2f}%"), bar, class_="bar"), class_="bars")
        lines.append(
            element(
                "tr",
                element("th", name, scope="row", class_=breakable(name)),
                area,
                element("td", cell.text, class_=f"r {_TONES[cell.tone]}".rstrip()),
            )
        )
    return element("table", element("tbody", *lines), class_="legs")


_TONES: Final = {1: "up", -1: "down", 0: ""}
