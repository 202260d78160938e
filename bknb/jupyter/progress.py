"""A line that follows work of known size, in a notebook and in a terminal, and a sentence in its place afterwards."""

from __future__ import annotations

import sys
from html import escape
from typing import Any

from . import display


class Bar:
    """One line with a bar.

    In a notebook it is one output that is replaced; in a terminal one line that is written over; where neither can be
    (a pipe, a log file) only the last sentence is written.

    Parameters
    ----------
    label : str
        What is going on.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._handle: Any = None
        self._width = 0
        self._in_kernel = "IPython" in sys.modules and display.in_kernel()

    def update(self, fraction: float, *, seconds: float, facts: str = "") -> None:
        """Say how far it is and how long it still takes.

        Parameters
        ----------
        fraction : float
            0 to 1.
        seconds : float
            How long it took so far.
        facts : str
            What else there is to say.
        """
        percent = min(int(100 * fraction), 99)
        parts = [f"{self.label}: {percent} %", facts]
        if fraction > 0:
            parts.append(f"{display.time_left(seconds * (1 - fraction) / fraction)} left")
        text = " · ".join(part for part in parts if part)
        if self._in_kernel:
            bar = (
                f'<div role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}" '
                f'aria-label="{escape(self.label)}" style="width:100%;max-width:40em;height:8px;border-radius:4px;'
                'background:rgba(128,128,128,0.25)">'
                f'<div style="width:{percent}%;height:8px;border-radius:4px;background:#3b82d6"></div></div>'
            )
            self._show(text, f'<div><span role="status">{escape(text)}</span>{bar}</div>')
        elif sys.stderr.isatty():
            self._write(text)

    def close(self, text: str) -> None:
        """Leave a sentence in place of the bar."""
        said = f"{self.label}: {text}"
        if self._in_kernel:
            self._show(said, f'<div role="status" style="opacity:0.75;font-size:90%">{escape(said)}</div>')
            return
        self._write(said)
        sys.stderr.write("\n")
        sys.stderr.flush()

    def _write(self, text: str) -> None:
        start = "\r" if sys.stderr.isatty() else ""
        sys.stderr.write(f"{start}{text:<{self._width}}")
        sys.stderr.flush()
        self._width = len(text)

    def _show(self, text: str, html: str) -> None:
        data = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = display.ipython("display").display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
