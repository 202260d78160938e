"""The report of a sweep as text for a terminal, as Markdown and as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from ..domain.formatting import NOT_AVAILABLE, with_article
from ..metrics.reasons import NO_TRADE
from ..metrics.trade_definitions import DEFINITIONS
from ..metrics.why_figure_is_missing import why_missing_in_row
from .heatmap import HeatmapInfo, heatmap_info
from .markup import Html, cell, element, elements, figures
from .refusals_counted import REJECTED, by_rule, counts_text

SHOWN: Final = 10
"""Combinations a summary shows; all of them are in ``result.table``."""

MAP_SIDE: Final = 40
"""A grid with a longer side is not drawn in a summary."""


def _text(value: object) -> str:
    return f"{value:z.4g}" if isinstance(value, float) else str(value)


def facts(result: Any) -> list[tuple[str, str]]:
    """The facts of a sweep, as pairs of name and text."""
    frame = result.frame
    errors = int((result.table["error"] != "").sum())
    pairs = [
        ("Strategy", result.strategy),
        ("Symbols", ", ".join(result.symbols)),
        ("Frame", str(frame)),
        ("Execution model", result.execution),
        ("Costs per side", f"fee {result.settings.percent_fee:g} %, slippage {result.settings.percent_slippage:g} %"),
        ("Search", f"{result.search}, ranked by {result.metric}"),
        ("Combinations", f"{len(result):,}" + (" (stopped early)" if result.stopped else "")),
        ("Tried on this data", f"{result.trials:,} in all"),
        ("Time", f"{result.seconds:.2f} s"),
    ]
    if result.from_ledger:
        pairs.append(("From the ledger", f"{result.from_ledger:,}"))
    if errors:
        pairs.append(("Failed", f"{errors:,}; see result.errors"))
    return pairs


_RETURN: Final = "total_return"


def _lines(result: Any) -> tuple[list[str], list[list[str]]]:
    """The best combinations; what the trades came to is compounded, as on an account."""
    ranking, table, given = result.ranking.head(SHOWN), result.table, {*result.param_columns.values()}
    returns = (result.mean_equity.reindex(ranking.index) - 1) * 100
    if result.metric == "total_pnl":
        ranking.insert(ranking.columns.get_loc("total_pnl") + 1, _RETURN, returns)
    shown = [_RETURN if name == "total_pnl" != result.metric else name for name in map(str, ranking.columns)]
    rows = [
        [
            str(number),
            *(
                _text(value)
                if name in given
                else _figure(name, percent if name == _RETURN else value, table.loc[[number]])
                for name, value in zip(shown, row, strict=True)
            ),
        ]
        for number, row, percent in zip(ranking.index, ranking.itertuples(index=False), returns, strict=True)
    ]
    return ["combination", *(f"{name}, %" if name == _RETURN else name for name in shown)], rows


def _figure(name: str, value: object, rows: Any) -> str:
    """A cell of the best combinations; where a figure is not available, with the reason: of each symbol its own."""
    if not isinstance(value, float) or math.isfinite(value):
        return _text(value)
    symbols = list(map(str, rows.index.get_level_values(-1)))
    failed = [symbol for symbol, error in zip(symbols, rows["error"], strict=True) if error]
    whys: dict[str, list[str]] = {"it failed": failed} if failed else {}
    figures_known = [column for column in rows.columns if column in DEFINITIONS]
    for symbol, row in () if failed else zip(symbols, rows[figures_known].to_dict("records"), strict=True):
        figure = "equity_final" if name == _RETURN else name
        why = why_missing_in_row(figure, row) if figure in DEFINITIONS else NO_TRADE
        whys.setdefault(why, []).append(symbol)
    if len(whys) == 1 and len(symbols) == len(next(iter(whys.values()))):
        return f"{NOT_AVAILABLE}: {next(iter(whys))}"
    reasons = [f"{why} ({', '.join(symbols)})" for why, symbols in whys.items()]
    return f"{NOT_AVAILABLE}: {', '.join(reasons)}"


def _empty(result: Any) -> str:
    """What an empty cell of a map means; nothing where there is none."""
    info = _map(result)
    if info is None or np.isfinite(info.values).all():
        return ""
    failed = result.table["error"].ne("").groupby(level=0).any()
    without = result.means(info.value).isna()
    whys = []
    if (without & ~failed).any():
        why = DEFINITIONS[info.value].null_when if info.value in DEFINITIONS else ""
        whys.append(f"no combination there has {with_article(info.value)}" + (f" ({why})" if why else ""))
    if failed.any():
        whys.append("it failed; see result.errors" if whys else "every combination there failed; see result.errors")
    tried = result.table[[result.param_columns[name] for name in (info.x, info.y)]].map(repr).drop_duplicates()
    if len(tried) < info.values.size:
        whys.append("no combination was tried there")
    return f"Empty: {', or '.join(whys)}."


def _refusals(result: Any) -> list[tuple[str, str]]:
    """What was rejected of the best combination and of that with the most rejections, by rule."""
    counts = result.table["rejected"].groupby(level=0).sum()
    if not counts.sum():
        return []
    named = {} if result.best is None else {result.best["combination"]: "the best"}
    named.setdefault(int(counts.idxmax()), "the most")
    found = []
    for number, why in named.items():
        if not counts[number]:
            continue
        rules = by_rule(result.refusals(number))
        text = counts_text(rules) if rules else f"{counts[number]:,}"  # a ledger of an earlier version has no rules
        found.append((f"{REJECTED} of combination {number} ({why})", text))
    return found


def _sum_explained(result: Any) -> list[tuple[str, str]]:
    """The difference between a sum of results that ranks and what an account would have come to."""
    if result.metric != "total_pnl":
        return []
    why = "the sum of the results of the trades, in percent; an account compounds them: total_return"
    return [("total_pnl", why)]


def _caution(result: Any) -> str:
    return (
        f"The best of {result.trials:,} trials looks better than it is: among many, some are lucky. "
        "Judge it with the number of trials, and on data it has not seen."
    )


def sweep_text(result: Any) -> str:
    """The summary for a terminal, a few lines."""
    known = dict(facts(result))
    symbols = ", ".join(result.symbols)
    tried = f"{known['Combinations']} combinations, {known['Search']}, {known['Time']}"
    tried += f", {result.trials:,} trials on this data"
    lines = [f"sweep {result.strategy} on {symbols}, {known['Frame']}, {result.execution}", f"  {tried}"]
    names, rows = _lines(result)
    widths = [max(len(cell) for cell in column) for column in zip(names, *rows, strict=True)]
    lines += [
        "  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [names, *rows]
    ]
    if len(result) > SHOWN:
        lines.append(f"  ... {len(result) - SHOWN:,} more in result.table")
    if "Failed" in known:
        lines.append(f"  failed    {known['Failed']}")
    lines += [f"  {label}: {text}" for label, text in [*_sum_explained(result), *_refusals(result)]]
    lines += [f"  warning   {warning}" for warning in result.warnings]
    return "\n".join(lines)


def sweep_report(result: Any) -> str:
    """The sweep as Markdown: trials, the best combinations, a map of two parameters, and warnings."""
    lines = [f"# Sweep: {cell(result.strategy)}", "", "| | |", "|---|---|"]
    lines += [_row(pair) for pair in facts(result)]
    names, rows = _lines(result)
    lines += ["", "## Best combinations", "", _row(names), "|---" * len(names) + "|"]
    lines += [_row(row) for row in rows]
    said = [*_sum_explained(result), *_refusals(result)]
    lines += ["", *figures(said)] if said else []
    info = _map(result)
    if info is not None:
        lines += ["", f"## {cell(f'{info.value} over {info.x} and {info.y}')}", ""]
        lines += [f"| {cell(info.y)} \\ {cell(info.x)} " + _row(map(str, info.x_values))]
        lines += ["|---" * (len(info.x_values) + 1) + "|"]
        lines += [
            _row([str(line), *(_text(float(value)) if math.isfinite(value) else "" for value in row)])
            for line, row in zip(info.y_values, info.values, strict=True)
        ]
        lines += ["", _empty(result)] if _empty(result) else []
    lines += ["", f"> {_caution(result)}"]
    if result.warnings:
        lines += ["", "## Warnings", "", *(f"- {cell(warning)}" for warning in result.warnings)]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell(text) for text in cells)} |"


def _map(result: Any) -> HeatmapInfo | None:
    """The map of the first two varied parameters, when it is small enough to read."""
    if not len(result) or not result.params:
        return None
    info = heatmap_info(result)
    sides = (len(info.x_values), len(info.y_values))
    return info if info.y and min(sides) > 1 and max(sides) <= MAP_SIDE else None


def sweep_html(result: Any) -> Html:
    """The sweep for a notebook: facts, best combinations, and a coloured grid that needs no script."""
    names, rows = _lines(result)
    info = _map(result)
    best = element("tbody", *(element("tr", elements("td", row)) for row in rows))
    return element(
        "div",
        element("table", *(element("tr", elements("td", pair)) for pair in facts(result))),
        element("table", element("thead", element("tr", elements("th", names))), best),
        *(element("p", f"{label}: {text}") for label, text in [*_sum_explained(result), *_refusals(result)]),
        None if info is None else _grid(info),
        elements("p", (*filter(None, [_empty(result)]), _caution(result), *result.warnings)),
    )


def _grid(info: HeatmapInfo) -> Html:
    values = info.values
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    span = high - low or 1.0

    def shaded(value: float) -> Html:
        if not math.isfinite(value):
            return element("td")
        strength = (value - low) / span
        return element("td", f"{value:z.3g}", style=f"background:rgba(26,158,119,{0.08 + 0.72 * strength:.2f})")

    head = element("tr", element("th"), elements("th", map(str, info.x_values)))
    body = (
        element("tr", element("th", str(line)), *(shaded(float(value)) for value in row))
        for line, row in zip(info.y_values, values, strict=True)
    )
    return element(
        "table",
        element("caption", f"{info.title}; columns: {info.x}, rows: {info.y}"),
        element("thead", head),
        element("tbody", *body),
    )
