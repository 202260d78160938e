"""``ctx.panel``: candles of several symbols on one calendar, against a plain construction."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick import first_quick
from scenarios import MINUTE, ORIGIN
from test_live_parity import backtest_with_late_decisions, live, told

import bknb
from bknb.domain.interval import interval_ms
from bknb.exchanges import from_frame

COLUMNS = ("open", "high", "low", "close", "volume")
DAY = 86_400_000
NAMES = ("AAA", "BBB", "CCC", "DDD")
HOURS = {"AAA": "mon-fri", "BBB": "mon-sun", "CCC": "tue-sat", "DDD": "mon-fri"}

Rows = list[tuple[int, float, float, float, float, float]]


def bars(rng: np.random.Generator, times: Any) -> Rows:
    """A random walk on a coarse grid at some times."""
    rows: Rows = []
    close = float(rng.integers(50, 150))
    for t in times.tolist():
        path = close + np.cumsum(rng.integers(-1, 2, size=3)) + 0.25
        path = np.maximum(path, 20.0)
        rows.append((t, close, max(close, *path), min(close, *path), float(path[-1]), float(rng.integers(1, 9)) / 8))
        close = float(path[-1])
    return rows


def world(seed: int, base: str, count: int) -> dict[str, Rows]:
    """Symbols with holes and halts of their own; one is young, one is gone early, some keep days of their own."""
    rng, step = np.random.default_rng(seed), interval_ms(base)
    grid = ORIGIN + np.arange(-count // 2, count // 2, dtype=np.int64) * step
    found = {}
    for place, name in enumerate(NAMES[: int(rng.integers(1, 5))]):
        kept = rng.random(count) >= (0.0, 0.1, 0.3)[int(rng.integers(3))]
        halt = int(rng.integers(0, count))
        kept[halt : halt + int(rng.integers(0, count // 4))] = False
        if place and rng.random() < 0.5:
            kept[: int(rng.integers(0, count))] = False  # young
        if place and rng.random() < 0.3:
            kept[int(rng.integers(count // 2, count)) :] = False  # gone
        if place == 0:
            kept[:20] = kept[-6:] = True
        if not kept.any():
            kept[-1] = True
        found[name] = bars(rng, grid[kept])
    return found


def exchange_of(rows: dict[str, Rows], **options: Any) -> Any:
    parts = [pd.DataFrame(each, columns=["timestamp", *COLUMNS]).assign(symbol=symbol) for symbol, each in rows.items()]
    return from_frame(pd.concat(parts), **options)


def plainly(rows: dict[str, Rows], interval: str, when: int, *, how: str) -> dict[int, dict[str, tuple[float, ...]]]:
    """All rows that have closed, by time and symbol, made bar by bar."""
    step = interval_ms(interval)
    found: dict[int, dict[str, tuple[float, ...]]] = {}
    for symbol, each in rows.items():
        for t, open_, high, low, close, volume in each:
            slot = t // step * step
            if slot + step > when:
                continue
            line = found.setdefault(slot, {})
            before = line.get(symbol)
            if before is None:
                line[symbol] = (open_, high, low, close, volume)
            else:
                top, bottom = max(before[1], high), min(before[2], low)
                line[symbol] = (before[0], top, bottom, close, before[4] + volume)
    if how == "common":
        found = {slot: line for slot, line in found.items() if len(line) == len(rows)}
    return dict(sorted(found.items()))


def check(panel: Any, rows: dict[str, Rows], interval: str, limit: int, when: int, *, how: str) -> None:
    expected = dict(list(plainly(rows, interval, when, how=how).items())[-limit:])
    assert panel.symbols == tuple(rows)
    assert panel.timestamp.tolist() == list(expected)
    nothing = (np.nan,) * 5
    for place, name in enumerate(COLUMNS):
        wanted = [[line.get(symbol, nothing)[place] for symbol in rows] for line in expected.values()]
        np.testing.assert_array_equal(getattr(panel, name), np.array(wanted), err_msg=name)


def play(rows: dict[str, Rows], base: str, interval: str, limit: int, how: Any, **options: Any) -> int:
    """Compare at every question of a run; returns how many panels there were."""
    compared = 0

    def get_signal(ctx: Any) -> None:
        nonlocal compared
        expected = plainly(rows, interval, ctx.when_ms, how=how)
        if len(expected) < limit:
            with pytest.raises(bknb.NotEnoughData, match=f"{limit} rows of closed {interval} candles"):
                ctx.panel(list(rows), interval, limit, how)
            return
        check(ctx.panel(list(rows), interval, limit, how=how), rows, interval, limit, ctx.when_ms, how=how)
        compared += 1

    times = [t for t, *_ in rows["AAA"]]
    frame = (times[len(times) // 3], times[-4])
    exchange = exchange_of(rows, **options)
    result = bknb.backtest(
        "AAA", strategy=get_signal, interval=base, exchange=exchange, frame=frame, allow_gaps=not options
    )
    assert [failure.message for failure in result.errors if failure.kind != "warm-up"] == []
    return compared


BASES = {"1m": ("1m", "5m", "15m"), "1h": ("1h", "4h"), "1d": ("1d", "3d")}
CASES = [(base, interval, how) for base, some in BASES.items() for interval, how in product(some, ("union", "common"))]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "case"), [(1, CASES[3]), (2, CASES[6]), (3, CASES[9])])
def test_a_panel_is_what_a_plain_construction_gives(seed: int, case: tuple[str, str, Any]) -> None:
    base, interval, how = case
    play(world(seed, base, 90), base, interval, 5, how)


@pytest.mark.slow
@settings(max_examples=12)
@given(seed=st.integers(0, 1_000_000), case=st.sampled_from(CASES), limit=st.integers(1, 40))
def test_a_panel_is_what_a_plain_construction_gives_in_many_worlds_with_holes_and_halts(
    seed: int, case: tuple[str, str, Any], limit: int
) -> None:
    base, interval, how = case
    play(world(seed, base, 200), base, interval, limit, how)


@pytest.mark.parametrize("how", ["union", "common"])
def test_symbols_of_markets_with_other_days_stand_in_one_calendar(how: Any) -> None:
    rng = np.random.default_rng(3)
    days = ORIGIN + np.arange(120, dtype=np.int64) * DAY
    weekday = (days // DAY + 3) % 7
    rows = {"AAA": bars(rng, days[weekday < 5]), "BBB": bars(rng, days), "CCC": bars(rng, days[weekday != 2])}
    assert play(rows, "1d", "1d", 9, how) > 20


@pytest.mark.slow
def test_candles_of_declared_sessions_stand_in_one_calendar() -> None:
    rng = np.random.default_rng(5)
    week = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-11:00"})
    times = ORIGIN + np.arange(3 * 1440, dtype=np.int64) * MINUTE
    times = times[week.mask(times)]
    rows = {"AAA": bars(rng, times), "BBB": bars(rng, times[60:])}
    assert play(rows, "1m", "1h", 3, "union", sessions=week) > 30


def test_a_look_back_across_a_halt_finds_all_that_was_there_before_it() -> None:
    seen: list[Any] = []

    def get_signal(ctx: Any) -> None:
        ctx.candles("1h", 200)  # of one of them more is in memory
        panels = [ctx.panel(["AAA", "CCC"], "1h", limit) for limit in (50, 2, 60)]
        seen.append([np.isnan(panel.close).any() for panel in panels])

    halt = (ORIGIN - 110 * 60 * MINUTE, ORIGIN - 5 * 60 * MINUTE)
    rows = {
        name: [row for row in each if not halt[0] <= row[0] < halt[1]]
        for name, each in hourly(AAA=500, CCC=500).items()
    }
    assert run(get_signal, rows).errors == []
    assert seen[0] == [False] * 3


def hourly(**starts: int) -> Any:
    """Symbols whose hours begin so many hours before the frame; ``BBB`` was halted for five hours."""
    rng = np.random.default_rng(9)
    rows = {}
    for name, before in starts.items():
        times = ORIGIN + np.arange(-before, 72, dtype=np.int64) * 60 * MINUTE
        halted = (times >= ORIGIN + 30 * 60 * MINUTE) & (times < ORIGIN + 35 * 60 * MINUTE)
        rows[name] = bars(rng, times[~halted] if name == "BBB" else times)
    return rows


FRAME = (ORIGIN, ORIGIN + 60 * 60 * MINUTE)


def run(get_signal: Any, rows: Any, **options: Any) -> Any:
    given = {"interval": "1h", "exchange": exchange_of(rows), "frame": FRAME, "allow_gaps": True} | options
    return bknb.backtest("AAA", strategy=get_signal, **given)


def test_two_symbols_after_a_halt_line_up() -> None:
    rows = hourly(AAA=48, BBB=48)
    differing = []

    def get_signal(ctx: Any) -> None:
        a, b = ctx.candles("1h", 12), ctx.get_candles("BBB", "1h", 12)
        panel = ctx.panel(["AAA", "BBB"], "1h", 12)
        differing.append(int((a.timestamp != b.timestamp).sum()))
        assert panel.timestamp.tolist() == a.timestamp.tolist()
        assert np.isnan(panel.close).sum() == np.isin(a.timestamp, b.timestamp, invert=True).sum()

    result = run(get_signal, rows)
    assert result.errors == []
    assert max(differing) == 12
    told = [text for text in result.warnings if "same times" in text]
    assert len(told) == 1
    assert "ctx.panel(['AAA', 'BBB'], '1h', 12)" in told[0]


def test_windows_of_two_other_symbols_are_compared_too() -> None:
    def get_signal(ctx: Any) -> None:
        ctx.get_candles("BBB", "1h", 12)
        ctx.get_candles("CCC", "1h", 20)

    told = [
        text for text in run(get_signal, hourly(AAA=48, BBB=48, CCC=48), interval="2h").warnings if "same times" in text
    ]
    assert len(told) == 1
    assert "12 newest 1h candles of BBB and CCC" in told[0]


@pytest.mark.parametrize("case", ["same times", "another interval", "one at a time", "own not asked"])
def test_windows_that_belong_together_or_are_not_compared_are_not_told(case: str) -> None:
    def get_signal(ctx: Any) -> None:
        if case == "same times":
            ctx.candles("1h", 12), ctx.get_candles("CCC", "1h", 6)
        elif case == "another interval":
            ctx.candles("1h", 12), ctx.get_candles("BBB", "4h", 12)
        elif case == "one at a time":
            ctx.get_candles("BBB" if ctx.when.hour % 2 else "CCC", "1h", 12)
        else:
            ctx.get_candles("BBB", "1h", 12)

    result = run(get_signal, hourly(AAA=48, BBB=96, CCC=48), interval="2h")
    assert result.errors == []
    assert not [text for text in result.warnings if "same times" in text]


def test_a_young_symbol_is_nan_and_no_error() -> None:
    seen: list[Any] = []

    def get_signal(ctx: Any) -> None:
        seen.append(np.isnan(ctx.panel(["AAA", "CCC"], "1h", 5).close[:, 1]).sum())

    result = run(get_signal, hourly(AAA=48, CCC=-10))
    assert result.errors == []
    assert seen[:17] == [5] * 11 + [4, 3, 2, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("AAA", "1h", 5), "symbols must be a list of different symbols"),
        (([], "1h", 5), "symbols must be a list of different symbols"),
        ((["AAA", "AAA"], "1h", 5), "symbols must be a list of different symbols"),
        ((["AAA", 3], "1h", 5), "symbols must be a list of different symbols"),
        ((["AAA"], "7m", 5), "unknown interval '7m'"),
        ((["AAA"], "1h", 0), "limit must be"),
        ((["AAA"], "1h", 2.5), "limit must be"),
        ((["AAA"], "1h", 5, "inner"), "how must be 'union' or 'common', got 'inner'"),
        ((["AAA"], "1h", 5, ["union"]), "how must be 'union' or 'common', got ['union']"),
        ((["AAA"], ["1h"], 5), "unknown interval ['1h']"),
        ((["AAA"], "1m", 5), "1m candles cannot be made of the 1h bars"),
    ],
)
def test_what_is_no_panel_is_refused(arguments: Any, words: str) -> None:
    failed: list[str] = []

    def get_signal(ctx: Any) -> None:
        if not failed:
            with pytest.raises(bknb.UsageError) as error:
                ctx.panel(*arguments)
            failed.append(str(error.value))

    assert run(get_signal, hourly(AAA=48)).errors == []
    assert words in failed[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("union", "only 50 exist: the data of AAA begins at"),
        ("common", "there is none of CCC before that moment\nleave it out, or take how='union'"),
    ],
)
def test_too_few_rows_say_which_symbol_begins_when(how: Any, words: str) -> None:
    failed: list[str] = []

    def get_signal(ctx: Any) -> None:
        if ctx.when_ms == ORIGIN + 2 * 60 * MINUTE:
            with pytest.raises(bknb.NotEnoughData) as error:
                ctx.panel(["AAA", "CCC"], "1h", 400, how)
            failed.append(str(error.value))

    assert run(get_signal, hourly(AAA=48, CCC=-10)).errors == []
    assert words in failed[0]


def test_a_panel_cannot_be_written_to_and_leads_to_nothing_later() -> None:
    kept: list[Any] = []

    def get_signal(ctx: Any) -> None:
        panel = ctx.panel(["AAA", "BBB"], "1h", 5)
        kept.append(panel)
        for array in (panel.timestamp, panel.close):
            assert not array.flags.writeable
            base = array.base
            assert base is None or base.size == array.size

    assert run(get_signal, hourly(AAA=48, BBB=48)).errors == []
    assert repr(kept[0]) == "Panel(5 x 1h of AAA, BBB, 2023-12-31 19:00 .. 2023-12-31 23:00 UTC)"
    assert len(kept[0]) == 5


@pytest.mark.slow
def test_the_look_ahead_check_sees_what_a_panel_reads() -> None:
    def fair(ctx: Any) -> Any:
        closes = ctx.panel(["BTCUSDT", "ETHUSDT"], "1h", 6).close
        return entry(ctx) if closes[-1, 0] / closes[0, 0] > closes[-1, 1] / closes[0, 1] else None

    def peeking(ctx: Any) -> Any:
        panel = ctx.panel(["BTCUSDT", "ETHUSDT"], "1h", 6)
        closes = panel._matrix.column("close")[panel._last : panel._last + 2, 1]
        return entry(ctx) if len(closes) and closes[-1] > panel.close[-1, 1] else None

    options: Any = {"exchange": "demo", "frame": ("2024-01-01", "2024-01-03"), "interval": "1h", "moments": 5}
    report = bknb.check_lookahead(fair, "BTCUSDT", **options)
    assert report.ok, report
    assert report.looks_back == "6 x 1h of BTCUSDT, ETHUSDT"
    assert not bknb.check_lookahead(peeking, "BTCUSDT", **options).ok


def entry(ctx: Any) -> bknb.Signal:
    price = ctx.price
    return bknb.Signal(
        position="long",
        price_take_profit=price * 1.01,
        price_stop_loss=price * 0.99,
        minute_estimated_time=7,
    )


@pytest.mark.parametrize("allow_gaps", first_quick([True, False]))
def test_live_a_panel_is_that_of_a_backtest(*, allow_gaps: bool) -> None:
    rng = np.random.default_rng(4)
    times = ORIGIN + np.arange(-90, 120, dtype=np.int64) * MINUTE
    young = times[times >= ORIGIN + 21 * MINUTE]  # it begins with a candle of three minutes: a part of one is left out
    holes = np.isin(times, ORIGIN + np.array([7, 8, 31, *range(40, 64)]) * MINUTE, invert=True)
    rows = {
        "BTCUSDT": bars(rng, times),
        "ETHUSDT": bars(rng, times[holes]),
        "NEWUSDT": bars(rng, young),
    }
    seen: dict[str, dict[int, bytes]] = {"live": {}, "backtest": {}}

    def get_signal(ctx: Any) -> Any:
        panel = ctx.panel(["BTCUSDT", "ETHUSDT", "NEWUSDT"], "3m", 8)
        seen[ctx.mode][ctx.when_ms] = panel.timestamp.tobytes() + panel.close.tobytes() + panel.volume.tobytes()
        moves = panel.close[-1] / panel.close[0]
        return entry(ctx) if moves[0] > moves[1] else None

    exchange, until = exchange_of(rows), ORIGIN + 75 * MINUTE
    options: Any = {"strategy": bknb.add_strategy("pair", interval="3m", get_signal=get_signal), "exchange": exchange}
    result = live(start=ORIGIN, until=until, allow_gaps=allow_gaps, **options)
    waited = [] if allow_gaps else ["late", "late"]  # a hole is waited for, and so are questions about it
    assert [failure.kind for failure in result.errors] == waited
    backtest = backtest_with_late_decisions(result, start=ORIGIN, until=until, allow_gaps=True, **options)
    assert told(result, before=until) == told(backtest, before=until)
    assert [when for when in seen["live"] if ORIGIN + 53 * MINUTE <= when < ORIGIN + 64 * MINUTE]  # in the halt
    assert len(seen["live"]) >= (14 if waited else 12)
    assert all(found == seen["backtest"][when] for when, found in seen["live"].items() if when < until)
