"""Parametrised tests of which the fast set runs the first case alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_quick(values: Iterable[Any]) -> list[Any]:
    """The first value as it is, and every other marked ``slow``.

    For a costly test whose cases take the same path with another parameter. A tuple holds the values of several
    parameters, as in ``pytest.mark.parametrize``.
    """
    first, *others = values
    return [
        first,
        *(pytest.param(*(each if isinstance(each, tuple) else (each,)), marks=pytest.mark.slow) for each in others),
    ]
