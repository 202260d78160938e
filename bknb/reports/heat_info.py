"""Many symbols of one strategy: a table by symbol, and the pooled trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING, minute_text, percent_text
from ..domain.profit_of_partial_closes import closed_points
from ..metrics.account_definitions import ACCOUNT_DEFINITIONS
from ..metrics.figure_table import HeatStatistics, in_points
from ..metrics.heat_of_symbols import heat_statistics
from ..metrics.reasons import ADDS, POOLED_POINTS
from ..metrics.trade_definitions import (
    DEFINITIONS,
    HEAT_DEFINITIONS,
    NO_PORTFOLIO,
    OF_ACCOUNT,
    figure_text,
    label_of,
)
from ..metrics.why_figure_is_missing import explained_text, why_missing, why_missing_pooled
from .markup import Html, cell, element, figures, fragment, html_figures, html_table, markdown_table

if TYPE_CHECKING:
    import pandas as pd

    from ..metrics.figure_table import Statistics

COLUMNS: Final = (
    "total_pnl", "sharpe_ratio", "annualized_sharpe_ratio", "profit_factor", "expectancy", "win_rate", "avg_win",
    "avg_loss", "max_drawdown", "max_win_streak", "max_loss_streak", "total_trades", "certainty_ratio",
    "sortino_ratio", "calmar_ratio", "recovery_factor", "expected_yearly_returns", "trades_per_year", "median_pnl",
    "avg_peak_pnl", "avg_fall_pnl", "peak_profit_pnl", "max_drawdown_pnl", "avg_duration", "avg_win_duration",
    "avg_loss_duration", "avg_consecutive_win_pnl", "avg_consecutive_loss_pnl", "trend", "trend_strength",
    "trend_confidence", "buyer_pressure", "seller_pressure", "buyer_strength", "seller_strength",
    "pressure_imbalance", "median_step_size",
)  # fmt: skip
"""The figures of a symbol's row."""

_TOLD: Final = tuple(key for key in COLUMNS if key != "total_pnl")  # behind the total return
_SHOWN: Final = 12  # columns of the table in a notebook; the report has all
_FEWEST: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatInfo:
    """One strategy on many symbols.

    Attributes
    ----------
    strategy : str
    statistics : HeatStatistics
        Pooled figures under ``portfolio_*``, and ``per_symbol``.
    runs : tuple of (str, int, int)
        Symbol, first and last moment (UTC ms) of every run.
    warnings : tuple of str
        Why the symbols may not compare.
    without_equity : dict of str to str
        Symbols whose run has no equity, with the reason.
    """

    strategy: str
    statistics: HeatStatistics
    runs: tuple[tuple[str, int, int], ...]
    warnings: tuple[str, ...] = ()
    without_equity: Mapping[str, str] = field(default_factory=dict)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each symbol, the best Sharpe ratio first; symbols without a trade last."""
        import pandas as pd

        by_symbol = self.statistics["per_symbol"]
        index = pd.Index(list(by_symbol), name="symbol")
        return pd.DataFrame(
            [[stats[key] for key in COLUMNS] for stats in by_symbol.values()], index=index, columns=list(COLUMNS)
        )

    def _pairs(self) -> list[tuple[str, str]]:
        silent = len({symbol for symbol, _, _ in self.runs} - set(self.statistics["per_symbol"]))
        pairs = [("Symbols", str(len(self.runs)) + (f", {silent} of them without a trade" if silent else ""))]
        known = in_points(DEFINITIONS) if self.statistics.in_points else DEFINITIONS
        for key, own in HEAT_DEFINITIONS.items():
            if key.startswith("portfolio_"):
                text = figure_text(known[key.removeprefix("portfolio_")], self.statistics[key])
                why = f": {why_missing_pooled(key, self.statistics)}" if text == MISSING else ""
                pairs.append((own.label, text + why))
        return pairs

    def _rows(self, count: int) -> list[list[str]]:
        return [
            [
                symbol,
                self._return_of(symbol, stats),
                *(explained_text(key, stats) for key in _TOLD[: count - 1]),
            ]
            for symbol, stats in self.statistics["per_symbol"].items()
        ]

    def _return_of(self, symbol: str, stats: Statistics) -> str:
        missing = self.without_equity.get(symbol)
        return f"{MISSING}: {missing}" if missing else _total_return(stats)

    def _titles(self, count: int) -> list[str]:
        return ["Symbol", ACCOUNT_DEFINITIONS["total_return"].label, *map(label_of, _TOLD[: count - 1])]

    def report(self) -> str:
        """The table as Markdown, with what each figure means."""
        lines = [f"# Heat: {cell(self.strategy)}", ""]
        if not self.statistics["per_symbol"]:
            return "\n".join([*lines, "No trade was closed."]) + "\n"
        lines += [f"> {cell(warning)}" for warning in self.warnings]
        lines += ["## Pooled trades", "", f"{NO_PORTFOLIO[0].upper()}{NO_PORTFOLIO[1:]}.", ""]
        lines += [*figures(self._pairs()), "", "## By symbol", ""]
        lines += [*markdown_table(self._titles(len(COLUMNS)), self._rows(len(COLUMNS))), "", "## Runs", ""]
        runs = [[symbol, minute_text(first), minute_text(last)] for symbol, first, last in self.runs]
        lines += markdown_table(("Symbol", "From (UTC)", "To (UTC)"), runs)
        lines += ["", "## What the figures mean", ""]
        lines += [f"- **{self._titles(1)[1]}**: {_RETURN_WORDS}"]
        lines += [f"- **{label_of(key)}**: {cell(DEFINITIONS[key].formula)}" for key in _TOLD]
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        head = f"heat of {self.strategy}: {len(self.runs)} symbols"
        notes = (*self.warnings, NO_PORTFOLIO)
        return "\n".join([head, *(f"  {note}" for note in notes), repr(self.statistics)])

    def _repr_html_(self) -> Html:
        head = html_figures(f"Heat of {self.strategy}", self._pairs()[:12])
        return fragment(head, element("p", NO_PORTFOLIO), html_table(self._titles(_SHOWN), self._rows(_SHOWN)))


_RETURN_WORDS: Final = "(equity_final - 1) * 100: the results of the trades of a symbol one after the other, compounded"


def _total_return(stats: Statistics) -> str:
    final = stats["equity_final"]
    return f"{MISSING}: {why_missing('equity_final', stats)}" if final is None else percent_text((final - 1) * 100)


def heat_info(strategy: str, results: Iterable[Any]) -> HeatInfo:
    """Pool results of one strategy; each is a ``bknb.Result``, one for each symbol."""
    chosen = list(results)
    below_zero = any(result.run_record.records.opened_below_zero for result in chosen)
    trades = [row for result in chosen for row in _trades(result, with_points=below_zero)]
    reasons = {result.symbol: result.account.reasons.get("total_return", "") for result in chosen}
    missing = {symbol: reason for symbol, reason in reasons.items() if reason}
    statistics = heat_statistics(trades)
    if added := [symbol for symbol, reason in missing.items() if reason == ADDS]:  # perhaps to one that is still open
        statistics.update(dict.fromkeys({f"portfolio_{key}" for key in OF_ACCOUNT} & statistics.keys()))
        for symbol in statistics["per_symbol"].keys() & {*added}:
            statistics["per_symbol"][symbol].update(dict.fromkeys(OF_ACCOUNT))
    return HeatInfo(
        strategy=strategy,
        statistics=statistics,
        runs=tuple((result.symbol, result.start, result.end) for result in chosen),
        warnings=(
            *_differences(chosen),
            *(f"{symbol} has no equity: {why}" for symbol, why in missing.items()),
            *([POOLED_POINTS] if below_zero and len(chosen) > 1 else []),
        ),
        without_equity=missing,
    )


def _trades(result: Any, *, with_points: bool) -> list[dict[str, Any]]:
    """The rows of the trades of a result; ``with_points``: all of them have points, whatever its exchange allows."""
    rows: list[dict[str, Any]] = result.trades.to_dict("records")
    if not with_points:
        return rows
    record = result.run_record
    costs = {"slippage": record.plan.settings.percent_slippage, "fee": record.plan.settings.percent_fee}
    known = (closed_points(event, **costs) for event in record.records.closed)
    return [row | {"points": each} for row, each in zip(rows, known, strict=True)]


def _differences(results: list[Any]) -> list[str]:
    if len(results) < _FEWEST:
        return []
    notes = []
    if len({(result.start, result.end) for result in results}) > 1:
        notes.append("the runs are over different times; see the list of runs")
    if len({result.execution for result in results}) > 1:
        notes.append("the runs have different execution models")
    if len({result.settings for result in results}) > 1:
        notes.append("the runs have different settings")
    if any(result.stopped for result in results):
        notes.append(f"stopped before their end: {', '.join(r.symbol for r in results if r.stopped)}")
    return notes
