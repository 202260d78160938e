"""The minutes an exchange pushes, through the websocket classes of ccxt (``ccxt.pro``), for live runs.

All symbols of one kind of market share a connection. It is made when the first run follows a symbol, made again when it
breaks or is silent, and closed when no run follows any.

ccxt keeps the newest candles of a symbol in a cache, to which each update is appended. The caches here are its own
class, but hand on every update, as those of two messages in a row would else be one. ccxt drops the exchange's word
that a minute has closed; it is read from the message itself. An exchange that does not say so is not streamed: that a
later minute has begun does not tell whether the last update of the one before was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..domain.interval import MINUTE_MS
from ..errors import UnknownName, UsageError
from ..market.fetch_loop import submit
from ..market.pushed_minutes import HELD, PushedMinutes
from .ccxt_client import close_at_exit

if TYPE_CHECKING:
    from .ccxt_source import CcxtSource

_PAUSE_SECONDS: Final = 0.25  # before and between subscriptions: Binance disconnects who sends five in a second
_SILENT_MS: Final = 5 * MINUTE_MS  # without any update the connection is made anew
_LONGEST_PAUSE: Final = 60.0  # seconds between two attempts to connect


class CcxtStream:
    """The minutes that an exchange of ccxt pushes; the ``stream`` of a :class:`bknb.exchanges.ccxt_source.CcxtSource`.

    Everything happens on the fetching loop; :meth:`follow` and :meth:`leave` may be called from any thread.

    Parameters
    ----------
    source
        Who is asked; it knows the symbols and lends its markets.
    now
        The present, UTC ms.
    config
        Handed to ccxt's client as it is.
    sleep
        How to wait; takes seconds.

    Attributes
    ----------
    at_once : int
        How many requests the rate limit of the exchange lets pass within a second.
    connections : int
        How often a connection was made that pushed something.

    Raises
    ------
    MissingDependency
        ccxt is not installed.
    """

    def __init__(
        self,
        source: CcxtSource,
        *,
        now: Callable[[], int],
        config: Mapping[str, Any] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._config = dict(config or {})
        self._now = now
        self._sleep = sleep
        base = getattr(importlib.import_module("ccxt.pro"), source.name, None)
        self._base = base
        self._wording = None if base is None else wording_of(base)
        self.at_once = max(1, int(1000 / max(1.0, float(source.pause_ms))))
        self.connections = 0
        self._compared_before = self._differed_before = 0  # of symbols that nobody follows any longer
        self._notes: list[str] = []
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        self._followed: dict[str, int] = {}  # how often
        self._pushed: dict[str, PushedMinutes] = {}
        self._symbols: dict[str, list[str]] = {}  # by ccxt's own symbol, as those who follow write it
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._run: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._connected_at = self._heard_at = 0  # the present, UTC ms; heard on this connection
        self._silent = self._broke = False

    def __repr__(self) -> str:
        return (
            f"<stream of {self._source.name!r}: {len(self._followed)} symbols, {self.connections} connections, "
            f"{self.compared} minutes compared with answers, {self.differed} different>"
        )

    @property
    def compared(self) -> int:
        """How many minutes were pushed and answered."""
        return self._compared_before + sum(minutes.compared for minutes in self._pushed.values())

    @property
    def differed(self) -> int:
        """How many of them were pushed with other values than those of the answer."""
        return self._differed_before + sum(minutes.differed for minutes in self._pushed.values())

    # --- who follows --------------------------------------------------------------------------------------------

    def follow(self, symbol: str) -> None:
        """Have the minutes of a symbol pushed from now on."""
        if self._process != os.getpid():  # the connection stayed with the parent
            self._begin_anew()
        submit(self._follow(symbol))

    def leave(self, symbol: str) -> None:
        """One of those who follow a symbol needs it no longer; after the last one the connection is closed."""
        submit(self._leave(symbol))

    async def _follow(self, symbol: str) -> None:
        if self._wording is None:
            what = "ccxt has no stream of it" if self._base is None else "its stream does not say when a minute closes"
            note = f"{self._source.name!r} is asked for each minute: {what}"
            self._notes.extend([] if self._followed else [note])
        self._followed[symbol] = self._followed.get(symbol, 0) + 1
        if self._wording is None or symbol in self._pushed:
            return
        self._pushed[symbol] = PushedMinutes()
        self._changed.set()
        if self._run is None:
            self._run = asyncio.get_running_loop().create_task(self._keep_connected(self._wording))

    async def _leave(self, symbol: str) -> None:
        self._followed[symbol] -= 1
        if self._followed[symbol]:
            return
        del self._followed[symbol]
        if (minutes := self._pushed.pop(symbol, None)) is not None:
            self._compared_before += minutes.compared
            self._differed_before += minutes.differed
        for symbols in self._symbols.values():
            symbols[:] = [name for name in symbols if name != symbol]
        if not self._followed and self._run is not None:
            run, self._run = self._run, None
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await run

    # --- what was pushed ----------------------------------------------------------------------------------------

    def pushed(self, symbol: str) -> PushedMinutes | None:
        """What was pushed of a symbol; ``None``: nothing is."""
        return self._pushed.get(symbol)

    def place(self, symbol: str) -> tuple[int, int]:
        """Which of the symbols that are followed it is, from 0, and of how many."""
        names = sorted(self._pushed)
        return names.index(symbol), len(names)

    async def settled(self, symbol: str, minute: int) -> None:
        """Return when it makes no sense to wait longer for a minute (open time, UTC ms)."""
        while (minutes := self._pushed.get(symbol)) is not None and not minutes.settled(minute):
            waiting = self._waiting.setdefault(symbol, set())
            woken = asyncio.get_running_loop().create_future()
            waiting.add(woken)
            try:
                await woken
            finally:
                waiting.discard(woken)

    def missed(self, symbol: str, minute: int) -> None:
        """A minute (open time, UTC ms) was not pushed as closed in time; a silent connection is made anew."""
        minutes = self._pushed.get(symbol)
        if minutes is not None:
            minutes.missed(minute)
        if self._connected_at and self._now() - max(self._connected_at, self._heard_at) >= _SILENT_MS:
            self._silent = True
            self._changed.set()

    def take_notes(self) -> list[str]:
        """What users are to know, since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _came(self, market: str, row: Sequence[Any], *, closed: bool) -> None:
        """An update of a minute: open time (UTC ms), open, high, low, close, volume."""
        now = self._now()
        self.connections += self._heard_at < self._connected_at
        self._heard_at = max(now, self._connected_at)
        try:
            time = int(row[0])
            values = [float(value) for value in row[1:6]]
        except (TypeError, ValueError, OverflowError):
            return
        if len(values) != 5 or abs(now - time) > HELD * MINUTE_MS:
            return
        open_, high, low, close, volume = values
        for symbol in self._symbols.get(market, ()):
            self._pushed[symbol].push(time, (open_, high, low, close, volume), closed=closed)
            self._wake(symbol)

    def _wake(self, symbol: str) -> None:
        for woken in self._waiting.get(symbol, ()):
            if not woken.done():
                woken.set_result(None)

    # --- the connection -----------------------------------------------------------------------------------------

    async def _keep_connected(self, wording: Wording) -> None:
        client = client_class(self._base, wording, self._came)(dict(self._config))
        close_at_exit(client)
        attempt = 0
        try:
            while True:
                self._connected_at = self._now()
                try:
                    await self._watch_all(client, wording.together)
                except Exception as error:  # noqa: BLE001 -- whatever it is, minutes are asked for until it is back
                    self._tell_broken(error)
                attempt = 1 if self._heard_at >= self._connected_at + MINUTE_MS else attempt + 1
                self._connected_at = 0
                for symbol, minutes in self._pushed.items():
                    minutes.interrupted()
                    self._wake(symbol)
                with contextlib.suppress(Exception):  # it is gone already
                    await client.close_ws_clients()
                await self._sleep(min(_LONGEST_PAUSE, 2.0 ** min(attempt - 1, 6)))
        finally:
            await client.close()

    def _tell_broken(self, error: Exception) -> None:
        if not self._broke:
            self._broke = True
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
            self._notes.append(
                f"the stream of {self._source.name!r} broke: {why}\n"
                "its minutes are asked for until it is back; from now on it is not told"
            )

    async def _watch_all(self, client: Any, together: int) -> None:
        """Subscribe what is followed, now and later; ends with an error."""
        await self._source.lend_markets(client)
        subscribed: set[str] = set()
        watching: set[asyncio.Task[None]] = set()
        try:
            while True:
                await self._sleep(_PAUSE_SECONDS)
                self._changed.clear()
                for group in _groups(client, await self._not_in(subscribed), together):
                    for market in group:
                        client.ohlcvs.setdefault(market, {})["1m"] = client.updates_of(market)
                    subscribed.update(group)
                    watching.add(asyncio.ensure_future(_watch(client, group)))
                    await self._sleep(_PAUSE_SECONDS)
                await self._until_changed(watching)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _not_in(self, subscribed: set[str]) -> list[str]:
        """The symbols of ccxt that are followed and not subscribed yet."""
        for symbol in list(self._pushed):
            try:
                market = await self._source.canonical(symbol)
            except (UnknownName, UsageError):
                continue  # whoever asks for it is told
            symbols = self._symbols.setdefault(market, [])
            if symbol in self._pushed and symbol not in symbols:
                symbols.append(symbol)
        return [market for market, symbols in self._symbols.items() if symbols and market not in subscribed]

    async def _until_changed(self, watching: set[asyncio.Task[None]]) -> None:
        """Return when others are followed; raises what ended a connection."""
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            done, _ = await asyncio.wait({*watching, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        for task in done & watching:
            if task.cancelled():
                raise ConnectionError("it was closed")
            task.result()
        if self._silent:
            self._silent = False
            raise ConnectionError(f"no update came for {_SILENT_MS // MINUTE_MS} minutes")


async def _watch(client: Any, markets: Sequence[str]) -> None:
    """Subscribe some symbols with one message; ends with an error when their connection does."""
    await client.watch_ohlcv_for_symbols([[market, "1m"] for market in markets])
    while True:  # updates come through the caches: this only notices the end
        await client.watch_ohlcv_for_symbols([[markets[0], "1m"]])


def _groups(client: Any, markets: Sequence[str], together: int) -> list[list[str]]:
    """At most so many symbols of one kind of market each: ccxt subscribes one kind at a time."""
    kinds: dict[tuple[object, object], list[str]] = {}
    for name in markets:
        market = client.market(name)
        kinds.setdefault((market.get("type"), market.get("linear")), []).append(name)
    return [kind[at : at + together] for kind in kinds.values() for at in range(0, len(kind), together)]


# --- what ccxt leaves out -------------------------------------------------------------------------------------------


def _closed_of_binance(message: Any) -> frozenset[int]:
    kline = message.get("k") or {}
    return frozenset([int(kline["t"])] if kline.get("x") is True else [])


def _closed_of_bybit(message: Any) -> frozenset[int]:
    if not str(message.get("topic", "")).startswith("kline."):
        return frozenset()
    return frozenset(int(row["start"]) for row in message.get("data", ()) if row.get("confirm") is True)


def _closed_of_okx(message: Any) -> frozenset[int]:
    if not str((message.get("arg") or {}).get("channel", "")).startswith("candle"):
        return frozenset()
    return frozenset(int(row[0]) for row in message.get("data", ()) if len(row) > 8 and str(row[8]) == "1")


class Wording(NamedTuple):
    """What is to be known of the stream of an exchange.

    ``closed`` returns the open times (UTC ms) of the candles that have closed as a message says. ``together`` symbols
    may be subscribed with one message: Binance ignores messages of more than 4096 bytes, Bybit those of more topics.
    """

    closed: Callable[[Any], frozenset[int]]
    together: int


_WORDINGS: Final[Mapping[str, Wording]] = {
    "binance": Wording(_closed_of_binance, together=100),
    "bybit": Wording(_closed_of_bybit, together=10),
    "okx": Wording(_closed_of_okx, together=100),
}


def wording_of(base: Any) -> Wording | None:
    """The wording of a class of ccxt, or of one that it was made from; ``None``: it does not say what has closed."""
    return next((_WORDINGS[each.__name__] for each in base.__mro__ if each.__name__ in _WORDINGS), None)


def client_class(base: Any, wording: Wording, came: Callable[..., None]) -> Any:
    """A class of ccxt that hands on each update of a candle, with whether the exchange says that it has closed."""
    cache: Any = importlib.import_module("ccxt.async_support.base.ws.cache")

    class Updates(cache.ArrayCacheByTimestamp):  # type: ignore[misc]  # ccxt has no types
        def __init__(self, hand_on: Callable[[Any], None]) -> None:
            super().__init__(2)
            self.hand_on = hand_on

        def append(self, row: Any) -> None:
            self.hand_on(row)
            super().append(row)

    class Client(base):  # type: ignore[misc]  # ccxt has no types
        closed_now: frozenset[int] = frozenset()

        def client(self, url: str) -> Any:
            connection = super().client(url)
            if "handle_message" not in vars(connection):
                connection.handle_message = _whatever_comes(connection.handle_message)
            return connection

        def handle_message(self, connection: Any, message: Any) -> None:
            self.closed_now = wording.closed(message) if isinstance(message, dict) else frozenset()
            super().handle_message(connection, message)

        def updates_of(self, market: str) -> Any:
            return Updates(lambda row: came(market, row, closed=row[0] in self.closed_now))

    return Client


def _whatever_comes(handle: Callable[[Any], None]) -> Callable[[Any], None]:
    """The same, but a message that cannot be read is left out: an error would end the reading of all that follow."""

    def handle_message(message: Any) -> None:
        with contextlib.suppress(Exception):  # what it said is asked for
            handle(message)

    return handle_message
