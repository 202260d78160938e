"""A local exchange in a process of its own, started and driven from here."""

from __future__ import annotations

import json
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

from .keys import Keys


class LocalExchange:
    """An exchange on loopback that goes on when the process that started it is killed; a context manager.

    It speaks as Binance's spot exchange, as its USD-M futures exchange and as OKX, each with an account of 100 000
    USDT. The real client of ccxt talks to it by :meth:`ccxt_config` alone; nothing is ever sent anywhere else.

    Parameters
    ----------
    journal : str or Path, optional
        A file that gets a line of JSON for each request, answer, order and fill.
    port : int
        Of an exchange that runs already; 0: start one.

    Attributes
    ----------
    url : str
        Its address.
    pid : int or None
        The number of its process, where it was started here.

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

    def __init__(self, *, journal: str | Path | None = None, port: int = 0) -> None:
        self.journal = None if journal is None else Path(journal)
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: HTTPConnection | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """The number of its process; ``None`` where it was not started here."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        if not self._port:
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process, self._port = None, 0

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
        self._port = int(line)

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

    # --- commands -----------------------------------------------------------------------------------------------

    def command(self, name: str, /, **fields: Any) -> dict[str, Any]:
        """Have it do something: a method of :class:`~bknb.testing.exchange.control.Control`, by name.

        Raises
        ------
        ValueError
            When there is no such command, or it cannot be done as asked.
        """
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
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

    def reset(self, **fields: Any) -> None:
        """Begin anew with an empty account: no orders, no faults, 100 000 USDT."""
        self.command("reset", **fields)

    def lines(self) -> list[dict[str, Any]]:
        """The journal, as far as it is written."""
        if self.journal is None:
            raise ValueError("this exchange was started without a journal: LocalExchange(journal=FILE)")
        with self.journal.open("rb") as file:
            return [json.loads(line) for line in file if line.endswith(b"\n")]
