"""Requests to OKX as they have to leave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .exchange_profile import GoldenRequest, Request

_ID: Final = "bksmacroqb3bfoc37f4rwlk4fv5dmg"
_LAST: Final = {"slTriggerPx": "58000.1", "slTriggerPxType": "last", "slOrdPx": "-1"}
_TARGET: Final = {"tpTriggerPx": "71000", "tpTriggerPxType": "last", "tpOrdPx": "-1"}
_MOVED: Final = {"newSz": "0.9", "newSlTriggerPx": "59000", "newSlTriggerPxType": "last", "newSlOrdPx": "-1"}
_PAGE: Final = {"limit": "100", "begin": "1700000000000", "after": "28"}


def golden_of(kind: str) -> tuple[GoldenRequest, ...]:
    """The requests of ``"SPOT"`` or ``"SWAP"``."""
    swap = kind == "SWAP"
    symbol = {"instId": "BTC-USDT-SWAP" if swap else "BTC-USDT"}
    sized = {**symbol, "tdMode": "isolated" if swap else "cash", "side": "sell", "sz": "1.9", "clOrdId": _ID}
    market = {} if swap else {"tgtCcy": "base_ccy"}
    reduces: dict[str, str | bool] = {"reduceOnly": True} if swap else {}
    stop = {**sized, **reduces, **market, "ordType": "conditional", "algoClOrdId": _ID}
    named = {**symbol, "algoClOrdId": _ID}
    listed = {**symbol, "instType": kind}
    of_swaps = (
        _private("GET", "account/positions", {"instType": kind}),
        _private("GET", "account/leverage-info", {**symbol, "mgnMode": "isolated"}),
        _private("POST", "account/set-leverage", {**symbol, "mgnMode": "isolated", "lever": "3"}),
        _public("public/position-tiers", {"instType": kind, "tdMode": "isolated", "instFamily": "BTC-USDT"}),
    )
    return (
        _private("POST", "trade/order", {**sized, **market, "ordType": "market"}),
        _private("POST", "trade/order", {**sized, **market, **reduces, "ordType": "market"}),
        _private("POST", "trade/order", {**sized, "ordType": "limit", "px": "71000"}),
        _private("POST", "trade/order-algo", {**stop, **_LAST}),
        _private("POST", "trade/order-algo", {**stop, **_TARGET}),
        *(() if swap else (_private("POST", "trade/amend-algos", {**named, **_MOVED}),)),
        _private("POST", "trade/cancel-algos", named, in_list=True),
        _private("POST", "trade/cancel-order", {**symbol, "clOrdId": _ID}),
        _private("GET", "trade/order", {**symbol, "clOrdId": _ID}),
        _private("GET", "trade/order", {**symbol, "ordId": "28"}),
        _private("GET", "trade/order-algo", {"algoClOrdId": _ID}),
        _private("GET", "trade/orders-pending", listed),
        _private("GET", "trade/orders-algo-pending", {**listed, "ordType": "conditional"}),
        _private("GET", "trade/fills-history", {**listed, **_PAGE}),
        _private("GET", "trade/fills-history", {**listed, "limit": "100", "ordId": "28"}),
        _private("GET", "account/balance", {}),
        _private("GET", "account/config", {}),
        _public("public/time", {}),
        _public("public/instruments", {"instType": kind}),
        _public("market/ticker", symbol),
        *(of_swaps if swap else ()),
    )


def _private(method: str, path: str, params: Mapping[str, str | bool], *, in_list: bool = False) -> GoldenRequest:
    return _golden("private", method, path, params, in_list=in_list)


def _public(path: str, params: Mapping[str, str | bool]) -> GoldenRequest:
    return _golden("public", "GET", path, params)


def _golden(
    access: str, method: str, path: str, params: Mapping[str, str | bool], *, in_list: bool = False
) -> GoldenRequest:
    call = f"{access}_{method.lower()}_{path.replace('/', '_').replace('-', '_')}"
    sent = {name: "true" if value is True else str(value) for name, value in params.items()}
    return GoldenRequest(Request(call, params, in_list), method, f"/api/v5/{path}", sent)
