"""Search for secrets in what is shared: every rule on every reading of every text; a finding never shows the secret.

The rules are in ``secret_rules``, the readings of a text in ``secret_views``, the kinds of files in ``searched_files``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import UsageError
from . import searched_files
from .git_history import history_of
from .searched_files import Unreadable, notebook_texts
from .secret_rules import RULES, entropy
from .secret_views import readings

__all__ = ["Guard", "Secret", "entropy", "find_secrets", "known_values", "notebook_texts", "secret_variables"]

_KEY_LIKE: Final = re.compile(r"(?i)key|secret|token|passw|passphrase|credential|mnemonic|seed")
_ADDRESS: Final = re.compile(r"BKNB_\w*URL")
_SHORTEST_VALUE: Final = 8
_STANDS_FOR_ANOTHER: Final = re.compile(
    r"(?i)<[\w .-]*>|\$?\{{1,2}[\w .-]*\}{1,2}|change[-_ ]?me|placeholder|redacted|x{3,}|\*+|\.+"
)
"""No other signs are in brackets: what holds quotes or colons may be credentials in JSON."""
_MOST_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret that was found.

    Attributes
    ----------
    place : str
        ``"cell [3], line 2"``, ``"output of cell [3], line 1"``, ``"helpers.py, line 4"``.
    what : str
        What it looks like, or why it cannot be scanned.
    fingerprint : str
        Eight hexadecimal digits, to accept it when it is no secret.
    """

    place: str
    what: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what} [{self.fingerprint}]"


def find_secrets(text: str, place: str, *, known: Mapping[str, str] | None = None) -> list[Secret]:
    r"""Secrets in a text, in the order of its lines.

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
    found: dict[str, tuple[int, str]] = {}
    for reading in readings(text):
        for what, value, start in _in_reading(reading, known or {}):
            if value not in found:
                found[value] = _line(text, reading, value, start), what
    whole = [value for value in found if not any(value != other and value in other for other in found)]
    return [
        Secret(f"{place}, line {found[value][0]}", found[value][1], _mark(value))
        for value in sorted(whole, key=lambda value: found[value][0])
    ]


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def _in_reading(reading: str, known: Mapping[str, str]) -> Iterator[tuple[str, str, int]]:
    for value, origin in known.items():
        start = reading.find(value)
        if start >= 0:
            yield f"the value of {origin}", value, start
    for rule in RULES.values():
        yield from rule(reading)


def _line(text: str, reading: str, value: str, start: int) -> int:
    """The line of a value in the text itself, as near as it can be told from another reading of it."""
    at = start if reading is text else -1
    for length in (len(value), 12, 8, 6):
        at = text.find(value[:length]) if at < 0 else at
    return text.count("\n", 0, max(at, 0)) + 1


def known_values(env_text: str, *, origin: str) -> dict[str, str]:
    r"""The values of a ``.env`` file that are long enough to be looked for, and stand for no other: ``<your key>``.

    Examples
    --------
    >>> known_values("# mine\nexport KEY='abcdefgh'\nPORT=80\nSECRET=<your secret>", origin=".env")
    {'abcdefgh': 'KEY in .env'}
    """
    found = {}
    for line in env_text.splitlines():
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        value = value.strip().strip("'\"")
        if _STANDS_FOR_ANOTHER.fullmatch(value):
            continue
        if sign and not name.startswith("#") and len(value) >= _SHORTEST_VALUE:
            found[value] = f"{name.strip()} in {origin}"
    return found


def secret_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Values of environment variables whose name is that of a key, or of an address that is one, to their origin.

    Examples
    --------
    >>> secret_variables({"BKNB_PING_URL": "https://hc.example.com/planted", "DOCS_URL": "https://example.com/docs"})
    {'https://hc.example.com/planted': 'the environment variable BKNB_PING_URL'}
    """
    return {
        value: f"the environment variable {name}"
        for name, value in environment.items()
        if len(value) >= _SHORTEST_VALUE
        and (_ADDRESS.fullmatch(name) or (_KEY_LIKE.search(name) and not value.startswith(("/", "http"))))
    }


class Guard:
    """A check for secrets that raises UsageError when it finds one, or finds what it cannot read."""

    def __init__(self, folder: Path, accepted: frozenset[str]) -> None:
        self._accepted = accepted
        self._known = secret_variables(os.environ)
        for file in {*folder.glob(".env*"), *folder.parent.glob(".env*"), *Path.cwd().glob(".env*")}:
            if file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace")
                self._known.update(known_values(text, origin=file.name))

    def check(self, texts: Iterable[tuple[str, str]]) -> None:
        """Refuse when any text holds a secret.

        Raises
        ------
        UsageError
            With every place.
        """
        self._refuse(secret for place, text in texts for secret in self._secrets(text, place))

    def check_file(self, path: Path, name: str, *, limit: int = searched_files.LARGEST) -> None:
        """Refuse a file of any kind that holds a secret, is too large to scan, or cannot be read.

        Raises
        ------
        UsageError
            With every place, or the reason.
        """
        self._refuse(self._in_file(path, name, limit))

    def check_history(self, folder: Path) -> None:
        """Refuse when an earlier version of a file of the folder, in its git repository, holds a secret.

        Raises
        ------
        UsageError
            With every place, or the reason why the history cannot be scanned.
        """
        self._refuse(self._in_history(folder))

    def _secrets(self, text: str, place: str) -> list[Secret]:
        return find_secrets(text, place, known=self._known)

    def _in_file(self, path: Path, name: str, limit: int) -> Iterator[Secret]:
        try:
            for place, text in searched_files.texts_of_file(path, name, limit=limit):
                yield from self._secrets(text, place)
        except Unreadable as reason:
            size = path.stat().st_size
            yield _unreadable(name, str(reason), f"{name} {size}")

    def _in_history(self, folder: Path) -> Iterator[Secret]:
        try:
            for place, content in history_of(folder):
                try:
                    name = place.rpartition(" (")[0] or place
                    for inner, text in searched_files.texts_of_bytes(content, name):
                        yield from self._secrets(text, inner if inner != name else place)
                except Unreadable as reason:
                    yield _unreadable(place, str(reason), place)
        except Unreadable as reason:
            yield _unreadable(str(folder), str(reason), str(folder))

    def _refuse(self, secrets: Iterable[Secret]) -> None:
        found: dict[str, Secret] = {}
        for secret in secrets:
            if secret.fingerprint not in self._accepted:
                found.setdefault(secret.fingerprint, secret)
        if not found:
            return
        shown = [str(secret) for secret in found.values()][:_MOST_SHOWN]
        more = f"; and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        marks = " ".join(f"--accept {secret.fingerprint}" for secret in found.values())
        raise UsageError(
            f"not shared, there may be secrets in it: {'; '.join(shown)}{more}\n"
            "read them from the environment, clear the output, and replace the key: it was in a file\n"
            f"if they are no secrets: {marks}"
        )


def _unreadable(name: str, reason: str, identity: str) -> Secret:
    return Secret(name, f"not scanned, as {reason}", _mark(identity))
