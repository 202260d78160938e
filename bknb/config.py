"""Settings of runs: a frozen struct; ``set_config`` validates all of it, or changes nothing."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec

from .errors import UsageError
from .process import at_reset

_FARTHEST_STOP: Final = 20.0  # percent of the entry; these two are the limits of the strict settings
_LONGEST_LIFE: Final = 24 * 60  # minutes
_MAX_ADDS: Final = 10


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a run assumes about costs, limits and fetching.

    Parameters
    ----------
    schedule_await_minutes
        A limit or stop entry that was not filled in this many minutes is cancelled, but not before one interval of the
        strategy has passed, nor over longer base bars before twenty of them.
    avg_price_candles_count
        One-minute candles in the volume-weighted average price that a strategy gets as ``price``; over longer base bars
        that is the last close.
    percent_slippage, percent_fee
        Cost per side, in percent of the traded value; below 100.
    min_take_profit_distance_percent
        A take profit nearer to the entry than this (percent of the entry) is refused; 0: any that covers two fees and
        two slippages.
    min_stop_loss_distance_percent, max_stop_loss_distance_percent
        A stop loss nearer, or farther, than this (percent of the entry) is refused; 0 and ``None``: any on the right
        side.
    max_signal_lifetime_minutes
        The longest ``minute_estimated_time`` a signal may ask for, and the longest ``valid`` of an add; ``None``: any.
    max_adds
        How many times a position may be added to; 0: never, ``None``: as often as is answered.
    price_tick
        The smallest step of prices on the market (quote currency). Levels of signals are put on this grid, away from
        the market, in every execution model. ``None``: unknown, levels stay as they are.
    max_signal_generation_seconds
        A strategy that takes longer than this is abandoned for that slot.
    get_candles_retry_count, get_candles_retry_delay_ms
        Attempts to fetch candles, and the pause between two attempts.
    get_candles_price_anomaly_threshold_factor
        A price below (reference / factor) marks an unfinished candle.
    get_candles_min_candles_for_median
        From this many candles on the reference price is their median, else their mean.
    max_candles_per_request
        Page size of a fetch.
    get_candles_timeout_seconds
        In live, an answer of the exchange that takes longer than this is given up, and counts as a failed attempt. A
        call of ``on_candle_data`` that takes longer is given up, too.
    patience_minutes
        In live, how long a minute that is missing between others is waited for before the run goes on over what there
        is (with ``allow_gaps=True`` it goes on at once), after how long without any candle that is told, and how long a
        price that jumped out of all proportion must stay there to be believed.
    count_tries
        Whether runs are noted in the ledger of tries, ``./dump/tries.jsonl``, which counts the strategies that were
        tried on the same candles; no run does anything else because of it.
    indicator_cache
        Whether values of indicators that are functions of your own are kept on disk for later runs: ``True`` keeps them
        in ``indicators`` beside the candle store of the exchange, or in ``./dump`` where it has none; a text is another
        folder. They are taken for the same candles, code and versions alone.

    Examples
    --------
    >>> Settings().percent_fee
    0.1
    """

    schedule_await_minutes: int = 120
    avg_price_candles_count: int = 5
    percent_slippage: float = 0.1
    percent_fee: float = 0.1
    min_take_profit_distance_percent: float = 0.0
    min_stop_loss_distance_percent: float = 0.0
    max_stop_loss_distance_percent: float | None = None
    max_signal_lifetime_minutes: int | None = None
    price_tick: float | None = None
    max_adds: int | None = _MAX_ADDS
    max_signal_generation_seconds: int = 180
    get_candles_retry_count: int = 3
    get_candles_retry_delay_ms: int = 5000
    get_candles_price_anomaly_threshold_factor: int = 1000
    get_candles_min_candles_for_median: int = 5
    max_candles_per_request: int = 1000
    get_candles_timeout_seconds: int = 60
    patience_minutes: int = 10
    count_tries: bool = True
    indicator_cache: bool | str = False

    @classmethod
    def strict(cls) -> Settings:
        """Settings that also refuse unusual signals, as backtest-kit does.

        A take profit and a stop loss at least 0.5 % from the entry, a stop loss at most 20 %, a lifetime of at most a
        day.

        Examples
        --------
        >>> Settings.strict().max_signal_lifetime_minutes
        1440
        """
        return cls(
            min_take_profit_distance_percent=0.5,
            min_stop_loss_distance_percent=0.5,
            max_stop_loss_distance_percent=_FARTHEST_STOP,
            max_signal_lifetime_minutes=_LONGEST_LIFE,
        )

    @property
    def costs_percent(self) -> float:
        """The costs of a round trip, in percent of the traded value."""
        return 2 * self.percent_slippage + 2 * self.percent_fee

    def decisive(self) -> dict[str, Any]:
        """The settings that can make a difference to a result, by name.

        ``max_adds`` is among them only where it is not its default: cards of 0.1.0 do not have it.
        """
        left_out = _NOT_DECISIVE if self.max_adds != _MAX_ADDS else _NOT_DECISIVE | {"max_adds"}
        return {name: value for name, value in msgspec.structs.asdict(self).items() if name not in left_out}

    def advice(self) -> dict[str, float | int]:
        """The levels and the lifetime a prompt asks a model to keep to: percent of the entry, and minutes."""
        strict = Settings.strict()
        return {
            "min_take_profit": max(
                self.min_take_profit_distance_percent or strict.min_take_profit_distance_percent,
                round(self.costs_percent, 6),
            ),
            "min_stop_loss": self.min_stop_loss_distance_percent or strict.min_stop_loss_distance_percent,
            "max_stop_loss": self.max_stop_loss_distance_percent or _FARTHEST_STOP,
            "max_minutes": self.max_signal_lifetime_minutes or _LONGEST_LIFE,
        }


_POSITIVE_INTEGERS = (
    "schedule_await_minutes",
    "avg_price_candles_count",
    "max_signal_generation_seconds",
    "get_candles_price_anomaly_threshold_factor",
    "get_candles_min_candles_for_median",
    "max_candles_per_request",
    "get_candles_timeout_seconds",
    "patience_minutes",
)
_NOT_DECISIVE: Final = frozenset({"count_tries", "get_candles_timeout_seconds", "indicator_cache", "patience_minutes"})
"""Settings that no result depends on: the same minutes give the same events."""
_BEFORE_A_SIGNAL: Final = frozenset(
    {
        "get_candles_retry_count",
        "get_candles_retry_delay_ms",
        "get_candles_price_anomaly_threshold_factor",
        "get_candles_min_candles_for_median",
        "max_candles_per_request",
        "max_signal_generation_seconds",
    }
)
"""Settings of how candles are fetched and how long a strategy is asked: what is open does not notice them."""
_NON_NEGATIVE_INTEGERS = ("get_candles_retry_count", "get_candles_retry_delay_ms")
_LARGEST_WHOLE = 2**53  # what a float holds exactly
_WHOLE = 100  # percent: a cost of all that is traded leaves nothing
_COSTS = ("percent_slippage", "percent_fee")
_DISTANCES = ("min_take_profit_distance_percent", "min_stop_loss_distance_percent")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_WHOLE


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 1e308


def _shown(value: object) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # of a whole number with thousands of digits
        return "a whole number beyond all prices"


def _limit_problems(settings: Settings) -> list[str]:
    found: list[str] = []
    adds: object = settings.max_adds
    farthest: object = settings.max_stop_loss_distance_percent
    longest: object = settings.max_signal_lifetime_minutes
    if adds is not None and (not isinstance(adds, int) or not _is_integer(adds) or adds < 0):
        found.append(f"max_adds must be a whole number of at least 0, or None, got {adds!r}")
    if farthest is not None and (not isinstance(farthest, (int, float)) or not _is_number(farthest) or farthest <= 0):
        found.append(f"max_stop_loss_distance_percent must be a finite percentage above 0, or None, got {farthest!r}")
    if longest is not None and (not isinstance(longest, int) or not _is_integer(longest) or longest <= 0):
        found.append(f"max_signal_lifetime_minutes must be a whole number above 0, or None, got {longest!r}")
    return found


def tick_problems(name: str, tick: object) -> list[str]:
    """Why a value is neither a step of prices nor ``None`` (unknown): a sentence about ``name``, or nothing.

    Examples
    --------
    >>> tick_problems("price_tick", 0.01), tick_problems("price_tick", None)
    ([], [])
    >>> print(*tick_problems("price_tick", 0))
    price_tick must be a finite price step above 0, or None, got 0; give what the market quotes, such as 0.01
    """
    if tick is None or (isinstance(tick, (int, float)) and _is_number(tick) and tick > 0):
        return []
    what = f"{name} must be a finite price step above 0, or None, got {_shown(tick)}"
    return [f"{what}; give what the market quotes, such as 0.01"]


def _choice_problems(count_tries: object, indicator_cache: object) -> list[str]:
    found = [] if isinstance(count_tries, bool) else [f"count_tries must be True or False, got {count_tries!r}"]
    is_folder = isinstance(indicator_cache, str) and bool(indicator_cache) and "\0" not in indicator_cache
    if not isinstance(indicator_cache, bool) and not is_folder:
        shown = f"{indicator_cache!r:.80}"
        found.append(f"indicator_cache must be True, False or a folder such as './dump/indicators', got {shown}")
    return found


def watching_settings(settings: Settings) -> dict[str, Any]:
    """The decisive settings that make a difference to a signal that is open already, by name."""
    return {name: value for name, value in settings.decisive().items() if name not in _BEFORE_A_SIGNAL}


def problems(settings: Settings) -> list[str]:
    """Every reason why these settings contradict themselves; empty when they do not."""
    found: list[str] = []
    for name in _POSITIVE_INTEGERS:
        value = getattr(settings, name)
        if not _is_integer(value) or value <= 0:
            found.append(f"{name} must be a whole number above 0, got {value!r}")
    for name in _NON_NEGATIVE_INTEGERS:
        value = getattr(settings, name)
        if not _is_integer(value) or value < 0:
            found.append(f"{name} must be a whole number of at least 0, got {value!r}")
    for name in _COSTS:
        value = getattr(settings, name)
        if not _is_number(value) or not 0 <= value < _WHOLE:
            found.append(f"{name} must be a percentage of at least 0 and below {_WHOLE}, got {value!r}")
    for name in _DISTANCES:
        value = getattr(settings, name)
        if not _is_number(value) or value < 0:
            found.append(f"{name} must be a finite percentage of at least 0, got {value!r}")
    found += _limit_problems(settings)
    found += tick_problems("price_tick", settings.price_tick)
    found += _choice_problems(settings.count_tries, settings.indicator_cache)
    if found:
        return found
    costs, farthest = settings.costs_percent, settings.max_stop_loss_distance_percent
    if 0 < settings.min_take_profit_distance_percent < costs:
        found.append(
            f"min_take_profit_distance_percent = {settings.min_take_profit_distance_percent:g} cannot cover two "
            f"slippages and two fees (2 x {settings.percent_slippage:g} + 2 x {settings.percent_fee:g} = {costs:g})"
        )
    if farthest is not None and settings.min_stop_loss_distance_percent >= farthest:
        found.append(
            f"min_stop_loss_distance_percent = {settings.min_stop_loss_distance_percent:g} must be below "
            f"max_stop_loss_distance_percent = {farthest:g}"
        )
    return found


def changed(settings: Settings, values: dict[str, Any]) -> Settings:
    """``settings`` with some values replaced, or an error that names every problem.

    Raises
    ------
    UsageError
        For an unknown name or a set that contradicts itself; nothing is changed.
    """
    known = Settings.__struct_fields__
    unknown = [name for name in values if name not in known]
    if unknown:
        from difflib import get_close_matches

        near = get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown setting {unknown[0]!r}{hint}\nknown: {', '.join(known)}")
    candidate = msgspec.structs.replace(settings, **values)
    found = problems(candidate)
    if found:
        raise UsageError("these settings contradict themselves, nothing was changed:\n- " + "\n- ".join(found))
    return candidate


_current = Settings()


@at_reset
def _reset() -> None:
    global _current  # noqa: PLW0603 -- beside set_config the one place where settings change
    _current = Settings()


def set_config(**values: Any) -> Settings:
    """Change settings for runs started from now on, and return the new ones.

    Raises
    ------
    UsageError
        With every reason, when a name is unknown or the set contradicts itself; then nothing changes.

    Examples
    --------
    >>> import bknb
    >>> bknb.set_config(percent_fee=0.05).percent_fee
    0.05
    >>> _ = bknb.set_config(percent_fee=0.1)
    """
    global _current  # noqa: PLW0603 -- the one place where settings change
    _current = changed(_current, values)
    return _current


def get_config() -> Settings:
    """The settings that the next run will use.

    Examples
    --------
    >>> import bknb
    >>> bknb.get_config().schedule_await_minutes
    120
    """
    return _current
