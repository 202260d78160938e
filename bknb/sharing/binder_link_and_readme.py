"""The link that opens a shared notebook on Binder, with its repository on GitHub, and the README around it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ..errors import UsageError

if TYPE_CHECKING:
    from ..exchanges.candle_bundle import CandleFile

_SITE: Final = r"(?:(?:https?://)?(?:www\.)?github\.com/|(?:ssh://)?git@github\.com[:/])?"
_REPOSITORY: Final = re.compile(rf"{_SITE}([A-Za-z0-9][A-Za-z0-9-]*)/([A-Za-z0-9._-]+?)(?:\.git)?/?")
_REF: Final = re.compile(r"[^\s\x00-\x20\x7f~^:?*\[\\]+")


def repository_name(given: object) -> str:
    """``"owner/name"`` of a repository, from this or from its address on GitHub.

    Raises
    ------
    UsageError
        When it is neither.

    Examples
    --------
    >>> repository_name("https://github.com/me/strategies.git")
    'me/strategies'
    """
    found = _REPOSITORY.fullmatch(given) if isinstance(given, str) else None
    if found is None or found[2] in (".", ".."):
        raise UsageError(
            f"repository must be 'owner/name' or its address on GitHub, got {given!r:.80}\n"
            "give for example 'me/strategies', or leave it out: the link is then written with a place for it"
        )
    return f"{found[1]}/{found[2]}"


def checked_ref(given: object) -> str:
    """A branch, tag or commit, when it is written like one.

    Raises
    ------
    UsageError
        When it is not.

    Examples
    --------
    >>> checked_ref("HEAD")
    'HEAD'
    """
    if isinstance(given, str) and _REF.fullmatch(given):
        return given
    raise UsageError(
        f"ref must be a branch, tag or commit of the repository, got {given!r:.80}\n"
        "give for example 'main', or leave it out for 'HEAD'"
    )


def launch_text(notebook: str, repository: str | None, ref: str) -> str:
    """The Markdown that opens a notebook on Binder: a badge, or without a repository the link and what to do first.

    Examples
    --------
    >>> print(launch_text("my ideas.ipynb", "me/strategies", "HEAD"))
    [![Launch on Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/me/strategies/HEAD?urlpath=lab/tree/my%20ideas.ipynb)
    """
    link = f"https://mybinder.org/v2/gh/{repository or 'OWNER/REPOSITORY'}/{ref}?urlpath=lab/tree/{quote(notebook)}"
    if repository:
        return f"[![Launch on Binder](https://mybinder.org/badge_logo.svg)]({link})"
    return f"Put this folder into a public GitHub repository; then this link opens it on Binder:\n`{link}`"


def readme(notebook: str, candles: Iterable[CandleFile], notes: Iterable[str], *, launch: str) -> str:
    """The README of a shared folder as Markdown: ``launch``, how it is verified and opened, its candles, and notes."""
    python = python_version(2)
    rows = [
        f"| {file.exchange} | {file.symbol} | {file.interval} | {file.count:,} | `{file.path}` |" for file in candles
    ]
    return "\n".join(
        [
            f"# {notebook.removesuffix('.ipynb')}",
            "",
            launch,
            "",
            f"`{notebook}` with the candles it used and the code it ran with. On Python {python} or newer, here:",
            "",
            "```sh",
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
            f".venv/bin/bknb verify {_quoted(notebook)}",
            f".venv/bin/bknb lab {_quoted(notebook)}",
            "```",
            "",
            "The second command runs it and says whether every result is what it was, or exactly what differs.",
            "After the installation nothing needs a network.",
            "",
            "| Exchange | Symbol | Interval | Candles | File |",
            "|---|---|---|--:|---|",
            *rows,
            "",
            *(f"* {note}" for note in notes),
            "",
        ]
    )


def python_version(parts: int = 3) -> str:
    """The version of this Python, such as ``"3.11.4"``, or its first parts."""
    return ".".join(map(str, sys.version_info[:parts]))


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w./-]+", name) else f"'{name}'"
