"""Durations by metric: totals, quantiles, and the waits between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import number_text
from .markup import Html, cell, figures_report, fragment, html_figures, html_table, markdown_table, text_figures

if TYPE_CHECKING:
    import pandas as pd

_FIELDS: Final = (
    "count", "total_ms", "mean_ms", "min_ms", "max_ms", "std_ms", "median_ms", "p95_ms", "p99_ms", "mean_wait_ms",
    "min_wait_ms", "max_wait_ms",
)  # fmt: skip
_TITLES: Final = (
    "Metric", "Count", "Total (ms)", "Mean (ms)", "Min (ms)", "Max (ms)", "Std dev (ms)", "Median (ms)", "P95 (ms)",
    "P99 (ms)", "Mean wait (ms)", "Min wait (ms)", "Max wait (ms)",
)  # fmt: skip
MEANING: Final[dict[str, str]] = {
    "backtest_total": "a whole backtest, fetching included",
    "backtest_timeframe": "one question to the strategy, with what its answer opened",
    "backtest_signal": "one signal from its answer to its end",
    "live_tick": "one minute of a live run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Durations of one metric, in milliseconds; waits are the time from one end to the next of the same metric."""

    metric: str
    count: int
    total_ms: float
    mean_ms: float
    min_ms: float
    max_ms: float
    std_ms: float
    median_ms: float
    p95_ms: float
    p99_ms: float
    mean_wait_ms: float | None
    min_wait_ms: float | None
    max_wait_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceInfo:
    """Durations in the runs of one strategy on one symbol.

    Attributes
    ----------
    strategy, symbol : str
    timings : tuple of Timing
        The longest in total first. Metrics lie within one another, so totals are not added up.
    events : int
        Durations received; beyond ``limit`` the oldest are dropped.
    limit : int
    """

    strategy: str
    symbol: str
    timings: tuple[Timing, ...]
    events: int
    limit: int

    def __getitem__(self, metric: str) -> Timing:
        for timing in self.timings:
            if timing.metric == metric:
                return timing
        raise KeyError(metric)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each metric."""
        import pandas as pd

        index = pd.Index([timing.metric for timing in self.timings], name="metric")
        rows = [[getattr(timing, name) for name in _FIELDS] for timing in self.timings]
        return pd.DataFrame(rows, index=index, columns=list(_FIELDS), dtype=float)

    def _pairs(self) -> list[tuple[str, str]]:
        longest = max((timing.total_ms for timing in self.timings), default=0.0)
        pairs = [("Durations", f"{self.events:,} (at most {self.limit:,} are kept)")]
        for timing in self.timings:
            part = 100 * timing.total_ms / longest if longest else 0.0
            pairs.append((timing.metric, f"{timing.total_ms:,.2f} ms in all ({part:.1f} % of the longest)"))
        return pairs

    def _cells(self) -> list[list[str]]:
        return [
            [
                timing.metric,
                f"{timing.count:,}",
                *(number_text(getattr(timing, name)) for name in _FIELDS[1:]),
            ]
            for timing in self.timings
        ]

    def report(self) -> str:
        """The report as Markdown."""
        title = f"Performance: {self.strategy} on {self.symbol}"
        table = markdown_table(_TITLES, self._cells()) if self.timings else []
        meanings = [f"- **{cell(timing.metric)}**: {MEANING.get(timing.metric, '')}" for timing in self.timings]
        method = (
            "Metrics lie within one another, so their totals must not be added. Percentiles are interpolated; the "
            "standard deviation divides by n - 1. A wait is the time from the end of one to the end of the next."
        )
        return figures_report(title, self._pairs(), table, [*meanings, "", method], empty="Nothing was timed.")

    def __repr__(self) -> str:
        return text_figures(f"performance of {self.strategy} on {self.symbol}", self._pairs())

    def _repr_html_(self) -> Html:
        title = f"Performance of {self.strategy} on {self.symbol}"
        return fragment(html_figures(title, self._pairs()), html_table(_TITLES, self._cells()))


def performance_info(strategy: str, symbol: str, events: Iterable[Any], *, limit: int) -> PerformanceInfo:
    """Sum up measured durations; each event has ``metric``, ``duration_ms``, ``at`` and ``previous_at``.

    Examples
    --------
    >>> performance_info("sma", "BTCUSDT", [], limit=10).events
    0
    """
    durations: dict[str, list[float]] = {}
    waits: dict[str, list[float]] = {}
    for event in events:
        durations.setdefault(event.metric, []).append(event.duration_ms)
        if event.previous_at is not None:
            waits.setdefault(event.metric, []).append(event.at - event.previous_at)
    timings = [_timing(metric, values, waits) for metric, values in durations.items()]
    return PerformanceInfo(
        strategy=strategy,
        symbol=symbol,
        timings=tuple(sorted(timings, key=lambda timing: -timing.total_ms)),
        events=sum(map(len, durations.values())),
        limit=limit,
    )


def _timing(metric: str, durations: list[float], waits: Mapping[str, list[float]]) -> Timing:
    values = np.asarray(durations)
    between = np.asarray(waits.get(metric, []))
    median, p95, p99 = (float(value) for value in np.percentile(values, [50, 95, 99]))
    return Timing(
        metric=metric,
        count=len(values),
        total_ms=float(values.sum()),
        mean_ms=float(values.mean()),
        min_ms=float(values.min()),
        max_ms=float(values.max()),
        std_ms=float(values.std(ddof=1)) if len(values) > 1 else 0.0,
        median_ms=median,
        p95_ms=p95,
        p99_ms=p99,
        mean_wait_ms=float(between.mean()) if len(between) else None,
        min_wait_ms=float(between.min()) if len(between) else None,
        max_wait_ms=float(between.max()) if len(between) else None,
    )
