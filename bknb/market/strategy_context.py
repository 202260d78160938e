"""The context of a strategy: a moment, a symbol, and candles that have closed.

A strategy may take it as ``ctx``; the functions of :mod:`.get_candles_series_and_average_price` ask the current one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..domain.formatting import minute_text
from ..domain.signal_events import Mode
from ..errors import UsageError
from .candles import Candles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from ..domain.closed_trade import ClosedTrade
    from ..domain.position_seen_by_manage import HeldPosition
    from ..domain.risk_request_and_verdict import WeightLimits
    from ..domain.schedules import Schedule
    from ..domain.states import StaysFlat
    from .fits_beside_live_run import FitsBeside
    from .fitted_models import KeptFits, RunModels
    from .model_fit import FittedModel
    from .newest_series_rows import ReadSeries
    from .panel import Calendar, Panel
    from .run_seen_by_strategy import RunSeen
    from .series_rows import SeriesRows
    from .session_at_moment import TradingSession
    from .unaligned_windows import Alignment
    from .window import Window


class RunSources:
    """Where the answers to the questions of a run come from; the same for all of its moments.

    Attributes
    ----------
    window
        The candles in memory.
    published
        Reads the point-in-time series; ``None``: there are none.
    interval_ms, zone
        Of the strategy: the length of its candles, ms; the zone of times of the day, where it is not the market's.
    alignment
        Compares candles of different symbols, once a strategy has asked for another one.
    weight_limits, stays_flat
        Of the account, where the strategy answers with weights; the side on which these open nothing (see ``Flat``).
    memo : str
        What the strategy keeps, as JSON; empty: nothing.
    run
        Returns what the strategy sees of its run; ``None``: that is over.
    ask_model, models, fits
        Returns what a model is now, ``None``: there are none; those that were asked for; what was fitted, in order.
    indicators, indicators_read, noted
        Values of those that were asked for; names of those read, by models, too; is told of each forming candle of one.
    kept_fits, fits_beside
        Fits of other runs, which are taken, ``None``: those of this process; what fits beside a live run.
    symbols, model_codes
        Those that share a model, of all legs of the strategy; digests of models by name, as the first leg had them.
    """

    __slots__ = (
        *("alignment", "ask_model", "fits", "fits_beside", "indicators", "interval_ms", "kept_fits", "memo", "models"),
        *("indicators_read", "model_codes", "noted", "published", "run", "stays_flat", "symbols", "weight_limits"),
        *("window", "zone"),
    )

    def __init__(self, window: Window, published: ReadSeries | None, interval_ms: int, zone: str | None = None) -> None:
        self.window, self.published, self.interval_ms, self.zone, self.memo = window, published, interval_ms, zone, ""
        self.alignment: Alignment | None = None
        self.weight_limits: WeightLimits | None = None
        self.stays_flat: StaysFlat | None = None
        self.run: Callable[[], RunSeen | None] = _over
        self.ask_model: Callable[[Context, str], Any] | None = None
        self.models: RunModels | None = None
        self.fits: list[FittedModel] = []
        self.indicators: dict[object, Any] = {}
        self.indicators_read: set[str] = set()
        self.noted: Callable[[str, str, Candles], None] | None = None
        self.kept_fits: KeptFits | None = None
        self.fits_beside: FitsBeside | None = None
        self.symbols: tuple[str, ...] = ()
        self.model_codes: dict[str, str] = {}


class Context(msgspec.Struct, frozen=True, gc=False):
    """The symbol and moment a strategy is asked about, and the candles known then.

    Attributes
    ----------
    symbol : str
    when_ms : int
        The moment, UTC milliseconds. ``when`` is the same as an aware datetime.
    mode : {"backtest", "live"}
    """

    symbol: str
    when_ms: int
    mode: Mode
    _newest: Callable[[str, str, int, int], Candles]
    _average: Callable[[str, int], float]
    _run: RunSources
    _memo: dict[str, Any] | None = None  # once it was asked for

    @property
    def when(self) -> datetime:
        """The moment, as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.when_ms / 1000, UTC)

    @property
    def price(self) -> float:
        """The average price of the symbol now."""
        return self._average(self.symbol, self.when_ms)

    @property
    def memo(self) -> dict[str, Any]:
        """Values that the strategy keeps on this symbol from question to question: texts, numbers, lists, mappings.

        What is written into it (``ctx.memo["losses"] = 2``) is kept once the question has been answered, with ``None``,
        too, and not where it raises, is given up or waits for a candle; live with the state that follows from the
        answer. It is kept as JSON, with texts as keys, 16 384 bytes at most; a tuple comes back as a list.
        """
        if self._memo is not None:
            return self._memo
        from .kept_memo import read_memo  # few strategies have one

        msgspec.structs.force_setattr(self, "_memo", memo := read_memo(self._run.memo))
        return memo

    @property
    def strategy(self) -> str:
        """The name of the strategy."""
        return self._seen().strategy

    @property
    def exchange(self) -> str:
        """The name of the exchange."""
        return self._seen().exchange

    @property
    def frame(self) -> str | None:
        """The name of the frame of a backtest; ``None`` where it has none, and live."""
        return self._seen().frame

    def closed(self, n: int = 1) -> tuple[ClosedTrade, ...]:
        """The ``n`` newest closed trades of this strategy on this symbol, the newest first; or as many as there are.

        Live those from before the run was started again, too. Each has ``id``, ``side``, ``pnl_percentage``,
        ``reason``, ``bars`` and more; see ``bknb.ClosedTrade``.
        """
        if type(n) is not int or n < 1:
            raise UsageError(f"ctx.closed(n) takes a whole number of at least 1, got {n!r:.60}")
        return self._seen().closed(n, self.when_ms)

    @property
    def position(self) -> HeldPosition | None:
        """What is open or waits on this symbol now, the oldest; ``None``: nothing, or it leaves already."""
        return next(iter(self.positions), None)

    @property
    def positions(self) -> tuple[HeldPosition, ...]:
        """All that is open or waits on this symbol now, the oldest first: one at most in each place."""
        return self._seen().positions(self.when_ms)

    @property
    def equity(self) -> float:
        """What the account of the run is worth at the last closes, quote currency.

        Raises
        ------
        UsageError
            The run has no ``capital=``.
        """
        return self._seen().equity(self.when_ms)

    def _seen(self) -> RunSeen:
        if (run := self._run.run()) is None:
            raise UsageError("the run of this ctx is over\nask for its trades, position and equity during the question")
        return run

    def get_candles(self, symbol: str, interval: str, limit: int) -> Candles:
        """The ``limit`` newest closed candles of any symbol and interval."""
        candles = self._newest(symbol, interval, limit, self.when_ms)
        if symbol != self.symbol:
            self._compare(symbol, interval, candles)
        return candles

    def _compare(self, symbol: str, interval: str, candles: Candles) -> None:
        """Warn once in a run where these candles of another symbol do not belong to those beside them."""
        run = self._run
        if run.alignment is None:
            from .unaligned_windows import Alignment  # few ask for another symbol

            run.alignment = Alignment(run.window, self.symbol, run.interval_ms)
        run.alignment.look(symbol, interval, candles, self.when_ms)

    def panel(self, symbols: Sequence[str], interval: str, limit: int, how: Calendar = "union") -> Panel:
        """The newest closed candles of several symbols on one calendar: row for row they are of the same time.

        Parameters
        ----------
        symbols
            Any symbols the exchange of the run knows; a column for each.
        interval
            As in ``bknb.get_candles``.
        limit
            How many rows.
        how
            ``"union"``: a row for each time at which any has a candle, NaN where another, young, halted or closed, has
            none. ``"common"``: only times at which all of them have one.

        Returns
        -------
        Panel
            ``.timestamp`` (n,) and ``.open``, ``.high``, ``.low``, ``.close``, ``.volume`` of the shape (n, symbols).

        Raises
        ------
        NotEnoughData
            When there are fewer rows.
        """
        return self._run.window.panel(symbols, interval, limit, how, self.when_ms)

    def candles(
        self,
        interval: str,
        limit: int | None = None,
        *,
        since: str | timedelta | datetime | int | None = None,
        forming: bool = False,
    ) -> Candles:
        """The closed candles of the symbol of this question: the ``limit`` newest, or those that opened ``since`` then.

        Parameters
        ----------
        interval
            As in ``bknb.get_candles``.
        limit
            How many. With ``since`` the most that come back; leave it out for all of them.
        since
            A moment (an aware datetime such as ``ctx.session.open`` or ``ctx.at("00:00")``, or UTC ms), which is
            included, or a span up to now (``"24h"``, a timedelta). None come back where none has closed since, and
            those there are where the data begins later.
        forming
            Whether one more row comes last: the candle made of the base bars of its slot that have closed so far. There
            is none where none has, as at the moment at which a slot begins.
        """
        if since is None and limit is not None and not forming:
            return self._newest(self.symbol, interval, limit, self.when_ms)
        from .candles_since_moment import asked_candles

        window, symbol, when = self._run.window, self.symbol, self.when_ms
        return asked_candles(window, symbol, interval, when, limit=limit, since=since, forming=forming)

    @property
    def session(self) -> TradingSession:
        """The trading session of the market now, or the last one while it is closed.

        ``day`` (a date), ``open`` and ``close`` (aware datetimes in UTC), ``minutes`` and ``bars`` (candles of the
        strategy's interval) since it opened. A market without trading hours has a session each UTC day.
        """
        from .session_at_moment import session_at

        window, symbol = self._run.window, self.symbol
        grid = window.grid_of(symbol)
        return session_at(window.sessions_of(symbol), self.when_ms, self._run.interval_ms, grid=grid)

    def at(self, time: str | Schedule) -> datetime:
        """The newest moment by a clock or a schedule, now included; an aware datetime in UTC.

        Parameters
        ----------
        time
            A time of day, with a zone, ``"07:00 Europe/London"``, or without, ``"00:00"``: in the zone of the times of
            ``at=``, else in that of the market, UTC without trading hours. Whether the market was open then or not.
            Or any of ``bknb.at`` except series, or its text:
            ``"session_open"``, ``"mon"``, ``"month"``.
        """
        from .newest_moment import newest_moment

        run = self._run
        return newest_moment(time, self.when_ms, run.window.sessions_of(self.symbol), zone=run.zone)

    def series(
        self,
        name: str,
        limit: int | None = None,
        *,
        since: str | timedelta | datetime | int | None = None,
        symbol: str | None = None,
    ) -> SeriesRows:
        """The newest rows of a point-in-time series that are known now; see ``bknb.get_series``."""
        from .newest_series_rows import newest_rows

        return newest_rows(
            self._run.published, name, self.symbol, self.when_ms, limit=limit, since=since, symbol=symbol
        )

    def model(self, name: str) -> Any:
        """What a model is now: what ``fit`` returned for the newest moment whose delay is over; see ``bknb.model``."""
        if (models := self._run.models) is not None:
            return models.newest(name, self)
        if (ask := self._run.ask_model) is None:
            raise UsageError(f"ctx.model({name!r}): there are no models where this is asked")
        return ask(self, name)

    def indicator(
        self, what: str | Callable[..., Any], interval: str, *parameters: Any,
        n: int = 1, symbol: str | None = None, lookback: int | None = None,
    ) -> Any:  # fmt: skip
        """The ``n`` newest values of an indicator: ``bknb.indicator(...)(ctx, n)``, without a name for it."""
        from .indicator import indicator_inline  # few strategies have any

        return indicator_inline(self, what, interval, parameters, n=n, symbol=symbol, lookback=lookback)

    def get_average_price(self, symbol: str | None = None) -> float:
        """VWAP of the newest closed one-minute candles, of longer base bars the last close; in quote currency."""
        return self._average(symbol or self.symbol, self.when_ms)

    def get_when(self) -> datetime:
        """The moment, as an aware datetime in UTC."""
        return self.when

    def get_symbol(self) -> str:
        """The symbol of this question."""
        return self.symbol

    def get_mode(self) -> Mode:
        """``"backtest"`` or ``"live"``."""
        return self.mode

    def format_price(self, symbol: str, price: float) -> str:
        """A price as the exchange writes it."""
        return self._run.window.source.format_price(symbol, price)

    def format_quantity(self, symbol: str, quantity: float) -> str:
        """A quantity as the exchange writes it."""
        return self._run.window.source.format_quantity(symbol, quantity)

    def __repr__(self) -> str:
        return f"Context({self.symbol}, {minute_text(self.when_ms)} UTC, {self.mode})"


def _assigned(self: Context, name: str, value: object) -> None:
    from .read_only_names import refuse_assigned  # few assign

    refuse_assigned(self, name, value)


setattr(Context, "__setattr__", _assigned)  # noqa: B010 -- within a frozen class msgspec would replace it


def _over() -> None:
    """What is seen of a run that is over: nothing."""


def have_run(context: Context, run: RunSeen, memo: str) -> None:
    """Have a context see a run, and a memo (JSON) that its strategy has not looked at yet."""
    context._run.run, context._run.memo = lambda: run, memo


memo_of: Final[Callable[[Context], dict[str, Any] | None]] = attrgetter("_memo")
"""What a strategy has made of its memo in a question; ``None``: it has not looked at it."""


def reads_of(context: Context) -> tuple[Callable[..., Candles], Callable[[str, int], float], RunSources]:
    """How a context reads candles and average prices at a moment, and where its answers come from."""
    return context._newest, context._average, context._run


def base_of(context: Context) -> str:
    """The interval of the base bars of the run in which a context is asked; a strategy does not see it."""
    return context._run.window.base


def weight_limits_of(context: Context) -> WeightLimits | None:
    """What the account of the run in which a context is asked allows; ``None`` where no run opens anything."""
    return context._run.weight_limits


def keep_flat(context: Context, side: StaysFlat | None) -> None:
    """Have weights open nothing on a side where a context is asked; ``None``: on each they may."""
    context._run.stays_flat = side


def stays_flat_of(context: Context) -> StaysFlat | None:
    """The side on which weights open nothing where a context is asked; see :class:`bknb.domain.states.Flat`."""
    return context._run.stays_flat


current: ContextVar[Context | None] = ContextVar("bknb_context", default=None)
