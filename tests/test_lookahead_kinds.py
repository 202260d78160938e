"""A look-ahead check finds what a factor on prices does not show: signs, text, categories, wherever they are kept."""

from __future__ import annotations

import importlib
import json
import sys

import lookahead_cases as cases
import numpy as np
import pandas as pd
import pytest
from lookahead_carriers import CALENDARS, CARRIERS, HOURS, VALUES, H, rows_of
from quick import every, some_quick

import bknb
from bknb.market.candles import Candles
from bknb.research.foresight import foresight, suspicion
from bknb.research.market_values import MarketValues
from bknb.research.moment_parsing import as_moments
from bknb.research.other_future import OtherFuture
from bknb.research.paired_rows import paired
from bknb.research.patched_readers import name_of
from bknb.research.rows_swapped_in_strategy_data import is_dense, is_history
from bknb.research.timed_data import backwards, beside, timed
from bknb.research.variables import Variable

NOW = pd.Timestamp("2024-01-03 12:00", tz="UTC")
NOW_MS = int(NOW.timestamp() * 1000)
START = int(HOURS[0].timestamp() * 1000)
HOUR = pd.Timedelta(hours=1)
SCORES = pd.Series(np.random.default_rng(11).normal(size=len(HOURS)), index=HOURS)


def minutes():
    count = len(HOURS) * 60
    price = 60_000 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.0004, size=count)))
    ahead = np.append(price[1:], price[-1])
    return Candles.from_columns(
        timestamp=START + 60_000 * np.arange(count),
        open=price,
        high=np.maximum(price, ahead),
        low=np.minimum(price, ahead),
        close=ahead,
        volume=np.ones(count),
    )


MINUTES = minutes()
MARKET = MarketValues(MINUTES)
HOURLY = pd.Series(np.log(MINUTES.open), index=pd.to_datetime(MINUTES.timestamp, unit="ms", utc=True)).reindex(HOURS)
MOVES = HOURLY.diff()  # of the hour before each moment


def other_futures(value):
    return [OtherFuture(NOW_MS, MARKET, jump, exchange=True).of(value) for jump in (0.25, -0.25)]


HELD = [(kind, each) for kind in VALUES for each in CARRIERS if (kind, each) != ("dictionaries", "categories")]
QUICK = [each for each in HELD if each[0] == "text"]


@pytest.mark.parametrize(("kind", "carrier"), some_quick(HELD, QUICK))
def test_rows_after_the_moment_hold_something_else_and_those_before_what_they_did(kind, carrier):
    make, read = CARRIERS[carrier]
    values = pd.Series([VALUES[kind](score) for score in SCORES], index=HOURS)
    data = make(values)

    def at(value, hours):
        return [read(value, NOW + hour * HOUR, NOW_MS + hour * H) for hour in hours]

    before, after = range(-20, 1), range(1, 40)
    for other in other_futures(data):
        assert other is not data
        assert type(other) in (type(data), dict)
        assert at(other, before) == at(data, before)
        changed = [new != old for new, old in zip(at(other, after), at(data, after), strict=True)]
        assert sum(changed) >= 10


@pytest.mark.parametrize("name", CALENDARS)
def test_what_may_be_a_calendar_or_settings_stays(name):
    some = np.sort(np.random.default_rng(4).choice(len(HOURS), 60, replace=False))
    events = pd.Series(np.random.default_rng(4).choice(["rates", "prices", "jobs"], 60), index=HOURS[some])
    value = CALENDARS[name](events)
    data = timed(value, MARKET.span)
    assert data is None or not is_history(value, data)
    for other in other_futures(value):
        assert other is value


def test_volumes_have_another_future_as_prices_have():
    late = MINUTES.timestamp >= NOW_MS
    for other in other_futures(MINUTES):
        assert (other.volume[late] != MINUTES.volume[late]).all()
        assert (other.volume[~late] == MINUTES.volume[~late]).all()


def test_names_and_text_of_a_table_that_may_be_a_calendar_stay():
    some = HOURS[np.sort(np.random.default_rng(4).choice(len(HOURS), 60, replace=False))]
    table = pd.DataFrame({"time": some, "event": ["rates", "jobs"] * 30, "surprise": np.arange(60.0)})
    for other in other_futures(table):
        assert other[["time", "event"]].equals(table[["time", "event"]])
        late = (table.time > NOW).to_numpy()
        assert (other.surprise[late] != table.surprise[late]).mean() > 0.8
        assert other.surprise[~late].equals(table.surprise[~late])


def test_what_the_time_of_day_tells_is_a_schedule():
    shut = pd.Series([hour.hour not in range(8, 20) for hour in HOURS], index=HOURS)
    wild = SCORES > 0
    for series, dense in ((shut, False), (wild, True), (wild[wild], False), (wild.resample("1D").max(), False)):
        assert is_dense(series, timed(series)) == dense


MOMENTS_AS = {
    "milliseconds": lambda ms: ms,
    "seconds": lambda ms: ms // 1000,
    "minutes": lambda ms: ms // 60_000,
    "hours": lambda ms: ms // H,
    "microseconds": lambda ms: ms * 1000,
    "nanoseconds": lambda ms: ms * 1_000_000,
    "text": lambda ms: f"{pd.Timestamp(ms, unit='ms'):%Y-%m-%d %H:%M}",
    "text with a zone": lambda ms: pd.Timestamp(ms, unit="ms", tz="America/New_York").isoformat(),
    "digits": str,
    "time stamps": lambda ms: pd.Timestamp(ms, unit="ms"),
    "periods": lambda ms: pd.Period(pd.Timestamp(ms, unit="ms"), "h"),
}


@pytest.mark.parametrize("spelling", MOMENTS_AS)
def test_moments_are_read_as_they_are_written(spelling):
    moments = [ms for ms, _ in rows_of(SCORES)]
    found = as_moments([MOMENTS_AS[spelling](ms) for ms in moments], MARKET.span)
    assert found is not None
    assert found.tolist() == moments


@pytest.mark.parametrize(
    "values",
    [
        [19_000 + 100 * at for at in range(60)],  # prices that could be days, of another year
        list(range(200)),
        [0.5, 1.5, 2.5],
        ["BTCUSDT", "ETHUSDT"],
        ["2024", "2025", "2026"],
        [True, False, True],
        [None, None],
        [],
    ],
)
def test_other_values_are_no_moments(values):
    assert as_moments(values, MARKET.span) is None


def test_two_lists_are_rows_and_put_back_as_they_were():
    box = {"times": [ms for ms, _ in rows_of(SCORES)], "values": SCORES.tolist(), "weights": [0.1] * 20}
    held = [Variable(name, value, lambda new, name=name: box.__setitem__(name, new)) for name, value in box.items()]
    (found,) = paired(held)
    assert (found.name, found.value.index[0]) == ("values", HOURS[0])
    before = box["values"]
    with found.replaced(other_futures(found.value)[0]):
        assert isinstance(box["values"], list)
        place = box["times"].index(NOW_MS) + 1
        assert box["values"][:place] == before[:place]
        assert box["values"][place:] != before[place:]
    assert box["values"] is before


def test_a_list_of_rows_of_several_lengths_is_no_column():
    ragged = [[1.0] * (1 + at % 3) for at in range(40)]
    assert paired([Variable(name, value, print) for name, value in (("a", ragged), ("b", ragged))]) == []


def test_a_list_beside_moments_that_the_time_of_day_tells_is_no_history():
    shut = [float(hour.hour in range(8)) for hour in HOURS]
    held = [Variable(name, value, print) for name, value in (("t", [ms for ms, _ in rows_of(SCORES)]), ("v", shut))]
    assert paired(held) == []


# -- what goes with later moves ------------------------------------------------------------------------------------

EARLY = {
    "the move of the hour ahead": (MOVES.shift(-1), 0),
    "its sign in words": (MOVES.shift(-1).map(lambda move: "up" if move > 0 else "down"), 0),
    "a noisy view of it": (MOVES.shift(-1) + SCORES * MOVES.std() * 0.6, 0),
    "moves in another zone": (MOVES.shift(-5), 4),
    "a level in another zone": (HOURLY.shift(-8), 7),
}
HONEST = {
    "the last move": MOVES,
    "its sign in words": MOVES.map(lambda move: "up" if move > 0 else "down"),
    "a level": HOURLY,
    "a level above its average": HOURLY - HOURLY.rolling(24).mean(),
    "a day's move": HOURLY.diff(24),
    "moves known late": MOVES.shift(5),
    "noise": SCORES,
    "a walk": SCORES.cumsum(),
    "the clock": pd.Series(HOURS.hour.astype(float), index=HOURS),
    "one number": SCORES * 0.0,
    "nothing": SCORES * np.nan,
    "notes": pd.Series([f"note {at}" for at in range(len(HOURS))], index=HOURS),
}


def foresight_of(series, rows=96):
    part = series[series.index >= NOW - 24 * HOUR][:rows]
    known = np.array([ms for ms, _ in rows_of(part)])
    return foresight(known, [part.to_numpy(), SCORES[part.index].to_numpy()], MINUTES, H)


@pytest.mark.parametrize("name", EARLY)
def test_what_goes_with_later_moves_is_noticed_in_a_few_days(name):
    series, begin = EARLY[name]
    found = foresight_of(series)
    assert found is not None
    assert (found.column, found.begin, found.end) == (0, begin * H, (begin + 1) * H)
    assert abs(found.correlation) > found.past + 0.3


@pytest.mark.parametrize("name", HONEST)
def test_what_the_past_knows_goes_with_no_later_move(name):
    assert foresight_of(HONEST[name]) is None


def test_a_row_read_an_hour_after_its_label_is_no_later_move():
    labels = np.array([ms for ms, _ in rows_of(SCORES)])
    columns = {"ahead": MOVES.shift(-1).to_numpy()}

    def reading(behind):
        def moved(name, when, since):
            return name == "ahead" and when - behind > since

        return suspicion("it", labels, columns, MINUTES, H, moments=[NOW_MS, NOW_MS + H], moved=moved)

    (found,) = reading(0)
    assert (found.kind, found.when) == ("accuracy", NOW_MS)
    assert found.what.endswith("0 to 1 hours after its rows are read")
    assert reading(H) == []
    assert suspicion("it", labels, columns, MINUTES, H, moments=[NOW_MS], moved=lambda *_: False) == []


def test_few_rows_cannot_be_told():
    assert foresight_of(MOVES.shift(-1), rows=19) is None


@pytest.mark.slow
def test_noise_is_rarely_noticed():
    rng = np.random.default_rng(8)
    kinds = [rng.normal(size=len(HOURS)) for _ in range(10)]
    kinds += [np.cumsum(each) for each in rng.normal(size=(10, len(HOURS)))]
    assert not [kind for kind in kinds if foresight_of(pd.Series(kind, index=HOURS))]


def test_one_column_of_a_table_is_turned_around():
    table = pd.DataFrame({"time": HOURS, "a": SCORES.to_numpy(), "b": 1.0})
    other = backwards(table, timed(table), "a", NOW_MS)
    assert [*other.a[HOURS <= NOW]] == [*SCORES[:NOW]]
    late = SCORES[HOURS > NOW]
    assert [*other.a[HOURS > NOW]] == [*SCORES[::-1][-len(late) :]]
    assert other[["time", "b"]].equals(table[["time", "b"]])
    assert [*beside(table)] == ["a", "b"]


# -- whole checks --------------------------------------------------------------------------------------------------

HEAD = """
import json
import pandas as pd
import lookahead_cases as cases
from lookahead_cases import CLOSE
H, HOUR = 3_600_000, pd.Timedelta(hours=1)
"""
SEVERAL = 'BASE = pd.read_csv({path!r}, parse_dates=["published_at"])\n'
READ_PARTS = "with open({parts!r}) as file:\n    SCORES = {{tuple(day): score for *day, score in json.load(file)}}\n"
MODULES = {
    "a table made of one with text": (
        SEVERAL + 'TABLE = BASE.set_index("published_at").sort_index()\n',
        "cases.trade(ctx, TABLE[TABLE.index <= ctx.when {shift} * HOUR].score.iloc[-1] > 0)",
    ),
    "several generations": (
        SEVERAL + 'JOINED = pd.concat([BASE[:90], BASE[90:]]).merge(pd.DataFrame({{"text": ["note"], "k": [1]}}))\n'
        'PIVOT = JOINED.pivot(index="published_at", columns="k", values="label")\n'
        "BY_HOUR = {{int(when.timestamp()) // 3600: label for when, label in PIVOT[1].items()}}\n",
        'cases.trade(ctx, BY_HOUR[ctx.when_ms // H {shift}] == "bullish")',
    ),
    "the same over every other future": (
        READ_PARTS
        + "WAS_UP = pd.Series([SCORES.get((t.month, t.day, t.hour), 0) > 0 for t in CLOSE.index], CLOSE.index)\n",
        "cases.trade(ctx, bool(WAS_UP[ctx.when {shift} * HOUR]))",
    ),
    "hours of another file": (
        "with open({json!r}) as file:\n    BY_HOUR = {{int(hour): score for hour, score in json.load(file).items()}}\n",
        "cases.trade(ctx, BY_HOUR[ctx.when_ms // H {shift}] > 0)",
    ),
}
HOURS_OF_CLOSES = """
def hours():
    c = cases.CLOSE.index
    return pd.DataFrame({"close": cases.CLOSE.to_numpy()}, index=c)

BASE = hours()
TABLE = BASE.copy()
"""
RENAMED = {  # by statements with a variable of the name that is a variable of the function above as well
    "a list": "TABLE.columns = [c.title() for c in TABLE.columns]",
    "a set": "TABLE.columns = sorted({c.title() for c in TABLE.columns})",
    "a dictionary": "TABLE = TABLE.rename(columns={c: c.title() for c in TABLE.columns})",
    "a generator": "TABLE.columns = list(c.title() for c in TABLE.columns)",
    "a function without name": "TABLE = TABLE.rename(columns=lambda c: c.title())",
    "a function": "def title(c):\n    return c.title()\nTABLE = TABLE.rename(columns=title)",
    "an assignment within": "TABLE.columns = [(c := old).title() for old in TABLE.columns]",
    "a loop": "for c in list(TABLE.columns):\n    TABLE[c.title()] = TABLE.pop(c)",
    "two loops": "for c in BASE:\n    BASE[c] = BASE[c] * 1.0\nfor c in [*TABLE]:\n    TABLE[c.title()] = TABLE.pop(c)",
}
for way, statement in RENAMED.items():
    MODULES[f"columns renamed by {way}"] = (
        (HOURS_OF_CLOSES + statement + "\n").replace("{", "{{").replace("}", "}}"),
        "cases.trade(ctx, TABLE.Close[ctx.when - 2 * HOUR {shift} * 2 * HOUR] > ctx.price)",
    )


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes and imports a strategy over files of scores, read some hours on."""
    table = pd.DataFrame({"published_at": HOURS, "score": SCORES.to_numpy(), "text": "note"})
    table["label"] = np.where(table.score > 0, "bullish", "bearish")
    table.to_csv(tmp_path / "scores.csv", index=False)
    by_hour = {str(ms // H): score for ms, score in rows_of(SCORES)}
    (tmp_path / "scores.json").write_text(json.dumps(by_hour))
    parts = [[t.month, t.day, t.hour, score] for t, score in SCORES.items()]
    (tmp_path / "parts.json").write_text(json.dumps(parts))
    monkeypatch.syspath_prepend(tmp_path)

    def make(name, shift):
        statements, answer = MODULES[name]
        names = {"path": "scores.csv", "json": "scores.json", "parts": "parts.json"}
        files = {key: str(tmp_path / name) for key, name in names.items()}
        text = f"{HEAD}{statements.format(**files)}\ndef get_signal(ctx):\n    return {answer.format(shift=shift)}\n"
        (tmp_path / "kinds_strategy.py").write_text(text)
        monkeypatch.delitem(sys.modules, "kinds_strategy", raising=False)
        importlib.invalidate_caches()
        return __import__("kinds_strategy").get_signal

    return make


def check(function):
    frame = ("2024-01-02", "2024-01-04")
    return bknb.check_lookahead(function, exchange="demo", frame=frame, interval="1h", moments=8)


@pytest.mark.slow
@pytest.mark.parametrize("name", every(MODULES, 2))
def test_an_hour_ahead_in_a_file_of_scores_is_found(module, name):
    report = check(module(name, "+ 1"))
    assert report.findings[0].kind == "future", report


@pytest.mark.slow
@pytest.mark.parametrize("name", every(MODULES, 3))
def test_the_same_files_read_as_they_were_known_pass(module, name):
    assert check(module(name, "+ 0")).ok


@pytest.mark.slow
def test_a_history_that_statements_make_the_same_is_cut_off(module):
    """They are run again over other prices, of which it has nothing but the hours."""
    finding = check(module("the same over every other future", "+ 1")).findings[0]
    assert (finding.kind, finding.what) == ("future", "rows of the variable WAS_UP that were not known yet")


def by_series(ctx):
    rows = ctx.series("scores", 1)
    return cases.trade(ctx, rows.score[-1] > 0) if len(rows) else None


def registered(series):
    bknb.add_series("scores", pd.DataFrame({"published_at": series.index, "score": series.to_numpy()}).dropna())
    return check(by_series)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hours", "of"), [(1, "0 to 1 hours"), (5, "4 to 5 hours")], ids=["the future", "another zone"]
)
def test_a_series_that_goes_with_later_moves_is_a_suspicion(hours, of):
    report = registered(np.log(cases.ENDS.close).diff().shift(-hours))
    assert report.suspected, report
    (finding,) = report.findings
    assert finding.what.startswith("the column score of the series scores goes with the move of the market " + of)


@pytest.mark.slow
def test_a_series_of_past_moves_is_none():
    assert registered(np.log(cases.ENDS.close).diff()).ok


@pytest.mark.slow
def test_a_column_of_later_moves_that_no_answer_depends_on_is_none():
    moves = np.log(cases.ENDS.close).diff()
    table = pd.DataFrame({"published_at": moves.index, "score": moves.to_numpy(), "target": moves.shift(-1).to_numpy()})
    bknb.add_series("scores", table.dropna())
    assert check(by_series).ok


def test_text_that_is_read_itself_is_no_file():
    names = [name_of(text) for text in ('{"1704067200000": 1.0}', " [1, 2]", "a,b\n1,2", "prices.csv")]
    assert names == ["data in memory"] * 3 + ["the file prices.csv"]
