"""What a live portfolio keeps of what its legs told."""

from __future__ import annotations

import pytest
from scenarios import ORIGIN
from test_live_portfolio import legs_of, live

import bknb
from bknb.runs.told_events import ToldEvents
from bknb.testing.clocks import SimulatedClock


@pytest.mark.slow
def test_of_refusals_the_newest_are_kept_and_of_trades_all() -> None:
    every = live(legs_of(2, count=4, model="pessimistic"), SimulatedClock(ORIGIN)).told
    refused = [event for event in every if isinstance(event, bknb.RiskRefused)]
    kept = ToldEvents(most=5)
    for event in every:
        kept.add(event)
    found = kept.all()
    assert [event for event in every if event in found] == found
    trades = (bknb.Scheduled, bknb.Opened, bknb.Closed, bknb.Cancelled)
    assert [each for each in found if isinstance(each, trades)] == [each for each in every if isinstance(each, trades)]
    newest = [event for event in found if isinstance(event, bknb.RiskRefused)]
    assert 5 <= len(newest) <= 10 < len(refused)
    assert newest == refused[-len(newest) :]
    [text] = [text for text in kept.left_out if "RiskRefused" in text]
    assert text.startswith(
        f"of events RiskRefused the newest {len(newest)} are kept: {len(refused) - len(newest)} before"
    )
    assert not [text for text in kept.left_out if "Opened" in text]
    assert ToldEvents().left_out == []
