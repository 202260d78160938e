"""Look-ahead checks: the future is cut off or changed, and the strategy's answers are compared.

Everything here takes callables and answers; who builds the worlds in which a strategy is asked is
:mod:`bknb.runs.check_lookahead`. An answer is what decides a trade (side, prices, minutes); a note is not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np

from ..domain.formatting import failure_text, minute_text, plain_number, utc_text
from ..domain.interval import DAY_MS, MINUTE_MS
from ..reports.markup import Html, cell, figures, fragment, html_figures, html_table, markdown_table
from ..user_code import where_it_failed
from .entry_accuracy import FEWEST, RULES, Accuracy

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from ..market.candles import Candles

Kind: TypeAlias = Literal["future", "accuracy", "clock", "chance", "memory", "outside", "history"]
Answer: TypeAlias = tuple[Any, ...]
"""``("long", take_profit, stop_loss, minutes, price_open)``, ``("nothing",)`` or ``("error", text)``."""

NOTHING: Final[Answer] = ("nothing",)
MEANING: Final[dict[Kind, str]] = {
    "future": "knows something that had not happened yet",
    "accuracy": "is right more often than simple rules on past prices or reads what goes with later moves: a suspicion",
    "clock": "depends on the computer's clock, or reads one that cannot be shifted to see whether it does",
    "chance": "answers differently when asked again: random numbers without a seed of their own",
    "memory": "answers differently depending on what it was asked before",
    "outside": "reads something besides the candles; whether it holds the future cannot be seen from here",
    "history": "answers differently when less history is there",
}
SUSPICION: Final = (
    "either a leak that nothing else here could see, or a market predictable by something those rules do not know (the "
    "clock, another symbol, a level): find out which of its inputs makes it right, and test it on data recorded later"
)
BLIND: Final = (
    "numbers typed in, or settings chosen, after looking at this stretch",
    "what compiled libraries and other processes hold inside themselves",
)
_SAME: Final = 1e-9
_SAME_HISTORY: Final = 1e-6  # averages that never forget differ a little with the length of the past


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding of a look-ahead check: something a strategy must not depend on, and does.

    One of kind ``accuracy`` is a suspicion: no experiment showed what the strategy depends on.

    Attributes
    ----------
    kind : {"future", "accuracy", "clock", "chance", "memory", "outside", "history"}
    when : int or None
        The moment whose answer differed, UTC ms.
    candle : int or None
        Open time of the candle that leaked, UTC ms.
    signal : str
        The answer, and the one it became.
    what : str
        What was read: a number of candles ahead, a variable, a file, a function.
    how : str
        The experiment.
    times : int
        At how many of the moments looked at.
    """

    kind: Kind
    what: str
    how: str
    when: int | None = None
    candle: int | None = None
    signal: str = ""
    times: int = 1

    def __str__(self) -> str:
        parts = [f"{self.kind}: {self.what}"]
        if self.candle is not None:
            parts.append(f"candle {utc_text(self.candle)}")
        if self.when is not None:
            parts.append(f"asked at {utc_text(self.when)}")
        if self.signal:
            parts.append(self.signal)
        return "; ".join([*parts, self.how])


@dataclass(frozen=True, slots=True, kw_only=True)
class LookaheadReport:
    """Result of a look-ahead check.

    Attributes
    ----------
    strategy, symbol, interval : str
    moments : int
        How many moments were looked at closely.
    signals : int
        How many of them had a signal.
    looks_back : str
        The longest look back that was seen.
    findings : tuple of Finding
        The worst first.
    failure : str
        The first exception of the strategy with its line, when it raised at every moment.
    asked_at : str
        The schedule by which the strategy is asked; empty where it is asked in slots of ``interval``.
    asked, raised : int
        At how many moments it was asked in all, and at how many of these it raised.
    first_error : str
        The first exception with its line, when it raised at some moments.
    rows_chosen, rows_compared : int
        For ``get_signals``: at how many moments its rows were to be computed again over other candles, and at how many
        of these it gave rows to compare; 0 for ``get_signal``.
    looked_at : tuple of str
        Data besides the candles that was judged.
    unseen : tuple of str
        What could not be judged in this strategy.
    remarks : tuple of str
        What was noticed and is no finding, such as a clock that is read for a log.
    accuracy : Accuracy or None
        How often entries were right, against rules that know the past alone.
    managed, managed_answers : int
        At how many moments ``manage`` was looked at closely, while something was open or waited, and at how many of
        these it had an answer.
    """

    strategy: str
    symbol: str
    interval: str
    moments: int
    signals: int
    looks_back: str
    findings: tuple[Finding, ...]
    failure: str = ""
    asked_at: str = ""
    looked_at: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    accuracy: Accuracy | None = None
    remarks: tuple[str, ...] = ()
    asked: int = 0
    raised: int = 0
    first_error: str = ""
    rows_chosen: int = 0
    rows_compared: int = 0
    managed: int = 0
    managed_answers: int = 0

    @property
    def ok(self) -> bool:
        """Whether signals were looked at, and nothing was found in them: no proof that there is nothing.

        False where none of the rows that were chosen could be compared.
        """
        return not self.findings and self.signals > 0 and not self._no_row_compared

    @property
    def _no_row_compared(self) -> bool:
        return self.rows_chosen > 0 and self.rows_compared == 0

    @property
    def suspected(self) -> bool:
        """Whether nothing was found but that the entries are right too often: a suspicion; ``ok`` is false."""
        return bool(self.findings) and all(finding.kind == "accuracy" for finding in self.findings)

    @property
    def verdict(self) -> str:
        """The result in one sentence, and at how many moments the strategy raised."""
        if self.failure:
            return f"it raised at every moment, so nothing could be compared: {self.failure}"
        if not self.raised:
            return self._result()
        moments = f"it raised at {self.raised:,} of the {self.asked:,} moments at which it was asked"
        return f"{self._result()}; {moments}, first {self.first_error}"

    def _result(self) -> str:
        kinds = list(dict.fromkeys(finding.kind for finding in self.findings))
        if kinds:
            return "; ".join(self._suspicion() if kind == "accuracy" else f"it {MEANING[kind]}" for kind in kinds)
        if not self.signals:
            return "it gave no signal at these moments, so there was nothing to compare; " + (
                "mend what it raises" if self.raised else "try a longer frame"
            )
        if self._no_row_compared:
            return (
                f"it raised over other candles at all {self.rows_chosen} moments, so no row could be compared; let "
                "get_signals return rows for fewer candles than the frame has, or check it on another frame"
            )
        where = [self._seen, *self.looked_at]
        return f"nothing found in {'; '.join(where)}"

    @property
    def _seen(self) -> str:
        seen = f"{self.moments} moments, {self.signals} of them with a signal"
        rows = f"; rows compared at {self.rows_compared} of {self.rows_chosen} moments" if self.rows_chosen else ""
        return seen + rows + self._seen_of_manage

    @property
    def _seen_of_manage(self) -> str:
        if not self.managed:
            return ""
        return f"; manage asked at {self.managed} moments, {self.managed_answers} of them with an answer"

    def _suspicion(self) -> str:
        found = next(finding for finding in self.findings if finding.kind == "accuracy")
        return f"look-ahead is suspected: {found.what}, {found.how}; {SUSPICION}"

    @property
    def _headline(self) -> str:
        return "" if self.ok else "suspected" if self.suspected else "not ok"

    @property
    def entries_text(self) -> str:
        """What the accuracy of the entries says, in one sentence."""
        found = self.accuracy
        if found is None:
            return "not measured"
        if not found.enough:
            return f"{found.entries} entries that do not overlap, too few to tell ({FEWEST} are needed)"
        return f"{found.right:.0%} of {found.entries} were right after {found.minutes} minutes; {_reached(found)}"

    @property
    def cannot_see(self) -> tuple[str, ...]:
        """What no experiment of this check can see: in this strategy, and in any."""
        return (*self.unseen, *BLIND)

    @property
    def _when(self) -> str:
        return f"at {self.asked_at}" if self.asked_at else f"every {self.interval}"

    def __repr__(self) -> str:
        seen = f"{self.signals} of {self.moments} moments with a signal{self._seen_of_manage}"
        lines = [f"look-ahead check of {self.strategy} on {self.symbol}, {self._when}: {seen}"]
        lines.append(f"  {self.verdict}" if self.ok else f"  {self._headline.upper()}  {self.verdict}")
        lines += [f"  {finding}" for finding in self.findings]
        if not self.failure:
            lines.append(f"  entries: {self.entries_text}")
        lines += [f"  remark: {text}" for text in self.remarks]
        lines += [f"  cannot see: {text}" for text in self.cannot_see]
        if self.looks_back:
            lines.append(f"  looks back {self.looks_back}")
        return "\n".join(lines)

    def _pairs(self) -> list[tuple[str, str]]:
        return [
            ("Strategy", f"{self.strategy} on {self.symbol}, {self._when}"),
            ("Looked at", self._seen),
            ("Looks back", self.looks_back or "not known"),
            ("Verdict", self.verdict if self.ok else f"{self._headline}: {self.verdict}"),
            ("Entries", self.entries_text),
            *([("Remarks", "; ".join(self.remarks))] if self.remarks else []),
            ("Cannot see", "; ".join(self.cannot_see)),
        ]

    def _cells(self) -> list[list[str]]:
        rows = []
        for each in self.findings:
            moments = (minute_text(each.when), minute_text(each.candle))
            rows.append([each.kind, each.what, *moments, each.signal, each.how, str(each.times)])
        return rows

    def report(self) -> str:
        """The report as Markdown."""
        lines = [f"# Look-ahead check: {cell(self.strategy)} on {cell(self.symbol)}", "", *figures(self._pairs()), ""]
        if self.findings:
            lines += [*markdown_table(_TITLES, self._cells()), ""]
        lines += ["## What the kinds mean", "", *[f"- **{kind}**: it {text}" for kind, text in MEANING.items()]]
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> Html:
        table = html_table(_TITLES, self._cells(), left=len(_TITLES))
        return fragment(html_figures("Look-ahead check", self._pairs()), table)

    def to_pandas(self) -> pd.DataFrame:
        """One row for each finding."""
        import pandas as pd

        from ..reports.time_columns import with_times

        table = pd.DataFrame(
            [[getattr(finding, name) for name in _COLUMNS] for finding in self.findings], columns=list(_COLUMNS)
        )
        return with_times(table, ("when", "candle"))


_TITLES: Final = ("Kind", "What", "Asked at (UTC)", "Candle (UTC)", "Answer", "Experiment", "Times")
_COLUMNS: Final = ("kind", "what", "when", "candle", "signal", "how", "times")
_ORDER: Final[dict[str, int]] = {kind: at for at, kind in enumerate(MEANING)}


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first: the future before everything else."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.kind]))


def accuracy_findings(accuracy: Accuracy) -> list[Finding]:
    """A finding, which is a suspicion, when entries are right more often than simple rules on past prices."""
    if not accuracy.too_good:
        return []
    return [
        Finding(
            kind="accuracy",
            what=f"{accuracy.right:.0%} of {accuracy.entries} entries were right after {accuracy.minutes} minutes",
            how=_reached(accuracy),
            times=accuracy.entries,
        )
    ]


def _reached(accuracy: Accuracy) -> str:
    return (
        f"the best of {RULES} rules on past prices reached {accuracy.reached:.0%} at most in 99 of 100 shuffled "
        f"futures, and {accuracy.causal:.0%} on this market (p = {accuracy.p_value:.2g})"
    )


# -- answers -------------------------------------------------------------------------------------------------------


def same(one: Answer, other: Answer, *, tolerance: float = _SAME) -> bool:
    """Whether two answers make the same trade.

    Examples
    --------
    >>> same(("long", 110.0, 90.0, 60.0, None), ("long", 110.0 + 1e-12, 90.0, 60.0, None))
    True
    """
    if len(one) != len(other):
        return False
    return all(_equal(a, b, tolerance) for a, b in zip(one, other, strict=True))


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= tolerance * max(abs(a), abs(b)) or (a != a and b != b)
    return bool(a == b)


def answer_text(answer: Answer) -> str:
    """An answer in a few words.

    Examples
    --------
    >>> answer_text(("long", 110.0, 90.0, 60.0, None)), answer_text(NOTHING)
    ('long, target 110, stop 90', 'nothing')
    """
    if answer[0] not in ("long", "short"):
        return " ".join(str(part) for part in answer)
    limit = "" if answer[4] is None else f" at {plain_number(answer[4])}"
    target, stop = ("none" if level is None else plain_number(level) for level in answer[1:3])
    return f"{answer[0]}{limit}, target {target}, stop {stop}"


def change_text(before: Answer, after: Answer) -> str:
    """A changed answer in words."""
    return f"{answer_text(before)} became {answer_text(after)}"


def line_with_place(error: BaseException) -> str:
    """An error in one line, with the line of the user's code at which it arose."""
    where = where_it_failed(error)
    return f"{failure_text(error)} ({where})" if where else failure_text(error)


# -- get_signals: rows over all candles ----------------------------------------------------------------------------


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
    return (_NAMES.get(side, "neither long nor short"), *values, *leaves)


def differing(one: Rows, other: Rows, count: int, *, tolerance: float = _SAME) -> NDArray[np.int64]:
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


def perturbed(candles: Candles, start: int, *, seed: int) -> Candles:
    """The same candles, from place ``start`` on with other prices and volumes; each is still a possible candle."""
    from ..market.candles import Candles as Made

    rng = np.random.default_rng(seed)
    tail = len(candles) - start
    block = candles.block.copy()
    if tail > 0:
        step = min(0.01, 0.5 / np.sqrt(tail))  # wherever it ends, it is still a price of the same kind
        block[1:5, start:] *= np.exp(rng.normal(0.0, 0.05) + np.cumsum(rng.normal(0.0, step, size=tail)))
        block[5, start:] *= np.exp(rng.normal(0.0, 0.7, size=tail))
    block.setflags(write=False)
    return Made(block)


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
        if not same(row_answer(whole, row), seen, tolerance=_SAME_HISTORY):
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


# -- get_signal: one question at a time ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A variant of the data in which a strategy is asked.

    Attributes
    ----------
    until : int or None
        No candle that closes after this moment exists (UTC ms).
    changed_after : int or None
        Candles that close after this moment have other prices (UTC ms).
    since : int or None
        No candle that opens before this moment exists (UTC ms).
    seed : int
        Of the other prices, and of the global random numbers.
    """

    until: int | None = None
    changed_after: int | None = None
    since: int | None = None
    seed: int = 0


AsIs: Final = World()
Asked: TypeAlias = Callable[[int, World], Answer]


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
            if seen != ("warm-up",) and not same(first[when], seen, tolerance=_SAME_HISTORY):
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
