"""What `manage` decides is part of a strategy: its hash, run cards, and the ledger of tries say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bknb
from bknb.engine.registration_checks import make_strategy
from bknb.provenance.strategy_hash import fingerprint, unnamed_fingerprint
from bknb.runs.tries import keep_in

RUN: dict[str, Any] = {"exchange": "demo", "frame": "2024-01-01:2024-01-03"}
AFTER = 30


def get_signal(price: float) -> Any:
    return bknb.Signal(side="long", price_stop_loss=price * 0.98, price_take_profit=price * 1.02)


def closing(position: Any) -> Any:
    return bknb.Close() if position.minutes >= AFTER else None


def halving(position: Any) -> Any:
    return bknb.Reduce(0.5) if position.size == 1 else None


def managed(manage: Any, every: str | None = "1m") -> Any:
    return make_strategy("one", get_signal, interval="1h", manage=manage, manage_interval=every if manage else None)


def test_the_hash_of_a_strategy_sees_manage_and_how_often_it_is_asked() -> None:
    made = [managed(None), managed(closing), managed(halving), managed(closing, "5m"), managed(closing, None)]
    assert len({fingerprint(one) for one in made}) == len({unnamed_fingerprint(one) for one in made}) == len(made)
    assert fingerprint(managed(closing, None)) == fingerprint(managed(closing, "1h"))  # as often as the strategy


@pytest.mark.slow
def test_each_way_to_manage_counts_as_a_try(tmp_path: Path) -> None:
    keep_in(tmp_path / "tries.jsonl")
    strategies = (managed(None), managed(closing), managed(closing), managed(closing, "5m"), managed(halving))
    counts = [bknb.backtest("BTCUSDT", strategy=one, **RUN).tries for one in strategies]
    assert [tries.count for tries in counts if tries is not None] == [1, 2, 2, 3, 4]


@pytest.mark.slow
def test_a_card_holds_manage_and_names_what_changed_of_it(monkeypatch: Any) -> None:
    bknb.add_strategy("one", interval="1h", get_signal=get_signal, manage=closing, manage_interval="1m")
    card = bknb.backtest("BTCUSDT", strategy="one", **RUN).card
    assert any("def closing" in written.text for written in card.code.functions)
    assert card.verify().same
    bknb.add_strategy("one", interval="1h", get_signal=get_signal, manage=closing, manage_interval="5m")
    assert ("value", "interval of manage: 1m -> 5m") in [(one.kind, one.text) for one in card.verify().differences]
    bknb.add_strategy("one", interval="1h", get_signal=get_signal, manage=halving, manage_interval="1m")
    assert any(one.kind == "code" and "halving" in one.text for one in card.verify().differences)
    bknb.add_strategy("one", interval="1h", get_signal=get_signal, manage=closing, manage_interval="1m")
    monkeypatch.setitem(globals(), "AFTER", 60)
    found = card.verify()
    assert any(one.kind == "value" and "AFTER" in one.text for one in found.differences)
    assert not found.same_outcome


@pytest.mark.parametrize(
    "manage",
    [
        lambda position: bknb.Close() if position.minutes == 30 else None,
        lambda position: bknb.Move(minute_estimated_time=50) if position.minutes == 30 else None,
        lambda position: bknb.Reduce(0.5) if position.minutes == 30 else None,
    ],
)
def test_luck_is_refused_where_manage_decided_an_exit(manage: Any) -> None:
    def plain(price: float) -> Any:
        return bknb.Signal(
            side="long", price_stop_loss=price * 0.9, price_take_profit=price * 1.1, minute_estimated_time=60
        )

    made = make_strategy("one", plain, interval="4h", manage=manage, manage_interval="1m")
    with pytest.raises(bknb.UsageError, match="decided while they were open: by manage, by exit columns"):
        bknb.luck(bknb.backtest("BTCUSDT", strategy=made, **RUN))
