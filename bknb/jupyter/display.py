"""How runs show themselves in a notebook: a live bar while they go, a picture with numbers when they are done.

Everything that is stored stays readable without a kernel and without bknb: the picture is plotly's JSON with a PNG
beside it, the numbers are plain HTML, and the last state of a bar is a sentence.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
from html import escape
from typing import Any, Final

from ..errors import MissingDependency
from ..reports import backtest as reports
from ..reports import plots as figures

RESULT_KEY: Final = "bknb"
"""Key in an output's metadata that marks the numbers of a result."""

_BAR: Final = "height:8px;max-width:420px;border-radius:4px;background:rgba(128,128,128,0.25)"
_HINT: Final = "the equity curve needs plotly and matplotlib: pip install 'bknb[notebook]'"


# -- a result ----------------------------------------------------------------------------------------------------


def alt_text(result: Any) -> str:
    """The picture of a result in one sentence, for those who cannot see it."""
    info = reports.backtest_info(result)
    partial = " (partial result)" if info.partial else ""
    return (
        f"Equity curve of {info.strategy} on {info.symbol}{partial}: {info.figure('n').text} trades, "
        f"final equity {info.figure('equity_final').text}, maximum drawdown {info.figure('max_drawdown').text}."
    )


def picture(result: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The equity curve as a mimebundle with its metadata; None where neither plotly nor matplotlib is installed.

    plotly's JSON is made without plotly, so the PNG alone decides how costly this is (about 50 ms).
    """
    info = figures.equity_info(result)
    alt = alt_text(result)
    data: dict[str, Any] = {figures.PLOTLY_MIME: figures.figure_json(info), "text/plain": alt}
    metadata: dict[str, Any] = {}
    try:
        data["image/png"] = base64.b64encode(figures.equity_png(info)).decode("ascii")
        metadata["image/png"] = {"alt": alt}
    except MissingDependency:
        if importlib.util.find_spec("plotly") is None:
            return None
    return data, metadata


def numbers(result: Any, *, hint: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures and trades as a mimebundle, marked in its metadata as the result of a run."""
    info = reports.backtest_info(result)
    html, text = reports.summary_html(info), reports.summary_text(info)
    if hint:
        html, text = f"{html}<p>{escape(hint)}</p>", f"{text}\n  hint      {hint}"
    mark = {"kind": "backtest", "strategy": info.strategy, "symbol": info.symbol}
    card = getattr(result, "card", None)
    if card is not None:  # every front end that saves outputs saves their metadata: the notebook keeps the card
        mark["card"] = json.loads(card.brief().to_json())
    return {"text/html": html, "text/plain": text}, {RESULT_KEY: mark}


def ipython(module: str) -> Any:
    """A module of IPython; imported when it is needed, because bknb works without it."""
    return importlib.import_module(f"IPython.{module}")


def in_kernel() -> bool:
    """Whether a notebook (rather than a terminal) is looking."""
    return getattr(ipython("core.getipython").get_ipython(), "kernel", None) is not None


def front_end_draws() -> bool:
    """Whether JupyterLab or Notebook 7 ran the cell.

    Their plotly renderer shows a PNG that lies beside the JSON instead of the chart one can zoom, and stores a PNG of
    its own once it has drawn. Whoever runs a notebook without a front end needs ours.
    """
    kernel = getattr(ipython("core.getipython").get_ipython(), "kernel", None)
    try:
        parent = kernel.get_parent() if kernel is not None else {}
    except LookupError:  # ipykernel 7.0 in a thread that belongs to no cell
        return False
    return "cellId" in (parent.get("metadata") or {})


def show(result: Any) -> None:
    """Show a result: its picture, then its numbers and trades; in a terminal its summary.

    A magic shows its result and also returns it; the second showing in the same cell is left out.

    Parameters
    ----------
    result : Result
        What :func:`bknb.backtest` returned.
    """
    shell = ipython("core.getipython").get_ipython()
    session = getattr(shell, "bknb_session", None)
    if session is not None:
        before, session.shown = session.shown, (result, shell.execution_count)
        if before is not None and before[0] is result and before[1] == shell.execution_count:
            return
    if not in_kernel():
        print(reports.summary_text(result))  # noqa: T201 -- a terminal shows text
        return
    display = ipython("display").display
    drawn = picture(result)
    if drawn is not None:
        if front_end_draws() and importlib.util.find_spec("plotly") is not None:
            drawn[0].pop("image/png", None)
        display(drawn[0], metadata=drawn[1], raw=True)
    data, metadata = numbers(result, hint="" if drawn is not None else _HINT)
    display(data, metadata=metadata, raw=True)


# -- while it runs -----------------------------------------------------------------------------------------------


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
