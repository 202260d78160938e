"""Typed values read from a model's reply, and the objections to a reply that does not fit."""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Objection(msgspec.Struct, frozen=True, kw_only=True):
    """One reason why a reply was refused.

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


def _strict(node: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references (not every server resolves them), every property required and no other allowed."""
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
    >>> class Verdict(msgspec.Struct):
    ...     buy: bool
    ...     price: float
    >>> schema_of(Verdict)["properties"]["price"], schema_of(Verdict)["required"]
    ({'type': 'number'}, ['buy', 'price'])
    """
    (top,), definitions = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    made: dict[str, Any] = _strict(top, definitions)
    return made


LONGEST_REPLY: Final = 100_000


def without_thinking(text: str) -> str:
    """The reply without the thinking that some models write in front of it."""
    for tag in ("</think>", "</thinking>"):
        text = text.rpartition(tag)[2]
    return text.strip()


def code_blocks(text: str) -> tuple[list[tuple[str, str]], str]:
    """Code blocks of a Markdown text as ``(language, code)``, and the text around them."""
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
    """Candidate places of the JSON: the whole text, a fenced block, from the first brace to the last."""
    found = [text, *(body for language, body in code_blocks(text)[0] if language in ("", "json"))]
    first, last = text.find("{"), text.rfind("}")
    if 0 <= first < last:
        found.append(text[first : last + 1])
    return [each.strip() for each in found]


def unfenced(code: str) -> str:
    r"""The code without Markdown fences; of several blocks the one that defines ``get_signal``.

    Examples
    --------
    >>> unfenced("Here you are:\n```python\nx = 1\n```\nGood luck!")
    'x = 1'
    """
    if "```" not in code:
        return code.strip("\n")
    blocks = [body for _, body in code_blocks(code)[0]]
    chosen = next((body for body in blocks if "def get_signal" in body), blocks[0] if blocks else code)
    return chosen.strip("\n").rstrip()


def read(text: str, kind: type[Any]) -> Any:
    """The reply decoded as ``kind``, or an :class:`Objection` with the reason why it cannot be."""
    if len(text) > LONGEST_REPLY:
        return Objection(code="size", text=f"the answer has {len(text):,} characters; at most {LONGEST_REPLY:,} may be")
    text = without_thinking(text)
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
