"""Experiments with what a strategy reads besides its candles: variables, and what libraries hand out to it.

Each replaces data by a copy with another future and asks again. The prices of that future are a fifth to a third higher
or lower, so that an answer which depends on them changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np

from ..domain.formatting import failure_text
from ..market.candles import Candles
from .answers_compared_as_trades import Answer, change_text, same
from .calling_functions import Scope
from .foresight import suspicion
from .is_market_copy import is_copy
from .lookahead_report import Finding
from .market_values import MarketValues
from .other_future import OtherFuture
from .paired_rows import paired
from .patched_readers import DATABASE, ENVIRONMENT, Rows, handing_out
from .read_only import is_database
from .remade_variables import Preparation
from .rows_swapped_in_strategy_data import are_prices, is_history, was_published
from .seen_data import SeenData
from .timed_data import Timed, backwards, beside, is_row_of_numbers, scrambled, timed
from .variables import Variable, emptied, variables

Ask = Callable[[int], Answer]

_JUMPS: Final = (0.25, -0.25)
_REMADE: Final = 8  # moments at which preparing statements are run again
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
    scopes
        Of the functions that ask for the check.

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
        scopes: Sequence[Scope] = (),
    ) -> None:
        self._function, self._scopes = function, scopes
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
        is_market = partial(is_copy, minutes=self._market.minutes)
        preparation = Preparation(self._function, self._holds_data, is_market, self._scopes)
        found = self._handed_out(read)
        found += [] if any(finding.kind == "future" for finding in found) else self._remade(preparation)
        if not any(finding.kind == "future" for finding in found):  # one leak shows in several experiments
            found += self._held(preparation)
        for variable in variables(self._function) if not found else ():
            found += self._foreseen(variable)
        if preparation.unread:
            why = f" ({'; '.join(preparation.reasons)})" if preparation.reasons else ""
            self.unseen.append(f"how {_list(preparation.unread)} came about: no statement for it can be run again{why}")
        return found

    def _holds_data(self, value: Any) -> bool:
        if any(future.of(value) is not value for future in (self._middle, replace(self._middle, exchange=True))):
            return True
        data = timed(value, self._market.span)
        return data is not None and is_history(value, data)

    def _moved(self, when: int, seen: Answer) -> bool:
        return not same(self._answers[when], seen)

    def _candle(self, when: int, ask: Callable[[OtherFuture, int], Answer], future: OtherFuture) -> int | None:
        """Open time (UTC ms) of the last candle an answer depends on: the data is changed later and later."""

        def moved(steps: int) -> bool:
            return self._moved(when, ask(replace(future, when=when + steps * self._slot), when))

        low, high = 0, max(1, (self._end - when) // self._slot + 1)
        if moved(high):
            return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if moved(middle) else (low, middle)
        return when + (high - 1) * self._slot

    def _future(self, when: int, answer: Answer, what: str, how: str, candle: int | None) -> Finding:
        signal = change_text(self._answers[when], answer)
        return Finding(kind="future", what=what, how=how, when=when, candle=candle, signal=signal)

    def _futures(self, moments: Sequence[int]) -> Iterator[tuple[int, OtherFuture]]:
        """Other futures after each moment: prices by a factor, then rows exchanged while there are any to exchange."""
        for exchange in (False, True):
            for when in moments:
                for jump in _JUMPS:
                    future = OtherFuture(when, self._market, jump, exchange=exchange)
                    yield when, future
                    if exchange and not future.exchanges:
                        return

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
        seen: dict[str, SeenData] = {}
        steady = True
        for when in self._moments:
            future = OtherFuture(when, self._market, _JUMPS[0])

            def note(name: str, value: Any, future: OtherFuture = future) -> Any:
                if name:
                    seen.setdefault(name, SeenData()).add(value, future)
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
        changed: set[str] = set()

        def ask(future: OtherFuture, when: int) -> Answer:
            changed.clear()

            def change(name: str, value: Any) -> Any:
                new = replace(future, everything=name in prices).of(value)
                if new is not value:
                    changed.add(name)
                return new

            with self._handing_out(change):
                return self._ask(when)

        for when, future in self._futures(self._moments):
            answer = ask(future, when)
            if self._moved(when, answer):
                names = _list(sorted(changed)) or DATABASE
                what = f"rows of {names} that were not known yet"
                how = f"what {names} hands out was changed after that moment"
                return [self._future(when, answer, what, how, self._candle(when, ask, future))]
        return []

    # --- statements that made the variables ---------------------------------------------------------------------

    def _remade(self, preparation: Preparation) -> list[Finding]:
        moments = self._moments[:: max(1, len(self._moments) // _REMADE)]
        explained = set(preparation.explained)
        self._came_from(preparation.loaded() - self._handed)
        preparation.try_out(lambda: not any(self._moved(when, self._ask(when)) for when in moments))
        if not (names := _list(preparation.names)):
            return []
        raised: list[str] = []
        compared = 0

        def ask(future: OtherFuture, when: int, only: str | None = None) -> Answer:
            try:
                with preparation.remade(future.of, only):
                    return self._ask(when)
            except Exception as error:  # noqa: BLE001 -- what the statements raise over other data
                raised.append(failure_text(error))
                return ("error", type(error).__name__)

        for when, future in self._futures(moments):
            answer = ask(future, when)
            compared += answer[0] != "error"
            if self._moved(when, answer) and answer[0] != "error":
                self.looked_at.append(_RUN_AGAIN.format(names=names))
                made = next((one for one in preparation.put_names if self._moved(when, ask(future, when, one))), names)
                what = f"the variable {made}, made of data that was not known yet"
                how = "the statements that made it were run again, with another future after that moment"
                return [self._future(when, answer, what, how, self._candle(when, ask, future))]
        if compared:
            self.looked_at.append(_RUN_AGAIN.format(names=names))
        else:
            preparation.explained = explained
            why = f"the statements for it raise over other data: {raised[0]}" if raised else "it raises over other data"
            self.unseen.append(f"how {names} came about: {why}")
        return []

    # --- variables ----------------------------------------------------------------------------------------------

    def _held(self, preparation: Preparation) -> list[Finding]:
        every = variables(self._function)
        mappings = [one.value for one in every if isinstance(one.value, Mapping)]
        explained = preparation.explained
        explained |= {id(part) for one in mappings if id(one) in explained for part in one.values()}
        held = [one for one in every if id(one.value) not in explained]
        series = paired(held)
        beside = {one.name for one in series}
        # What running the statements again did not change: its moments are all that speaks about it.
        remade = [one for one in every if id(one.value) in explained]
        still = [one for one in remade if was_published(one.value, self._market, preparation.unmoved)]
        cut = [*(one for one in held if one.name not in beside), *still, *series]
        data = [one for one in cut if self._holds_data(one.value)]
        if data:
            self.looked_at.append(f"the variables {_list([one.name for one in data])}")
        found = [finding for variable in cut if (finding := self._cut(variable)) is not None]
        if not found:
            found = self._changed([one for one in data if one not in still])
        if not found:
            self._note_made_before([one for one in data if one not in still and one.name not in preparation.unread])
        if data and not self._market.fine:
            self.unseen.append("prices without moments: the market is too coarse to tell them from other numbers")
        known = {one.name for one in data}
        for variable in held if not found else ():
            if variable.name not in known and is_row_of_numbers(variable.value):
                finding = self._along(variable)
                found += [] if finding is None else [finding]
        return found

    def _note_made_before(self, data: Sequence[Variable]) -> None:
        """Note columns over times of the market that are no prices: whether later rows made them nobody can tell."""
        tables = [one for one in data if not isinstance(one.value, Candles)]
        rows = [one for one in tables if timed(one.value, self._market.span) is not None]
        columns = {one.name: [*beside(one.value).values()] for one in rows}
        names = [name for name, some in columns.items() if some and not are_prices(some, self._market)]
        if names:
            self.unseen.append(
                f"how {_list(names)} came about, numbers for times of the market: nothing that made them can be run "
                "again; made by bknb.indicator(function, interval, lookback=) they show that they hold no later candle"
            )

    def _cut(self, variable: Variable) -> Finding | None:
        data = timed(variable.value, self._market.span)
        if data is None:
            return None
        known = self._middle.known(variable.value, data)
        for when in self._moments:
            with variable.replaced(data.take(known <= when)), emptied(self._function):
                seen = self._ask(when)
            if not self._moved(when, seen):
                continue
            if not is_history(variable.value, data):
                self.unseen.append(f"whether the moments in {variable.name} were known before (a calendar is)")
                return None
            what = f"rows of the variable {variable.name} that were not known yet"
            how = f"{variable.name} was cut off at that moment"
            return self._future(when, seen, what, how, self._leaked(variable, data, known, when))
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
        def ask(future: OtherFuture, when: int, some: Sequence[Variable] = data) -> Answer:
            with contextlib.ExitStack() as stack:
                for variable in some:
                    stack.enter_context(variable.replaced(future.of(variable.value)))
                stack.enter_context(emptied(self._function))
                return self._ask(when)

        for when, future in self._futures(self._moments) if data else ():
            answer = ask(future, when)
            if self._moved(when, answer):
                name = next((one.name for one in data if self._moved(when, ask(future, when, [one]))), data[0].name)
                kind, way = ("rows of", "exchanged for others") if future.exchange else ("prices in", "changed")
                what = f"{kind} the variable {name} that were not known yet"
                how = f"{kind.split()[0]} after that moment were {way} in it"
                return [self._future(when, answer, what, how, self._candle(when, ask, future))]
        return []

    def _foreseen(self, variable: Variable) -> list[Finding]:
        """A suspicion for what goes with later moves, and on which answers depend; prices were looked at before."""
        data = timed(variable.value, self._market.span)
        columns = {} if data is None or isinstance(variable.value, Candles) else beside(variable.value)
        if data is None or are_prices(list(columns.values()), self._market):
            return []

        def moved(name: Any, when: int, since: int) -> bool:
            with variable.replaced(backwards(variable.value, data, name, since)), emptied(self._function):
                return self._moved(when, self._ask(when))

        what, minutes = f"the variable {variable.name}", self._market.minutes
        looked_at = (what, data.opens_at, columns, minutes, self._slot)
        return suspicion(*looked_at, step=self._market.step, moments=self._moments, moved=moved)

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


def _list(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
