"""The failures of a real broker that one on paper simulates, call by call or by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, get_args

import msgspec

OrderCall: TypeAlias = Literal["place", "cancel", "report", "open_orders"]
ORDER_CALLS: Final[tuple[OrderCall, ...]] = get_args(OrderCall)
"""The calls every broker has."""
Call: TypeAlias = OrderCall | Literal["amend", "fills", "balance", "positions"]
CALLS: Final[tuple[Call, ...]] = (*ORDER_CALLS, "amend", "fills", "balance", "positions")

TroubleKind: TypeAlias = Literal["delay", "refuse", "lost_request", "lost_reply", "partly", "partly_cancelled"]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated failure of one call.

    Attributes
    ----------
    kind
        ``"delay"``: the answer takes ``seconds``. ``"refuse"``: a definite no. ``"lost_request"``: the call times out,
        and nothing has arrived. ``"lost_reply"``: the call times out, and everything was carried out. ``"partly"``:
        the share ``part`` of a market order is filled, and the rest goes on working. ``"partly_cancelled"``: the same,
        and the rest is cancelled.
    seconds
        How long it takes until the answer, or the time-out, comes.
    part
        The share that is filled, from 0 to 1.

    Examples
    --------
    >>> from bknb.brokers import Trouble
    >>> Trouble(kind="delay", seconds=2.0).seconds, Trouble(kind="partly").part
    (2.0, 0.5)
    """

    kind: TroubleKind
    seconds: float = 0.0
    part: float = 0.5


Script: TypeAlias = Mapping[Call, Sequence[Trouble | None]] | Callable[[Call, str, int], Trouble | None]
"""Trouble for the first, second, ... call of each kind; or a function of call, client id and number of the call,
counted from 1 over calls of that kind with that id. For ``open_orders`` and ``fills`` the symbol takes the place of the
id, for ``balance`` and ``positions`` nothing does."""
