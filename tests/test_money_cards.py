"""Run cards of runs with a capital and of portfolios: run again they are the same, and what changed is named."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.cli import main
from bknb.engine.registry import registry
from bknb.jupyter.display import numbers, portfolio_numbers
from bknb.market.candles import Candles
from bknb.provenance.card import Card
from bknb.provenance.portfolio_card import PortfolioCard, decode, read_card
from bknb.sharing.verify_notebook import compared
from bknb.testing.clocks import SimulatedClock

FRAME = "2024-01-02:2024-01-03"
SINCE = 1_704_067_200_000  # 2024-01-01
DATA = Path(__file__).parent / "data" / "card-3"
PART = 0.5


def half(request: bknb.SizeRequest) -> float:
    return request.equity * PART


def ticket(order: bknb.CostRequest) -> float:
    return 0.5 + 0.0001 * order.value


def get_signal(price: float) -> Any:
    return {"position": "long", "price_take_profit": price * 1.01, "price_stop_loss": price * 0.99}


def fewer(price: float) -> Any:
    return {"position": "short", "price_take_profit": price * 0.98, "price_stop_loss": price * 1.01}


def get_weights(ctx: Any) -> dict[str, float]:
    return dict.fromkeys(ctx.symbols, 0.4)


@pytest.fixture(autouse=True)
def registered() -> None:
    bknb.add_strategy("dips", interval="2h", get_signal=get_signal)
    bknb.add_strategy("falls", interval="4h", get_signal=fewer)


def run(**options: Any) -> Any:
    given = {"exchange": "demo", "frame": FRAME, "capital": 10_000, **options}
    return bknb.backtest("BTCUSDT", strategy=given.pop("strategy", "dips"), **given)


def portfolio_of(**options: Any) -> Any:
    legs = [("BTCUSDT", "dips"), ("ETHUSDT", "dips"), ("BTCUSDT", "falls")]
    given = {"exchange": "demo", "frame": FRAME, "legs": legs, "capital": 10_000, **options}
    return bknb.portfolio(**given)


def texts(verification: Any, *kinds: str) -> list[str]:
    return [part.text for part in verification.differences if part.kind in kinds]


def again(card: Any) -> Any:
    """The card as JSON, which a front end writes with 20.0 as 20, and back."""

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: whole(each) for name, each in value.items()}
        if isinstance(value, list):
            return [whole(each) for each in value]
        return int(value) if isinstance(value, float) and value.is_integer() else value

    return type(card).from_json(json.dumps(whole(json.loads(card.to_json()))))


FUNDING = [(SINCE + hours * 3_600_000, 0.0001 * hours) for hours in range(0, 72, 8)]
INDEX = pd.Series([100.0, 101.0, 99.0], pd.date_range("2024-01-02", periods=3, freq="8h", tz="UTC"), name="index")


# --- the same ---------------------------------------------------------------------------------------------------

RUNS: dict[str, dict[str, Any]] = {
    "by default": {},
    "a text": {"sizing": "percent:10", "account": "spot", "currency": "USDT"},
    "a function": {"sizing": half, "costs": bknb.Costs(fixed=ticket, slippage=0.02)},
    "Kelly": {"sizing": bknb.size.Kelly(0.25, after=3)},
    "ATR": {"sizing": bknb.size.AtrRisk(1, interval="4h", length=3)},
    "leverage and funding": {
        "sizing": bknb.size.Percent(150),
        "account": bknb.Perpetual(leverage=2, mode="isolated"),
        "costs": bknb.Costs(taker=0.05, maker=0.02, funding=FUNDING),
    },
    "interest": {"strategy": "falls", "costs": bknb.Costs(borrow_yearly=20), "sizing": bknb.size.Cash(500)},
    "units beside a benchmark": {"sizing": {"dips": bknb.size.Units(0.1)}, "benchmark": "SOLUSDT"},
    "beside its own symbol": {"benchmark": "BTCUSDT"},
    "no capital beside a benchmark": {"capital": None, "benchmark": "ETHUSDT"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_with_a_capital_is_the_same_to_the_last_bit(name: str) -> None:
    result = run(**RUNS[name])
    card = again(result.card)
    assert card == result.card
    assert (card.format, card.outcome.trades > 0) == (3, True)
    verification = bknb.verify(card)
    assert verification.same, verification
    assert verification.result.fills.equals(result.fills)
    assert verification.result.card.outcome == card.outcome
    assert dict(verification.result.account) == dict(result.account)


def of_weights() -> Any:
    bknb.weights("equal", symbols=["BTCUSDT", "ETHUSDT"], interval="6h", tolerance=0.001)(get_weights)
    return bknb.portfolio(strategies=["equal"], exchange="demo", frame=FRAME, name="weights")


PORTFOLIOS: dict[str, Callable[[], Any]] = {
    "without a capital": lambda: portfolio_of(capital=None),
    "by default": portfolio_of,
    "mappings": lambda: portfolio_of(
        sizing={"BTCUSDT": half, "ETHUSDT": "risk:1"},
        costs={"dips": bknb.Costs(fixed=ticket), "falls": bknb.Costs(taker=0.02)},
        benchmark="SOLUSDT",
        name="mapped",
    ),
    "beside a leg": lambda: portfolio_of(sizing="percent:30", benchmark="ETHUSDT", execution="touch"),
    "equal parts": lambda: portfolio_of(sizing="percent:30", benchmark="equal"),
    "by score": lambda: portfolio_of(sizing="percent:60", priority="score"),
    "weights": of_weights,
    "settings": lambda: portfolio_of(settings={"percent_fee": 0.02}, sizing="percent:20", account="perpetual"),
}


@pytest.mark.parametrize("name", PORTFOLIOS)
def test_a_portfolio_is_the_same_to_the_last_bit(name: str, tmp_path: Path) -> None:
    result = PORTFOLIOS[name]()
    card = again(result.card)
    assert card == result.card == PortfolioCard.load(card.save(tmp_path / "card.json"))
    verification = bknb.verify(tmp_path / "card.json")
    assert verification.same, verification
    assert verification.result.fills.equals(result.fills)
    assert verification.result.card.outcome == card.outcome
    assert [event.action for event in verification.result.events] == [event.action for event in result.events]
    assert "the same" in repr(verification)


def test_the_candles_of_a_symbol_are_once_on_the_card_of_a_portfolio() -> None:
    card = portfolio_of().card
    assert [(part.symbol, part.interval) for part in card.data] == [("BTCUSDT", "1m"), ("ETHUSDT", "1m")]
    assert [leg.data for leg in card.legs] == [(), (), ()]
    brief = card.brief()
    assert [leg.outcome.rows for leg in brief.legs] == [(), (), ()]
    assert again(brief).verify().same


def test_a_card_names_what_was_given_and_what_came_of_it() -> None:
    card = run(sizing=half, costs=bknb.Costs(fixed=ticket), account="margin:1", benchmark="SOLUSDT").card
    account = card.account
    assert (account.capital, account.currency, account.currency_given) == (10_000.0, "USDT", False)
    assert [written.name for written in account.code.functions] == ["test_money_cards.half", "test_money_cards.ticket"]
    assert account.code.values == {"PART": "0.5"}
    assert account.outcome.fills == 2 * card.outcome.trades
    assert (card.benchmark.name, card.benchmark.candles.symbol) == ("SOLUSDT", "SOLUSDT")
    report = card.report()
    for line in (
        "| Capital | 10000 USDT |",
        "| Sizing | half (a function) |",
        "| Account | Margin(leverage=1, maintenance=0.5, mode='cross') |",
        "| Costs | Costs(fixed=ticket) |",
        "| Benchmark | SOLUSDT |",
        "    return request.equity * PART",
        "* `PART` = `0.5`",
    ):
        assert line in report
    told = portfolio_of(sizing={"dips": "risk:1", "falls": half}).card.report()
    assert "| Sizing | dips: Risk(percent=1); falls: half (a function) |" in told
    assert "| falls | BTCUSDT | demo | 4h |" in told


def test_a_run_without_a_capital_has_the_card_it_had() -> None:
    card = run(capital=None).card
    assert (card.format, card.account, card.benchmark) == (2, None, None)
    assert not {"account", "benchmark"} & {*json.loads(card.to_json())["card"]}


# --- what changed is named --------------------------------------------------------------------------------------


def given_in(module: str, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> Any:
    """A function of a module, with its text, as a notebook or a file has it."""
    import linecache
    import types

    space = sys.modules.get(module) or types.ModuleType(module)
    monkeypatch.setitem(sys.modules, module, space)
    file = f"<{module} {name} {len(linecache.cache)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), space.__dict__)  # noqa: S102
    return getattr(space, name)


def test_a_changed_sizing_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    size = given_in("sizes", monkeypatch, "size", "def size(request):\n    return request.equity / 2\n")
    cards = [run(sizing=size).card, portfolio_of(sizing={"dips": size, "falls": "percent:5"}).card]
    given_in("sizes", monkeypatch, "size", "def size(request):\n    return request.equity / 4\n")
    for card in cards:
        verification = bknb.verify(card)
        assert texts(verification, "code") == [
            "line 2 of sizes.size: return request.equity / 2  ->  return request.equity / 4"
        ]
        outcome = texts(verification, "outcome")
        assert any("money" in text for text in outcome)
        assert any(text.startswith("end of the account: ") for text in outcome)
        assert texts(verification, "account", "candles", "value", "setting") == []


def test_a_changed_cost_function_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fee = given_in("fees", monkeypatch, "fee", "def fee(order):\n    return 1.0\n")
    card = run(costs=bknb.Costs(fixed=fee)).card
    given_in("fees", monkeypatch, "fee", "def fee(order):\n    return 1.5\n")
    assert texts(bknb.verify(card), "code") == ["line 2 of fees.fee: return 1.0  ->  return 1.5"]


def test_a_changed_constant_of_a_size_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    card = run(sizing=half).card
    monkeypatch.setattr(sys.modules[__name__], "PART", 0.25)
    assert texts(bknb.verify(card), "value") == ["PART: 0.5 -> 0.25"]


def test_what_is_given_in_place_of_the_card_is_named() -> None:
    card = run(sizing="risk:1", costs=bknb.Costs(taker=0.05), account="margin:2").card
    changes = {"capital": 5_000, "sizing": "risk:2", "costs": bknb.Costs(taker=0.06), "account": "perpetual:2"}
    verification, kind = bknb.verify(card, **changes), "leverage=2, maintenance=0.5, mode='cross'"
    assert texts(verification, "account") == [
        "capital: 10000 -> 5000",
        "sizing: Risk(percent=1) -> Risk(percent=2)",
        f"account: Margin({kind}) -> Perpetual({kind})",
        "costs: Costs(taker=0.05) -> Costs(taker=0.06)",
    ]
    mapped = portfolio_of(sizing={"dips": "risk:1", "falls": "risk:1"}).card
    assert texts(bknb.verify(mapped, sizing={"dips": "risk:1", "falls": "risk:3"}), "account") == [
        "sizing of falls: Risk(percent=1) -> Risk(percent=3)"
    ]


def test_a_changed_registered_size_is_named() -> None:
    bknb.add_sizing("careful", method="fixed-percentage", risk_percentage=1)
    card = run(sizing="careful").card
    assert bknb.verify(card).same
    bknb.add_sizing("careful", method="fixed-percentage", risk_percentage=2)
    (text,) = texts(bknb.verify(card), "account")
    assert "risk_percentage=1" in text.split("->")[0]
    assert "risk_percentage=2" in text.split("->")[1]


def test_changed_funding_is_named() -> None:
    perpetual = {"account": "perpetual", "sizing": "percent:50"}
    card = run(costs=bknb.Costs(funding=FUNDING), **perpetual).card
    (text,) = texts(bknb.verify(card, costs=bknb.Costs(funding=FUNDING[:-1])), "account")
    assert "funding=9 rows" in text.split("->")[0]
    assert "funding=8 rows" in text.split("->")[1]
    table = pd.DataFrame({"published_at": [at for at, _ in FUNDING], "rate": [rate for _, rate in FUNDING]})
    bknb.add_series("paid", table)
    card = run(costs=bknb.Costs(funding="paid"), **perpetual).card
    assert bknb.verify(card).same
    bknb.add_series("paid", table.assign(rate=table["rate"] * 2))
    assert texts(bknb.verify(card), "series") == ["paid: other values in its 7 rows"]


def test_a_changed_protection_is_named() -> None:
    def calm(pause: str) -> None:
        bknb.add_risk("calm", validations=[bknb.protections.cooldown(pause=pause, losses=1)])

    calm("30m")
    bknb.add_strategy("dips", interval="2h", get_signal=get_signal, risk="calm")
    cards = [run().card, portfolio_of(sizing="percent:20").card]
    calm("6h")
    for card in cards:
        (text,) = texts(bknb.verify(card), "value")
        assert text.endswith("Cooldown(pause='30m', losses=1, per='profile') -> "
                             "Cooldown(pause='6h', losses=1, per='profile')")  # fmt: skip


def test_changed_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(part: str, tolerance: float, **options: Any) -> None:
        text = f"def weigh(ctx):\n    return dict.fromkeys(ctx.symbols, {part})\n"
        weigh = given_in("weighed", monkeypatch, "weigh", text)
        bknb.weights("equal", symbols=["BTCUSDT", "ETHUSDT"], interval="6h", tolerance=tolerance, **options)(weigh)

    add("0.4", 0.01)
    card = bknb.portfolio(strategies=["equal"], exchange="demo", frame=FRAME, capital=1_000).card
    add("0.3", 0.02, reenter=True, together=True, cash_buffer_percent=5)
    verification = bknb.verify(card)
    assert texts(verification, "code") == [
        "line 2 of weighed.weigh: return dict.fromkeys(ctx.symbols, 0.4)  ->  return dict.fromkeys(ctx.symbols, 0.3)"
    ]
    assert texts(verification, "value") == [
        "cash_buffer_percent: not read -> 5",
        "reenter: not read -> True",
        "together: not read -> True",
        "tolerance of weights: 0.01 -> 0.02",
    ]


def candles_with(add: float) -> Candles:
    import asyncio

    found = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", SINCE, 3 * 1440))
    block = {name: getattr(found, name).copy() for name in ("timestamp", "open", "high", "low", "close", "volume")}
    at = int(np.searchsorted(block["timestamp"], SINCE + 1440 * 60_000 + 617 * 60_000))
    block["volume"][at] += add
    return Candles.from_columns(**block)


def source_of(second: Candles) -> Callable[..., Candles]:
    held = {"A": candles_with(0.0), "B": second}

    def get_candles(symbol: str, interval: str, since: int, limit: int) -> Candles:
        found = held[symbol]
        at = int(found.timestamp.searchsorted(since))
        return found[at : at + limit]

    return get_candles


def test_a_changed_candle_of_a_benchmark_or_a_leg_is_named() -> None:
    """A symbol that is not traded: only its benchmark reads its candles."""
    for add in (0.0, 1.0):
        bknb.add_exchange("two", get_candles=source_of(candles_with(add)))
        if not add:
            card = bknb.backtest("A", strategy="dips", exchange="two", frame=FRAME, capital=100, benchmark="B").card
            legs = bknb.portfolio(legs=[("A", "dips"), ("B", "dips")], exchange="two", frame=FRAME).card
            assert bknb.verify(card).same
    named = "B 1m (two): candle 2024-01-02 10:17 UTC is not what it was"
    assert texts(bknb.verify(card), "candles") == [f"benchmark {named}"]
    assert texts(bknb.verify(legs), "candles") == [named]


def test_a_brief_card_of_a_portfolio_has_the_days_of_its_shortest_candles() -> None:
    """Longer ones are made of them: that they differ is told, and where it is told once."""

    def asking(ctx: Any) -> Any:
        return get_signal(ctx.price) if len(ctx.candles("30m", 3)) else None

    bknb.add_strategy("asking", interval="2h", get_signal=asking)
    cards = []
    for add in (0.0, 1.0):
        bknb.add_exchange("two", get_candles=source_of(candles_with(add)), intervals=["1m"])
        cards.append(bknb.portfolio(legs=[("A", "asking"), ("B", "asking")], exchange="two", frame=FRAME).card)
    brief = cards[0].brief()
    assert [(part.symbol, part.interval, bool(part.days)) for part in brief.data] == [
        ("A", "1m", True), ("A", "30m", False), ("B", "1m", True), ("B", "30m", False)
    ]  # fmt: skip
    assert brief.diff(cards[0].brief()) == brief.diff(cards[0]) == []
    assert [part.text for part in brief.diff(cards[1]) if part.kind == "candles"] == [
        "B 1m (two): candle 2024-01-02 10:17 UTC is not what it was",
        "B 30m (two): candles are not what they were",
    ]


def test_a_benchmark_that_is_a_series_is_given_again() -> None:
    card = run(benchmark=INDEX).card
    with pytest.raises(bknb.UsageError, match="set beside the series 'index', and a run card holds no prices"):
        bknb.verify(card)
    assert bknb.verify(card, benchmark=INDEX).same
    assert texts(bknb.verify(card, benchmark=INDEX * 2), "series") == ["benchmark index: other values in its 3 rows"]
    assert texts(bknb.verify(card, benchmark="ETHUSDT"), "account") == ["benchmark: index -> ETHUSDT"]


def test_a_function_that_another_one_made_is_given_again() -> None:
    def made(part: float) -> Callable[[Any], float]:
        def size(request: Any) -> float:
            return float(request.equity * part)

        return size

    card = run(sizing=made(0.5)).card
    with pytest.raises(
        bknb.UsageError,
        match=r"no function of yours has that name here\ndefine it, or give it: bknb.verify\(card, sizing=…",
    ):
        bknb.verify(card)
    assert bknb.verify(card, sizing=made(0.5)).same
    assert texts(bknb.verify(card, sizing=made(0.4)), "value") == ["part: 0.5 -> 0.4"]
    priced = run(costs=bknb.Costs(fixed=lambda order: 1.0)).card
    with pytest.raises(bknb.UsageError, match=r"the fixed of costs of this run card is [^ü]*costs=…"):
        bknb.verify(priced)


def test_what_a_size_counts_in_a_run_is_no_difference() -> None:
    card = run(sizing=counting).card
    assert len(ASKED) > 0
    assert bknb.verify(card).same
    cards = portfolio_of(sizing=counting).card
    assert bknb.verify(cards).same


ASKED: list[int] = []


def counting(request: bknb.SizeRequest) -> float:
    ASKED.append(request.when)
    return request.equity / 10


# --- portfolios -------------------------------------------------------------------------------------------------


def test_functions_of_a_portfolio_are_given_by_the_names_on_its_card() -> None:
    def one(price: float) -> Any:
        return get_signal(price)

    def other(price: float) -> Any:
        return fewer(price)

    card = bknb.portfolio(legs=[("BTCUSDT", one), ("ETHUSDT", other)], exchange="demo", frame=FRAME).card
    with pytest.raises(bknb.UnknownName, match="no strategy is called 'one'"):
        bknb.verify(card)
    assert bknb.verify(card, strategy={"one": one, "other": other}).same
    with pytest.raises(bknb.UsageError, match="the portfolio has the strategies 'one', 'other', and strategy= is one"):
        bknb.verify(card, strategy=one)
    with pytest.raises(bknb.UsageError, match="strategy= has 'onne', and the portfolio has the strategies"):
        bknb.verify(card, strategy={"onne": one})
    with pytest.raises(bknb.UsageError, match="strategy= is a mapping, and the card is of one run"):
        bknb.verify(run().card, strategy={"dips": one})


def test_what_all_legs_have_in_common_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    card = portfolio_of(legs=[("BTCUSDT", "dips"), ("ETHUSDT", "dips"), ("SOLUSDT", "falls")]).card
    bknb.set_config(percent_fee=0.05)
    add = given_in("added", monkeypatch, "get_signal", "def get_signal(price):\n    return None\n")
    bknb.add_strategy("dips", interval="2h", get_signal=add)
    verification = bknb.verify(card)
    assert texts(verification, "setting") == ["setting percent_fee: 0.1 -> 0.05"]
    gone = "test_money_cards.get_signal is not called any more"
    assert texts(verification, "code") == [f"2 legs: {gone}", "2 legs: added.get_signal is called now"]


def test_another_priority_is_named() -> None:
    one, other = (portfolio_of(sizing="percent:60", priority=first).card for first in ("declared", "score"))
    assert [part.text for part in one.diff(other)] == ["priority: declared -> score"]


@pytest.mark.slow
def test_a_live_portfolio_has_a_card_and_is_not_repeated() -> None:
    clock = SimulatedClock(SINCE)
    call = {"exchange": "demo", "clock": clock, "until": "2024-01-01 01:00", "store": bknb.stores.memory()}
    card = bknb.Live.portfolio(legs=[("BTCUSDT", "dips"), ("ETHUSDT", "dips")], priority="score", **call).result().card
    assert (card.priority, [leg.kind for leg in card.legs]) == ("score", ["live", "live"])
    with pytest.raises(bknb.UsageError, match="a live run cannot be repeated"):
        bknb.verify(card)


def test_other_legs_are_named() -> None:
    one, other = (
        portfolio_of(),
        portfolio_of(legs=[("BTCUSDT", "falls"), ("BTCUSDT", "dips"), ("SOLUSDT", "dips")], name="third"),
    )
    assert [part.text for part in one.card.diff(other.card)][:3] == [
        "name: portfolio -> third",
        "leg dips on ETHUSDT is not there any more",
        "leg dips on SOLUSDT is new",
    ]
    turned = portfolio_of(legs=[("ETHUSDT", "dips"), ("BTCUSDT", "dips"), ("BTCUSDT", "falls")])
    assert one.card.diff(turned.card)[0].text == "its legs come in another order"


def test_a_leg_of_an_account_has_no_card_of_its_own() -> None:
    with pytest.raises(bknb.UsageError, match=r"the leg dips on ETHUSDT shared the account with others of its portfol"):
        _ = portfolio_of().leg("ETHUSDT").card


def test_one_leg_has_the_account_on_its_card_that_a_backtest_has() -> None:
    single = run(sizing="risk:1", benchmark="SOLUSDT").card
    (leg,) = (portfolio := portfolio_of(legs=[("BTCUSDT", "dips")], sizing="risk:1", benchmark="SOLUSDT").card).legs
    assert leg.outcome == single.outcome
    assert portfolio.account.outcome.fills_digest == single.account.outcome.fills_digest
    assert portfolio.account.outcome.movements_digest == single.account.outcome.movements_digest
    assert portfolio.data == single.data


# --- files ------------------------------------------------------------------------------------------------------


def page(card: Any, *, times: int = 1) -> str:
    text = card.brief().to_json()
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    element = f'<script type="application/json" id="bknb-card">{text}</script>'
    return (
        f"<!doctype html><html><head><style>p &gt; a {{}}</style>{element * times}</head><script>1 < 2</script></html>"
    )


def below(request: bknb.SizeRequest) -> float:
    """Sizes below half, & the text of it: '</script>'."""
    return request.equity / 3 if request.equity < 1e9 and "<&amp;>" else 0.0


def test_a_card_is_read_out_of_a_report(tmp_path: Path) -> None:
    for card in (run(sizing=below).card, portfolio_of(sizing=below).card):
        path = tmp_path / "report.html"
        path.write_text(page(card), encoding="utf-8")
        assert "<" not in page(card).partition("bknb-card")[2].partition("</script>")[0].partition(">")[2]
        assert read_card(path) == card.brief()
        assert bknb.verify(path).same
        (tmp_path / "report").write_text(page(card), encoding="utf-8")
        assert read_card(tmp_path / "report") == card.brief()


def test_a_report_without_one_card_is_told(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    for text, told in (
        ("<!doctype html><p>bknb-card</p>", "holds no run card"),
        (page(run().card, times=2), "holds 2 run cards"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(bknb.UsageError, match=told):
            bknb.verify(path)
    path.write_text(page(run().card).replace('"capital":10000', '"capital":20000'), encoding="utf-8")
    with pytest.raises(bknb.StateError, match="was changed after it was written"):
        bknb.verify(path)


def test_each_kind_of_card_is_read_by_its_class(tmp_path: Path) -> None:
    one, many = run().card.save(tmp_path / "one.json"), portfolio_of().card.save(tmp_path / "many.json")
    with pytest.raises(bknb.UsageError, match=r"the run card of a portfolio\nread it with bknb.PortfolioCard.load"):
        Card.load(many)
    with pytest.raises(bknb.UsageError, match=r"the run card of one run\nread it with bknb.Card.load"):
        PortfolioCard.load(one)


SCRIPT = """
import bknb

def size(request):
    return request.equity / 3

def get_signal(price):
    return {"position": "long", "price_take_profit": price * 1.01, "price_stop_loss": price * 0.99}

bknb.add_strategy("filed", interval="2h", get_signal=get_signal)
"""


def test_a_report_is_verified_from_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = tmp_path / "filed_strategies.py", tmp_path / "report.html"
    code.write_text(SCRIPT, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("filed_strategies")
    report.write_text(page(run(strategy="filed", sizing=module.size).card), encoding="utf-8")
    monkeypatch.delitem(sys.modules, "filed_strategies")
    registry.strategies.items.pop("filed")
    shell, folders = sys.modules["__main__"], [*sys.path]
    assert main(["verify", str(report)]) == 2
    assert "give the file that registers it: bknb verify" in capsys.readouterr().err
    assert main(["verify", str(report), "--code", str(code)]) == 0
    assert capsys.readouterr().out.startswith("filed on BTCUSDT: the same (")
    assert (sys.modules["__main__"], sys.path) == (shell, folders)
    monkeypatch.delitem(sys.modules, "filed_strategies")
    code.write_text(SCRIPT.replace("equity / 3", "equity / 4.0"), encoding="utf-8")
    importlib.invalidate_caches()
    assert main(["verify", str(report), "--code", str(code)]) == 1
    assert (
        "line 2 of filed_strategies.size: return request.equity / 3  ->  return request.equity / 4.0"
        in capsys.readouterr().out
    )
    code.write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.delitem(sys.modules, "filed_strategies")
    importlib.invalidate_caches()
    assert main(["verify", str(report), "--code", str(code)]) == 2
    assert f"{code}, line 1 failed: ZeroDivisionError" in capsys.readouterr().err
    assert main(["verify", str(report), "--code", str(tmp_path)]) == 2
    assert main(["verify", str(tmp_path / "x.ipynb"), "--code", str(code)]) == 2
    assert main(["verify", str(report), "--timeout", "9"]) == 2
    assert "--timeout is for the cells of a notebook" in capsys.readouterr().err


def test_a_report_of_a_script_is_verified_with_that_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = tmp_path / "story.py", tmp_path / "report.html"
    code.write_text(SCRIPT, encoding="utf-8")
    size = given_in("__main__", monkeypatch, "size", SCRIPT)
    report.write_text(page(run(strategy="filed", sizing=size).card), encoding="utf-8")
    monkeypatch.undo()
    registry.strategies.items.pop("filed")
    assert main(["verify", str(report), "--code", str(code)]) == 0, capsys.readouterr()


def test_a_script_that_ends_itself_does_not_end_the_comparison(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = tmp_path / "ends.py", tmp_path / "report.html"
    bknb.add_strategy("filed", interval="2h", get_signal=lambda price: None)
    report.write_text(page(run(strategy="filed").card), encoding="utf-8")
    code.write_text(f"{SCRIPT}\nimport sys\nsys.exit(0)\n", encoding="utf-8")
    assert main(["verify", str(report), "--code", str(code)]) == 1
    assert "filed on BTCUSDT" in capsys.readouterr().out
    code.write_text(f"{SCRIPT}\nimport sys\nsys.exit('no data')\n", encoding="utf-8")
    assert main(["verify", str(report), "--code", str(code)]) == 2
    assert f"{code} ended with exit code no data" in capsys.readouterr().err


# --- earlier ones, and notebooks --------------------------------------------------------------------------------


@pytest.fixture
def carded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module that the stored cards were made of."""
    monkeypatch.syspath_prepend(DATA)
    yield importlib.import_module("carded_money")
    sys.modules.pop("carded_money", None)


@pytest.mark.parametrize(("name", "version"), [("plain", 2), ("run", 3), ("portfolio", 3)])
def test_stored_cards_are_read_and_written_as_they_were(name: str, version: int, tmp_path: Path) -> None:
    path = DATA / f"{name}.json"
    card = read_card(path)
    assert (card.format, card.outcome.trades > 0) == (version, True)
    assert card.save(tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert decode(card.to_json().encode(), where="it") == card


@pytest.mark.parametrize("name", ["plain", "run", "portfolio"])
def test_stored_cards_are_the_same_when_they_are_run_again(name: str, carded: Any) -> None:
    carded.register()
    verification = bknb.verify(DATA / f"{name}.json")
    assert verification.same, verification


def test_a_notebook_keeps_the_cards_of_accounts_and_portfolios() -> None:
    result, several = run(sizing=half), portfolio_of(sizing="percent:10")
    kept = numbers(result)[1]["bknb"]["card"], portfolio_numbers(several)[1]["bknb"]["card"]
    assert [decode(json.dumps(card).encode(), where="it") for card in kept] == [
        result.card.brief(),
        several.card.brief(),
    ]
    assert "card" not in numbers(several.leg("ETHUSDT"))[1]["bknb"]
    before = [result.card, several.card]
    assert compared(before, before)
    told = compared(before, [several.card, several.card])
    assert [part.text for part in told.differences["result 1 (dips on BTCUSDT)"]] == ["one run -> a portfolio"]
    assert not told.differences["result 2 (portfolio on BTCUSDT, ETHUSDT)"]
