"""Tables as Markdown and as HTML, for every report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.formatting import day_text, exit_text, minute_text, percent_text, points_text, price_text
from ..domain.html import Child, Html, element, elements, fragment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Child",
    "Html",
    "cell",
    "day_text",
    "element",
    "elements",
    "exit_text",
    "figures",
    "figures_report",
    "fragment",
    "html_figures",
    "html_table",
    "markdown_table",
    "minute_text",
    "percent_text",
    "points_text",
    "price_text",
    "text_figures",
]


def cell(text: str) -> str:
    r"""Text that cannot end a table cell, start a tag or break a line.

    Examples
    --------
    >>> cell("one <b>\n two")
    'one &lt;b> two'
    """
    flat = " ".join(text.split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table as lines.

    Examples
    --------
    >>> markdown_table(["a", "b"], [["1", "2"]])
    ['| a | b |', '| --- | --- |', '| 1 | 2 |']
    """
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join(' --- ' for _ in columns)}|"]
    lines += [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    return lines


def figures(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Figures, one to a line, as Markdown.

    Examples
    --------
    >>> figures([("Trades", "12")])
    ['- **Trades:** 12']
    """
    return [f"- **{cell(label)}:** {cell(text)}" for label, text in pairs]


def figures_report(
    title: str, pairs: Iterable[tuple[str, str]], table: Sequence[str], after: Sequence[str], *, empty: str
) -> str:
    """A Markdown report: title, figures, a table and what follows it; one sentence where there is no table.

    Examples
    --------
    >>> figures_report("Waits", [], [], ["In minutes."], empty="Nothing waited.").splitlines()
    ['# Waits', '', 'Nothing waited.']
    """
    body = [*figures(pairs), "", *table, "", *after] if table else [empty]
    return "\n".join([f"# {cell(title)}", "", *body]) + "\n"


def text_figures(title: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A title and figures for a terminal, one to a line.

    Examples
    --------
    >>> print(text_figures("a run", [("Trades", "12")]))
    a run
      Trades: 12
    """
    return "\n".join([title, *(f"  {label}: {text}" for label, text in pairs)])


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Html:
    """An HTML table without scripts; the first ``left`` columns are text, the others numbers: right-aligned, whole.

    Examples
    --------
    >>> html_table(["a"], [["<b>"]]).count("&lt;b&gt;")
    1
    """
    text, figure = "text-align:left", "text-align:right;white-space:nowrap"
    styles = [text if at < left else figure for at in range(len(columns))]
    sides = [f"text-align:{'left' if at < left else 'right'}" for at in range(len(columns))]

    head = (element("th", name, scope="col", style=side) for name, side in zip(columns, sides, strict=True))
    body = (
        element("tr", *(element("td", one, style=style) for one, style in zip(row, styles, strict=True)))
        for row in rows
    )
    return element("table", element("thead", element("tr", *head)), element("tbody", *body), style="font-size:92%")


def html_figures(title: str, pairs: Iterable[tuple[str, str]]) -> Html:
    """A title and figures as HTML."""
    left = "text-align:left"
    rows = (
        element("tr", element("th", label, scope="row", style=left), element("td", text, style=left))
        for label, text in pairs
    )
    table = element("table", element("tbody", *rows), style="font-size:92%")
    return fragment(element("p", element("b", title)), table)
