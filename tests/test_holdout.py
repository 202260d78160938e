"""A hold-out records every look at it and the strategy that was used."""

from __future__ import annotations

import pytest
from following import follow
from quick import first_quick

import bknb
from bknb.research.holdout_ledger import HoldoutLedger, HoldoutLook


def look(path, strategy=follow, **options):
    call = {"exchange": "demo", "frame": ("2024-02-01", "2024-02-05"), "interval": "1h", "path": path} | options
    return bknb.open_holdout(strategy, "BTCUSDT", **call)


def test_a_second_look_is_reported_as_second(tmp_path):
    path = tmp_path / "kept" / "openings.jsonl"
    first = look(path)
    assert first.first
    assert "first time" in first.verdict
    alone = bknb.backtest(
        "BTCUSDT", strategy=follow, exchange="demo", frame=("2024-02-01", "2024-02-05"), interval="1h"
    )
    assert first.result.events == alone.events
    second = look(path)
    assert not second.first
    assert second.opened_at == first.opened_at == second.earlier[0].opened_at
    assert second.result.events == alone.events  # it still shows
    assert second.verdict.startswith("NOT A HOLD-OUT ANY MORE: opened 1 time before")
    assert second.strategies == 1
    assert "NOT A HOLD-OUT" in repr(second)
    assert "NOT A HOLD-OUT" in second.report()
    assert "NOT A HOLD-OUT" in second._repr_html_()


def test_another_strategy_looks_at_the_same_data(tmp_path):
    path = tmp_path / "openings.jsonl"
    first = look(path)
    other = look(path, strategy=lambda ctx: follow(ctx, 12))
    assert not other.first
    assert other.strategies == 2
    assert other.opened_at > first.opened_at - 1
    assert look(path, settings={"percent_fee": 0.05}).strategies == 3  # the same code under other costs


def test_a_part_of_it_is_not_new(tmp_path):
    path = tmp_path / "openings.jsonl"
    look(path)
    assert not look(path, frame=("2024-02-04", "2024-02-08")).first
    assert look(path, frame=("2024-03-01", "2024-03-03")).first


def test_the_look_is_recorded_before_the_strategy_is_asked(tmp_path):
    path = tmp_path / "openings.jsonl"
    seen = []

    def get_signal(ctx):
        seen.append(path.read_bytes())

    look(path, strategy=get_signal)
    assert b'"strategy":"get_signal"' in seen[0]


def test_a_look_whose_hash_was_edited_by_hand_counts_as_another_strategy(tmp_path):
    path = tmp_path / "openings.jsonl"
    look(path)
    path.write_bytes(path.read_bytes().replace(b'"strategy_hash":"3:', b'"strategy_hash":"x:'))
    again = look(path)
    assert not again.first
    assert again.strategies == 2
    assert "NOT A HOLD-OUT ANY MORE: opened 1 time before" in again.verdict


def opening(**changes):
    values = {"opened_at": 1, "data": "d", "strategy_hash": "s", "strategy": "n", "symbol": "B", "exchange": "e"}
    return HoldoutLook(**values | {"start": 0, "end": 1} | changes)


@pytest.mark.parametrize("kept", first_quick([1, 20, 0.5, -2], kept=2))
def test_a_look_whose_record_was_cut_off_counts_and_does_not_block_the_ledger(tmp_path, kept):
    path = tmp_path / "openings.jsonl"
    ledger = HoldoutLedger(path)
    ledger.add(opening(opened_at=1_700_000_000_000))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: int(len(whole) * kept) if kept == 0.5 else kept])
    assert [each.cut_off for each in ledger.all()] == [False, True]
    first = look(path)
    assert [each.cut_off for each in ledger.all()] == [False, True, False]  # its line is closed, and still counts
    assert not first.first
    assert first.strategies == 2
    assert "1 of them a look whose record was cut off: it counts as another strategy" in first.verdict
    assert look(path).strategies == 2
    assert "a look whose record was cut off\n" in first.report()
    path.write_bytes(path.read_bytes() + whole[:30])
    assert look(path).strategies == 3  # nobody can say that the two are one


@pytest.mark.parametrize("line", [b'{"opened_at":x}', b'{"opened_at":1}', b"[1", b"x", b'{"a":1}}'])
def test_any_other_line_that_cannot_be_read_is_named(tmp_path, line):
    ledger = HoldoutLedger(tmp_path / "openings.jsonl")
    ledger.add(opening())
    ledger.path.write_bytes(ledger.path.read_bytes() + line + b"\n")
    with pytest.raises(bknb.StateError, match=r"line 2 of .*openings\.jsonl cannot be read"):
        ledger.all()


def test_a_look_that_cannot_be_recorded_is_not_shown(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(bknb.StateError, match="shown only when its opening is remembered"):
        look(tmp_path / "file" / "openings.jsonl")
