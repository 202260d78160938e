"""Over which base bars a run over history goes that was given no ``base=``.

These are the finest of its source, unless longer ones are there before them: of the longest that have room for a whole
bar between the begin of frame and look-back and the first of the finest, one lies there. Then they are the finest whose
first candle lies within the first bar of each longer interval. What is before frame and look-back makes no difference,
and a market that is closed where they begin is closed in all intervals.

1. The finest are loaded, as the run needs them. Where they begin with frame and look-back nothing else is asked for.
2. Else the longest bars that have room are looked for. Where there are none, as of a young symbol or in a closure, the
   finest stay: one request shows that, or one for each page of these bars.
3. Else each shorter interval is looked for within the first bar of those before it. The shortest that is there, and
   that the strategy can run on, is taken.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import WEEK, candles_text, interval_ms
from ..errors import BadCandle, GapError, NotEnoughData, UsageError
from ..market.answer_notes import ignored
from ..market.bar_slots import bar_close, slot_from, slot_of
from ..market.calls_in_threads import candles_from
from ..market.candles_repaired_or_refused import series_text
from ..market.fetch_loop import submit
from ..market.measured_bar_length import WEEKS_ALONE
from ..market.retries import answer_to
from ..market.source_hours import bar_grid_of, sessions_of
from .plan import Plan, open_window, over_longer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ..domain.ranges import Range
    from ..market.window import Window


class _Begin(NamedTuple):
    """Where frame and look-back of some runs begin (UTC ms), and the finest candles in them.

    ``first`` is ``None`` where no candle came at once: there may be none, or later ones, or such that are refused.
    """

    since: int
    first: int | None


async def loaded_over_bars_that_cover(
    plans: Sequence[Plan],
    *,
    warn: Callable[[str], object],
    gather: bool = True,
    check: Callable[[Plan], object] | None = None,
) -> tuple[tuple[Plan, ...], Window]:
    """The plans of one symbol and frame over bars that cover them, and the candles that all of them share.

    Of bars that are not taken, nothing is told to ``warn``, and no callback hears of them. ``gather``: see
    :meth:`Feed.gather_closed`.
    """
    early: list[str] = []
    chosen = False

    def told(text: str) -> None:
        (warn if chosen else early.append)(text)

    window = open_window(plans[0], warn=told)
    if gather:
        window.gather_closed()
    try:
        made = await over_bars_that_cover(plans, window, check=check)
    except NotEnoughData as error:
        window.tell_closed()  # which may say why there are none
        raise NotEnoughData("\n".join([str(error), *early[-1:]])) from None
    if made[0].base != plans[0].base:
        return made, open_window(made[0], warn=warn)
    for text in early:
        warn(text)
    chosen = True
    await asyncio.wrap_future(submit(window.release_callbacks()))
    return made, window


async def over_bars_that_cover(
    plans: Sequence[Plan], window: Window | None, *, check: Callable[[Plan], object] | None = None
) -> tuple[Plan, ...]:
    """The plans of one symbol and frame, over longer bars where the finest do not cover frame and look-back.

    Parameters
    ----------
    plans
        Their base bars are the same, and stay so.
    window
        The candles of all. What a run loads first is in it from now on, where its bars are taken; callbacks hear of it
        with ``release_callbacks``. ``None``: others load it, and little is asked for here.
    check
        Called with the first plan over longer bars; raises ``UsageError`` where they will not do.

    Raises
    ------
    NotEnoughData
        None of its bars is in the frame, and no other bars will do: the text says which there are.
    """
    plan, told = plans[0], ""
    if not plan.longer_bases:
        return tuple(plans)
    looked_at = _beginning(plan) if window is None else window
    looked_at.hold_callbacks()
    begin = await _begin(plans, looked_at)
    for since in dict.fromkeys((begin.since, plan.frame.start)):  # the frame alone, where no bars will do for both
        if begin.first is not None and begin.first <= _opens(plan, since):
            told = ""
            break
        needed = begin._replace(since=since)
        firsts = await _first_bars(plan, needed)
        made, told = _over(plans, firsts, check)
        if made:
            why = _reason(plan, needed, made[0].base, firsts)
            others = [each for each in firsts if interval_ms(each) > interval_ms(made[0].base)]
            way_out = f", base={others[-1]!r} over longer bars" if others else ""
            return tuple(replace(each, why_base=why + way_out, notes=(*each.notes, why)) for each in made)
    if begin.first is None and window is not None:
        await _load_all(plan, window, begin.since, told)
    notes = (told,) if told else ()
    return tuple(replace(each, longer_bases=(), notes=(*each.notes, *notes)) for each in plans)


# --- the finest bars ------------------------------------------------------------------------------------------------


async def _begin(plans: Sequence[Plan], window: Window) -> _Begin:
    """Load the finest candles of frame and look-back, without looking for any behind a first answer of nothing."""
    plan = plans[0]
    since, start = min(_look_back(each, window) for each in plans), plan.frame.start
    try:
        times = await _load(plan, window, since, search=False)
    except (NotEnoughData, GapError, BadCandle):  # which the run raises itself where it goes over them
        return _Begin(since, None)
    if not len(times) or int(times[-1]) < start:
        return _Begin(start, None)
    return _Begin(since, int(times[0]))


async def _load_all(plan: Plan, window: Window, since: int, told: str) -> None:
    """Load what there is of the finest candles; raises ``NotEnoughData`` where none is in the frame."""
    why = ""
    try:
        times = await _load(plan, window, since, search=True)
        if len(times) and int(times[-1]) >= plan.frame.start:
            return
    except NotEnoughData as error:  # it answered later candles, or such of another frame
        why = f"\n{str(error).splitlines()[0]}"
    text = f"{plan.symbol} on {plan.exchange.name} has no {candles_text(plan.base)} in the frame {plan.frame}{why}"
    if told:
        raise NotEnoughData(f"{text}\n{told}")
    weeks = f"; {WEEKS_ALONE}" if WEEK in (plan.exchange.source.intervals or ()) else ""
    others = " ".join(plan.longer_bases)
    longest = f"nor {candles_text(plan.longer_bases[-1])}; base= takes others, where there are some: {others}{weeks}"
    raise NotEnoughData(f"{text}\n{longest}\nchoose a frame inside the data")


async def _load(plan: Plan, window: Window, since: int, *, search: bool) -> NDArray[np.int64]:
    """Open times (UTC ms) of the base bars from ``since`` on, once they and those of the first price are loaded."""
    of_price = window.reach_back(plan.symbol, plan.frame.start, window.base_ms, window.price_count)
    loading = window.load(plan.symbol, plan.base, min(since, of_price), search=search)
    times = (await asyncio.wrap_future(submit(loading))).candles.timestamp
    return times[times >= since]


def _look_back(plan: Plan, window: Window) -> int:
    """Where (UTC ms) frame and look-back of a run begin, as far as candles of its strategy are made of base bars."""
    strategy, start, known = plan.strategy, plan.frame.start, plan.exchange.source.intervals or ()
    interval = strategy.interval
    if strategy.get_signals is None:
        return start
    if window.is_by_calendar(plan.symbol, interval):
        return min(start, window.calendar_candles().begin(plan.symbol, interval, strategy.lookback, start))
    if interval != plan.base and interval in known:  # the source gives them itself, whatever fills orders
        return start
    return min(start, window.reach_back(plan.symbol, start, interval_ms(interval), strategy.lookback))


def _beginning(plan: Plan) -> Window:
    """The first candles of a run alone."""
    end = min(plan.frame.last, _opens(plan, plan.frame.start) + 2 * interval_ms(plan.longer_bases[-1]))
    return open_window(replace(plan, frame=replace(plan.frame, end=max(end, plan.frame.start))), warn=ignored)


def _opens(plan: Plan, since: int) -> int:
    """The first moment from ``since`` on at which the market is open, both UTC ms."""
    sessions = sessions_of(plan.exchange.source, plan.symbol)
    spans = () if sessions is None else sessions.open_ranges(since, plan.frame.last)
    return spans[0][0] if spans else since


# --- longer bars ----------------------------------------------------------------------------------------------------


async def _first_bars(plan: Plan, begin: _Begin) -> dict[str, int]:
    """Where (UTC ms) the longer bars open that are there before the finest, the longest first; none: these stay."""
    firsts: dict[str, int] = {}
    grid = bar_grid_of(plan.exchange.source, plan.symbol)
    span = begin.since, begin.since
    for base in reversed(plan.longer_bases):
        step = interval_ms(base)
        if not firsts:
            end = plan.frame.last + 1 if begin.first is None else slot_of(begin.first, step, grid)
            span = slot_from(begin.since, step, grid), end
        if span[0] >= span[1]:  # no whole one lies between
            continue
        try:
            opened = await _first(plan, base, span)
        except GapError:  # they were never downloaded
            continue
        if opened is None:
            if not firsts:
                return {}
            continue
        before, span = (begin.since, span[0]), (opened, bar_close(opened, step, grid))
        if begin.first is None and not firsts:
            first = await _first(plan, plan.base, before) or await _first(plan, plan.base, span)
            if first is not None:  # among longer bars that lie before it
                return await _first_bars(plan, begin._replace(first=first))
        firsts[base] = opened
    return firsts


async def _first(plan: Plan, base: str, span: Range) -> int | None:
    """Where (UTC ms) the first candle in a span opens; ``None``: there is none."""
    step = interval_ms(base)
    most = plan.exchange.source.page_limit or max(-(-(span[1] - span[0]) // step), 1)  # without pages all at once
    first: int | None = None
    for since in range(*span, most * step):
        count = min(most, -(-(span[1] - since) // step))
        first = await _answered(plan, base, since, count)
        while first is not None and since < first < since + count * step:  # some answer the newest of those asked for
            count = -(-(first - since) // step)
            earlier = await _answered(plan, base, since, count)
            if earlier is None or earlier >= first:
                break
            first = earlier
        if first is not None:
            break
    return first if first is not None and first < span[1] else None


async def _answered(plan: Plan, base: str, since: int, count: int) -> int | None:
    """Where (UTC ms) the first candle of one answer opens; ``None``: nothing came.

    Raises
    ------
    DataError
        The source does not answer.
    """
    source, until = plan.exchange.source, since + count * interval_ms(base)
    try:
        found = await answer_to(
            partial(candles_from, source, plan.symbol, base, since, count),
            what=series_text(plan.symbol, base, source.name),
            since=since,
            until=until,
            settings=plan.settings,
        )
    except NotEnoughData:
        return None
    times, sessions = found.timestamp[found.timestamp >= since], sessions_of(source, plan.symbol)
    if sessions is not None:
        times = times[sessions.open_minutes(times, interval_ms(base)) > 0]
    return int(times.min()) if len(times) else None


def _over(
    plans: Sequence[Plan], firsts: dict[str, int], check: Callable[[Plan], object] | None
) -> tuple[tuple[Plan, ...], str]:
    """The plans over the shortest of these bars that they can run on; or none, and why the shortest will not do."""
    told = ""
    for base in reversed(firsts):
        try:
            made = tuple(replace(over_longer(plan, base), longer_bases=()) for plan in plans)
            if check is not None:
                check(made[0])
        except UsageError as error:
            told = told or (
                f"the {base} candles of {plans[0].symbol} cover the frame, but cannot fill the orders of this run: "
                f"{str(error).splitlines()[0]}\n{_way_out(plans[0], base)}"
            )
        else:
            return made, ""
    return (), told


def _reason(plan: Plan, begin: _Begin, base: str, firsts: dict[str, int]) -> str:
    """Why the finest bars were not taken, and how they are."""
    where = "the frame" if begin.since == plan.frame.start else "frame and look-back"
    finest = f"{plan.base} candles of {plan.symbol} on {plan.exchange.name}"
    opened, watched = utc_text(firsts[base]), f"exits are watched on {candles_text(base)}"
    if begin.first is None:
        found = f"there are no {finest} yet at {opened}, where its {base} bars begin in {where}"
        return f"{watched}: {found}; base={plan.base!r} runs over those that come later, if any do"
    found = f"the {finest} begin at {utc_text(begin.first)} in {where}, its {base} bars at {opened}"
    return f"{watched}: {found}; base={plan.base!r} runs over what there is of the {plan.base} candles"


def _way_out(plan: Plan, base: str) -> str:
    """With which options of a run longer bars would do."""
    given = [f"interval={base!r}"] if interval_ms(plan.strategy.interval) % interval_ms(base) else []
    given += ["execution='pessimistic'"] if plan.execution == "vwap" else []
    if given:
        return f"base={base!r} with {' and '.join(given)} runs over them"
    return f"base={base!r} runs over them once that is changed"
