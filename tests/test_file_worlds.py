"""Random files of known candles, as people have them: what is read is the candles, or it is refused or told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from bknb.config import Settings
from bknb.errors import BknbError
from bknb.exchanges.from_csv_frame_and_parquet import from_csv
from bknb.market.candles import Candles
from bknb.market.feed import Feed

MINUTE: Final = 60_000
STARTS: Final = (1_704_065_400_000, 1_717_995_600_000, 1_735_689_540_000, 1_707_350_400_000)
LEVELS: Final = ((8, 3.2e-6), (5, 1.0812), (3, 151.234), (3, 2.345), (2, 43250.5), (0, 1250), (0, 980), (1, 999.0))
PRICES: Final = ("open", "high", "low", "close", "volume")
NEW_YORK: Final = ZoneInfo("America/New_York")


def utc(form: str) -> Callable[[int], str]:
    return lambda ms: datetime.fromtimestamp(ms / 1000, UTC).strftime(form)


TIMES: Final[dict[str, Callable[[int], str]]] = {
    "s": lambda ms: str(ms // 1000),
    "us": lambda ms: str(ms * 1000),
    "float": lambda ms: str(ms / 1000),
    "rounded": lambda ms: f"{ms:.6E}",
    "ISO": utc("%Y-%m-%dT%H:%M:%SZ"),
    "New York": lambda ms: datetime.fromtimestamp(ms / 1000, NEW_YORK).isoformat(),
    **{
        form: utc(form)
        for form in (
            *("%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%Y.%m.%d %H:%M", "%Y%m%d %H%M%S"),
            *("%Y%m%d%H%M", "%d.%m.%y %H:%M", "%d-%b-%Y %H:%M", "%H:%M", "%Y-%m-%d %H:%M UTC", "%y%m%d%H%M"),
        )
    },
    "a sheet's days": lambda ms: f"{ms / 86_400_000 + 25569:.10f}",
    "ticks": lambda ms: str(621_355_968_000_000_000 + ms * 10_000),
}
FURTHER: Final[dict[str, Callable[[random.Random, dict[str, float]], str]]] = {
    "VWAP": lambda _, row: str((row["high"] + row["low"]) / 2),
    "Adj Close": lambda _, row: str(row["close"]),
    "count": lambda chance, _: str(chance.randint(1, 500)),
    "close_time": lambda _, row: str(int(row["timestamp"]) + MINUTE - 1),
    "Volume MA": lambda chance, _: f"{chance.uniform(100, 101):.3f}",
    "note": lambda *_: "ok",
    "empty": lambda *_: "",
}
CHANGES: Final = (
    *("reversed", "a row twice", "all rows twice", "shuffled", "a sum below", "a cell blank", "a dash", "a row blank"),
    *(
        "a separator behind each row",
        "a separator behind the header",
        "the header again",
        "a line above",
        "a line below",
    ),
    "a row lost",
)

WAYS: Final = ("separator", "marks", "time", "quotes", "header", "further", "order", "changes")
MARKS: Final = ((",", None), (",", "."), (".", ","), (".", "'"), (",", " "))
WORDS: Final = {  # what is said of columns that may have been read wrongly
    frozenset({"volume"}): "where the volume is another one",
    frozenset({"open", "close"}): "open and close look swapped",
}
ONCE_WRONG: Final = (571, 6059, 9133, 10403)  # files that were read wrongly in silence


def known_candles(chance: random.Random) -> tuple[list[dict[str, float]], int]:
    """Some minutes of a market, and the digits of its prices."""
    digits, close = chance.choice(LEVELS)
    start, rows = chance.choice(STARTS), []
    for at in range(chance.choice((3, 8, 40))):
        opened = close * (1 + chance.gauss(0, 1e-4))
        close = opened * (1 + chance.gauss(0, 5e-4))
        high, low = (
            max(opened, close) * (1 + chance.uniform(0, 3e-4)),
            min(opened, close) * (1 - chance.uniform(0, 3e-4)),
        )
        volume = chance.choice((float(chance.randint(0, 5000)), round(chance.uniform(0, 100), 3)))
        prices = (round(each, digits) for each in (opened, high, low, close))
        rows.append(dict(zip(("timestamp", *PRICES), (start + at * MINUTE, *prices, volume), strict=True)))
    return rows, digits


def written(number: float, digits: int, point: str, thousands: str | None) -> str:
    whole, _, rest = f"{number:.{digits}f}".partition(".")
    if thousands is not None:
        whole = f"{int(whole):,}".replace(",", thousands)
    return whole + (point + rest if rest else "")


def changed(chance: random.Random, change: str, lines: list[list[str]], names: list[str]) -> list[list[str]]:
    """The rows of a file with one of ``CHANGES``."""
    at, column = chance.randrange(1, len(lines)), chance.randrange(len(names))
    rows = {
        "reversed": lines[::-1],
        "shuffled": chance.sample(lines, len(lines)),
        "all rows twice": lines + lines,
        "a row twice": [*lines[:at], *lines[at - 1 :]],
        "a row blank": [*lines[:at], [""] * len(names), *lines[at:]],
        "the header again": [*lines[:at], names, *lines[at:]],
        "a sum below": [*lines, ["Total", *[""] * (len(names) - 2), "12345"]],
        "a separator behind each row": [[*line, ""] for line in lines],
        "a row lost": [*lines[:at], *lines[at + 1 :]],
    }
    if change in ("a cell blank", "a dash"):
        rows[change] = [[*line] for line in lines]
        rows[change][at][column] = "-" if change == "a dash" else ""
    return rows.get(change, lines)


def a_file(seed: int) -> tuple[list[dict[str, float]], bytes, int]:
    """Known candles, a file of them that differs from a plain one in up to four ways, and how many are not in it."""
    chance = random.Random(seed)  # noqa: S311 -- a world of a test
    rows, digits = known_candles(chance)
    ways = set(chance.sample(WAYS, 1 + seed % 4))
    separator = chance.choice(";\t|, ") if "separator" in ways else ","
    point, thousands = chance.choice(MARKS) if "marks" in ways else (".", None)
    time = TIMES[chance.choice([*TIMES]) if "time" in ways else "ISO"]
    table: dict[str, list[str]] = {"timestamp": [time(int(row["timestamp"])) for row in rows]}
    for name in chance.sample(PRICES, len(PRICES)) if "order" in ways else PRICES:
        if name == "volume" and "further" in ways:
            for further in chance.sample([*FURTHER], chance.randint(1, 3)):
                table[further] = [FURTHER[further](chance, row) for row in rows]
        table[name] = [written(row[name], 3 if name == "volume" else digits, point, thousands) for row in rows]
    names = [*table]
    lines = [*map(list, zip(*table.values(), strict=True))]
    changes = chance.sample(CHANGES, 1 + seed % 2) if "changes" in ways else []
    for change in changes:
        lines = changed(chance, change, lines, names)
    if "header" not in ways:
        lines.insert(0, [*names, ""] if "a separator behind the header" in changes else names)
    quotes = "quotes" in ways

    def field(value: str) -> str:
        return f'"{value}"' if quotes or (separator in value and separator != " ") else value

    text = "".join(separator.join(map(field, line)) + "\n" for line in lines)
    text = f"a report; of the broker, 2024\n{text}" if "a line above" in changes else text
    text = f"{text}exported on Monday, by the broker\n" if "a line below" in changes else text
    data = text.encode(chance.choice(("utf-8", "utf-8-sig", "utf-16")) if quotes else "utf-8")
    return rows, data, changes.count("a row lost")


def outcome(path: Path) -> tuple[Candles | None, list[str]]:
    """What a run without gaps allowed would see of the file, and what is told."""
    told: list[str] = []
    try:
        source = from_csv(path)
        held = asyncio.run(source.get_candles("ANY", "1m", 0, 2**40))
        feed = Feed(source, Settings(), warn=told.append)
        return asyncio.run(feed.fetch("ANY", "1m", int(held.timestamp[0]), int(held.timestamp[-1]) + MINUTE)), told
    except BknbError as error:
        return None, [str(error)]


def wrong(candles: Candles, rows: list[dict[str, float]], lost: int) -> set[str]:
    """The columns that were not read as they were known; ``rows`` where some are missing, ``timestamp`` for others."""
    known = {row["timestamp"]: row for row in rows}
    found = {"rows"} if len(candles) < len(rows) - lost else set()
    for each in candles:
        row: dict[str, float] = known.get(each["timestamp"], {})
        found |= {name for name in PRICES if each[name] != row[name]} if row else {"timestamp"}
    return found


def check(path: Path, seeds: Iterable[int]) -> Counter[str]:
    """How many files were read, and how many of them wrongly with a word for it; none may be without."""
    counts: Counter[str] = Counter()
    for seed in seeds:
        rows, data, lost = a_file(seed)
        path.write_bytes(data)
        candles, told = outcome(path)
        found = set() if candles is None else wrong(candles, rows, lost)
        excused = not found or any((word := WORDS.get(frozenset(found))) and word in note for note in told)
        assert excused, f"seed {seed}: {found}, {told}: {data[:400]!r}"
        counts["refused" if candles is None else "told" if found else "right"] += 1
    return counts


def test_files_of_known_candles_are_read_or_refused_or_told(tmp_path: Path) -> None:
    counts = check(tmp_path / "x.csv", (*range(40), *ONCE_WRONG))
    assert counts["right"] >= 10
    assert counts["told"] <= 6


@pytest.mark.slow
def test_more_files_of_known_candles(tmp_path: Path) -> None:
    counts = check(tmp_path / "x.csv", range(40, 400))
    assert counts["right"] >= 120
    assert counts["told"] <= 16
