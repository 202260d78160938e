"""Contract suite for functions of point-in-time series, to run against your own.

In pytest, subclass :class:`SeriesContract`; elsewhere ``check_series(function, since, until)``.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from ..domain.formatting import utc_text
from ..market.series_tables import checked_columns, read_frame, read_published

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..market.series_rows import SeriesRows

    Ask: TypeAlias = Callable[[int, int], SeriesRows]


def check_series(
    function: Callable[[int, int], Any],
    since: int,
    until: int,
    *,
    time: str = "published_at",
    tz: str | None = None,
) -> None:
    """Check a function of a series against the whole contract.

    Parameters
    ----------
    function
        As for ``bknb.add_series``.
    since, until
        Two moments (UTC ms) between which it has at least two rows that were published at different moments.
    time, tz
        As for ``bknb.add_series``.

    Raises
    ------
    AssertionError
        Naming the first promise that is broken.
    BknbError
        It returns what is no table of a series.

    Examples
    --------
    >>> def hours(since, until):
    ...     return {"published_at": [at for at in range(0, until + 1, 3_600_000) if at >= since]}
    >>> check_series(hours, 1_704_067_200_000, 1_704_153_600_000)
    """
    for promise in PROMISES:
        promise(_asking(function, time=time, tz=tz), since, until)


def _asking(function: Callable[[int, int], Any], *, time: str, tz: str | None) -> Ask:
    columns = checked_columns("yours", time=time, delay="0m", tz=tz, key=None)

    async def awaited(answer: Any) -> Any:
        return await answer

    def ask(since: int, until: int) -> SeriesRows:
        answer = function(since, until)
        if inspect.isawaitable(answer):
            answer = asyncio.run(awaited(answer))
        return read_published(read_frame(answer, columns), columns).all_rows()

    return ask


def _answers_what_was_asked(ask: Ask, since: int, until: int) -> None:
    rows = ask(since, until)
    published = _published(rows)
    early, late = (published < since).any(), (published > until).any()
    span = f"from {utc_text(since)} to {utc_text(until)}"
    _must(not early and not late, f"asked for rows published {span}, got some {'before' if early else 'after'} that")
    _must(len(set(published.tolist())) > 1, f"the contract needs at least two rows of different moments {span}")


def _joins_spans(ask: Ask, since: int, until: int) -> None:
    middle = _middle(ask, since, until)
    whole, parts = [*ask(since, until)], [*ask(since, middle), *ask(middle + 1, until)]
    _must(
        parts == whole,
        f"asked up to {utc_text(middle)} and from then on it must give the rows of both spans together: a row that was "
        "published does not change when time goes on, a revision is a row of its own",
    )


def _repeats_itself(ask: Ask, since: int, until: int) -> None:
    _must(ask(since, until) == ask(since, until), "the same question must be answered the same")


def _knows_an_empty_span(ask: Ask, since: int, until: int) -> None:  # noqa: ARG001
    _must(len(ask(1, 0)) == 0, "a span that holds no moment must give no rows, and no error")


def _middle(ask: Ask, since: int, until: int) -> int:
    moments = sorted(set(_published(ask(since, until)).tolist()))
    return int(moments[(len(moments) - 1) // 2]) if moments else since


def _published(rows: SeriesRows) -> Any:
    return rows[rows.times[0]]


def _must(holds: object, promise: str) -> None:
    # Not an assert statement: the suite must fail under ``python -O``, too.
    if not holds:
        raise AssertionError(promise)


PROMISES: tuple[Callable[[Ask, int, int], None], ...] = (
    _answers_what_was_asked,
    _joins_spans,
    _repeats_itself,
    _knows_an_empty_span,
)


class SeriesContract:
    """The contract as pytest tests: subclass it, and override :meth:`function`.

    Attributes
    ----------
    since, until : int
        Two moments (UTC ms) between which the function has at least two rows, published at different moments.
    time : str
        The column that says when a row was published.
    tz : str or None
        The zone of times that have none.

    Examples
    --------
    >>> class TestHours(SeriesContract):
    ...     def function(self):
    ...         return lambda since, until: {"published_at": [*range(since + -since % 3_600_000, until + 1, 3_600_000)]}
    >>> TestHours().test_it_joins_spans()
    """

    since: int = 1_704_067_200_000
    until: int = 1_704_153_600_000
    time: str = "published_at"
    tz: str | None = None

    def function(self) -> Callable[[int, int], Any]:
        """The function, as it is given to ``bknb.add_series``."""
        raise NotImplementedError("a contract test says in function() what it tests")

    def _hold(self, promise: Callable[[Ask, int, int], None]) -> None:
        promise(_asking(self.function(), time=self.time, tz=self.tz), self.since, self.until)

    def test_it_answers_what_was_asked(self) -> None:
        """A table of rows that were published in the span."""
        self._hold(_answers_what_was_asked)

    def test_it_joins_spans(self) -> None:
        """Two spans joined equal one answer: what was published does not change."""
        self._hold(_joins_spans)

    def test_it_repeats_itself(self) -> None:
        """The same question has the same answer."""
        self._hold(_repeats_itself)

    def test_it_knows_an_empty_span(self) -> None:
        """A span without a moment has no rows."""
        self._hold(_knows_an_empty_span)
