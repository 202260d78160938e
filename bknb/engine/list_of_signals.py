"""A list of signals that a strategy answered, given to the lifecycle of its loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..domain.competing_entries import read_signals
from ..domain.lifecycle_inputs import Answers
from ..domain.signal_validation import STOPPED
from ..domain.states import rejection

if TYPE_CHECKING:
    from .strategy_loop import StrategyLoop


async def answered_list(loop: StrategyLoop, answer: Sequence[object], when: int, price: float) -> None:
    """Act on a list of signals of the moment ``when`` (UTC ms): each that cannot be read is rejected by itself."""
    read = read_signals(answer, negative=loop.rules.negative)
    signals, faults = read.signals, read.faults
    if loop.wait_turn is not None and signals:
        await loop.wait_turn(when, read.score)
    if signals and not loop.may_open():
        signals, faults = (), (*faults, STOPPED)
    if faults:
        await loop.deliver(tuple(rejection(loop.rules, when, price, (fault,), answer) for fault in faults))
    if signals:
        await loop.take(Answers(when, price, signals, loop.decided_at(when, "entry")))
