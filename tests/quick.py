"""Parametrised tests of which a set runs some cases alone."""

from __future__ import annotations

import itertools
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


def every(values: Iterable[Any], step: int) -> list[Any]:
    """The first value and every ``step``-th behind it as they are, and the others marked ``long``.

    For a long list of alike cases of a slow test.
    """
    return [value if number % step == 0 else _marked(value, pytest.mark.long) for number, value in enumerate(values)]


def each_once(first: Iterable[Any], second: Iterable[Any]) -> list[Any]:
    """Pairs of two parameters: as many as it takes for each value to be in one, and every other marked ``long``.

    For a costly test of which neither parameter changes what the other leads to. Of those that are kept all but the
    first are ``slow``.
    """
    one, other = [*first], [*second]
    kept = [(one[k % len(one)], other[k % len(other)]) for k in range(max(len(one), len(other)))]
    others = [pair for pair in itertools.product(one, other) if pair not in kept]
    return [*first_quick(kept), *rest_long(others, kept=0)]


def _marked(value: Any, mark: pytest.MarkDecorator) -> Any:
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=mark)


def rest_long(values: Iterable[Any], *, kept: int) -> list[Any]:
    """The first ``kept`` values as they are, and every other marked ``long``: for more random worlds of a slow test."""
    return [value if number < kept else _marked(value, pytest.mark.long) for number, value in enumerate(values)]
