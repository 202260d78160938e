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

from .broker_account import Fill, Side, in_currency
from .broker_orders_and_ids import Order, Purpose, client_id, net_filled
from .formatting import plain_number
from .quantity_step_and_least_amount import EXACT
from .quote_currency import base_of, quote_of

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


# --- what orders change -----------------------------------------------------------------------------------------


def held_in(order: Order, *, nets: bool) -> str:
    """What an order trades, as its account counts it: a currency, or a symbol where it ``nets``."""
    return order.symbol if nets else order.base or base_of(order.symbol)


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
        _add(found, quote_of(order.symbol) or "", -filled * (order.average_price or 0.0))
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


def taken(orders: Sequence[Order], quantity: float, when: int, note: str) -> Order:
    """What is noted where so much of a position (base currency) was taken by hand; ``orders`` are of its signal."""
    entry, number = orders[0], sum(order.purpose == "manual" for order in orders) + 1
    side: Side = "sell" if entry.side == "buy" else "buy"
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
        attempt=number,
        base=entry.base,
        note=note,
    )


def signed_position(orders: Sequence[Order]) -> float:
    """What a signal holds, in base currency; below 0 when short, and 0 where more was closed than was open."""
    rest = max(net_filled(orders), 0.0)
    return rest if orders[0].side == "buy" else -rest


_BY_EXCHANGE: Final = {
    "autoclose-": "liquidated by the exchange",
    "adl_autoclose": "closed by the exchange, which deleveraged others",
    "settlement_autoclose-": "closed by the exchange, as the contract was settled",
}


def trades_behind(fills: Sequence[Fill], difference: float, exact: float, base: str = "") -> list[Fill]:
    """The newest trades of others that together make a difference; none where there are none.

    Parameters
    ----------
    fills
        The trades of others, oldest first.
    difference, exact
        How much has come, or below 0 gone, and what rounding may leave of it.
    base
        The currency in which fees make less of what was bought.
    """
    found: list[Fill] = []
    for fill in reversed(fills):
        found.append(fill)
        if abs(difference - math.fsum(filled_by(found, base).values())) <= exact:
            return found
    return []


def how_it_went(trades: Sequence[Fill]) -> str:
    """How a position went that no order of bknb has ended, by the trades that did.

    Examples
    --------
    >>> fill = Fill(client_id="web", symbol="BTCUSDT", side="sell", quantity=0.5, price=90.0, at=0, trade_id="1")
    >>> how_it_went([fill]), how_it_went([msgspec.structs.replace(fill, client_id="autoclose-7")])
    ('sold by hand at 90', 'liquidated by the exchange at 90')
    >>> how_it_went([])
    'sold, moved or withdrawn by hand'
    """
    if not trades:
        return "sold, moved or withdrawn by hand"
    name, side = trades[0].client_id, trades[0].side
    by_exchange = (text for prefix, text in _BY_EXCHANGE.items() if name.startswith(prefix))
    way = next(by_exchange, "bought by hand" if side == "buy" else "sold by hand")
    price = math.fsum(fill.quantity * fill.price for fill in trades) / math.fsum(fill.quantity for fill in trades)
    return f"{way} at {plain_number(price)}"


def paid_by(trades: Iterable[Fill]) -> dict[str, float]:
    """What trades have changed of what they were paid in, and of what their fees were paid in."""
    found: dict[str, float] = {}
    for fill in trades:
        value = fill.quantity * fill.price
        _add(found, quote_of(fill.symbol) or "", value if fill.side == "sell" else -value)
        for fee in fill.fees:
            _add(found, fee.currency, -fee.amount)
    return found


# --- orders of others -------------------------------------------------------------------------------------------


_OWN_IDS: Final = re.compile(r"bk(?:[A-Za-z0-9]{0,6}[a-z2-7]{5}([oarcp])[a-z2-7]{16}|[a-z2-7]{4}([oarcp])[a-z2-7]{11})")
_PURPOSES: Final[dict[str, Purpose]] = {"o": "open", "a": "add", "r": "reduce", "c": "close", "p": "protect"}


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
then on and is never sold here, their entries are cancelled, and a stop of theirs stays
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
        "from then on and is never sold here, their entries are cancelled, and a stop of theirs stays"
    )


_MOST_NAMED: Final = 5


def filled_by(fills: Iterable[Fill], base: str = "") -> dict[str, float]:
    """What trades have changed of what they trade, by client id; below 0 for sales."""
    found: dict[str, float] = {}
    for fill in fills:
        bought = fill.quantity - in_currency(fill.fees, base)
        found[fill.client_id] = found.get(fill.client_id, 0.0) + (bought if fill.side == "buy" else -fill.quantity)
    return found


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
    fills, base = list(fills), "" if nets else base_of(symbol)
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
            shift = added(shift, {quote_of(symbol) or "": -sign * fill.quantity * fill.price}, paid)
    baseline = added(ledger.baseline, shift)
    return replace(ledger, baseline=baseline, adopted={**ledger.adopted, **more}), shift


# --- sides ------------------------------------------------------------------------------------------------------


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
        may_hold = entry.ended_at is None and (entry.status != "intended" or net_filled(orders) > 0.0)
        is_over = entry.done and net_filled(orders) <= 0.0
        if may_hold and not is_over and entry.side != order.side:
            what = "long" if entry.side == "buy" else "short"
            return f"{entry.strategy!r} is {what} there ({entry.signal_id!r}), and both would be one position"
    if baseline * (1.0 if order.side == "buy" else -1.0) < -LEAST:
        return f"a position of {plain_number(baseline)} was there before, and both would be one position"
    return ""
