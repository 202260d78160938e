"""HTML that escapes by default: elements made from text, attributes and other elements."""

from __future__ import annotations

from html import escape
from numbers import Number
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Child: TypeAlias = str | float | bool | None
"""What an element may hold: text, :class:`Html`, a number, or nothing (None, True and False leave no trace)."""
Value: TypeAlias = str | float | bool | None
"""What an attribute may be."""

_WITHOUT_END: Final = frozenset({"br", "hr", "img"})


class Html(str):
    """Text that is HTML already, so that :func:`element` takes it as it is.

    Only what the program itself wrote may be made one: ``Html("&#9888; ")``, never ``Html(note)``.

    Examples
    --------
    >>> fragment("a < b, ", Html("<b>bold</b>"))
    'a &lt; b, <b>bold</b>'
    """

    __slots__ = ()


def fragment(*children: Child) -> Html:
    """Children one after the other as HTML; a plain str is escaped, a number is written as ``str`` gives it.

    Examples
    --------
    >>> fragment("R&D ", element("b", "<new>"), None)
    'R&amp;D <b>&lt;new&gt;</b>'
    >>> fragment("trades: ", 12)
    'trades: 12'
    """
    return Html("".join(_child(child) for child in children))


def element(tag: str, /, *children: Child, **attributes: Value) -> Html:
    """An HTML element with its children; a plain str among them is escaped, and so is the value of an attribute.

    Parameters
    ----------
    tag : str
        Name of the element.
    *children : str, Html, int, float, bool or None
        What stands inside, in order. None, True and False vanish, so ``note and element("p", note)`` is a child.
    **attributes : str, int, float, bool or None
        Attributes in order; ``class_`` is ``class`` and ``aria_label`` is ``aria-label``. True leaves the bare name,
        None and False leave nothing.

    Examples
    --------
    >>> element("td", "a < b", style="color:red", title='"quoted"')
    '<td style="color:red" title="&quot;quoted&quot;">a &lt; b</td>'
    >>> element("details", element("summary", "more"), "text", open=True, class_="bknb", data_x=None)
    '<details open class="bknb"><summary>more</summary>text</details>'
    >>> element("p", "one", element("br"), "two")
    '<p>one<br>two</p>'
    """
    start = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    return Html(start if tag in _WITHOUT_END else f"{start}{fragment(*children)}</{tag}>")


def elements(tag: str, texts: Iterable[str], /, **attributes: Value) -> Html:
    """One element for each text, all with the same attributes, such as the cells of a row.

    Examples
    --------
    >>> elements("li", ["a", "b"])
    '<li>a</li><li>b</li>'
    """
    return fragment(*(element(tag, text, **attributes) for text in texts))


def _child(child: Child) -> str:
    if isinstance(child, Html):
        return child
    return escape(str(child)) if isinstance(child, (str, Number)) and not isinstance(child, bool) else ""


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
