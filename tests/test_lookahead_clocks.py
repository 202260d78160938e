"""Clocks that a strategy reads: a remark where no answer depends on them, a finding where one does."""

from __future__ import annotations

import datetime as dt
import time

import numpy as np
import pandas as pd
import pytest
from quick import some_quick
from test_check_lookahead import a_clock, another_clock, check, trade

LOG = []
tick = time.time


def log_of_durations(ctx):
    begin = time.perf_counter()
    closes = ctx.candles("1h", 2).close
    LOG.append((time.perf_counter() - begin, dt.datetime.now(dt.UTC), dt.date.today(), tick()))
    assert isinstance(LOG[-1][1], dt.datetime)
    return trade(ctx.price, closes[-1] > closes[0])


def patient(ctx, last=[0.0]):  # noqa: B006
    """A moment between two questions, for a source that asks for it."""
    wait = last[0] + 0.01 - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    last[0] = time.monotonic()
    closes = ctx.candles("1h", 2).close
    return trade(ctx.price, closes[-1] > closes[0])


def log_of_pandas(ctx):
    LOG.append(pd.Timestamp.now())
    assert isinstance(pd.Timestamp("2024-01-01"), pd.Timestamp)
    closes = ctx.candles("1h", 2).close
    return trade(ctx.price, closes[-1] > closes[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "clocks"),
    [
        (patient, ["time.monotonic"]),
        (log_of_durations, ["time.perf_counter", "datetime.now", "date.today", "time.time"]),
        (log_of_pandas, ["Timestamp.now"]),
    ],
)
def test_a_clock_that_no_answer_depends_on_is_a_remark(function, clocks):
    modules = dt, time, pd, tick
    report = check(function, moments=4)
    assert report.ok, report
    for clock in clocks:
        assert any(clock in text and "did not change" in text for text in report.remarks), report.remarks
        assert clock in repr(report)
    assert "Remarks" in report.report()
    assert (dt, time, pd, tick) == modules


def only_when_it_is_quick(ctx, clock=time.monotonic):
    begin = clock()
    closes = ctx.candles("1h", 2).close
    return trade(ctx.price, closes[-1] > closes[0]) if clock() - begin < 600 else None


def the_clock_of_numpy(ctx):
    closes = ctx.candles("1h", 2).close
    return trade(ctx.price, closes[-1] > closes[0]) if np.datetime64("now") > np.datetime64("2000-01-01") else None


def a_clock_imported_inside(ctx):
    from time import time as now

    closes = ctx.candles("1h", 2).close
    return trade(ctx.price, closes[-1] > closes[0]) if now() > 0 else None


@pytest.mark.parametrize(
    ("function", "how"),
    some_quick(
        [
            (only_when_it_is_quick, "the clock was shifted"),
            (a_clock, "the clock was shifted"),
            (another_clock, "the clock was shifted"),
            (the_clock_of_numpy, "cannot be shifted"),
            (a_clock_imported_inside, "cannot be shifted"),
        ],
        [(a_clock, "the clock was shifted"), (the_clock_of_numpy, "cannot be shifted")],
    ),
)
def test_a_clock_that_an_answer_depends_on_is_found(function, how):
    report = check(function, moments=4)
    assert [finding.kind for finding in report.findings] == ["clock"], report
    assert how in report.findings[0].how
