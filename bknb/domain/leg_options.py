"""``sizing=``, ``account=`` and ``costs=`` that differ by symbol or strategy: which one a leg has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from ..errors import UnknownName, UsageError

Value = TypeVar("Value")


def of_leg(name: str, given: Value | Mapping[str, Value], *, symbol: str, strategy: str) -> Value | None:
    """What a leg has: what is given for all, or for its symbol or its strategy; ``None``: nothing is given for it.

    Parameters
    ----------
    name
        Of the argument, for messages.
    given
        One value for all legs, or a mapping by symbol or strategy.
    symbol, strategy
        Of the leg.

    Raises
    ------
    UsageError
        Where symbol and strategy have one each.

    Examples
    --------
    >>> of_leg("sizing", "risk:1", symbol="BTCUSDT", strategy="trend")
    'risk:1'
    >>> by = {"BTCUSDT": "risk:1", "revert": "percent:5"}
    >>> of_leg("sizing", by, symbol="BTCUSDT", strategy="trend"), of_leg("sizing", by, symbol="SOL", strategy="trend")
    ('risk:1', None)
    """
    if not isinstance(given, Mapping):
        return given
    if symbol in given and strategy in given and symbol != strategy:
        text = f"{name} has a value for the symbol {symbol!r} and one for the strategy {strategy!r}"
        raise UsageError(f"{text}, and both would apply to this leg\nname symbols or strategies, not both")
    return given.get(symbol, given.get(strategy))


def check_names(name: str, given: object, *, symbols: Iterable[str], strategies: Iterable[str]) -> None:
    """Refuse a mapping with a name that is neither a symbol nor a strategy of the run.

    Raises
    ------
    UnknownName
        With those that are.

    Examples
    --------
    >>> check_names("sizing", {"BTCUSD": "risk:1"}, symbols=["BTCUSDT"], strategies=["trend"])
    Traceback (most recent call last):
    bknb.errors.UnknownName: no symbol or strategy of sizing is called 'BTCUSD'; did you mean 'BTCUSDT'?
    known: BTCUSDT, trend
    """
    if not isinstance(given, Mapping):
        return
    known = dict.fromkeys([*symbols, *strategies])
    for key in given:
        if key not in known:
            raise UnknownName(f"symbol or strategy of {name}", key, known=known)
