"""Requests to a local exchange without its network: signed as clients sign them, answered at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from bknb.testing.exchange.calls import Answer, Call
from bknb.testing.exchange.control import Control
from bknb.testing.exchange.exchange import Exchange
from bknb.testing.exchange.keys import Keys

NOW = 1_700_000_000_000


class Desk:
    """An exchange whose computer's clock stands still, and what is asked of it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.exchange = Exchange(lambda: NOW, self.lines.append)
        self.control = Control(self.exchange)

    def do(self, command: str, **fields: Any) -> dict[str, Any]:
        return self.control.run(command, fields)

    def ask(self, request: str, *, key: str = "", signed_with: str = "", sent_at: int = NOW, **params: Any) -> Answer:
        """Answer ``"GET /api/v3/order"``, signed as Binance wants it."""
        method, path = request.split()
        keys = Keys(secret=signed_with) if signed_with else Keys()
        query = urlencode({**params, "timestamp": sent_at})
        query += f"&signature={keys.hex_signature(query)}"
        in_body = method in ("POST", "PUT")
        return self.exchange.answer(
            Call(
                method=method,
                path=path,
                query="" if in_body else query,
                body=query if in_body else "",
                headers={"x-mbx-apikey": key or keys.key},
            )
        )

    def okx(self, request: str, body: Any = None, *, sent_at: int = NOW, passphrase: str = "", **params: Any) -> Answer:
        """Answer ``"GET trade/order"``, signed as OKX wants it."""
        method, path = request.split()
        path, query, text = f"/api/v5/{path}", urlencode(params), "" if body is None else json.dumps(body)
        keys, stamp = Keys(), datetime.fromtimestamp(sent_at / 1000, UTC).isoformat(timespec="milliseconds")
        signed = stamp + method + path + (f"?{query}" if query else "") + text
        headers = {"ok-access-key": keys.key, "ok-access-passphrase": passphrase or keys.passphrase}
        headers |= {"ok-access-timestamp": stamp, "ok-access-sign": keys.base64_signature(signed)}
        return self.exchange.answer(Call(method=method, path=path, query=query, body=text, headers=headers))

    def public(self, path: str, **params: Any) -> Answer:
        return self.exchange.answer(Call(method="GET", path=path, query=urlencode(params)))
