"""The callbacks of a strategy in a live run: one that takes too long holds up the watch once, not every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from ..domain.signal_events import Event
from ..errors import BknbError

Callback = Callable[[Event], Awaitable[object]]

_MOST_BESIDE: Final = 8  # calls of one callback that the run does not wait for


class Callbacks:
    """Calls callbacks, and what else goes on beside a run; waits for those that return in time.

    A callback that has taken too long is not waited for while a position is open, until one of its calls returns.

    Parameters
    ----------
    is_open
        Whether something is open that is to be watched.
    fail
        Called with what a callback raised that nobody waited for, and the moment of its event (UTC ms).
    """

    def __init__(self, *, is_open: Callable[[], bool], fail: Callable[[Exception, int], object]) -> None:
        self._is_open = is_open
        self._fail = fail
        self._late: set[str] = set()  # names of callbacks whose last call took too long
        self._beside: dict[asyncio.Task[None], str] = {}

    def wrapped(self, callbacks: Mapping[str, Callback]) -> dict[str, Callback]:
        """The callbacks, each called with an event as described above."""
        return {name: partial(self._call, name, callback) for name, callback in callbacks.items()}

    async def _call(self, name: str, callback: Callback, event: Event) -> None:
        if not (name in self._late and self._is_open()):
            await self._timed(name, callback, event)
        elif [*self._beside.values()].count(name) < _MOST_BESIDE:
            self.go_on(self._unwaited(name, callback, event), name)
        else:
            raise BknbError(f"{name} is not called: {_MOST_BESIDE} earlier calls of it have not returned")

    async def _timed(self, name: str, callback: Callback, event: Event) -> None:
        try:
            await callback(event)
        except TimeoutError:
            self._late.add(name)
            raise
        except Exception:
            self._late.discard(name)
            raise
        self._late.discard(name)

    async def _unwaited(self, name: str, callback: Callback, event: Event) -> None:
        try:
            await self._timed(name, callback, event)
        except Exception as error:  # noqa: BLE001 -- a callback never stops a run
            self._fail(error, event.when)

    def go_on(self, work: Coroutine[Any, Any, None], name: str = "") -> None:
        """Do something beside the run."""
        task = asyncio.create_task(work)
        self._beside[task] = name
        task.add_done_callback(self._beside.pop)

    async def end(self, seconds: float) -> None:
        """Give what goes on beside the run so long to end, then give it up."""
        if self._beside:
            await asyncio.wait([*self._beside], timeout=seconds)
        self.give_up()

    def give_up(self) -> None:
        """Give up what goes on beside the run."""
        for task in [*self._beside]:
            task.cancel()
