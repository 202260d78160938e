"""Why a figure of trades is not available: of the reasons its definition gives, the one that holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..domain.formatting import MISSING
from ..domain.gates import GATES
from .definitions import (
    ANNUAL_GATES,
    DEFINITIONS,
    FEW,
    HEAT_DEFINITIONS,
    NO_TRADE,
    OFTEN,
    PORTFOLIO_WEIGHTED,
    PROFILE,
    SHORT,
    figure_text,
)


def why_missing(key: str, figures: Mapping[str, Any]) -> str:
    """Why a figure of a sample is not available, as far as the sample tells.

    Examples
    --------
    >>> why_missing("sharpe_ratio", {"n": 3}), why_missing("sharpe_ratio", {"n": 30}), why_missing("win_rate", {"n": 0})
    ('fewer than 10 trades', 'std_dev at most 1e-9', 'no trade')
    >>> why_missing("profit_factor", {"n": 3, "win_count": 3, "loss_count": 0})
    'no loss'
    """
    given = ANNUAL_GATES if key == "trades_per_year" else DEFINITIONS[key].null_when
    if not int(figures.get("n") or 0):
        return NO_TRADE
    parts = given.partition(" (")[0].replace(", or ", ", ").split(", ")
    parts.sort(key=lambda part: part != FEW)
    held = {part: _holds(part, figures) for part in parts}
    found = [part for part in parts if held[part]] or [part for part in parts if held[part] is None]
    if not found:
        return given
    first, further = found[0], found[0].removeprefix("no ")
    if held[first] and further in DEFINITIONS:
        return f"{first}: {why_missing(further, figures)}"
    return first if held[first] else ", or ".join(found)


def _holds(reason: str, figures: Mapping[str, Any]) -> bool | None:
    """Whether a reason holds for a sample; None where its figures do not tell."""
    if reason not in _TELLS:
        return None
    test, *needed = _TELLS[reason]
    return bool(test(*(figures[name] for name in needed))) if all(name in figures for name in needed) else None


_TELLS: Final[dict[str, tuple[Any, ...]]] = {
    FEW: (lambda count: count < GATES.min_trades, "n"),
    "no win": (lambda wins: wins == 0, "win_count"),
    "no loss": (lambda losses: losses == 0, "loss_count"),
    "no win and no loss": (lambda wins, losses: wins == losses == 0, "win_count", "loss_count"),
    "a blown account": (lambda blown: blown, "blown"),
    "no drawdown": (lambda fall: fall is not None and fall <= GATES.epsilon, "max_drawdown"),
    "no sharpe_ratio": (lambda ratio: ratio is None, "sharpe_ratio"),
    "no expected_yearly_returns": (lambda yearly: yearly is None, "expected_yearly_returns"),
    SHORT: (lambda span: span is None or span < GATES.min_span_days, "span_days"),
    OFTEN: (
        lambda count, span: bool(span) and count / span * GATES.days_a_year > GATES.max_trades_per_year,
        *("n", "span_days"),
    ),
    PROFILE: (lambda step: step is None, "median_step_size"),
}
"""When a reason holds, and the figures that tell."""


def why_missing_pooled(key: str, figures: Mapping[str, Any]) -> str:
    """Why a figure of pooled trades is not available.

    Examples
    --------
    >>> why_missing_pooled("portfolio_sharpe_ratio", {"portfolio_total_trades": 3})
    'fewer than 10 trades'
    """
    bare = key.removeprefix("portfolio_")
    if bare in PORTFOLIO_WEIGHTED:
        return HEAT_DEFINITIONS[key].null_when
    return why_missing(bare, {"n": figures.get("portfolio_total_trades", 0)})


def explained_text(key: str, figures: Mapping[str, Any]) -> str:
    """A figure of a sample with its unit; where it is not available, with the reason.

    Examples
    --------
    >>> explained_text("win_rate", {"n": 4, "win_rate": 75.0}), explained_text("win_rate", {"n": 0})
    ('75.00 %', 'N/A: no trade')
    """
    text = figure_text(DEFINITIONS[key], figures.get(key))
    return f"{MISSING}: {why_missing(key, figures)}" if text == MISSING else text
