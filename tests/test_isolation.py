"""No test leaves names or settings behind for another one."""

from __future__ import annotations

import pytest

import bknb


@pytest.mark.parametrize("turn", ["one", "another"])
def test_a_test_finds_nothing_of_another(turn: str) -> None:
    assert "left-over" not in bknb.list_frames()
    assert "left-over" not in bknb.list_strategies()
    assert bknb.get_config().percent_fee != 0.07
    bknb.add_frame("left-over", start="2024-01-01", end="2024-02-01")
    bknb.add_strategy("left-over", interval="1h", get_signal=lambda: None)
    bknb.set_config(percent_fee=0.07)
