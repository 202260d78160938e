"""The result of a run: trades, statistics, events, and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING, Any

from ..config import Settings
from ..domain.formatting import utc_text
from ..domain.interval import floor_to, interval_ms
from ..domain.signal import OpenSignal, ScheduledSignal, key_of
from ..domain.signal_events import (
    CLOSE_REASONS,
    Closed,
    Milestone,
    Mode,
    Opened,
    PositionEvent,
    Rejected,
    RiskRefused,
    TickResult,
)
from ..engine.records import Failure
from ..engine.registration_checks import as_moment
from ..errors import UnknownName, UsageError
from ..frontend import frontend
from ..market.source_hours import bar_grid_of
from ..reports.signal_story import history, story
from .result_tables import (
    CANCELLED_COLUMNS,
    REJECTED_COLUMNS,
    TRADE_COLUMNS,
    cancelled_row,
    rejected_row,
    table_of,
    trade_points,
    trade_row,
)
from .save_result import Savable

if TYPE_CHECKING:
    import pandas as pd

    from ..domain.html import Html
    from ..domain.protection_gaps import ProtectionGaps
    from ..market.candles import Candles
    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.benchmark_figures import Benchmark
    from ..metrics.marked_equity import MarkedEquity
    from ..metrics.run_account import Terms
    from ..metrics.statistics import Statistics
    from ..provenance.card import Card
    from ..reports.live_comparison import LiveComparison
    from ..reports.slippage_report import Slippage
    from ..research.tries_ledger import Tries
    from .account_result import RunAccount
    from .measured import Measured
    from .moment import Moment
    from .monthly_returns_and_drawdowns import Period
    from .run_record import RunRecord


class Result(Savable):
    """The result of a backtest or a live run; shows itself as text in a terminal, as curve and tables in a notebook.

    Attributes
    ----------
    symbol, strategy, exchange, frame, interval, execution : str
        What was run; ``frame`` may be ``None``.
    base : str
        The interval of the bars that filled orders.
    start, end : int
        First and last moment, UTC ms.
    mode : {"backtest", "live"}
    settings : Settings
        Costs and limits that held.
    events : list
        ``Scheduled``, ``Opened``, ``Closed`` and ``Cancelled`` in order.
    position_events : list
        ``Reduced``, ``Added``, ``AddCancelled`` and ``Moved`` of managed positions, in order.
    warnings : list of str
        What a reader of the numbers should know.
    stopped : bool
        Whether the run was stopped before its end.
    capital : float or None
        What the account began with; ``None``: there is no account in money.
    benchmark : Benchmark or None
        The prices that its account is set beside.
    missed : int
        Moments of the strategy's schedule (``at=``) at which it could not be asked; of a live run since its last start.

    Examples
    --------
    >>> import bknb
    >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
    >>> len(result.trades), result.stats["win_rate"]
    (0, None)
    """

    def __init__(self, record: RunRecord) -> None:
        plan, records = record.plan, record.records
        self.symbol = plan.symbol
        self.strategy = plan.strategy.name
        self.exchange = plan.exchange.name
        self.frame = record.frame
        self.mode: Mode = record.mode
        self.interval = plan.strategy.interval
        self.base: str = plan.base
        self.execution = plan.execution
        self.settings: Settings = plan.settings
        self.start = record.start
        self.end = record.last
        self.stopped = record.stopped
        self.seconds = record.seconds
        self.events: list[TickResult] = records.events
        self.position_events: list[PositionEvent] = records.positions
        self.refused: list[RiskRefused] = records.refused
        self.warnings: list[str] = records.warnings
        self.missed: int = records.missed
        self.run_record = record
        self.capital: float | None = None if record.money is None else record.money.capital
        self.benchmark: Benchmark | None = record.benchmark
        self._records = records

    @property
    def milestones(self) -> list[Milestone]:
        """Partial milestones in order; of a live run the newest, at least 1 000.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=120,
        ...     )
        >>> day = ("2024-01-01", "2024-01-02")
        >>> result = bknb.backtest("BTCUSDT", strategy=get_signal, exchange="demo", frame=day)
        >>> first = result.milestones[0]
        >>> first.side, first.level
        ('loss', 10)
        """
        return self._records.milestones

    # --- tables -------------------------------------------------------------------------------------------------

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row per closed trade, in order of closing; times are UTC, percentages of the entry value.

        With a capital ``quantity`` (base currency) is what was bought in all, ``cost`` what was paid for it,
        ``funding`` and ``borrow`` what holding it cost, ``money`` the result after all costs (quote currency), and
        ``scaled`` says that less was free than its size wanted, ``cut`` that less cash was left than its order took.

        Where the exchange has prices at or below zero, ``points`` is the result after all costs in quote currency for
        each unit of the first size.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> len(result.trades), result.trades["close_reason"].unique().tolist()
        (84, ['time_expired', 'stop_loss', 'take_profit', 'frame_end'])
        """
        rows = [self._row(event) for event in self._records.closed]
        rules = self.run_record.rules
        if rules is not None and rules.negative:  # which have no account in money
            return table_of(rows, (*TRADE_COLUMNS, "points"))
        if (positions := self.run_record.money_positions) is None:
            return table_of(rows, TRADE_COLUMNS)
        from .account_result import TRADE_MONEY, trade_money

        for row, event in zip(rows, self._records.closed, strict=True):
            row.update(trade_money(positions.get(key_of(event.signal))))
        return table_of(rows, (*TRADE_COLUMNS, *TRADE_MONEY))

    def _row(self, event: Closed) -> dict[str, Any]:
        """Return one closed trade as a row, with its points where prices may be at or below zero."""
        rules, row = self.run_record.rules, trade_row(event)
        return row | {"points": trade_points(event, rules.settings)} if rules is not None and rules.negative else row

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row per fill in order of time: entries, adds, partial closes and exits; times are UTC.

        ``share`` is in units of the first size, percentages are of the cost of the position's first fill, and ``maker``
        says that a resting order filled at its level. With a capital ``quantity`` is in base currency, ``cost`` (what
        was paid or received, with slippage) and ``fee`` are in quote currency, ``cut`` says that less cash was left
        than the order took, and ``maker`` that it paid the fee of makers.

        Fees of the fills of a position add up to those of its trade. Slippage adds up to a little less for a long that
        gains, by ``gross_percentage * s / (100 + s)`` with ``s = settings.percent_slippage``, and for a short to more,
        by ``gross_percentage * s / (100 - s)``: the gross result of a trade is in percent of its entry price without
        slippage, and gross less fees less slippage is net.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         side="long", price_stop_loss=price * 0.98, price_take_profit=[(price * 1.01, 0.5)],
        ...         trailing=bknb.Trailing(percent=1.0))
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> sorted(set(result.fills["kind"]))
        ['entry', 'exit', 'reduce']
        """
        from .fill_table import FILL_COLUMNS, fill_rows

        rows = fill_rows(self._records, self.settings, self.run_record.money_positions)
        if self.run_record.money_positions is None:
            return table_of(rows, FILL_COLUMNS)
        from .account_result import FILL_MONEY

        return table_of(rows, (*FILL_COLUMNS, *FILL_MONEY))

    @cached_property
    def slippage(self) -> Slippage:
        """What the fills of its account cost beside the prices of the record, fees apart: implementation shortfall.

        In quote currency and basis points (1/100 %) of what was traded, by purpose: entry, add, target, stop, close.
        It is empty for a backtest, and for a live run without a broker.

        Examples
        --------
        >>> import bknb
        >>> from bknb.testing.clocks import SimulatedClock
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=15)
        >>> task = bknb.Live.background(
        ...     "BTCUSDT", strategy=get_signal, interval="15m", exchange="demo", store=bknb.stores.memory(),
        ...     clock=SimulatedClock(1_704_067_200_000), until="2024-01-01 01:05", broker=bknb.brokers.paper(),
        ...     quantity=0.1)
        >>> slippage = task.result().slippage
        >>> slippage.total.fills, slippage.money  # a broker on paper fills at the prices of the record
        (9, 0.0)
        """
        from .slippage_of_run import slippage_of_run

        orders = () if (traded := self.run_record.traded) is None else traded()
        return slippage_of_run(
            self._records, orders, strategy=self.strategy, symbol=self.symbol, settings=self.settings
        )

    def against_backtest(self) -> LiveComparison:
        """A live run beside the backtest of its minutes: each difference with its cause, in sums that add up.

        The backtest is that of the strategy, the settings and the candles of now; what changes with the candles that
        were recorded, with the settings of then, with minutes that did not come or came late, with questions that were
        not asked, has that cause, and what is left has one that is known of its signal, or is unexplained. With a
        broker what its account has otherwise than the record comes on top, part by part.

        Raises
        ------
        UsageError
            The result is no live run's, or nothing was recorded of it.
        DataError
            The exchange does not have the candles before the run any more.

        Examples
        --------
        >>> import bknb
        >>> from bknb.testing.clocks import SimulatedClock
        >>> task = bknb.Live.background(
        ...     "BTCUSDT", strategy=lambda: None, interval="15m", exchange="demo", store=bknb.stores.memory(),
        ...     clock=SimulatedClock(1_704_067_200_000), until="2024-01-01 01:05")
        >>> compared = task.result().against_backtest()
        >>> compared.agrees, compared.unexplained
        (True, 0.0)
        """
        from .live_against_backtest import live_against_backtest

        return live_against_backtest(self)

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of its strategy by name: what was given in ``params=`` over the defaults of its functions.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda ctx, wide=1.02: None, params={"wide": 1.01},
        ...                        exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.parameters
        {'wide': 1.01}
        """
        return self.run_record.plan.strategy.parameters

    @property
    def is_managed(self) -> bool:
        """Whether a position was filled in parts, or had a stop that trailed or moved.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.is_managed
        False
        """
        return bool(self.position_events) or any(
            isinstance(event, Opened) and event.signal.trailing is not None for event in self.events
        )

    @cached_property
    def stops(self) -> pd.DataFrame:
        """One row per stop that was in force of a position, in order of their entries; times are UTC.

        ``at`` is the open of the first candle it was in force in, ``until`` the moment at which the next one was, or
        the position was over. ``stop_reason`` is the close reason it has: ``stop_loss``, ``trailing_stop`` or
        ``breakeven``. Where a trailing stop lay is worked out from the candles.

        A live run holds the candles of its last days and its last 1000 moves of levels, or some more. A position whose
        stop trailed and whose candles are gone has no rows, nor has one whose moves are gone, such as one that was
        opened before the run was started again: ``stops.attrs["left_out"]`` says how many there are.

        Raises
        ------
        DataError
            When the candles were released before this was asked for, and cannot be read again.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     trailing = bknb.Trailing(percent=1, after=1)
        ...     return bknb.Signal(side="long", price_stop_loss=price * 0.98, trailing=trailing)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> sorted(set(result.stops["stop_reason"]))
        ['stop_loss', 'trailing_stop']
        """
        from .stop_table import STOP_COLUMNS, stop_rows

        rows, left_out = stop_rows(self.run_record)
        table = table_of(rows, STOP_COLUMNS)
        table.attrs["left_out"] = left_out
        return table

    @cached_property
    def models(self) -> pd.DataFrame:
        """One row per fit of a model that the strategy used (``bknb.model``), in the order of their first use.

        ``name``, ``symbol``, ``when`` (the moment of the schedule, UTC), ``rows`` (candles it read), ``seconds``, and
        ``fingerprint`` of its code, symbol, moment and candles.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> len(result.models), list(result.models.columns)
        (0, ['name', 'symbol', 'when', 'rows', 'seconds', 'fingerprint'])
        """
        columns = ("name", "symbol", "when", "rows", "seconds", "fingerprint")
        return table_of([fit._asdict() for fit in self._records.models], columns)

    @cached_property
    def cancelled(self) -> pd.DataFrame:
        """One row per scheduled signal that never opened, with the reason.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> len(result.cancelled), list(result.cancelled.columns)[:2]
        (0, ['signal_id', 'symbol'])
        """
        return table_of([cancelled_row(event) for event in self._records.cancelled], CANCELLED_COLUMNS)

    @cached_property
    def rejected(self) -> pd.DataFrame:
        """One row per answer of the strategy that broke rules, with all rules it broke.

        Examples
        --------
        >>> import bknb
        >>> def wrong(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price, price_stop_loss=price * 0.99, minute_estimated_time=60)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=wrong, interval="12h", exchange="demo", frame="2024-01-01:2024-01-02")
        >>> len(result.rejected), result.rejected["codes"].iloc[0]
        (2, 'take_profit_side, taken_at_once')
        """
        return table_of([rejected_row(event) for event in self._records.rejected], REJECTED_COLUMNS)

    @property
    def rejections(self) -> list[Rejected]:
        """The events behind ``rejected``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.rejections
        []
        """
        return self._records.rejected

    @property
    def protection_gaps(self) -> ProtectionGaps | None:
        """How often, and how long (s), a live run held something without a stop at its broker; ``None``: none rested.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=lambda: None, interval="12h", exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.protection_gaps is None
        True
        """
        return self._records.gaps

    @property
    def errors(self) -> list[Failure]:
        """Failures of the strategy, a callback or the exchange, counted by place; the run went on.

        Examples
        --------
        >>> import bknb
        >>> def broken():
        ...     raise ValueError("no idea")
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=broken, interval="12h", exchange="demo", frame="2024-01-01:2024-01-02")
        >>> [(failure.kind, failure.message, failure.count) for failure in result.errors]
        [('strategy', 'ValueError: no idea', 2)]
        """
        return self._records.failures

    @property
    def candles(self) -> Candles:
        """The candles of the run that filled orders: one-minute candles, or longer base bars.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> len(result.candles), result.candles.close.shape
        (1441, (1441,))
        """
        return self.run_record.minutes

    def rows(self) -> list[dict[str, Any]]:
        """Return trades, then cancelled signals, as plain mappings; moments are UTC ms.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.rows()
        []
        """
        return [
            *(trade_row(event) for event in self._records.closed),
            *(cancelled_row(e) for e in self._records.cancelled),
        ]

    @property
    def tries(self) -> Tries | None:
        """How many strategies were tried on these candles; ``None`` for a live run, and where tries are not counted.

        ``.line`` says it in a few words, ``.count`` is their number when this run ended, ``.now()`` that of today.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.tries.count >= 1, result.tries.now() >= result.tries.count
        (True, True)
        """
        return self.run_record.tries

    @cached_property
    def card(self) -> Card:
        """The run card: source text, settings, candles, versions and a digest of the outcome; see ``bknb.verify``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.card.symbol, result.card.data[0].count
        ('BTCUSDT', 1447)
        """
        from .card_of_result import card_of

        return card_of(self)

    # --- numbers ------------------------------------------------------------------------------------------------

    @cached_property
    def stats(self) -> Statistics:
        """The statistics of all trades; ``None`` where a figure is not available.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> result.stats["n"], round(result.stats["win_rate"], 1)
        (84, 21.4)
        """
        known = self.run_record.stats
        return self.statistics() if known is None else known

    def statistics(self, *, leave_out: str | Sequence[str] = ()) -> Statistics:
        """Return the statistics without trades of some close reasons; they say of themselves that they are selected.

        Parameters
        ----------
        leave_out
            One close reason or several; ``UnknownName`` for others. ``["frame_end", "data_end"]`` leaves out the
            closed trades that ``account["cut_off"]`` counts.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> result.statistics(leave_out="frame_end")["n"] <= result.stats["n"]
        True
        """
        from ..metrics.statistics import statistics
        from ..metrics.trade_definitions import OF_ACCOUNT

        given: object = leave_out
        if not isinstance(given, Iterable):
            raise UsageError(f"leave_out must be a close reason or a list of them, got {given!r}")
        without = [leave_out] if isinstance(leave_out, str) else list(leave_out)
        for reason in without:
            if reason not in CLOSE_REASONS:
                raise UnknownName("close reason", reason, known=CLOSE_REASONS)
        kept = [self._row(event) for event in self._records.closed if event.close_reason not in without]
        if self._records.opened_below_zero:  # all of them are in points, whichever are left out
            kept = [row | {"pnl_percentage": nan} for row in kept]
        figures = statistics(kept)
        if self._records.has_open_adds:
            figures.update(dict.fromkeys(OF_ACCOUNT))
        if len(kept) < len(self._records.closed):
            figures.selected = f"without {', '.join(without)}"
        return figures

    @cached_property
    def measured(self) -> Measured:
        """The account, and what else is known of the candles of the run.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.measured.has_volume, result.measured.account is result.account
        (True, True)
        """
        from .measured import measure

        return measure(self.run_record)

    @property
    def account_terms(self) -> Terms:
        """What the account rests on beside positions and candles: first and last moment, costs, sessions.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.account_terms.fee, result.account_terms.sessions
        (0.1, False)
        """
        from .measured import terms_of

        return terms_of(self.run_record)

    @property
    def account(self) -> Account:
        """The figures of the account over the whole frame: that of a run with a capital, as it was kept.

        Without a capital its whole equity goes into each position in turn.

        Percent, except ratios, multiples, days and counts; ``None`` where a figure is not available, and
        ``account.reasons`` says why. ``account.explain("sharpe")`` gives formula and source.

        Raises
        ------
        DataError
            When the candles were released before this was asked for, and cannot be read again.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> round(result.account["total_return"], 2), round(result.account["max_drawdown"], 2)
        (-35.59, 35.98)
        """
        return self.measured.account

    @cached_property
    def marked(self) -> MarkedEquity:
        """Equity of the account as arrays, marked at the close of every base bar.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.marked.equity.shape, float(result.marked.equity[-1])
        ((1441,), 1.0)
        """
        from .measured import marked_equity

        return marked_equity(self.run_record)

    @cached_property
    def equity(self) -> pd.Series:
        """Equity of the account, marked at the close of every base bar: of a run with a capital in money.

        Without a capital it is a multiple of its start. The index holds moments (UTC): the start of the run with the
        capital or 1.0, the close of each bar, the end.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> float(result.equity.iloc[0]), float(result.equity.iloc[-1]) == result.account["end"]
        (1.0, True)
        """
        import pandas as pd

        times, worth = self.marked.time_ms, self.marked.equity
        if (money := self.run_record.money) is not None:
            from .account_equity import account_marks

            times, worth = account_marks([self.run_record], [self.account_terms], money)
        return pd.Series(worth, index=pd.DatetimeIndex(pd.to_datetime(times, unit="ms", utc=True)), name="equity")

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """What is held at each mark of ``equity``, percent of it: ``long``, ``short``, ``net``, ``gross``.

        ``short`` is below 0, ``net`` is the sum of both, ``gross`` that of their sizes, at the last close. NaN where
        something is held and the account is worth nothing. ``UsageError`` without a capital.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02",
        ...                        capital=10_000)
        >>> result.exposure.shape, result.exposure["gross"].max()
        ((1441, 4), 0.0)
        """
        from .exposure_and_contribution import exposure_table

        money, equity = self._account_in_money(), self.equity
        return exposure_table([self.run_record], money, self.marked.time_ms, equity)

    @cached_property
    def contribution(self) -> pd.DataFrame:
        """What the run made of its capital and paid for it, as ``contribution`` of a portfolio: one row.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02",
        ...                        capital=10_000)
        >>> result.contribution["money"].tolist()
        [0.0]
        """
        from .exposure_and_contribution import contribution_table

        records = {(self.symbol, self.strategy): self.run_record}
        return contribution_table(records, [self.account_terms], self._account_in_money())

    def _account_in_money(self) -> RunAccount:
        if (money := self.run_record.money) is not None:
            return money
        if self.run_record.money_positions is not None:
            raise UsageError("this leg shares the account of its portfolio\nask the result of that")
        raise UsageError("without a capital there is no account in money\ngive capital=10_000, say")

    def returns(self, freq: str = "1D") -> pd.Series:
        """Return the returns of the account in periods, as fractions, indexed by their beginning (UTC).

        Every period the frame touches has a value, 0.0 where nothing happened; for a market with sessions every one in
        which a candle closed. The product of ``1 + returns`` is the equity at the end. ``UsageError`` for other words.

        Parameters
        ----------
        freq
            A pandas frequency of whole minutes such as ``"1D"``, ``"4h"``, ``"MS"``; lengths of time are counted from
            the midnight at or before the start. ``"W"`` ends with Sunday, as in pandas, ``"W-MON"`` with Monday.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-03")
        >>> result.returns("1D").tolist()
        [0.0, 0.0]
        """
        from .monthly_returns_and_drawdowns import returns_of

        return returns_of(self.marked, freq, sessions=self.account_terms.sessions)

    def calendar(self, period: Period = "month") -> pd.DataFrame:
        """Return one row per calendar period (UTC): return, largest drawdown inside it, positions closed in it.

        Parameters
        ----------
        period
            ``"day"``, ``"week"``, ``"month"``, ``"quarter"`` or ``"year"``.

        Raises
        ------
        UsageError
            When it is another word.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> result.calendar("week").round(2)
                               return  max_drawdown  positions
        week
        2024-01-01/2024-01-07  -19.48         19.55         41
        2024-01-08/2024-01-14  -20.01         20.48         43
        """
        from .monthly_returns_and_drawdowns import calendar_of

        return calendar_of(self.marked, self.trades, period, sessions=self.account_terms.sessions)

    def drawdowns(self, n: int = 5) -> pd.DataFrame:
        """Return the ``n`` deepest drawdowns of the marked equity, the deepest first.

        Columns: ``peak``, ``trough`` and ``recovered`` (UTC; ``NaT`` while under water at the end), ``drawdown``
        (percent) and ``days`` from the peak to the recovery or to the end.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> result.drawdowns(n=2)[["drawdown", "days"]].round(2)
           drawdown  days
        0     35.98  14.0
        """
        from .monthly_returns_and_drawdowns import drawdowns_of

        return drawdowns_of(self.marked, n)

    # --- reasons ------------------------------------------------------------------------------------------------

    def why(self, signal_id: str) -> str:
        """Return the events of a signal, one line each, with moment, price and reason.

        Those of several signals with the same id come one after the other.

        Raises
        ------
        UnknownName
            When the run has no such signal.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> print(result.why(result.trades["signal_id"].iloc[0]).splitlines()[0])
        2024-01-01 00:00 UTC  price 60348.864  opened: long at 60337.42 (target 61571.135, stop 59760.219, 240 min)
        """
        lines = story(self._records, signal_id)
        if not lines:
            raise UnknownName("signal", str(signal_id), known=self._signal_ids())
        return "\n".join(lines)

    def at(self, moment: object) -> Moment:
        """Step into one moment of the run: what the strategy could see then, and ask it again from here.

        Parameters
        ----------
        moment
            A text such as ``"2024-01-02 10:15"``, a datetime or UTC ms inside the frame; or the id of a signal, which
            means the minute at which the strategy was asked for it. Over longer base bars a moment within a bar means
            its open, as nothing more was known before its end.

        Returns
        -------
        Moment
            With ``when``, ``price``, ``candles(interval, limit)``, ``state``, ``signal`` and ``ask()``; of a strategy
            with several places with ``places`` and ``positions``.

        Raises
        ------
        UsageError
            When it is no moment of this run.
        UnknownName
            When it is neither a moment nor a signal of this run.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> moment = result.at("2024-01-01 10:15")
        >>> moment.state, moment.candles("5m", 2).to_pandas().index[-1].strftime("%H:%M")
        ('flat', '10:10')
        >>> with moment:
        ...     len(bknb.get_candles("BTCUSDT", "1h", 3))
        3
        """
        if self.mode != "backtest":
            raise UsageError(
                "only a backtest can be stepped into: a live run does not keep its candles\n"
                "run a backtest of the same strategy over that time, and step into its result"
            )
        from .moment import Moment  # loaded by those who step into a run

        return Moment(self.run_record, self._minute(moment))

    def _minute(self, moment: object) -> int:
        """Return the minute (UTC ms) of a moment or of the id of a signal."""
        if isinstance(moment, str):
            signals: dict[str, OpenSignal | ScheduledSignal] = {
                event.signal.id: event.signal for event in reversed(history(self._records))
            }
            if moment in signals:
                return signals[moment].scheduled_at
            try:
                when = as_moment(moment)
            except UsageError:
                if moment[:4].isdigit():  # meant as a moment
                    raise
                raise UnknownName("signal", moment, known=list(reversed(signals))) from None
        else:
            when = as_moment(moment)
        step, grid = interval_ms(self.base), bar_grid_of(self.run_record.plan.exchange.source, self.symbol)
        when = floor_to(when, step) if grid is None else grid.floor(when, step)  # the newest moment at which a bar ends
        if not self.start <= when <= self.end:
            span = f"{utc_text(self.start)} to {utc_text(self.end)}"
            raise UsageError(f"the run covers {span}; {utc_text(when)} is not in it")
        return when

    def _signal_ids(self) -> list[str]:
        return list(dict.fromkeys(event.signal.id for event in history(self._records)))

    # --- showing ------------------------------------------------------------------------------------------------

    def report(self) -> str:
        """Return the run as a Markdown report.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return bknb.Signal(
        ...         position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
        ...         minute_estimated_time=240)
        >>> result = bknb.backtest(
        ...     "BTCUSDT", strategy=get_signal, interval="4h", exchange="demo", frame="2024-01-01:2024-01-15")
        >>> result.report().splitlines()[0]
        '# Backtest report: get_signal on BTCUSDT'
        """
        from ..reports.backtest_report import backtest_report

        return backtest_report(self)

    def figure(self) -> Any:
        """Return a plotly figure: equity with drawdown below, trades marked, the price behind.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> import pytest
        >>> plotly = pytest.importorskip("plotly")
        >>> [trace.name for trace in result.figure().data][:2]
        ['price', 'drawdown']
        """
        from ..reports.plots import equity_figure

        return equity_figure(self)

    def __repr__(self) -> str:
        from ..reports.backtest_report import summary_text

        return summary_text(self)

    def _repr_html_(self) -> Html:
        from ..reports.backtest_report import summary_html

        return summary_html(self)

    def _ipython_display_(self) -> None:
        frontend().show_result(self)
