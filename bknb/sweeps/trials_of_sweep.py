"""The trials of one sweep in its ledger: found again, written, and counted with those of other sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.sweep_trial import Trial, same_data
from ..kernels.sweep_figures import FIGURES
from ..provenance.strategy_hash import fingerprint, not_compared
from .evaluate_combination import Outcome
from .packed_days import pack_days, unpack_days
from .trial_keys import TrialKeys

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..ports import TrialLedger
    from .parameter_search import Params

_SHARPE: Final = FIGURES.index("sharpe_ratio")
_SAVE: Final = 256  # trials that are written to disk at a time


class SweepTrials:
    """What a sweep reads from its ledger and writes into it.

    Parameters
    ----------
    ledger
        Where trials are kept; ``None``: nowhere, they are counted alone.

    Attributes
    ----------
    recalled : int
        How many outcomes were in the ledger already.
    count : int
        How many trials of the strategy's candles the ledger holds at the end, those of this sweep included.
    sharpes : list of float
        The Sharpe ratios of these, where they have one.
    """

    def __init__(self, ledger: TrialLedger | None) -> None:
        self._counted: dict[str, float | None] = {}  # without a ledger, as ``tried`` of ``count_all``
        self.recalled = self.count = 0
        self.sharpes: list[float] = []
        self._ledger = ledger
        self._fresh: list[Trial] = []
        self._not_reused = 0

    def begin(self, plans: Sequence[Plan], data: Sequence[str]) -> None:
        """Read the strategy of the plans, of which each is of one symbol, as it is now.

        ``data`` is the hash of the candles of each symbol; one may be added until its symbol is asked about.
        """
        self._plans, self._data = plans, data
        self._strategy_hash = fingerprint(plans[0].strategy)
        self._not_compared = not_compared(plans[0].strategy)
        self._keys = TrialKeys(plans, self._strategy_hash, data)

    @property
    def has_ledger(self) -> bool:
        """Whether trials are kept."""
        return self._ledger is not None

    def in_points(self) -> None:
        """Tell from now on the results from those in percent: they are in points, on all symbols."""
        self._keys = TrialKeys(self._plans, self._strategy_hash, [f"{data} points" for data in self._data])

    def recall(self, number: int, params: Params, symbol: int) -> Outcome | None:
        """The outcome of a combination on a symbol, both by their numbers, as the ledger has it."""
        if self._ledger is None:
            return None
        trial = self._ledger.get(self._keys.of(number, params, symbol))
        if trial is None:
            return None
        if self._not_compared:  # the strategy may be another one than that of the ledger
            self._not_reused += 1
            return None
        self.recalled += 1
        figures = np.array([np.nan if value is None else value for value in trial.figures])
        return Outcome(figures, unpack_days(trial.daily), trial.rejected, refusals=trial.refusals)

    def add(self, number: int, params: Params, symbol: int, outcome: Outcome) -> None:
        """Write the outcome of a combination, later together with others."""
        if self._ledger is None:
            sharpe = float(outcome.figures[_SHARPE])
            self._counted[self._keys.of(number, params, symbol)] = None if np.isnan(sharpe) else sharpe
            return
        plan = self._plans[symbol]
        figures = [None if value != value else value for value in outcome.figures.tolist()]
        self._fresh.append(
            Trial(
                key=self._keys.of(number, params, symbol),
                symbol=plan.symbol,
                exchange=plan.exchange.name,
                strategy=plan.strategy.name,
                execution=plan.execution,
                data=self._data[symbol],
                start=plan.frame.start,
                end=plan.frame.last,
                params=repr(params),
                sharpe=figures[_SHARPE],
                figures=tuple(figures),
                daily=pack_days(outcome.daily),
                rejected=outcome.rejected,
                refusals=outcome.refusals,
            )
        )

    def save_many(self) -> None:
        """Write to disk what waits for it, if that is enough."""
        if len(self._fresh) >= _SAVE:
            self.save()

    def save(self) -> None:
        """Write to disk what waits for it."""
        fresh, self._fresh = self._fresh, []
        if self._ledger is not None:
            self._ledger.add(fresh)

    @property
    def warning(self) -> str:
        """What is said of outcomes in the ledger that were not taken from it; empty where there are none."""
        if not self._not_reused:
            return ""
        return (
            f"{self._not_reused} results in the ledger were computed again, as nobody can tell whether they are of "
            f"the same strategy ({'; '.join(self._not_compared)})"
        )

    def count_all(self) -> None:
        """Count the trials of the ledger on these candles, this sweep included."""
        tried = {**self._counted}
        for trial in () if self._ledger is None else self._ledger.all():
            for plan, data in zip(self._plans, self._data, strict=True):
                if same_data(
                    trial,
                    symbol=plan.symbol,
                    exchange=plan.exchange.name,
                    start=plan.frame.start,
                    end=plan.frame.last,
                    data=data,
                ):
                    tried[trial.key] = trial.sharpe
        self.count = len(tried)
        self.sharpes = [sharpe for sharpe in tried.values() if sharpe is not None]
