"""Days at a local exchange with everything at random, and kills: the account is what the record says at the end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_days import days
from fault_world import SPOT
from packages import need_packages

from bknb.testing.exchange import LocalExchange

need_packages("ccxt")


@pytest.mark.slow
def test_hours_of_three_symbols_with_everything_at_random(tmp_path, monkeypatch):
    with LocalExchange(journal=tmp_path / "journal") as exchange:
        for variable, name in SPOT.keys:
            monkeypatch.setenv(variable, exchange.ccxt_config(SPOT.client)[name])
        wrong, figures = days(exchange, seed=12, symbols=3, bars=60, lives=3, often=0.6)
    assert wrong == []
    assert len(figures["faults"]) >= 8
    assert figures["orders"] > 30
    assert figures["by hand"] > 0


def _told(script, *given):
    """What a script prints, in a process of its own."""
    command = [sys.executable, Path(__file__).with_name(script), *map(str, given)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=3 * 3600)
    return json.loads(done.stdout)


@pytest.mark.long
def test_two_weeks_of_twenty_symbols_with_everything_at_random(tmp_path):
    told = _told("fault_days.py", tmp_path)
    assert told["wrong"] == []
    assert told["orders"] > 10_000


@pytest.mark.long
def test_killed_at_its_requests_a_life_in_which_something_goes_wrong_goes_on(tmp_path):
    told = _told("fault_kills.py", tmp_path, "--step", 4)
    assert told["wrong"] == []
    assert told["killed"] > 200
