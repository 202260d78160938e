"""Sliders over the parameters of a strategy in a notebook: the combination they are at, as text, HTML and PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ..domain.formatting import day_text, number_text
from .asked_and_missed import parameters_text
from .chart_html import Line, chart
from .markup import Html, element, fragment
from .panel_parts import MUTE, big_figure, key_of_line, titled
from .plots import DRAWDOWN, EQUITY, PRICE

if TYPE_CHECKING:
    from .equity_arrays import Floats

_GRID: Final = "display:grid;grid-template-columns:repeat(auto-fit,minmax(100px,1fr));gap:8px 12px"
_LINE: Final = "1px solid rgba(128,128,128,0.35)"


def count_text(sliders: Any) -> str:
    """How many combinations were looked at, and how many strategies were tried on these candles.

    Parameters
    ----------
    sliders : Interact
        What ``bknb.interact`` returned; so for all functions here.
    """
    looks = f"{sliders.looks:,} combination{'' if sliders.looks == 1 else 's'} looked at"
    tries = sliders.shown.tries
    return f"{looks} · tries are not counted (count_tries=False)" if tries is None else f"{looks} · {tries.line}"


def worth_text(sliders: Any) -> str:
    """What the best of so many tries would show by luck; empty for one try, and where there are too few trades."""
    look = sliders.shown
    if look.sharpe is None or look.best_of_worthless is None or look.tries is None or look.tries.count < 2:
        return ""
    return (
        f"of {look.tries.count:,} tries without any skill the best would show a Sharpe ratio of "
        f"{number_text(look.best_of_worthless)} a trade on average; this one shows {number_text(look.sharpe)}"
    )


def title_text(sliders: Any) -> str:
    """What is run, on what."""
    span = f"{day_text(sliders.start)} to {day_text(sliders.end)}"
    return f"{sliders.strategy} · {sliders.symbol} · {span} · {sliders.execution}"


def sliders_text(sliders: Any) -> str:
    """The combination in a few lines, for a terminal."""
    lines = [f"sliders of {title_text(sliders)}", f"  {parameters_text(sliders.params)}"]
    if sliders.shown.error:
        lines.append(f"  {sliders.shown.error}")
    else:
        lines += [f"  {label}: {text}" for label, text, _ in _figures(sliders)]
    lines += [f"  {text}" for text in (count_text(sliders), worth_text(sliders), *_remarks(sliders)) if text]
    return "\n".join(lines)


def panel_html(sliders: Any) -> Html:
    """Figures, equity and drawdown of the combination, and what was counted."""
    look = sliders.shown
    count = element("p", element("b", count_text(sliders)), class_="bknb-count", style="margin:2px 0 6px")
    told = [element("p", text, style=f"{MUTE};margin:2px 0 0") for text in (worth_text(sliders),) if text]
    told += [element("p", f"⚠ {text}", style="margin:2px 0 0") for text in _remarks(sliders)]
    if look.error:
        return fragment(count, element("p", element("b", "This combination has no result: "), look.error), *told)
    cells = (big_figure(*each) for each in _figures(sliders))
    figures = element("div", *cells, style=f"{_GRID};border-top:{_LINE};border-bottom:{_LINE};padding:8px 0")
    return fragment(count, figures, *told, _charts(sliders))


def static_html(sliders: Any, *, hint: str = "", place: str = "") -> Html:
    """The combination as a saved notebook shows it; ``place`` is where a widget on the page replaces it."""
    of = f"bknb-static bknb-of-{place}" if place else "bknb-static"
    head = element("p", element("b", title_text(sliders)), element("br"), parameters_text(sliders.params))
    return element("div", head, panel_html(sliders), hint and element("p", hint), class_=of)


def sliders_png(sliders: Any) -> bytes:
    """Equity, drawdown and price of the combination as a PNG.

    Raises
    ------
    MissingDependency
        When matplotlib is not installed.
    """
    from .equity_png import panels_png

    look = sliders.shown

    def dates(ms: Any) -> Any:
        return ms.astype("datetime64[ms]")

    def draw(top: Any, middle: Any, bottom: Any) -> None:
        top.step(dates(look.time_ms), (look.equity - 1) * 100, where="post", color=EQUITY, linewidth=1.4)
        middle.step(dates(look.drawdown_ms), look.drawdown, where="post", color=DRAWDOWN, linewidth=0.8)
        bottom.plot(dates(look.time_ms), _price_at(sliders, look.time_ms), color=PRICE, linewidth=0.8)

    return panels_png(
        draw,
        labels=("equity, %", "drawdown, %", "price"),
        title=f"{title_text(sliders)} · {parameters_text(sliders.params)}",
        start_ms=sliders.start,
        end_ms=sliders.end,
    )


def _remarks(sliders: Any) -> list[str]:
    rejected = sliders.shown.rejected
    answers = "answer was" if rejected == 1 else "answers were"
    found = [*sliders.warnings, sliders.slow, f"{rejected:,} {answers} rejected" if rejected else ""]
    return [text for text in found if text]


def _figures(sliders: Any) -> list[tuple[str, str, str]]:
    """Label, text, and what stands below it, of each of the big figures."""
    look = sliders.shown
    account, results = look.account, look.results
    won = f"{float((results > 0).mean()) * 100:.1f} % won" if len(results) else "none was closed"
    return [
        ("Total return", account.text("total_return"), f"price held {account.text('buy_and_hold')}"),
        ("Return a year (CAGR)", account.text("cagr"), f"volatility {account.text('volatility')}"),
        ("Largest drawdown", account.text("max_drawdown"), f"under water up to {account.text('drawdown_days')}"),
        ("Sharpe", account.text("sharpe"), f"Sortino {account.text('sortino')}"),
        ("Trades", f"{len(results):,}", won),
        ("Time in the market", account.text("exposure"), f"fees {account.text('fees')}"),
    ]


def _price_at(sliders: Any, time_ms: Any) -> Floats:
    """The last closing price at each moment; at the first moments that of the first bar."""
    closes_ms, close = sliders.prices
    if not len(close):
        return np.full(len(time_ms), np.nan)
    at = np.searchsorted(closes_ms, time_ms, side="right") - 1
    return np.asarray(close[np.maximum(at, 0)], dtype=np.float64)


def _charts(sliders: Any) -> Html:
    look = sliders.shown
    if not len(look.equity):
        return element("p", f"No equity: {look.account.reasons.get('total_return', 'there are no candles')}")
    span = {"start": sliders.start, "end": sliders.end}
    percent, price = (look.equity - 1) * 100, _price_at(sliders, look.time_ms)
    lines = [Line((price / price[0] - 1) * 100, PRICE, 1.0)] if price[0] > 0 else []
    lines.append(Line(percent, EQUITY, 1.8))
    keys = [key_of_line(EQUITY, "equity"), *([key_of_line(PRICE, "price")] if len(lines) > 1 else [])]
    alt = f"Equity: {look.account.text('total_return')} at the end, with {len(look.results):,} trades"
    below = f"Drawdown: largest {look.account.text('max_drawdown')}"
    return fragment(
        titled("Equity, %", *keys),
        chart(look.time_ms, lines, **span, height=190, alt=alt, unit=" %", mark=0.0),
        titled("Drawdown, %"),
        chart(look.drawdown_ms, [Line(look.drawdown, DRAWDOWN, filled=True)], **span, height=80, alt=below, unit=" %"),
    )
