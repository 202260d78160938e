"""What a model must answer: one definition gives the JSON Schema it is held to and the reading of what it sent."""

from __future__ import annotations

from typing import Any, Final, Literal, TypeAlias

import msgspec

Interval: TypeAlias = Literal["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a reply was not taken.

    Parameters
    ----------
    code
        A short word for tables, such as ``"import"``.
    text
        The reason as a sentence for people and models.
    line
        The line of the code; ``None`` where it concerns the whole.
    """

    code: str
    text: str
    line: int | None = None

    def __str__(self) -> str:
        return self.text if self.line is None else f"line {self.line}: {self.text}"


# Lengths are checked after reading. In the schema they would make the grammars of some servers explode.
LONGEST_RATIONALE: Final = 4_000
LONGEST_TITLE: Final = 80
MOST_PARAMETERS: Final = 12


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One number of a strategy: a constant at the top of the code."""

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


def _strict(node: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references, in which nothing may be left out or added: not every server follows references."""
    if isinstance(node, list):
        return [_strict(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _strict(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    made = {key: _strict(value, definitions) for key, value in node.items() if key not in ("title", "description")}
    if node.get("type") == "object":
        properties = {key: _strict(value, definitions) for key, value in node.get("properties", {}).items()}
        made |= {"properties": properties, "required": list(properties), "additionalProperties": False}
    return made


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON Schema of a struct, flat and strict.

    Examples
    --------
    >>> schema_of(Parameter)["properties"]["value"], schema_of(Reply)["required"]
    ({'type': 'number'}, ['title', 'rationale', 'interval', 'parameters', 'code'])
    """
    (top,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    made: dict[str, Any] = _strict(top, definitions)
    return made


LONGEST_REPLY: Final = 100_000

# No regular expressions here: on a text that somebody else has written they could be made to run for hours.


def _without_thinking(text: str) -> str:
    """The answer alone; some models write what they think in front of it."""
    for tag in ("</think>", "</thinking>"):
        text = text.rpartition(tag)[2]
    return text.strip()


def _blocks(text: str) -> tuple[list[tuple[str, str]], str]:
    """The blocks of code in a Markdown text, each with its language, and the words around them."""
    blocks: list[tuple[str, str]] = []
    words: list[str] = []
    language = ""
    inside: list[str] | None = None
    for line in text.splitlines():
        if not line.lstrip().startswith("```"):
            (words if inside is None else inside).append(line)
        elif inside is None:
            language, inside = line.strip().strip("`").strip().lower(), []
        else:
            blocks.append((language, "\n".join(inside)))
            inside = None
    if inside is not None:
        blocks.append((language, "\n".join(inside)))
    return blocks, "\n".join(words).strip()


def _texts(text: str) -> list[str]:
    """Where the JSON may be: the whole, inside a fence, from the first brace to the last."""
    found = [text, *(body for language, body in _blocks(text)[0] if language in ("", "json"))]
    first, last = text.find("{"), text.rfind("}")
    if 0 <= first < last:
        found.append(text[first : last + 1])
    return [each.strip() for each in found]


def unfenced(code: str) -> str:
    r"""Code without the Markdown around it; of several blocks the one that defines ``get_signal``.

    Examples
    --------
    >>> unfenced("Here you are:\n```python\nx = 1\n```\nGood luck!")
    'x = 1'
    """
    if "```" not in code:
        return code.strip("\n")
    blocks = [body for _, body in _blocks(code)[0]]
    chosen = next((body for body in blocks if "def get_signal" in body), blocks[0] if blocks else code)
    return chosen.strip("\n").rstrip()


def read(text: str, kind: type[Any]) -> Any:
    """What a model sent as a ``kind``, or an :class:`Objection` that says what is wrong with it."""
    if len(text) > LONGEST_REPLY:
        return Objection(code="size", text=f"the answer has {len(text):,} characters; at most {LONGEST_REPLY:,} may be")
    text = _without_thinking(text)
    if not text:
        return Objection(code="empty", text="the answer is empty; expected one JSON object")
    problem = ""
    for candidate in _texts(text):
        try:
            return msgspec.json.decode(candidate.encode("utf-8", "replace"), type=kind, strict=False)
        except msgspec.ValidationError as error:
            problem = problem or f"the JSON does not have the fields that were asked for: {error}"
        except (msgspec.DecodeError, RecursionError) as error:
            last = f"the answer is not JSON ({error}); expected one JSON object and nothing around it"
    return Objection(code="json", text=problem or last)


def read_reply(text: str) -> Reply | list[Objection]:
    """A model's answer as a :class:`Reply`, or every reason why it is none.

    Markdown around the JSON or around the code is taken off. An answer that is nothing but a block of Python is
    taken as code without a rationale.

    Examples
    --------
    >>> read_reply("I would buy low and sell high.")[0].code
    'json'
    """
    reply = read(text, Reply)
    if isinstance(reply, Objection):
        bare = _without_thinking(text)
        if reply.code == "json" and "def get_signal" in unfenced(bare) and "```" in bare:
            words = _blocks(bare)[1][:LONGEST_RATIONALE]
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
