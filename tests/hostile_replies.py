"""Replies a language model might send, by mistake, by bad luck or on purpose, and the expected objections."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

HONEST = """import bknb

FAST = 10
SLOW = 30


def get_signal(ctx):
    closes = ctx.candles("15m", SLOW).close
    price = ctx.price
    if closes[-FAST:].mean() > closes.mean():
        return bknb.Signal(
            position="long",
            price_take_profit=price * 1.02,
            price_stop_loss=price * 0.99,
            minute_estimated_time=240,
        )
    return None
"""

LONG = (
    "bknb.Signal(position='long', price_take_profit=ctx.price * 1.02, price_stop_loss=ctx.price * 0.99, "
    "minute_estimated_time=240)"
)


def reply(code: str = HONEST, **changed: Any) -> str:
    """A well-formed reply around a piece of code."""
    fields = {
        "title": "an idea",
        "rationale": "Prices above their average went on rising.",
        "interval": "15m",
        "parameters": [],
        "code": code,
    }
    return json.dumps(fields | changed)


def inside(*lines: str, before: str = "import bknb\nimport numpy as np\n") -> str:
    """A get_signal with some lines in it that would trade if they let it."""
    body = "\n".join(f"    {line}" for line in lines)
    return f"{before}\ndef get_signal(ctx):\n{body}\n    return {LONG}\n"


@dataclass(frozen=True)
class Case:
    """A reply, and a phrase that has to be in the reasons."""

    name: str
    text: str
    says: str
    tried: bool = False  # passes the reading, and is contained by the trial
    limits: dict[str, Any] = field(default_factory=dict)


def refused(name: str, code: str, says: str) -> Case:
    return Case(name, reply(code), says)


def contained(name: str, code: str, says: str, **limits: Any) -> Case:
    return Case(name, reply(code), says, tried=True, limits=limits)


DEEP = "(" * 200 + "1" + ")" * 200
WIDE = "\n".join(f"    x{at} = {at}" for at in range(400))

CASES = (
    # what is imported
    refused("import os", inside("os.remove('a')", before="import os\n"), "the module os is not allowed"),
    refused("import subprocess", inside(before="import subprocess\n"), "the module subprocess is not allowed"),
    refused("import ctypes", inside(before="from ctypes import CDLL\n"), "the module ctypes is not allowed"),
    refused("import socket", inside(before="import socket\n"), "the module socket is not allowed"),
    refused("import requests", inside(before="import requests\n"), "the module requests is not allowed"),
    refused("import sys in the function", inside("import sys"), "the module sys is not allowed"),
    refused("import a star", inside(before="from math import *\nimport bknb\n"), "math.*"),
    refused("import relatively", inside(before="from . import secrets\nimport bknb\n"), "relative imports"),
    refused("import the engine", inside(before="from bknb.engine import registry\n"), "bknb.engine is not allowed"),
    refused("the rest of bknb", inside("bknb.set_config(percent_fee=0)"), "bknb.set_config is not among"),
    refused("numpy's files", inside("np.save('evil.npy', np.zeros(3))"), "numpy.save reads or writes files"),
    refused("numpy's insides", inside("np.lib.npyio.os.system('id')"), "numpy.lib.npyio"),
    refused("pandas' files", inside("pd.read_csv('/etc/passwd')", before="import bknb\nimport pandas as pd\n"), "read"),
    refused("an alias for a module", inside("m = np", "m.save('a', 1)"), "may only be used as np.something"),
    refused("chance", inside("np.random.rand()"), "is random"),
    # what is called
    refused("exec", inside("exec('import os')"), "'exec' runs text as code"),
    refused("eval", inside("eval('1 + 1')"), "'eval' runs text as code"),
    refused("__import__", inside("__import__('os').system('id')"), "'__import__' reaches behind"),
    refused("open", inside("open('/etc/passwd').read()"), "'open' reads or writes files"),
    refused("getattr", inside("getattr(np, 'sa' + 've')('a', 1)"), "'getattr' reaches behind objects"),
    refused("print", inside("print(ctx.price)"), "'print' reads from the keyboard or prints"),
    refused("input", inside("input()"), "reads from the keyboard"),
    refused("get_ipython", inside("get_ipython().system('id')"), "'get_ipython' starts something outside"),
    refused(
        "a DataFrame to disk", inside("ctx.candles('1h', 3).to_pandas().to_csv('a.csv')"), "'to_csv' reads or writes"
    ),
    refused("an array to disk", inside("ctx.candles('1h', 3).close.tofile('a')"), "'tofile' reads or writes files"),
    refused("a quiet evaluation", inside("ctx.candles('1h', 3).to_pandas().eval('close')"), "'eval' runs text as code"),
    # behind objects
    refused("dunder ladder", inside("().__class__.__base__.__subclasses__()"), "'__class__' is private"),
    refused("globals of a function", inside("get_signal.__globals__['x'] = 1"), "'__globals__' is private"),
    refused("builtins", inside("__builtins__['open']('a')"), "'__builtins__' reaches behind"),
    refused("text with dunders", inside("'{0.__class__}'.format(ctx)"), "two underscores"),
    refused("format", inside("'{0.price}'.format(ctx)"), "'format' reaches behind objects"),
    refused("frames of a generator", inside("(x for x in ()).gi_frame.f_back"), "'gi_frame' reaches behind"),
    refused("a class", inside("class A: pass"), "defines a class"),
    refused("a decorator", "import bknb\n@bknb.strategy('x', interval='1m')\n" + inside(before=""), "decorator"),
    refused("someone else's attribute", inside("np.mean = max"), "changes the attribute 'mean'"),
    refused("match on classes", inside("match ctx:", "    case object(price=p):", "        pass"), "matches classes"),
    refused(
        "a method by its name",
        inside("s = ctx.candles('1h', 3).to_pandas()", "s.apply('to' + '_csv')"),
        "apply takes a",
    ),
    refused("a method by its names", inside("ctx.candles('1h', 3).to_pandas().agg(['to_csv'])"), "calls methods by"),
    refused(
        "apply, handed on", inside("f = ctx.candles('1h', 3).to_pandas().apply", "f('to_csv')"), "may only be called"
    ),
    refused("a picture on the disk", inside("ctx.candles('1h', 3).to_pandas().plot()"), "drawing writes files"),
    refused("foreign memory", inside("np.ndarray((99,))"), "arrays of foreign memory"),
    refused("memory seen otherwise", inside("np.zeros(3).view('O')"), "'view' reaches behind"),
    # the future, the clock, the calendar
    refused(
        "candles of the future", inside("ctx._newest(ctx.symbol, '1m', 5, ctx.when_ms + 60000)"), "'_newest' is private"
    ),
    refused("shift back", inside("ctx.candles('1h', 9).to_pandas().close.shift(-1)"), "looks into the future"),
    refused(
        "candles since", inside("ctx.get_candles(ctx.symbol, '1h', limit=3, since=0)"), "cannot be asked for by time"
    ),
    refused(
        "beyond the array", inside("np.lib.stride_tricks.as_strided(ctx.candles('1m', 2).close, (99,))"), "as_strided"
    ),
    refused("the array's base", inside("ctx.candles('1m', 2).close.base"), "'base' reaches behind"),
    refused(
        "the clock",
        inside("datetime.now()", before="import bknb\nfrom datetime import datetime\n"),
        "datetime.datetime",
    ),
    refused(
        "the clock, by word",
        inside("pd.to_datetime('now')", before="import bknb\nimport pandas as pd\n"),
        "'now' reads",
    ),
    refused("a known day", inside("if str(ctx.when) > '2024-01-05': return None"), "a date in the code"),
    refused("a known moment", inside("if ctx.when_ms > 1704067200000: return None"), "looks like a moment"),
    refused("the year", inside("if ctx.when.year == 2024: return None"), "knows the calendar year"),
    refused("backtest or live", inside("if ctx.mode == 'backtest': return None"), "can tell a backtest from the live"),
    # no strategy
    refused("half a function", "import bknb\ndef get_signal(ctx):\n    price = ctx.pri", "never returns a signal"),
    refused("cut off", "import bknb\ndef get_signal(ctx):\n    return bknb.Signal(position='long', ", "is not Python"),
    refused("only words", "Buy low and sell high.", "is not Python"),
    refused("a magic", "%%bash\nrm -rf ~\n" + HONEST, "notebook commands"),
    refused("a shell line", "!rm -rf ~\n" + HONEST, "notebook commands"),
    refused("no function", "import bknb\nx = 1", "there is no function get_signal"),
    refused("another name", HONEST.replace("get_signal", "strategy"), "there is strategy"),
    refused("wrong signature", HONEST.replace("(ctx)", "(self, candles)"), "get_signal asks for self, candles"),
    refused("star arguments", HONEST.replace("(ctx)", "(*args, **kwargs)"), "must name what it asks for"),
    refused("returns a word", "def get_signal(ctx):\n    return 'buy'", "returns 'buy'"),
    refused("returns nothing", "def get_signal(ctx):\n    return None", "never returns a signal"),
    refused("asynchronous", HONEST.replace("def get", "async def get"), "is asynchronous"),
    refused("wrong field", HONEST.replace("price_take_profit", "take_profit"), "has no 'take_profit'"),
    refused(
        "missing field", HONEST.replace("            price_stop_loss=price * 0.99,\n", ""), "needs price_stop_loss"
    ),
    refused("code at the top", "import bknb\nbknb.Signal()\n" + HONEST, "nothing runs by itself"),
    refused("memory at the top", inside("SEEN.append(1)", before="import bknb\nSEEN = []\n"), "only plain constants"),
    refused("memory in a default", HONEST.replace("(ctx)", "(ctx, seen=[])"), "kept between two questions"),
    refused("global", inside("global LAST", "LAST = 1", before="import bknb\nLAST = 0\n"), "keeps something between"),
    refused("not defined", inside("x = ema(ctx)"), "'ema' is used but never defined"),
    refused("numpy forgotten", HONEST.replace("ctx.price\n", "np.float64(ctx.price)\n"), "add: import numpy as np"),
    refused("no such thing of ctx", inside("ctx.rsi(14)"), "ctx has no 'rsi'"),
    refused("for ever, plainly", inside("while True:", "    x = 1"), "this loop never ends"),
    refused("too long", HONEST + "# " + "x" * 13_000, "characters; at most"),
    refused("too many lines", f"def get_signal(ctx):\n{WIDE}\n    return x1", "lines; at most"),
    refused("too deep", inside(f"x = {DEEP}"), "brackets are nested"),
    refused("signs without end", inside("x = " + "-" * 3000 + "1"), "signs are piled up"),
    refused("a long chain", inside("x = ctx" + ".price" * 1500), "nested"),
    refused("functions in functions", inside("f = " + "lambda: " * 500 + "1"), "nested"),
    refused("one sum", inside("x = " + " + ".join(["1"] * 2000)), "nested"),
    refused("invisible letters", inside("x\u200b = 1"), "invisible characters"),
    refused("zero byte", HONEST + "\0", "zero byte"),
    Case(
        "parameters that are not there", reply(parameters=[{"name": "GAP", "value": 1, "meaning": "?"}]), "'GAP' is not"
    ),
    Case(
        "parameters that differ",
        reply(parameters=[{"name": "FAST", "value": 9, "meaning": "?"}]),
        "9 in the list and 10",
    ),
    # no reply
    Case("empty", "", "the answer is empty"),
    Case("prose", "I cannot give financial advice.", "is not JSON"),
    Case("cut JSON", reply()[:-40], "is not JSON"),
    Case("cut JSON in a fence", "```json\n" + reply()[:-40], "is not JSON (Input data was truncated)"),
    Case("deep JSON", "[" * 60_000, "does not have the fields"),
    Case("deep JSON in a field", '{"title": ' + "[" * 60_000 + "]" * 60_000, "characters; at most"),
    Case("thinking without end", "<think>" * 14_000, "is not JSON"),
    Case("fences without end", "```" * 33_000, "is not JSON"),
    Case("another object", '{"answer": 42}', "does not have the fields"),
    Case("unknown interval", reply(interval="7m"), "does not have the fields"),
    Case("a novel", reply(rationale="why not " * 1000), "the rationale has"),
    Case(
        "forty parameters",
        reply(parameters=[{"name": f"P{at}", "value": 1, "meaning": ""} for at in range(40)]),
        "fit anything",
    ),
    # what only running shows
    contained(
        "a loop that looks finite", inside("n = 1", "while n > 0:", "    n += 1"), "did not come to an end", seconds=2
    ),
    contained("a memory bomb", inside("x = [0] * 10 ** 9 * 4"), "more than 256 MB of memory", memory_mb=256),
    contained("an array bomb", inside("x = np.zeros(4 * 10 ** 8)"), "more than 256 MB of memory", memory_mb=256),
    contained(
        "a growing bomb", inside("x = 'a' * 1000", "while len(x) > 0:", "    x += x"), "more than 256 MB", memory_mb=256
    ),
    contained("recursion", inside("return get_signal(ctx)"), "RecursionError"),
    contained("an error", inside("x = 1 / (ctx.price * 0)"), "ZeroDivisionError"),
    contained("never trades", inside("if ctx.price < 0:", f"    return {LONG}", "return None"), "never gave a signal"),
    contained("breaks the rules", HONEST.replace("* 0.99", "* 1.01"), "of its signals break the rules"),
    contained("too much history", inside("c = ctx.candles('1d', 500).close"), "not enough candles"),
    contained("another symbol", inside("c = ctx.get_candles('DOGEUSDT', '1h', 5).close"), "DOGEUSDT"),
    contained("another type", inside("return ctx.candles('1h', 3).close"), "break the rules"),
)
