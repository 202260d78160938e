"""The values of sliders, from the text of a line and as they are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bknb.domain.slider_values import MOST_VALUES, nearest, slider_values
from bknb.errors import UsageError


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("5:8", (5, 6, 7, 8)),
        ("5:20:5", (5, 10, 15, 20)),
        ("5:19:5", (5, 10, 15)),
        ("-2:1", (-2, -1, 0, 1)),
        ("0.5:0.8:0.1", (0.5, 0.6, 0.7, 0.8)),
        ("1:2:0.5", (1.0, 1.5, 2.0)),
        ("1e-3:3e-3:1e-3", (0.001, 0.002, 0.003)),
        (" 5 : 7 ", (5, 6, 7)),
        ("1_000:1_002", (1000, 1001, 1002)),
        ("a,b", ("a", "b")),
        ("1,2.5,x", (1, 2.5, "x")),
        ("True,False", (True, False)),
        ("None,3", (None, 3)),
        ("'a b','c'", ("a b", "c")),
        (range(5, 8), (5, 6, 7)),
        ([3, 1, 2], (3, 1, 2)),
        (np.array([0.5, 1.5]), (0.5, 1.5)),
        ([True, 1], (True, 1)),
    ],
)
def test_what_a_slider_goes_over(given: Any, values: tuple[Any, ...]) -> None:
    found = slider_values({"x": given})["x"]
    assert found == values
    assert [type(each) for each in found] == [type(each) for each in values]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("50:5", "write x=5:50"),
        ("5:5", "does not go up"),
        ("5:50:0", "a step that is not above zero"),
        ("5:50:-5", "a step that is not above zero"),
        ("0.5:2", "needs a step"),
        ("5:", "cannot go over x=5:"),
        ("5:a", "cannot go over x=5:a"),
        ("1:2:3:4", "cannot go over"),
        ("nan:inf:1", "cannot go over"),
        ("5", "at least two values, got x=5 alone"),
        ("5:6:9", "at least two values, got x=5 alone"),
        ("a,a", "twice"),
        ([], "at least two values, got no value"),
        ([1, 1], "twice"),
        (f"0:{10 * MOST_VALUES}", "a longer step"),
        ("0:1:1e-9", "a longer step"),
        (range(10**12), "a longer step"),
        ("0:1e9999999:1", "cannot go over x=0:1e9999999:1"),
        (7, "must be a text, a range or a list"),
        ({"a": 1}, "must be a text, a range or a list"),
        ([[1], [2]], "goes over numbers, texts"),
    ],
)
def test_what_no_slider_can_go_over_is_said_in_words(given: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        slider_values({"x": given})
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_sliders_need_a_parameter() -> None:
    for nothing in ({}, None, "fast=5:50"):
        with pytest.raises(UsageError, match="at least one parameter"):
            slider_values(nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "wanted", "at"),
    [
        ((5, 10, 15), 10, 1),
        ((5, 10, 15), 13, 2),
        ((5, 10, 15), -9, 0),
        ((5, 10, 15), np.int64(15), 2),
        ((5, 10, 15), "10", 0),
        ((5, 10, 15), True, 0),
        ((0, False, True), False, 1),
        (("a", "b"), "b", 1),
        (("a", 2), 3, 0),
    ],
)
def test_where_a_slider_begins(values: tuple[Any, ...], wanted: Any, at: int) -> None:
    assert nearest(values, wanted) == at


@given(st.integers(-1000, 1000), st.integers(1, 300), st.integers(1, 40), st.integers(0, 4))
def test_steps_are_exact_decimals(first: int, steps: int, step: int, places: int) -> None:
    scale = 10**places
    text = ":".join(f"{number / scale:.{places}f}" for number in (first, first + steps * step, step))
    found = slider_values({"x": text})["x"]
    assert found == tuple(float(f"{(first + number * step) / scale:.{places}f}") for number in range(steps + 1))
