"""Sources of candles without I/O: a user's function, candles in memory, and any source with trading sessions."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.formatting import plain_number
from ..domain.interval import DAY_MS, INTERVAL_MS, MINUTE_MS, WEEK, interval_ms
from ..errors import BadCandle, UsageError
from ..ports import CandleSource
from .answer_notes import note
from .calls_in_threads import UserCalls, candles_from
from .candles import Candles
from .measured_bar_length import base_of
from .source_answers import read_answer
from .source_hours import bar_grid_of
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .sessions import Sessions
    from .shifted_bar_grid import BarGrid


class FunctionSource:
    """Candles from a function ``get_candles(symbol, interval, since, limit)``, sync or async.

    A sync function runs in a thread, so that it may block; an async one on an event loop of its own, always the same.
    ``since`` is the first open time wanted, as a whole number of UTC milliseconds.

    Parameters
    ----------
    get_candles
        Returns up to ``limit`` candles from ``since`` on: rows of ``(timestamp, open, high, low, close,
        volume)``, mappings, a DataFrame as :func:`bknb.exchanges.from_frame` reads it, or ``bknb.Candles``.
    name
        For reports and messages; by default the function's own name.
    format_price, format_quantity
        ``(symbol, number) -> str``; by default plain decimals without exponent.
    intervals
        The intervals the function knows; ``None``: not known, bknb finds out whether it has only minutes.
    page_limit
        Most candles it hands out at once; ``None``: not known.

    Raises
    ------
    UsageError
        When something that must be callable is not.

    Examples
    --------
    >>> def flat(symbol, interval, since, limit):
    ...     return [(since + i * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(limit)]
    >>> source = FunctionSource(flat)
    >>> import asyncio
    >>> asyncio.run(source.get_candles("BTCUSDT", "1m", 0, 2))
    Candles(2, 1970-01-01T00:00 .. 1970-01-01T00:01 UTC)
    """

    def __init__(
        self,
        get_candles: Callable[..., Any],
        *,
        name: str | None = None,
        format_price: Callable[[str, float], str] | None = None,
        format_quantity: Callable[[str, float], str] | None = None,
        intervals: tuple[str, ...] | None = None,
        page_limit: int | None = None,
        negative: bool = False,
    ) -> None:
        given: dict[str, object] = {
            "get_candles": get_candles,
            "format_price": format_price,
            "format_quantity": format_quantity,
        }
        for what, function in given.items():
            if not callable(function) and (function is not None or what == "get_candles"):
                raise UsageError(f"{what} must be a function, got {type(function).__name__}: {str(function)[:80]}")
        self.name = name if name is not None else str(getattr(get_candles, "__name__", "function"))
        self.intervals = intervals
        self.page_limit = page_limit
        self.negative = negative  # whether prices at or below zero are traded
        self._get_candles = get_candles
        self._calls = UserCalls(f"exchange-{self.name}", limited=True)
        self._format_price = format_price
        self._format_quantity = format_quantity
        self._is_async = inspect.iscoroutinefunction(get_candles) or inspect.iscoroutinefunction(
            getattr(get_candles, "__call__", None)  # noqa: B004 -- an object whose __call__ is async
        )

    def with_intervals(self, intervals: tuple[str, ...]) -> FunctionSource:
        """The same function as a source that says which intervals it has."""
        return FunctionSource(
            self._get_candles,
            name=self.name,
            format_price=self._format_price,
            format_quantity=self._format_quantity,
            intervals=intervals,
            page_limit=self.page_limit,
            negative=self.negative,
        )

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """What the function answers, as ``Candles``, in whatever order and quality it came.

        Raises
        ------
        UsageError
            When the answer is of a kind that cannot be candles.
        BadCandle
            When a value of a DataFrame is no number or no time.
        """
        answer = await self._calls.call(lambda: self._call(symbol, interval, since, limit), is_async=self._is_async)
        try:
            candles, notes = read_answer(answer, symbol)
        except UsageError as error:
            raise UsageError(f"exchange {self.name!r}: {error}") from None
        except BadCandle as error:
            raise BadCandle(f"exchange {self.name!r}: {error}") from None
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise UsageError(
                f"exchange {self.name!r}: get_candles must return rows of (timestamp, open, high, low, close, "
                f"volume), mappings with these keys, a DataFrame or bknb.Candles\n"
                f"got {type(answer).__name__}: {str(answer)[:80]} ({type(error).__name__}: {error})"
            ) from error
        for text in notes:
            note(f"exchange {self.name!r}: {text}")
        return candles

    def _call(self, symbol: str, interval: str, since: int, limit: int) -> Any:
        try:
            return self._get_candles(symbol, interval, since, limit)
        except StopIteration as error:
            # A future cannot carry a StopIteration: the awaiting side would wait for ever.
            raise RuntimeError(f"get_candles raised StopIteration ({error})") from error

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the exchange writes it."""
        return plain_number(price) if self._format_price is None else self._format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the exchange writes it."""
        return plain_number(quantity) if self._format_quantity is None else self._format_quantity(symbol, quantity)


class WindowSource:
    """The candles of a window as a source: what is asked twice is fetched once.

    Parameters
    ----------
    window
        Where candles come from and stay; it loads what it does not have yet.
    """

    in_memory = True

    def __init__(self, window: Window) -> None:
        self.name = window.source.name
        self.intervals: tuple[str, ...] | None = tuple(INTERVAL_MS)
        self.page_limit: int | None = None
        self.window = window
        self.base_interval = window.base
        self.bar_grid = window.grid_of
        self.negative = bool(getattr(window.source, "negative", False))
        self.format_price = window.source.format_price
        self.format_quantity = window.source.format_quantity
        self.sessions = window.sessions
        self.symbol_sessions: Mapping[str | None, Sessions | None] = getattr(window.source, "symbol_sessions", {})

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The candles of the ``limit`` intervals from ``since`` (UTC ms) on, as far as they are there."""
        series = await self.window.load(symbol, interval, since)
        return self.part(series.candles, since, limit, before=since + limit * series.step)

    def part(self, candles: Candles, since: int, limit: int, *, before: int | None = None) -> Candles:
        """Up to ``limit`` candles that open at or after ``since``, and before ``before`` (UTC ms)."""
        times = candles.timestamp
        at = int(np.searchsorted(times, since))
        end = len(candles) if before is None else int(np.searchsorted(times, before))
        return candles[at : max(at, min(end, at + limit))].copy()


class SessionSource:
    """A source with trading sessions declared; see :func:`bknb.exchanges.in_sessions`.

    Examples
    --------
    >>> import bknb
    >>> week = bknb.Sessions.weekly("UTC", {"mon-fri": "09:00-17:00"})
    >>> bknb.exchanges.SessionSource(bknb.exchanges.demo(), week).sessions.zone
    'UTC'
    """

    def __init__(self, source: CandleSource, sessions: Sessions, *, from_open: bool = False) -> None:
        if interval_ms(base_of(source)) >= DAY_MS:
            days, found = (
                ("weekly", "weeks in which it trades") if base_of(source) == WEEK else ("daily", "trading days")
            )
            raise UsageError(
                f"{source.name!r} has {days} bars, and its {found} are looked for in them\n"
                "give the sessions where the bars are read: from_frame(..., sessions=)"
            )
        if from_open and hasattr(source, "fill"):
            raise UsageError(
                f"{source.name!r} has a store, which has to know that its bars count from the open of their market\n"
                "put the store around it: bknb.exchanges.stored(in_sessions(source, sessions, from_open=True))"
            )
        if from_open and source.intervals is not None and interval_ms(base_of(source)) == MINUTE_MS:
            raise UsageError(
                f"from_open=True is for bars longer than a minute, and {source.name!r} has minutes\n"
                "leave it out: longer candles are made of the minutes, and open at multiples of their length in UTC"
            )
        self.source = source
        self.sessions = sessions
        self.from_open = from_open
        self._grid: BarGrid | None = None
        self.symbol_sessions: dict[str, Sessions | None] = {}  # what its bars showed does not count
        if told_of_hours := getattr(source, "told_of_hours", ()):
            self.warnings = tuple(note for note in getattr(source, "warnings", ()) if note not in told_of_hours)
        self.name = source.name
        # Longer candles that a source makes itself count from wherever it says: bknb makes them of these.
        self.intervals = (base_of(source),) if from_open and source.intervals is not None else source.intervals
        self.page_limit = source.page_limit

    def __repr__(self) -> str:
        return f"SessionSource({self.source!r}, {self.sessions})"

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """What the source answers."""
        return await candles_from(self.source, symbol, interval, since, limit)

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the source writes it."""
        return self.source.format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the source writes it."""
        return self.source.format_quantity(symbol, quantity)

    def __getattr__(self, name: str) -> Any:
        # Notes, warnings, clock and symbols are the source's own, where it has them.
        if name.startswith("__") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)

    def bar_grid(self, symbol: str) -> BarGrid | None:
        """Where the bars of a symbol open that do not open at multiples of their length, counted from its sessions."""
        if self.from_open and self.intervals is not None:
            from .shifted_bar_grid import open_grid  # few sources have such bars

            self._grid = self._grid or open_grid(self.sessions, interval_ms(base_of(self)))
            return self._grid
        grid = bar_grid_of(self.source, symbol)
        return None if grid is None else grid.in_sessions_of(self.sessions)


def with_intervals(name: str, source: CandleSource, intervals: tuple[str, ...] | None) -> CandleSource:
    """A ready-made source; a function within trading hours with the intervals that are said of it."""
    if isinstance(source, SessionSource) and source.from_open and (intervals or source.intervals) is None:
        raise UsageError(
            f"{name!r} has from_open=True, and it is not known how long its bars are\n"
            "say so: bknb.add_exchange(..., intervals=['1h'])"
        )
    if intervals is None or intervals == source.intervals:
        return source
    if isinstance(source, SessionSource) and isinstance(source.source, FunctionSource) and source.intervals is None:
        return SessionSource(source.source.with_intervals(intervals), source.sessions, from_open=source.from_open)
    known = "it does not say" if source.intervals is None else " ".join(source.intervals)
    raise UsageError(
        f"intervals= is for functions, and {name!r} is a ready-made source, which knows its own: {known}\n"
        "leave intervals= out; base= of a run chooses the bars that fill orders"
    )
