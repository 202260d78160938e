"""The marks of a live account, kept minute by minute: a run holds the candles of its last days alone.

A mark is kept once nothing can change it any more: all legs have worked on what came before it. On the disk the newest
ones are a part of the saved account, so that no write is needed for them alone; those before them are in parts::

    portfolio_marks/{name}/account/part-000001.json     4 096 marks
    portfolio_marks/{name}/account/part-000002.json     up to 4 096, replaced whenever 128 more are there

Where those cannot be read, they stay as they are, and what follows is in parts of other numbers: they are read again
with growing pauses, and by the next process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from ..domain.funding_charged_and_fills_booked import Ledger
from ..domain.interval import MINUTE_MS
from ..domain.market_clock_protocol import NEVER
from ..engine.kept_marks import KeptMarks, behind
from ..engine.marked_account_equity import LegCloses, held_ms, marked_exposure, marked_money, moments_of
from ..errors import StateError
from ..ports import StateStore
from .saved_values import decode_saved

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEWEST: Final = 128
"""How many marks are saved with the account before they move to a part."""
PART: Final = 4_096
"""How many marks a part holds."""

_ATTEMPTS: Final = 20
_LONGEST: Final = 60 * MINUTE_MS
"""How often a process reads again what could not be read, and after what pause at most (ms)."""

WITHOUT_MARKS: Final = "an earlier version saved the account without what it was worth at each minute"

_NAMES: Final = ("time", "closed", "worth", "long", "short")
_ROW: Final = np.dtype([("time", "<i8"), ("worth", "<f8"), ("long", "<f8"), ("short", "<f8"), ("closed", "?")])


class SavedMarks(msgspec.Struct, frozen=True, kw_only=True):
    """What a saved account has of its marks.

    Attributes
    ----------
    in_parts, newest
        How many are in parts, and the rows of those behind them.
    after, closes, opens, held_ms, unknown
        As of :class:`bknb.engine.kept_marks.KeptMarks`.
    first_part
        The number of the first of their parts, from 0.
    unread
        Those before them, which could not be read.
    """

    in_parts: int
    newest: bytes
    after: int
    closes: dict[str, float]
    opens: dict[str, float]
    held_ms: int
    unknown: str = ""
    first_part: int = 0
    unread: SavedMarks | None = None


class _SavedRows(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a part."""

    version: int = 1
    rows: bytes


def _rows(payload: bytes) -> bytes:
    return msgspec.json.decode(payload, type=_SavedRows).rows


class AccountMarks:
    """The marks of a live account that are kept.

    Parameters
    ----------
    newest, part
        How many are saved with the account at most, and how many a part holds.

    Attributes
    ----------
    after
        Up to which moment (UTC ms) they are kept; ``None``: none is yet.
    opens
        The first open of each leg by its name in the ledgers.
    unknown
        Why what it was worth before them is not known; empty: it is.
    tell
        Called with a sentence when those that could not be read have been read after all.
    """

    def __init__(self, *, newest: int = NEWEST, part: int = PART) -> None:
        self._newest, self._part = newest, part
        self.after: int | None = None
        self.opens: dict[str, float] = {}
        self._rows = bytearray()
        self._closes: dict[str, float] = {}
        self._held_ms = 0
        self.unknown = ""
        self.tell: Callable[[str], object] | None = None
        self._restored = False
        self._in_parts = self._first_part = 0
        self._unread: SavedMarks | None = None
        self._attempts, self._next_attempt = 0, 0

    @property
    def marks(self) -> KeptMarks | None:
        """The marks as arrays; ``None``: there are none yet."""
        if self.after is None:
            return None
        rows, known = np.frombuffer(bytes(self._rows), dtype=_ROW), (dict(self._closes), dict(self.opens))
        times, closed, *money = (np.ascontiguousarray(rows[name]) for name in _NAMES)
        return KeptMarks(
            times, closed, money[0], money[1], money[2], self.after, *known, self._held_ms, self.unknown, self._restored
        )

    def begin(self, start: int, capital: float) -> None:
        """Begin at the first moment of the account, UTC ms."""
        self._add(np.array([start]), np.array([False]), np.array([capital]), np.zeros(1), np.zeros(1))

    def keep(
        self,
        begin: Ledger,
        changes: Sequence[tuple[int, Ledger]],
        legs: Mapping[str, LegCloses],
        until: int,
    ) -> None:
        """Keep the marks behind those that are kept.

        Parameters
        ----------
        begin, changes
            The account before these marks, and from moments (UTC ms) behind them on.
        legs
            The bars of each leg by its name that are in memory.
        until
            Up to when nothing changes them any more, UTC ms.
        """
        changes = [change for change in changes if change[0] <= until]
        first, booked = self.after, [since for since, _ in changes]
        assert first is not None  # it has begun  # noqa: S101
        legs = {name: behind(first, self._closes.get(name), bars) for name, bars in legs.items()}
        moments, known = moments_of(legs.values(), booked, start=first, end=until), int(len(self._rows) > 0)
        times, closed = moments.time_ms[known:], moments.bar_closed[known:]
        if len(times) and not closed[-1] and until not in booked:
            times, closed = times[:-1], closed[:-1]  # nothing happened at that moment
        if not len(times):
            return
        self._add(
            times, closed, marked_money(begin, changes, legs, times), *marked_exposure(begin, changes, legs, times)
        )
        last = int(times[-1])
        self._held_ms += held_ms(begin, changes, first, last)
        for name, bars in legs.items():
            if at := int(bars.closed_ms.searchsorted(last, side="right")):
                self._closes[name] = float(bars.close[at - 1])

    def _add(self, times: NDArray[np.int64], closed: NDArray[np.bool_], *money: NDArray[np.float64]) -> None:
        rows = np.empty(len(times), dtype=_ROW)
        for name, column in zip(_NAMES, (times, closed, *money), strict=True):
            rows[name] = column
        self._rows += rows.tobytes()
        self.after = int(times[-1])

    # --- on the disk ------------------------------------------------------------------------------------------------

    def begin_unknown(self, after: int, closes: Mapping[str, float], reason: str) -> None:
        """Begin at a moment (UTC ms) with the last closes of then, by leg; ``reason``: why nothing before is known."""
        self.after, self._closes, self.unknown, self._restored = after, dict(closes), reason, True

    def begin_unread(self, saved: SavedMarks, reason: str) -> None:
        """Begin behind what was saved, which stays as it is and is read again; ``reason``: why it was not."""
        self.begin_unknown(saved.after, saved.closes, reason)
        self._unread, self._first_part = saved, self._behind_parts(saved)
        self._wait()

    def _behind_parts(self, saved: SavedMarks) -> int:
        """The number of the first part behind those that were saved."""
        return saved.first_part - (-saved.in_parts // self._part)

    def _wait(self) -> None:
        """Read again after a pause, by the moments of the marks."""
        from ..domain.retry_pauses import Patience  # here: only a failure needs it

        self._attempts += 1
        pause = Patience(attempts=_ATTEMPTS, first_pause_ms=MINUTE_MS, longest_pause_ms=_LONGEST).after(self._attempts)
        self._next_attempt = (self.after or 0) + pause if isinstance(pause, int) else NEVER

    def _read_again(self, store: StateStore, kind: str, key: tuple[str, ...]) -> None:
        """Read what could not be read before, once its pause is over."""
        unread, width = self._unread, _ROW.itemsize
        if unread is None or (self.after or 0) < self._next_attempt:
            return
        before = AccountMarks(newest=self._newest, part=self._part)
        try:
            before.restore(unread, store, kind, key)
        except StateError:
            self._wait()
            return
        own = self._rows[width:] if self._rows else self._rows  # the first of them is the last of those before
        if self._in_parts:  # all of them are written again, as what is on the disk holds until the account is saved
            self._first_part, self._in_parts = self._first_part - (-self._in_parts // self._part), 0
        else:
            self._first_part, self._in_parts = before._first_part, before._in_parts
        self._rows = before._rows + own
        self._held_ms += before._held_ms
        self.opens, self.unknown, self._unread = {**self.opens, **before.opens}, before.unknown, before._unread
        self._attempts, self._next_attempt = before._attempts, before._next_attempt
        if self.tell is not None and not self.unknown:
            self.tell("what the account was worth before was read after all: equity and figures are of all of it")

    def save(self, store: StateStore, kind: str, key: tuple[str, ...]) -> SavedMarks | None:
        """What the account is saved with; where there are many, some of them move to a part. Raises ``StateError``."""
        if self.after is None:
            return None
        self._read_again(store, kind, key)
        width, most = _ROW.itemsize, self._part
        while (count := len(self._rows) // width) - self._in_parts >= self._newest:
            number = self._in_parts // most
            whole = min(count, (number + 1) * most)
            rows = bytes(self._rows[number * most * width : whole * width])
            store.write(kind, (*key, _part(self._first_part + number)), msgspec.json.encode(_SavedRows(rows=rows)))
            self._in_parts = whole
        return SavedMarks(
            in_parts=self._in_parts,
            newest=bytes(self._rows[self._in_parts * width :]),
            after=self.after,
            closes=dict(self._closes),
            opens=dict(self.opens),
            held_ms=self._held_ms,
            unknown=self.unknown,
            first_part=self._first_part,
            unread=self._unread,
        )

    def restore(self, saved: SavedMarks, store: StateStore, kind: str, key: tuple[str, ...]) -> None:
        """Take up what was saved; what could not be read before is read again.

        Raises
        ------
        StateError
            A part is missing, or cannot be read.
        """
        rows, width = bytearray(), _ROW.itemsize
        for number in range(-(-saved.in_parts // self._part)):
            place = (*key, _part(saved.first_part + number))
            payload = store.read(kind, place)
            rows += b"" if payload is None else decode_saved({1: _rows}, payload, kind, place)[: self._part * width]
        if len(rows) < saved.in_parts * width or len(saved.newest) % width:
            raise StateError(f"{len(rows) // width} of {saved.in_parts} marks of the account are there")
        self._rows = rows[: saved.in_parts * width] + saved.newest
        self.after, self._in_parts, self._restored = saved.after, saved.in_parts, True
        self._closes, self.opens = dict(saved.closes), dict(saved.opens)
        self._held_ms, self.unknown = saved.held_ms, saved.unknown
        self._first_part, self._unread = saved.first_part, saved.unread
        self._read_again(store, kind, key)


def _part(number: int) -> str:
    return f"part-{number + 1:06d}"
