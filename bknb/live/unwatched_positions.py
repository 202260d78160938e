"""What is in a store and no run watches: positions of renamed strategies, orders without a state, changed set-ups."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..config import Settings, watching_settings
from ..domain.broker_orders_and_ids import Order, closed_beyond, finished, left_open
from ..domain.formatting import plain_number, utc_text
from ..domain.interval import MINUTE
from ..domain.lifecycle import signals_of
from ..domain.recovery import (
    Owner,
    SavedPartial,
    SavedSetup,
    line_to_resume,
    restore,
)
from ..domain.signal import OpenSignal
from ..domain.signal_events import Cancelled, Closed
from ..engine.registry import Strategy
from ..errors import StateError
from ..ports import StateStore
from .results_not_heard import KIND as UNDELIVERED
from .saved_orders import KIND as ORDER
from .saved_orders import by_signal, read_orders
from .saved_values import read_state, read_value

Key = tuple[str, ...]
_BUSY = ("signal", "schedule")
_LONGEST = 200  # characters of a parameter


# --- another strategy, or none ----------------------------------------------------------------------------------


def unwatched(store: StateStore, watched: Collection[Key]) -> dict[Key, str]:
    """What is open, waits or cannot be read in a store, by strategy and symbol, as sentences with what to do.

    Parameters
    ----------
    store
        Where to look; acquired by the caller.
    watched
        Strategy and symbol of the runs that go on, with all their places.

    Raises
    ------
    StateError
        When the place cannot be listed.
    """
    keys = {key for kind in _BUSY for key in store.keys(kind) if len(key) in (2, 3)}  # with its place the third
    keys |= {key for key in store.keys(ORDER) if len(key) == 2}
    found = {key for key in keys if key[:2] not in watched}
    return {key: text for key in sorted(found) if (text := _unwatched(store, key))}


def _unwatched(store: StateStore, key: Key) -> str:
    strategy, symbol, *places = key
    place = f" in the place {places[0]!r}" if places else ""
    try:
        signal, schedule = read_state(store, key)
        state = restore(signal, schedule, None).state
        held = {each.id for each in signals_of(state)} if places else None  # orders are saved once for all places
        orders = _unsettled(store, strategy, symbol, held)
    except StateError as error:
        return f"what {strategy!r} on {symbol} left{place} in this store cannot be read: {error}"
    saved = signal if schedule is None or (signal is not None and signal.turn >= schedule.turn) else schedule
    rows = [*signals_of(state)]
    if saved is not None and rows:
        row = rows[0]
        interval = {} if saved.setup is None else {"interval": saved.setup.interval}
        what = "holds a position" if isinstance(row, OpenSignal) else "has an entry"
        since = utc_text(row.pending_at if isinstance(row, OpenSignal) else row.scheduled_at)
        at_broker = f"; its orders at a broker are not over: {'; '.join(orders)}" if orders else ""
        broker = "with its broker and quantity, " if orders else ""
        return (
            f"{strategy!r} {what} on {symbol}{place} ({row.position} {row.id!r}, at {plain_number(row.price_open)} "
            f"since {since}) that is in this store and that no run watches; was the strategy renamed?{at_broker}\n"
            f"go on with it: {broker}{line_to_resume(saved.owner, with_broker=bool(orders), **interval)}\n"
            "with .stop() behind it nothing new is opened; "
            f"{'when nothing is open at the broker, ' if orders else ''}to forget "
            f"it: {_forget(store, key, 'signal', 'schedule', *([] if places else [ORDER]), 'partial')}"
        )
    if orders:
        return (
            f"orders of {strategy!r} on {symbol} are in this store, and no run works on them: {'; '.join(orders)}\n"
            f"start {strategy!r} on {symbol} again with its broker; when nothing is open there, forget "
            f"them: {_forget(store, key, ORDER, 'partial')}"
        )
    return ""


def _forget(store: StateStore, key: Key, *kinds: str) -> str:
    lines = [f"store.delete({kind!r}, {key!r})" for kind in kinds]
    if store.keys(UNDELIVERED, key):
        lines.append(f"[store.delete({UNDELIVERED!r}, each) for each in store.keys({UNDELIVERED!r}, {key!r})]")
    return "; ".join(lines)


def _unsettled(store: StateStore, strategy: str, symbol: str, ids: Collection[str] | None = None) -> list[str]:
    """The orders of signals, or of those with some ids, that are not over at the broker, as far as it is known."""
    signals = [
        orders for orders in by_signal(read_orders(store, strategy, symbol)).values()
        if ids is None or orders[0].signal_id in ids
    ]  # fmt: skip
    return [_standing(orders) for orders in signals if not finished(orders) and not _never_sent(orders)]


def _never_sent(orders: list[Order]) -> bool:
    return all(order.status == "intended" for order in orders)


def _standing(orders: list[Order]) -> str:
    entry = orders[0]
    rest, beyond = left_open(orders), closed_beyond(orders)
    open_ = f"{plain_number(rest)} open" if rest else entry.status
    open_ = f"{plain_number(beyond)} closed beyond what was open" if beyond else open_
    return f"{entry.side} {plain_number(entry.quantity)} {entry.symbol} for {entry.signal_id!r}, {open_}"


# --- the state of this strategy ---------------------------------------------------------------------------------


def deleted_state(store: StateStore, owner: Owner, ended: Sequence[Closed | Cancelled]) -> str:
    """What shows that there was a state before, when there is none, as a sentence; empty when nothing does.

    Raises
    ------
    StateError
        When the orders of the strategy say that something is open, or may be, at the broker.
    """
    strategy, symbol = key = (owner.strategy, owner.symbol)
    gone = f"the state of {strategy!r} on {symbol} is gone"
    if orders := _unsettled(store, strategy, symbol):
        raise StateError(
            f"{gone}, and its orders are not over: {'; '.join(orders)}\n"
            f"put signal/{strategy}/{symbol} back from a copy; or, when nothing is open at the broker, forget "
            f"them: {_forget(store, key, ORDER, 'partial')}"
        )
    partial = read_value(store, "partial", key, SavedPartial)
    if partial is not None and not any(each.signal.id == partial.signal_id for each in ended):
        what = f"{partial.signal_id!r} was open, and its end was not saved"
    elif ended:
        what = f"{len(ended)} of its results were saved"
    else:
        return ""
    return (
        f"{gone}: {what}. It begins with nothing open\n"
        f"if something was, stop this run and put signal/{strategy}/{symbol} back from a copy"
    )


def deleted_places(
    store: StateStore, owner: Owner, places: Collection[str], ended: Sequence[Closed | Cancelled]
) -> str:
    """What shows that the state of a place is gone, as a sentence; empty when nothing does.

    ``places`` are those of which something is saved, and no state. Errors as of :func:`deleted_state`.
    """
    gone: list[str] = []
    over = {each.signal.id for each in ended}
    for place in sorted(places):
        partial = read_value(store, "partial", (owner.strategy, owner.symbol, place), SavedPartial)
        if partial is None or partial.signal_id in over:
            continue
        path = f"signal/{owner.strategy}/{owner.symbol}/{place}"
        text = f"the state of {owner.strategy!r} on {owner.symbol} in the place {place!r} is gone"
        if orders := _unsettled(store, owner.strategy, owner.symbol, [partial.signal_id]):
            raise StateError(f"{text}, and its orders are not over: {'; '.join(orders)}\nput {path} back from a copy")
        gone.append(f"{text}: {partial.signal_id!r} was open; if it still is, stop this run and put {path} back")
    return "\n".join(gone)


def orders_without_a_broker(store: StateStore, owner: Owner) -> str:
    """The orders that a run without a broker leaves alone, as a sentence; empty when there are none."""
    try:
        orders = _unsettled(store, owner.strategy, owner.symbol)
    except StateError as error:
        return str(error)
    if not orders:
        return ""
    return (
        f"a broker carried out orders of {owner.strategy!r} on {owner.symbol} that are not over; this run has none: "
        f"{'; '.join(orders)}\nstart it with broker= and quantity= as before, or close by hand what is open"
    )


def setup_of(strategy: Strategy, settings: Settings, base: str = MINUTE) -> SavedSetup:
    """What a signal of a run is decided with, as it is saved."""
    return SavedSetup(
        interval=strategy.interval,
        risk=strategy.risk,
        parameters={name: _text(value) for name, value in strategy.params.items()},
        settings={name: repr(value) for name, value in watching_settings(settings).items()},
        at="" if strategy.at is None else str(strategy.at),
        manage_at="" if strategy.manage_at is None else str(strategy.manage_at),
        base=base,
        places=strategy.places,
    )


def _text(value: object) -> str:
    """A parameter as text that is the same in every process: without addresses."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text[:_LONGEST]


def changed_setup(owner: Owner, before: SavedSetup | None, now: SavedSetup) -> str:
    """What is different since the open signal was decided, as a sentence; empty when nothing is."""
    if before is None or before == now:
        return ""
    changes = [*_changes(_asked(before), _asked(now))]
    changes += [f"parameter {text}" for text in _changes(before.parameters, now.parameters)]
    both = before.settings.keys() & now.settings.keys()  # another version may know others
    settings = ({name: setup.settings[name] for name in both} for setup in (before, now))
    changes += [f"setting {text}" for text in _changes(*settings)]
    if not changes:
        return ""
    return (
        f"what {owner.strategy!r} has open on {owner.symbol} was decided with another set-up: {'; '.join(changes)}\n"
        "it is watched to its end with the levels it has, by the settings of now\n"
        f"as before: {line_to_resume(owner, interval=before.interval)}, with these parameters and settings"
    )


def _asked(setup: SavedSetup) -> dict[str, object]:
    """When a strategy is asked, and its risk profile, by name; a schedule where it has one."""
    others = {"at": setup.at, "manage_at": setup.manage_at, "base": "" if setup.base == MINUTE else setup.base}
    given: dict[str, object] = {name: text for name, text in others.items() if text}
    given |= {"places": setup.places} if setup.places != 1 else {}
    return {"interval": setup.interval, "risk": setup.risk, **given}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *now}):
        was, is_ = before.get(name, "(not given)"), now.get(name, "(not given)")
        if was != is_:
            yield f"{name} was {was}, is {is_}"
