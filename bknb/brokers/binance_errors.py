"""What Binance's error codes say of a request, at its spot exchange and at USD-M."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from .exchange_profile import Answer, Request, Verdict

_BANNED_UNTIL: Final = re.compile(r"until (\d{13})")
_LEAST_WAIT_MS: Final = 60_000  # where a ban does not say how long it is
_BUSY: Final = frozenset({"-1008", "-2015"})
"""Overloaded, and a key that may not trade now: nothing happened, and the same may be asked after a while."""
_REFUSED: Final = frozenset(
    {
        *(f"-11{number:02}" for number in range(37)),  # parameters
        *("-1010", "-1013", "-1014", "-1016", "-1020", "-1121"),
        *("-1002", "-1022", "-2008", "-2014"),  # keys
    }
)
_REFUSED_AT_SPOT: Final = _REFUSED | {"-2010", "-2011", "-2021", "-2022", "-2038", "-2039"}
_TEXT_OF_DUPLICATE: Final = "Duplicate order sent"
_TEXT_OF_REACHED: Final = "would trigger immediately"
_TEXT_OF_UNAVAILABLE: Final = "Service Unavailable"
_TEXT_OF_HALT: Final = "Market is closed"
_REFUSED_AT_USDM: Final = _REFUSED.union(
    (f"-20{number}" for number in (11, *range(18, 29))),
    (f"-4{number:03}" for number in range(200)),  # filters, modes, margins, reduce-only
    ("-5021", "-5022", "-5024", "-5025", "-5026"),
)
_DUPLICATE_AT_USDM: Final = "-4116"
_HALTED_AT_USDM: Final = "-4108"  # a market that opens again
_OTHER_MODE_AT_USDM: Final = "-4061"  # positions are kept otherwise now, until somebody sets that back


def spot_verdict(request: Request, error: Answer) -> Verdict:
    """What an error of the spot exchange says of its request; whatever is not known may have been carried out.

    Examples
    --------
    >>> spot_verdict(Request("private_post_order", {}), Answer(400, "-1021", "Timestamp for this request is outside"))
    'clock'
    """
    if (common := _verdict(error)) is not None:
        return common
    if _TEXT_OF_UNAVAILABLE in error.text or _TEXT_OF_HALT in error.text:
        return "busy"
    if error.code == "-2010" and _TEXT_OF_DUPLICATE in error.text:
        return "known"
    if error.code == "-2010" and _TEXT_OF_REACHED in error.text:
        return "reached"
    if error.code == "-2013" or (error.code == "-2011" and request.call == "private_delete_order"):
        return "missing"
    if error.code == "-2026":
        return "forgotten"
    return "refused" if error.code in _REFUSED_AT_SPOT and error.status < 500 else "unknown"


def usdm_verdict(request: Request, error: Answer) -> Verdict:
    """What an error of USD-M says of its request; whatever is not known may have been carried out.

    Examples
    --------
    >>> usdm_verdict(Request("fapiprivate_post_order", {}), Answer(400, "-4116", "ClientOrderId is duplicated."))
    'known'
    """
    if (common := _verdict(error)) is not None:
        return common
    if error.code in (_HALTED_AT_USDM, _OTHER_MODE_AT_USDM):
        return "busy"
    if error.code == _DUPLICATE_AT_USDM:
        return "known"
    if error.code == "-2021" and "_post_" in request.call:
        return "reached"
    if error.code == "-2013" or (error.code == "-2011" and "_delete_" in request.call):
        return "missing"
    return "refused" if error.code in _REFUSED_AT_USDM and error.status < 500 else "unknown"


def _verdict(error: Answer) -> Verdict | None:
    """What an error says at each of them; ``None``: that depends."""
    if error.status in (418, 429) or error.code in ("-1003", "-1015"):
        return "wait"
    if error.code == "-1021":
        return "clock"
    return "busy" if error.code in _BUSY else None


def error_in(answer: object) -> tuple[str, str]:
    """The code and the text of an answer: of a replacement that was not carried out, of the part that says why.

    Examples
    --------
    >>> error_in({"code": -2013, "msg": "Order does not exist."}), error_in(None)
    (('-2013', 'Order does not exist.'), ('', ''))
    """
    if not isinstance(answer, dict):
        return "", ""
    part = _half_of(answer)
    return str(part.get("code", "")), str(part.get("msg", ""))


def _half_of(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    told = answer.get("data")
    if not (isinstance(told, dict) and "cancelResult" in told):
        return answer
    part = told.get("newOrderResponse") if told["cancelResult"] == "SUCCESS" else told.get("cancelResponse")
    return part if isinstance(part, dict) else answer


def banned_until(error: Answer, now: int) -> int:
    """Up to when (UTC ms) nothing may be asked after an error that says so."""
    banned = _BANNED_UNTIL.search(error.text)
    if banned is not None:
        return int(banned[1])
    return now + (_LEAST_WAIT_MS if error.retry_after is None else math.ceil(error.retry_after * 1000))


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """How many seconds the headers of an answer ask to wait; ``None``: they do not say.

    Examples
    --------
    >>> retry_after_of({"Retry-After": " 7 "}), retry_after_of({})
    (7.0, None)
    """
    after = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    return float(after) if after.isdecimal() else None
