"""Parametrised tests of which a set runs some cases alone."""

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


def rest_long(values: Iterable[Any], *, kept: int) -> list[Any]:
    """The first ``kept`` values as they are, and every other marked ``long``: for more random worlds of a slow test."""
    return [
        value if number < kept else pytest.param(value, marks=pytest.mark.long) for number, value in enumerate(values)
    ]
