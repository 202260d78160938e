"""What strategies of weights held, from all flat to all flat: their trades put together."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("strategy", "opened_at", "closed_at", "symbols", "trades", "money")


def weight_groups(trades: pd.DataFrame, strategies: Collection[str]) -> pd.DataFrame:
    """One row for each time in which a strategy held something, in order of their ends.

    Parameters
    ----------
    trades
        Of a portfolio: ``strategy``, ``symbol``, ``pending_at``, ``closed_at`` and ``money``.
    strategies
        Those whose trades belong together.
    """
    from pandas import DataFrame

    rows: list[dict[str, object]] = []
    for name in strategies:
        own = trades[trades["strategy"] == name].sort_values("pending_at", kind="stable")
        begins, ends = own["pending_at"], own["closed_at"]
        apart = (begins > ends.cummax().shift()).cumsum()  # all were closed before it opened
        for _, group in own.groupby(apart):
            rows.append({
                "strategy": name, "opened_at": group["pending_at"].min(), "closed_at": group["closed_at"].max(),
                "symbols": group["symbol"].nunique(), "trades": len(group), "money": group["money"].sum(),
            })  # fmt: skip
    found = DataFrame(rows, columns=[*COLUMNS])
    return found.sort_values(["closed_at", "opened_at"], kind="stable", ignore_index=True)
