"""How the legs of a portfolio go together: the correlation of what they added on each day, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import MISSING
from .markup import Html, element, fragment
from .panel_parts import MUTE
from .portfolio_leg_table import WIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .equity_arrays import Floats

_MOST_LEGS: Final = 12  # whose correlation is a table
_FEWEST_DAYS: Final = 3


def leg_correlation(result: Any) -> Html | None:
    """Correlation of what the legs added on each day, as the lower half of a table; ``None`` where there is none."""
    if not result.knows_legs_over_time:
        return None
    days = result.contribution_by("1D")
    return correlation_table([(strategy, symbol) for symbol, strategy in days.columns], days.to_numpy())


def correlation_table(names: Sequence[tuple[str, str]], days: Floats) -> Html | None:
    """The same of strategies and symbols by what they added on each day, shape (days, legs); ``None``: one leg."""
    count = len(names)
    if count < 2:
        return None
    title = element("p", element("b", "Correlation of daily results"))
    if len(days) < _FEWEST_DAYS:
        return fragment(
            title, element("p", f"{len(days)} day{' is' if len(days) == 1 else 's are'} too few", style=MUTE)
        )
    moving = days.std(axis=0) > 0
    found = np.full((count, count), np.nan)
    if moving.any():
        found[np.ix_(moving, moving)] = np.atleast_2d(np.corrcoef(days[:, moving], rowvar=False))
    if count > _MOST_LEGS:
        pairs = found[np.tril_indices(count, -1)]
        known = pairs[~np.isnan(pairs)]
        told = (
            f"of {len(known):,} pairs: {known.min():+.2f} to {known.max():+.2f}, mean {known.mean():+.2f}; "
            if len(known)
            else ""
        )
        where = element("code", 'result.contribution_by("1D").corr()')
        return fragment(title, element("p", told, "all are in ", where, style=MUTE))
    head = element(
        "tr",
        element("th"),
        *(
            element("th", strategy, element("br"), symbol, scope="col", style="text-align:center")
            for strategy, symbol in names
        ),
    )
    rows = (
        element(
            "tr",
            element(
                "th", f"{strategy} {symbol}", scope="row", style="text-align:left;white-space:nowrap;font-weight:400"
            ),
            *(_pair(float(found[at, other]), same=at == other) for other in range(at + 1)),
        )
        for at, (strategy, symbol) in enumerate(names)
    )
    table = element("table", element("thead", head), element("tbody", *rows), style="font-size:92%;margin:0")
    return fragment(title, element("div", table, role="region", aria_label="Correlation", tabindex=0, style=WIDE))


def _pair(value: float, *, same: bool) -> Html:
    if same or np.isnan(value):
        return element("td", "1" if same else MISSING, style="text-align:center;background:rgba(128,128,128,0.15)")
    shade = "26,158,119" if value > 0 else "217,98,43"
    strong = ";font-weight:600" if abs(value) >= 0.3 else ""
    return element(
        "td",
        f"{value:+.2f}" if abs(value) >= 0.005 else "0.00",
        style=f"text-align:center;background:rgba({shade},{min(abs(value), 1) * 0.6:.2f}){strong}",
    )
