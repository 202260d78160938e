"""How requests to Binance are signed and read: one place for its spot and its futures face."""

from __future__ import annotations

import re
from typing import Final

from .amounts import whole
from .calls import Call, Params, Route
from .clock import ExchangeClock
from .keys import Keys, same
from .orders import RefusedError

_SIGNING: Final = ("timestamp", "recvWindow", "signature")
_ID: Final = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
_IDS: Final = ("newClientOrderId", "clientAlgoId", "listClientOrderId", "aboveClientOrderId", "belowClientOrderId")
_WINDOW_MS: Final = 5000
_LONGEST_WINDOW_MS: Final = 60_000
_AHEAD_MS: Final = 1000


def without_signature(call: Call) -> dict[str, str]:
    """The parameters of a request but those that sign it."""
    return {name: value for name, value in call.form().items() if name not in _SIGNING}


def check_signature(call: Call, keys: Keys, clock: ExchangeClock) -> None:
    """Compare key, signature and time of a request.

    Raises
    ------
    RefusedError
        When one of them is wrong.
    """
    form = call.form()
    given = call.headers.get("x-mbx-apikey", "")
    if not given:
        raise RefusedError("key_format")
    if given != keys.key or keys.revoked:
        raise RefusedError("key")
    if "signature" not in form:
        raise RefusedError("missing", name="signature")
    signed = re.sub(r"&?signature=[^&]*", "", call.query) + re.sub(r"&?signature=[^&]*", "", call.body)
    if not same(form["signature"], keys.hex_signature(signed)):
        raise RefusedError("signature")
    sent, window = whole(form, "timestamp"), whole(form, "recvWindow", _WINDOW_MS)
    if window > _LONGEST_WINDOW_MS:
        raise RefusedError("recv_window")
    if sent > clock.wall() + _AHEAD_MS:
        raise RefusedError("clock_ahead")
    if clock.wall() - sent > window:
        raise RefusedError("clock_behind")


def check_names(route: Route, params: Params) -> None:
    """Refuse unknown parameters, missing ones, and ids with letters they must not have.

    Raises
    ------
    RefusedError
        When there is one.
    """
    if route.allowed is not None and (unread := set(params) - route.allowed):
        raise RefusedError("unread", read=len(params) - len(unread), sent=len(params))
    for name in route.required:
        if not params.get(name):
            raise RefusedError("missing", name=name)
    for name in _IDS:
        if name in params and not re.match(_ID, str(params[name])):
            raise RefusedError("characters", name=name, range=_ID)


def need(params: Params, *names: str) -> None:
    """Refuse a request without one of these parameters."""
    for name in names:
        if not params.get(name):
            raise RefusedError("missing", name=name)


def need_not(params: Params, *names: str) -> None:
    """Refuse a request with one of these parameters."""
    for name in names:
        if name in params:
            raise RefusedError("not_required", name=name)


def is_true(params: Params, name: str) -> bool:
    """Whether a parameter says true."""
    return str(params.get(name, "")).lower() == "true"
