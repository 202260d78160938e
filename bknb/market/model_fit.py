"""One fit of a model: what ``fit`` returns at a moment, what it has read, or how it failed."""

from __future__ import annotations

import hashlib
import inspect
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import msgspec
import numpy as np

from ..config import Settings, get_config, set_config
from ..domain.formatting import utc_text
from ..domain.text import error_text
from ..errors import NotEnoughData, StrategyError, UsageError
from ..process import after_fork
from .fit_context import FitContext, Read, SharedFitContext, fit_context, late_of, read_by
from .strategy_context import Context, current, reads_of
from .system_clock import stopwatch

if TYPE_CHECKING:
    from ..domain.schedules import Schedule


def _nothing() -> bool:
    return False


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A registered model.

    Attributes
    ----------
    name
    fit : callable
        Is given a context and returns anything.
    every
        The moments at which it is fitted.
    delay_ms : int
        How long after such a moment the fit is in use, milliseconds.
    code : callable
        Returns a digest of the source of ``fit`` with what it calls and reads.
    shared
        Whether it is one for all symbols of a run.
    reads_unseen : callable
        Returns whether ``fit`` reads what ``code`` does not know, such as files: another run fits it anew.
    """

    name: str
    fit: Callable[[Any], Any]
    every: Schedule
    delay_ms: int
    code: Callable[[], str]
    shared: bool = False
    reads_unseen: Callable[[], bool] = _nothing


class FittedModel(NamedTuple):
    """A fit: the name of the model, its symbol and moment (UTC ms), how many candles it read, seconds, fingerprint.

    The fingerprint is that of its code, symbol, moment and of what it has read. A fit that another run has made has the
    seconds it took there. Of one that several symbols share, ``symbol`` are their names.
    """

    name: str
    symbol: str
    when: int
    rows: int
    seconds: float
    fingerprint: str


class Fit(NamedTuple):
    """What a fit returned, and what it has read: candles, and indicators by name."""

    value: Any
    reads: tuple[Read, ...]
    about: FittedModel
    indicators: frozenset[str] = frozenset()


class FailedFit(NamedTuple):
    """How a fit failed: it fails in the same way at each question, so that it is not called again."""

    kind: type[Exception]
    text: str
    cause: BaseException | None

    def raise_again(self) -> NoReturn:
        """Raise it, as at the first question."""
        raise self.kind(self.text) from self.cause


def symbols_of(model: Model, context: Context) -> tuple[str, ...]:
    """The symbols that a fit of a model is for where a context is asked: those of its run, or that of the context."""
    *_, sources = reads_of(context)
    return (sources.symbols or (context.symbol,)) if model.shared else (context.symbol,)


def make_fit(model: Model, code: str, moment: int, context: Context) -> Fit | FailedFit:
    """The fit of a model at a moment (UTC ms), with the candles of the run of a context; ``code`` is a digest.

    Raises
    ------
    NotEnoughData
        A candle that has closed is not here yet, whatever the fit made of that.
    """
    asked = fit_context(context, moment, symbols_of(model, context))
    made = _made(model, asked, _seed_of(code, asked))
    late = late_of(asked)
    if late is not None:
        raise late
    return made


def _made(model: Model, asked: FitContext, seed: str) -> Fit | FailedFit:
    began = stopwatch()
    try:
        value = _called(model, asked, seed)
    except NotEnoughData as error:
        return FailedFit(NotEnoughData, f"{_named(model, asked)} needs more: {error}", error)
    except Exception as error:  # noqa: BLE001 -- whatever a fit raises is told, at each question that needs it
        raised = f"{type(error).__name__}: {error_text(error) or 'without a text'}"
        return FailedFit(StrategyError, f"{_named(model, asked)} raised {raised}", error)
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        text = f"{_named(model, asked)} returned {type(value).__name__}: fit must be a plain function, not async"
        return FailedFit(UsageError, text, None)
    reads = read_by(asked)
    rows = sum(min(each.rows, 10**9) for each in reads if not each.is_lack)
    fingerprint = hash_of(seed, *(each.digest for each in reads))[:16]
    about = FittedModel(model.name, asked.symbol, asked.when_ms, rows, stopwatch() - began, fingerprint)
    *_, sources = reads_of(asked)
    return Fit(value, reads, about, frozenset(sources.indicators_read))


def fit_anew(model: Model, context: Context) -> Any:
    """What a fit returns at the moment of a context, whatever was fitted before; raises what it raises."""
    asked = fit_context(context, context.when_ms, symbols_of(model, context))
    return _called(model, asked, _seed_of(model.code(), asked))


def settings_apart() -> dict[str, Any]:
    """The settings (``bknb.get_config()``) that change results and are not the default: fits may read them."""
    usual = Settings().decisive()
    return {name: value for name, value in get_config().decisive().items() if value != usual.get(name)}


def have_settings(apart: dict[str, Any]) -> None:
    """Have the settings of another process, as it says with ``settings_apart``."""
    set_config(**(Settings().decisive() | apart))


def hash_of(*parts: object) -> str:
    """A digest of anything that has a text."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _seed_of(code: str, asked: FitContext) -> str:
    return hash_of(code, asked.symbol if len(asked.symbols) == 1 else asked.symbols, asked.when_ms)


def _called(model: Model, asked: FitContext, seed: str) -> Any:
    given: Any = SharedFitContext(asked) if model.shared else asked
    token = current.set(given)
    try:
        with _seeded(int(seed, 16)):
            return model.fit(given)
    finally:
        current.reset(token)


def _named(model: Model, asked: Context) -> str:
    return f"fit of the model {model.name!r} of {asked.symbol} at {utc_text(asked.when_ms)}"


class _Generators:
    """The generators of ``random`` and ``numpy.random``, which all threads share: one fit at a time has them."""

    def __init__(self) -> None:
        self.unlock()

    def unlock(self) -> None:
        """Make the lock anew: in a forked process nobody holds it."""
        self.lock = threading.RLock()


_generators: Final = _Generators()
after_fork(_generators.unlock)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Have ``random`` and ``numpy.random`` begin with a seed, and go on afterwards where they were."""
    with _generators.lock, _begun_with(seed):
        yield


@contextmanager
def _begun_with(seed: int) -> Iterator[None]:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 -- what a fit without a generator of its own uses
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
