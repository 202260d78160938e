"""The name of a repository on GitHub, as launch links hold it."""

from __future__ import annotations

import re
from typing import Final

from ..errors import UsageError

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
