"""A local exchange that pushes: a loopback websocket server beside :class:`~bknb.testing.fake_binance.LocalBinance`.

It speaks Binance's ``SUBSCRIBE`` and ``kline`` messages, pushes a minute when it is told to, and misbehaves on command.
The real client of ccxt talks to both::

    with LocalBinance(source, now=clock.now) as server, LocalBinanceStream(server) as stream:
        binance = bknb.exchanges.ccxt("binance", config=stream.ccxt_config, cache=None, stream=True)

Needs aiohttp, which comes with ccxt.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from ..domain.interval import MINUTE_MS
from ..market.candles import COLUMNS
from .fake_binance import LocalBinance

if TYPE_CHECKING:
    from ..market.candles import Candles

T = TypeVar("T")

StreamFault = Literal[
    "dropped",
    "no close",
    "late close",
    "never closed",
    "closed early",
    "doubled",
    "reordered",
    "close first",
    "other prices",
    "other close",
    "two closes",
    "more volume later",
    "nulls",
    "bad candle",
    "shifted",
    "not json",
    "far future",
    "cut off",
]
_LONGEST: Final = 4096  # bytes of a message; longer ones are ignored, as Binance does
_WAIT_SECONDS: Final = 10.0


class LocalBinanceStream:
    """A websocket server on loopback; a context manager.

    Parameters
    ----------
    server
        Where its candles come from, and what is traded there.

    Attributes
    ----------
    faults : dict
        ``(symbol, open time) -> fault``: what goes wrong with the updates of a minute; the exchange's own symbol.
    silent : bool
        Whether it accepts connections and subscriptions, and pushes nothing.
    refusing : bool
        Whether it refuses connections.
    subscriptions : list of list of str
        The streams of each subscription, in order.
    connected : int
        How many connections were made.
    """

    def __init__(self, server: LocalBinance) -> None:
        self.server = server
        self.faults: dict[tuple[str, int], StreamFault] = {}
        self.silent = self.refusing = False
        self.subscriptions: list[list[str]] = []
        self.connected = 0
        self._late: list[str] = []
        self._sockets: dict[Any, set[str]] = {}  # connection -> the symbols it has subscribed
        self._transports: dict[Any, Any] = {}
        self._pongs: dict[Any, asyncio.Event] = defaultdict(asyncio.Event)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-binance-stream", daemon=True)
        self._runner: Any = None
        self._changed = threading.Condition()
        self._port = 0

    @property
    def ccxt_config(self) -> dict[str, Any]:
        """Configuration of ccxt's binance client for both servers."""
        config = self.server.ccxt_config
        config["urls"]["api"]["ws"] = {"spot": f"ws://127.0.0.1:{self._port}/ws"}
        return config

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=_WAIT_SECONDS)
        self._loop.run_until_complete(asyncio.sleep(0.05))  # a connection may have been accepted just now
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=_WAIT_SECONDS)

    # --- what tests do ------------------------------------------------------------------------------------------

    def wait_for(self, *, connections: int | None = None, symbols: Iterable[str] = ()) -> None:
        """Return when so many connections are open, and these symbols (the exchange's own) are subscribed.

        Raises
        ------
        TimeoutError
            After ten seconds.
        """
        wanted = set(symbols)

        def is_so() -> bool:
            subscribed = set().union(*self._sockets.values())
            return (connections is None or len(self._sockets) == connections) and wanted <= subscribed

        with self._changed:
            if not self._changed.wait_for(is_so, timeout=_WAIT_SECONDS):
                subscribed = sorted(set().union(*self._sockets.values()))
                raise TimeoutError(f"{len(self._sockets)} connections, subscribed: {', '.join(subscribed)}")

    def push(self, opened: int, *, parts: Iterable[int] = (0, 1, 2, 3)) -> None:
        """Push the updates of the minute that opens at ``opened`` (UTC ms); returns when they have been handled.

        Parameters
        ----------
        parts
            Which of the updates: 0 to 2 while it forms, 3 when it has closed.
        """
        self._call(self._push(opened, tuple(parts)))

    def push_late(self) -> None:
        """Push the updates with the fault ``"late close"``."""
        self._call(self._send([(text, None) for text in self._late]))
        self._late.clear()

    def disconnect(self) -> None:
        """Close every connection, as Binance does after a day."""
        self._call(self._disconnect(abort=False))

    def abort(self) -> None:
        """Lose every connection without a word."""
        self._call(self._disconnect(abort=True))

    # --- the server ---------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        web = importlib.import_module("aiohttp.web")
        app = web.Application()
        app.router.add_get("/ws/{stream}", self._connection)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _end(self) -> None:
        accepted = [each.transport for each in self._runner.server.connections]
        await self._runner.cleanup()
        for transport in filter(None, {*accepted, *self._transports.values()}):
            transport.abort()
        for _ in range(3):  # until the sockets of all of them are closed
            await asyncio.sleep(0)

    async def _connection(self, request: Any) -> Any:
        aiohttp = importlib.import_module("aiohttp")
        if self.refusing:
            raise aiohttp.web.HTTPServiceUnavailable
        socket = aiohttp.web.WebSocketResponse(autoping=False, timeout=0.1)
        await socket.prepare(request)
        self._transports[socket] = request.transport
        self._note(socket, set())
        self.connected += 1
        try:
            async for message in socket:
                if message.type == aiohttp.WSMsgType.TEXT:
                    await self._subscribe(socket, json.loads(message.data))
                elif message.type == aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type == aiohttp.WSMsgType.PONG:
                    self._pongs[socket].set()
        finally:
            self._note(socket, None)
        return socket

    def _note(self, socket: Any, symbols: set[str] | None) -> None:
        with self._changed:
            if symbols is None:
                self._sockets.pop(socket, None)
                self._pongs[socket].set()
            else:
                self._sockets.setdefault(socket, set()).update(symbols)
            self._changed.notify_all()

    async def _subscribe(self, socket: Any, asked: dict[str, Any]) -> None:
        streams = [str(name) for name in asked.get("params", ())]
        self.subscriptions.append(streams)
        if len(json.dumps(asked, separators=(",", ":"))) > _LONGEST:
            return
        await socket.send_str(json.dumps({"result": None, "id": asked.get("id")}))
        self._note(socket, {name.split("@")[0].upper() for name in streams if name.endswith("@kline_1m")})

    async def _push(self, opened: int, parts: tuple[int, ...]) -> None:
        symbols = sorted(set().union(*self._sockets.values()))
        messages: list[tuple[str, str | None]] = []
        for symbol in [] if self.silent else symbols:
            candles = await self.server.source.get_candles(symbol, "1m", opened, 1)
            if len(candles) and int(candles.timestamp[0]) == opened:
                messages += [(text, symbol) for text in self._updates(symbol, candles, parts)]
        await self._send(messages)

    async def _send(self, messages: list[tuple[str, str | None]]) -> None:
        """Send messages, each to who has subscribed its symbol, and wait until they were handled: pongs come last."""
        for socket, symbols in list(self._sockets.items()):
            self._pongs[socket].clear()
            try:
                for text, symbol in messages:
                    if symbol is None or symbol in symbols:
                        await socket.send_str(text)
                await socket.ping()
            except ConnectionError:
                continue
            await asyncio.wait_for(self._pongs[socket].wait(), _WAIT_SECONDS)

    async def _disconnect(self, *, abort: bool) -> None:
        for socket in list(self._sockets):
            if abort:
                self._transports[socket].abort()
            else:
                await socket.close()

    # --- updates ------------------------------------------------------------------------------------------------

    def _updates(self, symbol: str, candles: Candles, parts: tuple[int, ...]) -> list[str]:
        time, *values = (getattr(candles, name)[0].item() for name in COLUMNS)
        open_, high, low, close, volume = values
        fault = self.faults.get((symbol, time))
        rows = [
            [open_, open_, open_, open_, volume * 0.1],
            [open_, high, open_, high, volume * 0.5],
            [open_, high, low, low, volume * 0.9],
            [open_, high, low, close, volume],
        ]
        texts = [_message(symbol, time, rows[part], closed=part == 3) for part in parts]
        last = parts[-1] == 3
        if fault == "dropped":
            return []
        if fault == "no close":
            return [_message(symbol, time, rows[part], closed=False) for part in parts if part < 3]
        if fault == "never closed":
            return [_message(symbol, time, rows[part], closed=False) for part in parts]
        if fault == "late close" and last:
            self._late.append(texts.pop())
        elif fault == "doubled":
            texts = [text for text in texts for _ in (0, 1)]
        elif fault == "reordered":
            texts.reverse()
        elif fault == "close first" and last:
            texts = [texts[-1], *texts[:-1]]
        elif fault == "cut off" and last:
            texts[-1] = texts[-1][: len(texts[-1]) // 2] + "}"
        elif fault == "not json":
            texts = ["hello", *texts]
        elif last:
            texts = _wrong(symbol, time, rows, fault, texts)
        return texts


def _wrong(symbol: str, time: int, rows: list[list[float]], fault: StreamFault | None, texts: list[str]) -> list[str]:
    """Updates that say something else than the exchange answers."""
    open_, high, low, close, volume = rows[3]
    wrong: list[Any] = rows[3]
    if fault == "closed early":
        return [*texts[:-1], _message(symbol, time, rows[2], closed=True)]
    if fault == "other prices":
        return [
            _message(symbol, time, [*(price * 1.01 for price in row[:4]), row[4]], closed=row is rows[3])
            for row in rows
        ]
    if fault == "two closes":
        return [*texts, _message(symbol, time, [open_, high, low, low, volume], closed=True)]
    if fault == "more volume later":
        return [*texts, _message(symbol, time, [open_, high, low, close, volume * 2], closed=False)]
    if fault == "other close":
        wrong = [open_, high, low, (high + low) / 2, volume]
    elif fault == "nulls":
        wrong = [None, None, None, None, None]
    elif fault == "bad candle":
        wrong = [open_, low / 2, low, close, volume]
    elif fault == "shifted":
        return [*texts[:-1], _message(symbol, time + 1000, wrong, closed=True)]
    elif fault == "far future":
        return [*texts, *(_message(symbol, time + k * 10**6 * MINUTE_MS, wrong, closed=True) for k in range(1, 70))]
    return [*texts[:-1], _message(symbol, time, wrong, closed=True)]


def _message(symbol: str, time: int, row: list[Any], *, closed: bool) -> str:
    open_, high, low, close, volume = (None if value is None else repr(value) for value in row)
    kline = {"t": time, "T": time + MINUTE_MS - 1, "s": symbol, "i": "1m", "f": 1, "L": 2}
    kline |= {"o": open_, "c": close, "h": high, "l": low, "v": volume, "n": 2, "x": closed}
    kline |= {"q": "0", "V": "0", "Q": "0", "B": "0"}
    return json.dumps({"e": "kline", "E": time + MINUTE_MS, "s": symbol, "k": kline})
