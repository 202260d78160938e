"""Files that bknb 0.1.0 left on a disk are read, and go on, as if it had never been replaced.

They lie in ``data/0.1.0``; ``make_fixtures.py`` wrote them, with that version, and is never run with a later one. Each
test works on a copy.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import make_fixtures as made
import pandas as pd
import pytest
from broker_journal import sent
from quick import first_quick
from recorder import LENGTH, MINUTE, ORIGIN, drawing, minutes, source, waiting

import bknb
import bknb.brokers
import bknb.exchanges
import bknb.llm
import bknb.stores
from bknb.live.ended_journal import EndedJournal

DECIDED = (
    "signal_id", "symbol", "position", "scheduled_at", "pending_at", "price_take_profit", "price_stop_loss"
)  # fmt: skip
EXPECTED: dict[str, Any] = json.loads((made.FIXTURES / "expected.json").read_text())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the files."""
    return Path(shutil.copytree(made.FIXTURES, tmp_path / "old"))


# --- live runs ----------------------------------------------------------------------------------------------------


def goes_on(store: Any, *, start: int, is_late: bool = False, **options: Any) -> Any:
    """Start the run again where it was left, to the end of the market; what listeners receive first."""
    resumed: list[Any] = []
    stop = bknb.listen_resumed(resumed.append)
    try:
        task = made.live(store, start=start, until=LENGTH, **options)
    finally:
        stop()
    late = [error.kind for error in task.result().errors]
    assert late == ["late"] * is_late
    assert [event.strategy for event in resumed] == ["kept"]
    return task, resumed[0]


def goes_on_from(task: Any, name: str, signal: Any = None) -> bool:
    """Whether what ended in the earlier life is there as 0.1.0 saw it, and what was open or waited ended once.

    What is decided later fills by other rules than in 0.1.0, so that later trades are others.
    """
    result, until = task.result(), str(pd.Timestamp(ORIGIN + made.MOMENTS[name] * MINUTE, unit="ms", tz="UTC"))
    kept = True
    for table, column in ((result.trades, "closed_at"), (result.cancelled, "closed_at")):
        at = list(table.columns).index(column)
        expected = EXPECTED["live"]["trades" if table is result.trades else "cancelled"]
        before = [row for row in expected if row[at] < until]
        rows = [row[: len(expected[0])] for row in made.rows(table)]  # columns that came later stand behind
        kept = kept and rows[: len(before)] == before
    ends = [event.signal.id for event in result.events if event.action in ("closed", "cancelled")]
    assert len(ends) == len(set(ends))
    return kept and (signal is None or signal.id in ends)


@pytest.mark.parametrize("name", first_quick(["open", "scheduled", "closed"]))
def test_a_live_run_goes_on(old: Path, name: str) -> None:
    store = bknb.stores.FileStore(old / f"state-{name}")
    task, resumed = goes_on(store, start=made.MOMENTS[name])
    assert resumed.behind_since == ORIGIN + (made.MOMENTS[name]) * MINUTE or name == "closed"
    kinds = {"open": "OpenSignal", "scheduled": "ScheduledSignal", "closed": "NoneType"}
    assert type(resumed.signal).__name__ == kinds[name]
    assert goes_on_from(task, name, resumed.signal)


@pytest.mark.slow
def test_a_live_run_goes_on_from_a_database(old: Path) -> None:
    task, resumed = goes_on(bknb.stores.SqliteStore(old / "state.db"), start=made.MOMENTS["open"])
    assert resumed.signal.price_open > 0
    assert goes_on_from(task, "open", resumed.signal)


def ended_files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*.json") if "ended" in path.parts}


def goes_on_after_a_kill(old: Path) -> Any:
    """The run was killed when the end of a trade was on the disk, and that nothing is open any more was not yet."""
    assert list((old / "state-killed").rglob("*.tmp"))
    # hours after it was killed: what its deadline had ended leaves at the market of then
    task, _ = goes_on(bknb.stores.FileStore(old / "state-killed"), start=made.MOMENTS["open"], is_late=True)
    assert not list((old / "state-killed").rglob("*.tmp"))
    return task


@pytest.mark.slow
def test_a_live_run_that_was_killed_goes_on(old: Path) -> None:
    saved = {name.removesuffix(".json").split("-", 1)[1] for name in ended_files(old / "state-killed")}
    assert saved
    result = goes_on_after_a_kill(old).result()
    ends = [event.signal.id for event in result.events if event.action in ("closed", "cancelled")]
    assert len(ends) == len(set(ends))  # the one that ended in the kill counts once
    assert saved <= set(ends)
    assert ended_files(old / "state-killed") == {"part-000001.json"}
    with bknb.stores.FileStore(old / "state-killed") as store:
        assert sorted(end.signal.id for end in EndedJournal(store, ("kept", "BTCUSDT")).load()) == sorted(ends)


def test_orders_go_on(old: Path) -> None:
    journal = old / "orders" / "paper.jsonl"
    before = journal.read_bytes()
    store = bknb.stores.FileStore(old / "orders" / "state")
    options = made.with_orders(journal)
    held = options["broker"].position("BTCUSDT")
    assert abs(held) == made.QUANTITY
    task, resumed = goes_on(store, start=made.MOMENTS["open"], **options)
    assert goes_on_from(task, "open", resumed.signal)
    assert journal.read_bytes().startswith(before)
    assert set(sent(journal).values()) == {1}
    last = task.result().events[-1]
    left = made.QUANTITY * (1 if last.signal.position == "long" else -1) if last.action == "opened" else 0.0
    assert bknb.brokers.paper(journal=journal).position("BTCUSDT") == left


# --- the second format of live state, which no release wrote --------------------------------------------------------

SECOND = made.FIXTURES.parent / "state-2"
MOMENTS: dict[str, int] = json.loads((SECOND / "moments.json").read_text())


@cache
def uninterrupted() -> tuple[Any, Any]:
    """Trades and cancelled signals of the run that nothing interrupts."""
    whole = made.live(bknb.stores.memory(), start=0, until=LENGTH).result()
    return whole.trades, whole.cancelled


def same_as_uninterrupted(task: Any) -> bool:
    result = task.result()
    trades, cancelled = uninterrupted()
    return bool(result.trades.equals(trades) and result.cancelled.equals(cancelled))


@pytest.mark.slow
@pytest.mark.parametrize("name", MOMENTS)
def test_a_live_run_of_the_second_format_goes_on(tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(SECOND / f"state-{name}", tmp_path / "state"))
    task, _ = goes_on(bknb.stores.FileStore(folder), start=MOMENTS[name])
    assert same_as_uninterrupted(task)


@pytest.mark.slow
def test_a_live_run_of_the_second_format_goes_on_from_a_database(tmp_path: Path) -> None:
    shutil.copytree(SECOND, tmp_path / "old")
    task, resumed = goes_on(bknb.stores.SqliteStore(tmp_path / "old" / "state.db"), start=MOMENTS["open"])
    assert resumed.told_again == 2
    assert same_as_uninterrupted(task)


@pytest.mark.slow
def test_orders_of_the_second_format_go_on(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SECOND / "orders", tmp_path / "orders"))
    options = made.with_orders(folder / "paper.jsonl")
    task, _ = goes_on(bknb.stores.FileStore(folder / "state"), start=MOMENTS["open"], **options)
    assert same_as_uninterrupted(task)
    assert {order.received for order in bknb.brokers.paper(journal=folder / "paper.jsonl").orders.values()} == {1}


# --- ledgers ------------------------------------------------------------------------------------------------------


def test_trials_are_counted_and_kept(old: Path) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("cloudpickle")
    ledger = old / "trials"
    before = ledger.read_bytes()
    known = EXPECTED["ledgers"]["sweep"]["trials"]
    found = made.sweep(ledger, {"fast": [4], "slow": [9, 10]})
    assert found.trials == known + 2
    assert not found.warnings
    after = ledger.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == before.count(b"\n") + 2
    again = made.sweep(ledger, made.PARAMS)
    assert again.from_ledger == 0  # orders filled at other prices then: known ones are tried again
    assert len(again) == len(EXPECTED["ledgers"]["sweep"]["table"])
    assert ledger.read_bytes().startswith(after)
    assert made.sweep(ledger, made.PARAMS).from_ledger == len(again)


def test_earlier_looks_at_a_hold_out_are_reported(old: Path) -> None:
    path = old / "openings.jsonl"
    before = path.read_bytes()
    opened = [json.loads(line)["opened_at"] for line in before.splitlines()]
    look = made.hold_out(path, "third-look", drawing(3))
    assert not look.first
    assert [(each.strategy, each.opened_at) for each in look.earlier] == [
        ("first-look", opened[0]),
        ("second-look", opened[1]),
    ]
    assert look.verdict.startswith("NOT A HOLD-OUT ANY MORE: opened 2 times before")
    assert look.strategies == 3
    after = path.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 3


def test_attempts_of_an_optimizer_are_counted(old: Path) -> None:
    (path,) = (old / "optimizer").iterdir()
    before = path.read_bytes()
    proposals = made.study(old / "optimizer", bknb.llm.recorded(["I would rather not."] * 2), tries=1)
    assert len(proposals) == 0
    assert proposals.earlier_looks == len(EXPECTED["ledgers"]["optimizer"]["proposals"]) > 0
    after = path.read_bytes()
    assert after.startswith(before)
    assert [json.loads(line)["status"] for line in after.splitlines()] == [
        *EXPECTED["ledgers"]["optimizer"]["attempts"],
        *(attempt.status for attempt in proposals.attempts),
    ]


# --- models -------------------------------------------------------------------------------------------------------


def decided(trades: Any) -> list[list[Any]]:
    """What was decided about each trade: the model's part of it, whatever it filled at."""
    at = [list(trades.columns).index(name) for name in (*DECIDED, "note")]
    return [[row[column] for column in at] for row in made.rows(trades)]


def expected_decisions() -> list[list[Any]]:
    """Those of 0.1.0, but for the one at the last moment of the frame."""
    *rows, last = EXPECTED["answers"]["trades"]
    assert last[3].startswith("2024-01-12 00:00")
    return [[*row[:5], *row[7:9], row[-1]] for row in rows]


def test_recorded_replies_match_their_requests(old: Path) -> None:
    """Strictly: a question whose words had changed would find no reply."""
    result = made.advised(bknb.llm.recorded(old / "replies.json", strict=True), None)
    assert not result.errors
    assert decided(result.trades) == expected_decisions() != []


def test_kept_answers_answer_without_a_model(old: Path) -> None:
    result = made.advised(None, old / "answers")
    assert not result.errors
    assert decided(result.trades) == expected_decisions()


@pytest.mark.slow
def test_recorded_replies_make_the_same_proposals(old: Path) -> None:
    """The question has other words since signals can say more; a recording is played in its order unless strictly."""
    with pytest.raises(bknb.ModelError, match=r"no recorded reply is for this question.*\nrecord again"):
        made.study(old / "a-ledger", bknb.llm.recorded(old / "optimizer-replies.json", strict=True))
    model = bknb.llm.recorded(old / "optimizer-replies.json")
    proposals = made.study(old / "another-ledger", model)
    known = EXPECTED["ledgers"]["optimizer"]
    assert [attempt.status for attempt in proposals.attempts] == known["attempts"]
    assert sorted(proposals.ranking["strategy"]) == sorted(known["proposals"])


# --- candles and cards --------------------------------------------------------------------------------------------


def test_stored_candles_are_served(old: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = old / "candles"
    before = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    start, end = made.DAYS
    market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=folder)
    done = bknb.download(
        "BTCUSDT", exchange=market, start=start, end=end, folder=folder, warmup_minutes=60, progress=False
    )
    assert (done.requests, done.series[0].added, done.complete) == (0, 0, True)
    assert done.series[0].content_hash == EXPECTED["candles"]["hash"]
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == before
    shelf, since = bknb.exchanges.from_store(folder), ORIGIN + 29 * 1440 * MINUTE
    count = EXPECTED["candles"]["candles"]
    assert made.content(shelf, "BTCUSDT", since=since, count=count) == EXPECTED["candles"]["hash"]
    assert made.content(bknb.exchanges.demo(), "BTCUSDT", since=since, count=count) == EXPECTED["candles"]["hash"]
    assert bknb.audit("BTCUSDT", exchange=market, start=start, end=end, folder=folder).sound


def test_more_candles_join_the_stored_ones(old: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = old / "candles"
    market = bknb.exchanges.stored(bknb.exchanges.demo(), folder=folder)
    done = bknb.download(
        "BTCUSDT",
        exchange=market,
        start=made.DAYS[0],
        end="2024-02-03",
        folder=folder,
        warmup_minutes=60,
        progress=False,
    )
    assert (done.series[0].added, done.complete) == (1440, True)


def test_a_card_is_read_and_verified(old: Path) -> None:
    card = bknb.Card.load(old / "card.json")
    assert (card.outcome.digest, card.data[0].digest) == (EXPECTED["card"]["outcome"], EXPECTED["card"]["data"])
    strategy = bknb.add_strategy("carded", interval="5m", get_signal=waiting(made.SEED))
    verification = bknb.verify(old / "card.json", strategy=strategy, exchange=source(minutes(made.SEED)))
    assert [part.kind for part in verification.differences] == ["rules"], verification
    assert verification.card.outcome.trades == len(EXPECTED["card"]["trades"]) > 0


def test_bundled_candles_are_served(old: Path) -> None:
    bundle = bknb.exchanges.bundled(old / "shared")
    try:
        result = bknb.backtest(
            "BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-02:2024-01-02 23:59", interval="1h"
        )
        assert result.card.made_with["candles from"] != "DemoSource demo"
        assert bknb.content_hash(result.candles) == EXPECTED["shared"]["hash"]
    finally:
        bundle.leave()
