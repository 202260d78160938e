"""A hold-out remembers who looked at it, and with what."""

from __future__ import annotations

import pytest
from following import follow

import bknb
from bknb.research.holdout_ledger import HoldoutLedger, HoldoutLook


def look(path, strategy=follow, **options):
    call = {"exchange": "demo", "frame": ("2024-02-01", "2024-02-05"), "interval": "1h", "path": path} | options
    return bknb.open_holdout(strategy, "BTCUSDT", **call)


def test_the_first_look_is_the_first_and_the_second_says_so(tmp_path):
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


def test_the_look_is_remembered_before_the_strategy_is_asked(tmp_path):
    path = tmp_path / "openings.jsonl"
    seen = []

    def get_signal(ctx):
        seen.append(path.read_bytes())

    look(path, strategy=get_signal)
    assert b'"strategy":"get_signal"' in seen[0]


def test_a_look_whose_hash_was_edited_by_hand_counts_as_another_strategy(tmp_path):
    path = tmp_path / "openings.jsonl"
    look(path)
    path.write_bytes(path.read_bytes().replace(b'"strategy_hash":"2:', b'"strategy_hash":"x:'))
    again = look(path)
    assert not again.first
    assert again.strategies == 2
    assert "NOT A HOLD-OUT ANY MORE: opened 1 time before" in again.verdict


def opening(**changes):
    values = {"opened_at": 1, "data": "d", "strategy_hash": "s", "strategy": "n", "symbol": "B", "exchange": "e"}
    return HoldoutLook(**values | {"start": 0, "end": 1} | changes)


def test_a_torn_last_line_is_no_look_and_is_not_built_upon(tmp_path):
    book = HoldoutLedger(tmp_path / "openings.jsonl")
    book.add(opening())
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + whole[: len(whole) // 2])
    assert book.all() == [opening()]
    book.add(opening(opened_at=2))
    with pytest.raises(bknb.StateError, match=r"line 2 of .* cannot be read"):
        book.all()  # now that something follows, nobody can tell what it was


def test_a_look_that_cannot_be_remembered_is_not_shown(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(bknb.StateError, match="shown only when its opening is remembered"):
        look(tmp_path / "file" / "openings.jsonl")
