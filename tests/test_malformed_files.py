"""A file that was cut, shifted, doubled, mixed up or misread is read as it was meant, or it is told: never neither."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from bknb.config import Settings
from bknb.domain.formatting import utc_text
from bknb.errors import BknbError
from bknb.exchanges.from_csv_frame_and_parquet import from_csv
from bknb.market.candles import Candles
from bknb.market.demo import DemoSource
from bknb.market.feed import Feed

START = 1_704_067_200_000
MINUTE = 60_000
COUNT = 60
HEADER = "timestamp,open,high,low,close,volume"
TRUTH = asyncio.run(DemoSource().get_candles("BTCUSDT", "1m", START, COUNT))
ROWS = [[str(int(row["timestamp"])), *(repr(row[name]) for name in HEADER.split(",")[1:])] for row in TRUTH]
LINES = [",".join(row) for row in ROWS]

Lines = list[str]


def text(lines: Lines, header: str = HEADER) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


def fields(change: Callable[[int, list[str]], list[str]], header: str = HEADER) -> bytes:
    """The file with each row changed: ``change(number, fields)``."""
    return text([",".join(change(at, [*row])) for at, row in enumerate(ROWS)], header)


def one(place: int, value: str, *, at: int = 20) -> bytes:
    """The file with one field of one row replaced."""
    return fields(lambda number, row: [*row[:place], value, *row[place + 1 :]] if number == at else row)


def moved(shift: Callable[[int, int], int]) -> bytes:
    """The file with each time changed: ``shift(number, ms)``."""
    return fields(lambda at, row: [str(shift(at, int(row[0]))), *row[1:]])


def times(form: Callable[[int, str], str]) -> bytes:
    """The file with text for each time: ``form(number, "2024-01-01 00:00")``."""
    return fields(lambda at, row: [form(at, utc_text(int(row[0]))[:16]), *row[1:]])


def comma(number: str) -> str:
    return number.replace(".", ",")


def swapped(one_place: int, other: int, *, rows: range = range(COUNT)) -> bytes:
    def change(at: int, row: list[str]) -> list[str]:
        if at in rows:
            row[one_place], row[other] = row[other], row[one_place]
        return row

    return fields(change)


WHOLE = text(LINES)

MUTATIONS: dict[str, bytes] = {
    # cut
    "nothing": b"",
    "a blank line": b"\n\n",
    "the header alone": text([]),
    "cut within the header": WHOLE[:20],
    "cut within a row": WHOLE[: WHOLE.index(LINES[30].encode()) + 25],
    "cut at a line": text(LINES[:30]),
    "the header lost": WHOLE.split(b"\n", 1)[1],
    "a column lost": fields(lambda _, row: row[:-1], HEADER.removesuffix(",volume")),
    "a column lost below the header": fields(lambda _, row: row[:-1]),
    "rows lost": text(LINES[:20] + LINES[25:]),
    # shifted
    "a row shifted to the right": fields(lambda at, row: ["", *row] if at == 20 else row),
    "a row shifted to the left": fields(lambda at, row: row[1:] if at == 20 else row),
    "all rows shifted to the right": fields(lambda _, row: ["0", *row]),
    "half a minute in one row": moved(lambda at, ms: ms + 30_000 * (at == 20)),
    "17 seconds in all rows": moved(lambda _, ms: ms + 17_000),
    "an hour on from the middle": moved(lambda at, ms: ms + 3_600_000 * (at >= 30)),
    "half an hour back from the middle": moved(lambda at, ms: ms - 1_800_000 * (at >= 30)),
    "a year in one row": moved(lambda at, ms: ms + 366 * 1440 * MINUTE * (at == 20)),
    # doubled
    "a row twice": text([*LINES[:20], LINES[19], *LINES[20:]]),
    "a row twice with another close": text([*LINES[:20], LINES[19].replace(ROWS[19][4], ROWS[19][1]), *LINES[20:]]),
    "all rows twice": text(LINES + LINES),
    "the file twice": WHOLE + WHOLE,
    "the header twice": text([HEADER, *LINES]),
    "a column twice": fields(lambda _, row: [*row, row[1]], HEADER + ",close"),
    "two markets in one": text([*LINES, *(",".join([row[0], *4 * ["7.5"], "1"]) for row in ROWS)]),
    # columns swapped
    "high and low": swapped(2, 3),
    "high and low in one row": swapped(2, 3, rows=range(20, 21)),
    "high and low in the header": text(LINES, "timestamp,open,low,high,close,volume"),
    "open and close": swapped(1, 4),
    "open and close in most rows": swapped(1, 4, rows=range(45)),
    "open and volume": swapped(1, 5),
    "time and open": swapped(0, 1),
    "time and open in one row": swapped(0, 1, rows=range(20, 21)),
    "high and low without a header": swapped(2, 3).split(b"\n", 1)[1],
    # units
    "seconds from the middle": moved(lambda at, ms: ms // 1000 if at >= 30 else ms),
    "microseconds in one row": moved(lambda at, ms: ms * 1000 if at == 20 else ms),
    "nanoseconds from the middle": moved(lambda at, ms: ms * 1_000_000 if at >= 30 else ms),
    "a digit lost of one time": moved(lambda at, ms: ms // 10 if at == 20 else ms),
    "a digit more in all times": moved(lambda _, ms: ms * 10),
    "minutes since 1970": moved(lambda _, ms: ms // MINUTE),
    # separators and decimal marks
    "semicolons in one row": text([*LINES[:20], LINES[20].replace(",", ";"), *LINES[21:]]),
    "semicolons in all rows": WHOLE.replace(b",", b";"),
    "semicolons in the header": text(LINES, HEADER.replace(",", ";")),
    "tabs": WHOLE.replace(b",", b"\t"),
    "decimal commas in quotes": fields(lambda _, row: [row[0], *(f'"{comma(each)}"' for each in row[1:])]),
    "decimal commas without quotes": fields(lambda _, row: [row[0], *(comma(each) for each in row[1:])]),
    "one decimal comma": one(4, f'"{comma(ROWS[20][4])}"'),
    "an open quote": one(4, '"' + ROWS[20][4]),
    # encodings
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "UTF-32": WHOLE.decode().encode("utf-32"),
    "UTF-16 without a mark": WHOLE.decode().encode("utf-16-be"),
    "a mark before the header": b"\xef\xbb\xbf" + WHOLE,
    "two marks before the header": b"\xef\xbb\xbf\xef\xbb\xbf" + WHOLE,
    "a byte of no encoding in a number": WHOLE.replace(ROWS[20][4].encode(), b"4\xff" + ROWS[20][4][1:].encode()),
    "a zero byte in a number": WHOLE.replace(ROWS[20][4].encode(), b"4\0" + ROWS[20][4][1:].encode()),
    # what is no number
    "an empty field": one(4, ""),
    "NaN": one(4, "NaN"),
    "null": one(5, "null"),
    "an infinite price": one(2, "inf"),
    "a price too large to be a number": one(2, "1e400"),
    "two decimal points": one(4, "1.2.3"),
    "a dash": one(5, "--"),
    "a price of 0": one(3, "0"),
    "a negative price": one(3, "-" + ROWS[20][3]),
    "a decimal point lost": one(4, ROWS[20][4].replace(".", "")),
    "a decimal point lost of a high": one(2, ROWS[20][2].replace(".", "")),
    "a decimal point moved of a low": one(3, ROWS[20][3].replace(".", "")[:3] + ".5"),
    "a time that is empty": one(0, ""),
    "a sum below": text([*LINES, "Total,,,,,123"]),
    "a remark in the middle": text([*LINES[:20], "# weekend", *LINES[20:]]),
    # times in words
    "day or month first": times(lambda _, when: f"01/02/2024 {when[11:]}"),
    "two forms of dates": times(lambda at, when: when.replace("-", "." if at % 2 else "-")),
    "an offset in some rows": times(lambda at, when: when + ("+01:00" if at >= 30 else "")),
    "offsets that change": times(lambda at, when: when + ("+00:00" if at < 30 else "+01:00")),
    "years of a Buddhist calendar": times(lambda _, when: f"2567{when[4:]}"),
    "times without dates": times(lambda _, when: when[11:]),
    # order
    "the newest first": text(LINES[::-1]),
    "shuffled": text(LINES[30:] + LINES[:30]),
    "hours behind the minutes": moved(lambda at, ms: ms if at < 30 else START + (at - 29) * 60 * MINUTE),
}


def outcome(path: Path) -> tuple[Candles | None, list[str]]:
    """What a run without gaps allowed would see of the file, and what is told."""
    told: list[str] = []
    try:
        source = from_csv(path)
        held = asyncio.run(source.get_candles("BTCUSDT", "1m", 0, 2**40))
        if not len(held):
            return held, told
        feed = Feed(source, Settings(), warn=told.append)
        since, until = int(held.timestamp[0]), int(held.timestamp[-1]) + MINUTE
        return asyncio.run(feed.fetch("BTCUSDT", "1m", since, until)), told
    except BknbError as error:
        return None, [str(error)]


def part_of_the_truth(candles: Candles) -> bool:
    first = 0 if not len(candles) else int(candles.timestamp[0] - START) // MINUTE
    return 0 <= first < COUNT and candles == TRUTH[first : first + len(candles)]


READ_AS_WRITTEN = {  # what could be meant as it stands is told, and left as it is
    *("open and close", "open and close in most rows", "offsets that change"),
    "years of a Buddhist calendar",
    *("a decimal point lost of a high", "a decimal point moved of a low"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_no_file_is_read_wrongly_in_silence(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(MUTATIONS[name])
    candles, told = outcome(path)
    if candles is None or name in READ_AS_WRITTEN:
        assert told
    else:
        assert part_of_the_truth(candles), (candles, told)


def test_the_file_itself_is_read_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(WHOLE)
    assert outcome(path) == (TRUTH, [])


READ = (
    *("cut at a line", "the header lost", "a row twice", "all rows twice", "the newest first", "shuffled"),
    *("seconds from the middle", "microseconds in one row", "nanoseconds from the middle", "two forms of dates"),
    *("semicolons in all rows", "tabs", "decimal commas in quotes", "UTF-16", "UTF-16 without a mark"),
    *("UTF-32", "a mark before the header"),
)


@pytest.mark.parametrize("name", READ)
def test_what_can_be_read_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(MUTATIONS[name])
    candles, _ = outcome(path)
    assert candles is not None
    assert candles == TRUTH[: len(candles)]
    assert len(candles) == (30 if name == "cut at a line" else COUNT)


def test_an_archive_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(WHOLE)[:-20])
    candles, (message,) = outcome(path)
    assert candles is None
    assert "cannot be read as CSV" in message
