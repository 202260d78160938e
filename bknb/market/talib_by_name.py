"""Any function of TA-Lib by its name, with the columns, parameters and defaults that TA-Lib tells of it."""

from __future__ import annotations

import importlib
import math
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..errors import MissingDependency, UnknownName, UsageError
from .candles import COLUMNS, Candles
from .named_indicator import Named
from .talib_functions import talib_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ENDLESS: Final = frozenset({"AD", "ADOSC", "CUMSUM", "NVI", "OBV", "PVI", "PVT", "VWAP", "WAD"})
_INSTEAD: Final = {"SAR": "psar", "SAREXT": "psar", "SUPERTREND": "supertrend", "VWAP": "vwap"}
_CANDLES: Final = 12_000  # of the walk on which look-backs are measured
_REMEMBERED: Final = 1e-10  # of the largest value; a tenth of what a run allows
_PATTERN: Final = 10  # candles more than a pattern of candles takes: some wait for a confirmation
_PLACES: Final = (7_001, 8_203, 9_404, 10_606, 11_999)  # where values are compared


def talib_named(name: str) -> Named:
    """A function of TA-Lib as an indicator; its look-back is measured on a random walk, and checked in each run.

    Raises
    ------
    MissingDependency
        When TA-Lib is not installed.
    UnknownName
        When it has no such function.
    UsageError
        For one whose value depends on where the data begin, or that takes no candles.
    """
    if talib_module() is None:
        raise MissingDependency("TA-Lib", purpose=f"the indicator {name}", extra="indicators")
    return _named(name)


@lru_cache(maxsize=256)
def _named(name: str) -> Named:
    talib = talib_module()
    if name not in talib.get_functions():
        raise UnknownName("function of TA-Lib", name, known=talib.get_functions(), listing="see talib.get_functions()")
    if name in _INSTEAD or name in _ENDLESS:
        instead = f"take '{_INSTEAD[name]}'" if name in _INSTEAD else "take its change over some candles"
        raise UsageError(
            f"{name} of TA-Lib goes on from its own last value for ever, so it depends on where the data begin\n"
            f"{instead}, or a function of your own with lookback="
        )
    told = _told(name)
    columns = tuple(_columns(told.input_names))
    if not columns or not set(columns) <= {*COLUMNS}:
        raise UsageError(
            f"{name} of TA-Lib takes more than candles\ngive a function of your own that calls it, with lookback="
        )
    defaults = tuple(told.parameters.values())
    function = partial(_called, name, tuple(told.output_names))
    return Named(
        *(columns, function, None, tuple(told.parameters), defaults),
        lookback=partial(_lookback, name),
        kinds=tuple(map(type, defaults)),
        is_known=False,
    )


def _told(name: str) -> Any:
    return importlib.import_module("talib.abstract").Function(name)


def _columns(inputs: Any) -> list[str]:
    found: list[str] = []
    for given in inputs.values():
        found += [given] if isinstance(given, str) else given
    return found


def _called(name: str, outputs: tuple[str, ...], *given: Any) -> Any:
    """The values of a function, several of them by the names of its outputs."""
    try:
        answer = getattr(talib_module(), name)(*given)
    except Exception as error:
        if "TA_BAD_PARAM" in str(error):
            raise UsageError(f"TA-Lib takes no such parameters for {name}: {str(error).splitlines()[0]}") from None
        raise
    return answer if len(outputs) == 1 else dict(zip(outputs, answer, strict=True))


@lru_cache(maxsize=1024)
def _lookback(name: str, *parameters: float) -> int:
    """How many candles before a value decide it, to 1e-9: what TA-Lib says, or longer for what remembers longer."""
    known = _named(name)
    columns = [getattr(_walk(), column) for column in known.columns]
    whole = _values(known, columns, parameters)
    there = np.flatnonzero(~np.isnan(whole).any(axis=0))
    if not len(there):
        raise UsageError(f"{name} of TA-Lib with {parameters} has no value for prices\ngive a function of your own")
    count = max(int(there[0]), 1)
    if name.startswith("CDL"):  # patterns are rare, and 0 where there is none: these cannot be measured
        return int(_told(name).lookback) + _PATTERN
    least = count
    while count < _PLACES[0]:
        if all(_is_same(known, columns, parameters, whole, place, count) for place in _PLACES):
            return count if count == least else math.ceil(1.25 * count)
        count = math.ceil(1.1 * count) + 1
    raise UsageError(
        f"{name} of TA-Lib with {parameters} remembers more than {_PLACES[0]:,} candles, or depends on where the data "
        f"begin\nsay how many decide a value: bknb.indicator({name!r}, ..., lookback=200)"
    )


def _values(known: Named, columns: list[Floats], parameters: tuple[float, ...]) -> Floats:
    answer = known.formula(*columns, *parameters)
    parts = [*answer.values()] if isinstance(answer, dict) else [answer]
    return np.stack([np.asarray(part, dtype=np.float64) for part in parts])


def _is_same(
    known: Named, columns: list[Floats], parameters: tuple[float, ...], whole: Floats, place: int, count: int
) -> bool:
    """Whether a value is the same with so many candles before it alone."""
    part = _values(known, [column[place - count : place + 1].copy() for column in columns], parameters)[:, -1]
    largest = np.maximum(np.nanmax(np.abs(whole), axis=1), 1e-300)
    return bool((np.abs(part - whole[:, place]) <= _REMEMBERED * largest).all())


@lru_cache(maxsize=1)
def _walk() -> Candles:
    """A random walk with calm and wild hours; the same everywhere."""
    draws = np.random.default_rng(20).random((4, _CANDLES))
    moves = (draws[0] - 0.5) * np.repeat(0.001 + 0.01 * draws[3, : _CANDLES // 60 + 1] ** 3, 60)[:_CANDLES]
    close = 100 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.maximum(open_, close) * (1 + 0.002 * draws[1])
    low = np.minimum(open_, close) * (1 - 0.002 * draws[2])
    times = np.arange(_CANDLES, dtype=np.int64) * 60_000
    return Candles.from_columns(timestamp=times, open=open_, high=high, low=low, close=close, volume=1 + 9 * draws[3])
