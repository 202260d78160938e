"""The proposals of an optimizer as static HTML: ranking, reasons, tokens, conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ..domain.formatting import MISSING
from ..domain.least_samples import GATES
from ..errors import UnknownName
from ..metrics.why_figure_is_missing import explained_text
from .markup import Child, Html, element, elements, fragment

_CELL: Final = "padding:3px 10px 3px 0;text-align:left;vertical-align:top"
_NUMBER: Final = "padding:3px 10px 3px 0;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
_PRE: Final = (
    "margin:4px 0;padding:8px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:22em;overflow:auto;"
    "background:rgba(128,128,128,0.10);border-radius:4px;font-size:85%"
)
_FAINT: Final = "opacity:0.75;font-size:90%"
_LONGEST: Final = 6_000  # characters of one message on screen


_NO_RESULT: Final = f"{MISSING}: it failed there"


def _total(result: Any) -> str:
    if result is None:
        return _NO_RESULT
    text = str(result.account.text("total_return"))
    mark = {"+": "▲", "-": "▼"}.get(text[0], "")
    return f"{mark} {text}".strip()


def _sharpe(result: Any) -> str:
    return _NO_RESULT if result is None else explained_text("sharpe_ratio", result.stats)


def _chance(value: Any, luck: Any) -> str:
    if value is not None:
        return f"{100 * value:.0f} %"
    few = "no trade" if not luck.observations else f"fewer than {GATES.min_trades} trades"
    why = few if luck.observations < GATES.min_trades else luck.too_few or "all results are alike"
    return f"{MISSING}: {why}"


def _trades(result: Any) -> str:
    return f"{0 if result is None else result.stats['n']:,}"


_HEADS: Final = (
    ("", "place on the test range"),
    ("strategy", "name of the strategy and the idea in the model's words"),
    ("every", "how often it is asked"),
    ("train trades", "trades on its training range"),
    ("train total", "total return on its training range, compounded, after fees and slippage"),
    ("test trades", "trades on the test range"),
    ("test total", "total return on the test range, compounded, after fees and slippage"),
    ("test Sharpe", "mean over standard deviation of the trades on the test range; from ten trades on"),
    ("deflated", "chance that the true Sharpe ratio beats what the best of as many worthless tries would show"),
    ("luck", "chance that the best of as many worthless strategies looks at least this good"),
)


def ranking_html(proposals: Any) -> Html:
    """The ranking as a table."""
    head = (
        element("th", name, scope="col", style=_CELL if at < 3 else _NUMBER, title=why)
        for at, (name, why) in enumerate(_HEADS)
    )
    rows = []
    for each in proposals:
        words = [str(each.rank), fragment(element("b", each.name), element("br"), each.title), each.interval]
        numbers = [
            _trades(each.train),
            _total(each.train),
            _trades(each.test),
            _total(each.test),
            _sharpe(each.test),
            _chance(each.luck.deflated, each.luck),
            _chance(each.luck.p_value, each.luck),
        ]
        rows.append(element("tr", elements("td", words, style=_CELL), elements("td", numbers, style=_NUMBER)))
    if not rows:
        rows = [element("tr", element("td", "nothing passed the checks", colspan=len(_HEADS), style=_CELL))]
    return element(
        "table",
        element("thead", element("tr", *head)),
        element("tbody", *rows),
        style="border-collapse:collapse",
    )


def _details(title: str, *inside: Child) -> Html:
    return element("details", element("summary", title, style="cursor:pointer"), *inside, style="margin:4px 0")


def _proposal(each: Any) -> Html:
    return _details(
        f"{each.rank}. {each.name}: why, and its code",
        element("p", each.rationale, style="margin:4px 0"),
        element("p", each.verdict, style=_FAINT),
        element("pre", each.code, style=_PRE),
    )


def _lines(texts: Sequence[str]) -> Html:
    """Texts, each on a line of its own."""
    return fragment(*[piece for text in texts for piece in (element("br"), text)][1:])


def _attempts(attempts: Sequence[Any]) -> Html:
    rows = []
    for attempt in attempts:
        name = element("span", attempt.draft, style="white-space:nowrap")
        reasons = _lines(attempt.objections) or "none"
        cells = (str(attempt.number), name, str(attempt.try_), attempt.status, reasons)
        rows.append(element("tr", elements("td", cells, style=_CELL)))
    heads = elements("th", ("", "for", "try", "became", "reasons"), scope="col", style=_CELL)
    return element("table", element("thead", element("tr", heads)), element("tbody", *rows))


def _shown(shown: Sequence[Any]) -> Html:
    rows = []
    for each in shown:
        left_out = "" if each.shown == each.rows else f" of {each.rows:,}"
        counts = (f"{each.shown:,}{left_out} rows", f"{each.tokens:,} tokens")
        rows.append(element("tr", element("td", each.source, style=_CELL), elements("td", counts, style=_NUMBER)))
    return element("table", element("tbody", *rows))


def conversation_html(messages: Sequence[Any]) -> Html:
    """A conversation, message by message; long ones are cut."""
    parts = []
    for message in messages:
        text = message["content"]
        cut = f"\n… {len(text) - _LONGEST:,} more characters" if len(text) > _LONGEST else ""
        thinking = message.get("thinking")
        before = thinking and _details("thinking", element("pre", thinking[:_LONGEST], style=_PRE))
        content = element("pre", text[:_LONGEST], cut, style=_PRE)
        parts.append(element("div", element("b", message["role"]), before, content))
    return fragment(*parts)


def _tokens(tokens: Any) -> str:
    counted = (
        f"conversations of up to {tokens['counted']:,} tokens (our count; budget {tokens['budget']:,} for the data)"
    )
    if tokens["read"] is None:
        return counted
    return f"{counted}, {tokens['read']:,} read and {tokens['written'] or 0:,} written by the model's count"


def panel_html(proposals: Any) -> Html:
    """The whole panel of a study as HTML."""
    named = f" for {proposals.symbol}, model: {proposals.model}. {proposals.summary}"
    notes = [f"Test range {proposals.test}; {_tokens(proposals.tokens)}."]
    if len(proposals):
        notes.append(f"Tried out behind limits of: {', '.join(proposals.enforced_limits)}.")
    problem = proposals.problem
    parts: list[Child] = [
        element("div", element("b", proposals.optimizer), named, style="margin-bottom:4px"),
        problem and element("div", element("b", "Ended early:"), f" {problem}", role="alert"),
        ranking_html(proposals),
        elements("div", notes, style=_FAINT),
        *(_proposal(each) for each in proposals),
        _details(f"all {len(proposals.attempts)} answers", _attempts(proposals.attempts)),
    ]
    for at, range_ in enumerate(proposals.train, 1):
        name = str(range_)
        if name not in proposals.shown:
            continue
        try:
            talk = conversation_html(proposals.conversation(at))
        except UnknownName:
            talk = None
        parts.append(_details(f"conversation about {name}", _shown(proposals.shown[name]), talk))
    return element("div", *parts, class_="bknb-proposals")
