"""Experiments with what a strategy reads besides its candles: variables, and what libraries hand out to it.

Each replaces data by a copy with another future and asks again. The prices of that future are a fifth to a third higher
or lower, so that an answer which depends on them changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import pairwise
from typing import Any, Final

import numpy as np

from ..domain.formatting import failure_text
from .handed_out import DATABASE, ENVIRONMENT, Rows, handing_out
from .lookahead_checks import Answer, Finding, change_text, same
from .market_values import MarketValues, OtherFuture, price_numbers
from .preparation import Preparation
from .read_only import is_database
from .timed_data import Timed, is_row_of_numbers, scrambled, timed
from .variables import Variable, emptied, variables

Ask = Callable[[int], Answer]

_JUMPS: Final = (0.25, -0.25)
_REMADE: Final = 8  # moments at which preparing statements are run again
_SMALL: Final = 64  # numbers: a row, a line
_RUN_AGAIN: Final = "the statements that made {names}, run again over another future"
_FROZEN: Final = 3  # moments at which it must show which places of a row are read


class DataChecks:
    """The experiments with the data of one strategy.

    Parameters
    ----------
    function
        The strategy.
    ask
        Its answer at a moment (UTC ms).
    answers
        The answers that count, by moment.
    moments
        Where to ask, in order of time.
    market
        Prices of the run.
    slot
        Time between two questions, ms.
    end
        End of the frame, UTC ms.

    Attributes
    ----------
    looked_at, unseen : list of str
        What was judged, and what could not be, in words.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        ask: Ask,
        *,
        answers: Mapping[int, Answer],
        moments: Sequence[int],
        market: MarketValues,
        slot: int,
        end: int,
    ) -> None:
        self._function = function
        self._ask = ask
        self._answers = answers
        self._moments = list(moments)
        self._market = market
        self._slot, self._end, self._handed = slot, end, set[str]()
        self._middle = OtherFuture(self._moments[0], market, _JUMPS[0])
        self.looked_at: list[str] = []
        self.unseen: list[str] = []

    def findings(self, read: Mapping[str, str]) -> list[Finding]:
        """Findings of all experiments; ``read`` is what was seen to be read, with its lines."""
        preparation = Preparation(self._function, self._holds_data)
        found = self._handed_out(read)
        found += [] if any(finding.kind == "future" for finding in found) else self._remade(preparation)
        if not any(finding.kind == "future" for finding in found):  # one leak shows in several experiments
            found += self._held(preparation.explained)
        if preparation.unread:
            why = f" ({'; '.join(preparation.reasons)})" if preparation.reasons else ""
            self.unseen.append(f"how {_list(preparation.unread)} came about: no statement for it can be run again{why}")
        return found

    def _holds_data(self, value: Any) -> bool:
        return self._middle.of(value) is not value or (timed(value) is not None and _has_floats(value))

    def _moved(self, when: int, seen: Answer) -> bool:
        return not same(self._answers[when], seen)

    def _candle(self, when: int, changed: Callable[[int], Answer]) -> int | None:
        """Open time (UTC ms) of the last candle an answer depends on: the data is changed later and later."""
        low, high = 0, max(1, (self._end - when) // self._slot + 1)
        if self._moved(when, changed(when + high * self._slot)):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._moved(when, changed(when + middle * self._slot)) else (low, middle)
        return when + (high - 1) * self._slot

    # --- what libraries hand out --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _handing_out(self, change: Callable[[str, Any], Any]) -> Iterator[None]:
        """Hand out something else, also to caches and through connections that are open already."""
        with contextlib.ExitStack() as stack:
            for variable in variables(self._function):
                if is_database(variable.value):
                    stack.enter_context(variable.replaced(Rows(variable.value, change)))
            stack.enter_context(emptied(self._function))
            stack.enter_context(handing_out(change))
            yield

    def _handed_out(self, read: Mapping[str, str]) -> list[Finding]:
        seen: dict[str, _Seen] = {}
        steady = True
        for when in self._moments:
            future = OtherFuture(when, self._market, _JUMPS[0])

            def note(name: str, value: Any, future: OtherFuture = future) -> Any:
                if name:
                    seen.setdefault(name, _Seen()).add(value, future)
                return value

            with self._handing_out(note):
                steady = steady and not self._moved(when, self._ask(when))
        prices = {name for name, one in seen.items() if self._market.copied_at(np.array(one.numbers)).any()}
        self._handed = {*seen, *read}
        known = {name for name, one in seen.items() if one.recognised or name in prices}
        found = self._changed_handouts(prices) if steady and known else []
        for name in sorted({*seen, *read}):
            where = f" ({read[name]})" if name in read else ""
            if steady and name in known:
                self.looked_at.append(f"{name}{where}")
                if not found:
                    self.unseen.append(f"how the numbers in {name} were computed")
            elif name in read and not (name in seen and seen[name].is_settings):
                how = "it was watched while it was asked"
                found.append(Finding(kind="outside", what=f"{name}{where}", how=how, when=self._moments[0]))
            elif name in read:
                self.unseen.append(f"where the {seen[name].count or 'few'} numbers in {name} come from")
        self._came_from({name for name in seen if name not in known and name.startswith(ENVIRONMENT)})
        return found

    def _came_from(self, names: Set[str]) -> None:
        """Note what was there before the strategy read it: how it was made cannot be told from here."""
        if names:
            self.unseen.append(f"where {_list(sorted(names))} came from, which was there before")

    def _changed_handouts(self, prices: Set[str]) -> list[Finding]:
        for when in self._moments:
            for jump in _JUMPS:
                changed: set[str] = set()

                def ask(after: int, jump: float = jump, when: int = when, changed: set[str] = changed) -> Answer:
                    changed.clear()

                    def change(name: str, value: Any) -> Any:
                        future = OtherFuture(after, self._market, jump, everything=name in prices)
                        new = future.of(value)
                        if new is not value:
                            changed.add(name)
                        return new

                    with self._handing_out(change):
                        return self._ask(when)

                answer = ask(when)
                if self._moved(when, answer):
                    names = _list(sorted(changed)) or DATABASE
                    return [
                        Finding(
                            kind="future",
                            what=f"rows of {names} that were not known yet",
                            how=f"what {names} hands out was changed after that moment",
                            when=when,
                            candle=self._candle(when, ask),
                            signal=change_text(self._answers[when], answer),
                        )
                    ]
        return []

    # --- statements that made the variables ---------------------------------------------------------------------

    def _remade(self, preparation: Preparation) -> list[Finding]:
        moments = self._moments[:: max(1, len(self._moments) // _REMADE)]
        explained = set(preparation.explained)
        self._came_from(preparation.loaded() - self._handed)
        preparation.try_out(lambda: not any(self._moved(when, self._ask(when)) for when in moments))
        if not preparation.names:
            return []
        names = _list(preparation.names)
        raised: list[str] = []
        compared = 0
        for when in moments:
            for jump in _JUMPS:

                def ask(after: int, jump: float = jump, when: int = when, only: str | None = None) -> Answer:
                    future = OtherFuture(after, self._market, jump)
                    try:
                        with handing_out(lambda _, value: future.of(value)), preparation.remade(future.of, only):
                            return self._ask(when)
                    except Exception as error:  # noqa: BLE001 -- what the statements raise over other data
                        raised.append(failure_text(error))
                        return ("error", type(error).__name__)

                answer = ask(when)
                compared += answer[0] != "error"
                if self._moved(when, answer) and answer[0] != "error":
                    self.looked_at.append(_RUN_AGAIN.format(names=names))
                    made = next((one for one in preparation.put_names if self._moved(when, ask(when, only=one))), names)
                    return [
                        Finding(
                            kind="future",
                            what=f"the variable {made}, made of data that was not known yet",
                            how="the statements that made it were run again, with another future after that moment",
                            when=when,
                            candle=self._candle(when, ask),
                            signal=change_text(self._answers[when], answer),
                        )
                    ]
        if compared:
            self.looked_at.append(_RUN_AGAIN.format(names=names))
        else:
            preparation.explained = explained
            why = f"the statements for it raise over other data: {raised[0]}" if raised else "it raises over other data"
            self.unseen.append(f"how {names} came about: {why}")
        return []

    # --- variables ----------------------------------------------------------------------------------------------

    def _held(self, explained: Set[int]) -> list[Finding]:
        held = [one for one in variables(self._function) if id(one.value) not in explained]
        data = [one for one in held if self._holds_data(one.value)]
        if data:
            self.looked_at.append(f"the variables {_list([one.name for one in data])}")
        found = []
        for variable in held:
            finding = self._cut(variable)
            if finding is not None:
                found.append(finding)
        if not found:
            found = self._changed(data)
        if not self._market.fine and data:
            self.unseen.append("prices without moments: the market is too coarse to tell them from other numbers")
        for variable in held if not found else ():
            if is_row_of_numbers(variable.value) and not any(variable.value is one.value for one in data):
                finding = self._along(variable)
                found += [] if finding is None else [finding]
        return found

    def _cut(self, variable: Variable) -> Finding | None:
        data = timed(variable.value)
        if data is None:
            return None
        known = (
            self._middle.known(variable.value, data.known_at, data.opens_at)
            if hasattr(variable.value, "iloc")
            else data.known_at
        )
        floats = _has_floats(variable.value)
        for when in self._moments:
            with variable.replaced(data.take(known <= when)), emptied(self._function):
                seen = self._ask(when)
            if not self._moved(when, seen):
                continue
            if not floats:
                self.unseen.append(f"whether the moments in {variable.name} were known before (a calendar is)")
                return None
            return Finding(
                kind="future",
                what=f"rows of the variable {variable.name} that were not known yet",
                how=f"{variable.name} was cut off at that moment",
                when=when,
                candle=self._leaked(variable, data, known, when),
                signal=change_text(self._answers[when], seen),
            )
        return None

    def _leaked(self, variable: Variable, data: Timed, known: Any, when: int) -> int | None:
        """When the last row opens that the answer depends on, UTC ms."""
        later = np.unique(known[known > when])
        low, high = -1, len(later) - 1
        while high - low > 1:
            middle = (low + high) // 2
            with variable.replaced(data.take(known <= later[middle])), emptied(self._function):
                settled = not self._moved(when, self._ask(when))
            low, high = (low, middle) if settled else (middle, high)
        return int(data.opens_at[known == later[high]][0]) if len(later) else None

    def _changed(self, data: Sequence[Variable]) -> list[Finding]:
        for when in self._moments if data else ():
            for jump in _JUMPS:

                def ask(after: int, some: Sequence[Variable] = data, jump: float = jump, when: int = when) -> Answer:
                    future = OtherFuture(after, self._market, jump)
                    with contextlib.ExitStack() as stack:
                        for variable in some:
                            stack.enter_context(variable.replaced(future.of(variable.value)))
                        stack.enter_context(emptied(self._function))
                        return self._ask(when)

                answer = ask(when)
                if self._moved(when, answer):
                    name = next((one.name for one in data if self._moved(when, ask(when, [one]))), data[0].name)
                    return [
                        Finding(
                            kind="future",
                            what=f"prices in the variable {name} that were not known yet",
                            how="prices of the market after that moment were changed in it",
                            when=when,
                            candle=self._candle(when, ask),
                            signal=change_text(self._answers[when], answer),
                        )
                    ]
        return []

    def _along(self, variable: Variable) -> Finding | None:
        """A finding for numbers without moments that are read further on as time goes on: a history, not settings."""
        places: list[int] = []
        shown: tuple[int, Answer] | None = None
        for when in self._moments[:: max(1, len(self._moments) // _REMADE)]:
            length = len(variable.value)

            def moved(begin: int, when: int = when) -> Answer:
                with variable.replaced(scrambled(variable.value, begin)), emptied(self._function):
                    return self._ask(when)

            answer = moved(0)
            if not self._moved(when, answer):
                continue
            shown = shown or (when, answer)
            low, high = 0, length
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if self._moved(when, moved(middle)) else (low, middle)
            places.append(low)
        if len(places) < _FROZEN or shown is None:
            return None
        later = [after - before for before, after in pairwise(places)]
        at_end = not any(later) and places[0] == len(variable.value) - 1
        if not at_end and not all(step > 0 for step in later):
            return None
        return Finding(
            kind="outside",
            what=f"{'the last' if at_end else 'as time goes on later'} numbers in the variable {variable.name} "
            "(they have no moments; if they are history, this may be the future)",
            how=f"{variable.name} was changed from some place on",
            when=shown[0],
            signal=change_text(self._answers[shown[0]], shown[1]),
        )


class _Seen:
    """What was handed out under one name."""

    def __init__(self) -> None:
        self.recognised = False
        self.numbers: list[float] = []
        self.count = 0
        self._texts: dict[type, set[str]] = {}

    def add(self, value: Any, future: OtherFuture) -> None:
        """Note one thing that was handed out."""
        self.recognised = self.recognised or future.of(value) is not value
        numbers = price_numbers(value)
        self.count = max(self.count, len(numbers))
        if len(numbers) <= _SMALL:
            self.numbers += numbers
            self._texts.setdefault(type(value), set()).add(repr(value))

    @property
    def is_settings(self) -> bool:
        """Whether it was always the same few numbers."""
        return self.count <= _SMALL and all(len(texts) == 1 for texts in self._texts.values())


def _has_floats(value: Any) -> bool:
    if hasattr(value, "dtypes"):
        kinds = value.dtypes if hasattr(value, "columns") else [value.dtype]
        return any(getattr(kind, "kind", "O") in "fib" for kind in kinds)
    if isinstance(value, Mapping):
        return all(isinstance(one, (int, float)) for one in list(value.values())[:_SMALL])
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], (list, tuple)):
        return any(isinstance(one, float) for one in value[0])
    return True


def _list(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
