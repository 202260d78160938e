"""Axes of the pictures of a tear sheet: round numbers and moments, and a picture with its axis on the right."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.printed_text import month_name, printed_day, printed_minute
from .markup import Html, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .equity_arrays import Floats, Times

_WIDE: Final = 1000.0  # units of the stretched pictures
_TAG: Final = 18.5  # px between two tags
_HOUR: Final = 60 * MINUTE_MS
_MOST_TICKS: Final = 12


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers between two values, about ``count`` of them.

    Examples
    --------
    >>> ticks(-3.0, 21.0, 4)
    [0.0, 10.0, 20.0]
    """
    step = _round_step((high - low) / max(count, 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, 10) + 0.0 for at in range(first, last + 1)]


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= raw * 0.999)


def time_ticks(start: int, end: int) -> list[tuple[int, str]]:
    """Round moments (UTC ms) between two, about a dozen, with their words.

    Examples
    --------
    >>> [word for _, word in time_ticks(1_704_067_200_000, 1_709_251_200_000)]
    ['8 Jan', '15 Jan', '22 Jan', '29 Jan', '5 Feb', '12 Feb', '19 Feb', '26 Feb']
    >>> [word for _, word in time_ticks(1_704_067_200_000, 1_767_225_600_000)]
    ['Apr', 'Jul', 'Oct', '2025', 'Apr', 'Jul', 'Oct']
    """
    span = end - start
    for step in (_HOUR // 4, _HOUR, 3 * _HOUR, 6 * _HOUR, 12 * _HOUR, DAY_MS, 2 * DAY_MS, 3 * DAY_MS, 7 * DAY_MS):
        if span / step <= _MOST_TICKS + 1:
            phase = 4 * DAY_MS if step == 7 * DAY_MS else 0  # weeks begin with Monday, the epoch was a Thursday
            first = math.ceil((start + 1 - phase) / step) * step + phase
            moments = range(first, end, step)
            return [(at, printed_day(at) if at % DAY_MS == 0 else printed_minute(at)[-5:]) for at in moments]
    return _month_ticks(start, end)


def _month_ticks(start: int, end: int) -> list[tuple[int, str]]:
    begin, stop = (datetime.fromtimestamp(at // 1000, UTC) for at in (start, end))
    months = (stop.year - begin.year) * 12 + stop.month - begin.month + 1
    step = next((each for each in (1, 3, 6, 12) if months / each <= _MOST_TICKS + 1), 12 * math.ceil(months / 144))
    found = []
    for number in range(begin.year * 12 + begin.month - 1, stop.year * 12 + stop.month):
        moment = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        when = int(moment.timestamp() * 1000)
        if number % step == 0 and start < when < end:
            found.append((when, str(moment.year) if moment.month == 1 else month_name(moment.month)))
    return found


def spread(places: Sequence[float]) -> list[float]:
    """Places in px pushed apart until they are as far from each other as tags are high."""
    order = sorted(range(len(places)), key=lambda at: places[at])
    moved = [*places]
    for _ in range(40):
        for upper, lower in pairwise(order):
            lack = _TAG - (moved[lower] - moved[upper])
            if lack > 0.1:
                moved[lower] += lack / 2
                moved[upper] -= lack / 2
    return moved


def decimals_of(marks: Sequence[float]) -> int:
    """Decimals that tell the ticks of an axis apart."""
    step = min((after - before for before, after in pairwise(marks)), default=1.0)
    return next((count for count in range(8) if abs(round(step, count) - step) < 1e-6 * step), 8)


class Panel:
    """A stretched SVG with its axis on the right; places are percent of its width and px of its height."""

    def __init__(self, start: int, end: int, height: int, gutter: float) -> None:
        self.start, self.span = start, max(end - start, 1)
        self.height, self.gutter = height, gutter
        self.drawn: list[str] = []
        self.words: list[Html] = []  # within the picture
        self.beside: list[Html] = []  # on the axis

    def percent(self, when: float) -> float:
        """Where a moment is, percent of the width."""
        return 100 * (when - self.start) / self.span

    def path(self, time: Times, y: Floats, *, steps: bool = False) -> str:
        """A line as SVG writes it; it breaks where there is no number."""
        x = (time - self.start) / self.span * _WIDE
        parts: list[str] = []
        pen, before = False, ""
        for across, down in zip(x.tolist(), y.tolist(), strict=True):
            if not math.isfinite(down):
                pen = False
                continue
            place = f"{across:.1f} {down:.1f}"
            if place == before:
                continue
            parts.append(f"H{across:.1f}V{down:.1f}" if pen and steps else f"{'L' if pen else 'M'}{place}")
            pen, before = True, place
        return "".join(parts)

    def draw(self, path: str, class_: str) -> None:
        """Draw a line or a filled outline."""
        self.drawn.append(element("path", d=path, class_=class_))

    def level(self, y: float, class_: str = "grid") -> None:
        """A level line across the picture."""
        self.draw(f"M0 {y:.1f}H{_WIDE:.0f}", class_)

    def label(self, y: float, text: str) -> None:
        """A word on the axis."""
        self.beside.append(element("span", text, class_="y", style=f"top:{y:.1f}px"))

    def tag(self, y: float, text: str, class_: str) -> None:
        """The last value of a line, on the axis."""
        self.beside.append(element("span", text, class_=f"tag {class_}", style=f"top:{y:.1f}px"))

    def times(self, upper: float, lower: float, end: int, *, most: int | None = None) -> None:
        """The moments below the picture, each with a line through it; every other one goes where it is narrow.

        Of a small picture at most about ``most`` have their words.
        """
        moments = time_ticks(self.start, end)
        every = 1 if most is None else math.ceil(len(moments) / most) or 1
        for number, (when, word) in enumerate(moments):
            at = self.percent(when)
            self.draw(f"M{at * 10:.1f} {upper:.1f}V{lower:.1f}", "grid")
            if 2.5 < at < 98.5 and number % every == every - 1:
                more = " more" if number % 2 and most is None else ""
                self.words.append(
                    element("span", word, class_=f"x{more}", style=f"left:{at:.2f}%;top:{lower + 4:.0f}px")
                )

    def html(self, described: str) -> Html:
        """The whole picture; ``described`` is what it is for those who cannot see it."""
        box = f"0 0 {_WIDE:.0f} {self.height}"
        svg = element(
            "svg",
            *map(Html, self.drawn),
            viewBox=box,
            preserveAspectRatio="none",
            aria_hidden="true",
            focusable="false",
        )
        plot = element("div", svg, *self.words, class_="plot", style=f"right:{self.gutter:.0f}px")
        axis = element("div", *self.beside, class_="axis", style=f"width:{self.gutter:.0f}px")
        return element(
            "div", plot, axis, class_="chart", role="img", aria_label=described, style=f"height:{self.height}px"
        )
