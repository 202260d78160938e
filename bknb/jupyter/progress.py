"""A line that follows work of known size, in a notebook and in a terminal, and a sentence in its place afterwards."""

from __future__ import annotations

import sys
from html import escape
from typing import Any, Final

from . import display
from .display import in_kernel, ipython


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
            parts.append(f"{time_left(seconds * (1 - fraction) / fraction)} left")
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


_BAR: Final = "height:8px;max-width:420px;border-radius:4px;background:rgba(128,128,128,0.25)"


def time_left(seconds: float) -> str:
    """A span of seconds as ``m:ss``.

    Examples
    --------
    >>> time_left(2.4), time_left(75)
    ('0:02', '1:15')
    """
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def speed(minutes: float, seconds: float) -> str:
    """Minutes of history per second, in millions where it is fast.

    Examples
    --------
    >>> speed(3_100_000, 1.0), speed(45_000, 1.0)
    ('3.1 M minutes/s', '45 k minutes/s')
    """
    rate = minutes / max(seconds, 1e-9)
    if rate >= 1e6:
        return f"{rate / 1e6:.1f} M minutes/s"
    return f"{rate / 1e3:.0f} k minutes/s" if rate >= 1e4 else f"{rate:,.0f} minutes/s"


def run_facts(fraction: float, trades: int, minutes: float, seconds: float) -> list[str]:
    """Trades so far, and the speed once it is known.

    Examples
    --------
    >>> run_facts(0.0, 2, 0.0, 0.0)
    ['2 trades']
    """
    facts = [f"{trades:,} trade{'' if trades == 1 else 's'}"]
    return [*facts, speed(minutes, seconds)] if fraction > 0 else facts


def so_far(fraction: float, *, seconds: float, facts: list[str]) -> tuple[int, str]:
    """How far something is: whole per cent, never 100, and the same as a line with facts and the time left.

    Examples
    --------
    >>> so_far(0.25, seconds=1.0, facts=["3 tried"])
    (25, '25 % · 3 tried · 0:03 left')
    """
    percent = min(int(100 * fraction), 99)
    parts = [f"{percent} %", *facts]
    if fraction > 0:
        parts.append(f"{time_left(seconds * (1 - fraction) / fraction)} left")
    return percent, " · ".join(parts)


def sentence(text: str) -> dict[str, Any]:
    """What stays of a bar when the run is over."""
    html = f'<div role="status" style="opacity:0.75;font-size:90%">{escape(text)}</div>'
    return {"text/html": html, "text/plain": text}


class Progress:
    """One line with a bar that follows a run, and a sentence in its place when the run is over.

    Parameters
    ----------
    label : str
        What runs, such as ``backtest sma-cross BTCUSDT``.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._handle: Any = None
        self._last = ""

    def update(self, fraction: float, *, trades: int, minutes: float, seconds: float) -> None:
        """Say how far it is; called about eight times a second by the thread that waits.

        Parameters
        ----------
        fraction : float
            0 to 1.
        trades : int
            Trades closed so far.
        minutes, seconds : float
            Minutes of history behind, and seconds they took.
        """
        self.follow(fraction, seconds=seconds, facts=run_facts(fraction, trades, minutes, seconds))

    def follow(self, fraction: float, *, seconds: float, facts: list[str]) -> None:
        """Say how far it is, what there is to say besides, and how long it still takes."""
        percent, how_far = so_far(fraction, seconds=seconds, facts=facts)
        text = f"{self.label}: {how_far}"
        bar = (
            f'<div role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}" '
            f'aria-label="{escape(self.label)}" style="{_BAR}">'
            f'<div style="width:{percent}%;height:8px;border-radius:4px;background:#3b82d6"></div></div>'
        )
        self._show(text, f'<div><span role="status">{escape(text)}</span>{bar}</div>')

    def close(self, text: str) -> None:
        """Leave a sentence in place of the bar, so that a saved notebook shows no half-way bar."""
        data = sentence(f"{self.label}: {text}")
        self._show(data["text/plain"], data["text/html"])

    def _show(self, text: str, html: str) -> None:
        if text == self._last or not in_kernel():
            return  # a terminal cannot take a line back
        self._last = text
        data = {"text/html": html, "text/plain": text}
        if self._handle is None:
            self._handle = ipython("display").display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)
