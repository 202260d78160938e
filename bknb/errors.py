"""Every error bknb raises on purpose.

::

    BknbError
    ├── UsageError              a call that cannot mean anything
    │   ├── UnknownName         a name that is not registered; lists the known ones and the nearest
    │   └── LookbackTooShort    an indicator needs more candles before a value than its lookback; says how many
    ├── MissingDependency       an optional package is needed; the text holds the install line
    ├── DataError               candles that cannot be trusted
    │   ├── GapError            minutes are missing; the text holds the ranges
    │   ├── BadCandle           one candle breaks a rule; the text holds candle and rule
    │   └── NotEnoughData       fewer closed candles exist than were asked for
    │       └── ModelLate       a model is not fitted yet, in a live run
    ├── InvalidSignal           a strategy's answer breaks the rules (all of them are listed)
    ├── StrategyError           the user's strategy raised; holds minute, symbol and cell line
    ├── LookaheadError          an indicator is made of later candles, or differs from call to call
    ├── InvalidTransition       a step the lifecycle of a signal does not have; the text holds its history
    ├── StateError              saved state is corrupt or belongs to another run or process
    ├── ModelError              the language model did not answer usefully
    │   └── ReplyRefused        it answered, and the answer broke the rules
    └── BrokerError             the broker refused or did not answer

Every text says what was expected, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

_LISTED: Final = 10
_REGISTERED: Final = ("exchange", "strategy", "frame", "risk", "sizing", "walker", "optimizer")


class BknbError(Exception):
    """Base of every error bknb raises on purpose; shown in a notebook without a traceback of ours."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild it from its text and attributes: not every kind is made from its text alone."""
        return _rebuilt, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """IPython hook: a user's mistake is answered in at most three lines."""
        return [f"{type(self).__name__}: {line}" if i == 0 else line for i, line in enumerate(self.lines())]

    def lines(self) -> list[str]:
        """The text as at most three lines."""
        lines = [line for line in str(self).splitlines() if line.strip()]
        return lines if len(lines) <= 3 else [*lines[:2], " ".join(lines[2:])]


class UsageError(BknbError):
    """A call that cannot mean anything as written."""


class UnknownName(UsageError):
    """A name that is not registered.

    Examples
    --------
    >>> print(UnknownName("strategy", "sma-cros", known=["sma-cross", "rsi"]))
    no strategy is called 'sma-cros'; did you mean 'sma-cross'?
    registered: sma-cross, rsi
    >>> print(UnknownName("signal", "sma-7", known=[f"sma-{i}x" for i in range(200)]))
    no signal is called 'sma-7'; did you mean 'sma-7x', 'sma-97x' or 'sma-87x'?
    there are 200: sma-0x, sma-1x, sma-2x, sma-3x, sma-4x, sma-5x, sma-6x, sma-7x, sma-8x, sma-9x, ...
    """

    def __init__(self, kind: str, name: object, *, known: Iterable[str], listing: str | None = None) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        some = 3 if len(self.known) > _LISTED else 1
        near = _nearest(name, self.known, some) if isinstance(name, str) else []
        hint = f"; did you mean {_either(near)}?" if near else ""
        super().__init__(f"no {kind} is called {name!r}{hint}\n{self._listing() if listing is None else listing}")

    def _listing(self) -> str:
        if not self.known:
            more = f"; add one with bknb.add_{self.kind}(...)" if self.kind in _REGISTERED else ""
            return f"there is none yet{more}"
        first = ", ".join(self.known[:_LISTED])
        if len(self.known) > _LISTED:
            return f"there are {len(self.known):,}: {first}, ..."
        return f"{'registered' if self.kind in _REGISTERED else 'known'}: {first}"


def _nearest(name: str, known: Sequence[str], count: int) -> list[str]:
    """The known names nearest to one that is not known; where none is near, those that are in any case of letters."""
    near = difflib.get_close_matches(name, known, n=count, cutoff=0.5)
    if near:
        return near
    folded = {each.casefold(): each for each in known}
    return [folded[each] for each in difflib.get_close_matches(name.casefold(), folded, n=count, cutoff=0.5)]


def _either(names: Sequence[str]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last


class MissingDependency(BknbError, ImportError):
    """An optional package is needed for this."""

    def __init__(self, package: str, *, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed\n"
            f"install it with: pip install 'bknb[{extra}]'"
        )


class DataError(BknbError):
    """Candles that cannot be trusted."""


class GapError(DataError):
    """Minutes are missing.

    Attributes
    ----------
    ranges : tuple of (int, int)
        Missing ranges ``[first, end)`` in UTC milliseconds.
    """

    def __init__(self, message: str, *, ranges: Sequence[tuple[int, int]] = ()) -> None:
        self.ranges = tuple(ranges)
        super().__init__(message)


class BadCandle(DataError):
    """One candle breaks a rule.

    Attributes
    ----------
    open_time : int or None
        When it opens, UTC milliseconds, where that is known.
    """

    def __init__(self, message: str, *, open_time: int | None = None) -> None:
        self.open_time = open_time
        super().__init__(message)


class NotEnoughData(DataError):
    """Fewer closed candles exist than were asked for.

    Attributes
    ----------
    available : int
        How many exist, where that is known; else 0.
    late : bool
        Whether it is the newest that are missing in a live run: asked again a moment later, the exchange may have them.
    counted_as : str
        The kind of failure that a question is counted as which it ends.
    """

    counted_as: Literal["warm-up", "model_late"] = "warm-up"

    def __init__(self, text: str, *, available: int = 0, late: bool = False) -> None:
        super().__init__(text)
        self.available = available
        self.late = late


class ModelLate(NotEnoughData):
    """A model is not fitted yet, in a live run: the question passes, counted as ``"model_late"``."""

    counted_as = "model_late"


class InvalidSignal(BknbError):
    """A strategy's answer breaks the rules; every broken rule is listed."""


class StrategyError(BknbError):
    """The user's strategy raised."""


class LookaheadError(BknbError):
    """An indicator is made of candles that have not closed yet, or gives other values when it is called again."""


class LookbackTooShort(UsageError):
    """An indicator needs more candles before a value than its lookback.

    Attributes
    ----------
    suffices : int or None
        A lookback that suffices, where one was found or worked out.
    """

    def __init__(self, text: str, *, suffices: int | None = None) -> None:
        super().__init__(text)
        self.suffices = suffices


class InvalidTransition(BknbError):
    """A step the lifecycle of a signal does not have."""


class StateError(BknbError):
    """Saved state is corrupt or belongs to another run or process."""


class ModelError(BknbError):
    """The language model did not answer usefully."""


class ReplyRefused(ModelError):
    """The language model answered, and the answer broke the rules."""


class BrokerError(BknbError):
    """The broker refused or did not answer.

    Attributes
    ----------
    refused : bool
        Whether it is certain that nothing happened. Else the outcome is unknown and has to be asked for.
    later : bool
        Of a refusal: whether the same may be sent again after a while, as where an exchange is asked too often.
    reached : bool
        Of a refusal: whether a stop cannot rest because the price is beyond it already.

    Examples
    --------
    >>> BrokerError("too many requests", refused=True, later=True).later
    True
    """

    def __init__(self, message: str, *, refused: bool = False, later: bool = False, reached: bool = False) -> None:
        self.refused = refused
        self.later = later
        self.reached = reached
        super().__init__(message)


class Forgotten(BrokerError):
    """The broker does not know the order any more, for its exchange forgets orders after a while.

    That says nothing about what became of it: fills and position do.
    """


def _rebuilt(kind: type[BknbError], args: tuple[object, ...], attributes: dict[str, Any]) -> BknbError:
    """An error that was pickled, from another process."""
    error = kind.__new__(kind, *args)
    super(BknbError, error).__init__(*args)
    error.__dict__.update(attributes)
    return error
