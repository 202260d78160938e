"""``%share``, ``%verify`` and ``%doctor``: sharing a notebook, verifying a run card, checking the installation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import bknb

from ..session import Session
from .options_read_from_line import Call, Option
from .table import Magics

_NOTEBOOK: Final = Option(name="NOTEBOOK", help="the saved notebook; this one by default", kind="path")

MAGICS: Final = Magics()


@MAGICS.add(
    "%share",
    _NOTEBOOK,
    Option(name="--to", help="folder, or file ending in .zip; NAME-share by default", kind="path"),
    Option(name="--repository", help="OWNER/NAME on GitHub, for the launch link"),
    Option(name="--ref", help="branch or commit there; HEAD by default"),
    Option(name="--accept", help="fingerprint of a finding that is no secret"),
    Option(name="--no-check", help="do not run the copy", flag=True),
    twin='bknb.share("strategy.ipynb", "strategy-share")',
)
def share(_session: Session, call: Call) -> Any:
    """Makes a folder with which somebody else gets the same numbers, and runs that copy without a network."""
    given = {name: call.values[name] for name in ("repository", "ref") if name in call.values}
    accept = [mark.strip() for mark in str(call.get("accept")).split(",")] if call.get("accept") else []
    return bknb.share(_notebook(call), call.get("to"), accept=accept, check=not call.get("no_check"), **given)


def _notebook(call: Call) -> Path:
    given = call.get("notebook")
    if given is not None:
        return Path(str(given))
    name = os.environ.get("JPY_SESSION_NAME", "")  # Jupyter's server tells a kernel which notebook started it
    if Path(name).is_file() and name.endswith(".ipynb"):
        return Path(name)
    raise bknb.UsageError(
        "this front end does not say which notebook this is\nname the saved file: %share NOTEBOOK.ipynb"
    )


@MAGICS.add(
    "%verify",
    Option(name="CARD", help="file of %report --card --path, or a report in HTML", kind="path", required=True),
    twin='bknb.verify("card.json")',
)
def verify(_session: Session, call: Call) -> Any:
    """Runs a saved run card again, here and now, and says exactly what differs."""
    return bknb.verify(str(call.values["card"]))


@MAGICS.add(
    "%doctor",
    Option(name="--state", help="folder of saved state; ./dump/data by default", kind="path"),
    Option(name="--candles", help="folder of stored candles; ./dump/candles by default", kind="path"),
    Option(name="--offline", help="ask neither Ollama nor exchanges", flag=True),
    Option(name="--broker", help="exchange, or a broker in braces: its account is checked, in a sandbox by default"),
    Option(name="--market", help="spot, or swap; spot by default"),
    Option(name="--symbol", help="on which market orders are tried out; BTC/USDT by default"),
    Option(name="--real-money", help="the account with real money; no order is placed", flag=True),
    Option(name="--test-order", help="place the smallest order there all the same", flag=True),
    twin='bknb.doctor(broker="binance")',
)
def doctor(_session: Session, call: Call) -> Any:
    """Says what works here, what does not, and what to do about it."""
    given: dict[str, Any] = {name: str(call.values[name]) for name in ("state", "candles") if name in call.values}
    given |= {name: call.values[name] for name in ("broker", "market", "symbol") if name in call.values}
    test_order = True if call.get("test_order") else None
    return bknb.doctor(
        network=not call.get("offline"), real_money=bool(call.get("real_money")), test_order=test_order, **given
    )
