"""The task of a portfolio: it runs, tells how far it is, can be paused, and gives its candles back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..domain.signal_events import Cancelled, Closed, Event
from ..engine.plan import Plan
from ..engine.portfolio_run import PortfolioRun
from ..events import messages, subjects
from ..sweeps.executor_options import checked_executor, is_inline
from .card_of_result import code_of
from .optional_account import account_of_run, shared_account
from .optional_benchmark import beside_legs, load_benchmark_of
from .portfolio_result import PortfolioResult
from .result import Result
from .run_record import record_of, with_weak_source
from .run_task import ControlledTask, CountedRun
from .tries import key_of, with_tries

if TYPE_CHECKING:
    from ..engine.account_plan import AccountPlan
    from ..market.candle_fingerprint import CandleRange
    from ..market.candles_of_one_symbol import Series
    from .account_result import RunAccount
    from .benchmark import BenchmarkPrices
    from .portfolio_snapshot import PortfolioSnapshot, Snapshots
    from .portfolio_workers import LegsInWorkers
    from .run_task import Controlled

_NAMED: Final = 3  # symbols in the text of a task


class PortfolioTask(CountedRun, ControlledTask[PortfolioResult, Closed | Cancelled]):
    """A portfolio that runs in the background.

    Attributes
    ----------
    progress : float
        Fraction of the frame that is done, 0.0 to 1.0.
    """

    kind = "portfolio"
    _run: PortfolioRun

    def __init__(
        self,
        name: str,
        plans: Sequence[Plan],
        account: AccountPlan | None = None,
        benchmark: object = None,
        *,
        by_score: bool = False,
        executor: object = None,
    ) -> None:
        symbols = list(dict.fromkeys(plan.symbol for plan in plans))
        more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
        super().__init__(f"{', '.join(symbols[:_NAMED])}{more}", name)
        self.plans, self.account, self.benchmark = tuple(plans), account, benchmark
        self._given = self.plans
        self._keys = [key_of(plan) for plan in plans]
        # The code is read now: a cell may be run again, with other text, before this run is over.
        self._priority = "score" if by_score else "declared"
        self._run = self._run_of([code_of(plan) for plan in plans])
        self._executor = executor
        self._workers = None if is_inline(executor) else self._in_workers(executor)
        self._prices: BenchmarkPrices | None = None
        self._snapshots: Snapshots | None = None

    def _run_of(self, codes: Sequence[object]) -> PortfolioRun:
        account = self.account
        shared = None if account is None else shared_account(account)
        run = PortfolioRun(self.plans, codes=codes, account=shared, by_score=self._priority == "score")
        run.warnings.extend(() if account is None else account.notes)
        return run

    async def _choose_bases(self) -> None:
        """Go over longer bars where the finest of a symbol do not cover the frame."""
        from .portfolio_bases import over_chosen_bases  # a table has bars of one length

        run, workers = self._run, self._workers
        plans = await over_chosen_bases(self.plans, run if workers is None else None)
        if all(plan.base == before.base for plan, before in zip(plans, self.plans, strict=True)):
            self.plans = run.plans = plans
            for leg, plan in zip(run.legs, plans, strict=True):
                leg.plan = plan
            return
        stopping, paused = self._controlled.stopping, self._controlled.paused
        self.plans = plans
        self._run = self._run_of([leg.code for leg in run.legs])
        self._run.warnings[:] = run.warnings
        if workers is not None:
            workers.stop()
            with workers.runs:  # its workers end
                pass
            self._workers = self._in_workers(self._executor)
        if stopping:
            self._controlled.stop(now=stopping == "now")
        if paused:
            self._controlled.pause()

    def _in_workers(self, executor: object) -> LegsInWorkers | None:
        from .portfolio_workers import LegsInWorkers, why_here  # few portfolios are given workers

        checked_executor(executor)
        if reason := why_here(self.plans, self.account, by_score=self._run.clock.by_score):
            self._run.warnings.append(f"it ran in one process whatever the executor: {reason}")
            return None
        return LegsInWorkers(self._run, executor)

    @property
    def _controlled(self) -> Controlled:
        return self._run if self._workers is None else self._workers

    async def _work(self) -> PortfolioResult:
        if any(plan.longer_bases for plan in self.plans):
            await self._choose_bases()
        run = self._run
        self._prices = prices = await load_benchmark_of(self.benchmark, self.plans, run.warnings.append)
        if self._workers is None and not is_inline(self._executor):
            from .models_ahead import fit_models_ahead  # few portfolios are given an executor

            await fit_models_ahead(run.legs, self._executor, run.warnings.append, lambda: bool(run.stopping))
        await (run if self._workers is None else self._workers).through(self._emit)
        reached = max(leg.reached for leg in run.legs)
        money = None if run.account is None else account_of_run(run.account, reached=reached)
        legs = {
            (leg.plan.symbol, leg.plan.strategy.name): self._result_of(order, money)
            for order, leg in enumerate(run.legs)
        }
        beside = beside_legs(self.benchmark, prices, [*legs.values()])
        options: Any = {"warnings": run.warnings, "seconds": run.seconds, "account": money, "benchmark": beside}
        return PortfolioResult(self.strategy, legs, run.events, priority=self._priority, **options)

    def _result_of(self, order: int, money: RunAccount | None) -> Result:
        leg = self._run.legs[order]
        risk = leg.plan.strategy.risk
        shared = risk is not None and sum(plan.strategy.risk == risk for plan in self.plans) > 1
        positions = None if money is None else money.positions[order]
        record = replace(record_of(leg), shares_risk=shared, money_positions=positions)
        return Result(record if leg.window is None else with_tries(record, self._keys[order]))

    def _announce_done(self) -> None:
        for plan in self.plans:
            subjects.done_backtest.emit(messages.Done(**plan.labels(), mode="backtest"))

    def _warn(self, text: str) -> None:
        self._run.warnings.append(text)
        if self._result is not None:
            self._result.warn(text)

    @property
    def asked(self) -> tuple[object, ...]:
        """All that decides what it does: two tasks with the same do the same."""
        return self._given, self.account, self.benchmark, self._priority

    # --- memory -----------------------------------------------------------------------------------------------------

    def _series(self) -> Iterable[Series]:
        """Return the candles that its legs ran over."""
        return (each for leg in self._run.legs for each in leg.series().values())

    def _rebuilder(self, result: PortfolioResult) -> Callable[[], PortfolioResult]:
        known: dict[int, CandleRange] = {}
        made = {key: leg.run_record.rebuilder(known=known) for key, leg in result.legs.items()}
        name, told, warnings, seconds = result.name, result.told, [*self._run.warnings], result.seconds
        money, beside = result.run_account, result.benchmark
        figures, stale = (None, None) if money is None else (result.account, result.stale)  # made of its candles
        priority = self._priority

        def again() -> PortfolioResult:
            legs = {key: Result(make()) for key, make in made.items()}
            options: Any = {"warnings": warnings, "seconds": seconds, "account": money, "benchmark": beside}
            return PortfolioResult(name, legs, told, figures=figures, priority=priority, stale=stale, **options)

        return again

    def _release_candles(self) -> None:
        super()._release_candles()
        self.plans = tuple(replace(plan, exchange=with_weak_source(plan.exchange)) for plan in self.plans)
        self._given = self.plans
        self._run.release_candles(self.plans)

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def trades_so_far(self) -> list[Closed]:
        """The trades of all legs up to now, in order."""
        return [event for event in [*self._run.events] if isinstance(event, Closed)]

    @property
    def events_so_far(self) -> list[Event]:
        """All events of all legs up to now, in order."""
        return [*self._run.events]

    def facts_so_far(self) -> list[str]:
        """What to say of it beside how far it is: how many trades there are, and what its account was worth."""
        trades = len(self.trades_so_far)
        return [f"{trades:,} trade{'' if trades == 1 else 's'}"]

    def ending(self) -> str:
        """What came of it, in a few words: trades, and with a capital what became of that."""
        result = self.result()
        became = [] if result.capital is None else [f"{result.account.text('start')} → {result.account['end']:,.2f}"]
        return " · ".join([*self.facts_so_far(), *became])

    def snapshot(self, points: int = 400) -> PortfolioSnapshot:
        """Its account and its legs as far as it has come, at ``points`` moments; of its result once it is over."""
        if self.status == "fulfilled":
            return self.result().snapshot(points)
        from .portfolio_snapshot import Snapshots  # nothing that runs needs it

        known = self._snapshots = self._snapshots or Snapshots(self._run, self.benchmark)
        known.prices = known.prices or self._prices
        return known.take(points)

    def pause(self) -> None:
        """Ask no leg for anything new until ``resume``; the clock of all waits before the next question of one.

        A pause does not change the result, which says in its warnings where it was paused.

        Examples
        --------
        >>> import bknb
        >>> task = bknb.Portfolio.background(
        ...     symbols=["BTCUSDT"], strategies=[lambda: None], exchange="demo", frame=("2024-01-01", "2024-01-08"))
        >>> task.pause()
        >>> task.resume()
        >>> task.result().stopped
        False
        """
        super().pause()

    def __repr__(self) -> str:
        legs = "leg" if len(self.plans) == 1 else "legs"
        return f"<portfolio {self.strategy!r} of {len(self.plans)} {legs}: {self.status}, {self.progress:.0%}>"
