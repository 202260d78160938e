"""The network of a local exchange: HTTP on loopback, a journal, and the faults of the wire.

Needs aiohttp, which comes with ccxt.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from ...market.system_clock import SystemClock
from .calls import Answer, Call
from .control import Control
from .exchange import Exchange, Prepared
from .faults import ON_THE_WIRE, Fault
from .streams import Streams

_GATEWAY: Final = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_MAINTENANCE: Final = "<html><body>System maintenance</body></html>"


class Journal:
    """A file with everything an exchange was asked and did, a line of JSON each; whole when the exchange is killed.

    Parameters
    ----------
    path
        Where it is written; ``None``: nowhere.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = None if path is None else path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def write(self, line: dict[str, Any]) -> None:
        """Add a line."""
        if self._file is not None:
            with self._lock:
                self._file.write(json.dumps(line, separators=(",", ":"), default=str).encode() + b"\n")


class ExchangeServer:
    """Answers requests to an exchange, and commands to ``/control/NAME``."""

    def __init__(self, journal: Journal) -> None:
        self.exchange = Exchange(SystemClock().now, journal.write)
        self.control = Control(self.exchange)
        self.streams = Streams(self.exchange)
        self.exchange.on_told, self.exchange.end_streams = self.streams.tell, self.streams.end

    def app(self) -> web.Application:
        """The application that serves it."""
        app = web.Application()
        app.router.add_post("/control/{command}", self._command)
        self.streams.routes(app)
        app.router.add_route("*", "/{path:.*}", self._request)
        return app

    async def _command(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(self.control.run(request.match_info["command"], await request.json()))
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)

    async def _request(self, request: web.Request) -> web.StreamResponse:
        call = Call(
            method=request.method,
            path=request.path,
            query=request.rel_url.raw_query_string,
            body=(await request.read()).decode(),
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        asked = self.exchange.prepare(call)
        if isinstance(asked, Answer):
            return _response(asked)
        fault = self.exchange.faults.take(
            list(ON_THE_WIRE), on=asked.operation, symbol=asked.symbol, client_id=asked.client_id
        )
        return _response(self.exchange.carry_out(asked)) if fault is None else await self._faulty(request, asked, fault)

    async def _faulty(self, request: web.Request, asked: Prepared, fault: Fault) -> web.StreamResponse:
        if fault.name == "request_lost":
            return _hang_up(request)
        if fault.name == "request_late":
            await asyncio.sleep(fault.seconds)
        if fault.name in ("html_502", "html_200"):
            if fault.executed:
                self.exchange.carry_out(asked)
            status, page = (502, _GATEWAY) if fault.name == "html_502" else (200, _MAINTENANCE)
            return web.Response(text=page, status=status, content_type="text/html")
        answer = self.exchange.carry_out(asked)
        if fault.name == "reply_lost":
            return _hang_up(request)
        if fault.name == "empty_data":
            return web.Response(text="", content_type="application/json")
        if fault.name == "cut_body":
            return await _cut(request, answer)
        if fault.name == "reply_late":
            await asyncio.sleep(fault.seconds)
        return _response(answer)


def _response(answer: Answer) -> web.Response:
    return web.json_response(answer.body, status=answer.status, headers=dict(answer.headers))


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _cut(request: web.Request, answer: Answer) -> web.StreamResponse:
    text = json.dumps(answer.body).encode()
    response = web.StreamResponse(status=answer.status, headers={"Content-Length": str(len(text))})
    response.content_type = "application/json"
    await response.prepare(request)
    await response.write(text[: len(text) // 2])
    _hang_up(request)
    return response


async def serve(port: int, journal: Path | None) -> None:
    """Serve until the process ends; the first line of standard output is the port."""
    server = ExchangeServer(Journal(journal))
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    os.write(1, f"{runner.addresses[0][1]}\n".encode())
    await asyncio.Event().wait()
