"""The report of a portfolio as text for a terminal, as Markdown and as HTML."""

from __future__ import annotations

from typing import Any, Final

from ..domain.formatting import minute_text, money_decimals
from ..metrics.account_definitions import ACCOUNT_DEFINITIONS
from .backtest_info import failure_line
from .grouped_by_leg import grouped_by_leg
from .markup import Html, cell, element, fragment, html_table, markdown_table
from .refusals_counted import reasons_text, refused_by_rule, rejected_by_rule
from .remarks import stale_remark

DEFAULT_NAME: Final = "portfolio"
"""The name of one that was given none."""
_FIGURES: Final = ("total_return", "max_drawdown", "exposure")
ALONE: Final = (
    "without a capital the legs have no account together: each is measured alone, as if it had all the money, and "
    "their percentages are not to be added"
)


_SHARED: Final = "percentages of a leg are of it alone, as if it had all the money"


def _note(result: Any) -> str:
    """What the percentages of legs are, and what the account of all was worth."""
    if result.capital is None:
        return ALONE
    account, benchmark = result.account, result.benchmark
    decimals = money_decimals(result.capital)
    held = "" if benchmark is None else f", holding {benchmark.name} made {account.text('benchmark')}"
    return (
        f"the account began with {account.text('start')} and was worth {account['end']:,.{decimals}f} at the end "
        f"({account.text('total_return')}), its largest drawdown was {account.text('max_drawdown')}{held}; "
        f"{_SHARED}"
    )


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def portfolio_name(result: Any) -> str:
    """What a portfolio is called in a sentence; one without a name of its own is just that."""
    return DEFAULT_NAME if result.name == DEFAULT_NAME else f"{DEFAULT_NAME} {result.name}"


def portfolio_warnings(result: Any) -> list[str]:
    """The warnings of a PortfolioResult: its own, then those of its legs, each once with the legs it holds for."""
    of_legs = (
        (f"{strategy} on {symbol}", text) for (symbol, strategy), leg in result.legs.items() for text in leg.warnings
    )
    return [*result.own_warnings, *grouped_by_leg(of_legs, legs=len(result.legs))]


def _labels() -> list[str]:
    return [
        "Symbol",
        "Strategy",
        "Trades",
        *(ACCOUNT_DEFINITIONS[key].label for key in _FIGURES),
        "Refused",
        "Rejected",
    ]


def _rows(result: Any) -> list[list[str]]:
    """One row for each leg."""
    return [
        [
            symbol,
            strategy,
            f"{len(leg.trades):,}",
            *(leg.account.text(key) for key in _FIGURES),
            f"{len(leg.refused):,}",
            f"{len(leg.rejected):,}",
        ]
        for (symbol, strategy), leg in result.legs.items()
    ]


def _head(result: Any) -> str:
    count = len(result.legs)
    legs = "1 leg" if count == 1 else f"{count:,} legs"
    return f"{legs}, {minute_text(result.start)} to {minute_text(result.end)} UTC"


def partial_text(result: Any) -> str:
    """That a portfolio was stopped before its end, and where; empty if it was not."""
    if not result.stopped:
        return ""
    came = max(leg.account_terms.end for leg in result.legs.values())
    return f"Stopped before its end, at {minute_text(came)} UTC: this is a partial result."


def leg_errors(result: Any) -> list[str]:
    """What failed in each leg, with its name."""
    return [
        f"{strategy} on {symbol}: {failure_line(failure)}"
        for (symbol, strategy), leg in result.legs.items()
        for failure in leg.errors
    ]


def portfolio_text(result: Any) -> str:
    """The summary of a PortfolioResult for a terminal: a line for each leg, what was refused, warnings."""
    lines = [f"{portfolio_name(result)}, {_head(result)}"]
    if result.stopped:
        lines.append(f"  PARTIAL   {partial_text(result)}")
    for (symbol, strategy), leg in result.legs.items():
        trades = len(leg.trades)
        told = f"{trades:,} {'trade' if trades == 1 else 'trades'}, account {leg.account.text('total_return')}"
        refused = f", {len(leg.refused):,} refused" if leg.refused else ""
        rejected = f", {len(leg.rejected):,} rejected" if len(leg.rejected) else ""
        lines.append(f"  {strategy} on {symbol}: {told}{refused}{rejected}")
    legs = [*result.legs.values()]
    lines += [
        f"  {word:<9} {reasons_text(counts)}"
        for word, counts in (("refused", refused_by_rule(legs)), ("rejected", rejected_by_rule(legs)))
        if counts
    ]
    lines.append(f"  note      {_note(result)}")
    lines += [f"  error     {error}" for error in leg_errors(result)]
    lines += [f"  warning   {warning}" for warning in portfolio_warnings(result)]
    return "\n".join(lines)


def portfolio_report(result: Any) -> str:
    """The report of a PortfolioResult as Markdown: the legs, what was refused and rejected, errors and warnings."""
    name = "" if result.name == DEFAULT_NAME else f": {cell(result.name)}"
    lines = [f"# Portfolio report{name}", "", f"{_head(result)}.", ""]
    if result.stopped:
        lines += [f"> **{partial_text(result)}**", ""]
    lines += ["## Legs", "", *markdown_table(_labels(), _rows(result)), "", _sentence(_note(result))]
    lines += [line for text in stale_remark(result) for line in ("", _sentence(text))]
    legs = [*result.legs.values()]
    counted = (("Refused by a risk profile", refused_by_rule(legs)), ("Rejected signals", rejected_by_rule(legs)))
    for title, counts in counted:
        if counts:
            lines += ["", f"## {title}", "", *(f"- {count:,} x {cell(reason)}" for reason, count in counts)]
    for title, texts in (("Errors", leg_errors(result)), ("Warnings", portfolio_warnings(result))):
        if texts:
            lines += ["", f"## {title}", "", *(f"- {cell(text)}" for text in texts)]
    return "\n".join(lines) + "\n"


def portfolio_html(result: Any) -> Html:
    """The summary of a PortfolioResult for a notebook: a table of its legs, errors and warnings."""
    parts = [element("p", element("b", portfolio_name(result)), f", {_head(result)}")]
    if result.stopped:
        parts.append(element("p", element("b", partial_text(result))))
    parts += [html_table(_labels(), _rows(result), left=2), element("p", _sentence(_note(result)))]
    told = [*leg_errors(result), *portfolio_warnings(result)]
    if told:
        parts.append(element("ul", *(element("li", text) for text in told)))
    return fragment(*parts)
