"""A source over any exchange ccxt knows: its page size, its rate limit, its errors, its price and quantity steps.

Each source has one client, on the fetch loop. Which errors are retried:

==============================  ==========================================================================
no connection, time-out         retried after a pause
5xx, whatever it says           retried after a pause
418, 429                        retried, not before ``Retry-After``; every request of this source waits
a malformed answer              retried (cut off, not JSON, rows that are no candles, times in seconds)
unknown symbol                  raised at once, with the nearest known ones
anything else                   raised at once: a retry cannot help
==============================  ==========================================================================
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import math
import os
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, INTERVAL_MS, MINUTE_MS, interval_ms
from ..domain.retry_pauses import GiveUp, Patience, attempts_text
from ..errors import DataError, MissingDependency, StateError, UnknownName, UsageError
from ..market.candles import Candles
from ..market.fetch_loop import fetch_now, submit
from ..stores.atomic import write_whole
from ..stores.file_names import encode_name
from ..stores.format_versions import read_json
from ..stores.sealed_values import Unreadable, seal, unseal

if TYPE_CHECKING:
    from ..market.streamed_source import MinuteStream

_RULES_ARE_FRESH_MS: Final = DAY_MS
_FALLBACK_PAGE: Final = 500
_CLOCK_SAMPLES: Final = 3
_MEASURE_EVERY_MS: Final = 60 * MINUTE_MS
_BUSY: Final = frozenset({418, 429})
# Not on the UTC grid of bknb at every exchange; made of minutes instead.
_NEVER_NATIVE: Final = frozenset({"3d"})

_retry_after: ContextVar[int | None] = ContextVar("bknb_retry_after", default=None)
_rows_came: ContextVar[Sequence[Any]] = ContextVar("bknb_rows_came", default=())
_uncut: ContextVar[Sequence[Any]] = ContextVar("bknb_uncut", default=())


class MarketRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names and number steps of one market."""

    id: str
    kind: str
    base: str
    quote: str
    price: float | None = None
    quantity: float | None = None


class MarketRules(msgspec.Struct, frozen=True):
    """The rules of every market of an exchange, by ccxt's own symbol."""

    mode: int
    padding: int
    read_at: int
    markets: dict[str, MarketRule]


_READERS: Final[Mapping[int, Callable[[bytes], MarketRules]]] = {1: partial(msgspec.json.decode, type=MarketRules)}
"""Version of cached market rules -> the function that reads them."""


class BrokenAnswer(Exception):  # noqa: N818 -- never reaches a user
    """A malformed answer of an exchange."""


class CcxtSource:
    """Candles straight from an exchange; :func:`bknb.exchanges.ccxt` puts a candle store in front.

    Parameters
    ----------
    exchange
        What ccxt calls it: ``"binance"``, ``"kraken"``, ...
    now
        The present, UTC ms.
    config
        Handed to ccxt's client as it is: ``urls``, ``options``, ``timeout``, proxies, keys.
    intervals
        Those requested from the exchange; others are made of minutes. By default all it offers on the UTC grid.
    patience
        Retry policy: attempts and pauses.
    rules_folder
        Where the market rules are cached between sessions; ``None``: nowhere.
    seed
        Of the jitter in the pauses; by default another one in each process.
    sleep
        How to wait; takes seconds.
    keeps_unasked
        Whether an answer that shows that ``since`` may have been ignored holds all that came: a candle store, which
        draws conclusions from where answers begin and end, needs it.

    Raises
    ------
    MissingDependency
        ccxt is not installed.
    UnknownName
        ccxt knows no such exchange.
    """

    def __init__(
        self,
        exchange: str,
        *,
        now: Callable[[], int],
        config: Mapping[str, Any] | None = None,
        intervals: tuple[str, ...] | None = None,
        patience: Patience | None = None,
        rules_folder: Path | None = None,
        seed: int | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        keeps_unasked: bool = False,
    ) -> None:
        self._retry_policy = _checked(patience)
        self.own_patience = True  # it limits and repeats its calls itself
        self._ccxt = _package()
        if exchange not in self._ccxt.exchanges:
            raise UnknownName("exchange of ccxt", exchange, known=sorted(self._ccxt.exchanges))
        self.name = exchange
        self._client = _client_class(getattr(self._ccxt, exchange), now, self._is_retryable)(dict(config or {}))
        if not self._client.has.get("fetchOHLCV"):
            raise UsageError(f"{exchange} gives no candles through ccxt; choose another exchange")
        self.intervals: tuple[str, ...] | None = _intervals(self._client, intervals)
        self.page_limit: int | None = _page_limit(self._client)
        self._now = now
        self._keeps_unasked = keeps_unasked
        self._random = Random(os.getpid() if seed is None else seed)  # noqa: S311 -- pauses, not secrets
        self._sleep = sleep
        self._blocked_until = 0
        self._skew_ms = 0  # how far this computer's clock is ahead of the exchange's, and when that was measured
        self._skew_at: int | None = None
        self._rules: MarketRules | None = None
        self._rules_path = None if rules_folder is None else rules_folder / encode_name(exchange) / "markets.json"
        self._notes: list[str] = []
        self.requests = 0
        self.stream: MinuteStream | None = None
        weakref.finalize(self, _close, self._client).atexit = False
        close_at_exit(self._client)

    def __repr__(self) -> str:
        return f"CcxtSource({self.name!r})"

    def take_notes(self) -> list[str]:
        """Notes about retries since the last call; each is returned once."""
        notes, self._notes = self._notes, []
        return notes

    # --- candles ------------------------------------------------------------------------------------------------

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """One page: up to ``limit`` candles from ``since`` on, as the exchange answers them.

        Raises
        ------
        UnknownName
            The exchange has no such symbol.
        UsageError
            The exchange has no such interval.
        DataError
            It did not answer after every retry, or refused.
        """
        offered = self.intervals or ()
        if interval not in offered:
            interval_ms(interval)
            raise UsageError(f"{self.name!r} has no {interval} candles; it has: {' '.join(offered)}")
        page: Candles = await self._on_fetch_loop(
            self._page(symbol, interval, since, min(limit, self.page_limit or limit))
        )
        return page

    async def _page(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        market = await self._resolved(symbol)

        async def ask() -> Candles:
            _rows_came.set(())
            _uncut.set(())
            rows = await self._client.fetch_ohlcv(market, interval, since, limit)
            if not rows and (outside := _outside(_rows_came.get(), since)):
                self._notes.append(f"{what}: asked for {utc_text(since)}, {outside}; nothing is concluded from that")
            return _candles(_with_unasked(rows, _uncut.get(), since, step) if self._keeps_unasked else rows)

        step = interval_ms(interval)
        what = f"{symbol} {interval} from {self.name!r}"
        before = self._now()
        page: Candles = await self._with_retries(ask, what)
        return await self._closed_there(page, step, (before + self._now()) // 2)

    async def _closed_there(self, page: Candles, step: int, now: int) -> Candles:
        """A page without candles that have closed on this computer's clock (``now``, UTC ms) and not at the exchange.

        An exchange that does not tell its time is taken for exact.
        """
        ends = page.timestamp + step
        if not self.has_clock or not ((ends <= now) & (ends > now - MINUTE_MS)).any():
            return page
        if self._skew_at is None or not 0 <= now - self._skew_at < _MEASURE_EVERY_MS:
            self._skew_at = now
            with contextlib.suppress(DataError):
                self._skew_ms = await self._skew()
        return page.take((ends > now) | (ends <= now - self._skew_ms))

    async def canonical(self, symbol: str) -> str:
        """The symbol in ccxt's spelling: ``BTC/USDT`` for ``BTCUSDT``."""
        name: str = await self._on_fetch_loop(self._resolved(symbol))
        return name

    @property
    def pause_ms(self) -> float:
        """How long ccxt waits between two requests, so that the exchange does not refuse them."""
        return float(self._client.rateLimit)

    async def lend_markets(self, client: Any) -> None:
        """Give another client of this exchange the markets of this one, on the fetching loop.

        Raises
        ------
        DataError
            They had to be fetched, and it did not answer.
        """
        if self._client.markets is None:
            await self._with_retries(self._client.load_markets, f"markets of {self.name!r}")
        client.set_markets_from_exchange(self._client)

    async def _on_fetch_loop(self, work: Any) -> Any:
        """Await a coroutine on the fetch loop, where the client lives."""
        return await asyncio.wrap_future(submit(work))

    async def _with_retries(self, ask: Callable[[], Awaitable[Any]], what: str) -> Any:
        policy = self._retry_policy
        attempt = 0
        while True:
            attempt += 1
            await self._wait_for_rate_limit()
            _retry_after.set(None)
            try:
                self.requests += 1
                return await ask()
            except Exception as error:
                reason = f"{type(error).__name__}: {_short(error)}"
                if not self._is_retryable(error):
                    raise self._final_error(error, what) from error
                wanted = _retry_after.get()
                pause = policy.after(attempt, chance=self._random.random(), retry_after_ms=wanted)
                if isinstance(pause, GiveUp):
                    raise DataError(f"{what}: {_failure_text(pause, attempt, wanted, reason)}") from error
                if wanted is not None:
                    self._blocked_until = max(self._blocked_until, self._now() + pause)
                count = f"attempt {attempt} of {policy.attempts}"
                self._notes.append(f"{what}: {count} failed with {reason}; next one in {pause / 1000:g} s")
                if wanted is None:
                    await self._sleep(pause / 1000)

    async def _wait_for_rate_limit(self) -> None:
        """Wait until the ``Retry-After`` of an earlier answer is over."""
        until = self._blocked_until
        if (left := until - self._now()) > 0:
            await self._sleep(left / 1000)
        if self._blocked_until == until:
            self._blocked_until = 0

    def _is_retryable(self, error: Exception) -> bool:
        ccxt = self._ccxt
        if isinstance(error, (UnknownName, UsageError, MissingDependency)):
            return False
        if isinstance(error, (ccxt.OperationFailed, ccxt.BadResponse, ccxt.NullResponse, BrokenAnswer, OSError)):
            return True
        if isinstance(error, ccxt.ExchangeError):
            # An answer that ended too early is an ordinary ExchangeError with the reason behind it.
            return type(error.__cause__).__module__.startswith("aiohttp")
        # What ccxt does not expect inside an answer ends as one of these.
        return isinstance(error, (TypeError, ValueError, KeyError, IndexError, AttributeError, asyncio.TimeoutError))

    def _final_error(self, error: Exception, what: str) -> Exception:
        if isinstance(error, (UnknownName, UsageError, MissingDependency, DataError)):
            return error
        return DataError(f"{what}: refused: {type(error).__name__}: {_short(error)}\nasking again cannot help")

    # --- the clock ----------------------------------------------------------------------------------------------

    def clock_skew_ms(self) -> int:
        """How far this computer's clock is ahead of the exchange's, in milliseconds (negative: behind).

        The quickest of three answers counts; half of its way there and back is taken off.

        Raises
        ------
        DataError
            The exchange does not publish its time, or did not answer.
        """
        return fetch_now(self._skew())

    async def measure_skew_ms(self) -> int:
        """The same as :meth:`clock_skew_ms`, as a coroutine."""
        skew: int = await self._on_fetch_loop(self._skew())
        return skew

    @property
    def has_clock(self) -> bool:
        """Whether the exchange publishes its time."""
        return bool(self._client.has.get("fetchTime"))

    async def _skew(self) -> int:
        if not self.has_clock:
            raise DataError(f"{self.name!r} does not tell its time; compare this clock with a time server instead")
        best: tuple[int, int] | None = None
        for _ in range(_CLOCK_SAMPLES):
            before = self._now()
            there = await self._with_retries(self._server_time, f"time of {self.name!r}")
            after = self._now()
            answer = (after - before, (before + after) // 2 - there)
            best = answer if best is None else min(best, answer)
        assert best is not None  # the loop ran  # noqa: S101
        return best[1]

    async def _server_time(self) -> int:
        there = await self._client.fetch_time()
        if not isinstance(there, int):
            raise BrokenAnswer(f"the exchange's time is {there!r}")
        return there

    # --- how it writes numbers ----------------------------------------------------------------------------------

    def format_price(self, symbol: str, price: float) -> str:
        """The price rounded to the market's tick.

        Raises
        ------
        UnknownName
            The exchange has no such symbol.
        UsageError
            The price is no finite number, or nothing of it is left on the market's grid.
        """
        return self._formatted(symbol, price, "price")

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """The quantity rounded down to the market's step."""
        return self._formatted(symbol, quantity, "quantity")

    def _formatted(self, symbol: str, value: float, what: str) -> str:
        if not math.isfinite(value):
            raise UsageError(f"a {what} must be a finite number, got {value!r}")
        rules = self._rules if self._rules is not None else fetch_now(self._loaded())
        rule = rules.markets[_ccxt_symbol(rules, symbol, exchange=self.name)]
        step = rule.price if what == "price" else rule.quantity
        tools = importlib.import_module("ccxt.base.decimal_to_precision")
        text = tools.number_to_string(float(value))
        if step is None:
            return str(text)
        rounding = tools.ROUND if what == "price" else tools.TRUNCATE
        written = str(tools.decimal_to_precision(text, rounding, step, rules.mode, rules.padding))
        if value and not float(written):
            raise UsageError(f"{what} {text} of {symbol} is below the smallest step of {self.name!r}, {step!r}")
        return written

    async def _resolved(self, symbol: str) -> str:
        given: object = symbol
        if not (isinstance(given, str) and given):
            raise UsageError(f"symbol must be a non-empty text such as 'BTC/USDT', got {symbol!r}")
        return _ccxt_symbol(await self._loaded(), symbol, exchange=self.name)

    async def _loaded(self) -> MarketRules:
        """The market rules: of this session, from a fresh cache, or fetched now."""
        if self._rules is not None:
            return self._rules
        cached = self._cached_rules()
        if cached is not None and 0 <= self._now() - cached.read_at < _RULES_ARE_FRESH_MS:
            self._rules = cached
            return cached
        try:
            await self._with_retries(self._client.load_markets, f"markets of {self.name!r}")
        except DataError as error:
            if cached is None:
                raise
            self._notes.append(f"the market rules of {self.name!r} are old: {str(error).splitlines()[0]}")
            self._rules = cached
            return cached
        self._rules = _rules_of(self._client, self._now())
        self._cache_rules(self._rules)
        return self._rules

    def _cached_rules(self) -> MarketRules | None:
        if self._rules_path is None:
            return None
        what = str(self._rules_path)
        try:
            payload = unseal(self._rules_path.read_bytes(), "markets", (self.name,))
            return read_json(_READERS, payload, what=what)
        except Unreadable as problem:
            newer = problem.refused(what)
        except StateError as refused:
            newer = refused
        except (OSError, ValueError, msgspec.DecodeError):
            newer = None
        if newer is not None:
            self._notes.append(f"{str(newer).splitlines()[0]}; it is left as it is, and the rules are fetched")
            self._rules_path = None
        return None  # only a cache: the rules are fetched again

    def _cache_rules(self, rules: MarketRules) -> None:
        path = self._rules_path
        if path is None:
            return
        sealed = seal("markets", (self.name,), msgspec.json.encode(rules))
        with contextlib.suppress(OSError):
            write_whole(path, sealed)


def _package() -> Any:
    try:
        return importlib.import_module("ccxt.async_support")
    except ImportError:
        raise MissingDependency("ccxt", purpose="candles from an exchange", extra="ccxt") from None


def _intervals(client: Any, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    offered = tuple(name for name in INTERVAL_MS if name in (client.timeframes or {}) and name not in _NEVER_NATIVE)
    if wanted is None:
        return offered
    for interval in wanted:
        interval_ms(interval)
        if interval not in offered:
            raise UsageError(f"{client.id} has no {interval} candles on the UTC grid; it has: {' '.join(offered)}")
    return tuple(wanted)


def _page_limit(client: Any) -> int:
    features = client.features or {}
    spot = features.get("spot") or features.get("default") or {}
    limit = (spot.get("fetchOHLCV") or {}).get("limit")
    return int(limit) if limit else _FALLBACK_PAGE


def _client_class(base: Any, now: Callable[[], int], is_retryable: Callable[[Exception], bool]) -> Any:
    """A class of ccxt that notes the ``Retry-After`` and the rows of an answer, and lets no 5xx be final."""

    class Client(base):  # type: ignore[misc]  # ccxt has no types
        def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any, *rest: Any) -> Any:
            if code >= 400:
                _retry_after.set(_retry_after_ms(headers or {}, now))
            elif len(rest) > 1 and rest[1] is None:
                # ccxt would read a text that is no JSON as an answer without candles.
                raise BrokenAnswer(f"the answer is not JSON: {str(rest[0])[:60]!r}")
            if code < 500 and code not in _BUSY:
                return super().handle_errors(code, reason, url, method, headers, *rest)
            # What such an answer says in its body is not believed: that there is no such symbol, for example.
            try:
                super().handle_errors(code, reason, url, method, headers, *rest)
            except Exception as error:
                if is_retryable(error):
                    raise
            raise BrokenAnswer(f"{code} {reason}: {str(rest[0] if rest else '')[:60]!r}")

        def parse_ohlcvs(self, rows: Any, *more: Any, **named: Any) -> Any:
            """Leave out what was not asked for, as ccxt does; all rows that came are remembered."""
            _rows_came.set(rows if isinstance(rows, (list, tuple)) else ())
            return super().parse_ohlcvs(rows, *more, **named)

        def filter_by_since_limit(self, array: Any, *more: Any, **named: Any) -> Any:
            _uncut.set(array if isinstance(array, list) else ())
            return super().filter_by_since_limit(array, *more, **named)

    return Client


def _with_unasked(rows: Any, uncut: Sequence[Any], since: int, step: int) -> Any:
    """The rows of an answer, with those that ccxt left out where they may show that ``since`` was ignored.

    That is where the answer began long before the question, or behind it and held more than was asked for.
    """
    if not rows or len(uncut) <= len(rows):
        return rows
    dated = [row for row in uncut if row[0]]
    return dated if dated[0][0] < since - step or rows[0][0] > since else rows


def _outside(rows: Sequence[Any], since: int) -> str | None:
    """What rows are of which none opens at or after ``since``; ``None`` for no rows.

    Raises
    ------
    BrokenAnswer
        Their times are seconds.
    """
    if not rows:
        return None
    try:
        times = [int(float(row[0])) for row in rows]
    except (TypeError, ValueError, LookupError):
        return f"got {len(rows)} rows whose times are no numbers"
    if since <= min(times) * 1000 and max(times) < since // 100:
        raise BrokenAnswer(f"open times such as {times[0]}: these look like seconds, not milliseconds")
    return f"got {len(rows)} candles, {utc_text(min(times))} .. {utc_text(max(times))}: `since` was ignored"


def _retry_after_ms(headers: Mapping[str, str], now: Callable[[], int]) -> int | None:
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isdecimal():
        return int(text) * 1000
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp() * 1000) - now())
    except (TypeError, ValueError):
        return None


def _failure_text(why: GiveUp, attempt: int, wanted: int | None, reason: str) -> str:
    if why is GiveUp.RETRY_AFTER and wanted is not None:
        return (
            f"the exchange asks to wait {wanted / 1000:g} s ({reason})\n"
            "that is longer than this waits; try again after that time"
        )
    return f"no answer after {attempts_text(attempt)}\nthe last one failed with {reason}"


def _candles(rows: Any) -> Candles:
    if not isinstance(rows, list):
        raise BrokenAnswer(f"the exchange answered {type(rows).__name__} instead of candles: {str(rows)[:60]!r}")
    if not rows:
        return Candles.empty()
    try:
        table = np.array([[float(value) for value in row[:6]] for row in rows], dtype=np.float64)
        if table.shape[1] != 6:
            raise ValueError("a candle has six values")
        return Candles.from_rows(table)  # type: ignore[arg-type]  # a table is rows
    except (TypeError, ValueError, IndexError) as error:
        raise BrokenAnswer(f"rows that are no candles: {str(rows[0])[:60]} ({error})") from None


def _ccxt_symbol(rules: MarketRules, symbol: str, *, exchange: str) -> str:
    """The symbol of ccxt for a symbol as ccxt, as the exchange, or as base and quote together spell it."""
    markets = rules.markets
    if symbol in markets:
        return symbol
    same = [
        name
        for name, rule in markets.items()
        if rule.id == symbol or (rule.kind == "spot" and rule.base + rule.quote == symbol)
    ]
    if same:
        return min(same, key=lambda name: (markets[name].kind != "spot", markets[name].kind != "swap", len(name), name))
    plain = {name.split(":")[0].replace("/", ""): name for name in markets}
    some = f"{exchange} has {len(markets)} markets, such as {', '.join(list(markets)[:4])}"
    raise UnknownName("symbol", symbol, known=sorted({*markets, *plain}), listing=some)


def _rules_of(client: Any, read_at: int) -> MarketRules:
    markets = {}
    for symbol, market in client.markets.items():
        precision = market.get("precision") or {}
        markets[symbol] = MarketRule(
            id=str(market.get("id")),
            kind=str(market.get("type")),
            base=str(market.get("base")),
            quote=str(market.get("quote")),
            price=precision.get("price"),
            quantity=precision.get("amount"),
        )
    return MarketRules(mode=client.precisionMode, padding=client.paddingMode, read_at=read_at, markets=markets)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:157]}..."


_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(client: Any) -> None:
    """Have the connections of a client of ccxt closed when the process ends."""
    _open.add(client)


def _close(client: Any) -> None:
    """Close the connections of a source that was collected."""
    if client.session is not None:
        submit(client.close())


def _close_all() -> None:
    """Close the connections of every source when the process ends."""
    with contextlib.suppress(Exception):
        for closing in [submit(client.close()) for client in list(_open) if client.session is not None]:
            closing.result(timeout=2)


atexit.register(_close_all)


def _checked(patience: object) -> Patience:
    if patience is None:
        return Patience()
    if isinstance(patience, Patience):
        return patience
    raise UsageError(
        f"patience must be bknb.exchanges.Patience(...) or None, got {patience!r:.80}\n"
        "give for example bknb.exchanges.Patience(attempts=3)"
    )
