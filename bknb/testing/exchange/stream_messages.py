"""What the user streams of Binance say of an order, as it is now, and of its newest fill."""

from __future__ import annotations

from typing import Any

from .amounts import eight, plain
from .binance_answers import status_of
from .binance_usdm_answers import algo_status
from .orders import Fill, Order

_EXECUTION = {"cancelled": "CANCELED", "expired": "EXPIRED", "rejected": "REJECTED"}


def _execution(order: Order, fill: Fill | None) -> str:
    return "TRADE" if fill is not None else _EXECUTION.get(order.status, "NEW")


def execution_report(order: Order, fill: Fill | None, now: int) -> dict[str, Any]:
    """``executionReport`` of the spot exchange."""
    return {
        "e": "executionReport",
        "E": now,
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side.upper(),
        "o": order.word,
        "f": order.time_in_force,
        "q": eight(order.quantity),
        "p": eight(order.price),
        "P": eight(order.trigger),
        "F": "0.00000000",
        "g": order.pair if order.pair is not None else -1,
        "C": "",
        "x": _execution(order, fill),
        "X": status_of(order),
        "r": "NONE",
        "i": order.number,
        "l": eight(fill.quantity if fill else None),
        "z": eight(order.filled),
        "L": eight(fill.price if fill else None),
        "n": eight(fill.fee) if fill else "0",
        "N": fill.fee_currency if fill else None,
        "T": order.updated,
        "t": fill.number if fill else -1,
        "w": order.status == "working",
        "m": bool(fill and fill.maker),
        "M": False,
        "O": order.created,
        "Z": eight(order.cost),
        "Y": eight(fill.cost if fill else None),
        "Q": "0.00000000",
    }


def order_trade_update(order: Order, fill: Fill | None, parent: Order | None, now: int) -> dict[str, Any]:
    """``ORDER_TRADE_UPDATE`` of the futures exchange."""
    told: dict[str, Any] = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side.upper(),
        "o": order.word,
        "f": order.time_in_force,
        "q": plain(order.quantity),
        "p": plain(order.price),
        "ap": plain(order.average),
        "sp": plain(None if parent is None else parent.trigger),
        "x": _execution(order, fill),
        "X": status_of(order),
        "i": order.number,
        "l": plain(fill.quantity if fill else None),
        "z": plain(order.filled),
        "L": plain(fill.price if fill else None),
        "T": order.updated,
        "t": fill.number if fill else 0,
        "b": "0",
        "a": "0",
        "m": bool(fill and fill.maker),
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.word if parent is None else parent.word,
        "ps": "BOTH",
        "cp": False,
        "rp": plain(fill.profit if fill else None),
    }
    if fill is not None:
        told |= {"N": fill.fee_currency, "n": plain(fill.fee)}
    return {"e": "ORDER_TRADE_UPDATE", "E": now, "T": order.updated, "o": told}


def algo_update(order: Order, child: Order | None, now: int) -> dict[str, Any]:
    """``ALGO_UPDATE`` of the futures exchange."""
    told = {
        "caid": order.client_id,
        "aid": order.number,
        "at": "CONDITIONAL",
        "o": order.word,
        "s": order.symbol,
        "S": order.side.upper(),
        "ps": "BOTH",
        "f": order.time_in_force,
        "q": plain(order.quantity),
        "X": algo_status(order, child, now),
        "ai": "" if child is None else str(child.number),
        "ap": plain(None if child is None else child.average),
        "aq": plain(None if child is None else child.filled),
        "act": "0" if child is None else child.word,
        "tp": plain(order.trigger),
        "p": plain(order.price),
        "wt": "CONTRACT_PRICE",
        "cp": False,
        "pP": False,
        "R": order.reduce_only,
        "tt": 0 if child is None else child.created,
        "rm": "Reduce Only reject" if order.status == "rejected" else "",
    }
    return {"e": "ALGO_UPDATE", "T": order.updated, "E": now, "o": told}
