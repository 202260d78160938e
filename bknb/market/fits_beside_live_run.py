"""Fits of models beside a live run: begun when their moment has come, in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from ..domain.formatting import utc_text
from ..domain.text import error_text
from ..errors import BknbError, ModelLate, NotEnoughData, StrategyError
from .fitted_models import code_in_run, kept_or_made, moment_of
from .model_fit import FailedFit, Fit, Model, make_fit, symbols_of
from .strategy_context import Context
from .system_clock import stopwatch

if TYPE_CHECKING:
    from .fitted_models import MakeFit

_LOOK_SECONDS: Final = 0.05
_LONGEST_PAUSE: Final = 3_600.0  # s
_HELD: Final = 4  # fits of a model and its symbols, the oldest of which is forgotten first

Key: TypeAlias = tuple[str, str, tuple[str, ...], int]


class _Job:
    """A fit that is under way, or what came of it; ``failures``: how often it had failed before."""

    def __init__(self, failures: int) -> None:
        self.began = stopwatch()
        self.done = threading.Event()
        self.made: Fit | FailedFit | None = None
        self.late: NotEnoughData | None = None  # a candle that was not here yet
        self.failures = failures

    def is_tried_again(self, pause: float) -> bool:
        """Whether it failed so long ago that it is to be tried again, a pause (s) after the first time, then longer."""
        if not (self.done.is_set() and isinstance(self.made, FailedFit)):
            return False
        longer: float = pause * 2.0 ** min(self.failures, 20)
        passed: float = stopwatch() - self.began
        return passed >= min(longer, _LONGEST_PAUSE)


class FitsBeside:
    """The fits of a live run.

    Parameters
    ----------
    models
        Those that the strategy asks for, by name.
    make
        Makes a fit, and returns once it is there.
    wait_seconds
        How long after a fit has begun a question may wait for it.
    pause_seconds
        How long after one that has failed has begun it is tried again; twice as long after each, up to an hour.

    Attributes
    ----------
    models : mapping of str to Model
        As they were when the run began.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        make: MakeFit = make_fit,
        wait_seconds: float = 60.0,
        pause_seconds: float = 60.0,
    ) -> None:
        self.models, self._make = models, make
        self._wait_seconds, self._pause_seconds = wait_seconds, pause_seconds
        self._lock = threading.Lock()
        self._jobs: dict[Key, _Job] = {}
        self._ended = False

    def begin(self, context: Context) -> None:
        """Begin the fits whose moment has come at that of a context, and those that are in use then.

        After a restart the latter are made again.
        """
        for model in self.models.values():
            for when in (context.when_ms - model.delay_ms, context.when_ms):
                moment = moment_of(model, when, context)
                self._job(model, code_in_run(model, context), moment, context)

    def made(self, model: Model, code: str, moment: int, context: Context) -> Fit | FailedFit:
        """The fit of a model at a moment (UTC ms); it is begun where it was not, and waited for.

        Raises
        ------
        ModelLate
            It is not there in time.
        NotEnoughData
            A candle that has closed is not here yet.
        """
        job = self._job(model, code, moment, context)
        while not job.done.wait(_LOOK_SECONDS):
            seconds = stopwatch() - job.began
            if seconds > self._wait_seconds or self._ended:
                raise ModelLate(
                    f"the model {model.name!r} of {context.symbol} at {utc_text(moment)} is not fitted yet, "
                    f"{seconds:.0f} s after its fit began: the question passes\n"
                    "give the model a longer delay=, which history then has, too"
                )
        if job.late is not None:
            raise job.late
        assert job.made is not None  # it is one of the two  # noqa: S101
        return job.made

    def end(self) -> None:
        """Wait for no fit any more, and end those that can be ended."""
        self._ended = True
        ending = getattr(self._make, "end", None)  # where it makes them elsewhere
        if ending is not None:
            ending()

    def _job(self, model: Model, code: str, moment: int, context: Context) -> _Job:
        symbols = symbols_of(model, context)
        key = (model.name, code, symbols, moment)
        with self._lock:
            job = self._jobs.get(key)
            if job is None or job.is_tried_again(self._pause_seconds):
                job = self._jobs[key] = _Job(0 if job is None else job.failures + 1)
                held = [each for each in self._jobs if (each[0], each[2]) == (model.name, symbols)]
                for old in sorted(held, key=_moment)[:-_HELD]:
                    del self._jobs[old]
                work = partial(self._work, job, key, model, context)
                threading.Thread(target=work, name=f"bknb-model-{model.name}", daemon=True).start()
        return job

    def _work(self, job: _Job, key: Key, model: Model, context: Context) -> None:
        _, code, _, moment = key
        try:
            job.made = kept_or_made(model, code, moment, context, self._make)
        except NotEnoughData as error:  # what has not come yet: it is tried again when it is asked for
            job.late = error
            with self._lock:
                self._jobs.pop(key, None)
        except BaseException as error:  # noqa: BLE001 -- raised where the fit is asked for
            text = str(error) if isinstance(error, BknbError) else f"{type(error).__name__}: {error_text(error)}"
            job.made = FailedFit(StrategyError, text, error)
        finally:
            job.done.set()


def _moment(key: Key) -> int:
    return key[-1]
