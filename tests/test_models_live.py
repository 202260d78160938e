"""Models in live runs: fitted beside the run, the same as over history and after a restart, told where they lack."""

from __future__ import annotations

import os
import random
import threading
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace
from test_models import noisy, source, table_of_walk

import bknb
from bknb.errors import ModelLate
from bknb.market.fits_beside_live_run import FitsBeside
from bknb.market.fitted_models import forget_fits
from bknb.market.model_fit import Model, make_fit
from bknb.market.strategy_context import Context, reads_of
from bknb.testing.clocks import SimulatedClock

LOCK = threading.Lock()
"""What cannot be sent to another process: a fit that reads it is made in a thread."""


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def live(get_signal: Any, first: str, last: str, **options: Any) -> Any:
    strategy = bknb.add_strategy("asks", interval="4h", get_signal=get_signal)
    given: dict[str, Any] = {"exchange": source(), "store": bknb.stores.memory()}
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, clock=SimulatedClock(ms(first)), until=last, **given | options
    )
    return task.result(timeout=120)


def in_a_thread(ctx: Any) -> Any:
    with LOCK:
        return noisy(ctx)


def trades(ctx: Any) -> Any:
    """A strategy that trades by what its model has drawn."""
    drawn = ctx.model("m")[1]
    side = "long" if drawn > 0.5 else "short"
    return bknb.Signal(position=side, target_percent=2.0, stop_percent=2.0, bars=3 + int(drawn * 8))


def ends(result: Any) -> list[Any]:
    return [(each.closed_at, each.signal.id, each.pnl) for each in result.run_record.records.closed]


@pytest.mark.slow
def test_a_live_run_has_the_fits_of_a_backtest_also_after_a_restart_and_disturbs_nobody() -> None:
    bknb.model("m", every="mon", delay="6h")(noisy)
    drawn: list[float] = []

    def get_signal(ctx: Any) -> Any:
        drawn.append(random.random())  # noqa: S311 -- as others draw while a model is fitted
        return trades(ctx)

    history = bknb.backtest(
        "BTCUSDT", strategy=trades, interval="4h", exchange=source(), frame=("2024-01-19", "2024-01-31")
    )
    forget_fits()
    random.seed(3)
    store, exchange = bknb.stores.memory(), source()
    first = live(get_signal, "2024-01-19", "2024-01-24", store=store, exchange=exchange)
    forget_fits()
    second = live(get_signal, "2024-01-24", "2024-01-31", store=store, exchange=exchange)
    assert not first.errors + second.errors, first.errors + second.errors
    assert not first.warnings + second.warnings
    live_ends, wanted = ends(second), [(at, name.replace("trades-", "asks-"), pnl) for at, name, pnl in ends(history)]
    assert live_ends == wanted[: len(live_ends)]
    assert len(live_ends) > 10
    fingerprints = [*first.models["fingerprint"], *second.models["fingerprint"]]
    assert fingerprints == history.models["fingerprint"].tolist()[:2] + history.models["fingerprint"].tolist()[1:]
    expected = random.Random(3)  # noqa: S311
    assert drawn == [expected.random() for _ in drawn]


@pytest.mark.slow
def test_ten_starts_have_the_same_answers() -> None:
    said: dict[int, Any] = {}

    def get_signal(ctx: Any) -> None:
        value = ctx.model("m")
        assert said.setdefault(ctx.when_ms, value) == value

    bknb.model("m", every="mon", delay="6h")(in_a_thread)
    exchange = source()
    history = bknb.backtest(
        "BTCUSDT", strategy=get_signal, interval="4h", exchange=exchange, frame=("2024-01-14", "2024-01-31")
    )
    assert not history.errors
    for day in range(14, 24):
        forget_fits()
        result = live(get_signal, f"2024-01-{day} {day % 7:02d}:00", f"2024-01-{day + 3}", exchange=exchange)
        assert not result.errors, result.errors
        assert len(result.models) in (1, 2)
        (warning,) = result.warnings
        assert "the model 'm' is fitted in a thread of this process, as it cannot be sent to another one" in warning


def test_a_question_passes_where_its_model_is_not_there_and_later_ones_do_not_wait() -> None:
    release, asked, answers = threading.Event(), [], []

    def fit(ctx: Any) -> str:
        with LOCK:
            assert release.wait(60)
        return "fitted"

    def get_signal(ctx: Any) -> None:
        asked.append(ctx.when_ms)
        while len(asked) == 6:
            release.set()
            try:
                answers.append(ctx.model("m"))
            except ModelLate:
                continue
            break
        answers.append(ctx.model("m"))

    bknb.model("m", every="mon")(fit)
    result = live(get_signal, "2024-01-16", "2024-01-18", settings={"max_signal_generation_seconds": 1})
    (late,) = result.errors
    assert (late.kind, late.count) == ("model_late", 5)
    assert "the model 'm' of BTCUSDT at 2024-01-15 00:00 UTC is not fitted yet, 0 s after its fit began" in late.message
    assert "give the model a longer delay=" in late.message
    assert len(asked) > 6
    assert answers == ["fitted"] * (len(asked) - 4)


class Unsent:
    """An object that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


def reads(ctx: Any) -> Any:
    """Something of all that there is."""
    panel = ctx.panel(["A", "B"], "4h", 3).close.sum(axis=1).tolist()
    of_clock = ctx.session.minutes, ctx.at("mon"), ctx.get_average_price("A")
    since = ctx.candles("4h", since="24h").close.tolist()
    averages = [float(ctx.indicator("ema", "4h", length)[-1]) for length in (5, 50)]  # the candles are too few for one
    written = ctx.format_price("A", 1.2345678901), ctx.format_quantity("A", 0.1)
    return panel, repr(averages), float(ctx.series("news", 1).score[-1]), of_clock, since, written


def raises(ctx: Any) -> Any:
    return 1 / (ctx.price * 0)


def dies(ctx: Any) -> Any:
    os._exit(3)


def stays(ctx: Any) -> Any:
    return Unsent()


FITS = {each.__name__: each for each in (reads, raises, dies, stays)}


@pytest.mark.slow
def test_what_a_fit_reads_comes_to_its_process_and_what_fails_there_is_told() -> None:
    moments = pd.to_datetime(["2024-01-03", "2024-01-20"], utc=True)
    published = pd.DataFrame({"published_at": moments, "score": [1.5, 2.5]})
    bknb.add_series("news", published)
    tables = [table_of_walk(seed).assign(symbol=symbol) for seed, symbol in enumerate(["A", "B", "BTCUSDT"])]
    exchange = bknb.exchanges.from_frame(pd.concat(tables), name="three")
    for name, fit in FITS.items():
        bknb.model(name, every="mon")(fit)
    heard: dict[str, Any] = {}

    def get_signal(ctx: Any) -> None:
        for name in FITS:
            try:
                value = ctx.model(name)
            except bknb.BknbError as error:
                value = str(error)
            heard.setdefault(name, value)

    run: dict[str, Any] = {"exchange": exchange}
    result = live(get_signal, "2024-01-16", "2024-01-16 04:00", **run)
    assert not result.errors, result.errors
    there = heard.copy()
    heard.clear()
    forget_fits()
    del FITS["dies"]
    bknb.backtest("BTCUSDT", strategy=get_signal, interval="4h", frame=("2024-01-16", "2024-01-16 04:00"), **run)
    assert there.pop("dies") == "the model 'dies' of BTCUSDT was not fitted: its process died"
    assert isinstance(there.pop("stays"), Unsent)
    assert isinstance(heard.pop("stays"), Unsent)
    assert there == heard
    assert isinstance(there["reads"], tuple), there["reads"]
    assert "raised ZeroDivisionError: float division by zero" in there["raises"]
    of_series, warning = result.warnings
    assert "series 'news' is a table" in of_series
    assert "the model 'stays' is fitted in a thread of this process" in warning
    assert "what fit returned: TypeError: it stays here" in warning


@pytest.mark.slow
def test_a_portfolio_shares_a_model_live_as_over_history() -> None:
    said: dict[tuple[str, int], Any] = {}

    def get_signal(ctx: Any) -> None:
        assert said.setdefault((ctx.symbol, ctx.when_ms), ctx.model("m")) == ctx.model("m")

    def fit(ctx: Any) -> Any:
        return ctx.symbols, float(ctx.panel(ctx.symbols, "4h", 5).close.sum()), random.random()  # noqa: S311

    bknb.model("m", every="mon", shared=True)(fit)
    tables = [table_of_walk(seed).assign(symbol=symbol) for seed, symbol in enumerate(["A", "B"])]
    exchange = bknb.exchanges.from_frame(pd.concat(tables), name="two")
    strategy = bknb.add_strategy("asks", interval="4h", get_signal=get_signal)
    legs: dict[str, Any] = {"strategies": [strategy], "symbols": ["B", "A"], "exchange": exchange}
    history = bknb.portfolio(frame=("2024-01-16", "2024-01-17"), **legs)
    forget_fits()
    task = bknb.Live.portfolio.background(
        clock=SimulatedClock(ms("2024-01-16")), until="2024-01-17", store=bknb.stores.memory(), **legs
    )
    result = task.result(timeout=60)
    for leg in (*history.legs.values(), *result.legs.values()):
        assert not leg.errors, leg.errors
        assert not leg.warnings, leg.warnings
        assert leg.models["symbol"].tolist() == ["A, B"]
    assert {value[0] for value in said.values()} == {("A", "B")}


def test_a_fit_that_failed_is_tried_again_after_a_pause() -> None:
    (context,), tries = asked_with(), []

    def make(model: Model, code: str, moment: int, context: Any) -> Any:
        tries.append(moment)
        if len(tries) == 1:
            raise OSError("no answer")
        if len(tries) == 2:
            return make_fit(replace(model, fit=raises), code, moment, context)
        return make_fit(model, code, moment, context)

    model = Model(name="m", fit=noisy, every=bknb.at.month(), delay_ms=0, code=lambda: "code")
    patient, hasty = (FitsBeside({"m": model}, make=make, pause_seconds=pause) for pause in (60.0, 0.0))
    for _ in range(3):
        found = patient.made(model, "code", ms("2024-01-15"), context)
        assert found.kind is bknb.StrategyError
        assert found.text == "OSError: no answer"
    assert len(tries) == 1
    assert "raised ZeroDivisionError" in hasty.made(model, "code", ms("2024-01-15"), context).text
    fitted = hasty.made(model, "code", ms("2024-01-15"), context)
    assert (fitted.about.name, len(tries)) == ("m", 3)
    assert hasty.made(model, "code", ms("2024-01-15"), context) is fitted


def goes_on(ctx: Any) -> int:
    try:
        return len(ctx.candles("4h", 3))
    except bknb.NotEnoughData:
        return 0


def goes_on_with_a_price(ctx: Any) -> float:
    try:
        return float(ctx.price)
    except bknb.NotEnoughData:
        return 0.0


def goes_on_with_a_panel(ctx: Any) -> int:
    try:
        return len(ctx.panel(["BTCUSDT"], "4h", 3).timestamp)
    except bknb.NotEnoughData as error:
        raise ValueError("no panel") from error


@pytest.mark.parametrize("fit", [goes_on, goes_on_with_a_price, goes_on_with_a_panel])
def test_a_fit_does_not_go_on_without_a_candle_that_is_late(monkeypatch: pytest.MonkeyPatch, fit: Any) -> None:
    (context,), waits = asked_with(), [True]
    newest, average, sources = reads_of(context)

    def when_here(function: Any) -> Any:
        def asked(*given: Any) -> Any:
            if waits:
                raise bknb.NotEnoughData("it comes within a second", late=True)
            return function(*given)

        return asked

    monkeypatch.setattr(sources.window, "panel", when_here(sources.window.panel))
    asks = Context("BTCUSDT", context.when_ms, context.mode, when_here(newest), when_here(average), sources)
    model = Model(name="m", fit=fit, every=bknb.at.month(), delay_ms=0, code=lambda: "code")
    with pytest.raises(bknb.NotEnoughData, match="within a second"):
        make_fit(model, "code", ms("2024-01-15"), asks)
    waits.clear()
    assert make_fit(model, "code", ms("2024-01-15"), asks).value > 0


def asked_with() -> list[Any]:
    """The contexts of the questions of a short run."""
    seen: list[Any] = []
    bknb.backtest(
        "BTCUSDT", strategy=lambda ctx: seen.extend([ctx]), interval="4h", exchange=source(),
        frame=("2024-01-16", "2024-01-16 04:00"),
    )  # fmt: skip
    return seen


def test_a_run_that_is_over_waits_for_no_fit() -> None:
    begun, release = threading.Event(), threading.Event()

    def make(*_: Any) -> Any:
        begun.set()
        release.wait(60)

    seen = asked_with()
    model = Model(name="m", fit=noisy, every=bknb.at.month(), delay_ms=0, code=lambda: "code")
    beside = FitsBeside({"m": model}, make=make)
    beside.begin(seen[0])
    assert begun.wait(60)
    beside.end()
    with pytest.raises(ModelLate):
        beside.made(model, "code", ms("2024-01-01"), seen[0])
    release.set()


def test_without_models_at_its_beginning_a_live_run_says_so() -> None:
    def get_signal(ctx: Any) -> None:
        bknb.model("m", every="mon")(noisy)
        ctx.model("m")

    (error,) = live(get_signal, "2024-01-16", "2024-01-16 05:00").errors
    assert "ctx.model('m'): no model was registered when this live run began" in error.message
