"""Comparison of strategies: ranked by one statistic, the winner corrected for the search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING, minute_text, percent_text, points_text, share_text, utc_text, with_article
from ..domain.least_samples import GATES, MIN_DAYS
from ..errors import UnknownName, UsageError
from ..metrics.account_definitions import BESIDE_TRADES
from ..metrics.account_sharpe_sortino_and_drawdown import Account
from ..metrics.daily_returns import of_results
from ..metrics.reasons import ADDS, why_no_account
from ..metrics.trade_definitions import DEFINITIONS, Definition, label_of
from ..metrics.why_figure_is_missing import explained_text
from ..reports.markup import Html, cell, element, figures, html_figures, html_table, markdown_table
from ..reports.refusals_counted import refusal_pairs
from .deflated_sharpe import DeflatedSharpe, deflated_sharpe_ratio, effective_trials
from .overfitting_probability import Overfitting, overfitting

if TYPE_CHECKING:
    import pandas as pd

UNNAMED: Final = "walker"
"""The name of a comparison that was not registered."""

COLUMNS: Final = (
    "n",
    "win_rate",
    "avg_pnl",
    "total_pnl",
    "sharpe_ratio",
    "std_dev",
    "sortino_ratio",
    "calmar_ratio",
    "recovery_factor",
    "max_drawdown",
    "profit_factor",
)
"""The figures of the table, next to the one that ranks."""
_OF_ACCOUNT: Final = {f"account.{key}": definition for key, definition in BESIDE_TRADES.items()}
_INSTEAD: Final = {
    "total_pnl": "account.total_return",
    "max_drawdown": "account.max_drawdown",
    "calmar_ratio": "account.calmar",
}
_SHOWN: Final = tuple(_INSTEAD.get(name, name) for name in COLUMNS)
"""What a report shows of them: the account, over its whole frame, in place of figures that know trades alone."""

_BLOCKS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One strategy of a comparison.

    Attributes
    ----------
    strategy : str
    stats : mapping
        Its statistics; empty when it failed.
    value : float or None
        The figure that ranks; None when it is not available.
    error : str
        Why it failed; empty when it did not.
    account : Account
        The figures of its account; empty when it failed.
    """

    strategy: str
    stats: Mapping[str, Any]
    value: float | None
    error: str = ""
    account: Account = field(default_factory=Account)


def rankable(metric: str) -> Definition:
    """The definition of a statistic that can rank strategies.

    Raises
    ------
    UnknownName
        When there is no such statistic.
    UsageError
        When it is a word or yes and no.

    Examples
    --------
    >>> rankable("max_drawdown").better
    'lower'
    """
    if metric not in DEFINITIONS:
        raise UnknownName("figure", str(metric), known=[key for key in DEFINITIONS if key not in ("trend", "blown")])
    if metric in ("trend", "blown"):
        raise UsageError(f"{metric} is no number, so nothing can be ranked by it\nsee bknb.statistics for the others")
    return DEFINITIONS[metric]


def ranked(entries: Sequence[Entry], metric: str) -> list[Entry]:
    """The entries, best first: those without the figure last, ties in their order.

    Examples
    --------
    >>> entries = [Entry(strategy=name, stats={}, value=value) for name, value in (("a", 9.0), ("b", None), ("c", 2.0))]
    >>> [entry.strategy for entry in ranked(entries, "max_drawdown")]
    ['c', 'a', 'b']
    """
    sign = 1.0 if rankable(metric).lower_is_better else -1.0
    return sorted(entries, key=lambda entry: (bool(entry.error), entry.value is None, sign * (entry.value or 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Comparison:
    """Ranking of the strategies of a walker over one frame.

    Attributes
    ----------
    walker, symbol, exchange : str
    frame : str or None
    start, end : int
        UTC ms.
    metric : str
        The statistic that ranks.
    entries : tuple of Entry
        The best first; those without the figure after them, those that failed last.
    total : int
        How many strategies were to be compared.
    stopped : bool
        Whether the comparison was stopped before its end.
    warnings : tuple of str
    results : mapping
        Strategy name to its ``bknb.Result``.
    """

    walker: str
    symbol: str
    exchange: str
    frame: str | None
    start: int
    end: int
    metric: str
    entries: tuple[Entry, ...]
    total: int
    stopped: bool = False
    warnings: tuple[str, ...] = ()
    results: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, strategy: str) -> Any:
        """The result of one strategy."""
        if strategy not in self.results:
            raise UnknownName("strategy", strategy, known=self.results)
        return self.results[strategy]

    @property
    def best(self) -> Entry | None:
        """The winner; None when no strategy has the figure."""
        first = self.entries[0] if self.entries else None
        return first if first is not None and first.value is not None else None

    @property
    def failed(self) -> dict[str, str]:
        """Strategies that failed, and why."""
        return {entry.strategy: entry.error for entry in self.entries if entry.error}

    def to_pandas(self) -> pd.DataFrame:
        """The ranking: one row for each strategy, the best first; ``error`` is empty where nothing went wrong."""
        import pandas as pd

        names = [self.metric, *(name for name in COLUMNS if name != self.metric)]
        rows = [[*(entry.stats.get(name) for name in names), entry.error] for entry in self.entries]
        index = pd.Index([entry.strategy for entry in self.entries], name="strategy")
        made = pd.DataFrame(rows, index=index, columns=[*names, "error"])
        made[names] = made[names].astype(float)
        return made

    @property
    def tried(self) -> int:
        """Strategies tried on these candles, in this comparison and before it; 0 where tries are not counted."""
        return max((tries.count for each in self.results.values() if (tries := each.tries) is not None), default=0)

    @property
    def deflated(self) -> DeflatedSharpe | None:
        """The winner's trades, with all strategies tried on these candles counted; None for fewer than ten trades."""
        best = self.best
        if best is None or best.strategy not in self.results:
            return None
        result = self.results[best.strategy]
        in_points = any(each.stats.in_points for each in self.results.values())  # as the figures that rank
        trades = result.trades["points" if in_points else "pnl_percentage"].to_numpy()
        if len(trades) < GATES.min_trades:
            return None
        tried = max(len(self.entries), self.tried, 1)
        return deflated_sharpe_ratio(trades, trials=tried, count=self._independent(tried))

    def _independent(self, tried: int) -> float:
        daily = of_results(self.results.values())
        missing = tried - daily.shape[1]  # one that failed was tried as well
        return max(1.0, effective_trials(daily) + missing) if daily.shape[0] >= MIN_DAYS else float(tried)

    @property
    def overfitting(self) -> Overfitting | None:
        """How often the best in one half of the days was poor in the other; None for too few days or strategies.

        Strategies that added to a position are left out: adds and places need a capital.
        """
        daily = of_results(self.results.values())
        if daily.ndim != 2 or daily.shape[0] < MIN_DAYS or daily.shape[1] < 2:
            return None
        return overfitting(daily, blocks=_BLOCKS)

    # --- showing ------------------------------------------------------------------------------------------------

    def _title(self) -> str:
        named = "" if self.walker == UNNAMED else f" {self.walker!r}"
        return f"comparison{named} on {self.symbol}"

    def _header(self) -> list[tuple[str, str]]:
        own = DEFINITIONS[self.metric]
        frame = f"{self.frame}: " if self.frame else ""
        tested = f"{len(self.entries)} of {self.total}" + (" (stopped early)" if self.stopped else "")
        direction = "lower" if own.lower_is_better else "higher"
        return [
            ("Symbol", self.symbol),
            ("Exchange", self.exchange),
            ("Frame", f"{frame}{minute_text(self.start)} to {minute_text(self.end)} UTC"),
            ("Ranked by", f"{label_of(self.metric)} ({direction} is better)"),
            ("Strategies", tested),
            *([("Tried on these data", f"{self.tried:,} in all")] if self.tried else []),
        ]

    def _winner(self) -> list[tuple[str, str]]:
        best = self.best
        if best is None:
            return [("Best", f"no strategy has {with_article(label_of(self.metric))}")]
        rows = [
            ("Best", best.strategy + ("" if self._has_rivals() else " (no other strategy has the figure)")),
            (label_of(self.metric), self._text(best, self.metric)),
            *(
                (_definition(name).label, self._text(best, name))
                for name in ("account.total_return", "account.max_drawdown")
            ),
            ("Trades", str(best.stats.get("n", 0))),
        ]
        deflated, over = self.deflated, self.overfitting
        if deflated is not None and deflated.deflated is not None:
            of = f", when the best of {deflated.trials:.1f} independent ones is taken"
            luck = deflated.too_few if deflated.p_value is None else f"{share_text(deflated.p_value)}{of}"
            rows += [
                ("Deflated Sharpe ratio", share_text(deflated.deflated)),
                ("Chance that luck alone looks this good", luck),
            ]
        whys = [why for each in self.results.values() if (why := why_no_account(each.run_record.records))]
        why = ", or ".join(dict.fromkeys(whys))
        if over is not None:
            left_out = f"; {len(whys)} {'with adds or places ' if why == ADDS else ''}left out: {why}" if whys else ""
            rows.append(
                (
                    "Probability of backtest overfitting",
                    f"{share_text(over.probability)} ({over.splits} splits{left_out})",
                )
            )
        elif whys:
            rows.append(("Probability of backtest overfitting", f"{MISSING}: {why}"))
        return rows

    def _refusals(self) -> list[tuple[str, str]]:
        """What rules and risk profiles refused of each strategy, by rule."""
        ran = [
            (entry.strategy, self.results[entry.strategy]) for entry in self.entries if entry.strategy in self.results
        ]
        return [(f"{label}, {name}", text) for name, result in ran for label, text in refusal_pairs([result])]

    def _has_rivals(self) -> bool:
        return sum(entry.value is not None for entry in self.entries) > 1 or len(self.entries) == 1

    def _columns(self) -> tuple[list[str], list[str]]:
        names = [self.metric, *(name for name in _SHOWN if name != self.metric)]
        return names, ["Rank", "Strategy", *map(_label, names)]

    def _text(self, entry: Entry, name: str) -> str:
        if name not in _OF_ACCOUNT:
            return explained_text(name, entry.stats)
        return str(entry.account.text(name.removeprefix("account.")))

    def _rows(self) -> list[list[str]]:
        names, titles = self._columns()
        rows = []
        for place, entry in enumerate(self.entries, start=1):
            if entry.error:
                failed = [f"{MISSING}: failed", entry.strategy, f"failed: {entry.error}"]
                rows.append([*failed, *[""] * (len(titles) - len(failed))])
                continue
            rank = str(place) if entry.value is not None else f"{MISSING}: nothing to rank by"
            rows.append([rank, entry.strategy, *(self._text(entry, name) for name in names)])
        return rows

    def report(self) -> str:
        """The comparison as Markdown: header, winner, ranking, every trade of every strategy."""
        lines = [f"# Walker comparison: {cell(self.walker)} on {cell(self.symbol)}", ""]
        if self.stopped:
            lines += ["> **Stopped before its end: this is a partial comparison.**", ""]
        lines += [*figures(self._header()), "", "## Best strategy", "", *figures(self._winner()), ""]
        refusals = self._refusals()
        lines += ["## Refused signals", "", *figures(refusals), ""] if refusals else []
        lines += ["## Ranking", "", *markdown_table(self._columns()[1], self._rows()), ""]
        lines += [f"- {cell(warning)}" for warning in self.warnings]
        lines += ["## All trades", ""]
        trades = [row for entry in self.entries for row in self._trades(entry.strategy)]
        lines += markdown_table(_TRADE_TITLES, trades) if trades else ["No trade was closed."]
        names = self._columns()[0]
        lines += ["", "## What the figures mean", ""]
        lines += [f"- **{_label(name)}**: {cell(_definition(name).formula)}" for name in names]
        lines += [f"- **{name}**: {text}" for name, text in _SEARCH_WORDS]
        return "\n".join(lines) + "\n"

    def _trades(self, strategy: str) -> Iterator[list[str]]:
        if strategy not in self.results:
            return
        for row in self.results[strategy].trades.itertuples(index=False):
            times = [minute_text(at) for at in (row.pending_at, row.closed_at)]
            in_points = "points" in row._fields and row.pnl_percentage != row.pnl_percentage
            pnl = points_text(row.points) if in_points else percent_text(row.pnl_percentage)
            yield [strategy, row.signal_id, row.symbol, row.position.upper(), pnl, row.close_reason, *times]

    def __repr__(self) -> str:
        lines = [f"{self._title()}, ranked by {label_of(self.metric)}"]
        if self.stopped:
            lines.append(f"  PARTIAL   stopped after {len(self.entries)} of {self.total} strategies")
        width = max((len(entry.strategy) for entry in self.entries), default=0)
        for place, entry in enumerate(self.entries, start=1):
            value = f"failed: {entry.error}" if entry.error else self._text(entry, self.metric)
            count = entry.stats.get("n", 0)
            trades = "" if entry.error else f"  {count} trade{'' if count == 1 else 's'}"
            lines.append(f"  {'' if entry.value is None else place:>2}  {entry.strategy:<{width}}  {value}{trades}")
        lines += [f"  {label}: {text}" for label, text in [*self._refusals(), *self._winner()[5:]]]
        lines += [f"  warning   {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        head = html_figures(
            self._title().replace("comparison", "Comparison", 1), [*self._header(), *self._winner(), *self._refusals()]
        )
        ranking = html_table(self._columns()[1], self._rows(), left=2)
        return element("div", head, ranking, class_="bknb-comparison")


def _definition(name: str) -> Definition:
    return _OF_ACCOUNT[name] if name in _OF_ACCOUNT else DEFINITIONS[name]


def _label(name: str) -> str:
    return _OF_ACCOUNT[name].label if name in _OF_ACCOUNT else label_of(name)


_TRADE_TITLES: Final = ("Strategy", "Signal ID", "Symbol", "Position", "PNL (net)", "Close reason", "Opened", "Closed")
_SEARCH_WORDS: Final = (
    (
        "Deflated Sharpe ratio",
        (
            "chance that the winner's true Sharpe ratio is above what the best of that many worthless ones shows on "
            "average (Bailey and López de Prado 2014)"
        ),
    ),
    (
        "Chance that luck alone looks this good",
        (
            "of the best of as many worthless independent strategies; their number allows for strategies that resemble "
            "each other"
        ),
    ),
    (
        "Probability of backtest overfitting",
        (
            "how often the best in one half of the days was below the median in the other half (Bailey, Borwein, "
            "López de Prado and Zhu 2015)"
        ),
    ),
)


def questions_failed(result: Any) -> str:
    """The error of a strategy that raised and never had a trade or a signal; empty when it counts as run."""
    records = result.run_record.records  # the same without their tables
    if records.closed or records.cancelled or records.rejected:
        return ""
    for failure in result.errors:
        if failure.kind in ("strategy", "timeout", "exchange"):
            return f"{failure.message} ({failure.count:,} times, first at {utc_text(failure.first_at)})"
    return ""
