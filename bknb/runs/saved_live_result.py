"""The result of a live run as its store has it."""

from __future__ import annotations

from msgspec.structs import replace

from ..errors import UsageError
from ..live.plan import LivePlan
from ..live.runtime import RUNTIME
from ..live.saved_run import SavedRun
from .card_of_result import code_of
from .live_task import check_not_running
from .result import Result
from .run_record import record_of


def saved_result(plan: LivePlan) -> Result:
    """The result of a live run as the store of its plan has it; errors are those of ``bknb.Live.saved``."""
    check_not_running(plan)
    run = SavedRun(plan, RUNTIME)
    run.code = code_of(plan)
    if not run.read():
        raise UsageError(
            f"nothing of a live run of {plan.strategy.name!r} on {plan.symbol} is saved in {plan.store!r}\n"
            "give the store that it ran with, and the name of its strategy: store=bknb.stores.files(FOLDER)"
        )
    traded = run.traded
    return Result(replace(record_of(run), traded=lambda: traded))
