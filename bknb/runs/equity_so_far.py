"""What the account of a backtest was worth, as far as the run has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..engine.marked_account_equity import marked_money
from .account_equity import closes_by_leg
from .account_result import RunAccount
from .portfolio_snapshot import is_loaded
from .run_record import record_of

if TYPE_CHECKING:
    from ..engine.backtest import BacktestRun
    from ..metrics.marked_positions import Floats, Times


def equity_so_far(run: BacktestRun, points: int) -> tuple[Times, Floats] | None:
    """Moments (UTC ms) evenly over what a run has behind it, at most ``points``, and its account then (quote currency).

    ``None`` without a capital, and before its candles are here.
    """
    if run.account is None:
        return None
    shared, record = run.account.shared, record_of(run)
    if not is_loaded(record):
        return None
    changes = tuple(shared.changes)  # the run goes on in another thread meanwhile
    reached = min(max([run.reached, *(change.since for change in changes[-1:])]), record.last)
    account = RunAccount(shared.plan.capital, shared.plan.currency, shared.begin, changes, (), ())
    times = np.unique(np.linspace(record.start, reached, max(points, 2)).astype(np.int64))
    worth = marked_money(account.begin, account.changes, closes_by_leg([record], account), times)
    if (nothing := worth <= 0.0).any():
        worth[int(np.argmax(nothing)) :] = 0.0
    return times, worth
