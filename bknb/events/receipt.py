"""Whether the listeners have handled what was emitted up to a moment, without waiting for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .listener_queue import Subscription
    from .subject import Subject


class Receipt:
    """The positions of all queues of some subjects at the moment it is made.

    Examples
    --------
    >>> from bknb.events.subject import Subject, drain
    >>> subject = Subject("demo")
    >>> stop = subject.listen(lambda event: None)
    >>> subject.emit(1)
    >>> receipt = Receipt([subject])
    >>> drain([subject]), receipt.handled
    (True, True)
    >>> stop()
    """

    __slots__ = ("_open",)

    def __init__(self, subjects: Iterable[Subject[Any]]) -> None:
        self._open: list[tuple[Subscription[Any], int]] = [
            (queue, queue.accepted) for subject in subjects for queue in subject.queues()
        ]

    @property
    def handled(self) -> bool:
        """Whether everything up to then was handled, was dropped from a full queue, or is listened to no longer."""
        self._open = [(queue, position) for queue, position in self._open if not queue.has_handled(position)]
        return not self._open
