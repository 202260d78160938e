"""Formats on disk: the current one is read, a newer one is refused with what to do, and the file stays as it is."""

from __future__ import annotations

import json
import re
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ledgers import LEDGERS, order, trial
from order_events import scheduled, waiting

import bknb
from bknb.brokers.paper_broker import PaperBroker
from bknb.domain.lifecycle import Flat, Waiting
from bknb.domain.recovery import NEWEST_STATE_VERSION, Owner, Restored, SavedLate
from bknb.domain.signal_events import Cancelled
from bknb.errors import BknbError, StateError
from bknb.exchanges.candle_bundle import read_manifest
from bknb.history.candle_store import CandleStore, SeriesName
from bknb.history.partition import arrow
from bknb.live.ended_journal import EndedJournal
from bknb.live.hole_journal import HoleJournal
from bknb.live.late_journal import LateJournal
from bknb.live.results_not_heard import BESIDE_STATE, Undelivered
from bknb.live.saved_orders import SavedOrders
from bknb.live.saved_risk_places import save_places, saved_places
from bknb.live.values_saved_before_events import Progress, StateSaver
from bknb.llm.recordings import AnswerFolder, RecordedModel
from bknb.market.candles import Candles
from bknb.ports import ModelReply
from bknb.provenance.card import Card
from bknb.stores.atomic import write_whole
from bknb.stores.disk import Disk
from bknb.stores.file_store import FileStore
from bknb.stores.format_versions import read_json, read_version
from bknb.stores.sealed_values import seal
from bknb.stores.sqlite_store import SqliteStore

_HERE = "this one reads up to"
_NUMBERS = rf"\(format (2; {_HERE} 1|3; {_HERE} 2|4; {_HERE} 3|5; {_HERE} 4|6; {_HERE} 5)\)"
NEWER = rf"was written by a newer bknb {_NUMBERS}\nupgrade with: pip install -U bknb"
PLACE = ("sma", "BTCUSDT")
OWNER = Owner(strategy="sma", symbol="BTCUSDT", exchange="demo", execution="touch")
SERIES = SeriesName("mine", "BTCUSDT", "1m")


# --- the table ----------------------------------------------------------------------------------------------------


def test_each_version_has_its_reader() -> None:
    readers: dict[int, Callable[[bytes], object]] = {1: len, 3: bytes.decode}
    assert read_version(readers, 1, b"abc", what="x") == 3
    assert read_version(readers, 3, b"abc", what="x") == "abc"
    with pytest.raises(ValueError, match="its format is 2, which bknb no longer reads; it reads 1, 3"):
        read_version(readers, 2, b"", what="x")
    with pytest.raises(StateError, match=r"x was written by a newer bknb \(format 4; this one reads up to 3\)"):
        read_version(readers, 4, b"", what="x")


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", None, [1], {}])
def test_what_is_no_version_is_no_newer_one(version: Any) -> None:
    with pytest.raises(ValueError, match=r"its format is .*, expected a whole number from 1 to 1"):
        read_version({1: len}, version, b"", what="x")


def test_without_a_version_it_is_the_first() -> None:
    assert read_json({1: bytes.decode}, b'{"a":1}', what="x") == '{"a":1}'
    assert read_json({1: bytes.decode}, b"[1]", what="x") == "[1]"
    assert read_json({1: len, 2: bytes.decode}, b'{"a":1,"version":2}', what="x") == '{"a":1,"version":2}'
    assert read_json({1: len, 2: bytes.decode}, b'{"v":2}', what="x", member="v") == '{"v":2}'
    with pytest.raises(msgspec.DecodeError):
        read_json({1: len}, b'{"version":1', what="x")


# --- each format --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes
    ----------
    write
        Write it as today, into a folder.
    read
        Read it; what comes back is compared before and after.
    advance
        Make it one of the next version, behind the back of those who read it.
    """

    write: Callable[[Path], object]
    read: Callable[[Path], object]
    advance: Callable[[Path], object]


def in_file(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def advance(folder: Path) -> object:
        (path,) = folder.rglob(name)
        return path.write_bytes(change(path.read_bytes()))

    return advance


def more_members(line: bytes) -> bytes:
    return line.replace(b"{", b'{"version":2,"something":"new",', 1)


def next_number(content: bytes) -> bytes:
    return re.sub(rb'"version":(\d+)', lambda found: b'"version":%d' % (int(found[1]) + 1), content)


def behind_all_states(content: bytes) -> bytes:
    """The version behind that of states in which there is more than most have."""
    return re.sub(rb'"version":\d+', b'"version":%d' % (NEWEST_STATE_VERSION + 1), content)


def behind_all_orders(content: bytes) -> bytes:
    """The version behind that of orders at a broker that says which account it is."""
    return re.sub(rb'"version":\d+', b'"version":5', content)


def newer_line(content: bytes) -> bytes:
    """The last line in a newer version."""
    *before, last, _ = content.split(b"\n")
    newer = next_number(last) if b'"version":' in last else more_members(last)
    return b"\n".join([*before, newer, b""])


def newer_trial(content: bytes) -> bytes:
    body = msgspec.json.encode([2, "in another way", trial(2).key])
    return content + b"%08x %s\n" % (zlib.crc32(body), body)


def payload_in_state(kind: str, key: tuple[str, ...], change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """A payload of the next version in an envelope of today."""

    def advance(folder: Path) -> object:
        with FileStore(folder) as store:
            payload = store.read(kind, key)
            assert payload is not None
            return store.write(kind, key, change(payload))

    return advance


def write_state(folder: Path) -> None:
    with FileStore(folder) as store:
        store.write("signal", PLACE, b"1")


def read_state(folder: Path) -> object:
    with FileStore(folder) as store:
        return store.read("signal", PLACE)


def sqlite(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "state.db")


def write_sqlite(folder: Path) -> None:
    with sqlite(folder) as store:
        store.write("signal", PLACE, b"1")


def read_sqlite(folder: Path) -> object:
    with sqlite(folder) as store:
        return store.read("signal", PLACE)


def advance_sqlite(folder: Path) -> None:
    connection = sqlite3.connect(folder / "state.db")
    # Opened by us, this database would not stay as it is.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA user_version = 2")
    connection.execute("CREATE TABLE positions (name TEXT)")
    connection.close()


def advance_row(folder: Path) -> None:
    connection = sqlite3.connect(folder / "state.db")
    sealed = b'{"format":2,"what":"only the first member is promised"}'
    connection.execute("UPDATE state SET sealed = ?", (sealed,))
    connection.commit()
    connection.close()


def saved_orders(store: FileStore) -> SavedOrders:
    return SavedOrders(store, *PLACE, on_problem=lambda _kind, _text: None)


def write_orders(folder: Path) -> None:
    with FileStore(folder) as store:
        assert saved_orders(store).put(order(1))


def read_orders(folder: Path) -> object:
    with FileStore(folder) as store:
        orders = saved_orders(store)
        orders.load()
        return orders.signals


def write_positions(folder: Path) -> None:
    with FileStore(folder) as store:
        save_places(store, "calm", ())


def read_positions(folder: Path) -> object:
    with FileStore(folder) as store:
        return saved_places(store, "calm")


def write_live(folder: Path) -> None:
    with FileStore(folder) as store:
        StateSaver(store, OWNER).save(
            Flat(last_id="7"), (), Progress(last_minute=60_000, last_asked=120_000, volume_seen=True)
        )


def write_waiting(folder: Path) -> None:
    with FileStore(folder) as store:
        StateSaver(store, OWNER).save(
            Waiting(signal=waiting()), (), Progress(last_minute=60_000, last_asked=120_000, volume_seen=True)
        )


def read_live(folder: Path) -> object:
    with FileStore(folder) as store:
        return StateSaver(store, OWNER).restore()


def undelivered_of(folder: Path) -> Undelivered:
    return Undelivered(FileStore(folder), *PLACE)


def write_undelivered(folder: Path) -> None:
    mine = undelivered_of(folder)
    with mine.store:
        mine.add(tuple(scheduled(at=at) for at in range(BESIDE_STATE + 1)))
        mine.make_room()


def read_undelivered(folder: Path) -> object:
    mine = undelivered_of(folder)
    with mine.store:
        problems = mine.load(Restored(state=Flat(), results=BESIDE_STATE))
    if problems:
        raise StateError(problems[0].partition(": ")[2])
    return mine.events


def write_ends(folder: Path) -> None:
    cancelled = Cancelled(
        symbol="BTCUSDT", strategy="sma", exchange="demo", frame=None, mode="live", when=0, price=100.0,
        signal=waiting(), reason="timeout", closed_at=0,
    )  # fmt: skip
    with FileStore(folder) as store:
        EndedJournal(store, PLACE).append(cancelled)


def read_ends(folder: Path) -> object:
    with FileStore(folder) as store:
        return EndedJournal(store, PLACE).load()


def write_late(folder: Path) -> None:
    with FileStore(folder) as store:
        LateJournal(store, PLACE).append(SavedLate(moment=60_000, order="exit", decided_at=180_000))


def read_late(folder: Path) -> object:
    with FileStore(folder) as store:
        return LateJournal(store, PLACE).load()


def write_holes(folder: Path) -> None:
    with FileStore(folder) as store:
        HoleJournal(store, PLACE).append((60_000, 120_000))


def read_holes(folder: Path) -> object:
    with FileStore(folder) as store:
        return HoleJournal(store, PLACE).load()


def write_candles(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    candles = Candles.from_rows([(minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(3)])
    CandleStore(folder).put(SERIES, candles, now=600_000)


def read_candles(folder: Path) -> object:
    return CandleStore(folder).read(SERIES).timestamp.tolist()


def relabelled(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """A partition whose label is another one."""

    def advance(folder: Path) -> None:
        _, parquet = arrow()
        (path,) = folder.rglob("*.parquet")
        table = parquet.read_table(path)
        label = (parquet.read_metadata(path).metadata or {})[b"bknb.candles"]
        with parquet.ParquetWriter(path, table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({b"bknb.candles": change(label)})

    return advance


def newer_label(label: bytes) -> bytes:
    payload = json.loads(label)["payload"]
    return seal("candles", SERIES.key, json.dumps({**payload, "version": 4}).encode())


def write_card(folder: Path) -> None:
    bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02").card.save(
        folder / "card.json"
    )


FORMATS = {
    "state in files": Format(
        write_state, read_state, in_file("BTCUSDT.json", lambda _: b'{"format":2,"what":"only this is promised"}')
    ),
    "state in SQLite": Format(write_sqlite, read_sqlite, advance_sqlite),
    "a row in SQLite": Format(write_sqlite, read_sqlite, advance_row),
    "orders": Format(
        write_orders,
        read_orders,
        payload_in_state("order", PLACE, behind_all_orders),
    ),
    "a live run": Format(write_live, read_live, payload_in_state("signal", PLACE, behind_all_states)),
    "a live run that waits": Format(write_waiting, read_live, payload_in_state("schedule", PLACE, behind_all_states)),
    "results nobody heard": Format(
        write_undelivered, read_undelivered, payload_in_state("undelivered", (*PLACE, f"{0:012d}"), more_members)
    ),
    "ends of a live run": Format(
        write_ends, read_ends, payload_in_state("ended", (*PLACE, "part-000001"), next_number)
    ),
    "late orders of a live run": Format(
        write_late, read_late, payload_in_state("late", (*PLACE, "part-000001"), next_number)
    ),
    "minutes that never came": Format(
        write_holes, read_holes, payload_in_state("hole", (*PLACE, "part-000001"), next_number)
    ),
    "positions of a risk profile": Format(
        write_positions, read_positions, payload_in_state("risk", ("calm", "positions"), more_members)
    ),
    "candles": Format(write_candles, read_candles, relabelled(newer_label)),
    "candles in a newer envelope": Format(
        write_candles, read_candles, relabelled(lambda _: b'{"format":2,"what":"only this is promised"}')
    ),
    "cards": Format(
        write_card,
        lambda folder: Card.load(folder / "card.json"),
        in_file("card.json", lambda _: b'{"bknb_card":4,"content":"in another way"}'),
    ),
    "recorded answers": Format(
        lambda folder: write_whole(folder / "replies.json", b'{"format":"bknb replies 1","replies":[{"text":"yes"}]}'),
        lambda folder: repr(RecordedModel(folder / "replies.json")),
        in_file("replies.json", lambda _: b'{"format":"bknb replies 2","answers":{}}'),
    ),
    "kept answers": Format(
        lambda folder: AnswerFolder(folder).save("ab12", ModelReply(text="yes", model="m")),
        lambda folder: AnswerFolder(folder).find("ab12"),
        in_file("ab12.json", more_members),
    ),
    "shared folders": Format(
        lambda folder: write_whole(folder / "bknb-share.json", b'{"bknb_share":1,"notebook":"story.ipynb"}'),
        read_manifest,
        in_file("bknb-share.json", lambda _: b'{"bknb_share":2,"notebooks":[]}'),
    ),
    **{
        ledger.name: Format(
            lambda folder, ledger=ledger: [ledger.add(folder, number, Disk()) for number in (1, 2)],
            ledger.numbers,
            in_file(ledger.file_name, newer_trial if ledger.name == "trials" else newer_line),
        )
        for ledger in LEDGERS
    },
}
by_format = pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)


def everything_in(folder: Path) -> dict[Path, bytes]:
    ignored = (".lock", "bknb.lock", "state.db.lock")
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in ignored}


@by_format
def test_the_current_version_is_read(form: Format, tmp_path: Path) -> None:
    form.write(tmp_path)
    content = everything_in(tmp_path)
    assert form.read(tmp_path) == form.read(tmp_path)
    assert everything_in(tmp_path) == content


@by_format
def test_a_newer_version_is_refused_and_left_as_it_is(form: Format, tmp_path: Path) -> None:
    form.write(tmp_path)
    form.advance(tmp_path)
    content = everything_in(tmp_path)
    for _ in range(2):
        with pytest.raises(BknbError, match=NEWER) as told:
            form.read(tmp_path)
        assert len(str(told.value).splitlines()) <= 3
        assert everything_in(tmp_path) == content


def test_a_torn_line_behind_a_newer_one_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "paper.jsonl"
    path.write_bytes(b'{"version":4}\n{"version":4,"ord')
    with pytest.raises(StateError, match=NEWER):
        PaperBroker(journal=path)
    assert path.read_bytes() == b'{"version":4}\n{"version":4,"ord'


def test_a_kept_answer_of_a_newer_version_is_not_replaced(tmp_path: Path) -> None:
    form = FORMATS["kept answers"]
    form.write(tmp_path)
    form.advance(tmp_path)
    content = everything_in(tmp_path)
    with pytest.raises(StateError, match=NEWER):
        form.write(tmp_path)
    assert everything_in(tmp_path) == content
