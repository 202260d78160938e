"""Nothing is shared with a secret in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from . import secrets as leaks


class Guard:
    """Looks for secrets, and refuses."""

    def __init__(self, folder: Path, accepted: frozenset[str]) -> None:
        self._accepted = accepted
        self._known = leaks.secret_variables(os.environ)
        for file in {*folder.glob(".env*"), *folder.parent.glob(".env*"), *Path.cwd().glob(".env*")}:
            if file.is_file():
                text = file.read_text(encoding="utf-8", errors="replace")
                self._known.update(leaks.known_values(text, origin=file.name))

    def check(self, texts: Iterator[tuple[str, str]]) -> None:
        """Refuse when any text holds a secret.

        Raises
        ------
        UsageError
            With every place.
        """
        found: dict[str, leaks.Leak] = {}
        for place, text in texts:
            for leak in leaks.find_leaks(text, place, known=self._known):
                if leak.fingerprint not in self._accepted:
                    found.setdefault(str(leak), leak)
        if not found:
            return
        marks = " ".join(dict.fromkeys(f"--accept {leak.fingerprint}" for leak in found.values()))
        raise UsageError(
            f"not shared, there may be secrets in it: {'; '.join(found)}\n"
            "read them from the environment, clear the output, and replace the key: it was in a file\n"
            f"if they are no secrets: {marks}"
        )
