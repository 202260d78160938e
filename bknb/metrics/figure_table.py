"""Figures by name: mappings with definitions, explanations and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..domain.formatting import NOT_AVAILABLE
from ..domain.html import Html, element, elements, fragment
from ..errors import UnknownName
from .definitions import DEFINITIONS, HEAT_DEFINITIONS, NO_PORTFOLIO, Definition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .formulas import Figure

_HIDDEN: Final = ("total_trades", "per_symbol")
_SYMBOL_COLUMNS: Final = (
    "total_trades",
    "win_rate",
    "total_pnl",
    "sharpe_ratio",
    "profit_factor",
    "max_drawdown",
)


class Explained(dict[str, Any]):
    """Figures by name, each with its definition; what `Statistics` and `HeatStatistics` have in common."""

    __slots__ = ()
    _definitions: ClassVar[dict[str, Definition]]

    @property
    def definitions(self) -> dict[str, Definition]:
        """The definition of every figure, by name; figures of one symbol in a heat table have their own."""
        return self._definitions

    def explain(self, key: str | None = None) -> str:
        """Definition and value of one figure, or of all of them, as text to print.

        Raises
        ------
        UnknownName
            When no figure has that name.
        """
        if key is not None and key not in self.definitions:
            raise UnknownName("figure", key, known=self.definitions)
        texts: list[str] = []
        for name in self.definitions if key is None else [key]:
            value = self.get(name)
            known = name in self and not isinstance(value, dict)
            texts.append(self.definitions[name].explain(value if known else None, known=known))
        return "\n\n".join(texts)

    def _shown(self) -> list[tuple[Definition, Figure]]:
        return [(self.definitions[key], value) for key, value in self.items() if key not in _HIDDEN]


class Statistics(Explained):
    """Figures of one sample of closed trades, by name; None where a figure is not available.

    A plain dict of int, float, str, bool and None, so it goes into JSON as it is; it prints itself as a
    table, shows itself as one in a notebook, and explains every figure.

    Attributes
    ----------
    selected : str
        Which trades were left out; empty when none was.

    Examples
    --------
    >>> from bknb.metrics.statistics import statistics
    >>> stats = statistics([{"pending_at": 60_000, "closed_at": 120_000, "pnl_percentage": 1.5}])
    >>> stats["total_pnl"], stats["sharpe_ratio"]
    (1.5, None)
    >>> print(stats.explain("total_pnl"))
    Total result [total_pnl]
      value     1.5000 % (higher is better)
      formula   sum(r), not compounded
      n/a when  no trade
      source    plain arithmetic
    """

    __slots__ = ("selected",)
    _definitions = DEFINITIONS
    selected: str

    def __init__(self, figures: Mapping[str, Any] | None = None, *, selected: str = "") -> None:
        super().__init__(figures or {})
        self.selected = selected

    def _title(self) -> str:
        kind = "selected" if self.selected else "closed"
        title = f"Statistics of {self['n']} {kind} trade{'' if self['n'] == 1 else 's'}"
        return f"{title}, {self.selected}" if self.selected else title

    def __repr__(self) -> str:
        return _text_table(self._title(), self._shown())

    def _repr_html_(self) -> Html:
        head = element("p", self._title()) if self.selected else None
        return fragment(head, _html_table(self._shown()))


class HeatStatistics(Explained):
    """Figures of the pooled trades under ``portfolio_*``, and ``per_symbol``: symbol to `Statistics`.

    Pooled trades are one sample in order of exit, not a portfolio: what was open at the same time counts as one after
    the other.

    ``per_symbol`` is ordered by Sharpe ratio, best first, symbols without one last.

    Examples
    --------
    >>> from bknb.metrics.statistics import heat_statistics
    >>> trade = {"symbol": "BTCUSDT", "pending_at": 60_000, "closed_at": 120_000, "pnl_percentage": 1.5}
    >>> heat = heat_statistics([trade, trade | {"symbol": "ETHUSDT", "pnl_percentage": -0.5}])
    >>> heat["portfolio_total_pnl"], heat["per_symbol"]["ETHUSDT"]["total_pnl"]
    (1.0, -0.5)
    """

    __slots__ = ()
    _definitions = HEAT_DEFINITIONS

    def __repr__(self) -> str:
        head = ["symbol", *_SYMBOL_COLUMNS]
        rows = [head, *([symbol, *values] for symbol, values in self._symbol_rows())]
        widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
        lines = [
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        title = f"Statistics of {self['portfolio_total_trades']} closed trades by symbol"
        return "\n".join([_text_table(title, self._shown()), "", NO_PORTFOLIO, "", *lines])

    def _repr_html_(self) -> str:
        titles = [element("th", DEFINITIONS[key].label, title=_tooltip(DEFINITIONS[key])) for key in _SYMBOL_COLUMNS]
        rows = [element("tr", elements("td", [symbol, *cells])) for symbol, cells in self._symbol_rows()]
        head = element("thead", element("tr", element("th", "Symbol"), *titles))
        table = element("table", head, element("tbody", *rows))
        return fragment(table, element("p", NO_PORTFOLIO), _html_table(self._shown()))

    def _symbol_rows(self) -> Iterable[tuple[str, list[str]]]:
        for symbol, stats in self["per_symbol"].items():
            yield symbol, [DEFINITIONS[key].show(stats[key]) for key in _SYMBOL_COLUMNS]


def _text_table(title: str, rows: list[tuple[Definition, Figure]]) -> str:
    """Label, value, unit and name, aligned."""
    shown: list[tuple[str, str, str, str]] = []
    for own, figure in rows:
        text = own.show(figure)
        shown.append((own.label, text, "" if text == NOT_AVAILABLE else own.unit, own.key))
    label, value, unit = (max((len(row[at]) for row in shown), default=0) for at in range(3))
    lines = [f"{row[0]:<{label}}  {row[1]:>{value}} {row[2]:<{unit}}  {row[3]}" for row in shown]
    return "\n".join([title, *lines])


def _html_table(rows: list[tuple[Definition, Figure]]) -> Html:
    """Label and value with unit; the definition is the tooltip of the row."""
    body: list[Html] = []
    for own, value in rows:
        shown = own.show(value)
        unit = f" {own.unit}" if own.unit and shown != NOT_AVAILABLE else ""
        label = element("td", own.label, style="text-align:left")
        figure = element("td", shown + unit, style="text-align:right")
        body.append(element("tr", label, figure, title=_tooltip(own)))
    return element("table", element("tbody", *body))


def _tooltip(own: Definition) -> str:
    nothing = f". n/a when: {own.null_when}" if own.null_when else ""
    return f"{own.key}: {own.formula}{nothing}"
