"""Waiting for a run in a notebook: the run has its own thread, this one looks, tells and can be interrupted."""

from __future__ import annotations

from typing import Any, Final

from ..market.clock import stopwatch
from .display import Progress, speed

LOOK_EVERY_SECONDS: Final = 0.125
PATIENCE_SECONDS: Final = 10.0
"""How long an interrupted run may take to come to its next minute before it is left behind."""


def wait(task: Any, label: str, *, minutes_per_moment: float = 1.0) -> Any:
    """The result of a background run, with a bar while it goes.

    ``KeyboardInterrupt`` (the notebook's stop button) ends the run at its next minute; the result so far is returned
    and says that it is partial.

    Parameters
    ----------
    task : Task
        What ``bknb.Backtest.background`` returned.
    label : str
        What the bar says.
    minutes_per_moment : float
        Distance between two moments of the frame, for the speed.

    Returns
    -------
    Result

    Raises
    ------
    BknbError
        Whatever the run failed with.
    KeyboardInterrupt
        When the run does not come to an end after an interrupt, because the strategy itself hangs.
    """
    progress = Progress(label)
    began = stopwatch()
    stopped_at: float | None = None
    while True:
        try:
            if task.wait(LOOK_EVERY_SECONDS):
                break
            seconds = stopwatch() - began
            minutes = task.processed * minutes_per_moment
            progress.update(task.progress, trades=len(task.trades_so_far), minutes=minutes, seconds=seconds)
            if stopped_at is not None and seconds - stopped_at > PATIENCE_SECONDS:
                progress.close("interrupted; the strategy did not give the run back")
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            if stopped_at is not None:
                raise
            stopped_at = stopwatch() - began
            task.stop(now=True)
    seconds = stopwatch() - began
    if task.status == "rejected":
        progress.close("failed")
        return task.result()  # raises what the run died of
    result = task.result()
    progress.close(_note(result, seconds))
    return result


def _note(result: Any, seconds: float) -> str:
    trades = len(result.trades)
    minutes = (result.end - result.start) / 60_000
    how = "stopped early, partial result" if result.stopped else "done"
    pace = "" if result.stopped else f" ({speed(minutes, seconds)})"
    return f"{how} in {seconds:.1f} s{pace} · {trades:,} trade{'' if trades == 1 else 's'}"
