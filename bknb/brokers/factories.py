"""Brokers made with one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .paper_broker import PaperBroker, Script, TroubleKind


def paper(
    *,
    journal: str | Path | None = None,
    script: Script | None = None,
    rates: Mapping[TroubleKind, float] | None = None,
    seed: int = 0,
    price_of: Callable[[str], float] | None = None,
) -> PaperBroker:
    """A paper broker: fills orders by candles, as ``pessimistic`` does, and simulates the failures it is given.

    Parameters
    ----------
    journal : str or Path, optional
        A file in which its orders survive restarts; without one they end with the process.
    script : mapping or callable, optional
        Trouble call by call, such as ``{"place": [None, Trouble(kind="lost_reply")]}`` for the second order.
    rates : mapping, optional
        Trouble by chance, such as ``{"lost_reply": 0.05}``; repeated exactly by the same ``seed``.
    seed : int
        For ``rates``.
    price_of : callable, optional
        The price of a symbol now (quote currency): market orders, and limit orders that it has passed, fill at once at
        it. By default orders are filled by the candles of the run.

    Raises
    ------
    UsageError
        When trouble is given in both ways, or for a call a broker does not have.

    Examples
    --------
    >>> broker = paper(rates={"lost_reply": 0.1, "refuse": 0.05}, seed=7)
    >>> broker.position("BTCUSDT")
    0.0
    """
    return PaperBroker(journal=journal, script=script, rates=rates, seed=seed, price_of=price_of)
