"""The trades of one run beside those of another: which differ, and which cause each difference has.

A backtest is set beside a live run in steps: first over the candles as its exchange has them now, then over those that
were recorded, then with the settings of then, with what did not come or came late, and without the questions that were
not asked. Each step has one cause, and what changes from one to the next is its. What is left between the last step and
the record has evidence of its own: a decision by hand, a refusal, other code. Where it has none and begins while an
earlier difference goes on, it follows from that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from .account_beside_record import Cause
from .signal import SignalKey


class ComparedTrade(NamedTuple):
    """A signal of a run: a trade, or what had its place meanwhile and is none.

    Attributes
    ----------
    opened_at, ended_at
        Moments in UTC ms.
    value
        Its profit, in money or percent.
    same
        Two trades are the same where this is equal.
    traded
        Whether it is a trade that has ended: an entry that was cancelled is none, nor is what is open at the end.
    """

    opened_at: int
    ended_at: int
    value: float
    same: object
    traded: bool = True


class TradeDifference(NamedTuple):
    """One difference: the signal, its cause, how much profit it is (after less before), and what happened."""

    key: SignalKey
    cause: Cause
    amount: float
    text: str


Trades: TypeAlias = Mapping[SignalKey, ComparedTrade]
Evidence: TypeAlias = Callable[[SignalKey], tuple[Cause, str] | None]


def differing(before: Trades, after: Trades) -> list[SignalKey]:
    """The signals of which one has another trade than the other, or none, by the moment of their decision.

    Examples
    --------
    >>> one = ComparedTrade(0, 60_000, 1.5, "a")
    >>> differing({("s", 0): one, ("t", 1): one}, {("s", 0): one, ("u", 0): one})
    [('u', 0), ('t', 1)]
    """
    found = (key for key in {*before, *after} if _same(before.get(key)) != _same(after.get(key)))
    return sorted(found, key=lambda key: (key[1], key[0]))


def _same(trade: ComparedTrade | None) -> object:
    return None if trade is None else (trade.same,)


def step_differences(before: Trades, after: Trades, cause: Cause, text: str) -> list[TradeDifference]:
    """What changes from one run to the next, all of one cause."""
    return [
        TradeDifference(key, cause, _value(after.get(key)) - _value(before.get(key)), text)
        for key in differing(before, after)
        if _any_traded(before.get(key), after.get(key))
    ]


def _any_traded(*trades: ComparedTrade | None) -> bool:
    return any(trade is not None and trade.traded for trade in trades)


def differences_by_evidence(before: Trades, after: Trades, evidence: Evidence, otherwise: Evidence) -> list[
    TradeDifference
]:  # fmt: skip
    """What changes from one run to the next, each with the cause that there is evidence of.

    One without evidence that begins while an earlier one goes on has the cause of that; else that of ``otherwise``, or
    it is unexplained.
    """
    found: list[TradeDifference] = []
    until = -1
    going_on: tuple[Cause, str] | None = None
    for key in differing(before, after):
        one, other = before.get(key), after.get(key)
        own = evidence(key)
        inherited = going_on if key[1] <= until else None
        of_life = otherwise(key)
        if own is None and inherited is not None and of_life is not None and of_life[0] == inherited[0]:
            inherited = of_life
        cause, text = own or inherited or of_life or ("unexplained", _what(one, other))
        if _any_traded(one, other):
            found.append(TradeDifference(key, cause, _value(other) - _value(one), text))
        ends = max(trade.ended_at for trade in (one, other) if trade is not None)
        if own is not None or inherited is None or ends >= until:
            going_on = cause, text if inherited is not None and own is None else f"follows from {key[0]}: {text}"
        until = max(until if inherited is not None else -1, ends)
    return found


def _what(one: ComparedTrade | None, other: ComparedTrade | None) -> str:
    if one is None:
        return "in the live run alone"
    return "in the backtest alone" if other is None else "another trade than in the backtest"


def _value(trade: ComparedTrade | None) -> float:
    return 0.0 if trade is None else trade.value


def total(trades: Trades | Iterable[ComparedTrade]) -> float:
    """The profit of all of them."""
    rows = trades.values() if isinstance(trades, Mapping) else trades
    return sum(trade.value for trade in rows)
