"""Texts escaped for where they are shown: a price or the text of an error must never be read as markup or a header."""

from __future__ import annotations

import html
import re
from typing import Final

_MARKDOWN: Final = re.compile(r"([_*\[\]()~`>#+\-=|{}.!\\])")
_SLACK: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_HEADER: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\x85]+")
_DISCORD: Final = re.compile(r"([\\*_~`|>#\[\]()<@])")


def for_html(text: str) -> str:
    """A text as HTML of Telegram.

    Examples
    --------
    >>> for_html("a < b & <i>c</i>")
    'a &lt; b &amp; &lt;i&gt;c&lt;/i&gt;'
    """
    return html.escape(text, quote=False)


def for_markdown(text: str) -> str:
    r"""A text as MarkdownV2 of Telegram.

    Examples
    --------
    >>> for_markdown("sma_cross: +1.5 %")
    'sma\\_cross: \\+1\\.5 %'
    """
    return _MARKDOWN.sub(r"\\\1", text)


def for_slack(text: str) -> str:
    """A text for Slack, in which nobody is called and nothing is a link.

    Examples
    --------
    >>> for_slack("<!channel> & more")
    '&lt;!channel&gt; &amp; more'
    """
    return re.sub("[&<>]", lambda found: _SLACK[found[0]], text)


def for_discord(text: str) -> str:
    r"""A text for Discord, without formatting.

    Examples
    --------
    >>> for_discord("sma_cross @everyone")
    'sma\\_cross \\@everyone'
    """
    return _DISCORD.sub(r"\\\1", text)


def for_header(text: str, longest: int = 150) -> str:
    r"""A text for a header of an email: one line, so that no other header can be made of it.

    Examples
    --------
    >>> for_header("closed\r\nBcc: everybody@example.com")
    'closed Bcc: everybody@example.com'
    """
    line = _HEADER.sub(" ", text).strip()
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
