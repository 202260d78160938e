"""What tasks around runs have in common: pause, resume, stop, how far it is, and records so far of one engine run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from ..domain.signal_events import Closed, Event
from ..engine.records import Records
from .task import Counted, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..engine.backtest import BacktestRun
    from ..engine.portfolio_run import PortfolioRun
    from ..live.run import LiveRun
    from ..market.candles_of_one_symbol import Series
    from ..metrics.run_account import Terms
    from .result import Result

R = TypeVar("R")
E = TypeVar("E")


class Controlled(Protocol):
    """What can be stopped and paused."""

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves."""

    @property
    def paused(self) -> bool:
        """Whether nobody is asked for new entries at present."""

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new and watch what is open to its end; ``now`` ends it at the next minute."""

    def pause(self) -> None:
        """Ask for no new entries until ``resume``."""

    def resume(self) -> None:
        """Ask for entries again."""


class Steps(Protocol):
    """What knows how many steps it has, and how many are done."""

    @property
    def processed(self) -> int:
        """Steps that are done."""

    @property
    def total(self) -> int:
        """All steps."""


class CountedRun(Counted):
    """Work that is as far as its run: in moments of a frame, or in combinations of a sweep."""

    _run: Steps

    @property
    def processed(self) -> int:
        """What is done: moments of the frame, of a portfolio those of all legs; combinations (times symbols)."""
        return self._run.processed

    @property
    def total(self) -> int:
        """All there is to do, in what ``processed`` counts."""
        return self._run.total


class ControlledTask(Task[R, E]):
    """A task around something that can be stopped and paused: one run of the engine, or several on one clock.

    Attributes
    ----------
    paused : bool
        Whether nobody is asked for new entries at present.
    """

    can_pause = True
    _run: BacktestRun | LiveRun | PortfolioRun

    @property
    def _controlled(self) -> Controlled:
        return self._run

    def stop(self, *, now: bool = False) -> None:
        """Open nothing new and watch what is open to its end; ``now`` ends it at the next minute."""
        self._controlled.stop(now=now)

    @property
    def stopping(self) -> str:
        """``""``, ``"entries"`` once it opens nothing new any more, ``"now"`` once it leaves."""
        return self._controlled.stopping

    @property
    def paused(self) -> bool:
        """Whether nobody is asked for new entries at present."""
        return self._controlled.paused

    def pause(self) -> None:
        """Ask for no new entries until ``resume``; what is open is watched on."""
        self._controlled.pause()

    def resume(self) -> None:
        """Ask for entries again."""
        self._controlled.resume()


class RunTask(ControlledTask["Result", E]):
    """A task around one run of the engine."""

    _run: BacktestRun | LiveRun

    def _warn(self, text: str) -> None:
        self._run.records.warn(text)
        if self._result is not None:  # its records are those of the end of the work
            self._result.run_record.records.warn(text)

    def _series(self) -> Iterable[Series]:
        """Return its candles."""
        return self._run.series().values()

    def _rebuilder(self, result: Result) -> Callable[[], Result]:
        make = result.run_record.rebuilder()
        kind = type(result)
        return lambda: kind(make())

    @property
    def records(self) -> Records:
        """Events, failures and warnings up to now; grows while the run goes on."""
        return self._run.records

    @property
    def trades_so_far(self) -> list[Closed]:
        """The trades closed up to now; of a live run also those before its last restart."""
        return list(self._run.records.closed)

    @property
    def events_so_far(self) -> list[Event]:
        """All events up to now, each kind in order; results of quiet minutes are not recorded."""
        records = self._run.records.snapshot()
        return [*records.events, *records.positions, *records.milestones, *records.refused, *records.rejected]

    @property
    def account_terms(self) -> Terms:
        """What its account rests on so far: first moment and the last it came to, costs, sessions."""
        from .measured import terms_of  # to start a run it is not needed

        return terms_of(self._run)
