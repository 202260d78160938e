"""The look-ahead check fits the models of a strategy again: one that leaks, or that differs from itself, is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_models import table_of_walk

import bknb

WALK = table_of_walk(days=45)
DRAWN = np.random.default_rng()


def checked(fit: Any) -> Any:
    bknb.model("m", every="mon")(fit)

    def get_signal(ctx: Any) -> Any:
        if ctx.candles("4h", 1).close[0] < ctx.model("m"):
            return bknb.Signal(position="long", target_percent=2.0, stop_percent=2.0, bars=5)
        return None

    exchange = bknb.exchanges.from_frame(table_of_walk(), name="walk")
    frame = ("2024-01-28", "2024-02-10")
    return bknb.check_lookahead(get_signal, exchange=exchange, frame=frame, interval="4h", moments=4)


def honest(ctx: Any) -> float:
    return float(ctx.candles("4h", 20).close.mean())


def leaking(ctx: Any) -> float:
    """Knows the mean of the week that begins, from a table."""
    return float(WALK.loc[ctx.when : ctx.when.replace(hour=23)].close.mean())


class Above:
    """What is compared with a price by a function that a fit has made."""

    def __init__(self, of: Any) -> None:
        self.of = of

    def __gt__(self, price: float) -> bool:
        return bool(self.of() > price)


def honest_function(ctx: Any) -> Any:
    mean = honest(ctx)
    return Above(lambda: mean)


def leaking_function(ctx: Any) -> Any:
    mean = leaking(ctx)
    return Above(lambda: mean)


def unseeded(ctx: Any) -> float:
    return float(ctx.candles("4h", 20).close.mean() * DRAWN.uniform(0.99, 1.01))


@pytest.mark.slow
def test_an_honest_fit_passes() -> None:
    report = checked(honest)
    assert report.ok, report
    assert "the model m, fitted at 3 of 3 moments" in report.looked_at


@pytest.mark.slow
def test_a_fit_that_knows_the_future_is_named() -> None:
    found = [finding for finding in checked(leaking).findings if finding.kind in ("future", "outside")]
    assert any(finding.what.startswith("the model m: ") and "WALK" in finding.what for finding in found), found


@pytest.mark.slow
def test_a_function_that_a_fit_has_made_is_compared_by_what_it_holds() -> None:
    report = checked(honest_function)
    assert report.ok, report
    assert not any("cannot be pickled" in text for text in report.unseen), report.unseen
    found = checked(leaking_function).findings
    assert any(finding.what.startswith("the model m: ") and "WALK" in finding.what for finding in found), found


@pytest.mark.slow
def test_a_fit_that_differs_from_itself_is_named() -> None:
    found = checked(unseeded).findings
    assert any(one.kind in ("memory", "chance") and one.what.startswith("the model m: ") for one in found), found
