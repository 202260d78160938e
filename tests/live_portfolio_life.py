"""A live portfolio with an account, killed wherever its disk changes.

``live_portfolio_life.py FOLDER chosen|every KIND``, a KIND of :data:`KINDS`.

It plays the portfolio once undisturbed. Then, for every change of the disk or one of each kind: a process is killed
there, another goes on to the end, and its positions, their money, the account, and what its listener received, are
compared. It prints one JSON line.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from broker_journal import sent_twice
from killed import Life, compared_lives
from noting_disk import Change, Place, chosen
from scenarios import MINUTE, ORIGIN, source
from test_managed_properties import drawn, drawn_in_places, managing
from worlds import SETTINGS, drawn_weights, signals, walk

import bknb
from bknb.domain.broker_orders_and_ids import client_id
from bknb.live import account_changes, account_saver
from bknb.stores.file_store import FileStore
from bknb.testing.clocks import SimulatedClock

LOADED = (bknb.Live, bknb.add_risk, bknb.PortfolioResult, account_saver)  # once, before anybody is forked
account_changes.NEWEST, account_changes.PART = 2, 4  # so that changes move to their journal in half an hour
JOURNAL, LOCK = "exchange.jsonl", ("write lock", "remove lock")
LENGTH = 30 * MINUTE
SYMBOLS = ("AUSDT", "BUSDT")
ROWS = {symbol: walk(seed) for seed, symbol in enumerate(SYMBOLS, 3)}
MARKETS = {symbol: source(rows) for symbol, rows in ROWS.items()}
ONE_MARKET = bknb.exchanges.FrameSource({symbol: bknb.Candles.from_rows(rows) for symbol, rows in ROWS.items()})


def jumping(minute: int, factor: float) -> dict[str, Any]:
    """Markets that all open higher or lower from a minute on: more is lost than is there of what shares its margin."""
    since = ORIGIN + minute * MINUTE
    return {
        symbol: source([[at, *(price * (factor if at >= since else 1.0) for price in prices), volume]
                        for at, *prices, volume in walk(seed)])
        for seed, symbol in enumerate(SYMBOLS, 12)
    }  # fmt: skip


START = {"cross interest": ORIGIN + 45 * MINUTE}  # interest is due at the full hour
JUMPING = {"cross": jumping(24, 0.92), "cross interest": jumping(64, 1.1)}
FUNDING = [(ORIGIN + k * MINUTE, 0.0003) for k in range(0, 60, 4)]
KINDS: dict[str, dict[str, Any]] = {
    "spot": {"sizing": "percent:60", "costs": bknb.Costs(taker=0.05)},
    "broker": {"sizing": "percent:60", "costs": bknb.Costs(taker=0.05)},
    "perpetual": {
        "sizing": "percent:120",
        "account": bknb.Perpetual(10, 0.5, "isolated"),
        "costs": bknb.Costs(taker=0.05, funding=FUNDING),
    },
    "funding series": {
        "sizing": "percent:120",
        "account": bknb.Perpetual(10, 0.5, "isolated"),
        "costs": bknb.Costs(taker=0.05, funding="rates"),
    },
    "cross": {
        "sizing": "percent:700",
        "account": bknb.Perpetual(50, 1.9),
        "costs": bknb.Costs(taker=0.02, funding=FUNDING),
    },
    "cross interest": {
        "sizing": "percent:700",
        "account": bknb.Margin(50, 1.9),
        "costs": bknb.Costs(taker=0.02, borrow_yearly=3_000),
    },
    "places": {
        "sizing": "percent:60",
        "account": bknb.Margin(3, 0.5, "isolated"),
        "costs": bknb.Costs(taker=0.05, funding=FUNDING),
    },
    "places broker": {"sizing": "percent:10", "costs": bknb.Costs(taker=0.05)},
    "weights": {"costs": bknb.Costs(taker=0.05)},
    "weights together": {"costs": bknb.Costs(taker=0.05)},
    "weights broker": {"costs": bknb.Costs(taker=0.05)},
    "bars": {
        "sizing": "percent:120",
        "account": bknb.Perpetual(10, 0.5, "isolated"),
        "costs": bknb.Costs(taker=0.05, funding=FUNDING),
    },
    "weights together bars": {"costs": bknb.Costs(taker=0.05)},
    "weights hours": {"costs": bknb.Costs(taker=0.05)},
}
HOURS = bknb.Sessions.weekly("UTC", {"mon-sun": "00:00-00:08, 00:17-24:00"})
OPEN = source([row for row in ROWS["AUSDT"] if not 8 <= (row[0] - ORIGIN) // MINUTE < 17])
OTHER_HOURS = {"AUSDT": bknb.exchanges.in_sessions(OPEN, HOURS), "BUSDT": MARKETS["BUSDT"]}
"""Those of "weights hours"."""
BASES = {"AUSDT": "1m", "BUSDT": "5m"}
"""Base bars of kinds that end with "bars"."""


def one_place(request: bknb.RiskRequest) -> bool:
    "at most one, and no more trades than five in a row"
    assert request.closed is not None
    assert request.equity is not None
    return (request.open_position_count < 2 and len(request.closed) % 6 != 5) or request.when % (7 * MINUTE) == 0


def rates(since: int, until: int) -> Any:
    """The rows of funding that were published between two moments."""
    import pandas as pd

    return pd.DataFrame([row for row in FUNDING if since <= row[0] <= until], columns=["published_at", "rate"])


def legs(kind: str) -> list[tuple[str, Any]]:
    """A managed strategy on the first symbol, with three places where that is the kind, random signals on both."""
    bknb.add_risk("shared", validations=[one_place])
    bknb.add_series("rates", rates)
    options: dict[str, Any] = {"interval": "1m", "risk": "shared"}
    if kind.startswith("places"):  # as many positions as it has places
        managed = bknb.add_strategy("managed", get_signal=drawn_in_places(3), manage=managing(3), interval="1m",
                                    manage_interval="1m", places=3)  # fmt: skip
    else:
        managed = bknb.add_strategy("managed", get_signal=drawn(3), manage=managing(3), manage_interval="1m", **options)
    short = [bknb.add_strategy("drawn 5", get_signal=soon(signals(5)), **options)]
    options["interval"] = BASES["BUSDT"] if kind.endswith("bars") else "1m"
    short += [bknb.add_strategy("drawn 6", get_signal=soon(signals(6)), **options)]
    return [(SYMBOLS[0], managed), *zip(SYMBOLS, short, strict=True)]


def far(side: str) -> list[tuple[str, Any]]:
    """Random entries on one side whose levels are far away, one on the first symbol and two on the other."""

    def drawn_far(seed: int) -> Any:
        drawn, factors = soon(signals(seed)), (2.0, 0.5) if side == "long" else (0.5, 2.0)

        def answer(when: Any, price: float) -> Any:
            signal = drawn(when, price)
            levels = {"price_take_profit": price * factors[0], "price_stop_loss": price * factors[1]}
            return None if signal is None or signal["position"] != side else signal | levels

        return bknb.add_strategy(f"{side} {seed}", interval="1m", get_signal=answer)

    return [(symbol, drawn_far(seed)) for seed, symbol in enumerate((SYMBOLS[0], SYMBOLS[1], SYMBOLS[1]), 5)]


def what_runs(kind: str) -> dict[str, Any]:
    """The legs, or a strategy that answers for both symbols at once."""
    if kind.startswith("cross"):
        return {"legs": far("long" if kind == "cross" else "short")}
    if not kind.startswith("weights"):
        return {"legs": legs(kind)}
    options: dict[str, Any] = {"interval": "5m" if kind.endswith("bars") else "1m"}
    options["get_weights"] = drawn_weights(7, levels=kind != "weights hours")
    together = "together" in kind
    return {"strategies": [bknb.weights("rotation", symbols=SYMBOLS, together=together, tolerance=1.0, **options)]}


def market_of(kind: str) -> Any:
    """Where it is traded; weights read candles of both symbols."""
    if kind == "weights hours":
        return OTHER_HOURS
    return ONE_MARKET if kind.startswith("weights") else JUMPING.get(kind, MARKETS)


def soon(get_signal: Any) -> Any:
    """The signals, whose positions end soon."""

    def answer(when: Any, price: float) -> Any:
        signal = get_signal(when, price)
        return None if signal is None else signal | {"minute_estimated_time": 1 + signal["minute_estimated_time"] % 6}

    return answer


class KeptClock(SimulatedClock):
    """A clock that goes on where that of the last process was."""

    def __init__(self, kept: Path, start: int) -> None:
        super().__init__(int(kept.read_text()) if kept.exists() else start)
        self.kept = kept

    async def sleep_until(self, when: int) -> None:
        self.kept.write_text(str(max(when, self.now())))
        await super().sleep_until(when)


def play(folder: Path, kind: str, at: Place | None) -> None:
    """One life; what is received, and what came of it, are in files."""
    life, start = Life(folder, at), START.get(kind, ORIGIN)
    task = bknb.Live.portfolio(
        **what_runs(kind),
        exchange=market_of(kind),
        clock=KeptClock(folder / "clock", start),
        until=start + LENGTH,
        store=FileStore(folder / "state", disk=life.disk),
        settings=SETTINGS,
        late_minutes=10_000,
        capital=10_000,
        base=BASES if kind.endswith("bars") else None,
        broker=bknb.brokers.paper(journal=folder / JOURNAL) if kind.endswith("broker") else None,
        **KINDS[kind],
    )
    result = task.result(timeout=60)
    told = [error for leg in result.legs.values() for error in leg.errors]
    errors = [error for error in told if not error.message.startswith("the run ended before paper")]
    assert not errors, errors
    if kind.endswith("broker"):
        check_orders(result, folder)
    ended = [msgspec.structs.replace(event, price=0.0) for leg in result.legs.values()
             for event in leg.run_record.records.closed]  # fmt: skip
    money = [sorted(each.items()) for each in result.run_account.positions]
    account = msgspec.structs.replace(result.run_account.end, reserved={})
    exposure = result.exposure.fillna(-1.0)
    marks = [str(result.equity.index.tolist()), result.equity.tolist(), exposure.to_numpy().tolist()]
    life.ends([ended, money, account, marks])


def check_orders(result: bknb.PortfolioResult, folder: Path) -> None:
    """Every position is an order at the broker, sent once, with about the quantity of the account.

    The account has its money over the price that was paid, the order over the last close before it.
    """
    lines = map(json.loads, (folder / JOURNAL).read_text().splitlines())
    quantities = {line["client_id"]: line["quantity"] for line in lines}
    assert sent_twice(folder / JOURNAL) == []
    for leg in result.legs.values():
        for key, position in (leg.run_record.money_positions or {}).items():
            if position.fills:
                sent = quantities[client_id(leg.strategy, leg.symbol, key, "open")]
                assert abs(sent / position.fills[0].fill.order.quantity - 1) < 0.03, (key, sent)


def main(root: Path, kind: str, *, every: bool) -> None:
    def places(changes: list[Change]) -> list[Place]:
        later = changes[len(changes) // 3 :]  # something is open by then
        return [change.place for change in changes] if every else chosen(later, never=LOCK, by="kind")

    compared = compared_lives(root, lambda folder, at: play(folder, kind, at), places)
    ended, money, account, _ = compared.ended
    fills = sum(len(position["fills"]) for leg in money for _, position in leg)
    killed = [place.change for place in compared.places]
    lost = [position for leg in money for _, position in leg if any(fill[3] for fill in position["fills"])]
    found = {"wrong": compared.wrong, "killed": killed, "trades": len(ended), "fills": fills, "forgiven": len(lost)}
    print(json.dumps(found | {"funding": account["funding"], "borrow": account["borrow"]}))  # noqa: T201


if __name__ == "__main__":
    os.fsync = lambda handle: None  # a killed process loses nothing it has written; a power cut is another test
    gc.freeze()  # a collection in a child would copy every page of what was imported
    gc.set_threshold(50_000)  # and few are needed in so short a life
    main(Path(sys.argv[1]), sys.argv[3], every=sys.argv[2] == "every")
