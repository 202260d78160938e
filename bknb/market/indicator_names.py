"""The indicators that are known by name: which columns they take, how TA-Lib calls them, how far they look back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..domain.whole_number import whole_number
from ..errors import UnknownName, UsageError
from . import indicator_formulas as indicators
from .talib_functions import talib_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLOSE: Final = ("close",)
_HLC: Final = ("high", "low", "close")


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
    """

    columns: tuple[str, ...]
    formula: Callable[..., Any]
    talib: Callable[..., Any] | None
    parameters: tuple[str, ...]
    defaults: tuple[float, ...]
    lookback: Callable[..., int]


def _exponential(length: int) -> int:
    """How many candles an exponential average remembers to 1e-9: the first one has the weight of its beginning."""
    return math.ceil(10.4 * (length + 1)) + length


def _wilder(length: int) -> int:
    """How many candles an average of Wilder remembers to 1e-9, with the one before the first."""
    return 22 * length + 1


def _plain(function: str) -> Callable[..., Any]:
    """A function of TA-Lib that takes the columns and one length."""
    return lambda talib, *given: getattr(talib, function)(*given)


def _bands(talib: Any, close: NDArray[Any], length: int, deviations: float) -> indicators.Bands:
    return indicators.Bands(*talib.BBANDS(close, length, float(deviations), float(deviations)))


def _macd(talib: Any, close: NDArray[Any], *lengths: int) -> indicators.Macd:
    return indicators.Macd(*talib.MACD(close, *lengths))


def _window(length: int) -> int:
    return max(length - 1, 1)


_LENGTH: Final = ("length",)
NAMED: Final[dict[str, Named]] = {
    "sma": Named(_CLOSE, indicators.sma, _plain("SMA"), _LENGTH, (), _window),
    "ema": Named(_CLOSE, indicators.ema, _plain("EMA"), _LENGTH, (), _exponential),
    "stdev": Named(_CLOSE, indicators.stdev, _plain("STDDEV"), _LENGTH, (), _window),
    "roc": Named(_CLOSE, indicators.roc, _plain("ROC"), _LENGTH, (), lambda length: length),
    "rsi": Named(_CLOSE, indicators.rsi, _plain("RSI"), _LENGTH, (14,), _wilder),
    "macd": Named(
        *(_CLOSE, indicators.macd, _macd, ("fast", "slow", "signal"), (12, 26, 9)),
        lambda fast, slow, signal: _exponential(max(fast, slow)) + _exponential(signal),
    ),
    "bbands": Named(
        *(_CLOSE, indicators.bbands, _bands, ("length", "deviations"), (20, 2.0)),
        lambda length, _deviations: _window(length),
    ),
    "highest": Named(("high",), indicators.highest, _plain("MAX"), _LENGTH, (), _window),
    "lowest": Named(("low",), indicators.lowest, _plain("MIN"), _LENGTH, (), _window),
    "donchian": Named(("high", "low"), indicators.donchian, None, _LENGTH, (20,), _window),
    "true_range": Named(_HLC, indicators.true_range, _plain("TRANGE"), (), (), lambda: 1),
    "atr": Named(_HLC, indicators.atr, _plain("ATR"), _LENGTH, (14,), _wilder),
    "plus_di": Named(_HLC, indicators.plus_di, _plain("PLUS_DI"), _LENGTH, (14,), _wilder),
    "minus_di": Named(_HLC, indicators.minus_di, _plain("MINUS_DI"), _LENGTH, (14,), _wilder),
    "adx": Named(_HLC, indicators.adx, _plain("ADX"), _LENGTH, (14,), lambda length: 2 * _wilder(length)),
}

_ENDLESS: Final = frozenset({"obv", "ad", "cumsum", "vwap", "anchored_vwap", "nvi", "pvi", "pvt"})


def named(name: str) -> Named:
    """The indicator of a name.

    Raises
    ------
    UsageError
        For one that remembers all candles since a beginning.
    UnknownName
        For one that is not known.
    """
    if name in _ENDLESS:
        raise UsageError(
            f"{name} adds up all candles since a beginning, so its value depends on where the data begins\n"
            "take its change over some candles, or its sum over a window, as a function of your own with lookback="
        )
    if name not in NAMED:
        raise UnknownName("indicator", name, known=NAMED, listing=f"known: {', '.join(NAMED)}; or give a function")
    return NAMED[name]


def parameters_of(name: str, given: tuple[Any, ...]) -> tuple[float, ...]:
    """The parameters of an indicator that is known by name, with those that were left out; checked.

    Examples
    --------
    >>> parameters_of("macd", (5,)), parameters_of("bbands", ())
    ((5, 26, 9), (20, 2.0))
    """
    known = named(name)
    names, least = known.parameters, len(known.parameters) - len(known.defaults)
    if not least <= len(given) <= len(names):
        takes = ", ".join(
            f"{each}={known.defaults[at - least]}" if at >= least else each for at, each in enumerate(names)
        )
        raise UsageError(
            f"the indicator {name} takes {f'({takes})' if names else 'no parameters'} behind the interval, got {given}"
        )
    return tuple(
        _number(f"{each} of {name}", value)
        for each, value in zip(names, (*given, *known.defaults[len(given) - least :]), strict=True)
    )


def _number(name: str, value: Any) -> float:
    if not name.startswith("deviations"):
        return whole_number(name, value, least=1, hint="it says how many candles")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"{name} must be a number above 0, such as 2, got {value!r:.40}")
    return float(value)


def function_of(name: str, parameters: tuple[float, ...]) -> Callable[..., Any]:
    """The function of a name: TA-Lib's where it is installed and takes such parameters, else ours."""
    known, talib = NAMED[name], talib_module()
    if talib is None or known.talib is None or any(each < 2 for each in parameters if isinstance(each, int)):
        return known.formula  # TA-Lib has no averages of one candle
    ours = known.talib
    return lambda *given: ours(talib, *given)
