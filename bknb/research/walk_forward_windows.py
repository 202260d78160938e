"""The windows of a walk-forward: where parameters are chosen (train), and where they are tested behind that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from ..domain.interval import DAY_MS, MINUTE_MS
from ..errors import UsageError

_UNITS: Final = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS, "w": 7 * DAY_MS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One step of the walk: UTC ms, each end being the first moment after."""

    train_start: int
    train_end: int
    test_start: int
    test_end: int


def span_ms(value: object, what: str) -> int:
    """A length of time in ms: ``"30d"``, ``"12h"``, ``"2w"``, a number of days, or a timedelta.

    Examples
    --------
    >>> span_ms("12h", "train"), span_ms(2, "train")
    (43200000, 172800000)
    """
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1000)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return round(value * DAY_MS)
    if isinstance(value, str) and value[-1:] in _UNITS:
        try:
            return round(float(value[:-1]) * _UNITS[value[-1]])
        except ValueError:
            pass
    raise UsageError(f"{what} must be a length of time such as '30d', '12h' or a number of days, got {value!r}")


def span_text(span: int) -> str:
    """A length of time (ms) as :func:`span_ms` reads it, in the longest unit of which it is a whole number.

    Examples
    --------
    >>> span_text(172_800_000), span_text(129_600_000)
    ('2d', '36h')
    """
    unit = next(name for name in ("d", "h", "m") if span % _UNITS[name] == 0)
    return f"{span // _UNITS[unit]}{unit}"


def stretches(
    start: int, end: int, *, train_ms: int, test_ms: int, gap_ms: int = 0, warm_up_ms: int = 0, anchored: bool = False
) -> list[Stretch]:
    """The steps of a walk over ``[start, end)``: the tests follow one another, none reaches into another's time.

    ``warm_up_ms`` at the very beginning is for history alone; ``gap_ms`` lies between what chooses and what judges.
    Rolling, every choice looks at ``train_ms``; anchored, at everything since the beginning.

    Examples
    --------
    >>> [step.test_start for step in stretches(0, 100, train_ms=40, test_ms=20)]
    [40, 60, 80]
    >>> [step.train_start for step in stretches(0, 100, train_ms=40, test_ms=20, anchored=True)]
    [0, 0, 0]
    """
    if train_ms <= 0 or test_ms <= 0 or gap_ms < 0 or warm_up_ms < 0:
        raise UsageError("train and test must be longer than nothing, gap and warm_up at least nothing")
    first = start + warm_up_ms
    found = []
    at = first + train_ms
    while at + gap_ms + test_ms <= end:
        found.append(
            Stretch(
                train_start=first if anchored else at - train_ms,
                train_end=at,
                test_start=at + gap_ms,
                test_end=at + gap_ms + test_ms,
            )
        )
        at += test_ms
    if not found:
        need = (warm_up_ms + train_ms + gap_ms + test_ms) / DAY_MS
        raise UsageError(
            f"the frame is {(end - start) / DAY_MS:g} days long; warm-up, train, gap and test need {need:g}\n"
            "give a longer frame, or shorter stretches"
        )
    return found
