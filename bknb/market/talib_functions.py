"""TA-Lib where it is installed: its functions as they come, and which version they are of."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from typing import Any, Final

from ..errors import UsageError

_OF_UNSTABLE_PERIOD: Final = (
    *("ADX", "ADXR", "ATR", "CMO", "DX", "EMA", "HT_DCPERIOD", "HT_DCPHASE", "HT_PHASOR", "HT_SINE", "HT_TRENDLINE"),
    *("HT_TRENDMODE", "KAMA", "MAMA", "MFI", "MINUS_DI", "MINUS_DM", "NATR", "PLUS_DI", "PLUS_DM", "RSI", "STOCHRSI"),
    *("T3", "RMA", "HA", "RVI"),
)


def talib_module() -> Any:
    """TA-Lib where it is installed, else ``None``.

    Raises
    ------
    UsageError
        When one of its global switches was changed in this process.
    """
    if importlib.util.find_spec("talib") is None:
        return None
    importlib.import_module("talib")
    check_switches()
    return sys.modules["talib"]


def check_switches() -> None:
    """Raise ``UsageError`` where TA-Lib is loaded and one of its global switches is not as it comes.

    They belong to the process: with them values would be others than in another one. Those of candle patterns cannot be
    read, so they are not looked at.
    """
    talib = sys.modules.get("talib")
    if talib is None:
        return
    changed = [name for name in _known(talib) if talib.get_unstable_period(name)]
    if changed or talib.get_compatibility():
        what = f"the unstable period of {changed[0]}" if changed else "the compatibility"
        raise UsageError(
            f"{what} of TA-Lib was changed in this process, so its values would be others than in another one\n"
            "leave talib.set_unstable_period and talib.set_compatibility as they come"
        )


def talib_version() -> str | None:
    """The version of TA-Lib and of its C library; ``None`` where it is not installed.

    Examples
    --------
    >>> talib_version() is None or " (C library " in talib_version()
    True
    """
    if importlib.util.find_spec("talib") is None:
        return None
    talib = importlib.import_module("talib")
    return f"{talib.__version__} (C library {talib.__ta_version__.decode().split()[0]})"


_found: dict[int, tuple[str, ...]] = {}


def _known(talib: Any) -> tuple[str, ...]:
    """The functions with an unstable period that this TA-Lib has."""
    names = _found.get(id(talib))
    if names is None:
        names = _found[id(talib)] = tuple(filter(lambda name: _has(talib, name), _OF_UNSTABLE_PERIOD))
    return names


def _has(talib: Any, name: str) -> bool:
    try:
        with warnings.catch_warnings(action="error"):
            talib.get_unstable_period(name)
    except (KeyError, ValueError, DeprecationWarning):  # of another version
        return False
    return True
