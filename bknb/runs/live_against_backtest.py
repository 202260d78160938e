"""``result.against_backtest()``: a live run beside the backtest of its minutes, each difference with its cause."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import numpy as np

from ..config import Settings
from ..domain.account_beside_record import (
    Cause,
    RecordOfTrade,
    account_beside_record,
    profit_without_record,
)
from ..domain.implementation_shortfall import STOP_REASONS, TradedOrder
from ..domain.interval import interval_ms
from ..domain.quote_currency import base_of, quote_of
from ..domain.run_notes import ByHand, Refused, RunNote
from ..domain.signal import SignalKey, key_of
from ..domain.signal_events import Cancelled, Closed, Opened, Scheduled
from ..domain.trades_beside_trades import (
    ComparedTrade,
    Evidence,
    TradeDifference,
    Trades,
    differences_by_evidence,
    total,
)
from ..errors import UsageError
from ..reports.live_comparison import Difference, LiveComparison
from .fill_table import fills_of
from .live_beside_backtests import backtests_beside, lives_in
from .recorded_candles_source import Row

if TYPE_CHECKING:
    from ..engine.records import Records
    from ..live.plan import LivePlan
    from .result import Result

_STILL_OPEN: Final = frozenset({"frame_end", "data_end"})
_NOT_PLANNED: Final = "it is no live run: a backtest is what a live run is set beside"


class Recorded(NamedTuple):
    """What a live run has recorded: candles that it has worked on, and notes."""

    rows: Sequence[Row]
    notes: Sequence[RunNote]


def live_against_backtest(result: Result) -> LiveComparison:
    """A live run beside the backtest of its minutes.

    Raises
    ------
    UsageError
        The result is no live run's, or nothing was recorded of it.
    """
    plan, recorded = _checked(result)
    records, orders = result.run_record.records, _by_signal(result)
    lives = lives_in(recorded.notes)
    start, last = lives[0].since if lives else result.start, result.end
    quantities = _Quantities(plan, orders)
    settings_at = _settings_of_lives(plan, recorded.notes)
    live = _Compared(records, start=start, last=last, settings_at=settings_at, quantities=quantities)
    still_open = _still_open(records, live.ended)
    live.leave_open(still_open)

    def trades_of(of: Records, settings: Settings) -> Trades:
        compared = _Compared(of, start=start, last=last, settings_at=lambda _: settings, quantities=quantities)
        compared.leave_open({key: since for key, since in still_open.items() if compared.is_open(key)})
        return compared.trades

    steps = backtests_beside(
        plan, records, start=start, last=last, rows=recorded.rows, notes=recorded.notes, trades_of=trades_of
    )
    first, final, compared = steps.first, steps.last, live.trades
    differences = [*steps.differences]
    differences += differences_by_evidence(
        final, compared, _evidence(plan, records, recorded, orders), _otherwise(plan, recorded.notes)
    )
    account, of_account = _account(plan, live, orders, recorded.rows, still_open, start)
    differences += of_account
    return LiveComparison(
        strategy=result.strategy,
        symbol=result.symbol,
        start=start,
        end=last,
        unit=(quote_of(result.symbol) or "money") if quantities.in_money else "%",
        backtest=total(first),
        recorded=total(final),
        record=total(compared),
        live=total(compared) + account,
        trades=sum(trade.traded for trade in compared.values()),
        backtest_trades=sum(trade.traded for trade in first.values()),
        open=len(still_open),
        differences=tuple(
            Difference(signal_id=key[0], decided_at=key[1], cause=cause, amount=amount, text=text)
            for key, cause, amount, text in sorted(differences, key=lambda each: each.key[1])
        ),
        notes=_notes(plan, quantities, recorded.rows, start=start),
    )


def _checked(result: Result) -> tuple[LivePlan, Recorded]:
    from ..live.plan import LivePlan

    record = result.run_record
    plan, recorded = record.plan, record.recorded
    if not isinstance(plan, LivePlan) or recorded is None:
        raise UsageError(f"{result.strategy} on {result.symbol}: {_NOT_PLANNED}\ncall it on the result of bknb.Live")
    if plan.strategy.portfolio_weights is not None:
        raise UsageError(
            f"{result.strategy} on {result.symbol} is a leg of weights that are decided together: a backtest of one "
            "leg has no weights\nset the whole portfolio beside bknb.portfolio over the same time"
        )
    rows, notes = recorded()
    if not rows:
        raise UsageError(
            f"no minute of {result.strategy} on {result.symbol} is recorded yet\n"
            "a run records the minutes it has worked on; one of an earlier version has recorded none"
        )
    return plan, Recorded(rows, notes)


def _by_signal(result: Result) -> dict[SignalKey, list[TradedOrder]]:
    found: dict[SignalKey, list[TradedOrder]] = {}
    for order in () if (traded := result.run_record.traded) is None else traded():
        found.setdefault(order.key, []).append(order)
    return found


class _Quantities:
    """How much was traded of each signal, in base currency; 1 % of the entry value each where nothing was."""

    def __init__(self, plan: LivePlan, orders: dict[SignalKey, list[TradedOrder]]) -> None:
        entries = {key: each[0] for key, each in orders.items() if each[0].purpose == "open"}
        self._known = {key: entry.kept or entry.quantity for key, entry in entries.items() if entry.quantity > 0.0}
        fixed = plan.quantity if isinstance(plan.quantity, int | float) else 0.0
        self._fixed = float(fixed)
        self._by_moment = sorted((key[1], quantity) for key, quantity in self._known.items())
        self.in_money = bool(self._known) or self._fixed > 0.0
        self.is_guessed = False

    def of(self, event: Closed) -> float:
        """How much one trade has of its first fill."""
        known = self._known.get(key_of(event.signal))
        if known is not None:
            return known
        if self._fixed:
            return self._fixed * (event.signal.size or 1.0)
        self.is_guessed = True
        before = [quantity for when, quantity in self._by_moment if when <= event.signal.scheduled_at]
        return before[-1] if before else self._by_moment[0][1]


class _Compared:
    """The trades of a run from one moment to another (UTC ms), as they are compared."""

    def __init__(
        self,
        records: Records,
        *,
        start: int,
        last: int,
        settings_at: Callable[[int], Settings],
        quantities: _Quantities,
    ) -> None:
        self.closed = {
            key_of(each.signal): each
            for each in records.closed
            if each.signal.scheduled_at >= start and each.signal.pending_at < last
        }
        self.ended = {*self.closed, *(key_of(each.signal) for each in records.cancelled)}
        self.last, self._settings_at, self._quantities = last, settings_at, quantities
        waited = [each for each in records.cancelled if start <= each.signal.scheduled_at < last]
        self.trades = {key: self._compared(each) for key, each in self.closed.items()}
        self.trades |= {key_of(each.signal): _of_cancelled(each) for each in waited}

    def is_open(self, key: SignalKey) -> bool:
        """Whether a trade ends with the last moment, or behind it."""
        return key in self.closed and self.trades[key].ended_at >= self.last

    def leave_open(self, keys: Mapping[SignalKey, int]) -> None:
        """Take signals, by key with the moment of their decision, for open at the end: they count 0 until they end."""
        self.trades |= {key: ComparedTrade(since, self.last, 0.0, "open", traded=False) for key, since in keys.items()}

    def _compared(self, event: Closed) -> ComparedTrade:
        value = event.of_equity if not self._quantities.in_money else self.record_of(event).profit
        ended = self.last if event.close_reason in _STILL_OPEN else event.closed_at
        return ComparedTrade(event.signal.pending_at, ended, value, _identity(event))

    def record_of(self, event: Closed) -> RecordOfTrade:
        """A trade as its record has it."""
        settings = self._settings_at(event.signal.scheduled_at)
        return RecordOfTrade(
            position=event.signal.position,
            reason=event.close_reason,
            opened_at=event.signal.pending_at,
            ended_at=event.closed_at,
            fills=fills_of(event),
            quantity=self._quantities.of(event),
            slippage=settings.percent_slippage,
            fee=settings.percent_fee,
        )


def _settings_of_lives(plan: LivePlan, notes: Sequence[RunNote]) -> Callable[[int], Settings]:
    """The settings of a live run at a moment (UTC ms)."""
    lives = [(life.since, msgspec.json.decode(life.settings, type=Settings)) for life in lives_in(notes)]

    def at(when: int) -> Settings:
        return next((settings for since, settings in reversed(lives) if since <= when), plan.settings)

    return at


def _identity(event: Closed) -> bytes:
    """What two trades have in common that are the same."""
    fills = [(fill.kind, fill.at, fill.share, fill.price, fill.reason) for fill in fills_of(event)]
    return msgspec.json.encode((event.signal.position, event.close_reason, event.pnl, fills))


def _of_cancelled(event: Cancelled) -> ComparedTrade:
    """An entry that was cancelled: it had its place, and made nothing."""
    since, until = event.signal.scheduled_at, event.closed_at
    return ComparedTrade(since, until, 0.0, ("cancelled", event.reason, until), traded=False)


def _still_open(records: Records, ended: Set[SignalKey]) -> dict[SignalKey, int]:
    """The signals of a live run that are open or wait at its end, with the moments of their decision (UTC ms)."""
    told = (each.signal for each in records.events if isinstance(each, Opened | Scheduled))
    found = {key_of(signal): signal.scheduled_at for signal in (*told, *(signal for _, signal in records.held))}
    return {key: since for key, since in found.items() if key not in ended}


def _evidence(
    plan: LivePlan, records: Records, recorded: Recorded, orders: Mapping[SignalKey, Sequence[TradedOrder]]
) -> Evidence:
    """What is known of a signal itself: decided by hand, refused, closed by the exchange."""
    notes, reached = recorded.notes, _reached(recorded.rows, interval_ms(plan.base))
    by_hand = {(note.signal_id, note.decided_at) for note in notes if isinstance(note, ByHand)}
    refused = {(note.signal_id, note.decided_at): note for note in notes if isinstance(note, Refused)}
    reasons = {key_of(each.signal): each.reason for each in records.cancelled}
    outside = {key_of(each.signal): each for each in records.closed if each.closed_by is not None}

    def evidence(key: SignalKey) -> tuple[Cause, str] | None:
        if key in by_hand:
            return "manual", "decided by hand"
        if (note := refused.get(key)) is not None:
            who = f"risk profile {note.risk!r}" if note.risk else "the account"
            held = f"; {', '.join(note.holders)} held places" if note.holders else ""
            return "risk", f"{who} refused it: {note.note or 'no place'}{held}"
        if reasons.get(key) == "stopped":
            return "manual", "taken back: the run was stopped"
        if reasons.get(key) == "disagreement":
            return "order", "taken back: the account was not what the record said"
        if (closed := outside.get(key)) is not None:
            return _closed_there(closed, orders.get(key, ()), reached, is_long=closed.signal.position == "long")
        taken = next((each for each in orders.get(key, ()) if each.purpose == "target" and each.filled), None)
        if taken is not None:
            return "fill", f"its target there was filled at {taken.price:.10g}"
        return None

    return evidence


def _closed_there(
    event: Closed,
    orders: Sequence[TradedOrder],
    reached: Mapping[bool, Callable[[float, int, int], bool]],
    *,
    is_long: bool,
) -> tuple[Cause, str]:
    """Why a position that was closed at the broker ended otherwise than by its own candles."""
    if event.closed_by != "exchange":
        return "closed by exchange", f"closed there: {event.closed_by}"
    by_target = event.close_reason == "take_profit"
    what = "target" if by_target else "stop"
    stops = [order for order in orders if order.purpose == ("target" if by_target else "protect") and order.filled]
    if not by_target and any(order.kind == "market" for order in stops):
        return "protection gap", "sold at the market: no stop could rest at the exchange"
    if event.own_reason == "take_profit" if by_target else event.own_reason in STOP_REASONS:
        return "fill", f"its {what} there was filled at {event.price_close:.10g}, in the record {event.own_price}"
    triggers = [order.trigger for order in stops if order.trigger is not None]
    is_reached = reached[is_long != by_target]  # a target of a long lies where a stop of a short does
    if triggers and not any(is_reached(each, event.signal.pending_at, event.closed_at) for each in triggers):
        return "trigger price", f"its {what} at {triggers[-1]:.10g} was triggered there, and no candle has reached it"
    return "closed by exchange", f"its {what} there was filled before a candle of the record closed it"


def _otherwise(plan: LivePlan, notes: Sequence[RunNote]) -> Evidence:
    """What is known of the life in which a signal was decided: other code, other settings or parameters than now."""
    lives, now = lives_in(notes), plan.code
    settings = msgspec.json.encode(plan.settings).decode()

    def otherwise(key: SignalKey) -> tuple[Cause, str] | None:
        life = next((life for life in reversed(lives) if life.since <= key[1]), None)
        if life is None:
            return None
        if life.parameters != lives[-1].parameters or (life.settings, life.execution) != (settings, plan.execution):
            return "setting", "settings or parameters were others then"
        if life.code != now and life.code and now:
            return "code", "the strategy had other code then"
        return None

    return otherwise


def _account(
    plan: LivePlan,
    live: _Compared,
    orders: dict[SignalKey, list[TradedOrder]],
    rows: Sequence[Row],
    still_open: Iterable[SignalKey],
    since: int,
) -> tuple[float, list[TradeDifference]]:
    """How much more the account made than the record, and why."""
    if not orders:
        return 0.0, []
    base, quote = base_of(plan.symbol), quote_of(plan.symbol) or ""
    reached = _reached(rows, interval_ms(plan.base))
    found: list[TradeDifference] = []
    for key, event in live.closed.items():
        parts = account_beside_record(
            live.record_of(event), orders.get(key, []), base=base, quote=quote, bar_ms=interval_ms(plan.base),
            reached=reached[event.signal.position == "long"],
        )  # fmt: skip
        found += [TradeDifference(key, *part) for part in parts]
    open_now = set(still_open)
    for key, each in orders.items():
        if key not in live.closed and key not in open_now and key[1] >= since:
            profit = profit_without_record(each, base=base, quote=quote)
            if profit:
                found.append(TradeDifference(key, "order", profit, "filled although the record had taken it back"))
    return math.fsum(each.amount for each in found), found


def _reached(rows: Sequence[Row], step: int) -> dict[bool, Callable[[float, int, int], bool]]:
    """Whether a stop was reached by recorded candles, of longs and of shorts."""
    table: Any = np.array([row[:4] for row in rows], dtype=np.float64).reshape(-1, 4)
    times, high, low = table[:, 0], table[:, 2], table[:, 3]

    def part(since: int, until: int) -> slice:
        return slice(int(times.searchsorted(since)), int(times.searchsorted(until + step)))

    def of_long(trigger: float, since: int, until: int) -> bool:
        return bool((low[part(since, until)] <= trigger).any())

    def of_short(trigger: float, since: int, until: int) -> bool:
        return bool((high[part(since, until)] >= trigger).any())

    return {True: of_long, False: of_short}


def _notes(plan: LivePlan, quantities: _Quantities, rows: Sequence[Row], *, start: int) -> tuple[str, ...]:
    found = []
    if quantities.is_guessed:
        found.append("trades of the backtest alone have the quantity of the order before them")
    if plan.account is not None:
        found.append("the backtest is that of the signals, without the account: what had no cash has the cause risk")
    if rows and rows[0][0] > start:
        found.append("the first minutes are not recorded: they are those that the exchange has now")
    return tuple(found)
