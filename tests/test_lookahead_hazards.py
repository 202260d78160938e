"""A look-ahead check leaves the rest of the process alone: other threads, patched functions, files, databases, data."""

from __future__ import annotations

import _thread
import builtins
import contextlib
import io
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import lookahead_cases as cases
import numpy as np
import pandas as pd
import pytest
from quick import first_quick

import bknb
from bknb.research import check_threads
from bknb.research.check_threads import Check, belongs
from bknb.research.lookahead_report import BLIND
from bknb.research.patched_readers import handing_out
from bknb.research.read_only import RunRefused, nothing_changed_outside, readable

FRAME = ("2024-01-02", "2024-01-04")
PATIENCE = 60  # seconds, on a busy machine


def check(function, moments=4):
    return bknb.check_lookahead(function, exchange="demo", frame=FRAME, interval="1h", moments=moments)


def replaced():
    """What a check replaces for as long as it runs."""
    return (
        *(pd.read_csv, np.load, builtins.open, io.open, os.open, os.read, sqlite3.connect),
        *(subprocess.Popen.communicate, threading.Thread.start, ThreadPoolExecutor.submit),
    )


BEFORE = replaced()


@pytest.fixture(autouse=True)
def _nothing_stays_replaced():
    yield
    assert replaced() == BEFORE


@pytest.fixture
def hours(tmp_path):
    path = tmp_path / "hours.csv"
    cases.TABLE.reset_index(names="t").to_csv(path, index=False)
    return path


def close_of(path, when):
    return pd.read_csv(path, parse_dates=["t"]).set_index("t").close.asof(when)


# -- other threads -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_thread_that_another_one_starts_during_a_check_reads_what_there_is(hours):
    """As a live run does: its loop was there before, the thread of each question is new."""
    begin, read, over, seen = threading.Event(), threading.Event(), threading.Event(), []

    def question():
        with hours.open() as file:
            closes = pd.read_csv(hours).close
            seen.append((file.read(), float(closes.iloc[-1]), belongs()))

    def live():
        while not over.is_set():
            if begin.wait(0.01):
                begin.clear()
                thread = threading.Thread(target=question)
                thread.start()
                thread.join()
                read.set()

    def knowing(ctx):
        read.clear()
        begin.set()
        assert read.wait(PATIENCE)
        return cases.if_up(ctx, close_of(hours, ctx.when))

    loop = threading.Thread(target=live)
    loop.start()
    try:
        report = check(knowing)
    finally:
        over.set()
        loop.join()
    assert (report.findings[0].kind, "hours.csv" in report.findings[0].what) == ("future", True), report
    assert set(seen) == {(hours.read_text(), float(cases.CLOSE.iloc[-1]), False)}


def test_a_pool_that_both_use_hands_each_its_own(tmp_path):
    path = tmp_path / "price.txt"
    path.write_text("1.5")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(path.read_text).result()  # its thread was there before
        asked, answered, seen = threading.Event(), threading.Event(), []

        def other():
            asked.wait(PATIENCE)
            seen.append(pool.submit(path.read_text).result())
            answered.set()

        thread = threading.Thread(target=other)
        thread.start()
        with Check().running(), handing_out(lambda name, value: "9.9"):
            assert pool.submit(path.read_text).result() == "9.9"
            asked.set()
            answered.wait(PATIENCE)
            assert pool.submit(path.read_text).result() == "9.9"
        thread.join()
        assert seen == ["1.5"]
        assert pool.submit(path.read_text).result() == "1.5"


@pytest.mark.slow
def test_an_open_connection_gives_other_threads_what_there_is(tmp_path, monkeypatch):
    connection = sqlite3.connect(tmp_path / "prices.db", check_same_thread=False)
    connection.execute("create table candles (t integer, close real)")
    connection.executemany("insert into candles values (?, ?)", cases.BY_MOMENT.items())
    connection.commit()
    monkeypatch.setitem(globals(), "OPEN", connection)
    late = cases.T0 + 68 * cases.H  # near the end of the frame
    begin, read, over, seen = threading.Event(), threading.Event(), threading.Event(), []

    def live():
        while not over.is_set():
            if begin.wait(0.01):
                begin.clear()
                seen.append(OPEN.execute("select close from candles where t = ?", (late,)).fetchone()[0])  # noqa: F821
                read.set()

    def knowing(ctx):
        read.clear()
        begin.set()
        assert read.wait(PATIENCE)
        level = OPEN.execute("select close from candles where t = ?", (ctx.when_ms,)).fetchone()[0]  # noqa: F821
        return cases.if_up(ctx, level)

    loop = threading.Thread(target=live)
    loop.start()
    try:
        report = check(knowing, moments=24)  # single rows are known as prices when there are many
    finally:
        over.set()
        loop.join()
        connection.close()
    assert report.findings[0].kind == "future", report
    assert set(seen) == {cases.BY_MOMENT[late]}


@pytest.mark.slow
def test_what_a_strategy_puts_into_a_pool_belongs_to_the_check(hours):
    with ThreadPoolExecutor(1) as pool:
        pool.submit(len, "").result()
        report = check(lambda ctx: cases.if_up(ctx, pool.submit(close_of, hours, ctx.when).result()))
    assert (report.findings[0].kind, "hours.csv" in report.findings[0].what) == ("future", True), report


@pytest.mark.slow
def test_a_thread_of_a_thread_of_a_strategy_belongs_to_the_check(hours):
    def knowing(ctx):
        found = []
        inner = threading.Thread(target=lambda: found.append(close_of(hours, ctx.when)))
        outer = threading.Thread(target=lambda: (inner.start(), inner.join()))
        outer.start()
        outer.join()
        return cases.if_up(ctx, found[0])

    report = check(knowing)
    assert (report.findings[0].kind, "hours.csv" in report.findings[0].what) == ("future", True), report


# -- one at a time, and interrupted --------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_checks_at_once_say_what_each_says_alone(hours):
    def knowing(ctx):
        return cases.if_up(ctx, close_of(hours, ctx.when))

    def honest(ctx):
        return cases.if_up(ctx, close_of(hours, ctx.when - 2 * cases.HOUR), ctx.candles("1h", 3).close.mean())

    alone = [repr(check(each)) for each in (knowing, honest)]
    found = {}
    threads = [
        threading.Thread(target=lambda at=at, each=each: found.update({at: repr(check(each))}))
        for at, each in enumerate((knowing, honest))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[0], found[1]] == alone


@pytest.mark.slow
@pytest.mark.parametrize("leaves", first_quick([True, False]), ids=["it ends", "it hangs"])
def test_an_interrupted_check_puts_everything_back(hours, monkeypatch, leaves):
    """Control-C reaches the thread that waits; the strategy is asked in another one, and may never answer."""
    monkeypatch.setattr("bknb.runs.check_lookahead._PATIENCE_SECONDS", PATIENCE if leaves else 0.1)
    go_on, read, asked = threading.Event(), [], []

    def interrupting(ctx):
        last = close_of(hours, cases.CLOSE.index[-1])
        if last != cases.LIST[-1] and not asked:
            asked.append(last)
            _thread.interrupt_main()
            for _ in range(1000):
                if not belongs():
                    break
                go_on.wait(0.01)
            if not leaves:
                go_on.wait(PATIENCE)
            read.append(float(close_of(hours, cases.CLOSE.index[-1])))
        return cases.if_up(ctx, close_of(hours, ctx.when))

    with pytest.raises(KeyboardInterrupt):
        check(interrupting)
    assert asked
    if not leaves:
        monkeypatch.setattr(check_threads, "_LATE", 2)
        with pytest.raises(bknb.UsageError, match="was interrupted still waits"):
            check(interrupting)
        go_on.set()
        monkeypatch.setattr(check_threads, "_LATE", 20 * PATIENCE)
        with Check().running():
            """Its turn comes when the other has ended."""
    assert read == [cases.LIST[-1]]  # what was handed out after the interrupt is what there is
    assert check(cases.trade).ok


def test_a_strategy_that_checks_itself_is_told_so():
    report = check(lambda ctx: check(cases.a_list))
    assert "must not check itself" in report.verdict


# -- statements that are run again ---------------------------------------------------------------------------------


def strategy_of(folder, monkeypatch, name, text):
    (folder / f"{name}.py").write_text(f"import lookahead_cases as cases\nfrom lookahead_cases import CLOSE\n{text}\n")
    monkeypatch.syspath_prepend(folder)
    return __import__(name)


def test_databases_are_connected_read_only(tmp_path):
    path = tmp_path / "kept.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("create table log (price real)")
        connection.commit()
        with nothing_changed_outside(), contextlib.ExitStack() as opened:
            again = sqlite3.connect(path)
            opened.callback(again.close)
            for each in (again, readable(connection, opened), readable(connection.cursor(), opened)):
                assert each.execute("select count(*) from log").fetchone() == (0,)
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    each.execute("insert into log values (1.0)")
            with pytest.raises(sqlite3.OperationalError):
                sqlite3.connect(tmp_path / "new.db")
            with pytest.raises(PermissionError):
                sqlite3.Connection(path)  # not through the function that is replaced
            memory = sqlite3.connect(":memory:")
            opened.callback(memory.close)
            memory.execute("create table a (b)")
            with pytest.raises(sqlite3.DatabaseError, match="not authorized"):
                memory.execute("attach ? as kept", (str(path),))
        connection.execute("insert into log values (1.0)")
        assert connection.execute("select count(*) from log").fetchone() == (1,)
    assert [each.name for each in tmp_path.iterdir()] == ["kept.db"]


def test_what_is_open_for_writing_is_refused(tmp_path):
    with contextlib.ExitStack() as opened:
        file = opened.enter_context((tmp_path / "log.txt").open("w"))
        with pytest.raises(PermissionError, match="written to"):
            readable(file, opened)
        memory = opened.enter_context(contextlib.closing(sqlite3.connect(":memory:")))
        memory.execute("create table a (b)")
        copy = readable(memory, opened)
        copy.execute("insert into a values (1)")
        assert memory.execute("select * from a").fetchall() == []
        assert readable(cases.TABLE, opened) is cases.TABLE


WRITING = """
import sqlite3, io, os
CONNECTION = sqlite3.connect(r"{db}", check_same_thread=False)
NUMBER = os.open(r"{file}", os.O_WRONLY | os.O_CREAT)
LOG = open(r"{file}", "a")

def written(price):
    os.write(NUMBER, str(price).encode())
    return price

def noted(price):
    CONNECTION.execute("insert into log values (?)", (price,))
    return price

def told(price):
    print(price, file=LOG, flush=True)
    return price

A, B, C = written(float(CLOSE.mean())), 0.0, 0.0
B = noted(float(CLOSE.mean()))
C = told(float(CLOSE.mean()))
def get_signal(ctx):
    return cases.if_up(ctx, A + B + C, 3 * ctx.price)
"""


def test_statements_that_write_are_not_run_again(tmp_path, monkeypatch):
    db, file = tmp_path / "kept.db", tmp_path / "log.txt"
    with contextlib.closing(sqlite3.connect(db)) as connection:
        connection.execute("create table log (price real)")
        connection.commit()
    module = strategy_of(tmp_path, monkeypatch, "writing_strategy", WRITING.format(db=db, file=file))
    before = file.read_text()
    rows = module.CONNECTION.execute("select * from log").fetchall()
    report = check(module.get_signal)
    assert file.read_text() == before
    assert module.CONNECTION.execute("select * from log").fetchall() == rows
    assert any("A, B, C" in text and "run again" in text for text in report.cannot_see), report
    os.close(module.NUMBER)
    module.LOG.close()
    module.CONNECTION.close()


CHANGING = """
import pandas as pd

def saved(table):
    open(r"{file}", "w").close()
    return table

TABLE = saved(pd.DataFrame({{"hour": range(24)}}))
LEVEL = float(CLOSE.mean())
TABLE["level"] = LEVEL
def get_signal(ctx):
    return cases.if_up(ctx, TABLE.level[ctx.when.hour] + LEVEL, 2 * ctx.price)
"""


@pytest.mark.slow
def test_what_statements_change_in_place_stays_as_it_is(tmp_path, monkeypatch):
    module = strategy_of(tmp_path, monkeypatch, "changing_strategy", CHANGING.format(file=tmp_path / "saved"))
    table, before = module.TABLE, module.TABLE.copy()
    report = check(module.get_signal)
    assert report.findings[0].kind == "future", report
    assert module.TABLE is table
    pd.testing.assert_frame_equal(table, before)


RAISING = """
LEVEL = {float(CLOSE.iloc[-1]): 1.0}[float(CLOSE.iloc[-1])] * 42_000
def get_signal(ctx):
    return cases.if_up(ctx, LEVEL)
"""


def test_statements_that_raise_over_other_data_were_not_looked_at(tmp_path, monkeypatch):
    text = RAISING.replace("{float(CLOSE.iloc[-1]): 1.0}", f"{{{cases.LIST[-1]!r}: 1.0}}")
    report = check(strategy_of(tmp_path, monkeypatch, "raising_strategy", text).get_signal)
    assert not any("run again" in text for text in report.looked_at), report
    (told,) = [text for text in report.unseen if "LEVEL" in text]
    assert "raise over other data: KeyError: " in told


BEFOREHAND = """
import os
import pandas as pd
RANGES = pd.read_{kind}(r"{file}").set_index("t")["range"]
MODE = os.environ["LOOKAHEAD_MODE"]
def get_signal(ctx):
    if os.getenv("LOOKAHEAD_LEVEL") is None or os.environ.get("LOOKAHEAD_NONE"):
        return None
    return cases.if_up(ctx, ctx.price * (RANGES.asof(ctx.when) + (0.995 if MODE == "calm" else 0.9)))
"""


@pytest.mark.slow
def test_files_and_the_environment_of_before_are_listed_as_not_seen(tmp_path, monkeypatch):
    """Ranges of hours that were not over yet: neither prices nor moments of their own show it."""
    monkeypatch.setenv("LOOKAHEAD_MODE", "calm")
    monkeypatch.setenv("LOOKAHEAD_LEVEL", "0.009")
    ranges = (cases.TABLE.high / cases.TABLE.low - 1).rename("range").rename_axis("t").reset_index()
    ranges.to_pickle(tmp_path / "ranges.pickle")
    text = BEFOREHAND.format(kind="pickle", file=tmp_path / "ranges.pickle")
    report = check(strategy_of(tmp_path, monkeypatch, "beforehand_strategy", text).get_signal)
    told = " ".join(text for text in report.cannot_see if "there before" in text)
    for name in ("the file ranges.pickle", "os.environ['LOOKAHEAD_MODE']", "os.environ['LOOKAHEAD_LEVEL']"):
        assert name in told, report
    assert "PATH" not in told


def test_the_help_says_what_the_result_says():
    from bknb.jupyter.magics.walker_and_lookahead import MAGICS

    (told,) = [command.help() for command, _ in MAGICS if command.name == "%lookahead"]
    words = " ".join(told.split())
    for text in (*BLIND, "run again over another future", "raise over other data"):
        assert text in words


# -- statements that start a run -----------------------------------------------------------------------------------

CHECKER = """
import bknb
STARTED = []

def check(function):
    STARTED.append("check")
    return bknb.check_lookahead(function, exchange="demo", frame={frame!r}, interval="1h", moments=4)

def backtest(function, run=None):
    STARTED.append("backtest")
    run = run or getattr(bknb, "back" + "test")
    try:
        return run("BTCUSDT", strategy=function, exchange="demo", frame={frame!r}).ok
    except Exception:
        return True
"""

STARTING = """
import run_starter
for span in (5, 9):
    LEVELS = CLOSE.ewm(span=span).mean()
    def get_signal(ctx):
        return cases.if_up(ctx, LEVELS.asof(ctx.when - 2 * cases.HOUR), ctx.candles("1h", 3).close.mean())
    RESULT = run_starter.{run}(get_signal)
"""


@pytest.mark.slow
@pytest.mark.parametrize("run", ["backtest", "check"])
def test_a_statement_whose_helper_starts_a_run_is_not_run_again(tmp_path, monkeypatch, run):
    """The helper stands in a module of its own; ``backtest`` is named in no way that the text shows."""
    (tmp_path / "run_starter.py").write_text(CHECKER.format(frame=FRAME))
    monkeypatch.delitem(sys.modules, "run_starter", raising=False)
    module = strategy_of(tmp_path, monkeypatch, f"starting_{run}", STARTING.format(run=run))
    started = module.run_starter.STARTED
    assert started == [run] * 2
    report = check(module.get_signal)
    assert len(started) == (2 if run == "check" else 3), (
        started
    )  # what the text does not show is refused the first time
    assert any("LEVELS" in text and "run again" in text for text in report.cannot_see), report
    if run == "check":
        assert any("LEVELS" in text for text in module.RESULT.cannot_see), module.RESULT


@pytest.mark.slow
def test_a_script_whose_helper_checks_comes_to_its_end(tmp_path):
    (tmp_path / "run_starter.py").write_text(CHECKER.format(frame=FRAME))
    text = STARTING.format(run="check") + "    print(span, run_starter.STARTED)\n"
    (tmp_path / "script.py").write_text(f"import lookahead_cases as cases\nfrom lookahead_cases import CLOSE\n{text}")
    paths = os.pathsep.join([str(tmp_path), os.path.dirname(cases.__file__), *sys.path])  # noqa: PTH120
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE,
        check=True,
    )
    assert done.stdout.splitlines() == ["5 ['check']", "9 ['check', 'check']"]


def test_a_run_that_a_statement_starts_is_refused_where_it_starts():
    with nothing_changed_outside():
        for run, where in (
            (bknb.backtest, {"frame": FRAME}),
            (bknb.check_lookahead, {"frame": FRAME}),
            (bknb.Live.background, {}),
        ):
            with pytest.raises(RunRefused, match="not started a second time"):
                run(symbol="BTCUSDT", strategy=cases.trade, exchange="demo", **where)
