"""Parts that panels in a notebook are made of, as HTML without a script or a style sheet."""

from __future__ import annotations

from typing import Final

from ..domain.formatting import MISSING
from .markup import Html, element, fragment

MUTE: Final = "opacity:0.75;font-size:90%"
"""The style of what is said beside a title or below a figure."""


def big_figure(label: str, text: str, below: str) -> Html:
    """A big figure; one that is not available says why in small letters."""
    if text.startswith(MISSING):
        text, below = MISSING, text.removeprefix(MISSING).lstrip(": ")
    if below.count(MISSING):
        below = below.partition(f" {MISSING}")[0] + f" {MISSING}"
    return element(
        "div",
        element("div", label, style=MUTE),
        element("div", text, style="font-size:140%;font-weight:600;font-variant-numeric:tabular-nums"),
        element("div", below, style=MUTE),
    )


def titled(text: str, *beside: Html | str) -> Html:
    """A title with what is said beside it."""
    rest = (element("span", each, style=f"{MUTE};margin-left:12px;white-space:nowrap") for each in beside)
    return element("div", element("b", text), *rest, style="margin-top:8px")


def key_of_line(colour: str, text: str) -> Html:
    """The colour of a line, and what it is."""
    swatch = f"display:inline-block;width:14px;height:8px;margin-right:4px;background:{colour}"
    return fragment(element("span", style=swatch), text)
