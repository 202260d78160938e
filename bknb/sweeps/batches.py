"""Batches, the shared work dir, and pickled plans of a sweep; :func:`try_batch` evaluates a batch in a worker."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec.structs import replace

from ..engine.build import definition, make_strategy
from ..engine.get_and_list import get_risk
from ..engine.registry import Exchange, registry
from ..errors import MissingDependency, UsageError
from ..provenance.source_walk import own_modules
from ..provenance.strategy_hash import functions_of
from .evaluate import Evaluator, Outcome, needs_source
from .prepared_candles import Prepared
from .sweep_series import tables

if TYPE_CHECKING:
    from ..engine.plan import Plan


TRIES: Final = 3  # how often a task is given to a worker before it fails
_MOST_MAPPED: Final = 2  # symbols a worker has mapped at a time


class Batch:
    """Combinations of one symbol that a worker evaluates together; ``numbers`` are theirs in the sweep."""

    __slots__ = ("numbers", "params", "symbol", "tries")

    def __init__(self, symbol: int, numbers: Sequence[int], params: Sequence[Mapping[str, Any]]) -> None:
        self.symbol = symbol
        self.numbers = list(numbers)
        self.params = [dict(one) for one in params]
        self.tries = 0

    def fail(self) -> bool:
        """Count one failed try; returns whether another is allowed."""
        self.tries += 1
        return self.tries < TRIES


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The folder that workers read: the pickled plan, and for each symbol its candles."""

    folder: Path

    def write(self, plan: Plan, *, keep_ends: bool, by_events: bool = False) -> None:
        """Write the plan, with the strategy as it is now; after the candles of all its symbols.

        ``by_events``: rows are known to go through the event engine, which fetches its candles from the exchange.
        """
        places = [place for place in self.folder.iterdir() if place.is_dir()]
        with_source = by_events or any(needs_source(plan, Prepared.load(place).market) for place in places)
        (self.folder / "plan.pickle").write_bytes(packed(plan, keep_ends=keep_ends, with_source=with_source))

    def add(self, number: int, prepared: Prepared) -> None:
        """Write the candles of one symbol."""
        prepared.save(self.folder / str(number))

    def plan(self) -> bytes:
        """Return the plan as ``packed`` pickled it."""
        return (self.folder / "plan.pickle").read_bytes()


class Executor(Protocol):
    """Evaluates batches; the outcomes come back in any order, ``None`` for a batch whose worker died every time."""

    workers: int

    def run(self, batches: Sequence[Batch], stopping: Callable[[], bool]) -> Iterator[tuple[Batch, Any]]:
        """Yield each batch with its outcomes, until ``stopping()`` is true."""
        ...

    def close(self) -> None:
        """Release what was taken for this sweep."""
        ...


def packed(plan: Plan, *, keep_ends: bool, with_source: bool) -> bytes:
    """Return a plan as bytes that another process can unpack, functions of notebook cells included.

    The source of its exchange is left out unless ``with_source``: not every one can be sent.

    Raises
    ------
    MissingDependency
        Without cloudpickle.
    UsageError
        When the strategy holds something that cannot be sent.
    """
    if find_spec("cloudpickle") is None:
        raise MissingDependency("cloudpickle", purpose="a sweep", extra="sweep")
    plan, strategy = replace(plan, series=tables()), plan.strategy
    # No callbacks: they are for one run.
    made = {**definition(strategy), "callbacks": None}
    source = plan.exchange.source if with_source else None
    risk = None if strategy.risk is None else get_risk(strategy.risk)
    content = (strategy.name, made, replace(plan, strategy=None, exchange=Exchange(plan.exchange.name, source)),  # type: ignore[arg-type]  # put back by unpacked
               risk, keep_ends)  # fmt: skip
    # As they are here: a worker would load the files of helper modules again, whatever was changed since.
    helpers = own_modules(*functions_of(strategy).values())
    own = [module for module in helpers if module.__name__ == _module_of(strategy.get_signals or strategy.get_signal)]
    try:
        try:
            return _pickled(content, helpers)
        except Exception:  # noqa: BLE001 -- a helper module that holds what cannot be copied is loaded again after all
            return _pickled(content, own)
    except Exception as error:
        raise UsageError(
            f"strategy {strategy.name!r} cannot be sent to a worker: {type(error).__name__}: {error}\n"
            "let its function create what cannot be copied (locks, files, connections), or use executor='inline'"
        ) from error


def _pickled(content: Any, modules: Sequence[ModuleType]) -> bytes:
    """Return pickled content; functions of ``modules`` are pickled by value, not by import path."""
    import cloudpickle

    with ExitStack() as registered:
        for module in modules:
            cloudpickle.register_pickle_by_value(module)
            registered.callback(cloudpickle.unregister_pickle_by_value, module)
        return bytes(cloudpickle.dumps(content))


def _module_of(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__module__", None))


def unpacked(content: bytes) -> tuple[Plan, bool]:
    """Return the plan that ``packed`` pickled, and whether outcomes carry their tables of ends."""
    name, made, plan, risk, keep_ends = pickle.loads(content)  # noqa: S301 -- our own bytes, from this sweep's folder
    if risk is not None:
        registry.risks.items.setdefault(risk.name, risk)
    return replace(plan, strategy=make_strategy(name, **made)), keep_ends


@lru_cache(maxsize=2)
def _plan_in(folder: str) -> tuple[Plan, bool]:
    return unpacked(WorkDir(Path(folder)).plan())


_evaluators: OrderedDict[tuple[str, int], Evaluator] = OrderedDict()


def try_batch(folder: str, symbol: int, params: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Return the outcomes of a batch on the candles of a work dir; runs in a worker."""
    evaluator = _evaluators.get((folder, symbol))
    if evaluator is None:
        plan, keep_ends = _plan_in(folder)
        prepared = Prepared.load(Path(folder) / str(symbol))
        evaluator = Evaluator(replace(plan, symbol=prepared.symbol), prepared, keep_ends=keep_ends)
        _evaluators[folder, symbol] = evaluator
        while len(_evaluators) > _MOST_MAPPED:
            _evaluators.popitem(last=False)
    return [evaluator.evaluate(one) for one in params]


def forget(folder: str) -> None:
    """Release the candles of a sweep that is over."""
    for key in [key for key in _evaluators if key[0] == folder]:
        del _evaluators[key]
    _plan_in.cache_clear()
