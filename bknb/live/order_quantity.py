"""How much a live run trades per signal: a number, or what a function of the user's own says of each."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from ..domain.signal import OpenSignal, ScheduledSignal, SignalKey, key_of
from ..domain.text import named_error
from ..errors import UsageError

Signals: TypeAlias = Iterable[OpenSignal | ScheduledSignal]
Quantity: TypeAlias = float | Callable[[OpenSignal | ScheduledSignal], float | Awaitable[float]]


class Quantities:
    """How much is traded of each signal, in base currency.

    Parameters
    ----------
    quantity : float or callable
        For every signal the same, of one that has a ``size`` that part of it; or a function of the signal, whose answer
        is awaited where it is a coroutine.
    on_problem : callable
        Called with ``"broker"`` and a sentence where the function raises, or answers no quantity.

    Attributes
    ----------
    fixed
        Whether every signal has the same.

    Raises
    ------
    UsageError
        When the quantity is no number above 0.

    Examples
    --------
    >>> Quantities(0, on_problem=print)
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: a quantity is a number above 0 in base currency, not 0
    """

    def __init__(self, quantity: Quantity, *, on_problem: Callable[[str, str], object]) -> None:
        self._quantity: Quantity = quantity if callable(quantity) else _checked(quantity)
        self.fixed = not callable(quantity)
        self._on_problem = on_problem
        self._known: dict[SignalKey, float | str] = {}

    async def work_out(self, signals: Signals) -> None:
        """Ask about signals whose entry orders are about to be made, each once; the others are forgotten."""
        wanted = {key_of(signal): signal for signal in signals}
        self._known = {key: known for key, known in self._known.items() if key in wanted}
        for key, signal in wanted.items():
            if key not in self._known:
                self._known[key] = await self._asked(signal)

    def of(self, signal: OpenSignal | ScheduledSignal) -> float | str:
        """How much to trade, or why that is unknown, which was told; :meth:`work_out` has asked before."""
        if callable(self._quantity):
            return self._known[key_of(signal)]
        return self._quantity if signal.size is None else self._quantity * signal.size

    async def _asked(self, signal: OpenSignal | ScheduledSignal) -> float | str:
        assert callable(self._quantity)  # else nobody is asked  # noqa: S101
        try:
            answer = self._quantity(signal)
            return _checked(await answer if inspect.isawaitable(answer) else answer)
        except Exception as error:  # noqa: BLE001 -- whatever the user's function raises, the record goes on
            why = named_error(error)
            text = f"{signal.id!r} is not traded, only watched: its quantity could not be worked out: {why}"
            self._on_problem("broker", text)
            return why


def _checked(quantity: object) -> float:
    if isinstance(quantity, (int, float)) and not isinstance(quantity, bool) and 0 < quantity < math.inf:
        return float(quantity)
    raise UsageError(f"a quantity is a number above 0 in base currency, not {quantity!r}")
