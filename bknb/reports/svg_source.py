"""Pictures in SVG that stand inside a page."""

from __future__ import annotations

import base64


def svg_source(drawn: str) -> str:
    """A picture in SVG as the source of an image: a front end that trusts nothing of a saved notebook shows it too.

    Examples
    --------
    >>> svg_source("<svg/>")
    'data:image/svg+xml;base64,PHN2Zy8+'
    """
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn.encode()).decode('ascii')}"
