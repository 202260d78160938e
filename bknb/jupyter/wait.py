"""Waiting for a run in a notebook: the run has its own thread, this one looks, tells and can be interrupted."""

from __future__ import annotations

import contextvars
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ..market.clock import stopwatch
from ..reports.markup import minute_text
from ..reports.progress_text import clock_text, interval_minutes, speed_text
from .progress import ControlBar, ProgressLine, buttons_work, line_of
from .run_controls import Switch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_EVERY_SECONDS: Final = 0.125
SHORT_SECONDS: Final = 0.3
"""A run that is over sooner is not worth a bar of its own."""
PATIENCE_SECONDS: Final = 10.0
"""How long an interrupted run may take to come to its next minute before it is left behind."""


class Follower:
    """Shows one task while somebody waits for it: with buttons where a front end looks, else as a line or not at all.

    Parameters
    ----------
    task : Task
    label : str, optional
        What the line says.
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
            self._line = line_of(task, label)
        elif buttons_work():
            self._line = ControlBar(Switch(task, label=label, foreground=foreground))
        self._quiet, self._buttons_only = quiet, buttons_only
        self._began = stopwatch()
        self._looked = -1.0

    @property
    def seconds(self) -> float:
        """Since it began to follow."""
        return stopwatch() - self._began

    def look(self) -> None:
        """Tell how far the run is; more often than eight times a second is not needed and not done."""
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
        """What there is to say besides how far it is."""
        task, minutes = self.task, _minutes_behind(self.task)
        said = getattr(task, "facts_so_far", None)
        if said is not None:  # work that is not counted in minutes and trades
            return list(said())
        if minutes is None:
            return [f"{task.processed:,} of {task.total:,}"]
        facts = [_trades(len(task.trades_so_far))]
        if task.progress > 0 and not task.paused:  # while it stands still, its speed is only the clock going on
            facts.append(_speed(minutes, seconds))
        return facts

    def close(self, text: str = "") -> None:
        """Leave a sentence: the given one, or what the task came to."""
        if self._line is not None:
            self._line.close(text or _note(self.task, self.seconds))


def _minutes_behind(task: Any) -> float | None:
    """Minutes of history a backtest has behind it; None for any other work."""
    frame = getattr(getattr(task, "plan", None), "frame", None)
    if frame is None:
        return None
    return float(task.processed * interval_minutes(frame.interval))


def _speed(minutes: float, seconds: float) -> str:
    return speed_text(minutes / max(seconds, 1e-9))


def wait(task: Any, label: str) -> Any:
    """The result of a background run, with a bar while it goes.

    ``KeyboardInterrupt`` (the notebook's stop button) ends the run at its next minute; the result so far is returned
    and says that it is partial.

    Parameters
    ----------
    task : Task
        What ``bknb.Backtest.background`` returned.
    label : str
        What the bar says.

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
    """The same for a plain call: with buttons where a front end looks, and without a word where none does."""
    return _wait(task, Follower(task, quiet=SHORT_SECONDS))


def _wait(task: Any, follower: Follower) -> Any:
    stopped_at: float | None = None
    while True:
        try:
            if task.wait(LOOK_EVERY_SECONDS):
                break
            follower.look()
            if stopped_at is not None and follower.seconds - stopped_at > PATIENCE_SECONDS:
                follower.close("interrupted; the strategy did not give the run back")
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            if stopped_at is not None:
                raise
            stopped_at = follower.seconds
            task.stop(now=True)
    follower.close()
    return task.result()  # raises what the run died of


@contextmanager
def shown(task: Any) -> Iterator[Callable[[], None]]:
    """Buttons while a cell awaits a task; the function it gives tells how far the task is."""
    follower = Follower(task, quiet=SHORT_SECONDS)
    try:
        yield follower.look
    finally:
        follower.close("" if task.done else "goes on in the background")


def show_task(task: Any, *, buttons_only: bool = False) -> None:
    """Show a task that is running with its buttons, and how far it is unless something else shows that.

    Raises
    ------
    NotImplementedError
        Where no front end looks, or it is over: IPython then shows it as text.
    """
    if task.status != "pending" or not buttons_work():
        raise NotImplementedError
    follower = Follower(task, foreground=False, buttons_only=buttons_only)
    follower.look()
    context = contextvars.copy_context()  # what it shows belongs to the cell that showed the task
    threading.Thread(target=context.run, args=(_follow, follower), name="bknb-bar", daemon=True).start()


def _follow(follower: Follower) -> None:
    while not follower.task.wait(LOOK_EVERY_SECONDS):
        follower.look()
    follower.close()


def _so_far(task: Any, seconds: float) -> str:
    """How far a task without an end in sight is."""
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
    """What a task came to, in half a sentence."""
    if task.status == "rejected":
        return "failed"
    if getattr(task, "progress", None) is None:
        return f"over after {clock_text(seconds)} min, {_so_far(task, seconds)}"
    result = task.result()
    ending = getattr(task, "ending", None)
    if ending is not None:
        return f"done in {seconds:.1f} s · {ending()}"
    if _minutes_behind(task) is None:
        return f"{'stopped early' if getattr(result, 'stopped', False) else 'done'} in {seconds:.1f} s"
    minutes = (result.end - result.start) / 60_000
    how = "stopped early, partial result" if result.stopped else "done"
    pace = "" if result.stopped else f" ({_speed(minutes, seconds)})"
    return f"{how} in {seconds:.1f} s{pace} · {_trades(len(result.trades))}"
