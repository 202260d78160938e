"""Rows without moments whose moments stand in another variable of the same length: two lists, two arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from .moment_parsing import are_moments, as_time_stamps
from .rows_swapped_in_strategy_data import is_dense
from .timed_data import timed
from .variables import Variable

_FEWEST: Final = 24


def paired(held: Sequence[Variable]) -> list[Variable]:
    """The rows among variables that lie beside moments in another of them, each as a series by these moments.

    Only histories: what the time of day tells may be a schedule (:mod:`bknb.research.rows_swapped_in_strategy_data`).
    """
    long = [one for one in held if _is_long(one.value)]
    if len(long) < 2:
        return []  # without pandas, which takes longer to load than most checks
    import pandas as pd

    clocks: dict[int, Any] = {}
    rows: list[Variable] = []
    for variable in long:
        moments = _moments(variable.value)
        if moments is None:
            rows.append(variable)
        else:
            clocks[len(variable.value)] = pd.DatetimeIndex(moments.astype("datetime64[ms]"), tz="UTC")
    found = [_by_moments(one, clocks[len(one.value)]) for one in rows if len(one.value) in clocks]
    return [one for one in found if (data := timed(one.value)) is not None and is_dense(one.value, data)]


def _is_long(value: Any) -> bool:
    if not isinstance(value, (list, np.ndarray)):
        return False
    try:
        return np.ndim(value) == 1 and len(value) >= _FEWEST
    except ValueError:  # a list of rows of several lengths
        return False


def _moments(value: Any) -> Any:
    import pandas as pd

    if not isinstance(value[0], (int, np.integer, np.datetime64, pd.Timestamp)):
        return None
    try:
        moments = as_time_stamps(pd.Index(value))
    except (TypeError, ValueError):
        return None
    return moments if moments is not None and are_moments(moments) and (np.diff(moments) > 0).all() else None


def _by_moments(variable: Variable, moments: Any) -> Variable:
    import pandas as pd

    rows = variable.value
    series = pd.Series(rows if isinstance(rows, np.ndarray) else pd.Series(list(rows)).to_numpy(), index=moments)

    def put(value: Any) -> None:
        if value is series:
            variable.put(rows)
        else:
            variable.put(value.to_numpy() if isinstance(rows, np.ndarray) else value.tolist())

    return replace(variable, value=series, put=put)
