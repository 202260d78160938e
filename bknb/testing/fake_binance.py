"""A local exchange: a loopback HTTP server that behaves like Binance's public REST API.

It answers ``/api/v3/time``, ``/api/v3/exchangeInfo`` and ``/api/v3/klines`` from any source of candles, with Binance's
limits, error bodies and status codes, and misbehaves on command. Accounts and orders are at
:mod:`bknb.testing.exchange`. The real ccxt client talks to it::

    with LocalBinance(DemoSource(), now=lambda: 1_700_000_000_000) as server:
        binance = bknb.exchanges.ccxt("binance", config=server.ccxt_config, cache=folder)
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qs, urlsplit

from ..domain.interval import INTERVAL_MS, MINUTE_MS, WEEK
from ..market.bar_slots import slot_from, slot_of
from ..market.candles import COLUMNS, Candles
from ..market.resample import resample
from ..market.weekly_bar_grid import week_grid
from ..ports import CandleSource
from .exchange.binance_answers import symbol_info
from .exchange.markets import Market
from .exchange.traded_minutes import kline

__all__ = ["Fault", "LocalBinance", "Market", "Request"]

MAX_LIMIT: Final = 1000
DEFAULT_LIMIT: Final = 500

Fault = Literal[
    "429",
    "418",
    "500",
    "502 html",
    "503 refusal",
    "200 html",
    "cut off",
    "not json",
    "hang up",
    "slow",
    "truncated",
    "empty",
    "duplicated",
    "reordered",
    "nulls",
    "bad candle",
    "newest",
    "oldest",
    "no beginning",
    "hole inside",
    "seconds",
    "shifted",
    "other prices",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One received request."""

    path: str
    query: dict[str, str]


class LocalBinance:
    """A server on loopback; a context manager.

    Parameters
    ----------
    source
        Where its candles come from; longer ones are made of minutes where the source has only those.
    markets
        What is traded there.
    now
        Its clock, UTC ms: candles up to now are answered, the last one forming.
    absent
        Ranges ``[first, end)`` in UTC ms in which it has no candles.
    retry_after_s
        What 429 and 418 ask for.
    slow_s
        How long a slow answer takes.
    memory
        How many of its newest candles it answers at most, whatever ``startTime`` says; ``None``: all there are.
    max_limit
        How many candles an answer holds at most.

    Attributes
    ----------
    requests : list of Request
        What was asked, in order.
    faults : deque of Fault or None
        What goes wrong with the next answers to ``klines``, one each; ``None`` answers well.
    corrections : dict
        ``(symbol, open time) -> close``: what the server says instead of the source.
    oldest : int
        Where an answer begins that ignores ``startTime`` and holds the oldest candles, UTC ms.
    on_klines : callable or None
        Called without arguments before each answer to ``klines`` leaves, in a thread of the server.
    """

    def __init__(
        self,
        source: CandleSource,
        *,
        now: Callable[[], int],
        markets: Sequence[Market] = (Market(base="BTC"), Market(base="ETH", step="0.00010000")),
        absent: Sequence[tuple[int, int]] = (),
        retry_after_s: int = 1,
        slow_s: float = 0.5,
        memory: int | None = None,
        max_limit: int = MAX_LIMIT,
    ) -> None:
        self.source = source
        self.now = now
        self.markets = {market.id: market for market in markets}
        self.absent = list(absent)
        self.retry_after_s = retry_after_s
        self.slow_s = slow_s
        self.memory = memory
        self.max_limit = max_limit
        self.oldest = 0
        self.on_klines: Callable[[], object] | None = None
        self.requests: list[Request] = []
        self.faults: deque[Fault | None] = deque()
        self.corrections: dict[tuple[str, int], float] = {}
        self._closing = threading.Event()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address of the server."""
        assert self._server is not None, "the server has not been started"  # noqa: S101
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def ccxt_config(self) -> dict[str, Any]:
        """Configuration of ccxt's binance client for this server.

        It reads no certificates: this server speaks plain HTTP, and reading them takes longer than most questions.
        """
        return {
            "verify": False,
            "urls": {
                "api": {
                    "public": f"{self.url}/api/v3",
                    "fapiPublic": f"{self.url}/fapi/v1",
                    "dapiPublic": f"{self.url}/dapi/v1",
                }
            },
            "timeout": 2000,
        }

    def asked(self, path: str) -> list[Request]:
        """The requests whose path has this ending."""
        return [request for request in self.requests if request.path.endswith(path)]

    def __enter__(self) -> Self:
        world = self

        class Answers(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                world._answer(self)

            def log_message(self, *_: Any) -> None:
                return None

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                return None  # a client that hung up is nobody's error

        self._server = Server(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        if self._thread is not None:
            self._thread.join(timeout=5)

    # --- answers ------------------------------------------------------------------------------------------------

    def _answer(self, http: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(http.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.requests.append(Request(path=parts.path, query=query))
        name = parts.path.rsplit("/", 1)[-1]
        if name == "time":
            self._send(http, {"serverTime": self.now()})
        elif name == "exchangeInfo":
            spot = parts.path.startswith("/api/")
            symbols = [symbol_info(market) for market in self.markets.values()] if spot else []
            self._send(http, {"timezone": "UTC", "serverTime": self.now(), "rateLimits": [], "symbols": symbols})
        elif name == "klines":
            self._klines(http, query)
        else:
            self._send(http, {"code": -1, "msg": f"no such path {parts.path}"}, status=404)

    def _klines(self, http: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        fault = self.faults.popleft() if self.faults else None
        if self._refused(http, fault):
            return
        if fault == "slow":
            self._closing.wait(self.slow_s)
        market = self.markets.get(query.get("symbol", ""))
        if market is None:
            self._send(http, {"code": -1121, "msg": "Invalid symbol."}, status=400)
            return
        if query.get("interval") not in INTERVAL_MS:
            self._send(http, {"code": -1120, "msg": "Invalid interval."}, status=400)
            return
        rows = _spoiled(self._rows(market, _misread(query, fault, self.oldest)), fault)
        if self.on_klines is not None:
            self.on_klines()
        text = json.dumps(rows)
        if fault == "cut off":
            self._send_text(http, text[: len(text) // 2], promised=len(text))
        elif fault == "not json":
            self._send_text(http, text[: len(text) // 2])
        else:
            self._send_text(http, text)

    def _refused(self, http: BaseHTTPRequestHandler, fault: Fault | None) -> bool:
        """Answer without candles, where the fault is one that does; whether it was."""
        if fault in ("429", "418"):
            body = {"code": -1003, "msg": "Too many requests; current limit is 6000 request weight per 1 MINUTE."}
            self._send(http, body, status=int(fault), headers={"Retry-After": str(self.retry_after_s)})
        elif fault == "500":
            body = {"code": -1000, "msg": "An unknown error occurred while processing the request."}
            self._send(http, body, status=500)
        elif fault == "503 refusal":
            self._send(http, {"code": -1121, "msg": "Invalid symbol."}, status=503)
        elif fault == "502 html":
            self._send_text(http, "<html><body><h1>502 Bad Gateway</h1></body></html>", status=502, kind="text/html")
        elif fault == "200 html":
            self._send_text(http, "<html><body>Maintenance</body></html>", kind="text/html")
        elif fault == "hang up":
            http.close_connection = True
        else:
            return False
        return True

    def _rows(self, market: Market, query: dict[str, str]) -> list[list[Any]]:
        interval = query["interval"]
        step = INTERVAL_MS[interval]
        limit = min(int(query.get("limit", DEFAULT_LIMIT)), self.max_limit)
        grid = week_grid() if interval == WEEK else None
        last = slot_of(min(self.now(), market.delisted_at or self.now()), step, grid)
        end = min(int(query.get("endTime", last)), last)
        since = max(int(query.get("startTime", last - (limit - 1) * step)), market.listed_at)
        if self.memory is not None:
            since = max(since, last - (self.memory - 1) * step)
        since = slot_from(since, step, grid)
        rows: list[list[Any]] = []
        while len(rows) < limit and since <= end:
            count = min(limit - len(rows), (end - since) // step + 1)
            candles = self._candles(market, interval, since, count)
            if not len(candles):
                break
            rows.extend(self._row(market, candle, step) for candle in self._present(candles, step))
            since = int(candles.timestamp[-1]) + step
        return rows

    def _candles(self, market: Market, interval: str, since: int, count: int) -> Candles:
        if self.source.intervals is None or interval in self.source.intervals:
            return asyncio.run(self.source.get_candles(market.id, interval, since, count))
        step = INTERVAL_MS[interval]
        grid = week_grid() if interval == WEEK else None
        minutes = asyncio.run(self.source.get_candles(market.id, "1m", since, count * step // MINUTE_MS))
        return resample(minutes, interval, allow_gaps=True, since=since, until=since + count * step, grid=grid)

    def _present(self, candles: Candles, step: int) -> list[tuple[Any, ...]]:
        rows = list(zip(*(getattr(candles, name).tolist() for name in COLUMNS), strict=True))
        return [row for row in rows if not any(first <= row[0] and row[0] + step <= end for first, end in self.absent)]

    def _row(self, market: Market, candle: tuple[Any, ...], step: int) -> list[Any]:
        time, open_, high, low, close, volume = candle
        close = self.corrections.get((market.id, time), close)
        high, low = max(high, close), min(low, close)
        prices = [repr(value) for value in (open_, high, low, close, volume)]
        return kline(time, step, prices, repr(volume * close))

    def _send(
        self, http: BaseHTTPRequestHandler, body: object, *, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        self._send_text(http, json.dumps(body), status=status, headers=headers)

    def _send_text(
        self,
        http: BaseHTTPRequestHandler,
        text: str,
        *,
        status: int = 200,
        kind: str = "application/json;charset=UTF-8",
        headers: dict[str, str] | None = None,
        promised: int | None = None,
    ) -> None:
        data = text.encode()
        http.send_response(status)
        http.send_header("Content-Type", kind)
        http.send_header("Content-Length", str(promised or len(data)))
        http.send_header("x-mbx-used-weight-1m", str(len(self.requests)))
        for name, value in (headers or {}).items():
            http.send_header(name, value)
        http.end_headers()
        http.wfile.write(data)
        http.close_connection = promised is not None


def _misread(query: dict[str, str], fault: Fault | None, oldest: int) -> dict[str, str]:
    """The question as a server understands it that ignores its beginning."""
    if fault == "newest":
        return {name: value for name, value in query.items() if name not in ("startTime", "endTime")}
    if fault == "oldest":
        rest = {name: value for name, value in query.items() if name != "endTime"}
        return {**rest, "startTime": str(oldest)}
    return query


def _spoiled(rows: list[list[Any]], fault: Fault | None) -> list[list[Any]]:
    if fault == "empty":
        return []
    if fault == "truncated":
        return rows[: len(rows) // 2]
    if fault == "duplicated":
        return [row for row in rows for _ in (0, 1)]
    if fault == "reordered":
        return rows[::-1]
    if fault == "no beginning":
        return rows[len(rows) // 3 :]
    if fault == "hole inside":
        return [*rows[: len(rows) // 10], *rows[len(rows) // 5 :]]
    if fault == "seconds":
        return [[row[0] // 1000, *row[1:]] for row in rows]
    if fault == "shifted":
        return [[row[0] + 1000, *row[1:]] for row in rows]
    if fault == "other prices":
        return [[row[0], *(repr(float(price) * 1.01) for price in row[1:5]), *row[5:]] for row in rows]
    if fault == "nulls" and rows:
        return [*rows[:-1], [rows[-1][0], None, None, None, None, None, *rows[-1][6:]]]
    if fault == "bad candle" and rows:
        time, open_, _, low, close, volume, *rest = rows[-1]
        return [*rows[:-1], [time, open_, repr(float(low) / 2), low, close, volume, *rest]]
    return rows
