"""The ranking of a comparison as its dashboard shows it, also while strategies are still being tested."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from ..domain.formatting import MISSING
from ..metrics.account_definitions import BESIDE_TRADES, account_text
from ..metrics.reasons import ADDS, BELOW_ZERO
from ..metrics.trade_definitions import label_of, lower_is_better
from ..metrics.why_figure_is_missing import explained_text


@runtime_checkable
class Ranked(Protocol):
    """A whole comparison, as a dashboard needs it: ``bknb.Comparison``."""

    metric: str
    entries: Sequence[Any]
    total: int
    warnings: Sequence[str]


class Ranking:
    """The strategies of a comparison, the best first.

    Attributes
    ----------
    rows : list of dict of str to str
        The figures of each strategy as text, by their labels.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self._steps: dict[str, Any] = {}

    def add(self, step: Any) -> None:
        """Add one strategy that was tested: by its figure, those without one last."""
        self._steps[step.strategy] = step
        worse = -1.0 if lower_is_better(step.metric) else 1.0
        order = sorted(self._steps.values(), key=lambda each: (each.value is None, -worse * (each.value or 0.0)))
        self.rows = [_ranked(each, step.metric) for each in order]

    def replace(self, comparison: Ranked) -> None:
        """Take the ranking of a finished comparison."""
        self.rows = [_ranked(entry, comparison.metric) for entry in comparison.entries]


def _ranked(each: Any, metric: str) -> dict[str, str]:
    """One row: the figure that ranks, then what became of the account."""
    failed = f"{MISSING}: failed"
    keys = dict.fromkeys((metric, "n", "win_rate"))
    texts = {label_of(key): failed if each.error else explained_text(key, each.stats) for key in keys}
    without = ADDS if each.stats.get("total_pnl") is not None else BELOW_ZERO
    texts |= {
        BESIDE_TRADES[key].label: failed if each.error else account_text(key, each.account[key], without)
        for key in ("total_return", "max_drawdown")
    }
    return {"Strategy": each.strategy, **texts, "Failed": each.error}
