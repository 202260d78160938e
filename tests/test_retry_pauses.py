"""The retry policy of exchanges, of a run's candles and of language models: one decision, with no clock or chance."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bknb.exchanges
from bknb.domain.retry_pauses import GiveUp, Patience

POLICIES = st.builds(
    Patience,
    attempts=st.integers(1, 50),
    first_pause_ms=st.integers(0, 10_000),
    longest_pause_ms=st.integers(0, 60_000),
    jitter=st.floats(0.0, 1.0),
    longest_retry_after_ms=st.integers(0, 600_000),
)
CHANCE = st.floats(0.0, 1.0, exclude_max=True)


def test_it_is_the_one_that_exchanges_offers():
    assert bknb.exchanges.Patience is Patience


@pytest.mark.parametrize(
    ("attempt", "chance", "retry_after_ms", "expected"),
    [
        (1, 0.0, None, 500),
        (2, 0.0, None, 1000),
        (3, 0.5, None, 1750),
        (5, 0.0, None, 5000),
        (6, 0.0, None, GiveUp.ATTEMPTS),
        (7, 0.0, None, GiveUp.ATTEMPTS),
        (1, 0.0, 2000, 2000),
        (1, 0.8, 2000, 2100),
        (5, 0.0, 2000, 5000),
        (6, 0.0, 2000, GiveUp.ATTEMPTS),
        (1, 0.0, 300_000, 300_000),
        (1, 0.0, 300_001, GiveUp.RETRY_AFTER),
        (6, 0.0, 300_001, GiveUp.RETRY_AFTER),
    ],
)
def test_after_an_attempt(attempt, chance, retry_after_ms, expected):
    patience = Patience(attempts=6, first_pause_ms=500, longest_pause_ms=5000, jitter=0.25)
    assert patience.after(attempt, chance=chance, retry_after_ms=retry_after_ms) == expected


@given(policy=POLICIES, attempt=st.integers(1, 60), chance=CHANCE)
def test_pauses_stay_between_what_jitter_leaves_and_the_longest(policy, attempt, chance):
    pause = policy.after(attempt, chance=chance)
    assert (pause is GiveUp.ATTEMPTS) == (attempt >= policy.attempts)
    if not isinstance(pause, GiveUp):
        longest = policy.after(attempt)
        assert round(longest * (1 - policy.jitter)) <= pause <= longest <= policy.longest_pause_ms


@given(policy=POLICIES, attempt=st.integers(1, 60), chance=CHANCE, wanted=st.integers(0, 700_000))
def test_retry_after_is_never_undercut(policy, attempt, chance, wanted):
    pause = policy.after(attempt, chance=chance, retry_after_ms=wanted)
    assert (pause is GiveUp.RETRY_AFTER) == (wanted > policy.longest_retry_after_ms)
    if not isinstance(pause, GiveUp):
        assert pause >= wanted


def test_a_hundred_thousand_attempts_are_no_burden():
    patience = Patience(attempts=200_000, first_pause_ms=1, longest_pause_ms=30_000)
    assert patience.after(100_000) == 30_000
    assert patience.pause_ms(100_000, chance=Random(1)) <= 30_000  # noqa: S311 -- pauses, not secrets
