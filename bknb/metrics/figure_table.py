"""Figures by name: mappings with definitions, explanations and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec.structs import replace

from ..domain.formatting import NOT_AVAILABLE
from ..errors import UnknownName
from .reasons import BELOW_ZERO, PEAKS_IN_PERCENT
from .trade_definitions import DEFINITIONS, HEAT_DEFINITIONS, NO_PORTFOLIO, OF_ACCOUNT, OF_PEAKS, OF_RESULTS, Definition
from .why_figure_is_missing import why_missing, why_missing_pooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..domain.html import Html

_HIDDEN: Final = ("total_trades", "per_symbol")
_SYMBOL_COLUMNS: Final = (
    "total_trades",
    "win_rate",
    "total_pnl",
    "sharpe_ratio",
    "profit_factor",
    "max_drawdown",
)


def in_points(definitions: Mapping[str, Definition]) -> dict[str, Definition]:
    """Definitions of figures of results in points: without those of percentages and of accounts.

    Examples
    --------
    >>> in_points(DEFINITIONS)["total_pnl"].unit, in_points(DEFINITIONS)["win_rate"].unit
    ('points', '%')
    """
    made = dict(definitions)
    for name, own in definitions.items():
        key = name.removeprefix("portfolio_")
        if key in OF_ACCOUNT:
            made[name] = replace(own, null_when=BELOW_ZERO)
        elif key in OF_PEAKS:
            made[name] = replace(own, unit="points", null_when=PEAKS_IN_PERCENT)
        elif key in OF_RESULTS:
            made[name] = replace(own, unit="points")
    return made


class Explained(dict[str, Any]):
    """Figures by name, each with its definition; what `Statistics` and `HeatStatistics` have in common."""

    __slots__ = ()
    _definitions: ClassVar[dict[str, Definition]]
    in_points: bool

    @property
    def definitions(self) -> dict[str, Definition]:
        """The definition of every figure, by name; figures of one symbol in a heat table have their own."""
        return in_points(self._definitions) if self.in_points else self._definitions

    def __missing__(self, key: object) -> Any:
        known = f"known: {', '.join(self)}"
        raise KeyError(str(UnknownName("figure", key, known=self, listing=known)).replace("\n", "; "))

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

    def _shown(self) -> list[tuple[Definition, str]]:
        """Definition and text of each figure, with the reason where it is not available."""
        shown = [(self.definitions[key], value) for key, value in self.items() if key not in _HIDDEN]
        return [(own, self._with_reason(own, own.show(value))) for own, value in shown]

    def _with_reason(self, own: Definition, text: str) -> str:
        return f"{text}: {self._why(own.key)}" if text == NOT_AVAILABLE else text

    def _why(self, key: str) -> str:
        """Why a figure is not available."""
        return self.definitions[key].null_when


class Statistics(Explained):
    """Figures of one sample of closed trades, by name; None where a figure is not available.

    A plain dict of int, float, str, bool and None, so it goes into JSON as it is; it prints itself as a
    table, shows itself as one in a notebook, and explains every figure.

    Attributes
    ----------
    selected : str
        Which trades were left out; empty when none was.
    in_points : bool
        Whether results are in points: a position opened at or below zero, of which there is no percentage.
    closed_below_zero : bool
        Whether a trade closed at or below zero: there is no trend and no step in percent of such prices.

    Examples
    --------
    >>> from bknb.metrics.statistics import statistics
    >>> stats = statistics([{"pending_at": 60_000, "closed_at": 120_000, "pnl_percentage": 1.5}])
    >>> stats["total_pnl"], stats["sharpe_ratio"]
    (1.5, None)
    >>> print(stats.explain("total_pnl"))
    Sum of results [total_pnl]
      value     1.5000 % (higher is better)
      formula   sum(r), not compounded
      n/a when  no trade
      source    plain arithmetic
    """

    __slots__ = ("closed_below_zero", "in_points", "selected")
    _definitions = DEFINITIONS
    selected: str
    in_points: bool
    closed_below_zero: bool

    def __init__(
        self,
        figures: Mapping[str, Any] | None = None,
        *,
        selected: str = "",
        in_points: bool = False,
        closed_below_zero: bool = False,
    ) -> None:
        super().__init__(figures or {})
        self.selected, self.in_points, self.closed_below_zero = selected, in_points, closed_below_zero

    def replaced(self, others: Mapping[str, Any]) -> Statistics:
        """The same sample with some figures replaced."""
        return Statistics(
            {**self, **others},
            selected=self.selected,
            in_points=self.in_points,
            closed_below_zero=self.closed_below_zero,
        )

    def _why(self, key: str) -> str:
        return why_missing(key, self)

    def _title(self) -> str:
        kind = "selected" if self.selected else "closed"
        title = f"Statistics of {self['n']} {kind} trade{'' if self['n'] == 1 else 's'}"
        return f"{title}, {self.selected}" if self.selected else title

    def __repr__(self) -> str:
        return _text_table(self._title(), self._shown())

    def _repr_html_(self) -> Html:
        from ..domain.html import element, fragment  # figures alone need it not

        head = element("p", self._title()) if self.selected else None
        return fragment(head, _html_table(self._shown()))


def for_ranking(figures: Statistics) -> Statistics:
    """The figures of a sample without those in points: beside percentages of another sample they say nothing."""
    if not figures.in_points:
        return figures
    return figures.replaced(dict.fromkeys(OF_RESULTS))


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

    __slots__ = ("in_points",)
    _definitions = HEAT_DEFINITIONS
    in_points: bool

    def __init__(self, figures: Mapping[str, Any] | None = None, *, in_points: bool = False) -> None:
        super().__init__(figures or {})
        self.in_points = in_points

    def _why(self, key: str) -> str:
        return why_missing_pooled(key, self)

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
        from ..domain.html import element, elements, fragment  # as above

        titles = [element("th", DEFINITIONS[key].label, title=_tooltip(DEFINITIONS[key])) for key in _SYMBOL_COLUMNS]
        rows = [element("tr", elements("td", [symbol, *cells])) for symbol, cells in self._symbol_rows()]
        head = element("thead", element("tr", element("th", "Symbol"), *titles))
        table = element("table", head, element("tbody", *rows))
        return fragment(table, element("p", NO_PORTFOLIO), _html_table(self._shown()))

    def _symbol_rows(self) -> Iterable[tuple[str, list[str]]]:
        for symbol, stats in self["per_symbol"].items():
            shown = ((DEFINITIONS[key], DEFINITIONS[key].show(stats[key])) for key in _SYMBOL_COLUMNS)
            yield symbol, [stats._with_reason(own, text) for own, text in shown]


def _text_table(title: str, rows: list[tuple[Definition, str]]) -> str:
    """Label, value, unit and name, aligned; a reason takes the room of value and unit."""
    known = [(own, text) for own, text in rows if not text.startswith(NOT_AVAILABLE)]
    label = max((len(own.label) for own, _ in rows), default=0)
    value, unit = (
        max(map(len, texts), default=0) for texts in ([text for _, text in known], [own.unit for own, _ in known])
    )
    values = [
        text if text.startswith(NOT_AVAILABLE) else f"{text:>{value}} {own.unit:<{unit}}".rstrip() for own, text in rows
    ]
    width = max(map(len, values), default=0)
    lines = [f"{own.label:<{label}}  {text:<{width}}  {own.key}" for (own, _), text in zip(rows, values, strict=True)]
    return "\n".join([title, *lines])


def _html_table(rows: list[tuple[Definition, str]]) -> Html:
    """Label and value with unit; the definition is the tooltip of the row."""
    from ..domain.html import element  # as above

    body: list[Html] = []
    for own, shown in rows:
        unit = f" {own.unit}" if own.unit and not shown.startswith(NOT_AVAILABLE) else ""
        label = element("td", own.label, style="text-align:left")
        figure = element("td", shown + unit, style="text-align:right")
        body.append(element("tr", label, figure, title=_tooltip(own)))
    return element("table", element("tbody", *body))


def _tooltip(own: Definition) -> str:
    nothing = f". n/a when: {own.null_when}" if own.null_when else ""
    return f"{own.key}: {own.formula}{nothing}"
