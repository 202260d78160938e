"""Which bars a table holds: minutes, or longer ones of one measured length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ..domain.formatting import utc_text
from ..domain.interval import DAY_MS, INTERVAL_MS, MINUTE_MS
from ..errors import DataError, UsageError
from ..market.candle_rows import in_order
from ..market.candles import COLUMNS, Candles
from ..market.spacing import MINUTE, Spacing, measured
from ..market.trading_days import day_labels, moved_note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_ADVICE: Final = "bknb makes longer candles of shorter ones, and never shorter ones of longer ones"


class Bars(NamedTuple):
    """Series of one length, by symbol, and that length as an interval."""

    candles: dict[str | None, Candles]
    interval: str


def bars_of(series: Mapping[str | None, Candles], name: str, notes: list[str]) -> Bars:
    """The series in order of time, once it is clear how long their bars are; daily ones bear their UTC day.

    Parameters
    ----------
    series
        Candles by symbol.
    name
        The name of the table, for messages.
    notes
        What was sorted, and decided about days, is added to it.

    Raises
    ------
    DataError
        Bars are of no interval bknb knows, of several lengths, or not on its grid; the message holds what was measured.
    UsageError
        The symbols have bars of different lengths.
    """
    where = {symbol: name if symbol is None else f"{name}, {symbol}" for symbol in series}
    ordered = {symbol: in_order(part, where[symbol], notes) for symbol, part in series.items()}
    spacings = {symbol: measured(part.timestamp) for symbol, part in ordered.items()}
    longer = {symbol: found for symbol, found in spacings.items() if found is not None and found.wider_than(MINUTE_MS)}
    if not longer:
        for symbol, part in ordered.items():
            _check_minutes(part, spacings[symbol], where[symbol])
        return Bars(ordered, MINUTE)
    first = next(iter(longer))
    interval = longer[first].interval
    for symbol, found in spacings.items():
        is_other = found is not None and (
            found.interval != interval if symbol in longer else found.step % longer[first].step
        )
        if is_other and found is not None:
            raise UsageError(
                f"{where[first]} has {interval} bars, and {where[symbol]} has {found.interval} bars\n"
                "make a source of each"
            )
    made = {
        symbol: _longer(part, longer.get(symbol, longer[first]), where[symbol], notes)
        for symbol, part in ordered.items()
    }
    return Bars(made, interval)


def _longer(candles: Candles, spacing: Spacing, where: str, notes: list[str]) -> Candles:
    """Bars longer than a minute, on the grid of their interval."""
    step, times = spacing.step, candles.timestamp
    measure = f"got candles spaced {spacing.interval}\nmeasured: {spacing}"
    if spacing.interval not in INTERVAL_MS:
        raise DataError(f"{where}: bars of {' '.join(INTERVAL_MS)} are needed, {measure}\n{_ADVICE}")
    if spacing.closer:
        raise DataError(f"{where}: bars of one length are needed, {measure}\nleave out the rows that belong to no bar")
    if step == DAY_MS and (times % DAY_MS).any():
        days = day_labels(times)
        if days is None:
            raise DataError(
                f"{where}: the times of day of daily bars must be alike, {measure}\n"
                "give the day each belongs to, or the zone of its midnight: tz="
            )
        notes.extend(moved_note(times, where))
        candles, times = _relabelled(candles, days), days
    _check_grid(times, step, spacing, where)
    return candles


def _relabelled(candles: Candles, times: NDArray[np.int64]) -> Candles:
    columns = {name: getattr(candles, name) for name in COLUMNS}
    return Candles.from_columns(**{**columns, "timestamp": times})


def _check_grid(times: NDArray[np.int64], step: int, spacing: Spacing, where: str) -> None:
    off = times % step
    if not off.any():
        return
    at = int(np.argmax(off != 0))
    raise DataError(
        f"{where}: {spacing.interval} bars must open at a multiple of {spacing.interval} in UTC, and one opens "
        f"{int(off[at]) // MINUTE_MS} minutes after it (at {utc_text(int(times[at]))})\nmeasured: {spacing}\n"
        "take shorter bars, or daily ones"
    )


def _check_minutes(candles: Candles, spacing: Spacing | None, where: str) -> None:
    times = candles.timestamp
    steps = np.diff(times)
    off = steps % MINUTE_MS != 0
    if spacing is None or not off.any():
        return
    at = int(np.argmin(np.where(off, steps, steps.max() + 1)))
    hint = "; times in seconds must be multiplied by 1000" if spacing.step * 1000 == MINUTE_MS else ""
    raise DataError(
        f"{where}: two candles are only {int(steps[at])} ms apart (at {utc_text(int(times[at]))})\n"
        f"bknb needs one-minute candles with times in UTC milliseconds{hint}; measured: {spacing}"
    )
