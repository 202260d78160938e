"""The ledger of tries: what counts as one, across names, frames, exchanges and processes, and what happens without."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import bknb
from bknb.market.candle_fingerprint import data_hash
from bknb.research.tries_ledger import Span, Tries, TriesLedger
from bknb.runs.tries import keep_in

WEEK = ("2024-01-01", "2024-01-08")
RUN = {"exchange": "demo", "interval": "1h"}


def bracket(up):
    def get_signal(price):
        return bknb.Signal(
            position="long",
            price_take_profit=price * up,
            price_stop_loss=price * 0.99,
            minute_estimated_time=240,
        )

    return get_signal


def tried(strategy, frame=WEEK, symbol="BTCUSDT", **options):
    return bknb.backtest(symbol, strategy=strategy, frame=frame, **RUN | options).tries


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path) -> Path:
    """The ledger of a test."""
    path = tmp_path / "state" / "tries.jsonl"
    keep_in(path)
    return path


def test_each_strategy_counts_once_whatever_it_is_called(ledger):
    assert tried(bracket(1.02)).line == "the first strategy tried on these data"
    assert tried(bracket(1.03)).line == "the 2nd strategy tried on these data"
    bknb.add_strategy("another name", interval="1h", get_signal=bracket(1.02))
    again = tried("another name", interval=None)
    assert (again.number, again.count) == (1, 2)
    assert again.line == "the 1st of 2 strategies tried on these data"
    assert len(ledger.read_bytes().splitlines()) == 2  # what was known is not written again


def first_name(price, up=1.02):
    return half(price, up)


def renamed(price, up=1.02):  # the same
    """Enter, always."""
    return half(price, up)


def changed(price, up=1.02):
    return half(price, up * 1.01)


def other_default(price, up=1.03):
    return half(price, up)


def half(price, up):
    """Half a bracket."""
    return bracket(up)(price)


@pytest.mark.slow
def test_another_name_of_the_function_docstring_or_comment_is_the_same_strategy():
    assert [tried(each).count for each in (first_name, renamed, changed, other_default)] == [1, 1, 2, 3]
    found = [
        bknb.sweep(each, params={"up": [1.04, 1.05]}, symbol="BTCUSDT", frame=WEEK, **RUN).trials
        for each in (first_name, renamed)
    ]
    assert found == [5, 5]
    walks = [
        bknb.walk_forward(
            each, {"up": [1.02]}, frame=WEEK, train="3d", test="2d", metric="total_pnl", **RUN
        ).tries.count
        for each in (first_name, renamed)
    ]
    assert walks == [6, 6]


def test_parameters_make_another_strategy():
    def get_signal(price, up=1.02):
        return None

    bknb.add_strategy("p", interval="1h", get_signal=get_signal, params={"up": 1.02})
    bknb.add_strategy("q", interval="1h", get_signal=get_signal, params={"up": 1.03})
    assert [tried(name, interval=None).count for name in ("p", "q", "p")] == [1, 2, 2]


def test_a_parameter_given_as_its_default_is_no_other_try():
    def get_signals(candles, up=2, down=1.0):
        return {
            "position": 0,
            "price_take_profit": candles.close * up,
            "price_stop_loss": np.nan,
            "minute_estimated_time": 60,
        }

    def manage(position, down=3.0):
        return None

    bknb.add_strategy("rows", interval="1h", get_signals=get_signals)
    given = [{}, {"up": 2}, {"up": 2, "down": 1.0}, {"up": 2.0}, {"down": 1.5}, {"up": 2, "down": 1.5}]
    assert [tried("rows", interval=None, params=each).count for each in given] == [1, 1, 1, 2, 3, 3]
    run = {"strategy": "rows", "symbol": "BTCUSDT", "frame": WEEK, "exchange": "demo"}
    bknb.sweep(params={"up": [2, 3], "down": [1.0, 1.5]}, **run)
    sliders = bknb.interact(values={"up": [2, 3]}, **run)
    assert (sliders.params, sliders.shown.tries.count) == ({"up": 2}, 5)

    bknb.add_strategy("managed", interval="1h", get_signals=get_signals, manage=manage, manage_interval="1h")
    counts = [tried("managed", interval=None, params=each).count for each in ({}, {"up": 2}, {"down": 1.0})]
    assert counts == [6, 6, 7]  # in `manage` the default of `down` is another one


@pytest.mark.slow
def test_overlapping_frames_share_their_data_and_others_do_not():
    assert tried(bracket(1.02)).count == 1
    assert tried(bracket(1.03), ("2024-01-05", "2024-01-12")).count == 2
    assert tried(bracket(1.04), ("2024-02-05", "2024-02-12")).count == 1
    assert tried(bracket(1.05), symbol="ETHUSDT").count == 1
    # 1.03 was also a try on the days that a third frame shares with the second alone
    assert tried(bracket(1.06), ("2024-01-09", "2024-01-14")).count == 2
    # and 1.02, known on the first week, becomes one on the days it had not seen
    assert tried(bracket(1.02), ("2024-01-05", "2024-01-12")).count == 3
    assert tried(bracket(1.06), ("2024-01-09", "2024-01-14")).count == 3


def test_the_same_candles_under_another_exchange_are_the_same_data():
    candles = bknb.backtest("BTCUSDT", strategy=bracket(1.02), frame=WEEK, **RUN).candles.to_pandas()
    assert tried(bracket(1.03), exchange=bknb.exchanges.from_frame(candles, name="renamed")).count == 2
    assert tried(bracket(1.04), exchange=bknb.exchanges.from_frame(candles * 0.5, name="cheaper")).count == 1


def test_a_walker_counts_its_strategies_and_those_before():
    tried(bracket(1.02))
    bknb.add_strategy("b", interval="1h", get_signal=bracket(1.03))
    bknb.add_strategy("c", interval="1h", get_signal=bracket(1.04))
    found = bknb.walker("BTCUSDT", strategies=["b", "c"], exchange="demo", frame=WEEK)
    assert found.tried == 3
    assert ("Tried on these data", "3 in all") in found._header()
    assert found.deflated.trials == 3


def test_a_walk_forward_is_one_try():
    def get_signal(price, up=1.02):
        return bracket(up)(price)

    walk = bknb.walk_forward(
        get_signal, {"up": [1.02, 1.03]}, frame=WEEK, train="3d", test="2d", metric="total_pnl", **RUN
    )
    assert (walk.tries.count, walk.tries.line) == (1, "the first strategy tried on these data")
    assert "tried on these data" in walk.report()


@pytest.mark.slow
def test_belief_counts_what_the_ledger_holds_by_now():
    result = bknb.backtest("BTCUSDT", strategy=bracket(1.02), frame=WEEK, **RUN)
    assert bknb.belief(result).deflated.trials == 1
    for number in range(3, 9):
        tried(bracket(1 + number / 100))
    by_now = bknb.belief(result)
    assert (by_now.deflated.trials, by_now.counted) == (7, 7)
    assert "7 (7 counted on these data)" in repr(by_now)
    assert bknb.belief(result, trials=3).deflated.trials == 7  # the ledger knows of more
    assert bknb.belief(result, trials=50).deflated.trials == 50
    assert bknb.belief(result, trials=np.zeros(3)).deflated.trials == 7
    assert bknb.belief(result.trades).deflated.trials == 1  # a table knows of no ledger


def test_the_line_is_in_the_report_and_the_summary():
    tried(bracket(1.02))
    result = bknb.backtest("BTCUSDT", strategy=bracket(1.03), frame=WEEK, **RUN)
    for shown in (repr(result), result.report(), result._repr_html_()):
        assert shown.count("the 2nd strategy tried on these data") == 1


def test_a_setting_switches_it_off(ledger):
    off = bknb.backtest("BTCUSDT", strategy=bracket(1.02), frame=WEEK, settings={"count_tries": False}, **RUN)
    assert off.tries is None
    assert "tried on these data" not in off.report()
    assert not ledger.exists()
    with pytest.raises(bknb.UsageError, match="count_tries must be True or False, got 1"):
        bknb.set_config(count_tries=1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_told_once(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    keep_in(tmp_path / "closed" / "state" / "tries.jsonl")
    _told_once()


def test_a_ledger_that_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path):
    (tmp_path / "file").write_text("no folder")
    keep_in(tmp_path / "file" / "tries.jsonl")
    _told_once()


def _told_once():
    first, second = (bknb.backtest("BTCUSDT", strategy=bracket(1.02), frame=WEEK, **RUN) for _ in range(2))
    assert len(first.trades) == len(second.trades) > 0
    assert len(first.warnings) == 1
    assert "how many strategies were tried on these data is unknown: cannot" in first.warnings[0]
    assert "count_tries=False" in first.warnings[0]
    assert second.warnings == []
    third = bknb.backtest("BTCUSDT", strategy=bracket(1.03), frame=WEEK, **RUN)
    other = bknb.backtest("ETHUSDT", strategy=bracket(1.03), frame=WEEK, **RUN)
    assert [each.tries.count for each in (first, second, third, other)] == [1, 1, 2, 1]
    for shown in (third.tries.line, repr(third), third.report()):
        assert "tries unknown: ledger cannot " in shown
        assert "; at least 2 on these data" in shown
    believed = bknb.belief(first)
    assert (believed.counted, believed.deflated.trials) == (2, 2)
    assert believed.unknown in third.tries.line
    assert "at least 2 (tries unknown: ledger cannot " in repr(believed)
    assert "tries unknown" in believed.verdict


def test_a_line_that_was_cut_off_hides_no_other(ledger):
    tried(bracket(1.02))
    with ledger.open("ab") as file:
        file.write(b'{"on":{"exch')
    assert tried(bracket(1.03)).count == 2
    assert tried(bracket(1.04)).count == 3


def test_damaged_lines_are_told_with_their_number_and_file(ledger):
    for up in (1.02, 1.03, 1.04, 1.05):
        tried(bracket(up))
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], b"#" + lines[1], lines[2][:20] + b"\n", lines[3]]))
    first, second = (bknb.backtest("BTCUSDT", strategy=bracket(up), frame=WEEK, **RUN) for up in (1.02, 1.06))
    assert [each.tries.count for each in (first, second)] == [2, 3]
    assert first.warnings == [f"2 lines of {ledger} cannot be read: the strategies tried in them are not counted"]
    assert second.warnings == []
    said = f"the 3rd strategy tried on these data (at least: 2 lines of {ledger} cannot be read)"
    assert second.tries.line == said
    assert said in repr(second)


def test_frames_that_touch_share_nothing():
    assert tried(bracket(1.02)).count == 1
    assert tried(bracket(1.03), ("2024-01-08", "2024-01-12")).count == 1
    assert tried(bracket(1.04), ("2024-01-07 23:59", "2024-01-09")).count == 3


ADDS = """
import sys
from pathlib import Path
from bknb.research.tries_ledger import Span, TriesLedger
on = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
for number in range(40):
    TriesLedger(Path(sys.argv[1])).add(on, [f"{sys.argv[2]}-{number}", f"both-{number}"])
"""


@pytest.mark.slow
def test_several_processes_add_at_once(ledger):
    command = [sys.executable, "-c", textwrap.dedent(ADDS), str(ledger)]
    running = [subprocess.Popen([*command, name]) for name in ("one", "other")]
    assert [each.wait(60) for each in running] == [0, 0]
    on = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
    assert len(TriesLedger(ledger).strategies(on)) == 40 * 3


def test_ordinals_are_those_of_english():
    on = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
    lines = {number: Tries(number, number, 1, on, Path("x")).line.split()[1] for number in (2, 3, 4, 11, 12, 21, 113)}
    assert list(lines.values()) == ["2nd", "3rd", "4th", "11th", "12th", "21st", "113th"]


def caching(cache):
    def get_signal(price, when):
        cache[when] = price
        cache["asked"] = cache.get("asked", 0) + 1

    return get_signal


LONGER = ("2024-01-01", "2024-01-10")


def blocking(strategy):
    return tried(strategy, LONGER)


def in_the_background(strategy):
    return bknb.Backtest.background("BTCUSDT", strategy=strategy, frame=LONGER, **RUN).result().tries


def compared(strategy):
    bknb.add_strategy("caching", interval="1h", get_signal=strategy)
    found = bknb.walker("BTCUSDT", strategies=["caching"], exchange="demo", frame=LONGER)
    return found.results["caching"].tries


def as_it_happens(strategy):
    async def through():
        async for _ in bknb.Backtest.run("BTCUSDT", strategy=strategy, frame=LONGER, **RUN):
            pass

    asyncio.run(through())
    (task,) = (each for each in bknb.Backtest.list() if each.strategy == "get_signal")
    return task.result().tries


@pytest.mark.parametrize("run", [blocking, in_the_background, compared, as_it_happens])
def test_what_a_strategy_changes_of_itself_in_a_run_makes_no_other_try(run):
    """It counts as it was before the run, whichever way it is run."""
    cache = {}
    strategy = caching(cache)
    first = tried(strategy)
    cache.clear()  # as a new process has it
    again = run(strategy)
    assert cache
    assert (first.count, again.count, again.number) == (1, 1, 1)


@pytest.mark.slow
def test_a_cache_is_no_other_try_when_it_is_run_again_nor_in_a_walk_forward_hold_out_or_sweep(tmp_path):
    strategy = caching({})
    assert [tried(strategy).count for _ in range(3)] == [1, 1, 1]
    for _ in range(2):
        held = bknb.open_holdout(strategy, frame=WEEK, path=tmp_path / "openings.jsonl", **RUN)
        assert held.result.tries.count == 1

    cache = {}

    def get_signal(price, when, up=1.02):
        cache[when] = price

    walks = [
        bknb.walk_forward(get_signal, {"up": [1.02]}, frame=WEEK, train="3d", test="2d", metric="total_pnl", **RUN)
        for _ in range(2)
    ]
    assert [walk.tries.count for walk in walks] == [2, 2]
    sweeps = [
        bknb.sweep(get_signal, params={"up": [1.02, 1.03]}, symbol="BTCUSDT", frame=WEEK, **RUN) for _ in range(2)
    ]
    assert [each.trials for each in sweeps] == [4, 4]


def test_strategies_of_a_comparison_that_share_a_cache_are_as_many_as_they_are():
    cache = {}
    bknb.add_strategy("one", interval="1h", get_signal=caching(cache))
    bknb.add_strategy("other", interval="4h", get_signal=caching(cache))
    found = [bknb.walker("BTCUSDT", strategies=["one", "other"], exchange="demo", frame=WEEK) for _ in range(2)]
    assert [each.tried for each in found] == [2, 2]


def test_thousands_of_tries_are_counted_at_once(ledger):
    on = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
    names = [f"strategy-{number}" for number in range(40_000)]
    began = time.process_time()
    tries = TriesLedger(ledger).add(on, names)
    assert (tries.number, tries.count, tries.of) == (1, 40_000, 40_000)
    assert time.process_time() - began < 2  # a set for each of them takes longer


def test_a_file_of_something_else_is_no_ledger_and_stays_as_it_is(ledger):
    ledger.parent.mkdir()
    ledger.write_text("my notes\n")
    result = bknb.backtest("BTCUSDT", strategy=bracket(1.02), frame=WEEK, **RUN)
    assert "holds no try" in result.tries.unknown
    assert "holds no try" in result.warnings[0]
    assert ledger.read_text() == "my notes\n"


def test_tries_that_no_ledger_took_are_counted_when_it_can_be_written_again(ledger):
    ledger.parent.mkdir()
    ledger.write_text("my notes\n")
    tried(bracket(1.02))
    ledger.unlink()
    assert tried(bracket(1.03)).count == 2


def test_each_trouble_of_a_ledger_is_told_once(ledger):
    for up in (1.02, 1.03):
        tried(bracket(up))
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], b"#" + lines[1]]))
    runs = [{"strategy": bracket(1.04)}, {"strategy": bracket(1.05)}]
    told = [bknb.backtest("BTCUSDT", frame=WEEK, **run, **RUN).warnings for run in runs]
    ledger.write_text("my notes\n")
    told += [bknb.backtest("BTCUSDT", frame=WEEK, **run, **RUN).warnings for run in runs]
    assert [len(each) for each in told] == [1, 0, 1, 0]
    assert "1 line of" in told[0][0]
    assert "holds no try" in told[2][0]


@pytest.mark.parametrize("offset", [0, 30 * 60_000])
def test_candles_without_a_full_hour_are_told_apart(offset):
    """Daily candles of a market that closes at half past are thousands, none of them at a full hour."""
    times = np.arange(3000) * 86_400_000 + offset
    one, other = (data_hash(times, np.full(3000, high), np.full(3000, 1.0)) for high in (2.0, 3.0))
    assert one != other
