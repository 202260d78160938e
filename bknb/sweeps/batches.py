"""Batches of a sweep, and the work dir that its workers read; :func:`try_batch` evaluates a batch in a worker."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from .evaluate_combination import Evaluator, Outcome, needs_source
from .packed_plans import packed_plan, pickled, unpacked_plan
from .pickled_code import from_bytes
from .prepared_candles import Prepared
from .sweep_series import tables
from .units import Call, Scatter, Unit

if TYPE_CHECKING:
    from ..engine.plan import Plan


_MOST_MAPPED: Final = 2  # symbols a worker has mapped at a time


class Batch(Unit):
    """Combinations of one symbol that a worker evaluates together; ``numbers`` are theirs in the sweep."""

    __slots__ = ("numbers", "params", "symbol")

    def __init__(self, symbol: int, numbers: Sequence[int], params: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.symbol = symbol
        self.numbers = list(numbers)
        self.params = [dict(one) for one in params]

    def singles(self) -> list[Batch]:
        """A batch for each of its combinations."""
        return [Batch(self.symbol, [n], [one]) for n, one in zip(self.numbers, self.params, strict=True)]


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

    def forget(self) -> None:
        """Release the candles of a sweep that is over, where this process evaluated batches itself."""
        for key in [key for key in _evaluators if key[0] == str(self.folder)]:
            del _evaluators[key]
        _plan_in.cache_clear()


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
