"""Models with ``shared=True``: one for all symbols of a portfolio on which the strategy runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_models import source, table_of_walk

import bknb
from bknb.market.fitted_models import forget_fits
from bknb.testing.clocks import SimulatedClock

SYMBOLS = ["C", "A", "B"]
FRAME = ("2024-01-16", "2024-01-30")


def several() -> Any:
    tables = {symbol: table_of_walk(seed) for seed, symbol in enumerate(SYMBOLS)}
    return {symbol: bknb.exchanges.from_frame(table, name=symbol) for symbol, table in tables.items()}


def one_table() -> Any:
    tables = [table_of_walk(seed).assign(symbol=symbol) for seed, symbol in enumerate(SYMBOLS)]
    return bknb.exchanges.from_frame(pd.concat(tables), name="three")


def ranked(ctx: Any) -> dict[str, float]:
    """The mean return of each symbol, and a number that is drawn."""
    closes = ctx.panel(ctx.symbols, "4h", 30).close
    drawn = float(np.random.normal())  # noqa: NPY002 -- as a fit may
    return dict(zip(ctx.symbols, np.log(closes[-1] / closes[0]), strict=True)) | {"drawn": drawn}


def said(fit: Any, *, exchange: Any, **options: Any) -> tuple[dict[str, list[Any]], Any]:
    """What each symbol is told by the model, and the result of the portfolio."""
    bknb.model("m", every="mon", shared=True)(fit)
    found: dict[str, list[Any]] = {}

    def get_signal(ctx: Any) -> None:
        found.setdefault(ctx.symbol, []).append(ctx.model("m"))

    strategy = bknb.add_strategy("asks", interval="4h", get_signal=get_signal)
    given: dict[str, Any] = {"strategies": [strategy], "symbols": SYMBOLS, "frame": FRAME}
    return found, bknb.portfolio(exchange=exchange, **given | options)


def test_all_symbols_have_one_fit() -> None:
    calls: list[Any] = []

    def fit(ctx: Any) -> Any:
        calls.append((ctx.when, ctx.symbols))
        return ranked(ctx)

    exchange = one_table()
    found, result = said(fit, exchange=exchange)
    assert found["A"] == found["B"] == found["C"]
    assert len({each["drawn"] for each in found["A"]}) == 3
    assert [symbols for _, symbols in calls] == [("A", "B", "C")] * 3  # whatever the order of the legs
    first = result.legs["asks", "A"] if ("asks", "A") in result.legs else next(iter(result.legs.values()))
    assert set(first.models["symbol"]) == {"A, B, C"}
    forget_fits()
    assert said(fit, exchange=exchange, symbols=["A", "B", "C"])[0] == found
    assert len(calls) == 6
    forget_fits()
    two = said(fit, exchange=exchange, symbols=["A", "B"])[0]
    assert two["A"][0].keys() == {"A", "B", "drawn"}
    assert two["A"][0]["drawn"] != found["A"][0]["drawn"]


def test_a_run_of_one_symbol_has_that_one() -> None:
    bknb.model("m", every="mon", shared=True)(lambda ctx: (ctx.symbols, ctx.at("mon"), ctx.when, len(ctx.symbols)))
    heard: list[Any] = []
    given: dict[str, Any] = {"interval": "4h", "exchange": source(), "frame": FRAME}
    result = bknb.backtest("BTCUSDT", strategy=lambda ctx: heard.append(ctx.model("m")), **given)
    assert not result.errors, result.errors
    assert {each[0] for each in heard} == {("BTCUSDT",)}
    assert all(each[1] == each[2] for each in heard)


def test_weights_ask_a_shared_model_and_no_other() -> None:
    bknb.model("one", every="mon")(lambda ctx: 1.0)
    exchange, refused = one_table(), []

    def get_weights(ctx: Any) -> Any:
        try:
            ctx.model("one")
        except bknb.UsageError as error:
            refused.append(str(error))
        ranks = ctx.model("m")
        best = max(ctx.symbols, key=lambda symbol: ranks[symbol])
        return {symbol: float(symbol == best) for symbol in ctx.symbols}

    bknb.model("m", every="mon", shared=True)(ranked)
    strategy = bknb.weights("best", at="tue", get_weights=get_weights, symbols=SYMBOLS)
    result = bknb.portfolio(strategies=[strategy], exchange=exchange, frame=FRAME, capital=10_000)
    assert not [error for leg in result.legs.values() for error in leg.errors]
    assert len(result.trades) > 0
    assert "the model 'one' is of one\nregister it with shared=True" in refused[0]


REFUSED = {
    "symbol": (lambda ctx: ctx.symbol, "ctx.symbol is one"),
    "price": (lambda ctx: ctx.price, "ctx.price is that of one"),
    "get_symbol": (lambda ctx: ctx.get_symbol(), "ctx.symbol is one"),
    "get_average_price": (lambda ctx: ctx.get_average_price(), "ctx.price is that of one"),
    "candles": (lambda ctx: ctx.candles("4h", 3), "ctx.candles are those of one"),
    "session": (lambda ctx: ctx.session, "ctx.session is that of the market of one"),
    "indicator": (lambda ctx: ctx.indicator("sma", "4h", 3), "say of which the indicator is to be"),
    "memo": (lambda ctx: ctx.memo, "ctx.memo cannot be read while a model is fitted"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_of_one_symbol_is_refused_in_words(case: str) -> None:
    fit, text = REFUSED[case]
    _, result = said(fit, exchange=one_table(), frame=("2024-01-16", "2024-01-17"))
    errors = [error for leg in result.legs.values() for error in leg.errors]
    assert len(errors) == 3
    assert all(text in error.message for error in errors), errors[0].message


def test_symbols_of_several_exchanges_share_no_model() -> None:
    """Each leg reads other symbols from its own exchange, where another market may bear that name."""
    exchanges = several()
    with pytest.raises(bknb.UsageError, match="asks for the model 'm', which has shared=True and reads from one exch"):
        said(ranked, exchange=exchanges)
    with pytest.raises(bknb.UsageError, match=r"such as bknb\.exchanges\.joined"):
        bknb.Live.portfolio.background(
            strategies=["asks"], symbols=SYMBOLS, exchange=exchanges, store=bknb.stores.memory(),
            clock=SimulatedClock(1_705_363_200_000), until="2024-01-17",
        )  # fmt: skip
    bknb.model("m", every="mon")(lambda ctx: ctx.price)
    bknb.model("other", every="mon", shared=True)(ranked)
    result = bknb.portfolio(strategies=["asks"], symbols=SYMBOLS, frame=FRAME, exchange=exchanges)
    assert not [error for leg in result.legs.values() for error in leg.errors]


def test_an_indicator_of_a_symbol_can_be_read() -> None:
    found, result = said(lambda ctx: ctx.indicator("sma", "4h", 3, symbol="A")[-1], exchange=one_table())
    assert not [error for leg in result.legs.values() for error in leg.errors]
    assert found["A"] == found["B"]


@pytest.mark.slow
def test_a_shared_model_says_the_same_in_workers() -> None:
    exchange, sides = one_table(), {}

    def get_signal(ctx: Any) -> Any:
        best = ctx.model("m")["drawn"]
        return bknb.Signal(position="long" if best > 0 else "short", target_percent=2.0, stop_percent=2.0, bars=5)

    bknb.model("m", every="mon", shared=True)(lambda ctx: {"drawn": float(np.random.normal()), "of": ctx.symbols})  # noqa: NPY002
    strategy = bknb.add_strategy("asks", interval="4h", get_signal=get_signal)
    for workers in (None, 2):
        result = bknb.portfolio(
            strategies=[strategy], symbols=SYMBOLS, frame=FRAME, exchange=exchange, executor=workers
        )
        sides[workers] = [
            [leg.trades.to_csv(), leg.models["fingerprint"].tolist(), set(leg.models["symbol"])]
            for leg in result.legs.values()
        ]
    assert sides[None] == sides[2]
    assert sides[2][0][2] == {"A, B, C"}


def test_a_series_of_symbols_is_asked_for_one_of_them() -> None:
    """In a fit of several symbols as in ``get_weights``: whose rows they are has to be said."""
    day = pd.to_datetime(["2024-01-03"] * 3, utc=True)
    bknb.add_series("scores", pd.DataFrame({"published_at": day, "symbol": ["A", "B", "C"], "score": [1.0, 2.0, 3.0]}))
    bknb.add_series("of all", pd.DataFrame({"published_at": day[:1], "score": [4.0]}))
    heard: list[Any] = []

    def asks(ctx: Any) -> dict[str, float]:
        for ask in (ctx.series, bknb.get_series):
            heard.append([float(ask("scores", 1, symbol="B").score[0]), float(ask("of all", 1).score[0])])
            with pytest.raises(
                bknb.UsageError, match=r"'scores' has rows of symbols, and .* several symbols at once\nsay"
            ):
                ask("scores", 1)
        return {}

    said(asks, exchange=one_table())
    weights = bknb.weights("best", at="tue", get_weights=asks, symbols=SYMBOLS)
    result = bknb.portfolio(strategies=[weights], exchange=one_table(), frame=FRAME, capital=10_000)
    assert not any(leg.errors for leg in result.legs.values())
    assert heard == [[2.0, 4.0]] * 10  # of three fits, and of two questions


def test_who_is_asked_about_several_symbols_has_no_symbol_by_any_name() -> None:
    heard: list[str] = []

    async def asks() -> dict[str, float]:
        with pytest.raises(bknb.UsageError, match="asked about several symbols") as told:
            bknb.get_symbol()
        heard.append(str(told.value))
        return {}

    weights = bknb.weights("none", at="tue", get_weights=asks, symbols=SYMBOLS)
    result = bknb.portfolio(strategies=[weights], exchange=one_table(), frame=FRAME, capital=10_000)
    assert not any(leg.errors for leg in result.legs.values())
    assert len(heard) == 2
