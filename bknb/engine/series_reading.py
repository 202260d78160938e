"""Reading the point-in-time series of a run: a table as it was registered, a function asked with a limit of time."""

from __future__ import annotations

import inspect
import threading
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS
from ..errors import BknbError, UsageError
from ..market.calls_in_threads import user_calls_of
from ..market.fetch_loop import fetch_now
from ..market.point_in_time_series import Published
from ..market.retries import answer_to
from ..market.series_tables import read_frame, read_published

if TYPE_CHECKING:
    from .add_and_list_series import SeriesSource
    from .registry import AnyFunction
    from .resolve import RunSeries

_OVERLAP_MS: Final = DAY_MS  # a live run asks again about so long, and the delay, before its last question
_SHOWN: Final = 5  # symbols in a warning
_ANSWERING: Final[ContextVar[frozenset[str]]] = ContextVar("answering", default=frozenset())  # names, in a function


class SeriesReader:
    """One series of one run.

    Parameters
    ----------
    source
        What is registered.
    run
        The run: its last moment, its settings, and whom to warn.
    table
        Its rows, where another process read them for this run.
    """

    def __init__(self, source: SeriesSource, run: RunSeries, table: Published | None = None) -> None:
        self.source = source
        self._run = run
        self._table = source.table if table is None else table
        read = None if table is None else run.until
        self._asked = -1 if read is None else read  # the moment (UTC ms) up to which the function was asked
        self._failure: BknbError | None = None  # of a function over history: asked again, it fails again
        self._lock = threading.Lock()
        self._symbols: set[str] = set()  # that were asked for

    def at(self, symbol: str, when: int) -> Published:
        """Its rows, with all that are known at a moment (UTC ms); see ``RunSeries``."""
        if self.source.function is not None:
            until = when if self._run.until is None else self._run.until
            if until > self._asked:
                if self.source.name in _ANSWERING.get():  # it would wait for itself
                    raise UsageError(
                        f"series {self.source.name!r}: its function reads the series itself\n"
                        "let it return the rows from where they come, or read them from another series"
                    )
                with self._lock:
                    self._ask(self.source.function, until)
        table = self._table
        if table is None:
            name = self.source.name
            raise UsageError(
                f"series {name!r} is a function, and a sweep reads tables alone, so that all see the same rows\n"
                f"register what it returns: add_series({name!r}, function(since, until), ...), both in UTC milliseconds"
            )
        if symbol not in self._symbols:
            self._notice(table, symbol)
        return table

    @property
    def table(self) -> Published | None:
        """Its rows as far as they were read; ``None`` where a function did not answer."""
        return self._table

    def _notice(self, table: Published, symbol: str) -> None:
        """Warn, once for each symbol, where there is nothing to come."""
        first, name = not self._symbols, self.source.name
        self._symbols.add(symbol)
        if table.has_symbols and symbol not in table.symbols:
            some = table.symbols[:_SHOWN]
            more = f" and {len(table.symbols) - len(some)} more" if len(table.symbols) > len(some) else ""
            known = f"its symbols: {', '.join(some)}{more}" if some else "it has no rows"
            self._run.warn(f"series {name!r} has no rows of {symbol!r}; {known}")
        if first and self._run.until is None and self.source.function is None:
            end = utc_text(int(table.columns[table.time][-1]))
            self._run.warn(
                f"series {name!r} is a table, so the live run never sees a row behind its last, published at {end}; "
                "register a function (since, until) in its place"
            )

    # --- functions ----------------------------------------------------------------------------------------------

    def _ask(self, function: AnyFunction, until: int) -> None:
        if until <= self._asked:  # another thread has asked meanwhile
            return
        if self._failure is not None:
            raise self._failure
        columns, known = self.source.columns, self._table
        since = 0 if known is None else max(0, self._asked - columns.delay_ms - _OVERLAP_MS)
        try:
            answer = fetch_now(self._answer(function, since, until))
            came = _between(read_published(read_frame(answer, columns), columns), since, until)
            self._table = came if known is None else known.continued(came, since, columns.where)
        except BknbError as error:
            if self._run.until is not None:
                self._failure = error
            raise
        self._asked = until

    async def _answer(self, function: AnyFunction, since: int, until: int) -> Any:
        """What the function returns; it is asked again where it raises, as an exchange is for candles."""
        settings, name = self._run.settings, self.source.name
        live = self._run.until is None
        seconds = settings.get_candles_timeout_seconds if live else None
        calls, is_async = user_calls_of(function, f"series-{name}"), inspect.iscoroutinefunction(function)
        _ANSWERING.set(_ANSWERING.get() | {name})  # of this answer alone, as each has a context of its own
        return await answer_to(
            partial(calls.call, partial(function, since, until), is_async=is_async),
            what=f"series {name!r}",
            since=since,
            until=until,
            settings=settings,
            seconds=seconds,
            warn=self._run.warn,
        )


def _between(table: Published, since: int, until: int) -> Published:
    """The rows that were published from ``since`` to ``until``: others were not asked for."""
    published = table.columns[table.time]
    return table.take((published >= since) & (published <= until))
