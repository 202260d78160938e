"""A live run as it was saved, without running it."""

from __future__ import annotations

from ..domain.implementation_shortfall import TradedOrder
from .plan import LivePlan
from .run import LiveRun
from .runtime import Runtime
from .saved_orders import SavedOrders


class SavedRun(LiveRun):
    """The record of a live run as the store of its plan has it; nothing is asked, watched or written.

    Parameters
    ----------
    plan, runtime
        As of :class:`LiveRun`.
    """

    def __init__(self, plan: LivePlan, runtime: Runtime) -> None:
        super().__init__(plan, runtime)
        self.traded: tuple[TradedOrder, ...] = ()

    def read(self) -> bool:
        """Read what is saved; ``False``: nothing is.

        Raises
        ------
        StateError
            When it cannot be used: another process has it, it is damaged, or it is of another run.
        """
        plan = self.plan
        plan.store.acquire()
        try:
            found, notices = self._restart.take_over(self.records, self._reached, now=plan.clock.now())
            self.records.warnings.extend(notices)
            self.saver.recording.forget_new()
            rows, _ = self.saver.recording.load()
            orders = SavedOrders(plan.store, *self._key, on_problem=lambda *_: None)
            orders.look()
            self.traded = orders.traded
        finally:
            plan.store.release()
        if found.last_minute is None:
            return False
        if rows:  # a run that waits for its next question has worked on more than it has saved
            self._reached.last_minute = max(self._reached.last_minute, rows[-1][0])
        self._reached.done = self._reached.known
        self.start = min([rows[0][0] if rows else self._reached.done, self._reached.done])
        return True
