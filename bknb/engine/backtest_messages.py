"""What a backtest tells while it runs, beside its events: how far it came, and how long its parts took."""

from __future__ import annotations

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
        self._timed: dict[str, int] = {}  # when each metric was measured last, UTC ms

    def progress(self, processed: int, total: int) -> None:
        """Tell how many moments of the frame are behind, of how many."""
        if self._listeners.progress_backtest.subscribed:
            done: Any = {"total": total, "processed": processed, "progress": processed / total}
            self._listeners.progress_backtest.emit(messages.Progress(kind="backtest", **self._labels, **done))

    def duration(self, metric: str, seconds: float) -> None:
        """Tell how long something took."""
        if self._listeners.performance.subscribed:
            now, before = SystemClock().now(), self._timed.get(metric)
            about: Any = {"mode": "backtest", "duration_ms": seconds * 1000, "at": now, "previous_at": before}
            self._listeners.performance.emit(messages.Performance(metric=metric, **self._labels, **about))
            self._timed[metric] = now
