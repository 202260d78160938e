"""Candles before each split and dividend in the terms of those after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS
from ..errors import BadCandle, DataError, UsageError
from ..market.candle_rows import in_order
from ..market.candles import Candles
from ..market.table_notes import TableNotes
from ..market.trading_days_of_bars import day_labels
from .splits_and_dividends import Action, read_actions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from ..market.sessions import Sessions

_SHOWN: Final = 5
_TELLING: Final = math.log(1.25)  # a smaller split cannot be told from a move of the price


class Adjustment(NamedTuple):
    """What the candles before a moment were multiplied by.

    Attributes
    ----------
    before : int
        Candles that open before it, and not before that of an earlier adjustment; UTC milliseconds.
    price, volume : float
        Prices and volume as traded times these are those of the adjusted candles.
    """

    before: int
    price: float
    volume: float


@dataclass(frozen=True, slots=True)
class Adjustments:
    """What the candles of a series were multiplied by, so that prices are in the terms of the last one.

    Attributes
    ----------
    steps : tuple of Adjustment
        Oldest first.
    splits, dividends : int
        How many made a difference.
    column : str
        The column of adjusted closes that says so, in place of a table; empty: none.

    Examples
    --------
    >>> print(Adjustments((Adjustment(60_000, 0.25, 4.0),), splits=1, dividends=0))
    adjusted for 1 split: the oldest prices are 0.25 of those traded
    """

    steps: tuple[Adjustment, ...]
    splits: int
    dividends: int
    column: str = ""

    def __str__(self) -> str:
        counts = ((self.splits, "split"), (self.dividends, "dividend"))
        parts = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count]
        of = f"for {' and '.join(parts) or 'no split and no dividend'}"
        made = f"adjusted by the column {self.column!r}" if self.column else f"adjusted {of}"
        return f"{made}: the oldest prices are {self.steps[0].price:.6g} of those traded" if self.steps else made


def of_symbols(
    actions: Mapping[str | None, tuple[Action, ...]], symbols: Collection[str] | None
) -> dict[str | None, tuple[Action, ...]]:
    """The actions of each symbol that is served; ``symbols`` is ``None`` for one series without a name.

    Raises
    ------
    UsageError
        It is open which actions are those of which candles.

    Examples
    --------
    >>> split = Action(0, 2.0, 0.0, 0)
    >>> of_symbols({"AAPL": (split,), "IBM": ()}, ["AAPL", "MSFT"])
    {'AAPL': (Action(when=0, split=2.0, dividend=0.0, date=0),), 'MSFT': ()}
    """
    served: list[str | None] = [None] if symbols is None else [*symbols]
    if len(served) == len(actions) == 1 and (None in actions or None in served):
        return dict.fromkeys(served, next(iter(actions.values())))
    if None in actions or (actions and not set(actions) & set(served)):
        named = "one series without a name" if symbols is None else ", ".join(list(symbols)[:_SHOWN])
        found = ", ".join(str(each) for each in list(actions)[:_SHOWN] if each is not None)
        raise UsageError(
            f"adjust is a table of {found or 'no symbol'}, and these are the candles of {named}\n"
            "a column 'symbol' says which split is whose; one series gets a name with symbol="
        )
    return {symbol: actions.get(symbol, ()) for symbol in served}


def adjusted(
    candles: Candles, actions: tuple[Action, ...], *, where: str, sessions: Sessions | None = None
) -> tuple[Candles, Adjustments]:
    """Candles whose prices before each split and dividend are in the terms of those after it, and how they became so.

    Before a split of ``n`` for one prices are divided and volumes multiplied by ``n``; before a dividend ``d`` prices
    are multiplied by ``1 - d / close``, with the close before it as it was traded; of several between the same two
    candles the later ones find that close in the terms of the earlier ones. What comes before the first candle or after
    the last one makes no difference. Of daily bars the first after it is that of its date.

    Parameters
    ----------
    candles
        Candles of one series, prices as traded, oldest first.
    actions
        Oldest first.
    where
        The name of the series, for messages.
    sessions
        The declared trading hours, which say to which date a daily bar belongs.

    Raises
    ------
    DataError
        Prices do not fall as splits would have them, or a dividend is as high as the price.
    BadCandle
        A price beside a split or a dividend is not above zero.

    Examples
    --------
    >>> rows = [(0, 400.0, 400.0, 400.0, 400.0, 1.0), (60_000, 101.0, 101.0, 101.0, 101.0, 4.0)]
    >>> candles, made = adjusted(Candles.from_rows(rows), (Action(60_000, 4.0, 0.0, 0),), where="AAPL")
    >>> candles.close.tolist(), candles.volume.tolist(), made.steps
    ([100.0, 101.0], [4.0, 4.0], (Adjustment(before=60000, price=0.25, volume=4.0),))
    """
    times = candles.timestamp
    price, volume = np.ones(len(candles)), np.ones(len(candles))
    days = _dates(times, sessions)
    inside = sorted(((action, _first(action, times, days)) for action in actions), key=itemgetter(1))
    inside = [(action, first) for action, first in inside if 0 < first < len(candles)]
    _check_whole_bars(inside, days, where)
    for first, due in groupby(inside, key=itemgetter(1)):
        together = [action for action, _ in due]
        close = float(candles.close[first - 1])
        _check_prices(candles, first, together[0], where)
        before = close
        for action in together:
            _check_dividend(action, before, where)
            price[:first] *= (1 - action.dividend / before) / action.split
            volume[:first] *= action.split
            before = (before - action.dividend) / action.split
        _check_splits(together, close, before, float(candles.open[first]), where)
    steps = tuple(
        Adjustment(action.when if days is None else int(days[at]), float(price[at - 1]), float(volume[at - 1]))
        for action, at in inside
    )
    columns: dict[str, Any] = {name: getattr(candles, name) * price for name in ("open", "high", "low", "close")}
    made = Adjustments(
        steps,
        splits=sum(action.split != 1 for action, _ in inside),
        dividends=sum(action.dividend != 0 for action, _ in inside),
    )
    return Candles.from_columns(timestamp=times, volume=candles.volume * volume, **columns), made


def _dates(times: NDArray[np.int64], sessions: Sessions | None) -> NDArray[np.int64] | None:
    """The date to which each daily bar belongs (UTC ms); ``None``: they are shorter, or bear no dates."""
    return day_labels(times, sessions) if len(times) > 1 and int(np.diff(times).min()) > DAY_MS // 2 else None


def _first(action: Action, times: NDArray[np.int64], days: NDArray[np.int64] | None) -> int:
    """The place of the first candle that opens with or after an action; of daily bars that of its date.

    The stamp of a bar is that bar, whatever date it shows in UTC.
    """
    at = int(np.searchsorted(times, action.when))
    if days is None or (at < len(times) and times[at] == action.when):
        return at
    return int(np.searchsorted(days, action.date))


def adjust_series(
    candles: Candles | Mapping[str, Candles],
    table: pd.DataFrame,
    *,
    tz: str | None,
    name: str,
    sessions: Sessions | None = None,
) -> tuple[Candles | dict[str, Candles], dict[str | None, Adjustments], TableNotes]:
    """The candles of one series or of each symbol, adjusted by a table, how they became so, and what is told of it.

    Parameters
    ----------
    candles
        One series, or a mapping from symbol to series, prices as traded.
    table, tz
        As in :func:`read_actions`.
    name
        The name of the source, for messages.
    sessions
        As in :func:`adjusted`.

    Raises
    ------
    UsageError, BadCandle, DataError
        As in :func:`read_actions`, :func:`of_symbols` and :func:`adjusted`.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [(0, 4.0, 4.0, 4.0, 4.0, 1.0), (60_000, 1.0, 1.0, 1.0, 1.0, 4.0)]
    >>> table = pd.DataFrame({"date": ["1970-01-01 00:01"], "splits": 4})
    >>> found, made, notes = adjust_series(Candles.from_rows(rows), table, tz=None, name="mine")
    >>> found.close.tolist(), str(made[None]), list(notes)
    ([1.0, 1.0], 'adjusted for 1 split: the oldest prices are 0.25 of those traded', [])
    """
    actions = read_actions(table, tz=tz)
    notes = TableNotes()
    told: list[str] = []
    if isinstance(candles, Candles):
        only = of_symbols(actions, None)[None]
        alone, made = adjusted(in_order(candles, name, told), only, where=name, sessions=sessions)
        return alone, {None: made}, TableNotes(told)
    found: dict[str, Candles] = {}
    each_made: dict[str | None, Adjustments] = {}
    of_each = of_symbols(actions, candles)
    for symbol, series in candles.items():
        where, told = f"{name}, {symbol}", []
        found[symbol], each_made[symbol] = adjusted(
            in_order(series, where, told), of_each[symbol], where=where, sessions=sessions
        )
        notes.add(told, symbol)
    if None not in actions and (unknown := [str(each) for each in actions if each not in candles]):
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        them = "it" if len(unknown) == 1 else "them"
        of_them = f"{', '.join(unknown[:_SHOWN])}{more}"
        notes.add([f"{name}: adjust has splits or dividends of {of_them}, and there are no candles of {them}"])
    return found, each_made, notes


def _check_prices(candles: Candles, first: int, action: Action, where: str) -> None:
    """Refuse prices beside an action that have no ratio."""
    for at, price in ((first - 1, float(candles.close[first - 1])), (first, float(candles.open[first]))):
        if not (price > 0 and math.isfinite(price)):
            when = int(candles.timestamp[at])
            raise BadCandle(
                f"{where}: the price at {utc_text(when)} is {price:g}, and beside a split or a dividend it must be "
                f"above zero: {utc_text(action.when)}\ncorrect the candle or leave it out",
                open_time=when,
            )


def _check_whole_bars(inside: list[tuple[Action, int]], days: NDArray[np.int64] | None, where: str) -> None:
    """Refuse splits within bars that are longer than a day: they hold prices of before and after it."""
    if days is None:
        return
    length = int(np.diff(days).min())
    for action, first in inside:
        opened = int(days[first - 1])
        if action.split != 1 and opened < action.date < opened + length:
            raise DataError(
                f"{where}: a split of {action.split:g} for 1 on {utc_text(action.date)[:10]} lies within the bar of "
                f"{utc_text(opened)[:10]}, which holds prices of before and after it\n"
                "take daily bars; where all of that bar is in the terms after it, give its first day as the date"
            )


def _check_dividend(action: Action, before: float, where: str) -> None:
    """Refuse a dividend that is no part of the price."""
    if action.dividend >= before:
        raise DataError(
            f"{where}: a dividend of {action.dividend:g} on {utc_text(action.when)}, and the price before it is "
            f"{before:.12g}\ndividends are per share as it was then"
        )


def _check_splits(together: list[Action], close: float, wanted: float, after: float, where: str) -> None:
    """Refuse splits between two candles whose prices are nearer to one another without them."""
    splits = [action for action in together if action.split != 1]
    ratio = math.prod(action.split for action in splits)
    beside, without = math.log(after / wanted), math.log(after / wanted / ratio)
    if abs(math.log(ratio)) <= _TELLING or abs(without) >= abs(beside):
        return
    first, last = utc_text(splits[0].when), utc_text(splits[-1].when)
    alone = len(splits) == 1
    told = (
        f"a split of {ratio:g} for 1 on {first}"
        if alone
        else f"splits of {ratio:g} for 1 in all from {first} to {last}"
    )
    raise DataError(
        f"{where}: {told}, and the price goes from {close:.12g} to {after:.12g}: the candles are adjusted for it "
        "already, or it was another day\nleave it out of the table, or correct its date; where the split is true and "
        f"the price moved so far besides: divide the prices and dividends before it by {ratio:g} and multiply the "
        "volumes, and leave it out"
    )
