"""The monthly returns on a tear sheet: a row for each year, with what was held beside the account below it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..domain.interval import DAY_MS
from ..domain.printed_text import month_name, printed_number
from ..metrics.benchmark_figures import day_closes, held_percent
from .markup import Html, element, elements
from .tearsheet_run import SheetRun
from .tearsheet_style import HEAT

Year = tuple[str, tuple[float | None, ...], float | None]


def years_of(run: SheetRun) -> tuple[Year, ...]:
    """Each year with the returns of its months and its own, percent; below it those of what was held beside it."""
    months, years = run.result.calendar("month")["return"], run.result.calendar("year")["return"]
    by_month = {(period.year, period.month): float(value) for period, value in months.items()}
    held = _held_years(run)
    rows: list[Year] = []
    for period, whole in years.items():
        returns = tuple(by_month.get((period.year, month)) for month in range(1, 13))
        rows.append((str(period.year), returns, float(whole)))
        if period.year in held:
            rows.append(held[period.year])
    return tuple(rows)


def _held_years(run: SheetRun) -> dict[int, Year]:
    """What was held beside the account by calendar year: returns of months and years after one round of costs."""
    start, closes = _held_days(run)
    if not len(closes) or np.isnan(closes).all():
        return {}
    days = (np.arange(len(closes)) + start // DAY_MS).astype("datetime64[D]")
    found: dict[int, Year] = {}
    before = 1.0
    for year in np.unique(days.astype("datetime64[Y]")):
        began, months = before, []
        for month in range(12):
            inside = closes[days.astype("datetime64[M]") == year.astype("datetime64[M]") + month]
            known = inside[~np.isnan(inside)]
            months.append((float(known[-1]) / before - 1) * 100 if len(known) and before > 0 else None)
            before = float(known[-1]) if len(known) else before
        number = int(str(year))
        found[number] = ("held", tuple(months), (before / began - 1) * 100 if began > 0 else None)
    return found


def _held_days(run: SheetRun) -> tuple[int, Any]:
    """The start (UTC ms), and what a unit of money held beside the account was worth at the end of each UTC day."""
    benchmark, candles, nothing = run.result.benchmark, None, np.empty(0)
    if benchmark is None and not run.is_portfolio:
        candles = run.result.candles
    start, end = (int(run.result.marked.time_ms[at]) for at in (0, -1))
    if benchmark is not None and benchmark.is_above_zero:
        first, closes, costs = benchmark.first, benchmark.day_close, benchmark
    elif candles is not None and len(candles) and not (candles.close <= 0.0).any() and candles.open[0] > 0.0:
        costs = run.result.account_terms
        first, closes = float(candles.open[0]), day_closes(candles.timestamp + costs.bar_ms, candles.close, start, end)
    else:
        return start, nothing
    return start, 1.0 + held_percent(first, closes, slippage=costs.slippage, fee=costs.fee) / 100.0


def months_table(years: tuple[Year, ...]) -> Html:
    """The rows of :func:`years_of` as a table, each number on a tint of its sign: the darker, the larger."""
    known = [value for _, months, _ in years for value in months if value is not None]
    most_of_months, most_of_years = (
        max((abs(value) for value in values if value is not None), default=0.0)
        for values in (known, [whole for *_, whole in years])
    )
    names = [*(month_name(number) for number in range(1, 13)), "Year"]
    head = element("tr", element("th", ""), elements("th", names, scope="col", role="columnheader"), role="row")
    rows = (
        element(
            "tr",
            element("th", year, scope="row", role="rowheader"),
            *(_heat(value, most_of_months) for value in of_months),
            _heat(whole, most_of_years, "whole"),
            role="row",
        )
        for year, of_months, whole in years
    )
    table = element(
        "table",
        element("thead", head, role="rowgroup"),
        element("tbody", *rows, role="rowgroup"),
        class_="months",
        role="table",
        aria_label="Returns of months and years in percent",
    )
    return element("div", table, class_="months-box")


def _heat(value: float | None, most: float, class_: str | None = None) -> Html:
    """A number on a tint of its sign."""
    if value is None:
        return element("td", class_=class_, role="cell")
    part = HEAT * min(abs(value) / most, 1.0) if most > 0 else 0.0
    fill = f"background:rgba(var(--{'upf' if value > 0 else 'downf'}),{part:.2f})" if part >= 0.005 else None
    return element("td", printed_number(value, 1, signed=True), class_=class_, style=fill, role="cell")
