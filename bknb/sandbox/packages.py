"""The packages that a trial imports before it gives up files."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from .allowlist import MODULES
from .held_data import may_hold_data

if TYPE_CHECKING:
    from .process import Job


def packages_of(job: Job) -> tuple[str, ...]:
    """Return the packages that a job needs."""
    found = {name for name in job.packages if name in MODULES}
    if job.look_ahead and may_hold_data(job.code):
        found.add("pandas")  # the check looks for moments among what it holds
    return tuple(sorted(found))


def load(packages: Iterable[str]) -> None:
    """Import packages, and what their functions import when they are called."""
    for name in ("numpy.lib.stride_tricks", "numpy.ma", "numpy.random", *packages):
        import_module(name)
    if "pandas" in packages:
        _use_pandas()


def _use_pandas() -> None:
    import pandas as pd

    series = pd.Series(np.arange(3.0), index=pd.date_range("2024-01-01", periods=3, freq="min", tz="UTC"))
    series.rolling(2).mean()
    series.ewm(span=2).mean()
    series.resample("2min").last()
    pd.DataFrame({"a": series}).describe()
