"""Several exchanges as one: a symbol has the name of its exchange in front, as ``"spot:BTCUSDT"``."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from ..domain.interval import interval_ms
from ..engine.registration_checks import as_source, limits_of_source
from ..engine.registry import Exchange, registry
from ..errors import BadCandle, UsageError
from ..history.cached_source import StoredSource
from ..market.calls_in_threads import candles_from
from ..market.measured_bar_length import base_of
from ..market.prices_at_or_below_zero_refused import ABOVE_ZERO, at_or_below_zero
from ..market.source_hours import bar_grid_of, sessions_of
from ..ports import CandleSource

if TYPE_CHECKING:
    from ..domain.costs import Costs
    from ..market.candles import Candles
    from ..market.pushed_minutes import PushedMinutes
    from ..market.sessions import Sessions
    from ..market.shifted_bar_grid import BarGrid

_LIMITS: Final = ("tick", "step", "least_quantity", "least_value")


def joined(**exchanges: str | Exchange | CandleSource | Callable[..., Any]) -> JoinedSource:
    """Several exchanges as one, for a strategy whose symbols are traded at more than one: spot and perpetuals.

    A symbol is written with the name of its exchange here in front: ``joined(spot=a, perp=b)`` has the ``BTCUSDT`` of
    ``a`` as ``"spot:BTCUSDT"`` and that of ``b`` as ``"perp:BTCUSDT"``. Each keeps its own trading hours, steps of
    prices and quantities, warnings and stream. Live orders go to ``bknb.brokers.joined``, a broker for each name.

    Parameters
    ----------
    exchanges
        At least one by name: a source, a registered exchange or its name, or a ``get_candles`` function. They need an
        interval in common; the shortest of these is the length of the bars that fill orders.

    Raises
    ------
    UsageError
        They have no interval in common, one of them is no exchange, or two of the same name are kept in one candle
        store, where the candles of a symbol of both would be one series.

    Examples
    --------
    >>> import bknb
    >>> both = bknb.exchanges.joined(spot=bknb.exchanges.demo(), perp=bknb.exchanges.demo())
    >>> both.name
    'spot=demo, perp=demo'
    >>> result = bknb.backtest(
    ...     "perp:BTCUSDT", strategy=lambda ctx: None, interval="1h", exchange=both, frame="2024-01-01:2024-01-02")
    >>> result.symbol
    'perp:BTCUSDT'
    """
    if not exchanges:
        raise UsageError("joined needs exchanges by name, such as joined(spot=bknb.exchanges.ccxt('binance'), perp=…)")
    known = {name: _exchange(name, given) for name, given in exchanges.items()}
    _check_stores({name: each.source for name, each in known.items()})
    return JoinedSource(known)


def _check_stores(parts: Mapping[str, CandleSource]) -> None:
    """Refuse two sources of one name in one candle store: what both call BTCUSDT would be stored as one series."""
    kept: dict[tuple[Path, str], tuple[str, CandleSource]] = {}
    for prefix, part in parts.items():
        if not isinstance(part, StoredSource):
            continue
        root = part.store.root
        other, source = kept.setdefault((root, part.name), (prefix, part.source))
        if source is not part.source:
            raise UsageError(
                f"{other} and {prefix} are both stored as {part.name!r} in {root}, where the candles of a symbol that "
                f"both have would be one series\ngive {prefix} a folder of its own: stored(..., folder='{prefix}'), or "
                f"ccxt(..., cache='{prefix}')"
            )


def _exchange(name: str, given: object) -> Exchange:
    if not name.isidentifier():
        raise UsageError(f"{name!r} cannot be the name of a joined exchange\ngive it a word such as spot or perp")
    if isinstance(given, str):
        given = registry.exchanges.get(given)
    if not isinstance(given, Exchange):
        own = str(getattr(given, "name", None) or getattr(given, "__name__", name))
        source = as_source(own, given)
        return Exchange(own, source, **limits_of_source(source))  # joined ones, too, say them by symbol
    if given.callbacks:
        raise UsageError(
            f"exchange {given.name!r} has callbacks, which are told symbols without the name of their exchange\n"
            f"give joined its source, bknb.get_exchange({given.name!r}).source, and the callbacks to "
            "bknb.add_exchange(..., get_candles=joined(...), callbacks=...)"
        )
    return given


class JoinedSource:
    """Several exchanges as one source; see :func:`bknb.exchanges.joined`.

    Parameters
    ----------
    exchanges
        By the name that stands in front of their symbols.

    Attributes
    ----------
    prefixes : tuple of str
        These names.
    intervals : tuple of str
        What all of them have.
    negative : bool
        Whether prices at or below zero are traded at one of them; of the others they are refused.
    stream : JoinedStream or None
        The minutes that they push, where one of them does.

    Examples
    --------
    >>> import bknb
    >>> demo = bknb.exchanges.demo()
    >>> bknb.exchanges.joined(spot=demo, perp=demo).written_at_exchange("spot:BTCUSDT")
    'BTCUSDT'
    """

    def __init__(self, exchanges: Mapping[str, Exchange]) -> None:
        self._exchanges = dict(exchanges)
        self.prefixes = tuple(self._exchanges)
        self.name = ", ".join(f"{prefix}={each.name}" for prefix, each in self._exchanges.items())
        self.parts = {prefix: each.source for prefix, each in self._exchanges.items()}
        self.intervals: tuple[str, ...] | None = _common_intervals(self.parts)
        limits = [limit for part in self.parts.values() if (limit := part.page_limit) is not None]
        self.page_limit: int | None = min(limits, default=None)
        self.negative = any(map(_is_negative, self.parts.values()))
        self.in_memory = all(getattr(part, "in_memory", False) for part in self.parts.values())
        hours = [sessions_of(part) for part in self.parts.values()]
        self.sessions = hours[0] if all(each == hours[0] for each in hours) else None
        self.symbol_sessions = _SessionsBySymbol(self)
        streams = {prefix: getattr(part, "stream", None) for prefix, part in self.parts.items()}
        pushing = {prefix: stream for prefix, stream in streams.items() if stream is not None}
        self.stream = JoinedStream(pushing) if pushing else None
        self.market_limits = {name: _LimitBySymbol(self._exchanges, name) for name in _LIMITS}

    def __repr__(self) -> str:
        return f"JoinedSource({', '.join(f'{prefix}={part!r}' for prefix, part in self.parts.items())})"

    def with_parts(self, change: Callable[[CandleSource], CandleSource]) -> JoinedSource:
        """The same exchanges with what ``change`` makes of the source of each; this one where it changes none."""
        made = {prefix: change(part) for prefix, part in self.parts.items()}
        if all(made[prefix] is part for prefix, part in self.parts.items()):
            return self
        return JoinedSource({prefix: replace(each, source=made[prefix]) for prefix, each in self._exchanges.items()})

    def _at(self, symbol: str) -> tuple[CandleSource, str]:
        """Where a symbol is traded, and how it is written there; ``UsageError`` where no known name stands in front."""
        prefix, _, rest = symbol.partition(":")
        part = self.parts.get(prefix)
        if part is None or not rest:
            has = " and ".join(f"'{each}:…'" for each in self.prefixes)
            is_bare = ":" not in symbol or "/" in prefix  # such as BTC/USDT:USDT
            text = f"does not say which of the joined exchanges it is of: they have {has}"
            if part is not None:
                text = f"names an exchange, and no symbol of it: they have {has}"
            example = f"{self.prefixes[0] if part is None else prefix}:{symbol if is_bare else rest or 'BTCUSDT'}"
            raise UsageError(f"symbol {symbol!r} {text}\nwrite it so: '{example}'")
        return part, rest

    def written_at_exchange(self, symbol: str) -> str:
        """A symbol as its own exchange writes it: without the name in front."""
        return self._at(symbol)[1]

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """What the exchange of the symbol answers.

        Raises
        ------
        UsageError
            The symbol has no known name of an exchange in front.
        BadCandle
            A price is at or below zero, and that exchange has none.
        """
        part, own = self._at(symbol)
        candles = await candles_from(part, own, interval, since, limit)
        if self.negative and not _is_negative(part):
            refused = at_or_below_zero(candles.open, candles.high, candles.low, candles.close)
            if refused.any():
                opens = int(candles.timestamp[refused.argmax()])
                raise BadCandle(f"{symbol} {interval} from {part.name!r}: {ABOVE_ZERO}", open_time=opens)
        return candles

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the exchange of the symbol writes it."""
        part, own = self._at(symbol)
        return part.format_price(own, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the exchange of the symbol writes it."""
        part, own = self._at(symbol)
        return part.format_quantity(own, quantity)

    def costs(self, symbol: str) -> Costs:
        """What fills of a symbol cost by what its exchange says; raises ``UsageError`` where it does not."""
        from ..domain.costs import costs_at  # few runs take costs of an exchange

        return costs_at(*self._at(symbol))

    def bar_grid(self, symbol: str) -> BarGrid | None:
        """Where the bars of a symbol open that do not open at multiples of their length; ``None``: they do."""
        return bar_grid_of(*self._at(symbol))

    def describe(self, symbol: str) -> str:
        """What the exchange of a symbol says of how its candles were made, for run cards."""
        part, own = self._at(symbol)
        said: Callable[[str], str] | None = getattr(part, "describe", None)
        return "" if said is None else said(own)

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The symbols they say they serve; ``None``: none of them says it."""
        known = {prefix: getattr(part, "symbols", None) or () for prefix, part in self.parts.items()}
        return tuple(f"{prefix}:{symbol}" for prefix, symbols in known.items() for symbol in symbols) or None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was repaired or decided on loading; a feed reports it."""
        return tuple(dict.fromkeys(note for part in self.parts.values() for note in getattr(part, "warnings", ())))

    @property
    def symbols_of_warning(self) -> Mapping[str, Container[str]]:
        """Whose candles a warning is about; a feed reports it where they are read."""
        found: dict[str, _SymbolsOfWarning] = {}
        for prefix, part in self.parts.items():
            own: Mapping[str, Container[str]] = getattr(part, "symbols_of_warning", {})
            for note in getattr(part, "warnings", ()):
                found.setdefault(note, _SymbolsOfWarning()).add(prefix, own.get(note))
        return found

    def take_notes(self) -> list[str]:
        """Notes of all of them since the last call; each is returned once."""
        takes = [getattr(part, "take_notes", None) for part in self.parts.values()]
        return [note for take in takes if take is not None for note in take()]


def _is_negative(part: CandleSource) -> bool:
    return bool(getattr(part, "negative", False))


def _common_intervals(parts: Mapping[str, CandleSource]) -> tuple[str, ...]:
    """The intervals that all have; of one that does not say which it has, minutes."""
    known: dict[str, list[str]] = {}
    for prefix, part in parts.items():
        base = base_of(part)
        known[prefix] = [each for each in part.intervals or (base,) if interval_ms(each) >= interval_ms(base)]
    first, *others = known.values()
    common = tuple(each for each in first if all(each in other for other in others))
    if not common:
        each = "; ".join(f"{prefix} has {' '.join(has)}" for prefix, has in known.items())
        raise UsageError(
            f"joined exchanges need an interval in common, in whose bars their orders fill: {each}\n"
            "a portfolio may give its symbols exchanges and bars of their own: exchange={symbol: …}, base={symbol: …}"
        )
    return common


class _SymbolsOfWarning:
    """The symbols a warning is about: of each exchange some, or all."""

    def __init__(self) -> None:
        self._of: dict[str, Container[str] | None] = {}

    def add(self, prefix: str, symbols: Container[str] | None) -> None:
        self._of[prefix] = symbols

    def __contains__(self, symbol: object) -> bool:
        prefix, _, own = str(symbol).partition(":")
        return prefix in self._of and ((of := self._of[prefix]) is None or own in of)


class _SessionsBySymbol(Mapping[str, "Sessions | None"]):
    """The trading hours of each symbol, as its exchange tells them; those that are listed are the known ones."""

    def __init__(self, source: JoinedSource) -> None:
        self._source = source

    def __contains__(self, symbol: object) -> bool:
        return isinstance(symbol, str) and symbol.partition(":")[0] in self._source.parts

    def __getitem__(self, symbol: str) -> Sessions | None:
        if symbol not in self:
            raise KeyError(symbol)
        return sessions_of(*self._source._at(symbol))

    def __iter__(self) -> Iterator[str]:
        return iter(self._source.symbols or ())

    def __len__(self) -> int:
        return len(self._source.symbols or ())


class _LimitBySymbol(Mapping[str, float]):
    """What the markets of registered exchanges take, one of :data:`_LIMITS`, by symbol with its exchange in front."""

    def __init__(self, exchanges: Mapping[str, Exchange], name: str) -> None:
        self._exchanges, self._name = exchanges, name

    def __getitem__(self, symbol: str) -> float:
        prefix, _, own = symbol.partition(":")
        given = getattr(self._exchanges.get(prefix), self._name, None)
        found = given.get(own) if isinstance(given, Mapping) else given
        if found is None:
            raise KeyError(symbol)
        return float(found)

    def __iter__(self) -> Iterator[str]:
        for prefix, each in self._exchanges.items():
            given = getattr(each, self._name)
            yield from (f"{prefix}:{own}" for own in given) if isinstance(given, Mapping) else ()

    def __len__(self) -> int:
        return sum(1 for _ in self)


class JoinedStream:
    """The minutes that several exchanges push, for symbols with their exchange in front; a ``MinuteStream``.

    Parameters
    ----------
    streams
        Those of the exchanges that push minutes, by the name in front of their symbols; of others nothing is pushed.

    Attributes
    ----------
    at_once : int
        How many requests each of them answers within a second.
    """

    def __init__(self, streams: Mapping[str, Any]) -> None:
        self._streams = dict(streams)
        self.at_once = min(stream.at_once for stream in self._streams.values())

    def _of(self, symbol: str) -> tuple[Any, str]:
        prefix, _, own = symbol.partition(":")
        return self._streams.get(prefix), own

    def follow(self, symbol: str) -> None:
        """Have the minutes of a symbol pushed from now on. From any thread."""
        stream, own = self._of(symbol)
        if stream is not None:
            stream.follow(own)

    def leave(self, symbol: str) -> None:
        """One of those who follow a symbol needs it no longer."""
        stream, own = self._of(symbol)
        if stream is not None:
            stream.leave(own)

    def pushed(self, symbol: str) -> PushedMinutes | None:
        """What was pushed of a symbol; ``None``: nothing is."""
        stream, own = self._of(symbol)
        return None if stream is None else stream.pushed(own)

    def place(self, symbol: str) -> tuple[int, int]:
        """Which of the symbols of its exchange that are followed it is, from 0, and of how many."""
        stream, own = self._of(symbol)
        place: tuple[int, int] = stream.place(own)
        return place

    async def settled(self, symbol: str, minute: int) -> None:
        """Return when it makes no sense to wait longer for a minute (open time, UTC ms)."""
        stream, own = self._of(symbol)
        await stream.settled(own, minute)

    def missed(self, symbol: str, minute: int) -> None:
        """A minute (open time, UTC ms) was not pushed as closed in time."""
        stream, own = self._of(symbol)
        stream.missed(own, minute)

    def take_notes(self) -> list[str]:
        """What users are to know, since the last call."""
        return [note for stream in self._streams.values() for note in stream.take_notes()]
