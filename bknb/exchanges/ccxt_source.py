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
import contextlib
import math
import os
import weakref
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, MINUTE_MS, interval_ms
from ..domain.retry_pauses import GiveUp, Patience, checked_patience
from ..errors import DataError, MissingDependency, UnknownName, UsageError
from ..market.candles import Candles
from ..market.fetch_loop import fetch_now, submit
from ..stores.file_names import encode_name
from .ccxt_answers import candles_of_rows, outside_text, with_unasked
from .ccxt_client import (
    BrokenAnswer,
    ccxt_package,
    client_class,
    close_at_exit,
    close_collected,
    failure_text,
    offered_intervals,
    page_limit_of,
    retry_after,
    rows_came,
    uncut_rows,
)
from .ccxt_market_rules import MarketRules, cache_rules, cached_rules, ccxt_symbol, costs_of, formatted, rules_of

if TYPE_CHECKING:
    from ..domain.costs import Costs
    from ..market.streamed_source import MinuteStream

_RULES_ARE_FRESH_MS: Final = DAY_MS
_CLOCK_SAMPLES: Final = 3
_MEASURE_EVERY_MS: Final = 60 * MINUTE_MS


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
        self._retry_policy = checked_patience(patience)
        self.own_patience = True  # it limits and repeats its calls itself
        self._ccxt = ccxt_package()
        if exchange not in self._ccxt.exchanges:
            raise UnknownName("exchange of ccxt", exchange, known=sorted(self._ccxt.exchanges))
        self.name = exchange
        self._client = client_class(getattr(self._ccxt, exchange), now, self._is_retryable)(dict(config or {}))
        if not self._client.has.get("fetchOHLCV"):
            raise UsageError(f"{exchange} gives no candles through ccxt; choose another exchange")
        self.intervals: tuple[str, ...] | None = offered_intervals(self._client, intervals)
        self.page_limit: int | None = page_limit_of(self._client)
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
        weakref.finalize(self, close_collected, self._client).atexit = False
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
            rows_came.set(())
            uncut_rows.set(())
            rows = await self._client.fetch_ohlcv(market, interval, since, limit)
            if not rows and (outside := outside_text(rows_came.get(), since)):
                self._notes.append(f"{what}: asked for {utc_text(since)}, {outside}; nothing is concluded from that")
            return candles_of_rows(with_unasked(rows, uncut_rows.get(), since, step) if self._keeps_unasked else rows)

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
            retry_after.set(None)
            try:
                self.requests += 1
                return await ask()
            except Exception as error:
                reason = f"{type(error).__name__}: {_short(error)}"
                if not self._is_retryable(error):
                    raise self._final_error(error, what) from error
                wanted = retry_after.get()
                pause = policy.after(attempt, chance=self._random.random(), retry_after_ms=wanted)
                if isinstance(pause, GiveUp):
                    raise DataError(f"{what}: {failure_text(pause, attempt, wanted, reason)}") from error
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

    def _formatted(self, symbol: str, value: float, what: Literal["price", "quantity"]) -> str:
        if not math.isfinite(value):
            raise UsageError(f"a {what} must be a finite number, got {value!r}")
        rules = self._rules if self._rules is not None else fetch_now(self._loaded())
        return formatted(rules, symbol, value, what, exchange=self.name)

    def costs(self, symbol: str) -> Costs:
        """What fills of a symbol cost by the exchange's market data, as :func:`bknb.exchanges.ccxt` says.

        Raises
        ------
        UnknownName
            The exchange has no such symbol.
        UsageError
            It does not say what they cost, or not in percent.
        """
        return fetch_now(self._costs(symbol))

    async def _costs(self, symbol: str) -> Costs:
        name = await self._resolved(symbol)
        rules = await self._loaded()
        if rules.markets[name].taker is None and self._client.markets is None:  # cached without fees
            rules = await self._fetched()
        return costs_of(rules.markets[name], symbol, exchange=self.name)

    async def _resolved(self, symbol: str) -> str:
        given: object = symbol
        if not (isinstance(given, str) and given):
            raise UsageError(f"symbol must be a non-empty text such as 'BTC/USDT', got {symbol!r}")
        return ccxt_symbol(await self._loaded(), symbol, exchange=self.name)

    async def _loaded(self) -> MarketRules:
        """The market rules: of this session, from a fresh cache, or fetched now."""
        if self._rules is not None:
            return self._rules
        cached = None if self._rules_path is None else self._cached_rules(self._rules_path)
        if cached is not None and 0 <= self._now() - cached.read_at < _RULES_ARE_FRESH_MS:
            self._rules = cached
            return cached
        try:
            return await self._fetched()
        except DataError as error:
            if cached is None:
                raise
            self._notes.append(f"the market rules of {self.name!r} are old: {str(error).splitlines()[0]}")
            self._rules = cached
            return cached

    async def _fetched(self) -> MarketRules:
        await self._with_retries(self._client.load_markets, f"markets of {self.name!r}")
        self._rules = rules_of(self._client, self._now())
        if self._rules_path is not None:
            cache_rules(self._rules_path, self.name, self._rules)
        return self._rules

    def _cached_rules(self, path: Path) -> MarketRules | None:
        rules, why_left = cached_rules(path, self.name)
        if why_left:
            self._notes.append(f"{why_left}; it is left as it is, and the rules are fetched")
            self._rules_path = None
        return rules


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else f"{text[:157]}..."
