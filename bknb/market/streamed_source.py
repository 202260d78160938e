"""A source whose newest minutes an exchange pushes; whatever that does not give is asked for.

As many symbols as the exchange's rate limit lets be asked for within a second are asked for in every minute, once it
was pushed as closed: what is given is then always the exchange's answer. Of more symbols so many are asked for in turn,
each for all of its minutes since its last turn; between its turns a minute is given as it was pushed, if the answers
before agree with what was pushed before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..domain.interval import MINUTE_MS, ceil_to, floor_to
from ..errors import BadCandle, DataError
from .calls_in_threads import candles_from
from .pushed_minutes import HELD, PushedMinutes, is_turn

if TYPE_CHECKING:
    from ..ports import CandleSource, Clock
    from .candles import Candles

_WAIT_MS: Final = 700  # after a minute's end for it to be pushed as closed
_AGAIN_MS: Final = 900  # after a minute's end, when an answer is asked for again that does not have what was pushed


class MinuteStream(Protocol):
    """Minutes that an exchange pushes: the ``stream`` of a source. Used on the fetching loop, but for the first two.

    Attributes
    ----------
    at_once : int
        How many requests the exchange answers within a second.
    """

    at_once: int

    def follow(self, symbol: str) -> None:
        """Have the minutes of a symbol pushed from now on. From any thread."""
        ...

    def leave(self, symbol: str) -> None:
        """One of those who follow a symbol needs it no longer; after the last one nothing stays open."""
        ...

    def pushed(self, symbol: str) -> PushedMinutes | None:
        """What was pushed of a symbol; ``None``: nothing is."""
        ...

    def place(self, symbol: str) -> tuple[int, int]:
        """Which of the symbols that are followed it is, from 0, and of how many."""
        ...

    async def settled(self, symbol: str, minute: int) -> None:
        """Return when it makes no sense to wait longer for a minute (open time, UTC ms)."""
        ...

    def missed(self, symbol: str, minute: int) -> None:
        """A minute (open time, UTC ms) was not pushed as closed in time."""
        ...

    def take_notes(self) -> list[str]:
        """What users are to know, since the last call."""
        ...


class StreamedSource:
    """A source with the minutes that its exchange pushes in front; for live runs.

    Parameters
    ----------
    source
        Who is asked.
    stream
        Who pushes.
    clock
        The clock of the runs.

    Attributes
    ----------
    given : int
        How often minutes were given without being asked for.
    """

    def __init__(self, source: CandleSource, stream: MinuteStream, clock: Clock) -> None:
        self.source = source
        self.stream = stream
        self.name = source.name
        self.intervals = source.intervals
        self.page_limit = source.page_limit
        self.given = 0
        self._clock = clock
        self._told: set[str] = set()
        self._notes: list[str] = []

    def __repr__(self) -> str:
        return f"StreamedSource({self.source!r}, {self.stream!r})"

    def __getattr__(self, name: str) -> Any:
        # Warnings, hours and symbols are the source's own, where it has them.
        if name.startswith("__") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def take_notes(self) -> list[str]:
        """Notes of the stream and of the source since the last call; each is returned once."""
        inner = getattr(self.source, "take_notes", None)
        notes, self._notes = self._notes, []
        return [*notes, *self.stream.take_notes(), *(inner() if inner is not None else ())]

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the source writes it."""
        return self.source.format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the source writes it."""
        return self.source.format_quantity(symbol, quantity)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The candles from ``since`` on: newest minutes as they were pushed or answered, everything else asked for.

        Raises
        ------
        Exception
            Whatever the source raises, unless all of it was pushed and is believed.
        """
        first = ceil_to(since, MINUTE_MS)
        end = min(floor_to(self._clock.now(), MINUTE_MS), first + limit * MINUTE_MS)
        pushed = self.stream.pushed(symbol) if interval == "1m" else None
        if pushed is None or not 0 < end - first <= HELD * MINUTE_MS:
            return await candles_from(self.source, symbol, interval, since, limit)
        newest = end - MINUTE_MS
        on_turn = is_turn(*self.stream.place(symbol), self.stream.at_once, newest)
        await self._wait(symbol, pushed, newest)  # meanwhile the last run of a symbol may end
        if not pushed.has(newest) and self._clock.now() < end + MINUTE_MS:
            self.stream.missed(symbol, newest)
        held = pushed.give(first, end, with_pushed=not on_turn)
        if held is not None:
            self.given += 1
            return held
        try:
            return await self._asked(symbol, pushed, first, end)
        except DataError as error:
            held = None if isinstance(error, BadCandle) else pushed.give(first, end, with_pushed=True)
            if held is None:
                raise
            self._tell_once(symbol, f"{error}\nuntil it answers, the minutes it pushes are given unconfirmed")
            self.given += 1
            return held

    async def _wait(self, symbol: str, pushed: PushedMinutes, minute: int) -> None:
        """Return when a minute was pushed as closed; at the latest 0.7 s after its end."""
        until = minute + MINUTE_MS + _WAIT_MS
        if pushed.settled(minute) or self._clock.now() >= until:
            return
        settled = asyncio.ensure_future(self.stream.settled(symbol, minute))
        late = asyncio.ensure_future(self._clock.sleep_until(until))
        try:
            await asyncio.wait({settled, late}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            settled.cancel()
            late.cancel()

    async def _asked(self, symbol: str, pushed: PushedMinutes, first: int, end: int) -> Candles:
        """The answer for ``[first, end)`` (UTC ms), asked once more where it lags behind what was pushed."""
        begin, newest = pushed.first_to_ask(first, end), end - MINUTE_MS
        count = (end - begin) // MINUTE_MS
        answer = await candles_from(self.source, symbol, "1m", begin, count)
        if not pushed.agrees(answer, newest):
            await self._clock.sleep_until(end + _AGAIN_MS)
            answer = await candles_from(self.source, symbol, "1m", begin, count)
        pushed.answered(answer, begin, end)
        self._tell_differences(symbol, pushed)
        return answer if begin == first else answer.take(answer.timestamp >= first)

    def _tell_differences(self, symbol: str, pushed: PushedMinutes) -> None:
        for difference in pushed.differences:
            self._tell_once(
                symbol,
                f"{symbol} from {self.name!r}: the stream is not what the exchange answers, {difference}\n"
                "the answer counts; each minute is asked for until sixty in a row agree",
            )
        pushed.differences.clear()

    def _tell_once(self, symbol: str, text: str) -> None:
        key = f"{symbol} {text.splitlines()[-1]}"
        if key not in self._told:
            self._told.add(key)
            self._notes.append(text)
