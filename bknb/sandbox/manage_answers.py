"""Answers of ``manage`` on their way from the sandbox: plain values, of which they are made again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ..domain.manage_answers import Add, Cancel, Close, Move, PositionAnswer, Reduce
from ..domain.signal import Signal
from .process import ManageAnswer

_KINDS: Final[dict[str, type[PositionAnswer]]] = {
    kind.__name__: kind for kind in (Close, Reduce, Add, Move, Cancel, Signal)
}


def sent(answers: Iterable[PositionAnswer]) -> tuple[ManageAnswer, ...]:
    """Answers as plain values.

    Raises
    ------
    TypeError
        When one holds something that cannot be written.

    Examples
    --------
    >>> sent([Reduce(0.5), Move(price_stop_loss=None)])[1].values
    {'price_stop_loss': None, 'loosen': False}
    """
    return tuple(ManageAnswer(kind=type(one).__name__, values=msgspec.to_builtins(one)) for one in answers)


def received(answers: Iterable[ManageAnswer]) -> list[PositionAnswer]:
    """The answers again; whatever is none is left out.

    Examples
    --------
    >>> received(sent([Reduce(0.5), Move(price_take_profit=[(104.0, 0.5)])]))
    [Reduce(share=0.5, of='now', note=''), Move(price_take_profit=[(104.0, 0.5)], loosen=False)]
    """
    made: list[PositionAnswer] = []
    for one in answers:
        kind = _KINDS.get(one.kind)
        if kind is not None:
            values: dict[str, Any] = one.values
            try:
                made.append(msgspec.convert(values, kind))
            except msgspec.ValidationError:
                continue
    return made
