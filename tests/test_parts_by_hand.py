"""Entry ladders and adds with too little cash: fills, cash and what is held are those of a plain loop, live as well."""

from __future__ import annotations

from typing import Any

import pytest
from parts_by_hand import FEE, MINUTES, SYMBOLS, Loop, World
from scenarios import MINUTE, ORIGIN, source
from test_live_portfolio import backtest, told

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.stores.memory_store import MemoryStore
from bknb.testing.clocks import SimulatedClock

UNTIL = ORIGIN + MINUTES * MINUTE


class Noted(PaperBroker):
    """It notes what is held of each symbol behind each minute, also by orders that came while it went by."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[tuple[str, int], float] = {}

    def saw(self, symbol: str, minute: Any) -> None:
        self.held[symbol, (minute.t - ORIGIN) // MINUTE - 1] = self.position(symbol)
        super().saw(symbol, minute)


def minute_of(when: Any) -> int:
    return (round(when.timestamp() * 1000) - ORIGIN) // MINUTE


def options(world: World) -> dict[str, Any]:
    """A portfolio of the strategies of a world, on its markets."""
    legs, exchanges = [], dict[str, Any]()
    for symbol in SYMBOLS:
        rows = world.rows(symbol)

        def get_signal(when: Any, symbol: str = symbol, rows: Any = rows) -> Any:
            minute = minute_of(when)
            drawn = world.signal(symbol, minute, rows[59 + minute][3])
            return None if drawn is None else bknb.Signal(**drawn)

        def manage(when: Any, symbol: str = symbol, rows: Any = rows) -> Any:
            minute = minute_of(when)
            kind, share, price, valid = world.managed(symbol, minute, rows[59 + minute][3]) or ("", 0.0, None, 0)
            if kind == "add":
                return bknb.Add(share) if price is None else bknb.Add(share, price_open=price, valid=valid)
            return {"reduce": bknb.Reduce(share or 1.0), "close": bknb.Close()}.get(kind)

        name = f"parts {symbol}"
        bknb.add_strategy(name, interval="1m", get_signal=get_signal, manage=manage, manage_interval="1m")
        candles: Any = source([(ORIGIN + k * MINUTE, *row, 100.0) for k, row in enumerate(rows, -60)])
        if world.step:
            candles = bknb.add_exchange(f"steps {symbol}", get_candles=candles, step=world.step)
        exchanges[symbol] = candles
        legs.append((symbol, name))
    return {
        "legs": legs, "exchange": exchanges, "capital": world.capital, "account": bknb.Spot(),
        "costs": bknb.Costs(taker=FEE * 100, maker=FEE * 100),
        "sizing": f"cash:{world.money}" if world.units is None else f"units:{world.units}",
        "settings": {"percent_fee": 0.0, "percent_slippage": 0.0, "max_adds": 1_000},
    }  # fmt: skip


def fills_of(result: bknb.PortfolioResult, until: int = MINUTES) -> list[list[Any]]:
    """The fills of each symbol before a minute, in order."""
    rows = [
        (minute_of(fill.at), symbol, fill.kind, fill.price, pytest.approx(fill.quantity), pytest.approx(fill.share))
        for symbol in SYMBOLS
        for fill in result.leg(symbol).fills.itertuples()
    ]
    return [[row for row in rows if row[1] == symbol and row[0] < until] for symbol in SYMBOLS]


def by_hand(loop: Loop) -> list[list[Any]]:
    return [[fill for fill in loop.fills if fill[1] == symbol and fill[0] < MINUTES] for symbol in SYMBOLS]


def held(loop: Loop, symbol: str) -> list[float]:
    """How much is held of a symbol in each minute."""
    signed = [
        (fill[0], fill[4] if fill[2] in ("entry", "add") else -fill[4]) for fill in loop.fills if fill[1] == symbol
    ]
    return [sum(quantity for minute, quantity in signed if minute <= k) for k in range(MINUTES)]


def lived(world: World, broker: Noted, *ends: int) -> bknb.PortfolioResult:
    """One life after the other on one store, up to each of these minutes."""
    store, begin = MemoryStore(), 0
    for end in ends:
        task = bknb.Live.portfolio(
            **options(world), broker=broker, clock=SimulatedClock(ORIGIN + begin * MINUTE), store=store,
            until=ORIGIN + end * MINUTE, late_minutes=10_000,
        )  # fmt: skip
        result, begin = task.result(timeout=60), end
    return result


SLOW = pytest.param(31, marks=pytest.mark.slow)
LONG = [pytest.param(seed, marks=pytest.mark.long) for seed in range(60)]


@pytest.mark.parametrize("seed", [7, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (27, 35)), *LONG])
def test_fills_and_cash_are_those_of_a_loop_by_hand(seed: int) -> None:
    """Every close of the account; what is open at the end of a frame is closed there. Many of its parts are cut."""
    world = World(seed)
    loop = Loop(world).run()
    result = bknb.portfolio(**options(world), frame=(ORIGIN, UNTIL))
    assert by_hand(loop) == fills_of(result)
    assert result.equity.tolist()[1:-1] == pytest.approx(loop.equity[:-1], abs=1e-6)
    if seed in (7, 27, 35):
        assert loop.cuts >= 5
        assert loop.cuts_with_entry >= 4
        assert loop.nothing == (seed == 35)


@pytest.mark.parametrize("seed", [SLOW, *(LONG[seed] for seed in range(60) if seed % 3)])
def test_live_they_are_the_same_and_the_broker_holds_what_the_loop_does(seed: int) -> None:
    """In units, of which it is sent as many as the record has, and where nothing happened: orders follow candles."""
    world, broker = World(seed), Noted()
    loop = Loop(world).run()
    result = lived(world, broker, MINUTES)
    assert told(result, UNTIL) == told(backtest(options(world), result, UNTIL), UNTIL)
    assert by_hand(loop) == fills_of(result)
    checked = 0
    for symbol in SYMBOLS:
        busy = {fill[0] for fill in loop.fills if fill[1] == symbol}
        busy |= {(event.closed_at - ORIGIN) // MINUTE for event in result.leg(symbol).run_record.records.cancelled}
        for event in result.told:  # a part behind a stop order is sent when that has filled
            if isinstance(event, bknb.Added) and event.symbol == symbol and event.when == event.signal.pending_at:
                busy |= {(event.fill.at - ORIGIN) // MINUTE + k for k in (1, 2) if event.signal.rungs[0].stop}
        quiet = [k for k in range(MINUTES - 1) if k not in busy]
        expected = held(loop, symbol)
        assert [broker.held[symbol, k] for k in quiet] == pytest.approx([expected[k] for k in quiet], abs=1e-9)
        checked += len(quiet)
    assert checked > MINUTES // 2
    kinds = {error.kind for leg in result.legs.values() for error in leg.errors}
    assert kinds <= {"cut_fill", "double_fill", "broker"}


@pytest.mark.parametrize("seed", [SLOW, *(LONG[seed] for seed in range(0, 60, 5))])
def test_started_again_they_are_the_same(seed: int) -> None:
    world = World(seed)
    whole, again = lived(world, Noted(), MINUTES), lived(world, Noted(), 13, 37, 38, MINUTES)
    columns = ["at", "kind", "price", "quantity", "share", "cut"]
    for symbol in SYMBOLS:
        expected, found = (each.leg(symbol).fills[columns].to_numpy().tolist() for each in (whole, again))
        assert found == expected
    assert again.equity.tolist() == pytest.approx(whole.equity.tolist())
