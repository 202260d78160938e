"""An account whose key was changed, by which it is known: what is saved of it goes on under its new name."""

from __future__ import annotations

import msgspec

from ..domain.account_ledger import AccountLedger
from ..ports import StateStore
from .saved_values import read_value

KIND = "account"


def read_ledger(store: StateStore, account: str) -> AccountLedger | None:
    """The ledger that is saved of an account; ``None``: there is none.

    Raises
    ------
    StateError
        When it cannot be read.
    """
    return read_value(store, KIND, (account,), AccountLedger)


def names_of(store: StateStore, account: str) -> tuple[str, ...]:
    """The name of an account, and those it had by earlier keys.

    Raises
    ------
    StateError
        When its ledger cannot be read.
    """
    ledger = read_ledger(store, account)
    return (account,) if ledger is None else (account, *ledger.earlier)


def differs_by_key(before: str, account: str) -> bool:
    """Whether two names of accounts may be of one account with two keys: all but the key is the same.

    Examples
    --------
    >>> differs_by_key("binance-spot-real-5t3v", "binance-spot-real-abcd")
    True
    >>> differs_by_key("binance-spot-real-5t3v", "binance-swap-real-abcd"), differs_by_key("", "binance-spot-real-abcd")
    (False, False)
    """
    same = before.rpartition("-")[0]
    return bool(same) and same == account.rpartition("-")[0] and before != account


def go_on_as(store: StateStore, before: str, account: str) -> None:
    """Have the ledger of an account go on under the name it has by its new key.

    Raises
    ------
    StateError
        When it cannot be read or written; then all is as before.
    """
    ledger = read_ledger(store, before)
    if ledger is not None:
        earlier = tuple(dict.fromkeys((before, *ledger.earlier)))
        store.write(KIND, (account,), msgspec.json.encode(msgspec.structs.replace(ledger, earlier=earlier)))
