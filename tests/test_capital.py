"""Runs with a capital: sizes, money of trades, equity, and what an account refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from managed import Heard
from msgspec.structs import replace
from portfolio_worlds import plan_of
from scenarios import MINUTE, ORIGIN, Candle, long, source
from test_half_past_bars import MARKETS, bars_of

import bknb
from bknb.domain.funding_charged_and_fills_booked import Ledger
from bknb.domain.quantity_step_and_least_amount import MarketLimits
from bknb.domain.signal import key_of
from bknb.engine.account_plan import plan_account
from bknb.engine.plan import Plan, plan_backtest
from bknb.engine.shared_account import SharedAccount
from bknb.runs.account_result import account_result
from bknb.runs.measured import marked_equity
from bknb.runs.run_record import record_of

END = 30
FRAME = (ORIGIN, ORIGIN + END * MINUTE)
FLAT: Candle = (100.0, 100.0, 100.0, 100.0)
FREE = {"percent_fee": 0.0, "percent_slippage": 0.0}
MODELS = ["pessimistic", pytest.param("touch", marks=pytest.mark.slow), pytest.param("vwap", marks=pytest.mark.slow)]
COUNTS = [pytest.param(1), pytest.param(3, marks=pytest.mark.slow), pytest.param(300, marks=pytest.mark.long)]


def market(candles: Mapping[int, Candle] | None = None, *, last: int = END + 10) -> Any:
    """A flat market with some other minutes, all of which trade."""
    shown = candles or {}
    return source([(ORIGIN + k * MINUTE, *shown.get(k, FLAT), 100.0) for k in range(-60, last + 1)])


def play(
    answers: Mapping[int, Any], exchange: Any, *, manage: Mapping[int, Any] | None = None,
    seen: dict[int, Any] | None = None, **options: Any,
) -> Any:  # fmt: skip
    """A run of a strategy that answers by the minute; what ``manage`` is shown is ``seen`` by the moment (UTC ms)."""

    def get_signal(ctx: Any) -> Any:
        return answers.get(int(ctx.when_ms - ORIGIN) // MINUTE)

    def managed(ctx: Any, position: Any) -> Any:
        if seen is not None:
            seen[ctx.when_ms] = position
        return (manage or {}).get(int(ctx.when_ms - ORIGIN) // MINUTE)

    more: dict[str, Any] = {name: options.pop(name) for name in ("places", "risk") if name in options}
    if manage is not None or seen is not None:
        more |= {"manage": managed, "manage_interval": "1m"}
    bknb.add_strategy("s", interval="1m", get_signal=get_signal, **more)
    options = {"frame": FRAME, "settings": FREE, "capital": 10_000} | options
    return bknb.backtest("BTCUSDT", strategy="s", exchange=exchange, **options)


def short(take: float, stop: float, minutes: int = 10) -> dict[str, Any]:
    return long(take, stop, minutes) | {"position": "short"}


def notes(result: Any) -> list[str]:
    return [event.note for event in result.refused]


def money_run(plan: Plan, *, every_minute: bool = False, **options: Any) -> tuple[Heard, SharedAccount]:
    """A run of a plan with an account."""
    account = plan_account([plan], **{"capital": 10_000, **options})
    assert account is not None
    desk = SharedAccount(account)
    run = Heard(replace(plan, account=account), account=desk.legs[0], every_minute=every_minute)
    asyncio.run(run.through())
    return run, desk


# --- what there is for a user -----------------------------------------------------------------------------------------


def test_equity_trades_and_fills_are_money() -> None:
    """1 000 at 100 buys 10; at 102 they bring 1 020, with 0.1 % of each side: 1 and 1.02."""
    result = play(
        {0: long(102, 90, 20)},
        market({3: (100.0, 103.0, 100.0, 102.0)}),
        sizing=bknb.size.Cash(1000),
        settings=FREE | {"percent_fee": 0.1},
    )
    row = result.trades.iloc[0]
    assert (row["quantity"], row["cost"], bool(row["cut"])) == (10.0, 1000.0, False)
    assert row["money"] == pytest.approx(20 - 2.02, abs=1e-9)
    equity = result.equity.to_numpy()
    assert equity[:4] == pytest.approx([10_000, 9_999, 9_999, 9_999])
    assert equity[4:] == pytest.approx(np.full(len(equity) - 4, 10_017.98))
    assert result.capital == 10_000
    assert result.account["total_return"] == pytest.approx(0.1798)


def test_without_a_capital_there_is_no_money() -> None:
    result = play({0: long(102, 90, 20)}, market(), capital=None)
    assert result.capital is None
    assert "money" not in result.trades
    assert result.equity.iloc[0] == 1.0


@pytest.mark.parametrize(
    ("sizing", "quantity"),
    [
        (None, 100.0),
        ("percent:10", 10.0),
        (bknb.size.Risk(1), 10.0),  # 100 at risk over 10
        (bknb.size.Units(3), 3.0),
        (lambda request: request.equity / 4, 25.0),
        (lambda request: bknb.size.Units(request.free / 1000), 10.0),
        ({"BTCUSDT": "cash:500"}, 5.0),
        ({"s": bknb.size.Percent(1)}, 1.0),
    ],
)
def test_sizes_say_how_much_is_bought(sizing: Any, quantity: float) -> None:
    result = play({0: long(110, 90, 20)}, market(), sizing=sizing)
    assert result.trades["quantity"].tolist() == pytest.approx([quantity])


def test_a_registered_sizing_is_used_by_its_name() -> None:
    told: list[tuple[float, Any]] = []
    bknb.add_sizing(
        "careful",
        method="fixed-percentage",
        risk_percentage=1,
        callbacks={"on_calculate": lambda quantity, inputs: told.append((quantity, inputs))},
    )
    result = play({0: long(110, 90, 20)}, market(), sizing="careful")
    assert result.trades["quantity"].tolist() == [10.0]
    inputs = {"symbol": "BTCUSDT", "balance": 10_000.0, "price_open": 100.0, "price_stop_loss": 90.0}
    assert told == [(10.0, inputs)]


def test_the_quantity_is_the_money_over_the_price_that_is_paid() -> None:
    """Sized at the last close, 100; filled at an open of 104, on spot for no more than the cash."""
    jump = market({0: (104.0, 104.0, 104.0, 104.0)})
    half = play({0: long(120, 90, 5)}, jump, sizing=bknb.size.Cash(5200))
    assert half.trades["quantity"].tolist() == pytest.approx([50.0])
    units = play({0: long(120, 90, 5)}, jump, sizing=bknb.size.Units(99), account=bknb.Spot())
    assert units.trades[["quantity", "cut"]].to_numpy().tolist() == [[10_000 / 104, True]]


def test_average_true_range_sizes_by_closed_candles() -> None:
    wild = dict.fromkeys(range(-60, 0), (100.0, 101.0, 99.0, 100.0))
    sizing = bknb.size.AtrRisk(1, multiple=2, interval="5m", length=4)
    for given in (sizing, lambda _: sizing):
        result = play({0: long(110, 90, 5)}, market(wild), sizing=given)
        assert result.trades["quantity"].tolist() == pytest.approx([25.0])  # 100 at risk over 2 ranges of 2
    early = bknb.size.AtrRisk(1, interval="1h", length=14)
    assert notes(play({0: long(110, 90, 5)}, market(), sizing=early))[0].startswith("AtrRisk(percent=1, multiple=2.0")


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizing", "says"),
    [
        (lambda _: float("nan"), "a sizing function must answer the value of the position"),
        (lambda _: -5.0, "got -5.0; answer a finite number, 0 for none"),
        (lambda _: 1 / 0, "the sizing function raised ZeroDivisionError: division by zero"),
        (lambda _: 0.0, "the size is 0: nothing is opened"),
        (bknb.size.Risk(1), "expected price_stop_loss away from the entry, got none; declare a stop"),
    ],
)
def test_what_a_size_cannot_answer_is_refused_with_what_was_expected(sizing: Any, says: str) -> None:
    signal = {"position": "long", "price_take_profit": 110.0, "minute_estimated_time": 5}
    result = play({0: signal}, market(), sizing=sizing)
    assert len(result.trades) == 0
    assert says in notes(result)[0]
    assert result.refused[0].risk == ""
    assert result.equity.iloc[-1] == 10_000


@pytest.mark.parametrize("fails", ["entry", "exit"])
def test_costs_that_raise_are_told_before_anything_is_traded(fails: str) -> None:
    def taker(order: bknb.CostRequest) -> float:
        return 1 / 0 if order.kind == fails else 0.1

    with pytest.raises(bknb.UsageError, match=r"taker of Costs, for .* raised ZeroDivisionError: division by zero\n"):
        play({}, market(), costs=bknb.Costs(taker=taker))


@pytest.mark.parametrize("sizing", [lambda request: request.equity * 2, bknb.size.Cash(20_000), bknb.size.Units(200)])
def test_more_than_the_account_can_hold_is_scaled_to_what_is_free_and_told_once(sizing: Any) -> None:
    result = play({0: long(110, 90, 5), 10: long(110, 90, 5)}, market(), sizing=sizing)
    assert result.trades["quantity"].tolist() == [100.0, 100.0]
    told = [text for text in result.warnings if text.startswith("the sizing wanted")]
    assert result.trades[["scaled", "cut"]].to_numpy().tolist() == [[True, False]] * 2
    assert result.fills["scaled"].tolist() == [True, False] * 2
    assert len(told) == 1
    assert (
        "wanted 20,000 at 2024-01-01 00:00 UTC and the account can hold 10,000, an equity of 10,000 times 1" in told[0]
    )


def test_a_run_says_in_which_currency_its_prices_are() -> None:
    assert play({}, market()).run_record.money.currency == "USDT"
    with pytest.raises(bknb.UsageError, match="currency is 'EUR', and BTCUSDT in USDT"):
        play({}, market(), currency="EUR")
    with pytest.raises(bknb.UsageError, match="currency needs a capital"):
        play({}, market(), capital=None, currency="USDT")


@pytest.mark.parametrize(
    ("account", "costs", "says"),
    [
        (
            "spot",
            {"funding": [(ORIGIN, 0.1)]},
            "funding of Costs is paid by bknb.Perpetual.., and swaps by bknb.Margin",
        ),
        ("spot", {"borrow_yearly": 1.0}, "borrow_yearly of Costs is paid by shorts of bknb.Margin.., and the account"),
        ("perpetual", {"borrow_yearly": 1.0}, "and the account is bknb.Perpetual.."),
    ],
)
def test_costs_of_holding_that_an_account_has_none_of_are_refused(account: str, costs: Any, says: str) -> None:
    with pytest.raises(bknb.UsageError, match=says):
        play({}, market(), account=account, costs=bknb.Costs(**costs))


@pytest.mark.parametrize("account", ["spot", "margin", "perpetual", bknb.Perpetual(10, 0.5, "isolated")])
def test_an_order_whose_fixed_fee_is_above_what_is_free_is_refused(account: Any) -> None:
    result = play({0: long(110, 90, 5)}, market(), account=account, costs=bknb.Costs(fixed=20_000.0))
    assert notes(result)[0].startswith("no free ")
    assert result.equity.iloc[-1] == 10_000


def test_with_leverage_what_is_opened_has_its_costs_beside_the_margin() -> None:
    """Margin of 1 000 at 10 times with a fee of 0.1 % of 10 times its value: 990.099 and 9.901 are 1 000."""
    costs = bknb.Costs(taker=0.1, slippage=0.0)
    isolated = bknb.Perpetual(10, 0.5, "isolated")
    result = play({0: long(150, 50, 20)}, market({3: (50.0, 50.0, 50.0, 50.0)}), account=isolated,
                  sizing="percent:1000", costs=costs)  # fmt: skip
    assert result.trades["close_reason"].tolist() == ["liquidation"]
    assert result.trades["quantity"].tolist() == pytest.approx([1000 / 1.01])
    assert result.equity.iloc[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_sizing_function_is_not_async() -> None:
    async def size(_: bknb.SizeRequest) -> float:
        return 1.0

    with pytest.raises(bknb.UsageError, match="a sizing function must not be async"):
        play({}, market(), sizing=size)


def test_spot_refuses_shorts() -> None:
    result = play({0: short(90, 110, 5)}, market(), account="spot")
    assert notes(result) == ["bknb.Spot() cannot sell short; use bknb.Margin(), or answer with longs only"]


def test_a_risk_profile_is_asked_once_what_an_account_refuses_takes_no_place() -> None:
    asked: list[str] = []

    def places(request: bknb.RiskRequest) -> bool:
        asked.append(request.signal.id)
        return request.open_position_count < 1

    bknb.add_risk("one", validations=[places])
    answers = {0: short(90, 110, 5), 3: long(110, 90, 5)}
    bknb.add_strategy(
        "s", interval="1m", risk="one", get_signal=lambda ctx: answers.get((ctx.when_ms - ORIGIN) // MINUTE)
    )
    result = bknb.backtest(
        "BTCUSDT", strategy="s", exchange=market(), frame=FRAME, settings=FREE, capital=1000, account="spot"
    )
    assert len(asked) == len(result.trades) == 1
    assert [event.risk for event in result.refused] == [""]


# --- managed positions ------------------------------------------------------------------------------------------------


def test_parts_and_adds_move_cash_in_units_of_the_first_quantity() -> None:
    """10 at 100; 5 more at 100; a third of the 15 leaves at 104: 20 made; the rest at 104: 40."""
    rise = dict.fromkeys(range(6, END + 11), (104.0, 104.0, 104.0, 104.0))
    manage = {2: bknb.Add(0.5), 6: bknb.Reduce(1 / 3)}
    result = play({0: long(120, 90, 20)}, market(rise), manage=manage, sizing=bknb.size.Units(10))
    row = result.trades.iloc[0]
    assert (row["quantity"], row["cost"]) == (15.0, 1500.0)
    assert row["money"] == pytest.approx(60.0)
    assert result.equity.iloc[-1] == pytest.approx(10_060)


def test_an_add_without_cash_is_refused() -> None:
    result = play({0: long(120, 90, 20)}, market(), manage={2: bknb.Add(0.5)}, account="spot")
    assert notes(result) == ["no free cash: 5000 wanted, 0 is free; close something, or size smaller"]
    assert result.trades["quantity"].tolist() == [100.0]


def test_a_limit_reserves_its_cash_until_it_is_taken_back() -> None:
    result = play({0: long(110, 80, 5, at=95.0), 10: long(110, 90, 5)}, market(), account="spot",
                  settings=FREE | {"schedule_await_minutes": 5})  # fmt: skip
    assert result.trades["quantity"].tolist() == [100.0]
    assert len(result.cancelled) == 1


def test_an_answer_that_replaces_an_order_has_its_cash() -> None:
    replaced = [bknb.Cancel(), bknb.Signal(**long(110, 90, 5))]
    result = play({0: long(110, 80, 20, at=95.0)}, market(), manage={3: replaced}, account="spot")
    assert result.refused == []
    assert result.trades["quantity"].tolist() == [100.0]


def test_an_add_that_rests_gives_its_cash_back_when_its_position_ends() -> None:
    manage = {2: bknb.Add(1.0, price_open=95.0)}
    result = play({0: long(110, 80, 5), 10: long(110, 90, 5)}, market(), manage=manage, account="spot",
                  sizing=lambda request: request.free / 2 if request.when == ORIGIN else request.free)  # fmt: skip
    assert result.trades["quantity"].tolist() == [50.0, 100.0]


def limited(limits: MarketLimits, manage: Mapping[int, Any] | None = None) -> tuple[Any, SharedAccount]:
    """A run on a market with limits: 105 are sized at 100, and leave at minute 10."""
    signals = {0: bknb.Signal(**long(120, 90, 10))}
    bknb.add_strategy(
        "s",
        interval="1m",
        get_signal=lambda ctx: signals.get((ctx.when_ms - ORIGIN) // MINUTE),
        manage=lambda ctx: (manage or {}).get((ctx.when_ms - ORIGIN) // MINUTE),
        manage_interval="1m",
    )
    plan = plan_backtest("BTCUSDT", "s", market(), FRAME, settings=FREE)
    account = plan_account([plan], capital=10_000, sizing="cash:105")
    assert account is not None
    desk = SharedAccount(replace(account, legs=(replace(account.legs[0], limits=limits),)))
    run = Heard(plan, account=desk.legs[0])
    asyncio.run(run.through())
    return run.records, desk


def fills_of(desk: SharedAccount) -> list[Any]:
    return [fill for position in desk.legs[0].positions.values() for fill in position.fills]


def test_quantities_are_rounded_down_to_the_step_of_the_market() -> None:
    _, desk = limited(MarketLimits(step=0.1))
    assert [each.fill.order.quantity for each in fills_of(desk)] == [1.0, 1.0]


def test_an_order_below_the_least_of_the_market_is_refused() -> None:
    records, desk = limited(MarketLimits(step=0.1, least_value=200.0))
    assert [event.note for event in records.refused] == [
        "too small: 1 is worth 100, the market takes 200 at least; size it larger, or leave this symbol out"
    ]
    assert (desk.rows, desk.ledger.reserved) == ([], {})


def test_a_part_that_would_leave_too_little_closes_all() -> None:
    """0.9 of 1 would leave 0.1, worth 10 of the least 50."""
    _, desk = limited(MarketLimits(step=0.1, least_value=50.0), {3: bknb.Reduce(0.9)})
    assert [(each.fill.order.kind, each.fill.order.quantity) for each in fills_of(desk)] == [
        ("entry", 1.0), ("reduce", 1.0)
    ]  # fmt: skip


def test_a_run_with_a_capital_can_be_stepped_into() -> None:
    result = play({0: long(110, 90, 10)}, market(), manage={}, sizing="percent:10")
    assert result.at(ORIGIN).ask().event.action == "opened"
    assert result.at(ORIGIN + 3 * MINUTE).manage(lambda: bknb.Add(1.0)).accepted


# --- the same as without --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", COUNTS)
def test_an_account_that_has_enough_changes_no_event_and_loses_no_money(model: str, count: int) -> None:
    """Random managers: each event is that of the run without a capital; money is conserved at every minute."""
    for seed in range(count):
        plan = plan_of(seed, model)
        alone = Heard(plan)
        asyncio.run(alone.through())
        bknb.testing.reset()
        plan = plan_of(seed, model)
        run, desk = money_run(plan, sizing=bknb.size.Percent(0.01))
        assert run.heard == alone.heard, seed
        assert run.window is not None
        conserved(desk, run.window.minutes(plan.symbol).candles)
        money_is_what_percent_say(run, desk)
        bknb.testing.reset()


def money_of(desk: SharedAccount) -> float:
    """The money of all trades."""
    return sum(position.columns()["money"] for leg in desk.legs for position in leg.positions.values())


def conserved(desk: SharedAccount, candles: Any) -> None:
    """Cash and positions are capital, results and costs at the close of every bar; movements of cash add up."""
    begin = Ledger.begin(desk.plan.capital, desk.ledger.account, desk.ledger.accounts)
    changes, now = list(desk.changes), begin
    for t, close in zip(candles.timestamp.tolist(), candles.close.tolist(), strict=True):
        while changes and changes[0].since <= t + MINUTE:
            now = changes.pop(0).ledger
        assert abs(now.imbalance({"0": close})) < 1e-9 * desk.plan.capital
    assert desk.ledger.cash == pytest.approx(desk.plan.capital + sum(row.amount for row in desk.rows), abs=1e-9)
    assert desk.ledger.cash == pytest.approx(desk.plan.capital + money_of(desk), abs=1e-6)
    assert not desk.ledger.reserved
    assert not desk.ledger.positions


def money_is_what_percent_say(run: Heard, desk: SharedAccount) -> None:
    """The money of a position over the cost of its first fill is the result of its trade, adds and parts included."""
    positions = account_result(desk).positions[0]
    for event in run.records.closed:
        position = positions[key_of(event.signal)]
        percent = position.columns()["money"] / position.first_cost * 100
        assert percent == pytest.approx(event.pnl.pnl_percentage, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", COUNTS)
def test_all_of_the_equity_on_margin_is_the_equity_of_a_run_without_a_capital(model: str, count: int) -> None:
    """To 1e-12, where no order is made while a position leaves: its size is decided before that has left."""
    seen, seed = 0, 0
    while seen < count:
        seed += 1
        plan = plan_of(seed, model)
        alone = Heard(plan)
        asyncio.run(alone.through())
        decided = [event.signal.scheduled_at for event in alone.records.events if isinstance(event, bknb.Opened)]
        left = [event.closed_at for event in alone.records.closed]
        if alone.records.needs_capital or any(at <= end for at, end in zip(decided[1:], left, strict=False)):
            bknb.testing.reset()
            continue
        marked = marked_equity(record_of(alone))
        bknb.testing.reset()
        run, desk = money_run(plan_of(seed, model))
        in_money = marked_equity(replace(record_of(run), money=account_result(desk)))
        assert in_money.time_ms.tolist() == marked.time_ms.tolist(), seed
        assert in_money.equity == pytest.approx(marked.equity, rel=1e-12, abs=1e-12), seed
        assert in_money.after == pytest.approx(marked.after, rel=1e-12, abs=1e-12), seed
        assert in_money.put_in == pytest.approx(marked.put_in, rel=1e-12, abs=1e-12), seed
        seen += len(decided) > 0
        bknb.testing.reset()


# --- costs ------------------------------------------------------------------------------------------------------------


def test_funding_is_charged_to_what_was_filled_before_its_moment_and_not_closed_before_it() -> None:
    """1 000 held from minute 2 to the open of minute 8: moments 3, 6 and 8 count; 2 and 9 do not."""
    rows = [(ORIGIN + k * MINUTE, 0.001) for k in (0, 2, 3, 6, 8, 9, 20)]
    costs = bknb.Costs(funding=rows)
    result = play({2: long(110, 90, 6)}, market(), sizing="cash:1000", costs=costs, account=bknb.Perpetual())
    assert [((row.at - ORIGIN) // MINUTE, row.kind, row.amount) for row in result.run_record.money.rows] == [
        (3, "funding", -1.0), (6, "funding", -1.0), (8, "funding", -1.0), (8, "profit", 0.0),
    ]  # fmt: skip
    assert result.equity.iloc[[0, 2, 3, 5, 6, 8, 9, -1]].tolist() == [
        10_000, 10_000, 9_999, 9_999, 9_998, 9_997, 9_997, 9_997,
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [("rate",), ("long", "short")])
def test_funding_may_be_a_registered_series_whose_rows_count_when_they_were_published(columns: tuple[str, ...]) -> None:
    moments = pd.to_datetime([ORIGIN + k * MINUTE for k in (3, 8, 20)], unit="ms", utc=True)
    sides = {name: [0.001 if name != "short" else -0.001] * 3 for name in columns}
    bknb.add_series("paid", pd.DataFrame({"published_at": moments, **sides}), delay="5m")
    costs = bknb.Costs(funding="paid")
    result = play({2: short(90, 110, 6)}, market(), sizing="cash:1000", costs=costs, account=bknb.Perpetual())
    assert [(row.kind, row.amount) for row in result.run_record.money.rows] == [
        ("funding", 1.0), ("funding", 1.0), ("profit", 0.0)
    ]  # fmt: skip


def test_a_series_without_rates_is_no_funding() -> None:
    moments = pd.to_datetime([ORIGIN], unit="ms", utc=True)
    bknb.add_series("news", pd.DataFrame({"published_at": moments, "score": [1.0]}))
    with pytest.raises(bknb.UsageError, match="series 'news' is no funding: it has the columns published_at, score"):
        play({}, market(), costs=bknb.Costs(funding="news"))


def test_a_short_pays_interest_for_the_time_it_borrows() -> None:
    costs = bknb.Costs(borrow_yearly=365 * 24 * 60)  # 1 % of the value a minute
    result = play({2: short(90, 110, 5)}, market(), sizing="cash:1000", costs=costs)
    borrowed = [row for row in result.run_record.money.rows if row.kind == "borrow"]
    assert [((row.at - ORIGIN) // MINUTE, round(row.amount, 9)) for row in borrowed] == [(7, -50.0)]


def test_makers_pay_their_fee_and_percentages_say_what_they_leave_out() -> None:
    rise = market({3: (100.0, 103.0, 100.0, 102.0)})
    costs = bknb.Costs(taker=0.1, maker=0.0, fixed=1.0)
    result = play({0: long(102, 90, 20)}, rise, sizing="cash:1000", costs=costs)
    assert result.fills["fee"].round(9).tolist() == [2.0, 1.0]
    assert result.trades["money"].round(9).tolist() == [17.0]
    assert result.trades["pnl_percentage"].round(9).tolist() == [1.798]
    assert result.account["fees"] == pytest.approx(0.03)
    assert "fixed, maker of Costs are counted in money" in result.warnings[0]


# --- figures ----------------------------------------------------------------------------------------------------------


def test_with_a_capital_there_is_an_account_of_positions_that_were_added_to() -> None:
    rise = dict.fromkeys(range(6, END + 11), (104.0, 104.0, 104.0, 104.0))
    result = play({0: long(120, 90, 20)}, market(rise), manage={2: bknb.Add(0.5)}, sizing=bknb.size.Units(10))
    assert result.account["total_return"] == pytest.approx(0.6)
    assert result.account["turnover"] == pytest.approx((1500 + 1560) / result.equity.mean(), rel=1e-3)


def test_a_short_that_loses_more_than_there_is_leaves_nothing() -> None:
    rise = {k: (100.0 * k, 100.0 * k, 100.0 * k, 100.0 * k) for k in range(2, END + 11)}
    result = play({0: short(50, 2000, 20)}, market(rise))
    assert result.equity.iloc[3] == 0.0  # at 200
    assert result.equity.iloc[-1] == result.account["end"] == 0.0
    assert "the account was worth nothing at the close of a bar" in repr(result)


def test_the_report_says_what_the_account_began_with_and_was_worth() -> None:
    result = play({0: long(102, 90, 20)}, market({3: (100.0, 103.0, 100.0, 102.0)}), sizing="cash:1000")
    assert "capital   10,000.00 USDT; 10,020.00 at the end" in repr(result)
    assert "10,020.00 at the end" in result.report()


# --- leverage ---------------------------------------------------------------------------------------------------------

TEN = bknb.Perpetual(leverage=10, maintenance=0.5, mode="isolated")  # a long at 100 is liquidated at 90.4523


def test_leverage_holds_more_than_the_equity_for_its_margin() -> None:
    result = play({0: long(102, 95, 20)}, market({3: (100.0, 103.0, 100.0, 102.0)}), account=TEN, sizing="units:500")
    assert result.trades["money"].round(6).tolist() == [1000.0]
    refused = play({0: long(102, 95, 20)}, market(), account=TEN, sizing="units:2000")
    assert refused.trades["quantity"].round(6).tolist() == [1000.0]  # scaled to ten times the equity


LIQUIDATED = (100 - 10) / (1 - 0.005)


@pytest.mark.parametrize(
    ("candle", "signal", "reason", "price"),
    [
        ((100.0, 100.0, 91.0, 100.0), long(120, 80, 10), "time_expired", 100.0),
        ((100.0, 100.0, 89.0, 95.0), long(120, 80, 10), "liquidation", LIQUIDATED),
        ((100.0, 100.0, 79.0, 95.0), long(120, 80, 10), "liquidation", LIQUIDATED),
        ((100.0, 100.0, 79.0, 95.0), long(120, 95, 10), "stop_loss", 95.0),
        ((100.0, 130.0, 79.0, 95.0), long(120, 80, 10), "liquidation", LIQUIDATED),
        ((85.0, 85.0, 84.0, 85.0), long(120, 80, 10), "liquidation", 85.0),
        ((85.0, 130.0, 70.0, 85.0), long(120, 80, 10), "liquidation", 85.0),
        ((100.0, 111.0, 100.0, 100.0), short(80, 120, 10), "liquidation", 110 / 1.005),
    ],
)
def test_the_nearer_of_stop_and_liquidation_comes_first_and_a_gap_fills_at_its_open(
    candle: Candle, signal: Any, reason: str, price: float
) -> None:
    result = play({0: signal}, market({3: candle}), account=TEN, sizing="units:100")
    row = result.trades.iloc[0]
    assert (row["close_reason"], row["price_close"]) == (reason, pytest.approx(price))


def test_no_more_than_the_margin_is_lost_and_the_rest_is_forgiven() -> None:
    """100 units at 100 take a margin of 1 000; a bar that opens at 85 loses 1 500."""
    result = play({0: long(120, 80, 10)}, market({3: (85.0, 85.0, 84.0, 85.0)}), account=TEN, sizing="units:100")
    assert result.trades["money"].tolist() == [-1000.0]
    assert result.equity.iloc[-1] == 9000.0
    assert [(row.kind, row.amount) for row in result.run_record.money.rows] == [
        ("profit", -1500.0), ("forgiven", 500.0)
    ]  # fmt: skip
    assert result.run_record.money.end.forgiven == 500.0


@pytest.mark.parametrize(("low", "reason"), [(91.0, "time_expired"), (85.0, "liquidation")])
def test_a_limit_is_liquidated_in_the_bar_that_fills_it(low: float, reason: str) -> None:
    """A limit at 99 is liquidated at 89.5477, which a bar of 85 passes on the way to its stop at 80."""
    falls = market({3: (100.0, 100.0, low, 100.0)})
    result = play({0: long(120, 80, 10, at=99.0)}, falls, account=TEN, sizing="units:100")
    row = result.trades.iloc[0]
    assert row["close_reason"] == reason
    assert reason != "liquidation" or row["price_close"] == pytest.approx((99 - 9.9) / 0.995)


@pytest.mark.parametrize(
    ("candle", "reason"),
    [((92.0, 92.0, 91.0, 92.0), "time_expired"), ((92.0, 92.0, 89.0, 92.0), "liquidation")],
)
def test_cross_margin_of_one_leg_is_liquidated_with_the_whole_account(candle: Candle, reason: str) -> None:
    """1 000 at 100 with 10 000: 10 000 - 100 000 + 1 000 p = 5 p at p = 90 000 / 995; all of the account is lost."""
    result = play({0: long(120, 80, 10)}, market({3: candle}), account="perpetual:10", sizing="units:1000")
    row = result.trades.iloc[0]
    assert row["close_reason"] == reason
    if reason == "liquidation":
        assert row["price_close"] == pytest.approx(90_000 / 995)
        assert result.equity.iloc[-1] == pytest.approx(10_000 - 1000 * (100 - 90_000 / 995))


def test_an_add_and_a_part_move_the_liquidation_price_from_the_next_bar_on() -> None:
    """10 at 100 and 10 at 96: liquidated below 98 by a tenth and the maintenance, at 88.6432; alone at 90.4523."""
    fall = dict.fromkeys(range(2, END + 11), (96.0, 96.0, 96.0, 96.0)) | {5: (96.0, 96.0, 90.0, 96.0)}
    manage = {3: bknb.Add(1.0)}
    added = play({0: long(120, 80, 10)}, market(fall), manage=manage, account=TEN, sizing="units:10")
    assert added.trades[["quantity", "close_reason"]].to_numpy().tolist() == [[20.0, "time_expired"]]
    alone = play({0: long(120, 80, 10)}, market(fall), account=TEN, sizing="units:10")
    assert alone.trades["close_reason"].tolist() == ["liquidation"]
    lower = market(fall | {6: (96.0, 96.0, 88.0, 96.0)})
    both = play({0: long(120, 80, 10)}, lower, manage=manage, account=TEN, sizing="units:10")
    assert both.trades["price_close"].tolist() == pytest.approx([98 * 0.9 / 0.995])


# --- wrong use --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"capital": 0}, "capital must be an amount of money above 0, such as 10_000, got 0"),
        ({"capital": float("nan")}, "got nan"),
        ({"capital": "much"}, "leave it out for a run in percent"),
        ({"capital": None, "sizing": "risk:1"}, "sizing needs a capital"),
        ({"capital": None, "account": "spot", "costs": bknb.Costs()}, "account and costs need a capital"),
        ({"sizing": "risky:1"}, "sizing must be such as bknb.size.Risk(1) or 'risk:1', got 'risky:1'"),
        ({"sizing": "nobody"}, "no sizing is called 'nobody'"),
        ({"sizing": {"ETHUSDT": "risk:1"}}, "no symbol or strategy of sizing is called 'ETHUSDT'"),
        ({"costs": 0.1}, "costs must be such as bknb.Costs(taker=0.05), got 0.1"),
        ({"costs": bknb.Costs(funding="f")}, "no series is called 'f'"),
        ({"account": "bank"}, "account must be bknb.Spot()"),
    ],
)
def test_wrong_use_is_told(given: dict[str, Any], says: str) -> None:
    with pytest.raises(bknb.BknbError) as told:
        play({}, market(), **given)
    assert says in str(told.value)


def test_an_account_needs_prices_above_zero() -> None:
    rows = [(ORIGIN + k * MINUTE, *FLAT, 100.0) for k in range(-60, 41)]
    table = pd.DataFrame(rows, columns=["timestamp", "open", "high", "low", "close", "volume"])
    oil = bknb.exchanges.from_frame(table, negative=True)
    with pytest.raises(bknb.UsageError, match="an account needs prices above zero"):
        play({}, oil)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", COUNTS)
def test_every_minute_fed_gives_the_money_of_jumping(model: str, count: int) -> None:
    for seed in range(count):
        accounts: list[Any] = ["margin", bknb.Perpetual(50, 0.5, "isolated"), bknb.Margin(50, 0.5)]
        options: dict[str, Any] = {"account": accounts[seed % 3], "sizing": f"percent:{[80, 3000, 4000][seed % 3]}"}
        jumped, desk = money_run(plan_of(seed, model), **options)
        bknb.testing.reset()
        fed, every = money_run(plan_of(seed, model), every_minute=True, **options)
        assert fed.heard == jumped.heard, seed
        assert every.changes == desk.changes, seed
        bknb.testing.reset()


@pytest.mark.parametrize("name", ["new york", "mumbai", "two parts"])
def test_bars_that_count_from_an_open_are_marked_as_without_a_capital(name: str) -> None:
    bars = bars_of(MARKETS[name], 60 * MINUTE, 1)
    table = pd.DataFrame(bars, columns=["timestamp", "open", "high", "low", "close", "volume"])
    exchange = bknb.exchanges.from_frame(table, sessions=MARKETS[name].sessions)

    def get_signal(ctx: Any) -> Any:
        hour, price = ctx.when_ms // (60 * MINUTE), ctx.price
        if hour % 5:
            return None
        return long(price + 4, price - 3, 421) if hour % 2 else short(price - 4, price + 3, 421)

    bknb.add_strategy("s", interval="1h", get_signal=get_signal)
    call: dict[str, Any] = {
        "strategy": "s",
        "exchange": exchange,
        "frame": (bars[12].t, bars[-4].t),
        "allow_gaps": True,
    }
    alone, money = bknb.backtest("X", **call), bknb.backtest("X", capital=1000, **call)
    assert len(alone.trades) > 10
    assert money.equity.index.equals(alone.equity.index)
    assert money.equity.to_numpy() / 1000 == pytest.approx(alone.equity.to_numpy(), rel=1e-12)
    shared = {key: money.account[key] for key in alone.account} | {
        key: money.account[key] / 1000 for key in ("start", "end")
    }
    assert shared == pytest.approx(alone.account, rel=0.01)  # slippage of shorts is counted in money
