"""Models of a strategy: which fit is in use at a moment, and what it depends on.

A fit belongs to a moment of the schedule of its model, whenever a run began and whoever asks first. What it returned is
kept by its code, its symbol, that moment and the candles it has read, and given to other runs that have the same.
"""

from __future__ import annotations

import hashlib
import inspect
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

import msgspec
import numpy as np

from ..domain.formatting import utc_text
from ..domain.text import error_text
from ..errors import NotEnoughData, StrategyError, UsageError
from ..process import after_fork, at_reset
from .newest_moment import newest_moment
from .strategy_context import Context, current, reads_of
from .system_clock import stopwatch

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ..domain.schedules import Schedule
    from .candles import Candles
    from .panel import Calendar, Panel
    from .series_rows import SeriesRows
    from .strategy_context import RunSources

_KEPT: Final = 256  # fits, the oldest of which is forgotten first


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
    """

    name: str
    fit: Callable[[Context], Any]
    every: Schedule
    delay_ms: int
    code: Callable[[], str]


class FittedModel(NamedTuple):
    """A fit: the name of the model, its symbol and moment (UTC ms), how many candles it read, seconds, fingerprint.

    The fingerprint is that of its code, symbol, moment and of what it has read. A fit that another run has made has the
    seconds it took there.
    """

    name: str
    symbol: str
    when: int
    rows: int
    seconds: float
    fingerprint: str


class _Read(NamedTuple):
    """Candles that a fit has read, as it asked for them, and their digest."""

    symbol: str
    interval: str
    limit: int
    when: int
    digest: str


class _Fit(NamedTuple):
    """What a fit returned, and what it has read."""

    value: Any
    reads: tuple[_Read, ...]
    about: FittedModel


KeptFits: TypeAlias = "OrderedDict[tuple[str, str, int], _Fit]"
"""Fits by code, symbol and moment."""

_kept: Final[KeptFits] = OrderedDict()


@at_reset
def forget_fits() -> None:
    """Forget what was fitted in this process: the next run that needs a fit makes it anew."""
    _kept.clear()


class FitContext(Context, frozen=True, gc=False):
    """The context of a fit: the symbol, the moment of the schedule, and the candles known then."""

    _reads: list[_Read] = msgspec.field(default_factory=list)
    _others: list[str] = msgspec.field(default_factory=list)  # what it read besides candles

    @property
    def memo(self) -> dict[str, Any]:
        """Refused: a fit depends on candles, not on what the strategy has seen of them."""
        self._refuse("ctx.memo")

    def model(self, name: str) -> Any:
        """Refused: a fit of a model cannot use another one."""
        self._refuse(f"ctx.model({name!r})")

    def _seen(self) -> NoReturn:
        """Refused, whatever of its run is asked for: another run has other trades, and the same fit."""
        self._refuse("what a run has made (ctx.closed, position, equity, strategy, exchange, frame)")

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(
            f"{what} cannot be read while a model is fitted: a fit depends on its code, symbol, moment and the data "
            "before it alone\nread it in get_signal, and give the model what it needs there"
        )

    def candles(
        self,
        interval: str,
        limit: int | None = None,
        *,
        since: str | timedelta | datetime | int | None = None,
        forming: bool = False,
    ) -> Candles:
        """The closed candles of the symbol, as of :class:`bknb.Context`."""
        if since is not None or forming:
            self._others.append("candles since a moment")
        return super().candles(interval, limit, since=since, forming=forming)

    def panel(self, symbols: Any, interval: str, limit: int, how: Calendar = "union") -> Panel:
        """The newest closed candles of several symbols, as of :class:`bknb.Context`."""
        self._others.append("a panel")
        return super().panel(symbols, interval, limit, how)

    def series(
        self,
        name: str,
        limit: int | None = None,
        *,
        since: str | timedelta | datetime | int | None = None,
        symbol: str | None = None,
    ) -> SeriesRows:
        """The newest rows of a point-in-time series, as of :class:`bknb.Context`."""
        self._others.append(f"the series {name}")
        return super().series(name, limit, since=since, symbol=symbol)


class RunModels:
    """The models of a run.

    Parameters
    ----------
    sources
        Of the run.
    find
        Returns the registered model of a name.
    """

    def __init__(self, sources: RunSources, find: Callable[[str], Model]) -> None:
        self._sources, self._find = sources, find
        self._in_use: dict[tuple[str, str], tuple[int, int, Any]] = {}  # the newest: from and until when, what
        self._fits: dict[tuple[str, str, int], Any] = {}  # values, or errors that are raised again
        self._codes: dict[str, str] = {}

    def newest(self, name: str, context: Context) -> Any:
        """What ``fit`` returned for the newest moment of a model that is ``delay`` or longer ago, for this symbol.

        Raises
        ------
        UnknownName
            No model of that name is registered.
        UsageError
            In a live run.
        NotEnoughData
            When ``fit`` asked for more candles than there were.
        StrategyError
            When ``fit`` raised something else.
        """
        when, symbol = context.when_ms, context.symbol
        known = self._in_use.get((name, symbol))
        if known is not None and known[0] <= when < known[1]:
            return known[2]
        model = self._find(name)
        if context.mode == "live":
            raise UsageError(
                f"ctx.model({name!r}): models are fitted in backtests only, not in live runs yet\n"
                "fit it outside of the run, and read what it says as a series: bknb.add_series"
            )
        sessions = self._sources.window.sessions_of(symbol)
        moment = int(newest_moment(model.every, when - model.delay_ms, sessions).timestamp() * 1000)
        value = self._fitted(model, moment, context)
        following = model.every.next_after(moment, sessions)
        if following is not None:
            self._in_use[name, symbol] = (moment + model.delay_ms, following + model.delay_ms, value)
        return value

    def _fitted(self, model: Model, moment: int, context: Context) -> Any:
        key = (model.name, context.symbol, moment)
        if key not in self._fits:
            self._fits[key] = self._fit(model, moment, context)
        found = self._fits[key]
        if isinstance(found, _Failed):
            found.raise_again()
        return found

    def _fit(self, model: Model, moment: int, context: Context) -> Any:
        """What a fit returns, or how it failed; one of another run is taken that has read the same candles."""
        code = self._codes.setdefault(model.name, "") or model.code()
        self._codes[model.name] = code
        sources, key = self._sources, (code, context.symbol, moment)
        kept = _kept if sources.kept_fits is None else sources.kept_fits
        same = kept.get(key)
        if same is not None and all(_digest_of(each, context) == each.digest for each in same.reads):
            sources.fits.append(same.about._replace(name=model.name))
            return same.value
        asked = _fit_context(context, moment)
        seed = _seed_of(code, asked)
        began = stopwatch()
        try:
            value = _called(model, asked, seed)
        except NotEnoughData as error:
            if error.late:
                raise
            return _Failed(NotEnoughData, f"{_named(model, asked)} needs more: {error}", error)
        except Exception as error:  # noqa: BLE001 -- whatever a fit raises is told, at each question that needs it
            raised = f"{type(error).__name__}: {error_text(error) or 'without a text'}"
            return _Failed(StrategyError, f"{_named(model, asked)} raised {raised}", error)
        if inspect.isawaitable(value):
            if inspect.iscoroutine(value):
                value.close()
            text = f"{_named(model, asked)} returned {type(value).__name__}: fit must be a plain function, not async"
            return _Failed(UsageError, text, None)
        reads = tuple(asked._reads)
        rows = sum(min(each.limit, 10**9) for each in reads)
        fingerprint = _hash(seed, *(each.digest for each in reads))[:16]
        about = FittedModel(model.name, context.symbol, moment, rows, stopwatch() - began, fingerprint)
        sources.fits.append(about)
        if not asked._others:
            kept[key] = _Fit(value, reads, about)
            if len(kept) > _KEPT:
                kept.popitem(last=False)
        return value


class _Failed(NamedTuple):
    """How a fit failed: it fails in the same way at each question, so that it is not called again."""

    kind: type[Exception]
    text: str
    cause: BaseException | None

    def raise_again(self) -> NoReturn:
        raise self.kind(self.text) from self.cause


def model_in_use(context: Context, name: str, find: Callable[[str], Model]) -> Any:
    """What ``ctx.model(name)`` gives, of the models that ``find`` returns by name; see :meth:`RunModels.newest`."""
    *_, sources = reads_of(context)
    if sources.models is None:
        sources.models = RunModels(sources, find)
    return sources.models.newest(name, context)


def fit_anew(model: Model, context: Context) -> Any:
    """What a fit returns at the moment of a context, whatever was fitted before; raises what it raises."""
    asked = _fit_context(context, context.when_ms)
    return _called(model, asked, _seed_of(model.code(), asked))


def _seed_of(code: str, asked: Context) -> str:
    return _hash(code, asked.symbol, asked.when_ms)


def _called(model: Model, asked: FitContext, seed: str) -> Any:
    token = current.set(asked)
    try:
        with _seeded(int(seed, 16)):
            return model.fit(asked)
    finally:
        current.reset(token)


def _fit_context(context: Context, moment: int) -> FitContext:
    """A context at the moment of a fit, which notes the candles that are read."""
    reads: list[_Read] = []
    newest, average, sources = reads_of(context)
    sources = copy(sources)
    sources.indicators = {}  # of its own, so that the candles they are made of are noted

    def noted(symbol: str, interval: str, limit: int, when: int) -> Candles:
        candles = newest(symbol, interval, limit, when)
        reads.append(_Read(symbol, interval, limit, when, _candles_digest(candles)))
        return candles

    def noted_price(symbol: str, when: int) -> float:
        price = average(symbol, when)
        reads.append(_Read(symbol, "", 0, when, repr(price)))
        return price

    return FitContext(context.symbol, moment, context.mode, noted, noted_price, sources, None, reads)


def _digest_of(read: _Read, context: Context) -> str:
    """The digest of what the run of a context has in place of what was read elsewhere; empty: it has too little."""
    newest, average, _ = reads_of(context)
    try:
        if not read.interval:
            return repr(average(read.symbol, read.when))
        return _candles_digest(newest(read.symbol, read.interval, read.limit, read.when))
    except NotEnoughData:
        return ""


def _candles_digest(candles: Candles) -> str:
    return hashlib.blake2b(candles.block.tobytes(), digest_size=16).hexdigest()


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


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
