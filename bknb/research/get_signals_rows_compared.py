"""Rows of a ``get_signals`` compared with those over fewer candles, and over candles changed after a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..domain.formatting import utc_text
from .answers_compared_as_trades import NOTHING, SAME, SAME_HISTORY, Answer, change_text, same
from .candles_changed_after_moment import perturbed
from .lookahead_report import Finding
from .moments_asked_again import choose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..market.candles import Candles


class Rows(Protocol):
    """Answers of a vectorised strategy, one row per candle."""

    @property
    def position(self) -> NDArray[np.int8]:
        """1, 0 or -1."""

    @property
    def weight(self) -> NDArray[np.float64] | None:
        """What is to be held, NaN: what there is; ``None``: rows are signals."""

    @property
    def acts(self) -> NDArray[np.bool_]:
        """Whether a row wants a position, or to leave one, or is a weight."""

    def numbers(self) -> Mapping[str, NDArray[np.float64]]:
        """What rows that want a position declare, by column."""

    def leaving(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows leave a long, and which a short."""


Evaluate: TypeAlias = "Callable[[Candles], Rows]"
_NAMES: Final = {1: "long", -1: "short"}


def row_answer(rows: Rows, at: int) -> Answer:
    """One row as an answer: of one that wants a position what it declares, then where it leaves."""
    if rows.weight is not None:
        weight = float(rows.weight[at])
        return NOTHING if weight != weight else ("weight", weight)
    side = int(rows.position[at])
    leaves = tuple(f"exit_{name}" for name, column in zip(("long", "short"), rows.leaving(), strict=True) if column[at])
    if side == 0:
        return leaves or NOTHING
    numbers = {name: float(column[at]) for name, column in rows.numbers().items()}
    values = [None if number != number else number for number in numbers.values()]
    either = all(each in numbers and numbers[each] == numbers[each] for each in ("price_open_long", "price_open_short"))
    return (_NAMES.get(side, "long or short" if either else "neither long nor short"), *values, *leaves)


def differing(one: Rows, other: Rows, count: int, *, tolerance: float = SAME) -> NDArray[np.int64]:
    """Those of the first ``count`` rows that do not make the same trade."""
    if one.weight is not None and other.weight is not None:
        close = np.isclose(one.weight[:count], other.weight[:count], rtol=tolerance, atol=tolerance, equal_nan=True)
        return np.flatnonzero(~close)
    apart = one.position[:count] != other.position[:count]
    live = one.position[:count] != 0
    for a, b in zip(one.leaving(), other.leaving(), strict=True):
        apart |= a[:count] != b[:count]
    columns, others = one.numbers(), other.numbers()
    nothing = np.full(count, np.nan)
    for name in {**columns, **others}:
        here, there = (np.asarray(of.get(name, nothing))[:count] for of in (columns, others))
        apart |= live & ~np.isclose(here, there, rtol=tolerance, atol=0.0, equal_nan=True)
    return np.flatnonzero(apart)


class CheckedRows(NamedTuple):
    """What a check of rows found, at how many moments it computed them again, and at how many it got rows each time."""

    findings: list[Finding]
    chosen: int
    compared: int


def check_rows(
    evaluate: Evaluate, candles: Candles, *, closes: NDArray[np.int64], moments: int, seed: int, first: int = 0
) -> CheckedRows:
    """Findings for rows that change when later candles are cut off, or changed, and at how many moments rows came.

    Parameters
    ----------
    evaluate
        Candles to rows, one for each candle; it may raise when candles are too few.
    candles
        All of them.
    closes : ndarray of int64, shape (n,)
        When each of them closes (UTC ms): then its row is acted on.
    moments
        How many rows to look at.
    seed
        Of the choice and of the changed prices.
    first
        The first row to look at.
    """
    whole = evaluate(candles)
    count = len(candles)
    live = np.flatnonzero(whole.acts)
    chosen = choose(live, max(first, min(20, count // 5)), count - 1, count=moments, seed=seed)
    found: dict[str, list[tuple[int, int, Rows]]] = {"cut off": [], "changed": []}
    compared = 0
    for number, row in enumerate(chosen):
        length = row + 1
        came = True
        for how in ("cut off",) if found["cut off"] else ("cut off", "changed"):
            world = candles[:length].copy() if how == "cut off" else perturbed(candles, length, seed=seed + number)
            rows = _attempt(evaluate, world)
            if rows is None:
                came = False
                continue
            apart = differing(whole, rows, length)
            if len(apart):
                found[how].append((length, int(apart[-1]), rows))
        compared += came
    how = "cut off" if found["cut off"] else "changed"
    if not found[how]:
        return CheckedRows([], len(chosen), compared)
    length, row, rows = next((each for each in found[how] if whole.position[each[1]] != 0), found[how][0])
    leaked = _leaking(evaluate, candles, whole, row, length) if how == "cut off" else None
    ahead = "" if leaked is None else f"{leaked - row} candle{'' if leaked - row == 1 else 's'} ahead"
    finding = Finding(
        kind="future",
        what=f"the row reads {ahead}" if ahead else "the row depends on candles after its own",
        how=f"the candles after {utc_text(int(closes[length - 1]))} were {how}",
        when=int(closes[row]),
        candle=None if leaked is None else int(candles.timestamp[leaked]),
        signal=change_text(row_answer(whole, row), row_answer(rows, row)),
        times=len(found[how]),
    )
    return CheckedRows([finding], len(chosen), compared)


def _attempt(evaluate: Evaluate, candles: Candles) -> Rows | None:
    try:
        return evaluate(candles)
    except Exception:  # noqa: BLE001 -- a strategy may need more candles than there are
        return None


def _leaking(evaluate: Evaluate, candles: Candles, whole: Rows, row: int, length: int) -> int | None:
    """Place of the last candle that the row depends on."""

    def settled(count: int) -> bool:
        rows = _attempt(evaluate, candles[:count].copy())
        return rows is not None and same(row_answer(rows, row), row_answer(whole, row))

    for near in range(length + 1, min(length + 9, len(candles)) + 1):
        if settled(near):
            return near - 1
    low, high = min(length + 8, len(candles)), len(candles)  # not settled, settled
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high - 1


def check_row_history(
    evaluate: Evaluate, candles: Candles, *, lookback: int, closes: NDArray[np.int64], moments: int, seed: int
) -> list[Finding]:
    """Findings for rows that differ when only the newest ``lookback`` candles are there, as in a live run."""
    whole = evaluate(candles)
    wanting = whole.position != 0 if whole.weight is None else whole.acts
    chosen = choose(np.flatnonzero(wanting), lookback, len(candles), count=moments, seed=seed)
    apart: list[tuple[int, Answer]] = []
    for row in chosen:
        rows = _attempt(evaluate, candles[row + 1 - lookback : row + 1].copy())
        seen = ("error",) if rows is None else row_answer(rows, lookback - 1)
        if not same(row_answer(whole, row), seen, tolerance=SAME_HISTORY):
            apart.append((row, seen))
    if not apart:
        return []
    row, seen = apart[0]
    return [
        Finding(
            kind="history",
            what=f"more than the newest {lookback} candles, all that a live run gives it (lookback={lookback})",
            how=f"only the newest {lookback} candles were there",
            when=int(closes[row]),
            signal=change_text(row_answer(whole, row), seen),
            times=len(apart),
        )
    ]
