"""What a strategy is given besides its function, checked: interval, schedules, ``manage``, parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..domain.interval import INTERVAL_MS, WEEK, interval_ms
from ..domain.whole_number import whole_number
from ..errors import UsageError
from .call_by_name import Manage, managing_by_name, own_parameters, params_given, takes_others
from .registry import AnyFunction, Strategy

if TYPE_CHECKING:
    from ..domain.schedules import Schedule
    from ..market.candles_beside_rows import Used

_OF_SCHEDULES: Final = "1d"  # the interval of a strategy that has a schedule and says none


def checked_interval(name: str, interval: str | None, at: object, what: str = "get_signal") -> str:
    """The interval of a strategy; one with a schedule needs none, and has that of a day.

    Raises
    ------
    UsageError
        It is no interval, or there is neither.
    """
    if interval is None:
        if at is None:
            raise UsageError(
                f"strategy {name!r} has neither interval nor at\n"
                "say how often it is asked: interval='15m', or at='session_open+30m'"
            )
        return _OF_SCHEDULES
    if interval == "1M":
        raise _of_calendar(name, interval, what)
    interval_ms(interval)
    return interval


def over_bars_of(base: str, strategy: Strategy) -> Strategy:
    """The strategy as it is asked over base bars: one with a schedule counts weekly bars where it would count days.

    Raises
    ------
    UsageError
        It is asked by the week, and the base bars are shorter.

    Examples
    --------
    >>> from bknb.engine.registration_checks import make_strategy
    >>> over_bars_of("1w", make_strategy("weekly", lambda ctx: None, at="mon")).interval
    '1w'
    """
    if base == WEEK:
        by_schedule = strategy.at is not None and strategy.interval == _OF_SCHEDULES
        return replace(strategy, interval=WEEK) if by_schedule else strategy
    if WEEK not in (strategy.interval, strategy.manage_interval):
        return strategy
    if strategy.interval != WEEK:
        raise UsageError(
            f"strategy {strategy.name!r}: manage_interval {WEEK} is for weekly bars, and the run has {base} bars\n"
            "say when manage is asked: manage_at='mon'"
        )
    raise _of_calendar(strategy.name, WEEK, "get_signal" if strategy.get_signals is None else "get_signals")


def _of_calendar(name: str, interval: str, what: str) -> UsageError:
    """That weeks over shorter bars, and months, are no interval of a strategy."""
    day = "mon" if interval == WEEK else "month"
    way_out = f"say when it is asked: at={day!r}"
    if what == "get_signals":
        way_out = (
            f"give a get_signal with at={day!r}, which looks at ctx.candles({interval!r}, 50), "
            "or rows of days: interval='1d'"
        )
    what_it_is = f"{interval} is an interval of candles, whose weeks and months begin with a session"
    if interval == WEEK:
        what_it_is = (
            "1w is the interval of a strategy over weekly bars alone; over shorter ones weeks begin with a session"
        )
    return UsageError(f"strategy {name!r}: {what_it_is}\n{way_out}")


def checked_schedules(
    name: str, at: object, late: object, manage_at: object, *, what: str, manage: AnyFunction | None
) -> tuple[Schedule | None, bool, Schedule | None]:
    """The schedule of a strategy, whether it is asked late, and the schedule of its ``manage``."""
    if at is None and manage_at is None and late in ("miss", False):
        return None, False, None
    from ..domain.schedule_text import as_schedule  # few strategies have one

    if late not in ("miss", "ask", False, True):
        raise UsageError(f"late of strategy {name!r} must be 'miss' or 'ask', got {late!r:.40}")
    if what == "get_signals":
        raise UsageError(
            f"strategy {name!r}: get_signals answers for each candle of its interval, not at= and manage_at= moments\n"
            "give a get_signal, which is asked at moments, or leave them out"
        )
    if at is None and late in ("ask", True):
        raise UsageError(f"strategy {name!r} has late='ask' and no at; only a schedule has moments that can be missed")
    if manage_at is not None and manage is None:
        raise UsageError(f"strategy {name!r} has a manage_at and no manage\ngive manage=, a function (ctx, position)")
    return (
        None if at is None else as_schedule(at),
        late in ("ask", True),
        None if manage_at is None else as_schedule(manage_at, "manage_at"),
    )


def checked_places(name: str, places: object, *, weights: bool) -> int:
    """How many places strategy ``name`` has; ``weights``: whether it answers with weights.

    Raises
    ------
    UsageError
        It is no whole number of at least 1, or there are several for weights.
    """
    hint = "say how many of its signals may wait or be open at a time, such as 20"
    count = whole_number("places", places, least=1, hint=hint)
    if count > 1 and weights:
        raise UsageError(
            f"strategy {name!r} answers with weights, which say what is held in all: they have no places\n"
            "leave places out, or give a get_signal"
        )
    return count


def checked_uses(name: str, uses: object, function: AnyFunction, *, what: str) -> tuple[Used, ...]:
    """The candles that a ``get_signals`` reads beside its own.

    Raises
    ------
    UsageError
        They are no list of intervals, or of symbols with an interval; or there is no ``get_signals``, or one that takes
        ``others`` without them.
    """
    if uses is None or uses == ():
        if what == "get_signals" and takes_others(function):
            raise UsageError(
                f"get_signals of strategy {name!r} takes others, and uses= names no candles\n"
                "name them: uses=['4h', ('BTCUSDT', '1d')]"
            )
        return ()
    if what != "get_signals":
        raise UsageError(
            f"strategy {name!r} has uses= and no get_signals\n"
            f"leave it out: {what} asks for any candles, as ctx.candles('4h', 50)"
        )
    if isinstance(uses, str) or not isinstance(uses, Sequence) or not uses:
        raise UsageError(
            f"uses of strategy {name!r} must be a list of intervals, or of symbols with an interval, got {uses!r:.60}\n"
            "such as uses=['4h', ('BTCUSDT', '1d')]"
        )
    return tuple(_used(name, each) for each in uses)


def _used(name: str, each: object) -> Used:
    parts = (each,) if isinstance(each, str) else tuple(each) if isinstance(each, Sequence) else ()
    if len(parts) not in (1, 2) or not all(isinstance(part, str) and part for part in parts):
        raise UsageError(
            f"uses of strategy {name!r}: an interval such as '4h', or a symbol and an interval, got {each!r:.60}\n"
            "such as ('BTCUSDT', '1d')"
        )
    if len(parts) == 2 and _is_interval(parts[0]) and not _is_interval(parts[1]):
        raise UsageError(
            f"uses of strategy {name!r}: the symbol comes first: {(parts[1], parts[0])!r}, not {each!r:.60}"
        )
    if not _is_interval(parts[-1]):
        interval_ms(parts[-1])  # says which there are
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])


def _is_interval(text: str) -> bool:
    from ..market.calendar_candles import LENGTHS_MS  # few strategies use other candles

    return text in INTERVAL_MS or text in LENGTHS_MS


def checked_manage(
    name: str, manage: AnyFunction | None, manage_interval: str | None, params: Mapping[str, Any]
) -> Manage | None:
    """How the ``manage`` of strategy ``name`` is asked; ``None``: there is none.

    Raises
    ------
    UsageError
        It is no function, or there is an interval without it.
    """
    if manage_interval is not None:
        interval_ms(manage_interval)
        if manage is None:
            raise UsageError(
                f"strategy {name!r} has a manage_interval and no manage\ngive manage=, a function (ctx, position)"
            )
    if manage is None:
        return None
    if not callable(manage):
        raise UsageError(f"manage of strategy {name!r} must be a function (ctx, position), got {manage!r:.80}")
    return managing_by_name(manage, params)


def checked_params(
    name: str, function: AnyFunction, params: Mapping[str, Any] | None, *, manage: AnyFunction | None = None
) -> dict[str, Any]:
    """Parameters by name, when the function of strategy ``name``, or its ``manage``, has each of them."""
    chosen, (own, takes_any) = params_given(name, params), own_parameters(function, manage)
    if takes_any:
        return chosen
    for one in chosen:
        if one not in own:
            near = get_close_matches(str(one), own, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            beside = "" if near or manage is not None else "\nwhere it is one of manage, give manage= too"
            raise UsageError(
                f"strategy {name!r} has no parameter {one!r}{hint}\nits parameters: {', '.join(own) or 'none'}{beside}"
            )
    return chosen
