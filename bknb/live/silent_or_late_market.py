"""What a live run does about minutes that do not come: when it is silent or behind, and what its owner is told."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..domain.formatting import utc_text
from ..domain.interval import MINUTE, MINUTE_MS, bar_text, count_text, interval_ms
from ..domain.lifecycle import Holding, Opening, State, Waiting, signals_of
from ..errors import NotEnoughData
from ..market.bar_slots import bar_before, bar_close, open_slots
from ..market.patience_for_missing_candles import Awaited

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid


class CandleWatch:
    """How long minutes have not come to a run, and whether those that are missing are still waited for.

    The window of the candle stream waits for holes, too, for whatever a strategy looks at: one of history is none to
    wait for there. A run that starts again waits for what it has missed itself, so each run has holes of its own.

    Parameters
    ----------
    patience_ms
        After so long without any minute the run is silent.
    behind_ms
        After so long of work on minutes that are here the watch is behind.
    hole_patience_ms
        Minutes missing between others are waited for so long.
    sessions
        When the market is open; ``None``: always.
    now
        The clock at the start of the run, UTC ms.
    step
        The length of a base bar, ms: what is called a minute here.
    grid
        Where the bars open that do not open at multiples of their length.

    Attributes
    ----------
    working_since
        The moment (UTC ms) since when there have always been minutes to work on; ``None``: all are done.
    """

    def __init__(
        self,
        *,
        patience_ms: int,
        behind_ms: int,
        hole_patience_ms: int,
        sessions: Sessions | None,
        now: int,
        step: int = MINUTE_MS,
        grid: BarGrid | None = None,
    ) -> None:
        self.patience_ms, self._step, self._grid = patience_ms, step, grid
        self._behind_ms = behind_ms
        self.working_since: int | None = None
        self._holes = Awaited(hole_patience_ms, sessions=sessions, grid=grid)
        self._sessions = sessions
        self._moved_at = now  # the clock when a minute came, or none was due
        self.silent_since: int | None = None  # it was told that nothing comes

    def hole(
        self,
        times: NDArray[np.int64],
        last_minute: int,
        now: int,
        *,
        unanswered: Sequence[tuple[int, int]] = (),
    ) -> tuple[int, int] | None:
        """The first range ``[first, end)`` of minutes (UTC ms) that is missing and still waited for.

        What was ``unanswered`` when it was asked for once more is waited for longer: see
        :meth:`bknb.market.patience_for_missing_candles.Awaited.first`.
        """
        return self._holes.first(times, step=self._step, now=now, after=last_minute, unanswered=unanswered)

    def to_ask_for(self, times: NDArray[np.int64], last_minute: int, now: int) -> list[tuple[int, int]]:
        """The ranges ``[first, end)`` (UTC ms) of missing minutes to ask for once more.

        The first that is still waited for, and those before it: the watch is about to go on without them, and a machine
        that slept has not asked for them since. With gaps allowed there are none.
        """
        if not self._holes.patience_ms:
            return []
        held = self.hole(times, last_minute, now)
        missing = self._holes.missing(times, step=self._step, after=last_minute)
        return [hole for hole in missing if held is None or hole[0] <= held[0]]

    def skipped(self, last_minute: int, opened: int) -> tuple[tuple[int, int], ...]:
        """The ranges ``[first, end)`` of minutes that are missing between two that follow each other."""
        known = bar_close(last_minute, self._step, self._grid)
        return () if opened <= known else open_slots([(known, opened)], self._step, self._sessions, self._grid)

    def waited_minutes(self, holes: Sequence[tuple[int, int]], now: int) -> int:
        """How many minutes each of these ranges ``[first, end)`` (UTC ms) has been waited for, or more.

        The first of a new run may have been waited for together with the minute before the run.
        """
        seen, before = self._holes.seen_at, partial(bar_before, step=self._step, grid=self._grid)
        return min(((now - seen(first, seen(before(first), now))) // MINUTE_MS for first, _ in holes), default=0)

    def stop_waiting(self) -> None:
        """Wait for no missing minute any longer."""
        self._holes.patience_ms = 0

    def came(self, now: int) -> int | None:
        """Minutes have been worked on; returns since when none had come, when that was told before."""
        since, self.silent_since = self.silent_since, None
        self._moved_at = now
        return since

    def told_silence(self, known: int) -> None:
        """It was told that nothing has come since ``known`` (UTC ms)."""
        self.silent_since = known

    def behind(self, done: int, now: int) -> bool:
        """Whether minutes that are here are worked on much later than they came; ``done`` is the end of the last."""
        since = self.working_since
        return since is not None and min(now - since, now - done) >= self._behind_ms

    def silent(self, known: int, now: int, *, since: int | None = None) -> bool:
        """Whether minutes are due, and none has come for the length of the patience.

        Parameters
        ----------
        known
            The end of the last minute (UTC ms).
        now
            The present, UTC ms.
        since
            Count from this moment at the earliest.
        """
        due = known if self._sessions is None else self._sessions.next_open(known, max(known, now))
        closes = bar_close(due, self._step, self._grid)
        if now < closes:
            self._moved_at = now
            return False
        due = closes - MINUTE_MS  # the patience counts from a minute before the bar has closed
        return now - max(self._moved_at, due, since or 0) >= self.patience_ms


def hole_text(
    symbol: str,
    exchange: str,
    holes: tuple[tuple[int, int], ...],
    *,
    waited_minutes: int,
    base: str = MINUTE,
    grid: BarGrid | None = None,
) -> str:
    """What is told when a run goes on without minutes, or longer bars, that are missing; ``[first, end)`` in UTC ms.

    Examples
    --------
    >>> print(hole_text("BTCUSDT", "mine", ((0, 120_000),), waited_minutes=10))
    2 minutes of BTCUSDT are missing: 1970-01-01 00:00 UTC .. 1970-01-01 00:01 UTC
    'mine' did not answer them within 10 minutes; the run goes on without them, as a backtest with allow_gaps=True does
    """
    step = interval_ms(base)
    count = _bars_in(holes, step)
    first, last = holes[0][0], bar_before(holes[-1][1], step, grid)
    which = utc_text(first) if count == 1 else f"{utc_text(first)} .. {utc_text(last)}"
    verb = "is" if count == 1 else "are"
    waited = f"{waited_minutes} minutes" if waited_minutes > 1 else "a minute"
    return (
        f"{count_text(count, base)} of {symbol} {verb} missing: {which}\n"
        f"{exchange!r} did not answer {'it' if count == 1 else 'them'} within {waited}; "
        f"the run goes on without {'it' if count == 1 else 'them'}, as a backtest with allow_gaps=True does"
    )


def missing_in(holes: Sequence[tuple[int, int]], base: str, grid: BarGrid | None = None) -> tuple[int, str]:
    """How many bars holes are, and of which interval: minutes where not all are bars of ``base``; ends are UTC ms.

    ``grid`` says where bars of ``base`` open that do not open at multiples of their length: some are shorter then.

    Examples
    --------
    >>> missing_in([(0, 7_200_000)], "1h"), missing_in([(0, 120_000)], "1h")
    ((2, '1h'), (2, '1m'))
    """
    step = interval_ms(base)
    edges = [edge for hole in holes for edge in hole]
    if grid is None:
        are_bars = all((end - first) % step == 0 for first, end in holes)
    else:
        are_bars = all(grid.floor(edge, step) == edge for edge in edges)
    counted = base if are_bars else MINUTE
    return _bars_in(holes, interval_ms(counted)), counted


def _bars_in(holes: Sequence[tuple[int, int]], step: int) -> int:
    """How many bars of ``step`` ms holes are, each of which may end with one that is shorter."""
    return sum(-(-(end - first) // step) for first, end in holes)


def earlier_holes_text(holes: Sequence[tuple[int, int]], base: str = MINUTE, grid: BarGrid | None = None) -> str:
    """What a result says of the holes, ``[first, end)`` in UTC ms, that earlier lives of a run went on without.

    ``base`` is the interval of the bars of the last of these lives; where others had shorter ones, minutes are counted.

    Examples
    --------
    >>> earlier_holes_text([(0, 120_000)])
    'before this start the run went on without 2 minutes that never came, in 1 hole, from 1970-01-01 00:00 UTC on'
    """
    count, base = missing_in(holes, base, grid)
    where = "1 hole" if len(holes) == 1 else f"{len(holes)} holes"
    return (
        f"before this start the run went on without {count_text(count, base)} that never came, in {where}, "
        f"from {utc_text(holes[0][0])} on"
    )


def silence_text(
    symbol: str, exchange: str, states: Sequence[State], *, known: int, minutes: int, base: str = MINUTE,
    rests: str = "",
) -> str:  # fmt: skip
    """What is told when no minute, or longer bar, has come for ``minutes``; the last ended at ``known`` (UTC ms).

    ``rests`` says what stays at the broker meanwhile.
    """
    since = f"since {utc_text(known)}, for {minutes} minutes or more"
    return (
        f"no {bar_text(base)} of {symbol} has come from {exchange!r} {since}\n"
        f"{_unwatched(states)}; the exchange is asked again, and what was missed is caught up when it answers"
        f"{rests}"
    )


def given_up_text(symbol: str, since: int, now: int, *, base: str = MINUTE) -> str:
    """What is told when the other legs of a portfolio go on without one; moments in UTC ms.

    Examples
    --------
    >>> given_up_text("BTCUSDT", 0, 600_000).splitlines()[1]
    'they wait for it again when it has caught up'
    """
    return (
        f"the other legs go on without {symbol}: its {base} bar that closes {utc_text(since)} has not come by "
        f"{utc_text(now)}\nthey wait for it again when it has caught up"
    )


def waited_text(lacked: NotEnoughData, *, when: int, minutes: int) -> str:
    """What is told of the question of a moment (UTC ms) that ``lacked`` a candle, and was asked ``minutes`` later."""
    return (
        f"the question of {utc_text(when)} waited {minutes} minutes for a candle: {lacked}\n"
        "what it leads to is decided late and fills at the market of then; late_minutes= leaves out questions that are "
        "older, allow_gaps=True asks with the candles there are"
    )


def left_out(lacked: NotEnoughData, *, minutes: int) -> NotEnoughData:
    """What is told, at the line that asked for a candle, of a question for which it had not come so long after it."""
    later = "a minute" if minutes == 1 else f"{minutes} minutes"
    text = f"{lacked}\nthe candle had not come {later} after the question, which is left out"
    return NotEnoughData(text, late=True).with_traceback(lacked.__traceback__)


def behind_text(symbol: str, states: Sequence[State], *, minutes: int) -> str:
    """What is told when something is open and minutes that are here are worked on ``minutes`` late."""
    return (
        f"the watch of {symbol} is {minutes} minutes behind: its candles are here, and what the run calls takes too "
        f"long\n{_unwatched(states)} in time; a callback that returns sooner lets the run catch up"
    )


def left_text(
    symbol: str, exchange: str, states: Sequence[State], *, known: int, minutes: int, unsaved: str = "",
    base: str = MINUTE,
) -> str:  # fmt: skip
    """What is told when a run that was stopped leaves with something open.

    No minute comes, or ``unsaved`` says why none can be saved, for ``minutes``; the last one ended at ``known`` (UTC
    ms).
    """
    since = f"since {utc_text(known)}, for {minutes} minutes or more"
    if unsaved:
        why = f"no {bar_text(base)} of {symbol} could be saved {since}: {unsaved}"
    else:
        why = f"no {bar_text(base)} of {symbol} has come from {exchange!r} {since}"
    return (
        f"the run was stopped and ends with something open: {why}\n"
        f"{_unwatched(states)}; its state is saved{' as it was then' if unsaved else ''}, and the next start of the "
        "run goes on from there"
    )


def unwatched_text(states: Sequence[State], broker: str) -> str:
    """What is told when a failure ends a run with something open; ``broker`` is empty without one."""
    stays = f"; what is open at {broker} stays open" if broker else ""
    return f"{_unwatched(states)} any more{stays}: start the run again, it goes on from its saved state"


def overdue_text(symbol: str, states: Sequence[State], *, due: int, known: int) -> str:
    """What is told when a run ends at its time, and candles before what was due at ``due`` have not come.

    The last one ended at ``known``; both in UTC ms.
    """
    return (
        f"what was due at {utc_text(due)} was not ended: no candle of {symbol} has come from {utc_text(known)} on\n"
        f"{_unwatched(states)}; its state is saved, and the next start of the run goes on from there"
    )


def _unwatched(states: Sequence[State]) -> str:
    """What is not watched: of several places positions first, then entries that wait."""
    positions = [_names(state) for state in states if isinstance(state, Holding | Opening)]
    entries = [_names(state) for state in states if isinstance(state, Waiting)]
    parts = [f"the position{'s' if len(positions) > 1 else ''} of {', '.join(positions)}"] if positions else []
    parts += [f"the {'entries' if len(entries) > 1 else 'entry'} of {', '.join(entries)}"] if entries else []
    if not parts:
        return "nothing is open"
    return f"{' and '.join(parts)} {'is' if len(positions) + len(entries) == 1 else 'are'} not watched"


def _names(state: State) -> str:
    return " and ".join(signal.id for signal in signals_of(state))
