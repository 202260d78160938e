"""Columns of moments in tables, as timestamps."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd


def with_times(table: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The same table, whose columns of moments (UTC ms) have become timestamps (UTC); NaT where there is none.

    Examples
    --------
    >>> import pandas as pd
    >>> list(map(str, with_times(pd.DataFrame({"when": [1_704_067_200_000, None]}), ["when"]).when))
    ['2024-01-01 00:00:00+00:00', 'NaT']
    """
    import pandas as pd

    for name in names:
        whole = table[name].astype("Int64" if table[name].hasnans else "int64")
        table[name] = pd.to_datetime(whole, unit="ms", utc=True)
    return table
