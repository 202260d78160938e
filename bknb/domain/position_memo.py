"""The memo of a position: a mapping that is read, and not written to."""

from __future__ import annotations

from typing import Any, NoReturn

import msgspec

from ..errors import UsageError


class PositionMemo(dict[str, Any]):
    """What a signal, or the last ``Move``, brought; who writes to it is told what to do.

    Examples
    --------
    >>> memo = PositionMemo({"step": 1})
    >>> memo["step"], memo == {"step": 1}
    (1, True)
    >>> memo["step"] = 2
    Traceback (most recent call last):
    ...
    bknb.errors.UsageError: position.memo is what its signal, or the last Move, brought, and is not written to
    answer with bknb.Move(memo={**position.memo, "step": 2}), or keep it for the strategy: ctx.memo["step"] = 2
    """

    def __reduce__(self) -> tuple[type[PositionMemo], tuple[dict[str, Any]]]:
        return PositionMemo, (dict(self),)


def position_memo(text: str) -> PositionMemo:
    """A memo from its JSON; an empty one where there is no text."""
    return PositionMemo(msgspec.json.decode(text)) if text else PositionMemo()


def _refuse(*_: object, **__: object) -> NoReturn:
    raise UsageError(
        "position.memo is what its signal, or the last Move, brought, and is not written to\n"
        'answer with bknb.Move(memo={**position.memo, "step": 2}), or keep it for the strategy: ctx.memo["step"] = 2'
    )


for _name in ("__setitem__", "__delitem__", "__ior__", "update", "setdefault", "pop", "popitem", "clear"):
    setattr(PositionMemo, _name, _refuse)
