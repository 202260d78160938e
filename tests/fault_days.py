"""Days of several strategies at a local exchange with everything at random: ``fault_days.py FOLDER [--seed 1] ...``.

Each symbol has a strategy that opens, moves, adds, reduces and closes at random, or is closed and moved by hand; the
exchange loses requests and replies, refuses, fills in parts and late, and the user cancels stops; processes end and
begin again. At the end the account is what the record says, and nothing of ours works. It prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
from fault_world import SPOT, Act, World

import bknb
from bknb.testing.exchange import LocalExchange

QUIET: Final = 12  # bars at the end in which nothing goes wrong, and everything is closed
FAULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *((name, {}) for name in ("reply_lost", "request_lost", "cut_body", "html_502", "html_200", "empty_data")),
    *(("html_502", {"executed": True}), ("too_many", {"seconds": 0.01}), ("banned", {"seconds": 0.01})),
    *(("refuse", {"reason": reason}) for reason in ("overloaded", "unavailable", "timeout", "unknown_error")),
    *(("refuse", {"reason": reason, "executed": True}) for reason in ("timeout", "duplicate")),
    *(("partial", {"share": "0.4"}), ("partial", {"share": "0.4", "works": True}), ("slippage", {"percent": "0.4"})),
    *(("not_found", {"seconds": 60}), ("fill_during_cancel", {"share": "0.5"}), ("replace_half", {})),
)
OPERATIONS: Final = ("place", "stop", "cancel", "replace", "report", "fills", "open_orders", "balance")
PRICES: Final = {"BTC": 50_000.0, "ETH": 3_000.0, "BNB": 500.0}


def days(
    exchange: LocalExchange, *, seed: int, symbols: int, bars: int, lives: int, bar: int = 1, often: float = 0.25,
    timeout: float = 600.0,
) -> tuple[list[str], dict[str, Any]]:  # fmt: skip
    """Play, and look at the end.

    Parameters
    ----------
    bars, bar
        How many, and how many minutes one has.
    lives
        How many processes follow each other.
    often
        In which share of the bars something goes wrong.

    Returns
    -------
    tuple
        What does not hold, and figures.
    """
    random = np.random.default_rng(seed)
    bases = [*PRICES, *(f"C{number:02}" for number in range(symbols))][:symbols]
    worlds = [
        _world(exchange, base, np.random.default_rng([seed, number]), bars, bar) for number, base in enumerate(bases)
    ]
    first, rest = worlds[0].begin(), worlds[1:]
    for base in bases:
        if base not in PRICES:
            exchange.command("listing", market="spot", base=base, step="0.001", least="0.001")
        exchange.price(f"{base}USDT", PRICES.get(base, 100.0))
        if base != first.venue.base:
            exchange.command("deposit", currency=base, amount="0.5")
    exchange.command("deposit", currency="USDT", amount="10000000")
    exchange.command("limits", face="binance", weight=10**9, orders=[10**6, 10**9], patience=10**6)  # of real minutes
    armed: dict[str, int] = {}
    first.at = {k: _something(random, worlds, armed) for k in range(bars - QUIET) if random.random() < often}
    first.after = {bars - QUIET: lambda world: world.exchange.command("disarm")}
    first.timeout = timeout
    ends = [*sorted(int(at) for at in random.integers(5, bars - QUIET, lives - 1)), bars]
    start = 0
    for end in ends:
        if end > start:
            first.live(start=start, end=end, beside=tuple(rest), late_minutes=10_000)
            start = end
    wrong = [f"{world.name}: {text}" for world in worlds for text in _wrong(world, first)]
    figures = {
        "faults": armed, "orders": len([each for world in worlds for each in world.orders]),
        "by hand": sum(len(world.hand_answers) for world in worlds),
        "trades": sum(len(world.result.trades) for world in worlds),
        "minutes without a stop, at most": max(
            world.without_stop(Decimal(str(world.quantity)) / 4)[0] for world in worlds
        ),
    }  # fmt: skip
    return wrong, figures


def _wrong(world: World, first: World) -> Iterator[str]:
    world._mark, world._read, world._lines = first._mark, first._read, first._lines
    entries = sum(order["side"] == "buy" for order in world.orders)  # each may leave less than a step of its fee
    yield from world.wrong(
        naked_minutes=1e9, naked_requests=10**9, dust=str(world.venue.step * entries), words=False, forgets=True
    )


def _world(exchange: LocalExchange, base: str, random: np.random.Generator, bars: int, bar: int) -> World:
    """A symbol with its market, and what its strategy and its user decide."""
    venue = replace(SPOT, symbol=f"{base}USDT", traded=f"{base}USDT", base=base, step=_step(base))
    opens = PRICES.get(base, 100.0) * np.exp(np.cumsum(random.normal(0.0, 0.0015, bars + 1)))
    opens[-QUIET:] = opens[-QUIET]
    reach = np.abs(random.normal(0.0, 0.001, (2, bars + 1)))
    reach[:, -QUIET:] = 0.0
    prices = np.round(opens, 2)
    candles = {}
    for k in range(bars):
        high, low = max(prices[k : k + 2]) * (1 + reach[0, k]), min(prices[k : k + 2]) * (1 - reach[1, k])
        candles[k] = tuple(float(each) for each in np.round([prices[k], high, low, prices[k + 1]], 2))
    signals: dict[int, bknb.Signal] = {}
    answers: dict[int, Any] = {}
    hands: dict[int, Any] = {}
    for k in range(bars - QUIET):
        price = float(prices[k])
        if random.random() < 0.5:
            waits = round(price * 0.9985, 2) if random.random() < 0.3 else None
            signals[k] = bknb.Signal(
                side="long", price_open=waits, price_stop_loss=round(price * 0.992, 2),
                price_take_profit=round(price * 1.012, 2),
            )  # fmt: skip
        if random.random() < 0.3:
            level = round(price * float(random.uniform(0.993, 0.998)), 2)
            said = [bknb.Move(price_stop_loss=level, loosen=True), bknb.Add(0.4), bknb.Reduce(0.3), bknb.Close()]
            answers[k] = said[int(random.choice(4, p=[0.5, 0.2, 0.2, 0.1]))]
        if random.random() < 0.03:
            hands[k] = _by_hand(int(random.integers(3)), round(price * 0.99, 2))
    answers |= {k: [bknb.Cancel(), bknb.Close()] for k in range(bars - QUIET, bars - 4)}
    return World(
        exchange=exchange, venue=venue, name=f"days{base.lower()}", candles=candles, signals=signals, answers=answers,
        hands=hands, bar=bar, quantity=round(500.0 / float(prices[0]), 3 if base not in PRICES else 4),
    )  # fmt: skip


def _by_hand(what: int, level: float) -> Callable[[Any], object]:
    """What somebody decides with the task of a run."""

    def decide(task: Any) -> object:
        if what == 0:
            return task.close()
        return task.reduce(0.5) if what == 1 else task.move(price_stop_loss=level, loosen=True)

    return decide


def _step(base: str) -> Decimal:
    return Decimal({"BTC": "0.00001", "ETH": "0.0001"}.get(base, "0.001"))


def _something(random: np.random.Generator, worlds: list[World], armed: dict[str, int]) -> Act:
    """What goes wrong in a bar."""
    if random.random() < 0.1:
        which = int(random.integers(len(worlds)))

        def cancelled(_: World) -> None:
            for stop in worlds[which].stops[:1]:
                armed["stop cancelled by hand"] = armed.get("stop cancelled by hand", 0) + 1
                worlds[which].exchange.command("cancel", client_id=stop["client_id"])

        return cancelled
    name, fields = FAULTS[int(random.integers(len(FAULTS)))]
    operation = OPERATIONS[int(random.integers(len(OPERATIONS)))]

    def act(world: World) -> None:
        armed[name] = armed.get(name, 0) + 1
        world.exchange.fault(name, on=operation, **fields)

    return act


def main() -> None:
    """As a script."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    for name, value in (("seed", 1), ("symbols", 20), ("bars", 1344), ("lives", 12), ("bar", 15)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--often", type=float, default=0.25)
    given = vars(parser.parse_args())
    folder = given.pop("folder")
    folder.mkdir(parents=True, exist_ok=True)
    with LocalExchange(journal=folder / "journal.jsonl") as exchange:
        for variable, name in SPOT.keys:
            os.environ[variable] = exchange.ccxt_config(SPOT.client)[name]
        wrong, figures = days(exchange, **given, timeout=36_000.0)
    print(json.dumps({"wrong": wrong, **figures}))  # noqa: T201


if __name__ == "__main__":
    main()
