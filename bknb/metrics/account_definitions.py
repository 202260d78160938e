"""The definition of every figure of an account: formula, unit, source, and when it is not available."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..domain.formatting import MISSING, number_text, percent_text
from ..domain.least_samples import GATES
from .trade_definitions import Better, Definition

if TYPE_CHECKING:
    from collections.abc import Sequence

SESSION_DAYS: Final = 252
"""Trading days a year of a market with sessions."""
SHORT_DAYS: Final = 90
"""A frame shorter than this many days gives no yearly return beyond ``GATES.max_yearly_return``."""

START: Final = "x start"
TURNS: Final = "x mean equity"
DAYS: Final = "days"

_DAILY: Final = (
    f"D = daily returns of E, K = {GATES.days_a_year} days a year for markets that never close, "
    f"{SESSION_DAYS} for markets with sessions, whose days without a bar are left out"
)
_SHORT: Final = f"frame under {GATES.min_span_days:g} days"
_EMPIRICAL: Final = "as in empyrical and quantstats"
_PATH: Final = "E marked at the close of every bar and after every exit"

_ROWS: Final[tuple[tuple[str, str, str, Better, str, str, str], ...]] = (
    ("start", "Equity at the start", START, None, "1", "plain arithmetic", ""),
    ("end", "Equity at the end", START, "higher",
     ("E at the end of the frame: the product of (1 + net / 100) of all positions, those that the end of the frame or "
     "of the data cut off included; 0 once nothing is left"), "geometric compounding", ""),
    ("total_return", "Total return", "%", "higher", "(end / start - 1) * 100", "plain arithmetic", ""),
    ("buy_and_hold", "Buy and hold", "%", None,
     "net result of a long from the open of the first bar of the frame to the close of the last, one round of costs",
     "plain arithmetic", "no candles"),
    ("cagr", "Return a year", "%", "higher",
     f"((end / start)^({GATES.days_a_year} / frame_days) - 1) * 100", "geometric compounding (CAGR)",
     (f"{_SHORT}, a frame under {SHORT_DAYS} days that would give more than {GATES.max_yearly_return:g} % a year, or a "
     "number too large to write")),
    ("max_drawdown", "Maximum drawdown", "%", "lower", f"largest 1 - E / highest E so far, {_PATH}, * 100",
     "peak-to-trough drawdown, marked to market", ""),
    ("drawdown_days", "Longest drawdown", DAYS, "lower",
     "longest time from a highest E to the next mark at least as high, or to the end of the frame", "time under water",
     ""),
    ("volatility", "Volatility a year", "%", "lower", f"sample standard deviation of D * sqrt(K) * 100; {_DAILY}",
     _EMPIRICAL, f"{_SHORT}, or no position was held"),
    ("sharpe", "Sharpe ratio", "", "higher", "mean of D / sample standard deviation of D * sqrt(K), risk-free rate 0",
     f"W. F. Sharpe, The Sharpe Ratio, Journal of Portfolio Management 21(1), 1994; {_EMPIRICAL}",
     f"{_SHORT}, no position was held, or all daily returns are alike"),
    ("sortino", "Sortino ratio", "", "higher",
     "mean of D / sqrt(sum of D^2 over days below 0 / number of days) * sqrt(K), minimal acceptable return 0",
     ("F. A. Sortino and R. van der Meer, Downside Risk, Journal of Portfolio Management 17(4), "
     f"1991; {_EMPIRICAL}"), f"{_SHORT}, no position was held, or no day lost"),
    ("calmar", "Calmar ratio", "", "higher", "cagr / max_drawdown",
     "T. W. Young, Calmar Ratio: A Smoother Tool, Futures 20, 1991", "no cagr, or no drawdown"),
    ("exposure", "Time in the market", "%", None,
     "sum of (exit - entry), an exit behind the end of the frame counted as its end, / length of the frame * 100",
     "plain arithmetic", "the frame is a single moment"),
    ("turnover", "Turnover", TURNS, None,
     "value of all entries and exits / mean E over the marks; over the whole frame", "plain arithmetic", ""),
    ("fees", "Fees paid", "%", "lower",
     "sum of the fees of all sides that were filled, of equity at the start; of an open position, that of its entry",
     "plain arithmetic", ""),
    ("slippage", "Slippage paid", "%", "lower",
     ("sum of the slippage of all sides that were filled, of equity at the start; of an open position, that of its "
     "entry"),
     "plain arithmetic", ""),
    ("positions", "Positions", "positions", None, "all that were opened", "plain arithmetic", ""),
    ("cut_off", "Cut off by the end", "positions", None,
     "positions that the end of the frame or of the data closed, or that are still open; in every figure",
     "plain arithmetic", ""),
    ("days_a_year", "Days a year", DAYS, None,
     f"{GATES.days_a_year}; {SESSION_DAYS} for a market with sessions", "calendar", ""),
    ("frame_days", "Length of the frame", DAYS, None,
     ("last moment - first moment; for a market with sessions from the open of the first bar in the frame to the close "
     "of the last"), "plain arithmetic", ""),
)  # fmt: skip

ACCOUNT_DEFINITIONS: Final[dict[str, Definition]] = {
    key: Definition(key=key, label=label, unit=unit, better=better, formula=formula, source=source, null_when=null_when)
    for key, label, unit, better, formula, source, null_when in _ROWS
}
"""Definition of every figure of ``result.account``, in the order in which they are shown."""

BESIDE_TRADES: Final[dict[str, Definition]] = {
    "total_return": ACCOUNT_DEFINITIONS["total_return"],
    "max_drawdown": replace(ACCOUNT_DEFINITIONS["max_drawdown"], label="Maximum drawdown, marked to market"),
    "calmar": ACCOUNT_DEFINITIONS["calmar"],
}
"""Those that stand beside figures of closed trades, with labels that tell them apart."""

_FEW: Final = 10
"""How many figures are missing for one reason before that is said once."""
_SIGNED: Final = frozenset({"total_return", "buy_and_hold", "cagr"})


def shared_reason(texts: Sequence[str]) -> str:
    """What is said once of figures that are missing for one reason, where they are many; empty where they are not.

    Examples
    --------
    >>> shared_reason(["3.2 %", *["N/A: no position was held"] * 11]), shared_reason(["N/A", "N/A: no loss"])
    ('N/A: no position was held', '')
    """
    return next((text for text in texts if text.startswith(f"{MISSING}: ") and texts.count(text) > _FEW), "")


def account_text(key: str, value: Any, reason: str = "") -> str:
    """A figure of an account with its unit, as reports write it; where it is not available, with the reason.

    Examples
    --------
    >>> account_text("total_return", 3.14159), account_text("sharpe", None, "no position was held")
    ('+3.14 %', 'N/A: no position was held')
    """
    if value is None or not math.isfinite(value):
        return f"{MISSING}: {reason}" if reason else MISSING
    definition = ACCOUNT_DEFINITIONS[key]
    if definition.unit == "%":
        text = percent_text(float(value), signed=key in _SIGNED)
        return "< -99.99 %" if text == "-100.00 %" and value > -100 else text  # all is lost only where nothing is left
    if definition.unit == START:
        return f"{float(value):,.4f} x start"
    if definition.unit == TURNS:
        return f"{float(value):,.1f} x mean equity"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{float(value):,.1f} days" if definition.unit == DAYS else number_text(float(value))
