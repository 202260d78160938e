"""A local exchange in a process of its own, started and driven from here."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from ..clocks import moment_ms
from .keys import Keys
from .order_table import order_table

if TYPE_CHECKING:
    import pandas as pd

    from ...brokers.ccxt_broker import CcxtBroker
    from ...domain.broker_account import Unprotected, Watch


_CLIENTS: Final = {
    ("binance", "spot"): "binance",
    ("binance", "swap"): "binanceusdm",
    ("okx", "spot"): "okx",
    ("okx", "swap"): "okx",
}


class LocalExchange:
    """An exchange on loopback that goes on when the process that started it is killed.

    Over a few cells it is started by :meth:`start` and ended by :meth:`stop`; it is a context manager, too. It speaks
    as Binance's spot exchange, as its USD-M futures exchange and as OKX, each with an account of 100 000 USDT. The real
    client of ccxt talks to it by :meth:`ccxt_config` alone, and :meth:`broker` makes a broker of it; nothing is ever
    sent anywhere else.

    Parameters
    ----------
    journal : str or Path, optional
        A file that gets a line of JSON for each request, answer, order and fill.
    port : int
        Of an exchange that runs already; 0: start one.
    at : int, str or datetime, optional
        The moment of its market, UTC; by default the present.

    Attributes
    ----------
    url : str
        Its address.
    pid : int or None
        The number of its process, where it was started here.
    port : int
        Where it listens on this computer; 0 before it was started.

    Raises
    ------
    RuntimeError
        When it cannot be started.

    Examples
    --------
    >>> with LocalExchange() as exchange:
    ...     exchange.price("BTCUSDT", 50_000)
    ...     exchange.state()["spot"]["balances"]["USDT"]["free"]
    '100000'
    """

    def __init__(self, *, journal: str | Path | None = None, port: int = 0, at: object = None) -> None:
        self.journal = None if journal is None else Path(journal)
        self.port = port
        self._at = None if at is None else moment_ms(at)
        self._mutex = threading.Lock()  # a broker has it trade minutes from another thread
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: HTTPConnection | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The number of its process; ``None`` where it was not started here."""
        return None if self._process is None else self._process.pid

    def __repr__(self) -> str:
        return f"LocalExchange({'running' if self.port else 'not started'})"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start it, unless it runs already; returns it.

        Raises
        ------
        RuntimeError
            When it cannot be started.

        Examples
        --------
        >>> exchange = LocalExchange(at="2024-01-08").start()
        >>> exchange.state()["spot"]["now"]
        1704672000000
        >>> exchange.stop()
        """
        if not self.port:
            self._start()
        if self._at is not None:
            self.command("clock", at=self._at)
        return self

    def stop(self) -> None:
        """End it, with everything it knows, where it was started here."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process, self.port = None, 0

    def _start(self) -> None:
        command = [sys.executable, "-m", "bknb.testing.exchange"]
        if self.journal is not None:
            command += ["--journal", str(self.journal)]
        self._process = subprocess.Popen(  # noqa: S603 -- our own module
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            _, error = self._process.communicate()
            self._process = None
            raise RuntimeError(f"the local exchange did not start; it needs aiohttp\n{error.decode()[-2000:]}")
        self.port = int(line)

    def ccxt_config(self, client: str = "binance") -> dict[str, Any]:
        """Configuration of a client of ccxt for this exchange: keys, addresses, and nothing asked that is not there.

        Parameters
        ----------
        client
            ccxt's name of it: ``"binance"``, ``"binanceusdm"`` or ``"okx"``.

        Raises
        ------
        ValueError
            When nothing here answers that client.

        Examples
        --------
        >>> LocalExchange(port=1).ccxt_config("binanceusdm")["urls"]["api"]["fapiPrivateV3"]
        'http://127.0.0.1:1/fapi/v3'
        """
        keys, url, socket = Keys(), self.url, f"ws{self.url.removeprefix('http')}"
        config: dict[str, Any] = {"apiKey": keys.key, "secret": keys.secret, "verify": False}
        options: dict[str, Any] = {"fetchCurrencies": False, "fetchMargins": False, "recvWindow": 5000}
        if client == "binance":
            api: dict[str, Any] = {"public": f"{url}/api/v3", "private": f"{url}/api/v3", "sapi": f"{url}/sapi/v1"}
            api["ws"] = {"spot": f"{socket}/ws", "ws-api": {"spot": f"{socket}/ws-api/v3"}}
            options["fetchMarkets"] = {"types": ["spot"]}
        elif client == "binanceusdm":
            api = {
                f"fapi{access}{version}": f"{url}/fapi/{(version or 'V1').lower()}"
                for access in ("Public", "Private")
                for version in ("", "V2", "V3")
            }
            api["ws"] = {"linear": f"{socket}/ws", "ws-api": {"linear": f"{socket}/ws-fapi/v1"}}
            options["fetchMarkets"] = {"types": ["linear"]}
        elif client == "okx":
            api = {"rest": url, "ws": f"{socket}/ws/v5"}
            config |= {"password": keys.passphrase, "has": {"fetchCurrencies": False}}
            options = {"fetchMarkets": {"types": ["spot", "swap"]}}
        else:
            raise ValueError(f"no client {client!r}; there are binance, binanceusdm and okx")
        return {**config, "urls": {"api": api, "test": api, "demo": api}, "options": options}

    def broker(
        self,
        exchange: str = "binance",
        *,
        market: Literal["spot", "swap"] = "spot",
        watch: Watch = "both",
        unprotected: Unprotected = "close",
        leverage: float | None = None,
    ) -> CcxtBroker:
        """A broker for the account here: what ``bknb.brokers.ccxt`` makes, with the keys of this exchange.

        The market here trades each minute that a live run with it sees, in order, once the orders before that have
        left; so the run may have any candles, and any clock. Its parameters are those of :func:`bknb.brokers.ccxt`.

        Raises
        ------
        UsageError
            As :func:`bknb.brokers.ccxt`; its exchange is one of ``"binance"`` and ``"okx"``.
        MissingDependency
            ccxt is not installed.

        Examples
        --------
        >>> LocalExchange(port=1).broker("okx", market="swap", leverage=3)
        RehearsalBroker('okx swap sandbox')
        """
        from .rehearsal_broker import rehearsal_broker  # with all that a broker needs

        options: dict[str, Any] = {"watch": watch, "unprotected": unprotected, "leverage": leverage, "market": market}
        config = self.ccxt_config(_CLIENTS.get((exchange, market), "binance"))  # others are refused with the reason
        broker = rehearsal_broker(self.command, config, exchange, **options)
        broker.made_by = partial(_broker_at, self.port, exchange, **options)
        return broker

    # --- commands -----------------------------------------------------------------------------------------------

    def command(self, name: str, /, **fields: Any) -> dict[str, Any]:
        """Have it do something: a method of :class:`~bknb.testing.exchange.control.Control`, by name.

        Raises
        ------
        ValueError
            When there is no such command, or it cannot be done as asked.
        """
        with self._mutex:
            if self._connection is None:
                self._connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
            self._connection.request("POST", f"/control/{name}", body=json.dumps(fields, default=str))
            answer = self._connection.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
        if answer.status != 200:
            raise ValueError(told["error"])
        return told

    def price(self, symbol: str, price: float | str) -> None:
        """Have the market jump to a price: what rests there is filled, what waits for it is triggered."""
        self.command("price", symbol=symbol, price=str(price))

    def candle(self, symbol: str, opened: int, prices: tuple[float, float, float, float], volume: float = 1.0) -> None:
        """Have the market trade through a minute that opened then (UTC ms): open, high, low, close.

        From the open, which may be a gap, it goes to the nearer extreme, to the other one, and to the close. The
        clock of orders and fills is then at the end of the minute.
        """
        self.command("candle", symbol=symbol, opened=opened, prices=[str(each) for each in prices], volume=volume)

    def fault(self, name: str, *, on: str = "any", **fields: Any) -> None:
        """Have something go wrong next; :data:`bknb.testing.exchange.FAULTS` lists what.

        Parameters
        ----------
        on
            The operation: ``"place"``, ``"stop"``, ``"cancel"``, ``"replace"``, ``"pair"``, ``"report"``,
            ``"open_orders"``, ``"fills"``, ``"balance"``, ...; ``"any"``: the next one.
        **fields
            Those of :class:`bknb.testing.exchange.Fault`.
        """
        self.command("fault", name=name, on=on, **fields)

    def state(self) -> dict[str, Any]:
        """Balances, positions, orders and prices as the exchange has them, by market."""
        return self.command("state")

    def orders(self, market: str = "spot", *, open_only: bool = False) -> pd.DataFrame:
        """The orders of the account, as the exchange has them, oldest first; a row each.

        Parameters
        ----------
        market
            ``"spot"``, ``"usdm"`` or ``"okx"``.
        open_only
            Only those that work, or wait for their trigger.

        Returns
        -------
        DataFrame
            ``at`` (UTC, when it came), ``symbol``, ``side``, ``type`` as the exchange calls it, ``quantity`` (base
            currency, contracts at ``"okx"``), ``price`` and ``trigger`` (quote currency; none: NaN), ``status``,
            ``filled``, ``average`` (the price of that; none: NaN), ``client_id``.

        Examples
        --------
        >>> with LocalExchange() as exchange:
        ...     exchange.price("BTCUSDT", 50_000)
        ...     exchange.command("trade", symbol="BTCUSDT", side="buy", quantity="0.1")
        ...     exchange.orders()[["side", "type", "status", "average"]].to_dict("records")
        {}
        [{'side': 'buy', 'type': 'MARKET', 'status': 'filled', 'average': 50000.0}]
        """
        return order_table(self.state()[market]["orders"], open_only=open_only)

    def reset(self, **fields: Any) -> None:
        """Begin anew with an empty account: no orders, no faults, 100 000 USDT."""
        self.command("reset", **fields)

    def lines(self) -> list[dict[str, Any]]:
        """The journal, as far as it is written."""
        if self.journal is None:
            raise ValueError("this exchange was started without a journal: LocalExchange(journal=FILE)")
        with self.journal.open("rb") as file:
            return [json.loads(line) for line in file if line.endswith(b"\n")]


def _broker_at(port: int, exchange: str, **options: Any) -> CcxtBroker:
    """A broker for an account at a local exchange that runs already, such as in another process."""
    there = LocalExchange(port=port)
    broker = there.broker(exchange, **options)
    weakref.finalize(broker, there.stop)  # its connection: the exchange goes on
    return broker
