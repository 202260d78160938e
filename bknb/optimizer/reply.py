"""The reply of a model: one definition gives its JSON Schema and its decoder."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

import msgspec

from ..domain.interval import interval_ms
from ..llm.structured import Objection, code_blocks, read, unfenced, without_thinking

Interval: TypeAlias = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]


def intervals_of(base: str) -> tuple[str, ...]:
    """The intervals that a rule may be asked at over base bars of a length.

    Examples
    --------
    >>> intervals_of("4h")
    ('4h', '8h', '12h', '1d')
    """
    return tuple(one for one in get_args(Interval) if interval_ms(one) % interval_ms(base) == 0)


# Lengths are checked after reading. In the schema they would make the grammars of some servers explode.
LONGEST_RATIONALE: Final = 4_000
MOST_PARAMETERS: Final = 12


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A number of a strategy: a constant at the top of the code."""

    name: str
    value: float
    meaning: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A proposed strategy, as a model has to write it."""

    title: str
    rationale: str
    interval: Interval
    parameters: list[Parameter]
    code: str


# No regular expressions here: on a text that somebody else has written they could be made to run for hours.


def read_reply(text: str) -> Reply | list[Objection]:
    """Return a model's answer as a :class:`Reply`, or the objections to it.

    Markdown around the JSON or around the code is taken off. An answer that is nothing but a block of Python is
    taken as code without a rationale.

    Examples
    --------
    >>> read_reply("I would buy low and sell high.")[0].code
    'json'
    """
    reply = read(text, Reply)
    if isinstance(reply, Objection):
        bare = without_thinking(text)
        code = unfenced(bare).lstrip()
        is_code = "def get_signal" in code and "```" in bare and not code.startswith("{")  # that is JSON, cut off
        if reply.code == "json" and is_code:
            words = code_blocks(bare)[1][:LONGEST_RATIONALE]
            reply = Reply(title="", rationale=words, interval="15m", parameters=[], code=bare)
        else:
            return [reply]
    found = _too_long(reply)
    if found:
        return found
    taken: Reply = msgspec.structs.replace(reply, code=unfenced(reply.code))
    return taken


def _too_long(reply: Reply) -> list[Objection]:
    found = []
    if len(reply.rationale) > LONGEST_RATIONALE:
        found.append(
            Objection(
                code="size",
                text=f"the rationale has {len(reply.rationale):,} characters; at most {LONGEST_RATIONALE:,} may be",
            )
        )
    if len(reply.parameters) > MOST_PARAMETERS:
        found.append(
            Objection(
                code="size",
                text=f"{len(reply.parameters)} parameters can fit anything; at most {MOST_PARAMETERS} are allowed",
            )
        )
    if not reply.code.strip():
        found.append(Objection(code="empty", text="the field code is empty; expected Python with def get_signal(ctx)"))
    return found
