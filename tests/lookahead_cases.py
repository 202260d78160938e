"""Strategies that know the future, each in another way, and at least as many that do the same things honestly.

``LEAKS`` and ``CLEAN`` hold them by name. ``H`` is an hour in milliseconds, ``TABLE`` the market's hours. What is read
from outside (files, a database, a server) lies where ``PLACES`` says; the test puts it there.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import io
import json
import os
import pickle
import random
import sqlite3
import subprocess
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd

import bknb
from bknb.market.fetch_loop import fetch_now

H = 3_600_000
FRAME = ("2024-01-02", "2024-01-07")
T0 = 1_704_067_200_000
HOUR, DAY = pd.Timedelta(hours=1), pd.Timedelta(days=1)
MINUTES = asyncio.run(bknb.exchanges.demo().get_candles("BTCUSDT", "1m", T0 - 7 * 24 * H, 15 * 1440))
MINUTE_TABLE = pd.DataFrame(
    {name: getattr(MINUTES, name) for name in ("open", "high", "low", "close", "volume")},
    index=pd.to_datetime(MINUTES.timestamp, unit="ms", utc=True),
)
TABLE = MINUTE_TABLE.resample("1h").agg(
    {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
)
CLOSE = TABLE.close
ARRAY = CLOSE.to_numpy()
LIST = ARRAY.tolist()
MOMENTS = CLOSE.index.astype("datetime64[ms, UTC]").astype("int64").tolist()
START = MOMENTS[0]
BY_MOMENT = dict(zip(MOMENTS, LIST, strict=True))
TRAINING = CLOSE[CLOSE.index < pd.Timestamp("2024-01-01", tz="UTC")]

PLACES = {}
CONNECTION = None
LEAKS = {}
CLEAN = {}


def leak(function):
    LEAKS[function.__name__] = function
    return function


def clean(function):
    CLEAN[function.__name__] = function
    return function


def trade(ctx, up=True):  # noqa: FBT002 -- short in every case
    side = 1 if up else -1
    return bknb.Signal(
        position="long" if up else "short",
        price_take_profit=ctx.price * (1 + side * 0.02),
        price_stop_loss=ctx.price * (1 - side * 0.02),
        minute_estimated_time=120,
    )


def if_up(ctx, level, than=None):
    return trade(ctx) if level > (ctx.price if than is None else than) else None


def at(ctx):
    """Place of the candle that opens at the moment of the question: it has not closed."""
    return (ctx.when_ms - START) // H


# -- tables --------------------------------------------------------------------------------------------------------


@leak
def a_table_read_ahead(ctx):
    return if_up(ctx, CLOSE.asof(ctx.when + HOUR))


@leak
def a_table_labelled_by_its_open(ctx):
    return if_up(ctx, CLOSE.asof(ctx.when))


@clean
def a_table_cut_at_the_moment(ctx):
    past = CLOSE[CLOSE.index + HOUR <= ctx.when]
    return if_up(ctx, past.iloc[-1], past.iloc[-10:].mean())


ENDS = TABLE.set_axis(TABLE.index + HOUR)


@clean
def a_table_labelled_by_its_end(ctx):
    return if_up(ctx, ENDS.close.asof(ctx.when), ENDS.close.asof(ctx.when - 3 * HOUR))


@leak
def normalised_over_everything(ctx):
    score = (CLOSE - CLOSE.mean()) / CLOSE.std()
    return if_up(ctx, score.loc[: ctx.when].iloc[-2], 0)


EXPANDING = (CLOSE - CLOSE.expanding(24).mean()) / CLOSE.expanding(24).std()


@clean
def normalised_over_the_past(ctx):
    return if_up(ctx, EXPANDING.asof(ctx.when - HOUR), 0)


ROLLED = (CLOSE - CLOSE.rolling(48).mean()) / CLOSE.rolling(48).std()


@clean
def normalised_over_a_window(ctx):
    return if_up(ctx, ROLLED.asof(ctx.when - HOUR), 0)


# -- columns made before -------------------------------------------------------------------------------------------

NEXT = CLOSE.shift(-1)
LABELLED = TABLE.copy()
LABELLED["ahead"] = LABELLED.close.shift(-4) / LABELLED.close - 1
LABELLED["behind"] = LABELLED.close / LABELLED.close.shift(4) - 1
LAGGED = CLOSE.shift(1)


@leak
def shifted_back(ctx):
    return if_up(ctx, NEXT.asof(ctx.when - HOUR), CLOSE.asof(ctx.when - HOUR))


@leak
def a_column_of_returns_ahead(ctx):
    return trade(ctx, LABELLED.ahead.asof(ctx.when - HOUR) > 0)


@clean
def a_column_of_returns_behind(ctx):
    return trade(ctx, LABELLED.behind.asof(ctx.when - HOUR) > 0)


@clean
def shifted_on(ctx):
    return if_up(ctx, LAGGED.asof(ctx.when))


CENTRED = CLOSE.rolling(9, center=True).mean()
AVERAGE = CLOSE.rolling(9).mean()
EXPONENTIAL = CLOSE.ewm(span=12).mean()


@leak
def a_centred_average(ctx):
    return if_up(ctx, CENTRED.asof(ctx.when - HOUR))


@clean
def an_average_of_the_past(ctx):
    return if_up(ctx, AVERAGE.asof(ctx.when - HOUR))


@clean
def an_exponential_average(ctx):
    return if_up(ctx, EXPONENTIAL.asof(ctx.when - HOUR))


LEFT = MINUTE_TABLE.close.resample("4h", label="left").last()
RIGHT = MINUTE_TABLE.close.resample("4h", label="right", closed="left").last()
YESTERDAY = MINUTE_TABLE.close.resample("1D").last().shift(1)


@leak
def labelled_by_the_beginning(ctx):
    return if_up(ctx, LEFT.asof(ctx.when))


@clean
def labelled_by_the_end(ctx):
    return if_up(ctx, RIGHT.asof(ctx.when))


@clean
def the_day_before(ctx):
    return if_up(ctx, YESTERDAY.asof(ctx.when))


BACK = CLOSE.where(np.arange(len(CLOSE)) % 6 == 5).bfill()
FORTH = CLOSE.where(np.arange(len(CLOSE)) % 6 == 5).ffill()


@leak
def filled_backwards(ctx):
    return if_up(ctx, BACK.asof(ctx.when - HOUR))


@clean
def filled_forwards(ctx):
    return if_up(ctx, FORTH.asof(ctx.when - HOUR))


def _merged(ctx, times, direction):
    asked = pd.DataFrame({"t": [pd.Timestamp(ctx.when_ms, unit="ms", tz="UTC").as_unit("ns")]})
    rows = pd.DataFrame({"t": times.astype("datetime64[ns, UTC]"), "close": ARRAY})
    return pd.merge_asof(asked, rows, on="t", direction=direction).close[0]


@leak
def merged_with_what_follows(ctx):
    return if_up(ctx, _merged(ctx, CLOSE.index, "forward"))


@clean
def merged_with_what_is_known(ctx):
    return if_up(ctx, _merged(ctx, CLOSE.index + HOUR, "backward"), ctx.candles("1h", 5).close.mean())


NAIVE = CLOSE.tz_localize(None)
NUMBERED = CLOSE.reset_index(drop=True)


@leak
def times_without_a_zone(ctx):
    return if_up(ctx, NAIVE.asof(pd.Timestamp(ctx.when_ms, unit="ms")))


@clean
def past_times_without_a_zone(ctx):
    return if_up(ctx, NAIVE.asof(pd.Timestamp(ctx.when_ms - H, unit="ms")), AVERAGE.asof(ctx.when - HOUR))


@leak
def a_numbered_column(ctx):
    return if_up(ctx, NUMBERED[at(ctx)])


@clean
def a_numbered_column_of_the_past(ctx):
    return if_up(ctx, NUMBERED[at(ctx) - 1], NUMBERED[at(ctx) - 4])


# -- arrays, lists, dictionaries, sets, text -----------------------------------------------------------------------


@leak
def an_array(ctx):
    return if_up(ctx, ARRAY[at(ctx)], ARRAY[at(ctx) - 1])


@clean
def an_array_of_the_past(ctx):
    return if_up(ctx, ARRAY[at(ctx) - 1], ARRAY[at(ctx) - 2])


MOVES = np.diff(np.log(ARRAY), prepend=np.nan)


@clean
def an_array_of_moves(ctx):
    return if_up(ctx, MOVES[at(ctx) - 6 : at(ctx)].sum(), 0)


@leak
def a_list(ctx):
    return if_up(ctx, LIST[at(ctx)], LIST[at(ctx) - 1])


@clean
def a_list_of_the_past(ctx):
    return if_up(ctx, LIST[at(ctx) - 1], LIST[at(ctx) - 2])


@leak
def a_dictionary_by_moment(ctx):
    return if_up(ctx, BY_MOMENT[ctx.when_ms])


@clean
def a_dictionary_of_the_past(ctx):
    return if_up(ctx, BY_MOMENT[ctx.when_ms - H], BY_MOMENT[ctx.when_ms - 2 * H])


BY_DAY = {str(day.date()): float(close) for day, close in MINUTE_TABLE.close.resample("1D").last().items()}


@leak
def a_dictionary_by_day(ctx):
    return if_up(ctx, BY_DAY[str(ctx.when.date())])


@clean
def a_dictionary_of_the_day_before(ctx):
    return if_up(ctx, BY_DAY[str(ctx.when.date() - dt.timedelta(days=1))])


GOOD = {t for t, now, then in zip(MOMENTS, LIST, LIST[1:], strict=False) if then > now}
GOOD_TEXTS = {f"{pd.Timestamp(t, unit='ms'):%Y-%m-%d %H:%M}" for t in GOOD}
WERE_GOOD = {t + 2 * H for t in GOOD}
WERE_GOOD_TEXTS = {f"{pd.Timestamp(t, unit='ms'):%Y-%m-%d %H:%M}" for t in WERE_GOOD}


@leak
def a_set_of_moments(ctx):
    return trade(ctx) if ctx.when_ms in GOOD else None


@leak
def a_set_of_texts(ctx):
    return trade(ctx) if f"{ctx.when:%Y-%m-%d %H:%M}" in GOOD_TEXTS else None


@clean
def a_set_of_past_moments(ctx):
    return trade(ctx) if ctx.when_ms in WERE_GOOD else None


@clean
def a_set_of_past_texts(ctx):
    return trade(ctx) if f"{ctx.when:%Y-%m-%d %H:%M}" in WERE_GOOD_TEXTS else None


TEXT = CLOSE.iloc[150:].to_csv()
BYTES = ARRAY.tobytes()


def _from_text():
    return pd.read_csv(io.StringIO(TEXT), index_col=0, parse_dates=True).close


@leak
def a_text(ctx):
    return if_up(ctx, _from_text().asof(ctx.when))


@clean
def a_text_cut_at_the_moment(ctx):
    return if_up(ctx, _from_text().asof(ctx.when - HOUR), ctx.candles("1h", 5).close.mean())


@leak
def some_bytes(ctx):
    return if_up(ctx, np.frombuffer(BYTES)[at(ctx)])


@clean
def some_bytes_of_the_past(ctx):
    return if_up(ctx, *np.frombuffer(BYTES)[at(ctx) - 2 : at(ctx)])


# -- numbers computed from the whole sample ------------------------------------------------------------------------

MEAN = float(CLOSE.mean())
TRAINED_MEAN = float(TRAINING.mean())
CURVE = np.polyfit(np.arange(len(ARRAY)), ARRAY, 3)
TRAINED_LINE = np.polyfit(np.arange(len(TRAINING)), TRAINING.to_numpy(), 1)


@leak
def the_mean_of_everything(ctx):
    return if_up(ctx, ctx.candles("1h", 1).close[-1], MEAN)


@clean
def the_mean_of_the_training_data(ctx):
    return if_up(ctx, ctx.candles("1h", 1).close[-1], TRAINED_MEAN)


@leak
def a_curve_through_everything(ctx):
    return if_up(ctx, np.polyval(CURVE, at(ctx)))


@clean
def a_line_through_the_training_data(ctx):
    return trade(ctx, np.polyval(TRAINED_LINE, at(ctx)) > ctx.price)


class Model:
    """A line from each close to the next."""

    def __init__(self, closes):
        self.coef_ = np.polyfit(closes[:-1], closes[1:], 1)

    def predict(self, close):
        return self.coef_[0] * close + self.coef_[1]


MODEL = Model(ARRAY)
TRAINED = Model(TRAINING.to_numpy())


@leak
def a_model_of_everything(ctx):
    close = ctx.candles("1h", 1).close[-1]
    return if_up(ctx, MODEL.predict(close), close)


@clean
def a_model_of_the_training_data(ctx):
    close = ctx.candles("1h", 1).close[-1]
    return trade(ctx, TRAINED.predict(close) > close)


@clean
def a_model_fitted_when_it_is_asked(ctx):
    closes = ctx.candles("1h", 100).close
    return trade(ctx, Model(closes).predict(closes[-1]) > closes[-1])


PROFILE = TRAINING.pct_change().groupby(TRAINING.index.hour).mean()


@clean
def hours_of_the_training_data(ctx):
    return if_up(ctx, PROFILE[ctx.when.hour], 0)


# -- where the data lies in the program ----------------------------------------------------------------------------


class Box:
    """Data of a class."""

    data = ARRAY


@leak
def an_attribute_of_a_class(ctx):
    return if_up(ctx, Box.data[at(ctx)])


@clean
def the_past_in_a_class(ctx):
    return if_up(ctx, Box.data[at(ctx) - 1], Box.data[at(ctx) - 2])


@leak
def a_default(ctx, data=tuple(LIST)):
    return if_up(ctx, data[(ctx.when_ms - START) // H])


@clean
def the_past_in_a_default(ctx, data=tuple(LIST)):
    return if_up(ctx, data[(ctx.when_ms - START) // H - 1], data[(ctx.when_ms - START) // H - 2])


class Strategy:
    """A strategy with a table."""

    def __init__(self, table, lag):
        self.table, self.lag = table, lag

    def __call__(self, ctx):
        return if_up(ctx, self.table.close.asof(ctx.when - self.lag), ctx.candles("1h", 3).close.mean())


LEAKS["an_object"] = Strategy(TABLE, 0 * HOUR)
CLEAN["an_honest_object"] = Strategy(TABLE, HOUR)


def _closure(series, lag):
    known = series.rolling(2).mean()

    def closure(ctx):
        return if_up(ctx, known.asof(ctx.when - lag))

    return closure


CLOSURE = _closure(CLOSE, 0 * HOUR)
HONEST_CLOSURE = _closure(CLOSE, HOUR)
LEAKS["a_closure"] = CLOSURE
CLEAN["an_honest_closure"] = HONEST_CLOSURE


@leak
def another_module(ctx):
    import hours_of_another_module

    return if_up(ctx, hours_of_another_module.HOURS[at(ctx)])


@clean
def the_past_in_another_module(ctx):
    import hours_of_another_module

    return if_up(ctx, hours_of_another_module.HOURS[at(ctx) - 1], hours_of_another_module.HOURS[at(ctx) - 3])


class Counter:
    """How often it was asked."""

    asked = 0


@leak
def by_counting(ctx):
    Counter.asked += 1
    return if_up(ctx, LIST[(168 + Counter.asked) % len(LIST)])


# -- read while it is asked ----------------------------------------------------------------------------------------


def _csv():
    return pd.read_csv(PLACES["csv"], parse_dates=["t"]).set_index("t").close


_cached_csv = functools.lru_cache(None)(_csv)


@leak
def a_csv_file(ctx):
    return if_up(ctx, _csv().asof(ctx.when))


@clean
def a_csv_file_cut_at_the_moment(ctx):
    past = _csv()
    past = past[past.index + HOUR <= ctx.when]
    return if_up(ctx, past.iloc[-1], past.iloc[-5:].mean())


@leak
def a_csv_file_in_a_cache(ctx):
    return if_up(ctx, _cached_csv().asof(ctx.when))


@clean
def the_past_of_a_csv_file_in_a_cache(ctx):
    return if_up(ctx, _cached_csv().asof(ctx.when - HOUR), ctx.candles("1h", 5).close.mean())


@leak
def a_mapped_file(ctx):
    return if_up(ctx, np.load(PLACES["npy"], mmap_mode="r")[at(ctx)])


@clean
def the_past_of_a_mapped_file(ctx):
    return if_up(ctx, *np.load(PLACES["npy"], mmap_mode="r")[at(ctx) - 2 : at(ctx)])


def _descriptor():
    number = os.open(PLACES["npy"], os.O_RDONLY)
    content = os.read(number, 1_000_000)
    os.close(number)
    return np.frombuffer(content[128:], float)


@leak
def a_file_descriptor(ctx):
    return if_up(ctx, _descriptor()[at(ctx)])


@clean
def the_past_of_a_file_descriptor(ctx):
    return if_up(ctx, *_descriptor()[at(ctx) - 2 : at(ctx)])


def _pickled():
    with Path(PLACES["pickle"]).open("rb") as file:
        return pickle.load(file).close  # noqa: S301


@leak
def a_pickle(ctx):
    return if_up(ctx, _pickled().iloc[at(ctx)])


@clean
def the_past_of_a_pickle(ctx):
    return if_up(ctx, _pickled().iloc[at(ctx) - 1], _pickled().iloc[at(ctx) - 2])


def _selected(when):
    connection = sqlite3.connect(PLACES["sql"])
    try:
        return connection.execute("select close from candles where t = ?", (when,)).fetchone()[0]
    finally:
        connection.close()


@leak
def a_database(ctx):
    return if_up(ctx, _selected(ctx.when_ms))


@clean
def the_past_of_a_database(ctx):
    return if_up(ctx, _selected(ctx.when_ms - H), _selected(ctx.when_ms - 2 * H))


@leak
def an_open_connection(ctx):
    return if_up(ctx, CONNECTION.execute("select close from candles where t = ?", (ctx.when_ms,)).fetchone()[0])


@clean
def the_past_of_an_open_connection(ctx):
    query = "select close from candles where t + 3600000 <= ? order by t desc limit 5"
    closes = [row[0] for row in CONNECTION.execute(query, (ctx.when_ms,))]
    return if_up(ctx, closes[0], sum(closes) / 5)


def _printed(line):
    command = ["sed", "-n", f"{line + 1}p", PLACES["csv"]]  # it starts in less time than Python
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split(",")[4])


@leak
def another_program(ctx):
    return if_up(ctx, _printed(at(ctx) + 1))


@clean
def another_program_on_the_past(ctx):
    return if_up(ctx, _printed(at(ctx)))


def _served(when):
    with urllib.request.urlopen(f"{PLACES['url']}/{when}") as answer:  # noqa: S310 -- the test's own server
        return float(answer.read())


@leak
def a_server(ctx):
    return if_up(ctx, _served(ctx.when_ms))


@clean
def a_server_of_the_past(ctx):
    return if_up(ctx, _served(ctx.when_ms - H))


def _fetched(symbol, since):
    answers = []
    work = bknb.exchanges.demo().get_candles
    thread = threading.Thread(target=lambda: answers.append(asyncio.run(work(symbol, "1m", since, 30))))
    thread.start()
    thread.join()
    return answers[0].close


@leak
def a_source_of_its_own_in_a_thread(ctx):
    return if_up(ctx, _fetched(ctx.symbol, ctx.when_ms)[-1])


@clean
def the_past_of_a_source_of_its_own(ctx):
    return if_up(ctx, _fetched(ctx.symbol, ctx.when_ms - H // 2).mean())


# -- the context ---------------------------------------------------------------------------------------------------


@leak
def candles_of_a_later_moment(ctx):
    return if_up(ctx, ctx._newest(ctx.symbol, "1h", 1, ctx.when_ms + H).close[-1])


@leak
def the_window_of_the_run(ctx):
    candles = ctx._newest.__self__.minutes(ctx.symbol).candles
    return if_up(ctx, candles.close[int(np.searchsorted(candles.timestamp, ctx.when_ms + H // 2))])


@leak
def the_source_of_the_run(ctx):
    return if_up(ctx, fetch_now(ctx._run.window.source.get_candles(ctx.symbol, "1m", ctx.when_ms, 30)).close[-1])


@clean
def candles_of_the_context(ctx):
    closes = ctx.candles("1h", 20).close
    return if_up(ctx, closes[-5:].mean(), closes.mean())


@clean
def a_forming_candle_of_closed_minutes(ctx):
    closes = ctx.candles("1m", 90).close
    return if_up(ctx, closes[-1], closes[0])


@clean
def a_long_memory(ctx):
    closes = ctx.candles("1h", 200).close
    level = closes[0]
    for close in closes:
        level += (close - level) * 0.1
    return if_up(ctx, closes[-1], level)


# -- settings, calendars, caches -----------------------------------------------------------------------------------

EVENTS = [dt.datetime(2024, 1, day, 14, 30, tzinfo=dt.UTC) for day in range(1, 20)]
NAMED_EVENTS = {dt.datetime(2024, 1, day, 13, tzinfo=dt.UTC): f"meeting {day}" for day in range(1, 20)}
FEES = {T0 + day * 24 * H: 0.01 * (day % 3) for day in range(30)}
HOLIDAYS = {dt.date(2024, 1, 3), dt.date(2024, 1, 6)}
CONFIG = {"fast": 5, "slow": 20, "hours": [3, 9, 15], "levels": {"long": 1.002, "short": 0.998}}
WEIGHTS = np.array([0.1, 0.2, 0.3, 0.4])
OF_THE_DAY = pd.Series([1.0, 0.5] * 12, index=range(24))
OF_THE_WEEK = [float((hour * 37) % 11) for hour in range(168)]
OF_THE_MINUTE = np.cos(np.arange(1440) / 200)
PROJECTION = np.random.default_rng(3).normal(size=200)
RESULTS = {}
LOG = []


@clean
def a_calendar(ctx):
    return trade(ctx) if any(dt.timedelta(0) < event - ctx.when < dt.timedelta(hours=3) for event in EVENTS) else None


@clean
def a_calendar_with_names(ctx):
    return trade(ctx) if NAMED_EVENTS.get(ctx.when + 2 * HOUR) else None


@clean
def a_schedule_of_fees(ctx):
    tomorrow = ctx.when_ms - ctx.when_ms % (24 * H) + 24 * H
    return trade(ctx) if FEES[tomorrow] > 0.005 else None


@clean
def holidays(ctx):
    return None if ctx.when.date() in HOLIDAYS else trade(ctx)


@clean
def a_dictionary_of_settings(ctx):
    closes = ctx.candles("1h", CONFIG["slow"]).close
    return if_up(ctx, closes[-CONFIG["fast"] :].mean() * CONFIG["levels"]["long"], closes.mean())


@clean
def a_file_of_settings(ctx):
    with Path(PLACES["json"]).open() as file:
        settings = json.load(file)
    return if_up(ctx, ctx.candles("1h", settings["slow"]).close.mean() * settings["factor"])


@clean
def hours_of_the_day(ctx):
    return trade(ctx) if ctx.when.hour in (3, 9, 15) else None


@clean
def a_table_of_hours(ctx):
    return if_up(ctx, OF_THE_DAY[ctx.when.hour], 0.7)


@clean
def a_table_of_the_week(ctx):
    return if_up(ctx, OF_THE_WEEK[ctx.when.weekday() * 24 + ctx.when.hour], 5)


@clean
def a_table_of_minutes(ctx):
    return if_up(ctx, OF_THE_MINUTE[ctx.when.hour * 60 + ctx.when.minute], 0)


@clean
def some_weights(ctx):
    return if_up(ctx, (ctx.candles("1h", 4).close * WEIGHTS).sum())


@clean
def a_random_projection(ctx):
    moves = np.diff(np.log(ctx.candles("5m", 201).close))
    return if_up(ctx, float(moves @ PROJECTION), 0)


@clean
def results_kept_for_the_day(ctx):
    day = ctx.when_ms // (24 * H)
    if day not in RESULTS:
        RESULTS[day] = ctx.candles("1d", 3).close.mean()
    return if_up(ctx, ctx.price, RESULTS[day])


@functools.lru_cache(maxsize=64)
def _rounded(price):
    return round(price, -3)


@clean
def a_level_in_a_cache(ctx):
    return if_up(ctx, ctx.price, _rounded(ctx.price))


@clean
def a_log(ctx):
    LOG.append(ctx.when_ms)
    return if_up(ctx, ctx.candles("1h", 3).close[-1], ctx.candles("1h", 3).close[0])


@clean
def chance_of_its_own(ctx):
    return trade(ctx, random.Random(ctx.when_ms).random() > 0.5)  # noqa: S311
