"""Models: fitted by the calendar, the same whenever a run begins, whoever asks first, and wherever it runs."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bknb
from bknb.engine.registry import registry
from bknb.market.fitted_models import forget_fits

HOUR = 3_600_000


def table_of_walk(seed: int = 1, days: int = 70) -> pd.DataFrame:
    """Hourly candles of a random walk from 2024-01-01 on."""
    rng = np.random.default_rng(seed)
    count = days * 24
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.004, count)))
    columns = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": np.ones(count)}
    times = 1_704_067_200_000 + np.arange(count) * HOUR
    return bknb.Candles.from_columns(timestamp=times, **columns).to_pandas()


def source(seed: int = 1) -> Any:
    return bknb.exchanges.from_frame(table_of_walk(seed), name=f"walk {seed}")


def run(get_signal: Any, first: str, last: str, *, exchange: Any = None, **options: Any) -> Any:
    given = {"interval": "4h", "exchange": exchange or source(), "frame": (first, last)}
    return bknb.backtest("BTCUSDT", strategy=get_signal, **given | options)


def answers(first: str, last: str = "2024-03-05", *, name: str = "m", **options: Any) -> dict[datetime, Any]:
    """What a model says at each question of a run."""
    found: dict[datetime, Any] = {}

    def get_signal(ctx: Any) -> None:
        found[ctx.when] = ctx.model(name)

    result = run(get_signal, first, last, **options)
    assert not result.errors, result.errors
    return found


def noisy(ctx: Any) -> tuple[datetime, float, float, float]:
    """A fit that draws numbers from both generators, and reads candles and the price."""
    drawn = random.random(), float(np.random.normal())  # noqa: S311, NPY002 -- as a fit may
    return ctx.when, *drawn, float(ctx.candles("4h", 20).close.mean()) + ctx.price


def test_a_model_says_the_same_whenever_a_run_begins() -> None:
    bknb.model("m", every="mon", delay="6h")(noisy)
    starts = [f"2024-01-{day:02d} {hour:02d}:00" for day, hour in zip(range(15, 25), range(0, 20, 2), strict=True)]
    whole = answers("2024-01-15", interval="1h")
    assert len({value[1] for value in whole.values()}) == 9  # a fit for each Monday
    for start in starts:
        forget_fits()
        later = answers(start, interval="1h")
        assert later
        assert all(value == whole[when] for when, value in later.items())


def test_a_fit_is_in_use_from_its_delay_on() -> None:
    @bknb.model("m", every="mon", delay="6h")
    def fit(ctx: Any) -> datetime:
        newest: int = ctx.candles("1h", 1).timestamp[-1]
        assert newest + HOUR == ctx.when_ms  # nothing behind its moment
        return ctx.when  # type: ignore[no-any-return]

    said = answers("2024-01-10", "2024-01-23")
    mondays = [datetime(2024, 1, day, tzinfo=UTC) for day in (8, 15, 22)]
    for when, of in said.items():
        assert of == max(day for day in mondays if (when - day).total_seconds() >= 6 * 3600)
    assert {of.day for of in said.values()} == {8, 15, 22}
    within = answers("2024-01-15 04:00", "2024-01-15 12:00")  # a run that begins before the delay is over
    assert [of.day for of in within.values()] == [8, 15]


def test_the_result_says_what_was_fitted() -> None:
    bknb.model("m", every="mon")(noisy)
    result = run(lambda ctx: ctx.model("m") and None, "2024-01-16", "2024-01-30")
    table = result.models
    assert table["when"].dt.day.tolist() == [15, 22, 29]
    assert table[["name", "symbol"]].drop_duplicates().to_numpy().tolist() == [["m", "BTCUSDT"]]
    assert (table["rows"] == 20).all()
    assert (table["seconds"] > 0).all()
    assert table["fingerprint"].is_unique
    assert (
        run(lambda ctx: ctx.model("m") and None, "2024-01-20", "2024-01-30").models["fingerprint"].tolist()
        == table["fingerprint"].tolist()
    )


def test_a_fit_is_shared_by_runs_over_the_same_candles_only(capsys: pytest.CaptureFixture[str]) -> None:
    def fit(ctx: Any) -> float:
        print("fitted")  # noqa: T201
        return float(ctx.candles("4h", 20).close.mean())

    bknb.model("m", every="mon")(fit)
    first = answers("2024-01-16", "2024-01-30")
    assert capsys.readouterr().out.count("fitted") == 3
    assert answers("2024-01-16", "2024-01-30") == first
    assert capsys.readouterr().out == ""  # no fit was made again
    other = answers("2024-01-16", "2024-01-30", exchange=source(2))
    assert capsys.readouterr().out.count("fitted") == 3
    assert set(other.values()).isdisjoint(first.values())
    bknb.model("m", every="mon")(lambda ctx: float(ctx.candles("4h", 20).close.max()))
    assert set(answers("2024-01-16", "2024-01-30").values()).isdisjoint(first.values())


def reads_more(ctx: Any) -> tuple[float, float, float, int]:
    """A fit that reads candles since a moment, one that is forming, a panel, and a series."""
    since = ctx.candles("1h", since="9h", forming=True).close
    panel = ctx.panel(["BTCUSDT"], "4h", 2).close
    calls.append(ctx.when_ms)
    return float(since.sum()), float(panel.sum()), float(ctx.series("news", 2).score.sum()), len(since)


calls: list[int] = []
PUBLISHED = pd.to_datetime(["2024-01-03", "2024-01-12", "2024-01-21"], utc=True)


def test_all_that_a_fit_has_read_is_compared() -> None:
    def news(last: float) -> None:
        bknb.add_series("news", pd.DataFrame({"published_at": PUBLISHED, "score": [1.0, 2.0, last]}))

    bknb.model("m", every="mon")(reads_more)
    calls.clear()
    news(3.0)
    first = answers("2024-01-16", "2024-01-30")
    assert len(calls) == 3
    assert answers("2024-01-16", "2024-01-30") == first
    assert len(calls) == 3
    news(7.0)
    other = answers("2024-01-16", "2024-01-30")
    assert len(calls) == 5  # those of the 22nd and the 29th, which know the last row
    assert [value[2] for value in dict.fromkeys(other.values())] == [3.0, 9.0, 9.0]
    assert set(answers("2024-01-16", "2024-01-30", exchange=source(2)).values()).isdisjoint(other.values())


def fewer(ctx: Any) -> int:
    try:
        return len(ctx.candles("1h", 300))
    except bknb.NotEnoughData:
        return len(ctx.candles("1h", 24))


def fewer_rows(ctx: Any) -> int:
    try:
        return len(ctx.panel(["BTCUSDT"], "1h", 300).close)
    except bknb.NotEnoughData:
        return len(ctx.panel(["BTCUSDT"], "1h", 24).close)


def young(ctx: Any) -> float:
    return float(bknb.indicator("sma", "1h", 200)(ctx)[-1])


@pytest.mark.parametrize("fit", [fewer, fewer_rows, young])
def test_a_fit_that_lacked_candles_is_not_that_of_a_run_which_has_them(fit: Any) -> None:
    table = table_of_walk()
    late = bknb.exchanges.from_frame(table.iloc[24 * 8 :], name="walk 1")  # from 9 January on
    bknb.model("m", every="mon")(fit)
    before = answers("2024-01-16", "2024-01-17", exchange=late)
    assert answers("2024-01-16", "2024-01-17", exchange=late) == pytest.approx(before, nan_ok=True)
    after = answers("2024-01-16", "2024-01-17")
    forget_fits()
    assert after == answers("2024-01-16", "2024-01-17") != before


def hour_of_zone(ctx: Any) -> tuple[datetime, Any]:
    return ctx.at("00:00"), ctx.session


def forming(ctx: Any) -> float:
    return float(bknb.indicator("sma", "1d", 2)(ctx, forming=True)[-1])


def written(ctx: Any) -> str:
    return str(ctx.format_price("BTCUSDT", 1.26))


def of_one(ctx: Any) -> float:
    return float(ctx.candles("4h", 1).close[-1])


def shared() -> None:
    bknb.model("m", every="mon 06:00 UTC", shared=True)(of_one)


def questions(**options: Any) -> Any:
    """What a model says at each question, or how it fails."""
    said: list[Any] = []

    def get_signal(ctx: Any) -> None:
        try:
            said.append(ctx.model("m"))
        except bknb.BknbError as error:
            said.append(str(error))

    run(bknb.add_strategy("asks", interval="4h", get_signal=get_signal, at=options.pop("at", None)),
        "2024-01-16", "2024-01-17", interval=None, **options)  # fmt: skip
    return said


def changed_at_dawn() -> Any:
    table = table_of_walk()
    dawn = (table.index >= "2024-01-15") & (table.index < "2024-01-15 06:00")
    table.loc[dawn, ["open", "high", "low", "close"]] *= 1.03
    return bknb.exchanges.from_frame(table, name="walk 1")


OTHER_RUNS: dict[str, tuple[Any, Any, dict[str, Any], dict[str, Any]]] = {
    "zone": (hour_of_zone, None, {"at": "04:00 Asia/Tokyo"}, {"at": "04:00 America/New_York"}),
    "hours": (hour_of_zone, None, {}, {"exchange": "hours"}),
    "forming": (forming, None, {}, {"exchange": "dawn"}),
    "tick": (written, None, {}, {"exchange": "ticks"}),
    "shared": (of_one, shared, {}, {}),
}


@pytest.mark.parametrize("case", OTHER_RUNS)
def test_a_fit_is_that_of_the_clock_and_the_market_of_its_run(case: str) -> None:
    fit, change, first, second = OTHER_RUNS[case]
    hours = bknb.exchanges.from_frame(table_of_walk(), name="walk 1", sessions="fx")
    tenths: Any = {"get_candles": source().get_candles, "format_price": lambda symbol, price: f"{price:.1f}"}
    bknb.add_exchange("ticks", intervals=("1h",), **tenths)
    exchanges: dict[str, Any] = {"hours": hours, "dawn": changed_at_dawn(), "ticks": "ticks"}
    given = second | ({"exchange": exchanges[second["exchange"]]} if "exchange" in second else {})
    bknb.model("m", every="mon 06:00 UTC")(fit)
    before = questions(**first)
    if change:
        change()
    after = questions(**given)
    forget_fits()
    assert after == questions(**given)
    assert set(map(str, after)).isdisjoint(map(str, before))


@pytest.mark.slow
def test_a_fit_that_reads_a_file_is_made_anew_by_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bknb.model("m", every="mon")(lambda ctx: Path("weights.txt").read_text())
    for executor in ("inline", 2):
        for text in ("old", "new"):
            Path("weights.txt").write_text(text)
            assert set(answers("2024-01-16", "2024-01-17", executor=executor).values()) == {text}


def worth(ctx: Any) -> float:
    """A fit that has its costs from the settings."""
    made = bknb.outcomes(ctx.candles("4h", 40), position="long", target_percent=1, stop_percent=1, bars=6)
    return float(np.nanmean(made))


@pytest.mark.slow
def test_a_fit_is_of_the_settings_it_may_read() -> None:
    bknb.model("m", every="mon")(worth)
    usual = answers("2024-01-16", "2024-01-30")
    bknb.set_config(percent_fee=0.3)
    dearer = answers("2024-01-16", "2024-01-30")
    assert all(dearer[when] < usual[when] - 0.3 for when in usual)
    bknb.set_config(percent_fee=0.1)
    assert answers("2024-01-16", "2024-01-30") == usual


def test_a_model_that_is_registered_anew_is_for_later_runs() -> None:
    said: list[Any] = []

    def get_signal(ctx: Any) -> None:
        said.append(ctx.model("m"))
        bknb.model("m", every="tue")(lambda ctx: "another")

    bknb.model("m", every="mon")(lambda ctx: "the first")
    run(get_signal, "2024-01-16", "2024-01-30")
    assert set(said) == {"the first"}
    run(get_signal, "2024-01-16", "2024-01-17")
    assert said[-1] == "another"


def test_numbers_a_strategy_draws_go_on_where_they_were() -> None:
    bknb.model("m", every="mon")(noisy)

    def drawn(*, with_model: bool) -> list[float]:
        found = []

        def get_signal(ctx: Any) -> None:
            if with_model:
                ctx.model("m")
            found.append(random.random() + float(np.random.normal()))  # noqa: S311, NPY002

        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        run(get_signal, "2024-01-16", "2024-01-30")
        return found

    assert drawn(with_model=True) == drawn(with_model=False)


OF_A_RUN = "what a run has made (ctx.closed, position, equity, strategy, exchange, frame) cannot be read"
FAULTS: dict[str, tuple[Any, str]] = {
    "raises": (
        lambda ctx: 1 / (ctx.when_ms * 0),
        "fit of the model 'm' of BTCUSDT at 2024-01-15 00:00 UTC raised ZeroDivisionError",
    ),
    "memo": (lambda ctx: ctx.memo, "ctx.memo cannot be read while a model is fitted"),
    "another": (lambda ctx: ctx.model("other"), "ctx.model('other') cannot be read while a model is fitted"),
    "trades": (lambda ctx: ctx.closed(1), OF_A_RUN),
    "position": (lambda ctx: ctx.position, OF_A_RUN),
    "frame": (lambda ctx: ctx.frame, OF_A_RUN),
    "short": (lambda ctx: ctx.candles("1h", 5000), "needs more: 5000 closed 1h candles of BTCUSDT were asked for"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fit_that_cannot_is_told_in_words_and_called_once(case: str) -> None:
    fails, said = FAULTS[case]
    calls: list[int] = []

    def fit(ctx: Any) -> Any:
        calls.append(ctx.when_ms)
        return fails(ctx)

    bknb.model("m", every="month 15")(fit)
    result = run(lambda ctx: ctx.model("m"), "2024-01-16", "2024-01-20")
    assert len(calls) == 1
    assert [each.count for each in result.errors] == [24]
    assert said in result.errors[0].message
    assert result.errors[0].kind == ("warm-up" if case == "short" else "strategy")


def test_an_unknown_model_is_told_with_the_known_ones() -> None:
    bknb.model("forest", every="mon")(noisy)
    result = run(lambda ctx: ctx.model("forrest"), "2024-01-16", "2024-01-17")
    assert "no model is called 'forrest'; did you mean 'forest'?" in result.errors[0].message


def test_a_fit_that_returns_something_to_wait_for_is_refused() -> None:
    bknb.model("m", every="mon")(lambda ctx: fit_later(ctx, 2))
    result = run(lambda ctx: ctx.model("m"), "2024-01-16", "2024-01-17")
    assert "fit must be a plain function, not async" in result.errors[0].message


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"every": "fortnight"}, "every='fortnight' is no schedule"),
        ({"every": bknb.at.series("news")}, "a model is fitted by the calendar, not when a series is published"),
        ({"every": "mon", "delay": "soon"}, "delay"),
        ({"every": "mon", "shared": 1}, "shared of a model must be True or False, got 1"),
    ],
)
def test_what_cannot_be_registered_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(bknb.UsageError) as refused:
        bknb.model("m", **options)
    assert said in str(refused.value)
    with pytest.raises(bknb.UsageError, match="a model is a function fit"):
        bknb.model("m", every="mon")(3)  # type: ignore[type-var]
    with pytest.raises(bknb.UsageError, match=r"called as fit\(ctx, when\)\nmoment and symbol are ctx"):
        bknb.model("m", every="mon")(lambda ctx, when: 1)
    with pytest.raises(bknb.UsageError, match=r"called as fit\(\)\n"):
        bknb.model("m", every="mon")(lambda: 1)
    bknb.model("m", every="mon")(lambda ctx, length=5: 1)


async def fit_later(ctx: Any, length: int = 5) -> int:
    return length


async def fit_in_parts(ctx: Any) -> Any:
    yield 1


def fit_again_and_again(ctx: Any) -> Any:
    yield 1


class FitLater:
    async def __call__(self, ctx: Any) -> int:
        return 1


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        (fit_later, "an async function: leave out async"),
        (partial(fit_later, length=3), "an async function"),
        (fit_in_parts, "an async function"),
        (FitLater(), "an async function"),
        (fit_again_and_again, "a function that yields"),
    ],
)
def test_a_fit_that_does_not_return_once_is_not_registered(fit: Any, said: str) -> None:
    with pytest.raises(bknb.UsageError, match="a model is a plain function fit") as refused:
        bknb.model("m", every="mon")(fit)
    assert said in str(refused.value)
    assert "m" not in registry.models.names()


@pytest.mark.slow
def test_a_model_says_the_same_in_workers() -> None:
    bknb.model("m", every="mon", delay="6h")(noisy)

    def get_signal(ctx: Any, above: float = 0.5) -> Any:
        if ctx.model("m")[1] > above:
            return bknb.Signal(position="long", target_percent=2.0, stop_percent=2.0, bars=5)
        return None

    made = [
        bknb.sweep(
            get_signal,
            params={"above": [0.2, 0.5, 0.8]},
            symbol="BTCUSDT",
            interval="4h",
            exchange=source(),
            frame=("2024-01-16", "2024-03-01"),
            executor=workers,
        )
        for workers in (None, 1, 2)
    ]
    for other in made[1:]:
        pd.testing.assert_frame_equal(made[0].table, other.table, check_exact=True)
    assert len(made[0].table.drop(columns="above").drop_duplicates()) > 1
