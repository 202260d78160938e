"""The account of a result on its tear sheet: large figures, equity, drawdowns, exposure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ..domain.interval import DAY_MINUTES, DAY_MS, MINUTE_MS
from ..domain.printed_text import DASH, printed_number, printed_percent, printed_span
from ..metrics.benchmark_figures import held_percent
from .fewer_points_of_lines import decimate, means
from .tearsheet_content import EquityLines, ExposureBars, Headline, RollingSharpe
from .tearsheet_run import SheetRun, tone_of
from .tearsheet_trades import trade_count
from .time_columns import ms_of

POINTS: Final = 900
"""Most points of one line: as many as a page is wide."""
BARS: Final = 92
"""Most bars of the exposure."""
ROLLING_DAYS: Final = 60
"""Days of the rolling Sharpe ratio."""
Ranges = Mapping[str, tuple[float, float]]
_SPREAD: Final = 1e-12  # daily returns are fractions: less than this is rounding
_OF_ACCOUNT: Final = (
    *("sortino", "calmar", "volatility", "drawdown_days", "exposure", "turnover", "cut_off"),
    *("benchmark", "alpha", "beta", "correlation", "information_ratio"),
)


def account_headlines(run: SheetRun, falls: Any, ranges: Ranges) -> tuple[Headline, ...]:
    """The six large figures; ``falls`` are its deepest drawdowns, ``ranges`` those of figures by name."""
    account = run.result.account
    held = printed_percent(account["buy_and_hold"], signed=True)
    symbol = "equal parts" if run.is_portfolio else run.result.symbol
    beside = f"{symbol} held {held}"
    if run.result.benchmark is not None:
        name = run.result.benchmark.name
        other = f"{name} held {printed_percent(account['benchmark'], signed=True)}"
        beside = other if name == symbol else f"{other}, {beside}"
    sharpe = account["sharpe"]
    return (
        Headline(
            label="Equity at the end",
            value=printed_number(account["end"], run.decimals),
            unit=run.unit.replace("x ", "\u00d7 "),
            note=f"from {printed_number(account['start'], run.decimals)}",
        ),
        _percent(run, "total_return", "Total return", beside, toned=True),
        _percent(run, "cagr", "Return a year", _over(account, ranges)),
        Headline(
            label="Largest drawdown",
            value=printed_percent(account["max_drawdown"]),
            note=_fall_words(run, falls) if len(falls) else "the equity never fell",
        ),
        Headline(
            label="Sharpe",
            value=printed_number(sharpe),
            note=account.reasons.get("sharpe", "") or _sharpe_words(account, ranges),
        ),
        trade_count(run),
    )


def _over(account: Any, ranges: Ranges) -> str:
    if "cagr" not in ranges:
        return f"over {printed_span(account['frame_days'] * DAY_MINUTES)}"
    low, high = (printed_number(each, 0, signed=True) for each in ranges["cagr"])
    return f"90 %: {low} to {high} %"


def _sharpe_words(account: Any, ranges: Ranges) -> str:
    if "sharpe" not in ranges:
        return f"of daily returns, {account['days_a_year']} a year"
    low, high = (printed_number(each, 1) for each in ranges["sharpe"])
    return f"90 %: {low} to {high}"


def _percent(run: SheetRun, key: str, label: str, note: str, *, toned: bool = False) -> Headline:
    value, reason = run.result.account[key], run.result.account.reasons.get(key, "")
    text = printed_percent(value, signed=True)
    tone = 0 if not toned or value is None else tone_of(value)
    return Headline(label=label, value=text, note=reason or note, tone=tone)


def equity_lines(run: SheetRun, falls: Any) -> EquityLines:
    """Equity, what was held beside it, and drawdown."""
    marked, result = run.result.marked, run.result
    time, equity = decimate(marked.time_ms, marked.equity * run.capital, POINTS)
    below_time, below = decimate(marked.path_time_ms, marked.drawdown, POINTS)
    name, held_time, held = _held(run)
    rows = falls_of(falls)
    return EquityLines(
        name="portfolio" if run.is_portfolio else str(result.strategy),
        unit=run.unit,
        decimals=run.decimals,
        start_value=run.capital,
        time_ms=time,
        equity=equity,
        held_name=name,
        held_ms=held_time,
        held=held,
        drawdown_ms=below_time,
        drawdown=below,
        largest=rows[0] if rows else None,
        largest_days=_fall_words(run, falls) if rows else "",
    )


def _held(run: SheetRun) -> tuple[str, Any, Any]:
    """What the start would be worth in the benchmark, after one round of costs as its figure in ``account``.

    Without a benchmark it is the symbol of a run of its own.
    """
    benchmark, nothing = run.result.benchmark, np.empty(0)
    if benchmark is not None:
        if not benchmark.is_above_zero:
            return "", nothing, nothing
        time, worth = decimate(benchmark.time_ms, (1.0 + benchmark.percent / 100.0) * run.capital, POINTS)
        return f"{benchmark.name} held", time, worth
    if run.is_portfolio or not len(run.result.candles):
        return "", nothing, nothing
    candles = run.result.candles
    if (candles.close <= 0.0).any() or candles.open[0] <= 0.0:
        return "", nothing, nothing
    terms = run.result.account_terms
    percent = held_percent(float(candles.open[0]), candles.close, slippage=terms.slippage, fee=terms.fee)
    time, worth = decimate(candles.timestamp, (1.0 + percent / 100.0) * run.capital, POINTS)
    return f"{run.result.symbol} held", time, worth


def falls_of(falls: Any) -> list[tuple[int, int, int, float, bool]]:
    """Beginning, low and end (UTC ms), depth (percent) of drawdowns, and whether each was over by its end."""
    peaks, lows, ends = (ms_of(falls[name]) for name in ("peak", "trough", "recovered"))
    over = falls["recovered"].notna().to_numpy()
    ended = peaks + (falls["days"].to_numpy() * DAY_MS).round().astype(np.int64)
    found = zip(peaks, lows, np.where(over, ends, ended), falls["drawdown"], over, strict=True)
    return [(int(a), int(b), int(c), float(depth), bool(back)) for a, b, c, depth, back in found]


def _fall_words(run: SheetRun, falls: Any) -> str:
    begin, _, end, _, over = falls_of(falls)[0]
    return f"{run.moment(begin)} to {run.moment(end) if over else 'the end'}"


def fall_row(run: SheetRun, fall: tuple[int, int, int, float, bool]) -> tuple[str, ...]:
    """Depth, beginning, low, recovery and length of a drawdown in words."""
    begin, low, end, depth, over = fall
    return (
        printed_percent(depth),
        run.moment(begin),
        run.moment(low),
        run.moment(end) if over else "not yet",
        printed_span((end - begin) / MINUTE_MS),
    )


def rolling_sharpe(run: SheetRun) -> RollingSharpe | None:
    """The Sharpe ratio of the last 60 days at the end of each; ``None``: the run has not more of them."""
    returns = run.result.returns("1D")
    if len(returns) <= ROLLING_DAYS:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(returns.to_numpy(dtype=np.float64), ROLLING_DAYS)
    spread = windows.std(axis=1, ddof=1)
    scale = math.sqrt(float(run.result.account["days_a_year"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(spread > _SPREAD, windows.mean(axis=1) / spread * scale, np.nan)
    if np.isnan(values).all():
        return None
    days = ms_of(returns.index)
    end = int(run.result.marked.time_ms[-1])
    time = np.minimum(days[ROLLING_DAYS - 1 :] + DAY_MS, end)
    return RollingSharpe(start_ms=int(days[0]), end_ms=end, days=ROLLING_DAYS, time_ms=time, values=values)


def exposure_bars(result: Any) -> ExposureBars | None:
    """What was held, as means of equal stretches: whole days where the frame is long; ``None``: nothing was."""
    table = result.exposure
    time = ms_of(table.index)
    first, last = int(time[0]), int(time[-1])
    if last <= first or not (table["gross"] > 0.0).any():
        return None
    days = math.ceil((last - first) / DAY_MS / BARS)
    step = days * DAY_MS if last - first >= BARS // 2 * DAY_MS else max((last - first) // BARS, MINUTE_MS)
    edges = np.append(np.arange(first, last, step, dtype=np.int64), last)
    edges_past = np.append(edges[:-1], last + 1)  # the last mark counts
    long, short, net = (means(time, table[name].to_numpy(), edges_past) for name in ("long", "short", "net"))
    return ExposureBars(
        time_ms=edges[:-1], end_ms=last, long=long, short=short, net=net, stretch=printed_span(step / MINUTE_MS)
    )


def account_figures(run: SheetRun) -> list[tuple[str, str, str]]:
    """Label, text and, where it is not available, the reason of each figure of the account."""
    account = run.result.account
    found = [
        (account.definitions[key].label, _figure(key, account[key], account.definitions[key].unit),
         account.reasons.get(key, ""))
        for key in _OF_ACCOUNT
        if key in account
    ]  # fmt: skip
    daily = run.result.returns("1D")
    if len(daily) > 1:
        found += [
            ("Best day", printed_percent(100 * float(daily.max()), 2, signed=True), ""),
            ("Worst day", printed_percent(100 * float(daily.min()), 2, signed=True), ""),
        ]
    return found


def _figure(key: str, value: Any, unit: str) -> str:
    if value is None:
        return DASH
    if unit == "%":
        return printed_percent(value, signed=key in ("benchmark", "alpha"))
    if unit == "days":
        return printed_span(value * DAY_MINUTES)
    if key == "cut_off":
        return printed_number(value, 0)
    if key == "turnover":
        return f"{printed_number(value, 0 if value >= 10 else 1)} \u00d7"
    return printed_number(value)
