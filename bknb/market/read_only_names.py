"""What is told where a strategy assigns to a name of its context."""

from __future__ import annotations

from ..errors import UsageError


def refuse_assigned(context: object, name: str, value: object) -> None:
    """Refuse what is assigned to a name of a context, with what to write; ``ctx.memo |= {...}`` has been carried out.

    Raises
    ------
    UsageError

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> refuse_assigned(SimpleNamespace(memo={}), "memo", {"losses": 2})
    Traceback (most recent call last):
    ...
    bknb.errors.UsageError: ctx.memo is the memo itself, and is written into: got ctx.memo = ...
    write ctx.memo["losses"] = 2 or ctx.memo.update(losses=2); ctx.memo.clear() empties it
    """
    if name == "memo":
        if value is getattr(context, name):  # where there is none it is told
            return
        raise UsageError(
            "ctx.memo is the memo itself, and is written into: got ctx.memo = ...\n"
            'write ctx.memo["losses"] = 2 or ctx.memo.update(losses=2); ctx.memo.clear() empties it'
        )
    raise UsageError(
        f"ctx is what a strategy is told, and not written to: got ctx.{name} = ...\n"
        f"what is to be known at the next question belongs in the memo: ctx.memo[{name!r}] = ..."
    )
