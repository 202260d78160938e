"""Search for secrets in shared notebooks: keys, tokens, passwords, private keys, and the values of a ``.env`` file.

Found are texts in the format of known keys, and long random-looking texts beside a name such as ``api_key``. A
finding shows its place and a fingerprint, never the secret.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError

_SHAPES: Final = tuple(
    (what, re.compile(shape))
    for what, shape in (
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----"),
        ("an AWS access key", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
        ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})"),
        ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
        ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("a Google API key", r"\bAIza[0-9A-Za-z_-]{35}"),
        ("a key of a model provider", r"\bsk-(?:ant-|proj-|or-v1-)?[A-Za-z0-9_-]{20,}"),
        ("a Stripe key", r"\b[rs]k_live_[A-Za-z0-9]{16,}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,}"),
        ("a PyPI token", r"\bpypi-[A-Za-z0-9_-]{50,}"),
        ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a Telegram bot token", r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{32,33}\b"),
        ("a signed web token", r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
        ("an authorization header", r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/_.=-]{20,}"),
        ("a password in an address", r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]+:[^\s/@'\"{}$]{3,}@[^\s'\"]+"),
    )
)
_NAMED: Final = re.compile(
    r"""(?ix)
    (?P<name>[\w-]*(?:api[_-]?key|apikey|secret|token|passw(?:or)?d|passphrase|private[_-]?key|access[_-]?key
        |credential|auth[_-]?key)[\w-]*)
    ["']? \s* (?::\s*\w+\s*)? (?:=|:|,|=>) \s* (?:[rbuf]{0,2})
    (?P<quote>["']{1}) (?P<value>[^"'\n]{8,}) (?P=quote)
    """
)
_BARE: Final = re.compile(  # NAME=value of a shell, %env NAME=value, NAME: value
    r"""(?ixm)
    ^\s*(?:%env\s+|%set_env\s+|!?\s*export\s+|set\s+)?
    (?P<name>[A-Z][A-Z0-9_]*(?:KEY|SECRET|TOKEN|PASSWORD|PASSPHRASE)[A-Z0-9_]*)
    \s*[=\s]\s*(?P<value>[^\s"'$(){}]{12,})\s*$
    """
)
_HARMLESS: Final = re.compile(
    r"(?i)^(?:your|my|the|a|an|example|test|dummy|fake|changeme|xxx+|\*+|<.*>|\{.*\}|\$.*)|[\s/]"
)
_KEY_LIKE: Final = re.compile(r"(?i)key|secret|token|passw|passphrase|credential")
_ENTROPY: Final = 3.0  # bits per character; English words in snake case are below
_SHORTEST_VALUE: Final = 8


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that was found.

    Attributes
    ----------
    place : str
        ``"cell [3], line 2"``, ``"output of cell [3]"``, ``"helpers.py, line 4"``.
    what : str
        What it looks like.
    fingerprint : str
        Eight hexadecimal digits, to accept it when it is no secret.
    """

    place: str
    what: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} [{self.fingerprint}]"


def entropy(text: str) -> float:
    """Shannon entropy of the characters of a text, in bits per character.

    Examples
    --------
    >>> entropy("aaaa"), entropy("abcd")
    (0.0, 2.0)
    """
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values()) + 0.0 if total else 0.0


def find_secrets(text: str, place: str, *, known: Mapping[str, str] | None = None) -> list[Secret]:
    r"""Secrets in a text, line by line.

    Parameters
    ----------
    text
    place
        What to call the text in a finding.
    known
        Values that are secret by name, such as those of a ``.env`` file: value to where it comes from.

    Examples
    --------
    >>> [str(secret) for secret in find_secrets("x = 1\napi_key = 'Zx9Qm2Lp7Rt4Vw8Ky3Nd'", "cell [1]")]
    ['cell [1], line 2: a value of api_key [17a43e7f]']
    """
    found: dict[tuple[int, str], Secret] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        for what, value in _in_line(line, known or {}):
            mark = hashlib.sha256(value.encode()).hexdigest()[:8]
            found.setdefault((number, mark), Secret(f"{place}, line {number}", what, mark))
    return list(found.values())


def _in_line(line: str, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for what, shape in _SHAPES:
        for match in shape.finditer(line):
            yield what, match[0]
    for pattern in (_NAMED, _BARE):
        for match in pattern.finditer(line):
            value = match["value"]
            if not _HARMLESS.search(value) and (entropy(value) >= _ENTROPY or len(value) >= 32):
                yield f"a value of {match['name']}", value
    for value, origin in known.items():
        if value in line:
            yield f"the value of {origin}", value


def known_values(env_text: str, *, origin: str) -> dict[str, str]:
    r"""The values of a ``.env`` file that are long enough to be looked for.

    Examples
    --------
    >>> known_values("# mine\nexport KEY='abcdefgh'\nPORT=80", origin=".env")
    {'abcdefgh': 'KEY in .env'}
    """
    found = {}
    for line in env_text.splitlines():
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip().strip("'\"")
        if sign and not name.startswith("#") and len(value) >= _SHORTEST_VALUE:
            found[value] = f"{name.strip()} in {origin}"
    return found


def secret_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Values of environment variables whose name is that of a key, to their origin."""
    return {
        value: f"the environment variable {name}"
        for name, value in environment.items()
        if _KEY_LIKE.search(name) and len(value) >= _SHORTEST_VALUE and not value.startswith(("/", "http"))
    }


def notebook_texts(notebook: Any) -> Iterator[tuple[str, str]]:
    """Every visible text of a notebook, with its place."""
    number = 0
    for position, cell in enumerate(notebook.cells, start=1):
        number += cell.cell_type == "code"
        name = f"cell [{number}]" if cell.cell_type == "code" else f"text cell {position}"
        yield name, cell.source
        for output in cell.get("outputs", ()):
            for text in _output_texts(output):
                yield f"output of {name}", text


def _output_texts(output: Any) -> Iterable[str]:
    yield output.get("text", "") or ""
    yield "\n".join(output.get("traceback", ()))
    for mime, data in output.get("data", {}).items():
        if mime.startswith("text/") or mime.endswith("json"):
            yield data if isinstance(data, str) else _strings(data)


def _strings(data: Any) -> str:
    """The texts inside JSON, each on a line of its own, without packed numbers."""
    if isinstance(data, str):
        return data
    if isinstance(data, Mapping):
        return "\n".join(
            f'{key}: "{_strings(value)}"' if isinstance(value, str) else _strings(value)
            for key, value in data.items()
            if key not in ("bdata", "image")
        )
    if isinstance(data, list):
        return "\n".join(_strings(value) for value in data if not isinstance(value, (int, float)))
    return ""


class Guard:
    """A check for secrets that raises UsageError when it finds one."""

    def __init__(self, folder: Path, accepted: frozenset[str]) -> None:
        self._accepted = accepted
        self._known = secret_variables(os.environ)
        for file in {*folder.glob(".env*"), *folder.parent.glob(".env*"), *Path.cwd().glob(".env*")}:
            if file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace")
                self._known.update(known_values(text, origin=file.name))

    def check(self, texts: Iterator[tuple[str, str]]) -> None:
        """Refuse when any text holds a secret.

        Raises
        ------
        UsageError
            With every place.
        """
        found: dict[str, Secret] = {}
        for place, text in texts:
            for secret in find_secrets(text, place, known=self._known):
                if secret.fingerprint not in self._accepted:
                    found.setdefault(str(secret), secret)
        if not found:
            return
        marks = " ".join(dict.fromkeys(f"--accept {secret.fingerprint}" for secret in found.values()))
        raise UsageError(
            f"not shared, there may be secrets in it: {'; '.join(found)}\n"
            "read them from the environment, clear the output, and replace the key: it was in a file\n"
            f"if they are no secrets: {marks}"
        )
