"""The content of a tear sheet, read from a result.

Every figure comes from the result itself: ``account``, ``calendar``, ``drawdowns``, ``exposure``, ``contribution``, and
statistics of its trades. :mod:`bknb.reports.tearsheet` writes this as a page.
"""

from __future__ import annotations

from typing import Any, Final

from ..domain.printed_text import printed_day, printed_words
from .portfolio_report import DEFAULT_NAME, partial_text
from .remarks import partial
from .tearsheet_account import (
    Ranges,
    account_figures,
    account_headlines,
    equity_lines,
    exposure_bars,
    fall_row,
    falls_of,
    rolling_sharpe,
)
from .tearsheet_assumptions import assumptions, notes_of, stopped_signals, warnings_of
from .tearsheet_content import TearSheetInfo
from .tearsheet_monthly_returns import years_of
from .tearsheet_run import SheetRun
from .tearsheet_trades import (
    costs_of,
    leg_rows,
    legs_title,
    trade_figures,
    trade_headlines,
    trade_histogram,
    trade_rows,
)

_DRAWDOWNS: Final = 5
RANGES: Final = "90 % of 1,000 block bootstraps of the daily returns lie between the two ends"
"""What the ranges below the return a year and the Sharpe ratio are."""


def tearsheet_info(result: Any, ranges: Ranges | None = None) -> TearSheetInfo:
    """The content of the tear sheet of a Result or PortfolioResult; raises as its ``account``.

    ``ranges`` are low and high ends of figures of the account by name, as :func:`~bknb.research.bootstrap.bootstrap`
    gives them.
    """
    ranges = ranges or {}
    run = SheetRun(result)
    falls = None if run.no_account else result.drawdowns(_DRAWDOWNS)
    best, worst, columns = trade_rows(run)
    return TearSheetInfo(
        title=_title(run),
        subtitle=_subtitle(run),
        partial=_partial(run),
        headlines=trade_headlines(run) if run.no_account else account_headlines(run, falls, ranges),
        equity=None if run.no_account else equity_lines(run, falls),
        no_equity=run.no_account,
        years=() if run.no_account else years_of(run),
        legs_title=legs_title(run),
        legs=leg_rows(run),
        drawdowns=() if falls is None else tuple(fall_row(run, fall) for fall in falls_of(falls)),
        trades=trade_histogram(run),
        exposure=None if run.money is None else exposure_bars(result),
        rolling=None if run.no_account else rolling_sharpe(run),
        figures=_figures(run),
        costs=costs_of(run),
        trade_columns=columns,
        best=best,
        worst=worst,
        stopped=stopped_signals(run),
        notes=notes_of(run),
        warnings=warnings_of(run),
        assumed=(*assumptions(run), *([("Ranges", RANGES)] if ranges else [])),
    )


def _title(run: SheetRun) -> str:
    if not run.is_portfolio:
        return f"{run.result.strategy} on {run.result.symbol}"
    count = len(run.legs)
    what = f"portfolio of {count:,} leg{'' if count == 1 else 's'}"
    name = str(run.result.name)
    return what.capitalize() if name == DEFAULT_NAME else f"{name}: {what}"


def _subtitle(run: SheetRun) -> str:
    result = run.result
    frame = f"{printed_day(result.start, year=True)} to {printed_day(result.end, year=True)} UTC"
    if not run.is_portfolio:
        kind = "" if result.mode == "backtest" else "live run, "
        return f"{kind}{result.run_record.plan.strategy.asked}, {frame}, exchange {result.exchange}"
    symbols: dict[str, list[str]] = {}
    for symbol, name in run.legs:
        symbols.setdefault(name, []).append(symbol)
    told = [f"{name} on {_few(found)}" for name, found in symbols.items()]
    return f"{_few(told, most=3, word=' more strategies')}; {frame}"


def _few(names: list[str], *, most: int = 10, word: str = " more") -> str:
    more = [f"{len(names) - most:,}{word}"] if len(names) > most else []
    *first, last = [*names[:most], *more]
    return f"{', '.join(first)} and {last}" if first else last


def _partial(run: SheetRun) -> str:
    return partial_text(run.result) if run.is_portfolio else partial(run.result)


def _figures(run: SheetRun) -> tuple[tuple[str, str, str], ...]:
    of_account = [] if run.no_account else account_figures(run)
    found = [*of_account, *trade_figures(run)]
    return tuple((label, text, printed_words(reason)) for label, text, reason in found)
