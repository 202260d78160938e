"""Count what a backtest does, and compare with a kept table: counts do not depend on how fast a computer is.

``python benchmarks/gate.py [--update]``. It fails where a count has grown, so that a slow change shows where it is
made; with ``--update`` the counts of now are kept in ``counts.json``. Calls are those of functions of bknb, and those
that they make of built-in ones. Their number depends on the version of Python, so calls are kept for each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bknb
from bknb.engine.backtest import BacktestRun
from bknb.engine.plan import plan_backtest
from bknb.market.candles import Candles

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

KEPT = Path(__file__).with_name("counts.json")
PACKAGE = str(Path(bknb.__file__).parent)
COPIES = {
    (Candles.__init__.__code__.co_filename, name) for name in ("concat", "copy", "from_columns", "part_copied", "take")
}
DAYS = ("2024-01-02", "2024-01-12")
AROUND = ("2024-01-01", "2024-01-12")
HOLDS = 480  # minutes, at most
MARGIN = 1.02  # times what is kept: what only a few calls add has not grown
EVERY = 40  # of its questions a strategy answers
PYTHON = f"calls, Python {sys.version_info.major}.{sys.version_info.minor}"


class Counts:
    """What a run does while it is entered.

    Attributes
    ----------
    calls
        Of functions of bknb, and of built-in ones by them, in the thread of the run.
    steps
        Inputs that the lifecycle of a signal was given.
    copied
        Bytes of candles that were copied or joined, in the thread that fetches them, too.
    questions
        Of the strategy.
    """

    def __init__(self) -> None:
        self.calls = self.steps = self.copied = self.questions = 0

    def __enter__(self) -> Counts:
        _now.append(self)
        sys.setprofile(_count_calls)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        _now.clear()


_now: list[Counts] = []
_ours: dict[Any, bool] = {}


def _count_calls(frame: FrameType, event: str, given: Any) -> None:
    """What the thread of a run does."""
    code = frame.f_code
    ours = _ours.get(code)
    if ours is None:
        ours = _ours[code] = code.co_filename.startswith(PACKAGE)
    if ours and event in ("call", "c_call") and _now:
        _now[0].calls += 1
        _now[0].steps += event == "call" and code.co_name == "step"
    _count_copies(frame, event, given)


def _count_copies(frame: FrameType, event: str, given: Any) -> None:
    """What the thread that fetches candles does, and that of the run."""
    code = frame.f_code
    if event == "return" and _now and type(given) is Candles and (code.co_filename, code.co_name) in COPIES:
        _now[0].copied += given.block.nbytes


@cache
def source() -> Any:
    """Minutes of the demo market in memory, from a day before the frame to its end."""
    threading.setprofile(_count_copies)  # the thread that fetches candles begins here
    result = bknb.backtest("BTCUSDT", strategy=lambda: None, interval="1d", exchange="demo", frame=AROUND)
    return bknb.exchanges.from_frame(result.candles[:-1])


def counted(get_signal: Callable[[Any], Any], interval: str = "15m") -> tuple[Counts, BacktestRun]:
    """What a backtest of ten days of minutes does."""
    counts = Counts()

    def asked(ctx: Any) -> Any:
        counts.questions += 1
        return get_signal(ctx)

    run = BacktestRun(plan_backtest("BTCUSDT", strategy=asked, exchange=source(), frame=DAYS, interval=interval))
    with counts:
        asyncio.run(run.through())
    return counts, run


def decisions() -> dict[str, Callable[[Any], Any]]:
    """What strategies look at that answer nothing."""
    fast, slow = bknb.indicator("sma", "15m", 3), bknb.indicator("sma", "15m", 5)
    return {
        "nothing": lambda _ctx: None,
        "the average price": lambda ctx: ctx.price and None,
        "a candle": lambda ctx: ctx.candles("15m", 1).close[0] < 0 or None,
        "two averages": lambda ctx: fast.last(ctx) < slow.last(ctx) < 0 or None,
        "two values and the newest": lambda ctx: fast(ctx, 2)[0] < fast.last(ctx) < 0 or None,
        "two values of each": lambda ctx: fast(ctx, 2)[0] < slow(ctx, 2)[0] < 0 or None,
    }


def answering() -> tuple[Counts, BacktestRun]:
    """What a run does that answers each so many questions with a signal."""
    number = 0

    def get_signal(ctx: Any) -> Any:
        nonlocal number
        number += 1
        if number % EVERY:
            return None
        price = ctx.price
        levels = {"price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        return bknb.Signal(position="long", minute_estimated_time=HOLDS, **levels)

    return counted(get_signal)


def count() -> dict[str, dict[str, float]]:
    """Every count, by name: ``calls``, which depend on the version of Python, and ``others``."""
    calls: dict[str, float] = {}
    others: dict[str, float] = {}
    nothing = begin = 0.0
    for name, look in decisions().items():
        many, run = counted(look)
        few, _ = counted(look, "30m")
        between = many.questions - few.questions
        each = (many.calls - few.calls) / between
        calls[f"a question that looks at {name}"] = round(each, 1)
        others[f"a question that looks at {name}: bytes of candles"] = round((many.copied - few.copied) / between)
        if name == "nothing":
            nothing, begin = each, many.calls - many.questions * each
            size = run.series()["BTCUSDT", "1m"].candles.block.nbytes
            others["a run: bytes of candles, of those it has"] = round(many.copied / size, 1)
    done, run = answering()
    trades = len(run.records.closed)
    calls["a trade"] = round((done.calls - begin - done.questions * nothing) / trades)
    others["a trade: steps of its lifecycle"] = round(done.steps / trades, 2)
    others["trades"] = trades
    return {PYTHON: calls, "others": others}


def worse(found: dict[str, dict[str, float]], kept: dict[str, dict[str, float]]) -> list[str]:
    """What grew, or is not kept under its name; calls of another version of Python are not compared."""
    told = []
    for kind in found.keys() & kept.keys():
        for name, value in found[kind].items():
            least = kept[kind].get(name)
            if least is None or value > least * MARGIN:
                told.append(f"{name}: {value:g}, kept {least}")
    return told


def report(found: dict[str, dict[str, float]], kept: dict[str, dict[str, float]]) -> str:
    """The table."""
    lines = ["| count | kept | now |", "|---|---|---|"]
    for kind, values in found.items():
        for name, value in values.items():
            before = kept.get(kind, {}).get(name, "")
            lines.append(f"| {name}{', ' + kind if kind == PYTHON else ''} | {before} | {value:g} |")
    return "\n".join(lines)


def main() -> int:
    """Count, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="keep the counts of now")
    found, kept = count(), json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
    print(report(found, kept))
    if parser.parse_args().update:
        KEPT.write_text(json.dumps(kept | found, indent=1) + "\n", "utf-8")
        return 0
    grown = worse(found, kept)
    print("\n".join(["", "grown:", *grown] if grown else ["", "nothing has grown"]))
    return bool(grown)


if __name__ == "__main__":
    raise SystemExit(main())
