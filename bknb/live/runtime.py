"""The live runtime: one thread and one event loop for all live runs of a process.

A busy notebook cell never delays a minute. Runs share the candles of their exchange and the places of their risk
profiles.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context as Variables
from typing import Any, Final

from ..config import Settings
from ..domain.interval import MINUTE
from ..domain.risk_request_and_verdict import OpenPosition
from ..engine.registry import Exchange, Risk
from ..engine.risk_profile_places import RiskPlaces
from ..log import log
from ..market.loop_thread import LoopThread
from ..ports import Broker, BrokerWithAccount, Clock, StateStore
from .account_ledger import LedgerOfAccount
from .candle_stream import CandleStream
from .event_loop_lag import LagWatch
from .saved_risk_places import save_places, saved_places
from .unwatched_positions import unwatched
from .user_store_errors import with_state_errors

_SWITCH_SECONDS: Final = 0.0005
"""While live runs go on, a computing cell gives the interpreter away this often instead of every 5 ms: each write to
the disk and each answer of a thread has to get it back."""


class _Users:
    """Strategy and symbol of the runs that use a store, and whether what they do not watch was looked for."""

    def __init__(self, store: StateStore) -> None:
        self.store = store  # kept: its id is the key
        self.watched: list[tuple[str, str]] = []
        self.looked = False


class Runtime:
    """The thread and event loop of live runs, with candle streams, stores and places of risk that they share."""

    def __init__(self) -> None:
        self._thread = LoopThread("bknb-live", failed=_log_failure, forked=self._reset, stop_at_exit=True)
        self._reset()

    def _reset(self) -> None:
        self._streams: list[tuple[tuple[object, ...], CandleStream]] = []  # a source need not be hashable
        self._places: dict[tuple[int, str], tuple[StateStore, RiskPlaces]] = {}
        self._stores: dict[int, _Users] = {}
        self._ledgers: dict[tuple[int, str], LedgerOfAccount] = {}
        self.lag: LagWatch | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._switch_interval = sys.getswitchinterval()

    def start(self, work: Coroutine[Any, Any, None], variables: Variables) -> None:
        """Run a coroutine on the runtime's loop, with the context variables of whoever started it. From any thread."""
        self._thread.loop().call_soon_threadsafe(self._begin, work, variables)

    def call(self, function: Callable[[], object]) -> None:
        """Have the runtime's loop call a function soon. From any thread."""
        self._thread.loop().call_soon_threadsafe(function)

    def is_here(self) -> bool:
        """Whether this is the thread of the live runs."""
        try:
            return asyncio.get_running_loop() is self._thread.loop()
        except RuntimeError:  # no loop runs here
            return False

    def _begin(self, work: Coroutine[Any, Any, None], variables: Variables) -> None:
        task = asyncio.get_running_loop().create_task(work, context=variables)
        if not self._running:
            self.lag = LagWatch(asyncio.get_running_loop())
            self.lag.start()
            self._switch_interval = sys.getswitchinterval()
            sys.setswitchinterval(min(self._switch_interval, _SWITCH_SECONDS))
        self._running.add(task)  # a loop itself keeps only weak references
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not self._running:
            if self.lag is not None:
                self.lag.stop()
            sys.setswitchinterval(self._switch_interval)

    # --- shared -------------------------------------------------------------------------------------------------

    def candle_stream(
        self,
        exchange: Exchange,
        symbol: str,
        settings: Settings,
        *,
        allow_gaps: bool,
        clock: Clock,
        warn: Callable[[str], None],
        base: str = MINUTE,
    ) -> CandleStream:
        """The candle stream of an exchange for one more run; the first that needs one makes it.

        What was decided in reading the candles of the symbol that are in memory is told to the run, too.
        """
        key = (exchange.source, tuple(exchange.callbacks.items()), settings, allow_gaps, base, clock)
        for known, stream in self._streams:
            if known[0] is key[0] and known[1:5] == key[1:5] and known[5] is key[5]:
                stream.readers.append(warn)
                stream.follow(symbol)
                for text in stream.decided(symbol):
                    warn(text)
                return stream
        made = CandleStream(exchange, settings, allow_gaps=allow_gaps, clock=clock, base=base)
        self._streams.append((key, made))
        made.readers.append(warn)
        made.follow(symbol)
        return made

    def release_stream(self, stream: CandleStream, symbol: str, warn: Callable[[str], None]) -> None:
        """A run needs its candle stream no longer; one without readers is dropped with its candles."""
        stream.readers.remove(warn)
        stream.leave(symbol)
        if not stream.readers:
            self._streams = [entry for entry in self._streams if entry[1] is not stream]

    # --- stores -------------------------------------------------------------------------------------------------

    def open(self, store: StateStore, key: tuple[str, str]) -> None:
        """Use a store for one more run, that of a strategy on a symbol.

        Raises
        ------
        StateError
            When another process has it.
        """
        with_state_errors(store).acquire()
        self._stores.setdefault(id(store), _Users(store)).watched.append(key)

    def close(self, store: StateStore, key: tuple[str, str]) -> None:
        """A run needs its store no longer. After the last one others may change it, so its places are read again."""
        users = self._stores[id(store)]
        users.watched.remove(key)
        if not users.watched:
            del self._stores[id(store)]
            for risk in [risk for risk, (of, _) in self._places.items() if of is store]:
                del self._places[risk]
            self._ledgers = {key: ledger for key, ledger in self._ledgers.items() if key[0] != id(store)}
        with_state_errors(store).release()

    def unwatched(self, store: StateStore) -> list[str]:
        """What lies in a store and no run watches, as sentences; looked for once, until the last run has left it.

        Raises
        ------
        StateError
            When the place cannot be listed.
        """
        users = self._stores[id(store)]
        if users.looked:
            return []
        users.looked = True
        return [*unwatched(with_state_errors(store), users.watched).values()]

    def places(
        self, risk: Risk, store: StateStore, *, wait_seconds: float, make: Callable[..., RiskPlaces] = RiskPlaces
    ) -> RiskPlaces:
        """The places of a risk profile in a store, with those that its saved positions hold.

        A candidate that has waited ``wait_seconds`` for the rules to be done with others is refused. ``make`` is called
        as :class:`bknb.engine.risk_profile_places.RiskPlaces` where there is none yet.

        Raises
        ------
        StateError
            When the saved places cannot be read.
        """
        key = (id(store), risk.name)
        if key not in self._places:
            kept = with_state_errors(store)

            def save(positions: tuple[OpenPosition, ...]) -> None:
                save_places(kept, risk.name, positions)

            self._places[key] = store, make(risk, saved_places(kept, risk.name), save)
        places = self._places[key][1]
        places.use(risk, wait_seconds=wait_seconds)  # the rules as they were registered last
        return places

    def ledger(self, store: StateStore, broker: Broker) -> LedgerOfAccount | None:
        """The ledger that a store keeps of the account of a broker; ``None`` where the broker does not say which."""
        abilities = broker.abilities() if isinstance(broker, BrokerWithAccount) else None
        if abilities is None or not abilities.account:
            return None
        key = (id(store), abilities.account)
        if key not in self._ledgers:
            kept = with_state_errors(store)
            self._ledgers[key] = LedgerOfAccount(kept, abilities.account, nets=abilities.nets)
        return self._ledgers[key]


def _log_failure(error: BaseException) -> None:
    log.warning("a task of a live run raised %r; the others go on", error)


RUNTIME: Final = Runtime()
