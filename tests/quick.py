"""Parametrised tests of which a set runs some cases alone."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def first_quick(values: Iterable[Any], *, kept: int = 1) -> list[Any]:
    """The first ``kept`` values as they are, and every other marked ``slow``.

    For a costly test whose cases take the same path with another parameter. A tuple holds the values of several
    parameters, as in ``pytest.mark.parametrize``.
    """
    values = list(values)
    return [*values[:kept], *(_marked(value, pytest.mark.slow) for value in values[kept:])]


def some_quick(values: Iterable[Any], quick: Container[Any]) -> list[Any]:
    """The values that are in ``quick`` as they are, and every other marked ``slow``: as ``first_quick``, for any."""
    return [value if value in quick else _marked(value, pytest.mark.slow) for value in values]


def _marked(value: Any, mark: pytest.MarkDecorator) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=mark)


def rest_long(values: Iterable[Any], *, kept: int) -> list[Any]:
    """The first ``kept`` values as they are, and every other marked ``long``: for more random worlds of a slow test."""
    return [value if number < kept else _marked(value, pytest.mark.long) for number, value in enumerate(values)]
