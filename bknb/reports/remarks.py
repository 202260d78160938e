"""The sentences beside the figures of a backtest: what limits what they say."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import minute_text, price_text
from ..domain.interval import MINUTE, candles_text
from ..domain.least_samples import GATES
from ..metrics.reasons import INSTEAD, POOLED_POINTS
from .grouped_by_leg import grouped_by_leg
from .managed_rows import position_remarks

_FAILS_THE_LAW: Final = {
    "touch": (
        "execution touch fills at every level that a candle reaches, the target first: a rule can earn with it on a "
        "random walk by design; compare with pessimistic"
    ),
    "vwap": (
        "execution vwap fills at an average of past minutes, at which nobody can trade any more: a rule can earn with "
        "it on a random walk by design; compare with pessimistic"
    ),
}
_NO_VOLUME: Final = "the candles have no volume at all: it is not known which minutes traded, so all of them can fill"
_PERCENT: Final = 0.01
_MOST_LEGS: Final = 10
_UNEVEN: Final = 10.0  # times the smallest entry


def watched(result: Any, trades: int, ambiguous: int) -> str:
    """How exits were watched, where that was not by the minute."""
    base = result.run_record.plan.base
    if base == MINUTE:
        return ""
    share = f", {_share(ambiguous / trades)} of them ambiguous" if trades else ""
    return f"exits watched on {candles_text(base)}{share}: what happened within one is not known"


def partial(result: Any) -> str:
    """That a backtest was stopped before its end, and where; empty if it was not."""
    if not result.stopped or result.mode == "live":
        return ""
    closed = result.trades["closed_at"]
    last = f"; last trade closed {minute_text(closed.iloc[-1])} UTC" if len(closed) else ""
    came = minute_text(result.account_terms.end)
    return f"Stopped before its end, at {came} UTC: this is a partial result{last}."


def remarks(result: Any) -> tuple[str, ...]:
    """What is to be known of the execution model, of few positions, of missing stops and volumes."""
    said = [_FAILS_THE_LAW[result.execution]] if result.execution in _FAILS_THE_LAW else []
    if (instead := INSTEAD.get(result.account.reasons.get("total_return", ""))) is not None:
        said.append(f"there is no account; {instead}")
    return (*said, *_of_account(result), *_of_run(result))


def portfolio_remarks(result: Any) -> tuple[str, ...]:
    """The same of a PortfolioResult: of its account, and of its legs each sentence once."""
    told = [
        (f"{name} on {symbol}", text)
        for (symbol, name), leg in result.legs.items()
        for text in (*filter(None, [_FAILS_THE_LAW.get(leg.execution)]), *_of_run(leg))
    ]
    of_account = _pooled_points(result) if result.capital is None else _of_account(result)
    return (*of_account, *grouped_by_leg(told, legs=len(result.legs)), *stale_remark(result))


def stale_remark(result: Any) -> list[str]:
    """That legs of a PortfolioResult were held without a bar of their own, and at how many marks."""
    found = sorted(((count, leg) for leg, count in result.stale.items() if count), reverse=True)
    if not found:
        return []
    some = [f"{name} on {symbol} at {count:,}" for count, (symbol, name) in found[:_MOST_LEGS]]
    more = [f"{len(found) - _MOST_LEGS:,} more legs"] if len(found) > _MOST_LEGS else []
    return [f"held at marks of the account without a bar, and valued at the last close: {', '.join([*some, *more])}"]


def _pooled_points(result: Any) -> list[str]:
    """What to know of the figures of all trades, where they are in points of several symbols."""
    in_points = any(leg.run_record.records.opened_below_zero for leg in result.legs.values())
    return [POOLED_POINTS] if in_points and len({symbol for symbol, _ in result.legs}) > 1 else []


def _of_account(result: Any) -> list[str]:
    """That an account was worth nothing, and that it had few positions."""
    said = []
    if result.capital is not None and result.account["end"] <= 0.0:
        said.append("the account was worth nothing at the close of a bar: in money all that it held was closed there")
    held = int(result.account["positions"])
    if 0 < held < GATES.min_trades:
        positions = f"{held} position{'' if held == 1 else 's'}"
        said.append(f"{positions} alone: figures of a year and ratios of so few say nothing about the next ones")
    return said


def _of_run(result: Any) -> tuple[str, ...]:
    """What its positions and its candles do not support."""
    return (*position_remarks(result), *_near_zero(result), *([] if has_volume(result) else [_NO_VOLUME]))


def has_volume(result: Any) -> bool:
    """Whether any candle of a run had volume; a leg of a portfolio is not measured for it."""
    if (measured := result.run_record.measured) is not None:
        return bool(measured.has_volume)
    volume = result.run_record.minutes.volume
    return not len(volume) or bool((volume > 0).any())


def _near_zero(result: Any) -> tuple[str, ...]:
    """That percentages of entries near zero are large, where prices of the exchange pass through it."""
    rules = result.run_record.rules
    if rules is None or not rules.negative:
        return ()
    entries = [event.signal.price_open for event in result.run_record.records.closed]
    if not entries or min(entries) <= 0 or min(entries) * _UNEVEN >= max(entries):
        return ()
    between = f"entries lie between {price_text(min(entries))} and {price_text(max(entries))}"
    return (
        f"{between}: percentages are of each entry, so that those near zero weigh most; points do not depend on it",
    )


def _share(of_one: float) -> str:
    return "none" if not of_one else "less than 1 %" if of_one < _PERCENT else f"{100 * of_one:.0f} %"
