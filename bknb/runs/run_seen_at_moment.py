"""What a strategy saw of its run at a moment that is over: closed trades, what was open, and the equity."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from ..domain.closed_trade import ClosedTrade, closed_trade, was_closed
from ..domain.lifecycle import Rules
from ..domain.position_seen_by_manage import HeldPosition
from ..domain.signal_events import Closed
from ..engine.closed_trades_position_and_equity import no_equity
from ..errors import UsageError
from ..market.kept_memo import ENTRY, memo_before, turn_of
from ..market.strategy_context import have_run

if TYPE_CHECKING:
    from ..domain.funding_charged_and_fills_booked import Ledger
    from ..market.strategy_context import Context
    from .account_result import RunAccount
    from .run_record import RunRecord


class RunAtMoment:
    """A run as its strategy saw it at a moment.

    Parameters
    ----------
    rules
        Of the run.
    closed
        All trades of the run that were closed, in order.
    managing
        Whether it is ``manage`` that is asked.
    positions
        Returns what was open or waited, the oldest first.
    equity
        Returns what the account was worth, quote currency.

    Attributes
    ----------
    looked : bool
        Whether trades or the position were asked for.
    """

    def __init__(
        self,
        rules: Rules,
        closed: Iterable[Closed],
        *,
        managing: bool,
        positions: Callable[[], tuple[HeldPosition, ...]],
        equity: Callable[[], float],
    ) -> None:
        self.strategy, self.exchange, self.frame = rules.strategy, rules.exchange, rules.frame
        self._rules, self._closed, self._managing = rules, closed, managing
        self._positions, self._equity = positions, equity
        self.looked = False

    def closed(self, n: int, when: int) -> tuple[ClosedTrade, ...]:
        """The newest closed trades, the newest first."""
        self.looked = True
        known = [each for each in self._closed if was_closed(each, when, self._rules, managing=self._managing)]
        return tuple(closed_trade(event, self._rules) for event in known[: -n - 1 : -1])

    def positions(self, when: int) -> tuple[HeldPosition, ...]:  # noqa: ARG002 -- that of its moment
        """What was open or waited."""
        self.looked = True
        return self._positions()

    def equity(self, when: int) -> float:  # noqa: ARG002 -- that of its moment
        """What the account was worth, quote currency."""
        return self._equity()


def have_past(
    context: Context,
    record: RunRecord,
    *,
    about: HeldPosition | None = None,
    positions: Callable[[], tuple[HeldPosition, ...]],
) -> None:
    """Have a context see a backtest, and the memo of its strategy, as they were at its moment.

    ``about`` is the position that ``manage`` is asked about; ``None``: it is a question for entries. ``positions``
    returns what was open or waited then.
    """
    when, rules, records = context.when_ms, record.rules, record.records
    assert rules is not None  # a backtest has them  # noqa: S101
    equity = partial(equity_at, record, when)
    run = RunAtMoment(rules, records.closed, managing=about is not None, positions=positions, equity=equity)
    have_run(context, run, memo_before(records.memos, when, ENTRY if about is None else turn_of(about)))


def equity_at(record: RunRecord, when: int) -> float:
    """What the account of a backtest was worth at a moment (UTC ms), at the last close; quote currency.

    Raises
    ------
    UsageError
        The run had none of its own.
    """
    if record.money is None:
        if record.money_positions is not None:
            raise UsageError(
                "ctx.equity is that of an account that the legs of a portfolio share, and result.at knows one leg\\n"
                "look at the equity of the portfolio"
            )
        raise no_equity()
    ledger, close = _ledger_at(record, record.money, when)
    return ledger.mark(dict.fromkeys(ledger.positions, close)).equity


def held_weight_at(record: RunRecord, money: RunAccount, when: int) -> tuple[float, float]:
    """What the account of a backtest in one place held at a moment (UTC ms).

    Its weight, below 0 for a short, and its size in units of the first.
    """
    ledger, close = _ledger_at(record, money, when)
    entries = (each.fills[0].fill.order for each in money.positions[0].values() if each.fills)
    first = max((entry for entry in entries if entry.at < when), key=lambda entry: entry.at, default=None)
    if not ledger.positions or first is None:
        return 0.0, 0.0
    (held,) = ledger.positions.values()
    marked = ledger.mark(dict.fromkeys(ledger.positions, close))
    return marked.part_of_equity(held.quantity * close), abs(held.quantity) / first.quantity


def _ledger_at(record: RunRecord, money: RunAccount, when: int) -> tuple[Ledger, float]:
    """The account at a moment (UTC ms), and the last close (quote currency)."""
    changes, minutes = money.changes, record.candles.minutes
    count = bisect_right(changes, when, key=lambda change: change.since)
    assert record.rules is not None  # a backtest has them  # noqa: S101
    opened = int(minutes.timestamp.searchsorted(record.rules.bar_before(when), side="right")) - 1
    return changes[count - 1].ledger if count else money.begin, float(minutes.close[opened])
