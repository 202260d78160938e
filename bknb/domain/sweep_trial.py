"""One tried combination of parameters, as it is saved in the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import msgspec

Refusals: TypeAlias = tuple[tuple[str, str, int], ...]
"""Answers that broke rules: the codes of the rules, the message of the first such answer, how many."""


def by_codes(refusals: Iterable[tuple[str, str, int]]) -> Refusals:
    """Refusals with the same codes as one: the message of the first, and how many there are together.

    Examples
    --------
    >>> by_codes([("near", "0.1 %", 2), ("late", "90", 5), ("near", "0.2 %", 4)])
    (('near', '0.1 %', 6), ('late', '90', 5))
    """
    found: dict[str, tuple[str, int]] = {}
    for codes, text, count in refusals:
        first, before = found.get(codes, (text, 0))
        found[codes] = (first, before + count)
    return tuple((codes, text, count) for codes, (text, count) in found.items())


class Trial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A strategy with parameters, tried once on some data.

    Attributes
    ----------
    key
        Hash of everything that decides the outcome: strategy, parameters, data, settings, frame, execution.
    data
        Hash of the candles.
    start, end
        The frame, UTC ms.
    params
        The parameters as text, for people.
    sharpe
        Mean over deviation of the trades' results, where there are enough.
    figures
        The figures of the outcome in the order of ``kernels.sweep_figures.FIGURES``.
    daily
        Net return of each day of the frame; see ``sweeps.evaluate_combination.pack_days``.
    rejected
        Answers that broke a rule.
    refusals
        The same by rule; empty in ledgers of earlier versions.
    """

    key: str
    symbol: str
    exchange: str
    strategy: str
    execution: str
    data: str
    start: int
    end: int
    params: str
    sharpe: float | None
    figures: tuple[float | None, ...]
    daily: bytes
    rejected: int
    refusals: Refusals = ()


def same_data(trial: Trial, *, symbol: str, exchange: str, start: int, end: int, data: str) -> bool:
    """Whether a trial looked at some of the same candles: the same hash, or an overlapping frame of the same market.

    Examples
    --------
    >>> made = Trial(key="k", symbol="B", exchange="e", strategy="s", execution="touch", data="d", start=0, end=10,
    ...              params="", sharpe=None, figures=(), daily=b"", rejected=0)
    >>> same_data(made, symbol="B", exchange="e", start=10, end=20, data="other")
    True
    >>> same_data(made, symbol="B", exchange="e", start=11, end=20, data="other")
    False
    """
    if trial.data == data:
        return True
    return trial.symbol == symbol and trial.exchange == exchange and trial.start <= end and trial.end >= start
