"""How far indicators are from TA-Lib, for every name it has.

``python tests/talib_errors.py`` measures again and writes the tables of docs/indicators.md. An error is the largest
distance to TA-Lib's value, divided by the largest value without its sign. ``tests/test_indicators.py`` compares each
formula, ``tests/test_talib_by_name.py`` the names in capitals.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

import bknb
from bknb.market.indicator_names import NAMED, function_of, named, parameters_of
from bknb.market.talib_functions import talib_module, talib_version

PAGE = Path(__file__).parent.parent / "docs" / "indicators.md"
BEGIN, END = "<!-- python tests/talib_errors.py -->", "<!-- end -->"
ROWS = 800  # newest values of a name in capitals that are compared
ACROSS = 4  # names in a row of the table
CLASSES = ("0", "1e-15", "1e-14", "1e-13", "1e-12", "1e-11", "1e-10", "1e-9", "1")
MINUTE = 60_000

LENGTHS: dict[str, list[tuple[float, ...]]] = {
    "macd": [(12, 26, 9), (3, 40, 20)], "bbands": [(20, 2.0), (3, 1.5)], "true_range": [()], "bop": [()],
    "ppo": [(12, 26), (3, 40)], "stoch": [(14, 3, 3), (5, 2, 4)], "stochrsi": [(14, 14, 3), (7, 5, 2)],
    "ultosc": [(7, 14, 28), (3, 5, 9)], "keltner": [(20, 2.0, 10), (5, 1.5, 7)], "percentile": [(20, 30.0), (7, 100.0)],
    "supertrend": [(10, 3.0, 400), (4, 2.0, 100)], "psar": [(0.02, 0.2, 200), (0.05, 0.1, 100)],
}  # fmt: skip


def change(values: Any, length: int) -> Any:
    """What has come to an endless sum in some candles."""
    return np.concatenate([np.full(length, np.nan), values[length:] - values[:-length]])


def flows(t: Any, h: Any, lo: Any, c: Any, v: Any, n: int) -> Any:
    """The change of accumulation / distribution in a window, divided by its volume."""
    before = np.concatenate([[0.0], t.AD(h, lo, c, v)])
    found = np.full(len(c), np.nan)
    found[n - 1 :] = (before[n:] - before[:-n]) / np.convolve(v, np.ones(n), "valid")
    return found


# what TA-Lib has of the names that it does not compute for bknb, made of its functions
BY_TA_LIB: dict[str, Any] = {
    "hma": lambda t, c, n: t.WMA(2 * t.WMA(c, max(n // 2, 2)) - t.WMA(c, n), int(n**0.5)) if n > 4 else None,
    "vwma": lambda t, c, v, n: t.SMA(c * v, n) / t.SMA(v, n),
    "vwap": lambda t, h, lo, c, v, n: t.SMA(t.TYPPRICE(h, lo, c) * v, n) / t.SMA(v, n),
    "zscore": lambda t, c, n: (c - t.SMA(c, n)) / t.STDDEV(c, n) if n > 2 else None,
    "linreg": lambda t, c, n: t.LINEARREG(c, n),
    "linreg_slope": lambda t, c, n: t.LINEARREG_SLOPE(c, n),
    "donchian": lambda t, h, lo, n: (t.MAX(h, n), (t.MAX(h, n) + t.MIN(lo, n)) / 2, t.MIN(lo, n)),
    "mfi": lambda t, h, lo, c, v, n: t.MFI(h, lo, c, v, n),
    "cmf": flows,
    "obv_change": lambda t, c, v, n: change(t.OBV(c, v), n),
    "psar": lambda t, h, lo, step, most, memory: t.SAR(h, lo, step, most) if memory == 200 else None,
    "supertrend": lambda t, h, lo, c, n, by, memory: t.SUPERTREND(h, lo, c, n, by) if memory == 400 else None,
    "percent_rank": lambda t, c, n: t.PERCENTRANK(c, n),
    "rma": lambda t, c, n: t.RMA(c, n),
    "keltner": lambda t, h, lo, c, n, by, m: [t.EMA(c, n) + by * side * t.ATR(h, lo, c, m) for side in (1, 0, -1)],
}
NEWER = {"percent_rank": "PERCENTRANK", "supertrend": "SUPERTREND", "rma": "RMA"}  # which older ones lack
LATER = {"psar", "supertrend"}  # NaN for longer: until their memory is there


def of_formula(name: str, candles: bknb.Candles) -> float | None:
    """The largest error of one of our formulas, over some parameters; ``None`` where this TA-Lib has nothing like it.

    Raises
    ------
    AssertionError
        When one of both has a value where the other has none.
    """
    talib, known, found = talib_module(), NAMED[name], list[float]()
    columns = [getattr(candles, column) for column in known.columns]
    for given in LENGTHS.get(name, [(2,), (14,), (50,)]):
        parameters = parameters_of(name, given)
        if known.talib is not None:
            answer = function_of(name, parameters)(*columns, *parameters)
        elif name in BY_TA_LIB and hasattr(talib, NEWER.get(name, "SMA")):
            answer = BY_TA_LIB[name](talib, *columns, *parameters)
        else:
            return None
        if answer is None:
            continue
        theirs, ours = np.atleast_2d(answer), np.atleast_2d(known.formula(*columns, *parameters))
        there = ~np.isnan(ours) if name in LATER else ~np.isnan(theirs)
        assert there.mean() > 0.9
        assert np.array_equal(there, ~np.isnan(ours)), name
        found.append(float(np.abs(ours - theirs)[there].max() / np.nanmax(np.abs(theirs))))
    return max(found)


def of_names_in_capitals(candles: bknb.Candles) -> dict[str, float]:
    """The largest errors of values in a run, which are made of a look-back, against TA-Lib over all candles."""
    given = {}
    for name in talib_module().get_functions():
        try:
            given[name] = bknb.indicator(name, "1m")
        except bknb.UsageError:  # refused, with the reason
            continue
    errors: dict[str, float] = {}

    def get_signal(ctx: Any) -> None:
        known = candles[: int(np.searchsorted(candles.timestamp, ctx.when_ms - MINUTE, side="right"))]
        for name, each in given.items():
            columns, parameters = [getattr(known, one) for one in named(name).columns], parameters_of(name, ())
            answer = getattr(talib_module(), name)(*columns, *parameters)
            theirs, ours = np.atleast_2d(np.asarray(answer, float)), np.atleast_2d(np.asarray(each(ctx, ROWS)))
            newest = theirs[:, -ROWS:]
            assert np.array_equal(np.isnan(newest), np.isnan(ours)), name
            with np.errstate(invalid="ignore"):
                apart = np.where((newest == ours) | np.isnan(newest), 0.0, np.abs(newest - ours))
            finite = theirs[np.isfinite(theirs)]
            errors[name] = float(apart.max()) / max(float(np.abs(finite).max(initial=0.0)), 1e-300)

    last = int(candles.timestamp[-1])
    exchange = bknb.exchanges.from_frame(candles.to_pandas(), name="walk")
    result = bknb.backtest("X", strategy=get_signal, interval="1m", exchange=exchange, frame=(last - MINUTE, last))
    assert not result.errors, result.errors
    return errors


def tables(formulas: dict[str, float | None], capitals: dict[str, float]) -> str:
    """Both as Markdown."""
    shown = [f"`{name}` {_digits(error)}" for name, error in formulas.items() if error is not None]
    lines = ["| name, error |" + " |" * (ACROSS - 1), "|---" * ACROSS + "|"]
    for at in range(0, len(shown), ACROSS):
        row = shown[at : at + ACROSS]
        lines.append(f"| {' | '.join([*row, *[''] * (ACROSS - len(row))])} |")
    missing = [f"`{name}`" for name, error in formulas.items() if error is None]
    lines += ["", f"TA-Lib has nothing that gives the same as {' and '.join(missing)}."] if missing else []
    lines += ["", "| names in capitals: error at most | |", "|---|---|"]
    for label in CLASSES:
        names = sorted(name for name, error in capitals.items() if _class(error) == label)
        patterns = [name for name in names if name.startswith("CDL")]
        others = ", ".join(name for name in names if name not in patterns)
        more = f", and all {len(patterns)} patterns of candles (`CDL…`)" if patterns else ""
        lines += [f"| {label} | {others}{more} |"] if names else []
    return "\n".join(lines)


def _digits(error: float) -> str:
    return f"{error:.1e}" if error else "0"


def _class(error: float) -> str:
    return next(label for label in CLASSES if error <= float(label))


def main() -> None:
    """Measure, and write the tables into the page."""
    from test_indicators import MINUTES, walk

    found = tables({name: of_formula(name, MINUTES) for name in NAMED}, of_names_in_capitals(walk(9_000)))
    text = f"{BEGIN}\nWith TA-Lib {talib_version()}, numpy {np.__version__}:\n\n{found}\n{END}"
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: text, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
