"""The outcome of a study: ranked proposals, deflated for the number of tries, and every attempt."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import number_text
from ..domain.least_samples import GATES
from ..errors import UnknownName
from ..reports.progress_text import compounded
from ..research.deflated_sharpe import DeflatedSharpe, deflated_sharpe_ratio
from .drafts_verdicts_and_proposals import Attempt, Findings
from .drafts_verdicts_and_proposals import Proposal as Passed
from .prompt import Message, Range, Shown
from .reply import Parameter

if TYPE_CHECKING:
    import pandas as pd

    from ..domain.html import Html
    from ..runs.result import Result

LIMIT_NAMES: Final = ("processor time", "memory", "file size", "system calls", "audit events")
"""Limits of a trial, where the system supports them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A proposed strategy with its results.

    Attributes
    ----------
    rank : int
        1 is the best on the test range.
    name, title, rationale, interval, code : str
        The strategy. The rationale is the model's own text.
    parameters : tuple of Parameter
        Its numbers: ``name``, ``value``, ``meaning``.
    range : Range
        The training range it was made from.
    train, test : Result or None
        Results on that range, and on the test range.
    luck : DeflatedSharpe
        The Sharpe ratio on the test range with the number of tries taken into account; ``luck.p_value`` is the chance
        that the best of as many worthless strategies looks as good.
    notes : tuple of str
        Errors on the test range.
    """

    rank: int
    name: str
    title: str
    rationale: str
    interval: str
    code: str
    parameters: tuple[Parameter, ...]
    range: Range
    train: Result | None
    test: Result | None
    luck: DeflatedSharpe
    notes: tuple[str, ...]
    passed: Passed

    @property
    def numbers(self) -> str:
        """Training and test result in one sentence."""
        return f"Training range: {_sentence(self.train)}. Test range: {_sentence(self.test)}. {self.verdict}"

    @property
    def verdict(self) -> str:
        """The test result deflated for the number of tries, in one sentence."""
        if self.notes:
            return "On the test range it failed: " + "; ".join(self.notes)
        if self.luck.p_value is None:
            return f"Fewer than {GATES.min_trades} trades on the test range say nothing about skill."
        tries = f"{self.luck.trials:g} {'try' if self.luck.trials == 1 else 'tries'}"
        return f"After {tries} on the test range, luck alone does this well with a chance of {self.luck.p_value:.0%}."

    def __repr__(self) -> str:
        return f"<{self.rank}. {self.name}: {self.title}; {self.numbers}>"


def _sentence(result: Result | None) -> str:
    if result is None:
        return "no result"
    stats = result.stats
    count = stats["n"]
    if not count:
        return "no trades"
    sharpe = stats["sharpe_ratio"]
    money = result.account.text("total_return")
    text = f"{count} trade{'' if count == 1 else 's'}, " + (
        money if _total_return(result) is None else f"{money} compounded"
    )
    return text + (f", Sharpe ratio {number_text(sharpe, decimals=2)} per trade" if sharpe is not None else "")


def _returns(result: Any) -> list[float]:
    return [] if result is None else [float(value) for value in result.trades["pnl_percentage"]]


def _sharpe(values: Sequence[float]) -> float | None:
    return deflated_sharpe_ratio(values).sharpe_ratio if len(values) >= GATES.min_trades else None


def ranked(passed: Sequence[Passed], *, earlier: int) -> list[Proposal]:
    """Return proposals, best first; every look at the test range counts as a try, also those of ``earlier`` runs.

    Those with enough trades come first, by their deflated Sharpe ratio; then the others by their total return, and
    those that have none (adds and places need a capital) behind them by the sum of their results; last those that
    failed on the test range.
    """
    samples = [_returns(each.test.result) for each in passed]
    ratios = [ratio for sample in samples if (ratio := _sharpe(sample)) is not None]
    tries = max(len(passed) + earlier, 1)

    def luck(sample: list[float]) -> DeflatedSharpe:
        if len(ratios) > 1:
            return deflated_sharpe_ratio(sample, trials=ratios, count=tries)
        return deflated_sharpe_ratio(sample, trials=tries)

    judged = [(each, sample, luck(sample)) for each, sample in zip(passed, samples, strict=True)]

    def place(entry: tuple[Passed, list[float], DeflatedSharpe]) -> tuple[bool, bool, float, bool, float]:
        each, sample, chance = entry
        few = chance.deflated is None
        added = each.test.result is not None and _total_return(each.test.result) is None
        total = sum(sample) if added else compounded(sample)
        return (bool(each.test.objections), few, -(chance.deflated or 0.0), added, -total)

    return [
        Proposal(
            rank=rank,
            name=each.draft.name,
            title=each.draft.title,
            rationale=each.draft.rationale,
            interval=each.draft.interval,
            code=each.draft.code,
            parameters=each.draft.parameters,
            range=each.range,
            train=each.train.result,
            test=each.test.result,
            luck=chance,
            notes=tuple(str(objection) for objection in each.test.objections),
            passed=each,
        )
        for rank, (each, _, chance) in enumerate(sorted(judged, key=place), 1)
    ]


class Proposals(Sequence[Proposal]):
    """Proposals of an optimizer, best first; in a notebook it shows itself as a table.

    Attributes
    ----------
    optimizer, symbol, model : str
    train : tuple of Range
    test : Range
    attempts : list of Attempt
        Every answer of the model, also those that were refused, with reasons.
    earlier_looks : int
        How many other codes earlier runs tried on the same test range.
    problem : str
        What ended the study early; empty when nothing did.
    """

    def __init__(
        self,
        findings: Findings,
        *,
        optimizer: str,
        symbol: str,
        model: str,
        train: tuple[Range, ...],
        test: Range,
        earlier_looks: int,
        token_budget: int,
    ) -> None:
        self.optimizer = optimizer
        self.symbol = symbol
        self.model = model
        self.train = train
        self.test = test
        self.attempts: list[Attempt] = list(findings.attempts)
        self.earlier_looks = earlier_looks
        self.token_budget = token_budget
        self.problem = findings.problem
        self.shown: dict[str, list[Shown]] = dict(findings.shown)
        self._conversations = dict(findings.conversations)
        self._ranked = ranked(findings.proposals, earlier=earlier_looks)

    def with_results(self, change: Callable[[Any], Any]) -> Proposals:
        """Return the same proposals with every result replaced by ``change(result)``."""
        made: dict[int, Any] = {}

        def changed(result: Any) -> Any:
            if result is not None and id(result) not in made:
                made[id(result)] = change(result)
            return None if result is None else made[id(result)]

        def passed(proposal: Passed) -> Passed:
            train, test = proposal.train, proposal.test
            return replace(
                proposal,
                train=replace(train, result=changed(train.result)),
                test=replace(test, result=changed(test.result)),
            )

        others = copy.copy(self)
        others._ranked = [
            replace(each, train=changed(each.train), test=changed(each.test), passed=passed(each.passed))
            for each in self._ranked
        ]
        return others

    # --- a sequence -------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._ranked)

    def __getitem__(self, item: Any) -> Any:
        """Return a proposal by its place (0 is the best) or by its name."""
        if isinstance(item, str):
            for proposal in self._ranked:
                if proposal.name == item:
                    return proposal
            raise UnknownName("proposal", item, known=[proposal.name for proposal in self._ranked])
        return self._ranked[item]

    def __iter__(self) -> Iterator[Proposal]:
        return iter(self._ranked)

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def ranking(self) -> pd.DataFrame:
        """One row per proposal, best first; total returns in percent, Sharpe ratios per trade, chances 0..1."""
        import pandas as pd

        rows = [
            {
                "rank": each.rank,
                "strategy": each.name,
                "title": each.title,
                "interval": each.interval,
                "train_trades": _figure(each.train, "n"),
                "train_total": _total_return(each.train),
                "train_sharpe": _figure(each.train, "sharpe_ratio"),
                "test_trades": _figure(each.test, "n"),
                "test_total": _total_return(each.test),
                "test_sharpe": _figure(each.test, "sharpe_ratio"),
                "deflated_sharpe": each.luck.deflated,
                "luck": each.luck.p_value,
            }
            for each in self._ranked
        ]
        return pd.DataFrame(rows)

    @property
    def tokens(self) -> Mapping[str, int | None]:
        """Tokens that were spent.

        ``budget`` of the data and ``counted`` in the largest conversation, by our count; ``read`` and ``written`` in
        all, by the model's own count, ``None`` where it does not say.
        """
        read = [attempt.tokens_in for attempt in self.attempts if attempt.tokens_in is not None]
        written = [attempt.tokens_out for attempt in self.attempts if attempt.tokens_out is not None]
        return {
            "budget": self.token_budget,
            "counted": max((attempt.tokens_counted for attempt in self.attempts), default=0),
            "read": sum(read) if read else None,
            "written": sum(written) if written else None,
        }

    @property
    def enforced_limits(self) -> tuple[str, ...]:
        """Limits that were in force in every trial of a proposal; see the page about the optimizer."""
        held = [
            set(verdict.enforced_limits) for each in self._ranked for verdict in (each.passed.train, each.passed.test)
        ]
        every = set.intersection(*held) if held else set()
        return tuple(name for name in LIMIT_NAMES if name in every)

    @property
    def fences(self) -> tuple[str, ...]:
        """The old name of ``enforced_limits``, for one release."""
        warnings.warn("fences is an old name\nwrite: enforced_limits", DeprecationWarning, stacklevel=2)
        return self.enforced_limits

    def conversation(self, range_: int = 1) -> list[Message]:
        """Return the messages of a training range, counted from 1: the last request, with the answer."""
        known = [str(each) for each in self.train]
        if not 1 <= range_ <= len(known) or known[range_ - 1] not in self._conversations:
            raise UnknownName("conversation", str(range_), known=[str(at) for at in range(1, len(known) + 1)])
        return list(self._conversations[known[range_ - 1]])

    @property
    def summary(self) -> str:
        """Counts of proposals, answers and looks, in one sentence."""
        refused = sum(attempt.status == "refused" for attempt in self.attempts)
        failed = sum(attempt.status == "failed" for attempt in self.attempts)
        looks = len(self) + self.earlier_looks
        return (
            f"{len(self)} proposal{'' if len(self) == 1 else 's'} from {len(self.attempts)} answers "
            f"({refused} refused, {failed} failed when tried out); the test range was looked at {looks} "
            f"time{'' if looks == 1 else 's'} in all."
        )

    def __repr__(self) -> str:
        lines = [f"proposals of {self.optimizer!r} for {self.symbol}, model {self.model}: {self.summary}"]
        lines += [f"  {each.rank}. {each.name}: {each.title}\n     {each.numbers}" for each in self._ranked]
        if self.problem:
            lines.append(f"  ended early: {self.problem.splitlines()[0]}")
        return "\n".join(lines)

    def _repr_html_(self) -> Html:
        from ..reports.proposals_report import panel_html

        return panel_html(self)


def _total_return(result: Result | None) -> float | None:
    return None if result is None else result.account["total_return"]


def _figure(result: Result | None, name: str) -> Any:
    return None if result is None else result.stats[name]
