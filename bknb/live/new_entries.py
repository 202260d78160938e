"""Whether a live run may open something new now: it was not stopped or paused, and its account is as recorded."""

from __future__ import annotations

from ..domain.lifecycle import HaltReason
from .broker_account import Account
from .pause_resume_stop import Controls


class NewEntries:
    """Whether a run may open something new now.

    It is asked before the strategy, a risk profile or the market is, and again when they have answered.

    Parameters
    ----------
    controls
        Whether the run was paused or stopped.
    account
        Whether the orders at the broker are what the record says.

    Attributes
    ----------
    account
        As given.
    """

    def __init__(self, controls: Controls, account: Account) -> None:
        self._controls = controls
        self.account = account

    @property
    def refusal(self) -> str:
        """Why nothing is opened now, and what to do; empty when entries are taken."""
        if asked := self._controls.no_entries:
            return asked
        why = self.account.differs()
        return f"this one takes none: {why}" if why else ""

    @property
    def goes_on(self) -> bool:
        """Whether the run was not stopped."""
        return not self._controls.stopped

    def are_taken(self) -> bool:
        """Whether something may be opened now."""
        return not self.refusal

    @property
    def halt(self) -> HaltReason | None:
        """Why what waits is to be taken back, too; ``None``: it goes on waiting.

        What the broker did not answer at the start it is asked once more before.
        """
        if self._controls.leaving:
            return None
        if self._controls.stopped:
            return "stopped"
        return "disagreement" if self.account.differs() and self.account.asked_again else None
