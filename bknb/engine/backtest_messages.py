"""What a backtest tells while it runs, beside its events: how far it came, and how long its parts took."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..events import messages
from ..market.system_clock import SystemClock

if TYPE_CHECKING:
    from ..events.heard import Listeners
    from ..events.messages import RunLabels


class BacktestMessages:
    """Progress and durations of one backtest, made where somebody listens.

    Parameters
    ----------
    labels
        Symbol, strategy, exchange and frame by name.
    listeners
        Who hears them.
    """

    def __init__(self, labels: RunLabels, listeners: Listeners) -> None:
        self._labels, self._listeners = labels, listeners
        self._now, self._timing = SystemClock().now, partial(messages.Performance, **labels, mode="backtest")
        self._timed: dict[str, int] = {}  # when each metric was measured last, UTC ms

    def progress(self, processed: int, total: int) -> None:
        """Tell how many moments of the frame are behind, of how many."""
        if self._listeners.progress_backtest.subscribed:
            done: Any = {"total": total, "processed": processed, "progress": processed / total}
            self._listeners.progress_backtest.emit(messages.Progress(kind="backtest", **self._labels, **done))

    def duration(self, metric: str, seconds: float) -> None:
        """Tell how long something took."""
        performance = self._listeners.performance
        if performance.subscribed:  # two for each question
            now, before = self._now(), self._timed.get(metric)
            performance.emit(self._timing(metric=metric, duration_ms=seconds * 1000, at=now, previous_at=before))
            self._timed[metric] = now
