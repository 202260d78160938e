"""When the clock ends positions of rows that declare ``until`` or ``bars``, for the compiled loop of a sweep.

Such a deadline is worked out when a position opens (``domain.valid_and_until``). Here it is a table: for each different
deadline of the rows, and each base bar that a position may open in, the moment at which it leaves at the market, and
that of the close at which it is out.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.fills_at_stops_and_gaps import execution_model
from ..domain.interval import DAY_MS, MINUTE_MS, WEEK, interval_ms
from ..domain.market_clock_protocol import NEVER
from ..domain.states import Rules
from ..domain.until_text import MINUTES, instant_of, moment_text
from ..domain.valid_and_until import moment_faults, moments_of
from ..engine.column_values import EITHER_SIDE
from ..engine.questions import has_session_days
from ..market.session_clock import SessionClock
from ..market.source_hours import sessions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..engine.get_signals_columns import SignalRows
    from ..engine.plan import Plan
    from ..kernels.simulate import Market
    from ..market.sessions import Sessions

ROWS_BY_EVENTS: Final = (
    "the until or bars of these rows go through the event engine, which takes some hundred times as long as the "
    "compiled loop; that knows minutes, texts such as 'session_end' and '16:00', and numbers of candles, up to 16 "
    "different ones, where orders fill at opens (not in vwap) and no rule refuses a deadline"
)
"""Where :meth:`RowLifetimes.of` knows none."""

_MOST: Final = 16  # different deadlines of one combination; more would need much memory
_KEPT: Final = 64  # columns, of all combinations
_LONGEST_BARS: Final = 10**9
_BEYOND_MS: Final = 20 * DAY_MS  # closed time behind the bars that is looked through


class Lifetimes(NamedTuple):
    """The deadlines of rows by the clock.

    Attributes
    ----------
    lasts : ndarray of int64, shape (rows,)
        Which deadline each row has; -1: none.
    ends, closes : ndarray of int64, shape (deadlines, bars)
        For each base bar that a position may open in, when it leaves at the market, and the close of the session at
        which it is out (UTC ms); far in the future: never.
    """

    lasts: NDArray[np.int64]
    ends: NDArray[np.int64]
    closes: NDArray[np.int64]


class RowLifetimes:
    """The deadlines of the combinations of one symbol; columns of moments are worked out once.

    Parameters
    ----------
    plan
        The backtest that is repeated; its exchange says when the market is open.
    market
        Its base bars.
    """

    def __init__(self, plan: Plan, market: Market) -> None:
        self._plan, self._times, self._step = plan, np.asarray(market.times), market.step
        self._columns: dict[str | int, tuple[NDArray[np.int64], NDArray[np.int64]] | None] = {}

    @cached_property
    def _sessions(self) -> Sessions | None:
        return sessions_of(self._plan.exchange.source, self._plan.symbol)

    @cached_property
    def _clock(self) -> SessionClock:
        strategy = self._plan.strategy
        return SessionClock(
            self._sessions,
            interval_ms(strategy.interval),
            times=None if self._step == MINUTE_MS else self._times,
            step=self._step,
            zone=strategy.zone,
            by_day=self._by_day,
        )

    @property
    def _by_day(self) -> bool:
        return has_session_days(self._plan.strategy.interval, self._sessions, self._step)

    @cached_property
    def _rules(self) -> Rules:
        plan = self._plan
        return Rules(
            symbol=plan.symbol,
            strategy=plan.strategy.name,
            exchange=plan.exchange.name,
            frame=None,
            mode="backtest",
            model=execution_model(plan.execution),
            settings=plan.settings,
            interval_ms=interval_ms(plan.strategy.interval),
            base_ms=self._step,
            clock=lambda: self._clock,
        )

    def of(self, rows: SignalRows) -> Lifetimes | None:
        """The deadlines of the rows of a combination; ``None`` where only the event engine knows them.

        That are single moments, what is rejected or may be, average prices as fills, very many different ones, and any
        over weekly bars.
        """
        timed = rows.timed
        if timed is None or not self._rules.model.fills_at_open or self._plan.base == WEEK:
            return None
        wanted = np.flatnonzero((np.abs(rows.position) == 1) | (rows.position == EITHER_SIDE))
        lasts, kinds = np.full(len(rows), -1, dtype=np.int64), dict[tuple[str, int], int]()
        texts = _texts(timed.until[wanted])
        if texts is None or not _are_whole(timed.bars[wanted]):
            return None
        counts = np.nan_to_num(timed.bars[wanted], nan=0.0).astype(np.int64)
        of_text, names = texts
        for text, count in dict.fromkeys(zip(of_text.tolist(), counts.tolist(), strict=True)):
            if not (names[text] or count):
                continue
            if len(kinds) == _MOST:
                return None
            kinds[names[text], count] = number = len(kinds)
            lasts[wanted[(of_text == text) & (counts == count)]] = number
        ends = np.full((len(kinds), len(self._times)), NEVER, dtype=np.int64)
        closes = ends.copy()
        for (text, count), number in kinds.items():
            for given in (text, count):
                column = self._column(given) if given else None
                if given and column is None:
                    return None
                if column is not None:
                    ends[number] = np.minimum(ends[number], column[0])
                    closes[number] = np.minimum(closes[number], column[1])
        return Lifetimes(lasts, ends, closes)

    def _column(self, given: str | int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """What one text, or number of candles, means for each base bar."""
        if given not in self._columns:
            if len(self._columns) >= _KEPT:
                self._columns.clear()
            made = self._bars(given) if isinstance(given, int) else self._until(given)
            self._columns[given] = None if made is None or self._may_be_too_long(*made) else made
        return self._columns[given]

    def _may_be_too_long(self, ends: NDArray[np.int64], closes: NDArray[np.int64]) -> bool:
        longest = self._plan.settings.max_signal_lifetime_minutes
        return longest is not None and bool((np.minimum(ends, closes) - self._times > longest * MINUTE_MS).any())

    def _bars(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        never = np.full(len(self._times), NEVER, dtype=np.int64)
        slots = self._slots(count)
        if slots is None:
            return _stepwise(self._times, lambda opened: (self._clock.candles_closed(opened, count),))[0], never
        interval = interval_ms(self._plan.strategy.interval)
        at = np.searchsorted(slots, self._times // interval) + count - 1
        ends = (slots[np.minimum(at, len(slots) - 1)] + 1) * interval
        return np.where(at < len(slots), ends, NEVER), never

    def _slots(self, count: int) -> NDArray[np.int64] | None:
        """The candles of the strategy there are, by their numbers since 1970; ``None``: its clock has to be asked."""
        sessions, interval = self._sessions, interval_ms(self._plan.strategy.interval)
        if self._by_day or (sessions is not None and sessions.calendar) or not len(self._times):
            return None
        if self._step > MINUTE_MS:
            return np.unique(self._times // interval)
        beyond = count + 1 if sessions is None else 4 * count + _BEYOND_MS // interval
        slots = np.arange(self._times[0] // interval, self._times[-1] // interval + beyond)
        return slots if sessions is None else slots[sessions.open_minutes(slots * interval, interval) > 0]

    def _until(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        rules, times = self._rules, self._times
        if not len(times) or instant_of(text) is not None or moment_faults(text, "until", int(times[0]), rules):
            return None
        if (minutes := MINUTES.fullmatch(text)) is not None:
            return times + int(minutes[1]) * MINUTE_MS, np.full(len(times), NEVER, dtype=np.int64)

        def moments(opened: int) -> tuple[int, int]:
            at, close = moments_of(text, opened, rules)
            return NEVER if close < NEVER and at <= opened else at, close  # too short before the close: at it

        ends, closes = _stepwise(times, moments)
        return np.maximum(ends, times + self._step), closes


def _texts(until: NDArray[np.object_]) -> tuple[NDArray[np.int64], list[str]] | None:
    """For each cell the number of its text, and the texts; ``None`` where one is no moment."""
    known: dict[Any, int] = {}
    names: list[str] = []
    found = np.empty(len(until), dtype=np.int64)
    for at, cell in enumerate(until.tolist()):
        key = "" if cell is None or cell != cell else cell  # NaN and NaT
        try:
            number = known.get(key, -1)
        except TypeError:
            return None
        if number < 0:
            text = "" if key == "" else moment_text(key, "until")
            if not isinstance(text, str):
                return None
            known[key] = number = len(names)
            names.append(text)
        found[at] = number
    return found, names


def _are_whole(bars: NDArray[np.float64]) -> bool:
    """Whether numbers of candles are whole ones above 0; NaN: none."""
    given = bars[~np.isnan(bars)]
    return bool(((given > 0) & (given < _LONGEST_BARS) & (given == np.floor(given))).all())


def _stepwise(times: NDArray[np.int64], moments: Callable[[int], tuple[int, ...]]) -> list[NDArray[np.int64]]:
    """What a function gives for each of ascending times, that gives the same for many in a row.

    Examples
    --------
    >>> _stepwise(np.arange(6), lambda when: (when // 3,))[0].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    listed, count, at, width = times.tolist(), len(times), 0, 1
    made = [np.empty(count, dtype=np.int64) for _ in moments(listed[0] if count else 0)]
    while at < count:
        given = moments(listed[at])
        last, beyond = at, min(at + width, count)  # the last known to give it, and where to look next
        while beyond < count and moments(listed[beyond]) == given:
            last, width = beyond, 2 * width
            beyond = min(beyond + width, count)
        while beyond - last > 1:
            middle = (last + beyond) // 2
            last, beyond = (middle, beyond) if moments(listed[middle]) == given else (last, middle)
        for column, value in zip(made, given, strict=True):
            column[at:beyond] = value
        width, at = max(beyond - at, 1), beyond
    return made


def why_by_events(rows: SignalRows, plan: Plan, market: Market) -> str:
    """Why rows go through the event engine, as a warning; empty: the compiled loop knows them."""
    return ROWS_BY_EVENTS if rows.timed is not None and RowLifetimes(plan, market).of(rows) is None else ""
