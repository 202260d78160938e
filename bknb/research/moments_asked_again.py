"""A strategy asked again at moments, in other worlds and in another order: answers that change are findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from ..domain.interval import DAY_MS, MINUTE_MS
from .answers_compared_as_trades import SAME_HISTORY, Answer, change_text, same
from .candles_changed_after_moment import AsIs, World
from .lookahead_report import Finding, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

Asked: TypeAlias = Callable[[int, World], Answer]


def choose(signals: Sequence[int] | NDArray[np.int64], first: int, last: int, *, count: int, seed: int) -> list[int]:
    """Places to look at closely, from ``first`` up to before ``last``: half of them with a signal, spread evenly.

    Examples
    --------
    >>> choose([3, 5, 7], 0, 10, count=4, seed=1)
    [3, 4, 5, 6]
    """
    live = [int(at) for at in signals if first <= at < last]
    step = max(len(live) / max(count // 2, 1), 1.0)
    chosen = {live[int(k * step)] for k in range(min(len(live), count // 2))}
    rest = np.array([at for at in range(first, last) if at not in chosen], dtype=np.int64)
    rng = np.random.default_rng(seed)
    more = rng.choice(rest, size=min(count - len(chosen), len(rest)), replace=False) if len(rest) else rest
    return sorted({*chosen, *more.tolist()})


def check_answers(
    ask: Asked, moments: Sequence[int], *, history_ms: Sequence[int], known: Mapping[int, Answer] | None = None
) -> list[Finding]:
    """Findings for answers that change with the future, with chance, with the order of calls, or with less history.

    Parameters
    ----------
    ask
        The answer at a moment (UTC ms) in a world.
    moments
        In order of time; the answers of a first pass over all of them are the reference.
    history_ms
        Lengths of history to try.
    known
        Answers of an earlier pass, over these and other moments in order of time; a strategy that moves through its own
        copy of the data has come to its end in it, and answers the same ever after.
    """
    first = {when: ask(when, AsIs) for when in moments}
    moved = [(when, first[when]) for when in moments if known is not None and not same(known[when], first[when])]
    if moved and known is not None:
        return _not_repeatable(ask, moments, first) or [
            _finding("memory", _KEPT, "the same questions were asked again, in the same order", dict(known), moved)
        ]
    unsteady = _not_repeatable(ask, moments, first)
    if unsteady:
        return unsteady  # answers that change by themselves prove nothing about the future
    findings = []
    worlds: tuple[tuple[str, Callable[[int], World]], ...] = (
        ("everything after that moment was changed", lambda when: World(changed_after=when, seed=when // MINUTE_MS)),
        ("everything after that moment was cut off", lambda when: World(until=when)),
    )
    for how, world in worlds:
        apart = [(when, seen) for when in moments if not same(first[when], seen := ask(when, world(when)))]
        if apart:
            findings.append(_finding("future", "candles that had not closed", how, first, apart))
            break
    for length in history_ms:
        apart = []
        for when in moments:
            seen = ask(when, World(since=when - length))
            if seen != ("warm-up",) and not same(first[when], seen, tolerance=SAME_HISTORY):
                apart.append((when, seen))
        if apart:
            days = f"{length / DAY_MS:.3g} days"
            text = f"more history than the {days} before the moment, without saying so"
            findings.append(_finding("history", text, f"the data began {days} earlier", first, apart))
            break
    return findings


_KEPT: Final = "something it keeps between two questions, or numbers drawn without a seed"


def _not_repeatable(ask: Asked, moments: Sequence[int], first: dict[int, Answer]) -> list[Finding]:
    """Findings for answers that differ when asked again, in the same order or backwards."""
    ask(moments[0], AsIs)  # once more: a counter whose period divides the number of moments would be in step again
    again = {when: ask(when, AsIs) for when in moments}
    backwards = {when: ask(when, AsIs) for when in reversed(moments)}
    apart = [(when, seen) for when in moments for seen in (again[when], backwards[when]) if not same(first[when], seen)]
    if not apart:
        return []
    seeded = [{when: ask(when, World(seed=seed)) for when in moments} for seed in (1, 1, 2, 3, 4, 5, 6)]
    steady = all(same(seeded[0][when], seeded[1][when]) for when in moments)
    moved = any(not same(seeded[0][when], other[when]) for other in seeded[2:] for when in moments)
    if steady and moved:
        return [_finding("chance", "random numbers of the process", "the same question was asked again", first, apart)]
    return [_finding("memory", _KEPT, "the same questions were asked again, forwards and backwards", first, apart)]


def _finding(kind: Kind, what: str, how: str, first: dict[int, Answer], apart: list[tuple[int, Answer]]) -> Finding:
    when, seen = apart[0]
    times = len({moment for moment, _ in apart})
    return Finding(kind=kind, what=what, how=how, when=when, signal=change_text(first[when], seen), times=times)
