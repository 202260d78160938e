"""The ledger of tries: which strategies were run on which candles, by any process, one JSON line each, append-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import msgspec

from ..errors import StateError
from ..process import at_reset
from ..stores.disk import Disk
from ..stores.format_versions import read_json
from ..stores.journal import Journal, begins_with

DEFAULT_LEDGER: Final = "./dump/tries.jsonl"
_VERSION: Final = 1
_IS_BEGINNING: Final = begins_with(b'{"on":{')


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """The candles of a try.

    Parameters
    ----------
    exchange, symbol
        Their names.
    start, end
        First and last moment, UTC ms.
    data
        Hash of the candles, whatever they are called.
    """

    exchange: str
    symbol: str
    start: int
    end: int
    data: str

    def shares(self, other: Span) -> bool:
        """Whether two are the same candles, or overlapping stretches of the same market; touching is no overlap.

        Examples
        --------
        >>> one = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
        >>> [one.shares(msgspec.structs.replace(one, start=start, end=20, data="b")) for start in (8, 9)]
        [True, False]
        >>> one.shares(msgspec.structs.replace(one, symbol="ETHUSDT", data="b"))
        False
        """
        market = (self.exchange, self.symbol) == (other.exchange, other.symbol)
        return self.data == other.data or (market and self.start < other.end and other.start < self.end)

    def holds(self, other: Span) -> bool:
        """Whether all candles of the other are among these."""
        market = (self.exchange, self.symbol) == (other.exchange, other.symbol)
        return self.data == other.data or (market and self.start <= other.start and other.end <= self.end)


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """Strategies that were tried on some candles: hashes of their code and parameters, in the order of the tries."""

    on: Span
    strategies: tuple[str, ...]
    version: int = _VERSION


class Tries(msgspec.Struct, frozen=True):
    """How many strategies were tried on the candles of a run.

    Attributes
    ----------
    number : int
        The place of this strategy among them, in the order of their first tries; that of the first one, for several.
    count : int
        All of them when the run ended, this one included. A strategy counts once, whatever it is called and however
        often it is run; other parameters are another strategy.
    of : int
        How many of them this run tried.
    on : Span
        The candles.
    path : Path
        The ledger.
    unknown : str
        Why the ledger could not be read or written; then ``count`` is that of this process alone, and of what the
        ledger holds where it can be read. Empty where all went well.
    unreadable : int
        Lines of the ledger that cannot be read, and are not counted.
    """

    number: int
    count: int
    of: int
    on: Span
    path: Path
    unknown: str = ""
    unreadable: int = 0

    @property
    def line(self) -> str:
        """The count in a few words.

        Examples
        --------
        >>> on = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
        >>> Tries(7, 7, 1, on, Path("x")).line, Tries(2, 23, 1, on, Path("x")).line
        ('the 7th strategy tried on these data', 'the 2nd of 23 strategies tried on these data')
        """
        if self.unknown:
            return f"tries unknown: ledger {self.unknown}; at least {self.count:,} on these data"
        if self.unreadable:
            lines = "line" if self.unreadable == 1 else "lines"
            return f"{self._counted()} (at least: {self.unreadable:,} {lines} of {self.path} cannot be read)"
        return self._counted()

    def _counted(self) -> str:
        if self.of > 1:
            return f"{self.of:,} of {self.count:,} strategies tried on these data"
        if self.count == 1:
            return "the first strategy tried on these data"
        many = "strategy" if self.number == self.count else f"of {self.count:,} strategies"
        return f"the {_ordinal(self.number)} {many} tried on these data"

    def now(self) -> int:
        """How many there are by now: those tried since are counted too, as far as the ledger can be read."""
        try:
            entries = TriesLedger(self.path).all()
        except StateError:
            entries = []
        return max(self.count, len(_strategies([*entries, *_unwritten], self.on)))


class TriesLedger:
    """A ledger of tries in one file. Any number of processes may add to it at once.

    Parameters
    ----------
    path
        The file; it and its folder are made with the first try.
    disk
        The system calls; another one in tests.

    Examples
    --------
    >>> import tempfile
    >>> on = Span(exchange="demo", symbol="BTCUSDT", start=0, end=9, data="a")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = TriesLedger(Path(folder) / "tries.jsonl")
    ...     [ledger.add(on, [name]).count for name in ("one", "other", "one")]
    [1, 2, 2]
    """

    def __init__(self, path: Path, *, disk: Disk | None = None) -> None:
        self.path = path
        self._journal = Journal(path, entry="try", is_beginning=_IS_BEGINNING, example="tries.jsonl", disk=disk)

    def all(self) -> list[Tried]:
        """Every entry, oldest first; lines that cannot be read are left out.

        Raises
        ------
        StateError
            When the file cannot be read or holds something else, or a newer bknb wrote it.
        """
        return self._read()[0]

    def _read(self) -> tuple[list[Tried], int]:
        """Every entry, and how many lines cannot be read; one that a crash cut off at the end is none."""
        entries, bad = self._journal.read(_entry)
        return entries, sum(not line.torn for line in bad)

    def strategies(self, on: Span) -> list[str]:
        """The different strategies tried on (a part of) these candles, in the order of their first tries."""
        return list(_strategies(self.all(), on))

    def add(self, on: Span, strategies: Sequence[str]) -> Tries:
        """Note tries of strategies (hashes) on candles, and return the count.

        Raises
        ------
        StateError
            When the ledger cannot be read or written.
        """
        entries, unreadable = self._read()
        noted = {each for entry in entries if entry.on.holds(on) for each in entry.strategies}
        fresh = [each for each in dict.fromkeys(strategies) if each not in noted]
        if fresh:
            entry = Tried(on=on, strategies=tuple(fresh))
            try:
                self._journal.append([msgspec.json.encode(entry)])
            except OSError as error:
                raise StateError(f"cannot write {self.path}: {error.strerror or error}") from None
            entries, unreadable = self._read()  # with what other processes have added meanwhile
        return self._tries([*entries, *_unwritten], on, strategies, unreadable=unreadable)

    def add_in_memory(self, on: Span, strategies: Sequence[str], unknown: str) -> Tries:
        """Note tries in this process alone, where ``add`` failed.

        Parameters
        ----------
        on, strategies
            As for ``add``.
        unknown
            Why it failed.
        """
        _unwritten.append(Tried(on=on, strategies=tuple(dict.fromkeys(strategies))))
        try:
            entries, unreadable = self._read()
        except StateError:
            entries, unreadable = [], 0
        return self._tries([*entries, *_unwritten], on, strategies, unknown=unknown, unreadable=unreadable)

    def _tries(
        self, entries: Sequence[Tried], on: Span, strategies: Sequence[str], *, unknown: str = "", unreadable: int
    ) -> Tries:
        tried, known = set(strategies), _strategies(entries, on)
        number = 1 + min((at for at, each in enumerate(known) if each in tried), default=0)
        return Tries(number, len(known), len(tried), on, self.path, unknown, unreadable)


_unwritten: Final[list[Tried]] = []  # tries of this process that no ledger took
at_reset(_unwritten.clear)


@lru_cache(maxsize=100_000)
def _entry(line: bytes) -> Tried:
    """One line, read once in a process: every run reads the ledger."""
    return read_json(_READERS, line, what="the ledger of tries")


def _strategies(entries: Sequence[Tried], on: Span) -> dict[str, None]:
    return dict.fromkeys(each for entry in entries if entry.on.shares(on) for each in entry.strategies)


def _ordinal(number: int) -> str:
    special = 10 < number % 100 < 20
    ending = "th" if special else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


_READERS: Final[Mapping[int, Callable[[bytes], Tried]]] = {1: partial(msgspec.json.decode, type=Tried)}
