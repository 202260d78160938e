"""Proposals as notebook cells, as a notebook, and as one Python program."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from ..domain.formatting import exact_text
from ..sandbox.allowlist import MANAGE
from .drafts_verdicts_and_proposals import Proposal
from .prompt import Range, fill

TAG: Final = "bknb-generated"


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One notebook cell.

    Parameters
    ----------
    kind
        ``"code"`` or ``"markdown"``.
    source
        Its text.
    strategy
        The strategy it belongs to; empty for cells that all need.
    metadata
        Where it comes from.
    """

    kind: Literal["code", "markdown"]
    source: str
    strategy: str = ""
    metadata: dict[str, Any] = {}

    def as_notebook(self, number: int) -> dict[str, Any]:
        """Return the cell as Jupyter stores it (nbformat 4.5)."""
        cell: dict[str, Any] = {
            "cell_type": self.kind,
            "id": f"bknb-{number}",
            "metadata": {"tags": [TAG], "bknb": {"strategy": self.strategy, **self.metadata}},
            "source": self.source,
        }
        if self.kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        return cell


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """Names, ranges and summary that the cell templates use.

    Parameters
    ----------
    exchange_code
        The Python expression that makes the source of candles.
    tick
        The step of prices on the exchange (quote currency); ``None``: unknown.
    """

    optimizer: str
    symbol: str
    exchange: str
    exchange_code: str
    train: tuple[Range, ...]
    test: Range
    model: str
    summary: str
    tick: float | None = None

    @property
    def test_frame(self) -> str:
        """Name of the frame of the test range."""
        return f"{self.optimizer}-test"

    def train_frame(self, number: int) -> str:
        """Name of the frame of a training range, counted from 1."""
        return f"{self.optimizer}-train-{number}"


_SPECIAL: Final = re.compile(r"[\\`*_\[\]<>&$|#~!]|:(?=//)")


def harmless(text: str) -> str:
    """Return a model's words as inert Markdown: no links, pictures, HTML or formulas.

    Examples
    --------
    >>> harmless("see ![x](http://a.b/c) <b>now</b>")
    'see &#33;&#91;x&#93;(http&#58;//a.b/c) &#60;b&#62;now&#60;/b&#62;'
    """
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", text)


def quoted(text: str) -> str:
    """Return text as a Markdown quotation, made inert, line by line."""
    return "\n".join(f"> {harmless(line)}".rstrip() for line in text.splitlines())


def _text(value: str) -> str:
    """Return a text as a Python literal."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'


# --- templates ----------------------------------------------------------------------------------------------------


def title_cell(*, setting: Setting) -> str:
    """Return the title of the notebook."""
    return (
        f"# Proposals of {harmless(setting.optimizer)} for {harmless(setting.symbol)}\n\n"
        f"Written by {harmless(setting.model)} from the data of {len(setting.train)} training ranges, checked and "
        f"tried out by bknb. {harmless(setting.summary)}\n\n"
        "The texts in quotation marks are the model's own. The numbers are those of a backtest; run the cells to see "
        "them again."
    )


def setup_cell(*, setting: Setting) -> str:  # noqa: ARG001 -- one template may need it
    """Return the import of bknb and its extension."""
    return "import bknb\n\n%load_ext bknb"


def exchange_cell(*, setting: Setting) -> str:
    """Return the registration of the exchange."""
    tick = "" if setting.tick is None else f", tick={setting.tick!r}"
    return f"bknb.add_exchange({_text(setting.exchange)}, get_candles={setting.exchange_code}{tick});"


def frames_cell(*, setting: Setting) -> str:
    """Return the registrations of the training and test ranges as frames."""
    lines = [
        f"bknb.add_frame({_text(setting.train_frame(at))}, start={_text(exact_text(each.start))}, "
        f"end={_text(exact_text(each.end))})"
        for at, each in enumerate(setting.train, 1)
    ]
    test = setting.test
    start, end = _text(exact_text(test.start)), _text(exact_text(test.end))
    lines.append(f"bknb.add_frame({_text(setting.test_frame)}, start={start}, end={end});")
    return "\n".join(lines)


def about_cell(*, setting: Setting, proposal: Proposal, numbers: str) -> str:  # noqa: ARG001
    """Return title, rationale, figures and parameters of a proposal as Markdown."""
    draft = proposal.draft
    lines = [f"## {harmless(draft.name)}: {harmless(draft.title)}", "", quoted(draft.rationale), "", numbers, ""]
    if draft.parameters:
        lines += ["| parameter | value | meaning |", "|---|---|---|"]
        lines += [
            f"| {harmless(each.name)} | {each.value:g} | {harmless(' '.join(each.meaning.split()))} |"
            for each in draft.parameters
        ]
    return "\n".join(lines).rstrip() + f"\n\nMade from the data of {harmless(str(proposal.range))}."


def strategy_cell(*, setting: Setting, proposal: Proposal) -> str:  # noqa: ARG001 -- one template may need it
    """Return the ``%%strategy`` cell of a proposal."""
    draft = proposal.draft
    return f"%%strategy {draft.name} --interval {draft.interval}\n{draft.code}"


def backtest_cell(*, setting: Setting, proposal: Proposal) -> str:
    """Return the ``%backtest`` of a strategy on the test range."""
    return (
        f"%backtest {setting.symbol} --strategy {proposal.draft.name} --exchange {setting.exchange} "
        f"--frame {setting.test_frame}"
    )


def walker_cell(*, setting: Setting, strategies: Sequence[str]) -> str:
    """Return a walker over all strategies on the test range."""
    names = ", ".join(_text(name) for name in strategies)
    walker = _text(f"{setting.optimizer}-walker")
    return (
        f"bknb.add_walker(\n    {walker},\n    exchange={_text(setting.exchange)},\n"
        f"    frame={_text(setting.test_frame)},\n    strategies=[{names}],\n)\n"
        f"bknb.walker({_text(setting.symbol)}, walker={walker})"
    )


DEFAULT: Final[Mapping[str, Callable[..., str]]] = {
    "title_cell": title_cell,
    "setup_cell": setup_cell,
    "exchange_cell": exchange_cell,
    "frames_cell": frames_cell,
    "about_cell": about_cell,
    "strategy_cell": strategy_cell,
    "backtest_cell": backtest_cell,
    "walker_cell": walker_cell,
}
"""The templates of the cells; each is called with the keywords its default takes."""


# --- put together -------------------------------------------------------------------------------------------------


def for_insertion(
    setting: Setting,
    ranked: Sequence[tuple[Proposal, str, dict[str, Any]]],
    templates: Mapping[str, Callable[..., str]],
    *,
    backtests: bool = True,
) -> list[Cell]:
    """Return the cells for the user's own notebook: text, strategy and backtest of each proposal.

    Parameters
    ----------
    ranked
        Proposals in order, each with its numbers as a sentence and with where it comes from.
    backtests
        Whether each strategy is followed by its backtest on the test range.
    """
    made = []
    for proposal, numbers, origin in ranked:
        name = proposal.draft.name
        about = fill(templates, "about_cell", setting=setting, proposal=proposal, numbers=numbers)
        made.append(Cell(kind="markdown", source=about, strategy=name, metadata=origin))
        code = fill(templates, "strategy_cell", setting=setting, proposal=proposal)
        made.append(Cell(kind="code", source=code, strategy=name, metadata=origin))
        if not backtests:
            continue
        test = fill(templates, "backtest_cell", setting=setting, proposal=proposal)
        made.append(Cell(kind="code", source=test, strategy=name, metadata=origin))
    return made


def for_notebook(
    setting: Setting,
    ranked: Sequence[tuple[Proposal, str, dict[str, Any]]],
    templates: Mapping[str, Callable[..., str]],
) -> list[Cell]:
    """Return the cells of a separate notebook, which runs from top to bottom."""
    cells = [Cell(kind="markdown", source=fill(templates, "title_cell", setting=setting))]
    first = ("setup_cell", "exchange_cell", "frames_cell")
    cells += [Cell(kind="code", source=fill(templates, name, setting=setting)) for name in first]
    cells += for_insertion(setting, ranked, templates, backtests=False)
    if ranked:
        names = [proposal.draft.name for proposal, _, _ in ranked]
        cells.append(Cell(kind="markdown", source="## Side by side on the test range"))
        cells.append(Cell(kind="code", source=fill(templates, "walker_cell", setting=setting, strategies=names)))
    return cells


def notebook(cells: Sequence[Cell], *, provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return a notebook as Jupyter stores it, with its provenance in the metadata."""
    return {
        "cells": [cell.as_notebook(number) for number, cell in enumerate(cells, 1)],
        "metadata": {
            "bknb": dict(provenance),
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


_MAGIC: Final = re.compile(r"%%strategy (\S+) --interval (\S+)\n(.*)", re.DOTALL)


def program(cells: Sequence[Cell]) -> str:
    """Return the cells as one Python program in the ``# %%`` cell format."""
    parts = []
    for cell in cells:
        if cell.kind == "markdown":
            words = "\n".join(f"# {line}".rstrip() for line in cell.source.splitlines())
            parts.append(f"# %% [markdown]\n{words}")
            continue
        magic = _MAGIC.fullmatch(cell.source)
        if magic:
            name, interval, code = magic.groups()
            given = "get_signal=get_signal" + "".join(
                f", manage={function}" for function in MANAGE if f"\ndef {function}(" in f"\n{code}"
            )
            source = f"{code}\n\n\nbknb.add_strategy({_text(name)}, interval={_text(interval)}, {given})"
        else:
            source = "\n".join(line for line in cell.source.splitlines() if not line.startswith("%"))
        parts.append(f"# %%\n{source.rstrip().removesuffix(';')}")
    return "\n\n".join(parts) + "\n"
