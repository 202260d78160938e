"""Tables of an account: what was held at each mark, and what each leg added to the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..domain.interval import MINUTE_MS
from ..domain.leg_position import leg_name
from ..engine.marked_account_equity import prices_at
from ..errors import DataError
from ..metrics.account_sharpe_sortino_and_drawdown import period_marks
from .account_equity import closes_by_leg, exposure_marks, marked_span
from .monthly_returns_and_drawdowns import edges_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ..domain.funding_charged_and_fills_booked import CashRow
    from ..metrics.marked_equity import MarkedEquity
    from ..metrics.marked_positions import Floats, Times
    from ..metrics.run_account import Terms
    from .account_result import RunAccount
    from .run_record import RunRecord

CONTRIBUTION_COLUMNS: Final = ("money", "percent", "trades", "fees", "slippage", "funding", "borrow", "forgiven")


def exposure_table(records: Sequence[RunRecord], account: RunAccount, times: Times, equity: pd.Series) -> pd.DataFrame:
    """One row for each mark: ``long``, ``short`` (below 0), ``net`` and ``gross``, percent of the equity.

    ``times`` are those of ``equity``, UTC ms.
    """
    import pandas as pd

    longs, shorts = exposure_marks(records, account, times, equity.to_numpy())
    columns = {"long": longs, "short": shorts, "net": longs + shorts, "gross": longs - shorts}
    return pd.DataFrame(columns, index=equity.index, copy=False)  # of large arrays that nobody else has


def contribution_table(
    legs: Mapping[tuple[str, str], RunRecord], terms: Sequence[Terms], account: RunAccount
) -> pd.DataFrame:
    """One row for each leg: what it made of the capital after all costs, and what those were, in quote currency."""
    import pandas as pd

    made = _of_legs([*legs.values()], terms, account)
    rows = [{"trades": len(record.records.closed), **row} for record, row in zip(legs.values(), made, strict=True)]
    index = pd.MultiIndex.from_tuples(list(legs), names=["symbol", "strategy"])
    return pd.DataFrame(rows, index=index, columns=[*CONTRIBUTION_COLUMNS])


def _prices_at_end(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> dict[str, float]:
    """The last close of each leg by its name, where there is one."""
    closes = closes_by_leg(records, account)
    end = np.array([marked_span(closes.values(), terms)[1]])
    return {name: float(prices_at(bars, end)[0]) for name, bars in closes.items() if len(bars.close)}


def money_at_end(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> list[float]:
    """What each leg has made of the account after all costs, open positions included, quote currency."""
    return [row["money"] for row in _of_legs(records, terms, account)]


def contribution_by_period(
    legs: Mapping[tuple[str, str], RunRecord],
    terms: Sequence[Terms],
    account: RunAccount,
    marked: MarkedEquity,
    freq: str,
    *,
    sessions: bool,
) -> pd.DataFrame:
    """One row for each period by its beginning, one column for each leg: what it added in it, quote currency."""
    import pandas as pd

    edges = edges_of(freq, int(marked.time_ms[0]), int(marked.time_ms[-1]))
    begins, last = period_marks(marked, edges, sessions=sessions)
    added = np.diff(money_by_leg([*legs.values()], terms, account, marked.time_ms[last]), axis=0, prepend=0.0)
    index = pd.DatetimeIndex(pd.to_datetime(begins, unit="ms", utc=True))
    columns = pd.MultiIndex.from_tuples(list(legs), names=["symbol", "strategy"])
    return pd.DataFrame(added + 0.0, index=index, columns=columns)


def why_not_by_leg(records: Sequence[RunRecord], account: RunAccount) -> str:
    """Why what each leg had made at earlier moments is not known; empty: it is."""
    if (kept := account.kept) is None:
        return ""
    begun = int(kept.time_ms[0]) if len(kept.time_ms) else kept.after
    held = (record.minutes_held.timestamp for record in records)
    if kept.restored or any(len(times) and times[0] > begun + MINUTE_MS for times in held):
        return (
            "what each leg had made at earlier moments is not kept live: equity and exposure are\n"
            "read contribution, or run bknb.portfolio over that time"
        )
    return ""


def money_by_leg(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount, times: Times) -> Floats:
    """What each leg has made of the account up to moments (UTC ms, ascending), open positions included; (m, legs)."""
    if reason := why_not_by_leg(records, account):
        raise DataError(reason)
    closes = closes_by_leg(records)
    end = marked_span(closes.values(), terms)[1]
    since = np.maximum.accumulate([min(change.since, end) for change in account.changes] or [end])
    at = np.searchsorted(since[: len(account.changes)], times, side="right")  # how many changes are in force
    moved = _cash_by_leg(account, len(records))
    ledgers = [account.begin, *(change.ledger for change in account.changes)]
    worth = np.zeros((len(times), len(records)))
    for order in range(len(records)):
        name = str(order)
        owns = ledgers[0].account_of(name).owns
        worth[:, order] = moved[at, order]
        for part in account.begin.parts_of(name):
            held = [ledgers[each].positions.get(part) for each in at]
            quantity = np.array([0.0 if each is None else each.quantity for each in held])
            worth[:, order] -= np.array([0.0 if each is None or owns else each.cost for each in held])
            if quantity.any():
                worth[:, order] += quantity * prices_at(closes[name], times)
    return worth


def _cash_by_leg(account: RunAccount, legs: int) -> Floats:
    """The cash that each leg had moved before the first change of the account and after each; shape (n + 1, legs).

    Rows of a change are those up to the cash that is there after it.
    """
    moved, rows, cash = np.zeros((len(account.changes) + 1, legs)), iter(account.rows), account.begin.cash
    for number, change in enumerate(account.changes, start=1):
        moved[number] = moved[number - 1]
        while cash != change.ledger.cash and (row := next(rows, None)) is not None:
            cash = row.cash
            moved[number, int(leg_name(row.leg))] += row.amount
    return moved


def _of_legs(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> list[dict[str, float]]:
    """What each leg has added to the account, and what it has paid of each kind, in declared order."""
    prices, names = _prices_at_end(records, terms, account), [str(order) for order in range(len(records))]
    if account.kept is not None:
        return [_of_positions(name, prices, account) for name in names]
    rows: dict[str, list[CashRow]] = {name: [] for name in names}
    for row in account.rows:
        rows[leg_name(row.leg)].append(row)
    return [_of_leg(order, rows[name], prices, account) for order, name in enumerate(names)]


def _of_leg(order: int, rows: Sequence[CashRow], prices: Mapping[str, float], account: RunAccount) -> dict[str, float]:
    name, end = str(order), account.end
    moved = {"funding": 0.0, "borrow": 0.0, "forgiven": 0.0}
    money = 0.0
    for row in rows:
        money += row.amount
        if row.kind in moved:
            moved[row.kind] += row.amount if row.kind == "forgiven" else -row.amount
    for part in end.parts_of(name):
        if (held := end.positions.get(part)) is not None:
            money += held.quantity * prices[name] - (0.0 if end.account_of(name).owns else held.cost)
    return _contributed(order, money, moved, account)


def _of_positions(name: str, prices: Mapping[str, float], account: RunAccount) -> dict[str, float]:
    """As :func:`_of_leg`, of positions: live the movements of cash are those since the last start."""
    positions = [position.columns() for position in account.positions[int(name)].values()]
    money = sum(each["money"] for each in positions)
    if held := account.end.quantity_of(name):
        money += held * prices[name]
    paid = {kind: sum(each[kind] for each in positions) for kind in ("funding", "borrow", "forgiven")}
    return _contributed(int(name), money, paid, account)


def _contributed(order: int, money: float, paid: Mapping[str, float], account: RunAccount) -> dict[str, float]:
    """The row of a leg: what it has added to the account (quote currency), and what it has ``paid`` of each kind."""
    costs = [each.fill.costs for position in account.positions[order].values() for each in position.fills]
    return {
        "money": money + 0.0,
        "percent": money / account.capital * 100 + 0.0,
        "fees": sum(each.fee for each in costs),
        "slippage": sum(each.slippage for each in costs),
        **{kind: amount + 0.0 for kind, amount in paid.items()},
    }
