"""The result of a portfolio: that of each leg, and what all of them did, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..domain.signal import key_of
from ..domain.signal_events import Cancelled, Closed, Event, Opened, RiskRefused, Scaled, Scheduled
from ..errors import UnknownName, UsageError
from ..frontend import frontend
from .result_tables import CANCELLED_COLUMNS, TRADE_COLUMNS, cancelled_row, table_of, trade_points, trade_row
from .save_result import Savable

if TYPE_CHECKING:
    import pandas as pd

    from ..domain.html import Html
    from ..domain.signal_events import TickResult
    from ..engine.marked_account_equity import Moments
    from ..metrics.account_sharpe_sortino_and_drawdown import Account
    from ..metrics.benchmark_figures import Benchmark
    from ..metrics.marked_equity import MarkedEquity
    from ..metrics.marked_positions import Floats
    from ..provenance.portfolio_card import PortfolioCard
    from ..reports.live_comparison import LiveComparison
    from .account_result import RunAccount
    from .monthly_returns_and_drawdowns import Period
    from .portfolio_snapshot import PortfolioSnapshot
    from .result import Result

Leg = tuple[str, str]  # symbol, strategy


class PortfolioResult(Savable):
    """The result of several strategies and symbols on one clock; made by ``bknb.portfolio``.

    Attributes
    ----------
    name : str
    legs : dict of (str, str) to Result
        The result of each leg by symbol and strategy, in declared order.
    start, end : int
        First and last moment, UTC ms.
    stopped : bool
        Whether it was stopped before its end.
    seconds : float
        How long it took.
    capital : float or None
        What the account of all legs began with; ``None``: there is none, each leg is measured alone.
    run_account : RunAccount or None
        That account as it was kept: its ledgers, every movement of cash, the fills of each leg.
    benchmark : Benchmark or None
        The prices that its account is set beside.
    priority : str
        Which leg went first where several asked at one moment: ``"declared"`` or ``"score"``.
    own_warnings : list of str
        Those of ``warnings`` that hold for the portfolio as a whole.

    Examples
    --------
    >>> import bknb
    >>> def get_signal(price):
    ...     return bknb.Signal(position="long", price_take_profit=price * 1.02, price_stop_loss=price * 0.99,
    ...                        minute_estimated_time=240)
    >>> _ = bknb.add_strategy("dips", interval="4h", get_signal=get_signal)
    >>> result = bknb.portfolio(
    ...     symbols=["BTCUSDT", "ETHUSDT"], strategies=["dips"], exchange="demo", frame="2024-01-01:2024-01-08")
    >>> list(result.legs)
    [('BTCUSDT', 'dips'), ('ETHUSDT', 'dips')]
    >>> result.trades["leg"].value_counts().to_dict()
    {'dips on BTCUSDT': 42, 'dips on ETHUSDT': 42}
    """

    def __init__(
        self,
        name: str,
        legs: Mapping[Leg, Result],
        events: Sequence[Event],
        *,
        warnings: Sequence[str] = (),
        seconds: float = 0.0,
        account: RunAccount | None = None,
        figures: Account | None = None,
        benchmark: Benchmark | None = None,
        priority: str = "declared",
        stale: Mapping[Leg, int] | None = None,
    ) -> None:
        self.name = name
        self.legs = dict(legs)
        self.start = min(leg.start for leg in self.legs.values())
        self.end = max(leg.end for leg in self.legs.values())
        self.stopped = any(leg.stopped for leg in self.legs.values())
        self.seconds = seconds
        self.told: list[Event] = list(events)
        self.own_warnings = list(warnings)
        self.run_account = account
        self.capital: float | None = None if account is None else account.capital
        self.benchmark = benchmark
        self.priority = priority
        self._figures = figures  # of its account, which are known longer than its candles
        self._stale = stale  # as those

    def warn(self, text: str) -> None:
        """Add a warning that holds for the portfolio as a whole."""
        self.own_warnings.append(text)

    def leg(self, symbol: str, strategy: str | None = None) -> Result:
        """The result of one leg; the strategy may be left out where the symbol has one alone.

        Raises
        ------
        UnknownName
            There is no such leg; the text lists those there are.
        UsageError
            The symbol has several strategies, and none was named.

        Examples
        --------
        >>> import bknb
        >>> def rests(ctx): ...
        >>> result = bknb.portfolio(
        ...     legs=[("BTCUSDT", rests), ("ETHUSDT", rests)], exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.leg("ETHUSDT", "rests").symbol, result.leg("BTCUSDT") is result.legs["BTCUSDT", "rests"]
        ('ETHUSDT', True)
        """
        found = [key for key in self.legs if key[0] == symbol and strategy in (None, key[1])]
        if len(found) > 1:
            names = ", ".join(repr(name) for _, name in found)
            raise UsageError(f"{symbol} is traded by {names}\nsay which: result.leg({symbol!r}, {found[0][1]!r})")
        if not found:
            wanted = f"{symbol}" if strategy is None else f"{strategy} on {symbol}"
            raise UnknownName("leg", wanted, known=[f"{name} on {traded}" for traded, name in self.legs])
        return self.legs[found[0]]

    # --- what happened ------------------------------------------------------------------------------------------

    @property
    def events(self) -> list[TickResult]:
        """``Scheduled``, ``Opened``, ``Closed`` and ``Cancelled`` of all legs, in the order in which they were told.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        >>> result = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=[get_signal], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02")
        >>> [(event.symbol, event.action) for event in result.events[:2]]
        [('BTCUSDT', 'opened'), ('ETHUSDT', 'opened')]
        """
        return [event for event in self.told if isinstance(event, Scheduled | Opened | Closed | Cancelled)]

    @property
    def refused(self) -> list[RiskRefused]:
        """What risk profiles refused, in order: also to a leg whose place another one had.

        Examples
        --------
        >>> import bknb
        >>> def one_at_a_time(request):
        ...     return request.open_position_count < 1
        >>> def get_signal(price):
        ...     return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        >>> _ = bknb.add_risk("alone", validations=[one_at_a_time])
        >>> _ = bknb.add_strategy("first come", interval="1d", get_signal=get_signal, risk="alone")
        >>> result = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=["first come"], exchange="demo",
        ...                         frame="2024-01-01:2024-01-03")
        >>> [(event.symbol, event.note) for event in result.refused[:1]]
        [('ETHUSDT', 'one_at_a_time refused')]
        """
        return [event for event in self.told if isinstance(event, RiskRefused)]

    @property
    def scaled(self) -> list[Scaled]:
        """The moments at which less was free than weights of several symbols took, in order.

        Examples
        --------
        >>> import bknb
        >>> _ = bknb.weights("halves", symbols=["BTCUSDT", "ETHUSDT"], at="mon",
        ...                  get_weights=lambda ctx: dict.fromkeys(ctx.symbols, 0.5))
        >>> result = bknb.portfolio(strategies=["halves"], exchange="demo", frame="2024-01-01:2024-01-15",
        ...                         capital=10_000)
        >>> [(event.symbols, round(event.part, 6)) for event in result.scaled[:1]]
        [(('BTCUSDT', 'ETHUSDT'), 0.999001)]
        """
        return [event for event in self.told if isinstance(event, Scaled)]

    @cached_property
    def trades(self) -> pd.DataFrame:
        """One row for each closed trade of all legs, in order: ``leg``, and the columns of a result's trades.

        With a capital the columns of money that the trades of a result with one have; and where a leg has
        prices at or below zero, ``points``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(
        ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
        >>> list(result.trades)[:4]
        ['leg', 'signal_id', 'symbol', 'strategy']
        """
        closed = [event for event in self.told if isinstance(event, Closed)]
        rows = [trade_row(event) for event in closed]
        for row, event in zip(rows, closed, strict=True):
            row["leg"] = _leg_of(event)
        if self.run_account is None:
            return table_of(rows, ("leg", *TRADE_COLUMNS, *self._with_points(rows, closed)))
        from .account_result import TRADE_MONEY, trade_money

        positions = {key: leg.run_record.money_positions or {} for key, leg in self.legs.items()}
        for row, event in zip(rows, closed, strict=True):
            row.update(trade_money(positions[event.symbol, event.strategy].get(key_of(event.signal))))
        return table_of(rows, ("leg", *TRADE_COLUMNS, *TRADE_MONEY))

    def _with_points(self, rows: Sequence[dict[str, Any]], closed: Sequence[Closed]) -> tuple[str, ...]:
        """Add the result in points to all rows where a leg has prices at or below zero; return the column they have."""
        legs = {key: leg.run_record for key, leg in self.legs.items()}
        if not any(leg.rules is not None and leg.rules.negative for leg in legs.values()):
            return ()
        for row, event in zip(rows, closed, strict=True):
            row["points"] = trade_points(event, legs[event.symbol, event.strategy].plan.settings)
        return ("points",)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """What strategies of weights of several symbols held, one row from all flat to all flat.

        Columns: ``strategy``, ``opened_at``, ``closed_at``, ``symbols`` (how many), ``trades``, and ``money``, what it
        brought after all costs (quote currency). What is closed and opened at one moment goes on.

        Examples
        --------
        >>> import bknb
        >>> _ = bknb.weights("pair", symbols=["BTCUSDT", "ETHUSDT"], at="mon", together=True,
        ...                  get_weights=lambda ctx: {"BTCUSDT": 0.4, "ETHUSDT": -0.4} if ctx.when.day < 14 else {})
        >>> result = bknb.portfolio(strategies=["pair"], exchange="demo", frame="2024-01-01:2024-01-20",
        ...                         capital=10_000)
        >>> result.groups[["strategy", "symbols", "trades"]].to_numpy().tolist()
        [['pair', 2, 2]]
        """
        from .weight_groups import weight_groups

        strategies = [leg.run_record.plan.strategy for leg in self.legs.values()]
        return weight_groups(self.trades, dict.fromkeys(each.name for each in strategies if each.portfolio_weights))

    @cached_property
    def fills(self) -> pd.DataFrame:
        """One row for each fill of all legs, in order of time: ``leg``, and the columns of a result's fills.

        Fills of one moment are in declared order of their legs. With a capital the columns of money that the fills of
        a result with one have.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        >>> result = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=[get_signal], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02")
        >>> result.fills[["leg", "kind"]].head(2).to_numpy().tolist()
        [['get_signal on BTCUSDT', 'entry'], ['get_signal on ETHUSDT', 'entry']]
        """
        import pandas as pd

        tables = [leg.fills.assign(leg=f"{name} on {symbol}") for (symbol, name), leg in self.legs.items()]
        some = [table for table in tables if len(table)] or tables[:1]
        joined = pd.concat(some).sort_values("at", kind="stable", ignore_index=True)
        return joined[["leg", *tables[0].columns[:-1]]]

    @cached_property
    def exposure(self) -> pd.DataFrame:
        """What is held at each mark of ``equity``, percent of it: ``long``, ``short``, ``net``, ``gross``.

        ``short`` is below 0, ``net`` is the sum of both, ``gross`` that of their sizes. Positions are valued at the
        last close of their leg, and legs are not netted: a long and a short of one symbol both count in ``gross``.
        NaN where something is held and the account is worth nothing. Raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> result.exposure.shape, result.exposure["gross"].max()
        ((1441, 4), 0.0)
        """
        from .exposure_and_contribution import exposure_table

        money, legs = self._account_in_money(), [leg.run_record for leg in self.legs.values()]
        return exposure_table(legs, money, self._marks[0].time_ms, self.equity)

    @cached_property
    def stale(self) -> dict[Leg, int]:
        """At how many marks of ``equity`` each leg was held without a bar of its own, by symbol and strategy.

        There it is worth its last close: in a hole, a halt, or while its market is closed and others trade. Where its
        bars are longer than those of others, it has one until the next is due. Live, marks that were saved before a
        restart are not counted; ``errors`` of kind ``silence`` say since when no bar came. Empty without a capital.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> result.stale
        {('BTCUSDT', '<lambda>'): 0}
        """
        from .account_equity import stale_by_leg

        if self._stale is not None or self.run_account is None:
            return dict(self._stale or {})
        records = [leg.run_record for leg in self.legs.values()]
        return dict(zip(self.legs, stale_by_leg(records, self.run_account, self._marks[0].time_ms), strict=True))

    @cached_property
    def contribution(self) -> pd.DataFrame:
        """What each leg added to the account: one row for each, which together are what the account gained.

        ``money`` is the result of the leg after all costs (quote currency), open positions at their last close
        included, ``percent`` the same of the capital; ``fees``, ``slippage``, ``funding`` and ``borrow`` are what it
        paid, ``forgiven`` what it lost beyond its margin, which nobody paid. Raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        >>> result = bknb.portfolio(
        ...     symbols=["BTCUSDT", "ETHUSDT"], strategies=[get_signal], exchange="demo",
        ...     frame="2024-01-01:2024-01-03", capital=10_000, sizing=bknb.size.Percent(50))
        >>> money = result.contribution["money"]
        >>> len(money), bool(abs(money.sum() - (result.equity.iloc[-1] - 10_000)) < 1e-6)
        (2, True)
        """
        from .exposure_and_contribution import contribution_table

        records = {key: leg.run_record for key, leg in self.legs.items()}
        return contribution_table(records, [leg.account_terms for leg in self.legs.values()], self._account_in_money())

    def contribution_by(self, freq: str = "1D") -> pd.DataFrame:
        """Return what each leg added to the account in each period: a row for each, a column for each leg.

        Money after all costs (quote currency), open positions at their last close included; periods as of ``returns``,
        by their beginnings. Its columns are by symbol and strategy; ``.corr()`` says which legs win and lose together.
        Raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        >>> result = bknb.portfolio(
        ...     symbols=["BTCUSDT", "ETHUSDT"], strategies=[get_signal], exchange="demo",
        ...     frame="2024-01-01:2024-01-03", capital=10_000, sizing=bknb.size.Percent(50))
        >>> daily = result.contribution_by("1D")
        >>> daily.shape, bool(abs(daily.to_numpy().sum() - (result.equity.iloc[-1] - 10_000)) < 1e-6)
        ((2, 2), True)
        """
        from .exposure_and_contribution import contribution_by_period

        records = {key: leg.run_record for key, leg in self.legs.items()}
        terms, money = [leg.account_terms for leg in self.legs.values()], self._account_in_money()
        return contribution_by_period(records, terms, money, self.marked, freq, sessions=self._has_sessions)

    @property
    def knows_legs_over_time(self) -> bool:
        """Whether ``contribution_by`` is known: not live after a restart, nor beyond the candles in memory.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> result.knows_legs_over_time
        True
        """
        from .exposure_and_contribution import why_not_by_leg

        return not why_not_by_leg([leg.run_record for leg in self.legs.values()], self._account_in_money())

    @cached_property
    def equity(self) -> pd.Series:
        """Equity of the account in money, marked at the close of every bar of all legs, open positions included.

        The index holds moments (UTC): the start with the capital, the close of each bar, the end.

        Raises
        ------
        DataError
            When the candles of a leg were released before this was asked for, and cannot be read again.
        UsageError
            Without a capital.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> len(result.equity), float(result.equity.iloc[-1])
        (1441, 10000.0)
        """
        import pandas as pd

        moments, worth = self._marks
        index = pd.DatetimeIndex(pd.to_datetime(moments.time_ms, unit="ms", utc=True))
        return pd.Series(worth.copy(), index=index, name="equity")

    @cached_property
    def card(self) -> PortfolioCard:
        """The run card: those of its legs, its account and what came of it; see ``bknb.verify``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> result.card.account.capital, result.card.legs[0].symbol
        (10000.0, 'BTCUSDT')
        """
        from .card_of_result import card_of_portfolio

        return card_of_portfolio(self)

    def _account_in_money(self) -> RunAccount:
        if self.run_account is None:
            raise UsageError("without a capital the legs have no account together\ngive capital=10_000, say")
        return self.run_account

    @cached_property
    def marked(self) -> MarkedEquity:
        """Equity of the account as arrays, in multiples of the capital; raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> result.marked.equity.shape, float(result.marked.equity[-1])
        ((1441,), 1.0)
        """
        from .account_equity import portfolio_marked

        return portfolio_marked([*self.legs.values()], self._account_in_money(), *self._marks)

    @cached_property
    def _marks(self) -> tuple[Moments, Floats]:
        """When the account is marked, and what it was worth in money then."""
        from .account_equity import marked_moments

        legs = self.legs.values()
        terms = [leg.account_terms for leg in legs]
        return marked_moments([leg.run_record for leg in legs], terms, self._account_in_money())

    @cached_property
    def account(self) -> Account:
        """The figures of the account of all legs, as those of a result; raises as ``equity``.

        ``exposure`` is the time in which anything was held, ``buy_and_hold`` equal parts of the capital in each symbol.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> result.account["total_return"], result.account["positions"]
        (0.0, 0)
        """
        from .account_equity import portfolio_figures

        if self._figures is not None:
            return self._figures
        figures = portfolio_figures([*self.legs.values()], self._account_in_money(), self.marked)
        if self.benchmark is None:
            return figures
        from ..metrics.benchmark_figures import with_benchmark

        return with_benchmark(figures, self.benchmark, self.marked, sessions=self._has_sessions)

    def returns(self, freq: str = "1D") -> pd.Series:
        """Return the returns of the account in periods, as fractions, as ``Result.returns``; raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-03", capital=10_000)
        >>> result.returns("1D").tolist()
        [0.0, 0.0]
        """
        from .monthly_returns_and_drawdowns import returns_of

        return returns_of(self.marked, freq, sessions=self._has_sessions)

    def calendar(self, period: Period = "month") -> pd.DataFrame:
        """Return one row per calendar period (UTC), as ``Result.calendar``; raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-03", capital=10_000)
        >>> result.calendar("day")["return"].tolist()
        [0.0, 0.0]
        """
        from .monthly_returns_and_drawdowns import calendar_of

        return calendar_of(self.marked, self.trades, period, sessions=self._has_sessions)

    def drawdowns(self, n: int = 5) -> pd.DataFrame:
        """Return the ``n`` deepest drawdowns of the account, as ``Result.drawdowns``; raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-03", capital=10_000)
        >>> len(result.drawdowns())
        0
        """
        from .monthly_returns_and_drawdowns import drawdowns_of

        return drawdowns_of(self.marked, n)

    @property
    def _has_sessions(self) -> bool:
        return all(leg.account_terms.sessions for leg in self.legs.values())

    @cached_property
    def cancelled(self) -> pd.DataFrame:
        """One row for each signal of all legs that was cancelled before it opened, in order.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(
        ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
        >>> len(result.cancelled)
        0
        """
        rows = [{"leg": _leg_of(event), **cancelled_row(event)} for event in self.told if isinstance(event, Cancelled)]
        return table_of(rows, ("leg", *CANCELLED_COLUMNS))

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers should know: of the portfolio, then of each leg with its name in front.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(
        ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.warnings
        []
        """
        of_legs = (f"{leg.strategy} on {leg.symbol}: {text}" for leg in self.legs.values() for text in leg.warnings)
        return [*self.own_warnings, *of_legs]

    def snapshot(self, points: int = 400) -> PortfolioSnapshot:
        """Return its account and its legs at about ``points`` moments, every peak and trough of its equity among them.

        Raises as ``equity``, but not without a capital: then there are the legs alone.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> found = result.snapshot(100)
        >>> float(found.equity.min()), found.legs[0].symbol, len(found.time_ms) <= 100
        (10000.0, 'BTCUSDT', True)
        """
        from .portfolio_snapshot import snapshot_of_result

        return snapshot_of_result(self, points)

    def why(self, signal_id: str) -> str:
        """Return the events of a signal of any leg, as ``Result.why``.

        Raises
        ------
        UnknownName
            No leg has such a signal.

        Examples
        --------
        >>> import bknb
        >>> def get_signal(price):
        ...     return {"position": "long", "price_take_profit": price * 1.02, "price_stop_loss": price * 0.99}
        >>> result = bknb.portfolio(symbols=["BTCUSDT", "ETHUSDT"], strategies=[get_signal], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02")
        >>> print(result.why(result.trades["signal_id"].iloc[1]).splitlines()[0])
        2024-01-01 00:00 UTC  price 4415.3494  opened: long at 4416.41 (target 4504.599, stop 4372.1108, no deadline)
        """
        for leg in self.legs.values():
            with suppress(UnknownName):
                return leg.why(signal_id)
        known = [*self.trades["signal_id"], *self.cancelled["signal_id"]]
        raise UnknownName("signal", str(signal_id), known=[str(name) for name in known])

    # --- showing ------------------------------------------------------------------------------------------------

    def to_pandas(self) -> pd.DataFrame:
        """One row for each leg: how many trades, refusals, rejections and failures; its own account, in percent.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(
        ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.to_pandas()["trades"].tolist()
        [0]
        """
        import pandas as pd

        columns = ("total_return", "max_drawdown", "exposure")
        rows = [
            {
                "trades": len(leg.trades),
                "refused": len(leg.refused),
                "rejected": len(leg.rejected),
                "failures": sum(failure.count for failure in leg.errors),
                **{key: leg.account[key] for key in columns},
            }
            for leg in self.legs.values()
        ]
        index = pd.MultiIndex.from_tuples(list(self.legs), names=["symbol", "strategy"])
        return pd.DataFrame(rows, index=index)

    def report(self) -> str:
        """Return the portfolio as a Markdown report.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(
        ...     legs=[("BTCUSDT", lambda: None)], exchange="demo", frame="2024-01-01:2024-01-02", name="none")
        >>> result.report().splitlines()[0]
        '# Portfolio report: none'
        """
        from ..reports.portfolio_report import portfolio_report

        return portfolio_report(self)

    def figure(self) -> Any:
        """Return a plotly figure: equity in money with its benchmark, drawdown below, exposure; raises as ``equity``.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.portfolio(legs=[("BTCUSDT", lambda: None)], exchange="demo",
        ...                         frame="2024-01-01:2024-01-02", capital=10_000)
        >>> import pytest
        >>> plotly = pytest.importorskip("plotly")
        >>> [trace.name for trace in result.figure().data]
        ['equity', 'drawdown', 'long', 'short', 'net']
        """
        from ..reports.portfolio_figure import portfolio_figure

        return portfolio_figure(self)

    def against_backtest(self) -> LiveComparison:
        """Raise ``UsageError``: a live portfolio is set beside backtests leg by leg."""
        key = next(iter(self.legs), ("SYMBOL", "STRATEGY"))
        raise UsageError(
            "a portfolio is compared leg by leg, each with the backtest of its strategy alone\n"
            f"write result.legs[{key[0]!r}, {key[1]!r}].against_backtest(); what its account or a risk profile refused "
            "has the cause risk"
        )

    def __repr__(self) -> str:
        from ..reports.portfolio_report import portfolio_text

        return portfolio_text(self)

    def _repr_html_(self) -> Html:
        if self.capital is None:
            from ..reports.portfolio_report import portfolio_html

            return portfolio_html(self)
        from ..reports.portfolio_in_notebook import portfolio_account_html

        return portfolio_account_html(self)

    def _ipython_display_(self) -> None:
        frontend().show_portfolio(self)


def _leg_of(event: Closed | Cancelled) -> str:
    return f"{event.strategy} on {event.symbol}"
