"""A chart as HTML that fits any width: lines and areas in a picture that stretches, beside texts that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.formatting import day_text, minute_text
from .markup import Html, element, fragment
from .svg_source import svg_source
from .tearsheet_axes import decimals_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .equity_arrays import Floats, Times

_WIDTH: Final = 1000  # of the picture, in units of its own: it is stretched
_LABELS: Final = 76  # pixels at the right for the texts of the levels
_TEXT: Final = "position:absolute;white-space:nowrap;font-size:85%;opacity:0.75;font-variant-numeric:tabular-nums"
_DAY_MS: Final = 86_400_000


class Line(NamedTuple):
    """A line of a chart, in steps; ``filled`` draws an area from 0 in its place. NaN is a gap of an area."""

    values: Floats
    colour: str
    width: float = 1.4
    filled: bool = False


def chart(
    times: Times,
    lines: Sequence[Line],
    *,
    start: int,
    end: int,
    height: int,
    alt: str,
    unit: str = "",
    mark: float | None = None,
) -> Html:
    """Lines over time.

    Parameters
    ----------
    times
        Moments of all lines, UTC ms, ascending; shape (m,), m > 0.
    lines
        What is drawn, in order; values of shape (m,).
    start, end
        First and last moment of the axis, UTC ms.
    height
        Pixels.
    alt
        The picture in a sentence.
    unit
        What stands behind the texts of the levels.
    mark
        A level with a dotted line of its own, such as the capital.
    """
    known = np.concatenate([line.values[~np.isnan(line.values)] for line in lines] or [np.zeros(1)])
    more = [0.0] if any(line.filled for line in lines) else []
    more += [] if mark is None else [mark]
    low, high = float(min([*known, *more])), float(max([*known, *more]))
    if high - low < 1e-9 * max(abs(high), 1.0):
        low, high = low - 1.0, high + 1.0
    room = 0.06 * (high - low)
    low, high = low - room, high + room
    levels = nice_levels(low, high)

    def down(value: float) -> float:
        return (high - value) / (high - low) * height

    across = (times - start) / max(end - start, 1) * _WIDTH
    rules = [_rule(down(level), "#808080", "0.22") for level in levels]
    rules += [] if mark is None else [_rule(down(mark), "#808080", "0.8", "2 3")]
    shapes = [_shape(across, line, [down(value) for value in np.nan_to_num(line.values)], down(0.0)) for line in lines]
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" preserveAspectRatio="none">'
        f"{''.join([*rules, *shapes])}</svg>"
    )
    picture = element(
        "img",
        alt=alt,
        src=svg_source(drawn),
        style="position:absolute;left:0;top:0;width:100%;height:100%;max-width:none",
    )
    inner = element(
        "div",
        picture,
        _moments(start, end),
        style=f"position:absolute;left:0;right:{_LABELS}px;top:0;height:{height}px",
    )
    texts = (_level(level, down(level), height, unit, levels) for level in levels)
    return element("div", inner, *texts, style=f"position:relative;height:{height + 22}px;margin:4px 0")


def _rule(y: float, colour: str, opacity: str, dashes: str = "") -> str:
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<path d="M0 {y:.1f}H{_WIDTH}" stroke="{colour}" stroke-opacity="{opacity}"{dashed} '
        'vector-effect="non-scaling-stroke"/>'
    )


def _shape(across: Floats, line: Line, down: Sequence[float], zero: float) -> str:
    steps = [f"M{across[0]:.1f} {down[0]:.1f}"]
    steps += [f"H{x:.1f}V{y:.1f}" for x, y in zip(across[1:], down[1:], strict=True)]
    if line.filled:
        area = f"M{across[0]:.1f} {zero:.1f}V{down[0]:.1f}{''.join(steps[1:])}V{zero:.1f}Z"
        return f'<path d="{area}" fill="{line.colour}"/>'
    return (
        f'<path d="{"".join(steps)}" fill="none" stroke="{line.colour}" stroke-width="{line.width}" '
        'vector-effect="non-scaling-stroke"/>'
    )


def nice_levels(low: float, high: float) -> list[float]:
    """Round levels between two values, at most five.

    Examples
    --------
    >>> nice_levels(9_412.0, 12_900.0)
    [10000.0, 11000.0, 12000.0]
    >>> nice_levels(-0.7, 1.2)
    [-0.5, 0.0, 0.5, 1.0]
    """
    rough = (high - low) / 5
    size = 10.0 ** np.floor(np.log10(rough))
    step = float(next(size * each for each in (1, 2, 5, 10) if size * each >= rough))
    first, last = int(np.ceil(low / step)), int(np.floor(high / step))
    return [float(round(number * step, 10)) for number in range(first, last + 1)]


def _level(level: float, y: float, height: int, unit: str, levels: Sequence[float]) -> Html:
    digits = 0 if all(float(each).is_integer() for each in levels) else max(2, decimals_of(levels))
    top = min(max(y - 8, -2), height - 14)
    return element("div", f"{level:,.{digits}f}{unit}", style=f"{_TEXT};right:0;width:{_LABELS - 8}px;top:{top:.0f}px")


def _moments(start: int, end: int) -> Html:
    """Three moments below the picture: the first at its left edge, the last at its right."""
    name = day_text if end - start >= 4 * _DAY_MS else minute_text
    middle = "left:50%;transform:translateX(-50%)"
    places = (("left:0", start), (middle, (start + end) // 2), ("right:0", end))
    below = f"{_TEXT};top:100%;padding-top:3px"
    return fragment(*(element("div", name(at), style=f"{below};{place}") for place, at in places))
