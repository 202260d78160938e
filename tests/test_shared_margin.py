"""Cross margin with leverage that legs of a portfolio share: when all are liquidated, where, and what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from portfolio_worlds import plan_of
from scenarios import MINUTE, ORIGIN, Candle, long, source
from test_capital import END, FRAME, FREE, short
from test_capital_portfolio import CROSS, FUNDING, named
from test_portfolio import strategy_of

import bknb
from bknb.engine.account_plan import plan_account
from bknb.engine.portfolio_run import PortfolioRun
from bknb.engine.shared_account import SharedAccount

# 50 each of A and B at 100 with 1 000: at equal prices p all is used up at 1 000 + 100 (p - 100) = p / 2
BOTH = 9000 / 99.5
A_ALONE = 4025 / 49.75  # and B at 100
MOST = 50 + 5000 / 100.5  # with as many of B as are paid for at 100.5
SCALED = (100 * MOST - 1000) / (MOST * 0.995)
ONE = 4000 / 49.75  # where A is all there is
FALL: Candle = (100.0, 100.0, 90.0, 95.0)
STILL: Candle = (100.0, 100.0, 100.0, 100.0)
HOLD = long(150, 50, 20)
PERPETUAL = {"account": CROSS, "costs": {"funding": FUNDING}}
MARGIN = {"account": bknb.Margin(50, 1.9), "costs": {"borrow_yearly": 3_000}}


def market(candles: Mapping[int, Candle], silent: tuple[int, ...] = ()) -> Any:
    flat = (100.0, 100.0, 100.0, 100.0)
    rows = [(ORIGIN + k * MINUTE, *candles.get(k, flat), 0.0 if k in silent else 100.0) for k in range(-60, END + 10)]
    return source(rows)


def play(answers: Any, bars: Mapping[str, Mapping[int, Candle]], **options: Any) -> Any:
    silent = options.pop("silent", {})
    one = strategy_of("one", answers, manage=options.pop("manage", None), risk=None)
    call = {"frame": FRAME, "settings": FREE, "capital": 1000, "account": "perpetual:10", "sizing": "units:50"}
    exchange = {symbol: market(candles, silent.get(symbol, ())) for symbol, candles in bars.items()}
    return bknb.portfolio(legs=[(symbol, one) for symbol in bars], exchange=exchange, **call | options)


def ends(result: Any) -> list[tuple[str, str, float, int]]:
    """Of each position its symbol, why it was closed, at which price, and in which minute."""
    closed = sorted((event for event in result.events if isinstance(event, bknb.Closed)), key=lambda each: each.symbol)
    return [(each.symbol, each.close_reason, each.price_close, (each.closed_at - ORIGIN) // MINUTE) for each in closed]


def added_up(result: Any) -> None:
    trades, end = result.trades, float(result.equity.iloc[-1])
    assert 1000 + trades["money"].sum() == pytest.approx(end, abs=1e-9)
    assert end >= -1e-9
    assert (trades["money"] <= 0).all() or not trades["forgiven"].any()
    assert result.run_account.end.imbalance({}) == pytest.approx(0.0, abs=1e-9)


LONGS = {0: {"A": HOLD, "B": HOLD}}


@pytest.mark.parametrize(
    ("answers", "bar", "expected"),
    [
        (LONGS, (FALL, FALL), [("liquidation", BOTH), ("liquidation", BOTH)]),
        (LONGS, ((100.0, 100.0, 91.0, 95.0),) * 2, None),
        (LONGS, ((100.0, 100.0, 80.0, 95.0), STILL), [("liquidation", A_ALONE), ("liquidation", 100.0)]),
        (LONGS, ((100.0, 100.0, 81.0, 95.0), STILL), None),
        (LONGS, (STILL, (100.0, 100.0, 80.0, 95.0)), [("liquidation", 100.0), ("liquidation", A_ALONE)]),
        (LONGS, ((85.0, 85.0, 84.0, 85.0),) * 2, [("liquidation", 85.0), ("liquidation", 85.0)]),  # a gap
        # each at its worst: the low of a long and the high of a short
        ({0: {"A": HOLD, "B": short(50, 150, 20)}}, (FALL, (100.0, 101.0, 90.0, 95.0)), None),
        ({0: {"A": HOLD, "B": short(50, 150, 20)}}, (FALL, (100.0, 111.0, 90.0, 95.0)), [
            ("liquidation", 100 - 10 * 950 / 1050.25), ("liquidation", 100 + 11 * 950 / 1050.25)]),
        # a nearer stop is met first, and what it leaves may be enough
        ({0: {"A": long(150, 95, 20), "B": HOLD}}, (FALL, FALL), [("stop_loss", 95.0), None]),
        ({0: {"A": long(150, 95, 20), "B": HOLD}}, (FALL, (100.0, 100.0, 80.0, 95.0)), [
            ("stop_loss", 95.0), ("liquidation", 4250 / 49.75)]),
        ({0: {"A": long(150, 80, 20), "B": HOLD}}, (FALL, FALL), [("liquidation", BOTH), ("liquidation", BOTH)]),
        # a target in the same bar comes later, but not one that the bar opens beyond
        ({0: {"A": long(120, 50, 20), "B": HOLD}}, ((100.0, 130.0, 90.0, 95.0), FALL), [
            ("liquidation", BOTH), ("liquidation", BOTH)]),
        ({0: {"A": long(120, 50, 20), "B": HOLD}}, ((125.0, 130.0, 90.0, 95.0), FALL), [("take_profit", 125.0), None]),
        # what enters at the open of the bar is in it, and what leaves there is not
        ({0: {"A": HOLD}, 3: {"B": HOLD}}, (FALL, FALL), [("liquidation", BOTH), ("liquidation", BOTH)]),
        ({0: {"A": HOLD}, 3: {"B": long(150, 50, 20, at=100.5)}}, (FALL, FALL), [
            ("liquidation", SCALED), ("liquidation", SCALED)]),
        ({0: {"A": long(150, 50, 3), "B": HOLD}}, (FALL, FALL), [("time_expired", 100.0), None]),
    ],
)  # fmt: skip
def test_margin_that_legs_share_is_used_up_with_every_leg_at_its_worst(answers: Any, bar: Any, expected: Any) -> None:
    """Bar 3 is given, and the next ones are as its close; ``None``: nothing happens to it."""
    bars = {symbol: {3: candle} | dict.fromkeys(range(4, 40), (candle[3],) * 4)
            for symbol, candle in zip("AB", bar, strict=True)}  # fmt: skip
    result = play(answers, bars)
    for (_, reason, price, minute), wanted in zip(ends(result), expected or [None, None], strict=True):
        if wanted is None:
            assert (reason, minute) == ("time_expired", 20)
        else:
            assert (reason, price, minute) == (wanted[0], pytest.approx(wanted[1]), 3)
    added_up(result)


def test_a_target_that_was_moved_is_the_one_that_a_bar_opens_beyond() -> None:
    """Bar 3 opens at 125: A leaves there at the target it has by then, and B alone has enough."""
    moved = play(
        LONGS, {"A": {3: (125.0, 130.0, 90.0, 95.0)}, "B": {3: FALL}},
        manage={1: {"A": bknb.Move(price_take_profit=120.0)}},
    )  # fmt: skip
    assert ends(moved)[0] == ("A", "take_profit", 125.0, 3)
    assert ends(moved)[1][1] != "liquidation" or ends(moved)[1][3] > 3
    away = play(
        {0: {"A": long(120, 50, 20), "B": HOLD}},
        {"A": {3: (125.0, 130.0, 90.0, 95.0)}, "B": {3: FALL}},
        manage={1: {"A": bknb.Move(price_take_profit=150.0)}},
    )  # fmt: skip
    assert [end[1] for end in ends(away)] == ["liquidation", "liquidation"]


def test_what_is_missing_after_a_gap_is_forgiven_to_each_by_what_it_lost() -> None:
    """At 85 and 95 the legs lost 750 and 250 of 600: what is missing, 400, is shared three to one."""
    after = {
        symbol: {3: (price,) * 4} | dict.fromkeys(range(4, 40), (price,) * 4)
        for symbol, price in (("A", 85.0), ("B", 95.0))
    }
    result = play(LONGS, after, capital=600, account=bknb.Perpetual(20))
    rows = result.trades.sort_values("symbol")
    assert rows[["close_reason", "money", "forgiven"]].to_numpy().tolist() == [
        ["liquidation", -450.0, 300.0], ["liquidation", -150.0, 100.0]
    ]  # fmt: skip
    assert result.equity.iloc[-1] == 0.0
    assert result.contribution["forgiven"].tolist() == [300.0, 100.0]


def test_what_rests_and_fills_inside_a_bar_is_looked_at_from_the_next_one_on() -> None:
    """B's limit at 99 fills in bar 3, whose low takes A alone nowhere; both are used up at the open of bar 4, 89.9."""
    answers = {0: {"A": HOLD}, 2: {"B": long(150, 50, 20, at=99.0)}}
    falls = {3: (100.0, 100.0, 89.0, 89.9)} | dict.fromkeys(range(4, 40), (89.9,) * 4)
    result = play(answers, {"A": falls, "B": falls})
    assert ends(result) == [("A", "liquidation", 89.9, 4), ("B", "liquidation", 89.9, 4)]
    added_up(result)
    deep = falls | {3: (100.0, 100.0, 79.0, 89.9)}  # A alone is liquidated in it: then nothing that rests is opened
    result = play(answers, {"A": deep, "B": deep})
    assert ends(result) == [("A", "liquidation", pytest.approx(ONE), 3)]
    assert [event.note for event in result.refused] == [
        "the account is liquidated in the bar that fills the order: nothing is opened in it"
    ]


def test_a_leg_that_does_not_trade_in_the_bar_is_looked_at_in_its_next_one() -> None:
    """B has no volume in bars 3 and 4. A is liquidated at 80.9; B goes on with what is left, and has enough of it."""
    deep = {3: (100.0, 100.0, 80.0, 80.0)} | dict.fromkeys(range(4, 40), (80.0,) * 4)
    result = play(LONGS, {"A": deep, "B": {}}, silent={"B": (3, 4)})
    assert ends(result) == [("A", "liquidation", pytest.approx(A_ALONE), 3), ("B", "time_expired", 100.0, 20)]
    gap = {3: (60.0,) * 4} | dict.fromkeys(range(4, 40), (60.0,) * 4)
    result = play(LONGS, {"A": gap, "B": {}}, silent={"B": (3, 4)})
    assert ends(result)[0] == ("A", "liquidation", 60.0, 3)  # nothing is left at its close: B is closed in money there
    assert result.trades.sort_values("symbol")[["money", "forgiven"]].to_numpy().tolist() == [[-1000, 1000], [0, 0]]
    added_up(result)


def test_funding_of_any_leg_is_paid_by_what_they_share() -> None:
    """250 are paid for B at minute 2: 750 + 100 (p - 100) = p / 2."""
    costs = {"B": bknb.Costs(funding=[(ORIGIN + 2 * MINUTE, 0.05)]), "A": bknb.Costs()}
    near = {3: (100.0, 100.0, 92.0, 95.0)} | dict.fromkeys(range(4, 40), (95.0,) * 4)
    result = play(LONGS, {"A": near, "B": near}, costs=costs)
    assert ends(result) == [
        ("A", "liquidation", pytest.approx(9250 / 99.5), 3),
        ("B", "liquidation", pytest.approx(9250 / 99.5), 3),
    ]
    added_up(result)


def test_parts_adds_and_bars_of_another_length() -> None:
    """A closes half at minute 2: 75 are left of 100, used up at 1 000 + 75 (p - 100) = 3 p / 8; an add at 2 is 150."""
    falls = {3: (100.0, 100.0, 86.0, 95.0)} | dict.fromkeys(range(4, 40), (95.0,) * 4)
    part = play(LONGS, {"A": falls, "B": falls}, manage={2: {"A": bknb.Reduce(0.5)}})
    assert [each[1] for each in ends(part)] == ["liquidation"] * 2
    assert ends(part)[0][2] == pytest.approx(6500 / 74.625)
    more = {"A": HOLD | {"size": 0.5}, "B": HOLD | {"size": 0.5}}
    added = play({0: more}, {"A": {3: FALL}, "B": {3: FALL}}, manage={2: {"A": bknb.Add(1.0), "B": bknb.Add(1.0)}})
    assert ends(added)[0][1:] == ("liquidation", pytest.approx(BOTH), 3)
    at_once = play({0: more}, {"A": {3: FALL}, "B": {3: FALL}}, manage={3: {"A": bknb.Add(1.0), "B": bknb.Add(1.0)}})
    assert ends(at_once)[0][1:] == ("liquidation", pytest.approx(BOTH), 3)


def test_an_isolated_leg_beside_them_is_not_liquidated_with_them() -> None:
    account = {"A": bknb.Perpetual(10), "B": bknb.Perpetual(10), "C": bknb.Perpetual(10, mode="isolated")}
    answers = {0: dict.fromkeys("ABC", HOLD)}
    result = play(answers, {"A": {3: FALL}, "B": {3: FALL}, "C": {3: FALL}}, account=account, capital=1500)
    assert [each[1] for each in ends(result)] == ["liquidation", "liquidation", "liquidation"]
    result = play(answers, {"A": {3: FALL}, "B": {3: FALL}, "C": {}}, account=account, capital=1500)
    assert [each[1] for each in ends(result)] == ["liquidation", "liquidation", "time_expired"]
    assert ends(result)[0][2] == pytest.approx(BOTH)


def test_a_leg_without_leverage_shares_the_margin_of_one_with_it() -> None:
    """6 000 + 100 (p - 100) = p / 2."""
    account, deep = {"A": bknb.Perpetual(10), "B": bknb.Perpetual()}, HOLD | {"price_stop_loss": 10}
    falls = {3: (100.0, 100.0, 39.0, 90.0)}
    result = play({0: {"A": deep, "B": deep}}, {"A": falls, "B": falls}, account=account, capital=6000)
    assert [each[1:3] for each in ends(result)] == [("liquidation", pytest.approx(4000 / 99.5))] * 2


@pytest.mark.parametrize("model", ["touch", "vwap"])
def test_with_the_other_models(model: str) -> None:
    falls = {3: (100.0, 100.0, 90.1, 90.1)} | dict.fromkeys(range(4, 40), (90.1,) * 4)
    result = play(LONGS, {"A": falls, "B": falls}, execution=model)
    assert [each[1:3] for each in ends(result)] == [("liquidation", pytest.approx(BOTH))] * 2
    added_up(result)


def test_a_leg_beside_one_that_does_nothing_is_liquidated_as_alone() -> None:
    answers = {0: {"A": HOLD | {"price_stop_loss": 10}}}
    deep = {3: (100.0, 100.0, 79.0, 90.0)}
    beside = play(answers, {"A": deep, "B": {}})
    alone = play(answers, {"A": deep})
    for result in (alone, beside):
        assert ends(result) == [("A", "liquidation", pytest.approx(ONE), 3)]
    assert beside.equity.to_numpy() == pytest.approx(alone.equity.to_numpy(), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("held", [PERPETUAL, MARGIN])
@pytest.mark.parametrize("seed", [4, pytest.param(2, marks=pytest.mark.long)])
def test_every_minute_fed_gives_what_jumping_gives(seed: int, held: dict[str, Any]) -> None:
    """Random managers on three symbols, with funding or interest; trades add up to what the account gained."""
    told = []
    for every in (False, True):
        plans = [named(plan_of(3 * seed + k, "pessimistic", risk=f"r{k}"), f"leg{k}") for k in range(3)]
        costs = bknb.Costs(maker=0.02, fixed=0.1, **held["costs"])
        account = plan_account(plans, capital=10_000, account=held["account"], sizing="percent:1650", costs=costs)
        assert account is not None
        desk = SharedAccount(account)
        run = PortfolioRun(plans, account=desk)
        for leg in run.legs:
            leg._every_minute = every
        asyncio.run(run.through(lambda _: None))
        told.append(([leg.records.events for leg in run.legs], desk.rows))
        closed = [event.close_reason for leg in run.legs for event in leg.records.closed]
        bknb.testing.reset()
    assert told[0] == told[1]
    assert "liquidation" in closed
    assert {"funding", "borrow"} & {row.kind for row in told[0][1]}


def test_interest_that_takes_all_in_a_hole_ends_what_is_held_then() -> None:
    """A has no bars from minute 50 to 400; the short of 50 pays 4.00 a minute, of 1 000 nothing is left at hour 5."""
    begin = ORIGIN + 30 * MINUTE
    rows = [(ORIGIN + k * MINUTE, 100.0, 100.0, 100.0, 100.0, 100.0) for k in range(600)]
    exchange = {"A": source([row for row in rows if not 50 <= (row[0] - ORIGIN) // MINUTE < 400]), "B": source(rows)}
    one = bknb.add_strategy("one", interval="1m", get_signal=lambda ctx: (
        short(50, 150, 500) if (ctx.symbol, ctx.when_ms) == ("A", begin) else None))  # fmt: skip
    result = bknb.portfolio(
        legs=[("A", one), ("B", one)], exchange=exchange, frame=(begin, ORIGIN + 590 * MINUTE), settings=FREE,
        capital=1000, account="margin:10", sizing="units:50", allow_gaps=True,
        costs=bknb.Costs(borrow_yearly=365 * 24 * 60 * 0.08),
    )  # fmt: skip
    paid = [((row.at - ORIGIN) // MINUTE, row.kind, round(row.amount, 6)) for row in result.run_account.rows]
    assert paid == [
        (30, "sell", 5000.0), (60, "borrow", -120.0), *((60 * hour, "borrow", -240.0) for hour in range(2, 6)),
        (300, "buy", -5000.0), (300, "forgiven", 80.0),
    ]  # fmt: skip


def test_what_one_leg_pays_to_another_at_one_moment_is_looked_at_together() -> None:
    """1 125 of 1 000 are paid for A at minute 2 and received for B: nothing is lost."""
    costs = bknb.Costs(taker=0.0, slippage=0.0, funding=[(ORIGIN + 2 * MINUTE, 0.225)])
    result = play({0: {"A": HOLD, "B": short(50, 150, 20)}}, {"A": {}, "B": {}}, costs=costs)
    assert [(row.kind, row.amount) for row in result.run_account.rows if row.kind in ("funding", "forgiven")] == [
        ("funding", -1125.0), ("funding", 1125.0)
    ]  # fmt: skip
    assert [each[1:] for each in ends(result)] == [("time_expired", 100.0, 20)] * 2
    added_up(result)


ADDED = {3: {"A": bknb.Add(1.0)}}


@pytest.mark.parametrize(
    ("levels", "manage", "bar", "expected"),
    [
        # a target of 5 % is 105, and behind an add at 110 it is 110.25: A stays, and falls with B
        ({"target_percent": 5.0, "stop_percent": 60.0}, ADDED, (110.0, 110.0, 79.0, 100.0), "liquidation"),
        ({"target_percent": 5.0, "stop_percent": 60.0}, {}, (110.0, 110.0, 79.0, 100.0), "take_profit"),
        # 111 is beyond 110.775: the add leaves at that open with the rest
        ({"target_percent": 5.0, "stop_percent": 60.0}, ADDED, (111.0, 111.0, 79.0, 100.0), "take_profit"),
        # a stop of 18 % is 82, below where all is used up, and 83.64 behind an add at 104: A leaves there
        ({"target_percent": 90.0, "stop_percent": 18.0}, ADDED, (104.0, 104.0, 79.0, 100.0), "stop_loss"),
        # a limit, and a stop order, that the open passes count in that bar, with a stop of its own
        ({"target_percent": 90.0, "stop_percent": 60.0}, {3: {"A": bknb.Add(1.0, price_open=105.0)}},
         (104.0, 104.0, 79.0, 100.0), "liquidation"),
        ({"target_percent": 90.0, "stop_percent": 60.0}, {3: {"A": bknb.Add(1.0, entry="stop", price_open=102.0)}},
         (104.0, 104.0, 79.0, 100.0), "liquidation"),
        ({"target_percent": 90.0, "stop_percent": 18.0}, {3: {"A": bknb.Add(1.0, price_open=105.0)}},
         (104.0, 104.0, 79.0, 100.0), "stop_loss"),
        ({"target_percent": 90.0, "stop_percent": 60.0},
         {3: {"A": bknb.Add(1.0, entry="stop", price_open=102.0, price_stop_loss=90.0)}},
         (104.0, 104.0, 79.0, 100.0), "stop_loss"),
    ],
)  # fmt: skip
def test_levels_are_those_behind_adds_that_fill_at_the_open(levels: Any, manage: Any, bar: Any, expected: str) -> None:
    answers = {0: {"A": bknb.Signal(side="long", minute_estimated_time=20, **levels), "B": HOLD}}
    result = play(answers, {"A": {3: bar}, "B": {}}, manage=manage, sizing={"A": "units:25", "B": "units:20"})
    (_, reason, price, minute), (_, other, _, _) = ends(result)
    assert (reason, minute) == (expected, 3)
    assert price == {"take_profit": bar[0]}.get(expected, price)
    assert other == ("liquidation" if expected == "liquidation" else "time_expired")  # what A leaves is enough for B
    added_up(result)


def test_a_target_that_was_moved_counts_where_the_bar_opens_beyond_it() -> None:
    """A's target is 105 from minute 2 on: it leaves at 110, and its low in that bar takes nothing."""
    bar = {3: (110.0, 110.0, 79.0, 100.0)}
    result = play(LONGS, {"A": bar, "B": {}}, manage={2: {"A": bknb.Move(price_take_profit=105.0)}})
    assert ends(result) == [("A", "take_profit", 110.0, 3), ("B", "time_expired", 100.0, 20)]
    added_up(result)
    result = play(LONGS, {"A": bar, "B": {}}, manage={2: {"A": bknb.Move(price_take_profit=130.0)}})
    assert [each[1] for each in ends(result)] == ["liquidation"] * 2
