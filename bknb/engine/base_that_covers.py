"""Which base bars a run goes over that was given none, where the finest of its exchange begin too late.

They cover a run when a candle opens no later than its frame, or its look-back where that is made of base bars. A hole
is no late begin. Where the finest do not, the next longer bars that do and that the strategy can run on are taken. A
look for an earlier candle is one request. The longest bars are looked for first: where they do not reach back, none do.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, candles_text, interval_ms
from ..errors import NotEnoughData, UsageError
from ..market.answer_notes import ignored
from ..market.calls_in_threads import candles_from
from ..market.feed import Feed
from ..market.retries import answer_to
from ..market.source_hours import sessions_of
from ..market.system_clock import SystemClock
from .get_signals_candles import loaded_rows
from .plan import Plan, open_window, over_longer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..market.window import Window

_WEEK_MS: Final = 7 * DAY_MS
_WEEKS: Final = (1, 2, 4)  # before a moment an earlier candle is looked for, at the hour at which there is one
_BEFORE_MS: Final = 28 * DAY_MS  # so far before it, as far as one request reaches
_MOST: Final = 500  # candles of a request


class _Begin(NamedTuple):
    """Where the candles of a run begin (UTC ms), and before which none were asked for; ``None``: it has none."""

    first: int | None
    asked_from: int
    lacks_rows: bool  # whether its look-back, which is made of them, is not there
    failed: NotEnoughData | None = None


async def loaded_over_bars_that_cover(
    plans: Sequence[Plan],
    *,
    warn: Callable[[str], object],
    gather: bool = True,
    check: Callable[[Plan], object] | None = None,
) -> tuple[tuple[Plan, ...], Window]:
    """The plans of one symbol and frame over bars that cover them, and the candles that all of them share.

    Of bars that do not cover, nothing is told to ``warn`` but that, and no callback hears of them. ``gather``: see
    :meth:`Feed.gather_closed`.
    """
    early: list[str] = []
    chosen = False

    def told(text: str) -> None:
        (warn if chosen else early.append)(text)

    heard = plans[0].exchange.callbacks.get("on_candle_data")
    held: list[tuple[Any, ...]] = []

    def on_candles(*given: Any) -> object:
        if heard is not None and chosen:
            return heard(*given)
        held.append(given)
        return None

    window = open_window(_heard_by(plans[0], on_candles) if heard else plans[0], warn=told)
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
    for given in held:
        if heard is not None and inspect.isawaitable(answer := heard(*given)):
            await answer
    return made, window


def _heard_by(plan: Plan, on_candles: Callable[..., object]) -> Plan:
    """The plan with another callback for candles."""
    callbacks = {**plan.exchange.callbacks, "on_candle_data": on_candles}
    return replace(plan, exchange=replace(plan.exchange, callbacks=callbacks))


async def over_bars_that_cover(
    plans: Sequence[Plan], window: Window | None, *, check: Callable[[Plan], object] | None = None
) -> tuple[Plan, ...]:
    """The plans of one symbol and frame, over longer bars where the finest do not cover the frame and the look-back.

    Parameters
    ----------
    plans
        Their base bars are the same, and stay so.
    window
        The candles of all; what a run loads first is in it from now on, and nothing else is asked for where its bars
        cover. ``None``: little is asked for to see that.
    check
        Called with the first plan over longer bars; raises ``UsageError`` where they will not do.

    Raises
    ------
    NotEnoughData
        None of its bars is in the frame, and no other bars will do: the text says which there are.
    """
    plan = plans[0]
    if not plan.longer_bases:
        return tuple(plans)
    kept = tuple(replace(each, longer_bases=()) for each in plans)
    if window is None:
        unheard = replace(plan, exchange=replace(plan.exchange, callbacks={}))
        begin = await _begin(plans, _beginning(unheard))
        if begin.first is not None and begin.first <= _opens(plan) and not begin.lacks_rows:
            return kept
        window = open_window(unheard, warn=ignored)
    begin = await _begin(plans, window)
    is_late = begin.first is None or begin.first > _opens(plan)
    if not is_late and not begin.lacks_rows:
        return kept
    made, told = await _longer(plans, begin, is_late=is_late, check=check)
    if made is not None:
        reason = _reason(plan, begin, is_late=is_late)
        text = f"exits are watched on {candles_text(made[0].base)}: {reason}"
        return tuple(replace(each, longer_bases=(), notes=(*each.notes, text)) for each in made)
    if begin.first is None:
        raise NotEnoughData(await _nothing_text(plan, begin, told))
    return tuple(replace(each, notes=(*each.notes, told)) for each in kept) if told else kept


async def _begin(plans: Sequence[Plan], window: Window) -> _Begin:
    """Load what the runs load first, and see where it begins."""
    plan, lacks_rows = plans[0], False
    start = plan.frame.start
    for each in plans:
        if each.strategy.get_signals is not None:
            with suppress(NotEnoughData):  # which the run raises itself
                rows = await loaded_rows(window, each.strategy, plan.symbol, start)
                if not _has_own_rows(each, window):
                    lacks_rows = lacks_rows or rows.closed(start) < each.strategy.lookback
    try:
        series = await window.load_run(plan.symbol, start)
    except NotEnoughData as error:
        return _Begin(None, start, lacks_rows, error)
    times = series.candles.timestamp
    is_there = len(times) > 0 and int(times[-1]) >= start
    return _Begin(int(times[0]) if is_there else None, series.since, lacks_rows)


def _has_own_rows(plan: Plan, window: Window) -> bool:
    """Whether the rows of a strategy belong to candles that its source gives itself, whatever fills orders."""
    interval, known = plan.strategy.interval, plan.exchange.source.intervals or ()
    return interval != plan.base and interval in known and not window.is_by_calendar(plan.symbol, interval)


def _beginning(plan: Plan) -> Window:
    """The first candles of a run, as many as show whether longer bars have closed before them."""
    longest = interval_ms(plan.longer_bases[-1])
    end = min(plan.frame.last, _opens(plan) + 2 * longest)
    return open_window(replace(plan, frame=replace(plan.frame, end=max(end, plan.frame.start))), warn=ignored)


def _opens(plan: Plan) -> int:
    """The first moment of a frame at which its market is open, UTC ms."""
    start, sessions = plan.frame.start, sessions_of(plan.exchange.source, plan.symbol)
    if sessions is None:
        return start
    spans = sessions.open_ranges(start, plan.frame.last)
    return spans[0][0] if spans else start


async def _longer(
    plans: Sequence[Plan], begin: _Begin, *, is_late: bool, check: Callable[[Plan], object] | None
) -> tuple[tuple[Plan, ...] | None, str]:
    """The plans over the shortest longer bars that cover them; without such what is told of those that will not do."""
    plan, before = plans[0], begin.first if is_late else None
    wholly: tuple[Plan, ...] | None = None
    partly: tuple[Plan, ...] | None = None
    told, is_hole = "", None
    for base in reversed(plan.longer_bases):
        made, refused = _over(plans, base, check)
        one = plan if made is None else made[0]
        if not await _reaches(one, base, _opens(one), before, at=begin.first):
            break
        if is_hole is None:
            is_hole = begin.first is not None and await _reaches(
                plan, plan.base, begin.asked_from - 1, None, at=begin.first
            )
            if is_hole:
                return None, ""
        if made is None:
            told = f"the {base} candles of {plan.symbol} cover the frame, but cannot fill the orders of this run: "
            told += f"{refused}\n{_way_out(plan, base)}"
        elif not begin.lacks_rows or await _reaches_rows(made):
            wholly = made
        else:
            partly = made
    return wholly or (partly if is_late else None), told if is_late else ""


def _over(
    plans: Sequence[Plan], base: str, check: Callable[[Plan], object] | None
) -> tuple[tuple[Plan, ...] | None, str]:
    """The plans over longer bars; or why these will not do."""
    try:
        made = tuple(over_longer(plan, base) for plan in plans)
        if check is not None:
            check(made[0])
    except UsageError as error:
        return None, str(error).splitlines()[0]
    return made, ""


async def _reaches(plan: Plan, base: str, moment: int, before: int | None, *, at: int | None = None) -> bool:
    """Whether a bar opens no later than a moment (UTC ms), and has closed when finer ones begin, ``before``.

    It is looked for right before the moment, and where one request does not reach far, some weeks earlier ``at`` the
    hour of a candle that there is: a market may have been closed meanwhile.
    """
    step = interval_ms(base)
    most = min(_MOST, plan.exchange.source.page_limit or _MOST)
    count = min(most, -(-_BEFORE_MS // step))
    looks = [moment - moment % step - (count - 1) * step]
    if count * step < _BEFORE_MS:
        hour = moment if at is None else at - -(-(at - moment) // _WEEK_MS) * _WEEK_MS
        looks += [hour - hour % step - weeks * _WEEK_MS for weeks in _WEEKS]
    for since in looks:
        first = await _first(plan, base, max(0, since), count)
        if first is not None and first <= moment and (before is None or first + step <= before):
            return True
    return False


async def _reaches_rows(plans: Sequence[Plan]) -> bool:
    """Whether bars reach back as far as the rows of each strategy look."""
    for plan in plans:
        strategy = plan.strategy
        if strategy.get_signals is not None:
            step = interval_ms(strategy.interval)
            moment = _feed(plan).reach_back(plan.symbol, plan.frame.start, step, strategy.lookback)
            if not await _reaches(plan, plan.base, moment, None):
                return False
    return True


async def _first(plan: Plan, base: str, since: int, count: int) -> int | None:
    """Where (UTC ms) the first candle of one request opens; ``None``: nothing came.

    Raises
    ------
    DataError
        The source does not answer.
    """
    source, until = plan.exchange.source, since + count * interval_ms(base)
    try:
        found = await answer_to(
            partial(candles_from, source, plan.symbol, base, since, count),
            what=str(_feed(plan).request(plan.symbol, base, since, until)),
            since=since,
            until=until,
            settings=plan.settings,
        )
    except NotEnoughData:
        return None
    times = found.timestamp[found.timestamp >= since]
    return int(times.min()) if len(times) else None


def _feed(plan: Plan) -> Feed:
    return Feed(plan.exchange.source, plan.settings, allow_gaps=True, now=SystemClock().now)


def _reason(plan: Plan, begin: _Begin, *, is_late: bool) -> str:
    """Why the base bars of a plan were not taken."""
    bars = f"{plan.base} candles of {plan.symbol} on {plan.exchange.name}"
    if begin.first is None:
        return f"there are no {bars} in the frame {plan.frame}"
    where = f"the {bars} begin at {utc_text(begin.first)}"
    if is_late:
        return f"{where}, after the start of the frame; base={plan.base!r} runs over what there is of them"
    return f"{where}, too late for what the strategy looks back on; base={plan.base!r} runs over them all the same"


def _way_out(plan: Plan, base: str) -> str:
    """With which options of a run longer bars would do."""
    given = [f"interval={base!r}"] if interval_ms(plan.strategy.interval) % interval_ms(base) else []
    given += ["execution='pessimistic'"] if plan.execution == "vwap" else []
    if given:
        return f"base={base!r} with {' and '.join(given)} runs over them"
    return f"base={base!r} runs over them once that is changed"


async def _nothing_text(plan: Plan, begin: _Begin, told: str) -> str:
    """What is told where a run has no base bars, and longer ones will not do or do not cover its frame."""
    text = f"{plan.symbol} on {plan.exchange.name} has no {candles_text(plan.base)} in the frame {plan.frame}"
    if begin.failed is not None:  # it answered later candles, or such of another frame
        text += f"\n{str(begin.failed).splitlines()[0]}"
    if told:
        return f"{text}\n{told}"
    longest = plan.longer_bases[-1]
    count = min(_MOST, plan.exchange.source.page_limit or _MOST)
    first = await _first(plan, longest, plan.frame.start, count)
    if first is not None and first <= plan.frame.last:
        return f"{text}\nits {longest} candles begin at {utc_text(first)}\nbegin the frame there"
    others = " ".join(plan.longer_bases)
    return f"{text}\nno longer candles were found where the frame begins: {others}\nchoose a frame inside the data"
