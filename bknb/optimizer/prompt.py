"""Prompts of an optimizer, from templates that can be replaced one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ..domain.formatting import utc_text
from ..errors import UnknownName, UsageError
from ..llm.structured import Objection
from ..llm.tables import Row, Table, count_tokens, render
from ..sandbox.allowlist import CONTEXT, MODULES
from .shown_data_pages import Source

Message = dict[str, str]
Template = Callable[..., str]


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """A range of time, UTC ms at both ends, with a note."""

    start: int
    end: int
    note: str = ""

    def __str__(self) -> str:
        span = f"{utc_text(self.start)} to {utc_text(self.end)}"
        return f"{self.note} ({span})" if self.note else span


_ALLOWED: Final = ", ".join(name for name in MODULES if "." not in name and not name.startswith("_"))

_SYSTEM: Final = f"""You develop trading strategies for {{symbol}} and write them as Python for the package bknb.
You are shown market data of a past stretch of time. Find what was going on in it, then write one rule that could hold
on other days too. It will be run on days you have not seen, with fees and slippage of about 0.4 % per round trip.

Your answer is one JSON object with these fields and nothing around it:
- title: a few words.
- rationale: what you saw in the data and why the rule should go on working. Plain sentences, no Markdown.
- interval: how often the rule is asked, one of {{intervals}}.
- parameters: the numbers of the rule, each with name, value and meaning. Each is also a constant of that name and value
  at the top of the code.
- code: Python that defines get_signal(ctx), and manage(ctx, position) where positions are managed.

Rules for the code:
- def get_signal(ctx): it returns None (wait), or bknb.Signal(position="long" or "short", price_take_profit=...,
  price_stop_loss=..., minute_estimated_time=...). With price_open=... the position waits for that price.
- A stop is needed, and something that ends a position that goes well: price_take_profit (one price, or a ladder
  [(price, share), ...] whose shares are parts of the first size), minute_estimated_time,
  trailing=bknb.Trailing(percent=..., after=...), or a function manage. Beside one of these,
  breakeven=bknb.Breakeven(after=...) moves the stop to the entry.
- def manage(ctx, position), if the rule needs it, is asked like get_signal while a position is open. It returns None,
  or one or a list of bknb.Close(), bknb.Reduce(share), bknb.Add(share), bknb.Move(price_stop_loss=...), bknb.Cancel().
  position has side, sign, minutes, bars, average_price, price, percent (net result now), best_percent, worst_percent,
  size (1 at first), price_stop_loss, targets, fills.
- ctx offers {", ".join(sorted(CONTEXT))}.
  ctx.candles(interval, limit) gives the newest closed candles, with numpy arrays .open .high .low .close .volume
  .timestamp, oldest first. ctx.price is the price now. Only closed candles of {{symbol}} can be seen.
- long: price_take_profit > price > price_stop_loss. short: the other way round. The take profit is at least
  {{min_take_profit}} % away, the stop loss between {{min_stop_loss}} % and {{max_stop_loss}} %.
  minute_estimated_time is a whole number of minutes, at most {{max_minutes}}.
- Ask for no more than {{most_days}} days of candles.
- Allowed modules: {_ALLOWED}. Only imports, constants and functions stand outside functions.
- No classes, no files, no network, no randomness, no clock, no dates, no memory between two calls.
- A strategy that never opens a position is worth nothing; so is one that trades all the time."""


def system(*, symbol: str, facts: Mapping[str, Any]) -> str:
    """Return the system message: the model's role and the rules of an answer."""
    return _SYSTEM.format(symbol=symbol, **facts)


def user(*, symbol: str, source: Source, rows: Sequence[Row], table: Table, range: Range) -> str:  # noqa: A002, ARG001
    """Return the user message that shows one source."""
    about = f" {source.note}" if source.note else ""
    return f"{source.name} of {symbol}, {range}.{about} Read it and answer with one word.\n\n{table.text}"


def assistant(*, symbol: str, source: Source, rows: Sequence[Row]) -> str:  # noqa: ARG001
    """Return the assistant message after a source."""
    return f"Read: {len(rows)} rows of {source.name}."


def request(*, symbol: str, range: Range, number: int, proposed: Sequence[str]) -> str:  # noqa: A002
    """Return the final request for a strategy."""
    text = (
        f"Now propose one strategy for {symbol}. Say in the rationale what the data of {range} show: where support and "
        "resistance lie, in which conditions one should buy or sell, how far target and stop belong, which side is "
        "preferable and why. Then write the rule as code."
    )
    if proposed:
        text += f"\nIt must differ in idea from those already proposed: {'; '.join(proposed[-8:])}."
    elif number > 1:
        text += "\nTake another idea than the first that comes to mind."
    return text


def refusal(*, objections: Sequence[Objection], left: int) -> str:
    """Return the message that says why a reply was refused."""
    reasons = "\n".join(f"- {objection}" for objection in objections[:12])
    more = f"\n({len(objections) - 12} further reasons are left out.)" if len(objections) > 12 else ""
    tries = "This is the last try." if left <= 1 else f"{left} tries are left."
    return f"This cannot be taken:\n{reasons}{more}\nSend the whole JSON object again, corrected. {tries}"


DEFAULT: Final[Mapping[str, Template]] = {
    "system": system,
    "user": user,
    "assistant": assistant,
    "request": request,
    "refusal": refusal,
}
"""The templates of the conversation; each is called with the keywords its default takes."""


def chosen(templates: Mapping[str, Template] | None, known: Mapping[str, Template]) -> dict[str, Template]:
    """Return the default templates with some replaced.

    Raises
    ------
    UnknownName
        For a template that does not exist.
    """
    made = dict(known)
    for name, function in (templates or {}).items():
        if name not in known:
            raise UnknownName("template", name, known=known)
        if not callable(function):
            raise UsageError(f"template {name!r} must be a function that returns text, got {function!r:.80}")
        made[name] = function
    return made


def fill(templates: Mapping[str, Template], name: str, **values: Any) -> str:
    """Return the text of one template.

    Raises
    ------
    UsageError
        When a replaced template fails or returns something else.
    """
    try:
        text: Any = templates[name](**values)
    except Exception as error:
        raise UsageError(
            f"the template {name!r} failed: {type(error).__name__}: {error}\n"
            f"it is called with the keywords {', '.join(values)}"
        ) from error
    if not isinstance(text, str):
        raise UsageError(f"the template {name!r} must return text, got {type(text).__name__}")
    return text


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a source was shown, and its cost in tokens."""

    source: str
    rows: int
    shown: int
    tokens: int


def pair(
    templates: Mapping[str, Template],
    source: Source,
    rows: Sequence[Row],
    *,
    symbol: str,
    range: Range,  # noqa: A002 -- the word traders use
    budget: int,
) -> tuple[list[Message], Shown]:
    """Return a source as a user message and the assistant's answer to it, within a budget of tokens.

    A text of the user's own making that is too long is cut at its beginning, where the oldest rows are.
    """
    table = render(rows, legend=source.legend, budget=budget)
    if source.user is not None:
        content = _own(source.user, symbol, rows, source.name)
    else:
        content = fill(templates, "user", symbol=symbol, source=source, rows=rows, table=table, range=range)
    if source.assistant is not None:
        answered = _own(source.assistant, symbol, rows, source.name)
    else:
        answered = fill(templates, "assistant", symbol=symbol, source=source, rows=rows)
    content = cut(content, budget + 200)
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": answered}]
    tokens = count_tokens(content) + count_tokens(answered)
    return messages, Shown(source=source.name, rows=len(rows), shown=table.shown, tokens=tokens)


def _own(function: Callable[..., str], symbol: str, rows: Sequence[Row], name: str) -> str:
    try:
        text: Any = function(symbol, rows, name)
    except Exception as error:
        raise UsageError(f"the text function of source {name!r} failed: {type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise UsageError(f"the text function of source {name!r} must return text, got {type(text).__name__}")
    return text


def cut(text: str, budget: int) -> str:
    r"""Return a text within a budget of tokens: its first line, and as many of its last lines as fit.

    Examples
    --------
    >>> cut("head\na b c\nd e f", 5)
    'head\n(cut to stay within the token budget)\nd e f'
    """
    if count_tokens(text) <= budget:
        return text
    head, *lines = text.splitlines()
    newest: list[str] = []
    left = budget - count_tokens(head)
    for line in reversed(lines):
        left -= count_tokens(line) + 1
        if left < 0:
            break
        newest.append(line)
    return "\n".join([head[: budget * 4], "(cut to stay within the token budget)", *reversed(newest)])
