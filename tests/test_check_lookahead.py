"""The checker finds and names planted look-ahead of many kinds, and passes strategies without it."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.server
import itertools
import random
import sqlite3
import subprocess
import sys
import threading
import time
from functools import cache, lru_cache

import lookahead_cases as cases
import numpy as np
import pandas as pd
import pytest
from quick import every, some_quick

import bknb
from bknb.market.resample import resample
from bknb.research.candles_changed_after_moment import AsIs, World, perturbed
from bknb.research.check_threads import Check
from bknb.research.module_statements import statements_of
from bknb.research.moments_asked_again import check_answers
from bknb.research.patched_readers import handing_out
from bknb.research.read_only import nothing_changed_outside

FRAME = ("2024-01-01", "2024-01-08")
DEMO = bknb.exchanges.demo()
START = 1_704_067_200_000
FIRST, LAST = START - 10 * 86_400_000, START + 14 * 86_400_000
HOURS = resample(asyncio.run(DEMO.get_candles("BTCUSDT", "1m", FIRST, 24 * 1440)), "1h", since=FIRST, until=LAST)
TABLE = HOURS.to_pandas()
CLOSES = HOURS.close[HOURS.timestamp >= START].copy()
WEIGHTS = [0.2, 0.3, 0.5]


def check(function, *, interval="1h", moments=25, **options):
    options |= {"interval": interval, "moments": moments}
    return bknb.check_lookahead(function, "BTCUSDT", exchange="demo", frame=FRAME, **options)


@cache
def checked(function):
    """The report of a strategy that several tests look at."""
    return check(function)


def trade(price, up):
    side = 1 if up else -1
    return bknb.Signal(
        position="long" if up else "short",
        price_take_profit=price * (1 + side * 0.02),
        price_stop_loss=price * (1 - side * 0.01),
        minute_estimated_time=240,
    )


def rows(closes, position):
    position = np.nan_to_num(np.asarray(position, dtype=float))
    return {
        "position": position,
        "price_take_profit": closes * (1 + 0.02 * position),
        "price_stop_loss": closes * (1 - 0.01 * position),
        "minute_estimated_time": 240,
    }


def series(candles):
    return pd.Series(candles.close.copy())


def by_the_last_change(candles):
    return rows(candles.close, np.sign(series(candles).diff()))


def raises_at_odd_lengths(candles):
    if len(candles) % 2:
        raise ZeroDivisionError("odd")
    return by_the_last_change(candles)


@pytest.mark.slow
def test_rows_are_said_to_be_compared_at_as_many_moments_as_they_came():
    every = check(by_the_last_change)
    assert every.rows_compared == every.rows_chosen > 0
    assert f"rows compared at {every.rows_chosen} of {every.rows_chosen} moments" in every.verdict
    some = check(raises_at_odd_lengths)
    assert 0 < some.rows_compared < some.rows_chosen
    said = f"rows compared at {some.rows_compared} of {some.rows_chosen} moments"
    assert said in some.report()
    assert any(f"of {some.rows_chosen} moments: it raised over other candles" in text for text in some.cannot_see)
    assert check(lambda ctx: None).rows_chosen == 0
    assert not any("manage" in text for text in every.cannot_see)


def raises_when_cut(candles):
    if 500 < len(candles) < 668:  # neither the whole nor what is seen at a moment
        raise ZeroDivisionError("cut")
    return by_the_last_change(candles)


@pytest.mark.slow
def test_a_check_that_could_compare_no_row_is_not_ok():
    report = check(raises_when_cut, moments=6)
    assert report.findings == ()
    assert (report.rows_compared, report.signals > 0, report.ok) == (0, True, False)
    assert "NOT OK  it raised over other candles at all 6 moments, so no row could be compared" in repr(report)


def test_a_frame_too_short_to_cut_its_rows_is_said():
    strategy = bknb.add_strategy("short", interval="1h", get_signals=by_the_last_change, lookback=5)
    day = ("2024-01-01", "2024-01-01 20:00")
    report = bknb.check_lookahead(strategy, "BTCUSDT", exchange="demo", frame=day, moments=5)
    assert report.rows_chosen == 0
    assert "its rows over fewer candles: there are 25, at least 30 are needed; try a longer frame" in report.cannot_see


# -- leaks: get_signals --------------------------------------------------------------------------------------------


def the_next_return(candles):
    closes = series(candles)
    return rows(candles.close, np.sign(closes.pct_change().shift(-1)))


def a_centred_average(candles):
    closes = series(candles)
    return rows(candles.close, np.sign(closes - closes.rolling(9, center=True).mean()))


def the_mean_of_the_whole_sample(candles):
    closes = candles.close
    score = (closes - closes.mean()) / closes.std()
    return rows(closes, np.where(score > 1, -1, np.where(score < -1, 1, 0)))


def the_high_still_to_come(candles):
    ahead = np.maximum.accumulate(candles.high[::-1])[::-1]
    return rows(candles.close, ahead > candles.close * 1.05)


def a_line_through_all_the_data(candles):
    at = np.arange(len(candles))
    slope, level = np.polyfit(at, candles.close, 1)
    return rows(candles.close, np.sign(slope * at + level - candles.close))


def the_day_labelled_by_its_beginning(candles):
    closes = candles.to_pandas()["close"]
    day = closes.resample("1D", label="left", closed="left").last()
    return rows(candles.close, np.sign(day.reindex(closes.index, method="ffill") - closes))


def filled_backwards(candles):
    closes = series(candles)
    pivots = closes.where((closes > closes.shift(1)) & (closes > closes.shift(2))).bfill()
    return rows(candles.close, np.sign(pivots - closes))


def a_table_of_later_rows(candles):
    ahead = TABLE["close"].shift(-3)
    later = ahead.reindex(pd.to_datetime(candles.timestamp, unit="ms", utc=True)).to_numpy()
    return rows(candles.close, np.sign(later - candles.close))


# -- leaks: get_signal ---------------------------------------------------------------------------------------------


def a_global_table(when, price):
    later = TABLE["close"].loc[when:].iloc[:5]
    return trade(price, later.iloc[-1] > price)


def a_closure():
    candles = HOURS

    def get_signal(ctx):
        at = int(np.searchsorted(candles.timestamp, ctx.when_ms))
        return trade(ctx.price, candles.close[at] > ctx.price)

    return get_signal


CLOSURE = a_closure()


def a_clock(ctx):
    if dt.datetime.now(dt.UTC).year > 2000:
        return trade(ctx.price, ctx.candles("1h", 2).close[-1] > ctx.price)
    return None


def another_clock(ctx):
    if pd.Timestamp.now().year > 2000:
        return trade(ctx.price, ctx.candles("1h", 2).close[-1] > ctx.price)
    return None


def the_end_of_the_window(ctx):
    closes = ctx._newest.__self__.minutes(ctx.symbol).candles.close
    return trade(ctx.price, closes[-1] > ctx.price)


def only_where_there_is_a_future(ctx):
    candles = ctx._newest.__self__.minutes(ctx.symbol).candles
    later = candles.close[candles.timestamp >= ctx.when_ms]
    return trade(ctx.price, up=not len(later) or round(later[0], 2) == later[0])


def how_long_the_data_will_be(ctx):
    return trade(ctx.price, up=len(ctx._newest.__self__.minutes(ctx.symbol).candles) > 8_500)


tick = time.time


def a_clock_of_another_name(ctx):
    return trade(ctx.price, ctx.candles("1h", 2).close[-1] > ctx.price) if tick() > 1.6e9 else None


def chance(ctx):
    return trade(ctx.price, random.random() > 0.5)  # noqa: S311


def chance_of_numpy(ctx):
    return trade(ctx.price, np.random.rand() > 0.5)  # noqa: NPY002


def a_counter():
    asked = []

    def get_signal(ctx):
        asked.append(ctx.when)
        return trade(ctx.price, len(asked) % 3 == 0)

    return get_signal


def a_source(ctx):
    later = asyncio.run(DEMO.get_candles(ctx.symbol, "1m", ctx.when_ms, 30))
    return trade(ctx.price, later.close[-1] > ctx.price)


def numbers_from_the_end(ctx):
    return trade(ctx.price, CLOSES[-1] > ctx.price)


class Model:
    """A model that was given everything."""

    def __init__(self):
        self.table = TABLE

    def get_signal(self, ctx):
        best = self.table["close"].loc[ctx.when : ctx.when + pd.Timedelta(hours=12)].max()
        return trade(ctx.price, best > ctx.price * 1.005)


class Table:
    """A model that is a class."""

    closes = TABLE["close"]

    @classmethod
    def get_signal(cls, ctx):
        return trade(ctx.price, cls.closes.loc[ctx.when : ctx.when + pd.Timedelta(hours=12)].max() > ctx.price * 1.005)


def as_much_as_there_is(ctx):
    for limit in (3000, 1000, 500, 250, 125, 60, 30):
        try:
            closes = ctx.candles("1h", limit).close
        except bknb.NotEnoughData:
            continue
        return trade(ctx.price, ctx.price > closes.mean())
    return None


LEAKS = [
    (the_next_return, "future", "1 candle ahead"),
    (a_centred_average, "future", "4 candles ahead"),
    (the_mean_of_the_whole_sample, "future", "ahead"),
    (the_high_still_to_come, "future", "ahead"),
    (a_line_through_all_the_data, "future", "ahead"),
    (the_day_labelled_by_its_beginning, "future", "ahead"),
    (filled_backwards, "future", "ahead"),
    (a_table_of_later_rows, "future", "TABLE"),
    (a_global_table, "future", "TABLE"),
    (CLOSURE, "future", "candles"),
    (a_clock, "clock", "datetime.now"),
    (another_clock, "clock", "Timestamp.now"),
    (the_end_of_the_window, "future", "candles that had not closed"),
    (how_long_the_data_will_be, "future", "candles that had not closed"),
    (only_where_there_is_a_future, "future", "candles that had not closed"),
    (a_clock_of_another_name, "clock", "time.time (test_check_lookahead.py, line"),
    (chance, "chance", "random numbers"),
    (chance_of_numpy, "chance", "random numbers"),
    (a_counter(), "memory", "keeps between two questions"),
    (a_source, "future", "DEMO"),
    (numbers_from_the_end, "future", "CLOSES"),
    (Model().get_signal, "future", "self.table"),
    (Table.get_signal, "future", "Table.closes"),
    (as_much_as_there_is, "history", "history"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("function", "kind", "what"), LEAKS, ids=[str(n) + each[1] for n, each in enumerate(LEAKS)])
def test_a_planted_leak_is_found_and_named(function, kind, what):
    report = checked(function)
    assert not report.ok
    assert report.findings, report
    worst = report.findings[0]
    assert worst.kind == kind, report
    assert what in worst.what, report
    assert worst.when is not None


@pytest.mark.slow
def test_a_file_of_history_is_noticed(tmp_path):
    path = tmp_path / "history.csv"
    TABLE.to_csv(path)

    def get_signal(ctx):
        table = pd.read_csv(path, index_col=0, parse_dates=True)
        return trade(ctx.price, table["close"].loc[ctx.when :].iloc[4] > ctx.price)

    worst = check(get_signal, moments=8, interval="6h").findings[0]
    assert (worst.kind, "history.csv" in worst.what) == ("future", True)


@pytest.mark.slow
def test_the_signal_the_moment_and_the_candle_are_named():
    finding = checked(the_next_return).findings[0]
    assert finding.candle == finding.when  # it opens when the row is acted on
    assert "became nothing" in finding.signal
    ahead = checked(a_table_of_later_rows).findings[0]
    assert ahead.candle == ahead.when + 2 * 3_600_000
    peeked = checked(CLOSURE).findings[0]
    assert peeked.candle == peeked.when


# -- without look-ahead --------------------------------------------------------------------------------------------


def crossing(ctx):
    closes = ctx.candles("1h", 31).close
    return trade(ctx.price, closes[-10:].mean() > closes[-30:].mean())


def crossing_in_rows(candles, fast=10, slow=30):
    closes = series(candles)
    return rows(candles.close, np.sign(closes.rolling(fast).mean() - closes.rolling(slow).mean()))


def exponential(candles):
    closes = series(candles)
    fast, slow = (closes.ewm(span=span, adjust=False).mean() for span in (4, 9))
    crossed = np.sign(fast - slow).diff().fillna(0)
    return rows(candles.close, np.sign(crossed))


def strength(candles):
    moves = series(candles).diff()
    up, down = moves.clip(lower=0).rolling(14).mean(), -moves.clip(upper=0).rolling(14).mean()
    index = 100 - 100 / (1 + up / down)
    return rows(candles.close, np.where(index < 30, 1, np.where(index > 70, -1, 0)))


def breakout(ctx):
    candles = ctx.candles("4h", 20)
    if ctx.price > candles.high[:-1].max():
        return trade(ctx.price, up=True)
    return trade(ctx.price, up=False) if ctx.price < candles.low[:-1].min() else None


def several_intervals(ctx):
    day, hour = ctx.candles("1d", 3).close, bknb.get_candles(ctx.symbol, "1h", 3).close
    return trade(ctx.price, up=True) if day[-1] > day[0] and hour[-1] < hour[0] else None


def by_the_calendar(ctx):
    return trade(ctx.price, up=True) if ctx.when.weekday() < 5 and ctx.when.hour in (8, 14) else None


def a_table_read_honestly(when, price):
    known = TABLE["close"].loc[: when - pd.Timedelta(hours=1)].iloc[-24:]
    return trade(price, price > known.mean())


def finished_days_only(candles):
    closes = candles.to_pandas()["close"]
    day = closes.resample("1D").last().shift(1)
    return rows(candles.close, np.sign(closes - day.reindex(closes.index, method="ffill")))


@lru_cache(maxsize=64)
def _level(price):
    return round(price, -2)


def a_helper_with_a_cache(ctx):
    return trade(ctx.price, ctx.price > _level(ctx.price))


async def waiting_for_something(ctx):
    await asyncio.sleep(0)
    return trade(ctx.price, ctx.candles("1h", 2).close[-1] > WEIGHTS[2] * ctx.candles("1h", 2).close.sum())


class Limit:
    """Waits below the market."""

    def __init__(self, distance):
        self.distance = distance

    def __call__(self, ctx):
        price = ctx.price * (1 - self.distance)
        return bknb.Signal(
            position="long",
            price_open=price,
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.98,
            minute_estimated_time=300,
        )


class Rise:
    """Has no dictionary of its attributes."""

    __slots__ = ("length",)

    def __init__(self, length):
        self.length = length

    def get_signal(self, ctx):
        closes = ctx.candles("1h", self.length).close
        return trade(ctx.price, closes[-1] > closes[0])


def chance_with_a_seed_of_its_own(ctx):
    return trade(ctx.price, np.random.default_rng(ctx.when_ms).random() > 0.5)


HONEST = [
    crossing,
    crossing_in_rows,
    exponential,
    strength,
    breakout,
    several_intervals,
    by_the_calendar,
    a_table_read_honestly,
    finished_days_only,
    a_helper_with_a_cache,
    waiting_for_something,
    Limit(0.003),
    Rise(3).get_signal,
    chance_with_a_seed_of_its_own,
]


QUICK = [crossing]


@pytest.mark.parametrize(
    "function",
    some_quick(HONEST, QUICK),
    ids=lambda function: getattr(function, "__name__", "Limit"),
)
def test_a_strategy_without_look_ahead_passes(function):
    report = checked(function)
    assert report.ok, report
    assert report.signals > 5
    assert report.to_pandas().empty


# -- leaks and honest ones of the same kinds --------------------------------------------------------------------------


class Served(http.server.BaseHTTPRequestHandler):
    """Answers with the close of the candle that opens at the moment asked for."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(cases.BY_MOMENT[int(self.path[1:])]).encode())

    def log_message(self, *told):
        """Keep silent."""


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """What the cases read: files, a database, a server, another module."""
    folder = tmp_path_factory.mktemp("outside")
    cases.TABLE.reset_index(names="t").to_csv(folder / "hours.csv", index=False)
    np.save(folder / "hours.npy", cases.ARRAY)
    cases.TABLE.to_pickle(folder / "hours.pickle")
    (folder / "settings.json").write_text('{"slow": 20, "factor": 1.001}')
    connection = sqlite3.connect(folder / "hours.db", check_same_thread=False)
    connection.execute("create table candles (t integer, close real)")
    connection.executemany("insert into candles values (?, ?)", cases.BY_MOMENT.items())
    connection.commit()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    module = f"import numpy as np\nHOURS = np.load({str(folder / 'hours.npy')!r})\n"
    (folder / "hours_of_another_module.py").write_text(module)
    sys.path.insert(0, str(folder))
    ends = {"csv": "csv", "npy": "npy", "pickle": "pickle", "sql": "db"}
    cases.PLACES.update({name: str(folder / f"hours.{end}") for name, end in ends.items()})
    cases.PLACES.update(json=str(folder / "settings.json"), url=f"http://127.0.0.1:{server.server_port}")
    cases.CONNECTION = connection
    yield folder
    cases.CONNECTION = None
    connection.close()
    server.shutdown()
    server.server_close()
    thread.join()
    sys.path.remove(str(folder))
    sys.modules.pop("hours_of_another_module", None)


def case(function):
    return bknb.check_lookahead(function, exchange="demo", frame=cases.FRAME, interval="1h", moments=12)


@pytest.mark.slow
@pytest.mark.parametrize("name", cases.LEAKS)
def test_a_leak_of_any_kind_is_found(name, outside):
    report = case(cases.LEAKS[name])
    assert report.findings, report
    assert report.findings[0].kind == ("memory" if name == "by_counting" else "future"), report
    assert not report.ok
    assert report.signals > 0  # it was found in answers, not in their absence


@pytest.mark.slow
@pytest.mark.parametrize("name", every(cases.CLEAN, 3))
def test_an_honest_strategy_of_the_same_kind_passes(name, outside):
    report = case(cases.CLEAN[name])
    assert report.ok, report
    assert report.verdict.startswith(f"nothing found in {report.moments} moments")


def test_the_lists_are_long_enough():
    assert len(cases.LEAKS) >= 40
    assert len(cases.CLEAN) >= 40


def without_text(text, **values):
    """A strategy whose statements nobody can read."""
    space = {"bknb": bknb, "trade": cases.trade, "HOUR": cases.HOUR, **values}
    exec(text, space)  # noqa: S102
    return space["get_signal"]


LOOK_UP = "def get_signal(ctx): return trade(ctx, ROW.asof(ctx.when - HOUR) > ctx.price)"


@pytest.mark.slow
def test_without_text_copies_of_prices_are_known_by_their_values():
    finding = case(without_text(LOOK_UP, ROW=cases.NEXT.copy())).findings[0]
    assert (finding.kind, "ROW" in finding.what) == ("future", True)
    assert case(without_text(LOOK_UP, ROW=cases.LAGGED.copy())).ok


@pytest.mark.slow
def test_without_text_entries_that_are_right_too_often_are_found():
    row = cases.LABELLED.ahead.copy()
    report = case(without_text("def get_signal(ctx): return trade(ctx, ROW.asof(ctx.when - HOUR) > 0)", ROW=row))
    assert [finding.kind for finding in report.findings] == ["accuracy"]
    assert report.accuracy.right > report.accuracy.reached > report.accuracy.causal - 0.1
    assert any("ROW" in text for text in report.cannot_see)


CELLS = [
    "",
    "%matplotlib inline\nimport pandas as pd",
    "closes = CLOSE.copy()",
    "mean = float(closes.mean())\nlag = closes.shift(1)",
    "def knowing(ctx): return trade(ctx, ctx.price > mean)",
    "def honest(ctx): return trade(ctx, ctx.price > lag.asof(ctx.when))",
]


@pytest.mark.slow
def test_cells_of_a_notebook_are_run_again():
    space = {"trade": cases.trade, "CLOSE": cases.CLOSE, "In": CELLS, "get_ipython": lambda: None}
    for cell in CELLS:
        exec(cell.replace("%matplotlib inline", ""), space)  # noqa: S102
    finding = case(space["knowing"]).findings[0]
    assert (finding.kind, "mean" in finding.what) == ("future", True)
    assert case(space["honest"]).ok
    assert space["mean"] == cases.MEAN


def test_statements_name_what_is_the_modules_and_nothing_of_cells_that_cannot_run():
    cells = [
        "",
        "a = 1\nreturn a",
        "table = await loading(source)",
        "names = [c.title() for c in table]",
        "sized = {c: (last := c) for c in names}",
        "pick = lambda row, lag=sized: row[lag][names]",
        "def made(rows):\n    own = rows\n    return own + pick(rows)",
    ]
    statements = statements_of({"In": cells, "get_ipython": lambda: None})
    assert [(sorted(one.makes), sorted(one.reads)) for one in statements] == [
        (["table"], ["loading", "source"]),
        (["names"], ["table"]),
        (["last", "sized"], ["names"]),
        (["pick"], ["names", "sized"]),
        (["made"], ["pick"]),
    ]


@pytest.mark.slow
def test_a_number_imported_from_a_module_is_made_again(tmp_path, monkeypatch):
    np.save(tmp_path / "closes.npy", cases.ARRAY)
    (tmp_path / "made_numbers.py").write_text(
        f"import numpy as np\ncloses = np.load({str(tmp_path / 'closes.npy')!r})\nmean = float(closes.mean())\n"
    )
    (tmp_path / "made_strategy.py").write_text(
        "from lookahead_cases import trade\nfrom made_numbers import mean as level\n"
        "def get_signal(ctx): return trade(ctx, ctx.price > level)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_numbers", raising=False)
    monkeypatch.delitem(sys.modules, "made_strategy", raising=False)
    import made_strategy

    report = case(made_strategy.get_signal)
    assert "level" in report.findings[0].what, report
    assert made_strategy.level == cases.MEAN


def test_what_cannot_be_seen_is_said():
    report = case(without_text("def get_signal(ctx): return trade(ctx, ctx.price > LEVEL)", LEVEL=cases.MEAN))
    assert any("LEVEL" in text for text in report.cannot_see), report
    assert "typed in" in repr(report)
    assert "Cannot see" in report.report()


def reads_a_column(column):
    def get_signal(ctx):
        value = column.asof(ctx.when - pd.Timedelta(hours=1))
        return None if np.isnan(value) else trade(ctx.price, up=value > 0)

    return get_signal


def standardised():
    return (TABLE.close - TABLE.close.mean()) / TABLE.close.std()


@pytest.mark.slow
def test_a_column_that_nothing_can_make_again_is_named():
    """Standardised over the whole table by a function that is over: no variable and no statement has it."""
    report = check(reads_a_column(standardised()), moments=8)
    assert any(text.startswith("how column came about") and "bknb.indicator" in text for text in report.cannot_see)
    prices = check(reads_a_column(TABLE.close), moments=8)
    assert not any("column came about" in text for text in prices.cannot_see)


@pytest.mark.slow
def test_the_same_question_gets_the_same_verdict():
    assert repr(case(cases.LEAKS["a_closure"])) == repr(case(cases.LEAKS["a_closure"]))


def test_statements_that_reach_outside_are_not_run_again(tmp_path):
    path = tmp_path / "written.txt"
    with nothing_changed_outside(), pytest.raises(PermissionError, match="second time"):
        path.write_text("again")
    assert not path.exists()


def test_other_threads_read_what_there_is(tmp_path):
    """A live run beside a check reads its files as they are."""
    path = tmp_path / "prices.csv"
    path.write_text("1.5")
    begin, done, seen = threading.Event(), threading.Event(), []

    def bystander():
        begin.wait(10)
        seen.append(path.read_text())
        done.set()

    thread = threading.Thread(target=bystander)
    thread.start()
    with Check().running(), handing_out(lambda name, value: "9.9"):
        begin.set()
        done.wait(10)
        assert path.read_text() == "9.9"
    thread.join()
    assert seen == ["1.5"]
    assert path.read_text() == "1.5"


# -- the report ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_strategy_that_never_trades_gives_no_verdict():
    report = check(lambda ctx: None)
    assert not report.ok
    assert "nothing to compare" in report.verdict


def test_a_strategy_that_always_raises_is_reported():
    report = check(lambda ctx: 1 / 0)
    assert not report.ok
    assert "ZeroDivisionError" in report.verdict
    assert "test_check_lookahead.py, line" in report.verdict


@pytest.mark.slow
def test_errors_at_some_moments_are_told():
    def from_the_second_day_on(ctx):
        if ctx.when.day > 1:
            raise ValueError("a bug")
        return trade(ctx.price, up=True)

    report = check(from_the_second_day_on, moments=8)
    assert (report.asked - report.raised, report.ok) == (24, True)
    assert f"it raised at {report.raised} of the {report.asked} moments at which it was asked" in report.verdict
    assert "ValueError: a bug (test_check_lookahead.py, line" in repr(report)
    assert not check(crossing, moments=4).raised


def test_a_check_in_which_every_signal_raised_is_not_ok():
    def signals_that_raise(ctx):
        if ctx.when.hour % 6:
            return None
        signal = trade(ctx.price, up=True)
        signal.id = "mine"  # it is frozen
        return signal

    report = check(signals_that_raise, moments=4)
    assert not report.ok
    assert report.signals == 0
    assert "nothing to compare" in report.verdict
    assert f"it raised at {report.raised} of the {report.asked} moments" in report.verdict
    assert report.raised == report.asked // 6 + 1


@pytest.mark.parametrize("moments", [None, float("nan"), "a", 2.5, True, 1])
def test_moments_that_are_no_number_are_refused(moments):
    with pytest.raises(bknb.UsageError, match=r"whole number of at least 2, got .*\n.* leave it out"):
        check(crossing, moments=moments)


@pytest.mark.slow
def test_it_can_be_read_in_every_form():
    report = checked(the_next_return)
    assert "NOT OK" in repr(report)
    assert report.to_pandas().loc[0, "kind"] == "future"
    assert report.to_pandas()["candle"].dt.tz is not None
    assert report.report().startswith("# Look-ahead check: the_next_return on BTCUSDT")
    assert "<table" in report._repr_html_()
    assert "looks back 31 x 1h of BTCUSDT" in repr(checked(crossing))


@pytest.mark.slow
def test_variables_are_left_as_they_were():
    before = TABLE.copy()
    check(a_global_table)
    assert TABLE is globals()["TABLE"]
    pd.testing.assert_frame_equal(TABLE, before)
    state = random.getstate()
    check(chance_with_a_seed_of_its_own)
    assert random.getstate() == state


def test_a_frame_without_moments_is_refused():
    with pytest.raises(bknb.UsageError, match="longer frame"):
        bknb.check_lookahead(crossing, exchange="demo", frame=("2024-01-01", "2024-01-01 01:00"), interval="1h")


def test_it_works_while_a_loop_is_running():
    async def inside():
        return check(waiting_for_something, moments=4)

    assert asyncio.run(inside()).ok


def test_changed_candles_are_still_candles():
    changed = perturbed(HOURS, 500, seed=3)
    assert changed[:500] == HOURS[:500]
    assert not np.isclose(changed.close[500:], HOURS.close[500:]).any()
    assert (changed.low <= np.minimum(changed.open, changed.close)).all()
    assert (changed.high >= np.maximum(changed.open, changed.close)).all()


@pytest.mark.slow
def test_a_year_of_changed_minutes_stays_a_market():
    minutes = bknb.Candles.from_columns(
        timestamp=np.arange(525_600) * 60_000,
        **dict.fromkeys(("open", "high", "low", "close", "volume"), np.ones(525_600)),
    )
    for seed in range(5):
        closes = perturbed(minutes, 0, seed=seed).close
        assert 0.05 < closes.min() < closes.max() < 20


def test_no_further_experiment_follows_one_that_shows_look_ahead():
    asked = []

    def ask(when, world):
        asked.append(world)
        return ("long", 1.0, 1.0, 1.0, None) if world is AsIs else ("nothing",)

    (finding,) = check_answers(ask, [60_000], history_ms=[])
    assert finding.kind == "future"
    assert World(until=60_000) not in asked  # the first experiment has shown it


def test_a_pointer_of_its_own_into_a_list_is_memory():
    """It has come to the end of the list after the first pass, and gives the same answers again ever after."""
    place, seen = [0], []

    def appending(ctx):
        while place[0] < len(HOURS) and HOURS.timestamp[place[0]] + 3_600_000 <= ctx.when_ms:
            seen.append(HOURS.close[place[0]])
            place[0] += 1
        return trade(ctx.price, seen[-1] > np.mean(seen[-24:])) if seen else None

    report = check(appending, moments=8)
    assert {finding.kind for finding in report.findings} == {"memory"}, report


@pytest.mark.parametrize("period", [2, 3, 4, 6, 12])
def test_a_counter_in_step_with_the_moments_is_noticed(period):
    moments = [60_000 * number for number in range(1, 13)]
    for start in range(period):
        asked = itertools.count(start)

        def ask(when, world, asked=asked):
            return ("long", 1.0, 1.0, 1.0, None) if next(asked) % period == 0 else ("nothing",)

        (finding,) = check_answers(ask, moments, history_ms=[])
        assert finding.kind in ("memory", "chance")


def test_a_process_that_checked_a_strategy_ends_without_output():
    """What is opened while the modules are taken down reaches a hook that still has its names."""
    program = """
import os as early, bknb.research.tracing as tracing
tracing._install()
class Late:
    def __del__(self, path=__file__, opened=open):
        opened(path).close()
early.late = Late()
"""
    command = [sys.executable, "-c", f"__file__ = {__file__!r}\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
