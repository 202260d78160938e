"""What evaluates the combinations of a sweep: this process, which keeps the candles of a single symbol, or another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from .batches import Batch, WorkDir
from .compiled_loops import Loop, compile_loops
from .evaluate_combination import Evaluator
from .executor_options import is_inline
from .executors import are_forks, executor_elsewhere
from .prepared_candles import Prepared
from .units import Executor

if TYPE_CHECKING:
    from ..engine.plan import Plan


class Inline:
    """Evaluates one combination after the other in this process.

    ``only``: the candles, where there is one symbol; those of several are in the work dir, one of them at a time here.
    """

    workers = 1

    def __init__(self, work_dir: WorkDir, plan: Plan, *, keep_ends: bool, only: Prepared | None = None) -> None:
        self._folder = work_dir.folder
        self._only = only
        self._plan = plan
        self._keep_ends = keep_ends
        self._evaluator: tuple[int, Evaluator] | None = None

    def _at(self, symbol: int) -> Evaluator:
        if self._evaluator is None or self._evaluator[0] != symbol:
            prepared = Prepared.load(self._folder / str(symbol)) if self._only is None else self._only
            evaluator = Evaluator(replace(self._plan, symbol=prepared.symbol), prepared, keep_ends=self._keep_ends)
            self._evaluator = symbol, evaluator
        return self._evaluator[1]

    def run(self, batches: Sequence[Batch], stopping: Callable[[], bool]) -> Iterator[tuple[Batch, Any]]:
        """Yield each batch with its outcomes, until ``stopping()`` is true."""
        for batch in batches:
            if stopping():
                return
            evaluator = self._at(batch.symbol)
            yield batch, [evaluator.evaluate(params) for params in batch.params]

    def close(self) -> None:
        """Release the candles."""
        self._evaluator = self._only = None


def make_executor(
    executor: object, work_dir: WorkDir, plan: Plan, *, keep_ends: bool, with_source: bool, loop: Loop | None,
    warn: Callable[[str], object], only: Prepared | None = None,
) -> Executor[Batch]:  # fmt: skip
    """Return the executor of a sweep for an ``executor=`` option; one elsewhere gets the plan in the work dir.

    ``with_source`` is as in ``WorkDir.write``, ``only`` as in ``Inline``; ``loop`` is what most combinations go
    through, ``None``: the event engine.

    Raises
    ------
    UsageError
        When the option names no executor.
    """
    if is_inline(executor):
        return Inline(work_dir, plan, keep_ends=keep_ends, only=only)
    work_dir.write(plan, keep_ends=keep_ends, with_source=with_source)
    before = () if loop is None else ((compile_loops, (loop,)),)
    elsewhere = executor_elsewhere(executor, work_dir, warn, before=before)
    if loop is not None and elsewhere.workers > 1 and not are_forks(executor):
        compile_loops(loop)  # before all workers do
    return elsewhere
