"""A client of ccxt for an exchange: what it notes of answers, what it offers, and how it is closed at the end."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from ..domain.interval import INTERVAL_MS, WEEK, interval_ms
from ..domain.retry_pauses import GiveUp, attempts_text
from ..errors import MissingDependency, UsageError
from ..market.fetch_loop import submit

if TYPE_CHECKING:
    pass


_FALLBACK_PAGE: Final = 500


_BUSY: Final = frozenset({418, 429})


# Not on the UTC grid of bknb at every exchange; made of minutes instead.
_NEVER_NATIVE: Final = frozenset({"3d"})


retry_after: ContextVar[int | None] = ContextVar("bknb_retry_after", default=None)


rows_came: ContextVar[Sequence[Any]] = ContextVar("bknb_rows_came", default=())


uncut_rows: ContextVar[Sequence[Any]] = ContextVar("bknb_uncut", default=())


class BrokenAnswer(Exception):  # noqa: N818 -- never reaches a user
    """A malformed answer of an exchange."""


def ccxt_package() -> Any:
    """The asynchronous part of ccxt.

    Raises
    ------
    MissingDependency
        It is not installed.
    """
    try:
        return importlib.import_module("ccxt.async_support")
    except ImportError:
        raise MissingDependency("ccxt", purpose="candles from an exchange", extra="ccxt") from None


def offered_intervals(client: Any, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The intervals that are wanted, or all that a client offers on the UTC grid; weeks where they are wanted alone."""
    offered = tuple(name for name in INTERVAL_MS if name in (client.timeframes or {}) and name not in _NEVER_NATIVE)
    if wanted is None or tuple(wanted) != (WEEK,):
        offered = tuple(name for name in offered if name != WEEK)  # they are made of the shorter ones
    if wanted is None:
        return offered
    if WEEK in wanted and len(wanted) > 1:
        raise UsageError(
            f"weeks are base bars alone, and made of shorter candles beside them, got intervals={tuple(wanted)!r}\n"
            "give intervals=('1w',), or leave 1w out and look at ctx.candles('1w', 12)"
        )
    for interval in wanted:
        interval_ms(interval)
        if interval not in offered:
            raise UsageError(f"{client.id} has no {interval} candles on the UTC grid; it has: {' '.join(offered)}")
    return tuple(wanted)


def page_limit_of(client: Any) -> int:
    """How many candles an exchange answers at once."""
    features = client.features or {}
    spot = features.get("spot") or features.get("default") or {}
    limit = (spot.get("fetchOHLCV") or {}).get("limit")
    return int(limit) if limit else _FALLBACK_PAGE


def client_class(base: Any, now: Callable[[], int], is_retryable: Callable[[Exception], bool]) -> Any:
    """A class of ccxt that notes the ``Retry-After`` and the rows of an answer, and lets no 5xx be final."""

    class Client(base):  # type: ignore[misc]  # ccxt has no types
        def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any, *rest: Any) -> Any:
            if code >= 400:
                retry_after.set(_retry_after_ms(headers or {}, now))
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
            rows_came.set(rows if isinstance(rows, (list, tuple)) else ())
            return super().parse_ohlcvs(rows, *more, **named)

        def filter_by_since_limit(self, array: Any, *more: Any, **named: Any) -> Any:
            uncut_rows.set(array if isinstance(array, list) else ())
            return super().filter_by_since_limit(array, *more, **named)

    return Client


def _retry_after_ms(headers: Mapping[str, str], now: Callable[[], int]) -> int | None:
    text = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isdecimal():
        return int(text) * 1000
    try:
        return max(0, int(parsedate_to_datetime(text).timestamp() * 1000) - now())
    except (TypeError, ValueError):
        return None


_open: weakref.WeakSet[Any] = weakref.WeakSet()


def close_at_exit(client: Any) -> None:
    """Have the connections of a client of ccxt closed when the process ends."""
    _open.add(client)


def close_collected(client: Any) -> None:
    """Close the connections of a source that was collected."""
    if client.session is not None:
        submit(client.close())


def _close_all() -> None:
    """Close the connections of every source when the process ends."""
    with contextlib.suppress(Exception):
        for closing in [submit(client.close()) for client in list(_open) if client.session is not None]:
            closing.result(timeout=2)


atexit.register(_close_all)


def failure_text(why: GiveUp, attempt: int, wanted: int | None, reason: str) -> str:
    """Why an exchange is not asked any more, in words; ``wanted`` is the pause that it asked for, ms."""
    if why is GiveUp.RETRY_AFTER and wanted is not None:
        return (
            f"the exchange asks to wait {wanted / 1000:g} s ({reason})\n"
            "that is longer than this waits; try again after that time"
        )
    return f"no answer after {attempts_text(attempt)}\nthe last one failed with {reason}"
