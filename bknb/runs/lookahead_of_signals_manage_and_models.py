"""The look-ahead check of a whole strategy: its signals, then ``manage``, then the models it uses, in one report."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from ..domain.interval import MINUTE_MS
from ..domain.weight_answers import sides_of_weights
from ..market.fetch_loop import fetch_now
from ..research.answers_compared_as_trades import MANAGED, MODEL, ORDERS, Answer
from ..research.entry_accuracy import Accuracy, measure
from ..research.lookahead_report import Finding, LookaheadReport, accuracy_findings, sort_findings
from ..research.moments_asked_again import choose
from .lookahead_experiments import Experiments
from .moments_of_lookahead_check import MOST_SCANNED, scanned_moments
from .strategy_asked_in_other_worlds import AskedStrategy

if TYPE_CHECKING:
    from ..engine.plan import Plan
    from ..research.check_threads import Check

_FITS: Final = 8  # moments at which a model is fitted again and again


def report_of(plan: Plan, check: Check, *, moments: int, seed: int) -> LookaheadReport:
    """Run all experiments with the strategy of a plan, at so many moments, and return their findings."""
    unseen: list[str] = []
    told: list[str] = []
    asked = AskedStrategy(plan, check, unseen)
    if plan.longer_bases:
        from ..engine.base_that_covers import over_bars_that_cover  # a table has bars of one length

        before = plan.base
        (plan,) = asyncio.run(over_bars_that_cover([plan], asked.window))
        if plan.base != before:
            asked = AskedStrategy(plan, check, unseen)
            told = [plan.notes[-1]]
    experiments = Experiments(asked, unseen, count=moments, seed=seed)
    experiments.remarks.extend(told)
    fetch_now(asked.window.load_run(plan.symbol, plan.frame.start))
    scanned, row_signals = scanned_moments(asked, moments)
    answers = {when: asked.ask(when) for when in scanned}
    live = [at for at, when in enumerate(scanned) if answers[when][0] in ORDERS]
    last = max(2, len(scanned) - 1)
    chosen = [scanned[at] for at in choose(live, 0, last, count=moments, seed=seed)]
    errors = sum(answer[0] == "error" for answer in answers.values())
    first_error, raised = asked.failure, errors == len(answers)
    findings: list[Finding] = []
    accuracy: Accuracy | None = None
    managed = _Managed([])
    if not raised:
        findings = experiments.findings(chosen, answers)
        accuracy = _accuracy(asked, answers, seed)
        if not any(finding.kind == "accuracy" for finding in findings):
            findings += accuracy_findings(accuracy)
        if asked.strategy.manages:
            managed = _manage(asked, experiments)
            findings += managed.findings
        findings += [one for name in sorted(asked.fitted) for one in _fits_of(name, asked, experiments)]
    return LookaheadReport(
        strategy=asked.strategy.name,
        symbol=plan.symbol,
        interval=asked.strategy.interval,
        asked_at="" if asked.strategy.at is None else str(asked.strategy.at),
        moments=len(chosen),
        signals=max(sum(answers[when][0] in ORDERS for when in chosen), row_signals),
        looks_back=asked.window.looked,
        findings=sort_findings(findings),
        failure=first_error if raised else "",
        asked=len(answers),
        raised=errors,
        first_error=first_error if errors else "",
        rows_chosen=experiments.rows_chosen,
        rows_compared=experiments.rows_compared,
        looked_at=tuple(experiments.looked_at),
        unseen=tuple(dict.fromkeys(unseen)),
        remarks=(*experiments.remarks, *_prices_compared_with_constants(asked)),
        accuracy=accuracy,
        managed=managed.moments,
        managed_answers=managed.answers,
    )


class _Managed(NamedTuple):
    """What was found in ``manage``, at how many moments it was looked at, and at how many of these it answered."""

    findings: list[Finding]
    moments: int = 0
    answers: int = 0


def _manage(asked: AskedStrategy, experiments: Experiments) -> _Managed:
    """The experiments with ``manage``, at moments at which a run over the frame asks it."""
    held = asked.held_positions()
    scanned = sorted(held)[:: max(1, -(-len(held) // MOST_SCANNED))]
    if not scanned:
        text = "manage: nothing was open in a run over this frame, so it was never asked; try a longer one"
        experiments.unseen.append(text)
        return _Managed([])
    with asked.asking_manage(held):
        answers = {when: asked.ask(when) for when in scanned}
        live = [at for at, when in enumerate(scanned) if answers[when][0] == MANAGED]
        places = choose(live, 0, len(scanned), count=experiments.count, seed=experiments.seed)
        chosen = [scanned[at] for at in places]
        raised = sum(answer[0] == "error" for answer in answers.values())
        if raised == len(answers):
            text = f"manage: it raised at every moment, so nothing could be compared: {asked.failure}"
            experiments.unseen.append(text)
            return _Managed([])
        if raised:
            text = f"manage raised at {raised:,} of {len(answers):,} moments, first {asked.failure}"
            experiments.remarks.append(text)
        count = sum(answers[when][0] == MANAGED for when in chosen)
        return _Managed(_prefixed("manage", experiments.findings(chosen, answers)), len(chosen), count)


def _fits_of(name: str, asked: AskedStrategy, experiments: Experiments) -> list[Finding]:
    """The experiments with a model that the strategy uses, at moments of its schedule."""
    moments = sorted(asked.fitted[name])
    with asked.fitting(name):
        answers = {when: asked.ask(when) for when in moments[:: -(-len(moments) // _FITS)]}
        compared = [when for when, answer in answers.items() if answer[0] == MODEL]
        experiments.looked_at.append(f"the model {name}, fitted at {len(compared)} of {len(moments)} moments")
        if not compared:
            text = f"the model {name}: no fit could be compared; {asked.failure or 'data lacked'}"
            experiments.unseen.append(text)
            return []
        return _prefixed(f"the model {name}", experiments.findings(compared, answers))


def _prefixed(name: str, findings: list[Finding]) -> list[Finding]:
    return [dataclasses.replace(one, what=f"{name}: {one.what}") for one in findings]


def _accuracy(asked: AskedStrategy, answers: Mapping[int, Answer], seed: int) -> Accuracy:
    """How often entries were right, against rules that know the past alone."""
    entries = [
        (when, 1 if answer[0] == "long" else -1, answer[3])
        for when, answer in sorted(answers.items())
        if answer[0] in ("long", "short") and answer[4] is None and answer[3] is not None
    ]
    if asked.strategy.weights is not None:  # each is held for a slot, or longer
        minutes = asked.slot // MINUTE_MS
        entries = [(when, side, minutes) for when, side in sides_of_weights(asked.weights).items()]
    return measure(
        [(when, side) for when, side, _ in entries],
        asked.window.minutes(asked.plan.symbol).candles,
        slot=asked.slot,
        step=asked.window.base_ms,
        lifetimes=[int(minutes) for _, _, minutes in entries],
        seed=seed,
    )


def _prices_compared_with_constants(asked: AskedStrategy) -> list[str]:
    """Remarks that prices are compared with a number, where later splits and dividends have scaled them."""
    describe = getattr(asked.plan.exchange.source, "describe", None)
    made = describe(asked.plan.symbol) if callable(describe) else ""
    if "the oldest prices are" not in made:
        return []  # nothing was adjusted
    from ..provenance.source_text import text_of_code
    from ..research.price_constants import compared_with_constants

    remarks: list[str] = []
    for function in (asked.strategy.get_signal, asked.strategy.get_signals, asked.strategy.manage):
        inner = inspect.unwrap(function) if function is not None else None
        if (code := getattr(inner, "__code__", None)) is None:
            continue
        text, known = text_of_code(code, inspect.getmodule(code)), getattr(inner, "__globals__", {})
        remarks += [
            f"line {line} of {code.co_name} compares a price with a number, {comparison}; the prices are"
            f"{made.removeprefix(',')}: what came later has scaled them, and others were seen then"
            for line, comparison in compared_with_constants(text, known)
        ]
    return remarks
