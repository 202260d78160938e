"""The keys under which a sweep finds its results in the trial ledger again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..domain.fills_at_stops_and_gaps import execution_model
from ..kernels.sweep_figures import FIGURES
from ..provenance.strategy_hash import params_text

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from .parameter_search import Params

RULES: Final = "2:" + ",".join(FIGURES)
"""Version of the figures in the key of a trial; that of the fills is the execution model's own."""


class TrialKeys:
    """The key of each combination of parameters on each symbol.

    It names all that decides the result: the strategy's code, the candles, the settings, the frame, the execution model
    and the parameters.

    Parameters
    ----------
    plans
        One for each symbol of the sweep.
    strategy_hash
        Fingerprint of the strategy.
    data
        Hash of the candles of each symbol; one may be added until a key of its symbol is asked for.
    """

    def __init__(self, plans: Sequence[Plan], strategy_hash: str, data: Sequence[str]) -> None:
        self._plans = plans
        self._strategy_hash = strategy_hash
        self._data = data
        self._defaults = plans[0].strategy.defaults
        self._digests: dict[int, Any] = {}  # by number of the symbol
        self._keys: dict[tuple[int, int], str] = {}  # by combination and number of the symbol

    def of(self, number: int, params: Params, symbol: int) -> str:
        """Return the key of a combination, by its number, on a symbol, by its number: 64 hexadecimal digits."""
        if (number, symbol) not in self._keys:  # asked before a combination is tried, and for its trial
            digest = self._digest(symbol).copy()
            values = {**self._plans[symbol].strategy.params, **params}
            digest.update(params_text(values, self._defaults).encode())
            self._keys[number, symbol] = digest.hexdigest()
        return self._keys[number, symbol]

    def _digest(self, symbol: int) -> Any:
        """Return the hash over the part of a key that all combinations of a symbol share."""
        if symbol not in self._digests:
            plan = self._plans[symbol]
            parts = (
                RULES,
                self._strategy_hash,
                self._data[symbol],
                msgspec.json.encode(plan.settings.decisive()),
                (plan.frame.start, plan.frame.last, plan.frame.interval),
                (plan.execution, execution_model(plan.execution).rules),
                plan.symbol,
            )
            self._digests[symbol] = hashlib.sha256(repr(parts).encode())
        return self._digests[symbol]
