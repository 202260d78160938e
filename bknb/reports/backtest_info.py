"""The content of a backtest report: facts, figures, rows, errors and warnings, without their layout.

:mod:`bknb.reports.backtest_report` writes this as text, Markdown and HTML.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import (
    MISSING,
    duration_text,
    exit_text,
    minute_text,
    money_decimals,
    percent_text,
    price_text,
)
from ..domain.interval import MINUTE, candles_text
from ..metrics.account_definitions import shared_reason
from ..metrics.trade_definitions import label_of
from ..metrics.why_figure_is_missing import definitions_of, explained_text
from .asked_and_missed import asked, missed
from .managed_rows import TRADE_COLUMNS, managed_text, step_rows, trade_cells
from .refusals_counted import counted, refused_by_rule, rejected_by_rule
from .remarks import partial, remarks, watched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..metrics.account_sharpe_sortino_and_drawdown import Account

FIGURES: Final = (
    "n",
    "win_rate",
    "profit_factor",
    "avg_pnl",
    "median_pnl",
    "avg_duration",
    "sharpe_ratio",
    "sortino_ratio",
    "std_dev",
    "certainty_ratio",
    "expectancy",
    "avg_win",
    "avg_loss",
    "avg_win_duration",
    "avg_loss_duration",
    "max_win_streak",
    "max_loss_streak",
    "avg_consecutive_win_pnl",
    "avg_consecutive_loss_pnl",
    "avg_peak_pnl",
    "avg_fall_pnl",
    "trend",
    "trend_strength",
    "trend_confidence",
    "buyer_pressure",
    "seller_pressure",
    "buyer_strength",
    "seller_strength",
    "pressure_imbalance",
    "median_step_size",
)
"""The figures of a report on trades, the most important first; money is told by the account."""

HEADLINES: Final = 6
"""How many of them are shown before "more figures" is opened."""

_LEVELS: Final = frozenset({"stop_loss", "take_profit", "trailing_stop", "breakeven"})

_WARM_UP: Final = "warm-up"
_COSTS: Final = ("percent_fee", "percent_slippage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of a report.

    Attributes
    ----------
    key, label : str
        Its name in ``result.account`` or ``result.stats`` and its name for people.
    text : str
        Its value with unit, or ``N/A`` with the reason.
    better : str
        ``higher is better``, ``lower is better``, or empty where neither holds or there is no value.
    meaning : str
        Formula, and when the figure is not available.
    """

    key: str
    label: str
    text: str
    better: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestInfo:
    """The content of the report of one backtest, as text cells and counts.

    Attributes
    ----------
    strategy, symbol, asked : str
        What ran, and when it was asked: ``"every 15m"``, ``"at month_end"``.
    partial : str
        Empty, or a sentence saying that the run was stopped before its end.
    facts : tuple of (str, str)
        Label and value of what was run, on which data, with which costs.
    settings : tuple of (str, str)
        Every setting of the run.
    account : tuple of Figure
        The headline: figures of the account, over the whole frame.
    figures : tuple of Figure
        Of the trades, in the order of :data:`FIGURES`.
    columns, rows : tuple
        Names of the trade table's columns, and one tuple of cells for each trade, oldest first.
    signs : tuple of int
        1, -1 or 0 for each trade: won, lost, neither.
    ambiguous : int
        Trades whose candle allows another reading, such as stop and target in one candle.
    watched : str
        How exits were watched where the base bars are longer than minutes; else empty.
    at_level : int
        Entries that filled at or beyond one of their own levels and closed there at once.
    cut_off : int
        Positions that the end of the frame or of the data cut off; in every figure.
    managed : str
        How many parts were closed and added, and stops moved; empty where positions were opened and closed whole.
    steps : tuple
        Then one tuple of cells for each fill and each move of levels, under ``STEP_COLUMNS``, in order of time.
    remarks : tuple of str
        What the execution model or the data does not support, one line each.
    open : int
        Positions that are still open: the run was stopped, or goes on.
    refused : tuple of (str, int)
        Risk profiles and what they said, with the number of signals they refused, most frequent first.
    cancelled, rejected : tuple of (str, int)
        Reasons with the number of signals, most frequent first; rejections go together that broke the same rules, and
        are described by the text of the first of them.
    errors, warnings, notes : tuple of str
        One line each; a note is nothing to worry about, such as the first minutes without enough history.
    """

    kind: str
    strategy: str
    symbol: str
    asked: str
    partial: str
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    account: tuple[Figure, ...]
    figures: tuple[Figure, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    signs: tuple[int, ...]
    ambiguous: int
    watched: str
    at_level: int
    cut_off: int
    managed: str
    steps: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]
    open: int
    refused: tuple[tuple[str, int], ...]
    cancelled: tuple[tuple[str, int], ...]
    rejected: tuple[tuple[str, int], ...]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def figure(self, key: str) -> Figure:
        """One figure by its key in ``result.account`` or ``result.stats``."""
        return next(figure for figure in (*self.account, *self.figures) if figure.key == key)


# -- the info object ---------------------------------------------------------------------------------------------


def account_figures_of(account: Account) -> tuple[Figure, ...]:
    """The figures of an account with their texts."""
    figures = []
    for key, value in account.items():
        known = account.definitions[key]
        unavailable = f" N/A when: {known.null_when}." if known.null_when else ""
        figures.append(
            Figure(
                key=key,
                label=known.label,
                text=account.text(key),
                better="" if value is None else known.better_text,
                meaning=f"{known.formula}.{unavailable}",
            )
        )
    return tuple(figures)


def with_shared_reason(figures: Sequence[Figure]) -> list[Figure]:
    """Figures of an account, with one row for those that are missing for one reason, where these are many."""
    if not (shared := shared_reason([figure.text for figure in figures])):
        return [*figures]
    gone = [figure.label for figure in figures if figure.text == shared]
    row = Figure(key="", label=f"{len(gone)} figures of the account", text=shared, better="", meaning=", ".join(gone))
    return [row, *(figure for figure in figures if figure.text != shared)]


def figures_of(stats: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Every figure of the trades with its text, in the order of :data:`FIGURES`."""
    figures = []
    for key in FIGURES:
        definition, value = definitions_of(stats)[key], stats.get(key)
        text = explained_text(key, stats)
        if key == "win_rate" and value is not None:
            text += f" ({stats['win_count']:,} won / {stats['loss_count']:,} lost)"
        better = definition.better_text if value is not None else ""
        unavailable = f" N/A when: {definition.null_when}." if definition.null_when else ""
        figures.append(
            Figure(
                key=key,
                label=label_of(key),
                text=text,
                better=better,
                meaning=f"{definition.formula}.{unavailable}",
            )
        )
    return tuple(figures)


COLUMNS: Final = (
    "Signal ID",
    "Symbol",
    "Position",
    "Open time",
    "Open price",
    "Take profit",
    "Stop loss",
    "Close time",
    "Close price",
    "PNL (net)",
    "Close reason",
    "Duration (min)",
    "Peak",
    "Trough",
    "Ambiguous",
    "Note",
)


def _time_cells(column: Any) -> list[str]:
    return [minute_text(at) if known else MISSING for at, known in zip(column, column.notna(), strict=True)]


def _rows(trades: Any) -> tuple[tuple[str, ...], ...]:
    writes = {"price_take_profit": exit_text, "price_stop_loss": exit_text}
    prices = ("price_open", *writes, "price_close")
    cells = {name: [writes.get(name, price_text)(price) for price in trades[name].tolist()] for name in prices}
    percents = ("pnl_percentage", "peak_percentage", "trough_percentage")
    cells |= {name: [percent_text(value) for value in trades[name].tolist()] for name in percents}
    return tuple(
        zip(
            [str(value) for value in trades["signal_id"]],
            [str(value) for value in trades["symbol"]],
            [str(value).upper() for value in trades["position"]],
            _time_cells(trades["pending_at"]),
            cells["price_open"],
            cells["price_take_profit"],
            cells["price_stop_loss"],
            _time_cells(trades["closed_at"]),
            cells["price_close"],
            cells["pnl_percentage"],
            [str(value) for value in trades["close_reason"]],
            [f"{minutes:,.0f}" for minutes in trades["minutes"].tolist()],
            cells["peak_percentage"],
            cells["trough_percentage"],
            ["yes" if value else "" for value in trades["ambiguous"].tolist()],
            [" ".join(str(value).split()) for value in trades["note"]],
            strict=True,
        )
    )


def _columns(result: Any) -> tuple[str, ...]:
    points = ("Points (net)",) if "points" in result.trades else ()
    return (*COLUMNS, *points, *(TRADE_COLUMNS if result.is_managed else ()))


def _all_rows(result: Any) -> tuple[tuple[str, ...], ...]:
    """The rows of all trades: those of :data:`COLUMNS`, their results in points, and what managed positions have."""
    trades = result.trades
    more: list[tuple[str, ...]] = [()] * len(trades)
    known = trades["points"].tolist() if "points" in trades else []
    points = [("+" * (each > 0) + price_text(each),) for each in known] or more
    managed = [*trade_cells(trades)] if result.is_managed else more
    return tuple((*row, *each, *rest) for row, each, rest in zip(_rows(trades), points, managed, strict=True))


def failure_line(failure: Any) -> str:
    """What went wrong, where, how often, and when first."""
    times = f"{failure.count:,} times, first" if failure.count > 1 else "once,"
    where = f" ({failure.where})" if failure.where else ""
    return f"{failure.kind}: {failure.message}{where}: {times} at {minute_text(failure.first_at)} UTC"


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _capital(result: Any) -> tuple[tuple[str, str], ...]:
    """What the account began with and what it was worth at the end, where there is one in money."""
    money = result.run_record.money
    if money is None:
        return ()
    account = result.account
    return (("Capital", f"{account.text('start')}; {account['end']:,.{money_decimals(money.capital)}f} at the end"),)


def _points(trades: Any) -> tuple[tuple[str, str], ...]:
    """What all trades brought in points, where the prices of the exchange may be at or below zero."""
    if "points" not in trades:
        return ()
    return (("Points", f"{price_text(float(trades['points'].sum()))} after costs, each trade of one unit"),)


def _results(trades: Any) -> list[float]:
    """The net results of the trades, in points where they have those."""
    column: list[float] = trades["points" if "points" in trades else "pnl_percentage"].tolist()
    return column


def _facts(result: Any, settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    frame = f"{result.frame}: " if result.frame else ""
    costs = ", ".join(f"{name.removeprefix('percent_')} {_setting(settings[name])} %" for name in _COSTS)
    count = result.run_record.minute_count
    return (
        ("Strategy", str(result.strategy)),
        ("Symbol", str(result.symbol)),
        ("Exchange", str(result.exchange)),
        ("Frame", f"{frame}{minute_text(result.start)} to {minute_text(result.end)} UTC"),
        *asked(result),
        ("Execution model", str(result.execution)),
        ("Costs per side", costs),
        *_capital(result),
        *_points(result.trades),
        ("Data", _data(count, result.run_record.plan.base)),
    )


def _data(count: int, base: str) -> str:
    """How much data there is; days without a bar make the span of longer bars another than their number times it."""
    return f"{count:,} {candles_text(base)}" + (f" ({duration_text(count)})" if base == MINUTE else "")


def _notes(result: Any) -> tuple[str, ...]:
    notes = tuple(failure_line(failure) for failure in result.errors if failure.kind == _WARM_UP) + missed(result)
    return notes if result.tries is None else (*notes, result.tries.line)


def _at_level(trades: Any) -> int:
    same = (trades["price_open"] == trades["price_close"]) & (trades["pending_at"] == trades["closed_at"])
    return int((same & trades["close_reason"].isin(_LEVELS)).sum())


def backtest_info(result: Any) -> BacktestInfo:
    """Facts, figures, rows, errors and warnings of one Result, as :func:`bknb.backtest` returns it."""
    import msgspec

    settings = msgspec.structs.asdict(result.settings)
    trades = result.trades
    return BacktestInfo(
        kind="backtest" if result.mode == "backtest" else "live run",
        strategy=str(result.strategy),
        symbol=str(result.symbol),
        asked=result.run_record.plan.strategy.asked,
        partial=partial(result),
        facts=_facts(result, settings),
        settings=tuple((name, _setting(value)) for name, value in settings.items()),
        account=account_figures_of(result.account),
        figures=figures_of(result.stats),
        columns=_columns(result),
        rows=_all_rows(result),
        signs=tuple((value > 0) - (value < 0) for value in _results(trades)),
        ambiguous=int(trades["ambiguous"].sum()),
        watched=watched(result, len(trades), int(trades["ambiguous"].sum())),
        at_level=_at_level(trades),
        cut_off=int(result.account["cut_off"]),
        managed=managed_text(result),
        steps=step_rows(result) if result.is_managed else (),
        remarks=remarks(result),
        open=int(result.account["positions"]) - len(trades),
        refused=refused_by_rule([result]),
        cancelled=counted(str(reason) for reason in result.cancelled["reason"]),
        rejected=rejected_by_rule([result]),
        errors=tuple(failure_line(failure) for failure in result.errors if failure.kind != _WARM_UP),
        warnings=tuple(str(warning) for warning in result.warnings),
        notes=_notes(result),
    )
