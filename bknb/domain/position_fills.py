"""The fills of a position: its entry, adds, partial closes and its exit."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

FillKind: TypeAlias = Literal["entry", "add", "reduce", "exit"]
DUST: Final = 1e-9
"""Of the first size: what is left below this is nothing."""


class Fill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fill of a position.

    Attributes
    ----------
    number
        The number of its order within the position: with the id of the signal it is the id of the order.
    kind
        ``"entry"``, ``"add"``, ``"reduce"`` or ``"exit"``.
    at
        Open time of the candle in which it filled (UTC ms).
    share
        How much was bought or sold, in units of the first size; the entry is 1.
    price
        Before slippage, in quote currency.
    reason
        Why a part or all was closed; empty for an entry and an add.
    rested
        Whether a resting order filled at its level: a limit of an add, a target. One that a candle opens beyond fills
        at that open, and has not. Whether an entry rested is told by its signal.
    note
        The note of the answer that ordered it.
    """

    number: int
    kind: FillKind
    at: int
    share: float
    price: float
    reason: str = ""
    rested: bool = False
    note: str = ""

    @property
    def enters(self) -> bool:
        """Whether it made the position larger."""
        return self.kind in ("entry", "add")
