"""A result in a notebook: its picture, then its numbers.

What is stored stays readable without a kernel and without bknb: the picture is plotly's JSON with a PNG beside it, the
numbers are plain HTML.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
from typing import TYPE_CHECKING, Any, Final

from bknb import DataError, MissingDependency, UsageError

from ..reports import plots
from ..reports.backtest_report import backtest_info, summary_html, summary_text
from ..reports.equity_arrays import equity_info
from ..reports.equity_png import equity_png
from ..reports.markup import element, fragment
from ..reports.portfolio_in_notebook import account_html, legs_html
from ..reports.portfolio_report import portfolio_html, portfolio_name
from .kernel import front_end_draws, in_kernel, ipython

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESULT_KEY: Final = "bknb"
"""Key in an output's metadata that marks the numbers of a result."""

_HINT: Final = "the equity curve needs plotly and matplotlib: pip install 'bknb[notebook]'"


def alt_text(result: Any) -> str:
    """The picture of a result in one sentence, for those who cannot see it."""
    info = backtest_info(result)
    partial = " (partial result)" if info.partial else ""
    return (
        f"Equity curve of {info.strategy} on {info.symbol}{partial}: {info.figure('n').text} trades, "
        f"total return {info.figure('total_return').text}, maximum drawdown {info.figure('max_drawdown').text}."
    )


def picture(result: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The equity curve as a mimebundle with its metadata; None where neither plotly nor matplotlib is installed.

    plotly's JSON is made without plotly, so the PNG alone decides how costly this is (about 50 ms).
    """
    info = equity_info(result)
    return _bundle(plots.figure_json(info), lambda: equity_png(info), alt_text(result))


def _bundle(figure: dict[str, Any], png: Callable[[], bytes], alt: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    data: dict[str, Any] = {plots.PLOTLY_MIME: figure, "text/plain": alt}
    metadata: dict[str, Any] = {}
    try:
        data["image/png"] = base64.b64encode(png()).decode("ascii")
        metadata["image/png"] = {"alt": alt}
    except MissingDependency:
        if importlib.util.find_spec("plotly") is None:
            return None
    return data, metadata


def numbers(result: Any, *, hint: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The figures and trades as a mimebundle, marked in its metadata as the result of a run."""
    info = backtest_info(result)
    html, text = summary_html(info), summary_text(info)
    if hint:
        html, text = fragment(html, element("p", hint)), f"{text}\n  hint      {hint}"
    mark = {"kind": "backtest", "strategy": info.strategy, "symbol": info.symbol}
    _keep_card(mark, result)
    return {"text/html": html, "text/plain": text}, {RESULT_KEY: mark}


def portfolio_picture(result: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The figure of a portfolio with a capital, as :func:`picture`."""
    from ..reports.portfolio_figure import portfolio_figure_json, portfolio_png

    account = result.account
    alt = (
        f"Equity curve of the {portfolio_name(result)}: {len(result.trades):,} trades, "
        f"total return {account.text('total_return')}, maximum drawdown {account.text('max_drawdown')}."
    )
    return _bundle(portfolio_figure_json(result), lambda: portfolio_png(result), alt)


def portfolio_numbers(result: Any, *, hint: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """The table of a portfolio as a mimebundle, marked in its metadata as the result of a portfolio."""
    html, text = portfolio_html(result), repr(result)
    if hint:
        html, text = fragment(html, element("p", hint)), f"{text}\n  hint      {hint}"
    return {"text/html": html, "text/plain": text}, _mark_of(result)


def _mark_of(result: Any) -> dict[str, Any]:
    mark = {"kind": "portfolio", "name": result.name}
    _keep_card(mark, result)
    return {RESULT_KEY: mark}


def _keep_card(mark: dict[str, Any], result: Any) -> None:
    """Put the run card into what is saved with an output: every front end that saves outputs saves their metadata.

    A leg that shared a risk profile or an account has none; nor has one whose candles cannot be read any more.
    """
    with contextlib.suppress(UsageError, DataError):
        card = getattr(result, "card", None)
        if card is not None:
            mark["card"] = json.loads(card.brief().to_json())


def show(result: Any) -> None:
    """Show a result: its picture, then its numbers and trades; in a terminal its summary.

    A portfolio with a capital shows its account in big figures before its picture, and its legs below it. A magic
    shows its result and also returns it; the second showing in the same cell is left out. Where the candles of the run
    were released and cannot be read again, a hint stands in place of the picture.

    Parameters
    ----------
    result : Result or PortfolioResult
        What :func:`bknb.backtest` or :func:`bknb.portfolio` returned.
    """
    shell = ipython("core.getipython").get_ipython()
    session = getattr(shell, "bknb_session", None)
    if session is not None and not session.show_first(result, shell.execution_count):
        return
    if not in_kernel():
        print(repr(result))  # noqa: T201 -- a terminal shows text
        return
    display = ipython("display").display
    for data, metadata in _outputs(result):
        display(data, metadata=metadata, raw=True)


def _outputs(result: Any) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The outputs of a result in order, as mimebundles with their metadata."""
    is_portfolio = hasattr(result, "legs")
    numbers_of = portfolio_numbers if is_portfolio else numbers
    if is_portfolio and result.capital is None:
        yield numbers_of(result)
        return
    try:
        drawn = portfolio_picture(result) if is_portfolio else picture(result)
    except DataError as error:  # its candles were released and cannot be read again
        yield numbers_of(result, hint=f"no equity curve: {str(error).partition(chr(10))[0]}")
        return
    if is_portfolio:
        yield {"text/html": account_html(result), "text/plain": repr(result)}, _mark_of(result)
    if drawn is not None:
        if front_end_draws() and importlib.util.find_spec("plotly") is not None:
            drawn[0].pop("image/png", None)
        yield drawn
    hint = _HINT if drawn is None else ""
    if is_portfolio:
        legs = fragment(legs_html(result), hint and element("p", hint))
        yield {"text/html": legs, "text/plain": f"the legs of the {portfolio_name(result)}"}, {}
    else:
        yield numbers_of(result, hint=hint)
