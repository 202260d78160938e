"""The ledger of an account at a broker: what was there at first, what orders have changed, and what came by hand.

The sum of the fills of all strategies, and of what was changed by hand, is how the account has changed since its
baseline, the amounts that were there before the first order. What is missing counts as taken from the positions first,
so that no order ever sells what was there before.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from .broker_account import Fee, Fill, Side, added_up, in_currency
from .broker_orders_and_ids import Order, Purpose, client_id, net_filled
from .formatting import plain_number
from .quantity_step_and_least_amount import EXACT
from .quote_currency import base_of, of_exchange, quote_of
from .trades_of_others import average_price, filled_by, how_it_went

LEAST: Final = 1e-6
"""What differs by less is rounding, in any currency."""


class AccountLedger(msgspec.Struct, frozen=True, kw_only=True):
    """What is saved of an account.

    Attributes
    ----------
    since
        When its baseline was noted (UTC ms).
    baseline
        What was there then and is never sold: by currency, of an account that nets by symbol; below 0 when short.
    manual
        What has come or gone since, and no order or position accounts for it; likewise.
    adopted
        By client id, what orders that were found there and never saved here have changed of what they trade: that is
        counted to the baseline.
    earlier
        The names that the account had by keys it does not have any more.
    adopting
        Whether what differs next is counted to the baseline, as such orders were found.

    Examples
    --------
    >>> AccountLedger(since=0, baseline={"BTC": 1.0, "USDT": 5_000.0}).manual
    {}
    """

    version: int = 1
    since: int
    baseline: dict[str, float]
    manual: dict[str, float] = {}
    adopted: dict[str, float] = {}
    adopting: bool = False
    earlier: tuple[str, ...] = ()


# --- what orders change -----------------------------------------------------------------------------------------


def held_in(order: Order, *, nets: bool) -> str:
    """What an order trades, as its account counts it: a currency, or a symbol where it ``nets``."""
    return order.symbol if nets else order.base or base_of(of_exchange(order.symbol))


def changes_of(orders: Iterable[Order], *, nets: bool) -> dict[str, float]:
    """What orders have changed in an account, as far as they are known; by currency, by symbol where it ``nets``.

    Examples
    --------
    >>> entry = Order(client_id="bk1", signal_id="s", decided_at=0, symbol="BTCUSDT", strategy="sma", exchange="demo",
    ...     purpose="open", side="buy", kind="market", quantity=0.5, price=None, record_price=100.0, created_at=0,
    ...     status="filled", filled_quantity=0.5, average_price=100.0)
    >>> changes_of([entry], nets=False), changes_of([entry], nets=True)
    ({'BTC': 0.5, 'USDT': -50.0}, {'BTCUSDT': 0.5})
    """
    found: dict[str, float] = {}
    for order in orders:
        filled = order.filled_quantity if order.side == "buy" else -order.filled_quantity
        _add(found, held_in(order, nets=nets), filled)
        if nets:
            continue
        _add(found, quote_of(of_exchange(order.symbol)) or "", -filled * (order.average_price or 0.0))
        for currency in {fee.currency for fee in order.fees}:
            _add(found, currency, -in_currency(order.fees, currency))
    return found


def by_hand_of(orders: Iterable[Order], *, nets: bool) -> dict[str, float]:
    """The part of :func:`changes_of` that no order made: what was taken from positions by hand."""
    return changes_of((order for order in orders if order.purpose == "manual"), nets=nets)


def added(*parts: Mapping[str, float]) -> dict[str, float]:
    """Amounts by currency, or by symbol, added up; those that are nothing are left out.

    Examples
    --------
    >>> added({"BTC": 0.5, "USDT": -50.0}, {"BTC": -0.5})
    {'USDT': -50.0}
    """
    found: dict[str, float] = {}
    for part in parts:
        for name, amount in part.items():
            _add(found, name, amount)
    return found


def _add(found: dict[str, float], name: str, amount: float) -> None:
    total = found.get(name, 0.0) + amount
    if name and abs(total) > EXACT**2:
        found[name] = total
    else:
        found.pop(name, None)


def exactness(orders: Iterable[Order]) -> float:
    """What adding up fills may leave of an amount, in any currency that they trade or pay with."""
    turnovers = (max(order.average_price or 1.0, 1.0) * order.filled_quantity for order in orders)
    return max(LEAST, EXACT * max(turnovers, default=0.0))


def is_unsettled(order: Order) -> bool:
    """Whether an order may have filled what is not known yet."""
    on_its_way = order.status in ("sent", "unknown", "triggered")
    return on_its_way or (order.working and order.kind == "market")


# --- what is missing --------------------------------------------------------------------------------------------


def shares_taken(missing: float, positions: Sequence[float]) -> list[float]:
    """How much is taken from each position where some of an account is missing: the same part of each, at most all.

    Parameters
    ----------
    missing
        How much, above 0.
    positions
        What each holds, above 0.

    Examples
    --------
    >>> shares_taken(0.3, [0.4, 0.2]), shares_taken(9.0, [0.4, 0.2])
    ([0.2, 0.1], [0.4, 0.2])
    """
    total = math.fsum(positions)
    part = min(missing / total, 1.0) if total > 0.0 else 0.0
    return [round(each * part, 12) for each in positions]


def taken(orders: Sequence[Order], quantity: float, when: int, trades: Sequence[Fill]) -> Order:
    """What is noted where so much of a position was taken by hand, or by the exchange.

    Parameters
    ----------
    orders
        Of its signal.
    quantity
        In base currency.
    when
        When it was found, UTC ms.
    trades
        Those that took it, where they are known, and perhaps more; the newest first.
    """
    entry, number = orders[0], sum(order.purpose == "manual" for order in orders) + 1
    side: Side = "sell" if entry.side == "buy" else "buy"
    whole = math.fsum(fill.quantity for fill in trades)
    share = min(quantity / whole, 1.0) if whole > 0.0 else 0.0
    fees = [Fee(currency=fee.currency, amount=fee.amount * share) for fill in trades for fee in fill.fees]
    return Order(
        client_id=client_id(entry.strategy, entry.symbol, entry.key, "manual", number),
        signal_id=entry.signal_id,
        decided_at=entry.decided_at,
        symbol=entry.symbol,
        strategy=entry.strategy,
        exchange=entry.exchange,
        purpose="manual",
        side=side,
        kind="market",
        quantity=quantity,
        price=None,
        record_price=entry.record_price,
        created_at=when,
        status="filled",
        filled_quantity=quantity,
        average_price=average_price(trades),
        filled_at=trades[0].at if trades else None,
        child=trades[0].client_id if trades else "",
        fees=added_up(tuple(fees)),
        attempt=number,
        base=entry.base,
        note=how_it_went(trades),
    )


def signed_position(orders: Sequence[Order]) -> float:
    """What a signal holds, in base currency; below 0 when short, and 0 where more was closed than was open."""
    rest = max(net_filled(orders), 0.0)
    return rest if orders[0].side == "buy" else -rest


# --- orders of others -------------------------------------------------------------------------------------------


_OWN_IDS: Final = re.compile(
    r"bk(?:[A-Za-z0-9]{0,6}[a-z2-7]{5}([oarcpt])[a-z2-7]{16}|[a-z2-7]{4}([oarcpt])[a-z2-7]{11})"
)
_PURPOSES: Final[dict[str, Purpose]] = {
    "o": "open", "a": "add", "r": "reduce", "c": "close", "p": "protect", "t": "target",
}  # fmt: skip


def own_purpose(client_id: str) -> Purpose | None:
    """What an order is for, as its client id says; ``None``: no strategy of bknb has made that id.

    Examples
    --------
    >>> own_purpose("bksmacroqb3bfoc37f4rwlk4fv5dmg"), own_purpose("web_7a1f")
    ('open', None)
    """
    found = _OWN_IDS.fullmatch(client_id)
    return None if found is None else _PURPOSES[found[1] or found[2]]


class FoundOrders(NamedTuple):
    """Orders of bknb at a broker that were never saved here.

    Attributes
    ----------
    working
        Client ids of those that work.
    filled
        What those with fills have changed of what they trade, by client id; below 0 for sales.
    """

    working: tuple[str, ...]
    filled: dict[str, float]

    @property
    def ids(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(dict.fromkeys((*self.working, *self.filled)))


def never_saved(working: Iterable[str], fills: Iterable[Fill], known: Iterable[str], base: str = "") -> FoundOrders:
    """The orders of bknb among those that work and have filled, but for those that are known.

    Parameters
    ----------
    working
        Client ids.
    fills
        Trades, whoever made them.
    known
        Client ids of what is saved, or was adopted.
    base
        The currency that is traded, whose fees make less of what was bought.
    """
    names = set(known)
    filled = filled_by((fill for fill in fills if own_purpose(fill.client_id) and fill.client_id not in names), base)
    return FoundOrders(tuple(name for name in working if own_purpose(name) and name not in names), filled)


def found_text(found: FoundOrders, symbol: str, broker: str) -> str:
    """What was found, as sentences with what to do.

    Examples
    --------
    >>> print(found_text(FoundOrders(("bkx",), {"bky": 0.5}), "BTCUSDT", "binance spot"))
    binance spot has orders of bknb on BTCUSDT that this store does not know: bkx works, bky has bought 0.5
    another process may be trading with this account, or the state of these orders was lost or is an older copy
    stop the other process, or put the folder back; or start once with adopt=True: what they hold counts as yours from \
then on and is never sold here, their entries are cancelled, and a stop or target of theirs stays
    """
    said = [f"{name} works" for name in found.working]
    said += [
        f"{name} has {'bought' if quantity > 0 else 'sold'} {plain_number(abs(quantity))}"
        for name, quantity in found.filled.items()
    ]
    more = f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
    what = ", ".join(said[:_MOST_NAMED])
    return (
        f"{broker} has orders of bknb on {symbol} that this store does not know: {what}{more}\n"
        "another process may be trading with this account, or the state of these orders was lost or is an older copy\n"
        "stop the other process, or put the folder back; or start once with adopt=True: what they hold counts as yours "
        "from then on and is never sold here, their entries are cancelled, and a stop or target of theirs stays"
    )


_MOST_NAMED: Final = 5


def filled_of_adopted(
    ledger: AccountLedger, fills: Iterable[Fill], symbol: str, *, nets: bool
) -> tuple[AccountLedger, dict[str, float]]:
    """The ledger with what orders that were taken over have filled since, and what they have changed by that.

    Parameters
    ----------
    ledger
        Has what they had filled by then.
    fills
        The trades on a symbol, whoever made them.
    symbol, nets
        What is traded, and whether the account counts by symbols.
    """
    fills, base = list(fills), "" if nets else base_of(of_exchange(symbol))
    now = filled_by(fills, base)
    more = {name: now[name] for name, known in ledger.adopted.items() if abs(now.get(name, 0.0)) > abs(known)}
    shift: dict[str, float] = {}
    for fill in fills:
        if fill.client_id not in more:
            continue
        part = 1.0 - ledger.adopted[fill.client_id] / more[fill.client_id]
        sign = part if fill.side == "buy" else -part
        shift = added(shift, {symbol if nets else base: sign * fill.quantity})
        if not nets:
            paid = {fee.currency: -part * fee.amount for fee in fill.fees}
            shift = added(shift, {quote_of(of_exchange(symbol)) or "": -sign * fill.quantity * fill.price}, paid)
    baseline = added(ledger.baseline, shift)
    return replace(ledger, baseline=baseline, adopted={**ledger.adopted, **more}), shift


# --- sides ------------------------------------------------------------------------------------------------------


_OVER: Final = ("rejected", "cancelled", "lost")


def opposite(order: Order, others: Iterable[Sequence[Order]], baseline: float) -> str:
    """Why an order must not open anything on a symbol that nets, as a sentence; empty where it may.

    Parameters
    ----------
    order
        What opens or adds.
    others
        The orders of the other signals on its symbol, of all strategies.
    baseline
        What was there before, in base currency; below 0 when short.
    """
    for orders in others:
        entry = orders[0]
        on_its_way = entry.status not in ("intended", *_OVER) and (
            entry.kind == "market" or entry.strategy != order.strategy  # entries that wait may compete for one place
        )
        may_hold = net_filled(orders) > 0.0 or on_its_way
        if entry.ended_at is None and may_hold and entry.side != order.side:
            what = "long" if entry.side == "buy" else "short"
            return f"{entry.strategy!r} is {what} there ({entry.signal_id!r}), and both would be one position"
    if baseline * (1.0 if order.side == "buy" else -1.0) < -LEAST:
        return f"a position of {plain_number(baseline)} was there before, and both would be one position"
    return ""
