"""The figures of the account of a run, from equity marked at every bar of its whole frame."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np

from ..domain.formatting import duration_text
from ..domain.html import Html, element, elements
from ..domain.interval import DAY_MS, MINUTE_MS
from ..domain.least_samples import GATES
from .account_definitions import ACCOUNT_DEFINITIONS, SESSION_DAYS, SHORT_DAYS, account_text, shared_reason
from .figure_table import Explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .marked_equity import MarkedEquity
    from .marked_positions import Floats, Positions, Times
    from .trade_definitions import Definition

NO_POSITION: Final = "no position was held"


class Account(Explained):
    """Figures of the account of a run by name; None where a figure is not available, and ``reasons`` says why.

    Percent, except ``start`` and ``end`` (multiples of the start), ``sharpe``, ``sortino``, ``calmar`` (pure numbers),
    ``turnover`` (multiples of the mean equity), ``drawdown_days``, ``frame_days`` and ``days_a_year`` (days),
    ``positions`` and ``cut_off`` (counts).

    Attributes
    ----------
    reasons : dict of str to str
        Why each figure that is None is not available.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-02-01")
    >>> result.account["total_return"], result.account["sharpe"], result.account.reasons["sharpe"]
    (0.0, None, 'no position was held')
    """

    __slots__ = ("reasons",)
    _definitions: ClassVar[dict[str, Definition]] = ACCOUNT_DEFINITIONS
    reasons: dict[str, str]

    def __init__(self, figures: Mapping[str, Any] | None = None, reasons: Mapping[str, str] | None = None) -> None:
        super().__init__(figures or {})
        self.reasons = dict(reasons or {})

    @property
    def definitions(self) -> dict[str, Definition]:
        """The definition of every figure, by name; those beside a benchmark where there is one."""
        if "benchmark" not in self:
            return self._definitions
        from .benchmark_definitions import BENCHMARK_DEFINITIONS  # few runs have one

        return self._definitions | BENCHMARK_DEFINITIONS

    def text(self, key: str) -> str:
        """A figure with its unit, or why it is not available."""
        if key in self._definitions or key not in self:
            return account_text(key, self[key], self.reasons.get(key, ""))
        from .benchmark_definitions import benchmark_text

        return benchmark_text(key, self[key], self.reasons.get(key, ""))

    def _lines(self) -> list[tuple[str, str]]:
        lines = [(self.definitions[key].label, self.text(key)) for key in self]
        if not (shared := shared_reason([text for _, text in lines])):
            return lines
        rest = [line for line in lines if line[1] != shared]
        return [(f"{len(lines) - len(rest)} figures of the account", shared), *rest]

    def __repr__(self) -> str:
        width = max((len(label) for label, _ in self._lines()), default=0)
        return "\n".join(["Account", *(f"{label:<{width}}  {text}" for label, text in self._lines())])

    def _repr_html_(self) -> Html:
        return element("table", element("tbody", *(element("tr", elements("td", line)) for line in self._lines())))


def daily_marks(marked: MarkedEquity, *, sessions: bool = False) -> tuple[Times, Floats]:
    """UTC midnights at which days begin (ms), and the return of each of these days as a fraction.

    Every UTC day the frame touches has a value; with ``sessions`` only those in which a bar closed. A frame that ends
    at midnight does not touch the day that begins then.
    """
    start, end = int(marked.time_ms[0]), int(marked.time_ms[-1])
    first, last = start // DAY_MS, max(end - 1, start) // DAY_MS
    return period_returns(marked, np.arange(first, last + 2, dtype=np.int64) * DAY_MS, sessions=sessions)


def period_returns(marked: MarkedEquity, edges: Times, *, sessions: bool = False) -> tuple[Times, Floats]:
    """Beginnings (UTC ms) of the periods between ascending edges, and the return of each of them as a fraction.

    A mark at an edge belongs to the period that ends there. The first edge is at or before the start of the frame, the
    last at or behind its end. With ``sessions`` only periods in which a bar closed have a value.
    """
    begins, last = period_marks(marked, edges, sessions=sessions)
    values = marked.equity[last]
    before = np.concatenate(([1.0], values[:-1]))
    return begins, np.divide(values, before, out=np.ones_like(values), where=before > 0) - 1


def period_marks(marked: MarkedEquity, edges: Times, *, sessions: bool = False) -> tuple[Times, NDArray[np.intp]]:
    """Beginnings (UTC ms) of the periods of :func:`period_returns`, and the number of the last mark of each."""
    begins, until = edges[:-1], np.searchsorted(marked.time_ms, edges[1:], side="right")
    if sessions:
        bars = np.cumsum(marked.bar_closed)[until - 1]
        held = np.diff(bars, prepend=0) > 0
        begins, until = begins[held], until[held]
    return begins, until - 1


class Fall(NamedTuple):
    """A time below an earlier high: its moments as UTC milliseconds, and its depth below the high in percent.

    ``end_ms`` is the recovery, or the end of the frame where there was none.
    """

    peak_ms: int
    trough_ms: int
    end_ms: int
    recovered: bool
    percent: float


def longest_drawdown_ms(marked: MarkedEquity, below: Floats | None = None) -> int:
    """Longest time from a highest equity to the next at least as high, or to the end; milliseconds.

    ``below`` is its drawdown, where that is known already.
    """
    times, (high, ends) = marked.path_time_ms, _stretches(marked.drawdown if below is None else below)
    return int((times[np.minimum(ends, len(times) - 1)] - times[high]).max(initial=0))


def _stretches(below: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where equity goes below a high, and where it is back, from its drawdown; its length where it never is."""
    high = np.flatnonzero(below == 0)
    ends = np.append(high[1:], len(below))
    fallen = ends - high > 1
    return high[fallen], ends[fallen]


def under_water(marked: MarkedEquity) -> list[Fall]:
    """Each time below an earlier high, oldest first, along the path that the drawdown of the account is measured on."""
    times, path, below = marked.path_time_ms, marked.path, marked.drawdown
    high, ends = _stretches(below)
    found = []
    for begin, end in zip(high.tolist(), ends.tolist(), strict=True):
        lowest = begin + 1 + int(np.argmin(path[begin + 1 : end]))
        recovered = end < len(path)
        found.append(
            Fall(
                *(int(times[begin]), int(times[lowest]), int(times[end if recovered else -1])),
                recovered,
                -float(below[lowest]),
            )
        )
    return found


def account_figures(
    marked: MarkedEquity,
    positions: Positions,
    *,
    cut_off: int = 0,
    buy_and_hold: float | None = None,
    sessions: bool = False,
    over_ms: Times | None = None,
    below: Floats | None = None,
) -> Account:
    """The figures of an account.

    Parameters
    ----------
    marked : MarkedEquity
        Equity of the whole frame.
    positions : Positions
        What it was marked from.
    cut_off : int
        How many of them had no end of their own.
    buy_and_hold : float, optional
        Net result of holding from the first bar to the last, percent; None where there are no candles.
    sessions : bool
        Whether the market has sessions: 252 days a year, and days without a bar are no days.
    over_ms : ndarray of int64, optional
        When each position was over, UTC milliseconds, where that is another moment than the open of its last bar.
    below : ndarray of float64, optional
        The drawdown of ``marked``, where it is known already.
    """
    start, end = int(marked.time_ms[0]), int(marked.time_ms[-1])
    days = (end - start) / DAY_MS
    final = float(marked.equity[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = 1 + np.abs(np.nan_to_num(positions.exit_ratio)) if positions.turned is None else positions.turned
        sides = float(np.sum(marked.put_in * turned))
    over = positions.closed_ms if over_ms is None else over_ms
    below = marked.drawdown if below is None else below
    held = float(np.sum(np.minimum(over, end) - np.minimum(positions.opened_ms, end)))
    figures: dict[str, float | int | None] = dict.fromkeys(ACCOUNT_DEFINITIONS)
    reasons: dict[str, str] = {}
    figures |= {
        "start": 1.0,
        "end": final,
        "total_return": (final - 1) * 100,
        "buy_and_hold": buy_and_hold,
        "max_drawdown": -float(below.min()),
        "drawdown_days": longest_drawdown_ms(marked, below) / DAY_MS,
        "exposure": held / (end - start) * 100 if end > start else None,
        "turnover": sides / float(marked.equity.mean()),
        "fees": float(np.sum(marked.put_in * positions.fee)),
        "slippage": float(np.sum(marked.put_in * positions.slippage)),
        "positions": len(positions),
        "cut_off": cut_off,
        "days_a_year": SESSION_DAYS if sessions else GATES.days_a_year,
        "frame_days": days,
    }
    if buy_and_hold is None:
        reasons["buy_and_hold"] = "there are no candles of the frame"
    if end == start:
        reasons["exposure"] = "the frame is a single moment"
    _per_year(figures, reasons, days)
    _of_days(figures, reasons, daily_marks(marked, sessions=sessions)[1])
    rounded = {key: value + 0.0 if isinstance(value, float) else value for key, value in figures.items()}  # no -0.0
    return Account(rounded, reasons)


def _short(days: float) -> str:
    if days < 1:
        minutes = days * DAY_MS / MINUTE_MS
        return f"the frame has {duration_text(minutes)}, at least {GATES.min_span_days:g} days are needed"
    return f"the frame has {days:.1f} days, at least {GATES.min_span_days:g} are needed"


def _per_year(figures: dict[str, float | int | None], reasons: dict[str, str], days: float) -> None:
    """The return a year, and by its side the Calmar ratio."""
    if days < GATES.min_span_days:
        reasons["cagr"] = _short(days)
    else:
        try:
            yearly = (float(figures["end"] or 0.0) ** (GATES.days_a_year / days) - 1) * 100
        except OverflowError:
            yearly = float("inf")
        if yearly == float("inf"):
            reasons["cagr"] = "the number is too large to write"
        elif days < SHORT_DAYS and yearly > GATES.max_yearly_return:
            reasons["cagr"] = (
                f"{days:.1f} days would be compounded to more than {GATES.max_yearly_return:g} % a year; "
                f"that takes {SHORT_DAYS} days"
            )
        else:
            figures["cagr"] = yearly
    drawdown, cagr = float(figures["max_drawdown"] or 0.0), figures["cagr"]
    if cagr is None:
        reasons["calmar"] = f"no return a year: {reasons['cagr']}"
    elif drawdown <= GATES.epsilon:
        reasons["calmar"] = "equity never fell" if figures["positions"] else NO_POSITION
    else:
        figures["calmar"] = cagr / drawdown


def _of_days(figures: dict[str, float | int | None], reasons: dict[str, str], returns: Floats) -> None:
    """Volatility, Sharpe and Sortino ratio of the daily returns."""
    days = float(figures["frame_days"] or 0.0)
    reason = _short(days) if days < GATES.min_span_days else "" if figures["positions"] else NO_POSITION
    if not reason and len(returns) < 2:
        reason = "fewer than two days have a bar"
    if reason:
        reasons |= dict.fromkeys(("volatility", "sharpe", "sortino"), reason)
        return
    scale = sqrt(float(figures["days_a_year"] or 0))
    mean, spread = float(returns.mean()), float(returns.std(ddof=1))
    downside = sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    figures["volatility"] = spread * scale * 100
    if spread > _DUST:
        figures["sharpe"] = mean / spread * scale
    else:
        reasons["sharpe"] = "all daily returns are alike"
    if downside > _DUST:
        figures["sortino"] = mean / downside * scale
    else:
        reasons["sortino"] = "no day lost"


_DUST: Final = 1e-12  # daily returns are fractions: less than this is rounding
