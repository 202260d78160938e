"""How often entries are right, against simple rules on past prices: too often is a suspicion."""

from __future__ import annotations

import lookahead_cases as cases
import numpy as np
import pandas as pd
import pytest
from test_check_lookahead import START, trade

import bknb
from bknb.research.entry_accuracy import measure


def entries(rule):
    """Entries of a rule from (returns so far, return ahead) of each hour to a side."""
    opens = cases.TABLE.open.to_numpy()
    ahead = np.append(np.diff(np.log(opens)), 0.0)
    return [(moment, rule(ahead[:at], ahead[at])) for at, moment in enumerate(cases.MOMENTS) if at > 100]


def accuracy(found):
    return measure(found, cases.MINUTES, slot=cases.H, lifetimes=[60], seed=0)


def test_entries_that_know_the_next_hour_are_too_good():
    found = accuracy(entries(lambda past, ahead: 1 if ahead > 0 else -1)[:60])
    assert found.too_good
    assert found.right > 0.95


@pytest.mark.parametrize("rule", ["momentum", "reversal", "long", "chance"])
def test_entries_of_causal_rules_are_not(rule):
    rng = np.random.default_rng(5)
    sides = {
        "momentum": lambda past, ahead: 1 if past[-1] > 0 else -1,
        "reversal": lambda past, ahead: -1 if past[-1] > 0 else 1,
        "long": lambda past, ahead: 1,
        "chance": lambda past, ahead: int(rng.choice([1, -1])),
    }
    found = accuracy(entries(sides[rule]))
    assert not found.too_good
    assert found.p_value > 0.01


def test_luck_with_few_entries_is_no_finding():
    known = entries(lambda past, ahead: 1 if ahead > 0 else -1)[:24]
    found = accuracy([(when, side if number % 4 else -side) for number, (when, side) in enumerate(known)])
    assert found.right == 0.75
    assert found.reached >= 0.75
    assert not found.too_good


def test_too_few_entries_cannot_be_told():
    found = accuracy(entries(lambda past, ahead: 1 if ahead > 0 else -1)[:10])
    assert not found.enough
    assert not found.too_good


def test_a_predictable_market_is_a_suspicion_and_no_finding_of_a_leak():
    """The hour of the day tells what comes; no rule on past prices knows it."""
    rng = np.random.default_rng(1)
    count = 45 * 1440
    hour = np.arange(count) // 60 % 24
    drift = np.where(hour == 14, 0.00012, 0.0) - np.where(hour == 20, 0.00012, 0.0)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.0004, count) + drift))
    opens = np.append(100.0, closes[:-1])
    minutes = pd.DataFrame(
        {
            "timestamp": START - 8 * 86_400_000 + np.arange(count) * 60_000,
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
            "volume": 1.0,
        }
    )

    def by_the_hour(ctx):
        hours = {14: True, 20: False}
        return trade(ctx.price, hours[ctx.when.hour]) if ctx.when.hour in hours else None

    report = bknb.check_lookahead(
        by_the_hour,
        exchange=bknb.exchanges.from_frame(minutes),
        frame=("2024-01-01", "2024-02-05"),
        interval="1h",
        moments=8,
    )
    assert [finding.kind for finding in report.findings] == ["accuracy"]
    assert report.suspected
    assert not report.ok
    assert report.verdict.startswith("look-ahead is suspected: ")
    for text in ("entries were right", "the best of 16 rules on past prices reached", "the clock, another symbol"):
        assert text in report.verdict
    assert "could be" not in report.report()
    assert "  SUSPECTED  look-ahead is suspected" in repr(report)
    assert "NOT OK" not in repr(report)
    assert "suspected: look-ahead is suspected" in report.report()
