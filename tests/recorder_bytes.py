"""The output of a run as canonical bytes: equal on every machine, in every process, on every day.

Left out, because they differ from run to run or from version to version without anybody being wrong:

* durations and moments of the computer's clock: ``NORMALISED_FIELDS``, and in texts every date from 2025 on (the
  recorded worlds are all earlier) and every number of seconds or milliseconds;
* folders: the world's own folder becomes ``<folder>``, a line of the recorder ``<recorder>``;
* what a card was made with: versions of Python, packages and bknb, the digest of its source, the platform;
* hashes of strategies in ledgers (``STRATEGY_HASHES``): how a strategy is hashed may get another version;
* results of an earlier life that are told again, as its listeners were slow;
* lock files, which name the process that wrote them;
* fields and columns that came after the recording, while they say nothing: ``ADDED_FIELDS`` with their default, and
  ``ADDED_COLUMNS`` of a table of trades that has nothing but one entry and one exit in each.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
import pandas as pd

import bknb

Told = dict[str, bytes]
"""The output, by aspect."""

NORMALISED_FIELDS = frozenset({"duration_ms", "previous_at", "seconds", "opened_at"})
ADDED_FIELDS: dict[str, Any] = {
    "_series": "UNSET",  # of cards: no series was read
    "_models": "UNSET",  # of cards: no model was used
    "targets": [],
    "trailing": None,
    "breakeven": None,
    "memo": "",
    "add": "0.0",  # of signals and candidates
    "fills": [],
    "average_price": None,
    "cost_percentage": None,
    "largest_cost": "1.0",  # of Closed, from here on
    "ambiguous_trails": 0,
    "not_taken": 0,
    "max_adds": 10,  # of settings
    "size": None,  # of signals
    "stop_percent": None,  # of weights
}
ADDED_COLUMNS = ("fills", "adds", "average_price", "cost_percentage", "largest_cost", "ambiguous_trails")
STRATEGY_HASHES = frozenset({"strategy_hash", "code_sha256"})  # and the key of a trial; see trial_lines()

_NOW = re.compile(r"20(2[5-9]|[3-9][0-9])-[0-9]{2}-[0-9]{2}([ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?)?")
_TOOK = re.compile(r"\b[0-9]+(\.[0-9]+)? ?(ms|s)\b")
_MADE_WITH = re.compile(r"^\| Made with \|.*$", re.MULTILINE)
_PLACE = re.compile(r"(line [0-9]+ of )?[^\s\"'(|]*recorder\.py(:[0-9]+|, line [0-9]+)?")
_LINE = re.compile(r"\bline [0-9]+\b")
_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{12,32}\b(?=[\"'])")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")

SUBJECTS = (
    *("signal", "signal_backtest", "signal_live", "partial_profit", "partial_loss", "risk", "validation", "error"),
    *("exit", "done_backtest", "done_live", "done_walker", "progress_backtest", "progress_walker"),
    *("progress_optimizer", "performance", "walker", "walker_complete", "resumed"),
)


# --- values -------------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:  # noqa: C901 -- one line for each kind of value
    """A value as JSON can hold it; floats as the shortest text that gives them back."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _PLACE.sub("<recorder>", value) if "recorder.py" in value else value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, (dt.datetime, pd.Timestamp)):
        return "none" if value is pd.NaT else pd.Timestamp(value).isoformat()
    if isinstance(value, msgspec.Struct):
        named = {name: getattr(value, name) for name in value.__struct_fields__}
        if isinstance(value, bknb.Closed) and value.note == "":
            del named["note"]
        return {"is": type(value).__name__} | _without_added(_mapping(named))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"is": type(value).__name__} | _mapping(named)
    if isinstance(value, pd.DataFrame):
        return table(value)
    if isinstance(value, pd.Series):
        return {"name": value.name, "index": plain(list(value.index)), "values": plain(value.to_list())}
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, (Iterable, np.ndarray)) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return cleaned(str(value))


def _mapping(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): "<normalised>" if key in NORMALISED_FIELDS else plain(item) for key, item in value.items()}


def _without_added(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in ADDED_FIELDS or value != ADDED_FIELDS[name]}


def _old_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """A table without the columns that came later, where they say nothing."""
    if not {*ADDED_COLUMNS} <= {*frame.columns}:
        return frame
    same = (frame["average_price"] == frame["price_open"]).all()
    same &= (frame["cost_percentage"] == frame["pnl_percentage"]).all()
    same &= (frame["fills"] == 2).all() and (frame["largest_cost"] == 1.0).all()
    return frame.drop(columns=[*ADDED_COLUMNS]) if same and not frame["ambiguous_trails"].any() else frame


def table(frame: pd.DataFrame) -> dict[str, Any]:
    """A table with its index; kinds of columns, as the names of types belong to pandas."""
    frame = _old_columns(frame)
    return {
        "columns": [str(name) for name in frame.columns],
        "kinds": "".join(_kind(frame[name]) for name in dict.fromkeys(frame.columns)),
        "index": plain(list(frame.index)),
        "rows": [[plain(value) for value in row] for row in frame.itertuples(index=False, name=None)],
    }


def _kind(column: Any) -> str:
    return str(getattr(column.dtype, "kind", "O"))


def lines(values: Iterable[Any]) -> bytes:
    """One line of JSON for each value."""
    return "".join(json.dumps(plain(value), ensure_ascii=False) + "\n" for value in values).encode()


def one(value: Any) -> bytes:
    """One value, indented so that two of them can be compared line by line."""
    return (json.dumps(plain(value), ensure_ascii=False, indent=1) + "\n").encode()


def event_lines(events: Iterable[Any]) -> bytes:
    """Events as users write them to a file: the class, then bknb's own JSON."""
    return b"".join(type(event).__name__.encode() + b" " + msgspec.json.encode(event) + b"\n" for event in events)


# --- texts --------------------------------------------------------------------------------------------------------


def cleaned(text: str, *, folder: Path | None = None) -> str:
    """A text without what belongs to this process."""
    if folder is not None:
        text = text.replace(str(folder), "<folder>")
    text = text.replace("| max_adds | 10 |\n", "")  # as in ADDED_FIELDS
    text = _MADE_WITH.sub("| Made with | <normalised> |", text)
    text = _ADDRESS.sub(" at <address>", _PLACE.sub("<recorder>", text))
    return _NOW.sub("<now>", text)


def untimed(text: str) -> str:
    """A text without how long something took."""
    return _TOOK.sub("<time>", text)


def without_ids(text: str) -> str:
    """A text without identifiers drawn by chance."""
    return _ID.sub("<id>", text)


def texts(shown: Any, *, folder: Path | None = None) -> Told:
    """Everything an object shows of itself: text, Markdown, HTML."""
    made = {"text": repr(shown)}
    if hasattr(shown, "__str__") and str(shown) != made["text"]:
        made["str"] = str(shown)
    for name, method in (("markdown", "report"), ("markdown", "_repr_markdown_"), ("html", "_repr_html_")):
        if hasattr(shown, method) and name not in made:
            made[name] = getattr(shown, method)()
    return {name: untimed(cleaned(text, folder=folder)).encode() for name, text in made.items()}


# --- results ------------------------------------------------------------------------------------------------------


def told_by(result: Any, *, folder: Path | None = None) -> Told:
    """Everything a result of a backtest or of a live run says."""
    signal_ids = list(dict.fromkeys([*result.trades["signal_id"], *result.cancelled["signal_id"]]))
    troubles = [{"error": error, "where": _LINE.sub("line", cleaned(error.where))} for error in result.errors]
    return {
        "events": event_lines(result.events),
        "milestones": event_lines(result.milestones),
        "refusals": event_lines([*result.refused, *result.rejections]),
        "troubles": _LINE.sub("line", (lines([*troubles, *result.warnings])).decode()).encode(),
        "trades": one(result.trades),
        "cancelled": one(result.cancelled),
        "rejected": one(result.rejected),
        "equity": one(result.equity),
        "figures": one(dict(result.stats)),
        "settings": one(result.settings),
        "reasons": cleaned("\n\n".join(result.why(name) for name in signal_ids)).encode(),
        "card": card(result.card),
        "card as markdown": cleaned(result.card.report()).encode(),
        "candles": one(bknb.content_hash(result.candles)),
        **texts(result, folder=folder),
    }


def card(made: Any) -> bytes:
    """A run card, without versions and platform."""
    content = plain(made)
    for name in ("_account", "_benchmark"):  # most runs have none
        if not getattr(made, name):
            content.pop(name, None)
    content["made_with"] = {"candles from": made.made_with.get("candles from")}
    return one(content)


def figure(made: Any) -> bytes:
    """What a plotly figure shows, without plotly's own template."""
    shown = made.to_plotly_json()
    layout = {name: value for name, value in shown["layout"].items() if name != "template"}
    return one({"data": shown["data"], "layout": layout})


# --- files --------------------------------------------------------------------------------------------------------


def files(folder: Path) -> bytes:
    """Names and bytes of all files in a folder; a lock says only that it is there."""
    told = []
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_file():
            held = b"<lock>" if path.name.endswith(".lock") else path.read_bytes()
            told.append(path.relative_to(folder).as_posix().encode() + b"\n" + held + b"\n")
    return b"".join(told)


def rows_of_sqlite(path: Path) -> bytes:
    """Tables and rows of a database."""
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        rows = [
            (name, database.execute(f'SELECT * FROM "{name}" ORDER BY 1, 2').fetchall())  # noqa: S608 -- its own names
            for name, sql in tables
            if sql is not None and sql.startswith("CREATE TABLE")
        ]
    return one([tables, rows])


def trial_lines(path: Path) -> bytes:
    """The lines of a sweep's ledger without checksum and key, both of which hold the hash of the strategy."""
    told = []
    for line in path.read_bytes().splitlines():
        checksum, _, body = line.partition(b" ")
        version, trial = json.loads(body)
        told.append([len(checksum), version, {name: value for name, value in trial.items() if name != "key"}])
    return lines(told)


def json_lines(path: Path, *, without: Iterable[str] = ()) -> bytes:
    """The lines of a ledger without hashes of strategies, moments of the computer's clock, and other named fields."""
    left_out = {*STRATEGY_HASHES, *NORMALISED_FIELDS, *without}
    told = []
    for line in path.read_bytes().splitlines():
        held = json.loads(line)
        told.append({name: "<normalised>" if name in left_out else value for name, value in held.items()})
    return lines(told)


# --- listening ----------------------------------------------------------------------------------------------------


class Ears:
    """Listens to every subject; each is recorded in its own order, as no order between subjects is promised."""

    def __init__(self) -> None:
        self.received: dict[str, list[Any]] = {name: [] for name in SUBJECTS}
        self._stops: list[Any] = []

    def __enter__(self) -> Self:
        for name in SUBJECTS:
            self._stops.append(getattr(bknb, f"listen_{name}")(self._ear(name)))
        return self

    def _ear(self, name: str) -> Callable[[Any], None]:
        kept = self.received[name]

        def receive(event: Any) -> None:
            kept.append(event)

        return receive

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        patience = time.monotonic() + 10
        while any(stop.pending for stop in self._stops) and time.monotonic() < patience:
            time.sleep(0.0005)  # what is done is announced last, in threads of the listeners
        for stop in self._stops:
            stop()

    def told(self) -> Told:
        """What was received; durations left out."""
        return {"listeners": b"".join(self._of(name) for name in SUBJECTS if self.received[name])}

    def _of(self, name: str) -> bytes:
        if name == "performance":
            written: list[Any] = [
                f"{event.metric} {event.symbol} {event.strategy} {event.mode}" for event in self.received[name]
            ]
        else:
            written = [self._shown(event) for event in self.received[name] if not self._is_replayed(name, event)]
        return f"--- {name}\n".encode() + lines(written)

    def _is_replayed(self, name: str, event: Any) -> bool:
        """A result of an earlier life: how many are replayed depends on how fast that life's listeners were."""
        since = max((each.behind_since for each in self.received["resumed"]), default=0)
        return name in {"signal", "signal_live", "partial_profit", "partial_loss"} and event.when < since

    @staticmethod
    def _shown(event: Any) -> Any:
        if isinstance(event, msgspec.Struct):
            shown = json.loads(_LINE.sub("line", cleaned(msgspec.json.encode(event).decode())))
            if "told_again" in shown:
                shown["told_again"] = "<normalised>"
            return shown
        return untimed(cleaned(repr(event)))
