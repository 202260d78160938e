"""Models fitted in processes of their own beside a live run: they hold nothing up, and seed nobody else's generators.

A process gets ``fit`` pickled and asks the one that started it for the candles that ``fit`` reads. What cannot be sent
is fitted in a thread of the process of the run.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, Final

from ..errors import StrategyError
from ..market.model_fit import FailedFit, Fit, Model, have_settings, make_fit, settings_apart, symbols_of
from ..market.strategy_context import Context, RunSources, reads_of
from ..provenance.source_code_and_hash import own_modules
from .pickled_code import from_bytes, to_bytes
from .run_units import sent_error

if TYPE_CHECKING:
    from ..market.window import Window

_FACTS: Final = ("allow_gaps", "base", "base_ms", "is_cut", "is_growing", "price_count", "settings")
_FORMATS: Final = ("format_price", "format_quantity")
_LOOK_SECONDS: Final = 1.0
_MADE, _FAILED, _KEPT_BACK, _ASKS, _RAISED = "made", "failed", "kept back", "asks", "raised"


class _Room:
    """Room for one process for each processor but one."""

    def __init__(self) -> None:
        self._process, self._left = 0, threading.BoundedSemaphore()

    @property
    def left(self) -> threading.BoundedSemaphore:
        """Where a process takes its place; of a forked process its own, in which nobody has one."""
        if self._process != os.getpid():
            self._process, self._left = os.getpid(), threading.BoundedSemaphore(max(1, (os.cpu_count() or 2) - 1))
        return self._left


_room: Final = _Room()


class FitProcesses:
    """Makes each fit in a process of its own; at most one for each processor but one at the same time.

    Parameters
    ----------
    warn
        Called with a sentence where a model cannot be sent to a process.
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def __call__(self, model: Model, code: str, moment: int, context: Context) -> Fit | FailedFit:
        """The fit of a model, with the digest of its code, at a moment (UTC ms), of the run of a context.

        Raises
        ------
        NotEnoughData
            A candle that has closed is not here yet.
        StrategyError
            The process died, or the run was over.
        """
        try:
            content = to_bytes(model, own_modules(model.fit))
        except Exception as error:  # noqa: BLE001 -- whatever the user's objects raise while they are pickled
            return self._here(model, code, moment, context, f"{type(error).__name__}: {error}")
        with _room.left:
            answer = self._elsewhere(model, content, (code, moment), context)
        if isinstance(answer, str):
            return self._here(model, code, moment, context, answer)
        return answer

    def end(self) -> None:
        """End what is being fitted."""
        self._ended = True
        with self._lock:
            for process in self._running:
                process.kill()

    def _here(self, model: Model, code: str, moment: int, context: Context, why: str) -> Fit | FailedFit:
        if model.name not in self._told:
            self._told.add(model.name)
            self._warn(
                f"the model {model.name!r} is fitted in a thread of this process, as it cannot be sent to another one: "
                f"{why:.200}; while it is fitted, others get its random numbers"
            )
        return make_fit(model, code, moment, context)

    def _elsewhere(
        self, model: Model, content: bytes, given: tuple[str, int], context: Context
    ) -> Fit | FailedFit | str:
        """The fit, or why it cannot be sent back."""
        newest, average, sources = reads_of(context)
        window = sources.window
        facts = {name: getattr(window, name) for name in _FACTS}
        of_run = (sources.interval_ms, sources.zone, facts, settings_apart())
        about = (context.symbol, context.mode, symbols_of(model, context), *of_run)
        read: dict[str, Callable[..., Any]] = {"newest": newest, "average": average}
        read |= {name: getattr(window.source, name) for name in _FORMATS}
        if sources.published is not None:
            read["published"] = sources.published
        process = _started()
        with self._lock:
            self._running.add(process)
        to, back = process.stdin, process.stdout
        assert to is not None and back is not None  # both are pipes  # noqa: S101, PT018
        try:
            if self._ended:
                raise EOFError
            _send(to, (content, *given, *about))
            while True:
                kind, *more = pickle.load(back)  # noqa: S301 -- from a process of ours
                if kind != _ASKS:
                    return _outcome(kind, more, model)
                name, given_args, given_names = more
                function = read.get(name) or getattr(window, name)
                _send(to, _answer(partial(function, *given_args, **given_names)))
        except (EOFError, OSError, pickle.UnpicklingError):
            why = "the run was over" if self._ended else "its process died"
            raise StrategyError(f"the model {model.name!r} of {context.symbol} was not fitted: {why}") from None
        finally:
            with self._lock:
                self._running.discard(process)
            process.kill()
            process.wait()
            for pipe in (to, back):
                with suppress(OSError):  # bytes that could no longer be sent
                    pipe.close()


def _outcome(kind: str, more: list[Any], model: Model) -> Fit | FailedFit | str:
    if kind == _RAISED:
        raise pickle.loads(more[0])  # noqa: S301 -- from a process of ours
    if kind == _FAILED:
        failed, text, cause = more
        return FailedFit(failed, text, None if cause is None else pickle.loads(cause))  # noqa: S301 -- as above
    if kind == _KEPT_BACK:
        return f"what fit returned: {more[0]}"
    fit: Fit = pickle.loads(more[0])  # noqa: S301 -- as above
    return fit._replace(about=fit.about._replace(name=model.name))


def _started() -> subprocess.Popen[bytes]:
    here = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-c", "from bknb.sweeps.fit_process import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": here},
    )


def _send(pipe: IO[bytes], content: object) -> None:
    pickle.dump(content, pipe, protocol=5)
    pipe.flush()


def _answer(function: Callable[[], Any]) -> tuple[str, bytes]:
    """What a function returns, or raises, pickled."""
    try:
        return _MADE, pickle.dumps(function(), protocol=5)
    except Exception as error:  # noqa: BLE001 -- raised where it was asked for
        return _RAISED, sent_error(error)


# --- in the process of a fit ------------------------------------------------------------------------------------------


class _WindowElsewhere:
    """The candles of the process that started this one."""

    def __init__(self, asked: Callable[..., Any], facts: dict[str, Any]) -> None:
        self._asked = asked
        self.source = SimpleNamespace(**{name: partial(asked, name) for name in _FORMATS})
        vars(self).update(facts)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._asked, name)


def serve() -> None:
    """Make the fit that standard input describes, and send it back; started by ``FitProcesses`` only."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that interrupts is for the process that started this one
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what fit prints must not end up among the answers

    def asked(name: str, *args: Any, **names: Any) -> Any:
        _send(answers, (_ASKS, name, args, names))
        kind, content = pickle.load(given)  # noqa: S301 -- from the process that started this one
        found = pickle.loads(content)  # noqa: S301 -- as above
        if kind == _RAISED:
            raise found
        return found

    content, code, moment, *about = pickle.load(given)  # noqa: S301 -- as above
    symbol, mode, symbols, interval_ms, zone, facts, settings = about
    try:
        have_settings(settings)
        model: Model = from_bytes(content)
        window: Window = _WindowElsewhere(asked, facts)  # type: ignore[assignment]  # stands for it
        sources = RunSources(window, partial(asked, "published"), interval_ms, zone)
        sources.symbols = symbols
        context = Context(symbol, moment, mode, partial(asked, "newest"), partial(asked, "average"), sources)
        _send(answers, _sent(make_fit(model, code, moment, context)))
    except Exception as error:  # noqa: BLE001 -- raised where the fit was asked for
        _send(answers, (_RAISED, sent_error(error)))


def _end_with(parent: int) -> None:
    """End this process, whatever it computes, once the one that started it is gone."""
    pause = threading.Event()
    while os.getppid() == parent:
        pause.wait(_LOOK_SECONDS)
    os._exit(1)


def _sent(made: Fit | FailedFit) -> tuple[Any, ...]:
    if isinstance(made, FailedFit):
        cause = made.cause
        return _FAILED, made.kind, made.text, None if not isinstance(cause, Exception) else sent_error(cause)
    import cloudpickle

    try:
        content = bytes(cloudpickle.dumps(made))
        pickle.loads(content)  # noqa: S301 -- it was pickled a line above
    except Exception as error:  # noqa: BLE001 -- whatever an object of the user's raises
        return _KEPT_BACK, f"{type(error).__name__}: {error}"
    return _MADE, content
