"""What the account and the risk profile of a run allowed, said again where its positions are played again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from ..domain.lifecycle import step
from ..domain.lifecycle_inputs import Input
from ..domain.risk_request_and_verdict import ALLOWED, CutAdd, Reserve, Verdict
from ..domain.signal import OpenSignal, SignalKey, key_of
from ..domain.signal_events import AddCancelled, Added, Event, Opened, RiskRefused
from ..domain.states import Holding, Rules, State, Step
from .paid_adds import step_with_cuts

if TYPE_CHECKING:
    from .records import Records

_step: Final[Callable[[State, Input, Rules], Step]] = step


class VerdictsOfAnotherRun:
    """Stands where an account does, and allows what was allowed in another run; what that does not know is allowed.

    Parameters
    ----------
    records
        Those of the other run.
    risk
        The name of its risk profile, where it had one.
    held_weight
        Returns what its account held at a moment (UTC ms): its weight and its size, as that of
        :class:`bknb.engine.leg_account.LegAccount`. ``None``: it is not known.
    """

    def __init__(
        self, records: Records, risk: str | None, held_weight: Callable[[int], tuple[float, float]] | None = None
    ) -> None:
        self.held_weight = held_weight
        self._risk, self._of_adds = risk, records.add_verdicts
        self._opened = {key_of(event.signal) for event in records.events if isinstance(event, Opened)}
        self._cancelled = {key_of(event.signal) for event in records.cancelled if event.reason == "risk"}
        self._shares: dict[tuple[SignalKey, int], float] = {}  # that filled, in units of the first size
        self._notes: dict[tuple[SignalKey, int], str] = {}  # of adds that were taken back as nothing paid for them
        for event in records.positions:
            if isinstance(event, Added):
                self._shares[key_of(event.signal), event.fill.number] = event.fill.share
            elif isinstance(event, AddCancelled) and event.reason == "risk":
                self._notes[key_of(event.signal), event.number] = event.note
        self._refused: dict[tuple[SignalKey, int], list[RiskRefused]] = {}
        for refused in records.refused:
            self._refused.setdefault((key_of(refused.signal), refused.when), []).append(refused)

    def rules(self, rules: Rules) -> Rules:
        """The rules of a run that asks here, and tells of what is refused as the other one did."""
        return rules._replace(sized=True, risk=self._risk)

    def at_place(self, _name: str) -> VerdictsOfAnotherRun:
        """The same for one of several places: signals tell them apart."""
        return self

    async def ask(self, command: Reserve, **_options: Any) -> Verdict:
        """The verdict on an order, or on an entry that a candle fills, in the other run."""
        key = key_of(command.candidate)
        if command.order is not None:
            return self._of_adds.get((key, command.order.number), ALLOWED)
        refused = self._refused.get((key, command.when))
        if refused is None or key in self._opened or (command.fill is not None) != (key in self._cancelled):
            return ALLOWED
        return Verdict(False, refused[0].note, refused[0].open_positions, by_account=not refused[0].risk)  # noqa: FBT003

    def release(self, *_of: Any) -> None:
        """Nothing is reserved here."""

    def opened(self, _signal: OpenSignal) -> None:
        """No place is taken here."""

    def step(self, state: State, given: Input, rules: Rules) -> Step:
        """What an input leads to, with adds that fill no larger than in the other run."""
        result = _step(state, given, rules)
        first = next((event for event in result.events if isinstance(event, Added)), None)
        if first is None or not (isinstance(state, Holding) or isinstance(given, Verdict)):
            return result
        cuts: dict[int, CutAdd] = {}
        while (cut := self._cut(result.events, cuts)) is not None:
            cuts[cut.number] = cut
            result = step_with_cuts(state, given, rules, cuts.values(), first)
        return result

    def _cut(self, events: Sequence[Event], known: dict[int, CutAdd]) -> CutAdd | None:
        """The first add of which less was paid for in the other run, of those that are not ``known``."""
        for event in events:
            if not isinstance(event, Added) or (number := event.fill.number) in known:
                continue
            key = key_of(event.signal)
            share = self._shares.get((key, number))
            if share is not None:
                if share < event.fill.share:
                    return CutAdd(number, share)
                continue
            note = self._notes.get((key, number))
            for refused in self._refused.get((key, event.when), ()):
                if not refused.risk and note in (None, refused.note):
                    return CutAdd(number, 0.0, refused.note, refused.open_positions)
        return None
