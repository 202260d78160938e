"""The user streams of a local exchange: websockets that tell what happens to orders.

They are for waking who asks: messages may be lost, doubled or turned round on command, as they may be at the real ones.
Needs aiohttp, which comes with ccxt.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import WSMsgType, web

from .exchange import Exchange, Told
from .faults import IN_THE_STREAM
from .keys import same

_LOGIN: Final = "/users/self/verify"


@dataclass(slots=True, kw_only=True, eq=False)
class Listener:
    """One connection: which market it is told about, and of OKX what it has subscribed."""

    socket: web.WebSocketResponse
    request: web.Request
    market: str
    entered: bool = False
    channels: list[dict[str, str]] = field(default_factory=list)


class Streams:
    """Every connection of user streams.

    Parameters
    ----------
    exchange
        Whose orders they tell about.
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._listeners: list[Listener] = []
        self._held: Told | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def routes(self, app: web.Application) -> None:
        """Add their addresses to an application."""
        app.router.add_get("/ws-api/v3", self._spot)
        app.router.add_get("/private/ws", self._usdm)
        app.router.add_get("/ws/v5/{access:private|business}", self._okx)

    # --- what is sent -------------------------------------------------------------------------------------------

    def tell(self, told: Told) -> None:
        """Send what happened to an order to who listens, as far as no fault is about it."""
        fault = self.exchange.faults.take(list(IN_THE_STREAM), on="event", client_id=told.order.client_id)
        if fault is not None and fault.name == "event_lost":
            return
        messages = [told, told] if fault is not None and fault.name == "event_twice" else [told]
        if fault is not None and fault.name == "events_reversed":
            self._held = told
            return
        if self._held is not None:
            messages, self._held = [*messages, self._held], None
        for each in messages:
            self._send(each)

    def _send(self, told: Told) -> None:
        channel, message = self.exchange.message(told)
        for listener in list(self._listeners):
            if listener.market != told.market or not listener.entered:
                continue
            if told.market == "okx":
                for arg in listener.channels:
                    if _about(arg, channel, message):
                        self._write(listener, {"arg": arg, "data": [message]})
            else:
                self._write(listener, {"subscriptionId": 0, "event": message} if told.market == "spot" else message)

    def _write(self, listener: Listener, message: dict[str, Any]) -> None:
        async def write() -> None:
            try:
                await listener.socket.send_str(json.dumps(message))
            except ConnectionError:
                return

        task = asyncio.get_running_loop().create_task(write())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def end(self, how: str) -> None:
        """End all connections: ``"drop"`` them without a word, or have them ``"expire"``, which is told before.

        Raises
        ------
        ValueError
            When there is no such way.
        """
        if how not in ("drop", "expire"):
            raise ValueError(f"streams end by 'drop' or 'expire', not {how!r}")
        for listener in list(self._listeners):
            if how == "drop" and listener.request.transport is not None:
                listener.request.transport.abort()
            elif listener.market == "spot":
                told = {"e": "eventStreamTerminated", "E": self.exchange.clock.now()}
                self._write(listener, {"subscriptionId": 0, "event": told})
                listener.entered = False
            elif listener.market == "usdm":
                self._write(listener, {"e": "listenKeyExpired", "E": self.exchange.clock.now()})
                self.exchange.usdm.expire_listen_key()

    # --- who listens --------------------------------------------------------------------------------------------

    async def _listen(self, request: web.Request, market: str, *, entered: bool = False) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        listener = Listener(socket=socket, request=request, market=market, entered=entered)
        self._listeners.append(listener)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await self._heard(listener, message.data)
        finally:
            self._listeners.remove(listener)
        return socket

    async def _spot(self, request: web.Request) -> web.WebSocketResponse:
        return await self._listen(request, "spot")

    async def _usdm(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("listenKey") != self.exchange.usdm.listen_key:
            return web.Response(status=401)
        return await self._listen(request, "usdm", entered=True)

    async def _okx(self, request: web.Request) -> web.WebSocketResponse:
        return await self._listen(request, "okx")

    async def _heard(self, listener: Listener, text: str) -> None:
        if text == "ping":
            await listener.socket.send_str("pong")
            return
        asked = json.loads(text)
        answers = self._spot_answers if listener.market == "spot" else self._okx_answers
        for answer in answers(listener, asked):
            await listener.socket.send_str(json.dumps(answer))

    def _spot_answers(self, listener: Listener, asked: dict[str, Any]) -> list[dict[str, Any]]:
        params = dict(asked.get("params", {}))
        signature = str(params.pop("signature", ""))
        query = "&".join(f"{name}={params[name]}" for name in sorted(params))
        keys = self.exchange.keys
        if params.get("apiKey") != keys.key or keys.revoked or not same(signature, keys.hex_signature(query)):
            error = {"code": -1022, "msg": "Signature for this request is not valid."}
            return [{"id": asked.get("id"), "status": 400, "error": error}]
        if asked.get("method") != "userDataStream.subscribe.signature":
            return [{"id": asked.get("id"), "status": 400, "error": {"code": -1, "msg": "Unknown method."}}]
        listener.entered = True
        return [{"id": asked.get("id"), "status": 200, "result": {"subscriptionId": 0}}]

    def _okx_answers(self, listener: Listener, asked: dict[str, Any]) -> list[dict[str, Any]]:
        if asked.get("op") == "login":
            given, keys = asked["args"][0], self.exchange.keys
            signed = same(str(given.get("sign")), keys.base64_signature(f"{given.get('timestamp')}GET{_LOGIN}"))
            if given.get("apiKey") != keys.key or given.get("passphrase") != keys.passphrase or not signed:
                return [{"event": "error", "code": "60009", "msg": "Login failed.", "connId": "local"}]
            listener.entered = True
            return [{"event": "login", "code": "0", "msg": "", "connId": "local"}]
        if not listener.entered:
            return [{"event": "error", "code": "60011", "msg": "Please log in", "connId": "local"}]
        listener.channels += asked.get("args", [])
        return [{"event": "subscribe", "arg": arg, "connId": "local"} for arg in asked.get("args", [])]


def _about(arg: dict[str, str], channel: str, row: dict[str, Any]) -> bool:
    return (
        arg.get("channel") == channel
        and arg.get("instType") in ("ANY", row["instType"])
        and arg.get("instId", row["instId"]) == row["instId"]
    )
