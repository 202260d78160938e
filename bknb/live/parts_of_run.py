"""The parts of a live run that are others for a strategy with several places."""

from __future__ import annotations

from typing import NamedTuple

from .catch_up import CatchUp
from .live_strategy_loop import LiveLoop
from .record_keeping import RecordKeeping


class Parts(NamedTuple):
    """Asks the strategy, saves what is decided, works on what has come."""

    loop: type[LiveLoop]
    keeping: type[RecordKeeping]
    catch_up: type[CatchUp]


def parts_of_run(*, has_places: bool) -> Parts:
    """The parts of a run of a strategy with several places, or with one."""
    if not has_places:
        return Parts(LiveLoop, RecordKeeping, CatchUp)
    from .catch_up_of_places import CatchUpOfPlaces  # few strategies have several
    from .strategy_places import KeepingOfPlaces, LivePlacesLoop

    return Parts(LivePlacesLoop, KeepingOfPlaces, CatchUpOfPlaces)
