"""Reading a source of an optimizer, page by page, each row once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ..errors import DataError, UsageError
from ..llm.tables import Row

PAGE: Final = 100
MOST_ROWS: Final = 10_000
OFFERED: Final = ("symbol", "start", "end", "limit", "offset", "exchange")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows about a range of time that a model is shown.

    Attributes
    ----------
    name : str
        For the conversation and for progress.
    fetch : callable
        Asks for what it wants by parameter name, any of ``symbol``, ``start``, ``end`` (aware datetimes),
        ``limit``, ``offset`` and ``exchange``; sync or async. Returns mappings with a unique ``id``, oldest first, or
        a DataFrame. Without ``limit`` among its parameters it is asked once and gives everything.
    note : str
        One sentence for the model about what the rows are.
    legend : mapping
        Column -> what it means.
    user, assistant : callable, optional
        ``(symbol, rows, name) -> text`` in place of the templates' own words.

    Examples
    --------
    >>> import bknb
    >>> news = bknb.sources.Source(name="news", fetch=lambda start, end: [{"id": "1", "title": "calm"}])
    >>> news.name, news.note
    ('news', '')
    """

    name: str
    fetch: Callable[..., Any]
    note: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)
    user: Callable[..., str] | None = None
    assistant: Callable[..., str] | None = None


_FIELDS: Final = ("name", "fetch", "note", "legend", "user", "assistant")


def as_source(given: object, *, number: int) -> Source:
    """Return a source, a mapping with its fields, or a function as a :class:`Source`.

    Examples
    --------
    >>> def headlines(symbol, start, end):
    ...     return []
    >>> as_source(headlines, number=1).name
    'headlines'
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, Mapping):
        unknown = [str(key) for key in given if key not in _FIELDS]
        if unknown or not callable(given.get("fetch")):
            problem = f"it has {unknown[0]!r}" if unknown else "its 'fetch' is not a function"
            raise UsageError(f"source {number}: {problem}\na source is a mapping with {', '.join(_FIELDS)}")
        values = {"name": f"source {number}", **given}
        return _checked(Source(**values), number)
    if callable(given):
        name = getattr(given, "__name__", "")
        return _checked(Source(name=name if name.isidentifier() else f"source {number}", fetch=given), number)
    raise UsageError(
        f"source {number} must be a function, a mapping with 'name' and 'fetch', or from bknb.sources\n"
        f"got {given!r:.80}"
    )


def _checked(source: Source, number: int) -> Source:
    unknown = [name for name in _needed(source.fetch) if name not in OFFERED]
    if unknown:
        raise UsageError(
            f"source {number}: {source.name} asks for {unknown[0]!r}\n"
            f"it may ask for any of {', '.join(OFFERED)}; give other parameters a default"
        )
    return source


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def _needed(function: Callable[..., Any]) -> list[str]:
    return [
        each.name
        for each in _parameters(function)
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]


async def read_rows(source: Source, *, symbol: str, start: datetime, end: datetime, exchange: Any = None) -> list[Row]:
    """Return every row of a source between two moments, page after page, each id once.

    Raises
    ------
    DataError
        When the source fails, answers more than it was asked for, does not end, or gives rows without ``id``.
    """
    asked = {each.name for each in _parameters(source.fetch)}
    takes_all = any(each.kind is each.VAR_KEYWORD for each in _parameters(source.fetch))
    pages = takes_all or {"limit", "offset"} <= asked
    found: dict[Any, Row] = {}
    offset = 0
    while True:
        offered = {
            "symbol": symbol,
            "start": start,
            "end": end,
            "limit": PAGE if pages else MOST_ROWS,
            "offset": offset,
            "exchange": exchange,
        }
        page = await _page(source, {name: value for name, value in offered.items() if takes_all or name in asked})
        before = len(found)
        for row in page:
            found.setdefault(_id(source, row), row)
        if pages and len(page) > PAGE:
            raise DataError(f"source {source.name!r} answered {len(page)} rows where {PAGE} were asked for (limit)")
        if not pages or len(page) < PAGE or len(found) == before:  # a full page of known rows: it ignores the offset
            break
        offset += PAGE
        if offset >= MOST_ROWS:
            raise DataError(f"source {source.name!r} has more than {MOST_ROWS:,} rows; choose a shorter range")
    if len(found) > MOST_ROWS:
        raise DataError(f"source {source.name!r} has more than {MOST_ROWS:,} rows; choose a shorter range")
    return list(found.values())


async def _page(source: Source, wanted: dict[str, Any]) -> list[Row]:
    try:
        answer = source.fetch(**wanted)
        if inspect.isawaitable(answer):
            answer = await answer
    except (DataError, UsageError):
        raise
    except Exception as error:
        raise DataError(f"source {source.name!r} failed: {type(error).__name__}: {error}") from error
    if hasattr(answer, "to_dict") and hasattr(answer, "index"):
        return _from_frame(answer)
    if not isinstance(answer, (list, tuple)) or not all(isinstance(row, Mapping) for row in answer):
        raise DataError(
            f"source {source.name!r} must return a list of mappings or a DataFrame, got {type(answer).__name__}"
        )
    return list(answer)


def _from_frame(frame: Any) -> list[Row]:
    rows: list[Row] = []
    for label, row in zip(frame.index, frame.to_dict("records"), strict=True):
        named = {str(key): value for key, value in row.items()}
        rows.append(named if "id" in named else {"id": str(label), (frame.index.name or "time"): label, **named})
    return rows


def _id(source: Source, row: Row) -> Any:
    try:
        key = row["id"]
        hash(key)
    except (KeyError, TypeError):
        raise DataError(
            f"source {source.name!r}: every row needs an 'id' (a number or a text) that no other row has\n"
            f"got a row with {', '.join(map(str, list(row)[:8]))}"
        ) from None
    return key
