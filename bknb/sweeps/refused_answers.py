"""Answers of a combination that broke rules, counted by the rules, with the message of the first of each kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..domain.checked_signal import checked_signal
from ..domain.signal_events import Reason
from ..domain.signal_validation import read_answer
from ..domain.sweep_trial import Refusals, by_codes
from ..domain.tick_grid import on_grid
from ..engine.backtest_rules import rules_of_backtest
from ..events.heard import NOBODY
from ..kernels.weight_loop import ADD_TOO_LARGE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..domain.signal_events import Rejected
    from ..engine.get_signals_columns import SignalRows
    from ..engine.plan import Plan


def of_events(rejected: Iterable[Rejected]) -> Refusals:
    """The rejections of a run."""
    return _counted((event.reasons, 1) for event in rejected)


def of_table(table: NDArray[np.float64], rows: SignalRows, plan: Plan) -> Refusals:
    """The refusals of a compiled run.

    Parameters
    ----------
    table : ndarray of float64, shape (kinds, 4)
        As ``kernels.simulate`` returns it, or ``kernels.weight_loop``.
    rows
        What the strategy answers.
    plan
        Execution model and settings.
    """
    if not len(table):
        return ()
    rules, found = rules_of_backtest(plan, NOBODY), list[tuple[Iterable[Reason], int]]()
    for kind, count, row, price in table.tolist():
        answer = rows.answer(int(row))
        if rows.weight is not None:
            found.append(([_refused_weight(kind, answer, price, plan)], int(count)))
            continue
        signal = read_answer(answer[kind < 0] if isinstance(answer, list) else answer)
        if isinstance(signal, Reason):
            found.append(([signal], int(count)))
            continue
        signal = replace(on_grid(signal, rules.tick), until=None, bars=None)  # broken deadlines are not compiled
        reasons = checked_signal(signal, 0, price, rules, last_id=None)
        assert isinstance(reasons, tuple)  # it was refused  # noqa: S101
        found.append((reasons, int(count)))
    return _counted(found)


def _refused_weight(kind: float, answer: object, share: float, plan: Plan) -> Reason:
    """Why a weight is none, or why the add of a ``share`` that it led to is none."""
    from ..domain.part_and_add_orders import share_fault  # few strategies answer with weights
    from ..domain.weight_answers import read_weight

    if kind == ADD_TOO_LARGE:
        return share_fault(share)
    reason = answer if isinstance(answer, Reason) else read_weight(answer, plan.strategy.weights)
    assert isinstance(reason, Reason)  # it was refused  # noqa: S101
    return reason


def _counted(groups: Iterable[tuple[Iterable[Reason], int]]) -> Refusals:
    return by_codes(
        (", ".join(reason.code for reason in listed), "; ".join(reason.text for reason in listed), count)
        for listed, count in ((list(reasons), count) for reasons, count in groups)
    )
