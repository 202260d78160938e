"""The definition of every figure: formula, unit, and when it is not available."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec
from msgspec.structs import replace

from ..domain.formatting import (
    MISSING,
    NOT_AVAILABLE,
    duration_text,
    number_text,
    percent_text,
    points_text,
    price_text,
)
from ..domain.least_samples import GATES
from . import reasons
from .reasons import Reasons, any_of

if TYPE_CHECKING:
    from .trade_sharpe_and_other_formulas import Figure

Better: TypeAlias = Literal["higher", "lower"] | None


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """The meaning of one figure.

    Attributes
    ----------
    key : str
        Name of the figure in the mapping.
    label : str
        Name to show.
    unit : str
        Unit of the value; empty for a pure number.
    better : {"higher", "lower"} or None
        Which direction is the better one; None where neither is.
    formula : str
        How it is computed. ``r`` is the list of realised results in percent, ``n`` their count, ``E`` equity
        as a multiple of its start.
    source : str
        Where the formula comes from.
    null_when : str
        When the figure is None; empty when it never is for a sample that holds a trade.

    Examples
    --------
    >>> DEFINITIONS["win_rate"].unit, DEFINITIONS["win_rate"].better
    ('%', 'higher')
    """

    key: str
    label: str
    unit: str
    better: Better
    formula: str
    source: str
    null_when: str

    @property
    def better_text(self) -> str:
        """``higher is better``, ``lower is better``, or nothing where neither is."""
        return f"{self.better} is better" if self.better else ""

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value is the better one; where neither is, a higher one comes first."""
        return self.better == "lower"

    def show(self, value: Figure) -> str:
        """A value of this figure as text without its unit; ``n/a`` where it is not available.

        Examples
        --------
        >>> DEFINITIONS["sharpe_ratio"].show(0.30212), DEFINITIONS["sharpe_ratio"].show(None)
        ('0.3021', 'n/a')
        """
        if value is None or (self.unit == _PER_YEAR and value == 0):
            return NOT_AVAILABLE
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, int | str):
            return str(value)
        plain = value == 0 or 1e-3 <= abs(value) < 1e9
        return f"{value:z,.4f}" if plain else f"{value:z.4g}"

    def explain(self, value: Figure = None, *, known: bool = False) -> str:
        """The definition as lines of text, with a value when there is one (``known``).

        Examples
        --------
        >>> print(DEFINITIONS["max_drawdown"].explain(12.5, known=True).splitlines()[1])
          value     12.5000 % (lower is better)
        """
        unit = f" {self.unit}" if self.unit else ""
        better = f" ({self.better_text})" if self.better else ""
        lines = [f"{self.label} [{self.key}]"]
        if known:
            shown = self.show(value)
            lines.append(f"  value     {shown}{'' if shown == NOT_AVAILABLE else unit}{better}")
        else:
            lines.append(f"  unit      {self.unit or 'pure number'}{better}")
        lines.append(f"  formula   {self.formula}")
        lines.append(f"  n/a when  {self.null_when or 'never, once there is a trade'}")
        lines.append(f"  source    {self.source}")
        return "\n".join(lines)


_PER_YEAR: Final = "trades/year"
_ARITHMETIC: Final = "plain arithmetic"
_NEVER: Final = Reasons((), "")
_NO_TRADE: Final = any_of(reasons.NO_TRADE)
_NO_WIN: Final = any_of(reasons.NO_WIN)
_NO_LOSS: Final = any_of(reasons.NO_LOSS)
_FEW: Final = any_of(reasons.FEW)
_PROFILE: Final = any_of(reasons.PROFILE)
_OF_ACCOUNT: Final = any_of(reasons.NO_TRADE, reasons.ADDS)
_NO_PEAK: Final = any_of("no trade has a peak")
_NO_TROUGH: Final = any_of("no trade has a trough")
_NO_MOVE: Final = any_of(_PROFILE, "no price differs from the one before")
_ONE_MOMENT: Final = any_of(_PROFILE, "all at one moment")
_CLAMPED: Final = f"clamped to -{GATES.max_ratio:g} .. {GATES.max_ratio:g}"
_OWN: Final = "bknb"

_ROWS: Final[tuple[tuple[str, str, str, Better, str, str, Reasons], ...]] = (
    ("n", "Trades", "trades", None, "number of closed trades every figure is taken from", _ARITHMETIC, _NEVER),
    ("total_trades", "Total trades", "trades", None, "the same number as n", _ARITHMETIC, _NEVER),
    ("dropped", "Rows left out", "rows", "lower",
     "rows without a numeric result, or (outside the heat table) without an entry or exit time above zero",
     _OWN, _NEVER),
    ("win_count", "Wins", "trades", "higher", "count of r > 0", _ARITHMETIC, _NEVER),
    ("loss_count", "Losses", "trades", "lower", "count of r < 0", _ARITHMETIC, _NEVER),
    ("win_rate", "Win rate", "%", "higher",
     ("wins / (wins + losses) * 100; break-even trades count in neither; 0 when all are break-even "
     "(n/a in the heat table)"), _ARITHMETIC, _NO_TRADE),
    ("avg_pnl", "Average result", "%", "higher", "sum(r) / n", _ARITHMETIC, _NO_TRADE),
    ("median_pnl", "Median result", "%", "higher",
     "middle value of r; mean of the two middle values for even n", _ARITHMETIC, _NO_TRADE),
    ("total_pnl", "Sum of results", "%", "higher", "sum(r), not compounded", _ARITHMETIC, _NO_TRADE),
    ("avg_win", "Average win", "%", "higher", "mean of r > 0", _ARITHMETIC, _NO_WIN),
    ("avg_loss", "Average loss", "%", "higher", "mean of r < 0 (a negative number)", _ARITHMETIC, _NO_LOSS),
    ("profit_factor", "Profit factor", "", "higher", "sum of wins / abs(sum of losses)", "common usage",
     any_of(_NO_WIN, _NO_LOSS, "losses sum to at most 1e-9")),
    ("max_drawdown", "Maximum drawdown", "%", "lower",
     ("deepest fall of compounded equity from its peak: walk trades by exit time with the whole account in each, "
     "E = E * (1 + r / 100); a trough inside a trade deepens the fall and leaves E alone; 100 when blown"),
     "peak-to-trough drawdown with intra-trade troughs", _OF_ACCOUNT),
    ("equity_final", "Final equity", "x start", "higher",
     "product of (1 + r / 100), 1 at the start; 0 when blown", "geometric compounding", _OF_ACCOUNT),
    ("blown", "Account blown", "", None, "yes when equity, or a trough inside a trade, reaches zero", _OWN,
     _OF_ACCOUNT),
    ("std_dev", "Standard deviation", "%", "lower", "sqrt(sum((r - avg_pnl)^2) / (n - 1))",
     "sample standard deviation (Bessel's correction)", _FEW),
    ("sharpe_ratio", "Sharpe ratio", "", "higher", "avg_pnl / std_dev, per trade, risk-free rate 0",
     "W. F. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994",
     any_of(_FEW, "std_dev at most 1e-9")),
    ("sortino_ratio", "Sortino ratio", "", "higher",
     "avg_pnl / sqrt(sum of r^2 over losses / n), minimal acceptable return 0, divisor all n",
     "F. A. Sortino and R. van der Meer, Downside Risk, Journal of Portfolio Management 17(4), 1991",
     any_of(_FEW, _NO_LOSS, "a denominator of at most 1e-9")),
    ("certainty_ratio", "Certainty ratio", "", "higher",
     "avg_win / abs(avg_loss); 0 when nothing was won", "payoff ratio, common usage",
     any_of(_FEW, _NO_LOSS, "abs(avg_loss) at most 1e-9")),
    ("expectancy", "Expectancy", "%", "higher",
     "wins / n * avg_win + losses / n * avg_loss; equal to avg_pnl", "expected value of a trade",
     any_of(_FEW, note=" (in the heat table also: neither win nor loss)")),
    ("recovery_factor", "Recovery factor", "", "higher",
     f"(E_final - 1) * 100 / max_drawdown, {_CLAMPED}", "common usage, on compounded equity",
     any_of(_FEW, reasons.ADDS, reasons.BLOWN, reasons.NO_DRAWDOWN)),
    ("span_days", "Calendar span", "days", None, "last exit - first entry", _ARITHMETIC, _NO_TRADE),
    ("trades_per_year", "Trades per year", _PER_YEAR, None,
     (f"n / span_days * {GATES.days_a_year}, time out of the market included; the number 0 (shown as {NOT_AVAILABLE}) "
     f"says that nothing is annualised: {reasons.ANNUAL_GATES.text}"), "calendar frequency", _NO_TRADE),
    ("annualized_sharpe_ratio", "Annualised Sharpe ratio", "", "higher",
     "sharpe_ratio * sqrt(trades_per_year)", "square-root-of-time scaling, Sharpe 1994",
     any_of(reasons.NO_SHARPE_RATIO, reasons.ANNUAL_GATES)),
    ("expected_yearly_returns", "Expected yearly return", "%", "higher",
     "(E_final^(trades_per_year / n) - 1) * 100; -100 when blown", "geometric compounding",
     any_of(reasons.ANNUAL_GATES, reasons.ADDS, f"further than {GATES.max_yearly_return:g} % from zero")),
    ("calmar_ratio", "Calmar ratio", "", "higher",
     f"expected_yearly_returns / max_drawdown, {_CLAMPED}",
     "T. W. Young, Calmar Ratio: A Smoother Tool, Futures 20, 1991",
     any_of(reasons.ADDS, reasons.NO_YEARLY_RETURNS, reasons.NO_DRAWDOWN)),
    ("avg_duration", "Average duration", "minutes", None, "mean of (exit - entry)", _ARITHMETIC, _NO_TRADE),
    ("avg_win_duration", "Average duration of wins", "minutes", None, "mean of (exit - entry) over r > 0",
     _ARITHMETIC, _NO_WIN),
    ("avg_loss_duration", "Average duration of losses", "minutes", None, "mean of (exit - entry) over r < 0",
     _ARITHMETIC, _NO_LOSS),
    ("max_win_streak", "Longest run of wins", "trades", "higher",
     "most wins in a row in order of rows; a break-even ends a run", _ARITHMETIC, _NEVER),
    ("max_loss_streak", "Longest run of losses", "trades", "lower",
     "most losses in a row in order of rows; a break-even ends a run", _ARITHMETIC, _NEVER),
    ("avg_consecutive_win_pnl", "Average run of wins", "%", "higher",
     "mean over runs of wins (order of rows) of the sum of r within the run", _ARITHMETIC, _NO_WIN),
    ("avg_consecutive_loss_pnl", "Average run of losses", "%", "higher",
     "mean over runs of losses (order of rows) of the sum of r within the run", _ARITHMETIC, _NO_LOSS),
    ("avg_peak_pnl", "Average peak", "%", "higher",
     "mean of the best unrealised results; trades without one are skipped", "maximum favourable excursion",
     _NO_PEAK),
    ("avg_fall_pnl", "Average trough", "%", "higher",
     "mean of the worst unrealised results; trades without one are skipped", "maximum adverse excursion",
     _NO_TROUGH),
    ("peak_profit_pnl", "Best peak", "%", "higher", "largest of the best unrealised results",
     "maximum favourable excursion", _NO_PEAK),
    ("max_drawdown_pnl", "Worst trough", "%", "higher", "smallest of the worst unrealised results",
     "maximum adverse excursion", _NO_TROUGH),
    ("median_step_size", "Median price step", "%", None,
     "median of abs(c[i] / c[i-1] - 1) * 100 over closing prices c in time order", _OWN, _PROFILE),
    ("buyer_pressure", "Buyer pressure", "share 0..1", None,
     "rising steps / (rising + falling steps) of closing prices", _OWN, _NO_MOVE),
    ("seller_pressure", "Seller pressure", "share 0..1", None,
     "falling steps / (rising + falling steps) of closing prices", _OWN, _NO_MOVE),
    ("buyer_strength", "Buyer strength", "share 0..1", None,
     "sum of rising steps / sum of abs(steps) of closing prices", _OWN, _NO_MOVE),
    ("seller_strength", "Seller strength", "share 0..1", None,
     "sum of abs(falling steps) / sum of abs(steps) of closing prices", _OWN, _NO_MOVE),
    ("pressure_imbalance", "Pressure imbalance", "-1..1", None, "buyer_strength - seller_strength", _OWN,
     _NO_MOVE),
    ("trend", "Trend", "", None,
     ("sideways when trend_confidence < 0.30; else neutral when abs(trend_strength) < 0.25 * median_step_size; "
     "else bullish or bearish by the sign of trend_strength"), _OWN, _ONE_MOMENT),
    ("trend_strength", "Trend strength", "%/day", None,
     "slope of the least-squares line of ln(closing price) on days, * 100", "ordinary least squares",
     _ONE_MOMENT),
    ("trend_confidence", "Trend confidence", "share 0..1", None,
     "R squared of that line; 0 when prices are flat", "ordinary least squares",
     _ONE_MOMENT),
)  # fmt: skip

DEFINITIONS: Final[dict[str, Definition]] = {
    key: Definition(
        key=key,
        label=label,
        unit=unit,
        better=better,
        formula=formula,
        source=source,
        null_when=missing.text,
    )
    for key, label, unit, better, formula, source, missing in _ROWS
}
"""Definition of every figure of ``statistics``, in the order in which they are shown."""

REASONS: Final[dict[str, Reasons]] = {
    **{key: missing for key, *_, missing in _ROWS},
    "trades_per_year": reasons.ANNUAL_GATES,  # never None: the number 0 says so
}
"""When a figure of ``statistics`` is not available, or is shown as such."""

OF_ACCOUNT: Final = frozenset(key for key, missing in REASONS.items() if reasons.ADDS in missing.each)
"""The figures of ``statistics`` that compound, as on an account: none of positions that were added to."""

OF_RESULTS: Final = (
    "avg_pnl", "median_pnl", "total_pnl", "avg_win", "avg_loss", "std_dev", "expectancy", "avg_consecutive_win_pnl",
    "avg_consecutive_loss_pnl", "avg_peak_pnl", "avg_fall_pnl", "peak_profit_pnl", "max_drawdown_pnl",
)  # fmt: skip
"""The figures in the unit of the results: percent, or points where a position opened at or below zero."""

OF_PEAKS: Final = frozenset({"avg_peak_pnl", "avg_fall_pnl", "peak_profit_pnl", "max_drawdown_pnl"})
"""Those of the best and the worst of trades, which are in percent alone: none of them where results are in points."""

OF_CLOSING_PRICES: Final = frozenset(key for key, missing in REASONS.items() if reasons.PROFILE in missing.each)
"""Steps in percent and the trend of closing prices: none of them where a trade closed at or below zero."""


_WEIGHTED: Final = ("avg_peak_pnl", "avg_fall_pnl", "avg_consecutive_win_pnl", "avg_consecutive_loss_pnl")
_EXTREME: Final = ("peak_profit_pnl", "max_drawdown_pnl")
_POOLED: Final = (
    "total_trades", "win_count", "loss_count", "win_rate", "avg_pnl", "median_pnl", "profit_factor",
    "max_drawdown", "std_dev", "sharpe_ratio", "sortino_ratio", "certainty_ratio", "expectancy",
    "recovery_factor", "span_days", "trades_per_year", "annualized_sharpe_ratio", "expected_yearly_returns",
    "calmar_ratio", "avg_duration", "avg_win_duration", "avg_loss_duration",
)  # fmt: skip


_PORTFOLIO_WORDS: Final = {
    "total_pnl": ("sum of total_pnl over the symbols", reasons.NO_TRADE),
    "total_trades": ("number of trades of all symbols", ""),
    "win_rate": (
        "wins / (wins + losses) * 100 over all trades; break-even trades count in neither",
        reasons.NO_WIN_NO_LOSS,
    ),
    "expectancy": (f"{DEFINITIONS['expectancy'].formula}; all trades of all symbols as one sample", reasons.FEW),
}


def _of_portfolio(key: str) -> Definition:
    own = DEFINITIONS[key]
    if key in _PORTFOLIO_WORDS:
        how, nothing = _PORTFOLIO_WORDS[key]
    elif key in _WEIGHTED:
        how = f"mean of {key} over the symbols that have it, weighted by their trade counts"
        nothing = f"no symbol has {key}"
    elif key in _EXTREME:
        how, nothing = f"{own.formula}, over all symbols", own.null_when
    else:
        how, nothing = f"{own.formula}; all trades of all symbols as one sample", own.null_when
    label = f"Pooled trades: {own.label[0].lower()}{own.label[1:]}"
    # Names of people (and of a newsletter) keep their capital.
    for name in ("Sharpe", "Sortino", "Calmar"):
        label = label.replace(f" {name.lower()} ", f" {name} ")
    return replace(own, key=f"portfolio_{key}", label=label, formula=how, null_when=nothing)


PORTFOLIO_POOLED: Final = _POOLED
"""Figures of the pooled trades: all trades of all symbols as one sample."""
PORTFOLIO_WEIGHTED: Final = _WEIGHTED
"""Figures of the pooled trades that are means over symbols, weighted by trade count."""
NO_PORTFOLIO: Final = (
    "pooled trades are one sample in order of exit, not a portfolio: trades that were open at the same time count as "
    "one after the other. For a portfolio, backtest each symbol and combine result.equity: the mean of the curves is "
    "an account split evenly at the start"
)
"""What the pooled figures of a heat table are not, and how to get that."""

HEAT_DEFINITIONS: Final[dict[str, Definition]] = {
    "total_symbols": Definition(
        key="total_symbols", label="Symbols", unit="symbols", better=None,
        formula="number of different symbols", source=_ARITHMETIC, null_when="",
    ),
    **{f"portfolio_{key}": _of_portfolio(key) for key in ("total_pnl", *_POOLED, *_WEIGHTED, *_EXTREME)},
    "per_symbol": Definition(
        key="per_symbol", label="By symbol", unit="", better=None,
        formula="symbol -> statistics of its trades, by sharpe_ratio descending, symbols without one last",
        source=_OWN, null_when="",
    ),
}  # fmt: skip
"""Definition of every figure of ``heat_statistics``; those under ``per_symbol`` are in ``DEFINITIONS``."""


def lower_is_better(figure: str) -> bool:
    """Whether a lower value of a figure is better; False for a plain count, which has no definition.

    Examples
    --------
    >>> lower_is_better("max_drawdown"), lower_is_better("total_pnl"), lower_is_better("cancelled")
    (True, False, False)
    """
    return figure in DEFINITIONS and DEFINITIONS[figure].lower_is_better


_PER_TRADE: Final = frozenset({"sharpe_ratio", "sortino_ratio"})


def label_of(key: str) -> str:
    """The label of a figure of the trades beside those of an account, whose ratios are of days.

    Examples
    --------
    >>> label_of("sharpe_ratio"), label_of("n")
    ('Sharpe ratio per trade', 'Trades')
    """
    label = DEFINITIONS[key].label
    return f"{label} per trade" if key in _PER_TRADE else label


_UNSIGNED: Final = frozenset({"win_rate", "max_drawdown", "std_dev", "median_step_size"})


def figure_text(definition: Definition, value: Any) -> str:
    """A figure's value with its unit, as reports write it; ``N/A`` where it is not available.

    Examples
    --------
    >>> figure_text(DEFINITIONS["total_pnl"], 3.14159), figure_text(DEFINITIONS["sharpe_ratio"], None)
    ('+3.14 %', 'N/A')
    """
    if value is None or isinstance(value, str):
        return value or MISSING
    if not math.isfinite(value):
        return MISSING
    if definition.key == "equity_final":
        return f"{float(value):,.4f} x start ({percent_text(100 * (float(value) - 1))})"
    if definition.unit == "%":
        return percent_text(float(value), signed=definition.key not in _UNSIGNED)
    if definition.unit == "points":
        return points_text(float(value)) if definition.key not in _UNSIGNED else f"{price_text(float(value))} points"
    if definition.unit == "minutes":
        return duration_text(float(value))
    if definition.unit == "%/day":
        return f"{float(value):+z,.3f} % a day"
    if definition.unit == _PER_YEAR:
        return f"{float(value):,.0f}" if value else MISSING
    if isinstance(value, int):
        return f"{value:,}"
    if definition.unit == "share 0..1":
        return f"{100 * float(value):z,.1f} %"
    return number_text(float(value))
