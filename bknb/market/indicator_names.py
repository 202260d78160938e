"""The indicators that are known by name: which columns they take, how TA-Lib calls them, how far they look back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..domain.whole_number import whole_number
from ..errors import UnknownName, UsageError
from . import indicator_formulas as formulas
from . import moving_averages as averages
from . import oscillators
from . import trend_lines as trends
from . import window_statistics as statistics
from .named_indicator import Named
from .talib_functions import talib_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLOSE: Final = ("close",)
_HLC: Final = ("high", "low", "close")
_LENGTH: Final = ("length",)
_REAL: Final = ("deviations", "multiple", "step", "most")  # parameters that are no numbers of candles


def _exponential(length: int) -> int:
    """How many candles an exponential average remembers to 1e-9: the first one has the weight of its beginning."""
    return math.ceil(10.4 * (length + 1)) + length


def _wilder(length: int) -> int:
    """How many candles an average of Wilder remembers to 1e-9, with the one before the first."""
    return 22 * length + 1


def _plain(function: str, *more: int) -> Callable[..., Any]:
    """A function of TA-Lib that takes the columns, the parameters, and what is always the same."""
    return lambda talib, *given: getattr(talib, function)(*given, *more)


def _bands(talib: Any, close: NDArray[Any], length: int, deviations: float) -> formulas.Bands:
    return formulas.Bands(*talib.BBANDS(close, length, float(deviations), float(deviations)))


def _macd(talib: Any, close: NDArray[Any], *lengths: int) -> formulas.Macd:
    return formulas.Macd(*talib.MACD(close, *lengths))


def _stoch(talib: Any, *given: Any) -> oscillators.Stochastic:
    *columns, length, smooth, signal = given
    return oscillators.Stochastic(*talib.STOCH(*columns, length, smooth, 0, signal, 0))


def _stochrsi(talib: Any, close: NDArray[Any], *lengths: int) -> oscillators.Stochastic:
    return oscillators.Stochastic(*talib.STOCHRSI(close, *lengths, 0))


def _aroon(talib: Any, *given: Any) -> oscillators.Aroon:
    return oscillators.Aroon(*talib.AROON(*given))


def _window(length: int) -> int:
    return max(length - 1, 1)


def is_of_window(known: Named) -> bool:
    """Whether an indicator of ours is made of a window alone: no switch of TA-Lib changes how its values begin."""
    return known.is_known and known.lookback is _window


def _one(length: int) -> int:
    return length


def _of_close(formula: Any, talib: str | None, lookback: Any, *defaults: float, names: Any = _LENGTH) -> Named:
    return Named(_CLOSE, formula, None if talib is None else _plain(talib), names, defaults, lookback)


def _of_range(formula: Any, talib: str | None, lookback: Any, *defaults: float, names: Any = _LENGTH) -> Named:
    return Named(_HLC, formula, None if talib is None else _plain(talib), names, defaults, lookback)


NAMED: Final[dict[str, Named]] = {
    "sma": _of_close(formulas.sma, "SMA", _window),
    "ema": _of_close(formulas.ema, "EMA", _exponential),
    "wma": _of_close(averages.wma, "WMA", _window),
    "hma": _of_close(averages.hma, None, lambda length: length + math.isqrt(length)),
    "trima": _of_close(averages.trima, "TRIMA", _window),
    "rma": _of_close(averages.rma, None, _wilder),
    "dema": _of_close(averages.dema, "DEMA", lambda length: 2 * _exponential(length)),
    "tema": _of_close(averages.tema, "TEMA", lambda length: 3 * _exponential(length)),
    "kama": _of_close(averages.kama, "KAMA", lambda length: 5000 + length, 10),  # as slow as one of 30, squared
    "vwma": Named(("close", "volume"), averages.vwma, None, _LENGTH, (), _window),
    "vwap": Named((*_HLC, "volume"), averages.vwap, None, _LENGTH, (), _window),
    "median": _of_close(averages.median, None, _window),
    "stdev": _of_close(formulas.stdev, "STDDEV", _window),
    "zscore": _of_close(statistics.zscore, None, _window, 20),
    "percent_rank": _of_close(statistics.percent_rank, None, _one, 100),
    "percentile": _of_close(
        *(statistics.percentile, None, lambda length, _percent: _window(length)), names=("length", "percent")
    ),
    "linreg": _of_close(statistics.linreg, None, _window),
    "linreg_slope": _of_close(statistics.linreg_slope, None, _window),
    "mom": _of_close(oscillators.mom, "MOM", _one),
    "roc": _of_close(formulas.roc, "ROC", _one),
    "rsi": _of_close(formulas.rsi, "RSI", _wilder, 14),
    "stochrsi": Named(
        *(_CLOSE, oscillators.stochrsi, _stochrsi, ("length", "window", "signal"), (14, 14, 3)),
        lambda length, window, signal: 2 * _wilder(length) + window + signal,
    ),
    "cmo": _of_close(oscillators.cmo, "CMO", _wilder, 14),
    "macd": Named(
        *(_CLOSE, formulas.macd, _macd, ("fast", "slow", "signal"), (12, 26, 9)),
        lambda fast, slow, signal: _exponential(max(fast, slow)) + _exponential(signal),
    ),
    "ppo": Named(
        *(_CLOSE, oscillators.ppo, _plain("PPO", 1), ("fast", "slow"), (12, 26)),
        lambda fast, slow: _exponential(max(fast, slow)),
    ),
    "trix": _of_close(oscillators.trix, "TRIX", lambda length: 3 * _exponential(length) + 1, 15),
    "bbands": Named(
        *(_CLOSE, formulas.bbands, _bands, ("length", "deviations"), (20, 2.0)),
        lambda length, _deviations: _window(length),
    ),
    "highest": Named(("high",), formulas.highest, _plain("MAX"), _LENGTH, (), _window),
    "lowest": Named(("low",), formulas.lowest, _plain("MIN"), _LENGTH, (), _window),
    "donchian": Named(("high", "low"), formulas.donchian, None, _LENGTH, (20,), _window),
    "keltner": Named(
        *(_HLC, trends.keltner, None, ("length", "multiple", "atr_length"), (20, 2.0, 10)),
        lambda length, _multiple, atr_length: max(_exponential(length), _wilder(atr_length)),
    ),
    "supertrend": Named(
        *(_HLC, trends.supertrend, None, ("length", "multiple", "memory"), (10, 3.0, 400)),
        lambda length, _multiple, memory: _wilder(length) + memory,
    ),
    "psar": Named(
        *(("high", "low"), trends.psar, None, ("step", "most", "memory"), (0.02, 0.2, 200)),
        lambda _step, _most, memory: memory,
    ),
    "true_range": _of_range(formulas.true_range, "TRANGE", lambda: 1, names=()),
    "atr": _of_range(formulas.atr, "ATR", _wilder, 14),
    "natr": _of_range(trends.natr, "NATR", _wilder, 14),
    "plus_di": _of_range(formulas.plus_di, "PLUS_DI", _wilder, 14),
    "minus_di": _of_range(formulas.minus_di, "MINUS_DI", _wilder, 14),
    "adx": _of_range(formulas.adx, "ADX", lambda length: 2 * _wilder(length), 14),
    "aroon": Named(("high", "low"), oscillators.aroon, _aroon, _LENGTH, (14,), _one),
    "cci": _of_range(oscillators.cci, "CCI", _window, 20),
    "stoch": Named(
        *(_HLC, oscillators.stoch, _stoch, ("length", "smooth", "signal"), (14, 3, 3)),
        lambda length, smooth, signal: max(length + smooth + signal - 3, 1),
    ),
    "willr": _of_range(oscillators.willr, "WILLR", _window, 14),
    "ultosc": _of_range(
        *(oscillators.ultosc, "ULTOSC", max, 7, 14, 28),
        names=("short", "middle", "long"),
    ),
    "bop": Named(("open", *_HLC), oscillators.bop, _plain("BOP"), (), (), lambda: 0),
    "mfi": Named((*_HLC, "volume"), oscillators.mfi, None, _LENGTH, (14,), _one),
    "cmf": Named((*_HLC, "volume"), oscillators.cmf, None, _LENGTH, (20,), _window),
    "obv_change": Named(("close", "volume"), oscillators.obv_change, None, _LENGTH, (), _one),
}

_INSTEAD: Final = {"obv": "obv_change", "ad": "cmf", "anchored_vwap": "vwap"}
_ENDLESS: Final = frozenset({*_INSTEAD, "adosc", "cumsum", "nvi", "pvi", "pvt", "wad"})


def named(name: str) -> Named:
    """The indicator of a name.

    Raises
    ------
    UsageError
        For one that remembers all candles since a beginning.
    UnknownName
        For one that is not known. In capitals it is a function of TA-Lib.
    """
    if name in _ENDLESS or (name.isupper() and name.lower() in _INSTEAD):
        instead = (
            f"'{_INSTEAD[name.lower()]}'" if name.lower() in _INSTEAD else "as a function of your own with lookback="
        )
        raise UsageError(
            f"{name} adds up all candles since a beginning, so its value depends on where the data begins\n"
            f"take its change over some candles, or its sum over a window: {instead}"
        )
    if name.isupper() and name.lower() not in _INSTEAD:
        from .talib_by_name import talib_named  # few ask for others than ours

        return talib_named(name)
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
    if known.kinds:
        every = zip(names, known.kinds, (*given, *known.defaults[len(given) - least :]), strict=True)
        return tuple(_of_kind(f"{each} of {name}", kind, value) for each, kind, value in every)
    return tuple(
        _number(f"{each} of {name}", value)
        for each, value in zip(names, (*given, *known.defaults[len(given) - least :]), strict=True)
    )


def _of_kind(name: str, kind: type, value: Any) -> float:
    if kind is int and hasattr(value, "__index__") and not isinstance(value, bool):
        value = value.__index__()  # those of numpy, too
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float) or abs(value) >= 2**31:
        raise UsageError(f"{name} must be a{' whole' if kind is int else ''} number, got {value!r:.40}")
    return value if kind is int else float(value)


def _number(name: str, value: Any) -> float:
    if name.startswith("percent "):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise UsageError(f"{name} must be a number from 0 to 100, got {value!r:.40}")
        return float(value)
    if not name.startswith(_REAL):
        return whole_number(name, value, least=1, hint="it says how many candles")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"{name} must be a number above 0, such as 2, got {value!r:.40}")
    return float(value)


def function_of(name: str, parameters: tuple[float, ...]) -> Callable[..., Any]:
    """The function of a name: TA-Lib's where it is installed and takes such parameters, else ours."""
    known, talib = named(name), talib_module()
    if not known.is_known:
        return known.formula
    if talib is None or known.talib is None or any(each < 2 for each in parameters if isinstance(each, int)):
        return known.formula  # TA-Lib has no averages of one candle
    ours = known.talib
    return lambda *given: ours(talib, *given)
