"""Adds and parts of entry ladders that the account cuts as they fill: the record has what was paid for, and no more."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from scenarios import Candle, long
from test_capital import END, FLAT, FRAME, FREE, market, notes, play

import bknb

if TYPE_CHECKING:
    from collections.abc import Mapping

DIPS: Candle = (95.0, 95.0, 93.0, 94.0)
"""It opens 5 lower and reaches 94: a half that was bought for its money is more of it, and so is the other half."""

HALVES = [(None, 0.5), (94.0, 0.5)]


def gone(order: bknb.CostRequest) -> float:
    """Costs of an add that nothing pays."""
    return 6_000.0 if order.kind == "add" else 0.0


@dataclass
class Cut:
    """A ladder, the candles of its run, and the kinds, shares and prices of what fills until its entry candle is over.

    The other candles are flat where the last of them closed.
    """

    name: str
    ladder: Any
    candles: Mapping[int, Candle]
    fills: list[tuple[str, float, float]]
    run: dict[str, Any] = field(default_factory=dict)
    signal: dict[str, Any] = field(default_factory=dict)
    manage: dict[int, Any] | None = None
    notes: list[str] = field(default_factory=list)

    def play(self, **more: Any) -> Any:
        last = max(self.candles, default=0)
        rest = dict.fromkeys(range(last + 1, END + 11), (self.candles.get(last, FLAT)[3],) * 4)
        given = {"side": "long", "price_open": self.ladder, "minute_estimated_time": 12} | self.signal
        answer = [bknb.Signal(**each) for each in given["any"]] if "any" in given else bknb.Signal(**given)
        options: dict[str, Any] = {"sizing": "percent:100", "account": "spot"} | self.run | more
        exchange = options.pop("exchange", None) or market({**self.candles, **rest})
        return play({0: answer}, exchange, manage=self.manage, **options)


ENTRY = ("entry", 1.0, 95.0)
CUTS = [
    Cut("a part in the candle of its entry", HALVES, {0: DIPS}, [ENTRY, ("add", 0.95, 94.0)]),
    Cut("a part in the next candle", HALVES, {0: (95.0,) * 4, 1: DIPS}, [ENTRY, ("add", 0.95, 94.0)]),
    Cut("one behind a limit that rested", [(98.0, 0.5), (94.0, 0.5)], {3: DIPS}, [ENTRY, ("add", 95 / 98, 94.0)]),
    Cut("of a short", [(None, 0.5), (106.0, 0.5)], {0: (95.0, 107.0, 95.0, 106.0)},
        [ENTRY, ("add", (206 * 0.95 - 105) / 106, 106.0)], {"account": "margin"}, {"side": "short"}),
    Cut("of two parts, for each of which more is reserved now", [(None, 0.4), (94.5, 0.3), (94.0, 0.3)], {0: DIPS},
        [ENTRY, ("add", (56.55 - 0.3 * 94 * 100 / 95) / 94.5 / (40 / 95), 94.5), ("add", 0.75, 94.0)]),
    Cut("then the stop", HALVES, {0: (95.0, 95.0, 89.0, 90.0)},
        [ENTRY, ("add", 0.95, 94.0), ("exit", 1.95, 90.0)], {}, {"price_stop_loss": 90.0}),
    Cut("then a target", HALVES, {0: (95.0, 102.0, 93.0, 99.0)},
        [ENTRY, ("reduce", 0.5, 101.0), ("add", 0.95, 94.0)], {}, {"price_take_profit": [(101.0, 0.5)]}),
    Cut("one of two signals that compete", None, {3: DIPS}, [ENTRY, ("add", 95 / 98, 94.0)],
        signal={"any": [{"side": "long", "price_open": [(98.0, 0.5), (94.0, 0.5)], "minute_estimated_time": 12},
                        {"side": "long", "price_open": 60.0, "minute_estimated_time": 12}]}),
    Cut("nothing is paid", HALVES, {0: DIPS}, [ENTRY], {"costs": bknb.Costs(fixed=gone)},
        notes=["too little free cash when the order filled: 4845.3608 was free at a price of 94; size smaller"]),
    Cut("a part of what an add counted on goes to costs", None, {}, [("entry", 1.0, 100.0), ("reduce", 0.01, 100.0),
                                                                     ("add", 0.97, 100.0)],
        {"execution": "vwap", "sizing": "percent:50", "account": "margin", "costs": bknb.Costs(fixed=100.0)},
        manage={2: [bknb.Reduce(0.01), bknb.Add(1.0)]}),
    Cut("nothing is left of it", None, {}, [("entry", 1.0, 100.0), ("reduce", 0.01, 100.0)],
        {"execution": "vwap", "sizing": "percent:97", "account": "margin", "costs": bknb.Costs(fixed=145.0)},
        manage={2: [bknb.Reduce(0.01), bknb.Add(1.0)]},
        notes=["too little free margin when the order filled: 107 was free at a price of 100; size smaller"]),
]  # fmt: skip


@pytest.mark.parametrize("row", CUTS, ids=lambda row: row.name)
def test_the_record_has_of_an_add_what_was_paid_for(row: Cut) -> None:
    """Quantities are shares of the first one, and what a trade made in percent is its money."""
    result = row.play()
    table = result.fills
    found = [tuple(fill) for fill in table[["kind", "share", "price"]].itertuples(index=False)]
    assert found[: len(row.fills)] == [(kind, pytest.approx(share), price) for kind, share, price in row.fills]
    assert [kind for kind, *_ in found[len(row.fills) :]] in ([], ["exit"])
    assert table["quantity"].tolist() == pytest.approx((table["share"] * table["quantity"].iloc[0]).tolist())
    assert notes(result) == row.notes
    assert min(result.equity) > 0
    (trade,) = result.trades.to_dict("records")
    if "costs" not in row.run:
        first = table["cost"].iloc[0]
        assert trade["pnl_percentage"] == pytest.approx(trade["money"] / first * 100)
    taken_back = [event.reason for event in result.position_events if event.action == "add_cancelled"]
    assert taken_back == (["risk"] if row.name == "nothing is paid" else [])


def test_what_is_reserved_for_an_add_that_found_nothing_is_free() -> None:
    """Of 10 000 the first leg has 4 740 in the entry, with two fees, and 50 are sold: the rest pays for another one."""
    row = next(row for row in CUTS if row.name == "nothing is left of it")
    fills = replace(row, manage={**(row.manage or {}), 4: bknb.Reduce(0.5), 6: bknb.Add(0.4)}).play().fills
    assert fills["kind"].tolist() == ["entry", "reduce", "reduce", "add", "exit"]
    assert fills["share"].iloc[3] == pytest.approx(0.4)


def test_what_is_reserved_for_adds_is_free_for_what_enters_where_their_position_leaves() -> None:
    """5 000 leave at 98, and 4 050 are reserved for an add that ends with them: 5 950, granted before, are paid."""
    ends = {0: long(900, 1, 5) | {"size": 0.5}, 5: long(900, 1, 5)}
    rests = {2: bknb.Add(0.9, price_open=90.0)}
    candles = market(dict.fromkeys(range(5, END + 11), (98.0,) * 4))
    fills = play(ends, candles, manage=rests, sizing="percent:100", account="spot").fills
    assert fills["kind"].tolist()[:3] == ["entry", "exit", "entry"]
    assert fills["cost"].iloc[2] == pytest.approx(5_950.0)
    assert not fills["cut"].any()


@pytest.mark.parametrize("candle", [DIPS, (95.0,) * 4])
def test_a_part_is_as_large_as_the_step_of_its_market_leaves_it(candle: Candle) -> None:
    """In the candle of the entry and in the next one: 54 of 54.26, and 51 of the 51.8 that 4 870 pay for."""
    candles = {0: candle, 1: DIPS}
    candles |= dict.fromkeys(range(2, END + 11), (94.0,) * 4)
    bknb.add_exchange("steps", get_candles=market(candles), step=1.0)
    fills = Cut("", HALVES, candles, []).play(exchange="steps").fills
    assert fills["quantity"].tolist() == [54.0, 51.0, 105.0]
    assert fills["share"].tolist() == pytest.approx([1.0, 51 / 54, 105 / 54])


@pytest.mark.parametrize(
    ("ladder", "low"),
    [(None, 93.0), ([(None, 0.5), (101.0, 0.5)], 93.0), ([(101.0, 0.5), (103.0, 0.5)], 93.0), (HALVES, 85.0)],
)
def test_all_parts_that_fill_at_an_open_count_in_its_bar(ladder: Any, low: float) -> None:
    """Legs with shared margin: 1 500 at 100 are liquidated at 93.94, half of them at 87.3 with 400 of A."""

    def enters(minute: int, **signal: Any) -> Any:
        return lambda when: bknb.Signal(side="long", **signal) if when.minute == minute else None

    bknb.add_strategy("first", interval="1m", get_signal=enters(1, minute_estimated_time=50))
    parts = {} if ladder is None else {"price_open": ladder}
    bknb.add_strategy("second", interval="1m", get_signal=enters(5, minute_estimated_time=20, **parts))
    result = bknb.portfolio(
        legs=[("A", "first"), ("B", "second")], exchange={"A": market(), "B": market({5: (100.0, 100.0, low, 95.0)})},
        frame=FRAME, capital=10_000, account=bknb.Perpetual(20, 0.5), sizing={"A": "units:400", "B": "units:1500"},
        settings=FREE,
    )  # fmt: skip
    assert result.trades["close_reason"].tolist() == ["liquidation"] * 2
    assert result.leg("B").fills["price"].iloc[-1] == pytest.approx(93.936 if low == 93.0 else 87.3, rel=1e-3)


def test_a_stop_order_of_a_ladder_is_one_in_the_candle_of_its_entry_too() -> None:
    """Costs are asked about a stop order, wherever its price is reached, and about one at the market at an open."""
    asked: list[tuple[str, str]] = []

    def cost(order: bknb.CostRequest) -> float:
        asked.append((order.kind, order.filled_by))
        return 0.0

    for candles, filled_by in (
        ({3: (100.0, 105.0, 100.0, 104.0)}, "stop"),
        ({3: (103.0, 103.0, 103.0, 103.0), 4: (103.0, 105.0, 103.0, 104.0)}, "stop"),
        ({3: (105.0, 106.0, 105.0, 105.0)}, "market"),
    ):
        asked.clear()
        ladder = [(102.0, 0.5), (104.0, 0.5)]
        Cut("", ladder, candles, [], signal={"entry": "stop"}).play(costs=bknb.Costs(fixed=cost))
        assert {by for kind, by in asked if kind == "add"} == {filled_by}
