"""``bknb.indicator``: an indicator that a strategy asks for its newest values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from numpy import empty

from ..domain.interval import interval_ms
from ..domain.whole_number import whole_number
from ..errors import UsageError
from .calendar_candles import LENGTHS_MS
from .candles import Candles
from .functions_written_in_strategies import written
from .indicator_formula import Formula, Parameter, arguments_of
from .indicator_names import function_of, is_of_window, named, parameters_of
from .indicator_values_in_run import RunValues
from .reads_of_context import run_of

if TYPE_CHECKING:
    from .strategy_context import Context

_LONGEST: Final = 200_000  # candles


class Indicator(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An indicator: called with ``ctx`` it gives its newest values; see :func:`indicator`.

    Attributes
    ----------
    what : str or callable
        Its name, or a function of candles.
    interval : str
    parameters : tuple
        With those that were left out.
    lookback : int
        How many candles before a value decide it.
    symbol : str or None
        Of which symbol it is; ``None``: that of the question.
    """

    what: str | Callable[..., Any]
    interval: str
    parameters: tuple[Any, ...]
    lookback: int
    symbol: str | None = None

    def __call__(self, ctx: Any, n: int = 1, *, symbol: str | None = None, forming: bool = False) -> Any:
        """The ``n`` newest values of closed candles, the oldest first, NaN where there is none.

        Parameters
        ----------
        ctx
            What the strategy is asked with. In ``get_signals`` its candles: a value for each row, that of the newest
            candle of the indicator that had closed when the row's candle closed.
        symbol
            Of another symbol than that of the question.
        forming
            Whether the last one is that of the candle that has not closed yet, as far as it has come.

        Returns
        -------
        ndarray of float64, shape (n,), of candles shape (len(candles),), or tuple of such
            Of several outputs a tuple with their names as fields: ``bands(ctx).lower[-1]``.
        """
        if symbol is None and not forming:  # the path of every decision
            try:
                found = run_of(ctx).indicators[self]
            except (AttributeError, KeyError):
                if isinstance(ctx, Candles):
                    return _of_rows(self, ctx, n, symbol=None, forming=False)
                found = values_in_run(self, ctx, None)
            when = ctx.when_ms
            if n == 1 and (value := found.now.get(when)) is not None:
                newest = empty(1)
                newest[0] = value
                return newest
            last = found.places.get(when)
            if last is not None and type(n) is int and found.first <= last - n < last:
                if found.make is None and n > 1:
                    return found.values[last - n : last].copy()
                if found.make is not None:
                    return found.make(*found.values[:, last - n : last].copy())
        elif isinstance(ctx, Candles):
            return _of_rows(self, ctx, n, symbol=symbol, forming=forming)
        else:
            found = values_in_run(self, ctx, symbol)
        return found.newest(ctx, n, forming=forming)

    def last(self, ctx: Any, *, symbol: str | None = None) -> Any:
        """The newest value as a float, of several outputs a tuple of them; NaN where there is none."""
        if symbol is None:
            try:
                value = run_of(ctx).indicators[self].now.get(ctx.when_ms)
            except (AttributeError, KeyError):
                value = None
            if value is not None:
                return value
        if isinstance(ctx, Candles):
            raise UsageError(
                "last() takes a ctx\nin get_signals call the indicator with its candles: a value for each row"
            )
        newest = self(ctx, symbol=symbol)
        return type(newest)(*(each.item(0) for each in newest)) if isinstance(newest, tuple) else newest.item(0)

    def __repr__(self) -> str:
        return f"{_name_of(self.what, self.parameters)} of {self.interval} candles, lookback {self.lookback}"


def indicator(
    what: str | Callable[..., Any],
    interval: str,
    *parameters: Any,
    lookback: int | None = None,
    symbol: str | None = None,
) -> Indicator:
    """An indicator that a strategy asks for its newest values: ``fast(ctx)[-1]``.

    Its values are made a block of time at a time and are the same to the last bit live, in a backtest whatever its
    start, after a restart, in a worker. A function of your own shows first that it is made of no later candle.

    Parameters
    ----------
    what
        A name, such as ``"sma"``, ``"ema"``, ``"rsi"``, ``"atr"``, ``"bbands"`` or ``"macd"``; see
        ``bknb.indicators`` for all of them with their formulas. TA-Lib computes it where it is installed. In capitals,
        ``"T3"``, any function of TA-Lib, with its parameters and defaults. Or a function
        of candles, or of their columns by the names of its parameters (``def f(high, low, length)``), that returns an
        array as long as they are, or several: a tuple, a dict, a DataFrame.
    interval
        Of the candles, as in ``bknb.get_candles``.
    *parameters
        Of the indicator, in their order.
    lookback
        How many candles before a value decide it. Indicators that are known by name have one that suffices.
    symbol
        Of which symbol; by default that of the question.

    Returns
    -------
    callable
        ``fast(ctx)`` the newest value as an array of length 1, ``fast(ctx, 5)`` the five newest, oldest first,
        ``fast(ctx, symbol="ETHUSDT")`` those of another symbol, ``fast.last(ctx)`` a float. Of several outputs a tuple
        with their names as fields: ``bands(ctx).lower[-1]``. NaN until ``lookback`` candles are there. In
        ``get_signals`` ``fast(candles)`` is an array with a value for each row.

    Raises
    ------
    UsageError
        For a name, an interval, parameters or a look-back that cannot be meant.
    LookaheadError
        Raised where it is asked: the function uses later candles, or differs from call to call.
    LookbackTooShort
        Raised where it is asked: candles before its look-back change it.

    Examples
    --------
    >>> import bknb
    >>> fast, slow = bknb.indicator("sma", "15m", 10), bknb.indicator("sma", "15m", 30)
    >>> def get_signal(ctx):
    ...     if fast(ctx)[-1] > slow(ctx)[-1]:
    ...         return bknb.Signal(position="long", target_percent=2, stop_percent=1)
    >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, interval="1h", exchange="demo",
    ...                        frame=("2024-01-01", "2024-01-02"))
    >>> moment = result.at("2024-01-01 12:00")
    >>> fast(moment.context).shape, slow(moment.context, 5).shape
    ((1,), (5,))
    """
    if interval not in LENGTHS_MS:
        interval_ms(interval)
    _check_symbol(symbol)
    if isinstance(what, str):
        parameters = parameters_of(what, parameters)
        lookback = named(what).lookback(*parameters) if lookback is None else lookback
    elif not callable(what):
        raise UsageError(f"an indicator is a name such as 'sma', or a function of candles, got {what!r:.60}")
    elif lookback is None:
        raise UsageError(
            f"say how many candles before a value decide it: bknb.indicator({_name_of(what, ())}, {interval!r}, "
            "lookback=200)"
        )
    hint = "it says how many candles before a value decide it, such as 200"
    lookback = whole_number("lookback", lookback, least=0, hint=hint)
    if lookback > _LONGEST:
        raise UsageError(f"lookback must be at most {_LONGEST:,} candles, got {lookback:,}")
    made = Indicator(what, interval, parameters, lookback, symbol)
    _formula_of(made)  # says what is wrong with its parameters
    return made


def values_in_run(of: Indicator, context: Any, symbol: str | None) -> RunValues:
    """The values of an indicator in the run of a context, for its own symbol or another one."""
    try:
        run = run_of(context)
    except AttributeError:
        raise UsageError(f"an indicator is called with the ctx of a strategy, got {context!r:.60}") from None
    _check_symbol(symbol)
    key: object = of if symbol is None else (of, symbol)
    found: RunValues | None = run.indicators.get(key)
    if found is None:
        wanted, same = symbol or of.symbol or _symbol_of(context), _key_of(of)
        found = run.indicators.get((same, of.interval, wanted))  # of one that was made at another question
        if found is None:
            found = RunValues(run.window, wanted, of.interval, formula := _formula_of(of), same)
            run.indicators[same, of.interval, wanted] = found
            run.indicators_read.add(formula.name)
        run.indicators[key] = found
    return found


def _of_rows(of: Indicator, candles: Candles, n: int, *, symbol: str | None, forming: bool) -> Any:
    """An array of the values of an indicator for each row of a ``get_signals``."""
    if n != 1 or forming:
        raise UsageError(
            "called with candles an indicator gives a value for each row, and takes neither n nor forming\n"
            "values before that of a row are in the rows before it"
        )
    from .indicator_values_of_rows import values_of_rows  # few strategies have rows

    _check_symbol(symbol)
    same: object = of.what
    if not isinstance(of.what, str):  # perhaps one written in get_signals
        same, function = written(of.what, candles)
        of = msgspec.structs.replace(of, what=function)
    key = (same, _with_kinds(of.parameters), of.lookback)
    return values_of_rows(candles, symbol or of.symbol, of.interval, _formula_of(of), key)


def indicator_inline(context: Context, what: Any, interval: str, parameters: tuple[Any, ...], **given: Any) -> Any:
    """The newest values of an indicator that is named where it is used; see ``Context.indicator``."""
    n, symbol, lookback = given["n"], given["symbol"], given["lookback"]
    known = run_of(context).indicators
    key: Any = what
    try:
        if not isinstance(what, str):
            key, what = written(what, context)
        key = ("inline", key, interval, _with_kinds(parameters), lookback)
        found = known.get(key)
    except TypeError:  # a parameter that cannot be a key
        return indicator(what, interval, *parameters, lookback=lookback)(context, n, symbol=symbol)
    if found is None:
        found = known[key] = indicator(what, interval, *parameters, lookback=lookback)
    return found(context, n, symbol=symbol)


def _check_symbol(symbol: object) -> None:
    if symbol is not None and not (isinstance(symbol, str) and symbol):
        raise UsageError(f"symbol must be a non-empty text such as 'BTCUSDT', got {symbol!r:.60}")


def _symbol_of(context: Any) -> str:
    try:
        symbol: str = context.symbol
    except UsageError:
        raise UsageError(
            "this question is about several symbols, so say of which the indicator is to be: "
            "fast(ctx, symbol='ETHUSDT')"
        ) from None
    return symbol


def _formula_of(of: Indicator) -> Formula:
    name = _name_of(of.what, of.parameters)
    if isinstance(of.what, str):
        known, function = named(of.what), function_of(of.what, of.parameters)
        takes: tuple[str | Parameter, ...] = (*known.columns, *map(Parameter, of.parameters))
        by_hand = not known.is_known or of.lookback < known.lookback(*of.parameters)
        about = {"is_known": known.is_known, "looks_back_by_hand": by_hand, "has_switches": not is_of_window(known)}
        return Formula(name, function, takes, of.lookback, **about)
    return Formula(name, of.what, arguments_of(of.what, of.parameters, name), of.lookback)


def _key_of(of: Indicator) -> object:
    """What is the same for indicators of the same values."""
    key = (of.what, _with_kinds(of.parameters), of.lookback)
    try:
        hash(key)
    except TypeError:
        return of
    return key


def _with_kinds(parameters: tuple[Any, ...]) -> tuple[object, ...]:
    """Parameters, so that 1, 1.0 and True are three."""
    return parameters, *map(type, parameters)


def _name_of(what: Any, parameters: tuple[Any, ...]) -> str:
    name = what if isinstance(what, str) else getattr(what, "__name__", None) or type(what).__name__
    return f"{name}({', '.join(f'{each!r:.20}' for each in parameters)})" if parameters else name
