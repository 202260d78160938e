"""Sources over candles of your own: a DataFrame, a CSV file, a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..domain.formatting import plain_number, utc_text
from ..domain.interval import MINUTE_MS, interval_ms
from ..errors import BadCandle, MissingDependency, UnknownName, UsageError
from ..market.candles import COLUMNS, Candles, to_candles
from ..market.sessions import Sessions, as_sessions
from ..market.spacing import measured
from ..stores.atomic import as_path

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


class FrameSource:
    """One-minute candles held in memory, of one symbol or of many.

    Parameters
    ----------
    candles
        ``Candles`` that are served under every symbol, or a mapping from symbol to ``Candles``.
    name, sessions
        As in :func:`from_frame`.

    Attributes
    ----------
    warnings : tuple of str
        What was repaired on loading; a feed reports it.
    reopen : callable or None
        Reads its file again and returns another such source; ``None`` for candles that came from no file.

    Raises
    ------
    UsageError
        When the candles are not one-minute candles.

    Examples
    --------
    >>> import asyncio
    >>> rows = [(minute * 60_000, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(10)]
    >>> source = FrameSource(Candles.from_rows(rows), name="mine")
    >>> asyncio.run(source.get_candles("BTCUSDT", "1m", 120_000, 3)).timestamp.tolist()
    [120000, 180000, 240000]
    """

    intervals: tuple[str, ...] | None = ("1m",)
    page_limit: int | None = None
    in_memory = True  # its candles live as long as the source

    def __init__(
        self, candles: Candles | Mapping[str, Candles], *, name: str = "frame", sessions: Sessions | str | None = None
    ) -> None:
        self.name = name
        self.sessions = as_sessions(sessions)
        self.reopen: Callable[[], FrameSource] | None = None
        notes: list[str] = []
        self._every: Candles | None = None
        self._by_symbol: dict[str, Candles] = {}
        if isinstance(candles, Candles):
            self._every = _minutes(candles, name, notes)
        elif not isinstance(candles, Mapping):
            raise UsageError(f"a FrameSource needs bknb.Candles or a mapping from symbol to them, got {candles!r:.80}")
        else:
            self._by_symbol = {symbol: _minutes(part, f"{name}, {symbol}", notes) for symbol, part in candles.items()}
        self.warnings = tuple(notes)

    @property
    def symbols(self) -> tuple[str, ...] | None:
        """The symbols it serves; ``None``: the same candles under any name."""
        return None if self._every is not None else tuple(self._by_symbol)

    async def get_candles(self, symbol: str, interval: str, since: int, limit: int) -> Candles:
        """The candles of the ``limit`` minutes from ``since`` on, as far as they are there (a view, not a copy).

        Raises
        ------
        UnknownName
            For a symbol that is not in the data.
        UsageError
            For another interval than ``1m``; a feed resamples.
        """
        if interval != "1m":
            interval_ms(interval)
            raise UsageError(f"{self.name!r} holds 1m candles, not {interval}; bknb.get_candles resamples them")
        candles = self._every if self._every is not None else self._by_symbol.get(symbol)
        if candles is None:
            raise UnknownName("symbol", symbol, known=self._by_symbol)
        first, end = np.searchsorted(candles.timestamp, [since, since + limit * MINUTE_MS])
        return candles[int(first) : int(end)]

    def format_price(self, symbol: str, price: float) -> str:  # noqa: ARG002 -- the port's signature
        """A price in plain decimals."""
        return plain_number(price)

    def format_quantity(self, symbol: str, quantity: float) -> str:  # noqa: ARG002 -- the port's signature
        """A quantity in plain decimals."""
        return plain_number(quantity)


def from_frame(
    frame: pd.DataFrame | Candles,
    *,
    symbol: str | None = None,
    name: str = "frame",
    sessions: Sessions | str | None = None,
) -> FrameSource:
    """A source over one-minute candles in a DataFrame (or ``Candles``).

    Parameters
    ----------
    frame
        Columns ``open, high, low, close, volume`` in any case, and ``timestamp`` (UTC milliseconds or
        datetimes, naive ones taken as UTC) as a column, or a ``DatetimeIndex``. A column ``symbol`` makes it
        the candles of many. The values are copied.
    symbol
        ``None``: one series of candles is served under every symbol. Otherwise only this symbol is served.
    name
        For reports and messages.
    sessions
        When the market is open: ``"fx"``, ``"us-equities"``, an exchange's calendar such as ``"XLON"``, or
        :class:`bknb.Sessions`; ``None``: always.

    Raises
    ------
    UsageError
        A column is missing, or the candles are not one-minute candles.
    BadCandle
        A value is missing or is not a number.

    Examples
    --------
    >>> import pandas as pd
    >>> times = pd.date_range("2022-01-01", periods=3, freq="min")
    >>> frame = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=times)
    >>> from_frame(frame).symbols is None, from_frame(frame, symbol="BTCUSDT").symbols
    (True, ('BTCUSDT',))
    """
    if not isinstance(frame, Candles) and not (hasattr(frame, "columns") and hasattr(frame, "index")):
        raise UsageError(f"from_frame needs a DataFrame or bknb.Candles, got {type(frame).__name__}")
    return _source(frame, symbol=symbol, name=name, place=lambda row: f"row {row}", sessions=sessions)


def from_csv(
    path: str | Path,
    *,
    symbol: str | None = None,
    name: str | None = None,
    sessions: Sessions | str | None = None,
) -> FrameSource:
    r"""A source over one-minute candles in a CSV file, also compressed (``.csv.gz``, ``.zip``, ``.xz``).

    The file begins with a header line; for the columns see :func:`from_frame`. Datetimes are written as in
    ISO 8601.

    Parameters
    ----------
    path
        The file; it is read now, and again where a finished run needs candles that were released meanwhile.
    name
        For reports and messages; by default the file's name.
    symbol, sessions
        As in :func:`from_frame`.

    Raises
    ------
    UsageError
        The file cannot be read, a column is missing, or the candles are not one-minute candles.
    BadCandle
        A value is missing or is not a number; the message holds the line.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "btc.csv"
    ...     _ = path.write_text("timestamp,open,high,low,close,volume\n0,1,1,1,1,5\n60000,1,1,1,1,5\n")
    ...     source = from_csv(path)
    >>> source.name
    'btc.csv'
    """
    import pandas as pd

    file = _existing(path)
    try:
        # Blank lines are dropped below, after messages could name the true line.
        frame = pd.read_csv(file, low_memory=False, skip_blank_lines=False, **exact_floats(pd.__version__))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, OSError, EOFError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as CSV: {str(error).strip()}") from error
    frame = frame.dropna(how="all")
    return _file_source(
        from_csv, file, frame, lambda row: f"line {row + 2}", symbol=symbol, name=name, sessions=sessions
    )


def from_parquet(
    path: str | Path,
    *,
    symbol: str | None = None,
    name: str | None = None,
    sessions: Sessions | str | None = None,
) -> FrameSource:
    """A source over one-minute candles in a Parquet file; for the columns see :func:`from_frame`.

    Parameters
    ----------
    path, symbol, name, sessions
        As in :func:`from_csv`.

    Raises
    ------
    MissingDependency
        pyarrow is not installed.
    UsageError
        The file cannot be read, a column is missing, or the candles are not one-minute candles.
    BadCandle
        A value is missing or is not a number.

    Examples
    --------
    >>> source = from_parquet("btc-2022.parquet")  # doctest: +SKIP
    """
    try:
        import pyarrow
    except ImportError:
        raise MissingDependency("pyarrow", purpose="reading a Parquet file", extra="parquet") from None
    import pandas as pd

    file = _existing(path)
    try:
        frame = pd.read_parquet(file, engine="pyarrow")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{file}: cannot be read as Parquet: {str(error).strip().splitlines()[0]}") from error
    return _file_source(
        from_parquet, file, frame, lambda row: f"row {row}", symbol=symbol, name=name, sessions=sessions
    )


def exact_floats(version: str) -> dict[str, Any]:
    """Options that make pandas read every float to the last bit.

    Since 3.1 it always does, and the option is on its way out; before, its ordinary converter may miss by one bit.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _existing(path: str | Path) -> Path:
    file = as_path(path).expanduser()
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else f"does not exist (looked from {Path.cwd()})"
        raise UsageError(f"{file}: {what}")
    return file


def _file_source(
    read: Callable[..., FrameSource],
    file: Path,
    frame: pd.DataFrame,
    place: Callable[[Any], str],
    *,
    name: str | None,
    **options: Any,
) -> FrameSource:
    source = _source(frame, name=name or file.name, where=str(file), place=place, **options)
    source.reopen = partial(read, file.resolve(), name=source.name, **options)
    return source


def _source(
    frame: pd.DataFrame | Candles,
    *,
    symbol: str | None,
    name: str,
    place: Callable[[Any], str],
    where: str | None = None,
    sessions: Sessions | str | None = None,
) -> FrameSource:
    where = where or name
    if isinstance(frame, Candles):
        return FrameSource(frame if symbol is None else {symbol: frame}, name=name, sessions=sessions)
    columns = {str(column).strip().lower(): column for column in frame.columns}
    frame = _readable(frame, columns, where=where, place=place)
    if "symbol" not in columns:
        candles = to_candles(frame)
        return FrameSource(candles if symbol is None else {symbol: candles}, name=name, sessions=sessions)
    parts = {str(key): to_candles(part) for key, part in frame.groupby("symbol", sort=False)}
    if symbol is not None:
        if symbol not in parts:
            raise UnknownName("symbol", symbol, known=parts)
        parts = {symbol: parts[symbol]}
    return FrameSource(parts, name=name, sessions=sessions)


def _readable(frame: pd.DataFrame, columns: dict[str, Any], *, where: str, place: Callable[[Any], str]) -> pd.DataFrame:
    """The columns that matter under their own names, every value parsed, or the first value that is none."""
    import pandas as pd

    has_times = "timestamp" in columns or isinstance(frame.index, pd.DatetimeIndex)
    missing = [name for name in COLUMNS if name not in columns and (name != "timestamp" or not has_times)]
    if missing:
        found = ", ".join(str(column) for column in frame.columns)
        raise UsageError(
            f"{where}: needs the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}\n"
            f"found: {found[:120]}; rename the columns (or add the header line)"
        )
    data: dict[str, Any] = {}
    if "timestamp" in columns:
        given = frame[columns["timestamp"]]
        data["timestamp"] = _parsed(given, _times(given), where=where, place=place, rule="UTC milliseconds or ISO 8601")
    else:
        data["timestamp"] = _times(frame.index.to_series())
    for name in COLUMNS[1:]:
        given = frame[columns[name]]
        data[name] = _parsed(given, pd.to_numeric(given, errors="coerce"), where=where, place=place, rule="a number")
    if "symbol" in columns:
        data["symbol"] = frame[columns["symbol"]]
    return pd.DataFrame(data)


def _times(given: pd.Series[Any]) -> pd.Series[Any]:
    """Datetimes, or whole milliseconds; ``NaT`` or ``NaN`` where it is neither."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(given):
        return pd.to_datetime(given, utc=True)
    numbers = pd.to_numeric(given, errors="coerce")
    if numbers.notna().any() or not len(given):
        return numbers.where(numbers % 1 == 0) if pd.api.types.is_float_dtype(numbers) else numbers
    return pd.to_datetime(given, utc=True, errors="coerce", format="ISO8601")


def _parsed(
    given: pd.Series[Any], parsed: pd.Series[Any], *, where: str, place: Callable[[Any], str], rule: str
) -> pd.Series[Any]:
    bad = parsed.isna().to_numpy()
    if bad.any():
        at = int(np.argmax(bad))
        raise BadCandle(
            f"{where}, {place(given.index[at])}: {str(given.name).strip()} must be {rule}, got {given.iloc[at]!r}\n"
            "correct the value or leave the row out"
        )
    return parsed


def _minutes(candles: Candles, where: str, notes: list[str]) -> Candles:
    """The candles in order of time, once it is clear that they are one-minute candles."""
    times = candles.timestamp
    back = times[1:] < times[:-1]
    if back.any():
        # A file with the newest candle first is common and in order, only the other way round.
        if not bool((times[1:] <= times[:-1]).all()):
            notes.append(f"{where}: sorted: {int(back.sum())} candles were older than the one before them")
        candles = candles.take(np.argsort(times, kind="stable"))
        times = candles.timestamp
    spacing = measured(times)
    if spacing is None or (spacing.step == MINUTE_MS and not spacing.closer):
        return candles
    if spacing.step <= MINUTE_MS:
        moments = np.unique(times)
        steps = np.diff(moments)
        at = int(np.argmin(steps))
        hint = "; times in seconds must be multiplied by 1000" if spacing.step * 1000 == MINUTE_MS else ""
        raise UsageError(
            f"{where}: two candles are only {int(steps[at])} ms apart (at {utc_text(int(moments[at]))})\n"
            f"bknb needs one-minute candles with times in UTC milliseconds{hint}; measured: {spacing}"
        )
    raise UsageError(
        f"{where}: holds {spacing.interval} candles; bknb needs one-minute candles and makes the others itself\n"
        f"measured: {spacing}"
    )
