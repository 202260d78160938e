"""The trading floor: where all live runs of a process meet.

One thread with one event loop carries them all, so that a busy notebook cell never delays a minute. Runs share the
candles of their exchange and the places of their risk profiles.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Final

from ..config import Settings
from ..domain.interval import MINUTE_MS, floor_to
from ..domain.risk import OpenPosition
from ..market.candles import Candles
from ..market.context import Context
from ..market.feed import Feed
from ..market.io import submit
from ..market.window import Window
from ..ports import Clock, StateStore
from .registry import Exchange, Risk, Strategy
from .risk import RiskBook
from .saving import save_places, saved_places

_SWITCH_SECONDS: Final = 0.0005
"""While live runs go on, a computing cell gives the interpreter away this often instead of every 5 ms: each write to
the disk and each answer of a thread has to get it back."""


class Tape:
    """The candles of one exchange as they come in; shared by all runs with the same settings.

    Parameters
    ----------
    exchange
        Where candles come from.
    settings
        Retries, averages.
    allow_gaps
        Whether missing minutes are accepted.
    clock
        What time it is.
    warn
        Told what was repaired.
    """

    def __init__(
        self, exchange: Exchange, settings: Settings, *, allow_gaps: bool, clock: Clock, warn: Callable[[str], None]
    ) -> None:
        feed = Feed(exchange.source, settings, allow_gaps=allow_gaps, warn=warn, now=clock.now)
        self.clock = clock
        self.window = Window(
            feed,
            horizon=floor_to(clock.now(), MINUTE_MS),
            growing=True,
            on_candles=exchange.callbacks.get("on_candle_data"),
        )
        self._before = settings.avg_price_candles_count * MINUTE_MS

    async def minutes(self, symbol: str, since: int) -> Candles:
        """One-minute candles that open at or after ``since`` (UTC ms) and have closed by now; may end early."""
        window = self.window
        window.horizon = max(window.horizon, floor_to(self.clock.now(), MINUTE_MS))
        begin = since - self._before
        series = window.ready(symbol, "1m", begin)  # another run of the same symbol was here first
        if series is None:
            series = await asyncio.wrap_future(submit(window.load(symbol, "1m", begin)))
        return series.candles[int(series.candles.timestamp.searchsorted(since)) :]


class Floor:
    """A thread with a loop, and what its runs share."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._mutex = threading.Lock()
        self._tapes: dict[tuple[object, ...], Tape] = {}
        self._books: dict[tuple[int, str], tuple[StateStore, RiskBook]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._patience = sys.getswitchinterval()

    def start(self, work: Coroutine[Any, Any, None], variables: Variables) -> None:
        """Run a coroutine on the floor's loop, with the context variables of whoever started it. From any thread."""
        self._current_loop().call_soon_threadsafe(self._begin, work, variables)

    def call(self, function: Callable[[], object]) -> None:
        """Have the floor's loop call a function soon. From any thread."""
        self._current_loop().call_soon_threadsafe(function)

    def _begin(self, work: Coroutine[Any, Any, None], variables: Variables) -> None:
        task = asyncio.get_running_loop().create_task(work, context=variables)
        if not self._running:
            self._patience = sys.getswitchinterval()
            sys.setswitchinterval(min(self._patience, _SWITCH_SECONDS))
        self._running.add(task)  # a loop itself keeps only weak references
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._running:
            sys.setswitchinterval(self._patience)

    def _current_loop(self) -> asyncio.AbstractEventLoop:
        with self._mutex:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="bknb-live", daemon=True).start()
            return self._loop

    # --- shared -------------------------------------------------------------------------------------------------

    def tape(
        self, exchange: Exchange, settings: Settings, *, allow_gaps: bool, clock: Clock, warn: Callable[[str], None]
    ) -> Tape:
        """The tape of an exchange; the first run that needs one makes it."""
        key = (exchange.source, tuple(exchange.callbacks.items()), settings, allow_gaps, clock)
        for known, tape in self._tapes.items():  # by identity: a source need not be hashable
            if known[0] is key[0] and known[1:4] == key[1:4] and known[4] is key[4]:
                return tape
        made = self._tapes[key] = Tape(exchange, settings, allow_gaps=allow_gaps, clock=clock, warn=warn)
        return made

    def book(self, risk: Risk, store: StateStore) -> RiskBook:
        """The book of a risk profile in a store, with the places that its saved positions hold.

        Raises
        ------
        StateError
            When the saved places cannot be read.
        """
        key = (id(store), risk.name)
        if key not in self._books:

            def keep(positions: tuple[OpenPosition, ...]) -> None:
                save_places(store, risk.name, positions)

            self._books[key] = store, RiskBook(risk, saved_places(store, risk.name), keep)
        book = self._books[key][1]
        book.risk = risk  # the rules as they were registered last
        return book

    def forget(self, store: StateStore) -> None:
        """Drop the books of a store that nobody uses any more; they are read again when it is next used."""
        for key in [key for key, (known, _) in self._books.items() if known is store]:
            del self._books[key]


FLOOR: Final = Floor()


def thinking_aside(strategy: Strategy) -> Strategy:
    """The strategy with its questions answered in threads of their own.

    A strategy that computes for long delays nobody, and one that never ends can be abandoned. Coroutine functions stay
    on the loop: what they await may belong to it.
    """
    if inspect.iscoroutinefunction(strategy.get_signal):
        return strategy
    ask = strategy.ask

    async def aside(context: Context) -> Any:
        answer = await _in_thread(lambda: ask(context))
        return await answer if inspect.isawaitable(answer) else answer

    return replace(strategy, ask=aside)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Call a function in a daemon thread; unlike in a pool, one that never returns holds nobody's place."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Any] = loop.create_future()
    variables = copy_context()

    def settle(value: Any, error: BaseException | None) -> None:
        if answered.done():
            return  # abandoned
        if error is None:
            answered.set_result(value)
        else:
            answered.set_exception(error)

    def work() -> None:
        value: Any = None
        error: BaseException | None = None
        try:
            value = variables.run(function)
        except BaseException as raised:  # noqa: BLE001 -- handed to whoever asked
            error = raised
            if isinstance(raised, StopIteration):  # a future cannot carry one
                error = RuntimeError(f"the strategy raised StopIteration({raised.value!r})")
        loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name="bknb-strategy", daemon=True).start()
    return await answered
