"""A local exchange without its network: faces over ledgers, limits, keys, faults, and what a test may do with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, Final

from .binance_spot import BinanceSpot
from .binance_usdm import BinanceUsdm
from .book import Book, Habits
from .calls import Answer, Call, Face, Params, Route
from .clock import ExchangeClock
from .faults import SPOKEN, Faults
from .keys import Keys
from .ledger import Ledger, told_order
from .markets import Market
from .okx import Okx
from .orders import Fill, Order, RefusedError
from .traded_minutes import TradedMinutes

DEFAULT_MARKETS: Final = (
    Market(base="BTC"),
    Market(base="ETH", step="0.00010000", least="0.00010000", market_most="2000.00000000"),
    Market(base="BNB", step="0.00100000", least="0.00100000", market_most="5000.00000000"),
)
DEFAULT_SWAPS: Final = tuple(
    Market(
        base=base,
        swap=True,
        tick=tick,
        step=step,
        least=step,
        most="1000",
        market_most="1000",
        notional=notional,
        stops=200,
        maker="0.02",
        taker="0.05",
    )
    for base, tick, step, notional in (("BTC", "0.10", "0.001", "50"), ("ETH", "0.01", "0.001", "20"))
)
OKX_MARKETS: Final = (
    Market(base="BTC", name="BTC-USDT", tick="0.1", step="0.00000001", least="0.00001", notional="0"),
    Market(base="ETH", name="ETH-USDT", tick="0.01", step="0.000001", least="0.001", notional="0"),
    *(
        Market(
            base=base,
            name=f"{base}-USDT-SWAP",
            swap=True,
            contract=contract,
            tick=tick,
            step="0.01",
            least="0.01",
            most="100000000",
            market_most="35000",
            notional="0",
            stops=500,
            maker="0.02",
            taker="0.05",
        )
        for base, contract, tick in (("BTC", "0.01", "0.1"), ("ETH", "0.1", "0.01"))
    ),
)
_TWO_HOURS: Final = 2 * 3_600_000
_THREE_DAYS: Final = 3 * 86_400_000
DEFAULT_BALANCES: Final = {"USDT": Decimal(100_000), "BNB": Decimal(0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request, read: who answers it, and what it is about."""

    call: Call
    face: Face
    route: Route
    params: Params
    operation: str
    symbol: str
    client_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that happened to an order of a market, and the fill where it was one."""

    market: str
    order: Order
    fill: Fill | None


class Exchange:
    """All faces of one account at one local exchange.

    Parameters
    ----------
    system
        The computer's clock, UTC ms.
    tell : callable
        Called with everything that happens, as JSON can hold it: a line of the journal.

    Attributes
    ----------
    on_told : callable
        Called with what happens to orders, for user streams.
    end_streams : callable
        Called with how these are to end.

    Examples
    --------
    >>> exchange = Exchange(lambda: 1_700_000_000_000)
    >>> exchange.answer(Call(method="GET", path="/api/v3/time")).body
    {'serverTime': 1700000000000}
    """

    def __init__(self, system: Callable[[], int], tell: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        self._tell = tell
        self.on_told: Callable[[Told], None] = lambda _: None
        self.end_streams: Callable[[str], None] = lambda _: None
        self.clock = ExchangeClock(system)
        self.reset()

    def reset(self, *, fee_currency: str = "received", through: bool = False) -> None:
        """Begin anew: no orders, the balances and markets of the beginning, no faults.

        Parameters
        ----------
        fee_currency
            What fees are paid in: ``"received"``, ``"quote"``, or a currency such as ``"BNB"``.
        through
            Whether a limit is filled only by a price beyond it.
        """
        self.clock.skew_ms, self.clock.at = 0, None
        self.keys = Keys()
        self.faults = Faults()
        self.minutes = TradedMinutes()
        habits = Habits(stops_lock=True, fee_currency=fee_currency, through=through)
        swaps = replace(habits, stops_lock=False, children=True, forgets_cancelled_ms=_THREE_DAYS)
        self.ledgers = {
            "spot": self._ledger("spot", DEFAULT_MARKETS, habits),
            "usdm": self._ledger("usdm", DEFAULT_SWAPS, swaps),
            "okx": self._ledger("okx", OKX_MARKETS, replace(swaps, forgets_cancelled_ms=_TWO_HOURS)),
        }
        self.usdm = BinanceUsdm(self.ledgers["usdm"], keys=self.keys, clock=self.clock, minutes=self.minutes)
        self._face_of: dict[str, Face] = {
            "spot": BinanceSpot(self.ledgers["spot"], keys=self.keys, clock=self.clock, minutes=self.minutes),
            "usdm": self.usdm,
            "okx": Okx(self.ledgers["okx"], keys=self.keys, clock=self.clock, minutes=self.minutes),
        }
        self.faces = list(self._face_of.values())
        self._tell({"event": "reset", "at": self.clock.now()})

    def _ledger(self, name: str, markets: tuple[Market, ...], habits: Habits) -> Ledger:
        return Ledger(
            Book(
                list(markets),
                dict(DEFAULT_BALANCES),
                habits=habits,
                faults=self.faults,
                now=self.clock.now,
                tell=partial(self._told, name),
            )
        )

    def message(self, told: Told) -> tuple[str, dict[str, Any]]:
        """The channel of the user stream, and what it says of something that happened."""
        return self._face_of[told.market].message(told.order, told.fill)

    def _told(self, market: str, event: str, what: dict[str, Any]) -> None:
        self.on_told(Told(market=market, order=what["order"], fill=what.get("fill")))
        line: dict[str, Any] = {"event": event, "market": market, "at": self.clock.now(), **told_order(what["order"])}
        if "fill" in what:
            fill = what["fill"]
            line["fill"] = {
                "number": fill.number,
                "quantity": str(fill.quantity),
                "price": str(fill.price),
                "fee": str(fill.fee),
                "fee_currency": fill.fee_currency,
            }
        self._tell(line)

    # --- requests -----------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Answer:
        """Carry out a request and answer it."""
        prepared = self.prepare(call)
        return prepared if isinstance(prepared, Answer) else self.carry_out(prepared)

    def prepare(self, call: Call) -> Prepared | Answer:
        """Read a request; where nobody answers it, or it cannot be read, the answer that says so."""
        face = next((each for each in self.faces if call.path.startswith(each.prefixes)), None)
        if face is None:
            return Answer(body={"code": -1, "msg": f"no such path {call.path}"}, status=404)
        route = face.route(call)
        if route is None:
            return face.refused(RefusedError("no_path"))
        try:
            params = face.params(call)
        except RefusedError as refused:
            return face.refused(refused)
        symbol, client_id = face.subject(params)
        operation = face.operation(route, params)
        return Prepared(
            call=call,
            face=face,
            route=route,
            params=params,
            operation=operation,
            symbol=symbol,
            client_id=client_id,
        )

    def carry_out(self, asked: Prepared) -> Answer:
        """Do what a request asks for, with the faults that refuse it."""
        face, route = asked.face, asked.route
        self._tell(
            {
                "event": "request",
                "at": self.clock.now(),
                "operation": asked.operation,
                "path": f"{asked.call.method} {asked.call.path}",
                "params": dict(asked.params) if isinstance(asked.params, dict) else asked.params,
            }
        )
        fault = self.faults.take(list(SPOKEN), on=asked.operation, symbol=asked.symbol, client_id=asked.client_id)
        now = self.clock.wall()
        try:
            if fault is not None and fault.name != "refuse":
                face.limits.hold(now, int(fault.seconds * 1000), banned=fault.name == "banned")
            face.limits.count(now, weight=route.weight, order=route.orders)
            face.admit(asked.call, route, asked.params)
            if fault is not None and fault.name == "refuse" and not fault.executed:
                raise RefusedError(fault.reason)
            done = route.run(asked.params)
            if fault is not None and fault.executed:
                raise RefusedError(fault.reason)
            answer = done if isinstance(done, Answer) else Answer(body=done)
        except RefusedError as refused:
            answer = face.refused(refused)
        headers = {**face.headers(), **answer.headers}
        self._tell({"event": "answer", "operation": asked.operation, "status": answer.status, "body": answer.body})
        return Answer(body=answer.body, status=answer.status, headers=headers)
