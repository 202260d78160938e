"""What ``fit`` of a model is given: the candles known at its moment, which are noted as it reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, NoReturn, TypeAlias

import msgspec

from ..errors import BknbError, DataError, NotEnoughData, UnknownName, UsageError
from .candles_since_moment import asked_candles, forming_candle
from .newest_moment import newest_moment
from .newest_series_rows import newest_rows, rows_of_several_symbols
from .strategy_context import Context, reads_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from ..domain.schedules import Schedule
    from .candles import Candles
    from .panel import Calendar, Panel
    from .series_rows import SeriesRows
    from .session_at_moment import TradingSession

_NAMED: Final = 3  # symbols in a text
_LACKS: Final = "lacks"

Kind: TypeAlias = Literal["newest", "since", "panel", "series", "forming", "answer"]


class Read(NamedTuple):
    """What a fit has read, as it asked for it, and its digest.

    Attributes
    ----------
    symbols : tuple of str
    interval : str
        Of candles; empty: an average price. Of a series, and of an answer of the context, its name.
    rows : int
        How many candles.
    when : int
        The moment, UTC ms.
    digest : str
        Where that was not there, or too little of it, how much there was instead.
    kind : {"newest", "since", "panel", "series", "forming", "answer"}
    asked
        The other arguments.
    """

    symbols: tuple[str, ...]
    interval: str
    rows: int
    when: int
    digest: str
    kind: Kind = "newest"
    asked: tuple[Any, ...] = ()

    @property
    def is_lack(self) -> bool:
        """Whether there was too little of it: ``fit`` may have gone on without, and an indicator with NaN."""
        return self.digest.startswith(_LACKS)


class FitContext(Context, frozen=True, gc=False):
    """The context of a fit: the symbol, the moment of the schedule, and the candles known then."""

    symbols: tuple[str, ...] = ()
    _reads: list[Read] = msgspec.field(default_factory=list)
    _late: list[NotEnoughData] = msgspec.field(default_factory=list)

    @property
    def memo(self) -> dict[str, Any]:
        """Refused: a fit depends on candles, not on what the strategy has seen of them."""
        self._refuse("ctx.memo")

    def model(self, name: str) -> Any:
        """Refused: a fit of a model cannot use another one."""
        self._refuse(f"ctx.model({name!r})")

    def _seen(self) -> NoReturn:
        """Refused, whatever of its run is asked for: another run has other trades, and the same fit."""
        self._refuse("what a run has made (ctx.closed, position, equity, strategy, exchange, frame)")

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(
            f"{what} cannot be read while a model is fitted: a fit depends on its code, symbol, moment and the data "
            "before it alone\nread it in get_signal, and give the model what it needs there"
        )

    def candles(
        self,
        interval: str,
        limit: int | None = None,
        *,
        since: str | timedelta | datetime | int | None = None,
        forming: bool = False,
    ) -> Candles:
        """The closed candles of the symbol, as of :class:`bknb.Context`."""
        if since is None and limit is not None and not forming:
            return super().candles(interval, limit)
        with self._lack_noted((self.symbol,), interval, "since", (limit, since, forming)) as read:
            found = super().candles(interval, limit, since=since, forming=forming)
        self._reads.append(read._replace(symbols=(self.symbol,), rows=len(found), digest=_candles_digest(found)))
        return found

    def panel(self, symbols: Sequence[str], interval: str, limit: int, how: Calendar = "union") -> Panel:
        """The newest closed candles of several symbols, as of :class:`bknb.Context`."""
        with self._lack_noted(symbols, interval, "panel", (how,), limit) as read:
            panel = super().panel(symbols, interval, limit, how)
        self._reads.append(read._replace(symbols=panel.symbols, digest=_panel_digest(panel)))
        return panel

    def series(
        self,
        name: str,
        limit: int | None = None,
        *,
        since: str | timedelta | datetime | int | None = None,
        symbol: str | None = None,
    ) -> SeriesRows:
        """The newest rows of a point-in-time series, as of :class:`bknb.Context`."""
        with self._lack_noted((self.symbol,), name, "series", (limit, since, symbol)) as read:
            rows = super().series(name, limit, since=since, symbol=symbol)
        self._reads.append(read._replace(symbols=(self.symbol,), digest=_rows_digest(rows)))
        return rows

    @property
    def session(self) -> TradingSession:
        """The trading session at the moment of the fit, as of :class:`bknb.Context`."""
        found = super().session
        self._note_answer("session", found)
        return found

    def at(self, time: str | Schedule) -> datetime:
        """The newest moment by a clock or a schedule, as of :class:`bknb.Context`."""
        found = super().at(time)
        self._note_answer("at", found, time)
        return found

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the exchange writes it, as of :class:`bknb.Context`."""
        found = super().format_price(symbol, price)
        self._note_answer("format_price", found, symbol, price)
        return found

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the exchange writes it, as of :class:`bknb.Context`."""
        found = super().format_quantity(symbol, quantity)
        self._note_answer("format_quantity", found, symbol, quantity)
        return found

    def _note_answer(self, name: str, found: object, *asked: Any) -> None:
        """Note what a method or an attribute of the context has said: another run may have another market or clock."""
        symbol = self.symbols[0]
        self._reads.append(Read((symbol,), name, 0, self.when_ms, repr(found), "answer", asked))

    @contextmanager
    def _lack_noted(
        self, symbols: Sequence[str], interval: str, kind: Kind, asked: tuple[Any, ...], rows: int = 0
    ) -> Iterator[Read]:
        """What is read within, without its digest; noted where it is not there, as ``fit`` may go on without it."""
        try:
            yield Read((), interval, rows, self.when_ms, "", kind, asked)
        except (DataError, UnknownName) as error:
            self._reads.append(Read(tuple(symbols), interval, rows, self.when_ms, _lack(error), kind, asked))
            _note_late(self._late, error)
            raise


class SharedFitContext:
    """The context of a fit that all symbols of a run share: its moment, and the candles of any symbol known then.

    Attributes
    ----------
    symbols : tuple of str
        Those of the run, in the order of the alphabet.
    """

    def __init__(self, context: FitContext) -> None:
        self._context = context
        self.symbols = context.symbols

    @property
    def symbol(self) -> str:
        """None: it is of several."""
        self._refuse("ctx.symbol is one", "use ctx.symbols")

    @property
    def price(self) -> float:
        """None: it is of several symbols."""
        self._refuse("ctx.price is that of one", "use ctx.get_average_price(symbol)")

    @property
    def session(self) -> Any:
        """None: it is of several symbols."""
        self._refuse("ctx.session is that of the market of one", "use ctx.at(schedule)")

    def get_symbol(self) -> str:
        """None: it is of several."""
        return self.symbol

    def get_average_price(self, symbol: str | None = None) -> float:
        """The average price of a symbol at the moment of the fit."""
        return self.price if symbol is None else self._context.get_average_price(symbol)

    def candles(self, *_: Any, **__: Any) -> Any:
        """None: it is of several symbols."""
        text = "use ctx.get_candles(symbol, interval, n), or ctx.panel(ctx.symbols, interval, n)"
        self._refuse("ctx.candles are those of one", text)

    def series(self, name: str, limit: int | None = None, *, symbol: str | None = None, **more: Any) -> SeriesRows:
        """The newest rows of a series; of one with a column of symbols, of ``symbol=``; see ``bknb.get_series``."""
        rows = self._context.series(name, limit, symbol=symbol, **more)
        return rows_of_several_symbols(rows, name, "a model with shared=True is fitted for", named=symbol is not None)

    def at(self, time: str | Schedule) -> datetime:
        """The newest moment by a clock or a schedule, as of :class:`bknb.Context`."""
        *_, run = reads_of(self._context)
        sessions = run.window.sessions_of(self.symbols[0])
        found = newest_moment(time, self._context.when_ms, sessions, zone=run.zone)
        self._context._note_answer("at", found, time)
        return found

    def indicator(self, *given: Any, **more: Any) -> Any:
        """The newest values of an indicator of ``symbol=``; see ``Context.indicator``."""
        asked: Any = self
        return Context.indicator(asked, *given, **more)

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise UsageError(f"a model with shared=True is fitted for all symbols at once, and {what}\n{instead}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_context":  # while it is copied it has no context yet
            raise AttributeError(name)
        return getattr(self._context, name)

    def __repr__(self) -> str:
        return f"SharedFitContext({symbols_text(self.symbols)}, {self._context.when_ms})"


def symbols_text(symbols: Sequence[str]) -> str:
    """The first three of some symbols, and how many more there are.

    Examples
    --------
    >>> symbols_text(("A", "B", "C", "D", "E"))
    'A, B, C and 2 more'
    """
    more = f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else ""
    return f"{', '.join(symbols[:_NAMED])}{more}"


def fit_context(context: Context, moment: int, symbols: tuple[str, ...]) -> FitContext:
    """A context at the moment of a fit (UTC ms) of some symbols, which notes the candles that are read."""
    reads: list[Read] = []
    late: list[NotEnoughData] = []
    newest, average, sources = reads_of(context)
    sources = copy(sources)
    sources.indicators = {}  # of its own, so that the candles they are made of are noted
    sources.indicators_read = set()

    def noted_forming(symbol: str, interval: str, bar: Candles) -> None:
        reads.append(Read((symbol,), interval, 0, moment, _candles_digest(bar), "forming"))

    sources.noted = noted_forming

    def noted(symbol: str, interval: str, limit: int, when: int) -> Candles:
        try:
            candles = newest(symbol, interval, limit, when)
        except DataError as error:
            reads.append(Read((symbol,), interval, limit, when, _lack(error)))
            _note_late(late, error)
            raise
        reads.append(Read((symbol,), interval, limit, when, _candles_digest(candles)))
        return candles

    def noted_price(symbol: str, when: int) -> float:
        try:
            price = average(symbol, when)
        except DataError as error:
            reads.append(Read((symbol,), "", 0, when, _lack(error)))
            _note_late(late, error)
            raise
        reads.append(Read((symbol,), "", 0, when, repr(price)))
        return price

    text = symbols_text(symbols)
    return FitContext(text, moment, context.mode, noted, noted_price, sources, None, symbols, reads, late)


def read_by(context: FitContext) -> tuple[Read, ...]:
    """What was read with a context."""
    return tuple(context._reads)


def late_of(context: FitContext) -> NotEnoughData | None:
    """What a fit was told when it asked for a candle that has closed and is not here yet; ``None``: nothing of it."""
    return context._late[0] if context._late else None


def _note_late(late: list[NotEnoughData], error: BknbError) -> None:
    if isinstance(error, NotEnoughData) and error.late:
        late.append(error)


def digest_of(read: Read, context: Context) -> str:
    """The digest of what the run of a context has in place of what was read elsewhere."""
    newest, average, sources = reads_of(context)
    symbol, interval, when = read.symbols[0], read.interval, read.when
    try:
        if read.kind == "panel":
            return _panel_digest(sources.window.panel(read.symbols, interval, read.rows, read.asked[0], when))
        if read.kind == "series":
            limit, since, of = read.asked
            rows = newest_rows(sources.published, interval, symbol, when, limit=limit, since=since, symbol=of)
            return _rows_digest(rows)
        if read.kind == "since":
            limit, since, forming = read.asked
            window = sources.window
            return _candles_digest(
                asked_candles(window, symbol, interval, when, limit=limit, since=since, forming=forming)
            )
        if read.kind == "forming":
            return _candles_digest(forming_candle(sources.window, symbol, interval, when))
        if read.kind == "answer":
            found = getattr(Context(symbol, when, context.mode, newest, average, sources), interval)
            return repr(found(*read.asked) if read.asked else found)
        return _candles_digest(newest(symbol, interval, read.rows, when)) if interval else repr(average(symbol, when))
    except BknbError as error:  # whoever makes the fit anew is told
        return _lack(error)


def _lack(error: BknbError) -> str:
    return f"{_LACKS} {getattr(error, 'available', '')}"


def _candles_digest(candles: Candles) -> str:
    return hashlib.blake2b(candles.block.tobytes(), digest_size=16).hexdigest()


def _panel_digest(panel: Panel) -> str:
    made = hashlib.blake2b(panel.timestamp.tobytes(), digest_size=16)
    for column in (panel.open, panel.high, panel.low, panel.close, panel.volume):
        made.update(column.tobytes())
    return made.hexdigest()


def _rows_digest(rows: SeriesRows) -> str:
    made = hashlib.blake2b(repr(rows.columns).encode(), digest_size=16)
    for name in rows.columns:
        column = rows[name]
        made.update(repr(column.tolist()).encode() if column.dtype == object else column.tobytes())
    return made.hexdigest()
