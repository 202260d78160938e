"""The legs of a portfolio with a capital as a table: what each added to the account, and its result over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.formatting import MISSING, money_decimals
from .fewer_points_of_lines import decimate
from .markup import Html, element, elements
from .panel_parts import MUTE
from .plots import EQUITY, LOSS, WIN
from .svg_source import svg_source

if TYPE_CHECKING:
    import pandas as pd

    from .equity_arrays import Floats

WIDE: Final = "overflow-x:auto;max-width:100%"
"""The style of a box round a table that may be wider than the page."""
_NUMBER: Final = "text-align:right;white-space:nowrap"
_WIDTH, _HEIGHT = 120, 22  # of the line of a leg, pixels


class LegRow(NamedTuple):
    """A leg of a portfolio with a capital, in figures: money is in quote currency after all costs.

    ``fall`` is ``None`` and ``path`` empty where what it had made at earlier moments is not known.
    """

    symbol: str
    strategy: str
    money: float
    fall: float | None
    trades: int
    won: float | None
    profit_factor: float | None
    held: str
    costs: float
    path: Floats


def profit_factor_of(money: Floats) -> float | None:
    """What trades won by what they lost, of amounts of money, shape (m,); ``None`` where nothing was lost.

    Examples
    --------
    >>> profit_factor_of(np.array([30.0, -20.0])), profit_factor_of(np.array([30.0]))
    (1.5, None)
    """
    lost = -float(money[money < 0].sum())
    return float(money[money > 0].sum()) / lost if lost else None


def leg_rows(result: Any) -> list[LegRow]:
    """The legs of a PortfolioResult, what made most of the account first; raises as its ``equity``.

    ``fall`` is the largest one below an earlier high at the close of a day (of an hour in frames below ten days),
    ``path`` what it had made at each of them.
    """
    paths = _paths(result)
    contribution, trades = result.contribution, result.trades
    rows = []
    for key, leg in result.legs.items():
        symbol, strategy = key
        own = trades[(trades["symbol"] == symbol) & (trades["strategy"] == strategy)]["money"].to_numpy()
        one, path, fall = contribution.loc[key], np.empty(0), None
        if paths is not None:
            path = np.concatenate(([0.0], paths[key].to_numpy()))
            fall = float((path - np.maximum.accumulate(path)).min()) + 0.0
        rows.append(
            LegRow(
                symbol=symbol,
                strategy=strategy,
                money=float(one["money"]),
                fall=fall,
                trades=len(own),
                won=float((own > 0).mean()) * 100 if len(own) else None,
                profit_factor=profit_factor_of(own),
                held=leg.account.text("exposure"),
                costs=float(one[["fees", "slippage", "funding", "borrow"]].sum()),
                path=path,
            )
        )
    return sorted(rows, key=lambda row: -row.money)


def _paths(result: Any) -> pd.DataFrame | None:
    """What each leg had made at the end of each day, or hour of a short frame; ``None``: that was not kept."""
    if not result.knows_legs_over_time:
        return None
    return result.contribution_by("1D" if _days(result) >= 10 else "1h").cumsum()  # type: ignore[no-any-return]


def _days(result: Any) -> float:
    times = result.marked.time_ms
    return float(times[-1] - times[0]) / 86_400_000


def signed_money(value: float, decimals: int) -> str:
    """An amount of money with its sign.

    Examples
    --------
    >>> signed_money(1234.5, 2), signed_money(-0.001, 2), signed_money(-0.001, 4)
    ('+1,234.50', '0.00', '-0.0010')
    """
    return f"{value:{'+' if round(value, decimals) else ''}z,.{decimals}f}"


def leg_table(result: Any) -> Html:
    """The legs of a PortfolioResult with a capital as a table; raises as its ``equity``."""
    rows = leg_rows(result)
    most = max((abs(row.money) for row in rows), default=0.0)
    currency = result.run_account.currency
    columns = (
        "Leg",
        f"Net, {currency}".rstrip(", "),
        "",
        "Largest fall",
        "Trades",
        "Won",
        "Profit factor",
        "In market",
        "Costs",
    )
    head = element(
        "tr",
        *(
            element("th", name, scope="col", style=f"text-align:{'right' if at else 'left'}")
            for at, name in enumerate(columns)
        ),
        element("th", "Result over time", scope="col", style="text-align:left"),
    )
    account, trades = result.account, sum(row.trades for row in rows)
    decimals = money_decimals(result.capital)
    net, costs = (
        signed_money(sum(row.money for row in rows), decimals),
        f"{sum(row.costs for row in rows):,.{decimals}f}",
    )
    every = ["all", net, "", "", f"{trades:,}", "", "", account.text("exposure"), costs, ""]
    foot = element(
        "tr",
        *(
            element("td", element("b", text), style=_NUMBER if at else "text-align:left")
            for at, text in enumerate(every)
        ),
    )
    body = element("tbody", *(_leg(row, most, decimals) for row in rows), foot)
    table = element("table", element("thead", head), body, style="font-size:92%;margin:0")
    return element(
        "div",
        element(
            "p", element("b", "Legs"), element("span", " what they added is the result of the account", style=MUTE)
        ),
        element("div", table, role="region", aria_label="Legs", tabindex=0, style=WIDE),
    )


def _leg(row: LegRow, most: float, decimals: int) -> Html:
    cells: list[Html | str] = [
        element("td", row.strategy, " ", element("b", row.symbol), style="text-align:left;white-space:nowrap"),
        element("td", signed_money(row.money, decimals), style=f"{_NUMBER};font-weight:600"),
        element("td", contribution_bar(row.money, most)),
    ]
    texts = (
        MISSING if row.fall is None else f"{0.0 - row.fall:,.{decimals}f}",
        f"{row.trades:,}",
        MISSING if row.won is None else f"{row.won:.0f} %",
        MISSING if row.profit_factor is None else f"{row.profit_factor:.2f}",
        row.held,
        f"{row.costs:,.{decimals}f}",
    )
    drawn = sparkline(row.path, f"{row.strategy} on {row.symbol}", decimals) if len(row.path) else MISSING
    line = element("td", drawn, style="text-align:left")
    return element("tr", *cells, elements("td", texts, style=_NUMBER), line)


def contribution_bar(value: float, most: float) -> Html:
    """A bar from the middle: to the right what was added, to the left, hatched, what was lost."""
    part = 0.0 if not most else abs(value) / most * 50
    hatched = f"repeating-linear-gradient(135deg,{LOSS} 0 2px,transparent 2px 4px)"
    fill = f"background:{WIN}" if value >= 0 else f"background:{hatched};border:1px solid {LOSS};box-sizing:border-box"
    side = "left:50%" if value >= 0 else f"left:{50 - part:.1f}%"
    bar = element("div", style=f"position:absolute;top:3px;bottom:3px;{side};width:{part:.1f}%;{fill}")
    axis = element("div", style="position:absolute;top:0;bottom:0;left:50%;width:1px;background:rgba(128,128,128,0.8)")
    return element("div", bar, axis, style="position:relative;width:72px;height:16px", aria_hidden="true")


def sparkline(path: Floats, name: str, decimals: int) -> Html:
    """What a leg had made over time, as a small picture with its zero line; ``path`` is of shape (n,), n > 0."""
    at, values = decimate(np.arange(len(path), dtype=np.float64), path, 2 * _WIDTH)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (_HEIGHT - 4) / ((high - low) or 1.0)
    across = (_WIDTH - 2) / (len(path) - 1 or 1)
    points = " ".join(f"{1 + x * across:.1f},{2 + (high - y) * scale:.1f}" for x, y in zip(at, values, strict=True))
    zero = 2 + high * scale
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}">'
        f'<path d="M0 {zero:.1f}H{_WIDTH}" stroke="#808080" stroke-opacity="0.5" stroke-dasharray="2 2"/>'
        f'<polyline points="{points}" fill="none" stroke="{EQUITY}" stroke-width="1.3"/></svg>'
    )
    end, between = signed_money(float(path[-1]), decimals), f"{low:,.{decimals}f} and {high:,.{decimals}f}"
    alt = f"{name} over time: {end} at the end, between {between}"
    return element("img", alt=alt, width=_WIDTH, height=_HEIGHT, style="max-width:none", src=svg_source(drawn))
