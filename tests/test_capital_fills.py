"""Fills of a run with a capital: what each kind pays, adds of which less is bought, and the money of a trade."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios import MINUTE, ORIGIN, Candle, long
from test_capital import END, FRAME, FREE, market, notes, play, short

import bknb

COSTS = bknb.Costs(taker=1.0, maker=0.5, slippage=0.1)


def level(price: float) -> Candle:
    return (price, price, price, price)


def paid(result: Any) -> list[tuple[str, bool, float, float]]:
    """Of each fill its kind, whether it was a maker's, its fee and slippage in percent of what it was worth."""
    table = result.fills
    slipped = (table["cost"] / table["quantity"] / table["price"] - 1).abs() * 100
    rows = zip(table["kind"], table["maker"], table["fee"] / table["cost"] * 100, slipped, strict=True)
    return [(kind, bool(maker), round(fee, 9), round(worse, 9)) for kind, maker, fee, worse in rows]


MAKER, TAKER = (True, 0.5, 0.0), (False, 1.0, 0.1)


@pytest.mark.parametrize(
    ("candle", "signal", "manage", "kinds"),
    [
        pytest.param((100.0, 100.0, 94.0, 96.0), long(120, 80, 10, at=97.0), None, [MAKER, TAKER], id="limit"),
        pytest.param(level(93.0), long(120, 80, 10, at=97.0), None, [MAKER, TAKER], id="limit behind an open"),
        pytest.param(level(100.0), long(120, 80, 3, at=101.0), None, [TAKER, TAKER], id="limit met at once"),
        pytest.param((100.0, 105.0, 100.0, 103.0), long(104, 80, 10), None, [TAKER, MAKER], id="target"),
        pytest.param(level(108.0), long(104, 80, 10), None, [TAKER, MAKER], id="target behind an open"),
        pytest.param(level(79.0), long(104, 80, 10), None, [TAKER, TAKER], id="stop behind an open"),
        pytest.param((100.0, 100.0, 94.0, 96.0), long(120, 80, 10), 97.0, [TAKER, MAKER, TAKER], id="add"),
        pytest.param(level(93.0), long(120, 80, 10), 97.0, [TAKER, MAKER, TAKER], id="add behind an open"),
        pytest.param(level(100.0), long(120, 80, 10), 101.0, [TAKER, TAKER, TAKER], id="add met at once"),
    ],
)
def test_what_rested_pays_the_fee_of_makers_wherever_it_fills(
    candle: Candle, signal: Any, manage: float | None, kinds: Any
) -> None:
    answers = None if manage is None else {1: bknb.Add(1.0, price_open=manage)}
    result = play({0: signal}, market({4: candle}), manage=answers, sizing="cash:1000", costs=COSTS)
    assert [row[1:] for row in paid(result)] == kinds


def test_percentages_of_fills_are_those_of_what_they_paid() -> None:
    result = play({0: long(104, 80, 10)}, market({4: level(108.0)}), sizing="cash:1000", costs=COSTS)
    assert result.fills["fee_percentage"].round(9).tolist() == [1.0, round(0.5 * 108 / 100.1, 9)]
    assert result.fills["slippage_percentage"].round(9).tolist() == [round(0.1 / 1.001, 9), 0.0]


# --- adds -------------------------------------------------------------------------------------------------------------


def bought(result: Any) -> list[tuple[str, float, float, bool]]:
    table = result.fills[["kind", "share", "quantity", "cut"]].itertuples(index=False)
    return [(kind, round(share, 9), round(quantity, 9), bool(cut)) for kind, share, quantity, cut in table]


RISE = dict.fromkeys(range(8, END + 11), level(110.0))


def test_an_add_is_as_large_as_what_is_free_pays_for() -> None:
    """80 bought; 1 of them more is wanted, and 20 are paid for: a quarter; half of the first size leaves 40."""
    manage = {2: bknb.Add(1.0), 10: bknb.Reduce(0.4)}
    result = play({0: long(150, 50, 20)}, market(RISE), manage=manage, sizing="percent:80", account="spot")
    assert bought(result) == [("entry", 1, 80, False), ("add", 0.25, 20, False), ("reduce", 0.5, 40, False),
                              ("exit", 0.75, 60, False)]  # fmt: skip
    row = result.trades.iloc[0]
    assert row["pnl_percentage"] == pytest.approx(row["money"] / 8000 * 100)


@pytest.mark.parametrize("model", ["pessimistic", "vwap"])
def test_an_add_that_fills_dearer_is_cut_to_what_is_left(model: str) -> None:
    """5 000 pay for 50 more at the last close; at 125 they pay for 40: 0.8 of the first size."""
    dear = market(dict.fromkeys(range(2, END + 11), level(125.0)))
    result = play({0: long(150, 50, 20)}, dear, manage={2: bknb.Add(1.0)}, sizing="percent:50", account="spot",
                  execution=model)  # fmt: skip
    price = 100.0 if model == "vwap" else 125.0
    assert bought(result)[:2] == [("entry", 1, 50, False), ("add", 50 / price * 2, 5000 / price, model != "vwap")]
    row = result.trades.iloc[0]
    assert (bool(row["cut"]), row["cost"]) == (model != "vwap", 10_000.0)
    assert row["pnl_percentage"] == pytest.approx(row["money"] / 5000 * 100)


def test_two_adds_that_fill_dearer_have_the_cash_that_is_reserved_for_each() -> None:
    """3 000 and 2 000."""
    dear = market(dict.fromkeys(range(2, END + 11), level(125.0)))
    manage = {2: [bknb.Add(0.6), bknb.Add(0.4)]}
    result = play({0: long(150, 50, 20)}, dear, manage=manage, sizing="percent:50", account="spot")
    assert bought(result)[1:3] == [("add", 0.48, 24, True), ("add", 0.32, 16, True)]


@pytest.mark.parametrize("model", ["pessimistic", "touch", "vwap"])
def test_an_add_of_which_nothing_is_paid_is_taken_back(model: str) -> None:
    """Funding takes the 5 000 that were free: the add that rests at 95 finds nothing."""
    costs = bknb.Costs(funding=[(ORIGIN + 5 * MINUTE, 1.0)])
    fall = market({8: (100.0, 100.0, 94.0, 100.0)})
    manage = {2: bknb.Add(0.5, price_open=95.0)}
    result = play({0: long(150, 50, 20)}, fall, manage=manage, sizing="percent:50", account=bknb.Perpetual(),
                  costs=costs, execution=model)  # fmt: skip
    assert [kind for kind, *_ in bought(result)] == ["entry", "exit"]
    taken_back = [event for event in result.position_events if event.action == "add_cancelled"]
    assert [(event.reason, event.price_open) for event in taken_back] == [("risk", 95.0)]
    assert notes(result) == ["too little free margin when the order filled: 0 was free at a price of 95; size smaller"]
    assert result.trades["pnl_percentage"].tolist() == [0.0]


def test_what_arithmetic_leaves_of_nothing_buys_nothing() -> None:
    """A third and two thirds of the equity leave some 1e-12 of it."""
    shares = iter([1 / 3, 2 / 3 * (1 - 1e-13)])
    one = {0: long(110, 90, 20)}
    result = play(one, market(), manage={2: bknb.Add(2.0), 4: bknb.Add(0.5)}, sizing=lambda r: r.equity * next(shares))
    assert result.refused[-1].note.startswith("no free margin")
    assert len(result.fills) == 3


# --- the money of a trade ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [long, short])
def test_the_money_of_a_trade_is_after_funding_and_interest(side: Any) -> None:
    """1 000 held from minute 0 to 6, funding 0.1 % at 3, interest of 1 % a minute of a short."""
    costs = bknb.Costs(funding=[(ORIGIN + 3 * MINUTE, 0.001)], borrow_yearly=365 * 24 * 60)
    levels = (110, 90) if side is long else (90, 110)
    result = play({0: side(*levels, 6)}, market(), sizing="cash:1000", costs=costs)
    funding, borrow = (1.0, 0.0) if side is long else (-1.0, 60.0)
    row = result.trades.iloc[0]
    assert row[["funding", "borrow", "money"]].round(9).tolist() == [funding, borrow, -funding - borrow]
    assert result.equity.iloc[-1] == pytest.approx(10_000 + row["money"])
    assert result.account["funding"] == pytest.approx(funding / 100)
    assert result.account["borrow"] == pytest.approx(borrow / 100)


SIXFOLD = {k: level(100.0 * min(k, 4)) for k in range(2, 8)} | {k: level(100.0) for k in range(8, END + 11)}


@pytest.mark.parametrize("account", ["margin", "perpetual"])
def test_an_account_that_is_worth_nothing_is_closed_and_opens_nothing_more(account: str) -> None:
    """A short of all the equity at 100 is worth nothing at 200, the close of minute 2; the price comes back later."""
    answers = {0: short(20, 900, 10), 15: long(110, 90, 5)}
    result = play(answers, market(SIXFOLD), account=account)
    assert result.equity.iloc[[2, 3, -1]].tolist() == [10_000.0, 0.0, 0.0]
    assert result.trades[["money", "forgiven", "close_reason"]].to_numpy().tolist() == [[-10_000, 0, "time_expired"]]
    assert notes(result) == ["no equity is left: the account is worth 0"]
    assert "the account was worth nothing at the close of a bar" in repr(result)
    assert result.fills["quantity"].tolist() == [100.0, 100.0]


def test_what_a_ruined_account_lost_beyond_what_there_was_is_forgiven() -> None:
    """At 400 at once the short has lost 30 000."""
    result = play({0: short(20, 900, 10)}, market(dict.fromkeys(range(2, END + 11), level(400.0))))
    assert result.trades[["money", "forgiven"]].to_numpy().tolist() == [[-10_000, 20_000]]
    assert result.equity.iloc[-1] == result.account["end"] == 0.0
    assert result.account["forgiven"] == 200.0
    assert result.account["total_return"] == -100.0


def test_funding_takes_no_more_than_there_is() -> None:
    """Funding of a fifth of the value a minute: nothing is left at minute 6 at the latest."""
    costs = bknb.Costs(funding=[(ORIGIN + k * MINUTE, 0.2) for k in range(1, 20)])
    result = play({0: long(150, 50, 20), 22: long(150, 50, 5)}, market(), account=bknb.Perpetual(), costs=costs)
    row = result.trades.iloc[0]
    assert len(result.trades) == 1
    assert row["money"] == pytest.approx(-10_000)
    assert result.equity.iloc[-1] == result.account["end"] == 0.0
    assert notes(result)[0].startswith("no equity is left: the account is worth 0")


TEN = [kind(10, 0.5, "isolated") for kind in (bknb.Perpetual, bknb.Margin)]  # 100 at 100: a margin of 1 000


@pytest.mark.parametrize("account", TEN, ids=["perpetual", "margin"])
@pytest.mark.parametrize(
    ("signal", "rates", "candle", "end"),
    [
        # 9 000 + f, of 99.5 a price: f is what was paid of the margin
        (long(150, 50, 9), {2: 0.05}, (100.0, 100.0, 95.0, 100.0), ("liquidation", 9500 / 99.5, 0)),
        (long(150, 50, 9), {2: 0.02, 4: 0.03}, (100.0, 100.0, 95.0, 100.0), ("liquidation", 9500 / 99.5, 0)),
        (long(150, 50, 9), {5: 0.05}, (100.0, 100.0, 95.0, 100.0), ("liquidation", 9500 / 99.5, 0)),  # at its open
        (long(150, 50, 9), {2: 0.05}, (100.0, 100.0, 95.6, 100.0), ("time_expired", 100.0, 0)),
        (long(150, 50, 9), {6: 0.05}, (100.0, 100.0, 95.0, 100.0), ("time_expired", 100.0, 0)),
        (long(150, 50, 9), {0: 0.05}, (100.0, 100.0, 95.0, 100.0), ("time_expired", 100.0, 0)),  # not filled before it
        (long(150, 50, 9), {2: -0.05}, (100.0, 100.0, 86.0, 100.0), ("time_expired", 100.0, 0)),  # received
        (long(150, 50, 9), {2: -0.05}, (100.0, 100.0, 85.0, 100.0), ("liquidation", 8500 / 99.5, 0)),
        (short(50, 150, 9), {2: -0.05}, (100.0, 105.0, 100.0, 100.0), ("liquidation", 10_500 / 100.5, 0)),
        (short(50, 150, 9), {2: 0.05}, (100.0, 114.0, 100.0, 100.0), ("time_expired", 100.0, 0)),
        (short(50, 150, 9), {2: 0.05}, (100.0, 115.0, 100.0, 100.0), ("liquidation", 11_500 / 100.5, 0)),
        (
            long(150, 50, 9),
            {2: 0.0951},
            (100.0, 100.0, 100.0, 100.0),
            ("liquidation", 100.0, 0),
        ),  # less than 50 is left
        (long(150, 50, 9), {2: 0.2}, (100.0, 100.0, 100.0, 100.0), ("liquidation", 100.0, 1000)),  # 1 000 below nothing
        (long(150, 96, 9), {2: 0.05}, (100.0, 100.0, 95.0, 100.0), ("stop_loss", 96.0, 0)),  # is nearer
    ],
)
def test_funding_is_of_the_margin_of_an_isolated_position_and_moves_its_liquidation(
    account: Any, signal: Any, rates: Any, candle: Any, end: Any
) -> None:
    """Bar 5 is given. What is free stays as it is until the position is closed."""
    costs = bknb.Costs(funding=[(ORIGIN + k * MINUTE, rate) for k, rate in rates.items()])
    result = play({0: signal}, market({5: candle}), account=account, costs=costs, sizing="units:100")
    row = result.trades.iloc[0]
    paid = sum(rate * 10_000 for k, rate in rates.items() if 0 < k <= 5 or (end[0] == "time_expired" and k))
    sign = 1 if signal["position"] == "long" else -1
    assert (row["close_reason"], row["forgiven"]) == (end[0], pytest.approx(end[2], abs=1e-9))
    assert row["price_close"] == pytest.approx(end[1])
    assert row["funding"] == pytest.approx(sign * paid)
    assert row["money"] == pytest.approx(sign * 100 * (row["price_close"] - 100) - sign * paid + end[2])
    assert result.equity.iloc[-1] == pytest.approx(10_000 + row["money"])
    assert end[0] != "liquidation" or row["money"] >= -1000.0 - 1e-9


def test_funding_inside_a_longer_bar_moves_the_liquidation_from_its_close_on() -> None:
    """Funding of 500 at minute 7, in the bar of five minutes that opens at 5 and falls to 95, as the next one does."""
    falls = dict.fromkeys(range(5, 15), (100.0, 100.0, 95.0, 100.0))
    costs = bknb.Costs(funding=[(ORIGIN + 7 * MINUTE, 0.05)])
    given = {"account": TEN[0], "costs": costs, "sizing": "units:100", "base": "5m", "settings": FREE}
    bknb.add_strategy(
        "fives", interval="5m", get_signal=lambda ctx: long(150, 50, 25) if ctx.when_ms == ORIGIN else None
    )
    call = {"strategy": "fives", "exchange": market(falls), "frame": FRAME, "capital": 10_000}
    result = bknb.backtest("BTCUSDT", **call, **given)
    row = result.trades.iloc[0]
    assert (row["close_reason"], row["price_close"]) == ("liquidation", pytest.approx(9500 / 99.5))
    assert result.fills["at"].iloc[-1].minute == 10


def test_funding_moves_the_liquidation_of_a_whole_account_with_cross_margin() -> None:
    """1 000 at 100 with 10 000, of which 1 000 are paid: 9 000 - 100 000 + 1 000 p = 5 p at p = 91 000 / 995."""
    costs, falls = bknb.Costs(funding=[(ORIGIN + 2 * MINUTE, 0.01)]), market({5: (100.0, 100.0, 91.0, 100.0)})
    given = {"account": "perpetual:10", "sizing": "units:1000"}
    row = play({0: long(150, 50, 9)}, falls, costs=costs, **given).trades.iloc[0]
    assert (row["close_reason"], row["price_close"]) == ("liquidation", pytest.approx(91_000 / 995))
    assert play({0: long(150, 50, 9)}, falls, **given).trades["close_reason"].tolist() == ["time_expired"]
    # 50 at 100 are liquidated at no price; not so once 5 800 of 10 000 are paid: 4 200 - 5 000 + 50 p = p / 4
    more = bknb.Costs(funding=[(ORIGIN + 2 * MINUTE, 1.16)])
    deep = market({5: (100.0, 100.0, 16.0, 100.0)})
    row = play({0: long(150, 5, 9)}, deep, costs=more, account="perpetual:10", sizing="units:50").trades.iloc[0]
    assert (row["close_reason"], row["price_close"]) == ("liquidation", pytest.approx(800 / 49.75))


def test_interest_takes_no_more_than_there_is() -> None:
    """30 % of the value a minute for five minutes, which is booked when the short is closed."""
    result = play({0: short(90, 110, 5)}, market(), costs=bknb.Costs(borrow_yearly=365 * 24 * 60 * 30))
    row = result.trades.iloc[0]
    assert (round(row["borrow"]), round(row["forgiven"]), round(row["money"])) == (15_000, 5_000, -10_000)
    assert result.equity.iloc[-1] == pytest.approx(0.0, abs=1e-6)


def test_kelly_bets_on_trades_after_all_costs() -> None:
    """Both trades gain 2 % and lose 1 %; a fixed fee of 30 makes nothing of the gain: no advantage is left."""
    up, down = (100.0, 103.0, 100.0, 100.0), (100.0, 100.0, 98.0, 100.0)
    answers = {0: long(102, 99, 3), 5: long(102, 99, 3), 10: long(102, 99, 3)}
    sizing = bknb.size.Kelly(1.0, after=2, start=10)
    candles = {1: up, 6: down}
    cheap = play(answers, market(candles), sizing=sizing)
    assert cheap.trades["quantity"].round(3).tolist()[:2] == [10.0, 10.02]
    assert len(cheap.trades) == 3
    dear = play(answers, market(candles), sizing=sizing, costs=bknb.Costs(fixed=9.5))
    assert "Kelly's stake is 0 after 2 closed trades" in notes(dear)[0]


def test_figures_of_an_account_are_in_money() -> None:
    result = play({0: long(102, 90, 20)}, market({3: (100.0, 103.0, 100.0, 102.0)}), sizing="cash:1000")
    assert (result.account["start"], result.account["end"]) == (10_000.0, 10_020.0)
    assert result.account.text("end") == "10,020.00 USDT"
    assert "10,020.0000 USDT" in result.account.explain("end")
    alone = play({0: long(102, 90, 20)}, market(), capital=None)
    assert (alone.account["start"], alone.account.text("start")) == (1.0, "1.0000 x start")
    assert FREE["percent_fee"] == 0.0


def test_an_add_at_the_average_price_is_as_large_as_it_says() -> None:
    """8 at 100 leave 200. The last close is 90, the average price higher, and that is what the add pays."""
    falls = market({4: level(90.0)})
    result = play(
        {0: long(150, 50, 20)}, falls, manage={5: bknb.Add(1.0)}, capital=1000, account="spot", sizing="cash:800",
        execution="vwap",
    )  # fmt: skip
    entry, add = (result.fills.iloc[row] for row in (0, 1))
    assert add["price"] > 95.0
    assert add["share"] * entry["quantity"] == pytest.approx(add["quantity"], rel=1e-12)
    assert add["quantity"] * add["price"] == pytest.approx(200.0)
