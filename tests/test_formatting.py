"""Moments and numbers become text in one place."""

from __future__ import annotations

import ast
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import bknb
from bknb.domain.formatting import (
    day_text,
    duration_text,
    exact_text,
    minute_text,
    number_text,
    percent_text,
    second_text,
    share_text,
    stamp_text,
    utc_text,
)
from bknb.metrics.account_definitions import account_text
from bknb.metrics.trade_definitions import DEFINITIONS, figure_text

PACKAGE = Path(bknb.__file__).parent
YEAR_1, YEAR_1000, YEAR_10000 = (int(np.datetime64(year, "ms").astype(int)) for year in ("0001", "1000", "10000"))
MOMENTS = st.integers(min_value=YEAR_1000, max_value=YEAR_10000 - 1)
TOO_FAR = st.integers(max_value=YEAR_1 - 1) | st.integers(min_value=YEAR_10000)


@given(MOMENTS)
def test_every_form_equals_numpys(when: int) -> None:
    exact = str(np.datetime64(when, "ms")).replace("T", " ")
    assert minute_text(when) == exact[:16]
    assert second_text(when) == exact[:19]
    assert day_text(when) == exact[:10]
    assert stamp_text(when) == exact[:16].replace("-", "").replace(":", "").replace(" ", "T")
    seconds = exact.removesuffix(".000")
    assert exact_text(when) == (seconds.removesuffix(":00") if when % 60_000 == 0 else seconds)
    assert utc_text(when) == f"{exact_text(when)} UTC"


@given(MOMENTS)
def test_an_exact_text_can_be_read_back(when: int) -> None:
    assert np.datetime64(exact_text(when).replace(" ", "T"), "ms").astype(int) == when


@given(TOO_FAR)
@example(10**18 + 500)
@example(10**18)
def test_beyond_the_calendar_a_moment_is_written_in_milliseconds(when: int) -> None:
    assert minute_text(when) == second_text(when) == exact_text(when) == utc_text(when) == f"{when} ms"


@pytest.mark.parametrize(
    "when", [np.int64(1_640_995_260_000), np.float64(1_640_995_260_000), datetime(2022, 1, 1, 0, 1, tzinfo=UTC)]
)
def test_a_moment_of_any_type(when: float) -> None:
    assert minute_text(when) == "2022-01-01 00:01"


def test_a_datetime_keeps_its_zone_and_none_is_missing() -> None:
    assert minute_text(datetime(2022, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2022-01-01 02:00"
    assert minute_text(pd.Timestamp("2022-01-01 00:01:59", tz="UTC")) == "2022-01-01 00:01"
    assert minute_text(None) == "N/A"
    assert minute_text(10**18) == utc_text(10**18) == "1000000000000000000 ms"


def test_whole_numbers_of_any_type_have_no_decimals() -> None:
    assert [number_text(value) for value in (1234, np.int64(1234), 1234.0, np.float32(0.5))] == [
        *("1,234", "1,234", "1,234.000", "0.500"),
    ]


ELSEWHERE = {
    "domain/formatting.py": "the one place",
    "stores/lock.py": "a room that knows errors and ports alone",
    "history/partition.py": "names of files: a month or a year",
    "market/candles.py": "numpy's own form, which numpy reads back",
}


def test_nothing_else_writes_moments() -> None:
    found: dict[str, list[int]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        source = path.read_text(encoding="utf-8")
        if not any(word in source for word in ("strftime", "datetime_as_string", "datetime64", "%Y")):
            continue
        for node in ast.walk(ast.parse(source)):
            writes = isinstance(node, ast.Attribute) and node.attr in ("strftime", "datetime_as_string")
            form = node.format_spec if isinstance(node, ast.FormattedValue) else None
            sliced = isinstance(node, ast.Subscript) and ast.unparse(node.value).startswith("str(np.datetime64(")
            if writes or sliced or (form is not None and "%Y" in ast.unparse(form)):
                found.setdefault(name, []).append(node.lineno)
    assert set(found) <= set(ELSEWHERE), found


NEVER_MINUS_ZERO = st.floats(min_value=-1.0, max_value=1.0)


@given(NEVER_MINUS_ZERO)
@example(-0.0)
@example(-1e-9)
@example(-0.0005)
def test_no_number_is_minus_zero(value: float) -> None:
    percent, share, number = percent_text(value), share_text(value), number_text(value)
    for text in (percent, share, number, duration_text(value)):
        assert not re.match(r"-[0.]*(?![0-9.])", text), text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None])
def test_what_is_no_finite_number_is_missing(value: float | None) -> None:
    assert [write(value) for write in (number_text, share_text, percent_text, duration_text)] == ["N/A"] * 4


def test_thousands_are_separated_everywhere() -> None:
    assert percent_text(12_345.678) == "+12,345.68 %"
    assert share_text(12.5) == "1,250.0 %"
    assert number_text(12_345.678) == "12,345.678"
    assert duration_text(14_400_000) == "10,000.0 days"


def test_small_and_missing_figures_of_statistics() -> None:
    assert account_text("sharpe", -1e-9) == "0.000"
    assert account_text("sharpe", float("nan")).startswith("N/A")
    assert figure_text(DEFINITIONS["sharpe_ratio"], -1e-9) == "0.000"
    assert figure_text(DEFINITIONS["sharpe_ratio"], float("nan")) == "N/A"
    assert figure_text(DEFINITIONS["sharpe_ratio"], float("inf")) == "N/A"
