"""Orders far from the market, tried out at a broker: placed, asked about, listed, moved, cancelled; none is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from msgspec.structs import replace

from ..domain.broker_orders_and_ids import WORKING, Order, Report, client_id, own_prefix
from ..domain.formatting import plain_number
from ..domain.text import error_text
from ..errors import BrokerError
from ..ports import BrokerWithAccount
from .findings import Finding, State

T = TypeVar("T")

NAME: Final = "doctor"
"""The strategy of these orders."""
CALL_SECONDS: Final = 60.0
_PAUSES: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each look at what may be left
_SURE: Final = 2  # looks that have to agree that an order which nobody has seen is not there
_LOOK: Final = "look at the open orders at the exchange, and cancel those whose id begins with"


class Unclear(Exception):  # noqa: N818 -- never reaches a user
    """A step was not as expected; that has been noted."""


class RestingOrders:
    """Tries orders out at a broker, and clears away whatever may be left of them.

    Parameters
    ----------
    symbol
        The market.
    sleep
        How to wait for so many seconds.

    Attributes
    ----------
    findings : list of Finding
        One for each step.
    """

    def __init__(
        self, broker: BrokerWithAccount, symbol: str, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self.findings: list[Finding] = []
        self._broker, self._symbol, self._sleep = broker, symbol, sleep
        self._prefix = own_prefix(NAME, symbol)
        self._may_rest: dict[str, str] = {}  # what they are for people, by the id of orders that may have left

    # --- the steps of one order ---------------------------------------------------------------------------------

    async def try_out(self, what: str, order: Order, *, level: float) -> None:
        """Place an order, ask about it, list it, move it where that is a stop, and cancel it.

        Parameters
        ----------
        what
            What it is, for people.
        level
            The trigger that a stop is moved to, in quote currency.
        """
        try:
            await self._rests(f"place {what}", self._placed(what, order), "accepted")
            await self._rests(f"ask about {what}", self._asked(order.client_id), "accepted, nothing filled")
            await self._is_listed(what, order.client_id)
            if order.trigger is not None:
                order = await self._moved(what, order, level)
            await self._is_cancelled(what, order.client_id)
        except Unclear:
            return

    async def _placed(self, what: str, order: Order) -> Report:
        self._may_rest[order.client_id] = what
        try:
            return await self._broker.place(order)
        except BrokerError as error:
            if error.refused:
                del self._may_rest[order.client_id]
            raise

    async def _asked(self, client_id: str) -> Report:
        report = await self._broker.report(client_id, self._symbol)
        if report is None:
            raise BrokerError(f"{self._broker.name} does not find the order that it has taken")
        return report

    async def _rests(self, step: str, work: Awaitable[Report], expected: str) -> Report:
        report = await self._done(step, work, expected)
        came = report_text(report)
        if report.status == "accepted" and not report.filled_quantity:
            self._note(step, "ok", came, expected=came)
            return report
        advice = "" if report.note else "the order was to rest far from the market"
        self._note(step, "bad", came, expected=expected, advice=advice or f"the exchange says: {report.note}")
        raise Unclear

    async def _is_listed(self, what: str, client_id: str) -> None:
        step, expected = f"list {what}", "it is among the open orders"
        found = await self._done(step, self._broker.open_orders(self._symbol), expected)
        if any(report.client_id == client_id for report in found):
            self._note(step, "ok", expected)
            return
        ids = f"{len(found)} open orders without it"
        self._note(step, "bad", ids, expected=expected, advice="a run could not find its orders after a restart")
        raise Unclear

    async def _moved(self, what: str, order: Order, level: float) -> Order:
        step, how = f"move {what}", self._broker.abilities().move
        new = replace(order, trigger=level, record_price=level)
        if how == "amend":
            await self._rests(step, self._broker.amend(new), "accepted")
            return new
        key = (order.signal_id, order.decided_at)
        new = replace(new, client_id=client_id(NAME, order.symbol, key, order.purpose, generation=1), generation=1)
        if how == "replace":
            self._may_rest[new.client_id] = what
            await self._rests(step, self._broker.amend(replace(new, replaces=order.client_id)), "accepted")
            self._may_rest.pop(order.client_id, None)
            return new
        if how == "gap":
            await self._is_cancelled(what, order.client_id, step=step)
        await self._rests(step, self._placed(what, new), "accepted")
        if how == "both":
            await self._is_cancelled(what, order.client_id, step=step)
        return new

    async def _is_cancelled(self, what: str, client_id: str, *, step: str = "") -> None:
        step, expected = step or f"cancel {what}", "cancelled, nothing filled"

        async def cancel() -> Report:
            await self._broker.cancel(client_id, self._symbol)
            return await self._asked(client_id)

        report = await self._done(step, cancel(), expected)
        came = report_text(report)
        if report.status == "cancelled" and not report.filled_quantity:
            del self._may_rest[client_id]
            self._note(step, "ok", came, expected=came)
            return
        self._note(step, "bad", came, expected=expected, advice="it is cancelled again below")
        raise Unclear

    async def _done(self, step: str, work: Awaitable[T], expected: str) -> T:
        try:
            return await asyncio.wait_for(work, CALL_SECONDS)
        except BrokerError as error:
            advice = advice_for(error)
            text = error_text(error)
        except TimeoutError:
            text, advice = f"no answer within {CALL_SECONDS:g} s", "look at the network and the exchange's status"
        except Exception as error:  # noqa: BLE001 -- whatever a broker raises is the finding
            text, advice = f"{type(error).__name__}: {error_text(error)}", "report this, with the line above"
        self._note(step, "bad", text, expected=expected, advice=advice)
        raise Unclear

    def _note(self, what: str, state: State, came: str, *, expected: str = "", advice: str = "") -> None:
        self.findings.append(Finding(what=what, state=state, found=came, expected=expected, advice=advice))

    # --- nothing is left ----------------------------------------------------------------------------------------

    async def clear(self, step: str = "nothing is left") -> None:
        """Cancel whatever may rest of these orders, and of those of an earlier check; note whether nothing is left."""
        unseen: dict[str, int] = {}
        ours: set[str] = set()
        why, filled, waited = "", "", 0.0
        late = self._broker.abilities().late_seconds  # a request may be carried out up to then
        for pause in _PAUSES:
            if pause:
                await self._sleep(pause)
                waited += pause
            try:
                listed = await asyncio.wait_for(self._broker.open_orders(self._symbol), CALL_SECONDS)
                ours = {report.client_id for report in listed if report.client_id.startswith(self._prefix)}
                for known in sorted({*ours, *self._may_rest}):
                    report = await asyncio.wait_for(self._cancelled(known), CALL_SECONDS)
                    if report is None:
                        unseen[known] = 0 if known in ours else unseen.get(known, 0) + 1
                    elif report.filled_quantity:
                        filled = f"{plain_number(report.filled_quantity)} of {known} were filled"
                    never = report is None and unseen[known] >= _SURE and waited > late
                    if never or (report is not None and _is_over(report)):
                        self._may_rest.pop(known, None)
                        ours.discard(known)
                why = ""
            except Exception as error:  # noqa: BLE001 -- it is tried again
                why = error_text(error) or type(error).__name__
            if not (why or ours or self._may_rest):
                break
        left = ", ".join(sorted({*ours, *self._may_rest}))
        self._note_end(step, ": ".join(filter(None, (f"{left} may rest" if left else "", why))), filled)

    async def _cancelled(self, client_id: str) -> Report | None:
        """What is known of an order after another try to cancel it; ``None``: nobody has seen it."""
        found = await self._broker.report(client_id, self._symbol)
        if found is None or _is_over(found):
            return found
        await self._broker.cancel(client_id, self._symbol)
        return await self._broker.report(client_id, self._symbol)

    def _note_end(self, step: str, trouble: str, filled: str) -> None:
        if filled:
            self._note(step, "bad", filled, expected="no order is left, and nothing was filled",
                       advice="it is yours now: sell it at the exchange if you do not want it")  # fmt: skip
        if trouble:
            self._note(step, "bad", trouble, expected="no order is left", advice=f"{_LOOK} {self._prefix}")
        elif not filled:
            self._note(step, "ok", "no order is left")


def _is_over(report: Report) -> bool:
    return report.status not in WORKING


def report_text(report: Report) -> str:
    """What a report says, in words.

    Examples
    --------
    >>> report_text(Report(client_id="a", symbol="BTCUSDT", status="accepted"))
    'accepted, nothing filled'
    """
    filled = f"{plain_number(report.filled_quantity)} filled" if report.filled_quantity else "nothing filled"
    return f"{report.status.replace('_', ' ')}, {filled}"


def advice_for(error: BrokerError) -> str:
    """What to do about an error of a broker.

    Examples
    --------
    >>> advice_for(BrokerError("no answer"))
    "look at the network and the exchange's status, then check again"
    """
    if error.refused and not getattr(error, "later", False):
        return "look at what the key may do and from where, at the balance, and at the rules of this market"
    return "look at the network and the exchange's status, then check again"
