"""Hand-kept ledgers of runs: ``bknb.backtest`` and ``bknb.portfolio`` move cash as it was written out, to the cent."""

from __future__ import annotations

from typing import Any

import pytest
from run_ledgers import END, WORLDS, World, level
from scenarios import MINUTE, ORIGIN, source
from test_portfolio import strategy_of

import bknb

CHECKED = "ledger"


def begins(world: World) -> int:
    """Its minute 0, UTC ms."""
    return ORIGIN + world.past * MINUTE


def market(world: World, symbol: str) -> Any:
    shown, begin = world.candles.get(symbol, {}), begins(world)
    rows = [(begin + k * MINUTE, *shown.get(k, level(100.0)), 100.0) for k in range(-10, END + 11)]
    return source(rows)


def play(world: World, run: Any, **call: Any) -> Any:
    answers, manage = ({minute + world.past: each for minute, each in given.items()}
                       for given in (world.answers, world.manage))  # fmt: skip
    strategy_of(CHECKED, answers, manage=manage or None, risk=None)
    return run(
        frame=(begins(world), begins(world) + END * MINUTE),
        capital=world.capital,
        currency=world.currency,
        sizing=world.sizing,
        account=world.account,
        costs=world.costs,
        **call,
    )


def portfolio(world: World) -> Any:
    markets = {symbol: market(world, symbol) for symbol in world.legs}
    return play(world, bknb.portfolio, legs=[(symbol, CHECKED) for symbol in world.legs], exchange=markets)


def written(rows: str) -> list[tuple[int, str, str, str, str]]:
    """Minute, leg, kind, amount and cash of each line; what is behind them is a remark."""
    found = []
    for line in rows.splitlines():
        minute, leg, kind, amount, cash, *_ = line.split()
        found.append((int(minute), leg, kind, amount, cash))
    return found


def kept(money: Any, world: World) -> list[tuple[int, str, str, str, str]]:
    return [
        (
            (row.at - begins(world)) // MINUTE,
            world.legs[int(row.leg)],
            row.kind,
            f"{row.amount:z.2f}",
            f"{row.cash:z.2f}",
        )
        for row in money.rows
    ]


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_a_run_moves_cash_as_it_was_written_by_hand(world: World) -> None:
    result = portfolio(world)
    rows = written(world.rows)
    assert kept(result.run_account, world) == rows
    last = float(rows[-1][-1]) if rows else world.capital
    assert round(float(result.equity.iloc[-1]), 2) == last
    assert result.run_account.currency == (world.currency or "")
    told = [f"{event.symbol} {event.note}" for event in result.refused]
    assert len(told) == bool(world.says)
    assert all(text.startswith(world.says) for text in told)
    if world.legs == "A":
        alone = play(world, bknb.backtest, symbol="A", strategy=CHECKED, exchange=market(world, "A"))
        assert alone.run_record.money.rows == result.run_account.rows
        assert round(world.capital + float(alone.trades["money"].sum()), 2) == last


def test_there_are_thirty_and_each_has_a_name_of_its_own() -> None:
    assert len({world.name for world in WORLDS}) == len(WORLDS) >= 30
