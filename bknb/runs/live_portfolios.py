"""Live portfolios by name: started, followed, stopped, and what they have come to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..domain.signal_events import TickResult

if TYPE_CHECKING:
    from .live_portfolio_task import LivePortfolioTask
    from .portfolio_result import PortfolioResult
    from .task_list import TaskList

UNNAMED: Final = "portfolio"
_NAMED: Final[dict[str, Any]] = {"name": UNNAMED}


class LivePortfolios:
    """Starts live portfolios, and finds them by their names; ``bknb.Live.portfolio`` is the one there is."""

    def __call__(self, **options: Any) -> LivePortfolioTask:
        """Start a live portfolio and return at once: several strategies and symbols live, on one clock.

        Its legs are live runs of ``bknb.Live``, and share one clock, the places of their risk profiles, and one store.

        Parameters
        ----------
        **options
            ``symbols, strategies, legs, exchange, execution, settings, allow_gaps, base, priority`` and ``name`` as in
            ``bknb.portfolio``, also ``capital, currency, sizing, account, costs``; ``store, clock, until,
            late_minutes, broker, adopt`` and without a capital ``quantity``, or a mapping of it by symbol, as in
            ``bknb.Live.background``.

        Raises
        ------
        UnknownName
            A name is not registered.
        UsageError
            A leg is there twice, or is running live already.

        Notes
        -----
        A moment is worked on in the order of ``bknb.portfolio``, once the bars of all legs are there. A leg whose bar
        does not come is waited for during ``patience_minutes`` of its settings; then the others go on without it, which
        is told, until it has caught up.

        Examples
        --------
        >>> import bknb
        >>> from bknb.testing.clocks import SimulatedClock
        >>> def rests(ctx): ...
        >>> task = bknb.Live.portfolio(
        ...     symbols=["BTCUSDT", "ETHUSDT"], strategies=[rests], exchange="demo",
        ...     clock=SimulatedClock(1_704_067_200_000), until="2024-01-01 01:00", store=bknb.stores.memory())
        >>> result = task.result()
        >>> list(result.legs), len(result.trades)
        ([('BTCUSDT', 'rests'), ('ETHUSDT', 'rests')], 0)
        """
        return self.background(**options)

    def background(self, **options: Any) -> LivePortfolioTask:
        """Start a live portfolio and return at once, as :meth:`__call__`."""
        from .live_portfolio_task import plan_live_portfolio, start

        return start(plan_live_portfolio(**_NAMED | options))

    async def run(self, **options: Any) -> AsyncIterator[TickResult]:
        """All six results of all legs as they happen; leaving the loop early ends the portfolio and keeps its state."""
        from .live_portfolio_task import add, plan_live_portfolio

        async with aclosing(add(plan_live_portfolio(**_NAMED | options)).follow()) as results:
            async for result in results:
                yield result

    def stop(self, name: str = UNNAMED, *, now: bool = False) -> LivePortfolioTask:
        """Open nothing new in any leg and watch what is open to its end; ``now`` leaves, the state stays on disk."""
        task = self._tasks().get("", name)
        task.stop(now=now)
        return task

    def pause(self, name: str = UNNAMED) -> None:
        """Ask no leg for new entries until ``resume``; what is open is watched on."""
        self._tasks().get("", name).pause()

    def resume(self, name: str = UNNAMED) -> None:
        """Ask all legs for entries again."""
        self._tasks().get("", name).resume()

    def list(self) -> list[LivePortfolioTask]:
        """All that run, and the last live portfolio of every name."""
        return self._tasks().all()

    def get_data(self, name: str = UNNAMED) -> PortfolioResult:
        """What the live portfolio has come to up to now, earlier lives included; does not wait."""
        return self._tasks().get("", name).snapshot()

    def get_report(self, name: str = UNNAMED) -> str:
        """The Markdown report of the live portfolio up to now."""
        return self.get_data(name).report()

    def dump(self, name: str = UNNAMED, path: str | Path = "./dump/live_portfolio") -> Path:
        """Write the Markdown report into a folder and return its path; the file bears the name."""
        from ..stores.atomic import write_report

        return write_report(path, (name,), self.get_report(name))

    def _tasks(self) -> TaskList[LivePortfolioTask]:
        from .live_portfolio_task import TASKS

        return TASKS
