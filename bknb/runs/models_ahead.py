"""Models of a run over history, fitted by an executor before it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..engine.registry import registry
from ..sweeps.executor_options import is_inline

if TYPE_CHECKING:
    from ..engine.backtest import BacktestRun


async def fit_models_ahead(
    legs: Sequence[BacktestRun], executor: object, warn: Callable[[str], object], stopping: Callable[[], bool]
) -> None:
    """Have an executor fit the models that legs ask for, unless it is this process; see ``fit_ahead``."""
    if is_inline(executor) or not registry.models.items:
        return
    from ..sweeps.fits_in_workers import fit_ahead  # needs what workers need

    await fit_ahead(legs, executor, warn, stopping)
