"""What a live account writes at a save: its newest changes alone; wherever a process ends, all of them count once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from scenarios import MINUTE, ORIGIN, source
from test_live_account import money_of
from test_live_portfolio import backtest, live, told
from worlds import SETTINGS, walk

import bknb
from bknb.domain.funding_charged_and_fills_booked import Ledger
from bknb.domain.leg_position import LegPosition
from bknb.engine.shared_account import AccountChange, Freed
from bknb.live import account_changes
from bknb.live.account_changes import AMOUNTS, PortfolioJournal, SavedChange
from bknb.testing.clocks import SimulatedClock

CHANGING = {*AMOUNTS, "positions", "reserved"}


def test_a_change_is_saved_as_what_is_other_than_before() -> None:
    """Random ledgers: each is made again of the one before it, with the positions in their order."""
    assert {*Ledger.__struct_fields__} - CHANGING == {"capital", "account", "accounts"}  # which no change moves
    random, number = np.random.default_rng(1), 0
    before = Ledger.begin(1_000.0, bknb.Margin(5, 1.5), {"1": bknb.Spot()})
    for number in range(300):
        positions, leg = dict(before.positions), str(random.integers(4))
        if leg in positions and random.random() < 0.5:
            del positions[leg]
        else:
            quantity, cost = random.normal(size=2).tolist()
            positions[leg] = LegPosition(quantity, cost, cost, 0.0, number, number)
        moved = {name: float(random.normal()) for name in AMOUNTS if random.random() < 0.4}
        reserved = {} if random.random() < 0.3 else {"0 a 0": float(random.integers(3))}
        after = msgspec.structs.replace(before, positions=positions, reserved=reserved, **moved)
        freed = Freed(number, None, 3.5) if random.random() < 0.3 else None
        saved = SavedChange.between(before, AccountChange(number * MINUTE, after), number, freed)
        read = msgspec.json.decode(msgspec.json.encode(saved), type=SavedChange)
        assert read == saved
        assert read.after(before) == after
        assert [*read.after(before).positions] == [*positions]
        assert (read.number, read.since, read.freed) == (number, number * MINUTE, freed)
        before = after


class WrittenStore(bknb.stores.MemoryStore):
    """A store that remembers what was written and removed, and when."""

    def __init__(self, clock: SimulatedClock) -> None:
        super().__init__()
        self.clock = clock
        self.done: list[tuple[int, str, tuple[str, ...], bytes | None]] = []

    def write(self, kind: str, key: tuple[str, ...], payload: bytes) -> None:
        super().write(kind, key, payload)
        self.done.append((self.clock.now(), kind, key, bytes(payload)))

    def delete(self, kind: str, key: tuple[str, ...]) -> None:
        super().delete(kind, key)
        self.done.append((self.clock.now(), kind, key, None))

    def after(self, count: int) -> tuple[SimulatedClock, bknb.stores.MemoryStore]:
        """The store after so many of these, for a process that begins then."""
        store = bknb.stores.memory()
        with store:
            for _, kind, key, payload in self.done[:count]:
                if payload is None:
                    store.delete(kind, key)
                else:
                    store.write(kind, key, payload)
        return SimulatedClock(self.done[count - 1][0]), store


def small(request: bknb.RiskRequest) -> bool:
    "no more than there was of both together within the longer bar"
    assert request.exposure is not None
    assert request.equity is not None
    return request.exposure + (request.value or 0.0) < 2.2 * request.equity


def busy(longer: str, until: int) -> dict[str, Any]:
    """A leg of minutes that trades every other one beside one of longer bars, which rests; interest on both."""
    exchanges, legs, base = {}, [], {}
    bknb.add_risk("small", validations=[small])
    for at, bars in enumerate(("1m", longer)):

        def get_signal(when: Any, price: float, at: int = at) -> Any:
            random = np.random.default_rng([at, round(when.timestamp())])
            if random.random() < 0.2:
                return None
            sign = 1 if random.random() < 0.5 else -1
            levels = {"price_take_profit": price * (1 + sign * 0.03), "price_stop_loss": price * (1 - sign * 0.03)}
            signal = {"position": "long" if sign > 0 else "short", "minute_estimated_time": 60 if at else 2, **levels}
            return signal | ({"price_open": price * (1 - sign * 0.001)} if at else {})

        symbol = f"S{at}USDT"
        bknb.add_strategy(f"busy {at}", interval=bars, get_signal=get_signal, risk="small")
        exchanges[symbol], base[symbol] = source(walk(at + 3, length=(until - ORIGIN) // MINUTE + 60)), bars
        legs.append((symbol, f"busy {at}"))
    return {
        "legs": legs, "exchange": exchanges, "base": base, "settings": SETTINGS, "capital": 10_000,
        "account": bknb.Margin(5, 1.5), "costs": bknb.Costs(taker=0.05, borrow_yearly=300), "sizing": "percent:90",
    }  # fmt: skip


@pytest.mark.slow
def test_a_save_writes_no_more_when_a_longer_bar_needs_more_changes() -> None:
    """A leg of minutes changes the account some 130 times within a bar of four hours."""
    until = ORIGIN + 239 * MINUTE
    options, clock = busy("4h", until), SimulatedClock(ORIGIN)
    store = WrittenStore(clock)
    result = live(options, clock, store, until=until)
    expected = backtest(options, result, until)
    assert told(result, until) == told(expected, until)
    assert money_of(result, until) == money_of(expected, until)
    assert len(result.run_account.changes) > 130
    sizes = [len(payload) for _, kind, _, payload in store.done if kind == "portfolio" and payload]
    assert len(sizes) > 200
    assert max(sizes) < 16_000
    parts = [len(payload) for _, kind, _, payload in store.done if kind == "portfolio_changes" and payload]
    assert sum(parts) < 300_000
    assert max(parts) < 30_000
    (_, payload) = max((at, payload) for at, kind, _, payload in store.done if kind == "portfolio" and payload)
    saved = json.loads(payload)
    assert saved["version"] == 2
    assert saved["changes"]["first"] == 0
    assert len(saved["changes"]["newest"]) < account_changes.NEWEST + 4


@pytest.mark.slow
def test_wherever_a_process_ends_all_changes_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two move to the journal at a time; killed behind each write or removal there, and behind those of accounts."""
    monkeypatch.setattr(account_changes, "NEWEST", 2)
    monkeypatch.setattr(account_changes, "PART", 4)
    until = ORIGIN + 75 * MINUTE
    options, clock = busy("15m", until), SimulatedClock(ORIGIN)
    store = WrittenStore(clock)
    whole = live(options, clock, store, until=until)
    ours = [number for number, (_, kind, *_) in enumerate(store.done, 1) if kind == "portfolio_changes"]
    removed = [number for number in ours if store.done[number - 1][-1] is None]
    assert len(ours) > 30
    assert len(removed) > 5
    behind = [number + 1 for number in ours[5::15]]
    wrong = []
    for count in sorted({*ours[3::12], *removed[1::4], *behind}):
        clock, store_then = store.after(count)
        again = live(options, clock, store_then, until=until)
        if (again.run_account.end, rest_of(again)) != (whole.run_account.end, rest_of(whole)):
            wrong.append(count)
    assert wrong == []


def rest_of(result: Any) -> list[Any]:
    """What its trades brought, and what it was worth at each minute."""
    return [money_of(result)[1], result.equity.tolist()]


@pytest.mark.slow
def test_changes_that_a_leg_needs_are_kept_before_it_has_begun() -> None:
    """As where its candles are still loaded after a restart, while the turns of the others are saved."""
    until = ORIGIN + 100 * MINUTE
    task = bknb.Live.portfolio(
        **busy("1h", until), clock=SimulatedClock(ORIGIN), until=until, store=bknb.stores.memory()
    )
    task.result(timeout=120)
    account = task._account
    assert account is not None
    needed = account.first_needed
    account.legs[1].is_ready = False
    assert account.first_needed == needed < len(account.changes) - 20


@pytest.mark.slow
def test_a_journal_of_changes_of_which_a_part_is_gone_is_refused() -> None:
    until = ORIGIN + 100 * MINUTE
    options, clock = busy("1h", until), SimulatedClock(ORIGIN)
    store = bknb.stores.memory()
    live(options, clock, store, until=until)
    with store:
        keys: Mapping[int, Any] = dict(enumerate(store.keys("portfolio_changes")))
        assert len(keys) > 1
        store.delete("portfolio_changes", keys[0])
    with pytest.raises(bknb.StateError, match=r"of \d+ changes of the account are missing in portfolio_changes of"):
        live(options, SimulatedClock(until), store, until=until + 5 * MINUTE)
    assert PortfolioJournal.kind == "portfolio_changes"
