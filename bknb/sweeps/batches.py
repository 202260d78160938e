"""Batches, the shared work dir, and pickled plans; :func:`try_batch` evaluates a batch of a sweep in a worker."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, TypeVar

from msgspec.structs import replace

from ..engine.registration_checks import definition, make_strategy
from ..engine.registry import Exchange, registry
from ..errors import MissingDependency, UsageError
from ..provenance.source_code_and_hash import own_modules
from ..provenance.strategy_hash import functions_of, models_of
from .evaluate_combination import Evaluator, Outcome, needs_source
from .pickled_code import from_bytes, to_bytes
from .prepared_candles import Prepared
from .sweep_series import tables

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..engine.registry import Strategy


TRIES: Final = 3  # how often a task is given to a worker before it fails
_MOST_MAPPED: Final = 2  # symbols a worker has mapped at a time


class Unit:
    """Work that a worker does in one go; it is given to one again where the worker dies."""

    __slots__ = ("tries",)

    def __init__(self) -> None:
        self.tries = 0

    def fail(self) -> bool:
        """Count one failed try; returns whether another is allowed."""
        self.tries += 1
        return self.tries < TRIES


class Batch(Unit):
    """Combinations of one symbol that a worker evaluates together; ``numbers`` are theirs in the sweep."""

    __slots__ = ("numbers", "params", "symbol")

    def __init__(self, symbol: int, numbers: Sequence[int], params: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.symbol = symbol
        self.numbers = list(numbers)
        self.params = [dict(one) for one in params]


Call: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments."""
Scatter: TypeAlias = Callable[[Hashable, Callable[[], Any]], Any]
"""Sends what the function returns to all workers of a cluster, once for each key; returns what stands for it there."""
U = TypeVar("U", bound=Unit)
U_contra = TypeVar("U_contra", bound=Unit, contravariant=True)


class Depot(Protocol[U_contra]):
    """What workers need for units of work beside them, in a folder or scattered to a cluster."""

    @property
    def folder(self) -> Path:
        """The folder that workers read."""
        ...

    def call(self, unit: U_contra) -> Call:
        """What a worker calls that can read the folder."""
        ...

    def scattered(self, unit: U_contra, scatter: Scatter) -> Call:
        """What a worker of a cluster calls."""
        ...


@dataclass(frozen=True, slots=True)
class WorkDir:
    """The folder that workers read: the pickled plan, and for each symbol its candles."""

    folder: Path

    def write(self, plan: Plan, *, keep_ends: bool, with_source: bool = False) -> None:
        """Write the plan, with the strategy as it is now; after the candles of all its symbols.

        ``with_source``: rows are known to need the exchange, for its trading hours or for candles of the event engine.
        """
        places = [place for place in self.folder.iterdir() if place.is_dir()]
        with_source = with_source or any(needs_source(plan, Prepared.load(place)) for place in places)
        (self.folder / "plan.pickle").write_bytes(packed(plan, keep_ends=keep_ends, with_source=with_source))

    def add(self, number: int, prepared: Prepared) -> None:
        """Write the candles of one symbol."""
        prepared.save(self.folder / str(number))

    def plan(self) -> bytes:
        """Return the plan as ``packed`` pickled it."""
        return (self.folder / "plan.pickle").read_bytes()

    def call(self, unit: Batch) -> Call:
        """What a worker calls that can read the folder."""
        return try_batch, (str(self.folder), unit.symbol, unit.params)

    def scattered(self, unit: Batch, scatter: Scatter) -> Call:
        """What a worker of a cluster calls."""
        prepared = scatter(unit.symbol, lambda: Prepared.load(self.folder / str(unit.symbol)))
        return try_scattered, (scatter("plan", self.plan), prepared, unit.params)


class Executor(Protocol[U]):
    """Has units done; the answers come back in any order, ``None`` for a unit whose worker died every time."""

    workers: int

    def run(self, units: Sequence[U], stopping: Callable[[], bool]) -> Iterator[tuple[U, Any]]:
        """Yield each unit with its answer, until ``stopping()`` is true."""
        ...

    def close(self) -> None:
        """Release what was taken for it."""
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
    content = (packed_plan(replace(plan, series=tables()), with_source=with_source), keep_ends)
    return pickled(content, [plan.strategy], purpose="a sweep")


PackedPlan: TypeAlias = tuple[str, dict[str, Any], Any, Any, dict[str, Any], dict[str, Any]]
"""A plan without what cannot be pickled: name and definition of its strategy, the rest, its risk profile, models, and
the settings that these may read."""


def packed_plan(plan: Plan, *, with_source: bool) -> PackedPlan:
    """Return a plan as values that can be pickled; callbacks are left out: they are for one run, in one process."""
    strategy = plan.strategy
    source = plan.exchange.source if with_source else None
    risk = None if strategy.risk is None else registry.risks.get(strategy.risk)
    series = dict(registry.series.items) or None if plan.series is None else plan.series
    bare = replace(plan, series=series, strategy=None, exchange=Exchange(plan.exchange.name, source))  # type: ignore[arg-type]  # put back by unpacked_plan
    models = models_of(strategy)
    settings = settings_of_fits() if models else {}
    return strategy.name, {**definition(strategy), "callbacks": None}, bare, risk, models, settings


def unpacked_plan(content: PackedPlan) -> Plan:
    """Return the plan that ``packed_plan`` packed; its risk profile is registered where there is none of its name."""
    name, made, bare, risk, models, settings = content
    plan: Plan = bare
    if models:
        registry.models.items.update(models)
        have_settings_of_fits(settings)
    if risk is not None:
        registry.risks.items.setdefault(risk.name, risk)
    return replace(plan, strategy=make_strategy(name, **made))


def settings_of_fits() -> dict[str, Any]:
    """The settings that models may read and that are not the default."""
    from ..market.model_fit import settings_apart  # few strategies have models

    return settings_apart()


def have_settings_of_fits(apart: dict[str, Any]) -> None:
    """Have the settings of the process that fits are made for."""
    from ..market.model_fit import have_settings  # few strategies have models

    have_settings(apart)


def pickled(content: object, strategies: Sequence[Strategy], *, purpose: str) -> bytes:
    """Return content as bytes that another process can unpickle, functions of notebook cells included.

    Parameters
    ----------
    content
        Anything.
    strategies
        Those in it: modules of their functions are pickled by value, as they are here.
    purpose
        What needs it, for the text of an error.

    Raises
    ------
    MissingDependency
        Without cloudpickle.
    UsageError
        When it holds something that cannot be sent.
    """
    if find_spec("cloudpickle") is None:
        raise MissingDependency("cloudpickle", purpose=purpose, extra="sweep")
    # As they are here: a worker would load the files of helper modules again, whatever was changed since.
    helpers = own_modules(*(function for each in strategies for function in functions_of(each).values()))
    names = {_module_of(each.get_signals or each.get_signal) for each in strategies}
    own = [module for module in helpers if module.__name__ in names]
    try:
        try:
            return to_bytes(content, helpers)
        except Exception:  # noqa: BLE001 -- a helper module that holds what cannot be copied is loaded again after all
            return to_bytes(content, own)
    except Exception as error:
        which = " or ".join(repr(each.name) for each in strategies[:3])
        raise UsageError(
            f"strategy {which} cannot be sent to a worker: {type(error).__name__}: {error}\n"
            "let its function create what cannot be copied (locks, files, connections), or use executor='inline'"
        ) from error


def _module_of(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__module__", None))


def unpacked(content: bytes) -> tuple[Plan, bool]:
    """Return the plan that ``packed`` pickled, and whether outcomes carry their tables of ends."""
    plan, keep_ends = from_bytes(content)
    return unpacked_plan(plan), keep_ends


@lru_cache(maxsize=2)
def _plan_in(folder: str) -> tuple[Plan, bool]:
    return unpacked(WorkDir(Path(folder)).plan())


_evaluators: OrderedDict[tuple[str, int], Evaluator] = OrderedDict()
_scattered_evaluators: dict[tuple[str, str], Evaluator] = {}


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


def try_scattered(plan: bytes, prepared: Prepared, params: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Return the outcomes of a batch on scattered candles; runs on a worker of the cluster."""
    key = (hashlib.sha256(plan).hexdigest(), prepared.data)
    evaluator = _scattered_evaluators.get(key)
    if evaluator is None:
        unpacked_plan: Plan
        unpacked_plan, keep_ends = unpacked(plan)
        evaluator = Evaluator(replace(unpacked_plan, symbol=prepared.symbol), prepared, keep_ends=keep_ends)
        while len(_scattered_evaluators) >= 4:
            _scattered_evaluators.pop(next(iter(_scattered_evaluators)), None)
        _scattered_evaluators[key] = evaluator
    return [evaluator.evaluate(one) for one in params]
