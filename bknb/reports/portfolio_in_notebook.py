"""A portfolio with a capital in a notebook: its account in big figures, its legs, and how they go together, as HTML.

Nothing needs a script or a style sheet, and colours are those of both themes, so it reads the same in a saved notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..domain.formatting import MISSING, minute_text, money_decimals
from .leg_correlation import leg_correlation
from .markup import Html, element, elements, fragment, html_table
from .panel_parts import MUTE, big_figure
from .portfolio_leg_table import leg_table, profit_factor_of, signed_money
from .portfolio_report import leg_errors, partial_text, portfolio_name, portfolio_warnings
from .refusals_counted import refused_by_rule, rejected_by_rule, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LINE: Final = "1px solid rgba(128,128,128,0.35)"
_GRID: Final = "display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:8px 16px"
_TRADES: Final = 100
_DRAWDOWNS: Final = 6


# -- the account -------------------------------------------------------------------------------------------------


def account_html(result: Any) -> Html:
    """What was run, whether all of it, and the account in six figures; raises as the ``equity`` of the result."""
    symbols = list(dict.fromkeys(symbol for symbol, _ in result.legs))
    count, many = len(result.legs), len(symbols)
    what = f"{count:,} leg{'' if count == 1 else 's'}, {many:,} symbol{'' if many == 1 else 's'}"
    models = ", ".join(dict.fromkeys(leg.execution for leg in result.legs.values()))
    exchanges = ", ".join(dict.fromkeys(leg.run_record.plan.exchange.name for leg in result.legs.values()))
    facts = f"{minute_text(result.start)} to {minute_text(result.end)} UTC · filled {models} · exchange {exchanges}"
    partial = partial_text(result)
    return element(
        "div",
        element("p", element("b", portfolio_name(result), style="font-size:115%"), f" of {what}"),
        element("p", facts, style=MUTE),
        partial and element("p", element("b", partial)),
        element(
            "div", *(big_figure(*each) for each in _headline(result)), style=f"{_GRID};border-top:{_LINE};padding:8px 0"
        ),
        class_="bknb-portfolio",
    )


def _headline(result: Any) -> list[tuple[str, str, str]]:
    """Label, text, and what stands below it, of each of the big figures."""
    account, trades, decimals = result.account, result.trades, money_decimals(result.capital)
    money = trades["money"].to_numpy()
    won_by_lost = profit_factor_of(money)
    won = f"{float((money > 0).mean()) * 100:.1f} % won" if len(money) else "none was closed"
    factor = "" if won_by_lost is None else f", profit factor {won_by_lost:.2f}"
    falls = result.drawdowns(1)
    fall = ""
    if len(falls):
        first = falls.iloc[0]
        back = "not back yet" if first["recovered"] is None or first["recovered"] != first["recovered"] else "back"
        fall = f"from {_day(first['peak'])}, {first['days']:,.0f} d, {back}"
    return [
        (
            "Equity at the end",
            f"{account['end']:,.{decimals}f}",
            f"{result.run_account.currency} from {account['start']:,.{decimals}f}",
        ),
        ("Total return", account.text("total_return"), _held(result)),
        ("Return a year (CAGR)", account.text("cagr"), f"volatility {account.text('volatility')}"),
        ("Largest drawdown", account.text("max_drawdown"), fall),
        ("Sharpe", account.text("sharpe"), f"Sortino {account.text('sortino')}"),
        ("Trades", f"{len(money):,}", won + factor),
    ]


def _held(result: Any) -> str:
    """What the benchmark made, or buying and holding equal parts."""
    if result.benchmark is not None:
        return f"{result.benchmark.name} held {result.account.text('benchmark')}"
    return f"equal parts held {result.account.text('buy_and_hold')}"


# -- the legs ----------------------------------------------------------------------------------------------------


_NOT_BY_LEG: Final = (
    f"{MISSING} of legs, their largest falls, lines and correlation: "
    "what each had made at earlier moments is not kept live"
)


def legs_html(result: Any) -> Html:
    """Legs with what each added, correlation of their days, drawdowns, figures, trades, refusals and warnings."""
    return element(
        "div",
        leg_table(result),
        None if result.knows_legs_over_time else element("p", _NOT_BY_LEG, style=MUTE),
        leg_correlation(result),
        _drawdowns(result),
        _figures(result),
        _trades(result),
        *_told(result),
        class_="bknb-portfolio",
    )


def _drawdowns(result: Any) -> Html | None:
    found = result.drawdowns(_DRAWDOWNS)
    if not len(found):
        return None
    rows = [
        [
            f"{row['drawdown']:.2f} %",
            _day(row["peak"]),
            _day(row["trough"]),
            "not yet" if row["recovered"] is None or row["recovered"] != row["recovered"] else _day(row["recovered"]),
            f"{row['days']:,.1f}",
        ]
        for _, row in found.iterrows()
    ]
    table = html_table(["Depth", "From the high of", "Lowest", "Back at the high", "Days"], rows, left=0)
    return (
        _folded("Drawdowns", f"the {len(rows)} deepest", table) if len(rows) > 1 else _folded("Drawdowns", "one", table)
    )


def _day(moment: Any) -> str:
    """The day of a moment in a table."""
    return minute_text(moment).partition(" ")[0]


def _figures(result: Any) -> Html:
    account = result.account
    cells = (
        element("div", element("div", known.label, style=MUTE), element("div", account.text(key)), title=known.formula)
        for key, known in account.definitions.items()
    )
    more = f"Sortino {account.text('sortino')} · turnover {account.text('turnover')} · fees {account.text('fees')}"
    return _folded("All figures", more if MISSING not in more else "", element("div", *cells, style=_GRID))


def _trades(result: Any) -> Html | None:
    trades = result.trades
    if not len(trades):
        return None
    newest, decimals = trades.tail(_TRADES)[::-1], money_decimals(result.capital)
    rows = [
        [
            *(str(row[at]) for at in ("leg", "position")),
            *(minute_text(row[at]) for at in ("pending_at", "closed_at")),
            *(signed_money(float(row["money"]), decimals), f"{row['pnl_percentage']:+.2f} %"),
            str(row["close_reason"]).replace("_", " "),
        ]
        for _, row in newest.iterrows()
    ]  # fmt: skip
    money = trades["money"].to_numpy()
    which = f"{len(trades):,}" if len(trades) <= _TRADES else f"the newest {_TRADES} of {len(trades):,}"
    table = html_table(
        ["Leg", "Side", "Opened (UTC)", "Closed (UTC)", "Money", "Of its value", "Why closed"], rows, left=4
    )
    return _folded(
        "Trades",
        f"{which} · {int((money > 0).sum()):,} won · mean {signed_money(float(money.mean()), decimals)}",
        table,
    )


def _told(result: Any) -> Iterable[Html]:
    """What was refused and rejected, and what a reader of the numbers should know."""
    legs = [*result.legs.values()]
    for label, counts in (("Refused", refused_by_rule(legs)), ("Rejected", rejected_by_rule(legs))):
        if counts:
            rows = [[f"{count:,}", reason] for reason, count in counts]
            yield _folded(
                label,
                f"{total(counts):,} signal{'' if total(counts) == 1 else 's'}",
                html_table(["Times", "Why"], rows, left=2),
            )
    errors: Sequence[str] = [f"Error: {text}" for text in leg_errors(result)]
    if warnings := [*errors, *portfolio_warnings(result)]:
        yield _folded("Warnings", f"{len(warnings):,}", element("ul", elements("li", warnings)), is_open=True)


def _folded(title: str, beside: str, inside: Html, *, is_open: bool = False) -> Html:
    summary = element("summary", element("b", title), " ", element("span", beside, style=MUTE))
    box = element("div", inside, style="max-height:340px;overflow:auto", role="region", aria_label=title, tabindex=0)
    return element("details", summary, box, open=is_open, style=f"border-top:{_LINE};padding:4px 0")


def portfolio_account_html(result: Any) -> Html:
    """The account of a PortfolioResult with a capital and its legs as one piece of HTML; raises as its ``equity``."""
    return fragment(account_html(result), legs_html(result))
