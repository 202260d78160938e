"""What is known of an indicator that has a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Named(NamedTuple):
    """An indicator that is known by a name.

    Attributes
    ----------
    columns : tuple of str
        The columns of candles it takes.
    formula : callable
        Ours, of :mod:`bknb.indicators`: takes the columns, then the parameters.
    talib : callable
        Takes the module of TA-Lib, the columns and the parameters; ``None``: TA-Lib has no such function.
    parameters : tuple of str
        What its parameters are called.
    defaults : tuple
        Of the last parameters.
    lookback : callable
        Takes the parameters and returns how many candles before a value decide it.
    kinds : tuple of type
        Of the parameters: ``int`` or ``float``, whatever they are; empty: by their names.
    is_known : bool
        Whether it is tested here; others show first that they are causal, and that they look back far enough.
    """

    columns: tuple[str, ...]
    formula: Callable[..., Any]
    talib: Callable[..., Any] | None
    parameters: tuple[str, ...]
    defaults: tuple[float, ...]
    lookback: Callable[..., int]
    kinds: tuple[type, ...] = ()
    is_known: bool = True
