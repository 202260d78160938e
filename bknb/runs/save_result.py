"""The files of a result: a tear sheet, a picture, and its tables for Excel, as CSV and as Parquet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, overload

from ..domain.text import readable, without_formula
from ..errors import MissingDependency, UsageError
from ..version import __version__

if TYPE_CHECKING:
    import pandas as pd

    from ..reports.tearsheet import TearSheet

FilePath = str | os.PathLike[str]

_SUFFIXES: Final = {".html": "the tear sheet", ".png": "the picture"}
_LEAST_DAYS: Final = 30  # of a bootstrap of daily returns
_MOST_ROWS: Final = 1_048_575  # of an Excel sheet, below the heads of the columns


class Savable:
    """What a result can be written to; ``Result`` and ``PortfolioResult`` have it."""

    trades: Any
    fills: Any

    @overload
    def tearsheet(self, path: None = None) -> TearSheet: ...
    @overload
    def tearsheet(self, path: FilePath) -> Path: ...

    def tearsheet(self, path: FilePath | None = None) -> TearSheet | Path:
        """Return the tear sheet, or write it as one HTML file that needs neither network nor script to be read.

        It has the account with its benchmark, months, drawdowns, exposure, legs, figures and trades, costs, what was
        refused, and what was assumed; it is light or dark as its reader's system is, and light on paper. The run card
        is inside, where one can be made.

        Parameters
        ----------
        path
            The file, which ends with ``.html``. Without one the sheet is returned, and a notebook shows it.

        Raises
        ------
        DataError
            When the candles were released before this was asked for, and cannot be read again.
        UsageError
            The path is none, or ends otherwise; or the disk did not take the file.

        Examples
        --------
        >>> import bknb, tempfile
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.tearsheet(f"{folder}/sheet.html").read_text()[:15]
        '<!doctype html>'
        """
        if path is None:
            return _sheet(self)
        from ..stores.atomic import as_path, write_named

        place = as_path(path, "./dump/tearsheet.html")
        if place.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"a tear sheet is an HTML file, got the path {place}\ngive one that ends with .html")
        return write_named(place, _sheet(self).html.encode())

    def save(self, path: FilePath) -> Path:
        """Write the tear sheet to a file that ends with ``.html``, or the picture to one with ``.png``.

        Returns
        -------
        Path

        Raises
        ------
        MissingDependency
            A picture needs matplotlib.
        UsageError
            The path is none, or ends otherwise; a portfolio without a capital has no picture; or the disk did not take
            the file.

        Examples
        --------
        >>> import bknb, tempfile
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.save(f"{folder}/sheet.html").name
        'sheet.html'
        """
        from ..stores.atomic import as_path, write_named

        place = as_path(path, "./dump/result.html")
        kind = place.suffix.lower()
        if kind not in _SUFFIXES:
            known = " or ".join(f"{suffix} ({what})" for suffix, what in _SUFFIXES.items())
            raise UsageError(
                f"save() writes files that end with {known}, got the path {place}\n"
                "tables are written by to_excel, to_csv and to_parquet, the report is the text of report()"
            )
        return self.tearsheet(place) if kind == ".html" else write_named(place, _png(self))

    def to_csv(self, folder: FilePath) -> Path:
        """Write ``trades.csv`` and ``fills.csv`` into a folder, and return the path of the first.

        The columns are those of ``.trades`` and ``.fills``. No note, id or symbol is a formula in a spreadsheet: a text
        that begins with ``=``, ``+``, ``-`` or ``@`` and is no number gets an apostrophe in front.

        Parameters
        ----------
        folder
            The folder; it is made when it is missing. Files of these names in it are replaced, others are left alone.

        Returns
        -------
        Path
            The path of ``trades.csv`` in the folder.

        Raises
        ------
        UsageError
            The path is none, ends in ``.csv``, or is that of a file: give the folder. The disk did not take the file:
            choose another folder, or make room and allow writing there.

        Examples
        --------
        >>> import bknb, tempfile
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.to_csv(folder).name
        'trades.csv'
        """
        from ..stores.atomic import write_named

        place = _folder(folder, "csv")
        for name, table in (("fills.csv", self.fills), ("trades.csv", self.trades)):
            safe = table.map(lambda value: without_formula(value) if isinstance(value, str) else value)
            written = write_named(place / name, safe.to_csv(index=False).encode())
        return written

    def to_parquet(self, folder: FilePath) -> Path:
        """Write ``trades.parquet``, ``fills.parquet`` and ``equity.parquet`` into a folder; the path of the first.

        Times have their zone, UTC. There is no file of the equity where there is no account.

        Parameters
        ----------
        folder
            As for ``to_csv``.

        Returns
        -------
        Path
            The path of ``trades.parquet`` in the folder.

        Raises
        ------
        MissingDependency
            Without pyarrow.
        UsageError
            As ``to_csv``.

        Examples
        --------
        >>> import bknb, pytest, tempfile
        >>> pyarrow = pytest.importorskip("pyarrow")
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result.to_parquet(folder).name
        'trades.parquet'
        """
        import io

        from ..stores.atomic import write_named

        place = _folder(folder, "parquet")
        equity = _equity(self)
        tables = {} if equity is None else {"equity": equity.rename_axis("at").reset_index()}
        for name, table in {**tables, "fills": self.fills, "trades": self.trades}.items():
            content = io.BytesIO()
            try:
                table.to_parquet(content, index=False)
            except ImportError:
                raise MissingDependency("pyarrow", purpose="to_parquet", extra="parquet") from None
            written = write_named(place / f"{name}.parquet", content.getvalue())
        return written

    def to_excel(self, path: FilePath) -> Path:
        """Write an Excel file with account, trades, fills, months, drawdowns and legs, one sheet each.

        Excel has no time zones: times are UTC without one, and the heads of their columns say so. No text is a formula.
        There are as many sheets as the result has tables: without an account there are trades and fills.

        Parameters
        ----------
        path
            The file, which ends with ``.xlsx``.

        Raises
        ------
        MissingDependency
            Without openpyxl and without xlsxwriter.
        UsageError
            The path is none, or ends otherwise; a table has more rows than Excel takes; or the disk did not take the
            file.

        Examples
        --------
        >>> import bknb
        >>> result = bknb.backtest("BTCUSDT", strategy=lambda: None, exchange="demo", frame="2024-01-01:2024-01-02")
        >>> result.to_excel("trades.csv")
        Traceback (most recent call last):
            ...
        bknb.errors.UsageError: an Excel file ends with .xlsx, got the path trades.csv
        give one that does; to_csv writes CSV files
        """
        import io
        from importlib.util import find_spec

        import pandas as pd

        from ..stores.atomic import as_path, write_named

        place = as_path(path, "./dump/result.xlsx")
        if place.suffix.lower() != ".xlsx":
            raise UsageError(
                f"an Excel file ends with .xlsx, got the path {place}\ngive one that does; to_csv writes CSV files"
            )
        tables = excel_tables(self)
        engine = next((name for name in ("openpyxl", "xlsxwriter") if find_spec(name) is not None), None)
        if engine is None:
            raise MissingDependency("openpyxl", purpose="to_excel", extra="excel")
        content = io.BytesIO()
        with pd.ExcelWriter(content, engine=engine) as writer:  # type: ignore[call-overload]  # the name of an engine
            for name, table in tables.items():
                table.to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 0))
        return write_named(place, content.getvalue())


def excel_tables(result: Any) -> dict[str, pd.DataFrame]:
    """The tables of a result by the names of their sheets, as Excel can hold them.

    Raises
    ------
    UsageError
        A table has more rows than a sheet.
    """
    found: dict[str, pd.DataFrame] = {"trades": result.trades, "fills": result.fills}
    account = _account(result)
    if account is not None:
        import pandas as pd

        rows = [
            (known.label, account[key], known.unit, account.reasons.get(key, ""))
            for key, known in account.definitions.items()
            if key in account
        ]
        table = pd.DataFrame(rows, columns=["figure", "value", "unit", "not available because"])
        months = result.calendar("month").rename_axis("month").reset_index()
        found = {
            "account": table,
            **found,
            "months": months.assign(month=months["month"].astype(str)),
            "drawdowns": result.drawdowns(20),
        }
        if getattr(result, "legs", None):
            found["legs"] = result.contribution.reset_index()
    for name, table in found.items():
        if len(table) > _MOST_ROWS:
            raise UsageError(
                f"{len(table):,} {name} do not fit into a sheet of Excel, which has {_MOST_ROWS:,} rows\n"
                "to_csv and to_parquet write as many as there are"
            )
    return {name: _for_excel(table) for name, table in found.items()}


def _for_excel(table: pd.DataFrame) -> pd.DataFrame:
    """The table with times in UTC without a zone, and no text that is a formula or that Excel cannot hold."""
    import pandas as pd

    zoned = [str(name) for name in table if isinstance(table[name].dtype, pd.DatetimeTZDtype)]
    plain = table.map(lambda value: readable(without_formula(value)) if isinstance(value, str) else value)
    plain = plain.assign(**{name: table[name].dt.tz_convert("UTC").dt.tz_localize(None) for name in zoned})
    return plain.rename(columns={name: f"{name} (UTC)" for name in zoned})


def _account(result: Any) -> Any:
    """The figures of the account; ``None``: there is none."""
    if hasattr(result, "legs") and result.run_account is None:
        return None
    account = result.account
    return None if account.reasons.get("total_return") else account


def _equity(result: Any) -> pd.DataFrame | None:
    return None if _account(result) is None else result.equity.to_frame()


def _folder(given: FilePath, kind: str) -> Path:
    """The folder that tables are written into."""
    from ..stores.atomic import as_path

    place = as_path(given, "./dump")
    if place.is_file() or (place.suffix.lower() == f".{kind}" and not place.is_dir()):
        raise UsageError(
            f"to_{kind} writes trades.{kind} into a folder, and {place} is the path of a file\n"
            f"give the folder, such as to_{kind}({str(place.parent)!r})"
        )
    return place


def _png(result: Any) -> bytes:
    if hasattr(result, "legs"):
        from ..reports.portfolio_figure import portfolio_png

        return portfolio_png(result)
    from ..reports.equity_png import equity_png

    return equity_png(result)


def _sheet(result: Any) -> TearSheet:
    """The tear sheet with the run card, where one can be made."""
    from ..reports.tearsheet import tearsheet

    try:
        card = result.card
    except UsageError as error:
        no_card = str(error).partition("\n")[0]
        return tearsheet(result, no_card=no_card, versions={"bknb": __version__}, ranges=account_ranges(result))
    return tearsheet(result, card=card.brief().to_json(), versions=card.made_with, ranges=account_ranges(result))


def account_ranges(result: Any) -> dict[str, tuple[float, float]]:
    """Where the return a year and the Sharpe ratio of the account lie in nine of ten resamples of its daily returns.

    1 000 stationary block bootstraps, always the same ones; empty where a figure is not available, without an account,
    and below 30 days.
    """
    if hasattr(result, "legs") and result.capital is None:
        return {}
    account = result.account
    if account["cagr"] is None or account["sharpe"] is None:
        return {}
    daily = result.returns("1D").to_numpy(dtype="float64") * 100
    if len(daily) < _LEAST_DAYS or (daily <= -100).any():
        return {}
    import numpy as np

    from ..domain.least_samples import GATES
    from ..metrics.compounding import final_equity
    from ..research.bootstrap import MAIN, bootstrap

    years = float(account["frame_days"]) / GATES.days_a_year
    scale = float(account["days_a_year"]) ** 0.5
    found = bootstrap(
        daily,
        seed=1,
        resamples=1000,
        figures={
            "cagr": lambda rows: (np.asarray(final_equity(rows)) ** (1 / years) - 1) * 100,
            "sharpe": lambda rows: MAIN["sharpe_ratio"](rows) * scale,
        },
    )
    return {
        name: (each.low, each.high) for name, each in found.items() if each.low is not None and each.high is not None
    }
