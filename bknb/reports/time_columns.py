"""Columns of moments in tables, as timestamps and as UTC milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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


def ms_of(column: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A datetime column, or index, as UTC milliseconds.

    Examples
    --------
    >>> import pandas as pd
    >>> ms_of(pd.DatetimeIndex(["2024-01-01 00:01"], tz="UTC")).tolist()
    [1704067260000]
    """
    import pandas as pd

    return np.asarray(pd.DatetimeIndex(column).as_unit("ms").asi8, dtype=np.int64)
