"""The models of a live run, each fitted beside it in a process of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..engine.registry import registry
from ..provenance.strategy_hash import models_of

if TYPE_CHECKING:
    from ..live.plan import LivePlan
    from ..market.fits_beside_live_run import FitsBeside

_WAIT_SECONDS: Final = 60.0
_PART: Final = 1 / 3  # of the seconds a strategy may think; the rest is for what it does with the model


def fits_beside(plan: LivePlan, warn: Callable[[str], object]) -> FitsBeside | None:
    """What fits the models of a live run beside it; ``None`` where none is registered. ``warn`` is given sentences."""
    if not registry.models.items:
        return None
    from ..market.fits_beside_live_run import FitsBeside  # few runs have models
    from ..sweeps.fit_process import FitProcesses

    seconds = min(_WAIT_SECONDS, plan.settings.max_signal_generation_seconds * _PART)
    return FitsBeside(models_of(plan.strategy), make=FitProcesses(warn), wait_seconds=seconds)
