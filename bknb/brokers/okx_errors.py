"""What OKX's error codes say of a request; those of one order stand inside answers with status 200."""

from __future__ import annotations

from typing import Final

from .exchange_profile import Answer, Request, Verdict

_UNKNOWN: Final = frozenset({"50000", "50001", "50004", "50005", "50013", "50026", "51054", "51149"})
"""Time-outs, busy systems, services that are not there, and whatever does not say whether something happened."""
_WAIT: Final = frozenset({"50011", "50040", "50061"})
_KEY: Final = frozenset({"50100", "50105", "50110", "50111", "50119", "50120"})
"""The key is frozen, refused or may not trade, or its address is not allowed: until somebody sets that right."""
_HALTED: Final = "51027"
"""The market is closed, and opens again."""
_REACHED: Final = frozenset({"51277", "51278", "51279", "51280"})
_NOT_TO_CANCEL: Final = frozenset({"51400", "51401", "51402", "51405", "51410", "51603"})


def error_in(answer: object) -> tuple[str, str]:
    """The code and the text of an answer: of the order it is about, where that was refused.

    Examples
    --------
    >>> error_in({"code": "1", "msg": "", "data": [{"sCode": "51008", "sMsg": "Insufficient balance"}]})
    ('51008', 'Insufficient balance')
    >>> error_in({"code": "50011", "msg": "Too Many Requests", "data": []}), error_in(None)
    (('50011', 'Too Many Requests'), ('', ''))
    """
    if not isinstance(answer, dict):
        return "", ""
    rows = answer.get("data")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    if row.get("sCode") not in (None, "", "0"):
        return str(row["sCode"]), str(row.get("sMsg", ""))
    return str(answer.get("code", "")), str(answer.get("msg", ""))


def verdict_of(request: Request, error: Answer) -> Verdict:
    """What an error says of its request; whatever is not known may have been carried out.

    Examples
    --------
    >>> verdict_of(Request("private_post_trade_order", {}), Answer(200, "51016", ""))
    'known'
    """
    code = error.code
    if code in _WAIT or (error.status == 429 and code not in _UNKNOWN):
        return "wait"
    if code == "50102":
        return "clock"
    if code == "51016":
        return "known"
    if code in _REACHED and "trade" in request.call:
        return "reached"
    if code in _KEY or code == _HALTED or (code == "51000" and "posSide" in error.text):
        return "busy"  # or positions are kept otherwise now, until somebody sets that back
    if code == "51603" or (code in _NOT_TO_CANCEL and "cancel" in request.call):
        return "missing"
    if code in _UNKNOWN or error.status >= 500:
        return "unknown"
    return "refused" if _is_refusal(code) else "unknown"


def _is_refusal(code: str) -> bool:
    """Codes of parameters, keys and permissions (50014, 501..), of orders (51...) and of settings (59...)."""
    if len(code) != 5 or not code.isdecimal():
        return False
    return code in ("50014", "50002", "50006", "50010") or code.startswith(("501", "51", "59"))
