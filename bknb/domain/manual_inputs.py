"""What somebody decides by hand about a run, beside what ``manage`` could answer: inputs of the lifecycle."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from .manage_answers import Move

Source: TypeAlias = Literal["strategy", "manual", "together"]
"""Who decided; ``"together"``: another leg of weights that are held together ended, or was refused."""


class Planned(NamedTuple):
    """A move within a minute: it waits until the moment ``due`` (UTC ms), the first at which it can be in force."""

    move: Move
    due: int


class Activate(NamedTuple):
    """What waits is opened at the market of the moment ``when`` (UTC ms), at which ``price`` is the average.

    Of several entries the one of an ``id``: the others are taken back.
    """

    when: int
    price: float
    id: str | None = None
