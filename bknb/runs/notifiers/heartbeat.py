"""Signs of life while live runs go on: a message now and then, and pings whose end somebody else notices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from ...domain.text import error_text
from ...log import log
from ...stores.keys_and_tokens import Secret
from .http_request import Response, Undelivered, ask, undelivered
from .live_runs_now import going_on, loop_answers, names_going_on, runs_text
from .sentences import Notice, one_line

BLOCKED: Final = "the loop of the live runs does not answer: no position is watched."


class Repeating:
    """Calls a function again and again in a thread of its own, the first time after ``seconds``."""

    def __init__(self, name: str, seconds: float, work: Callable[[], object]) -> None:
        self._seconds, self._work = seconds, work
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Call it no more; a call that is running may finish."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 -- the next one may succeed
                log.warning("%s: %s: %s", self._thread.name, type(error).__name__, error_text(error))


def heartbeat_notice() -> Notice | None:
    """A sentence about the live runs that go on; ``None``: there are none."""
    tasks = going_on()
    if not tasks:
        return None
    text = one_line(runs_text(tasks)) if loop_answers() else BLOCKED
    return Notice(kind="heartbeat", text=text)


class Pings:
    """Asks an address of a service that alarms when nobody asks it for a while.

    It is asked while live runs go on, all of them are watched and none has failed: one that failed ends the pings until
    it goes on again.

    Attributes
    ----------
    sent, failed : int
        How many were answered, and how many were not.
    """

    def __init__(self, url: Secret, *, seconds: float) -> None:
        self.sent = self.failed = 0
        self._url, self._seconds = url, seconds
        self._fell: set[tuple[str, str]] = set()  # symbol and strategy of runs that have failed
        self._in_trouble = False

    def run_failed(self, symbol: str, strategy: str) -> None:
        """A live run has failed: there are no pings until it goes on again."""
        self._fell.add((symbol, strategy))

    def ping(self) -> None:
        """Ask once, if everything is well."""
        running = names_going_on()
        self._fell -= running
        if not running or self._fell or not loop_answers():
            return
        try:
            ask(self._url.value, None, {}, seconds=self._seconds, keys=(self._url,))
        except Response as answer:
            self._trouble(str(undelivered(answer)))
        except Undelivered as error:
            self._trouble(str(error))
        else:
            self.sent += 1
            self._in_trouble = False

    def _trouble(self, text: str) -> None:
        self.failed += 1
        if not self._in_trouble:
            log.warning("a ping did not arrive: %s", text)
        self._in_trouble = True
