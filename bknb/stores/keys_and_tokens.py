"""Keys and tokens, from the environment or the keyring of the system: they stand in no cell, and in nothing shown."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable
from typing import Final, NoReturn
from urllib.parse import quote

from ..errors import UsageError

SERVICE: Final = "bknb"
"""Under which service names are looked up in the keyring of the system."""
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_HELD_BY_NAME: Final = re.compile(r"BKNB_[A-Z0-9_]*(KEY|SECRET|TOKEN|PASSWORD|PASSPHRASE|URL)")
_SHORTEST: Final = 8  # a shorter value is part of many words


class Secret:
    """A key or token that is in no text; it cannot be copied, saved or sent to another process.

    Attributes
    ----------
    value : str
        The key itself.

    Examples
    --------
    >>> Secret("planted")
    Secret(***)
    """

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not copied, saved or sent to another process")


def found(name: str) -> str:
    """What is kept under a name: from the environment, else from the keyring of the system; empty: nothing.

    Examples
    --------
    >>> found("BKNB_NO_SUCH_NAME")
    ''
    """
    value = os.environ.get(name, "").strip()
    if value:
        return value
    try:
        keyring = importlib.import_module("keyring")
        return str(keyring.get_password(SERVICE, name) or "").strip()
    except Exception:  # noqa: BLE001 -- none is installed, it is locked, or none works here: there is no key
        return ""


def checked_name(name: object, option: str) -> str:
    """The name of an environment variable that was given for an option.

    Raises
    ------
    UsageError
        It is none, perhaps the key itself; the text does not repeat it.

    Examples
    --------
    >>> checked_name("https://hooks.example.com/planted", "url_env")
    Traceback (most recent call last):
        ...
    bknb.errors.UsageError: url_env= is the name of an environment variable, such as 'BKNB_TOKEN', not the value itself
    ...
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"{option}= is the name of an environment variable, such as 'BKNB_TOKEN', not the value itself\n"
        "keys and tokens stand in no cell: set the variable before Python starts, and give its name"
    )


def secret_of(name: str, what: str) -> Secret:
    """What is kept under a name; ``what`` it is, for messages.

    Raises
    ------
    UsageError
        There is nothing.
    """
    value = found(name)
    if value:
        return Secret(value)
    raise UsageError(
        f"there is no {what}: set {name} in the environment before Python starts\n"
        f"or keep it in a keyring: keyring set {SERVICE} {name}; never write it into a cell"
    )


def without_keys(text: str, more: Iterable[Secret] = ()) -> str:
    """A text without the given keys, and without those that are in the environment of this process.

    Examples
    --------
    >>> without_keys("GET /botplanted:token/x", [Secret("planted:token")])
    'GET /bot***/x'
    """
    held = [value for name, value in os.environ.items() if _HELD_BY_NAME.fullmatch(name)]
    values = {value.strip() for value in [*held, *(secret.value for secret in more)]}
    long_ones = (value for value in values if len(value) >= _SHORTEST)
    for value in sorted(long_ones, key=len, reverse=True):
        for form in (value, quote(value, safe="")):
            text = text.replace(form, "***")
    return text
