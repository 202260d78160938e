"""Faults on command: what an exchange does wrong with its next answers or orders."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any, Final

ON_THE_WIRE: Final = {
    "reply_lost": "carried out, and the connection is cut",
    "request_lost": "the connection is cut before anything is carried out",
    "reply_late": "carried out, and answered after so many `seconds`",
    "request_late": "carried out after so many `seconds`, and then answered",
    "html_502": "a page of a gateway instead of an answer; carried out with `executed`",
    "html_200": "a page about maintenance with status 200; carried out with `executed`",
    "cut_body": "carried out, and the answer ends in the middle",
    "empty_data": "carried out, and the answer is empty",
}
SPOKEN: Final = {
    "refuse": "refused with `reason`, a key of the table of errors; carried out all the same with `executed`",
    "too_many": "429 with Retry-After of so many `seconds`, until they are over",
    "banned": "418 without Retry-After for so many `seconds`; when it ends stands in the text",
}
IN_THE_BOOKS: Final = {
    "not_found": "the order is in no answer for so many `seconds` after it was placed",
    "partial": "of an order that fills at once, only the `share` is filled; the rest expires, or works with `works`",
    "slippage": "an order at the market is filled so many `percent` worse",
    "fill_during_cancel": "the `share` of the rest is filled before the order is cancelled",
    "fill_after_cancel": "the `share` of the rest is filled after the cancel was answered",
    "replace_half": "a replacement cancels the old order, and the new one is refused",
    "child_rejected": "a stop is triggered, and its order is refused",
    "child_cancelled": "a stop is triggered, and its order is cancelled without a fill",
    "child_partial": "a stop is triggered, and the `share` of its order is filled; the rest expires",
    "child_missing": "a stop is triggered, and its order is found only after so many `seconds`",
    "pair_not_linked": "one order of a pair is filled, and the other one stays",
    "id_free_again": "the id of an order that works is taken a second time",
}
IN_THE_STREAM: Final = {
    "event_lost": "a message of the user stream is not sent",
    "event_twice": "a message of the user stream is sent twice",
    "events_reversed": "a message of the user stream is sent after the next one",
}
FAULTS: Final = {**ON_THE_WIRE, **SPOKEN, **IN_THE_BOOKS, **IN_THE_STREAM}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    name
        A key of :data:`FAULTS`.
    on
        The operation it happens to, such as ``"place"``, ``"stop"``, ``"cancel"``; ``"any"``: the next one.
    symbol, client_id
        Only orders of this symbol, or whose id begins so.
    skip, times
        How many are left alone first, and how many it happens to; 0 times: until it is disarmed.
    seconds, share, percent, reason, executed, works
        What the fault of this name asks for.

    Examples
    --------
    >>> Fault(name="reply_lost", on="place").times
    1
    """

    name: str
    on: str = "any"
    symbol: str = ""
    client_id: str = ""
    skip: int = 0
    times: int = 1
    seconds: float = 0.0
    share: str = "0.5"
    percent: str = "1"
    reason: str = ""
    executed: bool = False
    works: bool = False

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            near = difflib.get_close_matches(self.name, FAULTS, n=1)
            raise ValueError(f"no fault {self.name!r}; there are {', '.join(FAULTS)}" + (f"\n{near[0]}?" * len(near)))


class Faults:
    """Those that are armed, in the order in which they were.

    Examples
    --------
    >>> faults = Faults()
    >>> faults.arm({"name": "reply_lost", "on": "place", "skip": 1})
    >>> [faults.take(["reply_lost"], on="place") is not None for _ in range(3)]
    [False, True, False]
    """

    def __init__(self) -> None:
        self.armed: list[Fault] = []

    def arm(self, fault: dict[str, Any]) -> None:
        """Add one, given by its fields.

        Raises
        ------
        ValueError
            When there is no such fault, or no such field.
        """
        known = [field.name for field in fields(Fault)]
        if unknown := set(fault) - set(known):
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
        self.armed.append(Fault(**fault))

    def take(self, names: list[str], *, on: str = "", symbol: str = "", client_id: str = "") -> Fault | None:
        """The first armed one of these names that is about this operation and order; it counts as having happened."""
        for fault in self.armed:
            if fault.name not in names or fault.on not in ("any", on) or fault.symbol not in ("", symbol):
                continue
            if not client_id.startswith(fault.client_id):
                continue
            if fault.skip:
                fault.skip -= 1
                return None
            if fault.times:
                fault.times -= 1
                if not fault.times:
                    self.armed.remove(fault)
            return fault
        return None

    def disarm(self, name: str = "") -> None:
        """Take back all of a name, or all."""
        self.armed = [fault for fault in self.armed if name and fault.name != name]
