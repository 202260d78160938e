"""What an optimizer proposed, as a panel: ranking, reasons, tokens, conversation. Plain HTML, readable when saved."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from ..errors import UnknownName

_CELL: Final = "padding:3px 10px 3px 0;text-align:left;vertical-align:top"
_NUMBER: Final = "padding:3px 10px 3px 0;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
_PRE: Final = (
    "margin:4px 0;padding:8px;white-space:pre-wrap;overflow-wrap:anywhere;max-height:22em;overflow:auto;"
    "background:rgba(128,128,128,0.10);border-radius:4px;font-size:85%"
)
_FAINT: Final = "opacity:0.75;font-size:90%"
_LONGEST: Final = 6_000  # characters of one message on screen


def _percent(value: Any) -> str:
    if value is None:
        return "—"
    mark = "▲" if value > 0 else "▼" if value < 0 else ""
    return f"{mark} {value:+.2f} %".strip()


def _ratio(value: Any) -> str:
    return "—" if value is None else f"{value:.2f}"


def _chance(value: Any) -> str:
    return "—" if value is None else f"{100 * value:.0f} %"


def _stat(result: Any, name: str) -> Any:
    return None if result is None else result.stats[name]


_HEADS: Final = (
    ("", "place on the test range"),
    ("strategy", "name of the strategy and the idea in the model's words"),
    ("every", "how often it is asked"),
    ("train trades", "trades on its training range"),
    ("train total", "sum of the results on its training range, after fees and slippage"),
    ("test trades", "trades on the test range"),
    ("test total", "sum of the results on the test range, after fees and slippage"),
    ("test Sharpe", "mean over standard deviation of the trades on the test range; from ten trades on"),
    ("deflated", "chance that the true Sharpe ratio beats what the best of as many worthless tries would show"),
    ("luck", "chance that the best of as many worthless strategies looks at least this good"),
)


def ranking_html(proposals: Any) -> str:
    """The ranking as a table."""
    head = "".join(
        f'<th scope="col" style="{_CELL if at < 3 else _NUMBER}" title="{escape(why)}">{escape(name)}</th>'
        for at, (name, why) in enumerate(_HEADS)
    )
    rows = []
    for each in proposals:
        cells = [
            (str(each.rank), _CELL),
            (f"<b>{escape(each.name)}</b><br>{escape(each.title)}", _CELL),
            (escape(each.interval), _CELL),
            (f"{_stat(each.train, 'n') or 0:,}", _NUMBER),
            (_percent(_stat(each.train, "total_pnl")), _NUMBER),
            (f"{_stat(each.test, 'n') or 0:,}", _NUMBER),
            (_percent(_stat(each.test, "total_pnl")), _NUMBER),
            (_ratio(_stat(each.test, "sharpe_ratio")), _NUMBER),
            (_chance(each.luck.deflated), _NUMBER),
            (_chance(each.luck.p_value), _NUMBER),
        ]
        rows.append("<tr>" + "".join(f'<td style="{style}">{text}</td>' for text, style in cells) + "</tr>")
    if not rows:
        rows = [f'<tr><td colspan="{len(_HEADS)}" style="{_CELL}">nothing passed the checks</td></tr>']
    return (
        f'<table style="border-collapse:collapse"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    )


def _details(title: str, inside: str) -> str:
    return f'<details style="margin:4px 0"><summary style="cursor:pointer">{escape(title)}</summary>{inside}</details>'


def _proposal(each: Any) -> str:
    text = f'<p style="margin:4px 0">{escape(each.rationale)}</p><p style="{_FAINT}">{escape(each.verdict)}</p>'
    return _details(
        f"{each.rank}. {each.name}: why, and its code", f'{text}<pre style="{_PRE}">{escape(each.code)}</pre>'
    )


def _attempts(attempts: Sequence[Any]) -> str:
    rows = []
    for attempt in attempts:
        reasons = "<br>".join(escape(objection) for objection in attempt.objections) or "—"
        name = f'<span style="white-space:nowrap">{escape(attempt.draft)}</span>'
        cells = (str(attempt.number), name, str(attempt.try_), escape(attempt.status), reasons)
        rows.append("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>")
    heads = "".join(f'<th scope="col" style="{_CELL}">{name}</th>' for name in ("", "for", "try", "became", "reasons"))
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _shown(shown: Sequence[Any]) -> str:
    rows = []
    for each in shown:
        left_out = "" if each.shown == each.rows else f" of {each.rows:,}"
        rows.append(
            f'<tr><td style="{_CELL}">{escape(each.source)}</td>'
            f'<td style="{_NUMBER}">{each.shown:,}{left_out} rows</td>'
            f'<td style="{_NUMBER}">{each.tokens:,} tokens</td></tr>'
        )
    return f"<table><tbody>{''.join(rows)}</tbody></table>"


def conversation_html(messages: Sequence[Any]) -> str:
    """A conversation, message by message; long ones are cut."""
    parts = []
    for message in messages:
        text = message["content"]
        cut = f"\n… {len(text) - _LONGEST:,} more characters" if len(text) > _LONGEST else ""
        thinking = message.get("thinking")
        before = _details("thinking", f'<pre style="{_PRE}">{escape(thinking[:_LONGEST])}</pre>') if thinking else ""
        parts.append(
            f"<div><b>{escape(message['role'])}</b>{before}"
            f'<pre style="{_PRE}">{escape(text[:_LONGEST])}{cut}</pre></div>'
        )
    return "".join(parts)


def _tokens(tokens: Any) -> str:
    counted = (
        f"conversations of up to {tokens['counted']:,} tokens (our count; budget {tokens['budget']:,} for the data)"
    )
    if tokens["read"] is None:
        return counted
    return f"{counted}, {tokens['read']:,} read and {tokens['written'] or 0:,} written by the model's count"


def panel_html(proposals: Any) -> str:
    """Everything about a study."""
    head = (
        f'<div style="margin-bottom:4px"><b>{escape(proposals.optimizer)}</b> for {escape(proposals.symbol)}, '
        f"model: {escape(proposals.model)}. {escape(proposals.summary)}</div>"
    )
    notes = (
        f'<div style="{_FAINT}">Test range {escape(str(proposals.test))}; {escape(_tokens(proposals.tokens))}.</div>'
    )
    if len(proposals):
        notes += f'<div style="{_FAINT}">Tried out behind limits of: {escape(", ".join(proposals.fences))}.</div>'
    problem = f'<div role="alert"><b>Ended early:</b> {escape(proposals.problem)}</div>' if proposals.problem else ""
    parts = [head, problem, ranking_html(proposals), notes, *(_proposal(each) for each in proposals)]
    parts.append(_details(f"all {len(proposals.attempts)} answers", _attempts(proposals.attempts)))
    for at, range_ in enumerate(proposals.train, 1):
        name = str(range_)
        if name not in proposals.shown:
            continue
        try:
            talk = conversation_html(proposals.conversation(at))
        except UnknownName:
            talk = ""
        parts.append(_details(f"conversation about {name}", _shown(proposals.shown[name]) + talk))
    return f'<div class="bknb-proposals">{"".join(parts)}</div>'
