"""Models of runs over history that an executor fits before the run: the same on one worker, on two, and here."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pandas as pd
import pytest
from test_models import noisy, source, table_of_walk, worth

import bknb
from bknb.market.fitted_models import forget_fits
from bknb.testing.clocks import SimulatedClock


def trades(ctx: Any) -> Any:
    drawn = ctx.model("m")[1]
    return bknb.Signal(position="long", target_percent=2.0, stop_percent=2.0, bars=5) if drawn > 0.5 else None


def run(get_signal: Any = trades, **options: Any) -> Any:
    forget_fits()
    given: dict[str, Any] = {"interval": "4h", "exchange": source(), "frame": ("2024-01-16", "2024-03-01")}
    return bknb.backtest("BTCUSDT", strategy=get_signal, **given | options)


def content(result: Any) -> tuple[str, str]:
    return result.trades.to_csv(), result.models.drop(columns="seconds").to_csv()


def where(ctx: Any) -> tuple[int, float]:
    return os.getpid(), float(ctx.candles("4h", 3).close[-1])


@pytest.mark.slow
def test_the_result_is_the_same_on_one_worker_on_two_and_here() -> None:
    bknb.model("m", every="mon", delay="6h")(noisy)
    here, *elsewhere = (run(executor=executor) for executor in ("inline", 1, 2))
    assert len(here.trades) > 10
    for other in elsewhere:
        assert not other.warnings
        assert content(other) == content(here)


@pytest.mark.slow
def test_workers_and_processes_have_the_settings_that_fits_read() -> None:
    bknb.model("m", every="month 10")(worth)
    bknb.set_config(percent_fee=0.3)
    said: list[float] = []

    def get_signal(ctx: Any, least: float = 0.0) -> Any:
        said.append(ctx.model("m"))
        return bknb.Signal(position="long", bars=5) if said[-1] > least else None

    frame = ("2024-01-16", "2024-01-18")
    here, elsewhere = run(get_signal, frame=frame), run(get_signal, frame=frame, executor=1)
    assert content(here) == content(elsewhere)
    strategy = bknb.add_strategy("asks", interval="4h", get_signal=get_signal)
    forget_fits()
    task = bknb.Live.background(
        "BTCUSDT", strategy=strategy, exchange=source(), clock=SimulatedClock(1_705_363_200_000),
        until="2024-01-16 08:00", store=bknb.stores.memory(),
    )  # fmt: skip
    assert task.result(timeout=60).models["fingerprint"].tolist() == here.models["fingerprint"].tolist()
    assert len(set(said)) == 1
    swept = bknb.sweep(
        strategy, params={"least": [said[0] - 0.01, said[0] + 0.01]}, symbol="BTCUSDT", exchange=source(), frame=frame,
        executor=1,
    )  # fmt: skip
    assert [count > 0 for count in swept.table.sort_values("least")["n"]] == [True, False]


@pytest.mark.slow
def test_workers_fit_what_was_not_fitted_yet_and_others_take_it() -> None:
    processes: list[int] = []

    def get_signal(ctx: Any) -> None:
        pid, close = ctx.model("m")
        processes.append(pid)
        assert close > 0

    bknb.model("m", every="mon")(where)
    result = run(get_signal, executor=2)
    assert not result.errors
    assert os.getpid() not in processes
    again = bknb.backtest(
        "BTCUSDT", strategy=get_signal, interval="4h", exchange=source(), frame=("2024-01-16", "2024-03-01"), executor=2
    )
    assert os.getpid() not in processes
    pd.testing.assert_frame_equal(again.models, result.models)  # with the seconds of the first run


def reads_a_series(ctx: Any) -> Any:
    return os.getpid(), float(ctx.series("news", 1).score[-1])


UNSENT = "what fit returned cannot be sent back (TypeError: it stays here)"


class Unsent:
    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


@pytest.mark.slow
def test_what_cannot_be_fitted_elsewhere_is_fitted_here_and_told() -> None:
    moments = pd.to_datetime(["2024-01-03", "2024-01-20"], utc=True)
    bknb.add_series("news", pd.DataFrame({"published_at": moments, "score": [1.5, 2.5]}))
    fits = {
        "series": reads_a_series,
        "unsent": lambda ctx: (os.getpid(), Unsent()),
        "raises": lambda ctx: (os.getpid(), ctx.price * 0, 1 / (ctx.price * 0)),
    }
    heard: list[int] = []

    def get_signal(ctx: Any) -> None:
        heard.extend([ctx.model(name)[0] for name in ("series", "unsent", "raises")])

    for name, fit in fits.items():
        bknb.model(name, every="month 5")(fit)
    result = run(get_signal, executor=1, frame=("2024-01-16", "2024-01-20"))
    assert not heard  # the last of the three raises
    (error,) = result.errors
    assert "fit of the model 'raises' of BTCUSDT at 2024-01-05 00:00 UTC raised ZeroDivisionError" in error.message
    assert result.models["name"].tolist() == ["series", "unsent"]
    (warning,) = result.warnings
    assert warning == f"the model 'unsent' was fitted in this process: {UNSENT}"
    forget_fits()
    bknb.model("raises", every="month 5")(lambda ctx: [0])
    run(get_signal, executor=1, frame=("2024-01-16", "2024-01-17"))
    assert heard[0] != os.getpid() == heard[1]


def test_a_strategy_that_cannot_be_sent_is_told() -> None:
    lock = __import__("threading").Lock()

    def fit(ctx: Any) -> Any:
        with lock:
            return noisy(ctx)

    bknb.model("m", every="mon")(fit)
    result = run(executor=1)
    assert len(result.trades) > 10
    (warning,) = result.warnings
    assert "models were fitted in this process: strategy 'trades' cannot be sent to a worker: TypeError" in warning


@pytest.mark.slow
def test_legs_that_share_an_account_have_their_models_fitted_by_workers() -> None:
    bknb.model("m", every="mon", shared=True)(lambda ctx: (os.getpid(), ctx.symbols))
    seen: list[Any] = []

    def get_signal(ctx: Any) -> None:
        seen.append(ctx.model("m"))

    tables = [table_of_walk(seed).assign(symbol=symbol) for seed, symbol in enumerate(["A", "B"])]
    strategy = bknb.add_strategy("asks", interval="4h", get_signal=get_signal)
    result = bknb.portfolio(
        strategies=[strategy], symbols=["A", "B"], exchange=bknb.exchanges.from_frame(pd.concat(tables), name="two"),
        frame=("2024-01-16", "2024-01-30"), capital=1_000,
        sizing=bknb.size.Percent(50), executor=2,
    )  # fmt: skip
    assert {symbols for _, symbols in seen} == {("A", "B")}
    assert os.getpid() not in {pid for pid, _ in seen}
    assert result.warnings == ["it ran in one process whatever the executor: its legs share an account"]


def test_what_is_no_executor_is_refused() -> None:
    with pytest.raises(bknb.UsageError, match="executor must be 'inline'"):
        run(executor="elsewhere")


def test_a_pool_of_the_user_fits_them() -> None:
    bknb.model("m", every="mon")(noisy)
    with ThreadPoolExecutor(2) as pool:
        assert content(run(executor=pool)) == content(run())
