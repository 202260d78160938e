"""Tables of an account: what was held at each mark, and what each leg added to the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ..metrics.marked_account_equity import prices_at
from .account_equity import closes_by_leg, exposure_marks, marked_span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ..metrics.run_account import Terms
    from .account_result import RunAccount
    from .run_record import RunRecord

CONTRIBUTION_COLUMNS: Final = ("money", "percent", "trades", "fees", "slippage", "funding", "borrow", "forgiven")


def exposure_table(records: Sequence[RunRecord], terms: Sequence[Terms], account: RunAccount) -> pd.DataFrame:
    """One row for each mark: ``long``, ``short`` (below 0), ``net`` and ``gross``, percent of the equity."""
    import pandas as pd

    times, longs, shorts = exposure_marks(records, terms, account)
    index = pd.DatetimeIndex(pd.to_datetime(times, unit="ms", utc=True))
    columns = {"long": longs, "short": shorts, "net": longs + shorts, "gross": longs - shorts}
    return pd.DataFrame(columns, index=index)


def contribution_table(
    legs: Mapping[tuple[str, str], RunRecord], terms: Sequence[Terms], account: RunAccount
) -> pd.DataFrame:
    """One row for each leg: what it made of the capital after all costs, and what those were, in quote currency."""
    import pandas as pd

    closes = closes_by_leg([*legs.values()])
    end = np.array([marked_span(closes.values(), terms)[1]])
    prices = {name: float(prices_at(bars, end)[0]) for name, bars in closes.items()}
    rows = [
        {"trades": len(record.records.closed), **_of_leg(order, prices, account)}
        for order, record in enumerate(legs.values())
    ]
    index = pd.MultiIndex.from_tuples(list(legs), names=["symbol", "strategy"])
    return pd.DataFrame(rows, index=index, columns=[*CONTRIBUTION_COLUMNS])


def _of_leg(order: int, prices: Mapping[str, float], account: RunAccount) -> dict[str, float]:
    name, end = str(order), account.end
    moved = {"funding": 0.0, "borrow": 0.0, "forgiven": 0.0}
    money = 0.0
    for row in account.rows:
        if row.leg == name:
            money += row.amount
            if row.kind in moved:
                moved[row.kind] += row.amount if row.kind == "forgiven" else -row.amount
    if (held := end.positions.get(name)) is not None:
        money += held.quantity * prices[name] - (0.0 if end.account_of(name).owns else held.cost)
    costs = [each.fill.costs for position in account.positions[order].values() for each in position.fills]
    return {
        "money": money + 0.0,
        "percent": money / account.capital * 100 + 0.0,
        "fees": sum(each.fee for each in costs),
        "slippage": sum(each.slippage for each in costs),
        **{kind: paid + 0.0 for kind, paid in moved.items()},
    }
