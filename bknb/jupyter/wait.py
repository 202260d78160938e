"""Waiting for a run in a notebook: the run has its own thread, this one shows progress and can be interrupted."""

from __future__ import annotations

import contextvars
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..market.system_clock import stopwatch
from ..reports.markup import minute_text
from ..reports.progress_text import clock_text, interval_minutes, minutes_between, speed_text
from .progress import ControlBar, ProgressLine, buttons_work, progress_line
from .run_buttons import RunControls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_EVERY_SECONDS: Final = 0.125
SHORT_SECONDS: Final = 0.3
"""A run that ends sooner shows no bar."""
INTERRUPT_SECONDS: Final = 10.0
"""How long an interrupted run may take to come to its next minute before it is left behind."""


class Follower:
    """The progress of one task: with buttons where a front end shows widgets, else as a line or not at all.

    Parameters
    ----------
    task : Task
    label : str, optional
        The label of the line.
    foreground : bool
        Whether a cell waits for the task.
    line : bool
        Whether a plain line follows the run where buttons cannot be shown.
    quiet : float
        Seconds in which nothing is shown yet.
    buttons_only : bool
        Leave out how far the run is, where something else shows it.
    """

    def __init__(
        self,
        task: Any,
        *,
        label: str | None = None,
        foreground: bool = True,
        line: bool = False,
        quiet: float = 0.0,
        buttons_only: bool = False,
    ) -> None:
        self.task = task
        self._line: ProgressLine | None = None
        if line:
            self._line = progress_line(task, label)
        elif buttons_work():
            self._line = ControlBar(RunControls(task, label=label, foreground=foreground))
        self._quiet, self._buttons_only = quiet, buttons_only
        self._began = stopwatch()
        self._looked = -1.0

    @property
    def seconds(self) -> float:
        """Seconds since it began to follow."""
        return stopwatch() - self._began

    def refresh(self) -> None:
        """Show the progress of the run, at most eight times a second."""
        seconds = self.seconds
        if self._line is None or seconds < self._quiet or seconds - self._looked < 0.8 * LOOK_EVERY_SECONDS:
            return
        self._looked = seconds
        fraction: float | None = getattr(self.task, "progress", None)
        if self._buttons_only:
            self._line.show("", percent=None)
        elif fraction is None:
            self._line.show(_so_far(self.task, seconds), percent=None)
        else:
            self._line.update(fraction, seconds=seconds, facts=self._facts(seconds))

    def _facts(self, seconds: float) -> list[str]:
        """The facts shown beside the progress: trades and speed, or what the work reports."""
        task, minutes = self.task, _minutes_behind(self.task)
        reported = getattr(task, "facts_so_far", None)
        if reported is not None:  # work that is not counted in minutes and trades
            return list(reported())
        if minutes is None:
            return [f"{task.processed:,} of {task.total:,}"]
        facts = [_trades(len(task.trades_so_far))]
        if task.progress > 0 and not task.paused:  # a paused run has no speed
            facts += _speed(task, minutes, seconds)
        return facts

    def close(self, text: str = "") -> None:
        """Replace the progress by a final sentence: the given one, or the outcome of the task."""
        if self._line is not None:
            self._line.close(text or _note(self.task, self.seconds))


def _minutes_behind(task: Any) -> float | None:
    """Minutes of history a backtest has processed; None for any other work."""
    frame = getattr(getattr(task, "plan", None), "frame", None)
    if frame is None:
        return None
    return float(task.processed * interval_minutes(frame.interval))


def _speed(task: Any, minutes: float, seconds: float) -> list[str]:
    """How fast history is gone through; nothing over longer bars than minutes, of which nobody counts minutes."""
    return [speed_text(minutes / max(seconds, 1e-9))] if interval_minutes(task.plan.base) == 1 else []


def wait(task: Any, label: str) -> Any:
    """The result of a background run, with a progress bar while it runs.

    ``KeyboardInterrupt`` (the notebook's stop button) ends the run at its next minute; the result so far is returned
    and is marked as partial.

    Parameters
    ----------
    task : Task
        What ``bknb.Backtest.background`` returned.
    label : str
        The label of the bar.

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
    return _wait(task, Follower(task, label=label, line=True))


def wait_shown(task: Any) -> Any:
    """The result of a task, with buttons where a front end shows widgets and without output elsewhere."""
    return _wait(task, Follower(task, quiet=SHORT_SECONDS))


def _wait(task: Any, follower: Follower) -> Any:
    stopped_at: float | None = None
    while True:
        try:
            if task.wait(LOOK_EVERY_SECONDS):
                break
            follower.refresh()
            if stopped_at is not None and follower.seconds - stopped_at > INTERRUPT_SECONDS:
                follower.close("interrupted; the strategy did not give the run back")
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            if stopped_at is not None:
                raise
            stopped_at = follower.seconds
            task.stop(now=True)
    follower.close()
    return task.result()  # raises the error of the run


@contextmanager
def shown(task: Any) -> Iterator[Callable[[], None]]:
    """Buttons while a cell awaits a task; yields the function that refreshes the progress."""
    follower = Follower(task, quiet=SHORT_SECONDS)
    try:
        yield follower.refresh
    finally:
        follower.close("" if task.done else "goes on in the background")


def show_task(task: Any, *, buttons_only: bool = False) -> None:
    """Show the buttons of a running task, and its progress unless ``buttons_only``.

    Raises
    ------
    NotImplementedError
        Where no front end looks, or it is over: IPython then shows it as text.
    """
    if task.status != "pending" or not buttons_work():
        raise NotImplementedError
    follower = Follower(task, foreground=False, buttons_only=buttons_only)
    follower.refresh()
    context = contextvars.copy_context()  # what it shows belongs to the cell that showed the task
    threading.Thread(target=context.run, args=(_follow, follower), name="bknb-bar", daemon=True).start()


def _follow(follower: Follower) -> None:
    while not follower.task.wait(LOOK_EVERY_SECONDS):
        follower.refresh()
    follower.close()


def _so_far(task: Any, seconds: float) -> str:
    """The progress of a task without a known end: time, last minute, trades."""
    parts = [f"{clock_text(seconds)} so far"]
    now = getattr(task, "now", None)
    if now is not None:
        parts = [f"up to {minute_text(now)} UTC"]
    trades = getattr(task, "trades_so_far", None)
    if trades is not None:
        parts.append(_trades(len(trades)))
    return " · ".join(parts)


def _trades(count: int) -> str:
    return f"{count:,} trade{'' if count == 1 else 's'}"


def _note(task: Any, seconds: float) -> str:
    """The outcome of a task: how it ended, time taken, trades."""
    if task.status == "rejected":
        return "failed"
    if getattr(task, "progress", None) is None:
        return f"over after {clock_text(seconds)} min, {_so_far(task, seconds)}"
    result = task.result()
    stopped = bool(getattr(result, "stopped", False))
    ending = getattr(task, "ending", None)
    if ending is not None or _minutes_behind(task) is None:
        became = "" if ending is None else f" · {ending()}"
        return f"{'stopped early' if stopped else 'done'} in {seconds:.1f} s{became}"
    minutes = minutes_between(result.start, result.end)
    how = "stopped early, partial result" if stopped else "done"
    pace = [] if stopped else _speed(task, minutes, seconds)
    return f"{how} in {seconds:.1f} s{''.join(f' ({each})' for each in pace)} · {_trades(len(result.trades))}"
