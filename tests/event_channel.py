"""A subject with an error subject of its own, and what the tests of events do with it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from bknb.events import subject as listeners
from bknb.events.listen import (
    Subject,
)

PATIENCE = 20.0  # seconds after which something that must happen did not


class Channel:
    """A subject with an error subject of its own, and what was reported there."""

    def __init__(self) -> None:
        self.errors: Subject[Any] = Subject("error")
        self.subject: Subject[Any] = Subject("news", errors=self.errors)
        self.reports: list[Any] = []
        self.errors.listen(self.reports.append)

    def drain(self, timeout: float | None = PATIENCE) -> bool:
        return listeners.drain([self.subject, self.errors], timeout=timeout)


def wait(event: threading.Event) -> None:
    assert event.wait(PATIENCE), "it never happened"


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == f"bknb news: {name}"]


def ended(name: str) -> None:
    for thread in threads_of(name):
        thread.join(PATIENCE)
        assert not thread.is_alive()


def raises(event: int) -> None:
    raise ValueError(f"no {event}")


async def raises_later(event: int) -> None:
    await asyncio.sleep(0)
    raise ValueError(f"no {event}")
