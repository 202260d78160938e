"""What a run accepts: a name, a value or something like it, made into what the engine works with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MethodType
from typing import TYPE_CHECKING, Any, Literal

from ..errors import UsageError
from ..ports import CandleSource
from .registration_checks import as_moment, as_source, limits_of_source, make_frame, make_strategy, rebuilt
from .registry import AnyFunction, Exchange, Frame, Strategy, registry

if TYPE_CHECKING:
    from ..config import Settings
    from ..domain.schedules import Schedule
    from ..market.point_in_time_series import Published
    from .series_reading import SeriesReader


def resolve_exchange(exchange: str | Exchange | CandleSource | AnyFunction) -> Exchange:
    """A name, an exchange, a source or a function as an exchange."""
    found = _exchange(exchange)
    for step in registry.middleware:
        found = step(found)
    return found


def _exchange(exchange: str | Exchange | CandleSource | AnyFunction) -> Exchange:
    if isinstance(exchange, str):
        return registry.exchanges.get(exchange)
    if isinstance(exchange, Exchange):
        return exchange
    name = getattr(exchange, "name", None) or getattr(exchange, "__name__", "exchange")
    source = as_source(str(name), exchange)
    return Exchange(str(name), source, **limits_of_source(source))


def resolve_strategy(
    chosen: str | Strategy | AnyFunction,
    *,
    interval: str | None = None,
    at: Schedule | str | None = None,
    default: str = "1m",
) -> Strategy:
    """A name, a strategy or a function as a strategy.

    A registered function is the strategy it was registered as; ``interval`` and ``at`` come before its own. Any other
    function is asked at the moments of ``at``, or at every ``interval``, or at every ``default`` where both are
    ``None``.

    Raises
    ------
    UnknownName
        No strategy of that name is registered.
    UsageError
        The function is registered under several names, or is none.
    """
    if isinstance(chosen, str):
        chosen = registry.strategies.get(chosen)
    if not isinstance(chosen, Strategy):
        chosen = registered(chosen) or chosen
    if isinstance(chosen, Strategy):
        if chosen.symbols:
            raise UsageError(
                f"strategy {chosen.name!r} answers with the weights of several symbols at once\n"
                f"run it as a portfolio: bknb.portfolio(strategies=[{chosen.name!r}], exchange=…, frame=…)"
            )
        changes: dict[str, Any] = {} if interval in (None, chosen.interval) else {"interval": interval}
        if at is not None and str(at) != str(chosen.at):
            changes["at"] = at
        return rebuilt(chosen, **changes) if changes else chosen
    name = getattr(chosen, "__name__", type(chosen).__name__)
    return make_strategy(name, chosen, interval=interval if at is not None else interval or default, at=at)


def says_no_interval(chosen: object) -> bool:
    """Whether a strategy is a function that is registered nowhere: how often it is asked is said by the run alone."""
    return callable(chosen) and not isinstance(chosen, Strategy) and registered(chosen) is None


def registered(function: AnyFunction) -> Strategy | None:
    """The strategy that this very function is registered as, if there is one."""
    found = [
        strategy
        for strategy in registry.strategies.items.values()
        if _same(strategy.get_signals or strategy.get_signal, function)
    ]
    if len(found) > 1:
        names = [repr(strategy.name) for strategy in found]
        raise UsageError(
            f"the function {getattr(function, '__name__', type(function).__name__)} is registered as "
            f"{', '.join(names[:-1])} and {names[-1]}, and each may run differently\n"
            f"give the run the name of one of them, such as strategy={names[0]}"
        )
    return found[0] if found else None


def _same(one: AnyFunction, other: AnyFunction) -> bool:
    """Whether two functions are one object; a method of an object is made anew whenever it is asked for."""
    return one is other or (isinstance(one, MethodType) and one == other)


def resolve_frame(frame: str | Frame | tuple[object, object]) -> Frame:
    """A name, a frame, a pair of moments, or ``"2022-01-01:2022-02-01"`` as a frame."""
    if isinstance(frame, Frame):
        return frame
    if isinstance(frame, str):
        if frame in registry.frames.items:
            return registry.frames.get(frame)
        start, separator, end = _split_span(frame)
        if separator:
            return make_frame(None, start, end)
        return registry.frames.get(frame)
    pair: object = frame
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        return make_frame(None, pair[0], pair[1])
    raise UsageError(f"a frame is a name, a pair (start, end), or 'start:end', got {frame!r:.80}")


def _split_span(text: str) -> tuple[str, Literal[":", ""], str]:
    """``"2022-01-01 10:00:2022-02-01"``: the colon between two moments is one that leaves two moments."""
    for at, letter in enumerate(text):
        if letter == ":":
            try:
                as_moment(text[:at])
                as_moment(text[at + 1 :])
            except UsageError:
                continue
            return text[:at], ":", text[at + 1 :]
    return text, "", ""


class RunSeries:
    """The point-in-time series that one run reads: each is looked up by its name, and loaded, at its first use.

    Parameters
    ----------
    settings
        How often and how long a function is asked.
    until
        The last moment of the run, UTC ms; ``None`` for a live run, for which functions are asked again.
    warn
        Called with one sentence for what the user should know.
    tables
        The series there are; ``None``: those that are registered.

    Attributes
    ----------
    readers
        What was read so far, by name.
    """

    __slots__ = ("_tables", "readers", "settings", "until", "warn")

    def __init__(
        self,
        settings: Settings,
        *,
        until: int | None,
        warn: Callable[[str], object],
        tables: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings, self.until, self.warn, self._tables = settings, until, warn, tables
        self.readers: dict[str, SeriesReader] = {}

    def __call__(self, name: str, symbol: str, when: int) -> Published:
        """The rows of a series, with all that are known at a moment (UTC ms).

        Raises
        ------
        UnknownName
            No series of that name is registered.
        DataError
            A function did not answer, or answered what is no such table.
        """
        reader = self.readers.get(name)
        if reader is None:
            found = None if self._tables is None else self._tables.get(name)
            found = registry.series.get(name) if found is None else found
            from .series_reading import SeriesReader

            reader = self.readers.setdefault(name, SeriesReader(found, self))
        return reader.at(symbol, when)

    def hold(self, name: str, table: Published | None) -> None:
        """Take over the rows of a series as another process read them for this run."""
        from .series_reading import SeriesReader

        self.readers[name] = SeriesReader(registry.series.get(name), self, table)
