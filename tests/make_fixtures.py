"""Writes the files in ``tests/data/0.1.0``: what bknb 0.1.0 leaves on a disk, for later versions to read.

Run with bknb 0.1.0, and never again with a later one::

    python tests/make_fixtures.py [FOLDER]

Markets and strategies are those of :mod:`recorder`; ``expected.json`` holds what 0.1.0 itself made of everything, such
as the trades of a run that nothing interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorder import LENGTH, MINUTE, ORIGIN, REPLIES, SETTINGS, crossing, drawing, minutes, source, waiting

import bknb
import bknb.brokers
import bknb.exchanges
import bknb.llm
import bknb.stores
from bknb.testing.clocks import SimulatedClock
from bknb.testing.faults import FaultyDisk

FIXTURES = Path(__file__).parent / "data" / "0.1.0"
SEED = 2
MOMENTS = {"open": 300, "scheduled": 355, "closed": 346}
"""Minutes at which a live run is left: with an open position, a scheduled signal, neither."""

KILLED_AT = 200  # the change of the disk before which a run is killed
QUANTITY = 2.0
PARAMS = {"fast": [2, 3, 5], "slow": [8, 13]}
DAYS = ("2024-01-30", "2024-02-02")
ANSWERS = [
    {
        "position": "long",
        "note": "support held",
        "price_open": 0,
        "price_take_profit": 62000,
        "price_stop_loss": 52000,
        "minute_estimated_time": 600,
    },
    {
        "position": "wait",
        "note": "unclear",
        "price_open": 0,
        "price_take_profit": 0,
        "price_stop_loss": 0,
        "minute_estimated_time": 0,
    },
]
NOTEBOOK = (
    "import bknb\n\n%load_ext bknb",
    """%%backtest BTCUSDT --exchange demo --frame 2024-01-02:2024-01-03 --interval 15m --name rising --out result
def get_signal(ctx):
    closes = ctx.candles("15m", 8).close
    if ctx.price > closes.max():
        return bknb.Signal(position="long", price_take_profit=ctx.price * 1.01, price_stop_loss=ctx.price * 0.99,
                           minute_estimated_time=120)""",
)


# --- what is run, here and by those who read the files ------------------------------------------------------------


def live(store: Any, *, start: int, until: int, **options: Any) -> Any:
    """A live run over recorded minutes; minutes are counted from the beginning of the frame."""
    strategy = bknb.add_strategy("kept", interval="1m", get_signal=drawing(SEED))
    task = bknb.Live.background(
        "BTCUSDT",
        strategy=strategy,
        exchange=source(minutes(SEED)),
        settings=SETTINGS,
        clock=SimulatedClock(ORIGIN + start * MINUTE),
        until=ORIGIN + until * MINUTE,
        store=store,
        **options,
    )
    task.result(timeout=120)
    return task


def with_orders(journal: Path) -> dict[str, Any]:
    """A run whose orders a broker on paper carries out."""
    return {"broker": bknb.brokers.paper(journal=journal), "quantity": QUANTITY, "late_minutes": 10_000}


def sweep(ledger: Path, params: dict[str, Any]) -> Any:
    return bknb.sweep(
        crossing,
        params=params,
        symbol="BTCUSDT",
        exchange=source(minutes(SEED)),
        frame=(ORIGIN, ORIGIN + LENGTH * MINUTE),
        interval="5m",
        metric="total_pnl",
        ledger=ledger,
    )


def hold_out(path: Path, name: str, function: Callable[..., Any]) -> Any:
    strategy = bknb.add_strategy(name, interval="1m", get_signal=function)
    frame = (ORIGIN, ORIGIN + LENGTH * MINUTE)
    return bknb.open_holdout(strategy, exchange=source(minutes(SEED)), frame=frame, path=path, settings=SETTINGS)


def study(ledger: Path, model: Any, *, tries: int = 3) -> Any:
    bknb.add_optimizer(
        "ideas",
        exchange="demo",
        sources=["1h"],
        range_train=["2024-01-01:2024-01-08", "2024-01-08:2024-01-15"],
        range_test="2024-01-22:2024-02-05",
        model=model,
        tokens=3_000,
        tries=tries,
        lead_days=5,
        ledger=ledger,
    )
    return bknb.Optimizer.get_data("BTCUSDT", "ideas", again=True)


def advised(model: Any, cache: Path | None) -> Any:
    """A backtest whose strategy asks a model."""

    async def get_signal(ctx: Any) -> Any:
        return await bknb.ask_model("Buy when support holds.", model=model, candles={"1h": 12}, cache=cache)

    frame = "2024-01-08:2024-01-12"
    return bknb.backtest("BTCUSDT", strategy=get_signal, interval="12h", exchange="demo", frame=frame)


def carded() -> Any:
    strategy = bknb.add_strategy("carded", interval="5m", get_signal=waiting(SEED))
    frame = (ORIGIN, ORIGIN + LENGTH * MINUTE)
    return bknb.backtest("BTCUSDT", strategy=strategy, exchange=source(minutes(SEED)), frame=frame)


def rows(table: Any) -> list[list[Any]]:
    """A table as JSON gives it back: floats exactly, moments as text."""
    made: list[list[Any]] = json.loads(
        json.dumps([[value if isinstance(value, (bool, int, float, str)) else str(value) for value in row] for row in
                    table.itertuples(index=False, name=None)])
    )  # fmt: skip
    return made


def content(exchange: Any, symbol: str, *, since: int, count: int) -> str:
    return bknb.content_hash(asyncio.run(exchange.get_candles(symbol, "1m", since, count)))


# --- writing ------------------------------------------------------------------------------------------------------


def in_a_process(work: Callable[[], object]) -> bool:
    """Do it in a forked process; whether that came to its end."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return not os.WIFSIGNALED(status)


def states(folder: Path) -> dict[str, Any]:
    # the child first, while this process has no threads
    disk = FaultyDisk(at=KILLED_AT, fault="kill", only=("replace", "unlink", "sync_folder"))
    killed = bknb.stores.FileStore(folder / "state-killed", disk=disk)
    assert not in_a_process(lambda: live(killed, start=0, until=LENGTH))
    for name, minute in MOMENTS.items():
        live(bknb.stores.FileStore(folder / f"state-{name}"), start=0, until=minute)
    live(bknb.stores.SqliteStore(folder / "state.db"), start=0, until=MOMENTS["open"])
    orders = folder / "orders"
    live(bknb.stores.FileStore(orders / "state"), start=0, until=MOMENTS["open"], **with_orders(orders / "paper.jsonl"))
    for lock in folder.rglob("*.lock"):
        lock.write_text(lock.read_text().replace(socket.gethostname(), "a-machine"))
    whole = live(bknb.stores.memory(), start=0, until=LENGTH).result()
    with tempfile.TemporaryDirectory() as scratch:
        ordered = live(bknb.stores.memory(), start=0, until=LENGTH, **with_orders(Path(scratch) / "paper.jsonl"))
        position = ordered.plan.broker.position("BTCUSDT")
    return {"trades": rows(whole.trades), "cancelled": rows(whole.cancelled), "position": position}


def ledgers(folder: Path) -> dict[str, Any]:
    found = sweep(folder / "trials", PARAMS)
    for name, function in (("first-look", drawing(1)), ("second-look", waiting(1))):
        hold_out(folder / "openings.jsonl", name, function)
    model = bknb.llm.recording(bknb.llm.recorded(REPLIES), folder / "optimizer-replies.json")
    proposals = study(folder / "optimizer", model)
    return {
        "sweep": {"trials": found.trials, "table": rows(found.table[["total_pnl", "n", "max_drawdown"]])},
        "optimizer": {
            "proposals": [each.name for each in proposals],
            "attempts": [attempt.status for attempt in proposals.attempts],
            "ranking": rows(proposals.ranking[["strategy", "test_trades", "test_total"]]),
        },
    }


def answers(folder: Path) -> dict[str, Any]:
    scripted = bknb.llm.recorded([json.dumps(answer) for answer in ANSWERS * 10])
    result = advised(bknb.llm.recording(scripted, folder / "replies.json"), folder / "answers")
    assert not result.errors
    return {"trades": rows(result.trades.drop(columns="strategy"))}


def candles(folder: Path) -> dict[str, Any]:
    market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=folder / "candles")
    start, end = DAYS
    done = bknb.download(
        "BTCUSDT", exchange=market, start=start, end=end, folder=folder / "candles", warmup_minutes=60, progress=False
    )
    return {"hash": done.series[0].content_hash, "candles": done.series[0].candles}


def card(folder: Path) -> dict[str, Any]:
    result = carded()
    result.card.save(folder / "card.json")
    return {"outcome": result.card.outcome.digest, "data": result.card.data[0].digest, "trades": rows(result.trades)}


def shared(folder: Path) -> dict[str, Any]:
    """The candles and the manifest of a shared folder; what else is in one would be too large."""
    import nbformat

    with tempfile.TemporaryDirectory() as scratch:
        node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in NOTEBOOK])
        nbformat.write(node, Path(scratch) / "rising.ipynb")
        bknb.share(Path(scratch) / "rising.ipynb", Path(scratch) / "out", check=False)
        for path in sorted((Path(scratch) / "out").rglob("*")):
            place = folder / "shared" / path.relative_to(Path(scratch) / "out")
            if path.name == "bknb-share.json" or path.suffix == ".gz":
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
    start = ORIGIN + 1440 * MINUTE
    return {"hash": content(bknb.exchanges.demo(), "BTCUSDT", since=start, count=1440), "since": start}


def main() -> None:
    """Write everything."""
    if bknb.__version__ != "0.1.0":
        raise SystemExit(f"these files are what bknb 0.1.0 writes; this is {bknb.__version__}")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    expected = {"live": states(folder)}
    expected |= {"ledgers": ledgers(folder), "answers": answers(folder), "candles": candles(folder)}
    expected |= {"card": card(folder), "shared": shared(folder)}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
