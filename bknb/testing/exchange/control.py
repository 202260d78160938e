"""What a test, or who rehearses, may do with a local exchange: move the market, the clock and the account."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from .binance_errors import SPOT, USDM
from .book import Book
from .exchange import Exchange
from .ledger import Ledger
from .markets import Market
from .matching import candle, liquidate, to_price
from .okx_errors import OF_AN_ORDER, WHOLE
from .orders import Order, RefusedError

_REASONS: Final = {*SPOT, *USDM, *WHOLE, *OF_AN_ORDER}


class Control:
    """Commands by name; each takes the fields of a JSON object and returns one.

    Examples
    --------
    >>> control = Control(Exchange(lambda: 0))
    >>> control.run("price", {"symbol": "BTCUSDT", "price": "100"})
    {}
    >>> control.run("state", {})["spot"]["prices"]
    {'BTCUSDT': '100'}
    """

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.commands: dict[str, Callable[..., Any]] = {
            name: getattr(self, name)
            for name in (
                *("price", "first_price", "candle", "minute", "clock", "fault", "disarm", "state", "reset"),
                *("deposit", "rules", "listing", "fill", "cancel", "move", "trade", "key", "position", "liquidate"),
                *("limits", "streams"),
            )
        }

    def run(self, name: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command.

        Raises
        ------
        ValueError
            When there is no such command, or it cannot be done as asked.
        """
        if name not in self.commands:
            raise ValueError(f"no command {name!r}; there are {', '.join(sorted(self.commands))}")
        try:
            return self.commands[name](**fields) or {}
        except RefusedError as refused:
            raise ValueError(f"{name}: the exchange refuses it: {refused.reason}") from None
        except (TypeError, ArithmeticError, KeyError) as error:
            raise ValueError(f"{name}: {error}") from error

    def _ledger(self, market: str) -> Ledger:
        if market not in self.exchange.ledgers:
            raise ValueError(f"no market {market!r}; there are {', '.join(self.exchange.ledgers)}")
        return self.exchange.ledgers[market]

    def _books(self, symbol: str, market: str) -> list[tuple[Book, str]]:
        """Where a symbol, or all markets of a pair, is traded, and how it is called there."""
        books = [ledger.book for name, ledger in self.exchange.ledgers.items() if market in ("", name)]
        found = [
            (book, traded.id)
            for book in books
            for traded in book.markets.values()
            if symbol in (traded.id, traded.pair)
        ]
        if not found:
            raise ValueError(f"nobody trades {symbol!r}")
        return found

    # --- the market ---------------------------------------------------------------------------------------------

    def price(self, symbol: str, price: str, market: str = "") -> None:
        """The market of a symbol jumps to a price, or all markets of a pair such as ``"BTCUSDT"``."""
        for book, name in self._books(symbol, market):
            to_price(book, name, Decimal(str(price)))

    def first_price(self, symbol: str, price: str) -> None:
        """The market of a symbol begins at a price, where it has none."""
        for book, name in self._books(symbol, ""):
            if not book.last(name):
                to_price(book, name, Decimal(price))

    def candle(
        self, symbol: str, opened: int, prices: list[str], volume: str = "1", market: str = "", *, clock: bool = True
    ) -> None:
        """The market trades through a minute: open, high, low, close.

        Parameters
        ----------
        opened
            When the minute begins, UTC ms.
        clock
            Whether the clock of the exchange is then at the end of this minute.
        """
        open_, high, low, close = (Decimal(str(price)) for price in prices)
        way = (open_, high, low, close)
        if clock:
            self.exchange.clock.at = opened
        books = self._books(symbol, market)
        for book, name in books:
            candle(book, name, way)
        self.exchange.minutes.add(books[0][0].market(books[0][1]).pair, opened, way, Decimal(str(volume)))
        if clock:
            self.exchange.clock.at = opened + 60_000

    def minute(self, symbol: str, opened: int, prices: list[str], volume: str = "1") -> None:
        """The market trades through a minute as by :meth:`candle`, unless it has traded that or a later one.

        What may be asked in a minute may then be asked again, however little time has passed on the computer.
        """
        for each in self.exchange.faces:
            each.limits.renew()
        book, name = self._books(symbol, "")[0]
        if not self.exchange.minutes.has(book.market(name).pair, opened):
            self.candle(symbol, opened, prices, volume)

    def clock(self, at: int | None = None, skew_ms: int | None = None, advance_ms: int = 0) -> dict[str, int]:
        """Move the clock: of the market to a moment, or against that of the computer."""
        clock = self.exchange.clock
        if at is not None:
            clock.at = at
        if skew_ms is not None:
            clock.skew_ms = skew_ms
        if advance_ms:
            clock.at = clock.now() + advance_ms
        return {"now": clock.now(), "wall": clock.wall()}

    def rules(self, symbol: str, market: str = "", **rules: Any) -> None:
        """Change fields of a :class:`~bknb.testing.exchange.markets.Market` from now on."""
        for book, name in self._books(symbol, market):
            book.change_rules(name, **rules)

    def listing(self, market: str, **fields: Any) -> None:
        """Begin to trade another symbol, given by the fields of a market."""
        book, new = self._ledger(market).book, Market(**fields)
        book.markets[new.id] = new

    # --- the account --------------------------------------------------------------------------------------------

    def deposit(self, currency: str, amount: str, market: str = "spot") -> None:
        """Bring cash in, or take it away."""
        self._ledger(market).book.funds.deposit(currency, Decimal(str(amount)))

    def trade(self, symbol: str, side: str, quantity: str, market: str = "spot", price: str | None = None) -> None:
        """The user trades by hand: at the market, or with a limit that may rest."""
        ledger = self._ledger(market)
        at = None if price is None else Decimal(str(price))
        ledger.place(ledger.by_hand(symbol, side, Decimal(str(quantity)), at))

    def fill(
        self, client_id: str, quantity: str, price: str | None = None, market: str = "spot", symbol: str = ""
    ) -> None:
        """Fill a part of an order that works, wherever the market is; one that waits is triggered."""
        ledger = self._ledger(market)
        order = self._order(ledger, client_id, symbol)
        ledger.fill_by_hand(order, Decimal(str(quantity)), None if price is None else Decimal(str(price)))

    def cancel(self, client_id: str, market: str = "spot", symbol: str = "", *, expired: bool = False) -> None:
        """The user cancels an order; or it expires."""
        ledger = self._ledger(market)
        order = self._order(ledger, client_id, symbol)
        if expired and order.is_open:
            ledger.book.end(order, "expired")
        else:
            ledger.cancel(order)

    def move(self, client_id: str, trigger: str, market: str = "spot", symbol: str = "") -> None:
        """The user moves a stop by hand: the same order has another trigger from now on."""
        ledger = self._ledger(market)
        ledger.amend(self._order(ledger, client_id, symbol), trigger=Decimal(str(trigger)), quantity=None)

    def _order(self, ledger: Ledger, client_id: str, symbol: str) -> Order:
        for order in reversed(ledger.book.orders.values()):
            if order.client_id == client_id and symbol in ("", order.symbol):
                return order
        raise ValueError(f"no order {client_id!r}")

    def position(self, symbol: str, market: str, **fields: Any) -> None:
        """Change settings from outside: ``leverage``, ``margin_type``; of the account ``hedged``, ``multi_assets``."""
        book = self._ledger(market).book
        book.hedged = bool(fields.pop("hedged", book.hedged))
        book.multi_assets = bool(fields.pop("multi_assets", book.multi_assets))
        for name, value in fields.items():
            if name not in ("leverage", "margin_type"):
                raise ValueError(f"no setting {name!r}; there are leverage, margin_type, hedged and multi_assets")
            setattr(book.position(symbol), name, value)

    def liquidate(self, symbol: str, market: str, price: str, prefix: str = "autoclose-") -> None:
        """The exchange closes a position by itself; see :func:`~bknb.testing.exchange.matching.liquidate`."""
        book = self._ledger(market).book
        if not book.position(symbol).quantity:
            raise ValueError(f"no position in {symbol}")
        liquidate(book, book.position(symbol), Decimal(str(price)), prefix=prefix)

    def key(self, **fields: bool | str) -> None:
        """Change what the key may do, ``revoked``, ``may_trade``, ``may_withdraw``, or the ``key`` itself."""
        for name, value in fields.items():
            if name not in ("revoked", "may_trade", "may_withdraw", "key"):
                raise ValueError(f"a key has no {name!r}; it has key, revoked, may_trade and may_withdraw")
            setattr(self.exchange.keys, name, value)

    # --- the exchange -------------------------------------------------------------------------------------------

    def fault(self, **fields: Any) -> None:
        """Arm a :class:`~bknb.testing.exchange.faults.Fault`."""
        reason = fields.get("reason", "")
        if (reason or fields.get("name") == "refuse") and reason not in _REASONS:
            raise ValueError(f"no reason {reason!r} to refuse; there are {', '.join(sorted(_REASONS))}")
        self.exchange.faults.arm(fields)

    def disarm(self, name: str = "") -> None:
        """Take back the faults of a name, or all."""
        self.exchange.faults.disarm(name)

    def limits(self, face: str, **fields: Any) -> None:
        """Change how much may be asked of a face: ``weight``, ``orders``, ``patience``, ``ban_ms``."""
        for each in self.exchange.faces:
            if each.name == face:
                for name, value in fields.items():
                    setattr(each.limits, name, tuple(value) if isinstance(value, list) else value)

    def streams(self, end: str) -> None:
        """End the user streams: ``"drop"`` them without a word, or have them ``"expire"``."""
        self.exchange.end_streams(end)

    def state(self) -> dict[str, Any]:
        """Cash, positions, orders and prices of every market."""
        return {name: ledger.state() for name, ledger in self.exchange.ledgers.items()}

    def reset(self, **fields: Any) -> None:
        """Begin anew; see :meth:`~bknb.testing.exchange.exchange.Exchange.reset`."""
        self.exchange.reset(**fields)
