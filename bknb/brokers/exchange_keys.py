"""The keys of an account, from the environment or a keyring: they stand in no cell, and in nothing that is shown."""

from __future__ import annotations

from typing import NoReturn

from ..errors import UsageError
from ..keys_and_tokens import SERVICE, found


class Keys:
    """The key and the secret of an account; neither is in its text, and it cannot be pickled.

    Examples
    --------
    >>> Keys("planted", "secret")
    Keys(***)
    """

    __slots__ = ("key", "secret")

    def __init__(self, key: str, secret: str) -> None:
        self.key = key
        self.secret = secret

    def __repr__(self) -> str:
        return "Keys(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the keys of an account are not copied, saved or sent to another process")


def key_names(exchange: str, *, sandbox: bool) -> tuple[str, str]:
    """The environment variables that hold the key and the secret of an account.

    Examples
    --------
    >>> key_names("binance", sandbox=True), key_names("binance", sandbox=False)
    (('BKNB_BINANCE_SANDBOX_KEY', 'BKNB_BINANCE_SANDBOX_SECRET'), ('BKNB_BINANCE_KEY', 'BKNB_BINANCE_SECRET'))
    """
    name = f"BKNB_{exchange.upper()}{'_SANDBOX' if sandbox else ''}"
    return f"{name}_KEY", f"{name}_SECRET"


def keys_of(exchange: str, *, sandbox: bool) -> Keys:
    """The keys of an account: from the environment, else from the keyring of the system, where there is one.

    Raises
    ------
    UsageError
        There are none.
    """
    key, secret = (found(name) for name in key_names(exchange, sandbox=sandbox))
    if key and secret:
        return Keys(key, secret)
    names = " and ".join(key_names(exchange, sandbox=sandbox))
    kind = "its sandbox" if sandbox else "real money"
    raise UsageError(
        f"there are no keys for {exchange} ({kind}): set {names} in the environment before Python starts\n"
        f"or keep them in a keyring: keyring set {SERVICE} NAME, for both names; never write them into a cell"
    )
