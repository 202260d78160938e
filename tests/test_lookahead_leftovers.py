"""A look-ahead check writes to no database again, keeps no shifted clock, and does not claim what it cannot see."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import queue
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from multiprocessing.pool import ThreadPool

import lookahead_cases as cases
import numpy as np
import pytest
from quick import first_quick

import bknb
from bknb.research.check_threads import Check, belongs
from bknb.research.patched_readers import handing_out
from bknb.research.read_only import could_be_written_to
from bknb.research.shifted_clock import ShiftedClock, waiting_calls
from bknb.research.tracing import Tracer

FRAME = ("2024-01-02", "2024-01-04")
PATIENCE = 60  # seconds, on a busy machine


def check(function, moments=4):
    return bknb.check_lookahead(function, exchange="demo", frame=FRAME, interval="1h", moments=moments)


def up(ctx, *, unless=False):
    closes = ctx.candles("1h", 2).close
    return cases.trade(ctx, up=bool(closes[-1] > closes[0]) and not unless)


# -- databases behind a helper -------------------------------------------------------------------------------------

HEAD = """
import sqlite3
from dataclasses import dataclass

import lookahead_cases as cases
from lookahead_cases import CLOSE

con = sqlite3.connect({db!r}, check_same_thread=False, isolation_level=None)
NOTE = "/* what it was */ insert into log values (?)"

def mean_of(connection):
    return connection.execute("select avg(close) from p").fetchone()[0]

class Store:
    def __init__(self, connection):
        self.con = connection
    def mean(self):
        price = mean_of(self.con)
        self.con.execute(NOTE, (price,))
        return price

@dataclass(slots=True)
class Slotted:
    con: sqlite3.Connection

STORE = Store(con)
SLOTTED = Slotted(con)
HELD = {{"con": con}}

def noted():
    price = mean_of(con)
    con.execute(NOTE, (price,))
    return price

def noted_of(connection=con):
    connection.execute(NOTE, (mean_of(connection),))
    return mean_of(connection)

def read():
    return mean_of(con)

HELPERS = [noted]

{statement}

def get_signal(ctx):
    level = WHOLE_MEAN() if callable(WHOLE_MEAN) else WHOLE_MEAN
    return cases.if_up(ctx, getattr(level, "mean", level))
"""
STATEMENTS = {
    "a helper": "WHOLE_MEAN = noted()",
    "a helper that is given on": "WHOLE_MEAN = max(one() for one in HELPERS)",
    "a default": "WHOLE_MEAN = noted_of()",
    "a method": "WHOLE_MEAN = STORE.mean()",
    "an attribute": "WHOLE_MEAN = (mean_of(STORE.con), STORE.con.execute(NOTE, (1.0,)))[0]",
    "a slot": "WHOLE_MEAN = (mean_of(SLOTTED.con), SLOTTED.con.execute(NOTE, (1.0,)))[0]",
    "an entry": "WHOLE_MEAN = (mean_of(HELD['con']), HELD['con'].execute(NOTE, (1.0,)))[0]",
    "a default of a function": "def WHOLE_MEAN(mean=noted(), closes=CLOSE):\n    return mean",
    "a class": "class WHOLE_MEAN:\n    mean, closes = noted(), CLOSE",
    "its own name": "WHOLE_MEAN = (mean_of(con), con.execute(NOTE, (1.0,)))[0]",
    "a helper that reads": "WHOLE_MEAN = read()",
}


def made(folder, monkeypatch, text):
    name = "leftover_strategy"
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return __import__(name)


@pytest.fixture
def database(tmp_path):
    """The whole history, and a log."""
    path = tmp_path / "prices.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("create table p (t integer, close real)")
        connection.execute("create table log (price real)")
        connection.executemany("insert into p values (?, ?)", cases.BY_MOMENT.items())
        connection.commit()
    return str(path)


@pytest.mark.parametrize("way", first_quick(STATEMENTS, kept=2))
def test_a_database_behind_a_helper_is_left_alone(tmp_path, monkeypatch, database, way):
    """The helper has the user's own connection: the statement is not run again, and that is said."""
    module = made(tmp_path, monkeypatch, HEAD.format(db=database, statement=STATEMENTS[way]))
    rows = module.con.execute("select * from log").fetchall()
    report = check(module.get_signal)
    assert module.con.execute("select * from log").fetchall() == rows
    module.con.close()
    assert any("WHOLE_MEAN" in text and "run again" in text for text in report.cannot_see), report
    assert not any("WHOLE_MEAN" in text and "run again" in text for text in report.looked_at), report


def test_a_connection_of_one_thread_is_told(tmp_path, monkeypatch, database):
    statement = "WHOLE_MEAN = con.execute('select avg(close) from p').fetchone()[0]"
    text = HEAD.format(db=database, statement=statement).replace(", check_same_thread=False", "")
    module = made(tmp_path, monkeypatch, text)
    report = check(module.get_signal)
    module.con.close()
    (told,) = [text for text in report.cannot_see if "WHOLE_MEAN" in text]
    assert "con is a connection for one thread: connect with check_same_thread=False" in told


class Connection:
    """As of a database whose package is not installed here."""

    def cursor(self):
        """Return nothing."""

    def commit(self):
        """Commit nothing."""


def test_other_databases_are_known_by_what_they_can_do(tmp_path):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection, (tmp_path / "log").open("w") as file:
        for value in (connection, connection.cursor(), file, Connection()):
            assert could_be_written_to(value)
    for value in (Connection, sqlite3, cases.TABLE, "insert", None):
        assert not could_be_written_to(value)


# -- clocks --------------------------------------------------------------------------------------------------------


@lru_cache(None)
def today():
    return dt.date.today()


def test_no_shifted_clock_stays_in_a_cache():
    def logging(ctx, seen=[]):  # noqa: B006
        seen.append(today())
        return up(ctx, unless=today().year < 2000)

    report = check(logging)
    assert [finding.kind for finding in report.findings] == ["clock"], report
    assert abs((today() - dt.date.today()).days) <= 1


def test_no_changed_data_stays_in_a_cache():
    table = cases.TABLE.copy()

    @lru_cache(None)
    def closes():
        return table.close

    def knowing(ctx):
        return cases.if_up(ctx, closes().asof(ctx.when))

    assert check(knowing).findings[0].kind == "future"
    assert closes().equals(cases.TABLE.close)


SEPARATOR = "; "


def joining(ctx):
    LOG.append(", ".join([os.path.join("a", "b"), str(time.time()), SEPARATOR.join("ab")]))  # noqa: PTH118
    np.select([np.array([True])], [1.0])
    return up(ctx)


LOG: list[object] = []
EVENT, LOCK = threading.Event(), threading.Lock()
THREAD = threading.Thread()


def test_text_paths_and_arrays_do_not_wait():
    report = check(joining)
    assert report.ok, report
    assert any("time.time" in text for text in report.remarks)
    assert waiting_calls(joining) == []


def waiting(ctx):
    EVENT.wait(min(time.time(), 0.0))
    return up(ctx)


def started_inside(ctx):
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    thread.join(5)


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (waiting, ["EVENT.wait"]),
        (started_inside, ["thread.join"]),
        (lambda: THREAD.join(1), ["THREAD.join"]),
        (lambda: [LOCK.acquire() for _ in ""], ["LOCK.acquire"]),
        (lambda: asyncio.sleep(1), ["asyncio"]),
        (lambda frame: frame.join(cases.TABLE), []),
        (lambda frame, event: (frame.select(), event.wait(1)), ["event.wait"]),
    ],
)
def test_what_waits_is_known_by_what_it_belongs_to(function, calls):
    assert waiting_calls(function) == calls


def test_why_a_clock_was_not_shifted_is_told():
    report = check(waiting)
    (finding,) = report.findings
    assert (finding.kind, "no clock was shifted: it waits (EVENT.wait)" in finding.how) == ("clock", True), report


def test_clocks_are_not_judged_where_answers_change_by_themselves():
    random = np.random.default_rng(7)

    def chance(ctx):
        LOG.append(time.time())
        return up(ctx, unless=random.random() > 0.5)

    def counting(ctx, asked=[0]):  # noqa: B006
        LOG.append(time.time())
        asked[0] += 1
        return up(ctx, unless=asked[0] % 3 == 0)

    for function in (chance, counting):
        report = check(function, moments=8)
        assert {finding.kind for finding in report.findings} <= {"memory", "chance"}, report
        assert report.findings
        assert any("time.time" in text and "change by themselves" in text for text in report.cannot_see), report


READ = {
    "localtime": lambda: time.localtime().tm_year,
    "gmtime": lambda: time.gmtime().tm_year,
    "ctime": lambda: int(time.ctime()[-4:]),
    "asctime": lambda: int(time.asctime()[-4:]),
    "strftime": lambda: int(time.strftime("%Y")),
}


@pytest.mark.parametrize("name", READ)
def test_calendars_of_the_module_time_are_clocks(name):
    read = READ[name]
    tracer = Tracer()
    with tracer.active():
        read()
    assert [*tracer.clocks] == [f"time.{name}"]
    clock = ShiftedClock(-40 * 365.25 * 86_400)
    with clock.in_place(read):
        assert read() < dt.datetime.now(dt.UTC).year - 30
    assert clock.read == {f"time.{name}"}


def test_calendars_of_a_given_moment_are_none():
    def given():
        moment = time.gmtime(0)
        return time.localtime(0), time.ctime(0), time.asctime(moment), time.strftime("%Y", moment), moment

    shown, tracer, clock = given(), Tracer(), ShiftedClock(-86_400.0)
    with tracer.active():
        given()
    with clock.in_place(given):
        assert given() == shown
    assert not tracer.clocks
    assert not clock.read


def test_an_answer_by_the_local_hour_is_found():
    report = check(lambda ctx: up(ctx, unless=time.localtime().tm_year < 2000))
    assert [finding.kind for finding in report.findings] == ["clock"], report
    assert "the clock was shifted" in report.findings[0].how


# -- threads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["apply", "apply_async", "by name", "map", "starmap", "imap", "imap_unordered"])
def test_a_pool_of_threads_reads_for_the_check_what_belongs_to_it(way):
    def read(*_):
        return belongs()

    with ThreadPool(1) as pool:
        ways = {
            "apply": lambda: pool.apply(read),
            "apply_async": lambda: pool.apply_async(read, (1,)).get(PATIENCE),
            "by name": lambda: pool.apply_async(func=read).get(PATIENCE),
            "map": lambda: pool.map(read, [1])[0],
            "starmap": lambda: pool.starmap(read, [(1, 2)])[0],
            "imap": lambda: next(pool.imap(read, [1])),
            "imap_unordered": lambda: next(pool.imap_unordered(read, [1])),
        }
        assert not ways[way]()
        with Check().running():
            assert ways[way]()
        assert not ways[way]()
    assert not {"apply_async", "_map_async", "imap", "imap_unordered"} & vars(ThreadPool).keys()


@pytest.mark.slow
def test_a_leak_in_a_pool_of_threads_is_found(tmp_path):
    path = tmp_path / "hours.csv"
    cases.TABLE.reset_index(names="t").to_csv(path, index=False)
    with ThreadPool(1) as pool:

        def close_of(when):
            import pandas as pd

            return pd.read_csv(path, parse_dates=["t"]).set_index("t").close.asof(when)

        report = check(lambda ctx: cases.if_up(ctx, pool.apply(close_of, (ctx.when,))))
    assert (report.findings[0].kind, "hours.csv" in report.findings[0].what) == ("future", True), report


def test_a_thread_that_a_shared_pool_adds_is_everybodys(tmp_path):
    """Work that others gave before waits in the same queue: the thread that is added for the check does it as well."""
    path = tmp_path / "price.txt"
    path.write_text("1.5")
    busy, go_on = threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: (busy.set(), go_on.wait(PATIENCE)))
        assert busy.wait(PATIENCE)
        with Check().running(), handing_out(lambda name, value: "9.9"):
            assert pool.submit(path.read_text).result(PATIENCE) == "9.9"
            seen: list[bool] = []
            pool._work_queue.put(_Item(seen))
            go_on_waiting = time.monotonic() + PATIENCE
            while not seen and time.monotonic() < go_on_waiting:
                time.sleep(0.01)
            assert seen == [False]
        go_on.set()
        first.result(PATIENCE)


class _Item:
    """Work that was given before."""

    def __init__(self, seen):
        self.seen = seen

    def run(self, *_):
        self.seen.append(belongs())


@pytest.mark.slow
def test_what_threads_of_before_read_is_named():
    """A worker with a queue, and a loop in a thread of its own: they cannot be told whose work they do."""
    questions, answers, loop = queue.Queue(), queue.Queue(), asyncio.new_event_loop()

    def work():
        for when in iter(questions.get, None):
            answers.put(float(cases.CLOSE.asof(when)))

    async def read(when):
        return float(cases.CLOSE.asof(when))

    threads = [threading.Thread(target=work), threading.Thread(target=loop.run_forever)]
    for thread in threads:
        thread.start()

    def asking(ctx):
        questions.put(ctx.when - 2 * cases.HOUR)
        level = asyncio.run_coroutine_threadsafe(read(ctx.when - 3 * cases.HOUR), loop).result(PATIENCE)
        return cases.if_up(ctx, answers.get(timeout=PATIENCE), level)

    try:
        report = check(asking)
    finally:
        questions.put(None)
        loop.call_soon_threadsafe(loop.stop)
        for thread in threads:
            thread.join()
        loop.close()
    for name in ("questions", "answers", "loop"):
        assert f"what threads started before read for it (through {name})" in report.cannot_see, report


# -- one name in two places ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_table_of_a_helper_is_looked_at_beside_one_of_the_same_name():
    source = (
        "def known(ctx, table=KNOWN):\n    return cases.if_up(ctx, table[cases.at(ctx)])\n"
        "def get_signal(ctx, table=FLAT):\n    return known(ctx) if len(table) else None\n"
    )
    space = {"__name__": "__main__", "cases": cases, "KNOWN": cases.CLOSE.tolist(), "FLAT": [1.0] * len(cases.CLOSE)}
    exec(source, space)  # noqa: S102 -- no statement made the tables, so they are looked at themselves
    report = check(space["get_signal"])
    assert not report.ok
    assert any("table" in finding.what for finding in report.findings), report
