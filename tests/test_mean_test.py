"""The test behind every chance of luck: false alarms on noise, power on an edge, and when it stays silent."""

from __future__ import annotations

import numpy as np
import pytest
from quick import first_quick

from bknb.research.deflated_sharpe import deflated_sharpe_ratio
from bknb.research.mean_test import mean_above_zero, t_above

SAMPLES = 1200


def normal(rng, count):
    return rng.normal(size=count)


def heavy(rng, count):
    return rng.standard_t(3, size=count)


def small_wins(rng, count):
    """Nine of ten win 1, one loses 9."""
    return np.where(rng.random(count) < 0.9, 1.0, -9.0) + rng.normal(0, 0.2, count)


def skewed(rng, count):
    """Rare large losses: a lognormal turned round."""
    return np.exp(0.5) - np.exp(rng.normal(size=count))


def dependent(rng, count):
    """Each passes half of itself on to the next, with heavy tails."""
    steps = rng.standard_t(4, size=count + 50)
    for at in range(1, len(steps)):
        steps[at] += 0.5 * steps[at - 1]
    return steps[50:]


NOISE = (normal, heavy, small_wins, skewed, dependent)


@pytest.mark.parametrize("count", first_quick([20, 50, 150]))
@pytest.mark.parametrize("draw", NOISE)
def test_noise_passes_for_an_edge_no_more_often_than_promised(draw, count):
    rng = np.random.default_rng(count)
    found = [mean_above_zero(draw(rng, count)).p_value for _ in range(SAMPLES)]
    alarms = np.array([1.0 if each is None else each for each in found])
    assert (alarms < 0.05).mean() < 0.075
    assert (alarms < 0.01).mean() < 0.022


def test_an_edge_is_found():
    rng = np.random.default_rng(3)
    found = [mean_above_zero(rng.normal(0.4, 1.0, size=100)).p_value < 0.05 for _ in range(300)]
    assert np.mean(found) > 0.95


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.tile([1.0, -0.5], 14), "28 results, 14 of them losses (needed: 30, with 10 losses and 5 gains)"),
        (np.array([1.0] * 91 + [-2.0] * 9), "100 results, 9 of them losses"),
        (np.array([5.0] * 4 + [-1.0] * 60), "64 results, 60 of them losses"),
    ],
)
def test_what_is_too_few_is_said_and_has_no_chance(values, said):
    found = deflated_sharpe_ratio(values, trials=3)
    assert found.p_value is None
    assert "too few to tell" in found.too_few
    assert said in found.too_few
    assert found.sharpe_ratio is not None  # the ratio itself is a fact of the sample


def test_the_unit_and_the_order_of_magnitude_do_not_matter():
    values = np.random.default_rng(4).normal(0.1, 1.0, size=80)
    assert mean_above_zero(values * 1e4).p_value == pytest.approx(mean_above_zero(values).p_value, rel=1e-9)


@pytest.mark.parametrize(
    ("value", "freedom", "above"),
    [(1.812461, 10, 0.05), (2.763769, 10, 0.01), (1.644854, 1e7, 0.05), (6.313752, 1, 0.05), (-1.812461, 10, 0.95)],
)
def test_students_t_is_that_of_the_tables(value, freedom, above):
    assert t_above(value, freedom) == pytest.approx(above, rel=1e-5)
