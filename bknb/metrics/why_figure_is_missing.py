"""Why a figure of trades is not available: of the reasons its definition gives, the one that holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..domain.formatting import MISSING
from ..domain.least_samples import GATES
from . import reasons
from .trade_definitions import (
    DEFINITIONS,
    HEAT_DEFINITIONS,
    OF_ACCOUNT,
    OF_CLOSING_PRICES,
    OF_PEAKS,
    OF_RESULTS,
    PORTFOLIO_WEIGHTED,
    REASONS,
    Definition,
    figure_text,
)
from .trend_and_pressure import MIN_PROFILE_POINTS


def why_missing(key: str, figures: Mapping[str, Any]) -> str:
    """Why a figure of a sample is not available, as far as the sample says.

    Examples
    --------
    >>> why_missing("sharpe_ratio", {"n": 3}), why_missing("sharpe_ratio", {"n": 30}), why_missing("win_rate", {"n": 0})
    ('fewer than 10 trades', 'std_dev at most 1e-9', 'no trade')
    >>> why_missing("profit_factor", {"n": 3, "win_count": 3, "loss_count": 0})
    'no loss'
    """
    if not int(figures.get("n") or 0):
        return reasons.NO_TRADE
    in_points = getattr(figures, "in_points", False) or figures.get("total_pnl", 0.0) is None
    if (in_points and key in OF_ACCOUNT) or (key in OF_RESULTS and figures.get("total_pnl", 0.0) is None):
        return reasons.BELOW_ZERO
    if in_points and key in OF_PEAKS:
        return reasons.PEAKS_IN_PERCENT
    are_enough = int(figures["n"]) >= MIN_PROFILE_POINTS
    if are_enough and key in OF_CLOSING_PRICES and getattr(figures, "closed_below_zero", False):
        return reasons.CLOSED_BELOW_ZERO
    possible = sorted(REASONS[key].each, key=lambda reason: reason != reasons.FEW)
    held = {reason: _holds(reason, figures) for reason in possible}
    found = [reason for reason in possible if held[reason]] or [reason for reason in possible if held[reason] is None]
    if not found:
        return REASONS[key].text
    first = found[0]
    if not held[first]:
        return ", or ".join(found)
    return f"{first}: {why_missing(reasons.FURTHER[first], figures)}" if first in reasons.FURTHER else first


def _holds(reason: str, figures: Mapping[str, Any]) -> bool | None:
    """Whether a reason holds for a sample; None where its figures do not say."""
    if reason not in _TESTS:
        return None
    test, *needed = _TESTS[reason]
    return bool(test(*(figures[name] for name in needed))) if all(name in figures for name in needed) else None


_TESTS: Final[dict[str, tuple[Any, ...]]] = {
    reasons.FEW: (lambda count: count < GATES.min_trades, "n"),
    reasons.NO_WIN: (lambda wins: wins == 0, "win_count"),
    reasons.NO_LOSS: (lambda losses: losses == 0, "loss_count"),
    reasons.NO_WIN_NO_LOSS: (lambda wins, losses: wins == losses == 0, "win_count", "loss_count"),
    reasons.BLOWN: (lambda blown: blown, "blown"),
    reasons.ADDS: (lambda fall: fall is None, "max_drawdown"),
    reasons.NO_DRAWDOWN: (lambda fall: fall is not None and fall <= GATES.epsilon, "max_drawdown"),
    reasons.NO_SHARPE_RATIO: (lambda ratio: ratio is None, "sharpe_ratio"),
    reasons.NO_YEARLY_RETURNS: (lambda yearly: yearly is None, "expected_yearly_returns"),
    reasons.SHORT: (lambda span: span is None or span < GATES.min_span_days, "span_days"),
    reasons.OFTEN: (
        lambda count, span: bool(span) and count / span * GATES.days_a_year > GATES.max_trades_per_year,
        *("n", "span_days"),
    ),
    reasons.PROFILE: (lambda step: step is None, "median_step_size"),
}
"""When a reason holds, and the figures that say so."""


def why_unranked(key: str, figures: Mapping[str, Any]) -> str:
    """Why a figure of a sample cannot rank it, with what to read instead; empty where it can, or has no trade.

    There is none that compounds where a position was added to or in a place, as adds and places need a capital, and
    none in percent where one opened at or below zero; see ``for_ranking`` of :mod:`bknb.metrics.figure_table`.

    Examples
    --------
    >>> figures = {"n": 3, "max_drawdown": None, "total_pnl": 1.0}
    >>> why_unranked("equity_final", figures).partition(";")[0], why_unranked("n", figures)
    ('adds and places need a capital', '')
    """
    if not figures.get("n") or key not in OF_ACCOUNT | {*OF_RESULTS}:
        return ""
    if figures.get("total_pnl") is None:
        return f"{reasons.BELOW_ZERO}; {reasons.RANKED_INSTEAD}"
    missing = key in OF_ACCOUNT and figures.get("max_drawdown") is None
    return f"{reasons.ADDS}; {reasons.ADDS_INSTEAD}" if missing else ""


def why_missing_in_row(key: str, row: Mapping[str, float]) -> str:
    """Why a figure is NaN in a row of a table of figures, such as that of a sweep.

    Examples
    --------
    >>> why_missing_in_row("profit_factor", {"n": 30.0, "win_count": 30.0, "loss_count": 0.0})
    'no loss'
    """
    figures: dict[str, Any] = {name: None if value != value else value for name, value in row.items()}
    if figures.get("equity_final") is not None:
        figures["blown"] = figures["equity_final"] <= 0
    return why_missing(key, figures)


def why_missing_pooled(key: str, figures: Mapping[str, Any]) -> str:
    """Why a figure of pooled trades is not available.

    Examples
    --------
    >>> why_missing_pooled("portfolio_sharpe_ratio", {"portfolio_total_trades": 3})
    'fewer than 10 trades'
    """
    bare = key.removeprefix("portfolio_")
    if bare in OF_PEAKS and getattr(figures, "in_points", False):
        return reasons.PEAKS_IN_PERCENT
    if bare in PORTFOLIO_WEIGHTED:
        return HEAT_DEFINITIONS[key].null_when
    known = {"n": figures.get("portfolio_total_trades", 0)}
    if bare in OF_ACCOUNT and getattr(figures, "in_points", False):
        return reasons.BELOW_ZERO
    if "portfolio_max_drawdown" in figures:
        known["max_drawdown"] = figures["portfolio_max_drawdown"]
    return why_missing(bare, known)


def definitions_of(figures: Mapping[str, Any]) -> Mapping[str, Definition]:
    """The definitions of figures of a sample: those they have themselves, whose results may be in points.

    Examples
    --------
    >>> definitions_of({"n": 3})["total_pnl"].unit
    '%'
    """
    own: Mapping[str, Definition] = getattr(figures, "definitions", DEFINITIONS)
    return own


def explained_text(key: str, figures: Mapping[str, Any]) -> str:
    """A figure of a sample with its unit; where it is not available, with the reason.

    Examples
    --------
    >>> explained_text("win_rate", {"n": 4, "win_rate": 75.0}), explained_text("win_rate", {"n": 0})
    ('75.00 %', 'N/A: no trade')
    """
    text = figure_text(definitions_of(figures)[key], figures.get(key))
    return f"{MISSING}: {why_missing(key, figures)}" if text == MISSING else text
