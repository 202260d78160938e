"""What a tear sheet holds: texts, table cells and lines, without figures of their own and without layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .equity_arrays import Floats, Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One large figure and a line below it; ``tone`` is 1 for a gain, -1 for a loss."""

    label: str
    value: str
    unit: str = ""
    note: str = ""
    tone: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityLines:
    """Equity with what was held beside it, and the drawdown below; moments are UTC ms.

    ``held`` is empty where nothing is set beside it. ``largest`` has beginning, low, end and depth (percent) of the
    largest drawdown, and whether it was over by then, ``largest_days`` its beginning and end in words.
    """

    name: str
    unit: str
    decimals: int
    start_value: float
    time_ms: Times
    equity: Floats
    held_name: str
    held_ms: Times
    held: Floats
    drawdown_ms: Times
    drawdown: Floats
    largest: tuple[int, int, int, float, bool] | None
    largest_days: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureBars:
    """What was held, percent of the equity: means of equal stretches of time, each from ``time_ms`` on."""

    time_ms: Times
    end_ms: int
    long: Floats
    short: Floats
    net: Floats
    stretch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingSharpe:
    """The Sharpe ratio of the last ``days`` days at the end of each day, UTC ms; the picture begins at ``start_ms``."""

    start_ms: int
    end_ms: int
    days: int
    time_ms: Times
    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell of a table; ``tone`` is 1 for a gain, -1 for a loss, and ``bar`` its part of the largest of its column."""

    text: str
    tone: int = 0
    bar: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many trades had which result; the outer bars hold all that is beyond them.

    ``edges`` are in ``unit``: percent of the entry value, points, or R, multiples of what was at risk between entry and
    stop.
    """

    edges: Floats
    counts: tuple[int, ...]
    mean: str
    unit: Literal["%", "points", "R"] = "%"


@dataclass(frozen=True, slots=True, kw_only=True)
class TearSheetInfo:
    """The content of a tear sheet.

    Attributes
    ----------
    title, subtitle : str
        What was run, when and where.
    partial : str
        Empty, or a sentence saying that the run was stopped before its end.
    headlines : tuple of Headline
    equity : EquityLines or None
        ``None``: there is no account, and ``no_equity`` says why.
    years : tuple of (str, tuple of float or None, float or None)
        Returns of each month of each year, percent, and of the year; below it, as ``held``, what was set beside it.
    legs : tuple of (str, Cell)
        What each leg made.
    drawdowns : tuple of tuple of str
        Depth, beginning, low, recovery and length of the deepest.
    trades : Histogram or None
    exposure : ExposureBars or None
    rolling : RollingSharpe or None
    figures : tuple of (str, str, str)
        Label, text, and why it is not available.
    costs : tuple of (str, str, str)
        What was paid: kind, money, and percent of the start.
    best, worst : tuple of tuple of Cell
        Rows of the trades with the largest gains and losses, under ``trade_columns``.
    stopped : tuple of (str, str)
        What did not become a trade or became a smaller one, with counts.
    notes, warnings : tuple of str
    assumed : tuple of (str, str)
        Execution, costs, account, data.
    """

    title: str
    subtitle: str
    partial: str
    headlines: tuple[Headline, ...]
    equity: EquityLines | None
    no_equity: str
    years: tuple[tuple[str, tuple[float | None, ...], float | None], ...]
    legs_title: str
    legs: tuple[tuple[str, Cell], ...]
    drawdowns: tuple[tuple[str, ...], ...]
    trades: Histogram | None
    exposure: ExposureBars | None
    rolling: RollingSharpe | None
    figures: tuple[tuple[str, str, str], ...]
    costs: tuple[tuple[str, str, str], ...]
    trade_columns: tuple[str, ...]
    best: tuple[tuple[Cell, ...], ...]
    worst: tuple[tuple[Cell, ...], ...]
    stopped: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    assumed: tuple[tuple[str, str], ...]
