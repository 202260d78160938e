"""The look-ahead check makes columns again that were handed to a function, wherever the statement for them stands."""

from __future__ import annotations

import gc
import shelve
import types
import weakref

import lookahead_columns as columns
import numpy as np
import pytest
from lookahead_cases import CLOSE
from quick import rest_long

import bknb
from bknb.research.handed_over import origins

FRAME = ("2024-01-02", "2024-01-07")


def check(function, moments=8):
    return bknb.check_lookahead(function, exchange="demo", frame=FRAME, interval="1h", moments=moments)


def is_shown(report):
    """Whether what is found first is told with the moment, the column and both answers."""
    finding = report.findings[0]
    named = finding.what.startswith(("the variable column,", "the variable numbers,"))
    return finding.kind == "future" and named and finding.when is not None and " became " in finding.signal


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_long(columns.LEAKS, kept=1))
def test_a_column_that_knows_later_rows_is_shown_where_it_is_handed_over(name):
    report = check(columns.by(columns.LEAKS[name]), moments=40 if name == "quantile" else 8)
    assert report.findings, report
    assert is_shown(report), report


@pytest.mark.slow
@pytest.mark.parametrize("name", rest_long(columns.CLEAN, kept=1))
def test_a_column_of_earlier_rows_passes(name):
    report = check(columns.by(columns.CLEAN[name]))
    assert report.ok, report
    assert not any("came about" in text for text in report.cannot_see), report


def standardised(prices):
    return (prices - prices.mean()) / prices.std()


def from_a_variable():
    scores = (CLOSE - CLOSE.mean()) / CLOSE.std()
    return check(columns.by(scores))


def from_another_function():
    return bknb.check_lookahead(
        columns.by(standardised(CLOSE)), exchange="demo", frame=FRAME, interval="1h", moments=8
    )  # fmt: skip


def from_a_dictionary():
    for name, column in columns.LEAKS.items():
        if name == "detrended":
            return bknb.check_lookahead(columns.by(column), exchange="demo", frame=FRAME, interval="1h", moments=8)
    raise AssertionError


def from_an_array():
    return check(columns.by_place(columns.NUMBERS.copy()))


def from_a_list():
    return check(columns.by_place(list(columns.LISTED)))


def from_a_loop():
    for length in (500, 24):
        scores = CLOSE - CLOSE.rolling(length, min_periods=1, center=True).mean()
    return check(columns.by(scores))


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    rest_long(
        [from_a_variable, from_another_function, from_a_dictionary, from_an_array, from_a_list, from_a_loop], kept=3
    ),
)
def test_the_statement_may_stand_in_the_function_that_asks(way):
    report = way()
    assert report.findings, report
    assert is_shown(report), report


def test_a_check_that_is_over_keeps_nothing_of_the_functions_that_asked():
    def asking():
        table = CLOSE.to_frame()
        check(lambda ctx: None, moments=2)
        return weakref.ref(table)

    kept = asking()
    gc.collect()
    assert kept() is None


def test_an_object_that_raises_whoever_looks_at_it_ends_no_check(tmp_path):
    with shelve.open(str(tmp_path / "shelf")) as closed:  # noqa: S301 -- it is empty
        closed["one"] = 1
    numbers = np.arange(30.0)

    def strategy(ctx):
        return numbers

    space = {"closed": closed, "numbers": numbers.copy()}
    assert origins(types.FunctionType(strategy.__code__, space, "strategy", None, strategy.__closure__)) == []
