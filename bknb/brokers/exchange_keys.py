"""The keys of an account, from the environment or a keyring: they stand in no cell, and in nothing that is shown."""

from __future__ import annotations

import base64
import hashlib
from typing import NoReturn

from ..errors import UsageError
from ..stores.keys_and_tokens import SERVICE, found


class Keys:
    """What an account is opened with; it is in no text, and cannot be pickled. ``passphrase`` is empty where none is.

    Examples
    --------
    >>> Keys("planted", "secret")
    Keys(***)
    """

    __slots__ = ("key", "passphrase", "secret")

    def __init__(self, key: str, secret: str, passphrase: str = "") -> None:
        self.key = key
        self.secret = secret
        self.passphrase = passphrase

    def __repr__(self) -> str:
        return "Keys(***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the keys of an account are not copied, saved or sent to another process")


def account_name(exchange: str, market: str, key: str, *, real_money: bool) -> str:
    """A text by which an account is known again, and from which nobody can tell its key.

    Examples
    --------
    >>> account_name("binance", "spot", "planted", real_money=False)
    'binance-spot-sandbox-5t3vuewg565huv2p'
    """
    digest = hashlib.blake2b(key.encode(), digest_size=10, person=b"bknb account").digest()
    kind = "real" if real_money else "sandbox"
    return f"{exchange}-{market}-{kind}-{base64.b32encode(digest).decode().lower()}"


def key_names(exchange: str, *, sandbox: bool, passphrase: bool = False) -> tuple[str, ...]:
    """The environment variables that hold the key, the secret and, where there is one, the passphrase of an account.

    Examples
    --------
    >>> key_names("binance", sandbox=True), key_names("binance", sandbox=False)
    (('BKNB_BINANCE_SANDBOX_KEY', 'BKNB_BINANCE_SANDBOX_SECRET'), ('BKNB_BINANCE_KEY', 'BKNB_BINANCE_SECRET'))
    >>> key_names("okx", sandbox=False, passphrase=True)
    ('BKNB_OKX_KEY', 'BKNB_OKX_SECRET', 'BKNB_OKX_PASSPHRASE')
    """
    name = f"BKNB_{exchange.upper()}{'_SANDBOX' if sandbox else ''}"
    return (f"{name}_KEY", f"{name}_SECRET", *([f"{name}_PASSPHRASE"] if passphrase else []))


def keys_of(exchange: str, *, sandbox: bool, passphrase: bool = False) -> Keys:
    """The keys of an account: from the environment, else from the keyring of the system, where there is one.

    Raises
    ------
    UsageError
        There are none.
    """
    wanted = key_names(exchange, sandbox=sandbox, passphrase=passphrase)
    keys = [found(name) for name in wanted]
    if all(keys):
        return Keys(*keys)
    *first, last = wanted
    kind = "its sandbox" if sandbox else "real money"
    raise UsageError(
        f"there are no keys for {exchange} ({kind}): set {', '.join(first)} and {last} in the environment before "
        f"Python starts\nor keep them in a keyring: keyring set {SERVICE} NAME, for each of these names; "
        "never write them into a cell"
    )
