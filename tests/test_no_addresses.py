"""What a run records of objects of a user has no addresses in memory: two runs record the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from quick import first_quick
from scenarios import MINUTE, ORIGIN, source

import bknb

NOTHING = object()
WRONG = (NOTHING, "a text".upper, [lambda: None], {"at": NOTHING})
MINUTES = [(ORIGIN + k * MINUTE, 100.0, 101.0, 99.0, 100.0, 1.0) for k in range(-60, 60)]
RUN: dict[str, Any] = {"symbol": "X", "exchange": source(MINUTES), "frame": (ORIGIN, ORIGIN + 50 * MINUTE)}


def with_each_field(kind: type[msgspec.Struct], value: object, **others: Any) -> list[Any]:
    """Answers of a kind with one field after the other wrong."""
    return [kind(**others | {field: value}) for field in kind.__struct_fields__]


def told(*given: Any) -> str:
    """All that is recorded."""
    return msgspec.json.encode(given, enc_hook=repr).decode()


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
def test_wrong_signals_are_told_without_addresses(value: object) -> None:
    assert " at 0x" in repr(value)
    answers = [value, {"position": value}, *with_each_field(bknb.Signal, value, position="long")]
    wanted = iter(answers)
    records = bknb.backtest(strategy=lambda: next(wanted, None), interval="1m", **RUN).run_record.records
    assert len(records.rejected) == len(answers)
    assert "0x" not in told(records.rejected)


@pytest.mark.parametrize("value", first_quick(WRONG), ids=lambda value: type(value).__name__)
def test_wrong_answers_of_manage_are_told_without_addresses(value: object) -> None:
    sized = [with_each_field(kind, value, share=0.5) for kind in (bknb.Reduce, bknb.Add)]
    answers = [value, *sized[0], *sized[1], *with_each_field(bknb.Move, value), *with_each_field(bknb.Cancel, value)]
    answers.append([*with_each_field(bknb.Close, value), *with_each_field(bknb.Signal, value, position="short")])
    wanted = iter(answers)
    strategy = bknb.add_strategy(
        "holds", interval="1m", get_signal=lambda: bknb.Signal(side="long"), manage=lambda: next(wanted, None)
    )
    records = bknb.backtest(strategy=strategy, **RUN).run_record.records
    assert len(records.rejected) == len(answers)
    assert "0x" not in told(records.rejected)


def test_errors_and_rules_that_raise_are_told_without_addresses() -> None:
    def manage() -> Any:
        raise KeyError(NOTHING)

    def picky(request: bknb.RiskRequest) -> bool:
        raise ValueError(NOTHING)

    def get_signal(when: Any) -> Any:
        if when.minute % 2:
            raise RuntimeError(NOTHING)
        return bknb.Signal(side="long")

    bknb.add_risk("picky", validations=[picky])
    held = bknb.add_strategy("held", interval="1m", get_signal=get_signal, manage=manage)
    refused = bknb.add_strategy("refused", interval="1m", get_signal=get_signal, risk="picky")
    for strategy in (held, refused):
        records = bknb.backtest(strategy=strategy, **RUN).run_record.records
        assert records.failures
        assert records.refused or strategy == held
        assert "0x" not in told(records.failures, records.refused)
